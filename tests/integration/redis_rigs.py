# SPDX-License-Identifier: MIT
"""More than one Redis: a master with its replicas, Sentinels that watch them, HAProxy before them, and Redis over TLS."""
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import redis as redis_client

from authority import pem
from harness import Redis, free_port, http_request, wait_until

NAME = "signalbox-test"  # of what Sentinels watch
DOWN_AFTER = 1000  # ms for which a master is silent before Sentinels take it for dead
REPLICATED = ("--repl-diskless-sync-delay", "0", "--repl-timeout", "5")


class TlsRedis(Redis):
    """Speaks TLS at tls_port, and plainly at port. clients: whether it wants a certificate of them ("yes", "no")."""

    def __init__(self, authority, *options, pair=None, clients="no"):
        self.files, self.tls_port = Path(tempfile.mkdtemp(prefix="signalbox-tls-")), free_port()
        self.certify(authority, pair or authority.issue())
        super().__init__("--tls-port", str(self.tls_port), "--tls-cert-file", str(self.files / "chain.pem"),
                         "--tls-key-file", str(self.files / "key.pem"), "--tls-ca-cert-file",
                         str(self.files / "ca.pem"), "--tls-auth-clients", clients, *options)
        self.url = f"rediss://127.0.0.1:{self.tls_port}/0"

    def certify(self, authority, pair):
        """It reads them when it starts."""
        (self.files / "ca.pem").write_bytes(pem(authority.root))
        (self.files / "chain.pem").write_bytes(pair.chain)
        (self.files / "key.pem").write_bytes(pair.key)

    def urls(self):
        return [self.url]

    def close(self):
        super().close()
        shutil.rmtree(self.files, ignore_errors=True)


def service(server):
    """The port at which replicas, Sentinels and workers find it."""
    return getattr(server, "tls_port", server.port)


def role(server):
    """"master" or "slave"; None: it does not say."""
    try:
        with redis_client.Redis("127.0.0.1", server.port, socket_timeout=0.5, decode_responses=True) as client:
            return client.execute_command("ROLE")[0]
    except redis_client.RedisError:
        return None


def follow(server, master):
    server.client.execute_command("REPLICAOF", "127.0.0.1", service(master))


def promote(server):
    server.client.execute_command("REPLICAOF", "NO", "ONE")


def in_step(replica):
    return replica.client.info("replication")["master_link_status"] == "up"


class Group:
    """A master, the first of servers, and its replicas. make: starts one of them, given options."""

    def __init__(self, closing, count=2, make=Redis, options=()):
        self.servers = []
        for _ in range(count):
            self.servers.append(make(*REPLICATED, *options))
            closing.callback(self.servers[-1].close)
        for replica in self.servers[1:]:
            follow(replica, self.servers[0])
        wait_until(lambda: all(map(in_step, self.servers[1:])), 10, "replicas in step")

    def masters(self):
        return [server for server in self.servers if role(server) == "master"]

    def swap(self, new):
        """As an operator does it by hand."""
        old = self.servers[0]
        promote(new)
        for server in self.servers:
            if server is not new:
                follow(server, new)
        return old


class Sentinel(Redis):
    """lines: of its configuration."""

    def __init__(self, lines, *options, **how):
        self.lines = lines
        super().__init__(*options, "--sentinel", **how)

    def config(self):
        file = Path(self.dir, "sentinel.conf")
        file.write_text("\n".join(self.lines) + "\n")
        return [str(file)]


class TlsSentinel(TlsRedis):
    """One that speaks TLS, with Redis and the others as well."""

    def __init__(self, authority, lines):
        self.lines = lines
        super().__init__(authority, "--tls-replication", "yes", "--sentinel")

    config = Sentinel.config


def sentinel_url(ports, userinfo="", name=NAME, scheme="redis+sentinel"):
    return f"{scheme}://{userinfo}{','.join(f'127.0.0.1:{port}' for port in ports)}/{name}"


