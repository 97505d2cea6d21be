# SPDX-License-Identifier: MIT
"""The pool when members or front servers fail: who is lost is in no ring, who lives is in all."""
import select
import time

import pytest

import front
from front import HASTY, OUT, RANGES, ask_bootstrap, bootstrap, chosen, forget, offered, pool, settle
from harness import CROWD, SLOW, Stopwatch, get, ready, uid, wait_until
from swarm import gather, members as bare_clients, settle as read_all
from test_cleanup import left

ALONE = SLOW * CROWD  # what is measured in real time gets that much more of it


@pytest.fixture
def fleet(start):
    return start(**HASTY)


def range_of(worker, member):
    """An address whose clients are that member's."""
    return next(ip for ip in RANGES if chosen(worker, ip=ip) == member)


def seconds_until(condition, begun, most, what):
    wait_until(condition, 3 * most, what)
    took = time.monotonic() - begun
    assert took < most * ALONE, f"{what} after {took} s"
    return took


def in_no_ring(fleet, member, ip):
    """What each front server answers by itself: GET /workers would have it look."""
    for worker in fleet.workers:
        status, _, body = ask_bootstrap(worker, ip=ip)
        if status == 200 and member in [m["id"] for m in [body["worker"], *body["alternates"]]]:
            return False
    return True


# Members

@pytest.mark.parametrize("end", ["killed", "silent"])
def test_a_lost_member_is_in_no_ring_in_a_second_and_a_half(fleet, join, caller, puppet, record_property, end):
    stays = join(fleet.workers[1], beats=True)
    if end == "killed":
        lost = uid("member")
        lose = puppet(fleet.workers[0], lost, True, program=front.__file__).process.kill
    else:
        silent = join(fleet.workers[0], beats=True)
        lost, lose = silent.id, silent.quiet.set
    wait_until(lambda: all(set(pool(w)) == {stays.id, lost} for w in fleet.workers), 5, "the pool of two")
    ip = range_of(fleet.workers[1], lost)
    clients = [caller(worker, ip=ip) for worker in fleet.workers]
    assert [client.worker["id"] for client in clients] == [lost] * 2
    begun = time.monotonic()
    lose()
    took = seconds_until(lambda: in_no_ring(fleet, lost, ip), begun, OUT, "out of the ring")
    record_property("out_of_the_ring", took)
    for client in clients:
        assert client.expect("reassigned")["worker"]["id"] == stays.id
    assert time.monotonic() - begun < (OUT + 0.1) * ALONE
    assert [set(pool(worker)) for worker in fleet.workers] == [{stays.id}] * 2
    _, update = stays.heard(lambda ring: set(ring) == {stays.id}, since=stays.version)
    for client in clients:
        assert offered(client, stays) and offered(stays, client, target=client.id)

    if end == "silent":
        silent.heard(lambda ring: set(ring) == {stays.id}, since=update["ringVersion"] - 1)
        begun = time.monotonic()
        silent.heartbeat(load=3)
        for member in silent, stays:
            back, _ = member.heard(lambda ring: ring.get(lost, {}).get("load") == 3, since=update["ringVersion"])
        record_property("back_in_the_ring", back - begun)
        wait_until(lambda: [chosen(w, ip=ip) for w in fleet.workers] == [lost] * 2, 5, "its ranges are its own again")
        assert silent.inbox.empty() and pool(fleet.workers[0])[lost]["endpoint"] == silent.endpoint


def test_a_member_that_beats_is_never_out(fleet, join, caller):
    members = [join(fleet.workers[i % 2], beats=True) for i in range(4)]
    settle(fleet, *members)
    client, acks, version = caller(fleet.workers[0]), members[0].acks, get(fleet.workers[0], "/workers")["ringVersion"]
    wait_until(lambda: members[0].acks >= acks + 8, 5, "heartbeats for more than two seconds")
    assert get(fleet.workers[1], "/workers")["ringVersion"] == version
    assert client.inbox.empty() and all(member.inbox.empty() for member in members)


def test_who_was_silent_while_it_drained_comes_back_draining(fleet, join):
    stays, member = [join(worker, beats=True) for worker in fleet.workers]
    member.send(type="worker_drain")
    member.heard(lambda ring: ring.get(member.id, {}).get("status") == "draining")
    member.quiet.set()
    _, update = stays.heard(lambda ring: member.id not in ring, since=member.version)
    member.heartbeat()
    stays.heard(lambda ring: ring.get(member.id, {}).get("status") == "draining", since=update["ringVersion"])
    assert {chosen(worker) for worker in fleet.workers} == {stays.id}


