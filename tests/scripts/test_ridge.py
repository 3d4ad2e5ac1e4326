"""Kernel ridge regression against scikit-learn's, its held-out scores against refits, and what centering may know."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.kernel_ridge import KernelRidge as Reference

from serlib.data import audio
from serlib.data.splits import actor_split, stratified_split
from serlib.errors import SerlibError
from serlib.train import model, probing
from serlib.train.backbones import backbone, extractor_from
from serlib.train.classify import classify

sys.path[:0] = [str(Path(__file__).parents[2] / "scripts" / "leaderboard")]
import ridge  # noqa: E402
from ridge import RidgeProbe  # noqa: E402

PLAIN = RidgeProbe(centered=False)


@pytest.fixture
def data():
    """60 clips of 12 features, 3 classes, 5 actors whose voices lie far apart; 20 more clips of the same."""
    random = np.random.default_rng(7)
    labels, actors = np.arange(80) % 3, np.arange(80) // 3 % 5
    x = random.normal(size=(80, 12)) + 1.5 * np.eye(3, 12)[labels] + 8 * random.normal(size=(5, 12))[actors]
    return x[:60], labels[:60], actors[:60].astype(str), x[60:], actors[60:].astype(str)


def test_scores_are_those_of_scikit_learns_kernel_ridge(data):
    x, y, _, new, _ = data
    model = ridge.KernelRidge.fit(x, y, 0.2, 0.1, 4.0)
    z, mean = (x - x.mean(0)) / x.std(0), np.eye(3)[y].mean(0)
    reference = Reference(kernel="rbf", gamma=0.2 / 12, alpha=0.1).fit(z, np.eye(3)[y] - mean)
    scores = 4 * (reference.predict((new - x.mean(0)) / x.std(0)) + mean)
    expected = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(model.probabilities(new), expected, atol=1e-6)


@pytest.mark.parametrize("unit", ["clip", "actor"])
def test_held_out_scores_are_those_of_refits(data, unit):
    x, y, actors, _, _ = data
    groups = actors if unit == "actor" else np.arange(len(x))
    model = ridge.KernelRidge.fit(x, y, 0.2, 0.1, 1.0, actors)
    own, closed = ridge._held_out(ridge._kernel(model.support, model.support, 0.2), y, 0.1, groups)
    np.testing.assert_allclose(own, ridge._kernel(model.support, model.support, 0.2) @ model.weights + model.bias)
    z, targets = model.support, np.eye(3)[y] - np.eye(3)[y].mean(0)
    for group in set(groups):
        out = groups == group
        refit = Reference(kernel="rbf", gamma=0.2 / 12, alpha=0.1).fit(z[~out], targets[~out])
        np.testing.assert_allclose(closed[out] - np.eye(3)[y].mean(0), refit.predict(z[out]), atol=1e-8)


def test_voices_are_recognized_from_sound_and_taken_away(data):
    x, y, actors, new, true = data
    model = ridge.KernelRidge.fit(x, y, 0.2, 0.1, 4.0, actors)
    assert (model.recognized(new).astype(str) == true).all()
    for actor in set(actors):
        np.testing.assert_allclose(model.support[actors == actor].mean(0), 0, atol=1e-9)
    z, fresh = (x - x.mean(0)) / x.std(0), (new - x.mean(0)) / x.std(0)
    own = {actor: z[actors == actor].mean(0) for actor in set(actors)}
    z, fresh = z - np.stack([own[a] for a in actors]), fresh - np.stack([own[a] for a in true])
    share = np.eye(3)[y].mean(0)
    reference = Reference(kernel="rbf", gamma=0.2 / 12, alpha=0.1).fit(z / z.std(0), np.eye(3)[y] - share)
    scores = np.exp(4 * (reference.predict(fresh / z.std(0)) + share))
    np.testing.assert_allclose(model.probabilities(new), scores / scores.sum(1, keepdims=True), atol=1e-5)


def test_what_is_kept_answers_alike(data, tmp_path):
    x, y, actors, new, _ = data
    for known in (None, actors):
        model = ridge.KernelRidge.fit(x, y, 0.2, 0.1, 4.0, known)
        model.write(tmp_path / "probe.npz")
        kept = ridge.KernelRidge.read(tmp_path / "probe.npz")
        np.testing.assert_allclose(kept.probabilities(new), model.probabilities(new), atol=1e-5)


def test_temperature_is_the_most_likely_one():
    scores, labels = np.array([[1.0, 0.0]] * 4), np.array([0, 0, 0, 1])
    assert ridge.tune_temperature(scores, labels) == pytest.approx(np.log(3), abs=1e-4)  # then p = 3/4 = the share


def test_loudness_pooling_against_a_case_worked_by_hand():
    """Two frames, the second 1024 times as intense: 1024^0.3 = 8 times as loud, so it has 8/9 of the weight."""
    layers = np.array([[[0.0, 9.0], [9.0, 0.0]]])
    samples = np.repeat([0.01, 0.32], 100)
    mean_and_std = RidgeProbe(pooling="loudness").pool(layers, samples)
    np.testing.assert_allclose(mean_and_std, [8, 1, np.sqrt(8), np.sqrt(8)], rtol=1e-4)


def run_of(split, folder, **settings):
    return probing.probe(backbone("hubert-base-mini"), split, dataclasses.replace(PLAIN, **settings), folder)


def test_run_classifies_as_it_predicted(spoken, tmp_path):
    split = stratified_split(spoken, test_size=0.25, validation_size=0.2)
    run = run_of(split, tmp_path, pooling="loudness", speeds=(0.9, 1.0, 1.1), centered=True)
    encoder = model.load_trained(run.folder / "checkpoint"), extractor_from(run.folder / "checkpoint")
    recipe, head = RidgeProbe(**run.info["recipe"]), ridge.KernelRidge.read(run.folder / "checkpoint" / "probe.npz")
    sounds = [audio.read(path) for path in split.test["path"][:4]]
    shares = head.probabilities(probing.averages_of(encoder, sounds, recipe))
    again = pd.DataFrame(shares, index=split.test.index[:4], columns=list(split.labels))
    written = run.predictions.set_index("clip").loc[again.index, again.columns.map("p_{}".format)]
    np.testing.assert_allclose(again.to_numpy(), written.to_numpy(), atol=2e-3)
    assert run.info["centered"] is True and len(run.history) == len(ridge.GRID)
    assert run.info["best_step"] == run.history["eval_loss"].idxmin() + 1
    with pytest.raises(SerlibError, match="classify with the program that made it"):
        classify(run, list(split.test["path"][:1]))


def test_centering_never_reads_who_speaks_in_a_test_clip(spoken, tmp_path):
    split = stratified_split(spoken, test_size=0.25, validation_size=0.2)
    honest = run_of(split, tmp_path / "honest", centered=True)
    names = np.roll(sorted(set(split.train["actor"])), 1)
    swapped = split.test.assign(actor=split.test["actor"].map(dict(zip(sorted(names), names, strict=True))))
    fooled = run_of(dataclasses.replace(split, test=swapped), tmp_path / "fooled", centered=True)
    columns = [f"p_{label}" for label in split.labels]
    assert (fooled.predictions[columns] == honest.predictions[columns]).all(axis=None)
    plain = run_of(split, tmp_path / "plain")
    assert (plain.predictions[columns] != honest.predictions[columns]).any(axis=None)


def test_centering_does_nothing_on_unseen_voices(spoken, tmp_path):
    split = actor_split(spoken, n_test=2, n_validation=1)
    centered, plain = run_of(split, tmp_path / "a", centered=True), run_of(split, tmp_path / "b")
    assert centered.info["centered"] is False
    assert centered.predictions.equals(plain.predictions)


def test_unseen_voices_are_held_out_whole(spoken, tmp_path):
    split = actor_split(spoken, n_test=2, n_validation=1)
    run = run_of(split, tmp_path)
    features = probing.layer_averages(backbone("hubert-base-mini"), split, PLAIN).loc[split.train.index].to_numpy()
    labels = np.searchsorted(split.labels, split.train["emotion"].to_numpy(str))
    *_, scores = next(ridge.search(features, labels, split.train["actor"].to_numpy(str)))
    assert run.history["eval_accuracy"][0] == pytest.approx((scores.argmax(1) == labels).mean())


@pytest.mark.parametrize(
    "change", [{"speeds": ()}, {"speeds": (0.0,)}, {"centered": "yes"}, {"pooling": "max"}, {"layers": "middle"}]
)
def test_probe_refuses_what_has_no_meaning(change):
    with pytest.raises(SerlibError, match=next(iter(change))):
        RidgeProbe(**change)


def test_a_ridge_probe_says_what_its_head_is():
    assert str(RidgeProbe()) == "frozen encoder, mean+std of all layers, kernel ridge regression, centered"
    tried = str(RidgeProbe(speeds=(0.9, 1.0, 1.1), centered=False, trim=True))
    assert tried == "frozen encoder, mean+std of all layers, kernel ridge regression, at speeds 0.9, 1, 1.1, trimmed"
