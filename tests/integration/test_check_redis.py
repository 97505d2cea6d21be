# SPDX-License-Identifier: MIT
"""--check-redis: what it finds in a Redis, that its commands mend it, and its exit code."""
import os
import re
import socket
import subprocess
import time

import pytest

from harness import SLOW, UNAVAILABLE, WORKER, Redis, Worker, free_port, ready, wait_until
from proxy import Proxy
from test_readme import block

GOOD = ("--appendonly", "yes", "--client-output-buffer-limit", "pubsub 256mb 64mb 60")
CHECKS = ["version", "mode", "writes", "sentinels", "replicas", "eviction", "memory", "persistence", "fsync", "disk",
          "output buffers", "timeout", "keepalive", "clients", "layout", "latency", "clock", "rights"]


@pytest.fixture
def redis(closing):
    """Starts one that has nothing bad about it but what the options say."""
    def redis(*options):
        server = Redis(*GOOD, *options)
        closing.callback(server.close)
        return server

    return redis


@pytest.fixture(scope="module")
def good():
    server = Redis(*GOOD)
    yield server
    server.close()


def run(url, *args, **env):
    env = {"PATH": os.environ["PATH"], **({"REDIS_URL": url} if url else {}), **env}
    return subprocess.run([str(WORKER), "--check-redis", *args], capture_output=True, text=True, timeout=30 * SLOW,
                          env={**env, **{k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}})


def findings(done):
    """{name: (level, text)} of what was printed, and the line at the end."""
    *lines, summary = done.stdout.splitlines()
    parts = [re.fullmatch(r"(ok|warn|bad) +([a-z ]+): (.+)", line).groups() for line in lines]
    assert [name for _, name, _ in parts] == CHECKS and not done.stderr
    found = {name: (level, text) for level, name, text in parts}
    bad, warned = (sum(level == which for level, _, _ in parts) for which in ("bad", "warn"))
    assert done.returncode == (1 if bad else 0)
    warnings = f"{warned} warning{'' if warned == 1 else 's'}"
    assert summary.startswith(f"{bad} of {len(CHECKS)} would lose data or refuse clients, {warnings}" if bad else
                              f"nothing would lose data, {warnings}" if warned else "all is well")
    for level, text in found.values():
        assert (level == "ok") == ("; mend" not in text), text
    return found


def look(url, *args, **env):
    return findings(run(url, *args, **env))


def levels(found):
    """Of what is not well, by name."""
    return {name: level for name, (level, _) in found.items() if level != "ok"}


def mend(text):
    """Runs the command of a finding, as it stands there."""
    command = re.search(r"; mend with: (redis-cli .*)$", text)[1]
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=10 * SLOW)
    assert done.returncode == 0 and "ERR" not in done.stdout, done.stdout + done.stderr
    return command


def test_a_good_redis_is_well_and_nothing_stays_in_it(good):
    for url in good.urls():
        found = look(url)
        info = good.client.info()
        said = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"
        assert not levels(found) and found["version"][1] == said
    assert good.keys() == []


@pytest.mark.parametrize("options, name, level, words", [
    ("--maxmemory 200mb --maxmemory-policy allkeys-lru", "eviction", "bad", "config set maxmemory-policy noeviction"),
    ("--maxmemory 200mb --maxmemory-policy volatile-ttl", "eviction", "bad", "config set maxmemory-policy noeviction"),
    ("--maxmemory-policy allkeys-random", "eviction", "warn", "config set maxmemory-policy noeviction"),
    ("--appendonly no", "persistence", "bad", "config set appendonly yes"),
    ("--appendonly no --save 60 1000", "persistence", "warn", "config set appendonly yes"),
    ("--appendfsync always", "fsync", "warn", "config set appendfsync everysec"),
    ("--appendfsync no", "fsync", "warn", "config set appendfsync everysec"),
    ("--timeout 100", "timeout", "warn", "config set timeout 0"),
    ("--tcp-keepalive 0", "keepalive", "warn", "config set tcp-keepalive 300"),
    ("--client-output-buffer-limit pubsub 32mb 8mb 60", "output buffers", "warn",
     "config set client-output-buffer-limit 'pubsub 256mb 64mb 60'"),
    ("--client-output-buffer-limit pubsub 512mb 8mb 60", "output buffers", "warn", "'pubsub 256mb 64mb 60'")])
