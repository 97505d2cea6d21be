# SPDX-License-Identifier: MIT
"""Who leads the fleet: at most one, soon another when it is gone, and what a former leader still does is nothing."""
import contextlib
import os
import re
import socket
import subprocess
import threading
import time

import pytest

from harness import CROWD, SLOW, Worker, get, metric, uid, wait_until
from proxy import Proxy, sha1_of
from test_cleanup import occupy

TAKEOVER = 3 * SLOW * CROWD
GHOST = "deadbeef"  # a worker that nobody has seen, and that left entries behind
BEGUN = re.compile(r'"HSET" "sb:leader" "wid" "([0-9a-f]{8})" "number" "(\d+)" "until"')
RESIGNED = '"HSET" "sb:leader" "until" "0"'


class Monitor:
    """All that Redis runs, in its order: (when, who asked, the command)."""

    def __init__(self, redis):
        self.lines, self.socket = [], socket.socket(socket.AF_UNIX)
        self.socket.connect(redis.socket)
        self.socket.sendall(b"MONITOR\r\n")
        self.input = self.socket.makefile("r", encoding="latin-1", newline="\r\n")
        assert self.input.readline() == "+OK\r\n"
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.input:
            at, who, command = re.fullmatch(r"\+([\d.]+) \[\d+ ([^]]*)\] (.*)\r\n", line).groups()
            self.lines.append((float(at), who, command))

    def reigns(self):
        """(place among the lines, when, wid, number) of each first word of a leader."""
        found = []
        for i, (at, who, command) in enumerate(list(self.lines)):
            if who == "lua" and (m := BEGUN.match(command)) and (not found or found[-1][2:] != (m[1], int(m[2]))):
                found.append((i, at, m[1], int(m[2])))
        return found

    def successor(self, wid, timeout=10):
        """The reign that came after the last of that worker."""
        def after():
            found = self.reigns()
            last = max(i for i, reign in enumerate(found) if reign[2] == wid)
            return found[last + 1:]

        return wait_until(after, timeout, "another leader")[0]

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.reader.join(5)
        reigns = self.reigns()
        assert reigns and not self.reader.is_alive()
        numbers = [number for *_, number in reigns]
        assert numbers == sorted(set(numbers)), f"each reign has a number of its own, greater than the last: {reigns}"


@pytest.fixture
def watch(closing):
    def watch(fleet):
        monitor = Monitor(fleet.redis)
        closing.callback(monitor.close)
        return monitor

    return watch


def leads(worker):
    return metric(worker, "signalbox_leader") == 1


def leader_of(fleet, among=None):
    """The one that leads, once exactly one of the workers says so, and Redis, too."""
    workers = among or fleet.workers

    def one():
        found = [worker for worker in workers if leads(worker)]
        return found if len(found) == 1 and stored(fleet)["wid"] == found[0].wid else None

    return wait_until(one, 5, "one leader")[0]


def stored(fleet):
    return fleet.redis.client.hgetall("sb:leader") or {"wid": "", "number": 0, "until": 0}


def number(fleet):
    return int(stored(fleet)["number"])


def asked(worker):
    """How often the worker has asked who leads."""
    lines = get(worker, "/metrics").decode()
    return int(re.search(r'^signalbox_script_calls_total{script="fleet/lead"} (\d+)$', lines, re.M)[1])


def asks(workers, times=4):
    """Waits until each of them has asked that often again."""
    for worker, before in [(worker, asked(worker)) for worker in workers]:
        wait_until(lambda: asked(worker) >= before + times, 10, "its next questions")


def others(fleet, worker):
    return [other for other in fleet.workers if other is not worker]


def test_one_of_two_leads_and_goes_on_leading(start, watch):
    fleet = start()
    monitor, leader = watch(fleet), leader_of(fleet)
    first, [other] = number(fleet), others(fleet, leader)
    asks(fleet.workers)
    wait_until(monitor.reigns, 5)
    assert leader_of(fleet) is leader and number(fleet) == first and len(monitor.reigns()) == 1
    wait_until(lambda: leader.events("leader_elected"), 5, "the line of the log")
    assert [line["number"] for line in leader.events("leader_elected")] == [first]
    assert not other.events("leader_elected")
    for worker in fleet.workers:
        assert metric(worker, "signalbox_leader_changes_total") == 0 and not worker.events("leader_lost")


