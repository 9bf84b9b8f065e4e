"""Image files as plain RGB, whatever was in the file; what had to be done to them is said.

Models see what a person sees: turned as the camera says, transparency on white, grey in its full
range, never more pixels than memory holds. A file that cannot be shown is a `BadImage`.
"""

from __future__ import annotations

import hashlib
import io
import threading
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple, final

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image as Pillow
from PIL.Image import Image, Transpose

from alignscope.errors import BadData, BadImage

MAX_PIXELS = 2**25
"""Larger pictures are reduced by a whole factor; 33 million pixels hold any camera's usual photograph."""
MAX_DECODED_PIXELS = 89_478_485
"""Most pixels decoded at once; the size from which Pillow warns of a decompression bomb."""

_ORIENTATION = 0x0112  # the EXIF tag; below, what undoes each of its values
_TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
_one_at_a_time = threading.RLock()  # warning filters and Pillow's limit belong to the whole process


class OpenedImage(NamedTuple):
    """An RGB image and what was done to make it one, in words."""

    image: Image
    notes: tuple[str, ...]


def open_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> OpenedImage:
    """Any image file as RGB, upright, on white, first frame, at most `max_pixels` large.

    Whatever Pillow raises while decoding becomes a `BadImage`; what it warns of becomes a note.
    """
    _check_file(path)
    return _opened(path, str(path), lambda: _what_is_there(path), max_pixels)


