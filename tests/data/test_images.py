"""Odd image files: each is shown as a person sees it, or refused with what was there."""

import hashlib
import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alignscope.data import images as images_module
from alignscope.data.images import ImageFolder, decode_image, open_image
from alignscope.errors import BadData, BadImage

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def pixels(image: Image.Image) -> list[tuple[int, ...]]:
    return [tuple(map(int, pixel)) for pixel in np.asarray(image).reshape(-1, 3)]


def test_plain_rgb_is_untouched(tmp_path):
    random = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    opened = open_image(saved(tmp_path / "a.png", Image.fromarray(random)))
    assert np.array_equal(np.asarray(opened.image), random)
    assert opened.notes == ()
    assert opened.image.mode == "RGB"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path, orientation):
    """The camera's sensor sees the upright picture turned; EXIF 2.3 table of orientations, by hand."""
    upright = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    sensor = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: np.rot90(upright, 2).T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.png", Image.fromarray(np.ascontiguousarray(sensor)).convert("RGB"), exif=exif)
    opened = open_image(path)
    assert np.array_equal(np.asarray(opened.image)[..., 0], upright)
    assert opened.notes == (() if orientation == 1 else (f"EXIF orientation {orientation} applied",))


def test_a_rotated_jpeg_stands_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = Image.new("RGB", (40, 20), RED)
    lying.paste(BLUE, (0, 0, 20, 20))  # its left half is the upright picture's top
    opened = open_image(saved(tmp_path / "a.jpg", lying, exif=exif, quality=95))
    assert opened.image.size == (20, 40)
    top, bottom = opened.image.getpixel((10, 5)), opened.image.getpixel((10, 35))
    assert top[2] > 240 > 20 > top[0]
    assert bottom[0] > 240 > 20 > bottom[2]


def test_broken_exif_costs_only_the_orientation(tmp_path):
    path = saved(
        tmp_path / "a.jpg", Image.new("RGB", (8, 8), RED), exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken"
    )
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        opened = open_image(path)
    assert opened.image.size == (8, 8)
    assert "Corrupt EXIF" in opened.notes[0]
    assert leaked == []


def test_transparency_lies_on_white(tmp_path):
    rgba = Image.new("RGBA", (3, 1), (255, 0, 0, 255))
    rgba.putpixel((1, 0), (255, 0, 0, 0))
    rgba.putpixel((2, 0), (0, 0, 0, 51))  # a fifth of black on white is 204
    opened = open_image(saved(tmp_path / "a.png", rgba))
    assert pixels(opened.image) == [RED, WHITE, (204, 204, 204)]
    assert opened.notes == ("transparency put on white",)
    opaque = open_image(saved(tmp_path / "b.png", Image.new("RGBA", (2, 2), (0, 255, 0, 255))))
    assert opaque.image.getpixel((0, 0)) == GREEN
    assert opaque.notes == ()


def test_grey_with_transparency(tmp_path):
    la = Image.new("LA", (2, 1), (100, 255))
    la.putpixel((1, 0), (100, 0))
    opened = open_image(saved(tmp_path / "a.png", la))
    assert pixels(opened.image) == [(100, 100, 100), WHITE]
    keyed = Image.new("L", (2, 1), 100)
    keyed.putpixel((1, 0), 7)
    opened = open_image(saved(tmp_path / "b.png", keyed, transparency=7))
    assert pixels(opened.image) == [(100, 100, 100), WHITE]


@pytest.mark.parametrize("transparency", [1, b"\xff\x00", None])
def test_palettes(tmp_path, transparency):
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([*RED, *BLUE])
    palette.putpixel((1, 0), 1)
    options = {} if transparency is None else {"transparency": transparency}
    opened = open_image(saved(tmp_path / "a.png", palette, **options))
    assert pixels(opened.image) == [RED, BLUE if transparency is None else WHITE]


