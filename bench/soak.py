#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A steady load for a long time, with clients that come and go: does anything grow?

Starts a redis-server and two workers by itself. Clients register a code, and offers go from one to the next across the
workers; all the while some leave, half of them without a goodbye, and others come with codes of their own. Samples the
resident memory of the workers and what Redis uses. Prints a table and, as the last line, the same figures as JSON."""
import argparse
import collections
import json
import os
import random
import sys
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "integration"))

from clients import ABNF, begin_upgrade, frame, read_until, reset  # noqa: E402
from harness import ASAN, Fleet, get, http_request  # noqa: E402
from swarm import Member, settle  # noqa: E402

MIB = 1 << 20
ENV = {"IP_CONNECT_RATE": 0, "IP_CONNECTIONS_MAX": 0, "MESSAGE_RATE": 0, "COST_RATE": 0, "LOG_LEVEL": "info", "DRAIN_SECONDS": 0}
ROOMS, TICK, WARM_UP = 20, 0.02, 0.2  # the share of the time that the slope leaves out


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rate", type=int, default=2000, help="offers a second")
    parser.add_argument("--churn", type=int, default=20, help="clients that leave, and come, a second")
    return parser.parse_args()


class Load:
    def __init__(self, fleet, count):
        self.fleet, self.members, self.number = fleet, [], 0
        self.sent, self.received, self.churned, self.errors = 0, 0, 0, collections.Counter()
        for _ in range(count):
            self.members.append(self.join())

    def join(self):
        self.number += 1
        s = begin_upgrade(self.fleet.workers[self.number % 2].port, f"/signal/soak-{self.number % ROOMS}")
        assert b" 101 " in read_until(s, b"\r\n\r\n")
        member = Member(s)
        member.room, member.code = self.number % ROOMS, f"code-{self.number}"
        member.send(type="register", pairingCode=member.code, publicKey="k" * 44)
        return member

    def leave(self, member):
        if random.random() < 0.5:
            member.sock.sendall(ABNF.create_frame(b"\x03\xe8", ABNF.OPCODE_CLOSE).format())
            member.sock.close()
        else:
            reset(member.sock)

    def churn(self):
        i = random.randrange(len(self.members))
        self.leave(self.members[i])
        self.members[i] = self.join()
        self.churned += 1

    def offers(self, count):
        """To others of the same room, some of whom may have just left."""
        rooms = collections.defaultdict(list)
        for member in self.members:
            rooms[member.room].append(member)
        for _ in range(count):
            sender = random.choice(self.members)
            target = random.choice(rooms[sender.room])
            sender.sock.sendall(frame(json.dumps({"type": "offer", "target": target.code, "payload": {"sdp": "x" * 600}})))
        self.sent += count

    def read(self, seconds):
        settle(self.members, seconds)
        for member in self.members:
            for text in member.texts:
                if text.startswith(b'{"type":"offer"'):
                    self.received += 1
                elif text.startswith(b'{"type":"error"'):
                    self.errors[json.loads(text)["message"]] += 1
            member.texts.clear()


def sample(fleet):
    rss = [psutil.Process(worker.pid).memory_info().rss / MIB for worker in fleet.workers]
    return [*rss, fleet.redis.client.info("memory")["used_memory"] / MIB, len(fleet.redis.keys())]


def slope(samples, i):
    """Of the line that lies closest, an hour, without the beginning."""
    kept = samples[int(len(samples) * WARM_UP):]
    times, values = [s[0] / 3600 for s in kept], [s[1][i] for s in kept]
    mean_t, mean_v = sum(times) / len(kept), sum(values) / len(kept)
    spread = sum((t - mean_t) ** 2 for t in times)
    return sum((t - mean_t) * (v - mean_v) for t, v in zip(times, values)) / spread if spread else 0


def run(fleet, options):
    load, samples, begun = Load(fleet, options.clients), [], time.monotonic()
    next_sample = 0
    while (now := time.monotonic() - begun) < options.seconds:
        load.offers(max(0, int(now * options.rate) - load.sent))
        while load.churned < now * options.churn:
            load.churn()
        load.read(TICK)
        if now >= next_sample:
            samples.append((now, sample(fleet)))
            next_sample += max(1, options.seconds / 120)
    load.read(1)
    samples.append((time.monotonic() - begun, sample(fleet)))
    return load, samples


def main():
    options = arguments()
    with Fleet(2, **ENV) as fleet:
        load, samples = run(fleet, options)
        version = http_request(fleet.workers[0], "GET", "/")[2]["version"]
        for member in load.members:
            member.sock.close()
        time.sleep(3)
        left, connections = sample(fleet), [get(worker, "/stats")["connections"] for worker in fleet.workers]
    seconds = samples[-1][0]
    print(f"{load.sent / seconds:.0f} offers a second between {options.clients} clients on two workers for "
          f"{seconds:.0f} s, {load.churned / seconds:.0f} clients left and came each second, {os.cpu_count()} CPUs"
          + " (a build with sanitizers)" * ASAN)
    print(f"{load.sent} sent, {load.received} received, answered with an error: {dict(load.errors)}")
    print(f"{'':<24}{'first':>10}{'last':>10}{'most':>10}{'slope/h':>10}{'all left':>10}")
    rows = {}
    for i, name in enumerate(["worker 1, MiB", "worker 2, MiB", "Redis, MiB", "keys in Redis"]):
        values = [s[1][i] for s in samples]
        rows[name] = {"first": round(values[0], 2), "last": round(values[-1], 2), "most": round(max(values), 2),
                      "slope_per_hour": round(slope(samples, i), 2), "all_left": round(left[i], 2)}
        print(f"{name:<24}" + "".join(f"{v:>10.2f}" for v in rows[name].values()))
    assert connections == [0, 0], f"{connections} connections are left"
    print(json.dumps({"bench": "soak", "version": version, "seconds": round(seconds), "cpus": os.cpu_count(),
                      "sent": load.sent, "received": load.received, "churned": load.churned, "errors": load.errors,
                      "rows": rows}))


if __name__ == "__main__":
    main()