def decode_image(content: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> OpenedImage:
    """As `open_image`, of bytes that lie in no file of their own; errors call them by `name`."""
    if not content:
        raise BadImage(f"{name}: got zero bytes, wanted an image")
    start = f"{len(content)} bytes beginning with {content[:16]!r}"
    return _opened(io.BytesIO(content), name, lambda: start, max_pixels)


def _opened(file: Path | io.BytesIO, name: str, there: Callable[[], str], max_pixels: int) -> OpenedImage:
    if max_pixels < 1:
        raise ValueError(f"got max_pixels={max_pixels}, wanted at least 1")
    with _pillow_alone() as heard:
        try:
            opened = _decode(file, name, max_pixels)
        except BadImage:
            raise
        except Exception as error:
            what = str(error).replace(repr(file), repr(name))  # no address of memory
            raise BadImage(
                f"{name}: got {there()} that does not decode "
                f"({type(error).__name__}: {what}); wanted a whole image; replace the file or leave it out"
            ) from error
    said = dict.fromkeys(
        f"decoder warned: {one.message}" for one in heard if not issubclass(one.category, DeprecationWarning)
    )
    return OpenedImage(opened.image, (*opened.notes, *said))


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise BadImage(f"{path}: got a directory, wanted an image file")
        if not path.is_file():
            raise BadImage(
                f"{path}: got no such file, wanted an image file; check the name and the directory"
            )
        if path.stat().st_size == 0:
            raise BadImage(f"{path}: got an empty file of zero bytes, wanted an image; copy it anew")
        with path.open("rb"):
            pass
    except OSError as error:
        raise BadImage(
            f"{path}: got {error.strerror or error}, wanted a readable image file; check its name and rights"
        ) from error


def _what_is_there(path: Path) -> str:
    with path.open("rb") as file:
        return f"{path.stat().st_size} bytes beginning with {file.read(16)!r}"


def _decode(file: Path | io.BytesIO, name: str, max_pixels: int) -> OpenedImage:
    with Pillow.open(file) as image:
        notes: list[str] = []
        width, height = image.size
        if image.format != "MPO" and getattr(image, "is_animated", False):
            notes.append("first of several frames")
            image.seek(0)
        _shrink_while_decoding(image, max_pixels)
        if image.width * image.height > MAX_DECODED_PIXELS:
            raise BadImage(
                f"{name}: got {width}x{height} pixels, wanted at most {MAX_DECODED_PIXELS:,} to decode "
                f"{image.format}; make the file smaller, or save it as JPEG, which decodes at a fraction"
            )
        image.load()
        turned, turn_notes = _upright(image)
        rgb, colour_notes = _to_rgb(turned, from_png=image.format == "PNG")
        factor = _reduction(rgb.width, rgb.height, max_pixels)
        small = rgb.reduce(factor) if factor > 1 else rgb
        notes += turn_notes + colour_notes
        if (image.width, image.height) != (width, height) or factor > 1:
            notes.append(f"reduced from {width}x{height} pixels to {small.width}x{small.height}")
        return OpenedImage(small.copy() if small is image else small, tuple(notes))


@contextmanager
def _pillow_alone() -> Iterator[list[warnings.WarningMessage]]:
    """Collects warnings and sets Pillow's refusal of huge files aside: our own bound stands in for it.

    Pillow refuses before one can ask the JPEG decoder for a fraction of the picture.
    """
    with _one_at_a_time, warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        before = Pillow.MAX_IMAGE_PIXELS
        Pillow.MAX_IMAGE_PIXELS = None
        try:
            yield heard
        finally:
            Pillow.MAX_IMAGE_PIXELS = before


def _shrink_while_decoding(image: Any, max_pixels: int) -> None:
    """Ask the JPEG decoder for a half, a quarter or an eighth where the whole is too large.

    Once only: a second request would count from the already smaller size.
    """
    width, height = image.size
    factor = _reduction(width, height, max_pixels)
    if factor > 1:
        scale = next((scale for scale in (2, 4, 8) if scale >= factor), 8)
        image.draft(None, (max(1, width // scale), max(1, height // scale)))


def _reduction(width: int, height: int, max_pixels: int) -> int:
    """Smallest whole factor after which both sides, rounded up, span at most `max_pixels`.

    >>> _reduction(10, 10, 100), _reduction(10, 10, 99), _reduction(1, 1000, 100)
    (1, 2, 10)
    """
    factor = 1
    while -(-width // factor) * -(-height // factor) > max_pixels:
        factor += 1
    return factor


def _upright(image: Image) -> tuple[Image, list[str]]:
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception as error:  # a picture with broken EXIF is still a picture
        return image, [f"EXIF unreadable, orientation not applied ({type(error).__name__})"]
    if orientation not in _TURNS:
        return image, []
    return image.transpose(_TURNS[orientation]), [f"EXIF orientation {orientation} applied"]


def _to_rgb(image: Image, *, from_png: bool) -> tuple[Image, list[str]]:
    mode = image.mode
    if mode in ("PA", "LA", "La", "RGBA", "RGBa") or (
        mode in ("1", "L", "P", "RGB") and "transparency" in image.info
    ):
        return _on_white(image)
    if mode == "F" or mode == "I" or mode.startswith("I;"):
        return _from_deep(image, always_16_bit=from_png or mode != "I")
    if mode in ("1", "L"):
        return image.convert("RGB"), ["greyscale made RGB"]
    if mode in ("RGB", "P", "RGBX"):
        return image.convert("RGB"), []
    return image.convert("RGB"), [f"{mode} made RGB"]


def _on_white(image: Image) -> tuple[Image, list[str]]:
    clear = image.convert("RGBA")
    rgb = Pillow.alpha_composite(Pillow.new("RGBA", clear.size, "white"), clear).convert("RGB")
    lowest = clear.getchannel("A").getextrema()[0]
    return rgb, ["transparency put on white"] if lowest != 255 else []


def _from_deep(image: Image, *, always_16_bit: bool) -> tuple[Image, list[str]]:
    """Grey of more than 8 bits, scaled by the range its values fall in."""
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"values of mode {image.mode} that are not finite")
    low, high = float(values.min()), float(values.max())
    if image.mode == "F" and low >= 0 and high <= 1:
        grey, how = values * 255, "floating-point grey from 0..1 made RGB"
    elif not always_16_bit and low >= 0 and high <= 255:
        grey, how = values, f"grey of mode {image.mode} from 0..255 made RGB"
    elif image.mode != "F" and low >= 0 and high <= 65535:
        grey, how = values / 257, "16-bit greyscale made RGB"
    else:
        grey = (values - low) * (255 / (high - low)) if high > low else values * 0
        how = f"grey of mode {image.mode} stretched from {low:g}..{high:g} and made RGB"
    return Pillow.fromarray(_bytes_of(grey)).convert("RGB"), [how]


def _bytes_of(grey: Float[np.ndarray, "row column"]) -> UInt8[np.ndarray, "row column"]:
    return np.rint(grey).astype(np.uint8)


@final
class ImageFolder:
    """A directory of images by key (a relative path); remembers the notes of those it opened."""

    def __init__(self, directory: Path) -> None:
        if not directory.is_dir():
            found = "a file" if directory.exists() else "nothing"
            raise BadData(f"{directory}: got {found}, wanted a directory of images; check the path")
        self.directory = directory
        self._notes: dict[str, tuple[str, ...]] = {}
        self._digests: dict[str, str] = {}
        self._listings: dict[Path, dict[str, str]] = {}

    @property
    def notes(self) -> dict[str, tuple[str, ...]]:
        """What was done to the images opened so far, by key."""
        return dict(self._notes)

    def image(self, key: str) -> Image:
        """The image of a key as RGB; see `open_image`."""
        opened = open_image(self.path(key))
        self._notes[key] = opened.notes
        return opened.image

    def digest(self, key: str) -> str:
        """sha256 of the file's bytes, read as a stream; a `BadImage` when there is no such file."""
        if key not in self._digests:
            path = self.path(key)
            _check_file(path)
            with path.open("rb") as file:
                self._digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._digests[key]

    def size(self, key: str) -> int:
        """Bytes of the image's file, which is not read; a `BadImage` when there is no such file."""
        path = self.path(key)
        _check_file(path)
        return path.stat().st_size

    def below(self, key: str) -> Iterator[Path]:
        """Folders of the directory in which the key would be found, for a message."""
        if not PurePosixPath(key).is_absolute() and ".." not in PurePosixPath(key).parts:
            yield from (place for place in sorted(self.directory.iterdir()) if (place / key).is_file())

    def path(self, key: str) -> Path:
        """Where the image of a key lies; refuses keys that lead out of the directory."""
        if not key.strip() or "\0" in key:
            raise BadImage(f"got the image name {key!r}, wanted a file name inside {self.directory}")
        for flavour in (PurePosixPath(key), PureWindowsPath(key)):
            if flavour.anchor or ".." in flavour.parts:
                raise BadImage(
                    f"got the image name {key!r}, which leads out of {self.directory}; "
                    "wanted a relative path inside it without '..'"
                )
        path = self.directory / key
        try:
            is_there = path.exists()
        except OSError as error:
            raise BadImage(f"got the image name {key[:80]!r}: {error.strerror}") from error
        if not is_there:
            raise BadImage(f"missing image {key!r} in {self.directory}{self._hint(path)}")
        return path

    def _hint(self, path: Path) -> str:
        near = self._listing(path.parent).get(_loose(path.name))
        if near is not None:
            return f"; there is {near!r}: correct the name"
        if path.parent != self.directory and (self.directory / path.name).exists():
            return f"; there is {path.name!r} without its folder: correct the name"
        return ""

    def _listing(self, directory: Path) -> dict[str, str]:
        if directory not in self._listings:
            names = sorted(entry.name for entry in directory.iterdir()) if directory.is_dir() else []
            self._listings[directory] = {_loose(name): name for name in names}
        return self._listings[directory]


def _loose(name: str) -> str:
    """A file name without case, extension and Unicode composition.

    >>> _loose("Cat.JPG") == _loose("cat.jpeg")
    True
    """
    return unicodedata.normalize("NFC", Path(name).stem).casefold()
