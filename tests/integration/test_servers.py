# SPDX-License-Identifier: MIT
"""The server bootstrap registry: entries and how long they live."""
import json
import time
from urllib.parse import quote

import pytest

from harness import SLOW, UNAVAILABLE, Fleet, get, uid, wait_until
from registry_client import Key, ask, compact, now_ms, raw, refused, server, servers

KEY = Key()
DONE = 200, {"success": True}
MISSING = refused(400, "Missing required fields: serverId, endpoint, publicKey")
NOT_REGISTERED = refused(404, "Server not registered")
ODD = ["a/b", "/a", "a/", "a//b", "//a+//b/", "a+b", "+", "a b", "a=b", "a:b", "https://x.example:8443/p?q=1&r#f",
       "ed25519:+/==", "\u00e9", "\u00e9" * 128, "\U0001f600", "100%", "%41", "%2B", "{x}", "a}b", "\"\\'", "a;b",
       "x" * 256, "heartbeat", "a.b", "..."]
SPELLINGS = {"encoded": "", "plus": "+", "plain": "/+=:"}


@pytest.fixture(scope="module")
def fleet():
    with Fleet(IP_CONNECT_RATE=0, BOOTSTRAP_SIGNING_KEY=KEY.seed) as fleet:
        yield fleet


@pytest.fixture
def pair(fleet):
    return fleet.workers


def enroll(worker, entry, **headers):
    status, body = ask(worker, "POST", "/servers", entry, headers)
    assert status == 200, body
    return body["server"]


def beat(worker, server_id, **headers):
    return ask(worker, "POST", "/servers/heartbeat", {"serverId": server_id}, headers)


def path_of(server_id, safe=""):
    return f"/servers/{quote(server_id, safe=safe)}"


def test_a_server_registered_on_one_worker_is_listed_by_the_other(pair):
    given = server(region="eu-west", unknown="ignored")
    status, body = ask(pair[0], "POST", "/servers", given)
    entry = body["server"]
    assert (status, body.keys()) == (200, {"success", "server"}) and body["success"] is True
    assert entry == {**{name: given[name] for name in ("serverId", "endpoint", "publicKey", "region")},
                     "registeredAt": entry["registeredAt"], "lastSeen": entry["registeredAt"]}
    assert type(entry["registeredAt"]) is int and abs(entry["registeredAt"] - now_ms()) < 60_000
    for worker in pair:
        assert servers(worker)[given["serverId"]] == entry
        assert abs(get(worker, "/servers")["timestamp"] - now_ms()) < 60_000


def test_the_list_is_signed_byte_for_byte(pair):
    for fields in {}, {"endpoint": "wss://\u00e9.example/\"\\/", "region": "\U0001f600"}:
        enroll(pair[0], server(**fields))
        for worker in pair:
            status, headers, body = raw(worker, "GET", "/servers")
            assert status == 200 and KEY.signed(body, headers["X-Bootstrap-Signature"])
            assert not KEY.signed(body + b" ", headers["X-Bootstrap-Signature"])


def test_without_a_key_the_list_is_not_signed(start):
    status, headers, body = raw(start(1).workers[0], "GET", "/servers")
    assert (status, headers["X-Bootstrap-Signature"]) == (200, None)
    assert json.loads(body)["servers"] == []


@pytest.mark.parametrize("fields", [{}, {"region": None}, {"region": ""}])
def test_a_server_that_names_no_region_is_of_an_unknown_one(pair, fields):
    assert enroll(pair[0], server(**fields))["region"] == "unknown"


def test_the_same_id_again_overwrites(pair):
    first = enroll(pair[0], server(endpoint="wss://old", region="old"))
    second = enroll(pair[1], server(first["serverId"], endpoint="wss://new"))
    assert second["registeredAt"] >= first["registeredAt"]
    for worker in pair:
        assert servers(worker)[first["serverId"]] == second
        assert (second["endpoint"], second["region"]) == ("wss://new", "unknown")


