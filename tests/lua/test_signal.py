# SPDX-License-Identifier: MIT
"""signal/: members of a room, requests to pair and to link."""
import struct
import time

import pytest

from .names import IDS, key

ALICE, BOB, HOLDER = "1f0c9a3e.1", "0badcafe.12", "0badcafe.7"
CODE, REQUESTS, ASKERS, MEMBERS, LINK = (key("code", "room", "target"), key("requests", "room", "target"),
                                         key("askers", "room", "target"), key("room_codes", "room"),
                                         key("link", "target"))
HOME, NEIGHBOUR = "192.0.2.7", "2001:db8:1:2::/64"
APP_CODE = key("code", "", "target")
CHANNEL, TTL = key("presence", "room"), 60000


@pytest.fixture
def join(call):
    return lambda code, address=ALICE, most=10: call(
        "signal/join", [MEMBERS], code, address, most, CHANNEL, f"+{code}")


@pytest.fixture
def leave(call):
    return lambda code, address=ALICE, most=10: call(
        "signal/leave", [MEMBERS], code, address, most, CHANNEL, "-" + code)

SENT = "in:", "head", "entry:", "message"  # what a channel begins with, the frame's head, the entry, the message
ELSEWHERE = "00000000"


@pytest.fixture
def heard(db):
    """What the room's channel has heard since it was last asked."""
    with db.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(CHANNEL)
        listener.get_message(timeout=5)

        def heard():
            got = []
            db.publish(CHANNEL, "end")
            while (data := listener.get_message(timeout=5)["data"]) != "end":
                got.append(data)
            return got

        yield heard


@pytest.fixture
def ask(call):
    return lambda requester="a", address=ALICE, ttl=TTL, most=10, keys=(CODE, REQUESTS, ASKERS), silent=1, \
        client=HOME, of_one=10: call("signal/ask", list(keys), requester, address, ttl, most, silent, client, of_one)


@pytest.fixture
def answer(call):
    return lambda requester="a", address=HOLDER, asker=ALICE, self=None: call(
        "signal/answer", [REQUESTS, ASKERS], requester, address, asker, self or asker[:8], *SENT)[0]


@pytest.fixture
def look(call):
    return lambda requester="a", self=ALICE[:8]: call("signal/look", [REQUESTS, ASKERS], requester, self, *SENT)


@pytest.fixture
def withdraw(call):
    return lambda requester="a", address=ALICE: call("signal/withdraw", [REQUESTS, ASKERS], requester, address)[0]


@pytest.fixture
def link(call):
    return lambda web="w", address=ALICE, public_key='"k"', name="null", ttl=TTL: call(
        "signal/link", [APP_CODE, LINK], web, address, public_key, name, ttl)


@pytest.fixture
def unlink(call):
    return lambda why, web="", address="", self=ALICE[:8]: call(
        "signal/unlink", [LINK], why, web, address, self, *SENT)


@pytest.fixture
def target(db):
    """The code that is asked is held by somebody."""
    db.hset(CODE, "addr", HOLDER)
    db.hset(APP_CODE, "addr", HOLDER)


def test_a_room_counts_its_codes_and_says_who_is_new(db, join):
    assert join("a") == [1, 1]
    assert join("b", BOB) == [2, 1]
    assert join("a") == [2, 0]
    assert join("a", BOB) == [2, 1], "a successor is new"
    assert db.hgetall(MEMBERS) == {"a": BOB, "b": BOB}
    assert db.ttl(MEMBERS) == -1


def test_a_code_leaves_a_room_once_and_only_for_who_had_it(db, join, leave):
    join("a"), join("b")
    assert leave("a", BOB) == [2, 0]
    assert leave("a") == [1, 1]
    assert leave("a") == [1, 0]
    assert leave("nobody") == [1, 0]
    assert leave("b") == [0, 1]
    assert leave("b") == [0, 0]
    assert db.dbsize() == 0


def test_a_room_is_told_once_who_comes_and_goes(join, leave, heard):
    join("a"), join("a"), join("b"), leave("a", BOB), leave("a"), leave("a"), leave("b")
    assert heard() == ["+a", "+b", "-a"], "the last one leaves nobody to tell"


@pytest.mark.parametrize("most", [0, 1, 2, 3])
def test_a_room_past_the_limit_is_not_told(join, leave, heard, most):
    for code in "abcd":
        join(code, most=most)
    for code in "abcd":
        leave(code, most=most)
    assert heard() == [f"+{code}" for code in "abcd"[:most]] + [f"-{code}" for code in "abcd"[4 - most:3]]


