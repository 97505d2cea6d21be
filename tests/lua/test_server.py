# SPDX-License-Identifier: MIT
"""server/: the list of servers, and who may change an entry."""
import pytest

from .names import IDS, key

KEYS = ENTRIES, SEEN = [key("SERVERS"), key("SERVERS_SEEN")]
TTL = 60000
ENTRY, OTHER = '{"serverId":"s","publicKey":"k %s"', '{"serverId":"s","publicKey":"caf\u00e9"'


@pytest.fixture
def servers(db, call):
    return Servers(db, call)


class Servers:
    def __init__(self, db, call):
        self.db, self.call = db, call

    def put(self, id="s", entry=ENTRY, looked="*", ttl=TTL):
        done, self.now = self.call("server/put", KEYS, id, entry, ttl, looked)
        return done

    def find(self, id="s", ttl=TTL):
        entry, self.now = self.call("server/find", KEYS, id, ttl)
        return entry

    def list(self, seen="", looked="*", ttl=TTL):
        """{entry: when it was last seen}, or None if the one that is seen now is not there"""
        there, self.now, flat = self.call("server/list", KEYS, ttl, seen, looked)
        assert there or not flat
        return dict(zip(flat[0::2], map(int, flat[1::2]))) if there else None

    def remove(self, id="s", looked="*", ttl=TTL):
        [gone] = self.call("server/remove", KEYS, id, ttl, looked)
        return gone

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
    assert servers.list("s") is None and about(servers.now, 0)
    assert servers.remove() == 1
    assert db.dbsize() == 0


def test_a_server_is_registered_dated_and_found(db, servers, about):
    assert servers.put() == 1
    put, entry = servers.now, f'{ENTRY},"registeredAt":{servers.now}'
    assert about(put, 0)
    assert servers.state() == ({"s": entry}, [("s", put)])
    assert servers.find() == entry and servers.now >= put
    assert servers.list() == {entry: put}
    assert all(TTL - 1000 < db.pttl(name) <= TTL for name in KEYS), "nothing stays when nobody writes any more"


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
    assert servers.list("s") == ({} if fresh else None)
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


def test_who_is_seen_is_left_out_of_its_own_list(db, servers):
    for id in "abc":
        servers.put(id, f'{{"serverId":"{id}"')
    servers.age(5000, *"abc")
    before = servers.state()
    assert set(servers.list("b")) == {servers.entry("a"), servers.entry("c")}
    assert db.zscore(SEEN, "b") == servers.now
    assert db.zrange(SEEN, 0, -1) == ["a", "c", "b"] and db.hgetall(ENTRIES) == before[0]
    assert set(servers.list("c", servers.entry("c"))) == {servers.entry("a"), servers.entry("b")}


@pytest.mark.parametrize("looked", ["", ENTRY, OTHER])
def test_nobody_is_seen_with_an_entry_that_was_not_looked_at(servers, looked):
    servers.put()
    servers.age(5000, "s")
    before = servers.state()
    assert servers.list("s", looked) is None
    assert servers.list("nobody", looked) is None
    assert servers.list("nobody") is None
    assert servers.state() == before


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
    assert db.dbsize() == 0


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
    assert servers.list(id, servers.entry(id)) == {}
    assert servers.remove(id, servers.entry(id)) == 1
    assert db.dbsize() == 0
