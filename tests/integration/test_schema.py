# SPDX-License-Identifier: MIT
"""The layout of the keys in Redis: its number, migrations by one worker of many, and versions that do not fit. The
newer version is signalbox-next, which is two layouts ahead (tests/next)."""
import collections
import itertools
import re
import time

import pytest

from harness import CROWD, SLOW, WORKER, Worker, free_port, http_request, metric, ready, uid, wait_until
from test_check_redis import look
from test_leader import Monitor

NEXT = WORKER.parent / "tests" / "signalbox-next"
SCHEMA, MIGRATION = "sb:schema", "sb:{sb:schema}:migration"
ENTRIES = [f"{n:05}" for n in range(20000 // SLOW)]
NEWER = re.compile(r"signalbox-worker: the keys in Redis have layout 7, and version \S+ knows none after 1: .+\n")
NO_NUMBER = re.compile(r"signalbox-worker: sb:schema in Redis is not the number of a key layout: .+\n")


@pytest.fixture
def redis(start):
    return start(0).redis


@pytest.fixture
def launch(redis, closing):
    """Starts a worker that ends with the test, however it has ended before."""
    def launch(*args, url=None, **kwargs):
        worker = Worker(url or redis.urls()[0], *args, **kwargs)
        closing.callback(lambda: worker.process.poll() is None and worker.stop())
        return worker

    return launch


def old_entries(redis, times=1):
    """What a migration copies, ten at each step; more of them where it has to last for a look at it."""
    redis.client.zadd("sb:{next}:old", dict.fromkeys(ENTRIES, 0))
    for more in range(1, times):
        redis.client.zadd("sb:{next}:old", dict.fromkeys((f"{entry}.{more}" for entry in ENTRIES), 0))


def copied(redis):
    return redis.client.hlen("sb:{next}:new")


def migrated(workers):
    """How often each layout was made."""
    return collections.Counter(event["layout"] for worker in workers for event in worker.events("schema_migrated"))


def sentences(worker):
    """What it has said besides its log, once it has ended."""
    worker.reader.join(5)
    return [line for line in worker.lines if not line.startswith("{")]


def written(redis):
    return [key for key in redis.keys() if key != SCHEMA]


def test_the_first_worker_marks_an_empty_redis_and_others_find_that(redis, launch):
    first, second = launch(), launch()
    assert redis.client.get(SCHEMA) == "1" and not redis.client.exists(MIGRATION)
    assert migrated([first]) == {1: 1} and not migrated([second])


def test_what_is_there_without_a_number_has_layout_1(redis, launch, connect):
    before = launch(DEAD_DROPS_ON_DISCONNECT="keep")
    connect(before).request("register_rendezvous", peerId=uid(), dailyPoints=["p"], deadDrop="for later")
    before.stop()
    redis.client.delete(SCHEMA)
    answer = connect(launch()).request("register_rendezvous", peerId=uid(), dailyPoints=["p"])
    assert [drop["deadDrop"] for drop in answer["deadDrops"]] == ["for later"] and redis.client.get(SCHEMA) == "1"


def test_of_eight_workers_at_once_each_migration_is_made_by_one(redis, launch):
    old_entries(redis)
    workers = [launch(url=redis.urls()[i % 2], program=NEXT, wait=False) for i in range(8)]
    for worker in workers:
        worker.wait_ready()
    assert migrated(workers) == {1: 1, 2: 1, 3: 1}
    assert redis.client.get(SCHEMA) == "3" and redis.client.get("sb:{next}:third") == "1"
    assert redis.client.hgetall("sb:{next}:new") == {entry: f"new {entry}" for entry in ENTRIES}
    assert set(redis.client.hvals("sb:{next}:runs")) == {"1"}
    assert not redis.client.exists(MIGRATION)


def test_nobody_is_ready_or_writes_before_the_migration_is_done(redis, launch):
    old_entries(redis, 6)
    first, second = (launch(program=NEXT, wait=False) for _ in range(2))
    seen = 0
    while redis.client.get(SCHEMA) != "3":
        others = [key for key in written(redis) if "next" not in key and key != MIGRATION]
        if redis.client.get(SCHEMA) == "3":
            break
        assert not others
        for worker in first, second:
            worker.port = wait_until(lambda w=worker: w.events("listening"), 10, "listening")[0]["port"]
            status, _, body = http_request(worker, "GET", "/ready")
            assert redis.client.get(SCHEMA) == "3" or status == 503
            seen += body.get("error") == "the key layout in redis is not ready"
    for worker in first, second:
        worker.wait_ready()
    assert seen


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_a_migration_goes_on_where_it_was_when_its_worker_is(redis, launch, how):
    old_entries(redis)
    first = launch(program=NEXT, wait=False)
    wait_until(lambda: copied(redis) > 100, 10, "the first steps")
    if how == "killed":
        first.kill9()
    else:
        first.pause()
    at = copied(redis)
    assert at < len(ENTRIES) and redis.client.hget(MIGRATION, "wid") == first.wid
    second = launch(program=NEXT)
    runs = collections.Counter(redis.client.hvals("sb:{next}:runs"))
    assert runs["1"] >= len(ENTRIES) - 10 and runs["1"] + runs["2"] == copied(redis) == len(ENTRIES)
    assert migrated([first, second]) == {1: 1, 2: 1, 3: 1} and migrated([second]) == {2: 1, 3: 1}
    if how == "frozen":
        first.resume()
        first.wait_ready()
        assert collections.Counter(redis.client.hvals("sb:{next}:runs")) == runs
        assert redis.client.get("sb:{next}:third") == "1" and migrated([first]) == {1: 1}


def test_a_migration_goes_on_when_its_connection_is_lost(redis, launch):
    old_entries(redis)
    worker = launch(program=NEXT, wait=False)
    for part in 100, 5000 // SLOW:
        wait_until(lambda p=part: copied(redis) > p, 10, "some steps")
        redis.client.client_kill_filter(_type="normal", skipme=True)
    worker.wait_ready()
    assert migrated([worker]) == {1: 1, 2: 1, 3: 1} and copied(redis) == len(ENTRIES)
    assert len(worker.events("redis_lost")) >= 2


def test_a_migration_that_redis_refuses_is_tried_again_until_it_takes_it(redis, launch):
    redis.client.set("sb:{next}:third", "no number")
    worker = launch(program=NEXT, wait=False)
    wait_until(lambda: len(worker.events("script_failed")) >= 2, 10, "two tries")
    assert redis.client.get(SCHEMA) == "2" and worker.process.poll() is None
    redis.client.delete("sb:{next}:third")
    worker.wait_ready()
    assert redis.client.get(SCHEMA) == "3"


def test_a_redis_that_comes_back_empty_is_marked_again(redis, launch, connect):
    workers = [launch(), launch()]
    redis.stop()
    redis.start()
    for worker in workers:
        wait_until(lambda w=worker: ready(w), 8, "/ready 200")
    assert redis.client.get(SCHEMA) == "1" and migrated(workers) == {1: 2}
    assert connect(workers[0]).request("register", peerId=uid())["type"] == "registered"


def test_a_redis_that_is_emptied_is_marked_again(redis, launch):
    worker = launch()
    wait_until(lambda: redis.client.exists(f"sb:worker:{worker.wid}"), 5, "the lease, whose loss is noticed")
    redis.client.flushall()
    wait_until(lambda: redis.client.get(SCHEMA) == "1", 6, "the mark")
    assert ready(worker) and not worker.events("redis_lost")


@pytest.mark.parametrize("args", [(), ("--processes", "2")])
@pytest.mark.parametrize("stands, told", [("7", NEWER), ("abc", NO_NUMBER), ("0", NO_NUMBER), ("-3", NO_NUMBER)])
def test_a_worker_ends_with_one_sentence_where_the_layout_is_not_for_it(redis, launch, args, stands, told):
    redis.client.set(SCHEMA, stands)
    begun = time.monotonic()
    worker = launch(*args, wait=False, PORT=free_port(), DRAIN_SECONDS=20)
    assert worker.process.wait(10 * SLOW) == 1 and time.monotonic() - begun < 3 * SLOW * CROWD
    assert set(map(bool, map(told.fullmatch, sentences(worker)))) == {True} and len(set(sentences(worker))) == 1
    assert len(worker.events("start")) <= 2 and not worker.events("worker_ended")
    assert not written(redis) and redis.client.get(SCHEMA) == stands


def test_so_it_is_where_something_else_stands_there(redis, launch):
    redis.client.hset(SCHEMA, "a", "b")
    worker = launch(wait=False)
    assert worker.process.wait(10 * SLOW) == 1 and NO_NUMBER.fullmatch(*sentences(worker))
    assert redis.keys() == [SCHEMA]


@pytest.mark.parametrize("args", [(), ("--processes", "2")])
def test_a_worker_that_finds_a_newer_layout_lets_its_clients_go_and_ends(redis, launch, connect, args):
    worker = launch(*args, DRAIN_SECONDS=1, PORT=free_port())
    clients = [connect(worker) for _ in range(6)]
    for client in clients:
        wait_until(lambda c=client: c.request("register", peerId=uid())["type"] == "registered", 5, "its registration")
    redis.client.set(SCHEMA, 7)
    redis.client.client_kill_filter(_type="normal", skipme=True)
    wait_until(lambda: worker.events("schema_refused"), 8, "the refusal")
    for client in clients:
        assert client.expect_close()[0] == 1001
    assert worker.process.wait(15 * SLOW) == 1
    assert NEWER.fullmatch(sentences(worker)[0]) and len(set(sentences(worker))) == 1
    assert not worker.events("worker_ended")
    assert redis.client.hlen("sb:{relays}:all") == len(clients)  # what they had registered is for others to clean up


def test_old_workers_go_on_while_a_newer_one_migrates_and_beside_it(redis, launch, connect):
    old_entries(redis)
    old = [launch(MESSAGE_RATE=0), launch(MESSAGE_RATE=0)]
    a, b = (connect(worker) for worker in old)
    peers = [uid(), uid()]
    assert a.request("register", peerId=peers[0])["type"] == "registered"
    new = launch(program=NEXT, wait=False)
    while redis.client.get(SCHEMA) != "3":
        assert peers[0] in b.relays()
    new.wait_ready()
    c = connect(new)
    assert b.request("register", peerId=peers[1])["type"] == "registered"
    assert set(peers) <= set(c.relays()) and all(map(ready, old))
    refused = launch(wait=False)
    assert refused.process.wait(10 * SLOW) == 1
    assert "layout 3" in sentences(refused)[0] and all(map(ready, [*old, new]))
    for worker in old:
        worker.stop()
    assert c.request("ping")["type"] == "pong" and ready(new)


GREETING = re.compile(r'"(CLIENT|HELLO|AUTH|SELECT|ROLE|INFO|PING)"', re.I)
HEARING = re.compile(r'"(UN)?SUBSCRIBE"', re.I)


def sent_by(worker, lines):
    """What it has sent on each connection to which it gave its name meanwhile."""
    sent = collections.defaultdict(list)
    for _, who, command in lines:
        sent[who].append(command)
    return [commands for commands in sent.values() if any(f'"signalbox-{worker.wid}"' in one for one in commands)]


def done_by(command, lines):
    """What the script does that this command runs."""
    at = [one for _, _, one in lines].index(command)
    return [one for _, _, one in itertools.takewhile(lambda line: line[1] == "lua", lines[at + 1:])]


def test_a_blip_amid_an_upgrade_drains_the_old_workers_and_they_send_nothing_more(redis, launch, connect, closing):
    old = [launch(url=redis.urls()[1], DRAIN_SECONDS=1) for _ in range(2)]
    clients = [connect(worker) for worker in old]
    for client in clients:
        assert client.request("register", peerId=uid())["type"] == "registered"
    new = launch(program=NEXT)
    assert redis.client.get(SCHEMA) == "3" and all(map(ready, [*old, new]))
    monitor = Monitor(redis)
    closing.callback(monitor.close)
    for client in redis.client.client_list():
        if client["name"].startswith("signalbox-"):
            redis.client.client_kill_filter(_id=client["id"])
    for worker, client in zip(old, clients):
        assert client.expect_close()[0] == 1001
        assert worker.process.wait(15 * SLOW) == 1
        assert "layout 3, and version" in sentences(worker)[0] and len(sentences(worker)) == 1
    redis.client.echo("the end")
    wait_until(lambda: any('"the end"' in line[2] for line in list(monitor.lines)), 5, "all that was sent")
    for worker in old:
        sent = sent_by(worker, monitor.lines)
        assert len(sent) == 3 and all(GREETING.match(commands[0]) for commands in sent)
        [question] = {one for one in sum(sent, []) if not GREETING.match(one) and not HEARING.match(one)}
        assert f'"{SCHEMA}" "{MIGRATION}"' in question
        assert done_by(question, monitor.lines) == ['"TIME"', f'"GET" "{SCHEMA}"']
    wait_until(lambda: ready(new) and not redis.client.hlen("sb:{relays}:all"), 20, "the new one cleans up")
    assert connect(new).request("register", peerId=uid())["type"] == "registered"


def test_a_worker_is_ready_soon_after_its_start(redis, launch):
    launch()
    before = redis.client.info("commandstats")["cmdstat_eval"]["calls"]
    begun = time.monotonic()
    launch()
    assert time.monotonic() - begun < 1 * SLOW * CROWD
    assert redis.client.info("commandstats")["cmdstat_eval"]["calls"] - before == 1


@pytest.mark.parametrize("stands, level, words", [
    (None, "ok", "no number yet: the first worker makes it 1"), ("1", "ok", "1, that of this version"),
    ("7", "bad", "layout 7"), ("abc", "bad", "not the number of a key layout")])
def test_a_check_of_redis_tells_the_layout(redis, stands, level, words):
    if stands:
        redis.client.set(SCHEMA, stands)
    found = look(redis.urls()[0])["layout"]
    assert found[0] == level and words in found[1]
    assert redis.client.get(SCHEMA) == stands


def test_nothing_of_a_worker_that_starts_is_refused_because_the_layout_is_not_known_yet(redis, launch):
    none = 503, {"error": "No workers available"}
    for _ in range(5):
        worker = launch()
        wait_until(lambda w=worker: http_request(w, "POST", "/bootstrap", "{}")[::2] == none, 5, "the pool, which is read")
        assert metric(worker, "signalbox_redis_refused_total") == 0
