"""A run is what it says it is: found by what it depends on, kept when that changes, refused when it is damaged."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from serlib.data import audio
from serlib.data.corpus import from_csv
from serlib.data.ravdess import ravdess
from serlib.data.splits import stratified_split
from serlib.errors import SerlibError
from serlib.lesson import start
from serlib.train import probing
from serlib.train.backbones import TWINS, backbone
from serlib.train.classify import classify
from serlib.train.finetuning import fine_tune
from serlib.train.probing import layer_averages, probe
from serlib.train.recipes import Probe, Recipe
from serlib.train.run import NoRun, Runs, load_run, work_on

SHARES = {"test_size": 0.25, "validation_size": 0.2}
PROBE = Probe(pooling="mean")
QUICK = Recipe(epochs=1, batch_size=8, accumulation=1, learning_rate=1e-3, eval_every=4, trim=True, precision="fp32")


@pytest.fixture
def few(tiny_corpus) -> pd.DataFrame:
    """Sixteen short clips under the name of a corpus of the book's."""
    tiny_corpus.attrs |= {"name": "mini"}
    return tiny_corpus


@pytest.fixture
def own_clips(tiny_dir, tmp_path) -> Path:
    """A copy of the same clips that a test may change."""
    return Path(shutil.copytree(tiny_dir, tmp_path / "clips"))


def split_of(folder: Path):
    corpus = ravdess(folder)
    corpus.attrs |= {"name": "mini", "synthetic": True}
    return stratified_split(corpus, **SHARES)


def other_sound(path: Path, seed: int = 0) -> None:
    """Put noise of the same length and format in the place of a recording, and give the file its old times."""
    stat, (samples, rate) = path.stat(), soundfile.read(path)
    noise = np.random.default_rng(seed).normal(0, 0.1, len(samples)).clip(-1, 1)
    soundfile.write(path, noise, rate, subtype="PCM_16")
    assert path.stat().st_size == stat.st_size


# --- found by what it depends on


@pytest.mark.slow
def test_another_folder_of_the_same_names_and_lengths_is_another_run(tiny_dir, own_clips, tmp_path, capsys):
    first = probe(backbone("hubert-base-mini"), split_of(tiny_dir), PROBE, tmp_path / "runs")
    for seed, path in enumerate(sorted(own_clips.glob("*/*.wav"))):
        other_sound(path, seed)
    second = probe(backbone("hubert-base-mini"), split_of(own_clips), PROBE, tmp_path / "runs")
    said = capsys.readouterr().out
    assert "The recordings changed since the last run" in said and "kept as hubert-base-mini-probe.before" in said
    assert not first.predictions.equals(second.predictions)
    assert first.info["sounds"] != second.info["sounds"] and first.info["key"] != second.info["key"]


@pytest.mark.slow
def test_one_changed_recording_is_enough_and_a_copy_of_the_folder_changes_nothing(own_clips, tmp_path, capsys):
    split = split_of(own_clips)
    twin, runs = backbone("hubert-base-mini"), tmp_path / "runs"
    first = fine_tune(twin, split, QUICK, runs)
    moved = split_of(Path(shutil.copytree(own_clips, tmp_path / "elsewhere")))
    assert fine_tune(twin, moved, QUICK, runs).info == first.info
    assert "finished before" in capsys.readouterr().out
    other_sound(Path(split.train["path"].iloc[0]))
    again = fine_tune(twin, split_of(own_clips), QUICK, runs)
    assert "The recordings changed" in capsys.readouterr().out
    differ = {what for what, value in again.info["depends"].items() if value != first.info["depends"][what]}
    assert differ == {"sound"}


