"""From a backbone and a split to a Run: fine-tuning with the Hugging Face Trainer, or a probe of a frozen encoder.

Notebooks 02 (probe) and 03 to 08 (fine-tuning). A Run is a folder; it is finished when ``run.json`` is there.
"""

import hashlib
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd

from serlib.data import audio
from serlib.data.splits import Split
from serlib.errors import SerlibError
from serlib.files import atomic_path, sweep
from serlib.judge import predictions
from serlib.judge.metrics import accuracy, unweighted_average_recall
from serlib.train.backbones import Backbone
from serlib.train.recipes import Recipe, Result, Work, softmax_of, weights_name

SHORTEST = 0.1  # seconds; below 400 samples the convolutions fail, below 10 frames there is nothing to hear


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """One trained model on one split: its folder, predictions, history and facts (``info``, what run.json holds)."""

    folder: Path
    predictions: pd.DataFrame
    history: pd.DataFrame
    info: dict

    @property
    def name(self) -> str:
        """The title of the backbone, for tables and figures."""
        return self.info["title"]

    def push_to_hub(self, repo: str, private: bool = True) -> str:
        """Upload the checkpoint with its model card and record to the Hugging Face hub and return its address (12)."""
        from serlib.train import sharing

        return sharing.push_to_hub(self, repo, private)

    def __repr__(self) -> str:
        return (
            f"{self.name} on {self.info['corpus']}, split {self.info['split']}: "
            f"test accuracy {accuracy(self):.1%}, UAR {unweighted_average_recall(self):.1%}, "
            f"{self.info['seconds']:.0f} s of training"
        )


def load_run(folder: Path | str) -> Run:
    """Load a finished run. Raises SerlibError where there is none, or a damaged one."""
    folder = Path(folder)
    try:
        info = json.loads((folder / "run.json").read_text())
        history = pd.read_csv(folder / "history.csv")
    except FileNotFoundError as error:
        raise SerlibError(
            f"There is no finished run in {folder.parent.parent.name}/{folder.parent.name}/{folder.name}; "
            "run the notebook that trains it first."
        ) from error
    except (ValueError, pd.errors.EmptyDataError) as error:
        raise SerlibError(f"The run in {folder} is damaged ({error}); delete the folder and train again.") from error
    return Run(folder, predictions.read(folder / "predictions.csv"), history, info)


def fine_tune(backbone: Backbone, split: Split, recipe: Recipe, folder: Path | str, tracker: str | None = None) -> Run:
    """Train a backbone on a split and return the Run in ``folder/<split>/<backbone>[-frozen][-random]``.

    A finished run of the same recipe is loaded, a half-finished one resumed from its last checkpoint; one of another
    recipe is set aside as ``<backbone>.before``. The best step is the one of highest validation accuracy, the earliest
    of equals (of a frozen encoder: the regularization of lowest held-out loss); test is predicted once, with it.
    A training that stays at chance is said so, and marked in ``info["at_chance"]``. On several processes, started by
    ``accelerate launch -m serlib``, a step has as many clips as on one (the same, if the recipe buckets). ``tracker``
    is "tensorboard" or "wandb".

    Resuming is exact: a run that was killed, at whatever moment, and run again has the predictions of an undisturbed
    one, bit for bit on a CPU. Where it is not: a GPU adds in varying order, and so does a batch that had to be halved.
    Several processes show another ``eval_loss`` in its last digits, because it is averaged over their batches.

    Raises SerlibError for weights that cannot be found, clips that cannot be read or are shorter than 0.1 s, training
    that diverged, memory that is not enough for one clip, a GPU that is gone and a full disk.
    """
    from serlib.train import finetuning, probing

    if recipe.freeze == "all":  # a folder of its own: the same backbone may be fine-tuned too
        backbone = replace(backbone, key=f"{backbone.key}-frozen", title=f"{backbone.title}, frozen")
    if not recipe.pretrained:
        backbone = replace(backbone, key=f"{backbone.key}-random", title=f"{backbone.title}, not pre-trained")
    together = finetuning.processes()
    target = Path(folder) / split.name / backbone.key
    request = _request(backbone, split, recipe)
    if (target / "run.json").is_file():
        run = load_run(target)
        if run.info["request"] == request:
            if together.is_main_process:
                _tidy(target)
            together.print(f"{backbone.title}: this run was finished before, so it is loaded from its folder.")
            return run
    _check_clips(split)
    start = time.time()
    with together.main_process_first():
        if together.is_main_process:
            _set_aside(target, request)
    work = Work(backbone, split, recipe, target)
    if recipe.freeze == "cnn":
        result = finetuning.fine_tune(work, tracker)
    else:
        result = probing.probe(work) if together.is_main_process else None
    if together.is_main_process:
        _write(work, request, result, start)
    together.wait_for_everyone()
    run = load_run(target)
    together.print(run)
    return run


