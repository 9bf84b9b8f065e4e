"""`probe attention` as a study: numbers by hand from the attention itself, images counted, runs gone on with."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pytest
from looked_into import Drawn, Pixels, labelled, scenes
from PIL import Image

from alignscope.errors import BadImage, BadInput, OutputExists
from alignscope.files import read_jsonl, read_parquet
from alignscope.models.captioners.seen import open_seen
from alignscope.records import BlockCell, BlockSpread, DensityCell, GroupTest, Inbound, Measurement, UnitName
from alignscope.studies.scenes.attention import AttentionSettings, attention, inbound_numbers, layers_of
from alignscope.studies.scenes.images import WorldImages, scene_images

NAMES = ["tree", "traffic light", "man"]
QUICK = AttentionSettings(draws=50)


def made(count: int = 6):
    sights = {f"i{n}": labelled(f"i{n}", NAMES[: 1 + n % 3], regions=2 + n % 2) for n in range(count)}
    return scenes(sights, dict.fromkeys(sights, "road"))


def by_hand(found, down: str, across: str, layer: int, over) -> np.ndarray:
    """A block's entries, each looked up on its own."""
    rows = [place for place, kind in enumerate(found.kinds) if kind == down]
    columns = [place for place, kind in enumerate(found.kinds) if kind == across]
    values = [
        [over([float(found.attention[layer, head, r, c]) for head in range(3)]) for c in columns]
        for r in rows
    ]
    return np.array(values).reshape(len(rows), len(columns))


@pytest.mark.parametrize(
    ("heads", "over"), [("max", max), ("mean", lambda values: sum(values) / len(values))]
)
def test_spread_mass_and_matrices_are_those_of_the_attention_itself(heads, over, tmp_path):
    images = made()
    settings = AttentionSettings(draws=50, layers="all", heads=(heads,), figures=2)
    found = attention({"m": Drawn()}, images, tmp_path, settings=settings, batch_size=4)
    rows = read_parquet(tmp_path / "models" / "m" / "spreads.parquet", BlockSpread)
    assert len(rows) == 6 * 2 * 5
    insides = {name: Drawn().inside([seen])[0] for name, seen in images.sights.items()}
    masses = []
    for row in rows:
        if row.block == "pooled":
            parts = [("region", "region"), ("region", "label"), ("label", "region")]
        else:
            parts = [tuple("region" if side == "vision" else side for side in row.block.split("-"))]
        entries = np.concatenate(
            [by_hand(insides[row.image], *part, row.layer, over).ravel() for part in parts]
        )
        assert row.std == pytest.approx(entries.std(), abs=1e-6)
        assert row.mass == pytest.approx(entries.sum(), abs=1e-5)
        if (row.block, row.layer) == ("label-vision", 1):
            masses.append(row.mass)
    number = {(one.measure, one.group): one for one in found.measurements}
    assert number["mean mass", f"m | label-vision | layer 1 | {heads}"].value == pytest.approx(
        np.mean(masses)
    )
    median = number["median mass", f"m | label-vision | layer 1 | {heads}"]
    assert median.value == pytest.approx(np.median(masses))
    assert (median.items, median.images, median.missing) == (6, 6, 0)
    assert "|model:drawn|" in median.signature
    cells = read_parquet(tmp_path / "models" / "m" / "cells.parquet", BlockCell)
    assert {cell.image for cell in cells} == {"i0", "i1"}
    one = [c for c in cells if (c.image, c.block, c.layer) == ("i1", "label-vision", 0)]
    matrix = by_hand(insides["i1"], "label", "region", 0, over)
    assert len(one) == matrix.size == 3 * 3
    for cell in one:
        assert cell.value == pytest.approx(matrix[cell.row, cell.column], abs=1e-6)
    assert [cell.row_unit for cell in one if cell.column == 0] == [0, 1, 1]  # "traffic light" is two pieces
    units = read_parquet(tmp_path / "models" / "m" / "units.parquet", UnitName)
    assert [u.name for u in units if (u.image, u.of) == ("i1", "label")] == ["tree", "traffic light"]


def test_two_captioners_are_tested_on_the_same_images(tmp_path):
    found = attention({"a": Drawn(), "b": Drawn(seed=1)}, made(), tmp_path, settings=QUICK)
    tests = {(one.group, one.measure): one for one in found.tests}
    one = tests["a and b | vision-vision | layer 0 | max", "mass"]
    per_model = [
        {
            row.image: row.mass
            for row in read_parquet(tmp_path / "models" / name / "spreads.parquet", BlockSpread)
            if row.block == "vision-vision"
        }
        for name in ("a", "b")
    ]
    gaps = [per_model[0][image] - per_model[1][image] for image in per_model[0]]
    ranks = np.argsort(np.argsort(np.abs(gaps))) + 1
    assert one.statistic == ranks[np.array(gaps) > 0].sum()
    assert one.effect == pytest.approx((2 * one.statistic - 21) / 21)
    assert one.first_items == one.second_items == 6
    assert list(found.tests) == read_parquet(tmp_path / "tests.parquet", GroupTest)
    shapes = read_parquet(tmp_path / "densities.parquet", DensityCell)
    assert {cell.series for cell in shapes} == {"a", "b"}
    assert "pooled | layer 0 | max" in {cell.figure for cell in shapes}


