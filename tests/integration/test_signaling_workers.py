# SPDX-License-Identifier: MIT
"""/signaling: clients whose worker goes, and those that had none."""
import pytest

import front
from front import HASTY, NO_WORKERS, PATIENT, chosen, error, offered, pool, settle
from harness import SLOW, Fleet, uid

PROBE = 1.0 * SLOW


@pytest.fixture(scope="module")
def fleet():
    with Fleet(**PATIENT) as fleet:
        yield fleet


@pytest.fixture(autouse=True)
def nobody(request):
    """The pool of the shared fleet is empty when a test begins."""
    if "fleet" in request.fixturenames:
        settle(request.getfixturevalue("fleet"))


def leave(member):
    member.send(type="worker_leave")


def close(member):
    member.close()


def drop(member):
    member.drop()


def reassigned(client):
    """The id of its new worker."""
    message = client.expect("reassigned")
    assert message.keys() == {"type", "worker"}
    return message["worker"]["id"]


@pytest.mark.parametrize("go", [leave, close, drop])
def test_clients_of_a_member_that_goes_get_another(fleet, join, caller, go):
    members = [join(fleet.workers[i % 2]) for i in range(4)]
    settle(fleet, *members)
    ips = [f"10.1.{i}.1" for i in range(30)]
    clients = {ip: caller(fleet.workers[i % 2], ip=ip) for i, ip in enumerate(ips)}
    gone = next(m for m in members if m.id == clients[ips[0]].worker["id"])
    theirs = {ip: client for ip, client in clients.items() if client.worker["id"] == gone.id}
    assert 0 < len(theirs) < 30
    go(gone)
    listed = {m.id: m for m in members if m is not gone}
    for ip, client in theirs.items():
        message = client.expect("reassigned")
        assert message == {"type": "reassigned", "worker": pool(fleet.workers[0])[message["worker"]["id"]]}
        assert message["worker"]["id"] == chosen(fleet.workers[0], ip=ip)
        new = listed[message["worker"]["id"]]
        assert offered(client, new) and offered(new, client, target=client.id)
    for client in clients.values():
        assert client.request("ping") == {"type": "pong"}, "nothing else came, and nothing to others"


@pytest.mark.parametrize("go", [leave, close, drop])
def test_where_none_is_left_clients_are_told_and_told_again_when_one_comes(fleet, join, caller, go):
    first, second = [join(worker) for worker in fleet.workers]
    settle(fleet, first, second)
    clients = [caller(worker) for worker in fleet.workers]
    by_id = {first.id: first, second.id: second}
    used = by_id.pop(clients[0].worker["id"])
    (other,) = by_id.values()
    go(used)
    assert [reassigned(client) for client in clients] == [other.id] * 2
    go(other)
    for client in clients:
        assert client.recv() == {"type": "no_workers"}
        assert client.request("offer", payload=1) == error(NO_WORKERS)
    late = [caller(worker) for worker in fleet.workers]
    assert [client.worker for client in late] == [None, None]
    third = join(fleet.workers[1])
    for client in clients + late:
        assert reassigned(client) == third.id
        assert offered(client, third) and offered(third, client, target=client.id)


def test_clients_that_found_all_full_get_the_first_that_has_room(fleet, join, caller):
    member, drains = join(fleet.workers[0], capacity=1), join(fleet.workers[1])
    drains.send(type="worker_drain")
    member.heartbeat(load=1)
    drains.heard(lambda ring: ring.get(member.id, {}).get("load") == 1)
    settle(fleet, member, drains)
    clients = [caller(worker) for worker in fleet.workers]
    assert [client.worker for client in clients] == [None, None]
    member.heartbeat(load=0)
    for client in clients:
        assert reassigned(client) == member.id and offered(client, member)


def test_a_full_member_keeps_its_clients(fleet, join, caller):
    member, watcher = join(fleet.workers[0], capacity=1), join(fleet.workers[1], capacity=0)
    settle(fleet, member, watcher)
    clients = [caller(worker) for worker in fleet.workers]
    member.heartbeat(load=1)
    watcher.heard(lambda ring: ring.get(member.id, {}).get("load") == 1)
    settle(fleet, member, watcher)
    for client in clients:
        assert offered(client, member) and offered(member, client, target=client.id)


def test_a_member_more_takes_nobody_from_another(fleet, join, caller):
    first = join(fleet.workers[0])
    settle(fleet, first)
    clients = [caller(fleet.workers[i % 2], ip=f"10.2.{i}.1") for i in range(20)]
    second = join(fleet.workers[1])
    settle(fleet, first, second)
    assert any(chosen(fleet.workers[0], ip=f"10.2.{i}.1") == second.id for i in range(20))
    for client in clients:
        assert offered(client, first)


def test_clients_of_a_silent_member_get_another_and_none_when_it_was_the_last(start, join, caller):
    fleet = start(**HASTY)
    members = {member.id: member for member in (join(worker, beats=True) for worker in fleet.workers)}
    settle(fleet, *members.values())
    clients = [caller(worker) for worker in fleet.workers]
    used = members.pop(clients[0].worker["id"])
    (other,) = members.values()
    used.quiet.set()
    assert [reassigned(client) for client in clients] == [other.id] * 2
    for client in clients:
        assert offered(client, other) and offered(client, used, target=used.id), "silent, but it can be reached"
    other.quiet.set()
    assert [client.recv() for client in clients] == [{"type": "no_workers"}] * 2
    used.heartbeat()
    assert [reassigned(client) for client in clients] == [used.id] * 2


def test_clients_of_a_member_that_changes_its_connection_stay_with_it(start, join, caller, puppet):
    fleet, member = start(**PATIENT, TAKEOVER_PROBE_MS=int(PROBE * 1000)), uid("member")
    frozen = puppet(fleet.workers[0], member, False, program=front.__file__)
    watcher = join(fleet.workers[1], capacity=0)
    assert [set(pool(worker)) for worker in fleet.workers] == [{member, watcher.id}] * 2
    clients = [caller(worker) for worker in fleet.workers]
    assert [client.worker["id"] for client in clients] == [member] * 2
    frozen.freeze()
    back = join(fleet.workers[1], member)
    assert frozen.thaw_and_end() == "4000 replaced"
    watcher.heard(lambda ring: member in ring, since=back.version - 1)
    for client in clients:
        assert offered(client, back) and offered(back, client, target=client.id), "they are told nothing"
