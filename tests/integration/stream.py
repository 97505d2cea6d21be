# SPDX-License-Identifier: MIT
"""A steady stream of messages from each worker to each other one, and what became of every one of them; and whether
/ready is true to what a worker can do, all the time."""
import collections
import contextlib
import http.client
import itertools
import json
import threading
import time

from crowd import Crowd
from crowd_roles import Caller, Roomer
from harness import SLOW, http_connection, http_request

PERIOD = 0.1  # seconds between two messages of a lane
EXCUSED = 5 * SLOW  # what was sent longer before a socket was closed should have been answered for by then


class Message:
    def __init__(self, mouth, ear):
        self.mouth, self.ear, self.connection, self.sent = mouth, ear, mouth.number, time.monotonic()
        self.came = self.refused = self.cut = None  # when


class Lane:
    """Every message of one mouth to one ear. A refusal that does not say of what counts for one that did not come."""

    def __init__(self):
        self.messages, self.anonymous = {}, collections.Counter()  # refusals, by the mouth's connection

    def open_ones(self):
        return [m for m in self.messages.values() if not (m.came or m.refused or m.cut)]

    def cut(self):
        """A socket was closed, and whoever it was knows that what was under way may be lost."""
        now = time.monotonic()
        for message in self.open_ones():
            if now - message.sent < EXCUSED:
                message.cut = now

    def lost(self):
        """How many met neither their receiver nor an error nor the end of a socket."""
        missing = collections.Counter(message.connection for message in self.open_ones())
        return sum(max(0, count - self.anonymous[number]) for number, count in missing.items())

    def count(self, what):
        return sum(getattr(message, what) is not None for message in self.messages.values())

    def gap(self, begin, end):
        """The longest time in which nothing came."""
        came = sorted(m.came for m in self.messages.values() if m.came and begin < m.came < end)
        return max(b - a for a, b in itertools.pairwise([begin, *came, end]))


class Fixed:
    """A client that stays with one worker."""

    lane = None

    def choose_port(self):
        return self.at

    def lose(self, *args, **kwargs):
        self.lane.cut()
        super().lose(*args, **kwargs)


class Mouth(Fixed):
    def life(self):
        yield from self.register()
        self.settled = True
        self.settlings += 1
        while True:
            if self.crowd.speaking:
                self.speak()
            yield PERIOD

    def speak(self):
        token = f"{self.name}-{len(self.lane.messages)}"
        self.lane.messages[token] = Message(self, self.group[1])
        self.say(token)

    def hear(self, message):
        if message["type"] in ("ERROR", "error"):
            self.refuse(self.lane.messages.get(message.get("request_id")))
        else:
            super().hear(message)

    def refuse(self, message):
        if message:
            message.refused = time.monotonic()
        else:
            self.lane.anonymous[self.number] += 1


class Ear(Fixed):
    def life(self):
        yield from self.register()
        self.settled = True
        self.settlings += 1
        while True:
            yield 60

    def hear(self, message):
        if message["type"] not in ("OFFER", "offer"):
            super().hear(message)
        elif not (heard := self.lane.messages[message["payload"]["token"]]).came:
            heard.came = time.monotonic()


class RoomMouth(Mouth, Roomer):
    """On /ws: each error names the message."""

    def say(self, token):
        self.tell(type="OFFER", target_id=self.listed.get(self.group[1].name, "nobody"), request_id=token,
                  payload={"token": token})

    def refuse(self, message):
        """The other has another id perhaps, or Redis has forgotten the room."""
        super().refuse(message)
        if not self.pending and self.settled:
            self.tell(type="DISCOVER", request_id="look")

    def hear(self, message):
        if message["type"] == "PEER_LIST":
            self.take_list(message)
        elif message.get("request_id") != "look":
            super().hear(message)


class RoomEar(Ear, Roomer):
    pass


class CodeMouth(Mouth, Caller):
    """On /signal."""

    def say(self, token):
        self.tell(type="offer", target=self.group[1].name, payload={"token": token})


class CodeEar(Ear, Caller):
    pass


class Stream(Crowd):
    """A lane for each two workers, either way, in two dialects."""

    def __init__(self, ports, seed):
        super().__init__(ports, seed, 1)
        self.speaking, self.lanes = False, {}
        for (a, b), kinds in itertools.product(itertools.permutations(ports, 2),
                                               [(RoomMouth, RoomEar), (CodeMouth, CodeEar)]):
            group, lane, path = [], Lane(), f"{kinds[0].__name__}-{a}-{b}"
            group += [kind(self, f"{path}-{kind.__name__}", group) for kind in kinds]
            for client, port in zip(group, (a, b)):
                client.at, client.lane = port, lane
            self.clients += group
            self.lanes[path] = lane

    def settled(self):
        return self.failure or all(client.settled for client in self.clients)

    def flows(self, since):
        """Whether in each lane something came that was sent after that moment."""
        return all(any(m.sent > since and m.came for m in reversed(lane.messages.copy().values()))
                   for lane in self.lanes.values())

    def sent(self):
        return sum(len(lane.messages) for lane in self.lanes.values())

    def count(self, what):
        return sum(lane.count(what) for lane in self.lanes.values())

    def lost(self):
        return sum(lane.lost() for lane in self.lanes.values())

    def tell_lost(self, since):
        """When, from that moment on, those were sent that nothing was heard of."""
        return {path: [round(m.sent - since, 2) for m in lane.open_ones()] for path, lane in self.lanes.items()
                if lane.lost()}

    def refused(self):
        """Some of these may have come all the same."""
        return self.count("refused") + sum(sum(lane.anonymous.values()) for lane in self.lanes.values())

    def gap(self, begin, end):
        return max(lane.gap(begin, end) for lane in self.lanes.values())


class Watch:
    """Asks each worker again and again whether it is ready, and writes something by way of it."""

    def __init__(self, workers):
        self.over, self.samples = threading.Event(), {worker: [] for worker in workers}
        self.written, self.threads = {worker: [] for worker in workers}, []
        for worker in workers:
            for ask in (self._ready, self._write):
                self.threads.append(threading.Thread(target=self._go_on, args=(worker, ask), daemon=True))
                self.threads[-1].start()

    def _go_on(self, worker, ask):
        while not self.over.wait(PERIOD):
            with contextlib.suppress(OSError, http.client.HTTPException):
                with contextlib.closing(http_connection(worker)) as connection:
                    while not self.over.wait(PERIOD):
                        ask(worker, connection)

    def _ready(self, worker, connection):
        status, _, body = http_request(worker, "GET", "/ready", connection=connection)
        self.samples[worker].append((time.monotonic(), status, body.get("error")))

    def _write(self, worker, connection):
        entry = {"serverId": f"watch-{worker.port}", "endpoint": "wss://x", "publicKey": "k"}
        status = http_request(worker, "POST", "/servers", json.dumps(entry), connection=connection)[0]
        if status == 200:
            self.written[worker].append(time.monotonic())

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(15 * SLOW)

    def longest_lie(self):
        """For how long at most a worker said that it was ready while nothing was written by way of it."""
        lies = [0]
        for worker, samples in self.samples.items():
            written, last, since = collections.deque(self.written[worker]), None, None
            for at, status, _ in samples:
                while written and written[0] <= at:
                    last = written.popleft()
                since = since if status == 200 and since else at if status == 200 else None
                if since and last:
                    lies.append(at - max(since, last))
        return max(lies)

    def reasons(self):
        return {reason for samples in self.samples.values() for _, _, reason in samples if reason}
