# SPDX-License-Identifier: MIT
"""Where a request ends, and what is none (RFC 9112): whoever stands before a worker must see the same requests."""
import itertools
import json
import shutil
import socket
import subprocess
import time

import psutil
import pytest

from authority import tls_options
from clients import frame
from harness import ASAN, UPGRADE, Redis, Worker, free_port, http_request, uid, wait_until
from test_hostile_http import Wire, is_served, one, spent, wire  # noqa: F401

GOOD = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
ENTRY = b'{"serverId":"a","endpoint":"b","publicKey":"c"}'
LENGTH = len(ENTRY)
SOCKET = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items()).encode()


def get(target="/health", fields=b"Host: x\r\n", version=b"HTTP/1.1"):
    return b"GET %s %s\r\n%s\r\n" % (target.encode(), version, fields)


def post(fields, body=ENTRY):
    return b"POST /servers HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n" + body


def chunked(body, fields=b""):
    return post(b"Transfer-Encoding: chunked\r\n" + fields, body)


def upgrade(fields, target=b"/relay"):
    return b"GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n" % (target, fields)


CHUNKS = b"5\r\n" + ENTRY[:5] + b"\r\n%x\r\n" % (LENGTH - 5) + ENTRY[5:] + b"\r\n0\r\n\r\n"

