"""The table of backbones against transformers' own models, the twins against the originals' rules."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    HubertConfig,
    HubertModel,
    UniSpeechConfig,
    UniSpeechModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperForAudioClassification,
    set_seed,
)

from serlib.errors import SerlibError
from serlib.files import checksum
from serlib.judge import paper
from serlib.train import model
from serlib.train.backbones import BACKBONES, SIX, TWINS, backbone, extractor_of, weights_of

KINDS = {
    "wav2vec2": (Wav2Vec2Config, Wav2Vec2Model),
    "hubert": (HubertConfig, HubertModel),
    "unispeech": (UniSpeechConfig, UniSpeechModel),
    "wavlm": (WavLMConfig, WavLMModel),
}
GROUP_NORM = {"hubert-base", "wavlm-base-plus"}  # as their config.json on the hub; all others have layer norm
WHISPERS = [key for key, row in BACKBONES.items() if row.family == "whisper"]


@pytest.mark.slow
@pytest.mark.parametrize("key", [key for key in BACKBONES if key not in WHISPERS])
def test_parameter_count_is_that_of_the_real_architecture(key):
    row = BACKBONES[key]
    kind, build = KINDS[row.family]
    layer_norm = key not in GROUP_NORM
    config = kind(
        hidden_size=row.hidden, num_hidden_layers=row.layers, intermediate_size=4 * row.hidden,
        num_attention_heads=row.hidden // 64, feat_extract_norm="layer" if layer_norm else "group",
        do_stable_layer_norm=layer_norm, conv_bias=layer_norm,
    )  # fmt: skip
    with torch.device("meta"):
        count = sum(p.numel() for p in build(config).parameters())
    assert count / 1e6 == pytest.approx(row.parameters, abs=0.06)


@pytest.mark.parametrize("key", WHISPERS)
def test_whisper_has_the_encoder_of_its_row(key):
    row = BACKBONES[key]
    config = WhisperConfig(
        d_model=row.hidden, encoder_layers=row.layers, encoder_attention_heads=row.hidden // 64,
        encoder_ffn_dim=4 * row.hidden,
    )  # fmt: skip
    with torch.device("meta"):
        net = WhisperForAudioClassification(config)
    assert sum(p.numel() for p in net.encoder.parameters()) / 1e6 == pytest.approx(row.parameters, abs=0.06)


@pytest.mark.parametrize("key", WHISPERS)
def test_whispers_weights_are_those_of_the_file(key):
    row, folder = BACKBONES[key], weights_of(BACKBONES[key].checkpoint)
    if not isinstance(folder, Path):
        pytest.skip(f"needs pretrained weights: set SERLIB_MODELS to the folder that holds {key}")
    saved, heads = load_file(folder / "model.safetensors"), []
    for seed in (1, 1, 2):
        set_seed(seed)
        net = model.load(row, ("a", "b", "c"))
        heads.append(net.projector.weight)
    for name, value in net.encoder.state_dict().items():
        assert torch.equal(value, saved[f"model.encoder.{name}"].float()) and value.dtype == torch.float32
    assert sum(p.numel() for p in net.encoder.parameters()) / 1e6 == pytest.approx(row.parameters, abs=0.06)
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])
    assert extractor_of(row).feature_size == net.config.num_mel_bins


@pytest.mark.parametrize("key", SIX)
def test_twin_has_the_rules_of_its_original(key):
    twin, real = backbone(f"{key}-mini"), BACKBONES[key]
    config = json.loads((TWINS / key / "config.json").read_text())
    assert config["model_type"] == real.family == twin.family
    assert (config["feat_extract_norm"] == "layer") == config["do_stable_layer_norm"] == real.needs_mask
    extractor = json.loads((TWINS / key / "preprocessor_config.json").read_text())
    assert extractor["return_attention_mask"] == real.needs_mask == twin.needs_mask
    assert extractor["do_normalize"] and extractor["sampling_rate"] == 16_000
    assert config["conv_stride"] == [5, 2, 2, 2, 2, 2, 2] and config["conv_kernel"] == [10, 3, 3, 3, 3, 2, 2]
    assert 0.3 <= twin.parameters <= 2
    counted = sum(p.numel() for p in model.load(twin, ("a", "b")).base_model.parameters())
    assert twin.parameters == pytest.approx(counted / 1e6, abs=1e-6)


@pytest.mark.parametrize("key", SIX)
def test_twin_weights_are_the_ones_of_the_recipe(key):
    weights = TWINS / key / "model.safetensors"
    recipe = json.loads((TWINS / key / "recipe.json").read_text())
    assert weights.stat().st_size <= 3e6
    assert checksum(weights) == recipe["sha256"]
    assert recipe["synthetic"] is True and recipe["seed"] and recipe["steps"]


def test_six_are_the_papers():
    assert {BACKBONES[key].checkpoint for key in SIX} == set(paper.models()["checkpoint"])
    assert [paper.models().loc[key, "title"] for key in SIX]


def test_unknown_name_offers_the_nearest():
    with pytest.raises(SerlibError, match="hubert-base"):
        backbone("hubert_base")


@pytest.mark.parametrize("name", [None, 3, ["hubert-base"], BACKBONES["hubert-base"]])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(SerlibError, match="found by its name"):
        backbone(name)


def test_checkpoint_that_is_nowhere_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # read from the environment at import
    with pytest.raises(SerlibError, match="SERLIB_MODELS"):
        backbone("nobody/nothing-at-all")


def test_models_shelf_is_searched_by_full_and_short_name(monkeypatch, tmp_path):
    for place in ("facebook/hubert-base-ls960", "whisper-tiny.en"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "config.json").write_text("{}")
    monkeypatch.setenv("SERLIB_MODELS", str(tmp_path))
    assert weights_of("facebook/hubert-base-ls960") == tmp_path / "facebook/hubert-base-ls960"
    assert weights_of("openai/whisper-tiny.en") == tmp_path / "whisper-tiny.en"
    assert weights_of("facebook/wav2vec2-large-xlsr-53") == "facebook/wav2vec2-large-xlsr-53"


def test_local_folder_is_a_backbone(tmp_path):
    folder = tmp_path / "my-encoder"
    shutil.copytree(TWINS / "wav2vec2-large", folder)
    own = backbone(str(folder))
    assert own.key == "my-encoder" and own.family == "wav2vec2" and own.needs_mask


@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize("mask", [False, True])
def test_a_mask_is_needed_where_the_extractor_says_so_whatever_the_norm(tmp_path, norm, mask):
    """WavLM base+ has the group norm of HuBERT base, which wants no mask, and wants one."""
    WavLMConfig(feat_extract_norm=norm).save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor(return_attention_mask=mask).save_pretrained(tmp_path)
    assert backbone(str(tmp_path)).needs_mask is mask


def test_rows_are_pinned_and_say_their_license():
    """A commit's full name, or the branch where that could not be looked up, of which there is one."""
    pinned = {key for key, row in BACKBONES.items() if re.fullmatch("[0-9a-f]{40}", row.revision)}
    assert {key: row.revision for key, row in BACKBONES.items() if key not in pinned} == {"unispeech-large": "main"}
    assert len({BACKBONES[key].revision for key in pinned}) == len(pinned)
    for row in BACKBONES.values():
        assert row.license.startswith(("apache-2.0", "cc-by-sa-3.0")) and f"license: {row.license})" in str(row)


