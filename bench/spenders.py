# SPDX-License-Identifier: MIT
"""Those by whom bench/hostile.py has workers attacked who send well-formed messages, at full speed: such as cost much,
leave much behind, or take what is another's. Each has an address of its own, but for those that are a crowd."""
import base64
import http.client
import itertools
import json
import random
import string
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attackers import ROOM, drain, frame, ready, socket_to, tell, try_send

SEED = "5b" * 32  # of the key that build tokens are signed with
VICTIM, VICTIM_CODE, POINT, CHUNK, DEVICE = "victim", "VKTM23", "known-point", "known-chunk", "known-device"
RELAY_PATH, APP_PATH = "/relay", "/"


def text(length, prefix=""):
    return prefix + "".join(random.choices(string.ascii_lowercase, k=length - len(prefix)))


def rendezvous(points, tokens=0, length=12, drop=0, **fields):
    """A message with points that nobody has named before."""
    return {"type": "register_rendezvous", "peerId": text(12, "p-"), "dailyPoints": [text(length) for _ in range(points)],
            "hourlyTokens": [text(length) for _ in range(tokens)], "deadDrop": "x" * drop, **fields}


def spend(options, sources, make, path=RELAY_PATH, pause=0.0):
    """A socket of each source sends what make(number of the socket) gives it, as fast as it is taken. Who is closed comes
    again."""
    sockets, left, sent, closed = {}, {}, 0, 0
    ready()
    while True:
        for i, source in enumerate(sources):
            if i not in sockets:
                s = socket_to(options.port, path, source)
                if not s:
                    continue
                s.setblocking(False)
                sockets[i], left[i] = s, b""
            drain(sockets[i])
            if not left[i]:
                messages = make(i)
                left[i] = b"".join(frame(json.dumps(m)) for m in messages)
                sent += len(messages)
            left[i] = try_send(sockets[i], left[i])
            if left[i] is None:
                sockets.pop(i).close()
                closed += 1
            time.sleep(pause)
        tell(messages=sent, closed=closed)


def points(options):
    """256 new points and one drop of 16 KiB a message, from one socket."""
    spend(options, ["127.0.10.1"], lambda _: [rendezvous(256, drop=16_000)])


def long_names(options):
    """256 points and 256 tokens of 256 bytes a message, and 1,024 chunks a message, from one socket."""
    def make(_):
        chunks = [{"chunkId": text(40), "routingHash": "h"} for _ in range(1024)]
        return [rendezvous(256, 256, length=256), {"type": "chunk_announce", "peerId": text(12), "chunks": chunks}]

    spend(options, ["127.0.11.1"], make)


def big_answers(options):
    """232 sockets that ask for what lies at points with 64 drops of 16 KiB each, left there by others, and do not read."""
    fillers = [socket_to(options.port, RELAY_PATH, f"127.0.12.{i + 1}") for i in range(64)]
    for s, point in itertools.product(fillers, range(8)):
        s.sendall(frame(json.dumps({"type": "register_rendezvous", "peerId": text(12), "deadDrop": "x" * 16_000,
                                    "dailyPoints": [f"full-{point}"]})))
    ask = {"type": "register_rendezvous", "dailyPoints": [f"full-{point}" for point in range(8)]}
    spend(options, [f"127.0.13.{i % 100 + 1}" for i in range(232)], lambda i: [{**ask, "peerId": text(12)}], pause=0.001)


def rendezvous_by_32(options):
    """20 messages a second of 1,024 points and 1,024 tokens, from 32 sockets of one address."""
    def make(_):
        return [rendezvous(1024, 1024)]

    spend(options, ["127.0.14.1"] * 32, make, pause=0.05)


def waiting_sources(options):
    """A chunk that 3,072 ids have, all of which wait for it too, and requests for it."""
    crowd = [(socket_to(options.port, RELAY_PATH, f"127.0.15.{i + 1}"), i) for i in range(12)]
    for (s, i), n in itertools.product(crowd, range(256)):
        mine = {"peerId": f"both-{i}-{n}"}
        s.sendall(frame(json.dumps({"type": "chunk_announce", "chunks": [{"chunkId": "c", "routingHash": "h"}], **mine})))
        s.sendall(frame(json.dumps({"type": "chunk_request", "chunkId": "c", **mine})))
        drain(s)
    spend(options, ["127.0.16.1"], lambda _: [{"type": "chunk_request", "peerId": text(12), "chunkId": "c"}])


