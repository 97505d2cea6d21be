# SPDX-License-Identifier: MIT
"""run.py TARGET: the inputs that are kept, whole, and then new ones for FUZZ_SECONDS, if that is set, behind all else
that the machine does. What it finds besides crashes is dropped."""
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

FUZZ = Path(__file__).parent
target = Path(sys.argv[1])
name, crashes = target.name.removeprefix("fuzz_"), target.parent / "crashes"
kept = sorted(path for folder in ("corpus", "crashes") for path in (FUZZ / folder / name).rglob("*") if path.is_file())


def run(*args):
    """What it has said."""
    done = subprocess.run([target, f"-artifact_prefix={crashes}/{name}-", *args], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode:
        print(*done.stdout.splitlines()[-60:], sep="\n")
        print(f"{target.name}: exit status {done.returncode}; a new input is in {crashes} and belongs into "
              f"tests/fuzz/crashes/{name}")
        sys.exit(1)
    return done.stdout


os.nice(19)
crashes.mkdir(exist_ok=True)
said = run(*kept) if kept else ""
if seconds := os.environ.get("FUZZ_SECONDS"):
    with tempfile.TemporaryDirectory() as inputs:
        said = run(f"-max_total_time={seconds}", "-timeout=20", "-print_final_stats=1", inputs, FUZZ / "corpus" / name)
runs = re.findall(r"^stat::number_of_executed_units: (\d+)", said, re.M)
edges = re.findall(r" cov: (\d+)", said)
print(f"{target.name}: {len(kept)} inputs", *(f"{runs[-1]} runs, {edges[-1]} edges" for _ in runs[:1]), sep=", ")
