# SPDX-License-Identifier: MIT
"""Peers, entries, codes and rooms that no socket stands behind: made by the workers' own scripts, many at a time.

They carry the address of a worker that lives, with numbers that none of its sockets has, so that they count as there."""
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "lua"))

from names import key  # noqa: E402
from scripts import code_of  # noqa: E402

FIRST_SID, BATCH, HOUR_MS = 1 << 40, 2000, 3_600_000


def run(fleet, name, calls):
    """Runs a script with each (keys, args) of calls."""
    client = fleet.redis.client
    sha = client.script_load(code_of(name))
    pipe = client.pipeline(transaction=False)
    for i, (keys, args) in enumerate(calls, 1):
        pipe.evalsha(sha, len(keys), *keys, *args)
        if i % BATCH == 0:
            pipe.execute()
    pipe.execute()


def address(fleet, i):
    return f"{fleet.workers[i % len(fleet.workers)].wid}.{FIRST_SID + i}"


def relays(fleet, numbers):
    keys = [key("RELAYS"), key("RELAYS_FREE"), key("RELAYS_TOTALS")]
    run(fleet, "relay/put", ((keys, (f"simulated-{i}", address(fleet, i), 20, "k" * 44, i % 20)) for i in numbers))


def meetings(fleet, numbers):
    """An hourly token of each of so many peers."""
    def calls():
        for i in numbers:
            keys = [key("point", "hour", f"simulated-{i}"), key("point_ends", "hour", f"simulated-{i}")]
            text = f'{{"peerId":"simulated-{i}","relayId":"r"}}'
            yield keys, (f"simulated-{i}", address(fleet, i), 1, text, 3 * HOUR_MS, 64, 1 << 20)

    run(fleet, "rendezvous/meet", calls())


def codes(fleet, numbers):
    """Codes of the room of /signal that has no name."""
    run(fleet, "claim/take", (([key("code", "default", f"simulated-{i}")],
                               (address(fleet, i), "", HOUR_MS, "127.0.0.1")) for i in numbers))


def rooms(fleet, numbers):
    """Rooms of one."""
    def joins():
        for i in numbers:
            keys = [key("room", f"simulated-{i}"), key("room_peers", f"simulated-{i}")]
            yield keys, (f"{i:016x}", address(fleet, i), f'{{"peer_id":"{i:016x}"', 0, "new",
                         key("room_channel", f"simulated-{i}"), "", "{")

    run(fleet, "room/join", joins())
    run(fleet, "room/index", (([key("ROOMS"), key("ROOM_LOOKS")], (f"simulated-{i}", HOUR_MS)) for i in numbers))
