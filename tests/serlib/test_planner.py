"""The planner's counts of small models without numbers, against whole models, real tensors and counts by hand."""

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
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
from serlib.train import counting, model, planner
from serlib.train.backbones import BACKBONES, SIX, backbone
from serlib.train.counting import Setup
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


@pytest.mark.slow
@pytest.mark.parametrize("key", SIX)
def test_weights_are_those_of_the_real_architecture(key):
    net = built(key, use_weighted_layer_sum=True)
    every = sum(p.numel() for p in net.parameters())
    net.freeze_feature_encoder()
    trained, layers = sum(p.numel() for p in net.parameters() if p.requires_grad), net.layer_weights.numel()
    found = plan(BACKBONES[key], Recipe(layers="weighted"), "T4")
    assert (found.parameters, found.trainable) == (every, trained)
    found = plan(BACKBONES[key], Recipe(), "T4")
    assert (found.parameters, found.trainable) == (every - layers, trained - layers)
    assert round((found.parameters - sum(p.numel() for p in net.classifier.parameters())) / 1e6) == round(
        BACKBONES[key].parameters + net.projector.weight.numel() / 1e6
    )


@pytest.mark.slow
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


def setup_of(key: str, changes: dict | None = None, **settings) -> Setup:
    """What the planner counts of one of the six, with changes to its config."""
    return Setup(json.dumps(json.loads(planner._config(BACKBONES[key], Recipe(), 8)) | (changes or {})), **settings)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["hubert-base", "wav2vec2-large", "unispeech-large"])
def test_operations_are_those_that_a_counter_sees(key):
    net, setup = built(key).eval(), setup_of(key)
    with FlopCounterMode(display=False) as whole, torch.no_grad():
        net(torch.empty(4, 48_000, device="meta"))
    frames = int(net._get_feat_extract_output_lengths(48_000))
    found = counting.count(setup, 4, frames)
    ours = found.forward.operations + 4 * 3.0 * counting.convolution_operations(setup.config)
    assert ours == pytest.approx(whole.get_total_flops(), rel=0.01)
    # for input and weights as many as ahead each, and the fused kernel of attention makes its table again
    again = found.forward.squared / 2
    assert found.backward.operations == pytest.approx(2 * found.forward.operations + again, rel=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("gpu", [True, False])
def test_another_length_is_known_from_one_count(gpu):
    setup = setup_of("hubert-base", mixed=True, gpu=gpu)
    long, short = (counting.count(setup, *batch) for batch in ((8, 240), (4, 120)))
    for way in ("forward", "backward"):
        scaled = getattr(long, way).scaled(1 / 2, 1 / 2)
        assert scaled.operations == pytest.approx(getattr(short, way).operations, rel=1e-3)
        assert scaled.kernels == getattr(short, way).kernels


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "mixed"),
    [
        ({}, True),
        ({}, False),
        ({"checkpointing": True}, True),
        ({"lora": 8}, True),
        ({"lora": 8, "checkpointing": True}, True),
        ({"lora": 8, "checkpointing": True}, False),
    ],
)
def test_a_line_through_two_small_models_leads_to_the_whole(settings, mixed):
    setup = setup_of("hubert-base", {"num_hidden_layers": 8}, **settings, mixed=mixed)
    line, whole = counting.count(setup, 4, 200), counting._count(setup, 8, 4, 200)
    assert line.peak == pytest.approx(whole.peak, rel=0.03)
    for field in dataclasses.fields(line):
        if field.name != "peak":
            assert getattr(line, field.name) == pytest.approx(getattr(whole, field.name)), field.name


def test_a_convolution_in_groups_is_not_counted_as_a_whole_one():
    def counted(groups: int, channels: int) -> int:
        net = torch.nn.Conv1d(channels, channels, 5, groups=groups, device="meta")
        with counting._Meter(net) as meter:
            net(torch.empty(2, channels, 50, device="meta", requires_grad=True)).sum().backward()
        return meter.counted.operations

    assert counted(4, 32) == 4 * counted(1, 8) == 3 * 2 * 2 * 46 * 32 * 8 * 5


def test_bytes_moved_are_what_a_kernel_reads_and_writes():
    net = torch.nn.Linear(30, 20, bias=False, device="meta")
    x = torch.empty(10, 30, device="meta")
    with counting._Meter(net) as meter, torch.no_grad():
        y = net(x).relu_()
    assert meter.counted == (2 * 10 * 30 * 20, 0, 4 * (300 + 600 + 200 + 2 * 200), 2)
    assert meter.now == meter.peak == 4 * 200
    del y
    assert meter.now == 0


