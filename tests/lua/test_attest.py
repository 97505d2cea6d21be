# SPDX-License-Identifier: MIT
"""attest/: references that are uploaded, and challenges that are answered once."""
import time

import pytest

from .names import IDS, key

UPLOADED, OTHER_UPLOAD, REFERENCE, REGIONS = (
    key("reference", "1.0", "linux", part) for part in (":00ff", ":11ee", "", ":regions"))
CHALLENGES = [key("challenges", "192.0.2.7")]
DEVICE = [key("device", "d")]
NONCE = [key("nonce", "00ff")]
TTL = 60000


@pytest.fixture
def keep(call):
    def keep(regions, ttl=TTL, upload=UPLOADED):
        [new] = call("attest/keep", [upload], ttl, *(text for pair in regions.items() for text in pair))
        return new

    return keep


@pytest.fixture
def finish(call):
    def finish(count, upload=UPLOADED, **fields):
        [uploaded] = call("attest/finish", [upload, REFERENCE, REGIONS], count,
                          *(text for pair in fields.items() for text in pair))
        return uploaded

    return finish


def regions(first, behind):
    return {str(i): f"{64 * i} 4 0011aaff" for i in range(first, behind)}


def test_regions_are_kept_batch_by_batch(db, keep):
    assert keep(regions(0, 500), 1000) == 500
    assert 0 < db.pttl(UPLOADED) <= 1000
    assert keep(regions(500, 503)) == 3
    assert TTL - 5000 < db.pttl(UPLOADED) <= TTL
    assert keep(regions(500, 504)) == 1
    assert db.hgetall(UPLOADED) == regions(0, 504)


def test_a_region_may_have_no_data(db, keep):
    assert keep({"0": "0 4 "}) == 1
    assert db.hgetall(UPLOADED) == {"0": "0 4 "}


def test_an_upload_that_was_given_up_is_gone(db, keep, finish):
    keep(regions(0, 2), 20)
    time.sleep(0.03)
    assert finish(2, version="1.0") == 0
    assert db.dbsize() == 0


def test_a_whole_upload_becomes_the_reference(db, keep, finish, about):
    keep(regions(0, 3))
    uploaded = finish(3, version="1.0", platform="linux", build_hash="h %s", size="")
    assert about(uploaded, 0)
    assert db.hgetall(REFERENCE) == {"regions": "3", "uploaded_at": str(uploaded), "version": "1.0",
                                     "platform": "linux", "build_hash": "h %s", "size": ""}
    assert db.hgetall(REGIONS) == regions(0, 3)
    assert db.ttl(REFERENCE) == db.ttl(REGIONS) == -1
    assert not db.exists(UPLOADED)


def test_a_reference_takes_the_place_of_the_one_before(db, keep, finish):
    keep(regions(0, 9)), keep({"0": "1 1 ab"}, upload=OTHER_UPLOAD)
    assert finish(9, version="1.0", size="12") > 0
    assert finish(1, OTHER_UPLOAD, version="1.0") > 0
    assert set(db.hgetall(REFERENCE)) == {"regions", "uploaded_at", "version"}
    assert db.hget(REFERENCE, "regions") == "1"
    assert db.hgetall(REGIONS) == {"0": "1 1 ab"} and db.ttl(REGIONS) == -1
    assert db.dbsize() == 2


@pytest.mark.parametrize("kept, count", [(2, 3), (3, 2), (1, 1000), (0, 1)])
def test_an_upload_that_is_not_whole_changes_nothing(db, keep, finish, kept, count):
    keep(regions(0, 5), upload=OTHER_UPLOAD)
    finish(5, OTHER_UPLOAD, version="1.0")
    before = db.hgetall(REFERENCE)
    if kept:
        keep(regions(0, kept))
    assert finish(count, version="1.1") == 0
    assert db.hgetall(REFERENCE) == before and db.hgetall(REGIONS) == regions(0, 5)
    assert db.hlen(UPLOADED) == kept


def test_an_upload_that_lost_its_first_regions_is_not_whole(keep, finish):
    keep(regions(0, 2), 20)
    time.sleep(0.03)
    keep(regions(2, 4))
    assert finish(4, version="1.0") == 0


def test_an_upload_is_finished_once(db, keep, finish):
    keep(regions(0, 2))
    assert finish(2, version="1.0") > 0
    before = db.hgetall(REFERENCE)
    assert finish(2, version="1.1") == 0
    assert db.hgetall(REFERENCE) == before and db.hgetall(REGIONS) == regions(0, 2)


@pytest.fixture
def open_one(call):
    return lambda nonce, ttl=TTL, most=5, device="d", all=50, keys=CHALLENGES: call(
        "attest/open", keys, nonce, device, ttl, most, all)[0]


@pytest.mark.parametrize("most", [1, 2, 5])
def test_a_device_has_so_many_challenges_by_one_address_at_most(db, open_one, about, most):
    assert [open_one(f"n{i}", most=most) for i in range(8)] == [1] * most + [0] * (8 - most)
    assert db.zrange(*CHALLENGES, 0, -1) == [f"n{i} d" for i in range(most)]
    assert about(db.zscore(*CHALLENGES, "n0 d"), TTL)
    assert TTL - 5000 < db.pttl(*CHALLENGES) <= TTL
    assert open_one("nx", most=most, device="d d") == 1, "another device"
    assert open_one("nx", most=most, keys=[key("challenges", "192.0.2.8")]) == 1, "another address"


