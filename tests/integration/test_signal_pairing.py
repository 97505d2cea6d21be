# SPDX-License-Identifier: MIT
"""/signal: requests to pair, and what is forwarded between two codes."""
import json
import time

import pytest

from harness import SLOW, Fleet, uid, wait_until
from swarm import members
from test_signal import WHERE, error, path_of, registered

NO_REQUEST, NOT_FOUND = error("No pending request from this peer"), error("Target peer not found")
QUIET = {"SIGNAL_PRESENCE_MAX": 0, "IP_CONNECT_RATE": 0, "MESSAGE_RATE": 0, "PAIR_REQUESTS_PER_MINUTE": 0}
KINDS = ("offer", "answer", "ice_candidate")
SPELLINGS = ['{}', '[]', '""', '0', 'false',
             ' { "b" : 1 ,\t"a":[ ] } ', '{"a":1,"a":2}', r'"\u0041\/\ud83d\ude00\u0000"',
             '"\u00e9\U0001f600\u007f"', '123456789012345678901234567890', '-0.0', '1.0E+5', '0.10000000000000000001',
             '[[[[[[[[ ]]]]]]]]', '{"from":"x","type":"y","target":"z","payload":null}', '"%s%n{}\'"']


@pytest.fixture(scope="module")
def fleet():
    with Fleet(**QUIET) as fleet:
        yield fleet


@pytest.fixture
def pair(fleet, connect):
    """pair(where): a requester on the first worker, a target on that one."""
    def pair(where, **fields):
        path = path_of(uid("room"))
        return [registered(connect(fleet.workers[i], path), **fields) for i in (0, where)]

    return pair


@pytest.fixture
def bare(fleet):
    """Two sockets whose texts are kept as they come."""
    made = []

    def bare(where):
        path = path_of(uid("room"))
        for i in (0, where):
            member = members([fleet.workers[i]], 1, path)[0]
            member.code = uid("code")
            member.send(type="register", pairingCode=member.code)
            member.expect("registered")
            made.append(member)
        return made[-2:]

    yield bare
    for member in made:
        member.sock.close()


@WHERE
@pytest.mark.parametrize("field", ["target", "targetCode"])
def test_a_request_is_accepted_once(pair, where, field):
    a, b = pair(where, publicKey="key+/=")
    a.send(type="pair_request", **{field: b.code}, proposedName="A's \"phone\" \u00e9")
    assert b.recv() == {"type": "pair_request", "from": a.code, "publicKey": "key+/=",
                        "proposedName": "A's \"phone\" \u00e9"}
    b.send(type="pair_accept", **{field: a.code})
    assert a.recv() == {"type": "pair_accept", "from": b.code, "publicKey": "key+/="}
    for kind in ("pair_accept", "pair_reject"):
        assert b.request(kind, target=a.code) == NO_REQUEST
    a.silence(0.05)


@WHERE
def test_a_request_is_rejected_once(pair, where):
    a, b = pair(where)
    for _ in range(2):
        a.send(type="pair_request", target=b.code)
        assert b.recv() == {"type": "pair_request", "from": a.code, "publicKey": None}
        b.send(type="pair_reject", target=a.code)
        assert a.recv() == {"type": "pair_reject", "from": b.code}
        assert b.request("pair_reject", target=a.code) == NO_REQUEST


@WHERE
def test_who_was_not_asked_cannot_answer(pair, where):
    a, b = pair(where)
    a.send(type="pair_request", target=b.code)
    b.expect("pair_request")
    assert a.request("pair_accept", target=b.code) == NO_REQUEST
    assert a.request("pair_accept", target=a.code) == NO_REQUEST
    assert b.request("pair_accept", target=uid("code")) == NO_REQUEST
    b.send(type="pair_accept", target=a.code)
    assert a.recv() == {"type": "pair_accept", "from": b.code, "publicKey": None}


@WHERE
def test_the_request_of_one_who_left_is_over(pair, fleet, connect, where):
    a, b = pair(where)
    a.send(type="pair_request", target=b.code)
    b.expect("pair_request")
    a.close()
    end = time.monotonic() + 5 * SLOW
    while True:  # what is asked first may still be under way
        answer = b.request("pair_accept", target=a.code)
        if answer == NO_REQUEST:
            break
        assert answer == NOT_FOUND and time.monotonic() < end


@WHERE
def test_the_requests_of_a_code_end_with_it(pair, where):
    a, b = pair(where)
    a.send(type="pair_request", target=b.code)
    b.expect("pair_request")
    former = a.code
    registered(a)
    assert b.request("pair_accept", target=former) == NO_REQUEST


