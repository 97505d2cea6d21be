#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""10,000 clients connect as fast as they can, and do so again when their worker is killed.

All connect to one worker at the same moment: plain WebSockets, then with a code that each registers, which is what a
client has to do before it is of use. The worker is then killed with -9, and all go to the other one and register their
code there. The dead worker's lease still says that it holds them, so that each waits out the probe, TAKEOVER_PROBE_MS,
before it has its own. Prints a table and, for each storm, a line of JSON."""
import argparse
import sys

import runner

REGISTER = {"hello": '{"type":"register","pairingCode":"code-%i","publicKey":"key"}', "welcome": "registered"}
COLUMNS = "{:<34}{:>10}{:>12}{:>12}{:>12}{:>12}{:>10}{:>10}"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--clients", type=int, default=10000)
    return parser.parse_args()


def row(name, result, count, seconds, cpu):
    """count connections in so many seconds; cpu: µs each."""
    times, problem = result["connect_us"], runner.lost(result)
    print(COLUMNS.format(name, count, f"{count / seconds:.0f}", *(f"{cpu.get(n, 0):.1f}" for n in
                         ("worker1", "worker2", "redis")), times["p50"] // 1000, times["max"] // 1000)
          + ("\n" + problem if problem else ""), flush=True)
    return {"bench": "storm", "storm": name, "count": count, "seconds": seconds,
            "per_second": round(count / seconds), "cpu_per_connection_us": cpu,
            **{key: value for key, value in result.items() if key not in ("cpu_us", "seconds")}}


def spent(fleet, before):
    return {name: runner.cpu_us(pid) - before[name] for name, pid in runner.pids(fleet).items()}


def storm(fleet, name, clients, **options):
    """All at the same moment; the load generator is left connected."""
    before = {name: runner.cpu_us(pid) for name, pid in runner.pids(fleet).items()}
    load = runner.connected("idle", fleet.workers, path="/signal", homes=1, clients=clients, connecting=clients,
                            **options)
    cpu = {name: round(us / clients, 2) for name, us in spent(fleet, before).items()}
    return load, cpu


def first_storm(fleet, name, clients, **options):
    load, cpu = storm(fleet, name, clients, seconds=0, **options)
    result = load.measure(fleet)
    return row(name, result, clients, result["connects"]["seconds"], cpu)


def storm_after_a_kill(fleet, name, clients):
    load, _ = storm(fleet, name, clients, seconds=60, come_back=True, **REGISTER)
    result = load.measure(fleet, begun=fleet.workers[0].kill9)
    back = result["returned"]
    result["clean"] &= back["count"] == clients
    cpu = {name: round(us / clients, 2) for name, us in result["cpu_us"].items()}
    return row(name, result, back["count"], back["seconds"], cpu)


def main():
    options = arguments()
    print(f"{options.clients} clients connect to a worker of two; {runner.setting()}")
    print(COLUMNS.format("", "came", "a second", "worker 1", "worker 2", "Redis", "median", "last"))
    print(COLUMNS.format("", "", "", "CPU µs", "for each", "", "ms", "ms"))
    with runner.servers(2) as fleet:
        rows = [first_storm(fleet, "plain", options.clients),
                first_storm(fleet, "and register a code", options.clients, **REGISTER),
                storm_after_a_kill(fleet, "again, its worker being killed", options.clients)]
    return runner.finish(rows)


if __name__ == "__main__":
    sys.exit(main())