def test_an_address_has_so_many_challenges_at_most(db, open_one, now):
    assert [open_one(f"n{i:02}", device=f"d{i}", all=12) for i in range(14)] == [1] * 12 + [0] * 2
    assert db.zcard(*CHALLENGES) == 12
    db.zadd(*CHALLENGES, {"n03 d3": now()})
    assert [open_one(f"m{i:02}", device="e", all=12) for i in range(2)] == [1, 0]


def test_a_challenge_that_was_answered_or_has_ended_makes_room(db, open_one, now):
    for i in range(5):
        open_one(f"n{i}")
    assert open_one("n_") == 0
    db.zrem(*CHALLENGES, "n2 d")
    assert [open_one("n5"), open_one("n_")] == [1, 0]
    db.zadd(*CHALLENGES, {"n0 d": now(), "n1 d": now() - 1})
    assert [open_one(nonce) for nonce in ("n6", "n7", "n_")] == [1, 1, 0]
    assert set(db.zrange(*CHALLENGES, 0, -1)) == {f"n{i} d" for i in range(3, 8)}


def test_who_asks_too_often_does_not_wait_longer(db, open_one):
    for i in range(5):
        open_one(f"n{i}", 300)
    before = db.zrange(*CHALLENGES, 0, -1, withscores=True)
    assert open_one("n_", 10 * TTL) == 0
    assert db.zrange(*CHALLENGES, 0, -1, withscores=True) == before and db.pttl(*CHALLENGES) <= 300
    time.sleep(0.31)
    assert not db.exists(*CHALLENGES)
    assert open_one("n_") == 1


@pytest.fixture
def enroll(call):
    return lambda bytes=700, ip="192.0.2.7", ttl=TTL, keys=DEVICE, **fields: call(
        "attest/enroll", keys, ttl, bytes, ip, *(text for pair in fields.items() for text in pair))


def test_a_device_ends_and_a_former_one_is_told_and_replaced(db, enroll, now):
    assert enroll(device_id="d", build_version="1 %s") == [0, 0, ""]
    assert TTL - 5000 < db.pttl(*DEVICE) <= TTL
    bytes, left, ip = enroll(300, "2001:db8::/64", 2 * TTL, device_id="d", platform="p")
    assert (bytes, ip) == (700, "192.0.2.7") and TTL - 5000 < left <= TTL
    assert TTL < db.pttl(*DEVICE) <= 2 * TTL
    stored = db.hgetall(*DEVICE).pop("stored")
    assert db.hgetall(*DEVICE) == {"device_id": "d", "platform": "p", "stored": stored}
    assert enroll(device_id="d")[::2] == [300, "2001:db8::/64"]


def test_what_counts_no_more_is_not_told_again(db, enroll):
    enroll(ttl=30, device_id="d")
    db.persist(*DEVICE)
    time.sleep(0.04)
    assert enroll(device_id="d") == [0, 0, ""]
    db.delete(*DEVICE)
    db.hset(*DEVICE, mapping={"device_id": "d", "build_version": "1"})  # of an older worker
    assert enroll(device_id="d") == [0, 0, ""]


@pytest.fixture
def ask(call):
    return lambda device="d", version="1.0", platform="linux", indexes="7,0,3", ttl=TTL: call(
        "attest/challenge", NONCE, ttl, device, version, platform, indexes, "192.0.2.7")


@pytest.fixture
def spend(call):
    return lambda device="d": call("attest/spend", NONCE, device)[0]


def test_what_was_asked_is_written_down_and_given_out_once(db, ask, spend):
    assert ask() == [5]
    assert db.hgetall(*NONCE) == {"device_id": "d", "build_version": "1.0", "platform": "linux", "regions": "7,0,3",
                                  "ip": "192.0.2.7"}
    assert TTL - 5000 < db.pttl(*NONCE) <= TTL
    assert spend() == 1
    assert db.dbsize() == 0
    assert spend() == 0


def test_of_many_who_ask_at_once_one_gets_it(db, call, ask):
    ask()
    pipeline = db.pipeline(transaction=True)
    for _ in range(20):
        call("attest/spend", NONCE, "d", client=pipeline)
    assert pipeline.execute() == [[1]] + [[0]] * 19


@pytest.mark.parametrize("device", ["", "D", "d ", "dd", "%s"])
def test_a_nonce_is_kept_from_another_device(ask, spend, device):
    ask()
    assert [spend(device) for _ in range(2)] == [0, 0]
    assert spend() == 1
    assert spend(device) == 0


def test_a_nonce_that_nobody_asked_for_or_that_has_ended_is_none(ask, spend):
    assert spend() == 0
    ask(ttl=20)
    time.sleep(0.03)
    assert spend() == 0


@pytest.mark.parametrize("id", IDS)
def test_any_id_will_do(db, call, ask, spend, open_one, keep, finish, id):
    ask(id, id, id)
    assert spend(id) == 1
    assert [open_one("n", most=1, device=id), open_one("m", most=1, device=id)] == [1, 0]
    assert call("attest/enroll", [key("device", id)], TTL, 1, "::1", "device_id", id) == [0, 0, ""]
    upload, reference, whole = (key("reference", "1.0", id, part) for part in (":00ff", "", ":regions"))
    assert keep(regions(0, 1), upload=upload) == 1
    assert call("attest/finish", [upload, reference, whole], 1, "platform", id)[0] > 0
    assert db.hget(reference, "platform") == id and db.hgetall(whole) == regions(0, 1)
