# SPDX-License-Identifier: MIT
"""/ws: rooms, and who is in them."""
import json
import re
import time

import pytest

from harness import uid

KINDS = ("OFFER", "ANSWER", "CANDIDATE")
WHERE = pytest.mark.parametrize("where", [0, 1], ids=["same worker", "other worker"])
HOME = {"ip": "192.0.2.7", "port": 4711}


def stamped(message):
    """The message without its time, which is now."""
    assert type(message["timestamp"]) is int and abs(message.pop("timestamp") - time.time() * 1000) < 60_000
    return message


def hear(client, timeout=5):
    return stamped(client.recv(timeout))


def ask(client, kind, **fields):
    client.send(type=kind, **fields)
    return hear(client)


def fault(code, message, **fields):
    return {"type": "ERROR", "payload": {"code": code, "message": message}, **fields}


NOT_IN_ROOM, ROOM_FULL = fault("NOT_IN_ROOM", "not in a room"), fault("ROOM_FULL", "room is full")
PEER_NOT_FOUND = fault("PEER_NOT_FOUND", "target peer not found")
ROOM_NOT_FOUND = fault("ROOM_NOT_FOUND", "room not found")
LEFT = {"type": "ACK", "payload": {"message": "left room"}}


def welcomed(client):
    """The client, once it has an id that can be written to: what it asks first waits for that."""
    client.id = client.expect("ACK")["peer_id"]
    client.send(type="KEEP_ALIVE")
    assert client.expect("ACK").keys() == {"type", "timestamp"}
    return client


def joined(client, room, **payload):
    """The client, once it is in the room; peers: the list it got."""
    answer = ask(client, "JOIN", room_id=room, **({"payload": payload} if payload else {}))
    client.room, client.peers = room, answer["payload"]["peers"]
    assert answer == {"type": "ACK", "peer_id": client.id, "room_id": room,
                      "payload": {"room_id": room, "peers": client.peers}}
    assert ids(client.peers).count(client.id) == 1
    return client


def ids(peers):
    return [peer["peer_id"] for peer in peers]


def listed(client, room=None):
    """The peers that DISCOVER finds, each by its id."""
    answer = ask(client, "DISCOVER", **({"room_id": room} if room else {}))
    name = room or client.room
    peers = answer["payload"]["peers"]
    assert answer == {"type": "PEER_LIST", "room_id": name, "payload": {"room_id": name, "peers": peers}}
    by_id = {peer["peer_id"]: peer for peer in peers}
    assert len(by_id) == len(peers)
    return by_id


def came(client, room, **fields):
    """What the others hear of who has joined; its time of joining is not looked at."""
    return {"type": "PEER_JOINED", "peer_id": client.id, "room_id": room, "payload": {"peer_id": client.id, **fields}}


def left(client, room):
    return {"type": "PEER_LEFT", "peer_id": client.id, "room_id": room}


def hear_of(client):
    """The next event, without the time of joining."""
    message = hear(client)
    if message["type"] == "PEER_JOINED":
        assert abs(message["payload"].pop("joined_at") - time.time() * 1000) < 60_000
    return message


@pytest.fixture
def open_peer(fleet, connect):
    return lambda where=0: welcomed(connect(fleet.workers[where], "/ws"))


@pytest.fixture
def enter(open_peer):
    """enter(where, room): a client of that worker in that room."""
    return lambda where, room, **payload: joined(open_peer(where), room, **payload)


def test_every_socket_is_welcomed_with_an_id_of_its_own(fleet, connect):
    seen = set()
    for i in range(20):
        welcome = hear(connect(fleet.workers[i % 2], "/ws"))
        assert re.fullmatch("[0-9a-f]{16}", welcome["peer_id"])
        assert welcome == {"type": "ACK", "peer_id": welcome["peer_id"], "payload": {"message": "connected"}}
        seen.add(welcome["peer_id"])
    assert len(seen) == 20


