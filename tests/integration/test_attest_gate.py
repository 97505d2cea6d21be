# SPDX-License-Identifier: MIT
"""REQUIRE_ATTESTATION: which messages need a session token, and the ways to show it."""
import urllib.parse

import pytest

from harness import uid, wait_until
from registry_client import Key, compact, encoded, now_ms

NOT_ATTESTED = {"type": "error", "message": "Attestation required", "code": "NOT_ATTESTED"}
KEY = Key()


def token(lives_ms=60_000, key=KEY):
    payload = compact({"device_id": "d", "build_version": "1.0.0", "platform": "p", "issued_at": now_ms(),
                       "expires_at": now_ms() + lives_ms})
    return f"{encoded(payload.encode())}.{key.sign(payload)}"


@pytest.fixture
def gated(start):
    return lambda which, count=1: start(count, REQUIRE_ATTESTATION=which, ATTESTATION_SIGNING_KEY=KEY.seed)


SHOWN = pytest.mark.parametrize("show", [
    lambda text: {"headers": {"Authorization": f"Bearer {text}"}},
    lambda text: {"headers": {"X-Attestation-Token": text}},
    lambda text: {"path": f"/relay?attestation={urllib.parse.quote(text, safe='')}"},
    lambda text: {"path": f"/relay?attestation={text}"},
], ids=["bearer", "header", "query", "query, not encoded"])


@SHOWN
def test_a_token_may_be_shown_at_the_upgrade(gated, connect, show):
    worker = gated("all").workers[0]
    for _ in range(5):  # of all sorts of base64
        client = connect(worker, **show(token()))
        assert client.request("register", peerId=uid())["type"] == "registered"


@SHOWN
@pytest.mark.parametrize("bad", [lambda: token(-1), lambda: token(key=Key()), lambda: "x.y", lambda: token() + "A"],
                         ids=["expired", "another's", "garbage", "longer"])
def test_a_bad_token_counts_as_none(gated, connect, show, bad):
    client = connect(gated("all").workers[0], **show(bad()))
    assert client.request("register", peerId=uid()) == NOT_ATTESTED
    assert client.request("ping") == {"type": "pong"}


@pytest.mark.parametrize("path", ["/relay", "/", "/signal/room", "/ws"])
def test_a_token_may_be_shown_later(gated, connect, path):
    client = connect(gated("all").workers[0], path)
    shown = token()
    for bad in token(-1), token(key=Key()), "", "x":
        client.send(type="attest", token=bad)
        while (answer := client.recv())["type"] in ("server_info", "ACK"):
            pass
        assert answer["type"] == "error" and answer["message"] in ("Attestation required", "Missing required field: token")
    answer = client.request("attest", token=shown)
    assert answer["type"] == "attested" and 50_000 < answer["expires_at"] - now_ms() <= 60_000
    kind = {"/signal/room": {"pairingCode": uid()}, "/ws": {"peerId": uid()}, "/relay": {"peerId": uid()},
            "/": {"peerId": uid()}}[path]
    assert client.request("register", **kind)["type"] == "registered"


def test_a_token_holds_until_it_expires(gated, connect):
    client = connect(gated("all").workers[0])
    assert client.request("attest", token=token(1500))["type"] == "attested"
    assert client.request("heartbeat")["type"] == "heartbeat_ack"
    wait_until(lambda: client.request("heartbeat") == NOT_ATTESTED, 5, "the end of the token")


def test_only_chunks_may_be_gated(gated, connect):
    client = connect(gated("chunks").workers[0])
    peer = uid()
    assert client.request("register", peerId=peer)["type"] == "registered"
    for kind in "chunk_announce", "chunk_request", "chunk_push":
        assert client.request(kind, peerId=peer, chunkId="c", data=1, chunks=[]) == NOT_ATTESTED
    client.request("attest", token=token())
    assert client.request("chunk_push", peerId=peer, chunkId="c", data=1)["type"] == "chunk_push_ack"


def test_rooms_say_it_in_their_own_way(gated, connect):
    client = connect(gated("all").workers[0], "/ws")
    client.expect("ACK")
    answer = client.request("JOIN", room_id="r", request_id="q")
    assert answer.pop("timestamp") and answer == {
        "type": "ERROR", "payload": {"code": "UNAUTHORIZED", "message": "Attestation required"}, "request_id": "q"}
    assert client.request("KEEP_ALIVE")["type"] == "ACK"
    assert client.request("register", peerId=uid()) == NOT_ATTESTED


def test_without_a_requirement_a_token_is_welcome(start, connect):
    fleet = start(1, ATTESTATION_SIGNING_KEY=KEY.seed)
    client = connect(fleet.workers[0])
    assert client.request("register", peerId=uid())["type"] == "registered"
    assert client.request("attest", token=token())["type"] == "attested"
