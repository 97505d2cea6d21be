#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What other clients notice while references of 4 MiB are uploaded: the time of a relayed offer without and with it.

Starts a redis-server and a worker by itself. Prints a table and, as the last line, the same figures as JSON. The uploads
come from a process of their own, one after the other."""
import argparse
import http.client
import json
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "integration"))

from clients import Client  # noqa: E402
from harness import ASAN, Fleet, http_request  # noqa: E402

SECRET = "bench"
ENV = {"IP_CONNECT_RATE": 0, "MESSAGE_RATE": 0, "COST_RATE": 0, "LOG_LEVEL": "info", "CI_UPLOAD_SECRET": SECRET}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--offers", type=int, default=3000)
    parser.add_argument("--region", type=int, default=1024, help="bytes of each region")
    parser.add_argument("--upload", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def upload(port, region):
    """Uploads until it is killed; a line for each."""
    regions = [{"offset": i * region, "length": region, "data_hex": "ab" * region}
               for i in range((4 * 1024 * 1024 - 4096) // (2 * region + 80))]
    body = json.dumps({"version": "1.0.0", "platform": "bench", "build_hash": "b", "critical_regions": regions})
    assert len(body) < 4 * 1024 * 1024
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/attest/upload-reference", body, {"Authorization": f"Bearer {SECRET}"})
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
        connection.close()
        print(len(body), flush=True)


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def offers(sender, receiver, count):
    """The time of each offer from one to the other, in ms."""
    times = []
    for i in range(count):
        begun = time.perf_counter()
        sender.send(type="offer", target="receiver", payload={"sdp": "x" * 1024, "i": i})
        receiver.expect("offer")
        times.append((time.perf_counter() - begun) * 1e3)
    return times


def main():
    options = arguments()
    if options.upload:
        upload(options.upload, options.region)
    with Fleet(1, **ENV) as fleet:
        worker = fleet.workers[0]
        sender, receiver = [Client(worker, "/signal/bench") for _ in range(2)]
        sender.request("register", pairingCode="sender")
        receiver.request("register", pairingCode="receiver")
        offers(sender, receiver, 200)
        quiet = offers(sender, receiver, options.offers)
        uploader = subprocess.Popen([sys.executable, __file__, "--upload", str(worker.port), "--region",
                                     str(options.region)], stdout=subprocess.PIPE, text=True)
        uploader.stdout.readline()
        begun = time.monotonic()
        busy = offers(sender, receiver, options.offers)
        seconds = time.monotonic() - begun
        uploader.kill()
        uploads = len(uploader.communicate()[0].splitlines())
        version = http_request(worker, "GET", "/")[2]["version"]
        for client in sender, receiver:
            client.drop()
    rows = {name: {"median": percentile(times, 0.5), "p99": percentile(times, 0.99), "max": max(times)}
            for name, times in (("quiet", quiet), ("uploading", busy))}
    print(f"{options.offers} offers of 1 KiB on one worker, {uploads / seconds:.1f} references of 4 MiB uploaded each "
          f"second, {os.cpu_count()} CPUs" + " (a build with sanitizers)" * ASAN)
    print(f"{'an offer, ms':<30}{'median':>10}{'p99':>10}{'max':>10}")
    for name, row in rows.items():
        print(f"{name:<30}{row['median']:>10.2f}{row['p99']:>10.2f}{row['max']:>10.2f}")
    print(json.dumps({"bench": "reference_upload", "version": version, "offers": options.offers, "uploads": uploads,
                      "cpus": os.cpu_count(), **rows}))


if __name__ == "__main__":
    main()
