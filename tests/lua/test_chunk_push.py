# SPDX-License-Identifier: MIT
"""chunk/push: the frames that reach the waiters of other workers, as include/signalbox/inbox.h lays them out."""
import struct
import time

import pytest
import redis

from .chunks import A, B, BEFORE, BEHIND, OTHER, SELF, THIRD
from .names import IDS, key

HEAD = b"\x01\x01" + SELF.encode() + bytes(8)


@pytest.fixture
def frames(db):
    """frames(): (wid, frame) of all that was published to inboxes since it was last asked."""
    raw = redis.Redis(unix_socket_path=db.connection_pool.connection_kwargs["path"], socket_timeout=10)
    end, inbox = b"end", key("inbox", "").encode()
    with raw.pubsub() as listener:
        listener.psubscribe(inbox + b"*", end)
        assert [listener.get_message(timeout=10)["type"] for _ in range(2)] == ["psubscribe"] * 2

        def frames():
            db.publish(end, "")
            found, last = [], time.monotonic() + 10
            while (message := listener.get_message(timeout=1)) is None or message["channel"] != end:
                assert time.monotonic() < last, "the end was not heard"
                if message:
                    assert message["channel"].startswith(inbox)
                    found.append((message["channel"][len(inbox):].decode(), message["data"]))
            return found

        yield frames
    raw.close()


def read(frame):
    """(sids, message) of a frame of the worker SELF; nothing else may stand in it."""
    assert frame.startswith(HEAD)
    [count] = struct.unpack_from("<H", frame, len(HEAD))
    at = len(HEAD) + 2
    targets = list(struct.iter_unpack("<QH", frame[at:at + 10 * count]))
    assert len(targets) == count and all(entry == 0 for _, entry in targets)
    return [sid for sid, _ in targets], frame[at + 10 * count:]


def test_the_frame_is_that_of_the_inbox_byte_for_byte(chunk, frames):
    chunk.wait(f"{OTHER}.16777218 bob")
    assert chunk.push('"x"') == [f"{OTHER}.16777218 bob"]
    assert frames() == [(OTHER, b"\x01\x01" b"1f0c9a3e" b"\0\0\0\0\0\0\0\0" b"\x01\0"
                         b"\x02\0\0\x01\0\0\0\0" b"\0\0"
                         b'{"type":"chunk_data","chunkId":"c","data":"x","source":"relay"}')]


def test_each_other_worker_is_sent_one_frame_for_all_its_waiters(chunk, frames):
    waiters = {f"{wid}.{sid} p{sid}" for wid in (SELF, OTHER, THIRD) for sid in range(1, 6)}
    for waiter in waiters:
        chunk.wait(waiter)
    assert set(chunk.push("1")) == waiters, "those of other workers are named too"
    sent = frames()
    assert sorted(wid for wid, _ in sent) == sorted([OTHER, THIRD])
    for _, frame in sent:
        sids, message = read(frame)
        assert sorted(sids) == [1, 2, 3, 4, 5]
        assert message.decode() == f"{BEFORE}1{BEHIND}"


def test_nothing_is_published_to_the_pushing_worker(chunk, frames):
    chunk.wait(A), chunk.wait(B)
    assert chunk.push("1") == [A, B]
    assert frames() == []


def test_it_is_the_pushing_worker_that_is_left_out(chunk, frames):
    chunk.db.zadd(chunk.key("wait"), {A: chunk.now() + 5000, f"{OTHER}.1 p": chunk.now() + 5000})
    assert len(chunk.push("1", wid=OTHER)) == 2
    [(wid, frame)] = frames()
    assert wid == SELF and frame[2:10] == OTHER.encode()
    assert frame[18:20] == b"\x01\0" and frame[20:28] == struct.pack("<Q", 16777216)


def test_where_nobody_waits_nothing_is_published(chunk, frames):
    chunk.push("1")
    chunk.db.delete(chunk.key("data"))
    chunk.wait(f"{OTHER}.1 p")
    chunk.leave("wait", f"{OTHER}.1 p")
    chunk.push("1")
    assert frames() == []


def test_an_ended_wait_is_not_served_beside_one_that_lasts(chunk, frames):
    chunk.wait(f"{OTHER}.1 p", 20)
    chunk.wait(f"{THIRD}.1 p", 20)
    chunk.wait(f"{OTHER}.2 p")
    time.sleep(0.03)
    chunk.push("1")
    [(wid, frame)] = frames()
    assert wid == OTHER and read(frame)[0] == [2]


def test_a_push_is_sent_once(chunk, frames):
    chunk.wait(f"{OTHER}.1 p")
    chunk.push("1")
    assert len(frames()) == 1
    chunk.push("2")
    assert frames() == []


def test_two_peers_of_one_socket_are_two_targets(chunk, frames):
    chunk.wait(f"{OTHER}.7 p")
    chunk.wait(f"{OTHER}.7 q")
    chunk.push("1")
    [(_, frame)] = frames()
    assert read(frame)[0] == [7, 7]


@pytest.mark.parametrize("sid", [0, 1, 255, 256, 2 ** 32, 2 ** 40 + 7, 2 ** 53 - 1])
def test_a_sid_has_eight_bytes(chunk, frames, sid):
    chunk.wait(f"{OTHER}.{sid} p")
    chunk.push("1")
    [(_, frame)] = frames()
    assert read(frame)[0] == [sid]


def test_the_message_is_what_was_given_whatever_its_bytes(chunk, frames):
    data, before, behind = bytes(range(256)) * 512, b"%s\0{\xff", b"\0\xfe%1"
    chunk.wait(f"{OTHER}.1 p")
    chunk.push(data, before=before, behind=behind)
    [(_, frame)] = frames()
    assert read(frame)[1] == before + data + behind


def test_more_targets_than_one_frame_can_count_come_in_two(chunk, frames):
    end = chunk.now() + 60000
    chunk.db.zadd(chunk.key("wait"), {f"{OTHER}.{sid} p": end for sid in range(1, 65538)})
    chunk.db.zadd(chunk.key("wait"), {f"{THIRD}.{sid} p": end for sid in range(1, 65536)})
    assert len(chunk.push("1")) == 65537 + 65535
    sent = [(wid, *read(frame)) for wid, frame in frames()]
    assert sorted((wid, len(sids)) for wid, sids, _ in sent) == sorted([(OTHER, 65535), (OTHER, 2), (THIRD, 65535)])
    assert sorted(sid for wid, sids, _ in sent if wid == OTHER for sid in sids) == list(range(1, 65538))
    assert {message.decode() for _, _, message in sent} == {f"{BEFORE}1{BEHIND}"}


@pytest.mark.parametrize("id", [*IDS, f" {THIRD}.9 p", f"{THIRD}.9 p"])
def test_any_peer_will_do(chunk, frames, id):
    chunk.wait(f"{OTHER}.5 {id}")
    assert chunk.push("1") == [f"{OTHER}.5 {id}"]
    [(wid, frame)] = frames()
    assert wid == OTHER and read(frame)[0] == [5]
