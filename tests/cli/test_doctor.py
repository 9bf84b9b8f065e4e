"""`alignscope doctor`: what it says of a sound installation, and that it sees and survives what is broken."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

from alignscope.cli import app
from alignscope.cli.doctor import WIDTH, told
from alignscope.models.catalogue import PRETRAINED
from alignscope.models.pretrained import tiny_clip
from alignscope.models.zoo import CAPTIONERS, MODELS
from alignscope.records.health import HealthCheck
from alignscope.studies import health

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def doctor(**environment: str) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, checks and stderr of a doctor in a process of its own."""
    code = "from alignscope.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "doctor", "--json"],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
    )
    found = json.loads(done.stdout)
    assert found["works"] == (done.returncode == 0)
    return done.returncode, found["checks"], done.stderr


def of(checks: list[HealthCheck], subject: str) -> HealthCheck:
    (found,) = [check for check in checks if check.subject == subject]
    return found


def test_a_sound_installation_is_told_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ALIGNSCOPE_CACHE", str(tmp_path))
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    for subject in (*health.LIBRARIES, *health.EXTRAS, "CPU", "CUDA", "Java", "SPICE", *MODELS, *CAPTIONERS):
        assert [line for line in lines if line.split()[1:2] == [subject]], subject
    assert "0 broken, " in done.stdout
    assert f"{tmp_path} can be written" in done.stdout
    assert not any(tmp_path.iterdir())  # it leaves nothing behind


def test_its_tables_are_those_of_the_project() -> None:
    assert {*health.LIBRARIES} == {Requirement(line).name for line in PROJECT["dependencies"]}
    extras = PROJECT["optional-dependencies"]
    assert {*health.EXTRAS} == {*extras} - {"dev"}
    for name, extra in health.EXTRAS.items():
        named = {each for package in extra.packages for each in package.split("|")}
        assert {Requirement(line).name for line in extras[name]} <= named, name


def test_the_shipped_models_are_all_known() -> None:
    known = json.loads((PRETRAINED / health.FINGERPRINTS).read_text())
    directories = {path.parent.name for path in PRETRAINED.glob("*/model.safetensors")}
    assert {*known} == directories
    for name in directories:  # after a training on purpose: write what is found here into the file
        assert health.fingerprint_of_files(PRETRAINED / name) == known[name], name


