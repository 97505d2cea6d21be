# SPDX-License-Identifier: MIT
"""own/: what each socket registered."""
import time

import pytest

from .names import IDS, key

WID, SID, OTHER = "1f0c9a3e", 16777216, 16777217


def keys(sid=SID):
    return [key("owners", WID), key("owned", WID, sid)]


@pytest.fixture
def note(call):
    """note(entry, ..., ttl=0)"""
    return lambda *entries, ttl=0, sid=SID: call(
        "own/note", keys(sid), sid, *[word for entry in entries for word in (ttl, entry)])[0]


@pytest.fixture
def forget(call):
    return lambda *entries, sid=SID: call("own/forget", keys(sid), sid, *entries)[0]


@pytest.fixture
def owned(db):
    return lambda sid=SID: db.zrange(keys(sid)[1], 0, -1, withscores=True)


@pytest.fixture
def owners(db):
    return lambda: {int(sid) for sid in db.smembers(keys()[0])}


def test_entries_are_noted_once(note, owned, owners):
    assert note("peer\ta") == 1
    assert note("peer\ta", "peer\tb", "peer\tb") == 1
    assert note("peer\ta", "peer\tb") == 0
    assert owned() == [("peer\ta", float("inf")), ("peer\tb", float("inf"))]
    assert owners() == {SID}


def test_the_first_owner_of_a_worker_is_told_from_others(call, db):
    def first(sid):
        return call("own/note", keys(sid), sid, 0, "peer\ta")[1]

    assert [first(SID), first(SID), first(SID + 1)] == [1, 0, 0]
    db.flushall()
    assert first(SID) == 1


def test_an_entry_with_a_ttl_knows_its_end(note, owned, now):
    before = now()
    assert note("hour\tt\ta", ttl=5000) == 1
    [(entry, end)] = owned()
    assert entry == "hour\tt\ta" and before + 5000 <= end <= now() + 5000


def test_noting_again_moves_the_end(note, owned, now):
    note("hour\tt\ta", ttl=1000)
    assert note("hour\tt\ta", ttl=60000) == 0
    [(_, end)] = owned()
    assert end > now() + 50000


def test_what_ended_is_forgotten_when_the_next_is_noted(note, owned):
    note("hour\tt\ta", ttl=10)
    note("peer\ta")
    note("day\tp\ta", ttl=60000)
    time.sleep(0.02)
    assert note("peer\ta") == 0
    assert [entry for entry, _ in owned()] == ["day\tp\ta", "peer\ta"]
    time.sleep(0.02)
    assert note("hour\tt\ta", ttl=10) == 1


def test_what_ended_is_kept_until_then_so_that_it_can_be_undone(note, forget):
    note("hour\tt\ta", ttl=10)
    time.sleep(0.02)
    assert forget() == 1


def test_each_socket_owns_its_own(note, forget, owned, owners):
    note("peer\ta")
    note("peer\ta", "peer\tb", sid=OTHER)
    assert owners() == {SID, OTHER}
    assert forget("peer\ta", "peer\tb") == 0
    assert len(owned(OTHER)) == 2
    assert owners() == {OTHER}


def test_forgetting_says_how_many_are_left_and_the_last_takes_the_socket_along(db, note, forget, owners):
    note("peer\ta", "peer\tb", "peer\tc")
    assert forget("peer\ta") == 2
    assert forget("peer\ta") == 2
    assert forget("peer\tb", "peer\tnever") == 1
    assert owners() == {SID}
    for _ in range(2):
        assert forget("peer\tc") == 0
        assert db.dbsize() == 0


def test_looking_changes_nothing_while_something_is_left(note, forget, owned, owners):
    note("peer\ta")
    before = owned()
    assert forget() == 1
    assert owned() == before and owners() == {SID}


def test_looking_removes_an_owner_of_nothing(db, forget, owners):
    db.sadd(keys()[0], SID, OTHER)
    assert forget() == 0
    assert owners() == {OTHER}


def test_noting_nothing_registers_no_more_than_the_socket(note, forget, owned, db):
    assert note() == 0
    assert owned() == []
    assert forget() == 0
    assert db.dbsize() == 0


def test_as_much_as_one_message_registers_fits(note, forget, owned):
    entries = [f"day\t{i}\t{'x' * 256}" for i in range(600)]
    assert note(*entries, ttl=60000) == 600
    assert forget(*entries[1:]) == 1
    assert len(owned()) == 1


@pytest.mark.parametrize("id", IDS)
def test_any_id_will_do(db, note, forget, owned, id):
    entry = f"hour\t{id}\t{id}"
    assert note(entry, f"peer\t{id}") == 2
    assert note(entry) == 0
    assert {entry for entry, _ in owned()} == {entry, f"peer\t{id}"}
    assert forget(entry) == 1
    assert forget(f"peer\t{id}") == 0
    assert db.dbsize() == 0
