# SPDX-License-Identifier: MIT
"""chunk/: the scripts on one chunk, for the tests of them."""
import random

from .names import key

TTL, PATIENCE = 60000, 5000
SELF, OTHER, THIRD = "1f0c9a3e", "1f0c9a3f", "0badcafe"
A, B, C, D, E = (f"{SELF}.{16777216 + i} peer {i}" for i in range(5))
BEFORE, BEHIND = '{"type":"chunk_data","chunkId":"c","data":', ',"source":"relay"}'


class Chunk:
    """The scripts on one chunk."""

    def __init__(self, db, call, id):
        self.db, self.call, self.id = db, call, id
        self.key = lambda part: key("chunk", id, part)
        self.keys = lambda *parts: [self.key(part) for part in parts]

    def announce(self, source, ttl=TTL, patience=PATIENCE):
        return self.call("chunk/announce", self.keys("src", "wait", "pull"), source, ttl, patience)[0]

    def wait(self, waiter, ttl=TTL):
        return self.call("chunk/wait", self.keys("data", "wait"), waiter, ttl)[0]

    def read(self):
        return self.call("chunk/read", self.keys("data"))[0]

    def push(self, data, ttl=TTL, wid=SELF, before=BEFORE, behind=BEHIND):
        """As the worker wid does: all of a frame but its targets and the data is made there."""
        head = b"\1\1" + wid.encode() + bytes(8)
        return self.call("chunk/push", self.keys("data", "wait", "pull", "tried"), data, ttl, wid, key("inbox", ""),
                         head, before, behind)[0]

    def leave(self, part, holder):
        return self.call("chunk/leave", self.keys(part), holder)[0]

    def pull(self, left="", patience=PATIENCE, seed=None):
        """(word, source, until, waiters); the fifth, Redis' clock, is checked here."""
        seed = random.getrandbits(31) if seed is None else seed
        before = self.now()
        *decision, decided = self.call("chunk/pull", self.keys("src", "wait", "pull", "tried"), left, patience, seed)
        assert before <= decided <= self.now()
        return tuple(decision)

    def now(self):
        seconds, micros = self.db.time()
        return seconds * 1000 + micros // 1000

    def asked(self):
        return self.db.hget(self.key("pull"), "source")

    def tried(self):
        return self.db.smembers(self.key("tried"))
