"""A corpus from its official record: every file fetched, checked, and in place when all of it is there.

A record lists files with their checksums. The library pooch reads such records too, but begins a broken file anew, asks
for the list again with each file, and knows neither Mendeley Data nor Git LFS.
"""

import errno
import hashlib
import http.client
import json
import os
import re
import shutil
import stat
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from tqdm.auto import tqdm

from serlib.errors import SerlibError
from serlib.files import atomic_path, checksum, sole_maker

ZENODO = "https://zenodo.org"
MENDELEY = "https://data.mendeley.com"
ARCHIVES, LFS_FILES = "https://codeload.github.com", "https://media.githubusercontent.com/media"
RETRY_SECONDS = (1, 4, 15)
"""Waits before a broken download goes on; after the last it gives up."""
CONNECTIONS = 8
_WANTED = {".wav", ".flac", ".zip"}
_AGENT = {"User-Agent": "Mozilla/5.0 (compatible; serlib)"}  # Mendeley Data is said to refuse a name without Mozilla


class Piece(NamedTuple):
    """A file of a record.

    ``checksum`` is "md5:..." or "sha256:..." of it, "tree:..." for what git calls the tree of a ``folder`` in a zip
    archive, which then is all that is unpacked, or "" for none. ``size`` is in bytes, about.

    Examples
    --------
    >>> from serlib.data.downloads import Piece
    >>> Piece("wav/03a01Fa.wav", "https://example.org/03a01Fa.wav", "md5:5d41402abc4b2a76b9719d911017c592").size
    0
    """

    path: str
    url: str
    checksum: str = ""
    size: int = 0
    folder: str = ""


@dataclass(frozen=True)
class Record:
    """What is downloaded, and what a sentence about it has to say.

    ``where`` is the sentence that says where a person gets it, ``by_hand`` what to do with such a copy. ``listing``
    takes the record and a folder to work in, and returns the pieces.

    Examples
    --------
    >>> from serlib.data.downloads import Piece, Record
    >>> hello = Piece("hello.zip", "https://example.org/hello.zip", "md5:5d41402abc4b2a76b9719d911017c592")
    >>> Record("Hello", "CC0", "Get it from example.org.", "give its folder", lambda *_: [hello]).title
    'Hello'
    """

    title: str
    terms: str
    where: str
    by_hand: str
    listing: Callable[["Record", Path], list[Piece]]

    @property
    def otherwise(self) -> str:
        """Return the end of a sentence, for a record that cannot be downloaded."""
        return f"{self.where[0].lower()}{self.where[1:].removesuffix('.')} by hand, unpack it and {self.by_hand}."


def download(folder: Path, record: Record) -> Path:
    """Bring a record into ``folder`` of the cache and return it; nothing is done when it is there.

    What is broken off goes on where it stopped, now or at the next call, and what has arrived is not fetched again.
    Every file is checked; the folder appears when all of it is there. Archives need their room twice for a moment.

    Raises
    ------
    SerlibError
        For no network, a record that moved or looks otherwise, a wrong checksum, a full disk.

    Examples
    --------
    >>> from pathlib import Path
    >>> from serlib.data.downloads import Record, download
    >>> record = Record("EmoDB", "CC BY 4.0", "Get it.", "give its folder", lambda *_: [])
    >>> download(Path("notebooks"), record).name  # something is there already
    'notebooks'
    """
    if _is_there(folder):  # before the lock, which a cache that others may only read has no room for
        return folder
    with sole_maker(folder):
        if not _is_there(folder):
            work = folder.with_name(f"{folder.name}.partial")
            pieces = _listed(record, work)
            print(_what_comes(record, pieces))
            _fetch_all(pieces, work, record)
            _put_together(pieces, work, folder)
            shutil.rmtree(work)
    return folder


