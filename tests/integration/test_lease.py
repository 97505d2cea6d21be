# SPDX-License-Identifier: MIT
"""A worker that was taken for dead, and a subscription that carries nothing: both heal by themselves."""
import contextlib
import json
import time

import pytest

from front import ENV, Member, offered
from harness import CROWD, SLOW, UNAVAILABLE, Worker, metric, ready, uid, wait_until
from proxy import Proxy
from swarm import members

SIGNAL = "/signal/lease"


def holder(fleet, key):
    return fleet.redis.client.hget(key, "addr")


def lapse(fleet, worker):
    """Stops it until its lease has lapsed and its entries were cleaned up, and lets it go on."""
    former = worker.wid
    worker.pause()
    wait_until(lambda: fleet.redis.client.zscore("sb:workers", former) is None, 15, "another has cleaned up after it")
    worker.resume()
    wait_until(lambda: worker.wid != former, 5, "another wid")
    wait_until(lambda: ready(worker), 5, "ready")
    return former


@pytest.fixture
def fleet(start):
    return start(**{**ENV, "WORKER_HEALTH_TIMEOUT": 60000, "STORE_REDIS_PERCENT": 0})


def test_a_worker_that_was_taken_for_dead_comes_back_under_another_name_with_its_sockets(fleet, connect, closing):
    stopped, other = fleet.workers
    code, peer, room = uid("code"), uid(), uid("room")
    caller, friend = connect(stopped, SIGNAL), connect(other, SIGNAL)
    for client, own in ((caller, code), (friend, code + "-friend")):
        client.send(type="register", pairingCode=own, publicKey="key")
        client.expect("registered")
    relay = connect(stopped)
    relay.request("register", peerId=peer, maxConnections=9, publicKey="k")
    relay.request("update_load", peerId=peer, connectedCount=2)
    roomers = [connect(worker, "/ws") for worker in fleet.workers]
    ids = []
    for one in roomers:
        ids.append(one.expect("ACK")["peer_id"])
        one.request("JOIN", room_id=room)
    roomers[0].expect("PEER_JOINED")
    member, client = Member(stopped), connect(stopped, "/signaling")
    closing.callback(member.drop)
    mine = client.expect("welcome")["clientId"]

    former = lapse(fleet, stopped)

    wait_until(lambda: (holder(fleet, f"sb:{{code:lease:{code}}}") or "").startswith(f"{stopped.wid}."), 5)
    friend.send(type="offer", target=code, payload=1)
    while (message := caller.recv())["type"] != "offer":
        pass
    assert message == {"type": "offer", "from": code + "-friend", "payload": 1}
    assert fleet.redis.client.hget(f"sb:{{code:lease:{code}}}", "publicKey") == '"key"'
    wait_until(lambda: peer in connect(other).relays(), 5, "the relay is known again")
    assert fleet.redis.client.hget("sb:{relays}:all", peer).split(" ")[1:] == ["2", "9", "k"]
    wait_until(lambda: ids[0] in fleet.redis.client.hkeys(f"sb:{{room:{room}}}:peers"), 5, "the place in the room")
    roomers[1].send(type="OFFER", target_id=ids[0], payload=2)
    while (message := roomers[0].recv())["type"] != "OFFER":
        pass
    assert message["payload"] == 2
    member.send(type="worker_heartbeat")
    wait_until(lambda: member.acks, 5, "the heartbeat")
    visitor = connect(other, "/signaling")
    visitor.id = visitor.expect("welcome")["clientId"]
    assert offered(visitor, member, target=member.id)
    member.send(type="answer", target=mine, payload=3)
    while (message := client.recv())["type"] != "answer":
        pass
    assert message["payload"] == 3

    assert former not in " ".join(key for key in fleet.redis.keys())
    assert metric(stopped, "signalbox_lease_losses_total") == 1
    assert [event["worker"] for event in stopped.events("lease_lost")] == [former]
    for one in (caller, friend, relay, *roomers, member, client, visitor):
        one.close()
    wait_until(lambda: not fleet.redis.client.keys("sb:{own:*"), 5, "nothing is owned")