@pytest.mark.parametrize("name", ["serverId", "endpoint", "publicKey"])
@pytest.mark.parametrize("value", [None, "", 1, True, [], {}, ["x"]], ids=str)
def test_a_field_that_is_missing_empty_or_no_string_is_named(pair, name, value):
    assert ask(pair[0], "POST", "/servers", server(**{name: value})) == MISSING
    given = server()
    del given[name]
    assert ask(pair[0], "POST", "/servers", given) == MISSING


@pytest.mark.parametrize("server_id", ["x" * 257, "\u00e9" * 129, "a\nb", "a\0b", "\x7f", "\x1f"], ids=ascii)
def test_an_id_over_the_limits_is_refused(pair, server_id):
    before = servers(pair[1]).keys()
    status, body = ask(pair[0], "POST", "/servers", server(server_id))
    assert status == 400 and body["error"]
    assert beat(pair[0], server_id)[0] in (400, 404)
    assert servers(pair[1]).keys() == before


@pytest.mark.parametrize("path", ["/servers", "/servers/heartbeat"])
@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b'["serverId"]', b'"x"', b"null", b"1", b"\xff\xfe", b'{"serverId":"x"}x', b'{"serverId":"\xff"}',
    b'{"x":' + b"[" * 65 + b"]" * 65 + b"}"], ids=ascii)
def test_a_body_that_is_no_object_is_refused(pair, path, body):
    status, answer = ask(pair[0], "POST", path, body)
    assert (status, list(answer)) == (400, ["error"]) and answer["error"]


def test_a_body_of_64_kib_is_taken_and_a_longer_one_is_not(pair):
    given = server()
    room = 65536 - len(compact({**given, "x": ""}))
    assert ask(pair[0], "POST", "/servers", {**given, "x": "y" * room})[0] == 200
    assert ask(pair[0], "POST", "/servers", {**server(), "x": "y" * (room + 1)})[0] == 413
    assert given["serverId"] in servers(pair[1])


@pytest.mark.parametrize("method, path, allow", [
    ("PUT", "/servers", "GET, POST"), ("DELETE", "/servers", "GET, POST"), ("POST", "/servers/x", "DELETE"),
    ("GET", "/servers/heartbeat", "POST, DELETE"), ("GET", "/servers/x/y", "DELETE")])
def test_other_methods_are_not_allowed(pair, method, path, allow):
    status, headers, _ = raw(pair[0], method, path)
    assert (status, headers["Allow"]) == (405, allow)
    assert raw(pair[0], "OPTIONS", path)[0] == 200


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("server_id", ODD, ids=lambda text: ascii(text)[:24])
def test_a_server_of_any_name_is_removed(pair, server_id, spelling):
    enroll(pair[0], server(server_id))
    assert server_id in servers(pair[1])
    assert ask(pair[1], "DELETE", path_of(server_id, SPELLINGS[spelling])) == DONE
    assert server_id not in servers(pair[0])
    assert beat(pair[0], server_id) == NOT_REGISTERED
    assert ask(pair[1], "DELETE", path_of(server_id, SPELLINGS[spelling])) == DONE


@pytest.mark.parametrize("server_id", [".", "..", "a/../b", "./a", "a/.", "/", "///"])
def test_a_server_whose_name_looks_like_a_path_is_removed(pair, server_id):
    enroll(pair[0], server(server_id))
    raw(pair[1], "DELETE", path_of(server_id))
    assert server_id not in servers(pair[0])


@pytest.mark.parametrize("path, removed, stays", [
    ("a%2Bb", "a+b", "a b"), ("a%20b", "a b", "a+b"), ("x%2F", "x/", "x"),
    ("c%2F%2Fd", "c//d", "c/d"), ("%2Fe", "/e", "e"), ("a+b", "a+b", "a b"), ("a/b", "a/b", "a"),
    ("x%2F..%2Fvictim", "x/../victim", "victim"), ("./victim", "./victim", "victim"), ("a%252Fb", "a%2Fb", "a/b")])
def test_of_two_names_that_look_alike_the_one_that_was_sent_is_removed(pair, path, removed, stays):
    for server_id in (removed, stays):
        enroll(pair[0], server(server_id))
    assert ask(pair[1], "DELETE", f"/servers/{path}") == DONE
    assert servers(pair[0]).keys() & {removed, stays} == {stays}


