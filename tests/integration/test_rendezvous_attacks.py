# SPDX-License-Identifier: MIT
"""Attacks on points: what they cost a worker and Redis, and what of it others notice."""
import json
import time

import psutil
import pytest

from clients import begin_upgrade, frame, read_until
from harness import ASAN, SLOW, metric, uid, wait_until
from swarm import Member, gather

MIB = 1 << 20
FORMULA = (16 + 1.25 * 256 + 4 * 32 + 1.25 * 192) * MIB  # README, "How much memory a worker takes"; 8 KiB a connection
ENV = {"IP_CONNECT_RATE": 0, "IP_CONNECTIONS_MAX": 0, "LOG_LEVEL": "info"}
FULL = {"type": "error", "message": "Storage limit reached"}
DROP = "x" * 15_900


def socket_to(worker, source):
    s = begin_upgrade(worker.port, source=source)
    head, _, welcome = read_until(s, b"\r\n\r\n").partition(b"\r\n\r\n")
    assert b" 101 " in head
    member = Member(s)
    member.take_in(welcome)
    return member


def register(member, peer, **fields):
    """The result, or the error; the matches that come before it are read over."""
    member.send(type="register_rendezvous", peerId=peer, **fields)
    while (answer := member.recv(20))["type"] == "rendezvous_match":
        pass
    return answer


def fill(worker, points, drops):
    """Leaves so many drops at each; one socket may have 128 of these."""
    sockets = []
    for i in range(drops):
        for begin in range(0, len(points), 128):
            sockets.append(socket_to(worker, "127.0.8.1"))
            register(sockets[-1], f"{i}-{begin}", dailyPoints=points[begin:begin + 128], deadDrop=DROP)
    return sockets


def used(fleet):
    return fleet.redis.client.info("memory")["used_memory"]


def rss(worker):
    return psutil.Process(worker.pid).memory_info().rss


def stored(fleet):
    return [key for key in fleet.redis.client.keys() if "{day:" in key or "{hour:" in key]


@pytest.mark.parametrize("fields, most", [
    (lambda points: {"deadDrop": "x" * 16384}, 256), (lambda points: {"deadDrops": dict.fromkeys(points, DROP)}, 12)],
    ids=["one drop for all", "a drop for each"])
def test_what_one_socket_has_stored_at_points_is_bounded(start, fields, most):
    """50 messages of 19 KB had Redis keep 268 MB."""
    fleet, answers = start(1, COST_RATE=0), []
    member, before = socket_to(fleet.workers[0], "127.0.8.1"), used(fleet)
    for i in range(50):
        points = [f"{i}-{j}" for j in range(most)]
        answers.append(register(member, "loud", dailyPoints=points, **fields(points)))
    taken = [answer for answer in answers if answer != FULL]
    assert 10 < len(taken) < 25 and answers[len(taken):] == [FULL] * (50 - len(taken))
    assert len(stored(fleet)) == 2 * len(taken) * most, "nothing is stored of what is refused"
    assert 3 * MIB < used(fleet) - before < 5 * MIB


@pytest.mark.parametrize("mode", ["remove", "keep"])
def test_who_registers_the_same_points_again_and_again_is_not_refused(start, mode):
    fleet = start(1, DEAD_DROPS_ON_DISCONNECT=mode, COST_RATE=0)
    member = socket_to(fleet.workers[0], "127.0.8.1")
    for i in range(20):
        answer = register(member, "daily", dailyPoints=[f"point-{j}" for j in range(256)],
                          hourlyTokens=[f"token-{j}" for j in range(256)], deadDrop=f"{i}" + "x" * 3000)
        assert answer["type"] == "rendezvous_result"


def test_one_that_may_not_have_an_id_is_given_back_what_was_counted(start, connect):
    fleet = start(1)
    connect(fleet.workers[0]).request("register_rendezvous", peerId="held")
    member = socket_to(fleet.workers[0], "127.0.8.1")
    for _ in range(5):
        answer = register(member, "held", dailyPoints=[f"point-{j}" for j in range(200)], deadDrop="x" * 5000)
        assert answer["message"] == "Peer id in use by another connection"
    fields = {"dailyPoints": [f"point-{j}" for j in range(200)], "deadDrop": "x" * 5000}
    assert register(member, "free", **fields)["type"] == "rendezvous_result"


@pytest.mark.parametrize("sockets, peers", [(1, 64), (80, 8)], ids=["one socket", "one address"])
def test_nobody_pushes_out_the_drops_of_others(start, sockets, peers):
    fleet = start(2, **ENV)
    worker, other = fleet.workers
    good = [socket_to(other, f"127.0.9.{i + 1}") for i in range(20)]
    for i, member in enumerate(good):
        register(member, f"good-{i:02}", dailyPoints=["known"], deadDrop="hello")
    crowd = [socket_to(worker, "127.0.8.1") for _ in range(sockets)]
    for loud in crowd:
        loud.send_text(*[json.dumps({"type": "register_rendezvous", "peerId": uid(), "dailyPoints": ["known"],
                                     "deadDrop": "noise"}) for _ in range(peers)])
        gather([loud], peers, 20)
    found = register(good[0], "reader", dailyPoints=["known"])["deadDrops"]
    assert {drop["peerId"] for drop in found if drop["deadDrop"] == "hello"} == {f"good-{i:02}" for i in range(20)}
    assert metric(worker, "signalbox_rendezvous_pushed_out_total") >= sockets * peers - 64


