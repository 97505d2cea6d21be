# SPDX-License-Identifier: MIT
"""The chart against the real thing: the worker's own options and metrics, a worker with the environment of a pod, a
Redis with the chart's configuration, the test's script, and promtool."""
import contextlib
import functools
import json
import re
import shutil
import socket
import subprocess
import sys
import threading

import pytest
import yaml

from chart import CHART, NAME, Manifests, template
from gotools import ROOT, debian_program

sys.path.insert(0, str(ROOT / "tests" / "integration"))

from front import KEY, Member  # noqa: E402
from harness import SLOW, WORKER, Fleet, Redis, Worker, get, http_request  # noqa: E402

FILES = {"defaults": [], "production": ["values-production.yaml"], "qa": ["values-qa.yaml"]}
OTHER_DEFAULTS = {"ENVIRONMENT": "production", "SERVER_REGISTRATION": "signed"}  # what the chart sets by itself
METRIC = re.compile(r"\b((?:signalbox|process)_[a-z_]+)")
INSIDE = {"/metrics", "/ready"}  # what is no client's business


@pytest.fixture(scope="module")
def fleet():
    with Fleet(2) as fleet:
        yield fleet


@functools.cache
def options():
    """{name: (default, what is allowed)} of the worker; allowed is None for a secret."""
    text = subprocess.run([WORKER, "--help"], capture_output=True, text=True, check=True).stdout
    plain = re.findall(r"^  --\S+ +([A-Z_0-9]+) +(?:\[(.*?)\] )?(.*)$", text, re.M)
    secret = re.findall(r"^ +([A-Z_0-9]+) +or file \1_FILE$", text, re.M)
    return {**{name: (default, allowed) for name, default, allowed in plain}, **dict.fromkeys(secret, ("", None))}


def values():
    return yaml.safe_load((CHART / "values.yaml").read_text())


# --- the worker's options ---


def test_every_option_of_the_worker_is_a_value_and_nothing_else_is():
    assert len(options()) > 50
    assert {name for name, (_, allowed) in options().items() if allowed is not None} == set(values()["config"])
    secrets = {name for name, (_, allowed) in options().items() if allowed is None}
    assert secrets == {*values()["secrets"], "REDIS_URL"} and "url" in values()["externalRedis"]


def test_the_values_are_the_workers_defaults():
    told = {name: default for name, (default, allowed) in options().items() if allowed is not None}
    assert {name: str(value) for name, value in values()["config"].items()} == {**told, **OTHER_DEFAULTS}


def test_the_schema_has_the_workers_bounds():
    rules = json.loads((CHART / "values.schema.json").read_text())["properties"]["config"]["properties"]
    for name, (_, allowed) in options().items():
        if allowed is None:
            continue
        if bounds := re.fullmatch(r"(\d+) to (\d+)", allowed):
            least = 1024 if name == "PORT" else int(bounds[1])  # a pod has no right to those below
            assert rules[name] == {"type": "integer", "minimum": least, "maximum": int(bounds[2])}, name
        elif allowed != "text":
            assert rules[name] == {"enum": re.split(", | or ", allowed)}, name
        else:
            assert rules[name].get("type") == "string" or name == "LOG_LEVEL", name


