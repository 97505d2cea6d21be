# SPDX-License-Identifier: MIT
"""storage/: what is stored for a client address."""
import time

import pytest

from .names import key

BYTES, WORKERS, KEPT = KEYS = [key("stored", "192.0.2.7", part) for part in ("", ":workers", ":kept")]
HERE, THERE = "1f0c9a3e", "00ffaa11"
LIFE, HOUR, DAY = 600_000, 3_600_000, 86_400_000


@pytest.fixture
def storage(db, call):
    return Storage(db, call)


class Storage:
    """The script, and after each call a look at whether the sum is the sum, and whether each of it has an end."""

    def __init__(self, db, call):
        self.db, self.call = db, call

    def tell(self, wid=HERE, stored=0, former="", life=LIFE, ttl=0, kept=0):
        [total] = self.call("storage/tell", KEYS, wid, stored, life, former, ttl, kept)
        parts = self.parts()
        assert sum(parts.values()) == total
        assert set(parts) == set(self.db.zrange(WORKERS, 0, -1) + self.db.zrange(KEPT, 0, -1))
        return total

    def parts(self):
        parts = {name: int(value) for name, value in self.db.hgetall(BYTES).items()}
        total = parts.pop("total", 0)
        assert total == sum(parts.values())
        return parts

    def now(self):
        seconds, micros = self.db.time()
        return seconds * 1000 + micros // 1000

    def end(self, list, member, past=1):
        self.db.zadd(list, {member: self.now() - past}, xx=True)


def test_what_workers_tell_is_added_up(storage):
    assert storage.tell(HERE, 65536) == 65536
    assert storage.tell(THERE, 131072) == 196608
    assert storage.tell(HERE, 131072) == 262144
    assert storage.parts() == {HERE: 131072, THERE: 131072}


def test_telling_twice_does_no_harm(storage):
    assert storage.tell(HERE, 65536) == storage.tell(HERE, 65536) == 65536


def test_who_stores_nothing_is_not_kept(db, storage):
    storage.tell(HERE, 65536)
    assert storage.tell(HERE, 0) == 0
    assert db.dbsize() == 0


def test_an_address_of_which_nothing_was_told_leaves_no_key(db, storage):
    assert storage.tell(HERE, 0) == 0
    assert db.dbsize() == 0


def test_what_a_worker_told_ends_unless_it_is_told_again(db, storage):
    storage.tell(THERE, 65536, life=30)
    storage.tell(HERE, 65536)
    time.sleep(0.04)
    assert storage.tell(HERE, 131072) == 131072
    assert storage.parts() == {HERE: 131072}


def test_telling_again_puts_the_end_off(db, storage):
    storage.tell(HERE, 65536, life=1000)
    storage.tell(HERE, 65536, life=LIFE)
    assert db.zscore(WORKERS, HERE) > storage.now() + LIFE - 1000


def test_all_ends_by_itself_where_nobody_tells_any_more(db, storage):
    storage.tell(HERE, 65536, life=30)
    storage.tell(THERE, 65536, life=60)
    storage.tell(THERE, 65536, life=60, ttl=90, kept=100)
    assert all(0 < db.pttl(name) <= 94 for name in KEYS)
    time.sleep(0.12)
    assert not db.exists(*KEYS)


def test_the_former_name_of_a_worker_counts_no_more(storage):
    storage.tell(THERE, 65536)
    assert storage.tell(HERE, 65536, former=THERE) == 65536
    assert storage.parts() == {HERE: 65536}


def test_what_outlives_its_socket_counts_until_it_ends(db, storage):
    assert storage.tell(HERE, 65536, ttl=HOUR, kept=1000) == 66536
    assert storage.tell(HERE, 0) == 1000
    [end] = db.zrange(KEPT, 0, -1)
    assert storage.now() + HOUR <= int(end) + 10 and int(end) <= storage.now() + HOUR * 17 // 16
    storage.end(KEPT, end)
    assert storage.tell(HERE, 0) == 0
    assert db.dbsize() == 0


def test_what_is_kept_is_added_up_by_few_ends(db, storage):
    for ttl in range(DAY - HOUR, DAY, HOUR // 50):
        storage.tell(ttl=ttl, kept=10)
    assert storage.tell() == 500
    assert db.zcard(KEPT) <= 3


@pytest.mark.parametrize("ttl", [1, 15, 1000, HOUR, 7 * DAY])
def test_an_end_is_a_sixteenth_of_the_ttl_late_at_most(db, storage, ttl):
    before = storage.now()
    storage.tell(HERE, 65536, ttl=ttl, kept=10)
    [end] = db.zrange(KEPT, 0, -1)
    assert before + ttl <= int(end) <= storage.now() + ttl + max(1, ttl // 16)


def test_what_is_kept_no_more_is_taken_from_the_soonest_end_that_has_it(db, storage):
    storage.tell(ttl=HOUR, kept=100)
    storage.tell(ttl=DAY, kept=1000)
    storage.tell(ttl=7 * DAY, kept=1000)
    hour, day, week = db.zrange(KEPT, 0, -1)
    assert storage.tell(ttl=DAY, kept=-300) == 1800
    assert storage.parts() == {hour: 100, day: 700, week: 1000}
    assert storage.tell(ttl=DAY, kept=-100) == 1700
    assert storage.parts() == {day: 700, week: 1000}


def test_more_than_is_kept_anywhere_is_not_taken(storage):
    storage.tell(ttl=HOUR, kept=100)
    assert storage.tell(ttl=HOUR, kept=-101) == 100


def test_what_has_ended_goes_some_at_a_time(db, storage):
    for n in range(100):
        storage.tell(f"{n:08x}", 10)
    db.zadd(WORKERS, {f"{n:08x}": 1 for n in range(100)}, xx=True)
    assert storage.tell(HERE, 10) < 1000
    assert storage.tell(HERE, 10) == 10