def _is_there(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _what_comes(record: Record, pieces: list[Piece]) -> str:
    count, megabytes = len(pieces), sum(piece.size for piece in pieces) / 1e6
    place = urlsplit(pieces[0].url).netloc
    return (
        f"{record.title} is downloaded from {place}: {count:,} file{'s' * (count > 1)}, {megabytes:,.0f} MB, under "
        f"{record.terms}."
    )


def _listed(record: Record, work: Path) -> list[Piece]:
    """Return what a record lists, or SerlibError where it lists nothing that is understood."""
    try:
        pieces = [piece for piece in record.listing(record, work) if Path(piece.path).suffix.lower() in _WANTED]
    except SerlibError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SerlibError(
            f"the list of files of {record.title} cannot be read ({error!r:.60}); {record.otherwise}"
        ) from error
    if not pieces:
        raise SerlibError(f"the list of files of {record.title} has no recordings; {record.otherwise}")
    if len({piece.path for piece in pieces}) < len(pieces):
        raise SerlibError(f"the list of files of {record.title} has a name twice; {record.otherwise}")
    return pieces


# What a record lists


def pinned(*pieces: Piece) -> Callable[[Record, Path], list[Piece]]:
    """Return the listing of files whose addresses and checksums are known beforehand.

    Examples
    --------
    >>> from pathlib import Path
    >>> from serlib.data.downloads import Piece, pinned
    >>> pinned(Piece("speech.zip", "https://example.org/speech.zip"))(None, Path("."))[0].path
    'speech.zip'
    """
    return lambda record, work: list(pieces)


def zenodo(number: int) -> Callable[[Record, Path], list[Piece]]:
    """Return the listing of a record of Zenodo: each file with its MD5.

    Examples
    --------
    >>> from serlib.data.downloads import zenodo
    >>> listing = zenodo(7447302)  # asks nobody yet
    """

    def listing(record: Record, work: Path) -> list[Piece]:
        # developers.zenodo.org, Records: {"files": [{"key": ..., "size": ..., "checksum": "md5:..."}]}
        files = _json(f"{ZENODO}/api/records/{number}", work, record)["files"]
        return [
            Piece(
                file["key"],
                f"{ZENODO}/records/{number}/files/{quote(file['key'])}?download=1",
                _known(file["checksum"]),
                file["size"],
            )
            for file in files
        ]

    return listing


def dataverse(site: str, doi: str, version: str) -> Callable[[Record, Path], list[Piece]]:
    """Return the listing of a version of a dataset on a Dataverse: each file with its checksum.

    Examples
    --------
    >>> from serlib.data.downloads import dataverse
    >>> listing = dataverse("https://borealisdata.ca", "10.5683/SP2/E8H2MF", "1.0")  # asks nobody yet
    """

    def listing(record: Record, work: Path) -> list[Piece]:
        # guides.dataverse.org, Native API, List Files in a Dataset: {"data": [{"label": ..., "directoryLabel": ...,
        # "dataFile": {"id": ..., "filesize": ..., "checksum": {"type": "MD5", "value": ...}}}]}
        url = f"{site}/api/datasets/:persistentId/versions/{version}/files?persistentId=doi:{doi}"
        pieces = []
        for file in _json(url, work, record)["data"]:
            said = file["dataFile"]["checksum"]
            algorithm = said["type"].replace("-", "").lower()
            pieces.append(
                Piece(
                    f"{file.get('directoryLabel', '')}/{file['label']}".lstrip("/"),
                    f"{site}/api/access/datafile/{file['dataFile']['id']}",
                    _known(f"{algorithm}:{said['value']}"),
                    file["dataFile"]["filesize"],
                )
            )
        return pieces

    return listing


def mendeley(dataset: str, version: int) -> Callable[[Record, Path], list[Piece]]:
    """Return the listing of a version of a dataset of Mendeley Data: each file of each folder with its SHA-256.

    Examples
    --------
    >>> from serlib.data.downloads import mendeley
    >>> listing = mendeley("cy34mh68j9", 5)  # asks nobody yet
    """

    def listing(record: Record, work: Path) -> list[Piece]:
        # What the dataset's own page asks; nobody documents it, and public programs agree on it:
        # folders: [{"id": ..., "name": ..., "parent_id": ...}], without parent_id at the top; files of a folder:
        # [{"id": ..., "filename": ..., "size": ..., "content_details": {"sha256_hash": ..., "download_url": ...}}]
        base = f"{MENDELEY}/public-api/datasets/{dataset}"
        folders = {folder["id"]: folder for folder in _json(f"{base}/folders/{version}", work, record)}

        def place(folder: str | None) -> str:
            return f"{place(folders[folder].get('parent_id'))}{folders[folder]['name']}/" if folder in folders else ""

        return [
            Piece(
                place(folder) + file["filename"],
                file["content_details"]["download_url"],
                _known(f"sha256:{file['content_details']['sha256_hash']}"),
                file["size"],
            )
            for folder in ("root", *folders)
            for file in pages(f"{base}/files?folder_id={folder}&version={version}", work, record)
        ]

    def pages(url: str, work: Path, record: Record) -> Iterator[dict[str, Any]]:
        """Yield the files of a folder, of which an answer may hold only some."""
        seen: set[str] = set()
        while page := _json(f"{url}&$start={len(seen)}&$limit=1000", work, record):
            if not (new := [file for file in page if file["id"] not in seen]):
                return
            seen |= {file["id"] for file in new}
            yield from new

    return listing


def github(repository: str, commit: str, folder: str, tree: str, size: int) -> Callable[[Record, Path], list[Piece]]:
    """Return the listing of a folder at the top of a GitHub repository: one archive of the commit.

    GitHub may pack the same files otherwise tomorrow, so that the archive has no checksum. The folder has: ``tree`` is
    what ``git rev-parse COMMIT:FOLDER`` says, made of the content of every file. ``size`` is that of the archive.

    Examples
    --------
    >>> from serlib.data.downloads import github
    >>> github("them/speech", "c0ffee", "wav", "beef", 9)(None, None)[0].url
    'https://codeload.github.com/them/speech/zip/c0ffee'
    """
    return lambda record, work: [_archive(repository, commit, folder, tree, size)]


def github_lfs(repository: str, commit: str, folder: str, tree: str) -> Callable[[Record, Path], list[Piece]]:
    """Return the listing of a folder whose files GitHub keeps in Git LFS: each with its SHA-256.

    The archive of the commit then holds a pointer for each file, and ``tree`` is made of the pointers.

    Examples
    --------
    >>> from serlib.data.downloads import github_lfs
    >>> listing = github_lfs("them/speech", "c0ffee", "wav", "beef")  # asks nobody yet
    """

    def listing(record: Record, work: Path) -> list[Piece]:
        archive = _archive(repository, commit, folder, tree, 0)
        _fetch(archive, work, record, lambda count: None)
        pieces = []
        with zipfile.ZipFile(work / archive.path) as file:
            for member in _members(file, folder):
                # git-lfs/docs/spec.md, The Pointer
                pointer = dict(line.split(" ", 1) for line in file.read(member).decode().splitlines())
                name = PurePosixPath(member.filename).name
                url = f"{LFS_FILES}/{repository}/{commit}/{folder}/{quote(name)}"
                pieces.append(Piece(f"{folder}/{name}", url, _known(pointer["oid"]), int(pointer["size"])))
        return pieces

    return listing


def _archive(repository: str, commit: str, folder: str, tree: str, size: int) -> Piece:
    return Piece(f"{folder}.zip", f"{ARCHIVES}/{repository}/zip/{commit}", f"tree:{tree}", size, folder)


def _known(said: str) -> str:
    """Return a checksum as "algorithm:digest", ValueError for one that cannot be computed here."""
    if not re.fullmatch(r"md5:[0-9a-f]{32}|sha1:[0-9a-f]{40}|sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", said.lower()):
        raise ValueError(f"the checksum {said}")
    return said.lower()


def _json(url: str, work: Path, record: Record) -> Any:
    """Return what a server answers to a program, asked anew each time."""
    name = "listing.json"
    for old in (work / name, work / f"{name}.partial"):
        old.unlink(missing_ok=True)
    _fetch(Piece(name, url), work, record, lambda count: None)
    return json.loads((work / name).read_text(encoding="utf-8"))


# Fetching


def _fetch_all(pieces: list[Piece], work: Path, record: Record) -> None:
    """Fetch all pieces, several at once; the first that fails ends it."""
    total = sum(piece.size for piece in pieces) or None
    with tqdm(total=total, unit="B", unit_scale=True, desc=record.title, leave=False) as bar:
        if len(pieces) == 1:  # in this thread, which Ctrl-C stops at once
            return _fetch(pieces[0], work, record, bar.update)
        pool = ThreadPoolExecutor(CONNECTIONS)
        try:
            for done in as_completed([pool.submit(_fetch, piece, work, record, bar.update) for piece in pieces]):
                done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _fetch(piece: Piece, work: Path, record: Record, report: Callable[[int], Any]) -> None:
    """Download to ``work``, in pieces to a ``.partial`` first; whole and checked, or SerlibError.

    ``report`` is told how many bytes more there are.
    """
    target = _below(work, piece.path, record.title)
    if target.exists():  # a kill came before all was there; what else lies there under its name is not believed
        if piece.checksum and _digest(target, piece) == piece.checksum:
            report(target.stat().st_size)
            return
        print(f"{target} is not the published file, so it is downloaded anew.")
        target.unlink()
    part = target.with_name(target.name + ".partial")
    place = urlsplit(piece.url).netloc
    waits = list(RETRY_SECONDS)
    arrived = 0

    def arrive(count: int) -> None:
        nonlocal arrived
        arrived += count
        report(count)

    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            arrive(before - arrived)
            _fetch_rest(piece.url, part, arrive)
            break
        except urllib.error.HTTPError as error:
            if error.code == 416:  # The piece is longer than the file: not ours.
                part.unlink(missing_ok=True)
            elif error.code < 500 and error.code not in (408, 429):
                raise SerlibError(
                    f"{place} answers {error.code} ({error.reason}) for {piece.url}; {record.otherwise}"
                ) from error
            reason: object = f"{error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise SerlibError(
                    f"there is no room on the disk for {part}; free some space and run again: it goes on."
                ) from error
            reason = getattr(error, "reason", None) or error
        if part.exists() and part.stat().st_size > before:
            waits = list(RETRY_SECONDS)  # It moved: patience starts anew.
        if not waits:
            raise SerlibError(
                f"no connection to {place} ({reason}); check the network and run again, what has arrived is kept; or "
                f"{record.otherwise}"
            )
        time.sleep(waits.pop(0))
    if piece.checksum and (found := _digest(part, piece)) != piece.checksum:
        part.unlink()
        raise SerlibError(
            f"what {place} sent is not the published file ({piece.path} has {found}, not {piece.checksum}); it was "
            f"removed: run again, or {record.otherwise}"
        )
    os.replace(part, target)


