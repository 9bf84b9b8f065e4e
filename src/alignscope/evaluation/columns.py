"""Scores of options in columns, and what the comparisons inside each item say.

A benchmark has up to hundreds of thousands of options: they are held as arrays, one row per option and
one per item, and never as records.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from alignscope.errors import BadData, Unsupported
from alignscope.records import OptionScore


@dataclass(frozen=True)
class Columns:
    """All options of one benchmark. `item` is the place of an option's item in the lists of items."""

    items: Sequence[str]
    subsets: Sequence[str]  # one per item, like the next three
    groups: Sequence[str]
    tags: Sequence[str]
    images: Sequence[str]  # the right image, or the first; the item's own id where it has none
    gold: Float[np.ndarray, " item"]
    item: Int[np.ndarray, " option"]
    first: Int[np.ndarray, " option"]
    second: Int[np.ndarray, " option"]
    is_two_texts: Bool[np.ndarray, " option"]
    scores: Float[np.ndarray, " option"]  # NaN where there is none


def in_columns(scores: Iterable[OptionScore], *, benchmark: str) -> Columns:
    """The options of `benchmark` as columns; an option given twice, or of another benchmark, is an error."""
    place: dict[str, int] = {}
    subsets: list[str] = []
    groups: list[str] = []
    tags: list[str] = []
    images: list[str] = []
    item, first, second, is_two_texts = array("q"), array("h"), array("h"), array("b")
    values, gold = array("d"), array("d")
    for option in scores:
        if option.benchmark != benchmark:
            raise BadData(f"{option.item}: got a score of {option.benchmark!r}, wanted {benchmark!r} alone")
        code = place.setdefault(option.item, len(place))
        if code == len(subsets):
            subsets.append(option.subset)
            groups.append(option.group)
            tags.append(option.tags)
            images.append("")
            gold.append(np.nan if option.gold is None else option.gold)
        if option.first == 0 and option.image:
            images[code] = option.image
        item.append(code)
        first.append(option.first)
        second.append(option.second)
        is_two_texts.append(option.image == "")
        values.append(np.nan if option.score is None else option.score)
    names = list(place)
    columns = Columns(
        names,
        subsets,
        groups,
        tags,
        [image or name for image, name in zip(images, names, strict=True)],
        np.array(gold, dtype=np.float64),
        np.array(item, dtype=np.int64),
        np.array(first, dtype=np.int64),
        np.array(second, dtype=np.int64),
        np.array(is_two_texts, dtype=bool),
        np.array(values, dtype=np.float64),
    )
    _refuse_twice(columns)
    return columns


def _refuse_twice(columns: Columns) -> None:
    keys = ((columns.item * 2 + columns.is_two_texts) * 2**15 + columns.first) * 2**15 + columns.second
    ordered = np.sort(keys)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        items = np.unique(twice >> 31)
        raise BadData(
            f"{len(twice)} options are given twice, in {len(items)} items (first: "
            f"{columns.items[int(items[0])]!r}): nothing is counted twice, give each once"
        )


def signs(columns: Columns, asks: str, *, dtype: type = np.float32) -> dict[str, Float[np.ndarray, " item"]]:
    """Per question asked of an item: 1 where it is right, 0 where a tie decides, -1 where it is wrong.

    Scores are compared in `dtype`. A question with a score that is missing or not finite is NaN. "caption"
    and "image" ask one question, "", of each item; "pairing" asks text, image and group (Thrush et al.
    2022, eq. 1-3); "two captions" asks ITT and TOT (Dumpala et al. 2024) and ITT of either caption alone.
    """
    with np.errstate(over="ignore"):
        scores: np.ndarray = columns.scores.astype(dtype)
    scores[~np.isfinite(scores)] = np.nan
    if asks == "caption":
        return {"": _against_best(columns, scores, columns.second)}
    if asks == "image":
        return {"": _against_best(columns, scores, columns.first)}
    if asks == "pairing":
        (s00, s01), (s10, s11) = (
            [_option(columns, scores, image, text) for text in (0, 1)] for image in (0, 1)
        )
        text = _worse(_compared(s00, s01), _compared(s11, s10))
        image = _worse(_compared(s00, s10), _compared(s11, s01))
        return {"text": text, "image": image, "group": _worse(text, image)}
    if asks == "two captions":
        one, two, wrong = (_option(columns, scores, 0, text) for text in (0, 1, 2))
        both, one_wrong, two_wrong = (
            _option(columns, scores, *pair, is_two_texts=True) for pair in ((0, 1), (0, 2), (1, 2))
        )
        first, second = _compared(one, wrong), _compared(two, wrong)
        return {
            "ITT": _worse(first, second),
            "TOT": _worse(_compared(both, one_wrong), _compared(both, two_wrong)),
            "first caption": first,
            "second caption": second,
        }
    raise Unsupported(
        f"items that ask {asks!r} are not decided by comparing options; see retrieval, similarity"
    )


def _against_best(
    columns: Columns, scores: Float[np.ndarray, " option"], place: Int[np.ndarray, " option"]
) -> Float[np.ndarray, " item"]:
    """The option of place 0 against the best of the others."""
    is_right, count = place == 0, len(columns.items)
    right = np.full(count, np.nan, dtype=scores.dtype)
    right[columns.item[is_right]] = scores[is_right]
    wrong = np.full(count, -np.inf, dtype=scores.dtype)
    others = np.where(np.isnan(scores), np.inf, scores)[~is_right]  # one that is missing could be the best
    np.maximum.at(wrong, columns.item[~is_right], others)
    wrong[np.isinf(wrong)] = np.nan
    return _compared(right, wrong)


def _option(
    columns: Columns,
    scores: Float[np.ndarray, " option"],
    first: int,
    second: int,
    *,
    is_two_texts: bool = False,
) -> Float[np.ndarray, " item"]:
    """The score of one option of every item; NaN where an item has no such option."""
    found = np.full(len(columns.items), np.nan, dtype=scores.dtype)
    here = (columns.first == first) & (columns.second == second) & (columns.is_two_texts == is_two_texts)
    found[columns.item[here]] = scores[here]
    return found


def _compared(
    one: Float[np.ndarray, " item"], other: Float[np.ndarray, " item"]
) -> Float[np.ndarray, " item"]:
    sign = (one > other).astype(np.float64) - (one < other)
    sign[np.isnan(one) | np.isnan(other)] = np.nan
    return sign


def _worse(one: Float[np.ndarray, " item"], other: Float[np.ndarray, " item"]) -> Float[np.ndarray, " item"]:
    """What two comparisons say together; NaN where one of them cannot be made."""
    with np.errstate(invalid="ignore"):
        return np.minimum(one, other)
