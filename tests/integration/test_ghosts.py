# SPDX-License-Identifier: MIT
"""Redis goes back to an older state, by a restart or by moving to a replica that lagged. What had ended since is there
again, and has to go once more; who is open stays and is reached."""
import pytest

from harness import Redis, Worker, ready, uid, wait_until
from proxy import Proxy
from test_rooms import joined, welcomed

ENV = {"IP_CONNECT_RATE": 0, "IP_CONNECTIONS_MAX": 0, "MESSAGE_RATE": 0, "ROOM_TTL_MS": 200}
GONE, GHOST = "gone", "deadbeef"


@pytest.fixture
def fleet(start):
    return start(**ENV)


def open_each(connect, worker, name):
    """A client of each kind, which has registered what begins with that name."""
    relay, drop, source = (connect(worker) for _ in range(3))
    relay.request("register", peerId=uid(name))
    drop.request("register_rendezvous", peerId=uid(name), dailyPoints=[uid(name)], hourlyTokens=[uid(name)], deadDrop="d")
    source.request("chunk_announce", peerId=uid(name), chunks=[{"chunkId": uid(name), "routingHash": "h"}])
    roomer = joined(welcomed(connect(worker, "/ws")), uid(name))
    caller, app = connect(worker, "/signal/ghosts"), connect(worker, "/client")
    register(caller, uid(name))
    return [relay, drop, source, roomer, caller, app]


def register(caller, code):
    caller.send(type="register", pairingCode=code)
    caller.expect("registered")
    caller.code = code


def named(redis, text=GONE):
    """What in Redis is named so."""
    found = []
    for key in redis.scan_iter("*", 1000):
        kind = redis.type(key)
        content = (redis.hgetall(key) if kind == "hash" else redis.zrange(key, 0, -1) if kind == "zset" else
                   redis.smembers(key) if kind == "set" else redis.get(key))
        if text in f"{key} {content}":
            found.append(f"{key} {content}"[:200])
    return found


def goes(redis):
    wait_until(lambda: not named(redis), 15, "the end of what had come back")


def restart(fleet):
    """Back to what it saved last."""
    fleet.redis.stop()
    fleet.redis.start()


def all_ready(fleet):
    wait_until(lambda: all(map(ready, fleet.workers)), 10, "ready")


def reaches(connect, worker, here):
    """Each of those that are here is offered and reached, from that worker."""
    relay, room, code = here[0], here[3], here[4]
    watcher, friend = connect(worker), connect(worker, "/signal/ghosts")
    assert relay.request("ping") == {"type": "pong"}
    assert len([peer for peer in watcher.relays() if peer.startswith("here")]) == 1
    register(friend, uid("friend"))
    friend.send(type="offer", target=code.code, payload=1)
    while code.recv()["type"] != "offer":
        pass
    guest = joined(welcomed(connect(worker, "/ws")), room.room)
    assert len(guest.peers) == 2
    guest.send(type="OFFER", target_id=room.id, payload=2)
    while room.recv()["type"] != "OFFER":
        pass


@pytest.mark.parametrize("when", ["before Redis ends", "while it is away"])
def test_who_closed_after_the_snapshot_is_not_there_when_redis_is_back(fleet, connect, when):
    here, gone = (open_each(connect, fleet.workers[0], name) for name in ("here", GONE))
    fleet.redis.client.save()
    if when == "before Redis ends":
        for client in gone:
            client.close()
        goes(fleet.redis.client)
        restart(fleet)
    else:
        fleet.redis.stop()
        for client in gone:
            client.close()
        fleet.redis.start()
    assert named(fleet.redis.client)
    all_ready(fleet)
    goes(fleet.redis.client)
    reaches(connect, fleet.workers[1], here)


def test_what_an_open_socket_had_let_go_of_is_let_go_of_again(fleet, connect):
    worker, other = fleet.workers
    here, room = open_each(connect, worker, "here"), uid(GONE)
    leaver, mover = (joined(welcomed(connect(worker, "/ws")), room) for _ in range(2))
    caller = connect(worker, "/signal/ghosts")
    register(caller, uid(GONE))
    fleet.redis.client.save()
    leaver.expect("PEER_JOINED")
    assert leaver.request("LEAVE")["type"] == "ACK"
    mover.expect("PEER_LEFT")
    joined(mover, uid("here"))
    register(caller, uid("here"))
    goes(fleet.redis.client)
    restart(fleet)
    all_ready(fleet)
    goes(fleet.redis.client)
    reaches(connect, other, here)
    for text in caller.code, mover.room:
        assert named(fleet.redis.client, text)
    assert [client.closed for client in (leaver, mover, caller)] == [None] * 3


