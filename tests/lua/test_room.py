# SPDX-License-Identifier: MIT
"""room/: who is in a room, what the others hear of it, and the list of all rooms."""
import json
import struct
import time

import pytest
import redis

from .names import IDS, key

ALICE, BOB, CAROL = "1f0c9a3e.1", "1f0c9a3e.12", "0badcafe.1"
KEYS = ROOM, PEERS = key("room", "r"), key("room_peers", "r")
CHANNEL, HEAD, TTL = key("room_channel", "r"), "head of a frame", 60000


def info(peer):
    return json.dumps({"peer_id": peer, "display_name": "caf\u00e9 %s"})[:-1]


@pytest.fixture
def join(call):
    def join(peer, address=ALICE, most=0, how="new", keys=KEYS):
        result, number, records = call("room/join", keys, peer, address, info(peer), most, how, CHANNEL, HEAD,
                                       f"+{peer} ")
        return result, number, dict(zip(records[::2], records[1::2]))

    return join


@pytest.fixture
def leave(call):
    return lambda peer, address=ALICE, ttl=TTL, keys=KEYS: call(
        "room/leave", keys, peer, address, ttl, CHANNEL, HEAD, f'-{peer} {{"timestamp":')


@pytest.fixture
def heard(db):
    """What the room's channel has heard: number and text of each frame."""
    client = redis.Redis(unix_socket_path=db.connection_pool.connection_kwargs["path"])
    with client, client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(CHANNEL)
        listener.get_message(timeout=5)

        def heard():
            got = []
            db.publish(CHANNEL, "end")
            while (data := listener.get_message(timeout=5)["data"]) != b"end":
                assert data.startswith(HEAD.encode())
                targets, number, entry = struct.unpack("<HQH", data[len(HEAD):len(HEAD) + 12])
                assert (targets, entry) == (1, 0)
                got.append((number, data[len(HEAD) + 12:].decode()))
            return got

        yield heard


def record(record):
    address, _, text = record.partition(" ")
    return address, json.loads(text)


