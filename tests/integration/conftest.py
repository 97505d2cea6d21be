# SPDX-License-Identifier: MIT
"""Fixtures: a fleet of two workers shared by a module, fleets and clients of a test's own. All end with their test."""
import contextlib
import random
import resource
import signal

import pytest

from front import Caller, Member
from clients import Client, Puppet
from harness import SLOW, Fleet, Worker


def shares(item):
    """Whether it uses what others of its module use, too."""
    return any(found[-1].scope == "module" for found in item._fixtureinfo.name2fixturedefs.values())


def pytest_collection_modifyitems(items):
    """Tests with a fleet of their own take long: they come first and mixed, so that none of the processes that run
    them is left with many at the end. The others stay together with those that share their fleet."""
    own = [item for item in items if not shares(item)]
    shared = [item for item in items if shares(item)]
    random.Random(0).shuffle(own)
    items[:] = own + shared


@pytest.fixture(autouse=True)
def deadline():
    """No test hangs: past its time it fails where it stands."""
    def ring(*_):
        raise TimeoutError("the test took too long")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(180 * SLOW)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def fleet():
    with Fleet(IP_CONNECT_RATE=0) as fleet:
        yield fleet


@pytest.fixture
def many_descriptors():
    """For 10,000 sockets."""
    need = 10_500
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < need:
        pytest.skip(f"needs {need} file descriptors, RLIMIT_NOFILE allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, need), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def closing():
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def launch(closing):
    """Starts a worker on that Redis."""
    def launch(url, **options):
        worker = Worker(url, IP_CONNECT_RATE=0, MESSAGE_RATE=0, COST_RATE=0, **options)
        closing.callback(worker.stop)
        return worker

    return launch


@pytest.fixture
def start(closing):
    return lambda *args, **env: closing.enter_context(Fleet(*args, **env))


def opener(closing, kind):
    def open_one(*args, **kwargs):
        client = kind(*args, **kwargs)
        closing.callback(client.drop)
        return client

    return open_one


@pytest.fixture
def connect(closing):
    return opener(closing, Client)


@pytest.fixture
def join(closing):
    """A member of the pool."""
    return opener(closing, Member)


@pytest.fixture
def caller(closing):
    """A client of the pool."""
    return opener(closing, Caller)


@pytest.fixture
def puppet(closing):
    def puppet(*args, **kwargs):
        puppet = Puppet(*args, **kwargs)
        closing.callback(puppet.close)
        return puppet

    return puppet
