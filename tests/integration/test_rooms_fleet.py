# SPDX-License-Identifier: MIT
"""/ws where many meet: races for places, big rooms, lists and events, and a client in JavaScript."""
import json
import random
import subprocess
import time

import pytest

from harness import SLOW, get, publishes, uid
from swarm import gather, members, settle, take
from test_readme import node
from test_rooms import ids, listed, welcomed

OPEN = {"IP_CONNECT_RATE": 0, "IP_CONNECTIONS_MAX": 0, "MESSAGE_RATE": 0}


def crowd(fleet, count):
    """Sockets on all workers in turn, each with its id; they know of no room yet."""
    made = members(fleet.workers, count, "/ws")
    for member in made:
        member.id, member.room, member.known, member.refused = member.expect("ACK")["peer_id"], None, None, []
        member.answers = 0
    return made


def replay(member):
    """Follows what has come, from the list it was given on: no event may contradict what the peer knows by then."""
    for message in take(member):
        kind, peer, room = message["type"], message.get("peer_id"), message.get("room_id")
        if kind in ("PEER_JOINED", "PEER_LEFT"):
            assert room == member.room, f"in {member.room}, {sorted(member.known or ())}: {message}"
            assert (peer in member.known) == (kind == "PEER_LEFT") and peer != member.id, message
            member.known ^= {peer}
            continue
        member.answers += 1
        if kind == "ERROR":
            member.refused.append(message["payload"]["code"])
        elif room:
            peers = ids(message["payload"]["peers"])
            assert len(set(peers)) == len(peers) and member.id in peers
            member.room, member.known = room, set(peers)
        else:
            assert message["payload"] == {"message": "left room"}
            member.room = member.known = None


def replay_until(group, condition, timeout=20, what="what all know"):
    end = time.monotonic() + timeout * SLOW
    while True:
        settle(group, 0.05)
        for member in group:
            replay(member)
        if condition():
            return
        assert time.monotonic() < end, what


def views(fleet, room, client):
    """Who is in the room, as each worker answers."""
    shown = [get(worker, f"/api/rooms/{room}") for worker in fleet.workers]
    assert all(one["peer_count"] == len(one["peers"]) for one in shown)
    return [set(ids(one["peers"])) for one in shown] + [set(listed(client, room))]


@pytest.fixture
def end_all(closing):
    return lambda group: [closing.callback(member.sock.close) for member in group] and group


def test_of_two_hundred_that_want_fifty_places_at_once_exactly_fifty_get_one(start, connect, end_all):
    fleet, room = start(ROOM_MAX_PEERS=50, **OPEN), uid("room")
    group = end_all(crowd(fleet, 200))
    for member in group:
        member.send(type="JOIN", room_id=room)
    replay_until(group, lambda: all(member.answers for member in group))
    there = [member for member in group if member.known]
    assert len(there) == 50
    assert all(member.refused == ([] if member.known else ["ROOM_FULL"]) for member in group)
    everybody = {member.id for member in there}
    replay_until(group, lambda: all(member.known == everybody for member in there))
    for worker in fleet.workers:
        assert views(fleet, room, welcomed(connect(worker, "/ws"))) == [everybody] * 3
        assert [(one["id"], one["peer_count"], one["max_peers"]) for one in get(worker, "/api/rooms")["rooms"]] == [
            (room, 50, 50)]
    settle(group)
    assert not any(member.texts for member in group), "those who were refused hear nothing"


def test_a_broadcast_to_five_hundred_is_one_publish_and_reaches_each_once(start, end_all):
    fleet, room, count = start(SEND_QUEUE_MAX=4 << 20, **OPEN), uid("room"), 500
    group = end_all(crowd(fleet, count + 1))
    *group, last = group
    for member in group:
        member.send(type="JOIN", room_id=room)
    replay_until(group, lambda: all(member.known and len(member.known) == count for member in group), 60)
    come, go = ("JOIN", "PEER_JOINED"), ("LEAVE", "PEER_LEFT")
    for message, event in (come, go, come, (None, "PEER_LEFT")):
        before = publishes(fleet)
        last.send(type=message, room_id=room) if message else last.sock.close()
        gather(group, 1, 20)
        settle(group, 0.1)
        assert publishes(fleet) == before + 1, f"one publish for one {event}"
        for member in group:
            heard = take(member)
            assert [(m["type"], m["peer_id"], m["room_id"]) for m in heard] == [(event, last.id, room)]
        if message:
            settle([last], 0.05)
            answers = take(last)
            assert [answer["type"] for answer in answers] == ["ACK"], "who it is about does not hear it"


