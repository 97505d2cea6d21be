# SPDX-License-Identifier: MIT
"""rendezvous/: meeting at daily points and hourly tokens."""
import time

import pytest

from names import IDS, key

POINT = [key("point", "day", "p1"), key("point_ends", "day", "p1")]
HERE, THERE = "1f0c9a3e.1", "1f0c9a3e.12"
TTL, KEPT = 60000, 64


@pytest.fixture
def meet(db, call):
    """meet(peer, text): ({other: entry}, [dropped])"""
    def meet(peer, text="{}", address=HERE, ttl=TTL, kept=KEPT, keys=POINT):
        others, dropped = call("rendezvous/meet", keys, peer, f"{address}\n{text}", ttl, kept)
        entries = dict(zip(others[0::2], others[1::2]))
        assert len(others) == 2 * len(entries) and peer not in entries
        assert set(db.hkeys(keys[0])) == set(db.zrange(keys[1], 0, -1)), "the two keys disagree"
        assert db.hlen(keys[0]) <= kept
        return entries, dropped

    return meet


@pytest.fixture
def leave(db, call):
    def leave(peer, address=HERE, keys=POINT):
        [removed] = call("rendezvous/leave", keys, peer, address)
        assert set(db.hkeys(keys[0])) == set(db.zrange(keys[1], 0, -1)), "the two keys disagree"
        return removed

    return leave


def test_each_meets_who_came_before(meet):
    assert meet("a", "first") == ({}, [])
    assert meet("b", "second") == ({"a": f"{HERE}\nfirst"}, [])
    assert meet("c", address=THERE) == ({"a": f"{HERE}\nfirst", "b": f"{HERE}\nsecond"}, [])


def test_coming_twice_meets_the_same_and_leaves_one_entry(db, meet):
    meet("a")
    assert meet("b") == meet("b") == ({"a": f"{HERE}\n{{}}"}, [])
    assert db.hlen(POINT[0]) == 2


def test_coming_again_replaces_ones_entry(meet):
    meet("a", "old")
    meet("a", "new", THERE)
    assert meet("b") == ({"a": f"{THERE}\nnew"}, [])


def test_points_are_apart(meet):
    others = [[key("point", kind, id), key("point_ends", kind, id)] for kind, id in [("hour", "p1"), ("day", "p2")]]
    meet("a")
    for keys in others:
        assert meet("b", keys=keys) == ({}, [])


@pytest.mark.parametrize("text", ["", "\n", "two\nlines", "{\"deadDrop\":\"%s 100%\"}", "caf\u00e9\U0001f600",
                                  "x" * 16384])
def test_an_entry_is_kept_as_it_is(meet, text):
    meet("a", text)
    assert meet("b") == ({"a": f"{HERE}\n{text}"}, [])


def test_entries_end_and_the_keys_with_the_last(db, meet, now):
    before = now()
    meet("a")
    end = db.zscore(POINT[1], "a")
    assert before + TTL <= end < now() + TTL + 1
    for name in POINT:
        assert TTL - 5000 < db.pttl(name) <= TTL
    meet("b", ttl=20, keys=(keys := [key("point", "hour", "t"), key("point_ends", "hour", "t")]))
    time.sleep(0.03)
    assert not db.exists(*keys)


def test_an_ended_entry_is_never_answered_though_its_key_lives(db, meet, now):
    for peer in "abc":
        meet(peer)
    db.zadd(POINT[1], {"a": now() - 1, "b": now()})
    assert set(meet("d")[0]) == {"c"}
    assert set(db.hkeys(POINT[0])) == {"c", "d"}


def test_who_stays_outlives_who_does_not_come_again(meet):
    meet("a", ttl=400)
    time.sleep(0.25)
    assert set(meet("b", ttl=400)[0]) == {"a"}
    time.sleep(0.25)
    assert set(meet("c", ttl=400)[0]) == {"b"}