TEXTS = [
    *((name, text) for name in ("TRUSTED_PROXIES", "STATUS_ALLOW", "WORKER_ALLOW") for text in (
        "", "10.0.0.0/8", "192.0.2.1 , 10.0.0.0/8,fd00::/8", "::ffff:10.0.0.1", "::/0", "10.0.0.0/8 172.16.0.0/12",
        "10.0.0.0/8,", "10.0.0.0/33", "fd00::/129", "10.0.0/8", "the-proxy")),
    *(("PROCESSES", text) for text in ("auto", "1", "256", "257", "0", "two")),
    *(("STUN_SERVERS", text) for text in ("stun:a.example:3478, stuns:b.example", "stun.example:3478", "turn:a.example")),
    *(("TURN_SERVERS", text) for text in ("turn:a.example,turns:b.example", "stun:a.example")),
    *(("BUILD_TOKEN_VERIFY_KEY", text) for text in ("A" * 43 + "=", "A" * 43, "abc")),
    *(("BOOTSTRAP_SIGNING_KEY", text) for text in ("a1" * 32, "a1" * 31)),
    *(("REDIS_URL", f"redis://{text}") for text in (
        "localhost:1", "localhost:1/2", "u:p%40@127.0.0.1:1/0", ":p@127.0.0.1:1", "[::1]:1", "u@127.0.0.1:1", "127.0.0.1:1/zero",
        "127.0.0.1:1?db=1", "")),
    *(("REDIS_URL", text) for text in (
        "rediss://u:p@127.0.0.1:1/2", "rediss://", "redis+sentinel://127.0.0.1:1/m", "redis+cluster://127.0.0.1:1",
        "redis+sentinel://:p@127.0.0.1:1,[::1]:1/my-master_1.a/2", "rediss+sentinel://127.0.0.1:1/m/0",
        "redis+sentinel://127.0.0.1:1", "redis+sentinel://127.0.0.1:1/m,n", "redis+sentinel://127.0.0.1:1,/m",
        "redis+sentinel://127.0.0.1:1/m/x")),
    *(("REDIS_PREFIX", text) for text in ("blue:", "A-b_1:", "", "b" * 32, "b" * 33, "b*", "b{c}"))]


@pytest.mark.parametrize("name, text", TEXTS)
def test_the_chart_refuses_the_text_that_the_worker_refuses(name, text):
    """No Redis is there; the worker says so once it has read its options."""
    done = subprocess.run([WORKER, "--check-redis"], env={"REDIS_URL": "redis://127.0.0.1:1", name: text},
                          capture_output=True, text=True, timeout=60 * SLOW)
    if name == "REDIS_URL":
        values = {"redis": {"enabled": False}, "externalRedis": {"url": text}, "networkPolicy": {"enabled": False}}
    else:
        values = {"secrets" if name.endswith("SIGNING_KEY") else "config": {name: text}}
    taken = template(values)
    assert (taken.returncode == 0) == (name not in done.stderr), (taken.stderr, done.stderr)


@pytest.mark.parametrize("files", FILES.values(), ids=FILES)
def test_the_config_map_says_to_the_worker_what_the_values_say(files):
    expected = values()["config"]
    for file in files:
        expected.update(yaml.safe_load((CHART / file).read_text())["config"])
    assert Manifests(files=files).config == {name: str(value) for name, value in expected.items()}


# --- the worker, and Redis ---


@pytest.mark.parametrize("files", FILES.values(), ids=FILES)
def test_a_worker_starts_with_the_environment_of_the_pod(files):
    config = Manifests(files=files).config
    assert config["HOST"] == "0.0.0.0" and config["PORT"] == "8080"
    with contextlib.closing(Redis()) as redis:
        worker = Worker(redis.urls()[0], **{**config, "HOST": "127.0.0.1", "PORT": 0, "DRAIN_SECONDS": 0})
        assert get(worker, "/ready")["status"] == "ready"
        worker.stop()


def test_a_worker_with_the_secrets_of_the_pod_uses_them():
    secrets = {"BOOTSTRAP_SIGNING_KEY": "a1" * 32, "SERVER_REGISTRATION_SECRET": "may register",
               "ATTESTATION_SIGNING_KEY": "b2" * 32, "CI_UPLOAD_SECRET": "may upload", "WORKER_SHARED_KEY": KEY,
               "TURN_SECRET": "turns"}
    manifests = Manifests({"secrets": secrets, "config": {
        "SERVER_REGISTRATION": "secret", "TURN_SERVERS": "turn:t.example", "WORKER_HEALTH_TIMEOUT": 600000}})
    server = json.dumps({"serverId": "s", "endpoint": "wss://s.example", "publicKey": "AAECAw=="})
    with contextlib.closing(Redis()) as redis:
        worker = Worker(redis.urls()[0], **{**manifests.config, **manifests.secret(), "HOST": "127.0.0.1", "PORT": 0,
                                            "DRAIN_SECONDS": 0})
        assert http_request(worker, "GET", "/servers")[1]["X-Bootstrap-Signature"]
        for path, body, key in (("/servers", server, "may register"), ("/attest/versions", "{}", "may upload")):
            assert http_request(worker, "POST", path, body)[0] == 401
            assert http_request(worker, "POST", path, body, {"Authorization": f"Bearer {key}"})[0] == 200
        assert http_request(worker, "POST", "/attest/register", "{}")[0] == 400  # not 503: it has the key
        member = Member(worker)
        [there] = get(worker, "/workers")["workers"]
        [ice] = http_request(worker, "POST", "/bootstrap", "{}")[2]["iceServers"]
        member.drop()
        worker.stop()
    assert there["id"] == member.id and ice["credential"]


