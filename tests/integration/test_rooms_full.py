# SPDX-License-Identifier: MIT
"""/ws: a full room asks its members whether they are still there before it refuses anybody."""
import contextlib
import time

import pytest

from clients import bare_socket, frame, read_until
from harness import CROWD, SLOW, Fleet, get, uid, wait_until
from test_rooms import ROOM_FULL, WHERE, ask, came, hear, hear_of, joined, left, listed, welcomed
from test_signal_faults import split  # noqa: F401

PROBE = 1.0 * SLOW  # seconds a member has to answer
GRACE = 0.5 * SLOW * CROWD
ENV = {"TAKEOVER_PROBE_MS": int(PROBE * 1000), "IP_CONNECT_RATE": 0}
MOST = 64  # members that are asked at a time
UNTOLD = {"type": "ERROR", "payload": {"code": "INTERNAL_ERROR", "message": "Service temporarily unavailable"}}


@pytest.fixture(scope="module")
def fleet():
    with Fleet(ROOM_MAX_PEERS=2, **ENV) as fleet:
        yield fleet


@pytest.fixture
def silent(closing):
    """Makes a member of the room whose line is dead: no word of it has come for a while, and it answers nothing."""
    def silent(worker, room, seconds=PROBE):
        s = closing.enter_context(contextlib.closing(bare_socket(worker, "/ws")))
        s.sendall(frame(f'{{"type":"JOIN","room_id":"{room}"}}'))
        read_until(s, b'"peers":[')
        time.sleep(seconds + 0.05)
        return s

    return silent


def peer(connect, worker):
    return welcomed(connect(worker, "/ws"))


def members(worker, room):
    return {p["peer_id"] for p in get(worker, f"/api/rooms/{room}")["peers"]}


def ended(s):
    """Its line is back, and it finds that it was let go as one that answers no ping."""
    return b"\x03\xe9ping timeout" in read_until(s, b"ping timeout")


@WHERE
def test_the_place_of_a_member_that_does_not_answer_goes_to_who_asks_for_it(fleet, connect, silent, where):
    room = uid("room")
    living = joined(peer(connect, fleet.workers[1]), room)
    dead = silent(fleet.workers[0], room)
    gone = hear(living)["peer_id"]
    newcomer = peer(connect, fleet.workers[where])
    begun = time.monotonic()
    joined(newcomer, room)
    assert PROBE - 0.1 < time.monotonic() - begun < PROBE + GRACE
    assert hear(living) == {"type": "PEER_LEFT", "peer_id": gone, "room_id": room}
    assert hear(living)["peer_id"] == newcomer.id
    assert listed(newcomer).keys() == {living.id, newcomer.id}
    assert ended(dead)
    newcomer.silence()
    assert members(fleet.workers[0], room) == {living.id, newcomer.id}


@WHERE
def test_a_room_whose_members_answer_is_full_at_once(fleet, connect, where):
    room = uid("room")
    living = [joined(peer(connect, worker), room) for worker in fleet.workers]
    hear(living[0])
    newcomer = peer(connect, fleet.workers[where])
    time.sleep(PROBE + 0.05)
    begun = time.monotonic()
    assert ask(newcomer, "JOIN", room_id=room) == ROOM_FULL
    assert time.monotonic() - begun < PROBE / 2
    wait_until(lambda: [member.pings for member in living] == [1, 1], 2, "the count of their pings")
    for member in living:
        member.silence(0.1)
    assert members(fleet.workers[0], room) == {member.id for member in living}


@WHERE
def test_who_was_heard_of_just_now_is_not_asked_and_a_little_later_it_is(fleet, connect, silent, where):
    room = uid("room")
    living, dead = joined(peer(connect, fleet.workers[1]), room), silent(fleet.workers[0], room, 0)
    newcomer = peer(connect, fleet.workers[where])
    begun = time.monotonic()
    assert ask(newcomer, "JOIN", room_id=room) == ROOM_FULL
    assert time.monotonic() - begun < PROBE / 2 and living.pings == 0
    wait_until(lambda: ask(newcomer, "JOIN", room_id=room)["type"] == "ACK", 3 * PROBE + 2, "the place")
    assert ended(dead)
    assert members(fleet.workers[0], room) == {living.id, newcomer.id}


