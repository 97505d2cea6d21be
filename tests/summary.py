# SPDX-License-Identifier: MIT
"""Counts tests, and ends with the line "N passed, N failed, N skipped"; fails if one did. summary.py REPORT…: what
ctest --output-junit wrote of a suite. A test of ctest that leaves a report of its own beside that, NAME.xml, counts as
those that are in there, any other one as one test."""
import argparse
import collections
import sys
import xml.etree.ElementTree as xml
from pathlib import Path


def outcome(test):
    bad = [child for child in test if child.tag in ("failure", "error")]
    return "failed" if bad else "skipped" if test.find("skipped") is not None else "passed"


def inner(path):
    """The outcomes of what is in a program's own report; unit tests tell here what went wrong, pytest has told."""
    tests = list(xml.parse(path).iter("testcase"))
    for test in tests:
        if outcome(test) == "failed":
            print(f"{path.stem}: {test.get('name')}", "" if "classname" in test.attrib else test.findtext("failure"))
    return collections.Counter(map(outcome, tests))


def count(report, some):
    """The outcomes of one suite. some: only tests with certain names are asked for, of which it may have none."""
    total = collections.Counter()
    for program in xml.parse(report).iter("testcase"):
        name, ended_well = program.get("name"), program.get("status") == "run"
        own = report.with_name(f"{name}.xml")
        tests = inner(own) if own.exists() else collections.Counter({"passed": 1} if ended_well else {})
        if not ended_well and not tests["failed"] and (tests or not own.exists() or not some):
            print(f"{name}: it did not end well")  # a crash, a leak, or it could not begin
            tests["failed"] += 1
        total += tests
    return total


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("reports", nargs="*", type=Path)
    parser.add_argument("--some", action="store_true", help="only tests with certain names")
    parser.add_argument("--did-not-run", action="append", default=[], metavar="WHAT", help="counts as failed")
    parser.add_argument("--skipped", type=int, default=0)
    options, total = parser.parse_args(), collections.Counter()
    for report in options.reports:
        found = count(report, options.some) if report.exists() else collections.Counter()
        if not found and not options.some:
            options.did_not_run.append(report.stem)
        total += found
    if not total and not options.skipped and not options.did_not_run:
        options.did_not_run.append("any test")
    for what in options.did_not_run:
        print(f"did not run: {what}")
    failed = total["failed"] + len(options.did_not_run)
    print(f"{total['passed']} passed, {failed} failed, {total['skipped'] + options.skipped} skipped")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
