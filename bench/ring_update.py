#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A member joins the pool, or leaves it: the time until every other member on each worker has its ring_update.

Starts a redis-server and the workers by itself. Prints a table and, as the last line, the same figures as JSON.
The members live in this process: one epoll loop reads them all, sends their heartbeats, and looks only for the id of
who came or went. On a machine with few cores the loop takes its share of the time."""
import argparse
import collections
import heapq
import hmac
import json
import os
import random
import resource
import select
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "integration"))

from harness import ASAN, SLOW, Fleet, http_request  # noqa: E402
from swarm import members  # noqa: E402

KEY = "shared by the members of the pool"
ENV = {"WORKER_SHARED_KEY": KEY, "IP_CONNECT_RATE": 0, "IP_CONNECTIONS_MAX": 0, "MESSAGE_RATE": 0, "COST_RATE": 0, "LOG_LEVEL": "info",
       "PING_INTERVAL_MS": 3_600_000}
BEAT = 0.3  # what a member is expected to do; one that is silent for a second is out of the pool
AIM_MS = 100


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--members", type=int, default=10, help="on each worker")
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--pause", type=float, default=40, help="between two changes, ms on average")
    return parser.parse_args()


class Pool:
    """Members on all workers, and guests, one on each, that are to join and leave."""

    def __init__(self, fleet, count):
        self.poll, self.by_fd, self.beats = select.epoll(), {}, []
        self.members = [self.connect(worker, f"member-{i}-{n}") for n in range(count)
                        for i, worker in enumerate(fleet.workers)]
        self.guests = [self.connect(worker, f"guest-{i}") for i, worker in enumerate(fleet.workers)]
        for i, member in enumerate(self.members + self.guests):
            member.worker = i % len(fleet.workers)
        joining = set(self.members)
        for member in self.members:
            self.register(member)

        def arrived(member, text):
            kind = json.loads(text)["type"]
            assert kind != "error", text
            if kind == "worker_registered":
                joining.discard(member)

        self.run(10, lambda: not joining, arrived)
        self.run(1.5, lambda: False, arrived)  # until all have heard of all

    def connect(self, worker, id):
        [member] = members([worker], 1, "/worker-sync")
        member.id, member.registered = id, False
        nonce = member.expect("challenge")["nonce"]
        member.send(type="auth", id=id, hmac=hmac.new(KEY.encode(), nonce.encode(), "sha256").hexdigest())
        self.by_fd[member.fileno()] = member
        self.poll.register(member, select.EPOLLIN)
        heapq.heappush(self.beats, (time.monotonic() + BEAT * random.random(), id, member))
        return member

    def register(self, member):
        member.send(type="worker_register", endpoint=f"wss://{member.id}.example:8443", capacity=1000)
        member.registered = True

    def leave(self, member):
        member.send(type="worker_leave")
        member.registered = False

    def beat(self):
        """Those whose time it is; returns the seconds until the next one's."""
        while self.beats[0][0] <= time.monotonic():
            due, id, member = self.beats[0]
            heapq.heapreplace(self.beats, (due + BEAT, id, member))
            if member.registered:
                member.send(type="worker_heartbeat", load=1)
        return max(0, self.beats[0][0] - time.monotonic())

    def run(self, seconds, done, arrived):
        """Calls arrived(member, text) for each text that comes, until done() and for so long at most; was it done?"""
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() >= end:
                return False
            for fd, _ in self.poll.poll(min(self.beat(), max(0, end - time.monotonic()))):
                member = self.by_fd[fd]
                member.read()
                assert not member.closed, f"{member.id} was closed"
                while member.texts:
                    arrived(member, member.texts.popleft())
        return True

    def close(self):
        self.poll.close()
        for member in self.by_fd.values():
            member.sock.close()


class Change:
    """One change, and when each worker's members had all heard of it."""

    def __init__(self, pool, guest, joins):
        self.mark, self.joins, self.updates = f'"id":"{guest.id}"'.encode(), joins, 0
        self.waiting = collections.defaultdict(set)
        for member in pool.members + [guest] * joins:
            self.waiting[member.worker].add(member)
        self.ms, self.expected, self.begun = {}, sum(map(len, self.waiting.values())), time.perf_counter()
        (pool.register if joins else pool.leave)(guest)

    def arrived(self, member, text):
        if not text.startswith(b'{"type":"ring_update"'):
            assert not text.startswith(b'{"type":"error"'), text
            return
        self.updates += 1
        left = self.waiting.get(member.worker)
        if not left or (self.mark in text) != self.joins:
            return
        left.discard(member)
        if not left:
            self.ms[member.worker] = (time.perf_counter() - self.begun) * 1e3
            del self.waiting[member.worker]


def one_change(pool, number, pause):
    """Guests take turns: one joins, then it leaves."""
    guest = pool.guests[number // 2 % len(pool.guests)]
    change = Change(pool, guest, number % 2 == 0)
    assert pool.run(10 * SLOW, lambda: not change.waiting, change.arrived), \
        f"{sum(map(len, change.waiting.values()))} members heard nothing of change {number}"
    pool.run(pause / 1e3 * random.uniform(0.5, 1.5), lambda: False, change.arrived)
    return change


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def figures(values):
    return {"median": round(statistics.median(values), 2), "p99": round(percentile(values, 0.99), 2),
            "max": round(max(values), 2)}


def main():
    options = arguments()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with Fleet(options.workers, **ENV) as fleet:
        pool = Pool(fleet, options.members)
        for number in range(2 * options.workers):
            one_change(pool, number, options.pause)
        changes = [one_change(pool, number, options.pause) for number in range(options.changes)]
        answer = http_request(fleet.workers[0], "GET", "/workers")[2]
        version = http_request(fleet.workers[0], "GET", "/")[2]["version"]
        pool.close()
    assert {member["id"] for member in answer["workers"]} >= {member.id for member in pool.members}, "some got lost"
    each = [figures([change.ms[i] for change in changes]) for i in range(options.workers)]
    last = figures([max(change.ms.values()) for change in changes])
    heard = sum(change.updates for change in changes) / sum(change.expected for change in changes)
    print(f"{options.changes} changes of the ring, {options.members} members on each of {options.workers} workers, "
          f"{os.cpu_count()} CPUs" + " (a build with sanitizers)" * ASAN)
    print(f"{'until all members heard of it, ms':<36}{'median':>10}{'p99':>10}{'max':>10}")
    for label, row in [*((f"on worker {i + 1}", row) for i, row in enumerate(each)), ("on all workers", last)]:
        print(f"{label:<36}{row['median']:>10.2f}{row['p99']:>10.2f}{row['max']:>10.2f}")
    print(f"{heard:.2f} ring_update messages for each member and change; the aim is {AIM_MS} ms at most: "
          + ("reached" if last["max"] <= AIM_MS else "missed"))
    print(json.dumps({"bench": "ring_update", "version": version, "workers": options.workers,
                      "members": options.members, "changes": options.changes, "cpus": os.cpu_count(),
                      "updates_per_change": round(heard, 3), "per_worker": each, "last_ms": last}))


if __name__ == "__main__":
    main()
