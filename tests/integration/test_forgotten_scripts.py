# SPDX-License-Identifier: MIT
"""Two workers while Redis forgets its scripts again and again, and each teaches it those that the other one has called:
nothing is lost, done twice or overtaken."""
import contextlib
import threading
import time

import pytest

from harness import SLOW, Worker, uid, wait_until
from proxy import Proxy
from scripts import all_names, code_of
from test_rooms_fleet import OPEN, crowd, replay_until
from test_signal import hear, path_of, registered

ENV = {**OPEN, "SIGNAL_PRESENCE_MAX": 0}


@pytest.fixture
def fleet(start, closing):
    """Redis' answers take a while, so that calls are under way when it forgets, and when it is taught."""
    fleet = start(0)
    for _ in range(2):
        proxy = Proxy(fleet.redis.port)
        proxy.delay = 0.003 * SLOW
        closing.callback(proxy.close)
        fleet.workers.append(Worker(proxy.url, **ENV))
    return fleet


@contextlib.contextmanager
def storm(fleet):
    over = threading.Event()

    def forget():
        while not over.wait(0.001):
            fleet.redis.client.script_flush()

    thread = threading.Thread(target=forget)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def was_met(fleet):
    return "errorstat_NOSCRIPT" in fleet.redis.client.info("errorstats")


def test_messages_stay_in_order(fleet, connect):
    """Each of many first ones to somebody goes by the script, and so do those right behind it."""
    path, each = path_of(uid("room")), 5
    senders = [registered(connect(worker, path)) for worker in fleet.workers]
    there = [[registered(connect(worker, path)) for _ in range(60)] for worker in fleet.workers[::-1]]
    with storm(fleet):
        for pair in zip(*there):
            for n in range(each):
                for sender, target in zip(senders, pair):
                    sender.send(type="offer", target=target.code, payload=n)
                time.sleep(0.001)
        for sender, targets in zip(senders, there):
            for target in targets:
                got = [hear(target, "offer") for _ in range(each)]
                assert got == [{"type": "offer", "from": sender.code, "payload": n} for n in range(each)]
    for sender in senders:
        assert sender.request("ping") == {"type": "pong"}
    for target in [*there[0], *there[1]]:
        assert target.request("ping") == {"type": "pong"}


def test_who_is_told_that_it_is_registered_is(fleet, connect):
    """Also where Redis has forgotten how to, and still knows all that goes with it."""
    redis, client = fleet.redis.client, connect(fleet.workers[0])
    for _ in range(20):
        peer, pipe = uid(), redis.pipeline()
        pipe.script_flush()
        for name in all_names():
            if name != "relay/put":
                pipe.script_load(code_of(name))
        pipe.execute()
        assert client.request("register", peerId=peer)["type"] == "registered"
        assert redis.hexists("sb:{relays}:all", peer)


def test_what_relays_register_is_there_once(fleet, connect):
    redis, rounds = fleet.redis.client, 10
    clients = [connect(worker) for worker in fleet.workers for _ in range(8)]
    peers = [[uid() for _ in range(rounds)] for _ in clients]
    with storm(fleet):
        for client, mine in zip(clients, peers):
            for n, peer in enumerate(mine):
                client.send_all([{"type": "register", "peerId": peer, "maxConnections": 20}, {"type": "get_relays"},
                                 {"type": "update_load", "peerId": peer, "connectedCount": 19},
                                 {"type": "update_load", "peerId": peer, "connectedCount": n}])
        for client, mine in zip(clients, peers):
            answers = [client.recv(20) for _ in range(4 * rounds)]
            assert [answer["type"] for answer in answers] == ["registered", "relays", *["load_updated"] * 2] * rounds
            assert [answer["peerId"] for answer in answers[::4]] == mine
    loads = {peer: record.split(" ")[1] for peer, record in redis.hgetall("sb:{relays}:all").items()}
    assert loads == {peer: str(n) for mine in peers for n, peer in enumerate(mine)}
    assert redis.hgetall("sb:{relays}:totals") == {"capacity": str(20 * len(loads)),
                                                   "connected": str(sum(map(int, loads.values())))}
    with storm(fleet):
        for client in clients:
            client.close()
        wait_until(lambda: not redis.keys("sb:{own:*"), 20, "the end of all that was registered")
    wait_until(lambda: not redis.keys("sb:{relays}*") and not redis.keys("sb:{peer:*"), 5, "the end of all relays")
    assert was_met(fleet)


def test_who_is_in_a_room_knows_who_comes_and_goes(fleet, closing):
    room, group = uid("room"), crowd(fleet, 20)
    for member in group:
        closing.callback(member.sock.close)
    with storm(fleet):
        for _ in range(4):
            for member in group:
                member.send(type="JOIN", room_id=room)
            replay_until(group, lambda: all(m.known and len(m.known) == len(group) for m in group))
            for member in group[::2]:
                member.send(type="LEAVE")
            replay_until(group, lambda: all(not m.known for m in group[::2]) and
                         all(m.known == {one.id for one in group[1::2]} for m in group[1::2]))
            for member in group[1::2]:
                member.send(type="LEAVE")
            replay_until(group, lambda: not any(m.known for m in group))
    assert not any(member.refused for member in group) and was_met(fleet)