def test_the_first_makes_the_room_and_each_is_listed(db, join, now):
    before = now()
    result, number, records = join("a", ALICE, 5)
    assert result == "joined" and before <= number // 1000 <= now()
    created = int(db.hget(ROOM, "created_at"))
    assert db.hgetall(ROOM) == {"created_at": str(number // 1000), "max_peers": "5"}
    assert {peer: record(one) for peer, one in records.items()} == {
        "a": (ALICE, {"peer_id": "a", "display_name": "caf\u00e9 %s", "joined_at": created})}
    time.sleep(0.005)
    result, later, records = join("b", BOB, 9)
    assert result == "joined" and later > number and set(records) == {"a", "b"}
    assert record(records["b"])[1]["joined_at"] == later // 1000 > created
    assert db.hgetall(ROOM) == {"created_at": str(created), "max_peers": "5"}, "what it was made with stays"
    assert db.hgetall(PEERS) == records
    assert db.ttl(ROOM) == db.ttl(PEERS) == -1


@pytest.mark.parametrize("most", [1, 2, 5])
def test_a_room_takes_no_more_than_it_was_made_for(db, join, leave, most):
    assert [join(f"{i}", most=most)[0] for i in range(7)] == ["joined"] * most + ["full"] * (7 - most)
    before = db.hgetall(PEERS)
    result, number, records = join("late", most=0)
    assert (result, records) == ("full", {}) and number > 0
    assert db.hgetall(PEERS) == before
    assert leave("0")[0] == most - 1
    assert join("late")[0] == "joined"
    assert join("later")[0] == "full"


def test_joining_twice_changes_nothing_and_tells_nobody(db, join, heard):
    join("a"), join("b", BOB)
    before = db.hgetall(PEERS)
    heard()
    result, number, records = join("a", CAROL, 1)
    assert (result, records) == ("joined", before) and db.hgetall(PEERS) == before
    assert join("a", ALICE, how="again") == ("there", pytest.approx(number, abs=10 ** 6), {})
    assert heard() == []


def test_a_place_that_was_lost_is_given_back_unless_another_has_it(db, join, heard):
    assert join("a", ALICE, 1, "again")[0::2] == ("joined", {})
    assert db.hgetall(ROOM)["max_peers"] == "1" and record(db.hget(PEERS, "a"))[0] == ALICE
    assert join("b", BOB, 1, "again")[0::2] == ("full", {})
    assert db.hkeys(PEERS) == ["a"]
    assert [text[:2] for _, text in heard()] == ["+a"]
    assert join("c")[0] == "full"


def test_the_others_are_told_of_each_with_a_number_that_grows(db, join, leave, heard):
    number = join("a")[1]
    later = join("b", BOB)[1]
    left = leave("b", BOB)[1]
    (first, one), (second, two), (third, gone) = heard()
    assert (first, second) == (number, later) and first < second < third and third // 1000 == left
    for peer, text, at in ("a", one, first), ("b", two, second):
        assert text.startswith(f"+{peer} ")
        body = json.loads(text[3:].replace('},"timestamp"', ',"timestamp"'))
        assert body == {"peer_id": peer, "display_name": "caf\u00e9 %s", "joined_at": at // 1000,
                        "timestamp": at // 1000}
    assert gone == f'-b {{"timestamp":{left}}}'


def test_who_leaves_last_tells_nobody_and_the_room_ends_by_itself(db, join, leave, heard):
    join("a"), join("b", BOB)
    heard()
    assert leave("a")[0] == 1 and db.ttl(ROOM) == -1
    assert leave("b", BOB, ttl=500)[0] == 0
    assert [text[:2] for _, text in heard()] == ["-a"]
    assert not db.exists(PEERS) and 0 < db.pttl(ROOM) <= 500
    time.sleep(0.51)
    assert not db.exists(ROOM)


def test_a_peer_whose_worker_has_another_name_keeps_its_place_there(db, join, leave):
    join("a", ALICE)
    record = db.hget(PEERS, "a")
    assert join("a", BOB, how="again")[0] == "there"
    assert db.hget(PEERS, "a") == record.replace(ALICE, BOB)
    assert leave("a", ALICE)[0] == -1 and leave("a", BOB)[0] == 0


def test_a_room_that_is_joined_again_lives_on(db, join, leave):
    created = join("a", most=3)[1] // 1000
    leave("a", ttl=500)
    time.sleep(0.005)
    assert join("b", BOB, 9)[0] == "joined"
    time.sleep(0.51)
    assert db.hgetall(ROOM) == {"created_at": str(created), "max_peers": "3"} and db.ttl(ROOM) == -1


@pytest.mark.parametrize("peer, address", [("a", BOB), ("a", ALICE + "0"), ("a", ALICE[:-1]), ("a", ""),
                                           ("nobody", ALICE)])
def test_only_who_is_in_it_leaves(db, join, leave, heard, now, peer, address):
    join("a")
    before = db.hgetall(PEERS)
    heard()
    left, at = leave(peer, address)
    assert left == -1 and abs(at - now()) < 1000
    assert db.hgetall(PEERS) == before and db.ttl(ROOM) == -1 and heard() == []


def test_leaving_twice_does_no_harm(db, join, leave, heard):
    join("a"), join("b", BOB)
    heard()
    assert [leave("a")[0] for _ in range(3)] == [1, -1, -1]
    assert leave("b", BOB, ttl=5000)[0] == 0
    assert leave("b", BOB, ttl=90000)[0] == -1 and db.pttl(ROOM) <= 5000
    assert len(heard()) == 1


def test_a_list_says_who_is_there(db, call, join, leave):
    assert call("room/list", KEYS) == [0, 0, []]
    number, records = join("a", most=7)[1:]
    flat = [text for pair in records.items() for text in pair]
    assert call("room/list", KEYS) == [number // 1000, 7, flat]
    leave("a")
    assert call("room/list", KEYS) == [number // 1000, 7, []]
    assert db.exists(ROOM)


def test_a_census_says_how_many_and_how_long(db, call, join, leave, about):
    created, most, peers, ends, now = call("room/census", KEYS)
    assert [created, most, peers] == [0, 0, 0] and ends < 0 and about(now, 0)
    first = join("a", most=7)[1] // 1000
    join("b", BOB)
    assert call("room/census", KEYS)[:4] == [first, 7, 2, -1]
    leave("a"), leave("b", BOB, ttl=5000)
    created, most, peers, ends, now = call("room/census", KEYS)
    assert [created, most, peers] == [first, 7, 0] and 4000 < ends <= 5000 and about(now, 0)


def test_a_room_is_put_on_the_list_once_and_its_first_look_stays(db, call, about):
    keys = [key("ROOMS"), key("ROOM_LOOKS")]
    assert call("room/index", keys, "r", 5000) == [1]
    assert about(db.zscore(keys[1], "r"), 5000)
    assert call("room/index", keys, "r", 90000) == [0]
    assert about(db.zscore(keys[1], "r"), 5000), "a look that was put off would let a dead room stay"
    assert call("room/index", keys, "a", 5000) == [1]
    assert db.zrangebylex(keys[0], "-", "+") == ["a", "r"]


@pytest.mark.parametrize("id", IDS)
def test_any_id_may_be_a_room_and_a_peer(db, call, join, leave, id):
    keys = key("room", id), key("room_peers", id)
    result, number, records = join(id, keys=keys)
    assert result == "joined" and list(records) == [id] and record(records[id])[1]["peer_id"] == id
    assert join(id, how="again", keys=keys)[0] == "there"
    assert call("room/list", keys)[2] == [id, records[id]]
    assert call("room/census", keys)[:3] == [number // 1000, 0, 1]
    assert call("room/index", [key("ROOMS"), key("ROOM_LOOKS")], id, 5) == [1]
    assert db.zrange(key("ROOMS"), 0, -1) == [id]
    assert leave(id, keys=keys, ttl=1)[0] == 0
    time.sleep(0.005)
    assert not db.exists(*keys)