def test_what_would_hurt_is_told_and_its_command_mends_it(redis, options, name, level, words):
    server = redis(*options.split())
    for url in server.urls():
        found = look(url)
        assert levels(found) == {name: level} and found[name][1].endswith(words)
    mend(found[name][1])
    assert not levels(look(server.urls()[0]))


@pytest.mark.parametrize("options", ["pubsub 0 0 0", "pubsub 1gb 0 0", "pubsub 0 64mb 1"])
def test_subscribers_may_have_no_limit(redis, options):
    assert not levels(look(redis("--client-output-buffer-limit", options).urls()[0]))


@pytest.mark.parametrize("share, level", [(0.9, "warn"), (1.5, "bad")])
def test_a_redis_that_is_nearly_full_gets_more_memory(redis, share, level):
    server = redis()
    server.client.setrange("filler", 20_000_000, "x")  # a SET would count twice for as long as Redis keeps its command
    server.client.config_set("maxmemory", int(server.client.info("memory")["used_memory"] / share))
    found = look(server.urls()[0])
    assert levels(found) == {"memory": level, **({"writes": "bad"} if level == "bad" else {})}
    mend(found["memory"][1])
    assert not levels(look(server.urls()[0]))


def test_a_redis_with_few_connections_left_gets_more(redis):
    server = redis()
    server.client.config_set("maxclients", 2)
    found = look(server.urls()[0])
    assert levels(found) == {"clients": "warn"}
    mend(found["clients"][1])
    server.client.config_set("maxclients", 100)
    assert not levels(look(server.urls()[0]))


def test_a_disk_that_took_nothing_is_bad_until_it_does(redis):
    server = redis("--dbfilename", "taken")
    os.mkdir(f"{server.dir}/taken")
    server.client.set("x", "y")
    server.client.bgsave()

    def status():
        info = server.client.info("persistence")
        return not info["rdb_bgsave_in_progress"] and info["rdb_last_bgsave_status"]

    wait_until(lambda: status() == "err", 5, "a failure")
    found = look(server.urls()[0])
    assert levels(found) == {"disk": "bad"}
    os.rmdir(f"{server.dir}/taken")
    mend(found["disk"][1])
    wait_until(lambda: status() == "ok", 5, "a snapshot")
    assert not levels(look(server.urls()[0]))


def test_a_replica_is_bad_and_its_master_is_named(redis):
    master = redis()
    replica = redis("--replicaof", "127.0.0.1", str(master.port))
    found = look(replica.urls()[1])
    assert levels(found) == {"writes": "bad"}
    assert found["writes"][1].endswith(f"point REDIS_URL at its master, 127.0.0.1:{master.port}")


def test_a_cluster_is_bad(redis):
    found = look(redis("--cluster-enabled", "yes", "--cluster-port", str(free_port())).urls()[1])
    assert levels(found)["mode"] == "bad"
    assert levels(found)["layout"] == "warn" and "CLUSTERDOWN" in found["layout"][1]


def test_a_key_on_another_node_is_no_layout(redis, closing):
    server = redis()
    elsewhere = Changed(server.port, rb"\$-1\r\n", b"-MOVED 1 127.0.0.1:1\r\n")
    closing.callback(elsewhere.close)
    found = look(elsewhere.url)
    assert found["layout"][0] == "warn" and "MOVED" in found["layout"][1]


class Changed(Proxy):
    """Changes what Redis answers."""

    def __init__(self, port, pattern, change):
        self.change = re.compile(pattern), change
        super().__init__(port)

    def _pump(self, source, sink, own, commands):
        try:
            while data := source.recv(1 << 18):
                sink.sendall(data if commands else self.change[0].sub(self.change[1], data))
        except OSError:
            pass
        finally:
            sink.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("version, level", [("4.0", "bad"), ("6.0", "warn"), ("6.2", "ok"), ("8.0", "ok")])
