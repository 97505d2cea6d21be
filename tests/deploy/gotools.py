# SPDX-License-Identifier: MIT
"""helm and kubeconform, built once into build/tools, and what is read from Go modules. Needs go; without it, or with one
that is too old, whoever asks is skipped."""
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


@contextlib.contextmanager
def locked(name):
    """One process at a time builds a thing."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    with open(TOOLS / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run_go(*args, env=None):
    """From a folder without a module. Fails the test where the command fails."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["go", *args], cwd=folder, capture_output=True, text=True, env={**os.environ, **(env or {})})
    assert done.returncode == 0, f"go {' '.join(args)}: {done.stderr[-3000:]}"
    return done.stdout


@functools.cache
def require_go():
    least = ".".join(map(str, GO_LEAST))
    if not shutil.which("go"):
        pytest.skip(f"go is not installed, and helm and kubeconform are built with it ({least} or later)")
    version = run_go("env", "GOVERSION").strip()
    found = re.match(r"go(\d+)\.(\d+)", version)
    if not found or tuple(map(int, found.groups())) < GO_LEAST:
        pytest.skip(f"{version} is too old to build helm and kubeconform: {least} or later does")


@functools.cache
def tool(name):
    """The path of the program."""
    package = PACKAGES[name]
    program = TOOLS / f"{name}-{package.rpartition('@')[2]}"
    if program.exists():
        return program
    require_go()
    with locked(program.name):
        if not program.exists():
            with tempfile.TemporaryDirectory(dir=TOOLS) as folder:
                run_go("install", "-ldflags=-s -w", package, env={"GOBIN": folder})
                os.rename(Path(folder) / name, program)
    return program


def module_zip(module):
    """Where the source of module@version is, as a zip file."""
    require_go()
    return json.loads(run_go("mod", "download", "-json", module))["Zip"]
