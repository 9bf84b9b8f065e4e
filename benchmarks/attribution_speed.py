"""What the four text-side methods cost beside the passes they cannot do without, as ratios of one run.

    OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE .venv/bin/python benchmarks/attribution_speed.py

Model: the published sizes of CLIP ViT-B/32, both towers, random weights. Captions: COCO's, one per image,
in batches sorted by length as the audit makes them. Tokenizer: CLIP's kind, its merges learnt from the
captions of the whole file, since OpenAI's are not here; a caption has about as many tokens as with
those. Ours is timed whole, from strings to word heats; what it is compared with gets its batches
tokenised and is the passes alone. Seconds and ratios are of processor time, as nothing waits.

The notebook way (Chefer et al. 2021's for CLIP, every layer): one caption at a time padded to 77, its
image encoded again, one gradient call per text layer, the whole matrix R. Its image layers, for which
that notebook also takes gradients, are left out here, in its favour.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from figures import Figure, Spent, add_option, figure_of_times, line, spent, tell
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from alignscope.attribution.attribute import heats
from alignscope.attribution.options import Method, Options
from alignscope.language.classes import word_classes
from alignscope.language.replacements import Candidates, candidates, replaced
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.models.protocols import Tokens
from alignscope.records import Caption

COCO = Path(__file__).parents[2] / "shared" / "data" / "coco_karpathy" / "coco_test_1.json"
WORDS = "a the red small spotted dog cat ball kitchen table man woman left right of in on under near holding"
PARAMETERS = 151_277_313
CONTEXT = 77
PASS_BATCH = 256  # texts per forward in `perturbation`


@dataclass(frozen=True)
class Batch:
    """Captions of like length with their images."""

    captions: list[Caption]
    images: Tensor  # embeddings, one row per caption
    tokens: Tokens


@dataclass(frozen=True)
class Target:
    """A ratio `over / under` and what it should be."""

    name: str
    over: str
    under: str
    bound: float | None
    limit: str  # what keeps it from being better
    at_least: bool = False


WEIGHTS, INPUTS = "backward to weights", "backward to inputs"
BACK = "the backward through activations, as long as a forward; weight gradients are never computed"
EAGER = "the same two passes, with eager attention in place of fused; strings and words are about 1 %"
FUSED = "the same two passes, fused in both; strings and words are about 1 %"
TARGETS = [
    Target(
        "gradcam: notebook way / ours",
        "notebook",
        "gradcam",
        25.0,
        "matrix products: 2 passes of about 18 tokens here, some 7.5 of 77 and an image there",
        at_least=True,
    ),
    Target("gradcam / forward+backward, weight gradients", "gradcam", WEIGHTS, 1.3, BACK),
    Target("gradcam / forward+backward, to inputs only", "gradcam", INPUTS, 1.3, EAGER),
    Target(
        "attention / forward", "attention", "forward", 1.1, "the forward; eager maps and strings are the rest"
    ),
    Target("gradient / forward+backward, weight gradients", "gradient", WEIGHTS, 1.2, BACK),
    Target("gradient / forward+backward, to inputs only", "gradient", INPUTS, 1.2, FUSED),
    Target(
        "perturbation / forwards of its texts",
        "perturbation",
        "perturbed texts",
        1.15,
        "the forwards; the captions themselves are encoded too, one more text for about 20",
    ),
    Target(
        "three inner methods in one call / gradcam", "inner three", "gradcam", None, "they share both passes"
    ),
]


def read_captions(path: Path, count: int) -> tuple[list[str], list[str]]:
    """One caption of each of `count` images drawn from the file, and every caption of it; else made-up ones."""
    draw = random.Random(0)
    if not path.is_file():
        words = WORDS.split()
        made = [" ".join(draw.choices(words, k=draw.randint(8, 14))) for _ in range(20 * count)]
        return made[:count], made
    rows = json.loads(path.read_text(encoding="utf-8"))
    everything = [caption for row in rows for caption in row["caption"]]
    return [row["caption"][0] for row in draw.sample(rows, count)], everything


def vit_b_32(corpus: Sequence[str]) -> TransformersDualEncoder:
    """Published sizes, random weights, a byte-pair tokenizer of these captions."""
    tokenizer = CLIPTokenizer(model_max_length=CONTEXT).train_new_from_iterator(
        corpus, vocab_size=10_000, initial_alphabet=ByteLevel.alphabet(), show_progress=False
    )
    torch.manual_seed(0)
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    model = CLIPModel(CLIPConfig(text_config=ids)).eval()  # the configuration's defaults are ViT-B/32
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS
    return TransformersDualEncoder(model, tokenizer, None, name="ViT-B/32 sized")


def batched(model: TransformersDualEncoder, captions: Sequence[Caption], size: int) -> list[Batch]:
    """By length, as the audit does."""
    ordered = sorted(captions, key=lambda caption: len(caption.text))
    rows = torch.nn.functional.normalize(torch.randn(len(ordered), 512), dim=-1)
    return [
        Batch(part, rows[start : start + size], model.tokens([caption.text for caption in part]))
        for start in range(0, len(ordered), size)
        for part in [ordered[start : start + size]]
    ]


def ours(
    model: TransformersDualEncoder,
    batches: Sequence[Batch],
    methods: Sequence[Method],
    available: Candidates | None = None,
) -> None:
    for batch in batches:
        heats(model, batch.captions, batch.images, methods=methods, candidates=available)


def forward(model: TransformersDualEncoder, batches: Sequence[Tokens]) -> None:
    """What reading maps cannot do without: one pass with fused attention, no graph."""
    with torch.no_grad():
        for tokens in batches:
            model.embed_tokens(tokens)


def backward(model: TransformersDualEncoder, batches: Sequence[Batch], *, to_weights: bool) -> None:
    """One pass with fused attention and back, as a training step without its update, or to the inputs."""
    for batch in batches:
        model.model.zero_grad(set_to_none=True)
        with model.text_inputs() as inputs:
            scores = (model.embed_tokens(batch.tokens) * batch.images).sum()
        if to_weights:
            scores.backward()
        else:
            torch.autograd.grad(scores, inputs)
    model.model.zero_grad(set_to_none=True)


def notebook(model: TransformersDualEncoder, captions: Sequence[Caption], pixels: Tensor) -> None:
    """One caption at a time, nothing shared, nothing trimmed."""
    clip = model.model
    for caption in captions:
        ids = model.tokenizer(caption.text, padding="max_length", max_length=CONTEXT, return_tensors="pt")
        with model.text_attention() as maps:
            text = clip.get_text_features(input_ids=ids["input_ids"]).pooler_output
        image = clip.get_image_features(pixel_values=pixels).pooler_output
        score = clip.logit_scale.exp() * torch.nn.functional.cosine_similarity(text, image).sum()
        relevance = torch.eye(CONTEXT)
        for layer in maps:
            (gradient,) = torch.autograd.grad(score, [layer], retain_graph=True)
            relevance = relevance + (gradient * layer).clamp(min=0).mean(dim=1)[0].detach() @ relevance


def perturbed_texts(batches: Sequence[Batch], available: Candidates, options: Options) -> list[list[str]]:
    """The distinct texts that `perturbation` needs per batch, sorted and cut as it does; not the captions."""
    found = []
    for batch in batches:
        texts = set()
        for caption in batch.captions:
            changes, _ = replaced(caption, available, draws=options.draws, seed=options.seed)
            texts |= {change.text for change in changes}
        ordered = sorted(texts, key=lambda text: (len(text), text))
        found += [ordered[at : at + PASS_BATCH] for at in range(0, len(ordered), PASS_BATCH)]
    return found


def interleaved(calls: Mapping[str, Callable[[], None]], repetitions: int) -> dict[str, list[Spent]]:
    """What every call takes in every round; rounds take turns in their order. One round is not counted."""
    times: dict[str, list[Spent]] = {name: [] for name in calls}
    for turn in range(repetitions + 1):
        names = list(calls) if turn % 2 else list(reversed(calls))
        for name in names:
            taken = spent(calls[name])
            if turn:
                times[name].append(taken)
    return times


def figures_of(times: Mapping[str, Sequence[Spent]], scale: Mapping[str, float]) -> dict[str, Figure]:
    """The targets both of whose calls were timed, by name."""
    return {
        target.name: figure_of_times(
            target.name,
            times[target.over],
            times[target.under],
            scale=scale.get(target.over, 1.0) / scale.get(target.under, 1.0),
            at_least=target.bound if target.at_least else None,
            at_most=None if target.at_least else target.bound,
        )
        for target in TARGETS
        if target.over in times and target.under in times
    }


def table(times: Mapping[str, Sequence[Spent]], scale: Mapping[str, float]) -> list[str]:
    """Medians of the calls, then the ratios with what limits them."""
    lines = [f"{'call':<24}{'median s':>10}{'min':>9}{'max':>9}"]
    for name, rounds in times.items():
        taken = [scale.get(name, 1.0) * one.processor for one in rounds]
        lines.append(f"{name:<24}{statistics.median(taken):>10.2f}{min(taken):>9.2f}{max(taken):>9.2f}")
    found = figures_of(times, scale)
    for target in TARGETS:
        if target.name in found:
            lines += ["", line(found[target.name]).rstrip(), f"    limit: {target.limit}"]
    return lines


def main() -> None:
    """Print sizes, times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--captions", type=Path, default=COCO, help="Karpathy-style JSON")
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--notebook", type=int, default=8, help="captions done the notebook way, then scaled")
    parser.add_argument("--perturbed", type=int, default=24, help="captions that perturbation is timed on")
    parser.add_argument("--only", nargs="*", help="calls to time, of all")
    add_option(parser)
    options = parser.parse_args()
    chosen, corpus = read_captions(options.captions, options.count)
    model = vit_b_32(corpus)
    captions = word_classes(chosen)
    available = candidates(captions)
    batches = batched(model, captions, options.batch_size)
    some = batched(model, captions[: options.perturbed], options.batch_size)
    texts = perturbed_texts(some, available, Options())
    token_batches, text_batches = [b.tokens for b in batches], [model.tokens(part) for part in texts]
    pixels = torch.randn(1, 3, 224, 224)
    calls: dict[str, Callable[[], None]] = {
        "forward": lambda: forward(model, token_batches),
        "attention": lambda: ours(model, batches, ["attention"]),
        "backward to weights": lambda: backward(model, batches, to_weights=True),
        "gradcam": lambda: ours(model, batches, ["gradcam"]),
        "gradient": lambda: ours(model, batches, ["gradient"]),
        "backward to inputs": lambda: backward(model, batches, to_weights=False),
        "inner three": lambda: ours(model, batches, ["attention", "gradcam", "gradient"]),
        "notebook": lambda: notebook(model, captions[: options.notebook], pixels),
        "perturbed texts": lambda: forward(model, text_batches),
        "perturbation": lambda: ours(model, some, ["perturbation"], available),
    }
    if options.only:
        calls = {name: call for name, call in calls.items() if name in options.only}
    before = os.getloadavg()
    times = interleaved(calls, options.repetitions)
    scale = {"notebook": len(captions) / options.notebook}
    lengths = [length for batch in batches for length in batch.tokens.lengths]
    widths = [batch.tokens.ids.shape[1] for batch in batches]
    report = [
        f"{len(captions)} captions of {options.captions.name if options.captions.is_file() else 'made-up words'}, "
        f"{statistics.mean(lengths):.1f} tokens on average with start and end, batches of {options.batch_size} "
        f"padded to {', '.join(map(str, widths))}",
        f"perturbation: {sum(len(b.captions) for b in some)} captions, {sum(map(len, texts))} distinct perturbed texts",
        f"notebook way: {options.notebook} captions, scaled by {scale['notebook']:g}",
        f"torch {torch.__version__}, {torch.get_num_threads()} threads of {os.cpu_count()} cores, "
        f"load {before[0]:.1f} before and {os.getloadavg()[0]:.1f} after, {options.repetitions} rounds",
        "",
        *table(times, scale),
    ]
    sys.stdout.write("\n".join(report) + "\n")
    tell(list(figures_of(times, scale).values()), options.json)


if __name__ == "__main__":
    main()
