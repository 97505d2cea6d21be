# SPDX-License-Identifier: MIT
"""schema/: the number of the key layout, and who migrates it."""
import pytest

from .names import key

LAYOUT, MIGRATION = KEYS = key("SCHEMA"), key("MIGRATION")
ONE, TWO = "1f0c9a3e", "2a2a2a2a"
STEP = 5000


@pytest.fixture
def migrate(call):
    """migrate(wid, its layout): {layout, completed, ours, cursor}; or after a step to a layout, which ends at cursor."""
    return lambda wid, wanted, made=0, cursor="", lasts=STEP: call("schema/migrate", KEYS, wid, wanted, lasts, made,
                                                                   cursor)


def test_an_empty_redis_is_migrated_by_whoever_asks_first(db, migrate):
    assert migrate(ONE, 1) == [0, 0, 1, ""]
    assert migrate(TWO, 1) == [0, 0, 0, ""]
    assert db.get(LAYOUT) is None
    assert migrate(ONE, 1, 1) == [1, 1, 0, ""]
    assert migrate(TWO, 1) == [1, 0, 0, ""]
    assert db.get(LAYOUT) == "1" and db.keys() == [LAYOUT]


def test_layouts_are_made_one_after_the_other(db, migrate):
    assert migrate(ONE, 3) == [0, 0, 1, ""]
    assert migrate(ONE, 3, 1) == [1, 1, 1, ""]
    assert migrate(TWO, 3) == [1, 0, 0, ""]
    assert migrate(ONE, 3, 2) == [2, 1, 1, ""]
    assert migrate(ONE, 3, 3) == [3, 1, 0, ""]
    assert db.get(LAYOUT) == "3" and not db.exists(MIGRATION)


def test_a_long_migration_goes_on_where_its_last_step_ended(db, migrate):
    db.set(LAYOUT, 1)
    assert migrate(ONE, 2) == [1, 0, 1, ""]
    assert migrate(ONE, 2, 2, "k 1") == [1, 0, 1, "k 1"]
    assert migrate(ONE, 2) == [1, 0, 1, "k 1"]  # it has lost its connection meanwhile
    assert migrate(ONE, 2, 2, "k 2") == [1, 0, 1, "k 2"]
    assert db.get(LAYOUT) == "1"
    assert migrate(ONE, 2, 2) == [2, 1, 0, ""]


def test_who_is_late_with_a_step_loses_the_migration_to_another(db, migrate):
    db.set(LAYOUT, 1)
    assert migrate(ONE, 3) == [1, 0, 1, ""]
    assert migrate(ONE, 3, 2, "half") == [1, 0, 1, "half"]
    assert migrate(TWO, 3) == [1, 0, 0, ""]
    db.hset(MIGRATION, "until", 1)
    assert migrate(TWO, 3) == [1, 0, 1, "half"]
    for cursor in "more", "":  # what the late one says of its step changes nothing
        assert migrate(ONE, 3, 2, cursor) == [1, 0, 0, ""]
    assert migrate(TWO, 3, 2) == [2, 1, 1, ""]
    assert migrate(ONE, 3, 2) == [2, 0, 0, ""]
    assert migrate(TWO, 3, 2) == [2, 0, 1, ""]  # nor does a step that was counted before
    assert migrate(TWO, 3, 3) == [3, 1, 0, ""]


def test_who_is_late_but_the_only_one_goes_on(db, migrate):
    db.set(LAYOUT, 1)
    assert migrate(ONE, 2) == [1, 0, 1, ""]
    db.hset(MIGRATION, "until", 1)
    assert migrate(ONE, 2, 2) == [2, 1, 0, ""]


def test_each_question_of_the_one_that_migrates_gives_it_time_for_a_step(db, migrate, about):
    migrate(ONE, 2)
    assert about(int(db.hget(MIGRATION, "until")), STEP)
    migrate(ONE, 2, 1, "x", lasts=60000)
    assert about(int(db.hget(MIGRATION, "until")), 60000)


def test_an_older_version_finishes_what_it_knows_and_leaves_the_rest(db, migrate):
    assert migrate(ONE, 1) == [0, 0, 1, ""]
    assert migrate(ONE, 1, 1) == [1, 1, 0, ""]
    assert migrate(TWO, 2) == [1, 0, 1, ""]
    assert migrate(ONE, 1) == [1, 0, 0, ""]
    assert migrate(TWO, 2, 2) == [2, 1, 0, ""]


@pytest.mark.parametrize("layout", [1, 2, 7, 999999999])
def test_nothing_is_written_where_the_layout_is_that_of_the_caller_or_newer(db, migrate, layout):
    db.set(LAYOUT, layout)
    for made, cursor in (0, ""), (1, ""), (2, "x"), (layout + 1, ""):
        assert migrate(ONE, 1, made, cursor) == [layout, 0, 0, ""]
    assert db.keys() == [LAYOUT] and db.get(LAYOUT) == str(layout)


@pytest.mark.parametrize("text", ["", "abc", "0", "-1", "01", "1.5", "1e3", " 1", "1 ", "1\n", "1000000000", "9" * 40,
                                  "nan", "inf", "0x1", "\0"])
def test_what_is_no_number_of_a_layout_is_left_alone(db, migrate, text):
    db.set(LAYOUT, text)
    assert migrate(ONE, 2) == migrate(ONE, 2, 1) == [-1, 0, 0, ""]
    assert db.get(LAYOUT) == text and db.keys() == [LAYOUT]


def test_so_is_another_type(db, migrate):
    db.hset(LAYOUT, "a", "b")
    assert migrate(ONE, 1) == migrate(ONE, 1, 1) == [-1, 0, 0, ""]
    assert db.hgetall(LAYOUT) == {"a": "b"}


def test_a_step_whose_end_lies_too_far_ahead_has_its_time_from_then_on(db, migrate, about):
    """Redis' clock was set back, and the worker that migrates has died."""
    migrate(ONE, 1)
    db.hincrby(MIGRATION, "until", 60000)
    assert migrate(TWO, 1) == [0, 0, 0, ""]
    assert about(int(db.hget(MIGRATION, "until")), STEP)
    db.hset(MIGRATION, "until", 1)
    assert migrate(TWO, 1) == [0, 0, 1, ""]
