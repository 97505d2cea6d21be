# SPDX-License-Identifier: MIT
"""The app dialect: codes, pairing with approval, and all of /relay on the same socket."""
import base64
import os
import random

import pytest

from harness import IN_USE, SLOW, Fleet, uid
from swarm import members

ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
WHERE = pytest.mark.parametrize("where", [0, 1], ids=["same worker", "other worker"])
REFUSED = {"type": "pair_error", "error": "Pair request could not be processed"}
NO_REQUEST = {"type": "pair_error", "error": "No pending request from this peer"}
FIRST = "Not registered. Send register message first."
PROBE = 1.0 * SLOW
ENV = {"IP_CONNECT_RATE": 0, "ENVIRONMENT": "production", "SERVER_REGISTRATION": "open", "LOG_LEVEL": "debug",
       "NODE_ID": "node \"7\"", "PUBLIC_URL": "wss://x.example/client", "REGION": "eu-north",
       "TAKEOVER_PROBE_MS": int(PROBE * 1000), "TRUSTED_PROXIES": "127.0.0.0/8"}


@pytest.fixture(scope="module")
def codes():
    """Those that were registered in this module."""
    return []


@pytest.fixture(scope="module")
def fleet(codes):
    with Fleet(**ENV) as fleet:
        yield fleet
    expect_redacted(fleet, codes)


def expect_redacted(fleet, codes):
    """No code in any log, but the first of them as it may be shown."""
    log = "".join(line for worker in fleet.workers for line in worker.lines)
    assert not [code for code in codes if code in log]
    assert not codes or f"{codes[0][0]}****{codes[0][-1]}" in log


def error(text):
    return {"type": "error", "message": text}


def a_code():
    return "".join(random.choices(ALPHABET, k=6))


def a_key():
    return base64.b64encode(os.urandom(32)).decode()


def open_app(connect, worker, code=None, path="/client", ip=None):
    """A client that has a code and a key; its address is ip."""
    client = connect(worker, path, {"X-Forwarded-For": ip} if ip else None)
    info = client.expect("server_info")
    client.code, client.key = code or a_code(), a_key()
    assert client.request("register", pairingCode=client.code, publicKey=client.key) == {
        "type": "registered", "pairingCode": client.code, "serverId": info["serverId"]}
    return client


@pytest.fixture
def app(fleet, connect, codes):
    def app(where, *args, **kw):
        client = open_app(connect, fleet.workers[where], *args, **kw)
        codes.append(client.code)
        return client

    return app


def incoming(a, **fields):
    return {"type": "pair_incoming", "fromCode": a.code, "fromPublicKey": a.key, "expiresIn": 120000, **fields}


def matched(peer, initiator):
    return {"type": "pair_matched", "peerCode": peer.code, "peerPublicKey": peer.key, "isInitiator": initiator}


def ask(a, b):
    a.send(type="pair_request", targetCode=b.code)
    assert b.expect("pair_incoming")["fromCode"] == a.code


@pytest.mark.parametrize("path", ["/", "/client"])
def test_a_server_says_who_it_is(fleet, connect, path):
    for worker in fleet.workers:
        assert connect(worker, path).recv() == {"type": "server_info", "serverId": "node \"7\"",
                                                "endpoint": "wss://x.example/client", "region": "eu-north"}


def register(code, key):
    return {"type": "register", **({"pairingCode": code} if code is not ... else {}),
            **({"publicKey": key} if key is not ... else {})}


KEY = base64.b64encode(bytes(range(32))).decode()
FORMAT, KEY_FORMAT = "Invalid pairing code format", "Invalid public key format"


@pytest.mark.parametrize("code, key, text", [
    *[(code, KEY, FORMAT) for code in ("ABCDE", "ABCDEFG", "abcdef", "ABCDE0", "ABCDE1", "ABCDEI", "ABCDEO", "ABC EF",
                                       5, True, [], {}, "\u00c4BCDE", "ABCDE\u0000", "ABCDEF\u0000", "x" * 257)],
    *[("ABCDEF", key, KEY_FORMAT) for key in ("x", 5, [], KEY[:-1], KEY + "A", KEY[:-4], KEY.replace("=", ""),
                                              KEY + "=", " " + KEY, "-" + KEY[1:], base64.b64encode(bytes(31)).decode(),
                                              base64.b64encode(bytes(33)).decode(), "A" * 5000)],
    ("ABCDEF", ..., "Missing required field: publicKey"), ("ABCDEF", None, "Missing required field: publicKey"),
    ("nope", "nope", FORMAT), (..., KEY, "Missing required field: peerId"),
    (None, KEY, "Missing required field: peerId")])
def test_a_code_and_a_key_have_their_form(fleet, connect, code, key, text):
    a = connect(fleet.workers[0], "/")
    a.expect("server_info")
    a.send(**register(code, key))
    answer = a.recv()
    if code in (..., None):
        text = answer["message"] if answer["message"] == "Missing required field: pairingCode" else text
    assert answer == error(text)
    assert a.request("pair_request", targetCode="ABCDEF") == error(FIRST)


