"""Oscar's matching heads, against transformers' own BERT fed one pair at a time without padding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import BertConfig, BertModel

from alignscope.models.cross import fresh
from alignscope.models.cross.encoder import TransformersCrossEncoder
from alignscope.models.cross.loading import load
from alignscope.models.cross.oscar import OscarConfig, OscarForImageTextRetrieval, OscarForPretraining
from alignscope.models.protocols import CrossEncoder
from alignscope.records import Regions

TEXTS = ["a red dog near a small cat", "cat", "two unknowable dogs", "the kitchen"]
TAGS = [("dog", "small cat"), ("cat",), (), ("kitchen", "", "dogs")]
KINDS = ("oscar", "oscar-retrieval")


def images() -> list[Regions]:
    found = []
    for number, tags in enumerate(TAGS):
        random, count = np.random.default_rng(number), max(len(tags), 2 + number % 3)
        count = len(tags) or count
        corners = random.uniform(0, 30, (count, 2))
        boxes = np.concatenate([corners, corners + random.uniform(2, 30, (count, 2))], axis=1)
        values = random.normal(size=(count, 6)).astype(np.float32)
        found.append(Regions(f"image-{number}", 70, 60, boxes.astype(np.float32), values, tags=tags))
    return found


def plain_logits(scorer: TransformersCrossEncoder, image: Regions, text: str) -> torch.Tensor:
    """The head's logits of one pair: [CLS] text [SEP] labels [SEP] regions through transformers' encoder."""
    config, state = scorer.model.config, scorer.model.state_dict()
    theirs = BertModel(
        BertConfig(
            vocab_size=config.vocab_size,
            hidden_size=16,
            num_attention_heads=2,
            num_hidden_layers=2,
            intermediate_size=24,
            max_position_embeddings=config.max_position_embeddings,
            attn_implementation="eager",
        )
    ).eval()
    bert = {key.removeprefix("bert."): tensor for key, tensor in state.items() if key.startswith("bert.")}
    report = theirs.load_state_dict(bert, strict=False)
    assert {*report.unexpected_keys} == {
        f"{n}.{p}" for n in ("img_embedding", "LayerNorm") for p in ("weight", "bias")
    }
    assert not report.missing_keys
    words = scorer.tokenizer(text)["input_ids"]
    named = " ".join(image.tags).strip()
    labels = scorer.tokenizer(named, add_special_tokens=False)["input_ids"] + [3] if named else []
    kinds = [0] * len(words) + [1] * len(labels)
    sides = np.array([70, 60, 70, 60], np.float32)
    boxes = image.boxes / sides
    seen = np.concatenate([image.features, boxes, boxes[:, 2:] - boxes[:, :2]], axis=1)
    regions = F.linear(torch.from_numpy(seen), bert["img_embedding.weight"], bert["img_embedding.bias"])
    regions = F.layer_norm(regions, (16,), bert["LayerNorm.weight"], bert["LayerNorm.bias"], 1e-12)
    with torch.no_grad():
        embedded = theirs.embeddings(
            input_ids=torch.tensor([words + labels]), token_type_ids=torch.tensor([kinds])
        )
        states = theirs.encoder(torch.cat([embedded, regions[None]], dim=1)).last_hidden_state
        pooled = theirs.pooler(states)[0]
    head = "classifier" if "classifier.weight" in state else "cls.seq_relationship"
    return state[f"{head}.weight"] @ pooled + state[f"{head}.bias"]


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_log_odds_of_the_plain_logits(
    kind: str, shaken: Callable[[str], TransformersCrossEncoder]
) -> None:
    scorer = shaken(kind)
    wanted = []
    for image, text in zip(images(), TEXTS, strict=True):
        chances = plain_logits(scorer, image, text).softmax(-1)
        match = chances[0] if kind == "oscar" else chances[1]  # papers.md, C.2
        wanted.append((match / (1 - match)).log())
    scores = scorer.score(images(), TEXTS)
    torch.testing.assert_close(scores, torch.stack(wanted), rtol=0, atol=1e-4)
    assert scores.std() > 0.05
    assert isinstance(scorer, CrossEncoder)
    assert len(plain_logits(scorer, images()[0], "cat")) == (3 if kind == "oscar" else 2)


@pytest.mark.parametrize("kind", KINDS)
def test_neither_order_nor_batch_changes_a_score(
    kind: str, shaken: Callable[[str], TransformersCrossEncoder]
) -> None:
    scorer, shown = shaken(kind), images()
    together = scorer.score(shown, TEXTS)
    alone = torch.cat([scorer.score([image], [text]) for image, text in zip(shown, TEXTS, strict=True)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    turned = scorer.score(shown[::-1], TEXTS[::-1]).flip(0)
    torch.testing.assert_close(together, turned, rtol=0, atol=1e-5)


def test_labels_are_read_and_are_no_regions(shaken: Callable[[str], TransformersCrossEncoder]) -> None:
    scorer, image = shaken("oscar"), images()[0]
    other = replace(image, tags=("kitchen", "two"))
    assert (scorer.score([image], ["cat"]) - scorer.score([other], ["cat"])).abs() > 1e-3
    inputs = scorer.inputs([image, images()[1]], ["cat", "a dog"])
    assert inputs.units.tolist() == [[-1, -1, -1, -1, 0, 1], [-1, -1, -1, -1, 0, -1]]
    assert inputs.counts == (2, 1)
    with scorer.pair_attention() as maps:
        scorer.match(inputs)
    assert [each.probabilities.shape for each in maps] == [
        (2, 2, 10, 10)
    ] * 2  # 4 tokens, 4 of labels, 2 regions
    sums = maps[0].probabilities[0].sum(-1)
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-5)
    with scorer.text_inputs() as found:
        scorer.match(inputs)
    assert [each.shape for each in found] == [(2, 4, 16)]


def test_labels_and_regions_without_room_are_told(shaken: Callable[[str], TransformersCrossEncoder]) -> None:
    scorer, image = shaken("oscar"), images()[0]
    scorer.model.config.max_regions = 1
    inputs = scorer.inputs([image, image], ["cat", " ".join(["cat"] * 15)])  # 17 of 20 places are the text's
    assert inputs.cuts == (
        "image-0: no room for 1 of 2 regions",
        "image-0: no room for 1 of 4 pieces of labels and 1 of 2 regions",
    )
    assert [ids.tolist() for ids in inputs.labels] == [[7, 9, 10, 3], [7, 9, 3]]
    full = scorer.inputs([image], [" ".join(["cat"] * 30)])
    assert full.labels[0].tolist() == []
    assert full.cuts[0].startswith("image-0: no room for 4 of 4 pieces of labels")
    assert torch.isfinite(scorer.match(full)).all()


@pytest.mark.parametrize("model_class", [OscarForPretraining, OscarForImageTextRetrieval])
def test_published_keys_beside_those_of_the_captioner(model_class: type) -> None:
    """reference/papers.md, 4.6: the captioner's 209, with the pre-training head, or a classifier instead."""
    with torch.device("meta"):
        keys = {*model_class(OscarConfig()).state_dict()}
    heads = {key for key in keys if not key.startswith("bert.")}
    words = {f"cls.predictions.{part}" for part in ("bias", "decoder.weight")}
    words |= {
        f"cls.predictions.transform.{m}.{p}" for m in ("dense", "LayerNorm") for p in ("weight", "bias")
    }
    ours = {"cls.seq_relationship.weight", "cls.seq_relationship.bias"} | words
    assert heads == (ours if model_class is OscarForPretraining else {"classifier.weight", "classifier.bias"})
    assert len(keys - heads) + len(words) == 209


def test_a_fresh_scorer_reads_what_it_wrote(tmp_path: Path) -> None:
    sizes = {"width": 16, "heads": 2, "mlp": 24, "layers": 2, "image_layers": 0, "cross_layers": 0}
    made = fresh.fresh_scorer(
        "OscarForPretraining",
        **sizes,
        context_length=24,
        feature_width=6,
        initializer_range=0.2,
        dropout=0.1,
        words=["cat", "dog"],
        seed=0,
        name="fresh",
    )
    assert made.traits.context_length == 24
    assert made.traits.match_index == 0
    fresh.save(made, tmp_path / "saved")
    scores = load(tmp_path / "saved").score(images(), TEXTS)
    torch.testing.assert_close(scores, made.score(images(), TEXTS), rtol=0, atol=1e-2)  # saved in float16
