# SPDX-License-Identifier: MIT
"""One drop for many points: Redis keeps it once."""
import pytest

from harness import DEFAULT_LIMITS, uid, wait_until

DROP = "x" * 16_000


def register(client, peer, points=(), **fields):
    """The drops that it is told."""
    client.send(type="register_rendezvous", peerId=peer, dailyPoints=points, **fields)
    result = client.expect("rendezvous_result", 20)
    return [(found["peerId"], found["deadDrop"], found["relayId"]) for found in result["deadDrops"]]


def points_of(count):
    return [uid("point") for _ in range(count)]


def drops(fleet):
    return fleet.redis.client.keys("sb:{drop:*")


def total(fleet):
    """What the clients' address is counted to have stored."""
    return int(fleet.redis.client.hget("sb:{stored:127.0.0.1}", "total") or 0)


@pytest.fixture(params=["remove", "keep"])
def mode(request):
    return request.param


@pytest.fixture
def fleet(start, mode):
    return start(2, DEAD_DROPS_ON_DISCONNECT=mode, COST_RATE=0)


def test_it_is_kept_once_and_told_at_each_of_its_points(fleet, connect):
    points = points_of(256)
    before = fleet.redis.client.info("memory")["used_memory"]
    assert register(connect(fleet.workers[0]), "a", points, deadDrop=DROP, relayId="r") == []
    assert fleet.redis.client.info("memory")["used_memory"] - before < 1 << 20
    assert len(drops(fleet)) == 1
    reader = connect(fleet.workers[1])
    assert register(reader, "b", [points[17]]) == [("a", DROP, "r")]
    assert register(reader, "b", points[:5]) == [("a", DROP, "r")] * 5


def test_what_a_point_has_of_its_own_is_told_there(fleet, connect):
    one, two, own = points = points_of(3)
    register(connect(fleet.workers[0]), "a", points, deadDrop=DROP, deadDrops={own: "y" * 2000})
    reader = connect(fleet.workers[1])
    assert register(reader, "b", [own]) == [("a", "y" * 2000, None)]
    assert sorted(register(reader, "b", points)) == [("a", DROP, None)] * 2 + [("a", "y" * 2000, None)]


@pytest.mark.parametrize("drop, count", [("x" * 200, 10), (DROP, 1)], ids=["short", "one point"])
def test_what_is_short_or_for_one_point_lies_there(fleet, connect, drop, count):
    points = points_of(count)
    register(connect(fleet.workers[0]), "a", points, deadDrop=drop)
    assert drops(fleet) == []
    assert register(connect(fleet.workers[1]), "b", points) == [("a", drop, None)] * count


def test_it_goes_with_its_last_entry(fleet, connect):
    client, points = connect(fleet.workers[0]), points_of(4)
    register(client, "a", points, deadDrop=DROP)
    [first] = drops(fleet)
    register(client, "a", points, deadDrop=DROP)
    assert drops(fleet) == [first], "the same again"
    register(client, "a", points[:2], deadDrop="z" * 3000)
    assert len(drops(fleet)) == 2
    register(client, "a", points[2:])
    wait_until(lambda: len(drops(fleet)) == 1 and first not in drops(fleet), 5, "the end of the first")
    reader = connect(fleet.workers[1])
    assert register(reader, "b", points) == [("a", "z" * 3000, None)] * 2


def test_it_goes_with_its_socket_or_stays(fleet, connect, mode):
    client, points = connect(fleet.workers[0]), points_of(3)
    register(client, "a", points, deadDrop=DROP)
    client.close()
    reader = connect(fleet.workers[1])
    if mode == "keep":
        wait_until(lambda: not fleet.redis.client.exists("sb:{peer:a}"), 5, "the end of the socket")
        assert register(reader, "b", points) == [("a", DROP, None)] * 3
    else:
        wait_until(lambda: not drops(fleet), 5, "the end of the drop")
        assert register(reader, "b", points) == []


def test_one_that_has_gone_is_not_told(fleet, connect):
    points = points_of(2)
    register(connect(fleet.workers[0]), "a", points, deadDrop=DROP)
    fleet.redis.client.delete(*drops(fleet))
    assert register(connect(fleet.workers[1]), "b", points) == []


def test_who_registers_with_another_drop_over_and_over_is_never_refused(start, connect, mode):
    fleet = start(1, DEAD_DROPS_ON_DISCONNECT=mode, COST_RATE=0)
    client, points = connect(fleet.workers[0]), points_of(256)
    sums = []
    for i in range(60):
        register(client, "a", points, deadDrop=f"{i:02}" + DROP)
        sums.append(total(fleet))
    assert len(drops(fleet)) == 1
    wait_until(lambda: total(fleet) <= 1.3 * min(sums[5:]), 5, "the return of what was replaced, a moment after the answer")


def test_a_message_at_every_limit_is_taken_day_after_day_under_the_default_limits(start, connect):
    client = connect(start(1, **DEFAULT_LIMITS).workers[0])
    for _ in range(3):
        assert register(client, "a", points_of(256), hourlyTokens=points_of(256), deadDrop="x" * 16_384) == []
