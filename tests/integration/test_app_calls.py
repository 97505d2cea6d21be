# SPDX-License-Identifier: MIT
"""The app dialect: calls and links between devices."""
import json

import pytest

from clients import Client
from test_app import KEY, KEY_FORMAT, FORMAT, WHERE, a_code, a_key, app, codes, error, fleet, open_app

CALL = "0f8fad5b-d9cb-469f-a165-70867728950e"
GOOD = [("call_offer", {"callId": CALL, "sdp": "v=0\r\n"}),
        ("call_answer", {"callId": CALL.upper(), "sdp": "x" * 65536}),
        ("call_answer", {"callId": CALL, "sdp": "\u00e9" * 32768, "more": [None]}), ("call_reject", {"callId": CALL}),
        ("call_hangup", {"callId": CALL, "reason": "busy"}), ("call_ice", {"callId": CALL, "candidate": "c" * 1024})]
OTHER = "Cannot respond to link request for another device"


@WHERE
def test_calls_go_to_their_target_byte_for_byte(app, where):
    a, b = app(0), app(where)
    for kind, payload in GOOD:
        a.send(type=kind, target=b.code, payload=payload)
        assert b.recv() == {"type": kind, "from": a.code, "payload": payload}
        b.send(type=kind, target=a.code, payload=payload)
        assert a.recv() == {"type": kind, "from": b.code, "payload": payload}


CALLS = ("call_offer", "call_answer", "call_reject", "call_hangup", "call_ice")
NOT_UUIDS = ("x", CALL[:-1], CALL + "0", CALL.replace("-469f", "-169f"), CALL.replace("-a165", "-c165"),
             CALL.replace("-", ""), "{" + CALL[1:], 5, [], {}, True, "\u00e9" * 18)
NOT_TEXTS = (5, True, [], {})


