# SPDX-License-Identifier: MIT
"""rendezvous/: meeting at daily points and hourly tokens."""
import time

import pytest

from .names import IDS, key

POINT = [key("point", "day", "p1"), key("point_ends", "day", "p1")]
HERE, THERE = "1f0c9a3e.1", "1f0c9a3e.12"
RANGE, OF_SOCKET = "192.0.2.7", 8
TTL, KEPT, BUDGET, SINCE = 60000, 64, 1 << 20, 1763723106999


def entry(text="{}", address=HERE, since=SINCE):
    return f"{address} {since}\n{text}"


def peers_of(db, keys, marks=True):
    """Who is in the hash: as many marks as entries, if all were made by workers that make any; and their ends agree."""
    fields = db.hkeys(keys[0])
    peers = {field for field in fields if field[0] != "\t"}
    assert peers == set(db.zrange(keys[1], 0, -1)), "the two keys disagree"
    assert not marks or {"\t" + peer for peer in peers} == set(fields) - peers, "the marks and the entries disagree"
    return peers


@pytest.fixture
def meet_raw(db, call):
    """meet_raw(peer, text): [1 or 0, [(other, entry)], [dropped], left out, bytes that were replaced or -1, drop that was
    referred to]"""
    def meet_raw(peer, text="{}", address=HERE, since=SINCE, ttl=TTL, kept=KEPT, budget=BUDGET, keys=POINT,
                 range=RANGE, of_socket=KEPT, whose="socket", wanted="some", marks=True, shared=""):
        done, others, dropped, left_out, replaced, drop = call(
            "rendezvous/meet", keys, peer, address, since, text, ttl, kept, budget, range, of_socket, whose, wanted, shared)
        others = list(zip(others[0::2], others[1::2], strict=True))
        assert peer not in dict(others) and len(dict(others)) == len(others)
        assert sum(len(one.encode()) for _, one in others) <= budget
        assert done != 1 or len(peers_of(db, keys, marks)) <= kept
        return [done, others, dropped, left_out, replaced, drop]

    return meet_raw


@pytest.fixture
def register(meet_raw):
    """register(peer, text): [1 or 0, [(other, entry)], [dropped], left out]"""
    return lambda *args, **kw: meet_raw(*args, **kw)[:4]


@pytest.fixture
def meet(register):
    """meet(peer, text): ({other: entry}, [dropped]) of one that registers and is answered everything"""
    def meet(*args, **kw):
        done, others, dropped, left_out = register(*args, **kw)
        assert done == 1 and left_out == 0
        return dict(others), dropped

    return meet


@pytest.fixture
def leave(db, call):
    def leave(peer, address=HERE, keys=POINT):
        [removed] = call("rendezvous/leave", keys, peer, address)
        peers_of(db, keys)
        return removed

    return leave


def test_each_meets_who_came_before(meet):
    assert meet("a", "first") == ({}, [])
    assert meet("b", "second") == ({"a": entry("first")}, [])
    assert meet("c", address=THERE) == ({"a": entry("first"), "b": entry("second")}, [])


def test_coming_twice_meets_the_same_and_leaves_one_entry(db, meet):
    meet("a")
    assert meet("b") == meet("b") == ({"a": entry()}, [])
    assert peers_of(db, POINT) == {"a", "b"}


def test_coming_again_replaces_ones_entry(meet):
    meet("a", "old")
    meet("a", "new", THERE)
    assert meet("b") == ({"a": entry("new", THERE)}, [])


def test_points_are_apart(meet):
    others = [[key("point", kind, id), key("point_ends", kind, id)] for kind, id in [("hour", "p1"), ("day", "p2")]]
    meet("a")
    for keys in others:
        assert meet("b", keys=keys) == ({}, [])


@pytest.mark.parametrize("text", ["", "\n", "two\nlines", "{\"deadDrop\":\"%s 100%\"}", "caf\u00e9\U0001f600",
                                  "x" * 16384])
def test_an_entry_is_kept_as_it_is(meet, text):
    meet("a", text)
    assert meet("b") == ({"a": entry(text)}, [])


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
    assert peers_of(db, POINT) == {"c", "d"}


def test_who_stays_outlives_who_does_not_come_again(meet):
    meet("a", ttl=1600)
    time.sleep(1)
    assert set(meet("b", ttl=1600)[0]) == {"a"}
    time.sleep(1)
    assert set(meet("c", ttl=1600)[0]) == {"b"}


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
        assert dropped == [f"{HERE} peer-{i}"]
        assert len(others) == KEPT
    assert not {f"peer-{i}" for i in range(10)} & set(meet("late-9")[0])


def test_who_comes_again_is_the_newest(meet):
    for peer in "abc":
        meet(peer, kept=3)
    assert meet("a", kept=3)[1] == []
    assert meet("d", kept=3)[1] == [f"{HERE} b"]
    assert meet("e", kept=3)[1] == [f"{HERE} c"]
    assert meet("f", kept=3)[1] == [f"{HERE} a"]


def test_all_that_are_too_many_are_dropped_at_once(meet):
    for i in range(10):
        meet(f"peer-{i}")
    others, dropped = meet("new", kept=3)
    assert dropped == [f"{HERE} peer-{i}" for i in range(8)]
    assert set(meet("other")[0]) == {"peer-8", "peer-9", "new"}


def test_the_new_one_is_kept_even_alone(meet):
    meet("a", kept=1)
    others, dropped = meet("b", kept=1)
    assert set(others) == {"a"} and dropped == [f"{HERE} a"]


