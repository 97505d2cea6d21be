# SPDX-License-Identifier: MIT
"""chunk/: the watch over those who were asked."""
import time

import pytest

from .chunks import PATIENCE
from .names import IDS, key

PULLS = key("CHUNK_PULLS")


@pytest.fixture
def watch(call):
    return lambda chunk="c", patience=PATIENCE: call("chunk/watch", [PULLS], chunk, patience)[0]


@pytest.fixture
def unwatch(call):
    return lambda decided, chunk="c", patience=PATIENCE: call("schedule/drop", [PULLS], chunk, decided + patience, 0)[0]


@pytest.fixture
def overdue(call):
    return lambda most=100, patience=1000: call("schedule/due", [PULLS], most, patience)[0]


def test_a_watched_chunk_is_overdue_after_the_time_of_a_pull(db, watch, overdue, about):
    assert watch() == 1
    assert about(db.zscore(PULLS, "c"), PATIENCE)
    assert watch("soon", 300) == 1
    assert overdue() == []
    time.sleep(0.31)
    assert overdue() == ["soon"]


@pytest.mark.parametrize("end", [1, 20000000000000])
def test_a_chunk_that_is_watched_already_keeps_its_time(db, watch, end):
    db.zadd(PULLS, {"c": end})
    assert [watch(), watch()] == [0, 0]
    assert db.zscore(PULLS, "c") == end and db.zcard(PULLS) == 1


def test_what_was_watched_before_the_decision_is_watched_no_more(db, watch, unwatch, now):
    watch(), watch("d")
    assert unwatch(now()) == 1
    assert db.zrange(PULLS, 0, -1) == ["d"]
    assert unwatch(now()) == 0
    assert unwatch(now(), "d") == 1
    assert db.dbsize() == 0


def test_a_pull_that_began_after_the_decision_is_watched_on(db, watch, unwatch, now):
    decided = now()
    time.sleep(0.003)
    watch()
    end = db.zscore(PULLS, "c")
    assert unwatch(decided) == 0
    assert db.zscore(PULLS, "c") == end


@pytest.mark.parametrize("behind, removed", [(-PATIENCE, 1), (0, 1), (1, 0), (PATIENCE, 0)])
def test_the_decision_is_compared_to_the_millisecond(db, unwatch, behind, removed):
    decided = 1763723106999
    db.zadd(PULLS, {"c": decided + PATIENCE + behind, "d": 1})
    assert unwatch(decided) == removed
    assert db.zcard(PULLS) == 2 - removed


def test_overdue_pulls_go_to_one_caller_and_come_again_after_the_time_of_a_pull(db, overdue, now, about):
    db.zadd(PULLS, {"late": now() - 10, "later": now() - 5, "in time": now() + 5000})
    assert overdue(patience=300) == ["late", "later"]
    assert overdue(patience=300) == []
    assert about(db.zscore(PULLS, "late"), 300)
    assert db.zcard(PULLS) == 3
    time.sleep(0.31)
    assert overdue(1) == ["late"]
    assert about(db.zscore(PULLS, "late"), 1000)
    assert overdue() == ["later"]


def test_no_pull_is_overdue_where_there_is_none(db, overdue):
    assert overdue() == []
    assert db.dbsize() == 0


@pytest.mark.parametrize("id", IDS)
def test_any_id_will_do(db, watch, unwatch, overdue, now, id):
    assert watch(id) == 1
    assert unwatch(now(), id) == 1
    db.zadd(PULLS, {id: 1})
    assert overdue() == [id]
    assert db.zrange(PULLS, 0, -1) == [id]
