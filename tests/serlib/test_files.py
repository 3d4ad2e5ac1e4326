"""Folders that the environment names, paths as people write them, names that no text can abuse, whole files or none."""

import errno
import os
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest
from filelock import FileLock, Timeout
from safetensors import SafetensorError

from serlib import files
from serlib.errors import SerlibError
from serlib.files import atomic_path, cache_dir, given_path, named_folder, safe_name, sole_maker


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("way", ["a b", "./a b", "~/a b", "x/../a b", "a b/"])
def test_a_path_is_absolute_however_it_is_written(home, way):
    assert given_path(way) == given_path(Path(way)) == home / "a b"


@pytest.mark.parametrize("odd", [None, 3, ["a"], float("nan")])
def test_what_is_no_path_is_said(odd):
    with pytest.raises(SerlibError, match=f"a path is text .* and this is {re.escape(repr(odd))}"):
        given_path(odd)


@pytest.mark.parametrize("text", ["~nobody-here/x", "~nobody-here"])
def test_the_home_of_nobody_is_said(home, monkeypatch, text):
    with pytest.raises(SerlibError, match=f"no home folder ~nobody-here for {text}; write the path without"):
        given_path(text)
    monkeypatch.setenv("SERLIB_CACHE", text)
    with pytest.raises(SerlibError, match="SERLIB_CACHE names no folder: there is no home folder ~nobody-here"):
        cache_dir()
    (home / "~nobody-here").mkdir()
    (home / "~nobody-here" / "x").touch()
    assert given_path(text) == home / text, "a file may be called so"


def test_a_path_holds_no_zero_byte():
    with pytest.raises(SerlibError, match="zero byte"):
        given_path("a\0b")


def test_a_folder_named_in_the_environment(home, monkeypatch):
    monkeypatch.delenv("SOME_FOLDER", raising=False)
    assert named_folder("SOME_FOLDER") is None
    for value, folder in (("", None), ("~/data", home / "data"), ("data", home / "data"), ("~", home)):
        monkeypatch.setenv("SOME_FOLDER", value)
        assert named_folder("SOME_FOLDER") == folder


def test_the_cache_lies_in_the_home_or_where_it_is_put(home, monkeypatch):
    monkeypatch.setenv("SERLIB_CACHE", "~/kept")
    assert cache_dir() == home / "kept" and (home / "kept").is_dir()
    monkeypatch.delenv("SERLIB_CACHE")
    assert cache_dir() == home / ".cache" / "serlib" and cache_dir().is_dir()


def test_a_home_that_is_none_is_said_with_the_way_out(home, monkeypatch):
    (home / "file").touch()
    monkeypatch.delenv("SERLIB_CACHE")
    monkeypatch.setenv("HOME", str(home / "file"))
    with pytest.raises(SerlibError, match="file/.cache/serlib cannot be made .*set SERLIB_CACHE to a folder"):
        cache_dir()
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for an account that no list knows
    with pytest.raises(SerlibError, match="no home folder; set SERLIB_CACHE"):
        cache_dir()
    assert [path.name for path in home.iterdir()] == ["file"]


PLAIN = [
    "luna-jimenez-fold1",
    "whisper-tiny.en",
    "03-01-06-01-02-01-12",
    "six actors, seed 102",
    "müde",
    "a_b",
    "-probe",
]
ODD = ["", ".", "..", "../x", "x/../../..", "/etc/passwd", "a/b", "a\\b", "a:b", "a\0b", "a\nb", "x.", " x", "x ",
       "\ud800", "nul", "NUL", "nul.txt", "com1", "Ann", "ANN", "a" * 300, "é" * 200, "$(touch x)", "`x`", "a;b", '"',
       "'", "<b>", "outside-62ca1d92", safe_name("../outside"), "deadbeef", "\u0301", "*"]  # fmt: skip


def test_a_harmless_name_stays(record_property):
    assert [safe_name(text) for text in PLAIN] == PLAIN


@pytest.mark.parametrize("text", ODD, ids=lambda text: ascii(text)[:30])
def test_a_name_stays_in_its_folder_and_is_one_that_every_disk_takes(text, tmp_path):
    name = safe_name(text)
    assert name != text and name.strip(" .") == name and len(name.encode()) < 128
    assert not set(name) & set('/\\:*?"<>|$`;\0\n') and name.split(".")[0].lower() not in files._DEVICES
    (tmp_path / name).mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert safe_name(text) == name


