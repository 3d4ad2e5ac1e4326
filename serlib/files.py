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

from filelock import FileLock

from serlib.errors import SerlibError, in_short

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NOT_OURS = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}


def given_path(path: Path | str) -> Path:
    """Return a path that a reader wrote, absolute, with ``~`` for the home folder.

    Returns
    -------
    Path
        Absolute, whether anything is there or not.

    Raises
    ------
    SerlibError
        For what is no path, such as None or a number, and for the home folder of nobody.

    Examples
    --------
    >>> from serlib.files import given_path
    >>> given_path("data/clips") == given_path("./data/../data/clips/")
    True
    """
    try:
        text = os.fsdecode(path)
    except TypeError as error:
        raise SerlibError(f"a path is text such as data/clips, and this is {in_short(path)}; check it.") from error
    if "\0" in text:
        raise SerlibError(f"{text!r:.60} is no path, because of its zero byte; check it.")
    found = os.path.expanduser(text)
    if found.startswith("~") and not os.path.lexists(found):  # else a file is called so
        owner = Path(found).parts[0]
        raise SerlibError(f"there is no home folder {owner} for {text}; write the path without {owner}.")
    return Path(os.path.abspath(found))


def named_folder(variable: str) -> Path | None:
    """Return the folder that an environment variable names, None where it names none.

    Raises
    ------
    SerlibError
        For a name that ``given_path`` does not take; the sentence begins with the variable.

    Examples
    --------
    >>> from serlib.files import named_folder
    >>> print(named_folder("NO_SUCH_VARIABLE"))
    None
    """
    if not (named := os.environ.get(variable)):
        return None
    try:
        return given_path(named)
    except SerlibError as error:
        raise SerlibError(f"{variable} names no folder: {error}") from error


def cache_dir() -> Path:
    """Return the folder for everything that serlib can make again (``SERLIB_CACHE`` or ``~/.cache/serlib``).

    It is made where it is not there yet.

    Raises
    ------
    SerlibError
        Where that is not to be had, such as for an account without a home.

    Examples
    --------
    >>> from serlib.files import cache_dir
    >>> cache_dir().is_dir()
    True
    """
    if not (folder := named_folder("SERLIB_CACHE")):
        try:
            folder = given_path("~/.cache/serlib")
        except SerlibError as error:
            raise SerlibError(
                "this account has no home folder; set SERLIB_CACHE to a folder that you may write to."
            ) from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SerlibError(
            f"{folder} cannot be made for what serlib keeps ({error.strerror}); set SERLIB_CACHE to a folder that you "
            "may write to."
        ) from error
    return folder


