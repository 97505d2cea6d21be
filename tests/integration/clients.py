# SPDX-License-Identifier: MIT
"""Clients: one that lives (it answers pings), bare sockets that do only what they are told, one that can be frozen."""
import contextlib
import json
import queue
import select
import signal
import socket
import struct
import subprocess
import sys
import threading

import websocket
from websocket import ABNF

from harness import SLOW, UPGRADE, Patience, freeze


class Client:
    """A WebSocket client that answers pings by itself, as a living one does."""

    def __init__(self, worker, path="/relay", headers=None, **options):
        self.tls = getattr(worker, "tls", None)
        self.ws = websocket.WebSocket(skip_utf8_validation=True, sslopt={"context": self.tls})
        if self.tls:
            self.ws.lock = threading.RLock()
        self.ws.connect(f"{'wss' if self.tls else 'ws'}://127.0.0.1:{worker.port}{path}", header=headers or {},
                        timeout=30 * SLOW, **options)
        self.inbox, self.pings, self.closed = queue.Queue(), 0, None
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _next(self):
        """The next frame. With TLS reading and writing take turns: OpenSSL bears no two threads at once."""
        if self.tls:
            sock = self.ws.sock
            ready = select.poll()
            ready.register(sock, select.POLLIN)
            while not sock.pending() and not ready.poll(1000):
                pass
            with self.ws.lock:
                return self.ws.recv_data_frame(control_frame=True)
        return self.ws.recv_data_frame(control_frame=True)

    def _read(self):
        closed = (1006, "")
        try:
            while True:
                try:
                    opcode, frame = self._next()
                except websocket.WebSocketTimeoutException:
                    continue
                if opcode == ABNF.OPCODE_PING:
                    self.pings += 1
                elif opcode == ABNF.OPCODE_TEXT:
                    self.take(frame.data)
                elif opcode == ABNF.OPCODE_CLOSE:
                    if frame.data:
                        closed = struct.unpack("!H", frame.data[:2])[0], frame.data[2:].decode()
                    break
        except (OSError, AttributeError, ValueError, websocket.WebSocketException):
            pass
        self.closed = closed
        self.inbox.put(None)
        self.drop()

    def take(self, text):
        self.inbox.put(json.loads(text))

    def send(self, **fields):
        self.ws.send(json.dumps(fields))

    def send_all(self, messages):
        """Many messages in one write."""
        with self.ws.lock:
            self.ws.sock.sendall(b"".join(frame(json.dumps(m)) for m in messages))

    def raw(self, data):
        self.send_frame(ABNF.OPCODE_TEXT, True, data)

    def send_frame(self, opcode, fin, data):
        self.ws.send_frame(ABNF(int(fin), 0, 0, 0, opcode, 1, data))

    def recv(self, timeout=5):
        message, patience = self.inbox, Patience(timeout)
        while message is self.inbox:
            left = patience.left()
            assert left, f"nothing came within {timeout * SLOW} s"
            with contextlib.suppress(queue.Empty):
                message = self.inbox.get(timeout=left)
        if message is None:
            self.inbox.put(None)
            raise AssertionError(f"closed {self.closed}")
        return message

    def expect(self, kind, timeout=5):
        message = self.recv(timeout)
        assert message["type"] == kind, f"expected {kind}, got {message}"
        return message

    def request(self, kind, **fields):
        """Sends one message and returns the next that comes."""
        self.send(type=kind, **fields)
        return self.recv()

    def relays(self, **fields):
        """The ids that get_relays answers."""
        self.send(type="get_relays", **{"count": 100, **fields})
        return [relay["peerId"] for relay in self.expect("relays")["relays"]]

    def silence(self, seconds=0.2):
        try:
            message = self.inbox.get(timeout=seconds * SLOW)
        except queue.Empty:
            return
        raise AssertionError(f"expected silence, got {message or self.closed}")

    def expect_close(self, timeout=5):
        """(code, reason), with whatever messages came before thrown away; 1006 where no close frame came."""
        patience = Patience(timeout)
        while not self.closed:
            left = patience.left()
            assert left, f"still open after {timeout * SLOW} s"
            self.reader.join(left)
        return self.closed

    def close(self):
        """Says goodbye and waits until the server has."""
        self.ws.send_close = lambda *_: None  # the answer to ours needs no answer
        self.ws.send(struct.pack("!H", 1000), ABNF.OPCODE_CLOSE)
        return self.expect_close()

    def drop(self):
        """Leaves without a word."""
        try:
            self.ws.sock.shutdown(socket.SHUT_RDWR)
        except (OSError, AttributeError):
            pass


def frame(text):
    return ABNF.create_frame(text, ABNF.OPCODE_TEXT).format()


def upgrade_request(port, path):
    fields = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items())
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{fields}\r\n".encode()


def begin_upgrade(port, path="/relay", source="127.0.0.1", receive_buffer=0):
    """A bare socket with its upgrade request under way: nobody reads it and nobody answers its pings."""
    s = socket.socket()
    s.settimeout(20 * SLOW)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if receive_buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    s.bind((source, 0))
    s.connect(("127.0.0.1", port))
    s.sendall(upgrade_request(port, path))
    return s


def read_until(s, end):
    """Reads a bare socket until it has seen end; returns all of it."""
    data = b""
    while end not in data:
        chunk = s.recv(65536)
        assert chunk, f"closed after {data!r}"
        data += chunk
    return data


def bare_socket(worker, *args, **kwargs):
    s = begin_upgrade(worker.port, *args, **kwargs)
    assert b" 101 " in read_until(s, b"\r\n\r\n")
    return s


def reset(s):
    """Closes a bare socket with a TCP reset."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


class Puppet:
    """A client in a process of its own, to be frozen with its connection open. It sends the messages given."""

    def __init__(self, worker, *messages, program=__file__):
        self.process = subprocess.Popen([sys.executable, program, str(worker.port), *map(json.dumps, messages)],
                                        stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def freeze(self):
        freeze(self.process)

    def thaw_and_end(self):
        """Goes on; returns how its connection was closed, "CODE REASON"."""
        self.process.send_signal(signal.SIGCONT)
        return self.process.communicate(timeout=10 * SLOW)[0].strip()

    def close(self):
        self.process.kill()
        self.process.communicate()


def puppet(port, *messages):
    client = Client(type("Port", (), {"port": port}))
    for message in messages:
        client.ws.send(message)
        assert client.recv()["type"] != "error"
    print("ready", flush=True)
    print(*client.expect_close(60), flush=True)


if __name__ == "__main__":
    puppet(*sys.argv[1:])
