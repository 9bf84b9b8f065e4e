"""A registry imports on first use, helps with misspelt names, and takes lines of other packages."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from alignscope.errors import BadInput, UnknownName
from alignscope.registry import Registry, did_you_mean

THINGS = Registry("thing", {"ordered": "collections:OrderedDict", "fresh": "fresh_module_of_a_test:load"})


@pytest.fixture
def other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed distribution of somebody else with four entry points for things."""
    metadata = tmp_path / "other_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[alignscope.thing]\n"
        "borrowed = other_package:Things.make\n"
        "ordered = other_package:Things\n"
        "gone = other_package:nowhere\n"
        "broken = other_package.absent:load\n"
        "[alignscope.model]\n"
        "a-model = other_package:Things\n"
    )
    (tmp_path / "other_package.py").write_text(
        "class Things:\n    def make():\n        return 'made elsewhere'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("other_package", None)


def test_a_line_is_imported_on_first_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "fresh_module_of_a_test.py").write_text("def load():\n    return 5\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "fresh" in THINGS
    assert list(THINGS) == ["fresh", "ordered"]
    assert "fresh_module_of_a_test" not in sys.modules
    assert THINGS["fresh"]() == 5
    assert sys.modules.pop("fresh_module_of_a_test")


@pytest.mark.parametrize("name", ["orderd", "Ordered", "ORDERED", "ordred"])
def test_a_misspelt_name_gets_a_suggestion(name: str):
    with pytest.raises(UnknownName, match=f"^no thing named '{name}': did you mean 'ordered'\\?$") as caught:
        THINGS[name]
    assert isinstance(caught.value, BadInput)  # one message and exit code 1 on the command line


def test_a_strange_name_gets_the_whole_list():
    with pytest.raises(UnknownName, match=r"known: fresh, ordered$"):
        THINGS["xyzzy"]
    with pytest.raises(UnknownName, match=r"known: none$"):
        Registry("empty", {})["xyzzy"]
    assert did_you_mean("freesh", THINGS) == "did you mean 'fresh'?"


def test_the_table_is_a_copy():
    lines = {"pi": "math:pi"}
    numbers = Registry("number", lines)
    lines["e"] = "math:e"
    assert list(numbers) == ["pi"]


@pytest.mark.usefixtures("other_package")
def test_other_packages_add_lines_and_cannot_change_ours():
    assert list(THINGS) == ["borrowed", "broken", "fresh", "gone", "ordered"]
    assert THINGS["borrowed"]() == "made elsewhere"
    assert THINGS["ordered"].__module__ == "collections"
    assert "a-model" not in THINGS
    with pytest.raises(UnknownName, match="did you mean 'borrowed'"):
        THINGS["borowed"]


@pytest.mark.usefixtures("other_package")
def test_a_line_that_cannot_be_imported_says_which():
    with pytest.raises(AttributeError, match="nowhere") as gone:
        THINGS["gone"]
    assert gone.value.__notes__ == ["while importing the thing 'gone' from other_package:nowhere"]
    with pytest.raises(ModuleNotFoundError, match="absent") as broken:
        THINGS["broken"]
    assert broken.value.__notes__ == ["while importing the thing 'broken' from other_package.absent:load"]


def test_other_packages_are_gone_when_they_are_gone():
    assert "borrowed" not in THINGS


@pytest.mark.usefixtures("other_package")
def test_a_line_says_which_package_it_is_from():
    assert [THINGS.source(name) for name in THINGS] == [
        *["other-package 1.0"] * 2,
        "alignscope",
        "other-package 1.0",
        "alignscope",  # theirs of this name is not used
    ]
