# SPDX-License-Identifier: MIT
"""What docs/operations.md shows, tried on real workers and a real Redis."""
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time

import pytest
import redis as redis_client

from gotools import ROOT, debian_program

sys.path.insert(0, str(ROOT / "tests" / "integration"))
sys.path.insert(0, str(ROOT / "bench"))

from clients import Client  # noqa: E402
from harness import SLOW, Fleet, Redis, free_port, get, http_request, ready, wait_until  # noqa: E402
from redis_memory import KINDS  # noqa: E402
from registry_client import Key  # noqa: E402

TEXT = (ROOT / "docs" / "operations.md").read_text()
WID = re.compile(r"\b[0-9a-f]{8}\b")


def block(holding):
    """The fenced block that holds the text."""
    return next(text for text in re.findall(r"^```\w*\n(.*?)^```$", TEXT, re.S | re.M) if holding in text)


def session():
    """[(command, answer)] of the console."""
    parts = re.split(r"\n+(?=# [A-Z].*\?)|\n\n", block("$ redis-cli info"))
    commands = [re.search(r"^\$ (.*)\n([^$]*)\Z", part + "\n", re.M) for part in parts]
    return [(match[1], match[2].rstrip("\n")) for match in commands if match]


@pytest.fixture
def shell(tmp_path):
    """Runs a command of the document, with redis-cli talking to that Redis."""
    def run(redis, command, folder=tmp_path):
        program = tmp_path / "bin" / "redis-cli"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec {shutil.which("redis-cli")} -s {redis.socket} "$@"\n')
        program.chmod(0o755)
        env = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "LC_ALL": "C"}
        done = subprocess.run(["bash", "-c", command], env=env, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=60 * SLOW)
        return done.stdout.rstrip("\n")

    return run


def pattern(answer):
    """Its shape: ids of workers and numbers stand for any other; lines may come in another order."""
    text = WID.sub("WID", answer)
    text = re.sub(r"(?<=[=:])\d[\d.]*", "N", text)
    return sorted(re.sub(r"^\d+$|(?<=:)[\d.]+[BKMG]$", "N", line).strip() for line in text.splitlines())


def test_the_console_answers_as_the_document_says(shell):
    exact = {"uniq -c", "aof_", "omem"}
    with Fleet(2, NODE_ID="node-1", DEAD_DROPS_ON_DISCONNECT="keep", redis_options=("--appendonly", "yes")) as fleet:
        clients = []
        for worker, peer in zip(fleet.workers, ("alice", "bob")):
            clients.append(Client(worker))
            clients[-1].request("register", peerId=peer)
            clients[-1].request("register_rendezvous", peerId=peer, dailyPoints=["our-day"], hourlyTokens=["our-hour"],
                                deadDrop="call me")
        wait_until(lambda: all(fleet.redis.client.hget(f"sb:worker:{worker.wid}", "connections") == "1"
                               for worker in fleet.workers), 10, "the count of connections")
        asked = session()
        for command, answer in asked:
            got = shell(fleet.redis, command)
            assert pattern(got) == pattern(answer), f"{command}\n{got}"
            if any(word in command for word in exact):
                assert sorted(WID.sub("WID", got).splitlines()) == sorted(WID.sub("WID", answer).splitlines()), command
        for client in clients:
            client.drop()
    assert len(asked) == TEXT.count("\n$ ") >= 12


def device(key, worker, name):
    payload = json.dumps({"version": "1.0.0", "platform": "linux", "build_hash": "h", "timestamp": int(time.time() * 1000)})
    token = {"payload": payload, "signature": key.sign(payload)}
    return http_request(worker, "POST", "/attest/register", json.dumps({"build_token": token, "device_id": name}))


def test_a_backup_comes_back_as_the_document_says(shell, tmp_path):
    """On workers that go on: what nobody gives back is there again, and open sockets keep their ids."""
    (save,) = block("--rdb backup.rdb").splitlines()
    second, copy, info, end = block("replicaof no one").splitlines()
    key, bearer = Key(), {"Authorization": "Bearer secret"}
    with Fleet(2, DEAD_DROPS_ON_DISCONNECT="keep", ATTESTATION_SIGNING_KEY=key.seed, CI_UPLOAD_SECRET="secret",
               redis_options=("--appendonly", "yes")) as fleet:
        one, other = fleet.workers
        away, alice = Client(one), Client(other)
        away.request("register_rendezvous", peerId="away", dailyPoints=["our-day"], deadDrop="call me")
        away.close()
        alice.request("register", peerId="alice")
        assert device(key, one, "d1")[0] == 200
        assert http_request(one, "POST", "/attest/versions", '{"minimum_version":"0.9.0"}', bearer)[0] == 200

        shell(fleet.redis, save.replace(" -h redis.example", ""))
        assert (tmp_path / "backup.rdb").stat().st_size > 500
        fleet.redis.client.flushall()
        assert get(one, "/attest/versions")["minimum_version"] == "1.0.0"

        port = free_port()
        command = second.replace("--port 6390", f"--port {port}").replace("0.0.0.0", "127.0.0.1")
        source = subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=tmp_path, stdout=subprocess.DEVNULL)
        try:
            wait_until(lambda: subprocess.run(["redis-cli", "-p", str(port), "ping"], capture_output=True).stdout == b"PONG\n",
                       10, "the second Redis")
            here = copy.replace(" -h redis.example", "").replace("this-machine.example 6390", f"127.0.0.1 {port}")
            assert shell(fleet.redis, here) == "OK"
            wait_until(lambda: "master_link_status:up" in shell(fleet.redis, info.partition("#")[0].replace(" -h redis.example", "")),
                       30, "the copy")
            assert shell(fleet.redis, end.replace(" -h redis.example", "")) == "OK"
        finally:
            source.kill()
            source.wait(10)
        wait_until(lambda: all(map(ready, fleet.workers)), 20, "/ready")

        assert get(other, "/attest/versions")["minimum_version"] == "0.9.0"
        assert http_request(one, "POST", "/attest/challenge", '{"device_id":"d1","build_version":"1.0.0"}')[2] == \
            {"error": "No reference binary found for this version and platform"}  # not: Device not registered
        bob = Client(one)
        found = wait_until(lambda: bob.request("register_rendezvous", peerId="bob", dailyPoints=["our-day"])["deadDrops"], 10,
                           "the drop")
        assert [(drop["peerId"], drop["deadDrop"]) for drop in found] == [("away", "call me")]
        wait_until(lambda: bob.relays() == ["alice"], 20, "alice among the relays")
        for client in alice, bob:
            client.drop()


