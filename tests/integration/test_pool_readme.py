# SPDX-License-Identifier: MIT
"""What README.md shows of the front server, tried on two real workers."""
import json
import re
import subprocess
import threading

import pytest

from harness import SLOW, wait_until
from test_readme import block, node, redis_cli, redis_rows, timeless
from test_servers_readme import run

KEY = "our-secret"


@pytest.fixture
def pair(start):
    return start(WORKER_SHARED_KEY=KEY)


@pytest.fixture
def pool(pair, tmp_path, closing):
    """pool.mjs as it runs; what it has printed."""
    script, lines = tmp_path / "pool.mjs", []
    ports = {"8080": str(pair.workers[0].port), "8081": str(pair.workers[1].port)}
    script.write_text(re.sub(r"\b808[01]\b", lambda m: ports[m[0]], block("js", "worker-sync")))
    process = subprocess.Popen([*node(), str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                               env={"PATH": "/usr/bin:/bin", "WORKER_SHARED_KEY": KEY})
    reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")), daemon=True)

    def end():
        process.kill()
        process.wait(10)
        reader.join(5)

    closing.callback(end)
    reader.start()
    wait_until(lambda: len(lines) >= 4, 10, "the end of the conversation")
    return lines


def test_the_member_and_its_client_talk_as_the_readme_says(pool):
    assert pool == block("", "member hears").splitlines(keepends=True)


def test_the_lines_of_curl_are_answered_as_the_readme_says(pair, pool):
    told = [json.loads(line) for line in block("", '"clientId"').splitlines()]
    got = [json.loads(run(pair, line).replace(":MS", ":0")) for line in block("sh", "/bootstrap").splitlines()]
    assert [list(answer) for answer in got] == [list(answer) for answer in told]
    for g, t in zip((got[0]["worker"], *got[1]["workers"]), (told[0]["worker"], *told[1]["workers"])):
        assert {**g, "lastSeen": 0, "load": 0} == {**t, "lastSeen": 0, "load": 0}
    assert [got[0][name] for name in ("alternates", "signaling", "iceServers")] == [
        told[0][name] for name in ("alternates", "signaling", "iceServers")]


def test_redis_answers_of_the_pool_as_the_readme_says(pair, pool):
    wait_until(lambda: pair.redis.client.hget("sb:{pool}:loads", "backend-1") == "1", 5, "a heartbeat")
    rows = redis_rows(4)
    for command, answer in rows.items():
        got = " ".join(re.sub(r"^ *\d+\) ", "", redis_cli(pair, command), flags=re.M).split())
        assert timeless(got) == timeless(answer.replace("66766dfd", pair.workers[0].wid)), command
    assert len(rows) >= 4
