# SPDX-License-Identifier: MIT
"""Pulls and multicast: one source is asked, the next when it fails, and everybody who waits gets the chunk once."""
import collections
import random
import time

import pytest

from harness import SLOW, Fleet, get, http_request, metric, publishes, uid, wait_until
from swarm import gather, members, settle, take
from test_chunks import NOT_FOUND, announce, data_of, push, wait_in_vain

PATIENCE_MS = 400 * SLOW
OPEN = {"IP_CONNECT_RATE": 0, "MESSAGE_RATE": 0}


@pytest.fixture
def sockets(closing):
    def sockets(*args, **kwargs):
        made = members(*args, **kwargs)
        for member in made:
            closing.callback(member.sock.close)
        return made

    return sockets


@pytest.fixture(scope="module")
def hasty():
    """A fleet that asks the next source soon."""
    with Fleet(CHUNK_PULL_TIMEOUT_MS=PATIENCE_MS, **OPEN) as fleet:
        yield fleet


def who_is_asked(clients, chunk, timeout=5):
    """The one of the clients that gets the chunk_pull."""
    asked = wait_until(lambda: [c for c in clients if not c.inbox.empty()], timeout, "a chunk_pull")[0]
    assert asked.expect("chunk_pull") == {"type": "chunk_pull", "chunkId": chunk}
    return asked


# --- multicast ---------------------------------------------------------------------------------------------------

def test_one_push_reaches_a_thousand_waiters_on_four_workers_with_four_publishes(start, sockets, connect):
    fleet = start(4, **OPEN)
    waiters, pusher, data = sockets(fleet.workers, 1000), connect(fleet.workers[0]), "x" * 65534
    for i, waiter in enumerate(waiters):
        waiter.send(type="chunk_request", peerId=f"peer-{i}", chunkId="c")
    gather(waiters, 1, 20)
    assert all(take(waiter) == [{"type": "chunk_not_found", "chunkId": "c", "message": NOT_FOUND}]
               for waiter in waiters)
    before = publishes(fleet)
    push(pusher, "c", data)
    gather(waiters, 1, 20)
    assert publishes(fleet) - before <= 4
    settle(waiters, 0.2)
    expected = {"type": "chunk_data", "chunkId": "c", "data": data, "source": "relay"}
    assert all(take(waiter) == [expected] for waiter in waiters)
    assert metric(fleet.workers, "signalbox_chunk_multicasts_total") == 1
    assert metric(fleet.workers, "signalbox_chunk_multicast_receivers_total") == 1000


@pytest.mark.parametrize("known", [False, True], ids=["unknown_until_announced", "announced_before"])
def test_however_many_ask_at_once_there_is_one_pull(start, sockets, known):
    fleet = start(2, **OPEN)
    askers, sources, chunk = sockets(fleet.workers, 200), sockets(fleet.workers, 2), uid("c")
    announcement = {"type": "chunk_announce", "peerId": uid(), "chunks": [{"chunkId": chunk, "routingHash": "h"}]}
    if known:
        sources[0].send(**announcement)
        sources[0].expect("chunk_announce_ack")
    for asker in askers:
        asker.send(type="chunk_request", peerId=uid(), chunkId=chunk)
    if not known:
        gather(askers, 1)
        assert {message["type"] for asker in askers for message in take(asker)} == {"chunk_not_found"}
        sources[0].send(**announcement)
        sources[0].expect("chunk_announce_ack")
    assert sources[0].recv() == {"type": "chunk_pull", "chunkId": chunk}
    sources[1].send(**{**announcement, "peerId": uid()})
    sources[1].expect("chunk_announce_ack")
    settle(askers + sources)
    assert not any(member.texts for member in askers + sources), "one pull, and to a source"
    sources[0].send(type="chunk_push", chunkId=chunk, data=1)
    gather(askers, 1)
    settle(askers + sources, 0.1)
    assert [len(member.texts) for member in askers] == [1] * 200
    assert {message["type"] for asker in askers for message in take(asker)} == {"chunk_data"}
    assert [message["type"] for message in take(sources[0])] == ["chunk_push_ack"]


