# SPDX-License-Identifier: MIT
"""Whose id is it: claims, probes and takeovers."""
import time

import pytest

from harness import CROWD, IN_USE, SLOW, Fleet, uid, wait_until

PROBE = 1.0 * SLOW  # seconds a holder has to answer
GRACE = 0.5 * SLOW * CROWD
ENV = {"TAKEOVER_PROBE_MS": int(PROBE * 1000)}
WHERE = pytest.mark.parametrize("where", [0, 1], ids=["same worker", "other worker"])
REFUSED = {"type": "error", "message": IN_USE}


@pytest.fixture(scope="module")
def fleet():
    with Fleet(IP_CONNECT_RATE=0, **ENV) as fleet:
        yield fleet


def register(peer, **fields):
    return {"type": "register", "peerId": peer, **fields}


def meet(peer, token):
    return {"type": "register_rendezvous", "peerId": peer, "hourlyTokens": [token]}


def frozen(puppet, worker, *messages):
    holder = puppet(worker, *messages)
    holder.freeze()
    return holder


@WHERE
@pytest.mark.parametrize("claim", [register, lambda peer: meet(peer, "t")], ids=["register", "register_rendezvous"])
def test_a_living_peer_keeps_its_id_against_a_claim(fleet, connect, where, claim):
    holder, newcomer, peer = connect(fleet.workers[0]), connect(fleet.workers[where]), uid()
    holder.request("register", peerId=peer, maxConnections=4)
    newcomer.send(**claim(peer))
    assert newcomer.recv(PROBE + 2) == REFUSED
    assert newcomer.request("ping") == {"type": "pong"}
    holder.silence(0.1)
    assert holder.request("update_load", peerId=peer, connectedCount=1)["type"] == "load_updated"
    assert holder.request("register", peerId=peer)["type"] == "registered"
    assert peer in newcomer.relays() and peer not in holder.relays()
    own = uid()
    assert newcomer.request("register", peerId=own)["peerId"] == own


def test_who_asks_again_for_an_id_that_it_has_lost_keeps_its_others(fleet, connect):
    redis, former, successor = fleet.redis.client, connect(fleet.workers[0]), connect(fleet.workers[1])
    lost, kept, other = uid(), uid(), uid()
    for client, peer in (former, lost), (former, kept), (successor, other):
        client.request("register", peerId=peer)
    redis.hset(f"sb:{{peer:{lost}}}", "addr", redis.hget(f"sb:{{peer:{other}}}", "addr"))  # no word of it has come
    former.send(**register(lost))
    assert former.recv(PROBE + 2) == REFUSED
    redis.delete(f"sb:{{peer:{kept}}}")
    redis.execute_command("CLIENT", "KILL", "TYPE", "normal")
    wait_until(lambda: redis.exists(f"sb:{{peer:{kept}}}"), 5, "the resync")
    former.silence(0.3)
    assert former.request("update_load", peerId=lost, connectedCount=1) == REFUSED
    assert former.request("update_load", peerId=kept, connectedCount=1)["type"] == "load_updated"


@WHERE
@pytest.mark.parametrize("held_by", [register, lambda peer: meet(peer, "t")], ids=["register", "register_rendezvous"])
def test_a_frozen_peer_loses_its_id_to_its_new_connection(fleet, connect, puppet, where, held_by):
    peer, token = uid(), uid("token")
    holder, other = frozen(puppet, fleet.workers[0], held_by(peer)), connect(fleet.workers[1])
    newcomer = connect(fleet.workers[where])
    begun = time.monotonic()
    newcomer.send(**register(peer, maxConnections=10))
    assert newcomer.recv(PROBE + 2)["type"] == "registered"
    elapsed = time.monotonic() - begun
    assert PROBE - 0.1 < elapsed < PROBE + GRACE
    assert newcomer.request("register_rendezvous", peerId=peer, hourlyTokens=[token])["type"] == "rendezvous_result"
    assert newcomer.request("update_load", peerId=peer, connectedCount=1)["type"] == "load_updated"

    assert holder.thaw_and_end() == "4000 replaced"
    assert peer in other.relays(), "the late close of the old connection disturbs nobody"
    match = other.request("register_rendezvous", peerId=uid(), hourlyTokens=[token])
    assert match["liveMatches"] == [{"peerId": peer, "relayId": None}]
    assert newcomer.expect("rendezvous_match")
    assert newcomer.request("update_load", peerId=peer, connectedCount=2)["type"] == "load_updated"
    newcomer.silence(0.1)


def test_a_takeover_is_done_in_two_and_a_half_seconds_by_default(start, connect, puppet):
    fleet, peer = start(), uid()
    frozen(puppet, fleet.workers[0], register(peer))
    newcomer = connect(fleet.workers[1])
    begun = time.monotonic()
    newcomer.send(**register(peer))
    assert newcomer.recv(4)["type"] == "registered"
    assert 1.9 < time.monotonic() - begun < 2 + GRACE


