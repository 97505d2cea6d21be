# SPDX-License-Identifier: MIT
"""TLS on the port: what is spoken there, whose certificate is shown since when, and clients that take their time."""
import concurrent.futures
import contextlib
import ctypes
import ctypes.util
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import websocket

from authority import Authority
from clients import Client, begin_upgrade, frame, read_until
from harness import CROWD, SLOW, UPGRADE, WORKER, Redis, Stopwatch, Worker, free_port, get, http_request, uid, wait_until
from swarm import Member, gather

HANDSHAKE_SECONDS = 10
HELLO = b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"x" * 100
CONTINUE = "DEFAULT@SECLEVEL=0"  # lets a client speak versions that are too old for it


@pytest.fixture(scope="module")
def authority():
    return Authority()


class Files:
    """The two files that TLS_CERT and TLS_KEY name."""

    def __init__(self, folder, pair):
        self.cert, self.key = folder / "chain.pem", folder / "key.pem"
        self.put(pair)

    def put(self, pair):
        self.cert.write_bytes(pair.chain)
        self.key.write_bytes(pair.key)

    @property
    def options(self):
        return {"TLS_CERT": self.cert, "TLS_KEY": self.key}


@pytest.fixture
def files(authority, tmp_path):
    return Files(tmp_path, authority.issue())


@pytest.fixture
def launch(closing, authority, files):
    """Starts workers with TLS on one Redis."""
    redis = Redis()
    closing.callback(redis.close)

    def launch(*args, tls=True, **env):
        options = {"tls": authority.client(), **files.options} if tls else {}
        worker = Worker(redis.urls()[0], *args, **{"IP_CONNECT_RATE": 0, **options, **env})
        closing.callback(worker.stop)
        return worker

    return launch


@pytest.fixture
def dial(closing):
    """Connections that are closed with the test. context: with TLS, its handshake done."""
    def dial(worker, context=None, receive_buffer=0):
        s = closing.enter_context(contextlib.closing(socket.socket()))
        s.settimeout(10 * SLOW)
        if receive_buffer:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        s.connect(("127.0.0.1", worker.port))
        if context:
            s = closing.enter_context(contextlib.closing(context.wrap_socket(s, server_hostname="127.0.0.1")))
        return s

    return dial


@pytest.fixture
def upgrade(dial):
    """A WebSocket over TLS that does only what it is told."""
    def upgrade(worker, path="/relay", **options):
        s = dial(worker, worker.tls, **options)
        fields = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items())
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode())
        assert b" 101 " in read_until(s, b"\r\n\r\n")
        return s

    return upgrade


def shown(worker, dial):
    """The certificate that a new connection is shown."""
    return dial(worker, worker.tls).getpeercert(binary_form=True)


def reload(worker, event="tls_reloaded", count=1):
    """Sends SIGHUP; returns the events that follow."""
    before = len(worker.events(event))
    worker.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(worker.events(event)) >= before + count, 5, event)
    return worker.events(event)[before:]


def no_secret_in(worker, *pairs):
    log = "".join(worker.lines)
    for pair in pairs:
        assert not [line for line in pair.key.decode().splitlines() if line in log]


# --- what is spoken ----------------------------------------------------------------------------------------------