def test_a_fingerprint_is_of_names_and_contents_but_the_story(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes(b"two")
    (tmp_path / "a.txt").write_bytes(b"one\n")
    worked = hashlib.sha256(b"a.txt 4\none\nb.txt 3\ntwo").hexdigest()
    assert health.fingerprint_of_files(tmp_path) == worked
    (tmp_path / "training.json").write_text("{}")
    assert health.fingerprint_of_files(tmp_path) == worked
    (tmp_path / "b.txt").write_bytes(b"too")
    assert health.fingerprint_of_files(tmp_path) != worked


def test_a_changed_model_is_broken(tmp_path: Path) -> None:
    wanted = health.fingerprint_of_files(PRETRAINED / "tiny-clip")
    sound = health.shipped_model("tiny-clip", PRETRAINED / "tiny-clip", wanted, tiny_clip)
    assert sound.state == "works"
    assert f"weights:{tiny_clip().fingerprint[:12]}" in sound.found  # as signatures print it
    changed = tmp_path / "tiny-clip"
    shutil.copytree(PRETRAINED / "tiny-clip", changed)
    weights = bytearray((changed / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (changed / "model.safetensors").write_bytes(weights)
    found = health.shipped_model("tiny-clip", changed, wanted, tiny_clip)
    assert found.state == "broken"
    assert "not those shipped" in found.found
    gone = health.shipped_model("tiny-clip", tmp_path / "none", wanted, tiny_clip)
    assert (gone.state, gone.found.split(":")[0]) == ("broken", "FileNotFoundError")

    def refused() -> None:
        raise ValueError("no\nheader")

    closed = health.shipped_model("tiny-clip", PRETRAINED / "tiny-clip", wanted, refused)
    assert (closed.state, closed.found) == ("broken", "ValueError: no header")


def test_a_broken_torch_is_told_with_all_that_hangs_on_it(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise OSError('libgomp.so.1: cannot open')")
    (tmp_path / "file").write_text("")
    code, checks, said = doctor(PYTHONPATH=str(tmp_path), ALIGNSCOPE_CACHE=str(tmp_path / "file" / "cache"))
    assert code == 1
    state = {check["subject"]: check["state"] for check in checks}
    found = {check["subject"]: check["found"] for check in checks}
    assert found["torch"] == "OSError: libgomp.so.1: cannot open"
    assert {subject for subject in ("numpy", "Python", "rich") if state[subject] != "works"} == set()
    assert {state[name] for name in (*MODELS, *CAPTIONERS)} == {"broken"}
    assert state["word classes"] == "broken"
    assert found["word classes"] == f"{tmp_path / 'file'} cannot be written (Not a directory)"
    assert "Traceback" not in said


def test_what_is_missing_or_old_says_the_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_wanted", lambda: {"numpy": "numpy>=99", "einops": "einops>=0.1"})
    monkeypatch.setattr(health, "LIBRARIES", {"numpy": "numpy", "einops": "einops", "no-such-thing": "x"})
    checks = list(health.versions())
    assert of(checks, "einops").state == "works"
    old, missing = of(checks, "numpy"), of(checks, "no-such-thing")
    assert (old.state, old.remedy) == ("broken", "pip install 'numpy>=99'")
    assert old.found.endswith(", wanted >=99")
    assert (missing.state, missing.found) == ("broken", "not installed")
    table = {
        "some": health.Extra("wings", {"einops": "einops", "no-such-thing|nor-this": "x"}),
        "sick": health.Extra("legs", {"einops": "einops.no_such_module"}),
        "well": health.Extra("eyes", {"no-such-thing|einops": "einops"}),
    }
    monkeypatch.setattr(health, "EXTRAS", table)
    some, sick, well = health.extras()
    assert (some.state, some.found, some.remedy) == (
        "absent",
        "no nor-this",
        "pip install 'alignscope[some]'",
    )
    assert (sick.state, sick.gives) == ("broken", "legs")
    assert sick.found.startswith("ModuleNotFoundError: ")
    assert (well.state, well.found.split()[0]) == ("works", "einops")
    text = list(told([*checks, some, sick, well]))
    assert "\n3 broken, 1 absent of 8; what cannot work:" in text
    assert "  some (absent): wings. Why: no nor-this. Do: pip install 'alignscope[some]'" in text
    assert all(len(line) <= WIDTH for line in text if ": " in line)


@pytest.mark.skipif(os.name == "nt", reason="a script stands for java")
def test_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    absent = of(list(health.java()), "Java")
    assert (absent.state, absent.found) == ("absent", "no `java` on the PATH: install a Java runtime")
    java = tmp_path / "java"
    for script, state, found in (
        ("echo 'openjdk version \"99\"' >&2; echo more >&2", "works", 'openjdk version "99"'),
        ("echo 'no memory' >&2; exit 3", "broken", f"`{java}` ended with code 3: no memory"),
    ):
        java.write_text(f"#!/bin/sh\n{script}\n")
        java.chmod(0o755)
        check = of(list(health.java()), "Java")
        assert (check.state, check.found) == (state, found)


def test_jars_of_spice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from alignscope.evaluation import java
    from alignscope.evaluation.caption_metrics import CORENLP

    monkeypatch.setattr(java, "jars", lambda: tmp_path)
    library = tmp_path / "spice" / "lib"
    library.mkdir(parents=True)
    (library / CORENLP[0]).touch()
    check = of(list(health.java()), "SPICE")
    assert (check.state, check.found) == ("absent", f"no {CORENLP[1]}")
    assert str(library) in check.remedy
    (library / CORENLP[1]).touch()
    assert of(list(health.java()), "SPICE").state == "works"


@pytest.mark.parametrize(("is_offline", "word"), [(True, "offline (HF_HUB_OFFLINE)"), (False, "online: ")])
def test_the_hub(is_offline: bool, word: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    (tmp_path / "file").touch()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", is_offline)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    first, *rest = health.hub()
    assert first.found.startswith(word)
    assert str(tmp_path / "file" / "hub") in first.found
    assert [check.state for check in rest] == ([] if is_offline else ["absent"])


def test_one_part_that_fails_does_not_end_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def versions() -> list[HealthCheck]:
        raise RuntimeError("a\nb")

    monkeypatch.setattr(health, "versions", versions)
    for name in ("extras", "devices", "java", "models", "hub"):
        monkeypatch.setattr(health, name, lambda: [])
    first, last = health.health()
    assert (first.group, first.state, first.found) == ("versions", "broken", "RuntimeError: a b")
    assert last.group == "caches"
