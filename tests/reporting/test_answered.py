"""Which items of a scores file are right, worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from alignscope.errors import BadData
from alignscope.files import write_parquet
from alignscope.records import OptionScore
from alignscope.reporting.answered import Answered, answered


def option(
    item: str, image: str, first: int, second: int, score: float | None, **rest: object
) -> OptionScore:
    text = f"text {second}"
    return OptionScore("b", item, "s", "s", "", image, text, first, second, score, False, False, **rest)  # type: ignore[arg-type]


def of(tmp_path: Path, rows: list[OptionScore]) -> Answered:
    write_parquet(tmp_path / "scores.parquet", rows, OptionScore)
    return answered(tmp_path / "scores.parquet")


def margins(found: Answered) -> dict[str, tuple[str, float]]:
    return {one.item: (one.result, one.margin) for one in found.shown}


def test_of_several_wrong_captions_the_best_counts(tmp_path: Path) -> None:
    scores = {"a": (3.0, 1.0, 2.5), "b": (3.0, 3.0, 1.0), "c": (1.0, 0.5, 1.5)}
    found = of(tmp_path, [option(i, "k", 0, n, s) for i, row in scores.items() for n, s in enumerate(row)])
    assert found.asked == "caption"
    assert found.counts == {"right": 1, "wrong": 1, "tie": 1}
    assert margins(found) == {"a": ("right", 0.5), "c": ("wrong", -0.5), "b": ("tie", 0.0)}
    right = found.shown[0].options
    assert [(o.is_right, o.score) for o in right] == [(True, 3.0), (False, 1.0), (False, 2.5)]


def test_scores_tie_in_float32(tmp_path: Path) -> None:
    found = of(tmp_path, [option("a", "k", 0, 0, 0.3 + 1e-9), option("a", "k", 0, 1, 0.3)])
    assert found.counts == {"tie": 1}


@pytest.mark.parametrize("score", [None, math.nan, math.inf, 1e300])
def test_a_score_that_is_none_leaves_its_item_unscored(score: float | None, tmp_path: Path) -> None:
    found = of(tmp_path, [option("a", "k", 0, 0, score), option("a", "k", 0, 1, 0.3)])
    assert found.counts == {"unscored": 1}


@pytest.mark.parametrize("second", [0, 1])
def test_an_option_without_a_rival_is_not_right(second: int, tmp_path: Path) -> None:
    rows = [option("alone", "k", 0, second, 0.9), option("a", "k", 0, 0, 0.9), option("a", "k", 0, 1, 0.3)]
    assert of(tmp_path, rows).counts == {"right": 1, "unscored": 1}


def test_of_two_images_the_first_is_right(tmp_path: Path) -> None:
    found = of(tmp_path, [option("a", f"image {n}", n, 0, (2.0, 4.0)[n]) for n in (1, 0)])
    assert (found.asked, found.counts) == ("image", {"wrong": 1})
    assert [o.image for o in found.shown[0].options] == ["image 0", "image 1"]


def test_pairs_are_right_when_both_are_above_both_wrong_ones(tmp_path: Path) -> None:
    group = {"a": [[5.0, 4.0], [3.0, 6.0]], "b": [[5.0, 4.0], [5.5, 6.0]], "c": [[5.0, 5.0], [1.0, 6.0]]}
    rows = [
        option(i, f"k{m}", m, n, s)
        for i, table in group.items()
        for m, r in enumerate(table)
        for n, s in enumerate(r)
    ]
    found = of(tmp_path, rows)
    assert found.asked == "pairs"
    assert margins(found) == {"a": ("right", 1.0), "b": ("wrong", -0.5), "c": ("tie", 0.0)}


def test_two_captions_are_judged_by_the_image_where_there_is_one(tmp_path: Path) -> None:
    by_image = [option("a", "k", 0, n, (3.0, 2.0, 1.0)[n]) for n in range(3)]
    by_text = [option("a", "", *places, s) for places, s in {(0, 1): 0.1, (0, 2): 0.9, (1, 2): 0.8}.items()]
    both, alone = of(tmp_path, [*by_image, *by_text]), of(tmp_path, by_text)
    assert margins(both) == {"a": ("right", 1.0)}
    assert len(both.shown[0].options) == 3
    [(result, margin)] = margins(alone).values()
    assert result == "wrong"
    assert margin == pytest.approx(-0.8)


def test_a_few_are_taken_from_the_whole_length(tmp_path: Path) -> None:
    found = of(tmp_path, [option(f"{n}", "k", 0, m, 1.0 - m) for n in range(90) for m in (0, 1)])
    assert [one.item for one in found.shown] == ["0", "30", "60"]


def test_similarity_has_no_right_options_and_absent_scores_no_items(tmp_path: Path) -> None:
    assert of(tmp_path, [option("a", "", 0, 1, 0.5, gold=3.0)]).shown == ()
    assert of(tmp_path, []).counts == {}
    assert answered(tmp_path / "none.parquet").counts == {}


def test_another_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "scores.parquet").write_bytes(b"no parquet")
    with pytest.raises(BadData, match="not a Parquet file of OptionScore records"):
        answered(tmp_path / "scores.parquet")
