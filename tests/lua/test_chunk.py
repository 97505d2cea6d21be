# SPDX-License-Identifier: MIT
"""chunk/: sources, waits, pulls and the cache."""
import collections
import random
import time

import pytest

from names import IDS, key

TTL, PATIENCE = 60000, 5000
A, B, C, D = (f"1f0c9a3e.{16777216 + i} peer {i}" for i in range(4))


class Chunk:
    """The scripts on one chunk."""

    def __init__(self, db, call, id):
        self.db, self.call, self.id = db, call, id
        self.key = lambda part: key("chunk", id, part)
        self.keys = lambda *parts: [self.key(part) for part in parts]

    def announce(self, source, ttl=TTL, patience=PATIENCE):
        return self.call("chunk/announce", self.keys("src", "wait", "pull"), source, ttl, patience)[0]

    def wait(self, waiter, ttl=TTL):
        return self.call("chunk/wait", self.keys("data", "wait"), waiter, ttl)[0]

    def read(self):
        return self.call("chunk/read", self.keys("data"))[0]

    def push(self, data, ttl=TTL):
        return self.call("chunk/push", self.keys("data", "wait", "pull", "tried"), data, ttl)[0]

    def leave(self, part, holder):
        return self.call("chunk/leave", self.keys(part), holder)[0]

    def pull(self, left="", excluded="", patience=PATIENCE, seed=None):
        seed = random.getrandbits(31) if seed is None else seed
        return tuple(self.call("chunk/pull", self.keys("src", "wait", "pull", "tried"), left, excluded, patience, seed))

    def asked(self):
        return self.db.hget(self.key("pull"), "source")

    def tried(self):
        return self.db.smembers(self.key("tried"))


@pytest.fixture
def chunk(db, call):
    return Chunk(db, call, "c")


@pytest.fixture
def about(now):
    """Whether a time in ms is that long from now."""
    return lambda ms, ahead: now() + ahead - 100 < ms <= now() + ahead


# --- read, wait, push --------------------------------------------------------------------------------------------

def test_what_is_not_cached_reads_as_nothing_and_leaves_nothing(db, chunk):
    assert chunk.read() == ""
    assert db.dbsize() == 0


def test_a_pushed_chunk_is_read_and_counts_its_accesses(db, chunk, about):
    assert chunk.push('"data"') == []
    assert [chunk.read() for _ in range(3)] == ['"data"'] * 3
    cached = db.hgetall(chunk.key("data"))
    assert cached["data"] == '"data"' and cached["accesses"] == "3" and about(int(cached["cachedAt"]), 0)
    assert TTL - 1000 < db.pttl(chunk.key("data")) <= TTL


def test_pushing_again_replaces_data_and_ttl(db, chunk):
    chunk.push("1", 5000)
    chunk.read()
    chunk.push("2", TTL)
    assert chunk.read() == "2"
    assert db.hget(chunk.key("data"), "accesses") == "1"
    assert db.pttl(chunk.key("data")) > 50000


def test_an_expired_chunk_is_not_read_and_does_not_end_a_wait(chunk):
    chunk.push("1", 20)
    assert chunk.read() == "1"
    time.sleep(0.03)
    assert chunk.read() == ""
    assert chunk.wait(A) == ""


def test_reading_does_not_prolong(db, chunk):
    chunk.push("1", 1000)
    time.sleep(0.02)
    chunk.read()
    assert db.pttl(chunk.key("data")) < 990


def test_who_finds_the_chunk_cached_does_not_wait(db, chunk):
    chunk.push("1")
    assert chunk.wait(A) == "1"
    assert db.hget(chunk.key("data"), "accesses") == "1"
    assert not db.exists(chunk.key("wait"))


def test_a_push_answers_each_waiter_once_and_ends_waits_and_pull(db, chunk):
    for waiter in (A, B, A):
        assert chunk.wait(waiter) == ""
    chunk.announce(C)
    assert chunk.asked() == C
    assert sorted(chunk.push("1")) == [A, B]
    assert set(db.keys()) == {chunk.key("data"), chunk.key("src")}
    assert chunk.push("1") == []


def test_a_wait_has_its_own_end(db, chunk, about):
    chunk.wait(A, 30)
    chunk.wait(B, TTL)
    assert about(db.zscore(chunk.key("wait"), B), TTL)
    time.sleep(0.04)
    assert chunk.push("1") == [B]


