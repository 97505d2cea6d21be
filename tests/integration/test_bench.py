# SPDX-License-Identifier: MIT
"""The benchmarks: each runs, with tiny numbers, and says what it should; the load generator sees what goes wrong."""
import json
import os
import re
import select
import socket
import struct
import subprocess
import sys
import threading

import pytest

from harness import ASAN, ROOT, WORKER, free_port

sys.path.insert(0, str(ROOT / "bench"))

LOAD = WORKER.parent / "signalbox-load"
CPU = {"worker1", "worker2", "redis"}
pytestmark = pytest.mark.skipif(ASAN, reason="a benchmark of this build says nothing")


def bench(name, *args):
    """(the rows of JSON, what else it printed) of a bench that ends well."""
    done = subprocess.run([sys.executable, ROOT / "bench" / f"{name}.py", *map(str, args)], text=True, timeout=100,
                          stdout=subprocess.PIPE, env={**os.environ, "SIGNALBOX_WORKER": str(WORKER)})
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    assert all(row["bench"] == name for row in rows)
    return rows, "\n".join(line for line in lines if not line.startswith("{"))


def counted(row):
    """That a row of the load generator has measured something, and lost nothing."""
    assert row["clean"] and row["errors"] == {} and row["messages"] > 0
    assert row["missing"] == row["refused"] == row["wrong"] == row["strange"] == 0
    times = [row["latency_us"][name] for name in ("p50", "p90", "p99", "p99.9", "max")]
    assert times == sorted(times) and times[0] > 0
    assert row["cpu_us"].keys() == CPU and all(us > 0 for us in row["cpu_us"].values())


@pytest.mark.parametrize("path", ["/signal", "/ws"])
def test_relay(path):
    rows, table = bench("relay", "--paths", path, "--places", "across", "--pairs", 3, "--seconds", 0.3, "--rounds", 1)
    assert [row["loop"] for row in rows] == ["closed", "open"]
    for row in rows:
        counted(row)
        assert row["cpu_per_message_us"].keys() == CPU and row["echo_us"] > 0 and row["times_echo"] > 0
    assert 1 < rows[1]["sent"] / (rows[1]["rate"] * rows[1]["seconds"]) < 6.6  # in twice these seconds
    assert "LOST" not in table and f"{path} across" in table


def test_rendezvous():
    rows, _ = bench("rendezvous", "--pairs", 2, "--seconds", 0.3)
    assert [row["kind"] for row in rows] == ["one token", "a token and three points"]
    for row in rows:
        counted(row)
        assert row["matches_per_registration"] > 0


def test_relay_over_tls():
    [row], _ = bench("relay", "--places", "TLS", "--pairs", 3, "--seconds", 0.3, "--rounds", 1)
    assert row["place"] == "TLS" and row["clean"] and row["messages"] > 0 and row["cpu_per_message_us"]["worker1"] > 0


def test_get_relays():
    [row], _ = bench("get_relays", "--peers", 500, "--clients", 4, "--seconds", 0.3)
    counted(row)
    assert row["cpu_per_answer_us"].keys() == CPU


def test_room_broadcast():
    [row], _ = bench("room_broadcast", "--rooms", 2, "--size", 5, "--seconds", 0.3)
    counted(row)
    assert row["messages"] * 4 <= row["deliveries"] + 2 * 4 and row["deliveries"] <= (row["messages"] + 2) * 4


def test_idle_over_tls():
    [plain, tls], _ = bench("idle", "--clients", 300, "--kinds", "plain /relay", "plain /relay, TLS")
    assert 0 < plain["worker_bytes"] < tls["worker_bytes"] < 32_000


def test_idle():
    [row], _ = bench("idle", "--clients", 400, "--kinds", "in rooms of 10 /ws")
    assert row["clean"] and row["connects"]["count"] == 400 and row["worker_bytes"] > 0 and row["redis_bytes"] > 0


