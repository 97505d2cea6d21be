# SPDX-License-Identifier: MIT
"""chunk/: whom to ask for a chunk."""
import collections
import time

import pytest

from .chunks import A, B, C, D, E, PATIENCE, TTL


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


def test_a_source_that_waits_itself_is_not_asked(chunk):
    chunk.announce(A)
    chunk.wait(A)
    assert chunk.pull() == ("none", "", 0, [])
    chunk.announce(B)
    for seed in range(20):
        chunk.db.delete(chunk.key("pull"))
        assert chunk.pull(seed=seed)[:2] == ("pull", B)


def test_after_one_in_vain_a_source_that_waits_is_told_and_not_asked(chunk):
    for source in (A, B):
        chunk.announce(source)
    chunk.wait(A), chunk.wait(D)
    assert chunk.pull()[1] == B
    word, source, until, waiters = chunk.pull(left=B)
    assert (word, source, until) == ("none", "", 0) and sorted(waiters) == [A, D]


def test_a_source_whose_wait_has_ended_may_be_asked(chunk):
    chunk.announce(A)
    chunk.wait(A, 10)
    chunk.wait(D)
    time.sleep(0.02)
    assert chunk.pull()[:2] == ("pull", A)


def test_one_peer_waiting_does_not_spare_another_socket_of_its(chunk):
    chunk.announce("1f0c9a3e.1 p")
    chunk.wait("1f0c9a3e.2 p")
    assert chunk.pull()[:2] == ("pull", "1f0c9a3e.1 p")


def test_among_sources_that_wait_the_one_that_does_not_is_found(chunk):
    for i in range(64):
        chunk.announce(f"1f0c9a3e.{i} p")
    for i in range(1, 64):
        chunk.wait(f"1f0c9a3e.{i} p")
    for seed in range(50):
        assert chunk.pull(seed=seed)[:2] == ("pull", "1f0c9a3e.0 p")
        chunk.db.delete(chunk.key("pull"))


def test_among_very_many_sources_that_wait_the_one_that_does_not_is_found(chunk):
    end = chunk.now() + TTL
    chunk.db.zadd(chunk.key("src"), {f"1f0c9a3e.{i} p": end for i in range(300)})
    chunk.db.zadd(chunk.key("wait"), {f"1f0c9a3e.{i} p": end for i in range(1, 300)})
    for seed in range(20):
        assert chunk.pull(seed=seed)[:2] == ("pull", "1f0c9a3e.0 p")
        chunk.db.delete(chunk.key("pull"))


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


def test_each_source_is_as_likely_that_neither_was_asked_nor_waits(chunk):
    """Those that are passed over stand in rows before some of the others, which must not win by it."""
    sources = [f"1f0c9a3e.{10 + i} p" for i in range(40)]
    end = chunk.now() + TTL
    chunk.db.zadd(chunk.key("src"), {source: end for source in sources})
    tried, waiting = sources[3:13], sources[15:30]
    others = [source for source in sources if source not in tried + waiting]
    chunk.db.zadd(chunk.key("wait"), {source: end for source in waiting})
    counts = collections.Counter()
    for _ in range(1500):
        chunk.db.sadd(chunk.key("tried"), *tried[1:])
        chunk.db.hset(chunk.key("pull"), mapping={"source": tried[0], "until": 1})
        word, source, _, _ = chunk.pull()
        assert word == "again"
        counts[source] += 1
    assert set(counts) == set(others)
    # Fourteen degrees of freedom: above 55 less than once in a million.
    assert sum((counts[source] - 100) ** 2 for source in others) / 100 < 55, counts


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
    chunk.wait(E)
    asked = [chunk.pull(patience=200)]
    for _ in range(2):
        time.sleep(0.21)
        asked.append(chunk.pull(patience=200))
    assert [answer[0] for answer in asked] == ["pull", "again", "again"]
    assert {answer[1] for answer in asked} == sources
    assert chunk.tried() == {answer[1] for answer in asked[:2]} and 0 < db.pttl(chunk.key("tried"))
    time.sleep(0.21)
    word, source, until, waiters = chunk.pull()
    assert (word, source, until) == ("none", "", 0) and sorted(waiters) == [D, E]
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
        asked.append(chunk.pull(left=asked[-1] if asked else "")[1])
    assert set(asked) == sources
    assert chunk.pull(left=asked[-1])[0] == "none"
