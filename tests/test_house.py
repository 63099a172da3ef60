"""Which room knows which: the drawing and the list in CONTRIBUTING.md are what the imports are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


def imports_of(path):
    """Give the rooms that a file imports, itself among them where it is a room of several files."""
    package = path.relative_to(ROOT / "noisyfit").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = list(package[: len(package) + 1 - node.level])
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from (".".join([*above, name]).partition(".")[0] for name in names)


def rooms_and_what_they_know():
    rooms = {}
    for path in (ROOT / "noisyfit").rglob("*.py"):
        room = path.relative_to(ROOT / "noisyfit").with_suffix("").parts[0]
        rooms.setdefault(room, set()).update(imports_of(path))
    doors = ("__init__", "__main__")
    return {room: known - {room, "__version__"} for room, known in rooms.items() if room not in doors}


def rooms_in(text):
    """Give what stands in backticks: ``classifier`` for `classifier.py`, ``review`` for `review/`."""
    return [name.removesuffix(".py").removesuffix("/") for name in re.findall(r"`([a-z_]+(?:\.py|/))`", text)]


def known_through(room, knows):
    """Everything that a room knows, directly or through others."""
    found, left = set(), [room]
    while left:
        for other in knows[left.pop()] - found:
            found.add(other)
            left.append(other)
    return found


def test_imports_point_down_the_list():
    lines = [rooms_in(line.split("|")[1]) for line in CONTRIBUTING.split("\n") if line.startswith("| `")]
    place = {room: number for number, line in enumerate(lines) for room in line}
    knows = rooms_and_what_they_know()
    assert sorted(place) == sorted(knows)
    for room, known in knows.items():
        assert all(place[other] >= place[room] for other in known), room


def test_the_drawing_is_what_the_imports_are():
    everywhere = set(rooms_in(re.search(r"Left out are (.*?)\n\n", CONTRIBUTING, re.S)[1]))
    knows = {room: known - everywhere for room, known in rooms_and_what_they_know().items() if room not in everywhere}
    assert not any(room in known_through(room, knows) for room in knows)
    arrows = {
        (room, other)
        for room, known in knows.items()
        for other in known
        if not any(other in known_through(between, knows) for between in known - {other})
    }
    drawing = re.search(r"```mermaid\n(.*?)```", CONTRIBUTING, re.S)[1]
    drawn = {
        (room, other)
        for room, others in re.findall(r"^ +(\w+) --> ([\w &]+)$", drawing, re.M)
        for other in others.split(" & ")
    }
    assert drawn == arrows
    assert set(knows) - {room for arrow in arrows for room in arrow} == set(re.findall(r"^ +(\w+)$", drawing, re.M))
