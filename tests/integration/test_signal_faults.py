# SPDX-License-Identifier: MIT
"""Signaling when Redis forgets, falls silent or loses a connection: nobody who lives loses a thing,
everybody is answered."""
import contextlib
import http.client
import signal
import time

import pytest

from harness import ASAN, SLOW, UNAVAILABLE, Worker, freeze, http_request, ready, uid, wait_until
from proxy import Proxy
from swarm import members
from test_app import REFUSED, a_code, ask, matched, open_app
from test_signal import error, hear, path_of, registered

NOT_FOUND = error("Target peer not found")
ENV = {"IP_CONNECT_RATE": 0, "MESSAGE_RATE": 0, "PAIR_REQUESTS_PER_MINUTE": 0, "SIGNAL_PRESENCE_MAX": 0}
HASTY = {"PAIR_TIMEOUT_MS": 600 * SLOW, "PAIR_WARNING_MS": 400 * SLOW}


@pytest.fixture
def split(start, closing):
    """A fleet whose second worker reaches Redis through a proxy, and that proxy."""
    def split(**env):
        fleet = start(1, **ENV, **env)
        proxy = Proxy(fleet.redis.port)
        closing.callback(proxy.close)
        fleet.workers.append(Worker(proxy.url, **ENV, **env))
        return fleet, proxy

    return split


def cut(fleet, worker):
    """Ends the connection that the worker is subscribed by."""
    ids = [c["id"] for c in fleet.redis.client.client_list("pubsub") if worker.wid in c["name"]]
    assert [fleet.redis.client.client_kill_filter(_id=one) for one in ids] == [1]


@contextlib.contextmanager
def deaf(fleet, proxy):
    """Inside, the second worker has no subscription."""
    worker = fleet.workers[1]
    with proxy.keeping_out():
        cut(fleet, worker)
        wait_until(lambda: not ready(worker), 5, "the loss of the subscription")
        yield
    wait_until(lambda: ready(worker), 10, "the subscription")


def pair(connect, fleet, path=None):
    """Two with codes in a room, the second on the second worker."""
    path = path or path_of(uid("room"))
    return [registered(connect(worker, path), publicKey=uid("key")) for worker in fleet.workers]


def apps(connect, fleet):
    return [open_app(connect, worker) for worker in fleet.workers]


def key_of(client, room=""):
    return f"sb:{{code:{room}:{client.code}}}"


def offer(a, b, payload):
    a.send(type="offer", target=b.code, payload=payload)
    assert hear(b, "offer") == {"type": "offer", "from": a.code, "payload": payload}


# Redis has forgotten its scripts

@pytest.mark.parametrize("answer", ["pair_accept", "pair_reject"])
def test_a_request_is_answered_after_redis_forgot_its_scripts(start, connect, answer):
    fleet = start(**ENV)
    a, b = pair(connect, fleet)
    for _ in range(5):
        a.send(type="pair_request", target=b.code)
        assert b.expect("pair_request")["from"] == a.code
        fleet.redis.client.script_flush()
        b.send(type=answer, target=a.code)
        assert hear(a, answer)["from"] == b.code
    assert a.request("ping") == b.request("ping") == {"type": "pong"}


@pytest.mark.parametrize("accepted", [True, False])
def test_an_app_responds_after_redis_forgot_its_scripts(start, connect, accepted):
    fleet = start(**ENV)
    a, b = apps(connect, fleet)
    for _ in range(5):
        ask(a, b)
        fleet.redis.client.script_flush()
        b.send(type="pair_response", targetCode=a.code, accepted=accepted)
        if accepted:
            assert a.recv() == matched(b, True) and b.recv() == matched(a, False)
        else:
            assert a.recv() == {"type": "pair_rejected", "peerCode": b.code}
    assert a.request("ping") == b.request("ping") == {"type": "pong"}


def test_offers_stay_in_order_while_redis_forgets_its_scripts(split, connect):
    fleet, proxy = split()
    b, a = pair(connect, fleet)
    proxy.delay = 0.01 * SLOW
    for i in range(200):
        if i % 40 == 20:
            fleet.redis.client.script_flush()
        a.send(type="offer", target=b.code, payload=i)
        time.sleep(0.001)
    assert [b.recv()["payload"] for _ in range(200)] == list(range(200))


def test_everything_of_a_relay_is_answered_after_redis_forgot_its_scripts(start, connect):
    fleet = start(**ENV)
    a, b = [connect(worker) for worker in fleet.workers]
    for i in range(5):
        peer, chunk, forget = uid(), uid("chunk"), fleet.redis.client.script_flush
        forget()
        assert a.request("register", peerId=peer)["type"] == "registered"
        forget()
        assert peer in b.relays()
        b.send(type="chunk_request", peerId=uid(), chunkId=chunk)
        assert b.expect("chunk_not_found")["chunkId"] == chunk
        forget()
        a.send_all([{"type": "chunk_push", "chunkId": chunk, "data": i}, {"type": "get_relays"}, {"type": "ping"}])
        assert sorted(a.recv()["type"] for _ in range(3)) == ["chunk_push_ack", "pong", "relays"]
        assert b.recv() == {"type": "chunk_data", "chunkId": chunk, "data": i, "source": "relay"}