def test_entries_of_one_millisecond_keep_their_order(db, call):
    """Many at once, over and over: whoever is dropped has always been there longest."""
    peers = [f"{i * 7919 % 1000:03}" for i in range(400)]
    pipeline = db.pipeline(transaction=True)
    for peer in peers:
        call("rendezvous/meet", POINT, peer, HERE, SINCE, "", TTL, KEPT, BUDGET, RANGE, KEPT, "socket", "some",
             "", client=pipeline)
    replies = pipeline.execute()
    dropped = [peer for _, _, gone, _, _, _ in replies for peer in gone]
    assert dropped == [f"{HERE} {peer}" for peer in peers[:-KEPT]]
    for i, (_, others, *_) in enumerate(replies):
        assert others[0::2] == peers[max(0, i - KEPT):i][::-1], "newest first"
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
    meet("a", f"{THERE} {SINCE}\n")
    assert leave("a", THERE) == 0
    assert leave("a", HERE) == 1


@pytest.mark.parametrize("earlier, later", [(SINCE, SINCE + 1), (999, 1000), (1, SINCE)])
def test_a_later_holders_entry_is_not_overwritten(db, register, earlier, later):
    register("b")
    register("a", "later", THERE, later)
    before = [db.hgetall(POINT[0]), db.zrange(POINT[1], 0, -1, withscores=True)]
    for _ in range(2):
        assert register("a", "earlier", HERE, earlier, ttl=10 * TTL, kept=1) == [0, [], [], 0]
    assert [db.hgetall(POINT[0]), db.zrange(POINT[1], 0, -1, withscores=True)] == before
    assert max(db.pttl(name) for name in POINT) <= TTL


@pytest.mark.parametrize("earlier, later", [(SINCE, SINCE + 1), (999, 1000), (1, SINCE)])
def test_an_earlier_holders_entry_is_overwritten(register, earlier, later):
    register("a", "earlier", THERE, earlier)
    assert register("a", "later", HERE, later) == [1, [], [], 0]
    assert register("b")[1] == [("a", entry("later", HERE, later))]


def test_a_holder_is_not_fenced_by_itself(register):
    register("a", "old", since=SINCE + 5)
    assert register("a", "new", since=SINCE)[0] == 1
    assert register("b")[1] == [("a", entry("new"))]


def test_only_the_same_id_is_fenced(register):
    register("a", address=THERE, since=SINCE + 5)
    assert register("b", since=SINCE) == [1, [("a", entry("{}", THERE, SINCE + 5))], [], 0]


def test_the_fence_goes_with_the_later_holders_entry(register, leave):
    register("a", address=THERE, since=SINCE + 5)
    assert register("a")[0] == 0
    assert leave("a", THERE) == 1
    assert register("a")[0] == 1


def test_a_date_in_the_text_is_not_the_holders(register):
    register("a", f"{THERE} {SINCE + 9}\n", THERE, SINCE - 1)
    assert register("a")[0] == 1


def test_others_are_answered_newest_first(register):
    for peer in "bdac":
        register(peer)
    register("b", "again")
    assert [peer for peer, _ in register("x")[1]] == ["b", "c", "a", "d"]


def test_who_was_dropped_is_named_with_its_own_address(register):
    register("a", address=THERE), register("b b")
    assert register("c", address=THERE, kept=1)[2] == [f"{THERE} a", f"{HERE} b b"]


@pytest.mark.parametrize("spare, answered", [(0, "dcb"), (-1, "dc"), (1, "dcb")])
def test_the_newest_that_fit_are_answered_and_the_others_counted(db, register, spare, answered):
    for peer in "abcd":
        register(peer)
    done, others, dropped, left_out = register("x", budget=3 * len(entry()) + spare)
    assert [peer for peer, _ in others] == list(answered)
    assert (done, dropped, left_out) == (1, [], 4 - len(answered))
    assert peers_of(db, POINT) == set("abcdx"), "left out is not dropped"
    assert len(register("y")[1]) == 5


def test_one_that_is_too_long_does_not_hide_those_behind_it(register):
    register("a"), register("long", "x" * 5000), register("c")
    _, others, _, left_out = register("x", budget=1000)
    assert [peer for peer, _ in others] == ["c", "a"] and left_out == 1


def test_ones_own_entry_takes_nothing_from_the_budget_and_is_not_left_out(register):
    register("a"), register("x", "x" * 5000)
    assert register("x", "x" * 5000, budget=len(entry()))[1:] == [[("a", entry())], [], 0]
    assert register("x", budget=0)[1:] == [[], [], 1]


def test_the_budget_is_one_of_bytes(register):
    register("a", "\u00e9" * 100)
    assert register("x", budget=len(entry("")) + 199)[3] == 1
    assert register("x", budget=len(entry("")) + 200)[3] == 0


def test_an_ended_entry_is_not_counted_as_left_out(db, register, now):
    register("a"), register("b")
    db.zadd(POINT[1], {"a": now() - 1})
    assert register("x", budget=0) == [1, [], [], 1]


@pytest.mark.parametrize("id", IDS)
@pytest.mark.parametrize("kind", ["day", "hour"])
def test_any_id_will_do(db, meet, leave, kind, id):
    keys = [key("point", kind, id), key("point_ends", kind, id)]
    assert meet(id, keys=keys) == ({}, [])
    assert meet("another", keys=keys) == ({id: entry()}, [])
    assert meet("third", kept=2, keys=keys)[1] == [f"{HERE} {id}"]
    assert meet(id, keys=keys)[1] == []
    assert [leave(peer, keys=keys) for peer in (id, "another", "third")] == [1, 1, 1]
    assert db.dbsize() == 0