def test_the_bundled_redis_is_fit_for_workers():
    """Its configuration, its password and the URL that workers are given, but for the host."""
    manifests = Manifests()
    conf = manifests["ConfigMap", "redis"]["data"]["redis.conf"]
    settings = [line.split(None, 1) for line in conf.splitlines() if not line.startswith("dir ")]
    password = manifests.secret("redis")["password"]
    args = [arg for name, value in settings for arg in (f"--{name}", value.strip('"'))]
    with contextlib.closing(Redis(*args, "--requirepass", password)) as redis:
        url = manifests.container["env"][-1]["value"].replace("$(REDIS_PASSWORD)", password)
        url = url.replace(f"@{NAME}-redis:6379", f"@127.0.0.1:{redis.port}")
        done = subprocess.run([WORKER, "--check-redis"], env={"REDIS_URL": url}, capture_output=True, text=True,
                              timeout=30 * SLOW)
        assert done.returncode == 0 and "\nwarn" not in done.stdout and "\nbad" not in done.stdout, done.stdout
        assert len(redis.client.config_get("appendonly", "maxmemory")) == 2
        assert redis.client.config_get("appendonly") == {"appendonly": "yes"}
        assert redis.client.config_get("maxmemory") == {"maxmemory": str(384 << 20)}


def test_the_ingress_leads_to_all_that_clients_use_and_no_further(fleet):
    manifests = Manifests({"ingress": {"enabled": True}})
    paths = manifests["Ingress", ""]["spec"]["rules"][0]["http"]["paths"]

    def leads(path):
        return any(path == rule["path"] or (rule["pathType"] == "Prefix" and path.startswith(rule["path"] + "/"))
                   for rule in paths)

    there = {endpoint.split()[1] for endpoint in get(fleet.workers[0], "/api/info")["endpoints"].values()}
    assert {path for path in there if not leads(path)} == INSIDE
    for rule in paths:
        assert any(path == rule["path"] or path.startswith(rule["path"].rstrip("/") + "/") for path in there), rule


# --- the test of an installation ---


