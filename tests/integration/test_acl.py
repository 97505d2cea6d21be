# SPDX-License-Identifier: MIT
"""The user with few rights that README.md gives to workers: it is refused nothing, and every right of it is needed."""
import hashlib
import hmac
import re

import pytest
from redis import Redis as RedisClient

from harness import ROOT, Redis, Worker, get, http_request, uid, wait_until
from registry_client import Key, Reference, ask, bearer, challenged, register, server, servers, verify
from test_app import ask as ask_to_pair
from test_app import open_app
from test_chunks import announce, data_of, push, wait_in_vain
from test_check_redis import GOOD, levels, look
from test_readme import block
from test_rooms import joined, welcomed
from test_signal import hear, registered

LINE = block("", "user signalbox").strip()
KEY, SECRET, POOL = Key(), "s3cret-of-the-ci", "our-secret"


@pytest.fixture
def redis(tmp_path, closing):
    """One that has the user as the README gives it, and urls of the database that the user works in."""
    (tmp_path / "users.acl").write_text(LINE + "\n")
    server = Redis(*GOOD, "--aclfile", str(tmp_path / "users.acl"))
    closing.callback(server.close)
    server.few = [f"unix://signalbox:our-password@{server.socket}?db=3",
                  f"redis://signalbox:our-password@127.0.0.1:{server.port}/3"]
    return server


def commands():
    return {word[1:] for word in LINE.split() if word.startswith("+")}


def test_the_readme_names_the_commands_of_scripts_and_worker_and_no_other(redis):
    known = {name.lower() for name in redis.client.command()}
    used = set()
    for script in ROOT.glob("redis-lua/*/*.lua"):
        used |= set(re.findall(r"redis\.p?call\('(\w+)'", script.read_text()))
        assert script.read_text().count("redis.call(") == len(re.findall(r"redis\.call\('\w+'", script.read_text()))
    for source in ROOT.glob("worker/**/*.c"):
        if source.parent.name != "doctor":
            used |= set(re.findall(r'"([A-Z]{3,})[" ]', source.read_text()))
    used = {word.lower() for word in used} & known - {"auth", "client", "script", "readonly"}
    assert commands() == used | {"client|setname", "script|load"}


def launch(closing, url, **env):
    worker = Worker(url, ATTESTATION_SIGNING_KEY=KEY.seed, CI_UPLOAD_SECRET=SECRET, WORKER_SHARED_KEY=POOL,
                    IP_CONNECT_RATE=0, CHUNK_PULL_TIMEOUT_MS=500, **env)
    closing.callback(worker.stop)
    return worker


@pytest.fixture
def pair(redis, closing):
    workers = [launch(closing, url) for url in redis.few]
    yield redis, workers
    assert not redis.client.acl_log()
    for worker in workers:
        assert not worker.events("redis_error") and not worker.events("script_failed")


def meet(a, b):
    peer, token = uid(), uid("token")
    assert a.request("register", peerId=peer, maxConnections=20)["type"] == "registered"
    assert a.request("update_load", peerId=peer, connectedCount=15)["type"] != "error"
    assert a.request("update_load", peerId=peer, connectedCount=1)["type"] != "error"
    fields = {"dailyPoints": [token], "hourlyTokens": [token]}
    assert a.request("register_rendezvous", peerId=peer, deadDrop="x", **fields)["type"] == "rendezvous_result"
    answer = b.request("register_rendezvous", peerId=uid(), **fields)
    assert [drop["deadDrop"] for drop in answer["deadDrops"]] == ["x"]
    a.expect("rendezvous_match")
    assert peer in b.relays()


def pass_chunks_on(a, b):
    chunk = uid("chunk")
    peer = wait_in_vain(b, chunk)
    source = announce(a, chunk)
    assert a.expect("chunk_pull")["chunkId"] == chunk
    push(a, chunk, peerId=source)
    assert data_of(b, chunk, "relay") == "data"
    assert b.request("chunk_request", peerId=peer, chunkId=chunk)["type"] == "chunk_data"
    wait_in_vain(a, uid("nobody's"))


def pair_by_code(connect, workers):
    a, b = (registered(connect(worker, "/signal/acl")) for worker in workers)
    a.send(type="offer", target=b.code, payload=1)
    assert hear(b, "offer")["from"] == a.code
    a, b = (open_app(connect, worker) for worker in workers)
    ask_to_pair(a, b)
    b.send(type="pair_response", targetCode=a.code, accepted=True)
    assert a.expect("pair_matched")["peerCode"] == b.code
    assert b.expect("pair_matched")["peerCode"] == a.code
    a.send(type="link_request", linkCode=b.code, publicKey=a.key)
    b.expect("link_request")
    b.send(type="link_response", linkCode=b.code, accepted=True)
    assert a.expect("link_matched") and b.expect("link_matched")["webClientCode"] == a.code
    ask_to_pair(b, a)
    b.close()


