# SPDX-License-Identifier: MIT
"""/signal: codes, whose they are, and who hears of them."""
import time
from urllib.parse import quote

import pytest

from clients import begin_upgrade, read_until
from harness import SLOW, Fleet, uid, wait_until
from swarm import members

PROBE = 1.0 * SLOW
INVALID, IN_USE = "Invalid pairing code", "Pairing code already in use"
WHERE = pytest.mark.parametrize("where", [0, 1], ids=["same worker", "other worker"])


@pytest.fixture(scope="module")
def fleet():
    with Fleet(IP_CONNECT_RATE=0, TAKEOVER_PROBE_MS=int(PROBE * 1000)) as fleet:
        yield fleet


def error(text):
    return {"type": "error", "message": text}


def path_of(room):
    return "/signal" if room is None else f"/signal/{quote(room, safe='')}"


def registered(client, code=None, **fields):
    """The client, once it has the code."""
    client.code = code or uid("code")
    client.send(type="register", pairingCode=client.code, **fields)
    answer = hear(client, "registered", "error")
    assert answer == {"type": "registered", "pairingCode": client.code}
    return client


def hear(client, *kinds, code=None):
    """The next message of these kinds (about that code); others may come and go meanwhile."""
    while True:
        message = client.recv()
        if message["type"] in kinds and (code is None or message["pairingCode"] == code):
            return message
        assert message["type"] in ("peer_joined", "peer_left"), message


@pytest.fixture
def enter(fleet, connect):
    """enter(where, room): a client of that worker with a code in that room."""
    return lambda where, room, code=None, **fields: registered(
        connect(fleet.workers[where], path_of(room)), code, **fields)


@WHERE
def test_a_registered_code_belongs_to_its_socket(enter, connect, fleet, where):
    room = uid("room")
    holder, other = enter(0, room), connect(fleet.workers[where], path_of(room))
    assert other.request("register", pairingCode=holder.code) == error(IN_USE)
    registered(holder, holder.code)
    registered(other).send(type="offer", target=holder.code, payload=1)
    assert hear(holder, "offer")["from"] == other.code


@WHERE
def test_who_is_refused_a_code_keeps_its_own(enter, where):
    room = uid("room")
    holder, other = enter(0, room), enter(where, room)
    other.send(type="register", pairingCode=holder.code)
    assert hear(other, "error") == error(IN_USE)
    other.send(type="offer", target=holder.code, payload=1)
    assert hear(holder, "offer")["from"] == other.code
    holder.send(type="offer", target=other.code, payload=1)
    assert hear(other, "offer")["from"] == holder.code


@pytest.mark.parametrize("code", [None, "", 5, True, [], {}, "x" * 257, "\u00e9" * 129, "a\nb", "\u0000",
                                  "\u007f", ...], ids=lambda code: repr(code)[:12])
def test_what_cannot_be_a_code_is_refused(fleet, connect, code):
    a = connect(fleet.workers[0], "/signal")
    assert a.request("register", **({} if code is ... else {"pairingCode": code})) == error(INVALID)
    assert a.request("pair_request", target="x") == error("Not registered")
    assert a.request("ping") == {"type": "pong"}


@pytest.mark.parametrize("code", ["x" * 256, "\u00e9" * 128, "a b", "a:b", "%s", "{a}", "\"\\", "\U0001f600", "0"])
def test_any_other_text_is_a_code(enter, code):
    a, b = enter(0, room := uid("room"), code), enter(1, room)
    b.send(type="offer", target=code, payload={})
    assert hear(a, "offer") == {"type": "offer", "from": b.code, "payload": {}}
    a.send(type="answer", target=b.code, payload=[1])
    assert hear(b, "answer") == {"type": "answer", "from": code, "payload": [1]}


@pytest.mark.parametrize("room", ["with spaces  in it", "a:b", "100%", "%41", "a/b/c", "\u00e9\U0001f600", "{x}",
                                  "?q#f", "r" * 256])
def test_codes_are_unique_per_room(enter, connect, fleet, room):
    code = uid("code")
    a, b = enter(0, room, code), enter(1, None, code)
    assert connect(fleet.workers[1], path_of(room)).request("register", pairingCode=code) == error(IN_USE)
    c = enter(1, room)
    c.send(type="offer", target=code, payload="here")
    assert hear(a, "offer")["payload"] == "here"
    registered(enter(0, None), other := uid())
    assert hear(b, "peer_joined", code=other)


def test_no_room_is_the_default_room(enter, connect, fleet):
    a = enter(0, None)
    for path in ("/signal/", "/signal/default", "/signal"):
        other = connect(fleet.workers[1], path)
        assert other.request("register", pairingCode=a.code) == error(IN_USE)


def test_a_room_and_a_code_with_colons_are_not_another_room_and_code(enter):
    tail = uid()
    pairs = [("a:b", f"c{tail}"), ("a", f"b:c{tail}"), ("a%3Ab", f"c{tail}"), ("a:b:", f"c{tail}"),
             ("a", f"b%3Ac{tail}")]
    holders = [enter(i % 2, room, code) for i, (room, code) in enumerate(pairs)]
    for i, (room, code) in enumerate(pairs):
        sender = enter(1, room)
        sender.send(type="offer", target=code, payload=i)
        assert hear(holders[i], "offer") == {"type": "offer", "from": sender.code, "payload": i}


