"""The benchmarks by name; other packages add lines by entry points of the group `alignscope.benchmark`."""

from __future__ import annotations

from alignscope.registry import Registry

ROOM = "alignscope.data.benchmarks"
_OURS = {
    "aro-relation": f"{ROOM}.aro:RELATION",
    "aro-attribute": f"{ROOM}.aro:ATTRIBUTE",
    "aro-coco-order": f"{ROOM}.orders:COCO_ORDER",
    "aro-flickr-order": f"{ROOM}.orders:FLICKR_ORDER",
    "sugarcrepe": f"{ROOM}.sugarcrepe:SUGARCREPE",
    "sugarcrepe-pp": f"{ROOM}.sugarcrepe_pp:SUGARCREPE_PP",
    "vl-checklist": f"{ROOM}.vl_checklist:VL_CHECKLIST",
    "valse": f"{ROOM}.valse:VALSE",
    "svo-probes": f"{ROOM}.svo_probes:SVO_PROBES",
    "comvg": f"{ROOM}.comvg:COMVG",
    "winoground": f"{ROOM}.winoground:WINOGROUND",
    "coco-retrieval": f"{ROOM}.retrieval:COCO",
    "flickr-retrieval": f"{ROOM}.retrieval:FLICKR",
    "sts-b": f"{ROOM}.similarity:STS_B",
    "sick-r": f"{ROOM}.similarity:SICK_R",
    "world": f"{ROOM}.world:WORLD",
    "world-similarity": f"{ROOM}.world_similarity:WORLD_SIMILARITY",
    "world-paraphrases": f"{ROOM}.world_similarity:WORLD_PARAPHRASES",
    "pairs": f"{ROOM}.world:PAIRS",
}
BENCHMARKS = Registry("benchmark", _OURS)
SUITES: dict[str, tuple[str, ...]] = {
    "composition": tuple(name for name in sorted(_OURS) if name != "pairs" and not name.startswith("world"))
}
"""Several benchmarks under one name: the evaluation of paper B."""
