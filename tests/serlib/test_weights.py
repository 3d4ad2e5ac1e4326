"""A model's folder as users bring it: whole in another form, or damaged in the ways that folders are."""

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForAudioClassification,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    set_seed,
)

from serlib.errors import SerlibError
from serlib.train import backbones, model, weights
from serlib.train.backbones import TWINS, backbone, extractor_from, extractor_of, weights_key

LABELS = ("angry", "happy", "sad")
SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """No test knows the digests of another."""
    monkeypatch.setattr(weights, "_known", {})


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of the smallest twin, as a folder that somebody brings."""
    return shutil.copytree(TWINS / "hubert-base", tmp_path / "brought")


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / SAFE)


def write(folder: Path, state: dict[str, torch.Tensor]) -> None:
    save_file({name: value.contiguous() for name, value in state.items()}, folder / SAFE, metadata={"format": "pt"})


def change(folder: Path, name: str, **settings) -> None:
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def renamed(old: str, new: str):
    def harm(folder: Path) -> None:
        write(folder, {name.replace(old, new): value for name, value in tensors(folder).items()})

    return harm


def without(part: str):
    def harm(folder: Path) -> None:
        write(folder, {name: value for name, value in tensors(folder).items() if part not in name})

    return harm


def spoiled(name: str, value: float):
    def harm(folder: Path) -> None:
        state = tensors(folder)
        state[name].view(-1)[3] = value
        write(folder, state)

    return harm


def smaller(name: str):
    def harm(folder: Path) -> None:
        state = tensors(folder)
        write(folder, state | {name: state[name][:-1]})

    return harm


def in_place_of_weights(name: str, content: bytes):
    def harm(folder: Path) -> None:
        (folder / SAFE).unlink()
        (folder / name).write_bytes(content)

    return harm


def prefixed(*prefixes: str):
    def harm(folder: Path) -> None:
        state = tensors(folder)
        write(folder, {prefix + name: value.clone() for prefix in prefixes for name, value in state.items()})

    return harm


def sharded(folder: Path, suffix: str = ".safetensors") -> None:
    """Write the weights in two parts and an index, as large checkpoints have them."""
    state = tensors(folder)
    (folder / SAFE).unlink()
    names, stem = sorted(state), "model" if suffix == ".safetensors" else "pytorch_model"
    index = {}
    for number, part in enumerate((names[:30], names[30:]), 1):
        file = f"{stem}-0000{number}-of-00002{suffix}"
        index |= dict.fromkeys(part, file)
        some = {name: state[name].contiguous() for name in part}
        if suffix == ".bin":
            torch.save(some, folder / file)
        else:
            save_file(some, folder / file, metadata={"format": "pt"})
    (folder / f"{stem}{suffix}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


def without_a_shard(folder: Path) -> None:
    sharded(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


def settings(file: str, **values):
    return lambda folder: change(folder, file, **values)


def normed(folder: Path) -> None:
    """Let a config of group norms stand beside the weights of a model with layer norms and biases."""
    for file in (TWINS / "wav2vec2-large").iterdir():
        shutil.copy(file, folder)
    change(folder, "config.json", feat_extract_norm="group", do_stable_layer_norm=False, conv_bias=False)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12345\n"
PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>"
HARMS = {
    "renamed layers": (renamed(".layers.", ".blocks."), "lack 48 of the 66 .* first encoder.layers.0|lack 48"),
    "a layer gone": (without("encoder.layers.1."), r"lack 16 of the 66 tensors .* first hubert\.encoder\.layers\.1\."),
    "a tensor gone": (without("layers.2.final_layer_norm.bias"), "lack 1 of the 66 tensors"),
    "no tensor": (lambda folder: write(folder, {}), "lack 66 of the 66 tensors"),
    "a smaller tensor": (smaller("encoder.layers.0.feed_forward.intermediate_dense.weight"), "another size in 1 of"),
    "not a number": (spoiled("encoder.layers.0.layer_norm.weight", float("nan")), "not finite .* in 1 of the 66"),
    "infinity": (spoiled("feature_extractor.conv_layers.0.conv.weight", float("inf")), "not finite .* in 1 of"),
    "two encoders": (prefixed("student.", "teacher."), "2 encoders, whose names begin with student. and teacher."),
    "another family": (prefixed("wav2vec2."), "config.json .* says hubert, but its weights .* wav2vec2"),
    "another size": (settings("config.json", hidden_size=112), "another size in .* of the 66 tensors"),
    "layer norms left out": (normed, "hold 19 tensors of the encoder that its config.json leaves out"),
    "more layers": (settings("config.json", num_hidden_layers=5), "lack 32 of the 98 tensors"),
    "convolutions that do not match": (settings("config.json", conv_kernel=[10, 3]), "for convolutional layers is inc"),
    "a pointer": (lambda folder: (folder / SAFE).write_bytes(POINTER), "git lfs pull"),
    "a page": (in_place_of_weights(PICKLED, PAGE), "is a web page"),
    "nothing in the file": (lambda folder: (folder / SAFE).write_bytes(b""), "model.safetensors is empty"),
    "cut short": (lambda folder: os.truncate(folder / SAFE, 5_000), "damaged or incomplete"),
    "noise": (in_place_of_weights(PICKLED, bytes(range(256)) * 40), r"damaged or incomplete \([^()]{10,70}\)"),
    "TensorFlow": (in_place_of_weights("tf_model.h5", b"\x89HDF"), "tf_model.h5 holds weights for TensorFlow"),
    "Flax": (in_place_of_weights("flax_model.msgpack", b"\x80"), "weights for Flax"),
    "a trainer's file": (in_place_of_weights("epoch=3.ckpt", b"PK"), "epoch=3.ckpt is no model.safetensors"),
    "no weights": (lambda folder: (folder / SAFE).unlink(), "there is no model.safetensors"),
    "a part missing": (without_a_shard, "1 of its 2 parts are missing, first model-00002-of-00002.safetensors"),
    "a damaged index": (in_place_of_weights(f"{SAFE}.index.json", b'{"weight'), "index.json is damaged"),
    "an adapter": (lambda folder: (folder / "adapter_config.json").write_text("{}"), "LoRA adapter"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "there is no config.json"),
    "a damaged config": (lambda folder: (folder / "config.json").write_text('{"model'), "config.json .* is damaged"),
    "no model's name": (lambda folder: (folder / "config.json").write_text("{}"), "does not know this kind of model"),
    "a model of text": (settings("config.json", model_type="bert"), "kind bert, which serlib cannot feed"),
    "a model of bands": (settings("config.json", model_type="wav2vec2-bert"), "kind wav2vec2-bert, which serlib"),
    "a word for a number": (settings("config.json", hidden_size="large"), "hidden_size.*large|damaged"),
    "heads that do not divide": (settings("config.json", num_attention_heads=7), "must be divisible by num_heads"),
    "an adapter on top": (settings("config.json", model_type="wav2vec2", add_adapter=True), "not support .* adapters"),
    "few bits": (settings("config.json", quantization_config={"quant_method": "bitsandbytes"}), "stored in few bits"),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
def test_what_is_wrong_with_a_folder_is_one_sentence(folder, harm, capsys):
    spoil, sentence = HARMS[harm]
    spoil(folder)
    with pytest.raises(SerlibError, match=sentence) as found:
        model.load(backbone(str(folder)), LABELS)
    said = str(found.value)
    assert "brought" in said and "\n" not in said and said.endswith(".") and len(said) < 700
    assert not capsys.readouterr().out


def test_weights_that_are_a_program_are_not_run(folder, tmp_path):
    class Program:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    in_place_of_weights(PICKLED, pickle.dumps(Program(), protocol=2))(folder)
    with pytest.raises(SerlibError, match="damaged or incomplete"):
        model.load(backbone(str(folder)), LABELS)
    assert not (tmp_path / "ran").exists()


def equal(net: torch.nn.Module, reference: torch.nn.Module) -> bool:
    ours, theirs = net.state_dict(), reference.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in theirs)


def loaded(name: Path | str, seed: int = 101, **choices) -> torch.nn.Module:
    set_seed(seed)
    return model.load(backbone(str(name)), LABELS, **choices)


def as_pickle(zipped: bool):
    def form(folder: Path) -> None:
        torch.save(tensors(folder), folder / PICKLED, _use_new_zipfile_serialization=zipped)
        (folder / SAFE).unlink()

    return form


def with_old_names(folder: Path) -> None:
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    state = tensors(folder)
    for new, name in old.items():
        state = {key.replace(new, name): value for key, value in state.items()}
    write(folder, state)


def in_doubles(folder: Path) -> None:
    write(folder, {name: value.double() for name, value in tensors(folder).items()})


FORMS = {
    "halves": lambda folder: None,
    "doubles": in_doubles,
    "bin": as_pickle(True),
    "bin of long ago": as_pickle(False),
    "parts": sharded,
    "parts of bin": lambda folder: sharded(folder, ".bin"),
    "weight norm of long ago": with_old_names,
    "own prefix": prefixed("hubert."),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_weights_in_another_form_are_the_same_model(folder, form):
    FORMS[form](folder)
    net = loaded(folder)
    assert {value.dtype for value in net.state_dict().values()} == {torch.float32}
    assert equal(net, loaded("hubert-base-mini"))


@pytest.mark.parametrize("prefix", ["module.", "model.", "encoder.", "_orig_mod.", "net.hubert.", "model.encoder."])
def test_a_wrappers_prefix_is_taken_off_and_said(folder, tmp_path, capsys, prefix):
    prefixed(prefix)(folder)
    net = loaded(folder)
    assert capsys.readouterr().out.count("\n") == 1
    reference = loaded("hubert-base-mini")
    assert equal(net, reference)
    net.save_pretrained(tmp_path / "saved")  # under the stock names, so that anybody's transformers reads it
    assert equal(AutoModelForAudioClassification.from_pretrained(tmp_path / "saved"), reference)
    assert equal(model.load_trained(tmp_path / "saved"), reference)


def test_a_prefix_does_not_hide_what_is_missing(folder):
    without("encoder.layers.1.")(folder)
    prefixed("module.")(folder)
    with pytest.raises(SerlibError, match="lack 16 of the 66 tensors"):
        loaded(folder)


def test_layers_that_the_config_leaves_out_are_said(folder, capsys):
    change(folder, "config.json", num_hidden_layers=2)
    net = loaded(folder)
    assert "more layers than the 2 of its config.json" in capsys.readouterr().out
    twin = loaded("hubert-base-mini").state_dict()
    assert all(torch.equal(value, twin[name]) for name, value in net.base_model.state_dict(prefix="hubert.").items())


def test_the_vector_of_masked_frames_may_be_missing(folder):
    without("masked_spec_embed")(folder)
    vectors = [loaded(folder, masking=0.05).base_model.masked_spec_embed for _ in range(2)]
    assert torch.equal(*vectors) and 0 <= vectors[0].min() < vectors[0].max() < 1  # drawn, not what the memory held


def whisper(folder: Path) -> Path:
    """Write a Whisper of the smallest size, decoder and all."""
    config = WhisperConfig(
        d_model=16, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=32, decoder_ffn_dim=32, vocab_size=50, max_source_positions=50, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    set_seed(0)
    WhisperForConditionalGeneration(config).half().save_pretrained(folder)
    WhisperFeatureExtractor(chunk_length=1).save_pretrained(folder)
    return folder


def test_a_whispers_encoder_is_all_there_and_its_decoder_not_missed(tmp_path):
    folder = whisper(tmp_path / "whisper")
    saved, net = tensors(folder), loaded(folder).state_dict()
    names = {name.removeprefix("model.") for name in saved if name.startswith("model.encoder.")}
    assert {name for name in net if name.startswith("encoder.")} == names
    assert all(torch.equal(net[name], saved[f"model.{name}"].float()) for name in names)
    prefixed("module.")(folder)  # before the "model." of the file itself
    assert equal(loaded(folder), loaded(whisper(tmp_path / "again")))
    without("encoder.layers.1.fc2.bias")(folder)
    with pytest.raises(SerlibError, match=r"lack 1 of the \d+ tensors .* first encoder.layers.1.fc2.bias"):
        loaded(folder)


def head_of(net: torch.nn.Module) -> list[torch.Tensor]:
    return [net.projector.weight, net.projector.bias, net.classifier.weight, net.classifier.bias]


@pytest.mark.slow
@pytest.mark.parametrize("key", ["wav2vec2-large", "hubert-base", "unispeech-large", "whisper"])
def test_a_fine_tuned_checkpoint_gets_a_new_head(tmp_path, key):
    plain = whisper(tmp_path / "plain") if key == "whisper" else shutil.copytree(TWINS / key, tmp_path / "plain")
    for labels in (("b", "c", "d"), ("low", "high")):  # as many as ours, and fewer
        set_seed(1)
        tuned = model.load(backbone(str(plain)), labels, layers="weighted")
        torch.nn.init.normal_(tuned.layer_weights)
        torch.nn.init.constant_(tuned.projector.bias, 1.0)
        folder = tmp_path / str(len(labels))
        tuned.save_pretrained(folder)
        extractor_of(backbone(str(plain))).save_pretrained(folder)
        assert equal(model.load_trained(folder), tuned)  # what was trained stays, where it is asked for
        for layers in ("last", "weighted"):
            net, again, other = (loaded(folder, seed, layers=layers) for seed in (101, 101, 102))
            headless = loaded(plain, layers=layers)
            assert net.config.id2label == dict(enumerate(LABELS))
            heads, encoders = ("projector", "classifier"), headless.state_dict()
            assert equal(net, again)
            assert all(torch.equal(v, encoders[k]) for k, v in net.state_dict().items() if not k.startswith(heads))
            assert all(torch.equal(a, b) == (a.ndim == 1) for a, b in zip(head_of(net), head_of(other), strict=True))
            if len(labels) == 3:  # to the last digit the head of a checkpoint that had none
                assert equal(net, headless)
            assert net.projector.weight.std().item() == pytest.approx(0.02, rel=0.05)
            if layers == "weighted":
                assert torch.equal(net.layer_weights, headless.layer_weights)


@pytest.mark.parametrize("key", [*backbones.SIX])
def test_a_learned_sum_begins_with_equal_shares(key):
    twin = backbone(f"{key}-mini")
    shares = model.load(twin, LABELS, layers="weighted").layer_weights
    assert torch.equal(shares, torch.full((twin.layers + 1,), 1 / (twin.layers + 1)))


def test_pooling_is_the_one_asked_for_whatever_the_checkpoint_was_trained_with(folder, tmp_path):
    model.load(backbone(str(folder)), LABELS, pooling="max").save_pretrained(tmp_path / "max")
    extractor_of(backbone(str(folder))).save_pretrained(tmp_path / "max")
    model.load(backbone(str(tmp_path / "max")), LABELS, pooling="mean").save_pretrained(tmp_path / "mean")
    assert type(model.load_trained(tmp_path / "max")).__name__ == "MaxHubertForSequenceClassification"
    assert type(model.load_trained(tmp_path / "mean")).__module__.startswith("transformers.")


def test_a_trained_model_with_a_part_missing_is_refused(folder):
    loaded(folder).save_pretrained(folder)
    assert model.load_trained(folder)
    for part in ("classifier.bias", "encoder.layers.1."):
        without(part)(folder)
        with pytest.raises(SerlibError, match="lack .* of the 71 tensors"):
            model.load_trained(folder)


# --- code that a model brings --------------------------------------------------------------------------------------

CODE = """
import pathlib
pathlib.Path({marker!r}).touch()
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor
class Own(Wav2Vec2Config):
    model_type = "own"
