# SPDX-License-Identifier: MIT
"""What README.md shows of servers and attestation, tried on two real workers."""
import os
import re
import shutil
import subprocess

import pytest

from harness import SLOW
from registry_client import Key, Reference, challenged, register
from test_readme import block, redis_cli, redis_rows, timeless

KEY, SECRET = Key(), "s3cret-of-the-ci"


@pytest.fixture
def pair(start):
    return start(ATTESTATION_SIGNING_KEY=KEY.seed, CI_UPLOAD_SECRET=SECRET)


def run(fleet, line):
    """What a line of the block prints."""
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    ports = {"8080": str(fleet.workers[0].port), "8081": str(fleet.workers[1].port)}
    line = re.sub(r"\b808[01]\b", lambda m: ports[m[0]], line)
    done = subprocess.run(["bash", "-c", line], env={**os.environ, "CI_UPLOAD_SECRET": SECRET, "no_proxy": "*"},
                          capture_output=True, text=True, timeout=10 * SLOW)
    assert done.returncode == 0, done.stderr
    return timeless(done.stdout)


def test_the_lines_of_curl_are_answered_as_the_readme_says(pair):
    lines = block("sh", "/servers").splitlines()
    assert [run(pair, line) for line in lines] == timeless(block("", "vps-1")).splitlines()


def test_redis_answers_of_servers_and_devices_as_the_readme_says(pair):
    for line in block("sh", "/servers").splitlines():
        if "DELETE" not in line:
            run(pair, line)
    reference = Reference(count=2, length=4, platform="linux")
    reference.data[0] = bytes.fromhex("00ff00ff")
    assert reference.upload(pair.workers[0], SECRET, build_hash="7d1f")[0] == 200
    assert register(pair.workers[0], KEY, "d1", platform="linux")[0] == 200
    challenged(pair.workers[1], "d1")
    rows = redis_rows(3)
    for command, answer in rows.items():
        got = " ".join(re.sub(r"^ *\d+\) ", "", redis_cli(pair, command), flags=re.M).split())
        assert timeless(got) == timeless(answer), command
    assert len(rows) >= 6
