from pathlib import Path

import pytest

from alignscope.errors import BadRecipe, UnknownName
from alignscope.training import recipe

RECIPES = Path(__file__).parents[2] / "recipes"


def test_every_recipe_of_the_project_reads():
    found = sorted(RECIPES.glob("*.toml"))
    assert found, "no recipes: nothing was checked"
    for path in found:
        assert recipe.read(path).name == path.stem


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("check_every", "chek_every", "unknown entry 'chek_every': did you mean 'check_every'"),
        ("seed = 0\nthreads", "threads", "missing seed"),
        ("threads = ", 'threads = "two" #', "threads: got 'two', wanted int"),
        ('trains = "both"', 'trains = "all"', "got 'all', wanted one of 'both'"),
        ("batch = 128", "batch = 91280", "impossible batch 91280"),
        ("grouped = ", "grouped = 7 #", "grouped 7"),
        ('name = "tiny-clip"', "name = ", "not TOML"),
    ],
)
def test_a_wrong_recipe_is_told_what_is_wrong(tmp_path, before, after, message):
    text = (RECIPES / "tiny-clip.toml").read_text()
    assert before in text
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(text.replace(before, after, 1))
    with pytest.raises(BadRecipe, match=message):
        recipe.read(wrong)


def test_recipes_are_found_by_path_and_by_name(monkeypatch):
    monkeypatch.chdir(RECIPES.parent)
    assert recipe.find("recipes/tiny-clip.toml") == Path("recipes/tiny-clip.toml")
    assert recipe.find("tiny-clip") == Path("recipes/tiny-clip.toml")
    with pytest.raises(UnknownName, match="did you mean 'tiny-clip'"):
        recipe.find("recipes/tiny-clp.toml")


def test_the_hash_follows_every_number():
    read = recipe.read(RECIPES / "tiny-clip.toml")
    from dataclasses import replace

    assert read.sha == recipe.read(RECIPES / "tiny-clip.toml").sha
    assert read.sha != replace(read, seed=read.seed + 1).sha
