# SPDX-License-Identifier: MIT
"""Frames of a client (RFC 6455 section 5) that are no frames, and those that are no messages, plain and with TLS."""
import os
import socket
import ssl
import struct
import time

import pytest

from authority import tls_options
from clients import ABNF, frame, read_until
from harness import CROWD, SLOW, Redis, Worker, metric, wait_until
from test_http_framing import SOCKET, upgrade

PING, PONG = frame('{"type":"ping"}'), b"\x81\x0f" + b'{"type":"pong"}'
TEXT, BINARY, CLOSE, CONTROL_PING, CONTROL_PONG = 0x1, 0x2, 0x8, 0x9, 0xa


@pytest.fixture(params=["plain", "tls"])
def worker(request, closing, tmp_path):
    """One of its own, with or without TLS."""
    redis, options = Redis(), {}
    closing.callback(redis.close)
    if request.param == "tls":
        options = tls_options(tmp_path)
    one = Worker(redis.urls()[0], IP_CONNECT_RATE=0, **options)
    closing.callback(one.stop)
    return one


@pytest.fixture
def dial(closing, worker):
    """A WebSocket whose every byte is ours; what comes with its handshake may be given."""
    def dial(early=b"", path=b"/relay"):
        s = socket.create_connection(("127.0.0.1", worker.port), timeout=10 * SLOW)
        closing.callback(s.close)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if worker.tls:
            s = worker.tls.wrap_socket(s, server_hostname="127.0.0.1")
            closing.callback(s.close)
        s.sendall(upgrade(SOCKET, path) + early)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += s.recv(1)
        assert b" 101 " in head
        return s

    return dial


def control(opcode, payload=b"", masked=True):
    if masked:
        return ABNF.create_frame(payload, opcode).format()
    return bytes((0x80 | opcode, len(payload))) + payload


def take(s, count):
    data = b""
    while len(data) < count:
        piece = s.recv(count - len(data))
        assert piece, f"closed after {data!r}"
        data += piece
    return data


def closing_of(s):
    """What comes up to the end: (bytes before the close frame, its code)."""
    data = b""
    try:
        while piece := s.recv(65536):
            data += piece
    except (ConnectionResetError, ssl.SSLError):
        pass
    before, _, rest = data.rpartition(b"\x88")
    assert rest, f"no close frame in {data!r}"
    return before, struct.unpack("!H", rest[1:3])[0]


UNMASKED = {"text": b"\x81\x0f" + b'{"type":"ping"}', "empty": b"\x81\x00", "binary": b"\x82\x01x",
            "long": b"\x81\x7e\x01\x00" + b"x" * 256, "longest": b"\x81\x7f" + struct.pack("!Q", 70_000) + b"x" * 100,
            "fragment": b"\x01\x01x", "ping": b"\x89\x00", "pong": b"\x8a\x01x", "close": b"\x88\x02\x03\xe8",
            "a ping in pieces": b"\x09\x80abcd", "a ping too long": b"\x89\xfe\x00\x80abcd" + b"x" * 128,
            "a ping with reserved bits": b"\xc9\x80abcd"}


@pytest.mark.parametrize("name", UNMASKED)
def test_what_is_no_frame_of_a_client_is_closed_1002(worker, dial, name):
    for before, early in ((b"", False), (PING, False), (PING * 2 + control(CONTROL_PING, b"p"), False), (PING, True)):
        s = dial(before + UNMASKED[name] if early else b"")
        if not early:
            s.sendall(before + UNMASKED[name])
        answered, code = closing_of(s)
        assert code == 1002, name
        assert answered.count(PONG) == before.count(PING), "what came before it is answered"
    s = dial()
    begun = time.monotonic()
    s.sendall(UNMASKED[name] + PING * 500)
    assert PONG not in closing_of(s)[0], "and what comes behind it is not"
    assert time.monotonic() - begun < 2 * SLOW * CROWD


@pytest.mark.parametrize("size", [0, 1, 5, 125])
def test_a_ping_is_answered_with_what_it_says(dial, size):
    s, payload = dial(), os.urandom(size)
    for piece in range(1, 4):
        data = control(CONTROL_PING, payload)
        for i in range(0, len(data), piece):
            s.sendall(data[i:i + piece])
        assert take(s, 2 + size) == bytes((0x8a, size)) + payload


def test_of_several_pings_the_last_is_answered(dial):
    s = dial()
    s.sendall(b"".join(control(CONTROL_PING, b"%03d" % i) for i in range(50)) + PING)
    data = read_until(s, PONG)
    assert b"\x8a\x03049" in data and data.count(b"\x8a\x03") <= 3


def test_pings_between_the_fragments_of_a_message_leave_it_whole(dial):
    s, text = dial(), b'{"type":"ping"}'
    pieces = [text[:1], b"", text[1:7], text[7:14], text[14:]]
    for by_byte in (False, True):
        data = b""
        for i, piece in enumerate(pieces):
            last = i == len(pieces) - 1
            data += ABNF(int(last), 0, 0, 0, TEXT if i == 0 else 0, 1, piece).format() + control(CONTROL_PING, b"p")
        for piece in (data[i:i + 1] for i in range(len(data))) if by_byte else [data]:
            s.sendall(piece)
        got = read_until(s, PONG)
        assert got.replace(b"\x8a\x01p", b"") == PONG
        time.sleep(0.05)
        s.sendall(control(CONTROL_PING, b"end"))
        rest = read_until(s, b"\x8a\x03end")
        assert set(rest[:-5].split(b"\x8a\x01p")) <= {b""}


LOUD = {"pings": control(CONTROL_PING, b"x"), "empty pings": control(CONTROL_PING), "pongs": control(CONTROL_PONG, b"x"),
        "empty fragments": ABNF(0, 0, 0, 0, 0, 1, b"").format(), "small fragments": ABNF(0, 0, 0, 0, 0, 1, b"x").format()}


@pytest.mark.parametrize("name", LOUD)
def test_frames_that_are_no_messages_count_in_the_rate_of_messages(worker, dial, name):
    s, begun = dial(), time.monotonic()
    if "fragments" in name:
        s.sendall(ABNF(0, 0, 0, 0, TEXT, 1, b"x" * 20).format())
    s.sendall(LOUD[name] * 190)
    time.sleep(0.1)
    assert metric(worker, "signalbox_rate_limited_messages_total") == 0, "a burst of 200 is let pass"
    s.settimeout(0.01)
    while time.monotonic() - begun < 15 * SLOW:
        try:
            s.sendall(LOUD[name] * 50)
            if not s.recv(65536):
                break
        except (TimeoutError, ssl.SSLWantReadError):
            time.sleep(0.02)
        except OSError:
            break
    else:
        raise AssertionError("still open")
    assert time.monotonic() - begun > 4
    assert metric(worker, "signalbox_rate_limited_messages_total") > 0
    wait_until(lambda: worker.events("connection_close"), 5, "its end")


def test_pings_over_the_rate_are_not_answered_and_what_is_under_it_is(dial):
    s = dial()
    for i in range(400):
        s.sendall(control(CONTROL_PING, b"%04d" % i))
    time.sleep(1.5)
    s.sendall(control(CONTROL_PING, b"last"))
    data = read_until(s, b"\x8a\x04last")
    assert 0 < data.count(b"\x8a\x04") < 400
