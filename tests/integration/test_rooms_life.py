# SPDX-License-Identifier: MIT
"""How rooms end, and what they live through: dead workers, empty rooms, Redis that forgets."""
import time

import pytest

from harness import SLOW, get, http_request, ready, uid, wait_until
from proxy import sha1_of
from test_cleanup import left as remains
from test_cleanup import wait_clean
from test_rooms import PEER_NOT_FOUND, ROOM_NOT_FOUND, ask, came, hear, hear_of, joined, left, listed, welcomed
from test_signal_faults import cut, split


def test_the_members_of_a_killed_worker_leave_within_ten_seconds(start, connect):
    fleet = start(ROOM_TTL_MS=500)
    room, lonely = uid("room"), uid("room")
    a, b = [joined(welcomed(connect(fleet.workers[0], "/ws")), room) for _ in range(2)]
    lost = [joined(welcomed(connect(fleet.workers[1], "/ws")), name) for name in (room, room, lonely)]
    others = [(a, [b, *lost[:2]]), (b, lost[:2])]
    for client, expected in others:
        assert [hear_of(client) for _ in expected] == [came(one, room) for one in expected]
    fleet.workers[1].kill9()
    killed = time.monotonic()
    for i in range(6):
        a.send(type="OFFER", target_id=lost[i % 3].id, payload=1, request_id=f"{i}")
        assert hear(a) == {**PEER_NOT_FOUND, "request_id": f"{i}"}, "an answer each time, also before it is found dead"
    for client in (a, b):
        heard = [hear(client, 12) for _ in range(2)]
        assert sorted(m["peer_id"] for m in heard) == sorted(one.id for one in lost[:2])
        assert all(m == {"type": "PEER_LEFT", "peer_id": m["peer_id"], "room_id": room} for m in heard)
    assert time.monotonic() - killed < 10.5
    assert set(listed(a)) == {a.id, b.id}
    wait_until(lambda: [one["id"] for one in get(fleet.workers[0], "/api/rooms")["rooms"]] == [room], 5, "one room")
    wait_until(lambda: get(fleet.workers[0], "/api/stats")["rooms"] == {"total": 1, "total_peers": 2}, 6, "its numbers")
    wait_until(lambda: ask(a, "DISCOVER", room_id=lonely) == ROOM_NOT_FOUND, 5, "the end of the other room")
    assert http_request(fleet.workers[0], "GET", f"/api/rooms/{lonely}")[0] == 404
    a.silence(0.05)
    a.close(), b.drop()
    wait_clean(fleet, 10)


def test_places_of_dead_members_can_be_taken(start, connect):
    fleet, room = start(ROOM_MAX_PEERS=2), uid("room")
    a, _ = [joined(welcomed(connect(worker, "/ws")), room) for worker in fleet.workers]
    late = welcomed(connect(fleet.workers[0], "/ws"))
    assert ask(late, "JOIN", room_id=room)["payload"]["code"] == "ROOM_FULL"
    fleet.workers[1].kill9()
    wait_until(lambda: ask(late, "JOIN", room_id=room)["type"] == "ACK", 12 / SLOW, "a place")
    assert set(listed(late, room)) == {a.id, late.id}


def test_an_empty_room_lives_on_for_a_while_and_one_that_is_joined_again_for_longer(start, connect):
    life = 1.5 * SLOW
    fleet, room = start(ROOM_TTL_MS=int(life * 1000)), uid("room")
    a, b = [welcomed(connect(worker, "/ws")) for worker in fleet.workers]
    joined(a, room)
    created = get(fleet.workers[1], f"/api/rooms/{room}")["created_at"]
    for client in (b, a, b):
        ask(a, "LEAVE")
        ask(b, "LEAVE")
        assert listed(client, room) == {}
        shown = get(fleet.workers[0], f"/api/rooms/{room}")
        assert shown == {"id": room, "peers": [], "peer_count": 0, "max_peers": 0, "created_at": created}
        assert [one["peer_count"] for one in get(fleet.workers[1], "/api/rooms")["rooms"]] == [0]
        joined(client, room)
    time.sleep(life * 1.2)
    assert set(listed(a, room)) == {b.id}, "it outlives the end it had when it was empty"
    assert get(fleet.workers[1], f"/api/rooms/{room}")["created_at"] == created
    wait_until(lambda: get(fleet.workers[0], "/api/stats")["rooms"] == {"total": 1, "total_peers": 1}, 6, "one room")
    begun = time.monotonic()
    ask(b, "LEAVE")
    wait_until(lambda: ask(a, "DISCOVER", room_id=room) == ROOM_NOT_FOUND, life / SLOW + 1, "its end")
    assert time.monotonic() - begun > life * 0.9
    for worker in fleet.workers:
        assert http_request(worker, "GET", f"/api/rooms/{room}")[2] == {"error": "room not found"}
        assert get(worker, "/api/rooms") == {"rooms": []}
        wait_until(lambda w=worker: get(w, "/api/stats")["rooms"] == {"total": 0, "total_peers": 0}, 6, "no room")
    joined(b, room)
    assert get(fleet.workers[0], f"/api/rooms/{room}")["created_at"] > created
    a.close(), b.close()
    wait_clean(fleet)


