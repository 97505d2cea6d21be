# SPDX-License-Identifier: MIT
"""rendezvous/: a drop for several points, to which their entries refer."""
from .names import key
from .test_rendezvous import HERE, POINT, RANGE, SINCE, THERE, TTL, entry, meet_raw

__all__ = ["meet_raw"]
ID, OTHER = "0f" * 16, "ab" * 16
DROP = (key("drop", ID),)


def others(answer):
    return dict(answer[1])


def test_who_comes_is_told_what_an_entry_refers_to(meet_raw):
    meet_raw("a", "", shared=f"{ID} 2000")
    meet_raw("b", "{}")
    assert others(meet_raw("c", "")) == {"a": entry("@" + f"{ID} 2000"), "b": entry("{}")}


def test_what_is_referred_to_takes_room_in_the_answer(meet_raw):
    meet_raw("a", "", shared=f"{ID} 2000")
    size = len(entry(""))
    assert others(meet_raw("b", "", budget=size + 1999)) == {} and meet_raw("b", "", budget=size + 1999)[3] == 1
    assert meet_raw("b", "", budget=size + 1999, wanted="all")[0] == 2
    assert len(others(meet_raw("b", "", budget=size + 2000))) == 1


def test_what_a_replaced_entry_referred_to_is_told(meet_raw):
    assert meet_raw("a", "", shared=f"{ID} 2000")[4:] == [-1, ""]
    assert meet_raw("a", "", shared=f"{OTHER} 3000")[4:] == [0, f"{ID} 2000"]
    assert meet_raw("a", "{}")[4:] == [0, f"{OTHER} 3000"]
    assert meet_raw("a", "")[4:] == [2, ""]


def test_one_of_another_socket_is_told_where_ranges_count(meet_raw):
    meet_raw("a", "", shared=f"{ID} 2000", whose="range")
    assert meet_raw("a", "", THERE, since=SINCE + 1)[4:] == [-1, ""]
    meet_raw("b", "", shared=f"{ID} 2000", whose="range")
    assert meet_raw("b", "", THERE, since=SINCE + 1, whose="range")[4:] == [0, f"{ID} 2000"]


def test_a_former_worker_reads_an_entry_without_a_drop_and_overwrites_it(db, meet_raw):
    meet_raw("a", "", shared=f"{ID} 2000")
    assert db.hget(POINT[0], "a") == entry("") and db.hget(POINT[0], "\ta") == f"{HERE} {RANGE} {ID} 2000"
    db.hset(POINT[0], "a", entry("", THERE))
    assert others(meet_raw("b", "")) == {"a": entry("", THERE)}, "the mark is of another socket"


def test_a_drop_stays_while_an_entry_refers_to_it(db, call):
    assert call("rendezvous/share", DROP, "the text", TTL, 3) == [0]
    assert call("rendezvous/share", DROP, "the text", TTL, 2) == [1]
    assert db.hget(DROP[0], "text") == "the text" and TTL - 1000 < db.pttl(DROP[0]) <= TTL
    assert call("rendezvous/unshare", DROP, 4) == [0] and db.exists(DROP[0])
    assert call("rendezvous/unshare", DROP, 1) == [1] and not db.exists(DROP[0])
    assert call("rendezvous/unshare", DROP, 1) == [0] and not db.exists(DROP[0])
