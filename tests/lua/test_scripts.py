# SPDX-License-Identifier: MIT
"""What holds for every script, as it is written."""
import re
from pathlib import Path

import pytest

from .conftest import all_scripts
from .names import IDS, key, slot
from .scripts import SCRIPTS

ALL = all_scripts()
RELAYS = (key("RELAYS"), key("RELAYS_FREE"), key("RELAYS_TOTALS"))
OWNED = (key("owners", "1f0c9a3e"), key("owned", "1f0c9a3e", 16777216))
TALLIES = [(key(name + "S"), key(name + "_COUNTS")) for name in ("DAY", "HOUR", "SOURCE", "WAIT")]
PULLS = (key("CHUNK_PULLS"),)
OWNERS = (key("CHUNK_OWNERS"), key("CHUNK_ORDER"))
LOOKS = (key("ROOM_LOOKS"),)
STORED = [tuple(key("stored", range, part) for part in ("", ":workers", ":kept"))
          for range in ("192.0.2.7", "2001:db8:1:2::/64", "fe80::1%eth0")]
IDENTITIES = [(key(name, id),) for name in ("peer", "room_peer", "pool_member", "client") for id in IDS]
ROOMS = [(key("room", id), key("room_peers", id)) for id in IDS]
DROPS = [(key("drop", "0f" * 16),)]
MEETINGS = [(key("point", kind, id), key("point_ends", kind, id)) for kind in ("day", "hour") for id in IDS]
SERVERS = (key("SERVERS"), key("SERVERS_SEEN"), key("SERVERS_CHANGED"), key("SERVERS_SIGNED"))
POOL = (key("POOL"), key("POOL_AT"), key("POOL_LOADS"), key("POOL_SEEN"), key("POOL_VERSION"))
WATCHED = (*POOL, key("POOL_WATCH"))
CHALLENGES = [(key("challenges", ip),) for ip in ("192.0.2.7", "2001:db8:1:2::/64")]
DEVICES = [(key("device", id),) for id in IDS]
NONCES = [(key("nonce", "00ff" * 16),)]


def references(*parts):
    return [tuple(key("reference", version, platform, part) for part in parts)
            for version in ("1.0.0", "a%3Ab", "%25", "a}b", "{") for platform in IDS]


def chunk(*parts):
    return [tuple(key("chunk", id, part) for part in parts) for id in IDS]


def coded(*names):
    return [tuple(key(name, *([id] if name == "link" else [room, id])) for name in names)
            for room in ("", "default", "a%3Ab", "%25") for id in IDS if room == "" or "link" not in names]


# The keys that the worker calls each script with.
KEYS_OF = {
    "schedule/drop": [PULLS, (key("REQUESTS"),), (key("LINKS"),)],
    "schedule/due": [PULLS, (key("REQUESTS"),), (key("LINKS"),), LOOKS],
    "attest/challenge": NONCES,
    "attest/enroll": DEVICES,
    "attest/finish": references(":" + "00ff" * 16, "", ":regions"),
    "attest/keep": references(":" + "00ff" * 16),
    "attest/open": CHALLENGES,
    "attest/spend": NONCES,
    "chunk/announce": chunk("src", "rest", "wait", "pull", "tried"),
    "chunk/census": [(key("CHUNK_ENDS"),)],
    "chunk/evict": chunk("data"),
    "chunk/keep": [(key("CHUNK_USES"), key("CHUNK_ENDS"), *PULLS, *OWNERS, key("CHUNK_COUNTS"))],
    "chunk/leave": chunk("src", "rest"),
    "chunk/pull": chunk("src", "rest", "wait", "pull", "tried"),
    "chunk/push": chunk("data", "src", "rest", "wait", "pull", "tried"),
    "chunk/read": chunk("data"),
    "chunk/touch": [(key("CHUNK_USES"), *OWNERS)],
    "chunk/wait": chunk("data", "wait", "src", "rest"),
    "chunk/watch": [PULLS],
    "chunk/withdraw": chunk("wait", "src", "rest", "tried"),
    "claim/keep": IDENTITIES + coded("code"),
    "claim/refresh": IDENTITIES + coded("code"),
    "claim/release": IDENTITIES + coded("code"),
    "claim/take": IDENTITIES + coded("code"),
    "fleet/beat": [(key("worker", "1f0c9a3e"),)],
    "fleet/end": [(key("worker", "1f0c9a3e"),)],
    "fleet/forward": coded("code") + IDENTITIES,
    "fleet/lead": [(key("LEADER"),)],
    "fleet/mark": [(key("worker", "1f0c9a3e"),)],
    "fleet/resign": [(key("LEADER"),)],
    "fleet/roster": [(key("WORKERS"),)],
    "fleet/unlist": [(key("WORKERS"),)],
    "migrations/001": [(key("SCHEMA"),)],
    "own/forget": [OWNED],
    "own/note": [OWNED],
    "pool/beat": [POOL],
    "pool/expire": [WATCHED],
    "pool/put": [WATCHED],
    "pool/read": [WATCHED],
    "pool/remove": [POOL],
    "relay/census": [RELAYS],
    "relay/load": [RELAYS],
    "relay/pick": [RELAYS[1::-1]],
    "relay/put": [RELAYS],
    "relay/remove": [RELAYS],
    "rendezvous/leave": MEETINGS,
    "rendezvous/meet": MEETINGS,
    "rendezvous/share": DROPS,
    "rendezvous/unshare": DROPS,
    "room/census": ROOMS,
    "room/index": [(key("ROOMS"), *LOOKS)],
    "room/join": ROOMS,
    "room/leave": ROOMS,
    "room/list": ROOMS,
    "schema/migrate": [(key("SCHEMA"), key("MIGRATION"))],
    "server/beat": [SERVERS],
    "server/find": [SERVERS[:2]],
    "server/list": [SERVERS[:3]],
    "server/put": [SERVERS],
    "server/remove": [SERVERS],
    "signal/answer": coded("requests", "askers"),
    "signal/ask": coded("code", "requests", "askers"),
    "signal/describe": coded("code"),
    "signal/join": [(key("room_codes", id),) for id in IDS],
    "signal/leave": [(key("room_codes", id),) for id in IDS],
    "signal/link": coded("code", "link"),
    "signal/look": coded("requests", "askers"),
    "signal/unlink": coded("link"),
    "signal/withdraw": coded("requests", "askers"),
    "storage/tell": STORED,
    "tally/add": TALLIES,
    "tally/count": TALLIES,
    "tally/remove": TALLIES,
}
# What grows with the data, or stops the server while it runs.
FORBIDDEN = {"KEYS", "SCAN", "SSCAN", "HSCAN", "ZSCAN", "SMEMBERS", "HKEYS", "HVALS", "SORT", "RANDOMKEY", "DBSIZE",
             "FLUSHDB", "FLUSHALL", "EVAL", "CONFIG", "SAVE", "SUNION", "SINTER", "SDIFF"}
