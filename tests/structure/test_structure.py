# SPDX-License-Identifier: MIT
"""What the house is built by, held: who may depend on whom, how long things are, what there is only one of.

How dependences are counted. A file of worker/ depends on another when it uses a function or a variable that the other
defines and a header of include/ declares; a macro counts as what it stands for. (That is what `nm` says of the object
files, but for recv(), send() and shutdown(): who calls those asks the C library, and need not know that
net/websocket_io.c stands before it.) A module is the files of a floor (core, redis, net, fleet) whose names begin with
the same word, as session, session_input and session_output; of a domain it is the folder. The array `domains` is left
out: by it, and by nothing else, the floors come to what is above them."""
import re
import statistics

import pytest

from sources import ROOT, circles, code, files, uses

FLOORS = ["core", "redis", "net", "fleet"]  # each may use those before it
LINES_MOST = 500
MEDIAN_UNDER = 12
BODY = re.compile(r"^\{\n(.*?)^\}", re.M | re.S)
PLACES = re.compile(r"^\s*static (?!(?:const )?(?:char \w|unsigned |u?int\w* |bool |long |struct sockaddr))"
                    r"[^=;{}]*\[\w*_(?:MAX|MOST)\b[^=;{}]*;|^\} \w+\[\w*_(?:MAX|MOST)\b[^=;{}]*;", re.M)
NO_PLACE = re.compile(r"\b(?:if|assert) ?\(\w+ (?:==|>=|<) \w+_(?:MAX|MOST)\)(?:\s*abort\(\))?;")
CITED = re.compile(r'docs/design\.md((?:,? (?:and )?"[^"]+")*)')
COMMENT_LINE = re.compile(r"\n[ \t]*(?:--|//|#|\*(?!/))?[ \t]*")
UNKNOWN = [f"{name}.md" for name in ("PROTOCOL", "DESIGN", "REDIS")]  # none of them is in this repository
SOURCES = files("worker/**/*.[ch]", "include/**/*.h", "redis-lua/**/*.lua", "bench/**/*.[ch]", "tests/**/*.[ch]")
TEXTS = SOURCES + files("tests/**/*.py", "bench/**/*.py", "cmake/*", "web/*", "CMakeLists.txt", "signalbox")


@pytest.fixture(scope="module")
def graph():
    return uses()


def rank(file):
    """A file may use what has none higher. The domains share theirs, and so do main, the supervisor and `domains`."""
    folder = folder_of(file)
    if folder in FLOORS:
        return FLOORS.index(folder)
    return len(FLOORS) + {"doctor": 1, "": 2}.get(folder, 0)


def folder_of(file):
    return file.rpartition("/")[0]


def module_of(file):
    folder = folder_of(file)
    return folder if folder and folder not in FLOORS else re.match(r"(?:\w+/)?[a-z]+", file)[0]


def without_domains(graph):
    return {file: {to: names for to, names in others.items() if to != "domains.c"} for file, others in graph.items()}


def test_all_that_is_asked_of_the_list_of_domains_is_the_list(graph):
    assert set().union(*(others.get("domains.c", set()) for others in graph.values())) == {"domains"}


def test_there_is_no_circle_but_within_a_module(graph):
    wide = [circle for circle in circles(without_domains(graph)) if len({module_of(file) for file in circle}) > 1]
    assert not wide


def test_there_is_no_circle_between_folders(graph):
    between = {folder_of(file): set() for file in graph}
    for file, others in without_domains(graph).items():
        between[folder_of(file)] |= {folder_of(to) for to in others} - {folder_of(file)}
    assert not circles(between)


def test_calls_go_down_the_floors(graph):
    up = [(file, to, names) for file, others in without_domains(graph).items() for to, names in others.items()
          if rank(to) > rank(file)]
    assert not up


def test_no_registry_takes_the_first_free_place_or_aborts():
    """An array of functions, pointers or structs that begins empty and has *_MAX places; a place behind the last."""
    found = [(path.name, match[0].strip()) for path in files("worker/**/*.[ch]") for rule in (PLACES, NO_PLACE)
             for match in rule.finditer(code(path))]
    assert not found


@pytest.mark.parametrize("command, place", [("PUBLISH", "publish.lua"), ("SPUBLISH", None), ("TIME", "now.lua")])
def test_one_script_alone_publishes_and_one_asks_for_the_time(command, place):
    call = re.compile(rf"""p?call\(\s*['"]{command}['"]""", re.I)
    assert [path.name for path in files("redis-lua/**/*.lua") if call.search(path.read_text())] == [place] * bool(place)


def test_one_file_of_the_worker_publishes():
    """The doctor, which looks what this user may do, names the command too."""
    sends = re.compile(r'SPAN\("S?PUBLISH"\)|"S?PUBLISH"')
    assert [path.name for path in files("worker/**/*.c") if sends.search(path.read_text())] == ["inbox.c"]


def test_no_source_is_too_long():
    lines = {path.relative_to(ROOT).as_posix(): path.read_text().count("\n") for path in SOURCES}
    assert not {path: count for path, count in lines.items() if count > LINES_MOST}


def test_functions_are_short():
    """Counted: the lines between a function's braces, each of which has its line for itself."""
    lengths = [body.count("\n") for path in files("worker/**/*.c") for body in BODY.findall(path.read_text())]
    assert len(lengths) > 1000
    assert statistics.median(lengths) < MEDIAN_UNDER


def test_what_is_cited_of_the_design_is_a_heading_there():
    cited = {(path.name, heading) for path in TEXTS
             for headings in CITED.findall(COMMENT_LINE.sub(" ", path.read_text()))
             for heading in re.findall(r'"([^"]+)"', headings)}
    if not cited:
        pytest.skip("nothing is cited")
    headings = set(re.findall(r"^#+ (.+)$", (ROOT / "docs" / "design.md").read_text(), re.M))
    assert not {citation for citation in cited if citation[1] not in headings}


def test_no_source_cites_what_is_not_in_the_repository():
    assert not {(path.name, name) for path in TEXTS if path.is_file() for name in UNKNOWN if name in path.read_text()}
