"""The single files in which the authors of UNITER, ROSITA, ViLBERT, LXMERT and Oscar publish their weights.

A file is recognised by its keys, its shapes tell the sizes, and every key goes where the module of its
family writes (reference/papers.md, section 4). It holds no tokenizer, so one must be named.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, BertTokenizer, PreTrainedConfig

from alignscope.errors import CheckpointError, CheckpointMismatch, Unsupported, UnwritableOutput
from alignscope.models import weights
from alignscope.models.cross.bert import HEAD
from alignscope.models.cross.encoder import TransformersCrossEncoder
from alignscope.models.cross.loading import FAMILIES, architecture
from alignscope.models.cross.vilbert import CHANNELS
from alignscope.models.dual.loading import (
    FAILURES,
    check_finite,
    compute_device,
    compute_dtype,
    quiet,
    reason_of,
)
from alignscope.models.hub import look_for

HOME = "alignscope.models.cross."
HEADS = {"hidden_size": HEAD, "v_hidden_size": CHANNELS, "bi_hidden_size": CHANNELS}
"""Widths of published models are multiples of these, the widths of a head."""
PADDING = 8
"""Vocabulary tables may be padded to a multiple of this."""


@dataclass(frozen=True)
class Layout:
    """One kind of file: how it is recognised, what it holds and which module has its rules.

    It is the first whose keys begin with one of `begins` and, where `also` is given, contain that key.
    """

    name: str
    begins: tuple[str, ...]
    architecture: str  # a line of FAMILIES
    rules: str  # the module with config_from, OPTIONAL and TIED
    tokenizer: str
    also: str = ""
    rename: Mapping[str, str] = field(default_factory=dict)
    is_nested: bool = False  # one state dict per module

    @property
    def is_cased(self) -> bool:
        """Whether its tokens keep capitals."""
        return not self.tokenizer.endswith("-uncased")


UNITER = ("uniter.",)
ROSITA = ("visual_embeddings.dense_imgfeat.", "visual_embeddings.dense_bboxfeat.", "backbone.layers.")
VILBERT = ("bert.v_embeddings.", "bert.encoder.c_layer.")
LXMERT = ("bert.encoder.visn_fc.", "bert.encoder.x_layers.", "bert.encoder.r_layers.")
OSCAR = ("bert.img_embedding.",)
CASED, UNCASED = "bert-base-cased", "bert-base-uncased"
LAYOUTS = (
    Layout(
        "UNITER (retrieval)",
        UNITER,
        "UniterForImageTextRetrieval",
        "uniter",
        CASED,
        also="rank_output.weight",
    ),
    Layout("UNITER", UNITER, "UniterForPretraining", "uniter", CASED),
    Layout("ROSITA", ROSITA, "RositaForPretraining", "rosita", UNCASED, is_nested=True),
    Layout("ViLBERT 12-in-1", VILBERT, "VilbertForTasks", "vilbert", UNCASED, also="vil_logit.weight"),
    Layout("ViLBERT", VILBERT, "VilbertForPretraining", "vilbert", UNCASED),
    Layout("LXMERT", LXMERT, "LxmertForPreTraining", "lxmert", UNCASED, rename={"bert.": "lxmert."}),
    Layout(
        "Oscar/VinVL (retrieval)",
        OSCAR,
        "OscarForImageTextRetrieval",
        "oscar",
        UNCASED,
        also="classifier.weight",
    ),
    Layout("Oscar/VinVL", OSCAR, "OscarForPretraining", "oscar", UNCASED, also="cls.seq_relationship.weight"),
)
STRANGERS = {
    "lxmert.": "LXMERT's weights under the names of transformers: give its directory, with config.json",
    "visual_bert.": "VisualBERT's weights under the names of transformers: give its directory, with config.json",
    "vilt.": "ViLT's weights under the names of transformers: give its directory, with config.json",
    "lxrt_encoder.": "an LXMERT that was fine-tuned for a task: its matching head is gone, give *_LXRT.pth",
    "bert.img_embedding.": "a captioner of Oscar or VinVL, which is no scorer: `open_captioner` takes its directory",
    "bert.embeddings.": "a BERT that sees no image",
}
"""What keys that begin so are a sign of."""
IDLE = (
    *("dropout", "initializer", "task_mat", "task_mask", "task_obj", "task_qa", "visual_obj", "visual_attr"),
    *(
        "visual_feat_loss",
        "normalizer",
        "labels",
        "label2id",
        "id2label",
        "token_id",
        "dtype",
        "architectures",
    ),
    *(
        "transformers_version",
        "_name_or_path",
        "return_dict",
        "output_",
        "use_cache",
        "answers",
        "target_size",
    ),
    *("tie_word", "classes"),
)
"""Parts of names of entries that change no score, or that shapes tell."""


@dataclass(frozen=True, eq=False)
class Official:
    """A scorer from an official file. `absent` are weights of heads that the file lacks: they are zero and no
    score depends on them; `unused` are keys of heads that no score needs."""

    scorer: TransformersCrossEncoder
    layout: Layout
    absent: tuple[str, ...]
    unused: tuple[str, ...]


def layout_of(keys: Iterable[str]) -> Layout | None:
    """The kind of file with these keys; None where they are no sign of a model that reads regions.

    >>> layout_of(["bert.encoder.x_layers.0.visual_attention.att.query.bias"]).name
    'LXMERT'
    """
    found = set(keys)
    for layout in LAYOUTS:
        if any(key.startswith(layout.begins) for key in found) and (not layout.also or layout.also in found):
            return layout
    return None


def stranger(keys: Iterable[str]) -> str | None:
    """What a file that is none of the layouts seems to hold.

    >>> stranger(["bert.img_embedding.weight", "bert.embeddings.LayerNorm.bias"])
    'a captioner of Oscar or VinVL, which is no scorer: `open_captioner` takes its directory'
    """
    found = list(keys)
    return next((what for sign, what in STRANGERS.items() if any(k.startswith(sign) for k in found)), None)


def contents(path: Path) -> dict[str, Any]:
    """What a file names, flat and under canonical names, tensors or not; no code is run."""
    whole = weights.unwrapped(weights.read(path))
    if not isinstance(whole, Mapping) or not all(isinstance(key, str) for key in whole):
        return {}
    if any(isinstance(part, Mapping) and any(map(torch.is_tensor, part.values())) for part in whole.values()):
        whole = pkgutil.resolve_name(HOME + "rosita:flattened")(whole)
    return weights.canonical(whole)


def load_official(
    path: str | Path,
    *,
    tokenizer: str | Path | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    match_index: int | None = None,
) -> Official:
    """A scorer from one file of weights; `tokenizer` is a directory that holds one, or a hub id."""
    path = Path(path)
    place, number = compute_device(device), compute_dtype(dtype)
    found = contents(path)
    layout = layout_of(found)
    if layout is None:
        known = ", ".join(each.name for each in LAYOUTS)
        what = stranger(found) or f"keys such as {', '.join([*found][:3]) or 'none'}"
        raise CheckpointError(f"{path} holds {what}; wanted the authors' file of {known}")
    check_alone(path)
    state = weights.named_tensors(found, path)
    rules = importlib.import_module(HOME + layout.rules)
    words = find_tokenizer(tokenizer, layout, path)
    try:
        config = rules.config_from(state)
    except CheckpointMismatch as error:
        raise CheckpointMismatch(f"{path}, a file of {layout.name}: {error}") from None
    check_heads(config, path)
    family = FAMILIES[layout.architecture]
    model_class = pkgutil.resolve_name(family.model_class)
    with quiet():
        with torch.device("meta"):
            bare = model_class(config)
        fitted = weights.fit(
            bare,
            state,
            source=str(path),
            rules=f"models/cross/{layout.rules}.py",
            rename=layout.rename,
            optional=rules.OPTIONAL,
            tied=rules.TIED,
        )
        check_vocabulary(words, config.vocab_size, layout, path)
        model = model_class.from_pretrained(
            None, config=config, state_dict=fitted.weights, dtype=torch.float32
        )
    model.to(place, number).eval()
    check_finite(str(path), model)
    scorer = TransformersCrossEncoder(model, words, None, family, name=path.stem, match_index=match_index)
    return Official(scorer, layout, fitted.absent, fitted.unused)


def check_alone(path: Path) -> None:
    """Refuse a file that is part of a directory of transformers: its config.json knows more than shapes tell."""
    beside = path.parent / "config.json"
    if beside.is_file() and architecture(str(path.parent)) in {layout.architecture for layout in LAYOUTS}:
        raise CheckpointError(f"{path} lies beside its config.json: give the directory, {path.parent}")


def check_heads(config: PreTrainedConfig, path: Path) -> None:
    """Refuse widths of no published size: a file alone does not tell how many attention heads they have."""
    for name, unit in HEADS.items():
        width = getattr(config, name, unit)
        if width % unit:
            raise CheckpointError(
                f"{path}: a {name} of {width}, wanted a multiple of {unit}: a file alone does not tell how many "
                "attention heads it has; give a directory with config.json"
            )


def find_tokenizer(tokenizer: str | Path | None, layout: Layout, path: Path) -> Any:
    """The tokenizer in a directory (a vocab.txt alone will do) or of a hub id, if it keeps capitals as wanted."""
    wanted = f"give --tokenizer a directory with the files of {layout.tokenizer}, or that hub id"
    if tokenizer is None:
        raise CheckpointError(f"{path} is {layout.name}'s, and such a file holds no tokenizer: {wanted}")
    look_for(tokenizer)
    is_local = Path(tokenizer).is_dir()
    has_more = any((Path(tokenizer) / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
    try:
        with quiet():
            if is_local and not has_more and (Path(tokenizer) / "vocab.txt").is_file():
                words = BertTokenizer.from_pretrained(
                    tokenizer, local_files_only=True, do_lower_case=not layout.is_cased
                )
            else:
                words = AutoTokenizer.from_pretrained(
                    tokenizer, local_files_only=is_local, trust_remote_code=False
                )
    except FAILURES as error:
        raise CheckpointError(
            f"the tokenizer in {tokenizer} cannot be loaded ({reason_of(error)}): {wanted}"
        ) from None
    if keeps_capitals(words) != layout.is_cased:
        does, should = ("keeps", "lower-case them") if keeps_capitals(words) else ("lower-cases", "keep them")
        raise CheckpointMismatch(
            f"the tokenizer in {tokenizer} {does} capitals, {layout.name}'s should {should}: {wanted}"
        )
    return words


def keeps_capitals(tokenizer: Any) -> bool:
    """Whether words in capitals stay so before they are cut into tokens."""
    normalizer = tokenizer.backend_tokenizer.normalizer
    return normalizer is None or normalizer.normalize_str("A") == "A"


def check_vocabulary(tokenizer: Any, rows: int, layout: Layout, path: Path) -> None:
    """The tokenizer has a row for every token and, but for padding, a token for every row."""
    if not 0 <= rows - len(tokenizer) < PADDING:
        raise CheckpointMismatch(
            f"{path} has embeddings of {rows} tokens, its tokenizer has {len(tokenizer)}: give the tokenizer it "
            f"was trained with, {layout.tokenizer} as published"
        )


def save_official(scorer: TransformersCrossEncoder, path: str | Path) -> None:
    """Write the weights as the authors' file has them, in float32; heads that are zero are left out.

    Refused where the file would be read back as another model, because its shapes tell too little.
    """
    model, name = scorer.model, type(scorer.model).__name__
    layout = next((each for each in LAYOUTS if each.architecture == name), None)
    if layout is None:
        known = ", ".join(each.architecture for each in LAYOUTS)
        raise Unsupported(f"{scorer.name} is a {name}: there are official files of {known} alone")
    rules = importlib.import_module(HOME + layout.rules)
    state = {key: tensor.detach().float().cpu() for key, tensor in model.state_dict().items()}
    for head in rules.OPTIONAL:
        inside = [key for key in state if key.startswith(head)]
        if not any(state[key].any() for key in inside if key not in rules.TIED):
            state = {key: tensor for key, tensor in state.items() if key not in inside}
    back = {new: old for old, new in layout.rename.items()}
    state = {weights.renamed(key, back): tensor.clone() for key, tensor in state.items()}
    told = facts(rules.config_from(state))
    if odd := [key for key, value in facts(model.config).items() if value != told.get(key)]:
        raise Unsupported(
            f"{scorer.name}: its {', '.join(sorted(odd))} cannot be told by an official file, whose shapes are all "
            "there is: save it with save_pretrained"
        )
    try:
        torch.save(nested(state) if layout.is_nested else state, path)
    except (OSError, RuntimeError) as error:
        raise UnwritableOutput(f"{path} cannot be written ({reason_of(error)}): name another place") from None


def facts(config: PreTrainedConfig) -> dict[str, Any]:
    """The entries of a configuration that a score depends on."""
    entries = config.to_dict().items()
    return {key: _plain(value) for key, value in entries if not any(part in key for part in IDLE)}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def nested(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """One state dict per module.

    >>> nested({"pooler.dense.bias": torch.ones(1)})
    {'pooler': {'dense.bias': tensor([1.])}}
    """
    found: dict[str, dict[str, Tensor]] = {}
    for key, tensor in state.items():
        module, _, rest = key.partition(".")
        found.setdefault(module, {})[rest] = tensor
    return found
