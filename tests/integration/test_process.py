# SPDX-License-Identifier: MIT
"""The program itself: its options, its log, its Redis (private, protected, restarted), its processes."""
import json
import subprocess
import tempfile

import psutil
import pytest

from harness import SLOW, UPGRADE, WORKER, Worker, free_port, get, http_request, ready, uid, wait_until

KEEP = {"DEAD_DROPS_ON_DISCONNECT": "keep"}


@pytest.fixture
def state_dir():
    with tempfile.TemporaryDirectory(prefix="signalbox-state-", ignore_cleanup_errors=True) as path:
        yield path


@pytest.fixture
def launch(closing, state_dir):
    """Starts a worker without REDIS_URL."""
    def launch(*args, **env):
        worker = Worker(None, "--state-dir", state_dir, *args, **env)
        closing.callback(worker.stop)
        return worker

    return launch


def run(*args, **env):
    return subprocess.run([str(WORKER), *args], capture_output=True, text=True, timeout=20 * SLOW,
                          env={"PATH": "/usr/bin:/bin", **env})


def private_redis(state_dir):
    """The redis-server processes that run in a state directory."""
    return [p for p in psutil.process_iter(["name", "cwd", "cmdline"]) if "redis-server" in p.info["name"]
            and ((p.info["cwd"] or "").startswith(state_dir) or state_dir in " ".join(p.info["cmdline"] or ()))]


def plain(name):
    return name.lower().replace("_", "-")


def alive(process):
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def register(client, peer):
    answer = client.request("register", peerId=peer)
    assert answer["type"] == "registered", answer


@pytest.mark.parametrize("flag, words", [
    ("--help", ("--port", "--takeover-probe-ms", "REDIS_URL", "DEAD_DROPS_ON_DISCONNECT", "8080")),
    ("--version", ("signalbox",))])
def test_help_and_version_are_printed(flag, words):
    done = run(flag)
    assert done.returncode == 0 and not done.stderr
    assert not [word for word in words if word not in done.stdout]


@pytest.mark.parametrize("args, env, named", [
    (["--no-such-flag"], {}, "--no-such-flag"), (["--port=x"], {}, "port"), (["--port", "70000"], {}, "port"),
    (["--port"], {}, "port"), (["--message-rate=-1"], {}, "message-rate"), (["stray"], {}, "stray"),
    ([], {"PORT": "80a"}, "PORT"), ([], {"LOG_LEVEL": "loud"}, "LOG_LEVEL"), ([], {"LOG_FORMAT": "x"}, "LOG_FORMAT"),
    ([], {"DEAD_DROPS_ON_DISCONNECT": "maybe"}, "DEAD_DROPS_ON_DISCONNECT"),
    ([], {"DAILY_TTL_MS": "0"}, "DAILY_TTL_MS"), ([], {"REDIS_URL": "http://localhost"}, "REDIS_URL"),
    ([], {"PROCESSES": "many"}, "PROCESSES"),
    ([], {"TRUSTED_PROXIES": "10.0.0.0/8,10.0.0.0/99"}, "TRUSTED_PROXIES"),
    (["--environment=production"], {}, "SERVER_REGISTRATION"),
    (["--environment=production"], {"PROTOCOLS": "rooms, registry"}, "SERVER_REGISTRATION")])
def test_a_bad_option_stops_the_start_with_one_sentence(args, env, named):
    done = run(*args, **env)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and plain(named) in plain(lines[0]), lines


def test_the_log_is_json_lines_without_secrets(start, connect):
    fleet = start(ENVIRONMENT="production", SERVER_REGISTRATION="open")
    a, b = (connect(worker) for worker in fleet.workers)
    secrets = {"deadDrop": "SECRET-drop", "dailyPoints": ["SECRET-point"], "hourlyTokens": ["SECRET-token"]}
    a.request("register", peerId=uid(), publicKey="SECRET-key")
    for client in (a, b):
        client.request("register_rendezvous", peerId=uid(), **secrets)
        client.raw(b'{"type":"SECRET", "payload":"SECRET-payload')
        client.close()
    for worker in fleet.workers:
        worker.stop()
        assert worker.lines and worker.events("listening")
        for line in map(json.loads, worker.lines):
            assert {"ts", "level", "worker", "event"} <= line.keys() and "SECRET" not in json.dumps(line), line
            assert line["level"] in ("debug", "info", "warning", "error") and len(line["worker"]) == 8


def test_a_log_for_people_is_not_json(start):
    fleet = start(1, LOG_LEVEL="info")
    text = Worker(fleet.redis.urls()[0], wait=False, LOG_FORMAT="text")
    try:
        wait_until(lambda: any("listening" in line for line in text.lines), 10, "listening")
    finally:
        text.stop()
    assert not any(line.startswith("{") for line in text.lines)
    assert {line["level"] for line in fleet.workers[0].log()} <= {"info", "warning", "error"}


def test_workers_with_one_state_directory_share_a_private_redis_that_ends_with_them(launch, connect, state_dir):
    first, second = launch(**KEEP), launch(**KEEP)
    servers = private_redis(state_dir)
    assert len(servers) == 1
    a, b, peer = connect(first), connect(second), uid()
    register(a, peer)
    assert peer in b.relays()
    a.request("register_rendezvous", peerId=peer, dailyPoints=["p"], deadDrop="for later")
    a.close()
    second.stop()
    first.stop()
    wait_until(lambda: not any(map(alive, servers)), 5, "the end of the private Redis")

    first, second = launch(**KEEP), launch(**KEEP)
    answer = connect(second).request("register_rendezvous", peerId=uid(), dailyPoints=["p"])
    assert [entry["deadDrop"] for entry in answer["deadDrops"]] == ["for later"], "drops survive a restart of both"


