"""The files of a model's folder: what tells them from others, and what is wrong where they cannot be loaded."""

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

from serlib.errors import SerlibError
from serlib.files import atomic_path, cache_dir, checksum

SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"  # in the order in which transformers looks for them
# What a loaded model and its input depend on; README, tokenizer and what a training left beside them do not count.
CONTENT = (
    "*.safetensors", "pytorch_model*.bin", "*.index.json", "config.json", "preprocessor_config.json",
    "processor_config.json",
)  # fmt: skip
ELSEWHERE = {".h5": "TensorFlow", ".msgpack": "Flax", ".onnx": "ONNX", ".gguf": "llama.cpp"}
UNSAFE = (".ckpt", ".pt", ".pth", ".pkl")
FRESH = 2  # seconds: a file changed so lately may change again without a later time of change

_known: dict[str, tuple[list[int], str]] = {}


def key_of_folder(folder: Path) -> str:
    """Return the digest of what is loaded from a folder: weights and configs, 64 hexadecimal digits.

    The names and the contents count, times do not. SerlibError for a file that cannot be read.
    """
    files = sorted({file for pattern in CONTENT for file in folder.glob(pattern)})
    parts = [[file.name, digest(file)] for file in files]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def digest(path: Path) -> str:
    """Return a file's sha256, remembered in memory and in the cache folder, so that gigabytes are read once.

    A file of another size, time or place is read again, and so is one that changed within the last two seconds.
    SerlibError for a file that cannot be read.
    """
    try:
        place, stamp = str(path.resolve()), _size_and_times(path)
        kept = _known.get(place) or _remembered(place)
        if kept and kept[0] == stamp:
            return kept[1]
        found = checksum(path)
        settled = max(stamp[1:]) < (time.time() - FRESH) * 1e9 and _size_and_times(path) == stamp
    except OSError as error:
        raise SerlibError(f"{path} cannot be read ({error.strerror}); see to it that it is there and yours.") from error
    if settled:  # else it may be in the middle of being written
        _known[place] = (stamp, found)
        # without a note, which only saves time, it is read again by the next process
        with suppress(OSError, SerlibError), atomic_path(_note_of(place)) as fresh:
            fresh.write_text(json.dumps([stamp, found]), encoding="utf-8")
    return found


def _note_of(place: str) -> Path:
    return cache_dir() / "digests" / f"{hashlib.sha256(place.encode()).hexdigest()[:32]}.json"


def _size_and_times(path: Path) -> list[int]:
    """Return (bytes, time of change of the content, of the file itself): a copy that keeps the first has the second."""
    stat = os.stat(path)
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _remembered(place: str) -> tuple[list[int], str] | None:
    """Return (stamp, sha256) as an earlier process noted them, None where there is no note, or a damaged one."""
    try:
        stamp, found = json.loads(_note_of(place).read_text(encoding="utf-8"))
        return (stamp, found) if isinstance(found, str) and len(found) == 64 else None
    except (OSError, ValueError, TypeError):
        return None


def fault_of(folder: Path) -> str:
    """Return what is wrong with the files of a model's folder and what to do, "" where nothing can be seen."""
    names = sorted(file.name for file in folder.iterdir() if file.is_file())
    for name in ("config.json", "preprocessor_config.json"):
        if name not in names and "processor_config.json" not in names:
            return f"there is no {name} in its folder: copy or download it too"
    if "adapter_config.json" in names:
        return "it holds a LoRA adapter beside or in place of a model: merge it into its model and save that"
    weights = _weight_files(names, folder)
    if isinstance(weights, str):
        return weights
    for name in weights:
        if not (folder / name).is_file():
            gone = [part for part in weights if not (folder / part).is_file()]
            return f"{len(gone)} of its {len(weights)} parts are missing, first {gone[0]}: copy or download them too"
        with open(folder / name, "rb") as file:
            head = file.read(200)
        if not head:
            return f"{name} is empty: copy or download it again"
        if head.startswith(b"version https://git-lfs"):
            return f"{name} is a pointer of Git LFS in place of the weights: run `git lfs pull` in the folder"
        if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<", b'{"error')):
            return f"{name} is a web page in place of the weights: download it again"
    return ""


def _weight_files(names: list[str], folder: Path) -> list[str] | str:
    """Return the names of the files with weights that transformers reads, or what is wrong where there are none."""
    for name in (SAFE, PICKLED):
        index = f"{name}.index.json"
        if name in names:
            return [name]
        if index in names:
            try:
                return sorted(set(json.loads((folder / index).read_text(encoding="utf-8"))["weight_map"].values()))
            except (ValueError, KeyError, AttributeError, TypeError):
                return f"{index} is damaged: copy or download it again"
    for suffix, kind in ELSEWHERE.items():
        for name in names:
            if name.endswith(suffix):
                return f"{name} holds weights for {kind}, which serlib does not read: save them from PyTorch"
    for name in names:
        if name.endswith(UNSAFE):
            return f"{name} is no {SAFE}: load it where it was made and write the folder by `save_pretrained`"
    return f"there is no {SAFE} in its folder: copy or download it"
