# SPDX-License-Identifier: MIT
"""chunk/: the bounds of the cache."""
import time

import pytest

from .chunks import A, PUSHER, TTL, Chunk
from .names import IDS, key


USES, ENDS, PULLS = key("CHUNK_USES"), key("CHUNK_ENDS"), key("CHUNK_PULLS")
OWNERS, ORDER, COUNTS = key("CHUNK_OWNERS"), key("CHUNK_ORDER"), key("CHUNK_COUNTS")
CACHE = [USES, ENDS, PULLS, OWNERS, ORDER, COUNTS]
IP = "192.0.2.7"


@pytest.fixture
def keep_at(call, now):
    """keep_at(chunk): ([evicted], now µs)"""
    def keep_at(chunk, ttl=TTL, most=3, ip=IP):
        before = now()
        evicted, at = call("chunk/keep", CACHE, chunk, ttl, most, ip)
        assert before <= at // 1000 <= now()
        return evicted, at

    return keep_at


@pytest.fixture
def keep(keep_at):
    return lambda *args, **kw: keep_at(*args, **kw)[0]


@pytest.fixture
def touch(call):
    return lambda chunk: call("chunk/touch", [USES, OWNERS, ORDER], chunk)[0]


@pytest.fixture
def census(call):
    return lambda: call("chunk/census", [ENDS])[0]


@pytest.fixture
def evict(call):
    return lambda chunk, at, by=PUSHER: call("chunk/evict", [chunk.key("data")], at, by.split()[0])[0]


def test_the_least_recently_used_goes(db, keep, touch):
    assert [keep(c) for c in "abc"] == [[], [], []]
    assert touch("a") == 1
    assert keep("d") == ["b"]
    assert keep("c") == []
    assert keep("e") == ["a"]
    assert set(db.zrange(USES, 0, -1)) == set(db.zrange(ENDS, 0, -1)) == {"c", "d", "e"}


def test_touching_what_is_not_kept_does_nothing(db, touch, keep):
    assert touch("a") == 0
    assert db.dbsize() == 0
    keep("a")
    assert touch("b") == 0
    assert db.zrange(USES, 0, -1) == ["a"]


def test_keeping_again_moves_use_and_end(db, keep, about):
    keep("a", 1000)
    assert about(db.zscore(ENDS, "a"), 1000)
    keep("a", TTL)
    assert about(db.zscore(ENDS, "a"), TTL)
    assert db.zcard(USES) == db.zcard(ENDS) == 1


def test_what_has_ended_is_forgotten_before_anything_is_evicted(db, keep, census):
    keep("a"), keep("b", 300), keep("c", 300)
    assert census() == 3
    time.sleep(0.31)
    assert census() == 1
    assert keep("d") == keep("e") == []
    assert sorted(db.zrange(USES, 0, -1)) == ["a", "d", "e"]
    assert census() == 3


def test_a_smaller_bound_is_reached_in_one_go_or_a_hundred_at_a_time(keep, census):
    for i in range(250):
        keep(f"{i}", most=1000)
    assert keep("x", most=200) == [f"{i}" for i in range(51)]
    assert len(keep("y", most=10)) == 100
    assert len(keep("z", most=10)) == 92
    assert census() == 10


def test_keeping_ends_the_watch_over_a_pull(db, keep):
    db.zadd(PULLS, {"a": 1, "b": 2})
    keep("a")
    assert db.zrange(PULLS, 0, -1) == ["b"]


def test_an_empty_cache_counts_nothing(db, census):
    assert census() == 0
    assert db.dbsize() == 0


# --- whose chunk goes --------------------------------------------------------------------------------------------

def test_the_address_that_has_most_loses_its_own(db, keep):
    for name, ip in ("a", "1"), ("b", "2"), ("c", "2"):
        keep(name, ip=ip)
    assert keep("d", ip="1") == ["b"], "both have two"
    assert keep("e", ip="1") == ["a"]
    assert keep("f", ip="3") == ["d"]
    assert dict(db.zrange(COUNTS, 0, -1, withscores=True)) == {"1": 1, "2": 1, "3": 1}


def test_a_thousand_pushes_of_a_stranger_leave_others_theirs(db, keep, touch):
    mine = [f"mine {i}" for i in range(40)]
    for name in mine:
        keep(name, most=100)
    for i in range(1000):
        assert not set(keep(f"theirs {i}", most=100, ip="198.51.100.1")) & set(mine)
    assert set(mine) < set(db.zrange(USES, 0, -1)) and db.zcard(USES) == 100
    assert dict(db.zrange(COUNTS, 0, -1, withscores=True)) == {IP: 40, "198.51.100.1": 60}


def test_what_was_just_pushed_is_not_what_goes(db, keep):
    for i in range(3):
        keep(f"{i}", ip=f"192.0.2.{i}")
    assert keep("new", ip="192.0.2.9") == ["0"]
    assert keep("newer", ip="192.0.2.0") == ["new"], "each has one"


