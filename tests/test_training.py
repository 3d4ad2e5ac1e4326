"""Real fine-tuning of real twins on spoken clips: finished, loaded, killed, resumed; the probe against scikit-learn."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from serlib import audio, training
from serlib.backbones import backbone, weights_of
from serlib.errors import SerlibError
from serlib.metrics import accuracy
from serlib.splits import stratified_split
from serlib.training import Recipe, classify, fine_tune, load_run

QUICK = Recipe(epochs=2, batch_size=8, accumulation=1, learning_rate=1e-3, eval_every=4, trim=True)
PROBE = Recipe(freeze="all", layers="all")


@pytest.fixture
def split(spoken):
    return stratified_split(spoken, test_size=0.25, validation_size=0.2)


@pytest.fixture
def run(split, tmp_path):
    return fine_tune(backbone("wav2vec2-large-mini"), split, QUICK, tmp_path / "runs" / "mini")


def test_run_folder_is_complete(run, split, tmp_path):
    assert run.folder == tmp_path / "runs" / "mini" / "stratified" / "wav2vec2-large-mini"
    left = sorted(path.name for path in run.folder.iterdir())
    assert left == ["checkpoint", "history.csv", "predictions.csv", "run.json"]
    info = json.loads((run.folder / "run.json").read_text())
    assert info["clips"] == {part: len(frame) for part, frame in split.parts()}
    assert info["profile"] == "mini" and info["synthetic"] is True and info["seconds"] > 0
    assert info["trainable_parameters"] < info["parameters"]
    assert info["best_step"] in set(run.history["step"])
    best = run.history.loc[run.history["eval_accuracy"].idxmax()]
    assert info["best_step"] == best["step"]
    assert best["eval_accuracy"] == pytest.approx(accuracy(run, "validation"))


def test_predictions_belong_to_their_clips(run, split):
    """What the run wrote for a clip is what its checkpoint says when that clip's file is opened alone."""
    test = run.predictions[run.predictions["part"] == "test"].set_index("clip")
    assert sorted(test.index) == sorted(split.test.index)
    again = classify(run, list(split.test["path"]))
    written = test.loc[again.index, [f"p_{label}" for label in split.labels]].to_numpy()
    assert np.abs(written - again.to_numpy()).max() < 0.02
    assert (test.loc[split.test.index, "emotion"] == split.test["emotion"]).all()


def test_checkpoint_loads_in_a_plain_pipeline(run, split):
    from transformers import pipeline

    from serlib import audio

    path = split.test["path"].iloc[0]
    plain = pipeline("audio-classification", model=str(run.folder / "checkpoint"), device="cpu")
    answer = plain({"raw": audio.trim(audio.read(path)).copy(), "sampling_rate": audio.RATE}, top_k=4)
    ours = classify(run, [path]).iloc[0]
    assert {row["label"]: row["score"] for row in answer} == pytest.approx(ours.to_dict(), abs=1e-4)


def test_finished_run_is_loaded_not_trained(run, split, tmp_path, capsys):
    stamp = (run.folder / "run.json").stat().st_mtime_ns
    again = fine_tune(backbone("wav2vec2-large-mini"), split, QUICK, tmp_path / "runs" / "mini")
    assert "finished before" in capsys.readouterr().out
    assert (run.folder / "run.json").stat().st_mtime_ns == stamp
    pd.testing.assert_frame_equal(again.predictions, run.predictions)


def test_another_recipe_trains_anew_and_keeps_the_old(run, split, tmp_path, capsys):
    other = dataclasses.replace(QUICK, epochs=1)
    again = fine_tune(backbone("wav2vec2-large-mini"), split, other, tmp_path / "runs" / "mini")
    assert again.info["recipe"]["epochs"] == 1
    kept = load_run(run.folder.with_name("wav2vec2-large-mini.before"))
    pd.testing.assert_frame_equal(kept.predictions, run.predictions)
    assert "kept as wav2vec2-large-mini.before" in capsys.readouterr().out


def test_same_seed_same_numbers(run, split, tmp_path):
    again = fine_tune(backbone("wav2vec2-large-mini"), split, QUICK, tmp_path / "elsewhere")
    pd.testing.assert_frame_equal(again.predictions, run.predictions)
    pd.testing.assert_frame_equal(again.history, run.history)


KILLED = """
import sys
from serlib.corpus import ravdess
from serlib.splits import stratified_split
from serlib.backbones import backbone
from serlib.training import Recipe, fine_tune
corpus = ravdess(sys.argv[1])
corpus.attrs |= {"name": "spoken", "synthetic": True}
recipe = Recipe(epochs=40, batch_size=8, accumulation=1, learning_rate=1e-3, eval_every=4, trim=True)
split = stratified_split(corpus, test_size=0.25, validation_size=0.2)
fine_tune(backbone("hubert-base-mini"), split, recipe, sys.argv[2])
"""