def _write(work: Work, request: str, result: Result, start: float) -> None:
    """Make the folder of a finished run out of a training's result, run.json last."""
    backbone, split, recipe, target = work.backbone, work.split, work.recipe, work.target
    with atomic_path(target / "checkpoint", folder=True) as fresh:
        result.save(fresh)
    predictions.write(result.predictions, target / "predictions.csv")
    with atomic_path(target / "history.csv") as fresh:
        result.history.to_csv(fresh, index=False)
    info = {
        "backbone": backbone.key,
        "title": backbone.title,
        "checkpoint": backbone.checkpoint,
        "weights": weights_name(backbone, recipe),
        "profile": target.parent.parent.name,
        "corpus": split.attrs["name"],
        "synthetic": split.attrs["synthetic"],
        "split": split.name,
        "clips": {part: len(frame) for part, frame in split.parts()},
        "labels": list(split.labels),
        "recipe": asdict(recipe),
        "seed": recipe.seed,
        **result.info,
        "seconds": round(time.time() - start, 1),
        "peak_memory_mb": _peak_memory(),
        "disk_mb": round(sum(f.stat().st_size for f in (target / "checkpoint").rglob("*")) / 1e6, 2),
        "hardware": _hardware(),
        "versions": _versions(),
        "git_commit": _git_commit(),
        "request": request,
    }
    with atomic_path(target / "run.json") as fresh:  # last: a folder with run.json is a finished run
        fresh.write_text(json.dumps(info, indent=1) + "\n")
    _tidy(target)


def _tidy(target: Path) -> None:
    """Remove from a finished run what only its training needed, and what a kill left half written."""
    sweep(target)
    shutil.rmtree(target / "trainer", ignore_errors=True)
    (target / "started.json").unlink(missing_ok=True)


def classify(run: Run, paths: list[Path | str]) -> pd.DataFrame:
    """Return the probability of each emotion for sound files of any rate: one row a file, one column a label.

    Raises SerlibError for files that cannot be read, and for a run whose checkpoint is not on this machine (runs in
    results/ keep their predictions only).
    """
    from transformers import AutoFeatureExtractor

    from serlib.train import model as models
    from serlib.train import probing

    checkpoint = run.folder / "checkpoint"
    if not checkpoint.is_dir():
        raise SerlibError(f"The run of {run.name} holds predictions but no checkpoint; run its notebook to train one.")
    recipe = Recipe(**run.info["recipe"])
    cut = audio.trim if recipe.trim else (lambda samples: samples)
    sounds = [cut(audio.read(path)) for path in paths]
    for path, samples in zip(paths, sounds, strict=True):
        if len(samples) < SHORTEST * audio.RATE:
            raise SerlibError(f"{Path(path).name} has less than {SHORTEST} s of sound; record a little more.")
    model, extractor = models.load_trained(checkpoint), AutoFeatureExtractor.from_pretrained(checkpoint)
    if recipe.freeze == "all":
        features = probing.averages_of((model, extractor), sounds, recipe)
        head = probing.Logistic if recipe.head == "logistic" else probing.KernelRidge
        table = head.read(checkpoint / "probe.npz").probabilities(features)
    else:
        table = softmax_of(np.stack([_logits(model, extractor, samples) for samples in sounds]))
    return pd.DataFrame(table, index=[Path(path).stem for path in paths], columns=run.info["labels"])


def _logits(model, extractor, samples: np.ndarray) -> np.ndarray:
    import torch

    values = extractor(np.array(samples), sampling_rate=audio.RATE, return_tensors="pt")[model.main_input_name]
    with torch.inference_mode():
        return model(values).logits[0].numpy()


# --- what a run asks for, and what is there already -------------------------------------------------------------


def _request(backbone: Backbone, split: Split, recipe: Recipe) -> str:
    """Return a fingerprint of all that a run depends on."""
    parts = [(part, frame[["emotion", "seconds"]].round(4).to_csv()) for part, frame in split.parts()]
    # Settings that came later count where they are set, so that a run finished before them is still finished.
    later = {field: getattr(Recipe, field) for field in ("head", "speeds", "centered")}
    settings = {name: value for name, value in asdict(recipe).items() if later.get(name, ...) != value}
    asked = json.dumps([settings, weights_name(backbone, recipe), backbone.revision, parts])
    return hashlib.sha256(asked.encode()).hexdigest()[:16]


def _set_aside(target: Path, request: str) -> None:
    """Make ``target`` ready: keep what an interrupted run of the same request left, move all else out of the way."""
    note = target / "started.json"
    sweep(target)
    if target.exists() and any(target.iterdir()):  # empty it is when killed before it began: nothing to keep
        try:
            same = json.loads(note.read_text())["request"] == request
        except (OSError, ValueError, KeyError):
            same = False
        if same:
            print("An interrupted run of the same recipe was found; training goes on from its last checkpoint.")
        else:
            aside = target.with_name(f"{target.name}.before")
            shutil.rmtree(aside, ignore_errors=True)
            target.rename(aside)
            print(f"Recipe, data or weights changed since the last run, which is kept as {aside.name}.")
    if not note.exists():
        with atomic_path(note) as fresh:
            fresh.write_text(json.dumps({"request": request}))


def _check_clips(split: Split) -> None:
    for part, frame in split.parts():
        short = frame.index[frame["seconds"] < SHORTEST]
        if len(short):
            raise SerlibError(
                f"Clip {short[0]} of the {part} part lasts {frame.loc[short[0], 'seconds'] * 1000:.0f} ms; an encoder "
                f"needs at least {SHORTEST * 1000:.0f} ms. Leave it out: corpus = corpus[corpus.seconds >= {SHORTEST}]."
            )


# --- the record of a run -----------------------------------------------------------------------------------------


def _peak_memory() -> int:
    """Return the peak memory in MB: the GPU's where there is one, else this process's."""
    import torch

    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 1e6)
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6)


def _hardware() -> str:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()} CPU, {os.cpu_count()} cores"


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("serlib", "torch", "transformers", "datasets", "numpy", "scikit-learn"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _git_commit() -> str | None:
    """Return the commit of serlib's checkout, or None when it was installed without one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
