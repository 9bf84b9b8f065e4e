"""Pairs per second of every scorer beside its model's own forward pass, as ratios of one run.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE .venv/bin/python benchmarks/scorer_speed.py --out speed.json

Models: the published sizes with random weights, made in memory by `scorer_models.py`, one at a time; two are
reduced, which their lines say. Pictures: photographs of COCO (noise of 640x480 where shared/data has none),
or 36 regions of 2048 numbers. Captions: COCO's, one per picture, in the order drawn, so that all are padded
to the longest of the batch. `score` is timed whole, from pictures and strings to numbers; the forward gets
the same batch as the tensors that the model takes, padded alike. In every round all calls take turns and
ratios are of one round and of processor time; the first round is not counted. Pictures are in memory: no file
is opened or decoded.

`inputs`: the share of tokens, pixels and position vectors in the time of `score`, and their milliseconds.
`again`: how much faster the same texts are with eight to a picture (or all, where a batch has fewer), which is
one object. A dual encoder then computes it once, a generator reads image and prompt once for its texts; a
cross-encoder has to compute all of it for every pair, and is not asked.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attribution_speed import COCO, read_captions
from figures import Figure, Spent, add_option, shortly, spent, tell
from PIL import Image
from scorer_models import MODELS, Built
from torch import nn

from alignscope.models.captioners.captioner import CaptionDecoder
from alignscope.models.captioners.reading import padded
from alignscope.models.captioners.scorer import GenerativeScorer
from alignscope.models.cross.encoder import TransformersCrossEncoder
from alignscope.models.cross.pixels import pixels
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.models.protocols import PairInputs, Picture
from alignscope.records import Regions

PHOTOGRAPHS = COCO.parents[1] / "coco_images"
SIZE = 640, 480
REGIONS, WIDTH = 36, 2048
TEXTS_PER_IMAGE = 8
TARGET = 0.9
Call = Callable[[], object]


@dataclass(frozen=True)
class Pairs:
    """A batch, every picture an object of its own, and the same texts with `TEXTS_PER_IMAGE` to a picture."""

    pictures: list[Picture]
    texts: list[str]

    @property
    def again(self) -> list[Picture]:
        return [self.pictures[row - row % TEXTS_PER_IMAGE] for row in range(len(self.texts))]


@dataclass(frozen=True)
class Spread:
    """The middle of the rounds and their quartiles."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Speed:
    """Of one model; `inputs` are tokens, pixels and position vectors, `kept` is the speed of `score` as a
    share of the forward's, `again` the gain where pictures come again."""

    name: str
    note: str
    parameters: int
    pairs: int
    padded_to: int  # tokens of the longest text
    forward: float  # pairs/s, medians
    score: float
    kept: Spread
    kept_by_the_wall: Spread
    kept_without_inputs: Spread
    share_of_inputs: Spread  # of the time of `score`
    inputs_ms: float  # per pair
    again: Spread | None  # None: nothing is computed once for several texts


def drawn(unit: str, count: int, captions: Sequence[str]) -> Pairs:
    """A batch of pictures of one kind with their captions."""
    make = regions if unit == "region" else photograph
    return Pairs([make(number) for number in range(count)], list(captions[:count]))


def photograph(number: int) -> Image.Image:
    """A photograph of COCO, read into memory; each call gives an object of its own."""
    paths = sorted(PHOTOGRAPHS.glob("*.jpg"))
    if paths:
        return Image.open(paths[number % len(paths)]).convert("RGB")
    noise = np.random.default_rng(number).integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8)
    return Image.fromarray(noise)


def regions(number: int) -> Regions:
    """As many and as wide as the published detectors': no feature is negative."""
    noise, (width, height) = np.random.default_rng(number), SIZE
    corners = np.sort(noise.uniform(size=(REGIONS, 2, 2)), axis=1).reshape(REGIONS, 4)
    features = noise.exponential(size=(REGIONS, WIDTH)).astype(np.float32)
    boxes = (corners * [width, height, width, height]).astype(np.float32)
    return Regions(f"image {number}", width, height, boxes, features)


