# SPDX-License-Identifier: MIT
"""For costs.py: the messages, by type and shape. A shape is made in three steps, as a generator: it yields
once its clients are set up, and then how many messages they have sent, all of which have been answered; by then those
have left who have registered something with them. After that the others leave."""
import collections
import functools
import itertools
import json

from clients import frame
from harness import uid
from swarm import gather, members, settle

Shape = collections.namedtuple("Shape", "dialect type shape make")
SOCKETS, BURST = 40, 10
number = itertools.count()


def fresh(prefix="x"):
    return f"{prefix}-{next(number):08}"


def opened(fleet, count, path):
    """Clients that have heard what they are told at first."""
    clients = members(fleet.workers, count, path)
    if path != "/relay":
        forget(clients)
    return clients


def forget(clients):
    settle(clients, 0.05)
    for client in clients:
        client.texts.clear()


def leave(clients):
    for client in clients:
        client.sock.close()


@functools.lru_cache(maxsize=64)
def framed(text):
    """Its frame; the same text is often sent again."""
    return frame(text)


def talk(clients, texts, heard=None, answers=1):
    """Each client sends its texts, some at a time; then each of heard (they themselves) has so many for each text."""
    heard = heard or clients
    for begin in range(0, len(texts[0]), BURST):
        parts = [part[begin:begin + BURST] for part in texts]
        for client, part in zip(clients, parts, strict=True):
            client.sock.sendall(b"".join(framed(text) for text in part))
        gather(heard, len(parts[0]) * answers, 60)
        for client in heard:
            for text in client.texts:
                assert b"rror" not in text[:40], text[:200]
            client.texts.clear()


def scaled(count, scale):
    return max(1, round(count * scale))


def make(path, count, text, hello=None, sockets=SOCKETS, answers=1):
    """Clients who send `count` messages each; text(i, n) is the n-th of the i-th, hello(i) what it says before."""
    def shape(fleet, scale):
        clients = opened(fleet, sockets, path)
        if hello:
            talk(clients, [[json.dumps(hello(i))] for i in range(sockets)])
        texts = [[json.dumps(text(i, n)) for n in range(scaled(count, scale))] for i in range(sockets)]
        yield
        talk(clients, texts, answers=answers)
        leave(clients)
        yield sum(map(len, texts))

    return shape


def pairs(path, count, text, name, hello, sockets=SOCKETS):
    """Clients who send to each other, across: the i-th to its neighbour, which is on the other worker."""
    def shape(fleet, scale):
        clients, names = members(fleet.workers, sockets, path), [name() for _ in range(sockets)]
        if path == "/ws":
            gather(clients, 1)
            names = [json.loads(client.texts.popleft())["peer_id"] for client in clients]
        for client, own in zip(clients, names, strict=True):
            client.send_text(json.dumps(hello(own)))
        forget(clients)
        texts = [[json.dumps(text(names[i ^ 1]))] * scaled(count, scale) for i in range(sockets)]
        yield
        talk(clients, texts)
        leave(clients)
        yield sum(map(len, texts))

    return shape


# --- /relay ---


def peer(i, n, kind, **fields):
    return {"type": kind, "peerId": f"peer-{i}", **fields}


def registered(i):
    return {"type": "register", "peerId": f"peer-{i}", "maxConnections": 10}


