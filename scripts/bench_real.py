"""Fine-tune the real architectures at real size for a few steps on real clips, and hold the planner against the clock.

The weights are random, written from each checkpoint's config in the hub's folder layout, some in its older dialects:
a .bin file, float16, weight-norm names of before 2023. Needs RAVDESS_DIR, and 20 GiB of memory for the x-large. One of
each size is run unless others are named: python scripts/bench_real.py unispeech-large wav2vec2-xlsr53
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

# key: file name, half precision, weights below a task's model, recipe of the profile, changes to it, clips an emotion
_FEW = {"batch_size": 2, "accumulation": 1, "trim": True}
CASES = {
    "hubert-base": ("pytorch_model.bin", False, False, "paper", {"bucketing": True}, 3),
    "wav2vec2-large": ("model.safetensors", True, True, "t4", _FEW, 1),
    "wav2vec2-xlsr53": ("pytorch_model.bin", False, False, "best", {"batch_size": 4, "accumulation": 1}, 2),
    "unispeech-large": ("model.safetensors", False, False, "t4", {"batch_size": 4, "accumulation": 1}, 2),
    "unispeech-multilingual": ("pytorch_model.bin", True, False, "paper", {"batch_size": 1, "accumulation": 2}, 1),
    "hubert-xlarge": ("model.safetensors", True, True, "t4", _FEW, 1),
}
WITHIN = {"memory": 0.15, "seconds": 0.30}
MEMORY = 20 * 1.074  # GB that any of the six may take with the recipe named above


def write_checkpoint(key: str, folder: Path, tiny: bool = False) -> None:
    """Write random weights of one of the six into folder as the hub would hold them, or of a tiny network like it."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModel, AutoModelForCTC, Wav2Vec2FeatureExtractor

    import serlib as ser

    row = ser.backbone(key)
    name, half, task, *_ = CASES[key]
    hidden, channels = (48, 32) if tiny else (row.hidden, 512)
    config = AutoConfig.for_model(
        row.family,
        hidden_size=hidden,
        num_hidden_layers=2 if tiny else row.layers,
        conv_dim=[channels] * 7,
        intermediate_size=4 * hidden,
        num_attention_heads=16 if row.layers > 12 else 12,
        feat_extract_norm="layer" if row.needs_mask else "group",
        do_stable_layer_norm=row.needs_mask,
        conv_bias=row.needs_mask,
    )
    with torch.device("meta"):
        net = (AutoModelForCTC if task else AutoModel).from_config(config)
    torch.manual_seed(0)
    weights = {}
    for part, shape in ((part, tensor.shape) for part, tensor in net.state_dict().items()):
        old = part.replace("parametrizations.weight.original0", "weight_g")
        old = old.replace("parametrizations.weight.original1", "weight_v")
        values = torch.empty(shape)
        if "norm" in part:
            values.fill_(float(part.endswith("weight")))
        else:
            values.normal_(std=0.02).add_(float("original0" in part))
        weights[old] = values.half() if half else values  # drawn in float32: in float16 it takes ten times as long
    folder.mkdir(parents=True)
    config.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=row.needs_mask).save_pretrained(folder)
    if name.endswith(".bin"):
        torch.save(weights, folder / name)
    else:
        save_file(weights, folder / name, {"format": "pt"})


def train(key: str, folder: Path) -> None:
    """Fine-tune through the path of the notebooks, and print measured and predicted memory and seconds as JSON."""
    import torch
    from transformers import TrainerCallback
    from transformers.trainer import DEFAULT_CALLBACKS

    import serlib as ser

    class Clock(TrainerCallback):
        """Seconds of computing a step, of this process alone: others on the machine do not count."""

        steps = []

        def on_step_begin(self, args, state, control, **_):
            self.begin = time.process_time()

        def on_step_end(self, args, state, control, **_):
            self.steps.append((time.process_time() - self.begin) / torch.get_num_threads())

    *_, profile, changes, each = CASES[key]
    lesson = ser.start(profile)
    row = lesson.backbone(key)
    corpus = ser.ravdess()
    split = ser.stratified_split(corpus)
    sizes = {"train": each, "validation": 1, "test": 1}
    few = replace(split, **{part: frame.groupby("emotion").head(sizes[part]) for part, frame in split.parts()})
    steps = len(few.train) // (changes.get("batch_size", 4) * changes.get("accumulation", 2))
    recipe = replace(lesson.recipe_for(row), epochs=1, eval_every=steps, **changes)
    predicted = ser.plan(row, recipe, "CPU", few)
    DEFAULT_CALLBACKS.append(Clock)
    run = ser.fine_tune(row, few, recipe, folder / "runs")
    measured = {"memory": run.info["peak_memory_mb"] / 1000, "seconds": median(Clock.steps[1:] or Clock.steps)}
    expected = {"memory": predicted.memory, "seconds": predicted.step_seconds}
    result = {"measured": measured, "predicted": expected}
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


def main() -> None:
    if not os.environ.get("RAVDESS_DIR"):
        sys.exit("make bench-real trains on real clips: set RAVDESS_DIR to the folder of RAVDESS.")
    missed = 0
    for key in sys.argv[1:] or ["hubert-base", "wav2vec2-large", "hubert-xlarge"]:
        with tempfile.TemporaryDirectory() as home:
            import serlib as ser

            shelf = Path(home) / "models" / ser.backbone(key).checkpoint
            environment = os.environ | {"SERLIB_MODELS": str(shelf.parents[1]), "SERLIB_HOME": home}
            environment["PYTHONPATH"] = str(Path(__file__).parents[1])
            for step in ("write", "train"):  # each in a process of its own: peak memory is a process's
                command = [sys.executable, __file__, f"--{step}", key, str(shelf if step == "write" else home)]
                subprocess.run(command, env=environment, check=True)
            result = json.loads((Path(home) / "result.json").read_text(encoding="utf-8"))
        for what, unit in (("memory", "GB"), ("seconds", "s a step")):
            got, said = result["measured"][what], result["predicted"][what]
            off = said / got - 1
            missed += abs(off) > WITHIN[what] or (what == "memory" and got > MEMORY)
            print(f"{key:<16} {what:<8} measured {got:7.2f}, predicted {said:7.2f} {unit:<9} {off:+.0%}", flush=True)
    lesson = ser.start("t4")
    print("Predicted for the profile t4:")
    print(ser.plan_all(lesson.recipe_for).round(1).to_string())
    sys.exit(f"{missed} lines were off by more than {WITHIN}, or over {MEMORY:.0f} GB" if missed else None)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write_checkpoint(sys.argv[2], Path(sys.argv[3]))
    elif sys.argv[1:2] == ["--train"]:
        train(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
