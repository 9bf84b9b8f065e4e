"""What `alignscope evaluate` costs beside the official per-item script and beside the encoding alone.

    OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE .venv/bin/python benchmarks/evaluate_speed.py

Speed: the published sizes of CLIP ViT-B/32, random weights, on a load in SugarCrepe's shape: its captions
(where shared/data has them, else the world's), about 5 items to an image, and pictures of the world at
224 px in place of its photographs. The official way (SugarCrepe's main_eval.py) opens and encodes the
image and both texts of each item one at a time, texts padded to 77 tokens; it is timed on some items.
The encoding alone opens and encodes each image and text once, in batches. Ours is timed whole, from the
annotations to the measurements.

Growth: tiny-clip on the world, a process per size; seconds are those of the run without its imports.
Ratios are of processor time; a wall clock that says otherwise has waited for files, or for other jobs.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from figures import Figure, Spent, add_option, figure, figure_of_times, line, spent, tell
from PIL import Image
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from alignscope.data.benchmarks.world import PAIRS
from alignscope.data.images import ImageFolder, open_image
from alignscope.data.world.world import World
from alignscope.files import read_jsonl, write_jsonl
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.studies.benchmarking.evaluation import evaluate

SUGARCREPE = Path(__file__).parents[2] / "shared" / "data" / "sugar_crepe"
CONTEXT, SIDE = 77, 224
FOILS = 5  # of an image of the world
GROWTH = """
import resource, sys, time
from pathlib import Path
from alignscope.data.benchmarks.world import PAIRS
from alignscope.data.images import ImageFolder
from alignscope.models.zoo import open_model
from alignscope.studies.benchmarking.evaluation import evaluate
model, place = open_model("tiny-clip"), Path(sys.argv[1])
start, busy = time.perf_counter(), time.process_time()
evaluate(model, PAIRS, place / "pairs.jsonl", ImageFolder(place / "images"), place / "run")
wall, processor = time.perf_counter() - start, time.process_time() - busy
print(wall, processor, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def sugarcrepe_shaped(place: Path, images: int) -> int:
    """Write pairs.jsonl and a folder of that many images; returns how many items."""
    users: dict[str, list[dict]] = {}
    for path in sorted(SUGARCREPE.glob("*.json")):
        for record in json.loads(path.read_text(encoding="utf-8")).values():
            foil = {"caption": record["negative_caption"], "kind": path.stem}
            users.setdefault(record["filename"], []).append({"caption": record["caption"], "foils": [foil]})
    world = World("test", size=images)
    if not users:
        users = {item.image: _of_world(item) for item in world.items}
    (place / "images").mkdir(parents=True)
    rows = []
    drawn = random.Random(0).sample(list(users.values()), images)
    for item, said in zip(world.items, drawn, strict=True):
        large = world.image(item.image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        large.save(place / "images" / f"{item.image}.jpg", quality=95)
        rows += [{"image": f"{item.image}.jpg", **each} for each in said]
    return write_jsonl(place / "pairs.jsonl", rows)


def of_the_world(place: Path, images: int) -> int:
    """Write pairs.jsonl and a folder of that many images of the world, all texts different."""
    (place / "images").mkdir(parents=True)
    world, rows = World("test", size=images), []
    for number, item in enumerate(world.items):
        world.image(item.image).save(place / "images" / f"{item.image}.png")
        for row in _of_world(item):
            foils = [{**foil, "caption": f"{foil['caption']} {number}"} for foil in row["foils"]]
            rows.append(
                {"image": f"{item.image}.png", "caption": f"{row['caption']} {number}", "foils": foils}
            )
    return write_jsonl(place / "pairs.jsonl", rows)


def _of_world(item) -> list[dict]:
    foils = [{"caption": foil.text, "kind": foil.kind} for foil in item.foils[:FOILS]]
    return [{"caption": item.caption.text, "foils": [foil]} for foil in foils]


def vit_b_32(texts: list[str]) -> TransformersDualEncoder:
    """Published sizes, random weights, a byte-pair tokenizer of these texts."""
    tokenizer = CLIPTokenizer(model_max_length=CONTEXT).train_new_from_iterator(
        texts, vocab_size=10_000, initial_alphabet=ByteLevel.alphabet(), show_progress=False
    )
    torch.manual_seed(0)
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    model = CLIPModel(CLIPConfig(text_config=ids)).eval()  # the configuration's defaults are ViT-B/32
    return TransformersDualEncoder(model, tokenizer, CLIPImageProcessorPil(), name="ViT-B/32 sized")


@torch.no_grad()
def official_way(model: TransformersDualEncoder, place: Path, rows: list[dict]) -> float:
    """Items in the right when each is opened and encoded by itself."""
    clip, tokenizer, right = model.model, model.tokenizer, 0
    for row in rows:
        picture = Image.open(place / "images" / row["image"]).convert("RGB")
        pixels = model.image_processor(images=picture, return_tensors="pt")["pixel_values"]
        image = clip.get_image_features(pixel_values=pixels).pooler_output
        image = image / image.norm(dim=-1, keepdim=True)
        scores = []
        for text in (row["caption"], row["foils"][0]["caption"]):
            ids = tokenizer([text], padding="max_length", truncation=True, return_tensors="pt").input_ids
            assert ids.shape[1] == CONTEXT
            embedding = clip.get_text_features(input_ids=ids).pooler_output
            scores.append((image @ (embedding / embedding.norm(dim=-1, keepdim=True)).mT).item())
        right += scores[0] > scores[1]
    return right / len(rows)


def encoding_alone(model: TransformersDualEncoder, place: Path, rows: list[dict]) -> None:
    """Each image and text once, in batches, and nothing else."""
    names = list(dict.fromkeys(row["image"] for row in rows))
    for start in range(0, len(names), 64):
        opened = [open_image(place / "images" / name).image for name in names[start : start + 64]]
        model.encode_images(opened, batch_size=64)
    model.encode_texts(
        list(dict.fromkeys(text for row in rows for text in (row["caption"], row["foils"][0]["caption"]))),
        batch_size=64,
    )


def speed(place: Path, images: int, sample: int, repeats: int) -> list[Figure]:
    """Print and return ours beside the official way and the encoding alone, each the middle of several runs."""
    items = sugarcrepe_shaped(place, images)
    rows = list(read_jsonl(place / "pairs.jsonl"))
    model = vit_b_32([text for row in rows for text in (row["caption"], row["foils"][0]["caption"])])
    folder = place / "images"
    some = rows[:: max(1, items // sample)]
    official_way(model, place, some[:5])  # warm
    took: dict[str, list[Spent]] = {"ours": [], "alone": [], "official": []}
    for number in range(repeats):
        out = place / f"run{number}"
        took["ours"].append(
            spent(lambda out=out: evaluate(model, PAIRS, place / "pairs.jsonl", ImageFolder(folder), out))
        )
        took["alone"].append(spent(lambda: encoding_alone(model, place, rows)))
        took["official"].append(spent(lambda: official_way(model, place, some)))
    scale = items / len(some)
    ours, alone, official = (statistics.median(one.processor for one in took[name]) for name in took)
    laps = json.loads((place / "run0" / "run.json").read_text())["seconds"]
    write = sys.stdout.write
    write(f"ViT-B/32 sizes, {items} items on {images} images, {torch.get_num_threads()} threads\n")
    write(
        f"  processor time: ours {ours:.1f} s; encoding alone {alone:.1f} s; official way {scale * official:.0f} s"
    )
    write(f" (from {len(some)} items); wall clock of ours: {laps}\n")
    note = f"{items} items on {images} images"
    return [
        figure_of_times(
            "per-item script's way / evaluate",
            took["official"],
            took["ours"],
            scale=scale,
            at_least=8,
            note=f"{note}, script on {len(some)}",
        ),
        figure_of_times(
            "evaluate / each image and caption encoded once",
            took["ours"],
            took["alone"],
            at_most=1.1,
            note=note,
        ),
    ]


def growth(place: Path, images: int) -> list[Figure]:
    """Print and return time and peak memory of tenfold items beside those of the items."""
    found, items = [], 0
    for factor in (1, 10):
        own = place / f"x{factor}"
        items = of_the_world(own, factor * images)
        done = subprocess.run(
            [sys.executable, "-c", GROWTH, str(own)], capture_output=True, text=True, check=True
        )
        wall, processor, peak = map(float, done.stdout.split())
        found.append((Spent(wall, processor), peak))
        laps = json.loads((own / "run" / "run.json").read_text())["seconds"]
        sys.stdout.write(f"tiny-clip, {items} items: {processor:.1f} s of the processor; {laps} by the wall ")
        sys.stdout.write(f"clock, peak {peak:.0f} MiB\n")
    (one, small), (ten, large) = found
    note = f"tiny-clip, {items:,} items beside a tenth"
    return [
        figure_of_times("time of tenfold items", [ten], [one], at_most=10.5, note=note),
        figure("peak memory of tenfold items", [large / small], at_most=1.1, note=note),
    ]


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=320, help="of the SugarCrepe-shaped load")
    parser.add_argument("--sample", type=int, default=40, help="items timed the official way")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--growth-images", type=int, default=300)
    parser.add_argument("--only", choices=["speed", "growth"])
    add_option(parser)
    options = parser.parse_args()
    found: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        if options.only != "speed":  # first: a process starts with the peak of the one that made it
            found += growth(Path(name) / "growth", options.growth_images)
        if options.only != "growth":
            found += speed(Path(name) / "speed", options.images, options.sample, options.repeats)
    if options.json is None:
        sys.stdout.write("".join(map(line, found)))
    tell(found, options.json)


if __name__ == "__main__":
    main()