def test_an_answer_has_a_mebibyte_of_the_newest_drops(start):
    fleet = start(1, **ENV)
    [worker] = fleet.workers
    writers = [socket_to(worker, "127.0.8.1") for _ in range(24)]
    for i in range(192):
        register(writers[i % 24], f"{i:03}", dailyPoints=[f"p{i // 64}"], deadDrop=DROP)
    reader = socket_to(worker, "127.0.8.2")
    reader.send(type="register_rendezvous", peerId="reader", dailyPoints=["p0", "p1", "p2"])
    text = reader.text(20)
    assert 0.9 * MIB < len(text) <= MIB
    for point in range(3):
        found = [int(drop["peerId"]) for drop in json.loads(text)["deadDrops"]
                 if int(drop["peerId"]) // 64 == point]
        assert found == list(range(64 * point + 63, 64 * point + 63 - len(found), -1)) and len(found) >= 20
    left_out = 192 - len(json.loads(text)["deadDrops"])
    wait_until(lambda: metric(worker, "signalbox_rendezvous_left_out_total") == left_out, 5, "the count")
    assert [line["entries"] for line in worker.events("rendezvous_result_cut")] == [left_out]


def test_many_points_do_not_hide_the_drop_at_the_last(start):
    fleet = start(1, **ENV)
    writer, reader = (socket_to(fleet.workers[0], f"127.0.8.{i}") for i in (1, 2))
    points = [f"point-{i}" for i in range(256)]
    register(writer, "writer", dailyPoints=[points[0], points[255]], deadDrop="x" * 16384)
    found = register(reader, "reader", dailyPoints=points)["deadDrops"]
    assert [drop["peerId"] for drop in found] == ["writer"] * 2


@pytest.mark.skipif(ASAN, reason="what memory a release build takes")
@pytest.mark.parametrize("points, drops", [(1, 64), (8, 64), (256, 2)])
def test_what_many_gather_at_once_stays_under_the_formula(start, points, drops):
    """README, Limits. 232 sockets with one message each brought a worker to 1,583 MB."""
    [worker] = start(1, **ENV).workers
    names = [f"point-{i}" for i in range(points)]
    full = fill(worker, names, drops)
    sockets, before = [socket_to(worker, f"127.0.10.{i // 20 + 1}") for i in range(100)], rss(worker)
    for i, member in enumerate(sockets):
        member.send(type="register_rendezvous", peerId=f"reader-{i}", dailyPoints=names)
    answered = 'signalbox_messages_out_total{dialect="relay",type="rendezvous_result"}'
    peak, begun = before, time.monotonic()
    while metric(worker, answered) < len(full) + len(sockets):
        assert time.monotonic() - begun < 60 * SLOW, metric(worker, answered)
        peak = max(peak, rss(worker))
    assert peak - before < 1.25 * 256 * MIB, f"{(peak - before) / MIB:.0f} MiB"
    assert metric(worker, "signalbox_session_bytes") <= 256 * MIB
    assert not worker.events("redis_lost") and not worker.events("lease_lost")
    for member in [*sockets, *full]:
        member.sock.close()
    wait_until(lambda: metric(worker, "signalbox_session_bytes") == 0, 5, "nothing kept for who has left")


@pytest.mark.skipif(ASAN, reason="what memory a release build takes")
def test_what_is_gathered_counts_with_all_else_that_is_kept(start, connect):
    """Unfinished messages of many, and at the same time many that ask for much and read nothing."""
    [worker] = start(1, **ENV).workers
    names = [f"point-{i}" for i in range(256)]
    full, good = fill(worker, names, 2), connect(worker)
    readers = [socket_to(worker, "127.0.10.1") for _ in range(20)]
    unfinished = [socket_to(worker, f"127.0.11.{i // 100 + 1}") for i in range(1140)]
    before = peak = rss(worker)
    for i, member in enumerate(readers):
        member.send(type="register_rendezvous", peerId=f"reader-{i}", dailyPoints=names)
    for member in unfinished:
        member.sock.sendall(frame("x" * 240_000)[:-1])
        peak = max(peak, rss(worker))
    answered = 'signalbox_messages_out_total{dialect="relay",type="rendezvous_result"}'
    begun = time.monotonic()
    while metric(worker, answered) < len(full) + len(readers) and not metric(worker, "signalbox_shed_clients_total"):
        assert time.monotonic() - begun < 60 * SLOW
        peak = max(peak, rss(worker))
    assert metric(worker, "signalbox_shed_clients_total") > 0
    assert metric(worker, "signalbox_session_bytes") <= 256 * MIB
    connections = psutil.Process(worker.pid).num_fds()
    assert max(peak, rss(worker)) < FORMULA + 8192 * connections, f"{(peak - before) / MIB:.0f} MiB"
    assert good.request("ping") == {"type": "pong"}
    for member in [*readers, *unfinished, *full]:
        member.sock.close()
    wait_until(lambda: metric(worker, "signalbox_session_bytes") == 0, 5, "nothing kept for who has left")
