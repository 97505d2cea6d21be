# SPDX-License-Identifier: MIT
"""Clients that do not read and clients that do not answer."""
import select
import time

from clients import bare_socket, frame
from harness import SLOW, metric, uid, wait_until
from test_signal import hear, registered


def test_a_client_that_does_not_read_is_let_go_and_others_are_served(start, connect):
    fleet = start(1, SEND_QUEUE_MAX=65536, MESSAGE_RATE=0, IP_CONNECT_RATE=0)
    worker = fleet.workers[0]
    other = connect(worker)
    for i in range(100):
        other.request("register", peerId=uid(f"{i:03}-" + "x" * 230))
    slow = bare_socket(worker, receive_buffer=4096)
    asks, end = frame('{"type":"get_relays","count":100}') * 50, time.monotonic() + 60 * SLOW
    slow.setblocking(False)
    closed = False
    while not closed and time.monotonic() < end:
        try:
            slow.send(asks)
        except BlockingIOError:
            pass
        except OSError:
            break
        select.select([], [slow], [], 0.05)
        assert other.request("ping") == {"type": "pong"}
        closed = metric(worker, "signalbox_connections") == 1
    wait_until(lambda: metric(worker, "signalbox_connections") == 1, 6, "the end of the slow client")
    slow.settimeout(5 * SLOW)
    data = b""
    try:
        while chunk := slow.recv(65536):
            data = (data + chunk)[-200:]
    except ConnectionResetError:
        pass
    assert b"\x88" not in data or (1013).to_bytes(2, "big") in data, "where a close frame came through, it says 1013"
    slow.close()
    assert other.request("ping") == {"type": "pong"}


def test_the_rest_of_a_frame_is_written_when_there_is_room_also_where_nothing_else_happens(start, connect):
    fleet = start(MAX_MESSAGE_BYTES=8 << 20)
    sender, reader = (registered(connect(worker, "/signal")) for worker in fleet.workers)
    for _ in range(3):
        sender.send(type="offer", target=reader.code, payload="x" * (6 << 20))
        assert len(hear(reader, "offer")["payload"]) == 6 << 20


def test_a_client_that_does_not_answer_pings_is_closed_and_others_stay(start, connect):
    timeout = 0.6 * SLOW
    worker = start(1, PING_INTERVAL_MS=int(timeout * 500), PONG_TIMEOUT_MS=int(timeout * 1000)).workers[0]
    living, mute = connect(worker), connect(worker)
    mute.ws.pong = lambda *_: None
    living.request("register", peerId=uid())
    begun = time.monotonic()
    assert mute.expect_close(8)[0] == 1001
    assert timeout * 0.9 < time.monotonic() - begun < timeout * 3 + 1
    assert mute.pings >= 1
    wait_until(lambda: living.pings >= 5, 8, "several pings answered")
    assert living.closed is None and living.request("ping") == {"type": "pong"}
