# SPDX-License-Identifier: MIT
"""valgrind finds no leak after a thousand connects and disconnects."""
import shutil

import pytest

from clients import begin_upgrade, frame, read_until, reset
from harness import ASAN, Redis, Worker, get, wait_until

VALGRIND = ["valgrind", "--leak-check=full", "--errors-for-leak-kinds=definite,indirect",
            "--show-leak-kinds=definite,indirect", "--error-exitcode=9", "--num-callers=20"]


@pytest.mark.skipif(ASAN, reason="AddressSanitizer and valgrind do not go together")
@pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed")
def test_valgrind_finds_no_leak_after_a_thousand_connects(closing):
    redis = Redis()
    closing.callback(redis.close)
    worker = Worker(redis.urls()[0], prefix=VALGRIND, patience=60, IP_CONNECT_RATE=0)
    closing.callback(worker.stop)
    for batch in range(10):
        sockets = [begin_upgrade(worker.port) for _ in range(100)]
        for i, s in enumerate(sockets):
            assert b" 101 " in read_until(s, b"\r\n\r\n")
            peer = f"peer-{batch}-{i}"
            s.sendall(frame(f'{{"type":"register","peerId":"{peer}","publicKey":"k"}}') + frame(
                f'{{"type":"register_rendezvous","peerId":"{peer}","dailyPoints":["p"],"hourlyTokens":["t{i % 10}"],'
                f'"deadDrop":"x","deadDrops":{{"p":"y"}}}}') + frame('{"type":"get_relays"}') + frame("{"))
        for i, s in enumerate(sockets):
            if i % 5:
                read_until(s, b"JSON parse error")
            s.close() if i % 2 else reset(s)
    wait_until(lambda: get(worker, "/stats")["connections"] == 0, 30, "no connections")
    worker.stop()
    assert any("ERROR SUMMARY: 0 errors" in line for line in worker.lines)