def cross_calls(scorer: TransformersCrossEncoder, pairs: Pairs) -> dict[str, Call]:
    """The forward is the call that the adapter makes, with the tensors it was given."""
    inputs = scorer.inputs(pairs.pictures, pairs.texts)
    return {
        "forward": own_call(scorer, inputs, pairs),
        "inputs": lambda: scorer.inputs(pairs.pictures, pairs.texts),
    }


def own_call(scorer: TransformersCrossEncoder, inputs: PairInputs, pairs: Pairs) -> Call:
    """The outermost call of the model or of a part of it; ViLT's own embeds its pixels itself."""
    caught: list[tuple[nn.Module, tuple[Any, ...], dict[str, Any]]] = []
    hooks = [
        module.register_forward_pre_hook(lambda *call: caught.append(call), with_kwargs=True)
        for module in (scorer.model, *scorer.model.children())
    ]
    with torch.no_grad():
        scorer.match(inputs)
    for hook in hooks:
        hook.remove()
    module, args, kwargs = caught[0]
    if "image_embeds" in kwargs:
        words = {name: kwargs[name] for name in ("input_ids", "attention_mask")}
        kwargs = {**words, **scorer.image_processor(images=pairs.pictures, return_tensors="pt")}
    return lambda: module(*args, **kwargs)


def dual_calls(scorer: TransformersDualEncoder, pairs: Pairs) -> dict[str, Call]:
    """The forward is both towers, once per pair."""
    seen, tokens = scorer.pixels(pairs.pictures), scorer.tokens(pairs.texts)
    return {
        "forward": lambda: (scorer.embed_pixels(seen), scorer.embed_tokens(tokens)),
        "inputs": lambda: (scorer.pixels(pairs.pictures), scorer.tokens(pairs.texts)),
    }


def generative_calls(scorer: GenerativeScorer, pairs: Pairs) -> dict[str, Call]:
    """The forward reads whole sequences, each with its image."""
    decoder = scorer.decoder

    def read() -> dict[str, Any]:
        readings = [decoder.read(text) for text in pairs.texts]
        if isinstance(decoder, CaptionDecoder):
            prefix = torch.tensor([reading.prefix for reading in readings])
            seen = [pixels(decoder.image_processor, picture) for picture in pairs.pictures]
            return {
                "input_ids": torch.cat([prefix, padded(readings)[0]], dim=1),
                "pixel_values": torch.stack(seen),
            }
        words = [reading.before + reading.rest for reading in readings]
        found = decoder.processor(
            text=words,
            images=list(pairs.pictures),
            padding=True,
            return_tensors="pt",
            add_special_tokens=False,
        )
        return dict(found)

    prepared = read()
    return {"forward": lambda: decoder.model(**prepared, use_cache=False), "inputs": read}


def calls_of(scorer: Any, pairs: Pairs) -> dict[str, Call]:
    """What is timed of a scorer, by name."""
    kinds = {
        TransformersCrossEncoder: cross_calls,
        TransformersDualEncoder: dual_calls,
        GenerativeScorer: generative_calls,
    }
    again = pairs.again
    calls = {"score": lambda: scorer.score(pairs.pictures, pairs.texts)}
    if not isinstance(scorer, TransformersCrossEncoder):
        calls["again"] = lambda: scorer.score(again, pairs.texts)
    return {**calls, **kinds[type(scorer)](scorer, pairs)}


@torch.no_grad()
def interleaved(calls: Mapping[str, Call], rounds: int) -> list[dict[str, Spent]]:
    """What every call takes in every round; each round has another order."""
    found = []
    for turn in range(rounds + 1):
        names, shift = list(calls), turn % len(calls)
        found.append({name: spent(calls[name]) for name in (*names[shift:], *names[:shift])})
    return found[1:]


def spread(values: Sequence[float]) -> Spread:
    return Spread(*statistics.quantiles(values, n=4, method="inclusive"))


