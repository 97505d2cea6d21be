# SPDX-License-Identifier: MIT
"""Device attestation: from a build token to a session token, and every way to be refused on it."""
import base64
import json

import pytest

from harness import UNAVAILABLE, Fleet, uid, wait_until
from registry_client import (DAY_MS, Key, Reference, ask, bearer, build_token, challenge, challenged, now_ms, raw,
                             refused, register, spend, verify)

KEY, OTHER, SECRET = Key(), Key(), "s3cret-of-the-ci"
NO_DEVICE = refused(404, "Device not registered")
NO_REFERENCE = refused(404, "No reference binary found for this version and platform")
BAD_NONCE = refused(403, "Invalid or expired nonce")
NOT_CONFIGURED = refused(503, "Attestation service not configured")
DEFAULTS = {"minimum_version": "1.0.0", "recommended_version": "1.0.0", "blocked_versions": [], "sunset_dates": {}}
ENV = {"IP_CONNECT_RATE": 0, "ATTESTATION_SIGNING_KEY": KEY.seed, "CI_UPLOAD_SECRET": SECRET}


@pytest.fixture(scope="module")
def fleet():
    with Fleet(**ENV) as fleet:
        yield fleet


@pytest.fixture
def pair(fleet):
    return fleet.workers


@pytest.fixture
def one(pair):
    return pair[0]


def enlisted(pair, reference):
    """A device that has that binary, which is known."""
    assert reference.upload(pair[1], SECRET)[0] == 200
    device = uid("device")
    status, body = register(pair[0], KEY, device, platform=reference.platform, version=reference.version)
    assert status == 200, body
    return device


def set_policy(worker, **policy):
    return ask(worker, "POST", "/attest/versions", policy, bearer(SECRET))


# --- the whole way ---


def test_a_device_comes_to_its_token_whatever_worker_it_asks(pair):
    reference, device = Reference(), uid("device \u00e9")
    status, body = register(pair[0], KEY, device, platform=reference.platform)
    at = body["device"].pop("registered_at")
    assert (status, body) == (200, {"status": "registered", "version_status": "current", "device": {
        "device_id": device, "build_version": "1.0.0", "platform": reference.platform, "build_hash": "a hash"}})
    assert type(at) is int and abs(at - now_ms()) < 60_000
    assert reference.upload(pair[1], SECRET)[0] == 200
    asked = challenged(pair[1], device)
    begun = now_ms()
    status, body = verify(pair[0], device, asked, reference.answers(asked))
    assert (status, body.keys(), body["valid"]) == (200, {"valid", "session_token"}, True)
    payload, signature = body["session_token"].split(".")
    text = base64.b64decode(payload, validate=True)
    assert KEY.signed(text, signature) and not KEY.signed(text + b" ", signature)
    fields = json.loads(text)
    issued = fields.pop("issued_at")
    assert fields == {"device_id": device, "build_version": "1.0.0", "platform": reference.platform,
                      "expires_at": issued + 3_600_000}
    assert type(issued) is int and begun - 60_000 < issued < now_ms() + 60_000
    assert verify(pair[1], device, asked, reference.answers(asked)) == BAD_NONCE


def test_a_device_that_registers_again_counts_as_what_it_is_now(pair):
    reference, device = Reference(), uid("device")
    assert register(pair[0], KEY, device, platform="elsewhere")[0] == 200
    assert reference.upload(pair[0], SECRET)[0] == 200
    assert challenge(pair[1], device) == NO_REFERENCE
    assert register(pair[1], KEY, device, platform=reference.platform)[0] == 200
    assert challenge(pair[0], device)[0] == 200


# --- register ---

TOKEN = build_token(KEY)


@pytest.mark.parametrize("fields", [
    {}, {"device_id": "d"}, {"build_token": TOKEN}, {"build_token": None, "device_id": "d"},
    {"build_token": "", "device_id": "d"}, {"build_token": TOKEN, "device_id": ""},
    {"build_token": TOKEN, "device_id": None}, {"build_token": TOKEN, "device_id": 1}], ids=range(8))
def test_a_registration_without_its_fields_is_refused(one, fields):
    want = refused(400, "Missing required fields: build_token, device_id")
    assert ask(one, "POST", "/attest/register", fields) == want


@pytest.mark.parametrize("token", [
    {}, [], "token", {"payload": "{}"}, {"signature": "x"}, {"payload": "", "signature": "x"},
    {"payload": {}, "signature": "x"}, {"payload": "{}", "signature": 1}], ids=str)
def test_a_build_token_without_its_parts_is_refused(one, token):
    want = refused(400, "Invalid build_token format: must include payload and signature")
    assert ask(one, "POST", "/attest/register", {"build_token": token, "device_id": "d"}) == want


FORGED = {"other key": lambda token: {**token, "signature": Key().sign(token["payload"])},
          "changed": lambda token: {**token, "payload": token["payload"] + " "},
          "no base64": lambda token: {**token, "signature": "!" * 88},
          "short": lambda token: {**token, "signature": "AAAA"},
          "more": lambda token: {**token, "signature": token["signature"] + "AAAA"},
          "hex": lambda token: {**token, "signature": base64.b64decode(token["signature"]).hex()}}


