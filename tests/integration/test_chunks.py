# SPDX-License-Identifier: MIT
"""Chunk messages: what each is answered, what is refused with which words, and the data byte for byte."""
import itertools
import json

import pytest

from harness import IN_USE, UNAVAILABLE, get, uid, wait_until
from swarm import members

NOT_FOUND = "No online sources available. You will be notified when available."
NO_CHUNKS = "Missing or empty chunks array"
REQUEST_FIELDS, PUSH_FIELDS = "Missing required fields: peerId, chunkId", "Missing required fields: chunkId, data"
LIMIT = 65536
LONG, CONTROL = "x" * 257, "a\x01b"
MANY = [{"chunkId": f"many-{i}", "routingHash": "h"} for i in range(1025)]


def too_large(n):
    return f"Chunk payload too large: {n} bytes exceeds 65536 byte limit"


def announce(client, *chunks, peer=None):
    """Announces chunks as a peer; returns its id."""
    peer = peer or uid()
    answer = client.request("chunk_announce", peerId=peer, chunks=[{"chunkId": c, "routingHash": "h"} for c in chunks])
    assert answer == {"type": "chunk_announce_ack", "registered": len(chunks)}
    return peer


def push(client, chunk, data="data", **fields):
    assert client.request("chunk_push", chunkId=chunk, data=data, **fields) == {
        "type": "chunk_push_ack", "chunkId": chunk}


def wait_in_vain(client, chunk, peer=None):
    """Asks for a chunk that nobody has; the client waits for it from then on. Returns its id."""
    peer = peer or uid()
    assert client.request("chunk_request", peerId=peer, chunkId=chunk) == {
        "type": "chunk_not_found", "chunkId": chunk, "message": NOT_FOUND}
    return peer


def data_of(client, chunk, source, timeout=5):
    message = client.expect("chunk_data", timeout)
    assert message == {"type": "chunk_data", "chunkId": chunk, "data": message["data"], "source": source}
    return message["data"]


# --- texts -------------------------------------------------------------------------------------------------------

ONE = [{"chunkId": "c", "routingHash": "h"}]
WRONG = [
    ("chunk_announce", {"chunks": ONE}, "Missing required field: peerId"),
    ("chunk_announce", {"peerId": "", "chunks": ONE}, "Missing required field: peerId"),
    ("chunk_announce", {"peerId": None, "chunks": ONE}, "Missing required field: peerId"),
    ("chunk_announce", {"peerId": 7, "chunks": ONE}, "Invalid field: peerId"),
    ("chunk_announce", {"peerId": LONG, "chunks": ONE}, "Invalid field: peerId"),
    ("chunk_announce", {"peerId": CONTROL, "chunks": ONE}, "Invalid field: peerId"),
    ("chunk_announce", {"peerId": "p"}, NO_CHUNKS),
    *[("chunk_announce", {"peerId": "p", "chunks": chunks}, NO_CHUNKS)
      for chunks in (None, [], {}, "", "c", 7, 0, True, {"chunkId": "c", "routingHash": "h"})],
    ("chunk_announce", {"peerId": "p", "chunks": MANY}, "Invalid field: chunks"),
    *[("chunk_announce", {"peerId": "p", "chunks": [*ONE, entry]}, "Invalid field: chunks")
      for entry in ({"chunkId": LONG, "routingHash": "h"}, {"chunkId": "c2", "routingHash": LONG},
                    {"chunkId": CONTROL, "routingHash": "h"}, {"chunkId": "c2", "routingHash": CONTROL})],
    *[("chunk_request", fields, REQUEST_FIELDS)
      for fields in ({}, {"peerId": "p"}, {"chunkId": "c"}, {"peerId": "", "chunkId": "c"},
                     {"peerId": "p", "chunkId": ""}, {"peerId": None, "chunkId": "c"},
                     {"peerId": "p", "chunkId": None})],
    ("chunk_request", {"peerId": LONG, "chunkId": "c"}, "Invalid field: peerId"),
    ("chunk_request", {"peerId": "p", "chunkId": LONG}, "Invalid field: chunkId"),
    ("chunk_request", {"peerId": "p", "chunkId": CONTROL}, "Invalid field: chunkId"),
    ("chunk_request", {"peerId": "p", "chunkId": ["c"]}, "Invalid field: chunkId"),
    *[("chunk_push", fields, PUSH_FIELDS)
      for fields in ({}, {"chunkId": "c"}, {"data": "d"}, {"chunkId": "", "data": "d"},
                     {"chunkId": None, "data": "d"}, {"chunkId": "c", "data": None})],
    ("chunk_push", {"chunkId": LONG, "data": "d"}, "Invalid field: chunkId"),
    ("chunk_push", {"chunkId": {}, "data": "d"}, "Invalid field: chunkId"),
    ("chunk_push", {"peerId": LONG, "chunkId": "c", "data": "d"}, "Invalid field: peerId"),
    ("chunk_push", {"peerId": 1, "chunkId": "c", "data": "d"}, "Invalid field: peerId"),
    ("chunk_push", {"chunkId": "c", "data": "x" * 65535}, too_large(65537)),
]


