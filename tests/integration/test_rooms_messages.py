# SPDX-License-Identifier: MIT
"""/ws: what peers send each other, both dialects on one socket, and how much one may send."""
import json

import pytest

from harness import uid, wait_until
from swarm import members
from test_relay import ping_of
from test_rooms import (KINDS, LEFT, PEER_NOT_FOUND, WHERE, ask, came, enter, fault, hear, hear_of, left, listed,
                        open_peer, stamped, welcomed)
from test_signal_pairing import SPELLINGS


@pytest.fixture
def bare(fleet, closing):
    """Two sockets whose texts are kept as they come."""
    def bare(where):
        pair = [members([fleet.workers[i]], 1, "/ws")[0] for i in (0, where)]
        for member in pair:
            closing.callback(member.sock.close)
            welcomed(member)
        return pair

    return bare


@WHERE
@pytest.mark.parametrize("kind", KINDS)
def test_what_peers_send_is_forwarded_byte_for_byte(bare, where, kind):
    a, b = bare(where)
    for i, payload in enumerate(SPELLINGS + ["1.50", r'"\u00e9"', '{ "sdp" : "a\\r\\n" }']):
        extra = f', "request_id":"r{i}"' if i % 2 else ""
        a.send_text(f'{{ "payload" :{payload}, "type":"{kind}", "peer_id":"me", "target_id" : "{b.id}"{extra}}}')
        text = b.text()
        assert b'"payload":' + payload.strip().encode() + b"," in text, text
        assert stamped(json.loads(text)) == {
            "type": kind, "peer_id": a.id, "target_id": b.id, "payload": json.loads(payload),
            **({"request_id": f"r{i}"} if i % 2 else {})}


@WHERE
def test_two_hundred_candidates_arrive_in_order(fleet, start, connect, where):
    fleet = start(MESSAGE_RATE=0)
    a, b = [welcomed(connect(fleet.workers[i], "/ws")) for i in (0, where)]
    a.send_all([{"type": "CANDIDATE", "target_id": b.id, "payload": [i, "x" * i]} for i in range(200)])
    for i in range(200):
        assert hear(b) == {"type": "CANDIDATE", "peer_id": a.id, "target_id": b.id, "payload": [i, "x" * i]}
    a.silence(0.05)


def test_messages_of_all_kinds_are_answered_in_order(enter):
    room, a = uid("room"), enter(0, uid("room"))
    messages = [("JOIN", "ACK"), ("DISCOVER", "PEER_LIST"), ("KEEP_ALIVE", "ACK"), ("JOIN", "ERROR"),
                ("OFFER", "OFFER"), ("LEAVE", "ACK"), ("DISCOVER", "PEER_LIST"), ("LEAVE", "ERROR")] * 20
    a.send_all([{"type": kind, "room_id": room, "request_id": f"{i}", "target_id": a.id, "payload": {}}
                for i, (kind, _) in enumerate(messages)])
    assert [(m["type"], m["request_id"]) for m in (hear(a) for _ in messages)] == [
        (answer, f"{i}") for i, (_, answer) in enumerate(messages)]


def test_a_peer_may_send_to_itself_and_to_peers_of_no_or_another_room(enter, open_peer):
    a, b, c = enter(0, uid("room")), enter(1, uid("room")), open_peer(1)
    for target in (a, b, c):
        a.send(type="OFFER", target_id=target.id, payload={"a": 1}, request_id="q")
        assert hear(target) == {"type": "OFFER", "peer_id": a.id, "target_id": target.id, "payload": {"a": 1},
                                "request_id": "q"}


@WHERE
@pytest.mark.parametrize("end", ["close", "drop"])
def test_what_is_sent_to_one_that_has_gone_is_answered_each_time(enter, where, end):
    room = uid("room")
    a, b = enter(0, room), enter(where, room)
    assert hear_of(a) == came(b, room)
    getattr(b, end)()
    if end == "drop":
        assert hear_of(a) == left(b, room)
    for i in range(10):
        a.send(type=KINDS[i % 3], target_id=b.id, payload=i, request_id=f"{i}")
    answers = [message for message in (hear(a) for _ in range(10 + (end == "close"))) if message != left(b, room)]
    answers.sort(key=lambda answer: answer["request_id"])
    assert answers == [{**PEER_NOT_FOUND, "request_id": f"{i}"} for i in range(10)]


