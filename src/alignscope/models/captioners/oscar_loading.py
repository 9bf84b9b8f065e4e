"""Oscar as a captioner from the directories of its authors, or new."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import BertTokenizer, PreTrainedTokenizerBase

from alignscope.errors import CheckpointError, CheckpointMismatch
from alignscope.models import weights
from alignscope.models.captioners.autoregressive import AutoregressiveCaptioner
from alignscope.models.captioners.oscar import OPTIONAL, OscarForCaptioning, captioning_config
from alignscope.models.captioners.oscar_reading import WordPieces
from alignscope.models.captioners.oscar_speller import OscarSpeller
from alignscope.models.cross.fresh import word_tokenizer
from alignscope.models.cross.oscar import TIED, OscarConfig
from alignscope.models.dual.loading import FAILURES, quiet, reason_of
from alignscope.models.fingerprint import name_of

FILES = ("pytorch_model.bin", "model.safetensors")
SIGN = "bert.img_embedding.weight"
RULES = "models/captioners/oscar.py"


def official_state(directory: Path) -> dict[str, Tensor] | None:
    """The weights of a directory of the authors; None where it is none."""
    file = next((directory / name for name in FILES if (directory / name).is_file()), None)
    if file is None:
        return None
    state = weights.read_state(file)
    return state if SIGN in state else None


def official(directory: Path, state: dict[str, Tensor]) -> AutoregressiveCaptioner:
    """A captioner from the authors' files: weights, config.json and vocab.txt; pickles of training stay unread."""
    facts = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    try:
        config = captioning_config(state, facts)
    except CheckpointMismatch as error:
        raise CheckpointMismatch(f"{directory}: {error}") from None
    with quiet():
        with torch.device("meta"):
            bare = OscarForCaptioning(config)
        fitted = weights.fit(bare, state, source=str(directory), rules=RULES, optional=OPTIONAL, tied=TIED)
        model = OscarForCaptioning.from_pretrained(
            None, config=config, state_dict=fitted.weights, dtype=torch.float32
        )
    return captioner_of(model, tokenizer_of(directory), name=name_of(directory))


def captioner_of(
    model: OscarForCaptioning, tokenizer: PreTrainedTokenizerBase, *, name: str
) -> AutoregressiveCaptioner:
    """A network with the tokenizer of its vocabulary."""
    rows = model.config.vocab_size
    if len(tokenizer) != rows:
        raise CheckpointMismatch(
            f"{name}: got {rows} words in the weights and {len(tokenizer)} in the tokenizer: give the vocab.txt that it "
            "was trained with"
        )
    return AutoregressiveCaptioner(OscarSpeller(model, tokenizer), WordPieces(tokenizer, rows), name=name)


def tokenizer_of(directory: Path) -> BertTokenizer:
    """The word pieces of a directory: its tokenizer.json, or its vocab.txt, lower-cased as the authors do."""
    try:
        if not any((directory / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
            raise OSError("no vocab.txt")
        return BertTokenizer.from_pretrained(directory, local_files_only=True, do_lower_case=True)
    except FAILURES as error:
        raise CheckpointError(
            f"{directory}: its tokenizer cannot be loaded ({reason_of(error)}): put the vocab.txt of "
            "bert-base-uncased there"
        ) from None


def fresh_oscar(
    sizes: dict[str, Any], words: Sequence[str], *, seed: int, name: str
) -> AutoregressiveCaptioner:
    """A captioner with random weights, in evaluation mode, whose tokenizer knows `words` whole and spells any
    other; `sizes` are entries of `OscarConfig`, its vocabulary aside. The same seed gives the same weights."""
    tokenizer = word_tokenizer(words, context_length=OscarConfig(**sizes).max_position_embeddings)
    config = OscarConfig(architectures=["OscarForCaptioning"], **{**sizes, "vocab_size": len(tokenizer)})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = OscarForCaptioning(config)
    return captioner_of(model.eval(), tokenizer, name=name)
