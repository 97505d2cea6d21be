# SPDX-License-Identifier: MIT
"""The web page as people use it: in a headless Chromium, on a fleet of two workers, with one tab on each."""
import base64
import json

import pytest

from chromium import Browser, need_chromium
from harness import SLOW, Worker, uid, wait_until

NOBODY = "ZZZZZZ"
KEY = base64.b64encode(bytes(32)).decode()
MARKUP = "<img src=x onerror=alert(1)><b>bold</b>"


@pytest.fixture(scope="module")
def chromium():
    need_chromium()
    browser = Browser()
    try:
        browser.start()
        yield browser
    finally:
        browser.close()


@pytest.fixture
def open_page(chromium, closing):
    """open_page(worker, path): a tab with that page."""
    def open_page(worker, path, script=""):
        tab = chromium.tab(f"http://127.0.0.1:{worker.port}{path}", script)
        closing.callback(tab.close)
        return tab

    return open_page


@pytest.fixture
def open_chat(open_page):
    """open_chat(worker): (tab, code), once it has one."""
    def open_chat(worker, after="", script=""):
        tab = open_page(worker, f"/static/chat.html{after}", script)
        tab.expect("#server", "Connected to the server")
        return tab, tab.text("#own")

    return open_chat


@pytest.fixture
def two(fleet, open_chat):
    """Two tabs, each on its worker, and their codes."""
    return [open_chat(worker) for worker in fleet.workers]


def ask(tab, code):
    tab.evaluate("document.querySelector('#code').value = ''")
    tab.type("#code", code)
    tab.click("#connect")


def say(tab, text):
    tab.type("#text", text)
    tab.click("#send")


def pair(caller, callee, caller_code, callee_code):
    ask(caller, callee_code)
    callee.expect("#asked", f"{caller_code} wants to connect with you.")
    callee.click("#accept")
    caller.expect("#state", f"Connected with {callee_code}")
    callee.expect("#state", f"Connected with {caller_code}")


def messages(tab):
    return tab.evaluate("[...document.querySelectorAll('#messages p')].map((p) => p.innerText)")


def talk(*tabs):
    """Each says something, which all see."""
    for tab in tabs:
        text = uid("hello")
        say(tab, text)
        for reader in tabs:
            wait_until(lambda r=reader, t=text: any(t in line for line in messages(r)), 10, "the message")


def number(tab, field):
    return tab.evaluate(f"document.querySelector('[data-stats=\"{field}\"]').innerText")


def test_the_index_shows_live_numbers_and_no_error_in_the_console(start, connect, open_page):
    fleet = start()
    tab = open_page(fleet.workers[0], "/")
    wait_until(lambda: number(tab, "workers") == "2", 15, "the number of workers")
    assert number(tab, "connections") == "0" and number(tab, "relays.totalPeers") == "0"
    client = connect(fleet.workers[1])
    client.request("register", peerId=uid())
    wait_until(lambda: (number(tab, "connections"), number(tab, "relays.totalPeers")) == ("1", "1"), 15, "the client")
    client.close()
    wait_until(lambda: (number(tab, "connections"), number(tab, "relays.totalPeers")) == ("0", "0"), 15, "its end")
    assert tab.text("#trouble") == "" and tab.errors == []
    assert tab.text("[data-pool='workers.length']") == "0"


def test_numbers_that_cannot_be_had_are_dashes(start, open_page):
    fleet = start()
    tab = open_page(fleet.workers[0], "/")
    wait_until(lambda: number(tab, "workers") == "2", 15, "the number of workers")
    fleet.redis.stop()
    wait_until(lambda: number(tab, "workers") == number(tab, "connections") == "–", 20, "the dashes")
    assert tab.text("#trouble")


def test_who_may_not_see_numbers_is_told_so(start, open_page):
    worker = start(1, STATUS_ALLOW="192.0.2.1").workers[0]
    tab = open_page(worker, "/")
    wait_until(lambda: "STATUS_ALLOW" in tab.text("#trouble"), 15, "the reason")
    assert number(tab, "workers") == number(tab, "connections") == "–"


def register_app(client, code):
    client.expect("server_info")
    client.send(type="register", pairingCode=code, publicKey=KEY)
    client.expect("registered")
    return client


