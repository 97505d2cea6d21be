# SPDX-License-Identifier: MIT
"""/worker-sync: how a member comes into the pool, what it says there, and how it leaves."""
import time

import pytest
import websocket

import front
from front import ENV, KEY, NO_WORKERS, PATIENT, answer_to, ask_bootstrap, bootstrap, by_id, error, pool, settle
from clients import begin_upgrade, read_until
from harness import IN_USE, SLOW, Fleet, get, uid, wait_until

PROBE = 1.0 * SLOW
NOT_AUTHENTICATED, NOT_REGISTERED = error("Not authenticated"), error("Not registered")
WHERE = pytest.mark.parametrize("where", [0, 1], ids=["same worker", "other worker"])


@pytest.fixture(scope="module")
def fleet():
    with Fleet(**PATIENT, TAKEOVER_PROBE_MS=int(PROBE * 1000)) as fleet:
        yield fleet


@pytest.fixture(autouse=True)
def nobody(request):
    """The pool of the shared fleet is empty when a test begins."""
    if "fleet" in request.fixturenames:
        settle(request.getfixturevalue("fleet"))


# Coming in

def test_a_member_is_in_the_pool_of_every_front_server(fleet, join):
    before = int(time.time() * 1000)
    member = join(fleet.workers[0], region="eu", capacity=7)
    for worker in fleet.workers:
        body = get(worker, "/workers")
        assert body["ringVersion"] == member.version
        (entry,) = body["workers"]
        assert before - 1000 <= entry.pop("lastSeen") <= body["timestamp"] + 1000
        assert entry == {"id": member.id, "endpoint": member.endpoint, "region": "eu", "capacity": 7, "load": 0,
                         "status": "healthy"}


def test_region_and_capacity_need_not_be_given(fleet, join):
    plain, empty = join(fleet.workers[0]), join(fleet.workers[1], region="", capacity=None)
    for member in plain, empty:
        entry = pool(fleet.workers[0])[member.id]
        assert (entry["region"], entry["capacity"]) == (None, 100)


@pytest.mark.parametrize("member", ["x" * 256, "\u00e9" * 128, "a b:c", "{x}", "%41", "\"\\\t"[:2], "\U0001f600"])
def test_any_id_is_one(fleet, join, member):
    join(fleet.workers[0], member)
    assert set(pool(fleet.workers[1])) == {member}
    assert bootstrap(fleet.workers[1])["worker"]["id"] == member


def test_each_challenge_is_another(fleet, join):
    nonces = {join(fleet.workers[i % 2], register=False).nonce for i in range(10)}
    assert len(nonces) == 10 and min(map(len, nonces)) >= 32


@pytest.mark.parametrize("proof", [
    lambda nonce, other: answer_to(nonce, "another key"), lambda nonce, other: answer_to(other),
    lambda nonce, other: answer_to(nonce)[:-1], lambda nonce, other: answer_to(nonce) + "0",
    lambda nonce, other: KEY, lambda nonce, other: nonce, lambda nonce, other: "0" * 64],
    ids=["another key", "another challenge", "shorter", "longer", "the key", "the nonce", "zeros"])
def test_who_does_not_know_the_key_is_closed_and_no_member(fleet, join, proof):
    member, other = [join(worker, register=False) for worker in fleet.workers]
    assert (wrong := proof(member.nonce, other.nonce)) != answer_to(member.nonce)
    member.auth(hmac=wrong)
    try:
        member.ask_to_register()
    except (OSError, websocket.WebSocketException):
        pass  # closed already
    assert member.expect_close()[0] == 4401
    other.auth()
    other.register()
    settle(fleet, other)


def test_who_does_not_authenticate_within_five_seconds_is_closed(start, join, connect):
    worker, begun = start(1, **PATIENT).workers[0], time.monotonic()
    mute, talker = [join(worker, register=False) for _ in range(2)]
    late = join(worker, register=False)
    assert talker.request("worker_heartbeat") == NOT_AUTHENTICATED
    late.auth()
    assert talker.request("ping") == {"type": "pong"}
    assert [client.expect_close(8)[0] for client in (mute, talker)] == [4401, 4401]
    assert 4.9 < time.monotonic() - begun < 5 + 2 * SLOW
    assert late.register()["id"] == late.id, "who has authenticated may take its time"


def upgrade_status(worker, path="/worker-sync", ip=None):
    try:
        websocket.create_connection(f"ws://127.0.0.1:{worker.port}{path}", timeout=10 * SLOW,
                                    header={"X-Forwarded-For": ip} if ip else {}).close()
        return 101
    except websocket.WebSocketBadStatusException as e:
        return e.status_code


def test_without_a_key_there_is_no_pool(start):
    worker = start(1, IP_CONNECT_RATE=0).workers[0]
    s = begin_upgrade(worker.port, "/worker-sync")
    assert b" 503 " in read_until(s, b"\r\n")
    s.close()
    assert upgrade_status(worker, "/signaling") == 101
    wait_until(lambda: ask_bootstrap(worker)[::2] == (503, {"error": NO_WORKERS}), 5, "the pool, which is read")
    assert get(worker, "/workers")["workers"] == []


