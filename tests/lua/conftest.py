# SPDX-License-Identifier: MIT
"""Fixtures: a Redis of our own, and the scripts of redis-lua/, called as their headers say."""
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import redis

from .chunks import Chunk
from .names import slot
from .scripts import all_names, code_of, split, used_by


class Script:
    """One script, with what its header promises."""

    def __init__(self, name):
        self.name = name
        self.header, self.body = split(self.name)
        self.uses = used_by(self.header)
        self.code = code_of(self.name)
        self.keys = max(map(int, re.findall(r"KEYS\[(\d+)\]", self.header)), default=0)
        self.args = max(map(int, re.findall(r"ARGV\[(\d+)\]", self.header)), default=0)
        more = re.search(r"ARGV\[(\d+)\.\.\.\]", self.header)
        self.more_args = bool(more)
        if more:
            self.args = int(more.group(1)) - 1
        self.reply_length = None


def all_scripts():
    return [Script(name) for name in all_names()]


@pytest.fixture(scope="session")
def server():
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "redis.sock")
        program = os.environ.get("REDIS_SERVER", "redis-server")
        process = subprocess.Popen([program, "--port", "0", "--unixsocket", path, "--dir", directory,
                                    "--save", "", "--appendonly", "no"], stdout=subprocess.DEVNULL)
        try:
            yield connect(path)
        finally:
            process.terminate()
            process.wait(10)


def connect(path):
    client = redis.Redis(unix_socket_path=path, decode_responses=True, socket_timeout=10)
    end = time.monotonic() + 10
    while True:
        try:
            client.ping()
            return client
        except redis.ConnectionError:
            assert time.monotonic() < end, "redis-server did not start"
            time.sleep(0.01)


@pytest.fixture
def db(server):
    """A client of an empty Redis."""
    server.flushall()
    return server


@pytest.fixture(scope="session")
def scripts():
    return {script.name: script for script in all_scripts()}


@pytest.fixture
def call(db, scripts):
    """call("relay/put", keys, *args): the reply, once numbers of keys and arguments are those of the header."""
    def call(name, keys, *args, client=db):
        script = scripts[name]
        assert len(keys) == script.keys, f"{name} takes {script.keys} keys"
        assert len(args) == script.args or script.more_args and len(args) > script.args, \
            f"{name} takes {script.args} arguments{' or more' * script.more_args}"
        assert len({slot(key) for key in keys}) == 1, f"the keys of {name} lie in several slots: {keys}"
        reply = client.eval(script.code, len(keys), *keys, *args)
        if client is not db:
            return reply  # of a pipeline, which has the replies later
        assert isinstance(reply, list)
        script.reply_length = script.reply_length or len(reply)
        assert len(reply) == script.reply_length, f"{name} replies with arrays of several lengths"
        return reply

    return call


@pytest.fixture
def now(db):
    """Redis' clock, in ms."""
    def now():
        seconds, micros = db.time()
        return seconds * 1000 + micros // 1000

    return now


@pytest.fixture
def about(now):
    """Whether a time in ms is that long from now, or from when the test began."""
    begun = now()
    return lambda ms, ahead: begun + ahead - 100 < ms <= now() + ahead


@pytest.fixture
def chunk(db, call):
    return Chunk(db, call, "c")
