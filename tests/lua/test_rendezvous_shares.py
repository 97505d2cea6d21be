# SPDX-License-Identifier: MIT
"""rendezvous/: nobody has a point for itself, what and what former workers left there."""
import pytest

from .test_rendezvous import HERE, KEPT, OF_SOCKET, POINT, RANGE, SINCE, THERE, entry, meet_raw, peers_of

__all__ = ["meet_raw"]


@pytest.fixture
def come(db, meet_raw):
    """come(peer): who had to go for it, of sockets that have 8 places each"""
    def come(peer, address=HERE, range=RANGE, **kw):
        done, _, dropped, *_ = meet_raw(peer, "", address, range=range, of_socket=OF_SOCKET, **kw)
        assert done == 1
        return dropped

    return come


def a_former_worker_puts(db, peer, address=THERE, text="{}"):
    db.hset(POINT[0], peer, entry(text, address))
    db.zadd(POINT[1], {peer: (db.time()[0] + 60) * 1000})


def test_of_one_sockets_entries_the_oldest_go_and_nobody_elses(db, come):
    for i in range(20):
        come(f"other-{i}", f"1f0c9a3e.{100 + i}", f"198.51.100.{i}")
    for i in range(64):
        assert come(f"mine-{i}") == ([f"{HERE} mine-{i - OF_SOCKET}"] if i >= OF_SOCKET else [])
    assert peers_of(db, POINT) == {f"other-{i}" for i in range(20)} | {f"mine-{i}" for i in range(56, 64)}


def test_who_comes_again_takes_no_second_place_of_its_sockets(come):
    for _ in range(3):
        for i in range(OF_SOCKET):
            assert come(f"mine-{i}") == []


@pytest.mark.parametrize("sockets, peers", [(8, 8), (80, 8), (640, 1)])
def test_the_registrations_of_one_address_push_out_no_others(db, come, sockets, peers):
    """However many sockets it has: the oldest of the address that has most entries goes."""
    others = {f"other-{i}" for i in range(20)}
    for i in range(20):
        come(f"other-{i}", f"1f0c9a3e.{1000 + i}", f"198.51.100.{i}")
    for i in range(sockets):
        for j in range(peers):
            come(f"loud-{i}-{j}", f"1f0c9a3e.{2000 + i}")
    assert others < peers_of(db, POINT) and len(peers_of(db, POINT)) == KEPT


def test_the_oldest_of_the_address_with_most_goes_first(come):
    places = [("a", 1, "r1"), ("b", 2, "r2"), ("c", 3, "r2"), ("d", 4, "r1"), ("e", 5, "r2")]
    for peer, sid, range in places:
        assert come(peer, f"1f0c9a3e.{sid}", range, kept=5) == []
    assert come("f", "1f0c9a3e.6", "r3", kept=5) == ["1f0c9a3e.2 b"]
    assert come("g", "1f0c9a3e.7", "r4", kept=5) == ["1f0c9a3e.1 a"], "of two that have as many, the oldest"
    assert come("h", "1f0c9a3e.8", "r5", kept=5) == ["1f0c9a3e.3 c"]
    assert come("i", "1f0c9a3e.9", "r6", kept=5) == ["1f0c9a3e.4 d"], "of all, if each has one"


def test_who_comes_last_stays_even_if_its_address_has_most(db, come):
    for i in range(KEPT + 5):
        come(f"peer-{i}", f"1f0c9a3e.{i}")
        assert f"peer-{i}" in peers_of(db, POINT)


def test_entries_of_former_workers_count_as_of_an_address_of_their_own(db, come):
    for i in range(30):
        a_former_worker_puts(db, f"former-{i}", f"1f0c9a3e.{100 + i}")
    for i in range(40):
        come(f"new-{i}", f"1f0c9a3e.{200 + i}", marks=False)
    assert peers_of(db, POINT, marks=False) == {f"former-{i}" for i in range(30)} | {f"new-{i}" for i in range(6, 40)}


