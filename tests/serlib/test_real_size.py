"""The real architectures, narrowed where full width adds nothing: what transformers and old checkpoints do to them.

The encoders that only the frozen track knows are here at full size, with random weights; real clips, memory and time
are for ``make bench-real``.
"""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from serlib.data import audio
from serlib.data.ravdess import ravdess
from serlib.data.splits import Split, stratified_split
from serlib.train import batches, model
from serlib.train.backbones import BACKBONES, SIX, TWINS, Backbone, backbone, extractor_of, weights_of
from serlib.train.finetuning import fine_tune
from serlib.train.probing import layer_averages, probe
from serlib.train.recipes import Probe, Recipe
from serlib.train.run import work_on

PLAIN = Recipe(epochs=2, learning_rate=5e-4, eval_every=2, bucketing=False, precision="fp32")


def own_checkpoint(folder, key: str, change=None, binary=False, half=False):
    """A twin's folder as an older hub holds it: other key names, a .bin file, float16."""
    shutil.copytree(TWINS / key, folder)
    weights = load_file(folder / "model.safetensors")
    if half:
        weights = {name: tensor.half() for name, tensor in weights.items()}
    weights = {change(name) if change else name: tensor for name, tensor in weights.items()}
    if binary:
        (folder / "model.safetensors").unlink()
        torch.save(weights, folder / "pytorch_model.bin")
    else:
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return backbone(str(folder))


def old_norm(name: str) -> str:
    """The names of weight norm before torch 2."""
    return name.replace("parametrizations.weight.original0", "weight_g").replace(
        "parametrizations.weight.original1", "weight_v"
    )


@pytest.mark.parametrize("binary", [False, True], ids=["safetensors", "bin"])
@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
@pytest.mark.parametrize("key", ["hubert-base", "wav2vec2-large", "unispeech-large"])
def test_every_dialect_of_a_checkpoint_loads_as_the_same_float32_weights(tmp_path, key, binary, half):
    names = list(load_file(TWINS / key / "model.safetensors"))
    assert any("original0" in name for name in names), "the twin itself has the new names"
    own = own_checkpoint(tmp_path / "old", key, old_norm, binary, half)
    torch.manual_seed(0)
    loaded = model.load(own, ("a", "b")).base_model.state_dict()
    expected = model.load(backbone(f"{key}-mini"), ("a", "b")).base_model.state_dict()
    assert loaded.keys() == expected.keys()
    for name, tensor in expected.items():
        assert loaded[name].dtype == torch.float32
        wanted = tensor.half().float() if half else tensor
        assert torch.equal(loaded[name], wanted), name


def stepped(split, tmp_path, batch_size: int, accumulation: int) -> tuple[float, torch.Tensor]:
    """Loss and change of the weights of one optimizer step of plain SGD over all training clips, dropout off."""
    from functools import partial

    from transformers import Trainer, TrainingArguments

    net = model.load(backbone("wav2vec2-large-mini"), split.labels, masking=0.0)
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    work = work_on(backbone("wav2vec2-large-mini"), split, PLAIN, tmp_path, None)
    from transformers import AutoFeatureExtractor

    extractor = AutoFeatureExtractor.from_pretrained(TWINS / "wav2vec2-large")
    for parameter in net.base_model.feature_extractor.parameters():
        parameter.requires_grad = False
    data = batches.features_of(work, net.base_model.feature_extractor, extractor)
    net.base_model.feature_extractor = model.CachedFeatures()
    torch.manual_seed(0)
    for name in ("projector", "classifier"):
        getattr(net, name).reset_parameters()
    before = torch.cat([p.detach().flatten() for p in net.parameters() if p.requires_grad])
    arguments = TrainingArguments(
        output_dir=str(tmp_path / f"{batch_size}x{accumulation}"),
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=accumulation,
        max_steps=1,
        max_grad_norm=0.0,
        logging_steps=1,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    trainer = Trainer(
        model=net,
        args=arguments,
        train_dataset=data["train"].select(range(8)),
        data_collator=partial(
            batches.collate,
            labels={clip: split.labels.index(emotion) for clip, emotion in split.train["emotion"].items()},
            name="input_values",
            channels=net.config.conv_dim[-1],
            needs_mask=True,
        ),
        optimizers=(torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=1.0), None),
    )
    trainer.train()
    after = torch.cat([p.detach().flatten() for p in net.parameters() if p.requires_grad])
    return trainer.state.log_history[0]["loss"], after - before