def measured(name: str, built: Built, captions: Sequence[str], rounds: int) -> Speed:
    """All ratios of one model."""
    scorer = built.scorer
    pairs = drawn(scorer.traits.unit, built.pairs, captions)
    times = interleaved(calls_of(scorer, pairs), rounds)
    busy = [{call: one.processor for call, one in each.items()} for each in times]
    middle = {call: statistics.median(each[call] for each in busy) for call in busy[0]}
    return Speed(
        name,
        built.note,
        sum(parameter.numel() for parameter in scorer.model.parameters()),
        built.pairs,
        scorer.tokens(pairs.texts).ids.shape[1],
        built.pairs / middle["forward"],
        built.pairs / middle["score"],
        spread([each["forward"] / each["score"] for each in busy]),
        spread([each["forward"].wall / each["score"].wall for each in times]),
        spread([each["forward"] / (each["score"] - each["inputs"]) for each in busy]),
        spread([each["inputs"] / each["score"] for each in busy]),
        1000 * middle["inputs"] / built.pairs,
        spread([each["score"] / each["again"] for each in busy]) if "again" in middle else None,
    )


def figures_of(speed: Speed) -> list[Figure]:
    """Beside the issue's bound, which speaks of the first."""
    kept, again = speed.kept, speed.again
    note = f"{shortly(speed.score)} pairs/s; by processor time; {speed.kept_by_the_wall.median:.3f} by the wall clock"
    name = f"{speed.name}: score / the model's own forward"
    note = f"{note}; {speed.note}" if speed.note else note
    found = [
        Figure(name, kept.median, kept.low, kept.high, f"at least {TARGET:g}", kept.median >= TARGET, note)
    ]
    if again is not None:
        more = f"{speed.name}: the same texts, several to a picture / one"
        found.append(Figure(more, again.median, again.low, again.high, note="by processor time"))
    return found


HEAD = (
    f"{'model':<18}{'M par.':>7}{'batch':>6}{'forward/s':>10}{'score/s':>9}{'score/forward':>20}"
    f"{'by the wall':>12}{'inputs':>8}{'ms/pair':>8}{'again':>7}"
)


def line(speed: Speed) -> str:
    """A row of the table."""
    kept = speed.kept
    quartiles = f"{kept.median:.3f} {kept.low:.3f}-{kept.high:.3f}"
    return (
        f"{speed.name:<18}{speed.parameters / 1e6:>7.0f}{speed.pairs:>6}{speed.forward:>10.2f}{speed.score:>9.2f}"
        f"{quartiles:>20}{speed.kept_by_the_wall.median:>12.3f}{speed.share_of_inputs.median:>8.1%}"
        f"{speed.inputs_ms:>8.1f}{f'{speed.again.median:.2f}' if speed.again else '':>7}"
        f"{'' if kept.median >= TARGET else f'  below {TARGET}'}{f'  {speed.note}' if speed.note else ''}"
    )


def main() -> None:
    """Print a line per model, and write all numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="three rounds")
    parser.add_argument("--captions", type=Path, default=COCO, help="Karpathy-style JSON")
    parser.add_argument("--only", nargs="*", choices=list(MODELS), help="models, of all")
    parser.add_argument("--out", type=Path, help="write every number as JSON")
    add_option(parser)
    options = parser.parse_args()
    rounds = 3 if options.quick else options.rounds
    captions, corpus = read_captions(options.captions, 64)
    before = os.getloadavg()[0]
    about = (
        f"torch {torch.__version__}, {torch.get_num_threads()} threads of {os.cpu_count()} cores, load {before:.1f}, "
        f"medians of {rounds} rounds"
    )
    sys.stdout.write(f"{about}\n{HEAD}\n")
    found = []
    for name in options.only or MODELS:
        built = MODELS[name](corpus)
        found.append(measured(name, built, captions, rounds))
        sys.stdout.write(f"{line(found[-1])}\n")
        sys.stdout.flush()
        if options.out:
            rows = {"about": about, "models": [asdict(speed) for speed in found]}
            options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        del built
    tell([one for speed in found for one in figures_of(speed)], options.json)


if __name__ == "__main__":
    main()