def test_only_allowed_addresses_may_be_members(start):
    worker = start(1, **ENV, WORKER_ALLOW="10.1.0.0/16, 2001:db8::/32,192.0.2.7").workers[0]
    allowed = ["10.1.2.3", "2001:db8:1::1", "192.0.2.7", "::ffff:10.1.0.1"]
    others = ["10.2.0.1", "192.0.2.8", "::1", None]
    assert {ip: upgrade_status(worker, ip=ip) for ip in allowed} == dict.fromkeys(allowed, 101)
    assert {ip: upgrade_status(worker, ip=ip) for ip in others} == dict.fromkeys(others, 403)
    assert upgrade_status(worker, "/signaling", "10.2.0.1") == 101


# What is wrong with a message

SPEECHES = [{"type": "worker_heartbeat"}, {"type": "worker_drain"}, {"type": "worker_leave"},
            *[{"type": kind, "target": "x", "payload": 1} for kind in ("offer", "answer", "ice_candidate")]]


@pytest.mark.parametrize("message", [{"type": "worker_register", "endpoint": "wss://x"}, *SPEECHES], ids=str)
def test_who_has_not_authenticated_is_told_so(fleet, join, message):
    member = join(fleet.workers[0], register=False)
    assert member.request(message["type"]) == NOT_AUTHENTICATED
    member.send(**message)
    assert member.recv() == NOT_AUTHENTICATED
    member.auth()
    assert member.register()["id"] == member.id


@pytest.mark.parametrize("message", SPEECHES, ids=str)
def test_who_has_not_registered_is_told_so(fleet, join, message):
    member = join(fleet.workers[0], register=False)
    member.auth()
    member.send(**message)
    assert member.recv() == NOT_REGISTERED
    assert pool(fleet.workers[1]) == {} and member.acks == 0
    assert member.register()["id"] == member.id


def missing(field):
    return error(f"Missing required field: {field}")


def invalid(field):
    return error(f"Invalid field: {field}")


@pytest.mark.parametrize("fields, answer", [
    *[({"id": value}, missing("id")) for value in (None, "")],
    *[({"id": value}, invalid("id")) for value in (5, [], True, "x" * 257, "a\nb", "\u007f")],
    *[({"hmac": value}, missing("hmac")) for value in (None, "")],
    *[({"hmac": value}, invalid("hmac")) for value in (5, {}, False)],
    ({"id": None, "hmac": 5}, missing("id"))], ids=str)
def test_a_faulty_auth_is_answered_with_its_fault(fleet, join, fields, answer):
    member = join(fleet.workers[0], register=False)
    member.auth(**fields)
    assert member.recv() == answer
    assert member.request("worker_heartbeat") == NOT_AUTHENTICATED
    member.auth()
    assert member.register()["id"] == member.id


@pytest.mark.parametrize("fields, answer", [
    *[({"endpoint": value}, missing("endpoint")) for value in (None, "")],
    *[({"endpoint": value}, invalid("endpoint")) for value in (5, [], True, {})],
    *[({"region": value}, invalid("region")) for value in (5, ["eu"], False, "x" * 257, "a\nb")],
    *[({"capacity": value}, invalid("capacity")) for value in ("5", -1, 1.5, True, [], 1e30)],
    ({"endpoint": None, "region": 5}, missing("endpoint")), ({"region": 5, "capacity": -1}, invalid("region"))],
    ids=str)
def test_a_faulty_register_is_answered_with_its_fault_and_changes_nothing(fleet, join, fields, answer):
    member = join(fleet.workers[0], register=False)
    member.auth()
    member.ask_to_register(**fields)
    assert member.recv() == answer and pool(fleet.workers[0]) == {}
    before = member.register(region="eu", capacity=5)["ringVersion"]
    member.ask_to_register(**fields)
    assert member.recv() == answer
    body = get(fleet.workers[1], "/workers")
    assert body["ringVersion"] == before and by_id(body)[member.id]["capacity"] == 5


@pytest.mark.parametrize("message, answer", [
    *[({"type": "worker_heartbeat", "load": value}, invalid("load")) for value in ("5", -1, 0.5, True, [], 1e30)],
    *[({"type": kind, **fields}, answer) for kind in ("offer", "answer", "ice_candidate") for fields, answer in (
        ({"payload": 1}, missing("target")), ({"target": "", "payload": 1}, missing("target")),
        ({"target": 5, "payload": 1}, invalid("target")), ({"target": "x" * 257, "payload": 1}, invalid("target")),
        ({"target": "x"}, missing("payload")), ({"target": "x", "payload": None}, missing("payload")),
        ({}, missing("target")))],
    ({"type": "reassigned"}, error("Unknown message type: reassigned")),
    ({"type": "register", "peerId": "x"}, error("Unknown message type: register")), ({}, missing("type")),
    ({"type": 5}, invalid("type"))], ids=str)