@pytest.mark.parametrize("seed", range(3))
def test_lists_and_events_never_contradict_each_other(start, connect, end_all, seed):
    fleet, chance = start(ROOM_MAX_PEERS=30, **OPEN), random.Random(seed)
    rooms, group = [uid("room") for _ in range(2)], end_all(crowd(fleet, 60))
    asked = {}
    for _ in range(10):
        for member in chance.sample(group, len(group)):
            moves = [chance.choice((*rooms, None)) for _ in range(4)]
            member.send_text(*(json.dumps({"type": "JOIN" if room else "LEAVE", "room_id": room}) for room in moves))
            asked[member.id] = asked.get(member.id, 0) + len(moves)
        settle(group, 0.02)
    for member in (gone := chance.sample(group, 15)):
        member.send(type="JOIN", room_id=rooms[0])
        member.sock.close()
        group.remove(member)
    replay_until(group, lambda: all(member.answers == asked[member.id] for member in group), 60)
    watcher = welcomed(connect(fleet.workers[seed % 2], "/ws"))

    def agree():
        for room in rooms:
            there = {member.id for member in group if member.room == room}
            lists = views(fleet, room, watcher) + [member.known for member in group if member.room == room]
            if any(one != there for one in lists):
                return False
        return True

    replay_until(group, agree, 20, "agreement")
    settle(group, 0.2)
    assert not any(member.texts for member in group) and agree()
    codes = {code for member in group for code in member.refused}
    assert {"ALREADY_IN_ROOM", "NOT_IN_ROOM"} <= codes <= {"ALREADY_IN_ROOM", "NOT_IN_ROOM", "ROOM_FULL"}
    assert not {member.id for member in gone} & {peer for room in rooms for peer in listed(watcher, room)}


CLIENT = """
const endpoint = {ip: "198.51.100.1", port: 54321};
for (const [name, port] of [["first", FIRST], ["second", SECOND]]) {
  const ws = new WebSocket(`ws://127.0.0.1:${port}/ws`);
  let me;
  const say = (type, fields) => ws.send(JSON.stringify({type, ...fields}));
  const react = {
    ACK: ({peer_id, payload}) => {
      if (payload.peers) return;
      me = peer_id;
      const join = () => say("JOIN", {room_id: "my-room", payload: {display_name: name, endpoint}});
      name === "first" ? join() : setTimeout(join, 500);
    },
    PEER_JOINED: ({peer_id}) => say("OFFER", {
      target_id: peer_id, payload: {endpoint, session_id: crypto.randomUUID(), initiator_id: me}}),
    OFFER: ({peer_id, payload: {session_id}}) => say("ANSWER", {
      target_id: peer_id, payload: {endpoint, session_id, accepted: true}}),
  };
  ws.onmessage = ({data}) => {
    const message = JSON.parse(data);
    console.log(JSON.stringify({name, ...message}));
    react[message.type]?.(message);
    if (message.type === "ANSWER") setTimeout(() => process.exit(), 100);
  };
}
"""


def test_two_clients_in_javascript_exchange_offer_and_answer(start):
    command, fleet = node(), start()
    script = CLIENT.replace("FIRST", str(fleet.workers[0].port)).replace("SECOND", str(fleet.workers[1].port))
    done = subprocess.run([*command, "--input-type=module", "-e", script], capture_output=True, text=True,
                          timeout=20 * SLOW)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    first, second = ([line for line in lines if line["name"] == name] for name in ("first", "second"))
    assert [m["type"] for m in first] == ["ACK", "ACK", "PEER_JOINED", "ANSWER"], done
    assert [m["type"] for m in second] == ["ACK", "ACK", "OFFER"]
    a, b = first[0]["peer_id"], second[0]["peer_id"]
    assert [peer["display_name"] for peer in second[1]["payload"]["peers"]].count("first") == 1
    assert first[2]["peer_id"] == first[3]["peer_id"] == b and second[2]["peer_id"] == a
    offer, answer = second[2]["payload"], first[3]["payload"]
    assert offer["initiator_id"] == a and answer == {
        "endpoint": {"ip": "198.51.100.1", "port": 54321}, "session_id": offer["session_id"], "accepted": True}
