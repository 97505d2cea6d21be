# SPDX-License-Identifier: MIT
"""What clients may have Redis keep: of a socket, of an address, and of all of them."""
from harness import metric, uid, wait_until

FULL, KEY = "Storage limit reached", "k" * 1000
STORED = "sb:{stored:127.0.0.1}"


def fill(client, most=100):
    """Registers relays until one is refused; how many were not."""
    for n in range(most):
        answer = client.request("register", peerId=uid(), publicKey=KEY)
        if answer["type"] == "error":
            assert answer["message"] == FULL
            return n
    raise AssertionError("none was refused")


def test_a_socket_stores_no_more_than_its_limit(start, connect):
    worker = start(1, STORE_SOCKET_MAX=20_000).workers[0]
    assert 5 < fill(connect(worker)) < 20
    assert 5 < fill(connect(worker)) < 20
    assert metric([worker], 'signalbox_storage_refused_total{limit="socket"}') == 2


def test_each_dialect_tells_it_in_its_form(start, connect):
    worker = start(1, STORE_SOCKET_MAX=400).workers[0]
    room = connect(worker, "/ws")
    room.expect("ACK")
    answer = room.request("JOIN", room_id="r", request_id="q")
    assert answer["payload"] == {"code": "INTERNAL_ERROR", "message": FULL} and answer["request_id"] == "q"
    assert FULL in str(connect(worker, "/signal/room").request("register", pairingCode="c" * 60))


def test_an_address_stores_no_more_than_its_limit_on_all_workers(start, connect):
    fleet = start(2, STORE_ADDRESS_MAX=200_000)
    first = [connect(fleet.workers[n % 2]) for n in range(4)]
    assert sum(fill(client, 200) for client in first[:2]) < 160
    assert fill(first[2]) <= 1 and fill(first[3]) <= 1
    for client in first:
        client.drop()
    wait_until(lambda: not fleet.redis.client.exists(STORED), 10, "all given back")
    assert fill(connect(fleet.workers[0]), 200) > 20


def test_redis_that_was_emptied_is_told_again(start, connect):
    fleet = start(1)
    client = connect(fleet.workers[0])
    for _ in range(20):
        client.request("register", peerId=uid(), publicKey=KEY)
    wait_until(lambda: fleet.redis.client.exists(STORED), 5, "told")
    fleet.redis.client.flushall()
    wait_until(lambda: fleet.redis.client.exists(STORED), 10, "told again")


def test_redis_that_is_nearly_full_takes_nothing_new(start, connect):
    fleet = start(1)
    worker, redis = fleet.workers[0], fleet.redis.client
    client, peer = connect(worker), uid()
    client.request("register", peerId=peer)
    redis.config_set("maxmemory", int(redis.info("memory")["used_memory"] / 0.97))
    wait_until(lambda: metric([worker], "signalbox_storage_brake") == 2, 8, "the brake")
    assert client.request("register", peerId=uid())["message"] == FULL
    assert client.request("register", peerId=peer)["type"] == "registered"
    redis.config_set("maxmemory", 0)
    wait_until(lambda: metric([worker], "signalbox_storage_brake") == 0, 8, "no brake")
    assert client.request("register", peerId=uid())["type"] == "registered"
