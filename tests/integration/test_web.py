# SPDX-License-Identifier: MIT
"""The web page as HTTP gives it: who gets it, with which headers, and what is in its files."""
import hashlib
import http.client
import re

import pytest

from harness import ROOT, SLOW, http_request

FILES = sorted((ROOT / "web").iterdir())
NAMES = [f.name for f in FILES]
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
         ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
POLICY = {"default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "connect-src": "'self'",
          "img-src": "'self'", "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'"}


@pytest.fixture
def one(fleet):
    return fleet.workers[0]


def check_headers(headers):
    policy = [directive.split(" ", 1) for directive in headers["Content-Security-Policy"].split("; ")]
    assert dict(policy) == POLICY and len(policy) == len(POLICY)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-cache"
    assert re.fullmatch(r'"[0-9a-f]{32}"', headers["ETag"])


@pytest.mark.parametrize("accept, is_page", [
    (BROWSER, True), ("text/html", True), ("application/json, Text/HTML;q=0.1", True), ("*/*", False), ("", False),
    (None, False), ("application/json", False), ("text/plain, text/xml", False)])
def test_the_index_is_for_those_who_accept_html(one, accept, is_page):
    status, headers, body = http_request(one, "GET", "/", headers={} if accept is None else {"Accept": accept})
    assert status == 200 and headers["Vary"] == "Accept"
    if is_page:
        assert headers["Content-Type"] == TYPES[".html"] and body == (ROOT / "web/index.html").read_bytes()
        check_headers(headers)
    else:
        assert body["name"] == "signalbox" and headers["ETag"] is None


def test_the_info_is_json_for_everybody(one):
    _, headers, body = http_request(one, "GET", "/api/info", headers={"Accept": BROWSER})
    assert body["name"] == "signalbox" and headers["Vary"] is None
    assert headers["Content-Security-Policy"] is None, "the README's examples run in the console of a browser there"
    assert body["endpoints"]["index"] == "GET /" and body["endpoints"]["static"] == "GET /static/*"


def test_both_forms_of_the_index_vary_also_by_origin(start):
    worker = start(1, CORS_ORIGINS="https://a.example").workers[0]
    for accept in (BROWSER, "*/*"):
        headers = http_request(worker, "GET", "/", headers={"Accept": accept})[1]
        assert {"Accept", "Origin"} == {word for line in headers.get_all("Vary") for word in re.split(", *", line)}


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_every_file_is_served(one, file):
    status, headers, body = http_request(one, "GET", f"/static/{file.name}")
    assert (status, body, headers["Content-Type"]) == (200, file.read_bytes(), TYPES[file.suffix])
    assert headers["Vary"] is None
    check_headers(headers)
    assert headers["ETag"] == f'"{hashlib.sha256(body).hexdigest()[:32]}"', "the same on every worker"


@pytest.mark.parametrize("path", ["/", *(f"/static/{name}" for name in NAMES)])
def test_what_is_known_already_is_not_sent_again(one, path):
    connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=10 * SLOW)

    def ask(etag=None, method="GET"):
        headers = {"Accept": BROWSER, **({"If-None-Match": etag} if etag else {})}
        return http_request(one, method, path, headers=headers, connection=connection)

    etag = ask()[1]["ETag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', f'{etag},"other"', "*"):
        for method in ("GET", "HEAD"):
            status, headers, body = ask(known, method)
            assert (status, body, headers["ETag"]) == (304, b"", etag), known
            assert headers["Content-Length"] is None and headers["Content-Type"] is None
            check_headers(headers)
    for known in ('"other"', etag.strip('"'), etag[:-2] + '"', None):
        assert ask(known)[0] == 200, known
    connection.close()


@pytest.mark.parametrize("path", ["/", "/static/chat.html", "/static/chat.js"])
def test_head_has_the_headers_and_no_body(one, path):
    connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=10 * SLOW)
    answers = [http_request(one, method, path, headers={"Accept": BROWSER}, connection=connection)
               for method in ("GET", "HEAD", "GET")]
    connection.close()
    (_, got, body), (status, headed, nothing), (_, _, again) = answers
    assert status == 200 and nothing == b"" and again == body
    assert int(headed["Content-Length"]) == len(body)
    assert {k: v for k, v in headed.items() if k != "Date"} == {k: v for k, v in got.items() if k != "Date"}


@pytest.mark.parametrize("path", [
    "/static", "/static/", "/static/nothing.js", "/static/INDEX.html", "/static/index.html/", "/static/index.htm",
    "/static/sub/index.html", "/static/%2e%2e/README.md", "/static/..%2fREADME.md", "/index.html",
    "/chat.html"])
def test_a_file_that_is_not_there_is_not_found(one, path):
    status, headers, body = http_request(one, "GET", path, headers={"Accept": BROWSER})
    assert status == 404 and body["error"] == "Not Found" and headers["Content-Type"] == "application/json"


def test_a_path_that_climbs_leads_nowhere_else(one):
    for path in ("/static/../web/index.html", "/static/../../etc/passwd", "/static/./../CMakeLists.txt"):
        assert http_request(one, "GET", path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
@pytest.mark.parametrize("path", ["/", "/static/index.html", "/static/nothing.js"])
def test_the_files_can_only_be_read(one, method, path):
    status, headers, body = http_request(one, method, path, headers={"Accept": BROWSER})
    assert (status, headers["Allow"], body) == (405, "GET", {"error": "Method Not Allowed"})


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_a_file_needs_nothing_from_elsewhere(file):
    text = file.read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "://" not in text and not re.search(r"""["'(]//""", text)
    for name in re.findall(r"/static/([\w.-]+)", text):
        assert name in NAMES


@pytest.mark.parametrize("file", [f for f in FILES if f.suffix in (".html", ".svg")], ids=lambda f: f.name)
def test_a_page_holds_no_code_and_no_style(file):
    text = file.read_text()
    assert all(re.search(r'\ssrc="/static/', script) and content.strip() == "" for script, content in
               re.findall(r"<script\b([^>]*)>(.*?)</script>", text, re.S | re.I))
    assert not re.search(r"<style\b|\sstyle=|\son\w+=|javascript:", text, re.I)


@pytest.mark.parametrize("file", [f for f in FILES if f.suffix == ".js"], ids=lambda f: f.name)
def test_what_is_received_can_only_become_text(file):
    words = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|\beval\b"
    assert not re.search(words + r"|\bnew Function\b|setAttribute|srcdoc", file.read_text())


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_every_file_names_its_licence(file):
    assert "SPDX-License-Identifier: MIT" in "".join(file.read_text().splitlines()[:2])