def test_what_is_wrong_is_refused_in_the_words_of_the_protocol_and_changes_nothing(start, connect):
    fleet = start(2, MESSAGE_RATE=0)
    before, client = fleet.redis.keys(), connect(fleet.workers[0])
    for kind, fields, text in WRONG:
        assert client.request(kind, **fields) == {"type": "error", "message": text}, (kind, str(fields)[:200])
    assert client.request("ping") == {"type": "pong"}
    assert fleet.redis.keys() == before


def test_entries_without_chunk_or_hash_are_skipped(fleet, connect):
    source, waiter = connect(fleet.workers[0]), connect(fleet.workers[1])
    good, other = uid("c"), uid("c")
    skipped = [{}, {"chunkId": other}, {"routingHash": "h"}, {"chunkId": other, "routingHash": ""},
               {"chunkId": other, "routingHash": None}, {"chunkId": "", "routingHash": "h"}, None, "c", 7, [], [other]]
    answer = source.request("chunk_announce", peerId=uid(),
                            chunks=[*skipped, {"chunkId": good, "routingHash": "h", "more": 1}, *skipped])
    assert answer == {"type": "chunk_announce_ack", "registered": 1}
    wait_in_vain(waiter, other)
    waiter.send(type="chunk_request", peerId=uid(), chunkId=good)
    assert source.expect("chunk_pull") == {"type": "chunk_pull", "chunkId": good}
    assert source.request("chunk_announce", peerId=uid(), chunks=skipped) == {
        "type": "chunk_announce_ack", "registered": 0}


def test_a_thousand_and_twenty_four_chunks_are_announced_at_once(fleet, connect):
    source, waiter, name = connect(fleet.workers[0]), connect(fleet.workers[1]), uid("c")
    announce(source, *[f"{name}-{i}" for i in range(1024)])
    for i in (0, 500, 1023):
        waiter.send(type="chunk_request", peerId=uid(), chunkId=f"{name}-{i}")
        assert source.expect("chunk_pull")["chunkId"] == f"{name}-{i}"


@pytest.mark.parametrize("unknown", ["123456789012345678901234567890", '"\\u0000"', "{}"])
def test_unknown_fields_of_an_announced_chunk_are_ignored(fleet, closing, unknown):
    [client] = members(fleet.workers, 1)
    closing.callback(client.sock.close)
    client.send_text('{"type":"chunk_announce","peerId":"%s","chunks":[{"chunkId":"%s","routingHash":"h","more":%s}]}'
                     % (uid(), uid("c"), unknown))
    assert client.recv() == {"type": "chunk_announce_ack", "registered": 1}


@pytest.mark.parametrize("id", ["x" * 243, "tags } and { braces", "a b  c ", "ü😀", "\"\\/", "%s", "*"])
def test_any_id_will_do(fleet, connect, id):
    chunk, peer = id + uid(""), uid("") + id  # of 256 bytes at most
    source, waiter = connect(fleet.workers[0]), connect(fleet.workers[1])
    waiting = wait_in_vain(waiter, chunk)
    announce(source, chunk, peer=peer)
    assert source.expect("chunk_pull") == {"type": "chunk_pull", "chunkId": chunk}
    push(source, chunk, peerId=peer)
    assert data_of(waiter, chunk, "relay") == "data"
    assert waiter.request("chunk_request", peerId=waiting, chunkId=chunk)["source"] == "cache"


