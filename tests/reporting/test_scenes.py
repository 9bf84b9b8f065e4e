"""The page of scene captioners: verdicts follow from intervals over seeds, figures from records, and no name can break it."""

import csv
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from markupsafe import Markup

from alignscope.errors import BadData
from alignscope.files import write_json, write_jsonl, write_parquet
from alignscope.records import (
    Ablated,
    Association,
    BlockCell,
    DensityCell,
    GroupTest,
    Measurement,
    Point,
    SceneCount,
    SceneProbeCell,
    SceneProbeScore,
    UnitName,
)
from alignscope.reporting.curves import Curve
from alignscope.reporting.page import ROOM
from alignscope.reporting.pages import page
from alignscope.reporting.scenes import all_tables, findings_of, scenes_page
from alignscope.reporting.scenes_examples import chosen, shown_images
from alignscope.reporting.scenes_figures import (
    Matrix,
    attention_matrix,
    confidence_figure,
    confusion,
    contour_figure,
    heat_map,
    segments,
)
from alignscope.reporting.scenes_findings import findings, headline
from alignscope.reporting.scenes_numbers import Probe, read_study
from alignscope.reporting.scenes_tables import naming, shift_deviation

PAPER = Path(__file__).parents[3] / "shared" / "papers" / "C_scene_descriptions.txt"
SCENES = {"road": 30, "sea": 20, "room": 4, "zoo": 2}
SIGNED = "number|data:world|sha:{}|items:9|images:9|model:m|weights:w|dtype:float32|ties:none|seed:{}|v:1"


def number(measure, group, value, seed=0, items=9, missing=0):
    return Measurement(
        measure, group, value, None, None, items, 9, missing=missing, unit="x", signature=SIGNED.format(f"s{seed}", seed)
    )  # fmt: skip


def attention_numbers(seed, before, after):
    rows = []
    for name, shift in (("object", before), ("scene", after)):
        for block in ("vision-vision", "label-vision", "pooled"):
            group = f"{name} | {block} | layer 0 | max"
            rows += [
                number("mean std", group, 0.1 + shift, seed),
                number("mean mass", group, 10.0 + shift, seed),
                number("mean gini", group, 0.3 + shift, seed),
                number("mean entropy", group, 2.0 - shift, seed),
            ]
        for layer, value in ((0, 0.2), (1, 0.2 + shift)):
            group = f"{name} | special 0 from vision | layer {layer} | max"
            rows.append(number("inbound attention", group, value, seed))
    return rows


def overlap_numbers(seed, above):
    rows = []
    for name in ("object", "scene"):
        for measure in ("average overlap@3", "average overlap@5", "IoU@3", "IoU@5"):
            for second in ("frequent", "pmi"):
                attended = f"{name} | attended, {second}"
                rows += [number(measure, f"{attended} | {scene}", 0.5, seed) for scene in SCENES]
                rows.append(number(measure, f"{attended} | mean over scenes", 0.5, seed))
                rows.append(
                    number(
                        measure, f"{name} | even attention, {second} | mean over scenes", 0.5 - above, seed
                    )
                )
                rows.append(number(measure, f"{attended} | above even attention", above, seed))
    return rows


def ablated(image, scene, count, reading, before, after, confidences=(0.5, 0.5)):
    return Ablated(
        image, scene, count, reading, "car|sign", 1, 1, before, after, *confidences, before != after
    )


def captions():
    """Of four images: object captions change in three, scene captions in one; the least telling object changes none."""
    rows = {"object": [], "scene": []}
    for place, scene in enumerate(["road", "road", "sea", "sea"]):
        image = f"i{place}"
        after = f"{place} things" if place else "a car"
        rows["object"].append(ablated(image, scene, 1, "image", "a car", after, (0.6, 0.5 + 0.1 * place)))
        said = f"on a {scene}" if place else "in a room"
        rows["scene"].append(ablated(image, scene, 1, "image", f"on a {scene}", said, (0.6, 0.55 - 0.1 * place)))  # fmt: skip
        for name in rows:
            rows[name].append(ablated(image, scene, 1, "least", f"on a {scene}", f"on a {scene}"))
    return rows