@pytest.mark.parametrize("how", FORGED)
def test_a_forged_build_token_is_refused(one, how):
    want = refused(403, "Invalid build token signature")
    fields = {"build_token": FORGED[how](build_token(KEY)), "device_id": uid()}
    assert ask(one, "POST", "/attest/register", fields) == want
    assert challenge(one, fields["device_id"]) == NO_DEVICE


@pytest.mark.parametrize("payload", ["x", "[]", '"x"', "null", "{", '{"a":1}x', "1"])
def test_a_payload_that_is_no_object_is_refused(one, payload):
    assert register(one, KEY, uid(), payload=payload) == refused(400, "Invalid build token payload")


@pytest.mark.parametrize("name, values", [("version", (None, "", 1)), ("platform", (None, "", [])),
                                          ("build_hash", (None, "", {})), ("timestamp", (None, "", "1", [], True))])
def test_a_build_token_without_a_field_is_refused(one, name, values):
    sentence = "Build token missing required fields: version, platform, build_hash, timestamp"
    for value in values:
        assert register(one, KEY, uid(), **{name: value}) == refused(400, sentence), value


@pytest.mark.parametrize("age, answer", [
    (366 * DAY_MS, refused(403, "Build token expired")), (365 * DAY_MS + 1000, refused(403, "Build token expired")),
    (365 * DAY_MS - 30_000, None), (0, None), (-59_000, None), (1e300, refused(403, "Build token expired")),
    (-61_500, refused(403, "Build token has a future timestamp")),
    (-1e300, refused(403, "Build token has a future timestamp"))])
def test_a_build_token_is_good_for_a_year(one, age, answer):
    got = register(one, KEY, uid(), timestamp=now_ms() - age)
    assert got == answer if answer else got[0] == 200


@pytest.mark.parametrize("device", ["x" * 257, "\u00e9" * 129, "a\nb", "\x7f"], ids=ascii)
def test_a_device_id_over_the_limits_is_refused(one, device):
    assert register(one, KEY, device)[0] == 400
    assert challenge(one, device)[0] == 400
    assert register(one, KEY, "x" * 256)[0] == register(one, KEY, "\u00e9" * 128)[0] == 200


def test_another_key_may_be_the_one_of_build_tokens(start):
    builder = Key()
    both = start(1, BUILD_TOKEN_VERIFY_KEY=builder.public, **ENV).workers[0]
    assert register(both, builder, "d")[0] == 200
    assert register(both, KEY, "d") == refused(403, "Invalid build token signature")
    alone = start(1, BUILD_TOKEN_VERIFY_KEY=builder.public).workers[0]
    assert register(alone, builder, "d")[0] == 200
    assert verify(alone, "d", {"nonce": "0" * 64}, []) == NOT_CONFIGURED


def test_what_is_not_configured_is_unavailable(start):
    worker = start(1).workers[0]
    assert register(worker, KEY, "d") == NOT_CONFIGURED
    assert verify(worker, "d", {"nonce": "0" * 64}, []) == NOT_CONFIGURED
    for given in ({}, bearer(""), bearer("x")):
        assert ask(worker, "POST", "/attest/upload-reference", Reference().fields(), given) == refused(
            503, "CI upload not configured")
        assert ask(worker, "POST", "/attest/versions", {}, given) == refused(503, "Admin access not configured")
    assert ask(worker, "GET", "/attest/versions") == (200, DEFAULTS)


# --- versions ---


def test_the_version_policy_is_the_same_on_every_worker(start):
    pair = start(**ENV).workers
    for worker in pair:
        assert ask(worker, "GET", "/attest/versions") == (200, DEFAULTS)
    policy = {"minimum_version": "1.2", "recommended_version": "1.10.0", "blocked_versions": ["1.3.0", "\u00e9"],
              "sunset_dates": {"1.2.0": "2030-01-01"}}
    assert set_policy(pair[0], **policy) == (200, {"success": True, "policy": policy})
    for worker in pair:
        assert ask(worker, "GET", "/attest/versions") == (200, policy)
    rows = [("1.1.9", refused(403, "Version 1.1.9 is below minimum required version 1.2")),
            ("1.3.0", refused(403, "Version 1.3.0 has been blocked")), ("1.2", "1.10.0"), ("1.2.0", "1.10.0"),
            ("1.9.9", "1.10.0"), ("1.10", None), ("1.10.0", None), ("1.10.1", None), ("2", None), ("1.10.0.9", None),
            ("0.99.99", refused(403, "Version 0.99.99 is below minimum required version 1.2")),
            ("1.x", refused(403, "Version 1.x is below minimum required version 1.2")), ("1.2.x", "1.10.0"),
            ("x", refused(403, "Version x is below minimum required version 1.2")),
            ("\u00e9", refused(403, "Version \u00e9 has been blocked"))]
    for version, want in rows:
        for worker in pair:
            status, body = register(worker, KEY, "d", version=version)
            if isinstance(want, tuple):
                assert (status, body) == want
            else:
                assert (status, body.get("recommended_version")) == (200, want), version
                assert body["version_status"] == ("update_recommended" if want else "current")
    assert set_policy(pair[1]) == (200, {"success": True, "policy": DEFAULTS})
    changed = {**DEFAULTS, "minimum_version": "0.1"}
    assert set_policy(pair[1], minimum_version="0.1", unknown=1) == (200, {"success": True, "policy": changed})
    assert ask(pair[0], "GET", "/attest/versions") == (200, changed)


