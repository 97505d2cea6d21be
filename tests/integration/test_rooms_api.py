# SPDX-License-Identifier: MIT
"""The rooms in the HTTP API: statistics, the list of rooms, one room; the same from every worker."""
import re
import threading
import time
from datetime import datetime, timezone
from urllib.parse import quote

import pytest

from harness import UNAVAILABLE, get, http_request, uid, wait_until
from test_rooms import LEFT, ask, came, enter, hear_of, ids, joined, listed, open_peer, welcomed

ODD = ["a:b", "a}b", "{x}", "x/y", "x/", "\u00fc", "\U0001f600", "a b", "a+b", "100%", "%41", "?q=1&r#f", "\"\\'", "0",
       "a;b", "r" * 256, "\u00e9" * 128, "a.b", "..."]
NOT_FOUND = (404, {"error": "room not found"})


def path_of(room):
    return f"/api/rooms/{quote(room, safe='')}"


def pages(worker, limit):
    """The ids of all rooms, page by page."""
    found, cursor = [], ""
    while True:
        body = get(worker, f"/api/rooms?limit={limit}{cursor}")
        assert len(body["rooms"]) <= limit
        found += [room["id"] for room in body["rooms"]]
        if "next_cursor" not in body:
            assert body.keys() == {"rooms"}
            return found
        cursor = "&cursor=" + quote(body["next_cursor"], safe="")


def fill(client, rooms):
    """Makes rooms, which live on when it has left them; it stays in the last."""
    client.send_all([{"type": "JOIN", "room_id": room} for room in rooms])
    for room in rooms:
        assert client.expect("ACK", 20)["room_id"] == room


def test_the_statistics_are_of_the_whole_fleet(start, connect):
    fleet = start(ROOM_TTL_MS=500)
    clients = [welcomed(connect(fleet.workers[i % 2], "/ws")) for i in range(5)]
    for client, room in zip(clients, ("one", "one", "two")):
        joined(client, room)
    connect(fleet.workers[0])

    def shows(peers, without_room, rooms, total_peers):
        for worker in fleet.workers:
            wait_until(lambda w=worker: {**get(w, "/api/stats"), "timestamp": 0} == {
                "peers": {"total": peers, "without_room": without_room},
                "rooms": {"total": rooms, "total_peers": total_peers}, "timestamp": 0}, 6, f"{peers} peers")
            assert abs(get(worker, "/api/stats")["timestamp"] - time.time() * 1000) < 60_000

    shows(5, 2, 2, 3)
    assert ask(clients[2], "LEAVE") == LEFT
    clients[0].close()
    shows(4, 3, 1, 1)
    for client in clients[1:]:
        client.drop()
    shows(0, 0, 0, 0)


