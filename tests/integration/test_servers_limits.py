# SPDX-License-Identifier: MIT
"""How many servers are listed, how long an entry may be, what a list costs, and that a write counts once."""
import threading

import pytest

from harness import SLOW, wait_until
from registry_client import (Key, ask, ask_signed, compact, connection_to, now_ms, raw, refused, server, servers, signature)
from test_servers import DONE, beat, enroll, path_of
from test_servers_writers import UNAUTHORIZED

FULL = refused(507, "Storage limit reached")


def calls_of(fleet, command):
    return fleet.redis.client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"]


def test_over_the_limit_new_servers_are_refused_and_others_go_on(start):
    pair = start(SERVERS_MAX=5, IP_CONNECT_RATE=0).workers
    for i in range(5):
        enroll(pair[i % 2], server(f"s{i}"))
    for worker in pair:
        assert ask(worker, "POST", "/servers", server("one more")) == FULL
    enroll(pair[0], server("s1", endpoint="wss://new"))
    assert beat(pair[1], "s1")[0] == 200 and len(servers(pair[1])) == 5
    assert ask(pair[1], "DELETE", path_of("s3")) == DONE
    enroll(pair[0], server("one more"))
    assert ask(pair[1], "POST", "/servers", server("s3")) == FULL


def test_servers_that_ended_make_room(start):
    worker = start(1, SERVERS_MAX=3, SERVER_TTL_MS=int(500 * SLOW), IP_CONNECT_RATE=0).workers[0]
    for i in range(3):
        enroll(worker, server(f"s{i}"))
    wait_until(lambda: ask(worker, "POST", "/servers", server("new"))[0] == 200, 5, "room")
    wait_until(lambda: servers(worker).keys() == {"new"}, 5, "the end of the others")


@pytest.mark.parametrize("fields, name", [
    ({"endpoint": "\x01" * 700}, "endpoint"), ({"publicKey": "\x01" * 700}, "publicKey"),
    ({"endpoint": "x" * 2048, "publicKey": "y" * 2047}, "endpoint"),
    ({"endpoint": "x" * 2048, "publicKey": "y" * 1900, "region": "z" * 256}, "endpoint"),
    ({"endpoint": "x" * 1990, "publicKey": "\"" * 1000}, "publicKey")])
def test_an_entry_has_four_kib_at_most(fleet, fields, name):
    assert ask(fleet.workers[0], "POST", "/servers", server(**fields)) == refused(400, f"Invalid field: {name}")


def test_an_entry_of_four_kib_is_taken(fleet):
    given = server("s" * 20, endpoint="x" * 2048, publicKey="y" * 1890)
    entry = enroll(fleet.workers[0], given)
    assert 4000 < len(compact(entry)) <= 4096
    assert servers(fleet.workers[1])[given["serverId"]] == entry
    assert ask(fleet.workers[0], "DELETE", path_of(given["serverId"])) == DONE


def test_a_full_list_is_read_from_redis_once_a_second_however_many_ask(start):
    fleet = start(1, SERVERS_MAX=200, IP_CONNECT_RATE=0)
    worker = fleet.workers[0]
    for i in range(200):
        enroll(worker, server(f"s{i}", endpoint="x" * 2000))
    begun, before = now_ms(), calls_of(fleet, "hget")
    answers = []

    def read():
        connection = connection_to(worker)
        answers.extend(raw(worker, "GET", "/servers", connection=connection)[2] for _ in range(25))
        connection.close()

    threads = [threading.Thread(target=read, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60 * SLOW)
    for i in range(50):
        assert len(beat(worker, f"s{i}")[1]["peers"]) == 199
    seconds = (now_ms() - begun) / 1000
    assert len(answers) == 200 and len(servers(worker)) == 200
    assert calls_of(fleet, "hget") - before - 50 <= 200 * (seconds + 2), "that is how often the list was built"


def test_a_write_shows_at_once_wherever_the_list_is_read(fleet):
    for i in range(20):
        for worker in fleet.workers:
            servers(worker)
        enroll(fleet.workers[i % 2], server("at once", region=f"r{i}"))
        assert {servers(worker)["at once"]["region"] for worker in fleet.workers} == {f"r{i}"}
    assert ask(fleet.workers[0], "DELETE", path_of("at once")) == DONE
    assert all("at once" not in servers(worker) for worker in fleet.workers)


# Signed writes

@pytest.fixture
def signing(start):
    return start(SERVER_REGISTRATION="signed", IP_CONNECT_RATE=0).workers


def signed_post(key, entry, timestamp=None):
    body = compact(entry).encode()
    return "POST", "/servers", body, signature(key, "POST", "/servers", body, timestamp)


def test_an_old_write_brings_no_old_endpoint_back(signing):
    key = Key()
    old = signed_post(key, server("mine", publicKey=key.public, endpoint="wss://old"))
    new = signed_post(key, server("mine", publicKey=key.public, endpoint="wss://new"))
    assert ask(signing[0], *old)[0] == ask(signing[1], *new)[0] == 200
    for replay in old, new:
        assert ask(signing[0], *replay) == ask(signing[1], *replay) == UNAUTHORIZED
    assert servers(signing[0])["mine"]["endpoint"] == "wss://new"


def test_a_write_from_before_a_removal_brings_nothing_back(signing):
    key = Key()
    posted = signed_post(key, server("mine", publicKey=key.public))
    removal = "DELETE", "/servers/mine", None, signature(key, "DELETE", "/servers/mine")
    assert ask(signing[0], *posted)[0] == 200
    assert ask(signing[1], *removal) == DONE
    assert ask(signing[0], *posted) == ask(signing[1], *posted) == UNAUTHORIZED
    assert ask(signing[0], *removal) == DONE, "it is gone, as was asked"
    assert ask_signed(signing[1], key, "POST", "/servers", server("mine", publicKey=key.public))[0] == 200
    assert ask(signing[0], *removal) == UNAUTHORIZED
    assert servers(signing[1]).keys() == {"mine"}


def test_an_old_heartbeat_keeps_nothing_alive(signing):
    key = Key()
    body = compact({"serverId": "mine"}).encode()
    assert ask_signed(signing[0], key, "POST", "/servers", server("mine", publicKey=key.public))[0] == 200
    headers = signature(key, "POST", "/servers/heartbeat", body)
    assert ask(signing[0], "POST", "/servers/heartbeat", body, headers)[0] == 200
    assert ask(signing[1], "POST", "/servers/heartbeat", body, headers) == UNAUTHORIZED


def test_of_one_write_on_all_workers_at_once_one_counts(signing):
    key = Key()
    for i in range(20):
        post, got = signed_post(key, server("mine", publicKey=key.public, region=f"r{i}")), []
        threads = [threading.Thread(target=lambda w=worker: got.append(ask(w, *post)[0])) for worker in signing * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30 * SLOW)
        assert sorted(got) == [200, 401, 401, 401]


def test_a_stranger_cannot_keep_an_owner_out_by_removing_what_is_not_there(signing):
    owner = Key()
    ahead = signature(Key(), "DELETE", "/servers/mine", timestamp=now_ms() + 55_000)
    assert ask(signing[0], "DELETE", "/servers/mine", headers=ahead) == DONE
    assert ask_signed(signing[1], owner, "POST", "/servers", server("mine", publicKey=owner.public))[0] == 200
