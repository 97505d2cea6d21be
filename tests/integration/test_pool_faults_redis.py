# SPDX-License-Identifier: MIT
"""The pool when Redis falls silent, forgets or is away, and no member is."""
import signal
import time

import pytest

from front import HASTY, error, forget, offered, pool, settle
from harness import CROWD, SLOW, UNAVAILABLE, freeze, get, ready, wait_until


@pytest.fixture
def fleet(start):
    return start(**HASTY)


@pytest.fixture
def served(fleet, join, caller):
    """A fleet, its members that send heartbeats, and clients of more than one of them."""
    members = [join(fleet.workers[i % 2], beats=True) for i in range(4)]
    settle(fleet, *members)
    clients = [caller(fleet.workers[i % 2], ip=f"10.3.{i}.1") for i in range(20)]
    assert len({client.worker["id"] for client in clients}) > 1
    return fleet, members, clients


def empty(fleet, _):
    fleet.redis.client.flushall()


def restart(fleet, members):
    fleet.redis.stop()
    for member in members:
        assert member.recv() == error(UNAVAILABLE)
    fleet.redis.start()


def stall(fleet, _):
    """For longer than a member may be silent."""
    freeze(fleet.redis.process)
    time.sleep(1.5 * SLOW)
    fleet.redis.process.send_signal(signal.SIGCONT)


FAULTS = pytest.mark.parametrize("fault", [empty, restart, stall])


def over(fleet, members):
    """Waits until all is as it was."""
    wait_until(lambda: all(ready(worker) for worker in fleet.workers), 10, "ready")
    acks = [member.acks for member in members]
    wait_until(lambda: all(m.acks > a + 3 for m, a in zip(members, acks)), 10, "heartbeats that are acknowledged")
    settle(fleet, *members)


@FAULTS
def test_clients_of_members_that_live_are_not_told_that_they_have_gone(served, fault):
    fleet, members, clients = served
    fault(fleet, members)
    over(fleet, members)
    told = [client.recv() for client in clients if not client.inbox.empty()]
    assert told == []


@FAULTS
def test_the_version_of_the_ring_never_goes_back(served, fault):
    fleet, members, clients = served
    for i in range(10):
        members[0].register(capacity=100 + i)
    version = get(fleet.workers[0], "/workers")["ringVersion"]
    fault(fleet, members)
    over(fleet, members)
    assert [get(worker, "/workers")["ringVersion"] >= version for worker in fleet.workers] == [True] * 2
    for member in members:
        versions = [update["ringVersion"] for _, update in member.updates]
        assert versions == sorted(versions)


@FAULTS
def test_messages_go_both_ways_again(served, fault):
    fleet, members, clients = served
    fault(fleet, members)
    over(fleet, members)
    ids = [f"sb:{{client:{client.id}}}" for client in clients] + [f"sb:{{pool:{member.id}}}" for member in members]
    wait_until(lambda: fleet.redis.client.exists(*ids) == len(ids), 1 + CROWD, "everybody's id in Redis")
    for one in members + clients:
        forget(one)
    for client in clients:
        for member in members:
            assert offered(client, member, target=member.id) and offered(member, client, target=client.id)


def test_an_emptied_redis_has_its_pool_back_by_heartbeats(fleet, join, caller, record_property):
    members = [join(fleet.workers[i % 2], beats=True, region=str(i), capacity=i) for i in range(1, 5)]
    members[3].send(type="worker_drain")
    members[0].heard(lambda ring: ring.get(members[3].id, {}).get("status") == "draining")
    settle(fleet, *members)
    before = pool(fleet.workers[0])
    wanted, begun = {m.id for m in members}, time.monotonic()
    fleet.redis.client.flushall()
    wait_until(lambda: set(fleet.redis.client.hkeys("sb:{pool}")) == wanted, 5, "the pool is back")
    took = time.monotonic() - begun
    assert took < 1 * SLOW * CROWD
    record_property("back", took)
    for worker in fleet.workers:
        assert [{**m, "lastSeen": 0} for m in pool(worker).values()] == [{**m, "lastSeen": 0} for m in before.values()]
    assert all(member.inbox.empty() and not member.closed for member in members)
    client = caller(fleet.workers[0])
    for member in members:
        assert offered(client, member, target=member.id) and offered(member, client, target=client.id)


def test_a_redis_that_was_away_has_its_pool_back(fleet, join, caller, record_property):
    members = [join(worker, beats=True) for worker in fleet.workers]
    settle(fleet, *members)
    clients, version = [caller(w) for w in fleet.workers], get(fleet.workers[0], "/workers")["ringVersion"]
    fleet.redis.stop()
    for member in members:
        assert member.recv() == error(UNAVAILABLE)
    fleet.redis.start()
    begun = time.monotonic()
    wait_until(lambda: all(ready(worker) for worker in fleet.workers), 10, "ready")
    settle(fleet, *members)
    record_property("back", time.monotonic() - begun)
    for worker in fleet.workers:
        assert get(worker, "/workers")["ringVersion"] >= version
    acks = [member.acks for member in members]
    wait_until(lambda: all(m.acks > a for m, a in zip(members, acks)), 5, "heartbeats that are acknowledged")
    for client in clients:
        wait_until(lambda: fleet.redis.client.exists(f"sb:{{client:{client.id}}}"), 5, "its id")
        for member in members:
            forget(client), forget(member)
            assert offered(client, member, target=member.id) and offered(member, client, target=client.id)


def test_nobody_notices_that_redis_forgets_its_scripts(fleet, join, caller):
    members = [join(worker, beats=True) for worker in fleet.workers]
    settle(fleet, *members)
    clients, forget_scripts = [caller(worker) for worker in fleet.workers], fleet.redis.client.script_flush
    for i in range(5):
        for client in clients:
            for member in members:
                forget_scripts()
                assert offered(client, member, target=member.id)
                forget_scripts()
                assert offered(member, client, target=client.id)
        forget_scripts()
        members[0].heartbeat(load=i)
        assert pool(fleet.workers[1])[members[0].id]["load"] == i
        forget_scripts()
        third = join(fleet.workers[i % 2])
        settle(fleet, *members, third)
        forget_scripts()
        third.send(type="worker_drain")
        forget_scripts()
        third.send(type="worker_leave")
        settle(fleet, *members)
    assert all(one.inbox.empty() and not one.closed for one in [*members, *clients])
