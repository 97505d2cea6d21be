# SPDX-License-Identifier: MIT
"""POST /bootstrap and GET /workers: who serves whom, and what else a client is told."""
import base64
import collections
import hashlib
import hmac
import json
import time

import pytest

from front import NO_WORKERS, PATIENT, RANGES, answers, ask_bootstrap, bootstrap, pool, settle, workers_for
from harness import SLOW, UNAVAILABLE, Fleet, get, http_request, uid, wait_until

REFUSED = (503, {"error": NO_WORKERS})
STUN, TURN = ["stun:one.example:3478", "stun:two.example"], ["turn:one.example?transport=udp", "turns:two.example:443"]
SECRET, TTL = "shared with the TURN servers", 1234


@pytest.fixture(scope="module")
def fleet():
    with Fleet(**PATIENT) as fleet:
        yield fleet


@pytest.fixture(autouse=True)
def nobody(request):
    """The pool of the shared fleet is empty when a test begins."""
    if "fleet" in request.fixturenames:
        settle(request.getfixturevalue("fleet"))


@pytest.fixture
def gather(fleet, join):
    """gather(*fields): members with those fields, spread over both front servers, in the pool of both."""
    def gather(*fields):
        members = [join(fleet.workers[i % 2], **each) for i, each in enumerate(fields)]
        settle(fleet, *members)
        return members

    return gather


# Whom the ring chooses

def test_all_front_servers_give_the_same_answers(fleet, gather):
    members = gather(*[{}] * 5)
    here, there = [answers(worker) for worker in fleet.workers]
    assert here == there
    counts = collections.Counter(ids[0] for ids in here.values())
    assert set(counts) == {member.id for member in members} and min(counts.values()) >= 200 / 5 / 3
    assert here == answers(fleet.workers[0]), "and the same the next time"


def test_the_answers_follow_from_the_ring_and_not_from_the_order_in_which_it_came_about(fleet, join):
    ids = [uid("member") for _ in range(4)]
    first = [join(fleet.workers[0], one) for one in ids]
    settle(fleet, *first)
    before = answers(fleet.workers[1])
    for member in first:
        member.close()
    settle(fleet)
    second = [join(fleet.workers[1], one) for one in reversed(ids)]
    settle(fleet, *second)
    assert answers(fleet.workers[0]) == before


@pytest.mark.parametrize("base, same, other", [
    ("10.20.30.", [f"10.20.30.{i}" for i in (0, 1, 127, 255)], lambda i: f"10.20.{i}.1"),
    ("2001:db8:7", ["2001:db8:7::", "2001:db8:7:1::5", "2001:DB8:7:ffff:ffff:ffff:ffff:ffff"],
     lambda i: f"2001:db8:{i + 100:x}::1"),
    ("mapped", ["192.0.2.1", "::ffff:192.0.2.200"], lambda i: f"::ffff:192.0.{i}.1")], ids=["IPv4", "IPv6", "mapped"])
def test_a_range_of_addresses_has_one_worker(fleet, gather, base, same, other):
    gather(*[{}] * 6)
    assert len(set(answers(fleet.workers[0], same).values())) == 1
    assert len(set(answers(fleet.workers[1], map(other, range(40))).values())) > 3, "other ranges have others"


def test_a_member_more_or_less_moves_its_own_ranges_only(fleet, join, gather):
    members = gather(*[{}] * 4)
    before = workers_for(fleet.workers[0])
    fifth = join(fleet.workers[1])
    settle(fleet, *members, fifth)
    with_fifth = workers_for(fleet.workers[0])
    moved = {ip for ip in RANGES if with_fifth[ip] != before[ip]}
    assert {with_fifth[ip] for ip in moved} == {fifth.id}
    assert 200 / 5 / 2.5 < len(moved) < 200 / 5 * 2
    fifth.close()
    settle(fleet, *members)
    assert workers_for(fleet.workers[1]) == before
    members[0].close()
    settle(fleet, *members[1:])
    after = workers_for(fleet.workers[1])
    assert {ip for ip in RANGES if after[ip] != before[ip]} == {ip for ip in RANGES if before[ip] == members[0].id}


def test_a_full_or_draining_member_passes_its_ranges_to_their_alternates(fleet, gather):
    members = gather(*[{"capacity": 5}] * 5)
    before = answers(fleet.workers[0])
    out = members[0]
    for step, back in [(lambda: out.heartbeat(load=5), lambda: out.heartbeat(load=4)),
                       (lambda: out.send(type="worker_drain"), lambda: out.register(capacity=5))]:
        version = get(fleet.workers[0], "/workers")["ringVersion"]
        step()
        members[1].heard(lambda ring: len(ring) == 5, since=version)
        assert set(pool(fleet.workers[0])) == set(pool(fleet.workers[1])) == {member.id for member in members}
        for worker in fleet.workers:
            now = answers(worker)
            assert not any(out.id in ids for ids in now.values())
            for ip, ids in before.items():
                assert now[ip][:2] == tuple(one for one in ids if one != out.id)[:2]
        back()
        wait_until(lambda: answers(fleet.workers[1]) == before, 5, "the answers of before")


