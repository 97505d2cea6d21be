# SPDX-License-Identifier: MIT
"""The scripts of redis-lua/, put together as cmake/embed_scripts.cmake does."""
import re
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "redis-lua"


def all_names():
    """<domain>/<verb> of each."""
    return sorted(f"{path.parent.name}/{path.stem}" for path in SCRIPTS.glob("*/*.lua") if path.parent.name != "shared")


def split(name):
    """The comment lines that open a file, and what comes behind them."""
    text = (SCRIPTS / f"{name}.lua").read_text()
    header = re.match(r"(--.*\n)+", text).group()
    return header, text[len(header):]


def used_by(header):
    """The shared pieces that come before the script's own lines."""
    line = re.search(r"^-- USES +(.*)$", header, re.M)
    return line[1].split(", ") if line else []


def code_of(name):
    """What Redis runs, and hashes."""
    header, body = split(name)
    return "".join(split(f"shared/{piece}")[1] for piece in used_by(header)) + body
