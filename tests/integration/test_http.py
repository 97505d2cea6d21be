# SPDX-License-Identifier: MIT
"""HTTP: its endpoints, the limits at the door, and the format of the metrics."""
import http.client
import re
import time

import pytest

from harness import SLOW, UNAVAILABLE, UPGRADE, get, http_request, metric, uid, wait_until

CORS = {"Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "GET, POST, DELETE, OPTIONS",
        "Access-Control-Allow-Headers": "Content-Type, Authorization",
        "Access-Control-Expose-Headers": "X-Bootstrap-Signature, X-Attestation-Token"}
STATS = {"relays": {"totalPeers", "totalCapacity", "totalConnected", "availableRelays"},
         "rendezvous": {"dailyPoints", "hourlyTokens", "totalEntries", "dailyEntries", "hourlyEntries"},
         "chunks": {"trackedChunks", "totalSources", "cachedChunks", "pendingRequests"}}
SAMPLE = re.compile(r'([a-zA-Z_:][\w:]*)(\{(?:\w+="(?:[^"\\]|\\.)*",?)*\})? (?:[+-]?(?:\d[\d.e+-]*|Inf)|NaN)( \d+)?')


@pytest.fixture
def one(fleet):
    return fleet.workers[0]


def upgrade(worker, **headers):
    """The status that an upgrade request gets."""
    return http_request(worker, "GET", "/relay", headers={**UPGRADE, **headers})[0]


def is_refused(call, *args, **kwargs):
    """Whether connect() is refused for too many connections."""
    try:
        call(*args, **kwargs)
    except Exception as e:
        assert getattr(e, "status_code", None) == 429, repr(e)
        return True


def test_health_says_that_the_process_lives(one):
    status, headers, body = http_request(one, "GET", "/health")
    assert (status, headers["Content-Type"].split(";")[0]) == (200, "application/json")
    assert body.items() >= {"status": "ok", "service": "signalbox"}.items()
    assert abs(body["timestamp"] - time.time() * 1000) < 60_000


def test_ready_says_ready(one):
    status, _, body = http_request(one, "GET", "/ready")
    assert (status, body["status"]) == (200, "ready")


def test_readiness_follows_redis_and_health_does_not(start):
    fleet = start()
    fleet.redis.stop()
    for worker in fleet.workers:
        wait_until(lambda w=worker: http_request(w, "GET", "/ready")[0] == 503, 5, "/ready 503")
        body = get(worker, "/ready")
        assert isinstance(body, dict) and any(body.values()), "a reason"
        assert metric(worker, "signalbox_redis_up") == 0
        assert http_request(worker, "GET", "/health")[0] == 200
        for path in ("/stats", "/relay/stats"):
            status, headers, body = http_request(worker, "GET", path)
            assert (status, headers["Retry-After"], body) == (503, "1", {"error": UNAVAILABLE})
            assert headers["Access-Control-Allow-Origin"] == "*"
    fleet.redis.start()
    for worker in fleet.workers:
        wait_until(lambda w=worker: http_request(w, "GET", "/ready")[0] == 200, 8, "/ready 200")
        assert metric(worker, "signalbox_redis_up") == 1
        assert http_request(worker, "GET", "/stats")[0] == 200


@pytest.mark.parametrize("path", ["/", "/api/info"])
def test_the_endpoints_are_listed(one, path):
    status, _, body = http_request(one, "GET", path)
    assert status == 200 and body["name"] == "signalbox" and body["version"] and body["description"]
    assert all(re.fullmatch(r"[A-Z]+ /\S*", endpoint) for endpoint in body["endpoints"].values())
    listed = set(body["endpoints"].values())
    assert {f"GET {p}" for p in ("/health", "/ready", "/api/info", "/stats", "/relay/stats", "/metrics")} <= listed


def test_the_statistics_are_of_the_whole_fleet(start, connect):
    fleet = start()
    one, two = fleet.workers
    for worker, load in ((one, 2), (two, 6), (two, 0)):
        client, peer = connect(worker), uid()
        client.request("register", peerId=peer, maxConnections=10)
        client.request("update_load", peerId=peer, connectedCount=load)
        client.request("register_rendezvous", peerId=peer, dailyPoints=["common", peer], hourlyTokens=["common"])
    relays = {"totalPeers": 3, "totalCapacity": 30, "totalConnected": 8, "availableRelays": 2}
    rendezvous = {"dailyPoints": 4, "hourlyTokens": 1, "totalEntries": 9, "dailyEntries": 6, "hourlyEntries": 3}
    for worker in (one, two):
        for path in ("/stats", "/relay/stats"):
            want = {"relays": relays, "rendezvous": rendezvous, "connections": 3, "workers": 2,
                    "chunks": dict.fromkeys(STATS["chunks"], 0)}
            try:
                wait_until(lambda w=worker, p=path: get(w, p) == want, 6)
            except AssertionError:
                assert get(worker, path) == want