def test_the_key_of_a_code_is_noted_only_for_its_holder(db, call, target):
    assert call("signal/describe", [CODE], ALICE, '"k"') == [0]
    assert call("signal/describe", [CODE], HOLDER, '"k"') == [1]
    assert db.hgetall(CODE) == {"addr": HOLDER, "publicKey": '"k"'}
    db.delete(CODE)
    assert call("signal/describe", [CODE], HOLDER, '"k"') == [0]
    assert not db.exists(CODE)


@pytest.mark.parametrize("id", IDS)
def test_any_code_may_be_a_member(db, join, leave, id):
    assert join(id) == [1, 1]
    assert leave(id) == [0, 1]
    assert db.dbsize() == 0


def test_a_code_that_nobody_holds_cannot_be_asked(db, ask):
    assert ask() == ["", 0]
    assert db.dbsize() == 0
    db.hset(CODE, "publicKey", "null")
    assert ask() == ["", 0]
    assert not db.exists(REQUESTS)


def test_a_request_is_kept_until_after_its_end(db, ask, target, about):
    holder, until = ask()
    assert holder == HOLDER and about(until, TTL)
    assert db.hgetall(REQUESTS) == {"a": f"{until} {ALICE} {HOLDER}"}
    assert TTL + 50000 < db.pttl(REQUESTS) <= TTL + 60000


def test_a_request_made_again_begins_anew(db, ask, target):
    first = ask(ttl=1000)[1]
    holder, second = ask(address=BOB)
    assert holder == HOLDER and second > first
    assert db.hgetall(REQUESTS) == {"a": f"{second} {BOB} {HOLDER}"}


def test_no_more_requests_are_open_to_one_than_allowed(ask, answer, withdraw, target):
    assert [ask(f"{i}", most=3)[0] for i in range(5)] == [HOLDER] * 3 + [""] * 2
    assert ask("1", most=3)[0] == HOLDER, "one that is open may be made again"
    assert answer("0") == "here"
    assert ask("4", most=3)[0] == HOLDER
    assert withdraw("4") == 1
    assert ask("5", most=3)[0] == HOLDER
    assert ask("6", most=3) == ["", 0]


def test_one_client_address_has_only_so_many_of_the_places(db, ask, answer, withdraw, target):
    ask("theirs", client=NEIGHBOUR)
    db.hset(REQUESTS, "former", db.hget(REQUESTS, "theirs"))  # of a worker that noted no address
    assert [ask(f"{i}", of_one=3)[0] for i in range(5)] == [HOLDER] * 3 + [""] * 2
    assert ask("1", of_one=3)[0] == HOLDER, "one that is open may be made again"
    assert ask("1", of_one=3, client=NEIGHBOUR)[0] == HOLDER, "by another address, too"
    assert ask("3", of_one=3)[0] == HOLDER and ask("4", of_one=3)[0] == ""
    assert ask("4", of_one=3, client=NEIGHBOUR)[0] == HOLDER and ask("5", of_one=3, client=NEIGHBOUR)[0] == ""
    assert answer("0") == "here" and ask("5", of_one=3)[0] == HOLDER
    assert withdraw("5") == 1 and ask("6", of_one=3)[0] == HOLDER
    assert set(db.hgetall(ASKERS).values()) == {HOME, NEIGHBOUR}
    assert 0 < db.pttl(ASKERS) <= TTL + 60000


def test_places_of_requests_that_have_ended_are_no_addresss(db, ask, target):
    ask("old", ttl=10), ask("older", ttl=10), ask("young")
    time.sleep(0.02)
    assert ask("new", of_one=2)[0] == HOLDER
    assert ask("newest", of_one=2)[0] == ""
    db.hset(CODE, "addr", BOB)
    assert ask("newest", of_one=2)[0] == BOB, "those to a former holder count no more"


def test_who_asked_by_workers_that_do_not_forget_it_is_forgotten(db, ask, target):
    db.hset(ASKERS, mapping={f"{i}": HOME for i in range(6)})
    ask("a", most=4)
    assert db.hlen(ASKERS) == 7
    ask("b", most=4), ask("c", most=4)
    assert db.hgetall(ASKERS).keys() == db.hgetall(REQUESTS).keys() == {"a", "b", "c"}


def test_requests_whose_time_is_over_make_room(db, ask, target):
    ask("old", ttl=10), ask("older", ttl=10), ask("young")
    time.sleep(0.02)
    assert ask("new", most=3)[0] == HOLDER
    assert set(db.hkeys(REQUESTS)) == {"young", "new"}


def test_requests_whose_end_is_to_be_told_make_room_but_stay(db, ask, look, target):
    ask("old", ttl=5), ask("young")
    time.sleep(0.01)
    assert ask("new", most=2, silent=0)[0] == HOLDER
    assert ask("newest", most=2, silent=0)[0] == ""
    assert set(db.hkeys(REQUESTS)) == {"old", "young", "new"}
    assert look("old")[0] == "here"


