# SPDX-License-Identifier: MIT
"""migrations/: from one layout to the next. What is in Redis of a layout, and what of it is there after each."""
import re

from .conftest import all_scripts
from .names import ROOT, key

MIGRATIONS = [script for script in all_scripts() if script.name.startswith("migrations/")]


def test_they_are_numbered_from_one_and_the_program_has_them_in_order():
    table = re.findall(r"\{&script_(\w+),", (ROOT / "worker/redis/migrations.c").read_text())
    assert table == [f"migrations_{n:03}" for n in range(1, len(MIGRATIONS) + 1)]
    assert [script.name for script in MIGRATIONS] == [name.replace("_", "/") for name in table]


def test_they_are_called_with_a_cursor_and_reply_with_the_next():
    assert {script.args for script in MIGRATIONS} == {1} and not any(script.more_args for script in MIGRATIONS)
    for script in MIGRATIONS:
        assert re.search(r"^-- RETURN  \{where the next step begins; \"\" once nothing is left\}$", script.header, re.M)


def test_the_first_leaves_what_there_is_as_it_is(db, call):
    db.hset(key("RELAYS"), "peer", "1f0c9a3e.1 0 20 ")
    db.set(key("POLICY"), "{}")
    before = {name: db.dump(name) for name in db.keys()}
    for _ in range(2):
        assert call("migrations/001", [key("SCHEMA")], "") == [""]
    assert {name: db.dump(name) for name in db.keys()} == before
