# SPDX-License-Identifier: MIT
"""A package, so that its modules may have the names of those in tests/integration."""
