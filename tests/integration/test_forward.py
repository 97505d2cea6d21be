# SPDX-License-Identifier: MIT
"""Messages to one who is on another worker: its address is remembered, and every message still arrives once,
in order, or its sender is told."""
import json
import time

import pytest

from clients import frame
from harness import SLOW, freeze, metric, uid, wait_until
from test_signal import IN_USE, error, hear, path_of, registered

NOT_FOUND, UNAVAILABLE = error("Target peer not found"), error("Service temporarily unavailable")
SCRIPT = 'signalbox_script_calls_total{script="fleet/forward"}'
RETURNED = "signalbox_forwards_returned_total"


def offer(target, n):
    return {"type": "offer", "target": target, "payload": n}


def pair(fleet, connect):
    """Two codes on two workers; the first has sent the second an offer."""
    path = path_of(uid("room"))
    a, b = (registered(connect(worker, path)) for worker in fleet.workers[:2])
    acquaint(a, b, fleet)
    return a, b, path


def acquaint(a, b, fleet):
    """a, on the first worker, has sent b an offer: its worker remembers where b is."""
    a.send(**offer(b.code, 0))
    assert hear(b, "offer")["payload"] == 0
    wait_until(lambda: metric(fleet.workers[0], "signalbox_forward_routes") == 1, 5, "the address of the second")


def test_only_the_first_message_to_somebody_on_another_worker_looks_its_address_up(start, connect):
    fleet = start(MESSAGE_RATE=0, COST_RATE=0)
    a, b, _ = pair(fleet, connect)
    looked_up = metric(fleet.workers[0], SCRIPT)
    a.send_all([offer(b.code, n) for n in range(1, 200)])
    assert [hear(b, "offer")["payload"] for _ in range(199)] == list(range(1, 200))
    assert metric(fleet.workers[0], SCRIPT) == looked_up
    assert metric(fleet.workers[0], 'signalbox_delivery_total{result="remote"}') == 200


def test_who_gave_its_code_up_gets_nothing_more_and_the_sender_is_told(start, connect):
    fleet = start()
    a, b, _ = pair(fleet, connect)
    former = b.code
    registered(b)
    for n in range(3):
        a.send(**offer(former, n))
        assert hear(a, "error") == NOT_FOUND
    b.silence()
    assert metric(fleet.workers[0], RETURNED) >= 1


def test_a_message_has_one_result_however_far_it_came(start, connect):
    """Its holder gave the code up, its socket has gone from its worker, or its worker from the fleet."""
    def results(*wanted):
        names = [f'signalbox_delivery_total{{result="{name}"}}' for name in ("local", "remote", "not_found", "dropped")]
        wait_until(lambda: tuple(metric(fleet.workers[0], name) for name in names) == wanted, 3, f"results {wanted}")

    fleet = start()
    a, b, path = pair(fleet, connect)
    results(0, 1, 0, 0)
    former = b.code
    registered(b)
    a.send(**offer(former, 1))
    assert hear(a, "error") == NOT_FOUND
    results(0, 1, 1, 0)
    key = f"sb:{{code:{path.partition('/signal/')[2]}:{b.code}}}"
    holder = fleet.redis.client.hget(key, "addr")
    fleet.redis.client.hset(key, "addr", holder.partition(".")[0] + ".99")
    a.send(**offer(b.code, 2))
    assert hear(a, "error") == NOT_FOUND
    results(0, 1, 2, 0)
    fleet.redis.client.hset(key, "addr", holder)
    fleet.workers[1].kill9()
    a.send(type="pair_request", target=b.code)
    assert hear(a, "error") == NOT_FOUND
    results(0, 1, 3, 0)


