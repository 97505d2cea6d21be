# SPDX-License-Identifier: MIT
"""What bench/hostile.py's attackers would take from others: a code, a drop, a chunk, a place among pair requests, a device.
After each attack it is looked for."""
import base64
import contextlib
import json

from attackers import ROOM
from clients import Client
from harness import http_request, wait_until
from registry_client import Key, Reference, challenge, register
from spenders import CHUNK, DEVICE, POINT, SEED, VICTIM, VICTIM_CODE

DROP, DATA, SECRET = "meet me", "what you want", "of the CI"
PUBLIC_KEY = base64.b64encode(bytes(32)).decode()
ENV = {"ATTESTATION_SIGNING_KEY": SEED, "CI_UPLOAD_SECRET": SECRET}


class Victims:
    """Clients of the second worker that read and answer pings; who looks for them is on the first. They have another
    address than the attackers."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.coded, self.app, self.peer = (Client(fleet.workers[1], path) for path in (ROOM, "/", "/relay"))
        self.app.expect("server_info", 20)
        self.coded.send(type="register", pairingCode=VICTIM)
        self.app.send(type="register", pairingCode=VICTIM_CODE, publicKey=PUBLIC_KEY)
        self.peer.send(type="register_rendezvous", peerId="victim-peer", dailyPoints=[POINT], deadDrop=DROP)
        self.peer.send(type="chunk_announce", peerId="victim-peer", chunks=[{"chunkId": CHUNK, "routingHash": "h"}])
        self.peer.send(type="chunk_push", peerId="victim-peer", chunkId=CHUNK, data=DATA)
        for member, kinds in ((self.coded, ["registered"]), (self.app, ["registered"]),
                              (self.peer, ["rendezvous_result", "chunk_announce_ack", "chunk_push_ack"])):
            for kind in kinds:
                member.expect(kind, 20)
        self.reference, key = Reference(platform="android"), Key(SEED)
        assert self.reference.upload(fleet.workers[0], SECRET)[0] == 200
        assert register(fleet.workers[0], key, DEVICE)[0] == 200

    @contextlib.contextmanager
    def stranger(self, path, **registration):
        member = Client(self.fleet.workers[0], path)
        if path == "/":
            member.expect("server_info", 20)
        if registration:
            member.send(**registration)
            member.expect("registered", 20)
        yield member
        member.drop()

    def heard(self, member, kind, **fields):
        """Whether a message with these fields is among those that have come; attackers may have sent some, too."""
        while not member.inbox.empty():
            message = member.recv()
            if message["type"] == kind and all(message.get(name) == value for name, value in fields.items()):
                return True
        return False

    def hear(self, member, kind, **fields):
        wait_until(lambda: self.heard(member, kind, **fields), 20, f"{kind} with {fields}")

    def lost(self):
        """What is not there any more, by name."""
        return [look.__name__ for look in (self.code, self.place, self.drop, self.chunk, self.device) if not self.is_there(look)]

    @staticmethod
    def is_there(look):
        try:
            look()
        except (AssertionError, OSError, KeyError) as e:
            print(f"{look.__name__}: {e}")
            return False
        return True

    def code(self):
        with self.stranger(ROOM, type="register", pairingCode="honest") as stranger:
            def came():
                if self.heard(stranger, "error"):  # "Target is busy"
                    stranger.send(**offer)
                return self.heard(self.coded, "offer", **{"from": "honest"})

            offer = {"type": "offer", "target": VICTIM, "payload": "hello"}
            stranger.send(**offer)
            wait_until(came, 20, "an offer")

    def place(self):
        with self.stranger("/", type="register", pairingCode="HNST23", publicKey=PUBLIC_KEY) as stranger:
            stranger.send(type="pair_request", targetCode=VICTIM_CODE)
            self.hear(self.app, "pair_incoming", fromCode="HNST23")

    def drop(self):
        with self.stranger("/relay") as stranger:
            stranger.send(type="register_rendezvous", peerId="honest-peer", dailyPoints=[POINT])
            result = stranger.expect("rendezvous_result", 20)
            assert DROP in [found["deadDrop"] for found in result["deadDrops"]]

    def chunk(self):
        with self.stranger("/relay") as stranger:
            stranger.send(type="chunk_request", peerId="honest-peer", chunkId=CHUNK)
            answer = stranger.recv(20)
            assert answer.get("data") == DATA, f"{answer}"

    def device(self):
        status, answer = challenge(self.fleet.workers[0], DEVICE)
        assert status == 200, f"{status} {answer}"
        verified = http_request(self.fleet.workers[0], "POST", "/attest/verify", json.dumps(
            {"device_id": DEVICE, "nonce": answer["nonce"], "responses": self.reference.answers(answer)}))
        assert verified[2]["valid"]
