"""What only a GPU can show, each line once: `python scripts/gpu_proof.py OUT` (--smoke tries all of it on a CPU first).

Five parts: the six at real size with random weights, the usual recipe beside them, tricks tried one at a time, what a
training survives, and Whisper's encoders fine-tuned on RAVDESS with three seeds. Every line runs in a process of its
own and leaves OUT/lines/<line>.json, so what was stopped goes on where it was; OUT/gpu_proof.json holds them all, and
OUT/runs the finished runs. Needs RAVDESS_DIR, SERLIB_MODELS for Whisper, no network, and for the six 7 GB below TMPDIR
(/dev/shm is fastest). --table prints what OUT/gpu_proof.json says of the six; results/gpu has what an H100 measured.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from statistics import median

if __name__ == "__main__":
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # asking for a GPU must not start CUDA before the fork
    os.environ["HF_HUB_OFFLINE"] = "1"

import pandas as pd
import torch
from bench_real import write_checkpoint
from transformers import TrainerCallback
from transformers.trainer import DEFAULT_CALLBACKS

import serlib as ser
from serlib.data.splits import Split
from serlib.files import atomic_path
from serlib.train import batches, finetuning
from serlib.train.backbones import SIX
from serlib.train.run import Runs

FORK = multiprocessing.get_context(
    "fork" if hasattr(os, "fork") else None
)  # the libraries are loaded once, and CUDA starts anew in each line
CARD = 15e9  # bytes of memory of the card that profile t4 is for
STEPS = 12  # of 8 clips; the first third is not counted
SEEDS = (101, 102, 103)
PARTS = ("weights", "sizes", "usual", "tricks", "survives", "prepare", "whisper")
WHISPERS = ("whisper-tiny.en", "whisper-base")
PAPER, BEST, T4 = (ser.PROFILES[name].recipe for name in ("paper", "best", "t4"))


@dataclass(frozen=True)
class Line:
    """One measurement: its name, what makes its numbers, the seconds after which it is given up."""

    name: str
    work: Callable[[], dict]
    limit: float = 120


class Enough(Exception):
    """As many steps were seen as were wanted."""


class Clock(TrainerCallback):
    """Notes when each step ends, once the GPU has done it, and stops the training after ``steps`` of them."""

    def __init__(self, steps: int):
        self.steps, self.ends, self.clips_at_once = steps, [], 0

    def on_train_begin(self, args, state, control, **_):
        self.ends, self.clips_at_once = [], args.per_device_train_batch_size  # again where memory was not enough

    def on_step_end(self, args, state, control, **_):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())
        if len(self.ends) == self.steps:
            raise Enough


def measured(train: Callable[[], object], smoke: bool, steps: int = STEPS) -> dict:
    """Return seconds a step, clips a second and peak memory in GB of a training's first steps."""
    clock = Clock(3 if smoke else steps)
    DEFAULT_CALLBACKS.append(clock)
    try:
        train()
    except Enough:
        pass
    ends = clock.ends[0 if smoke else steps // 3 - 1 :]
    seconds = median(later - sooner for sooner, later in zip(ends, ends[1:], strict=False))
    steps = [round(later - sooner, 4) for sooner, later in zip(clock.ends, clock.ends[1:], strict=False)]
    found = {
        "steps": steps,
        "seconds_a_step": seconds,
        "clips_a_second": 8 / seconds,
        "clips_at_once": clock.clips_at_once,
    }
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        found |= {
            "allocated_gb": torch.cuda.max_memory_allocated() / 1e9,
            "reserved_gb": torch.cuda.max_memory_reserved() / 1e9,
            "device_gb": (total - free) / 1e9,  # with what CUDA itself takes
        }
    return found


@cache
def corpus() -> pd.DataFrame:
    return ser.ravdess()


def sample(smoke: bool) -> Split:
    """Return a split of few clips whose lengths are those of all: of each emotion every n-th, the longest first."""
    split, steps = ser.stratified_split(corpus()), 3 if smoke else STEPS
    few = {part: frame.groupby("emotion").head(1) for part, frame in split.parts()}
    by_length = split.train.sort_values("seconds", ascending=False)
    spread = [frame.iloc[:: len(frame) // steps].head(steps) for _, frame in by_length.groupby("emotion")]
    return replace(split, **(few | {"train": by_length.loc[pd.concat(spread).index]}))


# --- The six at real size, and the usual recipe beside them ----------------------------------------------------


def shelf() -> Path:
    """Return the folder of the six checkpoints, large and of no use later."""
    return Path(tempfile.gettempdir()) / "gpu_proof_models"


def write(key: str, smoke: bool) -> dict:
    """Write one of the six with random weights as the hub holds it."""
    folder = shelf() / ser.backbone(key).checkpoint
    if not folder.is_dir():
        with atomic_path(folder, folder=True) as fresh:
            fresh.rmdir()
            write_checkpoint(key, fresh, tiny=smoke)
    return {"gigabytes": sum(file.stat().st_size for file in folder.iterdir()) / 1e9}


def recipes(key: str) -> dict[str, tuple[ser.Recipe, str | None]]:
    """Return what each of the six is trained with: a recipe and the half precision that is forced on it."""
    own = ser.PROFILES["best"].own.get(key, {})
    mixed = replace(PAPER, precision="auto")
    return {
        "paper": (PAPER, None),
        "paper-bf16": (mixed, "bf16"),
        "paper-fp16": (mixed, "fp16"),
        "best": (replace(BEST, **own), None),
        "t4": (T4, "fp16"),
    }


def size(key: str, name: str, smoke: bool) -> dict:
    """Train one of the six for a few steps by one recipe, and hold the planner against it."""
    os.environ["SERLIB_MODELS"] = str(shelf())
    recipe, half = recipes(key)[name]
    if half and torch.cuda.is_available():
        finetuning.half_precision = lambda: half
    if name == "t4" and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(CARD / torch.cuda.get_device_properties(0).total_memory)
    recipe, few = replace(recipe, epochs=1, eval_every=1000), sample(smoke)
    predicted = ser.plan(ser.backbone(key), recipe, "H100" if smoke else "here", few)
    with tempfile.TemporaryDirectory() as folder:
        found = measured(lambda: ser.fine_tune(ser.backbone(key), few, recipe, folder), smoke)
    return found | {"predicted_gb": predicted.memory, "predicted_seconds_a_step": predicted.step_seconds}


def usual(key: str, half: str | None, smoke: bool) -> dict:
    """Train as the audio-classification example of transformers does, on the same clips."""
    import bench_speed

    os.environ["SERLIB_MODELS"] = str(shelf())
    options = {f"{half}": True} if half and torch.cuda.is_available() else {}
    if torch.cuda.is_available():
        options |= {"use_cpu": False, "dataloader_pin_memory": True, "dataloader_num_workers": 4}
    with tempfile.TemporaryDirectory() as folder:
        return measured(lambda: bench_speed.usual(key, sample(smoke), Path(folder), **options), smoke)


# --- Tricks, one at a time ---------------------------------------------------------------------------------------


def trick(name: str, smoke: bool) -> dict:
    """Train wav2vec 2.0 large with profile best and one trick, or by another profile and one."""
    os.environ["SERLIB_MODELS"] = str(shelf())
    plain = finetuning.learner_of

    def changed(work):
        learner = plain(work)
        if "compiled" in name:
            learner.model.compile(dynamic=True, backend="eager" if smoke else "inductor")
        if "eager attention" in name:
            learner.model.set_attn_implementation("eager")
        if "float32 convolution" in name:
            for module in learner.model.modules():
                if type(module).__name__.endswith("PositionalConvEmbedding"):
                    module.forward = partial(in_full, module.forward)
        return learner

    finetuning.learner_of = changed
    if "any length" in name:
        batches.GRID = 1
    if "fused optimizer" in name:
        torch.optim.AdamW = partial(torch.optim.AdamW, fused=True)
    if "tf32" in name:
        torch.backends.cuda.matmul.allow_tf32 = True
    profile = {"paper": PAPER, "t4": T4}.get(name.split(",")[0], BEST)
    recipe = replace(profile, epochs=2, eval_every=1000)
    with tempfile.TemporaryDirectory() as folder:
        few = sample(smoke)
        backbone = ser.backbone("wav2vec2-large")
        return measured(lambda: ser.fine_tune(backbone, few, recipe, folder), smoke, 2 * STEPS)


def in_full(forward: Callable, hidden: torch.Tensor) -> torch.Tensor:
    """Do one module in float32 in the middle of mixed precision."""
    with torch.autocast(hidden.device.type, enabled=False):
        return forward(hidden.float())


# --- What a training survives ------------------------------------------------------------------------------------


def killed(smoke: bool) -> dict:
    """Kill a training after its second checkpoint, run it again, and compare with an undisturbed one."""
    whisper, few = ser.backbone(WHISPERS[0]), sample(smoke)
    recipe = whisper_recipe(SEEDS[0], epochs=4, eval_every=3 if smoke else STEPS)
    with tempfile.TemporaryDirectory() as home:
        folders = [Path(home) / name for name in ("killed", "undisturbed")]
        jobs = [FORK.Process(target=ser.fine_tune, args=(whisper, few, recipe, folder)) for folder in folders]
        jobs[0].start()
        while jobs[0].is_alive() and len(list(folders[0].glob("*/*/trainer/checkpoint-*/trainer_state.json"))) < 2:
            time.sleep(0.01)
        jobs[0].kill()
        jobs[0].join()
        left = len(list(folders[0].glob("*/*/run.json")))
        jobs[1].start()
        jobs[1].join()
        again = ser.fine_tune(whisper, few, recipe, folders[0])
        whole = ser.load_run(next(folders[1].glob("*/*")))
    both = [run.predictions.set_index(["part", "clip"]).filter(like="p_") for run in (again, whole)]
    return {
        "finished_before_the_kill": bool(left),
        "largest_difference_of_a_probability": float((both[0] - both[1]).abs().max().max()),
        "same_history": bool(again.history.equals(whole.history)),
    }


def too_large(smoke: bool) -> dict:
    """Train HuBERT base by a step that the memory does not hold at once, to the end."""
    os.environ["SERLIB_MODELS"] = str(shelf())
    recipe = replace(PAPER, epochs=1, batch_size=32, accumulation=1, eval_every=1000)
    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(6e9 / torch.cuda.get_device_properties(0).total_memory)
    with tempfile.TemporaryDirectory() as folder:
        run = ser.fine_tune(ser.backbone("hubert-base"), sample(smoke), recipe, folder)
    return {"clips_at_once": run.info["clips_at_once"], "asked": 32, "allocated_gb": run.info["peak_memory_mb"] / 1e3}


# --- Whisper on real voices --------------------------------------------------------------------------------------


def whisper_recipe(seed: int, **changes) -> ser.Recipe:
    """Return profile best for Whisper, which has no SpecAugment in its classifier; its steps fit at once."""
    return replace(BEST, masking=None, batch_size=8, accumulation=1, seed=seed, **changes)


def splits(smoke: bool) -> dict[str, Split]:
    if smoke:
        return {"stratified": sample(smoke)}
    folds = [ser.stratified_split(corpus()), *ser.actor_folds(corpus(), "luna-jimenez")]
    return {split.name: split for split in folds}


def whisper(key: str, split: str, seed: int, out: Path, smoke: bool) -> dict:
    """Fine-tune one of Whisper's encoders; predictions, history and record stay, its weights do not."""
    recipe = whisper_recipe(seed, **({"epochs": 1, "eval_every": 2} if smoke else {}))
    runs = Runs(out / "runs" / "gpu", "gpu")
    run = ser.fine_tune(ser.backbone(key), splits(smoke)[split], recipe, runs, name=f"{key}-seed{seed}")
    shutil.rmtree(run.folder / "checkpoint", ignore_errors=True)
    return {"validation": float(run.history["eval_accuracy"].max()), "seconds": run.info["seconds"]}


def prepare(key: str, smoke: bool) -> dict:
    """Decode the corpus and keep what Whisper is fed, so that many trainings at once find it."""
    split = next(iter(splits(smoke).values()))
    with tempfile.TemporaryDirectory() as folder:
        recipe = whisper_recipe(SEEDS[0])
        return measured(lambda: ser.fine_tune(ser.backbone(key), split, recipe, folder), smoke)


def voices(out: Path, smoke: bool) -> list[Line]:
    """Return the lines of Whisper's trainings, one seed on every split before the next."""
    return [
        Line(f"whisper {split} {key} {seed}", partial(whisper, key, split, seed, out, smoke), 600)
        for seed in (SEEDS[:2] if smoke else SEEDS)
        for key in (WHISPERS[:1] if smoke else reversed(WHISPERS))
        for split in splits(smoke)
    ]


# --- Running the lines -------------------------------------------------------------------------------------------


def stages(out: Path, smoke: bool) -> Iterator[tuple[str, int, list[Line]]]:
    """Yield each part: its name, how many lines run at once, and its lines."""
    six = ("hubert-base", "wav2vec2-large") if smoke else SIX
    many = max(2, (os.cpu_count() or 1) * 3 // 4)
    yield "weights", len(six), [Line(f"write {key}", partial(write, key, smoke)) for key in six]
    # what matters most comes first, for the time may run out
    order = ("best", "t4") if smoke else ("best", "paper", "t4", "paper-bf16", "paper-fp16")
    yield "sizes", 1, [Line(f"size {key} {name}", partial(size, key, name, smoke)) for name in order for key in six]
    pairs = [(key, half) for key in ("wav2vec2-large", "hubert-base") for half in ("fp16", None)]
    yield "usual", 1, [Line(f"usual {key} {half or 'fp32'}", partial(usual, key, half, smoke)) for key, half in pairs]
    tricks = [
        "nothing",
        "float32 convolution",
        "any length",
        "any length, float32 convolution",
        "t4",
        "t4, float32 convolution",
    ]
    tricks += ["fused optimizer", "paper", "paper, tf32", "eager attention", "compiled"]
    yield "tricks", 1, [Line(f"trick {name}", partial(trick, name, smoke)) for name in tricks]
    yield "survives", 1, [Line("killed", partial(killed, smoke), 240), Line("too large", partial(too_large, smoke))]
    keys = WHISPERS[:1] if smoke else WHISPERS
    yield "prepare", len(keys), [Line(f"prepare {key}", partial(prepare, key, smoke)) for key in keys]
    yield "whisper", many, voices(out, smoke)


def results(out: Path) -> dict[str, dict]:
    """Return what the lines have left so far."""
    files = sorted((out / "lines").glob("*.json"))
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


def run_line(line: Line, out: Path) -> None:
    """Do one line and write its numbers, or what stopped it; what it prints goes into a log."""
    with (out / "logs" / f"{line.name}.log").open("w", encoding="utf-8") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
        try:
            found = line.work()
        except Exception as error:  # a line that fails is a finding, and must not stop the others
            traceback.print_exc(file=log)
            found = {"error": f"{type(error).__name__}: {error}"[:500]}
        with atomic_path(out / "lines" / f"{line.name}.json") as fresh:
            fresh.write_text(json.dumps(found), encoding="utf-8")


def run_lines(lines: list[Line], at_once: int, out: Path, until: float) -> None:
    """Run the lines that have no numbers yet, some at once, each in a process; none begins after ``until``."""
    # what lies in TMPDIR is not there on another machine, and finding that it is takes no time
    again = ("card", "write", "prepare")
    done = {name for name, found in results(out).items() if "error" not in found and name.split()[0] not in again}
    waiting = [line for line in lines if line.name not in done]
    running: list[tuple[Line, multiprocessing.Process, float]] = []
    while waiting or running:
        if waiting and time.time() > until:
            print(f"out of time, left for the next call: {', '.join(line.name for line in waiting)}", flush=True)
            waiting = []
        while waiting and len(running) < at_once:
            line = waiting.pop(0)
            job = FORK.Process(target=run_line, args=(line, out))
            job.start()
            running.append((line, job, time.time()))
        for line, job, start in list(running):
            if job.is_alive() and time.time() - start > line.limit:
                job.kill()
            if not job.is_alive():
                job.join()
                running.remove((line, job, start))
                found = results(out).get(line.name, {"error": f"ended with {job.exitcode}, no numbers"})
                short = {
                    name: round(value, 3) if isinstance(value, float) else value
                    for name, value in found.items()
                    if name != "steps"
                }
                print(f"{time.time() - start:6.1f} s  {line.name}: {short}", flush=True)
        time.sleep(0.02)


def table(found: dict[str, dict]) -> str:
    """Return the six at real size in Markdown: memory, and seconds where they are those of later steps too."""
    rows = ["| Backbone, recipe | Memory: predicted, measured | A step: predicted, measured |", "|---|---|---|"]
    for key, name in product(SIX, ("paper", "best", "t4")):
        line = found.get(f"size {key} {name}", {})
        if "device_gb" in line:
            memory = f"{line['predicted_gb']:.1f} GB, {line['device_gb']:.1f} GB"
            step = (
                f"{line['predicted_seconds_a_step']:.2f} s, {line['seconds_a_step']:.2f} s" if name == "paper" else ""
            )
            rows.append(f"| {ser.backbone(key).title}, `{name}` | {memory} | {step} |")
    return "\n".join(rows)


def card() -> dict:
    """Return what the machine is; asked in a process of its own."""
    gpu = torch.cuda.is_available()
    return {
        "card": torch.cuda.get_device_name() if gpu else f"CPU, {os.cpu_count()} cores",
        "memory_gb": torch.cuda.get_device_properties(0).total_memory / 1e9 if gpu else 0.0,
        "cores": os.cpu_count(),
        "cuda": torch.version.cuda,
        **{name: sys.modules[name].__version__ for name in ("torch", "transformers")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--smoke", action="store_true", help="tiny networks and few clips, on a CPU: two minutes")
    parser.add_argument("--part", nargs="+", choices=PARTS, help="some of the parts; all without it")
    parser.add_argument("--minutes", type=float, default=8, help="begin nothing later; a new call goes on")
    parser.add_argument("--table", action="store_true", help="print the six of OUT/gpu_proof.json in Markdown")
    args = parser.parse_args()
    if args.table:
        print(table(json.loads((args.out / "gpu_proof.json").read_text(encoding="utf-8"))))
        return
    if not hasattr(os, "fork"):
        sys.exit("The proof forks its lines, which Windows cannot: run it on Linux, or in WSL.")
    if not os.environ.get("RAVDESS_DIR"):
        sys.exit("The proof trains on real clips: set RAVDESS_DIR to the folder of RAVDESS.")
    if not os.environ.get("SERLIB_MODELS"):
        sys.exit(f"The proof trains {' and '.join(WHISPERS)}: set SERLIB_MODELS to the folder that holds them.")
    until = time.time() + 60 * args.minutes
    for name in ("lines", "logs"):
        (args.out / name).mkdir(parents=True, exist_ok=True)
    os.environ["SERLIB_CACHE"] = str(Path(tempfile.gettempdir()) / "gpu_proof_cache")
    corpus()
    run_lines([Line("card", card)], 1, args.out, until)
    for part, at_once, lines in stages(args.out, args.smoke):
        if args.part is None or part in args.part:
            # threads that wait for each other on busy cores take longer than one that waits for none
            torch.set_num_threads(1 if args.smoke else max(1, (os.cpu_count() or 1) // at_once))
            run_lines(lines, at_once, args.out, until)
        with atomic_path(args.out / "gpu_proof.json") as fresh:
            fresh.write_text(json.dumps(results(args.out), indent=1) + "\n", encoding="utf-8")
    failed = [name for name, found in results(args.out).items() if "error" in found]
    sys.exit(f"without numbers: {', '.join(failed)} (see {args.out}/logs)" if failed else None)


if __name__ == "__main__":
    main()