def test_another_leads_within_three_seconds_of_a_kill_and_cleans_up_after_the_leader(start, connect, watch):
    fleet = start(3)
    leader, monitor = leader_of(fleet), watch(fleet)
    first, rest = number(fleet), others(fleet, leader)
    peers = {occupy(connect(leader)) for _ in range(5)}
    wait_until(lambda: peers <= set(connect(rest[0]).relays()), 5)
    wait_until(lambda: len(monitor.reigns()) == 1, 5)
    leader.kill9()
    killed = time.time()
    _, at, wid, next_number = monitor.successor(leader.wid)
    assert at - killed < TAKEOVER and next_number > first
    assert leader_of(fleet, rest).wid == wid and number(fleet) == next_number

    def gone():
        return not [key for key in fleet.redis.keys() if leader.wid in key or any(peer in key for peer in peers)]

    wait_until(lambda: gone() and not fleet.redis.client.zscore("sb:workers", leader.wid), 10, "the end of its peers")
    assert time.time() - killed < (10 + 0.5) * SLOW * CROWD
    wait_until(lambda: any(worker.events("worker_reaped") for worker in rest), 5, "the line of the log")
    assert [len(worker.events("worker_reaped")) for worker in rest] == [worker.wid == wid for worker in rest]
    assert [metric(worker, "signalbox_leader_changes_total") for worker in rest] == [1, 1]
    assert peers.isdisjoint(connect(rest[0]).relays())


def test_the_same_when_redis_clock_was_set_back_with_the_kill(start, connect, watch):
    """As if by a minute: every time that is in Redis lies so far ahead."""
    fleet, ahead = start(3), 60000
    leader, monitor, redis = leader_of(fleet), watch(fleet), fleet.redis.client
    rest = others(fleet, leader)
    for _ in range(5):
        occupy(connect(leader))
    wait_until(lambda: len(monitor.reigns()) == 1, 5)
    leader.kill9()
    killed = time.time()
    pipe = redis.pipeline()
    pipe.hincrby("sb:leader", "until", ahead)
    for worker in fleet.workers:
        pipe.zincrby("sb:workers", ahead, worker.wid)
        pipe.pexpire(f"sb:worker:{worker.wid}", ahead + 7000)
    pipe.execute()
    _, at, _, _ = monitor.successor(leader.wid)
    assert at - killed < TAKEOVER
    wait_until(lambda: not [key for key in fleet.redis.keys() if leader.wid in key and "worker:" not in key], 12, "clean")
    assert time.time() - killed < (10 + 0.5) * SLOW * CROWD
    assert not [e for worker in rest for e in worker.events("worker_reaped") if e["wid"] != leader.wid]
    assert not any(worker.events("lease_lost") for worker in rest)


def bury(fleet, sockets):
    """Puts the ghost where the next beat of a worker finds it dead, with an id for each of its sockets."""
    pipe = fleet.redis.client.pipeline()
    for sid in range(sockets):
        peer = uid("ghost")
        pipe.hset(f"sb:{{peer:{peer}}}", "addr", f"{GHOST}.{sid}")
        pipe.sadd(f"sb:{{own:{GHOST}}}", sid)
        pipe.zadd(f"sb:{{own:{GHOST}}}:{sid}", {f"peer\t{peer}": 2e12})
    pipe.zadd("sb:workers", {GHOST: 1})
    pipe.execute()


def buried(fleet):
    return fleet.redis.client.zscore("sb:workers", GHOST) is None


# The former leader stands still before it reads the answer to the last of these, and had others before. Where it has
# asked whether it still leads, the answer that waits for it is yes.
MOMENTS = {
    "the dead worker's name": (0, [sha1_of("fleet/roster").decode()]),
    "that it has no socket": (0, ["SRANDMEMBER"]),
    "its sockets": (600, ["SRANDMEMBER"]),
    "what a socket owns": (600, ["ZRANGE"]),
    "that a socket owns nothing more": (600, [sha1_of("own/forget").decode()]),
    "whether it leads": (600, [sha1_of("own/forget").decode(), sha1_of("fleet/lead").decode()]),
}


