# SPDX-License-Identifier: MIT
"""/ws when Redis or a worker is away at the wrong moment."""
import pytest

from harness import get, ready, uid, wait_until
from test_rooms import ask, hear, joined, listed, welcomed
from test_signal_faults import cut, split  # noqa: F401


def test_who_was_told_that_joining_failed_is_not_in_the_room(split, connect):  # noqa: F811
    fleet, proxy = split(ROOM_MAX_PEERS=1)
    room = uid("room")
    other, peer = welcomed(connect(fleet.workers[0], "/ws")), welcomed(connect(fleet.workers[1], "/ws"))
    with proxy.holding("room/join") as seen:
        peer.send(type="JOIN", room_id=room, request_id="j")
        seen()
        assert hear(peer, 8)["payload"]["code"] == "INTERNAL_ERROR"
    wait_until(lambda: ready(fleet.workers[1]), 10, "the worker ready again")
    wait_until(lambda: ask(other, "JOIN", room_id=room)["type"] == "ACK", 10, "the place free again")
    assert [p["peer_id"] for p in get(fleet.workers[0], f"/api/rooms/{room}")["peers"]] == [other.id]
    assert ask(peer, "DISCOVER")["payload"]["code"] == "NOT_IN_ROOM"


def test_a_place_that_went_to_another_while_its_worker_was_away_is_lost(start, connect):
    fleet = start(ROOM_MAX_PEERS=1)
    room = uid("room")
    peer, other = joined(welcomed(connect(fleet.workers[1], "/ws")), room), welcomed(connect(fleet.workers[0], "/ws"))
    fleet.workers[1].pause()
    wait_until(lambda: not fleet.redis.client.exists(f"sb:{{room:{room}}}:peers"), 20, "its worker cleaned up after")
    wait_until(lambda: ask(other, "JOIN", room_id=room)["type"] == "ACK", 20, "the place given to another")
    fleet.workers[1].resume()
    fleet.redis.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    while (heard := peer.recv(10))["type"] != "ERROR":
        pass
    assert heard["payload"]["code"] == "ROOM_FULL" and "request_id" not in heard
    assert ask(peer, "DISCOVER")["payload"]["code"] == "NOT_IN_ROOM"
    assert get(fleet.workers[0], f"/api/rooms/{room}")["peer_count"] == 1


def test_what_is_refused_for_its_rate_is_named(connect, start):
    peer = welcomed(connect(start(1).workers[0], "/ws"))
    peer.send_all([{"type": "KEEP_ALIVE", "request_id": f"{i}"} for i in range(300)])
    heard = [peer.recv() for _ in range(300)]
    refused = [message for message in heard if message["type"] == "ERROR"]
    assert refused and sorted(int(message["request_id"]) for message in heard) == list(range(300))
    assert {message["payload"]["message"] for message in refused} == {"Rate limit exceeded"}


@pytest.mark.parametrize("then", ["KEEP_ALIVE", "ping"])
def test_a_late_error_is_told_as_its_message_is_whatever_was_sent_behind_it(split, connect, then):  # noqa: F811
    fleet, proxy = split()
    token = {"type": "register_rendezvous", "hourlyTokens": [uid("token")]}
    other, peer = welcomed(connect(fleet.workers[0], "/ws")), welcomed(connect(fleet.workers[1], "/ws"))
    other.send(peerId=uid(), **token)
    assert other.recv()["type"] == "rendezvous_result"
    with proxy.holding_from(b"rendezvous_match") as seen:
        peer.send(peerId=uid(), **token)
        seen()
        assert peer.recv()["type"] == "rendezvous_result"
        peer.send(type=then)
        assert peer.recv()["type"] in ("ACK", "pong")
        assert peer.recv(8) == {"type": "error", "message": "Service temporarily unavailable"}


def test_a_room_that_fell_off_the_list_comes_back_to_it(start, connect):
    fleet = start()
    room = uid("room")
    joined(welcomed(connect(fleet.workers[0], "/ws")), room)
    fleet.redis.client.delete("sb:{rooms}:all", "sb:{rooms}:looks")
    fleet.redis.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    wait_until(lambda: [r["id"] for r in get(fleet.workers[1], "/api/rooms")["rooms"]] == [room], 10, "the room listed")
