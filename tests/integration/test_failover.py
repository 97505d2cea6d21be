# SPDX-License-Identifier: MIT
"""The master of Redis is killed, frozen, paused and replaced, behind Sentinels and behind HAProxy, while clients of all
dialects talk across three workers. Then everybody is reached, nothing is left over, every message has met its receiver
or an error, and /ready has said nothing else than what was so.

CHAOS_RUNS=20 runs each fault that often behind each of them (-k swap-cutting: one of these). With CHAOS_FIGURES=FILE
each run leaves a line there, and /usr/bin/python3 tests/integration/test_failover.py FILE prints them as a table."""
import collections
import fcntl
import json
import os
import random
import shutil
import signal
import statistics
import sys
import time

import pytest

from crowd import Crowd
from crowd_roles import populate
from harness import ASAN, SLOW, Worker, freeze, ready, wait_until
from invariants import persists, strays
from redis_rigs import Group, HAProxy, Sentinels, follow, links, role
from stream import Stream, Watch
from test_chaos import ENV, EXPECTED_CLOSES, REACH, describe

RUNS = int(os.environ.get("CHAOS_RUNS", 0))
CLIENTS = int(os.environ.get("CHAOS_CLIENTS", 60))
LEAVING = 4  # clients before the fault, and as many after it has begun
MOMENT = 4 * SLOW  # seconds for which a worker may take itself for ready while Redis says nothing
STEADY = 2  # seconds of peace before, and after
DONE = 20 * SLOW  # within which all goes on, from when there is one master again


class Arena:
    """A master with two replicas, what stands before it, and three workers."""

    def __init__(self, closing, way, watched):
        self.group = Group(closing, 3)
        self.sentinels = Sentinels(closing, self.group) if way == "sentinel" or watched else None
        url = self.sentinels.url() if way == "sentinel" else HAProxy(closing, self.group, way == "cutting").url
        self.workers = [Worker(url, wait=False, **ENV) for _ in range(3)]
        for worker in self.workers:
            closing.callback(worker.stop)
        for worker in self.workers:
            worker.wait_ready()
        self.ports = [worker.port for worker in self.workers]

    @property
    def first(self):
        return self.group.servers[0]

    def master(self):
        """The only one, with all connections of all workers that are ready; None: it is not so."""
        masters = self.group.masters()
        if len(masters) == 1 and all(ready(worker) and len(links(masters[0], worker)) == 3 for worker in self.workers):
            return masters[0]
        return None


def kill(arena):
    arena.first.stop()


def stand_still(arena):
    """It returns as a master, and is a replica when a Sentinel has told it so."""
    freeze(arena.first.process)
    time.sleep(12)
    arena.first.process.send_signal(signal.SIGCONT)
    wait_until(lambda: role(arena.first) == "slave", 30, "its return as a replica")


def hand_over(arena):
    arena.first.client.execute_command("FAILOVER", "TO", "127.0.0.1", arena.group.servers[1].port)
    wait_until(lambda: role(arena.first) == "slave", 10, "the demotion")


def ask_sentinels(arena):
    arena.sentinels.failover()
    wait_until(lambda: role(arena.first) == "slave", 30, "the demotion")


def swap(arena):
    arena.group.swap(arena.group.servers[1])


def pause(arena):
    arena.first.client.execute_command("CLIENT", "PAUSE", 4000, "ALL")


class Fault:
    """watched: Sentinels have to see it, behind HAProxy too."""

    def __init__(self, name, strike, watched, often):
        self.name, self.strike, self.watched = name, strike, watched
        self.often = often  # the ways behind which it is tried each time


FAULTS = [Fault("kill -9", kill, True, ["sentinel"]),
          Fault("SIGSTOP for 12 s", stand_still, True, ["sentinel"]),
          Fault("FAILOVER TO", hand_over, False, ["keeping"]),
          Fault("SENTINEL FAILOVER", ask_sentinels, True, ["sentinel"]),
          Fault("REPLICAOF swap", swap, False, ["cutting"]),
          Fault("CLIENT PAUSE 4 s", pause, False, ["cutting"])]
WAYS = {"sentinel": "Sentinel", "keeping": "HAProxy", "cutting": "HAProxy that cuts"}
CASES = [pytest.param(fault, way, run, id=f"{fault.strike.__name__}-{way}-{run}") for run in range(max(1, RUNS))
         for fault in FAULTS for way in WAYS if RUNS or way in fault.often]