def test_what_was_on_its_way_to_the_former_name_is_delivered(fleet, connect):
    """Redis has counted the worker among those who hear it, so that its sender was told nothing."""
    one, two = (connect(worker, SIGNAL) for worker in fleet.workers)
    for client in (one, two):
        client.code = uid()
        client.send(type="register", pairingCode=client.code, publicKey="key")
        client.expect("registered")
    sent = metric(fleet.workers[0], 'signalbox_delivery_total{result="remote"}')
    fleet.workers[1].pause()
    for i in range(5):
        one.send(type="offer", target=two.code, payload=f"offer {i}")
    wait_until(lambda: metric(fleet.workers[0], 'signalbox_delivery_total{result="remote"}') == sent + 5, 5, "all sent")
    lapse(fleet, fleet.workers[1])
    for i in range(5):
        assert two.expect("offer")["payload"] == f"offer {i}"


def test_who_had_stored_more_than_an_id_is_told_to_begin_anew(fleet, connect):
    stopped, other = fleet.workers
    token, meeting, idle = uid("token"), connect(stopped), connect(stopped)
    meeting.request("register_rendezvous", peerId=uid(), hourlyTokens=[token])
    idle.request("register", peerId=uid())
    lapse(fleet, stopped)
    assert meeting.expect_close(10) == (1001, "registrations lost")
    assert idle.request("ping") == {"type": "pong"}
    again = connect(stopped)
    again.request("register_rendezvous", peerId=uid(), hourlyTokens=[token])
    found = connect(other).request("register_rendezvous", peerId=uid(), hourlyTokens=[token])
    assert len(found["liveMatches"]) == 1
    assert again.expect("rendezvous_match")


def test_an_id_that_was_taken_meanwhile_stays_with_its_new_holder(fleet, connect):
    stopped, other = fleet.workers
    peer, old = uid(), connect(stopped)
    old.request("register", peerId=peer)
    stopped.pause()
    wait_until(lambda: holder(fleet, f"sb:{{peer:{peer}}}") is None, 15, "the former holder is cleaned up after")
    new = connect(other)
    new.request("register", peerId=peer)
    stopped.resume()
    assert old.expect_close(10) == (4000, "replaced")
    assert new.request("update_load", peerId=peer, connectedCount=1)["type"] == "load_updated"


def test_a_lease_that_redis_has_forgotten_is_no_lapse(fleet, connect):
    worker, peer = fleet.workers[0], uid()
    client, former = connect(worker), [w.wid for w in fleet.workers]
    client.request("register", peerId=peer)
    fleet.redis.client.flushall()
    wait_until(lambda: peer in connect(fleet.workers[1]).relays(), 5, "the relay is given back")
    assert client.request("ping") == {"type": "pong"}
    assert [w.wid for w in fleet.workers] == former


def test_who_is_registered_is_reached_while_redis_is_full(fleet, connect):
    callers = [connect(worker, SIGNAL) for worker in fleet.workers]
    codes, former = [uid("code") for _ in callers], [worker.wid for worker in fleet.workers]
    for client, code in zip(callers, codes):
        client.send(type="register", pairingCode=code)
        client.expect("registered")
    fleet.redis.client.config_set("maxmemory", 1000)
    begun, count = time.monotonic(), 0
    while time.monotonic() - begun < 12:  # more than a lease
        callers[0].send(type="offer", target=codes[1], payload=count)
        assert callers[1].expect("offer")["payload"] == count
        count += 1
        time.sleep(0.5)
    callers[1].send(type="register", pairingCode=uid("code"))
    assert callers[1].expect("error")["message"] == UNAVAILABLE
    fleet.redis.client.config_set("maxmemory", 0)
    wait_until(lambda: not set(former) & {worker.wid for worker in fleet.workers}, 5, "other wids")

    for worker, code in zip(fleet.workers, codes):
        wait_until(lambda: holder(fleet, f"sb:{{code:lease:{code}}}").startswith(worker.wid), 10, "its code again")
    callers[0].send(type="offer", target=codes[1], payload="again")
    while callers[1].recv() != {"type": "offer", "from": codes[0], "payload": "again"}:
        pass
    wait_until(lambda: not [key for key in fleet.redis.keys() if any(wid in key for wid in former)], 15, "clean")
    assert [client.closed for client in callers] == [None, None]