def meet_in_a_room(connect, workers):
    room = uid("room")
    a, b = (joined(welcomed(connect(worker, "/ws")), room) for worker in workers)
    assert a.expect("PEER_JOINED")["peer_id"] == b.id
    a.send(type="OFFER", target_id=b.id, payload={"sdp": "x"})
    assert b.expect("OFFER")["peer_id"] == a.id
    assert room in str(get(workers[0], "/api/rooms")) and get(workers[1], "/api/stats")
    assert b.request("DISCOVER")["type"] == "PEER_LIST" and b.request("LEAVE")["type"] == "ACK"
    assert a.expect("PEER_LEFT")["peer_id"] == b.id


def register_servers(workers):
    entry = server()
    assert ask(workers[0], "POST", "/servers", entry)[0] == 200
    assert ask(workers[1], "POST", "/servers/heartbeat", {"serverId": entry["serverId"]})[0] == 200
    assert entry["serverId"] in servers(workers[1])
    assert ask(workers[1], "DELETE", f"/servers/{entry['serverId']}")[0] == 200


def attest(workers):
    reference, device = Reference(), uid("device")
    for worker in workers:
        assert reference.upload(worker, SECRET)[0] == 200
    wrong = [{"offset": 0, "length": 1, "data_hex": "x"}]
    assert reference.upload(workers[0], SECRET, critical_regions=wrong)[0] == 400
    assert ask(workers[0], "POST", "/attest/versions", {"recommended_version": "1.0.0"}, bearer(SECRET))[0] == 200
    assert ask(workers[1], "GET", "/attest/versions")[0] == 200
    assert register(workers[0], KEY, device, platform=reference.platform)[0] == 200
    asked = challenged(workers[1], device)
    assert verify(workers[0], device, asked, reference.answers(asked))[1]["valid"] is True


def pool(connect, workers):
    member = connect(workers[0], "/worker-sync")
    nonce = member.expect("challenge")["nonce"]
    member.send(type="auth", id="member", hmac=hmac.new(POOL.encode(), nonce.encode(), hashlib.sha256).hexdigest())
    member.send(type="worker_register", endpoint="wss://member.example", region="eu", capacity=100)
    wait_until(lambda: get(workers[1], "/workers")["workers"], 5, "the member")
    member.send(type="worker_heartbeat", load=1)
    client = connect(workers[1], "/signaling")
    assert client.expect("welcome")["worker"]["id"] == "member"
    client.send(type="offer", payload={"sdp": "x"})
    while member.recv()["type"] != "offer":
        pass
    member.close()
    wait_until(lambda: not get(workers[1], "/workers")["workers"], 5, "its end")


def do_all(connect, workers):
    """What clients of all kinds can have done. The workers have what launch() gives them."""
    a, b = (connect(worker) for worker in workers)
    meet(a, b)
    pass_chunks_on(a, b)
    pair_by_code(connect, workers)
    meet_in_a_room(connect, workers)
    register_servers(workers)
    attest(workers)
    pool(connect, workers)
    wait_until(lambda: get(workers[0], "/stats")["workers"] == 2, 6, "both in the statistics")


def test_workers_do_all_they_do_as_a_user_with_few_rights(pair, connect):
    redis, workers = pair
    do_all(connect, workers)
    redis.client.script_flush()
    meet(connect(workers[1]), connect(workers[0]))
    workers[1].kill9()
    with RedisClient(unix_socket_path=redis.socket, db=3, decode_responses=True) as client:
        wait_until(lambda: client.zrange("sb:workers", 0, -1) == [workers[0].wid], 20, "the leader's cleaning up")
        assert not client.keys(f"sb:{{own:{workers[1].wid}}}*")
    assert http_request(workers[0], "GET", "/ready")[0] == 200


def test_a_check_as_that_user_finds_all_rights_and_asks_for_those_to_read(redis):
    for url in redis.few:
        found = look(url)
        assert found["rights"][0] == "ok" and set(levels(found).values()) == {"warn"}
    redis.client.execute_command("ACL", "SETUSER", "signalbox", "+info", "+config|get")
    assert not levels(look(url))


def test_a_check_misses_each_right_that_is_not_there(redis):
    for without in commands():
        redis.client.execute_command("ACL", "SETUSER", "signalbox", f"-{without}")
        found = look(redis.few[0])
        redis.client.execute_command("ACL", "SETUSER", "signalbox", f"+{without}")
        assert found["rights"][0] == ("warn" if without in ("info", "role") else "bad"), without
        assert re.search(r" acl setuser signalbox (.*)$", found["rights"][1])[1].strip("'") == f"+{without}"
