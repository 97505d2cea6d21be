# SPDX-License-Identifier: MIT
"""What others send cannot hurt who is to get it: who reads slowly is not closed for it, and keeps its id."""
import contextlib
import json
import threading
import time

import pytest

from clients import begin_upgrade, frame, read_until
from front import KEY, answer_to
from harness import SLOW, Fleet, metric, uid, wait_until
from swarm import Member
from test_app import a_code, a_key
from test_rooms import WHERE, fault
from test_signal import error, path_of

ENV = {"IP_CONNECT_RATE": 0, "MESSAGE_RATE": 0, "LOG_LEVEL": "info", "WORKER_SHARED_KEY": KEY, "SIGNAL_PRESENCE_MAX": 0,
       "WORKER_HEALTH_TIMEOUT": 600000, "TAKEOVER_PROBE_MS": int(500 * SLOW)}
BUSY = "Target is busy"
BIG, ROOM_BIG = 250_000, 32_000


def slow(worker, path, source="127.0.0.1"):
    """A socket that reads only when it is told to, and with little room in the kernel."""
    sock = begin_upgrade(worker.port, path, source=source, receive_buffer=4096)
    head, _, rest = read_until(sock, b"\r\n\r\n").partition(b"\r\n\r\n")
    assert b" 101 " in head
    member = Member(sock)
    member.take_in(rest)
    return member


class Signal:
    path, size = path_of(uid("room")), BIG

    def enter(self, client):
        client.id = uid("code")
        client.send(type="register", pairingCode=client.id)
        client.expect("registered")

    def message(self, target, payload):
        return {"type": "offer", "target": target, "payload": payload}

    def sent_to(self, got):
        return got["payload"]

    busy = staticmethod(lambda message: message == error(BUSY))


class App(Signal):
    path = "/client"

    def enter(self, client):
        client.expect("server_info")
        client.id = a_code()
        client.send(type="register", pairingCode=client.id, publicKey=a_key())
        client.expect("registered")


class Rooms(Signal):
    path, size = "/ws", ROOM_BIG

    def enter(self, client):
        client.id = client.expect("ACK")["peer_id"]
        client.send(type="KEEP_ALIVE")
        client.expect("ACK")

    def message(self, target, payload):
        return {"type": "OFFER", "target_id": target, "payload": payload, "request_id": payload[:6]}

    def busy(self, message):
        message = {**message, "timestamp": 0}
        return message == fault("INTERNAL_ERROR", BUSY, timestamp=0, request_id=message["request_id"])


class Pool(Signal):
    """From a client to a member."""
    path = "/worker-sync"

    def enter(self, client):
        client.id = uid("member")
        client.send(type="auth", id=client.id, hmac=answer_to(client.expect("challenge")["nonce"]))
        client.send(type="worker_register", endpoint="wss://x.example/ws")
        while client.recv()["type"] != "worker_registered":
            pass


class Flood(threading.Thread):
    """Sends numbered messages to a code until it is told to stop, or has been told so often that the target is busy."""

    def __init__(self, client, dialect, target, most, payload_len=None):
        super().__init__(daemon=True)
        self.client, self.dialect, self.target, self.most = client, dialect, target, most
        self.rest, self.sent, self.quiet = "x" * (payload_len or dialect.size - 200), 0, threading.Event()
        self.start()

    def run(self):
        while self.sent < self.most and not self.quiet.is_set():
            self.client.send(**self.dialect.message(self.target, f"{self.sent:06}{self.rest}"))
            self.sent += 1

    def stop(self):
        self.quiet.set()
        self.join(20 * SLOW)


def answers(client, seconds=0.2):
    """What comes until nothing has come for so long."""
    got = []
    while True:
        try:
            got.append(client.inbox.get(timeout=seconds * SLOW))
        except Exception:
            return got


@pytest.fixture(scope="module")
def fleet():
    with Fleet(**ENV) as fleet:
        yield fleet


