"""Scores of one shard: those of the model's own forward, in order, whatever else lies in it."""

import hashlib
import io
import os
import pickle
import tracemalloc
from dataclasses import replace

import pytest
import torch
from PIL import Image as Pillow
from shard_cases import caption, pairs, picture, shard

from alignscope.errors import BadData, NoRoom, Unsupported
from alignscope.models.dual.loading import load
from alignscope.models.zoo import open_model
from alignscope.studies.shards import one_shard as module
from alignscope.studies.shards.one_shard import How, check_able, score_shard


@pytest.fixture(scope="module")
def encoder(tiny_clip_dir):
    return load(str(tiny_clip_dir))


def rows_of(model, path, **how):
    return score_shard(model, path, How(**how), weights="w").table.to_pylist()


def test_scores_are_those_of_the_models_own_forward(encoder, tiny_clip_dir, tmp_path):
    import transformers

    path = shard(tmp_path / "cc-00007.tar", pairs(range(6)))
    found = rows_of(encoder, path, batch_size=4)
    model = transformers.CLIPModel.from_pretrained(tiny_clip_dir).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_clip_dir)
    processor = transformers.AutoImageProcessor.from_pretrained(tiny_clip_dir, use_fast=False)
    for n, row in enumerate(found):
        pixels = processor(images=Pillow.open(io.BytesIO(picture(n))), return_tensors="pt")
        with torch.no_grad():
            out = model(**tokenizer([caption(n)], return_tensors="pt"), **pixels)
        assert row["key"] == f"{n:09d}"
        assert row["caption_sha"] == hashlib.sha256(caption(n).encode()).hexdigest()[:16]
        assert row["score"] == pytest.approx(out.logits_per_image.item(), abs=1e-4)
        assert row["cosine"] == pytest.approx((out.image_embeds @ out.text_embeds.T).item(), abs=1e-5)
        assert (row["problem"], row["note"]) == ("", "")
    assert len({row["cosine"] for row in found}) == len(found) == 6


def test_neither_batches_nor_their_pixels_change_a_score(encoder, tmp_path, monkeypatch):
    path = shard(tmp_path / "a.tar", pairs(range(7)))
    wanted = [row["cosine"] for row in rows_of(encoder, path)]
    for size in (1, 3):
        assert [row["cosine"] for row in rows_of(encoder, path, batch_size=size)] == pytest.approx(
            wanted, abs=1e-6
        )
    sizes = []
    encode = encoder.encode_images
    monkeypatch.setattr(
        encoder, "encode_images", lambda images, **how: sizes.append(len(images)) or encode(images, **how)
    )
    monkeypatch.setattr(module, "MOST_PIXELS", 2 * 40 * 32)
    assert [row["cosine"] for row in rows_of(encoder, path)] == pytest.approx(wanted, abs=1e-6)
    assert sizes == [2, 2, 2, 1]


class Trap:
    def __reduce__(self):
        return os.mkdir, ("sprung",)


def thin() -> bytes:
    file = io.BytesIO()
    Pillow.new("RGB", (2, 101)).save(file, "png")
    return file.getvalue()


def bomb() -> bytes:
    file = io.BytesIO()
    Pillow.new("1", (12_000, 12_000)).save(file, "png")
    return file.getvalue()


def test_what_has_no_score_says_why_and_does_no_harm(encoder, tmp_path, monkeypatch):
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    members = [("../../x.png", picture(1)), ("../../x.txt", b"one"), ("../../x.pyd", pickle.dumps(Trap()))]
    members += [("b.png", b"no picture"), ("b.txt", b"broken"), ("c.png", picture(2))]
    members += [("d.txt", b"no image"), ("e.png", thin()), ("e.txt", b"thin")]
    members += [("f.png", bomb()), ("f.txt", b"bomb"), ("g.png", picture(3)), ("g.txt", b"\xff")]
    members += [("h\udcff.png", picture(4)), ("h\udcff.txt", b"a name that is no UTF-8")]
    members += [("i.bin", bytes(2**26)), ("i.png", picture(5)), ("i.txt", b"beside a bomb of zeros")]
    path = shard(inside / "s.tar.gz", members)
    before = sorted(tmp_path.rglob("*"))
    tracemalloc.start()
    found = rows_of(encoder, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**25  # of 2**26 zeros
    assert sorted(tmp_path.rglob("*")) == before
    assert [row["key"] for row in found] == ["../../x", "b", "c", "d", "e", "f", "g", "h\\udcff", "i"]
    assert [row["key"] for row in found if row["score"] is not None] == ["../../x", "h\\udcff", "i"]
    told = {row["key"]: row["problem"] for row in found if row["problem"]}
    wanted = {"b": "does not decode", "c": "wanted a .txt", "d": "wanted an image", "e": "2x101 pixels"}
    wanted |= {"f": "12000x12000", "g": "cannot be read"}
    assert told.keys() == wanted.keys()
    assert all(part in told[key] for key, part in wanted.items())
    facts = score_shard(encoder, path, How(), weights="w").facts
    assert (facts.samples, facts.scored, facts.unscored, facts.broken) == (9, 3, 6, "")


def test_a_shard_cut_short_keeps_what_is_whole_and_says_so(encoder, tmp_path):
    path = shard(tmp_path / "s.tar", pairs(range(5)))
    whole = rows_of(encoder, path)
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"000000003.txt") + 600])
    cut = score_shard(encoder, path, How(), weights="w")
    assert "cannot be read on after '000000003'" in cut.facts.broken
    assert [row["key"] for row in cut.table.to_pylist()] == [f"{n:09d}" for n in range(3)]
    assert cut.facts.unscored == 0
    scores = [row["cosine"] for row in cut.table.to_pylist()]
    assert scores == pytest.approx([row["cosine"] for row in whole[:3]], abs=1e-6)
    with pytest.raises(BadData, match="No such file"):
        score_shard(encoder, tmp_path / "none.tar", How(), weights="w")


