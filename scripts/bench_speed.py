"""How much faster than the usual recipe, and which trick is worth what: real architectures, real clips, one run.

The usual recipe is the one of transformers' own audio-classification example: files decoded as they come, random
batches padded to their longest clip (Whisper's to 30 s), float32, whole clips. Each line below it adds one trick, and
ends with what that trick alone is worth. Every line sees the same clips, a random sample of an epoch's steps, in a
process of its own. Seconds are those of computing, of that process alone, so others on the machine count little. All
lines are measured three times, one after the other; shown are the median, and the least and the greatest of the three.
Ends with the targets that the median missed. Needs RAVDESS_DIR, and SERLIB_MODELS for Whisper.
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

from bench_real import write_checkpoint

STEPS = {"hubert-base": 7, "wav2vec2-large": 4, "whisper-tiny.en": 7}  # of 8 clips; the first is a warm-up
ROUNDS = 3
PLAIN = {"bucketing": False, "precision": "fp32", "layerdrop": None}
# name: changes to the recipe that all lines below keep; None is the usual recipe, without serlib
TRICKS = {
    "usual recipe": None,
    "+ features computed once": PLAIN,
    "+ bucketing": {"bucketing": True},
    "+ trimming": {"trim": True},
    "+ bfloat16": {"precision": "auto"},
}
# (backbone, line): clips a second and memory, as multiples of the usual recipe, at least and at most
TARGETS = {
    ("hubert-base", "+ bucketing"): (1.4, None),  # the same clips in the same precision
    ("hubert-base", "+ bfloat16"): (3.8, 0.85),
    ("hubert-base", "profile t4"): (None, 0.6),
    ("whisper-tiny.en", "frozen, features only"): (6.8, None),
}


def sample(key: str):
    """Return a split whose training clips are those of a few random steps of one epoch in buckets."""
    import numpy as np

    import serlib as ser
    from serlib.train.batches import Buckets

    split = ser.stratified_split(ser.ravdess())
    order = Buckets(split.train["seconds"], 8, seed=0)
    clips = split.train.iloc[np.unique(list(order)[: 8 * STEPS[key]])]
    few = {part: frame.groupby("emotion").head(1) for part, frame in split.parts()} | {"train": clips}
    return replace(split, **few)


def step_clock() -> type:
    """Return a Trainer callback that notes the seconds computed by the end of each step, loading of clips included."""
    import torch
    from transformers import TrainerCallback

    class Ends(TrainerCallback):
        at: list[float] = []

        def on_step_end(self, args, state, control, **_):
            self.at.append(time.process_time() / torch.get_num_threads())

    return Ends


def usual(key: str, split, folder: Path, **options) -> None:
    """Train as the example of transformers does; ``options`` are the Trainer's."""
    import soundfile
    import soxr
    import torch
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, Trainer, TrainingArguments

    import serlib as ser
    from serlib.train.backbones import weights_of

    source = weights_of(ser.backbone(key).checkpoint)
    net = AutoModelForAudioClassification.from_pretrained(source, num_labels=8, dtype=torch.float32)
    extractor = AutoFeatureExtractor.from_pretrained(source)
    if hasattr(net, "freeze_feature_encoder"):
        net.freeze_feature_encoder()

    class Files(torch.utils.data.Dataset):
        def __init__(self, rows):
            self.rows = rows

        def __len__(self):
            return len(self.rows)

        def __getitem__(self, i):
            row = self.rows.iloc[i]
            samples, rate = soundfile.read(row["path"], dtype="float32", always_2d=True)
            return soxr.resample(samples.mean(1), rate, 16_000), split.labels.index(row["emotion"])

    def collate(clips):
        padding = {} if net.config.model_type == "whisper" else {"padding": True}
        made = extractor([c[0] for c in clips], sampling_rate=16_000, return_tensors="pt", **padding)
        return {**made, "labels": torch.tensor([c[1] for c in clips])}

    here = {"dataloader_pin_memory": False, "use_cpu": True} | options
    arguments = TrainingArguments(
        output_dir=str(folder / "usual"), num_train_epochs=1, per_device_train_batch_size=4,
        gradient_accumulation_steps=2, learning_rate=1e-4, eval_strategy="epoch", save_strategy="epoch",
        load_best_model_at_end=True, label_names=["labels"], remove_unused_columns=False, report_to="none",
        disable_tqdm=True, **here,
    )  # fmt: skip
    files = {"train_dataset": Files(split.train), "eval_dataset": Files(split.validation)}
    Trainer(model=net, args=arguments, data_collator=collate, **files).train()


