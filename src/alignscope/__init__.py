"""alignscope: does a vision-language model hear whole meaning, or only nouns?

Names are loaded on first use: importing the package is light and brings no torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "attribute": "alignscope.studies.public:attribute",
    "audit": "alignscope.studies.public:audit",
    "calibrate": "alignscope.studies.public:calibrate",
    "evaluate": "alignscope.studies.benchmarking.suite:evaluate",
    "inspect": "alignscope.studies.public:inspect",
    "model": "alignscope.models.zoo:open_model",
    "score": "alignscope.studies.shards.sharded:score",
    "World": "alignscope.data.world.world:World",
}
__all__ = ["attribute", "audit", "calibrate", "evaluate", "inspect", "model", "score", "World"]  # noqa: RUF022  (sorted without regard to case)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'alignscope' has no attribute '{name}'")
    module, _, attribute = _PUBLIC[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
