# SPDX-License-Identifier: MIT
"""How a worker finds the address of its Redis, where REDIS_URL has a name."""
import os
import socket
import struct
import subprocess
import threading
import time

import pytest

from harness import SLOW, Redis, Worker, ready, wait_until
from redis_rigs import reasons

OTHER_RESOLV_CONF = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/syscall.h>
int open(const char *path, int flags, ...)
{
    const char *to = strcmp(path, "/etc/resolv.conf") == 0 ? getenv("RESOLV_CONF") : path;
    return (int)syscall(SYS_openat, AT_FDCWD, to, flags, 0600);
}
int open64(const char *path, int flags, ...) __attribute__((alias("open")));
"""
TYPES = {1: socket.AF_INET, 28: socket.AF_INET6}
UNKNOWN, SILENT, FOUND = None, object(), ("127.0.0.1",)


class NameServer:
    """Answers every query: with these addresses, or (UNKNOWN) that there is no such name. SILENT: it says nothing."""

    def __init__(self, answer):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port, self.queries = self.socket.getsockname()[1], []
        threading.Thread(target=self._serve, args=(answer,), daemon=True).start()

    def _serve(self, answer):
        while True:
            try:
                query, client = self.socket.recvfrom(1000)
            except OSError:
                return
            self.queries.append(query)
            if answer is not SILENT:
                self.socket.sendto(reply(query, answer), client)


def reply(query, answer):
    end = query.index(b"\0", 12) + 5
    kind = struct.unpack("!H", query[end - 4:end - 2])[0]
    found = [address for address in answer or () if kind in TYPES and (":" in address) == (kind == 28)]
    records = [b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 1, len(packed)) + packed
               for packed in (socket.inet_pton(TYPES[kind], address) for address in found)]
    head = query[:2] + struct.pack("!HHHHH", 0x8183 if answer is UNKNOWN else 0x8180, 1, len(records), 0, 0)
    return head + query[12:end] + b"".join(records)


@pytest.fixture
def launch(closing, tmp_path):
    """Starts a worker that knows these name servers."""
    def launch(port, *answers):
        servers = [NameServer(answer) for answer in answers]
        for server in servers:
            closing.callback(server.socket.close)
        (tmp_path / "resolv.conf").write_text("".join(f"nameserver 127.0.0.1:{server.port}\n" for server in servers))
        (tmp_path / "other.c").write_text(OTHER_RESOLV_CONF)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "other.so", tmp_path / "other.c"], check=True)
        worker = Worker(f"redis://redis.invalid:{port}", wait=False, LD_PRELOAD=tmp_path / "other.so",
                        RESOLV_CONF=tmp_path / "resolv.conf",
                        ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0")
        closing.callback(worker.process.kill)
        return worker, servers

    return launch


def test_a_worker_ends_while_it_looks_up_the_name_of_redis(launch):
    worker, (server,) = launch(6379, SILENT)
    wait_until(lambda: any(b"invalid" in query.lower() for query in server.queries), 10, "a query")
    wait_until(lambda: worker.events("listening"), 10, "listening")
    begun = time.monotonic()
    worker.stop()
    assert time.monotonic() - begun < 7 * SLOW


def test_the_first_name_server_is_believed_whatever_others_say(start, launch):
    worker, _ = launch(start(0).redis.port, FOUND, UNKNOWN, UNKNOWN)
    worker.wait_ready()
    assert not worker.events("redis_unreachable")
    worker.stop()


def test_while_the_first_name_server_is_silent_the_next_one_is_asked(start, launch):
    worker, _ = launch(start(0).redis.port, SILENT, FOUND)
    worker.wait_ready()
    worker.stop()


# A name with several addresses

@pytest.mark.parametrize("addresses", [("::1", "127.0.0.1"), ("127.0.0.1", "::1"), ("127.0.0.9", "127.0.0.1"),
                                       ("127.0.0.9", "127.0.0.8", "::1", "127.0.0.1")])
def test_addresses_at_which_nobody_is_are_passed_over(start, launch, addresses):
    worker, _ = launch(start(0).redis.port, addresses)
    worker.wait_ready()
    worker.stop()


@pytest.mark.parametrize("order", [1, -1])
def test_of_a_replica_and_its_master_the_master_is_taken(closing, launch, order):
    """Both behind one name, at one port."""
    replica = Redis()
    closing.callback(replica.close)
    master = Redis("--port", str(replica.port), "--bind", "127.0.0.2")
    closing.callback(master.close)
    replica.client.execute_command("REPLICAOF", "127.0.0.2", replica.port)
    wait_until(lambda: replica.client.info("replication")["master_link_status"] == "up", 10, "a replica in step")
    worker, _ = launch(replica.port, ("127.0.0.1", "127.0.0.2")[::order])
    worker.wait_ready()
    assert [c for c in master.client.client_list() if worker.wid in c["name"]]
    assert not [c for c in replica.client.client_list() if worker.wid in c["name"]]
    worker.stop()


def test_what_is_wrong_with_each_address_is_said_once(closing, launch):
    master, replica = Redis(), Redis()
    for server in (master, replica):
        closing.callback(server.close)
    replica.client.execute_command("REPLICAOF", "127.0.0.1", master.port)
    worker, _ = launch(replica.port, ("127.0.0.1", "127.0.0.9"))
    wait_until(lambda: len(set(reasons(worker))) == 2, 10, "both reasons")
    time.sleep(3)  # for some more tries
    assert len(reasons(worker)) == 3 * 2  # of three connections


def test_where_a_name_leads_is_asked_anew_when_redis_is_lost(closing, launch):
    """The master's place has been taken by its replica, whose address the name has had all the time."""
    first = Redis()
    closing.callback(first.close)
    second = Redis("--port", str(first.port), "--bind", "127.0.0.2")
    closing.callback(second.close)
    second.client.execute_command("REPLICAOF", "127.0.0.1", first.port)
    wait_until(lambda: second.client.info("replication")["master_link_status"] == "up", 10, "a replica in step")
    worker, (server,) = launch(first.port, ("127.0.0.1", "127.0.0.2"))
    worker.wait_ready()
    asked = len(server.queries)
    second.client.execute_command("REPLICAOF", "NO", "ONE")
    first.client.execute_command("REPLICAOF", "127.0.0.2", first.port)
    wait_until(lambda: [c for c in second.client.client_list() if worker.wid in c["name"]], 8, "the worker there")
    wait_until(lambda: ready(worker), 5, "ready again")
    assert len(server.queries) > asked
    worker.stop()