def test_killed_run_resumes_and_nothing_half_written_is_taken_for_whole(spoken_dir, split, tmp_path, capsys):
    folder = tmp_path / "runs" / "mini"
    target = folder / "stratified" / "hubert-base-mini"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(spoken_dir), str(folder)], env=os.environ)
    deadline = time.time() + 240
    while not list(target.glob("trainer/checkpoint-*/trainer_state.json")) and time.time() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (target / "run.json").exists(), "it was to be killed in the middle"
    with pytest.raises(SerlibError, match="no finished run"):
        load_run(target)
    # the newest checkpoint is cut as a kill in mid-save leaves it: it must not be resumed from
    newest = max(target.glob("trainer/checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    broken = newest.with_name("checkpoint-100000")
    shutil.copytree(newest, broken)
    (broken / "trainer_state.json").unlink(missing_ok=True)
    recipe = dataclasses.replace(QUICK, epochs=40)
    run = fine_tune(backbone("hubert-base-mini"), split, recipe, folder)
    assert "goes on from its last checkpoint" in capsys.readouterr().out
    assert run.info["steps"] == 40 * -(-len(split.train) // 8)
    assert not (target / "trainer").exists()


def test_probe_is_scikit_learns_logistic_regression(split, tmp_path):
    run = fine_tune(backbone("hubert-base-mini"), split, PROBE, tmp_path)
    (kept,) = training.cache_dir().glob("features/*.npz")
    with np.load(kept) as file:
        features = pd.DataFrame(file["features"], index=file["clips"])

    def fitted(c, *parts):
        rows = pd.concat(parts)
        pipe = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=2000))
        return pipe.fit(features.loc[rows.index], rows["emotion"])

    losses = {
        c: log_loss(
            split.validation["emotion"], fitted(c, split.train).predict_proba(features.loc[split.validation.index])
        )
        for c in training.REGULARIZATION
    }
    best = min(losses, key=losses.get)
    assert run.info["regularization"] == best
    expected = fitted(best, split.train, split.validation).predict_proba(features.loc[split.test.index])
    test = run.predictions[run.predictions["part"] == "test"].set_index("clip").loc[split.test.index]
    assert np.abs(test[[f"p_{label}" for label in split.labels]].to_numpy() - expected).max() < 2e-3
    again = classify(run, list(split.test["path"]))
    assert np.abs(again.to_numpy() - expected).max() < 5e-3


def test_layer_averages_are_the_layers_of_a_plain_encoder(split):
    import torch
    from transformers import AutoModel

    twin = backbone("wav2vec2-large-mini")
    averages = training.layer_averages(twin, split, PROBE)
    assert list(averages.columns.unique("layer")) == list(range(twin.layers + 1))
    clip = split.test.index[0]
    samples = audio.read(split.test.loc[clip, "path"])
    values = torch.tensor((samples - samples.mean()) / np.sqrt(samples.var() + 1e-7))[None]
    with torch.inference_mode():
        encoder = AutoModel.from_pretrained(weights_of(twin.checkpoint), dtype=torch.float32).eval()
        states = encoder(values, output_hidden_states=True).hidden_states
    for layer, state in enumerate(states):
        np.testing.assert_allclose(averages[layer].loc[clip], state[0].mean(0), atol=1e-3)
    both = training.layer_averages(twin, split, dataclasses.replace(PROBE, pooling="mean+std"))
    np.testing.assert_allclose(both[2].loc[clip, "std"], states[2][0].std(0, correction=0), atol=1e-3)


def test_pretraining_can_be_switched_off(split, tmp_path):
    run = fine_tune(backbone("hubert-base-mini"), split, dataclasses.replace(PROBE, pretrained=False), tmp_path)
    assert run.folder.name == "hubert-base-mini-frozen-random"
    assert run.name.endswith("not pre-trained") and run.info["weights"].startswith("random")


def test_whisper_probe_reads_a_clip_alike_alone_and_in_company(whisper_dir, split, tmp_path, monkeypatch):
    monkeypatch.setenv("SERLIB_MODELS", str(whisper_dir.parent))
    run = fine_tune(backbone("whisper-tiny.en"), split, PROBE, tmp_path)
    written = run.predictions.set_index("clip").loc[split.test.index, [f"p_{label}" for label in split.labels]]
    again = classify(run, list(split.test["path"][:3]))
    assert np.abs(written.to_numpy()[:3] - again.to_numpy()).max() < 5e-3


def test_whisper_is_not_fine_tuned(whisper_dir, split, tmp_path, monkeypatch):
    monkeypatch.setenv("SERLIB_MODELS", str(whisper_dir.parent))
    with pytest.raises(SerlibError, match="takes spectrograms"):
        fine_tune(backbone("whisper-tiny.en"), split, QUICK, tmp_path)


def test_clip_of_50_ms_is_named(split, tmp_path):
    short = split.train.copy()
    short.loc[short.index[3], "seconds"] = 0.05
    with pytest.raises(SerlibError, match=rf"{short.index[3]} .* 50 ms"):
        fine_tune(backbone("hubert-base-mini"), dataclasses.replace(split, train=short), QUICK, tmp_path)


def test_classify_refuses_what_is_too_short_and_runs_without_checkpoint(run, tmp_path):
    blip = tmp_path / "blip.wav"
    soundfile.write(blip, np.full(800, 0.1), 16_000)
    with pytest.raises(SerlibError, match=r"blip.wav has less than 0.1 s"):
        classify(run, [blip])
    shutil.rmtree(run.folder / "checkpoint")
    with pytest.raises(SerlibError, match="no checkpoint"):
        classify(run, [blip])


def test_damaged_checkpoint_is_named(run, split):
    weights = run.folder / "checkpoint" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(SerlibError, match="damaged or incomplete"):
        classify(run, [split.test["path"].iloc[0]])


def test_damaged_run_is_named(run):
    (run.folder / "run.json").write_text('{"title": "Hu')
    with pytest.raises(SerlibError, match="damaged"):
        load_run(run.folder)


@pytest.mark.parametrize("change", [{"epochs": 0}, {"learning_rate": -1.0}, {"freeze": "half"}])
def test_recipe_refuses_nonsense(change):
    with pytest.raises(SerlibError, match=next(iter(change))):
        Recipe(**change)
