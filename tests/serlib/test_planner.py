"""The planner's closed forms against the real architectures: weights, operations and kept numbers, all counted."""

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    HubertConfig,
    HubertForSequenceClassification,
    UniSpeechConfig,
    UniSpeechForSequenceClassification,
    Wav2Vec2Config,
    Wav2Vec2ForSequenceClassification,
)

from serlib.errors import SerlibError
from serlib.lesson import PROFILES, start
from serlib.train import model, planner
from serlib.train.backbones import BACKBONES, SIX, backbone
from serlib.train.planner import DEVICES, plan, plan_all
from serlib.train.recipes import Probe, Recipe

KINDS = {
    "wav2vec2": (Wav2Vec2Config, Wav2Vec2ForSequenceClassification),
    "hubert": (HubertConfig, HubertForSequenceClassification),
    "unispeech": (UniSpeechConfig, UniSpeechForSequenceClassification),
}
DROP = {"hidden_dropout": 0.1, "activation_dropout": 0.1, "attention_dropout": 0.1, "layerdrop": 0.0}


def built(key: str, device: str = "meta", **changes):
    """The real architecture of one of the six, without weights."""
    row = BACKBONES[key]
    kind, build = KINDS[row.family]
    settings = {
        "hidden_size": row.hidden, "num_hidden_layers": row.layers, "intermediate_size": 4 * row.hidden,
        "num_attention_heads": {768: 12, 1024: 16, 1280: 16}[row.hidden], "num_labels": 8,
        "feat_extract_norm": "layer" if row.needs_mask else "group", "do_stable_layer_norm": row.needs_mask,
        "conv_bias": row.needs_mask, **DROP,
    }  # fmt: skip
    with torch.device(device):
        return build(kind(**(settings | changes)))


@pytest.mark.parametrize("layers", ["last", "weighted"])
@pytest.mark.parametrize("key", SIX)
def test_weights_are_those_of_the_real_architecture(key, layers):
    recipe = Recipe(layers=layers)
    found = plan(BACKBONES[key], recipe, "T4")
    net = built(key, use_weighted_layer_sum=layers == "weighted")
    assert found.parameters == sum(p.numel() for p in net.parameters())
    net.freeze_feature_encoder()
    assert found.trainable == sum(p.numel() for p in net.parameters() if p.requires_grad)
    assert round((found.parameters - sum(p.numel() for p in net.classifier.parameters())) / 1e6) == round(
        BACKBONES[key].parameters + net.projector.weight.numel() / 1e6
    )


@pytest.mark.parametrize("key", ["hubert-base", "hubert-xlarge"])
def test_lora_weights_are_those_that_peft_adds(key):
    found = plan(BACKBONES[key], Recipe(lora=16), "T4")
    net = model.with_lora(built(key), 16)
    assert found.trainable == sum(p.numel() for p in net.parameters() if p.requires_grad)


def test_twins_cost_what_they_have(tmp_path):
    twin = backbone("unispeech-large-mini")
    found, net = plan(twin, Recipe(), "T4"), model.load(twin, "abcdefgh")
    assert found.parameters == sum(p.numel() for p in net.parameters())
    net.save_pretrained(tmp_path)  # what a finished run leaves
    assert found.left == pytest.approx(sum(file.stat().st_size for file in tmp_path.iterdir()) / 1e9, rel=0.05)


@pytest.mark.parametrize("key", ["hubert-base", "wav2vec2-large"])
def test_operations_are_those_that_a_counter_sees(key):
    from torch.utils.flop_counter import FlopCounterMode

    net = built(key).eval()
    shape = planner._shape(BACKBONES[key], Recipe())
    with FlopCounterMode(display=False) as whole, torch.no_grad():
        net(torch.empty(4, 48_000, device="meta"))
    seconds = 3.0
    frames = int(net._get_feat_extract_output_lengths(48_000))
    ours = planner._forward(shape, 4, frames) + 4 * seconds * planner._convolutions(shape)
    assert ours == pytest.approx(whole.get_total_flops(), rel=0.03)


@pytest.mark.parametrize("dropout", [True, False])
@pytest.mark.parametrize("key", ["hubert-base", "hubert-xlarge"])
def test_a_layer_keeps_for_the_way_back_what_is_predicted(key, dropout):
    """Two nets that differ by four layers: what they keep is counted in every tensor that autograd saves."""
    clips, frames = 2, 150
    none = {} if dropout else dict.fromkeys(DROP, 0.0)
    small = {"hidden_size": 256, "intermediate_size": 1024, "num_attention_heads": 4}

    def kept(layers: int) -> int:
        net = built(key, "cpu", num_hidden_layers=layers, mask_time_prob=0.0, **small, **none).train()
        net.base_model.feature_extractor = model.CachedFeatures()  # first: its addresses are free for others now
        weights = {p.untyped_storage().data_ptr() for p in net.parameters()}
        seen, held = {}, []

        def pack(tensor):
            held.append(tensor)  # so that no address comes twice
            store = tensor.untyped_storage()
            if store.data_ptr() not in weights:
                seen[store.data_ptr()] = store.nbytes()
            return tensor

        mask = torch.ones(clips, frames * 320 + 80, dtype=torch.long) if BACKBONES[key].needs_mask else None
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            net(torch.randn(clips, 512, frames), attention_mask=mask)
        return sum(seen.values())

    shape = planner._shape(BACKBONES[key], Recipe()) | {
        "hidden": 256, "inner": 1024, "heads": 4,
        **dict.fromkeys(("hidden_dropout", "inner_dropout", "attention_dropout"), dropout),
    }  # fmt: skip
    predicted = planner._layer_bytes(shape, clips, frames, mixed=False, plain=True)
    assert predicted == pytest.approx((kept(6) - kept(2)) / 4, rel=0.03)


