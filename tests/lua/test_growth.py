# SPDX-License-Identifier: MIT
"""What the time of a script does not grow with: each runs at a state, and at ten times of what its BOUND does not name."""
import statistics

import pytest

from .chunks import A, BEFORE, BEHIND, PUSHER, SELF
from .names import key

N, CALLS = 1000, 24
FLOOR_US = 40
FAR = 4102444800000  # ms, in 2100
HOLDERS = [f"{SELF}.{i} p" for i in range(10 * N)]
RELAYS = [key("RELAYS"), key("RELAYS_FREE"), key("RELAYS_TOTALS")]
POOL = [key("POOL"), key("POOL_AT"), key("POOL_LOADS"), key("POOL_SEEN"), key("POOL_VERSION")]
CACHE = [key(f"CHUNK_{name}") for name in ("USES", "ENDS", "PULLS", "OWNERS", "ORDER", "COUNTS")]
OWNED = [key("owners", SELF), key("owned", SELF, 16777216)]
DAYS = [key("DAYS"), key("DAY_COUNTS")]
ROOM = [key("room", "r"), key("room_peers", "r")]
MEMBERS, REQUESTS, ASKERS = key("room_codes", "r"), key("requests", "", "c"), key("askers", "", "c")
IDENTITY, NONCE, DEVICE = "sb:{identity}", "sb:{nonce}", "sb:{device}"
SERVERS = [key(name) for name in ("SERVERS", "SERVERS_SEEN", "SERVERS_CHANGED", "SERVERS_SIGNED")]


def chunk(*parts):
    return [key("chunk", "c", part) for part in parts]


def zset(db, name, members, score=FAR):
    db.zadd(name, {member: score for member in members})


def hash_of(db, name, fields, value="x"):
    db.hset(name, mapping={field: value for field in fields})


def restored(db, *keys):
    """What makes the keys again as they are now."""
    for name in keys:
        db.copy(name, f"{name}:saved")
    return lambda: [db.copy(f"{name}:saved", name, replace=True) for name in keys]


def things(*names_):
    return [f"sb:{{thing}}:{name}" for name in names_]


def names(n):
    return [f"name {i}" for i in range(n)]


def chunk_state(db, n):
    """n may be asked; n rest, since they wait; n others wait."""
    may, rest, others = ([f"{peer} {kind}" for peer in HOLDERS[:n]] for kind in ("may", "rest", "wait"))
    src, resting, wait = chunk("src", "rest", "wait")
    zset(db, src, may), zset(db, resting, rest), zset(db, wait, rest + others)
    for name in (src, resting, wait):
        db.pexpireat(name, FAR)


def announce(db, n):
    chunk_state(db, n)
    return chunk("src", "rest", "wait", "pull", "tried"), lambda i: [A, 60000, 5000]


def leave(db, n):
    chunk_state(db, n)
    return chunk("src", "rest"), lambda i: [f"{HOLDERS[i]} {'may' if i % 2 else 'rest'}"]


def wait(db, n):
    chunk_state(db, n)
    return chunk("data", "wait", "src", "rest"), lambda i: [f"{HOLDERS[i]} may", 60000]


def withdraw(db, n):
    chunk_state(db, n)
    return chunk("wait", "src", "rest", "tried"), lambda i: [f"{HOLDERS[i]} rest"]


def pull(db, n):
    chunk_state(db, n)
    return chunk("src", "rest", "wait", "pull", "tried"), lambda i: ["", 5000, i], chunk("pull")


def pull_in_vain(db, n):
    """All sources wait, as do those that neither have it nor want it from themselves."""
    chunk_state(db, n)
    db.delete(*chunk("src"))
    return chunk("src", "rest", "wait", "pull", "tried"), lambda i: ["", 5000, i], chunk("pull")


def pull_of_ended(db, n):
    """All have ended but for some that wait."""
    chunk_state(db, n)
    src, resting, waits = chunk("src", "rest", "wait")
    for name in (src, resting):
        zset(db, name, db.zrange(name, 0, -1), 1)
    zset(db, waits, db.zrange(waits, 0, -2), 1)
    return (chunk("src", "rest", "wait", "pull", "tried"), lambda i: ["", 5000, i],
            restored(db, src, resting, waits))


def push(db, n):
    zset(db, chunk("src")[0], [PUSHER, *HOLDERS[:n]])
    return (chunk("data", "src", "rest", "wait", "pull", "tried"),
            lambda i: ["data", 60000, SELF, "inbox:", "head", BEFORE, BEHIND, *PUSHER.split(" ", 1)])


