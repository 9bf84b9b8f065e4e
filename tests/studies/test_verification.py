"""A run beside published numbers."""

import json
from pathlib import Path

import pytest

from alignscope.data.benchmarks.table import BENCHMARKS
from alignscope.errors import BadData, UnknownName
from alignscope.evaluation.published import verdict
from alignscope.studies.benchmarking.given_scores import evaluate_scores
from alignscope.studies.benchmarking.verification import verified

SCORES = Path(__file__).parents[2].parent / "shared" / "data" / "winoground_tags" / "reference_scores"


@pytest.mark.skipif(not SCORES.is_dir(), reason=f"no published score files at {SCORES}")
def test_the_gap_to_what_was_published_is_printed(tmp_path):
    evaluate_scores(BENCHMARKS["winoground"], SCORES / "albef_4m.jsonl", tmp_path / "winoground", draws=10)
    found = verified(tmp_path / "winoground", "albef_4m")
    said = verdict("winoground", "albef_4m", found["winoground"])
    assert "text:   29.25   29.25  +0.00  same" in said
    with pytest.raises(UnknownName, match="did you mean 'albef_4m'"):
        verified(tmp_path / "winoground", "albef-4m")
    (tmp_path / "run.json").write_text(json.dumps({"kind": "suite", "runs": ["winoground"]}))
    assert verified(tmp_path, "albef_4m") == found
    with pytest.raises(UnknownName, match="did you mean 'albef_4m'"):  # nothing published on any of the suite
        verified(tmp_path, "albef-4m")


def test_what_is_no_evaluation_is_refused(tmp_path):
    with pytest.raises(BadData, match="wanted the --out of `alignscope evaluate`"):
        verified(tmp_path, "albef_4m")
    (tmp_path / "run.json").write_text('{"kind": "audit"}')
    with pytest.raises(BadData, match="a run of kind 'audit'"):
        verified(tmp_path, "albef_4m")


@pytest.mark.parametrize("kind", ["suite", "evaluate"])
def test_an_unfinished_run_is_refused(tmp_path, kind):
    (tmp_path / "run.json").write_text(json.dumps({"identity": {"kind": kind}, "finished": False}))
    with pytest.raises(BadData, match="has not finished"):
        verified(tmp_path, "albef_4m")
