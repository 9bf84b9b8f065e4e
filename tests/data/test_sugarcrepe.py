"""SugarCrepe: the official counts, the photographs at hand, and faults by record."""

import json
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from alignscope.data.benchmarks.sugarcrepe import KINDS, SubsetCount, SugarCrepe, read_sugarcrepe, to_pairs
from alignscope.data.pairs import PairFile, read_pairs
from alignscope.errors import BadData, UnknownName
from alignscope.records import FOIL_KINDS, Caption, Foil, Item, Word

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not (SHARED / "sugar_crepe").is_dir(), reason="../shared/data is not here")

# Records and distinct images per subset: reference/benchmarks.md section 2, counted there by other code.
OFFICIAL = {
    "add_att": (692, 497),
    "add_obj": (2062, 908),
    "replace_att": (788, 524),
    "replace_obj": (1652, 823),
    "replace_rel": (1406, 777),
    "swap_att": (666, 593),
    "swap_obj": (245, 224),
}
# Records whose image is among the 25 photographs of ../shared/data/coco_images.
WITH_PHOTOGRAPH = {
    "add_att": 11,
    "add_obj": 40,
    "replace_att": 16,
    "replace_obj": 25,
    "replace_rel": 22,
    "swap_att": 4,
    "swap_obj": 2,
}


def subset_of(item: Item) -> str:
    return item.id.partition("/")[0]


@needs_data
def test_the_official_files_have_their_official_counts():
    read = read_sugarcrepe(SHARED / "sugar_crepe")
    assert read.problems == ()
    assert len(read.items) == 7_511
    assert len({item.id for item in read.items}) == 7_511
    assert len({item.image for item in read.items}) == 1_560
    assert Counter(map(subset_of, read.items)) == {name: records for name, (records, _) in OFFICIAL.items()}
    for name, (_, images) in OFFICIAL.items():
        assert len({item.image for item in read.items if subset_of(item) == name}) == images
    same_words = Counter(
        subset_of(item)
        for item in read.items
        if Counter(item.caption.text.lower().rstrip(". ").split())
        == Counter(item.foils[0].text.lower().rstrip(". ").split())
    )
    assert set(same_words) == {"swap_att", "swap_obj"}  # only swaps keep the bag of words
    assert all(item.foils[0].kind == KINDS[subset_of(item)] for item in read.items)


@needs_data
def test_numbers_are_kept_over_the_gap():
    swaps = read_sugarcrepe(SHARED / "sugar_crepe" / "swap_obj.json").items
    names = [item.id for item in swaps]
    assert len(names) == 245
    assert {"swap_obj/107", "swap_obj/109", "swap_obj/245"} <= set(names)
    assert "swap_obj/108" not in names
    assert swaps[0] == Item(
        "swap_obj/0",
        "000000222235.jpg",
        Caption("A cat sits on its hind legs, and swats at the plant."),
        (Foil("A cat sits on the plant, and swats at its hind legs.", "swap_object"),),
    )


@needs_data
def test_the_photographs_at_hand_cover_120_records():
    source = SugarCrepe(SHARED / "sugar_crepe", SHARED / "coco_images")
    assert Counter(map(subset_of, source.items)) == WITH_PHOTOGRAPH
    assert len(source.items) == 120
    assert [count.subset for count in source.counts] == list(KINDS)
    assert {c.subset: (c.records, c.usable) for c in source.counts} == {
        name: (OFFICIAL[name][0], WITH_PHOTOGRAPH[name]) for name in KINDS
    }
    assert len(source.problems) == 7_511 - 120
    assert {problem.action for problem in source.problems} == {"unscored"}
    assert source.name == "sugarcrepe"
    assert source.image("000000000785.jpg").size == (640, 425)
    # the covering of records by photographs, as the keeper of the data listed it
    listed = json.loads((SHARED / "coco_images" / "image_records.json").read_text())
    wanted = {
        f"{name.removeprefix('sugar_crepe/')}/{key}"
        for records in listed.values()
        for name, keys in records.items()
        if name.startswith("sugar_crepe/")
        for key in keys
    }
    assert {item.id for item in source.items} == wanted


