# SPDX-License-Identifier: MIT
"""REQUIRE_ATTESTATION: which messages need a session token, and the ways to show it."""
import urllib.parse

import pytest

from front import PATIENT, ask_bootstrap, settle
from harness import http_request, uid, wait_until
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


# The front server

TURN = {**PATIENT, "TURN_SERVERS": "turn:t.example", "TURN_SECRET": "shared with the TURN servers"}


@pytest.fixture
def front(start, join):
    """Workers with a member in the pool, and with credentials for TURN."""
    def front(which="all", count=1):
        fleet = start(count, REQUIRE_ATTESTATION=which, ATTESTATION_SIGNING_KEY=KEY.seed, **TURN)
        settle(fleet, join(fleet.workers[0]))
        return fleet

    return front


def test_a_client_is_welcomed_when_it_has_shown_a_token(front, connect):
    worker, wanted = front().workers[0], uid("client")
    client = connect(worker, f"/signaling?clientId={wanted}")
    assert client.request("ping") == {"type": "pong"}, "and no word before that"
    assert client.request("offer", payload=1) == NOT_ATTESTED
    assert client.request("attest", token=token(-1)) == NOT_ATTESTED
    assert client.request("attest", token=token())["type"] == "attested"
    welcome = client.expect("welcome")
    assert welcome["clientId"] == wanted and welcome["worker"] and welcome["iceServers"][0]["credential"]
    assert client.request("attest", token=token())["type"] == "attested"
    assert client.request("ping") == {"type": "pong"}, "it is welcomed once"


def test_a_client_that_shows_its_token_at_the_upgrade_is_welcomed_at_once(front, connect):
    worker = front().workers[0]
    for ending in f"?attestation={token()}", f"?clientId=mine&attestation={token()}":
        welcome = connect(worker, f"/signaling{ending}").expect("welcome")
        assert welcome["iceServers"][0]["credential"]
    assert welcome["clientId"] == "mine"
    assert connect(worker, "/signaling", {"X-Attestation-Token": token()}).expect("welcome")
    assert connect(worker, f"/signaling?attestation={token(-1)}").request("ping") == {"type": "pong"}


def test_who_is_not_attested_takes_no_id(front, connect, caller):
    fleet = front(count=2)
    wanted = uid("client")
    squatter = connect(fleet.workers[0], f"/signaling?clientId={wanted}")
    assert squatter.request("ping") == {"type": "pong"}
    owner = connect(fleet.workers[1], f"/signaling?clientId={wanted}&attestation={token()}")
    assert owner.expect("welcome")["clientId"] == wanted
    squatter.close()
    assert owner.request("ping") == {"type": "pong"}
    assert fleet.redis.client.exists(f"sb:{{client:{wanted}}}")


@pytest.mark.parametrize("show", [
    lambda text: ("/bootstrap", {"Authorization": f"Bearer {text}"}),
    lambda text: ("/bootstrap", {"X-Attestation-Token": text}),
    lambda text: (f"/bootstrap?attestation={urllib.parse.quote(text, safe='')}", {}),
], ids=["bearer", "header", "query"])
def test_bootstrap_wants_a_token(front, show):
    worker = front().workers[0]
    for bad in token(-1), token(key=Key()), "x", "":
        path, headers = show(bad)
        status, _, body = http_request(worker, "POST", path, b"{}", headers)
        assert (status, body) == (401, {"error": "Attestation required"})
    path, headers = show(token())
    status, _, body = http_request(worker, "POST", path, b"{}", headers)
    assert status == 200 and body["iceServers"][0]["credential"]
    assert worker.events("auth_refused")[0]["path"] == "/bootstrap"


@pytest.mark.parametrize("which", ["off", "chunks"])
def test_clients_need_no_token_where_not_all_is_gated(front, caller, which):
    worker = front(which).workers[0]
    assert ask_bootstrap(worker)[0] == 200
    assert caller(worker).welcome["iceServers"][0]["credential"]