def test_storm():
    rows, _ = bench("storm", "--clients", 50)
    assert [row["count"] for row in rows] == [50, 50, 50] and all(row["clean"] for row in rows)
    assert rows[0]["cpu_per_connection_us"]["worker1"] > 0 and rows[2]["cpu_per_connection_us"]["worker2"] > 0


def test_attestation():
    rows, _ = bench("attestation", "--devices", 10, "--region", 64)
    assert [row["request"] for row in rows] == ["register", "challenge", "verify"]
    assert all(row["cpu_per_request_us"]["worker1"] > 0 and row["ms"]["p50"] > 0 for row in rows)


def test_growth():
    rows, _ = bench("growth", "--rows", "relay_across_codes", "api_rooms", "--counts", 10, 20, "--seconds", 0.3,
                    "--rounds", 1)
    assert [row["row"] for row in rows] == ["relay_across_codes", "api_rooms"]
    assert all(row["ratio_at_20"] > 0 and row["cpu_at_20_us"] > 0 for row in rows)


def test_two_runs_are_compared(tmp_path):
    row = {"bench": "relay", "path": "/ws", "pairs": 1, "cpu_per_message_us": {"redis": 4.0}, "clean": True}
    before, after = tmp_path / "before", tmp_path / "after"
    before.write_text(json.dumps(row) + "\n" + json.dumps({**row, "pairs": 2}) + "\n")
    after.write_text(json.dumps({**row, "cpu_per_message_us": {"redis": 2.0}, "clean": False,
                                 "errors": {"HTTP 429": 1}}))
    done = subprocess.run([sys.executable, ROOT / "bench" / "compare.py", before, after], text=True,
                          stdout=subprocess.PIPE, timeout=20)
    assert done.returncode == 0
    assert re.search(r"cpu_per_message_us.redis +4.0 +2.0 +×0.50", done.stdout)
    assert "messages were lost or refused after: {'HTTP 429': 1}" in done.stdout
    assert "relay /ws 2: only before" in done.stdout


# --- what the load generator makes of a server that fails ---