def cached(db, n):
    chunks = names(n)
    for name, score in ((CACHE[0], 1), (CACHE[1], FAR)):
        zset(db, name, chunks, score)
    places = {name: f"192.0.2.{i % 100} {i:016}" for i, name in enumerate(chunks)}
    db.hset(CACHE[3], mapping=places)
    zset(db, CACHE[4], [f"{place} {name}" for name, place in places.items()], 0)
    zset(db, CACHE[5], {place.split()[0] for place in places.values()}, n // 100)


def keep(db, n):
    cached(db, n)
    return CACHE, lambda i: [f"new {i}", 60000, n, "192.0.2.7"]


def touch(db, n):
    cached(db, n)
    return [CACHE[i] for i in (0, 3, 4)], lambda i: [f"name {i}"]


def in_zset(name, *args):
    """One of a zset with n others."""
    def row(db, n):
        zset(db, name, names(n))
        return [name], lambda i: [arg(i) if callable(arg) else arg for arg in args]

    return row


def note(db, n):
    """n entries that last, and as many that have ended."""
    zset(db, OWNED[1], names(n)), zset(db, OWNED[1], [f"ended {i}" for i in range(n)], 1)
    db.sadd(OWNED[0], *range(n))
    return OWNED, lambda i: [16777216, 0, f"new {i}"], restored(db, OWNED[1])


def forget(db, n):
    zset(db, OWNED[1], names(n))
    db.sadd(OWNED[0], *range(n))
    return OWNED, lambda i: [16777216, f"name {i}"]


def relays(db, n):
    hash_of(db, RELAYS[0], names(n), f"{SELF}.1 1 20 key")
    zset(db, RELAYS[1], names(n), 0)
    db.hset(RELAYS[2], mapping={"capacity": 20 * n, "connected": n})


def on_relays(*args, keys=(0, 1, 2)):
    def row(db, n):
        relays(db, n)
        return [RELAYS[i] for i in keys], lambda i: [arg(i) if callable(arg) else arg for arg in args]

    return row


def pool(db, n):
    hash_of(db, POOL[0], names(n), '{"capacity":10}')
    hash_of(db, POOL[1], names(n), f"{SELF}.1 healthy 1")
    hash_of(db, POOL[2], names(n), "1")
    zset(db, POOL[3], names(n), 1000 * db.time()[0])
    db.set(POOL[4], 1)


def on_pool(*args, watched=False):
    def row(db, n):
        pool(db, n)
        return [*POOL, *[key("POOL_WATCH")] * watched], lambda i: [arg(i) if callable(arg) else arg for arg in args]

    return row


def in_room(*args):
    def row(db, n):
        db.hset(ROOM[0], mapping={"created_at": 1, "max_peers": 0})
        hash_of(db, ROOM[1], names(n), f"{SELF}.1 {{}}")
        return ROOM, lambda i: [arg(i) if callable(arg) else arg for arg in args]

    return row


def room_index(db, n):
    for name in (key("ROOMS"), key("ROOM_LOOKS")):
        zset(db, name, names(n), 0)
    return [key("ROOMS"), key("ROOM_LOOKS")], lambda i: [f"new {i}", 5000]


def tally(*args):
    def row(db, n):
        zset(db, DAYS[0], [f"{name}\taddress" for name in names(n)]), hash_of(db, DAYS[1], names(n), 1)
        return DAYS, lambda i: [arg(i) if callable(arg) else arg for arg in args]

    return row


def in_hash(name, value, *args):
    """One field of a hash with n others."""
    def row(db, n):
        hash_of(db, name, names(n), value)
        return [name], lambda i: [arg(i) if callable(arg) else arg for arg in args]

    return row


def requested(*args):
    def row(db, n):
        hash_of(db, REQUESTS, names(n), f"{FAR} {SELF}.1 {SELF}.2"), hash_of(db, ASKERS, names(n), "192.0.2.7")
        return [REQUESTS, ASKERS], lambda i: [arg(i) if callable(arg) else arg for arg in args]

    return row


def link(db, n):
    """A device that is not asked; its two hashes have n fields that nobody looks at."""
    keys = things("code", "link")
    for name in keys:
        hash_of(db, name, names(n))
    db.hset(keys[0], "addr", f"{SELF}.1")
    return keys, lambda i: ["web", f"{SELF}.2", "key", '"a name"', 60000], restored(db, *keys)


def servers(*args, keys=4):
    """n that end far away, as many that have ended; timestamps are within their bound."""
    def row(db, n):
        now = 1000 * db.time()[0]
        hash_of(db, SERVERS[0], [*names(n), *(f"ended {i}" for i in range(n))], '{"serverId":"x"')
        zset(db, SERVERS[1], names(n), now), zset(db, SERVERS[1], [f"ended {i}" for i in range(n)], 1)
        db.set(SERVERS[2], 1), zset(db, SERVERS[3], names(n), now)
        return (SERVERS[:keys], lambda i: [arg(i) if callable(arg) else arg for arg in args],
                restored(db, *SERVERS[:2]))

    return row


def asked(db, n):
    """The code's requests are bounded, and looked through only where there are as many as may be."""
    [code] = things("code")
    db.hset(code, "addr", f"{SELF}.2")
    hash_of(db, REQUESTS, names(n), f"{FAR} {SELF}.1 {SELF}.2"), hash_of(db, ASKERS, names(n), "192.0.2.7")
    return [code, REQUESTS, ASKERS], lambda i: [f"new {i}", f"{SELF}.3", 60000, 20 * N, 0, "192.0.2.8", 20 * N]


def finish(db, n):
    """A reference with n regions is replaced."""
    uploaded, reference, regions = keys = things("uploaded", "reference", "regions")
    hash_of(db, regions, names(n), "0 16 hex")

    def uploaded_anew():
        hash_of(db, uploaded, names(10), "0 16 hex")
        hash_of(db, regions, names(n), "0 16 hex")

    return keys, lambda i: [10, "build_hash", "h"], uploaded_anew


def regions(db, n):
    [upload] = things("uploaded")
    hash_of(db, upload, names(n), "0 16 hex")
    return [upload], lambda i: [60000, f"new {i}", "0 16 hex"]


def point(db, n):
    meeting, ends = things("meeting", "ends")
    hash_of(db, meeting, names(n), f"{SELF}.1 1\ntext"), zset(db, ends, names(n))
    return [meeting, ends], lambda i: [f"name {i}", f"{SELF}.1"]


def stored(db, n):
    """n workers of one address, and as many that have ended."""
    bytes_, workers, kept = keys = things("bytes", "workers", "kept")
    hash_of(db, bytes_, [*names(n), *(f"ended {i}" for i in range(n))], 1000)
    db.hset(bytes_, "total", 2000 * n)
    zset(db, workers, names(n)), zset(db, workers, [f"ended {i}" for i in range(n)], 1)
    return keys, lambda i: [f"new {i}", 1000, 60000, "", 0, 0], restored(db, bytes_, workers)


def nth(i):
    return f"name {i}"


# Script, and what tells the row from others of it: what makes the state of size n, and tells the keys, the arguments of
# call i, and the keys to delete, or what else to do, before each call.
ROWS = {
    "attest/challenge": in_hash(NONCE, "x", 60000, "device", "1.0.0", "linux", "1,2,3", "192.0.2.7"),
    "attest/enroll": in_hash(DEVICE, "x", 60000, 1000, "192.0.2.7", "platform", "linux"),
    "attest/finish": finish,
    "attest/keep": regions,
    "attest/spend": in_hash(NONCE, "x", "device"),
    "chunk/announce": announce,
    "chunk/census": in_zset(key("CHUNK_ENDS")),
    "chunk/keep": keep,
    "chunk/leave": leave,
    "chunk/pull": pull,
    "chunk/pull where all sources wait": pull_in_vain,
    "chunk/pull where most has ended": pull_of_ended,
    "chunk/push": push,
    "chunk/touch": touch,
    "chunk/wait": wait,
    "chunk/watch": in_zset(key("CHUNK_PULLS"), lambda i: f"new {i}", 5000),
    "chunk/withdraw": withdraw,
    "claim/keep": in_hash(IDENTITY, "x", f"{SELF}.1", "192.0.2.7", 5000),
    "claim/refresh": in_hash(IDENTITY, "x", f"{SELF}.1", "", 60000),
    "claim/release": in_hash(IDENTITY, "x", f"{SELF}.1"),
    "claim/take": in_hash(IDENTITY, "x", f"{SELF}.1", "", 60000, "192.0.2.7"),
    "fleet/unlist": in_zset(key("WORKERS"), nth),
    "own/forget": forget,
    "own/note": note,
    "pool/beat": on_pool(nth, f"{SELF}.1", "10", "channel"),
    "pool/expire": on_pool(60000, 5000, 100, "channel", watched=True),
    "pool/put": on_pool(lambda i: f"new {i}", f"{SELF}.1", 2, '{"capacity":1}', "healthy", 0, "channel", watched=True),
    "pool/remove": on_pool(nth, f"{SELF}.1", "channel"),
    "relay/census": on_relays(),
    "relay/load": on_relays(nth, f"{SELF}.1", lambda i: 5 + i),
    "relay/pick": on_relays(10, lambda i: i, keys=(1, 0)),
    "relay/put": on_relays(lambda i: f"new {i}", f"{SELF}.1", 20, "", 0),
    "relay/remove": on_relays(nth, f"{SELF}.1"),
    "rendezvous/leave": point,
    "room/census": in_room(),
    "room/index": room_index,
    "room/join of one who comes back": in_room(nth, f"{SELF}.2", "{", 0, "again", "channel", "head", "message"),
    "room/join of one too many": in_room("new", f"{SELF}.2", "{", 1, "again", "channel", "head", "message"),
    "room/leave": in_room(nth, f"{SELF}.1", 5000, "channel", "head", "message"),
    "schedule/drop": in_zset(key("LINKS"), nth, FAR, 0),
    "schedule/due": in_zset(key("LINKS"), 100, 1000),
    "server/beat": servers(nth, 60000, "*", ""),
    "server/find": servers(nth, 60000, keys=2),
    "server/list where nothing has changed": servers(60000, "1", 1000, keys=3),
    "server/put": servers(lambda i: f"new {i}", "{", 60000, "*", 20 * N, ""),
    "server/remove": servers(nth, 60000, "*", ""),
    "signal/ask": asked,
    "signal/answer": requested(nth, f"{SELF}.2", f"{SELF}.1", SELF, "inbox:", "head", "entry", "message"),
    "signal/describe": in_hash(IDENTITY, "x", f"{SELF}.1", '"key"'),
    "signal/join": in_hash(MEMBERS, f"{SELF}.1", lambda i: f"new {i}", f"{SELF}.2", 10, "channel", "frame"),
    "signal/leave": in_hash(MEMBERS, f"{SELF}.1", nth, f"{SELF}.1", 10, "channel", "frame"),
    "signal/link": link,
    "signal/look": requested(nth, SELF, "inbox:", "head", "entry", "message"),
    "signal/unlink": in_hash(IDENTITY, "x", "time", "", "", SELF, "inbox:", "head", "entry", "message"),
    "signal/withdraw": requested(nth, f"{SELF}.1"),
    "storage/tell": stored,
    "tally/add": tally(60000, lambda i: f"new\taddress {i}"),
    "tally/count": tally(100),
    "tally/remove": tally(lambda i: f"name {i}\taddress"),
}
# Their keys hold one thing, nothing but what they tell, or no more than their bound.
NOTHING_ELSE = {"attest/open", "chunk/evict", "chunk/read", "fleet/beat", "fleet/end", "fleet/forward", "fleet/lead",
                "fleet/mark", "fleet/resign", "fleet/roster", "migrations/001", "pool/read", "rendezvous/meet",
                "rendezvous/share", "rendezvous/unshare",
                "room/list", "schema/migrate"}


@pytest.fixture(autouse=True)
def slowlog(db):
    """Redis notes of each call how long it took."""
    former = db.config_get("slowlog-*")
    db.config_set("slowlog-log-slower-than", 0), db.config_set("slowlog-max-len", 1)
    yield
    for name, value in former.items():
        db.config_set(name, value)


def time_of(db, script, make, n):
    """µs of a call: what a quarter of the calls take less than, as a machine that is busy makes some take longer."""
    db.flushall()
    keys, args, *before = make(db, n)
    assert len(keys) == script.keys
    sha, took = db.script_load(script.code), []
    for i in range(CALLS):
        if before and callable(before[0]):
            before[0]()
        elif before:
            db.delete(*before[0])
        db.evalsha(sha, len(keys), *keys, *args(i))
        [call] = db.slowlog_get(1)
        assert call["command"].startswith(b"EVALSHA")
        took.append(call["duration"])
    return statistics.quantiles(took, n=4)[0]


@pytest.mark.parametrize("row", ROWS)
def test_the_time_of_a_script_does_not_grow_with_what_is_not_in_its_bound(db, scripts, row):
    script = scripts[row.split()[0]]
    for _ in range(4):
        less, more = (time_of(db, script, ROWS[row], n) for n in (N, 10 * N))
        if more < 2 * less + FLOOR_US:
            return
    pytest.fail(f"{less:.0f} µs with {N}, {more:.0f} with {10 * N}")


def test_there_is_a_row_for_each_script_that_has_something_beside_its_bound(scripts):
    assert not set(scripts) - {row.split()[0] for row in ROWS} - NOTHING_ELSE
