# SPDX-License-Identifier: MIT
"""Reference binaries: uploaded as a whole or not at all, and nobody waits for a long one."""
import contextlib
import itertools
import socket
import threading
import time

import psutil
import pytest

from clients import read_until
from harness import SLOW, Stopwatch, Worker, get, uid, wait_until
from proxy import Proxy
from registry_client import (Reference, ask, bearer, challenged, compact, connection_to, now_ms, raw, refused, register,
                             verify)
from test_attest import ENV, KEY, SECRET, enlisted, fleet, one, pair  # noqa: F401

LONGEST = 4 * 1024 * 1024
PATH = "/attest/upload-reference"
NO_REGIONS = refused(400, "critical_regions must be a non-empty array of { offset, length, hmac } objects")
NO_NUMBERS = refused(400, "Each critical_region must have numeric offset and length")
GOOD = {"offset": 0, "length": 2, "data_hex": "00fF"}


def keys_of(fleet, reference):
    return sorted(fleet.redis.client.keys(f"*{reference.platform}*"))


def is_known(pair, device, reference):
    """Whether the device can attest with that binary."""
    asked = challenged(pair[0], device)
    return verify(pair[1], device, asked, reference.answers(asked))[1]["valid"]


def filled(reference, size=LONGEST):
    """The body of an upload of exactly that many bytes, with as many regions as there is room for."""
    regions = [compact(region) for region in reference.fields()["critical_regions"]]
    room = size - len(compact(reference.fields(critical_regions=[], x="")))
    sizes = itertools.accumulate(len(region) + 1 for region in regions)
    count = sum(1 for total in sizes if total <= room)
    del reference.data[count:]
    body = compact(reference.fields(x="")).encode()
    body = compact(reference.fields(x="y" * (size - len(body)))).encode()
    assert len(body) == size
    return body


def test_an_upload_is_answered_with_what_is_kept(pair):
    reference = Reference(count=2)
    status, body = reference.upload(pair[0], SECRET)
    at = body["reference"].pop("uploaded_at")
    assert type(at) is int and abs(at - now_ms()) < 60_000
    regions = [{"offset": 0, "length": 16}, {"offset": 16, "length": 16}]
    assert (status, body) == (200, {"success": True, "reference": {
        "version": "1.0.0", "platform": reference.platform, "build_hash": "a hash", "size": 4096,
        "critical_regions": regions}})
    assert "size" not in reference.upload(pair[1], SECRET, size=None)[1]["reference"]


def test_the_same_version_and_platform_again_is_overwritten(fleet, pair):
    old = Reference(count=40)
    device, new = enlisted(pair, old), Reference(count=4, platform=old.platform)
    kept = keys_of(fleet, old)
    asked = challenged(pair[0], device)
    assert new.upload(pair[0], SECRET)[0] == 200
    assert is_known(pair, device, new) and not is_known(pair, device, old)
    assert keys_of(fleet, new) == kept
    status, body = verify(pair[1], device, asked, old.answers(asked))
    assert status == 404 or (status, body["valid"]) == (200, False)


@pytest.mark.parametrize("name", ["version", "platform", "build_hash"])
def test_an_upload_without_its_fields_is_refused(pair, name):
    for value in (None, "", 1, []):
        want = refused(400, "Missing required fields: version, platform, build_hash")
        assert Reference().upload(pair[0], SECRET, **{name: value}) == want
    for value in ("x" * 257, "a\nb"):
        assert Reference().upload(pair[0], SECRET, **{name: value})[0] == 400


@pytest.mark.parametrize("regions, want", [
    (None, NO_REGIONS), ([], NO_REGIONS), ({}, NO_REGIONS), ("x", NO_REGIONS), (1, NO_REGIONS), ([1], NO_REGIONS),
    ([None], NO_REGIONS), ([GOOD, "x"], NO_REGIONS), ([[]], NO_REGIONS),
    ([{}], NO_NUMBERS), ([{"offset": 0}], NO_NUMBERS), ([{"length": 1}], NO_NUMBERS),
    ([{**GOOD, "offset": "0"}], NO_NUMBERS), ([{**GOOD, "length": None}], NO_NUMBERS),
    ([{**GOOD, "length": "2"}], NO_NUMBERS), ([GOOD, {"offset": [], "length": 1}], NO_NUMBERS),
    ([{**GOOD, "length": 3}], 400), ([{**GOOD, "length": 1}], 400), ([{**GOOD, "length": -2}], 400),
    ([{**GOOD, "data_hex": "00f"}], 400), ([{**GOOD, "data_hex": "00fg"}], 400), ([{**GOOD, "data_hex": 1}], 400),
    ([{**GOOD, "data_hex": ""}], 400), ([{**GOOD, "data_hex": " 0ff"}], 400), ([GOOD, {**GOOD, "data_hex": []}], 400),
    ([{**GOOD, "data_hex": "\u00e9\u00e9"}], 400), ([{**GOOD, "length": 2**63 + 1}], 400)], ids=str)
