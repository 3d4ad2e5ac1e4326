"""What is heard of sounds in memory: undistorted, the very answers that a run has; distorted, others; kept once."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from serlib.data import audio
from serlib.data.acoustics import describe
from serlib.data.distortions import add_noise, distort, with_copies
from serlib.data.ravdess import ravdess
from serlib.data.splits import Split, stratified_split
from serlib.errors import SerlibError
from serlib.files import cache_dir
from serlib.judge import predictions, voting
from serlib.train import probing, rescue
from serlib.train.backbones import backbone
from serlib.train.classify import classify
from serlib.train.finetuning import fine_tune
from serlib.train.hearing import hear, listen_through
from serlib.train.probing import probe
from serlib.train.recipes import Probe, Recipe

QUICK = Recipe(epochs=1, batch_size=8, accumulation=1, learning_rate=1e-3, eval_every=9, trim=True, precision="fp32")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("heard")


@pytest.fixture(autouse=True)
def own_cache(home, monkeypatch) -> Path:
    monkeypatch.setenv("SERLIB_CACHE", str(home / "cache"))
    monkeypatch.delenv("RAVDESS_DIR", raising=False)
    return home / "cache"


@pytest.fixture
def split(spoken_dir) -> Split:
    corpus = ravdess(spoken_dir).query("statement == 1")  # half of the clips teach the same here, in half of the time
    corpus.attrs |= {"name": "mini", "synthetic": True}
    return stratified_split(corpus, test_size=0.25, validation_size=0.2)


@pytest.fixture
def runs(split, home) -> dict:
    """One twin with a mask, the one without, and a probe; trained once, then loaded."""
    tuned = {key: fine_tune(backbone(f"{key}-mini"), split, QUICK, home) for key in ("wav2vec2-large", "hubert-base")}
    return tuned | {"probe": probe(backbone("hubert-base-mini"), split, Probe(pooling="mean"), home)}


def same(samples: np.ndarray) -> np.ndarray:
    return samples


@pytest.mark.slow
@pytest.mark.parametrize("key", ["wav2vec2-large", "hubert-base", "probe"])
def test_undistorted_clips_get_the_answers_that_the_run_has(runs, split, key):
    """To the sixth decimal, with which they are kept: HuBERT's twin too, which hears the padding of its batch."""
    heard = hear(runs[key], split.test, distort(split.test, same))
    [recorded] = predictions.align([runs[key]], "test")
    recorded = recorded.set_index("clip").loc[heard["clip"]].reset_index()
    assert heard["predicted"].tolist() == recorded["predicted"].tolist()
    assert heard["emotion"].tolist() == recorded["emotion"].tolist()
    assert np.abs(predictions.probabilities(heard) - predictions.probabilities(recorded)).max() < 3e-6
    assert heard.attrs["name"] == runs[key].name


@pytest.mark.slow
def test_what_is_heard_of_several_can_vote_and_noise_changes_it(runs, split):
    clean, noisy = (distort(split.test, f) for f in (same, lambda samples: add_noise(samples, -10)))
    jury = [hear(run, split.test, clean) for run in runs.values()]
    vote = voting.majority_vote(jury)
    assert len(vote.predictions) == len(split.test)
    for run, before in zip(runs.values(), jury, strict=True):
        after = hear(run, split.test, noisy)
        assert np.abs(predictions.probabilities(after) - predictions.probabilities(before)).max() > 0.05


@pytest.mark.slow
def test_a_classifier_hears_what_it_would_be_told_by_its_table(split):
    taught, few = split.train.groupby("emotion").head(3), split.test.iloc[:5]
    sounds = distort(pd.concat([taught, few]), same)
    table = pd.DataFrame({clip: describe(samples) for clip, samples in sounds.items()}).T
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    model.fit(table.loc[taught.index], taught["emotion"])
    heard = hear(model, few, sounds, "features")
    assert predictions.probabilities(heard) == pytest.approx(model.predict_proba(table.loc[few.index]), abs=2e-6)
    assert heard.attrs["name"] == "features"


