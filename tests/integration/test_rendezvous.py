# SPDX-License-Identifier: MIT
"""Meeting points across two workers: register_rendezvous."""
import statistics
import time

import pytest

from harness import SLOW, Stopwatch, uid, wait_until

TTL = 0.7 * SLOW
EMPTY = {"type": "rendezvous_result", "liveMatches": [], "deadDrops": []}


@pytest.fixture
def pair(fleet, connect):
    return [connect(worker) for worker in fleet.workers]


def meet(client, peer, **fields):
    """Registers and returns the result, with what it lists in the order of the peers."""
    client.send(type="register_rendezvous", peerId=peer, **fields)
    result = client.expect("rendezvous_result")
    for entries in (result["liveMatches"], result["deadDrops"]):
        entries.sort(key=lambda entry: (entry["peerId"], entry.get("deadDrop", "")))
    return result


def live(peer, relay=None):
    return {"peerId": peer, "relayId": relay}


def drop(peer, text, relay=None):
    return {"peerId": peer, "deadDrop": text, "relayId": relay}


def result(matches=(), drops=()):
    return {"type": "rendezvous_result", "liveMatches": list(matches), "deadDrops": list(drops)}


def match(peer, relay=None):
    return {"type": "rendezvous_match", "match": live(peer, relay)}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("names", [("dailyPoints", "hourlyTokens"), ("daily_points", "hourly_tokens")], ids=str)
def test_the_later_peer_sees_the_earlier_and_the_earlier_is_told(pair, names, reverse):
    a, b = reversed(pair) if reverse else pair
    first, second, place = uid(), uid(), {names[0]: [uid("point")], names[1]: [uid("token")]}
    assert meet(a, first, deadDrop="for you", relayId="relay-1", **place) == EMPTY
    assert meet(b, second, deadDrop="and you", relayId="relay-2", **place) == result(
        [live(first, "relay-1")], [drop(first, "for you", "relay-1")])
    assert a.recv() == match(second, "relay-2")
    a.silence(0.1)


def test_a_thousand_pairs_of_a_thousand_meet_in_time(start, connect):
    fleet = start(MESSAGE_RATE=0, COST_RATE=0)
    sides, times = [(connect(worker), uid()) for worker in fleet.workers], []
    parts = [*fleet.workers, fleet.redis.process]
    for i in range(1000):
        (a, first), (b, second) = sides if i % 2 else reversed(sides)
        place = {"dailyPoints": [uid("point")], "hourlyTokens": [uid("token")]}
        assert meet(a, first, deadDrop=f"drop {i}", **place) == EMPTY
        watch = Stopwatch(*parts)
        b.send(type="register_rendezvous", peerId=second, deadDrop="other", **place)
        assert a.recv() == match(second)
        times.append(watch.seconds())
        assert b.recv() == result([live(first)], [drop(first, f"drop {i}")])
    assert max(times) < 0.05 * SLOW, f"the slowest of them: {sorted(times)[-5:]}"
    assert statistics.median(times) < 0.01 * SLOW


@pytest.mark.parametrize("name", ["deadDrops", "dead_drops"])
def test_each_point_has_its_own_drop_where_one_is_given(pair, name):
    a, b = pair
    first, p, q, r = uid(), uid("p"), uid("q"), uid("r")
    meet(a, first, dailyPoints=[p, q, r], deadDrop="for all", **{name: {p: "for p", q: ""}})
    assert meet(b, uid(), dailyPoints=[p])["deadDrops"] == [drop(first, "for p")]
    assert meet(b, uid(), dailyPoints=[q])["deadDrops"] in ([], [drop(first, "for all")])
    assert meet(b, uid(), dailyPoints=[r])["deadDrops"] == [drop(first, "for all")]
    assert meet(b, uid(), dailyPoints=[p, r])["deadDrops"] == [drop(first, "for all"), drop(first, "for p")]