def test_strangers_hear_nothing_of_a_code(fleet, open_chat, connect):
    rooms = "/signal", "/signal/web"
    strangers = [register_app(connect(worker, "/client"), code)
                 for worker, code in zip(fleet.workers, ("STRAN2", "STRAN3"))]
    members = [connect(worker, room) for room in rooms for worker in fleet.workers]
    for member in members:
        member.send(type="register", pairingCode=uid())
    (caller, caller_code), (callee, callee_code) = [open_chat(worker) for worker in fleet.workers]
    pair(caller, callee, caller_code, callee_code)
    caller.click("#leave")
    callee.expect("#state", f"{caller_code} has left")
    caller.command("Page.navigate", url="about:blank")
    wait_until(lambda: not any(caller_code in key for key in fleet.redis.keys()), 10, "its code, which is free")
    ask(callee, caller_code)
    callee.expect("#state", f"Nobody has the code {caller_code}")
    # What a room was told before this, its members have heard when they hear this.
    last = uid("last")
    for room in rooms:
        connect(fleet.workers[0], room).send(type="register", pairingCode=last)
    for client in strangers:
        client.send(type="ping")
    for client in members + strangers:
        heard = []
        while not heard or (heard[-1].get("pairingCode") != last and heard[-1]["type"] != "pong"):
            heard.append(client.recv())
        assert not [code for code in (caller_code, callee_code) if code in json.dumps(heard)], heard


def test_two_tabs_connect_by_code_and_chat(two, fleet):
    (caller, caller_code), (callee, callee_code) = two
    assert caller_code != callee_code
    ask(caller, f" {callee_code[:3].lower()}-{callee_code[3:]} ")
    caller.expect("#state", f"Asking {callee_code}")
    callee.expect("#asked", f"{caller_code} wants to connect with you.")
    callee.click("#accept")
    caller.expect("#state", f"Connected with {callee_code}")
    callee.expect("#state", f"Connected with {caller_code}")
    say(caller, "How are you?")
    wait_until(lambda: len(messages(callee)) == 1, 10, "the message")
    say(callee, MARKUP)
    wait_until(lambda: len(messages(caller)) == 2, 10, "the answer")
    assert messages(caller) == ["You: How are you?", f"{callee_code}: {MARKUP}"]
    assert messages(callee) == [f"{caller_code}: How are you?", f"You: {MARKUP}"]
    paths = [e["path"] for worker in fleet.workers for e in worker.events("connection_open")]
    assert paths.count("/client") >= 2
    assert caller.errors == callee.errors == []


def test_who_leaves_is_missed_and_both_can_chat_again(two):
    (caller, caller_code), (callee, callee_code) = two
    pair(caller, callee, caller_code, callee_code)
    caller.click("#leave")
    caller.expect("#state", "You have left")
    callee.expect("#state", f"{caller_code} has left")
    assert callee.evaluate("document.querySelector('#send').disabled")
    pair(callee, caller, callee_code, caller_code)
    talk(caller, callee)
    assert caller.errors == callee.errors == []


def test_a_late_goodbye_spares_the_next_request(two, fleet):
    """The channel tells at once that the other has left, its goodbye waits in a worker that stands still."""
    (caller, caller_code), (callee, callee_code) = two
    pair(caller, callee, caller_code, callee_code)
    fleet.workers[0].pause()
    caller.click("#leave")
    callee.expect("#state", f"{caller_code} has left")
    ask(callee, caller_code)
    callee.expect("#state", f"Asking {caller_code}")
    fleet.workers[0].resume()
    caller.expect("#asked", f"{callee_code} wants to connect with you.")
    caller.click("#accept")
    callee.expect("#state", f"Connected with {caller_code}")
    talk(caller, callee)


def test_a_closed_tab_has_left(two):
    (caller, caller_code), (callee, callee_code) = two
    pair(caller, callee, caller_code, callee_code)
    caller.command("Page.navigate", url="about:blank")
    callee.expect("#state", f"{caller_code} has left")


def test_a_tab_that_is_closed_while_it_is_asked_declines(two):
    (caller, caller_code), (callee, callee_code) = two
    ask(caller, callee_code)
    callee.expect("#asked", caller_code)
    callee.command("Page.navigate", url="about:blank")
    caller.expect("#state", f"{callee_code} has declined")


def test_who_accepts_a_request_of_somebody_gone_is_told(fleet, open_chat, connect):
    """It goes without a goodbye, as when a phone loses its network."""
    callee, callee_code = open_chat(fleet.workers[0])
    client = register_app(connect(fleet.workers[1], "/client"), "GQNEAA")
    client.send(type="pair_request", targetCode=callee_code)
    callee.expect("#asked", "GQNEAA")
    client.close()
    callee.click("#accept")
    callee.expect("#state", "GQNEAA has left")


def test_who_is_declined_is_told(two):
    (caller, caller_code), (callee, callee_code) = two
    ask(caller, callee_code)
    callee.expect("#asked", caller_code)
    callee.click("#decline")
    caller.expect("#state", f"{callee_code} has declined")
    callee.expect("#state", f"You have declined {caller_code}")
    assert caller.evaluate("document.querySelector('#chat').hidden")
    assert caller.errors == callee.errors == []