def measure(key: str, trick: str, folder: Path) -> None:
    """Train with the tricks up to this one, and write clips a second and peak memory as JSON."""
    try:
        import resource
    except ImportError:
        sys.exit("Memory is measured as Unix counts it: run this on Linux, on a Mac, or in WSL.")

    from transformers.trainer import DEFAULT_CALLBACKS

    import serlib as ser

    clock = step_clock()
    DEFAULT_CALLBACKS.append(clock)
    split = sample(key)
    if trick == "usual recipe":
        usual(key, split, folder)
    elif trick == "profile t4":
        recipe = ser.PROFILES["t4"].recipe
        own = ser.PROFILES["t4"].own.get(key, {})
        ser.fine_tune(ser.backbone(key), split, replace(recipe, **own, epochs=1, eval_every=1000), folder / "t4")
    else:
        changes = {}
        for name, change in TRICKS.items():
            changes |= change or {}
            if name == trick:
                break
        recipe = ser.Recipe(epochs=1, eval_every=len(split.train) // 8, **changes)
        ser.fine_tune(ser.backbone(key), split, recipe, folder / "runs")
    seconds = (clock.at[-1] - clock.at[0]) / (len(clock.at) - 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    (folder / "result.json").write_text(json.dumps({"clips": 8 / seconds, "memory": peak}), encoding="utf-8")


def extract() -> float:
    """Return how much faster the frozen track reads clips than code in the style of a feature-extraction pipeline."""
    import numpy as np
    import soundfile
    import soxr
    import torch

    import serlib as ser
    from serlib.train.probing import averages_of, frozen_encoder

    clips = ser.ravdess().iloc[::60]
    backbone = ser.backbone("whisper-tiny.en")
    recipe = ser.PROFILES["laptop"].probe
    net, extractor = frozen_encoder(backbone, recipe)
    begin = time.process_time()
    for path in clips["path"]:  # one file after the other, decoded as it comes, padded to 30 s
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        mels = extractor(soxr.resample(samples.mean(1), rate, 16_000), sampling_rate=16_000, return_tensors="pt")
        with torch.inference_mode():
            states = net.encoder(mels.input_features, output_hidden_states=True).hidden_states
        np.concatenate([np.concatenate([layer.mean(1), layer.std(1)]) for layer in states])
    usual = time.process_time() - begin
    begin = time.process_time()
    averages_of((net, extractor), list(ser.clips(clips).values()), recipe)
    ours = time.process_time() - begin
    return usual / ours


def measured(key: str, line: str, environment: dict[str, str]) -> dict[str, float]:
    """Return what one line came to, in a process and a folder of its own: a finished run would be loaded again."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--measure", key, line, folder]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8")
        if done.returncode:
            sys.exit(done.stderr)
        return json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))


def spread(ratios: list[float]) -> str:
    """Return the median of some ratios and, in brackets, from where to where they go."""
    return f"x {median(ratios):4.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def missed(key: str, line: str, speed: float, memory: float = 0.0) -> list[str]:
    """Return a sentence for each target of a line that was missed."""
    least, most = TARGETS.get((key, line), (None, None))
    found = [f"{key}, {line}: x {speed:.2f} clips/s, target {least}"] if least and speed < least else []
    return found + ([f"{key}, {line}: x {memory:.2f} of the memory, target {most}"] if most and memory > most else [])


def main() -> None:
    if not os.environ.get("RAVDESS_DIR"):
        print("How much faster than the usual recipe: not measured, RAVDESS_DIR is not set.")
        return
    faults = []
    for key in sys.argv[1:] or STEPS:
        with tempfile.TemporaryDirectory() as home:
            environment = os.environ | {"SERLIB_HOME": home, "PYTHONPATH": str(Path(__file__).parents[1])}
            if key != "whisper-tiny.en":
                import serlib as ser

                shelf = Path(home) / "models" / ser.backbone(key).checkpoint
                subprocess.run([sys.executable, __file__, "--write", key, str(shelf)], env=environment, check=True)
                environment["SERLIB_MODELS"] = str(shelf.parents[1])
            elif not os.environ.get("SERLIB_MODELS"):
                print("Whisper tiny.en: not measured, SERLIB_MODELS is not set.")
                continue
            lines = (*TRICKS, "profile t4")
            rounds = []
            for number in range(1, ROUNDS + 1):
                rounds.append([measured(key, line, environment) for line in lines])
                print(f"{key}: measured {number} of {ROUNDS} times", flush=True)
            for number, line in enumerate(lines):
                found = [row[number] for row in rounds]
                speed, memory = ([row[number][what] / row[0][what] for row in rounds] for what in ("clips", "memory"))
                alone = [row[number]["clips"] / row[max(number - 1, 0)]["clips"] for row in rounds]
                print(
                    f"{key:<16} {line:<25} {median(one['clips'] for one in found):6.2f} clips/s  {spread(speed)}   "
                    f"{median(one['memory'] for one in found):5.2f} GB  {spread(memory)}"
                    + (f"   alone {spread(alone)}" if line.startswith("+") else ""),
                    flush=True,
                )
                faults += missed(key, line, median(speed), median(memory))
    if os.environ.get("SERLIB_MODELS"):
        speed = [extract() for _ in range(ROUNDS)]
        print(f"whisper-tiny.en  frozen, features only     {spread(speed)} clips/s of a feature-extraction pipeline")
        faults += missed("whisper-tiny.en", "frozen, features only", median(speed))
    sys.exit("\n".join(["Missed:", *faults]) if faults else None)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write_checkpoint(sys.argv[2], Path(sys.argv[3]))
    elif sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    else:
        main()