def points(count, **fields):
    return lambda i, n: peer(i, n, "register_rendezvous", hourlyTokens=[fresh("t") for _ in range((count + 1) // 2)],
                             dailyPoints=[fresh("p") for _ in range(count // 2)], **fields)


def drops(i, n):
    """256 points, each with a drop of 900 bytes."""
    names = [fresh("p") for _ in range(256)]
    return peer(i, n, "register_rendezvous", dailyPoints=names, deadDrop="x" * 900)


def drop_hunt(fleet, scale):
    """A message that is answered 64 drops of 16 KiB."""
    owners, point = members(fleet.workers, 64, "/relay"), fresh("hunted")
    talk(owners, [[json.dumps(peer(i, 0, "register_rendezvous", dailyPoints=[point], deadDrop="x" * 16_000))]
                  for i in range(64)])
    hunters = members(fleet.workers, 4, "/relay")
    texts = [[json.dumps({"type": "register_rendezvous", "peerId": f"hunter-{i}", "dailyPoints": [point]})]
             * scaled(8, scale) for i in range(4)]
    yield
    talk(hunters, texts)
    yield sum(map(len, texts))
    leave(owners + hunters)


def chunks(count):
    return lambda i, n: peer(i, n, "chunk_announce", chunks=[{"chunkId": fresh("c"), "routingHash": "h"}
                                                             for _ in range(count)])


def cached(size, count):
    """Requests for a chunk that is cached."""
    def shape(fleet, scale):
        chunk = fresh("cached")
        clients = members(fleet.workers, SOCKETS, "/relay")
        talk(clients[:1], [[json.dumps({"type": "chunk_push", "chunkId": chunk, "data": "x" * size})]])
        talk(clients, [[json.dumps(registered(i))] for i in range(SOCKETS)])
        texts = [[json.dumps(peer(i, 0, "chunk_request", chunkId=chunk))] * scaled(count, scale)
                 for i in range(SOCKETS)]
        yield
        talk(clients, texts)
        leave(clients)
        yield sum(map(len, texts))

    return shape


def awaited(size, count):
    """Pushes of chunks for which all others wait."""
    def shape(fleet, scale):
        clients = members(fleet.workers, SOCKETS, "/relay")
        talk(clients, [[json.dumps(registered(i))] for i in range(SOCKETS)])
        names = [fresh("awaited") for _ in range(scaled(count, scale))]
        talk(clients, [[json.dumps(peer(i, 0, "chunk_request", chunkId=name)) for name in names]
                       for i in range(SOCKETS)])
        [pusher] = members(fleet.workers, 1, "/relay")
        texts = [json.dumps({"type": "chunk_push", "chunkId": name, "data": "x" * size}) for name in names]
        yield
        talk([pusher], [texts])
        gather(clients, len(names))
        yield len(texts)
        leave([*clients, pusher])

    return shape


RELAY = [
    ("ping", "small", make("/relay", 100, lambda i, n: {"type": "ping"})),
    ("heartbeat", "small", make("/relay", 50, lambda i, n: peer(i, n, "heartbeat"), registered)),
    ("register", "small", make("/relay", 20, lambda i, n: {**registered(0), "peerId": fresh("peer")})),
    ("update_load", "small", make("/relay", 50, lambda i, n: peer(i, n, "update_load", connectedCount=n % 3),
                                  registered)),
    ("get_relays", "small", make("/relay", 50, lambda i, n: peer(i, n, "get_relays", count=1), registered)),
    ("get_relays", "big", make("/relay", 50, lambda i, n: peer(i, n, "get_relays", count=100),
                               lambda i: {**registered(i), "publicKey": "k" * 1000})),
    ("register_rendezvous", "small", make("/relay", 10, points(2), registered)),
    ("register_rendezvous", "new id", make("/relay", 10, lambda i, n: {**points(2)(i, n), "peerId": fresh("peer")})),
    ("register_rendezvous", "many", make("/relay", 2, points(512), registered, 4)),
    ("register_rendezvous", "big", make("/relay", 2, drops, registered, 4)),
    ("register_rendezvous", "big answer", drop_hunt),
    ("chunk_announce", "small", make("/relay", 10, chunks(1), registered)),
    ("chunk_announce", "many", make("/relay", 1, chunks(1024), registered, 4)),
    ("chunk_request", "small", make("/relay", 20, lambda i, n: peer(i, n, "chunk_request", chunkId=fresh("none")),
                                    registered)),
    ("chunk_request", "cached", cached(100, 50)),
    ("chunk_request", "big answer", cached(60_000, 10)),
    ("chunk_push", "small", make("/relay", 20, lambda i, n: peer(i, n, "chunk_push", chunkId=fresh("c"), data="x"),
                                 registered)),
    ("chunk_push", "big", make("/relay", 10, lambda i, n: peer(i, n, "chunk_push", chunkId=fresh("c"),
                                                               data="x" * 60_000), registered)),
    ("chunk_push", "many told", awaited(1000, 20)),
    ("chunk_push", "big told", awaited(60_000, 5)),
]

# --- /signal, / and /ws ---


def code():
    return fresh("code")


def registered_code(name):
    return {"type": "register", "pairingCode": name, "publicKey": KEY}


def apart(fleet, scale):
    """Each in a room of its own."""
    clients = [members([fleet.workers[i % 2]], 1, f"/signal/{fresh('room')}")[0] for i in range(SOCKETS)]
    texts = [[json.dumps(registered_code(code())) for _ in range(scaled(20, scale))] for _ in clients]
    yield
    talk(clients, texts)
    leave(clients)
    yield sum(map(len, texts))


def coming(path, join, size, count):
    """A guest comes to rooms of so many, one after the other; they hear of it."""
    def shape(fleet, scale):
        count_ = scaled(count, scale)
        clients = crowd(fleet, path, join, size)
        guests = members(fleet.workers, count_, path)
        forget([*clients, *guests])
        yield
        for guest in guests:
            guest.texts.clear()
            guest.send_text(json.dumps(join(0)))
        gather(guests, 1, 30)
        assert not any(b"rror" in text or b"ERROR" in text for guest in guests for text in guest.texts)
        gather(clients, count_, 30)
        leave(guests)
        gather(clients, 2 * count_, 30)
        yield count_
        leave(clients)

    return shape


def crowd(fleet, path, join, size):
    clients = members(fleet.workers, size, path)
    for client in clients:
        client.send_text(json.dumps(join(0)))
    gather(clients, 1, 30)
    settle(clients, 0.2)
    return clients


def once(path, name, hello, first, then, sockets=200):
    """Each asks its neighbour, across; then each answers: one message."""
    def shape(fleet, scale):
        clients, names = opened(fleet, sockets, path), [name() for _ in range(sockets)]
        for client, own in zip(clients, names, strict=True):
            client.send_text(json.dumps(hello(own)))
        forget(clients)
        for i in range(0, sockets, 2):
            clients[i].send_text(json.dumps(first(names[i + 1])))
        settle(clients, 0.1)
        yield
        for i in range(1, sockets, 2):
            clients[i].send_text(json.dumps(then(names[i - 1])))
        settle(clients, 0.2)
        yield sockets // 2
        leave(clients)

    return shape


def to(kind, size=100, **fields):
    return lambda target: {"type": kind, "target": target, "payload": "x" * size, **fields}


def call(target):
    return {"type": "call_offer", "target": target,
            "payload": {"callId": "0b5cc9d0-4b52-4b7d-8a8c-1d1f6a3f1f50", "sdp": "x" * 500}}


def accept(target):
    return {"type": "pair_accept", "target": target}


KEY = "A" * 43 + "="
SIGNAL, APP = "/signal/pairs", "/client"
SIGNALS = [
    ("register", "small", apart),
    ("register", "many told", coming("/signal/crowd", lambda i: registered_code(code()), 200, 40)),
    ("offer", "small", pairs(SIGNAL, 100, to("offer"), code, registered_code)),
    ("offer", "big", pairs(SIGNAL, 4, to("offer", 200_000), code, registered_code)),
    ("pair_request", "small", pairs(SIGNAL, 20, lambda target: {"type": "pair_request", "target": target}, code,
                                    registered_code)),
    ("pair_accept", "small", once(SIGNAL, code, registered_code,
                                  lambda target: {"type": "pair_request", "target": target}, accept)),
]



def app_code():
    return "".join("ABCDEFGHJKLMNPQRSTUVWXYZ23456789"[next(number) * 7919 // 32 ** i % 32] for i in range(6))


def asked(target):
    return {"type": "pair_request", "targetCode": target}


def linked(target):
    return {"type": "link_request", "linkCode": target, "publicKey": KEY}


APPS = [
    ("register", "small", make(APP, 20, lambda i, n: registered_code(app_code()))),
    ("offer", "small", pairs(APP, 100, to("offer"), app_code, registered_code)),
    ("call_offer", "small", pairs(APP, 100, call, app_code, registered_code)),
    ("pair_request", "small", once(APP, app_code, registered_code, lambda target: {"type": "ping"}, asked)),
    ("pair_response", "small", once(APP, app_code, registered_code, asked,
                                    lambda target: {"type": "pair_response", "targetCode": target, "accepted": True})),
    ("link_request", "small", once(APP, app_code, registered_code, lambda target: {"type": "ping"}, linked)),
]


def join(room):
    return {"type": "JOIN", "room_id": room, "payload": {"display_name": "a client"}}


def into(room, size):
    return coming("/ws", lambda i: join(room), size, 40)


def to_peer(size):
    return lambda target: {"type": "OFFER", "target_id": target, "payload": "x" * size}


def listed(fleet, scale):
    """The list of a room of 300."""
    clients = crowd(fleet, "/ws", lambda i: join("listed"), 300)
    guests = opened(fleet, SOCKETS, "/ws")
    texts = [[json.dumps({"type": "DISCOVER", "room_id": "listed"})] * scaled(10, scale) for _ in guests]
    yield
    talk(guests, texts)
    yield sum(map(len, texts))
    leave(clients + guests)


def back_and_forth(i, n):
    return join(fresh("room")) if n % 2 == 0 else {"type": "LEAVE"}


ROOMS = [
    ("JOIN", "small", make("/ws", 20, lambda i, n: join(fresh("room")))),
    ("JOIN", "many told", into("full", 300)),
    ("LEAVE", "small", make("/ws", 20, back_and_forth)),
    ("DISCOVER", "small", make("/ws", 50, lambda i, n: {"type": "DISCOVER"}, lambda i: join(f"own-{i}"))),
    ("DISCOVER", "big answer", listed),
    ("OFFER", "small", pairs("/ws", 100, to_peer(100), code, lambda name: {"type": "KEEP_ALIVE"})),
    ("OFFER", "big", pairs("/ws", 20, to_peer(30_000), code, lambda name: {"type": "KEEP_ALIVE"})),
    ("KEEP_ALIVE", "small", make("/ws", 100, lambda i, n: {"type": "KEEP_ALIVE"})),
]
MESSAGES = [Shape(dialect, *row) for dialect, rows in (("relay", RELAY), ("signal", SIGNALS), ("app", APPS),
                                                       ("rooms", ROOMS)) for row in rows]
