# SPDX-License-Identifier: MIT
"""relay/: the registry of relays, its totals, and the choice among them."""
import collections
import itertools
import random

import pytest

from .names import IDS, key

KEYS = ALL, FREE, TOTALS = [key("RELAYS"), key("RELAYS_FREE"), key("RELAYS_TOTALS")]
HERE, THERE = "1f0c9a3e.1", "1f0c9a3e.12"
PUBLIC_KEYS = ["", "pk", "two words", " leading and trailing ", "-----BEGIN KEY-----\nMCow BQYD\n-----END KEY-----\n",
               "100% %s", "9 9 9", "\"'\\", "caf\u00e9\U0001f600", "x" * 4096]


@pytest.fixture
def relays(db, call):
    return Relays(db, call)


class Relays:
    """The scripts, and after each of them a look at whether the three keys agree."""

    def __init__(self, db, call):
        self.db, self.call = db, call

    def put(self, peer, address=HERE, max_connections=20, public_key="", connected=0):
        return self.checked("relay/put", peer, address, max_connections, public_key, connected)

    def load(self, peer, connected, address=HERE):
        return self.checked("relay/load", peer, address, connected)

    def remove(self, peer, address=HERE):
        return self.checked("relay/remove", peer, address)

    def checked(self, *args):
        [reply] = self.call(args[0], KEYS, *args[1:])
        self.check()
        return reply

    def records(self):
        """{peer: (address, connected, max, public key)}"""
        split = {peer: record.split(" ", 3) for peer, record in self.db.hgetall(ALL).items()}
        return {peer: (a, int(c), int(m), public_key) for peer, (a, c, m, public_key) in split.items()}

    def check(self):
        records = self.records()
        free = {peer for peer, (_, connected, most, _) in records.items() if connected * 2 < most}
        assert self.db.zrange(FREE, 0, -1, withscores=True) == [(peer, 0) for peer in sorted(free)]
        capacity, connected = (sum(record[i] for record in records.values()) for i in (2, 1))
        assert [int(n or 0) for n in self.db.hmget(TOTALS, "capacity", "connected")] == [capacity, connected]
        assert self.call("relay/census", KEYS) == [len(records), capacity, connected, len(free)]
        if not records:
            assert self.db.dbsize() == 0

    def pick(self, count, seed=1):
        [found] = self.call("relay/pick", [FREE, ALL], count, seed)
        assert len(found) % 2 == 0
        return dict(zip(found[0::2], found[1::2])) if found else {}


def test_nothing_is_counted_where_nothing_is(relays):
    relays.check()


def test_a_relay_is_put_and_counted(relays):
    assert relays.put("a", max_connections=50, public_key="pk") == 0
    assert relays.records() == {"a": (HERE, 0, 50, "pk")}


def test_putting_it_twice_changes_nothing(relays):
    relays.put("a", max_connections=50)
    before = relays.records()
    assert relays.put("a", max_connections=50) == 0
    assert relays.records() == before


def test_the_connected_count_survives_a_second_register_from_wherever(relays):
    relays.put("a", max_connections=20)
    relays.load("a", 9)
    assert relays.put("a", THERE, 100, "new") == 9
    assert relays.records() == {"a": (THERE, 9, 100, "new")}


@pytest.mark.parametrize("connected, most, free", [
    (0, 1, True), (1, 1, False), (0, 2, True), (1, 2, False), (2, 5, True), (3, 5, False), (9, 20, True),
    (10, 20, False), (20, 20, False), (500, 20, False), (499999, 1000000, True), (500000, 1000000, False)])
def test_below_half_load_is_free(db, relays, connected, most, free):
    relays.put("a", max_connections=most)
    relays.load("a", connected)
    assert db.zcard(FREE) == free
    relays.load("a", 0)
    assert db.zcard(FREE) == 1
    relays.load("a", connected)
    relays.put("a", max_connections=most)
    assert db.zcard(FREE) == free
    assert list(relays.pick(10)) == ["a"] * free


def test_a_load_said_twice_counts_once(relays):
    relays.put("a")
    assert relays.load("a", 7) == relays.load("a", 7) == 1
    assert relays.records()["a"][1] == 7


@pytest.mark.parametrize("address", [THERE, "", HERE + "0", HERE[:-1], "."])
def test_nobody_else_changes_or_removes_a_relay(relays, address):
    relays.put("a")
    relays.load("a", 3)
    before = relays.records()
    assert relays.load("a", 5, address) == 0
    assert relays.remove("a", address) == 0
    assert relays.records() == before


def test_an_unknown_relay_has_no_load_and_cannot_be_removed(relays):
    assert relays.load("a", 5) == 0
    assert relays.remove("a") == 0
    relays.put("b")
    assert relays.load("a", 5) == 0
    assert relays.remove("a") == 0


def test_removing_it_takes_its_numbers_along(relays):
    relays.put("a", max_connections=30)
    relays.put("b", max_connections=7)
    relays.load("a", 5)
    relays.load("b", 2)
    assert relays.remove("a") == 1
    assert relays.remove("a") == 0
    assert relays.remove("b") == 1


def test_an_idle_relay_leaves_while_another_stays(relays):
    relays.put("a")
    relays.put("b")
    assert relays.remove("a") == 1
    assert set(relays.records()) == {"b"}


