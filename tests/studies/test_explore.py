"""What an explorer answers equals what the model says; what strangers send is refused, and why is said."""

import io
import struct
import warnings
import zlib

import pytest
from PIL import Image

import alignscope
from alignscope.attribution.patches import patch_maps
from alignscope.data.world.grammar import is_true
from alignscope.data.world.paraphrases import understood
from alignscope.errors import BadData, BadImage, BadInput, MissingExtra, NoRoom, UnknownName
from alignscope.models.protocols import PairScorer
from alignscope.studies.auditing.inspection import LEAVING_OUT
from alignscope.studies.exploring import explore
from alignscope.studies.exploring.explore import ALTERNATIVES, Explorer
from alignscope.studies.exploring.gallery import MOST_LISTED, MOST_UPLOADS, folder_gallery, world_gallery

FREE = "A brown dog sits to the left of a ball"


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


def claimed_png(width: int, height: int, content: bytes = zlib.compress(b"\0" * 99)) -> bytes:
    """A PNG of these bytes whose header claims this size."""

    def chunk(name: bytes, content: bytes) -> bytes:
        sealed = name + content
        return struct.pack(">I", len(content)) + sealed + struct.pack(">I", zlib.crc32(sealed))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def whole_bomb(side: int) -> bytes:
    """A PNG of black that is a hundred kilobytes as a file and `side` x `side` pixels in memory."""
    squeeze, row = zlib.compressobj(9), bytes(1 + side // 8)
    content = b"".join(squeeze.compress(row) for _ in range(side)) + squeeze.flush()
    return claimed_png(side, side, content)


def with_text_bomb(megabytes: int) -> bytes:
    """A small PNG with a compressed comment that is this long once it is read."""
    plain, comment = png(Image.new("RGB", (8, 8))), b"c\0\0" + zlib.compress(bytes(megabytes << 20), 9)
    sealed = b"zTXt" + comment
    chunk = struct.pack(">I", len(comment)) + sealed + struct.pack(">I", zlib.crc32(sealed))
    return plain[:33] + chunk + plain[33:]


@pytest.fixture(scope="module")
def clip() -> PairScorer:
    return alignscope.model("tiny-clip")


@pytest.fixture(scope="module")
def scenes(clip) -> Explorer:
    return Explorer([clip, alignscope.model("tiny-uniter")], world_gallery(3))


def first(explorer: Explorer) -> tuple[str, str]:
    return next(iter(explorer.gallery.captions.items()))


@pytest.mark.parametrize("method", ["attention", "gradcam", "gradient", "perturbation"])
def test_scores_heats_and_maps_are_those_of_the_package(scenes, method):
    key, text = first(scenes)
    world = alignscope.World("test", size=3)
    [item] = [item for item in world.items if item.image == key]
    assert item.caption.text == text
    found = scenes.heard(key, text, method=method, map_method="gradcam")
    for one, model in zip(found, scenes.models, strict=True):
        picture = world.image(key) if model.traits.unit == "patch" else world.regions(key, width=256)
        assert one.score == model.score([picture], [text]).item()
        [attributed] = alignscope.attribute(
            model, alignscope.World("test", size=1), method=method, options=LEAVING_OUT
        )
        assert [(w.word, w.word_class, w.start) for w in one.words] == [
            (w.word, w.word_class, w.start) for w in attributed.words
        ]
        assert [w.heat for w in one.words] == pytest.approx([w.heat for w in attributed.words], abs=1e-6)
        [patches] = patch_maps(model, [item], {key: picture}.__getitem__, [text])
        assert one.patches is not None
        assert one.patches.heats == patches.heats
        assert one.problems == ()


def test_what_one_model_cannot_give_is_a_problem_of_it_alone(scenes):
    key, text = first(scenes)
    clip, uniter = scenes.heard(key, text, method="gradcam", map_method="attention")
    assert clip.patches is not None
    assert clip.problems == ()
    assert uniter.patches is None
    assert [one.what for one in uniter.problems] == ["an image map by attention is unsupported by this model"]
    assert uniter.score is not None
    assert uniter.words


def test_a_model_of_regions_cannot_see_an_upload(scenes):
    key = scenes.gallery.upload(png(Image.new("RGB", (70, 50), "red")))
    clip, uniter = scenes.heard(key, FREE, method="gradcam", map_method="gradcam")
    assert clip.score == scenes.models[0].score([Image.new("RGB", (70, 50), "red")], [FREE]).item()
    assert uniter.score is None
    assert "cannot see an uploaded image" in uniter.problems[-1].what
    swaps = scenes.swaps(key, "a ball left of a box")  # a sentence of the world, of no scene of it
    assert swaps.is_true is None
    assert all(swap.scores[0] is not None and swap.scores[1] is None for swap in swaps.swaps)
    assert [one.item for one in swaps.problems] == ["tiny-uniter"]


def test_what_the_model_does_not_hear_is_said(scenes):
    key, _ = first(scenes)
    clip, _ = scenes.heard(key, "a ball " * 40, method="gradcam", map_method="gradcam")
    assert any("truncated" in one.what for one in clip.problems)
    assert any("not heard" in one.what for one in clip.problems)


def test_swaps_of_a_scene_are_false_of_it_and_scored_as_the_model_scores(scenes, clip):
    key, text = first(scenes)
    world = alignscope.World("test", size=3)
    found = scenes.swaps(key, text)
    assert found.is_true
    assert found.problems == ()
    assert {swap.kind for swap in found.swaps} >= {"replace_object", "replace_attribute", "replace_relation"}
    assert len({swap.text for swap in found.swaps}) == len(found.swaps) > 8
    for swap in found.swaps:
        statement = understood(swap.text)
        assert statement is not None
        assert not is_true(statement, world.scene(key))
        assert swap.is_false
        assert swap.scores[0] == pytest.approx(clip.score([world.image(key)], [swap.text]).item(), abs=1e-4)
    assert found.scores[0] == pytest.approx(clip.score([world.image(key)], [text]).item(), abs=1e-4)
    assert scenes.swaps(key, found.swaps[0].text).is_true is False


def test_swaps_of_any_other_caption_are_guesses_of_the_same_class(scenes):
    found = scenes.swaps(first(scenes)[0], FREE)
    assert found.is_true is None
    by_kind: dict[str, list[str]] = {}
    for swap in found.swaps:
        assert not swap.is_false
        by_kind.setdefault(swap.kind, []).append(swap.text)
    assert {kind: len(texts) for kind, texts in by_kind.items()} == {
        "another object": 2 * ALTERNATIVES,
        "another attribute": ALTERNATIVES,
        "another relation": ALTERNATIVES,
    }
    for text in by_kind["another relation"]:  # "sits to the left of" goes as a whole
        assert text.startswith("A brown dog ")
        assert text.endswith(" a ball")
        assert "the left of" not in text
    assert scenes.swaps(first(scenes)[0], "wow").problems[0].what.startswith("no object")


def test_without_a_parser_the_world_s_words_have_their_classes(scenes, monkeypatch):
    def missing(texts):
        raise MissingExtra("word classes of free text", "pip install 'alignscope[language]'")

    monkeypatch.setattr(explore, "word_classes", missing)
    clip, _ = scenes.heard(first(scenes)[0], "Ball, quickly", method="gradcam", map_method="gradcam")
    assert [(word.word, word.word_class) for word in clip.words] == [("Ball", "object"), ("quickly", "other")]
    assert "alignscope[language]" in clip.problems[0].what


def test_a_text_without_a_score_leaves_the_others_theirs(clip, monkeypatch):
    def narrow(images, texts):
        raise NoRoom("too long", [1.0, float("nan")], {1: "no room for 99 tokens"})

    monkeypatch.setattr(clip, "score", narrow)
    found, problems = explore.scores(clip, Image.new("RGB", (4, 4)), ["a", "b"])
    assert found == (1.0, None)
    assert [(one.subject, one.what) for one in problems] == [("b", "no room for 99 tokens")]


def test_wrong_questions_are_refused(scenes, clip):
    key, text = first(scenes)
    with pytest.raises(BadInput, match="got the method 'gradcm', wanted one of attention, gradcam"):
        scenes.heard(key, text, method="gradcm", map_method="gradcam")
    with pytest.raises(BadInput, match="got the image method 'gradient', wanted one of attention, gradcam"):
        scenes.heard(key, text, method="gradcam", map_method="gradient")
    with pytest.raises(BadInput, match="got 3 models, wanted 1 or 2"):
        Explorer([clip] * 3, scenes.gallery)
    with pytest.raises(BadInput, match="leave --regions out"):
        Explorer([clip], scenes.gallery, regions={})
    assert Explorer([clip, clip], scenes.gallery).names == ("tiny-clip (1)", "tiny-clip (2)")


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "images"
    (inside / "sub").mkdir(parents=True)
    for path in (inside / "a.png", inside / "sub" / "b <i>.jpg", tmp_path / "secret.png"):
        Image.new("RGB", (9, 7), "blue").save(path)
    (inside / "notes.txt").write_text("no image")
    return inside


def test_a_folder_opens_its_own_images_and_nothing_else(folder):
    (folder / "out.png").symlink_to(folder.parent / "secret.png")
    (folder / "away").symlink_to(folder.parent)
    gallery = folder_gallery(folder)
    assert list(gallery.captions) == ["a.png", "sub/b <i>.jpg"]
    assert [one.subject for one in gallery.problems] == ["out.png"]
    assert gallery.image("sub/b <i>.jpg").size == (9, 7)
    outside = ["../secret.png", "sub/../../secret.png", str(folder.parent / "secret.png"), "out.png"]
    for key in [
        *outside,
        "away/secret.png",
        "..\\secret.png",
        "notes.txt",
        "a.png\0",
        "",
        "%2e%2e/secret.png",
    ]:
        with pytest.raises(UnknownName, match="no image named"):
            gallery.image(key)
    (folder / "a.png").unlink()
    (folder / "a.png").symlink_to(folder.parent / "secret.png")
    with pytest.raises(BadImage, match="leads out of"):
        gallery.image("a.png")


def test_a_folder_without_images_and_one_with_too_many(tmp_path):
    with pytest.raises(BadData, match="got no image"):
        folder_gallery(tmp_path)
    for place in range(MOST_LISTED + 3):
        (tmp_path / f"{place:04}.png").touch()
    gallery = folder_gallery(tmp_path)
    assert len(gallery.captions) == MOST_LISTED
    assert gallery.problems[0].what.startswith(f"3 of {MOST_LISTED + 3} images are not offered")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an image",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"GIF89a",
        png(Image.new("RGB", (60, 60), "red"))[:-30],
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        claimed_png(50_000, 50_000),
        claimed_png(6_000, 6_000),
        whole_bomb(30_000),
        with_text_bomb(100),
    ],
    ids=[
        *("nothing", "text", "svg", "start of a gif", "half a png", "postscript"),
        *("huge bomb", "bomb", "whole bomb of 900 million pixels", "bomb in a comment"),
    ],
)
def test_uploads_that_are_no_whole_image_of_a_usual_size_are_refused(content):
    gallery = world_gallery(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BadImage, match="wanted"):
            gallery.upload(content)
    assert len(gallery.captions) == 1


