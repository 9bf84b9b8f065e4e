"""Embeddings on disk: what goes in comes out by key, and a stopped writer leaves nothing half."""

import pytest
import torch

from alignscope.errors import BadData, LengthMismatch, UnwritableOutput
from alignscope.studies import store as module
from alignscope.studies.store import EmbeddingStore

KEYS = [bytes([number]) * 32 for number in range(7)]
VECTORS = torch.arange(21.0).reshape(7, 3)


@pytest.fixture
def store(tmp_path):
    return EmbeddingStore(tmp_path / "a" / "b")


def test_rows_come_back_by_key_in_any_order_and_number(store):
    store.add(KEYS[:4], VECTORS[:4])
    store.add(KEYS[4:], VECTORS[4:])
    wanted = [5, 0, 5, 6, 3]
    assert store.read([KEYS[place] for place in wanted]).equal(VECTORS[wanted])
    assert store.held([KEYS[2], b"no" * 16]) == {KEYS[2]}
    assert store.read([]).shape[0] == 0


def test_another_process_reads_what_one_wrote(store):
    store.add(KEYS, VECTORS, [("grey made RGB",), *[()] * 6])
    other = EmbeddingStore(store.directory)
    assert other.read(KEYS).equal(VECTORS)
    assert other.notes(KEYS) == {KEYS[0]: ("grey made RGB",)}


def test_the_first_vector_stays(store):
    store.add(KEYS[:2], VECTORS[:2])
    store.add(KEYS[1:3], VECTORS[4:6])
    assert store.read(KEYS[:3]).equal(VECTORS[[0, 1, 5]])


def test_more_keys_than_one_query_takes(store):
    keys = [number.to_bytes(32, "big") for number in range(1800)]
    store.add(keys, torch.arange(1800.0)[:, None])
    assert store.held(keys) == set(keys)
    assert store.read(keys[::-1]).flatten().tolist() == list(range(1799, -1, -1))


def test_a_writer_stopped_before_the_index_leaves_no_key(store, monkeypatch):
    def stop(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "opened", stop)
        with pytest.raises(KeyboardInterrupt):
            store.add(KEYS, VECTORS)
    assert store.held(KEYS) == set()
    store.add(KEYS, VECTORS)
    assert store.read(KEYS).equal(VECTORS)
    assert len(list(store.directory.glob("*.safetensors"))) == 1


def test_what_is_not_there_is_an_error(store):
    store.add(KEYS[:3], VECTORS[:3])
    with pytest.raises(BadData, match="lacks 1 of 2"):
        store.read([KEYS[0], KEYS[6]])
    with pytest.raises(LengthMismatch, match="2 vectors for 3 keys"):
        store.add(KEYS[:3], VECTORS[:2])


@pytest.mark.parametrize("content", [None, b"half"])
def test_a_lost_or_broken_shard_says_what_to_delete(store, content):
    store.add(KEYS, VECTORS)
    (shard,) = store.directory.glob("*.safetensors")
    shard.unlink() if content is None else shard.write_bytes(content)
    with pytest.raises(BadData, match="delete"):
        store.read(KEYS)


def test_a_broken_index_says_what_to_delete(store):
    (store.directory / "index.sqlite").write_bytes(b"no database at all, but long enough" * 99)
    with pytest.raises(BadData, match="delete"):
        store.held(KEYS)


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableOutput, match="another place"):
        EmbeddingStore(tmp_path / "file" / "store")
