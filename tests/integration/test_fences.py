# SPDX-License-Identifier: MIT
"""What holds when a worker, Redis or the way between them stands still at the wrong moment: no late step undoes a later
one, nothing is left behind, everybody is answered."""
import contextlib
import socket
import subprocess
import threading
import time

import pytest
import redis as redis_client

from harness import IN_USE, SLOW, UNAVAILABLE, WORKER, Worker, free_port, metric, uid, wait_until
from proxy import Proxy

PROBE_MS = 300 * SLOW
POINTS = [f"point {i}" for i in range(257)]


def failures(worker):
    return metric(worker, "signalbox_redis_errors_total") + metric(worker, "signalbox_script_failures_total")


# A claim

@pytest.mark.parametrize("probe_ms, answers", [(300, True), (300, False), (2000, False), (20000, False)])
def test_a_claim_is_answered_though_redis_falls_silent_during_its_probe(start, connect, puppet, closing, probe_ms,
                                                                        answers):
    fleet = start(1, TAKEOVER_PROBE_MS=probe_ms)
    proxy = Proxy(fleet.redis.port)
    closing.callback(proxy.close)
    fleet.workers.append(Worker(proxy.url, TAKEOVER_PROBE_MS=probe_ms))
    peer = uid()
    if answers:
        connect(fleet.workers[0]).request("register", peerId=peer)
    else:
        puppet(fleet.workers[0], {"type": "register", "peerId": peer}).freeze()
    newcomer, bystander = connect(fleet.workers[1]), connect(fleet.workers[1])
    with proxy.holding_from(b"sb:inbox:" + fleet.workers[0].wid.encode()) as asked:
        newcomer.send(type="register", peerId=peer)
        asked()
        answer = newcomer.recv(8)
        assert answer["type"] == "registered" or answer["message"] in (UNAVAILABLE, IN_USE), answer
        assert bystander.request("ping") == {"type": "pong"}
        assert newcomer.request("ping") == {"type": "pong"}
    wait_until(lambda: newcomer.request("register", peerId=uid())["type"] == "registered", 8, "Redis again")


def test_claims_are_answered_after_redis_forgot_its_scripts(start, connect):
    fleet = start(1, MESSAGE_RATE=0)
    client = connect(fleet.workers[0])
    for i in range(50):
        fleet.redis.client.script_flush()
        peer = uid()
        asks = [{"type": "get_relays"}, {"type": "register", "peerId": peer}]
        if i % 2:
            client.send_all(asks)
            answers = [client.recv(), client.recv()]
        else:
            answers = [client.request(ask.pop("type"), **ask) for ask in asks]
        assert sorted(answer["type"] for answer in answers) == ["registered", "relays"], answers
    client.silence(0.1)


def test_what_a_stopped_worker_does_late_does_not_touch_what_its_successor_left(start, connect):
    for _ in range(3):
        fleet = start(TAKEOVER_PROBE_MS=PROBE_MS)
        one, two = fleet.workers
        peer, place = uid(), {"hourlyTokens": ["t"], "dailyPoints": ["p"]}
        former, successor, third = connect(one), connect(two), connect(two)
        former.request("register", peerId=peer)
        one.pause()
        former.send(type="register_rendezvous", peerId=peer, deadDrop="late", relayId="late", **place)
        successor.send(type="register", peerId=peer)
        successor.expect("registered", 3)
        successor.request("register_rendezvous", peerId=peer, deadDrop="new", relayId="new", **place)
        one.resume()
        assert former.expect_close() == (4000, "replaced")
        wait_until(lambda: not fleet.redis.client.smembers("sb:{own:%s}" % one.wid), 5, "the end of the former one")
        other = uid()
        found = third.request("register_rendezvous", peerId=other, **place)
        assert found["liveMatches"] == [{"peerId": peer, "relayId": "new"}]
        assert found["deadDrops"] == [{"peerId": peer, "deadDrop": "new", "relayId": "new"}]
        assert successor.recv() == {"type": "rendezvous_match", "match": {"peerId": other, "relayId": None}}
        assert peer in third.relays()


