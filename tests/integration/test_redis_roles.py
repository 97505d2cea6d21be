# SPDX-License-Identifier: MIT
"""A Redis that is a replica, or becomes one under open connections; one that is paused; answers that take their time."""
import re
import socketserver
import threading
import time

import pytest

from harness import SLOW, UNAVAILABLE, Redis, free_port, metric, ready, uid, wait_until
from proxy import Proxy
from redis_rigs import Group, follow, holds, links, promote, readiness, reasons, service
from test_signal import path_of, registered

PATIENCE = 2  # seconds without a byte after which a connection is given up


@pytest.fixture
def pair(closing):
    return Group(closing)


@pytest.fixture
def address(closing):
    """One that leads new connections, and no others, to what its target says; and where it leads at first."""
    def address(server):
        proxy = Proxy(server.port)
        closing.callback(proxy.close)
        return proxy

    return address


def wait_listening(worker):
    """Returns it, once it can be asked whether it is ready."""
    wait_until(lambda: worker.events("listening"), 10, "listening")
    worker.port = worker.events("listening")[0]["port"]
    return worker


def stays_unready(worker, seconds=2):
    """And says that it is for a replica's sake."""
    holds(lambda: (found := readiness(worker))[0] == 503 and "replica" in found[1].lower(), seconds,
          "503 and that Redis is a replica")


def works(connect, workers):
    """What reads, what writes, what is sent from one to the other."""
    room = path_of(uid("room"))
    a, b = (registered(connect(worker, room)) for worker in (workers[0], workers[-1]))
    for one, two in ((a, b), (b, a)):
        token = uid()
        one.send(type="offer", target=two.code, payload=token)
        while two.recv().get("payload") != token:
            pass
    peer = connect(workers[0])
    assert peer.request("register", peerId=uid())["type"] == "registered"
    peer.relays()


