"""A Run is a folder: what was trained, on what, and what it said. Found where it is there, else made (02 to 08).

``runs/<profile>/<split>/<name>`` holds predictions.csv, history.csv, checkpoint/ and run.json, which is written last: a
folder with run.json is a finished run. A run of a corpus of one's own has the name of that corpus before its split.
"""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Generic, TypeVar

import pandas as pd
from filelock import FileLock, Timeout

from serlib.data import audio
from serlib.data.corpus import BOOKS_OWN
from serlib.data.splits import Split
from serlib.errors import SerlibError, demand
from serlib.files import atomic_path, cache_dir, checksum, given_path, key_of, safe_name, sweep
from serlib.judge import predictions
from serlib.judge.metrics import accuracy, unweighted_average_recall
from serlib.train.backbones import Backbone, weights_key
from serlib.train.recipes import LATER, Probe, Recipe

TABLES = ("predictions.csv", "history.csv")

R = TypeVar("R", bound=Recipe | Probe)  # fine_tune works on Work[Recipe], probe on Work[Probe]


class NoRun(SerlibError):
    """There is no finished run in a folder, which is no fault: it may be trained, or found elsewhere."""


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """One trained model on one split: its folder, predictions, history and facts, a voter.

    ``predictions`` is its predictions frame of validation and test, ``history`` has a row for each evaluation (step,
    epoch, loss, eval_loss, eval_accuracy, eval_uar), and ``info`` is what run.json holds: recipe, seed, versions,
    seconds and more.

    Examples
    --------
    >>> run = ser.load_run("results/laptop/stratified/whisper-tiny.en")
    >>> run
    Whisper tiny.en, fine-tuned on ravdess, split stratified: test accuracy 85.8%, UAR 85.7%, 1191 s of training
    >>> len(run.predictions), run.info["recipe"]["epochs"], run.history["eval_accuracy"].max().round(2).item()
    (404, 8, 0.89)
    """

    folder: Path
    predictions: pd.DataFrame
    history: pd.DataFrame
    info: dict[str, Any]

    @property
    def name(self) -> str:
        """What tables and figures call it: its own name, else the title of its backbone.

        >>> ser.load_run("results/laptop/stratified/whisper-tiny.en-probe").name
        'Whisper tiny.en, frozen'
        """
        return self.info["title"]

    def push_to_hub(self, repo: str, private: bool = True) -> str:
        """Upload the checkpoint with its model card and record to the Hugging Face hub (12).

        Parameters
        ----------
        repo
            The name of a repository there, such as "anna/ravdess-hubert".
        private
            Whether only you may see it.

        Returns
        -------
        str
            The address of the repository.

        Raises
        ------
        SerlibError
            For a run without a checkpoint or one that plain transformers could not load, without a login, for a name
            that the hub refuses, and where it cannot be reached.

        Examples
        --------
        >>> run = ser.load_run("results/laptop/stratified/whisper-tiny.en")
        >>> run.push_to_hub("anna/ravdess-whisper")  # doctest: +SKIP
        'https://huggingface.co/anna/ravdess-whisper'
        """
        from serlib.train import sharing

        return sharing.push_to_hub(self, repo, private)

    def export_onnx(self, path: Path | str, precision: str = "float32") -> Path:
        """Write the model as one ONNX file that hears a clip and answers with probabilities (12).

        Its input ``samples`` is one clip as float32 of shape (1, n) at 16 kHz, of any length from 0.1 s up (Whisper: to
        30 s), its output ``probabilities`` has shape (1, classes). What comes before the network is in the graph, but
        for resampling and trimming: the file's metadata say whether and how silence is to be cut, and labels, corpus
        and license. Sums are done in float32, whatever the precision of the file.

        Parameters
        ----------
        path
            The file to write, such as "model.onnx".
        precision
            Of the weights in the file: "float32", "float16" in half of the bytes, or "int8" in a quarter.

        Returns
        -------
        Path
            Where the file is.

        Raises
        ------
        SerlibError
            For a run without a checkpoint, another precision, a path that cannot be written, a model that is larger
            than one file may be, and where a package that it needs is not installed (``pip install "serlib[onnx]"``).

        References
        ----------
        ONNX, an open format for models: https://onnx.ai.

        Examples
        --------
        >>> run = ser.load_run("results/laptop/stratified/whisper-tiny.en")
        >>> run.export_onnx("whisper.onnx", precision="int8")  # of a run that you have trained  # doctest: +SKIP
        """
        from serlib.train import export

        return export.export_onnx(self, path, precision)

    def __repr__(self) -> str:
        return (
            f"{self.name} on {self.info['corpus']}, split {self.info['split']}: "
            f"test accuracy {accuracy(self):.1%}, UAR {unweighted_average_recall(self):.1%}, "
            f"{self.info['seconds']:.0f} s of training"
        )


