# SPDX-License-Identifier: MIT
"""Challenges and their answers: what is asked, how often, what is right, and that it counts once."""
import threading
import time

import pytest

from harness import ASAN, SLOW, uid
from registry_client import Key, Reference, ask, challenge, challenged, connection_to, refused, register, spend, verify
from test_attest import ENV, KEY, NO_DEVICE, NO_REFERENCE, SECRET, enlisted, fleet, one, pair  # noqa: F401

BAD_NONCE = refused(403, "Invalid or expired nonce")
REPLAYS = 30 if ASAN else 200


def invalid(sentence):
    return 200, {"valid": False, "error": sentence}


@pytest.mark.parametrize("fields", [
    {}, {"device_id": "d"}, {"build_version": "1"}, {"device_id": "", "build_version": "1"},
    {"device_id": 1, "build_version": "1"}, {"device_id": "d", "build_version": None}], ids=range(6))
def test_a_challenge_without_its_fields_is_refused(one, fields):
    want = refused(400, "Missing required fields: device_id, build_version")
    assert ask(one, "POST", "/attest/challenge", fields) == want


def test_who_is_not_known_is_not_challenged(pair):
    reference = Reference()
    device = enlisted(pair, reference)
    assert challenge(pair[0], uid("nobody")) == NO_DEVICE
    assert challenge(pair[0], device, version="2.0.0") == NO_DEVICE, "it says that it is another build than it registered"
    other = uid("device")
    assert register(pair[0], KEY, other, platform=uid("platform"))[0] == 200
    assert challenge(pair[0], other) == NO_REFERENCE


def test_a_challenge_is_of_three_to_five_regions_by_chance(pair):
    reference = Reference(count=10)
    device, sizes, orders, seen = enlisted(pair, reference), set(), set(), set()
    for i in range(80):
        asked = challenged(pair[i % 2], device)
        assert len(asked["nonce"]) == 64 and set(asked["nonce"]) <= set("0123456789abcdef")
        indexes = [region["index"] for region in asked["regions"]]
        assert len(set(indexes)) == len(indexes)
        assert asked["regions"] == [{"index": index, "offset": 16 * index, "length": 16} for index in indexes]
        sizes.add(len(indexes))
        orders.add(tuple(indexes))
        seen.update(indexes)
        spend(pair[1], device, asked)
    assert sizes == {3, 4, 5} and seen == set(range(10)) and len(orders) > 60


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_where_there_are_few_regions_all_are_asked(pair, count):
    reference = Reference(count)
    device, sizes = enlisted(pair, reference), set()
    for _ in range(12):
        asked = challenged(pair[0], device)
        indexes = {region["index"] for region in asked["regions"]}
        assert indexes <= set(range(count)) and len(indexes) == len(asked["regions"]) >= min(3, count)
        sizes.add(len(indexes))
        assert verify(pair[1], device, asked, reference.answers(asked))[1]["valid"] is True
    assert sizes == ({3, 4} if count == 4 else {count})


def test_a_device_has_five_challenges_open_and_no_more(pair):
    device = enlisted(pair, Reference())
    asked = [challenged(pair[i % 2], device) for i in range(5)]
    for worker in pair:
        assert challenge(worker, device) == refused(429, "Too many pending challenges")
    spend(pair[0], device, asked[2])
    challenged(pair[1], device)
    assert challenge(pair[0], device)[0] == 429
    assert challenge(pair[0], enlisted(pair, Reference()))[0] == 200


def test_a_nonce_ends_and_makes_room(start):
    ttl = 0.5 * SLOW
    pair = start(NONCE_TTL_MS=int(ttl * 1000), **ENV).workers
    reference = Reference()
    device = enlisted(pair, reference)
    asked = [challenged(pair[0], device) for _ in range(5)]
    time.sleep(ttl)
    assert verify(pair[1], device, asked[0], reference.answers(asked[0])) == BAD_NONCE
    again = challenged(pair[1], device)
    assert verify(pair[0], device, again, reference.answers(again))[1]["valid"] is True


@pytest.mark.parametrize("fields", [
    {}, {"device_id": "d", "nonce": "n"}, {"device_id": "d", "responses": []}, {"nonce": "n", "responses": []},
    {"device_id": "d", "nonce": "n", "responses": {}}, {"device_id": "d", "nonce": "", "responses": []},
    {"device_id": 1, "nonce": "n", "responses": []}, {"device_id": "d", "nonce": "n", "responses": None}], ids=range(8))
def test_a_verification_without_its_fields_is_refused(one, fields):
    want = refused(400, "Missing required fields: device_id, nonce, responses (array)")
    assert ask(one, "POST", "/attest/verify", fields) == want


@pytest.mark.parametrize("nonce", ["x", "0" * 64, "0" * 63, "0" * 65, "g" * 64, "\u00e9" * 32, "a\nb"], ids=ascii)
def test_a_nonce_that_never_was_one_is_refused(one, nonce):
    assert verify(one, "d", {"nonce": nonce}, []) == BAD_NONCE


def test_another_devices_nonce_is_refused_and_kept(pair):
    reference = Reference()
    device, other = enlisted(pair, reference), enlisted(pair, reference)
    asked = challenged(pair[0], device)
    for who in other, uid("nobody"):
        assert verify(pair[1], who, asked, reference.answers(asked)) == refused(403, "Device ID mismatch")
    assert verify(pair[1], device, {"nonce": asked["nonce"].upper()}, reference.answers(asked)) == BAD_NONCE
    assert verify(pair[0], device, asked, reference.answers(asked))[1]["valid"] is True


def edited(answers, place, **fields):
    answers[place] = {**answers[place], **fields}
    return answers


