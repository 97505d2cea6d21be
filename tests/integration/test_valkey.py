# SPDX-License-Identifier: MIT
"""Valkey in Redis' place. All other tests run with it, too: REDIS_SERVER=valkey-server ./signalbox test integration"""
import random
import shutil

import pytest

from crowd import Crowd
from crowd_roles import populate
from harness import Redis, Worker, free_port, metric, ready, wait_until
from invariants import leftovers, persists, strays
from redis_rigs import Group, Sentinel, Sentinels, links, readiness
from test_chaos import ENV, describe
from test_check_redis import GOOD, levels, look
from test_redis_roles import wait_listening, works

VALKEY = "valkey-server"
pytestmark = pytest.mark.skipif(not shutil.which(VALKEY), reason="valkey-server is not installed")


@pytest.fixture
def server(closing):
    def server(*options):
        one = Redis(*options, program=VALKEY)
        closing.callback(one.close)
        return one

    return server


@pytest.fixture
def launch(closing):
    def launch(url, **options):
        worker = Worker(url, **ENV, **options)
        closing.callback(worker.stop)
        return worker

    return launch


def test_clients_of_all_dialects_reach_each_other_and_leave_nothing_behind(closing, server, launch):
    one = server()
    workers = [launch(url) for url in one.urls()]
    crowd = Crowd([worker.port for worker in workers], random.randrange(1 << 32), 0.3)
    populate(crowd, 60)
    closing.callback(crowd.stop)
    crowd.start()
    wait_until(lambda: crowd.failure or all(client.settlings for client in crowd.clients), 20, "everybody settled")
    crowd.prove()
    unproved = persists(lambda: not crowd.failure and [c for c in crowd.clients if not c.proved], 15)
    assert not crowd.failure and not unproved, describe(crowd, unproved)
    assert not (wrong := persists(lambda: strays(one.client, workers, crowd), 10)), wrong
    assert not [error for worker in workers for error in worker.events("script_failed")]
    assert metric(workers, "signalbox_redis_errors_total") == 0
    crowd.stop()
    assert not (left := persists(lambda: leftovers(one.client), 10)), left


def test_check_redis_finds_nothing_wrong_with_it(server):
    found = look(server(*GOOD).urls()[1])
    assert not levels(found) and found["version"][1].startswith("Valkey ")


def test_a_node_of_a_cluster_is_told(server, launch):
    url = server("--cluster-enabled", "yes", "--cluster-port", str(free_port())).urls()[1]
    assert levels(look(url))["mode"] == "bad"
    worker = wait_listening(launch(url, wait=False))
    wait_until(lambda: "cluster" in readiness(worker)[1], 5, "the reason")


def test_its_sentinels_are_followed(closing, launch, connect):
    group = Group(closing, 3, lambda *options: Redis(*options, program=VALKEY))
    sentinels = Sentinels(closing, group, make=lambda lines: Sentinel(lines, program=VALKEY))
    workers = [launch(sentinels.url()) for _ in range(2)]
    works(connect, workers)
    group.servers[0].stop()
    new = wait_until(lambda: (found := sentinels.master()) is not group.servers[0] and found, 10, "another master")
    wait_until(lambda: all(ready(worker) and len(links(new, worker)) == 3 for worker in workers), 8, "the workers there")
    works(connect, workers)
