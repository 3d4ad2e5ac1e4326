"""What may happen to a training, and what is kept of it: little memory, a full disk, a lost GPU, a kill (03)."""

import errno
import json
import math
import os
import shutil
from pathlib import Path
from zipfile import is_zipfile

from serlib.errors import SerlibError
from serlib.files import atomic_path, full_disk
from serlib.train.recipes import Recipe
from serlib.train.run import Work


def check_disk(work: Work[Recipe], weights: int, optimizer: int) -> None:
    """Refuse to begin what would not fit: three checkpoints for a moment, and the model in the end. Sizes in bytes."""
    needed = 3 * (weights + optimizer) + weights
    free = shutil.disk_usage(work.target).free
    if free < needed:
        raise SerlibError(
            f"{work.title}: checkpoints of this run take up to {needed / 1e9:.1f} GB, and the disk has "
            f"{free / 1e9:.1f} GB free; free some, name a folder on a larger disk in SERLIB_HOME, or choose a recipe "
            "with lora=16, whose checkpoints are small."
        )


def machine_memory() -> float:
    """Return the memory of this machine in bytes, without end where the system does not say."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else math.inf


def out_of_memory(error: Exception) -> bool:
    import torch

    known = isinstance(error, torch.OutOfMemoryError | MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
    # the last two come as a "CUDA error", from libraries that find no room for their own tables
    signs = ("can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return known or any(sign in str(error) for sign in signs)


def readable(work: Work[Recipe], error: Exception) -> Exception:
    """Return the error in one sentence where it is one of the known ends of a training, else itself."""
    title = work.title
    again = "then run this again: training goes on from its last checkpoint"
    if out_of_memory(error):
        return SerlibError(
            f"{title}: the memory is not enough even for one clip at a time; choose a recipe with lora=16 and "
            "gradient_checkpointing=True, or a smaller backbone (ser.plan says what fits)."
        )
    if full_disk(error):
        newest = last_whole_checkpoint(work.target / "trainer")  # which also clears what was half written
        kept = f"step {newest.rpartition('-')[2]}" if newest else "the beginning"
        return SerlibError(f"{title}: the disk is full, and training is kept up to {kept}; free some space, {again}.")
    if "CUDA error" in str(error) or "cudnn" in str(error).lower():
        return SerlibError(
            f"{title}: the GPU no longer answers ({str(error).splitlines()[0]}); restart the runtime, {again}."
        )
    return error


def last_whole_checkpoint(folder: Path) -> str | None:
    """Return the newest checkpoint from which training goes on as if nothing had happened; delete what is newer.

    The best one so far must be whole too, for its weights are loaded in the end; the Trainer would do without it, or
    without the optimizer's numbers, and say nothing.
    """
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for checkpoint in reversed(found):
        if _is_whole(checkpoint):
            file = checkpoint / "trainer_state.json"
            state = json.loads(file.read_text(encoding="utf-8"))
            best = state["best_model_checkpoint"] and folder / Path(state["best_model_checkpoint"]).name
            if best is None or _is_whole(best):
                if str(best) != str(state["best_model_checkpoint"]):  # the folder was moved or copied since
                    with atomic_path(file) as fresh:
                        fresh.write_text(json.dumps(state | {"best_model_checkpoint": str(best)}), encoding="utf-8")
                return str(checkpoint)
        shutil.rmtree(checkpoint, ignore_errors=True)
    return None


def _is_whole(checkpoint: Path) -> bool:
    """Whether nothing is missing or cut short: after a kill, or on a Drive that had not yet kept every file."""
    from safetensors import SafetensorError, safe_open

    weights = next(checkpoint.glob("*model.safetensors"), None)  # the model's, or of LoRA the adapter's
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        with safe_open(weights, "pt"):  # which compares its length with what it should hold
            pass
    except (OSError, ValueError, TypeError, SafetensorError):
        return False
    draws = list(checkpoint.glob("rng_state*.pth"))  # one a process
    parts = [checkpoint / "optimizer.pt", checkpoint / "scheduler.pt", *checkpoint.glob("scaler.pt"), *draws]
    return bool(draws) and all(map(is_zipfile, parts))  # torch writes zip files, their table last