# The index 9 is of no region that was asked: there are but five.
WRONG = {
    "none": (lambda a: [], "Wrong number of responses"),
    "one less": (lambda a: a[1:], "Wrong number of responses"),
    "one more": (lambda a: a + a[:1], "Wrong number of responses"),
    "unknown index": (lambda a: edited(a, 0, region_index=9), "Invalid region_index: 9"),
    "last unknown": (lambda a: edited(a, -1, region_index=9), "Invalid region_index: 9"),
    "negative": (lambda a: edited(a, 0, region_index=-1), "Invalid region_index: -1"),
    "twice": (lambda a: edited(a, 1, **a[0]), "Invalid region_index: {0}"),
    "other hmac": (lambda a: edited(a, -1, hmac="0" * 64), "HMAC mismatch"),
    "upper case": (lambda a: edited(a, 0, hmac=a[0]["hmac"].upper()), "HMAC mismatch"),
    "longer": (lambda a: edited(a, 0, hmac=a[0]["hmac"] + "0"), "HMAC mismatch"),
    "shorter": (lambda a: edited(a, 0, hmac=a[0]["hmac"][:-1]), "HMAC mismatch"),
    "empty": (lambda a: edited(a, 0, hmac=""), "HMAC mismatch"),
    "no text": (lambda a: edited(a, 0, hmac=None), "HMAC mismatch"),
    "swapped": (lambda a: edited(edited(a, 0, hmac=a[1]["hmac"]), 1, hmac=a[0]["hmac"]), "HMAC mismatch"),
}


@pytest.mark.parametrize("how", WRONG)
def test_a_wrong_answer_is_told_and_spends_the_nonce(pair, how):
    reference = Reference(count=5)
    device = enlisted(pair, reference)
    asked = challenged(pair[0], device)
    if how == "upper case":  # which must have letters
        while reference.answers(asked)[0]["hmac"].isdigit():
            asked = challenged(pair[0], device)
    wrong, sentence = WRONG[how]
    want = invalid(sentence.format(asked["regions"][0]["index"]))
    assert verify(pair[1], device, asked, wrong(reference.answers(asked))) == want
    assert verify(pair[0], device, asked, reference.answers(asked)) == BAD_NONCE


@pytest.mark.parametrize("response", [None, 1, "x", [], {}, {"region_index": "0"}, {"region_index": 0.5}], ids=str)
def test_an_answer_that_is_none_is_of_no_region(pair, response):
    reference = Reference(count=1)
    device = enlisted(pair, reference)
    status, body = verify(pair[1], device, challenged(pair[0], device), [response])
    assert (status, body["valid"]) == (200, False) and body["error"].startswith("Invalid region_index: ")


def test_the_order_of_the_answers_does_not_matter(pair):
    reference = Reference()
    device = enlisted(pair, reference)
    asked = challenged(pair[0], device)
    assert verify(pair[1], device, asked, reference.answers(asked)[::-1])[1]["valid"] is True


def test_a_region_without_its_data_cannot_be_compared(pair):
    reference = Reference(count=1)
    device = enlisted(pair, reference)
    for data in ({}, {"data_hex": None}):
        regions = [{"offset": 0, "length": 16, **data}]
        assert reference.upload(pair[0], SECRET, critical_regions=regions)[0] == 200
        asked = challenged(pair[0], device)
        want = invalid("Reference data not available for region")
        assert verify(pair[1], device, asked, reference.answers(asked)) == want


def test_a_reference_that_has_gone_is_not_found(fleet, pair):
    reference = Reference()
    device = enlisted(pair, reference)
    asked = challenged(pair[0], device)
    assert fleet.redis.client.delete(*fleet.redis.client.keys(f"*{reference.platform}*")) == 2
    want = refused(404, "Reference binary no longer available")
    assert verify(pair[1], device, asked, reference.answers(asked)) == want
    assert challenge(pair[0], device) == NO_REFERENCE
    assert reference.upload(pair[0], SECRET)[0] == 200
    assert verify(pair[1], device, asked, reference.answers(asked))[1]["valid"], "nothing was compared before"


def test_an_index_of_any_text_is_named(pair):
    reference = Reference(3)
    device = enlisted(pair, reference)
    for index in "é" * 50, "x" * 63 + "é", "\U0001f600" * 40, {"a": "é" * 90}, [None] * 60, -1, 1.5, True:
        asked = challenged(pair[0], device)
        answers = [{"region_index": index, "hmac": "0"}] + reference.answers(asked)[1:]
        status, body = verify(pair[1], device, asked, answers)
        assert status == 200 and not body["valid"] and body["error"].startswith("Invalid region_index: "), body


def test_of_two_verifications_at_the_same_instant_one_counts(pair):
    reference = Reference()
    device, got, asked = enlisted(pair, reference), [None, None], None
    kept, barrier = [connection_to(worker) for worker in pair], threading.Barrier(3, timeout=30 * SLOW)

    def verify_on(i):
        for _ in range(REPLAYS):
            barrier.wait()
            got[i] = verify(pair[i], device, asked, reference.answers(asked), connection=kept[i])
            barrier.wait()

    threads = [threading.Thread(target=verify_on, args=(i,), daemon=True) for i in range(2)]
    for thread in threads:
        thread.start()
    for i in range(REPLAYS):
        asked = challenged(pair[i % 2], device, connection=kept[i % 2])
        barrier.wait()
        barrier.wait()
        good = [answer for answer in got if answer[0] == 200]
        assert [answer[1]["valid"] for answer in good] == [True], got
        assert [answer for answer in got if answer[0] != 200] == [BAD_NONCE]
    for thread, connection in zip(threads, kept):
        thread.join(10 * SLOW)
        connection.close()
