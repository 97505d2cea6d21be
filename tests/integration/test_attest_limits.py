# SPDX-License-Identifier: MIT
"""What binds attestation: the version of a device, the policy, an address' share of challenges and of storage, time."""
import subprocess
import time

import pytest

from harness import SLOW, WORKER, Fleet, metric, uid, wait_until
from registry_client import (Key, Reference, ask, build_token, challenge, challenged, refused, register, spend, verify)
from test_attest import ENV, KEY, NO_DEVICE, SECRET, enlisted, set_policy

PROXIED = {**ENV, "TRUSTED_PROXIES": "127.0.0.0/8"}
OWNER, STRANGER = "192.0.2.1", "2001:db8:1:2::3"
TOO_MANY = refused(429, "Too many pending challenges")
OPTIONS = subprocess.run([WORKER, "--help"], capture_output=True, text=True, timeout=60 * SLOW).stdout


@pytest.fixture(scope="module")
def fleet():
    with Fleet(**PROXIED) as fleet:
        yield fleet


@pytest.fixture
def pair(fleet):
    return fleet.workers


@pytest.fixture
def policy(pair):
    yield lambda **fields: set_policy(pair[0], **fields)
    set_policy(pair[0])


def built(pair, version):
    """(reference, device) of that version"""
    reference = Reference(version=version)
    return reference, enlisted(pair, reference)


BANS = pytest.mark.parametrize("ban, sentence", [
    ({"blocked_versions": ["0.1", "1.5.0"]}, "Version 1.5.0 has been blocked"),
    ({"minimum_version": "1.5.1"}, "Version 1.5.0 is below minimum required version 1.5.1")], ids=["blocked", "old"])


@BANS
def test_the_policy_is_asked_at_a_challenge(pair, policy, ban, sentence):
    _, device = built(pair, "1.5.0")
    policy(**ban)
    assert challenge(pair[1], device, "1.5.0") == refused(403, sentence)
    policy()
    assert challenge(pair[1], device, "1.5.0")[0] == 200


@BANS
def test_the_policy_is_asked_again_at_the_answer(pair, policy, ban, sentence):
    reference, device = built(pair, "1.5.0")
    asked = challenged(pair[0], device, version="1.5.0")
    policy(**ban)
    assert verify(pair[1], device, asked, reference.answers(asked)) == refused(403, sentence)
    policy()
    assert verify(pair[1], device, asked, reference.answers(asked))[1]["valid"], "nothing was compared before"


def test_a_challenge_is_for_the_version_that_the_device_registered(pair):
    (_, device), (newer, _) = built(pair, "1.0.0"), built(pair, "2.0.0")
    assert challenge(pair[0], device, "2.0.0") == NO_DEVICE
    assert challenge(pair[0], device, "1.0") == NO_DEVICE
    assert register(pair[1], KEY, device, version="2.0.0", platform=newer.platform)[0] == 200
    assert challenge(pair[0], device, "1.0.0") == NO_DEVICE
    asked = challenged(pair[0], device, version="2.0.0")
    assert verify(pair[1], device, asked, newer.answers(asked))[1]["valid"]


def test_a_stranger_locks_nobody_out(pair):
    reference, device = built(pair, "1.0.0")
    for _ in range(5):
        challenged(pair[0], device, ip=STRANGER)
    assert challenge(pair[1], device, ip=STRANGER) == TOO_MANY
    assert challenge(pair[1], device, ip="2001:db8:1:2:ffff::1") == TOO_MANY, "of the same range"
    asked = [challenged(pair[0], device, ip=OWNER) for _ in range(5)]
    assert challenge(pair[1], device, ip=OWNER) == TOO_MANY
    assert verify(pair[1], device, asked[0], reference.answers(asked[0]), ip="192.0.2.99")[1]["valid"], "of a new network"
    assert challenge(pair[1], device, ip=OWNER)[0] == 200, "room where it was asked for"
    assert challenge(pair[1], device, ip=OWNER) == TOO_MANY


def test_an_address_has_fifty_challenges_open(pair):
    reference, ip = Reference(), "192.0.2.50"
    devices = [enlisted(pair, reference) for _ in range(11)]
    asked = [challenged(pair[i % 2], device, ip=ip) for i in range(5) for device in devices[:10]]
    assert challenge(pair[0], devices[10], ip=ip) == TOO_MANY
    assert challenge(pair[0], devices[10], ip="192.0.2.51")[0] == 200
    spend(pair[0], devices[0], asked[0])
    assert challenge(pair[1], devices[10], ip=ip)[0] == 200
    assert challenge(pair[1], devices[9], ip=ip) == TOO_MANY


def test_a_device_is_forgotten_when_it_was_not_seen_for_long_enough(start):
    ttl = 1.0 * SLOW
    fleet = start(**PROXIED, DEVICE_TTL_MS=int(ttl * 1000))
    reference = Reference()
    idle, busy = [enlisted(fleet.workers, reference) for _ in range(2)]
    begun = time.monotonic()
    while time.monotonic() < begun + 1.5 * ttl:
        asked = challenged(fleet.workers[0], busy)
        assert verify(fleet.workers[1], busy, asked, reference.answers(asked))[1]["valid"]
    assert challenge(fleet.workers[0], idle) == NO_DEVICE
    assert not fleet.redis.client.exists(f"sb:{{device:{idle}}}")
    assert register(fleet.workers[0], KEY, idle, platform=reference.platform)[0] == 200
    wait_until(lambda: not fleet.redis.client.keys("sb:{device:*"), 5, "the end of both")


def enroll_many(worker, count, ip=None):
    """The answers to so many devices with one build token, which everybody can read in the app."""
    token, kept = build_token(KEY, build_hash="h" * 256), {"X-Forwarded-For": ip} if ip else {}
    return [ask(worker, "POST", "/attest/register", {"build_token": token, "device_id": uid("x" * 200)}, kept)
            for _ in range(count)]


def test_a_flood_of_devices_ends(start):
    fleet = start(1, **PROXIED, DEVICE_TTL_MS=int(600 * SLOW))
    assert {status for status, _ in enroll_many(fleet.workers[0], 300)} <= {200, 507}
    wait_until(lambda: not fleet.redis.client.keys("sb:{device:*"), 5, "the end of all devices")


@pytest.mark.skipif("STORE_ADDRESS_MAX" not in OPTIONS, reason="this worker counts no bytes to addresses")
def test_a_flood_of_devices_stops_at_the_limit_of_its_address(start):
    fleet = start(1, **PROXIED, STORE_ADDRESS_MAX=1 << 20)
    answers = enroll_many(fleet.workers[0], 2000, OWNER)
    full = refused(507, "Storage limit reached")
    assert all(answer[0] == 200 or answer == full for answer in answers) and answers[-1] == full
    devices = fleet.redis.client.keys("sb:{device:*")
    assert sum(fleet.redis.client.memory_usage(device) for device in devices) < 1.3 * (1 << 20)
    assert enroll_many(fleet.workers[0], 1, "192.0.2.2")[0][0] == 200, "another address"


@pytest.mark.skipif("STORE_ADDRESS_MAX" not in OPTIONS, reason="this worker counts no bytes to addresses")
def test_a_device_that_registers_again_and_again_counts_once(start):
    worker = start(1, **PROXIED, STORE_ADDRESS_MAX=1 << 20).workers[0]
    device = uid("d" * 200)
    assert {register(worker, KEY, device, build_hash="h" * 256)[0] for _ in range(2000)} == {200}
