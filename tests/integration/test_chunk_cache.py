# SPDX-License-Identifier: MIT
"""The cache of chunks and what else ends by itself; what is counted, and what is left when sockets and workers go."""
import collections
import random
import re
import time

import pytest

from clients import reset
from harness import CROWD, SLOW, Fleet, get, metric, uid, wait_until
from swarm import members
from test_chunk_pulls import OPEN
from test_chunks import announce, data_of, push, wait_in_vain

TTL = 0.6 * max(SLOW, CROWD)
STANDING = re.compile(r"sb:(workers|worker:[0-9a-f]{8}|schema|leader)")
CACHE = re.compile(r"sb:(\{chunk:.*\}:data|\{chunks\}:(uses|ends|owners|order|counts)|\{stored:.*\}.*)")  # and whom it counts to


def cached(client, peer, chunk):
    """Whether the cache answers; the use is noted when this returns."""
    answer = client.request("chunk_request", peerId=peer, chunkId=chunk)
    client.send(type="heartbeat")
    client.expect("heartbeat_ack")
    return answer["type"] == "chunk_data" and answer["source"] == "cache"


def kept(fleet):
    return {key[len("sb:{chunk:"):-len("}:data")] for key in fleet.redis.keys() if key.endswith("}:data")}


def chunk_stats(worker):
    stats = get(worker, "/stats")
    assert "chunks" in stats, stats
    return tuple(stats["chunks"][name] for name in ("trackedChunks", "totalSources", "cachedChunks", "pendingRequests"))


def wait_stats(fleet, *numbers, timeout=6):
    """Every worker tells these chunk numbers in time."""
    found = None

    def same():
        nonlocal found
        found = [chunk_stats(w) for w in fleet.workers if w.process.poll() is None]
        return all(one == numbers for one in found)

    try:
        wait_until(same, timeout / SLOW)
    except AssertionError:
        raise AssertionError(f"/stats has {found}, not {numbers}") from None


# --- the bound ---------------------------------------------------------------------------------------------------

def test_the_sixth_evicts_the_least_recently_used(start, connect):
    fleet = start(2, CHUNK_CACHE_MAX=5)
    a, b = (connect(worker) for worker in fleet.workers)
    peer, other = uid(), uid()
    for i in range(5):
        push(a, f"c{i}")
    assert cached(b, other, "c0"), "used from another worker"
    push(b, "c5")
    wait_until(lambda: kept(fleet) == {"c0", "c2", "c3", "c4", "c5"})
    assert not cached(a, peer, "c1")
    assert all(cached(a, peer, f"c{i}") for i in (3, 2, 4, 0, 5))
    push(a, "c3")
    push(b, "c6")
    wait_until(lambda: kept(fleet) == {"c0", "c3", "c4", "c5", "c6"})
    assert not cached(b, other, "c2")
    wait_stats(fleet, 0, 0, 5, 2)
    assert metric(fleet.workers, "signalbox_chunk_cache_evictions_total") == 2
    assert metric(fleet.workers, "signalbox_chunk_cache_hits_total") == 6
    assert metric(fleet.workers, "signalbox_chunk_cache_misses_total") == 2


def test_the_cache_is_least_recently_used_across_workers(start, connect):
    fleet, order, rng = start(2, CHUNK_CACHE_MAX=8, **OPEN), collections.OrderedDict(), random.Random(5)
    clients = [(connect(worker), uid()) for worker in fleet.workers]
    for _ in range(400):
        client, peer = rng.choice(clients)
        chunk = f"c{rng.randrange(14)}"
        if rng.random() < 0.6 and chunk in order:
            assert cached(client, peer, chunk)
        else:
            push(client, chunk)
            order[chunk] = True
        order.move_to_end(chunk)
        if len(order) > 8:
            order.popitem(last=False)
            wait_until(lambda: kept(fleet) == set(order), what="the right eviction")
    assert kept(fleet) == set(order)
    assert chunk_stats(fleet.workers[0])[2] == len(order) == 8


def test_a_cached_chunk_counts_its_accesses(start, connect):
    fleet = start(2)
    clients = [connect(worker) for worker in fleet.workers]
    push(clients[0], "c")
    for i in range(10):
        assert clients[i % 2].request("chunk_request", peerId=f"p{i % 2}", chunkId="c")["source"] == "cache"
    assert "10" in fleet.redis.client.hgetall("sb:{chunk:c}:data").values()


# --- what ends by itself -----------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def brief():
    with Fleet(CHUNK_CACHE_TTL_MS=int(TTL * 1000), CHUNK_SOURCE_TTL_MS=int(TTL * 1000),
               CHUNK_WAIT_TTL_MS=int(TTL * 1000), **OPEN) as fleet:
        yield fleet


def test_an_expired_chunk_is_never_served(brief, connect):
    a, b, chunk = *(connect(worker) for worker in brief.workers), uid("c")
    push(a, chunk, 1)
    end, served = time.monotonic() + TTL, []
    while time.monotonic() < end + 0.2 * SLOW and (not served or served[-1]):
        before = time.monotonic()
        served.append(cached(b, "reader", chunk))
        assert not served[-1] or before < end + 0.02, "an access does not prolong it"
    assert served[0] and not served[-1]
    push(a, chunk, 2)
    assert data_of(b, chunk, "relay") == 2
    time.sleep(TTL + 0.02)
    assert chunk not in kept(brief)
    wait_in_vain(a, chunk)


