# SPDX-License-Identifier: MIT
"""What the clients of a crowd do, in each dialect. An Ask that is yielded comes back as its answer, None where it was
lost; a number is a pause."""
import base64
import random

from front import BEAT, answer_to
from crowd import Ask, Lively

ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
KEY = base64.b64encode(bytes(32)).decode()
GROUP = 20  # so many know each other
LEAVES = 0.02  # of all steps


class Role(Lively):
    """register() until it holds; then habits, at random; while the crowd is to prove itself, prove() until all others
    were reached, and again after each new connection."""

    def life(self):
        yield from self.register()
        self.settled = True
        self.settlings += 1
        while True:
            while self.todo:
                yield from self.todo.popleft()()
            if not self.crowd.proving and self.crowd.random.random() < LEAVES:
                yield from self.leave("own will")
            elif not self.crowd.proving:
                yield from self.crowd.random.choice(self.habits)(self)
                yield self.pause()
            elif missing := [name for name in self.targets() if (self.name, name) not in self.crowd.heard]:
                yield from self.prove(missing)
                yield 0.7
            else:
                self.proved = True
                yield from self.rest()

    def leave(self, why):
        """Drops its connection, and comes again."""
        self.crowd.later(0, lambda: self.sock and self.lose(reason=why))
        yield 60

    def pause(self):
        return self.crowd.pace * self.crowd.random.uniform(0.2, 1.8)

    def rest(self):
        yield 0.3

    def targets(self):
        return [other.name for other in self.group if other is not self]

    def other(self):
        return self.crowd.random.choice([other for other in self.group if other is not self])

    def note(self, sender):
        if self.crowd.proving:
            self.crowd.heard.add((sender, self.name))

    def until(self, ask, *wanted):
        """Asks again until it is not refused."""
        while (answer := (yield ask()))["type"] not in wanted:
            yield 0.5
        return answer

    def ping(self):
        yield Ask({"type": "ping"}, "pong")


class Caller(Role):
    """/signal/{room}; the code is the name."""

    register_fields = {}

    @property
    def path(self):
        return f"/signal/{self.group[0].name}"

    def register(self):
        message = {"type": "register", "pairingCode": self.name, **self.register_fields}
        yield from self.until(lambda: Ask(message, "registered"), "registered")

    def offer(self):
        target = self.other().name
        yield Ask({"type": "offer", "target": target, "payload": 1}, "answer", lossy=True,
                  match=lambda m: m["from"] == target)

    def pair(self):
        target = self.other().name
        yield Ask({"type": "pair_request", "target": target}, "pair_accept", lossy=True,
                  match=lambda m: m["from"] == target)

    def prove(self, missing):
        for target in missing:
            self.tell(type="offer", target=target, payload="proof")
        yield 0.3

    def hear(self, message):
        if message["type"] == "offer" and message["payload"] == "proof":
            self.note(message["from"])
        elif message["type"] == "offer":
            self.tell(type="answer", target=message["from"], payload=message["payload"])
        elif message["type"] == "pair_request":
            self.tell(type="pair_accept", target=message["from"])

    habits = [offer, offer, pair, Role.ping]


class App(Caller):
    """/client: pairing with approval."""

    path, register_fields = "/client", {"publicKey": KEY}

    def ask_to_pair(self):
        target = self.other().name
        yield Ask({"type": "pair_request", "targetCode": target}, "pair_matched", "pair_rejected", lossy=True,
                  match=lambda m: m["peerCode"] == target)

    def hear(self, message):
        if message["type"] == "pair_incoming":
            self.tell(type="pair_response", targetCode=message["fromCode"], accepted=self.crowd.random.random() < 0.5)
        else:
            super().hear(message)

    habits = [Caller.offer, Caller.offer, ask_to_pair, Role.ping]