def test_a_subscription_that_carries_nothing_is_made_anew(start, connect, closing):
    fleet = start(1)
    proxy = Proxy(fleet.redis.port)
    closing.callback(proxy.close)
    fleet.workers.append(Worker(proxy.url))
    deaf = fleet.workers[1]
    fleet.workers[0].wait_ready()
    target, sender = connect(deaf, SIGNAL), connect(fleet.workers[0], SIGNAL)
    for client, code in ((target, "T"), (sender, "S")):
        client.send(type="register", pairingCode=code)
        client.expect("registered")
    begun = time.monotonic()
    proxy.deafen()
    wait_until(lambda: not ready(deaf), 4 * CROWD + 4, "not ready")
    assert time.monotonic() - begun < 4.8 * CROWD * SLOW
    wait_until(lambda: ready(deaf), 10, "ready again")
    assert metric(deaf, "signalbox_subscriber_deaf_total") >= 1
    assert metric(deaf, "signalbox_resubscriptions_total") >= 1

    sender.send(type="offer", target="T", payload=1)
    while target.recv() != {"type": "offer", "from": "S", "payload": 1}:
        pass


def test_a_quiet_subscription_is_probed_and_found_alive(start):
    fleet = start(1)
    worker = fleet.workers[0]
    time.sleep(5)
    assert metric(worker, "signalbox_subscriber_probe_age_seconds") < 3 * SLOW * CROWD
    assert metric(worker, "signalbox_subscriber_deaf_total") == 0 and ready(worker)
    assert metric(worker, "signalbox_inbox_malformed_total") == 0


def test_a_paused_worker_is_not_called_deaf(start):
    fleet = start(1)
    fleet.workers[0].pause()
    time.sleep(3)
    fleet.workers[0].resume()
    wait_until(lambda: ready(fleet.workers[0]), 5, "ready")
    assert metric(fleet.workers[0], "signalbox_subscriber_deaf_total") == 0


def test_what_was_sent_to_a_worker_that_stood_still_leaves_nothing_under_its_former_name(fleet, connect):
    stopped, other = fleet.workers
    clients = [connect(stopped) for _ in range(20)]
    for i, client in enumerate(clients):
        client.request("register", peerId=f"peer-{i}")
    former = stopped.wid
    stopped.pause()
    wait_until(lambda: fleet.redis.client.zscore("sb:workers", former) is None, 15, "another has cleaned up after it")
    for i, client in enumerate(clients):
        client.send_all([{"type": "register", "peerId": f"late-{i}"},
                         {"type": "register_rendezvous", "peerId": f"late-{i}", "hourlyTokens": ["t"]}])
    stopped.resume()
    wait_until(lambda: stopped.wid != former and ready(stopped), 5, "another wid")
    time.sleep(4)  # it has settled; its cleaner reads the roster every two seconds
    wait_until(lambda: not [key for key in fleet.redis.keys() if former in key], 3, "nothing under its former name")
    assert not [e for e in fleet.redis.client.hvals("sb:{hour:t}") if former in e]