def test_a_twin_has_neither_the_license_nor_the_commit_of_its_original():
    twin = backbone("unispeech-multilingual-mini")
    assert (twin.license, twin.revision) == ("mit", "main")


def test_the_hub_id_of_a_row_is_the_row_and_a_folder_of_that_name_is_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for row in BACKBONES.values():
        assert backbone(row.checkpoint) is row
    shutil.copytree(TWINS / "hubert-base", tmp_path / "facebook" / "hubert-base-ls960")
    assert backbone("facebook/hubert-base-ls960").hidden == backbone("hubert-base-mini").hidden


@pytest.mark.parametrize("name", ["emotion2vec/emotion2vec_plus_base", "iic/emotion2vec_plus_large", "emotion2vec+"])
def test_emotion2vec_is_refused_with_the_reason_and_the_warning(name):
    with pytest.raises(SerlibError, match=r"stored for FunASR.*EmoBox, to which RAVDESS belongs"):
        backbone(name)


def test_a_folder_of_emotion2vec_is_refused_as_funasr_leaves_it_and_welcome_once_converted(tmp_path, monkeypatch):
    folder = tmp_path / "emotion2vec_plus_base"
    folder.mkdir()
    (folder / "configuration.json").write_text('{"model": {"type": "funasr"}}')
    with pytest.raises(SerlibError, match="stored for FunASR"):
        backbone(folder)
    for file in ("config.json", "preprocessor_config.json"):
        shutil.copy(TWINS / "wav2vec2-large" / file, folder)
    assert backbone(folder).key == "emotion2vec_plus_base"
    monkeypatch.setenv("SERLIB_MODELS", str(tmp_path))
    assert backbone("emotion2vec/emotion2vec_plus_base").family == "wav2vec2"