@dataclass(frozen=True)
class Runs:
    """A folder of runs and the profile that they belong to (``lesson.runs``); as good as a path.

    Examples
    --------
    >>> lesson = ser.start("mini")
    CPU, 2 cores - profile mini - ...
    >>> (lesson.runs / "stratified").name
    'stratified'
    """

    folder: Path
    profile: str

    def __fspath__(self) -> str:
        return str(self.folder)

    def __truediv__(self, name: str) -> Path:
        return self.folder / name


@dataclass(frozen=True)
class Work(Generic[R]):
    """What is to be trained: its backbone, split and recipe, where it goes, and its own name if it has one."""

    backbone: Backbone
    split: Split
    recipe: R
    runs: Runs
    own_name: str | None

    @property
    def kind(self) -> str:
        return "probe" if isinstance(self.recipe, Probe) else "fine-tuned"

    @property
    def pretrained(self) -> bool:
        """Whether training starts from pre-trained weights."""
        return self.recipe.pretrained and self.backbone.has_weights

    @property
    def _thrown_away(self) -> bool:
        return self.backbone.has_weights and not self.recipe.pretrained

    @property
    def title(self) -> str:
        """What tables and figures call it."""
        if self.own_name is not None:
            return self.own_name
        notes = ", frozen" * (self.kind == "probe") + ", not pre-trained" * self._thrown_away
        return self.backbone.title + notes

    @property
    def target(self) -> Path:
        """The folder of the run."""
        name = self.own_name
        if name is None:
            notes = "-probe" * (self.kind == "probe") + "-random" * self._thrown_away
            name = self.backbone.key + notes
        corpus = self.split.attrs["name"]
        home = self.runs.folder if corpus in BOOKS_OWN else self.runs.folder / safe_name(corpus)
        return home / safe_name(self.split.name) / safe_name(name)

    def sounds(self) -> dict[str, str]:
        """Return a digest of what is heard in each part, by clip and content."""
        return {part: sound_of(frame) for part, frame in self.split.parts()}

    def depends(self, code: int) -> dict[str, Any]:
        """Return all that the numbers of this run depend on. ``code`` is the version of the step that makes them."""
        settings = {name: given for name, given in asdict(self.recipe).items() if given or name not in LATER}
        return {
            "sound": key_of(self.sounds()),
            "labels": key_of({part: _digest_of(frame[["emotion", "actor"]]) for part, frame in self.split.parts()}),
            "weights": self.weights,
            "settings": {"recipe": type(self.recipe).__name__, **settings},
            "code": code,
        }

    @property
    def weights(self) -> str:
        """What the weights are that training starts from, by content."""
        key = weights_key(self.backbone)
        return key if self.pretrained else f"random, in the shape of {key}, seed {self.recipe.seed}"


@dataclass(frozen=True)
class Result:
    """What a training hands over: predictions of validation and test, its history, facts for run.json.

    ``save`` writes the checkpoint into an empty folder.
    """

    predictions: pd.DataFrame
    history: pd.DataFrame
    info: dict[str, Any]
    save: Callable[[Path], None]


def work_on(backbone: Backbone, split: Split, recipe: R, folder: Path | str | Runs, name: str | None) -> Work[R]:
    """Return the work that ``fine_tune`` or ``probe`` was asked for. SerlibError for what is none of these."""
    demand(backbone, Backbone, "backbone", "make one with ser.backbone")
    demand(split, Split, "split", "make one with ser.stratified_split")
    if name is not None and not (isinstance(name, str) and name.strip()):
        raise SerlibError(f"The name of a run is {name!r}; give some text, or leave it out.")
    if not isinstance(folder, Runs):
        try:
            folder = Runs(given_path(folder), "")
        except SerlibError as error:
            raise SerlibError(f"No folder for runs: {error} Or give lesson.runs, where notebooks look.") from error
    return Work(backbone, split, recipe, folder, name)