def test_a_use_saves_it_among_those_of_its_address(keep, touch):
    for name in "abc":
        keep(name, ip="2001:db8:1:2::/64")
    touch("a")
    assert keep("d", ip="2001:db8:1:2::/64") == ["b"]


def test_what_another_pushes_in_its_place_is_that_ones(db, keep):
    keep("a", ip="1")
    keep("a", ip="2")
    assert db.zrange(COUNTS, 0, -1, withscores=True) == [("2", 1)]
    assert db.zcard(ORDER) == db.hlen(OWNERS) == 1


def test_an_address_that_begins_like_another_is_another(keep):
    for name, ip in ("a", "10.0.0.11"), ("b", "10.0.0.1"), ("c", "10.0.0.1"):
        keep(name, ip=ip)
    assert keep("d", ip="10.0.0.1") == ["b"]


def test_what_has_ended_counts_no_more(db, keep):
    keep("a", 20), keep("b", 20, ip="198.51.100.1")
    time.sleep(0.03)
    keep("c", ip="198.51.100.1")
    assert db.zrange(COUNTS, 0, -1, withscores=True) == [("198.51.100.1", 1)]
    assert db.zcard(ORDER) == db.hlen(OWNERS) == 1


def test_what_a_former_version_has_listed_goes_when_nobody_has_another(db, keep, touch):
    for name in "abc":
        db.zadd(USES, {name: 1})
        db.zadd(ENDS, {name: 4102444800000})
    assert touch("a") == 1
    assert keep("d") == ["b"]
    assert keep("e") == ["d"], "those with an address come first"


# --- evict -------------------------------------------------------------------------------------------------------

def test_an_evicted_chunk_is_deleted_once(db, chunk, evict, now):
    chunk.push("1")
    assert evict(chunk, 1000 * now() + 1000) == 1
    assert db.dbsize() == 0
    assert evict(chunk, 1000 * now() + 1000) == 0


@pytest.mark.parametrize("by, bytes", [(PUSHER, 5), (A, 0)])
def test_only_the_socket_that_had_pushed_it_is_told_its_bytes(chunk, call, now, by, bytes):
    chunk.push("12345")
    assert call("chunk/evict", [chunk.key("data")], 1000 * now() + 1000, by.split()[0]) == [1, bytes]


@pytest.mark.parametrize("later, deleted", [(-60000, 0), (-1, 0), (0, 1), (1, 1), (60000, 1)])
def test_a_chunk_goes_only_if_it_was_not_cached_after_it_was_to_go(db, chunk, evict, later, deleted):
    chunk.push("1")
    before = db.hgetall(chunk.key("data"))
    assert evict(chunk, int(before["cachedAt"]) + later) == deleted
    assert db.hgetall(chunk.key("data")) == ({} if deleted else before)


@pytest.mark.parametrize("cached_at, at", [(999, 1000), (999999999999999, 1000000000000000)])
def test_times_are_compared_as_numbers(db, chunk, evict, cached_at, at):
    chunk.push("1")
    db.hset(chunk.key("data"), "cachedAt", cached_at)
    assert evict(chunk, at) == 1


def test_a_chunk_that_is_pushed_again_before_it_is_deleted_stays(db, chunk, keep_at, evict):
    chunk.push("old")
    keep_at(chunk.id, most=1)
    time.sleep(0.002)
    evicted, at = keep_at("another", most=1)
    assert evicted == [chunk.id]
    assert chunk.read() == "old", "it is the worker that deletes it"
    time.sleep(0.002)
    chunk.push("new")
    assert evict(chunk, at) == 0
    assert chunk.read() == "new"
    assert TTL - 1000 < db.pttl(chunk.key("data")) <= TTL


def test_a_chunk_that_is_not_pushed_again_goes_when_keep_said_so(db, chunk, keep_at, evict):
    chunk.push("old")
    keep_at(chunk.id, most=1)
    time.sleep(0.002)
    [_], at = keep_at("another", most=1)
    assert evict(chunk, at) == 1
    assert not db.exists(chunk.key("data"))


def test_reading_does_not_save_a_chunk_from_eviction(chunk, evict, now):
    chunk.push("1")
    time.sleep(0.002)
    at = 1000 * now()
    chunk.read()
    assert evict(chunk, at) == 1


@pytest.mark.parametrize("id", IDS)
def test_any_id_will_do(db, call, keep, touch, evict, now, id):
    chunk = Chunk(db, call, id)
    chunk.push("1")
    assert keep(id) == [] and touch(id) == 1
    assert keep("another", most=1) == [id]
    assert evict(chunk, 1000 * now() + 1000) == 1
    assert set(db.keys()) == {USES, ENDS, OWNERS, ORDER, COUNTS}
