# SPDX-License-Identifier: MIT
"""schedule/: entries that are handed out when their time has come."""
import time

import pytest

from .names import IDS, key

SCHEDULE = key("REQUESTS")


@pytest.fixture
def due(call):
    return lambda most=100, again=1000, schedule=SCHEDULE: call("schedule/due", [schedule], most, again)[0]


def test_nothing_is_due_on_an_empty_schedule(db, due):
    assert due() == []
    assert db.dbsize() == 0


def test_what_is_due_goes_to_one_caller_the_oldest_first(db, due, now):
    at = now()
    db.zadd(SCHEDULE, {"later": at - 5, "late": at - 10, "in time": at + 5000})
    assert due() == ["late", "later"]
    assert due() == []


def test_an_entry_comes_up_again_after_its_time(db, due, about):
    db.zadd(SCHEDULE, {"a": 1, "b": 20000000000000})
    assert due(again=300) == ["a"]
    assert due(again=300) == []
    time.sleep(0.31)
    assert due(again=5000) == ["a"]
    assert about(db.zscore(SCHEDULE, "a"), 5000)
    assert db.zscore(SCHEDULE, "b") == 20000000000000


def test_an_entry_that_was_taken_off_or_moved_does_not_come_up(db, due, now):
    db.zadd(SCHEDULE, {"off": 1, "moved": 1})
    assert due(again=0) == ["moved", "off"]
    db.zrem(SCHEDULE, "off")
    db.zadd(SCHEDULE, {"moved": now() + 5000})
    assert due() == []
    db.zrem(SCHEDULE, "moved")
    assert db.dbsize() == 0


@pytest.mark.parametrize("most", [1, 3, 7])
def test_no_more_are_handed_out_than_asked(db, due, most):
    db.zadd(SCHEDULE, {f"{i}": i for i in range(1, 8)})
    got = []
    while some := due(most):
        assert len(some) <= most
        got += some
    assert got == [f"{i}" for i in range(1, 8)]


@pytest.mark.parametrize("id", IDS)
@pytest.mark.parametrize("schedule", ["REQUESTS", "LINKS", "CHUNK_PULLS", "ROOM_LOOKS"])
def test_any_entry_will_do_on_every_schedule(db, due, schedule, id):
    db.zadd(key(schedule), {id: 1})
    assert due(schedule=key(schedule)) == [id]
    assert db.zrange(key(schedule), 0, -1) == [id]


@pytest.mark.parametrize("score, dropped", [(1, 1), (3000, 1), (3001, 0), (8000, 1), (20000000000000, 0)])
def test_an_entry_that_was_put_on_again_since_stays(db, call, score, dropped):
    db.zadd(SCHEDULE, {"a": score, "b": 1})
    assert call("schedule/drop", [SCHEDULE], "a", 3000, 8000) == [dropped]
    assert (db.zscore(SCHEDULE, "a") is None) == dropped and db.zcard(SCHEDULE) == 2 - dropped
    assert call("schedule/drop", [SCHEDULE], "nothing", 3000, 0) == [0]