class Rogue:
    """Speaks as much of /signal as two clients need. spoil(text) tells what is sent for an offer that is to be passed
    on: a list of texts."""

    def __init__(self, spoil):
        self.listener, self.spoil, self.by_code = socket.create_server(("127.0.0.1", 0)), spoil, {}
        self.port, self.data = self.listener.getsockname()[1], {}
        self.stop, self.wake = os.pipe()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        poll, self.by_fd = select.epoll(), {}
        poll.register(self.listener, select.EPOLLIN)
        poll.register(self.stop, select.EPOLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self.stop:
                    return
                if fd == self.listener.fileno():
                    s = self.listener.accept()[0]
                    self.by_fd[s.fileno()], self.data[s] = s, b""
                    poll.register(s, select.EPOLLIN)
                elif not self.read(self.by_fd[fd]):
                    poll.unregister(fd)

    def read(self, s):
        try:
            got = s.recv(1 << 16)
        except ConnectionResetError:
            return False
        self.data[s] += got
        if self.data[s].startswith(b"GET ") and self.data[s].endswith(b"\r\n\r\n"):
            self.data[s] = b""
            s.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        while (text := self.text(s)) is not None:
            self.take(s, text)
        return bool(got)

    def text(self, s):
        data = self.data[s]
        if len(data) < 6 or data.startswith(b"GET"):
            return None
        head, size = (8, int.from_bytes(data[2:4], "big")) if data[1] & 127 == 126 else (6, data[1] & 127)
        if len(data) < head + size:
            return None
        self.data[s] = data[head + size:]
        mask = int.from_bytes((data[head - 4:head] * (size // 4 + 1))[:size], "big")
        return (int.from_bytes(data[head:head + size], "big") ^ mask).to_bytes(size, "big").decode()

    def take(self, s, text):
        message = json.loads(text)
        if message["type"] == "register":
            self.by_code[message["pairingCode"]] = s
            self.send(s, '{"type":"registered"}')
            return
        [sender] = [code for code, other in self.by_code.items() if other is s]
        payload = text[text.index('"payload":') + 10:-1]
        for spoiled in self.spoil(f'{{"type":"offer","from":"{sender}","payload":{payload}}}'):
            self.send(self.by_code[message["target"]], spoiled)

    def send(self, s, text):
        try:
            s.sendall(b"\x81\x7e" + struct.pack("!H", len(text)) + text.encode())
        except OSError:
            pass

    def close(self):
        os.write(self.wake, b"x")
        self.thread.join(5)
        for s in [self.listener, *self.by_fd.values()]:
            s.close()
        os.close(self.stop)
        os.close(self.wake)


def load(port, *args):
    """(exit status, JSON) of relay between two clients, which begins at once."""
    done = subprocess.run([LOAD, "relay", "--ports", str(port), "--welcome", "registered", "--seconds", "0.2",
                           "--hello", '{"type":"register","pairingCode":"c%i"}', "--warm-up", "0", *args],
                          text=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=60)
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


SOON = "--drain", "0.3"  # for those that wait in vain


def every(third):
    """Does that to each third offer."""
    count = iter(range(1 << 30))
    return lambda text: third(text) if next(count) % 3 == 2 else [text]


@pytest.fixture
def rogue(closing):
    def rogue(spoil):
        server = Rogue(spoil)
        closing.callback(server.close)
        return server

    return rogue


def test_a_server_that_does_its_work_is_clean(rogue):
    status, result = load(rogue(lambda text: [text]).port)
    assert status == 0 and result["clean"] and result["sent"] > 10 and result["errors"] == {}


def test_an_offer_that_comes_twice_is_wrong(rogue):
    status, result = load(rogue(every(lambda text: [text, text])).port)
    assert status == 1 and not result["clean"] and result["wrong"] > 0


@pytest.mark.parametrize("old,new", [("xxx", "xyx"), ('"from":"c', '"from":"d'), ('"offer"', '"answer"')])
def test_an_offer_that_is_not_what_was_sent_is_strange(rogue, old, new):
    status, result = load(rogue(every(lambda text: [text.replace(old, new, 1)])).port, "--rate", "200", *SOON)
    assert status == 1 and not result["clean"] and result["strange"] > 0 and result["missing"] > 0


def test_an_offer_that_never_comes_is_missing(rogue):
    status, result = load(rogue(every(lambda text: [])).port, *SOON)
    assert status == 1 and not result["clean"] and result["missing"] == 1


def test_an_offer_that_is_refused_is_counted_by_the_words(rogue):
    status, result = load(rogue(every(lambda text: ['{"type":"error","message":"No"}'])).port, "--rate", "200")
    assert status == 1 and result["refused"] > 0 and result["errors"] == {"No": result["refused"]}


def test_a_stall_shows_in_open_loop(rogue):
    """The server stops for 300 ms once: in open loop all that were due meanwhile took long."""
    pause, once = threading.Event(), iter([True])

    def stall(text):
        if next(once, False):
            pause.wait(0.3)
        return [text]

    server = rogue(stall)
    status, result = load(server.port, "--rate", "500", "--seconds", "0.5")
    assert status == 0
    assert result["latency_us"]["max"] > 250_000 and result["latency_us"]["p50"] > 50_000


def test_a_port_where_nobody_listens_is_told():
    status, result = load(free_port())
    assert status == 1 and not result["clean"] and set(result["errors"]) == {"Connection refused"}


def test_a_worker_that_dies_is_told(start):
    import runner
    fleet = start(**runner.ENV)
    running = runner.Load("relay", fleet.workers, clients=4, seconds=0.5, drain=0.3, path="/ws", welcome="ACK")
    try:
        result = running.measure(fleet, begun=fleet.workers[1].kill9)
    finally:
        running.close()
    assert not result["clean"] and runner.lost(result).startswith("LOST OR REFUSED")
    assert result["errors"] and running.process.returncode == 1