def test_features_follow_the_sound_and_the_weights(own_clips, tmp_path):
    """What a frozen encoder says of a clip is measured anew when the clip or the encoder is another one."""
    folder = Path(shutil.copytree(TWINS / "hubert-base", tmp_path / "mine"))
    split = split_of(own_clips)
    before = layer_averages(backbone(str(folder)), split, PROBE)
    clip = split.train.index[0]
    other_sound(Path(split.train.loc[clip, "path"]))
    after = layer_averages(backbone(str(folder)), split, PROBE)
    changed = (before != after).any(axis=1)
    assert list(changed.index[changed]) == [clip]


@pytest.mark.slow
def test_weights_overwritten_in_place_are_other_weights(few, tmp_path, capsys):
    folder = Path(shutil.copytree(TWINS / "hubert-base", tmp_path / "mine"))
    split = stratified_split(few, **SHARES)
    first = fine_tune(backbone(str(folder)), split, QUICK, tmp_path / "runs")
    import safetensors.torch as st

    weights = st.load_file(folder / "model.safetensors")
    st.save_file(
        {k: v + 0.05 * v.abs().mean() for k, v in weights.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    again = fine_tune(backbone(str(folder)), split, QUICK, tmp_path / "runs")
    assert "The weights changed since the last run" in capsys.readouterr().out
    assert first.info["weights"] != again.info["weights"] and not first.predictions.equals(again.predictions)


@pytest.mark.slow
def test_what_changed_is_named(few, tmp_path, capsys):
    twin, split = backbone("hubert-base-mini"), stratified_split(few, **SHARES)
    probe(twin, split, PROBE, tmp_path)
    probe(twin, split, dataclasses.replace(PROBE, layers="last"), tmp_path)
    assert "The recipe changed since the last run" in capsys.readouterr().out
    swapped = split.train["emotion"].replace({"happy": "sad", "sad": "happy"})
    probe(twin, dataclasses.replace(split, train=split.train.assign(emotion=swapped)), PROBE, tmp_path)
    assert "The clips of the split or their labels and the recipe changed" in capsys.readouterr().out


@pytest.mark.parametrize("other", [{"lora": 4}, {"layers": "weighted"}])
def test_frozen_layers_are_refused_where_all_are_needed(other):
    with pytest.raises(SerlibError, match="freezes 2 layers, which .* needs; set frozen=0"):
        Recipe(frozen=2, **other)


def test_a_setting_that_recipes_got_later_makes_no_run_anew(few, tmp_path):
    """The key is that of a recipe without it, as it was before; set, it is another recipe's."""
    split = stratified_split(few, **SHARES)

    def settings(recipe):
        return work_on(backbone("hubert-base-mini"), split, recipe, tmp_path, None).depends(1)["settings"]

    before = {name: value for name, value in dataclasses.asdict(Recipe()).items() if name != "frozen"}
    assert settings(Recipe()) == {"recipe": "Recipe", **before}
    assert settings(Recipe(frozen=2)) == {"recipe": "Recipe", **before, "frozen": 2}


# --- kept, named, alone


@pytest.mark.slow
def test_nothing_trained_is_deleted_unasked(few, tmp_path):
    twin, split = backbone("hubert-base-mini"), stratified_split(few, **SHARES)
    seeds = (1, 2, 3, 4)
    runs = [probe(twin, split, Probe(pretrained=False, seed=seed), tmp_path) for seed in seeds]
    target = runs[-1].folder
    kept = [target.with_name(f"{target.name}.before{n}") for n in ("", "-2", "-3")]
    assert [load_run(folder).info["seed"] for folder in [*kept, target]] == list(seeds)


@pytest.mark.slow
def test_a_run_has_a_name_and_its_facts_stand_in_fields(few, tmp_path):
    twin, split = backbone("hubert-base-mini"), stratified_split(few, **SHARES)
    run = probe(twin, split, dataclasses.replace(PROBE, pretrained=False), Runs(tmp_path, "mini"), name="no teacher")
    assert run.name == "no teacher" and run.folder.parent == tmp_path / "stratified"
    facts = {key: run.info[key] for key in ("own_name", "backbone", "kind", "pretrained", "profile", "known_voices")}
    assert facts == {
        "own_name": "no teacher",
        "backbone": "hubert-base-mini",
        "kind": "probe",
        "pretrained": False,
        "profile": "mini",
        "known_voices": True,
    }
    unnamed = probe(twin, split, PROBE, Runs(tmp_path, "mini"))
    assert unnamed.folder != run.folder and unnamed.name == "HuBERT base (mini twin), frozen"


@pytest.mark.parametrize("name", ["../../outside", "a/b", "..", "seed 102", "  "])
def test_a_name_cannot_leave_the_folder(few, tmp_path, name):
    twin, split = backbone("hubert-base-mini"), stratified_split(few, **SHARES)
    if not name.strip():
        with pytest.raises(SerlibError, match="give some text"):
            probe(twin, split, PROBE, tmp_path / "runs", name=name)
        return
    run = probe(twin, split, PROBE, tmp_path / "runs", name=name)
    assert run.folder.resolve().parent == (tmp_path / "runs" / "stratified").resolve() and run.name == name


@pytest.mark.slow
def test_a_corpus_of_ones_own_takes_no_run_of_the_books(few, tmp_path, monkeypatch):
    monkeypatch.setenv("SERLIB_HOME", str(tmp_path))
    monkeypatch.setattr("serlib.lesson.SHIPPED", tmp_path / "shipped")  # a clone has results of its own
    lesson = start("mini")
    twin, split = lesson.backbone("frozen"), stratified_split(few, **SHARES)
    book = probe(twin, split, lesson.probe_recipe, lesson.runs)
    named_like_it = few[["path", "actor", "emotion"]].rename(index="my {}".format)
    for name in ("mini", "ravdess"):  # neither of the book's corpora, whatever the file is called
        named_like_it.to_csv(tmp_path / f"{name}.csv")
        own = probe(twin, stratified_split(from_csv(tmp_path / f"{name}.csv"), **SHARES), PROBE, lesson.runs)
        assert own.folder == lesson.runs / f"{name}.csv" / "stratified" / "hubert-base-mini-probe"
        assert lesson.run("frozen").info == book.info and lesson.finished()[0].info == book.info
    few[["path", "actor", "emotion"]].to_csv(tmp_path / "mine.csv")
    mine = stratified_split(from_csv(tmp_path / "mine.csv"), **SHARES)
    own = probe(twin, mine, lesson.probe_recipe, lesson.runs)
    assert own.folder == lesson.runs / "mine" / "stratified" / "hubert-base-mini-probe"
    assert lesson.run("frozen").info == book.info and own.info["corpus"] == "mine"
    shutil.rmtree(book.folder)
    shutil.copytree(own.folder, book.folder)
    with pytest.raises(SerlibError, match="heard mine, and profile mini is about mini"):
        lesson.run("frozen")


# Forks two processes, each with an output of its own.
BOTH = """
import os, sys
import serlib.train.batches
from serlib.data.ravdess import ravdess
from serlib.data.splits import stratified_split
from serlib.train.backbones import backbone
from serlib.train.finetuning import fine_tune
from serlib.train.recipes import Recipe
corpus = ravdess(sys.argv[1])
corpus.attrs |= {"name": "mini", "synthetic": True}
recipe = Recipe(epochs=4, batch_size=8, accumulation=1, learning_rate=1e-3, eval_every=4, trim=True, precision="fp32")
split = stratified_split(corpus, test_size=0.25, validation_size=0.2)
children = []
for n in (1, 2):
    children.append(os.fork())
    if not children[-1]:
        sys.stdout = open(f"{sys.argv[2]}/said{n}", "w")
        fine_tune(backbone("hubert-base-mini"), split, recipe, sys.argv[2] + "/runs")
        sys.stdout.close()
        os._exit(0)
print([os.waitpid(child, 0)[1] for child in children])
"""


@pytest.mark.slow
def test_two_programs_that_want_the_same_run_train_it_once(program, tiny_dir, tmp_path):
    if not hasattr(os, "fork"):
        pytest.skip("needs a system that forks")
    done = program(BOTH, tiny_dir, tmp_path)
    assert done.stdout.splitlines()[-1] == "[0, 0]", done.stderr
    said = [(tmp_path / f"said{n}").read_text() for n in (1, 2)]
    assert sum("finished before" in text for text in said) == 1, said
    (record,) = (tmp_path / "runs").rglob("run.json")
    info = load_run(record.parent).info
    assert info["steps"] == 4 * -(-info["clips"]["train"] // 8)
    assert not list((tmp_path / "runs").rglob("*.before*"))


# --- refused when it is damaged


@pytest.fixture
def run(few, tmp_path):
    return probe(
        backbone("hubert-base-mini"),
        stratified_split(few, **SHARES),
        PROBE,
        Runs(tmp_path / "runs" / "mini", "mini"),
    )


def cut_at_a_line(text: str) -> str:
    return "".join(text.splitlines(keepends=True)[:-5])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("predictions.csv", cut_at_a_line),
        ("predictions.csv", lambda text: text.replace("happy", "sad", 1)),
        ("history.csv", cut_at_a_line),
        ("history.csv", lambda text: ""),
        ("run.json", lambda text: text[: len(text) // 2]),
        ("run.json", lambda text: ""),
        ("run.json", lambda text: "[]"),
        ("run.json", lambda text: text.replace('"files"', '"others"')),
        ("run.json", lambda text: json.dumps(json.loads(text) | {"labels": json.loads(text)["labels"][::-1]})),
    ],
)
def test_what_is_not_what_it_was_is_refused(run, name, harm, monkeypatch, tmp_path):
    (run.folder / name).write_text(harm((run.folder / name).read_text()))
    with pytest.raises(SerlibError, match="damaged") as caught:
        load_run(run.folder)
    assert not isinstance(caught.value, NoRun) and "\n" not in str(caught.value)
    monkeypatch.setenv("SERLIB_HOME", str(tmp_path))
    with pytest.raises(SerlibError, match="damaged"):
        start("mini").finished()


@pytest.mark.slow
def test_a_damaged_run_that_is_trained_anew_is_called_damaged(run, few, capsys):
    """And is kept: nothing of what it depends on changed."""
    (run.folder / "predictions.csv").write_text(cut_at_a_line((run.folder / "predictions.csv").read_text()))
    again = probe(
        backbone("hubert-base-mini"), stratified_split(few, **SHARES), PROBE, Runs(run.folder.parents[1], "mini")
    )
    said = capsys.readouterr().out
    assert "The run that is there is damaged" in said and "kept as hubert-base-mini-probe.before" in said
    assert again.predictions.equals(run.predictions)


def test_a_missing_table_is_damage_and_a_missing_run_is_not(run):
    (run.folder / "history.csv").unlink()
    with pytest.raises(SerlibError, match="damaged") as caught:
        load_run(run.folder)
    assert not isinstance(caught.value, NoRun)
    with pytest.raises(NoRun):
        load_run(run.folder.with_name("nobody"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_bytes(path.read_bytes()[:1000]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(bytes(path.stat().st_size)),
        lambda path: path.write_bytes(b"[1, 2]"),
        lambda path: np.savez(path, **{**dict(np.load(path)), "features": np.load(path)["features"] + 1}),
    ],
    ids=["cut", "empty", "zeroed", "odd", "replaced"],
)
def test_kept_averages_that_are_not_what_they_were_are_measured_again(few, harm, own_cache):
    split, twin = stratified_split(few, **SHARES), backbone("hubert-base-mini")
    before = layer_averages(twin, split, PROBE)
    (kept,) = (own_cache / "features").glob("*.npz")
    harm(kept)
    pd.testing.assert_frame_equal(layer_averages(twin, split, PROBE), before)


@pytest.mark.slow
def test_features_of_the_trainer_that_are_not_what_they_were_are_made_again(few, tmp_path, own_cache):
    split, twin = stratified_split(few, **SHARES), backbone("hubert-base-mini")
    first = fine_tune(twin, split, QUICK, tmp_path / "first")
    (kept,) = (own_cache / "features").glob("*/clips/*.arrow")
    content = bytearray(kept.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40_000] = bytes(40_000)
    kept.write_bytes(content)
    pd.testing.assert_frame_equal(fine_tune(twin, split, QUICK, tmp_path / "again").predictions, first.predictions)


# --- settings


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (Recipe, {"epochs": 0}),
        (Recipe, {"epochs": "3"}),
        (Recipe, {"epochs": 2.5}),
        (Recipe, {"epochs": True}),
        (Recipe, {"learning_rate": float("nan")}),
        (Recipe, {"learning_rate": None}),
        (Recipe, {"head_learning_rate": -1}),
        (Recipe, {"warmup": 500}),
        (Recipe, {"seed": -1}),
        (Recipe, {"seed": 2**32}),
        (Recipe, {"trim": "no"}),
        (Recipe, {"pooling": "median"}),
        (Recipe, {"layers": "all"}),
        (Recipe, {"masking": 1.0}),
        (Recipe, {"layerdrop": -0.1}),
        (Recipe, {"lora": 1.5}),
        (Recipe, {"frozen": -1}),
        (Probe, {"pooling": "max"}),
        (Probe, {"pooling": "sum"}),
        (Probe, {"layers": "weighted"}),
        (Probe, {"layers": "al"}),
        (Probe, {"seed": None}),
        (Probe, {"seed": 2**40}),
    ],
)
def test_a_setting_that_could_not_be_carried_out_is_refused_when_the_recipe_is_made(kind, change):
    with pytest.raises(SerlibError, match=f"{next(iter(change))} is .*; it must be"):
        kind(**change)


def test_each_verb_names_the_other(few, tmp_path):
    twin, split = backbone("hubert-base-mini"), stratified_split(few, **SHARES)
    with pytest.raises(SerlibError, match="a ser.Probe goes to ser.probe"):
        fine_tune(twin, split, PROBE, tmp_path)
    with pytest.raises(SerlibError, match="ser.Recipe goes to ser.fine_tune"):
        probe(twin, split, QUICK, tmp_path)


@pytest.mark.parametrize(
    ("place", "odd", "words"),
    [
        (0, "hubert-base", "ser.backbone"),
        (1, None, "ser.stratified_split"),
        (3, None, "lesson.runs"),
        (3, 7, "lesson.runs"),
    ],
)
@pytest.mark.parametrize("verb", [fine_tune, probe])
def test_what_is_no_backbone_split_or_folder_is_named(few, tmp_path, verb, place, odd, words):
    given = [
        backbone("hubert-base-mini"),
        stratified_split(few, **SHARES),
        QUICK if verb is fine_tune else PROBE,
        tmp_path,
    ]
    given[place] = odd
    with pytest.raises(SerlibError, match=words):
        verb(*given)


# --- sound that is longer than an encoder hears


def late(folder: Path, seconds: float, from_: float) -> pd.DataFrame:
    """16 clips of one quiet tone until ``from_`` seconds, and then of what tells happy from sad: a tone or noise."""
    rows, time = [], np.arange(int(seconds * audio.RATE)) / audio.RATE
    folder.mkdir()
    for n in range(16):
        random, emotion = np.random.default_rng(n), ("happy", "sad")[n % 2]
        sound = 0.05 * np.sin(2 * np.pi * 200 * time)
        tail = time >= from_
        sound[tail] += 0.3 * (np.sin(2 * np.pi * 700 * time[tail]) if n % 2 else random.normal(size=tail.sum()) / 3)
        soundfile.write(folder / f"clip{n:02d}.wav", sound, audio.RATE)
        rows.append({"path": f"clip{n:02d}.wav", "emotion": emotion, "actor": f"{n // 4}"})
    pd.DataFrame(rows).to_csv(folder / "late.csv", index=False)
    return from_csv(folder / "late.csv")


def test_whisper_hears_the_end_of_8_seconds(whisper_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("SERLIB_MODELS", str(whisper_dir.parent))
    split = stratified_split(late(tmp_path / "late", 8, 6.2), test_size=0.25, validation_size=0.25)
    whisper = backbone("whisper-tiny.en")
    run = fine_tune(whisper, split, dataclasses.replace(QUICK, trim=False), tmp_path / "runs")
    test = run.predictions.query("part == 'test'")
    # Clips that are the same for 6.2 s: whoever stops listening there gives all of them the same answer.
    happy, sad = (test.loc[test["emotion"] == emotion, "p_happy"] for emotion in ("happy", "sad"))
    assert min(len(happy), len(sad)) > 1
    assert abs(happy.mean() - sad.mean()) > 5 * max(happy.std(), sad.std()) + 0.02
    said = classify(run, list(split.test["path"]))
    written = test.set_index("clip").loc[said.index, ["p_happy", "p_sad"]].to_numpy()
    np.testing.assert_allclose(said.to_numpy(), written, atol=0.02)


def test_whisper_is_not_asked_to_be_trained_on_more_than_it_hears(whisper_dir, few, tmp_path, monkeypatch):
    monkeypatch.setenv("SERLIB_MODELS", str(whisper_dir.parent))
    split = stratified_split(few, **SHARES)
    long = split.train.assign(seconds=split.train["seconds"].where(split.train.index != split.train.index[2], 31.0))
    with pytest.raises(SerlibError, match=rf"{split.train.index[2]} lasts 31.0 s, and Whisper tiny.en hears 30 s"):
        fine_tune(backbone("whisper-tiny.en"), dataclasses.replace(split, train=long), QUICK, tmp_path)


def test_a_probe_hears_the_end_of_40_seconds(whisper_dir, monkeypatch):
    """In two windows of 20 s, whose averages count alike: those of the halves."""
    monkeypatch.setenv("SERLIB_MODELS", str(whisper_dir.parent))
    sound = np.random.default_rng(0).normal(0, 0.1, 40 * audio.RATE).astype(np.float32)
    sound[: 20 * audio.RATE] *= 0.01
    encoder = probing.frozen_encoder(backbone("whisper-tiny.en"), Probe())
    whole, first, second = probing.averages_of(encoder, [sound, *np.split(sound, 2)], Probe())
    np.testing.assert_allclose(whole, (first + second) / 2, rtol=1e-5, atol=1e-5)
    assert np.abs(first - second).max() > 0.1


def test_a_fine_tuned_whisper_hears_a_longer_file_in_windows(whisper_dir, few, tmp_path, monkeypatch):
    monkeypatch.setenv("SERLIB_MODELS", str(whisper_dir.parent))
    split = stratified_split(few, **SHARES)
    run = fine_tune(
        backbone("whisper-tiny.en"),
        split,
        dataclasses.replace(QUICK, trim=False, learning_rate=1e-4),
        tmp_path / "runs",
    )
    noise = np.random.default_rng(0).normal(0, 0.1, 10 * audio.RATE)
    noise[5 * audio.RATE :] = 0.1 * np.sin(2 * np.pi * 300 * np.arange(5 * audio.RATE) / audio.RATE)
    paths = {name: tmp_path / f"{name}.wav" for name in ("whole", "first", "second")}
    for path, part in zip(paths.values(), [noise, *np.split(noise, 2)], strict=True):
        soundfile.write(path, part, audio.RATE, subtype="FLOAT")
    said = classify(run, list(paths.values()))
    np.testing.assert_allclose(said.loc["whole"], (said.loc["first"] + said.loc["second"]) / 2, atol=1e-5)
