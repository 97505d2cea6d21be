# SPDX-License-Identifier: MIT
"""What the benchmarks share: a Redis and workers, the load generator, and what each process spends meanwhile.

CPU time is that of all threads of a process, user and system, from /proc; it is read when the load generator says that
its measuring time begins and ends. Where there are two CPUs or more, workers and Redis have the first ones and the load
generator the last: the times of a run are then steadier."""
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "integration"))

from authority import Authority, pem, tls_options  # noqa: E402
from harness import WORKER, Fleet, http_connection  # noqa: E402
from redis_rigs import TlsRedis  # noqa: E402

PROGRAMS = WORKER.parent
LOAD = PROGRAMS / "signalbox-load"
ENV = {"IP_CONNECT_RATE": 0, "IP_CONNECTIONS_MAX": 0, "MESSAGE_RATE": 0, "COST_RATE": 0, "LOG_LEVEL": "info",
       "PING_INTERVAL_MS": 3_600_000, "SIGNAL_PRESENCE_MAX": 0}
CPUS = sorted(os.sched_getaffinity(0))
SERVERS, LOADERS = (CPUS[:-1], CPUS[-1:]) if len(CPUS) > 1 else (CPUS, CPUS)


def raise_limits():
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)


def tasks(pid):
    return [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]


def cpu_us(pid):
    """CPU time of all threads of a process."""
    total = 0
    for task in tasks(pid):
        with contextlib.suppress(FileNotFoundError):
            total += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
    return total / 1e3


