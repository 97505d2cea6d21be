# SPDX-License-Identifier: MIT
"""helm and kubeconform, built once into build/tools, promtool, and what is read from Go modules. Where they cannot be had
(no go, one that is too old, no network before they were built), whoever asks is skipped and told why."""
import contextlib
import fcntl
import functools
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "build" / "tools"
GO_LEAST = (1, 24)
PACKAGES = {"helm": "helm.sh/helm/v3/cmd/helm@v3.19.5",
            "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0"}


class Unavailable(Exception):
    pass


def or_skip(get):
    """get, asked once for each argument; where it raises Unavailable, that skips whoever asks, now and later."""
    answers = {}

    @functools.wraps(get)
    def ask(name):
        if name not in answers:
            try:
                answers[name] = get(name), None
            except Unavailable as e:
                answers[name] = None, str(e)
        answer, why_not = answers[name]
        if why_not:
            pytest.skip(why_not)
        return answer

    return ask


@contextlib.contextmanager
def locked(name):
    """One process at a time builds a thing."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    with open(TOOLS / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run_go(*args, **env):
    """From a folder without a module."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["go", *args], cwd=folder, capture_output=True, text=True, env={**os.environ, **env})
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Unavailable(f"go {' '.join(args)} fails: {last}")
    return done.stdout


def require_go():
    least = ".".join(map(str, GO_LEAST))
    if not shutil.which("go"):
        raise Unavailable(f"go is not installed; helm and kubeconform are built with it, {least} or later")
    version = run_go("env", "GOVERSION").strip()
    found = re.match(r"go(\d+)\.(\d+)", version)
    if not found or tuple(map(int, found.groups())) < GO_LEAST:
        raise Unavailable(f"{version} is too old to build helm and kubeconform: {least} or later does")


@or_skip
def tool(name):
    """The path of the program."""
    package = PACKAGES[name]
    program = TOOLS / f"{name}-{package.rpartition('@')[2]}"
    with locked(program.name):
        if not program.exists():
            require_go()
            with tempfile.TemporaryDirectory(dir=TOOLS) as folder:
                run_go("install", "-ldflags=-s -w", package, GOBIN=folder)
                os.rename(Path(folder) / name, program)
    return program


@or_skip
def debian_program(name):
    """The path of PACKAGE/PROGRAM, taken out of the package where it is not installed: Debian starts what it installs."""
    package, _, program = name.partition("/")
    if shutil.which(program):
        return shutil.which(program)
    folder = TOOLS / f"debian-{package}"
    with locked(folder.name):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=TOOLS) as work:
                os.chmod(work, 0o755)
                for command in (["apt-get", "download", package], ["sh", "-c", "dpkg-deb -x *.deb there"]):
                    try:
                        done = subprocess.run(command, cwd=work, capture_output=True, text=True)
                    except FileNotFoundError:
                        raise Unavailable(f"{program} is not installed") from None
                    if done.returncode != 0:
                        raise Unavailable(f"{program} is not installed, and {command[0]} fails: {done.stderr[-300:]}")
                os.rename(Path(work) / "there", folder)
    return str(folder / "usr" / "bin" / program)


@or_skip
def module_zip(module):
    """Where the source of module@version is, as a zip file."""
    require_go()
    return json.loads(run_go("mod", "download", "-json", module))["Zip"]


if __name__ == "__main__":  # so that the tests find them
    for name in PACKAGES:
        tool(name)
