# SPDX-License-Identifier: MIT
"""Ten thousand: idle connections that cost nothing, and peers among which a few are chosen at random."""
import collections
import re
import time
from pathlib import Path

import pytest

from clients import bare_socket, begin_upgrade, frame, read_until
from harness import SLOW, get, uid

IDLE, PEERS, LOTS = 10_000, 10_000, {"MESSAGE_RATE": 0, "COST_RATE": 0, "IP_CONNECTIONS_MAX": 0, "IP_CONNECT_RATE": 0}
READS_ALL = ("smembers", "hgetall", "hvals", "hkeys", "keys", "scan", "sscan", "hscan", "zscan", "sort", "lrange")


def cpu_seconds(worker):
    return int(Path(f"/proc/{worker.pid}/schedstat").read_text().split()[0]) / 1e9


def cost(worker, busy, rounds=500):
    """The worker's CPU time for so many round trips."""
    begun = cpu_seconds(worker)
    for _ in range(rounds):
        busy.sendall(frame('{"type":"ping"}'))
        read_until(busy, b'{"type":"pong"}')
    return cpu_seconds(worker) - begun


def test_ten_thousand_idle_connections_cost_a_busy_one_nothing(start, many_descriptors, closing):
    """Two workers are measured in turns, one of them with the idle connections: a busy machine slows both alike, and
    the least of many turns is the cost without what others do."""
    workers = start(2, PING_INTERVAL_MS=3_600_000, **LOTS).workers
    busy = [bare_socket(worker) for worker in workers]
    for s in busy:
        closing.callback(s.close)
    begun, idle = time.monotonic(), []
    for batch in range(IDLE // 200):
        idle += [begin_upgrade(workers[1].port, source=f"127.0.{batch % 200}.2") for _ in range(200)]
        for s in idle[-200:]:
            closing.callback(s.close)
            assert b" 101 " in read_until(s, b"\r\n\r\n")
    print(f"{len(idle)} connections in {time.monotonic() - begun:.1f} s")
    turns, end = [], time.monotonic() + 15
    while len(turns) < 20 or (time.monotonic() < end and among > 1.5 * alone):
        turns.append([cost(worker, s) for worker, s in zip(workers, busy)])
        alone, among = map(min, zip(*turns))
    print(f"500 round trips: {alone * 1e3:.1f} ms of CPU alone, {among * 1e3:.1f} ms among {len(idle)}")
    assert among <= 1.5 * alone


def chi_square(counts, expected):
    """How far counts lie from what was expected, in standard deviations (Wilson and Hilferty)."""
    n = len(counts) - 1
    chi = sum((count - expected) ** 2 for count in counts) / expected
    return ((chi / n) ** (1 / 3) - (1 - 2 / (9 * n))) / (2 / (9 * n)) ** 0.5


def populate(clients, ids, load):
    """Registers ids over the clients, each with the load that load() gives its index."""
    shares = [range(i, len(ids), len(clients)) for i in range(len(clients))]
    for begin in range(0, len(shares[0]), 20):  # a few at a time: Redis answers all that is asked at once in time
        for client, share in zip(clients, shares):
            mine = share[begin:begin + 20]
            client.send_all([{"type": "register", "peerId": ids[j], "maxConnections": 20} for j in mine] +
                            [{"type": "update_load", "peerId": ids[j], "connectedCount": load(j)} for j in mine])
        for client, share in zip(clients, shares):
            for kind in ("registered", "load_updated"):
                for _ in share[begin:begin + 20]:
                    client.expect(kind, 20)


def picks(worker):
    """How often the worker has asked Redis for relays."""
    return int(re.search(rb'^signalbox_script_calls_total\{script="relay/pick"\} (\d+)$', get(worker, "/metrics"), re.M)[1])


def test_among_ten_thousand_peers_each_below_half_load_is_as_likely(start, connect):
    fleet, draws = start(**LOTS), 400
    ids = [uid(f"{i}") for i in range(PEERS)]
    populate([connect(fleet.workers[i % 2]) for i in range(40)], ids, lambda i: (i // 2) % 10 if i % 2 else 10 + i % 11)
    below = set(ids[1::2])
    asker, counts = connect(fleet.workers[0]), collections.Counter(dict.fromkeys(below, 0))
    fleet.redis.client.config_resetstat()
    before, begun = picks(fleet.workers[0]), time.monotonic()
    for _ in range(draws):
        asker.send(type="get_relays", count=100)
        relays = asker.expect("relays")["relays"]
        assert len({relay["peerId"] for relay in relays}) == len(relays) == 100
        assert all(relay["capacity"] < 0.5 for relay in relays)
        counts.update(relay["peerId"] for relay in relays)
    elapsed = time.monotonic() - begun
    commands = fleet.redis.client.info("commandstats")
    assert counts.keys() == below, "a peer at or above half load was offered"
    # A right choice gives -1 ± 1 (-1 as no answer repeats a peer), and leaves these bounds less than once in 10^7.
    assert -7 < chi_square(counts.values(), draws * 100 / len(below)) < 6
    calls = {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in commands.items()}
    assert picks(fleet.workers[0]) - before == draws, "one call for one get_relays"
    assert not [name for name in READS_ALL if calls.get(name, 0) > 10 + 10 * elapsed]
    assert elapsed < 20 * SLOW


@pytest.mark.parametrize("count", [20, 5])
def test_among_few_peers_each_place_of_the_answer_is_as_likely(start, connect, count):
    fleet, draws = start(**LOTS), 800
    ids = [uid() for _ in range(20)]
    populate([connect(fleet.workers[0])], ids, lambda i: i % 10)
    asker = connect(fleet.workers[1])
    answers = [asker.relays(count=count) for _ in range(draws)]
    assert all(len(set(answer)) == count for answer in answers)
    for place in (0, 1, count - 1):
        counts = collections.Counter(answer[place] for answer in answers)
        assert chi_square([counts[peer] for peer in ids], draws / len(ids)) < 5.6, f"place {place}: {counts}"
