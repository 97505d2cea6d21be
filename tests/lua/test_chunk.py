# SPDX-License-Identifier: MIT
"""chunk/: who has a chunk, who waits for it, and its push."""
import time

import pytest

from .chunks import A, B, C, D, PATIENCE, TTL, Chunk
from .names import IDS


# --- read, wait, push --------------------------------------------------------------------------------------------

def test_what_is_not_cached_reads_as_nothing_and_leaves_nothing(db, chunk):
    assert chunk.read() == ""
    assert db.dbsize() == 0


def test_a_pushed_chunk_is_read_and_counts_its_accesses(db, chunk, about):
    assert chunk.push('"data"') == []
    assert [chunk.read() for _ in range(3)] == ['"data"'] * 3
    cached = db.hgetall(chunk.key("data"))
    assert cached["data"] == '"data"' and cached["accesses"] == "3" and about(int(cached["cachedAt"]) // 1000, 0)
    assert TTL - 1000 < db.pttl(chunk.key("data")) <= TTL


def test_pushing_again_replaces_data_and_ttl(db, chunk):
    chunk.push("1", 5000)
    chunk.read()
    chunk.push("2", TTL)
    assert chunk.read() == "2"
    assert db.hget(chunk.key("data"), "accesses") == "1"
    assert db.pttl(chunk.key("data")) > 50000


def test_an_expired_chunk_is_not_read_and_does_not_end_a_wait(chunk):
    chunk.push("1", 300)
    assert chunk.read() == "1"
    time.sleep(0.31)
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
    assert sorted(chunk.push("1", by=C)) == [A, B]
    assert set(db.keys()) == {chunk.key("data"), chunk.key("src")}
    assert chunk.push("1", by=C) == []


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
    chunk.wait(A, 300)
    assert 0 < db.pttl(chunk.key("wait")) <= 300
    time.sleep(0.31)
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
    assert chunk.announce(A, patience=300)
    assert chunk.announce(B) == chunk.announce(A) == 0
    assert chunk.asked() == A
    time.sleep(0.31)
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


@pytest.mark.parametrize("id", IDS)
def test_any_id_will_do(db, call, id):
    chunk, holder = Chunk(db, call, id), f"1f0c9a3e.16777216 {id}"
    assert chunk.wait(holder) == ""
    assert chunk.announce(f"{holder}2")
    assert chunk.asked() == f"{holder}2"
    assert chunk.push(id, by=f"{holder}2") == [holder]
    assert chunk.read() == id
    assert chunk.leave("src", f"{holder}2") == 1
    assert db.keys() == [chunk.key("data")]