def test_a_faulty_message_is_answered_with_its_fault(fleet, join, message, answer):
    member = join(fleet.workers[0])
    seen = pool(fleet.workers[1])
    member.send(**message)
    assert member.recv() == answer
    assert member.request("ping") == {"type": "pong"}
    assert member.acks == 0 and pool(fleet.workers[1]) == seen


@pytest.mark.parametrize("text", ["{", "[]", "5", '{"type":"ping"', ""])
def test_what_is_no_object_is_malformed(fleet, join, text):
    member = join(fleet.workers[0])
    member.raw(text)
    assert member.recv() == error("Invalid message format: JSON parse error")
    assert member.request("ping") == {"type": "pong"}


# Whose id it is

@WHERE
def test_a_living_member_keeps_its_id(fleet, join, where):
    holder = join(fleet.workers[0], region="eu")
    other = join(fleet.workers[where], holder.id, register=False)
    other.endpoint = "wss://usurper.example"
    other.auth()
    other.ask_to_register(region="us")
    assert other.recv() == error(IN_USE)
    assert other.request("worker_heartbeat") == NOT_REGISTERED
    other.close()
    holder.heartbeat(load=3)
    for worker in fleet.workers:
        entry = pool(worker)[holder.id]
        assert (entry["endpoint"], entry["region"], entry["load"]) == (holder.endpoint, "eu", 3)


@WHERE
def test_a_frozen_member_is_replaced(fleet, join, puppet, where):
    member = uid("member")
    holder = puppet(fleet.workers[0], member, False, program=front.__file__)
    assert set(pool(fleet.workers[1])) == {member}
    holder.freeze()
    begun = time.monotonic()
    newcomer = join(fleet.workers[where], member, region="new")
    assert PROBE - 0.1 < time.monotonic() - begun < PROBE + 2 * SLOW
    assert holder.thaw_and_end() == "4000 replaced"
    newcomer.heartbeat(load=2)
    for worker in fleet.workers:
        entry = pool(worker)[member]
        assert (entry["region"], entry["load"]) == ("new", 2)


@WHERE
@pytest.mark.parametrize("end", ["worker_leave", "close", "drop"])
def test_an_id_is_free_at_once_when_its_member_has_gone(fleet, join, where, end):
    holder = join(fleet.workers[0])
    if end == "worker_leave":
        holder.send(type=end)
        assert holder.request("ping") == {"type": "pong"}
    else:
        getattr(holder, end)()
        settle(fleet)
    begun = time.monotonic()
    successor = join(fleet.workers[where], holder.id, region="new")
    assert time.monotonic() - begun < PROBE / 2
    successor.heartbeat()
    assert pool(fleet.workers[1])[holder.id]["region"] == "new"


def test_a_socket_keeps_the_id_it_has_authenticated_for(fleet, join):
    a, b = join(fleet.workers[0]), join(fleet.workers[1])
    a.auth(id=b.id)
    assert a.expect_close()[0] == 4401
    settle(fleet, b)


def test_who_leaves_while_it_registers_leaves_nothing(fleet, join):
    gone = [join(fleet.workers[i % 2], register=False) for i in range(12)]
    for i, member in enumerate(gone):
        member.auth()
        member.ask_to_register()
        member.close() if i % 3 else member.drop()
    stays = join(fleet.workers[0])
    settle(fleet, stays)
    wait_until(lambda: not any(member.id in key for key in fleet.redis.keys() for member in gone), 5, "their ids free")


def test_of_two_that_want_one_id_exactly_one_has_it(fleet, join):
    for _ in range(5):
        member = uid("member")
        rivals = [join(worker, member, register=False) for worker in fleet.workers]
        for i, rival in enumerate(rivals):
            rival.auth()
            rival.ask_to_register(region=str(i))
        answers = [rival.recv(PROBE + 3) for rival in rivals]
        assert sorted(answer["type"] for answer in answers) == ["error", "worker_registered"]
        assert error(IN_USE) in answers
        assert pool(fleet.workers[0])[member]["region"] == str(answers.index(error(IN_USE)) ^ 1)
        for rival in rivals:
            rival.close()


def test_a_member_may_speak_for_more_clients_than_a_client_for_itself(start, join):
    fleet = start(1, **{**PATIENT, "MESSAGE_RATE": 1, "MESSAGE_BURST": 5})
    member = join(fleet.workers[0])
    for i in range(50):
        member.send(type="worker_heartbeat", load=i)
    wait_until(lambda: member.acks >= 50, 5, "50 heartbeats")
    stranger = front.Member(fleet.workers[0], register=False)
    for _ in range(6):
        stranger.send(type="ping")
    assert [stranger.recv()["type"] for _ in range(6)].count("error") >= 1, "who has not said who it is may not"