@pytest.mark.parametrize("name, values", [
    ("minimum_version", (1, [], {}, True, "")), ("recommended_version", (1, ["1.0.0"])),
    ("blocked_versions", ("1.0.0", {}, [1], [None], [[]], 0)), ("sunset_dates", ([], "x", {"1.0.0": 1}, 1))])
def test_a_policy_of_the_wrong_types_is_refused_and_nothing_changes(one, name, values):
    for value in values:
        status, body = set_policy(one, **{name: value})
        assert status == 400 and body["error"], value
    for body in (b"[]", b"{", b""):
        assert ask(one, "POST", "/attest/versions", body, bearer(SECRET))[0] == 400
    assert ask(one, "GET", "/attest/versions") == (200, DEFAULTS)


@pytest.mark.parametrize("path", ["/attest/versions", "/attest/upload-reference"])
def test_only_who_knows_the_secret_sets_the_policy_and_uploads(one, path):
    for given in ({}, bearer(""), bearer(SECRET + "x"), bearer(SECRET[:-1]), bearer(SECRET.upper()),
                  {"Authorization": SECRET}, {"Authorization": f"Basic {SECRET}"}):
        for body in ({}, b"{"):
            assert ask(one, "POST", path, body, given) == refused(401, "Unauthorized"), given
    assert ask(one, "GET", "/attest/versions") == (200, DEFAULTS)


# --- what holds for all of them ---


def test_no_secret_is_in_the_log(start):
    pair = start(BOOTSTRAP_SIGNING_KEY=OTHER.seed, **ENV).workers
    reference = Reference()
    device, token = enlisted(pair, reference), build_token(KEY, platform=reference.platform)
    register(pair[0], OTHER, device)
    ask(pair[0], "POST", "/attest/register", {"build_token": token, "device_id": device})
    assert reference.upload(pair[0], "a wrong secret")[0] == 401
    ask(pair[0], "GET", f"/nowhere?attestation={token['signature']}", headers=bearer("a wrong secret"))
    wrong, asked = challenged(pair[0], device), challenged(pair[1], device)
    spend(pair[1], device, wrong)
    status, body = verify(pair[1], device, asked, reference.answers(asked))
    assert status == 200
    secrets = [KEY.seed, OTHER.seed, SECRET, "a wrong secret", body["session_token"], asked["nonce"], wrong["nonce"],
               token["signature"], *body["session_token"].split("."), reference.data[0].hex(),
               *(answer["hmac"] for answer in reference.answers(asked))]
    wait_until(lambda: pair[0].events("auth_refused"), 3, "the refusal in the log")
    for worker in pair:
        log = "".join(worker.lines)
        assert not [secret for secret in secrets if secret.lower() in log.lower()]




@pytest.mark.parametrize("path", ["register", "challenge", "verify", "versions", "upload-reference"])
def test_a_body_that_is_no_object_or_too_long_and_other_methods_are_refused(one, path):
    for body in (b"", b"{", b"[]", b'"x"', b"null", b'{"a":"\xff"}'):
        assert ask(one, "POST", f"/attest/{path}", body, bearer(SECRET))[0] == 400, body
    longest = 4 * 1024 * 1024 if path == "upload-reference" else 65536
    assert ask(one, "POST", f"/attest/{path}", b" " * longest, bearer(SECRET))[0] == 400
    assert raw(one, "POST", f"/attest/{path}", b" " * (longest + 1), bearer(SECRET))[0] == 413
    status, headers, _ = raw(one, "PUT", f"/attest/{path}")
    assert (status, headers["Allow"]) == (405, "GET, POST" if path == "versions" else "POST")


def test_without_redis_attestation_is_unavailable(start):
    fleet = start(1, **ENV)
    worker = fleet.workers[0]
    fleet.redis.stop()
    reference = Reference()
    requests = [("POST", "register", {"build_token": build_token(KEY), "device_id": "d"}), ("GET", "versions", None),
                ("POST", "challenge", {"device_id": "d", "build_version": "1"}), ("POST", "versions", {}),
                ("POST", "verify", {"device_id": "d", "nonce": "0" * 64, "responses": []}),
                ("POST", "upload-reference", reference.fields())]
    for method, path, fields in requests:
        status, headers, body = raw(worker, method, f"/attest/{path}", fields, bearer(SECRET))
        assert (status, headers["Retry-After"], json.loads(body)) == (503, "1", {"error": UNAVAILABLE}), path
    assert ask(worker, "POST", "/attest/register", {})[0] == 400
    fleet.redis.start()
    wait_until(lambda: ask(worker, "GET", "/attest/versions")[0] == 200, 8, "the policy")
    assert register(worker, KEY, "d")[0] == 200
