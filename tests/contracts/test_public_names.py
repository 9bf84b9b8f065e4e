"""The public names are listed once, sorted, and each is what it says."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib.metadata import version

import pytest

import alignscope


def test_public_names_are_listed_and_sorted():
    assert len(alignscope.__all__) >= 3, "found too few: nothing was checked"
    assert list(alignscope.__all__) == sorted(set(alignscope.__all__), key=str.casefold)


def test_every_listed_name_is_there_and_says_what_for():
    for name in alignscope.__all__:
        thing = getattr(alignscope, name)
        if inspect.isroutine(thing) or inspect.isclass(thing):
            assert inspect.getdoc(thing), f"alignscope.{name} has no docstring"


def test_dir_lists_them_before_they_are_loaded():
    code = "import alignscope; assert set(alignscope.__all__) <= set(dir(alignscope)), dir(alignscope)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr


def test_nothing_of_ours_is_public_and_not_listed():
    ours = {
        name
        for name, thing in vars(alignscope).items()
        if not name.startswith("_") and str(getattr(thing, "__module__", "")).startswith("alignscope")
    }
    assert ours <= set(alignscope.__all__)


def test_a_star_import_gives_exactly_these():
    got: dict[str, object] = {}
    exec("from alignscope import *", got)
    assert set(got) - {"__builtins__"} == set(alignscope.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="audti"):
        alignscope.audti  # noqa: B018


def test_the_version_is_the_installed_one():
    assert alignscope.__version__ == version("alignscope")
