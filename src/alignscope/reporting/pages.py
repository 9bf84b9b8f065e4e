"""The page of a run directory, whichever kind of run it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from alignscope.errors import BadData
from alignscope.reporting.attribution import attribution_page
from alignscope.reporting.audit import audit_page
from alignscope.reporting.evaluation import evaluation_page, suite_page
from alignscope.reporting.everything import everything_page
from alignscope.reporting.guided import guided_page
from alignscope.reporting.pair import pair_page
from alignscope.reporting.run import read_settings
from alignscope.reporting.scenes import scenes_page
from alignscope.reporting.variants import variants_page

PAGES: Mapping[str, Callable[[Path], Path]] = {
    "audit": audit_page,
    "attribute": attribution_page,
    "inspect": pair_page,
    "evaluate": evaluation_page,
    "suite": suite_page,
    "variants": variants_page,
    "guided captioners": guided_page,
    "scene captioners": scenes_page,
    "papers": everything_page,
}


def page(directory: Path) -> Path:
    """Write directory/report.html again from the records of a finished run; returns its path."""
    settings = read_settings(directory / "run.json")
    identity = settings.get("identity")
    kind = identity.get("kind") if isinstance(identity, Mapping) else None
    if not isinstance(kind, str) or kind not in PAGES:
        raise BadData(
            f"{directory / 'run.json'}: got a run of kind {kind!r}, wanted {', '.join(PAGES)}: "
            "name the --out of such a command"
        )
    if not settings.get("finished"):
        raise BadData(f"{directory} holds an unfinished run: end it with `alignscope {kind} ... --resume`")
    return PAGES[kind](directory)