def test_cmyk_jpeg(tmp_path):
    opened = open_image(saved(tmp_path / "a.jpg", Image.new("CMYK", (16, 16), (0, 255, 255, 0)), quality=95))
    red, green, blue = opened.image.getpixel((8, 8))
    assert red > 245
    assert green < 10
    assert blue < 10
    assert opened.notes == ("CMYK made RGB",)


@pytest.mark.parametrize(("mode", "values"), [("L", [0, 77, 255]), ("1", [0, 255, 255])])
def test_greyscale(tmp_path, mode, values):
    grey = Image.fromarray(np.array([values], np.uint8)).convert(mode)
    opened = open_image(saved(tmp_path / "a.png", grey))
    assert pixels(opened.image) == [(v, v, v) for v in values]
    assert opened.notes == ("greyscale made RGB",)


def test_sixteen_bits_keep_their_range(tmp_path):
    """65535 / 257 = 255; a plain conversion clips all but the darkest 256 values to white."""
    deep = Image.fromarray(np.array([[0, 257, 128 * 257, 65535]], np.uint16))
    for name in ("a.png", "a.tif"):
        opened = open_image(saved(tmp_path / name, deep))
        assert [pixel[0] for pixel in pixels(opened.image)] == [0, 1, 128, 255]
        assert opened.notes == ("16-bit greyscale made RGB",)
    dark = open_image(saved(tmp_path / "dark.png", Image.fromarray(np.array([[0, 200]], np.uint16))))
    assert [pixel[0] for pixel in pixels(dark.image)] == [0, 1]


@pytest.mark.parametrize(
    ("values", "kind", "grey"),
    [
        ([0, 0.5, 1], np.float32, [0, 128, 255]),
        ([-1, 0, 1], np.float32, [0, 128, 255]),
        ([5, 5, 5], np.float32, [0, 0, 0]),
        ([0, 100, 255], np.int32, [0, 100, 255]),
        ([0, 257, 65535], np.int32, [0, 1, 255]),
        ([0, 50_000, 100_000], np.int32, [0, 128, 255]),
    ],
)
def test_other_depths(tmp_path, values, kind, grey):
    opened = open_image(saved(tmp_path / "a.tif", Image.fromarray(np.array([values], kind))))
    assert [pixel[0] for pixel in pixels(opened.image)] == grey
    assert len(opened.notes) == 1


def test_values_that_are_not_finite_are_refused(tmp_path):
    path = saved(tmp_path / "a.tif", Image.fromarray(np.array([[0, np.nan]], np.float32)))
    with pytest.raises(BadImage, match=r"a\.tif: .*not finite"):
        open_image(path)


def test_one_pixel(tmp_path):
    opened = open_image(saved(tmp_path / "a.png", Image.new("RGB", (1, 1), GREEN)))
    assert pixels(opened.image) == [GREEN]
    assert opened.notes == ()


def test_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, GREEN, BLUE)]
    opened = open_image(saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:]))
    assert opened.image.getpixel((0, 0)) == RED
    assert "first of several frames" in opened.notes


def test_what_is_larger_than_asked_is_reduced(tmp_path):
    halves = Image.new("RGB", (64, 32), RED)
    halves.paste(BLUE, (32, 0, 64, 32))
    for name in ("a.png", "a.jpg"):
        opened = open_image(
            saved(tmp_path / name, halves, **({"quality": 95} if "jpg" in name else {})), max_pixels=512
        )
        assert opened.image.size == (32, 16)
        assert opened.notes == ("reduced from 64x32 pixels to 32x16",)
        left, right = opened.image.getpixel((4, 8)), opened.image.getpixel((28, 8))
        assert left[0] > 245 > 10 > left[2]
        assert right[2] > 245 > 10 > right[0]
    assert open_image(tmp_path / "a.png", max_pixels=2048).image.size == (64, 32)
    thin = open_image(saved(tmp_path / "thin.png", Image.new("RGB", (1, 1000), RED)), max_pixels=100)
    assert thin.image.width * thin.image.height <= 100
    assert thin.image.getpixel((0, 0)) == RED


