"""Real fine-tuning of real twins on spoken clips: finished, loaded, killed, resumed; the probe against scikit-learn."""

import contextlib
import dataclasses
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from serlib.data import audio
from serlib.data.ravdess import ravdess
from serlib.data.splits import stratified_split
from serlib.errors import SerlibError
from serlib.files import cache_dir
from serlib.judge.metrics import accuracy
from serlib.train import callbacks, finetuning, heads, probing
from serlib.train.backbones import backbone, weights_of
from serlib.train.classify import classify
from serlib.train.finetuning import fine_tune
from serlib.train.probing import probe
from serlib.train.recipes import Probe, Recipe
from serlib.train.run import Runs, load_run

QUICK = Recipe(epochs=2, batch_size=8, accumulation=1, learning_rate=1e-3, eval_every=2, trim=True, precision="fp32")
PROBE = Probe(pooling="mean")


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(autouse=True)
def own_cache(shared_cache, monkeypatch) -> Path:
    """The features of a clip are made once for all tests here; how they are kept is for test_run and test_batches."""
    monkeypatch.setenv("SERLIB_CACHE", str(shared_cache))
    monkeypatch.delenv("RAVDESS_DIR", raising=False)
    return shared_cache


def split_of(folder: Path):
    corpus = ravdess(folder)
    corpus.attrs |= {"name": "mini", "synthetic": True}
    return stratified_split(corpus, test_size=0.25, validation_size=0.2)


@pytest.fixture
def split(half_dir):
    return split_of(half_dir)


@pytest.fixture
def small(split):
    """A few clips of each emotion of every part: 16 to learn from, for what is not about learning."""
    many = {"train": 4, "validation": 2, "test": 2}
    few = {part: rows.groupby("emotion").head(many[part]) for part, rows in split.parts()}
    return dataclasses.replace(split, **few)


@pytest.fixture(scope="module")
def trained(half_dir, shared_cache, tmp_path_factory) -> tuple[Path, str]:
    """The folder of runs of one training, and what the training said."""
    runs = tmp_path_factory.mktemp("trained") / "runs"
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as said:
        patch.setenv("SERLIB_CACHE", str(shared_cache))
        fine_tune(backbone("wav2vec2-large-mini"), split_of(half_dir), QUICK, Runs(runs / "mini", "mini"))
    return runs, said.getvalue()


@pytest.fixture
def run(trained, tmp_path):
    """The trained run, in a copy that a test may spoil."""
    runs = Path(shutil.copytree(trained[0], tmp_path / "runs"))
    return load_run(runs / "mini" / "stratified" / "wav2vec2-large-mini")


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

    from serlib.data import audio

    path = split.test["path"].iloc[0]
    plain = pipeline("audio-classification", model=str(run.folder / "checkpoint"), device="cpu")
    answer = plain({"raw": audio.trim(audio.read(path)).copy(), "sampling_rate": audio.RATE}, top_k=4)
    ours = classify(run, [path]).iloc[0]
    assert {row["label"]: row["score"] for row in answer} == pytest.approx(ours.to_dict(), abs=1e-4)


@pytest.mark.parametrize("key", ["wav2vec2-large-mini", "hubert-base-mini", "unispeech-large-mini"])
def test_the_recipe_called_best_leaves_a_checkpoint_for_a_plain_pipeline(key, split, tmp_path):
    """The learned sum of layers is stock, and its model reads a clip alone as it did in company."""
    from transformers import pipeline

    from serlib.lesson import PROFILES

    recipe = dataclasses.replace(PROFILES["best"].recipe, epochs=1, batch_size=8, eval_every=4, precision="fp32")
    run = fine_tune(backbone(key), split, recipe, tmp_path / "best")
    clip = split.test.index[0]
    plain = pipeline("audio-classification", model=str(run.folder / "checkpoint"), device="cpu")
    sound = audio.trim(audio.read(split.test.loc[clip, "path"])).copy()
    answer = {row["label"]: row["score"] for row in plain({"raw": sound, "sampling_rate": audio.RATE}, top_k=4)}
    written = run.predictions.set_index("clip").loc[clip]
    off = 0.02 if key == "hubert-base-mini" else 1e-3  # it alone hears the padding of its batch
    assert answer == pytest.approx({label: written[f"p_{label}"] for label in split.labels}, abs=off)
    assert plain.model.config.use_weighted_layer_sum


