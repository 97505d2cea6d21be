# SPDX-License-Identifier: MIT
"""claim/: an identity belongs to one socket."""
import re
import time

import pytest

from .names import IDS, key

ALICE, BOB, CAROL = "1f0c9a3e.1", "1f0c9a3e.12", "0badcafe.1"
HOME, ELSEWHERE = "192.0.2.7", "2001:db8:1:2::/64"
PEER = [key("peer", "alice")]
TTL = 60000


@pytest.fixture
def take_at(db, call):
    """take_at(claimer): [the holder that keeps it or "", since when the claimer has it]"""
    def take_at(claimer, replaceable="", ttl=TTL, keys=PEER, client=HOME):
        holder, since = call("claim/take", keys, claimer, replaceable, ttl, client)
        assert since == (0 if holder else int(db.hget(keys[0], "registeredAt")))
        return [holder, since]

    return take_at


@pytest.fixture
def take(take_at):
    return lambda *args, **kw: take_at(*args, **kw)[0]


@pytest.fixture
def state(db):
    return lambda: db.hgetall(PEER[0])


def test_a_free_id_is_given_and_dated(db, take, state, now):
    before = now()
    assert take(ALICE) == ""
    assert set(state()) == {"addr", "registeredAt", "lastUpdate"}
    assert state()["addr"] == ALICE
    assert before <= int(state()["registeredAt"]) == int(state()["lastUpdate"]) <= now()
    assert re.fullmatch(r"\d{13}", state()["registeredAt"])
    assert TTL - 5000 < db.pttl(PEER[0]) <= TTL


def test_its_holder_takes_it_again_and_keeps_its_date(db, take, state):
    take(ALICE, ttl=1000)
    first = state()
    time.sleep(0.005)
    assert take(ALICE) == ""
    assert state()["registeredAt"] == first["registeredAt"]
    assert int(state()["lastUpdate"]) > int(first["lastUpdate"])
    assert db.pttl(PEER[0]) > 1000


@pytest.mark.parametrize("replaceable", ["", CAROL, BOB, ALICE[:-1], ALICE + "0"])
def test_an_id_of_another_stays_as_it_is_and_its_holder_is_named(db, take, state, replaceable):
    take(ALICE)
    before, ttl = state(), db.pttl(PEER[0])
    for _ in range(2):
        assert take(BOB, replaceable, ttl=10 * TTL) == ALICE
        assert state() == before
        assert db.pttl(PEER[0]) <= ttl


def test_the_named_holder_is_replaced_and_running_it_twice_does_no_harm(take, state):
    take(ALICE)
    first = state()
    time.sleep(0.005)
    assert take(BOB, ALICE) == ""
    replaced = state()
    assert replaced["addr"] == BOB
    assert int(replaced["registeredAt"]) > int(first["registeredAt"])
    assert take(BOB, ALICE) == ""
    assert state()["registeredAt"] == replaced["registeredAt"]
    assert take(ALICE) == BOB


def test_only_the_first_of_two_replaces_the_same_holder(take):
    take(ALICE)
    assert take(BOB, ALICE) == ""
    assert take(CAROL, ALICE) == BOB


def test_an_id_that_was_not_refreshed_is_free(take, state):
    take(ALICE, ttl=300)
    time.sleep(0.31)
    assert take(BOB) == ""
    assert state()["addr"] == BOB


def test_a_record_without_an_address_is_free(db, take, state):
    db.hset(PEER[0], "lastUpdate", "1")
    assert take(BOB) == ""
    assert state()["addr"] == BOB


def test_release_takes_it_from_its_holder_once(db, call, take):
    take(ALICE)
    assert call("claim/release", PEER, ALICE) == [1]
    assert not db.exists(PEER[0])
    assert call("claim/release", PEER, ALICE) == [0]


@pytest.mark.parametrize("other", [BOB, CAROL, "", ALICE + "0"])
def test_release_leaves_a_successor_alone(call, take, state, other):
    take(ALICE)
    before = state()
    assert call("claim/release", PEER, other) == [0]
    assert state() == before


@pytest.fixture
def keep(call):
    return lambda address, client=HOME, ttl=TTL: call("claim/keep", PEER, address, client, ttl)


def test_an_id_that_is_kept_for_a_client_is_given_to_no_other(db, take, state, keep):
    take(ALICE)
    db.hset(PEER[0], "publicKey", "its")
    assert keep(ALICE) == [1]
    assert keep(ALICE) == [0]
    assert state() == {"keptFor": HOME} and TTL - 5000 < db.pttl(PEER[0]) <= TTL
    assert take(BOB, client=ELSEWHERE) == take(BOB, ALICE, client=ELSEWHERE) == "kept"
    assert state() == {"keptFor": HOME}
    assert take(BOB) == ""
    assert state().keys() == {"addr", "registeredAt", "lastUpdate"} and state()["addr"] == BOB
    assert take(CAROL, client=HOME) == BOB


def test_an_id_is_kept_for_its_time_and_not_longer(take, keep):
    take(ALICE)
    keep(ALICE, ttl=100)
    assert take(BOB, client=ELSEWHERE) == "kept"
    time.sleep(0.11)
    assert take(BOB, client=ELSEWHERE) == ""