def test_inbound_attention_is_the_mean_over_rows_then_over_images(tmp_path):
    images = made(4)
    found = attention({"m": Drawn()}, images, tmp_path, settings=QUICK)
    means = []
    for seen in images.sights.values():
        inside = Drawn().inside([seen])[0]
        means.append(by_hand(inside, "region", "special", 1, max).mean())
    numbers = {one.group: one for one in found.measurements if one.measure == "inbound attention"}
    got = numbers["m | special 0 from vision | layer 1 | max"]
    assert got.value == pytest.approx(np.mean(means), abs=1e-6)
    assert not any("caption" in group for group in numbers)
    rows = read_parquet(tmp_path / "models" / "m" / "inbound.parquet", Inbound)
    assert {row.position for row in rows} == {1, 3, 4}  # it moves with the labels
    unlabelled = [
        Inbound("a", 0, "max", 0, 0, "label", 0, None),
        Inbound("b", 0, "max", 0, 0, "label", 2, 0.5),
    ]
    (one,) = inbound_numbers(unlabelled, images=3, signature=_signature(), draws=10)
    assert (one.value, one.items, one.missing) == (0.5, 1, 2)


def _signature():
    from alignscope.records import Signature

    return Signature("x", "d", "s", 0, 0, "m", "w")


def test_captions_are_read_where_asked_for(tmp_path):
    settings = AttentionSettings(draws=20, with_captions=True)
    found = attention({"m": Drawn()}, made(3), tmp_path, settings=settings)
    rows = read_parquet(tmp_path / "models" / "m" / "spreads.parquet", BlockSpread)
    blocks = {row.block: row for row in rows if row.image == "i0"}
    assert blocks["caption-vision"].rows == 2  # "two words"
    assert blocks["caption-vision"].mass > 0
    assert any("from caption" in one.group for one in found.measurements)


class Broken(Mapping):
    """Images of which one cannot be opened."""

    def __init__(self, sights, broken):
        self._sights, self._broken = sights, broken

    def __getitem__(self, name):
        if name in self._broken:
            raise BadImage(f"{name}: half a file")
        return self._sights[name]

    def __iter__(self):
        return iter(self._sights)

    def __len__(self):
        return len(self._sights)


def test_what_cannot_be_looked_at_is_counted(tmp_path):
    sights = dict(made(6).sights)
    sights["i4"] = labelled("i4", NAMES, width=5)
    sights["i5"] = labelled("i5", [], regions=2)
    images = scenes(Broken(sights, ["i0"]), dict.fromkeys(sights, "road"))
    settings = AttentionSettings(draws=20, images_read=9)
    found = attention({"m": Drawn()}, images, tmp_path, settings=settings, batch_size=3)
    told = {(one.subject, one.what) for one in found.problems}
    assert ("images", "9 images wanted, 6 there: all are read") in told
    assert ("i0", "m: i0: half a file") in told
    assert ("i4", "m: i4: features of another width") in told
    assert any(subject == "i5" and "a side of the block is empty" in what for subject, what in told)
    numbers = {one.group: one for one in found.measurements if one.measure == "mean mass"}
    assert (
        numbers["m | vision-vision | layer 0 | max"].items,
        numbers["m | vision-vision | layer 0 | max"].missing,
    ) == (
        4,
        2,
    )
    assert numbers["m | label-vision | layer 0 | max"].missing == 3
    ends = [one for one in found.measurements if one.measure == "inbound attention"]
    assert {(one.items, one.missing) for one in ends} == {(3, 3)}  # without labels there is no end of them
    assert len(list(read_jsonl(tmp_path / "problems.jsonl"))) == len(found.problems)


