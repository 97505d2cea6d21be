# SPDX-License-Identifier: MIT
"""Many living clients on one loop: they answer pings, ask one thing after another, come back when they are closed, and
keep account of what became of each request. What each does is a generator: see crowd_roles.py."""
import collections
import heapq
import itertools
import json
import random
import selectors
import socket
import struct
import threading
import time

from websocket import ABNF

from clients import frame, upgrade_request
from harness import SLOW
from swarm import Member

HANDSHAKE = 4 * SLOW  # seconds of patience for it; a stopped worker accepts and says nothing
AT_MOST_ONCE = 6 * SLOW  # seconds after which what another client was to answer counts as lost
REFUSALS = ("error", "ERROR", "pair_error", "code_collision")


class Ask:
    """A request and the types of its answers. lossy: another client has a part in it, and may not get it."""

    def __init__(self, message, *wants, lossy=False, match=None, deaf_to_errors=False):
        self.message, self.wants, self.lossy, self.match = message, wants, lossy, match
        self.deaf_to_errors, self.since = deaf_to_errors, 0
        self.kind = message["type"] if message else wants[0]

    def is_answered_by(self, message):
        if self.message and "request_id" in self.message:
            return message.get("request_id") == self.message["request_id"]
        if message["type"] in REFUSALS and message["type"] not in self.wants:
            return not self.deaf_to_errors
        return message["type"] in self.wants and (not self.match or self.match(message))


class Account:
    """What became of all requests."""

    def __init__(self):
        self.asked, self.answered, self.refused = (collections.Counter() for _ in range(3))
        self.cut_off, self.lost, self.closes, self.texts = (collections.Counter() for _ in range(4))
        self.opened, self.not_opened, self.longest, self.forwards = 0, 0, 0, 0
        self.closed = []  # (no sooner than, when it was seen, port, code and reason)

    def __str__(self):
        sums = {name: sum(getattr(self, name).values()) for name in ("asked", "answered", "refused", "cut_off", "lost")}
        return (f"{sums} opened={self.opened} not_opened={self.not_opened} closes={dict(self.closes)} "
                f"longest={self.longest:.1f} s lost={dict(self.lost)} refusals={dict(self.texts)}")


class Lively(Member):
    """One client. Its port changes with each connection: any worker will do."""

    path = None

    def __init__(self, crowd, name, group):
        super().__init__(None)
        self.crowd, self.name, self.group, self.settled = crowd, name, group, False
        self.pending, self.todo, self.out, self.doing = None, collections.deque(), bytearray(), None
        self.upgraded, self.port, self.number, self.proved = False, None, 0, False
        self.refusal, self.settlings = None, 0  # the last one; how often it came to hold its registration

    # What it does is told by its role

    def life(self):
        raise NotImplementedError

    def hear(self, message):
        """What is no answer."""

    # The connection

    def choose_port(self):
        return self.crowd.random.choice(self.crowd.ports)

    def connect(self):
        if self.crowd.ended:
            return
        self.number += 1
        self.port = self.choose_port()
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.upgraded, self.data, self.out = False, bytearray(), bytearray(upgrade_request(self.port, self.path))
        self.sock.connect_ex(("127.0.0.1", self.port))
        self.crowd.selector.register(self.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, self)
        self.later(HANDSHAKE, lambda: self.upgraded or self.lose())

    def later(self, seconds, call):
        """Unless the connection is another by then."""
        number = self.number
        self.crowd.later(seconds, lambda: self.number == number and self.sock and call())

    def lose(self, code=1006, reason=""):
        account = self.crowd.account
        if self.upgraded:
            account.closes[f"{code} {reason}".strip()] += 1
            account.closed.append((self.crowd.unseen_since, time.monotonic(), self.port, f"{code} {reason}".strip()))
        else:
            account.not_opened += 1
        if self.pending:
            account.cut_off[self.pending.kind] += 1
        self.crowd.selector.unregister(self.sock)
        self.sock.close()
        self.sock = self.pending = self.doing = None
        self.settled = self.proved = False
        self.todo.clear()
        self.crowd.later(self.crowd.random.random(), self.connect)

    def on_event(self, mask):
        try:
            if mask & selectors.EVENT_WRITE:
                self.flush()
            if mask & selectors.EVENT_READ:
                self.on_data(self.sock.recv(1 << 18))
        except BlockingIOError:
            pass
        except OSError:
            if self.sock:
                self.lose()

    def flush(self):
        while self.out:
            del self.out[:self.sock.send(self.out)]
        self.crowd.selector.modify(self.sock, selectors.EVENT_READ, self)

    def on_data(self, data):
        if not data:
            self.lose()
            return
        if self.upgraded:
            self.take_in(data)
            return
        self.data += data
        head, end, rest = bytes(self.data).partition(b"\r\n\r\n")
        if end and b" 101 " not in head:
            self.lose()
        elif end:
            self.upgraded, self.data, self.doing = True, bytearray(), self.life()
            self.crowd.account.opened += 1
            self.go_on(None)
            self.take_in(rest)

    def take_frame(self, opcode, payload):
        if not self.sock:
            return
        if opcode == ABNF.OPCODE_PING:
            self.write(ABNF.create_frame(payload, ABNF.OPCODE_PONG).format())
        elif opcode == ABNF.OPCODE_TEXT:
            self.take(json.loads(payload))
        elif opcode == ABNF.OPCODE_CLOSE:
            self.lose(*(struct.unpack("!H", payload[:2])[0], payload[2:].decode()) if payload else ())

    def write(self, data):
        if not self.sock:
            return
        self.out += data
        try:
            self.flush()
        except BlockingIOError:
            self.crowd.selector.modify(self.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, self)
        except OSError:
            pass  # reading tells

    def tell(self, **message):
        self.crowd.account.forwards += 1
        self.write(frame(json.dumps(message)))

    # Asking and being answered

    def take(self, message):
        ask, account = self.pending, self.crowd.account
        if not ask or not ask.is_answered_by(message):
            self.hear(message)
            return
        refused = message["type"] in REFUSALS
        if refused:
            self.refusal = ask.kind, message
            text = message.get("message") or message.get("error") or message["payload"]["code"]
            account.texts[text.partition(":")[0]] += 1
        (account.refused if refused else account.answered)[ask.kind] += 1
        account.longest = max(account.longest, time.monotonic() - ask.since)
        self.pending = None
        self.go_on(message)

    def go_on(self, value):
        """Until the generator waits: for an answer, or for a while."""
        want = self.doing.send(value)
        if not isinstance(want, Ask):
            self.later(want, lambda: self.go_on(None))
            return
        self.pending, want.since = want, time.monotonic()
        self.crowd.account.asked[want.kind] += 1
        if want.lossy:
            self.later(AT_MOST_ONCE, lambda: self.give_up(want))
        if want.message:
            self.write(frame(json.dumps(want.message)))

    def give_up(self, ask):
        if self.pending is ask:
            self.crowd.account.lost[ask.kind] += 1
            self.pending = None
            self.go_on(None)