# What the pieces in redis-lua/shared are there for.
SHARED = {"now": ("now", "us"), "publish": ("publish", "frame_to", "tell"),
          "signed": ("is_replay", "note_signed"), "sources": ("move", "outlive")}
each_script = pytest.mark.parametrize("script", ALL, ids=lambda script: script.name)


def test_there_are_scripts():
    domains = {script.name.split("/")[0] for script in ALL}
    assert {"schedule", "attest", "chunk", "claim", "fleet", "own", "pool", "relay", "rendezvous", "room", "server",
            "signal", "tally"} <= domains


@pytest.mark.parametrize("name", KEYS_OF)
def test_the_keys_of_a_script_share_one_slot(scripts, name):
    for keys in KEYS_OF[name]:
        assert len(keys) == scripts[name].keys
        assert len({slot(one) for one in keys}) == 1, keys


def test_a_domain_with_tests_of_its_own_has_its_keys_above():
    tested = {path.stem[len("test_"):] for path in Path(__file__).parent.glob("test_*.py")}
    missing = {script.name for script in ALL if script.name.split("/")[0] in tested} - set(KEYS_OF)
    assert not missing, "add their keys to KEYS_OF"


def test_the_slot_is_that_of_redis():
    assert slot("foo") == 12182 and slot("{user1000}.following") == slot("user1000") == 3443
    assert slot("foo{}{bar}") == 8363
    assert slot("foo{{bar}}zap") == slot("{bar")
    assert slot("foo{bar}{zap}") == slot("bar") != slot("zap")


@each_script
def test_the_header_is_the_contract(script):
    assert script.header.startswith(f"-- {script.name}: ")
    assert "\n-- RETURN  {" in script.header
    assert script.keys >= 1
    for word, named in ("KEYS", script.keys), ("ARGV", script.args):
        used = {int(n) for n in re.findall(word + r"\[(\d+)\]", script.code)}
        listed = {int(n) for n in re.findall(word + r"\[(\d+)\]", script.header)}
        assert listed == set(range(1, named + 1)), f"{word} in the header"
        assert max(used, default=0) <= named + (script.more_args and word == "ARGV")


@each_script
def test_the_header_says_what_its_time_grows_with(script):
    assert len(re.findall(r"\n-- BOUND   \S", script.header)) == 1


@each_script
def test_only_commands_that_stay_small_are_called(script):
    commands = re.findall(r"redis\.p?call\(\s*'([A-Za-z]+)'", script.code)
    assert len(commands) == len(re.findall(r"redis\.p?call\(", script.code)), "a command that is not written out"
    assert not {command.upper() for command in commands} & FORBIDDEN


@each_script
def test_what_it_uses_of_the_shared_pieces_is_what_it_says(script):
    used = [piece for piece, names in SHARED.items() if re.search(rf"(?<![\w.:'])({'|'.join(names)})\b", script.body)]
    assert script.uses == used


def test_one_piece_publishes_and_one_asks_for_the_time():
    for command, piece in ("PUBLISH", "publish"), ("TIME", "now"):
        assert [path.stem for path in SCRIPTS.glob("*/*.lua") if f"'{command}'" in path.read_text()] == [piece]


@each_script
def test_no_key_is_made_inside(script):
    assert "sb:" not in script.code
    for first in re.findall(r"redis\.p?call\('\w+', *('[^']*')", script.code):
        pytest.fail(f"{first} stands where a key belongs")
