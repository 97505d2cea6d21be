# SPDX-License-Identifier: MIT
"""Redis answers, and seconds late: workers stay who they are, or are another once, and nobody is told that somebody left
who is there."""
import collections
import contextlib
import queue
import socket
import threading
import time

import pytest

from harness import Worker, get, ready, uid, wait_until
from proxy import Proxy
from test_rooms import joined, welcomed

ENV = {"IP_CONNECT_RATE": 0, "IP_CONNECTIONS_MAX": 0, "MESSAGE_RATE": 0}
LATE, LATER = 9, 0.5  # seconds, and by how much of a second in each


class LateProxy(Proxy):
    """Its answers come later and later, up to LATE seconds; bytes go on coming. What comes on subscriptions does not,
    nor what comes on the urgent connection if that is spared."""

    slow_since, later, spares_urgent = None, LATER, False

    def _late(self, own):
        if not self.slow_since or (self.spares_urgent and self.urgent is own):
            return 0
        return min(LATE, self.later * (time.monotonic() - self.slow_since))

    def _pump(self, source, sink, own, commands):
        if commands:
            super()._pump(source, sink, own, commands)
            return
        line = queue.Queue()
        threading.Thread(target=self._deliver, args=(line, sink, own), daemon=True).start()
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 18):
                line.put((time.monotonic() + self._late(own), data))
        line.put((0, b""))

    def _deliver(self, line, sink, own):
        with contextlib.suppress(OSError):
            while True:
                at, data = line.get()
                if self.subscriber is not own:
                    time.sleep(max(0, at - time.monotonic()))
                if not data:
                    break
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def late(start, closing):
    """Two workers, each with a proxy of its own. Neither leads: it is at whoever leads that names count as dead."""
    fleet = start(0)
    for _ in range(2):
        proxy = LateProxy(fleet.redis.port)
        closing.callback(proxy.close)
        fleet.workers.append(Worker(proxy.url, LEADER_ELECTION="off", **ENV))
        fleet.workers[-1].proxy = proxy
    return fleet


def losses(workers):
    return sum(len(worker.events("lease_lost")) for worker in workers)


def test_a_worker_whose_answers_come_late_is_not_another_again_and_again(late, connect):
    """Meanwhile its peers stay, and are counted once."""
    slow, room, most = list(late.workers), uid("room"), 0
    prompt = Worker(late.redis.urls()[0], **ENV)
    late.workers.append(prompt)
    peers = [joined(welcomed(connect(worker, "/ws")), room) for worker in slow for _ in range(3)]
    for worker in slow:
        worker.proxy.slow_since = time.monotonic()
    time.sleep(LATE / LATER + 4)
    before, begun = losses(slow), time.monotonic()
    while time.monotonic() < begun + 30:
        time.sleep(1)
        most = max(most, get(prompt, "/api/stats")["peers"]["total"])
    minutes = (time.monotonic() - begun) / 60
    assert losses(slow) - before <= 8 * minutes * len(slow)
    assert not [m for peer in peers for m in list(peer.inbox.queue) if m and m["type"] == "PEER_LEFT"]
    assert prompt.events("worker_reaped"), "former names were cleaned up after"
    assert most == len(peers) and [peer.closed for peer in peers] == [None] * len(peers)


def test_beats_and_the_lead_do_not_wait_for_what_clients_ask(start, connect, closing):
    fleet = start(0)
    proxy = LateProxy(fleet.redis.port)
    closing.callback(proxy.close)
    proxy.spares_urgent, proxy.later = True, 3
    worker = Worker(proxy.url, **ENV)
    fleet.workers.append(worker)
    wait_until(lambda: proxy.first_beat, 5, "a beat on the urgent connection, too")
    client, asked, took, begun = connect(worker), collections.deque(), 0, time.monotonic()
    proxy.slow_since = begun
    while time.monotonic() < begun + 2 * LATE:  # some answer comes all the time, or the connection would be given up
        client.send(type="get_relays")
        asked.append(time.monotonic())
        while not client.inbox.empty():
            assert client.recv() == {"type": "relays", "relays": []}
            took = time.monotonic() - asked.popleft()
        time.sleep(0.1)
    assert took > LATE, "what clients ask is answered late"
    assert ready(worker) and not losses([worker]) and not worker.events("redis_lost")
    assert not worker.events("leader_lost") and len(worker.events("leader_elected")) == 1
