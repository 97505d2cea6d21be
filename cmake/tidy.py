# SPDX-License-Identifier: MIT
"""tidy.py CLANG_TIDY BUILD_FOLDER: every C file of the build that is not generated; asserts count as known. Only the
findings are shown: the way to one of them is told by clang-tidy -p build FILE."""
import concurrent.futures
import json
import os
import re
import subprocess
import sys
from pathlib import Path

tidy, build = sys.argv[1], Path(sys.argv[2])
files = {entry["file"] for entry in json.loads((build / "compile_commands.json").read_text())}
files = sorted(file for file in files if not file.startswith(f"{build}/"))


def check(file):
    return subprocess.run([tidy, "-p", build, "--quiet", "--extra-arg=-UNDEBUG", file], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True)


with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    done = list(pool.map(check, files))
findings = {line for one in done for line in one.stdout.splitlines() if re.search(" (error|warning): ", line)}
print(*sorted(findings), sep="\n")
sys.exit(any(one.returncode for one in done))
