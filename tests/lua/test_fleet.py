# SPDX-License-Identifier: MIT
"""fleet/: leases, the roster of workers, and messages to whoever holds an identity."""
import struct
import time

import pytest
import redis

from .names import IDS, key

WID = "1f0c9a3e"
WORKER, WORKERS = [key("worker", WID)], [key("WORKERS")]


def beat(call, lease=5000, node="node-1", connections=3):
    return call("fleet/beat", WORKER, lease, node, 4711, "0.1.0", 1700000000000, connections)


def test_a_beat_says_whether_the_lease_was_held(db, call):
    assert beat(call) == [0]
    assert beat(call) == [1]
    assert db.hgetall(WORKER[0]) == {"host": "node-1", "pid": "4711", "version": "0.1.0", "started": "1700000000000",
                                     "connections": "3"}


def test_a_beat_renews_the_lease(db, call):
    beat(call, lease=1000)
    assert 0 < db.pttl(WORKER[0]) <= 1000
    beat(call, lease=5000)
    assert 1000 < db.pttl(WORKER[0]) <= 5000


def test_a_lapsed_lease_is_told(db, call):
    beat(call, lease=20)
    time.sleep(0.03)
    assert not db.exists(WORKER[0])
    assert beat(call) == [0]


@pytest.mark.parametrize("node", ["", "two words", "%s", "a|b", "caf\u00e9", "line\nbreak"])
def test_a_beat_notes_what_changed(db, call, node):
    beat(call)
    assert beat(call, node=node, connections=10000) == [1]
    assert db.hmget(WORKER[0], "host", "connections") == [node, "10000"]


def test_the_roster_notes_a_beat_by_the_clock_of_redis(call, now):
    before = now()
    at, workers = call("fleet/roster", WORKERS, WID)
    assert before <= at <= now()
    assert workers == [WID, str(at)]


def test_the_roster_names_each_worker_once_the_latest_last(db, call):
    for wid in "aaaaaaaa", "bbbbbbbb", "cccccccc", "aaaaaaaa", "aaaaaaaa":
        at, workers = call("fleet/roster", WORKERS, wid)
        time.sleep(0.003)
    assert workers[0::2] == ["bbbbbbbb", "cccccccc", "aaaaaaaa"]
    beats = [int(beat) for beat in workers[1::2]]
    assert beats == sorted(beats) and beats[-1] == at
    assert db.zcard(WORKERS[0]) == 3


def test_the_roster_notes_a_beat_for_former_names_too(call):
    call("fleet/roster", WORKERS, "0000000a")
    at, workers = call("fleet/roster", WORKERS, WID, "0000000a", "0000000b")
    assert sorted(workers[::2]) == sorted([WID, "0000000a", "0000000b"])
    assert [int(beat) for beat in workers[1::2]] == [at] * 3


def test_the_roster_keeps_who_stopped_beating(db, call):
    db.zadd(WORKERS[0], {"deadbeef": 1700000000000})
    _, workers = call("fleet/roster", WORKERS, WID)
    assert workers[:2] == ["deadbeef", "1700000000000"]


def test_the_roster_never_expires(db, call):
    call("fleet/roster", WORKERS, WID)
    assert db.ttl(WORKERS[0]) == -1


def mark(call, number, lease=5000):
    return call("fleet/mark", WORKER, number, lease)


def test_a_mark_tells_the_one_before_and_how_old_the_last_beat_is(db, call):
    beat(call)
    last, age = mark(call, 1)
    assert last == -1 and 0 <= age < 1000
    db.pexpire(WORKER[0], 2000)
    last, age = mark(call, 2)
    assert last == 1 and 3000 <= age < 4000
    beat(call)
    assert mark(call, 2**40)[0] == 2 and mark(call, 3)[0] == 2**40


def test_a_mark_that_comes_late_is_none(call):
    """It was sent on a connection that was given up, and newer ones came before it."""
    beat(call)
    assert [mark(call, number)[0] for number in (5, 9, 7, 10, 9, 11)] == [-1, 5, 9, 9, 10, 10]


