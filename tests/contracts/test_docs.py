"""What README and docs say works: Python is run, commands are parsed, files that are named are there.

Python blocks of one page are run one after another in one namespace and one empty folder, as a reader would. A block
that begins with `# not run: why` is skipped and counted; one that includes a file of docs/examples is tested by
test_examples.py.
"""

from __future__ import annotations

import inspect
import json
import re
import shlex
import subprocess
import sys
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

import alignscope
from alignscope.cli import app

ROOT = Path(__file__).parents[2]
GENERATED = {"cli.md", "speed.md"}  # compared with what generates them elsewhere
PAGES = [ROOT / "README.md", *(p for p in sorted((ROOT / "docs").rglob("*.md")) if p.name not in GENERATED)]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INCLUDED = re.compile(r'^--8<-- "(examples/[^"]+)"$')
NOT_RUN = re.compile(r"# not run: \S")
PROGRAM = typer.main.get_command(app)


class Block(NamedTuple):
    """A fenced block: where, in what language, and its text."""

    page: str
    line: int
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    name = str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name
    return [Block(name, text.count("\n", 0, m.start()) + 1, m[1], m[2]) for m in FENCE.finditer(text)]


def is_included(block: Block) -> bool:
    """Whether a block is nothing but a file of docs/examples, which is then there."""
    found = INCLUDED.match(block.text.strip())
    return found is not None and (ROOT / "docs" / found[1]).is_file()