@WHERE
def test_what_is_sent_during_a_claim_is_answered_after_it_in_order(fleet, connect, puppet, where):
    peer, living, own = uid(), uid(), uid()
    frozen(puppet, fleet.workers[0], register(peer))
    holder, newcomer = connect(fleet.workers[0]), connect(fleet.workers[where])
    holder.request("register", peerId=living)
    newcomer.send_all([
        register(peer), {"type": "ping"}, {"type": "update_load", "peerId": peer, "connectedCount": 3},
        register(living), {"type": "update_load", "peerId": living, "connectedCount": 3}, {"type": "heartbeat"},
        register(own), {"type": "get_relays"}, {"type": "nope"}, {"type": "ping"}])
    got = [newcomer.recv(PROBE + 2) for _ in range(10)]
    assert [m["type"] for m in got] == ["registered", "pong", "load_updated", "error", "error", "heartbeat_ack",
                                        "registered", "relays", "error", "pong"]
    assert got[3] == got[4] == REFUSED and got[6]["peerId"] == own


def test_a_socket_may_hold_several_ids(fleet, connect):
    a, b, ids = connect(fleet.workers[0]), connect(fleet.workers[1]), {uid() for _ in range(5)}
    for peer in ids:
        a.request("register", peerId=peer)
    assert ids <= set(b.relays())
    assert b.request("register", peerId=min(ids)) == REFUSED
    a.close()
    wait_until(lambda: ids.isdisjoint(b.relays()), 3, "all of them gone")


@WHERE
def test_an_id_is_free_at_once_after_a_clean_close(fleet, connect, where):
    a, b, peer = connect(fleet.workers[0]), connect(fleet.workers[where]), uid()
    a.request("register", peerId=peer)
    a.request("register_rendezvous", peerId=peer, hourlyTokens=["t"])
    a.close()
    begun = time.monotonic()
    assert b.request("register", peerId=peer)["type"] == "registered"
    assert time.monotonic() - begun < PROBE / 2
    b.silence(0.3)
    assert b.request("update_load", peerId=peer, connectedCount=1)["type"] == "load_updated"


@pytest.mark.parametrize("end", ["kill9", "pause"])
def test_the_id_of_a_peer_of_a_dead_or_stopped_worker_can_be_claimed(start, connect, end):
    fleet, peer = start(**ENV), uid()
    holder, newcomer, other = connect(fleet.workers[0]), connect(fleet.workers[1]), connect(fleet.workers[1])
    holder.request("register", peerId=peer)
    getattr(fleet.workers[0], end)()
    begun = time.monotonic()
    newcomer.send(**register(peer))
    assert newcomer.recv(PROBE + 2)["type"] == "registered"
    assert time.monotonic() - begun < PROBE + GRACE
    assert peer in other.relays()
    if end == "pause":
        fleet.workers[0].resume()
        assert holder.expect_close() == (4000, "replaced")
        assert peer in other.relays()


def test_of_two_newcomers_exactly_one_gets_the_id_of_a_frozen_holder(fleet, connect, puppet):
    for _ in range(2):
        peer = uid()
        holder, other = frozen(puppet, fleet.workers[0], register(peer)), connect(fleet.workers[1])
        newcomers = [connect(worker) for worker in fleet.workers]
        for client in newcomers:
            client.send(**register(peer, publicKey=f"key-{newcomers.index(client)}"))
        answers = [client.recv(2 * PROBE + 3) for client in newcomers]
        assert sorted(answer["type"] for answer in answers) == ["error", "registered"] and REFUSED in answers
        winner = answers.index(next(a for a in answers if a["type"] == "registered"))
        assert holder.thaw_and_end() == "4000 replaced"
        other.send(type="get_relays", count=100)
        relays = {relay["peerId"]: relay for relay in other.expect("relays")["relays"]}
        assert relays[peer]["publicKey"] == f"key-{winner}"
        for client in newcomers:
            client.silence(0.05)
            assert client.request("ping") == {"type": "pong"}


def test_only_the_holder_of_an_id_is_closed_when_it_is_taken(fleet, connect, puppet):
    taken, kept = uid(), uid()
    holder = frozen(puppet, fleet.workers[0], register(taken), register(kept))
    neighbour, newcomer = connect(fleet.workers[0]), connect(fleet.workers[1])
    neighbour.request("register", peerId=uid())
    newcomer.send(**register(taken))
    assert newcomer.recv(PROBE + 2)["type"] == "registered"
    assert holder.thaw_and_end() == "4000 replaced"
    wait_until(lambda: kept not in neighbour.relays(), 3, "the other id of the closed socket gone")
    assert taken in neighbour.relays() and neighbour.request("ping") == {"type": "pong"}