def test_every_profile_fits_where_it_is_meant_to_run():
    for profile, device in (("t4", "T4"), ("paper", "A100-40"), ("best", "A100-40")):
        lesson = start(profile)
        for key in SIX:
            row = lesson.backbone(key)
            found = plan(row, lesson.recipe_for(row), device)
            assert found.fits and not found.remedy, str(found)


def test_what_does_not_fit_says_what_would():
    found = plan(BACKBONES["hubert-xlarge"], PROFILES["paper"].recipe, "T4")
    assert not found.fits and found.remedy
    assert all(f"{name}={value}" in str(found) for name, value in found.remedy.items())
    assert plan(BACKBONES["hubert-xlarge"], dataclasses.replace(PROFILES["paper"].recipe, **found.remedy), "T4").fits


def test_checkpointing_saves_memory_and_costs_time():
    plain, forgetful = (
        plan(BACKBONES["wav2vec2-large"], Recipe(gradient_checkpointing=on), "T4") for on in (False, True)
    )
    assert forgetful.memory < plain.memory and forgetful.minutes > plain.minutes
    assert forgetful.step_operations == pytest.approx(4 / 3 * plain.step_operations)


def test_a_prediction_calls_itself_one():
    assert "predicted" in str(plan(BACKBONES["hubert-base"], Recipe(), "T4"))
    assert "measured speed" in str(plan(BACKBONES["hubert-base"], Recipe(), "CPU"))


def test_the_table_has_all_six_on_all_devices():
    table = plan_all(start("t4").recipe_for)
    assert len(table) == len(SIX) * len(DEVICES)
    assert (table["fits"] == "yes").all()
    assert np.isfinite(table.select_dtypes("number").to_numpy()).all()


def test_the_table_of_the_book_is_the_planners():
    page = (Path(__file__).parents[2] / "book" / "how_to_use.md").read_text()
    for row in map(backbone, SIX):
        cells = []
        for profile, device in (("t4", "T4"), ("paper", "A100-40"), ("best", "A100-40")):
            found = plan(row, start(profile).recipe_for(row), device)
            assert found.fits
            cells.append(f"{found.memory:.0f} GB, {found.minutes:.0f} min, disk {found.disk:.0f} GB")
        assert f"| {row.title} | {' | '.join(cells)} |" in page


def test_the_whole_table_of_the_book_is_the_planners():
    page = (Path(__file__).parents[2] / "book" / "how_to_use.md").read_text()
    for row, profile in itertools.product(map(backbone, SIX), ("t4", "paper", "best")):
        found = [plan(row, start(profile).recipe_for(row), device) for device in DEVICES]
        one = found[0]
        numbers = (one.parameters / 1e6, one.trainable / 1e6, one.step_operations / 1e12, one.disk, one.memory)
        cells = [f"{n:.{int(i == 2)}f}" for i, n in enumerate(numbers)]
        cells += [f"{cost.minutes:.0f}" if cost.fits else "no" for cost in found]
        large = "wav2vec 2.0 large, XLSR-53, both UniSpeech"  # the same shape, so one row for all four
        title = row.title if row.key.startswith("hubert") else large
        assert f"| {title} | `{profile}` | {' | '.join(cells)} |" in page


def test_clips_of_a_split_decide_the_time(spoken):
    from serlib.data.splits import stratified_split

    split = stratified_split(spoken, test_size=0.25, validation_size=0.2)
    few = plan(BACKBONES["hubert-base"], Recipe(), "T4", split)
    half = dataclasses.replace(split, train=split.train.iloc[::2])
    assert few.minutes > plan(BACKBONES["hubert-base"], Recipe(), "T4", half).minutes
    trimmed = plan(BACKBONES["hubert-base"], Recipe(trim=True), "T4", split)
    assert trimmed.step_operations < few.step_operations


def test_very_short_clips_are_planned_too(spoken):
    from serlib.data.splits import stratified_split

    split = stratified_split(spoken, test_size=0.25, validation_size=0.2)
    parts = {part: frame.assign(seconds=0.12) for part, frame in split.parts()}
    found = plan(backbone("hubert-base-mini"), Recipe(), "CPU", dataclasses.replace(split, **parts))
    assert 0 < found.step_seconds < 10


def test_what_is_not_fine_tuned_is_refused(tmp_path):
    with pytest.raises(SerlibError, match="give a ser.Recipe"):
        plan(BACKBONES["hubert-base"], Probe(), "T4")
    with pytest.raises(SerlibError, match="A100-40"):
        plan(BACKBONES["hubert-base"], Recipe(), "A100")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "whisper", "d_model": 64, "encoder_layers": 2}))
    with pytest.raises(SerlibError, match="none of them"):
        plan(backbone(str(tmp_path)), Recipe(), "T4")
