# SPDX-License-Identifier: MIT
"""A client of /servers and /attest, whose Ed25519 and HMAC are not those of the server."""
import base64
import hashlib
import hmac
import http.client
import json
import os
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from harness import SLOW, uid

DAY_MS = 24 * 60 * 60 * 1000


def now_ms():
    return int(time.time() * 1000)


def encoded(data):
    return base64.b64encode(data).decode()


def compact(value):
    return json.dumps(value, separators=(",", ":"))


class Key:
    """An Ed25519 key: its seed as a worker takes it, its public half as an entry or an option holds it."""

    def __init__(self, seed=None):
        seed = bytes.fromhex(seed) if seed else os.urandom(32)
        self.seed, self.key = seed.hex(), Ed25519PrivateKey.from_private_bytes(seed)
        self.public = encoded(self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    def sign(self, text):
        return encoded(self.key.sign(text.encode() if isinstance(text, str) else text))

    def signed(self, data, signature):
        """Whether that is its signature over data."""
        try:
            self.key.public_key().verify(base64.b64decode(signature, validate=True), data)
            return True
        except InvalidSignature:
            return False


def connection_to(worker):
    return http.client.HTTPConnection("127.0.0.1", worker.port, timeout=60 * SLOW)


def raw(worker, method, path, body=None, headers=None, connection=None):
    """(status, headers, body) of one request, the body as the bytes it came as. body may be a value, sent as JSON."""
    if body is not None and not isinstance(body, bytes):
        body = compact(body).encode()
    c = connection or connection_to(worker)
    try:
        c.request(method, path, body, headers or {})
        response = c.getresponse()
        return response.status, response.headers, response.read()
    finally:
        if connection is None:
            c.close()


def ask(*args, **kwargs):
    """(status, body) of one request that is answered in JSON."""
    status, headers, body = raw(*args, **kwargs)
    assert headers["Content-Type"] == "application/json"
    assert headers["Access-Control-Allow-Origin"] == "*"
    return status, json.loads(body)


def refused(status, sentence):
    return status, {"error": sentence}


def bearer(secret):
    return {"Authorization": f"Bearer {secret}"}


# --- servers ---


def server(server_id=None, **fields):
    """What a server registers with."""
    return {"serverId": server_id or uid("server"), "endpoint": "wss://vps.example:9000", "publicKey": "a key",
            **fields}


def servers(worker):
    """{id: entry} of those that are listed."""
    status, body = ask(worker, "GET", "/servers")
    assert status == 200 and body.keys() == {"servers", "timestamp"}
    listed = {entry["serverId"]: entry for entry in body["servers"]}
    assert len(listed) == len(body["servers"]), "a server twice"
    return listed


stamped = 0  # the timestamp that was signed last: the next one has to be newer


def signature(key, method, path, body=b"", timestamp=None):
    """The headers of a write that is signed."""
    global stamped
    if timestamp is None:
        timestamp = stamped = max(now_ms(), stamped + 1)
    return {"X-Server-Timestamp": str(timestamp),
            "X-Server-Signature": key.sign(f"{method}\n{path}\n{timestamp}\n".encode() + body)}


def ask_signed(worker, key, method, path, body=None):
    body = None if body is None else compact(body).encode()
    return ask(worker, method, path, body, signature(key, method, path, body or b""))


# --- attestation ---


def build_token(key, payload=None, **fields):
    """payload: its text; without it, that of a build whose fields may be changed, or None to leave them out."""
    if payload is None:
        build = {"version": "1.0.0", "platform": "android", "build_hash": "a hash", "timestamp": now_ms(), **fields}
        payload = compact({name: value for name, value in build.items() if value is not None})
    return {"payload": payload, "signature": key.sign(payload)}


def register(worker, key, device, **fields):
    return ask(worker, "POST", "/attest/register", {"build_token": build_token(key, **fields), "device_id": device})


class Reference:
    """A binary of a platform of its own, of which count regions are known."""

    def __init__(self, count=8, length=16, version="1.0.0", platform=None):
        self.version, self.platform = version, platform or uid("platform")
        self.data = [os.urandom(length) for _ in range(count)]

    def fields(self, **changes):
        regions = [{"offset": i * len(data), "length": len(data), "data_hex": data.hex()}
                   for i, data in enumerate(self.data)]
        return {"version": self.version, "platform": self.platform, "build_hash": "a hash", "size": 4096,
                "critical_regions": regions, **changes}

    def upload(self, worker, secret, **changes):
        return ask(worker, "POST", "/attest/upload-reference", self.fields(**changes), bearer(secret))

    def answers(self, challenge):
        """What a device with that binary answers."""
        key, answers = bytes.fromhex(challenge["nonce"]), []
        for region in challenge["regions"]:
            data = self.data[region["index"] % len(self.data)]
            answers.append({"region_index": region["index"], "hmac": hmac.new(key, data, hashlib.sha256).hexdigest()})
        return answers


def by(ip):
    """The headers of a request by that address, to a worker that trusts us as a proxy."""
    return {"X-Forwarded-For": ip} if ip else {}


def challenge(worker, device, version="1.0.0", connection=None, ip=None):
    return ask(worker, "POST", "/attest/challenge", {"device_id": device, "build_version": version}, by(ip),
               connection=connection)


def challenged(worker, device, **options):
    status, body = challenge(worker, device, **options)
    assert status == 200, body
    return body


def verify(worker, device, asked, answers, connection=None, ip=None):
    return ask(worker, "POST", "/attest/verify", {"device_id": device, "nonce": asked["nonce"], "responses": answers},
               by(ip), connection=connection)


def spend(worker, device, asked):
    assert verify(worker, device, asked, []) == (200, {"valid": False, "error": "Wrong number of responses"})
