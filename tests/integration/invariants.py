# SPDX-License-Identifier: MIT
"""What must hold in Redis when all is quiet: nothing without a living owner, nobody living without an entry, and counts
that are right."""
import collections
import time

from crowd_roles import App, Caller, Peer, PoolClient, PoolMember, Roomer
from harness import SLOW


def addresses(redis):
    """(key, id, wid.sid) of all that names a socket."""
    get = redis.hget
    for key in redis.scan_iter("sb:*", 1000):
        kind = redis.type(key)
        values = {}
        if kind == "hash":
            values = redis.hgetall(key)
        elif kind == "zset" and key.endswith((":src", ":wait")):
            values = {member.split(" ")[1]: member for member in redis.zrange(key, 0, -1)}
        if "addr" in values:
            values = {key: values["addr"]}
        for name, value in values.items():
            address = value.split(" ")[0].split("\n")[0]
            wid, _, sid = address.partition(".")
            if len(wid) == 8 and sid.isdigit():
                yield key, name, address


def strays(redis, workers, crowd):
    """What is wrong in Redis: entries that nobody living owns, and living clients without their entry."""
    wrong, lives = [], {worker.wid: worker for worker in workers}
    for key in ("sb:worker:*", "sb:{own:*}*"):
        wrong += [found for found in redis.keys(key) if not any(wid in found for wid in lives)]
    wrong += [f"roster {wid}" for wid in redis.zrange("sb:workers", 0, -1) if wid not in lives]
    owners = {wid: redis.smembers(f"sb:{{own:{wid}}}") for wid in lives}
    for key, name, address in addresses(redis):
        wid, sid = address.split(".")
        if wid not in lives or sid not in owners[wid]:
            wrong.append(f"{key} {name} at {address}")
    for wid, worker in lives.items():
        count = sum(client.port == worker.port for client in crowd.clients if client.sock)
        if len(owners[wid]) != count:
            wrong.append(f"{wid}: {len(owners[wid])} owners, {count} sockets")
    return wrong + missing(redis, crowd, lives) + miscounts(redis)


KEYS = {Peer: "sb:{{peer:{name}}}", Caller: "sb:{{code:{room}:{name}}}", App: "sb:{{code::{name}}}",
        PoolMember: "sb:{{pool:{name}}}", PoolClient: "sb:{{client:{name}}}"}


def missing(redis, crowd, lives):
    wrong, ports = [], {worker.port: wid for wid, worker in lives.items()}
    records = redis.hgetall("sb:{relays}:all")
    for client in crowd.clients:
        if type(client) is Roomer:
            peers = redis.hgetall(f"sb:{{room:{client.room}}}:peers")
            address = next((r.split(" ")[0] for r in peers.values() if f'"{client.name}"' in r), None)
        else:
            key = KEYS[type(client)].format(name=client.name, room=client.group[0].name)
            address = redis.hget(key, "addr")
        if not address or address.split(".")[0] != ports.get(client.port):
            wrong.append(f"{client.name} is at {address}")
        elif type(client) is Peer and records.get(client.name, "").split(" ")[0] != address:
            wrong.append(f"relay {client.name}: {records.get(client.name)}, not at {address}")
        elif type(client) is Caller and redis.hget(f"sb:{{signal:{client.group[0].name}}}", client.name) != address:
            wrong.append(f"{client.name} is no member of its room")
        elif type(client) is PoolMember and not redis.hget("sb:{pool}:at", client.name).startswith(address):
            wrong.append(f"pool {client.name}")
    return wrong


def miscounts(redis):
    """Where what is counted is not what is there."""
    wrong, records = [], redis.hgetall("sb:{relays}:all")
    loads = {peer: tuple(map(int, record.split(" ")[1:3])) for peer, record in records.items()}
    totals = {name: int(value) for name, value in redis.hgetall("sb:{relays}:totals").items()}
    sums = {"connected": sum(c for c, _ in loads.values()), "capacity": sum(m for _, m in loads.values())}
    if totals != sums:
        wrong.append(f"totals {totals}, not {sums}")
    free = set(redis.zrange("sb:{relays}:free", 0, -1))
    if free != {peer for peer, (connected, most) in loads.items() if connected * 2 < most}:
        wrong.append("free relays")
    for kind, key in (("hour", "sb:{rendezvous}:hours"), ("day", "sb:{rendezvous}:days")):
        there = set()
        for meeting in redis.scan_iter(f"sb:{{{kind}:*}}", 1000):
            token = meeting.partition(":")[2].partition(":")[2][:-1]
            there |= {f"{token}\t{entry.split(' ')[0]} {peer}" for peer, entry in redis.hgetall(meeting).items()
                      if peer[0] != "\t"}  # those are marks
        listed = set(redis.zrange(key, 0, -1))
        if there != listed:
            wrong.append(f"{key}: listed {sorted(listed - there)[:3]}, there {sorted(there - listed)[:3]}")
        counts = collections.Counter(entry.split("\t")[0] for entry in listed)
        if {name: int(n) for name, n in redis.hgetall(key + ":counts").items()} != counts:
            wrong.append(f"{key}:counts")
    return wrong


def persists(find, seconds):
    """What is still found after so long; [] as soon as nothing is."""
    end = time.monotonic() + seconds * SLOW
    while (found := find()) and time.monotonic() < end:
        time.sleep(0.5)
    return found


def ended(redis, key):
    """Whether it holds requests to pair that have ended, or who asked them: they are let go with a delay."""
    now = redis.time()[0] * 1000
    requests = redis.hgetall(key.replace(":askers", ":requests")) if key.endswith((":requests", ":askers")) else {}
    if not requests:
        return False
    asked = requests if key.endswith(":requests") else redis.hkeys(key)
    return all(int(requests.get(one, "0 ").split(" ")[0]) <= now for one in asked)


def traces(redis, wids):
    """The keys that name one of these workers, which have gone. The leader's may name the last one."""
    texts = {key: f"{key} {redis.hgetall(key) if redis.type(key) == 'hash' else ''}" for key in redis.keys("*")}
    return [key for key, text in texts.items()
            if any(wid in text for wid in wids) and key != "sb:leader" and not ended(redis, key)]


def leftovers(redis):
    """What is there although nobody is connected. The cache stays, and counts to whom pushed it."""
    standing = ("sb:workers", "sb:worker:", "sb:leader", "sb:schema", "sb:{pool}:version", "sb:{pool}:watch",
                "sb:{chunks}:", "sb:{stored:")
    return [key for key in redis.keys("*") if not key.startswith(standing) and not key.endswith(":data")
            and not ended(redis, key)]