def test_finished_run_is_loaded_not_trained(run, split, tmp_path, capsys):
    stamp = (run.folder / "run.json").stat().st_mtime_ns
    again = fine_tune(backbone("wav2vec2-large-mini"), split, QUICK, run.folder.parents[1])
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
    again = fine_tune(backbone("wav2vec2-large-mini"), split, QUICK, tmp_path / "elsewhere")  # of no profile
    pd.testing.assert_frame_equal(again.predictions.assign(profile="mini"), run.predictions)
    pd.testing.assert_frame_equal(again.history, run.history)


def interrupted(monkeypatch, at: int):
    """Make training stop dead after this many steps, as a lost session does."""
    from transformers import TrainerCallback

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            if state.global_step == at:
                raise KeyboardInterrupt

    monkeypatch.setattr(callbacks, "Progress", lambda title: Stop())


def test_a_lost_session_goes_on_and_nothing_half_written_is_taken_for_whole(split, tmp_path, monkeypatch, capsys):
    """What a kill -9 leaves, at whatever moment, is for test_finetuning."""
    folder = tmp_path / "runs" / "mini"
    target = folder / "stratified" / "hubert-base-mini"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupted(patch, at=6)
        fine_tune(backbone("hubert-base-mini"), split, QUICK, folder)
    with pytest.raises(SerlibError, match="no finished run"):
        load_run(target)
    # the newest checkpoint is cut as a kill in mid-save leaves it: it must not be resumed from
    newest = max(target.glob("trainer/checkpoint-*"), key=lambda folder: int(folder.name.split("-")[1]))
    broken = newest.with_name("checkpoint-100000")
    shutil.copytree(newest, broken)
    (broken / "trainer_state.json").unlink()
    run = fine_tune(backbone("hubert-base-mini"), split, QUICK, folder)
    assert "goes on from its last checkpoint" in capsys.readouterr().out
    undisturbed = fine_tune(backbone("hubert-base-mini"), split, QUICK, tmp_path / "undisturbed")
    pd.testing.assert_frame_equal(run.predictions, undisturbed.predictions)
    pd.testing.assert_frame_equal(run.history, undisturbed.history)
    assert run.info["steps"] == 2 * -(-len(split.train) // 8)
    assert not (target / "trainer").exists()


def test_probe_is_scikit_learns_logistic_regression(split, tmp_path):
    kept = set(cache_dir().glob("features/*.npz"))
    run = probe(backbone("hubert-base-mini"), split, PROBE, tmp_path)
    assert len({*cache_dir().glob("features/*.npz")} - kept) == 1
    features = probing.layer_averages(backbone("hubert-base-mini"), split, PROBE)
    features.columns = range(features.shape[1])  # scikit-learn wants plain names

    def fitted(c, *parts):
        rows = pd.concat(parts)
        pipe = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=2000))
        return pipe.fit(features.loc[rows.index], rows["emotion"])

    losses = {
        c: log_loss(
            split.validation["emotion"], fitted(c, split.train).predict_proba(features.loc[split.validation.index])
        )
        for c in heads.REGULARIZATION
    }
    best = min(losses, key=losses.get)
    assert run.info["regularization"] == best
    expected = fitted(best, split.train, split.validation).predict_proba(features.loc[split.test.index])
    test = run.predictions[run.predictions["part"] == "test"].set_index("clip").loc[split.test.index]
    assert np.abs(test[[f"p_{label}" for label in split.labels]].to_numpy() - expected).max() < 2e-3
    again = classify(run, list(split.test["path"]))
    assert np.abs(again.to_numpy() - expected).max() < 5e-3


def test_an_enrolled_voice_is_measured_from_its_own_average(split, tmp_path):
    """By scikit-learn: its scaler's mean moves to the mean of the voice's clips and three of the average voice."""
    run = probe(backbone("hubert-base-mini"), split, PROBE, tmp_path)
    features = probing.layer_averages(backbone("hubert-base-mini"), split, PROBE)
    features.columns = range(features.shape[1])
    seen = pd.concat([split.train, split.validation])
    pipe = make_pipeline(StandardScaler(), LogisticRegression(C=run.info["regularization"], max_iter=2000))
    pipe.fit(features.loc[seen.index], seen["emotion"])
    voice, judged = split.test.iloc[:2], split.test.iloc[2:]
    pipe[0].mean_ = (features.loc[voice.index].to_numpy().sum(0) + 3 * pipe[0].mean_) / 5
    expected = pipe.predict_proba(features.loc[judged.index])
    said = classify(run, list(judged["path"]), enrolled=list(voice["path"]))
    assert np.abs(said.to_numpy() - expected).max() < 5e-3
    plain = classify(run, list(judged["path"]))
    assert np.abs(said - plain).to_numpy().max() > 0.01
    pd.testing.assert_frame_equal(classify(run, list(judged["path"]), enrolled=[]), plain)


