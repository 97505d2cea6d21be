# SPDX-License-Identifier: MIT
"""What README.md shows, tried on two real workers."""
import re
import shutil
import subprocess
import threading

import pytest

from clients import Client
from harness import ROOT, SLOW, get, wait_until

README = (ROOT / "README.md").read_text()
WORD, WID = re.compile(r'"(?:[^"\\]|\\.)*"'), re.compile(r"\b[0-9a-f]{8}\b")


def block(language, holding):
    """The first fenced block of that language that holds the text."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.S | re.M)
    return next(text for of, text in blocks if of == language and holding in text)


def node():
    """The command that runs JavaScript with a WebSocket in it."""
    if not shutil.which("node"):
        pytest.skip("node is not installed")
    for command in (["node"], ["node", "--experimental-websocket"]):
        asked = subprocess.run([*command, "-e", "process.exit(typeof WebSocket === 'function' ? 0 : 1)"],
                               capture_output=True, timeout=30 * SLOW)
        if asked.returncode == 0:
            return command
    pytest.skip("this node has no WebSocket: it takes 22, or 20 with --experimental-websocket")


@pytest.fixture
def pair(start):
    """Two workers, and a text in which their ports stand for 8080 and 8081."""
    fleet = start(NODE_ID="node-1")
    ports = {"8080": str(fleet.workers[0].port), "8081": str(fleet.workers[1].port)}
    return fleet, lambda text: re.sub(r"\b808[01]\b", lambda m: ports[m[0]], text)


@pytest.fixture
def conversation(pair, tmp_path, closing):
    """The JavaScript of the README as it runs; returns what it has printed."""
    return run(pair, tmp_path, closing, "register_rendezvous")


@pytest.fixture
def room(pair, tmp_path, closing):
    """The same of the conversation in a room."""
    return run(pair, tmp_path, closing, "JOIN")


def run(pair, tmp_path, closing, holding):
    script, lines = tmp_path / "talk.mjs", []
    script.write_text(pair[1](block("js", holding)))
    process = subprocess.Popen([*node(), str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")), daemon=True)

    def end():
        process.kill()
        process.wait(10)
        reader.join(5)

    closing.callback(end)
    reader.start()
    return lines


def test_the_conversation_goes_as_the_readme_says(conversation):
    goes_as(conversation, "liveMatches")


def test_the_conversation_in_a_room_goes_as_the_readme_says(room):
    goes_as(room, "alice gets PEER_JOINED")


def goes_as(conversation, holding):
    told = block("", holding).splitlines(keepends=True)
    wait_until(lambda: len(conversation) >= len(told), 10, "the end of the conversation")
    for peer in ("alice", "bob"):
        assert [x for x in conversation if x.startswith(peer)] == [x for x in told if x.startswith(peer)]


def test_the_messages_by_hand_are_understood(pair, connect):
    client, answers = None, []
    for line in pair[1](block("", "websocat")).splitlines():
        if line.startswith("websocat"):
            port = int(re.search(r"^websocat ws://localhost:(\d+)/relay$", line)[1])
            client = connect(next(worker for worker in pair[0].workers if worker.port == port))
        elif line:
            client.raw(line.encode())
            answers.append(client.expect("rendezvous_result"))
    assert [entry["deadDrop"] for entry in answers[-1]["deadDrops"]] == ["call me"]
    assert [entry["peerId"] for entry in answers[-1]["liveMatches"]] == ["alice"]


def redis_rows(table=1):
    """{command: answer} of the first or second table of what is in Redis."""
    table = README.split("| question | command | answer |\n| --- | --- | --- |\n")[table].split("\n\n")[0]
    return dict(re.fullmatch(r"\|.*\| `([^`]*)` \| `([^`]*)` \|", row).groups() for row in table.splitlines())


def timeless(text):
    """Without times in ms, which differ each time."""
    return re.sub(r"\b1\d{12}\b", "MS", text)


def redis_cli(fleet, command):
    """What redis-cli answers to a command that is typed into it."""
    done = subprocess.run(["redis-cli", "--no-raw", "-s", fleet.redis.socket], input=command + "\n",
                          capture_output=True, text=True, timeout=10 * SLOW)
    return done.stdout


def test_redis_answers_as_the_readme_says(pair, conversation):
    fleet, rows = pair[0], redis_rows()
    wait_until(lambda: len(conversation) >= 5, 10, "the end of the conversation")
    wids = dict(zip(WID.findall(rows["zrange sb:workers 0 -1"]), (worker.wid for worker in fleet.workers)))
    for command, answer in rows.items():
        command, answer = (WID.sub(lambda m: wids.get(m[0], m[0]), text) for text in (command, answer))
        got = redis_cli(fleet, command)
        if command.startswith("ttl"):
            assert 172_000 < int(got.split()[1]) <= 172_800
        elif command.startswith("hgetall sb:worker:"):
            assert WORD.findall(got)[::2] == WORD.findall(answer)[::2]
            assert '"node-1"' in got
        elif answer.startswith("(integer)"):
            assert got.strip() == answer, command
        else:
            assert sorted(WORD.findall(timeless(got))) == sorted(WORD.findall(timeless(answer))), command


def test_redis_answers_of_a_room_as_the_readme_says(pair, room):
    wait_until(lambda: len(room) >= 7, 10, "the end of the conversation")
    rows = redis_rows(2)
    for command, answer in rows.items():
        got = " ".join(re.sub(r"^ *\d+\) ", "", redis_cli(pair[0], command), flags=re.M).split())
        assert timeless(got) == timeless(answer), command
    assert len(rows) >= 4


def test_every_metric_the_readme_names_is_there(fleet):
    named = set(re.findall(r"`((?:signalbox|process)_[a-z_]+)`", README))
    there = set(re.findall(r"^# HELP (\S+)", get(fleet.workers[0], "/metrics").decode(), re.M))
    assert len(named) > 10 and named <= there


def test_every_option_the_readme_names_is_one():
    known = set(re.findall(r"^\| `([A-Z_]+)` \| ", README, re.M))
    named = set(re.findall(r"`([A-Z]+_[A-Z_]+)`", README)) - {"REDIS_URL_FILE", "KEEP_ALIVE", "ROOM_FULL"}
    assert named <= known, named - known


def test_every_heading_of_the_design_that_a_comment_cites_is_there():
    headings = re.findall(r"^#+ (.*)$", (ROOT / "docs/design.md").read_text(), re.M)
    sources = [*ROOT.glob("include/**/*.h"), *ROOT.glob("worker/**/*.c")]
    cited = [re.sub(r"\s+", " ", heading) for source in sources
             for heading in re.findall(r'docs/design\.md,\s+"([^"]*)"', source.read_text())]
    assert len(cited) > 20 and set(cited) <= set(headings)