class Sentinels:
    """Three of them; two must agree that a master has gone. make: starts one, given lines of its configuration."""

    def __init__(self, closing, group, lines=(), make=Sentinel, count=3, down_after=DOWN_AFTER):
        self.group, self.all = group, []
        watch = [f"sentinel monitor {NAME} 127.0.0.1 {service(group.servers[0])} {count // 2 + 1}",
                 f"sentinel down-after-milliseconds {NAME} {down_after}", f"sentinel failover-timeout {NAME} 5000",
                 f"sentinel parallel-syncs {NAME} {count}", *lines]
        for _ in range(count):
            self.all.append(make(watch))
            closing.callback(self.all[-1].close)
        wait_until(lambda: all(map(self._knows_all, self.all)), 20, "Sentinels that know each other")

    def _knows_all(self, sentinel):
        seen = sentinel.client.sentinel_master(NAME)
        return (seen["num-other-sentinels"], seen["num-slaves"]) == (len(self.all) - 1, len(self.group.servers) - 1)

    def url(self, *args, **options):
        return sentinel_url(map(service, self.all), *args, **options)

    def master(self):
        """Which server most of them say it is; None: they do not agree."""
        told = [sentinel.client.sentinel_get_master_addr_by_name(NAME)[1] for sentinel in self.living()]
        return next((s for s in self.group.servers if told.count(service(s)) > len(self.all) // 2), None)

    def living(self):
        return [sentinel for sentinel in self.all if sentinel.process.poll() is None]

    def failover(self):
        """Whoever is asked first after the last one may have to wait for the others' votes."""
        wait_until(self._begun, 20, "a failover")

    def _begun(self):
        try:
            return self.living()[0].client.execute_command("SENTINEL", "FAILOVER", NAME)
        except redis_client.ResponseError:
            return False


HAPROXY = """
global
    maxconn 2000
defaults
    mode tcp
    timeout connect 1s
    timeout client 1h
    timeout server 1h
    timeout check 500ms
listen redis
    bind 127.0.0.1:{port}
    option tcp-check
    tcp-check connect
    tcp-check send info\\ replication\\r\\n
    tcp-check expect string role:master
    default-server check inter 300ms fall 2 rise 1 {cut}
"""


class HAProxy:
    """Leads to whoever says that it is the master. cutting: it ends the connections to one that has ceased to be."""

    def __init__(self, closing, group, cutting):
        self.dir, self.port = tempfile.mkdtemp(prefix="signalbox-haproxy-"), free_port()
        text = HAPROXY.format(port=self.port, cut="on-marked-down shutdown-sessions" if cutting else "")
        text += "".join(f"    server s{i} 127.0.0.1:{s.port}\n" for i, s in enumerate(group.servers))
        Path(self.dir, "conf").write_text(text)
        self.process = subprocess.Popen(["haproxy", "-db", "-f", f"{self.dir}/conf"], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        closing.callback(self.close)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        wait_until(lambda: self._leads_to_the_master(2 * len(group.servers)), 10, "HAProxy that has found the master")

    def _leads_to_the_master(self, times):
        """By turns it leads to all that it has not found unfit yet."""
        assert self.process.poll() is None, "haproxy ended at once"
        return all(role(self) == "master" for _ in range(times))

    def close(self):
        self.process.kill()
        self.process.wait(10)
        shutil.rmtree(self.dir, ignore_errors=True)


def links(server, worker):
    """The connections of a worker at that server, by their ids."""
    return {c["id"]: c for c in server.client.client_list() if any(wid in c["name"] for wid in worker.wids)}


def readiness(worker):
    """(status, reason) of /ready."""
    status, _, body = http_request(worker, "GET", "/ready")
    return status, body.get("error", "")


def reasons(worker):
    """What its log says of why Redis or a Sentinel was lost or not reached."""
    events = ("redis_lost", "redis_unreachable", "sentinel_lost", "sentinel_unreachable")
    return [line["reason"] for event in events for line in worker.events(event)]


def holds(condition, seconds, what):
    """It is true all the time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition(), what
        time.sleep(0.05)
