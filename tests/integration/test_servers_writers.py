# SPDX-License-Identifier: MIT
"""Who may write to the server registry: who knows a secret, or who has an entry's key."""
import pytest

from harness import SLOW, Worker, get, wait_until
from registry_client import Key, ask, ask_signed, bearer, compact, encoded, now_ms, refused, server, servers, signature
from test_servers import DONE, MISSING, NOT_REGISTERED, beat, enroll, path_of

SECRET, SEED, PUBLIC = "s3cret-of-the-fleet", "0f" * 32, encoded(bytes(32))
UNAUTHORIZED = refused(401, "Unauthorized")


@pytest.fixture
def signing(start):
    return start(SERVER_REGISTRATION="signed", IP_CONNECT_RATE=0).workers


def test_with_a_secret_only_who_knows_it_writes_and_all_may_read(start):
    pair = start(SERVER_REGISTRATION="secret", SERVER_REGISTRATION_SECRET=SECRET, IP_CONNECT_RATE=0).workers
    enroll(pair[0], server("known"), **bearer(SECRET))
    writes = [("POST", "/servers", server("other")), ("POST", "/servers", b"{"), ("DELETE", "/servers/known", None),
              ("POST", "/servers/heartbeat", {"serverId": "known"})]
    for given in ({}, bearer(SECRET + "x"), bearer(SECRET[:-1]), bearer(""), bearer(SECRET.upper()),
                  {"Authorization": SECRET}, {"Authorization": f"Basic {SECRET}"}):
        for method, path, body in writes:
            assert ask(pair[1], method, path, body, given) == UNAUTHORIZED, given
        assert servers(pair[1]).keys() == {"known"}
    assert beat(pair[1], "known", **bearer(SECRET)) == (200, {"success": True, "peers": []})
    assert ask(pair[1], "DELETE", "/servers/known", headers=bearer(SECRET)) == DONE
    assert servers(pair[0]) == {}
    assert all(SECRET[:-1] not in line for worker in pair for line in worker.lines)


def test_an_owner_writes_with_its_key_and_hands_over_to_a_new_one(signing):
    old, new = Key(), Key()
    given = server("mine", publicKey=old.public)
    assert ask_signed(signing[0], old, "POST", "/servers", given)[0] == 200
    assert ask_signed(signing[1], old, "POST", "/servers/heartbeat", {"serverId": "mine"})[0] == 200
    assert ask_signed(signing[1], old, "POST", "/servers", {**given, "endpoint": "wss://new"})[0] == 200
    given["publicKey"] = new.public
    assert ask_signed(signing[0], new, "POST", "/servers", given) == UNAUTHORIZED
    assert ask_signed(signing[0], old, "POST", "/servers", given)[0] == 200
    assert servers(signing[1])["mine"]["publicKey"] == new.public
    assert ask_signed(signing[0], old, "POST", "/servers/heartbeat", {"serverId": "mine"}) == UNAUTHORIZED
    assert ask_signed(signing[0], old, "DELETE", "/servers/mine") == UNAUTHORIZED
    assert ask_signed(signing[0], new, "DELETE", "/servers/mine") == DONE
    assert servers(signing[1]) == {}


def test_a_stranger_can_neither_overwrite_nor_refresh_nor_remove(signing):
    owner, stranger = Key(), Key()
    entry = ask_signed(signing[0], owner, "POST", "/servers", server("mine", publicKey=owner.public))[1]["server"]
    for method, path, body in (("POST", "/servers", server("mine", publicKey=stranger.public)),
                               ("POST", "/servers", server("mine", publicKey=owner.public)),
                               ("POST", "/servers/heartbeat", {"serverId": "mine"}), ("DELETE", "/servers/mine", None)):
        assert ask_signed(signing[1], stranger, method, path, body) == UNAUTHORIZED
        assert ask(signing[1], method, path, body) == UNAUTHORIZED
    assert servers(signing[0]) == {"mine": entry}


def signed_late(late):
    return lambda key, body: signature(key, "POST", "/servers", body, now_ms() + late)


def signed_at(timestamp):
    return lambda key, body: signature(key, "POST", "/servers", body, timestamp())


def altered(**headers):
    """None takes one away."""
    def sign(key, body):
        all_of_them = {**signature(key, "POST", "/servers", body),
                       **{name.replace("_", "-"): value for name, value in headers.items()}}
        return {name: value for name, value in all_of_them.items() if value is not None}

    return sign


