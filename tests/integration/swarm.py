# SPDX-License-Identifier: MIT
"""Bare sockets that many are read at once by one loop, and whose texts are kept as they came."""
import collections
import json
import select
import struct
import time

from clients import begin_upgrade, frame, read_until
from harness import SLOW, Patience


class Member:
    """One socket. texts holds what came and was not taken yet, each text as its bytes."""

    def __init__(self, sock):
        self.sock, self.data, self.texts, self.closed = sock, bytearray(), collections.deque(), False

    def fileno(self):
        return self.sock.fileno()

    def send(self, **fields):
        self.send_text(json.dumps(fields))

    def send_text(self, *texts):
        self.sock.sendall(b"".join(frame(text) for text in texts))

    def read(self):
        """Takes in what has come; blocks while there is nothing."""
        data = self.sock.recv(1 << 18)
        self.closed |= not data
        self.take_in(data)

    def take_in(self, data):
        self.data += data
        while (end := self._frame()) is not None:
            opcode, begin, end = end
            payload = bytes(self.data[begin:end])
            del self.data[:end]
            self.take_frame(opcode, payload)

    def take_frame(self, opcode, payload):
        if opcode == 1:
            self.texts.append(payload)
        if opcode == 8:
            self.closed, self.code = True, int.from_bytes(payload[:2], "big")

    def _frame(self):
        """(opcode, begin, end) of the first frame, when it is whole."""
        if len(self.data) < 2:
            return None
        begin, size = {126: (4, "!H"), 127: (10, "!Q")}.get(self.data[1] & 127, (2, None))
        if len(self.data) < begin:
            return None
        end = begin + (struct.unpack(size, self.data[2:begin])[0] if size else self.data[1] & 127)
        return (self.data[0] & 15, begin, end) if len(self.data) >= end else None

    def text(self, timeout=5):
        """The next text, as it came."""
        gather([self], 1, timeout)
        return self.texts.popleft()

    def recv(self, timeout=5):
        return json.loads(self.text(timeout))

    def expect(self, kind, timeout=5):
        message = self.recv(timeout)
        assert message["type"] == kind, f"expected {kind}, got {str(message)[:200]}"
        return message


def members(workers, count, path="/relay"):
    """count sockets, spread over the workers."""
    made = []
    for begin in range(0, count, 100):  # some at a time: the listener's backlog is finite
        sockets = [begin_upgrade(workers[i % len(workers)].port, path) for i in range(begin, min(begin + 100, count))]
        for s in sockets:
            head, _, welcome = read_until(s, b"\r\n\r\n").partition(b"\r\n\r\n")
            assert b" 101 " in head
            made.append(Member(s))
            made[-1].take_in(welcome)
    return made


def gather(group, count, timeout=10):
    """Reads until each of the group has so many texts; returns the seconds it took."""
    begun, patience = time.monotonic(), Patience(timeout)
    wanted = {m.fileno(): m for m in group if len(m.texts) < count}
    poll = select.epoll()
    try:
        for fd in wanted:
            poll.register(fd, select.EPOLLIN)
        while wanted:
            left = patience.left()
            assert left, f"{len(wanted)} of {len(group)} still lack messages after {timeout * SLOW} s"
            for fd, _ in poll.poll(left):
                member = wanted[fd]
                member.read()
                assert not member.closed or len(member.texts) >= count, "closed"
                if len(member.texts) >= count:
                    poll.unregister(fd)
                    del wanted[fd]
    finally:
        poll.close()
    return time.monotonic() - begun


def settle(group, seconds=0.3):
    """Reads whatever comes within this time."""
    end, poll = time.monotonic() + seconds * SLOW, select.epoll()
    by_fd = {m.fileno(): m for m in group}
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
    while (left := end - time.monotonic()) > 0:
        for fd, _ in poll.poll(left):
            by_fd[fd].read()
    poll.close()


def take(member):
    """All texts that have come, parsed."""
    taken = [json.loads(text) for text in member.texts]
    member.texts.clear()
    return taken