def ablation_numbers(seed, rows):
    found = []
    for name, mine in rows.items():
        for reading in ("image", "least"):
            own = [row for row in mine if row.reading == reading]
            for count in ("all", "1"):
                group = f"{name} | test | {reading} | m={count}"
                share = sum(row.is_changed for row in own) / len(own)
                same = [row for row in own if not row.is_changed]
                found.append(number("captions changed", group, share + 0.001 * seed, seed))
                after = sum(row.confidence_after for row in same) / len(same)
                found.append(number("confidence after, unchanged", group, after, seed))
                found.append(number("confidence shift, unchanged", group, 0.6 - after, seed))
    found += [
        number("images without objects", f"images | test | {reading} | m=1", 4.0, seed, items=4, missing=2)
        for reading in ("image", "least")
    ]
    return found


def scores(seed):
    """Scene captions lift macro F1 to .9; the two rare scenes gain most; telling objects matter."""
    found = []
    values = {"object": (0.5, 0.6), "scene": (0.9, 0.95), "regions": (0.7, 0.8)}
    for model, (macro, micro) in values.items():
        for images, less in (("test", 0.0), ("bare", 0.3)):
            for cut, loss in (("", 0.0), (" without 1 (image)", 0.1), (" without 1 (least)", -0.05)):
                name = f"{model} {images}{cut}"
                for task, part in (("scenes", 1.0), ("selectivity", 0.5)):
                    for split in (90, 50):
                        rise = 0.01 * seed - less - loss
                        for measure, value in (
                            ("macro F1", macro),
                            ("micro F1", micro),
                            ("weighted F1", micro),
                        ):
                            found.append(score(name, measure, "all", part * (value + rise), split, task))
                        if task == "scenes":
                            for scene in SCENES:
                                own = (
                                    0.4
                                    if model == "object" and scene in ("room", "zoo")
                                    else 0.9 + 0.01 * seed
                                )
                                found.append(score(name, "F1", scene, own, split, task))
    found += [replace(score("nothing", "macro F1", "all", 0.1, 50, "scenes"), classifier="drawn")]
    return found


def score(name, measure, scene, value, split, task):
    return SceneProbeScore(
        *("all", name, name, "forest", task, split, measure, scene, value, None, None, None, 3, 9.0, 0)
    )


def write_seed(place, seed, *, before=0.0, after=-0.05, above=0.1):
    rows = captions()
    verbs = {
        "attention": attention_numbers(seed, before, after + 0.001 * seed),
        "diagnosticity": overlap_numbers(seed, above + 0.001 * seed),
        "ablation": ablation_numbers(seed, rows),
        "scenes": [],
    }
    for verb, numbers in verbs.items():
        (place / verb).mkdir(parents=True)
        write_parquet(place / verb / "measurements.parquet", numbers, Measurement)
    for name, mine in rows.items():
        (place / "ablation" / "images" / "test" / "captions").mkdir(parents=True, exist_ok=True)
        write_parquet(place / "ablation" / "images" / "test" / "captions" / f"{name}.parquet", mine, Ablated)
    write_parquet(place / "scenes" / "scores.parquet", scores(seed), SceneProbeScore)
    counts = [SceneCount("all", scene, many, many) for scene, many in SCENES.items()]
    write_parquet(place / "scenes" / "counts.parquet", counts, SceneCount)
    telling = [Association("road", name, 9, 9, 9, 99, pmi, 0.1) for name, pmi in (("sign", 1.5), ("tree", -0.2), ("car", 2.0))]  # fmt: skip
    write_parquet(place / "ablation" / "associations.parquet", telling, Association)


@pytest.fixture
def study(tmp_path):
    def made(*, seeds=3, name="run", **changes):
        directory = tmp_path / name
        for seed in range(seeds):
            write_seed(directory / f"seed-{seed}", seed, **changes)
        told = {"kind": "scene captioners", "study": {"name": "scenes", "seeds": [0, 1, 2]}}
        write_json(directory / "run.json", {"identity": told, "finished": True, "command": "alignscope <x>"})
        return directory

    return made


def verdicts(directory):
    return {one.key: (one.verdict, one.says) for one in findings(read_study(directory))}


