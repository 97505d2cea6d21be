# SPDX-License-Identifier: MIT
"""/signal where many meet: races, big rooms, dead workers, Redis away, and what is left in the end."""
import pytest

from harness import SLOW, UNAVAILABLE, publishes, uid, wait_until
from swarm import gather, members
from test_cleanup import wait_clean
from test_signal import IN_USE, error, hear, path_of, registered

NOT_FOUND = error("Target peer not found")


def test_of_two_sockets_that_register_one_code_at_once_exactly_one_gets_it(start, connect):
    fleet = start(TAKEOVER_PROBE_MS=int(2000 * SLOW), SIGNAL_PRESENCE_MAX=0, MESSAGE_RATE=0)
    clients = [connect(worker, "/signal") for worker in fleet.workers]
    for i in range(100):
        code = uid("code")
        for client in clients[::1 - 2 * (i % 2)]:
            client.send(type="register", pairingCode=code)
        answers = [hear(client, "registered", "error") for client in clients]
        assert sorted(answer["type"] for answer in answers) == ["error", "registered"], f"round {i}: {answers}"
        assert {"type": "registered", "pairingCode": code} in answers and error(IN_USE) in answers
        winner = answers.index({"type": "registered", "pairingCode": code})
        clients[winner].send(type="offer", target=code, payload=i)
        assert hear(clients[winner], "offer")["from"] == code


def test_of_two_that_want_the_code_of_a_frozen_holder_exactly_one_gets_it(start, connect):
    fleet = start(TAKEOVER_PROBE_MS=int(500 * SLOW), SIGNAL_PRESENCE_MAX=0)
    code, frozen = uid("code"), members(fleet.workers, 1, "/signal")[0]
    frozen.send(type="register", pairingCode=code)
    frozen.expect("registered")
    clients = [connect(worker, "/signal") for worker in fleet.workers]
    for client in clients:
        client.send(type="register", pairingCode=code)
    assert sorted(client.recv()["type"] for client in clients) == ["error", "registered"]
    frozen.sock.close()


def test_one_join_of_a_big_room_costs_one_publish(start):
    fleet = start(SIGNAL_PRESENCE_MAX=5000, IP_CONNECT_RATE=0, IP_CONNECTIONS_MAX=0, PING_INTERVAL_MS=3_600_000)
    path, count = path_of(uid("room")), 1000
    crowd = members(fleet.workers, count + 2, path)
    before = publishes(fleet)
    for i, member in enumerate(crowd[:count]):
        member.send(type="register", pairingCode=f"{i}")
    gather(crowd[:count], 1, 30)
    wait_until(lambda: publishes(fleet) >= before + count, 20, "a publish for each join")
    for n, (member, code) in enumerate(zip(crowd[count:], ("next", "last"))):
        member.send(type="register", pairingCode=code)
        while b'"registered"' not in member.text(20):
            pass
        wait_until(lambda: publishes(fleet) == before + count + n + 1, 5, "one publish for one join")
    for member in crowd[:count]:
        while b'"last"' not in member.texts[-1]:
            member.read()
        heard = [text for text in member.texts if b'"next"' in text or b'"last"' in text]
        assert heard == [b'{"type":"peer_joined","pairingCode":"next"}', b'{"type":"peer_joined","pairingCode":"last"}']
    assert publishes(fleet) == before + count + 2
    for member in crowd:
        member.sock.close()


@pytest.mark.parametrize("most", [0, 3])
def test_a_room_past_the_limit_of_presence_hears_nothing_and_the_log_says_so_once(start, connect, most):
    fleet = start(SIGNAL_PRESENCE_MAX=most)
    clients, small = [], path_of(uid("small"))
    for i in range(6):
        clients.append(registered(connect(fleet.workers[i % 2], "/signal")))
        for client in clients[:-1] if len(clients) <= most else []:
            hear(client, "peer_joined", code=clients[-1].code)
    for i in 0, 1:  # what is asked of Redis now is asked after all that went before
        assert registered(connect(fleet.workers[i], small))
        clients[i].send(type="offer", target=clients[1 - i].code, payload=1)
        hear(clients[1 - i], "offer")
    clients.pop().close()
    for client in clients:
        client.silence(0.05) if most == 0 else None
    settled = [list(client.inbox.queue) for client in clients[2:]]
    assert not any(m for inbox in settled for m in inbox if m["type"] != "offer"), settled
    told = [len(worker.events("room_too_big_for_presence")) for worker in fleet.workers]
    assert max(told) <= 1 and (sum(told) > 0) == (most > 0)


def test_where_presence_is_off_nobody_hears_even_of_the_last_one(start, connect):
    fleet = start(SIGNAL_PRESENCE_MAX=0)
    clients = [connect(worker, "/signal") for worker in fleet.workers]
    for _ in range(20):
        code = uid("code")  # a code that is released for it leaves the room empty, while another waits to get in
        for client in clients:
            client.send(type="register", pairingCode=code)
        assert {client.recv()["type"] for client in clients} == {"error", "registered"}


