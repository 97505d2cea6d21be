# SPDX-License-Identifier: MIT
"""The pool: its members on /worker-sync, their clients on /signaling, and who asks for either by HTTP."""
import contextlib
import hashlib
import hmac
import json
import sys
import threading
import time
from urllib.parse import quote

import websocket

from clients import Client
from harness import SLOW, get, http_request, uid, wait_until
from registry_client import connection_to

KEY = "what the members of the pool know"
BEAT = 0.3  # seconds
OUT = 1.5  # seconds after which a member that is lost is in no ring any more
RANGES = [f"10.{i % 7}.{i}.{i}" for i in range(100)] + [f"2001:db8:{i:x}::1" for i in range(100)]
NO_WORKERS, NOT_FOUND = "No workers available", "Target peer not found"
ENV = {"IP_CONNECT_RATE": 0, "WORKER_SHARED_KEY": KEY, "TRUSTED_PROXIES": "127.0.0.0/8"}
HASTY = {**ENV, "WORKER_HEALTH_TIMEOUT": 1000 * SLOW}
PATIENT = {**ENV, "WORKER_HEALTH_TIMEOUT": 600000}  # members need not send heartbeats


def error(text):
    return {"type": "error", "message": text}


def answer_to(nonce, key=KEY):
    return hmac.new(key.encode(), nonce.encode(), hashlib.sha256).hexdigest()


class Member(Client):
    """A member of the pool; with beats, it sends a heartbeat each 300 ms. What it hears of the ring is in updates."""

    def __init__(self, worker, member=None, beats=False, register=True, **fields):
        self.id, self.updates, self.acks, self.texts = member or uid("member"), [], 0, []
        self.endpoint, self.quiet = f"wss://{self.id}.example/ws", threading.Event()
        super().__init__(worker, "/worker-sync")
        self.nonce = self.expect("challenge")["nonce"]
        if register:
            self.auth()
            self.version = self.register(**fields)["ringVersion"]
        if beats:
            self.beat()

    def take(self, text):
        message = json.loads(text)
        if message["type"] == "ring_update":
            self.updates.append((time.monotonic(), message))
        elif message["type"] == "heartbeat_ack":
            self.acks += 1
        else:
            self.texts.append(text)
            self.inbox.put(message)

    def beat(self):
        """From now on, each 300 ms."""
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self):
        with contextlib.suppress(OSError, websocket.WebSocketException):
            while not self.quiet.wait(BEAT):
                self.send(type="worker_heartbeat")

    def auth(self, **fields):
        self.send(**{"type": "auth", "id": self.id, "hmac": answer_to(self.nonce), **fields})

    def ask_to_register(self, **fields):
        self.send(**{"type": "worker_register", "endpoint": self.endpoint, **fields})

    def register(self, **fields):
        self.ask_to_register(**fields)
        return self.expect("worker_registered")

    def heartbeat(self, **fields):
        """Returns when it was acknowledged."""
        acks = self.acks
        self.send(type="worker_heartbeat", **fields)
        wait_until(lambda: self.acks > acks, 5, "the acknowledgment")

    def heard(self, condition, timeout=5, since=0):
        """The first (time, update) with a version above since whose members, by id, are so."""
        def found():
            return next((one for one in list(self.updates)
                         if one[1]["ringVersion"] > since and condition(by_id(one[1]))), None)

        return wait_until(found, timeout, "that ring_update")

    def drop(self):
        self.quiet.set()
        super().drop()


class Caller(Client):
    """A client of the pool, once it is welcome; its address is ip."""

    def __init__(self, worker, client=None, ip=None, welcome=True):
        self.texts = []
        query = "" if client is None else f"?clientId={quote(client, safe='')}"
        super().__init__(worker, f"/signaling{query}", {"X-Forwarded-For": ip} if ip else None)
        if welcome:
            self.welcome = self.expect("welcome")
            self.id, self.worker = self.welcome["clientId"], self.welcome["worker"]

    def take(self, text):
        self.texts.append(text)
        super().take(text)


def by_id(message):
    listed = {member["id"]: member for member in message["workers"]}
    assert len(listed) == len(message["workers"]), "a member twice"
    return listed


def pool(worker):
    """{id: member} as Redis has them: GET /workers reads it anew."""
    return by_id(get(worker, "/workers"))


def settle(fleet, *members):
    """Waits until these are the pool on all front servers."""
    wanted = {member.id for member in members}
    for worker in fleet.workers:
        wait_until(lambda: set(pool(worker)) == wanted, 5, f"the pool of {len(wanted)}")


def ask_bootstrap(worker, body=b"{}", ip=None, connection=None):
    """(status, headers, body)"""
    return http_request(worker, "POST", "/bootstrap", body, {"X-Forwarded-For": ip} if ip else {}, connection)


def bootstrap(worker, ip=None, connection=None, **fields):
    status, _, body = ask_bootstrap(worker, json.dumps(fields), ip, connection)
    assert status == 200, body
    return body


def answers(worker, ips=RANGES, **fields):
    """{ip: (worker, alternates…) by their ids}"""
    connection = connection_to(worker)
    try:
        bodies = {ip: bootstrap(worker, ip, connection, **fields) for ip in ips}
        return {ip: tuple(m["id"] for m in [body["worker"], *body["alternates"]]) for ip, body in bodies.items()}
    finally:
        connection.close()


def workers_for(worker, **fields):
    return {ip: ids[0] for ip, ids in answers(worker, **fields).items()}


def chosen(worker, **fields):
    """The id of the member for a client."""
    return bootstrap(worker, **fields)["worker"]["id"]


def send_text(client, text):
    """A message as it is spelled."""
    client.raw(text.encode())


def offered(sender, receiver, payload=None, **target):
    """Whether an offer of the one reaches the other; the next message there is it."""
    payload = payload or {"sdp": uid("sdp")}
    sender.send(type="offer", payload=payload, **target)
    return receiver.recv() == {"type": "offer", "from": sender.id, "payload": payload}


def forget(client):
    """Whatever has come, but reads on."""
    while not client.inbox.empty():
        client.recv()


def puppet(port, member, beats):
    client = Member(type("Port", (), {"port": port}), json.loads(member), beats=json.loads(beats))
    print("ready", flush=True)
    print(*client.expect_close(60 / SLOW), flush=True)


if __name__ == "__main__":
    puppet(*sys.argv[1:])
