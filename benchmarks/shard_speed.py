"""What `alignscope score` costs beside its forwards, and how much faster two Ray workers are than one process.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/shard_speed.py

The published sizes of CLIP ViT-B/32, random weights, on webdataset shards of JPEGs of 256 px with captions of the
world. The forwards alone take the same batches already decoded. One process is timed whole, tables and numbers
included. The workers (extra `ray`; left out where it is not installed) are timed from when both have opened the
model, beside one process without its opening, by the wall clock: on a machine whose cores are taken they wait.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import sys
import tarfile
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from evaluate_speed import vit_b_32
from figures import Figure, Spent, add_option, figure, figure_of_times, line, spent, tell

from alignscope.data.images import decode_image
from alignscope.data.world.grammar import WEB
from alignscope.data.world.world import World
from alignscope.models.dual.loading import load
from alignscope.models.protocols import DualEncoder
from alignscope.studies.shards.one_shard import How
from alignscope.studies.shards.sharded import Here, score
from alignscope.studies.shards.with_ray import ray_scorers
from alignscope.training.samples import StreamedSample
from alignscope.training.streaming import matching, read_shard

SIDE, BATCH = 256, 64


def shards(place: Path, *, count: int, each: int) -> list[str]:
    """Write shards of the world's scenes; returns their captions."""
    world, texts = World("test", size=count * each), []
    captions = world.captions(WEB, 1)
    for number in range(count):
        with tarfile.open(place / f"world-{number:05d}.tar", "w") as tar:
            for row in range(number * each, (number + 1) * each):
                picture = io.BytesIO()
                world.image(world.scenes[row].id).resize((SIDE, SIDE)).save(picture, "jpeg")
                texts.append(captions[row][0].text)
                for ending, content in (("jpg", picture.getvalue()), ("txt", texts[-1].encode())):
                    header = tarfile.TarInfo(f"{row:09d}.{ending}")
                    header.size = len(content)
                    tar.addfile(header, io.BytesIO(content))
    return texts


def forwards(model: DualEncoder, batches: list[tuple[list, list[str]]]) -> list[torch.Tensor]:
    """Cosines of batches that are decoded, and nothing else."""
    found = []
    for images, texts in batches:
        seen = model.encode_images(images, batch_size=BATCH)
        found.append((seen * model.encode_texts(texts, batch_size=BATCH)).sum(dim=-1))
    return found


def decoded(paths: list[Path]) -> list[tuple[list, list[str]]]:
    """The batches of all shards in memory."""
    batches = []
    for path in paths:
        samples = [one for one in read_shard(path) if isinstance(one, StreamedSample)]
        for start in range(0, len(samples), BATCH):
            some = samples[start : start + BATCH]
            images = [decode_image(one.content, one.sample.image).image for one in some]
            batches.append((images, [one.sample.caption.text for one in some]))
    return batches


def overhead(model: DualEncoder, pattern: str, place: Path, rounds: int) -> Figure:
    """The whole verb beside its forwards."""
    batches = decoded(matching([pattern]))
    whole: list[Spent] = []
    alone: list[Spent] = []
    for number in range(rounds):
        out = place / f"run{number}"
        whole.append(spent(lambda out=out: score(model, pattern, out, batch_size=BATCH)))
        alone.append(spent(lambda: forwards(model, batches)))
    samples = sum(len(texts) for _, texts in batches)
    note = f"{samples} samples; best {samples / min(one.processor for one in whole):.1f}/s"
    return figure_of_times("score / forwards of decoded batches, one thread", whole, alone, note=note)


def by_workers(directory: str, pattern: str, rounds: int) -> Figure:
    """Shards per second of two workers beside one process."""
    opening, how = partial(load, directory), How(batch_size=BATCH)
    paths = [path.absolute() for path in matching([pattern])]
    here, ratios, best = Here(opening()), [], 0.0
    with ray_scorers(opening, address="local", workers=2, device="cpu") as scorers:
        list(scorers.score(paths[:2], how))  # both have opened the model
        for _ in range(rounds):
            took = []
            for one in (here, scorers):
                began = time.perf_counter()
                assert len(list(one.score(paths, how))) == len(paths)
                took.append(time.perf_counter() - began)
            ratios.append(took[0] / took[1])
            best = max(best, len(paths) / took[0])
    note = f"by the wall clock, {os.cpu_count()} cores; one process best {best:.3f} shards/s of {len(paths)} shards"
    return figure("shards/s, two Ray workers / one process", ratios, note=note)


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--each", type=int, default=128, help="samples of a shard")
    parser.add_argument("--rounds", type=int, default=3)
    add_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        model = vit_b_32(shards(place, count=options.shards, each=options.each))
        pattern = f"{place}/world-*.tar"
        found = [overhead(model, pattern, place, options.rounds)]
        if importlib.util.find_spec("ray") is not None:
            directory = place / "model"
            model.model.save_pretrained(directory)
            model.tokenizer.save_pretrained(directory)
            model.image_processor.save_pretrained(directory)
            found.append(by_workers(str(directory), pattern, options.rounds))
        else:
            sys.stdout.write("ray is not installed: pip install 'alignscope[ray]'\n")
        if options.json is None:
            sys.stdout.write("".join(map(line, found)))
    tell(found, options.json)


if __name__ == "__main__":
    main()
