# SPDX-License-Identifier: MIT
"""The relay registry, and how its dialect meets what is wrong, too much or too big."""
import json
import time

import pytest
from websocket import ABNF

from harness import IN_USE, SLOW, UNAVAILABLE, http_request, uid, wait_until

PARSE = "Invalid message format: JSON parse error"
RATE = "Rate limit exceeded"
LONG = "x" * 257


@pytest.fixture
def pair(fleet, connect):
    return [connect(worker) for worker in fleet.workers]


def error(message):
    return {"type": "error", "message": message}


def ping_of(size):
    """A ping that is size bytes long."""
    empty = json.dumps({"type": "ping", "x": ""})
    return json.dumps({"type": "ping", "x": "x" * (size - len(empty))})


def still_works(client):
    return client.request("ping") == {"type": "pong"}


def capacity(client, peer):
    client.send(type="get_relays", count=100)
    return {relay["peerId"]: relay["capacity"] for relay in client.expect("relays")["relays"]}.get(peer)


def test_a_registered_peer_is_a_relay_for_others_on_every_worker(pair):
    a, b = pair
    with_key, without = uid(), uid()
    assert a.request("register", peerId=with_key, maxConnections=8, publicKey="key+/=")["peerId"] == with_key
    a.request("register", peerId=without)
    answer = b.request("register", peerId=uid())
    assert answer["type"] == "registered" and len(answer["relays"]) <= 10
    b.send(type="get_relays", count=100)
    relays = b.expect("relays")["relays"]
    assert {"peerId": with_key, "publicKey": "key+/=", "capacity": 0} in relays
    assert {"peerId": without, "publicKey": None, "capacity": 0} in relays


def test_the_connected_count_survives_a_re_register(pair):
    a, b = pair
    peer = uid()
    a.request("register", peerId=peer, maxConnections=4)
    assert a.request("update_load", peerId=peer, connectedCount=1) == {
        "type": "load_updated", "peerId": peer, "connectedCount": 1}
    assert capacity(b, peer) == 0.25
    a.request("register", peerId=peer, maxConnections=4)
    assert capacity(b, peer) == 0.25
    a.request("register", peerId=peer, maxConnections=10)
    assert capacity(b, peer) == 0.1
    a.request("register", peerId=peer)
    assert capacity(b, peer) == 0.05


@pytest.mark.parametrize("connected, limit, offered", [
    (0, 1, True), (1, 2, False), (499_999, 1_000_000, True), (500_000, 1_000_000, False), (2, 5, True), (3, 5, False),
    (9, 5, False), (1, 3, True), (1, 1, False)])
def test_only_peers_below_half_load_are_offered(pair, connected, limit, offered):
    a, b = pair
    peer = uid()
    a.request("register", peerId=peer, maxConnections=limit)
    a.request("update_load", peerId=peer, connectedCount=connected)
    assert capacity(b, peer) == (pytest.approx(connected / limit) if offered else None)
    a.request("update_load", peerId=peer, connectedCount=0)
    assert capacity(b, peer) == 0
    a.request("update_load", peerId=peer, connectedCount=connected)
    a.request("register", peerId=peer, maxConnections=limit)
    assert (capacity(b, peer) is not None) == offered, "a re-register keeps the load"


def test_the_load_of_an_unknown_peer_is_acknowledged_and_not_stored(pair):
    a, b = pair
    peer = uid()
    assert a.request("update_load", peerId=peer, connectedCount=1) == {
        "type": "load_updated", "peerId": peer, "connectedCount": 1}
    assert capacity(b, peer) is None
    b.request("register", peerId=peer)
    assert capacity(a, peer) == 0