def test_a_peer_never_meets_itself(pair):
    a, _ = pair
    peer, place = uid(), {"dailyPoints": [uid("point")], "hourlyTokens": [uid("token")], "deadDrop": "mine"}
    assert [meet(a, peer, **place) for _ in range(3)] == [EMPTY] * 3
    a.silence()


def test_a_peer_is_listed_and_told_once_however_many_tokens_match(pair):
    a, b = pair
    first, second, tokens = uid(), uid(), [uid("token") for _ in range(5)]
    meet(a, first, hourlyTokens=tokens)
    assert meet(b, second, hourlyTokens=[*tokens, tokens[0]]) == result([live(first)])
    assert a.recv() == match(second)
    a.silence()


def test_a_point_is_no_token(pair):
    a, b = pair
    name = uid("name")
    meet(a, uid(), dailyPoints=[name], deadDrop="x")
    assert meet(b, uid(), hourlyTokens=[name]) == EMPTY
    a.silence(0.1)


def test_registering_again_replaces_the_entry(pair):
    a, b = pair
    first, point, token = uid(), uid("point"), uid("token")
    for text, relay in (("old", "r1"), ("new", "r2")):
        meet(a, first, dailyPoints=[point], hourlyTokens=[token], deadDrop=text, relayId=relay)
    assert meet(b, uid(), dailyPoints=[point], hourlyTokens=[token]) == result(
        [live(first, "r2")], [drop(first, "new", "r2")])
    a.expect("rendezvous_match")
    meet(a, first, dailyPoints=[point])
    assert meet(b, uid(), dailyPoints=[point]) == EMPTY


def come(client, peers, point, token):
    """One after the other, with what each leaves there; the matches are read over."""
    client.send_all([{"type": "register_rendezvous", "peerId": peer, "dailyPoints": [point], "hourlyTokens": [token],
                      "deadDrop": peer} for peer in peers])
    results = 0
    while results < len(peers):
        results += client.recv()["type"] == "rendezvous_result"


def test_the_oldest_of_too_many_entries_are_dropped(fleet, connect):
    """Of one socket 8 are kept."""
    point, token, peers = uid("point"), uid("token"), [uid(f"{i:03}") for i in range(72)]
    sockets = [connect(fleet.workers[i % 2]) for i in range(10)]
    for i, client in enumerate(sockets[:9]):
        come(client, peers[8 * i:8 * i + 8], point, token)
    assert meet(sockets[9], uid(), dailyPoints=[point], hourlyTokens=[token]) == result(
        [live(peer) for peer in peers[-64:]], [drop(peer, peer) for peer in peers[-64:]])


def test_the_oldest_of_too_many_entries_of_one_socket_are_dropped(fleet, connect):
    a, b, c = (connect(fleet.workers[i % 2]) for i in range(3))
    point, token, other, peers = uid("point"), uid("token"), uid("000"), [uid(f"{i:03}") for i in range(70)]
    come(b, [other], point, token)
    come(a, peers, point, token)
    kept = [other, *peers[-8:]]
    assert meet(c, uid(), dailyPoints=[point], hourlyTokens=[token]) == result(
        [live(peer) for peer in kept], [drop(peer, peer) for peer in kept])


@pytest.mark.parametrize("ttl, place, other", [
    ("DAILY_TTL_MS", {"dailyPoints": ["p"], "deadDrop": "x"}, "HOURLY_TTL_MS"),
    ("HOURLY_TTL_MS", {"hourlyTokens": ["t"]}, "DAILY_TTL_MS")])
