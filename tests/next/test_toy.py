# SPDX-License-Identifier: MIT
"""A dialect that is one folder and one row: toy.c, which signalbox-next has, on two workers. Nothing of it is anywhere
else, and yet its names are its sockets' alone in all the fleet, messages reach them there, and what they leave is
undone."""
import contextlib

import pytest
import websocket

from clients import Client
from harness import IN_USE, SLOW, WORKER, Fleet, get, http_request, metric, uid, wait_until

NEXT = WORKER.parent / "tests" / "signalbox-next"


@pytest.fixture(scope="module")
def fleet():
    with Fleet(program=NEXT) as fleet:
        yield fleet


@pytest.fixture
def connect():
    with contextlib.ExitStack() as stack:
        def connect(worker):
            client = Client(worker, "/toy")
            stack.callback(client.drop)
            return client

        yield connect


@pytest.fixture
def two(fleet, connect):
    """A socket on each worker, each with a name: (first, its name, second, its name)."""
    sockets = [(connect(worker), uid("name")) for worker in fleet.workers]
    for socket, name in sockets:
        assert socket.request("take", name=name) == {"type": "taken", "name": name}
    return [*sockets[0], *sockets[1]]


def key(name):
    return f"sb:{{toy:{name}}}"


def error(text):
    return {"type": "error", "message": text}


def test_a_name_is_one_sockets_in_the_whole_fleet(two):
    first, name, second, _ = two
    assert second.request("take", name=name) == error(IN_USE)
    assert first.request("take", name=name)["type"] == "taken"


def test_a_name_that_was_let_go_is_free(fleet, two):
    first, name, second, _ = two
    assert second.request("let_go", name=name) == error("Not registered")
    assert first.request("let_go", name=name) == {"type": "let_go", "name": name}
    wait_until(lambda: not fleet.redis.client.exists(key(name)), what="the end of the name")
    assert second.request("take", name=name)["type"] == "taken"


def test_messages_reach_a_name_on_another_worker_in_order(two):
    first, name, second, other = two
    for n in range(50):
        first.send(type="say", name=name, to=other, what={"n": n})
    assert [second.recv() for _ in range(50)] == [{"type": "said", "from": name, "what": {"n": n}} for n in range(50)]
    second.send(type="say", name=other, to=name, what="back")
    assert first.recv() == {"type": "said", "from": other, "what": "back"}


def test_who_says_something_to_a_name_that_nobody_has_is_told(two):
    first, name, _, _ = two
    assert first.request("say", name=name, to=uid("name"), what=1) == error("Target peer not found")


def test_only_who_has_a_name_speaks_under_it(two):
    first, _, second, other = two
    assert first.request("say", name=other, to=other, what=1) == error("Not registered")
    second.silence()


@pytest.mark.parametrize("fields, text", [({}, "Missing required field: name"),
                                          ({"name": 1}, "Invalid field: name"),
                                          ({"name": "a", "to": "b"}, "Missing required field: what")])
def test_the_table_guards_its_handlers(two, fields, text):
    assert two[0].request("say" if "to" in fields else "take", **fields) == error(text)


def test_what_a_socket_had_is_undone_when_it_leaves(fleet, two):
    first, name, second, other = two
    assert fleet.redis.client.exists(key(name))
    first.drop()
    wait_until(lambda: not fleet.redis.client.exists(key(name)), what="the end of the name")
    assert second.request("say", name=other, to=name, what=1) == error("Target peer not found")


def test_what_a_worker_had_that_was_killed_is_undone_by_another():
    with Fleet(program=NEXT) as fleet:
        name = uid("name")
        assert Client(fleet.workers[1], "/toy").request("take", name=name)["type"] == "taken"
        fleet.workers[1].kill9()
        wait_until(lambda: not fleet.redis.client.exists(key(name)), 20, "the end of the name")


def test_its_messages_and_its_path_are_counted_and_listed(fleet, two):
    assert get(fleet.workers[0], "/api/info")["endpoints"]["toy"] == "WS /toy"
    assert metric(fleet.workers, 'signalbox_messages_in_total{dialect="toy",type="take"}') >= 2


@pytest.mark.parametrize("protocols, served", [("toy", True), ("relay,rooms", False)])
def test_it_is_served_where_protocols_has_it(protocols, served):
    with Fleet(1, program=NEXT, PROTOCOLS=protocols) as fleet:
        worker = fleet.workers[0]
        assert http_request(worker, "GET", "/toy")[0] == (426 if served else 404)
        assert http_request(worker, "GET", "/relay")[0] == (404 if served else 426)
        if not served:
            with pytest.raises(websocket.WebSocketBadStatusException, match="404"):
                websocket.create_connection(f"ws://127.0.0.1:{worker.port}/toy", timeout=5 * SLOW)


def test_the_worker_itself_knows_nothing_of_it():
    with Fleet(1) as fleet:
        assert http_request(fleet.workers[0], "GET", "/toy")[0] == 404