def test_the_hash_is_of_what_decides_a_score(encoder, tmp_path):
    def sha(members) -> str:
        return score_shard(encoder, shard(tmp_path / "s.tar", members), How(), weights="w").facts.sha

    members = pairs(range(2))
    wanted = sha(members)
    assert sha([*members, ("000000001.json", b"{}")]) == wanted
    others = [members[:2], members[2:] + members[:2], [*members[:3], ("000000001.txt", b"another")]]
    others += [[("000000000.png", picture(9)), *members[1:]], [*members, ("x.png", picture(1))]]
    assert len({wanted, *map(sha, others)}) == 6


def test_what_had_to_be_done_is_noted(encoder, tmp_path):
    file = io.BytesIO()
    Pillow.new("L", (32, 32)).save(file, "png")
    members = [
        ("a.png", file.getvalue()),
        ("a.txt", b"a red dog " * 10),
        ("b.png", picture(1)),
        ("b.txt", b"a dog"),
    ]
    first, second = rows_of(encoder, shard(tmp_path / "s.tar", members))
    assert first["score"] is not None
    assert first["note"].startswith("greyscale made RGB; text of 32 tokens truncated at 24")
    assert second["note"] == ""


def test_a_text_that_the_model_cannot_take_costs_itself_alone(encoder, tmp_path, monkeypatch):
    tokens, images = encoder.tokens, encoder.encode_images

    def picky(texts):
        if any("above 2" in text for text in texts):
            raise BadData("text 0 holds '<image>', which this model has no embedding for")
        return tokens(texts)

    def broken(shown, **how):
        return images(shown, **how) * torch.tensor([[1.0], [torch.nan], [1.0]])

    monkeypatch.setattr(encoder, "tokens", picky)
    monkeypatch.setattr(encoder, "encode_images", broken)
    found = rows_of(encoder, shard(tmp_path / "s.tar", pairs(range(4))))
    assert [row["score"] is None for row in found] == [False, True, True, False]
    assert found[1]["problem"] == "its score with the image is not finite"
    assert found[1]["cosine"] is None
    assert "'<image>'" in found[2]["problem"]


class Reader:
    """A scorer without embeddings that has no room for one of its texts."""

    name = fingerprint = "reader"

    def __init__(self, dual) -> None:
        self.traits = replace(dual.traits, family="captioner", cuts=False)
        self.tokens, self.evaluating, self.scrambled = dual.tokens, dual.evaluating, dual.scrambled

    def score(self, images, texts):
        scores = [float(len(text)) for text in texts]
        full = {place: "got 90 tokens" for place, text in enumerate(texts) if "above 1" in text}
        if full:
            raise NoRoom("no room", [float("nan") if n in full else s for n, s in enumerate(scores)], full)
        return torch.tensor(scores)


def test_models_without_embeddings_have_scores_and_no_cosines(encoder, tmp_path):
    found = rows_of(Reader(encoder), shard(tmp_path / "s.tar", pairs(range(3))))
    assert [row["score"] for row in found] == [len(caption(0)), None, len(caption(2))]
    assert [row["cosine"] for row in found] == [None] * 3
    assert found[1]["problem"] == "got 90 tokens"
    with pytest.raises(Unsupported, match="regions"):
        check_able(open_model("tiny-uniter"))
