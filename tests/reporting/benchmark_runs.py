"""Directories as `alignscope evaluate` leaves them, with made-up numbers; the fixtures are in conftest.py."""

from __future__ import annotations

from pathlib import Path

from alignscope import files
from alignscope.records import Measurement, OptionScore, Problem, Signature


def measurement(
    measure: str, group: str, value: float, low: float, high: float, **rest: object
) -> Measurement:
    sign = Signature(measure, "sugarcrepe", "9f31c2aa01bd", 7511, 1560, "tiny-clip", "ab12cd34ef56")
    fields = {"items": 400, "images": 380, "signature": str(sign), **rest}
    return Measurement(measure, group, value, low, high, **fields)  # type: ignore[arg-type]


SUBSETS = ("add_obj", "replace_att", "swap_att")


def options(count: int = 12) -> list[OptionScore]:
    """Items of one image and two captions; of every four, two are right, one is wrong, one tied; the last unscored."""
    found = []
    for n in range(count):
        item, subset = f"{SUBSETS[n % 3]}/{n}", SUBSETS[n % 3]
        scores = (27.0 + n % 2, 26.5) if n % 4 < 2 else (21.25, 22.5) if n % 4 == 2 else (20.0, 20.0)
        texts = (f"a red ball and {n} blue cups", f"a blue ball and {n} red cups")
        for place, (text, score) in enumerate(zip(texts, scores, strict=True)):
            given = None if n == count - 1 and place else score
            is_best, is_tie = score == max(scores), scores[0] == scores[1]
            found.append(
                OptionScore(
                    "sugarcrepe",
                    item,
                    subset,
                    subset,
                    "",
                    f"{n:012}.jpg",
                    text,
                    0,
                    place,
                    given,
                    is_best,
                    is_tie,
                )
            )
    return found


def benchmark_measurements() -> list[Measurement]:
    rule = "official: mean over 3 groups; 2 left out by name; ties wrong"
    ours = [
        measurement("accuracy", subset, 0.5 + n / 10, 0.45 + n / 10, 0.55 + n / 10, ties=n)
        for n, subset in enumerate(SUBSETS)
    ]
    return [
        measurement("official accuracy", "all", 0.6961, 0.672, 0.719, reason=rule, ties=12, missing=3),
        *(measurement("official accuracy", m.group, m.value, m.low, m.high) for m in ours),
        *ours,
        measurement("accuracy", "all", 0.7104, 0.688, 0.733, items=7511, images=1560, ties=12, missing=3),
        measurement(
            "accuracy",
            "all subsets (macro)",
            0.6955,
            0.67,
            0.72,
            items=7511,
            reason="average of 3 of 4 subsets",
        ),
        measurement("accuracy (ties half)", "all", 0.7112, 0.689, 0.734, items=7511, ties=12),
        measurement("accuracy (ties right)", "all", 0.712, 0.69, 0.735, items=7511, ties=12),
        measurement("paper B accuracy", "Attribute", 0.55, 0.5, 0.6, reason="mean over 2 subsets"),
    ]


def baseline_measurements() -> list[Measurement]:
    return [
        measurement("chance", "all", 0.5, 0.5, 0.5),
        measurement("chance", "add_obj", 0.5, 0.5, 0.5),
        measurement("text alone: fewer words", "all", 0.615, 0.6, 0.63),
        measurement("text alone: trigram", "all", 0.643, 0.63, 0.66),
        measurement("bag-of-words ceiling", "all", 0.962, 0.95, 0.97),
    ]


def evaluation_json(settings: dict[str, object]) -> dict[str, object]:
    identity = {"kind": "evaluate", "benchmark": "sugarcrepe"}
    facts = {
        "name": "sugarcrepe",
        "title": "SugarCrepe",
        "citation": "Hsieh et al. 2023, SugarCrepe: fixing hackable benchmarks, NeurIPS",
        "licence": "MIT",
        "url": "https://github.com/RAIVNLab/sugar-crepe",
    }
    counts = {"items": 7511, "missing": 3, "images": 1560}
    command = "alignscope evaluate sugarcrepe --model tiny-clip --out runs/sugarcrepe"
    return settings | {
        "kind": "evaluate",
        "identity": identity,
        "finished": True,
        "benchmark": facts,
        "counts": counts,
        "command": command,
        "allow_missing": True,
        "data": {"name": "sugarcrepe", "sha": "9f31c2aa01bd"},
    }


def evaluation_files(directory: Path, run: dict[str, object]) -> Path:
    """A directory as `alignscope evaluate` leaves it; `run` has the settings of any run."""
    directory.mkdir(parents=True, exist_ok=True)
    lost = [Problem(f"add_obj/{n}", f"{n:012}.jpg", "missing image", "unscored") for n in (7, 108, 245)]
    files.write_json(directory / "run.json", evaluation_json(run))
    files.write_parquet(directory / "measurements.parquet", benchmark_measurements(), Measurement)
    files.write_parquet(directory / "baselines.parquet", baseline_measurements(), Measurement)
    files.write_parquet(directory / "scores.parquet", options(), OptionScore)
    files.write_jsonl(directory / "problems.jsonl", lost)
    return directory


def suite_files(suite: Path, run: dict[str, object]) -> Path:
    """Two finished benchmarks and one that was stopped."""
    evaluation_files(suite / "sugarcrepe", run)
    other = evaluation_files(suite / "winoground", run)
    settings = evaluation_json(run) | {"benchmark": {"name": "winoground", "title": "Winoground"}}
    rule = "official: share of items; ties wrong"
    shares = {"text": 0.308, "image": 0.105, "group": 0.08}
    numbers = [
        measurement("official accuracy", g, v, v - 0.03, v + 0.03, reason=rule) for g, v in shares.items()
    ]
    numbers += [measurement("accuracy", g, v, v - 0.03, v + 0.03) for g, v in shares.items()]
    files.write_json(other / "run.json", settings)
    files.write_parquet(other / "measurements.parquet", numbers, Measurement)
    (suite / "comvg").mkdir()
    files.write_json(suite / "comvg" / "run.json", {"identity": {"kind": "evaluate"}, "finished": False})
    names = ["sugarcrepe", "winoground", "comvg"]
    index = evaluation_json(run) | {"identity": {"kind": "suite"}, "benchmark": None, "runs": names}
    files.write_json(suite / "run.json", index)
    return suite
