# SPDX-License-Identifier: MIT
"""A Redis whose master is named by Sentinels: what is asked of them, whom a worker believes, and how it follows."""
import contextlib
import re
import signal
import socket
import socketserver
import threading
import time

import pytest
import redis as redis_client

from authority import Authority, pem
from harness import ROOT, SLOW, UNAVAILABLE, Redis, free_port, freeze, ready, uid, wait_until
from redis_rigs import (NAME, Group, Sentinel, Sentinels, TlsRedis, TlsSentinel, holds, links, promote, readiness,
                        reasons, role, sentinel_url, service)
from test_check_redis import look, refused, run
from test_redis_roles import wait_listening, works

DETECTED = 10  # seconds within which Sentinels have another master, on a busy machine too
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
ASKED = 5  # seconds between two questions to the Sentinels


@pytest.fixture
def group(closing):
    return Group(closing, 3)


@pytest.fixture
def sentinels(closing, group):
    return Sentinels(closing, group)


@pytest.fixture
def fleet(sentinels, launch):
    return [launch(sentinels.url()) for _ in range(2)]


def are_at(workers, server):
    """All connections of all of them, and none elsewhere that they could use."""
    return all(ready(worker) and len(links(server, worker)) == 3 for worker in workers)


def follow_to(sentinels, workers, patience=ASKED + 3):
    """Waits until the Sentinels have another master than the first and the workers are there; returns it."""
    old = sentinels.group.servers[0]
    new = wait_until(lambda: (found := sentinels.master()) is not old and found, DETECTED, "another master")
    wait_until(lambda: are_at(workers, new), patience, "the workers at the new master")
    return new


# --- finding the master ------------------------------------------------------------------------------------------

def test_workers_find_the_master_by_any_sentinel_that_answers(sentinels, fleet, connect, launch, closing):
    master, ports = sentinels.group.servers[0], [service(sentinel) for sentinel in sentinels.all]
    assert are_at(fleet, master)
    works(connect, fleet)
    silent = socket.create_server(("127.0.0.1", 0))
    closing.callback(silent.close)
    for odd in (free_port(), silent.getsockname()[1], master.port):  # away, mute, no Sentinel
        for listed in ([odd, ports[1]], [ports[1], odd]):
            worker = launch(sentinel_url(listed))
            assert are_at([worker], master)


def test_one_sentinel_is_enough_and_it_may_have_a_name(sentinels, launch):
    port = service(sentinels.all[2])
    worker = launch(f"redis+sentinel://localhost:{port}/{NAME}")
    assert are_at([worker], sentinels.group.servers[0])


def test_a_database_may_be_named(sentinels, launch, connect):
    workers = [launch(sentinels.url() + "/3") for _ in range(2)]
    works(connect, workers)
    assert {link["db"] for link in links(sentinels.group.servers[0], workers[0]).values()} == {"3"}


def test_a_name_that_no_sentinel_knows_is_told(sentinels, launch):
    worker = wait_listening(launch(sentinels.url(name="nobody"), wait=False))
    wait_until(lambda: "nobody" in readiness(worker)[1] and "entinel" in readiness(worker)[1], 8, "the reason")
    holds(lambda: readiness(worker)[0] == 503, 1, "503")
    assert [reason for reason in reasons(worker) if "nobody" in reason]
    refused(run(sentinels.url(name="nobody")), "nobody", "entinel")


def test_a_sentinel_that_does_not_know_the_name_is_no_hindrance(closing, group, sentinels, launch):
    strange = Sentinel([f"sentinel monitor other 127.0.0.1 {group.servers[0].port} 1"])
    closing.callback(strange.close)
    assert are_at([launch(sentinel_url([strange.port, service(sentinels.all[0])]))], group.servers[0])


def test_without_any_sentinel_a_worker_waits_and_says_for_what(closing, group, launch):
    sentinels = Sentinels(closing, group)
    for sentinel in sentinels.all:
        sentinel.stop()
    worker = wait_listening(launch(sentinels.url(), wait=False))
    wait_until(lambda: readiness(worker)[0] == 503 and "entinel" in readiness(worker)[1], 8, "the reason")
    refused(run(sentinels.url()), "entinel")
    sentinels.all[1].start()
    wait_until(lambda: are_at([worker], group.servers[0]), 12, "the worker at its master")


