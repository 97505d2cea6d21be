# SPDX-License-Identifier: MIT
"""Points, tokens and chunks are in nobody's memory but the client's. Where Redis has lost them, by an older snapshot, a
replica that lagged, or another worker's cleaning up, their clients are told to begin anew; nobody else is."""
import time

import pytest

from harness import SLOW, Worker, metric, ready, uid, wait_until
from proxy import Proxy
from test_ghosts import ENV, move, pair_of_servers, restart, settled  # noqa: F401

LOST = (1001, "registrations lost")
MARKS = 'signalbox_script_calls_total{script="fleet/mark"}'
STORES = {"point": lambda c: c.request("register_rendezvous", peerId=uid(), dailyPoints=[uid("day")], deadDrop="d"),
          "token": lambda c: c.request("register_rendezvous", peerId=uid(), hourlyTokens=[uid("hour")]),
          "source": lambda c: c.request("chunk_announce", peerId=uid(), chunks=[{"chunkId": uid(), "routingHash": "h"}]),
          "wait": lambda c: c.request("chunk_request", peerId=uid(), chunkId=uid())}


def stored(connect, worker, what="point"):
    client = connect(worker)
    assert STORES[what](client)["type"] != "error"
    return client


def registered(connect, worker):
    """One that has an id and nothing else: a worker gives it back by itself."""
    client = connect(worker)
    client.request("register", peerId=uid())
    return client


def remembered(worker):
    """Redis remembers what has been stored so far."""
    before = metric(worker, MARKS)
    wait_until(lambda: metric(worker, MARKS) >= before + 2, 10, "two marks more")


def lives(*clients):
    return [client.closed or client.request("ping") for client in clients] == [{"type": "pong"}] * len(clients)


def resynced(worker):
    """It has looked at each of its sockets twice since it has Redis again, and has closed whom it wanted to."""
    wait_until(lambda: ready(worker), 10, "ready")
    time.sleep(4 * SLOW)


@pytest.mark.parametrize("keep", ["remove", "keep"])
def test_who_stored_something_after_the_snapshot_is_told_and_nobody_else(start, connect, keep):
    fleet = start(1, **ENV, DEAD_DROPS_ON_DISCONNECT=keep)
    worker, redis = fleet.workers[0], fleet.redis.client
    for _ in range(5):  # on a busy machine the lease may lapse meanwhile
        early, idle = [stored(connect, worker, what) for what in STORES], registered(connect, worker)
        remembered(worker)
        redis.save()
        late, begun = [stored(connect, worker, what) for what in STORES], time.monotonic()
        restart(fleet)
        for client in late:
            assert client.expect_close(10) == LOST
        resynced(worker)
        assert lives(idle)
        if time.monotonic() - begun < 6 + 4 * SLOW and not worker.events("lease_lost"):
            break
    assert lives(*early)


def test_who_stored_something_is_told_when_redis_has_forgotten_the_worker(start, connect):
    fleet = start(**ENV)
    worker = fleet.workers[0]
    clients, idle = [stored(connect, worker, what) for what in STORES], registered(connect, worker)
    fleet.redis.client.flushall()
    for client in clients:
        assert client.expect_close(10) == LOST
    assert lives(idle) and not worker.events("lease_lost")


def test_nobody_is_closed_when_a_connection_breaks(start, connect):
    fleet = start(**ENV)
    worker, redis = fleet.workers[0], fleet.redis.client
    early = [stored(connect, worker, what) for what in STORES]
    remembered(worker)
    late = [stored(connect, worker, what) for what in STORES]
    for kind in "normal", "pubsub":
        redis.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
    wait_until(lambda: len(worker.events("redis_connected")) >= 4, 10, "both connections again")
    resynced(worker)
    assert lives(*early, *late) and not worker.events("lease_lost")


@pytest.fixture
def apart(closing, pair_of_servers):  # noqa: F811
    """A master, its replica, and two workers each with a proxy of its own."""
    proxies, workers = [Proxy(pair_of_servers[0].port) for _ in range(2)], []
    for proxy in proxies:
        closing.callback(proxy.close)
        workers.append(Worker(proxy.url, **ENV))
        closing.callback(workers[-1].stop)
    return *pair_of_servers, proxies, workers


def kick(server, worker):
    """Ends the worker's connections to that server."""
    for client in server.client.client_list():
        if worker.wid in client["name"]:
            server.client.client_kill_filter(_id=client["id"])


def test_who_was_cleaned_up_after_on_the_new_master_while_its_worker_stayed_on_the_old_is_told(connect, apart):
    old, new, (_, _), (moves, stays) = apart
    [first, second] = apart[2]
    clients, idle = [stored(connect, stays, what) for what in STORES], registered(connect, stays)
    mine = stored(connect, moves)
    remembered(moves)
    settled(old, new)
    new.client.replicaof("no", "one")
    first.target = new.port
    kick(old, moves)
    wait_until(lambda: [e for e in moves.events("worker_reaped") if e["wid"] == stays.wid], 20, "its cleaning up")
    assert lives(*clients, idle) and ready(stays)
    second.target = new.port
    kick(old, stays)
    for client in clients:
        assert client.expect_close(10) == LOST
    resynced(stays)
    assert lives(idle, mine) and not stays.events("lease_lost")


def test_what_the_replica_did_not_get_is_told(connect, apart):
    old, new, proxies, (worker, _) = apart
    early = [stored(connect, worker, what) for what in STORES]
    remembered(worker)
    settled(old, new)
    new.client.replicaof("no", "one")
    late = [stored(connect, worker, what) for what in STORES]
    move(old, new, proxies)
    for client in late:
        assert client.expect_close(10) == LOST
    resynced(worker)
    assert lives(*early) and not worker.events("lease_lost")
