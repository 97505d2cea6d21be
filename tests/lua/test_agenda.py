# SPDX-License-Identifier: MIT
"""agenda/: entries that are handed out when their time has come."""
import time

import pytest

from .names import IDS, key

AGENDA = key("REQUESTS")


@pytest.fixture
def due(call):
    return lambda most=100, again=1000, agenda=AGENDA: call("agenda/due", [agenda], most, again)[0]


def test_nothing_is_due_on_an_empty_agenda(db, due):
    assert due() == []
    assert db.dbsize() == 0


def test_what_is_due_goes_to_one_caller_the_oldest_first(db, due, now):
    at = now()
    db.zadd(AGENDA, {"later": at - 5, "late": at - 10, "in time": at + 5000})
    assert due() == ["late", "later"]
    assert due() == []


def test_an_entry_comes_up_again_after_its_time(db, due, about):
    db.zadd(AGENDA, {"a": 1, "b": 20000000000000})
    assert due(again=300) == ["a"]
    assert due(again=300) == []
    time.sleep(0.31)
    assert due(again=5000) == ["a"]
    assert about(db.zscore(AGENDA, "a"), 5000)
    assert db.zscore(AGENDA, "b") == 20000000000000


def test_an_entry_that_was_taken_off_or_moved_does_not_come_up(db, due, now):
    db.zadd(AGENDA, {"off": 1, "moved": 1})
    assert due(again=0) == ["moved", "off"]
    db.zrem(AGENDA, "off")
    db.zadd(AGENDA, {"moved": now() + 5000})
    assert due() == []
    db.zrem(AGENDA, "moved")
    assert db.dbsize() == 0


@pytest.mark.parametrize("most", [1, 3, 7])
def test_no_more_are_handed_out_than_asked(db, due, most):
    db.zadd(AGENDA, {f"{i}": i for i in range(1, 8)})
    got = []
    while some := due(most):
        assert len(some) <= most
        got += some
    assert got == [f"{i}" for i in range(1, 8)]


@pytest.mark.parametrize("id", IDS)
@pytest.mark.parametrize("agenda", ["REQUESTS", "LINKS", "CHUNK_PULLS", "ROOM_LOOKS"])
def test_any_entry_will_do_on_every_agenda(db, due, agenda, id):
    db.zadd(key(agenda), {id: 1})
    assert due(agenda=key(agenda)) == [id]
    assert db.zrange(key(agenda), 0, -1) == [id]


@pytest.mark.parametrize("score, dropped", [(1, 1), (3000, 1), (3001, 0), (8000, 1), (20000000000000, 0)])
def test_an_entry_that_was_put_on_again_since_stays(db, call, score, dropped):
    db.zadd(AGENDA, {"a": score, "b": 1})
    assert call("agenda/drop", [AGENDA], "a", 3000, 8000) == [dropped]
    assert (db.zscore(AGENDA, "a") is None) == dropped and db.zcard(AGENDA) == 2 - dropped
    assert call("agenda/drop", [AGENDA], "nothing", 3000, 0) == [0]