@pytest.mark.parametrize("url", ["127.0.0.1:26379", "127.0.0.1:26379/", "/name", "127.0.0.1:0/name",
                                 "127.0.0.1:x/name", "127.0.0.1:1/name/x", "127.0.0.1:1,/name"])
def test_a_url_that_makes_no_sense_stops_the_start(url):
    done = run(f"redis+sentinel://:s3cret@{url}")
    refused(done, "REDIS_URL")


def test_check_redis_looks_at_the_master(sentinels):
    found = look(sentinels.url())
    assert found["writes"][0] == "ok" and found["version"][0] == "ok"


# --- passwords and TLS -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("user", ["", "watcher"])
def test_sentinels_and_redis_each_have_a_password_of_their_own(closing, launch, connect, user):
    group = Group(closing, 2, options=("--requirepass", "of-redis", "--masterauth", "of-redis"))
    lines = [f"sentinel auth-pass {NAME} of-redis", "requirepass of-sentinel", "sentinel sentinel-pass of-sentinel"]
    if user:
        lines += [re.search("^user watcher .*$", OPERATIONS, re.M)[0].replace("its-password", "of-user")]
    sentinels = Sentinels(closing, group, lines, make=lambda lines: Sentinel(lines, "--requirepass", "of-sentinel"))
    secrets = {"REDIS_SENTINEL_USER": user, "REDIS_SENTINEL_PASSWORD": "of-user" if user else "of-sentinel"}
    url = sentinels.url(":of-redis@")
    workers = [launch(url, **secrets) for _ in range(2)]
    works(connect, workers)
    assert look(url, **secrets)["mode"][0] == "ok"
    for wrong in ({"REDIS_SENTINEL_PASSWORD": "s3cret"}, {}):
        worker = wait_listening(launch(url, wait=False, **wrong))
        wait_until(lambda: "entinel" in readiness(worker)[1], 8, "the reason")
        wait_until(lambda: [r for r in reasons(worker) if "AUTH" in r or "WRONGPASS" in r], 8, "the reason in the log")
        refused(run(url, **wrong), "entinel")
        text = "".join(worker.lines)
        assert not [secret for secret in ("s3cret", "of-redis") if secret in text]
    sentinels.group.servers[0].stop()
    new = wait_until(lambda: (found := sentinels.master()) is not group.servers[0] and found, DETECTED, "another")
    wait_until(lambda: all(map(ready, workers)) and role_of(new, "of-redis") == "master", ASKED + 3, "ready again")
    works(connect, workers)


def role_of(server, password):
    with redis_client.Redis("127.0.0.1", server.port, password=password, decode_responses=True) as client:
        return client.execute_command("ROLE")[0]


def test_all_of_it_over_tls(closing, tmp_path, launch, connect):
    authority = Authority()
    (tmp_path / "ca").write_bytes(pem(authority.root))
    group = Group(closing, 2, lambda *options: TlsRedis(authority, *options), ("--tls-replication", "yes"))
    sentinels = Sentinels(closing, group, make=lambda lines: TlsSentinel(authority, lines))
    url = sentinels.url(scheme="rediss+sentinel")
    workers = [launch(url, REDIS_CA_FILE=tmp_path / "ca") for _ in range(2)]
    works(connect, workers)
    assert look(url, REDIS_CA_FILE=str(tmp_path / "ca"))["mode"][0] == "ok"
    group.servers[0].stop()
    follow_to(sentinels, workers)
    works(connect, workers)
    (tmp_path / "other").write_bytes(pem(Authority("another test").root))
    stranger = wait_listening(launch(url, wait=False, REDIS_CA_FILE=tmp_path / "other"))
    wait_until(lambda: "certificate" in readiness(stranger)[1], 8, "that the Sentinels' certificate is not trusted")