def test_a_request_that_is_taken_back_is_asked_no_more(two):
    (caller, caller_code), (callee, callee_code) = two
    ask(caller, callee_code)
    callee.expect("#asked", caller_code)
    caller.click("#leave")
    callee.expect("#state", f"{caller_code} has left")
    assert callee.evaluate("document.querySelector('#asked').hidden")
    assert caller.errors == callee.errors == []


def test_who_is_busy_declines_by_itself(two, fleet, open_chat):
    (caller, caller_code), (callee, callee_code) = two
    ask(caller, callee_code)
    callee.expect("#asked", caller_code)
    third, third_code = open_chat(fleet.workers[0], f"#{callee_code.lower()}")
    assert third.evaluate("document.querySelector('#code').value") == callee_code, "the link fills it in"
    third.click("#connect")
    third.expect("#state", f"{callee_code} has declined")
    assert third_code not in callee.text("body") and caller_code in callee.text("#asked")


def test_two_who_ask_each_other_are_connected_at_once(two, fleet):
    (one, one_code), (other, other_code) = two
    for tab, code in ((one, other_code), (other, one_code)):
        tab.type("#code", code)
    # Their requests cross: the second is under way before the first can arrive.
    fleet.workers[1].pause()
    one.click("#connect")
    other.click("#connect")
    other.expect("#state", f"Asking {one_code}")
    fleet.workers[1].resume()
    one.expect("#state", f"Connected with {other_code}")
    other.expect("#state", f"Connected with {one_code}")
    talk(one, other)


def test_a_code_that_nobody_has_or_can_have_is_told(fleet, open_chat):
    tab, code = open_chat(fleet.workers[0])
    for typed, words in ((NOBODY, f"Nobody has the code {NOBODY}"), (code, "your own code"),
                         ("ABC", "six letters or digits"), ("ABCDE0", "six letters or digits")):
        ask(tab, typed)
        tab.expect("#state", words)
    assert tab.errors == []


def test_another_code_is_taken_where_one_is_held(fleet, open_chat, connect):
    """The first code of the page is made from bytes that are all zero; a client holds it already."""
    register_app(connect(fleet.workers[1], "/client"), "AAAAAA")
    _, code = open_chat(fleet.workers[0], script="""
        const real = crypto.getRandomValues.bind(crypto);
        let asked = 0;
        crypto.getRandomValues = (bytes) => asked++ ? real(bytes) : bytes;""")
    assert len(code) == 6 and code != "AAAAAA"


def test_who_gets_no_answer_is_told(start, open_chat):
    fleet = start(PAIR_TIMEOUT_MS=5000 * SLOW, PAIR_WARNING_MS=3000 * SLOW)
    (caller, caller_code), (callee, callee_code) = [open_chat(worker) for worker in fleet.workers]
    ask(caller, callee_code)
    caller.expect("#state", f"{callee_code} has")
    assert "seconds left to answer" in caller.text("#state")
    callee.expect("#state", f"The request of {caller_code} runs out in")
    caller.expect("#state", f"{callee_code} did not answer")
    callee.expect("#state", f"The request of {caller_code} has run out")
    assert callee.evaluate("document.querySelector('#asked').hidden")
    assert caller.errors == callee.errors == []


def test_who_hears_nothing_of_the_server_gives_up(fleet, open_chat):
    """The patience of the page that asks lasts a second here."""
    callee, callee_code = open_chat(fleet.workers[1])
    caller, caller_code = open_chat(fleet.workers[0], script="""
        const real = setTimeout;
        setTimeout = (callback, ms, ...rest) => real(callback, ms === 150000 ? 1000 : ms, ...rest);""")
    ask(caller, callee_code)
    callee.expect("#asked", caller_code)
    caller.expect("#state", f"{callee_code} did not answer")
    callee.expect("#state", f"{caller_code} has left")


def test_a_chat_outlives_its_workers_and_the_pages_come_back(start, open_chat):
    fleet = start()
    (caller, caller_code), (callee, callee_code) = [open_chat(worker) for worker in fleet.workers]
    pair(caller, callee, caller_code, callee_code)
    # One that is stopped: its port is free at once for the one that comes after it.
    port = fleet.workers[0].port
    fleet.workers[0].stop()
    caller.expect("#server", "is lost")
    talk(caller, callee)
    fleet.workers.append(Worker(fleet.redis.urls()[0], PORT=port))
    caller.expect("#server", "Connected to the server")
    assert caller.text("#own") == caller_code, "its code is still its own"
    talk(callee, caller)
    caller.click("#leave")
    callee.expect("#state", f"{caller_code} has left")
    pair(callee, caller, callee_code, caller_code)