def test_a_node_of_a_cluster_is_not_served_and_that_is_said(launch, closing):
    node = Redis("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    closing.callback(node.close)
    worker = wait_listening(launch(f"redis://127.0.0.1:{node.port}", wait=False))
    wait_until(lambda: "cluster" in readiness(worker)[1], 5, "the reason")
    holds(lambda: readiness(worker)[0] == 503, 1, "503")


# A master that is demoted

def test_workers_leave_a_master_that_was_demoted_and_are_not_ready_until_there_is_another(pair, address, launch,
                                                                                          connect):
    a, b = pair.servers
    proxy = address(a)
    workers = [launch(proxy.url) for _ in range(2)]
    works(connect, workers)
    client = connect(workers[0])
    pair.swap(b)
    for worker in workers:
        wait_until(lambda: not ready(worker), 5, "that its Redis is a replica")
        stays_unready(worker)
        assert metric(worker, "signalbox_redis_up") == 0
    assert client.request("register", peerId=uid())["message"] == UNAVAILABLE
    assert client.request("ping") == {"type": "pong"}
    proxy.target = b.port
    for worker in workers:
        wait_until(lambda: ready(worker), 10, "ready again")
        assert len(links(b, worker)) == 3 and not links(a, worker)
    assert client.request("register", peerId=uid())["type"] == "registered"
    works(connect, workers)


def test_all_connections_move_at_once_where_the_address_has_moved_before(pair, address, launch, connect):
    a, b = pair.servers
    proxy = address(a)
    workers = [launch(proxy.url) for _ in range(2)]
    proxy.target = b.port
    pair.swap(b)
    for worker in workers:
        wait_until(lambda: ready(worker) and len(links(b, worker)) == 3, 8, "its connections to the new master")
    assert not [worker for worker in workers if links(a, worker)]
    works(connect, workers)


def test_who_was_registered_is_reached_by_way_of_the_new_master(pair, address, launch, connect):
    a, b = pair.servers
    proxy = address(a)
    workers = [launch(proxy.url) for _ in range(2)]
    room = path_of(uid("room"))
    one, two = (registered(connect(worker, room)) for worker in workers)
    proxy.target = b.port
    pair.swap(b)
    wait_until(lambda: all(ready(w) and len(links(b, w)) == 3 for w in workers), 8, "both there")

    def reached():
        token = uid()
        one.send(type="offer", target=two.code, payload=token)
        end = time.monotonic() + 0.3 * SLOW
        while time.monotonic() < end:
            if not two.inbox.empty() and two.recv().get("payload") == token:
                return True
            time.sleep(0.01)
        return False

    wait_until(reached, 8, "an offer")
    assert not one.closed and not two.closed


def test_a_master_that_is_demoted_twice_is_followed_there_and_back(pair, address, launch, connect):
    a, b = pair.servers
    proxy = address(a)
    worker = launch(proxy.url)
    for old, new in ((a, b), (b, a)):
        proxy.target = new.port
        promote(new)
        follow(old, new)
        wait_until(lambda: ready(worker) and len(links(new, worker)) == 3, 10, "its connections to the new master")
    works(connect, [worker])


class ByTurns(Proxy):
    """Leads each connection elsewhere than the one before."""

    count = 0

    @property
    def target(self):
        self.count += 1
        return self.ports[self.count % len(self.ports)]

    @target.setter
    def target(self, ports):
        self.ports = ports


def test_where_an_address_leads_to_two_masters_by_turns_there_are_pauses(closing, launch):
    """Three connections never come to one server."""
    servers = [Redis(), Redis()]
    for server in servers:
        closing.callback(server.close)
    proxy = ByTurns([server.port for server in servers])
    closing.callback(proxy.close)
    wait_listening(launch(proxy.url, wait=False))
    time.sleep(5)  # after which the pauses have grown
    before = proxy.count
    time.sleep(8)
    assert proxy.count - before < 8 * 8


# A replica from the start

@pytest.mark.parametrize("way", ["port", "socket"])
def test_a_worker_on_a_replica_is_never_ready_and_says_why(pair, launch, connect, way):
    a, b = pair.servers
    worker = wait_listening(launch(f"redis://127.0.0.1:{b.port}" if way == "port" else b.urls()[0], wait=False))
    wait_until(lambda: "replica" in readiness(worker)[1].lower(), 5, "the reason")
    stays_unready(worker)
    assert any("replica" in reason.lower() for reason in reasons(worker))
    assert connect(worker).request("register", peerId=uid())["message"] == UNAVAILABLE
    promote(b)
    wait_until(lambda: ready(worker), 8, "ready, once it is the master")
    works(connect, [worker])


def test_a_replica_is_not_asked_without_a_pause(pair, launch):
    """As often as any Redis that is away: 50 ms to 2 s apart."""
    b = pair.servers[1]
    wait_listening(launch(f"redis://127.0.0.1:{b.port}", wait=False))
    before = b.client.info("stats")["total_connections_received"]
    time.sleep(3)
    assert b.client.info("stats")["total_connections_received"] - before < 3 * 20


@pytest.fixture
def modest(pair):
    """URLs of the pair's servers for a user who may not ask for roles."""
    def url(server):
        return f"redis://modest:pw@127.0.0.1:{service(server)}/0"

    for server in pair.servers:
        server.client.execute_command("ACL", "SETUSER", "modest", "on", ">pw", "~*", "&*", "+@all", "-role")
    return url


def test_a_user_who_may_not_ask_for_the_role_is_no_error(pair, modest, launch, connect):
    worker = launch(modest(pair.servers[0]))
    works(connect, [worker])
    assert not worker.events("redis_lost") and metric(worker, "signalbox_redis_errors_total") == 0


def test_who_may_not_ask_for_the_role_learns_it_from_the_first_write(pair, modest, address, launch, connect):
    a, b = pair.servers
    proxy = address(a)
    worker = launch(modest(a).replace(str(a.port), proxy.url.rpartition(":")[2].partition("/")[0]))
    proxy.target = b.port
    pair.swap(b)
    wait_until(lambda: ready(worker) and len(links(b, worker)) == 3, 8, "its connections to the new master")
    works(connect, [worker])


def test_who_may_not_ask_for_the_role_asks_a_replica_with_pauses_and_does_nothing_else_there(pair, modest, launch):
    a, b = pair.servers
    launch(modest(a)).stop()  # which leaves the number of the layout
    worker = wait_listening(launch(modest(b), wait=False))
    before = b.client.info("stats")["total_connections_received"]
    wait_until(lambda: "replica" in readiness(worker)[1], 5, "the reason")
    holds(lambda: readiness(worker)[0] == 503, 3, "503")
    assert b.client.info("stats")["total_connections_received"] - before < 3 * 20
    looks = metric(worker, 'signalbox_script_calls_total{script="schema/migrate"}')
    assert metric(worker, "signalbox_script_calls_total") == looks > 0
    promote(b)
    wait_until(lambda: ready(worker), 8, "ready, once it is the master")


# A server that refuses, or is none

def test_a_redis_that_has_enough_connections_already_says_so(pair, launch):
    master = pair.servers[0]
    master.client.config_set("maxclients", 1)
    worker = wait_listening(launch(f"redis://127.0.0.1:{master.port}", wait=False))
    wait_until(lambda: "max number of clients" in readiness(worker)[1], 5, "the reason")
    master.client.config_set("maxclients", 100)
    wait_until(lambda: ready(worker), 8, "ready")


def test_why_the_subscriptions_are_refused_is_told(pair, launch):
    master = pair.servers[0]
    deaf = ("ACL", "SETUSER", "deaf", "on", ">pw", "~*", "+@all")
    master.client.execute_command(*deaf, "resetchannels")
    worker = wait_listening(launch(f"redis://deaf:pw@127.0.0.1:{master.port}", wait=False))
    wait_until(lambda: re.search("subscription.*NOPERM", readiness(worker)[1]), 5, "the reason")
    before = master.client.info("stats")["total_connections_received"]
    holds(lambda: readiness(worker)[0] == 503, 3, "503")
    assert master.client.info("stats")["total_connections_received"] - before < 3 * 10
    master.client.execute_command(*deaf, "allchannels")
    wait_until(lambda: ready(worker), 8, "ready")


def test_who_only_repeats_what_it_is_told_is_no_redis(closing, launch):
    class Parrot(socketserver.StreamRequestHandler):
        def handle(self):
            while said := self.request.recv(65536):
                self.request.sendall(said)

    parrot = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Parrot)
    closing.callback(parrot.server_close)
    closing.callback(parrot.shutdown)
    parrot.daemon_threads = True
    threading.Thread(target=parrot.serve_forever, args=(0.05,), daemon=True).start()
    worker = wait_listening(launch(f"redis://127.0.0.1:{parrot.server_address[1]}", wait=False))
    wait_until(lambda: "not answer as Redis does" in readiness(worker)[1], 5, "the reason")
    assert not worker.events("redis_connected")


