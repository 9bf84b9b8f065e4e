import numpy as np

from alignscope.training.batches import Batches

KEYS = [f"key{i % 5}" for i in range(100)]


def test_a_batch_is_distinct_and_a_function_of_the_step():
    batches = Batches(KEYS, batch=32, grouped=0.5, group=8, seed=3)
    first, again, other = batches(0, 4), batches(0, 4), batches(0, 5)
    assert len(set(first.tolist())) == 32
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_grouped_share_has_one_key_per_group():
    batch = Batches(KEYS, batch=32, grouped=0.5, group=8, seed=0)(0, 0)
    for start in (0, 8):
        assert len({KEYS[i] for i in batch[start : start + 8]}) == 1
    assert len({KEYS[i] for i in batch[16:]}) > 1


def test_without_groups_every_image_comes():
    seen = set()
    batches = Batches(KEYS, batch=20, grouped=0.0, group=8, seed=0)
    for step in range(60):
        seen |= set(batches(0, step).tolist())
    assert seen == set(range(100))