# What is no request, or has two meanings; the connection ends behind the answer.
REFUSED = {
    # lengths
    "length not a number": (post(b"Content-Length: abc\r\n"), 400),
    "length in hex": (post(b"Content-Length: 0x24\r\n"), 400),
    "length with a letter": (post(b"Content-Length: 2abc\r\n"), 400),
    "length below zero": (post(b"Content-Length: -1\r\n"), 400),
    "length with a plus": (post(b"Content-Length: +36\r\n"), 400),
    "empty length": (post(b"Content-Length: \r\n"), 400),
    "two lengths in one": (post(b"Content-Length: 0, 36\r\n"), 400),
    "the same twice in one": (post(b"Content-Length: 36, 36\r\n"), 400),
    "two lengths": (post(b"Content-Length: 0\r\nContent-Length: 36\r\n"), 400),
    "the same twice": (post(b"Content-Length: 36\r\nContent-Length: 36\r\n"), 400),
    "a length without end": (post(b"Content-Length: 99999999999999999999999\r\n"), 400),
    "a length of half a number": (post(b"Content-Length: 3.5\r\n"), 400),
    "two numbers": (post(b"Content-Length: 3 6\r\n"), 400),
    "a blank before the colon": (post(b"Content-Length : 36\r\n"), 400),
    "a tab before the colon": (post(b"Content-Length\t: 36\r\n"), 400),
    "too long": (post(b"Content-Length: 100000\r\n", b""), 413),
    "too long, in chunks": (chunked(b"11170\r\n" + b"x" * 70000), 413),
    # codings
    "both lengths": (chunked(CHUNKS, b"Content-Length: 36\r\n"), 400),
    "both, the other way round": (post(b"Content-Length: 36\r\nTransfer-Encoding: chunked\r\n"), 400),
    "chunked twice": (post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", CHUNKS), 400),
    "chunked twice in one": (post(b"Transfer-Encoding: chunked, chunked\r\n", CHUNKS), 400),
    "not last": (post(b"Transfer-Encoding: chunked, gzip\r\n", CHUNKS), 400),
    "not there": (post(b"Transfer-Encoding: gzip\r\n", CHUNKS), 400),
    "identity": (post(b"Transfer-Encoding: identity\r\n", CHUNKS), 400),
    "empty coding": (post(b"Transfer-Encoding:\r\n", CHUNKS), 400),
    "odd coding": (post(b"Transfer-Encoding: xchunked\r\n", CHUNKS), 400),
    "quoted": (post(b'Transfer-Encoding: "chunked"\r\n', CHUNKS), 400),
    "another below": (post(b"Transfer-Encoding: gzip, chunked\r\n", CHUNKS), 501),
    "hidden by a tab": (post(b"Transfer-Encoding:\tchunked\x0b\r\n", CHUNKS), 400),
    "chunks in 1.0": (b"POST /servers HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS, 400),
    # chunks
    "no size": (chunked(b"\r\nx\r\n0\r\n\r\n"), 400),
    "size below zero": (chunked(b"-5\r\nhello\r\n0\r\n\r\n"), 400),
    "size with 0x": (chunked(b"0x5\r\nhello\r\n0\r\n\r\n"), 400),
    "size without end": (chunked(b"5" * 20 + b"\r\nhello"), 400),
    "a size of 17 digits": (chunked(b"00000000000000005\r\nhello\r\n0\r\n\r\n"), 400),
    "a blank behind the size": (chunked(b"5 \r\nhello\r\n0\r\n\r\n"), 400),
    "LF behind the size": (chunked(b"5\nhello\r\n0\r\n\r\n"), 400),
    "LF in an extension": (chunked(b"5;\nhello\r\n0\r\n\r\n"), 400),
    "NUL in an extension": (chunked(b"5;a\x00\r\nhello\r\n0\r\n\r\n"), 400),
    "a long extension": (chunked(b"5;" + b"x" * 2000 + b"\r\nhello\r\n0\r\n\r\n"), 400),
    "no end of a chunk": (chunked(b"5\r\nhelloXX0\r\n\r\n"), 400),
    "LF behind a chunk": (chunked(b"5\r\nhello\n0\r\n\r\n"), 400),
    "LF behind the last": (chunked(b"5\r\nhello\r\n0\n\r\n"), 400),
    "a trailer without a colon": (chunked(b"0\r\ntrailer\r\n\r\n"), 400),
    "a folded trailer": (chunked(b"0\r\nA: b\r\n c\r\n\r\n"), 400),
    "a trailer with LF": (chunked(b"0\r\nA: b\n\r\n"), 400),
    "chunks that are all extension": (chunked(b"1;%s\r\nx\r\n" % (b"x" * 60) * 2000), 400),
    # lines
    "LF": (b"GET /health HTTP/1.1\nHost: x\n\n", 400),
    "LF behind a field": (b"GET /health HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", 400),
    "CR in a field": (b"GET /health HTTP/1.1\r\nHost: x\r\nX: y\rz\r\n\r\n", 400),
    "CR before the end": (b"GET /health HTTP/1.1\r\nHost: x\r\r\n\r\n", 400),
    "NUL in a field": (b"GET /health HTTP/1.1\r\nHost: x\r\nX: y\x00\r\n\r\n", 400),
    "a bell in a field": (b"GET /health HTTP/1.1\r\nHost: x\r\nX: \x07\r\n\r\n", 400),
    "DEL in a field": (b"GET /health HTTP/1.1\r\nHost: x\r\nX: \x7f\r\n\r\n", 400),
    "folded": (b"GET /health HTTP/1.1\r\nHost: x\r\nX: y\r\n z\r\n\r\n", 400),
    "folded at once": (b"GET /health HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    "a field without a colon": (b"GET /health HTTP/1.1\r\nHost: x\r\nX\r\n\r\n", 400),
    "a field without a name": (b"GET /health HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n", 400),
    "a name with a blank": (b"GET /health HTTP/1.1\r\nHost: x\r\nX Y: z\r\n\r\n", 400),
    "a name with a quote": (b'GET /health HTTP/1.1\r\nHost: x\r\nX": z\r\n\r\n', 400),
    "two empty lines before": (b"\r\n\r\n" + GOOD, 400),
    "a blank line before": (b" \r\n" + GOOD, 400),
    # the first line
    "no target": (b"GET HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /health\r\n\r\n", 400),
    "two blanks": (b"GET  /health HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a tab": (b"GET\t/health HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a blank behind": (b"GET /health HTTP/1.1 \r\nHost: x\r\n\r\n", 400),
    "a blank in the target": (b"GET /hea lth HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a fragment": (get("/health#x"), 400),
    "no path": (get("health"), 400),
    "a star": (get("*"), 400),
    "UTF-8 in the target": (get("/\u00e4"), 400),
    "a NUL in the target": (b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "an encoded NUL": (get("/servers/%00"), 400),
    "an encoded LF": (get("/servers/a%0ab"), 400),
    "an encoded DEL": (get("/servers/%7f"), 400),
    "a bad encoding": (get("/%zz"), 400),
    "half an encoding": (get("/a%4"), 400),
    "a lone percent": (get("/a%"), 400),
    "a bad encoding in the query": (get("/api/rooms?limit=%zz"), 400),
    "a small http": (b"GET /health http/1.1\r\nHost: x\r\n\r\n", 400),
    "no number": (get(version=b"HTTP/x.y"), 400),
    "two digits": (get(version=b"HTTP/1.10"), 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/0": (get(version=b"HTTP/0.9"), 505),
    "HTTP/3": (get(version=b"HTTP/3.0"), 505),
    "an unknown method": (b"FETCH /health HTTP/1.1\r\nHost: x\r\n\r\n", 501),
    "a small method": (b"get /health HTTP/1.1\r\nHost: x\r\n\r\n", 501),
    "CONNECT": (b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n", 501),
    "TLS": (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"x" * 200, 400),
    "an absolute target without a host": (get("http:///health"), 400),
    # who is asked
    "no Host": (get(fields=b""), 400),
    "two Hosts": (get(fields=b"Host: x\r\nHost: x\r\n"), 400),
    "a Host of two words": (get(fields=b"Host: x y\r\n"), 400),
    "a Host with a path": (get(fields=b"Host: x/y\r\n"), 400),
    "two Hosts in 1.0": (get(fields=b"Host: x\r\nHost: y\r\n", version=b"HTTP/1.0"), 400),
    # what is asked for
    "an expectation": (post(b"Expect: more\r\nContent-Length: 36\r\n", b""), 417),
    "two expectations": (post(b"Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 36\r\n", b""), 417),
    # how much
    "a long target": (get("/" + "x" * 8200), 414),
    "a long target without end": (b"GET /" + b"x" * 9000, 414),
    "a long head": (get(fields=b"Host: x\r\nX: " + b"x" * 16384 + b"\r\n"), 431),
    "a long head without end": (b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 3000, 431),
    "many fields": (get(fields=b"Host: x\r\n" + b"X: y\r\n" * 101), 431),
    # upgrades
    "no key": (upgrade(SOCKET.replace(b"Sec-WebSocket-Key", b"X-Key")), 400),
    "a short key": (upgrade(SOCKET.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHNhbXBsZQ==")), 400),
    "a key that is none": (upgrade(SOCKET.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"!" * 24)), 400),
    "two keys": (upgrade(SOCKET + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 400),
    **{f"version {v}": (upgrade(SOCKET.replace(b"Version: 13", b"Version: " + v)), 426)
       for v in (b"0", b"8", b"14", b"abc", b"", b"13, 8", b"013")},
    "no version": (upgrade(SOCKET.replace(b"Sec-WebSocket-Version", b"X-Version")), 426),
    "two versions": (upgrade(SOCKET + b"Sec-WebSocket-Version: 13\r\n"), 426),
    "an upgrade of what is no socket": (upgrade(SOCKET, b"/health"), 404),
    "an encoded slash of a socket's path": (upgrade(SOCKET, b"/relay%2Fx"), 404),
}

# What is a request, also where it is odd; another may follow.
TAKEN = {
    "a length": (post(b"Content-Length: %d\r\n" % LENGTH), 200),
    "a length with blanks around": (post(b"Content-Length:\t %d \t\r\n" % LENGTH), 200),
    "a length with zeros before": (post(b"Content-Length: %031d\r\n" % LENGTH), 200),
    "a length in capitals": (post(b"CONTENT-LENGTH: %d\r\n" % LENGTH), 200),
    "no body": (post(b"", b""), 400),
    "chunks": (chunked(CHUNKS), 200),
    "one chunk": (chunked(b"%X\r\n%s\r\n0\r\n\r\n" % (LENGTH, ENTRY)), 200),
    "chunks with zeros before": (chunked(b"%016x\r\n%s\r\n000\r\n\r\n" % (LENGTH, ENTRY)), 200),
    "chunks of one byte": (chunked(b"".join(b"1\r\n%c\r\n" % c for c in ENTRY) + b"0\r\n\r\n"), 200),
    "an extension": (chunked(b'%x;a="b;c"\r\n%s\r\n0;d\r\n\r\n' % (LENGTH, ENTRY)), 200),
    "a trailer": (chunked(CHUNKS[:-2] + b"X-A: b\r\nContent-Length: 5\r\n\r\n"), 200),
    "Chunked": (post(b"transfer-encoding: \tChUnKeD \r\n", CHUNKS), 200),
    "an empty line before": (b"\r\n" + GOOD, 200),
    "a field that begins like one that is known": (get(fields=b"Host: x\r\nX-A: b\r\n"), 200),
    "an empty field": (get(fields=b"Host: x\r\nX:\r\n"), 200),
    "an empty field before the host": (get(fields=b"X:\r\nHost: x\r\n"), 200),
    "a field of blanks before the coding": (chunked(CHUNKS).replace(b"Host: x\r\n", b"Host: x\r\nX: \t\r\n"), 200),
    "an empty Host": (get(fields=b"Host:\r\n"), 200),
    "a Host with a port": (get(fields=b"Host: [::1]:8080\r\n"), 200),
    "UTF-8 in a field": (get(fields=b"Host: x\r\nX: \xc3\xa4\r\n"), 200),
    "an absolute target": (get("http://x.example/health"), 200),
    "an absolute target without a path": (get("http://x.example"), 200),
    "an absolute target with a query": (get("HTTPS://user@x.example:80?a"), 200),
    "HTTP/1.9": (get(version=b"HTTP/1.9"), 200),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    "an encoded letter": (get("/%68ealth"), 200),
    "odd characters": (get("/nowhere/|\"<>^`{}\\"), 404),
    "an encoded slash is none": (get("/api%2Frooms"), 404),
    "dots are a name": (get("/static/../health"), 404),
    "slashes are not one": (get("//health"), 404),
    "a plus is a plus": (get("/api/rooms/a+b"), 404),
    "an upgrade without Connection": (upgrade(SOCKET.replace(b"Connection: Upgrade\r\n", b"")), 426),
    "an upgrade to something else": (upgrade(b"Connection: Upgrade\r\nUpgrade: -x\r\n", b"/health"), 200),
    "an upgrade to h2c": (upgrade(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n",
                                  b"/health"), 200),
    "an upgrade of a POST": (b"POST /servers HTTP/1.1\r\nHost: x\r\n" + SOCKET + b"Content-Length: 2\r\n\r\n{}", 400),
    "another method": (b"PUT /health HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 405),
    "TRACE": (b"TRACE /health HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    "a body of a GET": (get(fields=b"Host: x\r\nContent-Length: 5\r\n") + b"hello", 200),
}


def send(client, data, by_byte):
    """As far as the worker takes it: it may have refused it before its end."""
    try:
        for piece in (data[i:i + 1] for i in range(len(data))) if by_byte else [data]:
            client.send(piece)
    except OSError:
        pass


def verdict(worker, data, by_byte=False, before=b""):
    """What becomes of data, and whether a good request behind it is answered."""
    client = Wire(worker)
    try:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        send(client, before + data, by_byte)
        for _ in range(len(before) // len(GOOD)):
            assert client.answer()[0] == 200, "a good request before it"
        status, headers, body = client.answer()
        assert status, "no answer"
        if status == 101:
            return status, None
        if "close" in headers.get("Connection", ""):
            assert client.ended(), "an answer behind the last one"
            return status, "ends"
        send(client, GOOD, by_byte)
        assert client.answer()[0] == 200, "a good request behind it"
        return status, "goes on"
    finally:
        client.close()


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_request_is_refused_with_its_connection(one, name):
    data, status = REFUSED[name]
    client = Wire(one)
    send(client, data, False)
    got, headers, body = client.answer()
    assert (got, headers["Connection"].split(", ")[-1]) == (status, "close")
    assert json.loads(body)["error"] and headers["Access-Control-Allow-Origin"] == "*"
    assert client.ended()
    client.close()
    for by_byte, before in ((True, b""), (False, GOOD), (True, GOOD * 2)):
        if len(data) < 3000 or not by_byte:
            assert verdict(one, data, by_byte, before)[0] == status, (by_byte, before)
    assert is_served(one)


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_a_request_is_answered_and_so_is_the_next(one, name):
    data, status = TAKEN[name]
    for by_byte, before in ((False, b""), (True, b""), (False, GOOD), (True, GOOD * 2)):
        assert verdict(one, data, by_byte, before) == (status, "goes on"), (by_byte, before)


def made_by_rules():
    """Heads and bodies, each of parts that are right or wrong in one way or another."""
    firsts = [b"GET /health HTTP/1.1\r\n", b"POST /servers HTTP/1.1\r\n", b"GET /health HTTP/1.0\r\n",
              b"OPTIONS /x%2F HTTP/1.1\r\n", b"DELETE /servers/%41 HTTP/1.1\r\n"]
    hosts = [b"Host: x\r\n", b"", b"Host:x\r\nHost: y\r\n"]
    lengths = [b"", b"Content-Length: 2\r\n", b"Content-Length: 02 \r\n", b"Content-Length: 2\r\nContent-Length: 2\r\n",
               b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
               b"Transfer-Encoding: gzip, chunked\r\n", b"Content-Length:2\r\n", b"Content-Length: -2\r\n",
               b" Content-Length: 2\r\n"]
    others = [b"", b"Connection: close\r\n", b"X-A: b\r\n", b"Expect: 100-continue\r\n"]
    for first, host, length, other in itertools.product(firsts, hosts, lengths, others):
        yield first + host + length + other + b"\r\n" + (b"2\r\n{}\r\n0\r\n\r\n" if b"chunked" in length else
                                                         b"{}" if b"Length" in length else b"")


def without_continue(worker, data, **how):
    """As verdict(), where an interim answer may come first."""
    if b"Expect" not in data:
        return verdict(worker, data, **how)
    return verdict(worker, data.replace(b"Expect: 100-continue", b"X-Expect: 100-continue"), **how)


def test_a_request_means_the_same_however_it_comes(one):
    rows = list(made_by_rules())
    assert len(rows) > 500
    for data in rows[::3 if ASAN else 1]:
        whole = without_continue(one, data)
        assert whole[0] in (200, 400, 405, 413, 417, 501), (data, whole)
        assert without_continue(one, data, before=GOOD) == whole, data
        assert without_continue(one, data, by_byte=True) == whole, data
    assert is_served(one)


# --- what is answered --------------------------------------------------------------------------------------------

def test_a_refusal_may_be_read_by_whom_the_answer_could_be(start):
    worker = start(1, CORS_ORIGINS="https://a.example", IP_CONNECT_RATE=0).workers[0]
    ours = b"Host: x\r\nOrigin: https://a.example\r\n"
    for data, status in ((get("/%zz", ours), 400), (get(fields=ours + b"Expect: x\r\n"), 417), (get(fields=ours * 2), 400),
                         (get(fields=ours + b"Content-Length: 2\r\nTransfer-Encoding: gzip, chunked\r\n"), 400),
                         (b"POST /servers HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + ours + b"\r\nx\r\n", 400),
                         (get("/relay", ours + SOCKET.replace(b"13", b"12")), 426)):
        client = Wire(worker)
        client.send(data)
        got, headers, _ = client.answer()
        assert (got, headers["Access-Control-Allow-Origin"]) == (status, "https://a.example"), data
        client.close()


def test_a_refusal_of_a_head_is_a_head(one, wire):
    client = wire(one)
    client.send(b"HEAD /servers/%00 HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = client.file.read()
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.endswith(b"\r\n\r\n")


def test_of_a_head_only_the_head_is_answered(one, wire):
    client = wire(one)
    client.send(b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n" + GOOD)
    line, headers = client.file.readline(), {}
    while (field := client.file.readline()) != b"\r\n":
        name, _, value = field.decode().strip().partition(": ")
        headers[name] = value
    assert line.startswith(b"HTTP/1.1 200 ") and int(headers["content-length"]) > 0 and headers["date"].endswith("GMT")
    assert client.answer()[0] == 200


@pytest.mark.parametrize("version, connection, kept", [
    ("1.1", None, True), ("1.1", "close", False), ("1.1", "keep-alive, Close", False), ("1.1", ",close", False),
    ("1.0", None, False), ("1.0", "keep-alive, close", False),
    ("1.0", "Keep-Alive", True)])
def test_the_connection_is_kept_where_the_client_says_so(one, wire, version, connection, kept):
    client = wire(one)
    field = f"Connection: {connection}\r\n" if connection else ""
    client.send(f"GET /health HTTP/{version}\r\nHost: x\r\n{field}\r\n".encode() + GOOD)
    status, headers, _ = client.answer()
    assert status == 200
    assert headers.get("Connection") == ("close" if not kept else "keep-alive" if version == "1.0" else None)
    assert client.answer()[0] == (200 if kept else None)


def test_requests_in_a_row_are_answered_in_their_order_and_none_before_the_last(one, wire):
    client, ids = wire(one), [uid() for _ in range(20)]
    client.send(b"".join(post(b"Content-Length: %d\r\n" % len(body), body) + b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % i
                         for i in (name.encode() for name in ids)
                         for body in [b'{"serverId":"%s","endpoint":"b","publicKey":"c"}' % i]))
    for name in ids:
        assert json.loads(client.answer()[2])["server"]["serverId"] == name
        assert json.loads(client.answer()[2])["path"] == f"/{name}"


def test_a_client_that_waits_to_be_told_to_go_on_is_told_so(one, wire):
    client = wire(one)
    client.send(post(b"Expect: 100-continue\r\nContent-Length: %d\r\n" % LENGTH, b""))
    assert client.file.readline() + client.file.readline() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(ENTRY)
    assert client.answer()[0] == 200
    client.send(post(b"Expect: 100-continue\r\nContent-Length: %d\r\n" % LENGTH))
    assert client.answer()[0] == 200, "its body has come already"


def test_a_client_that_waits_to_be_told_to_go_on_is_refused_before_it_sends(one, wire):
    for head, status in ((b"POST /nowhere HTTP/1.1\r\nContent-Length: 5", 404),
                         (b"POST /servers HTTP/1.1\r\nContent-Length: 99999", 413),
                         (b"POST /attest/upload-reference HTTP/1.1\r\nTransfer-Encoding: chunked", 401)):
        client = wire(one)
        client.send(head + b"\r\nHost: x\r\nExpect: 100-continue\r\n\r\n")
        got, headers, _ = client.answer()
        assert got == status or (status == 401 and got == 503), head
        assert headers["Connection"] == "close" and client.ended()


@pytest.mark.parametrize("data", [b"", b"GET /hea", b"POST /servers HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"])
def test_who_says_no_more_and_reads_on_is_answered(one, wire, data):
    client = wire(one)
    client.send(GOOD + data)
    client.socket.shutdown(socket.SHUT_WR)
    assert client.answer()[0] == 200
    assert client.answer()[0] == (400 if data else None)
    assert client.ended()


def test_an_unknown_subprotocol_is_let_in_without_one(one, wire):
    for name in ("foo", "signalbox", "a, b", "!"):
        client = wire(one)
        status, headers, _ = client.ask("GET", "/relay", **UPGRADE, Sec_WebSocket_Protocol=name)
        assert (status, headers["Sec-WebSocket-Protocol"]) == (101, None), name
        client.send(frame('{"type":"ping"}'))
        assert client.file.read(17).endswith(b'{"type":"pong"}')


def test_what_comes_with_the_handshake_is_taken_behind_it(one, wire):
    client, count = wire(one), 50
    client.send(upgrade(SOCKET) + frame('{"type":"ping"}') * count)
    assert client.answer()[0] == 101
    assert client.file.read(17 * count) == (b"\x81\x0f" + b'{"type":"pong"}') * count


# --- what stopped a worker ---------------------------------------------------------------------------------------

TWO = b'POST /servers HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}'
STOPPERS = {"a request and one with a body": GOOD + TWO, "two with bodies": TWO * 2,
            "nowhere": (TWO * 3).replace(b"/servers", b"/nowhere"),
            "20 and 40 KB": b"".join(post(b"Content-Length: %d\r\n" % n, b" " * n) for n in (20_000, 40_000, 20_000))}


@pytest.mark.parametrize("pieces", [1, 2, 3])
@pytest.mark.parametrize("data", STOPPERS.values(), ids=STOPPERS)
def test_requests_with_bodies_in_one_segment_stop_nobody(one, wire, data, pieces):
    for _ in range(5):
        client = wire(one)
        for i in range(pieces):
            client.send(data[len(data) * i // pieces:len(data) * (i + 1) // pieces])
            time.sleep(0.01)
        for _ in range(data.count(b" HTTP/1.1\r\n")):
            assert client.answer()[0] in (200, 400, 404)
        client.close()
    assert is_served(one) and spent(one, 0.5) < 0.3


def test_requests_with_bodies_in_one_segment_stop_no_process_of_several(start, closing):
    several = Worker(start(0).redis.urls()[0], "--processes", "2", PORT=free_port(), IP_CONNECT_RATE=0)
    closing.callback(several.stop)
    for data in list(STOPPERS.values()) * 5:
        client = Wire(several)
        client.send(data)
        assert client.answer()[0]
        client.close()
    for _ in range(10):
        assert is_served(several)
    assert len(psutil.Process(several.pid).children()) == 2 and len(several.events("listening")) == 2


def secure_worker(closing, tmp_path):
    """One that speaks TLS."""
    redis = Redis()
    closing.callback(redis.close)
    worker = Worker(redis.urls()[0], IP_CONNECT_RATE=0, **tls_options(tmp_path))
    closing.callback(worker.stop)
    return worker


def test_with_tls_requests_are_what_they_are_without(closing, tmp_path):
    """In one record, in many, and behind one another."""
    secure = secure_worker(closing, tmp_path)
    for data in STOPPERS.values():
        client = Wire(secure)
        client.send(data)
        assert all(client.answer()[0] in (200, 400, 404) for _ in range(data.count(b" HTTP/1.1\r\n")))
        client.close()
    for data, status in list(REFUSED.values())[::3] + list(TAKEN.values()):
        assert verdict(secure, data)[0] == verdict(secure, data, before=GOOD)[0] == status, data
        assert len(data) > 400 or verdict(secure, data, by_byte=True)[0] == status, data
    assert is_served(secure) and spent(secure, 0.5) < 0.3


@pytest.mark.parametrize("path", ["/health", "/relay", "/nowhere"])
def test_an_upgrade_to_something_else_on_a_kept_connection_is_ignored(one, wire, path):
    client = wire(one)
    for to in ("-x", "-websocket", "x-websocket", "h2c", "foo, bar", "websockets"):
        assert client.ask("GET", "/health")[0] == 200
        status = client.ask("GET", path, Connection="Upgrade", Upgrade=to)[0]
        assert status == {"/health": 200, "/relay": 426, "/nowhere": 404}[path], to


# --- behind others -----------------------------------------------------------------------------------------------

HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 10s
  timeout server 10s
  http-reuse always
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  server w 127.0.0.1:{worker}
"""
NGINX = """
daemon off;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u;
  scgi_temp_path {dir}/s;
  upstream w {{ server 127.0.0.1:{worker}; keepalive 4; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://w; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off; }}
  }}
}}
"""


@pytest.fixture(params=["haproxy", "nginx"])
def behind(request, one, tmp_path, closing):
    """A proxy before the worker, as something that has a port."""
    program = shutil.which(request.param, path="/usr/sbin:/usr/bin")
    if not program:
        pytest.skip(f"{request.param} is not installed")
    port = free_port()
    text = {"haproxy": HAPROXY, "nginx": NGINX}[request.param].format(port=port, worker=one.port, dir=tmp_path)
    (tmp_path / "conf").write_text(text)
    command = [program, "-f" if request.param == "haproxy" else "-c", str(tmp_path / "conf")]
    if request.param == "nginx":
        command += ["-p", str(tmp_path), "-e", str(tmp_path / "error.log")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    closing.callback(lambda: (process.terminate(), process.wait(10)))
    front = type("Front", (), {"port": port, "pid": process.pid})

    def up():
        try:
            return http_request(front, "GET", "/health")[0] == 200
        except OSError:
            return False

    wait_until(up, 10, request.param)
    return front


def test_behind_a_proxy_each_gets_the_answer_to_its_own_request(one, behind):
    """Whatever the proxy lets pass, no request is hidden in another: those behind it are answered as themselves."""
    samples = [data for data, _ in [*REFUSED.values(), *TAKEN.values()] if len(data) < 12_000]
    samples += [data + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n" for data in samples]
    for data in samples[::4 if ASAN else 1]:
        client = Wire(behind)
        client.socket.settimeout(0.05)
        send(client, data, False)
        try:
            client.file.read(1)
        except (OSError, ValueError):
            pass
        client.close()
        name = uid("own")
        status, _, body = http_request(behind, "GET", f"/{name}")
        assert (status, body["path"]) == (404, f"/{name}"), data
    assert is_served(one)
    client = Wire(behind)
    client.send(chunked(CHUNKS))
    assert client.answer()[0] == 200, "chunks pass"
    client.close()
