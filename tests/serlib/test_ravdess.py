"""RAVDESS found in folders, and downloaded from a server that breaks off."""

import io
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import warnings
import zipfile
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serlib.data import ravdess as module
from serlib.data.audit import audit
from serlib.data.corpus import COLUMNS
from serlib.data.ravdess import _download, _unzip, parse_name, ravdess
from serlib.errors import SerlibError

# Names


def write(path: Path, seconds: float = 0.5, level: float = 0.3, seed: int = 0, rate: int = 16_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = level * np.random.default_rng(seed).uniform(-1, 1, int(seconds * rate))
    soundfile.write(path, samples, rate)
    return path


def test_the_example_of_the_authors():
    """Livingstone and Russo explain 02-01-06-01-02-01-12; this is its audio-only sister."""
    assert parse_name("03-01-06-01-02-01-12") == {
        "actor": "12",
        "sex": "female",
        "emotion": "fearful",
        "intensity": "normal",
        "statement": 2,
        "repetition": 1,
    }


@pytest.mark.slow
def test_all_official_names_say_what_they_should(ravdess_names):
    for clip, row in ravdess_names.iterrows():
        assert parse_name(clip) == row.drop(["path", "seconds"]).to_dict()


@pytest.mark.parametrize(
    ("stem", "sentence"),
    [
        (None, "None is not a RAVDESS name"),
        (["03-01-06-01-02-01-12"], "not a RAVDESS name"),
        ("03-01-06-01-02-01", "not a RAVDESS name"),
        ("03-01-09-01-02-01-12", "not a RAVDESS name"),
        ("03-01-06-01-02-01-25", "not a RAVDESS name"),
        ("03-01-06-01-02-01-12 (1)", "not a RAVDESS name"),
        ("hello", "not a RAVDESS name"),
        ("03-01-01-02-02-01-12", "neutral has no strong"),
        ("03-02-06-01-02-01-12", "not an audio-only speech clip"),
        ("02-01-06-01-02-01-12", "not an audio-only speech clip"),
    ],
)
def test_other_names_are_refused(stem, sentence):
    with pytest.raises(SerlibError, match=sentence):
        parse_name(stem)


# Folders


def test_a_folder_becomes_a_corpus(tiny_dir):
    found = ravdess(tiny_dir)
    assert len(found) == 16 and found.index.name == "clip" and found.index.is_monotonic_increasing
    assert tuple(found.columns) == COLUMNS
    row = found.loc["03-01-03-01-01-02-04"]
    assert (row["actor"], row["sex"], row["emotion"], row["repetition"]) == ("04", "female", "happy", 2)
    assert row["seconds"] == pytest.approx(0.6)
    assert all(os.path.isabs(path) and os.path.isfile(path) for path in found["path"])
    assert found.attrs["name"] == "ravdess" and not found.attrs["synthetic"]


def test_the_environment_says_where(tiny_dir, monkeypatch):
    monkeypatch.setenv("RAVDESS_DIR", str(tiny_dir))
    assert len(ravdess()) == 16


def test_folders_are_written_as_people_write_them(own_folder, monkeypatch):
    """Relative to where one is, and from the home folder: what the page on troubleshooting promises."""
    monkeypatch.setenv("HOME", str(own_folder.parent))
    monkeypatch.chdir(own_folder.parent)
    whole = ravdess(own_folder)
    for way in (f"~/{own_folder.name}", own_folder.name, f"./{own_folder.name}/"):
        assert ravdess(way).equals(whole)
        monkeypatch.setenv("RAVDESS_DIR", way)
        assert ravdess().equals(whole)
    with pytest.raises(SerlibError, match="a path is text"):
        ravdess(3)
    with pytest.raises(SerlibError, match="no folder .*nowhere; give another folder"):
        ravdess("~/nowhere")
    monkeypatch.setenv("RAVDESS_DIR", "~/nowhere")
    with pytest.raises(SerlibError, match=f"no folder {own_folder.parent / 'nowhere'}; correct RAVDESS_DIR"):
        ravdess()


def test_a_cache_that_may_only_be_read_is_enough(tiny_dir, own_cache, monkeypatch):
    shutil.copytree(tiny_dir, own_cache / "ravdess")

    def refuse(*_, **__):
        raise PermissionError("read-only")

    monkeypatch.setattr(module, "FileLock", refuse)
    assert len(ravdess()) == 16


def test_the_cache_is_used_when_nothing_is_said(tiny_dir, own_cache):
    shutil.copytree(tiny_dir, own_cache / "ravdess")
    assert len(ravdess()) == 16


def test_flac_and_flat_folders_are_taken(tiny_dir, tmp_path):
    (tmp_path / "flat").mkdir()
    for path in tiny_dir.rglob("*.wav"):
        samples, rate = soundfile.read(path)
        soundfile.write(tmp_path / "flat" / f"{path.stem}.flac", samples, rate)
    assert ravdess(tmp_path / "flat").index.equals(ravdess(tiny_dir).index)


def test_a_missing_or_empty_folder_is_refused(tmp_path):
    with pytest.raises(SerlibError, match="no folder .*nowhere"):
        ravdess(tmp_path / "nowhere")
    with pytest.raises(SerlibError, match="holds no speech clips"):
        ravdess(tmp_path)
    (tmp_path / "Actor_01").mkdir()
    with pytest.raises(SerlibError, match="holds no speech clips"):
        ravdess(tmp_path)


def test_song_video_and_hidden_files_are_passed_over(own_folder):
    write(own_folder / "Actor_01" / "03-02-03-01-01-01-01.wav")
    (own_folder / "Actor_01" / "01-01-03-01-01-01-01.mp4").write_bytes(b"video")
    (own_folder / "Actor_01" / "._03-01-03-01-01-01-01.wav").write_bytes(b"what a Mac leaves behind")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(ravdess(own_folder)) == 16


def test_a_misnamed_file_is_left_out_and_said(own_folder):
    write(own_folder / "Actor_01" / "03-01-03-01-01-01-99.wav")
    with pytest.warns(UserWarning, match="1 misnamed file.*03-01-03-01-01-01-99.wav"):
        found = ravdess(own_folder)
    assert len(found) == 16
    assert audit(found).misnamed == (str(own_folder / "Actor_01" / "03-01-03-01-01-01-99.wav"),)


@pytest.mark.parametrize("harm", ["zero bytes", "cut off", "no sound"])
def test_an_unreadable_file_is_left_out_and_said(own_folder, harm):
    path = own_folder / "Actor_02" / "03-01-04-01-01-01-02.wav"
    data = path.read_bytes()
    path.write_bytes({"zero bytes": b"", "cut off": data[:5_000], "no sound": b"hello" * 1000}[harm])
    with pytest.warns(UserWarning, match="1 unreadable file.*03-01-04-01-01-01-02.wav"):
        found = ravdess(own_folder)
    assert len(found) == 15 and audit(found).unreadable == (str(path),)


def test_a_folder_of_nothing_but_broken_files_is_refused(own_folder):
    for path in own_folder.rglob("*.wav"):
        path.write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="16 unreadable"),
        pytest.raises(SerlibError, match="none of the 16 clips"),
    ):
        ravdess(own_folder)