@pytest.mark.parametrize(
    "enrolled, says",
    [
        ("voice.wav", r"as a list, like \['voice.wav'\]"),
        (7, "list of files"),
        (["nowhere.wav"], "nowhere.wav"),
        (["./{judged}"], "is to be judged and enrolled; enroll other clips"),
    ],
)
def test_what_cannot_be_enrolled_is_said(split, tmp_path, monkeypatch, enrolled, says):
    run = probe(backbone("hubert-base-mini"), split, PROBE, tmp_path)
    judged = Path(split.test["path"].iloc[0])
    monkeypatch.chdir(judged.parent)
    if isinstance(enrolled, list):
        enrolled = [one.format(judged=judged.name) for one in enrolled]
    with pytest.raises(SerlibError, match=says):
        classify(run, [judged], enrolled=enrolled)


def test_a_fine_tuned_model_enrolls_no_voice(run, split):
    with pytest.raises(SerlibError, match="is fine-tuned and cannot enroll a voice"):
        classify(run, list(split.test["path"][:1]), enrolled=list(split.test["path"][1:3]))


def test_layer_averages_are_the_layers_of_a_plain_encoder(split):
    import torch
    from transformers import AutoModel

    twin = backbone("wav2vec2-large-mini")
    averages = probing.layer_averages(twin, split, PROBE)
    assert list(averages.columns.unique("layer")) == list(range(twin.layers + 1))
    clip = split.test.index[0]
    samples = audio.read(split.test.loc[clip, "path"])
    values = torch.tensor((samples - samples.mean()) / np.sqrt(samples.var() + 1e-7))[None]
    with torch.inference_mode():
        encoder = AutoModel.from_pretrained(weights_of(twin.checkpoint), dtype=torch.float32).eval()
        states = encoder(values, output_hidden_states=True).hidden_states
    for layer, state in enumerate(states):
        np.testing.assert_allclose(averages[layer].loc[clip], state[0].mean(0), atol=1e-3)
    both = probing.layer_averages(twin, split, dataclasses.replace(PROBE, pooling="mean+std"))
    np.testing.assert_allclose(both[2].loc[clip, "std"], states[2][0].std(0, correction=0), atol=1e-3)


def test_pretraining_can_be_switched_off(small, tmp_path):
    run = probe(backbone("hubert-base-mini"), small, dataclasses.replace(PROBE, pretrained=False), tmp_path)
    assert run.folder.name == "hubert-base-mini-probe-random"
    assert run.name.endswith("not pre-trained") and run.info["weights"].startswith("random")


def test_whisper_probe_reads_a_clip_alike_alone_and_in_company(whisper_dir, small, tmp_path, monkeypatch):
    monkeypatch.setenv("SERLIB_MODELS", str(whisper_dir.parent))
    run = probe(backbone("whisper-tiny.en"), small, PROBE, tmp_path)
    written = run.predictions.set_index("clip").loc[small.test.index, [f"p_{label}" for label in small.labels]]
    again = classify(run, list(small.test["path"][:3]))
    assert np.abs(written.to_numpy()[:3] - again.to_numpy()).max() < 5e-3


def test_whisper_fine_tuned_is_a_stock_checkpoint_of_6_seconds(whisper_dir, small, tmp_path, monkeypatch):
    from transformers import pipeline

    monkeypatch.setenv("SERLIB_MODELS", str(whisper_dir.parent))
    recipe = dataclasses.replace(QUICK, epochs=1, learning_rate=1e-4, layers="weighted")
    run = fine_tune(backbone("whisper-tiny.en"), small, recipe, tmp_path)
    assert run.info["parameters"] - run.info["trainable_parameters"] >= 80 * 3 * 384 + 384 * 3 * 384, "convolutions"
    path = small.test["path"].iloc[0]
    plain = pipeline("audio-classification", model=str(run.folder / "checkpoint"), device="cpu")
    answer = plain({"raw": audio.trim(audio.read(path)).copy(), "sampling_rate": audio.RATE}, top_k=4)
    written = run.predictions.set_index("clip").loc[small.test.index[0], [f"p_{label}" for label in small.labels]]
    stock = {row["label"]: row["score"] for row in answer}
    assert [stock[label] for label in small.labels] == pytest.approx(list(written), abs=1e-4)
    assert classify(run, [path]).iloc[0].to_dict() == pytest.approx(stock, abs=1e-4)
    assert plain.feature_extractor.chunk_length == 6


