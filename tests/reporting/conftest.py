"""A directory as `alignscope audit` leaves it, with made-up numbers of a model that stops at nouns."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from alignscope import files
from alignscope.records import (
    Choice,
    EditedScore,
    Example,
    Measurement,
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