def test_nobody_waits_for_ever_who_could_have_been_served(start, sockets):
    pairs, rounds = 50, 200
    fleet = start(2, **OPEN)
    pushers, askers = sockets(fleet.workers[:1], pairs), sockets(fleet.workers[1:], pairs)
    sources = collections.Counter()
    for number in range(rounds):
        order = [(member, {"type": kind, "chunkId": f"{number}-{i}", **fields})
                 for kind, group, fields in (("chunk_push", pushers, {"data": number}),
                                             ("chunk_request", askers, {}))
                 for i, member in enumerate(group) for fields in ({**fields, "peerId": f"{kind}-{i}"},)]
        random.shuffle(order)
        for member, message in order:
            member.send(**message)
        gather(pushers, 1)
        assert {message["type"] for member in pushers for message in take(member)} == {"chunk_push_ack"}
        waiting = set(askers)
        while waiting:
            gather(waiting, 1)
            for member in list(waiting):
                for message in take(member):
                    sources[message.get("source", "not found")] += 1
                    if message["type"] == "chunk_data":
                        assert message["data"] == number
                        waiting.remove(member)
    assert sources["cache"] + sources["relay"] == pairs * rounds
    assert sources["cache"] > 100 and sources["relay"] > 100, f"not much of a race: {sources}"


def test_a_peer_that_waits_twice_counts_once_and_gets_it_once(start, connect):
    fleet = start(2)
    waiter, pusher = connect(fleet.workers[0]), connect(fleet.workers[1])
    peer = wait_in_vain(waiter, "c")
    wait_in_vain(waiter, "c", peer)
    assert [get(worker, "/stats")["chunks"]["pendingRequests"] for worker in fleet.workers] == [1, 1]
    push(pusher, "c")
    data_of(waiter, "c", "relay")
    waiter.silence()


def test_a_waiter_that_is_gone_harms_nobody(fleet, connect, sockets):
    chunk, pusher = uid("c"), connect(fleet.workers[0])
    group = sockets(fleet.workers, 40)
    for member in group:
        member.send(type="chunk_request", peerId=uid(), chunkId=chunk)
    gather(group, 1)
    for member in group[:20]:
        member.sock.close()
    push(pusher, chunk)
    gather(group[20:], 2)
    settle(group[20:], 0.1)
    assert all([m["type"] for m in take(member)] == ["chunk_not_found", "chunk_data"] for member in group[20:])
    assert pusher.request("ping") == {"type": "pong"}


# --- whom to ask -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("asker_has_it", [False, True], ids=["asker_is_no_source", "asker_is_a_source_itself"])
def test_each_other_source_is_as_likely_to_be_asked(start, connect, asker_has_it):
    fleet, draws, others = start(2, **OPEN), 1000, 7
    chunks = [f"c-{i}" for i in range(draws)]
    sources = [connect(fleet.workers[i % 2]) for i in range(others)]
    asker, peer = connect(fleet.workers[0]), uid()
    for source in [*sources, asker] if asker_has_it else sources:
        announce(source, *chunks, peer=peer if source is asker else None)
    asker.send_all([{"type": "chunk_request", "peerId": peer, "chunkId": chunk} for chunk in chunks])
    wait_until(lambda: sum(source.inbox.qsize() for source in sources) == draws, what="a pull for each request")
    counts = [source.inbox.qsize() for source in sources]
    asked = [source.expect("chunk_pull")["chunkId"] for source in sources for _ in range(source.inbox.qsize())]
    assert sorted(asked) == sorted(chunks)
    # Six degrees of freedom: above 40 less than once in a million.
    assert sum((n - draws / others) ** 2 for n in counts) / (draws / others) < 40, counts


def test_the_requester_is_not_asked_for_its_own_request(fleet, connect):
    client, other, chunk = connect(fleet.workers[0]), connect(fleet.workers[1]), uid("c")
    peer = announce(client, chunk)
    wait_in_vain(client, chunk, peer)
    client.silence()
    announce(other, chunk)
    assert other.expect("chunk_pull")["chunkId"] == chunk
    push(other, chunk)
    data_of(client, chunk, "relay")


