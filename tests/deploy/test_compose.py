# SPDX-License-Identifier: MIT
"""compose.yaml as it is, run by podman-compose: clients reach its workers through its load balancer. Each test goes on
from where the one before it ended."""
import contextlib
import json
import os
import signal
import urllib.parse
from types import SimpleNamespace

import pytest
import websocket
import yaml

from clients import Client
from harness import UPGRADE, free_port, get, http_request, uid, wait_until
from images import ROOT, ensure, inspect, podman, run

DESCRIPTION = yaml.safe_load((ROOT / "compose.yaml").read_text())
PROJECT = "signalbox"
NETWORK = "172.28.95"
GATEWAY = f"{NETWORK}.1"  # where this machine's own connections seem to come from


def services_of(profile):
    return [name for name, service in DESCRIPTION["services"].items() if service.get("profiles", [None]) == [profile]]


class Compose:
    def __init__(self):
        self.port, self.prometheus = free_port(), SimpleNamespace(port=free_port())
        # podman-compose 1.0 knows nothing of ipam, but takes a network that is there.
        podman("network", "create", "--subnet", f"{NETWORK}.0/24", f"{PROJECT}_default")

    def up(self, *services, **env):
        """podman-compose 1.0 knows no profiles, but starts what it is told to."""
        run("podman-compose", "-p", PROJECT, "-f", ROOT / "compose.yaml", "up", "-d", *(services or services_of(None)),
            SUBNET=f"{NETWORK}.0/24", SIGNALBOX_PORT=str(self.port), PROMETHEUS_PORT=str(self.prometheus.port), **env)

    def wait_for(self, workers):
        """Until the load balancer sends clients to all of them."""
        wait_until(lambda: self.spread(workers) == workers, 30, f"{workers} workers with a client each")

    def spread(self, clients):
        """On how many workers so many new clients are."""
        peers, fails = [], (OSError, websocket.WebSocketException, AssertionError)
        with contextlib.ExitStack() as stack, contextlib.suppress(*fails):
            for _ in range(clients):
                client = Client(self)
                stack.callback(client.drop)
                peers.append(uid())
                assert client.request("register", peerId=peers[-1])["type"] == "registered"
            return len(set(map(self.wid_of, peers)))
        return 0  # not all of them are served

    def workers(self):
        return podman("ps", "--format", "{{.Names}}", "--filter", f"name={PROJECT}_worker").stdout.split()

    def log(self, container):
        return [json.loads(line) for line in podman("logs", container).stderr.splitlines() if line.startswith("{")]

    def wid_of(self, peer):
        """The worker that holds the socket of this peer, as Redis knows it."""
        key = f"sb:{{peer:{peer}}}"
        return podman("exec", f"{PROJECT}_redis_1", "redis-cli", "hget", key, "addr").stdout.split(".")[0]

    def container_of(self, wid):
        return next(name for name in self.workers() if any(line.get("worker") == wid for line in self.log(name)))

    def query(self, expression):
        """Prometheus' answer: values by instance."""
        answer = get(self.prometheus, f"/api/v1/query?query={urllib.parse.quote(expression)}")
        return {one["metric"]["instance"]: float(one["value"][1]) for one in answer["data"]["result"]}


@pytest.fixture(scope="module")
def compose(image):
    for service in DESCRIPTION["services"].values():
        if service["image"] != image:
            try:
                ensure(service["image"])
            except AssertionError as e:
                pytest.skip(f"{service['image']} can neither be pulled nor made here: {str(e)[-500:]}")
    compose = Compose()
    compose.up()
    compose.wait_for(3)
    return compose


@pytest.fixture
def connect(compose):
    clients = []

    def connect():
        """A registered peer."""
        client = Client(compose)
        clients.append(client)
        client.peer = uid()
        assert client.request("register", peerId=client.peer)["type"] == "registered"
        return client

    yield connect
    for client in clients:
        client.drop()


def pair_apart(compose, connect):
    """Two peers on different workers: who comes second is sent to one with fewer connections."""
    a, b = connect(), connect()
    assert compose.wid_of(a.peer) != compose.wid_of(b.peer)
    return a, b


def meet(a, b):
    """Two peers at one token: each is told of the other."""
    token = uid("token")
    assert a.request("register_rendezvous", peerId=a.peer, hourlyTokens=[token])["liveMatches"] == []
    assert b.request("register_rendezvous", peerId=b.peer, hourlyTokens=[token])["liveMatches"][0]["peerId"] == a.peer
    assert a.expect("rendezvous_match")["match"]["peerId"] == b.peer


def test_a_worker_has_the_time_that_it_takes_to_drain():
    worker = DESCRIPTION["services"]["worker"]
    drain = next(line.split("=")[1] for line in worker["environment"] if line.startswith("DRAIN_SECONDS="))
    assert worker["stop_grace_period"] == f"{int(drain) + 10}s"


def test_no_secret_is_in_the_file():
    names = [line for line in DESCRIPTION["services"]["worker"]["environment"] if "SECRET" in line or "KEY" in line]
    assert len(names) > 4 and not [name for name in names if "=" in name]


def test_the_profile_sentinel_is_three_servers_and_three_sentinels_by_their_names():
    names = [f"{kind}-{n}" for kind in ("redis", "sentinel") for n in (1, 2, 3)]
    assert services_of("sentinel") == names and set(names) <= set(DESCRIPTION["volumes"])
    for name in names:
        service, role = DESCRIPTION["services"][name], "server" if name.startswith("redis") else "sentinel"
        assert service["command"][:5] == ["sh", "/redis-ha.sh", role, name, "redis-1"]
        assert service["volumes"][0] == f"{name}:/data"  # without which they would forget each other
        for mount in service["volumes"][1:]:
            assert (ROOT / mount.split(":")[0]).is_file(), mount


