"""A study of variants from its TOML to its page: trained once, resumed without doing it again."""

from pathlib import Path

import pytest

from alignscope.errors import BadRecipe, OutputExists
from alignscope.files import read_parquet
from alignscope.records import Effect, Trial
from alignscope.studies.composition.variants import compare_variants, read_study

SCENES = 'data = { kind = "world", images = 24, register = { attribute_rate = 0.5, relation_rate = 0.5, scene_rate = 0.3, size_rate = 0.2, object_rate = 0.8 } }'
STUDY = f"""
name = "small"
baseline = "ft"
seeds = [0, 1]
scenes = 12
checked = 0

[start]
name = "start"
model = "tiny-clip"
trains = "text"
fresh_text = true
steps = 1
batch = 8
learning_rate = 1e-3
warmup = 0
{SCENES}

[recipe]
model = "tiny-clip"
steps = 1
batch = 8
learning_rate = 1e-3
warmup = 0
{SCENES}

[variants.ft]
says = "plain fine-tuning"

[variants.attention]
attribution = {{ methods = ["attention"], weight = 1.0 }}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


def test_variants_share_what_a_seed_begins_with_and_are_summed_up(study: Path, tmp_path: Path) -> None:
    plan, out, told = read_study(study), tmp_path / "out", []
    found = compare_variants(plan, out, progress=lambda *at: told.append(at))
    assert [one for one in told if one[1] == one[2]] == [("beginnings", 2, 2), ("variants", 4, 4)]
    trials = read_parquet(out / "trials.parquet", Trial)
    assert {(t.variant, t.seed) for t in trials} == {
        (v, s) for v in ("start", "ft", "attention") for s in (0, 1)
    }
    [effect] = [
        e for e in found.effects if (e.variant, e.measure, e.group) == ("attention", "accuracy", "all")
    ]
    of = {(t.variant, t.seed): t.value for t in trials if (t.measure, t.group) == ("accuracy", "all")}
    gaps = [of["attention", seed] - of["ft", seed] for seed in (0, 1)]
    assert effect.difference == pytest.approx(sum(gaps) / 2)
    assert effect.seeds == 2
    assert {e.value for e in found.effects if e.measure == "lambda" and e.variant == "attention"} == {1.0}
    assert len([e for e in found.effects if e.measure == "seconds per step"]) == 3
    weights = [out / "start" / f"seed-{seed}" / "training" / "model" / "model.safetensors" for seed in (0, 1)]
    assert weights[0].read_bytes() != weights[1].read_bytes()
    page = found.report.read_text()
    assert "plain fine-tuning" in page
    assert "attention/seed-1/audit/report.html" in page

    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")}
    again = compare_variants(plan, out, resume=True)
    assert again.effects == found.effects
    assert {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")} == stamps
    with pytest.raises(OutputExists, match="not empty"):
        compare_variants(plan, out)
    assert read_parquet(out / "effects.parquet", Effect) == list(found.effects)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('baseline = "ft"', 'baseline = "plain"', "no variant is called as the baseline, 'plain'"),
        ("scenes = 12", "scene = 12", "unknown scene, missing scenes"),
        ('methods = ["attention"]', 'methods = ["attentoin"]', "attention"),
        ("name = ", "name == ", "cannot be read as TOML"),
    ],
)
def test_a_study_that_cannot_be_read_says_why(study: Path, before: str, after: str, said: str) -> None:
    study.write_text(STUDY.replace(before, after, 1))
    with pytest.raises(BadRecipe, match=said):
        read_study(study)


def test_every_study_of_the_project_is_read() -> None:
    found = sorted((Path(__file__).parents[2] / "recipes" / "studies").glob("composition*.toml"))
    assert found, "found no study: nothing was checked"
    for path in found:
        plan = read_study(path)
        assert len(plan.seeds) >= 5, path
        assert plan.scenes >= 1000, path