def test_a_redis_with_an_append_only_file_does_not_look_at_a_snapshot(tmp_path):
    with contextlib.closing(Redis()) as redis:
        redis.client.set("sb:policy", "{}")
        redis.client.save()
        snapshot = tmp_path / "dump.rdb"
        shutil.copy(f"{redis.dir}/dump.rdb", snapshot)
    with contextlib.closing(Redis("--dir", str(tmp_path), "--appendonly", "yes")) as redis:
        assert redis.keys() == []


@contextlib.contextmanager
def proxied(folder, *servers):
    """The HAProxy of the document before these servers, and the port that it answers on."""
    port, text = free_port(), block("backend master")
    for n, server in enumerate(servers, 1):
        text = text.replace(f"redis-{n}.example:6379", f"127.0.0.1:{server.port}")
    text = re.sub(r"^ +server .*example.*\n", "", text, flags=re.M).replace("bind :6379", f"bind 127.0.0.1:{port}")
    (folder / "haproxy.cfg").write_text(text)
    program = debian_program("haproxy/haproxy")
    done = subprocess.run([program, "-c", "-f", "haproxy.cfg"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    process = subprocess.Popen([program, "-db", "-f", "haproxy.cfg"], cwd=folder, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.kill()
        process.wait(10)


def test_the_haproxy_of_the_document_leads_to_the_master_alone_and_leaves_nobody_on_another(tmp_path):
    with contextlib.ExitStack() as stack:
        a, b = servers = [stack.enter_context(contextlib.closing(Redis("--repl-diskless-sync-delay", "0")))
                          for _ in range(2)]
        for server in servers:
            server.client.execute_command("ACL", "SETUSER", *re.search("`user (haproxy .*?)`", TEXT)[1].split())
        b.client.replicaof("127.0.0.1", a.port)
        port = stack.enter_context(proxied(tmp_path, *servers))

        def led_to():
            """The port of the server that is reached through it."""
            with contextlib.suppress(redis_client.RedisError), redis_client.Redis(port=port, decode_responses=True) as client:
                return int(client.config_get("port")["port"])

        wait_until(lambda: led_to() == a.port, 20, "the master")
        with redis_client.Redis(port=port, single_connection_client=True) as open_one:
            assert open_one.ping()
            b.client.replicaof("NO", "ONE")
            a.client.replicaof("127.0.0.1", b.port)
            wait_until(lambda: led_to() == b.port, 20, "the new master")
            with pytest.raises(redis_client.ConnectionError):
                wait_until(lambda: not open_one.connection.send_command("PING") and not open_one.connection.read_response(), 10)
        a.client.replicaof("NO", "ONE")  # as one that was started again, and that nobody copies
        wait_until(lambda: led_to() is None, 20, "two masters, of which none is copied")


def test_a_master_that_nobody_copies_refuses_to_write_where_the_document_says_so():
    with contextlib.closing(Redis("--min-replicas-to-write", "1")) as alone:
        with pytest.raises(redis_client.ResponseError, match="NOREPLICAS"):
            alone.client.set("a", "b")


def test_every_metric_and_option_the_document_names_is_there():
    with Fleet(1) as fleet:
        exported = set(re.findall(r"^# TYPE (\S+)", get(fleet.workers[0], "/metrics").decode(), re.M))
    named = set(re.findall(r"`((?:signalbox|process)_[a-z_]+)`", TEXT))
    assert len(named) >= 8 and named <= exported, named - exported
    readme = (ROOT / "README.md").read_text()
    options = set(re.findall(r"^\| `([A-Z_0-9]+)` \| ", readme, re.M))
    named = set(re.findall(r"`([A-Z]+_[A-Z_]+)[`=]", TEXT))
    assert len(named) >= 10 and named <= options, named - options


def test_every_event_the_document_names_is_logged():
    source = "".join(path.read_text() for path in (ROOT / "worker").rglob("*.c"))
    for event in ("redis_unreachable", "handshake_refused", "limit_hit"):
        assert f"`{event}`" in TEXT and f'("{event}"' in source


def test_every_kind_that_the_bench_measures_is_in_the_table():
    rows = re.findall(r"^\| (.*?) \| [\d,]+ \| [\d.]+ \| ", TEXT, re.M)
    assert [row.removesuffix(" that registered nothing").removesuffix(" of `/servers`") for row in rows] == \
        [kind.removesuffix(" alone") for kind in KINDS]


def test_links_lead_somewhere():
    headings = re.findall(r"^#+ (.*)$", (ROOT / "README.md").read_text(), re.M)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = re.findall(r"\]\(\.\./README\.md#([^)]*)\)", TEXT)
    assert links and set(links) <= anchors
