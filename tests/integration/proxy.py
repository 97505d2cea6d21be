# SPDX-License-Identifier: MIT
"""What stands between one worker and Redis, and holds back what Redis answers when a test wants it to."""
import contextlib
import hashlib
import re
import socket
import sys
import threading
import time

from harness import ROOT, SLOW, wait_until

sys.path.append(str(ROOT / "tests" / "lua"))

from scripts import code_of  # noqa: E402


def sha1_of(script):
    """As a call names it."""
    return hashlib.sha1(code_of(script).encode()).hexdigest().encode()


def text_of(script):
    """As a call carries it that finds its hash forgotten."""
    code = code_of(script).encode()
    return b"EVAL\r\n$%d\r\n%s" % (len(code), code)


def call_of(script):
    """What matches a call in either form."""
    return re.compile(re.escape(sha1_of(script)) + b"|" + re.escape(text_of(script)))


BEAT = call_of("fleet/roster")


def opened():
    gate = threading.Event()
    gate.set()
    return gate


class Proxy:
    """Stands between one worker and Redis."""

    def __init__(self, port):
        self.target, self.listener, self.pattern, self.seen = port, socket.create_server(("127.0.0.1", 0)), None, None
        self.open, self.door, self.shut, self.whole = opened(), opened(), None, True
        self.inward = opened()  # the gate of all commands
        self.delay = 0  # of each answer, in seconds
        self.pace = None  # (bytes, seconds): so many of an answer at once, and the pause until the next
        self.subscriber = None  # the gate of the connection that last sent a SUBSCRIBE
        self.urgent = None  # and of that which last sent a beat
        self.first_beat = None  # and of that which did before: for commands, which sends the first
        self.url = f"redis://127.0.0.1:{self.listener.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                worker = self.listener.accept()[0]
                self.door.wait()
                try:
                    server, own = socket.create_connection(("127.0.0.1", self.target)), opened()
                except OSError:
                    worker.close()  # Redis is away
                    continue
                threading.Thread(target=self._pump, args=(worker, server, own, True), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, worker, own, False), daemon=True).start()

    def _pump(self, source, sink, own, commands):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 18):
                if commands and b"SUBSCRIBE" in data:
                    self.subscriber = own
                if commands and BEAT.search(data) and own is not self.urgent:
                    self.first_beat, self.urgent = self.urgent, own
                if commands and self.pattern and self.pattern in data:
                    self.shut = self.open if self.whole else own
                    self.shut.clear()
                    self.pattern = None
                    self.seen.set()
                if commands:
                    self.inward.wait()
                    sink.sendall(data)
                else:
                    time.sleep(self.delay)
                    self._answer(sink, data, own)
        for s in (source, sink):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def _answer(self, sink, data, own):
        size, pause = self.pace or (len(data), 0)
        for at in range(0, len(data), size):
            if at:
                time.sleep(pause)
            self.open.wait()
            own.wait()
            sink.sendall(data[at:at + size])

    @contextlib.contextmanager
    def holding_from(self, pattern, whole=True):
        """Inside, from the next command on that contains those bytes, no answer of Redis gets through: where not whole,
        none on the connection of that command. Yields what waits for it."""
        self.seen, self.pattern, self.whole = threading.Event(), pattern, whole

        def wait():
            wait_until(self.seen.is_set, 5, f"{pattern}, which is to be sent,")
            time.sleep(0.05 * SLOW)  # Redis has run it

        try:
            yield wait
        finally:
            self.pattern = None
            if self.shut:
                self.shut.set()

    def holding(self, script):
        """The same from the next call of that script on."""
        return self.holding_from(sha1_of(script))

    def deafen(self):
        """From now on nothing comes through on the present connection of the subscriptions, which stays open."""
        self.subscriber.clear()

    @contextlib.contextmanager
    def keeping_out(self):
        """Inside, new connections get nowhere."""
        self.door.clear()
        try:
            yield
        finally:
            self.door.set()

    def close(self):
        self.open.set()
        self.inward.set()
        self.door.set()
        self.listener.close()