@pytest.mark.parametrize("message", [
    {"type": "chunk_announce", "chunks": ONE}, {"type": "chunk_request", "chunkId": "c"},
    {"type": "chunk_push", "chunkId": "in-use", "data": "d"}], ids=lambda m: m["type"])
def test_a_chunk_message_claims_its_peer_id(fleet, connect, message):
    owner, other = connect(fleet.workers[0]), connect(fleet.workers[1])
    peer = uid()
    owner.send(**message, peerId=peer)
    assert owner.recv()["type"] != "error"
    for chunks in (ONE, [{"chunkId": "in-use", "routingHash": "h"}]):
        refused = {"type": "error", "message": IN_USE}
        assert other.request("chunk_announce", peerId=peer, chunks=chunks) == refused
        assert other.request("chunk_request", peerId=peer, chunkId="in-use") == refused
        assert other.request("chunk_push", peerId=peer, chunkId=uid("c"), data="d") == refused
        assert other.request("register", peerId=peer) == refused
    owner.close()
    wait_until(lambda: other.request("register", peerId=peer)["type"] == "registered")


def test_a_refused_push_is_not_stored_and_a_refused_announce_is_no_source(fleet, connect):
    owner, other, waiter = connect(fleet.workers[0]), connect(fleet.workers[1]), connect(fleet.workers[0])
    owner.request("register", peerId=(peer := uid()))
    chunk = uid("c")
    assert other.request("chunk_push", peerId=peer, chunkId=chunk, data="d")["message"] == IN_USE
    assert other.request("chunk_announce", peerId=peer, chunks=[{"chunkId": chunk, "routingHash": "h"}])[
        "message"] == IN_USE
    wait_in_vain(waiter, chunk)


# --- sizes -------------------------------------------------------------------------------------------------------

