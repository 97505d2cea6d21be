# SPDX-License-Identifier: MIT
"""What happens between two steps of a chunk message: a proxy holds back what Redis answers to one worker, so that
others get in between, or the worker is killed there."""
import time

import pytest

from clients import bare_socket, frame, read_until
from harness import SLOW, Worker, uid, wait_until
from proxy import Proxy
from test_chunk_cache import chunk_stats, kept, wait_stats
from test_chunk_pulls import OPEN, who_is_asked
from test_chunks import NOT_FOUND, announce, data_of, push, wait_in_vain

PATIENCE_MS = 600 * SLOW


@pytest.fixture
def fleet_with_proxy(start, closing):
    """(proxy, fleet): the first worker reaches Redis directly, the second through the proxy."""
    def fleet_with_proxy(**env):
        env = {"CHUNK_PULL_TIMEOUT_MS": PATIENCE_MS, **OPEN, **env}
        fleet = start(1, **env)
        proxy = Proxy(fleet.redis.port)
        closing.callback(proxy.close)
        fleet.workers.append(Worker(proxy.url, **env))
        return proxy, fleet

    return fleet_with_proxy


def ask(client, chunk, peer=None):
    peer = peer or uid()
    client.send(type="chunk_request", peerId=peer, chunkId=chunk)
    return peer


def test_a_chunk_pushed_between_the_look_and_the_wait_is_served_and_not_waited_for(fleet_with_proxy, connect):
    proxy, fleet = fleet_with_proxy()
    pusher, waiter = (connect(worker) for worker in fleet.workers)
    with proxy.holding("chunk/read") as called:
        ask(waiter, "c")
        called()
        push(pusher, "c", 1)
    assert data_of(waiter, "c", "cache") == 1
    waiter.silence(0.1)
    wait_stats(fleet, 0, 0, 1, 0)


def test_a_chunk_pushed_between_the_wait_and_the_pull_is_served_once(fleet_with_proxy, connect):
    proxy, fleet = fleet_with_proxy()
    pusher, waiter = (connect(worker) for worker in fleet.workers)
    announce(pusher, "c")
    with proxy.holding("chunk/wait") as called:
        ask(waiter, "c")
        called()
        push(pusher, "c", 1)
    assert data_of(waiter, "c", "relay") == 1
    waiter.silence(0.1)
    pusher.silence(0.1)
    wait_stats(fleet, 1, 1, 1, 0)


def test_a_pull_is_watched_that_begins_while_a_request_hears_of_no_source(fleet_with_proxy, connect):
    proxy, fleet = fleet_with_proxy()
    first, second, waiter = (connect(fleet.workers[i]) for i in (0, 0, 1))
    with proxy.holding("chunk/pull") as called:
        ask(waiter, "c")
        called()
        announce(first, "c")
        first.expect("chunk_pull")
        announce(second, "c")
    assert waiter.recv()["message"] == NOT_FOUND
    second.expect("chunk_pull", PATIENCE_MS / 1000 + 2)  # the first one is silent
    push(second, "c")
    data_of(waiter, "c", "relay")


def test_a_pull_is_watched_that_begins_while_another_source_leaves(fleet_with_proxy, connect):
    proxy, fleet = fleet_with_proxy()
    first, second, waiter, leaves = (connect(fleet.workers[i]) for i in (0, 0, 0, 1))
    announce(leaves, "c")
    with proxy.holding("chunk/pull") as called:
        leaves.drop()
        called()
        announce(first, "c")
        announce(second, "c")
        ask(waiter, "c")
        wait_until(lambda: not first.inbox.empty() or not second.inbox.empty())
    time.sleep(PATIENCE_MS / 1000)
    for source in (first, second):
        source.expect("chunk_pull", 2)
    assert waiter.recv(PATIENCE_MS / 1000 + 2)["message"] == NOT_FOUND


def test_a_pull_outlives_the_worker_that_chose_the_source(fleet_with_proxy, connect):
    proxy, fleet = fleet_with_proxy()
    first, second, waiter, lost = (connect(fleet.workers[i]) for i in (0, 0, 0, 1))
    announce(first, "c")
    announce(second, "c")
    with proxy.holding("chunk/pull") as called:
        ask(lost, "c")
        called()
        ask(waiter, "c")
        waiter.silence(0.05)
        fleet.workers[1].kill9()
    push(who_is_asked([first, second], "c", PATIENCE_MS / 1000 + 2), "c")
    data_of(waiter, "c", "relay")