@pytest.mark.slow
def test_answers_are_kept_and_a_cut_file_is_made_again(runs, split, monkeypatch):
    few = split.test.iloc[:3]
    sounds = distort(few, same)
    asked = []
    real = probing.averages_of
    monkeypatch.setattr(probing, "averages_of", lambda *given: asked.append(1) or real(*given))
    first = hear(runs["probe"], few, sounds)
    assert hear(runs["probe"], few, sounds).equals(first) and len(asked) == 1
    newest = max((cache_dir() / "heard").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    newest.write_bytes(newest.read_bytes()[:200])
    assert hear(runs["probe"], few, sounds).equals(first) and len(asked) == 2
    sounds[few.index[0]] = sounds[few.index[0]] * np.float32(0.5)
    hear(runs["probe"], few, sounds)
    assert len(asked) == 3


@pytest.mark.slow
def test_copies_teach_beside_the_clips_and_are_in_no_other_part(split, home, tmp_path):
    """Their sound is what was written, beyond full scale too."""
    few = Split("few", split.train.groupby("emotion").head(4), split.validation, split.test)
    both = with_copies(few, {"loud": lambda samples: 4 * samples, "soft": lambda samples: samples / 4}, tmp_path)
    assert both.name == "few-loud-soft" and len(both.train) == 3 * len(few.train)
    assert both.validation.equals(split.validation) and both.test.equals(split.test)
    assert both.train["emotion"].tolist() == 3 * few.train["emotion"].tolist()
    own, copies = distort(few.train, same), distort(both.train, same)
    for clip, samples in own.items():
        assert np.array_equal(copies[f"loud-{clip}"], 4 * samples)
        assert np.array_equal(copies[f"soft-{clip}"], samples / 4)
    run = probe(backbone("hubert-base-mini"), both, Probe(pooling="mean"), home)
    assert len(run.predictions) == len(split.validation) + len(split.test)


@pytest.mark.slow
def test_what_cannot_be_heard_is_said_in_a_sentence(runs, split, tmp_path):
    few = split.test.iloc[:2]
    sounds = distort(few, same)
    with pytest.raises(SerlibError, match="no sound for clip"):
        hear(runs["probe"], split.test, sounds)
    with pytest.raises(SerlibError, match="less than 0.1 s"):
        hear(runs["probe"], few, {clip: np.zeros(100, np.float32) for clip in sounds})
    with pytest.raises(SerlibError, match="run or a fitted classifier"):
        hear("hubert", few, sounds)
    with pytest.raises(SerlibError, match="not fitted to a table of acoustic features"):
        hear(LogisticRegression().fit([[0.0], [1.0]], ["a", "b"]), few, sounds)
    with pytest.raises(SerlibError, match=r"^Clip \S+: This clip is silent"):
        distort(few, lambda samples: add_noise(0 * samples, 10))
    with pytest.raises(SerlibError, match="function of one clip"):
        distort(few, "noise")
    gone = runs["probe"]
    shutil.copytree(gone.folder, tmp_path / "gone")
    shutil.rmtree(tmp_path / "gone" / "checkpoint")
    with pytest.raises(SerlibError, match="no checkpoint"):
        hear(dataclasses.replace(gone, folder=tmp_path / "gone"), few, sounds)


# Through a long recording


@pytest.fixture
def talk(split, tmp_path) -> Path:
    """Three clips, one after the other, with two seconds of silence before the last, at 48 kHz in stereo."""
    sounds = [audio.read(path) for path in split.test["path"].iloc[:3]]
    samples = np.concatenate([*sounds[:2], np.zeros(32_000, np.float32), sounds[2]])
    samples = np.repeat(samples, 3)  # a crude way to 48 kHz, which resampling takes back
    soundfile.write(tmp_path / "talk.wav", np.stack([samples, samples], 1), 48_000)
    return tmp_path / "talk.wav"


@pytest.mark.slow
@pytest.mark.parametrize("key", ["hubert-base", "probe"])
def test_each_piece_is_what_the_model_says_of_it_alone(runs, talk, tmp_path, key):
    table = listen_through(runs[key], talk, window=1.0, hop=0.5, sure=0.0)
    samples = audio.read(talk)
    length = len(samples) / audio.RATE
    assert table["start"].iloc[0] == 0 and table["end"].iloc[-1] == pytest.approx(length)
    assert np.diff(table["start"])[:-1] == pytest.approx(0.5) and (table["end"] - table["start"]).round(3).eq(1).all()
    row = table[table["heard"] != "silence"].iloc[2]
    piece = samples[round(row["start"] * audio.RATE) :][: audio.RATE]
    soundfile.write(tmp_path / "piece.wav", piece, audio.RATE, subtype="FLOAT")
    alone = classify(runs[key], [tmp_path / "piece.wav"]).iloc[0]
    assert row["heard"] == alone.idxmax()
    assert row[[f"p_{label}" for label in alone.index]].to_numpy(float) == pytest.approx(alone.to_numpy(), abs=2e-3)


@pytest.mark.slow
def test_silence_and_doubt_are_answers_too(runs, talk):
    table = listen_through(runs["probe"], talk, window=np.float32(0.5), hop=np.float64(0.5), sure=1.0)
    shares = table.filter(regex="^p_")
    assert set(table["heard"]) <= {"not sure", "silence", *(name[2:] for name in shares)}
    silent = table["heard"] == "silence"
    assert silent.sum() >= 3 and shares[silent].isna().all(axis=None) and shares[~silent].notna().all(axis=None)
    assert (table["heard"] == "not sure").any()
    assert shares[~silent].sum(axis=1).to_numpy() == pytest.approx(1)


@pytest.mark.slow
def test_a_recording_shorter_than_a_window_is_one_piece(runs, split):
    table = listen_through(runs["probe"], split.test["path"].iloc[0], window=60)
    assert len(table) == 1 and table.loc[0, "end"] == pytest.approx(split.test["seconds"].iloc[0], abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (dict(window=0.05, hop=0.05), "window is 0.05; it is a number of seconds, 0.1 or more"),
        (dict(window=float("inf")), "window is inf; it is a number of seconds"),
        (dict(hop="1"), "hop is '1'"),
        (dict(window=1.0, hop=2.0), "leaves gaps between windows of 1.0 s"),
        (dict(sure=50), "sure is 50; it is a probability"),
    ],
)
def test_pieces_that_cannot_be(runs, talk, settings, sentence):
    with pytest.raises(SerlibError, match=sentence):
        listen_through(runs["probe"], talk, **settings)


@pytest.mark.slow
def test_a_recording_that_memory_cannot_hold_is_refused_before_it_is_decoded(runs, talk, monkeypatch):
    monkeypatch.setattr(rescue, "machine_memory", lambda: 1e6)
    monkeypatch.setattr(audio, "heard", lambda path: pytest.fail("decoded"))
    with pytest.raises(
        SerlibError, match=r"talk.wav is 0.0 hours long and takes 0\.\d GB of memory, of which .* parts"
    ):
        listen_through(runs["probe"], talk)


def test_only_a_run_listens_through(tmp_path):
    with pytest.raises(SerlibError, match="The model is a str"):
        listen_through("hubert", tmp_path / "talk.wav")