SIGNED = {
    "stale": signed_late(-62_000), "future": signed_late(65_000), "seconds": signed_at(lambda: now_ms() // 1000),
    "no number": signed_at(lambda: "now"), "empty": signed_at(lambda: ""), "more": signed_at(lambda: f"{now_ms()}x"),
    "other path": lambda key, body: signature(key, "POST", "/servers/", body),
    "other method": lambda key, body: signature(key, "DELETE", "/servers", body),
    "changed body": lambda key, body: signature(key, "POST", "/servers", body + b" "),
    "other key": lambda key, body: signature(Key(), "POST", "/servers", body),
    "other timestamp": altered(X_Server_Timestamp=str(now_ms() + 7)),
    "no timestamp": altered(X_Server_Timestamp=None), "no signature": altered(X_Server_Signature=None),
    "no base64": altered(X_Server_Signature="!" * 88), "short": altered(X_Server_Signature="AAAA"),
    "long": altered(X_Server_Signature="A" * 3000),
}


def test_a_write_whose_signature_is_not_right_is_refused(signing):
    key = Key()
    body = compact(server("mine", publicKey=key.public)).encode()
    for name, sign in SIGNED.items():
        assert ask(signing[0], "POST", "/servers", body, sign(key, body)) == UNAUTHORIZED, name
    assert servers(signing[1]) == {}
    for late in -55_000, 55_000:
        headers = signature(key, "POST", "/servers", body, now_ms() + late)
        assert ask(signing[0], "POST", "/servers", body, headers)[0] == 200


@pytest.mark.parametrize("public", ["a key", "", "AAAA", "!" * 44])
def test_a_key_that_is_none_signs_nothing(signing, public):
    entry = server("mine", publicKey=public)
    status, body = ask_signed(signing[0], Key(), "POST", "/servers", entry)
    assert (status, body) == (UNAUTHORIZED if public else MISSING)
    assert servers(signing[0]) == {}


@pytest.mark.parametrize("spelling", [" ", "/+=:"], ids=["plain", "encoded"])
def test_a_removal_is_signed_over_the_path_as_it_is_or_as_it_was_sent(signing, spelling):
    key = Key()
    for server_id in ("plain", "a b", "a/b", "https://x.example:9000/a//b", "ed25519:a+b/==", "\u00e9", "100%"):
        assert ask_signed(signing[0], key, "POST", "/servers", server(server_id, publicKey=key.public))[0] == 200
        path = f"/servers/{server_id}" if spelling == " " else path_of(server_id)
        other = signature(key, "DELETE", "/servers/other")
        assert ask(signing[1], "DELETE", path_of(server_id), headers=other) == UNAUTHORIZED
        assert server_id in servers(signing[1])
        assert ask(signing[1], "DELETE", path_of(server_id), headers=signature(key, "DELETE", path)) == DONE
        assert servers(signing[0]) == {}


def test_what_is_not_there_is_nobodys(signing):
    assert ask_signed(signing[0], Key(), "DELETE", "/servers/nobody") == DONE
    assert ask_signed(signing[0], Key(), "POST", "/servers/heartbeat", {"serverId": "nobody"}) == NOT_REGISTERED


def test_a_stranger_may_take_a_name_that_has_ended(start):
    pair = start(SERVER_REGISTRATION="signed", SERVER_TTL_MS=int(400 * SLOW), IP_CONNECT_RATE=0).workers
    owner, stranger = Key(), Key()
    assert ask_signed(pair[0], owner, "POST", "/servers", server("name", publicKey=owner.public))[0] == 200
    assert ask_signed(pair[1], stranger, "POST", "/servers", server("name", publicKey=stranger.public)) == UNAUTHORIZED
    wait_until(lambda: servers(pair[1]) == {}, 3, "the end of the entry")
    assert ask_signed(pair[1], stranger, "POST", "/servers", server("name", publicKey=stranger.public))[0] == 200
    assert ask_signed(pair[0], owner, "POST", "/servers", server("name", publicKey=owner.public)) == UNAUTHORIZED


def test_in_production_who_serves_no_registry_need_not_choose(start):
    assert get(start(1, ENVIRONMENT="production", PROTOCOLS="relay, rooms").workers[0], "/ready")["status"] == "ready"


def test_in_development_the_registry_is_open(start):
    enroll(start(1, ENVIRONMENT="development").workers[0], server())


@pytest.mark.parametrize("name, value", [
    (name, value) for name in ("BOOTSTRAP_SIGNING_KEY", "ATTESTATION_SIGNING_KEY")
    for value in (SEED[:-1], SEED + "0", SEED[:-1] + "g", " " + SEED[1:], SEED[:-2] + "::")] + [
    ("BUILD_TOKEN_VERIFY_KEY", value) for value in ("x", PUBLIC[:-1], PUBLIC + "AAAA", "A" * 44, SEED)])
def test_a_worker_with_a_malformed_key_ends_at_once_and_does_not_show_it(name, value):
    worker = Worker("unix:///nowhere", wait=False, **{name: value})
    assert worker.process.wait(10 * SLOW) == 2
    worker.reader.join(5)
    said = "".join(worker.lines)
    assert f"{name} must be " in said and said.count("\n") == 1, said
    assert name == "BUILD_TOKEN_VERIFY_KEY" or value[:-2] not in said


def test_a_worker_that_is_to_ask_for_a_secret_must_have_one():
    worker = Worker("unix:///nowhere", wait=False, SERVER_REGISTRATION="secret")
    assert worker.process.wait(10 * SLOW) == 2
    worker.reader.join(5)
    assert "SERVER_REGISTRATION_SECRET must be given" in "".join(worker.lines)