@pytest.mark.slow
@pytest.mark.parametrize(("dropout", "mixed"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("key", ["hubert-base", "hubert-xlarge"])
def test_a_layer_keeps_for_the_way_back_what_is_predicted(key, dropout, mixed):
    """Two nets that differ by four layers: what they keep is counted in every real tensor that autograd saves."""
    clips, frames = 2, 150
    changes = {"hidden_size": 256, "intermediate_size": 1024, "num_attention_heads": 4}
    changes |= {} if dropout else dict.fromkeys(DROP, 0.0)

    def kept(layers: int) -> int:
        net = built(key, "cpu", num_hidden_layers=layers, mask_time_prob=0.0, **changes).train()
        net.base_model.feature_extractor = model.CachedFeatures()  # first: its addresses are free for others now
        weights = {p.untyped_storage().data_ptr() for p in net.parameters()}
        seen, held = {}, []

        def pack(tensor):
            held.append(tensor)  # so that no address comes twice
            store = tensor.untyped_storage()
            if store.data_ptr() not in weights:
                seen[store.data_ptr()] = store.nbytes()
            return tensor

        half = torch.autocast("cpu", torch.bfloat16, enabled=mixed)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), half:
            net(torch.randn(clips, 512, frames))
        return sum(seen.values())

    def predicted(layers: int) -> float:
        setup = setup_of(key, changes | {"num_hidden_layers": layers}, gpu=False, mixed=mixed)
        return counting.count(setup, clips, frames).peak

    assert predicted(6) - predicted(2) == pytest.approx(kept(6) - kept(2), rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("mixed", [True, False])
def test_a_gpu_keeps_a_layers_numbers_as_counted_by_hand(mixed):
    """HuBERT base, whose norms come last: no table of frames by frames, and masks of dropout of one byte."""
    clips, frames, h, f = 2, 150, 768, 3072
    setups = (setup_of("hubert-base", {"num_hidden_layers": n}, mixed=mixed) for n in (4, 8))
    few, more = (counting.count(setup, clips, frames) for setup in setups)
    # inputs of attention, of both norms and of the first product, queries, keys, values, attended; both sides of GELU
    full = 4 * (8 * h + 2 * f)
    # only the inputs of the norms stay whole, and attention's is made a half once for each of its three products
    half = 2 * (8 * h + 2 * f) + 4 * 2 * h
    token = (half if mixed else full) + 2 * h + f
    weights = 2 * (4 * h * h + 2 * h * f) if mixed else 0
    assert (more.peak - few.peak) / 4 == pytest.approx(clips * frames * token + weights, rel=0.01)


@pytest.mark.slow
def test_checkpointing_keeps_the_input_of_each_layer_alone():
    few, more = (
        counting.count(setup_of("hubert-base", {"num_hidden_layers": n}, checkpointing=True), 2, 150) for n in (6, 10)
    )
    assert more.peak - few.peak == 4 * 2 * 150 * 768 * 4


def test_the_shipped_configs_are_those_of_the_architectures():
    for key in SIX:
        config = json.loads(planner._config(BACKBONES[key], Recipe(), 8))
        row, net = BACKBONES[key], built(key).config.to_dict() | {"num_labels": 8}
        assert (config["model_type"], config["hidden_size"]) == (row.family, row.hidden)
        assert {name: net[name] for name in config} == config


@pytest.mark.slow
def test_every_profile_fits_where_it_is_meant_to_run():
    for profile, device in (("t4", "T4"), ("paper", "A100-40"), ("best", "A100-40")):
        lesson = start(profile)
        for key in SIX:
            row = lesson.backbone(key)
            found = plan(row, lesson.recipe_for(row), device)
            assert found.fits and not found.remedy, str(found)


@pytest.mark.slow
def test_what_does_not_fit_says_what_would():
    found = plan(BACKBONES["hubert-xlarge"], PROFILES["paper"].recipe, "T4")
    assert not found.fits and found.remedy
    assert all(f"{name}={value}" in str(found) for name, value in found.remedy.items())
    assert plan(BACKBONES["hubert-xlarge"], dataclasses.replace(PROFILES["paper"].recipe, **found.remedy), "T4").fits


@pytest.mark.slow
@pytest.mark.parametrize("batch, largest", [(96, 24), (24, 24), (27, 1)])
def test_the_remedy_is_the_largest_batch_that_fits_at_the_same_step(batch, largest):
    """Halved as the training itself would; 2.9 GB are enough for HuBERT base and 24 clips with checkpointing."""
    recipe = Recipe(batch_size=batch, accumulation=2)
    small = dataclasses.replace(DEVICES["T4"], memory=2.9)
    found = plan(BACKBONES["hubert-base"], recipe, small)
    mended = dataclasses.replace(recipe, **found.remedy)
    assert not found.fits and found.remedy and plan(BACKBONES["hubert-base"], mended, small).fits
    assert mended.batch_size == largest and mended.lora == 0
    assert mended.batch_size * mended.accumulation == 2 * batch
    double = {"batch_size": 2 * largest, "accumulation": batch // largest}
    if batch == 96:
        assert not plan(BACKBONES["hubert-base"], dataclasses.replace(mended, **double), small).fits


@pytest.mark.slow
def test_only_what_one_clip_does_not_fit_has_no_remedy():
    recipe = Recipe(batch_size=8, accumulation=1, gradient_checkpointing=True)
    row = BACKBONES["hubert-base"]
    one = dataclasses.replace(recipe, batch_size=1, accumulation=8, lora=16)
    needed = plan(row, one, "T4").memory
    enough, little = (dataclasses.replace(DEVICES["T4"], memory=needed + more) for more in (1e-6, -1e-6))
    found = plan(row, recipe, enough)
    assert found.remedy == {"batch_size": 1, "accumulation": 8, "lora": 16}
    found = plan(row, recipe, little)
    assert not found.fits and not found.remedy and "whatever the recipe" in str(found)
    assert set(plan(row, dataclasses.replace(recipe, lora=4), enough).remedy) == {"batch_size", "accumulation"}


@pytest.mark.parametrize("bucketing", [True, False])
@pytest.mark.parametrize("accumulation", [4, 20])  # an epoch has 7 batches
def test_a_training_does_the_steps_that_were_planned(half_dir, tmp_path, monkeypatch, accumulation, bucketing):
    """The batches of its first epoch, its steps, its evaluations: seen in the Trainer itself, on a CPU."""
    from serlib.data.ravdess import ravdess
    from serlib.data.splits import stratified_split
    from serlib.train import batches
    from serlib.train.finetuning import fine_tune

    split = stratified_split(ravdess(half_dir), test_size=0.25, validation_size=0.2)
    recipe = Recipe(epochs=2, batch_size=4, accumulation=accumulation, eval_every=3, bucketing=bucketing)
    seen, collate = [], batches.collate
    said = {"train": set(split.train.index), "evaluation": set(split.validation.index), "test": set(split.test.index)}

    def watched(clips, *args, **options):
        batch = collate(clips, *args, **options)
        part = next(part for part, names in said.items() if str(clips[0]["clip"]) in names)
        seen.append((part, len(clips), batch["input_values"].shape[-1]))
        return batch

    monkeypatch.setattr(batches, "collate", watched)
    run = fine_tune(backbone("hubert-base-mini"), split, recipe, tmp_path)
    work = planner._Work.of(backbone("hubert-base-mini"), recipe, planner._device("CPU", 64), split)
    train = [batch for part, *batch in seen if part == "train"]
    assert len(train) == 2 * len(work.train)
    if bucketing:  # the very same batches, but for a frame at the edge
        assert np.abs(np.array(train[: len(work.train)]) - np.array(work.train)).max() <= 1
    assert sum(clips for clips, _ in train) == 2 * sum(clips for clips, _ in work.train)
    for part, times in (("evaluation", work.looks), ("test", 1)):
        assert [clips for at, clips, _ in seen if at == part] == times * [clips for clips, _ in getattr(work, part)]
    assert (run.info["steps"], len(run.history) + 1) == (work.steps, work.looks)


def test_a_step_that_an_epoch_ends_is_a_step():
    """1,036 clips make 259 batches of 4: more of them in a step there are not, unless the step is filled up."""
    whole, more = (plan(BACKBONES["hubert-base"], Recipe(bucketing=False, accumulation=n), "T4") for n in (259, 1000))
    assert whole == more
    half = plan(BACKBONES["hubert-base"], Recipe(bucketing=False, accumulation=258), "T4")
    assert half.minutes > whole.minutes and half.step_operations < whole.step_operations
    # where batches are of like length, a step is filled up: here with twice the clips of the epoch
    full, filled = (plan(BACKBONES["hubert-base"], Recipe(accumulation=n), "T4") for n in (259, 2 * 259))
    assert filled.operations == pytest.approx(2 * full.operations, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("key, precision, multiple", [
    ("wav2vec2-large", "auto", 32), ("wav2vec2-large", "fp32", 1), ("hubert-base", "auto", 1),
])  # fmt: skip
def test_a_gpu_in_half_precision_is_planned_with_the_lengths_that_training_gives_it(key, precision, multiple):
    recipe = Recipe(precision=precision)
    work = planner._Work.of(BACKBONES[key], recipe, DEVICES["T4"], None)
    plain = planner._Work.of(BACKBONES[key], recipe, planner._device("CPU", 64), None)
    for part in ("train", "evaluation", "test"):
        rounded, exact = (np.array(getattr(one, part)) for one in (work, plain))
        assert (rounded[:, 1] == np.ceil(exact[:, 1] / multiple) * multiple).all()
    more = np.prod(work.train, axis=1).sum() / np.prod(plain.train, axis=1).sum()
    assert (1.05 < more < 1.2) if multiple > 1 else more == 1
    assert work.largest == (4, -(-plain.largest[1] // multiple) * multiple)


def test_the_longest_clip_is_planned_in_a_full_batch_whatever_the_order(spoken):
    from serlib.data.splits import stratified_split

    split = stratified_split(spoken, test_size=0.25, validation_size=0.2)
    memory = set()
    for i in range(0, len(split.train), 5):
        seconds = np.full(len(split.train), 2.0)
        seconds[i] = 9.0
        one = dataclasses.replace(split, train=split.train.assign(seconds=seconds))
        memory.add(plan(BACKBONES["hubert-base"], Recipe(batch_size=10, bucketing=False), "T4", one).memory)
    assert len(memory) == 1


def test_checkpointing_saves_memory_and_costs_time():
    plain, forgetful = (
        plan(BACKBONES["wav2vec2-large"], Recipe(gradient_checkpointing=on), "T4") for on in (False, True)
    )
    assert forgetful.memory < plain.memory and forgetful.minutes > plain.minutes
    # once more ahead through the layers, but for what comes after the last numbers that are kept
    assert forgetful.step_operations == pytest.approx(4 / 3 * plain.step_operations, rel=0.04)


@pytest.mark.slow
def test_a_prediction_calls_itself_one():
    assert "predicted" in str(plan(BACKBONES["hubert-base"], Recipe(), "T4"))
    assert "measured speed" in str(plan(backbone("hubert-base-mini"), Recipe(), "CPU"))


@pytest.mark.slow
def test_the_table_has_all_six_on_all_devices():
    table = plan_all(start("t4").recipe_for)
    assert len(table) == len(SIX) * len(DEVICES)
    assert (table["fits"] == "yes").all()
    assert np.isfinite(table.select_dtypes("number").to_numpy()).all()


def measured_memory(row, profile):
    """GB on an H100, as text; `t4` of a UniSpeech, which was not measured, has that of XLSR-53's equal shape."""
    found = json.loads((Path(__file__).parents[2] / "results" / "gpu" / "gpu_proof.json").read_text())
    key = "wav2vec2-xlsr53" if profile == "t4" and row.key.startswith("unispeech") else row.key
    return f"{found[f'size {key} {profile}']['device_gb']:.1f}"


@pytest.mark.slow
def test_the_table_of_the_book_is_measured_memory_and_the_planners_minutes_and_disk():
    page = (Path(__file__).parents[2] / "book" / "costs.md").read_text()
    for row in map(backbone, SIX):
        cells = []
        for profile, device in (("t4", "T4"), ("paper", "A100-40"), ("best", "A100-40")):
            found = plan(row, start(profile).recipe_for(row), device)
            assert found.fits
            cells.append(f"{measured_memory(row, profile)} GB, {found.minutes:.0f} min, disk {found.disk:.0f} GB")
        assert f"| {row.title} | {' | '.join(cells)} |" in page


@pytest.mark.slow
def test_the_whole_table_of_the_book_is_the_planners_but_for_the_measured_memory():
    page = (Path(__file__).parents[2] / "book" / "costs.md").read_text()
    for row, profile in itertools.product(map(backbone, SIX), ("t4", "paper", "best")):
        found = [plan(row, start(profile).recipe_for(row), device) for device in DEVICES]
        one = found[0]
        numbers = (one.parameters / 1e6, one.trainable / 1e6, one.step_operations / 1e12, one.disk)
        cells = [f"{n:.{int(i == 2)}f}" for i, n in enumerate(numbers)] + [measured_memory(row, profile)]
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
    with pytest.raises(SerlibError, match="freezes 6; plan it with frozen=0"):
        plan(BACKBONES["hubert-base"], Recipe(frozen=6), "T4")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "whisper", "d_model": 64, "encoder_layers": 2}))
    with pytest.raises(SerlibError, match="none of them"):
        plan(backbone(str(tmp_path)), Recipe(), "T4")
