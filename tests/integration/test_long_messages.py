# SPDX-License-Identifier: MIT
"""Messages of many kilobytes are read a portion at a time: in their order, whole, and without keeping others waiting."""
import json
import socket

import pytest

from clients import ABNF, bare_socket, frame, read_until
from harness import Fleet, get, metric, uid, wait_until
from test_relay import still_works
from test_signal import error, path_of, registered

MALFORMED = error("Invalid message format: JSON parse error")
LONG = 250_000
FILLINGS = {"text": '"' + "x" * LONG + '"', "numbers": "[" + "0," * (LONG // 2) + "0]",
            "strings": "[" + '"",' * (LONG // 3) + "0]", "objects": "{" + '"":0,' * (LONG // 5) + '"":0}',
            "brackets": "[" + "[]," * (LONG // 3) + "0]", "escapes": '"' + "\\u20ac" * (LONG // 6) + '"',
            "not ascii": '"' + "\u20ac" * (LONG // 3) + '"', "space": " " * LONG + "0", "digits": "0." + "9" * LONG}
FILLED = pytest.mark.parametrize("filling", FILLINGS.values(), ids=FILLINGS)


def say(client, *texts):
    for text in texts:
        client.raw(text.encode())


@pytest.fixture(scope="module")
def fleet():
    with Fleet(IP_CONNECT_RATE=0, MESSAGE_RATE=0, SIGNAL_PRESENCE_MAX=0) as fleet:
        yield fleet


@FILLED
@pytest.mark.parametrize("where", [0, 1], ids=["same worker", "other worker"])
def test_long_and_short_messages_arrive_whole_and_in_their_order(fleet, connect, where, filling):
    room = path_of(uid("room"))
    receiver, sender = registered(connect(fleet.workers[where], room)), registered(connect(fleet.workers[0], room))
    payloads = ["1", filling, "2", "3", filling, filling, "4"]
    for payload in payloads:
        say(sender, f'{{"type":"offer","target":"{receiver.code}","payload":{payload}}}')
    for payload in payloads:
        assert receiver.expect("offer", 20) == {"type": "offer", "from": sender.code, "payload": json.loads(payload)}


@FILLED
def test_answers_come_in_the_order_of_the_messages(fleet, connect, filling):
    client = connect(fleet.workers[0], path_of(uid("room")))
    code = uid("code")
    client.send(type="register", pairingCode=code)
    say(client, f'{{"x":{filling},"type":"ping"}}', '{"type":"a"}', f'{{"x":{filling},"type":"b"}}')
    client.send(type="ping")
    assert [client.recv(20) for _ in range(5)] == [
        {"type": "registered", "pairingCode": code}, {"type": "pong"}, error("Unknown message type: a"),
        error("Unknown message type: b"), {"type": "pong"}]


@FILLED
def test_what_is_wrong_at_the_very_end_is_found(fleet, connect, filling):
    client = connect(fleet.workers[0])
    whole = f'{{"type":"ping","x":{filling}}}'
    for text in (whole[:-1], whole + "}", whole[:-1] + ",}", whole[:-1] + "]", whole + " x"):
        say(client, text)
        assert client.recv(20) == MALFORMED
    say(client, whole)
    assert client.recv(20) == {"type": "pong"}


def test_a_long_binary_frame_is_malformed(fleet, connect):
    client = connect(fleet.workers[0])
    client.send_frame(2, 1, b'{"type":"ping","x":"' + b"x" * LONG + b'"}')
    assert client.recv() == MALFORMED
    assert still_works(client)


def test_the_last_of_many_members_counts(fleet, connect):
    client = connect(fleet.workers[0])
    for text in ('{"type":"a",' + '"type":"b",' * (LONG // 11) + '"type":"ping"}',
                 "{" + '"":0,' * (LONG // 5) + '"type":"ping"}', '{"type":"ping"' + ',"typo":0' * (LONG // 9) + "}",
                 "{" + ",".join(f'"{n}":0' for n in range(LONG // 11)) + ',"\\u0074ype":"ping"}'):
        say(client, text)
        assert client.recv() == {"type": "pong"}


def test_a_type_of_up_to_4096_bytes_is_told_back(fleet, connect):
    client = connect(fleet.workers[0])
    assert client.request("x" * 4096) == error("Unknown message type: " + "x" * 4096)
    assert client.request("x" * 4097) == error("Invalid field: type")
    assert client.request("\x01" * (LONG // 6)) == error("Invalid field: type")


def test_dead_drops_name_no_more_points_than_a_message_may_have(fleet, connect):
    first, second = connect(fleet.workers[0]), connect(fleet.workers[1])
    peer, days = uid(), [uid("day") for _ in range(257)]
    drops = {day: f"drop of {day} \u20ac\n" for day in days}
    drops_of_all = first.request("register_rendezvous", peerId=peer, dailyPoints=days[:256], deadDrops=drops)
    assert drops_of_all == error("Invalid field: deadDrops")
    del drops[days[256]]
    first.request("register_rendezvous", peerId=peer, dailyPoints=days[:256], deadDrops=drops)
    answer = second.request("register_rendezvous", peerId=uid(), dailyPoints=days)
    assert answer == error("Invalid field: dailyPoints")
    answer = second.request("register_rendezvous", peerId=uid(), dailyPoints=days[:256])
    assert sorted(drop["deadDrop"] for drop in answer["deadDrops"]) == sorted(drops.values())


def test_the_last_drop_of_a_point_counts_however_its_name_is_spelled(fleet, connect):
    first, second = connect(fleet.workers[0]), connect(fleet.workers[1])
    names = {"p": uid("p"), "q": uid("q"), "r": uid("r")}
    escaped = {name: "".join(f"\\u{ord(c):04x}" for c in point) for name, point in names.items()}
    say(first, (
        '{"type":"register_rendezvous","peerId":"%s","dailyPoints":["%s","%s","%s"],"deadDrop":"all","deadDrops":'
        '{"%s":"1","%s":"2","%s":"3","%s":null,"else":"4"}}' % (
            uid(), names["p"], names["q"], names["r"], names["p"], escaped["p"], names["q"], escaped["q"])))
    assert first.recv()["type"] == "rendezvous_result"
    first.raw(b'{"type":"register_rendezvous","peerId":"p","dailyPoints":["%s"],"deadDrops":{"%s":5,"%s":"x"}}' % (
        (names["r"].encode(),) * 3))
    assert first.recv()["type"] == "rendezvous_result", "the last of a name counts"
    for name, found in (("p", ["2"]), ("q", []), ("r", ["all", "x"])):
        answer = second.request("register_rendezvous", peerId=uid(), dailyPoints=[names[name]])
        assert sorted(drop["deadDrop"] for drop in answer["deadDrops"]) == found


END = {"a close frame": ABNF.create_frame(b"\x03\xe8", ABNF.OPCODE_CLOSE).format(), "nothing": b"",
       "too much": frame('{"type":"ping","x":"%s"}' % ("x" * (1 << 18)))}


@pytest.mark.parametrize("where", [0, 1], ids=["same worker", "other worker"])
@pytest.mark.parametrize("end", END.values(), ids=END)
@pytest.mark.parametrize("size", [100, 17_000, 240_000])
def test_what_was_sent_before_a_goodbye_arrives(fleet, connect, where, end, size):
    room, code = path_of(uid("room")), uid("code")
    receiver = registered(connect(fleet.workers[where], room))
    for n in range(5):
        with bare_socket(fleet.workers[0], room) as s:
            s.sendall(frame(json.dumps({"type": "register", "pairingCode": f"{code}-{n}"})))
            read_until(s, b'"registered"')
            offer = {"type": "offer", "target": receiver.code, "payload": "x" * size}
            s.sendall(frame(json.dumps(offer)) + frame(json.dumps({**offer, "type": "answer", "payload": n})) + end)
            s.shutdown(socket.SHUT_WR)
            assert receiver.expect("offer")["payload"] == "x" * size
            assert receiver.expect("answer")["payload"] == n


def test_who_leaves_in_the_middle_takes_its_message_along(fleet, connect):
    worker = fleet.workers[0]
    kept = "signalbox_session_bytes"
    text = frame('{"type":"ping","x":%s}' % FILLINGS["numbers"])
    for _ in range(30):
        s = bare_socket(worker, "/relay")
        s.sendall(text * 2)
        s.close()
    client = connect(worker)
    say(client, '{"type":"ping"}')
    assert client.recv(20) == {"type": "pong"}
    wait_until(lambda: metric(worker, kept) == 0, 10, "nothing that is kept")
    assert get(worker, "/health")


def test_many_long_messages_at_once_are_all_answered(fleet, connect):
    clients = [connect(fleet.workers[n % 2]) for n in range(20)]
    for client in clients:
        say(client, '{"type":"ping","x":%s}' % FILLINGS["objects"], '{"type":"a"}')
    for client in clients:
        assert [client.recv(20) for _ in range(2)] == [{"type": "pong"}, error("Unknown message type: a")]