def test_who_registers_in_the_moment_in_which_a_worker_stands_still_is_served_or_told(fleet):
    stopped, other = fleet.workers
    crowd = members([stopped], 300)
    for i, member in enumerate(crowd):
        member.send_text(*[json.dumps(message) for message in (
            {"type": "register", "peerId": f"peer-{i}"},
            {"type": "register_rendezvous", "peerId": f"peer-{i}", "hourlyTokens": [f"t{i}"]})])
        if i == 100:
            stopped.pause()
    former = stopped.wid
    wait_until(lambda: fleet.redis.client.zscore("sb:workers", former) is None, 15, "another has cleaned up after it")
    stopped.resume()
    wait_until(lambda: stopped.wid != former and ready(stopped), 5, "another wid")
    wait_until(lambda: not [key for key in fleet.redis.keys() if former in key], 20, "nothing under its former name")

    def served_or_told(member, i):
        """A peer whose points are stored, who was refused, or who was closed."""
        with contextlib.suppress(TimeoutError, OSError):
            while not member.closed:
                member.read()
        refused = any(json.loads(text) == {"type": "error", "message": UNAVAILABLE} for text in member.texts)
        stored = any(stopped.wid in entry for entry in fleet.redis.client.hvals(f"sb:{{hour:t{i}}}"))
        return member.closed or refused or stored

    for i, member in enumerate(crowd):
        member.sock.settimeout(0.01)
        wait_until(lambda: served_or_told(member, i), 5, f"an end for peer {i}")
        member.sock.close()
    wait_until(lambda: not [key for key in fleet.redis.keys() if former in key], 20, "nothing under its former name")
    assert not [e for i in range(300) for e in fleet.redis.client.hvals(f"sb:{{hour:t{i}}}") if former in e]


def test_a_worker_that_dies_before_it_saw_that_redis_was_emptied_leaves_nothing(fleet, connect):
    dead, other = fleet.workers
    client, watcher = connect(dead), connect(other)
    former = dead.wid
    beat = fleet.redis.client.zscore("sb:workers", former)
    wait_until(lambda: fleet.redis.client.zscore("sb:workers", former) != beat, 5, "a beat just now")
    fleet.redis.client.flushall()
    assert client.request("register", peerId="late")["type"] == "registered"
    assert "late" in watcher.relays()
    dead.kill9()
    wait_until(lambda: not fleet.redis.client.hexists("sb:{relays}:all", "late"), 12, "its relay is gone")
    wait_until(lambda: not [key for key in fleet.redis.keys() if former in key], 5, "its keys are gone")


@pytest.mark.parametrize("holder", ["a socket that has closed", "a worker that has gone"])
def test_who_lives_keeps_its_id_though_redis_gives_it_to_one_that_does_not(fleet, connect, holder):
    worker, other = fleet.workers
    client, gone, code = connect(worker, SIGNAL), connect(other, SIGNAL), uid("code")
    for one, own in ((client, code), (gone, code + "-gone")):
        one.send(type="register", pairingCode=own)
        one.expect("registered")
    key = f"sb:{{code:lease:{code}}}"
    dead = fleet.redis.client.hget(f"sb:{{code:lease:{code}-gone}}", "addr")
    gone.close()
    own, late = fleet.redis.client.hget(key, "addr"), dead if holder == "a socket that has closed" else "0a0a0a0a.16777300"
    fleet.redis.client.hset(key, "addr", late)
    fleet.redis.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    wait_until(lambda: fleet.redis.client.hget(key, "addr") == own, 12, "its id is its again")
    assert client.closed is None


@pytest.mark.parametrize("lapses", [1, 2])
def test_who_claims_its_id_anew_under_a_new_name_of_its_worker_is_not_taken_for_another(start, connect, lapses):
    """Its own entry is still at the former address, or at the one before that."""
    fleet = start(1)
    worker = fleet.workers[0]
    peer, client, idle = uid(), connect(worker), connect(worker, SIGNAL)
    client.request("register", peerId=peer)
    idle.request("register", pairingCode=peer)
    for n in range(1, lapses + 1):
        worker.pause()
        time.sleep(8)
        worker.resume()
        wait_until(lambda: len(worker.events("lease_new")) == n, 5, "another wid")

    def answered():
        """Where others have the CPUs, Redis may be lost once more meanwhile."""
        answer = client.request("register", peerId=peer)
        return answer.get("message") != UNAVAILABLE and answer

    for _ in range(2):
        answer = wait_until(answered, 10, "an answer of Redis")
        assert answer["type"] == "registered" and answer["peerId"] == peer, answer
    code = f"sb:{{code:lease:{peer}}}"
    wait_until(lambda: holder(fleet, code).startswith(worker.wid), 10, "the code is given back")
    assert idle.request("ping") == client.request("ping") == {"type": "pong"}
