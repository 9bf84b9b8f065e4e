"""A directory as `alignscope audit` leaves it, with made-up numbers of a model that stops at nouns."""

from __future__ import annotations

import base64
import io
import math
import runpy
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from alignscope import files
from alignscope.records import (
    Box,
    Choice,
    EditedScore,
    Example,
    Measurement,
    PatchMap,
    Point,
    Problem,
    Rank,
    Signature,
    WordClass,
    WordHeat,
)

CAPTIONS: dict[str, list[tuple[str, WordClass, float]]] = {
    "scene-3": [
        ("a", "other", 0.01),
        ("striped", "attribute", 0.11),
        ("cup", "object", 0.52),
        ("left of", "relation", 0.04),
        ("a", "other", 0.01),
        ("large", "attribute", 0.06),
        ("lamp", "object", 0.21),
        ("in the", "other", 0.01),
        ("kitchen", "scene", 0.03),
    ],
    "scene-7": [
        ("two", "attribute", 0.1),
        ("small", "attribute", 0.15),
        ("balls", "object", 0.6),
        ("on top of", "relation", 0.05),
        ("the", "other", 0.0),
        ("table", "object", 0.3),
    ],
    "scene-9": [("photo", "other", 0.2), ("of", "other", 0.1), ("a", "other", 0.0), ("bench", "object", 0.7)],
}


VOID = {"meta", "img", "br", "link", "input", "hr"}
INLINE = {"span", "b", "code", "mark", "a"}


