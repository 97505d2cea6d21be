# SPDX-License-Identifier: MIT
"""Who uses it as the apps do is refused nothing under the default limits, though an hour of it comes at once."""
import json
import socket
import time

import pytest

from clients import frame, read_until, upgrade_request
from harness import ASAN, DEFAULT_LIMITS, uid
from swarm import Member, gather, members, settle, take

BEHIND_A_NAT = {"IP_CONNECTIONS_MAX": 10_000, "IP_CONNECT_RATE": 0, "IP_COST_RATE": 0, "HTTP_RATE": 0, "MISS_RATE": 0,
                "STORE_ADDRESS_MAX": 1 << 30}  # as docs/operations.md says
too_slow = pytest.mark.skipif(ASAN, reason="this build is too slow for so many")


@pytest.fixture
def fleet(start):
    return start(2, **DEFAULT_LIMITS, SIGNAL_PRESENCE_MAX=0)


def refusals(messages):
    return [message for message in messages if message["type"].lower() == "error"]


def test_points_with_drops_each_day(fleet, connect):
    client = connect(fleet.workers[0])
    for day in range(3):
        points = [f"{uid()}-{day}" for _ in range(256)]
        for drops in ({"deadDrop": "x" * 16_000}, {"deadDrops": {point: "y" * 900 for point in points}}):
            client.send(type="register_rendezvous", peerId="honest", dailyPoints=points, **drops)
            client.expect("rendezvous_result", 20)


def test_the_owner_of_a_channel_announces_1024_chunks_an_hour(fleet, connect):
    owner, reader = connect(fleet.workers[0]), connect(fleet.workers[1])
    for _ in range(3):
        chunks = [{"chunkId": uid("chunk"), "routingHash": uid("hash")} for _ in range(1024)]
        owner.send(type="chunk_announce", peerId="owner", chunks=chunks)
        assert owner.expect("chunk_announce_ack", 20)["registered"] == 1024
        for chunk in chunks[:10]:
            reader.send(type="chunk_request", peerId="reader", chunkId=chunk["chunkId"])
            assert owner.expect("chunk_pull", 20)["chunkId"] == chunk["chunkId"]
            owner.send(type="chunk_push", peerId="owner", chunkId=chunk["chunkId"], data="x" * 60_000)
            owner.expect("chunk_push_ack", 20)
            reader.expect("chunk_data", 20)


@too_slow
def test_a_room_of_500_from_one_address(fleet, closing):
    crowd = members(fleet.workers, 500, "/ws")
    for member in crowd:
        closing.callback(member.sock.close)
    gather(crowd, 1)
    ids = [member.recv()["peer_id"] for member in crowd]
    for begin in range(0, 500, 50):
        for member in crowd[begin:begin + 50]:
            member.send(type="JOIN", room_id="lecture", payload={"display_name": "somebody"})
        gather(crowd[begin:begin + 50], 1, 20)
        settle(crowd, 0.1)
    settle(crowd, 0.5)
    heard = [take(member) for member in crowd]
    assert [refusals(messages) for messages in heard] == [[]] * 500
    for kind, fields in (("OFFER", {"payload": {"sdp": "x" * 3000}}), ("DISCOVER", {}), ("LEAVE", {})):
        for i, member in enumerate(crowd):
            member.send(type=kind, target_id=ids[i - 1], **fields)
            if i % 50 == 49:
                settle(crowd, 0.05)
        settle(crowd, 0.5)
        assert [refusals(take(member)) for member in crowd] == [[]] * 500, kind


def behind_the_nat(worker, path="/relay"):
    s = socket.create_connection(("127.0.0.1", worker.port), 20)
    s.sendall(upgrade_request(worker.port, path).replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n"))
    return s


@too_slow
def test_ten_thousand_behind_one_carrier_nat(start, many_descriptors, closing):
    workers = start(2, **{**DEFAULT_LIMITS, **BEHIND_A_NAT, "TRUSTED_PROXIES": "127.0.0.1"}).workers
    begun, refused = time.monotonic(), []
    for begin in range(0, 10_000, 250):
        batch = [behind_the_nat(workers[i % 2]) for i in range(250)]
        for i, s in enumerate(batch):
            closing.callback(s.close)
            assert b" 101 " in read_until(s, b"\r\n\r\n")
            me = {"peerId": f"phone-{begin + i}"}
            s.sendall(b"".join(frame(json.dumps({**m, **me})) for m in (
                {"type": "register"}, {"type": "heartbeat"}, {"type": "chunk_request", "chunkId": f"c-{i}"},
                {"type": "register_rendezvous", "deadDrop": "x" * 400, "hourlyTokens": [f"token-{begin + i}"],
                 "dailyPoints": [f"point-{begin + i}-{n}" for n in range(3)]})))
        phones = [Member(s) for s in batch]
        gather(phones, 4, 30)
        refused += [message for phone in phones for message in refusals(take(phone))]
    print(f"{time.monotonic() - begun:.1f} s")
    assert refused == []
