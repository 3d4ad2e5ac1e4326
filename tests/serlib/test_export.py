"""A run as an ONNX file says what the run says; what is wrong with a path or a run is one sentence."""

import json
import sys

import numpy as np
import pytest
import soundfile
from transformers import AutoFeatureExtractor

from serlib.data import audio
from serlib.data.ravdess import ravdess
from serlib.data.splits import stratified_split
from serlib.errors import SerlibError
from serlib.train import export
from serlib.train.backbones import backbone
from serlib.train.classify import classify
from serlib.train.finetuning import fine_tune
from serlib.train.probing import probe
from serlib.train.recipes import Probe, Recipe
from serlib.train.run import load_run

onnx = pytest.importorskip("onnx")
onnx_ir = pytest.importorskip("onnx_ir")
onnxruntime = pytest.importorskip("onnxruntime")

QUICK = Recipe(epochs=1, batch_size=8, accumulation=1, learning_rate=1e-3, eval_every=4, trim=True)
# The two kinds of the six, by their norm, and a frozen one.
KINDS = ("hubert-base-mini", "wav2vec2-large-mini", "frozen")


@pytest.fixture(autouse=True)
def quicker(monkeypatch):
    """The same graph is not traced again for another precision: that is 6 s each."""
    traced = {}

    def once(run, checkpoint, trace=export._graph_of):
        if run.folder not in traced:
            traced[run.folder] = onnx_ir.to_proto(trace(run, checkpoint)).SerializeToString()
        return onnx_ir.from_proto(onnx.load_from_string(traced[run.folder]))

    monkeypatch.setattr(export, "_graph_of", once)


@pytest.fixture(scope="module", params=KINDS)
def run(request, spoken_dir, tmp_path_factory):
    home = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERLIB_CACHE", str(home / "cache"))
        split = stratified_split(ravdess(spoken_dir), test_size=0.25, validation_size=0.2)
        if request.param == "frozen":
            yield probe(backbone("unispeech-large-mini"), split, Probe(trim=True), home / "mini")
        else:
            yield fine_tune(backbone(request.param), split, QUICK, home / "mini")


def answers(path, paths, trimmed=True) -> np.ndarray:
    """What ONNX Runtime says of sound files, (files, classes)."""
    session = onnxruntime.InferenceSession(str(path))
    return np.stack([session.run(None, {"samples": audio.heard(p, trimmed)[None]})[0][0] for p in paths])


@pytest.fixture
def hundred(spoken, tmp_path) -> list[str]:
    """All 96 spoken clips, and four sounds of other lengths."""
    random = np.random.default_rng(1)
    paths = [tmp_path / f"{samples}.wav" for samples in (1_600, 1_999, 100_001, 200_000)]
    for path in paths:
        soundfile.write(path, 0.1 * random.standard_normal(int(path.stem)), audio.RATE)
    return [*spoken["path"], *map(str, paths)]


@pytest.mark.slow
def test_onnx_runtime_says_what_torch_says(run, hundred, tmp_path):
    if run.info["kind"] == "probe":  # the head is new, its encoder is that of the two above
        hundred = hundred[::5]
    truth = classify(run, hundred).to_numpy()
    path = run.export_onnx(tmp_path / "new folder" / "model.onnx")
    assert np.abs(answers(path, hundred) - truth).max() < 1e-3
    onnx.checker.check_model(path)
    sizes = {"float32": path.stat().st_size}
    for precision in ("float16", "int8"):
        small = run.export_onnx(tmp_path / f"{precision}.onnx", precision)
        sizes[precision] = small.stat().st_size
        same = answers(small, hundred).argmax(1) == truth.argmax(1)
        assert same.mean() >= 0.98, precision
    assert sizes["float16"] < 0.65 * sizes["float32"] and sizes["int8"] < 0.5 * sizes["float32"]
    facts = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert json.loads(facts["labels"]) == list(run.info["labels"])
    assert (facts["sampling_rate"], facts["trim_threshold_db"], facts["license"]) == ("16000", "-35", "cc-by-nc-sa-4.0")


@pytest.mark.slow
def test_whisper_on_real_voices_says_the_same_of_clips_of_any_length(ravdess_dir, whisper_dir, tmp_path):
    corpus = ravdess(ravdess_dir).query("actor in ['01', '02'] and statement == 1")
    split = stratified_split(corpus.groupby("emotion").head(4), test_size=0.25, validation_size=0.34)
    run = probe(backbone("whisper-tiny.en"), split, Probe(), tmp_path / "runs")
    path = run.export_onnx(tmp_path / "whisper.onnx")
    random = np.random.default_rng(1)
    for samples in (1_600, 96_001, 104_000, 240_000):  # below and above the 6 s to which it is padded
        soundfile.write(tmp_path / f"{samples}.wav", 0.1 * random.standard_normal(samples), audio.RATE)
    files = [*split.test["path"][:8], *map(str, tmp_path.glob("*.wav"))]
    assert np.abs(answers(path, files, trimmed=False) - classify(run, files).to_numpy()).max() < 1e-3
    assert run.export_onnx(tmp_path / "small.onnx", "int8").stat().st_size < 12e6
    assert AutoFeatureExtractor.from_pretrained(run.folder / "checkpoint").n_samples == 30 * audio.RATE


def test_what_cannot_be_exported_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    kept = load_run("results/laptop/stratified/whisper-tiny.en")
    with pytest.raises(SerlibError, match="holds predictions but no checkpoint; run its notebook"):
        kept.export_onnx(tmp_path / "model.onnx")
    with pytest.raises(SerlibError, match="no precision called 'int4': did you mean int8"):
        kept.export_onnx(tmp_path / "model.onnx", "int4")
    with pytest.raises(SerlibError, match="no precision called None"):
        kept.export_onnx(tmp_path / "model.onnx", None)
    with pytest.raises(SerlibError, match="is a folder; give the name of a file"):
        kept.export_onnx(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_and_a_package_that_is_not_here(run, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SerlibError, match="cannot write to .*choose a folder that you may write to"):
        run.export_onnx(tmp_path / "file" / "model.onnx")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(SerlibError, match="packages that are not here .*pip install onnx onnxscript"):
        run.export_onnx(tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