def test_a_worker_with_tls_and_one_without_serve_the_same_fleet(launch, connect):
    secure, plain = launch(), launch(tls=False)
    status, headers, body = http_request(secure, "GET", "/health")
    assert status == 200 and body["status"] == "ok"
    assert http_request(secure, "POST", "/servers/heartbeat", json.dumps({"serverId": "x" * 60000}))[0] in (400, 404)
    a, b, peers = connect(secure), connect(plain), [uid(), uid()]
    a.request("register", peerId=peers[0])
    b.request("register", peerId=peers[1])
    assert peers[1] in a.relays() and peers[0] in b.relays()
    a.request("register_rendezvous", peerId=peers[0], hourlyTokens=["t"])
    assert b.request("register_rendezvous", peerId=peers[1], hourlyTokens=["t"])["liveMatches"] == [
        {"peerId": peers[0], "relayId": None}]
    assert a.expect("rendezvous_match")["match"]["peerId"] == peers[1]
    for worker in (secure, plain):
        wait_until(lambda w=worker: get(w, "/stats")["connections"] == 2, 6, "both counted")
    assert a.close()[0] == 1000


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("version, spoken",
                         [("TLSv1", False), ("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)])
def test_tls_is_spoken_from_version_1_2_on(launch, authority, dial, version, spoken):
    worker, context = launch(), authority.client(ssl.TLSVersion[version], CONTINUE)
    if spoken:
        assert dial(worker, context).version() == version.replace("_", ".")
    else:
        with pytest.raises(ssl.SSLError):
            dial(worker, context)
    assert http_request(worker, "GET", "/health")[0] == 200


@pytest.mark.parametrize("kind, ciphers, spoken", [
    ("ec", "ECDHE-ECDSA-AES128-GCM-SHA256", True), ("ec", "ECDHE-ECDSA-CHACHA20-POLY1305", True),
    ("ec", "ECDHE-ECDSA-AES128-SHA256", False), (2048, "ECDHE-RSA-AES256-GCM-SHA384", True),
    (2048, "AES128-GCM-SHA256", False), (2048, "ECDHE-RSA-AES128-SHA", False)])
def test_only_ciphers_with_forward_secrecy_are_spoken(launch, authority, files, dial, kind, ciphers, spoken):
    files.put(authority.issue(kind))
    worker, context = launch(), authority.client(ssl.TLSVersion.TLSv1_2, ciphers)
    if spoken:
        assert dial(worker, context).cipher()[0] == ciphers
    else:
        with pytest.raises(ssl.SSLError):
            dial(worker, context)


def test_http_2_is_not_offered_and_who_asks_for_nothing_else_gets_http_1_1(launch, authority, dial):
    worker = launch()
    for offered, taken in [(["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), (["h2"], None), (None, None)]:
        s = dial(worker, authority.client(alpn=offered))
        assert s.selected_alpn_protocol() == taken
        s.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert s.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_sessions_are_not_resumed(launch, authority, dial):
    worker = launch()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = authority.client(version)
        first = dial(worker, context)
        first.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert first.recv(1000)
        assert not first.session or not first.session.has_ticket


def test_plain_http_is_told_that_tls_is_required(launch, dial):
    worker = launch()
    for request in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /servers HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"):
        s = dial(worker)
        s.sendall(request)
        answer = b"".join(iter(lambda: s.recv(1000), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ") and json.loads(body) == {"error": "TLS Required"}
        assert f"content-length: {len(body)}".encode() in head
    assert b" 400 " in read_until(begin_upgrade(worker.port), b"Required")
    assert http_request(worker, "GET", "/health")[0] == 200


def test_what_is_no_handshake_is_hung_up_on_at_once(launch, dial):
    worker = launch()
    rows = [b"\x00" * 100, b"\r\n\r\n\r\n", b"SSH-2.0-x\r\n", b"CONNECT x:1 HTTP/1.1\r\n\r\n", HELLO + b"x" * 65,
            b"\x16\x03\x01\xff\xff" + b"x" * 65535, b"\x15\x03\x01\x00\x02\x02\x28",
            b"\x80\x2e\x01\x00\x02" + b"x" * 43]
    for wait in (False, True):
        if wait:
            worker.pause()  # so that all has come before it is accepted
        sockets = [dial(worker) for _ in rows]
        for s, row in zip(sockets, rows):
            with contextlib.suppress(ConnectionError):
                s.sendall(row)
        whole = dial(worker)
        worker.resume()
        for s, row in zip(sockets, rows):
            s.settimeout(3 * SLOW)
            try:
                while s.recv(1000):
                    pass
            except ConnectionError:
                pass
            except TimeoutError:
                raise AssertionError(f"still open: {row[:20]}") from None
        with worker.tls.wrap_socket(whole, server_hostname="127.0.0.1") as s:
            s.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert s.recv(1000).startswith(b"HTTP/1.1 200 ")


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_a_tls_1_2_client_cannot_negotiate_again(launch):
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{launch().port}", "-tls1_2"], input="R\n",
                          capture_output=True, text=True, timeout=10 * SLOW)
    assert "no renegotiation" in done.stderr, done.stderr[-300:]


# --- certificates ------------------------------------------------------------------------------------------------

def test_a_certificate_that_cannot_be_used_stops_the_start_with_one_sentence(authority, tmp_path):
    pair, other, rsa = authority.issue(), authority.issue(), authority.issue(2048)
    locked, weak = authority.issue(password=b"secret"), authority.issue(1024)
    for name, made in (("good", pair), ("other", other), ("rsa", rsa), ("locked", locked), ("weak", weak)):
        (tmp_path / f"{name}.crt").write_bytes(made.chain)
        (tmp_path / f"{name}.key").write_bytes(made.key)
    (tmp_path / "garbage").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    (tmp_path / "empty").write_text("")
    rows = [("good.crt", "", "TLS_KEY", ""), ("", "good.key", "TLS_KEY", ""),
            ("nowhere", "good.key", "TLS_CERT", "nowhere"), ("good.crt", "nowhere", "TLS_KEY", "nowhere"),
            (".", "good.key", "TLS_CERT", str(tmp_path)), ("good.crt", ".", "TLS_KEY", str(tmp_path)),
            ("garbage", "good.key", "TLS_CERT", "garbage"), ("good.crt", "garbage", "TLS_KEY", "garbage"),
            ("empty", "good.key", "TLS_CERT", "empty"), ("good.crt", "empty", "TLS_KEY", "empty"),
            ("good.key", "good.crt", "TLS_CERT", "good.key"), ("good.crt", "good.crt", "TLS_KEY", "good.crt"),
            ("good.crt", "other.key", "TLS_KEY", "other.key"), ("good.crt", "rsa.key", "TLS_KEY", "rsa.key"),
            ("good.crt", "locked.key", "TLS_KEY", "locked.key"), ("weak.crt", "weak.key", "TLS_CERT", "weak.crt")]
    secrets = [line for made in (pair, other, rsa, locked, weak) for line in made.key.decode().splitlines()[1:-1]]
    for cert, key, named, path in rows:
        for more in ({}, {"PROCESSES": "2", "PORT": str(free_port())}):
            env = {"TLS_CERT": cert and str(tmp_path / cert), "TLS_KEY": key and str(tmp_path / key), **more,
                   "PATH": "/usr/bin:/bin", "REDIS_URL": "unix:///x"}
            done = subprocess.run([str(WORKER)], capture_output=True, text=True, timeout=20 * SLOW, cwd=tmp_path,
                                  stdin=subprocess.DEVNULL, env=env)
            lines = done.stderr.splitlines()
            assert done.returncode == 2 and len(lines) == 1, (cert, key, done)
            assert f": {named} must " in lines[0] and path in lines[0], lines
            assert not [secret for secret in secrets if secret in done.stderr]


def test_sighup_shows_new_connections_a_new_certificate_and_leaves_the_others(launch, authority, files, dial, connect):
    worker, first = launch(), files.cert.read_bytes()
    client, kept = connect(worker), dial(worker, worker.tls)
    for kind in ("ec", 2048, "ec"):
        pair = authority.issue(kind)
        files.put(pair)
        assert shown(worker, dial) != pair.der
        (event,) = reload(worker)
        assert event["level"] == "info" and event["expires"].endswith("Z")
        for context in (worker.tls, authority.client(ssl.TLSVersion.TLSv1_2)):
            assert dial(worker, context).getpeercert(binary_form=True) == pair.der
        assert client.request("ping") == {"type": "pong"}
        no_secret_in(worker, pair)
    kept.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert kept.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert first not in "".join(worker.lines).encode()


def test_sighup_with_files_that_are_wrong_is_logged_and_the_old_ones_stay(launch, authority, files, dial):
    worker, good, other = launch(), authority.issue(), authority.issue(2048)
    files.put(good)
    reload(worker)
    for cert, key in [(b"", good.key), (good.chain, other.key), (other.chain, good.key), (good.chain, b"garbage"),
                      (good.chain, authority.issue(password=b"x").key), (None, good.key), (good.chain, None)]:
        for path, data in ((files.cert, cert), (files.key, key)):
            path.unlink(missing_ok=True)
            if data is not None:
                path.write_bytes(data)
        (event,) = reload(worker, "tls_reload_failed")
        assert event["level"] == "error" and event["reason"].startswith(("TLS_CERT must ", "TLS_KEY must "))
        assert shown(worker, dial) == good.der
    no_secret_in(worker, good, other)
    files.put(other)
    reload(worker)
    assert shown(worker, dial) == other.der


def test_sighup_reaches_every_process_and_one_that_is_started_again_has_the_last_good_certificate(
        launch, authority, files, dial):
    worker, pair = launch("--processes", "2", PORT=free_port()), authority.issue()
    wait_until(lambda: len(worker.events("listening")) == 2, 10, "both processes")
    files.put(pair)
    reload(worker, count=3)
    assert {shown(worker, dial) for _ in range(20)} == {pair.der}
    files.key.write_bytes(b"garbage")
    reload(worker, "tls_reload_failed", count=3)
    for child in psutil.Process(worker.pid).children():
        child.kill()
    wait_until(lambda: len(worker.events("listening")) == 4, 10, "new processes")
    assert {shown(worker, dial) for _ in range(20)} == {pair.der}


def test_sighup_without_tls_does_nothing(launch, connect):
    worker = launch(tls=False, wait=False)
    status = Path(f"/proc/{worker.pid}/status")
    wait_until(lambda: re.search(r"^Sig(Ign|Cgt):.*[13579bdf]$", status.read_text(), re.M), 5, "main()")
    for _ in range(50):
        worker.process.send_signal(signal.SIGHUP)
        time.sleep(0.005)
    worker.wait_ready()
    client = connect(worker)
    worker.process.send_signal(signal.SIGHUP)
    assert client.request("ping") == {"type": "pong"}
    assert not [e for e in worker.log() if e["event"].startswith("tls_")] and worker.process.poll() is None


# --- clients that take their time --------------------------------------------------------------------------------

def trickle(s, data):
    """A byte of data, if the other end is still there."""
    if data:
        with contextlib.suppress(OSError):
            s.send(data[:1])
    return data[1:]


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
def test_a_handshake_that_does_not_come_to_its_end_is_cut_after_ten_seconds(launch, authority, dial, tls):
    worker = launch(tls=tls)
    descriptors = psutil.Process(worker.pid).num_fds()
    half = b"GET /health HTTP/1.1\r\nHost: x\r\n"
    rows = {"silent": (None, b"", b""), "trickling": (None, b"", HELLO if tls else half + b"X: " + b"x" * 200)}
    if tls:
        rows.update({"half a hello": (None, HELLO, b""), "hello, then nothing": (worker.tls, b"", b""),
                     "half a request": (worker.tls, half, b""),
                     "trickling request": (worker.tls, b"", half + b"X: " + b"x" * 200)})
    else:
        rows["half a request"] = (None, half, b"")
    begun, open_ = time.monotonic(), {}
    for name, (context, first, later) in rows.items():
        s = dial(worker, context)
        s.sendall(first)
        s.setblocking(False)
        open_[name] = (s, later)
    ended, cpu = {}, psutil.Process(worker.pid).cpu_times()
    while open_ and time.monotonic() - begun < 2 * HANDSHAKE_SECONDS * SLOW:
        time.sleep(0.1)
        for name, (s, later) in list(open_.items()):
            open_[name] = (s, trickle(s, later))
            try:
                if not s.recv(1000):
                    raise ConnectionError
            except (BlockingIOError, ssl.SSLWantReadError):
                continue
            except OSError:
                ended[name] = time.monotonic() - begun
                del open_[name]
    after = psutil.Process(worker.pid).cpu_times()
    assert not open_, f"still open: {list(open_)}"
    least, most = HANDSHAKE_SECONDS - 1.5, HANDSHAKE_SECONDS + 2 * SLOW * CROWD
    assert all(least <= seconds <= most for seconds in ended.values()), ended
    assert after.user + after.system - cpu.user - cpu.system < 1 * SLOW
    wait_until(lambda: psutil.Process(worker.pid).num_fds() <= descriptors, 3, "the descriptors of before")
    assert http_request(worker, "GET", "/health")[0] == 200


def test_two_hundred_handshakes_at_once_do_not_hold_up_the_others(launch, connect):
    worker = launch(MESSAGE_RATE=0)
    other, slowest = connect(worker), 0
    with concurrent.futures.ThreadPoolExecutor(200) as pool:
        clients = [pool.submit(Client, worker) for _ in range(200)]
        while not all(client.done() for client in clients):
            watch = Stopwatch(worker)
            assert other.request("ping") == {"type": "pong"}
            slowest = max(slowest, watch.seconds())
    wait_until(lambda: get(worker, "/stats")["connections"] == 201, 6, "all of them")
    assert slowest < 1 * SLOW
    for client in clients:
        client.result().drop()
    wait_until(lambda: get(worker, "/stats")["connections"] == 1, 5, "their end")


# --- much to send ------------------------------------------------------------------------------------------------

def test_big_messages_arrive_whole_and_in_order(launch, connect):
    secure, plain = launch(), launch(tls=False)
    clients = {code: connect(worker, "/signal/demo") for code, worker in
               (("AAAAAA", secure), ("BBBBBB", secure), ("CCCCCC", plain))}
    for code, client in clients.items():
        client.send(type="register", pairingCode=code)
        client.expect("registered")
    sizes = [1, 1000, 16384, 16385, 65536, 250_000, 250_000, 100, 261_000, 10]
    for sender in clients:
        for target in clients.keys() - {sender}:
            for i, size in enumerate(sizes):
                clients[sender].send(type="offer", target=target, payload={"n": i, "sdp": "x" * size})
    for code, client in clients.items():
        came = {sender: [] for sender in clients}
        while sum(map(len, came.values())) < 2 * len(sizes):
            message = client.recv(10)
            if message["type"] == "offer":
                came[message["from"]].append((message["payload"]["n"], len(message["payload"]["sdp"])))
        for sender in clients.keys() - {code}:
            assert came[sender] == list(enumerate(sizes)), (sender, code)


class Records:
    """A WebSocket whose TLS records are ours to send, in part too."""

    def __init__(self, worker, s):
        self.socket, self.incoming, self.outgoing = s, ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = worker.tls.wrap_bio(self.incoming, self.outgoing, server_hostname="127.0.0.1")
        self.pump(self.tls.do_handshake)
        fields = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items())
        s.sendall(self.outgoing.read() + self.of(f"GET /relay HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode()))
        assert b" 101 " in self.read()

    def pump(self, call, *args):
        while True:
            try:
                return call(*args)
            except ssl.SSLWantReadError:
                self.socket.sendall(self.outgoing.read())
                self.incoming.write(self.socket.recv(65536))

    def of(self, data):
        self.tls.write(data)
        return self.outgoing.read()

    def read(self):
        return self.pump(self.tls.read, 1000)


def test_half_a_record_costs_nothing_while_its_other_half_is_awaited(launch, dial):
    worker = launch()
    clients = [Records(worker, dial(worker)) for _ in range(3)]
    ping, rests = frame('{"type":"ping"}'), []
    for client in clients:
        whole, half = client.of(ping), client.of(ping)
        client.socket.sendall(whole + half[:len(half) // 2])
        assert b"pong" in client.read()
        rests.append(half[len(half) // 2:])
    times = psutil.Process(worker.pid).cpu_times
    before = times()
    time.sleep(1)
    assert times().user + times().system - before.user - before.system < 0.3
    for client, rest in zip(clients, rests):
        client.socket.sendall(rest)
        assert b"pong" in client.read()


def test_who_does_nothing_but_change_keys_is_hung_up_on_and_holds_up_nobody(launch, dial):
    """KeyUpdate records, which Python's ssl cannot make: by the library that it stands on."""
    worker, s, lib = launch(), None, ctypes.CDLL(ctypes.util.find_library("ssl"))
    for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
        getattr(lib, name).restype = ctypes.c_void_p
    context = ctypes.c_void_p(lib.SSL_CTX_new(ctypes.c_void_p(lib.TLS_client_method())))
    tls, s = ctypes.c_void_p(lib.SSL_new(context)), dial(worker)
    s.settimeout(None)
    lib.SSL_set_fd(tls, s.fileno())
    assert lib.SSL_connect(tls) == 1

    def change_keys(count):
        return sum(lib.SSL_key_update(tls, 0) == 1 and lib.SSL_do_handshake(tls) == 1 for _ in range(count))

    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        assert change_keys(100) == 100
        request = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
        assert lib.SSL_write(tls, request, len(request)) == len(request)
        assert lib.SSL_read(tls, ctypes.create_string_buffer(1000), 1000) > 0, "some are fine"
        begun = time.monotonic()
        change_keys(400)
        assert http_request(worker, "GET", "/health")[0] == 200
        assert lib.SSL_read(tls, ctypes.create_string_buffer(1000), 1000) <= 0, "so many are not"
        assert time.monotonic() - begun < 10 * SLOW
    finally:
        signal.signal(signal.SIGPIPE, before)
        lib.SSL_free(tls)
        lib.SSL_CTX_free(context)


def test_every_end_is_told_before_the_connection_closes(launch, authority, dial):
    """With close_notify, so that nobody can cut an answer short unseen."""
    worker, context = launch(KEEPALIVE_SECONDS=1, PONG_TIMEOUT_MS=300, PING_INTERVAL_MS=100), authority.client()
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    fields = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items())
    for request in ("GET /health HTTP/1.1\r\nHost: x\r\n\r\n", "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                    f"GET /relay HTTP/1.1\r\nHost: x\r\n{fields}\r\n"):
        s = dial(worker)
        s = context.wrap_socket(s, server_hostname="127.0.0.1", suppress_ragged_eofs=False)
        s.sendall(request.encode())
        while s.recv(1000):  # raises where the end was not told
            pass
        s.close()


def test_many_messages_in_few_records_are_all_answered(launch, upgrade):
    """More than a session takes at once, so that reading stops and goes on in the middle of a record."""
    worker = launch(MESSAGE_RATE=0)
    for extra in range(20):
        member = Member(upgrade(worker))
        ask = json.dumps({"type": "get_relays", "count": 1, "x": "x" * extra})
        member.sock.sendall(frame(ask) * 700)
        gather([member], 700, 10)
        assert {json.loads(text)["type"] for text in member.texts} == {"relays"}


def test_a_chunk_for_many_waiters_is_the_same_for_those_with_tls_and_those_without(launch, connect, upgrade):
    secure, plain = launch(), launch(tls=False)
    chunk, data = uid("chunk"), "d" * 65000
    waiters = [connect(worker) for worker in (secure, plain) for _ in range(20)]
    for waiter in waiters:
        assert waiter.request("chunk_request", peerId=uid(), chunkId=chunk)["type"] == "chunk_not_found"
    source = connect(secure)
    assert source.request("chunk_push", peerId=uid(), chunkId=chunk, data=data)["type"] == "chunk_push_ack"
    for waiter in waiters:
        assert waiter.expect("chunk_data", 10)["data"] == data


def flood(worker, slow):
    """A client that reads no answer asks until it is let go. What others send it would be refused before that."""
    def is_let_go():
        return b"signalbox_slow_clients_total 1\n" in get(worker, "/metrics")

    with contextlib.suppress(OSError):
        for _ in range(60):
            slow.sendall(frame(json.dumps({"type": "x" * 4000})) * 50)
            if is_let_go():
                return
    wait_until(is_let_go, 5, "the end of the slow client")


def test_a_client_that_does_not_read_is_closed_1013_and_told_so_if_it_reads_in_time(launch, connect, upgrade):
    worker = launch(MESSAGE_RATE=0)
    slow = upgrade(worker, "/signal/demo", receive_buffer=4096)
    flood(worker, slow)
    data = b""
    while chunk := slow.recv(1 << 18):
        data = (data + chunk)[-300_000:]
    close = data[data.rindex(b"\x88"):]
    assert close[2:4] == (1013).to_bytes(2, "big") and close[4:] == b"too slow"


def test_a_client_that_never_reads_is_let_go_all_the_same(launch, connect, upgrade):
    worker = launch(MESSAGE_RATE=0)
    slow = upgrade(worker, "/signal/demo", receive_buffer=4096)
    flood(worker, slow)
    wait_until(lambda: get(worker, "/stats")["connections"] == 1, 10, "its end")


def test_a_client_that_never_reads_is_let_go_where_nothing_else_happens(launch, connect, upgrade):
    """libwebsockets' timers run only when one of its sockets has had its turn: there is no other one here."""
    worker = launch(MESSAGE_RATE=0)
    slow = upgrade(worker, "/signal/demo", receive_buffer=4096)
    flood(worker, slow)
    wait_until(lambda: get(worker, "/stats")["connections"] == 1, 10, "its end")


@pytest.mark.parametrize("size", [2000, 40000])
def test_what_comes_from_a_client_that_is_being_closed_costs_nothing(launch, connect, upgrade, size):
    worker = launch(MESSAGE_RATE=0)
    slow = upgrade(worker, "/signal/demo", receive_buffer=4096)
    flood(worker, slow)
    bad = b"\xf1" + frame("x" * size)[1:]  # reserved bits: a violation of the protocol
    for data in (frame("x" * size) * 3, bad + frame("x" * size) * 3):
        with contextlib.suppress(OSError):
            slow.sendall(data)
        assert http_request(worker, "GET", "/health")[0] == 200
    wait_until(lambda: get(worker, "/stats")["connections"] == 1, 15, "its end")
    with contextlib.suppress(OSError):
        slow.sendall(frame("x" * size))
    assert http_request(worker, "GET", "/health")[0] == 200


# --- the end -----------------------------------------------------------------------------------------------------

def test_a_drained_worker_closes_its_clients_with_1001(launch, connect):
    worker = launch(DRAIN_SECONDS=1)
    clients = [connect(worker) for _ in range(20)]
    for client in clients:
        client.request("register", peerId=uid())
    worker.stop()
    assert {client.expect_close()[0] for client in clients} == {1001}


def test_other_closes_come_with_their_code_too(launch, connect):
    worker = launch(MAX_MESSAGE_BYTES=2000, MESSAGE_RATE=1, MESSAGE_BURST=1)
    big, loud = connect(worker), connect(worker)
    big.send(type="ping", x="x" * 3000)
    assert big.expect_close()[0] == 1009
    while loud.reader.is_alive():
        with contextlib.suppress(OSError, websocket.WebSocketException):
            loud.send(type="ping")
        time.sleep(0.05)
    assert loud.expect_close()[0] == 1008


def test_ended_and_broken_connections_leave_nothing(launch, authority, dial, upgrade):
    worker = launch()
    descriptors = psutil.Process(worker.pid).num_fds()
    for _ in range(30):
        socket.SocketType.close(dial(worker, worker.tls))
        upgrade(worker).close()
        dial(worker).close()
        torn = upgrade(worker)
        torn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        torn.close()
        with pytest.raises(ssl.SSLError):
            dial(worker, ssl.create_default_context())  # does not trust us, and says so
    wait_until(lambda: get(worker, "/stats")["connections"] == 0, 6, "no connections")
    wait_until(lambda: psutil.Process(worker.pid).num_fds() <= descriptors + 1, 5, "the descriptors of before")
    silent, half, whole, open_ = dial(worker), dial(worker), dial(worker, worker.tls), upgrade(worker)
    half.sendall(HELLO)
    worker.stop()
    for s in (silent, half, whole, open_):
        s.close()