def test_who_never_heard_of_its_successor_is_closed_at_its_next_heartbeat(start, connect):
    fleet = start(TAKEOVER_PROBE_MS=PROBE_MS)
    (two, one), peer = fleet.workers, uid()  # only the second is connected by TCP
    former, successor = connect(one), connect(two)
    former.request("register", peerId=peer)
    one.pause()
    lost = [client for client in fleet.redis.client.client_list(_type="pubsub") if client["addr"].startswith("127.")]
    assert len(lost) == 1
    fleet.redis.client.client_kill_filter(_id=lost[0]["id"])
    successor.send(type="register", peerId=peer)
    successor.expect("registered", 3)
    one.resume()
    with contextlib.suppress(OSError):  # its worker looks by itself, too, as it has been deaf
        former.send(type="heartbeat", peerId=peer)
    assert former.expect_close(4) == (4000, "replaced")
    assert peer in connect(two).relays()
    assert successor.request("update_load", peerId=peer, connectedCount=1)["type"] == "load_updated"


# Redis that refuses

@contextlib.contextmanager
def without_replicas(client):
    client.config_set("min-replicas-to-write", 1)
    yield
    client.config_set("min-replicas-to-write", 0)


@contextlib.contextmanager
def as_a_replica(client):
    client.execute_command("REPLICAOF", "127.0.0.1", str(free_port()))
    yield
    client.execute_command("REPLICAOF", "NO", "ONE")


@contextlib.contextmanager
def busy(client):
    def run():
        with contextlib.suppress(redis_client.RedisError):
            client.eval("while true do end", 0)

    def is_busy():
        try:
            return not client.ping()
        except redis_client.ResponseError:
            return True

    client.config_set("busy-reply-threshold", 20)
    script = threading.Thread(target=run, daemon=True)
    script.start()
    wait_until(is_busy)
    yield
    client.execute_command("SCRIPT", "KILL")
    script.join(10)


@pytest.mark.parametrize("refusing", [without_replicas, as_a_replica, busy])
def test_a_socket_that_closes_while_redis_refuses_is_undone_when_it_writes_again(start, connect, refusing):
    fleet, peer, place = start(), uid(), {"hourlyTokens": ["t"], "dailyPoints": ["p"]}
    worker = fleet.workers[0]
    client, other = connect(worker), connect(fleet.workers[1])
    client.request("register", peerId=peer)
    client.request("register_rendezvous", peerId=peer, deadDrop="x", **place)
    assert peer in other.relays()
    with refusing(fleet.redis.client):
        before = failures(worker)
        client.drop()
        wait_until(lambda: metric(worker, "signalbox_connections") == 0, 5, "the end of the connection")
        wait_until(lambda: failures(worker) > before, 5, "a refusal")
    wait_until(lambda: "relays" == other.request("get_relays")["type"], 5, "Redis again")
    wait_until(lambda: peer not in other.relays(), 5, "the end of the peer")
    left = "sb:{hour:t}", "sb:{day:p}", "sb:{peer:%s}" % peer
    wait_until(lambda: not fleet.redis.client.exists(*left), 5, "the end of its entries")


def test_what_redis_refuses_to_undo_is_not_tried_again_with_each_socket_that_closes(start, connect):
    fleet = start(1, IP_CONNECT_RATE=0)
    (worker,), redis = fleet.workers, fleet.redis.client
    clients = [connect(worker) for _ in range(100)]
    for client in clients:
        client.request("register", peerId=uid())
    with without_replicas(redis):
        begun, before = time.monotonic(), redis.info("commandstats").get("cmdstat_zrange", {"calls": 0})["calls"]
        for i, client in enumerate(clients):
            client.drop()
            wait_until(lambda: metric(worker, "signalbox_connections") == 99 - i, 5, "the end of the connection")
        tried = redis.info("commandstats")["cmdstat_zrange"]["calls"] - before
        assert 100 <= tried <= 100 * (2 + time.monotonic() - begun), "each when it closes, and once a second"
    wait_until(lambda: not [key for key in redis.keys() if "{own:" in key], 5, "the end of their entries")