# A stop ends the wait of the event loop, and then its timers run first: they find that Redis was silent for too long.
# One that hits outside the wait does not, and what has lain there is read first. This makes each stop like that.
STOPPED_OUTSIDE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/epoll.h>
int epoll_wait(int fd, struct epoll_event *events, int most, int timeout_ms)
{
    static int (*real)(int, struct epoll_event *, int, int);
    int n;
    if (!real)
        real = (int (*)(int, struct epoll_event *, int, int))dlsym(RTLD_NEXT, "epoll_wait");
    do
        n = real(fd, events, most, timeout_ms);
    while (n < 0 && errno == EINTR);
    return n;
}
"""


@pytest.fixture
def outside(tmp_path):
    """The environment of a worker that a stop does not wake."""
    (tmp_path / "outside.c").write_text(STOPPED_OUTSIDE)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "outside.so", tmp_path / "outside.c"], check=True)
    return {"LD_PRELOAD": tmp_path / "outside.so",
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}


def brought_to(moment, start, watch, closing, env):
    """A fleet whose leader stands still at that moment, and since when, which is false where it did not come so far."""
    fleet, (sockets, steps), stopped = start(0), MOMENTS[moment], None
    proxy = Proxy(fleet.redis.port)
    closing.callback(proxy.close)
    old = Worker(proxy.url, **env)
    fleet.workers.append(old)
    assert leader_of(fleet) is old
    new, monitor = Worker(fleet.redis.urls()[0]), watch(fleet)
    fleet.workers.append(new)
    asks([new])
    first = number(fleet)
    with contextlib.suppress(AssertionError):
        for step in steps:
            with proxy.holding_from(step.encode()) as wait:
                if step is steps[0]:
                    bury(fleet, sockets)
                wait()
                if step is steps[-1]:
                    old.pause()
                    stopped = time.time()
    in_time = leads_in_redis(fleet, old) and not buried(fleet)
    return fleet, old, new, monitor, first, in_time and stopped


@pytest.mark.parametrize("moment, seconds, wakes", [
    *((moment, 0, False) for moment in MOMENTS), ("its sockets", 10, False), ("its sockets", 10, True)])
def test_a_leader_that_stood_still_does_nothing_more(start, watch, closing, outside, moment, seconds, wakes):
    for _ in range(5):  # where others have the CPUs, its lease may run out before it stands still
        fleet, old, new, monitor, first, stopped = brought_to(moment, start, watch, closing, {} if wakes else outside)
        if stopped:
            break
    assert stopped and leads_in_redis(fleet, old) and not buried(fleet)
    place, at, wid, next_number = monitor.successor(old.wid)
    assert wid == new.wid and at - stopped < TAKEOVER and next_number > first
    wait_until(lambda: time.time() - stopped >= seconds, seconds + 5)
    old.resume()
    wait_until(lambda: old.events("leader_lost"), 5, "the former leader's giving up")

    def of_old(word, lines):
        return [line for _, who, line in lines if who.startswith("127.0.0.1:") and word in line]

    wait_until(lambda: len(of_old(sha1_of("fleet/lead").decode(), monitor.lines[place:])) >= 4, 10, "its questions")
    wait_until(lambda: buried(fleet), 5, "the end of the dead worker")
    assert of_old(GHOST, monitor.lines[:place]) or moment == "the dead worker's name", "it had begun"
    assert not of_old(GHOST, monitor.lines[place:])
    assert not of_old('"ZREM" "sb:workers"', monitor.lines)
    assert leader_of(fleet) is new and number(fleet) == next_number
    assert not [key for key in fleet.redis.keys() if GHOST in key or "ghost" in key]
    wait_until(lambda: new.events("worker_reaped"), 5, "the line of the log")
    assert [line["wid"] for line in new.events("worker_reaped")].count(GHOST) == 1
    assert not old.events("worker_reaped") and {line["number"] for line in old.events("leader_elected")} == {first}


def leads_in_redis(fleet, worker):
    return stored(fleet)["wid"] == worker.wid


def test_a_leader_that_is_stopped_hands_over_at_once(start, connect, watch):
    fleet = start(DRAIN_SECONDS=5)
    leader, monitor = leader_of(fleet), watch(fleet)
    [other], first = others(fleet, leader), number(fleet)
    client = connect(leader)
    wait_until(lambda: len(monitor.reigns()) == 1, 5)
    leader.process.terminate()
    _, at, wid, next_number = monitor.successor(leader.wid)
    assert leader.process.poll() is None, "it is still closing its sockets"
    resigned = [when for when, who, command in monitor.lines if command == RESIGNED]
    assert len(resigned) == 1 and at - resigned[0] < 1 * SLOW * CROWD
    assert wid == other.wid and next_number > first and leader_of(fleet, [other]) is other
    asks([leader], 2)
    assert not leads(leader) and leader_of(fleet) is other
    wait_until(lambda: leader.events("leader_resigned"), 5, "the line of the log")
    assert [line["number"] for line in leader.events("leader_resigned")] == [first]
    leader.stop()
    assert client.expect_close()[0] == 1001 and not leader.events("leader_lost")
    assert leader_of(fleet, [other]) is other and number(fleet) == next_number


def test_a_worker_with_leader_election_off_never_leads(start, watch):
    fleet = start(1, LEADER_ELECTION="off")
    monitor, never = Monitor(fleet.redis), fleet.workers[0]
    asks([never], 8)
    assert not leads(never) and not monitor.reigns() and not fleet.redis.client.exists("sb:leader")
    monitor, able = watch(fleet), Worker(fleet.redis.urls()[0])
    fleet.workers.append(able)
    assert leader_of(fleet) is able
    first = number(fleet)
    asks([never])
    able.kill9()
    wait_until(lambda: int(stored(fleet)["until"]) < time.time() * 1000, 10, "the end of its time")
    asks([never], 8)
    assert not leads(never) and not never.events("leader_elected") and number(fleet) == first
    wait_until(monitor.reigns, 5)
    assert {wid for _, _, wid, _ in monitor.reigns()} == {able.wid}
    fleet.workers.append(Worker(fleet.redis.urls()[0]))
    assert leader_of(fleet, [never, fleet.workers[2]]) is fleet.workers[2] and number(fleet) > first
    wait_until(lambda: metric(never, "signalbox_leader_changes_total") == 1, 5, "its seeing the change")


def test_somebody_leads_again_when_redis_was_emptied(start, watch):
    fleet = start()
    monitor, first = watch(fleet), None
    wait_until(monitor.reigns, 5)
    for _ in range(3):
        leader_of(fleet)
        assert first is None or number(fleet) > first
        first = number(fleet)
        fleet.redis.client.flushall()
        wait_until(lambda: number(fleet), TAKEOVER / SLOW, "a leader in the new Redis")
    leader_of(fleet)
    wait_until(lambda: len(monitor.reigns()) >= 4, 5, "what Redis has run")
    assert number(fleet) > first and len(monitor.reigns()) == 4


def test_a_leader_that_does_not_reach_redis_gives_up_by_itself(start):
    fleet = start(1)
    worker, first = leader_of(fleet), number(fleet)
    fleet.redis.stop()
    wait_until(lambda: not leads(worker), 5, "its giving up")
    wait_until(lambda: worker.events("leader_lost"), 5, "the line of the log")
    assert [line["number"] for line in worker.events("leader_lost")] == [first]
    fleet.redis.start()
    assert leader_of(fleet) is worker and number(fleet) > first
    wait_until(lambda: len(worker.events("leader_elected")) == 2, 5, "the line of the log")
    assert [line["number"] for line in worker.events("leader_elected")] == [first, number(fleet)]
    assert metric(worker, "signalbox_leader_changes_total") == 1


def test_the_leader_alone_takes_rooms_that_have_ended_off_the_list(start, connect, closing):
    fleet = start(LEADER_ELECTION="off", ROOM_TTL_MS=50)
    client, room = connect(fleet.workers[0], "/ws"), uid("room")
    client.expect("ACK")
    client.request("JOIN", room_id=room)
    client.request("LEAVE")
    wait_until(lambda: not fleet.redis.client.exists(f"sb:{{room:{room}}}"), 5, "the end of the room")
    time.sleep(1)  # four looks of each worker, if they did
    assert fleet.redis.client.zscore("sb:{rooms}:all", room) is not None
    fleet.workers.append(Worker(fleet.redis.urls()[0], ROOM_TTL_MS=50))
    wait_until(lambda: fleet.redis.client.zscore("sb:{rooms}:all", room) is None, 5, "the list without the room")
