"""Pooling and cached features against the same thing written out by hand."""

import json
import shutil

import numpy as np
import pytest
import torch

from serlib.errors import SerlibError
from serlib.train import model
from serlib.train.backbones import TWINS, backbone

LABELS = ("angry", "happy", "sad")


def two_clips() -> tuple[torch.Tensor, torch.Tensor]:
    """A long and a short clip of noise, padded, and their mask."""
    rng = np.random.default_rng(0)
    long, short = rng.standard_normal(16_000), rng.standard_normal(9_000)
    values = torch.tensor(np.stack([long, np.pad(short, (0, 7_000))]), dtype=torch.float32)
    mask = torch.ones(2, 16_000, dtype=torch.long)
    mask[1, 9_000:] = 0
    return values, mask


@pytest.mark.parametrize("layers", ["last", "weighted"])
@pytest.mark.parametrize("pooling", ["mean", "sum", "max"])
def test_pooling_is_what_its_name_says(pooling, layers):
    torch.manual_seed(0)
    net = model.load(backbone("wav2vec2-large-mini"), LABELS, pooling, layers).eval()
    if layers == "weighted":
        torch.nn.init.normal_(net.layer_weights)
    values, mask = two_clips()
    with torch.inference_mode():
        logits = net(values, attention_mask=mask).logits
        for row, samples in enumerate((16_000, 9_000)):
            output = net.base_model(values[row : row + 1, :samples], output_hidden_states=True)
            if layers == "weighted":
                shares = net.layer_weights.softmax(0)
                hidden = sum(share * state for share, state in zip(shares, output.hidden_states, strict=True))
            else:
                hidden = output.last_hidden_state
            frames = net.projector(hidden)[0]
            pooled = {"mean": frames.mean(0), "sum": frames.sum(0), "max": frames.max(0).values}[pooling]
            expected = net.classifier(pooled)
            # a masked batch is not bit-identical to a clip alone: padding reaches the last frame's convolution
            assert torch.allclose(logits[row], expected, rtol=0.02, atol=0.02 * expected.abs().max())


def test_mean_pooling_is_the_stock_class():
    net = model.load(backbone("hubert-base-mini"), LABELS)
    assert type(net).__module__.startswith("transformers.")
    assert net.config.id2label == {0: "angry", 1: "happy", 2: "sad"}
    assert net.dtype == torch.float32


@pytest.mark.parametrize("key", ["hubert-base-mini", "unispeech-large-mini"])
def test_cached_features_change_nothing(key):
    row = backbone(key)
    net = model.load(row, LABELS).eval()
    values, mask = two_clips()
    mask = mask if row.needs_mask else None
    with torch.inference_mode():
        before = net(values, attention_mask=mask).logits
        features = net.base_model.feature_extractor(values)
        net.base_model.feature_extractor = model.CachedFeatures()
        after = net(features, attention_mask=mask).logits
    assert torch.equal(before, after)


@pytest.mark.parametrize("key", ["hubert-base-mini", "unispeech-large-mini"])
def test_of_frozen_layers_and_what_lies_before_them_nothing_learns(key):
    """The norm after the layers learns on (UniSpeech large), the one before them does not (HuBERT base)."""
    net = model.load(backbone(key), LABELS)
    model.freeze_layers(net, 2)
    learning = {name.split(".", 1)[1] for name, weight in net.named_parameters() if weight.requires_grad}
    inside = {name for name in learning if name.startswith("encoder.")}
    norm = {name for name in inside if name.startswith("encoder.layer_norm.")}
    assert bool(norm) == (key == "unispeech-large-mini")
    assert min(int(name.split(".")[2]) for name in inside - norm) == 2
    assert learning - inside == {"weight", "bias"}  # of projector and classifier


@pytest.mark.slow
def test_masking_and_layerdrop_are_the_recipes_or_the_checkpoints(tmp_path):
    folder = tmp_path / "own"
    shutil.copytree(TWINS / "hubert-base", folder)
    config = json.loads((folder / "config.json").read_text()) | {"layerdrop": 0.25, "mask_time_prob": 0.5}
    (folder / "config.json").write_text(json.dumps(config | {"mask_time_min_masks": 2}))
    kept = model.load(backbone(str(folder)), LABELS, layerdrop=None).config
    assert (kept.layerdrop, kept.mask_time_prob, kept.mask_time_min_masks) == (0.25, 0.5, 2)
    given = model.load(backbone(str(folder)), LABELS, masking=0.05, layerdrop=0.0).config
    assert (given.layerdrop, given.mask_time_prob, given.mask_time_min_masks) == (0.0, 0.05, 0)


def test_without_pretraining_the_weights_are_others():
    row = backbone("hubert-base-mini")
    name = "encoder.layers.0.attention.q_proj.weight"
    kept = model.load(row, LABELS).base_model.state_dict()[name]
    drawn = model.load(row, LABELS, pretrained=False).base_model.state_dict()[name]
    assert kept.shape == drawn.shape and not torch.allclose(kept, drawn, atol=1e-3)


def test_unknown_choices_offer_the_known():
    with pytest.raises(SerlibError, match="mean"):
        model.load(backbone("hubert-base-mini"), LABELS, pooling="means")
    with pytest.raises(SerlibError, match="weighted"):
        model.load(backbone("hubert-base-mini"), LABELS, layers="weigthed")
    with pytest.raises(SerlibError, match="ser.backbone"):
        model.load("hubert-base-mini", LABELS)


def test_a_trained_model_of_an_unknown_pooling_is_refused(tmp_path):
    net = model.load(backbone("hubert-base-mini"), LABELS, pooling="max")
    net.config.serlib_pooling = "maximum"
    net.save_pretrained(tmp_path)
    with pytest.raises(SerlibError, match="did you mean max"):
        model.load_trained(tmp_path)
