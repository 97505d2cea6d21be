#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the connection to Redis costs a worker: CPU time of a script's call, for 1, 10 and 100 calls under way, plain and
over TLS. redis_commands.c measures it."""
import json
import os
import subprocess
import sys
import tempfile

import runner

UNDER_WAY = 1, 10, 100


def call_us(url, under_way, **env):
    command = ["taskset", "-c", str(runner.LOADERS[0]), runner.PROGRAMS / "signalbox-redis-commands", str(under_way)]
    return float(subprocess.run(command, env={**os.environ, "REDIS_URL": url, "LOG_LEVEL": "error", **env}, text=True,
                                stdout=subprocess.PIPE, check=True).stdout)


def main():
    print(f"CPU of a worker for a call of a script, µs; {runner.setting()}")
    with tempfile.TemporaryDirectory() as folder:
        server, trust = runner.tls_redis(folder)
        runner.pin(server.process.pid, runner.SERVERS)
        for under_way in UNDER_WAY:
            plain = call_us(f"redis://127.0.0.1:{server.port}", under_way)
            tls = call_us(server.url, under_way, **trust)
            print(f"{under_way:>4} under way: {plain:>6.2f} plain, {tls:>6.2f} over TLS", flush=True)
            print(json.dumps({"bench": "redis_commands", "clients": under_way,
                              "cpu_per_call_us": {"plain": plain, "TLS": tls}}))
        server.close()


if __name__ == "__main__":
    sys.exit(main())
