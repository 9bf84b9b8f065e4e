"""Recipes by name: those that come with alignscope from any directory, the user's own before them."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignscope.errors import UnknownName
from alignscope.training.reading import find, shipped

RECIPES = Path(__file__).parents[2] / "recipes"


def test_recipes_of_alignscope_are_found_from_anywhere_and_own_ones_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped() == RECIPES
    for name in ("paper-b/ft", "recipes/paper-b/ft.toml", "paper-b/ft.toml"):
        assert find(name) == RECIPES / "paper-b" / "ft.toml"
    own = tmp_path / "recipes" / "paper-b" / "ft.toml"
    own.parent.mkdir(parents=True)
    own.touch()
    assert find("paper-b/ft") == Path("recipes/paper-b/ft.toml")
    assert find("paper-b/cae-gradcam") == RECIPES / "paper-b" / "cae-gradcam.toml"
    assert (
        find("quick/scenes", kind="study", within="studies") == RECIPES / "studies" / "quick" / "scenes.toml"
    )
    for name in ("studies/quick/scenes", "recipes/studies/quick/scenes.toml"):
        assert find(name, kind="study", within="studies").stem == "scenes"
    with pytest.raises(UnknownName, match=r"no study 'scens', neither .* did you mean 'scenes'"):
        find("scens", kind="study", within="studies")