def test_of_a_file_that_is_an_image_and_more_the_pixels_alone_are_kept():
    """Polyglots: a page behind a PNG, a script behind a GIF's header, an archive behind a JPEG."""
    image, hidden = Image.new("RGB", (9, 7), "teal"), b"<script>alert(1)</script>PK\x03\x04"
    gallery = world_gallery(1)
    for kind in ("PNG", "GIF", "JPEG"):
        file = io.BytesIO()
        image.save(file, format=kind, comment=hidden)
        kept = gallery.image(gallery.upload(file.getvalue() + hidden))
        assert (kept.size, kept.mode, kept.info) == ((9, 7), "RGB", {}), kind
        assert kept.getpixel((4, 3)) == pytest.approx((0, 128, 128), abs=4)  # JPEG rounds
        assert hidden not in kept.tobytes()


def test_uploads_are_kept_small_and_few():
    gallery = world_gallery(1)
    large = gallery.upload(png(Image.new("1", (4_000, 4_000))))
    assert gallery.image(large).size == (2_000, 2_000)
    for _ in range(MOST_UPLOADS):
        last = gallery.upload(png(Image.new("RGBA", (5, 4))))
    assert gallery.image(last).mode == "RGB"
    assert len(gallery.captions) == 1 + MOST_UPLOADS
    with pytest.raises(UnknownName, match="no image named 'upload 1'"):
        gallery.image(large)
