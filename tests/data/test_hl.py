"""HL: the released test file is counted by hand-written code, faults of made files are told with their line."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from alignscope.data.hl import AXES, HighLevelSet, caption_set, held_out, present, read_hl
from alignscope.data.images import ImageFolder
from alignscope.errors import BadData, BadInput
from alignscope.records import HighLevelImage

HL = Path(__file__).parents[2].parent / "shared" / "data" / "hl_dataset" / "test.jsonl"


def row(name: str = "a.jpg", **changed: Any) -> dict[str, Any]:
    return {
        "file_name": name,
        "captions": {
            "scene": ["in a car", "at home", "in an office"],
            "action": ["posing", "sitting", "waiting"],
            "rationale": ["for fun", "to rest", "for work"],
            "object": ["a man in a tie"],
        },
        "confidence": {axis: [5, 4.0, 1] for axis in AXES},
        "purity": {axis: [-1.5, 0.25, -2] for axis in AXES},
        "diversity": {"scene": 20.5, "action": 0, "rationale": 3.5},
        **changed,
    }


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "train.jsonl"
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return path


def but(field: str, axis: str, value: Any) -> dict[str, Any]:
    """A row in which one entry is another, or is gone with `...`."""
    changed = row()
    if value is ...:
        del changed[field][axis]
    else:
        changed[field][axis] = value
    return changed


@pytest.fixture(scope="module")
def released() -> HighLevelSet:
    if not HL.is_file():
        pytest.skip("../shared/data is not here")
    return read_hl(HL)


def test_the_released_test_split(released: HighLevelSet) -> None:
    """1,499 images and 13,491 captions (3 axes x 3 x 1,499), as the data set's README says; no fault in it."""
    found = released
    rows = [json.loads(line) for line in HL.read_text().splitlines()]
    assert found.problems == ()
    assert len(found.images) == len(rows) == 1_499
    assert sum(len(image.captions[axis]) for image in found.images for axis in AXES) == 13_491
    assert Counter(len(image.captions["object"]) for image in found.images) == {5: 1_498, 6: 1}
    for image, given in zip(found.images, rows, strict=True):
        assert image.image == given["file_name"]
        for field in ("captions", "confidence", "purity"):
            assert getattr(image, field) == {axis: tuple(own) for axis, own in given[field].items()}
        assert image.diversity == given["diversity"]


def test_what_a_folder_lacks_is_counted(tmp_path: Path, released: HighLevelSet) -> None:
    found = released
    here = [found.images[7].image, found.images[3].image]
    for name in here:
        Image.new("RGB", (2, 2)).save(tmp_path / name)
    left = present(found, ImageFolder(tmp_path))
    assert [image.image for image in left.images] == here[::-1]
    assert len(left.problems) == 1_497
    assert {problem.action for problem in left.problems} == {"unscored"}
    assert left.problems[0].item == found.images[0].image
    assert "missing image" in left.problems[0].what
    assert present(found, frozenset(here)).images == left.images
    assert "missing among the 2 images given" in present(found, here).problems[0].what


def test_a_row_is_read_whole(tmp_path: Path) -> None:
    assert read_hl(written(tmp_path, row(), "")).images == (
        HighLevelImage(
            image="a.jpg",
            captions={
                "scene": ("in a car", "at home", "in an office"),
                "action": ("posing", "sitting", "waiting"),
                "rationale": ("for fun", "to rest", "for work"),
                "object": ("a man in a tie",),
            },
            confidence=dict.fromkeys(AXES, (5.0, 4.0, 1.0)),
            purity=dict.fromkeys(AXES, (-1.5, 0.25, -2.0)),
            diversity={"scene": 20.5, "action": 0.0, "rationale": 3.5},
        ),
    )


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        ("{", "not JSON"),
        ("[1]", "got a list"),
        ('{"file_name": "b.jpg", "file_name": "c.jpg"}', "'file_name' twice"),
        (row(), "got the image 'a.jpg' of train.jsonl:1 again"),
        (row(""), "`file_name`: is empty"),
        (row("../b.jpg"), "leads out"),
        (row("b.jpg", captions=["in a car"]), "`captions` is a list"),
        (row("b.jpg", captions={"scene": [], "object": []}), "lacks action, rationale"),
        (row("b.jpg", captions={axis: "a man" for axis in AXES}), "`captions` of scene is a text"),
        ({"image": "b.jpg"}, "`file_name`: is empty"),
    ],
)
def test_a_line_that_is_no_row_is_an_error_with_its_number(tmp_path: Path, broken: Any, what: str) -> None:
    with pytest.raises(BadData) as caught:
        read_hl(written(tmp_path, row(), row("z.jpg"), broken))
    assert str(caught.value).startswith("train.jsonl:3: ")
    assert what in str(caught.value)


