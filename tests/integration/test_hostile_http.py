# SPDX-License-Identifier: MIT
"""HTTP clients that do what no browser does: the worker stays idle, alive and honest."""
import contextlib
import http.client
import socket
import time

import psutil
import pytest

from clients import frame
from harness import SLOW, UPGRADE, http_request, uid, wait_until
from test_http import CORS

BUSY = 0.3  # of a second of CPU in a second
METRICS = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = {"Transfer-Encoding": "chunked"}
H2C = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQCAAAAAAIAAAAA"}


@pytest.fixture
def one(start):
    return start(1, IP_CONNECT_RATE=0).workers[0]


class Wire:
    """A connection whose every byte is ours."""

    def __init__(self, worker, receive_buffer=0):
        self.socket = socket.socket()
        self.socket.settimeout(10 * SLOW)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", worker.port))
        if getattr(worker, "tls", None):
            self.socket = worker.tls.wrap_socket(self.socket, server_hostname="127.0.0.1")
        self.file = self.socket.makefile("rb")

    def send(self, data):
        self.socket.sendall(data)

    def ask(self, method, path, body=b"", **headers):
        """Sends a request; returns what answer() does."""
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        self.send(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode() + body)
        return self.answer()

    def upgrade(self, **headers):
        return self.ask("GET", "/relay", **{**UPGRADE, **headers})[0]

    def answer(self):
        """(status, headers, body) of the next answer, which is complete; (None, None, b"") at the end."""
        line = self.file.readline()
        if not line:
            return None, None, b""
        assert line.startswith(b"HTTP/1.") and line.endswith(b"\r\n"), line
        headers, length = http.client.parse_headers(self.file), 0
        length = int(headers.get("Content-Length", 0))
        body = self.file.read(length)
        assert len(body) == length, "an answer that is cut off"
        return int(line.split()[1]), headers, body

    def ended(self):
        """Whether the server has closed the connection; waits for what comes next."""
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.file.close()
        self.socket.close()


@pytest.fixture
def wire(closing):
    return lambda *args, **kwargs: closing.enter_context(contextlib.closing(Wire(*args, **kwargs)))


def spent(worker, seconds):
    """The CPU time that the worker takes in that time."""
    def total():
        times = psutil.Process(worker.pid).cpu_times()
        return times.user + times.system

    before = total()
    time.sleep(seconds)
    return total() - before


def is_served(worker):
    return http_request(worker, "GET", "/health")[0] == 200


@pytest.mark.parametrize("word", ["websocket", "WebSocket", "WEBSOCKET"])
def test_the_word_websocket_may_be_spelled_in_any_case(start, wire, word):
    worker = start(1, IP_CONNECTIONS_MAX=1).workers[0]
    first = wire(worker)
    assert first.upgrade(Upgrade=word) == 101
    first.send(frame('{"type":"ping"}'))
    pong = b'{"type":"pong"}'
    assert first.file.read(2 + len(pong)) == bytes((0x81, len(pong))) + pong
    assert [wire(worker).upgrade(Upgrade=again) for again in (word, "websocket")] == [429, 429]
    first.close()
    wait_until(lambda: wire(worker).upgrade(Upgrade=word) == 101, 3, "a place for another")


def test_an_upgrade_to_http_2_is_ignored_and_costs_nothing(one, wire):
    client = wire(one)
    for _ in range(2):
        status, headers, body = client.ask("GET", "/metrics", **H2C)
        assert status == 200 and headers["Content-Type"].startswith("text/plain")
        assert b"\nsignalbox_workers " in body and body.endswith(b"\n")
        assert spent(one, 1) < BUSY
        client = wire(one)
    assert is_served(one)


@pytest.mark.parametrize("headers", [{"Connection": "Upgrade", "Upgrade": "foo"}, H2C], ids=["foo", "h2c"])
def test_an_upgrade_to_something_else_on_a_kept_connection_harms_nobody(one, wire, headers):
    for path in ("/health", "/relay", "/nowhere"):
        client = wire(one)
        assert client.ask("GET", "/health")[0] == 200
        with contextlib.suppress(ConnectionResetError):
            assert client.ask("GET", path, **headers)[0] in (None, 200, 400, 403, 404, 426)
        client.close()
        assert is_served(one)
    one.stop()


