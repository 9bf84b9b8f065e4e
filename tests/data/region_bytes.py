"""Files of regions in their published formats, written byte by byte: two boxes in one image of 20x10."""

import base64
import json
import pickle
import struct
from pathlib import Path

import lmdb
import msgpack
import numpy as np

from alignscope.records import Regions

BOXES = [[0, 0, 5, 6], [1, 2, 20, 10]]  # in an image of 20x10


FEATURES = [[1, 2, 3], [4, 5, 6]]


def b64(kind: str, *numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}{kind}", *numbers)).decode()


CELLS = {
    "image": "COCO_val2014_000000000007",
    "w": "20",
    "h": "10",
    "n": "2",
    "boxes": b64("f", *BOXES[0], *BOXES[1]),
    "features": b64("f", *FEATURES[0], *FEATURES[1]),
    "objects_id": b64("q", 1, 0),
    "objects_conf": b64("f", 0.5, 0.25),
    "attrs_id": b64("q", 0, 0),
    "attrs_conf": b64("f", 0.75, 0.125),
}


ORDERS = {
    "butd-tsv": "image w h n boxes features",
    "lxmert-tsv": "image h w objects_id objects_conf attrs_id attrs_conf n boxes features",
    "rosita-tsv": "image features h w n boxes objects_id objects_conf attrs_id attrs_conf",
}


def vocabularies(folder: Path) -> None:
    (folder / "objects_vocab.txt").write_text("yolk,egg yolk\ngoal\n")
    (folder / "attributes_vocab.txt").write_text("nuclear\n")


def tsv(folder: Path, name: str, *rows: dict[str, str]) -> Path:
    vocabularies(folder)
    lines = ["\t".join({**CELLS, **row}[cell] for cell in ORDERS[name].split()) for row in rows or ({},)]
    (folder / "r.tsv").write_text("\n".join(lines) + "\n")
    return folder / "r.tsv"


def arrays(**changed: object) -> dict[str, object]:
    plain = {
        "x": np.array(FEATURES, np.float32),
        "boxes": np.array(BOXES, np.float32),
        "image_h": np.int64(10),
        "image_w": np.int64(20),
        "objects_id": np.array([1, 0]),
        "objects_conf": np.array([0.5, 0.25], np.float32),
        "attrs_id": np.array([0, 0]),
        "attrs_conf": np.array([0.75, 0.125], np.float32),
    }
    return {name: value for name, value in {**plain, **changed}.items() if value is not None}


def npz(folder: Path, **changed: object) -> Path:
    vocabularies(folder)
    (folder / "val2014").mkdir(exist_ok=True)
    np.savez_compressed(folder / "val2014" / "COCO_val2014_000000000007.jpg.npz", **arrays(**changed))
    return folder


def database(path: Path, **values: bytes) -> Path:
    with lmdb.open(str(path), map_size=1 << 24) as environment, environment.begin(write=True) as writing:
        for name, value in values.items():
            writing.put(name.encode(), value)
    return path


def packed(array: np.ndarray) -> dict[bytes, object]:
    """An array as msgpack-numpy says it."""
    kind = array.dtype.str.encode()
    return {b"nd": True, b"type": kind, b"kind": b"", b"shape": list(array.shape), b"data": array.tobytes()}


SHARES = np.array([[0, 0, 0.25, 0.5, 0.25, 0.5], [0.125, 0.25, 1, 1, 0.875, 0.75]], np.float16)


def uniter_arrays() -> dict[str, np.ndarray]:
    return {
        "features": np.array(FEATURES, np.float16),
        "norm_bb": SHARES,
        "conf": np.array([0.5, 0.25], np.float16),
        "soft_labels": np.zeros((2, 4), np.float16),
    }


def uniter(path: Path, *, name: str = "feat_th0.2_max100_min10") -> Path:
    content = msgpack.packb({key: packed(value) for key, value in uniter_arrays().items()}, use_bin_type=True)
    return database(path / name, **{"coco_val2014_000000000007.npz": content})


def vilbert(path: Path, **changed: object) -> Path:
    item = {
        "image_id": "COCO_val2014_000000000007",
        **{"image_h": "10", "image_w": 20, "num_boxes": 2},
        **{"boxes": CELLS["boxes"], "features": CELLS["features"].encode(), **changed},
    }
    return database(
        path / "feat.lmdb", keys=pickle.dumps([b"7"]), COCO_val2014_000000000007=pickle.dumps(item)
    )


def vinvl_row(*, features: list[list[float]] | None = None, many: int = 2) -> str:
    wide = features or [[*f, *s] for f, s in zip(FEATURES, SHARES.astype(float).tolist(), strict=True)]
    return json.dumps({"num_boxes": many, "features": b64("f", *np.ravel(wide))})


def vinvl(folder: Path, *rows: str) -> Path:
    lines = [f"{name}\t{row}\n" for name, row in zip("7abc", rows or (vinvl_row(),), strict=False)]
    (folder / "val.feature.tsv").write_text("".join(lines))
    (folder / "val.hw.tsv").write_text('7\t[{"height": 40, "width": 80}]\na\t40 80\n')
    return folder / "val.feature.tsv"


def same(read, *, boxes=BOXES, size=(20, 10)) -> None:
    assert (read.width, read.height) == size
    assert read.boxes.tolist() == boxes
    assert read.features.tolist() == FEATURES
    assert read.features.dtype == read.boxes.dtype == np.float32
    assert read.features.flags.writeable


def named(read) -> None:
    assert read.tags == ("goal", "yolk")
    assert read.attributes == ("nuclear", "nuclear")
    assert read.confidences.tolist() == [0.5, 0.25]
    assert read.attribute_confidences.tolist() == [0.75, 0.125]


def drawn(
    image: str = "a.png",
    *,
    many: int = 2,
    seed: int = 0,
    width: int = 5,
    tags: tuple[str, ...] = ("ball", "cup", "fire hydrant"),
    made_by: str = "",
) -> Regions:
    """A whole record of regions in an image of 64x60, its numbers by chance."""
    random = np.random.default_rng(seed)
    corners = np.sort(random.uniform(0, 60, (many, 2, 2)), axis=1).reshape(many, 4)
    return Regions(
        image=image,
        width=64,
        height=60,
        boxes=corners.astype(np.float32),
        tags=tuple(tags[i % 3] for i in range(many)),
        attributes=tuple(["", "shiny"][i % 2] for i in range(many)),
        confidences=random.uniform(size=many).astype(np.float32),
        features=random.normal(size=(many, width)).astype(np.float32),
        attribute_confidences=random.uniform(size=many).astype(np.float32),
        made_by=made_by,
    )
