"""The source keeps the house's habits; each check is shown to catch an offender."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "alignscope"
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
ROOMS_NOT_KEPT = {"utils", "util", "common", "core", "helpers", "helper", "misc"}

Found = Iterator[tuple[int, str]]  # line, what is wrong there
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def long_file(path: Path, tree: ast.Module, text: str) -> Found:
    lines = len(text.splitlines())
    if lines > LONGEST_FILE:
        yield lines, f"{lines} lines: what here wants a room of its own?"


def long_function(path: Path, tree: ast.Module, text: str) -> Found:
    """The parameters of a command are its options, so of those the body counts."""
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode) and node.end_lineno is not None:
            first = node.body[0].lineno if "cli" in path.parts else node.lineno
            lines = node.end_lineno - first + 1
            if lines > LONGEST_FUNCTION:
                yield node.lineno, f"{node.name} has {lines} lines"


def missing_docstring(path: Path, tree: ast.Module, text: str) -> Found:
    if tree.body and ast.get_docstring(tree) is None:
        yield 1, "the module does not say what for"
    for node in tree.body:
        is_public = isinstance(node, FunctionNode | ast.ClassDef) and not node.name.startswith("_")
        if is_public and ast.get_docstring(node) is None:
            yield node.lineno, f"{node.name} does not say what for"


def printing(path: Path, tree: ast.Module, text: str) -> Found:
    if "cli" in path.parts:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield node.lineno, "print: only the command line speaks to people"


def room_for_anything(path: Path, tree: ast.Module, text: str) -> Found:
    for part in {*path.parent.parts, path.stem} & ROOMS_NOT_KEPT:
        yield 1, f"{part!r} says nothing about what is inside"


def bare_except(path: Path, tree: ast.Module, text: str) -> Found:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield node.lineno, "a bare except: a typo becomes another experiment"


Rule = Callable[[Path, ast.Module, str], Found]
EVERYWHERE: tuple[Rule, ...] = (long_file, long_function, bare_except)
PACKAGE_ONLY: tuple[Rule, ...] = (missing_docstring, printing, room_for_anything)


def offences(rule: Rule, paths: list[Path], root: Path) -> list[str]:
    """What a rule finds in Python files, as "file:line: what"; rules see paths below `root`."""
    found = []
    for path in paths:
        text, inside = path.read_text(encoding="utf-8"), path.relative_to(root)
        found += [f"{inside}:{line}: {what}" for line, what in rule(inside, ast.parse(text), text)]
    return found


@pytest.mark.parametrize("rule", EVERYWHERE, ids=lambda rule: rule.__name__)
def test_nothing_in_the_checkout_has_a(rule: Rule):
    paths = [
        path
        for part in ("src", "tests", "tools", "benchmarks")
        for path in sorted((ROOT / part).rglob("*.py"))
    ]
    assert len(paths) >= 20, "found too few: nothing was checked"
    assert offences(rule, paths, ROOT) == []


@pytest.mark.parametrize("rule", PACKAGE_ONLY, ids=lambda rule: rule.__name__)
def test_nothing_in_the_package_has_a(rule: Rule):
    paths = sorted(SRC.rglob("*.py"))
    assert len(paths) >= 15, "found too few: nothing was checked"
    assert offences(rule, paths, SRC) == []


LINE = "    x = 1\n"
OFFENDERS: dict[str, tuple[Rule, str, str]] = {
    "file": (long_file, "long.py", "x = 1\n" * 401),
    "function": (long_function, "long.py", "def f():\n" + LINE * 60),
    "method": (long_function, "long.py", "class A:\n  async def f(self):\n" + LINE * 60),
    "module": (missing_docstring, "a.py", "x = 1\n"),
    "public function": (missing_docstring, "a.py", '"""Why."""\ndef f(): pass\n'),
    "public class": (missing_docstring, "a.py", '"""Why."""\nclass A: pass\n'),
    "print": (printing, "data/a.py", "def f():\n    print(1)\n"),
    "room": (room_for_anything, "utils/a.py", "x = 1\n"),
    "room of one file": (room_for_anything, "data/helpers.py", "x = 1\n"),
    "except": (bare_except, "a.py", "try:\n    f()\nexcept:\n    pass\n"),
}

KEEPERS: dict[str, tuple[Rule, str, str]] = {
    "file": (long_file, "short.py", "x = 1\n" * 400),
    "function": (long_function, "short.py", "def f():\n" + LINE * 59),
    "nothing": (missing_docstring, "__init__.py", ""),
    "private": (missing_docstring, "a.py", '"""Why."""\ndef _f(): pass\n'),
    "print of the command line": (printing, "cli/a.py", "print(1)\n"),
    "print in an example": (printing, "data/a.py", 'def f():\n    """>>> print(1)"""\n'),
    "room": (room_for_anything, "data/scores.py", "x = 1\n"),
    "except": (bare_except, "a.py", "try:\n    f()\nexcept OSError:\n    pass\n"),
}


@pytest.mark.parametrize(("rule", "name", "text"), OFFENDERS.values(), ids=OFFENDERS)
def test_a_rule_catches_an_offender(rule: Rule, name: str, text: str, tmp_path: Path):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    (found,) = offences(rule, [tmp_path / name], tmp_path)
    assert found.startswith(f"{name}:")


@pytest.mark.parametrize(("rule", "name", "text"), KEEPERS.values(), ids=KEEPERS)
def test_a_rule_lets_others_pass(rule: Rule, name: str, text: str, tmp_path: Path):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    assert offences(rule, [tmp_path / name], tmp_path) == []


def test_every_rule_has_an_offender_and_a_keeper():
    rules = set(EVERYWHERE + PACKAGE_ONLY)
    assert {rule for rule, _, _ in OFFENDERS.values()} == rules
    assert {rule for rule, _, _ in KEEPERS.values()} == rules