def test_a_request_is_answered_once(db, ask, answer, target):
    assert answer() == "none"
    ask(), ask("b", BOB)
    assert answer(asker=BOB) == "none"
    assert answer() == "here"
    assert answer() == "none"
    assert db.hkeys(REQUESTS) == ["b"]
    assert answer("b", asker=BOB) == "here"
    assert not db.exists(REQUESTS)


def test_a_request_whose_time_is_over_cannot_be_answered(db, ask, answer, target):
    ask(ttl=5)
    time.sleep(0.01)
    assert answer() == "none"
    assert db.hlen(REQUESTS) == 1, "its end is still to be told"


def test_only_the_socket_that_was_asked_answers(db, ask, answer, target):
    ask()
    assert answer(address=BOB) == "none"
    assert db.hlen(REQUESTS) == 1
    assert answer() == "here"


def test_requests_to_a_former_holder_make_room(db, ask, target):
    ask("a"), ask("b")
    db.hset(CODE, "addr", BOB)
    assert ask("c", most=2)[0] == BOB
    assert db.hkeys(REQUESTS) == ["c"]


@pytest.mark.parametrize("side", [ALICE, HOLDER])
def test_a_request_is_withdrawn_by_either_of_its_two(ask, withdraw, target, side):
    ask()
    assert withdraw(address=side) == 1
    assert withdraw(address=side) == 0


def test_a_request_is_withdrawn_only_by_its_two(db, ask, withdraw, target):
    assert withdraw() == 0
    ask()
    assert withdraw(address=BOB) == 0
    assert withdraw("b") == 0
    assert db.hlen(REQUESTS) == 1
    assert withdraw() == 1
    assert withdraw() == 0
    assert not db.exists(REQUESTS)


def test_a_look_says_how_long_a_request_stays_open(ask, look, target, now):
    assert look()[:4] == ["none", "", "", 0]
    until = ask()[1]
    word, requester, asked, left, at = look()
    assert [word, requester, asked, left] == ["open", ALICE, HOLDER, until - at] and at <= now()
    assert look()[0] == "open", "it stays open"
    assert look("b")[:4] == ["none", "", "", 0]


def test_a_look_ends_a_request_whose_time_is_over_once(db, ask, look, target, about):
    ask(ttl=5)
    time.sleep(0.01)
    word, requester, asked, left, at = look()
    assert [word, requester, asked, left] == ["here", ALICE, HOLDER, 0] and about(at, 0)
    assert look()[:4] == ["none", "", "", 0]
    assert not db.exists(REQUESTS)


@pytest.fixture
def inbox(db):
    """What the inbox of the requester's worker has heard, as (sid, entry, message)."""
    listener = db.pubsub(ignore_subscribe_messages=True)

    def heard():
        frames = []
        while frame := listener.get_message(timeout=0.2):
            head, count, sid, length = frame["data"][:4], *struct.unpack("<HQH", frame["data"][4:16].encode("latin-1"))
            assert (head, count) == ("head", 1)
            frames.append((sid, frame["data"][16:16 + length], frame["data"][16 + length:]))
        return frames

    listener.subscribe(f"in:{ALICE[:8]}")
    listener.get_message(timeout=5)
    yield heard
    listener.close()


@pytest.mark.parametrize("ended_by", ["answer", "look", "unlink"])
def test_whoever_waits_is_told_in_the_same_breath_as_its_request_ends(
        db, ask, answer, look, link, unlink, target, inbox, ended_by):
    ask(ttl=5 if ended_by == "look" else TTL), link()
    time.sleep(0.01)
    word = {"answer": lambda: answer(self=ELSEWHERE), "look": lambda: look(self=ELSEWHERE)[0],
            "unlink": lambda: unlink("answer", address=HOLDER, self=ELSEWHERE)[0]}[ended_by]()
    assert word == "told"
    assert inbox() == [(int(ALICE[9:]), "entry:w" if ended_by == "unlink" else "entry:", "message")]
    assert not db.exists(LINK if ended_by == "unlink" else REQUESTS)


def test_a_request_stays_open_while_whoever_waits_cannot_be_told(db, ask, answer, look, link, unlink, target):
    ask(), link()
    assert answer(self=ELSEWHERE) == "unheard" and unlink("answer", address=HOLDER, self=ELSEWHERE)[0] == "unheard"
    ask(ttl=5), link(ttl=5)
    time.sleep(0.01)
    assert look(self=ELSEWHERE)[0] == "unheard" and unlink("time", "w", self=ELSEWHERE)[0] == "unheard"
    assert db.hlen(REQUESTS) == 1 and db.exists(LINK)