def test_a_room_that_has_become_small_enough_hears_again(start, connect):
    fleet = start(SIGNAL_PRESENCE_MAX=2)
    a, b, c, d = [registered(connect(fleet.workers[i % 2], "/signal")) for i in range(4)]
    for client in d, c, b:
        client.close()
        wait_until(lambda: not fleet.redis.client.hexists("sb:{signal:default}", client.code), 5, "its code gone")
    assert hear(a, "peer_left") == {"type": "peer_left", "pairingCode": b.code}


def test_the_codes_of_a_killed_worker_are_gone_within_ten_seconds(start, connect):
    fleet = start(3, PAIR_REQUESTS_PER_MINUTE=0)
    path = path_of(uid("room"))
    lost = [registered(connect(fleet.workers[0], path)) for _ in range(3)]
    left = [registered(connect(fleet.workers[i], path)) for i in (1, 2)]
    for client in left:
        lost[0].send(type="pair_request", target=client.code)
        hear(client, "pair_request")
        client.send(type="pair_request", target=lost[1].code)
        assert hear(lost[1], "pair_request")
    fleet.workers[0].kill9()
    codes = {client.code for client in lost}
    for client, kind in zip(left, ("offer", "pair_request")):
        client.send(type=kind, target=lost[0].code, payload=1)
        heard, told = [], []
        while set(heard) != codes or not told:
            message = client.recv(10)
            told += [message] * (message["type"] == "error")
            heard += [message.get("pairingCode")] * (message["type"] == "peer_left")
        assert told == [NOT_FOUND] and len(heard) == len(codes), "each is told once"
    for client in left:
        client.send(type="pair_accept", target=lost[0].code)
        assert hear(client, "error") == error("No pending request from this peer")
        client.close()
    wait_clean(fleet, 10)


def test_sockets_of_one_worker_reach_each_other_while_redis_is_away(start, connect):
    fleet = start(MESSAGE_RATE=0)
    path = path_of(uid("room"))
    a, b = [registered(connect(fleet.workers[0], path)) for _ in range(2)]
    c, late = registered(connect(fleet.workers[1], path)), connect(fleet.workers[1], path)
    c.send(type="offer", target=a.code, payload=0)
    assert hear(a, "offer")["payload"] == 0
    fleet.redis.stop()
    for i in range(20):
        a.send(type="ice_candidate", target=b.code, payload=i)
        assert hear(b, "ice_candidate") == {"type": "ice_candidate", "from": a.code, "payload": i}
        b.send(type="answer", target=a.code, payload=i)
        assert hear(a, "answer")["payload"] == i
    for message in ({"type": "offer", "payload": 1}, {"type": "pair_request"}, {"type": "pair_accept"}):
        a.send(**message, target=c.code)
        assert hear(a, "error") == error(UNAVAILABLE)
    assert late.request("register", pairingCode=uid("code")) == error(UNAVAILABLE)
    fleet.redis.start()


@pytest.mark.parametrize("end", ["close", "drop"])
def test_nothing_is_left_of_those_who_have_left(start, connect, end):
    fleet = start(IP_CONNECT_RATE=0, PAIR_REQUESTS_PER_MINUTE=0)
    clients = []
    for i in range(20):
        clients.append(registered(connect(fleet.workers[i % 2], path_of([None, "a:b", "{x}"][i % 3])), publicKey="k"))
        if i % 4 == 0:
            registered(clients[-1])
    for i, client in enumerate(clients):
        client.send(type="pair_request", target=clients[i - 3].code)
    for client in clients[:10]:
        client.send(type="register", pairingCode=uid("code"))  # some go before they are answered
    assert [key for key in fleet.redis.keys() if key.startswith(("sb:{signal:", "sb:{code:"))]
    for client in clients:
        getattr(client, end)()
    wait_clean(fleet)


def test_no_code_is_in_the_log_of_production(start, connect):
    fleet = start(ENVIRONMENT="production", SERVER_REGISTRATION="open", LOG_LEVEL="debug", PAIR_REQUESTS_PER_MINUTE=2)
    a, b = [registered(connect(worker, "/signal"), publicKey=uid("key")) for worker in fleet.workers]
    for _ in range(2):
        a.send(type="pair_request", target=b.code)
        hear(b, "pair_request")
        b.send(type="pair_accept", target=a.code)
        hear(a, "pair_accept")
    a.send(type="pair_request", target=b.code)
    hear(a, "error")
    b.send(type="register", pairingCode=a.code)
    hear(b, "error")
    a.close()
    b.send(type="ping")
    wait_clean_of(fleet, a.code)
    log = "".join(line for worker in fleet.workers for line in worker.lines)
    assert a.code not in log and b.code not in log
    assert f"{a.code[0]}****{a.code[-1]}" in log


def wait_clean_of(fleet, code):
    wait_until(lambda: not [key for key in fleet.redis.keys() if code in key], 5, "nothing left of the code")