@WHERE
def test_a_code_of_a_living_app_collides(fleet, connect, app, where):
    a, b = app(0), connect(fleet.workers[where], "/")
    b.expect("server_info")
    answer = b.request("register", pairingCode=a.code, publicKey=a_key())
    assert answer["type"] == "code_collision" and set(answer) == {"type", "message"} and answer["message"]
    a.close()
    assert b.request("register", pairingCode=a.code, publicKey=a_key())["type"] == "registered"


def test_who_asks_again_for_a_code_that_it_has_lost_to_another_is_replaced_with_the_next_resync(fleet, app):
    redis, key = fleet.redis.client, "sb:{{code::{}}}".format
    former, successor = app(0), app(1)
    redis.hset(key(former.code), "addr", redis.hget(key(successor.code), "addr"))  # and no word of it has come
    assert former.request("register", pairingCode=former.code, publicKey=former.key)["type"] == "code_collision"
    redis.execute_command("CLIENT", "KILL", "TYPE", "normal")
    assert former.expect_close(5) == (4000, "replaced")


def test_a_code_of_a_frozen_app_goes_to_who_claims_it(fleet, app):
    code, frozen = a_code(), members(fleet.workers, 1, "/client")[0]  # a bare socket answers no pings
    frozen.send(type="register", pairingCode=code, publicKey=a_key())
    while b'"registered"' not in frozen.text():  # server_info may have come with the answer to the upgrade
        pass
    a, b = app(1, code), app(0)
    ask(b, a)
    frozen.sock.close()


def test_the_codes_of_apps_are_not_those_of_a_room(fleet, connect, app):
    a = app(0)
    other = connect(fleet.workers[1], "/signal")
    assert other.request("register", pairingCode=a.code)["type"] == "registered"
    b = app(1)
    b.send(type="offer", target=a.code, payload=1)
    assert a.recv() == {"type": "offer", "from": b.code, "payload": 1}
    a.close()
    assert b.request("offer", target=a.code, payload=1) == error(f"Peer not found: {a.code}")


def test_a_socket_is_a_relay_peer_too(fleet, connect, app):
    a, b, peer = app(0), app(1, None, "/"), uid()
    assert a.request("register", peerId=peer, maxConnections=10)["type"] == "registered"
    assert peer in b.relays()
    assert b.request("register", peerId=peer) == error(IN_USE)
    assert b.request("update_load", peerId=peer, connectedCount=1) == error(IN_USE)
    token = uid("token")
    assert a.request("register_rendezvous", peerId=peer, hourlyTokens=[token])["liveMatches"] == []
    other = uid()
    assert b.request("register_rendezvous", peerId=other, hourlyTokens=[token])["liveMatches"] == [
        {"peerId": peer, "relayId": None}]
    assert a.recv() == {"type": "rendezvous_match", "match": {"peerId": other, "relayId": None}}
    assert a.request("chunk_announce", peerId=peer, chunks=[{"chunkId": token, "routingHash": "h"}]) == {
        "type": "chunk_announce_ack", "registered": 1}
    b.send(type="chunk_request", peerId=other, chunkId=token)
    assert a.recv() == {"type": "chunk_pull", "chunkId": token}
    assert a.request("chunk_push", chunkId=token, data=[1])["type"] == "chunk_push_ack"
    assert b.expect("chunk_data")["data"] == [1]
    assert a.request("ping") == {"type": "pong"} and a.request("heartbeat")["type"] == "heartbeat_ack"
    assert a.request("nope") == error("Unknown message type: nope")
    ask(a, b)


@WHERE
def test_who_is_accepted_is_matched(app, where):
    a, b = app(0), app(where)
    a.send(type="pair_request", targetCode=b.code, proposedName="A's \"phone\" \u00e9")
    assert b.recv() == incoming(a, proposedName="A's \"phone\" \u00e9")
    b.send_all([{"type": "pair_response", "targetCode": a.code, "accepted": True},
                {"type": "offer", "target": a.code, "payload": {"sdp": "v=0"}}])
    assert a.recv() == matched(b, True) and b.recv() == matched(a, False)
    assert a.recv() == {"type": "offer", "from": b.code, "payload": {"sdp": "v=0"}}
    for kind in ("answer", "ice_candidate"):
        a.send(type=kind, target=b.code, payload=[kind])
        assert b.recv() == {"type": kind, "from": a.code, "payload": [kind]}
    assert b.request("pair_response", targetCode=a.code, accepted=True) == NO_REQUEST


@WHERE
def test_who_is_rejected_is_told(app, where):
    a, b = app(0), app(where)
    for _ in range(2):
        a.send(type="pair_request", targetCode=b.code)
        assert b.recv() == incoming(a)
        b.send(type="pair_response", targetCode=a.code, accepted=False)
        assert a.recv() == {"type": "pair_rejected", "peerCode": b.code}
        assert b.request("pair_response", targetCode=a.code, accepted=False) == NO_REQUEST