def test_waiting_again_moves_the_end(chunk):
    chunk.wait(A, 20)
    chunk.wait(A, TTL)
    time.sleep(0.03)
    assert chunk.push("1") == [A]


def test_the_last_wait_takes_its_key_along(db, chunk):
    chunk.wait(A, 20)
    assert 0 < db.pttl(chunk.key("wait")) <= 20
    time.sleep(0.03)
    assert not db.exists(chunk.key("wait"))


def test_a_thousand_waiters_come_with_one_push(chunk):
    waiters = {f"1f0c9a3e.{i} {'p' * 250}{i}" for i in range(1000)}
    for waiter in waiters:
        chunk.wait(waiter)
    assert set(chunk.push("x" * 65536)) == waiters


# --- announce, leave ---------------------------------------------------------------------------------------------

def test_a_source_lives_as_long_as_it_was_given(db, chunk, about):
    assert chunk.announce(A) == 0
    assert about(db.zscore(chunk.key("src"), A), TTL)
    assert TTL - 1000 < db.pttl(chunk.key("src")) <= TTL
    chunk.announce(A, 100)
    assert about(db.zscore(chunk.key("src"), A), 100)


def test_who_announces_what_somebody_waits_for_is_asked(db, chunk, about):
    chunk.wait(B)
    until = chunk.announce(A)
    assert about(until, PATIENCE)
    assert db.hgetall(chunk.key("pull")) == {"source": A, "until": str(until)}
    assert 0 < db.pttl(chunk.key("pull"))


def test_the_next_who_announces_is_not_asked_while_the_first_has_time(chunk):
    chunk.wait(D)
    assert chunk.announce(A, patience=30)
    assert chunk.announce(B) == chunk.announce(A) == 0
    assert chunk.asked() == A
    time.sleep(0.04)
    assert chunk.announce(B)
    assert chunk.asked() == B


def test_nobody_is_asked_for_an_ended_wait(db, chunk):
    chunk.wait(B, 20)
    chunk.wait(C, 20)
    time.sleep(0.03)
    assert chunk.announce(A) == 0
    assert not db.exists(chunk.key("pull"))


@pytest.mark.parametrize("part", ["src", "wait"])
def test_leaving_is_said_once_and_the_last_takes_the_key_along(db, chunk, part):
    add = chunk.announce if part == "src" else chunk.wait
    add(A), add(B)
    assert [chunk.leave(part, holder) for holder in (A, A, C, B, B)] == [1, 0, 0, 1, 0]
    assert db.dbsize() == 0


# --- pull --------------------------------------------------------------------------------------------------------

def test_nobody_is_asked_where_nobody_waits(db, chunk):
    chunk.announce(A)
    for _ in range(2):
        assert chunk.pull() == ("idle", "", 0, [])
    chunk.wait(B, 10)
    time.sleep(0.02)
    assert chunk.pull() == ("idle", "", 0, [])
    assert db.keys() == [chunk.key("src")]


def test_without_a_source_nobody_is_asked_and_nobody_told(db, chunk):
    chunk.wait(B)
    for _ in range(2):
        assert chunk.pull() == ("none", "", 0, [])
    assert db.keys() == [chunk.key("wait")]


def test_an_ended_source_is_not_asked(chunk):
    chunk.announce(A, 20)
    chunk.announce(B, TTL)
    chunk.leave("src", B)
    chunk.wait(C)
    time.sleep(0.03)
    assert chunk.pull()[0] == "none"


def test_one_source_is_asked_and_nobody_else_while_it_has_time(db, chunk, about):
    chunk.announce(A)
    chunk.announce(B)
    chunk.wait(C)
    word, source, until, waiters = chunk.pull()
    assert word == "pull" and source in (A, B) and about(until, PATIENCE) and waiters == []
    assert db.hgetall(chunk.key("pull")) == {"source": source, "until": str(until)}
    for left in ("", B if source == A else A, D):
        assert chunk.pull(left) == ("idle", "", until, [])
    assert chunk.asked() == source and not chunk.tried()


def test_the_one_not_to_be_asked_is_not(chunk):
    chunk.announce(A)
    chunk.wait(A)
    assert chunk.pull(excluded=A) == ("none", "", 0, [])
    chunk.announce(B)
    for seed in range(20):
        chunk.db.delete(chunk.key("pull"))
        assert chunk.pull(excluded=A, seed=seed)[:2] == ("pull", B)


