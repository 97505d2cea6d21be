#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What well-behaved clients notice of hostile ones, and what those cost a worker in memory.

Starts a redis-server and two workers by itself, with their default limits. Pairs of clients, one on each worker, send
each other offers: in quiet, and during each attack on the first worker, which comes from a process of its own and from
other addresses. Prints a table and, as the last line, the same figures as JSON; fails if a worker ever takes more memory
than README's formula says or Redis more than its brake lets it, if others notice more than they are to, or if they have
lost something (victims.py).

An offer's time begins when it was due, also where it had to wait for the one before: a worker that stands still for a
second holds up all the offers of that second. The attacked worker has a CPU of its own. The attackers' time is not what
is measured: on the other CPUs they have what nobody else wants."""
import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "integration"))

from attackers import CROWDS, ROOM, socket_to  # noqa: E402
from harness import ASAN, DEFAULT_LIMITS, Fleet, get, http_request  # noqa: E402
from spenders import SPENDERS  # noqa: E402
from swarm import Member  # noqa: E402
from victims import ENV as ATTESTATION, Victims  # noqa: E402

MIB = 1 << 20
ENV = {"LOG_LEVEL": "info", "SIGNAL_PRESENCE_MAX": 0, **DEFAULT_LIMITS, **ATTESTATION}
REDIS_MAX = 512 * MIB  # its maxmemory
REDIS = ["--maxmemory", str(REDIS_MAX), "--maxmemory-policy", "noeviction"]
BRAKE = 0.95  # of that; nothing may grow above it
ATTACKS = {**CROWDS, **SPENDERS}
# README, section Limits: of one worker, by its connections of any kind
FIXED, EACH = (16 + 1.25 * 256 + 4 * 32 + 1.25 * 192) * MIB, 8 * 1024
AIM = 2  # times the quiet p99
BEYOND = ("flood",)  # more than the aim is about
OFFERS_A_SECOND, PAIRS = 400, 5


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=10, help="of quiet, and of each attack")
    parser.add_argument("--only", help="some of " + ",".join(ATTACKS))
    parser.add_argument("--half-open", type=int, default=10_000)
    parser.add_argument("--attack", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


# --- the well-behaved ---

def code_of(member, code):
    member.send(type="register", pairingCode=code)
    member.expect("registered", 20)
    return member


class Pairs:
    """Of each, one is on the first worker and one on the second; they take turns in sending."""

    def __init__(self, fleet):
        self.fleet, self.pairs, self.n = fleet, [], 0
        for i in range(PAIRS):
            pair = [Member(socket_to(worker.port, ROOM, f"127.0.1.{2 * i + j + 1}"))
                    for j, worker in enumerate(fleet.workers)]
            self.pairs.append([code_of(member, f"good-{i}-{where}") for where, member in enumerate(pair)])

    def offer(self, due):
        """The ms that one offer takes from one worker to the other, either way, from when it was due."""
        self.n += 1
        i, to = self.n % PAIRS, self.n // PAIRS % 2
        sender, receiver = self.pairs[i][1 - to], self.pairs[i][to]
        sender.send(type="offer", target=f"good-{i}-{to}", payload={"n": self.n, "sdp": "x" * 1024})
        while not receiver.texts:
            receiver.read()
            assert not receiver.closed
        assert json.loads(receiver.texts.popleft())["payload"]["n"] == self.n
        return (time.monotonic() - due) * 1e3

    def run(self, seconds):
        """(times of the offers, the most memory of each worker and, last, of Redis). An offer that waits for the one before
        waits, too."""
        times, begun, peaks = [], time.monotonic(), rss(self.fleet)
        while (now := time.monotonic()) < begun + seconds:
            due = begun + len(times) / OFFERS_A_SECOND
            if due > now:
                time.sleep(due - now)
                due = time.monotonic()
            times.append(self.offer(due))
            if len(times) % 20 == 0:
                peaks = [max(pair) for pair in zip(peaks, rss(self.fleet))]
        return times, peaks


def rss(fleet):
    """Of each worker, and what Redis counts of its maxmemory."""
    workers = [psutil.Process(worker.pid).memory_info().rss for worker in fleet.workers]
    return [*workers, fleet.redis.client.info("memory")["used_memory"]]


def descriptors(fleet):
    return [psutil.Process(worker.pid).num_fds() for worker in fleet.workers]


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def row_of(times, before, peaks, after, bounds):
    return {"offers": len(times), "median": round(percentile(times, 0.5), 2), "p99": round(percentile(times, 0.99), 2),
            "max": round(max(times), 2), "rss_before_mb": [round(n / MIB, 1) for n in before],
            "rss_peak_mb": [round(n / MIB, 1) for n in peaks], "rss_after_mb": [round(n / MIB, 1) for n in after],
            "bound_mb": [round(n / MIB, 1) for n in bounds]}


def attacked(fleet, pairs, victims, name, options):
    """The pairs' figures while one attack goes on."""
    before = rss(fleet)
    attacker = subprocess.Popen([sys.executable, __file__, "--attack", name, "--port", str(fleet.workers[0].port),
                                 "--half-open", str(options.half_open)], stdout=subprocess.PIPE, text=True)
    try:
        assert attacker.stdout.readline() == "ready\n", "the attacker gave up"
        times, peaks = pairs.run(options.seconds)
        assert attacker.poll() is None, f"the attacker gave up after {len(times)} offers"
        open_fds = descriptors(fleet)
    finally:
        attacker.kill()
    told = attacker.communicate()[0].splitlines()
    bounds = [*(FIXED + EACH * n for n in open_fds), BRAKE * REDIS_MAX]
    time.sleep(3)
    pairs.run(1)
    row = {**row_of(times, before, peaks, rss(fleet), bounds), "attack": json.loads(told[-1] if told else "{}"),
           "connections": open_fds[0], "lost": victims.lost()}
    row["over"] = [f"{peak / MIB:.0f} MiB, the bound is {bound / MIB:.0f}" for peak, bound in zip(peaks, bounds)
                   if peak > bound and not ASAN]
    return row