def test_a_huge_jpeg_is_decoded_at_a_fraction(tmp_path):
    """190 million pixels, beyond what Pillow opens by itself."""
    halves = Image.new("L", (19_000, 10_000), 90)
    halves.paste(180, (9_500, 0, 19_000, 10_000))
    path = saved(tmp_path / "huge.jpg", halves, quality=50)
    with pytest.raises(Image.DecompressionBombError), Image.open(path):
        pass
    limit = Image.MAX_IMAGE_PIXELS
    opened = open_image(path)
    assert opened.image.size == (4_750, 2_500)
    assert opened.image.getpixel((2_000, 2_000)) == (90, 90, 90)
    assert opened.image.getpixel((4_000, 2_000)) == (180, 180, 180)
    assert opened.notes == ("greyscale made RGB", "reduced from 19000x10000 pixels to 4750x2500")
    assert limit == Image.MAX_IMAGE_PIXELS is not None


@pytest.mark.parametrize("max_pixels", [640 * 320, 320 * 160, 160 * 80, 80 * 40, 40 * 20, 20 * 10])
def test_a_jpeg_keeps_its_whole_field_at_every_fraction(tmp_path, max_pixels):
    quarters = Image.new("RGB", (640, 320), RED)
    quarters.paste(BLUE, (480, 240, 640, 320))
    opened = open_image(saved(tmp_path / "a.jpg", quarters, quality=95), max_pixels=max_pixels)
    width, height = opened.image.size
    assert max_pixels / 4 < width * height <= max_pixels
    share_of_blue = (np.asarray(opened.image)[..., 2] > 127).mean()
    assert share_of_blue == pytest.approx(1 / 16, abs=0.02)


