# SPDX-License-Identifier: MIT
"""tally/: the lists that the statistics count."""
import random
import time

import pytest

from .names import IDS, key

LIST, COUNTS = KEYS = [key("DAYS"), key("DAY_COUNTS")]
HERE, THERE = "1f0c9a3e.1", "1f0c9a3e.12"
TTL = 60000


@pytest.fixture
def tally(db, call):
    return Tally(db, call)


class Tally:
    """The scripts, and after each of them a look at whether the list and the counts agree."""

    def __init__(self, db, call):
        self.db, self.call = db, call

    def add(self, *entries, ttl=TTL):
        [new] = self.call("tally/add", KEYS, ttl, *entries)
        self.check()
        return new

    def remove(self, *entries):
        [removed] = self.call("tally/remove", KEYS, *entries)
        self.check()
        return removed

    def count(self, limit=1000):
        """[names, entries]; how many ended ones were taken off is checked here."""
        before = self.db.zcard(LIST)
        names, entries, ended = self.call("tally/count", KEYS, limit)
        self.check()
        assert ended == before - self.db.zcard(LIST) <= limit
        self.ended = ended
        return [names, entries]

    def check(self):
        counts = {}
        for entry in self.db.zrange(LIST, 0, -1):
            name = entry.split("\t")[0]
            counts[name] = counts.get(name, 0) + 1
        assert self.db.hgetall(COUNTS) == {name: str(n) for name, n in counts.items()}

    def end(self, *entries):
        seconds, micros = self.db.time()
        self.db.zadd(LIST, {entry: seconds * 1000 + micros // 1000 - 1 for entry in entries}, xx=True)


def test_nothing_is_counted_where_nothing_is(db, tally):
    assert tally.count() == [0, 0]
    assert db.dbsize() == 0


def test_entries_are_counted_once(tally):
    assert tally.add("p\ta", "p\tb", "q\ta") == 3
    assert tally.add("p\ta", "p\ta", "q\tb") == 1
    assert tally.add("p\ta", "q\tb") == 0
    assert tally.count() == tally.count() == [2, 4]


def test_two_sockets_of_one_peer_are_two_entries(tally):
    assert tally.add(f"p\t{HERE} a", f"p\t{THERE} a") == 2
    assert tally.count() == [1, 2]
    assert tally.remove(f"p\t{HERE} a") == 1
    assert tally.count() == [1, 1]
    assert tally.remove(f"p\t{HERE} a") == 0
    assert tally.remove(f"p\t{THERE} a") == 1
    assert tally.count() == [0, 0]


def test_an_entry_knows_its_end_and_adding_it_again_moves_it(db, tally, now):
    before = now()
    tally.add("p\ta")
    assert before + TTL <= db.zscore(LIST, "p\ta") <= now() + TTL
    tally.add("p\ta", ttl=10 * TTL)
    assert db.zscore(LIST, "p\ta") >= before + 10 * TTL


def test_removing_takes_off_what_was_on_it(db, tally):
    tally.add("p\ta", "p\tb", "q\ta")
    assert tally.remove("p\ta", "never\tthere", "p\ta") == 1
    assert tally.remove("p\ta") == 0
    assert tally.count() == [2, 2]
    assert tally.remove("q\ta") == 1
    assert tally.count() == [1, 1]
    assert tally.remove("p\tb") == 1
    assert db.dbsize() == 0


def test_what_has_ended_is_not_counted(db, tally):
    tally.add("p\ta", ttl=20)
    tally.add("q\ta", "q\tb")
    time.sleep(0.03)
    assert tally.count() == [1, 2]
    assert db.zcard(LIST) == 2 and tally.ended == 1
    assert tally.count() == [1, 2] and tally.ended == 0


def test_an_entry_that_ended_just_now_is_not_counted(db, tally, now):
    tally.add("p\ta")
    db.zadd(LIST, {"p\ta": now()})
    assert tally.count()[1] == 0 and tally.ended == 1


def test_ended_ones_leave_some_at_a_time_the_oldest_first(db, tally):
    entries = [f"p{i}\ta" for i in range(10)]
    tally.add(*entries)
    tally.end(*entries[:7])
    db.zadd(LIST, {entries[3]: 1})
    assert tally.count(1)[1] == 3 and tally.ended == 1
    assert db.zscore(LIST, entries[3]) is None and db.zcard(LIST) == 9
    assert tally.count(4)[1] == 3 and tally.ended == 4
    assert db.zcard(LIST) == 5
    assert tally.count(4) == [3, 3] and tally.ended == 2
    assert tally.count(0) == [3, 3] and tally.ended == 0


def test_an_ended_one_that_is_added_again_counts_again(tally):
    tally.add("p\ta", "p\tb")
    tally.end("p\ta")
    tally.add("p\ta")
    assert tally.count() == [1, 2]
    tally.end("p\ta")
    assert tally.count() == [1, 1]
    assert tally.add("p\ta") == 1
    assert tally.count() == [1, 2]


def test_removing_an_ended_one_that_was_taken_off_changes_nothing(tally):
    tally.add("p\ta", "p\tb")
    tally.end("p\ta")
    tally.count()
    assert tally.remove("p\ta") == 0
    assert tally.count() == [1, 1]


def test_as_much_as_one_message_registers_fits(db, tally):
    entries = [f"{i}\t{HERE} {'x' * 256}" for i in range(512)]
    assert tally.add(*entries) == 512
    assert tally.count() == [512, 512]
    assert tally.remove(*entries) == 512
    assert db.dbsize() == 0


@pytest.mark.parametrize("id", IDS)
def test_any_id_will_do(db, tally, id):
    assert tally.add(f"{id}\t{HERE} {id}", f"{id}\t{HERE} other") == 2
    assert tally.count() == [1, 2]
    assert tally.remove(f"{id}\t{HERE} {id}") == 1
    tally.end(f"{id}\t{HERE} other")
    assert tally.count() == [0, 0] and tally.ended == 1
    assert db.dbsize() == 0


def test_random_changes_keep_the_counts(tally):
    chance, there = random.Random(3), set()
    for _ in range(400):
        ended = 0
        entries = [f"{chance.choice('pqr')}\t{chance.choice('abcdef')}" for _ in range(chance.randint(1, 5))]
        match chance.choice(["add", "remove", "end"]):
            case "add":
                assert tally.add(*entries) == len(set(entries) - there)
                there |= set(entries)
            case "remove":
                assert tally.remove(*entries) == len(set(entries) & there)
                there -= set(entries)
            case "end":
                tally.end(*entries)
                ended = len(set(entries) & there)
                there -= set(entries)
        assert tally.count() == [len({entry[0] for entry in there}), len(there)] and tally.ended == ended
