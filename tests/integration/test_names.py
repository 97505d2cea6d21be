# SPDX-License-Identifier: MIT
"""How a worker finds the address of its Redis, where REDIS_URL has a name."""
import os
import socket
import struct
import subprocess
import threading
import time

import pytest

from harness import SLOW, Worker, wait_until

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
TYPE_A = 1
FOUND, UNKNOWN = 0x8180, 0x8183


class NameServer:
    """Answers every query: with 127.0.0.1, or (UNKNOWN) that there is no such name. None: it says nothing."""

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
            if answer is None:
                continue
            end = query.index(b"\0", 12) + 5
            found = answer == FOUND and struct.unpack("!H", query[end - 4:end - 2])[0] == TYPE_A
            address = b"\xc0\x0c" + struct.pack("!HHIH", TYPE_A, 1, 1, 4) + socket.inet_aton("127.0.0.1")
            reply = query[:2] + struct.pack("!HHHHH", answer, 1, int(found), 0, 0) + query[12:end] + address * found
            self.socket.sendto(reply, client)


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
    worker, (server,) = launch(6379, None)
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
    worker, _ = launch(start(0).redis.port, None, FOUND)
    worker.wait_ready()
    worker.stop()