def test_a_private_redis_dies_with_a_killed_worker_and_its_state_is_taken_up_again(launch, connect, state_dir):
    worker = launch(**KEEP)
    servers = private_redis(state_dir)
    assert len(servers) == 1
    connect(worker).request("register_rendezvous", peerId=uid(), dailyPoints=["p"], deadDrop="for later")
    worker.kill9()
    wait_until(lambda: not any(map(alive, servers)), 5, "the end of the private Redis")
    answer = connect(launch(**KEEP)).request("register_rendezvous", peerId=uid(), dailyPoints=["p"])
    assert [entry["deadDrop"] for entry in answer["deadDrops"]] == ["for later"]


def test_without_redis_server_a_private_redis_is_a_clear_error(state_dir):
    done = run("--state-dir", state_dir, PATH="/nonexistent", PORT="0")
    assert done.returncode > 0 and "redis-server" in done.stderr


def test_without_redis_server_it_is_not_the_state_directory_that_is_complained_of():
    done = run("--state-dir", "/proc/no/state", PATH="/nonexistent", PORT="0")
    assert done.returncode > 0 and "REDIS_URL" in done.stderr


def test_a_password_and_a_database_are_taken_from_the_url(start, connect, closing):
    fleet = start(0, ("--requirepass", "p:w@1/%"))
    workers = []
    for user in ("", "default"):
        workers.append(Worker(f"redis://{user}:p%3Aw%401%2F%25@127.0.0.1:{fleet.redis.port}/3"))
        closing.callback(workers[-1].stop)
    a, b = map(connect, workers)
    peer = uid()
    a.request("register_rendezvous", peerId=peer, hourlyTokens=["t"])
    answer = b.request("register_rendezvous", peerId=uid(), hourlyTokens=["t"])
    assert answer["liveMatches"] == [{"peerId": peer, "relayId": None}]
    a.expect("rendezvous_match")
    assert not fleet.redis.keys() and set(fleet.redis.client.info("keyspace")) == {"db3"}


def test_a_wrong_password_never_turns_ready(start):
    fleet = start(0, ("--requirepass", "right"))
    worker = Worker(f"redis://:wrong@127.0.0.1:{fleet.redis.port}/0", wait=False)
    try:
        wait_until(lambda: worker.events("listening") or worker.process.poll() is not None, 10, "listening, or the end")
        if worker.process.poll() is None:
            worker.port = worker.events("listening")[0]["port"]
            assert http_request(worker, "GET", "/ready")[0] == 503
    finally:
        worker.kill9()
    assert "wrong" not in "".join(worker.lines)


def test_workers_come_back_when_redis_does(start, connect):
    fleet = start()
    clients = [connect(worker) for worker in fleet.workers]
    for _ in range(2):
        fleet.redis.stop()
        for worker in fleet.workers:
            wait_until(lambda w=worker: not ready(w), 5, "/ready 503")
        fleet.redis.start()
        for worker in fleet.workers:
            wait_until(lambda w=worker: ready(w), 8, "/ready 200")
        peers = [uid(), uid()]
        for client, peer in zip(clients, peers):
            register(client, peer)
        a, b = clients
        assert peers[0] in b.relays() and peers[1] in a.relays()
        assert all(client.request("ping") == {"type": "pong"} for client in clients)


def test_lost_connections_to_redis_are_made_anew(start, connect):
    fleet = start()

    def connections(kind):
        return {client["id"] for client in fleet.redis.client.client_list(_type=kind)}

    a, b = (connect(worker) for worker in fleet.workers)
    for kind in ("pubsub", "normal"):
        before = connections(kind)
        fleet.redis.client.client_kill_filter(_type=kind, skipme=True)
        wait_until(lambda: len(connections(kind) - before) >= 2, 8, "new connections")
        wait_until(lambda: all(map(ready, fleet.workers)), 8, "/ready 200")
        first, token = uid(), uid("token")
        wait_until(lambda: a.request("register_rendezvous", peerId=first, hourlyTokens=[token])["type"]
                   == "rendezvous_result", 5, "a registration")
        wait_until(lambda: b.request("get_relays")["type"] == "relays", 5, "Redis for the other worker")
        b.request("register_rendezvous", peerId=uid(), hourlyTokens=[token])
        a.expect("rendezvous_match")


def test_two_processes_share_a_port_and_a_killed_one_is_replaced(start, closing):
    fleet, port = start(0), free_port()
    supervisor = Worker(fleet.redis.urls()[0], "--processes", "2", PORT=port, IP_CONNECT_RATE=0)
    closing.callback(supervisor.stop)
    wait_until(lambda: len(supervisor.events("listening")) == 2, 10, "both processes")
    children = psutil.Process(supervisor.pid).children()
    assert len(children) == 2 and {e["port"] for e in supervisor.events("listening")} == {port}
    wait_until(lambda: get(supervisor, "/stats").get("workers") == 2, 6, "both in the statistics")
    before = {e["worker"] for e in supervisor.events("listening")}

    children[0].kill()
    wait_until(lambda: len({e["worker"] for e in supervisor.events("listening")}) == 3, 10, "a new process")
    now = psutil.Process(supervisor.pid).children()
    assert len([child for child in now if alive(child)]) == 2 and children[1] in now
    assert len({e["worker"] for e in supervisor.events("listening")} - before) == 1
    wait_until(lambda: all(http_request(supervisor, "GET", "/relay", headers=UPGRADE)[0] == 101 for _ in range(20)), 10)
    supervisor.stop()
    assert not any(map(alive, now))
