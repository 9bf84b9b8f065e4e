"""One image and one caption under several models, text and image maps side by side (paper B, fig. 5)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from PIL.Image import Image

import alignscope
from alignscope.attribution.attribute import attribute
from alignscope.attribution.options import METHODS, Options
from alignscope.attribution.patches import image_methods, patch_maps
from alignscope.attribution.scores import ImageSide
from alignscope.errors import BadInput
from alignscope.files import sha_of, write_json, write_jsonl, write_parquet
from alignscope.models.protocols import PairScorer, Picture, is_dual
from alignscope.records import Caption, Item, PatchMap, Problem, Regions, WordHeat
from alignscope.reporting.pair import pair_page
from alignscope.studies.auditing.attributions import unsupported
from alignscope.studies.output import RUN, claim
from alignscope.studies.pictures import strangers

MOST = 5
LEAVING_OUT = Options(variant="leave-one-out")
"""For one caption there are no candidates to replace its words with."""


def inspection(
    models: Sequence[PairScorer],
    image: Image,
    caption: Caption,
    out: Path,
    *,
    regions: Regions | None = None,
    options: Options = LEAVING_OUT,
    dtype: str = "float32",
    overwrite: bool = False,
) -> Path:
    """Write heats of words and patches of every model for one pair; returns the path of the page.

    `regions` are those of the image, for the models that take them. A model's records carry its name as their item; two models of one name are told apart by number.
    """
    if not 1 <= len(models) <= MOST:
        raise BadInput(f"got {len(models)} models, wanted 1 to {MOST}: more do not fit side by side")
    names = [model.name for model in models]
    if regions is not None and all(model.traits.unit == "patch" for model in models):
        raise BadInput(f"got regions, {', '.join(names)} take pixels: leave --regions out")
    told = [f"{n} ({names[: i + 1].count(n)})" if names.count(n) > 1 else n for i, n in enumerate(names)]
    identity = {
        "kind": "inspect",
        "version": alignscope.__version__,
        "models": {name: model.fingerprint for name, model in zip(told, models, strict=True)},
        "data": sha_of([caption, image.size, hashlib.sha256(image.tobytes()).hexdigest()]),
        "dtype": dtype,
        "settings": asdict(options),
    }
    claim(out, identity, overwrite=overwrite)
    heats: list[WordHeat] = []
    maps: list[PatchMap] = []
    problems: list[Problem] = []
    rows = []
    for name, model in zip(told, models, strict=True):
        item = Item(name, "image.png", caption)
        seen = _seen(model, image, regions)
        shown: ImageSide = model.encode_images([image]) if is_dual(model) else [seen]
        given = tuple(method for method in METHODS if method in model.traits.attributions)
        for found in attribute(model, [item], shown, methods=given, options=options):
            heats += [word for one in found.attributions for word in one.words]
            problems += found.problems
        makers = {seen.made_by} if isinstance(seen, Regions) else set()
        untold = [*unsupported(model), *strangers(makers)]
        problems += [replace(one, item=name, subject=caption.text) for one in untold]
        for method in image_methods(model):
            maps += patch_maps(model, [item], {item.image: seen}.__getitem__, [caption.text], method=method)
        score = model.score([seen], [caption.text]).item()
        rows.append(
            {"name": name, "fingerprint": model.fingerprint, "score": score, "unit": model.traits.score}
        )
    image.save(out / "image.png")
    write_json(out / "pair.json", {"caption": caption.text, "models": rows})
    write_parquet(out / "heats.parquet", heats, WordHeat)
    write_jsonl(out / "maps.jsonl", maps)
    write_jsonl(out / "problems.jsonl", problems)
    write_json(out / RUN, {**identity, "identity": identity, "finished": True})
    return pair_page(out)


def _seen(model: PairScorer, image: Image, regions: Regions | None) -> Picture:
    if model.traits.unit == "patch":
        return image
    if regions is None:
        raise BadInput(
            f"{model.name} takes regions of a detector in place of pixels: give their file with --regions"
        )
    return regions
