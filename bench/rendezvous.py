#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Registrations at a rendezvous that find somebody: two peers on two workers, at the same token.

Clients come in pairs, one on each worker; each registers an hourly token that its partner has too, or will have, and
again when it has its result: closed loop. Nearly each registration has one live match, and the partner is told of it.
There is one more row with three daily points and a dead drop, as an app registers. What counts is the CPU time of each
process per registration. Prints a table and, for each row, a line of JSON."""
import argparse
import sys

import runner

# Pairs are groups of two. The tokens come around, as a peer does not hold ever more of them.
TOKEN = '{"type":"register_rendezvous","peerId":"p%i","relayId":"r","hourlyTokens":["t-%g-%m"]}'
POINTS = ('{"type":"register_rendezvous","peerId":"p%i","relayId":"r","hourlyTokens":["t-%g-%m"],'
          '"dailyPoints":["a-%g-%m","b-%g-%m","c-%g-%m"],"deadDrop":"' + "x" * 200 + '"}')
KINDS = {"one token": TOKEN, "a token and three points": POINTS}
COLUMNS = "{:<28}{:>7}{:>9}{:>9}{:>10}{:>10}{:>10}{:>9}{:>9}{:>9}"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=5)
    return parser.parse_args()


def run(fleet, options, kind):
    result = runner.measure(fleet, "ask", fleet.workers, path="/relay", group=2, clients=2 * options.pairs,
                            ask=KINDS[kind], answer="rendezvous_result", seconds=options.seconds)
    cpu, latency, problem = runner.per(result, result["messages"]), result["latency_us"], runner.lost(result)
    matches = result["deliveries"] / max(1, result["messages"])
    print(COLUMNS.format(kind, options.pairs, f"{result['messages'] / result['seconds']:.0f}", f"{matches:.2f}",
                         *(cpu[n] or 0 for n in ("worker1", "worker2", "redis")),
                         *(latency[q] for q in ("p50", "p99", "max"))) + ("\n" + problem if problem else ""), flush=True)
    return {"bench": "rendezvous", "kind": kind, "pairs": options.pairs, "matches_per_registration": round(matches, 3),
            "cpu_per_registration_us": cpu, **result}


def main():
    options = arguments()
    print(f"Registrations by pairs on two workers, {options.seconds} s each; {runner.setting()}")
    print(COLUMNS.format("", "pairs", "a second", "matches", "worker 1", "worker 2", "Redis", "p50 µs", "p99", "max"))
    print(COLUMNS.format("", "", "", "each", "CPU µs", "for each", "", "", "", ""))
    with runner.servers(2) as fleet:
        rows = [run(fleet, options, kind) for kind in KINDS]
    return runner.finish(rows)


if __name__ == "__main__":
    sys.exit(main())