def test_two_copies_of_a_clip_are_refused(own_folder):
    shutil.copy(own_folder / "Actor_01" / "03-01-03-01-01-01-01.wav", own_folder / "Actor_02")
    with pytest.raises(SerlibError, match="1 clip.* twice, the first as .*Actor_01.* and .*Actor_02"):
        ravdess(own_folder)


def test_a_second_copy_in_an_inner_folder_does_no_harm(own_folder, tiny_dir):
    shutil.copytree(tiny_dir, own_folder / "audio_speech_actors_01-24")
    assert len(ravdess(own_folder)) == 16
    shutil.rmtree(own_folder / "audio_speech_actors_01-24")
    (own_folder.parent / "outer").mkdir()
    own_folder.rename(own_folder.parent / "outer" / "inner")
    assert len(ravdess(own_folder.parent / "outer")) == 16


def test_actors_in_further_folders_are_found(own_folder, tmp_path):
    """Archives unpacked side by side or into one another: each clip counts once, the upper one."""
    whole = ravdess(own_folder)
    (own_folder / "more" / "still more").mkdir(parents=True)
    (own_folder / "Actor_03").rename(own_folder / "more" / "Actor_03")
    (own_folder / "Actor_04").rename(own_folder / "more" / "still more" / "Actor_04")
    columns = whole.columns.drop("path")
    assert ravdess(own_folder)[columns].equals(whole[columns])
    (own_folder / "Actor_02").rename(own_folder / "Actor_01" / "Actor_02")
    assert ravdess(own_folder)[columns].equals(whole[columns])
    (own_folder / ".trash").mkdir()
    shutil.copytree(own_folder / "Actor_01", own_folder / ".trash" / "Actor_01")
    assert len(ravdess(own_folder)) == 16 and not ravdess(own_folder)["path"].str.contains("trash").any()


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_folders_may_be_links(tiny_dir, tmp_path):
    for actor in ("Actor_01", "Actor_02"):
        (tmp_path / actor).symlink_to(tiny_dir / actor)
    (tmp_path / "Actor_03").mkdir()
    (tmp_path / "Actor_03" / "up").symlink_to(tmp_path)  # a ring
    found = ravdess(tmp_path)
    assert sorted(found["actor"].unique()) == ["01", "02"] and found["path"].str.startswith(str(tmp_path)).all()