def test_its_redis_is_fit_for_it(compose):
    def check():
        """None while the network's name server, which has just been told of new containers, does not know Redis."""
        done = podman("exec", compose.workers()[0], "signalbox-worker", "--check-redis", check=False)
        return None if "cannot be reached" in done.stderr else done

    done = wait_until(check, 30, "the name of Redis")
    assert done.stdout.splitlines()[-1] == "all is well", done.stdout


def test_clients_on_different_workers_find_each_other(compose, connect):
    meet(*pair_apart(compose, connect))


def test_the_address_of_a_client_is_the_one_that_the_load_balancer_saw(compose):
    status, _, _ = http_request(compose, "GET", "/worker-sync", headers={**UPGRADE, "X-Forwarded-For": "192.0.2.1"})
    assert status == 503  # it has no WORKER_SHARED_KEY
    refused = [line for name in compose.workers() for line in compose.log(name) if line["event"] == "handshake_refused"]
    assert {line["ip"] for line in refused} == {GATEWAY}


@pytest.mark.parametrize("path", ["/metrics", "/metrics?x", "/%6detrics", "//metrics", "/%2fmetrics", "/./metrics", "/metrics;x",
                                  "/metrics&x", "/api/../metrics", "/api/%2e%2e/metrics", "/api%2f..%2fmetrics", "/metrics/x/.."])
def test_metrics_are_not_shown_outside(compose, path):
    """A worker takes some of these for /metrics, and others might."""
    status, _, answer = http_request(compose, "GET", path)
    assert status == 404 and "signalbox_" not in str(answer)


def test_clients_of_a_killed_worker_are_served_by_the_others(compose, connect):
    a, b = pair_apart(compose, connect)
    os.kill(inspect(compose.container_of(compose.wid_of(a.peer)))["State"]["Pid"], signal.SIGKILL)
    a.expect_close()
    again = connect()
    meet(again, b)
    b.request("ping")


def test_the_killed_worker_comes_back(compose):
    wait_until(lambda: len(compose.workers()) == 3, 30, "its restart")
    compose.wait_for(3)


def test_nobody_is_turned_away_while_a_worker_drains(compose, connect):
    a, _ = pair_apart(compose, connect)
    drained = compose.container_of(compose.wid_of(a.peer))
    pid = inspect(drained)["State"]["Pid"]

    def logged(event):
        return any(line["event"] == event for line in compose.log(drained))

    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: logged("drain"), 10, "its drain")
    for _ in range(100):
        Client(compose).drop()
    assert not logged("drained")
    os.kill(pid, signal.SIGTERM)  # at once
    wait_until(lambda: inspect(drained)["State"]["Pid"] not in (0, pid), 30, "its restart")
    compose.wait_for(3)


def test_five_workers_are_as_easy_as_three(compose, connect):
    compose.up(WORKERS="5")
    compose.wait_for(5)
    meet(*pair_apart(compose, connect))


def test_prometheus_finds_all_five(compose):
    wait_until(lambda: sorted(compose.query("up{job='signalbox'}").values()) == [1] * 5, 30, "five that are up")
    wait_until(lambda: set(compose.query("signalbox_workers").values()) == {5}, 30, "five that know of five")


def redis_cli(service, *args):
    return podman("exec", f"{PROJECT}_{service}_1", "redis-cli", *args, check=False).stdout.strip()


def named_master():
    """The server that all Sentinels which run name as the master; None: they do not agree."""
    running = podman("ps", "--format", "{{.Names}}").stdout
    named = {redis_cli(f"sentinel-{n}", "-p", "26379", "sentinel", "get-master-addr-by-name", "signalbox").split("\n")[0]
             for n in (1, 2, 3) if f"{PROJECT}_sentinel-{n}_1" in running}
    return named.pop() if len(named) == 1 else None


def whole():
    """The master, once the two others follow it."""
    master = named_master()
    return master if master and redis_cli(master, "info", "replication").count("state=online") == 2 else None


def test_servers_of_the_profile_sentinel_are_found_by_name_though_their_addresses_change(compose):
    compose.up(*services_of("sentinel"))
    assert wait_until(whole, 60, "the three servers") == "redis-1"
    assert redis_cli("redis-1", "set", "kept", "1") == "OK"
    podman("rm", "--force", "--time", "0", f"{PROJECT}_redis-1_1")
    wait_until(lambda: named_master() not in ("redis-1", None), 60, "another master")
    podman("rm", "--force", "--time", "0", f"{PROJECT}_sentinel-1_1")  # it starts while a name leads nowhere
    compose.up("sentinel-1")

    podman("run", "-d", "--name", "taker", "--network", f"{PROJECT}_default", DESCRIPTION["services"]["redis"]["image"],
           "redis-server")  # it has an address now that one of them had
    compose.up("redis-1")
    wait_until(whole, 60, "redis-1 among the others")
    assert [redis_cli(f"redis-{n}", "get", "kept") for n in (1, 2, 3)] == ["1"] * 3
    for n in (1, 2, 3):
        state = redis_cli(f"sentinel-{n}", "-p", "26379", "sentinel", "master", "signalbox").split("\n")
        state = dict(zip(state[::2], state[1::2]))
        assert (state["flags"], state["num-slaves"], state["num-other-sentinels"]) == ("master", "2", "2")