def test_removing_what_is_not_there_is_a_success(pair):
    before = servers(pair[0]).keys()
    for server_id in (uid("nobody"), "x" * 257, "no/body", "a+b+c"):
        assert ask(pair[0], "DELETE", path_of(server_id)) == DONE
    assert servers(pair[1]).keys() == before


def beaten(worker, name):
    """The list, once it shows a heartbeat of that server: within a second."""
    listed = servers(worker)
    return listed if listed[name]["lastSeen"] > listed[name]["registeredAt"] else None


def test_a_heartbeat_tells_of_every_other_server(start):
    pair = start().workers
    entries = {entry["serverId"]: entry for entry in (enroll(pair[i % 2], server(f"s{i}")) for i in range(4))}
    time.sleep(0.01)
    for worker, name in zip(pair, ("s0", "s3")):
        status, body = beat(worker, name)
        assert (status, body.keys(), body["success"]) == (200, {"success", "peers"}, True)
        listed = wait_until(lambda: beaten(pair[0], name), 2, "the heartbeat in the list")
        assert {peer["serverId"]: peer for peer in body["peers"]} == {k: v for k, v in listed.items() if k != name}
        assert listed[name]["registeredAt"] == entries[name]["registeredAt"]
    for name in ("s1", "s2"):
        assert servers(pair[1])[name] == entries[name]


@pytest.mark.parametrize("fields", [{}, *({"serverId": value} for value in ("", None, 1, ["x"]))], ids=str)
def test_a_heartbeat_of_nobody_is_refused(pair, fields):
    assert ask(pair[0], "POST", "/servers/heartbeat", fields) == refused(400, "Missing serverId")


def test_a_heartbeat_of_a_server_that_is_not_registered_is_not_found(pair):
    assert beat(pair[0], uid("nobody")) == NOT_REGISTERED


def test_a_server_is_listed_as_long_as_its_heart_beats(start):
    ttl = 0.6 * SLOW
    pair = start(SERVER_TTL_MS=int(ttl * 1000), IP_CONNECT_RATE=0).workers
    for name in ("lives", "ends"):
        enroll(pair[0], server(name))
    begun, alone = time.monotonic(), False
    while time.monotonic() < begun + 2.5 * ttl:
        status, body = beat(pair[1], "lives")
        assert status == 200
        alone = [peer["serverId"] for peer in body["peers"]] == []
        assert alone or time.monotonic() < begun + 1.5 * ttl
        assert servers(pair[0]).keys() == ({"lives"} if alone else {"lives", "ends"}) or not alone
        time.sleep(ttl / 10)
    assert alone and beat(pair[0], "ends") == NOT_REGISTERED
    wait_until(lambda: servers(pair[1]) == {}, 3, "an empty list")
    assert beat(pair[0], "lives") == NOT_REGISTERED
    enroll(pair[0], server("ends"))
    assert servers(pair[1]).keys() == {"ends"}


def test_what_has_ended_does_not_stay_in_redis(start):
    fleet = start(1, SERVER_TTL_MS=int(100 * SLOW), IP_CONNECT_RATE=0)
    for i in range(20):
        enroll(fleet.workers[0], server(f"https://x{i}//+a+b"))
    wait_until(lambda: servers(fleet.workers[0]) == {}, 5, "an empty list")
    enroll(fleet.workers[0], server("plain"))
    assert fleet.redis.client.hkeys("sb:{servers}:all") == ["plain"]
    assert fleet.redis.client.zrange("sb:{servers}:seen", 0, -1) == ["plain"]


def test_without_redis_the_registry_is_unavailable(start):
    fleet = start(1)
    worker = fleet.workers[0]
    fleet.redis.stop()
    for method, path, body in (("GET", "/servers", None), ("POST", "/servers", server()),
                               ("DELETE", "/servers/x", None), ("POST", "/servers/heartbeat", {"serverId": "x"})):
        status, headers, answer = raw(worker, method, path, body)
        assert (status, headers["Retry-After"], json.loads(answer)) == (503, "1", {"error": UNAVAILABLE})
    assert ask(worker, "POST", "/servers", {}) == MISSING
    fleet.redis.start()
    wait_until(lambda: raw(worker, "GET", "/servers")[0] == 200, 8, "the list")