def test_nothing_to_look_at_is_an_error_and_leaves_the_directory_free(tmp_path):
    images = scenes({"i0": labelled("i0", NAMES, width=5)}, {"i0": "road"})
    with pytest.raises(
        BadInput, match=r"m could look at none of the images \(first: i0: i0: features of another"
    ):
        attention({"m": Drawn()}, images, tmp_path / "out", settings=QUICK)
    nothing = scenes(Broken(made().sights, made().sights), {})
    with pytest.raises(
        BadInput, match=r"drawn cannot be looked into with what is given of made \(i5: half a file\)"
    ):
        attention({"m": Drawn()}, nothing, tmp_path / "out", settings=QUICK)
    with pytest.raises(BadInput, match="got layer 7 of m, which has 2 layers: wanted 'first'"):
        attention({"m": Drawn()}, made(), tmp_path / "out", settings=AttentionSettings(layers="7"))
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        (
            {"blocks": ("label-picture",)},
            BadInput,
            "got the block 'label-picture', wanted 'pooled' or ROWS-COLUMNS",
        ),
        ({"blocks": ("caption-vision",)}, BadInput, "without captions: give --with-captions"),
        ({"layers": "upper"}, BadInput, "got the layers 'upper', wanted"),
    ],
)
def test_what_cannot_be_asked_is_refused(settings, error, said, tmp_path):
    with pytest.raises(error, match=said):
        attention({"m": Drawn()}, made(), tmp_path / "out", settings=AttentionSettings(**settings))


def test_layers_by_words_and_numbers():
    assert [layers_of(asked, 12) for asked in ("first", "last", "0,5,-1,0")] == [(0,), (11,), (0, 5, 11)]


def test_a_stopped_run_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr("alignscope.studies.scenes.insides.PART", 2)
    images, settings = made(6), AttentionSettings(draws=20, figures=0)
    whole = attention({"m": Drawn()}, images, tmp_path / "whole", settings=settings)

    def stop(stage, done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attention({"m": Drawn()}, images, tmp_path / "out", settings=settings, progress=stop)
    with pytest.raises(OutputExists, match="--resume"):
        attention({"m": Drawn()}, images, tmp_path / "out", settings=settings)
    with pytest.raises(OutputExists, match=r"settings.layers: was \"first\", now \"last\""):
        attention(
            {"m": Drawn()},
            images,
            tmp_path / "out",
            settings=AttentionSettings(20, layers="last"),
            resume=True,
        )
    again = Drawn()
    found = attention({"m": again}, images, tmp_path / "out", settings=settings, resume=True)
    assert again.looked == ["i0", "i0", "i4", "i5"]  # what it takes, its layers, and the last part
    assert found.measurements == whole.measurements
    assert not (tmp_path / "out" / "work").exists()
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["finished"]
    assert run["layers"] == {"m": [0]}


def test_images_are_drawn_by_seed(tmp_path):
    read = []
    for number, seed in enumerate((0, 0, 1)):
        settings = AttentionSettings(seed, 20, images_read=3)
        attention({"m": Drawn()}, made(9), tmp_path / str(number), settings=settings)
        read.append(json.loads((tmp_path / str(number) / "run.json").read_text())["images"])
    assert read[0] == read[1] != read[2]
    assert [len(each) for each in read] == [3, 3, 3]


def test_captioners_of_pixels_and_of_labels_side_by_side(tmp_path):
    images = made(3)
    both = scenes(
        images.sights,
        dict.fromkeys(images.sights, "road"),
        pictures={i: Image.new("RGB", (4, 4)) for i in images.sights},
    )
    found = attention({"l": Drawn(), "p": Pixels("pixels")}, both, tmp_path, settings=QUICK)
    numbers = {one.group: one for one in found.measurements if one.measure == "mean mass"}
    assert numbers["p | vision-vision | layer 0 | max"].value == 4
    assert numbers["p | label-vision | layer 0 | max"].value is None
    assert "0 rows, 4 columns" in numbers["p | label-vision | layer 0 | max"].reason
    with pytest.raises(
        BadInput, match=r"pixels cannot be looked into with what is given of made \(it takes pictures\)"
    ):
        attention({"p": Pixels("pixels")}, images, tmp_path / "other", settings=QUICK)


def test_the_small_vinvl_of_the_package_on_the_world(tmp_path):
    images = scene_images(WorldImages(size=12))
    captioner = open_seen("tiny-vinvl")
    found = attention({"m": captioner}, images, tmp_path, settings=QUICK)
    masses = []
    for name in images.sights:
        (inside,) = captioner.inside([images.sights[name]])
        kinds = np.array(inside.kinds)
        block = inside.attention[0].numpy().max(0)[kinds == "label"][:, kinds == "region"]
        masses.append(block.sum(dtype=np.float64))
    numbers = {(one.measure, one.group): one for one in found.measurements}
    got = numbers["mean mass", "m | label-vision | layer 0 | max"]
    assert got.value == pytest.approx(np.mean(masses), rel=1e-5)
    assert got.low < got.value < got.high
    assert list(found.measurements) == read_parquet(tmp_path / "measurements.parquet", Measurement)
