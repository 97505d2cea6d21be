# SPDX-License-Identifier: MIT
"""/signaling: clients, and what they and the members of the pool tell each other."""
import time

import pytest

from front import NO_WORKERS, NOT_FOUND, PATIENT, answer_to, error, offered, pool, send_text, settle, workers_for
from harness import IN_USE, SLOW, UNAVAILABLE, Fleet, ready, uid, wait_until
from swarm import members as bare_clients

PROBE = 1.0 * SLOW
KINDS = ("offer", "answer", "ice_candidate")
WHERE = pytest.mark.parametrize("where", [0, 1], ids=["same worker", "other worker"])
# Spelled so that nobody who reads and writes JSON would spell it again like that.
PAYLOADS = ['{"sdp" : "v=0\\r\\n\\u00e9\u00e9" ,"n":[1.0,1E2, -0 ,12345678901234567890]}', '"\\/"', "0.10", " [ ] ",
            "true", '""', "{}", '{"a":1,"a":2}', f'"{"x" * 200000}"']


@pytest.fixture(scope="module")
def fleet():
    with Fleet(**PATIENT, MESSAGE_RATE=0, TAKEOVER_PROBE_MS=int(PROBE * 1000)) as fleet:
        yield fleet


@pytest.fixture(autouse=True)
def nobody(request):
    """The pool of the shared fleet is empty when a test begins."""
    if "fleet" in request.fixturenames:
        settle(request.getfixturevalue("fleet"))


@pytest.fixture
def pair(fleet, join, caller):
    """pair(where): a client of the first front server and its member, at that one."""
    def pair(where=1, **fields):
        member = join(fleet.workers[where], **fields)
        settle(fleet, member)
        return caller(fleet.workers[0]), member

    return pair


# Welcome

def test_a_client_is_welcomed_with_its_worker(fleet, pair, caller):
    client, member = pair(region="eu", capacity=4)
    assert client.welcome == {"type": "welcome", "clientId": client.id, "worker": pool(fleet.workers[1])[member.id],
                              "iceServers": []}
    other = caller(fleet.workers[1])
    assert other.worker == client.worker and other.id != client.id
    assert client.request("ping") == {"type": "pong"}


def test_clients_of_one_range_get_one_worker_and_it_is_that_of_bootstrap(fleet, join, caller):
    members = [join(fleet.workers[i % 2]) for i in range(4)]
    settle(fleet, *members)
    expected = workers_for(fleet.workers[0])
    got = {ip: caller(fleet.workers[i % 2], ip=ip).worker["id"] for i, ip in enumerate(list(expected)[::10])}
    assert got == {ip: expected[ip] for ip in got} and len(set(got.values())) > 1


@pytest.mark.parametrize("client", ["x", "x" * 256, "a b+c&d=e?f#g/h", "%41", "\u00e9\U0001f600", "\"\\{}", "a:b"])
def test_a_client_keeps_its_id(pair, fleet, caller, client):
    _, member = pair()
    for worker in fleet.workers:
        visitor = caller(worker, client)
        assert visitor.id == client
        assert offered(visitor, member) and offered(member, visitor, target=client)
        visitor.close()


@pytest.mark.parametrize("client", ["", "x" * 257, "\u00e9" * 129, "\t", "a\nb",
                                    "\u007f", "\u0001"], ids=lambda c: repr(c)[:8])
def test_what_can_be_no_id_is_replaced(pair, fleet, caller, client):
    _, member = pair()
    visitor = caller(fleet.workers[0], client)
    assert visitor.id != client and len(visitor.id) >= 16
    assert offered(visitor, member) and offered(member, visitor, target=visitor.id)


@WHERE
def test_a_living_client_keeps_its_id_and_who_wants_it_gets_another(pair, fleet, caller, where):
    holder, member = pair()
    other = caller(fleet.workers[where], holder.id, welcome=False)
    assert other.recv() == error(IN_USE)
    welcome = other.expect("welcome")
    other.id = welcome["clientId"]
    assert other.id != holder.id and welcome["worker"] == holder.worker
    for client in holder, other:
        assert offered(member, client, target=client.id) and offered(client, member)
    other.close()
    assert offered(member, holder, target=holder.id)


@WHERE
def test_a_client_whose_connection_is_frozen_gets_its_id_back(pair, fleet, caller, where):
    _, member = pair()
    frozen = bare_clients(fleet.workers[:1], 1, "/signaling?clientId=me")[0]  # a bare socket answers no pings
    assert frozen.expect("welcome")["clientId"] == "me"
    begun = time.monotonic()
    client = caller(fleet.workers[where], "me")
    assert client.id == "me" and PROBE - 0.1 < time.monotonic() - begun < PROBE + 2 * SLOW
    wait_until(lambda: frozen.closed or frozen.read(), 5, "the close of the frozen one")
    frozen.sock.close()
    assert offered(member, client, target="me") and offered(client, member)


# Messages