def test_regions_that_are_none_are_refused_and_change_nothing(fleet, pair, regions, want):
    reference = Reference(count=3)
    device = enlisted(pair, reference)
    kept = keys_of(fleet, reference)
    status, body = reference.upload(pair[0], SECRET, critical_regions=regions)
    assert (status, body) == want if want != 400 else status == 400 and body["error"]
    wait_until(lambda: keys_of(fleet, reference) == kept, 3, "nothing half done")
    assert is_known(pair, device, reference)


def test_upper_case_digits_are_digits(pair):
    reference = Reference(count=3)
    device = enlisted(pair, reference)
    regions = [{"offset": i, "length": 16, "data_hex": data.hex().upper()} for i, data in enumerate(reference.data)]
    assert reference.upload(pair[0], SECRET, critical_regions=regions)[0] == 200
    assert is_known(pair, device, reference)


@pytest.mark.parametrize("count, length", [(4096, 512), (20000, 4), (20000, 1), (1, 2_000_000), (29, 70_000)])
def test_a_long_upload_is_kept_as_a_whole(fleet, pair, count, length):
    reference = Reference(count, length)
    body = filled(reference) if count == 4096 else compact(reference.fields()).encode()
    status, answer = ask(pair[0], "POST", PATH, body, bearer(SECRET))
    assert status == 200, answer
    assert answer["reference"]["critical_regions"] == [
        {"offset": i * length, "length": length} for i in range(len(reference.data))]
    device = uid("device")
    assert register(pair[1], KEY, device, platform=reference.platform)[0] == 200
    assert all(is_known(pair, device, reference) for _ in range(10))
    assert len(keys_of(fleet, reference)) == 2
    regions = next(key for key in keys_of(fleet, reference) if key.endswith(":regions"))
    assert fleet.redis.client.hlen(regions) == len(reference.data) >= min(count, 3800)
    assert [fleet.redis.client.ttl(key) for key in keys_of(fleet, reference)] == [-1, -1]


def test_more_than_4_mib_is_refused_before_it_is_sent(fleet, pair):
    reference = Reference(4096, 512)
    body = filled(reference, LONGEST + 1)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        assert raw(pair[0], "POST", PATH, body, bearer(SECRET))[0] == 413
    connection = connection_to(pair[0])
    connection.connect()
    connection.sock.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\n"
                            f"Content-Length: {LONGEST + 1}\r\n\r\n".encode())
    assert b" 413 " in read_until(connection.sock, b"\r\n\r\n")
    connection.close()
    assert get(pair[0], "/health")["status"] == "ok" and keys_of(fleet, reference) == []


def test_what_comes_after_the_content_length_is_not_of_the_body(fleet, pair):
    reference = Reference(count=3)
    body = compact(reference.fields()).encode()
    for length in (0, 1, len(body) - 1):
        headers = {**bearer(SECRET), "Content-Length": str(length)}
        connection = connection_to(pair[0])
        assert ask(pair[0], "POST", PATH, body, headers, connection=connection)[0] == 400
        connection.close()
    assert keys_of(fleet, reference) == []


@pytest.mark.parametrize("bad", [{**GOOD, "length": 3}, {"offset": 1}, 7], ids=str)
def test_a_bad_region_at_the_end_leaves_the_former_reference(fleet, pair, bad):
    old = Reference(count=3)
    device, new = enlisted(pair, old), Reference(count=3000, length=500, platform=old.platform)
    kept = keys_of(fleet, old)
    assert new.upload(pair[0], SECRET, critical_regions=[*new.fields()["critical_regions"], bad])[0] == 400
    wait_until(lambda: keys_of(fleet, old) == kept, 3, "nothing half done")
    assert is_known(pair, device, old)