@pytest.mark.parametrize("kind, payload, text", [
    *[(kind, payload, "Invalid field: payload") for kind in CALLS for payload in ("x", 5, [], True)],
    *[(kind, None, "Missing required field: payload") for kind in CALLS],
    *[(kind, {"sdp": "x", "candidate": "x", **call}, "Missing required field: callId")
      for kind in CALLS for call in ({}, {"callId": None}, {"callId": ""})],
    *[(kind, {"sdp": "x", "candidate": "x", "callId": call}, "Invalid field: callId")
      for kind in CALLS for call in NOT_UUIDS],
    *[(kind, {"callId": CALL, **part}, f"Missing required field: {field}")
      for kind, field in (("call_offer", "sdp"), ("call_answer", "sdp"), ("call_ice", "candidate"))
      for part in ({}, {field: None}, {field: ""})],
    *[(kind, {"callId": CALL, field: value}, f"Invalid field: {field}")
      for kind, field, most in (("call_offer", "sdp", 65536), ("call_answer", "sdp", 65536),
                                ("call_ice", "candidate", 1024))
      for value in (*NOT_TEXTS, "x" * (most + 1), "\u00e9" * (most // 2 + 1))]],
    ids=lambda value: (value if isinstance(value, str) else json.dumps(value))[:50])
def test_a_faulty_call_is_answered_with_its_fault(shared, kind, payload, text):
    a, b = shared
    a.send(type=kind, target=b.code, payload=payload)
    assert a.recv() == error(text)
    assert b.inbox.empty()


@pytest.fixture(scope="module")
def shared(fleet, codes):
    """Two apps that stay for all rows of a table."""
    pair = [open_app(Client, worker) for worker in fleet.workers]
    codes.extend(client.code for client in pair)
    yield pair
    for client in pair:
        client.drop()


@WHERE
@pytest.mark.parametrize("kind, payload", GOOD[:1] + GOOD[3:], ids=lambda value: str(value)[:12])
def test_a_target_that_is_not_there_is_named(app, where, kind, payload):
    a, b, nobody = app(0), app(where), a_code()
    assert a.request(kind, target=nobody, payload=payload) == error(f"Peer not found: {nobody}")
    b.close()
    assert a.request(kind, target=b.code, payload=payload) == error(f"Peer not found: {b.code}")


def request(web, device, **fields):
    web.send(type="link_request", linkCode=device.code, **fields)


@WHERE
@pytest.mark.parametrize("name", [None, "Firefox on \"X\" \u00e9"])
@pytest.mark.parametrize("device_id", [None, "device \"1\""])
def test_a_link_that_is_accepted_is_told_to_both(app, where, name, device_id):
    web, device, key = app(0), app(where), a_key()
    request(web, device, publicKey=key, **({"deviceName": name} if name else {}))
    message = device.recv()
    assert message == {"type": "link_request", "linkCode": device.code, "publicKey": key, "deviceName": name,
                       "expiresIn": 120000}
    own = {"deviceId": device_id} if device_id else {}
    device.send(type="link_response", linkCode=device.code, accepted=True, **own)
    assert web.recv() == {"type": "link_matched", "linkCode": device.code, "peerPublicKey": device.key,
                          "isInitiator": True, "deviceId": device_id}
    assert device.recv() == {"type": "link_matched", "linkCode": device.code, "peerPublicKey": key,
                             "isInitiator": False, "webClientCode": web.code, "deviceName": name}
    assert device.request("link_response", linkCode=device.code, accepted=True)["type"] == "link_error"
    device.send(type="offer", target=web.code, payload=1)
    assert web.recv() == {"type": "offer", "from": device.code, "payload": 1}


@WHERE
def test_a_link_that_is_rejected_is_told_to_the_web_side(app, where):
    web, device = app(0), app(where)
    for _ in range(2):
        request(web, device, publicKey=web.key)
        device.expect("link_request")
        device.send(type="link_response", linkCode=device.code, accepted=False)
        assert web.recv() == {"type": "link_rejected", "linkCode": device.code}
    assert device.request("link_response", linkCode=device.code, accepted=False)["type"] == "link_error"


@WHERE
def test_a_device_is_asked_by_one_at_a_time(app, where):
    device, web, late = app(0), app(where), app(0)
    request(web, device, publicKey=web.key)
    assert device.expect("link_request")["publicKey"] == web.key
    request(late, device, publicKey=late.key)
    assert late.recv() == {"type": "link_error", "error": "Link request could not be processed"}
    device.send(type="link_response", linkCode=device.code, accepted=True)
    assert web.expect("link_matched") and device.expect("link_matched")["webClientCode"] == web.code
    request(late, device, publicKey=late.key)
    assert device.expect("link_request")["publicKey"] == late.key


def test_a_device_that_is_not_there_or_oneself_cannot_be_linked(app):
    web, device = app(0), app(1)
    device.close()
    for code in (a_code(), web.code, device.code):
        assert web.request("link_request", linkCode=code, publicKey=web.key) == {
            "type": "link_error", "error": "Link request could not be processed"}


def test_nobody_answers_for_another_device(app):
    web, device, other = app(0), app(1), app(0)
    request(web, device, publicKey=web.key)
    device.expect("link_request")
    for client in other, web:
        assert client.request("link_response", linkCode=device.code, accepted=True) == error(OTHER)
    assert other.request("link_response", linkCode=other.code, accepted=True)["type"] == "link_error"
    device.send(type="link_response", linkCode=device.code, accepted=True)
    assert web.expect("link_matched")


@pytest.mark.parametrize("message, text", [
    ({"type": "link_request", "publicKey": KEY}, "Missing required field: linkCode"),
    ({"type": "link_request", "linkCode": "ABCDEF"}, "Missing required field: publicKey"),
    ({"type": "link_request", "linkCode": "abcdef", "publicKey": KEY}, FORMAT),
    ({"type": "link_request", "linkCode": "ABCDEF", "publicKey": "x"}, KEY_FORMAT),
    ({"type": "link_request", "linkCode": "ABCDEF", "publicKey": KEY, "deviceName": 5}, "Invalid field: deviceName"),
    ({"type": "link_response", "accepted": True}, "Missing required field: linkCode"),
    ({"type": "link_response", "linkCode": "ABCDEF"}, "Missing required field: accepted"),
    ({"type": "link_response", "linkCode": 5, "accepted": True}, FORMAT),
    ({"type": "link_response", "linkCode": "ABCDEF", "accepted": True, "deviceId": 5}, "Invalid field: deviceId")],
    ids=str)
def test_a_faulty_link_is_answered_with_its_fault(shared, message, text):
    a, _ = shared
    a.send(**message)
    assert a.recv() == error(text)