@pytest.mark.parametrize("room, status", [("r" * 257, b"404"), ("a%01b", b"400"), ("%7F", b"400"), ("%zz", b"400")])
def test_what_cannot_be_a_room_is_refused(fleet, room, status):
    s = begin_upgrade(fleet.workers[0].port, f"/signal/{room}")
    assert b" %s " % status in read_until(s, b"\r\n")
    s.close()


def test_all_others_in_the_room_hear_who_comes_and_goes(enter):
    room, elsewhere = uid("room"), enter(0, uid("room"))
    there = [enter(i % 2, room) for i in range(4)]
    joiner = enter(1, room)
    for client in there:
        assert hear(client, "peer_joined", code=joiner.code) == {"type": "peer_joined", "pairingCode": joiner.code}
    joiner.close()
    for client in there:
        assert client.recv() == {"type": "peer_left", "pairingCode": joiner.code}
    there[0].drop()
    for client in there[1:]:
        assert client.recv() == {"type": "peer_left", "pairingCode": there[0].code}
    elsewhere.silence(0.1)
    assert all(client.inbox.empty() for client in there[1:])


def test_who_has_no_code_hears_nothing(enter, connect, fleet):
    room = uid("room")
    watcher = connect(fleet.workers[0], path_of(room))
    holder, late = enter(1, room), enter(1, room)
    hear(holder, "peer_joined", code=late.code)
    assert watcher.request("register", pairingCode=holder.code) == error(IN_USE)
    hear(holder, "peer_joined", code=enter(0, room).code)
    assert watcher.request("ping") == {"type": "pong"}
    watcher.close()
    late.close()
    assert hear(holder, "peer_left")["pairingCode"] == late.code, "who never had a code has not left"


@WHERE
def test_a_second_register_releases_the_first_code(enter, where):
    room = uid("room")
    a, b = enter(0, room), enter(where, room)
    first, second = a.code, registered(a).code
    assert hear(b, "peer_left", code=first) and hear(b, "peer_joined", code=second)
    b.send(type="offer", target=first, payload=1)
    assert hear(b, "error") == error("Target peer not found")
    b.send(type="offer", target=second, payload=2)
    assert hear(a, "offer")["payload"] == 2
    registered(b, first)
    a.close()
    assert hear(b, "peer_left")["pairingCode"] == second


def test_registering_the_same_code_again_is_no_news_and_takes_the_new_key(enter):
    room = uid("room")
    a, b = enter(0, room, publicKey="one"), enter(1, room)
    hear(a, "peer_joined", code=b.code)
    registered(a, a.code, publicKey="two")
    a.send(type="pair_request", target=b.code)
    while (message := b.recv()) == {"type": "peer_joined", "pairingCode": a.code}:
        pass  # of the first register
    assert message == {"type": "pair_request", "from": a.code, "publicKey": "two"}


@WHERE
def test_a_frozen_holder_loses_its_code_after_the_probe(fleet, connect, where):
    room, code = uid("room"), uid("code")
    holder = members(fleet.workers[:1], 1, path_of(room))[0]  # a bare socket answers no pings
    holder.send(type="register", pairingCode=code)
    holder.expect("registered")
    other, newcomer = registered(connect(fleet.workers[1], path_of(room))), connect(fleet.workers[where], path_of(room))
    begun = time.monotonic()
    registered(newcomer, code)
    assert PROBE - 0.1 < time.monotonic() - begun < PROBE + 2 * SLOW
    wait_until(lambda: holder.closed or holder.read(), 5, "the close of the old holder")
    holder.sock.close()
    other.send(type="offer", target=code, payload=1)
    assert hear(newcomer, "offer")["from"] == other.code


@pytest.mark.parametrize("message, text", [
    ({"type": "nope"}, "Unknown message type: nope"), ({}, "Missing required field: type"),
    ({"type": "chunk_push"}, "Unknown message type: chunk_push"),
    ({"type": "pair_request"}, "Missing required field: target"),
    ({"type": "pair_request", "target": 5}, "Invalid field: target"),
    ({"type": "pair_request", "target": "x", "proposedName": 5}, "Invalid field: proposedName"),
    ({"type": "pair_accept", "target": ""}, "Missing required field: target"),
    ({"type": "pair_reject", "target": "x" * 257}, "Invalid field: target"),
    ({"type": "register", "pairingCode": "x", "publicKey": 5}, "Invalid field: publicKey"),
    *[({"type": kind, **fields}, "Missing target or payload") for kind in ("offer", "answer", "ice_candidate")
      for fields in ({}, {"target": "x"}, {"payload": {}}, {"target": "x", "payload": None},
                     {"target": "", "payload": 1})],
    ({"type": "offer", "target": 5, "payload": 1}, "Invalid field: target")], ids=str)
def test_a_faulty_message_is_answered_with_its_fault(enter, message, text):
    a = enter(0, uid("room"))
    a.send(**message)
    assert a.recv() == error(text)
    assert a.request("ping") == {"type": "pong"}


@pytest.mark.parametrize("message", [
    {"type": "pair_request", "target": "x"}, {"type": "pair_accept", "target": "x"},
    {"type": "pair_reject", "targetCode": "x"}, *[{"type": kind, "target": "x", "payload": {}} for kind in (
        "offer", "answer", "ice_candidate")]], ids=str)
def test_who_has_no_code_is_told_so(fleet, connect, message):
    a = connect(fleet.workers[0], "/signal")
    a.send(**message)
    assert a.recv() == error("Not registered")
