# SPDX-License-Identifier: MIT
"""The image that Dockerfile makes."""
import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import Redis, free_port, http_request, ready, wait_until
from images import ROOT, inspect, podman
from types import SimpleNamespace

LOCKED = ["--read-only", "--read-only-tmpfs=false", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]

# Becomes the worker, so that the pid is the one that its starter knows. It sees the files of the image, but the
# processes, the devices and the /tmp of this machine.
ENTER = """#!/bin/sh
exec unshare --mount sh -ec '
    for folder in dev proc tmp; do mount --rbind /$folder "$0/$folder"; done
    exec chroot "$0" /usr/local/bin/signalbox-worker "$@"' {root} "$@"
"""


@pytest.fixture(scope="module")
def redis(image):
    with contextlib.closing(Redis()) as redis:
        yield redis


@pytest.fixture
def launch(image, redis):
    """Runs a worker of the image on this machine's network; it may write nowhere."""
    names = []

    def launch():
        port = free_port()
        env = {"HOST": "127.0.0.1", "PORT": port, "REDIS_URL": f"redis://127.0.0.1:{redis.port}/0", "DRAIN_SECONDS": 0}
        options = [option for name, value in env.items() for option in ("-e", f"{name}={value}")]
        names.append(podman("run", "-d", "--network", "host", *LOCKED, *options, image).stdout.strip())
        return SimpleNamespace(port=port, name=names[-1])

    yield launch
    for name in names:
        podman("rm", "--force", "--time", "0", name)


@pytest.fixture
def program(image, tmp_path):
    """The worker of the image as a program of this machine."""
    script = tmp_path / "signalbox-worker"
    script.write_text(ENTER.format(root=podman("image", "mount", image).stdout.strip()))
    script.chmod(0o755)
    yield script
    podman("image", "unmount", image)


def test_it_knows_the_authorities_that_vouch_for_a_redis(image):
    root = Path(podman("image", "mount", image).stdout.strip())
    assert (root / "etc/ssl/certs/ca-certificates.crt").read_text().count("BEGIN CERTIFICATE") > 50
    podman("image", "unmount", image)


def test_it_is_under_120_mib(image):
    assert inspect(image)["Size"] < 120 * 2**20


def test_it_runs_as_a_user_without_rights_and_leaves_probing_to_the_platform(image):
    found = inspect(image)
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", found["Config"]["User"])
    assert not found.get("Healthcheck") and not found["Config"].get("Healthcheck")


def test_its_labels_say_what_it_is(image):
    labels = inspect(image)["Labels"]
    expected = {"title": "signalbox", "version": "1.2.3", "revision": "0123abc", "licenses": "MIT"}
    assert {name: labels.get(f"org.opencontainers.image.{name}") for name in expected} == expected


def test_nothing_that_builds_is_in_it(image):
    packages = podman("run", "--rm", "--entrypoint", "dpkg-query", image, "-W", "-f", "${Package}\n").stdout.split()
    assert "libwebsockets-evlib-uv" in packages
    assert not [name for name in packages if name.endswith("-dev") or re.match(r"(gcc-\d+$|cmake|redis|python)", name)]


def test_the_program_is_stripped(image, tmp_path):
    name = podman("create", image).stdout.strip()
    podman("cp", f"{name}:/usr/local/bin/signalbox-worker", tmp_path)
    podman("rm", name)
    program = (tmp_path / "signalbox-worker").read_bytes()
    assert program.startswith(b"\x7fELF") and b".text\0" in program
    assert b".symtab\0" not in program and b".debug_info\0" not in program


def test_it_is_ready_within_a_second_without_a_place_to_write(launch):
    worker = launch()
    wait_until(lambda: ready(worker), 10, "/ready")
    answered = time.time()
    started = int(podman("inspect", "--format", "{{.State.StartedAt.UnixNano}}", worker.name).stdout) / 1e9
    print(f"ready after {answered - started:.3f} s")
    assert answered - started < 1


def test_it_stops_when_it_is_asked_to(launch):
    worker = launch()
    wait_until(lambda: ready(worker), 10, "/ready")
    assert http_request(worker, "GET", "/health")[0] == 200
    podman("stop", "--time", "10", worker.name)
    state = inspect(worker.name)["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)


def test_without_a_redis_it_says_what_is_missing(image):
    done = podman("run", "--rm", *LOCKED, image, check=False)
    assert done.returncode == 1
    assert "REDIS_URL" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["test_http", "test_http_framing", "test_hostile_http", "test_frames"])
def test_its_worker_passes_the_integration_tests_of_http_and_of_frames(program, name):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", ROOT / "tests/integration" / f"{name}.py"],
        capture_output=True, text=True, timeout=900, env={**os.environ, "SIGNALBOX_WORKER": program, "TMPDIR": "/tmp"})
    print(done.stdout[-10000:], done.stderr[-2000:])
    assert done.returncode == 0