@pytest.mark.parametrize("to", [0, 1, 2])
def test_a_code_that_moves_in_the_midst_of_messages_is_followed_and_none_is_lost_or_overtaken(start, connect, to):
    """From a socket of the second worker to one of the sender's, of the same, of a third one; and back, and so on."""
    fleet = start(3, MESSAGE_RATE=0, COST_RATE=0, SIGNAL_PRESENCE_MAX=0)
    a, b, path = pair(fleet, connect)
    code, holders, sent, told = b.code, [b, connect(fleet.workers[to], path)], 0, 0
    got = {id(holder): [] for holder in holders}
    for round in range(12):
        giver, taker = holders[round % 2], holders[1 - round % 2]
        batches = [[offer(code, sent + i * 40 + n) for n in range(1, 41)] for i in range(3)]
        sent += 120
        a.send_all(batches[0])
        giver.send(type="register", pairingCode=uid("other"))
        a.send_all(batches[1])
        while (message := giver.recv())["type"] != "registered":
            got[id(giver)].append(message["payload"])
        taker.send(type="register", pairingCode=code)
        a.send_all(batches[2])
        while (message := taker.recv(10))["type"] != "registered":
            got[id(taker)].append(message["payload"])

        def all_accounted_for():
            nonlocal told
            while not a.inbox.empty():
                assert a.recv() == NOT_FOUND
                told += 1
            for holder in holders:
                while not holder.inbox.empty():
                    got[id(holder)].append(hear(holder, "offer")["payload"])
            return sum(map(len, got.values())) + told >= sent

        wait_until(all_accounted_for, 10, f"{sent} messages, each with an end")
    arrived = sorted(n for numbers in got.values() for n in numbers)
    assert len(arrived) == len(set(arrived)) and len(arrived) + told == sent
    for numbers in got.values():
        assert numbers == sorted(numbers)
    a.silence(0.2)
    assert metric(fleet.workers[0], RETURNED) > 0


def test_of_two_holders_in_turn_the_first_has_only_what_was_sent_before_the_second_had_anything(start, connect):
    fleet = start(3, MESSAGE_RATE=0, COST_RATE=0, SIGNAL_PRESENCE_MAX=0)
    a, b, path = pair(fleet, connect)
    for round in range(10):
        c = connect(fleet.workers[2], path)
        a.send_all([offer(b.code, n) for n in range(100)])
        b.send(type="register", pairingCode=uid("other"))
        c.send(type="register", pairingCode=b.code)
        a.send_all([offer(b.code, n) for n in range(100, 200)])
        former, later = [], []
        while not later or later[-1] != 200:
            message = c.recv(10)
            if message["type"] == "offer":
                later.append(message["payload"])
            elif message["type"] == "registered":
                a.send(**offer(b.code, 200))
            else:  # it was not free yet
                assert message == error(IN_USE)
                c.send(type="register", pairingCode=b.code)
        while not b.inbox.empty():
            if (message := b.recv())["type"] == "offer":
                former.append(message["payload"])
        assert not former or max(former) < min(later), f"round {round}"
        assert later == sorted(later)
        while not a.inbox.empty():
            assert a.recv() == NOT_FOUND
        c.code, b = b.code, c


def test_a_code_that_its_socket_gives_up_and_takes_again_in_the_midst_of_messages_has_them_in_order(start, connect):
    fleet = start(MESSAGE_RATE=0, COST_RATE=0, SIGNAL_PRESENCE_MAX=0)
    a, b, _ = pair(fleet, connect)
    for n in range(1, 301):
        a.send_all([offer(b.code, n * 4 + i) for i in range(4)])
        if n % 3 == 0:
            b.send_all([{"type": "register", "pairingCode": code} for code in (uid("other"), b.code)])
        time.sleep(0.0003)
    wait_until(lambda: a.inbox.qsize() + b.inbox.qsize() == 1200 + 200, 10, "1200 messages, each with an end")
    got = [message["payload"] for message in list(b.inbox.queue) if message["type"] == "offer"]
    assert got == sorted(set(got))
    assert all(message == NOT_FOUND for message in list(a.inbox.queue))
    assert metric(fleet.workers[0], RETURNED) > 0


