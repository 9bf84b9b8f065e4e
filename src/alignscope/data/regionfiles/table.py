"""The formats of region files, and how one is told from another by its content."""

from __future__ import annotations

from pathlib import Path

from alignscope.data.regionfiles import databases, tsv
from alignscope.data.regionfiles.arrow import ArrowFile
from alignscope.data.regionfiles.companions import UNIT, Companions
from alignscope.data.regionfiles.npz import NpzFolder
from alignscope.data.regionfiles.regionfile import Format, RegionFile
from alignscope.data.regionfiles.vinvl import VinvlFile
from alignscope.data.regular import regular
from alignscope.errors import BadData, UnknownName
from alignscope.registry import did_you_mean

_WORDS = "objects_vocab.txt, attributes_vocab.txt"
_LMDB = "pip install 'alignscope[lmdb]'"
FORMATS = {
    one.name: one
    for one in (
        Format("arrow", "the safe format of `regions convert`", "all of the record", "", ArrowFile),
        Format("lxmert-tsv", "LXMERT, and `world export`", "objects, attributes", _WORDS, tsv.lxmert),
        Format("butd-tsv", "bottom-up attention (peteanderson80)", "", "", tsv.butd),
        Format("rosita-tsv", "ROSITA (MILVLG)", "objects, attributes", _WORDS, tsv.rosita),
        Format(
            "vinvl-tsv",
            "VinVL, Oscar",
            "labels that fit",
            "image sizes; .lineidx, labels if there",
            VinvlFile,
        ),
        Format("npz", "folder of .npz: ROSITA (MILVLG), plain", "objects, attributes", _WORDS, NpzFolder),
        Format("uniter-lmdb", "UNITER", "confidences", f"image sizes; {_LMDB}", databases.uniter),
        Format("vilbert-lmdb", "ViLBERT, VOLTA", "objects, attributes", _LMDB, databases.vilbert),
    )
}

_LONGEST_LINE = 2**26
_LMDB_MAGIC = 0xBEEFC0DE.to_bytes(4, "little")


def open_regions(
    path: Path,
    *,
    format: str | None = None,
    objects: Path | None = None,
    attributes: Path | None = None,
    sizes: Path | None = None,
    tags: bool = True,
) -> RegionFile:
    """Regions by image from a file or folder of a format that is named or recognised by its content.

    See `Companions` for the files beside it.
    """
    if not path.exists():
        raise BadData(f"{path}: got nothing there, wanted a file or folder of regions; check the path")
    for beside in (objects, attributes, sizes):  # of which a format may need none
        if beside is not None and str(beside) != UNIT and not beside.exists():
            raise BadData(f"{beside}: got nothing there, wanted a file that goes with {path}; check the path")
    name = format or recognised(path)
    if name not in FORMATS:
        raise UnknownName(f"no format of regions named {name!r}: {did_you_mean(name, FORMATS)}")
    companions = Companions(path, objects=objects, attributes=attributes, sizes=sizes, tags=tags)
    return RegionFile(FORMATS[name], companions)


def recognised(path: Path) -> str:
    """The name of the format of a file or folder."""
    if path.is_dir():
        if (path / "data.mdb").is_file():
            return databases.kind(path)
        if next(path.rglob("*.npz"), None) is not None:
            return "npz"
        raise BadData(f"{path}: got a folder with neither data.mdb nor .npz files; name the file of regions")
    try:
        with regular(path).open("rb") as file:
            head = file.read(32)
            file.seek(0)
            line = file.readline(_LONGEST_LINE)
    except OSError as error:
        raise BadData(f"{path}: got {error.strerror}, wanted a readable file of regions") from None
    if head.startswith(b"ARROW1"):
        return "arrow"
    if head[16:20] == _LMDB_MAGIC:
        return databases.kind(path)
    name = _by_columns(line.rstrip(b"\r\n").split(b"\t"))
    if name:
        return name
    known = {b"\x89HDF": "HDF5", b"PK": "a zip archive (of .npz files the folder is wanted)"}
    told = next((what for start, what in known.items() if head.startswith(start)), f"a file of {head[:16]!r}")
    found = told if head else "an empty file"
    raise BadData(f"{path}: got {found}, wanted one of {', '.join(FORMATS)}: name it with --format")


def _by_columns(cells: list[bytes]) -> str:
    """The format of a line of so many columns, "" if it is of none."""
    is_number = [cell.isdigit() for cell in cells]
    match len(cells):
        case 6 if all(is_number[1:4]):
            return "butd-tsv"
        case 10 if is_number[1] and is_number[2]:
            return "lxmert-tsv"
        case 10 if all(is_number[2:5]):
            return "rosita-tsv"
        case 2 if cells[1].startswith(b"{"):
            return "vinvl-tsv"
        case 3 if is_number[1]:
            return "vinvl-tsv"
    return ""
