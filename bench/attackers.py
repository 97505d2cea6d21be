# SPDX-License-Identifier: MIT
"""Those by whom bench/hostile.py lets a worker be attacked, from addresses of their own: who does not read, who sends
nonsense, who comes in crowds. Each says that it is ready, goes on until it is ended, and prints what it has done."""
import contextlib
import itertools
import json
import random
import resource
import select
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "integration"))

from clients import ABNF, begin_upgrade, frame, read_until  # noqa: E402

ROOM = "/signal/bench"
SPARE_DESCRIPTORS = 500


def socket_to(port, path, source, **kwargs):
    s = begin_upgrade(port, path, source=source, **kwargs)
    head = read_until(s, b"\r\n\r\n")
    if b" 101 " not in head:
        s.close()
        return None
    return s


def try_send(s, data):
    """What is left of it; None: the socket is good for no more."""
    try:
        return data[s.send(data):]
    except BlockingIOError:
        return data
    except OSError:
        return None


def drain(s):
    """Takes what has come, and waits for nothing."""
    if select.select([s], [], [], 0)[0]:
        with contextlib.suppress(OSError):
            s.recv(1 << 20)


def ready():
    print("ready", flush=True)


def tell(**counts):
    """The last line counts. There are few of them: nobody reads before the end."""
    if time.monotonic() > tell.next:
        tell.next = time.monotonic() + 0.2
        print(json.dumps(counts), flush=True)


tell.next = 0