class Ear(Wav2Vec2FeatureExtractor):
    pass
"""
DOORS = {
    "backbone": lambda folder: backbone(str(folder)),
    "load": lambda folder: model.load(backbone(str(folder)), LABELS),
    "extractor of a backbone": lambda folder: extractor_of(backbone(str(folder))),
    "extractor of a trained model": extractor_from,
    "load a trained model": model.load_trained,
}


@pytest.fixture
def bringing_code(folder, tmp_path, monkeypatch):
    """A folder with code beside its weights, and whether the code was run; a question is answered with yes."""
    loaded(folder).save_pretrained(folder)
    (folder / "code.py").write_text(CODE.format(marker=str(tmp_path / "ran")))
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    yield folder
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("door", DOORS)
def test_code_beside_a_model_that_transformers_knows_is_neither_run_nor_passed_on(bringing_code, tmp_path, door):
    for file in ("config.json", "preprocessor_config.json"):
        change(bringing_code, file, auto_map={"AutoConfig": "code.Own", "AutoFeatureExtractor": "code.Ear"})
    opened = DOORS[door](bringing_code)
    if hasattr(opened, "save_pretrained"):
        opened.save_pretrained(tmp_path / "saved")
        assert all("auto_map" not in file.read_text() for file in (tmp_path / "saved").glob("*.json"))


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json", "processor_config.json"])
def test_code_that_a_model_cannot_do_without_is_refused(bringing_code, door, file):
    own = {"AutoConfig": "code.Own", "AutoFeatureExtractor": "code.Ear"}
    if file == "config.json":
        change(bringing_code, file, model_type="own", auto_map=own)
    elif file == "preprocessor_config.json":
        change(bringing_code, file, feature_extractor_type="Ear", auto_map=own)
    else:
        ear = {"feature_extractor": {"feature_extractor_type": "Ear", "auto_map": own}}
        (bringing_code / file).write_text(json.dumps(ear))
    # a backbone reads both, its extractor to know whether it needs a mask; what was trained is loaded in two parts
    needless = {"load a trained model": file != "config.json", "extractor of a trained model": file == "config.json"}
    if needless.get(door):
        DOORS[door](bringing_code)
    else:
        with pytest.raises(SerlibError, match="code that a model brings is never run"):
            DOORS[door](bringing_code)


# --- what tells weights apart --------------------------------------------------------------------------------------


def test_weights_overwritten_in_place_have_another_key(folder, monkeypatch):
    monkeypatch.setattr(weights, "FRESH", -3600)  # as if the files had lain there for long: digests are remembered
    before, kept = weights_key(backbone(str(folder))), (folder / SAFE).stat()
    spoiled("encoder.layers.0.layer_norm.weight", 0.25)(folder)
    os.utime(folder / SAFE, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert (folder / SAFE).stat().st_size == kept.st_size  # and neither size nor time tell of it
    assert weights_key(backbone(str(folder))) != before
    shutil.copy(TWINS / "hubert-base" / SAFE, folder / SAFE)
    assert weights_key(backbone(str(folder))) == before == weights_key(backbone("hubert-base-mini"))


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
def test_the_configs_belong_to_the_key(folder, file):
    before = weights_key(backbone(str(folder)))
    (folder / "README.md").write_text("What it is.")
    assert weights_key(backbone(str(folder))) == before
    change(folder, file, of="another")
    assert weights_key(backbone(str(folder))) != before


def test_a_key_is_of_the_content_not_of_the_place(folder, tmp_path, monkeypatch):
    here = weights_key(backbone(str(folder)))
    monkeypatch.setenv("SERLIB_MODELS", str(tmp_path / "shelf"))
    shutil.copytree(folder, tmp_path / "shelf" / "facebook" / "hubert-base-ls960")
    assert weights_key(backbone("hubert-base")) == here


def test_settled_files_are_read_once_and_fresh_ones_again(folder, monkeypatch, own_cache):
    read = []
    monkeypatch.setattr(weights, "checksum", lambda path: read.append(path.name) or "0" * 64)
    monkeypatch.setattr(weights, "FRESH", 3600)
    for _ in range(2):
        weights_key(backbone(str(folder)))
    assert len(read) == 6  # three files, each time: they have just been written
    monkeypatch.setattr(weights, "FRESH", -3600)
    weights_key(backbone(str(folder)))
    assert len(read) == 9
    weights_key(backbone(str(folder)))  # from memory
    monkeypatch.setattr(weights, "_known", {})
    weights_key(backbone(str(folder)))  # from the notes, as another process would
    assert len(read) == 9
    for note in (own_cache / "digests").iterdir():
        note.write_text("[[1")
    monkeypatch.setattr(weights, "_known", {})
    weights_key(backbone(str(folder)))  # damaged notes are no notes
    assert len(read) == 12


def test_a_file_that_nobody_may_read_is_named(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(weights, "checksum", refuse)
    with pytest.raises(SerlibError, match="cannot be read"):
        weights_key(backbone(str(folder)))


@pytest.mark.parametrize("harm", ["weights", "recipe"])
def test_a_twin_that_is_not_the_one_that_ships_is_refused(tmp_path, monkeypatch, harm):
    shutil.copytree(TWINS, tmp_path / "twins")
    monkeypatch.setattr(backbones, "TWINS", tmp_path / "twins")
    folder = tmp_path / "twins" / "hubert-base"
    assert loaded("hubert-base-mini")
    if harm == "weights":
        spoiled("encoder.layers.0.layer_norm.weight", 0.25)(folder)
    else:
        (folder / "recipe.json").unlink()
    with pytest.raises(SerlibError, match="not those that ship with serlib"):
        loaded("hubert-base-mini")


def test_a_folder_is_found_from_home_and_named_for_itself(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(folder)
    rows = [backbone(name) for name in ("~/brought", ".", str(folder))]
    assert {row.key for row in rows} == {"brought"} and len({weights_key(row) for row in rows}) == 1
    assert equal(loaded("~/brought"), loaded("."))
