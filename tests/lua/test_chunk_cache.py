# SPDX-License-Identifier: MIT
"""chunk/: the bounds of the cache."""
import time

import pytest

from chunks import TTL, Chunk
from names import key


# --- keep, touch, census, overdue --------------------------------------------------------------------------------

USES, ENDS, PULLS = key("CHUNK_USES"), key("CHUNK_ENDS"), key("CHUNK_PULLS")


@pytest.fixture
def keep(call):
    return lambda chunk, ttl=TTL, most=3: call("chunk/keep", [USES, ENDS, PULLS], chunk, ttl, most)[0]


@pytest.fixture
def touch(call):
    return lambda chunk: call("chunk/touch", [USES], chunk)[0]


@pytest.fixture
def census(call):
    return lambda: call("chunk/census", [ENDS])[0]


@pytest.fixture
def overdue(call):
    return lambda most=100: call("chunk/overdue", [PULLS], most)[0]


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
    keep("a"), keep("b", 10), keep("c", 10)
    assert census() == 3
    time.sleep(0.02)
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


def test_overdue_pulls_go_to_one_caller_and_come_again_after_a_second(db, overdue, now):
    db.zadd(PULLS, {"late": now() - 10, "later": now() - 5, "in time": now() + 5000})
    assert overdue() == ["late", "later"]
    assert overdue() == []
    assert 900 < db.zscore(PULLS, "late") - now() <= 1000
    assert db.zcard(PULLS) == 3
    time.sleep(1.01)
    assert overdue(1) == ["late"]
    assert overdue() == ["later"]


def test_no_pull_is_overdue_where_there_is_none(db, overdue):
    assert overdue() == []
    assert db.dbsize() == 0