def load_run(folder: Path | str) -> Run:
    """Load a finished run.

    Parameters
    ----------
    folder
        The folder that holds its run.json.

    Returns
    -------
    Run
        A voter, with history and record.

    Raises
    ------
    SerlibError
        Where there is none, or a damaged or changed one.

    Examples
    --------
    >>> ser.load_run("results/laptop/stratified/whisper-tiny.en")
    Whisper tiny.en, fine-tuned on ravdess, split stratified: test accuracy 85.8%, UAR 85.7%, 1191 s of training
    """
    folder = given_path(folder)
    try:
        text = (folder / "run.json").read_text(encoding="utf-8")
    except FileNotFoundError as error:
        place = "/".join(folder.parts[-3:])
        raise NoRun(f"There is no finished run in {place}; run the notebook that trains it first.") from error
    try:
        info = json.loads(text)
        for name, digest in info["files"].items():
            if checksum(folder / name) != digest:
                raise ValueError(f"{name} is not what it was when the run was finished")
        history = pd.read_csv(folder / "history.csv")
        kept = predictions.read(folder / "predictions.csv").assign(profile=str(info["profile"]))
        if list(info["labels"]) != list(predictions.labels(kept)):
            raise ValueError("run.json has other labels than predictions.csv")
    except (ValueError, KeyError, TypeError, AttributeError, OSError, pd.errors.EmptyDataError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise SerlibError(f"The run in {folder} is damaged ({reason}); delete the folder and train again.") from error
    return Run(folder, kept, history, info)


def found_or_made(work: Work[R], code: int, train: Callable[[], Result | None]) -> Run:
    """Return the finished run of this work, or train it: what both verbs have in common.

    ``train`` is called on every process; where it returns nothing, only the main process has a result to write. A run
    of something else that stands in the way is kept beside it, and said. Of two programs that want the same run, the
    second waits for the first.
    """
    together = processes()
    with _one_program_at_a_time(work, together):
        depends = work.depends(code)
        run = _finished_run(work.target, depends)
        if run is not None:
            if together.is_main_process:
                _remove_leftovers(work.target)
            together.print(f"{work.title}: this run was finished before, so it is loaded from its folder.")
            return run
        _check_clips(work.split)
        start = time.time()
        with together.main_process_first():
            if together.is_main_process:
                _make_ready(work.target, depends)
        result = train()
        if together.is_main_process and result is not None:
            _write_run(work, depends, result, start)
        together.wait_for_everyone()
    run = load_run(work.target)
    together.print(run)
    return run


def processes() -> Any:
    """Return what accelerate knows of the processes that train together: one, unless a launcher started more."""
    import torch
    from accelerate import PartialState

    several = int(os.environ.get("WORLD_SIZE", 1)) > 1
    return PartialState(cpu=several and not torch.cuda.is_available())


@contextmanager
def _one_program_at_a_time(work: Work[R], together: Any) -> Iterator[None]:
    """Let one program at a time work on a run; the lock lies in the cache, for Google's Drive knows none."""
    place = hashlib.sha256(str(work.target.absolute()).encode()).hexdigest()[:16]
    lock = FileLock(cache_dir() / "locks" / f"{place}.lock")
    if together.is_main_process:
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"{work.title}: another program is training this very run; waiting for it.")
            lock.acquire()
    together.wait_for_everyone()
    try:
        yield
    finally:
        lock.release()


def _finished_run(target: Path, depends: Mapping[str, Any]) -> Run | None:
    """Return the finished run of exactly this work, None where there is none or another."""
    try:
        run = load_run(target)
    except SerlibError:
        return None
    return run if run.info.get("key") == key_of(depends) else None


def _make_ready(target: Path, depends: Mapping[str, Any]) -> None:
    """Make ``target`` ready: keep what an interrupted run of the same work left, move all else out of the way."""
    note = target / "started.json"
    sweep(target)
    if target.exists() and any(target.iterdir()):  # empty it is when killed before it began: nothing to keep
        record = target / "run.json" if (target / "run.json").exists() else note
        try:
            before = json.loads(record.read_text(encoding="utf-8"))["depends"]
        except (OSError, ValueError, KeyError, TypeError):
            before = None
        if record is note and before == json.loads(json.dumps(depends)):
            print("An interrupted run of the same recipe was found; training goes on from its last checkpoint.")
        else:
            aside = _free_name(target)
            target.rename(aside)
            print(f"{_what_changed(before, depends)}, so this is trained anew; what was there is kept as {aside.name}.")
    if not note.exists():
        with atomic_path(note) as fresh:
            fresh.write_text(json.dumps({"depends": depends}), encoding="utf-8")