def test_a_client_that_asks_on_and_on_and_reads_nothing_costs_nothing(one, wire):
    client = wire(one, receive_buffer=4096)
    client.socket.setblocking(False)
    asks, sent = METRICS * 5000, 0
    with contextlib.suppress(BlockingIOError, ConnectionError):
        while sent < len(asks):
            sent += client.socket.send(asks[sent:])
    assert sent > 100 * len(METRICS)
    assert is_served(one)
    wait_until(lambda: spent(one, 1) < BUSY, 8, "an idle worker")
    assert is_served(one)


@pytest.mark.parametrize("receive_buffer", [0, 4096])
def test_requests_in_a_row_are_answered_one_by_one_and_completely(one, wire, receive_buffer):
    left, connections = 300, 0
    while left:
        client, before, connections = wire(one, receive_buffer), left, connections + 1
        with contextlib.suppress(ConnectionError):  # the worker may have enough before it got all of them
            client.send(METRICS * left)
        while left and (answer := client.answer())[0]:
            assert answer[0] == 200 and b"\nsignalbox_workers " in answer[2] and answer[2].endswith(b"\n")
            left -= 1
        assert left < before, "a connection without a single answer"
    assert is_served(one)


def test_what_is_no_request_is_hung_up_on_soon(one, wire):
    rows = [b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\nmore" * 50,
            b"\x00\x01\x02 garbage\r\n\r\n", b"GET\r\n\r\n", b"\r\n\r\n\r\n", b"FETCH /health HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"x" * 200, b"a" * 20000, b"GET /health HTT", b""]
    clients, begun = [(row, wire(one)) for row in rows], time.monotonic()
    for row, client in clients:
        with contextlib.suppress(ConnectionError):
            client.send(row)
    assert is_served(one)
    for row, client in clients:
        client.socket.settimeout(max(0.1, begun + 15 * SLOW - time.monotonic()))
        try:
            client.file.read()
        except ConnectionResetError:
            pass
        except TimeoutError:
            raise AssertionError(f"still open: {row[:40]}") from None
    assert is_served(one) and spent(one, 0.5) < BUSY


def test_a_body_that_does_not_come_to_its_end_is_cut_after_ten_seconds(one, wire):
    """Each that is under way takes one of a limited number of places."""
    rows = [("POST", "/servers", None), ("POST", "/servers", "kept"), ("POST", "/nowhere", None), ("GET", "/health", None)]
    clients, begun, ended = [], time.monotonic(), {}
    for method, path, kept in rows:
        client = wire(one)
        if kept:
            assert client.ask("GET", "/health")[0] == 200
        client.send(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n".encode())
        client.socket.setblocking(False)
        clients.append(((method, path, kept), client))
    while len(ended) < len(rows) and time.monotonic() - begun < 15 * SLOW:
        time.sleep(0.2)
        for row, client in clients:
            try:
                client.socket.send(b" ")
                if row not in ended and not client.socket.recv(1000):
                    ended[row] = time.monotonic() - begun
            except BlockingIOError:
                pass
            except OSError:
                ended.setdefault(row, time.monotonic() - begun)
    assert len(ended) == len(rows), ended
    assert all(ended[row] > 8 for row in ended if row[1] == "/servers"), ended
    assert is_served(one)


@pytest.mark.parametrize("headers, body", [
    ({}, b""), ({"Content-Length": 5}, b"hello"), (CHUNKED, b"5\r\nhello\r\n0\r\n\r\n"),
    (CHUNKED, b"0\r\n\r\n"), (CHUNKED, b"5;x=y\r\nhello\r\n0\r\nX: y\r\n\r\n")], ids=str)
def test_behind_a_body_that_nobody_wants_the_next_request_is_found(one, wire, headers, body):
    client = wire(one)
    status, got, _ = client.ask("POST", "/health", body + METRICS, **headers)
    assert status == 405 and "Connection" not in got
    assert client.answer()[0] == 200


def test_a_body_that_has_two_ends_is_refused_with_its_connection(one, wire):
    client = wire(one)
    status, got, _ = client.ask("POST", "/health", b"hello" + METRICS, **CHUNKED, Content_Length=5)
    assert (status, got["Connection"]) == (400, "close")
    assert client.ended(), "no second answer"


def test_every_answer_has_the_cors_headers_whoever_refuses(one, start, wire):
    strict = start(1, IP_CONNECT_RATE=1, IP_CONNECT_BURST=1, IP_CONNECTIONS_MAX=1).workers[0]
    wire(strict).ask("GET", "/stats")
    rows = [
        (one, "GET", "/nowhere", {}, 404), (one, "POST", "/stats", {"Content-Length": 0}, 405),
        (one, "POST", "/relay", {}, 405), (one, "GET", "/health", {"Transfer-Encoding": "gzip, chunked"}, 501),
        (one, "GET", "/health", {"Content-Length": 100_000}, 413), (one, "GET", "/relay", {}, 426),
        (one, "GET", "/nowhere", UPGRADE, 404), (strict, "GET", "/stats", {}, 429),
        (strict, "GET", "/relay", UPGRADE, 429),
        (one, "GET", "/a%zz", {}, None), (one, "TRACE", "/health", {}, None), (one, "PUT", "/health", {}, None),
        (one, "HEAD", "/health", {}, 200)]
    for worker, method, path, headers, wanted in rows:
        client, row = wire(worker), (method, path, headers)
        client.send(f"{method} {path} HTTP/1.1\r\nHost: x\r\n".encode() +
                    "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode() + b"\r\n")
        line = client.file.readline()
        assert line.startswith(b"HTTP/1."), f"{row}: no answer: {line}"
        status, got = int(line.split()[1]), http.client.parse_headers(client.file)
        assert status == wanted or wanted is None and 400 <= status < 500, f"{row}: {status}"
        assert {name: got[name] for name in CORS} == CORS, f"{row}: {got.items()}"


@pytest.mark.parametrize("size", [1000, 4096, 8192, 12 * 1024 - 500])
def test_big_headers_are_accepted(one, wire, size):
    cookie = {"Cookie": "a=" + "x" * (size - 2)}
    client = wire(one)
    assert [client.ask("GET", "/health", **cookie)[0] for _ in range(2)] == [200, 200]
    assert wire(one).upgrade(**cookie) == 101


def test_a_forwarded_address_is_that_of_the_client_however_it_is_written(start, wire):
    worker = start(1, IP_CONNECTIONS_MAX=1, IP_CONNECT_RATE=0, TRUSTED_PROXIES="127.0.0.1",
                   IP_PREFIX_V6=128).workers[0]
    rows = [("1.2.3.4:1111", "1.2.3.4:2222", 429), ("1.2.3.5", "1.2.3.5:80", 429), ("1.2.3.6:1", "1.2.3.7:1", 101),
            ("[2001:db8::1]:1111", "[2001:db8::1]:2222", 429), ("2001:db8::2", "[2001:db8::2]", 429),
            ("2001:db8::3", "2001:db8::4", 101), ("::ffff:1.2.3.8", "1.2.3.8:9", 429),
            ("::ffff:102:309", "1.2.3.9", 429), ("::ffff:1.2.3.10", "::FFFF:102:30a", 429),
            ("garbage", "other garbage", 429), ("1.2.3.4.5:9", "[", 429), ("x" * 300, ":", 429)]
    unreadable = ("1.2.3.4.5:9", "x" * 300)  # they count for the proxy too, which has its one by then
    for first, second, status in rows:
        holder, other = wire(worker), wire(worker)
        assert holder.upgrade(X_Forwarded_For=first) == 101 or first in unreadable, first
        assert other.upgrade(X_Forwarded_For=second) == status, (first, second)
    assert is_served(worker)


def test_a_client_cannot_hide_behind_a_long_list_of_forwarded_addresses(start, wire):
    worker = start(1, IP_CONNECTIONS_MAX=1, IP_CONNECT_RATE=0, TRUSTED_PROXIES="127.0.0.1").workers[0]
    client = {"X_Forwarded_For": "1.1.1.1, " * 1000 + "10.0.0.1"}
    holder, other = wire(worker), wire(worker)
    assert holder.upgrade(**client) == 101
    assert other.upgrade(X_Forwarded_For="10.0.0.1") == 429
    assert wire(worker).upgrade() == 101, "the proxy itself has no connection yet"


def test_two_clients_behind_one_kept_connection_of_a_proxy_are_told_apart(start, wire):
    worker = start(1, IP_CONNECTIONS_MAX=1, IP_CONNECT_RATE=0, TRUSTED_PROXIES="127.0.0.1").workers[0]
    a, b = "10.0.0.1", "10.0.0.2"
    kept = wire(worker)
    assert kept.ask("GET", "/health", X_Forwarded_For=a)[0] == 200
    assert kept.upgrade(X_Forwarded_For=b) == 101
    assert wire(worker).upgrade(X_Forwarded_For=b) == 429
    assert wire(worker).upgrade(X_Forwarded_For=a) == 101
    kept.close()
    wait_until(lambda: wire(worker).upgrade(X_Forwarded_For=b) == 101, 3, "a place for b")
    assert wire(worker).upgrade(X_Forwarded_For=a) == 429, "the place of a is still taken"


BIG = 60_000
REST = {"unknown members": ",".join(f'"{n:05}":[{n}]' for n in range(BIG // 16)),
        "an unknown text": '"more":"%s"' % ("\\u0041" * (BIG // 6)), "deep": '"more":%s' % ("[" * 60 + "]" * 60),
        "an unknown array": '"more":[%s0]' % ("[]," * (BIG // 3))}


@pytest.mark.parametrize("rest", REST.values(), ids=REST)
def test_what_no_handler_asks_for_is_ignored_however_much_it_is(fleet, rest):
    worker, server = fleet.workers[0], uid("server")
    status, _, answer = http_request(worker, "POST", "/servers", f'{{{rest},"serverId":"{server}","endpoint":"wss://x",'
                                     '"publicKey":"k","region":"r"}')
    assert (status, answer["server"]["serverId"], answer["server"]["region"]) == (200, server, "r")
    status, _, answer = http_request(worker, "POST", "/servers/heartbeat", f'{{"serverId":"{server}",{rest}}}')
    assert (status, answer["success"]) == (200, True)


@pytest.mark.parametrize("path, body, answer", [
    ("/servers", '{"serverId":"%s","endpoint":"e","publicKey":"k"}' % ("x" * BIG), (400, "Invalid field: serverId")),
    ("/servers", '{"serverId":"s","endpoint":"%s","publicKey":"k"}' % ("x" * 2049), (400, "Invalid field: endpoint")),
    ("/servers", '{"serverId":["s"],"endpoint":"e","publicKey":"k"}',
     (400, "Missing required fields: serverId, endpoint, publicKey")),
    ("/servers", '{"serverId":"\\u0000","endpoint":"e","publicKey":"k"}', (400, "Invalid JSON body")),
    ("/servers", '{"serverId":"\\ud800","endpoint":"e","publicKey":"k"}', (400, "Invalid JSON body")),
    ("/servers", '{"serverId":1e999,"endpoint":"e","publicKey":"k"}', (400, "Invalid JSON body")),
    ("/servers", '{"serverId":"s","endpoint":"e","publicKey":"k"', (400, "Invalid JSON body")),
    ("/servers/heartbeat", '{"serverId":"%s"}' % ("\\u0041" * (BIG // 6)), (404, "Server not registered")),
    ("/attest/challenge", '{"device_id":"%s","build_version":"1"}' % ("x" * BIG), (400, "Invalid field: device_id")),
    ("/attest/register", '{"device_id":"d","build_token":[%s0]}' % ("0," * (BIG // 2)),
     (400, "Invalid build_token format: must include payload and signature")),
    ("/attest/verify", '{"device_id":"d","nonce":"n","responses":{%s"a":0}}' % ('"a":0,' * (BIG // 6)),
     (400, "Missing required fields: device_id, nonce, responses (array)"))], ids=lambda x: str(x)[:50])
def test_a_field_of_many_kilobytes_is_answered_as_what_it_is(fleet, path, body, answer):
    status, _, told = http_request(fleet.workers[0], "POST", path, body)
    assert (status, told["error"]) == answer
