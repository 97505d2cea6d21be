# SPDX-License-Identifier: MIT
"""The names of keys, as the program has them with the default prefix: read from include/signalbox/keys.h and
worker/redis/keys.c."""
import binascii
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "sb:"
FIXED = dict(re.findall(r'KEY\(KEY_(\w+), "([^"]+)"\)', (ROOT / "include/signalbox/keys.h").read_text()))
KEYS_C = (ROOT / "worker/redis/keys.c").read_text()
FORMATS = {name: text + ("d" if number else "") for name, text, number in re.findall(
    r'void key_(\w+)\([^{]*\{\s*write_name\(out, &\w+, "([^"]*)"( PRIu64)?', KEYS_C)}
# key_code() and its like go through write_code(), which has what they share.
CODE = re.search(r'void write_code\([^{]*\{.*?write_name\(out, &\w+, "([^"]*)"', KEYS_C, re.S)[1]
FORMATS.update({name: CODE % ("%s" if room == "room" else "", "%s", part) for name, room, part in re.findall(
    r'void key_(\w+)\([^{]*\{\s*write_code\(out, (room|""), code, "([^"]*)"', KEYS_C)})
# key_reference() escapes the version first.
FORMATS["reference"] = re.search(r'void key_reference\([^{]*\{.*?write_name\(out, &\w+, "([^"]*)"', KEYS_C, re.S)[1]

# Ids that a script must treat as nothing but text.
IDS = ["plain", "with  two spaces ", "\"double\" and 'single'", "caf\u00e9-\U0001f600", "100%", "%s%d%%1%w", "a|b|c",
       "{a}", "a}b", "back\\slash\\0", "^.*$", "[x]-(y)+?", "0", "-1", "1e3", "nil", "false", "x" * 256]


def key(name, *parts):
    """key("RELAYS") is KEY_RELAYS; key("peer", "alice") what key_peer() makes of it."""
    if name == "MIGRATION":
        return f"{PREFIX}{{{key('SCHEMA')}}}:migration"
    return PREFIX + (FORMATS[name] % parts if parts else FIXED[name])


def slot(name):
    """The cluster slot of a key: CRC16 of what stands between its first { and the first } behind it, if anything."""
    start = name.find("{")
    end = name.find("}", start)
    tag = name[start + 1:end] if start >= 0 and end > start + 1 else name
    return binascii.crc_hqx(tag.encode(), 0) % 16384