@contextmanager
def atomic_path(path: Path | str, folder: bool = False) -> Iterator[Path]:
    """Give a temporary path beside ``path`` (a file, or an empty folder) that becomes ``path`` only on success.

    A kill or a full disk leaves at most a ``.partial`` sibling, which is never read.

    Parameters
    ----------
    path
        Where the file or folder is to stand. An existing folder there is replaced, and folders above it are made.
    folder
        Whether it is a folder.

    Yields
    ------
    Path
        Where to write meanwhile; a folder is there already, a file is not.

    Raises
    ------
    SerlibError
        When the disk is full, or may not be written to.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from serlib.files import atomic_path
    >>> folder = tempfile.TemporaryDirectory()
    >>> with atomic_path(Path(folder.name, "notes", "first.txt")) as unfinished:
    ...     _ = unfinished.write_text("whole")
    >>> Path(folder.name, "notes", "first.txt").read_text()
    'whole'
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        workshop = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    except OSError as error:
        if refusal := _refusal(path, error):
            raise refusal from error
        raise
    target = workshop / path.name
    try:
        if folder:
            target.mkdir()
        yield target
        if folder and path.exists():
            path.rename(workshop / "replaced")
        os.replace(target, path)
    except OSError as error:
        # A refusal may be about another file that was read meanwhile; a full disk is this one's.
        ours = Path(str(error.filename)).absolute().is_relative_to(path.parent.absolute())
        if (ours or full_disk(error)) and (refusal := _refusal(path, error)):
            raise refusal from error
        raise
    except Exception as error:
        if full_disk(error) and (refusal := _refusal(path, error)):
            raise refusal from error
        raise
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def full_disk(error: Exception) -> bool:
    """Return whether an error says that the disk is full.

    Examples
    --------
    >>> from serlib.files import full_disk
    >>> full_disk(OSError(28, "No space left on device")), full_disk(OSError(13, "Permission denied"))
    (True, False)
    """
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return True
    # safetensors and torch write outside Python, and their errors carry the number in their text, or nothing
    return any(f"(os error {n})" in str(error) for n in NO_ROOM) or "PytorchStreamWriter failed" in str(error)


def _refusal(path: Path, error: Exception) -> SerlibError | None:
    """Return in a sentence why a file cannot be written, None for what has another reason."""
    if full_disk(error):
        return SerlibError(f"there is no room on the disk for {path}; free some space and run again.")
    if not isinstance(error, OSError) or error.errno not in NOT_OURS:
        return None
    kept = path.absolute().is_relative_to(cache_dir().absolute())
    way_out = "name another folder in SERLIB_CACHE" if kept else "choose a folder that you may write to"
    return SerlibError(f"cannot write to {path.parent} ({error.strerror}); {way_out}.")


@contextmanager
def sole_maker(folder: Path) -> Iterator[None]:
    """Let one program at a time make a folder of the cache, or things in it; remove what killed ones left half made.

    What else is being made beside the folder is left alone, since others hold its lock.

    Raises
    ------
    SerlibError
        Where nothing can be locked, such as in a cache that may only be read.

    Examples
    --------
    >>> from serlib.files import cache_dir, sole_maker
    >>> with sole_maker(cache_dir() / "notes"):
    ...     print("nobody else makes it now")
    nobody else makes it now
    """
    try:
        lock = FileLock(cache_dir() / "locks" / f"{folder.name}.lock")
        Path(lock.lock_file).parent.mkdir(exist_ok=True)
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise SerlibError(
            f"cannot lock {folder} ({error}); name a folder in SERLIB_CACHE that you may write to, on this machine."
        ) from error
    try:
        sweep(folder)
        sweep(folder.parent, folder.name)
        yield
    finally:
        lock.release()


def sweep(folder: Path, name: str = "*") -> None:
    """Remove what a killed ``atomic_path`` left in a folder, of one name or of all; nobody else may be making it."""
    for left in folder.glob(f".{name}.*.partial"):
        shutil.rmtree(left, ignore_errors=True)


def checksum(path: Path | str, algorithm: str = "sha256") -> str:
    """Return the hexadecimal digest of a file, read in pieces so that size does not matter.

    ``algorithm`` is a name that hashlib knows.

    Examples
    --------
    >>> from serlib.files import checksum
    >>> len(checksum("README.md"))
    64
    """
    digest = hashlib.new(algorithm)
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def key_of(depends: Mapping[str, Any]) -> str:
    """Return the key of what a number depends on: the same for the same content, 16 hexadecimal digits.

    ``depends`` names each of it, such as sound, weights, settings and the version of the code; values are what JSON
    knows. Runs and caches are found by this key and by nothing else.

    Examples
    --------
    >>> from serlib.files import key_of
    >>> key_of({"seed": 101, "trim": True}) == key_of({"trim": True, "seed": 101})
    True
    >>> key_of({"seed": 101}) == key_of({"seed": 102})
    False
    """
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]


# What Windows takes for a device, whatever ending follows.
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{k}" for port in ("com", "lpt") for k in range(10))}


def safe_name(text: str) -> str:
    """Return a name for one file or folder made of any text: the same text where nothing in it could do harm.

    Small letters, digits, spaces and ``, . _ -`` stay. What had to be changed, and what a Mac or Windows could take for
    another name, gets a digest at its end, so that no two texts share a name.

    Examples
    --------
    >>> from serlib.files import safe_name
    >>> safe_name("luna-jimenez-fold1")
    'luna-jimenez-fold1'
    >>> safe_name("../outside")
    'outside-62ca1d92'
    """
    name = re.sub(r"[^\w ,.-]+", "_", text).encode()[:80].decode(errors="ignore").strip(" ._")
    if name.split(".")[0].lower() in _DEVICES:
        name = name.replace(".", "_")
    elif name and name == text == name.lower() and not re.search(r"(^|-)[0-9a-f]{8}$", name):  # how a changed one ends
        return name
    return f"{name}-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:8]}".lstrip("-")