@WHERE
@pytest.mark.parametrize("kind", KINDS)
def test_messages_go_both_ways_with_their_bytes_as_they_came(pair, where, kind):
    client, member = pair(where)
    for payload in PAYLOADS:
        for target in "", f'"target":"{member.id}",':
            send_text(client, f'{{"type":"{kind}",{target}"payload":{payload}}}')
            assert member.expect(kind)["from"] == client.id
        send_text(client, f'{{"payload":{payload},"from":"liar","x":1,"type":"{kind}"}}')
        assert member.expect(kind)["from"] == client.id
        send_text(member, f'{{"type":"{kind}","target":"{client.id}","payload":{payload}}}')
        assert client.expect(kind)["from"] == member.id
        for receiver, sender, times in (member, client, 3), (client, member, 1):
            expected = f'{{"type":"{kind}","from":"{sender.id}","payload":{payload.strip()}}}'.encode()
            assert receiver.texts[-times:] == [expected] * times


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_may_name_another_member(fleet, join, caller, kind):
    members = [join(fleet.workers[i % 2]) for i in range(3)]
    settle(fleet, *members)
    client = caller(fleet.workers[0])
    for member in members:
        client.send(type=kind, target=member.id, payload=1)
        assert member.recv() == {"type": kind, "from": client.id, "payload": 1}
        member.send(type=kind, target=client.id, payload=2)
        assert client.recv() == {"type": kind, "from": member.id, "payload": 2}
    assert all(member.inbox.empty() for member in members)


@pytest.mark.parametrize("kind", KINDS)
def test_who_is_not_there_is_not_found(pair, fleet, caller, kind):
    client, member = pair()
    gone = caller(fleet.workers[1])
    gone.close()
    for target in uid(), client.id:
        assert client.request(kind, target=target, payload=1) == error(NOT_FOUND), "a client is no member"
    for target in uid(), member.id, gone.id:
        wait_until(lambda: member.request(kind, target=target, payload=1) == error(NOT_FOUND), 5, "not found")
    assert offered(client, member) and offered(member, client, target=client.id)


@pytest.mark.parametrize("kind", KINDS)
def test_where_there_is_no_member_there_is_nobody_to_talk_to(fleet, caller, kind):
    for worker in fleet.workers:
        client = caller(worker)
        assert client.worker is None
        assert client.request(kind, payload=1) == error(NO_WORKERS)
        assert client.request(kind, target=uid(), payload=1) == error(NOT_FOUND)
        assert client.request("ping") == {"type": "pong"}


@pytest.mark.parametrize("message, text", [
    *[({"type": kind, **fields}, "Missing required field: payload") for kind in KINDS
      for fields in ({}, {"payload": None}, {"target": "x"})],
    ({"type": "offer", "target": 5, "payload": 1}, "Invalid field: target"),
    ({"type": "offer", "target": "x" * 257, "payload": 1}, "Invalid field: target"),
    ({"type": "offer", "target": "a\nb", "payload": 1}, "Invalid field: target"),
    ({"type": "auth", "id": "x", "hmac": answer_to("")}, "Unknown message type: auth"),
    ({"type": "worker_register", "endpoint": "x"}, "Unknown message type: worker_register"),
    ({}, "Missing required field: type")], ids=str)
def test_a_faulty_message_is_answered_with_its_fault(pair, message, text):
    client, member = pair()
    client.send(**message)
    assert client.recv() == error(text)
    assert offered(client, member), "nothing else reached the member"


@WHERE
def test_no_candidate_overtakes_another(pair, where):
    client, member = pair(where)
    for i in range(200):
        client.send(type="ice_candidate", payload=i)
        member.send(type="ice_candidate", target=client.id, payload=i)
    burst = [{"type": "ice_candidate", "payload": i, "target": None if i % 2 else member.id} for i in range(200, 400)]
    client.send_all(burst)
    member.send_all([{**message, "target": client.id} for message in burst])
    for receiver in client, member:
        assert [receiver.recv()["payload"] for _ in range(400)] == list(range(400))


def test_what_a_client_sends_before_it_is_welcome_is_not_lost(pair, fleet, caller):
    holder, member = pair()
    other = caller(fleet.workers[1], holder.id, welcome=False)
    other.send_all([{"type": "ice_candidate", "payload": i} for i in range(50)])
    assert other.recv() == error(IN_USE)
    other.id = other.expect("welcome")["clientId"]
    assert [member.recv() for _ in range(50)] == [
        {"type": "ice_candidate", "from": other.id, "payload": i} for i in range(50)]


# Coming back

@WHERE
@pytest.mark.parametrize("end", ["close", "drop"])
def test_a_client_that_comes_back_with_its_id_gets_the_messages_of_its_member(pair, fleet, caller, where, end):
    client, member = pair()
    getattr(client, end)()
    wait_until(lambda: member.request("offer", target=client.id, payload=1) == error(NOT_FOUND), 5, "its end")
    back = caller(fleet.workers[where], client.id)
    assert back.id == client.id and back.worker == client.worker
    assert offered(member, back, target=client.id) and offered(back, member)


@WHERE
def test_a_member_that_comes_back_gets_the_messages_of_its_clients(pair, fleet, join, where):
    client, member = pair()
    member.drop()
    assert client.recv() == {"type": "no_workers"}
    assert client.request("offer", payload=1) == error(NO_WORKERS)
    back = join(fleet.workers[where], member.id)
    assert client.expect("reassigned")["worker"]["id"] == member.id
    assert offered(client, back) and offered(client, back, target=member.id)
    assert offered(back, client, target=client.id)


def test_a_client_id_is_nobody_elses_while_redis_is_away(caller, start):
    fleet = start(**PATIENT)
    victim = caller(fleet.workers[0])
    fleet.redis.stop()
    for worker in fleet.workers:
        thief = caller(worker, victim.id, welcome=False)
        assert thief.recv() == error(UNAVAILABLE)
        thief.id = thief.expect("welcome")["clientId"]
        assert thief.id != victim.id
    assert caller(fleet.workers[0]).id not in (victim.id, thief.id), "who asks for none is welcome"
    fleet.redis.start()
    wait_until(lambda: all(ready(worker) for worker in fleet.workers), 10, "Redis")
    assert victim.request("ping") == {"type": "pong"}