def test_the_requests_of_a_worker_that_was_killed_make_room(start, connect):
    fleet = start(3, PAIR_REQUESTS_PER_MINUTE=0, SIGNAL_PRESENCE_MAX=0)
    b, key = registered(connect(fleet.workers[0], "/signal")), "sb:{code:default:%s}:"
    for worker in fleet.workers[1:]:
        a = registered(connect(worker, "/signal"))
        a.send(type="pair_request", target=b.code)
        assert b.expect("pair_request")["from"] == a.code
    fleet.workers[1].kill9()
    redis = fleet.redis.client
    wait_until(lambda: redis.hkeys(key % b.code + "requests") == [a.code], 15, "the end of the request")
    assert redis.hkeys(key % b.code + "askers") == [a.code]


def test_a_request_ends_with_its_time(start, connect):
    fleet = start(PAIR_TIMEOUT_MS=300, **QUIET)
    a, b = [registered(connect(worker, "/signal")) for worker in fleet.workers]
    a.send(type="pair_request", target=b.code)
    b.expect("pair_request")
    time.sleep(0.35)
    for kind in ("pair_accept", "pair_reject"):
        assert b.request(kind, target=a.code) == NO_REQUEST
    a.silence(0.05)


def test_a_connection_asks_only_so_often(start, connect):
    fleet = start(PAIR_REQUESTS_PER_MINUTE=3, SIGNAL_PRESENCE_MAX=0)
    a, b = [registered(connect(worker, "/signal")) for worker in fleet.workers]
    for _ in range(3):
        a.send(type="pair_request", target=b.code)
        b.expect("pair_request")
    for _ in range(2):
        assert a.request("pair_request", target=b.code) == error("Too many pair requests. Please slow down.")
    b.silence(0.05)
    b.send(type="pair_request", target=a.code)
    assert a.expect("pair_request"), "others are not held back"


@WHERE
@pytest.mark.parametrize("kind", KINDS)
def test_payloads_are_forwarded_byte_for_byte(bare, where, kind):
    a, b = bare(where)
    for payload in SPELLINGS:
        a.send_text(f'{{ "payload" :{payload}, "type":"{kind}", "target" : "{b.code}", "x":1}}')
        expected = f'{{"type":"{kind}","from":"{a.code}","payload":{payload.strip()}}}'
        assert b.text() == expected.encode()


@WHERE
def test_a_session_description_of_64_kib_arrives_whole(bare, where):
    a, b = bare(where)
    lines = "".join(f"a=candidate:{i} 1 udp 2122260223 192.0.2.{i % 256} {i} typ host\r\n" for i in range(2000))
    for kind in ("offer", "answer"):
        payload = json.dumps({"type": kind, "sdp": lines[:65536]})
        a.send_text(f'{{"type":"{kind}","target":"{b.code}","payload":{payload}}}')
        assert b.text() == f'{{"type":"{kind}","from":"{a.code}","payload":{payload}}}'.encode()


@WHERE
def test_a_thousand_candidates_in_a_row_arrive_in_order(pair, where):
    a, b = pair(where)
    messages = [{"type": "offer", "target": b.code, "payload": -1}]
    messages += [{"type": "ice_candidate", "target": b.code, "payload": {"candidate": f"{i} " + "x" * (i % 300)}}
                 for i in range(1000)]
    a.send_all(messages)
    for message in messages:
        assert b.recv() == {"type": message["type"], "from": a.code, "payload": message["payload"]}


@WHERE
def test_an_accept_and_what_follows_it_arrive_in_order(pair, where):
    a, b = pair(where)
    for _ in range(20):
        a.send(type="pair_request", target=b.code)
        b.expect("pair_request")
        b.send_all([{"type": "pair_accept", "target": a.code}] +
                   [{"type": kind, "target": a.code, "payload": kind} for kind in KINDS])
        assert [a.recv()["type"] for _ in range(4)] == ["pair_accept", *KINDS]


@WHERE
def test_a_request_and_what_follows_it_arrive_in_order(pair, where):
    a, b = pair(where)
    a.send_all([{"type": kind, "target": b.code, "payload": kind} for kind in ("pair_request", *KINDS)] * 20)
    assert [b.recv()["type"] for _ in range(80)] == ["pair_request", *KINDS] * 20


@WHERE
@pytest.mark.parametrize("message", [{"type": "pair_request"}, *[{"type": kind, "payload": 1} for kind in KINDS]],
                         ids=lambda message: message["type"])
def test_a_target_that_is_not_there_is_not_found(pair, where, message):
    a, b = pair(where)
    assert a.request(message["type"], payload=message.get("payload"), target=uid("code")) == NOT_FOUND
    b.close()
    assert a.request(message["type"], payload=message.get("payload"), target=b.code) == NOT_FOUND


def test_a_socket_may_send_to_itself(pair):
    a, _ = pair(0)
    assert a.request("offer", target=a.code, payload=1) == {"type": "offer", "from": a.code, "payload": 1}
