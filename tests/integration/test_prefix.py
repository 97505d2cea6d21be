# SPDX-License-Identifier: MIT
"""Fleets that share one Redis know nothing of each other: in two databases of it, and with two prefixes in one."""
import time

import pytest

from crowd import Crowd
from crowd_roles import populate
from harness import Redis, Worker, metric, uid, wait_until
from invariants import persists
from test_acl import do_all, launch
from test_chaos import ENV
from test_check_redis import GOOD, levels, look, mend
from test_rooms import joined, welcomed
from test_signal import hear, registered


@pytest.fixture
def redis(closing):
    server = Redis(*GOOD)
    closing.callback(server.close)
    return server


def urls(redis, db=0):
    return [f"unix://{redis.socket}?db={db}", f"redis://127.0.0.1:{redis.port}/{db}"]


@pytest.fixture
def two(redis, closing):
    """A fleet in database 0 and one in database 1: lists of two workers each."""
    fleets = [[Worker(url, **ENV) for url in urls(redis, db)] for db in range(2)]
    for worker in sum(fleets, []):
        closing.callback(worker.stop)
    return fleets


def listeners(redis, *channels):
    return [count for _, count in redis.client.pubsub_numsub(*channels)]


def test_rooms_of_one_name_in_two_databases_are_two_rooms(two, connect):
    room, text = uid("room"), {"sdp": "x"}
    (a, b), (c, d) = ([joined(welcomed(connect(worker, "/ws")), room) for worker in fleet] for fleet in two)
    for first, second in (a, b), (c, d):
        assert first.expect("PEER_JOINED")["peer_id"] == second.id
        first.send(type="OFFER", target_id=second.id, payload=text)
        assert second.expect("OFFER")["peer_id"] == first.id
    d.close()
    assert c.expect("PEER_LEFT")["peer_id"] == d.id
    for client in a, b, c:
        client.silence()


def test_who_is_in_a_room_of_signal_is_not_told_of_those_in_another_database(two, connect):
    path = f"/signal/{uid('room')}"
    (a, b), (c, d) = ([registered(connect(worker, path)) for worker in fleet] for fleet in two)
    for first, second in (a, b), (c, d):
        assert hear(first, "peer_joined")["pairingCode"] == second.code
    d.close()
    assert hear(c, "peer_left")["pairingCode"] == d.code
    for client in a, b, c:
        client.silence()


def test_nobody_listens_where_another_database_publishes(redis, two):
    for fleet, head in zip(two, ("sb:", "sb:db1/")):
        for worker in fleet:
            wait_until(lambda w=worker: listeners(redis, f"{head}inbox:{w.wid}") == [1], 5, "its inbox")
    assert listeners(redis, "sb:pool", "sb:db1/pool") == [2, 2]
    assert len(redis.client.pubsub_channels()) == 6


def test_a_prefix_that_looks_like_a_database_is_another(redis, two, closing):
    worker = Worker(urls(redis)[0], **ENV, REDIS_PREFIX="sb:db1:")
    closing.callback(worker.stop)
    assert listeners(redis, "sb:db1/pool", "sb:db1:pool") == [2, 1]


def crowd_of(fleet, closing):
    crowd = Crowd([worker.port for worker in fleet], 1, pace=0.3)
    populate(crowd, 80)
    closing.callback(crowd.stop)
    crowd.start()
    return crowd


def test_crowds_of_the_same_names_live_beside_each_other_with_two_prefixes(redis, closing):
    prefixes = "blue-1:", "A" * 31 + "_"
    fleets = [[Worker(url, **ENV, REDIS_PREFIX=prefix) for url in urls(redis)] for prefix in prefixes]
    for worker in sum(fleets, []):
        closing.callback(worker.stop)
    crowds = [crowd_of(fleet, closing) for fleet in fleets]
    for crowd in crowds:
        wait_until(lambda c=crowd: c.failure or all(one.settlings for one in c.clients), 20, "everybody settled")
    seen, end = set(), time.monotonic() + 3
    while time.monotonic() < end:
        seen |= {*redis.keys(), *redis.client.pubsub_channels()}
        time.sleep(0.1)
    for crowd in crowds:
        crowd.prove()
        assert not persists(lambda c=crowd: [client.name for client in c.clients if not client.proved], 15)
        assert not crowd.failure and not crowd.unanswered(10)
    assert not [name for name in seen if not name.startswith(prefixes)]
    names = [{name[len(prefix):] for name in seen if name.startswith(prefix)} for prefix in prefixes]
    assert names[0] & names[1] > {"schema", "workers", "leader", "pool", "{relays}:all", "{rooms}:all", "{pool}"}
    for fleet in fleets:
        assert metric(fleet, "signalbox_redis_errors_total") == 0


def test_a_fleet_with_a_prefix_needs_the_rights_that_the_check_asks_for_and_no_other(redis, closing, connect):
    prefix, database = "blue-1:", 3
    redis.client.execute_command("ACL", "SETUSER", "few", "on", ">pw", "resetchannels", "+info", "+config|get")
    url = f"redis://few:pw@127.0.0.1:{redis.port}/{database}"
    for _ in range(2):  # a command that is refused is not asked for its keys
        mend(look(url, REDIS_PREFIX=prefix)["rights"][1])
    assert not levels(look(url, REDIS_PREFIX=prefix))
    user = redis.client.acl_getuser("few")
    assert (user["keys"], user["channels"]) == (["~blue-1:*"], ["&blue-1:*"])
    redis.client.acl_log_reset()
    do_all(connect, [launch(closing, url, REDIS_PREFIX=prefix) for _ in range(2)])
    assert not redis.client.acl_log()
    assert levels(look(url)) == {"layout": "warn", "rights": "bad"}, "the names of others are not for it"