@pytest.mark.parametrize("strays", ["urgent", "commands"])
def test_connections_that_are_at_two_masters_are_all_built_anew_at_the_newer_one(pair, address, launch, connect, strays):
    """Where Redis does not tell which process it is, an old mark or beat does."""
    a, b = pair.servers
    proxy = address(a)
    for server in pair.servers:
        server.client.execute_command("ACL", "SETUSER", "blind", "on", ">pw", "~*", "&*", "+@all", "-role", "-info")
    worker = launch(proxy.url.replace("redis://", "redis://blind:pw@"))
    works(connect, [worker])
    promote(b)
    proxy.target = b.port

    def stray():
        """Beats go by the urgent connection."""
        with a.client.monitor() as monitor:
            beat = next(seen for seen in monitor.listen() if "sb:workers" in seen["command"])
        at = f"{beat['client_address']}:{beat['client_port']}"
        [other] = [c["id"] for c in links(a, worker).values() if c["sub"] == "0" and c["addr"] != at]
        [urgent] = [c["id"] for c in links(a, worker).values() if c["addr"] == at]
        return urgent if strays == "urgent" else other

    a.client.client_kill_filter(_id=stray())
    wait_until(lambda: links(b, worker), 5, "a connection to the new master")
    assert len(links(a, worker)) == 2
    wait_until(lambda: reasons(worker).count("beats are answered by another server") >= 2, 15, "that it noticed")
    wait_until(lambda: ready(worker) and len(links(b, worker)) == 3, 8, "its connections to the new master")
    assert not links(a, worker)
    works(connect, [worker])


# Answers that come slowly, late, or not at all

def leave_drops(connect, worker, count):
    """So many peers with as much as may be left at a point; who comes there next gets it all. The point."""
    point = uid("point")
    for _ in range(count):
        answer = connect(worker).request("register_rendezvous", peerId=uid(), dailyPoints=[point], deadDrop="x" * 16000)
        assert answer["type"] == "rendezvous_result"
    return point


@pytest.fixture
def far(pair, address, launch):
    """A worker and what stands between it and Redis."""
    proxy = address(pair.servers[0])
    return launch(proxy.url), proxy