class Reader(HTMLParser):
    """Collects tags, attributes and text; a tag closed out of turn is an error."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice in <{tag}>: {attrs}"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1:] == [tag], f"</{tag}> inside {self.open}"
        self.open.pop()
        if tag not in INLINE:
            self.text.append(" ")

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())


def text_of(item: str) -> str:
    return " ".join(word for word, _, _ in CAPTIONS[item])


def picture(width: int = 64, height: int = 64) -> str:
    image = Image.new("RGB", (width, height), "#d8e6ef")
    draw = ImageDraw.Draw(image)
    draw.ellipse((6, 20, 26, 40), fill="#c03030")
    draw.rectangle((36, 24, 58, 46), fill="#3050c0")
    out = io.BytesIO()
    image.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def accuracy(
    kind: str, value: float | None, low: float | None = None, high: float | None = None, **rest: object
) -> Measurement:
    return measurement("accuracy", kind, value, low, high, **rest)


def measurement(
    measure: str, group: str, value: float | None, low: float | None, high: float | None, **rest: object
) -> Measurement:
    sign = Signature(
        measure, "world-test", "9f31c2aa01bd", 1200, 400, "tiny-clip", "ab12cd34ef56", version="0.1.0"
    )
    fields = {"items": 400, "images": 380, "signature": str(sign), **rest}
    return Measurement(measure, group, value, low, high, **fields)  # type: ignore[arg-type]


def measurements() -> list[Measurement]:
    score, heat = {"unit": "score"}, {"unit": "heat"}
    return [
        accuracy("replace_object", 0.9712, 0.951, 0.9861, ties=1),
        accuracy("replace_attribute", 0.6801, 0.634, 0.7243),
        accuracy("replace_relation", 0.5204, 0.4713, 0.5687, ties=3, missing=2),
        accuracy("swap_object", 0.508, 0.457, 0.561),
        accuracy(
            "swap_attribute", None, items=0, images=0, missing=12, reason="no caption names two attributes"
        ),
        accuracy("swap_relation", 0.494, 0.442, 0.547),
        accuracy("add_object", 0.882, 0.851, 0.911),
        accuracy("all", 0.6762, 0.655, 0.698, items=2400),
        accuracy("all kinds (macro)", 0.6759, 0.654, 0.699, items=2400, reason="average of 6 of 7 kinds"),
        measurement("heat", "object", 0.412, 0.401, 0.424, **heat),
        measurement("heat", "attribute", 0.131, 0.122, 0.139, **heat),
        measurement("heat", "relation", 0.048, 0.041, 0.055, **heat),
        measurement(
            "heat", "scene", None, None, None, items=0, images=0, reason="no words of this class", **heat
        ),
        measurement("heat", "other", 0.021, 0.018, 0.025, **heat),
        measurement("heat gap", "object-attribute", 0.281, 0.266, 0.296, **heat),
        measurement("heat gap", "object-relation", 0.364, 0.349, 0.379, **heat),
        measurement("object above rest", "all", 0.913, 0.887, 0.938),
        measurement("score drop", "wrong nouns", 6.41, 6.12, 6.70, **score),
        measurement("score drop", "random other words", 0.83, 0.62, 1.04, **score),
        measurement("drop gap", "nouns against others", 5.58, 5.23, 5.93, **score),
        measurement("recall@1", "image to text", 0.412, 0.37, 0.46),
        measurement("recall@5", "image to text", 0.78, 0.74, 0.82),
        measurement("recall@1", "text to image", 0.331, 0.3, 0.36),
        measurement("symmetry", "left half", 0.77, 0.7, 0.83),
    ]


def heats() -> list[WordHeat]:
    found = []
    for item, words in CAPTIONS.items():
        at = 0
        for position, (word, word_class, heat) in enumerate(words):
            found.append(WordHeat(item, item, position, word, at, at + len(word), word_class, heat))
            at += len(word) + 1
    return found


def examples() -> list[Example]:
    png = picture()
    wrong = text_of("scene-3").replace("left of", "right of")
    other = text_of("scene-7").replace("balls", "chairs")
    return [
        Example("scene-3", "scene-3", "replace_relation", text_of("scene-3"), wrong, 27.114, 27.391, png),
        Example("scene-7", "scene-7", "replace_object", text_of("scene-7"), other, 26.2, 19.8, png),
        Example(
            "scene-9",
            "scene-9",
            "swap_relation",
            "a ball touching a cup",
            "a cup touching a ball",
            21.5,
            21.5,
            png,
        ),
    ]


def run_json() -> dict[str, object]:
    return {
        "kind": "audit",
        "version": "0.1.0",
        "started": "2026-11-21T07:40:00+00:00",
        "seconds": {"read": 1.2, "score": 31.4, "attribute": 12.9, "retrieve": 4.0},
        "model": {
            "name": "tiny-clip",
            "fingerprint": "ab12cd34ef56",
            "traits": {"family": "dual", "grid": [8, 8], "context_length": 77, "attributions": ["gradcam"]},
        },
        "data": {"name": "world-test", "sha": "9f31c2aa01bd", "items": 1200, "images": 400, "foils": 2412},
        "dtype": "float32",
        "seed": 0,
        "ties": "wrong",
        "command": "alignscope audit tiny-clip --out runs/tiny-clip",
        "parser": None,
        "settings": {"draws": 2000, "level": 0.95},
    }


def write_run(directory: Path, *, problems: int = 5) -> Path:
    """A complete run directory; tests overwrite or remove what they are about."""
    directory.mkdir(parents=True, exist_ok=True)
    shown = examples()
    choices = [
        Choice(e.item, e.image, e.kind, e.caption, e.foil, e.caption_score, e.foil_score) for e in shown
    ]
    edited = text_of("scene-3").replace("cup", "bicycle")
    edits = [EditedScore("scene-3", "scene-3", "wrong nouns", 0, text_of("scene-3"), edited, 1, 27.1, 20.4)]
    ranks = [
        Rank(f"scene-{n}", f"scene-{n}", direction, 1 + n % 7, n % 2, 400)
        for n in range(10)
        for direction in ("image to text", "text to image")
    ]
    found = [Problem(f"line-{n}", f"images/{n}.jpg", "missing image", "unscored") for n in range(problems)]
    found += [Problem("line-900", "a very long caption", "caption truncated at 77 tokens", "handled")][
        :problems
    ]
    files.write_json(directory / "run.json", run_json())
    files.write_parquet(directory / "measurements.parquet", measurements(), Measurement)
    files.write_parquet(directory / "choices.parquet", choices, Choice)
    files.write_parquet(directory / "heats.parquet", heats(), WordHeat)
    files.write_parquet(directory / "edits.parquet", edits, EditedScore)
    files.write_parquet(directory / "ranks.parquet", ranks, Rank)
    files.write_jsonl(directory / "problems.jsonl", found)
    files.write_jsonl(directory / "examples.jsonl", shown)
    return directory


@pytest.fixture
def run_directory(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


GAINS = ("deletion", "insertion", "comprehensiveness", "sufficiency")
UNSUPPORTED = Problem("", "tiny-clip", "perturbation is unsupported by this model", "unscored")


def attribution_measurements() -> list[Measurement]:
    """Four methods: perturbation unsupported by the model, gradient no better than chance, attention unlearned."""
    found = [
        measurement("heat", "object", 0.129, 0.126, 0.133, unit="heat", method="attention"),
        measurement("heat median", "object", 0.115, 0.113, 0.119, unit="heat", method="attention"),
        measurement("heat", "relation", 0.075, 0.072, 0.078, unit="heat", method="attention"),
        measurement("heat", "object", 0.287, 0.275, 0.300, unit="heat", method="gradcam"),
        measurement("heat", "relation", 0.055, 0.050, 0.060, unit="heat", method="gradcam"),
        measurement("heat", "object", 0.262, 0.233, 0.290, unit="heat", method="gradient"),
        measurement("heat", "relation", 0.251, 0.221, 0.281, unit="heat", method="gradient"),
        measurement("heat gap", "object-relation", 0.054, 0.051, 0.058, unit="heat", method="attention"),
        measurement("heat gap", "object-relation", 0.232, 0.219, 0.246, unit="heat", method="gradcam"),
        measurement("heat gap", "object-relation", 0.011, -0.03, 0.05, unit="heat", method="gradient"),
        measurement("object above relation", "all", 0.912, 0.876, 0.945, method="attention"),
        measurement("object above relation", "all", 0.974, 0.956, 0.993, method="gradcam"),
        measurement("object above relation", "all", 0.521, 0.477, 0.565, method="gradient"),
        measurement("agreement", "attention~gradcam", 0.622, 0.591, 0.652, unit="correlation"),
        measurement("agreement", "gradcam~gradient", 0.21, 0.18, 0.24, unit="correlation"),
        measurement("agreement", "attention~gradient", 0.35, 0.31, 0.38, unit="correlation"),
        measurement(
            "agreement with scrambled", "all", 0.81, 0.78, 0.84, unit="correlation", method="attention"
        ),
        measurement(
            "agreement with scrambled", "all", -0.04, -0.09, 0.01, unit="correlation", method="gradcam"
        ),
        measurement("pointing game", "all", 0.959, 0.941, 0.976, method="gradcam"),
        measurement("pointing game", "chance", 0.086, 0.081, 0.091, method="gradcam"),
        measurement("pointing game", "above chance", 0.873, 0.855, 0.889, method="gradcam"),
        measurement("phrase similarity", "attribute", 0.505, 0.48, 0.53, unit="cosine", items=383),
        measurement("phrase similarity", "relation", 0.159, 0.137, 0.181, unit="cosine", items=187),
        measurement("accuracy by ratio", "low half", 0.453, 0.389, 0.519, method="gradcam"),
        measurement("accuracy by ratio", "high half", 0.604, 0.541, 0.662, method="gradcam"),
        measurement("accuracy by ratio", "high minus low", 0.151, 0.062, 0.242, method="gradcam"),
    ]
    for name in GAINS:
        found.append(measurement(name, "all", 0.533, 0.5, 0.57, unit="area", method="random"))
        for method, gain in {"attention": 0.205, "gradcam": 0.328, "gradient": 0.01}.items():
            found.append(
                measurement(name, "all", 0.533 + gain, 0.5 + gain, 0.57 + gain, unit="area", method=method)
            )
            ends = (gain - 0.03, gain + 0.03)
            found.append(measurement(f"{name} gain", "all", gain, *ends, unit="area", method=method))
    return found


def points() -> list[Point]:
    found = []
    for step in range(11):
        x = step / 10
        for method, power in {"attention": 2.0, "gradcam": 4.0, "gradient": 1.1, "random": 1.0}.items():
            y = (1 - x) ** power
            found.append(Point("deletion curve", method, x, y, max(y - 0.03, 0.0), y + 0.03, 200))
            found.append(Point("insertion curve", method, x, 1 - y, 0.97 - y, 1.03 - y, 200))
        for method, top in {"attention": 0.3, "gradcam": 1.0}.items():
            for name, middle in {"object": 0.7, "attribute": 0.4, "relation": 0.2, "other": 0.1}.items():
                y = math.exp(-(((x - middle) / 0.2) ** 2))
                found.append(Point("heat density", f"{method}/{name}", x * top, y, None, None, 400))
        found.append(Point("phrase similarity density", "relation", x, x * (1 - x), None, None, 187))
        items = 20 + 38 * step
        found.append(Point("accuracy by ratio", "gradcam", x, 0.4 + x / 5, 0.35 + x / 5, 0.45 + x / 5, items))
        found.append(Point("accuracy by ratio", "gradient", 10.0 ** (4 * step - 20), 0.5, 0.45, 0.55, items))
    return found


def maps(item: str = "scene-3") -> list[PatchMap]:
    heats = tuple(float(n) for n in range(16))
    return [
        PatchMap(item, "image.png", text_of("scene-3"), method, 4, 4, heats, Box(0.0, 0.0, 64.0, 64.0))
        for method in ("gradcam", "attention")
    ]


def write_attribution(directory: Path) -> Path:
    """A directory as `alignscope attribute` leaves it; gradient leaves function words out."""
    directory.mkdir(parents=True, exist_ok=True)
    words = [
        replace(word, method=method, heat=word.heat * (2 if method == "attention" else 1))
        for method in ("attention", "gradcam", "gradient")
        for word in heats()
        if method != "gradient" or word.word_class != "other"
    ]
    files.write_json(directory / "run.json", {**run_json(), "kind": "attribute"})
    files.write_parquet(directory / "measurements.parquet", attribution_measurements(), Measurement)
    files.write_parquet(directory / "heats.parquet", words, WordHeat)
    files.write_parquet(directory / "points.parquet", points(), Point)
    files.write_jsonl(directory / "maps.jsonl", maps())
    files.write_jsonl(directory / "problems.jsonl", [UNSUPPORTED])
    return directory


def pair_files(directory: Path, names: Sequence[str] = ("tiny-clip", "other")) -> Path:
    """A directory as `alignscope inspect` leaves it: the second model gives gradcam of words alone."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "image.png").write_bytes(base64.b64decode(picture()))
    models = [
        {"name": name, "fingerprint": f"{n}2cd34ef56ab78", "score": 27.1 - n} for n, name in enumerate(names)
    ]
    scene = [word for word in heats() if word.item == "scene-3"]
    words = [replace(word, item=name, method="gradcam") for name in names for word in scene]
    words += [replace(word, item=names[0], method="attention") for word in scene]
    files.write_json(directory / "pair.json", {"caption": text_of("scene-3"), "models": models})
    files.write_parquet(directory / "heats.parquet", words, WordHeat)
    files.write_jsonl(directory / "maps.jsonl", maps(names[0]))
    return directory