def test_where_all_are_full_there_is_no_worker(fleet, gather):
    assert [ask_bootstrap(worker)[::2] for worker in fleet.workers] == [REFUSED] * 2, "none at all"
    members = gather({"capacity": 1}, {"capacity": 0}, {"capacity": 3})
    assert all(members[1].id not in ids for ids in answers(fleet.workers[0]).values())
    members[0].heartbeat(load=1)
    members[2].heartbeat(load=1000)
    for worker in fleet.workers:
        wait_until(lambda: ask_bootstrap(worker)[::2] == REFUSED, 5, "no worker")
    assert len(pool(fleet.workers[1])) == 3
    members[0].heartbeat(load=0)
    for worker in fleet.workers:
        wait_until(lambda: ask_bootstrap(worker)[0] == 200, 5, "one with room")
        assert set(answers(worker).values()) == {(members[0].id,)}


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_there_are_two_alternates_at_most_and_each_is_another(fleet, gather, count):
    members = {member.id for member in gather(*[{}] * count)}
    for ids in answers(fleet.workers[1]).values():
        assert len(ids) == len(set(ids)) == min(count, 3) and set(ids) <= members


# Regions

def test_members_of_the_asked_region_come_first(fleet, gather):
    members = gather(*[{"region": region, "capacity": 2} for region in ("eu", "eu", "us", "us", "us", None)])
    eu, us = ({m.id for m in members[a:b]} for a, b in ((0, 2), (2, 5)))
    for worker in fleet.workers:
        for ids in answers(worker, region="eu").values():
            assert set(ids[:2]) == eu and len(ids) == 3
        asked = answers(worker, region="us")
        assert all(set(ids) == us for ids in asked.values()) and {ids[0] for ids in asked.values()} == us
        plain = answers(worker)
        assert {ids[0] for ids in plain.values()} == {m.id for m in members}
        for region in "nowhere", "", None, "EU":
            assert answers(worker, region=region) == plain
    members[0].heartbeat(load=2)
    members[1].send(type="worker_drain")
    for worker in fleet.workers:
        wait_until(lambda: eu.isdisjoint(sum(answers(worker, RANGES[:20], region="eu").values(), ())), 5, "others")
        assert answers(worker, region="eu") == answers(worker)


# What a client sends and gets

def test_an_answer_holds_all_that_a_client_needs(fleet, gather):
    gather(*[{"region": "eu", "capacity": 9}] * 2)
    for worker in fleet.workers:
        body, listed = bootstrap(worker, clientId="me"), get(worker, "/workers")
        assert body.keys() == {"clientId", "worker", "alternates", "signaling", "iceServers", "ringVersion"}
        assert (body["clientId"], body["signaling"], body["iceServers"]) == ("me", "/signaling", [])
        assert body["ringVersion"] == listed["ringVersion"]
        by_id = {member["id"]: member for member in listed["workers"]}
        assert [by_id[member["id"]] for member in [body["worker"], *body["alternates"]]] == [
            body["worker"], *body["alternates"]]


def test_a_client_keeps_its_id_or_gets_one(fleet, gather):
    gather({})
    for client in "x" * 256, "a b:c/%41", "\u00e9\U0001f600", "\"\\":
        assert bootstrap(fleet.workers[0], clientId=client)["clientId"] == client
    made = [bootstrap(fleet.workers[i % 2], **fields)["clientId"] for i in range(5)
            for fields in ({}, {"clientId": None}, {"clientId": ""})]
    assert len(set(made)) == 15 and min(map(len, made)) >= 16
    status, headers, body = ask_bootstrap(fleet.workers[0], b"")
    assert status == 200 and body["clientId"] not in made, "no body is an empty object"
    assert headers["Content-Type"] == "application/json" and headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("body", ["{", "[]", "5", "null", '"x"', "{}x", '{"clientId":}', "\u0000", " ",
                                  b'{"clientId":"\xff"}', "[" * 70 + "]" * 70], ids=repr)
def test_what_is_no_object_is_refused(fleet, gather, body):
    gather({})
    status, _, answer = ask_bootstrap(fleet.workers[0], body)
    assert status == 400 and list(answer) == ["error"] and isinstance(answer["error"], str)