class Peer(Role):
    """/relay: relays, rendezvous and chunks. The name is its id."""

    path = "/relay"

    def register(self):
        yield from self.until(lambda: Ask({"type": "register", "peerId": self.name, "maxConnections": 10},
                                          "registered"), "registered")

    def load(self):
        message = {"type": "update_load", "peerId": self.name, "connectedCount": self.crowd.random.randrange(10)}
        yield Ask(message, "load_updated")

    def relays(self):
        yield Ask({"type": "get_relays", "peerId": self.name}, "relays")

    def meet(self):
        token = f"token-{self.group[0].name}-{self.crowd.random.randrange(10)}"
        yield Ask({"type": "register_rendezvous", "peerId": self.name, "hourlyTokens": [token], "dailyPoints": [token],
                   "deadDrop": "x"}, "rendezvous_result")

    def announce(self, name="chunk"):
        chunk = {"chunkId": f"{name}-{self.name}", "routingHash": "h"}
        yield Ask({"type": "chunk_announce", "peerId": self.name, "chunks": [chunk]}, "chunk_announce_ack")

    def request(self, name="chunk", of=None):
        chunk = f"{name}-{of or self.other().name}"
        return (yield Ask({"type": "chunk_request", "peerId": self.name, "chunkId": chunk}, "chunk_data",
                          "chunk_not_found", lossy=True, match=lambda m: m["chunkId"] == chunk))

    def push(self, chunk="chunk"):
        message = {"type": "chunk_push", "peerId": self.name, "chunkId": chunk, "data": "d" * 1000}
        yield Ask(message, "chunk_push_ack")

    def heartbeat(self):
        yield Ask({"type": "heartbeat"}, "heartbeat_ack")

    def prove(self, missing):
        """All others are told of it as a match; and whoever comes before it gets its chunk."""
        token = f"proof-{self.group[0].name}"
        result = yield Ask({"type": "register_rendezvous", "peerId": self.name, "hourlyTokens": [token]},
                           "rendezvous_result")
        for match in result.get("liveMatches", ()):
            self.note(match["peerId"])
        yield from self.announce("proof")
        yield from self.rest()

    def rest(self):
        following = self.group[(self.group.index(self) + 1) % len(self.group)].name
        if (following, "its chunk") not in self.crowd.heard:
            self.tell(type="chunk_request", peerId=self.name, chunkId=f"proof-{following}")
        yield 0.3

    def targets(self):
        return [*super().targets(), "its chunk"]

    def hear(self, message):
        chunk = message.get("chunkId", "")
        if message["type"] == "rendezvous_match":
            self.note(message["match"]["peerId"])
        elif message["type"] == "chunk_data" and chunk.startswith("proof-"):
            self.crowd.heard.add((chunk[6:], "its chunk"))
        elif message["type"] == "chunk_pull":
            self.todo.append(lambda: self.push(chunk))

    habits = [load, relays, meet, announce, request, heartbeat, Role.ping]


