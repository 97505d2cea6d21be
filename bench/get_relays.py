#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""get_relays where 100,000 peers are registered: what an answer of ten costs.

The peers are simulated: written by the script that registers one. Clients on two workers ask, and again when they have
their answer: closed loop. Prints a table and a line of JSON."""
import argparse
import sys

import populate
import runner

COLUMNS = "{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--peers", type=int, default=100000)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=5)
    return parser.parse_args()


def main():
    options = arguments()
    print(f"get_relays by {options.clients} clients on two workers, {options.seconds} s; {runner.setting()}")
    print(COLUMNS.format("peers", "a second", "worker 1", "worker 2", "Redis", "p50 µs", "p99", "max"))
    print(COLUMNS.format("", "", "CPU µs", "for each", "", "", "", ""))
    with runner.servers(2) as fleet:
        populate.relays(fleet, range(options.peers))
        result = runner.measure(fleet, "ask", fleet.workers, path="/relay", clients=options.clients,
                                ask='{"type":"get_relays","count":10}', answer="relays", seconds=options.seconds)
    cpu, latency, problem = runner.per(result, result["messages"]), result["latency_us"], runner.lost(result)
    print(COLUMNS.format(options.peers, f"{result['messages'] / result['seconds']:.0f}",
                         *(cpu[n] or 0 for n in ("worker1", "worker2", "redis")),
                         *(latency[q] for q in ("p50", "p99", "max"))) + ("\n" + problem if problem else ""))
    return runner.finish([{"bench": "get_relays", "peers": options.peers, "cpu_per_answer_us": cpu, **result}])


if __name__ == "__main__":
    sys.exit(main())
