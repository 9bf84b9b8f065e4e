"""One pair under several models: records of each, and a page."""

import pytest
from PIL import Image

import alignscope
from alignscope.errors import BadInput, OutputExists
from alignscope.files import read_jsonl, read_parquet
from alignscope.records import Caption, Word, WordHeat

CAPTION = Caption("a dog is red", (Word("dog", 2, 5, "object"), Word("red", 9, 12, "attribute")))


def test_two_models_side_by_side(tiny_clip_dir, tiny_siglip_dir, tmp_path):
    image = Image.new("RGB", (40, 30), "red")
    models = [str(tiny_clip_dir), str(tiny_siglip_dir), str(tiny_clip_dir)]
    page = alignscope.inspect(models, image, CAPTION, tmp_path / "run")
    names = {f"{tiny_clip_dir.name} (1)", tiny_siglip_dir.name, f"{tiny_clip_dir.name} (2)"}
    heats = read_parquet(page.parent / "heats.parquet", WordHeat)
    assert {word.item for word in heats} == names
    assert len(heats) == 3 * 4 * 2
    maps = list(read_jsonl(page.parent / "maps.jsonl"))
    assert {(one["item"], one["method"]) for one in maps} == {
        (n, m) for n in names for m in ("attention", "gradcam")
    }
    with Image.open(page.parent / "image.png") as shown:
        assert shown.size == (40, 30)
    html = page.read_text()
    assert all(name in html for name in names)
    with pytest.raises(OutputExists, match="--overwrite"):
        alignscope.inspect(models, image, CAPTION, tmp_path / "run")


def test_up_to_five_models(tiny_clip_dir, tmp_path):
    image = Image.new("RGB", (8, 8))
    with pytest.raises(BadInput, match="got 6 models, wanted 1 to 5"):
        alignscope.inspect([str(tiny_clip_dir)] * 6, image, CAPTION, tmp_path / "run")