@WHERE
def test_who_was_not_asked_cannot_respond(app, where):
    a, b = app(0), app(where)
    ask(a, b)
    assert a.request("pair_response", targetCode=b.code, accepted=True) == NO_REQUEST
    assert b.request("pair_response", targetCode=a_code(), accepted=True) == NO_REQUEST
    b.send(type="pair_response", targetCode=a.code, accepted=True)
    assert a.recv() == matched(b, True)


@WHERE
def test_no_request_tells_which_codes_exist(app, where):
    a, b = app(0), app(where)
    for code in (a_code(), a.code):
        assert a.request("pair_request", targetCode=code) == REFUSED
    b.close()
    assert a.request("pair_request", targetCode=b.code) == REFUSED


def test_no_more_than_ten_requests_are_open_to_one(app):
    target, askers = app(0), [app(i % 2, ip=f"192.0.2.{i}") for i in range(11)]
    for asker in askers[:10]:
        ask(asker, target)
    assert askers[10].request("pair_request", targetCode=target.code) == REFUSED
    ask(askers[0], target)  # its own may be made again
    target.send(type="pair_response", targetCode=askers[3].code, accepted=False)
    assert askers[3].expect("pair_rejected")
    ask(askers[10], target)
    assert askers[3].request("pair_request", targetCode=target.code) == REFUSED
    target.silence(0.05)


def test_no_more_than_three_of_them_are_of_one_client_address(app):
    target, askers = app(0), [app(i % 2, ip=f"2001:db8:1:2::{i}") for i in range(5)]
    for asker in askers[:3]:
        ask(asker, target)
    for asker in askers[3:]:
        assert asker.request("pair_request", targetCode=target.code) == REFUSED
    ask(askers[2], target)  # its own may be made again
    ask(app(1, ip="2001:db8:1:3::1"), target)
    target.send(type="pair_response", targetCode=askers[1].code, accepted=False)
    assert askers[1].expect("pair_rejected")
    ask(askers[4], target)


def test_the_requests_of_a_code_end_with_it(app):
    """Codes that are registered one after the other on one socket take one place at a time."""
    target, asker = app(0), app(1, ip="192.0.2.1")
    for _ in range(10):  # PAIR_REQUESTS_PER_MINUTE
        former = asker.code
        ask(asker, target)
        asker.code = a_code()
        assert asker.request("register", pairingCode=asker.code, publicKey=asker.key)["type"] == "registered"
        assert target.request("pair_response", targetCode=former, accepted=True) == NO_REQUEST
    for i in range(2, 12):
        ask(app(0, ip=f"192.0.2.{i}"), target)
    asker.silence(0.05)


@pytest.mark.parametrize("message, text", [
    ({"type": "pair_request"}, "Missing required field: targetCode"),
    ({"type": "pair_request", "targetCode": ""}, "Invalid target code format"),
    *[({"type": "pair_request", "targetCode": code}, "Invalid target code format") for code in ("x", "abcdef", 5, [])],
    ({"type": "pair_request", "targetCode": "ABCDEF", "proposedName": 5}, "Invalid field: proposedName"),
    ({"type": "pair_response", "accepted": True}, "Missing required field: targetCode"),
    ({"type": "pair_response", "targetCode": "ABCDEF"}, "Missing required field: accepted"),
    ({"type": "pair_response", "targetCode": "x", "accepted": True}, "Invalid target code format"),
    ({"type": "pair_response", "targetCode": "ABCDEF", "accepted": "yes"}, "Invalid field: accepted"),
    ({"type": "offer", "payload": 1}, "Missing required field: target"),
    ({"type": "answer", "target": "ABCDEF"}, "Missing required field: payload"),
    ({"type": "ice_candidate", "target": 5, "payload": 1}, "Invalid field: target"),
    ({"type": "nope"}, "Unknown message type: nope"), ({"type": "pair_accept"}, "Unknown message type: pair_accept")],
    ids=str)
def test_a_faulty_message_is_answered_with_its_fault(app, message, text):
    a = app(0)
    a.send(**message)
    assert a.recv() == error(text)
    assert a.request("ping") == {"type": "pong"}


@pytest.mark.parametrize("message", [
    {"type": "pair_request", "targetCode": "ABCDEF"},
    {"type": "pair_response", "targetCode": "ABCDEF", "accepted": True},
    {"type": "link_request", "linkCode": "ABCDEF", "publicKey": KEY},
    {"type": "link_response", "linkCode": "ABCDEF", "accepted": True},
    *[{"type": kind, "target": "ABCDEF", "payload": {}} for kind in (
        "offer", "answer", "ice_candidate", "call_offer", "call_hangup")]], ids=lambda message: message["type"])
def test_who_has_no_code_is_told_so(fleet, connect, message):
    a = connect(fleet.workers[0], "/")
    a.expect("server_info")
    a.send(**message)
    assert a.recv() == error(FIRST)