@WHERE
@pytest.mark.parametrize("dialect", [Signal(), App(), Rooms(), Pool()], ids=["signal", "app", "rooms", "pool"])
def test_who_reads_slowly_is_not_closed_for_what_others_send(fleet, connect, dialect, where):
    receiver = slow(fleet.workers[0], dialect.path)
    dialect.enter(receiver)
    sender = connect(fleet.workers[where], "/signaling" if dialect.path == "/worker-sync" else dialect.path)
    if dialect.path == "/worker-sync":
        sender.expect("welcome")
    else:
        dialect.enter(sender)
    flood = Flood(sender, dialect, receiver.id, 1000)
    refused = [sender.recv(20) for _ in range(3)]
    flood.stop()
    refused += answers(sender)
    assert all(map(dialect.busy, refused)), [str(r)[:100] for r in refused]
    assert metric(fleet.workers, 'signalbox_delivery_total{result="busy"}') >= len(refused)
    receiver.sock.settimeout(20 * SLOW)
    got = []
    while len(got) < flood.sent - len(refused):
        receiver.read()
        assert not receiver.closed, f"after {len(got)} of {flood.sent - len(refused)}: {getattr(receiver, 'code', 0)}"
        while receiver.texts:
            message = json.loads(receiver.texts.popleft())
            if message["type"] != "ring_update":
                got.append(dialect.sent_to(message)[:6])
    assert got == sorted(got) and len(set(got)) == len(got)
    sender.send(**dialect.message(receiver.id, "at-last"))
    assert dialect.sent_to(receiver.recv()) == "at-last"
    receiver.sock.close()


class Trickle(threading.Thread):
    """Reads about 1 Mbit/s of that socket, and answers no ping."""

    def __init__(self, member):
        super().__init__(daemon=True)
        self.member, self.quiet, self.count = member, threading.Event(), 0
        self.start()

    def run(self):
        self.member.sock.settimeout(0.1)
        while not self.quiet.wait(0.1):
            try:
                self.count += len(self.member.sock.recv(12_500))
            except TimeoutError:
                pass

    def stop(self):
        self.quiet.set()
        self.join(5)


@WHERE
def test_who_goes_on_taking_what_others_send_keeps_its_id(fleet, connect, where):
    """The ping of a claim waits behind all that, for longer than a claim takes."""
    dialect = Signal()
    receiver, sender = slow(fleet.workers[0], dialect.path), connect(fleet.workers[where], dialect.path)
    dialect.enter(receiver), dialect.enter(sender)
    flood = Flood(sender, dialect, receiver.id, 1000)
    assert sender.recv(20) == error(BUSY)
    flood.stop()
    reader = Trickle(receiver)
    other = connect(fleet.workers[1 - where], dialect.path)
    for _ in range(2):
        assert other.request("register", pairingCode=receiver.id) == error("Pairing code already in use")
    reader.stop()
    before = time.monotonic()
    wait_until(lambda: other.request("register", pairingCode=receiver.id)["type"] == "registered", 5,
               "the end of one that takes nothing any more")
    assert time.monotonic() - before < 4 * SLOW
    receiver.sock.close()


def close_1013(worker, receiver, connect):
    """Makes the worker send it more than waits for a client."""
    crowd = connect(worker)
    for i in range(60):
        crowd.request("register", peerId=uid(f"{i:03}-" + "x" * 230))
    before = metric(worker, "signalbox_slow_clients_total")
    receiver.sock.settimeout(0.1)

    def closed():
        with contextlib.suppress(OSError):
            receiver.sock.send(frame('{"type":"get_relays","count":100}') * 50)
        return metric(worker, "signalbox_slow_clients_total") > before

    wait_until(closed, 20, "the end of the slow client")