# A worker whose subscription is away

def test_who_cannot_be_reached_for_a_moment_keeps_its_code(split, connect):
    fleet, proxy = split()
    room = uid("room")
    a, b = pair(connect, fleet, path_of(room))
    key = fleet.redis.client.hget(key_of(b, room), "publicKey")
    with deaf(fleet, proxy):
        assert a.request("offer", target=b.code, payload=1) == NOT_FOUND
    offer(a, b, 2)
    assert key and fleet.redis.client.hget(key_of(b, room), "publicKey") == key
    assert fleet.redis.client.hexists(f"sb:{{signal:{room}}}", b.code)


def test_a_request_that_did_not_arrive_is_not_open(split, connect):
    fleet, proxy = split()
    room = uid("room")
    a, b = pair(connect, fleet, path_of(room))
    with deaf(fleet, proxy):
        assert a.request("pair_request", target=b.code) == NOT_FOUND
    assert not fleet.redis.client.exists(key_of(b, room) + ":requests")
    assert b.request("pair_accept", target=a.code) == error("No pending request from this peer")
    a.send(type="pair_request", target=b.code)
    assert b.expect("pair_request")["from"] == a.code


def test_who_does_not_hear_the_answer_keeps_its_code(split, connect):
    fleet, proxy = split()
    a, b = pair(connect, fleet)
    b.send(type="pair_request", target=a.code)
    a.expect("pair_request")
    with deaf(fleet, proxy):
        assert a.request("pair_accept", target=b.code) == NOT_FOUND
    offer(a, b, 1)


def test_an_app_that_cannot_be_reached_for_a_moment_keeps_its_code_and_key(split, connect):
    fleet, proxy = split()
    a, b = apps(connect, fleet)
    with deaf(fleet, proxy):
        for kind in "offer", "call_ice":
            payload = {"callId": "0f8fad5b-d9cb-469f-a165-70867728950e", "candidate": "c"}
            assert a.request(kind, target=b.code, payload=payload) == error(f"Peer not found: {b.code}")
    offer(a, b, 1)
    ask(b, a)
    a.send(type="pair_response", targetCode=b.code, accepted=True)
    assert b.recv() == matched(a, True) and a.recv() == matched(b, False)


def test_a_request_of_an_app_that_did_not_arrive_is_not_open_and_never_ends(split, connect):
    fleet, proxy = split(**HASTY)
    a, b = apps(connect, fleet)
    key = fleet.redis.client.hget(key_of(b), "publicKey")
    with deaf(fleet, proxy):
        assert a.request("pair_request", targetCode=b.code) == REFUSED
        a.silence(0.8)
    assert not fleet.redis.client.exists(key_of(b) + ":requests", "sb:{requests}")
    assert key and fleet.redis.client.hget(key_of(b), "publicKey") == key
    ask(a, b)
    b.send(type="pair_response", targetCode=a.code, accepted=False)
    assert a.expect("pair_rejected")


def test_who_missed_a_match_can_still_be_met(split, connect):
    fleet, proxy = split()
    (a, b), place, peer = [connect(worker) for worker in fleet.workers], {"hourlyTokens": ["t"]}, uid()
    assert b.request("register_rendezvous", peerId=peer, **place)["liveMatches"] == []
    with deaf(fleet, proxy):
        assert len(a.request("register_rendezvous", peerId=uid(), **place)["liveMatches"]) == 1
    late = uid()
    found = connect(fleet.workers[0]).request("register_rendezvous", peerId=late, **place)["liveMatches"]
    assert peer in [match["peerId"] for match in found]
    assert b.recv() == {"type": "rendezvous_match", "match": {"peerId": late, "relayId": None}}


def test_what_redis_lost_is_given_back_when_the_subscription_is_live_again(start, connect):
    fleet = start(**ENV)
    room, redis = uid("room"), fleet.redis.client
    (a, b), (c, d) = pair(connect, fleet, path_of(room)), apps(connect, fleet)
    lost = [(key_of(b, room), key) for key in ("addr", "publicKey")] + [(f"sb:{{signal:{room}}}", b.code)] + [
        (key_of(d), key) for key in ("addr", "publicKey")]
    before = [redis.hget(*field) for field in lost]
    assert all(before)
    redis.delete(*{key for key, _ in lost})
    redis.client_kill_filter(_type="pubsub")
    inboxes = [f"sb:inbox:{worker.wid}" for worker in fleet.workers]
    wait_until(lambda: all(count for _, count in redis.pubsub_numsub(*inboxes)), 5, "the inboxes heard again")
    wait_until(lambda: [redis.hget(*field) for field in lost] == before, 5, "what was lost")
    offer(a, b, 1)
    offer(c, d, 1)