def test_a_long_answer_that_comes_slowly_costs_no_connection(far, connect):
    worker, proxy = far
    point, client = leave_drops(connect, worker, 30), connect(worker)
    proxy.pace = 32768, 0.35
    begun = time.monotonic()
    client.send(type="register_rendezvous", peerId=uid(), dailyPoints=[point])
    result = client.expect("rendezvous_result", 20)
    assert time.monotonic() - begun > 1.5 * PATIENCE, "it came too fast to show anything"
    assert len(result["deadDrops"]) == 30
    assert ready(worker) and not worker.events("redis_lost")


def test_what_was_sent_behind_a_slow_answer_is_answered_too(far, connect):
    worker, proxy = far
    point, client, others = leave_drops(connect, worker, 30), connect(worker), [connect(worker) for _ in range(10)]
    proxy.pace = 32768, 0.35
    client.send(type="register_rendezvous", peerId=uid(), dailyPoints=[point])
    time.sleep(0.2)
    for other in others:
        other.send(type="register", peerId=uid())
    for other in others:
        other.expect("registered", 20)
    client.expect("rendezvous_result", 20)
    assert not worker.events("redis_lost")


def test_an_answer_that_stops_in_the_middle_costs_the_connection_after_a_while(far, connect):
    worker, proxy = far
    point, client = leave_drops(connect, worker, 30), connect(worker)
    proxy.pace = 32768, 0.35
    client.send(type="register_rendezvous", peerId=uid(), dailyPoints=[point])
    time.sleep(1)
    stopped = time.monotonic()
    proxy.open.clear()
    assert client.recv(8)["message"] == UNAVAILABLE
    assert time.monotonic() - stopped > PATIENCE - 0.5
    assert not ready(worker)
    proxy.pace = None
    proxy.open.set()
    wait_until(lambda: ready(worker), 10, "ready again")
    works(connect, [worker])


def test_a_pause_shorter_than_the_patience_is_only_waited_for(pair, launch, connect):
    master = pair.servers[0]
    worker = launch(master.urls()[1])
    client = connect(worker)
    master.client.execute_command("CLIENT", "PAUSE", 1000)
    begun = time.monotonic()
    assert client.request("register", peerId=uid())["type"] == "registered"
    assert time.monotonic() - begun > 0.5
    assert ready(worker) and not worker.events("redis_lost")


@pytest.mark.parametrize("kind", ["ALL", "WRITE"])
def test_in_a_long_pause_all_are_told_and_after_it_all_goes_on(pair, launch, connect, kind):
    master = pair.servers[0]
    workers = [launch(url) for url in master.urls()]
    clients, answers = [connect(worker) for worker in workers], []
    master.client.execute_command("CLIENT", "PAUSE", int(5000 * SLOW), kind)
    paused = time.monotonic()

    def ask(client):
        answers.append(client.request("register", peerId=uid()))

    asking = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(10 * SLOW)
    assert [answer["message"] for answer in answers] == [UNAVAILABLE] * 2
    assert time.monotonic() - paused < 5 * SLOW
    assert not any(map(ready, workers))
    wait_until(lambda: all(map(ready, workers)), 15, "ready again")
    works(connect, workers)


def test_what_is_sent_while_workers_leave_a_demoted_master_comes_or_is_refused(pair, address, launch, connect):
    """PUBLISH still works there, and counts who hears it: also one to whom it is still on its way."""
    a, b = pair.servers
    near, far, room = address(a), address(a), uid("room")
    workers = [launch(proxy.url) for proxy in (near, far)]
    one, two = (connect(worker, "/ws") for worker in workers)
    for client in (one, two):
        client.expect("ACK")
        client.id = client.request("JOIN", room_id=room)["peer_id"]
    near.target, far.target, far.delay, sent, told = b.port, b.port, 0.1, 0, set()
    pair.swap(b)
    other = connect(workers[1])
    other.send(type="register", peerId=uid())  # its worker learns of it now, or by its next beat
    end = time.monotonic() + 3
    while time.monotonic() < end:
        one.send_all([{"type": "OFFER", "target_id": two.id, "request_id": str(sent + i), "payload": {"n": sent + i}}
                      for i in range(50)])
        sent += 50
        time.sleep(0.01)

    def is_told_of():
        for client in (one, two):
            while not client.inbox.empty():
                message = client.recv()
                told.add(message["payload"]["n"] if message["type"] == "OFFER" else message.get("request_id"))
        return {n for n in range(sent) if n not in told and str(n) not in told}

    wait_until(lambda: not is_told_of(), 8, "that what became of each is known")