@pytest.fixture
def attribution_directory(tmp_path: Path) -> Path:
    return write_attribution(tmp_path / "attribution")


@pytest.fixture
def pair_directory(tmp_path: Path) -> Path:
    return pair_files(tmp_path / "pair")


@pytest.fixture
def four_method_directory(run_directory: Path) -> Path:
    """An audit with all of attribution in it."""
    rest = [m for m in measurements() if not m.measure.startswith(("heat", "object above"))]
    problems = [*files.read_jsonl(run_directory / "problems.jsonl"), UNSUPPORTED]
    write_attribution(run_directory)
    both = [*rest, *attribution_measurements()]
    files.write_parquet(run_directory / "measurements.parquet", both, Measurement)
    files.write_jsonl(run_directory / "problems.jsonl", problems)
    files.write_json(run_directory / "run.json", run_json())
    return run_directory


@pytest.fixture
def reader() -> type[Reader]:
    return Reader


@pytest.fixture(name="write_pair")
def pair_writer() -> Callable[..., Path]:
    return pair_files


made, driver = (runpy.run_path(f"{Path(__file__).parent}/{n}.py") for n in ("benchmark_runs", "chromium"))
tab, axe = driver["tab"], driver["axe"]


@pytest.fixture
def evaluation_directory(tmp_path: Path) -> Path:
    return made["evaluation_files"](tmp_path / "evaluation", run_json())


@pytest.fixture
def suite_directory(tmp_path: Path) -> Path:
    return made["suite_files"](tmp_path / "suite", run_json())