def test_by_default_it_takes_two_seconds(start, connect, silent):
    fleet, room = start(1, ROOM_MAX_PEERS=1), uid("room")
    silent(fleet.workers[0], room, 2)
    newcomer = peer(connect, fleet.workers[0])
    begun = time.monotonic()
    joined(newcomer, room)
    assert 1.9 < time.monotonic() - begun < 2 + GRACE
    assert members(fleet.workers[0], room) == {newcomer.id}


@pytest.mark.parametrize("end", ["kill9", "pause"])
def test_a_member_on_a_worker_that_says_nothing_fills_no_room(start, connect, end):
    fleet, room = start(ROOM_MAX_PEERS=2, **ENV), uid("room")
    living, lost = [joined(peer(connect, worker), room) for worker in fleet.workers[::-1]]
    assert hear_of(living) == came(lost, room)
    newcomer = peer(connect, fleet.workers[1])
    getattr(fleet.workers[0], end)()
    begun = time.monotonic()
    joined(newcomer, room)
    assert time.monotonic() - begun < PROBE + GRACE
    assert [hear_of(living), hear_of(living)] == [left(lost, room), came(newcomer, room)]
    if end == "pause":
        fleet.workers[0].resume()
        assert lost.expect_close() == (1001, "ping timeout")
    assert members(fleet.workers[1], room) == {living.id, newcomer.id}


def test_who_comes_back_from_a_worker_that_stood_still_takes_the_place_of_a_dead_one(start, connect, silent):
    fleet, room = start(ROOM_MAX_PEERS=1, **ENV), uid("room")
    member = joined(peer(connect, fleet.workers[1]), room)
    fleet.workers[1].pause()
    wait_until(lambda: not fleet.redis.client.exists(f"sb:{{room:{room}}}:peers"), 20, "its worker cleaned up after")
    dead = silent(fleet.workers[0], room)
    fleet.workers[1].resume()
    assert ended(dead)
    wait_until(lambda: members(fleet.workers[0], room) == {member.id}, 5, "the place given back")
    member.send(type="DISCOVER")
    while (heard := hear(member))["type"] != "PEER_LIST":
        assert heard["type"] in ("PEER_JOINED", "PEER_LEFT"), "it is not told that it lost its place"
    assert [p["peer_id"] for p in heard["payload"]["peers"]] == [member.id]


def test_a_member_of_a_worker_without_a_lease_is_not_waited_for(start, connect):
    fleet, room = start(1, ROOM_MAX_PEERS=2, LEADER_ELECTION="off", **ENV), uid("room")
    living, newcomer = joined(peer(connect, fleet.workers[0]), room), peer(connect, fleet.workers[0])
    fleet.redis.client.hset(f"sb:{{room:{room}}}:peers", "ghost", '0badcafe.1 {"peer_id":"ghost","joined_at":1}')
    fleet.redis.client.zadd("sb:workers", {"0badcafe": 0})
    wait_until(lambda: members(fleet.workers[0], room) == {living.id}, 10, "the other worker known as dead")
    begun = time.monotonic()
    joined(newcomer, room)
    assert time.monotonic() - begun < PROBE / 2
    assert hear(living) == {"type": "PEER_LEFT", "peer_id": "ghost", "room_id": room}