def test_every_line_of_the_metrics_is_in_the_text_format(one, connect):
    connect(one).request("ping")
    status, headers, body = http_request(one, "GET", "/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain")
    types, names, lines = {}, set(), body.decode().splitlines()
    for line in lines:
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types and kind in ("counter", "gauge", "histogram", "summary", "untyped"), line
            types[name] = kind
        elif not line.startswith("# HELP "):
            sample = SAMPLE.fullmatch(line)
            assert sample, line
            family = re.sub(r"_(bucket|sum|count)$", "", sample[1])
            names.add(family if types.get(family) == "histogram" else sample[1])
    assert names <= types.keys(), "a sample without its type"
    assert all(name.startswith(("signalbox_", "process_")) for name in names)
    assert {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"} <= names
    assert len(lines) == len({line.rsplit(" ", 1)[0] for line in lines if line[0] != "#"}) + sum(
        line[0] == "#" for line in lines), "a sample twice"
    assert "histogram" in types.values() and body.endswith(b"\n")


@pytest.mark.parametrize("method, path, status", [
    ("GET", "/health", 200), ("GET", "/ready", 200), ("GET", "/", 200), ("GET", "/stats", 200),
    ("GET", "/metrics", 200), ("GET", "/nowhere", 404), ("POST", "/nowhere", 404), ("POST", "/health", 405),
    ("DELETE", "/stats", 405), ("GET", "/relay", 426), ("GET", "/relay/any/thing", 426),
    ("OPTIONS", "/health", 200), ("OPTIONS", "/relay", 200),
    ("OPTIONS", "/nowhere/at/all", 200)])
def test_every_answer_has_its_status_and_the_cors_headers(one, method, path, status):
    got, headers, body = http_request(one, method, path)
    assert got == status
    assert {name: headers[name] for name in CORS} == CORS
    if method == "OPTIONS":
        assert body == b""
    elif status >= 400:
        assert body["error"]
    if status == 404:
        assert body == {"error": "Not Found", "path": path}
    if status == 405:
        assert "GET" in re.split(", *", headers["Allow"])
    if status == 426:
        assert headers["Upgrade"] == "websocket"


def test_only_the_listed_origins_are_allowed_across_sites(start):
    worker = start(1, CORS_ORIGINS="https://a.example,https://b.example").workers[0]
    for origin in ("https://a.example", "https://b.example"):
        for path in ("/health", "/nowhere"):
            headers = http_request(worker, "GET", path, headers={"Origin": origin})[1]
            assert headers["Access-Control-Allow-Origin"] == origin
    for headers in ({"Origin": "https://c.example"}, {"Origin": "https://a.example.evil"}, {}):
        answer = http_request(worker, "GET", "/health", headers=headers)[1]
        assert answer["Access-Control-Allow-Origin"] not in ("*", headers.get("Origin", "*"))


def test_a_body_that_is_too_big_is_refused(one):
    try:
        assert http_request(one, "POST", "/health", body=b"x" * (65536 + 1))[0] in (405, 413)
    except (BrokenPipeError, ConnectionResetError):
        pass  # refused before all of it was sent
    assert http_request(one, "GET", "/health")[0] == 200


def test_several_requests_share_a_connection(one):
    connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=10 * SLOW)
    sockets = set()
    for path, status in (("/health", 200), ("/nowhere", 404), ("/stats", 200), ("/metrics", 200), ("/ready", 200)):
        assert http_request(one, "GET", path, connection=connection)[0] == status
        sockets.add(connection.sock)
    connection.close()
    assert len(sockets) == 1 and None not in sockets


def test_an_address_may_hold_so_many_connections_and_no_more(start, connect):
    worker = start(1, IP_CONNECTIONS_MAX=3).workers[0]
    clients = [connect(worker) for _ in range(3)]
    assert is_refused(connect, worker)
    assert clients[0].request("ping") == {"type": "pong"}
    clients[0].close()
    wait_until(lambda: not is_refused(connect, worker), 3, "a place for another")
    assert is_refused(connect, worker)


def test_an_address_may_open_so_many_connections_a_second_and_no_more(start):
    worker = start(1, IP_CONNECT_RATE=2, IP_CONNECT_BURST=20).workers[0]
    begun = time.monotonic()
    answers = [upgrade(worker) for _ in range(60)]
    accepted, elapsed = answers.count(101), time.monotonic() - begun
    assert set(answers) == {101, 429} and 10 <= accepted <= 20 + 2 * elapsed + 1
    wait_until(lambda: upgrade(worker) == 101, 3, "a new connection after a while")


@pytest.mark.parametrize("trusted", ["127.0.0.1/32", None])
def test_the_forwarded_address_counts_only_behind_a_trusted_proxy(start, connect, trusted):
    worker = start(1, IP_CONNECTIONS_MAX=1, **({"TRUSTED_PROXIES": trusted} if trusted else {})).workers[0]
    connect(worker, headers={"X-Forwarded-For": "10.0.0.1"})
    rows = [("10.0.0.1", 429), ("10.9.9.9, 10.0.0.1", 429), ("10.0.0.1, 127.0.0.1", 429), ("2001:db8::1", 101),
            ("10.0.0.2", 101), ("10.0.0.1, 10.0.0.3", 101)]
    for forwarded, status in rows:
        got = upgrade(worker, **{"X-Forwarded-For": forwarded})
        assert got == (status if trusted else 429), forwarded


def test_a_foreign_origin_is_refused_at_the_upgrade(start):
    worker = start(1, ALLOWED_ORIGINS="https://a.example,https://b.example").workers[0]
    assert upgrade(worker, Origin="https://a.example") == upgrade(worker, Origin="https://b.example") == 101
    for foreign in ("https://c.example", "null", "http://a.example", "https://a.example:8443", "https://a.example.org",
                    "https://a.exampl", "https://a.example,https://b.example", "*", ","):
        assert upgrade(worker, Origin=foreign) == 403, foreign
    assert upgrade(worker) == 101, "who is no browser names no origin"
    for path in ("/", "/client", "/relay", "/signal/room", "/ws", "/worker-sync", "/signaling"):
        assert http_request(worker, "GET", path, headers={**UPGRADE, "Origin": "https://c.example"})[0] == 403, path
    assert http_request(worker, "GET", "/health", headers={"Origin": "https://c.example"})[0] == 200