@WHERE
def test_who_joins_gets_the_list_and_the_others_hear_of_it(enter, where):
    room = uid("room")
    a = enter(0, room, display_name="Alice", endpoint=HOME)
    b = enter(where, room)
    assert hear_of(a) == came(b, room)
    assert set(ids(b.peers)) == {a.id, b.id}
    assert listed(a) == listed(b) == listed(enter(1, uid("room")), room) == {peer["peer_id"]: peer for peer in b.peers}
    assert listed(a)[a.id] == {**a.peers[0], "display_name": "Alice", "endpoint": HOME}
    assert list(listed(a)[b.id]) == ["peer_id", "joined_at"]
    b.silence(0.05)


@pytest.mark.parametrize("payload, shown", [
    ({}, {}), ({"more": [1, {}]}, {}), ({"display_name": None, "endpoint": None}, {}),
    ({"display_name": "\u00e9\U0001f600 \"\\/\n\t%s"},) * 2, ({"display_name": "x" * 256},) * 2,
    ({"endpoint": {"ip": "2001:db8::1", "port": 0}},) * 2, ({"endpoint": {"ip": "192.0.2.7", "port": 65535}},) * 2,
    ({"display_name": "A", "endpoint": {**HOME, "x": 1}, "peer_id": "me", "joined_at": 1},
     {"display_name": "A", "endpoint": HOME})], ids=lambda value: json.dumps(value)[:40])
def test_a_peer_is_shown_as_it_describes_itself(enter, open_peer, payload, shown):
    room = uid("room")
    watcher, peer = enter(1, room), open_peer(0)
    before = time.time() * 1000
    answer = ask(peer, "JOIN", room_id=room, payload=payload)
    record = next(one for one in answer["payload"]["peers"] if one["peer_id"] == peer.id)
    assert record == {"peer_id": peer.id, **shown, "joined_at": record["joined_at"]}
    assert before - 1000 < record["joined_at"] < time.time() * 1000 + 1000
    assert hear(watcher) == {"type": "PEER_JOINED", "peer_id": peer.id, "room_id": room, "payload": record}
    assert listed(watcher)[peer.id] == record


@pytest.mark.parametrize("room", ["r" * 256, "\u00e9" * 128, "a b", "a:b", "a}b", "{x}", "x/y", "%s%41", "\"\\", "0",
                                  "\U0001f600", "a|b", "..", "*"])
def test_any_text_without_control_characters_is_a_room(enter, room):
    a, b = enter(0, room), enter(1, room)
    assert hear_of(a) == came(b, room)
    assert set(listed(a)) == set(listed(b, room)) == {a.id, b.id}
    assert ask(b, "LEAVE") == LEFT
    assert hear_of(a) == left(b, room)
    assert ask(a, "LEAVE") == LEFT


@WHERE
@pytest.mark.parametrize("end", ["LEAVE", "close", "drop"])
def test_who_leaves_is_told_of_once_and_is_off_the_list(enter, where, end):
    room = uid("room")
    a, b = enter(0, room), enter(where, room)
    assert hear_of(a) == came(b, room)
    if end == "LEAVE":
        assert ask(b, "LEAVE") == LEFT
        assert ask(b, "LEAVE") == NOT_IN_ROOM
    else:
        getattr(b, end)()
    assert hear_of(a) == left(b, room)
    assert set(listed(a)) == {a.id}
    if end == "LEAVE":
        assert ask(a, "LEAVE") == LEFT
        b.silence(0.05)


@WHERE
def test_moving_to_another_room_is_told_in_both(enter, where):
    one, two = uid("room"), uid("room")
    a, b, mover = enter(0, one), enter(0, two), enter(where, one, display_name="M")
    assert hear_of(a) == came(mover, one, display_name="M")
    joined(mover, two, endpoint=HOME)
    assert hear_of(a) == left(mover, one)
    assert hear_of(b) == came(mover, two, endpoint=HOME)
    assert set(listed(a)) == {a.id} and set(listed(b)) == set(ids(mover.peers)) == {b.id, mover.id}
    assert ask(a, "LEAVE") == LEFT
    c = enter(1, two)
    assert hear_of(mover) == hear_of(b) == came(c, two), "and nothing of the room that it left"