# --- following it ------------------------------------------------------------------------------------------------

def test_a_master_that_was_killed_is_left_for_its_successor(sentinels, fleet, connect):
    old, client = sentinels.group.servers[0], connect(fleet[0])
    old.stop()
    wait_until(lambda: not any(map(ready, fleet)), 5, "the loss")
    assert client.request("register", peerId=uid())["message"] == UNAVAILABLE
    new = follow_to(sentinels, fleet)
    works(connect, fleet)
    old.start()  # empty, and as a master, until a Sentinel has seen it
    wait_until(lambda: role(old) == "slave", 20, "its return as a replica")
    assert are_at(fleet, new)
    assert client.request("register", peerId=uid())["type"] == "registered"


def test_a_master_that_stood_still_and_returns_is_not_gone_back_to(sentinels, fleet, connect):
    old = sentinels.group.servers[0]
    freeze(old.process)
    frozen = time.monotonic()
    new = follow_to(sentinels, fleet)
    works(connect, fleet)
    time.sleep(max(0, frozen + 12 - time.monotonic()))
    old.process.send_signal(signal.SIGCONT)
    wait_until(lambda: role(old) == "slave", 20, "its return as a replica")
    assert are_at(fleet, new)
    wait_until(lambda: not [worker for worker in fleet if links(old, worker)], 5, "no connection to the former one")
    works(connect, fleet)


def test_in_a_failover_that_was_asked_for_the_old_master_is_left_at_once(sentinels, fleet, connect):
    """It takes writes for ten seconds more."""
    old = sentinels.group.servers[0]
    sentinels.failover()
    new = follow_to(sentinels, fleet, 2)
    assert role(old) == "master", "the machine was too slow for this test"
    assert not [worker for worker in fleet if links(old, worker)]
    works(connect, fleet)
    wait_until(lambda: role(old) == "slave", 20, "the end of the old master")
    assert are_at(fleet, new)


def test_a_failover_that_redis_was_asked_for_is_followed(sentinels, fleet, connect):
    """Sentinels see it half a minute later, and choose a master once more. Until then they name a replica, which says at
    once where its master is."""
    old, other = sentinels.group.servers[:2]
    old.client.execute_command("FAILOVER", "TO", "127.0.0.1", other.port)
    wait_until(lambda: role(old) == "slave", 5, "the demotion")
    wait_until(lambda: are_at(fleet, other), 5, "the workers at the master that the replica names")
    works(connect, fleet)
    wait_until(lambda: (named := sentinels.master()) and named is not old, 60, "that Sentinels know it, too")
    wait_until(lambda: are_at(fleet, sentinels.master()), ASKED + 3, "the workers at the master that they name")
    works(connect, fleet)


@contextlib.contextmanager
def without_subscriptions(sentinels):
    """Inside, no Sentinel can tell anything by itself."""
    over = threading.Event()

    def kill():
        with contextlib.suppress(redis_client.RedisError):
            while not over.wait(0.02):
                for sentinel in sentinels.living():
                    sentinel.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_subscription_that_was_lost_is_made_up_for_by_asking(sentinels, fleet, connect):
    with without_subscriptions(sentinels):
        sentinels.failover()
        follow_to(sentinels, fleet, ASKED + 2)
    works(connect, fleet)


def test_subscriptions_that_are_cut_just_before_the_switch_come_back(sentinels, fleet, connect):
    for sentinel in sentinels.all:
        sentinel.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    sentinels.failover()
    follow_to(sentinels, fleet)
    works(connect, fleet)


def test_while_all_sentinels_are_away_the_master_is_kept(sentinels, fleet, connect):
    for sentinel in sentinels.all:
        sentinel.stop()
    holds(lambda: all(map(ready, fleet)), ASKED + 2, "ready all the time")
    works(connect, fleet)
    assert not [worker for worker in fleet if worker.events("redis_lost")]
    for sentinel in sentinels.all:
        sentinel.start()
    sentinels.group.servers[0].stop()
    follow_to(sentinels, fleet)
    works(connect, fleet)