def huge_png(path: Path, width: int, height: int) -> Path:
    """A bomb of a few bytes: the header promises what the data do not hold."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def test_a_huge_png_is_reported(tmp_path):
    with pytest.raises(BadImage, match=r"got 100000x100000 pixels, wanted at most 89,478,485 .*JPEG"):
        open_image(huge_png(tmp_path / "bomb.png", 100_000, 100_000))


def test_pillow_warnings_become_notes(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png", Image.new("RGB", (2, 2)))
    original = images_module._to_rgb

    def grumbling(image, *, from_png):
        warnings.warn("odd chunk", UserWarning, stacklevel=1)
        return original(image, from_png=from_png)

    monkeypatch.setattr(images_module, "_to_rgb", grumbling)
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        opened = open_image(path)
    assert leaked == []
    assert opened.notes == ("decoder warned: odd chunk",)


def _bytes_of(kind: str) -> bytes:
    buffer = io.BytesIO()
    random = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(random).save(buffer, kind)
    return buffer.getvalue()


BROKEN = {
    "text.jpg": b"this is a text",
    "half.jpg": _bytes_of("jpeg")[:2000],
    "half.png": _bytes_of("png")[:2000],
    "half.gif": _bytes_of("gif")[:1500],
    "half.webp": _bytes_of("webp")[:500],
    "half.bmp": _bytes_of("bmp")[:1000],
    "header.jpg": _bytes_of("jpeg")[:20],
    "flipped.png": _bytes_of("png")[:100] + b"\xff\x00" * 50 + _bytes_of("png")[200:],
    "one.png": b"\x89",
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_bad_images(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(BROKEN[name])
    with pytest.raises(BadImage, match=rf"{name}: got {len(BROKEN[name])} bytes beginning with .*wanted"):
        open_image(path)
    assert issubclass(BadImage, BadData)


def test_missing_empty_and_directories_are_bad_images(tmp_path):
    with pytest.raises(BadImage, match="no such file"):
        open_image(tmp_path / "none.jpg")
    with pytest.raises(BadImage, match="a directory"):
        open_image(tmp_path)
    (tmp_path / "zero.jpg").touch()
    with pytest.raises(BadImage, match="zero bytes"):
        open_image(tmp_path / "zero.jpg")


def test_an_unreadable_file_is_a_bad_image(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png", Image.new("RGB", (2, 2)))

    def refused(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)  # the tests may run as root, whom no mode stops
    with pytest.raises(BadImage, match=r"a\.png: got Permission denied"):
        open_image(path)


def test_a_folder_opens_by_key(tmp_path):
    (tmp_path / "val").mkdir()
    path = saved(tmp_path / "val" / "a.png", Image.new("L", (2, 3), 9))
    folder = ImageFolder(tmp_path)
    assert folder.path("val/a.png") == path
    assert folder.digest("val/a.png") == hashlib.sha256(path.read_bytes()).hexdigest()
    assert folder.notes == {}
    assert folder.image("val/a.png").getpixel((0, 0)) == (9, 9, 9)
    assert folder.notes == {"val/a.png": ("greyscale made RGB",)}


ESCAPES = ["../a.png", "val/../../a.png", "/etc/passwd", "..", "C:\\a.png", "..\\a.png", "\\\\host\\a.png"]


@pytest.mark.parametrize("key", ESCAPES)
def test_keys_that_lead_out_are_refused(tmp_path, key):
    (tmp_path / "inside").mkdir()
    saved(tmp_path / "a.png", Image.new("RGB", (2, 2)))
    folder = ImageFolder(tmp_path / "inside")
    for act in (folder.image, folder.digest, folder.path):
        with pytest.raises(BadImage, match="leads out of"):
            act(key)


@pytest.mark.parametrize("key", ["", " ", "a\0.png", "x" * 5000, ".", "sub"])
def test_keys_that_are_no_files_are_refused(tmp_path, key):
    (tmp_path / "sub").mkdir()
    with pytest.raises(BadImage, match=r"got|missing"):
        ImageFolder(tmp_path).image(key)


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("CAT.JPG", "there is 'cat.jpg'"),
        ("cat.png", "there is 'cat.jpg'"),
        ("cat", "there is 'cat.jpg'"),
        ("cafe\u0301.jpg", "there is 'caf\u00e9.jpg'"),
        ("val2017/cat.jpg", "there is 'cat.jpg' without its folder"),
    ],
)
def test_a_near_name_is_told(tmp_path, key, hint):
    for name in ("cat.jpg", "caf\u00e9.jpg"):
        saved(tmp_path / name, Image.new("RGB", (2, 2)))
    with pytest.raises(BadImage, match=f"missing image .*{hint}"):
        ImageFolder(tmp_path).image(key)
    with pytest.raises(BadImage, match=r"missing image 'dog\.jpg' in [^;]*$"):
        ImageFolder(tmp_path).image("dog.jpg")


def test_no_folder_is_refused(tmp_path):
    with pytest.raises(BadData, match="got nothing, wanted a directory of images"):
        ImageFolder(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(BadData, match="got a file, wanted a directory of images"):
        ImageFolder(tmp_path / "file")


def test_bytes_are_decoded_as_their_file_is(tmp_path: Path):
    buffer = io.BytesIO()
    Image.new("RGBA", (3, 2), (0, 0, 0, 0)).save(buffer, "png")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    opened, decoded = open_image(tmp_path / "a.png"), decode_image(buffer.getvalue(), "a.tar/a.png")
    assert decoded.image.tobytes() == opened.image.tobytes() == b"\xff" * 18
    assert decoded.notes == opened.notes == ("transparency put on white",)
    for content, said in ((b"", "zero bytes"), (b"text", "4 bytes beginning with b'text'")):
        with pytest.raises(BadImage, match=f"^a.tar/a.png: got {said}") as caught:
            decode_image(content, "a.tar/a.png")
        assert "0x" not in str(caught.value)
