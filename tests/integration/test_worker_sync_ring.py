# SPDX-License-Identifier: MIT
"""Heartbeats, drain and leave of the pool's members, and that all of them hear of each change."""
import statistics
import time

import pytest

from front import NO_WORKERS, PATIENT, ask_bootstrap, bootstrap, by_id, chosen, error, offered, pool, settle
from harness import CROWD, SLOW, Fleet, get, wait_until


@pytest.fixture(scope="module")
def fleet():
    with Fleet(**PATIENT) as fleet:
        yield fleet


@pytest.fixture(autouse=True)
def nobody(request):
    """The pool of the shared fleet is empty when a test begins."""
    if "fleet" in request.fixturenames:
        settle(request.getfixturevalue("fleet"))


def is_draining(member):
    return lambda ring: ring.get(member.id, {}).get("status") == "draining"


# Heartbeats

def test_a_heartbeat_is_acknowledged_and_tells_the_load(fleet, join):
    member = join(fleet.workers[0], capacity=10)
    for load in 3, 0, 9:
        seen = pool(fleet.workers[1])[member.id]["lastSeen"]
        time.sleep(0.003)
        member.heartbeat(load=load)
        for worker in fleet.workers:
            entry = pool(worker)[member.id]
            assert entry["load"] == load and entry["lastSeen"] > seen
    member.heartbeat()
    member.heartbeat(load=None)
    assert pool(fleet.workers[1])[member.id]["load"] == 9, "who says nothing of its load has the one of before"
    assert member.acks == 5 and member.inbox.empty()


def test_heartbeats_do_not_change_the_ring(fleet, join):
    watcher, member = join(fleet.workers[0]), join(fleet.workers[1], capacity=10)
    for load in 1, 9, 5, 5, 0:
        member.heartbeat(load=load)
    assert get(fleet.workers[0], "/workers")["ringVersion"] == member.version
    member.send(type="worker_drain")
    for hears in watcher, member:
        _, update = hears.heard(is_draining(member))
        assert update["ringVersion"] == member.version + 1
        assert sum(one["ringVersion"] > member.version for _, one in hears.updates) == 1


# Registering again

def test_a_member_may_change_what_it_has_registered(fleet, join):
    member, watcher = join(fleet.workers[0], region="eu", capacity=5), join(fleet.workers[1])
    member.heartbeat(load=4)
    member.endpoint = "wss://elsewhere.example/"
    version = member.register(region="us", capacity=50)["ringVersion"]
    _, update = watcher.heard(lambda ring: ring.get(member.id, {}).get("endpoint") == member.endpoint)
    assert update["ringVersion"] == version > watcher.version
    for worker in fleet.workers:
        entry = pool(worker)[member.id]
        assert (entry["region"], entry["capacity"], entry["status"]) == ("us", 50, "healthy")
    assert bootstrap(fleet.workers[1], region="us")["worker"]["endpoint"] == member.endpoint


# Draining

def test_who_drains_gets_no_new_clients_and_keeps_those_it_has(fleet, join, caller):
    first, second = join(fleet.workers[0]), join(fleet.workers[1])
    settle(fleet, first, second)
    clients = [caller(worker) for worker in fleet.workers]
    drained, other = (first, second) if clients[0].worker["id"] == first.id else (second, first)
    assert [client.worker["id"] for client in clients] == [drained.id] * 2, "they have one address"
    drained.send(type="worker_drain")
    for member in first, second:
        member.heard(is_draining(drained))
    for worker in fleet.workers:
        body = bootstrap(worker)
        assert (body["worker"]["id"], body["alternates"]) == (other.id, [])
        assert caller(worker).worker["id"] == other.id
    for client in clients:
        assert offered(client, drained) and offered(drained, client, target=client.id)
    drained.heartbeat(load=1)
    assert pool(fleet.workers[0])[drained.id]["status"] == "draining", "a heartbeat does not end it"

    drained.close()
    for client in clients:
        assert client.recv() == {"type": "reassigned", "worker": pool(fleet.workers[0])[other.id]}


def test_where_all_drain_there_is_nobody_for_new_clients(fleet, join, caller):
    members = [join(fleet.workers[i % 2]) for i in range(3)]
    for member in members:
        member.send(type="worker_drain")
    members[0].heard(lambda ring: len(ring) == 3 and {m["status"] for m in ring.values()} == {"draining"})
    for worker in fleet.workers:
        wait_until(lambda: ask_bootstrap(worker)[::2] == (503, {"error": NO_WORKERS}), 5, "nobody")
        assert caller(worker).worker is None
    members[0].register()
    for worker in fleet.workers:
        wait_until(lambda: ask_bootstrap(worker)[0] == 200, 5, "one that has come back")
        assert chosen(worker) == members[0].id


# Leaving