def _fetch_rest(url: str, part: Path, report: Callable[[int], Any]) -> None:
    """Append what is missing to ``part``; ConnectionError when the server stops in the middle."""
    part.parent.mkdir(parents=True, exist_ok=True)
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers=_AGENT)
    if done:
        request.add_header("Range", f"bytes={done}-")
    with urllib.request.urlopen(request, timeout=30) as response:
        if response.status != 206:  # The server does not continue: from the start.
            report(-done)
            done = 0
        length = response.headers.get("Content-Length")
        with open(part, "ab" if done else "wb") as file:
            # read1 hands over what is there; read would lose up to a piece when the line breaks.
            while piece := response.read1(1 << 18):
                file.write(piece)
                report(len(piece))
    # http.client takes a connection that closes early for the end of the file.
    if length is not None and part.stat().st_size < done + int(length):
        raise ConnectionError("the connection broke")


# Checking


def _digest(path: Path, piece: Piece) -> str:
    """Return the checksum of a file, of the kind that its piece has."""
    algorithm = piece.checksum.partition(":")[0]
    if algorithm != "tree":
        return f"{algorithm}:{checksum(path, algorithm)}"
    try:
        with zipfile.ZipFile(path) as file:
            blobs = {
                PurePosixPath(member.filename).name: _git_blob(file.read(member))
                for member in _members(file, piece.folder)
            }
    except (zipfile.BadZipFile, EOFError, zlib.error):
        return "no whole archive"
    return f"tree:{_git_tree(blobs)}"