@pytest.mark.parametrize("end", ["close", "drop"])
def test_nothing_is_left_of_rooms_and_peers(start, connect, end):
    fleet = start(ROOM_TTL_MS=300, IP_CONNECT_RATE=0, ROOM_MAX_PEERS=4)
    rooms, clients = [uid("room"), "a:b", "a}b", "{x}", "\u00e9"], []
    for i in range(30):
        clients.append(welcomed(connect(fleet.workers[i % 2], "/ws")))
        clients[-1].send(type="JOIN", room_id=rooms[i % 5])
    for i, client in enumerate(clients):
        client.send(type="JOIN" if i % 3 else "LEAVE", room_id=rooms[(i + 1) % 5])
        if i % 2:
            client.send(type="KEEP_ALIVE", request_id="done")
            while hear(client).get("request_id") != "done":
                pass
    assert any(key.startswith("sb:{room:") for key in remains(fleet))
    for client in clients:
        getattr(client, end)()
    wait_clean(fleet, 8)
    wait_until(lambda: get(fleet.workers[0], "/api/stats")["peers"] == {"total": 0, "without_room": 0}, 6, "no peers")


def test_members_get_their_places_back_when_redis_comes_back_empty(start, connect):
    fleet = start(ROOM_MAX_PEERS=3, ROOM_TTL_MS=1000, MESSAGE_RATE=0)
    one, two = uid("room"), uid("room")
    a, b, c, d = [joined(welcomed(connect(fleet.workers[i % 2], "/ws")), room, display_name=f"{i}", endpoint={
        "ip": "192.0.2.7", "port": i}) for i, room in enumerate((one, one, one, two))]
    e = welcomed(connect(fleet.workers[0], "/ws"))

    def seen(worker, room):
        peers = get(worker, f"/api/rooms/{room}").get("peers", [])
        return {peer["peer_id"]: {**peer, "joined_at": 0} for peer in peers}

    before = [seen(fleet.workers[0], room) for room in (one, two)]
    assert [len(peers) for peers in before] == [3, 1] and before[0][b.id]["display_name"] == "1"
    fleet.redis.stop()
    fleet.redis.start()
    for worker in fleet.workers:
        wait_until(lambda w=worker: ready(w), 10, "ready: it hears what is sent to its members")
        wait_until(lambda w=worker: [seen(w, one), seen(w, two)] == before, 10, "their places")
        wait_until(lambda w=worker: {shown["id"] for shown in get(w, "/api/rooms")["rooms"]} == {one, two}, 5, "rooms")

    def offered(sender, target):
        sender.send(type="OFFER", target_id=target.id, payload={"a": 1}, request_id="q")
        while (message := hear(target))["type"] == "PEER_JOINED":
            pass  # of one who was given its place back
        return message == {"type": "OFFER", "peer_id": sender.id, "target_id": target.id, "payload": {"a": 1},
                           "request_id": "q"}

    for sender, target in ((a, b), (b, a), (c, d), (d, c), (b, c), (d, e), (e, b)):
        assert offered(sender, target)
    for client in (a, b, c):
        while not client.inbox.empty():
            client.expect("PEER_JOINED")
    assert ask(e, "JOIN", room_id=one)["payload"]["code"] == "ROOM_FULL"
    assert ask(c, "LEAVE")["payload"] == {"message": "left room"}
    assert hear(a) == hear(b) == left(c, one)
    joined(e, one)
    assert hear_of(a) == hear_of(b) == came(e, one)
    for client in (a, b, c, d, e):
        client.close()
    wait_clean(fleet, 8)


def test_who_leaves_while_places_are_given_back_does_not_get_its_own_again(split, connect):
    fleet, proxy = split()
    room = uid("room")
    a, b = [joined(welcomed(connect(worker, "/ws")), room) for worker in fleet.workers]
    assert hear_of(a) == came(b, room)
    with proxy.holding_from(sha1_of("room/leave"), whole=False) as leaving:
        b.send(type="LEAVE")
        leaving()
        assert hear(a) == left(b, room)
        cut(fleet, fleet.workers[1])
        inbox = f"sb:inbox:{fleet.workers[1].wid}"
        wait_until(lambda: fleet.redis.client.pubsub_numsub(inbox) == [(inbox, 1)], 5, "its subscription")
        time.sleep(0.3 * SLOW)  # what it gives back has been sent
    assert hear(b) == {"type": "ACK", "payload": {"message": "left room"}}
    assert set(listed(b, room)) == {a.id}
    assert a.inbox.empty()
