# SPDX-License-Identifier: MIT
"""What the integration tests stand on: a real Redis and real workers. Every wait has an end."""
import contextlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from pathlib import Path

import redis as redis_client

ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(os.environ.get("SIGNALBOX_WORKER", ROOT / "build" / "signalbox-worker"))
REDIS_SERVER = os.environ.get("REDIS_SERVER", "redis-server")  # or valkey-server: the program of all that tests start
ASAN = WORKER.exists() and b"__asan_init" in WORKER.read_bytes()
SLOW = 5 if ASAN else 1
# Tests that run at the same time share the CPUs: what is measured in real time gets that much more of it.
CROWD = max(1, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1)) / os.cpu_count())
REPORTS = ("AddressSanitizer", "LeakSanitizer", "runtime error:")
IN_USE = "Peer id in use by another connection"
UNAVAILABLE = "Service temporarily unavailable"
# Tests have one address for all their clients; what counts for an address is off, but where this is given.
NO_ADDRESS_LIMITS = {"HTTP_RATE": 0, "IP_COST_RATE": 0, "MISS_RATE": 0}
DEFAULT_LIMITS = dict.fromkeys(NO_ADDRESS_LIMITS)
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
           "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


class Stopwatch:
    """How long something takes of which this process and some others have to do a part, but for the time in which a
    thread of theirs was ready to go on while others had the CPUs. So it is as long on a busy machine. parts: workers
    or processes; if there are none, all that this process has started."""

    def __init__(self, *parts):
        self.pids = [os.getpid(), *(part.pid for part in parts)] if parts else [os.getpid(), *children()]
        self.waited, self.begun = self._waited(), time.monotonic()

    def _waited(self):
        """The nanoseconds that each thread has waited for a CPU."""
        waited = {}
        for pid in self.pids:
            for thread in threads(pid):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    waited[thread] = int(Path(f"{thread}/schedstat").read_text().split()[1])
        return waited

    def seconds(self):
        took, waited = time.monotonic() - self.begun, self._waited()
        return max(0, took - sum(ns - self.waited.get(thread, 0) for thread, ns in waited.items()) / 1e9)


