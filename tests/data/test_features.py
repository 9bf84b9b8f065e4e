"""Folders of features: found by name or by COCO's number, and what is wrong with a file is said."""

import numpy as np
import pytest

from alignscope.data.features import FeatureFolder
from alignscope.errors import BadData, UnknownName


def test_features_are_found_by_name_and_by_the_number_of_coco(tmp_path):
    one, two = np.arange(4, dtype=np.float32), np.ones((3, 4), np.float16)
    np.save(tmp_path / "391895.npy", one)
    np.save(tmp_path / "dog.npy", two)
    (tmp_path / "note.txt").write_text("no features")
    folder = FeatureFolder(tmp_path)
    for name in (
        "391895",
        "COCO_val2014_000000391895.jpg",
        "val2014/COCO_val2014_000000391895.jpg",
        "000000391895.jpg",
    ):
        assert name in folder
        np.testing.assert_array_equal(folder[name], one)
    assert folder["dog.png"].dtype == np.float32
    assert folder["dog.png"].shape == (3, 4)
    assert list(folder) == ["391895", "dog"]
    assert len(folder) == 2
    assert 391895 not in folder


def test_a_file_named_in_full_comes_before_one_by_number(tmp_path):
    np.save(tmp_path / "12.npy", np.zeros(2))
    np.save(tmp_path / "COCO_val2014_000000000012.npy", np.ones(2))
    assert FeatureFolder(tmp_path)["COCO_val2014_000000000012.jpg"].tolist() == [1, 1]


def test_features_lie_in_folders_as_images_do(tmp_path):
    for at, name in enumerate(
        ("train/dog.jpg", "val/dog.jpg", "val2014/COCO_val2014_000000000042.jpg", "a.b")
    ):
        place = tmp_path / f"{name}.npy"
        place.parent.mkdir(parents=True, exist_ok=True)
        np.save(place, np.full(2, at, np.float32))
    folder = FeatureFolder(tmp_path)
    asked = ("train/dog.jpg", "val/dog", "42", "COCO_val2014_000000000042.jpg", "a.b")
    assert [folder[name].tolist()[0] for name in asked] == [0, 1, 2, 2, 3]
    with pytest.raises(BadData, match=r"may be 'train/dog.jpg' or 'val/dog.jpg'"):
        folder["dog.jpg"]


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(BadData, match=r"got no \.npy file there"):
        FeatureFolder(tmp_path / "nowhere")
    with pytest.raises(BadData, match=r"got no \.npy file there"):
        FeatureFolder(tmp_path)
    np.save(tmp_path / "dog.npy", np.zeros(2))
    with pytest.raises(UnknownName, match="no features of 'dogs': did you mean 'dog'"):
        FeatureFolder(tmp_path)["dogs"]


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((2, 2, 2)), r"float64 \(2, 2, 2\), wanted"),
        (np.zeros(2, int), "array of int64"),
        (np.array([1.0, np.nan]), "not finite"),
        (np.array([{"a": 1}]), "no readable array"),
        (None, "no readable array"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(tmp_path, array, said):
    path = tmp_path / "dog.npy"
    if array is None:
        path.write_bytes(b"\x93NUMPY")
    else:
        np.save(path, array, allow_pickle=True)
    with pytest.raises(BadData, match=said):
        FeatureFolder(tmp_path)["dog"]


@pytest.mark.parametrize("image", ["dog_12.png", "frame_012", "12.5"])
def test_a_number_in_another_name_is_no_number_of_coco(tmp_path, image):
    np.save(tmp_path / "12.npy", np.zeros(2))
    np.save(tmp_path / "7.npy", np.zeros(2))
    assert image not in FeatureFolder(tmp_path)
    with pytest.raises(UnknownName, match="no features of"):
        FeatureFolder(tmp_path)[image]