def test_all_members_of_a_worker_without_a_lease_go_at_once_however_many(start, connect):
    most = 3 * MOST
    fleet, room = start(1, ROOM_MAX_PEERS=most, LEADER_ELECTION="off", **ENV), uid("room")
    living, newcomer = joined(peer(connect, fleet.workers[0]), room), peer(connect, fleet.workers[0])
    fleet.redis.client.hset(f"sb:{{room:{room}}}:peers", mapping={
        f"ghost-{n}": f'0badcafe.{n} {{"peer_id":"ghost-{n}"}}' for n in range(most - 1)})
    fleet.redis.client.zadd("sb:workers", {"0badcafe": 0})
    wait_until(lambda: members(fleet.workers[0], room) == {living.id}, 10, "the other worker known as dead")
    joined(newcomer, room)
    assert set(fleet.redis.client.hkeys(f"sb:{{room:{room}}}:peers")) == {living.id, newcomer.id}


def test_of_many_newcomers_exactly_one_gets_the_place_that_is_free(fleet, connect, silent):
    room = uid("room")
    living = joined(peer(connect, fleet.workers[1]), room)
    silent(fleet.workers[0], room)
    hear(living)
    newcomers = [peer(connect, worker) for worker in fleet.workers * 3]
    for newcomer in newcomers:
        newcomer.send(type="JOIN", room_id=room)
    answers = [hear(newcomer, 3 * PROBE + 3) for newcomer in newcomers]
    winners = [newcomer.id for newcomer, answer in zip(newcomers, answers) if answer["type"] == "ACK"]
    assert len(winners) == 1 and answers.count(ROOM_FULL) == 5
    assert members(fleet.workers[0], room) == {living.id, *winners}
    for newcomer in newcomers:
        newcomer.silence(0.05)
        assert ask(newcomer, "KEEP_ALIVE")["type"] == "ACK"


def test_a_newcomer_that_leaves_while_it_waits_gets_no_place(fleet, connect, silent):
    room = uid("room")
    living = joined(peer(connect, fleet.workers[1]), room)
    silent(fleet.workers[0], room)
    gone = hear(living)["peer_id"]
    newcomer, pings = peer(connect, fleet.workers[0]), living.pings
    newcomer.send(type="JOIN", room_id=room)
    wait_until(lambda: living.pings > pings, 5, "the question")
    newcomer.close()
    assert hear(living, PROBE + 2) == {"type": "PEER_LEFT", "peer_id": gone, "room_id": room}
    living.silence()
    assert members(fleet.workers[0], room) == {living.id}


def test_whoever_waits_while_redis_goes_away_is_told_that_it_has(split, connect, silent):  # noqa: F811
    fleet, proxy = split(ROOM_MAX_PEERS=2, TAKEOVER_PROBE_MS=ENV["TAKEOVER_PROBE_MS"])
    room = uid("room")
    living = joined(peer(connect, fleet.workers[0]), room)
    silent(fleet.workers[1], room)
    newcomer = peer(connect, fleet.workers[1])
    newcomer.send(type="JOIN", room_id=room, request_id="j")
    wait_until(lambda: living.pings, 5, "the question")
    fleet.redis.stop()
    assert hear(newcomer, PROBE + 5) == UNTOLD | {"request_id": "j"}
    fleet.redis.start()
    assert ask(newcomer, "DISCOVER")["payload"]["code"] in ("NOT_IN_ROOM", "INTERNAL_ERROR")


def test_a_large_room_is_not_asked_as_a_whole_nor_by_each_newcomer(start, connect):
    fleet, room = start(ROOM_MAX_PEERS=2 * MOST, **ENV), uid("room")
    living = [joined(peer(connect, worker), room) for worker in fleet.workers * MOST]
    newcomers = [peer(connect, fleet.workers[1]) for _ in range(20)]
    time.sleep(PROBE + 0.05)
    begun = time.monotonic()
    for newcomer in newcomers * 5:
        newcomer.send(type="JOIN", room_id=room)
    assert all(hear(newcomer) == ROOM_FULL for newcomer in newcomers * 5)
    pings = sum(member.pings for member in living)
    assert MOST <= pings <= MOST * (1 + int(time.monotonic() - begun))