class Balancer:
    """Leads connections to workers by turns, as a Service may."""

    def __init__(self, workers):
        self.ports, self.count = [worker.port for worker in workers], 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client = self.listener.accept()[0]
                worker = socket.create_connection(("127.0.0.1", self.ports[self.count % len(self.ports)]))
                self.count += 1
                for pair in ((client, worker), (worker, client)):
                    threading.Thread(target=self.pump, args=pair, daemon=True).start()

    def pump(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


def round_trip(port):
    """Runs what the test pod runs, as it is in its ConfigMap."""
    manifests = Manifests()
    script = manifests["ConfigMap", "test"]["data"]["roundtrip.sh"]
    command = manifests["Pod", "test"]["spec"]["containers"][0]["command"]
    assert command == ["bash", "/test/roundtrip.sh", NAME, "80"]
    return subprocess.run(["bash", "-c", script, "roundtrip.sh", "127.0.0.1", str(port)], capture_output=True, text=True,
                          timeout=60 * SLOW)


def test_the_helm_test_passes_where_two_workers_serve(fleet):
    balancer = Balancer(fleet.workers)
    done = round_trip(balancer.port)
    balancer.listener.close()
    assert done.returncode == 0 and balancer.count == 2, done
    assert all(worker.events("connection_open") for worker in fleet.workers)


def test_the_helm_test_fails_where_nobody_answers():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    done = round_trip(port)
    assert done.returncode == 1 and "failed: connect" in done.stdout, done


def test_the_helm_test_fails_where_two_workers_do_not_share_a_redis(fleet):
    with Fleet(1) as other:
        balancer = Balancer([fleet.workers[0], other.workers[0]])
        done = round_trip(balancer.port)
        balancer.listener.close()
    assert done.returncode != 0 and "failed: hear of the other" in done.stdout, done


# --- metrics and alerts ---


def exported(fleet):
    return set(re.findall(r"^# TYPE (\S+)", get(fleet.workers[0], "/metrics").decode(), re.M))


def without_suffix(name):
    return re.sub(r"_(bucket|sum|count)$", "", name)


def test_every_metric_of_alerts_dashboard_and_autoscaler_is_there(fleet):
    manifests = Manifests({"prometheusRule": {"enabled": True}, "dashboard": {"enabled": True},
                           "autoscaling": {"enabled": True, "connectionsPerPod": 1}})
    rules = [rule["expr"] for rule in manifests["PrometheusRule", ""]["spec"]["groups"][0]["rules"]]
    board = json.loads(manifests["ConfigMap", "dashboard"]["data"]["signalbox.json"])
    panels = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    scaled = [manifests["HorizontalPodAutoscaler", ""]["spec"]["metrics"][1]["pods"]["metric"]["name"]]
    for expressions, least in ((rules, 12), (panels, 18), (scaled, 1)):
        named = {without_suffix(name) for text in expressions for name in METRIC.findall(text)}
        assert len(named) >= least and named <= exported(fleet), named - exported(fleet)


def test_the_labels_that_dashboard_and_alerts_go_by_are_there(fleet):
    with contextlib.closing(Balancer(fleet.workers).listener) as listener:
        assert round_trip(listener.getsockname()[1]).returncode == 0
    text = "".join(get(worker, "/metrics").decode() for worker in fleet.workers)
    for sample in ('signalbox_delivery_total{result="dropped"}', 'signalbox_messages_in_total{dialect="signal",type="offer"}',
                   'signalbox_connections{path="/signal"}'):
        assert sample in text, sample


def test_the_dashboard_shows_each_panel_once(fleet):
    board = json.loads((CHART / "files" / "dashboard.json").read_text())
    places = [tuple(panel["gridPos"].values()) for panel in board["panels"]]
    assert len(set(places)) == len(places) == len({panel["title"] for panel in board["panels"]})


def alerts():
    return yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())["groups"][0]["rules"]


def test_every_alert_says_how_bad_it_is_and_what_to_do():
    for rule in alerts():
        assert rule["labels"]["severity"] in ("critical", "warning"), rule
        assert rule["annotations"]["summary"] and rule["annotations"]["cure"].endswith((".", "?")), rule


def test_operations_md_tells_of_every_alert_and_of_no_other():
    told = set(re.findall(r"^\| `(Signalbox\w+)` \|", (ROOT / "docs" / "operations.md").read_text(), re.M))
    assert told == {rule["alert"] for rule in alerts()}


@pytest.fixture
def promtool(tmp_path):
    program = debian_program("prometheus/promtool")

    def run(*args):
        return subprocess.run([program, *args], cwd=tmp_path, capture_output=True, text=True, timeout=60 * SLOW)

    return run


def test_prometheus_takes_the_rules_of_a_release(promtool, tmp_path):
    spec = Manifests({"prometheusRule": {"enabled": True}})["PrometheusRule", ""]["spec"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec))
    done = promtool("check", "rules", "rules.yaml")
    assert done.returncode == 0 and f"{len(alerts())} rules found" in done.stdout, done


def test_each_alert_fires_on_its_trouble_and_not_without(promtool, tmp_path):
    shutil.copy(CHART / "files" / "alerts.yaml", tmp_path)
    tests = (ROOT / "tests" / "deploy" / "alerts_test.yaml").read_text()
    (tmp_path / "alerts_test.yaml").write_text(tests)
    done = promtool("test", "rules", "alerts_test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {rule["alert"] for rule in alerts()} == set(re.findall(r'alertname="(\w+)"', tests))