class Crowd:
    """The loop, in a thread of its own. heard holds (sender, receiver) of what came through since prove()."""

    def __init__(self, ports, seed, pace):
        self.ports, self.random, self.pace = ports, random.Random(seed), pace
        self.selector, self.timers, self.order = selectors.DefaultSelector(), [], itertools.count()
        self.account, self.clients, self.heard, self.proving, self.ended = Account(), [], set(), False, False
        self.orders = collections.deque()  # calls from other threads
        self.unseen_since = 0  # what this turn of the loop brings has come after that
        self.failure, self.thread = None, threading.Thread(target=self.run, daemon=True)

    def start(self):
        for client in self.clients:
            self.later(self.random.random(), client.connect)
        self.thread.start()

    def later(self, seconds, call):
        heapq.heappush(self.timers, (time.monotonic() + seconds, next(self.order), call))

    def run(self):
        looked = time.monotonic()
        try:
            while not self.ended:
                self.unseen_since, looked = looked, time.monotonic()
                wait = self.timers[0][0] - time.monotonic() if self.timers else 1
                for key, mask in self.selector.select(max(0, min(wait, 0.1))):
                    if key.data.sock is key.fileobj:
                        key.data.on_event(mask)
                while self.orders:
                    self.orders.popleft()()
                while self.timers and self.timers[0][0] <= time.monotonic():
                    heapq.heappop(self.timers)[2]()
        except BaseException as e:
            self.failure = e
            raise

    def prove(self):
        """From now on each tries to reach all that it knows."""
        self.orders.append(self._prove)

    def _prove(self):
        self.heard.clear()
        self.proving = True
        for client in self.clients:
            if client.pending and client.pending.lossy:
                client.give_up(client.pending)

    def depart(self, count):
        """So many leave for good; the first of a group gives it its name, and stays."""
        self.orders.append(lambda: self._depart(count))

    def _depart(self, count):
        for client in self.random.sample([c for c in self.clients if c.group.index(c) > 2 and c.sock], count):
            client.group.remove(client)
            self.clients.remove(client)
            client.connect = lambda: None
            client.lose(reason="own will")

    def unanswered(self, seconds):
        """(client, request) of those that have waited longer, on sockets that are open."""
        begun = time.monotonic() - seconds
        waiting = [(client.name, client.pending) for client in self.clients]
        return [(name, ask.kind, ask.message) for name, ask in waiting if ask and not ask.lossy and ask.since < begun]

    def stop(self):
        """Every client leaves without a word."""
        self.ended = True
        self.thread.join(10)
        for client in self.clients:
            if client.sock:
                client.sock.close()
        self.selector.close()