def test_eight_by_one_is_two_by_four_in_loss_and_gradient(half_dir, tmp_path):
    split = stratified_split(ravdess(half_dir), test_size=0.25, validation_size=0.2)
    loss, change = stepped(split, tmp_path, 8, 1)
    cut_loss, cut_change = stepped(split, tmp_path, 2, 4)
    assert cut_loss == pytest.approx(loss, abs=2e-4)
    assert torch.linalg.norm(cut_change - change) < 1e-2 * torch.linalg.norm(change)


def batch_of(row: Backbone, lengths: list[int]) -> tuple[torch.nn.Module, dict, list[dict]]:
    """A backbone, its batch made as in training, and the clips that the batch holds."""
    torch.manual_seed(0)  # the head is drawn, and how much it makes of a difference is its own
    net = model.load(row, ("a", "b", "c")).eval()
    rng = np.random.default_rng(0)
    # loudness differs, so that normalizing over clips or padding would show
    sounds = {str(i): (rng.standard_normal(n) * 10.0**-i).astype(np.float32) for i, n in enumerate(lengths)}
    clips = list(batches.encoded(sounds, net.base_model.feature_extractor, extractor_of(row)))
    batch = collated(clips, net, row.needs_mask)
    net.base_model.feature_extractor = model.CachedFeatures()
    return net, batch, clips


def collated(clips: list[dict], net: torch.nn.Module, needs_mask: bool) -> dict:
    """These clips as one padded batch, without labels."""
    labels = {clip["clip"]: 0 for clip in clips}
    batch = batches.collate(clips, labels, "input_values", channels=net.config.conv_dim[-1], needs_mask=needs_mask)
    batch.pop("labels")
    return batch


def differences(net: torch.nn.Module, batch: dict, clips: list[dict]) -> list[float]:
    """By how much the logits of each clip differ when it is alone, as a share of the largest logit."""
    off = []
    with torch.inference_mode():
        together = net(**batch).logits
        for i, clip in enumerate(clips):
            alone = net(**collated([clip], net, "attention_mask" in batch)).logits[0]
            off.append(float((alone - together[i]).abs().max() / together.abs().max()))
    return off


@pytest.mark.parametrize("key", [f"{key}-mini" for key in SIX])
def test_logits_do_not_depend_on_the_company(key):
    """Exact with a mask. HuBERT base was pre-trained without one: it hears padding, and bucketing keeps that little."""
    row = backbone(key)
    net, batch, clips = batch_of(row, [32_000, 31_000, 20_000])
    assert ("attention_mask" in batch) == row.needs_mask == (row.key != "hubert-base-mini")
    off = differences(net, batch, clips)
    assert off[0] < 1e-4, "the longest clip of a batch is never padded"
    if row.needs_mask:
        assert max(off) < 1e-3
    else:
        assert off[1] < 0.1, "3 % of padding, as in a bucket"
        assert off[1] < off[2], "more padding, more difference"


# What config.json and preprocessor_config.json on the hub say, where it is not the default of their class
OTHERS = {
    "wavlm-base-plus": ({"feat_extract_norm": "group"}, {"do_normalize": False, "return_attention_mask": True}),
    "xls-r-300m": (
        {
            "hidden_size": 1024,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "intermediate_size": 4096,
            "feat_extract_norm": "layer",
            "do_stable_layer_norm": True,
            "conv_bias": True,
            "codevector_dim": 768,
            "proj_codevector_dim": 768,
        },
        {"do_normalize": True, "return_attention_mask": True},
    ),
}


