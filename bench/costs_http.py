# SPDX-License-Identifier: MIT
"""For costs.py: the requests over HTTP, by route and shape. See costs_messages.py."""
import ipaddress
import itertools
import json

from costs_messages import Shape, fresh, leave, scaled
from front import KEY as POOL_KEY
from front import Member
from harness import http_connection, http_request
from registry_client import Key, Reference, bearer, build_token
from swarm import members, settle

KEY, SECRET = Key(), "bench"
BUILD = Reference()
ENV = {"ATTESTATION_SIGNING_KEY": KEY.seed, "CI_UPLOAD_SECRET": SECRET, "WORKER_SHARED_KEY": POOL_KEY,
       "WORKER_HEALTH_TIMEOUT": 600_000, "TRUSTED_PROXIES": "127.0.0.1"}
addresses = itertools.count(1)


def ask(connection, worker, method, path, body=None, headers=None):
    """From an address of its own: each may have so many challenges, devices and servers only."""
    headers = {"X-Forwarded-For": str(ipaddress.ip_address("10.0.0.0") + next(addresses)), **(headers or {})}
    status, _, answer = http_request(worker, method, path, body and json.dumps(body), headers, connection)
    assert status == 200, answer
    return answer


def make(count, method, path, body=None, before=None, headers=None):
    """Requests one after the other on one connection to each worker; path() and body() make them, before() what comes
    before each of them, unmeasured."""
    def shape(fleet, scale):
        connections = [http_connection(worker) for worker in fleet.workers]
        count_ = scaled(count, scale)
        asked = [(path() if callable(path) else path, body and body()) for _ in range(count_)]
        for i, (path_, body_) in enumerate(asked if before else []):
            before(connections[i % 2], fleet.workers[i % 2], path_, body_)
        ask(connections[0], fleet.workers[0], "GET", "/health")
        ask(connections[1], fleet.workers[1], "GET", "/health")
        yield
        for i, (path_, body_) in enumerate(asked):
            ask(connections[i % 2], fleet.workers[i % 2], method, path_, body_, headers)
        yield count_
        for connection in connections:
            connection.close()

    return shape


def server(server_id=None):
    return {"serverId": server_id or fresh("server"), "endpoint": "wss://vps.example:9000", "publicKey": "a key"}


def hundred(connection, worker, *_):
    for i in range(100):
        ask(connection, worker, "POST", "/servers", server(f"of-100-{i}"))


def first(setup):
    """setup, before the first request alone."""
    done = []

    def before(*args):
        if not done:
            done.append(setup(*args))

    return before


def add_server(connection, worker, path, body):
    ask(connection, worker, "POST", "/servers", server(body["serverId"] if body else path.rpartition("/")[2]))


def device():
    return {"device_id": fresh("device"), "build_token": build_token(KEY, platform=BUILD.platform)}


def add_device(connection, worker, _, body):
    """One that may be challenged."""
    if not add_device.uploaded:
        add_device.uploaded = True
        ask(connection, worker, "POST", "/attest/upload-reference", BUILD.fields(), bearer(SECRET))
    ask(connection, worker, "POST", "/attest/register", {**device(), "device_id": body["device_id"]})


add_device.uploaded = False


def challenge_it(connection, worker, path, body):
    add_device(connection, worker, path, body)
    asked = ask(connection, worker, "POST", "/attest/challenge",
                {"device_id": body["device_id"], "build_version": BUILD.version})
    body.update(nonce=asked["nonce"], responses=BUILD.answers(asked))


def of_device(**fields):
    return lambda: {"device_id": fresh("device"), **fields}


def in_room(shape):
    """With a room of 100."""
    def shape_(fleet, scale):
        clients = members(fleet.workers, 100, "/ws")
        for client in clients:
            client.send_text(json.dumps({"type": "JOIN", "room_id": "looked-at"}))
        settle(clients, 0.3)
        yield from shape(fleet, scale)
        leave(clients)

    return shape_


def with_member(shape):
    def shape_(fleet, scale):
        member = Member(fleet.workers[0])
        yield from shape(fleet, scale)
        member.drop()

    return shape_


HTTP = [Shape("http", *row) for row in [
    ("servers_register", "small", make(200, "POST", "/servers", server)),
    ("servers_heartbeat", "small", make(200, "POST", "/servers/heartbeat", lambda: {"serverId": fresh("server")},
                                        add_server)),
    ("servers_unregister", "small", make(200, "DELETE", lambda: f"/servers/{fresh('server')}", None, add_server)),
    ("servers", "big answer", make(50, "GET", "/servers", None, first(hundred))),
    ("attest_register", "small", make(200, "POST", "/attest/register", device)),
    ("attest_challenge", "small", make(200, "POST", "/attest/challenge", of_device(build_version=BUILD.version),
                                       add_device)),
    ("attest_verify", "small", make(200, "POST", "/attest/verify", of_device(), challenge_it)),
    ("attest_upload_reference", "big", make(5, "POST", "/attest/upload-reference",
                                            lambda: Reference(100, 1000).fields(), None, bearer(SECRET))),
    ("attest_versions", "small", make(200, "GET", "/attest/versions")),
    ("stats", "small", make(200, "GET", "/stats")),
    ("room_stats", "small", make(200, "GET", "/api/stats")),
    ("rooms_list", "small", make(200, "GET", "/api/rooms")),
    ("room", "big answer", in_room(make(50, "GET", "/api/rooms/looked-at"))),
    ("workers", "small", make(200, "GET", "/workers")),
    ("bootstrap", "small", with_member(make(200, "POST", "/bootstrap", lambda: {}))),
    ("info", "small", make(200, "GET", "/api/info")),
    ("index", "big answer", make(200, "GET", "/")),
]]
