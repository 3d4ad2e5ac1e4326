"""Files that are either whole or not there, and the one key of what a number depends on."""

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serlib.errors import SerlibError

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def cache_dir() -> Path:
    """Return the folder for everything that serlib can make again (``SERLIB_CACHE`` or ``~/.cache/serlib``)."""
    folder = Path(os.environ.get("SERLIB_CACHE") or Path.home() / ".cache" / "serlib")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def atomic_path(path: Path | str, folder: bool = False) -> Iterator[Path]:
    """Give a temporary path beside ``path`` (a file, or an empty folder) that becomes ``path`` only on success.

    A kill or a full disk leaves at most a ``.partial`` sibling, which is never read. An existing folder at ``path``
    is replaced. SerlibError when the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    workshop = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    target = workshop / path.name
    try:
        if folder:
            target.mkdir()
        yield target
        if folder and path.exists():
            path.rename(workshop / "replaced")
        os.replace(target, path)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise SerlibError(f"there is no room on the disk for {path}; free some space and run again.") from error
        raise
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what a killed ``atomic_path`` left in a folder in which nobody else is writing."""
    for left in folder.glob(".*.partial"):
        shutil.rmtree(left, ignore_errors=True)


def checksum(path: Path | str, algorithm: str = "sha256") -> str:
    """Return the hexadecimal digest of a file, read in pieces so that size does not matter."""
    digest = hashlib.new(algorithm)
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def key_of(depends: Mapping[str, Any]) -> str:
    """Return the key of what a number depends on: the same for the same content, 16 hexadecimal digits.

    ``depends`` names each of it, such as sound, weights, settings and the version of the code; values are what JSON
    knows. Runs and caches are found by this key and by nothing else.
    """
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]


def safe_name(text: str) -> str:
    """Return a name for one file or folder made of any text: the same text where nothing in it could do harm.

    Letters, digits, spaces and ``, . _ -`` stay; what had to be changed gets a digest at its end, so that two texts
    never share a name.

    >>> safe_name("luna-jimenez-fold1")
    'luna-jimenez-fold1'
    >>> safe_name("../outside")
    'outside-62ca1d92'
    """
    name = re.sub(r"[^\w ,.-]+", "_", text)[:80].strip(" ._")
    return name if name and name == text else f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}".lstrip("-")
