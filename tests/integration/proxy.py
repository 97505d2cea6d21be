# SPDX-License-Identifier: MIT
"""What stands between one worker and Redis, and holds back what Redis answers when a test wants it to."""
import contextlib
import hashlib
import socket
import threading
import time

from harness import ROOT, SLOW


class Proxy:
    """Stands between one worker and Redis."""

    def __init__(self, port):
        self.target, self.listener, self.pattern, self.seen = port, socket.create_server(("127.0.0.1", 0)), None, None
        self.open = threading.Event()
        self.open.set()
        self.url = f"redis://127.0.0.1:{self.listener.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                worker, server = self.listener.accept()[0], socket.create_connection(("127.0.0.1", self.target))
                threading.Thread(target=self._pump, args=(worker, server, True), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, worker, False), daemon=True).start()

    def _pump(self, source, sink, commands):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 18):
                if commands and self.pattern and self.pattern in data:
                    self.open.clear()
                    self.pattern = None
                    self.seen.set()
                if not commands:
                    self.open.wait()
                sink.sendall(data)
        for s in (source, sink):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def holding_from(self, pattern):
        """Inside, from the next command on that contains those bytes, no answer of Redis gets through. Yields what
        waits for it."""
        self.seen, self.pattern = threading.Event(), pattern

        def wait():
            assert self.seen.wait(5 * SLOW), f"{pattern} was not sent"
            time.sleep(0.05 * SLOW)  # Redis has run it

        try:
            yield wait
        finally:
            self.pattern = None
            self.open.set()

    def holding(self, script):
        """The same from the next call of that script on."""
        source = (ROOT / "redis-lua" / f"{script}.lua").read_bytes()
        return self.holding_from(hashlib.sha1(source).hexdigest().encode())

    def close(self):
        self.open.set()
        self.listener.close()