def test_an_expired_source_is_never_asked(brief, connect):
    early, late, waiter = (connect(brief.workers[i]) for i in (0, 1, 0))
    chunks = [uid("c") for _ in range(12)]
    announce(early, *chunks)
    time.sleep(0.6 * TTL)
    announce(late, *chunks)
    time.sleep(0.5 * TTL)
    waiter.send_all([{"type": "chunk_request", "peerId": uid(), "chunkId": chunk} for chunk in chunks])
    assert {late.expect("chunk_pull")["chunkId"] for _ in chunks} == set(chunks)
    early.silence(0.05)
    time.sleep(0.5 * TTL)
    wait_in_vain(waiter, (only := uid("c")))
    announce(late, only)
    late.expect("chunk_pull")
    push(late, only)
    data_of(waiter, only, "relay")


def test_an_expired_wait_is_not_served_and_asks_nobody(brief, connect):
    early, late, source, chunk = *(connect(brief.workers[i]) for i in (0, 1, 0)), uid("c")
    wait_in_vain(early, chunk)
    time.sleep(0.6 * TTL)
    wait_in_vain(late, chunk)
    time.sleep(0.5 * TTL)
    push(source, chunk)
    data_of(late, chunk, "relay")
    early.silence(0.1)
    other = uid("c")
    wait_in_vain(early, other)
    time.sleep(TTL + 0.05)
    announce(source, other)
    source.silence(0.1)
    push(source, other)
    early.silence(0.1)


def test_what_has_ended_is_not_counted(start, connect):
    fleet = start(2, **{f"CHUNK_{name}_TTL_MS": int(TTL * 1000) for name in ("CACHE", "SOURCE", "WAIT")})
    a, b = (connect(worker) for worker in fleet.workers)
    announce(a, "c", "d")
    announce(b, "c")
    wait_in_vain(a, "e")
    push(b, "f")
    assert {chunk_stats(worker) for worker in fleet.workers} == {(2, 3, 1, 1)}
    time.sleep(TTL + 0.05)
    wait_stats(fleet, 0, 0, 0, 0)
    announce(a, "c")
    wait_stats(fleet, 1, 1, 0, 0)


# --- what is left, and what is counted ---------------------------------------------------------------------------

def left(fleet, allowed=()):
    """The keys that nobody may find once all sockets are closed."""
    lives = {worker.wid for worker in fleet.workers if worker.process.poll() is None}
    return [key for key in fleet.redis.keys()
            if not any(pattern.fullmatch(key) for pattern in (STANDING, *allowed))
            or key.startswith("sb:worker:") and key[10:] not in lives]


def wait_clean(fleet, allowed=(), timeout=5):
    try:
        wait_until(lambda: not left(fleet, allowed), timeout)
    except AssertionError:
        raise AssertionError(f"left in Redis: {left(fleet, allowed)}") from None


def occupy(client, name):
    """Announces two chunks, waits for two, waits for one and gets it, and pushes one."""
    peer = announce(client, f"{name}-1", "everybody-has")
    wait_in_vain(client, f"{name}-2", peer)
    wait_in_vain(client, "nobody-has", peer)
    wait_in_vain(client, f"{name}-3", peer)
    push(client, f"{name}-4", peerId=peer)
    client.send(type="chunk_push", chunkId=f"{name}-3", data=1, peerId=peer)
    assert {client.recv()["type"], client.recv()["type"]} == {"chunk_push_ack", "chunk_data"}


@pytest.mark.parametrize("end", ["close", "drop"])
def test_closed_sockets_leave_only_the_cache(start, connect, end):
    fleet = start(2)
    clients = [connect(fleet.workers[i % 2]) for i in range(10)]
    for i, client in enumerate(clients):
        occupy(client, i)
    wait_stats(fleet, 11, 20, 20, 20)
    for client in clients:
        getattr(client, end)()
    wait_clean(fleet, [CACHE])
    wait_stats(fleet, 0, 0, 20, 0)
    assert {fleet.redis.client.pttl(key) > 0 for key in fleet.redis.keys() if key.endswith(":data")} == {True}


def test_sockets_that_go_while_their_messages_are_under_way_leave_only_the_cache(start):
    fleet = start(2, **OPEN)
    for _ in range(5):
        group = members(fleet.workers, 40)
        for i, member in enumerate(group):
            peer = uid()
            member.send(type="chunk_announce", peerId=peer,
                        chunks=[{"chunkId": f"c{j}", "routingHash": "h"} for j in range(i % 4 + 1)] if i % 5 else [{}])
            for j in range(4):
                member.send(type="chunk_request", peerId=peer, chunkId=f"c{j}")
            member.send(type="chunk_push", chunkId=f"c{i % 4}", data=i)
            if i % 3 == 0:
                reset(member.sock)
        for member in group[1::3]:
            while member.recv()["type"] != "chunk_push_ack":
                pass
        for i, member in enumerate(group):
            if i % 3:
                reset(member.sock)
    wait_until(lambda: get(fleet.workers[0], "/stats")["connections"] == 0, 6)
    wait_clean(fleet, [CACHE])
    wait_stats(fleet, 0, 0, 4, 0)


def test_a_killed_workers_sources_and_waits_are_forgotten(start, connect):
    fleet = start(3)
    stays = connect(fleet.workers[0])
    occupy(stays, "stays")
    clients = [connect(fleet.workers[1 + i % 2]) for i in range(6)]
    for i, client in enumerate(clients):
        occupy(client, i)
    wait_stats(fleet, 8, 14, 14, 14)
    for worker in fleet.workers[1:]:
        worker.kill9()
    wait_stats(fleet, 2, 2, 14, 2, timeout=12 * SLOW)
    new = connect(fleet.workers[0])
    for i in range(6):
        wait_in_vain(new, f"{i}-1")
    new.send(type="chunk_request", peerId=uid(), chunkId="everybody-has")
    assert stays.expect("chunk_pull")["chunkId"] == "everybody-has"
    announce(new, "0-2", "1-2")
    new.silence(0.1)
    stays.drop(), new.drop()
    wait_clean(fleet, [CACHE])
