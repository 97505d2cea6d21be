# SPDX-License-Identifier: MIT
"""/ws: messages that cannot be understood or done, and Redis away."""
import json
import time

import pytest

from harness import SLOW, UNAVAILABLE, get, uid, wait_until
from test_relay import BROKEN
from test_rooms import (KINDS, LEFT, NOT_IN_ROOM, PEER_NOT_FOUND, ask, came, fault, hear, hear_of, ids, joined,
                        listed, open_peer, welcomed)

NOT_STRINGS = (5, 1.5, True, [], {})
NOT_IDS = (*NOT_STRINGS, "x" * 257, "\u00e9" * 129, "a\nb", "\u0001", "\u007f", "a\u0000")
HOME = {"ip": "192.0.2.7", "port": 4711}


def invalid(text, **fields):
    return fault("INVALID_MESSAGE", text, **fields)


def rows(values, text, **message):
    """One row for each value of the field that is given as `...`."""
    field = next(name for name, value in message.items() if value is ...)
    return [({**message, field: value}, text) for value in values]


FAULTS = [
    ({}, "Missing required field: type"), *rows((None, ""), "Missing required field: type", type=...),
    *rows(NOT_STRINGS, "Invalid field: type", type=...),
    *[({"type": kind}, f"Unknown message type: {kind}") for kind in (
        "nope", "join", "JOIN ", "ACK", "ERROR", "PEER_JOINED", "PEER_LEFT", "PEER_LIST", "%s", "\"\\\u00e9")],
    ({"type": "JOIN"}, "Missing required field: room_id"),
    *rows((None, ""), "Missing required field: room_id", type="JOIN", room_id=...),
    *[row for kind in ("JOIN", "DISCOVER") for row in rows(NOT_IDS, "Invalid field: room_id", type=kind, room_id=...)],
    *rows(("x", 5, True, []), "Invalid field: payload", type="JOIN", room_id="r", payload=...),
    *[({"type": "JOIN", "room_id": "r", "payload": {"display_name": name}}, "Invalid field: display_name")
      for name in (*NOT_STRINGS, "x" * 257, "\u00e9" * 129, "a\u0000b")],
    *[({"type": "JOIN", "room_id": "r", "payload": {"endpoint": endpoint}}, "Invalid field: endpoint") for endpoint in (
        "x", 5, True, [], {}, {"ip": "192.0.2.7"}, {"port": 1}, *[{**HOME, "port": port} for port in (
            -1, 65536, 1.5, "1", None, True, [])], *[{**HOME, "ip": ip} for ip in (5, None, [], "x" * 65, "a\u0000")])],
    *[row for kind in KINDS for row in (
        ({"type": kind}, "Missing required field: target_id"),
        ({"type": kind, "payload": {}}, "Missing required field: target_id"),
        ({"type": kind, "target_id": "", "payload": 1}, "Missing required field: target_id"),
        ({"type": kind, "target_id": None, "payload": 1}, "Missing required field: target_id"),
        ({"type": kind, "target_id": "x"}, "Missing required field: payload"),
        ({"type": kind, "target_id": "x", "payload": None}, "Missing required field: payload"))],
    *rows(NOT_IDS, "Invalid field: target_id", type="OFFER", target_id=..., payload=1),
    ({"type": "JOIN", "room_id": 5, "payload": 5}, "Invalid field: room_id")]


@pytest.mark.parametrize("opcode, data", BROKEN)
def test_what_cannot_be_read_is_an_invalid_message(open_peer, opcode, data):
    a = open_peer(0)
    a.send_frame(opcode, True, data)
    assert hear(a) == invalid("Invalid message format: JSON parse error")
    assert ask(a, "KEEP_ALIVE") == {"type": "ACK"}


@pytest.mark.parametrize("message, text", FAULTS, ids=lambda x: (x if isinstance(x, str) else json.dumps(x))[:60])
def test_a_faulty_message_is_answered_with_its_fault_and_changes_nothing(open_peer, message, text):
    a = open_peer(0)
    a.send(**message)
    assert hear(a) == invalid(text)
    a.send(**message, request_id="its id")
    assert hear(a) == invalid(text, request_id="its id")
    assert ask(a, "DISCOVER") == NOT_IN_ROOM


@pytest.mark.parametrize("request_id", [*NOT_STRINGS, "x" * 257, "\u00e9" * 129], ids=str)
def test_a_request_id_that_cannot_be_one_is_invalid(open_peer, request_id):
    a = open_peer(0)
    for fields in ({"type": "KEEP_ALIVE"}, {"type": "JOIN", "room_id": uid()}, {"type": "LEAVE"}, {"type": "DISCOVER"},
                   *[{"type": kind, "target_id": a.id, "payload": 1} for kind in KINDS]):
        a.send(**fields, request_id=request_id)
        assert hear(a) == invalid("Invalid field: request_id")
    a.send(type="nope", request_id=request_id)
    assert hear(a) == invalid("Unknown message type: nope")
    assert ask(a, "DISCOVER") == NOT_IN_ROOM


def test_a_fault_leaves_a_peer_in_its_room(open_peer):
    room = uid("room")
    a, b = joined(open_peer(0), room), joined(open_peer(1), room)
    assert hear_of(a) == came(b, room)
    for message in ({"room_id": 5}, {"room_id": uid(), "payload": []}, {"room_id": uid(), "payload": {"endpoint": 5}}):
        assert ask(b, "JOIN", **message)["payload"]["code"] == "INVALID_MESSAGE"
    assert set(listed(a)) == set(listed(b)) == {a.id, b.id}
    assert a.inbox.empty()