def test_relays_are_counted_within_bounds_and_are_never_ones_own(start, connect):
    fleet = start(MESSAGE_RATE=0)
    many, one, other = connect(fleet.workers[0]), connect(fleet.workers[1]), connect(fleet.workers[1])
    ids = [uid() for _ in range(105)]
    many.send_all([{"type": "register", "peerId": peer} for peer in ids])
    assert [many.expect("registered")["peerId"] for _ in ids] == ids
    for count, length in ((1000, 100), (101, 100), (100, 100), (37, 37), (1, 1), (0, 1)):
        relays = one.relays(count=count)
        assert len(relays) == len(set(relays)) == length and set(relays) <= set(ids)
    one.send(type="get_relays")
    assert len(one.expect("relays")["relays"]) == 10
    assert len(other.request("register", peerId=uid("own"))["relays"]) == 10
    many.send_all([{"type": "update_load", "peerId": peer, "connectedCount": 20} for peer in ids[3:]])
    for _ in ids[3:]:
        many.expect("load_updated")
    own = set(many.relays())
    assert len(own) == 1 and own.isdisjoint(ids)
    assert set(one.relays()) == {*ids[:3], *own}
    assert set(one.relays(peerId=ids[0])) == {*ids[1:3], *own}, "the asked peer is left out"
    assert set(other.relays()) == set(ids[:3]), "a socket's own ids are left out"


def test_pings_and_heartbeats_are_answered(pair):
    a, _ = pair
    peer = uid()
    assert a.request("ping") == {"type": "pong"}
    a.request("register", peerId=peer)
    for fields in ({}, {"peerId": peer}):
        answer = a.request("heartbeat", **fields)
        assert answer["type"] == "heartbeat_ack" and abs(answer["timestamp"] - time.time() * 1000) < 60_000


BROKEN = [(ABNF.OPCODE_TEXT, data) for data in (
    b"", b"{", b"hello", b"{} {}", b"[]", b'"ping"', b"1", b"null", b"true", b"{'type':'ping'}", b'{"type":"ping",}',
    b'{"type":"ping","x":NaN}', b'{"type":"ping","x":"\xff\xfe"}', b'{"type":"ping","x":"\xed\xa0\x80"}',
    b'{"type":"p\xc0\xa9ng"}', b'{"type":"ping","x":' + b"[" * 64 + b"]" * 64 + b"}")] + [
    (ABNF.OPCODE_BINARY, data) for data in (b'{"type":"ping"}', b"\x00\x01")]


@pytest.mark.parametrize("opcode, data", BROKEN)
def test_a_malformed_message_is_a_parse_error(pair, opcode, data):
    a, _ = pair
    a.send_frame(opcode, True, data)
    assert a.recv() == error(PARSE)
    assert still_works(a)


def test_nesting_up_to_the_limit_is_allowed(pair):
    pair[0].raw(b'{"type":"ping","x":' + b"[" * 63 + b"]" * 63 + b"}")
    assert pair[0].recv() == {"type": "pong"}


def rows(kind, field, values, text="Invalid field", **others):
    return [({"type": kind, **others, field: value}, f"{text}: {field}") for value in values]


