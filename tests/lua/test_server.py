# SPDX-License-Identifier: MIT
"""server/: the list of servers, and who may change an entry."""
import pytest

from .names import IDS, key

KEYS = ENTRIES, SEEN, CHANGED, SIGNED = [key(name) for name in ("SERVERS", "SERVERS_SEEN", "SERVERS_CHANGED", "SERVERS_SIGNED")]
TTL = 60000
ENTRY, OTHER = '{"serverId":"s","publicKey":"k %s"', '{"serverId":"s","publicKey":"caf\u00e9"'


@pytest.fixture
def servers(db, call):
    return Servers(db, call)


class Servers:
    def __init__(self, db, call):
        self.db, self.call = db, call

    def write(self, id="s", entry=ENTRY, looked="*", ttl=TTL, most=1000, timestamp=""):
        outcome, self.now = self.call("server/put", KEYS, id, entry, ttl, looked, most, timestamp)
        return outcome

    def put(self, *args, **options):
        return {"done": 1, "changed": 0}[self.write(*args, **options)]

    def find(self, id="s", ttl=TTL):
        entry, self.now = self.call("server/find", KEYS[:2], id, ttl)
        return entry

    def beat(self, id="s", looked="*", ttl=TTL, timestamp=""):
        return self.call("server/beat", KEYS, id, ttl, looked, timestamp)[0]

    def read(self, known="-", ttl=TTL, most=1000):
        """({id: (entry, when it was last seen)} or None where nothing has changed, number of the change)"""
        new, self.now, number, flat = self.call("server/list", KEYS[:3], ttl, known, most)
        assert new or not flat
        return dict(zip(flat[0::3], zip(flat[1::3], map(int, flat[2::3])))) if new else None, number

    def list(self):
        """{entry: when it was last seen}"""
        return dict(self.read()[0].values())

    def remove(self, id="s", looked="*", ttl=TTL):
        return {"done": 1, "changed": 0}[self.unlist(id, looked, ttl)]

    def unlist(self, id="s", looked="*", ttl=TTL, timestamp=""):
        [outcome] = self.call("server/remove", KEYS, id, ttl, looked, timestamp)
        return outcome

    def entry(self, id="s"):
        return self.db.hget(ENTRIES, id) or ""

    def age(self, ms, *ids):
        """They were last seen that long ago."""
        seconds, micros = self.db.time()
        self.db.zadd(SEEN, {id: seconds * 1000 + micros // 1000 - ms for id in ids}, xx=True)

    def state(self):
        return self.db.hgetall(ENTRIES), self.db.zrange(SEEN, 0, -1, withscores=True)


def test_there_may_be_no_servers(db, servers, about):
    assert servers.find() == "" and about(servers.now, 0)
    assert servers.list() == {} and about(servers.now, 0)
    assert servers.beat() == "gone"
    assert servers.remove() == 1
    assert db.dbsize() == 0


def test_a_server_is_registered_dated_and_found(db, servers, about):
    assert servers.put() == 1
    put, entry = servers.now, f'{ENTRY},"registeredAt":{servers.now}'
    assert about(put, 0)
    assert servers.state() == ({"s": entry}, [("s", put)])
    assert servers.find() == entry and servers.now >= put
    assert servers.list() == {entry: put}
    assert all(TTL - 1000 < db.pttl(name) <= TTL for name in KEYS[:3]), "nothing stays when nobody writes any more"


def test_registering_again_replaces_its_entry(servers):
    servers.put()
    servers.age(1000, "s")
    assert servers.put(entry=OTHER) == 1
    assert servers.state() == ({"s": f'{OTHER},"registeredAt":{servers.now}'}, [("s", servers.now)])


@pytest.mark.parametrize("there, looked, done", [
    ("none", "*", 1), ("none", "", 1), ("none", "its own", 0), ("none", "another", 0),
    ("fresh", "*", 1), ("fresh", "", 0), ("fresh", "its own", 1), ("fresh", "another", 0),
    ("ended", "*", 1), ("ended", "", 1), ("ended", "its own", 0), ("ended", "another", 0)])
def test_an_entry_is_replaced_only_by_who_has_looked_at_it(servers, there, looked, done):
    if there != "none":
        servers.put()
    before = servers.entry()
    if there == "ended":
        servers.age(TTL, "s")
    assert servers.put(entry=OTHER, looked={"its own": before or ENTRY, "another": OTHER}.get(looked, looked)) == done
    after = f'{OTHER},"registeredAt":{servers.now}' if done else before if there == "fresh" else ""
    assert servers.find() == after


def test_of_two_who_looked_at_the_same_entry_the_first_replaces_it(servers):
    servers.put()
    looked = servers.entry()
    assert [servers.put(entry=OTHER, looked=looked) for _ in range(2)] == [1, 0]
    assert servers.put("t", looked="") == 1
    assert servers.put("t", looked="") == 0


@pytest.mark.parametrize("age, fresh", [
    (0, True), (TTL - 1000, True), (TTL, False), (TTL + 1, False), (10 * TTL, False)])
def test_an_entry_ends_when_it_was_not_seen_for_long_enough(servers, age, fresh):
    servers.put()
    servers.age(age, "s")
    entry = servers.entry()
    assert servers.find() == (entry if fresh else "")
    assert list(servers.list()) == [entry] * fresh
    assert servers.beat() == ("done" if fresh else "gone")
    assert servers.find() == (entry if fresh else ""), "one that ended is not seen again"
    assert servers.remove(looked="") == (not fresh)


def test_all_that_are_fresh_are_listed(servers):
    expected = {}
    for i in range(300):
        servers.put(f"s{i}", f'{{"serverId":"s{i}"')
        expected[servers.entry(f"s{i}")] = servers.now
    ended = servers.entry("s7")
    servers.age(TTL, "s7")
    del expected[ended]
    assert servers.list() == expected


def test_who_is_seen_is_fresh_again_and_nothing_else_changes(db, servers, about):
    for id in "abc":
        servers.put(id, f'{{"serverId":"{id}"')
    servers.age(5000, *"abc")
    before, number = servers.state(), servers.read()[1]
    assert servers.beat("b") == servers.beat("b", servers.entry("b")) == "done"
    assert about(db.zscore(SEEN, "b"), 0) and db.zrange(SEEN, 0, -1) == ["a", "c", "b"]
    assert db.hgetall(ENTRIES) == before[0] and servers.read(number) == (None, number)
    assert servers.read()[0].keys() == set("abc")


@pytest.mark.parametrize("looked", ["", ENTRY, OTHER])
def test_nobody_is_seen_with_an_entry_that_was_not_looked_at(servers, looked):
    servers.put()
    servers.age(5000, "s")
    before = servers.state()
    assert servers.beat("s", looked) == servers.beat("nobody", looked) == servers.beat("nobody") == "gone"
    assert servers.state() == before


def test_a_list_is_told_to_whom_it_is_new(servers):
    assert servers.read("") == (None, ""), "there never was one"
    servers.put()
    listed, number = servers.read()
    assert listed == {"s": (servers.entry(), listed["s"][1])} and servers.read(number) == (None, number)
    for change in lambda: servers.put("t"), servers.put, lambda: servers.remove("t"):
        change()
        listed, after = servers.read(number)
        assert listed and after != number and servers.read(after) == (None, after)
        number = after
    servers.remove("nobody")
    assert servers.read(number) == (None, number), "nothing was there"


def test_so_many_are_listed_at_most(db, servers):
    assert [servers.write(f"s{i}", most=3) for i in range(5)] == ["done"] * 3 + ["full"] * 2
    assert servers.write("s1", OTHER, most=3) == "done", "it is there already"
    assert db.hlen(ENTRIES) == db.zcard(SEEN) == 3
    assert len(servers.read(most=2)[0]) == 2
    servers.age(TTL, "s2")
    assert [servers.write(f"t{i}", most=3) for i in range(2)] == ["done", "full"], "what ended makes room"
    servers.remove("t0")
    assert servers.write("u", most=3) == "done"


def test_a_signed_write_is_newer_than_the_one_before(servers, now):
    at = now()
    assert [servers.write(timestamp=at + ms) for ms in (0, 0, -1, 1)] == ["done", "replay", "replay", "done"]
    assert [servers.beat(timestamp=at + ms) for ms in (1, 2, 2)] == ["replay", "done", "replay"]
    assert servers.write("t", timestamp=at) == "done", "of another server"
    assert servers.unlist(timestamp=at + 2) == "replay" and servers.entry()
    assert servers.unlist(timestamp=at + 3) == "done" and not servers.entry()


def test_a_write_from_before_a_removal_brings_nothing_back(db, servers, now):
    at = now()
    servers.write(timestamp=at)
    assert servers.unlist(timestamp=at + 60_000) == "done"
    assert servers.write(timestamp=at) == servers.write(timestamp=at + 60_000) == "replay"
    assert 120_000 < db.pttl(SIGNED) <= 240_000
    assert servers.unlist(timestamp=at) == "done", "nothing is there, and nothing changes"
    assert db.zscore(SIGNED, "s") == at + 60_000
    assert servers.write(timestamp=at + 60_001) == "done"


def test_what_is_not_there_gets_no_timestamp(db, servers, now):
    servers.unlist(timestamp=now() + 60_000)
    assert servers.beat(timestamp=now() + 60_000) == "gone"
    assert not db.exists(SIGNED)
    assert servers.write(timestamp=now()) == "done"


def test_timestamps_that_nobody_can_use_any_more_are_forgotten(db, servers, now):
    db.zadd(SIGNED, {"old": now() - 121_000, "late": now() - 110_000})
    servers.write(timestamp=now())
    assert db.zrange(SIGNED, 0, -1) == ["late", "s"]


def test_removed_servers_leave_so_many_timestamps_at_most(db, servers, now):
    outcomes = []
    for i in range(7):
        outcomes.append(servers.write(f"s{i}", most=3, timestamp=now()))
        servers.unlist(f"s{i}", timestamp=now() + 1)
    assert outcomes == ["done"] * 6 + ["full"] and db.zcard(SIGNED) == 6


@pytest.mark.parametrize("looked, gone", [("*", 1), ("its own", 1), ("", 0), (ENTRY, 0), (OTHER, 0)])
def test_an_entry_is_removed_only_by_who_has_looked_at_it(servers, looked, gone):
    servers.put()
    before = servers.state()
    assert servers.remove(looked=servers.entry() if looked == "its own" else looked) == gone
    assert servers.state() == (({}, []) if gone else before)


@pytest.mark.parametrize("looked", ["*", "", ENTRY])
def test_what_is_not_there_or_has_ended_can_be_removed_any_time(db, servers, looked):
    assert servers.remove(looked=looked) == 1
    servers.put()
    servers.age(TTL, "s")
    assert [servers.remove(looked=looked) for _ in range(2)] == [1, 1]
    assert db.keys() == [CHANGED] and db.pttl(CHANGED) > 0


def test_registering_forgets_a_hundred_that_ended_the_oldest_first(db, servers):
    for i in range(150):
        servers.put(f"s{i}")
    servers.put("fresh")
    for i in range(150):
        servers.age(2 * TTL - i, f"s{i}")
    assert servers.put("t", looked="x") == 0
    left = {f"s{i}" for i in range(100, 150)} | {"fresh"}
    assert set(db.hkeys(ENTRIES)) == set(db.zrange(SEEN, 0, -1)) == left
    assert servers.put("s149") == 1
    assert set(db.hkeys(ENTRIES)) == set(db.zrange(SEEN, 0, -1)) == {"fresh", "s149"}


@pytest.mark.parametrize("looked, done", [("", 1), ("its own", 0)])
def test_one_that_ended_and_was_not_forgotten_yet_counts_as_none(servers, looked, done):
    for id in ["s", *(f"s{i}" for i in range(100))]:
        servers.put(id)
    servers.age(2 * TTL, *(f"s{i}" for i in range(100)))
    servers.age(TTL + 5000, "s")
    entry = servers.entry()
    assert servers.put(entry=OTHER, looked=looked and entry) == done
    assert servers.entry() == (f'{OTHER},"registeredAt":{servers.now}' if done else entry)


@pytest.mark.parametrize("id", IDS)
def test_any_id_will_do(db, servers, id):
    assert servers.put(id) == 1
    assert servers.find(id) == servers.entry(id)
    assert list(servers.list()) == [servers.entry(id)]
    assert servers.put(id, OTHER, servers.entry(id)) == 1
    assert servers.beat(id, servers.entry(id)) == "done" and list(servers.read()[0]) == [id]
    assert servers.remove(id, servers.entry(id)) == 1
    assert db.keys() == [CHANGED]