def test_the_entries_of_one_socket_of_a_former_worker_count_together(db, come):
    for i in range(60):
        a_former_worker_puts(db, f"former-{i}", THERE)
    for i in range(30):
        come(f"new-{i}", f"1f0c9a3e.{200 + i}", marks=False)
    assert len(peers_of(db, POINT, marks=False)) == KEPT
    assert {f"new-{i}" for i in range(30)} < peers_of(db, POINT, marks=False)


def test_a_former_worker_can_read_and_replace_a_new_entry(db, come):
    """Its script looks for `address since LF`, and takes what is behind that for the text."""
    come("a")
    address, _, since = db.hget(POINT[0], "a").rstrip("\n").partition(" ")
    assert (address, since) == (HERE, str(SINCE))
    a_former_worker_puts(db, "a", THERE)
    assert come("a") == [] and db.hget(POINT[0], "\ta") == f"{HERE} {RANGE}"


def test_what_a_former_worker_removed_is_nowhere(db, come, meet_raw):
    come("a"), come("b")
    db.hdel(POINT[0], "a"), db.zrem(POINT[1], "a")
    assert meet_raw("x", marks=False)[1:3] == [[("b", entry(""))], []]
    assert come("y", kept=2, marks=False) == [f"{HERE} b"]
    assert come("a", kept=3) == [] and peers_of(db, POINT) == {"a", "x", "y"}


@pytest.mark.parametrize("address, range, whose, replaced", [
    (HERE, RANGE, "socket", 300), (HERE, RANGE, "range", 300), (THERE, RANGE, "socket", -1),
    (THERE, RANGE, "range", 300), (THERE, "198.51.100.7", "range", -1)])
def test_what_is_replaced_is_told_to_whom_it_was_counted(meet_raw, address, range, whose, replaced):
    assert meet_raw("a", "x" * 300, whose=whose)[4] == -1
    assert meet_raw("a", "y", address, range=range, whose=whose)[4] == replaced


def test_a_replaced_entry_without_a_text_is_told(meet_raw):
    meet_raw("a", "")
    assert meet_raw("a", "")[4] == 0


def test_an_ended_or_a_later_entry_is_not_replaced(db, meet_raw, now):
    meet_raw("a")
    db.zadd(POINT[1], {"a": now() - 1})
    assert meet_raw("a")[4] == -1
    meet_raw("b", address=THERE, since=SINCE + 1, whose="range")
    assert meet_raw("b", whose="range")[:5:4] == [0, -1]


def test_a_former_workers_entry_is_replaced_by_its_own_socket_alone(db, meet_raw):
    a_former_worker_puts(db, "a", THERE)
    assert meet_raw("a", whose="range", marks=False)[4] == -1
    a_former_worker_puts(db, "b", HERE)
    assert meet_raw("b", whose="range", marks=False)[4] == 2


def test_an_address_that_was_noted_for_another_entry_counts_for_nobody(db, meet_raw):
    """The mark is of the entry that a former worker has overwritten since."""
    meet_raw("a", whose="range")
    a_former_worker_puts(db, "a", THERE)
    assert meet_raw("a", address="1f0c9a3e.77", whose="range")[4] == -1


@pytest.mark.parametrize("spare, done", [(0, 1), (-1, 2)])
def test_where_all_is_wanted_nothing_is_done_unless_it_fits(db, meet_raw, spare, done):
    for peer in "abcd":
        meet_raw(peer)
    before = db.hgetall(POINT[0]), db.zrange(POINT[1], 0, -1, withscores=True)
    answer = meet_raw("a", "new", kept=3, budget=3 * len(entry()) + spare, wanted="all")
    assert answer == ([1, [(peer, entry()) for peer in "dcb"], [f"{HERE} b"], 0, 2, ""] if done == 1 else [2, [], [], 0, -1, ""])
    assert (before == (db.hgetall(POINT[0]), db.zrange(POINT[1], 0, -1, withscores=True))) == (done == 2)


def test_a_later_holder_is_told_first(meet_raw):
    meet_raw("b"), meet_raw("a", address=THERE, since=SINCE + 1)
    assert meet_raw("a", budget=0, wanted="all") == [0, [], [], 0, -1, ""]
