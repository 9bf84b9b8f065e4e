"""What a user has, named once: filled into studies, and what is not there leaves out what cannot do without."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from alignscope.errors import BadRecipe
from alignscope.studies.reproducing.everything import VERBS, plans_of, toml_of
from alignscope.studies.reproducing.named import FOLDERS, MODEL_NAMES, Named, filled, read_named, without

STUDIES = Path(__file__).parents[2] / "recipes" / "studies"


def named(tmp_path: Path, text: str) -> Named:
    path = tmp_path / "own.toml"
    path.write_text(text)
    return read_named(path)


def test_the_example_names_every_entry_and_says_what_it_is() -> None:
    text = (STUDIES / "real.toml").read_text()
    lines = re.findall(r'^(\w+) = "[^"]+"  # (.+)$', text, re.MULTILINE)
    assert dict(lines) == {**FOLDERS, **MODEL_NAMES}
    assert len(lines) == len(FOLDERS) + len(MODEL_NAMES)
    tables = tomllib.loads(text)
    assert (set(tables["folders"]), set(tables["models"])) == ({*FOLDERS}, {*MODEL_NAMES})


def test_the_studies_use_every_entry_and_no_other() -> None:
    texts = [toml_of(name, "real").read_text() for name in VERBS]
    used = {name for text in texts for name in re.findall(r"[\"{]\{?(\w+)\}", text)} - {"names"}
    assert used == {*FOLDERS, *MODEL_NAMES}


def test_entries_are_filled_and_what_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "coco" / "train2014").mkdir(parents=True)
    own = named(
        tmp_path, f'[folders]\ncoco = "{tmp_path}/coco"\naro = "gone"\n[models]\nclip = "tiny-clip"\n'
    )
    entries = {
        "recipe": {"model": "{clip}", "stages": [{"images": "{coco}/train2014"}], "steps": 3},
        "benchmarks": {"aro": {"annotations": "{aro}"}, "valse": {"annotations": "{valse}"}},
        "data": {"images": "{coco}/val2014"},
    }
    found = filled(entries, own)
    assert found.entries["recipe"] == {
        "model": "tiny-clip", "stages": [{"images": f"{tmp_path}/coco/train2014"}], "steps": 3,
    }  # fmt: skip
    assert found.missing == (
        f"[benchmarks.aro] annotations: nothing at gone: put it there, or correct [folders] aro of {own.path} "
        f"({FOLDERS['aro']})",
        f"[benchmarks.valse] annotations: {own.path} has no `valse`: name it in [folders] ({FOLDERS['valse']})",
        f"[data] images: nothing at {tmp_path}/coco/val2014: put it there, or correct [folders] coco of {own.path} "
        f"({FOLDERS['coco']})",
    )
    assert entries["recipe"]["model"] == "{clip}"


def test_a_folder_is_no_hub_id_and_a_model_may_be(tmp_path: Path) -> None:
    own = named(
        tmp_path, '[folders]\naro = "one/aro"\n[models]\nclip = "openai/clip"\nvinvl = "tiny-vinvl"\n'
    )
    assert own.fault("{aro}").startswith("nothing at one/aro")
    assert (own.fault("{clip}"), own.fault("{vinvl}"), own.fault("text")) == ("", "", "")
    with pytest.raises(BadRecipe, match="no entry is called 'vinyl', did you mean 'vinvl'"):
        own.fault("{vinyl}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[folders]\ncocoo = "x"\n', r"\[folders\] cocoo: unknown entry, did you mean 'coco'\?"),
        ('[models]\ncoco = "x"\n', r"\[models\] coco: unknown entry"),
        ('[model]\nclip = "x"\n', r"\[model\]: unknown table, did you mean 'models'\?"),
        ("[folders]\ncoco = 3\n", "coco: got 3, wanted a path"),
        ('[folders]\ncoco = ""\n', "coco: got '', wanted a path"),
        ('folders = "x"\n', "folders: got 'x', wanted a table"),
        ("[folders\n", "cannot be read as TOML"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match=told):
        named(tmp_path, text)
    with pytest.raises(BadRecipe, match=r"there is no file .*real\.toml is one to begin with") as error:
        read_named(tmp_path / "none.toml")
    shipped = str(error.value).partition("none.toml: ")[2].partition(" is one")[0]
    assert Path(shipped).read_text() == (STUDIES / "real.toml").read_text()  # also where the clone is not


def test_parts_go_and_the_last_of_a_table_stays() -> None:
    entries = {"scorers": {"a": 1, "b": 2}, "benchmarks": {"c": 3}, "pairs": {"captions": "x"}, "recipe": {}}
    lines = [f"[{table}] model: nothing" for table in ("scorers.a", "benchmarks.c", "pairs", "recipe")]
    found = without(entries, lines)
    assert found.entries == {"scorers": {"b": 2}, "benchmarks": {"c": 3}, "recipe": {}}
    assert found.left_out == (lines[0], lines[2])
    both = without(entries, ["[scorers.a] model: x", "[scorers.b] regions: y"])
    assert (both.entries, both.left_out) == (entries, ())  # without any scorer there is no study


def test_a_user_with_nothing_is_told_what_each_study_wants(tmp_path: Path) -> None:
    plans = plans_of({name: toml_of(name, "real") for name in VERBS}, named(tmp_path, ""))
    for plan in plans:
        assert plan.missing, plan.name
        assert all(" has no `" in line for line in plan.missing)
    composition = plans[1]
    assert any(line.startswith("[benchmarks.valse] annotations:") for line in composition.missing)
    assert [line.partition("]")[0] for line in composition.left_out] == ["[pairs"] * 2