def test_a_mark_ends_with_its_lease_and_makes_none(db, call):
    assert mark(call, 1) == [-1, -1] and db.dbsize() == 0
    beat(call, lease=20)
    assert mark(call, 1)[0] == -1
    time.sleep(0.03)
    assert mark(call, 2) == [-1, -1]
    beat(call)
    assert mark(call, 3)[0] == -1


def test_a_beat_that_lies_ahead_because_the_clock_was_set_back_is_as_old_as_it_was_first_seen(db, call, now):
    db.zadd(WORKERS[0], {"deadbeef": now() + 60000, "0badcafe": now() - 5000})
    first, workers = call("fleet/roster", WORKERS, WID)
    beats = dict(zip(workers[0::2], map(int, workers[1::2])))
    assert beats["deadbeef"] == first and beats["0badcafe"] < first - 4000
    time.sleep(0.01)
    second, workers = call("fleet/roster", WORKERS, WID)
    beats = dict(zip(workers[0::2], map(int, workers[1::2])))
    assert beats["deadbeef"] == first < second == beats[WID]


LEADER, OTHER = [key("LEADER")], "0badcafe"


@pytest.fixture
def lead(call):
    return lambda wid=WID, lasts=2000: call("fleet/lead", LEADER, wid, lasts)


@pytest.fixture
def lapse(db):
    """As if the leader had said nothing for long."""
    return lambda: db.hset(LEADER[0], "until", 1)


def test_the_first_to_ask_leads_and_is_the_only_one(db, call, lead, now, about):
    before = now()
    wid, number = lead()
    assert wid == WID and before <= number <= now(), "an emptied Redis goes on with greater numbers"
    assert lead(OTHER) == lead(WID) == lead("") == [WID, number]
    stored = db.hgetall(LEADER[0])
    assert stored.keys() == {"wid", "number", "until"} and (stored["wid"], stored["number"]) == (WID, str(number))
    assert about(int(stored["until"]), 2000)


def test_a_leader_that_asks_again_leads_on_and_who_asks_beside_it_changes_nothing(db, lead, now):
    lead(lasts=1000)
    first = int(db.hget(LEADER[0], "until"))
    lead(lasts=5000)
    last = int(db.hget(LEADER[0], "until"))
    assert last >= first + 4000
    lead(OTHER, lasts=60000), lead("", lasts=60000)
    assert int(db.hget(LEADER[0], "until")) == last


def test_a_leader_has_its_time_by_the_clock_of_redis_and_then_another_leads(db, lead, now):
    number = lead(lasts=50)[1]
    until = int(db.hget(LEADER[0], "until"))
    while (answer := lead(OTHER))[0] == WID:
        assert now() <= until + 50
    assert answer == [OTHER, number + 1] and now() >= until
    assert lead() == [OTHER, number + 1], "the former has lost"


@pytest.mark.parametrize("who", [OTHER, ""])
def test_a_leader_whose_end_lies_too_far_ahead_has_its_time_from_then_on(db, lead, now, about, who):
    number = lead()[1]
    db.hset(LEADER[0], "until", now() + 60000)
    assert lead(who) == [WID, number]
    until = int(db.hget(LEADER[0], "until"))
    assert about(until, 2000)
    assert lead(who) == [WID, number] and int(db.hget(LEADER[0], "until")) == until
    assert lead() == [WID, number], "it leads on"


def test_one_that_leads_again_has_a_new_number(lead, lapse):
    number = lead()[1]
    lapse()
    assert lead() == [WID, number + 1], "though nobody else led"
    lapse()
    assert lead(OTHER) == [OTHER, number + 2]
    lapse()
    assert lead() == [WID, number + 3]


def test_one_that_only_looks_never_leads(db, lead, lapse):
    assert lead("") == ["", 0]
    assert not db.exists(LEADER[0])
    number = lead()[1]
    lapse()
    before = db.hgetall(LEADER[0])
    assert lead("") == ["", number]
    assert db.hgetall(LEADER[0]) == before