def test_each_source_is_as_likely(chunk):
    sources = [f"1f0c9a3e.{i} p" for i in range(10)]
    for source in sources:
        chunk.announce(source)
    chunk.wait(A)
    counts = collections.Counter()
    for _ in range(1000):
        counts[chunk.pull()[1]] += 1
        chunk.db.delete(chunk.key("pull"))
    # Nine degrees of freedom: above 45 less than once in a million.
    assert sum((counts[source] - 100) ** 2 for source in sources) / 100 < 45, counts


def test_the_same_seed_chooses_the_same_source(chunk):
    for i in range(10):
        chunk.announce(f"1f0c9a3e.{i} p")
    chunk.wait(A)
    chosen = set()
    for _ in range(5):
        chosen.add(chunk.pull(seed=7)[1])
        chunk.db.delete(chunk.key("pull"))
    assert len(chosen) == 1


def test_past_its_time_each_other_source_is_asked_once_and_then_the_waiters_are_told(db, chunk):
    sources = {A, B, C}
    for source in sources:
        chunk.announce(source)
    chunk.wait(D)
    chunk.wait(A)
    asked = [chunk.pull(patience=10)]
    for _ in range(2):
        time.sleep(0.015)
        asked.append(chunk.pull(patience=10))
    assert [answer[0] for answer in asked] == ["pull", "again", "again"]
    assert {answer[1] for answer in asked} == sources
    assert chunk.tried() == {answer[1] for answer in asked[:2]} and 0 < db.pttl(chunk.key("tried"))
    time.sleep(0.015)
    word, source, until, waiters = chunk.pull()
    assert (word, source, until) == ("none", "", 0) and sorted(waiters) == [A, D]
    assert set(db.keys()) == {chunk.key("src"), chunk.key("wait")}
    assert chunk.pull()[0] == "pull", "they may be asked again for the next one"


def test_when_the_one_asked_leaves_another_is_asked_at_once(chunk):
    chunk.announce(A)
    chunk.wait(D)
    chunk.pull()
    chunk.announce(B)
    chunk.leave("src", A)
    assert chunk.pull(left=A)[:2] == ("again", B)
    assert chunk.pull(left=A)[0] == "idle"
    chunk.leave("src", B)
    word, _, _, waiters = chunk.pull(left=B)
    assert word == "none" and waiters == [D]
    assert not chunk.asked() and not chunk.tried()


def test_a_source_that_leaves_and_was_not_asked_changes_nothing(db, chunk):
    chunk.announce(A)
    chunk.wait(D)
    assert chunk.pull(left=A) == ("idle", "", 0, [])
    assert set(db.keys()) == {chunk.key("src"), chunk.key("wait")}


def test_when_the_last_waiter_has_left_nobody_else_is_asked(db, chunk):
    chunk.announce(A)
    chunk.announce(B)
    chunk.wait(D)
    first = chunk.pull(patience=10)[1]
    chunk.leave("wait", D)
    time.sleep(0.015)
    assert chunk.pull() == ("idle", "", 0, [])
    assert first and db.keys() == [chunk.key("src")]


def test_among_many_asked_in_vain_the_last_one_is_found(chunk):
    sources = {f"1f0c9a3e.{i} p" for i in range(50)}
    for source in sources:
        chunk.announce(source)
    chunk.wait(A)
    asked = []
    for _ in sources:
        asked.append(chunk.pull(left=asked[-1] if asked else "", excluded=A)[1])
    assert set(asked) == sources
    assert chunk.pull(left=asked[-1])[0] == "none"


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


@pytest.mark.parametrize("id", IDS)
def test_any_id_will_do(db, call, keep, touch, id):
    chunk, holder = Chunk(db, call, id), f"1f0c9a3e.16777216 {id}"
    assert chunk.wait(holder) == ""
    assert chunk.announce(f"{holder}2")
    assert chunk.asked() == f"{holder}2"
    assert chunk.push(id) == [holder]
    assert keep(id) == [] and touch(id) == 1
    assert chunk.read() == id
    assert chunk.leave("src", f"{holder}2") == 1
    assert set(db.keys()) == {chunk.key("data"), USES, ENDS}
