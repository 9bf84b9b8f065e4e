"""All metrics of what a captioner said of its validation images during training (paper C, Table 1)."""

from __future__ import annotations

from pathlib import Path

import alignscope
from alignscope.errors import MissingExtra
from alignscope.evaluation.caption_metrics import caption_metrics
from alignscope.files import read_jsonl, sha_of, write_jsonl
from alignscope.records import ImageCaption, Signature
from alignscope.reporting.scenes_tables import EPOCHS

METRICS = ("BLEU-4", "METEOR", "ROUGE-L", "CIDEr", "SPICE")


def write_epochs(captioner: Path) -> None:
    """Score captioner/validation/STEP.jsonl against its references; captioner/epochs.jsonl has a row per step.

    A metric that cannot run is in the row's `reasons`. Without validation or references nothing is written.
    """
    said = captioner / "validation"
    files = sorted((int(path.stem), path) for path in said.glob("*.jsonl") if path.stem.isdigit())
    if not files or not (said / "references.jsonl").exists():
        return
    references = _captions(said / "references.jsonl")
    rows = []
    for step, path in files:
        captions = _captions(path)
        sha = sha_of([[one.image, one.text] for one in captions])
        signature = Signature(
            *("", "validation", sha, 0, 0, "captioner", ""), ties="none", version=alignscope.__version__
        )
        row: dict[str, object] = {"step": step, "validation": {}, "reasons": {}}
        try:
            found = caption_metrics(captions, references, signature=signature, metrics=METRICS, draws=1)
        except MissingExtra as error:
            row["reasons"] = dict.fromkeys(METRICS, str(error))
        else:
            row["validation"] = {one.measure: one.value for one in found.numbers if one.value is not None}
            row["reasons"] = {one.measure: one.reason for one in found.numbers if one.value is None}
        rows.append(row)
    write_jsonl(captioner / EPOCHS, rows)


def _captions(path: Path) -> list[ImageCaption]:
    return [ImageCaption(str(row["image"]), str(row["caption"])) for row in read_jsonl(path)]