def threads(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [f"/proc/{pid}/task/{thread}" for thread in os.listdir(f"/proc/{pid}/task")]
    return []


def children():
    """What this process has started."""
    found = []
    for thread in threads(os.getpid()):
        with contextlib.suppress(FileNotFoundError):
            found += Path(f"{thread}/children").read_text().split()
    return found


class Patience:
    """So many seconds of waiting. When half of them are over, time in which others had the CPUs counts no more."""

    def __init__(self, seconds):
        self.half, self.watch = seconds * SLOW / 2, None
        self.middle = time.monotonic() + self.half

    def left(self):
        """For how long to go on waiting before this is asked again; 0: it is over."""
        if not self.watch:
            left = self.middle - time.monotonic()
            if left > 0:
                return left
            self.watch = Stopwatch()
        return max(0, self.half - self.watch.seconds())


def wait_until(condition, timeout=5, what="the condition"):
    """Polls until condition() is true and returns its value; fails after timeout seconds. What takes long is asked for less
    often: to ask takes CPU time from what is waited for."""
    patience, begun = Patience(timeout), time.monotonic()
    while not (value := condition()):
        assert patience.left(), f"{what} did not come true within {timeout * SLOW} s"
        time.sleep(min(0.05, max(0.01, (time.monotonic() - begun) / 50)))
    return value


def uid(prefix="peer"):
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def free_port():
    """Below those that the system gives to whoever connects somewhere: it stays free while its server is restarted."""
    while True:
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", random.randrange(10000, 32000)))
            return s.getsockname()[1]


def http_connection(worker, timeout=10):
    if getattr(worker, "tls", None):
        return http.client.HTTPSConnection("127.0.0.1", worker.port, timeout=timeout * SLOW, context=worker.tls)
    return http.client.HTTPConnection("127.0.0.1", worker.port, timeout=timeout * SLOW)


def http_request(worker, method, path, body=None, headers=None, connection=None):
    """(status, headers, body) of one request; a JSON body comes parsed."""
    c = connection or http_connection(worker)
    try:
        c.request(method, path, body, headers or {})
        response = c.getresponse()
        data = response.read()
        if "application/json" in response.headers.get("Content-Type", ""):
            data = json.loads(data)
        return response.status, response.headers, data
    finally:
        if connection is None:
            c.close()


def get(worker, path):
    """The body. A worker that has much to do may take long."""
    with contextlib.closing(http_connection(worker, 30)) as connection:
        return http_request(worker, "GET", path, connection=connection)[2]


def metric(workers, name):
    """What all series of this metric, or one with its labels, add up to; workers: one or a list of them."""
    texts = [get(worker, "/metrics").decode() for worker in (workers if isinstance(workers, list) else [workers])]
    assert all(f"# TYPE {name.split('{')[0]} " in text for text in texts), f"no metric {name}"
    return sum(map(float, re.findall(rf"^{re.escape(name)}(?:{{.*}})? (\S+)$", "\n".join(texts), re.M)))


def publishes(fleet):
    """How many PUBLISH commands Redis has had, without those by which workers probe their own subscriptions."""
    while True:
        probes = metric(fleet.workers, "signalbox_subscriber_probes_total")
        calls = fleet.redis.client.info("commandstats").get("cmdstat_publish", {"calls": 0})["calls"]
        if metric(fleet.workers, "signalbox_subscriber_probes_total") == probes:
            return calls - int(probes)


def ready(worker):
    try:
        return http_request(worker, "GET", "/ready")[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def freeze(process):
    """Returns once the child stands still (or has ended): SIGSTOP takes effect a moment after it was sent."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)


class Redis:
    """A redis-server of our own, on a Unix socket and a TCP port. program: another server than REDIS_SERVER."""

    def __init__(self, *options, program=REDIS_SERVER):
        self.program = program
        self.dir = tempfile.mkdtemp(prefix="signalbox-redis-")
        self.socket = f"{self.dir}/redis.sock"
        password = options[options.index("--requirepass") + 1] if "--requirepass" in options else None
        self.client = redis_client.Redis(unix_socket_path=self.socket, password=password, decode_responses=True)
        for _ in range(5):  # another test may be faster to take the port that is free
            self.port = free_port()
            self.command = [self.program, *self.config(), "--port", str(self.port), "--bind", "127.0.0.1",
                            "--unixsocket", self.socket, "--save", "", "--appendonly", "no", "--dir", self.dir, *options]
            self._run()
            if self.process.poll() is None:
                break
        assert self.process.poll() is None, "redis-server ended at once"

    def config(self):
        """What comes before the options."""
        return []

    def _run(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: self._answers() or self.process.poll() is not None, 10, "redis-server")

    def start(self):
        """Again, on the same port."""
        self._run()
        assert self.process.poll() is None, "redis-server ended at once"

    def _answers(self):
        try:
            return self.client.ping()
        except redis_client.RedisError:
            return False

    def stop(self):
        self.process.kill()
        self.process.wait(10)

    def close(self):
        self.stop()
        self.client.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def urls(self):
        """Both ways to reach it, so that a pair of workers tries both."""
        return [f"unix://{self.socket}", f"redis://127.0.0.1:{self.port}/0"]

    def keys(self):
        return sorted(self.client.keys("*"))


class Worker:
    """One signalbox-worker process and its log. tls: what clients of a worker that speaks TLS need, an SSLContext.
    program: another worker than WORKER. An option that is None has its default."""

    def __init__(self, redis_url, *args, prefix=(), patience=20, wait=True, tls=None, program=WORKER, **env):
        assert program.exists(), f"no worker at {program}: build it, or name it in SIGNALBOX_WORKER"
        base = {"PORT": 0, "HOST": "127.0.0.1", "LOG_FORMAT": "json", "LOG_LEVEL": "debug", "DRAIN_SECONDS": 0,
                **NO_ADDRESS_LIMITS}
        kept = {k: v for k, v in os.environ.items() if k in ("PATH", "TMPDIR") or k.endswith("SAN_OPTIONS")}
        base.update({"REDIS_URL": redis_url} if redis_url else {}, **env)
        if base.get("MESSAGE_RATE") == 0:
            base.setdefault("COST_RATE", 0)  # who may send as much as it likes may have it cost as much
        given = {k: str(v) for k, v in base.items() if v is not None}
        self.patience, self.lines, self.killed, self.tls = patience, [], False, tls
        self.process = subprocess.Popen([*prefix, str(program), *args], stderr=subprocess.PIPE, text=True,
                                        errors="replace", env={**kept, **given})
        self.pid = self.process.pid
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if wait:
            self.wait_ready()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)

    def wait_ready(self):
        try:
            wait_until(lambda: self.events("listening") or self.process.poll() is not None, self.patience, "listening")
            assert self.process.poll() is None, "the worker ended at once"
            self.port = self.events("listening")[0]["port"]
            wait_until(lambda: ready(self), self.patience, "/ready")
        except BaseException:
            self.kill9()
            print("".join(self.lines))
            raise

    def log(self):
        """The lines of the log that are JSON objects."""
        return [json.loads(line) for line in list(self.lines) if line.startswith("{") and line.endswith("}\n")]

    def events(self, name):
        return [line for line in self.log() if line.get("event") == name]

    @property
    def wids(self):
        return list(dict.fromkeys(line["worker"] for line in self.log() if line.get("worker")))

    @property
    def wid(self):
        return self.wids[-1]

    def stop(self):
        if not self.killed and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        try:
            code = self.process.wait(self.patience * SLOW)
        finally:
            self.process.kill()
        self.reader.join(5)
        log = "".join(self.lines)
        assert self.killed or code == 0, f"exit code {code}, the log ends:\n{log[-6000:]}"
        assert not any(word in log for word in REPORTS), f"the log ends:\n{log[-6000:]}"

    def kill9(self):
        self.killed = True
        self.process.kill()
        self.process.wait(10)

    def pause(self):
        freeze(self.process)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)


class Fleet:
    """Workers on one Redis. A context manager: leaving it stops them all and looks at how they ended. redis: one that
    runs already, theirs from now on."""

    def __init__(self, count=2, redis_options=(), redis=None, **env):
        self.redis, self.workers = redis or Redis(*redis_options), []
        urls = self.redis.urls()
        try:
            for i in range(count):
                self.workers.append(Worker(urls[i % len(urls)], **env))
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        failures = []
        for worker in self.workers:
            try:
                worker.stop()
            except Exception as e:
                failures.append(e)
        self.redis.close()
        if failures:
            raise failures[0]
