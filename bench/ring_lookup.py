#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One lookup in the ring of the pool: CPU time, for rings of 10 to 1,000 members. ring_lookup.c measures it."""
import json
import subprocess
import sys

import runner


def main():
    out = subprocess.run(["taskset", "-c", str(runner.LOADERS[0]), runner.PROGRAMS / "signalbox-ring-lookup"], text=True,
                         stdout=subprocess.PIPE, check=True).stdout
    for line in out.splitlines():
        row = json.loads(line)
        print(f"{row['members']:>6} members: {row['cpu_per_lookup_ns']:>6} ns of CPU for a member and two alternates")
    print(out, end="")


if __name__ == "__main__":
    sys.exit(main())
