#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What each type of message costs Redis and the workers, and what its row of the dialect's table charges for that.

Each row is a type and a shape: small, with many items, or big. Clients are spread over two workers, and what one sends
to another goes across. CPU time is that of Redis and both workers together, from the first message until what the
clients had registered is undone; what an idle fleet takes in that time is taken off. What is charged comes from the
worker's metric signalbox_cost_total. The table's figures are those of one machine: "of all" is how much more a row
costs than it is charged, as against the middle of all rows. Starts a redis-server and the workers by itself. Prints a
table and, as the last line, the same figures as JSON."""
import argparse
import collections
import json
import os
import re
import statistics
import sys
import time

import runner
from costs_http import ENV as HTTP_ENV
from costs_http import HTTP
from costs_messages import MESSAGES
from harness import get

ENV = {"PAIR_REQUESTS_PER_MINUTE": 0, "SIGNAL_PRESENCE_MAX": 1000, "STORE_ADDRESS_MAX": 1 << 40, **HTTP_ENV}
SHAPES = MESSAGES + HTTP
PAUSE = 0.04  # seconds; who spends next to nothing in it has done what there was to do
Row = collections.namedtuple("Row", "dialect type shape messages us charged_us ratio")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--scale", type=float, default=1, help="how many times the usual number of messages")
    parser.add_argument("--only", nargs="*", help="these types: dialect/type")
    return parser.parse_args()


def spent(fleet):
    return sum(runner.cpu_us(pid) for pid in runner.pids(fleet).values())


def quiet(fleet, idle):
    """Waits until the fleet does nothing but what it does when it is idle, in µs a second; returns what it has spent."""
    before = spent(fleet)
    while True:
        time.sleep(PAUSE)
        now = spent(fleet)
        if now - before < (idle + 15_000) * PAUSE:
            return now
        before = now


def idle_us(fleet):
    """What an idle fleet spends in a second."""
    time.sleep(0.3)
    before, begun = spent(fleet), time.monotonic()
    time.sleep(1)
    return (spent(fleet) - before) / (time.monotonic() - begun)


def charges(fleet, dialect):
    """The units that all its types were worth up to now."""
    text = "\n".join(get(worker, "/metrics").decode() for worker in fleet.workers)
    return sum(map(float, re.findall(rf'^signalbox_cost_total{{dialect="{dialect}",type="[^"]*"}} (\S+)$', text, re.M)))


def measure(fleet, shape, scale, idle):
    made = shape.make(fleet, scale)
    next(made)  # it is set up
    quiet(fleet, idle)
    charged = charges(fleet, shape.dialect)
    before, begun = spent(fleet), time.monotonic()
    count = next(made)
    us = quiet(fleet, idle) - before - idle * (time.monotonic() - begun)
    charged = (charges(fleet, shape.dialect) - charged) * 10
    next(made, None)
    return Row(shape.dialect, shape.type, shape.shape, count, round(us / count, 1), round(charged / count, 1),
               round(us / max(charged, 0.1), 2))


def main():
    options, rows = arguments(), []
    print(f"CPU µs of Redis and two workers for a message; {runner.setting()}")
    print(f"{'':<34}{'shape':<12}{'messages':>9}{'µs':>10}{'charged':>10}{'ratio':>8}")
    with runner.servers(2, **ENV) as fleet:
        idle = idle_us(fleet)
        for shape in SHAPES:
            if options.only and f"{shape.dialect}/{shape.type}" not in options.only:
                continue
            row = measure(fleet, shape, options.scale, idle)
            rows.append(row)
            print(f"{row.dialect + ' ' + row.type:<34}{row.shape:<12}{row.messages:>9}{row.us:>10}{row.charged_us:>10}"
                  f"{row.ratio:>8}", flush=True)
    middle = round(statistics.median(row.ratio for row in rows), 2)
    far = [row for row in rows if not 0.5 <= row.ratio / middle <= 2]
    print(f"The middle of all ratios is {middle}; over 2 from it: "
          + (", ".join(f"{row.dialect} {row.type} {row.shape}" for row in far) or "none"))
    print(json.dumps({"bench": "costs", "cpus": os.cpu_count(), "idle_us": round(idle), "middle": middle,
                      "rows": [row._asdict() for row in rows]}))
    return bool(far)


if __name__ == "__main__":
    sys.exit(main())
