# SPDX-License-Identifier: MIT
"""What messages and requests cost is limited by connection and by address, and the dialects' tables say what it is."""
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time

import pytest

from clients import bare_socket, frame
from front import PATIENT
from harness import ASAN, ROOT, WORKER, http_connection, http_request, metric, uid, wait_until
from swarm import Member, gather, members
from test_signal import hear, registered

REFUSED = {"type": "error", "message": "Rate limit exceeded"}
SMALL = {"COST_RATE": 1, "COST_BURST": 200}  # units: two of DEAR, and no more within a test


def costs(scale):
    """{(dialect, type, shape): (times what it is charged that it costs, row)}"""
    done = subprocess.run([sys.executable, ROOT / "bench" / "costs.py", "--scale", str(scale)], text=True,
                          timeout=170, stdout=subprocess.PIPE, env={**os.environ, "SIGNALBOX_WORKER": str(WORKER)})
    rows = json.loads(done.stdout.splitlines()[-1])["rows"]
    assert all(row["charged_us"] > 0 for row in rows), done.stdout
    return {(row["dialect"], row["type"], row["shape"]): (row["ratio"], row) for row in rows}


@pytest.mark.skipif(ASAN, reason="a build with sanitizers takes several times as much, and not of all alike")
def test_the_tables_say_what_messages_cost():
    """A machine that is busy with something else makes some dearer, and gets another chance: none gets cheaper."""
    least, far = {}, True
    for scale in (0.3, 0.6, 1):
        for name, found in costs(scale).items():
            least[name] = min(found, least.get(name, found), key=lambda one: one[0])
        middle = statistics.median(ratio for ratio, _ in least.values())
        far = [row for ratio, row in least.values() if not 0.5 <= ratio / middle <= 2]
        if not far:
            break
    assert not far and 0.3 < middle < 3, (middle, far)
    assert {dialect for dialect, _, _ in least} == {"relay", "signal", "app", "rooms", "http"}


def dear(i=0):
    """Some 91 units."""
    return {"type": "register_rendezvous", "peerId": f"peer-{i}", "dailyPoints": [uid("p") for _ in range(12)]}


def refused(workers, limit):
    return metric(workers, f'signalbox_cost_refused_total{{limit="{limit}"}}')


def test_a_connection_that_has_spent_its_units_is_refused_what_costs_and_another_is_not(start, connect):
    worker = start(1, **SMALL).workers[0]
    client = connect(worker)
    for _ in range(2):
        assert client.request(**named(dear()))["type"] == "rendezvous_result"
    assert client.request(**named(dear())) == REFUSED
    assert refused(worker, "COST_RATE") == 1 and refused(worker, "IP_COST_RATE") == 0
    assert [event["limit"] for event in worker.events("limit_hit")] == ["COST_RATE"]
    assert client.request("ping") == {"type": "pong"}, "which costs next to nothing"
    assert connect(worker).request(**named(dear(1)))["type"] == "rendezvous_result"


def named(message):
    return {"kind" if name == "type" else name: value for name, value in message.items()}


def test_nothing_of_a_refused_message_is_done(start, connect):
    fleet = start(1, COST_RATE=1, COST_BURST=10)
    client, message = connect(fleet.workers[0]), dear()
    assert client.request(**named(dear()))["type"] == "rendezvous_result", "a full bucket gives any number"
    assert client.request(**named(message)) == REFUSED
    assert not fleet.redis.client.exists(*(f"sb:{{day:{point}}}" for point in message["dailyPoints"]))


def test_all_connections_of_an_address_and_its_requests_pay_from_one_bucket(start, connect):
    worker = start(1, IP_COST_RATE=1, IP_COST_BURST=200).workers[0]
    for i in range(2):
        assert connect(worker).request(**named(dear(i)))["type"] == "rendezvous_result"
    client = connect(worker)
    assert client.request(**named(dear(2))) == REFUSED
    other = Member(bare_socket(worker, source="127.0.0.2"))
    other.send(**dear(3))
    assert other.recv()["type"] == "rendezvous_result"
    status, headers, body = 200, None, None
    while status == 200:
        status, headers, body = http_request(worker, "GET", "/stats")
    assert (status, body, headers["Retry-After"]) == (429, {"error": "Too Many Requests"}, "1")
    assert [http_request(worker, "GET", path)[0] for path in ("/health", "/ready", "/metrics")] == [200] * 3
    assert refused(worker, "IP_COST_RATE") >= 2
    assert worker.events("limit_hit")[0]["ip"] == "127.0.0.1"


def test_an_answer_is_paid_for_when_it_is_known(start, connect):
    worker, point = start(1).workers[0], uid("point")
    owners = members([worker], 40)
    for i, owner in enumerate(owners):
        owner.send(type="register_rendezvous", peerId=f"owner-{i}", dailyPoints=[point], deadDrop="x" * 16_000)
    gather(owners, 1)
    before = worth(worker)
    reader = connect(worker)
    reader.request("register_rendezvous", peerId="reader", dailyPoints=[point])
    assert worth(worker) - before > 200, "40 drops of 16 KiB"


