# SPDX-License-Identifier: MIT
"""Pairing by code as a browser uses it: two pages, each in a Chromium of its own and on a worker of its own."""
import http.server
import json
import queue
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest

from chromium import PATIENCE, Chromium, need_chromium
from harness import uid

PAGES = Path(__file__).parent / "browser"


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the pages, and takes what they report."""

    def __init__(self, *args):
        super().__init__(*args, directory=PAGES)

    def do_POST(self):
        self.server.reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


class Page:
    """peer.html in a headless Chromium, and the HTTP server it came from."""

    def __init__(self, worker, room, code, target=None):
        self.code = code
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.reports = queue.Queue()
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        query = {"signal": f"ws://127.0.0.1:{worker.port}/signal/{room}", "code": code, "patience": PATIENCE}
        query.update({"target": target} if target else {})
        url = f"http://127.0.0.1:{self.server.server_port}/peer.html?{urlencode(query)}"
        self.chromium = Chromium(url)

    def _report(self):
        """The next report, or None: Chromium ended, or took too long."""
        end = time.monotonic() + PATIENCE + 5
        while time.monotonic() < end and self.chromium.runs():
            try:
                return self.server.reports.get(timeout=0.2)
            except queue.Empty:
                pass

    def load(self):
        """Skips the test where there is no page: that is Chromium's fault and nobody else's."""
        if self._report() is None:
            self.chromium.skip("no page came")

    def expect(self, state):
        report = self._report()
        assert report, f"{self.code} said nothing more; it was to be {state}"
        assert report["state"] == state, report
        return report

    def close(self):
        self.chromium.close()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def browse(closing):
    need_chromium()

    def browse(*args, **kwargs):
        page = Page(*args, **kwargs)
        closing.callback(page.close)
        page.load()
        return page

    return browse


def types(messages):
    """The types of messages in their order, those of one kind in a row told once."""
    return [m["type"] for m, before in zip(messages, [None, *messages]) if not before or before["type"] != m["type"]]


def forwarded(messages):
    return [(m["type"], m["payload"]) for m in messages if "payload" in m]


def test_two_browsers_on_two_workers_open_a_data_channel(fleet, browse):
    room, caller_code, callee_code = uid("room"), uid("caller"), uid("callee")
    callee_page = browse(fleet.workers[0], room, callee_code)
    callee_page.expect("registered")
    caller_page = browse(fleet.workers[1], room, caller_code, target=callee_code)
    caller_page.expect("registered")
    caller, callee = caller_page.expect("done"), callee_page.expect("done")

    assert caller["received"][:2] == [
        {"type": "registered", "pairingCode": caller_code},
        {"type": "pair_accept", "from": callee_code, "publicKey": f"key of {callee_code}"}]
    joined = {"type": "peer_joined", "pairingCode": caller_code}
    assert callee["received"].count(joined) == 1
    callee["received"].remove(joined)
    assert callee["received"][:2] == [
        {"type": "registered", "pairingCode": callee_code},
        {"type": "pair_request", "from": caller_code, "publicKey": f"key of {caller_code}",
         "proposedName": f"a friend of {callee_code}"}]
    assert [w.wid for w in fleet.workers for e in w.events("connection_open") if e["path"] == "/signal"] == [
        w.wid for w in fleet.workers], "one of them on each worker"
    assert types(caller["received"][2:]) == ["answer", "ice_candidate"]
    assert types(callee["received"][2:]) == ["offer", "ice_candidate"]

    for sender, receiver, code in ((caller, callee, caller_code), (callee, caller, callee_code)):
        assert forwarded(receiver["received"]) == forwarded(sender["sent"]), "changed, or out of order"
        assert {m["from"] for m in receiver["received"] if "payload" in m} == {code}
        (kind, description), *candidates = forwarded(sender["sent"])
        assert description["type"] == kind and "m=application" in description["sdp"]
        assert any(c["candidate"].startswith("candidate:") for _, c in candidates)
        assert sender["said"] == receiver["heard"] == [f"hello from {code}"]