def test_a_claim_holds_where_the_interval_lies_on_its_side(study):
    found = verdicts(study())
    assert found["even"][0] == "supported"
    assert found["even"][1].startswith("standard deviation × 100 of all relations is 10.0 after object captions and 5.10 after scene captions (−4.90 ± 0.25, below zero in 3 of 3 seeds). By block it is lower in vision-vision (−4.90) and label-vision (−4.90).")  # fmt: skip
    assert found["holistic"][0] == "supported"
    assert found["frequent"][0] == found["telling"][0] == "supported"
    assert found["separator"][0] == "cannot tell"  # object captions do not move
    assert found["present"][0] == "supported"
    assert "Against the detector’s features alone it is −0.20" in found["present"][1]
    assert found["rare"][0] == "supported"
    assert found["robust"][0] == found["alone"][0] == "not supported"


def test_the_other_side_is_not_supported(study):
    found = verdicts(study(after=0.05, above=-0.1))
    assert found["even"][0] == found["holistic"][0] == "not supported"
    assert found["frequent"][0] == found["telling"][0] == "not supported"
    assert "the paper has no such baseline" in found["frequent"][1]


def test_an_interval_over_zero_and_one_seed_cannot_tell(study):
    found = verdicts(study(after=-0.001, above=-0.001))  # -1, 0 and 1 thousandth
    assert found["even"][0] == found["frequent"][0] == found["mass"][0] == "cannot tell"
    assert "does not show that it stays" in found["mass"][1]
    alone = verdicts(study(seeds=1, name="alone"))
    assert {verdict for verdict, _ in alone.values()} == {"cannot tell", "beyond the paper"}
    assert "one seed: no interval" in alone["even"][1]


def test_the_headline_counts_claims(study):
    found = findings(read_study(study()))
    counts = [sum(one.verdict == verdict for one in found) for verdict in ("supported", "not supported", "cannot tell")]  # fmt: skip
    assert sum(counts) == len(found) - 1  # one is beyond the paper
    assert headline(found) == (
        f"Of {sum(counts)} claims of paper C {counts[0]} hold here, {counts[1]} do not and {counts[2]} cannot be told"
    )


def test_survival_of_ablation_is_read_from_records_and_captions(study):
    directory = study()
    found = verdicts(directory)
    assert found["survive"][0] == found["reliance"][0] == "supported"
    assert "75.1 percent of object captions change and 25.1 percent of scene captions (−50.0" in found["survive"][1]  # fmt: skip
    assert "one most telling object gone changes 25.1 percent of scene captions, one least telling object 0.10" in found["reliance"][1]  # fmt: skip
    assert "the name of the scene is in 100.0 percent of captions before and 75.0 after" in found["reliance"][1]  # fmt: skip
    assert found["sure"][0] == "cannot tell"
    assert "of 1 and 3 unchanged captions a seed. Fewer than 10 are too few to say." in found["sure"][1]
    read = read_study(directory)
    assert naming(read, "test", "image", "after") == {0: 0.75, 1: 0.75, 2: 0.75}
    shifts = [0.6 - (0.55 - 0.1 * place) for place in (1, 2, 3)]
    wanted = math.sqrt(sum((one - sum(shifts) / 3) ** 2 for one in shifts) / 3)
    assert shift_deviation(read, "scene", "test", "image")[0] == pytest.approx(wanted)
    assert shift_deviation(read, "object", "test", "image") == {}  # one caption alone


def test_background_and_objects_are_told_apart(study):
    says = verdicts(study())["background"][1]
    assert "states after scene captions: micro F1 0.96 (test) and 0.66 (bare); without its most telling object (test) −0.10" in says  # fmt: skip
    assert "without its least telling object (bare) +0.05" in says


def test_tables_pair_seeds_and_set_the_paper_beside(study):
    tables = all_tables(read_study(study()))
    rows = dict(tables["table-4"].rows)
    own = rows["states, scene captions (test)"][1]
    assert (own.value, own.difference, own.paper) == (pytest.approx(0.91), pytest.approx(0.4), "0.96")
    assert rows["states, object captions (test), 1 object less: most telling"][1].paper == "0.66"
    assert rows["states, object captions (bare)"][1].paper == ""
    assert rows["labels drawn as often as they occur"][1].paper == "0.12"
    overlaps = dict(tables["table-2"].rows)
    assert [one.paper for one in overlaps["road"]] == ["1.0", "0.9", "1.0", "0.66"]
    assert {one.paper for one in overlaps["zoo"]} == {""}
    assert overlaps["scene captions: above even attention"][0].text == "+0.10"
    counts = dict(tables["table-5"].rows)["test: its most telling objects"]
    assert [(one.value, one.paper) for one in counts] == [(6.0, "1499"), (4.0, "469")]
    objects = dict(tables["table-3"].rows)["road"][0]
    assert objects.text == "car (2.00, in 9 images), sign (1.50, in 9 images)"
    assert objects.paper.startswith("vehicle number plate")
    assert "sha:s0,s1,s2" in dict(tables["figure-4"].rows)["pooled"][1].signature


