"""Batched GradCAM against a per-caption loop on a text tower of the size of CLIP ViT-B/32, random weights.

    python benchmarks/gradcam_speed.py --captions 32 --repetitions 7

The loop is this package's own `gradcam` with one caption per call, so it too trims padding and carries
one row; the two are timed in turn, and the ratio is the median over repetitions.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable

import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from alignscope.attribution.gradcam import gradcam
from alignscope.models.dual.encoder import TransformersDualEncoder

WORDS = [
    "a",
    "the",
    "red",
    "small",
    "spotted",
    "dog",
    "cat",
    "ball",
    "kitchen",
    "table",
    "left",
    "right",
    "of",
    "in",
    "on",
    "under",
    "near",
    "holding",
]


def text_tower() -> TransformersDualEncoder:
    """Published sizes of the ViT-B/32 text tower; the image tower, which is not used, is small."""
    tokenizer = CLIPTokenizer().train_new_from_iterator(
        [" ".join(WORDS)], vocab_size=700, initial_alphabet=ByteLevel.alphabet()
    )
    text = {
        "vocab_size": 49408,
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
        "max_position_embeddings": 77,
        "eos_token_id": tokenizer.eos_token_id,
    }
    vision = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=512)).eval()
    return TransformersDualEncoder(model, tokenizer, None, name="ViT-B/32 sized")


def captions(count: int, *, words: range) -> list[str]:
    """Random word strings of COCO-like length."""
    draw = random.Random(0)
    return [" ".join(draw.choices(WORDS, k=draw.choice(words))) for _ in range(count)]


def seconds(call: Callable[[], torch.Tensor]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    """Print the largest difference and the median ratio of times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--captions", type=int, default=32)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--shortest", type=int, default=8, help="words per caption, at least")
    parser.add_argument("--longest", type=int, default=14, help="words per caption, at most")
    options = parser.parse_args()
    model = text_tower()
    texts = captions(options.captions, words=range(options.shortest, options.longest + 1))
    images = torch.nn.functional.normalize(torch.randn(len(texts), 512), dim=-1)

    def batched() -> torch.Tensor:
        return gradcam(model, texts, images)

    def loop() -> torch.Tensor:
        rows = [gradcam(model, [text], image[None])[0] for text, image in zip(texts, images, strict=True)]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)

    together, alone = batched(), loop()
    pairs = [(seconds(batched), seconds(loop)) for _ in range(options.repetitions)]
    times = list(zip(*pairs, strict=True))
    ratios = sorted(alone_for / together_for for together_for, alone_for in pairs)
    lines = [
        f"captions {len(texts)}, tokens {together.shape[1]} at most, threads {torch.get_num_threads()}",
        f"largest difference {(together - alone).abs().max():.3g}, largest heat {alone.max():.3g}",
        f"median seconds: batched {statistics.median(times[0]):.3f}, loop {statistics.median(times[1]):.3f}",
        f"loop / batched: median {statistics.median(ratios):.2f}, range {ratios[0]:.2f}-{ratios[-1]:.2f}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
