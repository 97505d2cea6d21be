# SPDX-License-Identifier: MIT
"""Who sends what costs most, leaves most behind, or would take what is another's takes nothing from others, and fills
neither Redis nor a worker. bench/hostile.py shows the same for longer, and what others notice meanwhile."""
import subprocess
import sys
import time

import psutil
import pytest

from harness import ASAN, DEFAULT_LIMITS, ROOT

sys.path.insert(0, str(ROOT / "bench"))

from hostile import BRAKE, EACH, FIXED, REDIS, REDIS_MAX  # noqa: E402
from spenders import SPENDERS  # noqa: E402
from victims import ENV, Victims  # noqa: E402


@pytest.mark.skipif(ASAN, reason="this build is so slow that nobody who sends to it attacks it")
@pytest.mark.parametrize("attack", SPENDERS)
def test_who_attacks_takes_nothing_from_others(start, attack):
    fleet = start(2, redis_options=REDIS, **DEFAULT_LIMITS, **ENV)
    victims, worker = Victims(fleet), psutil.Process(fleet.workers[0].pid)
    attacker = subprocess.Popen([sys.executable, ROOT / "bench" / "hostile.py", "--attack", attack,
                                 "--port", str(fleet.workers[0].port)], stdout=subprocess.PIPE, text=True)
    try:
        assert attacker.stdout.readline() == "ready\n"
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            assert fleet.redis.client.info("memory")["used_memory"] < BRAKE * REDIS_MAX
            assert worker.memory_info().rss < FIXED + EACH * worker.num_fds()
            time.sleep(0.05)
        assert victims.lost() == []
    finally:
        attacker.kill()
        attacker.communicate()
    assert victims.lost() == []
