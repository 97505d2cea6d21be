# SPDX-License-Identifier: MIT
"""chunk/: which sources rest and when they may be asked again; whose push counts."""
import hashlib
import time

import pytest

from .chunks import A, B, C, D, OTHER, PUSHER, TTL

MANY = [f"{OTHER}.{i} p" for i in range(250)]


@pytest.fixture
def lists(chunk):
    """(who may be asked, who rests)"""
    return lambda: tuple(set(chunk.db.zrange(chunk.key(part), 0, -1)) for part in ("src", "rest"))


# --- who rests ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("first", ["announce", "wait"])
def test_a_source_rests_while_it_waits(chunk, lists, about, first):
    for step in ("announce", "wait") if first == "announce" else ("wait", "announce"):
        getattr(chunk, step)(A)
    assert lists() == (set(), {A})
    assert about(chunk.db.zscore(chunk.key("rest"), A), TTL)
    assert 0 < chunk.db.pttl(chunk.key("rest")) <= TTL
    assert chunk.leave("wait", A) == 1
    assert lists() == ({A}, set())
    assert about(chunk.db.zscore(chunk.key("src"), A), TTL)
    assert 0 < chunk.db.pttl(chunk.key("src")) <= TTL


def test_one_that_rests_is_a_source_no_more_once_it_leaves(chunk, lists):
    chunk.announce(A), chunk.wait(A)
    assert [chunk.leave("src", A), chunk.leave("src", A)] == [1, 0]
    assert lists() == (set(), set())
    chunk.leave("wait", A)
    assert chunk.db.dbsize() == 0


def test_one_that_announces_again_while_it_rests_is_one_source(chunk, lists):
    chunk.announce(A), chunk.wait(A), chunk.announce(A)
    assert lists() == (set(), {A})
    chunk.leave("wait", A), chunk.announce(A)
    assert lists() == ({A}, set())


def test_a_push_lets_all_be_asked_again(chunk, lists, about):
    chunk.announce(A), chunk.announce(B), chunk.wait(A), chunk.wait(D)
    assert chunk.pull()[1] == B
    chunk.push("1", by=B)
    assert lists() == ({A, B}, set())
    assert about(chunk.db.zscore(chunk.key("src"), A), TTL)


def test_the_end_of_a_wait_is_seen_though_nobody_else_has_waited_since(chunk):
    chunk.announce(A), chunk.wait(A, 20), chunk.wait(B, 20)
    time.sleep(0.03)
    chunk.wait(D, 30000)
    assert chunk.pull()[:2] == ("pull", A)


def test_the_end_of_a_wait_is_seen_among_very_many_that_have_ended(chunk, lists):
    chunk.announce(A), chunk.wait(A, 60)
    chunk.db.zadd(chunk.key("wait"), {waiter: 1 for waiter in MANY})
    chunk.wait(D)
    time.sleep(0.07)
    assert [chunk.pull_step()[0] for _ in range(3)] == ["more", "more", "pull"]
    assert chunk.asked() == A and lists() == ({A}, set())


def test_very_many_ended_waits_hold_nobody_up_where_no_source_rests(chunk):
    chunk.db.zadd(chunk.key("wait"), {waiter: 1 for waiter in MANY})
    chunk.wait(D)
    assert chunk.pull_step()[0] == "none"


def test_ended_sources_go_some_at_a_time_and_hide_none_that_has_not(chunk):
    chunk.db.zadd(chunk.key("src"), {source: 1 for source in MANY})
    chunk.announce(A), chunk.wait(D)
    assert chunk.pull_step()[:2] == ("pull", A)
    assert chunk.db.zcard(chunk.key("src")) == 151


def test_those_asked_in_vain_rest_until_the_round_is_over(chunk, lists):
    chunk.announce(A), chunk.announce(B), chunk.wait(D)
    first = chunk.pull(patience=10)[1]
    time.sleep(0.015)
    assert chunk.pull(patience=10)[0] == "again"
    assert lists()[1] == {first} == chunk.tried()
    chunk.announce(first)
    assert lists()[1] == {first}
    time.sleep(0.015)
    assert chunk.pull()[0] == "none"
    assert lists() == ({A, B}, set())


def test_one_asked_in_vain_that_waits_by_now_rests_on_after_the_round(chunk, lists):
    chunk.announce(A), chunk.wait(D)
    chunk.pull(patience=10)
    chunk.wait(A)
    time.sleep(0.015)
    assert chunk.pull()[0] == "none"
    assert lists() == (set(), {A})
    chunk.leave("wait", A)
    assert chunk.pull()[:2] == ("pull", A)


def test_a_round_that_was_given_up_keeps_nobody(chunk, lists):
    chunk.announce(A), chunk.announce(B), chunk.wait(D)
    chunk.pull(patience=10)
    time.sleep(0.015)
    chunk.pull(patience=10)
    chunk.db.delete(chunk.key("pull"))  # its time is over, and no worker has looked
    assert chunk.pull()[0] == "pull"
    assert lists() == ({A, B}, set()) and not chunk.tried()