def test_an_old_redis_is_told_apart(good, closing, version, level):
    if "valkey_version" in good.client.info():
        pytest.skip("no Valkey is that old")
    proxy = Changed(good.port, rb"redis_version:\d\.\d", f"redis_version:{version}".encode())
    closing.callback(proxy.close)
    assert look(proxy.url)["version"][0] == level


@pytest.mark.parametrize("seconds, level, which", [(-60, "warn", "60.0 s behind"), (60, "warn", "60.0 s ahead"),
                                                   (0, "ok", "")])
def test_a_clock_that_is_wrong_is_told(good, closing, seconds, level, which):
    proxy = Changed(good.port, rb"\*2\r\n\$10\r\n(\d{10})", lambda m: m[0][:-10] + b"%d" % (int(m[1]) + seconds))
    closing.callback(proxy.close)
    found = look(proxy.url)
    assert found["clock"][0] == level and which in re.sub(r"59\.9|60\.1", "60.0", found["clock"][1])


def test_a_redis_far_away_is_told(good, closing):
    proxy = Proxy(good.port)
    closing.callback(proxy.close)
    proxy.delay = 0.004
    assert levels(look(proxy.url)) == {"latency": "warn"}


def test_what_may_not_be_read_is_a_warning(redis, good):
    server = redis("--rename-command", "CONFIG", "", "--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb")
    found = look(server.urls()[0])
    unread = {name for name, (_, text) in found.items() if "cannot be read" in text}
    assert unread == {"fsync", "output buffers", "timeout", "keepalive"}
    assert levels(found) == {"eviction": "bad", **{name: "warn" for name in unread}}
    assert all("ask whoever runs" in found[name][1] for name in unread)

    good.client.execute_command("ACL", "SETUSER", "it's", "on", ">pw", "+@all", "-info", "-config", "~*", "&*")
    found = look(f"redis://it%27s:pw@127.0.0.1:{good.port}/0")
    assert set(levels(found).values()) == {"warn"} and found["eviction"][0] == found["version"][0] == "warn"
    command = mend(found["eviction"][1])
    assert command.endswith(r"acl setuser 'it'\''s' +info '+config|get'") and "pw" not in command
    assert not levels(look(f"redis://it%27s:pw@127.0.0.1:{good.port}/0"))


@pytest.mark.parametrize("rights", ["-hset -zadd", "-eval -evalsha", "-script -client", "-subscribe",
                                    "-unsubscribe -ping", "resetkeys", "resetchannels", "resetkeys ~other:*", "resetkeys %R~sb:*",
                                    "resetchannels &sb:inbox:*", "-@all +info +config|get", "resetkeys ~sb:{*",
                                    "-@write resetkeys resetchannels"])
def test_rights_that_are_missing_are_bad_and_can_be_given(good, rights):
    good.client.execute_command("ACL", "SETUSER", "few", "reset", "on", ">pw", "+@all", "~*", "&*", *rights.split())
    good.client.acl_log_reset()
    url = f"redis://few:pw@127.0.0.1:{good.port}/1"
    found = look(url)
    assert levels(found)["rights"] == "bad"
    mend(found["rights"][1])
    assert levels(look(url)).get("rights") is None
    assert good.keys() == [] and good.client.dbsize() == 0


def test_a_command_that_redis_does_not_have_is_named(redis):
    found = look(redis("--rename-command", "HSTRLEN", "", "--rename-command", "UNLINK", "gone").urls()[0])
    assert levels(found) == {"rights": "bad"} and found["rights"][1].endswith(": hstrlen unlink")


def refused(done, *words):
    """2, and one sentence that holds the words and not the password."""
    assert done.returncode == 2 and not done.stdout
    assert len(done.stderr.splitlines()) == 1 and "s3cret" not in done.stderr
    assert not [word for word in words if word not in done.stderr], done.stderr


