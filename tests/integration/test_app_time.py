# SPDX-License-Identifier: MIT
"""The app dialect: requests that run out of time, and who leaves in the middle."""
import pytest

from harness import CROWD, SLOW, wait_until
from test_app import NO_REQUEST, WHERE, ask, error, expect_redacted, open_app
from test_cleanup import wait_clean

TIMEOUT = min(int(2000 * SLOW * CROWD), 20_000)  # a quarter of it is less than the lease of a worker
HASTY = {"PAIR_TIMEOUT_MS": TIMEOUT, "PAIR_WARNING_MS": int(0.75 * TIMEOUT), "ENVIRONMENT": "production",
         "SERVER_REGISTRATION": "open",
         "LOG_LEVEL": "debug"}
PATIENT = {**HASTY, "PAIR_TIMEOUT_MS": 60_000 * SLOW, "PAIR_WARNING_MS": int(60_000 * SLOW - TIMEOUT / 4)}


def expect_warning(client, peer):
    message = client.recv(TIMEOUT / 1000 + 5)
    assert 0 < message.pop("remainingSeconds") <= HASTY["PAIR_WARNING_MS"] / 1000 + 1
    assert message == {"type": "pair_expiring", "peerCode": peer.code}


def link(web, device):
    web.send(type="link_request", linkCode=device.code, publicKey=web.key)
    assert device.expect("link_request")["linkCode"] == device.code


@WHERE
def test_an_unanswered_request_is_warned_of_and_ends(start, connect, where):
    fleet = start(**HASTY)
    a, b, c = [open_app(connect, fleet.workers[i]) for i in (0, where, 0)]
    a.send(type="pair_request", targetCode=b.code)
    assert b.expect("pair_incoming")["expiresIn"] == TIMEOUT
    ask(c, b)
    b.send(type="pair_response", targetCode=c.code, accepted=False)
    assert c.expect("pair_rejected")
    expect_warning(a, b)
    expect_warning(b, a)
    assert a.recv(TIMEOUT / 1000 + 5) == {"type": "pair_timeout", "peerCode": b.code}
    assert b.request("pair_response", targetCode=a.code, accepted=True) == NO_REQUEST
    ask(a, b)
    b.send(type="pair_response", targetCode=a.code, accepted=True)
    assert a.expect("pair_matched") and b.expect("pair_matched")
    for client in a, b, c:
        client.silence(0.1)
        client.close()
    wait_clean(fleet)
    expect_redacted(fleet, [a.code, b.code, c.code])


def test_a_target_that_leaves_in_the_middle_is_waited_for_until_the_end(start, connect):
    fleet = start(3, **HASTY)
    waiting = []
    for i, end in enumerate(("close", "drop")):
        a, b = open_app(connect, fleet.workers[0]), open_app(connect, fleet.workers[i])
        ask(a, b)
        getattr(b, end)()
        waiting.append((a, b))
    a, b = open_app(connect, fleet.workers[0]), open_app(connect, fleet.workers[2])
    ask(a, b)
    fleet.workers[2].kill9()
    for a, b in [*waiting, (a, b)]:
        expect_warning(a, b)
        assert a.recv(TIMEOUT / 1000 + 5) == {"type": "pair_timeout", "peerCode": b.code}
        assert a.request("ping") == {"type": "pong"}


@WHERE
def test_a_requester_that_leaves_in_the_middle_has_asked_nothing(start, connect, where):
    fleet = start(**PATIENT)
    a, b, web = [open_app(connect, fleet.workers[i]) for i in (0, where, 0)]
    ask(a, b)
    link(web, b)
    a.close()
    web.close()
    wait_until(lambda: not [key for key in fleet.redis.keys() if a.code in key or web.code in key or ":link" in key or
                            ":requests" in key or key in ("sb:{requests}", "sb:{links}")], 5, "nothing left of them")
    assert b.request("pair_response", targetCode=a.code, accepted=True) == NO_REQUEST
    answer = b.request("link_response", linkCode=b.code, accepted=True)
    assert answer["type"] == "link_error" and answer["error"]
    b.silence(0.1)