def test_what_a_former_version_has_left_is_put_right(chunk, lists):
    """It has one list of sources, and looks who of them waits."""
    end = chunk.now() + TTL
    chunk.db.zadd(chunk.key("src"), {source: end for source in [*MANY, A]})
    chunk.db.zadd(chunk.key("wait"), {waiter: end for waiter in [*MANY, D]})
    assert chunk.pull()[:2] == ("pull", A)
    assert A in lists()[0] and lists()[0] | lists()[1] == {*MANY, A}


# --- what is new -------------------------------------------------------------------------------------------------

def test_it_is_told_whether_a_source_is_new(chunk):
    assert [chunk.announced(A, ttl)[1] for ttl in (TTL, 20)] == [1, 0]
    chunk.wait(A)
    assert chunk.announced(A, 20)[1] == 0
    time.sleep(0.03)
    assert chunk.announced(A)[1] == 1


def test_it_is_told_whether_a_wait_is_new(chunk):
    assert [chunk.waited(A, ttl) for ttl in (TTL, 20)] == [["", 1], ["", 0]]
    time.sleep(0.03)
    assert chunk.waited(A) == ["", 1]
    chunk.push("1")
    assert chunk.waited(B) == ["1", 0]


# --- whose push counts -------------------------------------------------------------------------------------------

def test_anybody_may_push_what_nobody_has(chunk):
    chunk.wait(D)
    assert chunk.pushed("1") == [1, 0, [D]]
    assert chunk.db.hget(chunk.key("data"), "by") == hashlib.sha1(PUSHER.split()[0].encode()).hexdigest()


def test_a_stranger_does_not_replace_what_is_cached(chunk):
    chunk.push("1", 5000)
    before = chunk.db.hgetall(chunk.key("data"))
    assert chunk.pushed("a stranger's", by=A) == [0, 0, []]
    assert chunk.db.hgetall(chunk.key("data")) == before and chunk.db.pttl(chunk.key("data")) <= 5000


def test_a_stranger_does_not_serve_who_waits_for_the_sources(chunk):
    chunk.announce(A), chunk.wait(D), chunk.pull()
    keys = set(chunk.db.keys())
    assert chunk.pushed("a stranger's", by=B) == [0, 0, []]
    assert set(chunk.db.keys()) == keys and chunk.asked() == A
    chunk.wait(A)
    assert chunk.pushed("a stranger's", by=B)[0] == 0, "its source rests"
    cached, _, waiters = chunk.pushed("1", by=A)
    assert cached == 1 and set(waiters) == {A, D}


def test_another_peer_of_the_same_name_or_socket_is_a_stranger(chunk):
    chunk.announce("1f0c9a3e.7 p")
    for stranger in "1f0c9a3e.8 p", "1f0c9a3e.7 q", "1f0c9a3e.7 ", "1f0c9a3e.7 p ":
        assert chunk.pushed("a stranger's", by=stranger)[0] == 0
    assert chunk.pushed("1", by="1f0c9a3e.7 p")[0] == 1
    assert chunk.pushed("2", by="1f0c9a3e.7 q")[0] == 1, "what this socket has pushed it may push again"


def test_one_of_its_peers_is_enough(chunk):
    chunk.announce(A)
    address, peer = A.split(" ", 1)
    reply = chunk.call("chunk/push", chunk.keys("data", "src", "rest", "wait", "pull", "tried"), "1", TTL, OTHER,
                       "inbox:", "head", "", "", address, "q", peer, "r")
    assert reply[0] == 1


def test_who_has_announced_or_was_asked_replaces_what_is_cached(chunk):
    chunk.push("1", by=C)
    chunk.announce(A)
    assert chunk.pushed("2", by=A)[0] == 1
    chunk.db.hset(chunk.key("pull"), mapping={"source": B, "until": 1})
    assert chunk.pushed("3", by=B)[0] == 1
    chunk.db.sadd(chunk.key("tried"), D)
    assert chunk.pushed("4", by=D)[0] == 1
    assert chunk.pushed("a stranger's", by=C)[0] == 0, "another has pushed since"
    assert chunk.read() == "4"


def test_a_source_that_has_ended_or_left_is_a_stranger(chunk):
    chunk.announce(A, 20), chunk.announce(B), chunk.announce(C)
    chunk.leave("src", B)
    time.sleep(0.03)
    assert [chunk.pushed("1", by=peer)[0] for peer in (A, B, C)] == [0, 0, 1]


def test_an_ended_source_hinders_nobody(chunk):
    chunk.announce(A, 20), chunk.announce(B, 20), chunk.wait(B)
    time.sleep(0.03)
    assert chunk.pushed("1") == [1, 0, [B]]


def test_what_a_former_version_has_cached_is_replaced_by_a_source_alone(chunk):
    chunk.db.hset(chunk.key("data"), mapping={"data": "old", "accesses": 0, "cachedAt": 1})
    assert chunk.pushed("a stranger's") == [0, 0, []]
    chunk.announce(A)
    assert chunk.pushed("1", by=A) == [1, 0, []]


def test_the_bytes_that_were_replaced_are_told_to_the_socket_that_had_pushed_them(chunk):
    chunk.announce(A)
    assert chunk.pushed("x" * 100, by=A)[1] == 0
    assert chunk.pushed("xx", by=A)[1] == 100
    chunk.announce(B)
    assert chunk.pushed("xyz", by=B)[1] == 0
    assert chunk.pushed("x", by=B)[1] == 3