def test_a_switch_of_another_master_concerns_nobody_here(closing, sentinels, fleet):
    others = Group(closing, 2)
    for sentinel in sentinels.all:
        sentinel.client.execute_command("SENTINEL", "MONITOR", "other", "127.0.0.1", others.servers[0].port, 2)

    def known():
        seen = [sentinel.client.sentinel_master("other") for sentinel in sentinels.all]
        return all((s["num-other-sentinels"], s["num-slaves"]) == (2, 1) for s in seen)

    wait_until(known, 20, "the other master's replica")
    sentinels.all[0].client.execute_command("SENTINEL", "FAILOVER", "other")
    wait_until(lambda: role(others.servers[1]) == "master", 10, "the other failover")
    holds(lambda: are_at(fleet, sentinels.group.servers[0]), 3, "the workers where they were")
    assert not [worker for worker in fleet if worker.events("redis_lost")]


# --- whom to believe ---------------------------------------------------------------------------------------------

class Liar(socketserver.ThreadingTCPServer):
    """A Sentinel that answers what a test wants: port and epoch, or any words."""

    daemon_threads = allow_reuse_address = True

    def __init__(self, port, epoch, words=None):
        self.told, self.epoch, self.words, self.asked, self.mute = port, epoch, words, 0, False
        super().__init__(("127.0.0.1", 0), LiarsTongue)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, command, args):
        if command == "SUBSCRIBE":
            return b"".join(b"*3\r\n" + bulk("subscribe") + bulk(name) + b":%d\r\n" % i for i, name in enumerate(args, 1))
        if command != "SENTINEL":
            return b"+PONG\r\n" if command == "PING" else b"+OK\r\n"
        self.asked += 1
        if self.words is not None:
            return self.words
        told = {"name": NAME, "ip": "127.0.0.1", "port": self.told, "runid": "0" * 40, "flags": "master",
                "num-slaves": 1, "num-other-sentinels": 2, "quorum": 2, "config-epoch": self.epoch}
        words = ["127.0.0.1", self.told] if args[0].upper() == "GET-MASTER-ADDR-BY-NAME" else sum(told.items(), ())
        return b"*%d\r\n" % len(words) + b"".join(map(bulk, words))


def bulk(text):
    return b"$%d\r\n%s\r\n" % (len(str(text)), str(text).encode())


class LiarsTongue(socketserver.StreamRequestHandler):
    def handle(self):
        with contextlib.suppress(OSError, ValueError):
            while head := self.rfile.readline():
                words = []
                for _ in range(int(head[1:])):
                    words.append(self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2].decode())
                if not self.server.mute:
                    self.wfile.write(self.server.answer(words[0].upper(), words[1:]))


@pytest.fixture
def liar(closing):
    def liar(*args, **kwargs):
        one = Liar(*args, **kwargs)
        closing.callback(one.server_close)
        closing.callback(one.shutdown)
        return one

    return liar


@pytest.fixture
def masters(closing):
    """Two that have nothing to do with each other."""
    servers = [Redis(), Redis()]
    for server in servers:
        closing.callback(server.close)
    return servers


@pytest.mark.parametrize("order", [1, -1], ids=["stale first", "stale last"])
def test_the_greatest_epoch_is_believed(liar, masters, launch, order):
    true, former = masters
    listed = [liar(former.port, 3), liar(true.port, 12)][::order]
    workers = [launch(sentinel_url([one.port for one in listed])) for _ in range(2)]
    wait_until(lambda: are_at(workers, true), 5, "the workers at the one with the greatest epoch")
    holds(lambda: are_at(workers, true), ASKED + 1, "the workers at the one with the greatest epoch")
    assert all(one.asked for one in listed)


def test_an_epoch_that_grows_is_followed(liar, masters, launch):
    one, two = masters
    listed = [liar(one.port, 1), liar(one.port, 1), liar(one.port, 1)]
    worker = launch(sentinel_url([sentinel.port for sentinel in listed]))
    assert are_at([worker], one)
    listed[1].told, listed[1].epoch = two.port, 2
    wait_until(lambda: are_at([worker], two), ASKED + 3, "the worker at the new one")
    assert not links(one, worker)