def test_numbers_grow_when_redis_has_forgotten_the_last(db, lead, lapse, now):
    number = lead()[1]
    for _ in range(3):
        lapse(), lead(OTHER), lapse(), lead()
    wid, last = lead()
    assert last == number + 6
    db.flushall()
    while now() <= last:
        pass
    assert lead(OTHER)[0] == OTHER and lead()[1] > last


def test_the_leader_never_expires(db, lead):
    lead()
    assert db.ttl(LEADER[0]) == -1


def test_a_leader_that_resigns_makes_room_at_once_and_only_for_a_greater_number(call, lead):
    number = lead()[1]
    assert call("fleet/resign", LEADER, WID) == [1]
    assert lead("") == ["", number]
    assert lead(OTHER) == [OTHER, number + 1]


def test_one_that_does_not_lead_cannot_resign(db, call, lead):
    assert call("fleet/resign", LEADER, WID) == [0]
    assert not db.exists(LEADER[0])
    number = lead()[1]
    assert call("fleet/resign", LEADER, OTHER) == [0]
    assert lead(OTHER) == [WID, number]


def test_resigning_twice_does_no_harm(call, lead):
    number = lead()[1]
    assert call("fleet/resign", LEADER, WID) == call("fleet/resign", LEADER, WID) == [1]
    assert lead(OTHER) == [OTHER, number + 1]
    assert call("fleet/resign", LEADER, WID) == [0]
    assert lead("") == [OTHER, number + 1]


HOLDER, HEAD = "0badcafe.7", "head of a frame"


@pytest.fixture
def forward(call):
    def forward(self=WID, entry="code\troom\talice", message="{}", keys=[key("code", "room", "alice")]):
        return call("fleet/forward", keys, self, "sb:inbox:", HEAD, entry, message)

    return forward


@pytest.fixture
def inbox(db):
    """What is published to the holder's worker, as bytes."""
    client = redis.Redis(unix_socket_path=db.connection_pool.connection_kwargs["path"])
    with client, client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(key("inbox", "0badcafe"))
        listener.get_message(timeout=5)
        yield lambda: listener.get_message(timeout=5)["data"]


def test_a_message_to_nobody_is_not_sent(db, forward):
    assert forward() == ["", 0]
    db.hset(key("code", "room", "alice"), "publicKey", '"k"')
    assert forward() == ["", 0]


def test_a_message_to_a_holder_of_the_sending_worker_is_not_published(db, forward, inbox):
    db.hset(key("code", "room", "alice"), "addr", HOLDER)
    assert forward(self="0badcafe") == [HOLDER, -1]
    assert forward(message="the first") == [HOLDER, 1]
    assert inbox().endswith(b"the first")


def test_a_message_to_a_worker_that_does_not_listen_reaches_nobody(db, forward):
    db.hset(key("code", "room", "alice"), "addr", HOLDER)
    assert forward() == [HOLDER, 0]


@pytest.mark.parametrize("sid", [0, 1, 255, 256, 2**32, 2**53 - 1])
@pytest.mark.parametrize("entry", ["", "code\troom\talice", "x" * 300])
def test_a_forwarded_message_is_a_frame_with_one_target(db, forward, inbox, sid, entry):
    db.hset(key("code", "room", "alice"), "addr", f"0badcafe.{sid}")
    message = '{"sdp" : "caf\u00e9\\u0000"}'
    assert forward(entry=entry, message=message) == [f"0badcafe.{sid}", 1]
    assert inbox() == (HEAD.encode() + struct.pack("<HQH", 1, sid, len(entry)) + entry.encode() + message.encode())


@pytest.mark.parametrize("id", IDS)
@pytest.mark.parametrize("names", [("code", "room"), ("room_peer",)], ids=lambda names: names[0])
def test_any_id_may_hold_what_is_forwarded_to(db, forward, inbox, names, id):
    keys, entry = [key(*names, id)], "\t".join((*names, id))
    db.hset(keys[0], "addr", HOLDER)
    assert forward(entry=entry, message=id * 3, keys=keys) == [HOLDER, 1]
    assert inbox().endswith(entry.encode() + id.encode() * 3)
