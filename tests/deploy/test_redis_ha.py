# SPDX-License-Identifier: MIT
"""The servers and Sentinels that compose.yaml and the chart start, by the script that both start them with: here as
processes on addresses of loopback, whose names never fail to resolve."""
import contextlib
import os
import shutil
import socket
import subprocess
import sys

import pytest
import redis

from gotools import ROOT

sys.path.insert(0, str(ROOT / "tests" / "integration"))

from harness import SLOW, free_port, wait_until  # noqa: E402

SCRIPT = (ROOT / "helm" / "signalbox" / "files" / "redis-ha.sh").read_text()
HOSTS = [f"127.0.94.{n}" for n in (1, 2, 3)]


class Member:
    """A server or a Sentinel, in a folder of its own that outlives it."""

    def __init__(self, group, role, host):
        self.group, self.role, self.host = group, role, host
        self.folder = group.folder / f"{role}-{host}"
        self.folder.mkdir()
        self.start()

    def start(self):
        options = ["--bind", self.host, *(self.group.options if self.role == "server" else [])]
        self.process = subprocess.Popen(
            ["sh", self.group.script, self.role, self.host, HOSTS[0], *options], cwd=self.folder,
            env={"PATH": os.environ["PATH"], "REDISCLI_AUTH": self.group.password},
            stdout=open(self.folder / "log", "a"), stderr=subprocess.STDOUT)
        # A Sentinel ends the connections of a server that it gives another part.
        self.client = redis.Redis(self.host, self.group.ports[self.role], password=self.group.password or None,
                                  decode_responses=True, socket_timeout=5 * SLOW,
                                  retry_on_error=[redis.exceptions.ConnectionError])
        wait_until(self.answers, 10, f"{self.role} {self.host}")

    def answers(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            return self.client.ping()
        except redis.exceptions.BusyLoadingError:
            return False
        except redis.exceptions.ConnectionError:
            return False

    def kill(self):
        self.client.close()
        self.process.kill()
        self.process.wait(10)


class Group:
    def __init__(self, folder, password):
        self.folder, self.password, self.script = folder, password, folder / "redis-ha.sh"
        self.options = ["--appendonly", "yes", "--repl-diskless-sync-delay", "0"]
        self.ports = {"server": free_port(), "sentinel": free_port()}
        self.script.write_text(SCRIPT.replace("26379", f"{self.ports['sentinel']}").replace(" 6379", f" {self.ports['server']}")
                               .replace('set -- --sentinel', f'set -- --sentinel "$@"'))
        self.options += ["--port", f"{self.ports['server']}"]
        self.servers = {host: Member(self, "server", host) for host in HOSTS}
        self.sentinels = {host: Member(self, "sentinel", host) for host in HOSTS}
        self.members = [*self.servers.values(), *self.sentinels.values()]

    def close(self):
        for member in self.members:
            member.kill()

    def masters(self):
        """Which servers the Sentinels name."""
        return {s.client.sentinel_get_master_addr_by_name("signalbox")[0] for s in self.sentinels.values()
                if s.process.poll() is None}

    def whole(self):
        """The master, once all Sentinels know it, its replicas and each other, and the replicas follow it."""
        masters = self.masters()
        for sentinel in self.sentinels.values():
            state = sentinel.client.sentinel_master("signalbox")
            if (state["num-slaves"], state["num-other-sentinels"], state["flags"]) != (2, 2, "master"):
                return None
        [master] = masters if len(masters) == 1 else [None]
        return master if master and self.servers[master].client.info("replication").get("min_slaves_good_slaves") == 2 else None


@pytest.fixture
def group(tmp_path):
    for host in HOSTS:
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind((host, 0))
            continue
        pytest.skip(f"{host} is no address of this machine")
    if not shutil.which("redis-server"):
        pytest.skip("there is no redis-server")
    with contextlib.closing(Group(tmp_path, "s3cret")) as group:
        assert wait_until(group.whole, 30, "the group") == HOSTS[0]
        yield group


def refuses_writes(server):
    try:
        server.client.set("late", "1")
        return False
    except redis.exceptions.ResponseError as e:
        return "NOREPLICAS" in str(e) or "READONLY" in str(e)


def test_another_takes_over_and_the_former_master_comes_back_as_a_replica(group):
    former = group.servers[HOSTS[0]]
    former.client.set("kept", "1")
    former.client.wait(2, 5000)
    former.kill()
    wait_until(lambda: len(group.masters()) == 1 and HOSTS[0] not in group.masters(), 20, "another master")
    [master] = group.masters()
    wait_until(lambda: not refuses_writes(group.servers[master]), 10, "a master that is copied")
    former.start()
    assert refuses_writes(former)
    wait_until(lambda: former.client.info("replication")["role"] == "slave", 30, "its new part")
    assert wait_until(group.whole, 30, "all of them") == master
    assert former.client.get("kept") == "1" and former.client.get("late") == "1"


def test_all_may_be_stopped_and_started_with_another_password(group):
    """What they have agreed on is kept; nobody falls back to the first server."""
    group.servers[HOSTS[0]].kill()
    wait_until(lambda: len(group.masters()) == 1 and HOSTS[0] not in group.masters(), 20, "another master")
    [master] = group.masters()
    wait_until(lambda: not refuses_writes(group.servers[master]), 10, "a master that is copied")
    ids = [sentinel.client.sentinel_master("signalbox")["config-epoch"] for sentinel in group.sentinels.values()]
    group.close()
    group.password = "an0ther"
    for member in group.members:
        member.start()
    assert group.masters() == {master}
    assert [s.client.sentinel_master("signalbox")["config-epoch"] for s in group.sentinels.values()] == ids
    assert wait_until(group.whole, 40, "all of them") == master
    with pytest.raises(redis.exceptions.RedisError, match="WRONGPASS"):
        redis.Redis(master, group.ports["server"], password="s3cret").ping()


def test_a_planned_failover_leaves_no_two_masters_that_take_writes(group):
    former = group.servers[HOSTS[0]]
    group.sentinels[HOSTS[0]].client.execute_command("SENTINEL", "FAILOVER", "signalbox")
    wait_until(lambda: HOSTS[0] not in group.masters(), 20, "another master")
    wait_until(lambda: refuses_writes(former), 5, "its refusal")
    assert wait_until(group.whole, 40, "all of them") != HOSTS[0]