def slow_readers(options):
    """60 that read nothing, whom 20 others send offers of 64 KiB, 60 MB a second; who is closed comes again."""
    def slow(i):
        s = socket_to(options.port, ROOM, f"127.0.2.{i % 8 + 1}", receive_buffer=4096)
        s.sendall(frame(json.dumps({"type": "register", "pairingCode": f"slow-{i}"})))
        return s

    readers, closed, poll = [slow(i) for i in range(60)], 0, select.poll()
    senders = [socket_to(options.port, ROOM, f"127.0.3.{i + 1}") for i in range(20)]
    for i, s in enumerate(senders):
        s.sendall(frame(json.dumps({"type": "register", "pairingCode": f"loud-{i}"})))
    offers = [frame(json.dumps({"type": "offer", "target": f"slow-{i}", "payload": "x" * 65_000})) for i in range(60)]
    for s in readers:
        poll.register(s, select.POLLRDHUP)
    ready()
    begun = time.monotonic()
    for n in itertools.count():
        senders[n % 20].sendall(offers[n % 60])
        time.sleep(max(0, begun + n * 65_000 / 60e6 - time.monotonic()))
        if n % 60 == 59:
            for s in senders:
                drain(s)
            for fd, _ in poll.poll(0):
                i = [s.fileno() for s in readers].index(fd)
                poll.unregister(fd)
                readers[i].close()
                readers[i] = slow(i)
                poll.register(readers[i], select.POLLRDHUP)
                closed += 1
            tell(megabytes=n * 65_000 // 1_000_000, closed=closed)


def garbage(options):
    """100,000 frames of garbage in ten seconds, from 50 sockets."""
    flood(options, pause=0.01)


def flood(options, pause=0):
    """Frames of garbage from 50 sockets, as fast as they are taken."""
    rand = random.Random(1)
    payloads = [rand.randbytes(rand.randrange(1, 200)) for _ in range(200)]
    payloads += [b"{" * 100, b"[]", b"null", b'{"type":1}', b'{"type":"\xff"}', b"\x00" * 100, b'{"type":"offer"}']
    frames = [ABNF.create_frame(p, op).format() for p in payloads for op in (ABNF.OPCODE_TEXT, ABNF.OPCODE_BINARY)]
    batches = [b"".join(rand.choices(frames, k=100)) for _ in range(100)]
    sockets, left, sent, closed = {}, {}, 0, 0
    ready()
    while True:
        for i in range(50):
            if i not in sockets:
                sockets[i], left[i] = socket_to(options.port, "/relay", f"127.0.4.{i + 1}"), b""
                sockets[i].setblocking(False)
            drain(sockets[i])
            sent += 100 * (not left[i])
            left[i] = try_send(sockets[i], left[i] or rand.choice(batches))
            if left[i] is None:
                sockets.pop(i).close()
                closed += 1
            time.sleep(pause)
        tell(frames=sent, closed=closed)


def half_open(options):
    """10,000 handshakes that never end; each that is given up is followed by another."""
    poll, sockets = select.epoll(), {}
    count = min(options.half_open, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_DESCRIPTORS)
    gone = 0

    def begin(i):
        s = socket.socket()
        s.bind((f"127.1.{i % 200}.2", 0))
        s.connect(("127.0.0.1", options.port))
        s.sendall(b"GET /relay HTTP/1.1\r\nHost: somewhere\r\nUpgrade: websocket\r\nX-Slow: ")
        sockets[s.fileno()] = s, i
        poll.register(s, select.EPOLLIN)

    for i in range(count):
        begin(i)
    ready()
    while True:
        for fd, _ in poll.poll(0.5):
            s, i = sockets.pop(fd)
            s.close()
            gone += 1
            begin(i)
        tell(open=len(sockets), given_up=gone)


def crowd(options):
    """1,000 sockets from one address, each of which pings once a second, and more that are refused."""
    sockets, refused, pinged = [], 0, 0
    begun, ready_yet = time.monotonic(), False
    ping = frame('{"type":"ping"}')
    while True:
        s = socket_to(options.port, "/relay", "127.0.5.1")
        refused += s is None
        sockets += [s] * (s is not None)
        if not ready_yet and (len(sockets) >= 400 or refused):
            ready_yet = True
            ready()
        while sockets and pinged < (time.monotonic() - begun) * len(sockets):
            one = sockets[pinged % len(sockets)]
            one.sendall(ping)
            drain(one)
            pinged += 1
        if ready_yet:
            tell(open=len(sockets), refused=refused)
        time.sleep(0.002)


def bombs_of_json():
    """(path, bytes to send): messages of at most 256 KiB, and requests with bodies of at most 64 KiB (path None): depth,
    width, huge numbers, long names, and what handlers read once more."""
    most, body_most = 256 * 1024, 64 * 1024

    def filled(begin, unit, end, most=most):
        return begin + unit * ((most - len(begin) - len(end)) // len(unit.encode())) + end

    def post(path, *parts):
        body = filled(*parts, most=body_most)
        return None, f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()

    def offer(inner):
        return ROOM, '{"type":"offer","target":"nobody","payload":' + inner + "}"

    def relay(inner):
        return "/relay", '{"peerId":"p","chunkId":"c","dailyPoints":["a"],' + inner + "}"

    def room(inner):
        return ROOM, "{" + inner + "}"

    def to_fill(make, begin, unit, end):
        path, text = make("%")
        return path, filled(text.replace("%", begin + "%").split("%")[0], unit, end + text.split("%")[1])

    bombs = [
        offer("[" * 10_000 + "]" * 10_000), offer('{"a":' * 10_000 + "1" + "}" * 10_000), offer("[" * 62 + "]" * 62),
        to_fill(offer, "{", '"":0,', '"":0}'), to_fill(offer, "[", "0,", "0]"), to_fill(offer, "[", '"",', '""]'),
        to_fill(offer, "[", "[],", "[]]"), to_fill(offer, "", "9", "9"), to_fill(offer, "", " ", "0"),
        to_fill(offer, '"', "\\u0041", '"'), to_fill(offer, '"', "\u00e9", '"'), to_fill(offer, '{"', "k", '":1}'),
        to_fill(room, "", '"":0,', '"type":"ping"'), to_fill(room, "", '"type":0,', '"type":"ping"'),
        to_fill(room, '"type":"ping","count":', "9", "9"), to_fill(room, '"', "k", '":1,"type":"ping"'),
        to_fill(room, '"type":"', "\\u0041", '"'), to_fill(room, '"type":"offer",', '"target":0,', '"target":0'),
        to_fill(relay, '"type":"chunk_announce","chunks":[', "0,", "0]"),
        to_fill(relay, '"type":"chunk_announce","chunks":[{', '"":0,', '"":0}]'),
        to_fill(relay, '"type":"chunk_announce","chunks":[[', "[],", "[]]]"),
        to_fill(relay, '"type":"chunk_push","data":[', "0,", "0]"),
        to_fill(relay, '"type":"get_relays","count":1', "0", "0"),
        to_fill(relay, '"type":"register_rendezvous","deadDrops":{', '"":"",', '"a":""}'),
        to_fill(relay, '"type":"register_rendezvous","deadDrops":{"a":[', "0,", "0]}")]
    assert all(len(text.encode()) <= most for _, text in bombs)
    return [(path, frame(text)) for path, text in bombs] + [
        post("/attest/challenge", '{"device_id":[', "[],", "[]]}"), post("/attest/register", "{", '"a":0,', '"a":0}'),
        post("/attest/verify", '{"responses":[', '{"a":0},', "0]}"), post("/servers", '{"region":[', "0,", "0]}"),
        post("/servers/heartbeat", '{"serverId":"', "\\u0041", '"}'), post("/bootstrap", '{"clientId":["', '","', '"]}')]


def bomber(port, path, source):
    if path:
        return socket_to(port, path, source)
    s = socket.socket()
    s.bind((source, 0))
    s.connect(("127.0.0.1", port))
    return s


def json_bombs(options):
    """100 a second, at random times, from 10 sockets in each place."""
    rand, bombs = random.Random(2), bombs_of_json()
    sockets, sent, closed = {}, 0, 0
    ready()
    due = time.monotonic()
    for n in itertools.count():
        path, bomb = bombs[n % len(bombs)]
        i = path, rand.randrange(10)
        if i not in sockets:
            sockets[i] = bomber(options.port, path, f"127.0.6.{i[1] + 1}")
        try:
            drain(sockets[i])
            sockets[i].sendall(bomb)
            sent += 1
        except OSError:
            sockets.pop(i).close()
            closed += 1
        due += rand.uniform(0, 0.02)
        time.sleep(max(0, due - time.monotonic()))
        tell(bombs=sent, closed=closed)


CROWDS = {"slow-readers": slow_readers, "garbage": garbage, "flood": flood, "half-open": half_open, "crowd": crowd,
           "json-bombs": json_bombs}
