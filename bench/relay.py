#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Offers of 1 KiB between pairs of clients, in /signal and /ws, on the same worker, across two, over TLS, and across two
that speak TLS to Redis.

Closed loop: of each pair one offer is under way, B answers A's with one of its own. What counts is the CPU time of each
process per message, which is an offer received and brought to the other; "msg/s" is what the CPUs that the servers
share here can carry. The yardstick is a "bare echo", what a message costs a server that does no more than send it back,
measured just before; "times" is how many of those a message costs all processes together. The closed loop is measured
in rounds, each with its echo, and the round of the median "times" is what is told. Open loop: half of the
rate of the closed one, whatever happens; a time counts from when its offer was to be sent. TLS: on the same worker,
TLS-Redis: across two; the first of the paths and of the numbers of pairs, in closed loop.
Starts a redis-server and the workers by itself. Prints a table and, for each row, a line of JSON."""
import argparse
import sys

import runner

PATHS = {"/signal": {"hello": '{"type":"register","pairingCode":"c%i","publicKey":"k"}', "welcome": "registered"},
         "/ws": {"welcome": "ACK"}}
PROCESSES = "worker1", "worker2", "redis"
COLUMNS = "{:<20}{:>6}{:>9}{:>10}{:>10}{:>8}{:>8}{:>7}{:>9}{:>9}{:>9}{:>9}"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--pairs", type=int, nargs="*", default=[100, 1000])
    parser.add_argument("--paths", nargs="*", default=list(PATHS))
    parser.add_argument("--places", nargs="*", default=["same", "across", "TLS", "TLS-Redis"])
    parser.add_argument("--seconds", type=float, default=3, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bytes", type=int, default=1024)
    parser.add_argument("--no-open", action="store_true", help="closed loop only")
    return parser.parse_args()


def run(fleet, options, path, place, pairs, echo, rate=0):
    workers = fleet.workers[:2 if place in ("across", "TLS-Redis") else 1]
    result = runner.measure(fleet, "relay", workers, path=path, clients=2 * pairs, bytes=options.bytes, rate=rate,
                            seconds=options.seconds, **PATHS[path])
    cpu = runner.per(result, result["messages"])
    times = round(sum(us or 0 for us in cpu.values()) / echo, 2)
    return {"bench": "relay", "path": path, "place": place, "pairs": pairs, "loop": "open" if rate else "closed",
            "rate": round(rate), "per_second": round(result["messages"] / max(result["seconds"], 1e-3)),
            "cpu_per_message_us": cpu, "echo_us": echo, "times_echo": times, **result}


def rounds(fleet, options, *case):
    """Of several rounds in closed loop the median one, or one that has lost something."""
    rows = []
    for _ in range(options.rounds):
        rows.append(run(fleet, options, *case, runner.echo_us(case[-1], options.bytes, min(1, options.seconds))))
    rows.sort(key=lambda row: (row["clean"], row["times_echo"]))
    return rows[len(rows) // 2] if rows[0]["clean"] else rows[0]


def show(row):
    cpu, latency, problem = row["cpu_per_message_us"], row["latency_us"], runner.lost(row)
    print(COLUMNS.format(f"{row['path']} {row['place']}", row["pairs"], row["per_second"],
                         *(cpu.get(name) or "-" for name in PROCESSES), row["echo_us"], row["times_echo"],
                         *(latency[q] for q in ("p50", "p99", "p99.9", "max")))
          + ("  open loop" if row["rate"] else "") + (f"\n{problem}" if problem else ""), flush=True)
    return row


def main():
    options, rows = arguments(), []
    print(f"Offers of {options.bytes} bytes, {options.rounds} rounds of {options.seconds} s; {runner.setting()}")
    print(COLUMNS.format("", "pairs", "msg/s", "worker 1", "worker 2", "Redis", "bare", "times", "p50 µs", "p99",
                         "p99.9", "max")
          + "\n" + COLUMNS.format("", "", "", "CPU µs", "per", "message", "echo", "", "", "", "", ""))
    with runner.servers(2) as fleet:
        for path in options.paths:
            for place in [place for place in options.places if not place.startswith("TLS")]:
                for pairs in options.pairs:
                    closed = rounds(fleet, options, path, place, pairs)
                    rows.append(show(closed))
                    if not options.no_open:
                        rows.append(show(run(fleet, options, path, place, pairs, closed["echo_us"],
                                             closed["per_second"] / 2)))
    if "TLS" in options.places:
        with runner.servers(1, tls=True) as fleet:
            rows.append(show(rounds(fleet, options, options.paths[0], "TLS", options.pairs[0])))
    if "TLS-Redis" in options.places:
        with runner.servers(2, redis_tls=True) as fleet:
            rows.append(show(rounds(fleet, options, options.paths[0], "TLS-Redis", options.pairs[0])))
    return runner.finish(rows)


if __name__ == "__main__":
    sys.exit(main())
