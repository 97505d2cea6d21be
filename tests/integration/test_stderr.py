# SPDX-License-Identifier: MIT
"""Whoever reads the log may stop reading it: that costs lines, and nothing else."""
import json
import os
import pty
import select
import socket
import stat
import subprocess
import types

import psutil
import pytest

from harness import SLOW, WORKER, Redis, free_port, get, http_request, metric, ready, uid, wait_until

SMALL = 8192  # bytes of lines that wait to be read


def sockets(kind):
    def ends():
        reader, writer = socket.socketpair(socket.AF_UNIX, kind)
        writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        return reader.detach(), writer.detach()

    return ends


def tcp():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        writer = socket.create_connection(listener.getsockname())
        writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        return listener.accept()[0].detach(), writer.detach()


ENDS = {"stream": sockets(socket.SOCK_STREAM), "datagram": sockets(socket.SOCK_DGRAM), "tcp": tcp, "pipe": os.pipe,
        "terminal": pty.openpty, "pipe of another user": os.pipe}
NOBODY = 65534


@pytest.fixture(scope="module")
def redis():
    redis = Redis()
    yield redis
    redis.close()


@pytest.fixture(params=ENDS)
def ends(request):
    """What the worker is given as stderr, and where that is read."""
    if request.param == "pipe of another user" and os.getuid() != 0:
        pytest.skip("only root can start a worker as another user")
    reader, writer = ENDS[request.param]()
    yield types.SimpleNamespace(kind=request.param, reader=reader, writer=writer)
    os.close(reader)
    os.close(writer)


def others_may_run(path):
    return all(os.stat(folder).st_mode & stat.S_IXOTH for folder in (path, *path.parents))


@pytest.fixture
def launch(redis, closing):
    def launch(ends, *args, **env):
        if "another" in ends.kind and not others_may_run(WORKER):
            pytest.skip("the folder of the worker is closed to other users")
        port = free_port()
        worker = types.SimpleNamespace(port=port, process=subprocess.Popen(
            [str(WORKER), *args], stderr=ends.writer, user=NOBODY if "another" in ends.kind else None, env={
                "PATH": os.environ["PATH"], "REDIS_URL": redis.urls()[1], "PORT": str(port), "HOST": "127.0.0.1",
                "LOG_LEVEL": "debug", "LOG_FORMAT": "json", "IP_CONNECT_RATE": "0", "HTTP_RATE": "0",
                "DRAIN_SECONDS": "0", **env}))
        closing.callback(worker.process.wait)
        closing.callback(worker.process.kill)
        return worker

    return launch


def make_lines(connect, worker):
    for _ in range(5):
        connect(worker).close()


def read_until(ends, event, meanwhile):
    """The lines from here on, up to one of that event. Each is whole."""
    data, events = b"", []
    while event not in [e["event"] for e in events]:
        meanwhile()
        while select.select([ends.reader], [], [], 0)[0]:
            data += os.read(ends.reader, 1 << 16)
        *lines, data = data.split(b"\n")
        events += [json.loads(line) for line in lines]
    return events


def test_a_log_that_nobody_reads_holds_up_nobody(launch, ends, connect):
    worker, token = launch(ends), uid("token")
    wait_until(lambda: ready(worker), 20, "/ready")
    wait_until(lambda: make_lines(connect, worker) or metric(worker, "signalbox_log_dropped_total") > 10, 60, "a loss")
    a, b = connect(worker), connect(worker)
    for client in a, b:
        client.request("register_rendezvous", peerId=uid(), hourlyTokens=[token])
    assert a.expect("rendezvous_match")
    assert get(worker, "/health")["status"] == "ok"
    events = read_until(ends, "log_lines_lost", lambda: make_lines(connect, worker))
    assert next(e["lines"] for e in events if e["event"] == "log_lines_lost") > 10
    worker.process.terminate()
    assert worker.process.wait(20 * SLOW) == 0


def test_a_supervisor_starts_workers_again_though_nobody_reads_its_log(launch, ends):
    worker = launch(ends, "--processes", "2")
    wait_until(lambda: ready(worker), 20, "/ready")
    while fill(ends):
        pass
    child = psutil.Process(worker.process.pid).children()[0]
    child.kill()
    wait_until(lambda: len([c for c in psutil.Process(worker.process.pid).children()
                            if c.status() != psutil.STATUS_ZOMBIE and c != child]) == 2, 10, "another in its place")
    wait_until(lambda: http_request(worker, "GET", "/health")[0] == 200, 10, "its answer")
    worker.process.terminate()
    assert worker.process.wait(20 * SLOW) == 0


def fill(ends):
    """Writes where the worker does, as long as there is room."""
    try:
        fd = os.open(f"/proc/self/fd/{ends.writer}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        fd = os.dup(ends.writer)
    try:
        if "pipe" in ends.kind or ends.kind == "terminal":
            return os.write(fd, b"x" * 1000)
        with socket.socket(fileno=os.dup(ends.writer)) as s:
            return s.send(b"x" * 1000, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return 0
    finally:
        os.close(fd)


def test_a_refused_option_ends_the_program_though_nobody_reads_why(launch, ends):
    while fill(ends):
        pass
    worker = launch(ends, "--port", "nonsense")
    assert worker.process.wait(10 * SLOW) == 2
