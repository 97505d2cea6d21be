# SPDX-License-Identifier: MIT
"""Redis over TLS: what is spoken, what is refused and how that is told, and certificates that are changed."""
import contextlib
import re
import signal
import socket
import ssl
import threading
import time

import pytest

from authority import DAY, Authority, pem
from harness import SLOW, UNAVAILABLE, Worker, ready, uid, wait_until
from proxy import Proxy
from redis_rigs import TlsRedis, holds, readiness, reasons
from test_check_redis import look, mend, refused, run
from test_redis_roles import leave_drops, wait_listening, works
from test_signal import path_of, registered

SECRET = "s3cret"


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(scope="module")
def other():
    """Another one, that nobody here trusts."""
    return Authority("another test")


@pytest.fixture
def server(closing, authority):
    def server(*options, **how):
        one = TlsRedis(authority, *options, **how)
        closing.callback(one.close)
        return one

    return server


@pytest.fixture
def keep(tmp_path):
    """Writes a file; returns where."""
    def keep(data):
        path = tmp_path / uid("file")
        path.write_bytes(data)
        return path

    return keep


@pytest.fixture
def ca(keep, authority):
    return {"REDIS_CA_FILE": keep(pem(authority.root))}


@pytest.fixture
def identity(keep):
    """What a worker needs to show the certificate of that pair."""
    return lambda pair: {"REDIS_CERT_FILE": keep(pair.chain), "REDIS_KEY_FILE": keep(pair.key)}


@pytest.fixture
def between(closing):
    """What stands between workers and that server; and its URL."""
    def between(one):
        proxy = Proxy(one.tls_port)
        closing.callback(proxy.close)
        return proxy, proxy.url.replace("redis:", "rediss:")

    return between


# --- what is spoken ----------------------------------------------------------------------------------------------

def test_workers_deliver_to_each_other_over_tls_and_to_those_without(server, ca, launch, connect):
    one = server()
    first, second = (launch(one.url, **ca) for _ in range(2))
    works(connect, [first, second])
    works(connect, [first, launch(f"redis://127.0.0.1:{one.port}")])


@pytest.mark.parametrize("options", ["--tls-protocols TLSv1.2", "--tls-protocols TLSv1.3",
                                     f"--requirepass {SECRET}", "--databases 5"])
def test_either_version_is_spoken_and_the_greeting_follows(server, ca, launch, connect, options):
    url = server(*options.split()).url
    if "pass" in options:
        url = url.replace("//", f"//:{SECRET}@")
    if "databases" in options:
        url = url[:-1] + "4"
    works(connect, [launch(url, **ca)])


@pytest.mark.parametrize("kind", ["ec", 2048])
def test_keys_of_both_kinds_will_do(server, authority, ca, launch, connect, kind):
    works(connect, [launch(server(pair=authority.issue(kind)).url, **ca)])


def test_without_a_file_the_authorities_of_the_system_are_trusted(server, ca, launch, connect):
    works(connect, [launch(server().url, SSL_CERT_FILE=ca["REDIS_CA_FILE"])])


def test_the_name_that_is_verified_may_be_given(server, authority, ca, launch, connect):
    one = server(pair=authority.issue(names=("redis.example",)))
    works(connect, [launch(one.url, REDIS_SERVER_NAME="redis.example", **ca)])
    some = server(pair=authority.issue(names=("*.redis.example",)))
    works(connect, [launch(some.url, REDIS_SERVER_NAME="a.redis.example", **ca)])


def test_a_client_certificate_is_shown_where_it_is_wanted(server, authority, ca, identity, launch, connect):
    one, shown = server(clients="yes"), identity(authority.issue(names=("worker",)))
    works(connect, [launch(one.url, **ca, **shown), launch(one.url, **ca, **shown)])


def test_check_redis_speaks_tls_too_and_so_do_its_commands(server, authority, ca, identity):
    shown = identity(authority.issue())
    one = server("--timeout", "100", clients="yes")
    found = look(one.url, **ca, **shown)
    assert found["timeout"][0] == "warn"
    mend(found["timeout"][1])
    assert look(one.url, **ca, **shown)["timeout"][0] == "ok"


