"""What may happen to a training: several processes, too little memory, a full disk, a tracker. All of it for real."""

import dataclasses
import json
import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from serlib.__main__ import main
from serlib.data.ravdess import ravdess
from serlib.data.splits import stratified_split
from serlib.errors import SerlibError
from serlib.train import callbacks, finetuning, rescue
from serlib.train.backbones import TWINS, backbone
from serlib.train.finetuning import fine_tune
from serlib.train.recipes import Recipe
from serlib.train.run import load_run, work_on

QUICK = Recipe(epochs=2, batch_size=8, accumulation=2, learning_rate=1e-3, eval_every=4, precision="fp32")

# What each of the programs below begins with; argv: the clips, the checkpoint, the folder of runs.
PROGRAM = """
import resource, sys
from serlib.data.ravdess import ravdess
from serlib.data.splits import stratified_split
from serlib.train.backbones import backbone
from serlib.train.recipes import Recipe
from serlib.train.finetuning import fine_tune
corpus = ravdess(sys.argv[1])
corpus.attrs |= {"name": "mini", "synthetic": True}
split = stratified_split(corpus, test_size=0.25, validation_size=0.2)
"""


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(autouse=True)
def own_cache(shared_cache, monkeypatch) -> Path:
    """The features of a clip are made once for all tests here; how they are kept is for test_run and test_batches."""
    monkeypatch.setenv("SERLIB_CACHE", str(shared_cache))
    monkeypatch.delenv("RAVDESS_DIR", raising=False)
    return shared_cache


def split_of(folder: Path):
    corpus = ravdess(folder)
    corpus.attrs |= {"name": "mini", "synthetic": True}
    return stratified_split(corpus, test_size=0.25, validation_size=0.2)


@pytest.fixture
def split(half_dir):
    return split_of(half_dir)