def test_what_is_claimed_while_ghosts_are_looked_for_stays(fleet, connect):
    worker, redis = fleet.workers[0], fleet.redis.client
    caller = connect(worker, "/signal/ghosts")
    register(caller, "first")
    for i in range(20):
        redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        wait_until(lambda: len(worker.events("redis_connected")) > 2 + i and ready(worker), 10, "Redis again")
        codes = [f"code-{i}-{n}" for n in range(30)]
        for code in codes:
            register(caller, code)
        assert redis.hget(f"sb:{{code:ghosts:{codes[-1]}}}", "addr")
    wait_until(lambda: redis.keys("sb:{code:ghosts:*") == [f"sb:{{code:ghosts:{codes[-1]}}}"], 10, "its last code alone")


def test_a_worker_that_the_older_roster_does_not_name_is_cleaned_up_after(fleet):
    redis, peer = fleet.redis.client, uid(GONE)
    redis.hset(f"sb:{{peer:{peer}}}", "addr", f"{GHOST}.1")
    redis.sadd(f"sb:{{own:{GHOST}}}", 1)
    redis.zadd(f"sb:{{own:{GHOST}}}:1", {f"peer\t{peer}": "inf"})
    redis.save()
    restart(fleet)
    all_ready(fleet)
    goes(redis)
    wait_until(lambda: not named(redis, GHOST), 5, "its name")


def test_a_worker_that_died_after_the_snapshot_is_cleaned_up_after_again(fleet, connect):
    dead = Worker(fleet.redis.urls()[0], **ENV)
    fleet.workers.append(dead)
    open_each(connect, dead, GONE)
    fleet.redis.client.save()
    dead.kill9()
    goes(fleet.redis.client)
    restart(fleet)
    fleet.workers.pop()
    all_ready(fleet)
    goes(fleet.redis.client)


def test_once_a_minute_a_worker_looks_for_what_came_late(fleet, connect):
    """What was sent on a connection that was given up may be run after the undo of its socket."""
    worker, redis, peer = fleet.workers[0], fleet.redis.client, uid(GONE)
    client = connect(worker)
    client.request("register", peerId=peer)
    sid = redis.hget(f"sb:{{peer:{peer}}}", "addr").split(".")[1]
    client.close()
    goes(redis)
    redis.sadd(f"sb:{{own:{worker.wid}}}", sid)
    redis.zadd(f"sb:{{own:{worker.wid}}}:{sid}", {f"peer\t{peer}": "inf"})
    redis.hset(f"sb:{{peer:{peer}}}", "addr", f"{worker.wid}.{sid}")
    wait_until(lambda: not named(redis), 70, "the end of what came late")


@pytest.fixture
def pair_of_servers(closing):
    """A master and its replica."""
    servers = []
    for _ in range(2):
        servers.append(Redis())
        closing.callback(servers[-1].close)
    master, replica = servers
    replica.client.replicaof("127.0.0.1", master.port)
    wait_until(lambda: replica.client.info("replication")["master_link_status"] == "up", 10, "the replica")
    return master, replica


def settled(master, replica):
    """The replica has all that the master has."""
    wait_until(lambda: master.client.wait(1, 100) == 1, 10, "the replica's acknowledgement")


def move(master, replica, proxies):
    """The address names the other server from now on."""
    for proxy in proxies:
        proxy.target = replica.port
    for kind in "normal", "pubsub":
        master.client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


def test_who_left_between_the_loss_of_the_old_master_and_the_move_is_not_offered(connect, closing, pair_of_servers):
    master, replica = pair_of_servers
    proxy = Proxy(master.port)
    closing.callback(proxy.close)
    workers = [Worker(proxy.url, **ENV) for _ in range(2)]
    for worker in workers:
        closing.callback(worker.stop)
    here, gone = (open_each(connect, workers[0], name) for name in ("here", GONE))
    settled(master, replica)
    replica.client.replicaof("no", "one")
    for client in gone:
        client.close()
    goes(master.client)
    move(master, replica, [proxy])
    wait_until(lambda: all(worker.events("redis_lost") and ready(worker) for worker in workers), 10, "ready again")
    goes(replica.client)
    reaches(connect, workers[1], here)