class Listener:
    """Takes connections, keeps what each begins with, and answers with that. server_name: what TLS was asked for, with
    a pair to answer with."""

    def __init__(self, answer=b"", pair=None, files=None):
        self.begins, self.names, self.answer, self.context = [], [], answer, None
        if pair:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(files(pair.chain), files(pair.key))
            self.context.sni_callback = lambda sock, name, context: self.names.append(name)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"rediss://:{SECRET}@127.0.0.1:{self.port}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                self._take(self.listener.accept()[0])

    def _take(self, sock):
        with contextlib.suppress(OSError), sock:
            sock.settimeout(1)
            self.begins.append(sock.recv(4096, socket.MSG_PEEK))
            if self.context:
                with self.context.wrap_socket(sock, server_side=True) as secured:
                    secured.recv(1)
            else:
                sock.recv(4096)
                sock.sendall(self.answer)

    def close(self):
        self.listener.close()


@pytest.fixture
def listener(closing):
    def listener(*args, **kwargs):
        one = Listener(*args, **kwargs)
        closing.callback(one.close)
        return one

    return listener


@pytest.mark.parametrize("host, name, asked", [("127.0.0.1", "", None), ("localhost", "", "localhost"),
                                               ("127.0.0.1", "redis.example", "redis.example"),
                                               ("localhost", "redis.example", "redis.example")])
def test_the_name_is_asked_for_and_an_address_is_not(listener, authority, keep, ca, launch, host, name, asked):
    at = listener(pair=authority.issue(), files=keep)
    launch(f"rediss://{host}:{at.port}", wait=False, REDIS_SERVER_NAME=name, **ca)
    wait_until(lambda: at.names, 10, "a handshake")
    assert set(at.names) == {asked}


@pytest.mark.parametrize("answer", [b"", b"-ERR TLS is not for me\r\n", b"+OK\r\n+PONG\r\n", bytes(100)],
                         ids=["nothing", "an error", "what Redis says", "zeros"])
def test_nothing_is_ever_said_in_plain_words(listener, ca, launch, answer):
    at = listener(answer)
    launch(at.url, wait=False, **ca)
    wait_until(lambda: len(at.begins) >= 6, 20, "six attempts")
    assert not [begin for begin in at.begins if begin[:2] != b"\x16\x03" or SECRET.encode() in begin]


# --- what is refused ---------------------------------------------------------------------------------------------

OLD = ("--tls-protocols", "TLSv1.1", "--tls-ciphers", "DEFAULT:@SECLEVEL=0")
NAMED = "(name|address|host).*(mismatch|match)|not (valid )?for|certificate is for"


@pytest.fixture
def trouble(server, authority, other, keep, ca, identity):
    """The URL, the worker's options, and how the sentence must read, of what is wrong."""
    def trouble(what):
        server_of, trusts = server, dict(ca)
        if what == "another authority":
            trusts["REDIS_CA_FILE"] = keep(pem(other.root))
            return server_of().url, trusts, "certificate"
        if what == "the system's authorities":
            return server_of().url, {}, "certificate"
        if what == "another name":
            return server_of().url, {**trusts, "REDIS_SERVER_NAME": "other.example"}, NAMED
        if what == "a certificate for another address":
            return server_of(pair=authority.issue(names=("redis.example",))).url, trusts, NAMED
        if what == "an expired certificate":
            return server_of(pair=authority.issue(until=-DAY)).url, trusts, "expired"
        if what == "no client certificate":
            return server_of(clients="yes").url, trusts, "certificate"
        if what == "a client certificate of another authority":
            return server_of(clients="yes").url, {**trusts, **identity(other.issue())}, "certificate|unknown ca|authority"
        if what == "an expired client certificate":
            return server_of(clients="yes").url, {**trusts, **identity(authority.issue(until=-DAY))}, "expired"
        if what == "TLS 1.1":
            return server_of(*OLD).url, trusts, "version|protocol"
        one = server_of()
        if what == "no TLS":
            return f"rediss://:{SECRET}@127.0.0.1:{one.port}/0", trusts, "TLS"
        assert what == "TLS where none is meant"
        return f"redis://:{SECRET}@127.0.0.1:{one.tls_port}/0", {}, "TLS|rediss"

    return trouble


TROUBLES = ["another authority", "the system's authorities", "another name", "a certificate for another address",
            "an expired certificate", "no client certificate", "a client certificate of another authority",
            "an expired client certificate", "TLS 1.1", "no TLS", "TLS where none is meant"]