@needs_data
def test_as_pairs_it_is_the_same_data(tmp_path):
    assert to_pairs(SHARED / "sugar_crepe", tmp_path / "pairs.jsonl") == 7_511
    assert read_pairs(tmp_path / "pairs.jsonl").items == read_sugarcrepe(SHARED / "sugar_crepe").items
    source = SugarCrepe(SHARED / "sugar_crepe", SHARED / "coco_images")
    assert PairFile(tmp_path / "pairs.jsonl", SHARED / "coco_images").sha == source.sha


def record(**changes: object) -> dict[str, object]:
    return {"filename": "a.png", "caption": "a cat", "negative_caption": "a dog", **changes}


def folder(tmp_path: Path, **files: object) -> Path:
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    return tmp_path


def test_every_subset_has_a_known_kind():
    assert list(KINDS) == list(OFFICIAL)
    assert set(KINDS.values()) < set(FOIL_KINDS)
    whole = {"att": "attribute", "obj": "object", "rel": "relation"}
    for subset, kind in KINDS.items():
        how, what = subset.split("_")
        assert kind == f"{how}_{whole[what]}"


def test_unusable_records_are_problems(tmp_path):
    without = record()
    del without["negative_caption"]
    bad = {
        "0": record(),
        "2": "x",
        "3": without,
        "5": record(caption=""),
        "7": record(negative_caption=" a cat"),
    }
    source = SugarCrepe(folder(tmp_path, swap_att=bad), tmp_path)
    assert [item.id for item in source.items] == ["swap_att/0"]
    assert source.name == "sugarcrepe-swap_att"
    assert source.counts == (SubsetCount("swap_att", 5, 1, 1),)
    by_item = {problem.item: problem.what for problem in source.problems}
    assert by_item["swap_att/2"] == "the record is a text ('x'), not an object"
    assert by_item["swap_att/3"] == "`negative_caption` is missing"
    assert by_item["swap_att/5"] == "`caption` is empty"
    assert by_item["swap_att/7"] == "`negative_caption` is the caption itself"
    assert by_item["swap_obj"] == "no file swap_obj.json"
    assert len(source.problems) == 4 + 6


def test_subsets_are_chosen_by_name(tmp_path):
    data = folder(tmp_path, swap_att={"0": record()}, add_obj={"4": record()})
    chosen = SugarCrepe(data, tmp_path, subsets=["swap_att", "add_obj"])
    assert [(item.id, item.foils[0].kind) for item in chosen.items] == [
        ("add_obj/4", "add_object"),
        ("swap_att/0", "swap_attribute"),
    ]
    assert chosen.problems == ()
    assert [item.id for item in SugarCrepe(data, tmp_path, subsets=["add_obj"]).items] == ["add_obj/4"]
    with pytest.raises(UnknownName, match="did you mean 'swap_att'"):
        SugarCrepe(data, tmp_path, subsets=["swap_atts"])
    with pytest.raises(BadData, match=r"got no replace_rel\.json"):
        SugarCrepe(data, tmp_path, subsets=["add_obj", "replace_rel"])


def test_word_classes_reach_captions_and_foils(tmp_path):
    def classes(texts):
        return [Caption(text, (Word("a", 0, 1, "other"),)) for text in texts]

    source = SugarCrepe(folder(tmp_path, swap_att={"0": record()}), tmp_path, word_classes=classes)
    assert source.items[0].caption.words == source.items[0].foils[0].words == (Word("a", 0, 1, "other"),)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(BadData, match=r"add_att\.json"):
        read_sugarcrepe(tmp_path / "nowhere")
    with pytest.raises(BadData, match="got 'mine', wanted one of add_att"):
        read_sugarcrepe(folder(tmp_path, mine={"0": record()}) / "mine.json")
    with pytest.raises(BadData, match="got a list"):
        read_sugarcrepe(folder(tmp_path, add_att=[record()]) / "add_att.json")
    with pytest.raises(BadData, match="no usable record"):
        read_sugarcrepe(folder(tmp_path, add_att={}) / "add_att.json")
    (tmp_path / "add_att.json").write_text('{"0": ')
    with pytest.raises(BadData, match="no valid JSON"):
        read_sugarcrepe(tmp_path)
