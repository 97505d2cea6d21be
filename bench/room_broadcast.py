#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Rooms of 100 on two workers: one leaves and joins, and 99 others hear of it.

In each room the same client leaves and joins again, each time when all the others have heard of the change before:
closed loop. A delivery is a PEER_LEFT or PEER_JOINED that has reached one of the others; each has to hear of every
change, once and in order. Its time counts from when LEAVE or JOIN was sent. A join is answered with the list of all
who are in the room, which is part of the cost. Prints a table and, for each row, a line of JSON."""
import argparse
import sys
import time

import runner

JOIN = '{"type":"JOIN","room_id":"room-%g","payload":{"display_name":"client %i"}}'
COLUMNS = "{:<24}{:>14}{:>10}{:>10}{:>10}{:>12}{:>9}{:>9}{:>9}"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rooms", type=int, nargs="*", default=[1, 10])
    parser.add_argument("--size", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=5)
    return parser.parse_args()


def run(fleet, options, rooms):
    load = runner.connected("room", fleet.workers, path="/ws", clients=rooms * options.size, group=options.size,
                            hello=JOIN, welcome="ACK,ACK", seconds=options.seconds)
    time.sleep(0.5)  # until all have heard of the last who joined
    result = load.measure(fleet)
    cpu, latency = runner.per(result, result["deliveries"]), result["latency_us"]
    per_change, problem = runner.per(result, result["messages"]), runner.lost(result)
    print(COLUMNS.format(f"{rooms} of {options.size}", f"{result['deliveries'] / result['seconds']:.0f}",
                         *(cpu[n] or 0 for n in ("worker1", "worker2", "redis")), f"{sum(per_change.values()):.0f}",
                         *(latency[q] for q in ("p50", "p99", "max"))) + ("\n" + problem if problem else ""), flush=True)
    return {"bench": "room_broadcast", "rooms": rooms, "size": options.size, "cpu_per_delivery_us": cpu,
            "cpu_per_change_us": per_change, **result}


def main():
    options = arguments()
    print(f"Rooms on two workers, {options.seconds} s each; {runner.setting()}")
    print(COLUMNS.format("rooms", "deliveries/s", "worker 1", "worker 2", "Redis", "CPU of a", "p50 µs", "p99", "max"))
    print(COLUMNS.format("", "", "CPU µs", "per", "delivery", "change, µs", "", "", ""))
    with runner.servers(2) as fleet:
        rows = [run(fleet, options, rooms) for rooms in options.rooms]
    return runner.finish(rows)


if __name__ == "__main__":
    sys.exit(main())