def test_a_scene_captioners_training_is_table_1(study):
    directory = study()
    for seed in range(3):
        place = directory / f"seed-{seed}" / "captioners" / "scene"
        place.mkdir(parents=True)
        rows = [{"step": 1, "loss": 2.0}, {"step": 9, "validation": {"cider": 1.0 + seed, "odd": None}}]
        write_jsonl(place / "metrics.jsonl", rows)
    table = all_tables(read_study(directory))["table-1"]
    assert table.columns == ("CIDEr-D",)
    assert [(name, cells[0].value) for name, cells in table.rows] == [("step 9", 200.0)]
    rows = [{"epoch": 4, "validation": {"bleu_4": 0.5}}]
    write_jsonl(directory / "seed-0" / "captioners" / "scene" / "epochs.jsonl", rows)
    table = all_tables(read_study(directory))["table-1"]
    assert (table.rows[-1][0] == "epoch 4") or (table.rows[0][0] == "epoch 4")
    assert dict(table.rows)["epoch 4"][table.columns.index("BLEU-4")].paper == "49.7"


def test_contours_are_level():
    xs, ys = np.linspace(-2, 2, 41), np.linspace(-1, 3, 31)
    heights = np.exp(-(xs[:, None] ** 2 + (ys[None] - 1) ** 2))
    lines = segments(xs, ys, heights, math.exp(-(1.03**2)))
    assert len(lines) > 40
    for one, other in lines:
        for x, y in (one, other):
            assert math.hypot(x, y - 1) == pytest.approx(1.03, abs=0.01)
    ends = [tuple(round(v, 9) for v in end) for line in lines for end in line]
    assert all(ends.count(end) == 2 for end in ends)  # a closed line
    ramp = np.repeat(xs[:, None], 31, axis=1)
    assert {round(x, 9) for line in segments(xs, ys, ramp, 0.25) for x, _ in line} == {0.25}


def test_saddles_have_two_lines():
    heights = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert len(segments(np.array([0.0, 1.0]), np.array([0.0, 1.0]), heights, 0.5)) == 2


def test_a_heat_map_shades_each_cell_once_and_says_its_highest():
    values = np.array([[0.0, 0.5], [1.0, 0.25]])
    drawn = str(heat_map(Matrix(("<a>", "b"), ("c", "d & e"), values), title="t", highest=1.0))
    shades = {float(opacity): path.count("M") for opacity, path in re.findall(r'fill-opacity="([\d.]+)" d="([^"]*)"', drawn)}  # fmt: skip
    assert shades == {0.25: 1, 0.5: 1, 1.0: 1}
    assert "highest: b to c 1.00; &lt;a&gt; to d &amp; e 0.50" in drawn
    assert "<a>" not in drawn


def test_attention_matrices_set_labels_before_vision(study):
    directory = study()
    place = directory / "seed-0" / "attention" / "models" / "scene"
    place.mkdir(parents=True)
    cells = [
        BlockCell("i", 0, "max", block, row, column, row, column, value)
        for block, row, column, value in (
            ("vision-label", 0, 0, 0.1), ("label-label", 0, 0, 0.2), ("label-vision", 0, 0, 0.3), ("vision-vision", 0, 0, 0.4),
        )
    ]  # fmt: skip
    write_parquet(place / "cells.parquet", [*cells, replace(cells[0], image="later", value=9.0)], BlockCell)
    write_parquet(place / "units.parquet", [UnitName("i", "label", 0, "car")], UnitName)
    image, matrix = attention_matrix(read_study(directory), "scene", 0)
    assert (image, matrix.rows) == ("i", ("car", "region 1"))
    assert matrix.values.tolist() == [[0.2, 0.3], [0.1, 0.4]]