def test_no_two_texts_share_a_name():
    """Also where a disk does not tell large letters from small ones."""
    texts = {*PLAIN, *ODD, "ann", "a_b", "a b"}
    for one, other in combinations(sorted(texts), 2):
        assert safe_name(one).lower() != safe_name(other).lower(), (one, other)


# --- what cannot be written


def test_a_disk_that_fills_up_below_python_is_one_sentence(tmp_path):
    """What safetensors and torch write outside Python ends in errors of their own."""
    full = "I/O error: No space left on device (os error 28)"
    for error in (SafetensorError(full), RuntimeError("PytorchStreamWriter failed writing file data/1")):
        with pytest.raises(SerlibError, match="no room on the disk for .*weights; free some space"):
            with atomic_path(tmp_path / "weights", folder=True):
                raise error
    with pytest.raises(SafetensorError, match="damaged"), atomic_path(tmp_path / "weights"):
        raise SafetensorError("damaged")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
@pytest.mark.parametrize("step", ["mkdir", "mkdtemp", "replace"])
def test_a_folder_that_may_not_be_written_is_one_sentence(tmp_path, monkeypatch, number, step):
    """On a file system that is mounted to be read, in another's folder, on Windows where somebody holds the file."""
    monkeypatch.setenv("SERLIB_CACHE", str(tmp_path / "cache"))
    target = cache_dir() / "audio" / "x.npy"

    def refuse(*arguments, **_):
        raise OSError(number, os.strerror(number), str(target.parent if step != "replace" else arguments[0]))

    owner, name = {"mkdir": (Path, "mkdir"), "mkdtemp": (files.tempfile, "mkdtemp"), "replace": (os, "replace")}[step]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, refuse)
        patch.setattr(files, "cache_dir", lambda: tmp_path / "cache")
        with pytest.raises(SerlibError, match=r"cannot write to .*audio \(.+\); name another folder in SERLIB_CACHE"):
            with atomic_path(target) as fresh:
                fresh.write_text("whole")
    assert not list(tmp_path.rglob("*.partial")) and not target.exists()
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, refuse)
        patch.setattr(files, "cache_dir", lambda: tmp_path / "elsewhere")
        with pytest.raises(SerlibError, match="choose a folder that you may write to"):
            with atomic_path(target) as fresh:
                fresh.write_text("whole")


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "runs").write_text("no folder")
    with pytest.raises(SerlibError, match=r"cannot write to .*runs.*choose a folder"):
        with atomic_path(tmp_path / "runs" / "x"):
            pass
    with pytest.raises(SerlibError, match=r"cannot write to .*choose a folder"):
        with atomic_path(tmp_path / "runs" / "deeper" / "x"):
            pass


def test_the_trouble_of_others_stays_theirs(tmp_path):
    """Not every refusal that comes up while a file is made is about that file."""
    with pytest.raises(PermissionError, match="passwords"), atomic_path(tmp_path / "x"):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/etc/passwords")
    with pytest.raises(SerlibError, match="no room on the disk"), atomic_path(tmp_path / "x"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_one_maker_at_a_time_sweeps_what_a_killed_one_left(tmp_path, monkeypatch):
    monkeypatch.setenv("SERLIB_CACHE", str(tmp_path))
    code = "import sys, time; from serlib import files\nwith files.sole_maker(files.cache_dir() / 'audio'):\n"
    code += "    with files.atomic_path(files.cache_dir() / 'audio' / 'x') as fresh:\n"
    code += "        fresh.write_text('half'); print('in', flush=True); time.sleep(600)"
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "in\n"
        lock = FileLock(tmp_path / "locks" / "audio.lock")
        with pytest.raises(Timeout):
            lock.acquire(timeout=0.1)
        assert list((tmp_path / "audio").glob(".*.partial"))
    finally:
        other.kill()
        other.wait()
    with sole_maker(tmp_path / "audio"):
        assert list((tmp_path / "audio").iterdir()) == []