def quiet_p99(pairs, options):
    return percentile(pairs.run(options.seconds / 2)[0], 0.99)


def measure(options):
    rows = {}
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cpus[1:] or cpus)
    with Fleet(2, redis_options=REDIS, **ENV) as fleet:
        os.sched_setaffinity(fleet.workers[0].pid, cpus[:1])
        pairs, victims = Pairs(fleet), Victims(fleet)
        pairs.run(2)
        before = rss(fleet)
        times, peaks = pairs.run(options.seconds)
        rows["quiet"] = row_of(times, before, peaks, rss(fleet), [FIXED] * 2 + [BRAKE * REDIS_MAX])
        quiet = rows["quiet"]["p99"]
        for name in ATTACKS:
            if options.only and name not in options.only.split(","):
                continue
            rows[name] = attacked(fleet, pairs, victims, name, options)
            after = quiet_p99(pairs, options)
            rows[name]["p99_ratio"] = round(rows[name]["p99"] * 2 / (quiet + after), 2)
            quiet = after
        version = http_request(fleet.workers[0], "GET", "/")[2]["version"]
        shed = [line for line in get(fleet.workers[0], "/metrics").decode().splitlines()
                if line.startswith(("signalbox_slow_clients", "signalbox_shed", "signalbox_redis_refused",
                                    "signalbox_rate_limited", "signalbox_handshakes"))]
    return rows, version, shed


def main():
    options = arguments()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    if options.attack:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        ATTACKS[options.attack](options)
        return
    rows, version, counters = measure(options)
    print(f"Offers of 1 KiB from one worker to another, {OFFERS_A_SECOND} a second; what is attacked is the first; "
          f"{os.cpu_count()} CPUs" + " (a build with sanitizers)" * ASAN)
    print(f"{'an offer, ms':<16}{'median':>8}{'p99':>8}{'max':>8}{'p99/quiet':>11}{'RSS before':>12}{'peak':>8}"
          f"{'after':>8}{'Redis':>8}  MiB, first worker and peak of Redis")
    for name, row in rows.items():
        print(f"{name:<16}{row['median']:>8.2f}{row['p99']:>8.2f}{row['max']:>8.2f}{row.get('p99_ratio', 1):>11.2f}"
              f"{row['rss_before_mb'][0]:>12.1f}{row['rss_peak_mb'][0]:>8.1f}{row['rss_after_mb'][0]:>8.1f}"
              f"{row['rss_peak_mb'][2]:>8.1f}"
              f"  {json.dumps(row.get('attack', {}))}")
    print(*counters, sep="\n")
    missed = [name for name, row in rows.items() if name not in BEYOND and row.get("p99_ratio", 1) > AIM]
    print(f"A p99 of at most {AIM} times the quiet one, before and after: "
          + (f"missed by {', '.join(missed)}" if missed else "reached") + f" ({', '.join(BEYOND)} aside)")
    taken = {name: found for name, row in rows.items() if (found := row.get("lost", []) + row.get("over", []))}
    print("What others lost, or is over its bound: " + (json.dumps(taken) if taken else "nothing"))
    print(json.dumps({"bench": "hostile", "version": version, "cpus": os.cpu_count(), "fixed_mb": FIXED / MIB,
                      "each_kb": EACH // 1024, "rows": rows}))
    sys.exit(bool(taken or (missed and not ASAN)))


if __name__ == "__main__":
    main()