def test_totals_that_were_lost_do_not_outlive_the_relays(db, relays):
    relays.put("a")
    db.hset(TOTALS, "capacity", 12345)
    assert relays.remove("a") == 1


@pytest.mark.parametrize("public_key", PUBLIC_KEYS)
def test_any_public_key_is_kept(relays, public_key):
    relays.put("a", public_key=public_key)
    relays.load("a", 3)
    assert relays.records()["a"] == (HERE, 3, 20, public_key)
    assert relays.put("a", public_key=public_key) == 3
    assert relays.pick(1) == {"a": f"{HERE} 3 20 {public_key}"}
    assert relays.remove("a") == 1


@pytest.mark.parametrize("id", IDS)
def test_any_id_will_do(relays, id):
    assert relays.put(id) == 0
    assert relays.load(id, 4) == 1
    assert relays.pick(5) == {id: f"{HERE} 4 20 "}
    assert relays.put(id) == 4
    assert relays.remove(id) == 1


def test_numbers_stay_whole_up_to_the_greatest(relays):
    relays.put("a", max_connections=1000000)
    relays.put("b", max_connections=1000000)
    for connected in 10 ** 15, 2 ** 53 - 1, 2 ** 53, 1, 0, 2 ** 53:
        assert relays.load("a", connected) == 1
        assert relays.records()["a"][1] == connected
    assert relays.remove("a") == 1


def test_however_much_the_others_claim_a_load_is_noted(relays, call):
    """connectedCount is at most 10^9, so that no fleet's sum is more than a Redis integer holds."""
    relays.put("honest")
    for i in range(1030):
        call("relay/put", KEYS, f"relay-{i}", THERE, 20, "", 0)
        assert call("relay/load", KEYS, f"relay-{i}", THERE, 10 ** 9) == [1]
    assert call("relay/load", KEYS, "honest", HERE, 3) == [1]
    assert relays.records()["honest"][1] == 3


def test_a_thousand_random_changes_keep_the_totals(relays):
    chance, expected = random.Random(7), {}
    for _ in range(1000):
        peer, address = chance.choice("abcdefgh"), chance.choice([HERE, THERE])
        address_of, connected, most = expected.get(peer, ("", 0, 0))
        match chance.choice(["put", "load", "remove"]):
            case "put":
                most = chance.randint(1, 30)
                assert relays.put(peer, address, most) == connected
                expected[peer] = address, connected, most
            case "load":
                connected = chance.randint(0, 40)
                assert relays.load(peer, connected, address) == (address_of == address)
                if address_of == address:
                    expected[peer] = address, connected, most
            case "remove":
                assert relays.remove(peer, address) == (address_of == address)
                if address_of == address:
                    del expected[peer]
        assert {peer: record[:3] for peer, record in relays.records().items()} == expected


def test_there_may_be_nothing_to_pick(relays):
    assert relays.pick(10) == {}
    relays.put("busy", max_connections=1)
    relays.load("busy", 1)
    assert relays.pick(10) == {}


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 100, 5000])
def test_as_many_are_picked_as_are_wanted_and_there(db, relays, count):
    for i in range(10):
        relays.put(f"relay-{i}")
    relays.put("busy", max_connections=1)
    relays.load("busy", 1)
    found = relays.pick(count)
    assert len(found) == min(count, 10)
    assert found == {peer: db.hget(ALL, peer) for peer in found}
    assert "busy" not in found


def test_a_thousand_relays_can_be_picked_without_repeats(db, call):
    for i in range(1000):
        call("relay/put", KEYS, f"relay-{i}", HERE, 20, "", 0)
    for seed in range(20):
        [found] = call("relay/pick", [FREE, ALL], 400, seed * 99991)
        assert len(set(found[0::2])) == 400


def test_a_relay_without_a_record_has_an_empty_one(db, relays):
    db.zadd(FREE, {"ghost": 0})
    assert relays.pick(5) == {"ghost": ""}


def chi_square(seen, outcomes, expected):
    assert set(seen) <= set(outcomes)
    return sum((seen[outcome] - expected) ** 2 / expected for outcome in outcomes)


def test_each_choice_and_order_is_as_likely_as_any_other(relays):
    """3 of 6, in order: 120 outcomes. 168 is what chi-square exceeds once in 500 times; the seeds are fixed."""
    peers, rounds = "abcdef", 6000
    for peer in peers:
        relays.put(peer)
    chance = random.Random(42)
    orders = collections.Counter(tuple(relays.pick(3, chance.getrandbits(31))) for _ in range(rounds))
    outcomes = list(itertools.permutations(peers, 3))
    assert chi_square(orders, outcomes, rounds / len(outcomes)) < 168
    sets = collections.Counter()
    for order, n in orders.items():
        sets[frozenset(order)] += n
    assert chi_square(sets, [frozenset(c) for c in itertools.combinations(peers, 3)], rounds / 20) < 41


def test_the_seed_decides(relays):
    for i in range(50):
        relays.put(f"relay-{i}")
    assert list(relays.pick(10, 5)) == list(relays.pick(10, 5))
    assert len({tuple(relays.pick(10, seed)) for seed in (0, 1, 2, 2 ** 30, 2 ** 31 - 1)}) == 5


def test_a_relay_that_redis_has_lost_comes_back_with_its_connections(relays):
    assert relays.put("a", connected=7) == 7
    assert relays.records()["a"] == (HERE, 7, 20, "")
    assert relays.put("a", connected=3) == 7, "what is there counts"