def test_a_push_outlives_its_worker_once_it_is_stored(fleet_with_proxy, connect):
    proxy, fleet = fleet_with_proxy()
    waiter, source = (connect(worker) for worker in fleet.workers)
    announce(source, "c")
    ask(waiter, "c")
    source.expect("chunk_pull")
    with proxy.holding("chunk/push") as called:
        source.send(type="chunk_push", chunkId="c", data=1)
        called()
        fleet.workers[1].kill9()
    message = waiter.recv(12)  # at the latest when the dead worker is cleaned up after
    assert (message["type"], message.get("data")) == ("chunk_data", 1)


def test_a_chunk_pushed_again_while_it_is_evicted_stays(fleet_with_proxy, connect):
    proxy, fleet = fleet_with_proxy(CHUNK_CACHE_MAX=1)
    pusher, evictor = (connect(worker) for worker in fleet.workers)
    push(pusher, "old")
    with proxy.holding("chunk/keep") as called:
        evictor.send(type="chunk_push", chunkId="new", data=1)
        called()
        push(pusher, "old", 2)
        wait_until(lambda: kept(fleet) == {"old"})
    evictor.expect("chunk_push_ack")
    evictor.send(type="heartbeat")
    evictor.expect("heartbeat_ack")
    assert chunk_stats(fleet.workers[0])[2] == 1
    assert pusher.request("chunk_request", peerId=uid(), chunkId="old").get("data") == 2


def test_a_request_that_comes_as_a_pull_runs_out_is_answered_once(start, connect):
    patience = 3 * PATIENCE_MS  # the next pull runs out so much later: all is over by then
    fleet = start(1, CHUNK_PULL_TIMEOUT_MS=patience, **OPEN)
    source, first = connect(fleet.workers[0]), connect(fleet.workers[0])
    others = [connect(fleet.workers[0]) for _ in range(60)]
    announce(source, "c")
    ask(first, "c")
    source.expect("chunk_pull")
    begun = time.monotonic()
    time.sleep(patience / 1000 - 0.02)
    for other in others:
        ask(other, "c")
        time.sleep(0.005)
    assert time.monotonic() - begun > patience / 1000 + 0.25
    time.sleep(0.1)
    early = [other for other in others if other.inbox.qsize() > 1]
    assert not early, f"{len(early)} were told twice that there is no source"


def test_a_requester_is_not_asked_for_its_own_request_after_another_failed(start, connect):
    fleet = start(2, CHUNK_PULL_TIMEOUT_MS=PATIENCE_MS)
    source, waiter = (connect(worker) for worker in fleet.workers)
    peer = announce(waiter, "c")
    announce(source, "c")
    ask(waiter, "c", peer)
    source.expect("chunk_pull")
    assert waiter.recv(PATIENCE_MS / 1000 + 2)["type"] == "chunk_not_found"


@pytest.mark.parametrize("how", ["its connection is half dead", "its worker was killed"])
def test_a_peer_that_comes_back_is_counted_though_its_former_self_is_undone(start, connect, closing, how):
    fleet = start(2, TAKEOVER_PROBE_MS=200 * SLOW)
    peer, former = uid(), bare_socket(fleet.workers[1])
    closing.callback(former.close)
    former.sendall(
        frame('{"type":"chunk_announce","peerId":"%s","chunks":[{"chunkId":"c","routingHash":"h"}]}' % peer) +
        frame('{"type":"chunk_request","peerId":"%s","chunkId":"d"}' % peer))
    read_until(former, b"chunk_not_found")
    if how == "its worker was killed":
        fleet.workers[1].kill9()
    client, chunks = connect(fleet.workers[0]), [{"chunkId": "c", "routingHash": "h"}]
    announcement = {"peerId": peer, "chunks": chunks}
    wait_until(lambda: client.request("chunk_announce", **announcement)["type"] == "chunk_announce_ack", 12)
    wait_in_vain(client, "d", peer)
    if how == "its worker was killed":
        wait_until(lambda: fleet.redis.client.zcard("sb:workers") == 1, 14, "the end of the dead worker")
    else:
        assert read_until(former, b"replaced")
        time.sleep(0.2 * SLOW)
    assert chunk_stats(fleet.workers[0]) == (1, 1, 0, 1)
    client.close()
    wait_stats(fleet, 0, 0, 0, 0)