def big_offers(options):
    """Offers of 250 KB to a victim, and registrations of its code."""
    offer = {"type": "offer", "target": VICTIM, "payload": "x" * 250_000}

    def make(i):
        return [{"type": "register", "pairingCode": text(8, "loud-")}, offer] if i else [
            {"type": "register", "pairingCode": VICTIM}]

    spend(options, ["127.0.17.1"] * 3, make, ROOM)


def guesses(options):
    """Offers to codes of the apps' dialect that may be somebody's."""
    def make(_):
        code = "".join(random.choices("ABCDEFGHJKLMNPQRSTUVWXYZ23456789", k=6))
        return [{"type": "offer", "target": code, "payload": {"sdp": "x"}}] * 1

    spend(options, ["127.0.18.1"] * 4, make, APP_PATH)


def places(options):
    """One code after the other, and from each a request to pair with a victim."""
    key = base64.b64encode(bytes(32)).decode()

    def make(_):
        code = "".join(random.choices("ABCDEFGHJKLMNPQRSTUVWXYZ23456789", k=6))
        return [{"type": "register", "pairingCode": code, "publicKey": key},
                {"type": "pair_request", "targetCode": VICTIM_CODE}]

    spend(options, ["127.0.19.1"], make, APP_PATH, pause=0.05)


def crowded_point(options):
    """Registrations with a drop, under one id after the other, at a point where a victim has left one."""
    def make(_):
        return [{"type": "register_rendezvous", "peerId": text(12), "dailyPoints": [POINT], "deadDrop": "mine"}]

    spend(options, ["127.0.20.1"] * 4, make)


def pushes(options):
    """Chunks that nobody asked for, and others' data for a chunk of a victim."""
    def make(_):
        return [{"type": "chunk_push", "peerId": "stranger", "chunkId": text(12), "data": "x" * 1000},
                {"type": "chunk_push", "peerId": "stranger", "chunkId": CHUNK, "data": "not what you want"}]

    spend(options, ["127.0.21.1"] * 2, make)


def requests(options, source, method, make):
    """One request after the other on one connection."""
    answers, c = {}, None
    ready()
    while True:
        if not c:
            c = http.client.HTTPConnection("127.0.0.1", options.port, source_address=(source, 0), timeout=20)
        path, body = make()
        try:
            c.request(method, path, json.dumps(body))
            answer = c.getresponse()
            answer.read()
            answers[answer.status] = answers.get(answer.status, 0) + 1
        except (OSError, http.client.HTTPException):
            c.close()
            c = None
        tell(**{str(status): count for status, count in answers.items()})


def build_token():
    """As the apps carry one: anybody can read it there."""
    payload = json.dumps({"version": "1.0.0", "platform": "linux", "build_hash": "h", "timestamp": int(time.time() * 1000)})
    signature = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(SEED)).sign(payload.encode())
    return {"payload": payload, "signature": base64.b64encode(signature).decode()}


def devices(options):
    """One device after the other, all with one build token."""
    token = build_token()
    requests(options, "127.0.22.1", "POST",
             lambda: ("/attest/register", {"build_token": token, "device_id": text(256)}))


def servers(options):
    """Servers with entries of 25 KB, and of as much as is taken."""
    def make():
        size = random.choice([25_000, 1200])
        return "/servers", {"serverId": text(200), "endpoint": "wss://x", "publicKey": text(size)}

    requests(options, "127.0.23.1", "POST", make)


def challenges(options):
    """Challenges for the device of a victim."""
    requests(options, "127.0.24.1", "POST",
             lambda: ("/attest/challenge", {"device_id": DEVICE, "build_version": "1.0.0"}))


def thousand(options):
    """1,000 addresses, each with one socket that sends whatever costs or leaves most, as long as it is taken."""
    kinds = [lambda: rendezvous(256, drop=16_000), lambda: rendezvous(256, 256, length=256),
             lambda: {"type": "get_relays", "count": 100},
             lambda: {"type": "chunk_push", "peerId": text(12), "chunkId": text(12), "data": "x" * 60_000}]
    sources = [f"127.{2 + i // 250}.0.{i % 250 + 1}" for i in range(1000)]
    spend(options, sources, lambda i: [kinds[i % len(kinds)]()])


SPENDERS = {"points": points, "long-names": long_names, "big-answers": big_answers, "rendezvous": rendezvous_by_32,
            "waiting-sources": waiting_sources, "big-offers": big_offers, "guesses": guesses, "places": places,
            "crowded-point": crowded_point, "pushes": pushes, "devices": devices, "servers": servers,
            "challenges": challenges, "thousand": thousand}
