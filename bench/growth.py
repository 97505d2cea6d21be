#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Does what one message costs grow with the number of connections, peers and rooms that are there?

Each row is one kind of message with 1,000, 10,000 and 100,000 of what might slow it down: idle connections of the same
worker as far as sockets reach, then peers, codes, tokens and rooms written by the workers' own scripts. A cell is the
CPU time of all processes per message, the median of several rounds, and how many times that of the first cell it is:
counted in bare echoes (echo.c) measured before each round, as that the machine has become slower is no growth. Prints a
table and, for each row, a line of JSON."""
import argparse
import contextlib
import sys

import populate
import runner
from harness import http_request

SIGNAL = {"path": "/signal", "hello": '{"type":"register","pairingCode":"c%i","publicKey":"k"}',
          "welcome": "registered"}
IDLE = {"path": "/signal", "hello": '{"type":"register","pairingCode":"idle-%i","publicKey":"k"}',
        "welcome": "registered"}
TOKEN = '{"type":"register_rendezvous","peerId":"p%i","relayId":"r","hourlyTokens":["t-%g-%m"]}'
JOIN = {"path": "/ws", "group": 10, "hello": '{"type":"JOIN","room_id":"room-%g"}', "welcome": "ACK,ACK"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--counts", type=int, nargs="*", default=[1000, 10000, 100000])
    parser.add_argument("--sockets", type=int, default=10000, help="idle connections at most")
    parser.add_argument("--seconds", type=float, default=2, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", nargs="*", default=list(ROWS))
    return parser.parse_args()


def total(cpu):
    return round(sum(cpu.values()), 2)


def measured(fleet, options, *args, **kwargs):
    """CPU µs of all processes per message."""
    result = runner.measure(fleet, *args, seconds=options.seconds, **kwargs)
    assert result["clean"] and result["messages"], runner.lost(result) or "nothing came in the time"
    return total(runner.per(result, result["messages"]))


def relay(fleet, options, workers):
    return measured(fleet, options, "relay", workers, clients=200, **SIGNAL)


def relay_same(fleet, options):
    return relay(fleet, options, fleet.workers[:1])


def relay_across(fleet, options):
    return relay(fleet, options, fleet.workers)


def get_relays(fleet, options):
    return measured(fleet, options, "ask", fleet.workers, path="/relay", clients=100, answer="relays",
                    ask='{"type":"get_relays","count":10}')


def rendezvous(fleet, options):
    return measured(fleet, options, "ask", fleet.workers, path="/relay", group=2, clients=200, ask=TOKEN,
                    answer="rendezvous_result")


def discover(fleet, options):
    return measured(fleet, options, "ask", fleet.workers, clients=100, ask='{"type":"DISCOVER"}', answer="PEER_LIST",
                    **JOIN)


def request(path):
    def measure(fleet, options):
        def get(connection):
            assert http_request(fleet.workers[0], "GET", path, connection=connection)[0] == 200

        return total(runner.Http(fleet, fleet.workers[0]).cost([get] * max(20, int(options.seconds * 300)))[0])

    return measure


def connections(fleet, count):
    """Idle ones, of the first worker."""
    load = runner.connected("idle", fleet.workers[:1], clients=count, seconds=0, **IDLE)
    return load.close


def simulated(make):
    def add(fleet, count):
        make(fleet, range(count))
        return lambda: None

    return add


# what is measured, what there is many of, how that is made
ROWS = {"relay_same": (relay_same, "idle connections", connections),
        "relay_across": (relay_across, "idle connections", connections),
        "relay_across_codes": (relay_across, "codes", simulated(populate.codes)),
        "get_relays": (get_relays, "relays", simulated(populate.relays)),
        "rendezvous": (rendezvous, "tokens", simulated(populate.meetings)),
        "discover": (discover, "rooms", simulated(populate.rooms)),
        "api_rooms": (request("/api/rooms"), "rooms", simulated(populate.rooms)),
        "stats": (request("/stats"), "relays", simulated(populate.relays))}


def cell(measure, add, count, options):
    """(CPU µs, echoes)"""
    with runner.servers(2) as fleet, contextlib.ExitStack() as stack:
        stack.callback(add(fleet, count))
        return runner.in_echoes(lambda: measure(fleet, options), options.rounds, options.seconds)


def run(name, options):
    measure, what, add = ROWS[name]
    counts = [n for n in options.counts if add is not connections or n <= options.sockets]
    cells = [cell(measure, add, count, options) for count in counts]
    ratios = [round(echoes / cells[0][1], 2) for _, echoes in cells]
    print(f"{name:<20}{what:<18}" + "".join(f"{us:>12.2f} ×{r:<5.2f}" for (us, _), r in zip(cells, ratios)), flush=True)
    return {"bench": "growth", "row": name, "of": what,
            **{f"cpu_at_{count}_us": us for count, (us, _) in zip(counts, cells)},
            **{f"times_echo_at_{count}": echoes for count, (_, echoes) in zip(counts, cells)},
            **{f"ratio_at_{count}": ratio for count, ratio in zip(counts, ratios)}}


def main():
    options = arguments()
    print(f"CPU µs of two workers and Redis together per message; {runner.setting()}")
    print(f"{'':<38}" + "".join(f"{count:>12}{'':>7}" for count in options.counts))
    rows = [run(name, options) for name in options.rows]
    return runner.finish(rows)


if __name__ == "__main__":
    sys.exit(main())