def is_a_sentence(text):
    return text and len(text) < 250 and "\n" not in text and not re.search(r"error:[0-9A-F]{6}|\(null\)", text)


@pytest.mark.parametrize("what", TROUBLES)
def test_each_thing_that_is_wrong_is_told_in_one_sentence(trouble, launch, what):
    url, options, sentence = trouble(what)
    worker = wait_listening(launch(url, wait=False, **options))

    def told():
        status, reason = readiness(worker)
        assert status == 503
        return re.search(sentence, reason, re.I) and reason

    reason = wait_until(told, 10, f"a reason like {sentence}")
    assert is_a_sentence(reason)
    wait_until(lambda: [r for r in reasons(worker) if re.search(sentence, r, re.I)], 5, "the same in its log")
    assert not [r for r in reasons(worker) if not is_a_sentence(r)]
    holds(lambda: not ready(worker), 1, "503")
    assert SECRET not in "".join(worker.lines)


@pytest.mark.parametrize("what", TROUBLES)
def test_check_redis_tells_it_in_one_sentence_too(trouble, what):
    url, options, sentence = trouble(what)
    done = run(url, **{name: str(value) for name, value in options.items()})
    refused(done)
    assert re.search(sentence, done.stderr, re.I), done.stderr
    assert is_a_sentence(done.stderr.rstrip())


def test_the_old_server_of_these_tests_would_speak_with_others(server, authority):
    """So it is the worker that refuses."""
    context = authority.client(ssl.TLSVersion.TLSv1_1, "DEFAULT:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", server(*OLD).tls_port)) as plain:
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
            assert secured.version() == "TLSv1.1"


@pytest.mark.parametrize("option", ["REDIS_CA_FILE", "REDIS_CERT_FILE", "REDIS_KEY_FILE"])
@pytest.mark.parametrize("how", ["missing", "garbage"])
def test_a_file_that_cannot_be_used_stops_the_start_with_its_name(authority, keep, ca, identity, closing, option, how):
    options = {**ca, **identity(authority.issue())}
    options[option] = keep(b"nothing of the kind") if how == "garbage" else "/nowhere/file.pem"
    worker = Worker("rediss://127.0.0.1:1/0", wait=False, **options)
    closing.callback(worker.kill9)
    assert worker.process.wait(10 * SLOW) == 2
    worker.reader.join(5)
    assert option in "".join(worker.lines) or str(options[option]) in "".join(worker.lines)


def test_a_key_of_another_certificate_stops_the_start(authority, ca, identity, closing):
    options = {**identity(authority.issue()), "REDIS_KEY_FILE": identity(authority.issue())["REDIS_KEY_FILE"]}
    worker = Worker("rediss://127.0.0.1:1/0", wait=False, **ca, **options)
    closing.callback(worker.kill9)
    assert worker.process.wait(10 * SLOW) == 2


# --- certificates that are changed -------------------------------------------------------------------------------

def test_sighup_reads_the_certificates_again(server, authority, other, ca, identity, launch, connect):
    """All of them change: the authority, the server's and the worker's."""
    one, shown = server(clients="yes"), identity(authority.issue())
    worker = launch(one.url, **ca, **shown)
    one.stop()
    one.certify(other, other.issue())
    one.start()
    wait_until(lambda: "certificate" in readiness(worker)[1], 10, "that the new certificate is not trusted")
    pair = other.issue()
    ca["REDIS_CA_FILE"].write_bytes(pem(other.root))
    shown["REDIS_CERT_FILE"].write_bytes(pair.chain)
    shown["REDIS_KEY_FILE"].write_bytes(pair.key)
    holds(lambda: not ready(worker), 1, "503 until it is told to look")
    worker.process.send_signal(signal.SIGHUP)
    wait_until(lambda: ready(worker), 10, "ready, with the new ones")
    works(connect, [worker])


def test_sighup_leaves_connections_that_stand(server, ca, launch, connect):
    worker = launch(server().url, **ca)
    client = connect(worker)
    worker.process.send_signal(signal.SIGHUP)
    holds(lambda: ready(worker) and client.request("register", peerId=uid())["type"] == "registered", 1, "it goes on")
    assert not worker.events("redis_lost")