def test_confusions_are_shares_of_the_true_scene_over_seeds(study):
    directory = study(seeds=2)
    name = "scene test"
    base = SceneProbeCell("all", name, name, "forest", "scenes", 50, 0, "road", "road", 3)
    for seed, cells in enumerate(
        [
            [base, replace(base, predicted="sea", count=1), replace(base, task="control", count=99)],
            [replace(base, predicted="sea", count=4), replace(base, split=90, count=99)],
        ]
    ):
        write_parquet(directory / f"seed-{seed}" / "scenes" / "cells.parquet", cells, SceneProbeCell)
    matrix = confusion(read_study(directory), Probe(name, name), ("road", "sea"))
    assert matrix.values.tolist() == [[3 / 8, 5 / 8], [0.0, 0.0]]
    assert confusion(read_study(directory), Probe("object test", "object test"), ("road", "sea")) is None


def test_densities_of_seeds_weigh_as_many_captions(study, monkeypatch):
    directory = study(seeds=2)
    figure, series = "confidence after, unchanged", "scene | test | image"
    for seed, (left, items) in enumerate([(0.0, 30), (2.0, 10)]):
        points = [Point(figure, series, left + x, y, None, None, items) for x, y in ((0, 0), (0.5, 2), (1, 0))]  # fmt: skip
        write_parquet(directory / f"seed-{seed}" / "ablation" / "points.parquet", points, Point)
    kept = []
    monkeypatch.setattr(
        "alignscope.reporting.scenes_figures.density_chart",
        lambda curves, means, **how: kept.append((curves, means)) or Markup("drawn"),
    )
    assert confidence_figure(read_study(directory), figure) == [("test", Markup("drawn"))]
    ((curve,), (mean,)) = kept[0]
    assert isinstance(curve, Curve)
    heights = {point.x: point.y for point in curve.points}
    step = curve.points[1].x - curve.points[0].x
    assert sum(heights.values()) * step == pytest.approx(1.0, abs=0.02)
    assert sum(y for x, y in heights.items() if x < 1.5) * step == pytest.approx(0.75, abs=0.02)
    assert mean.value == pytest.approx(0.75 * 0.5 + 0.25 * 2.5, abs=0.02)


def test_examples_show_changed_and_unchanged_captions_of_different_images():
    rows = [
        ablated(f"i{k}", f"s{k % 4}", 1 + k % 2, "image", "a", "b" if k % 2 else "a") for k in range(40)
    ] + [ablated("other", "s0", 9, "least", "a", "b")]
    picked = chosen(rows)
    assert len(picked) == len({row.image for row in picked}) == 4  # two scenes of either kind
    assert {row.is_changed for row in picked} == {True, False}
    assert all(row.reading == "image" for row in picked)
    assert len(chosen([replace(row, scene=row.image) for row in rows])) == 6


def test_images_to_show_are_known_before_the_page(study):
    directory = study()
    assert shown_images(directory, "test") == ("i0", "i1", "i2")
    assert shown_images(directory, "nowhere") == ()


def test_hostile_names_stay_text_and_nothing_is_asked_of_the_net(study):
    directory = study()
    hostile = '<script src="http://evil.example">'
    place = directory / "seed-0"
    rows = [replace(row, before=hostile, scene="<b>", objects="<i>x") for row in captions()["scene"]]
    write_parquet(place / "ablation" / "images" / "test" / "captions" / "scene.parquet", rows, Ablated)
    write_parquet(place / "ablation" / "associations.parquet", [Association("<svg onload=x>", "<u>", 9, 9, 9, 9, 1.0, 1.0)], Association)  # fmt: skip
    cells = [DensityCell("pooled | layer 0 | max", "<em>", x, y, 1.0 - abs(x - 1) / 2, 9) for x in (0.0, 1.0, 2.0) for y in (0.0, 1.0)]  # fmt: skip
    write_parquet(place / "attention" / "densities.parquet", cells, DensityCell)
    html = page(directory).read_text()
    assert len(contour_figure(read_study(directory), ["pooled | layer 0 | max"])) == 1
    for wrong in ("<script", "<svg onload", "<em>", "<i>x", "<u>"):
        assert wrong not in html, wrong
    assert "&lt;script src=" in html
    assert "&lt;svg onload=x&gt;" in html
    linked = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert len(linked) > 20
    assert all(link.startswith(("#", "tables/", "data:image/png")) for link in linked)
    assert "default-src 'none'" in html
    for name in {link for link in linked if link.startswith("tables/")}:
        assert (directory / name).is_file(), name
    anchors = {link[1:] for link in linked if link.startswith("#")}
    assert anchors <= set(re.findall(r'id="([^"]*)"', html))


