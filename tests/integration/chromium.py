# SPDX-License-Identifier: MIT
"""A headless Chromium, and tabs of it that are driven over its DevTools protocol."""
import itertools
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import psutil
import pytest
import websocket

from harness import CROWD, SLOW, wait_until

PATIENCE = 30 * SLOW * CROWD
# mDNS names of candidates need a network that resolves them; there may be no interface but loopback, which only a page
# with a microphone gets to know.
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
           "--disable-background-networking", "--disable-component-update", "--disable-breakpad",
           "--disable-dev-shm-usage", "--disable-features=WebRtcHideLocalIpsWithMdns",
           "--allow-loopback-in-peer-connection", "--use-fake-ui-for-media-stream",
           "--use-fake-device-for-media-stream")


def need_chromium():
    if not shutil.which("chromium"):
        pytest.skip("Chromium is not installed: apt-get install chromium")


def is_running(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Chromium:
    """The process and all that it starts, in a folder of its own."""

    def __init__(self, *args):
        self.dir = tempfile.mkdtemp(prefix="signalbox-browser-")
        self.output = open(f"{self.dir}/output", "w+", errors="replace")
        self.process = subprocess.Popen(["chromium", *OPTIONS, f"--user-data-dir={self.dir}/profile", *args],
                                        stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output,
                                        env={"PATH": os.environ["PATH"], "HOME": self.dir, "TMPDIR": self.dir})

    def runs(self):
        return self.process.poll() is None

    def skip(self, what):
        """Skips the test: that it cannot start is Chromium's fault and nobody else's."""
        how = what if self.runs() else f"exit status {self.process.returncode}"
        self.output.seek(0)
        pytest.skip(f"Chromium cannot start here: {how}; it said: {self.output.read()[-500:].strip()}")

    def close(self):
        try:
            tree = [psutil.Process(self.process.pid)]
            tree += tree[0].children(recursive=True)
        except psutil.NoSuchProcess:
            tree = []
        for process in tree:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                pass
        self.process.wait(10)
        wait_until(lambda: not any(map(is_running, tree)), 10, "the end of Chromium")
        self.output.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class Browser(Chromium):
    """One that is driven: a command is answered, events go to their tab."""

    def __init__(self):
        super().__init__("--remote-debugging-port=0", "about:blank")
        self.ws, self.numbers, self.answers, self.tabs = None, itertools.count(1), {}, {}

    def start(self):
        """Skips the test where it does not start."""
        port = Path(self.dir) / "profile" / "DevToolsActivePort"
        try:
            wait_until(lambda: not self.runs() or (port.exists() and port.read_text().count("\n")), 30 * CROWD)
        except AssertionError:
            self.skip("no DevTools")
        if not self.runs():
            self.skip("it ended")
        number, path = port.read_text().split("\n")[:2]
        self.ws = websocket.create_connection(f"ws://127.0.0.1:{number}{path}", timeout=PATIENCE, suppress_origin=True)
        self.ws.settimeout(None)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            while True:
                message = json.loads(self.ws.recv())
                if "id" in message:
                    self.answers[message["id"]].put(message)
                elif message.get("sessionId") in self.tabs:
                    self.tabs[message["sessionId"]].on_event(message["method"], message["params"])
        except (OSError, ValueError, websocket.WebSocketException):
            pass

    def command(self, method, session=None, **params):
        number = next(self.numbers)
        self.answers[number] = queue.Queue()
        message = {"id": number, "method": method, "params": params, **({"sessionId": session} if session else {})}
        self.ws.send(json.dumps(message))
        try:
            answer = self.answers[number].get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError(f"Chromium did not answer {method}") from None
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def tab(self, url, script=""):
        """A new tab, once its page is loaded. It may use a microphone: without leave to, a page gets no candidates but
        those of the default route. script: runs before those of the page."""
        origin = "/".join(url.split("/")[:3])
        self.command("Browser.grantPermissions", origin=origin, permissions=["audioCapture"])
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        session = self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = self.tabs[session] = Tab(self, target, session)
        for domain in ("Runtime", "Log", "Page"):
            tab.command(f"{domain}.enable")
        tab.command("Page.addScriptToEvaluateOnNewDocument", source=script)
        tab.command("Page.navigate", url=url)
        tab.wait("location.href !== 'about:blank' && document.readyState === 'complete'")
        return tab

    def close(self):
        if self.ws:
            self.ws.shutdown()
        super().close()


class Tab:
    def __init__(self, browser, target, session):
        self.browser, self.target, self.session, self.errors = browser, target, session, []

    def on_event(self, method, params):
        """Keeps what a person would see in red in the console."""
        if method == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append(params["args"])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"])

    def command(self, method, **params):
        return self.browser.command(method, self.session, **params)

    def evaluate(self, expression):
        result = self.command("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, (expression, result)
        return result["result"].get("value")

    def wait(self, expression, patience=30):
        """Until the expression is true; returns its value."""
        return wait_until(lambda: self.evaluate(expression), patience * CROWD, expression)

    def text(self, selector):
        """What a person can read there."""
        return self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")

    def expect(self, selector, text, patience=30):
        """Until the text is to be read there."""
        try:
            wait_until(lambda: text in self.text(selector), patience * CROWD)
        except AssertionError:
            assert text in self.text(selector)

    def click(self, selector):
        self.wait(f"(e => e.offsetParent && !e.disabled)(document.querySelector({json.dumps(selector)}))")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def type(self, selector, text):
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        self.command("Input.insertText", text=text)

    def close(self):
        self.browser.command("Target.closeTarget", targetId=self.target)
