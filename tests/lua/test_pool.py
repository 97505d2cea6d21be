# SPDX-License-Identifier: MIT
"""pool/: the members of the pool, and a version of the ring that grows, and is told, where the ring changes."""
import json
import time

import pytest
import redis

from .names import IDS, key

KEYS = MEMBERS, AT, LOADS, SEEN, VERSION = [key("POOL" + part) for part in ("", "_AT", "_LOADS", "_SEEN", "_VERSION")]
WATCH, PAUSE = key("POOL_WATCH"), 400
ALICE, BOB = "1f0c9a3e.1", "0badcafe.12"
CHANNEL, CAPACITY, SINCE, SILENCE = "changes", 10, 1795257094759, 1000


def record(id="m", capacity=CAPACITY, **more):
    return json.dumps({"id": id, "endpoint": "wss://caf\u00e9.example/%s", "capacity": capacity, **more})


@pytest.fixture
def pool(db, call):
    pool = Pool(db, call)
    pool.watched()
    return pool


class Pool:
    def __init__(self, db, call):
        self.db, self.call = db, call

    def put(self, id="m", address=ALICE, since=SINCE, entry=None, status="healthy", load=0, capacity=CAPACITY):
        [number] = self.call("pool/put", [*KEYS, WATCH], id, address, since, entry or record(id, capacity), status, load, CHANNEL)
        return number

    def beat(self, load="", id="m", address=ALICE):
        [there] = self.call("pool/beat", KEYS, id, address, load, CHANNEL)
        return there

    def remove(self, id="m", address=ALICE):
        [gone] = self.call("pool/remove", KEYS, id, address, CHANNEL)
        return gone

    def expire(self, most=100, silence=SILENCE, pause=PAUSE):
        number, born, silent = self.call("pool/expire", [*KEYS, WATCH], silence, pause, most, CHANNEL)
        assert born == int(self.db.hget(WATCH, "born"))
        return [number, silent]

    def watched(self, for_ms=10 ** 9):
        """As if it had been called without a pause for so long."""
        seconds, micros = self.db.time()
        now = seconds * 1000 + micros // 1000
        self.db.hset(WATCH, mapping={"last": now, "from": now - for_ms})

    def read(self):
        number, born, *lists = self.call("pool/read", [*KEYS, WATCH])
        assert born == int(self.db.hget(WATCH, "born") or 0)
        return number, *(dict(zip(one[::2], one[1::2])) for one in lists)

    def age(self, ms, *ids):
        """Their last heartbeat was that long ago."""
        seconds, micros = self.db.time()
        self.db.zadd(SEEN, {id: seconds * 1000 + micros // 1000 - ms for id in ids}, xx=True)

    def version(self):
        return int(self.db.get(VERSION) or 0)

    def state(self):
        """Everything but when they were last seen."""
        return (*map(self.db.hgetall, (MEMBERS, AT, LOADS)), set(self.db.zrange(SEEN, 0, -1)), self.version())


@pytest.fixture
def heard(db):
    """The versions that have been told since it was last asked."""
    client = redis.Redis(unix_socket_path=db.connection_pool.connection_kwargs["path"])
    with client, client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(CHANNEL)
        listener.get_message(timeout=5)

        def heard():
            got = []
            db.publish(CHANNEL, "end")
            while (data := listener.get_message(timeout=5)["data"]) != b"end":
                got.append(int(data))
            return got

        yield heard


# --- put ---

def test_a_member_is_put_with_all_that_is_known_of_it(db, pool, heard, about):
    number = pool.put(load=3)
    assert pool.state() == ({"m": record()}, {"m": f"{ALICE} healthy {SINCE}"}, {"m": "3"}, {"m"}, number)
    assert about(db.zscore(SEEN, "m"), 0)
    assert heard() == [number]
    assert sorted(db.keys()) == sorted([*KEYS, WATCH]) and all(db.ttl(name) == -1 for name in KEYS)


def test_each_put_is_one_change_that_is_told_once(pool, heard):
    numbers = [pool.put(), pool.put("other", BOB), pool.put(status="draining"), pool.put()]
    assert numbers == list(range(numbers[0], numbers[0] + 4)) == heard()
    assert pool.version() == numbers[-1]


def test_putting_twice_leaves_what_one_put_leaves(pool):
    pool.put(load=3)
    once = pool.state()[:-1]
    pool.put(load=3)
    assert pool.state()[:-1] == once


def test_a_later_put_replaces_everything(pool, heard):
    pool.put(load=3)
    number = pool.put(address=BOB, since=SINCE + 1, capacity=5, status="draining", load=0)
    assert pool.state() == ({"m": record(capacity=5)}, {"m": f"{BOB} draining {SINCE + 1}"}, {"m": "0"}, {"m"}, number)
    assert len(heard()) == 2


def test_a_member_whose_id_a_later_one_has_stays_out(pool, heard):
    pool.put(address=BOB, since=SINCE)
    pool.age(5000, "m")
    before, seen = pool.state(), pool.read()[4]
    heard()
    assert [pool.put(since=SINCE - 1), pool.put(since=0), pool.put(address=BOB, since=SINCE - 1)] == [0, 0, 0]
    assert pool.state() == before and pool.read()[4] == seen and heard() == []
    assert pool.put(since=SINCE) > 0, "who holds the id since the same time may be itself"


def test_times_are_compared_as_numbers(pool):
    pool.put(since=999)
    assert pool.put(address=BOB, since=1000) > 0
    assert pool.put(since=999) == 0


def test_a_member_that_was_silent_comes_back_with_its_former_time(pool, heard):
    pool.put()
    pool.age(SILENCE + 1, "m")
    assert pool.expire()[1] == ["m"]
    number = pool.put()
    assert pool.state() == ({"m": record()}, {"m": f"{ALICE} healthy {SINCE}"}, {"m": "0"}, {"m"}, number)
    assert len(heard()) == 3


# --- the version ---

def test_the_first_version_comes_from_the_clock(db, pool):
    begun = db.time()[0]
    assert pool.put() > begun
    assert pool.put() == pool.version() > begun + 1


def test_versions_go_on_growing_when_redis_has_lost_the_pool(db, pool):
    for load in range(50):
        before = pool.put(load=load)
    time.sleep(0.06)  # as no fleet changes its ring more than once in a ms
    db.flushall()
    assert pool.read()[0] == 0
    assert pool.expire()[0] > before and pool.put() > before


def test_a_draining_member_that_gets_full_does_not_change_the_ring(pool, heard):
    pool.put(status="draining")
    heard()
    assert pool.beat(CAPACITY) == 1
    assert heard() == []


def test_draining_twice_is_one_change(pool, heard):
    pool.put()
    heard()
    assert pool.put(status="draining") == pool.put(status="draining")
    assert len(heard()) == 1


def test_a_version_that_is_there_counts_on_whatever_the_clock_says(db, pool):
    db.set(VERSION, 10 ** 15)
    assert [pool.put(), pool.put(load=1)] == [10 ** 15 + 1, 10 ** 15 + 2]
    assert pool.read()[0] == 10 ** 15 + 2 == pool.expire()[0]


# --- beat ---

def test_a_heartbeat_says_that_a_member_is_there_and_changes_nothing_else(db, pool, heard, about):
    pool.put(load=3)
    pool.age(5000, "m")
    before = pool.state()
    heard()
    assert [pool.beat(), pool.beat(3), pool.beat("")] == [1, 1, 1]
    assert pool.state() == before and heard() == []
    assert about(db.zscore(SEEN, "m"), 0)


@pytest.mark.parametrize("id, address", [("m", BOB), ("m", ALICE + "0"), ("m", ALICE[:-1]), ("m", ""), ("M", ALICE),
                                         ("nobody", ALICE), ("", ALICE)])
def test_a_heartbeat_of_nobody_or_from_elsewhere_does_not_count(pool, heard, id, address):
    pool.put(load=3)
    pool.age(5000, "m")
    before, seen = pool.state(), pool.read()[4]
    heard()
    assert [pool.beat("", id, address), pool.beat(CAPACITY, id, address)] == [0, 0]
    assert pool.state() == before and pool.read()[4] == seen and heard() == []


def test_a_heartbeat_after_the_end_brings_nobody_back(db, pool, heard):
    pool.put()
    pool.remove()
    heard()
    assert [pool.beat(), pool.beat(CAPACITY)] == [0, 0]
    assert sorted(db.keys()) == [VERSION, WATCH] and heard() == []


def test_the_heartbeat_of_who_lost_its_id_does_not_keep_the_successor_alive(pool):
    pool.put()
    pool.put(address=BOB, since=SINCE + 1)
    pool.age(SILENCE + 1, "m")
    assert pool.beat() == 0
    assert pool.expire()[1] == ["m"]


@pytest.mark.parametrize("capacity, before, load, changes", [
    (10, 0, 1, 0), (10, 0, 9, 0), (10, 9, 0, 0), (10, 9, 9, 0), (10, 9, 10, 1), (10, 0, 10 ** 9, 1), (10, 10, 10, 0),
    (10, 10, 11, 0), (10, 11, 10, 0), (10, 10, 9, 1), (10, 10 ** 9, 0, 1), (10, 2, 19, 1), (1, 0, 1, 1), (1, 1, 0, 1),
    (0, 0, 1, 0), (0, 1, 0, 0), (10 ** 9, 10 ** 9 - 1, 10 ** 9, 1)])
def test_the_ring_changes_when_a_member_gets_full_or_has_room_again(pool, heard, capacity, before, load, changes):
    number = pool.put(load=before, capacity=capacity)
    heard()
    assert pool.beat(load) == 1
    assert pool.read()[3] == {"m": str(load)}
    assert pool.version() == number + changes and heard() == [number + 1] * changes
    assert pool.beat(load) == 1
    assert pool.version() == number + changes and heard() == [], "the same once more is no change"


def test_each_time_it_gets_full_or_has_room_again_is_one_change(pool, heard):
    number = pool.put()
    heard()
    for load in 9, 10, 12, "", 11, 9, 8, 10, "", 0:
        assert pool.beat(load) == 1
    assert heard() == [number + 1, number + 2, number + 3, number + 4] and pool.version() == number + 4


def test_what_full_means_follows_the_last_put(pool, heard):
    pool.put(load=5)
    number = pool.put(load=5, capacity=4)
    heard()
    assert pool.beat(6) == 1 and heard() == []
    assert pool.beat(3) == 1 and heard() == [number + 1]


def test_the_load_of_one_member_is_nothing_to_another(pool, heard):
    pool.put(), pool.put("other", BOB, load=7)
    heard()
    pool.beat(4)
    assert pool.read()[3] == {"m": "4", "other": "7"} and heard() == []
    pool.beat(10)
    assert len(heard()) == 1


def test_a_member_that_drains_beats_on(db, pool, about):
    number = pool.put(status="draining", load=3)
    pool.age(5000, "m")
    assert [pool.beat(), pool.beat(4)] == [1, 1]
    assert pool.state() == ({"m": record()}, {"m": f"{ALICE} draining {SINCE}"}, {"m": "4"}, {"m"}, number)
    assert about(db.zscore(SEEN, "m"), 0)
    assert pool.beat("", "m", BOB) == 0


# --- remove ---

def test_who_leaves_is_gone_everywhere_and_that_is_one_change(db, pool, heard):
    pool.put("other", BOB)
    others, number = pool.state(), pool.put()
    heard()
    assert pool.remove() == 1
    assert pool.state() == (*others[:-1], number + 1) and heard() == [number + 1]
    assert pool.remove("other", BOB) == 1
    assert sorted(db.keys()) == [VERSION, WATCH] and heard() == [number + 2]


@pytest.mark.parametrize("status", ["healthy", "draining"])
@pytest.mark.parametrize("id, address", [("m", BOB), ("m", ALICE + "0"), ("m", ALICE[:-1]), ("m", ""),
                                         ("nobody", ALICE), ("", ALICE)])
def test_only_who_is_there_at_that_address_leaves(pool, heard, status, id, address):
    pool.put(status=status)
    before = pool.state()
    heard()
    assert pool.remove(id, address) == 0
    assert pool.state() == before and heard() == []
    assert pool.remove() == 1


def test_leaving_twice_does_no_harm(pool, heard):
    pool.put()
    heard()
    assert [pool.remove() for _ in range(3)] == [1, 0, 0]
    assert len(heard()) == 1


def test_a_late_removal_spares_the_successor(pool, heard):
    pool.put()
    pool.put(address=BOB, since=SINCE + 1)
    before = pool.state()
    heard()
    assert pool.remove() == 0
    assert pool.state() == before and heard() == []


def test_a_removal_in_an_empty_redis_leaves_it_empty(db, pool, heard):
    assert [pool.remove(), pool.beat(), pool.beat(5)] == [0, 0, 0]
    assert db.keys() == [WATCH] and heard() == []


# --- expire ---

def test_there_may_be_nobody_to_expire(db, pool, heard):
    first, silent = pool.expire()
    assert silent == [] and pool.expire() == [first, []] and heard() == []
    assert sorted(db.keys()) == [VERSION, WATCH], "a version, so that one that Redis has lost is one again"
    number = pool.put()
    assert number == first + 1
    before = pool.state()
    assert heard() == [number]
    assert pool.expire() == [number, []] == pool.expire(0)
    assert pool.state() == before and heard() == []


def test_who_was_silent_for_too_long_leaves_and_that_is_one_change(db, pool, heard):
    for id in "a", "b", "c":
        number = pool.put(id)
    pool.age(SILENCE + 500, "a", "c")
    pool.age(SILENCE - 500, "b")
    heard()
    assert pool.expire() == [number + 1, ["a", "c"]]
    assert [set(one) for one in pool.state()[:4]] == [{"b"}] * 4
    assert heard() == [number + 1] == [pool.version()]
    assert pool.expire() == [number + 1, []] and heard() == []
    pool.age(SILENCE, "b")
    assert pool.expire() == [number + 2, ["b"]]
    assert sorted(db.keys()) == [VERSION, WATCH] and pool.expire() == [number + 2, []]


def test_a_heartbeat_in_time_keeps_a_member(pool):
    pool.put()
    pool.age(SILENCE + 500, "m")
    assert pool.beat() == 1
    assert pool.expire()[1] == []


def test_a_member_that_drains_expires_like_any_other(db, pool):
    number = pool.put(status="draining")
    pool.age(SILENCE + 1, "m")
    assert pool.expire() == [number + 1, ["m"]] and sorted(db.keys()) == [VERSION, WATCH]


def test_no_more_than_so_many_expire_at_once_and_who_was_silent_longest_is_first(pool, heard):
    ids = [f"m{i}" for i in range(5)]
    for i, id in enumerate(ids):
        number = pool.put(id)
    for i, id in enumerate(ids):
        pool.age(9000 - i * 1000, id)
    heard()
    assert [pool.expire(2) for _ in range(4)] == [[number + 1, ids[:2]], [number + 2, ids[2:4]],
                                                  [number + 3, ids[4:]], [number + 3, []]]
    assert heard() == [number + 1, number + 2, number + 3]


def test_a_full_batch_of_the_longest_ids_expires_at_once(db, pool, heard):
    ids = {f"{i:03}" + "x" * 253 for i in range(100)}
    for id in ids:
        number = pool.put(id)
    pool.put("stays")
    pool.age(SILENCE + 1, *ids)
    heard()
    now, silent = pool.expire(100)
    assert (now, set(silent), heard()) == (number + 2, ids, [number + 2])
    assert [set(one) for one in pool.state()[:4]] == [{"stays"}] * 4


# --- read ---

def test_there_may_be_no_members(db, pool):
    assert pool.read() == (0, {}, {}, {}, {})
    assert db.keys() == [WATCH]
    number = pool.put()
    pool.remove()
    assert pool.read() == (number + 1, {}, {}, {}, {})


def test_a_read_has_every_member_and_the_version(db, pool, heard):
    pool.put("a", load=1), pool.put("b", BOB, SINCE + 5, status="draining", load=2, capacity=7)
    number = pool.put("c", entry=record("c", region="eu"))
    heard()
    before = pool.state()
    found, members, at, loads, seen = pool.read()
    assert (found, loads) == (number, {"a": "1", "b": "2", "c": "0"})
    assert members == {"a": record("a"), "b": record("b", 7), "c": record("c", region="eu")}
    assert at == {"a": f"{ALICE} healthy {SINCE}", "b": f"{BOB} draining {SINCE + 5}", "c": f"{ALICE} healthy {SINCE}"}
    assert seen == {id: f"{score:.0f}" for id, score in db.zrange(SEEN, 0, -1, withscores=True)}
    assert pool.state() == before and heard() == [], "whoever reads changes nothing"


def test_times_are_read_in_whole_ms(pool):
    pool.put()
    assert pool.read()[4]["m"].isdecimal()


# --- whatever its id ---

@pytest.mark.parametrize("id", IDS)
def test_any_id_may_be_that_of_a_member(db, pool, heard, about, id):
    pool.put("other", BOB)
    number = pool.put(id, load=9)
    found, members, at, loads, seen = pool.read()
    assert found == number and json.loads(members[id])["id"] == id
    assert (at[id], loads[id]) == (f"{ALICE} healthy {SINCE}", "9") and about(int(seen[id]), 0)
    assert pool.put(id, BOB, SINCE - 1) == 0
    heard()
    assert [pool.beat(10, id, BOB), pool.beat(10, id), pool.remove(id, BOB)] == [0, 1, 0]
    pool.put(id, status="draining")
    pool.age(SILENCE + 1, id)
    assert pool.expire() == [number + 3, [id]]
    pool.put(id)
    assert pool.remove(id) == 1
    assert heard() == [number + 1, number + 2, number + 3, number + 4, number + 5]
    assert [set(one) for one in pool.state()[:4]] == [{"other"}] * 4


def test_ids_that_look_alike_are_not_the_same(pool):
    for id in IDS:
        pool.put(id)
    assert [set(one) for one in pool.read()[1:]] == [set(IDS)] * 4
    assert all(pool.remove(id) == 1 for id in IDS)


# --- when Redis was away ---

def test_nobody_is_called_silent_before_it_was_looked_for_them_long_enough(db, pool, heard):
    db.delete(WATCH)
    number = pool.put()
    pool.age(5000, "m")
    heard()
    assert pool.expire() == [number, []]
    pool.watched(for_ms=SILENCE // 2)
    assert pool.expire() == [number, []] and heard() == []
    pool.watched(for_ms=SILENCE)
    assert pool.expire() == [number + 1, ["m"]]


def test_after_a_pause_all_have_their_time_once_more(db, pool):
    number = pool.put()
    pool.age(5000, "m")
    seconds, micros = db.time()
    db.hset(WATCH, "last", seconds * 1000 + micros // 1000 - PAUSE - 50)
    assert pool.expire() == [number, []] == pool.expire(silence=100)
    begun = time.monotonic()
    while time.monotonic() - begun < 0.12:
        answer = pool.expire(silence=100)
    assert answer in ([number + 1, ["m"]], [number + 1, []])


def test_the_pool_is_born_once(db, pool, now):
    before = now()
    pool.put()
    born = int(db.hget(WATCH, "born"))
    assert before <= born <= now()
    pool.put("b")
    pool.expire()
    assert pool.read()[0] and int(db.hget(WATCH, "born")) == born


def test_who_was_heard_before_the_clock_was_set_back_counts_as_heard_now(db, pool, now):
    pool.put("a")
    pool.put("b")
    pool.watched()
    db.zadd(SEEN, {"a": now() + 60000})
    db.hset(WATCH, mapping={"last": now() + 60000, "from": now() + 50000})
    assert pool.expire()[1] == []
    assert db.zscore(SEEN, "a") <= now() and int(db.hget(WATCH, "from")) <= now()
    pool.watched()
    pool.age(SILENCE + 1, "a")
    assert pool.expire()[1] == ["a"]