@pytest.mark.parametrize("other", [BOB, CAROL, "", ALICE + "0"])
def test_an_id_of_another_cannot_be_kept(take, state, keep, other):
    take(ALICE)
    before = state()
    assert keep(other) == [0]
    assert state() == before


def test_what_is_kept_is_nobodys_to_release_and_its_holders_to_have_back(call, take, state, keep, refresh):
    take(ALICE)
    keep(ALICE)
    assert call("claim/release", PEER, ALICE) == [0] and state() == {"keptFor": HOME}
    assert refresh(ALICE) == [2]
    assert state().keys() == {"addr", "registeredAt", "lastUpdate"}


@pytest.fixture
def refresh(call):
    return lambda address, former="": call("claim/refresh", PEER, address, former, TTL)


def test_refresh_lets_the_holders_live_on(db, take, state, refresh):
    take(ALICE, ttl=1000)
    first = state()
    time.sleep(0.005)
    for _ in range(2):
        assert refresh(ALICE) == [1]
    assert TTL - 5000 < db.pttl(PEER[0]) <= TTL
    assert int(state()["lastUpdate"]) > int(first["lastUpdate"])
    assert {**state(), "lastUpdate": 0} == {**first, "lastUpdate": 0}


def test_refresh_does_nothing_for_another(db, take, state, refresh):
    take(ALICE, ttl=1000)
    before = state()
    assert refresh(BOB) == [0]
    assert state() == before
    assert db.pttl(PEER[0]) <= 1000


def test_refresh_gives_back_what_redis_has_lost(db, take, take_at, state, now, refresh):
    take(ALICE)
    db.flushall()
    before = now()
    assert refresh(ALICE) == [2]
    assert state()["addr"] == ALICE and set(state()) == {"addr", "registeredAt", "lastUpdate"}
    assert before <= int(state()["registeredAt"]) == int(state()["lastUpdate"]) <= now()
    assert TTL - 5000 < db.pttl(PEER[0]) <= TTL
    assert take(BOB) == ALICE
    assert take_at(ALICE) == ["", int(state()["registeredAt"])]


def test_refresh_moves_one_from_the_former_address_of_its_holder(db, call, take, state, refresh):
    take(ALICE)
    first = state()
    assert refresh(CAROL, former=ALICE) == [2]
    assert state() == {**first, "addr": CAROL, "lastUpdate": state()["lastUpdate"]}
    assert refresh(CAROL, former=ALICE) == [1]
    assert refresh(ALICE) == [0] and take(BOB) == CAROL


@pytest.mark.parametrize("former", ["", ALICE])
def test_refresh_leaves_one_alone_that_another_has_taken_since(take, state, refresh, former):
    take(BOB)
    before = state()
    assert refresh(CAROL, former=former) == [0]
    assert state() == before


def test_only_the_first_of_two_is_given_back_what_was_lost(state, refresh):
    assert refresh(ALICE) == [2]
    before = state()
    assert refresh(BOB) == [0]
    assert state() == before


def test_refresh_does_not_take_a_lost_one_from_who_has_taken_it_since(db, take, state, refresh):
    take(ALICE)
    db.flushall()
    take(BOB)
    before = state()
    assert refresh(ALICE) == [0]
    assert state() == before


def test_refresh_gives_a_record_without_an_address_to_who_asks(db, state, refresh):
    db.hset(PEER[0], "lastUpdate", "1")
    assert refresh(ALICE) == [2]
    assert state()["addr"] == ALICE and state()["registeredAt"] == state()["lastUpdate"] != "1"


def test_a_replaced_holders_date_is_before_its_successors_within_a_millisecond(db, call):
    pipeline = db.pipeline(transaction=True)
    claimers = [ALICE, BOB, CAROL] * 20
    for before, claimer in zip(["", *claimers], claimers):
        call("claim/take", PEER, claimer, before, TTL, HOME, client=pipeline)
    replies = pipeline.execute()
    assert [holder for holder, _ in replies] == [""] * 60
    dates = [since for _, since in replies]
    assert dates == sorted(set(dates))
    assert dates[-1] - dates[0] < 1000


def test_a_successors_date_is_later_even_when_the_clock_was_set_back(db, take_at, state, now):
    take_at(ALICE)
    ahead = now() + 100000
    db.hset(PEER[0], "registeredAt", ahead)
    assert take_at(ALICE) == ["", ahead]
    assert take_at(BOB, ALICE) == ["", ahead + 1]
    assert int(state()["lastUpdate"]) <= now()


def test_who_takes_its_own_again_is_told_the_date_it_had(take_at):
    first = take_at(ALICE)
    time.sleep(0.005)
    assert take_at(ALICE) == take_at(ALICE, BOB) == first
    assert take_at(BOB) == [ALICE, 0]


@pytest.mark.parametrize("id", IDS)
@pytest.mark.parametrize("kind", ["peer", "room_peer"])
def test_any_id_will_do(db, call, take, kind, id):
    keys = [key(kind, id)]
    assert take(ALICE, keys=keys) == ""
    assert take(BOB, keys=keys) == ALICE
    assert call("claim/refresh", keys, ALICE, "", TTL) == [1]
    assert call("claim/release", keys, ALICE) == [1]
    assert db.dbsize() == 0
