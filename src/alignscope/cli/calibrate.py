"""`alignscope calibrate`: does a model score pairs that belong together above pairs that do not?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from alignscope.cli import options as shared
from alignscope.cli.terminal import tell

if TYPE_CHECKING:
    from alignscope.records import Measurement


def calibrate(
    model: shared.Model,
    pairs: shared.Pairs = None,
    images: shared.Images = None,
    regions: shared.Regions = None,
    device: shared.Device = "cpu",
    dtype: shared.Dtype = "float32",
    activation: shared.Activation = None,
    tokenizer: shared.Tokenizer = None,
    match_index: shared.MatchIndex = None,
    scoring: shared.Scoring = None,
    seed: shared.Seed = 0,
    as_json: shared.Json = False,
) -> None:
    """Score up to 64 images of --pairs with their own and with another's caption; refuse a flipped head."""
    import alignscope
    from alignscope.cli.machine import say
    from alignscope.studies.calibration import doubts

    how: dict[str, Any] = {"device": device, "dtype": dtype, "activation": activation}
    how |= {"tokenizer": tokenizer, "match_index": match_index, "scoring": scoring}
    opened = alignscope.model(model, **how)
    found = alignscope.calibrate(opened, pairs=pairs, images=images, regions=regions, seed=seed)
    if as_json:
        say(model=opened.name, measurements=[found], doubts=doubts(found))
    else:
        _tell(opened.name, found)
    if found.value is None:
        raise typer.Exit(1)


def _tell(name: str, found: Measurement) -> None:
    from alignscope.reporting.wording import interval_in_words, value_in_words
    from alignscope.studies.calibration import doubts

    if found.value is None:
        tell(found.reason)
        return
    told = f"AUC {value_in_words(found)} ({interval_in_words(found)}) over {found.items} images"
    tell(f"{name}: own captions above those of other images, {told}")
    for doubt in doubts(found):
        tell(f"but: {doubt.what}")
    tell(found.signature)