def test_the_terminal_gets_the_same_sentences_and_files_the_same_numbers(study):
    directory = study()
    html = scenes_page(directory).read_text()
    first, *rest = findings_of(directory)
    assert first == f"{headline(findings(read_study(directory)))}."
    assert rest[0].startswith("More even attention: supported. standard deviation")
    assert "(−4.90 ± 0.25, below zero in 3 of 3 seeds)" in html
    with (directory / "tables" / "figure-5.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["column"] == "any number taken: scene"]
    assert [float(row["value"]) for row in rows] == pytest.approx([25.1, 0.1])
    assert rows[0]["paper"] == "13"
    assert "the difference to object captions" in (directory / "tables" / "figure-5.tex").read_text()


def test_wilcoxons_test_is_told_with_the_scene_captioners_sign(study):
    directory = study(seeds=1)
    test = GroupTest(
        "Wilcoxon", "std", "object and scene | pooled | layer 0 | max", 0.1, 0.05, 9, 9, 0, 1.0, 1.0, 0.01, 0.9, "rank-biserial"
    )  # fmt: skip
    other = replace(test, group="object and scene | pooled | layer 1 | max", p=0.9)
    write_parquet(directory / "seed-0" / "attention" / "tests.parquet", [test, other], GroupTest)
    assert "p < .05 in 1 of 1 seeds; the median rank-biserial effect is −0.90" in verdicts(directory)["even"][1]  # fmt: skip


def test_two_sets_of_images_are_told_apart_only_where_every_seed_does(study):
    directory = study(seeds=2)
    test = GroupTest(
        "Mann-Whitney", "confidence shift", "scene | test against train | image | m=all", 0.1, 0.1, 9, 9, 0, 1.0, 0.13, 0.89, 0.1, "r"
    )  # fmt: skip
    for name, p in (("even", 0.89), ("odd", 0.01)):
        for seed in (0, 1):
            path = directory / f"seed-{seed}" / "ablation" / "tests.parquet"
            write_parquet(path, [replace(test, p=p if seed else 0.01), replace(test, test="z")], GroupTest)
        verdict, says = verdicts(directory)["alike"]
        assert verdict == {"even": "cannot tell", "odd": "not supported"}[name]
    assert "scene captions (test against train): z 0.13, 0.13, p 0.01, 0.01 by seed" in says


def test_a_directory_without_measurements_is_refused(tmp_path):
    write_json(tmp_path / "run.json", {"identity": {"kind": "scene captioners"}, "finished": True})
    with pytest.raises(BadData, match=r"wanted the --out of a finished"):
        page(tmp_path)


def test_printed_numbers_are_the_papers():
    if not PAPER.exists():
        pytest.skip(f"{PAPER} is not there")
    paper = json.loads((ROOM / "papers" / "c.json").read_text())
    lines = PAPER.read_text().splitlines()
    checked = 0
    for scene, row in paper["table-2"]["overlaps"].items():
        assert f"{scene} {' '.join(row.values())}" in lines
        checked += 1
    for epoch, row in paper["table-1"]["metrics"].items():
        assert f"{epoch} {' '.join(row.values())}" in lines
        checked += 1
    names = {
        "object": "PRE",
        "scene": "FT",
        "object ablated": "PRE (A)",
        "scene ablated": "FT (A)",
        "drawn": "Random",
    }
    for classifier in ("forest", "mlp"):
        for rows in paper["probes"][classifier].values():
            for name, row in rows.items():
                assert f"{names[name]} {' '.join(row.values())}" in lines
                checked += 1
    for kind, place in (("train", 0), ("test", 1)):
        for count, many in paper["table-5"]["samples"][kind].items():
            called = "no ablation" if count == "0" else count
            assert any(line.startswith(f"{called} ") and line.split()[-2:][place] == many for line in lines)
            checked += 1
    for scene, objects in paper["table-3"]["objects"].items():
        assert f"{scene} {objects}" in lines
        checked += 1
    assert checked == 7 + 5 + 17 + 8 + 5