@pytest.mark.parametrize("fault, way, run", CASES)
def test_everybody_is_reached_and_nothing_was_lost_in_silence(closing, record_property, fault, way, run):
    if ASAN and not RUNS and fault is not FAULTS[0]:
        pytest.skip("one fault shows what a sanitizer can see")
    if way != "sentinel" and not shutil.which("haproxy"):
        pytest.skip("haproxy is not installed")
    seed = int(os.environ.get("CHAOS_SEED", random.randrange(1 << 32)))
    print(f"CHAOS_SEED={seed}")
    arena = Arena(closing, way, fault.watched)
    crowd, stream = Crowd(arena.ports, seed, 0.3), Stream(arena.ports, seed)
    populate(crowd, CLIENTS)
    for one in (crowd, stream):
        closing.callback(one.stop)
        one.start()
    wait_until(lambda: crowd.failure or all(client.settlings for client in crowd.clients), 20, "everybody settled")
    wait_until(stream.settled, 20, "the stream settled")
    watch = Watch(arena.workers)
    closing.callback(watch.stop)

    begun, end = run_through(arena, fault, crowd, stream)
    watch.stop()
    figures = {"fault": fault.name, "way": WAYS[way], "gap": round(stream.gap(begun, end), 2), "sent": stream.sent(),
               "refused": stream.refused(), "cut off": stream.count("cut"), "lost": stream.lost(),
               "lie": round(watch.longest_lie(), 2)}
    keep(figures, record_property)
    print(figures, stream.tell_lost(begun), watch.reasons(), crowd.account, story(arena), sep="\n")
    check(arena, crowd, stream, figures)


def story(arena):
    """What the workers say of Redis and of their leases, in order."""
    lines = [(line["ts"], worker.port, line["event"], line.get("connection"), line.get("reason"))
             for worker in arena.workers for line in worker.log()
             if line.get("event", "").startswith(("redis", "sentinel", "lease", "registrations"))]
    return "\n".join(map(str, sorted(lines, key=lambda line: line[:2])))


def run_through(arena, fault, crowd, stream):
    """Until every lane of the stream has spoken again and all is answered; when the fault came, and when the stream
    ended."""
    stream.speaking = True
    wait_until(lambda: stream.failure or stream.flows(0), 10, "the stream flows")
    time.sleep(STEADY)
    crowd.depart(LEAVING)
    begun = time.monotonic()
    fault.strike(arena)
    crowd.depart(LEAVING)
    wait_until(arena.master, 60, "one master, and all workers at it")
    back = time.monotonic()
    wait_until(lambda: stream.failure or stream.flows(back), DONE / SLOW, "the stream flows again")
    time.sleep(STEADY)
    stream.speaking, end = False, time.monotonic()
    persists(lambda: any(lane.open_ones() for lane in stream.lanes.values()), 4)
    return begun, end


def check(arena, crowd, stream, figures):
    assert not crowd.failure and not stream.failure, (crowd.failure, stream.failure)
    stream.stop()
    crowd.prove()
    unproved = persists(lambda: not crowd.failure and [c for c in crowd.clients if not c.proved], REACH / SLOW)
    assert not crowd.failure, crowd.failure
    assert not unproved, describe(crowd, unproved)
    assert not (stuck := crowd.unanswered(REACH)), stuck
    master = wait_until(arena.master, 10, "all workers at the master")
    assert not (wrong := persists(lambda: strays(master.client, arena.workers, crowd), 15)), wrong
    odd = [close for close in crowd.account.closes if close not in EXPECTED_CLOSES]
    assert not odd, crowd.account.closes
    assert not figures["lost"]
    assert figures["lie"] < MOMENT


def keep(figures, record_property):
    for name, value in figures.items():
        record_property(name, value)
    if "CHAOS_FIGURES" in os.environ:
        with open(os.environ["CHAOS_FIGURES"], "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(json.dumps(figures) + "\n")


def table(lines):
    """What all runs left, as Markdown."""
    rows = collections.defaultdict(list)
    for line in lines:
        figures = json.loads(line)
        rows[figures["fault"], figures["way"]].append(figures)
    yield "| fault | behind | runs | gap, s: median | longest | sent | refused | cut off | lost in silence | ready wrongly, s |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for (fault, way), runs in sorted(rows.items(), key=lambda row: ([f.name for f in FAULTS].index(row[0][0]), row[0][1])):
        gaps = [run["gap"] for run in runs]
        sums = [sum(run[name] for run in runs) for name in ("sent", "refused", "cut off", "lost")]
        yield "| " + " | ".join(map(str, [fault, way, len(runs), f"{statistics.median(gaps):.1f}", f"{max(gaps):.1f}",
                                          *(f"{count:,}" for count in sums), max(run["lie"] for run in runs)])) + " |"


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        print(*table(file), sep="\n")
