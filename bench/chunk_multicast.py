#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One push of a chunk to many waiters on several workers: the time until the last has it, and what it costs.

Starts a redis-server and the workers by itself. Prints a table and, as the last line, the same figures as JSON.
The waiters live in this process: one epoll loop counts the bytes that come and looks at nothing else until the end,
so that what is measured is the server. On a machine with few cores the loop still takes its share of the time."""
import argparse
import json
import os
import resource
import select
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "integration"))

from clients import Client, frame  # noqa: E402
from harness import ASAN, Fleet, http_request, publishes  # noqa: E402
from swarm import gather, members  # noqa: E402

ENV = {"IP_CONNECT_RATE": 0, "IP_CONNECTIONS_MAX": 0, "MESSAGE_RATE": 0, "COST_RATE": 0, "LOG_LEVEL": "info",
       "PING_INTERVAL_MS": 3_600_000}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--waiters", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--bytes", type=int, default=65536, help="of data in the chunk")
    return parser.parse_args()


def cpu_ms(pid):
    """CPU time of a process' first thread, which is where workers and Redis do their work."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


def frame_of(chunk, data):
    """The bytes that each waiter is to get: one WebSocket frame with the chunk_data."""
    text = json.dumps({"type": "chunk_data", "chunkId": chunk, "data": data, "source": "relay"},
                      separators=(",", ":")).encode()
    if len(text) < 126:
        return bytes([0x81, len(text)]) + text
    if len(text) < 65536:
        return b"\x81\x7e" + len(text).to_bytes(2, "big") + text
    return b"\x81\x7f" + len(text).to_bytes(8, "big") + text


def ask(waiters, chunk):
    """All ask for a chunk that nobody has, and know when this returns that they wait for it."""
    for i, waiter in enumerate(waiters):
        waiter.send(type="chunk_request", peerId=f"waiter-{i}", chunkId=chunk)
    gather(waiters, 1, 60)
    assert all(json.loads(waiter.texts.popleft())["type"] == "chunk_not_found" for waiter in waiters)


def receive(waiters, expected, patience=60):
    """The times, by perf_counter(), at which the waiters had all their bytes."""
    poll, buffers, left, times = select.epoll(), {}, {}, []
    for waiter in waiters:
        poll.register(waiter, select.EPOLLIN)
        buffers[waiter.fileno()] = waiter.sock, memoryview(bytearray(len(expected) + 1))
        left[waiter.fileno()] = len(expected) + 1  # one more, to see whether too much comes

    def finish(fd):
        times.append(time.perf_counter())
        poll.unregister(fd)

    end = time.monotonic() + patience
    while len(times) < len(waiters):
        assert time.monotonic() < end, f"{len(waiters) - len(times)} waiters got nothing, or not all"
        for fd, _ in poll.poll(1):
            sock, buffer = buffers[fd]
            got = sock.recv_into(buffer[-left[fd]:])
            assert got, "closed"
            left[fd] -= got
            if left[fd] <= 1:
                finish(fd)
    poll.close()
    assert all(bytes(buffer[:-1]) == expected for _, buffer in buffers.values()), "something else came"
    assert set(left.values()) == {1}, "too much came"
    return times


def one_round(fleet, waiters, pusher, chunk, data):
    ask(waiters, chunk)
    message = frame(json.dumps({"type": "chunk_push", "chunkId": chunk, "data": data}))
    pids = [worker.pid for worker in fleet.workers]
    expected, published = frame_of(chunk, data), publishes(fleet)
    workers_cpu, redis_cpu = sum(map(cpu_ms, pids)), cpu_ms(fleet.redis.process.pid)
    begun = time.perf_counter()
    pusher.ws.sock.sendall(message)
    times = receive(waiters, expected)
    pusher.expect("chunk_push_ack", 30)
    return {"first_ms": (min(times) - begun) * 1e3, "median_ms": (statistics.median(times) - begun) * 1e3,
            "last_ms": (max(times) - begun) * 1e3, "publishes": publishes(fleet) - published,
            "worker_cpu_ms": sum(map(cpu_ms, pids)) - workers_cpu,
            "redis_cpu_ms": cpu_ms(fleet.redis.process.pid) - redis_cpu}


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main():
    options = arguments()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    data = "x" * (options.bytes - 2)
    with Fleet(options.workers, **ENV) as fleet:
        waiters, pusher = members(fleet.workers, options.waiters), Client(fleet.workers[0])
        one_round(fleet, waiters, pusher, "warm-up", data)
        rounds = [one_round(fleet, waiters, pusher, f"chunk-{i}", data) for i in range(options.rounds)]
        version = http_request(fleet.workers[0], "GET", "/")[2]["version"]
        for waiter in waiters:
            waiter.sock.close()
        pusher.drop()
    summary = {name: {"median": round(statistics.median(r[name] for r in rounds), 2),
                      "p99": round(percentile([r[name] for r in rounds], 0.99), 2)} for name in rounds[0]}
    print(f"One push of {options.bytes} bytes to {options.waiters} waiters on {options.workers} workers, "
          f"{options.rounds} rounds, {os.cpu_count()} CPUs" + " (a build with sanitizers)" * ASAN)
    print(f"{'from push to':<30}{'median':>10}{'p99':>10}")
    labels = {"first_ms": "the first waiter, ms", "median_ms": "half of the waiters, ms",
              "last_ms": "the last waiter, ms", "publishes": "publishes in Redis",
              "worker_cpu_ms": "CPU of all workers, ms", "redis_cpu_ms": "CPU of Redis, ms"}
    for name, label in labels.items():
        print(f"{label:<30}{summary[name]['median']:>10.2f}{summary[name]['p99']:>10.2f}")
    print(json.dumps({"bench": "chunk_multicast", "version": version, "waiters": options.waiters,
                      "workers": options.workers, "bytes": options.bytes, "rounds": options.rounds,
                      "cpus": os.cpu_count(), **summary}))


if __name__ == "__main__":
    main()