@pytest.mark.parametrize("spoilt", ["REDIS_CA_FILE", "REDIS_CERT_FILE", "REDIS_KEY_FILE"])
def test_what_cannot_be_read_at_sighup_changes_nothing(server, authority, ca, identity, launch, spoilt):
    one, options = server(clients="yes"), {**ca, **identity(authority.issue())}
    worker = launch(one.url, **options)
    options[spoilt].write_bytes(b"spoilt")
    worker.process.send_signal(signal.SIGHUP)
    wait_until(lambda: [line for line in worker.log() if line["level"] in ("warning", "error")
                        and str(options[spoilt]) in str(line)], 5, "a line of the log that names the file")
    one.stop()
    wait_until(lambda: not ready(worker), 5, "the loss")
    one.start()
    wait_until(lambda: ready(worker), 10, "ready, with the former ones")


# --- links that fail, and much that goes over them ---------------------------------------------------------------

def test_a_link_that_is_cut_is_built_anew(server, ca, launch, connect):
    one = server()
    workers = [launch(one.url, **ca) for _ in range(2)]
    for kind in ("normal", "pubsub"):
        one.client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
    for worker in workers:
        wait_until(lambda: len(worker.events("redis_lost")) >= 2 and ready(worker), 10, "ready again")
    works(connect, workers)


def test_a_link_that_falls_silent_is_given_up(server, between, ca, launch, connect):
    proxy, url = between(server())
    worker = launch(url, **ca)
    client = connect(worker)
    proxy.open.clear()
    assert client.request("register", peerId=uid())["message"] == UNAVAILABLE
    wait_until(lambda: not ready(worker), 5, "503")
    proxy.open.set()
    wait_until(lambda: ready(worker), 10, "ready again")
    works(connect, [worker])


@pytest.mark.parametrize("end", ["goes on", "breaks off"])
def test_a_long_answer_comes_slowly_over_tls_too(server, between, ca, launch, connect, end):
    one = server()
    proxy, url = between(one)
    worker = launch(url, **ca)
    point, client = leave_drops(connect, worker, 30), connect(worker)
    proxy.pace = 20000, 0.2
    client.send(type="register_rendezvous", peerId=uid(), dailyPoints=[point])
    if end == "goes on":
        assert len(client.expect("rendezvous_result", 20)["deadDrops"]) == 30
        assert not worker.events("redis_lost")
        return
    time.sleep(0.7)
    one.stop()
    assert client.recv(10)["message"] == UNAVAILABLE
    proxy.pace = None
    one.start()
    wait_until(lambda: ready(worker), 10, "ready again")
    works(connect, [worker])


@pytest.fixture
def talkers(server, ca, launch, connect):
    """One on each of two workers."""
    one, room = server(), path_of(uid("room"))
    return [registered(connect(launch(one.url, **ca), room)) for _ in range(2)]


def test_large_messages_go_over_it(talkers):
    a, b = talkers
    for i in range(20):
        for one, two in ((a, b), (b, a)):
            payload = f"{i}" + "x" * 250_000
            one.send(type="offer", target=two.code, payload=payload)
            while (message := two.recv(10))["type"] != "offer":
                pass
            assert message["payload"] == payload


def test_thousands_under_way_at_once_come_in_order(talkers):
    a, b = talkers
    a.send_all([{"type": "offer", "target": b.code, "payload": {"n": n}} for n in range(5000)])
    came = []
    while len(came) < 5000:
        message = b.recv(20)
        if message["type"] == "offer":
            came.append(message["payload"]["n"])
    assert came == list(range(5000))


def test_large_chunks_go_over_it(server, ca, launch, connect):
    one = server()
    source, waiter = (connect(launch(one.url, **ca)) for _ in range(2))
    ids, data = [uid(), uid()], "d" * 65_000
    for i in range(20):
        chunk = {"chunkId": f"chunk-{i}", "routingHash": "h"}
        assert waiter.request("chunk_request", peerId=ids[1], chunkId=chunk["chunkId"])["type"] == "chunk_not_found"
        source.send(type="chunk_announce", peerId=ids[0], chunks=[chunk])
        source.expect("chunk_announce_ack")
        source.expect("chunk_pull")
        source.send(type="chunk_push", peerId=ids[0], chunkId=chunk["chunkId"], data=data)
        source.expect("chunk_push_ack")
        assert waiter.expect("chunk_data")["data"] == data