def test_a_room_is_shown_with_who_is_in_it(fleet, enter):
    room, other = uid("room"), uid("room")
    a = enter(0, room, display_name="Alice \u00e9", endpoint={"ip": "192.0.2.7", "port": 1})
    b = enter(1, room)
    assert hear_of(a) == came(b, room)
    enter(1, other)
    shown = [get(worker, path_of(room)) for worker in fleet.workers]
    created = shown[0]["created_at"]
    assert type(created) is int and created == a.peers[0]["joined_at"]
    for one in shown:
        assert {peer["peer_id"]: peer for peer in one["peers"]} == listed(a)
        assert {**one, "peers": []} == {"id": room, "peers": [], "peer_count": 2, "max_peers": 0,
                                        "created_at": created}
    text = datetime.fromtimestamp(created // 1000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    for worker in fleet.workers:
        rooms = [one for one in get(worker, "/api/rooms?limit=1000")["rooms"] if one["id"] == room]
        assert rooms == [{"id": room, "peer_count": 2, "max_peers": 0, "created_at": text}]


def test_rooms_of_any_name_are_listed_and_shown(start, connect):
    fleet = start(ROOM_MAX_PEERS=7)
    clients = [joined(welcomed(connect(fleet.workers[i % 2], "/ws")), room) for i, room in enumerate(ODD)]
    for worker in fleet.workers:
        wait_until(lambda w=worker: len(get(w, "/api/rooms")["rooms"]) == len(ODD), 5, "all rooms")
        rooms = get(worker, "/api/rooms")["rooms"]
        assert sorted(room["id"] for room in rooms) == sorted(ODD)
        assert {(room["peer_count"], room["max_peers"]) for room in rooms} == {(1, 7)}
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", room["created_at"]) for room in rooms)
        for client in clients:
            status, _, shown = http_request(worker, "GET", path_of(client.room))
            assert (status, shown["id"], ids(shown["peers"])) == (200, client.room, [client.id]), client.room
        assert sorted(pages(worker, 4)) == sorted(ODD)


@pytest.mark.parametrize("room", [".", "..", "a/../b", "a//b", "/a", "./a", "a/."])
def test_a_room_whose_name_looks_like_a_path_is_shown(fleet, enter, room):
    client = enter(0, room)
    for worker in fleet.workers:
        status, _, shown = http_request(worker, "GET", path_of(room))
        assert (status, shown.get("id")) == (200, room)
        assert client.id in ids(shown["peers"])


@pytest.mark.parametrize("count, limit", [(0, 5), (1, 1), (5, 5), (6, 5), (23, 1), (23, 7), (23, 23), (23, 100)])
def test_the_list_goes_on_where_its_last_page_ended(start, connect, count, limit):
    fleet = start()
    rooms = [uid(chr(0x61 + i)) for i in range(count)]
    if rooms:
        fill(welcomed(connect(fleet.workers[0], "/ws")), rooms)
    for worker in fleet.workers:
        wait_until(lambda w=worker: len(get(w, "/api/rooms")["rooms"]) == count, 5, "all rooms")
        assert sorted(pages(worker, limit)) == sorted(rooms)
        assert pages(worker, limit) == pages(fleet.workers[0], limit)


def test_a_page_is_of_a_hundred_unless_asked_and_never_more_than_a_thousand(start, connect):
    fleet = start(MESSAGE_RATE=0, COST_RATE=0)
    fill(welcomed(connect(fleet.workers[0], "/ws")), rooms := [f"{i}" for i in range(1003)])
    worker = fleet.workers[1]
    wait_until(lambda: len(pages(worker, 1000)) == len(rooms), 10, "all rooms")
    for query, length in (("", 100), ("?limit=1000", 1000), ("?limit=1001", 1000), ("?limit=" + "9" * 400, 1000)):
        body = get(worker, "/api/rooms" + query)
        assert len(body["rooms"]) == length and body["next_cursor"]
    assert sorted(pages(worker, 37)) == sorted(rooms)


def test_a_room_that_stays_is_on_one_page_while_others_come_and_go(start, connect):
    fleet = start(ROOM_TTL_MS=20, MESSAGE_RATE=0, COST_RATE=0, IP_CONNECT_RATE=0)
    stay = [f"{i:02}-stays" for i in range(30)]
    clients = [joined(welcomed(connect(fleet.workers[i % 2], "/ws")), room) for i, room in enumerate(stay)]
    done, comer = threading.Event(), welcomed(connect(fleet.workers[0], "/ws"))

    def come_and_go():
        i = 0
        while not done.is_set():
            joined(comer, f"{i % 30:02}-comes-{i}")
            i += 1

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for i in range(20):
            found = pages(fleet.workers[i % 2], 1 + i % 4)
            assert sorted(set(found)) == sorted(found)
            assert [room for room in found if room.endswith("stays")] == stay
    finally:
        done.set()
        thread.join()
    assert clients and comer.closed is None


@pytest.mark.parametrize("limit", ["0", "-1", "x", "", "1.5", "5x", "%20", "+5", "%205", "0x5", "1e2",
                                   "5" + "x" * 400], ids=lambda limit: limit[:20] or "empty")
def test_a_limit_that_is_no_count_is_refused(fleet, limit):
    status, headers, body = http_request(fleet.workers[0], "GET", f"/api/rooms?limit={limit}")
    assert (status, body) == (400, {"error": "Invalid limit"})
    assert headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("cursor", ["", "%20", "!", "a b", "YQ%3D%3D", "Y", "\u00fc", "A" * 2000, "AA", "CQ"],
                         ids=lambda cursor: cursor[:20] or "empty")
def test_a_cursor_that_never_was_one_is_refused(fleet, cursor):
    status, _, body = http_request(fleet.workers[0], "GET", f"/api/rooms?cursor={quote(cursor, safe='%')}")
    assert (status, body) == (400, {"error": "Invalid cursor"})


def test_a_cursor_of_the_longest_room_goes_on(start, connect):
    fleet = start()
    rooms = ["r" * 256, "r" * 255 + "s", "\U0001f600" * 64]
    fill(welcomed(connect(fleet.workers[0], "/ws")), rooms)
    wait_until(lambda: len(get(fleet.workers[1], "/api/rooms")["rooms"]) == 3, 5, "all rooms")
    assert pages(fleet.workers[1], 1) == rooms


@pytest.mark.parametrize("room", ["never was", "x" * 257, "\u00e9" * 129, "p/q/r", "%%"], ids=ascii)
def test_a_room_that_is_not_there_is_not_found(fleet, room):
    for worker in fleet.workers:
        status, headers, body = http_request(worker, "GET", path_of(room))
        assert (status, body) == NOT_FOUND
        assert headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("path", ["/api/stats", "/api/rooms", "/api/rooms/x"])
def test_other_methods_are_not_allowed(fleet, path):
    for method in "POST", "DELETE", "PUT":
        status, headers, _ = http_request(fleet.workers[0], method, path)
        assert (status, headers["Allow"]) == (405, "GET")
    assert http_request(fleet.workers[0], "OPTIONS", path)[0] == 200


def test_the_endpoints_are_listed(fleet):
    listed = get(fleet.workers[0], "/api/info")["endpoints"].values()
    assert {"GET /api/stats", "GET /api/rooms"} <= set(listed)
    assert any(endpoint.startswith("GET /api/rooms/") for endpoint in listed)
    assert http_request(fleet.workers[0], "GET", "/api/rooms/")[0] == 404
    assert http_request(fleet.workers[0], "GET", "/ws")[0] == 426


def test_without_redis_the_api_is_unavailable(start):
    fleet = start(1)
    fleet.redis.stop()
    for path in ("/api/stats", "/api/rooms", "/api/rooms/x"):
        status, headers, body = http_request(fleet.workers[0], "GET", path)
        assert (status, headers["Retry-After"], body) == (503, "1", {"error": UNAVAILABLE})
    assert http_request(fleet.workers[0], "GET", "/api/rooms?limit=0")[0] == 400
    fleet.redis.start()
    wait_until(lambda: get(fleet.workers[0], "/api/rooms") == {"rooms": []}, 8, "an empty list")
    assert get(fleet.workers[0], "/api/rooms/x") == NOT_FOUND[1]