def test_frozen_layers_of_whisper_stay_and_the_upper_ones_learn(whisper_dir, small, tmp_path, monkeypatch):
    """What is saved is a stock checkpoint of all layers, which says what the trained half had said."""
    from safetensors.torch import load_file

    monkeypatch.setenv("SERLIB_MODELS", str(whisper_dir.parent))
    recipe = dataclasses.replace(QUICK, epochs=1, learning_rate=1e-4, frozen=3)
    run = fine_tune(backbone("whisper-tiny.en"), small, recipe, tmp_path)
    after = load_file(run.folder / "checkpoint" / "model.safetensors")
    before = {
        name.removeprefix("model."): value for name, value in load_file(whisper_dir / "model.safetensors").items()
    }
    same = {name for name, value in after.items() if name in before and value.equal(before[name])}
    layers = {name for name in after if name.startswith("encoder.layers.")}
    upper = {name for name in layers if name.startswith("encoder.layers.3.")}
    assert len(layers) == 4 * len(upper) and same >= layers - upper and not same & upper
    written = run.predictions.set_index("clip").loc[small.test.index, [f"p_{label}" for label in small.labels]]
    again = classify(run, list(small.test["path"][:3]))
    assert written.to_numpy()[:3] == pytest.approx(again.to_numpy(), abs=1e-4)
    assert run.info["trainable_parameters"] < 2.5e6 < run.info["parameters"]


@pytest.mark.parametrize(("name", "layers"), [("hubert-base-mini", 3), ("whisper-tiny.en", 4)])
def test_a_recipe_that_freezes_every_layer_is_refused(name, layers, whisper_dir, small, tmp_path, monkeypatch):
    monkeypatch.setenv("SERLIB_MODELS", str(whisper_dir.parent))
    with pytest.raises(SerlibError, match=rf"freezes {layers} layers of {layers}, .* ser.Probe"):
        fine_tune(backbone(name), small, dataclasses.replace(QUICK, frozen=layers), tmp_path)


def test_whisper_has_no_spec_augment(whisper_dir, split, tmp_path, monkeypatch):
    monkeypatch.setenv("SERLIB_MODELS", str(whisper_dir.parent))
    with pytest.raises(SerlibError, match="no SpecAugment"):
        fine_tune(backbone("whisper-tiny.en"), split, dataclasses.replace(QUICK, masking=0.1), tmp_path)


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


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"learning_rate": -1.0},
        {"precision": "fp8"},
        {"label_smoothing": 1.0},
        {"masking": -0.1},
        {"lora": -1},
        {"layers": "weighted", "lora": 8},
        {"layers": "weighted", "layerdrop": 0.1},
    ],
)
def test_recipe_refuses_nonsense(change):
    with pytest.raises(SerlibError, match=next(iter(change))):
        Recipe(**change)


def test_lora_trains_little_resumes_exactly_and_leaves_a_stock_checkpoint(small, tmp_path, monkeypatch):
    from transformers import pipeline

    recipe = dataclasses.replace(QUICK, lora=4, bucketing=False, gradient_checkpointing=True, eval_every=1)
    twin = backbone("wav2vec2-large-mini")
    run = fine_tune(twin, small, recipe, tmp_path / "whole")
    layers, hidden = twin.layers, twin.hidden
    matrices = layers * 4 * (4 * (hidden + hidden) + 2 * (hidden + 4 * hidden))
    head = hidden * 256 + 256 + 256 * len(small.labels) + len(small.labels)
    assert run.info["trainable_parameters"] == matrices + head
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupted(patch, at=3)
        fine_tune(twin, small, recipe, tmp_path / "cut")
    again = fine_tune(twin, small, recipe, tmp_path / "cut")
    pd.testing.assert_frame_equal(again.predictions, run.predictions)
    path = small.test["path"].iloc[0]
    plain = pipeline("audio-classification", model=str(run.folder / "checkpoint"), device="cpu")
    answer = plain({"raw": audio.trim(audio.read(path)).copy(), "sampling_rate": audio.RATE}, top_k=4)
    written = run.predictions.set_index("clip").loc[small.test.index[0], [f"p_{label}" for label in small.labels]]
    assert [row["score"] for row in sorted(answer, key=lambda row: row["label"])] == pytest.approx(
        list(written), abs=0.02
    )


