# SPDX-License-Identifier: MIT
"""chunk/: the scripts on one chunk, for the tests of them."""
import random

from .names import key

TTL, PATIENCE = 60000, 5000
SELF, OTHER, THIRD = "1f0c9a3e", "1f0c9a3f", "0badcafe"
A, B, C, D, E = (f"{SELF}.{16777216 + i} peer {i}" for i in range(5))
PUSHER = f"{SELF}.16777300 pusher"
BEFORE, BEHIND = '{"type":"chunk_data","chunkId":"c","data":', ',"source":"relay"}'


class Chunk:
    """The scripts on one chunk."""

    def __init__(self, db, call, id):
        self.db, self.call, self.id = db, call, id
        self.key = lambda part: key("chunk", id, part)
        self.keys = lambda *parts: [self.key(part) for part in parts]

    def announce(self, source, ttl=TTL, patience=PATIENCE):
        """By when it is to push, or 0."""
        return self.announced(source, ttl, patience)[0]

    def announced(self, source, ttl=TTL, patience=PATIENCE):
        """The same, and whether it is new."""
        return self.call("chunk/announce", self.keys("src", "rest", "wait", "pull", "tried"), source, ttl, patience)

    def wait(self, waiter, ttl=TTL):
        return self.waited(waiter, ttl)[0]

    def waited(self, waiter, ttl=TTL):
        """(data, whether its wait is new)"""
        return self.call("chunk/wait", self.keys("data", "wait", "src", "rest"), waiter, ttl)

    def read(self):
        return self.call("chunk/read", self.keys("data"))[0]

    def push(self, data, ttl=TTL, wid=SELF, before=BEFORE, behind=BEHIND, by=PUSHER):
        """The waiters. As the worker wid does: all of a frame but its targets and the data is made there."""
        return self.pushed(data, ttl, wid, before, behind, by)[2]

    def pushed(self, data, ttl=TTL, wid=SELF, before=BEFORE, behind=BEHIND, by=PUSHER):
        """(whether it is cached, bytes that it replaced, waiters)"""
        head = b"\1\1" + wid.encode() + bytes(8)
        return self.call("chunk/push", self.keys("data", "src", "rest", "wait", "pull", "tried"), data, ttl, wid,
                         key("inbox", ""), head, before, behind, *by.split(" ", 1))

    def leave(self, part, holder):
        """It is a source ("src") no more, or does not wait ("wait") any more."""
        if part == "src":
            return self.call("chunk/leave", self.keys("src", "rest"), holder)[0]
        return self.call("chunk/withdraw", self.keys("wait", "src", "rest", "tried"), holder)[0]

    def pull(self, left="", patience=PATIENCE, seed=None):
        """(word, source, until, waiters); the fifth, Redis' clock, is checked here."""
        word = "more"
        while word == "more":
            word, *decision = self.pull_step(left, patience, seed)
        return word, *decision

    def pull_step(self, left="", patience=PATIENCE, seed=None):
        """The same, but the word may be "more": it is to be called again."""
        seed = random.getrandbits(31) if seed is None else seed
        before = self.now()
        *decision, decided = self.call("chunk/pull", self.keys("src", "rest", "wait", "pull", "tried"), left, patience,
                                       seed)
        assert before <= decided <= self.now()
        return tuple(decision)

    def now(self):
        seconds, micros = self.db.time()
        return seconds * 1000 + micros // 1000

    def asked(self):
        return self.db.hget(self.key("pull"), "source")

    def tried(self):
        return self.db.smembers(self.key("tried"))
