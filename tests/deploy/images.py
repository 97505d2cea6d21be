# SPDX-License-Identifier: MIT
"""podman with a store of its own in build-deploy/, so that what the tests make touches none of the machine's images and
networks. Images that cannot be pulled are made of Debian's packages, under the names that the files here give them."""
import json
import os
import platform
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STORE = ROOT / "build-deploy"
TOOLS = ["podman", "podman-compose", "debootstrap", "runc", "iptables"]
HELPERS = [Path("/usr/lib/podman") / name for name in ("netavark", "aardvark-dns")]
IMAGE = "localhost/signalbox:latest"  # as compose.yaml names it
SUITE = "trixie"
DEBIAN = f"docker.io/library/debian:{SUITE}-slim"

# What the official image of each is started with, and Debian's package of the same program.
STAND_INS = {
    "docker.io/library/redis": ("redis-server", [], ["redis-server"]),
    "docker.io/library/haproxy": ("haproxy", [], ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]),
    "docker.io/prom/prometheus": ("prometheus", ["prometheus"], ["--config.file=/etc/prometheus/prometheus.yml",
                                                                 "--storage.tsdb.path=/prometheus"]),
}

# No cgroups, and no more than this machine allows: podman runs inside of another container, too.
CONTAINERS_CONF = """
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
cgroups = "no-conmon"
default_ulimits = ["nofile={files}:{files}", "nproc=4096:4096"]
[network]
network_backend = "netavark"
network_config_dir = "{store}/networks"
"""
STORAGE_CONF = """
[storage]
driver = "overlay"
graphroot = "{store}/storage"
runroot = "{store}/run"
"""


class Unavailable(Exception):
    """Why no container can be run here."""


def environment():
    STORE.mkdir(exist_ok=True)
    files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1] % 2**63, 65536)
    for name, text in (("containers.conf", CONTAINERS_CONF), ("storage.conf", STORAGE_CONF)):
        (STORE / name).write_text(text.format(store=STORE, files=files))
    return {**os.environ, "CONTAINERS_CONF": f"{STORE}/containers.conf",
            "CONTAINERS_STORAGE_CONF": f"{STORE}/storage.conf"}


def run(*command, check=True, timeout=600, **env):
    """The finished process, with its output as text. Output goes to files: conmon keeps pipes open."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=timeout,
                              env={**environment(), **env})
        for file in (out, err):
            file.seek(0)
        done.stdout, done.stderr = out.read(), err.read()
    assert not check or done.returncode == 0, f"{' '.join(map(str, command))}: {done.stderr[-4000:]}"
    return done


def podman(*args, **options):
    return run("podman", *args, **options)


def inspect(name):
    return json.loads(podman("inspect", name).stdout)[0]


def ensure(image):
    """The image is there: from an earlier run, pulled, or made here."""
    if podman("image", "exists", image, check=False).returncode == 0:
        return
    try:
        if podman("pull", "-q", image, check=False, timeout=120).returncode == 0:
            return
    except subprocess.TimeoutExpired:
        pass
    if image == DEBIAN:
        make_debian()
    else:
        make_stand_in(image, *STAND_INS[image.split(":")[0]])


def make_debian():
    """As slim as the official one; its apt fetches from where this machine's does, whose suite may be another."""
    here = platform.freedesktop_os_release()["VERSION_CODENAME"]
    sources = run("apt-get", "indextargets", "--format", "deb $(REPO_URI) $(RELEASE) $(COMPONENT)",
                  "Created-By: Packages", "Origin: Debian").stdout
    mirror = next((line.split()[1] for line in sources.splitlines() if f" {here} " in line), None)
    assert mirror, f"apt-get here knows no {here}"
    settings = run("apt-config", "dump", "Acquire").stdout
    with tempfile.TemporaryDirectory(dir=STORE) as scratch:
        root = Path(scratch) / "root"
        run("debootstrap", "--variant=minbase", SUITE, root, mirror)
        (root / "etc/apt/sources.list").write_text(sources.replace(f" {here}", f" {SUITE}"))
        (root / "etc/apt/apt.conf.d/90machine").write_text(settings)
        needless = ["var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"]
        run("tar", "-C", root, "-cf", f"{scratch}/root.tar", *(f"--exclude=./{path}/*" for path in needless), ".")
        podman("import", "-q", f"{scratch}/root.tar", DEBIAN)


def make_stand_in(image, package, entrypoint, command):
    ensure(DEBIAN)
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch, "Dockerfile").write_text(
            f"FROM {DEBIAN}\n"
            f"RUN apt-get update && apt-get install -y --no-install-recommends {package}\n"
            f"ENTRYPOINT {json.dumps(entrypoint)}\nCMD {json.dumps(command)}\n")
        podman("build", "--isolation", "chroot", "-t", image, scratch)


def check():
    """Raises Unavailable where containers cannot be run; else Debian's image is there."""
    if os.geteuid() != 0:
        raise Unavailable("needs root")
    missing = [tool for tool in TOOLS if not shutil.which(tool)] + [path.name for path in HELPERS if not path.exists()]
    if missing:
        raise Unavailable(f"not installed: {' '.join(missing)}")
    try:
        ensure(DEBIAN)
        podman("run", "--rm", DEBIAN, "true", timeout=120)
    except (AssertionError, subprocess.SubprocessError, OSError) as e:
        raise Unavailable(f"podman runs no container here: {str(e)[-500:]}") from e


def build(image, **args):
    """With the Dockerfile of this repository."""
    options = [option for name, value in args.items() for option in ("--build-arg", f"{name}={value}")]
    podman("build", "--isolation", "chroot", *options, "-t", image, ROOT, timeout=1200)


def clear():
    """Removes all containers, networks and volumes, but keeps the images."""
    podman("rm", "--all", "--force", "--time", "0")
    podman("network", "prune", "--force")
    podman("volume", "prune", "--force")