class Roomer(Role):
    """/ws: members of a room. Peer ids are new with each connection; the names are display names."""

    path = "/ws"

    @property
    def room(self):
        return f"room-{self.group[0].name}"

    def ask(self, kind, **fields):
        return Ask({"type": kind, "request_id": f"{random.random()}", **fields}, "ACK", "PEER_LIST")

    def register(self):
        self.listed = {}
        yield Ask(None, "ACK")
        yield from self.join()

    def join(self):
        answer = yield from self.until(
            lambda: self.ask("JOIN", room_id=self.room, payload={"display_name": self.name}), "ACK")
        self.take_list(answer)

    def take_list(self, message):
        self.listed = {peer["display_name"]: peer["peer_id"] for peer in message["payload"]["peers"]}

    def discover(self):
        answer = yield self.ask("DISCOVER")
        if answer["type"] == "PEER_LIST":
            self.take_list(answer)
        elif answer["payload"]["code"] == "NOT_IN_ROOM":
            yield from self.join()

    def offer(self):
        target = self.listed.get(self.other().name)
        if target:
            yield Ask({"type": "OFFER", "target_id": target, "payload": {"name": self.name}}, "ANSWER", lossy=True,
                      match=lambda m: m["peer_id"] == target)

    def move(self):
        answer = yield self.ask("LEAVE")
        if answer["type"] == "ACK" or answer["payload"]["code"] == "NOT_IN_ROOM":
            yield from self.join()

    def keep_alive(self):
        yield self.ask("KEEP_ALIVE")

    def prove(self, missing):
        yield from self.discover()
        for name in missing:
            if name in self.listed:
                self.tell(type="OFFER", target_id=self.listed[name], payload={"proof": self.name})
        yield 0.3

    def hear(self, message):
        payload = message.get("payload") or {}
        if message["type"] == "OFFER" and "proof" in payload:
            self.note(payload["proof"])
        elif message["type"] == "OFFER":
            self.tell(type="ANSWER", target_id=message["peer_id"], payload={"name": self.name})
        elif message["type"] == "PEER_JOINED":
            self.listed[payload["display_name"]] = payload["peer_id"]

    habits = [offer, offer, discover, keep_alive, move]


class Booth(Role):
    """Either side of the pool: offers go to the other one."""

    def offer(self):
        target = self.other().name
        yield Ask({"type": "offer", "target": target, "payload": {"sdp": 1}}, "answer", lossy=True,
                  match=lambda m: m["from"] == target)

    def targets(self):
        return [other.name for other in self.group if type(other) is not type(self)]

    def other(self):
        return self.crowd.random.choice([other for other in self.group if type(other) is not type(self)])

    def prove(self, missing):
        for target in missing:
            self.tell(type="offer", target=target, payload={"proof": 1})
        yield 0.3

    def hear(self, message):
        if message["type"] == "offer" and "proof" in message["payload"]:
            self.note(message["from"])
        elif message["type"] == "offer":
            self.tell(type="answer", target=message["from"], payload=message["payload"])


class PoolMember(Booth):
    path = "/worker-sync"

    def register(self):
        challenge = yield Ask(None, "challenge")
        self.tell(type="auth", id=self.name, hmac=answer_to(challenge["nonce"]))
        message = {"type": "worker_register", "endpoint": f"wss://{self.name}.example", "capacity": 10000}
        yield from self.until(lambda: Ask(message, "worker_registered"), "worker_registered")

    def heartbeat(self):
        yield Ask({"type": "worker_heartbeat"}, "heartbeat_ack")

    def pause(self):
        return BEAT

    def rest(self):
        yield from self.heartbeat()
        yield BEAT

    def prove(self, missing):
        yield from self.heartbeat()
        yield from super().prove(missing)

    habits = [heartbeat]


class PoolClient(Booth):
    @property
    def path(self):
        return f"/signaling?clientId={self.name}"

    def register(self):
        """Where its id was refused, or Redis was away, it has another and comes again."""
        welcome = yield Ask(None, "welcome", deaf_to_errors=True)
        if welcome["clientId"] != self.name:
            yield 0.5
            yield from self.leave("another id")

    habits = [Booth.offer, Booth.offer, Role.ping]


SHARES = {Peer: 0.3, Caller: 0.2, App: 0.2, Roomer: 0.2, PoolClient: 0.1}


def populate(crowd, count):
    """So many clients, in groups."""
    for role, share in SHARES.items():
        names = [f"{role.__name__}-{i}" for i in range(round(count * share) - 3 * (role is PoolClient))]
        if role is App:
            names = ["".join(crowd.random.sample(ALPHABET, 6)) for _ in names]
        for begin in range(0, len(names), GROUP if role is not PoolClient else len(names)):
            group = []
            members = names[begin:begin + GROUP] if role is not PoolClient else names
            group += [role(crowd, name, group) for name in members]
            if role is PoolClient:
                group += [PoolMember(crowd, f"member-{i}", group) for i in range(3)]
            crowd.clients += group
