# SPDX-License-Identifier: MIT
"""fleet/: leases and the roster of workers."""
import time

import pytest

from names import key

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


def test_the_roster_keeps_who_stopped_beating(db, call):
    db.zadd(WORKERS[0], {"deadbeef": 1700000000000})
    _, workers = call("fleet/roster", WORKERS, WID)
    assert workers[:2] == ["deadbeef", "1700000000000"]


def test_the_roster_never_expires(db, call):
    call("fleet/roster", WORKERS, WID)
    assert db.ttl(WORKERS[0]) == -1