@WHERE
def test_the_id_of_one_that_was_closed_1013_is_kept_for_its_address(start, connect, where):
    fleet = start(2, SEND_QUEUE_MAX=50_000, **ENV)
    home, other = fleet.workers[0], fleet.workers[where]
    dialect = App()
    receiver = slow(home, "/client")
    dialect.enter(receiver)
    receiver.send(type="register", peerId=receiver.id)
    receiver.expect("registered")
    stranger, own = slow(other, "/client", source="127.0.0.2"), slow(other, "/client")
    for client in (stranger, own):
        client.expect("server_info")

    def claim(client, **what):
        client.send(type="register", **what)
        return client.recv()["type"]

    code = {"pairingCode": receiver.id, "publicKey": a_key()}
    close_1013(home, receiver, connect)
    begun = time.monotonic()
    assert claim(stranger, **code) == "code_collision"
    assert claim(stranger, peerId=receiver.id) == "error"
    assert claim(own, **code) == "registered"
    assert time.monotonic() - begun < 4 * SLOW, "without a probe"
    wait_until(lambda: claim(stranger, peerId=receiver.id) == "registered", 10, "the end of what is kept")
    assert time.monotonic() - begun > 4
    for client in (receiver, stranger, own):
        client.sock.close()


@WHERE
def test_long_messages_in_a_row_are_not_refused_where_they_are_read(fleet, connect, where):
    dialect = Signal()
    receiver, sender = connect(fleet.workers[0], dialect.path), connect(fleet.workers[where], dialect.path)
    dialect.enter(receiver), dialect.enter(sender)
    flood = Flood(sender, dialect, receiver.id, 100)
    assert [receiver.recv(20)["payload"][:6] for _ in range(100)] == [f"{i:06}" for i in range(100)]
    flood.stop()
    assert not answers(sender)


@WHERE
def test_long_messages_do_not_keep_short_ones_of_others_out(fleet, connect, where):
    dialect = Signal()
    receiver, other = slow(fleet.workers[0], dialect.path), connect(fleet.workers[where], dialect.path)
    sender = connect(fleet.workers[where], dialect.path)
    for client in (receiver, sender, other):
        dialect.enter(client)
    flood = Flood(sender, dialect, receiver.id, 40, 200_000)
    assert dialect.busy(sender.recv(20))
    flood.stop()
    answers(sender)
    for _ in range(20):
        other.send(**dialect.message(receiver.id, "short" * 1000))
    assert answers(other) == []


@pytest.mark.parametrize("where", [0, 1], ids=["same worker", "other worker"])
def test_matches_are_not_sent_to_who_reads_nothing_and_answers_to_requests_are(fleet, connect, where):
    dialect, home = App(), fleet.workers[0]
    receiver = slow(home, "/client")
    sender, friend = (connect(fleet.workers[where], "/client") for _ in range(2))
    for client in (receiver, sender, friend):
        dialect.enter(client)
    token = uid("token")
    receiver.send(type="register_rendezvous", peerId=uid(), hourlyTokens=[token])
    receiver.expect("rendezvous_result")
    receiver.send(type="pair_request", targetCode=friend.id)
    friend.expect("pair_incoming")
    for size in (10_000, 1):  # until there is no room for a match, which is short
        flood = Flood(sender, dialect, receiver.id, 1000, size)
        assert dialect.busy(sender.recv(20))
        flood.stop()
        answers(sender)
    sender.send(type="register_rendezvous", peerId=uid(), hourlyTokens=[token])
    assert sorted(message["type"] for message in (sender.recv(), sender.recv())) == ["error", "rendezvous_result"]
    assert sender.request("pair_request", targetCode=receiver.id)["type"] == "pair_error"
    friend.send(type="pair_response", targetCode=receiver.id, accepted=True)
    friend.expect("pair_matched")
    receiver.sock.settimeout(20 * SLOW)
    last = {}
    while last.get("type") != "pair_matched":
        last = receiver.recv(20)
        assert last["type"] in ("offer", "pair_matched"), last["type"]
    receiver.sock.close()
