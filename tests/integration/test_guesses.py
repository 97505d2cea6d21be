# SPDX-License-Identifier: MIT
"""To guess costs: who asks for what is not there counts with its address, and past MISS_RATE learns nothing more."""
import time

import pytest

from harness import Fleet, http_request, metric, uid, wait_until
from test_app import a_code, a_key, matched, open_app
from test_receivers import App, Rooms, Signal
from test_rooms import PEER_NOT_FOUND, ROOM_NOT_FOUND, fault, joined
from test_signal import error

BURST, RATE = 5, "Rate limit exceeded"
ENV = {"IP_CONNECT_RATE": 0, "MESSAGE_RATE": 0, "TRUSTED_PROXIES": "127.0.0.0/8", "MISS_RATE": 1, "MISS_BURST": BURST,
       "SIGNAL_PRESENCE_MAX": 0, "LOG_LEVEL": "info", "PAIR_REQUESTS_PER_MINUTE": 0}
WHERE = pytest.mark.parametrize("where", [0, 1], ids=["same worker", "other worker"])


def plain(message):
    """Without its time, and what it answers."""
    return {key: value for key, value in message.items() if key not in ("timestamp", "request_id")}


class Offers:
    """Messages between two clients, in a dialect."""

    def __init__(self, dialect, miss, over):
        self.dialect, self.miss, self.over = dialect, miss, over

    def enter(self, connect, worker, ip):
        client = connect(worker, self.dialect.path, {"X-Forwarded-For": ip})
        self.dialect.enter(client)
        return client

    def nobody(self):
        return a_code()

    def ask(self, client, target):
        client.send(**self.dialect.message(target, "guess"))

    def asked(self, client):
        assert self.dialect.sent_to(client.recv()) == "guess"


class Pairs(Offers):
    def ask(self, client, target):
        client.send(type="pair_request", targetCode=target)

    def asked(self, client):
        client.expect("pair_incoming")


class Links(Offers):
    def ask(self, client, target):
        client.send(type="link_request", linkCode=target, publicKey=a_key())

    def asked(self, client):
        client.expect("link_request")


KINDS = {"signal": Offers(Signal(), lambda _: error("Target peer not found"), error(RATE)),
         "app": Offers(App(), lambda code: error(f"Peer not found: {code}"), error(RATE)),
         "rooms": Offers(Rooms(), lambda _: PEER_NOT_FOUND, fault("INVALID_MESSAGE", RATE)),
         "pair": Pairs(App(), lambda _: {"type": "pair_error", "error": "Pair request could not be processed"},
                       error(RATE)),
         "link": Links(App(), lambda _: {"type": "link_error", "error": "Link request could not be processed"},
                       error(RATE))}
EACH = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@pytest.fixture(scope="module")
def fleet():
    with Fleet(**ENV) as fleet:
        yield fleet


@pytest.fixture
def here():
    """An address of this test alone, and one in the same range."""
    net = uid("")[-4:]
    return f"2001:db8:{net}:1::1", f"2001:db8:{net}:1::2"


def spend(kind, client):
    """Asks for what is not there until that is refused."""
    answers = []
    for _ in range(BURST + 3):
        code = kind.nobody()
        kind.ask(client, code)
        answers.append((plain(client.recv()), kind.miss(code)))
    misses = [answer == miss for answer, miss in answers]
    assert misses[:BURST] == [True] * BURST and not misses[-1], answers
    assert all(answer in (miss, kind.over) for answer, miss in answers), answers