def _git_blob(content: bytes) -> str:
    """Return what git calls a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _git_tree(blobs: Mapping[str, str]) -> str:
    """Return what git calls a folder of plain files, name -> blob: one checksum of all of them and their names."""
    named = sorted((name.encode(), bytes.fromhex(blob)) for name, blob in blobs.items())
    rows = b"".join(b"100644 %s\0%s" % row for row in named)
    return hashlib.sha1(b"tree %d\0" % len(rows) + rows, usedforsecurity=False).hexdigest()


def _members(file: zipfile.ZipFile, folder: str) -> list[zipfile.ZipInfo]:
    """Return the files of a zip archive: all, or those right in a folder below the one at the top."""
    files = [member for member in file.infolist() if not member.is_dir()]
    return [member for member in files if not folder or PurePosixPath(member.filename).parts[1:-1] == (folder,)]


def _below(folder: Path, name: str, holder: object) -> Path:
    """Return the path of a name below a folder, or SerlibError for a name that leads out of it."""
    path = os.path.abspath(folder / name.replace("\\", "/"))
    if os.path.commonpath([folder.absolute(), path]) != str(folder.absolute()):
        raise SerlibError(f"{holder} wants to write {name} outside its folder; do not trust it.")
    return Path(path)


# Putting together


def _put_together(pieces: list[Piece], work: Path, folder: Path) -> None:
    """Make the folder of what has arrived, archives unpacked; it appears when all of it is there.

    Raises SerlibError for a damaged archive, and for a member that points out of the folder or is a link.
    """
    with atomic_path(folder, folder=True) as inside:
        archives = [piece for piece in pieces if piece.path.lower().endswith(".zip")]
        for piece in archives:
            _unzip(work / piece.path, inside, piece.folder)
        for piece in pieces:  # last, when nothing can fail any more
            if piece not in archives:
                target = _below(inside, piece.path, folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(_below(work, piece.path, folder), target)


def _unzip(archive: Path, inside: Path, folder: str) -> None:
    try:
        with zipfile.ZipFile(archive) as file:
            members = _members(file, folder)
            for member in members:
                _below(inside, member.filename, archive)
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise SerlibError(f"{archive} holds the link {member.filename}; do not trust it.")
            file.extractall(inside, members)
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise SerlibError(f"{archive} is no whole zip archive ({error}); remove it and download it again.") from error