NOT_STRINGS = (5, True, [], {})
NOT_IDS = (*NOT_STRINGS, LONG, "\u00e9" * 129, "a\nb", "\u0001", "\u007f", "a\u0000")
KINDS = ("register", "update_load", "register_rendezvous")
FAULTS = [
    ({"type": "nope"}, "Unknown message type: nope"), ({"type": "PING"}, "Unknown message type: PING"),
    ({"type": "JOIN", "peerId": "x"}, "Unknown message type: JOIN"),
    ({"type": "register_rendezvous "}, "Unknown message type: register_rendezvous "),
    ({}, "Missing required field: type"), ({"type": None}, "Missing required field: type"),
    *[({"type": kind, "connectedCount": 1}, "Missing required field: peerId") for kind in KINDS],
    *[row for kind in KINDS for row in rows(kind, "peerId", (None, ""), "Missing required field", connectedCount=1)],
    *[row for kind in KINDS for row in rows(kind, "peerId", NOT_IDS, connectedCount=1)],
    *rows("get_relays", "peerId", NOT_STRINGS), *rows("get_relays", "count", ("x", 1.5, [], True)),
    *rows("heartbeat", "peerId", (*NOT_STRINGS, LONG)),
    *rows("register", "maxConnections", (0, -1, 1.5, 1_000_001, 1e300, "x", "5", True, []), peerId="p"),
    *rows("register", "publicKey", NOT_STRINGS, peerId="p"),
    ({"type": "update_load", "peerId": "p"}, "Missing required field: connectedCount"),
    ({"type": "update_load", "peerId": "p", "connectedCount": None}, "Missing required field: connectedCount"),
    *rows("update_load", "connectedCount", (-1, 1.5, "x", True, {}), peerId="p"),
    *[row for field in ("dailyPoints", "hourlyTokens") for row in rows(
        "register_rendezvous", field, ("x", 5, {}, [5], [None], [LONG], ["\t"], ["a", []], ["x"] * 257), peerId="p")],
    *rows("register_rendezvous", "deadDrop", (*NOT_STRINGS, "x" * 16385, "\u00e9" * 8193), peerId="p"),
    *rows("register_rendezvous", "deadDrops", ([], "x", {"p": 5}, {"p": "x" * 16385}), peerId="p", dailyPoints=["p"]),
    *rows("register_rendezvous", "relayId", (5, True, [], {}, LONG), peerId="p"),
    ({"type": "register", "peerId": 5, "maxConnections": 0, "publicKey": 5}, "Invalid field: peerId"),
    ({"type": "register", "peerId": "p", "maxConnections": 0, "publicKey": 5}, "Invalid field: maxConnections"),
    ({"type": "update_load", "connectedCount": -1}, "Missing required field: peerId"),
    ({"type": "register_rendezvous", "peerId": "p", "dailyPoints": 5, "hourlyTokens": 5}, "Invalid field: dailyPoints")]


@pytest.mark.parametrize("message, text", FAULTS, ids=lambda x: (x if isinstance(x, str) else json.dumps(x))[:60])
def test_a_faulty_message_is_answered_with_its_fault_and_changes_nothing(pair, message, text):
    a, b = pair
    a.send(**message)
    assert a.recv() == error(text)
    assert still_works(a)
    assert "p" not in b.relays()


def test_what_is_exactly_at_a_limit_is_accepted(pair):
    a, _ = pair
    for peer in (uid() + "x" * (256 - len(uid())), "\u00e9" * 122 + uid()[5:]):
        assert a.request("register", peerId=peer, maxConnections=1_000_000)["peerId"] == peer
    names = [uid("p") + "x" * (256 - len(uid("p"))) for _ in range(256)]
    answer = a.request("register_rendezvous", peerId=uid(), dailyPoints=names, hourlyTokens=names, deadDrop="x" * 16384)
    assert answer == {"type": "rendezvous_result", "liveMatches": [], "deadDrops": []}


def test_an_id_held_by_another_socket_takes_no_update_and_no_heartbeat(pair):
    a, b = pair
    peer = uid()
    a.request("register", peerId=peer, maxConnections=10)
    begun = time.monotonic()
    assert b.request("update_load", peerId=peer, connectedCount=9) == error(IN_USE)
    assert b.request("heartbeat", peerId=peer) == error(IN_USE)
    assert time.monotonic() - begun < SLOW, "at once, without a probe"
    assert capacity(b, peer) == 0 and still_works(b)


def test_fragments_are_put_together(pair):
    a, _ = pair
    peer = uid("\u00e9")
    whole = json.dumps({"type": "register", "peerId": peer}, ensure_ascii=False).encode()
    a.send_frame(ABNF.OPCODE_TEXT, False, whole[:28])  # in the middle of a character
    a.send_frame(ABNF.OPCODE_PING, True, b"between")
    for byte in whole[28:-1]:
        a.send_frame(ABNF.OPCODE_CONT, False, bytes([byte]))
    a.send_frame(ABNF.OPCODE_CONT, True, whole[-1:])
    assert a.expect("registered")["peerId"] == peer


