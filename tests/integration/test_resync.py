# SPDX-License-Identifier: MIT
"""When a subscription is lost, Redis comes back empty, or what it says makes no sense."""
import random
import threading
import time

import pytest

from harness import SLOW, UNAVAILABLE, Stopwatch, http_request, metric, ready, uid, wait_until
from proxy import Proxy
from swarm import gather, members
from test_signal_faults import cut, path_of, registered, split  # noqa: F401

ENV = {"IP_CONNECT_RATE": 0, "IP_CONNECTIONS_MAX": 0, "MESSAGE_RATE": 0, "COST_RATE": 0}


def pair(connect, fleet):
    room = path_of(uid("room"))
    return [registered(connect(worker, room)) for worker in fleet.workers]


def offered(a, b, payload):
    a.send(type="offer", target=b.code, payload=payload)
    while b.recv() != {"type": "offer", "from": a.code, "payload": payload}:
        pass


def test_a_subscription_that_was_killed_is_made_anew_and_counted(start, connect):
    fleet = start(**ENV)
    a, b = pair(connect, fleet)
    before = [metric(worker, "signalbox_resubscriptions_total") for worker in fleet.workers]
    fleet.redis.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    for worker, count in zip(fleet.workers, before):
        wait_until(lambda: metric(worker, "signalbox_resubscriptions_total") == count + 1, 3, "the resubscription")
        assert ready(worker)
    offered(a, b, 1)
    offered(b, a, 2)


def test_a_subscriber_that_fell_too_far_behind_is_let_go_and_comes_back(start, connect):
    fleet = start(**ENV)
    a, b = pair(connect, fleet)
    worker, redis, log = fleet.workers[1], fleet.redis.client, fleet.workers[1].events
    redis.config_set("client-output-buffer-limit", "pubsub 65536 65536 1")
    worker.pause()
    for i in range(200):
        a.send(type="offer", target=b.code, payload="x" * 60000)
    wait_until(lambda: not [c for c in redis.client_list("pubsub") if worker.wid in c["name"]], 10, "its cutting off")
    worker.resume()
    wait_until(lambda: any(e["connection"] == "subscriber" for e in log("redis_lost")), 5, "the loss in the log")
    wait_until(lambda: ready(worker), 5, "ready again")
    assert metric(worker, "signalbox_resubscriptions_total") == 1
    offered(a, b, "after it")
    offered(b, a, "and back")


def test_a_subscriber_that_is_flooded_again_and_again_gets_through_in_the_end(start, connect):
    fleet = start(**ENV)
    a, b = pair(connect, fleet)
    fleet.redis.client.config_set("client-output-buffer-limit", "pubsub 65536 65536 1")
    for i in range(300):
        a.send(type="offer", target=b.code, payload="x" * 200000)
    wait_until(lambda: all(ready(worker) for worker in fleet.workers), 10, "ready")
    a.send(type="ping")
    while a.recv(20)["type"] != "pong":
        pass

    def through():
        """Whoever was told that the target is not there tries again."""
        token = uid()
        a.send(type="offer", target=b.code, payload=token)
        end = time.monotonic() + 2 * SLOW
        while time.monotonic() < end:
            if not b.inbox.empty() and b.recv().get("payload") == token:
                return True
            time.sleep(0.01)
        return False

    wait_until(through, 15, "an offer after the flood")


def crowd_of(worker, count):
    crowd = members([worker], count)
    for i, member in enumerate(crowd):
        member.send(type="register", peerId=f"peer-{i}")
    gather(crowd, 1, 60)
    return crowd


def longest_ping(client, worker, seconds, until):
    """How long the slowest of all pings took, until that has come true."""
    longest, end = 0, time.monotonic() + seconds * SLOW
    while not until():
        assert time.monotonic() < end, "it took too long"
        watch = Stopwatch(worker)
        assert client.request("ping") == {"type": "pong"}
        longest = max(longest, watch.seconds())
        time.sleep(0.005)
    return longest