def test_gradient_checkpointing_changes_no_number(run, split, tmp_path):
    recipe = dataclasses.replace(QUICK, gradient_checkpointing=True)
    again = fine_tune(backbone("wav2vec2-large-mini"), split, recipe, tmp_path / "forgetful")
    pd.testing.assert_frame_equal(again.predictions.assign(profile="mini"), run.predictions)


def test_collapse_is_said_once_and_recorded(trained, run, split, tmp_path, capsys):
    assert run.info["at_chance"] is False and "still at chance" not in trained[1]
    recipe = dataclasses.replace(QUICK, learning_rate=0.3)
    flat = fine_tune(backbone("wav2vec2-large-mini"), split, recipe, tmp_path / "flat")
    assert flat.info["at_chance"] is True
    assert capsys.readouterr().out.count("validation accuracy is still at chance") == 1


def test_divergence_stops_with_a_sentence(split, tmp_path):
    recipe = dataclasses.replace(QUICK, learning_rate=30.0)
    with pytest.raises(SerlibError, match="no longer a number"):
        fine_tune(backbone("wav2vec2-large-mini"), split, recipe, tmp_path)


def test_chance_is_what_guessing_seldom_exceeds(split):
    counts = split.validation["emotion"].value_counts()
    draws = np.random.default_rng(0).binomial(counts.sum(), counts.max() / counts.sum(), 100_000) / counts.sum()
    assert (draws > callbacks.chance(split)).mean() < 0.05 < (draws >= callbacks.chance(split)).mean()


def test_smoothed_weighted_loss_is_the_written_out_one_however_the_step_is_cut(split):
    import torch

    few = dataclasses.replace(split, train=split.train.drop(split.train.query("emotion == 'sad'").index[3:]))
    loss = finetuning._loss_of(Recipe(label_smoothing=0.2, class_weights=True), few)
    logits = torch.randn(8, 4, generator=torch.manual_seed(0), requires_grad=True)
    labels = torch.tensor([0, 1, 2, 3, 0, 1, 2, 2])
    weights = len(few.train) / (4 * few.train["emotion"].value_counts()[list(few.labels)].to_numpy())
    targets = 0.8 * np.eye(4)[labels] + 0.2 / 4
    logs = torch.log_softmax(logits.detach(), -1).numpy()
    expected = -(targets * weights * logs).sum() / 8

    class Output:
        def __init__(self, part):
            self.logits = part

    whole = loss(Output(logits), labels, num_items_in_batch=8)
    assert whole.item() == pytest.approx(expected, rel=1e-5)
    gradient = torch.autograd.grad(whole, logits)[0]
    parts = [loss(Output(logits[i : i + 2]), labels[i : i + 2], num_items_in_batch=8) for i in (0, 2, 4, 6)]
    torch.testing.assert_close(torch.autograd.grad(sum(parts), logits)[0], gradient)
    plain = loss(Output(logits.detach()), labels)
    assert plain.item() == pytest.approx(-logs[np.arange(8), labels].mean(), rel=1e-5), "an evaluation is unweighted"
    assert finetuning._loss_of(Recipe(), split) is None, "the paper's recipe keeps the stock loss"


@pytest.mark.slow
@pytest.mark.parametrize("key", ["hubert-base-mini", "unispeech-large-mini"])
def test_clips_of_120_ms_survive_training(key, tmp_path):
    from serlib.data.corpus import from_csv

    rows = []
    for i in range(32):
        path = tmp_path / f"blip{i}.wav"
        soundfile.write(path, np.random.default_rng(i).normal(0, 0.1, 1_920), 16_000)
        rows.append({"path": path.name, "emotion": "happy" if i % 2 else "sad"})
    pd.DataFrame(rows).to_csv(tmp_path / "blips.csv", index=False)
    split = stratified_split(from_csv(tmp_path / "blips.csv"), test_size=0.25, validation_size=0.25)
    recipe = dataclasses.replace(QUICK, epochs=1, trim=False, masking=0.5, eval_every=2)
    assert fine_tune(backbone(key), split, recipe, tmp_path / "runs").info["steps"] == 3
