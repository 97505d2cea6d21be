# SPDX-License-Identifier: MIT
"""These tests stand on the harness of the integration tests."""
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "integration"))