@EACH
@WHERE
def test_who_has_guessed_too_often_learns_nothing_of_who_is_there(fleet, connect, here, kind, where):
    target, friend = (kind.enter(connect, fleet.workers[w], "192.0.2.1") for w in (where, where))
    known, client, neighbour = (kind.enter(connect, fleet.workers[0], ip) for ip in (here[0], *here))
    kind.ask(known, friend.id)
    kind.asked(friend)
    spend(kind, client)
    refused = metric(fleet.workers[0], "signalbox_guesses_refused_total")
    for guesser in (client, neighbour):
        for code in (target.id, kind.nobody()):
            for spent in (kind.nobody(), kind.nobody(), code):  # a second may have passed, and given one back
                kind.ask(guesser, spent)
            assert [plain(guesser.recv()) for _ in range(3)][-1] == kind.over
    target.silence(0.05)
    assert metric(fleet.workers[0], "signalbox_guesses_refused_total") >= refused + 4
    wait_until(lambda: [e for e in fleet.workers[0].events("limit_hit") if e["limit"] == "MISS_RATE"], 5, "the line")
    kind.ask(known, friend.id)  # whom it has found before
    kind.asked(friend)
    other = kind.enter(connect, fleet.workers[0], "192.0.2.2")
    kind.ask(other, friend.id if kind is not KINDS["link"] else target.id)
    kind.asked(friend if kind is not KINDS["link"] else target)


def test_misses_come_back_one_a_second(fleet, connect, here):
    kind = KINDS["signal"]
    target, client = kind.enter(connect, fleet.workers[1], "192.0.2.1"), kind.enter(connect, fleet.workers[0], here[0])
    spend(kind, client)
    time.sleep(1.1)
    kind.ask(client, target.id)
    kind.asked(target)
    client.silence(0.05)


def test_many_guesses_at_once_are_owed(fleet, connect, here):
    kind = KINDS["signal"]
    client = kind.enter(connect, fleet.workers[0], here[0])
    for _ in range(BURST + 60):
        kind.ask(client, kind.nobody())
    answers = [client.recv() for _ in range(BURST + 60)]
    misses = answers.count(error("Target peer not found"))
    assert BURST <= misses and misses + answers.count(error(RATE)) == len(answers)
    if misses > BURST + 2:
        time.sleep(1.1)
        kind.ask(client, kind.nobody())
        assert client.recv() == error(RATE)


def test_two_that_have_paired_reach_each_other_whatever_their_neighbours_guess(fleet, connect, here):
    kind = KINDS["app"]
    a, b = (open_app(connect, fleet.workers[0], ip=here[0]) for _ in range(2))
    guesser = kind.enter(connect, fleet.workers[0], here[1])
    a.send(type="pair_request", targetCode=b.code)
    b.expect("pair_incoming")
    b.send(type="pair_response", targetCode=a.code, accepted=True)
    assert a.recv() == matched(b, True) and b.recv() == matched(a, False)
    spend(kind, guesser)
    for x, y in ((a, b), (b, a)):
        x.send(type="offer", target=y.code, payload=1)
        assert y.recv() == {"type": "offer", "from": x.code, "payload": 1}


def test_rooms_that_are_not_there_count_too(fleet, connect, here):
    kind = KINDS["rooms"]
    client, other = kind.enter(connect, fleet.workers[0], here[0]), kind.enter(connect, fleet.workers[1], "192.0.2.1")
    room, own = uid("room"), uid("room")
    joined(other, room), joined(client, own)

    def discover(name):
        client.send(type="DISCOVER", room_id=name)
        return plain(client.recv())

    def api(name):
        return http_request(fleet.workers[0], "GET", f"/api/rooms/{name}", headers={"X-Forwarded-For": here[1]})

    assert [discover(uid()) for _ in range(BURST)] == [ROOM_NOT_FOUND] * BURST
    for name in (uid(), room):
        assert [discover(spent) for spent in (uid(), uid(), name)][-1] == kind.over
        assert [api(spent)[::2] for spent in (uid(), uid(), name)][-1] == (429, {"error": RATE})
    assert discover(own)["type"] == "PEER_LIST"
    time.sleep(1.1)
    assert api(room)[0] == 200
    assert api(uid())[::2] == (404, {"error": "room not found"})
