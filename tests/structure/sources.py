# SPDX-License-Identifier: MIT
"""Reads C without a compiler: which functions and variables a file defines, and which it uses."""
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOT_CODE = re.compile(r"""/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S)
FUNCTION = re.compile(r"^(static )?(?!__attribute__|#)(?:\w[^\n;={]*?)?\b(\w+)\([^;{]*\)\n\{", re.M)
VARIABLE = re.compile(r"^(static )?(?!extern\b|typedef\b|#)\w[\w *]*?\b(\w+)(?:\[\w*\])? = ", re.M)
MACRO = re.compile(r"^#define (\w+)((?:.*\\\n)*.*)", re.M)
INLINE = re.compile(r"^static inline [^\n;]*?\b(\w+)\([^;{]*\)\n\{(.*?)^\}", re.M | re.S)
WORD = re.compile(r"(?<![.>\w])[A-Za-z_]\w*")


def files(*patterns):
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


def code(path):
    """Without its comments, and with every text and character empty."""
    return NOT_CODE.sub(lambda m: " " if m[0].startswith("/*") else m[0][0] * 2, path.read_text())


def words(text):
    return set(WORD.findall(text))


def declared():
    """The words of the headers, and what the macros and the inline functions there stand for."""
    known, stands_for = set(), {}
    for path in files("include/**/*.h"):
        text = code(path)
        known |= words(text)
        stands_for |= {name: words(body) for name, body in MACRO.findall(text) + INLINE.findall(text)}
    return known, stands_for


def spelled_out(used, stands_for):
    """With what the macros among them stand for, and the macros in those."""
    todo = list(used)
    while todo:
        more = stands_for.get(todo.pop(), set()) - used
        used |= more
        todo += more
    return used


def uses():
    """{file: {file that it depends on: the names that it uses of it}}, of worker/."""
    known, stands_for = declared()
    texts = {path.relative_to(ROOT / "worker").as_posix(): code(path) for path in files("worker/**/*.c")}
    own = {file: dict(map(reversed, FUNCTION.findall(text) + VARIABLE.findall(text))) for file, text in texts.items()}
    home = {name: file for file in own for name, static in own[file].items() if name in known and not static}
    graph = {}
    for file, text in texts.items():
        graph[file] = {}
        for name in spelled_out(words(text), stands_for) & home.keys() - own[file].keys():
            graph[file].setdefault(home[name], set()).add(name)
    return graph


def circles(graph):
    """The largest sets, of more than one, each of whose members leads to all others."""
    reach = {}
    for start in graph:
        seen, todo = set(), [start]
        while todo:
            for to in graph[todo.pop()]:
                if to not in seen:
                    seen.add(to)
                    todo.append(to)
        reach[start] = seen
    found = {frozenset(b for b in reach[a] if a in reach[b]) for a in graph if a in reach[a]}
    return sorted(sorted(circle) for circle in found if len(circle) > 1)