def test_the_real_folder_is_whole_and_read_by_headers_alone(ravdess_dir, ravdess_names, monkeypatch):
    monkeypatch.setattr("serlib.data.audio.decode", lambda path: pytest.fail(f"{path} was decoded"))
    found = ravdess(ravdess_dir)
    assert list(found.index) == sorted(ravdess_names.index)
    columns = list(COLUMNS[1:-1])
    assert found[columns].equals(ravdess_names.sort_index()[columns])
    assert found["seconds"].sum() / 3600 == pytest.approx(1.48, abs=0.005)


# Archives


def archive_of(folder: Path) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_STORED) as file:
        for path in sorted(folder.rglob("*.wav")):
            file.write(path, path.relative_to(folder))
    return data.getvalue()


@pytest.mark.parametrize("name", ["../evil.wav", "Actor_01/../../evil.wav", "/evil.wav", "..\\evil.wav"])
def test_a_zip_that_escapes_its_folder_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("Actor_01/good.wav", b"good")
        member = zipfile.ZipInfo("x")
        member.filename = name
        file.writestr(member, b"evil")
    with pytest.raises(SerlibError, match="outside its folder"):
        _unzip(tmp_path / "a.zip", tmp_path / "deep" / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["a.zip", "deep"] or not list(tmp_path.rglob("evil*"))
    assert not (tmp_path / "deep" / "out").exists() and not list((tmp_path / "deep").iterdir())


def test_a_zip_with_a_link_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        link = zipfile.ZipInfo("Actor_01")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc")
    with pytest.raises(SerlibError, match="holds the link Actor_01"):
        _unzip(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("harm", ["cut", "flipped", "no zip"])
def test_a_damaged_zip_is_refused(tiny_dir, tmp_path, harm):
    data = bytearray(archive_of(tiny_dir))
    data[5_000] ^= 255
    (tmp_path / "a.zip").write_bytes({"cut": data[:-1_000], "flipped": data, "no zip": b"hello"}[harm])
    with pytest.raises(SerlibError, match="no whole zip"):
        _unzip(tmp_path / "a.zip", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.slow
def test_a_kill_while_unpacking_leaves_no_folder(tmp_path, killed_in_file):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for k in range(100):
            file.writestr(f"Actor_01/{k}.wav", bytes(100_000) if k == 50 else b"x")
    code = "from serlib.data.ravdess import _unzip; _unzip(*sys.argv[1:])"
    killed_in_file(50_000, code, tmp_path / "a.zip", tmp_path / "out")
    assert list(tmp_path.glob(".out.*.partial/out/Actor_01/49.wav"))
    assert not (tmp_path / "out").exists()
    _unzip(tmp_path / "a.zip", tmp_path / "out")
    assert len(list((tmp_path / "out" / "Actor_01").iterdir())) == 100


# Download, from a real server that understands Range


class Handler(BaseHTTPRequestHandler):
    """Serves ``server.data``; ``server.plan`` says, request by request, what goes wrong."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        wanted = self.headers.get("Range")
        trouble = self.server.plan.pop(0) if self.server.plan else None
        self.server.log.append(wanted)
        if isinstance(trouble, int) and 400 <= trouble < 600:
            self.send_error(trouble)
            return
        data, start = self.server.data, int(re.match(r"bytes=(\d+)-", wanted)[1]) if wanted else 0
        if wanted and trouble != "no range":
            if start >= len(data):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            data = data[start:]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if trouble == "killed":
            self.wfile.write(data[:50_000])
            self.wfile.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        if isinstance(trouble, int):  # so many bytes, then the line goes dead
            self.wfile.write(data[:trouble])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        for at in range(0, len(data), 1 << 14):
            self.wfile.write(data[at : at + (1 << 14)])
            self.wfile.flush()
            time.sleep(self.server.pause)

    def log_message(self, *args):
        pass


def start_server(data: bytes, port: int = 0, plan: tuple = (), pause: float = 0.0) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.data, server.plan, server.pause, server.log = data, list(plan), pause, []
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # clients that are killed are what is tested
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


@pytest.fixture
def serve(tiny_dir, monkeypatch):
    """Put the tiny folder's archive in the place of Zenodo, on a real port of this machine."""
    data = archive_of(tiny_dir)
    servers = []
    monkeypatch.setattr(module, "RETRY_SECONDS", (0.01, 0.01, 0.01))
    monkeypatch.setattr(module, "RAVDESS_MD5", md5(data).hexdigest())

    def start(**options) -> ThreadingHTTPServer:
        server = start_server(data, **options)
        servers.append(server)
        monkeypatch.setattr(module, "RAVDESS_URL", f"http://127.0.0.1:{server.server_port}/speech.zip?download=1")
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_published_record():
    assert "1188976" in module.RAVDESS_URL and "Audio_Speech_Actors_01-24.zip" in module.RAVDESS_URL
    assert module.RAVDESS_MD5 == "bc696df654c87fed845eb13823edef8a"


def test_download_when_there_is_nothing(serve, tiny_dir, own_cache):
    server = serve()
    assert ravdess().index.equals(ravdess(tiny_dir).index)
    assert server.log == [None]
    assert sorted(path.name for path in own_cache.iterdir()) == [".ravdess.lock", "ravdess"], "nothing else is left"
    ravdess()
    assert server.log == [None], "and it is not done twice"


def test_a_line_that_breaks_is_taken_up_where_it_broke(serve, tmp_path):
    server = serve(plan=(100_000, 503, 50_000, 0, 429))
    assert len(ravdess(_download(tmp_path / "r"))) == 16
    assert server.log == [None, "bytes=100000-", "bytes=100000-", *["bytes=150000-"] * 3]


def test_a_server_without_range_starts_anew(serve, tmp_path):
    server = serve(plan=(100_000, "no range"))
    assert len(ravdess(_download(tmp_path / "r"))) == 16
    assert server.log == [None, "bytes=100000-"]


def test_a_piece_that_is_too_long_is_thrown_away(serve, tmp_path):
    server = serve()
    (tmp_path / "Audio_Speech_Actors_01-24.zip.partial").write_bytes(bytes(10_000_000))
    assert len(ravdess(_download(tmp_path / "r"))) == 16
    assert server.log == ["bytes=10000000-", None]


@pytest.mark.slow
def test_a_server_that_dies_in_mid_transfer(serve, tmp_path):
    """The server process is killed; what came is kept; when it is back, the rest is fetched."""
    port_file = tmp_path / "port"
    archive = tmp_path / "archive.zip"
    archive.write_bytes(serve().data)
    process = subprocess.Popen([sys.executable, __file__, str(archive), str(port_file)])
    while not port_file.exists() or not port_file.read_text():
        assert process.poll() is None
        time.sleep(0.01)
    port = int(port_file.read_text())
    module.RAVDESS_URL = f"http://127.0.0.1:{port}/speech.zip"  # put back by the fixture
    part = tmp_path / "Audio_Speech_Actors_01-24.zip.partial"
    with pytest.raises(SerlibError, match="no connection to 127.0.0.1.*what has arrived is kept"):
        _download(tmp_path / "r")
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "r").exists()
    kept = part.stat().st_size
    assert 0 < kept < archive.stat().st_size
    server = serve(port=port)
    assert len(ravdess(_download(tmp_path / "r"))) == 16
    assert server.log == [f"bytes={kept}-"]


@pytest.mark.slow
def test_a_kill_of_the_download_itself(serve, tmp_path, killed_in_file):
    server = serve()
    code = (
        "from serlib.data import ravdess; ravdess.RAVDESS_URL, ravdess.RAVDESS_MD5 = sys.argv[1:3]; "
        "ravdess._download(sys.argv[3])"
    )
    killed_in_file(100_000, code, module.RAVDESS_URL, module.RAVDESS_MD5, tmp_path / "r")
    assert not (tmp_path / "r").exists()
    kept = (tmp_path / "Audio_Speech_Actors_01-24.zip.partial").stat().st_size
    assert len(ravdess(_download(tmp_path / "r"))) == 16
    assert server.log[-1] == f"bytes={kept}-" and kept > 0


def test_a_kill_between_checking_and_unpacking(serve, tmp_path):
    server = serve()
    (tmp_path / "Audio_Speech_Actors_01-24.zip").write_bytes(server.data)
    assert len(ravdess(_download(tmp_path / "r"))) == 16
    assert server.log == []


def test_what_only_has_the_archives_name_is_not_believed(serve, tmp_path, capsys):
    server = serve()
    archive = tmp_path / "Audio_Speech_Actors_01-24.zip"
    with zipfile.ZipFile(archive, "w") as forged, zipfile.ZipFile(io.BytesIO(server.data)) as right:
        name = next(name for name in right.namelist() if name.endswith(".wav"))
        forged.writestr(name, right.read(name))
    assert len(ravdess(_download(tmp_path / "r"))) == 16
    assert "is not the published archive, so it is downloaded anew" in capsys.readouterr().out
    assert server.log and not archive.exists()


def test_no_network(serve, tmp_path):
    server = serve()
    server.shutdown()
    server.server_close()
    with pytest.raises(SerlibError, match="no connection to 127.0.0.1.*check the network") as caught:
        _download(tmp_path / "r")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("code", [403, 404, 410])
def test_a_record_that_moved(serve, tmp_path, code):
    server = serve(plan=(code,))
    with pytest.raises(SerlibError, match=f"answers {code} .*record 1188976 by hand"):
        _download(tmp_path / "r")
    assert len(server.log) == 1, "asking again would not help"


def test_a_wrong_checksum(serve, tmp_path, monkeypatch):
    serve()
    monkeypatch.setattr(module, "RAVDESS_MD5", "0" * 32)
    with pytest.raises(SerlibError, match="not the published archive"):
        _download(tmp_path / "r")
    assert [path.name for path in tmp_path.iterdir()] == [".r.lock"]


@pytest.mark.parametrize("room", [100_000, 400_000], ids=["for half the archive", "for the archive alone"])
def test_a_full_disk(serve, tmp_path, room):
    """A real small disk: the sentence says so, nothing is taken for whole, and with room again it goes on."""
    server = serve()
    assert len(server.data) < 400_000 < 2 * len(server.data)
    disk = tmp_path / "small"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        with pytest.raises(SerlibError, match="no room on the disk"):
            _download(disk / "r")
        assert not (disk / "r").exists()
        subprocess.run(["mount", "-o", "remount,size=2m", str(disk)], check=True)
        assert len(ravdess(_download(disk / "r"))) == 16
        assert server.log.count(None) == 1, "nothing that had arrived was asked for again"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_with_other_files_is_not_replaced(serve, tmp_path):
    serve()
    (tmp_path / "thesis.txt").write_text("three years of work")
    with pytest.raises(SerlibError, match="holds other files"):
        _download(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_two_who_download_at_once_share_one_download(serve, own_cache):
    server = serve(pause=0.01)
    both = [threading.Thread(target=ravdess) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(server.log) == 1 and len(ravdess()) == 16


if __name__ == "__main__":  # the server that dies
    frail = start_server(Path(sys.argv[1]).read_bytes(), plan=("killed",))
    Path(sys.argv[2]).write_text(json.dumps(frail.server_port))
    threading.Event().wait()
