#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Two runs of the benchmarks side by side: ./signalbox bench --json FILE saved each of them.

CPU times and bytes come first: they hold on a machine that is busy with other things, which times and rates do not. A
row of relay has the cost of a bare echo of its moment; its CPU time is also compared as a number of those."""
import argparse
import json
import sys

# What tells one row of a bench from another, and what is compared, the most telling first.
NAMES = ("bench", "kind", "path", "place", "pairs", "loop", "storm", "request", "row", "rooms", "size", "peers",
         "members", "clients", "waiters", "bytes", "region")
COMPARED = ("times_echo", "cpu", "bytes", "ratio", "per_second", "latency_us", "ms")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("before")
    parser.add_argument("after")
    return parser.parse_args()


def rows(path):
    """{what a row is of: the row}; the last one where there are several."""
    with open(path, encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines if line.startswith("{")]
    return {" ".join(str(row[name]) for name in NAMES if name in row): row for row in found}


def figures(row, path=""):
    """The numbers that are compared, by their path."""
    for name, value in row.items():
        here = f"{path}.{name}" if path else name
        if isinstance(value, dict):
            yield from figures(value, here)
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and rank(here) is not None:
            yield here, value


def rank(path):
    first = path.split(".")[0]
    if first in NAMES or first in ("cpu_us", "cpus"):
        return None
    for place, word in enumerate(COMPARED):
        if first == word or first.startswith(word + "_") or f"_{word}" in first:
            return place
    return None


def main():
    options = arguments()
    before, after = rows(options.before), rows(options.after)
    for name in [name for name in before if name in after]:
        print(name)
        new = dict(figures(after[name]))
        shared = [(path, old, new[path]) for path, old in figures(before[name]) if path in new and (old or new[path])]
        for path, old, now in sorted(shared, key=lambda figure: rank(figure[0])):
            print(f"    {path:<36}{old:>14}{now:>14}" + (f"  ×{now / old:.2f}" if old else ""))
        for row, when in (before[name], "before"), (after[name], "after"):
            if not row.get("clean", True):
                print(f"    messages were lost or refused {when}: {row['errors']}")
    for name in before.keys() ^ after.keys():
        print(f"{name}: only {'before' if name in before else 'after'}")
    return 0 if before.keys() & after.keys() else 1


if __name__ == "__main__":
    sys.exit(main())