@pytest.mark.parametrize("how", ["flushed", "another"])
def test_two_thousand_are_given_back_to_an_emptied_redis_and_nobody_waits_for_it(start, connect, record_property, how):
    fleet = start(**ENV)
    worker, redis, bystander = fleet.workers[0], fleet.redis, connect(fleet.workers[0])
    time.sleep(3.5)  # after three seconds a worker that has started writes all it has once more: still nothing
    crowd = crowd_of(worker, 2000)
    early, stop = [], threading.Event()

    def watch():
        """Ready says that the worker hears its inbox."""
        while not stop.is_set():
            if ready(worker) and redis.client.pubsub_numsub(f"sb:inbox:{worker.wid}")[0][1] == 0:
                early.append(time.monotonic())

    begun = time.monotonic()
    if how == "flushed":
        redis.client.flushall()
    else:
        redis.stop()
        assert bystander.request("get_relays")["message"] == UNAVAILABLE
        assert not ready(worker)
        redis.start()
        threading.Thread(target=watch, daemon=True).start()
    longest = longest_ping(bystander, worker, 15, lambda: redis.client.hlen("sb:{relays}:all") == 2000)
    took = time.monotonic() - begun
    stop.set()
    record_property("back", took)
    record_property("longest_ping", longest)
    assert longest < 0.1 * SLOW
    assert took > 2000 / 50 * 0.02 * 0.8, "a few at a time"
    assert not early
    wait_until(lambda: redis.client.scard(f"sb:{{own:{worker.wid}}}") == 2000, 5, "the index of all")
    assert redis.client.exists(*(f"sb:{{peer:peer-{i}}}" for i in range(2000))) == 2000
    assert len(connect(fleet.workers[1]).relays()) == 100
    for member in crowd:
        assert not member.closed and not member.texts.clear()
        member.sock.close()


def test_a_worker_is_not_ready_before_its_subscription_is_live(split):  # noqa: F811
    fleet, proxy = split()
    worker = fleet.workers[1]
    with proxy.holding_from(b"sb:inbox:", whole=False) as subscribing:
        cut(fleet, worker)
        subscribing()
        for _ in range(20):
            status, _, body = http_request(worker, "GET", "/ready")
            assert status == 503 and "subscription" in body["error"]
    wait_until(lambda: ready(worker), 10, "ready")


def test_what_makes_no_sense_in_an_inbox_is_counted_and_dropped(start, connect):
    fleet, dice = start(**ENV), random.Random(1)
    a, b = pair(connect, fleet)
    worker, redis = fleet.workers[1], fleet.redis.client
    inbox, sid = f"sb:inbox:{worker.wid}", 1 << 40
    head = b"\x01\x01" + fleet.workers[0].wid.encode() + sid.to_bytes(8, "little")
    bad = [b"", b"\x01", b"\x02" + head[1:] + b"\0\0", b"\x01\x7f" + head[2:] + b"\0\0", head, head + b"\x01\0",
           head + b"\xff\xff" + bytes(50), head + b"\x01\0" + bytes(8) + b"\xff\xffabc"]
    bad += map(dice.randbytes, range(200))
    for message in bad:
        redis.publish(inbox, message)
    wait_until(lambda: metric(worker, "signalbox_inbox_malformed_total") >= 200, 5, "the count")
    assert worker.events("inbox_frame_malformed") and ready(worker)
    for operation in range(1, 9):  # whole frames, of everything there is, to nobody
        for entry in (b"", b"x", b"peer\t", b"room\tonly", b"code\t\t", b"\t\t\t", "peer\té".encode(), b"\xff\0\xfe"):
            target = sid.to_bytes(8, "little") + len(entry).to_bytes(2, "little") + entry
            redis.publish(inbox, bytes([1, operation]) + head[2:] + b"\x01\0" + target + b"{}")
    offered(a, b, 1)
    offered(b, a, 2)
    assert worker.process.poll() is None and len(worker.wids) == 1


def test_what_makes_no_sense_to_a_room_is_counted_and_dropped(start, connect):
    fleet, room, bad = start(1, **ENV), uid("room"), "signalbox_group_malformed_total"
    client, other = (connect(fleet.workers[0], "/ws") for _ in range(2))
    for one in (client, other):
        one.expect("ACK")
    client.request("JOIN", room_id=room)
    for message in (b"", b"\x02", b"garbage" * 9):
        fleet.redis.client.publish(f"sb:room:{room}", message)
    wait_until(lambda: metric(fleet.workers[0], bad) == 3, 5, "the count")
    other.request("JOIN", room_id=room)
    assert client.recv()["type"] == "PEER_JOINED"


