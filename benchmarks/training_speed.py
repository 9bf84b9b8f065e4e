"""What an attribution loss adds to a step of contrastive fine-tuning, in time and memory, as ratios.

    OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE .venv/bin/python benchmarks/training_speed.py

Model: the published sizes of CLIP ViT-B/32, both towers, random weights, all trained. Captions: COCO's, one
per image, in the order drawn, padded to the longest of their batch; words classed by the product's parser.
A step is pixels (already on the device) and strings to updated weights: image tower with fused attention,
contrastive loss, backward, AdamW. The plain step runs the same eager text tower as the others. Steps of all
kinds take turns; every ratio is of the same batch in the same round, of processor time on a CPU and of the
wall clock's on a GPU.

Memory is the most that the process ever held, each kind in a process of its own: on a CPU `ru_maxrss`
(weights, gradients, both moments of AdamW, activations, Python), on a GPU `max_memory_allocated`.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from attribution_speed import COCO, read_captions, vit_b_32
from figures import Figure, Spent, add_option, figure, figure_of_times, spent, tell
from torch import Tensor

from alignscope.attribution.options import Options
from alignscope.language.classes import word_classes
from alignscope.language.replacements import Candidates, candidates
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.records import Caption
from alignscope.training import cae
from alignscope.training.cae import Objective
from alignscope.training.losses import contrastive_loss

MAX_LOG_SCALE = math.log(100.0)


@dataclass(frozen=True)
class Kind:
    """A step: its attribution loss, if any, and the ratio to the plain step that it should not exceed."""

    objective: Objective | None = None
    limit: float | None = None


def perturbed(draws: int, units: int) -> Objective:
    return Objective(("perturbation",), units=units, heats=Options(normalize="none", draws=draws))


PLAIN = "plain"
KINDS: Mapping[str, Kind] = {
    PLAIN: Kind(),
    "attention": Kind(Objective(("attention",)), 1.05),
    "gradcam": Kind(Objective(("gradcam",)), 1.5),
    "gradient": Kind(Objective(("gradient",)), 1.8),
    "perturbation, 1 draw, 1 unit": Kind(perturbed(1, 1), 1.3),
    "perturbation, 3 draws, 1 unit": Kind(perturbed(3, 1), 1.3),
    "perturbation, 1 draw, all": Kind(perturbed(1, 0), 1.3),
    "perturbation, 3 draws, all": Kind(perturbed(3, 0), 1.3),
    "attention, gradcam, gradient": Kind(Objective(("attention", "gradcam", "gradient"))),
}


@dataclass(frozen=True)
class Bench:
    """What all steps share."""

    model: TransformersDualEncoder
    optimizer: torch.optim.AdamW
    pixels: Tensor
    batches: Sequence[Sequence[Caption]]
    available: Candidates
    device: torch.device


def bench(*, path: Path, count: int, batch_size: int, device: torch.device) -> Bench:
    chosen, corpus = read_captions(path, count)
    model = vit_b_32(corpus)
    model.model.to(device).train()
    captions = word_classes(chosen)
    optimizer = torch.optim.AdamW(
        model.model.parameters(), lr=5e-7, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.2
    )
    batches = [captions[start : start + batch_size] for start in range(0, count, batch_size)]
    pixels = torch.randn(batch_size, 3, 224, 224, device=device)
    return Bench(model, optimizer, pixels, batches, candidates(captions), device)


def step(given: Bench, captions: Sequence[Caption], objective: Objective | None) -> None:
    """Strings and pixels to updated weights."""
    model, clip = given.model, given.model.model
    images = model.embed_pixels(given.pixels[: len(captions)])
    if objective is None:
        with model.text_attention():
            texts = model.embed_tokens(model.tokens([caption.text for caption in captions]))
        loss = contrastive_loss(images, texts, clip.logit_scale.exp())
    else:
        forward = cae.text_forward(model, captions, objective)
        contrastive = contrastive_loss(images, forward.embeddings, clip.logit_scale.exp())
        heard = cae.attribution_losses(
            model, captions, images, objective=objective, candidates=given.available, forward=forward
        )
        loss = contrastive + 0.1 * torch.stack([one.value for one in heard.values()]).mean()
    given.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    given.optimizer.step()
    with torch.no_grad():
        clip.logit_scale.clamp_(0.0, MAX_LOG_SCALE)


def spent_on(call: Callable[[], None], device: torch.device) -> Spent:
    """What a call takes, and what it asks of a GPU."""
    if device.type != "cuda":
        return spent(call)
    torch.cuda.synchronize(device)
    return spent(lambda: (call(), torch.cuda.synchronize(device)))


def timed(given: Bench, names: Sequence[str], rounds: int) -> dict[str, list[Spent]]:
    """Seconds of a step of each kind, round by round; every round has one batch and another order.

    The first round is not counted.
    """
    times: dict[str, list[Spent]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        captions = given.batches[turn % len(given.batches)]
        shift = turn % len(names)
        for name in [*names[shift:], *names[:shift]]:
            taken = spent_on(partial(step, given, captions, KINDS[name].objective), given.device)
            if turn:
                times[name].append(taken)
    return times


def peak_memory(given: Bench, name: str) -> int:
    """Bytes at the most, over two steps of a kind."""
    for captions in given.batches[:2]:
        step(given, captions, KINDS[name].objective)
    if given.device.type == "cuda":
        return torch.cuda.max_memory_allocated(given.device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def memories(names: Sequence[str], arguments: Sequence[str]) -> dict[str, int]:
    """Peak memory of each kind, measured in a process of its own."""
    found = {}
    for name in names:
        command = [sys.executable, __file__, *arguments, "--peak-of", name]
        found[name] = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def table(times: Mapping[str, Sequence[Spent]], peaks: Mapping[str, int], *, is_on_gpu: bool) -> list[str]:
    """Medians, ratios with their quartiles over rounds, and whether the limits hold."""
    lines = [
        f"{'step':<32}{'median s':>9}{'ratio':>8}{'quartiles':>16}{'limit':>15}"
        f"{'cpu ratio':>11}{'quartiles':>16}" + (f"{'peak GB':>9}{'ratio':>7}" if peaks else "")
    ]
    for name, taken in times.items():
        pairs = list(zip(taken, times[PLAIN], strict=True))
        walls = [one.wall / plain.wall for one, plain in pairs]
        busy = [one.processor / plain.processor for one, plain in pairs]
        middle, limit = statistics.median(walls if is_on_gpu else busy), KINDS[name].limit
        verdict = "" if limit is None else f"<= {limit} {'holds' if middle <= limit else 'MISSED'}"
        lines.append(
            f"{name:<32}{statistics.median(one.wall for one in taken):>9.2f}{statistics.median(walls):>8.3f}{quartiles(walls)}"
            f"{verdict:>15}{statistics.median(busy):>11.3f}{quartiles(busy)}"
            + (f"{peaks[name] / 1e9:>9.2f}{peaks[name] / peaks[PLAIN]:>7.2f}" if peaks else "")
        )
    return lines


def figures_of(
    times: Mapping[str, Sequence[Spent]], peaks: Mapping[str, int], place: str, *, is_on_gpu: bool
) -> list[Figure]:
    """Steps and peaks, beside the plain step's."""
    found = []
    for name in times:
        if name == PLAIN:
            continue
        what, limit = f"step with {name} / plain step, {place}", KINDS[name].limit
        if is_on_gpu:
            walls = [one.wall / plain.wall for one, plain in zip(times[name], times[PLAIN], strict=True)]
            found.append(figure(what, walls, at_most=limit, note="by the wall clock"))
        else:
            found.append(figure_of_times(what, times[name], times[PLAIN], at_most=limit))
        if peaks:
            found.append(
                figure(f"peak memory with {name} / plain step, {place}", [peaks[name] / peaks[PLAIN]])
            )
    return found