def test_a_subscriber_that_announces_becomes_a_source(start, connect):
    fleet = start(2, CHUNK_CACHE_MAX=1)
    owner, seed, last = (connect(fleet.workers[i]) for i in (0, 1, 0))
    announce(owner, "c")
    seed.send(type="chunk_request", peerId=(peer := uid()), chunkId="c")
    assert owner.expect("chunk_pull") == {"type": "chunk_pull", "chunkId": "c"}
    push(owner, "c", {"a": [1]})
    data = data_of(seed, "c", "relay")
    announce(seed, "c", peer=peer)
    push(owner, "another one")
    owner.close()
    last.send(type="chunk_request", peerId=uid(), chunkId="c")
    assert seed.expect("chunk_pull") == {"type": "chunk_pull", "chunkId": "c"}
    push(seed, "c", data)
    assert data_of(last, "c", "relay") == {"a": [1]}


# --- failover ----------------------------------------------------------------------------------------------------

def test_a_source_that_leaves_between_pull_and_push_is_replaced_at_once(fleet, connect):
    sources, waiter, chunk = [connect(worker) for worker in fleet.workers * 2], connect(fleet.workers[1]), uid("c")
    for source in sources:
        announce(source, chunk)
    waiter.send(type="chunk_request", peerId=uid(), chunkId=chunk)
    while len(sources) > 1:
        asked = who_is_asked(sources, chunk, 2)
        sources.remove(asked)
        asked.drop()
    asked = who_is_asked(sources, chunk, 2)
    push(asked, chunk)
    data_of(waiter, chunk, "relay")
    waiter.silence(0.1)


def test_when_the_worker_of_the_source_is_killed_the_second_source_is_asked_in_time(start, connect):
    fleet = start(3)
    clients = [connect(fleet.workers[i]) for i in (1, 2)]
    for client in clients:
        announce(client, "c")
    waiter = connect(fleet.workers[0])
    waiter.send(type="chunk_request", peerId=uid(), chunkId="c")
    asked, begun = who_is_asked(clients, "c"), time.monotonic()
    fleet.workers[1 + clients.index(asked)].kill9()
    other = clients[1 - clients.index(asked)]
    other.expect("chunk_pull", 8)
    assert time.monotonic() - begun < 5.6 * SLOW
    push(other, "c")
    data_of(waiter, "c", "relay")


def test_without_a_push_in_time_the_next_is_asked_and_in_the_end_the_waiters_are_told(hasty, connect):
    chunk, failovers = uid("c"), metric(hasty.workers, "signalbox_chunk_failovers_total")
    sources, waiters = ([connect(worker) for worker in hasty.workers] for _ in range(2))
    for source in sources:
        announce(source, chunk)
    for waiter in waiters:
        waiter.send(type="chunk_request", peerId=uid(), chunkId=chunk)
    begun = time.monotonic()
    first = who_is_asked(sources, chunk)
    second = sources[1 - sources.index(first)]
    assert who_is_asked([second], chunk) is second
    assert PATIENCE_MS - 50 < 1000 * (time.monotonic() - begun) < PATIENCE_MS + 600 * SLOW
    for waiter in waiters:
        assert waiter.recv() == {"type": "chunk_not_found", "chunkId": chunk, "message": NOT_FOUND}
    assert 2 * PATIENCE_MS - 50 < 1000 * (time.monotonic() - begun)
    assert metric(hasty.workers, "signalbox_chunk_failovers_total") == failovers + 1
    late = connect(hasty.workers[1])
    announce(late, chunk)
    assert late.expect("chunk_pull") == {"type": "chunk_pull", "chunkId": chunk}
    push(late, chunk, "late")
    assert [data_of(waiter, chunk, "relay") for waiter in waiters] == ["late", "late"]
    for client in (*sources, *waiters, late):
        client.silence(0.02)


def test_a_push_that_comes_late_serves_all_the_same_and_one_from_elsewhere_nobody(hasty, connect):
    chunk, source, waiter, stranger = uid("c"), *(connect(hasty.workers[i % 2]) for i in range(3))
    announce(source, chunk)
    waiter.send(type="chunk_request", peerId=uid(), chunkId=chunk)
    source.expect("chunk_pull")
    waiter.expect("chunk_not_found")
    push(source, chunk, 1)
    assert data_of(waiter, chunk, "relay") == 1
    other = uid("c")
    announce(source, other)
    waiter.send(type="chunk_request", peerId=uid(), chunkId=other)
    source.expect("chunk_pull")
    push(stranger, other, "a stranger's")
    waiter.silence(0.05)
    push(source, other, 2)
    assert data_of(waiter, other, "relay") == 2
    for client in (source, waiter):
        client.silence(PATIENCE_MS / 1000 / SLOW + 0.6)