def rss(pid):
    """Resident bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def pin(pid, cpus):
    for task in tasks(pid):
        os.sched_setaffinity(task, cpus)


def tls_redis(folder):
    """A Redis that speaks TLS, and the options with which workers trust it."""
    authority = Authority()
    (Path(folder) / "redis-ca.pem").write_bytes(pem(authority.root))
    return TlsRedis(authority), {"REDIS_CA_FILE": f"{folder}/redis-ca.pem"}


@contextlib.contextmanager
def servers(count, tls=False, redis_tls=False, **env):
    """A fleet whose processes have their CPUs. tls: its workers speak it with clients; redis_tls: with Redis."""
    raise_limits()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="signalbox-tls-"))
        files, redis = tls_options(folder) if tls else {}, None
        if redis_tls:
            redis, trust = tls_redis(folder)
            files |= trust
        fleet = stack.enter_context(Fleet(count, redis=redis, **{**ENV, **files, **env}))
        for pid in pids(fleet).values():
            pin(pid, SERVERS)
        yield fleet


def pids(fleet):
    """The processes of a fleet by name; a dict of them is its own."""
    if isinstance(fleet, dict):
        return fleet
    workers = {f"worker{i + 1}": worker.pid for i, worker in enumerate(fleet.workers) if not worker.killed}
    return {**workers, "redis": fleet.redis.process.pid}


class Load:
    """A signalbox-load that has connected its clients, with TLS where the workers speak it. Options as its usage says,
    with _ for -."""

    def __init__(self, scenario, workers, **options):
        assert LOAD.exists(), f"no load generator at {LOAD}: ./signalbox bench builds it"
        flags = {"ports": ",".join(str(worker.port) for worker in workers),
                 "warm-up": min(1, options.get("seconds", 1)), **options}
        if getattr(workers[0], "tls", None):
            flags["tls"] = True
        command = [str(LOAD), scenario]
        for name, value in flags.items():
            command += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        pin(self.process.pid, LOADERS)
        self.result = None
        self.ready = self._line() == "ready"

    def _line(self):
        """The next line; the JSON that is the last one is kept."""
        line = self.process.stdout.readline().strip()
        if line.startswith("{"):
            self.result = json.loads(line)
        assert line, "the load generator ended without a result"
        return line

    def go(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def measure(self, fleet, begun=lambda: None):
        """Runs it to its end: its result, with the CPU time that each process took meanwhile, in µs. begun is called
        when the measuring time has begun."""
        spent = {}
        if self.ready:
            self.go()
            assert self._line() == "begin"
            before = {name: cpu_us(pid) for name, pid in pids(fleet).items()}
            begun()
            assert self._line() == "end"
            spent = {name: round(cpu_us(pid) - before[name]) for name, pid in pids(fleet).items()}
            self._line()
        self.process.communicate(timeout=30)
        return {**self.result, "cpu_us": spent}

    def close(self):
        self.process.kill()
        self.process.communicate()


def connected(scenario, workers, **options):
    """A load generator whose clients are all connected and welcome."""
    load = Load(scenario, workers, **options)
    assert load.ready, lost(load.result)
    return load


def once(fleet, scenario, workers, **options):
    """The result of a load generator of its own. Where nothing came to its end within the seconds, as on a machine that
    is busy with something else, it takes another one, for twice as long."""
    load = Load(scenario, workers, **options)
    try:
        result = load.measure(fleet)
    finally:
        load.close()
    if result["clean"] and not result["messages"]:
        return once(fleet, scenario, workers, **{**options, "seconds": 2 * options["seconds"]})
    return result


def measure(fleet, scenario, workers, **options):
    result = once(fleet, scenario, workers, **options)
    if not result["clean"]:
        for worker in workers:
            print(*(line for line in worker.log() if line["level"] in ("warning", "error")), sep="\n", file=sys.stderr)
    return result


class Echo:
    """The yardstick: see echo.c. Like a worker and a fleet, as far as Load looks at them."""

    def __init__(self):
        self.process = subprocess.Popen([PROGRAMS / "signalbox-echo"], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        pin(self.process.pid, SERVERS)

    def close(self):
        self.process.kill()
        self.process.communicate()


def echo_us(clients, size, seconds):
    """CPU µs per message of the bare echo, with so many messages under way: what the machine can do now."""
    echo, question = Echo(), '{"type":"offer","payload":"' + "x" * (size - 29) + '"}'
    try:
        result = once({"echo": echo.process.pid}, "ask", [echo], clients=clients, ask=question, answer="offer",
                      seconds=seconds)
        assert result["clean"], lost(result)
        return per(result, result["messages"])["echo"]
    finally:
        echo.close()


def in_echoes(once, rounds, seconds):
    """once() measures some CPU time in µs; the median of several rounds, (µs, how many bare echoes that is), by the
    latter, which is measured before each round."""
    found = []
    for _ in range(rounds):
        echo = echo_us(100, 1024, min(0.5, seconds))
        spent = once()
        found.append((round(spent / echo, 2), spent))
    echoes, spent = sorted(found)[rounds // 2]
    return spent, echoes


def per(result, count):
    """CPU µs of each process for each of so many."""
    return {name: round(spent / count, 2) if count else None for name, spent in result["cpu_us"].items()}


def lost(result):
    """What is wrong with a run, or an empty text."""
    if result["clean"]:
        return ""
    counts = {name: result[name] for name in ("missing", "refused", "wrong", "strange") if result[name]}
    return f"LOST OR REFUSED: {counts} {result['errors']}"


class Http:
    """Requests to a worker, one after the other on one connection, and what they cost."""

    def __init__(self, fleet, worker):
        self.fleet, self.connection = fleet, http_connection(worker)

    def cost(self, requests):
        """Calls each of the requests with the connection: CPU µs each by process, and the time each took in ms."""
        requests[0](self.connection)
        times, before = [], {name: cpu_us(pid) for name, pid in pids(self.fleet).items()}
        for request in requests[1:]:
            begun = time.perf_counter()
            request(self.connection)
            times.append((time.perf_counter() - begun) * 1e3)
        cpu = {name: round((cpu_us(pid) - before[name]) / len(times), 2) for name, pid in pids(self.fleet).items()}
        times.sort()
        return cpu, {"p50": round(times[len(times) // 2], 3), "p99": round(times[len(times) * 99 // 100], 3)}


def finish(rows):
    """Prints the rows as JSON; the exit status, which is 1 if anything was lost."""
    version = subprocess.run([WORKER, "--version"], text=True, stdout=subprocess.PIPE, check=True).stdout.split()[-1]
    for row in rows:
        print(json.dumps({"version": version, "cpus": os.cpu_count(), **row}))
    return 0 if all(row.get("clean", True) for row in rows) else 1


def setting():
    return (f"{os.cpu_count()} CPUs; workers and Redis on CPU {','.join(map(str, SERVERS))}, "
            f"the load generator on CPU {','.join(map(str, LOADERS))}")