# A device that is another by now

@pytest.mark.parametrize("end", ["it leaves", "it takes another code"])
def test_who_takes_the_code_of_a_device_was_not_asked_to_link(start, connect, end):
    fleet = start(**ENV)
    web, device = apps(connect, fleet)
    web.send(type="link_request", linkCode=device.code, publicKey=web.key)
    assert device.expect("link_request")["linkCode"] == device.code
    if end == "it leaves":
        device.close()
    else:
        assert device.request("register", pairingCode=a_code(), publicKey=device.key)["type"] == "registered"
    wait_until(lambda: not fleet.redis.client.exists(key_of(device)), 5, "its code free")
    stranger = open_app(connect, fleet.workers[0], device.code)
    assert stranger.request("link_response", linkCode=device.code, accepted=True) == {
        "type": "link_error", "error": "No pending link request"}
    web.silence(0.2)


def test_a_link_that_did_not_arrive_is_not_open(split, connect):
    fleet, proxy = split()
    web, device = apps(connect, fleet)
    with deaf(fleet, proxy):
        assert web.request("link_request", linkCode=device.code, publicKey=web.key) == {
            "type": "link_error", "error": "Link request could not be processed"}
    assert not fleet.redis.client.exists(key_of(device) + ":link", "sb:{links}")
    web.send(type="link_request", linkCode=device.code, publicKey=web.key)
    assert device.expect("link_request")["linkCode"] == device.code


# A subscription that is not confirmed

@pytest.mark.parametrize("others", ["others get through", "others do not"])
def test_a_register_does_not_wait_for_ever_for_the_subscription_to_its_room(split, connect, others):
    fleet, proxy = split()
    room = uid("room")
    a, bystander = [connect(fleet.workers[1], path_of(name)) for name in (room, uid("room"))]
    with contextlib.ExitStack() as stack:
        subscribing = stack.enter_context(proxy.holding_from(f"sb:signal:{room}".encode(), whole=False))
        if others == "others do not":
            stack.enter_context(proxy.keeping_out())
        a.send(type="register", pairingCode="code")
        subscribing()
        answer = a.recv(4)
        assert answer == error(UNAVAILABLE) or answer["type"] == "registered" and others == "others get through"
        assert bystander.request("ping") == {"type": "pong"}
    wait_until(lambda: a.request("register", pairingCode="code")["type"] == "registered", 5, "its code")
    registered(bystander)


def test_a_worker_is_ready_while_the_subscriptions_to_new_rooms_are_not_confirmed(split):
    fleet, proxy = split()
    worker, rooms = fleet.workers[1], [uid("room") for _ in range(200)]
    crowd = [members([worker], 1, path_of(room))[0] for room in rooms]
    polls = http.client.HTTPConnection("127.0.0.1", worker.port, timeout=10 * SLOW)
    with proxy.holding_from(b"sb:signal:", whole=False) as subscribing:
        for member in crowd:
            member.send(type="register", pairingCode="code")
        subscribing()
        assert {http_request(worker, "GET", "/ready", connection=polls)[0] for _ in range(200)} == {200}
    for member in crowd:
        member.expect("registered", 10)
        member.sock.close()
    polls.close()


@pytest.mark.skipif(not ASAN, reason="only LeakSanitizer sees it")
def test_a_worker_that_ends_while_a_register_waits_for_its_room_leaks_nothing(start, connect):
    fleet = start(1, **ENV)
    worker, redis = fleet.workers[0], fleet.redis.process
    assert fleet.redis.urls()[0].startswith("unix:")
    client, bystander = [connect(worker, path_of(uid("room"))) for _ in range(2)]
    freeze(redis)
    try:
        client.send(type="register", pairingCode="code")
        assert bystander.request("ping") == {"type": "pong"}, "what was sent before has been read"
        worker.stop()
    finally:
        redis.send_signal(signal.SIGCONT)


def test_who_is_told_that_it_has_registered_is_among_the_members(start, connect, closing):
    fleet = start(1)
    proxy, room = Proxy(fleet.redis.port), f"/signal/{uid('room')}"
    closing.callback(proxy.close)
    fleet.workers.append(Worker(proxy.url))
    early, late = connect(fleet.workers[0], room), connect(fleet.workers[1], room)
    assert early.request("register", pairingCode="EARLY")["type"] == "registered"
    assert late.request("register", pairingCode="WARMUP")["type"] == "registered"
    with proxy.holding("signal/join") as wait:
        late.send(type="register", pairingCode="LATE")
        wait()
        late.silence(0.2)
    assert late.expect("registered")["pairingCode"] == "LATE"
    early.drop()
    assert late.recv() == {"type": "peer_left", "pairingCode": "EARLY"}