def test_who_leaves_is_out_and_may_come_back(fleet, join):
    leaver, stays = join(fleet.workers[0]), join(fleet.workers[1])
    leaver.send(type="worker_leave")
    _, update = stays.heard(lambda ring: set(ring) == {stays.id}, since=stays.version)
    for worker in fleet.workers:
        assert set(pool(worker)) == {stays.id} and chosen(worker) == stays.id
    for message in {"type": "worker_heartbeat"}, {"type": "worker_drain"}, {"type": "worker_leave"}:
        leaver.send(**message)
        assert leaver.recv() == error("Not registered")
    assert leaver.register(capacity=3)["ringVersion"] > update["ringVersion"]
    settle(fleet, leaver, stays)
    leaver.heartbeat()


def test_who_drained_and_left_comes_back_healthy(fleet, join):
    member = join(fleet.workers[0])
    member.send(type="worker_drain")
    member.send(type="worker_leave")
    member.register()
    assert pool(fleet.workers[1])[member.id]["status"] == "healthy"


# All hear of it

def full(member):
    member.heartbeat(load=5)


def half_full(member):
    member.heartbeat(load=4)


def drain(member):
    member.send(type="worker_drain")


def leave(member):
    member.send(type="worker_leave")


@pytest.mark.parametrize("before, change, condition", [
    ([], lambda member: member.register(capacity=6), lambda entry: entry["capacity"] == 6),
    ([], full, lambda entry: entry["load"] == 5 and entry["status"] == "healthy"),
    ([full], half_full, lambda entry: entry["load"] == 4),
    ([full], lambda member: member.register(capacity=6), lambda entry: (entry["load"], entry["capacity"]) == (5, 6)),
    ([], drain, lambda entry: entry["status"] == "draining"),
    ([drain], lambda member: member.register(), lambda entry: entry["status"] == "healthy"),
    ([], leave, lambda entry: not entry), ([], lambda member: member.close(), lambda entry: not entry),
    ([], lambda member: member.drop(), lambda entry: not entry), ([drain], leave, lambda entry: not entry),
    ([leave], lambda member: member.register(), lambda entry: entry)],
    ids=["registers again", "gets full", "has room again", "takes more", "drains", "drains no more", "leaves", "closes",
         "is lost", "drains and leaves", "comes back"])
def test_all_members_hear_when_one(fleet, join, before, change, condition):
    member = join(fleet.workers[0], capacity=5)
    for step in before:
        step(member)
    watchers = [join(worker) for worker in [*fleet.workers, *fleet.workers]]
    for watcher in watchers:
        watcher.heard(lambda ring: len(set(ring) & {w.id for w in watchers}) == 4)
    version = get(fleet.workers[0], "/workers")["ringVersion"]
    change(member)
    heard = [watcher.heard(lambda ring: condition(ring.get(member.id, {})), since=version)[1] for watcher in watchers]
    assert len({update["ringVersion"] for update in heard}) == 1
    for update in heard:
        assert update.keys() == {"type", "ringVersion", "workers"}
        assert {w.id for w in watchers} <= set(by_id(update)) <= {w.id for w in watchers} | {member.id}
    assert get(fleet.workers[1], "/workers")["ringVersion"] == heard[0]["ringVersion"]


def test_who_registers_hears_of_itself_and_who_has_not_hears_nothing(fleet, join):
    silent, authenticated = [join(fleet.workers[0], register=False) for _ in range(2)]
    authenticated.auth()
    members = [join(worker, region=str(i), capacity=i) for i, worker in enumerate(fleet.workers, 1)]
    for member in members:
        _, update = member.heard(lambda ring: set(ring) == {m.id for m in members})
        assert by_id(update) == pool(fleet.workers[0])
    for client in silent, authenticated:
        assert client.request("ping")["type"] in ("pong", "error") and client.updates == []


def test_the_version_of_the_ring_only_grows(fleet, join):
    watchers = [join(worker) for worker in fleet.workers]
    for i in range(15):
        member = join(fleet.workers[i % 2], capacity=1)
        member.heartbeat(load=1)
        member.close() if i % 3 else member.send(type="worker_drain")
    last = wait_until(lambda: len(pool(fleet.workers[0])) == 7 and get(fleet.workers[0], "/workers"), 5)["ringVersion"]
    for watcher in watchers:
        watcher.heard(lambda ring: len(ring) == 7, since=last - 1)
        versions = [update["ringVersion"] for _, update in watcher.updates]
        assert versions == sorted(set(versions)) and versions[-1] == last


def test_a_change_is_heard_everywhere_within_a_tenth_of_a_second(fleet, join, record_property):
    watchers, took = [join(worker) for worker in [*fleet.workers, *fleet.workers]], []
    for i in range(7):
        member = join(fleet.workers[i % 2], register=False)
        member.auth()
        begun = time.monotonic()
        member.ask_to_register()
        version = member.expect("worker_registered")["ringVersion"]
        took.append(max(watcher.heard(lambda ring: member.id in ring)[0] for watcher in watchers) - begun)
        begun = time.monotonic()
        member.drop()
        heard = [watcher.heard(lambda ring: member.id not in ring, since=version)[0] for watcher in watchers]
        took.append(max(heard) - begun)
    record_property("took", took)
    assert statistics.median(took) < 0.1 * SLOW * CROWD