def test_an_entry_is_answered_until_it_expires_and_never_after(start, connect, ttl, place, other):
    fleet = start(**{ttl: int(TTL * 1000), other: 3_600_000})
    a, b = (connect(worker) for worker in fleet.workers)
    before = time.monotonic()
    meet(a, "first", **place)
    after = time.monotonic()
    seen = {True: 0, False: 0}
    while (sent := time.monotonic()) < after + 1.5 * TTL:
        answer = meet(b, "second", **place)  # its own fresh entry keeps the key alive
        got = time.monotonic()
        here = bool(answer["liveMatches"] or answer["deadDrops"])
        if got < before + TTL - 0.002:
            assert here, "gone too soon"
        if sent > after + TTL + 0.002:
            assert not here, "answered after its time"
        seen[here] += 1
        time.sleep(0.012)
    assert all(seen.values())


@pytest.mark.parametrize("mode", ["remove", "keep"])
def test_the_drops_of_a_peer_that_left_are_kept_only_on_request(start, connect, mode):
    fleet = start(DEAD_DROPS_ON_DISCONNECT=mode)
    a, b = (connect(worker) for worker in fleet.workers)
    place = {"dailyPoints": ["p"], "hourlyTokens": ["t"]}
    meet(a, "first", deadDrop="for you", **place)
    a.close()
    kept = [drop("first", "for you")] if mode == "keep" else []
    wait_until(lambda: meet(b, "second", **place) == result(drops=kept), 3, f"what {mode} leaves")
    time.sleep(0.2)
    assert meet(b, "second", **place) == result(drops=kept)


@pytest.mark.parametrize("text", [
    "\u00fcn\u00ef \U0001f600 \u2028\u2029\ufeff", '"\\\b\f\n\r\t/\u0001\u001f\u007f', "</script>", "\u00e9" * 8192,
    '"' * 16384, '{"a":[1,2.50]}', "\\u0041"], ids=lambda x: ascii(x)[:30])
def test_a_dead_drop_comes_out_as_it_went_in(pair, text):
    a, b = pair
    first, point = uid(), uid("point")
    meet(a, first, dailyPoints=[point], deadDrop=text)
    assert meet(b, uid(), dailyPoints=[point])["deadDrops"] == [drop(first, text)]


def test_of_two_that_register_at_the_same_time_the_later_sees_the_earlier(start, connect):
    fleet, count = start(MESSAGE_RATE=0, COST_RATE=0), 120
    sides = [connect(worker) for worker in fleet.workers]
    for side, client in enumerate(sides):
        client.send_all([{"type": "register_rendezvous", "peerId": f"{side}-{i}", "hourlyTokens": [f"token {i}"]}
                         for i in range(count)])
    wait_until(lambda: sum(client.inbox.qsize() for client in sides) >= 3 * count)
    seen, told = [], []
    for client in sides:
        messages = [client.recv() for _ in range(client.inbox.qsize())]
        seen.append([[e["peerId"] for e in m["liveMatches"]] for m in messages if m["type"] == "rendezvous_result"])
        told.append([m["match"]["peerId"] for m in messages if m["type"] == "rendezvous_match"])
        client.silence()
    assert len(told[0]) + len(told[1]) == count, "each pair is told once"
    for i in range(count):
        zero_is_later, one_is_later = seen[0][i] == [f"1-{i}"], seen[1][i] == [f"0-{i}"]
        assert zero_is_later != one_is_later, f"pair {i}: {seen[0][i]} {seen[1][i]}"
        assert (told[1].count(f"0-{i}"), told[0].count(f"1-{i}")) == (zero_is_later, one_is_later)


def test_a_match_reaches_a_peer_among_many_sockets(fleet, connect):
    token, peers = uid("token"), [uid() for _ in range(40)]
    clients = [connect(fleet.workers[i % 2]) for i in range(40)]
    for client, peer in zip(clients, peers):
        client.send(type="register_rendezvous", peerId=peer, hourlyTokens=[token])
        expected = peers[:peers.index(peer)]
        assert {entry["peerId"] for entry in client.expect("rendezvous_result")["liveMatches"]} == set(expected)
    for client, peer in zip(clients, peers):
        later = peers[peers.index(peer) + 1:]
        assert {client.expect("rendezvous_match")["match"]["peerId"] for _ in later} == set(later)
