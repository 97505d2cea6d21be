# SPDX-License-Identifier: MIT
"""What is left when sockets and workers go: nothing but what the design says stays."""
import re

import psutil
import pytest

from clients import bare_socket, begin_upgrade, frame, read_until, reset
from harness import SLOW, get, uid, wait_until

STANDING = re.compile(r"sb:(workers|worker:[0-9a-f]{8}|schema|leader)")
ACCOUNT = "sb:{stored:127.0.0.1}"  # what a killed worker's sockets stored counts until it ends by itself


def left(fleet):
    """The keys that nobody may find once all sockets are closed."""
    lives = {worker.wid for worker in fleet.workers if worker.process.poll() is None}
    return [key for key in fleet.redis.keys()
            if not STANDING.fullmatch(key) or key.startswith("sb:worker:") and key[10:] not in lives]


def wait_clean(fleet, timeout=5):
    try:
        wait_until(lambda: not left(fleet), timeout)
    except AssertionError:
        raise AssertionError(f"left in Redis: {left(fleet)}") from None


def occupy(client, peer=None):
    """Registers everything that a peer can register; the peer is below half load."""
    peer = peer or uid()
    client.request("register", peerId=peer, publicKey="k")
    client.request("update_load", peerId=peer, connectedCount=1)
    places = {"dailyPoints": ["p", peer], "hourlyTokens": ["t", peer]}
    client.send(type="register_rendezvous", peerId=peer, deadDrop="x", **places)
    while client.recv()["type"] != "rendezvous_result":
        pass
    client.send(type="heartbeat")
    while client.recv()["type"] != "heartbeat_ack":
        pass
    return peer


@pytest.mark.parametrize("end", ["close", "drop"])
def test_closed_sockets_leave_nothing_in_redis(start, connect, end):
    fleet = start(DEAD_DROPS_ON_DISCONNECT="remove")
    clients = [connect(fleet.workers[i % 2]) for i in range(20)]
    for client in clients:
        occupy(client)
    assert left(fleet)
    for client in clients:
        getattr(client, end)()
    wait_clean(fleet)
    stats = wait_until(lambda: (s := get(fleet.workers[0], "/stats"))["connections"] == 0 and s, 6)
    assert not any(stats["relays"].values()) and not any(stats["rendezvous"].values())


def test_reset_sockets_leave_nothing_in_redis(start):
    fleet = start()
    for i in range(20):
        s = bare_socket(fleet.workers[i % 2])
        s.sendall(frame(f'{{"type":"register","peerId":"peer-{i}"}}') + frame(
            f'{{"type":"register_rendezvous","peerId":"peer-{i}","hourlyTokens":["t"],"dailyPoints":["p"]}}'))
        if i % 4:  # some go before they are answered
            read_until(s, b"rendezvous_result")
        reset(s)
    wait_until(lambda: get(fleet.workers[0], "/stats")["connections"] == 0, 6)
    wait_clean(fleet)


def test_a_killed_worker_is_forgotten_within_ten_seconds(start, connect):
    fleet = start(3)
    a = connect(fleet.workers[0])
    own = occupy(a)
    clients = [connect(fleet.workers[1 + i % 2]) for i in range(10)]
    peers = {occupy(client) for client in clients}
    wait_until(lambda: get(fleet.workers[0], "/stats")["relays"]["totalPeers"] == 11, 6)
    dead = [worker.wid for worker in fleet.workers[1:]]
    for worker in fleet.workers[1:]:
        worker.kill9()
    b = connect(fleet.workers[0])

    def forgotten():
        stats = get(fleet.workers[0], "/stats")
        return (peers.isdisjoint(b.relays()) and stats["workers"] == 1 and stats["relays"]["totalPeers"] == 1
                and stats["rendezvous"]["totalEntries"] == 4 and stats["connections"] == 2)

    wait_until(forgotten, 10 / SLOW + 0.5, "the end of the dead workers' peers")
    assert b.relays() == [own]
    answer = b.request("register_rendezvous", peerId=uid(), dailyPoints=["p"], hourlyTokens=["t"])
    assert [entry["peerId"] for entry in answer["liveMatches"]] == [own]
    assert [entry["peerId"] for entry in answer["deadDrops"]] == [own]
    gone = wait_until(lambda: not [k for k in fleet.redis.keys() if any(w in k for w in dead)], 5, "the dead wids gone")
    assert gone and fleet.redis.client.zrange("sb:workers", 0, -1) == [fleet.workers[0].wid]
    assert not [key for key in fleet.redis.keys() if any(peer in key for peer in peers)]
    a.drop(), b.drop()
    wait_until(lambda: {key.removesuffix(":workers") for key in left(fleet)} == {ACCOUNT}, 5, "the end of all else")
    assert fleet.redis.client.ttl(ACCOUNT) > 0


def test_a_stopped_worker_closes_its_clients_and_leaves_nothing(start, connect):
    fleet = start()
    own = occupy(connect(fleet.workers[0]))
    clients = [connect(fleet.workers[1]) for _ in range(20)]
    for client in clients:
        occupy(client)
    ended, stays = fleet.workers[1].wid, connect(fleet.workers[0])
    fleet.workers[1].stop()
    assert {client.expect_close()[0] for client in clients} == {1001}
    assert stays.relays() == [own]
    wait_until(lambda: get(fleet.workers[0], "/stats")["workers"] == 1, 6)
    assert fleet.redis.client.zrange("sb:workers", 0, -1) == [fleet.workers[0].wid]
    assert not [key for key in fleet.redis.keys() if ended in key]
    assert get(fleet.workers[0], "/stats")["relays"]["totalPeers"] == 1
    assert stays.request("ping") == {"type": "pong"}


def test_a_thousand_connects_and_disconnects_leave_no_connection_and_no_descriptor(start):
    fleet = start(1, IP_CONNECT_RATE=0)
    worker = fleet.workers[0]
    descriptors = psutil.Process(worker.pid).num_fds()
    for batch in range(10):
        sockets = [begin_upgrade(worker.port) for _ in range(100)]
        for i, s in enumerate(sockets):
            assert b" 101 " in read_until(s, b"\r\n\r\n")
            s.sendall(frame(f'{{"type":"register","peerId":"peer-{batch}-{i}"}}'))
            read_until(s, b"registered")
            s.close() if batch % 2 else reset(s)
    wait_until(lambda: get(worker, "/stats")["connections"] == 0, 6, "no connections")
    wait_until(lambda: psutil.Process(worker.pid).num_fds() <= descriptors + 2, 5, "the descriptors of before")
    wait_clean(fleet)
