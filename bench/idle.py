#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Memory of a connection that does nothing: resident bytes of the worker, and bytes of Redis, for each of 10,000.

Each kind of client has a worker and a Redis of its own, which have served a hundred before, so that what is allocated
once is there already. Prints a table and, for each kind, a line of JSON."""
import argparse
import sys
import time

import runner

KINDS = {"plain /relay": {"path": "/relay"},
         "plain /relay, TLS": {"path": "/relay", "tls": True},
         "plain /ws": {"path": "/ws", "welcome": "ACK"},
         "registered /relay": {"path": "/relay", "hello": '{"type":"register","peerId":"peer-%i"}',
                               "welcome": "registered"},
         "registered /signal": {"path": "/signal", "welcome": "registered",
                                "hello": '{"type":"register","pairingCode":"code-%i","publicKey":"key"}'},
         "in rooms of 10 /ws": {"path": "/ws", "group": 10, "welcome": "ACK,ACK",
                                "hello": '{"type":"JOIN","room_id":"room-%g"}'}}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--clients", type=int, default=10000)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    return parser.parse_args()


def memory(fleet):
    return runner.rss(fleet.workers[0].pid), fleet.redis.client.info("memory")["used_memory"]


def steady(fleet):
    """Once two looks a while apart see the same, within a page or so for the worker."""
    seen = memory(fleet)
    while True:
        time.sleep(0.5)
        last, seen = seen, memory(fleet)
        if abs(seen[0] - last[0]) <= 65536:
            return seen


def run(kind, clients):
    options = {"seconds": 0, **KINDS[kind]}
    with runner.servers(1, tls=options.pop("tls", False)) as fleet:
        warm = runner.connected("idle", fleet.workers, clients=100, **options)
        warm.measure(fleet)
        before = steady(fleet)
        load = runner.connected("idle", fleet.workers, clients=clients, **options)
        after = steady(fleet)
        result = load.measure(fleet)
    row = {"bench": "idle", "kind": kind, "worker_bytes": round((after[0] - before[0]) / clients),
           "redis_bytes": round((after[1] - before[1]) / clients), "worker_base_bytes": before[0], **result}
    print(f"{kind:<24}{row['worker_bytes']:>16}{row['redis_bytes']:>16}{before[0] / (1 << 20):>16.1f}"
          f"  {runner.lost(result)}", flush=True)
    return row


def main():
    options = arguments()
    print(f"{options.clients} idle connections, bytes for each; {runner.setting()}")
    print(f"{'':<24}{'worker':>16}{'Redis':>16}{'worker at first':>16}")
    return runner.finish([run(kind, options.clients) for kind in options.kinds])


if __name__ == "__main__":
    sys.exit(main())
