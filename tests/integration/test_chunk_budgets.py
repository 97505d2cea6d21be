# SPDX-License-Identifier: MIT
"""Chunks: what one client can cost the others, and take from them."""
import statistics

import pytest

from harness import SLOW, metric, uid, wait_until
from test_chunk_cache import kept
from test_chunk_pulls import OPEN
from test_chunks import announce, data_of, push, wait_in_vain

LIMIT = {"type": "error", "message": "Storage limit reached"}
LONG = "x" * 200


def chunks(name, count=1024):
    return [{"chunkId": f"{name}-{i}", "routingHash": "h"} for i in range(count)]


def from_address(connect, worker, ip):
    return connect(worker, headers={"X-Forwarded-For": ip})


# --- what it costs -----------------------------------------------------------------------------------------------

def cost_of_a_request(fleet, connect, count):
    """µs of the dearest script of a request, where there are so many sources, each of which waits."""
    redis, chunk, asker = fleet.redis.client, f"c{count}", connect(fleet.workers[0])
    for client in (connect(fleet.workers[0]) for _ in range(4)):
        peers = [uid() for _ in range(count // 4)]
        client.send_all([{"type": kind, "peerId": peer, "chunkId": chunk, "chunks": [{"chunkId": chunk, "routingHash": "h"}]}
                         for peer in peers for kind in ("chunk_announce", "chunk_request")])
    wait_until(lambda: redis.zcard(f"sb:{{chunk:{chunk}}}:wait") == count, 20)
    redis.delete(f"sb:{{chunk:{chunk}}}:pull")
    took = []
    for _ in range(20):
        redis.config_set("slowlog-log-slower-than", 0), redis.slowlog_reset()
        wait_in_vain(asker, chunk)
        took.append(max(call["duration"] for call in redis.slowlog_get(128) if b"EVALSHA" in call["command"]))
    return statistics.median(took)


def test_a_request_costs_no_more_where_a_thousand_sources_wait(start, connect):
    fleet = start(1, CHUNK_PULL_TIMEOUT_MS=60000, **OPEN)
    few, many = (cost_of_a_request(fleet, connect, count) for count in (4, 1024))
    assert many < 2 * few + 400


# --- what is another's -------------------------------------------------------------------------------------------

def test_a_stranger_neither_replaces_a_chunk_nor_serves_it_in_place_of_its_source(start, connect):
    fleet = start(2)
    owner, reader, stranger = (connect(fleet.workers[i]) for i in (0, 1, 1))
    push(owner, "c", "the owner's")
    push(stranger, "c", "a stranger's")
    push(stranger, "c", "a stranger's", peerId=uid())
    reader.send(type="chunk_request", peerId=uid(), chunkId="c")
    assert data_of(reader, "c", "cache") == "the owner's"
    peer = announce(owner, "d")
    reader.send(type="chunk_request", peerId=uid(), chunkId="d")
    owner.expect("chunk_pull")
    push(stranger, "d", "a stranger's")
    reader.silence(0.1)
    push(owner, "d", "the owner's", peerId=peer)
    assert data_of(reader, "d", "relay") == "the owner's"
    push(stranger, "d", "a stranger's")
    reader.send(type="chunk_request", peerId=uid(), chunkId="d")
    assert data_of(reader, "d", "cache") == "the owner's"
    assert metric(fleet.workers, "signalbox_chunk_pushes_ignored_total") == 4


def test_a_source_pushes_anew_under_any_of_its_peers_or_none(start, connect):
    fleet = start(2)
    source, reader = (connect(worker) for worker in fleet.workers)
    peers = [announce(source, f"of-another-{i}") for i in range(3)]
    push(reader, "c", 0)
    announce(source, "c", peer=peers[1])
    for data, fields in (1, {}), (2, {"peerId": peers[1]}), (3, {}), (4, {"peerId": peers[2]}):
        push(source, "c", data, **fields)
        reader.send(type="chunk_request", peerId="reader", chunkId="c")
        assert data_of(reader, "c", "cache") == data


def test_the_pushes_of_a_stranger_leave_others_theirs(start, connect):
    fleet = start(2, CHUNK_CACHE_MAX=60, TRUSTED_PROXIES="127.0.0.0/8", **OPEN)
    owner = from_address(connect, fleet.workers[0], "192.0.2.7")
    stranger = from_address(connect, fleet.workers[1], "2001:db8::7")
    same = from_address(connect, fleet.workers[0], "2001:db8::8")
    mine = {f"mine-{i}" for i in range(25)}
    for chunk in mine:
        push(owner, chunk)
    for i in range(150):
        push(stranger if i % 2 else same, f"theirs-{i}")
    wait_until(lambda: len(kept(fleet)) == 60)
    assert mine < kept(fleet)
    assert fleet.redis.client.zrange("sb:{chunks}:counts", 0, -1, withscores=True) == [
        ("192.0.2.7", 25), ("2001:db8::/64", 35)]


# --- what it stores ----------------------------------------------------------------------------------------------

def test_an_owner_announces_a_thousand_and_twenty_four_chunks_again_and_again(start, connect):
    client, peer = connect(start(1, COST_RATE=0).workers[0]), uid()
    for _ in range(10):
        answer = client.request("chunk_announce", peerId=peer, chunks=chunks("c" * 20))
        assert answer == {"type": "chunk_announce_ack", "registered": 1024}


def test_an_announce_past_the_limit_is_refused_as_a_whole(start, connect):
    fleet, peer = start(1, **OPEN), uid() + LONG
    client, other = connect(fleet.workers[0]), connect(fleet.workers[0])
    assert client.request("chunk_announce", peerId=peer, chunks=chunks(LONG))["registered"] == 1024
    before = set(fleet.redis.keys())
    for id in (peer, uid()):
        assert client.request("chunk_announce", peerId=id, chunks=chunks(LONG + "more")) == LIMIT
    assert set(fleet.redis.keys()) == before
    assert client.request("chunk_announce", peerId=peer, chunks=chunks("few", 3))["registered"] == 3
    announce(other, "c")


def test_what_is_refused_for_its_id_is_not_counted(start, connect):
    fleet = start(1, COST_RATE=0, **OPEN)
    owner, other = connect(fleet.workers[0]), connect(fleet.workers[0])
    peer = announce(owner, "c")
    for _ in range(12):
        answer = other.request("chunk_announce", peerId=peer, chunks=chunks("d" * 20))
        assert answer["message"] == "Peer id in use by another connection"
    assert other.request("chunk_announce", peerId=uid(), chunks=chunks("d" * 20))["registered"] == 1024


@pytest.mark.parametrize("kind", ["request", "push"])
def test_a_request_or_a_push_past_the_limit_is_refused_and_leaves_nothing(start, connect, kind):
    fleet, peer = start(1, COST_RATE=0, **OPEN), uid()
    client, asked = connect(fleet.workers[0]), 0
    fields = {"peerId": peer, **({"data": "x" * 65000} if kind == "push" else {})}
    long = LONG if kind == "request" else ""
    while True:
        answers = []
        client.send_all([{"type": f"chunk_{kind}", "chunkId": f"{asked + i}{long}", **fields} for i in range(20)])
        answers = [client.recv(10 * SLOW) for _ in range(20)]
        asked += 20
        if LIMIT in answers:
            break
        assert asked < 5000
    first = asked - 20 + answers.index(LIMIT)
    assert all(answer == LIMIT for answer in answers[answers.index(LIMIT):])
    part = "wait" if kind == "request" else "data"
    there = {key for key in fleet.redis.keys() if key.endswith("}:" + part)}
    assert there == {f"sb:{{chunk:{i}{long}}}:{part}" for i in range(first)}
    assert not fleet.redis.client.zscore("sb:{chunks}:pulls", f"{first}{long}")
    assert client.request("ping") == {"type": "pong"}


def test_who_replaces_its_chunk_or_loses_it_to_newer_ones_is_not_refused(start, connect):
    fleet = start(1, CHUNK_CACHE_MAX=20, **OPEN)
    client = connect(fleet.workers[0])
    for i in range(80):
        push(client, "c", f"{i}" + "x" * 65000)
    for i in range(80):
        push(client, f"c-{i}", "x" * 65000)
    assert len(kept(fleet)) == 20