def quartiles(ratios: Sequence[float]) -> str:
    low, _, high = statistics.quantiles(ratios, n=4)
    return f"{low:>8.3f}-{high:<7.3f}"


def main() -> None:
    """Print sizes, times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--captions", type=Path, default=COCO, help="Karpathy-style JSON")
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", nargs="*", default=[], help="kinds of step, of all; plain is always there")
    parser.add_argument(
        "--memory-batch", type=int, default=0, help="measure peak memory too, at this batch size"
    )
    parser.add_argument("--peak-of", help="print the peak memory of this kind and nothing else")
    add_option(parser)
    options = parser.parse_args()
    device = torch.device(options.device)
    given = bench(path=options.captions, count=options.count, batch_size=options.batch_size, device=device)
    if options.peak_of:
        sys.stdout.write(f"{peak_memory(given, options.peak_of)}\n")
        return
    names = [name for name in KINDS if not options.only or name == PLAIN or name in options.only]
    before = os.getloadavg()
    times = timed(given, names, options.rounds)
    peaks: dict[str, int] = {}
    if options.memory_batch:
        del given
        size = ["--batch-size", str(options.memory_batch), "--count", str(2 * options.memory_batch)]
        where = ["--captions", str(options.captions), "--device", options.device]
        peaks = memories(names, [*size, *where])
    report = [
        f"{options.count} captions of {options.captions.name if options.captions.is_file() else 'made-up words'}, "
        f"batches of {options.batch_size}"
        + (f", of {options.memory_batch} for memory" if options.memory_batch else ""),
        f"torch {torch.__version__} on {torch.cuda.get_device_name(device) if device.type == 'cuda' else 'cpu'}, "
        f"{torch.get_num_threads()} threads of {os.cpu_count()} cores, "
        f"load {before[0]:.1f} before and {os.getloadavg()[0]:.1f} after, {options.rounds} rounds",
        "",
        *table(times, peaks, is_on_gpu=device.type == "cuda"),
    ]
    sys.stdout.write("\n".join(report) + "\n")
    place = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    tell(figures_of(times, peaks, place, is_on_gpu=device.type == "cuda"), options.json)


if __name__ == "__main__":
    main()