def test_a_file_without_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="got no line, wanted HL's JSONL"):
        read_hl(written(tmp_path, ""))
    with pytest.raises(BadData, match="No such file"):
        read_hl(tmp_path / "absent.jsonl")


@pytest.mark.parametrize(
    ("changed", "what", "action"),
    [
        (but("captions", "object", ...), "no `object` captions", "handled"),
        (but("captions", "object", []), "no object caption", "unscored"),
        (but("captions", "place", ["here"]), "unknown axis 'place' passed over", "handled"),
        (but("confidence", "scene", ...), "`confidence` of scene is null", "handled"),
        (but("confidence", "action", [5, 5]), "`confidence` of action is a list ([5, 5])", "handled"),
        (but("confidence", "action", [5, 5, 6]), "not a number from 1 to 5 for each of 3", "handled"),
        (but("confidence", "action", [5, 5, True]), "`confidence` of action", "handled"),
        (but("purity", "rationale", [0, float("nan"), 0]), "not a number for each of 3 captions", "handled"),
        (but("purity", "rationale", [0, 10**400, 0]), "not a number for each of 3 captions", "handled"),
        (but("diversity", "scene", "high"), "`diversity` of scene is a text ('high')", "handled"),
        (row(place="Malta"), "unknown field 'place' passed over", "handled"),
    ],
)
def test_a_missing_part_is_a_problem_and_the_rest_is_kept(
    tmp_path: Path, changed: dict[str, Any], what: str, action: str
) -> None:
    found = read_hl(written(tmp_path, changed))
    (problem,) = found.problems
    assert what in problem.what
    assert (problem.subject, problem.action) == ("train.jsonl:1", action)
    assert found.images[0].captions["scene"] == ("in a car", "at home", "in an office")


def test_a_table_of_scores_that_is_no_table_is_told_for_each_axis(tmp_path: Path) -> None:
    found = read_hl(written(tmp_path, row(purity=None)))
    assert [problem.what.split(" is ")[0] for problem in found.problems] == [
        f"`purity` of {axis}" for axis in AXES
    ]
    assert found.images[0].purity == {}


def test_a_caption_without_text_goes_with_its_scores(tmp_path: Path) -> None:
    found = read_hl(written(tmp_path, but("captions", "scene", ["in a car", " ", "in an office"])))
    (image,) = found.images
    assert image.captions["scene"] == ("in a car", "in an office")
    assert image.confidence["scene"] == (5.0, 1.0)
    assert image.purity["scene"] == (-1.5, -2.0)
    assert [(p.item, p.what, p.action) for p in found.problems] == [
        ("a.jpg", "scene caption 2 is empty", "unscored")
    ]


def test_captions_of_an_axis_and_images_without(tmp_path: Path) -> None:
    found = read_hl(written(tmp_path, row(), but("captions", "action", [""]) | {"file_name": "b.jpg"}))
    captions = caption_set(found, "action")
    assert [(one.image, one.captions) for one in captions.images] == [
        ("a.jpg", ("posing", "sitting", "waiting"))
    ]
    assert [p.what for p in captions.problems if p.item == "b.jpg"][-1] == "no caption of the axis 'action'"


def many(count: int) -> tuple[HighLevelImage, ...]:
    return tuple(HighLevelImage(f"{number:05}.jpg", {}, {}, {}, {}) for number in range(count))


def test_the_papers_sizes_of_train_and_validation() -> None:
    images = many(13_498)
    kept, held = held_out(images, 1_499, seed=0)
    assert (len(kept), len(held)) == (11_999, 1_499)
    assert {one.image for one in kept} | {one.image for one in held} == {one.image for one in images}
    assert [one.image for one in held] == sorted(one.image for one in held)
    every_tenth = Counter(int(one.image[:5]) * 10 // 13_498 for one in held)
    assert min(every_tenth.values()) > 100  # drawn from everywhere: 150 expected of each tenth


def test_what_is_held_out_depends_on_seed_and_names_alone() -> None:
    images = many(100)
    held = {one.image for one in held_out(images, 10, seed=3).held}
    assert held == {one.image for one in held_out(images[::-1], 10, seed=3).held}
    assert held != {one.image for one in held_out(images, 10, seed=4).held}
    assert held_out(images, 0, seed=3).kept == images
    with pytest.raises(BadInput, match="got 101 images to hold out of 100"):
        held_out(images, 101, seed=3)


def test_the_hash_follows_captions_and_scores(tmp_path: Path) -> None:
    one = read_hl(written(tmp_path, row()))
    other = read_hl(written(tmp_path, but("confidence", "scene", [5, 4, 2])))
    assert one.sha == HighLevelSet(one.images).sha != other.sha