@pytest.mark.parametrize("field", ["clientId", "region"])
@pytest.mark.parametrize("value", [5, True, ["x"], {}, "x" * 257, "a\nb", "\u007f"], ids=lambda value: repr(value)[:12])
def test_what_can_be_no_id_is_refused(fleet, gather, field, value):
    gather({})
    status, _, answer = ask_bootstrap(fleet.workers[0], json.dumps({field: value}))
    assert (status, answer) == (400, {"error": f"Invalid field: {field}"})


@pytest.mark.parametrize("method, path, allowed", [
    *[(method, "/bootstrap", "POST") for method in ("GET", "DELETE", "PUT")],
    *[(method, "/workers", "GET") for method in ("POST", "DELETE", "PUT")]])
def test_other_methods_are_refused(fleet, method, path, allowed):
    status, headers, _ = http_request(fleet.workers[0], method, path, b"{}")
    assert status == 405 and allowed in headers["Allow"] and method not in headers["Allow"]
    assert http_request(fleet.workers[0], "OPTIONS", path)[0] == 200


# Ice servers

def check_credentials(server, client, begun):
    """draft-uberti-behave-turn-rest: the user name ends, and its HMAC is the password."""
    expiry, _, name = server["username"].partition(":")
    assert name == client and begun + TTL <= int(expiry) <= time.time() + TTL
    digest = hmac.new(SECRET.encode(), server["username"].encode(), hashlib.sha1).digest()
    assert server["credential"] == base64.b64encode(digest).decode()


def test_turn_servers_come_with_credentials_that_end(start, join, caller):
    fleet = start(1, **PATIENT, STUN_SERVERS=",".join(STUN), TURN_SERVERS=", ".join(TURN), TURN_SECRET=SECRET,
                  TURN_TTL_SECONDS=TTL)
    worker = fleet.workers[0]
    settle(fleet, join(worker))
    for client in None, "a:b c", "\u00e9" * 128:
        begun, body, visitor = int(time.time()), bootstrap(worker, clientId=client), caller(worker, client)
        for servers, name in (body["iceServers"], body["clientId"]), (visitor.welcome["iceServers"], visitor.id):
            stun, turn = servers
            assert stun == {"urls": STUN}
            assert turn.keys() == {"urls", "username", "credential"} and turn["urls"] == TURN
            check_credentials(turn, name, begun)


@pytest.mark.parametrize("options, servers", [
    ({"STUN_SERVERS": ",".join(STUN), "TURN_SERVERS": ",".join(TURN)}, [{"urls": STUN}, {"urls": TURN}]),
    ({"STUN_SERVERS": STUN[0], "TURN_SECRET": SECRET}, [{"urls": STUN[:1]}])], ids=["no secret", "no TURN"])
def test_there_are_no_credentials_without(start, join, caller, options, servers):
    fleet = start(1, **PATIENT, **options)
    worker = fleet.workers[0]
    settle(fleet, join(worker))
    assert bootstrap(worker)["iceServers"] == caller(worker).welcome["iceServers"] == servers


# The list of members

def test_the_list_is_of_this_moment(fleet, gather):
    members = gather(*[{}] * 3)
    for i in range(20):
        members[i % 3].heartbeat(load=i)
        body = get(fleet.workers[i % 2], "/workers")
        assert body.keys() == {"workers", "ringVersion", "leader", "timestamp"}
        assert abs(body["timestamp"] - time.time() * 1000) < 1000 * SLOW
        entries = {entry["id"]: entry for entry in body["workers"]}
        entry = entries[members[i % 3].id]
        assert entry["load"] == i and 0 <= body["timestamp"] - entry["lastSeen"] < 1000 * SLOW
        assert [entry["id"] for entry in body["workers"]] == sorted(entries)


def test_without_redis_both_answer_that_they_cannot(start, join):
    fleet = start(**PATIENT)
    join(fleet.workers[0])
    wait_until(lambda: [ask_bootstrap(worker)[0] for worker in fleet.workers] == [200, 200], 5, "a worker for clients")
    fleet.redis.stop()
    for worker in fleet.workers:
        for method, path in ("POST", "/bootstrap"), ("GET", "/workers"):
            wait_until(lambda: http_request(worker, method, path, b"{}")[0] == 503, 5, "the loss of Redis")
            _, headers, body = http_request(worker, method, path, b"{}")
            assert body == {"error": UNAVAILABLE} and headers["Retry-After"] == "1"
    assert ask_bootstrap(fleet.workers[0], "[")[0] == 400
    fleet.redis.start()
    for worker in fleet.workers:
        wait_until(lambda: http_request(worker, "GET", "/workers")[0] == 200, 10, "Redis")