def test_who_leaves_in_the_midst_of_an_upload_leaves_nothing(fleet, pair):
    old = Reference(count=3)
    device, new = enlisted(pair, old), Reference(count=3000, length=500, platform=old.platform)
    body, kept = compact(new.fields()).encode(), keys_of(fleet, old)
    for part in (1, len(body) // 2, len(body) - 1):
        connection = connection_to(pair[0])
        connection.putrequest("POST", PATH)
        for name, value in {**bearer(SECRET), "Content-Length": str(len(body))}.items():
            connection.putheader(name, value)
        connection.endheaders()
        connection.sock.sendall(body[:part])
        connection.close()
    assert is_known(pair, device, old)
    wait_until(lambda: keys_of(fleet, old) == kept, 3, "nothing half done")


def test_an_upload_that_redis_does_not_take_to_its_end_is_unavailable_and_ends(fleet, closing):
    """What was sent of it is given up by itself."""
    proxy = Proxy(fleet.redis.port)
    closing.callback(proxy.close)
    worker = Worker(proxy.url, **ENV)
    closing.callback(worker.stop)
    reference = Reference(count=3000, length=500)
    with proxy.holding("attest/keep"):
        status, headers, _ = raw(worker, "POST", PATH, compact(reference.fields()).encode(), bearer(SECRET))
        assert (status, headers["Retry-After"]) == (503, "1")
    half = keys_of(fleet, reference)
    assert all(0 < fleet.redis.client.ttl(key) <= 60 for key in half)
    wait_until(lambda: raw(worker, "GET", "/ready")[0] == 200, 8, "/ready")
    assert reference.upload(worker, SECRET)[0] == 200


def test_of_two_uploads_at_the_same_time_one_is_kept_as_a_whole(fleet, pair):
    rivals = [Reference(count=1500 + 100 * i, length=300) for i in range(2)]
    rivals[1].platform = rivals[0].platform
    device = enlisted(pair, rivals[0])
    for _ in range(4):
        got = [None, None]

        def upload(i):
            got[i] = rivals[i].upload(pair[i], SECRET)[0]

        threads = [threading.Thread(target=upload, args=(i,), daemon=True) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60 * SLOW)
        assert got == [200, 200]
        known = [is_known(pair, device, rival) for rival in rivals]
        assert sorted(known) == [False, True]
        regions = fleet.redis.client.hlen(next(key for key in keys_of(fleet, rivals[0]) if key.endswith(":regions")))
        assert regions == len(rivals[known.index(True)].data) and len(keys_of(fleet, rivals[0])) == 2


def test_others_do_not_wait_for_an_upload(start, connect):
    pair = start(MESSAGE_RATE=0, **ENV).workers
    client, done, uploads = connect(pair[0]), threading.Event(), []
    body = filled(Reference(4096, 512))

    def upload():
        connection = connection_to(pair[0])
        while not done.is_set():
            uploads.append(raw(pair[0], "POST", PATH, body, bearer(SECRET), connection=connection)[0])
        connection.close()

    thread, times = threading.Thread(target=upload, daemon=True), []
    thread.start()
    try:
        end = time.monotonic() + 3 * SLOW
        while time.monotonic() < end or len(uploads) < 5:
            watch = Stopwatch(pair[0])
            assert client.request("ping") == {"type": "pong"}
            times.append(watch.seconds())
            time.sleep(0.005)
    finally:
        done.set()
        thread.join(60 * SLOW)
    slow = sorted(times)[int(len(times) * 0.99)]
    assert set(uploads) == {200} and len(times) > 50
    assert slow < 0.05 * SLOW, f"p99 {slow * 1000:.1f} ms of {len(times)} pings in {len(uploads)} uploads"
    print(f"p99 {slow * 1000:.1f} ms, longest {max(times) * 1000:.1f} ms, {len(times)} pings, {len(uploads)} uploads")


def test_who_may_not_upload_fills_no_memory(one):
    head = b"POST /attest/upload-reference HTTP/1.1\r\nHost: h\r\nContent-Length: 4194304\r\n\r\n"
    before = psutil.Process(one.pid).memory_info().rss
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", one.port), timeout=30))
            client.sendall(head + b" " * 4194303)
            assert client.recv(12) == b"HTTP/1.1 401"
        assert psutil.Process(one.pid).memory_info().rss - before < (20 << 20)
