# SPDX-License-Identifier: MIT
"""Workers are stopped one after the other under load: clients are let go a few at a time, come back
elsewhere and are served; nothing is left of the workers that went."""
import signal
import socket
import time

import pytest

from crowd import Crowd
from crowd_roles import populate
from harness import CROWD, SLOW, UPGRADE, Worker, free_port, freeze, http_request, ready, wait_until
from invariants import leftovers, persists, strays, traces
from swarm import gather, members
from test_chaos import ENV

DRAIN = 2  # seconds
AFTER = 6  # seconds within which a drained worker has ended, when all of it is well: sockets are closed by then


@pytest.fixture
def fleet(start):
    return start(0)


def launch(fleet, port, **env):
    return Worker(fleet.redis.urls()[0], wait=False, PORT=port, **{**ENV, "DRAIN_SECONDS": DRAIN, **env})


def ended(worker, seconds):
    """Its exit code, and after how long."""
    begun = time.monotonic()
    code = worker.process.wait(seconds * SLOW)
    return code, time.monotonic() - begun


def test_a_rolling_restart_serves_everybody_and_leaves_nothing(fleet, closing, record_property):
    ports = [free_port() for _ in range(3)]
    fleet.workers += [launch(fleet, port) for port in ports]
    for worker in fleet.workers:
        worker.wait_ready()
    crowd = Crowd(ports, 1, pace=0.3)
    populate(crowd, 150)
    closing.callback(crowd.stop)
    crowd.start()
    wait_until(lambda: crowd.failure or all(client.settlings for client in crowd.clients), 20, "everybody settled")
    former = []
    for i, port in enumerate(ports):
        worker, begun = fleet.workers[i], time.monotonic()
        there = [(client, client.settlings) for client in crowd.clients if client.sock and client.port == port]
        seen = len(crowd.account.closed)
        worker.process.terminate()
        wait_until(lambda: worker.events("drain"), 1, "the beginning of the drain")
        status, _, body = http_request(worker, "GET", "/ready")
        assert status == 503 and body["error"] == "draining" and time.monotonic() - begun < 0.5 * SLOW * CROWD
        assert worker.process.wait((DRAIN + AFTER) * SLOW) == 0
        took = time.monotonic() - begun
        assert DRAIN <= took
        unwilling = [close for close in crowd.account.closed[seen:] if "own will" not in close[3]]
        closes = [(since - begun, at - begun) for since, at, where, _ in unwilling if where == port]
        assert {reason for _, _, where, reason in unwilling if where == port} == {"1001 server shutdown"}
        assert len(closes) >= 0.8 * len(there) > 20, "the others had left by themselves"
        spread(closes)
        assert not [reason for _, _, where, reason in unwilling if where != port]
        former.append(worker.wid)
        assert not [key for key in fleet.redis.keys() if worker.wid in key]
        wait_until(lambda: all(client.settlings > before for client, before in there), 8, "everybody served again")
        record_property(f"served_{i}", time.monotonic() - begun)
        fleet.workers[i] = launch(fleet, port)
        fleet.workers[i].wait_ready()
    crowd.prove()
    assert not persists(lambda: [client.name for client in crowd.clients if not client.proved], 15)
    assert not crowd.failure and not crowd.unanswered(10)
    assert not (wrong := persists(lambda: strays(fleet.redis.client, fleet.workers, crowd), 5)), wrong
    assert not (left := persists(lambda: traces(fleet.redis.client, former), 10)), left
    crowd.stop()
    assert not (left := persists(lambda: leftovers(fleet.redis.client), 10)), left


def spread(closes):
    """Over all the time, and never more than a third of them in a quarter of it. closes: (no sooner than, no later)."""
    times = [at for _, at in closes]
    assert min(times) < DRAIN / 4 * CROWD * SLOW and max(times) > DRAIN * 0.75, closes
    for begin, _ in closes:
        together = sum(begin <= since and at < begin + DRAIN / 4 for since, at in closes)
        assert together < len(closes) / 3 + 5 * CROWD, closes


def register_all(crowd):
    for i, member in enumerate(crowd):
        member.send(type="register", peerId=f"peer-{i}")
    gather(crowd, 1)


def close_codes(crowd):
    """How they are closed, once all are."""
    for member in crowd:
        while not member.closed:
            member.read()
    return {member.code for member in crowd}


@pytest.fixture
def occupied(start, closing):
    """A worker with registered sockets, and another one."""
    def occupied(**env):
        fleet = start(2, IP_CONNECT_RATE=0, **env)
        crowd = members(fleet.workers[:1], 100)
        closing.callback(lambda: [member.sock.close() for member in crowd])
        register_all(crowd)
        return fleet, fleet.workers[0], crowd

    return occupied


def test_a_second_signal_ends_a_drain_at_once(occupied):
    fleet, worker, crowd = occupied(DRAIN_SECONDS=60)
    worker.process.terminate()
    wait_until(lambda: worker.events("drain"), 2)
    time.sleep(0.5)
    assert worker.process.poll() is None and not all(member.closed for member in crowd)
    worker.process.terminate()
    closes = close_codes(crowd)
    code, took = ended(worker, 8)
    assert (code, closes) == (0, {1001}) and took < 6
    assert not [key for key in fleet.redis.keys() if worker.wid in key]


def test_a_socket_that_comes_while_a_worker_drains_is_sent_elsewhere(occupied):
    fleet, worker, crowd = occupied(DRAIN_SECONDS=3)
    worker.process.terminate()
    wait_until(lambda: worker.events("drain"), 2)
    assert http_request(worker, "GET", "/relay", headers=UPGRADE)[0] == 503
    assert http_request(worker, "GET", "/health")[0] == 200
    assert close_codes(crowd) == {1001}


@pytest.mark.parametrize("away", ["gone", "hung"])
def test_a_drain_ends_though_redis_is_away(occupied, away):
    fleet, worker, crowd = occupied(DRAIN_SECONDS=1)
    fleet.redis.stop() if away == "gone" else freeze(fleet.redis.process)
    try:
        worker.process.terminate()
        closes = close_codes(crowd)
        code, took = ended(worker, 12)
    finally:
        fleet.redis.start() if away == "gone" else fleet.redis.process.send_signal(signal.SIGCONT)
    assert (code, closes) == (0, {1001})
    wait_until(lambda: ready(fleet.workers[1]), 10, "the other is back")
    wait_until(lambda: not [key for key in fleet.redis.keys() if worker.wid in key], 15, "the other cleans up")
    assert fleet.redis.client.hlen("sb:{relays}:all") == 0


@pytest.mark.parametrize("begun", ["POST /servers HTTP/1.1\r\nContent-Length: 100\r\n\r\n{", "POST /servers HTTP/1.1\r\n", ""],
                         ids=["a body", "a head", "nothing"])
def test_a_worker_ends_well_while_the_rest_of_a_request_is_missing(start, closing, begun):
    worker = start(1, DRAIN_SECONDS=0).workers[0]
    for _ in range(3):
        s = closing.enter_context(socket.create_connection(("127.0.0.1", worker.port)))
        s.sendall(begun.encode())
    assert http_request(worker, "GET", "/health")[0] == 200, "it has read what came before"
    worker.stop()