# Messages and results

@pytest.mark.parametrize("fields, named", [
    ({"dailyPoints": [1], "deadDrop": "x" * 16385}, "dailyPoints"),
    ({"dailyPoints": POINTS, "relayId": 5}, "dailyPoints"), ({"hourlyTokens": POINTS, "deadDrop": 5}, "hourlyTokens"),
    ({"dailyPoints": "p", "hourlyTokens": [""]}, "dailyPoints"),
    ({"hourlyTokens": [""], "deadDrops": 5}, "hourlyTokens"), ({"deadDrop": "x" * 16385, "relayId": 5}, "deadDrop"),
    ({"relayId": "x" * 257, "deadDrops": []}, "relayId"), ({"daily_points": [1], "hourly_tokens": 1}, "dailyPoints")],
    ids=lambda x: ascii(x)[:40])
def test_of_two_bad_fields_the_first_of_the_table_is_named(fleet, connect, fields, named):
    client = connect(fleet.workers[0])
    for order in (fields, dict(reversed(fields.items()))):
        answer = client.request("register_rendezvous", **order, peerId=uid())
        assert answer == {"type": "error", "message": f"Invalid field: {named}"}


@pytest.mark.parametrize("most", [65536, 1 << 20])
def test_a_result_larger_than_the_queue_reaches_a_client_that_reads(start, connect, most):
    fleet = start(SEND_QUEUE_MAX=most)
    writers, reader = [connect(fleet.workers[0]) for _ in range(8)], connect(fleet.workers[1])
    drops = {uid(f"{i:02}"): f"{i:02}" + "x" * 16382 for i in range(64)}
    for i, (peer, text) in enumerate(drops.items()):
        assert writers[i % 8].request("register_rendezvous", peerId=peer, dailyPoints=["p"], deadDrop=text)["type"] != "error"
    for _ in range(3):
        answer = reader.request("register_rendezvous", peerId=uid(), dailyPoints=["p"])
        assert {drop["peerId"]: drop["deadDrop"] for drop in answer["deadDrops"]}.items() <= drops.items()
        assert len(answer["deadDrops"]) >= 62, "those of the reader's own peers have no drop and displace some"
        assert reader.request("ping") == {"type": "pong"}


# The process

@pytest.mark.parametrize("url", ["redis://redis.invalid:6379", "refused", "silent"])
@pytest.mark.parametrize("when", ["at once", "a little later"])
def test_a_worker_that_never_reached_redis_ends_when_told_to(closing, url, when):
    if url == "silent":
        listener = closing.enter_context(socket.create_server(("127.0.0.1", 0)))
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
    elif url == "refused":
        url = f"redis://127.0.0.1:{free_port()}/0"
    worker = Worker(url, wait=False)
    closing.callback(worker.process.kill)
    wait_until(lambda: worker.events("listening"), 10, "listening")
    if when != "at once":
        time.sleep(0.3)
    begun = time.monotonic()
    worker.stop()
    assert time.monotonic() - begun < 7 * SLOW


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_port_that_is_taken_ends_the_program_with_the_reason(start, closing, processes):
    redis_url = start(0).redis.urls()[0]
    listener = closing.enter_context(socket.create_server(("127.0.0.1", 0)))
    port = listener.getsockname()[1]
    done = subprocess.run([str(WORKER), "--processes", processes], capture_output=True, text=True, timeout=15 * SLOW,
                          env={"REDIS_URL": redis_url, "HOST": "127.0.0.1", "PORT": str(port)})
    assert done.returncode != 0
    assert "in use" in done.stderr and str(port) in done.stderr, done.stderr