@pytest.fixture
def still(tmp_path) -> Path:
    """The HuBERT twin without dropout, masks and skipped layers: nothing in its training is drawn at random."""
    folder = tmp_path / "still"
    shutil.copytree(TWINS / "hubert-base", folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {key: 0.0 for key in config if "drop" in key and not key.startswith("final_proj")}
    config["apply_spec_augment"] = False
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_two_processes_train_as_one(program, half_dir, split, still, tmp_path):
    """Steps of 16 clips: 8 x 2 on one process, 8 x 1 on each of two; the same losses, the same predictions."""
    if not hasattr(os, "fork"):
        pytest.skip("needs a system that forks")
    text = """
import os, socket
import serlib.train.batches
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
recipe = Recipe(epochs=1, batch_size=8, accumulation=2, learning_rate=1e-3, eval_every=2, precision="fp32")
children = []
for rank in (0, 1):  # as torchrun starts them, but for loading everything twice
    children.append(os.fork())
    if not children[-1]:
        told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in told.items()}, MASTER_ADDR="127.0.0.1")
        fine_tune(backbone(sys.argv[2]), split, recipe, sys.argv[3])
        sys.stdout.flush()
        os._exit(0)
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
"""
    done = program(PROGRAM + text, half_dir, still, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test accuracy") == 1, "one of the two speaks"
    two = load_run(tmp_path / "two" / "stratified" / "still")
    recipe = dataclasses.replace(QUICK, epochs=1, eval_every=2)
    one = fine_tune(backbone(str(still)), split, recipe, tmp_path / "one")
    assert (one.info["processes"], two.info["processes"]) == (1, 2)
    assert one.info["steps"] == two.info["steps"] == -(-len(split.train) // 16)
    # eval_loss is left out: the Trainer weights batches alike, and two processes cut 15 clips otherwise than one
    trained = ["step", "epoch", "loss", "eval_accuracy", "eval_uar"]
    np.testing.assert_allclose(two.history[trained], one.history[trained], rtol=1e-4)
    columns = [f"p_{label}" for label in split.labels]
    assert list(two.predictions["clip"]) == list(one.predictions["clip"])
    np.testing.assert_allclose(two.predictions[columns], one.predictions[columns], atol=2e-3)
    other = fine_tune(backbone(str(still)), split, dataclasses.replace(recipe, seed=7), tmp_path / "other")
    assert not np.allclose(other.history[trained], one.history[trained], rtol=1e-4), "the tolerance can fail"


# One program forks the trainings that are killed. argv: the clips, changes to the recipe,
# a folder. Prints how each ended. Moments are counted in changes of files, which are the same on an idle and a busy
# machine; between two of them a training leaves the same folder whenever it is killed.
KILLED = """
import json, os, random, re, signal, traceback
import serlib.train.batches

changes = json.loads(sys.argv[2])
recipe = Recipe(epochs=3, batch_size=2, accumulation=1, learning_rate=1e-3, eval_every=2, precision="fp32", **changes)
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"}  # and open, for writing

def train(folder, at=None, limit=None, count=None):
    # at: the change of a file that ends the process; with a limit it ends in the middle of the next file so long
    # count: or how many changes it makes until then. Returns how many it made, if nothing ended it
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.environ["SERLIB_CACHE"] = folder + "/cache"
        seen = 0

        def hook(event, given):
            nonlocal seen
            if not (event in CHANGES or event == "open" and (given[2] or 0) & (os.O_WRONLY | os.O_RDWR)):
                return
            seen += 1
            if seen == count or at and re.search(at, f"{event} {given[0]}"):
                if limit is None:
                    os.kill(os.getpid(), signal.SIGKILL)
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # the kernel ends who writes more, as rudely as SIGKILL
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        sys.addaudithook(hook)
        try:
            fine_tune(backbone("hubert-base-mini"), split, recipe, folder + "/runs")
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os.write(tell, str(seen).encode())
        os._exit(0)
    os.close(tell)
    status = os.waitpid(child, 0)[1]
    ends.append(signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
    with os.fdopen(told) as pipe:
        return int(pipe.read() or 0)

ends, home = [], sys.argv[3]
whole = train(home + "/undisturbed")
for at, limit in MOMENTS:
    train(home + "/chosen", at, limit)
train(home + "/chosen")
draw = random.Random(101)
for _ in range(DRAWN):
    train(home + "/drawn", count=int(draw.uniform(0.1, 0.6) * whole))
train(home + "/drawn")
print(json.dumps(ends))
"""

# The files at whose change a training is killed, one after the other: each goes on from what the last one left.
MOMENTS = [
    (r"\.started\.json.*/started\.json$", None),
    (r"features/.*partial/.*arrow", None),
    (r"features/.*partial/.*/clips/dataset_info.json", None),
    (r"^os.rename .*features/.*partial/\w+$", None),  # all features are there, under a name that is not final
    (r"checkpoint-2/trainer_state.json", None),  # the first checkpoint but for its last file
    (r"checkpoint-4$", 100_000),  # in the middle of its weights
    (r"checkpoint-6/config.json", None),
    (r"checkpoint-8/config.json", None),
    (r"checkpoint-10$", 2_500_000),  # in the middle of the optimizer's numbers
    (r"^os.remove optimizer.pt$", None),  # while an old checkpoint is deleted
    (r"checkpoint-14/trainer_state.json", None),
    (r"\.checkpoint\..*/preprocessor_config.json", None),  # what is kept for good, but for its last file
    (r"\.predictions\.csv.*/predictions.csv$", None),
    (r"\.run\.json.*/run.json$", None),
    (r"^os.remove optimizer.pt$", None),  # the run is finished, and what only training needed is deleted
]


LORA_MOMENTS = [
    (r"checkpoint-4/adapter_config.json", None),
    (r"checkpoint-8/trainer_state.json", None),  # in the second epoch
    (r"\.checkpoint\..*/preprocessor_config.json", None),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "moments", "drawn"),
    [
        ({"trim": True}, MOMENTS, 3),
        ({"bucketing": False, "lora": 4, "gradient_checkpointing": True}, LORA_MOMENTS, 2),
    ],
    ids=["all weights, buckets", "LoRA, random batches"],
)
def test_killed_at_any_moment_it_ends_as_undisturbed(program, tiny_dir, tmp_path, changes, moments, drawn):
    """Kill -9 at chosen files and at others drawn by a seed, run again: the same folder, byte by byte, nothing left."""
    if not hasattr(os, "fork"):
        pytest.skip("needs a system that forks")
    text = KILLED.replace("MOMENTS", repr(moments)).replace("DRAWN", repr(drawn))
    done = program(PROGRAM + text, tiny_dir, json.dumps(changes), tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    ends = json.loads(done.stdout.splitlines()[-1])
    chosen = ["SIGKILL" if limit is None else "SIGXFSZ" for _, limit in moments]
    assert ends[: len(chosen) + 2] == [0, *chosen, 0], done.stderr[-2000:]
    assert ends[-1] == 0 and ends[len(chosen) + 2] == "SIGKILL", ends
    whole = tmp_path / "undisturbed" / "runs"
    names = sorted(str(path.relative_to(whole)) for path in whole.rglob("*"))
    assert "stratified/hubert-base-mini/checkpoint/model.safetensors" in names
    for other in (tmp_path / "chosen" / "runs", tmp_path / "drawn" / "runs"):
        assert sorted(str(path.relative_to(other)) for path in other.rglob("*")) == names
        for name in names:
            if (whole / name).is_file() and not name.endswith("run.json"):  # which knows how long it took
                assert (other / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.parametrize(
    ("batch", "accumulation", "many", "each"), [(4, 2, 1, 4), (4, 2, 2, 4), (4, 2, 4, 2), (4, 2, 8, 1), (6, 1, 2, 3)]
)
def test_processes_share_a_step(batch, accumulation, many, each):
    assert finetuning._batch_of_each(Recipe(batch_size=batch, accumulation=accumulation), many) == each


def test_a_step_that_cannot_be_shared_is_refused():
    with pytest.raises(SerlibError, match="8 clips, which 3 processes cannot share"):
        finetuning._batch_of_each(Recipe(), 3)


@pytest.mark.slow
def test_one_command_says_what_is_wrong(program, tmp_path, monkeypatch):
    """``python -m serlib``, once as a program of its own."""
    monkeypatch.setenv("SERLIB_HOME", str(tmp_path))
    wrong = program("import runpy; runpy.run_module('serlib', run_name='__main__', alter_sys=True)", "hubert-bass")
    assert wrong.returncode == 1 and "hubert-bass" in wrong.stderr and "Traceback" not in wrong.stderr
    with pytest.raises(SystemExit, match="(?i)did you mean"):
        main(["hubert-base", "--profile", "minni"])


def test_too_little_memory_halves_the_batch_and_says_so(program, spoken_dir, tmp_path):
    """The process may take 420 MB more than it has after loading everything: 128 clips at once need more."""
    text = """
import ctypes
# Large blocks are mapped (-3: from which size), and so given back at once: the limit counts addresses, and a heap keeps
# those of the first try, so that no later one had room. As little are there to be several heaps (-8).
libc = ctypes.CDLL(None)
assert libc.mallopt(-3, 1_000_000) and libc.mallopt(-8, 1)
one = Recipe(epochs=1, batch_size=4, accumulation=1, learning_rate=1e-3, eval_every=8, precision="fp32")
fine_tune(backbone(sys.argv[2]), split, one, sys.argv[3] + "/warm")
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 420_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
recipe = Recipe(epochs=1, batch_size=128, accumulation=1, learning_rate=1e-3, eval_every=1, precision="fp32")
from transformers import TrainerCallback
from transformers.trainer import DEFAULT_CALLBACKS
class Tell(TrainerCallback):
    def on_train_begin(self, args, state, control, **_):
        print("at once:", args.per_device_train_batch_size, args.per_device_eval_batch_size)
DEFAULT_CALLBACKS.append(Tell)
fine_tune(backbone(sys.argv[2]), split, recipe, sys.argv[3])
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs Linux, where a process's memory can be limited")
    own = {"SERLIB_CACHE": str(tmp_path / "cache")}  # it is to load what makes features, too, before the limit
    done = program(PROGRAM + text, spoken_dir, "hubert-base-mini", tmp_path, **own)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "the memory was not enough" in done.stdout and "in place of 128 x 1" in done.stdout
    run = load_run(tmp_path / "stratified" / "hubert-base-mini")
    assert run.info["clips_at_once"] < 128
    assert run.info["steps"] == 1, "a step still has 128 clips"
    tries = [line.split()[2:] for line in done.stdout.splitlines() if line.startswith("at once:")]
    assert tries[:2] == [["128", "128"], ["64", "64"]], "an evaluation takes less memory too"


def test_a_full_disk_keeps_what_was_trained(split, tmp_path, monkeypatch, capsys):
    """Files above 400 KB cannot be written: the second checkpoint fails as on a full disk; the run goes on later."""
    resource = pytest.importorskip("resource")  # Windows has none
    from transformers import TrainerCallback, trainer

    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Fill(TrainerCallback):
        def on_step_begin(self, args, state, control, **_):
            if state.global_step == 5:
                resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, before[1]))

    recipe = dataclasses.replace(QUICK, accumulation=1)
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "DEFAULT_CALLBACKS", [*trainer.DEFAULT_CALLBACKS, Fill])
        try:
            with pytest.raises(SerlibError, match="the disk is full, and training is kept up to step 4"):
                fine_tune(backbone("hubert-base-mini"), split, recipe, tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    target = tmp_path / "stratified" / "hubert-base-mini"
    assert [path.name for path in target.glob("trainer/checkpoint-*")] == ["checkpoint-4"]
    run = fine_tune(backbone("hubert-base-mini"), split, recipe, tmp_path)
    assert "goes on from its last checkpoint" in capsys.readouterr().out
    whole = fine_tune(backbone("hubert-base-mini"), split, recipe, tmp_path / "whole")
    pd.testing.assert_frame_equal(run.predictions, whole.predictions)


@pytest.fixture(scope="module")
def lost(half_dir, shared_cache, tmp_path_factory) -> Path:
    """The runs of a session that was lost at step 15 of 16, with a checkpoint every second step; moved since."""
    from transformers import TrainerCallback

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            if state.global_step == 15:
                raise KeyboardInterrupt

    folder = tmp_path_factory.mktemp("lost")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setenv("SERLIB_CACHE", str(shared_cache))
        patch.setattr(callbacks, "Progress", lambda title: Stop())
        fine_tune(backbone("hubert-base-mini"), split_of(half_dir), OFTEN, folder / "before")
    return (folder / "before").rename(folder / "after")


@pytest.fixture
def cut_off(lost, tmp_path) -> Path:
    """The folder of the lost run, in a copy that a test may spoil."""
    return Path(shutil.copytree(lost, tmp_path / "here")) / "stratified" / "hubert-base-mini"


OFTEN = dataclasses.replace(QUICK, epochs=4, accumulation=1, eval_every=2)


def steps_of(folder: Path) -> list[int]:
    return sorted(int(path.name.split("-")[1]) for path in folder.glob("checkpoint-*"))


def test_a_checkpoint_that_lost_something_is_passed_over(cut_off, tmp_path):
    """As a kill leaves it, or a Drive that had not yet kept every file; the Trainer would not tell."""
    older, newer = steps_of(cut_off / "trainer")
    assert newer == 14, "and the best before it: all others are deleted"
    names = {path.name for path in (cut_off / "trainer" / "checkpoint-14").iterdir()} - {"config.json"}
    assert len(names) == 6, names
    for name in names - {"training_args.bin"}:
        for how in ("missing", "cut", "empty"):
            folder = Path(shutil.copytree(cut_off / "trainer", tmp_path / f"{name} {how}"))
            file = folder / "checkpoint-14" / name
            if how == "missing":
                file.unlink()
            else:
                file.write_bytes(file.read_bytes()[: file.stat().st_size // 2 if how == "cut" else 0])
            assert rescue.last_whole_checkpoint(folder) == str(folder / f"checkpoint-{older}"), folder.name
            assert steps_of(folder) == [older]


def test_without_the_best_checkpoint_training_goes_back_to_where_another_was_best(cut_off):
    folder = cut_off / "trainer"
    older, newer = steps_of(folder)
    for step in (older, newer):  # in both the older one is the best so far
        file = folder / f"checkpoint-{step}" / "trainer_state.json"
        best = {"best_model_checkpoint": str(folder / f"checkpoint-{older}")}
        file.write_text(json.dumps(json.loads(file.read_text()) | best))
    assert rescue.last_whole_checkpoint(folder) == str(folder / f"checkpoint-{newer}")
    (folder / f"checkpoint-{older}" / "model.safetensors").unlink()
    assert rescue.last_whole_checkpoint(folder) is None, "neither can end with the best weights"


def test_seconds_and_minutes_left_are_true_of_a_training_that_was_interrupted(cut_off, split, tmp_path, monkeypatch):
    newest = Path(rescue.last_whole_checkpoint(cut_off / "trainer"))
    state = json.loads((newest / "trainer_state.json").read_text())
    spent = [row["seconds"] for row in state["log_history"] if "eval_loss" in row]
    assert spent == sorted(spent) and 0 < spent[0] and len(spent) == 7
    state["log_history"][-1]["seconds"] += 1000
    (newest / "trainer_state.json").write_text(json.dumps(state))
    begin = time.time()
    run = fine_tune(backbone("hubert-base-mini"), split, OFTEN, tmp_path / "here")
    assert spent[-1] + 1000 < run.info["seconds"] < spent[-1] + 1000.1 + time.time() - begin

    shown: list[str] = []
    progress = callbacks.Progress("one")
    monkeypatch.setattr(progress, "show", shown.append)
    monkeypatch.setattr(callbacks.time, "time", iter([5000, 5060]).__next__)
    progress.on_train_begin(None, SimpleNamespace(global_step=14, max_steps=20), None)
    progress.on_step_end(None, SimpleNamespace(global_step=15, max_steps=20), None)
    assert "step 15 of 20, about 5.0 minutes left" in shown[0]


def test_a_run_whose_folder_was_moved_ends_as_undisturbed(cut_off, split, tmp_path, capsys):
    """The Trainer knows the best checkpoint by its old place, and without it ends with the last one, silently."""
    newest = rescue.last_whole_checkpoint(cut_off / "trainer")
    best = json.loads((Path(newest) / "trainer_state.json").read_text())["best_model_checkpoint"]
    assert Path(best).is_relative_to(cut_off) and Path(best).is_dir()
    run = fine_tune(backbone("hubert-base-mini"), split, OFTEN, tmp_path / "here")
    assert "goes on from its last checkpoint" in capsys.readouterr().out
    assert run.info["steps"] == 16
    whole = fine_tune(backbone("hubert-base-mini"), split, OFTEN, tmp_path / "whole")
    pd.testing.assert_frame_equal(run.predictions, whole.predictions)


def test_a_run_that_would_not_fit_on_the_disk_is_refused(split, tmp_path):
    work = work_on(backbone("hubert-base-mini"), split, QUICK, tmp_path, None)
    work.target.mkdir(parents=True)
    rescue.check_disk(work, 1_000, 2_000)
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(SerlibError, match="the disk has .* GB free"):
        rescue.check_disk(work, free // 4, free // 8)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RuntimeError("CUDA error: unspecified launch failure\nCompile with..."), "the GPU no longer answers"),
        (MemoryError(), "not enough even for one clip at a time"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "not enough even"),
        (RuntimeError("[enforce fail at inline_container.cc:603] PytorchStreamWriter failed writing file"), "disk is"),
    ],
)
def test_the_end_of_a_training_is_one_sentence(split, tmp_path, error, sentence):
    said = rescue.readable(work_on(backbone("hubert-base-mini"), split, QUICK, tmp_path, None), error)
    assert isinstance(said, SerlibError) and sentence in str(said) and "\n" not in str(said)


def test_other_errors_stay_what_they_are(split, tmp_path):
    error = KeyError("a fault of ours")
    assert rescue.readable(work_on(backbone("hubert-base-mini"), split, QUICK, tmp_path, None), error) is error


def test_tensorboard_holds_the_history(split, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    short = dataclasses.replace(QUICK, epochs=1, eval_every=2)
    run = fine_tune(backbone("hubert-base-mini"), split, short, tmp_path, tracker="tensorboard")
    events = EventAccumulator(str(run.folder / "tracked")).Reload()
    seen = [(event.step, event.value) for event in events.Scalars("eval/accuracy")]
    kept = run.history.set_index("step")["eval_accuracy"]
    assert seen[: len(kept)] == [(step, pytest.approx(value)) for step, value in kept.items()]


def test_weights_and_biases_records_offline_and_never_asks(split, tmp_path, monkeypatch, capsys):
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_PROJECT", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    short = dataclasses.replace(QUICK, epochs=1, eval_every=2)
    run = fine_tune(backbone("hubert-base-mini"), split, short, tmp_path / "runs", tracker="wandb")
    assert "recorded offline" in capsys.readouterr().out
    (kept,) = run.folder.glob("wandb/offline-run-*/*.wandb")
    assert kept.stat().st_size > 1_000 and b"eval/accuracy" in kept.read_bytes()


def test_a_failed_training_closes_its_record(split, tmp_path, monkeypatch):
    """Else the next training of a notebook would be written into the same one."""
    import wandb

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HOME", str(tmp_path))
    wild = dataclasses.replace(QUICK, learning_rate=30.0)
    with pytest.raises(SerlibError, match="diverged"):
        fine_tune(backbone("wav2vec2-large-mini"), split, wild, tmp_path / "runs", tracker="wandb")
    assert list((tmp_path / "runs").rglob("*.wandb")) and wandb.run is None


def test_an_unknown_tracker_offers_the_known(split, tmp_path):
    with pytest.raises(SerlibError, match="did you mean wandb"):
        fine_tune(backbone("hubert-base-mini"), split, QUICK, tmp_path, tracker="wand")