def commands(text: str) -> Iterator[list[str]]:
    """The words after `alignscope` of each command of a shell block, also behind torchrun."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["alignscope"] or (words[:1] == ["torchrun"] and "alignscope" in words):
            yield words[words.index("alignscope") + 1 :]


def choices(command: Any) -> dict[str, tuple[str, ...]]:
    """The values that options of a command may have, where they are a few words."""
    hints = typing.get_type_hints(inspect.unwrap(command.callback))
    kinds = {name: [hint, *typing.get_args(hint)] for name, hint in hints.items()}
    literal = {
        name: [k for k in each if typing.get_origin(k) is typing.Literal] for name, each in kinds.items()
    }
    return {name: typing.get_args(found[0]) for name, found in literal.items() if found}


def fault(words: list[str], *, is_whole: bool = True) -> str:
    """What is wrong with a command, "" if nothing: its verb, an option, a value, something that must be given."""
    command, path = PROGRAM, ["alignscope"]
    while hasattr(command, "commands"):
        if not words and not is_whole:
            return ""
        name, *words = words or [""]
        if name not in command.commands:
            return f"`{' '.join(path)}` has no verb {name!r}"
        command, path = command.commands[name], [*path, name]
    context = command.context_class(command, info_name=" ".join(path))
    try:
        given, left, _ = command.make_parser(context).parse_args(list(words))
    except Exception as error:  # click's own, which typer keeps to itself
        return f"`{' '.join([*path, *words])}`: {getattr(error, 'message', error)}"
    for name, known in choices(command).items():
        values = given.get(name) or []
        for value in values if isinstance(values, list | tuple) else [values]:
            if value not in known:
                return f"`{' '.join([*path, *words])}`: {value!r} is none of {', '.join(known)}"
    missing = [p.name for p in command.params if p.required and given.get(p.name) in (None, (), [])]
    if left or (is_whole and missing):
        return f"`{' '.join([*path, *words])}`: {f'too much: {left}' if left else f'needs {missing}'}"
    return ""


PYTHON = {page: [b for b in blocks(page) if b.language == "python"] for page in PAGES}


@pytest.mark.parametrize(
    "page", [p for p in PAGES if PYTHON[p]], ids=lambda page: str(page.relative_to(ROOT))
)
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    for block in PYTHON[page]:
        if is_included(block) or NOT_RUN.match(block.text):
            continue
        code = "\n" * block.line + block.text  # so that an error names the page's line
        exec(compile(code, str(page), "exec"), names)


def test_what_is_not_run_is_counted(record_property, capsys: pytest.CaptureFixture[str]):
    every = [block for page in PAGES for block in PYTHON[page]]
    skipped = [f"{b.page}:{b.line} {b.text.splitlines()[0]}" for b in every if NOT_RUN.match(b.text)]
    included = [block for block in every if is_included(block)]
    record_property("python blocks not run", len(skipped))
    with capsys.disabled():
        sys.stdout.write(
            f"\npython blocks: {len(every)}, of which {len(included)} are tested as files, not run: {len(skipped)}\n"
            + "".join(f"  {each}\n" for each in skipped)
        )
    assert len(every) >= 10, "found too few: nothing was checked"
    assert len(skipped) <= len(every) // 4


def test_commands_exist():
    shell = [b for page in PAGES for b in blocks(page) if b.language in ("", "sh", "bash", "console")]
    told = [(f"{b.page}:{b.line}", words) for b in shell for words in commands(b.text)]
    assert len(told) >= 60, "found too few: nothing was checked"
    assert [f"{where} {wrong}" for where, words in told if (wrong := fault(words))] == []


def test_commands_in_sentences_exist():
    faults, count = [], 0
    for page in PAGES:
        prose = FENCE.sub("", page.read_text(encoding="utf-8"))
        for said in re.findall(r"`alignscope ([a-z][^`]*)`", prose):
            count += 1
            wrong = fault(shlex.split(said.replace("\n", " ")), is_whole=False)
            faults += [f"{page.name}: {wrong}"] * bool(wrong)
    assert count >= 10, "found too few: nothing was checked"
    assert faults == []


def test_recipes_and_studies_that_are_named_are_there(monkeypatch: pytest.MonkeyPatch):
    from alignscope.training.reading import find

    monkeypatch.chdir(ROOT)
    count = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for path in set(re.findall(r"\brecipes/[\w/-]+\.toml", text)):
            assert (ROOT / path).is_file(), f"{page.name} names {path}"
            count += 1
        for name in set(re.findall(r"alignscope train (paper-[abc]/[\w-]+)", text)):
            assert find(name).is_file()
            count += 1
    assert count >= 5, "found too few: nothing was checked"


def test_links_lead_somewhere():
    count = 0
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not link.startswith(("http:", "https:")):
                assert (page.parent / link).exists(), f"{page.name} links {link}"
                count += 1
    assert count >= 40, "found too few: nothing was checked"


def test_tables_of_toml_and_json_read():
    count = 0
    for block in (block for page in PAGES for block in blocks(page)):
        if block.language == "toml" and not is_included(block):
            tomllib.loads(block.text)
        elif block.language == "json":
            assert [json.loads(line) for line in block.text.splitlines()]
        else:
            continue
        count += 1
    assert count >= 3, "found too few: nothing was checked"


def test_the_reference_has_every_public_name():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    told = re.findall(r"^::: (\S+)\n    options: \{ heading: alignscope\.(\w+),", page, re.MULTILINE)
    assert {name: where for where, name in told} == {
        name: where.replace(":", ".") for name, where in alignscope._PUBLIC.items()
    }


OFFENDERS = {
    "verb": (["audti", "tiny-clip"], "no verb 'audti'"),
    "verb below": (["probe", "text", "a"], "no verb 'text'"),
    "option": (["audit", "tiny-clip", "--sizes", "3"], "--sizes"),
    "value of an option": (["audit", "tiny-clip", "--size"], "--size"),
    "choice": (["audit", "tiny-clip", "--scoring", "maybe"], "maybe"),
    "argument": (["audit"], "needs ['model']"),
    "required option": (["inspect", "tiny-clip", "--image", "1.jpg"], "needs ['caption']"),
    "too many": (["audit", "tiny-clip", "other"], "too much: ['other']"),
}


@pytest.mark.parametrize(("words", "said"), OFFENDERS.values(), ids=OFFENDERS)
def test_a_wrong_command_is_caught(words: list[str], said: str):
    assert said in fault(words)


def test_blocks_and_commands_worked_by_hand(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(
        "a\n```python\nx = 1\n```\n\n```\nalignscope audit m \\\n  --size 3  # why\nls\n```\n`alignscope no`\n"
    )
    python, shell = blocks(page)
    assert (python.line, python.language, python.text) == (2, "python", "x = 1\n")
    assert list(commands(shell.text)) == [["audit", "m", "--size", "3"]]
    assert list(commands("torchrun --nnodes 2 --no-python alignscope train a.toml")) == [["train", "a.toml"]]
    assert is_included(Block("p", 1, "python", '--8<-- "examples/pyproject.toml"\n'))
    assert not is_included(Block("p", 1, "python", '--8<-- "examples/absent.toml"\n'))
    assert fault(["audit", "m", "--size", "3", "--scoring", "yes"]) == ""


def test_the_site_is_built_strictly_and_asks_for_nothing_outside(tmp_path: Path):
    pytest.importorskip("mkdocs", reason="the extra alignscope[docs] is not installed")
    pytest.importorskip("mkdocstrings")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--site-dir",
        str(tmp_path / "site"),
    ]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) >= 15
    outside = re.compile(
        r"""<(?:script|img|iframe)[^>]*\ssrc=["']?https?:|<link[^>]*rel=["']?stylesheet[^>]*https?:"""
    )
    assert [page.name for page in pages if outside.search(page.read_text(encoding="utf-8"))] == []
    assert not list((tmp_path / "site").rglob("__pycache__"))