def test_who_was_on_a_worker_that_was_killed_is_found_on_another(start, connect):
    fleet = start(3, TAKEOVER_PROBE_MS=int(300 * SLOW))
    a, b, path = pair(fleet, connect)
    fleet.workers[1].kill9()
    a.send(**offer(b.code, 1))
    assert hear(a, "error") == NOT_FOUND
    c = registered(connect(fleet.workers[2], path), b.code)
    for n in range(10):
        a.send(**offer(b.code, n))
    assert [hear(c, "offer")["payload"] for _ in range(10)] == list(range(10))


def test_a_worker_that_stands_still_holds_messages_to_who_has_moved_up_for_two_seconds_only(start, connect):
    fleet = start(TAKEOVER_PROBE_MS=int(300 * SLOW))
    a, b, path = pair(fleet, connect)
    freeze(fleet.workers[1].process)
    c = registered(connect(fleet.workers[0], path), b.code)
    a.send(**offer(b.code, 1))
    a.send(**offer(b.code, 2))
    assert [hear(c, "offer")["payload"] for _ in range(2)] == [1, 2]


def test_who_has_left_a_worker_that_stands_still_is_followed_to_a_third_and_no_message_ends_in_silence(start, connect):
    fleet = start(3, TAKEOVER_PROBE_MS=int(300 * SLOW), SIGNAL_PRESENCE_MAX=0)
    a, b, path = pair(fleet, connect)
    freeze(fleet.workers[1].process)
    c = registered(connect(fleet.workers[2], path), b.code)
    sent = 0

    def arrives():
        nonlocal sent
        a.send(**offer(b.code, sent))
        sent += 1
        return not c.inbox.empty()

    wait_until(arrives, 6, "a message where the code is now")
    assert a.inbox.empty()
    fleet.workers[1].resume()
    wait_until(lambda: a.inbox.qsize() + c.inbox.qsize() == sent, 6, "an end of each message")
    assert all(message == UNAVAILABLE for message in list(a.inbox.queue)), "what stood still, too, was overtaken"
    got = [message["payload"] for message in list(c.inbox.queue)]
    assert got == list(range(sent - len(got), sent))


def test_what_waits_for_a_worker_that_stands_still_is_bounded_and_the_rest_is_refused(start, connect):
    fleet = start(TAKEOVER_PROBE_MS=300, MESSAGE_RATE=0, COST_RATE=0, SIGNAL_PRESENCE_MAX=0, IP_CONNECT_RATE=0)
    path = path_of(uid("room"))
    crowd = [registered(connect(fleet.workers[0], path)) for _ in range(80)]
    b = registered(connect(fleet.workers[1], path))
    two = 2 * frame(json.dumps(offer(b.code, "x" * 250000)))  # made before: they wait for two seconds only
    later = connect(fleet.workers[0], path)
    acquaint(crowd[0], b, fleet)
    freeze(fleet.workers[1].process)
    registered(later, b.code)
    for client in crowd:
        client.ws.sock.sendall(two)
    wait_until(lambda: sum(client.inbox.qsize() for client in crowd) > 0, 1, "the first that is refused")
    refused = [message for client in crowd for message in list(client.inbox.queue)]
    assert all(message == UNAVAILABLE for message in refused)


def test_a_peer_that_has_left_is_told_of_with_the_request_also_when_its_address_was_known(start, connect):
    fleet = start()
    a, b = (connect(worker, "/ws") for worker in fleet.workers)
    target = b.expect("ACK")["peer_id"]
    a.expect("ACK")
    for n in range(3):
        a.send(type="OFFER", target_id=target, payload=n, request_id=f"r{n}")
        assert b.expect("OFFER")["payload"] == n
    b.close()

    def told():
        a.send(type="OFFER", target_id=target, payload=4, request_id="r4")
        return a.recv()

    answer = told()
    assert answer["type"] == "ERROR" and answer["request_id"] == "r4"
    assert answer["payload"]["code"] == "PEER_NOT_FOUND"
