"""ARO's order sets, made: captions of a Karpathy split in, seeded shuffles of their words out."""

from __future__ import annotations

from pathlib import Path

from alignscope.data.benchmarks.orders import write_order_set
from alignscope.data.coco import read_captions
from alignscope.errors import BadData
from alignscope.language.orders import word_orders
from alignscope.language.pipeline import parser_name


def write_orders(captions_file: Path, out: Path, *, seed: int = 0) -> int:
    """Write the order set of a captions file; returns how many captions it has.

    A caption that cannot be used is an error: an order set is a whole one.
    """
    read = read_captions(captions_file)
    if read.problems:
        first = read.problems[0]
        raise BadData(
            f"{captions_file}: got {len(read.problems)} records that cannot be used ({first.subject}: "
            f"{first.what}), wanted a whole split; replace the file by a whole copy"
        )
    images = [one.image for one in read.images for _ in one.captions]
    orders = word_orders([caption for one in read.images for caption in one.captions], seed=seed)
    rows = [{"image": image, **order._asdict()} for image, order in zip(images, orders, strict=True)]
    return write_order_set(out, rows, seed=seed, parser=parser_name(), source=captions_file)