def test_a_thousand_clients_are_told_that_their_worker_has_gone_and_nobody_waits_for_it(start, join, record_property):
    fleet = start(**HASTY, IP_CONNECTIONS_MAX=0, MESSAGE_RATE=0)
    members = {member.id: member for member in (join(worker, beats=True) for worker in fleet.workers)}
    settle(fleet, *members.values())
    bystander = bare_clients(fleet.workers[:1], 1, "/relay")[0]
    crowd = bare_clients(fleet.workers[:1], 1000, "/signaling")
    gather(crowd, 1)
    gone = members.pop(crowd[0].expect("welcome")["worker"]["id"])
    assert {member.expect("welcome")["worker"]["id"] for member in crowd[1:]} == {gone.id}
    (other,), told, waits = members, select.epoll(), []
    for member in crowd:
        told.register(member.fileno(), select.EPOLLIN)
    begun = time.monotonic()
    gone.drop()
    while (count := len(told.poll(0, len(crowd)))) < len(crowd) or len(waits) < 50:
        assert time.monotonic() < begun + OUT * ALONE, f"{count} were told"
        watch = Stopwatch(fleet.workers[0])
        bystander.send(type="ping")
        bystander.expect("pong")
        waits.append(watch.seconds())
    told.close()
    record_property("all_told", time.monotonic() - begun)
    record_property("longest_ping", max(waits))
    assert max(waits) < 0.05 * SLOW
    read_all(crowd, 0.1)
    for member in crowd:
        assert member.expect("reassigned")["worker"]["id"] == other and not member.texts
    for member in [*crowd, bystander]:
        member.sock.close()


# Front servers

def test_the_members_of_a_killed_front_server_go_to_another(fleet, join, caller, record_property):
    dead, alive = fleet.workers
    lost, stays = [join(dead, beats=True) for _ in range(2)], join(alive, beats=True)
    settle(fleet, *lost, stays)
    ip = range_of(alive, lost[0].id)
    clients = [caller(alive, ip=ip), caller(alive, ip=range_of(alive, stays.id))]
    begun = time.monotonic()
    dead.kill9()
    fleet.workers.remove(dead)
    took = seconds_until(lambda: all(in_no_ring(fleet, m.id, ip) for m in lost), begun, OUT, "out of the ring")
    record_property("out_of_the_ring", took)
    assert clients[0].expect("reassigned")["worker"]["id"] == stays.id
    back = [join(alive, member.id, register=False) for member in lost]
    for member in back:
        member.auth()
        member.ask_to_register(region="new")
    for member in back:
        member.version = member.expect("worker_registered")["ringVersion"]
        member.beat()
    record_property("back", time.monotonic() - begun)
    settle(fleet, *back, stays)
    wait_until(lambda: not any(dead.wid in key for key in fleet.redis.keys()), 15, "nothing names the dead one")
    assert set(pool(alive)) == {stays.id, *(member.id for member in back)}
    assert chosen(alive, ip=ip) == back[0].id and pool(alive)[back[0].id]["region"] == "new"
    for client, member in zip(clients, (back[0], back[1])):
        assert offered(client, member, target=member.id) and offered(member, client, target=client.id)
    for client in [*clients, *back, stays]:
        client.close()
    wait_until(lambda: set(left(fleet)) <= {"sb:{pool}:version", "sb:{pool}:watch"}, 5, "what lives is gone")
    assert fleet.redis.client.exists("sb:{pool}:version"), "its number goes on"


@pytest.mark.parametrize("former", ["is open", "has closed"])
def test_a_front_server_that_was_frozen_leaves_the_newer_place_of_its_member_alone(fleet, join, caller, former):
    frozen, other = fleet.workers
    old, stays = join(frozen, beats=True), join(other, beats=True, capacity=0)
    settle(fleet, old, stays)
    clients = [caller(worker) for worker in fleet.workers]
    begun = time.monotonic()
    frozen.pause()
    if former == "has closed":
        old.drop()
    new = join(other, old.id, beats=True, region="new")
    wait_until(lambda: time.monotonic() > begun + 3, 5, "three seconds")
    assert pool(other)[new.id]["region"] == "new"
    frozen.resume()
    if former == "is open":
        assert old.expect_close() == (4000, "replaced")
    wait_until(lambda: ready(frozen), 10, "the frozen one is back")
    acks = new.acks
    wait_until(lambda: new.acks >= acks + 3, 5, "heartbeats of the new one")
    for worker in fleet.workers:
        assert pool(worker)[new.id]["region"] == "new" and bootstrap(worker)["worker"]["region"] == "new"
    assert new.closed is None and new.inbox.empty()
    for client in clients:
        forget(client)
        assert offered(client, new, target=new.id) and offered(new, client, target=client.id)


def test_members_of_a_front_server_that_was_frozen_are_back_when_it_goes_on(fleet, join, caller):
    frozen, other = fleet.workers
    member, stays = join(frozen, beats=True), join(other, beats=True)
    settle(fleet, member, stays)
    ip = range_of(other, member.id)
    client, begun = caller(other, ip=ip), time.monotonic()
    frozen.pause()
    assert client.expect("reassigned")["worker"]["id"] == stays.id
    assert time.monotonic() - begun < (OUT + 0.1) * ALONE
    frozen.resume()
    settle(fleet, member, stays)
    assert [chosen(worker, ip=ip) for worker in fleet.workers] == [member.id] * 2
    assert offered(client, member, target=member.id) and offered(member, client, target=client.id)