@pytest.fixture(scope="module", params=OTHERS)
def other(request, tmp_path_factory):
    """An encoder beside the six at full size, its random weights in a file like the hub's: pickled, with old names.

    XLS-R's has the quantizer of its pre-training too. A gigabyte, so there is one at a time, and it is deleted.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForPreTraining, Wav2Vec2FeatureExtractor

    row = BACKBONES[request.param]
    settings, ear = OTHERS[row.key]
    shelf = tmp_path_factory.mktemp("models")
    folder = shelf / row.checkpoint
    config = AutoConfig.for_model(row.family, **settings)
    config.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(**ear).save_pretrained(folder)
    torch.manual_seed(0)
    net = (AutoModel if row.family == "wavlm" else AutoModelForPreTraining).from_config(config)
    torch.save({old_norm(name): tensor for name, tensor in net.state_dict().items()}, folder / "pytorch_model.bin")
    del net
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERLIB_MODELS", str(shelf))
        yield row
    shutil.rmtree(folder)


def some_split(folder, seconds: list[float], name: str) -> Split:
    """Noises of these lengths and of two labels; the first is the same in each split."""
    import soundfile

    folder.mkdir(exist_ok=True)
    rows = {}
    for i, length in enumerate(seconds):
        path = folder / f"{name if i else 'first'}{i}.wav"
        rng = np.random.default_rng([i, len(seconds) * (i > 0)])
        soundfile.write(path, 0.1 * rng.standard_normal(int(length * audio.RATE)), audio.RATE)
        rows[path.stem] = {"path": str(path), "emotion": ("calm", "angry")[i % 2], "actor": "01"}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    return Split(name, frame[:-4], frame[-4:-2], frame[-2:])


@pytest.mark.slow
def test_the_frozen_track_takes_other_encoders_at_full_size(other, tmp_path, monkeypatch):
    """Random weights, so nothing is said about accuracy: only that what comes out is what stock transformers gives."""
    from transformers import AutoFeatureExtractor, AutoModel

    split = some_split(tmp_path / "clips", [0.9, 0.5, 0.6, 0.4, 0.7, 0.5, 0.4, 0.6], "few")
    averages = layer_averages(other, split, Probe())
    assert averages.shape == (8, (other.layers + 1) * 2 * other.hidden)
    assert np.isfinite(averages).all(axis=None) and averages.std().gt(0).all()
    run = probe(other, split, Probe(), tmp_path / "runs")
    assert abs(run.info["parameters"] / 1e6 - other.parameters) < 0.5  # with the head of two labels
    assert len(run.predictions) == 4 and run.folder.parent.name == "few" and run.info["checkpoint"] == other.checkpoint
    shutil.rmtree(run.folder)

    monkeypatch.setenv("SERLIB_CACHE", str(tmp_path / "another"))  # or the first clip is known already
    longer = some_split(tmp_path / "clips", [0.9, 2.5, 1.5, 0.3, 0.4, 0.3], "longer")
    pd.testing.assert_series_equal(layer_averages(other, longer, Probe()).loc["first0"], averages.loc["first0"])

    folder = weights_of(other.checkpoint)
    plain = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    ear = AutoFeatureExtractor.from_pretrained(folder)
    given = ear(audio.read(split.train.loc["first0", "path"]), sampling_rate=audio.RATE, return_tensors="pt")
    with torch.inference_mode():
        states = torch.cat(plain(given.input_values, output_hidden_states=True).hidden_states).numpy()
    first = averages.loc["first0"]
    for layer in (0, other.layers // 2, other.layers):
        np.testing.assert_allclose(first[layer]["mean"], states[layer].mean(axis=0), atol=1e-4)
        np.testing.assert_allclose(first[layer]["std"], states[layer].std(axis=0), atol=1e-4)


@pytest.mark.slow
def test_other_encoders_need_the_mask_that_their_rows_say(other):
    net, batch, clips = batch_of(other, [16_000, 9_000])
    assert "attention_mask" in batch
    assert max(differences(net, batch, clips)) < 1e-3
    del batch["attention_mask"]
    unmasked = differences(net, batch, clips)
    assert unmasked[1] > 1e-3 > unmasked[0], "padding that is not told is heard"
    assert backbone(str(weights_of(other.checkpoint))).needs_mask, "by its folder too"


def test_clips_are_normalized_alone_before_they_are_padded():
    net, batch, clips = batch_of(backbone("wav2vec2-large-mini"), [32_000, 16_000])
    loud = audio.RATE  # a clip ten times as quiet gives the features of the same clip at full loudness
    rng = np.random.default_rng(1)
    sound = rng.standard_normal(loud).astype(np.float32)
    from transformers import AutoFeatureExtractor

    extractor = AutoFeatureExtractor.from_pretrained(TWINS / "wav2vec2-large")
    encoder = model.load(backbone("wav2vec2-large-mini"), ("a", "b")).base_model.feature_extractor
    both = list(batches.encoded({"a": sound, "b": sound / 10}, encoder, extractor))
    np.testing.assert_allclose(both[0]["features"], both[1]["features"], atol=1e-3)


def test_plain_transformers_follows_the_same_loss_curve(half_dir, tmp_path):
    """Stock class, stock Trainer, waveforms padded by the stock extractor, no serlib: the same losses, step by step."""
    from transformers import (
        AutoFeatureExtractor,
        AutoModelForAudioClassification,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    split = stratified_split(ravdess(half_dir), test_size=0.25, validation_size=0.2)
    run = fine_tune(backbone("wav2vec2-large-mini"), split, PLAIN, tmp_path / "ours")

    set_seed(PLAIN.seed)
    net = AutoModelForAudioClassification.from_pretrained(
        TWINS / "wav2vec2-large", num_labels=len(split.labels), dtype=torch.float32
    )
    net.freeze_feature_encoder()
    net.accepts_loss_kwargs = False  # else a step's loss and gradient are multiplied by the accumulation
    extractor = AutoFeatureExtractor.from_pretrained(TWINS / "wav2vec2-large")

    def rows(frame: pd.DataFrame) -> list[dict]:
        return [
            {"sound": audio.read(path), "label": split.labels.index(emotion)}
            for path, emotion in zip(frame["path"], frame["emotion"], strict=True)
        ]

    def collate(clips: list[dict]) -> dict:
        padded = extractor([clip["sound"] for clip in clips], sampling_rate=16_000, padding=True, return_tensors="pt")
        return {**padded, "labels": torch.tensor([clip["label"] for clip in clips])}

    arguments = TrainingArguments(
        output_dir=str(tmp_path / "plain"),
        num_train_epochs=PLAIN.epochs,
        per_device_train_batch_size=PLAIN.batch_size,
        per_device_eval_batch_size=8,
        gradient_accumulation_steps=PLAIN.accumulation,
        learning_rate=PLAIN.learning_rate,
        eval_strategy="steps",
        eval_steps=PLAIN.eval_every,
        logging_steps=PLAIN.eval_every,
        save_strategy="no",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        seed=PLAIN.seed,
    )
    trainer = Trainer(
        model=net, args=arguments, train_dataset=rows(split.train), eval_dataset=rows(split.validation),
        data_collator=collate,
    )  # fmt: skip
    trainer.train()
    theirs = pd.DataFrame(trainer.state.log_history).groupby("step").first()
    ours = run.history.set_index("step")
    assert len(ours) >= 3
    np.testing.assert_allclose(ours["loss"], theirs.loc[ours.index, "loss"], rtol=5e-3)
    np.testing.assert_allclose(ours["eval_loss"], theirs.loc[ours.index, "eval_loss"], rtol=5e-3)
    other = fine_tune(
        backbone("wav2vec2-large-mini"), split, dataclasses.replace(PLAIN, learning_rate=1e-3), tmp_path / "other"
    )
    assert not np.allclose(other.history["loss"], theirs.loc[ours.index, "loss"], rtol=5e-3), "the tolerance can fail"
