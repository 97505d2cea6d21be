# SPDX-License-Identifier: MIT
"""STATUS_ALLOW: who may read numbers and names of the fleet."""
import json

import pytest

from harness import SLOW, Worker, metric, wait_until
from registry_client import raw

PATHS = ["/metrics", "/stats", "/relay/stats", "/api/info", "/api/stats", "/api/rooms", "/api/rooms/x"]
OPEN = ["/health", "/ready", "/", "/servers", "/workers", "/static/index.js"]
PRIVATE = ["10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.7.7", "127.0.0.1", "100.64.0.1", "100.127.255.255", "::1",
           "fc00::1", "fdff::1", "fe80::1", "::ffff:10.0.0.1"]
PUBLIC = ["9.255.255.255", "11.0.0.1", "172.15.0.1", "172.32.0.1", "192.169.0.1", "100.63.0.1", "100.128.0.1", "8.8.8.8",
          "2001:db8::1", "fec0::1", "::ffff:8.8.8.8", "::2"]
BEHIND = {"IP_CONNECT_RATE": 0, "TRUSTED_PROXIES": "127.0.0.0/8", "SERVER_REGISTRATION": "signed"}
FORBIDDEN = 403, {"error": "Forbidden"}


def ask(worker, path, ip=None, method="GET"):
    status, headers, body = raw(worker, method, path, headers={"X-Forwarded-For": ip} if ip else {})
    assert headers["Access-Control-Allow-Origin"] == "*"
    return status, json.loads(body) if status == 403 and body else None


def test_in_production_private_addresses_read_the_status_and_others_do_not(start):
    worker = start(1, ENVIRONMENT="production", **BEHIND).workers[0]
    for path in PATHS:
        for ip in PRIVATE:
            assert ask(worker, path, ip)[0] != 403, (path, ip)
        for ip in PUBLIC:
            assert ask(worker, path, ip) == FORBIDDEN, (path, ip)
        assert ask(worker, path + "?x=1", PUBLIC[0]) == FORBIDDEN
        assert ask(worker, path, PUBLIC[0], "HEAD")[0] == 403
        assert ask(worker, path, PUBLIC[0], "OPTIONS")[0] == 200
        assert ask(worker, path, PUBLIC[0], "POST")[0] == 405
    for path in OPEN:
        assert ask(worker, path, PUBLIC[0])[0] == 200, path
    assert metric(worker, "signalbox_status_refused_total") == len(PATHS) * (len(PUBLIC) + 2)
    wait_until(lambda: worker.events("limit_hit"), 5, "the log")
    assert {line["limit"] for line in worker.events("limit_hit")} == {"STATUS_ALLOW"}


def test_in_development_anybody_reads_the_status(start):
    worker = start(1, **BEHIND).workers[0]
    assert all(ask(worker, path, ip)[0] != 403 for path in PATHS for ip in (PRIVATE[0], PUBLIC[0], PUBLIC[8]))


@pytest.mark.parametrize("environment", ["development", "production"])
def test_a_list_takes_the_place_of_what_the_environment_says(start, environment):
    worker = start(1, ENVIRONMENT=environment, STATUS_ALLOW="127.0.0.1, 8.8.8.0/24, 2001:db8::/32", **BEHIND).workers[0]
    for ip in "127.0.0.1", "8.8.8.8", "2001:db8::5":
        assert ask(worker, "/metrics", ip)[0] == 200
    for ip in "10.0.0.1", "8.8.9.8", "2001:db9::5":
        assert ask(worker, "/metrics", ip) == FORBIDDEN


def test_without_proxies_the_address_of_the_socket_counts(start):
    worker = start(1, STATUS_ALLOW="10.0.0.0/8", **{**BEHIND, "TRUSTED_PROXIES": ""}).workers[0]
    assert ask(worker, "/stats") == ask(worker, "/stats", "10.0.0.1") == FORBIDDEN


@pytest.mark.parametrize("value", ["private", "10.0.0.0/33", "10.0.0.1;10.0.0.2"])
def test_a_list_that_cannot_be_read_keeps_a_worker_from_starting(value):
    worker = Worker("unix:///nowhere", wait=False, STATUS_ALLOW=value)
    assert worker.process.wait(10 * SLOW) == 2
    worker.reader.join(5)
    assert f'STATUS_ALLOW must be address ranges such as 10.0.0.0/8, separated by commas, not "{value}"' in worker.lines[0]