def test_an_own_ended_entry_is_simply_renewed(db, meet, now):
    meet("a")
    db.zadd(POINT[1], {"a": now() - 1000})
    assert meet("a", "again") == ({}, [])
    assert set(meet("b")[0]) == {"a"}


def test_of_more_than_are_kept_the_oldest_is_dropped_and_named(meet):
    for i in range(KEPT):
        assert meet(f"peer-{i}")[1] == []
    for i in range(10):
        others, dropped = meet(f"late-{i}")
        assert dropped == [f"peer-{i}"]
        assert len(others) == KEPT
    assert not {f"peer-{i}" for i in range(10)} & set(meet("late-9")[0])


def test_who_comes_again_is_the_newest(meet):
    for peer in "abc":
        meet(peer, kept=3)
    assert meet("a", kept=3)[1] == []
    assert meet("d", kept=3)[1] == ["b"]
    assert meet("e", kept=3)[1] == ["c"]
    assert meet("f", kept=3)[1] == ["a"]


def test_all_that_are_too_many_are_dropped_at_once(meet):
    for i in range(10):
        meet(f"peer-{i}")
    others, dropped = meet("new", kept=3)
    assert dropped == [f"peer-{i}" for i in range(8)]
    assert set(meet("other")[0]) == {"peer-8", "peer-9", "new"}


def test_the_new_one_is_kept_even_alone(meet):
    meet("a", kept=1)
    others, dropped = meet("b", kept=1)
    assert set(others) == {"a"} and dropped == ["a"]


def test_entries_of_one_millisecond_keep_their_order(db, call):
    """Many at once, over and over: whoever is dropped has always been there longest."""
    peers = [f"{i * 7919 % 1000:03}" for i in range(400)]
    pipeline = db.pipeline(transaction=True)
    for peer in peers:
        call("rendezvous/meet", POINT, peer, f"{HERE}\n", TTL, KEPT, client=pipeline)
    dropped = [peer for _, gone in pipeline.execute() for peer in gone]
    assert dropped == peers[:-KEPT]
    kept = db.zrange(POINT[1], 0, -1, withscores=True)
    assert [peer for peer, _ in kept] == peers[-KEPT:]
    assert len({int(end) for _, end in kept}) < KEPT, "no two came in one millisecond"
    assert len({end for _, end in kept}) == KEPT


def test_leaving_removes_ones_entry_once(db, meet, leave):
    meet("a")
    meet("b")
    assert leave("a") == 1
    assert leave("a") == 0
    assert set(meet("c")[0]) == {"b"}
    assert leave("b") == leave("c") == 1
    assert db.dbsize() == 0


@pytest.mark.parametrize("address", [THERE, HERE + "0", HERE[:-1], ""])
def test_leaving_spares_the_entry_of_a_successor(db, meet, leave, address):
    meet("a", "text")
    before = db.hgetall(POINT[0])
    assert leave("a", address) == 0
    assert db.hgetall(POINT[0]) == before


def test_leaving_where_one_never_was_does_nothing(db, leave):
    assert leave("a") == 0
    assert db.dbsize() == 0


def test_an_address_in_the_text_is_not_the_holders(meet, leave):
    meet("a", f"{THERE}\n")
    assert leave("a", THERE) == 0
    assert leave("a", HERE) == 1


@pytest.mark.parametrize("id", IDS)
@pytest.mark.parametrize("kind", ["day", "hour"])
def test_any_id_will_do(db, meet, leave, kind, id):
    keys = [key("point", kind, id), key("point_ends", kind, id)]
    assert meet(id, keys=keys) == ({}, [])
    assert meet("another", keys=keys) == ({id: f"{HERE}\n{{}}"}, [])
    assert meet("third", kept=2, keys=keys)[1] == [id]
    assert meet(id, keys=keys)[1] == []
    assert [leave(peer, keys=keys) for peer in (id, "another", "third")] == [1, 1, 1]
    assert db.dbsize() == 0
