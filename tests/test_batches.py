"""The order of training clips and what a batch holds."""

import numpy as np
import pytest

from serlib import corpus
from serlib.batches import Buckets
from serlib.splits import stratified_split


def in_steps(order: Buckets) -> np.ndarray:
    return np.array(list(order)).reshape(-1, order.size)


def test_each_epoch_has_all_clips_in_another_order_and_only_its_last_step_repeats():
    rng = np.random.default_rng(0)
    order = Buckets(rng.integers(20_000, 80_000, 1036), 8, seed=101)
    epochs = []
    for epoch in range(2):
        order.set_epoch(epoch)
        seen = list(order)
        assert len(seen) == len(order) == 1040
        assert set(seen) == set(range(1036))
        epochs.append(seen)
    assert epochs[0] != epochs[1]
    again = Buckets(order.lengths, 8, seed=101)
    again.set_epoch(1)
    assert list(again) == epochs[1], "seed and epoch decide, nothing else"
    assert list(Buckets(order.lengths, 8, seed=102)) != epochs[0]


def test_short_and_long_clips_are_mixed_over_an_epoch():
    """Bucketing must not teach the short clips first: the mean length of the steps has no trend."""
    order = Buckets(np.arange(1000), 10, seed=0)
    means = order.lengths[in_steps(order)].mean(1)
    assert abs(np.corrcoef(np.arange(len(means)), means)[0, 1]) < 0.3


def test_few_clips_fill_one_step():
    seen = list(Buckets([5, 4, 3], 8, seed=0))
    assert len(seen) == 8 and min(seen.count(i) for i in range(3)) >= 2


@pytest.mark.parametrize("trim", [False, True], ids=["whole", "trimmed"])
def test_less_than_4_percent_of_the_frames_of_ravdess_are_padding(ravdess_dir, trim):
    from serlib import audio

    clips = corpus.ravdess(ravdess_dir)
    train = stratified_split(clips).train
    sounds = audio.clips(clips, trim=trim)
    order = Buckets([len(sounds[clip]) for clip in train.index], 8, seed=101)
    wasted, bad = [], []
    for epoch in range(3):
        order.set_epoch(epoch)
        lengths = order.lengths[np.array(list(order)).reshape(-1, 4)]  # two batches of 4 a step
        wasted.append(1 - lengths.sum() / (lengths.max(1) * 4).sum())
        shuffled = np.random.default_rng(epoch).permutation(order.lengths)[:1036].reshape(-1, 4)
        bad.append(1 - shuffled.sum() / (shuffled.max(1) * 4).sum())
    assert max(wasted) < 0.04, wasted
    assert min(bad) > 2 * max(wasted), "random batches of the same clips waste more"