def test_who_cannot_be_reached_or_refuses_us_is_told_without_the_password(redis, good, tmp_path):
    locked = redis("--requirepass", "right")
    port = free_port()
    refused(run(f"redis://:s3cret@127.0.0.1:{port}/0"), f"127.0.0.1:{port}", "refused")
    refused(run(f"unix://:s3cret@{tmp_path}/none"), f"{tmp_path}/none", "No such file")
    refused(run(f"redis://:s3cret@127.0.0.1:{locked.port}/0"), "refuses the password", "WRONGPASS")
    refused(run(f"redis://someone:s3cret@127.0.0.1:{locked.port}/0"), "refuses the user", "WRONGPASS")
    refused(run(f"redis://127.0.0.1:{locked.port}/0"), "NOAUTH")
    refused(run(f"redis://:s3cret@127.0.0.1:{good.port}/0"), "refuses the password")
    refused(run(f"redis://127.0.0.1:{good.port}/16"), "refuses the database")
    refused(run("http://:s3cret@localhost"), "REDIS_URL")
    refused(run(good.urls()[0], "--port=x"), "PORT")
    refused(run(good.urls()[0], "--check-redis=x"), "unknown option")
    assert not levels(look(f"redis://:right@127.0.0.1:{locked.port}/3"))


@pytest.mark.parametrize("rest", ["", "-" * 300, "%0Ax"], ids=["short", "cut off", "with a line end"])
def test_a_redis_that_repeats_the_words_of_a_command_does_not_give_the_password_away(redis, rest):
    server = redis("--rename-command", "AUTH", "")
    url = f"redis://:s3cret{rest}@127.0.0.1:{server.port}/0"
    refused(run(url), "refuses the password")
    worker = Worker(url, wait=False)
    try:
        wait_until(lambda: worker.events("redis_unreachable") + worker.events("redis_lost"), 5, "that it cannot")
    finally:
        worker.stop()
    assert "repeats the password" in "".join(worker.lines) and "s3cret" not in "".join(worker.lines)


def test_a_redis_that_repeats_the_words_of_a_call_brings_no_id_into_the_log(redis, connect):
    worker = Worker(f"redis://127.0.0.1:{redis('--rename-command', 'EVALSHA', '').port}/0", wait=False)
    try:
        wait_until(lambda: worker.events("listening"), 10, "listening")
        worker.port = worker.events("listening")[0]["port"]
        wait_until(lambda: ready(worker), 10, "that it is ready, for it knows of the layout by EVAL")
        assert connect(worker).request("register", peerId="secret-of-ours")["message"] == UNAVAILABLE
        wait_until(lambda: worker.events("script_failed"), 5, "that calls fail")
    finally:
        worker.stop()
    assert "unknown command" in "".join(worker.lines) and "secret-of-ours" not in "".join(worker.lines)


def test_a_redis_that_does_not_answer_ends_it(redis):
    begun = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        refused(run(f"redis://127.0.0.1:{silent.getsockname()[1]}/0"), "no answer in time")
    assert 2.5 < time.monotonic() - begun < 6 * SLOW


def test_a_redis_that_is_lost_meanwhile_ends_it(good, closing):
    proxy = Proxy(good.port)
    closing.callback(proxy.close)
    with proxy.holding_from(b"$4\r\nTIME"):
        done = run(proxy.url)
    assert done.returncode == 2 and "no answer in time" in done.stderr and "latency: " in done.stdout


def test_the_url_may_be_in_a_file_and_other_options_stay(good, tmp_path):
    file = tmp_path / "url"
    file.write_text(good.urls()[1] + "\n")
    assert not levels(look(None, "--processes", "4", "--port", "80", REDIS_URL_FILE=str(file)))


def test_without_a_url_nothing_is_started(tmp_path):
    done = run(None, "--state-dir", str(tmp_path / "state"))
    assert (done.returncode, done.stderr) == (0, "") and str(tmp_path / "state") in done.stdout
    assert not (tmp_path / "state").exists()


def test_help_names_it():
    assert "--check-redis" in subprocess.run([str(WORKER), "--help"], capture_output=True, text=True).stdout


def test_the_readme_shows_what_it_prints(closing):
    server = Redis("--save", "3600 1 300 100 60 10000", "--maxmemory", "512mb", "--maxmemory-policy", "allkeys-lru")
    closing.callback(server.close)

    def same(text):
        text = text.replace(f"-p {server.port} ", "-p 6379 ")
        return re.sub(r"(Redis|Valkey) [\d.]+|clients: \d+|[\d.]+ (?=ms|MiB in use)", "N ", text)

    assert same(run(server.urls()[1]).stdout) == same(block("", "ok    version"))