SIZES = [
    ("a string", '"' + "x" * (LIMIT - 2) + '"', '"' + "x" * (LIMIT - 1) + '"'),
    ("two-byte letters", '"' + "ü" * (LIMIT // 2 - 1) + '"', '"x' + "ü" * (LIMIT // 2 - 1) + '"'),
    ("escapes", '"' + "\\u0041" * 10922 + "xx" + '"', '"' + "\\u0041" * 10922 + "xxx" + '"'),
    ("space in a string", '"' + " " * (LIMIT - 2) + '"', '"' + " " * (LIMIT - 1) + '"'),
    ("white space between tokens", "[" + " 1 ,\n\t" * 32766 + " 10 ]", " [" + "  1 ,\r\n" * 32766 + " 100 ]"),
]


@pytest.mark.parametrize("fits, exceeds", [row[1:] for row in SIZES], ids=[row[0] for row in SIZES])
def test_the_limit_counts_the_bytes_without_white_space_between_tokens(fleet, closing, fits, exceeds):
    pusher, same, other = group = members([fleet.workers[0], fleet.workers[0], fleet.workers[1]], 3)
    for member in group:
        closing.callback(member.sock.close)
    chunk = uid("c")
    for member in (same, other):
        member.send(type="chunk_request", peerId=uid(), chunkId=chunk)
        member.expect("chunk_not_found")
    pusher.send_text('{"type":"chunk_push","chunkId":"%s","data":%s}' % (chunk, exceeds))
    assert pusher.recv() == {"type": "error", "message": too_large(LIMIT + 1)}
    pusher.send(type="chunk_request", peerId=uid(), chunkId=chunk)
    pusher.expect("chunk_not_found")
    pusher.send_text('{"type":"chunk_push","chunkId":"%s","data":%s}' % (chunk, fits))
    kinds = {pusher.recv()["type"], pusher.recv()["type"]}
    assert kinds == {"chunk_push_ack", "chunk_data"}
    for member in (same, other):
        assert fits.strip().encode() in member.text(), "it came as it went"


# --- byte for byte -----------------------------------------------------------------------------------------------

SPELLINGS = [
    '""', "0", "-0", "false", "true", "{}", "[]", "1.0e+2", "1E400", "123456789012345678901234567890", "-0.10",
    "[ 1 ,2,  3 ]", '{ "b" : 1 , "a" : 2, "b" : 3 }', '"\\u0041\\/\\ud83d\\ude00\\u0000\\n\\""', '"A/ü😀"',
    '{"\\u006bey":null,"key":[null,{"x":{}}]}', '"\\u00e9\\u00E9"', '[\t"tab",\r\n"line" ]', '"  spaces  "',
    '"\\",\\"source\\":\\"cache\\"}"', '{"data":1,"chunkId":"other","source":"relay"}',
]


def unwrapped(text, raw):
    """The message around the data, which must be in it as it was sent."""
    head, found, tail = text.partition(b'"data":' + raw.encode())
    assert found, f"{raw!r} came as {text[:300]!r}"
    return json.loads(head + b'"data":1' + tail)


def test_data_comes_out_as_the_bytes_it_came_as(start, closing):
    fleet = start(2, MESSAGE_RATE=0)
    pusher, *waiters = members([fleet.workers[0], *fleet.workers], 3)
    late = members(fleet.workers, 2)
    for member in (pusher, *waiters, *late):
        closing.callback(member.sock.close)
    peers = [uid() for _ in range(4)]
    for raw, number in zip(SPELLINGS, itertools.count()):
        chunk = f"c-{number}"
        for member, peer in zip(waiters, peers):
            member.send(type="chunk_request", peerId=peer, chunkId=chunk)
            member.expect("chunk_not_found")
        pusher.send_text('{"data": %s ,"type":"chunk_push","chunkId":"%s"}' % (raw, chunk))
        assert pusher.recv() == {"type": "chunk_push_ack", "chunkId": chunk}
        for member in waiters:
            assert unwrapped(member.text(), raw) == {
                "type": "chunk_data", "chunkId": chunk, "data": 1, "source": "relay"}
        for member, peer in zip(late, peers[2:]):
            member.send(type="chunk_request", peerId=peer, chunkId=chunk)
            assert unwrapped(member.text(), raw) == {
                "type": "chunk_data", "chunkId": chunk, "data": 1, "source": "cache"}


def test_a_message_that_is_too_big_closes_and_stores_nothing(fleet, connect):
    pusher, waiter, chunk = connect(fleet.workers[0]), connect(fleet.workers[1]), uid("c")
    pusher.raw('{"type":"chunk_push","chunkId":"%s","data":[%s1]}' % (chunk, " " * 300_000))
    assert pusher.expect_close()[0] == 1009
    wait_in_vain(waiter, chunk)


# --- Redis away --------------------------------------------------------------------------------------------------

def test_without_redis_every_chunk_message_is_refused_at_once_and_works_again_after(start, connect):
    fleet = start(2)
    known, new = connect(fleet.workers[0]), connect(fleet.workers[1])
    peer = announce(known, "c")
    fleet.redis.stop()
    for client, id in ((known, peer), (new, uid())):
        for kind, fields in (("chunk_announce", {"chunks": ONE}), ("chunk_request", {"chunkId": "c"}),
                             ("chunk_push", {"chunkId": "c", "data": "d"})):
            client.send(type=kind, peerId=id, **fields)
            assert client.recv(1) == {"type": "error", "message": UNAVAILABLE}, kind
        client.send(type="chunk_push", chunkId="c", data="d")
        assert client.recv(1)["message"] == UNAVAILABLE
        assert client.request("ping") == {"type": "pong"}
    fleet.redis.start()
    assert known.expect_close()[0] == 1001, "Redis has forgotten what it had announced"
    known = connect(fleet.workers[0])
    wait_until(lambda: known.request("chunk_push", chunkId="c", data=1)["type"] == "chunk_push_ack" and
               all("chunks" in get(worker, "/stats") for worker in fleet.workers), 10)
    assert new.request("chunk_request", peerId=uid(), chunkId="c")["source"] == "cache"