def worth(worker):
    return metric(worker, 'signalbox_cost_total{dialect="relay",type="register_rendezvous"}')


def test_who_goes_on_over_its_cost_is_read_a_little_at_a_time_and_stays(start, connect):
    worker = start(1, COST_RATE=10, COST_BURST=200, MESSAGE_RATE=0).workers[0]
    loud, other, refusals = Member(bare_socket(worker)), connect(worker), 0
    loud.sock.setblocking(False)
    message, end, left = frame(json.dumps(dear())), time.monotonic() + 3, b""
    while time.monotonic() < end:
        left = left or message * 10
        with contextlib.suppress(BlockingIOError):
            left = left[loud.sock.send(left):]
        time.sleep(0.05)
        assert other.request("ping") == {"type": "pong"}
    refusals = refused(worker, "COST_RATE")
    assert 3 <= refusals <= 4 * 3 / 0.25, "each is followed by a pause of a quarter of a second"
    assert metric(worker, "signalbox_connections") == 2
    loud.sock.close()


def test_members_of_the_pool_are_not_charged(start, join):
    fleet = start(1, **PATIENT, COST_RATE=1, COST_BURST=20, IP_COST_RATE=1, IP_COST_BURST=40)
    member = join(fleet.workers[0])
    for load in range(100):
        member.heartbeat(load=load)
    assert refused(fleet.workers[0], "COST_RATE") == 0


def test_honest_use_passes_under_the_defaults(start, connect):
    """All from one address, as the limits are."""
    fleet = start(2, IP_COST_RATE=2000, IP_CONNECTIONS_MAX=0)
    a, b = (registered(connect(worker, "/signal")) for worker in fleet.workers)
    begun = time.monotonic()
    for i in range(300):
        a.send(type="offer", target=b.code, payload="x" * 1000)
        time.sleep(max(0, begun + i / 100 - time.monotonic()))
    for _ in range(300):
        hear(b, "offer")
    client = connect(fleet.workers[0])
    for _ in range(4):
        message = {"peerId": "daily", "dailyPoints": [uid("p") for _ in range(256)],
                   "hourlyTokens": [uid("t") for _ in range(256)], "deadDrop": "x" * 500}
        assert client.request("register_rendezvous", **message)["type"] == "rendezvous_result"
    chunks = [{"chunkId": uid("c"), "routingHash": "h"} for _ in range(1024)]
    assert client.request("chunk_announce", peerId="daily", chunks=chunks)["registered"] == 1024
    room = members(fleet.workers, 500, "/ws")
    gather(room, 1)
    for member in room:
        member.texts.clear()
        member.send(type="JOIN", room_id="big", payload={})
    wait_until(lambda: fleet.redis.client.hlen("sb:{room:big}:peers") == 500, 60, "500 in the room")
    assert refused(fleet.workers, "COST_RATE") == refused(fleet.workers, "IP_COST_RATE") == 0


def test_addresses_that_want_too_much_together_leave_the_rest_to_who_has_used_least(start, connect):
    """Each asks for much less than it may have."""
    fleet = start(2, IP_COST_RATE=2000, MESSAGE_RATE=0)
    worker, messages = fleet.workers[0], 2
    a, b = (registered(connect(one, "/signal")) for one in fleet.workers)
    attackers = [Member(bare_socket(worker, source=f"127.0.9.{i + 1}")) for i in range(150)]
    for i, attacker in enumerate(attackers):
        points = [uid("p") for _ in range(256)]
        attacker.send_text(*[json.dumps({"type": "register_rendezvous", "peerId": f"peer-{i}", "dailyPoints": points,
                                         "hourlyTokens": points})] * messages)
    wait_until(lambda: metric(worker, "signalbox_cost_price") > 10, 20, "a unit that is dear")
    for i in range(20):
        a.send(type="offer", target=b.code, payload=i)
        assert hear(b, "offer")["payload"] == i
    gather(attackers, messages, 60)
    assert refused(worker, "IP_COST_RATE") > 0 and refused(fleet.workers[1], "IP_COST_RATE") == 0
    assert {json.loads(attacker.texts[0])["type"] for attacker in attackers} == {"rendezvous_result", "error"}
    wait_until(lambda: metric(worker, "signalbox_cost_price") == 1, 10, "a unit at its usual price")
    assert worth(worker) < 0.7 * 150 * messages * 2600


def test_what_no_handler_looks_at_is_not_charged_and_makes_nothing_dearer(start, connect):
    worker = start(1, IP_COST_RATE=2000).workers[0]
    client = connect(worker)
    assert client.request("chunk_announce", peerId="p", chunks=[0] * 50_000)["type"] == "error"
    assert metric(worker, 'signalbox_cost_total{dialect="relay",type="chunk_announce"}') < 9000
    assert metric(worker, "signalbox_cost_price") == 1
