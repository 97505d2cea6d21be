#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Attestation, from the build token to the session token: what each of its three requests costs a worker and Redis.

Devices register, are challenged (regions of 16 KiB) and answer right. Requests go one after the other, on one
connection to one worker; their times are those of this program too, so that the CPU times are what counts. Prints a table and, for
each request, a line of JSON."""
import argparse
import sys

import runner
from registry_client import Key, Reference, ask, build_token, challenged, verify

SECRET = "of the CI"
COLUMNS = "{:<28}{:>10}{:>10}{:>10}{:>10}"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--region", type=int, default=16384, help="bytes")
    return parser.parse_args()


def measure(fleet, key, options):
    """{request: (CPU, times)}"""
    [worker], reference = fleet.workers, Reference(count=8, length=options.region)
    assert reference.upload(worker, SECRET)[0] == 200
    http, names, asked, costs = runner.Http(fleet, worker), [f"device-{i}" for i in range(options.devices)], {}, {}

    def registering(name):
        body = {"build_token": tokens[name], "device_id": name}
        return lambda c: check(ask(worker, "POST", "/attest/register", body, connection=c)[0] == 200)

    def challenging(name):
        return lambda c: asked.update({name: challenged(worker, name, connection=c, ip=addresses[name])})

    def verifying(name):
        answers = reference.answers(asked[name])
        return lambda c: check(verify(worker, name, asked[name], answers, connection=c)[1]["valid"])

    addresses = {name: f"10.0.{i // 250}.{i % 250}" for i, name in enumerate(names)}  # each has a limit of open challenges
    tokens = {name: build_token(key, version=reference.version, platform=reference.platform) for name in names}
    for label, make in ("register", registering), ("challenge", challenging), ("verify", verifying):
        costs[label] = http.cost([make(name) for name in names])
    return costs


def check(right):
    assert right, "refused"


def main():
    options, key, rows = arguments(), Key(), []
    print(f"Attestation of {options.devices} devices, regions of {options.region} bytes; {runner.setting()}")
    print(COLUMNS.format("", "worker", "Redis", "p50 ms", "p99"))
    print(COLUMNS.format("", "CPU µs", "each", "", ""))
    with runner.servers(1, ATTESTATION_SIGNING_KEY=key.seed, CI_UPLOAD_SECRET=SECRET,
                        TRUSTED_PROXIES="127.0.0.0/8") as fleet:
        for label, (cpu, times) in measure(fleet, key, options).items():
            print(COLUMNS.format(f"/attest/{label}", cpu["worker1"], cpu["redis"], times["p50"], times["p99"]))
            rows.append({"bench": "attestation", "request": label, "devices": options.devices,
                         "region": options.region, "cpu_per_request_us": cpu, "ms": times})
    return runner.finish(rows)


if __name__ == "__main__":
    sys.exit(main())
