# SPDX-License-Identifier: MIT
"""Fixtures: the image, and what comes from the integration tests."""
import fcntl
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
import images  # noqa: E402


@pytest.fixture(scope="module")
def image():
    """The image of this repository, built. Those who use containers take turns: who has the turn removes what a killed
    run may have left."""
    if not os.environ.get("SIGNALBOX_CONTAINERS"):
        pytest.skip("what needs containers is tried by ./signalbox test deploy")
    images.STORE.mkdir(exist_ok=True)
    with open(images.STORE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            images.check()
        except images.Unavailable as e:
            pytest.skip(f"containers cannot be run: {e}")
        images.clear()
        try:
            images.build(images.IMAGE, VERSION="1.2.3", REVISION="0123abc")
            yield images.IMAGE
        finally:
            images.clear()