@pytest.mark.parametrize("spoil", ["another type", "no address", "a strange record"])
def test_what_makes_no_sense_in_redis_is_an_error_and_no_crash(start, connect, spoil):
    fleet = start(**ENV)
    redis, peer, a = fleet.redis.client, uid(), connect(fleet.workers[0])
    key = f"sb:{{peer:{peer}}}"
    if spoil == "another type":
        redis.set(key, "text")
    elif spoil == "no address":
        redis.hset(key, mapping={"addr": "nowhere", "registeredAt": "never"})
    else:
        redis.hset("sb:{relays}:all", peer, "strange")
        redis.zadd("sb:{relays}:free", {peer: 0})
    assert a.request("register", peerId=peer)["type"] in ("error", "registered")
    assert a.request("register_rendezvous", peerId=peer, hourlyTokens=["t"])["type"] in ("error", "rendezvous_result")
    assert a.request("get_relays")["type"] in ("error", "relays")
    assert a.request("heartbeat", peerId=peer)["type"] in ("error", "heartbeat_ack")
    assert connect(fleet.workers[1]).request("register", peerId=peer)["type"] == "error" or spoil == "a strange record"
    a.close()
    other = uid()
    answer = connect(fleet.workers[0]).request("register", peerId=other)
    assert answer["type"] == "registered" and all(map(ready, fleet.workers))


def test_what_reaches_redis_late_leaves_nothing_of_a_socket_that_has_closed(split, connect):  # noqa: F811
    fleet, proxy = split()
    worker, peer = fleet.workers[1], uid()
    client = connect(worker)
    client.request("register", peerId=uid())
    proxy.inward.clear()
    client.send_all([{"type": "register", "peerId": peer},
                     {"type": "register_rendezvous", "peerId": peer, "hourlyTokens": ["t"]}])
    wait_until(lambda: not ready(worker), 5, "the loss of Redis")
    client.drop()
    time.sleep(0.5)
    proxy.inward.set()
    wait_until(lambda: ready(worker), 10, "ready again")
    wait_until(lambda: not [key for key in fleet.redis.keys() if peer in key or "{own:" in key], 5, "nothing left")


def test_who_registers_while_redis_is_emptied_is_listed_with_what_it_owns(start, connect, puppet):
    fleet, peer = start(TAKEOVER_PROBE_MS=int(4000 * SLOW)), uid()
    one, two = fleet.workers
    puppet(one, {"type": "register", "peerId": peer}).freeze()
    newcomer, takes = connect(two), 'signalbox_script_calls_total{script="claim/take"}'
    newcomer.send(type="register", peerId=peer)
    wait_until(lambda: metric(two, takes) == 1, 5, "the first claim, which asks the frozen one")
    fleet.redis.client.flushall()
    wait_until(lambda: two.events("redis_forgot"), 3, "the worker has seen it")
    assert metric(two, takes) == 1, "the machine was too slow for this test"
    newcomer.expect("registered", 8)
    sid = fleet.redis.client.hget(f"sb:{{peer:{peer}}}", "addr").split(".")[1]
    wait_until(lambda: f"peer\t{peer}" in fleet.redis.client.zrange(f"sb:{{own:{two.wid}}}:{sid}", 0, -1), 8, "listed")
    newcomer.close()
    wait_until(lambda: not fleet.redis.client.exists(f"sb:{{peer:{peer}}}"), 5, "gone with it")


@pytest.mark.parametrize("loss", ["emptied", "restarted"])
def test_what_a_late_clean_up_takes_away_after_a_loss_is_given_back(start, connect, loss):
    """Without its lease a worker may be taken for dead for a moment; or an old command arrives after all."""
    fleet = start(1, **ENV)
    client, peer = connect(fleet.workers[0]), uid()
    client.request("register", peerId=peer)
    key = f"sb:{{peer:{peer}}}"
    if loss == "emptied":
        fleet.redis.client.flushall()
    else:
        fleet.redis.stop()
        fleet.redis.start()
    wait_until(lambda: fleet.redis.client.hget(key, "addr"), 8, "its id again")
    time.sleep(1)
    assert fleet.redis.client.delete(key)
    wait_until(lambda: fleet.redis.client.hget(key, "addr"), 8, "its id once more")
    assert client.request("ping") == {"type": "pong"}