@WHERE
def test_a_full_room_leaves_a_peer_where_it_was(start, connect, where):
    fleet = start(ROOM_MAX_PEERS=2)
    full, other = uid("room"), uid("room")
    new = [welcomed(connect(fleet.workers[i], "/ws")) for i in (0, 1, where, where)]
    a, b = joined(new[0], full), joined(new[1], full)
    assert hear_of(a) == came(b, full)
    mover, friend = joined(new[2], other), joined(new[3], other)
    assert hear_of(mover) == came(friend, other)
    for _ in range(2):
        assert ask(mover, "JOIN", room_id=full, request_id="q") == {**ROOM_FULL, "request_id": "q"}
        assert set(listed(mover)) == set(listed(friend)) == {mover.id, friend.id}
    assert ask(friend, "LEAVE") == LEFT
    assert hear_of(mover) == left(friend, other), "it still hears its room"
    assert ask(friend, "JOIN", room_id=full) == ROOM_FULL
    assert ask(friend, "DISCOVER") == NOT_IN_ROOM
    assert set(listed(a)) == {a.id, b.id}
    assert ask(b, "LEAVE") == LEFT
    assert hear_of(a) == left(b, full), "nobody else has come or gone"
    joined(mover, full)
    assert hear_of(a) == came(mover, full)


def test_a_peer_is_in_a_room_once(enter):
    room = uid("room")
    a, b = enter(0, room), enter(1, room)
    assert hear_of(a) == came(b, room)
    assert ask(b, "JOIN", room_id=room, request_id="q") == fault("ALREADY_IN_ROOM", "already in this room",
                                                                request_id="q")
    assert set(listed(b)) == {a.id, b.id}
    assert a.inbox.empty()


def test_discover_looks_into_ones_own_room_and_any_other(enter, open_peer):
    room = uid("room")
    a, outside = enter(0, room), open_peer(1)
    assert set(listed(a)) == set(listed(a, room)) == set(listed(outside, room)) == {a.id}
    assert ask(outside, "DISCOVER") == NOT_IN_ROOM
    for client in (a, outside):
        assert ask(client, "DISCOVER", room_id=uid("room"), request_id="q") == {**ROOM_NOT_FOUND, "request_id": "q"}
    assert ask(a, "LEAVE") == LEFT
    assert listed(outside, room) == {}, "an empty room lives on for a while"
    outside.silence(0.05)


def test_every_answer_carries_its_request_id(enter, open_peer):
    a, room = open_peer(0), uid("room")
    for request in ("1", "\u00e9\U0001f600 \"\\", "x" * 256):
        for kind, fields, answer in (
                ("KEEP_ALIVE", {}, "ACK"), ("JOIN", {"room_id": room}, "ACK"), ("DISCOVER", {}, "PEER_LIST"),
                ("LEAVE", {}, "ACK"), ("LEAVE", {}, "ERROR"), ("OFFER", {"target_id": "x", "payload": 1}, "ERROR")):
            got = ask(a, kind, request_id=request, **fields)
            assert (got["type"], got["request_id"]) == (answer, request)
    assert ask(a, "KEEP_ALIVE") == {"type": "ACK"}
    assert ask(a, "KEEP_ALIVE", request_id=None) == {"type": "ACK"}


def test_one_that_answers_pings_stays_and_a_mute_one_leaves_its_room(start, connect):
    fleet = start(PING_INTERVAL_MS=300, PONG_TIMEOUT_MS=600)
    living, mute = [joined(welcomed(connect(worker, "/ws")), "room") for worker in fleet.workers]
    assert hear_of(living) == came(mute, "room")
    mute.ws.pong = lambda *_: None
    assert hear_of(living) == left(mute, "room")
    assert mute.expect_close(8)[0] == 1001
    assert living.pings and set(listed(living)) == {living.id}