def test_the_biggest_message_is_accepted(pair):
    pair[0].raw(ping_of(262_144).encode())
    assert pair[0].recv() == {"type": "pong"}


@pytest.mark.parametrize("sizes", [[262_145], [300 * 1024], [200 * 1024, 100 * 1024]], ids=str)
def test_a_message_that_is_too_big_closes_1009(fleet, connect, sizes):
    a = connect(fleet.workers[0])
    data = ping_of(sum(sizes)).encode()
    try:
        for i, size in enumerate(sizes):
            a.send_frame(ABNF.OPCODE_CONT if i else ABNF.OPCODE_TEXT, i == len(sizes) - 1, data[:size])
            data = data[size:]
    except OSError:
        pass  # closed before all of it was sent
    assert a.expect_close()[0] == 1009
    assert still_works(connect(fleet.workers[0]))


def test_messages_written_at_once_are_answered_in_order(pair):
    a, _ = pair
    messages, answers = [], []
    for i in range(40):
        peer = uid()
        messages += [{"type": "register", "peerId": peer, "maxConnections": 1000}, {"type": "ping"},
                     {"type": "update_load", "peerId": peer, "connectedCount": i}, {"type": "get_relays", "count": i},
                     {"type": "update_load", "peerId": peer, "connectedCount": 500 + i}]
        answers += [("registered", peer, None), ("pong", None, None), ("load_updated", peer, i), ("relays", None, None),
                    ("load_updated", peer, 500 + i)]
    a.send_all(messages)
    got = [a.recv() for _ in answers]
    assert [(m["type"], m.get("peerId"), m.get("connectedCount")) for m in got] == answers


def test_a_burst_is_answered_and_what_is_over_the_rate_is_an_error(fleet, connect):
    a = connect(fleet.workers[0])
    a.send_all([{"type": "ping"}] * 320)
    answers = [a.recv() for _ in range(320)]
    assert answers[:200] == [{"type": "pong"}] * 200
    assert error(RATE) in answers and all(x in ({"type": "pong"}, error(RATE)) for x in answers)
    wait_until(lambda: a.request("ping") == {"type": "pong"}, 3, "a message within the rate")
    a.silence(1)


def test_five_seconds_of_excess_close_1008(start, connect):
    a = connect(start(1, MESSAGE_RATE=20, MESSAGE_BURST=20).workers[0])
    begun = time.monotonic()
    try:
        while a.closed is None and time.monotonic() - begun < 15:
            a.send_all([{"type": "ping"}] * 20)
            time.sleep(0.1)
    except OSError:
        pass
    assert a.expect_close()[0] == 1008
    assert 4.5 < time.monotonic() - begun < 9


def test_without_redis_requests_fail_at_once_and_pings_go_on(start, connect):
    fleet = start()
    a, b = (connect(worker) for worker in fleet.workers)
    peer, requests = uid(), (("register", {}), ("update_load", {"connectedCount": 1}), ("get_relays", {}),
                             ("register_rendezvous", {"hourlyTokens": ["t"]}))
    a.request("register", peerId=peer)
    fleet.redis.stop()
    for _ in range(2):  # while the loss is being noticed, and when it is known
        for client in (a, b):
            for kind, fields in requests:
                begun = time.monotonic()
                assert client.request(kind, peerId=peer, **fields) == error(UNAVAILABLE)
                assert client.request("ping") == {"type": "pong"}
                assert time.monotonic() - begun < 1 * SLOW
        wait_until(lambda: http_request(fleet.workers[0], "GET", "/ready")[0] == 503)
    fleet.redis.start()
    other = uid()
    wait_until(lambda: a.request("register", peerId=other)["type"] == "registered", 8, "a register")
    wait_until(lambda: b.request("get_relays", count=100) != error(UNAVAILABLE), 8, "Redis for the other worker")
    assert other in b.relays()