@pytest.mark.parametrize("id", IDS)
def test_any_code_may_ask_and_be_asked(db, call, ask, id):
    keys = key("code", "room", id), key("requests", "room", id), key("askers", "room", id)
    db.hset(keys[0], "addr", HOLDER)
    assert call("signal/describe", keys[:1], HOLDER, f'"{id}"') == [1]
    for end, by in ("answer", (HOLDER, ALICE, ALICE[:8], *SENT)), ("withdraw", (HOLDER,)):
        assert ask(id, keys=keys)[0] == HOLDER
        assert call("signal/look", keys[1:], id, ELSEWHERE, *SENT)[1] == ALICE
        assert call(f"signal/{end}", keys[1:], id, *by)[0] == (1 if end == "withdraw" else "here")
        assert db.keys() == [keys[0]]


def test_a_device_that_is_not_there_cannot_be_linked(db, link):
    assert link() == ["", 0, "", ""]
    assert db.dbsize() == 0


def test_a_link_is_kept_until_after_its_end(db, link, target, about):
    device, until, *former = link(name='"my \\"web\\""')
    assert device == HOLDER and about(until, TTL) and former == ["", ""]
    assert db.hgetall(LINK) == {"from": "w", "addr": ALICE, "publicKey": '"k"', "deviceName": '"my \\"web\\""',
                                "until": str(until), "asked": HOLDER}
    assert TTL + 50000 < db.pttl(LINK) <= TTL + 60000


def test_a_device_is_asked_by_one_at_a_time(db, link, unlink, target):
    link()
    assert link("other", BOB) == ["", 0, "", ""]
    assert db.hget(LINK, "from") == "w"
    assert link(public_key='"new"')[0] == HOLDER, "the same one may ask again"
    assert unlink("answer", address=HOLDER)[:5] == ["here", "w", ALICE, '"new"', "null"]
    assert link("other", BOB)[0] == HOLDER


def test_a_link_whose_time_is_over_makes_room(db, link, target):
    link(ttl=5)
    time.sleep(0.01)
    assert link("other", BOB)[0] == HOLDER
    assert db.hget(LINK, "from") == "other"


def test_only_the_device_that_was_asked_answers_a_link(db, link, unlink, target):
    link()
    db.hset(APP_CODE, "addr", BOB)
    assert unlink("answer", address=BOB)[0] == "none"
    assert db.hget(LINK, "asked") == HOLDER
    assert unlink("answer", address=HOLDER)[1:3] == ["w", ALICE]


def test_a_link_asked_for_again_asks_who_has_the_code_now(db, link, unlink, target):
    link()
    db.hset(APP_CODE, "addr", BOB)
    assert link()[0] == BOB
    assert unlink("answer", address=HOLDER)[0] == "none"
    assert unlink("answer", address=BOB)[1:3] == ["w", ALICE]


@pytest.mark.parametrize("why, web, address, over, ends", [
    ("answer", "", HOLDER, False, True), ("answer", "w", HOLDER, False, True), ("answer", "x", HOLDER, False, False),
    ("answer", "", HOLDER, True, False), ("answer", "", BOB, False, False), ("answer", "", ALICE, False, False),
    ("answer", "", "", False, False), ("time", "w", "", True, True), ("time", "w", "", False, False),
    ("time", "x", "", True, False), ("gone", "w", ALICE, False, True), ("gone", "w", ALICE, True, True),
    ("gone", "w", BOB, False, False), ("gone", "x", ALICE, False, False),
    ("unheard", "w", HOLDER, False, True), ("unheard", "w", ALICE, False, False)])
def test_a_link_ends_once_and_for_its_own_reasons(db, link, unlink, target, why, web, address, over, ends):
    assert unlink(why, web, address)[:5] == ["none"] + [""] * 4
    until = link(ttl=5 if over else TTL)[1]
    time.sleep(0.01 * over)
    *reply, _, end = unlink(why, web, address)
    waits = why == "time" and web == "w" and not over
    known = ["w", ALICE, '"k"', "null"]
    assert reply == ["here", *known] if ends else reply == (["open", *known] if waits else ["none"] + [""] * 4)
    assert end == (until if ends or waits else 0)
    assert db.exists(LINK) == (not ends)
    assert unlink(why, web, address)[0] == ("open" if waits else "none")


def test_a_link_to_a_former_socket_of_the_device_makes_room_and_is_named(db, link, target):
    link()
    db.hset(APP_CODE, "addr", BOB)
    assert link("other", HOLDER)[0] == BOB
    link("other", HOLDER)
    db.hset(APP_CODE, "addr", ALICE)
    assert link("third", BOB)[2:] == ["other", HOLDER]
