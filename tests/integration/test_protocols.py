# SPDX-License-Identifier: MIT
"""PROTOCOLS: which protocols a worker serves. A path of one that is off is unknown; what it owes the others it does."""
import subprocess

import pytest
import redis
import websocket

from clients import Client
from harness import SLOW, WORKER, Fleet, Worker, get, http_request, uid, wait_until

SOCKETS = {"relay": ["/relay"], "signal": ["/signal/demo", "/client", "/"], "rooms": ["/ws"],
           "front": ["/signaling", "/worker-sync"]}
ROUTES = {"relay": ["/stats", "/relay/stats"], "signal": [], "rooms": ["/api/rooms", "/api/stats"],
          "registry": ["/servers", "/attest/versions"], "front": ["/workers"]}
ALWAYS = ["/health", "/ready", "/api/info", "/metrics", "/"]


def handshake_status(worker, path):
    try:
        websocket.create_connection(f"ws://127.0.0.1:{worker.port}{path}", timeout=5 * SLOW).close()
    except websocket.WebSocketBadStatusException as refused:
        return refused.status_code
    return 101


@pytest.fixture(scope="module")
def two():
    """One Redis; a worker that serves relays and rooms, and one that serves the rest."""
    with Fleet(1, PROTOCOLS="relay,rooms") as fleet:
        rest = Worker(fleet.redis.urls()[0], PROTOCOLS=" signal , registry, front ", WORKER_SHARED_KEY="key")
        yield {"relay": fleet.workers[0], "rooms": fleet.workers[0], "signal": rest, "registry": rest, "front": rest}
        rest.stop()


@pytest.mark.parametrize("protocol", ROUTES)
def test_paths_are_served_by_the_worker_that_has_their_protocol_alone(two, protocol):
    with_it = two[protocol]
    without = next(worker for worker in two.values() if worker is not with_it)
    for path in SOCKETS.get(protocol, []):
        assert handshake_status(with_it, path) in (101, 401), path
        assert handshake_status(without, path) == 404, path
    for path in ROUTES[protocol]:
        assert http_request(with_it, "GET", path)[0] in (200, 503), path
        assert http_request(without, "GET", path)[0] == 404, path


def test_a_plain_request_to_the_path_of_a_protocol_that_is_off_is_not_found(two):
    assert http_request(two["relay"], "GET", "/relay")[0] == 426
    assert http_request(two["signal"], "GET", "/relay")[0] == 404


@pytest.mark.parametrize("path", ALWAYS)
def test_what_belongs_to_no_protocol_is_always_served(two, path):
    assert {http_request(worker, "GET", path)[0] for worker in two.values()} == {200}


def test_the_list_of_endpoints_has_what_is_served(two):
    listed = get(two["relay"], "/api/info")["endpoints"]
    assert "relay" in listed and "rooms" in listed and "health" in listed
    assert not {"signal", "servers", "workers", "signaling", "worker_sync", "app", "client"} & set(listed)


def test_a_leader_without_a_protocol_cleans_up_after_a_worker_that_had_it():
    with Fleet(1, PROTOCOLS="rooms") as fleet:
        other = Worker(fleet.redis.urls()[0], PROTOCOLS="relay", LEADER_ELECTION="off")
        peer = uid()
        client = Client(other)
        assert client.request("register", peerId=peer)["type"] == "registered"
        store = redis.Redis.from_url(fleet.redis.urls()[0])
        assert store.exists(f"sb:{{peer:{peer}}}")
        other.kill9()
        wait_until(lambda: not store.exists(f"sb:{{peer:{peer}}}"), 20, "the end of the peer")


@pytest.mark.parametrize("names, wrong", [("relay,booth", "booth"), ("all", "all"), ("Relay", "Relay")])
def test_a_protocol_that_there_is_not_stops_the_start(names, wrong):
    done = subprocess.run([str(WORKER), "--protocols", names], capture_output=True, text=True, timeout=20 * SLOW,
                          env={"PATH": "/usr/bin:/bin"})
    assert done.returncode == 2 and done.stderr == f"signalbox-worker: PROTOCOLS: there is no protocol {wrong}\n"


@pytest.mark.parametrize("names", [" ", ",", " , ,"])
def test_a_list_without_a_name_stops_the_start(names):
    done = subprocess.run([str(WORKER), "--protocols", names], capture_output=True, text=True, timeout=20 * SLOW,
                          env={"PATH": "/usr/bin:/bin"})
    assert done.returncode == 2 and done.stderr == "signalbox-worker: PROTOCOLS names no protocol\n"
