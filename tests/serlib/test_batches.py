"""The order of training clips and what a batch holds."""

import numpy as np
import pytest
import torch

from serlib.data.ravdess import ravdess
from serlib.data.splits import stratified_split
from serlib.train.batches import Buckets


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


def test_features_are_on_the_disk_once_and_each_clip_has_its_label(spoken, tmp_path, own_cache):
    """Two splits of the same clips share one file of features, however they are cut."""
    from transformers import AutoFeatureExtractor

    from serlib.train import batches, model
    from serlib.train.backbones import TWINS, backbone
    from serlib.train.recipes import Recipe
    from serlib.train.run import work_on

    twin = backbone("hubert-base-mini")
    extractor = AutoFeatureExtractor.from_pretrained(TWINS / "hubert-base")
    encoder = model.load(twin, ("a", "b")).base_model.feature_extractor
    for seed in (1, 2):
        split = stratified_split(spoken, test_size=0.25, validation_size=0.2, random_state=seed)
        data = batches.features_of(work_on(twin, split, Recipe(), tmp_path, None), encoder, extractor)
        assert [str(clip) for clip in data["train"]["clip"]] == list(split.train.index)
        labels = {clip: split.labels.index(emotion) for clip, emotion in split.train["emotion"].items()}
        batch = batches.collate([data["train"][i] for i in range(5)], labels, "input_values", 64, needs_mask=False)
        assert [split.labels[i] for i in batch["labels"]] == list(split.train["emotion"][:5])
    numbers = sum(np.size(data[part][i]["features"]) for part in data for i in range(len(data[part])))
    stored = sum(file.stat().st_size for file in (own_cache / "features").rglob("*") if file.is_file())
    assert stored < 1.1 * 4 * numbers


@pytest.mark.parametrize("trim", [False, True], ids=["whole", "trimmed"])
def test_less_than_4_percent_of_the_frames_of_ravdess_are_padding(ravdess_dir, trim):
    """Of whole clips the headers know how long they are; only what is trimmed has to be heard."""
    from serlib.data import audio

    train = stratified_split(ravdess(ravdess_dir)).train
    lengths = (train["seconds"] * audio.RATE).astype(int)
    if trim:
        sounds = audio.clips(train, trim=True)
        lengths = [len(sounds[clip]) for clip in train.index]
    order = Buckets(lengths, 8, seed=101)
    wasted, bad = [], []
    for epoch in range(3):
        order.set_epoch(epoch)
        lengths = order.lengths[np.array(list(order)).reshape(-1, 4)]  # two batches of 4 a step
        wasted.append(1 - lengths.sum() / (lengths.max(1) * 4).sum())
        shuffled = np.random.default_rng(epoch).permutation(order.lengths)[:1036].reshape(-1, 4)
        bad.append(1 - shuffled.sum() / (shuffled.max(1) * 4).sum())
    assert max(wasted) < 0.04, wasted
    assert min(bad) > 2 * max(wasted), "random batches of the same clips waste more"


def test_frames_that_fill_up_a_grid_are_silent_to_a_model_with_a_mask():
    from serlib import backbone
    from serlib.train import batches
    from serlib.train import model as models

    rng = np.random.default_rng(0)
    net = models.load(backbone("wav2vec2-large-mini"), ["a", "b"]).eval()
    net.base_model.feature_extractor = models.CachedFeatures()
    channels = net.config.conv_dim[-1]
    clips = [
        {"clip": clip, "samples": 320 * frames + 80, "features": rng.normal(size=channels * frames).astype(np.float32)}
        for clip, frames in (("one", 41), ("two", 33))
    ]
    made = {
        grid: batches.collate(clips, {"one": 0, "two": 1}, "input_values", channels, needs_mask=True, multiple=grid)
        for grid in (1, 32)
    }
    assert [batch["input_values"].shape[-1] for batch in made.values()] == [41, 64]
    with torch.inference_mode():
        plain, filled = (net(**batch).logits for batch in made.values())
    assert torch.allclose(plain, filled, atol=1e-5)
