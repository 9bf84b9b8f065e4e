"""All studies after one another: what fails or is missing is told and stops nothing else, what is done is not redone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from alignscope.cli import app
from alignscope.errors import BadInput, OutputExists, UnknownName
from alignscope.files import write_json, write_parquet
from alignscope.records import Effect
from alignscope.reporting.everything import Told, summary_of, told_in
from alignscope.reporting.pages import page
from alignscope.studies.output import is_finished
from alignscope.studies.over_seeds import Compared
from alignscope.studies.reproducing.everything import VERBS, Plan, Verb, plans_of, reproduce, toml_of
from alignscope.studies.reproducing.named import read_named
from alignscope.studies.scenes.captioners import HighLevelImages, WorldImages

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Study:
    """A study in name only."""

    name: str
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    parts: tuple[str, ...] = ()
    baseline: str = "ft"
    variants: tuple[Mapping[str, Any], ...] = tuple(
        {"name": name, "says": name, "recipe": {}} for name in ("ft", "cae")
    )


def finish(study: Study, out: Path, **how: object) -> None:
    """Leave what a study of variants leaves: one above plain fine-tuning, told apart."""
    out.mkdir(parents=True, exist_ok=True)
    shared = ("share", 0.6, 0.5, 0.7, 5, 0, "ft")
    better = Effect("cae", "accuracy", "all kinds (macro)", *shared, 0.05, 0.03, 0.07, 5, 0.95, "s")
    plain = Effect("ft", "accuracy", "all kinds (macro)", *shared, None, None, None, 0, 0.95, "s")
    write_parquet(out / "effects.parquet", [plain, better], Effect)
    told = asdict(study)
    identity = {"kind": "variants", "study": told}
    run = {"identity": identity, "study": told, "finished": True, "command": how["command"]}
    write_json(out / "run.json", run)


class Runner:
    """Does as it is told for each study by name, and keeps who was asked for."""

    def __init__(self, **faults: BaseException) -> None:
        self.faults, self.ran = faults, list[str]()

    def __call__(self, study: Study, out: Path, **how: object) -> None:
        self.ran.append(study.name)
        how["progress"]("training", 1, 1)  # type: ignore[operator]
        if study.name in self.faults:
            raise self.faults[study.name]
        finish(study, out, **how)


def verbs_of(run: Callable[..., object]) -> dict[str, Verb]:
    def read(entries: Mapping[str, Any], path: Path) -> Study:
        return Study(entries["name"], parts=tuple(entries.get("scorers", ())))

    return {
        name: Verb(read, lambda study: [f"[scorers.{one}] model: no {one}" for one in study.parts if one == "odd"], run, lambda place: ())
        for name in VERBS
    }  # fmt: skip


PLANS = tuple(Plan(name, Study(name)) for name in VERBS)


def test_one_that_fails_is_told_and_the_others_run(tmp_path: Path) -> None:
    out, shown = tmp_path / "out", []
    run = Runner(composition=ValueError("odd <b>tensor</b>"))
    told = reproduce(
        PLANS,
        out,
        command="alignscope reproduce all",
        progress=lambda *at: shown.append(at),
        verbs=verbs_of(run),
    )
    assert run.ran == ["captions", "composition", "scenes"]
    assert [(one.name, one.problem) for one in told] == [
        ("captions", ""), ("composition", "ValueError: odd <b>tensor</b>"), ("scenes", ""),
    ]  # fmt: skip
    assert shown == [(f"{name}: training", 1, 1) for name in VERBS]
    assert "raise self.faults" in (out / "composition-error.txt").read_text()
    html = (out / "index.html").read_text()
    assert "odd &lt;b&gt;tensor" in html
    assert "<b>tensor" not in html
    assert 'href="captions/report.html"' in html
    assert 'href="composition/report.html"' not in html
    assert html.count("Cae answer more foils than ft, over all kinds") == 2
    assert html.count("Cae: above it in mean over kinds (+5.0 ±\N{NO-BREAK SPACE}2.0).") == 2
    assert "no claims" not in html  # five seeds each
    assert summary_of(out)[1] == "composition (paper B, 0 s): ValueError: odd <b>tensor</b>"

    again = Runner()
    told = reproduce(PLANS, out, resume=True, verbs=verbs_of(again))
    assert again.ran == ["composition"]
    assert [one.problem for one in told] == ["", "", ""]
    assert not (out / "composition-error.txt").exists()
    assert (out / "index.html").read_text().count("Cae answer more foils") == 3


def test_an_interrupted_one_goes_on_where_it_stopped(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        reproduce(PLANS, out, verbs=verbs_of(Runner(scenes=KeyboardInterrupt())))
    assert [one.name for one in told_in(out)] == ["captions", "composition"]
    assert not is_finished(out)
    spent = tuple(replace(one, seconds=100.0) for one in told_in(out))
    state = json.loads((out / "run.json").read_text())
    rows = [{"name": o.name, "problem": "", "missing": [], "seconds": o.seconds} for o in spent]
    write_json(out / "run.json", {**state, "studies": rows})
    again = Runner()
    told = reproduce(PLANS, out, resume=True, verbs=verbs_of(again))
    assert again.ran == ["scenes"]
    assert told[:2] == spent  # what they took when they ran
    assert 0 < told[2].seconds < 100
    assert is_finished(out)
    assert page(out) == out / "index.html"  # of the records, as `alignscope report` asks for it
    with pytest.raises(OutputExists, match="is not empty"):
        reproduce(PLANS, out, verbs=verbs_of(again))
    other = (Plan("captions", Study("other")), *PLANS[1:])
    with pytest.raises(OutputExists, match="holds another run"):
        reproduce(other, out, resume=True, verbs=verbs_of(again))


def test_what_is_missing_is_left_out_and_told(tmp_path: Path) -> None:
    run, out = Runner(), tmp_path / "out"
    plans = (replace(PLANS[0], missing=("[recipe.data] captions: nothing at coco.json",)), *PLANS[1:])
    told = reproduce(plans, out, verbs=verbs_of(run))
    assert run.ran == ["composition", "scenes"]
    assert told[0] == Told("captions", "", ("[recipe.data] captions: nothing at coco.json",), 0.0)
    assert "<b>Did not run.</b>" in (out / "index.html").read_text()
    assert summary_of(out)[0] == "captions (paper A, 0 s): cannot run, 1 missing"
    gone = (PLANS[0], replace(PLANS[1], missing=("its files",)), PLANS[2])
    told = reproduce(gone, out, resume=True, verbs=verbs_of(run))
    assert run.ran[2:] == ["captions"]  # of which everything is there now; what is finished stays
    assert [one.missing for one in told] == [(), (), ()]
    nothing = tuple(replace(plan, missing=("a", "b")) for plan in PLANS)
    with pytest.raises(BadInput, match=r"no study can run, they want:\n  captions: a\n  captions: b\n"):
        reproduce(nothing, tmp_path / "none", verbs=verbs_of(run))
    assert not (tmp_path / "none").exists()


def test_another_study_of_the_same_name_is_not_taken_for_finished(tmp_path: Path) -> None:
    """Its verb is asked, which goes on where it may and refuses where it may not."""
    out = tmp_path / "out"
    reproduce(PLANS, out, verbs=verbs_of(Runner()))
    again = Runner(captions=OutputExists("holds another run"))
    other = tuple(replace(p, study=replace(p.study, parts=("more",))) for p in PLANS[:2])
    told = reproduce((*other, PLANS[2]), out, resume=True, verbs=verbs_of(again))
    assert again.ran == ["captions", "composition"]
    assert [one.problem for one in told] == ["holds another run", "", ""]


def test_parts_that_are_not_there_are_left_out_and_told(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(
        'name = "s"\n[scorers]\nclip = "{clip}"\nuniter = "{uniter}"\nodd = "x"\n[scorers.two]\nmodel = "{lxmert}"\n'
    )
    (tmp_path / "own.toml").write_text('[models]\nclip = "tiny-clip"\n')
    named = read_named(tmp_path / "own.toml")
    run = Runner()
    (plan,) = plans_of({"captions": tmp_path / "study.toml"}, named, verbs=verbs_of(run))
    missing = "[scorers] uniter: "
    assert [
        line for line in plan.missing if line.startswith(missing)
    ]  # an entry of the table itself is no part
    text = (tmp_path / "study.toml").read_text().replace('uniter = "{uniter}"', 'uniter = "here"')
    (tmp_path / "study.toml").write_text(text)
    (plan,) = plans_of({"captions": tmp_path / "study.toml"}, named, verbs=verbs_of(run))
    assert plan.study.parts == ("clip", "uniter")
    assert plan.missing == ()
    told = f"[scorers.two] model: {named.path} has no `lxmert`: name it in [models] (LXMERT-base)"
    assert plan.left_out == (told, "[scorers.odd] model: no odd")
    found = reproduce((plan, *PLANS[1:]), tmp_path / "out", verbs=verbs_of(run))
    assert found[0].left_out == plan.left_out
    assert told_in(tmp_path / "out")[0] == found[0]
    html = (tmp_path / "out" / "index.html").read_text()
    assert "Left out, since it is not there: 2 entries" in html
    assert "[scorers.odd] model: no odd" in html
    assert html.count("Left out") == 1


def test_few_seeds_make_no_claims(tmp_path: Path) -> None:
    plans = (Plan("captions", Study("captions", (0, 1))), *PLANS[1:])
    reproduce(plans, tmp_path / "out", verbs=verbs_of(Runner()))
    html = (tmp_path / "out" / "index.html").read_text()
    assert "A quick run, no claims:</b> one or two seeds give" in html
    assert html.count("<b>Quick run, no claim: Cae answer more foils") == 1
    assert html.count("<b>Cae answer more foils") == 2
    claimed = ["no claim: Cae" in line for line in summary_of(tmp_path / "out")]
    assert claimed == [True, False, False]


@pytest.mark.parametrize("is_quick", [True, False])
def test_studies_of_the_world_want_nothing(is_quick: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    plans = plans_of({name: toml_of(name, "quick" if is_quick else "world") for name in VERBS})
    assert [plan.missing for plan in plans] == [(), (), ()]
    most = max(len(plan.study.seeds) for plan in plans)
    assert most < 3 if is_quick else most == 5
    assert all(plan.study.name == plan.name + "-quick" * is_quick for plan in plans)


def test_what_the_studies_of_real_data_want_is_listed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    composition, scenes = plans_of({name: toml_of(name) for name in ("composition", "scenes")})
    towers = replace(composition.study.variants[0].recipe, model="nowhere/coco/clip")
    first = replace(composition.study.variants[0], recipe=towers)
    assert VERBS["composition"].missing(replace(composition.study, variants=(first,))) == [
        "[ft] model: nothing at nowhere/coco/clip, and no model is called so"
    ]
    there = tmp_path / "train.jsonl"
    there.touch()
    images = HighLevelImages(captions=there, regions=Path("hl/regions.tsv"))
    study = replace(
        scenes.study,
        captioners={"object": "tiny-vinvl", "scene": "runs/of/none"},
        images={"hl": images},
        reference=WorldImages(),
    )
    assert VERBS["scenes"].missing(study) == [
        "[captioners] scene: nothing at runs/of/none",
        "images.hl.regions: nothing at hl/regions.tsv",
    ]


def test_the_command_says_what_failed_and_ends_with_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, verb in verbs_of(Runner(**{"scenes-quick": BadInput("no scene, give one")})).items():
        monkeypatch.setitem(VERBS, name, verb)  # type: ignore[arg-type]
    ran = CliRunner().invoke(app, ["reproduce", "all", "--quick"])
    assert ran.exit_code == 1, ran.output
    assert "scenes (paper C, 0 s): no scene, give one" in ran.output
    assert "failed: scenes;" in ran.output
    out = tmp_path / "runs" / "papers-quick"
    assert (out / "index.html").exists()
    made = json.loads((out / "captions" / "run.json").read_text())
    assert made["command"] == "alignscope reproduce all --quick"


def test_a_study_is_given_or_is_the_quick_one() -> None:
    ran = CliRunner().invoke(app, ["reproduce", "scenes", "--quick", "--study", "own.toml"])
    assert isinstance(ran.exception, BadInput)
    assert "give one of them" in str(ran.exception)
    ran = CliRunner().invoke(app, ["reproduce", "all", "--quick", "--config", "own.toml"])
    assert isinstance(ran.exception, BadInput)
    assert "the quick studies are of the world" in str(ran.exception)


def test_a_study_that_is_not_there_is_told_with_those_that_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for wrong, said in (
        ("compositon", "did you mean 'composition'?"),
        ("own.toml", "known: captions, composition, composition-towers, quick/captions"),
    ):
        ran = CliRunner().invoke(app, ["reproduce", "composition", "--study", wrong])
        assert isinstance(ran.exception, UnknownName)
        assert f"no study '{wrong}', neither a file nor a name: {said}" in str(ran.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", VERBS)
def test_each_study_is_a_command_that_says_what_it_found(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One body for three: the study, where it goes, the command on its page, findings and JSON."""
    monkeypatch.chdir(tmp_path)
    asked: list[dict[str, object]] = []

    def run(study: object, out: Path, **how: object) -> Compared:
        asked.append({"study": study.name, "out": out, **how})  # type: ignore[attr-defined]
        return Compared(out, out / "report.html", ())

    verb = replace(VERBS[name], run=run, findings=lambda place: (f"found in {place}",))
    monkeypatch.setitem(VERBS, name, verb)  # type: ignore[arg-type]
    ran = CliRunner().invoke(app, ["reproduce", name, "--quick", "--processes", "3", "--resume"])
    assert ran.exit_code == 0, ran.output
    place = Path("runs") / f"{name}-quick"
    assert ran.stdout.splitlines() == [
        f"found in {place}", "a quick run of few seeds: no claims", f"report: {tmp_path / place / 'report.html'}",
    ]  # fmt: skip
    (how,) = asked
    assert (how["study"], how["out"], how["processes"], how["resume"]) == (f"{name}-quick", place, 3, True)
    assert how["command"] == f"alignscope reproduce {name} --quick"
    ran = CliRunner().invoke(app, ["reproduce", name, "--json"])
    told = json.loads(ran.stdout)
    assert told["directory"] == str(tmp_path / "runs" / name)
    assert told["findings"] == [f"found in {Path('runs') / name}"]
    (tmp_path / "own.toml").write_text("")
    ran = CliRunner().invoke(app, ["reproduce", name, "--config", "own.toml"])
    assert isinstance(ran.exception, BadInput)
    assert f"{name} cannot run, it wants:\n  [" in str(ran.exception)
    ran = CliRunner().invoke(app, ["reproduce", "all", "--config", "own.toml"])
    assert f"\n  {name}: [" in str(ran.exception)
    assert "cannot run" not in ran.stderr  # the error says it, and once is enough
    assert len(asked) == 2