def _free_name(target: Path) -> Path:
    """Return a name beside ``target`` that nothing has: nothing trained is deleted unasked."""
    numbers = ("", *(f"-{n}" for n in range(2, 10_000)))
    return next(path for n in numbers if not (path := target.with_name(f"{target.name}.before{n}")).exists())


def _what_changed(before: Mapping[str, Any] | None, depends: Mapping[str, Any]) -> str:
    """Return the beginning of a sentence that says what is no longer as it was."""
    words = {
        "sound": "the recordings",
        "labels": "the clips of the split or their labels",
        "weights": "the weights",
        "settings": "the recipe",
        "code": "serlib's own code",
    }
    was = before or depends
    changed = [word for what, word in words.items() if key_of({"": was.get(what)}) != key_of({"": depends[what]})]
    if not changed:
        return "The run that is there is damaged or from another version of serlib"
    named = " and ".join(changed)
    return f"{named[0].upper()}{named[1:]} changed since the last run"


def _write_run(work: Work[R], depends: Mapping[str, Any], result: Result, start: float) -> None:
    """Make the folder of a finished run out of a training's result, run.json last."""
    backbone, split, target = work.backbone, work.split, work.target
    with atomic_path(target / "checkpoint", folder=True) as fresh:
        result.save(fresh)
    predictions.write(result.predictions.assign(profile=work.runs.profile), target / "predictions.csv")
    with atomic_path(target / "history.csv") as fresh:
        result.history.to_csv(fresh, index=False, lineterminator="\n")
    info = {
        "name": target.name,
        "own_name": work.own_name,
        "title": work.title,
        "backbone": backbone.key,
        "original": backbone.original,
        "kind": work.kind,
        "pretrained": work.pretrained,
        "checkpoint": backbone.checkpoint,
        "weights": work.weights,
        "profile": work.runs.profile,
        "corpus": split.attrs["name"],
        "synthetic": split.attrs["synthetic"],
        "split": split.name,
        "known_voices": _known_voices(split),
        "clips": {part: len(frame) for part, frame in split.parts()},
        "sounds": work.sounds(),
        "labels": list(split.labels),
        "recipe": asdict(work.recipe),
        "seed": work.recipe.seed,
        "seconds": round(time.time() - start, 1),  # fine-tuning counts its own
        **result.info,
        "peak_memory_mb": _peak_memory(),
        "disk_mb": round(sum(f.stat().st_size for f in (target / "checkpoint").rglob("*")) / 1e6, 2),
        "hardware": _hardware(),
        "versions": _versions(),
        "git_commit": _git_commit(),
        "files": {name: checksum(target / name) for name in TABLES},
        "depends": depends,
        "key": key_of(depends),
    }
    with atomic_path(target / "run.json") as fresh:  # last: a folder with run.json is a finished run
        fresh.write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")
    _remove_leftovers(target)


def _known_voices(split: Split) -> bool | None:
    """Return whether test has actors that train has too, None where the corpus does not say who speaks."""
    trained, tested = set(split.train["actor"]), set(split.test["actor"])
    return None if "" in trained | tested else bool(trained & tested)


def _remove_leftovers(target: Path) -> None:
    """Remove from a finished run what only its training needed, and what a kill left half written."""
    sweep(target)
    shutil.rmtree(target / "trainer", ignore_errors=True)
    (target / "started.json").unlink(missing_ok=True)


def _check_clips(split: Split) -> None:
    for part, frame in split.parts():
        short = frame.index[frame["seconds"] < audio.SHORTEST]
        if len(short):
            raise SerlibError(
                f"Clip {short[0]} of the {part} part lasts {frame.loc[short[0], 'seconds'] * 1000:.0f} ms; an encoder "
                f"needs at least {audio.SHORTEST * 1000:.0f} ms. Leave it out: "
                f"corpus = corpus[corpus.seconds >= {audio.SHORTEST}]."
            )


def sound_of(clips: pd.DataFrame) -> str:
    """Return a digest of what is heard in some rows of a corpus, by clip and content, whatever their order."""
    return _digest_of(audio.content_keys(clips))


def _digest_of(table: pd.DataFrame | pd.Series) -> str:
    """Return a digest of clip names and what stands beside each, whatever their order."""
    return hashlib.sha256(table.sort_index().to_csv(lineterminator="\n").encode()).hexdigest()[:16]


# --- the record of a run -----------------------------------------------------------------------------------------


def _peak_memory() -> int | None:
    """Return the peak memory in MB: the GPU's where there is one, else this process's; None on Windows."""
    import torch

    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 1e6)
    try:
        import resource
    except ImportError:  # only Unix has it
        return None
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
        return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