@pytest.mark.parametrize("target", ["f" * 16, "x", "a b", "{}%s\"", "x" * 256, "\u00e9\U0001f600"])
def test_a_target_that_never_was_is_not_found(open_peer, target):
    a = open_peer(0)
    for kind in KINDS:
        assert ask(a, kind, target_id=target, payload=1, request_id="q\u00e9") == {**PEER_NOT_FOUND,
                                                                                  "request_id": "q\u00e9"}
        assert ask(a, kind, target_id=target, payload=1) == PEER_NOT_FOUND


def test_while_redis_is_away_all_that_needs_it_is_an_internal_error_at_once(start, connect):
    fleet = start(MESSAGE_RATE=0)
    room, redis = uid("room"), fleet.redis
    a, b, far = [joined(welcomed(connect(fleet.workers[i], "/ws")), room) for i in (0, 0, 1)]
    assert hear_of(a) == came(b, room) and hear_of(a) == hear_of(b) == came(far, room)
    outside = welcomed(connect(fleet.workers[0], "/ws"))
    redis.stop()
    down = fault("INTERNAL_ERROR", UNAVAILABLE, request_id="q")
    for _ in range(3):
        begun = time.monotonic()
        for client, kind, fields in ((outside, "JOIN", {"room_id": room}), (a, "JOIN", {"room_id": uid()}),
                                     (a, "LEAVE", {}), (a, "DISCOVER", {}), (outside, "DISCOVER", {"room_id": room}),
                                     *[(a, kind, {"target_id": far.id, "payload": 1}) for kind in KINDS]):
            assert ask(client, kind, **fields, request_id="q") == down
        assert a.request("get_relays") == {"type": "error", "message": UNAVAILABLE}
        for kind in KINDS:
            a.send(type=kind, target_id=b.id, payload={"still": "here"})
            assert hear(b) == {"type": kind, "peer_id": a.id, "target_id": b.id, "payload": {"still": "here"}}
        assert ask(a, "KEEP_ALIVE") == {"type": "ACK"} and a.request("ping") == {"type": "pong"}
        assert ask(outside, "LEAVE") == NOT_IN_ROOM
        assert time.monotonic() - begun < 2 * SLOW
    redis.start()


def test_each_message_of_the_relay_is_refused_in_its_own_dialect_while_redis_is_away(start, connect):
    worker = start(1, MESSAGE_RATE=0)
    a = welcomed(connect(worker.workers[0], "/ws"))
    worker.redis.stop()
    requests = [{"type": "register"}, {"type": "get_relays"}, {"type": "register_rendezvous", "hourlyTokens": ["t"]},
                {"type": "update_load", "connectedCount": 1}, {"type": "chunk_request", "chunkId": "c"},
                {"type": "chunk_push", "chunkId": "c", "data": 1},
                {"type": "chunk_announce", "chunks": [{"chunkId": "c", "routingHash": "h"}]}]
    for request in requests:
        a.send_all([{"peerId": "p", **request}, {"type": "DISCOVER", "room_id": "r"}, {"type": "KEEP_ALIVE"}])
        answers = [a.recv() for _ in range(3)]
        assert answers.count({"type": "error", "message": UNAVAILABLE}) == 1, (request, answers)
        assert sorted(answer["type"] for answer in answers) == ["ACK", "ERROR", "error"]
    worker.redis.start()


def test_who_could_not_leave_while_redis_was_away_leaves_afterwards(start, connect):
    fleet = start()
    room = uid("room")
    a, b = [joined(welcomed(connect(worker, "/ws")), room) for worker in fleet.workers]
    fleet.redis.stop()
    assert ask(b, "LEAVE")["payload"]["code"] == "INTERNAL_ERROR"
    fleet.redis.start()
    end = time.monotonic() + 10 * SLOW
    b.send(type="LEAVE")
    while (answer := hear(b)) != LEFT:
        if answer["type"] == "ERROR":  # what else may come is of the one who was given its place back
            assert answer["payload"]["code"] == "INTERNAL_ERROR" and time.monotonic() < end
            time.sleep(0.05)
            b.send(type="LEAVE")
    assert ask(b, "LEAVE") == NOT_IN_ROOM
    wait_until(lambda: get(fleet.workers[0], f"/api/rooms/{room}").get("peer_count") == 1, 10, "only the other there")


@pytest.mark.parametrize("asked", [["JOIN"], ["JOIN", "LEAVE"], ["JOIN", "LEAVE", "JOIN"]], ids="-".join)
def test_who_goes_before_it_is_answered_is_in_no_room(start, connect, asked):
    fleet = start()
    watcher = joined(welcomed(connect(fleet.workers[0], "/ws")), "room")
    for i in range(40):
        b = welcomed(connect(fleet.workers[i % 2], "/ws"))
        b.send_all([{"type": kind, "room_id": "room"} for kind in asked])
        b.drop()
    there, listing, end = set(), None, time.monotonic() + 10 * SLOW
    watcher.send(type="DISCOVER")
    while listing != [watcher.id] or there:
        assert time.monotonic() < end, (listing, there)
        message = hear_of(watcher)
        if message["type"] == "PEER_LIST":
            listing = ids(message["payload"]["peers"])
            watcher.send(type="DISCOVER")
        else:
            assert (message["type"] == "PEER_LEFT") == (message["peer_id"] in there), message
            there ^= {message["peer_id"]}
