"""The studies as users call them: names and paths in, finished runs or records out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import final

from PIL.Image import Image

import alignscope
from alignscope.attribution.options import DEFAULTS, METHODS, Method, Options
from alignscope.attribution.tokens import require
from alignscope.data.held import HeldPairs
from alignscope.data.images import open_image
from alignscope.data.items import WordClasses
from alignscope.data.pairs import PairFile, PairStream
from alignscope.data.regionfiles import open_regions
from alignscope.data.regionfiles.digests import sha_of_regions
from alignscope.data.world.world import World
from alignscope.errors import BadInput, UnknownName
from alignscope.files import sha_of
from alignscope.language.cache import default_directory
from alignscope.language.classes import word_classes
from alignscope.language.pipeline import parser_name
from alignscope.models.dual.vision import rgb
from alignscope.models.protocols import PairScorer
from alignscope.models.zoo import open_model
from alignscope.records import Attribution, Caption, ItemSource, Measurement, Problem, Regions, Signature
from alignscope.registry import did_you_mean
from alignscope.studies.auditing.attributions import Attributions, attributed, write_attributions
from alignscope.studies.auditing.audit import Audit, Settings
from alignscope.studies.auditing.audit import audit as run
from alignscope.studies.auditing.inspection import LEAVING_OUT, inspection
from alignscope.studies.auditing.map_checks import Plan
from alignscope.studies.calibration import calibrated, calibration_pairs
from alignscope.studies.clock import Progress
from alignscope.studies.pictures import Pictures, RegionsOf, made_known, picture_of, regions_of
from alignscope.studies.streams import Stream, Whole

CALIBRATED = 256  # scenes of the world from which pairs are drawn
Pairs = Path | str | ItemSource | Sequence[tuple[Image, str | Caption]]


def audit(
    model: str | PairScorer,
    *,
    pairs: Path | str | None = None,
    images: Path | str | None = None,
    regions: Path | str | None = None,
    calibrate: bool = True,
    out: Path | str = "runs/audit",
    size: int = 1000,
    methods: Sequence[str] | None = None,
    options: Options = DEFAULTS,
    checked: int = 200,
    device: str = "cpu",
    dtype: str = "float32",
    batch_size: int = 64,
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = lambda stage, done, total: None,
) -> Audit:
    """Audit a model on the built-in world, or on `pairs` (a JSONL file) with `images` (a folder).

    `model` is a name, a local directory, a hub id or a `PairScorer`; `regions` a file of region features for
    one that takes them (`alignscope regions list`), the world has its own. A matching head that ranks
    shuffled pairs above matched ones is refused, unless `calibrate` is off. `methods` are those of word
    attribution (all that the model gives), `checked` the captions on which their maps are checked. Writes
    run.json, records and report.html under `out`. Raises `BadInput` and its kin with what to do about it.
    """
    _both_or_neither(pairs, images)
    source: ItemSource = World("test", size=size)
    if pairs is not None and images is not None:
        source = PairFile(Path(pairs), Path(images), word_classes=_tagger())
    encoder = _opened(model, device, dtype)
    return run(
        encoder,
        source,
        Path(out),
        regions=regions_of(encoder, source, _region_file(regions)),
        calibrate=calibrate,
        settings=Settings(
            seed=seed, plan=Plan(_methods(methods, encoder), options, checked=checked, seed=seed)
        ),
        dtype=dtype,
        parser=None if pairs is None else parser_name(),
        batch_size=batch_size,
        resume=resume,
        overwrite=overwrite,
        command=command,
        progress=progress,
    )


def calibrate(
    model: str | PairScorer,
    *,
    pairs: Path | str | None = None,
    images: Path | str | None = None,
    regions: Path | str | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    seed: int = 0,
) -> Measurement:
    """AUC of up to 64 images' scores with their own caption against those with another image's.

    On the built-in world, or on `pairs` and `images` as in `audit`, which makes this check itself. Raises
    `CalibrationError` for a matching head that ranks the shuffled pairs above the matched ones.
    """
    _both_or_neither(pairs, images)
    encoder = _opened(model, device, dtype)
    source: ItemSource = World("test", size=CALIBRATED)
    if pairs is not None and images is not None:
        source = PairFile(Path(pairs), Path(images), word_classes=lambda texts: [Caption(t) for t in texts])
    opened = picture_of(encoder, source, _region_file(regions))
    chosen = calibration_pairs(((item.image, item.caption.text) for item in source.items), seed=seed)
    pictures = Pictures([key for key, _ in chosen], opened)
    seen = [one for one in pictures if isinstance(one, Regions)]
    name = made_known(source.name, (one.made_by for one in seen))
    sha = sha_of([source.sha, sha_of_regions(seen)]) if seen else source.sha
    signature = Signature(
        *("calibrate", name, sha, len(chosen), len(chosen), encoder.name),
        encoder.fingerprint[:12],
        dtype=dtype,
        seed=seed,
        version=alignscope.__version__,
    )
    texts = [text for _, text in chosen]
    return calibrated(encoder, pictures, texts, signature=signature, skippable=False)


def attribute_to(
    model: str | PairScorer,
    out: Path | str,
    *,
    pairs: Path | str | None = None,
    images: Path | str | None = None,
    regions: Path | str | None = None,
    calibrate: bool = True,
    size: int = 1000,
    methods: Sequence[str] | None = None,
    options: Options = DEFAULTS,
    checked: int = 200,
    device: str = "cpu",
    dtype: str = "float32",
    batch_size: int = 64,
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = lambda stage, done, total: None,
) -> Attributions:
    """As `attribute`, of any number of pairs, into a directory with records, numbers and report.html."""
    _both_or_neither(pairs, images)
    world = World("test", size=size)
    stream: Stream
    if pairs is not None and images is not None:
        stream = PairStream(Path(pairs), Path(images), word_classes=_tagger())
    else:
        stream = Whole(world)
    encoder = _opened(model, device, dtype)
    source = world if pairs is None else stream
    return write_attributions(
        encoder,
        stream,
        Path(out),
        regions=regions_of(encoder, source, _region_file(regions)),
        calibrate=calibrate,
        plan=Plan(_methods(methods, encoder), options, checked=checked, seed=seed),
        dtype=dtype,
        parser=None if pairs is None else parser_name(),
        batch_size=batch_size,
        resume=resume,
        overwrite=overwrite,
        command=command,
        progress=progress,
    )


@final
class AttributionStream(Iterator[Attribution]):
    """Attributions one by one, computed as they are asked for; what had none so far is in `problems`."""

    def __init__(
        self, model: PairScorer, stream: Stream, plan: Plan, regions: RegionsOf | None, batch_size: int
    ) -> None:
        self.problems: list[Problem] = []
        self._found = attributed(
            model, stream, plan, regions=regions, batch_size=batch_size, problems=self.problems
        )

    def __next__(self) -> Attribution:
        return next(self._found)


def attribute(
    model: str | PairScorer,
    pairs: Pairs,
    *,
    images: Path | str | None = None,
    regions: Path | str | None = None,
    method: str | Sequence[str] = "gradcam",
    options: Options = DEFAULTS,
    device: str = "cpu",
    dtype: str = "float32",
    batch_size: int = 64,
) -> AttributionStream:
    """Which words the score of each caption with its image listens to, caption by caption.

    `pairs` are (image, caption) tuples, a data set such as `World()`, or a JSONL file with the folder
    `images`; `regions` as in `audit`; `method` is attention, gradcam, gradient or perturbation, or several of them. Captions
    without word classes are tagged (extra `alignscope[language]`).
    """
    encoder = _opened(model, device, dtype)
    plan = Plan(_methods([method] if isinstance(method, str) else method, encoder), options)
    stream = _stream(pairs, images)
    source = pairs if isinstance(pairs, ItemSource) else stream
    seen = regions_of(encoder, source, _region_file(regions))
    return AttributionStream(encoder, stream, plan, seen, batch_size)


def inspect(
    models: Sequence[str | PairScorer],
    image: Path | str | Image,
    caption: str | Caption,
    out: Path | str = "runs/inspect",
    *,
    regions: Path | str | None = None,
    options: Options = LEAVING_OUT,
    device: str = "cpu",
    dtype: str = "float32",
    overwrite: bool = False,
) -> Path:
    """One pair under up to five models, word heats and image maps side by side; returns the report's path.

    `regions` is a file that has those of the image's file name, for the models that take them.

    `perturbation` leaves words out: for one caption there are no candidates to replace them with.
    """
    opened = open_image(Path(image)).image if isinstance(image, Path | str) else rgb(image)
    [tagged] = _tagger()([caption]) if isinstance(caption, str) else [caption]
    encoders = [_opened(model, device, dtype) for model in models]
    key = "image.png" if isinstance(image, Image) else Path(image).name
    found = _region_file(regions)
    seen = None if found is None else found[key]
    return inspection(
        encoders, opened, tagged, Path(out), regions=seen, options=options, dtype=dtype, overwrite=overwrite
    )


def _stream(pairs: Pairs, images: Path | str | None) -> Stream:
    if isinstance(pairs, Path | str):
        _both_or_neither(pairs, images)
        assert images is not None
        return PairStream(Path(pairs), Path(images), word_classes=_tagger())
    if images is not None:
        raise BadInput("got images beside pairs that hold their own: leave `images` out")
    return Whole(pairs if isinstance(pairs, ItemSource) else HeldPairs(pairs, word_classes=_tagger()))


def _both_or_neither(pairs: object, images: object) -> None:
    if pairs is None and images is not None:
        raise BadInput("got --images without --pairs: give both, or neither for the built-in world")
    if pairs is not None and images is None:
        raise BadInput("got --pairs without --images: give the folder that the image names refer to")


def _region_file(path: Path | str | None) -> Mapping[str, Regions] | None:
    return None if path is None else open_regions(Path(path))


def _tagger() -> WordClasses:
    return partial(word_classes, cache=default_directory())


def _opened(model: str | PairScorer, device: str, dtype: str) -> PairScorer:
    return open_model(model, device=device, dtype=dtype) if isinstance(model, str) else model


def _methods(names: Sequence[str] | None, model: PairScorer) -> tuple[Method, ...]:
    """The methods asked for, each once; all that the model gives where none is named."""
    for name in names or ():
        if name not in METHODS:
            raise UnknownName(f"no method named '{name}': {did_you_mean(name, METHODS)}")
    wanted = model.traits.attributions if names is None else names
    chosen = tuple(method for method in METHODS if method in wanted)
    require(model, chosen)
    return chosen