def test_the_end_of_a_request_is_told_though_the_worker_that_took_it_is_gone(start, connect):
    fleet = start(3, **PATIENT)
    a, b, c, web = [open_app(connect, fleet.workers[i]) for i in (0, 1, 2, 0)]
    ask(a, b)
    link(web, b)
    ask(c, b)
    fleet.workers[0].kill9()
    heard = [b.recv(TIMEOUT / 1000 + 5) for _ in range(2)]
    assert all(message.pop("remainingSeconds") for message in heard)
    assert sorted(message["peerCode"] for message in heard) == sorted([a.code, c.code])
    assert c.recv(TIMEOUT / 1000 + 5)["type"] == "pair_expiring"
    requests, asked = fleet.redis.client, f"sb:{{code::{b.code}}}"
    wait_until(lambda: requests.hkeys(f"{asked}:requests") == [c.code] and not requests.exists(f"{asked}:link"), 10,
               "the requests of the killed worker's clients withdrawn")
    assert b.request("pair_response", targetCode=a.code, accepted=True) == NO_REQUEST
    assert b.request("link_response", linkCode=b.code, accepted=True)["type"] == "link_error"
    b.send(type="pair_response", targetCode=c.code, accepted=True)
    assert c.recv() == {"type": "pair_matched", "peerCode": b.code, "peerPublicKey": b.key, "isInitiator": True}
    assert b.expect("pair_matched")["peerCode"] == c.code
    for client in b, c:
        client.close()
    wait_clean(fleet, 10)
    expect_redacted(fleet, [b.code, a.code, c.code, web.code])


def test_a_response_to_one_whose_worker_was_just_killed_is_told_that_nobody_is_there(start, connect):
    fleet = start(**PATIENT)
    a, b = [open_app(connect, worker) for worker in fleet.workers]
    ask(a, b)
    fleet.workers[0].kill9()
    b.send(type="pair_response", targetCode=a.code, accepted=True)
    while (message := b.recv()) not in (NO_REQUEST, error(f"Peer not found: {a.code}")):
        assert message["type"] in ("pair_matched", "pair_expiring"), message  # its death is not known yet


@WHERE
def test_an_unanswered_link_ends(start, connect, where):
    fleet = start(**HASTY)
    web, device = open_app(connect, fleet.workers[0]), open_app(connect, fleet.workers[where])
    link(web, device)
    assert web.recv(TIMEOUT / 1000 + 5) == {"type": "link_timeout", "linkCode": device.code}
    assert device.request("link_response", linkCode=device.code, accepted=True)["type"] == "link_error"
    link(web, device)
    device.send(type="link_response", linkCode=device.code, accepted=False)
    assert web.recv() == {"type": "link_rejected", "linkCode": device.code}
    web.silence(0.1)


def test_a_connection_asks_only_so_often(start, connect):
    fleet = start(PAIR_REQUESTS_PER_MINUTE=3)
    a, b = [open_app(connect, worker) for worker in fleet.workers]
    for _ in range(3):
        ask(a, b)
    assert a.request("pair_request", targetCode=b.code) == error("Too many pair requests. Please slow down.")
    b.silence(0.05)
    ask(b, a)


def test_an_end_is_told_though_another_asks_in_that_moment(start, connect):
    fleet = start(PAIR_REQUESTS_PER_MINUTE=0, MESSAGE_RATE=0, TRUSTED_PROXIES="127.0.0.0/8", **HASTY)
    target, late, *many = [open_app(connect, fleet.workers[i % 2], ip=f"192.0.2.{i}") for i in range(12)]
    for client in many:
        ask(client, target)
    ended = set()

    def all_ended():
        late.send(type="pair_request", targetCode=target.code)
        for client in many:
            while not client.inbox.empty():
                if client.inbox.get()["type"] == "pair_timeout":
                    ended.add(client.code)
        return len(ended) == len(many)

    wait_until(all_ended, TIMEOUT / 1000 + 10, "the end of every request told")
