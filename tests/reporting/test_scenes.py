"""The page of scene captioners: verdicts follow from intervals over seeds, and no name can break it."""

import csv
import json
import math
import re
import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from alignscope.errors import BadData
from alignscope.files import read_parquet, write_json, write_jsonl, write_parquet
from alignscope.records import Ablated, Association, DensityCell, GroupTest, Measurement
from alignscope.reporting.page import ROOM
from alignscope.reporting.pages import page
from alignscope.reporting.scenes import all_tables, findings_of, scenes_page
from alignscope.reporting.scenes_examples import chosen, shown_images
from alignscope.reporting.scenes_figures import contour_figure
from alignscope.reporting.scenes_findings import findings, headline
from alignscope.reporting.scenes_numbers import read_study
from alignscope.reporting.scenes_tables import naming, shift_deviation
from alignscope.reporting.scenes_verdicts import Finding

RUNS = runpy.run_path(str(Path(__file__).with_name("scene_runs.py")))
ablated = RUNS["ablated"]
captions = RUNS["captions"]
write_study = RUNS["write_study"]
PAPER = Path(__file__).parents[3] / "shared" / "papers" / "C_scene_descriptions.txt"


@pytest.fixture
def study(tmp_path):
    return lambda *, name="run", **changes: write_study(tmp_path / name, **changes)


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


def test_of_one_seed_intervals_over_images_are_taken_where_there_are_some(study):
    directory = study(seeds=1)
    path = directory / "seed-0" / "diagnosticity" / "measurements.parquet"
    rows = [
        replace(one, low=one.value - 0.05, high=one.value + 0.05) for one in read_parquet(path, Measurement)
    ]
    write_parquet(path, rows, Measurement)
    path = directory / "seed-0" / "ablation" / "measurements.parquet"
    gap = Measurement(
        "captions changed, difference", "object - scene | test | image | m=all", 0.5, 0.4, 0.6, 9, 9
    )
    write_parquet(path, [*read_parquet(path, Measurement), gap], Measurement)
    found = verdicts(directory)
    assert found["frequent"][0] == found["survive"][0] == "supported"
    assert "at 3 +0.10, one seed: 0.05 to 0.15 over images" in found["frequent"][1]
    assert "(−50.0 points, one seed: −60.0 to −40.0 over images)" in found["survive"][1]
    assert found["mass"][0] == "cannot tell"


def test_the_headline_counts_claims(study):
    found = findings(read_study(study()))
    counts = [sum(one.verdict == verdict for one in found) for verdict in ("supported", "not supported", "cannot tell")]  # fmt: skip
    assert sum(counts) == len(found) - 1  # one is beyond the paper
    assert headline(found) == (
        f"Of {sum(counts)} claims of paper C {counts[0]} hold here, {counts[1]} do not and {counts[2]} cannot be told"
    )


def test_one_claim_is_told_as_one():
    found = [Finding(name, name, name, "") for name in ("supported", "not supported", "beyond the paper")]
    assert headline(found) == "Of 2 claims of paper C 1 holds here and 1 does not"


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
    rows = [
        {"step": 9, "validation": {"BLEU-4": 0.25}, "reasons": {"SPICE": "SPICE: no <jars>"}},
        {"epoch": 4, "validation": {"BLEU-4": 0.5}},
    ]
    write_jsonl(directory / "seed-0" / "captioners" / "scene" / "epochs.jsonl", rows)
    table = all_tables(read_study(directory))["table-1"]
    assert table.columns == ("BLEU-4", "SPICE", "CIDEr-D")
    found = dict(table.rows)
    assert [one.value for one in found["step 9"]] == [25.0, None, 200.0]
    assert found["step 9"][1].reason == "unscored: SPICE could not run"
    assert "Unscored: SPICE: no &lt;jars&gt;." in scenes_page(directory).read_text()
    assert (found["epoch 4"][0].value, found["epoch 4"][0].paper) == (50.0, "49.7")


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
    assert "(−4.90 ±\N{NO-BREAK SPACE}0.25, below zero in 3 of 3 seeds)" in html
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
    assert verdicts(directory)["even"][0] == "supported"
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