def test_who_left_its_room_can_still_be_written_to(enter):
    room = uid("room")
    a, b = enter(0, room), enter(1, room)
    assert ask(b, "LEAVE") == LEFT
    assert hear_of(a) == came(b, room) and hear_of(a) == left(b, room)
    a.send(type="ANSWER", target_id=b.id, payload=1)
    assert hear(b)["peer_id"] == a.id


def test_one_socket_speaks_both_dialects(enter, fleet, connect):
    a, b = enter(0, uid("room")), connect(fleet.workers[1])
    one, other, place = uid(), uid(), {"hourlyTokens": [uid("hour")]}
    answer = a.request("register", peerId=one)
    assert answer == {"type": "registered", "peerId": one, "relays": answer["relays"]}
    assert b.request("register", peerId=other)["type"] == "registered"
    assert other in a.relays() and one in b.relays()
    assert a.request("register_rendezvous", peerId=one, **place)["liveMatches"] == []
    match = {"peerId": one, "relayId": None}
    assert b.request("register_rendezvous", peerId=other, **place)["liveMatches"] == [match]
    assert a.recv() == {"type": "rendezvous_match", "match": {"peerId": other, "relayId": None}}
    assert a.request("ping") == {"type": "pong"}
    assert a.request("register", peerId=other) == {"type": "error",
                                                   "message": "Peer id in use by another connection"}
    assert a.request("register") == {"type": "error", "message": "Missing required field: peerId"}
    assert a.request("get_relays", count="x") == {"type": "error", "message": "Invalid field: count"}
    assert set(listed(a)) == {a.id}
    for kind in ("PING", "Register", "join", "offer", "pair_request"):
        assert ask(a, kind, request_id="q") == fault("INVALID_MESSAGE", f"Unknown message type: {kind}",
                                                     request_id="q")


@pytest.mark.parametrize("path", ["/relay", "/signal"])
def test_rooms_are_on_their_own_path_only(fleet, connect, path):
    a = connect(fleet.workers[0], path)
    assert a.request("JOIN", room_id="r") == {"type": "error", "message": "Unknown message type: JOIN"}


def test_a_message_over_32_kib_closes_1009_here_and_not_elsewhere(fleet, connect, open_peer):
    a = open_peer(0)
    a.raw(ping_of(32768).encode())
    assert a.recv() == {"type": "pong"}
    a.raw(ping_of(32769).encode())
    assert a.expect_close()[0] == 1009
    relay = connect(fleet.workers[0])
    relay.raw(ping_of(32769).encode())
    assert relay.recv() == {"type": "pong"}


def test_the_longest_message_of_rooms_is_an_option(start, connect):
    worker = start(1, ROOM_MAX_MESSAGE_BYTES=2000).workers[0]
    a = welcomed(connect(worker, "/ws"))
    a.send(type="OFFER", target_id=a.id, payload="x" * 1900)
    assert hear(a)["payload"] == "x" * 1900
    a.send(type="OFFER", target_id=a.id, payload="x" * 2000)
    assert a.expect_close()[0] == 1009


def test_what_is_over_the_rate_is_an_invalid_message(fleet, connect):
    a = connect(fleet.workers[0], "/ws")
    a.expect("ACK")
    a.send_all([{"type": "KEEP_ALIVE"}] * 320)
    answers = [hear(a) for _ in range(320)]
    over = fault("INVALID_MESSAGE", "Rate limit exceeded")
    assert answers.count({"type": "ACK"}) >= 200
    assert over in answers and all(answer in ({"type": "ACK"}, over) for answer in answers)
    wait_until(lambda: ask(a, "KEEP_ALIVE") == {"type": "ACK"}, 3, "a message within the rate")
