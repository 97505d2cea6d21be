# SPDX-License-Identifier: MIT
"""What one address may have of a worker's HTTP: connections, requests, time. Nobody keeps others out."""
import contextlib
import socket
import statistics
import threading
import time

import psutil
import pytest

from clients import begin_upgrade, read_until
from harness import ASAN, CROWD, SLOW, Stopwatch, http_request, metric, ready, wait_until
from test_hostile_http import Wire, wire  # noqa: F401
from test_http_framing import GOOD, secure_worker

ATTACKER, CROWD_OF_SOCKETS = "127.0.0.2", 4300


def dial(worker, source=ATTACKER):
    s = socket.socket()
    s.settimeout(20 * SLOW)
    s.bind((source, 0))
    s.connect(("127.0.0.1", worker.port))
    return s


class Others:
    """Somebody at another address who asks for /health all the time, on a new connection each."""

    def __init__(self, worker):
        self.worker, self.times, self.stopped = worker, [], threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopped.wait(0.002):
            watch = Stopwatch(self.worker)
            with contextlib.suppress(OSError):
                http_request(self.worker, "GET", "/health")
            self.times.append(watch.seconds())

    def stop(self):
        self.stopped.set()
        self.thread.join(20 * SLOW)
        return sorted(self.times)


@contextlib.contextmanager
def crowd(worker, begin):
    """As many connections of one address as it can open, on each of which begin(socket, number) says something. Others
    are not to be held up by them, neither as they come nor while they stay. Of fewer than some hundred times of theirs
    the 99th percentile would be nothing but the longest."""
    others = Others(worker)
    with contextlib.ExitStack() as stack:
        stack.callback(others.stop)
        for i in range(CROWD_OF_SOCKETS):
            s = stack.enter_context(contextlib.closing(dial(worker)))
            with contextlib.suppress(OSError):
                begin(s, i)
        before = len(others.times)
        wait_until(lambda: len(others.times) > before + 400, 10, "others' requests while all of them are there")
        yield
        times = others.stop()
    p99 = times[len(times) * 99 // 100]
    assert p99 < 0.1 * SLOW, f"p99 {p99:.3f} s"


def head(first, *fields):
    return "\r\n".join([f"{first} HTTP/1.1", "Host: x", *fields, "", ""]).encode()


LOCKS = {"a length below zero": head("POST /servers", "Content-Length: -1"),
         "a body that nobody sends": head("OPTIONS /", "Content-Length: 60000"),
         "a long body that nobody sends": head("OPTIONS /", "Content-Length: 99999"),
         "a length of 31 digits": head("POST /servers", "Content-Length: %031d" % 36),
         "chunks that do not come": head("POST /servers", "Transfer-Encoding: chunked"),
         "half a head": b"GET /health HTTP/1.1\r\nHost: x\r\nX: "}


@pytest.mark.parametrize("kept", [False, True], ids=["first", "second"])
@pytest.mark.parametrize("lock", LOCKS.values(), ids=LOCKS)
def test_requests_without_end_from_one_address_do_not_hold_up_others(start, many_descriptors, lock, kept):
    def begin(s, _):
        s.sendall(GOOD * kept)
        if kept:
            read_until(s, b"}")
        s.sendall(lock)

    with crowd(start(1, LOG_LEVEL="info").workers[0], begin):
        pass


def test_handshakes_without_end_from_one_address_do_not_hold_up_others(many_descriptors, closing, tmp_path):
    """The same with TLS: half a handshake is what it takes."""
    with crowd(secure_worker(closing, tmp_path), lambda s, i: s.sendall(b"\x16\x03\x01" * (i % 2))):
        pass


def test_who_was_refused_and_stays_keeps_no_memory_and_no_descriptors(start, many_descriptors):
    """Each has its answer, and sends a body that nobody wants instead of going."""
    worker = start(1, LOG_LEVEL="info").workers[0]
    process = psutil.Process(worker.pid)
    before = process.memory_info().rss, process.num_fds()
    unwanted = head("POST /servers", "Content-Length: 99999999") + b"x" * 30_000
    with crowd(worker, lambda s, _: s.sendall(unwanted)):
        assert process.num_fds() - before[1] < 2200
        assert (process.memory_info().rss - before[0]) / 2**20 < 60 or ASAN


def test_answers_that_nobody_takes_are_bounded(start, many_descriptors):
    worker = start(1, LOG_LEVEL="info", IP_CONNECT_RATE=0).workers[0]
    process = psutil.Process(worker.pid)
    before = process.memory_info().rss
    with contextlib.ExitStack() as stack:
        for i in range(3000):
            s = stack.enter_context(contextlib.closing(socket.socket()))
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            s.bind((f"127.0.{i % 100}.3", 0))
            s.connect(("127.0.0.1", worker.port))
            with contextlib.suppress(OSError):
                s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        wait_until(lambda: ready(worker), 30, "an answer to somebody else, when all of them have theirs")
        assert (process.memory_info().rss - before) / 2**20 < 120 or ASAN


def test_http_connections_count_for_their_address_and_a_probe_is_answered_all_the_same(start, wire):
    worker = start(1, IP_CONNECTIONS_MAX=3, IP_CONNECT_RATE=0).workers[0]
    wait_until(lambda: metric(worker, "signalbox_http_connections") == 1, 5, "the end of what asked whether it is ready")
    kept = [wire(worker) for _ in range(2)]
    assert [client.ask("GET", "/stats")[0] for client in kept] == [200, 200]
    held = begin_upgrade(worker.port)
    assert b" 101 " in read_until(held, b"\r\n\r\n")
    for path, status in (("/stats", 429), ("/nowhere", 429), ("/health", 200), ("/ready", 200), ("/metrics", 200)):
        client = wire(worker)
        got, headers, body = client.ask("GET", path)
        assert (got, headers["Connection"]) == (status, "close"), path
        assert client.ended()
        assert status == 200 or (headers["Retry-After"], body) == ("1", b'{"error":"Too Many Requests"}')
        client.close()
    assert wire(worker).upgrade() == 429
    assert kept[0].ask("GET", "/stats")[0] == 200
    kept[0].close()
    wait_until(lambda: wire(worker).upgrade() == 101, 3, "a place for another")
    held.close()


def test_an_address_may_ask_so_often_and_no_more_but_for_probes(start, wire):
    worker = start(1, HTTP_RATE=5, HTTP_BURST=10, TRUSTED_PROXIES="127.0.0.1").workers[0]
    begun, clients = time.monotonic(), [wire(worker) for _ in range(3)]
    answers = [client.ask("GET", "/nowhere", X_Forwarded_For="10.0.0.1")[:2] for _ in range(10) for client in clients]
    statuses = [status for status, _ in answers]
    assert set(statuses) == {404, 429}
    assert 10 <= statuses.count(404) <= 10 + 5 * (time.monotonic() - begun) + 1
    assert all(headers["Retry-After"] == "1" and "Connection" not in headers
               for status, headers in answers if status == 429)
    for path in ("/health", "/ready", "/metrics"):
        assert {clients[0].ask("GET", path, X_Forwarded_For="10.0.0.1")[0] for _ in range(20)} == {200}
    assert clients[0].ask("GET", "/nowhere", X_Forwarded_For="10.0.0.2")[0] == 404, "another address"
    assert metric(worker, "signalbox_rate_limited_requests_total") == statuses.count(429)
    assert [event["limit"] for event in worker.events("limit_hit")][0] == "HTTP_RATE"
    wait_until(lambda: clients[0].ask("GET", "/nowhere", X_Forwarded_For="10.0.0.1")[0] == 404, 3, "another token")


def test_who_asks_too_often_is_answered_slowly(start, wire):
    worker, count = start(1, HTTP_RATE=1, HTTP_BURST=1).workers[0], 20
    client = wire(worker)
    client.ask("GET", "/nowhere")
    begun = time.monotonic()
    assert {client.ask("GET", "/nowhere")[0] for _ in range(5)} <= {404, 429}
    assert time.monotonic() - begun > 0.25
    client.send(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n" * count)
    assert {client.answer()[0] for _ in range(count)} <= {404, 429}, "each is answered all the same"


def test_many_who_ask_too_often_hold_up_nobodys_messages(start, connect):
    """80 connections that ask for a long list as often as they can; offers are what others notice."""
    worker = start(1, HTTP_RATE=50, LOG_LEVEL="info").workers[0]
    client, stopped, asked = connect(worker), threading.Event(), []

    def ask():
        attacker = dial(worker)
        try:
            while not stopped.is_set():
                attacker.sendall(b"GET /api/rooms?limit=1000 HTTP/1.1\r\nHost: x\r\n\r\n")
                asked.append(read_until(attacker, b"}")[:12])
        finally:
            attacker.close()

    threads = [threading.Thread(target=ask) for _ in range(80)]
    for thread in threads:
        thread.start()
    begun = time.monotonic()
    try:
        times = []
        for _ in range(200):
            watch = Stopwatch(worker)
            assert client.request("ping") == {"type": "pong"}
            times.append(watch.seconds())
            time.sleep(0.005)
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    assert statistics.median(times) < 0.02 * SLOW
    assert b"HTTP/1.1 429" in asked and len(asked) < max(10_000, 4000 * (time.monotonic() - begun))


@pytest.mark.parametrize("bits, second, status", [
    (64, "2001:db8:0:1::2", 429), (64, "2001:db8:0:1:ffff::", 429), (64, "2001:db8:0:2::1", 101),
    (128, "2001:db8:0:1::2", 101), (48, "2001:db8:0:2::1", 429), (60, "2001:db8:0:f::1", 429),
    (60, "2001:db8:0:10::1", 101)])
def test_addresses_of_ipv6_count_by_their_prefix(start, wire, bits, second, status):
    worker = start(1, IP_CONNECTIONS_MAX=1, IP_CONNECT_RATE=0, TRUSTED_PROXIES="127.0.0.1",
                   **({} if bits == 64 else {"IP_PREFIX_V6": bits})).workers[0]
    holder = wire(worker)
    assert holder.upgrade(X_Forwarded_For="2001:db8:0:1::1") == 101
    assert wire(worker).upgrade(X_Forwarded_For=second) == status


def test_a_kept_connection_is_closed_when_it_was_idle_for_so_long(start, wire):
    worker = start(1, KEEPALIVE_SECONDS=1).workers[0]
    client = wire(worker)
    assert client.ask("GET", "/health")[0] == 200
    time.sleep(0.6)
    assert client.ask("GET", "/health")[0] == 200
    begun = time.monotonic()
    assert client.ended() and 0.9 < time.monotonic() - begun < 2 * SLOW * CROWD


def test_a_second_request_has_its_time_as_the_first(start, wire):
    worker = start(1).workers[0]
    client = wire(worker)
    assert client.ask("GET", "/health")[0] == 200
    client.send(b"GET /hea")
    begun = time.monotonic()
    status, headers, _ = client.answer()
    assert (status, headers["Connection"]) == (408, "close") and client.ended()
    assert 9 < time.monotonic() - begun < 12 * SLOW


def test_in_a_drain_idle_connections_are_closed_and_answers_say_so(start, wire):
    worker = start(1, DRAIN_SECONDS=3).workers[0]
    socket_client = begin_upgrade(worker.port)
    read_until(socket_client, b"\r\n\r\n")
    idle, busy = wire(worker), wire(worker)
    for client in (idle, busy):
        assert client.ask("GET", "/health")[0] == 200
    busy.send(b"GET /health HTTP/1.1\r\n")
    time.sleep(0.2 * SLOW)
    worker.process.terminate()
    assert idle.ended()
    busy.send(b"Host: x\r\n\r\n")
    status, headers, _ = busy.answer()
    assert (status, headers["Connection"]) == (200, "close") and busy.ended()
    late = wire(worker)
    assert late.ask("GET", "/ready")[1]["Connection"] == "close"
    assert wire(worker).upgrade() == 503
    socket_client.close()
    assert worker.process.wait(10 * SLOW) == 0


@pytest.mark.parametrize("more", [b"}", None], ids=["a request", "an answer"])
def test_a_drain_without_sockets_waits_for_requests_that_are_under_way(start, wire, more):
    worker = start(1).workers[0]
    client = wire(worker, receive_buffer=2048)
    client.send(b"POST /servers HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{" if more else
                b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until(lambda: metric(worker, "signalbox_http_connections") == 2, 5, "the request")
    worker.process.terminate()
    wait_until(lambda: worker.events("drain"), 5, "the drain")
    time.sleep(0.3)
    if more:
        client.send(more)
    status, headers, body = client.answer()
    assert status == (400 if more else 200) and (more or body.endswith(b"\n"))
    assert worker.process.wait(10 * SLOW) == 0


def test_in_a_drain_who_was_answered_that_there_are_too_many_is_closed_too(start, wire):
    worker = start(1, DRAIN_SECONDS=3, HTTP_RATE=1, HTTP_BURST=1).workers[0]
    socket_client = begin_upgrade(worker.port)
    read_until(socket_client, b"\r\n\r\n")
    client = wire(worker)
    assert [client.ask("GET", "/nowhere")[0] for _ in range(2)] == [404, 429]
    worker.process.terminate()
    begun = time.monotonic()
    assert client.ended() and time.monotonic() - begun < 2 * SLOW
    socket_client.close()
    assert worker.process.wait(10 * SLOW) == 0