def test_one_that_knows_an_older_state_is_not_followed_while_the_others_are_away(closing, liar, launch):
    master, replica = Group(closing, 2).servers
    listed = [liar(replica.port, 3), liar(master.port, 12), liar(master.port, 12)]
    worker = launch(sentinel_url([one.port for one in listed]))
    assert are_at([worker], master)
    for one in listed[1:]:
        one.mute = True
    holds(lambda: are_at([worker], master), 4 * ASKED + 3, "the worker at the master")
    promote(replica)
    for one in listed:  # set up anew
        one.told, one.epoch, one.mute = replica.port, 1, False
    wait_until(lambda: are_at([worker], replica), ASKED + 3, "the worker where most of them say")


def test_one_that_knows_an_older_state_is_followed_where_the_master_has_been_away_for_long(liar, masters, launch):
    former, true = masters
    listed = [liar(former.port, 3), liar(true.port, 12), liar(true.port, 12)]
    worker = launch(sentinel_url([one.port for one in listed]))
    assert are_at([worker], true)
    true.stop()
    for one in listed[1:]:
        one.mute = True
    wait_until(lambda: not ready(worker), 5, "the loss")
    holds(lambda: not ready(worker), 2 * ASKED, "not ready")
    wait_until(lambda: are_at([worker], former), 3 * ASKED, "the worker at what is left")


def test_reasons_of_several_sentinels_are_each_said_once(closing, launch):
    mute = socket.create_server(("127.0.0.1", 0))
    closing.callback(mute.close)
    worker = wait_listening(launch(sentinel_url([free_port(), mute.getsockname()[1], free_port()]), wait=False))
    wait_until(lambda: len(set(reasons(worker))) > 1, 8, "both reasons")
    holds(lambda: "entinel" in readiness(worker)[1], 3, "the reason")
    assert len(reasons(worker)) == 3 * 2  # of each connection to each of them


def test_one_who_is_called_master_and_is_a_replica_is_not_believed(closing, liar, launch):
    master, replica = Group(closing, 2).servers
    sentinel = liar(replica.port, 1)
    worker = wait_listening(launch(sentinel_url([sentinel.port]), wait=False))
    holds(lambda: role(replica) == "slave" and not (ready(worker) and links(replica, worker)), 3, "not ready there")
    sentinel.told, sentinel.epoch = master.port, 2
    wait_until(lambda: are_at([worker], master), ASKED + 3, "the worker at the master")


def test_a_replica_whose_master_is_away_fills_no_log(closing, liar, launch):
    master, replica = Group(closing, 2).servers
    master.stop()
    worker = wait_listening(launch(sentinel_url([liar(replica.port, 1).port]), wait=False))
    wait_until(lambda: "refused" in readiness(worker)[1], 5, "that its master is away")
    time.sleep(2)  # for some more tries
    written = len(worker.lines)
    holds(lambda: not ready(worker), 3, "503")
    assert len(worker.lines) == written


@pytest.mark.parametrize("words", [b"*-1\r\n", b"$-1\r\n", b"-ERR No such master with that name\r\n", b"+OK\r\n", b"*0\r\n",
                                   b"*2\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n", b":7\r\n", b"nonsense\r\n",
                                   b"*4\r\n$2\r\nip\r\n$3\r\nxyz\r\n$4\r\nport\r\n$1\r\nz\r\n",
                                   b"*4\r\n$2\r\nip\r\n*0\r\n$4\r\nport\r\n$6\r\n999999\r\n",
                                   b"*3\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n$4\r\nport\r\n"],
                         ids=["nil array", "nil", "unknown", "status", "empty", "no port", "number", "no RESP",
                              "no address", "no types", "odd"])
def test_what_makes_no_sense_is_passed_over(liar, masters, launch, words):
    listed = [liar(0, 99, words), liar(masters[0].port, 1)]
    for order in (1, -1):
        worker = launch(sentinel_url([one.port for one in listed[::order]]))
        assert are_at([worker], masters[0])
