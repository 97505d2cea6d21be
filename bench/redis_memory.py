#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What each kind of entry takes of Redis' memory: how much more it uses with many of them than with none.

Starts a redis-server and two workers for each kind, and makes the entries as clients do. Prints a table and, as the
last line, the same figures as JSON. Ids have 36 bytes as a UUID has, public keys 44."""
import argparse
import contextlib
import json
import os
import resource
import sys
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "integration"))

from harness import ASAN, Fleet, http_request, wait_until  # noqa: E402
from registry_client import Key, connection_to, raw  # noqa: E402
from swarm import gather, members  # noqa: E402

ENV = {"IP_CONNECT_RATE": 0, "IP_CONNECTIONS_MAX": 0, "MESSAGE_RATE": 0, "COST_RATE": 0, "STORE_SOCKET_MAX": 0,
       "STORE_ADDRESS_MAX": 0, "LOG_LEVEL": "info", "DRAIN_SECONDS": 0,
       "PING_INTERVAL_MS": 3_600_000, "PONG_TIMEOUT_MS": 3_600_000}
PUBLIC_KEY, DROP, CHUNK, TOGETHER, BATCH = "k" * 43 + "=", "d" * 256, "c" * 1022, 10, 100


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--entries", type=int, default=10000)
    parser.add_argument("--only", default="", help="kinds with this word in their name")
    return parser.parse_args()


def an_id():
    return str(uuid.uuid4())


def ask(group, messages):
    """Each sends its message and gets an answer; what they hear of others is not looked at."""
    for begin in range(0, len(group), 1000):
        some = group[begin:begin + 1000]
        for member, message in zip(some, messages[begin:begin + 1000]):
            member.send(**message)
        gather(some, 1, 60)
        for member in some:
            assert not any(b'"error"' in text or b'"ERROR"' in text for text in member.texts), member.texts
            member.texts.clear()


class Peers:
    """Sockets that have an id each; what they register besides is what is measured."""

    def __init__(self, fleet, count):
        self.group = members(fleet.workers, max(1, count // BATCH))
        self.ids = [an_id() for _ in self.group]
        ask(self.group, [{"type": "register", "peerId": id, "publicKey": PUBLIC_KEY} for id in self.ids])

    def send(self, kind, **fields):
        """fields: functions that make the value of each."""
        ask(self.group, [{"type": kind, "peerId": id, **{name: make(i) for name, make in fields.items()}}
                         for i, id in enumerate(self.ids)])


def connections(fleet, count):
    return lambda: members(fleet.workers, count)


def relay_peers(fleet, count):
    group = members(fleet.workers, count)
    return lambda: ask(group, [{"type": "register", "peerId": an_id(), "publicKey": PUBLIC_KEY} for _ in group]) or group


def codes(fleet, count):
    rooms = [an_id() for _ in range(count // TOGETHER)]
    group = [member for room in rooms for member in members(fleet.workers, TOGETHER, f"/signal/{room}")]

    def fill():
        for n in range(TOGETHER):
            ask(group[n::TOGETHER], [{"type": "register", "pairingCode": f"CODE-{n}", "publicKey": PUBLIC_KEY}] * len(rooms))
        return group

    return fill


def room_members(fleet, count):
    """With their connections: each is given an id when it connects."""
    rooms = [an_id() for _ in range(count // TOGETHER)]

    def fill():
        group = members(fleet.workers, count, "/ws")
        gather(group, 1)
        for n in range(TOGETHER):
            ask(group[n::TOGETHER], [{"type": "JOIN", "room_id": room, "payload": {"display_name": "somebody"}}
                                     for room in rooms])
        return group

    return fill


def points(fleet, count):
    peers = Peers(fleet, count)
    return lambda: peers.send("register_rendezvous", dailyPoints=lambda i: [an_id() for _ in range(BATCH)],
                              deadDrop=lambda i: DROP) or peers


def tokens(fleet, count):
    peers = Peers(fleet, count)
    return lambda: peers.send("register_rendezvous", hourlyTokens=lambda i: [an_id() for _ in range(BATCH)]) or peers


def shared_tokens(fleet, count):
    """Of ten at the same token each, who hear of one another."""
    peers = Peers(fleet, count)
    places = [[an_id() for _ in range(BATCH)] for _ in range(max(1, len(peers.ids) // TOGETHER))]
    return lambda: peers.send("register_rendezvous", hourlyTokens=lambda i: places[i % len(places)]) or peers


def sources(fleet, count):
    peers = Peers(fleet, count)
    return lambda: peers.send("chunk_announce", chunks=lambda i: [{"chunkId": an_id(), "routingHash": an_id()}
                                                                  for _ in range(BATCH)]) or peers


def chunks(fleet, count):
    peers = Peers(fleet, count)

    def fill():
        for _ in range(BATCH):
            peers.send("chunk_push", chunkId=lambda i: an_id(), data=lambda i: CHUNK)
        return peers

    return fill


def waits(fleet, count):
    peers = Peers(fleet, count)

    def fill():
        for _ in range(BATCH):
            peers.send("chunk_request", chunkId=lambda i: an_id())
        return peers

    return fill


def post_all(fleet, path, bodies):
    with contextlib.closing(connection_to(fleet.workers[0])) as connection:
        for body in bodies:
            status, _, answer = raw(fleet.workers[0], "POST", path, body, connection=connection)
            assert status == 200, answer


def servers(fleet, count):
    return lambda: post_all(fleet, "/servers", ({"serverId": an_id(), "endpoint": f"wss://vps-{i:06}.example",
                                                 "publicKey": PUBLIC_KEY, "region": "eu"} for i in range(count)))


def devices(fleet, count):
    payload = json.dumps({"version": "1.0.0", "platform": "linux", "build_hash": "h" * 64,
                          "timestamp": int(time.time() * 1000)})
    token = {"payload": payload, "signature": KEY.sign(payload)}
    return lambda: post_all(fleet, "/attest/register", ({"build_token": token, "device_id": an_id()} for _ in range(count)))


KEY = Key()
KINDS = {"a connection alone": connections, "a relay": relay_peers, "a pairing code, ten in a room": codes,
         "a member of a room of ten": room_members, "a daily point with a drop of 256 bytes": points,
         "an hourly token": tokens, "the same, of ten peers at each token": shared_tokens,
         "an announced chunk": sources, "a cached chunk of 1 KiB": chunks, "a request that waits for a chunk": waits,
         "a server": servers, "an attested device": devices}


def steady(client):
    """What Redis uses, once that does not change any more."""
    last = []

    def same():
        last.append(client.info("memory")["used_memory"])
        time.sleep(0.2)
        return len(last) >= 4 and max(last[-4:]) - min(last[-4:]) < 32768

    wait_until(same, 60, "a steady use of memory")
    return last[-1]


def measure(kind, count):
    with Fleet(2, **ENV, CHUNK_CACHE_MAX=2 * count, SERVERS_MAX=10000, ATTESTATION_SIGNING_KEY=KEY.seed) as fleet:
        client = fleet.redis.client
        kept = [KINDS[kind](fleet, TOGETHER * BATCH)()]  # scripts are loaded, buffers have their size
        fill = KINDS[kind](fleet, count)
        before, keys = steady(client), client.dbsize()
        kept.append(fill())
        after, version = steady(client), http_request(fleet.workers[0], "GET", "/")[2]["version"]
        return {"bytes": round((after - before) / count), "keys": round((client.dbsize() - keys) / count, 2)}, version


def main():
    options = arguments()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    rows = {}
    for kind in KINDS:
        if options.only in kind:
            rows[kind], version = measure(kind, options.entries)
    print(f"{options.entries} entries of each kind, {os.cpu_count()} CPUs" + " (a build with sanitizers)" * ASAN)
    print(f"{'':<42}{'bytes each':>12}{'keys each':>12}")
    for kind, row in rows.items():
        print(f"{kind:<42}{row['bytes']:>12}{row['keys']:>12.2f}")
    print(json.dumps({"bench": "redis_memory", "version": version, "entries": options.entries, "cpus": os.cpu_count(),
                      "rows": rows}))


if __name__ == "__main__":
    main()
