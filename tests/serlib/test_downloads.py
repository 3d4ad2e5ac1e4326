"""Corpora downloaded from a real server on this machine, which speaks as their records do, breaks off, and dies."""

import dataclasses
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
from functools import partial
from hashlib import md5, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import soundfile

from serlib.data import downloads as module
from serlib.data import ravdess as ravdess_module
from serlib.data.corpora import CORPORA, load_corpus
from serlib.data.downloads import (
    Piece,
    Record,
    _git_blob,
    _git_tree,
    dataverse,
    download,
    github,
    github_lfs,
    pinned,
)
from serlib.data.ravdess import ravdess
from serlib.errors import SerlibError

# A server


class Handler(BaseHTTPRequestHandler):
    """Serves ``server.files``; ``server.plan`` says, request by request of a path, what goes wrong."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, path, wanted = self.server, unquote(self.path), self.headers.get("Range")
        if path not in server.files:  # a question mark may be a part of the path, or nothing
            path = unquote(urlsplit(self.path).path)
        plan = server.plan.get(path)
        trouble = plan.pop(0) if plan else None
        server.log.append((path, wanted))
        if path in server.moved:
            self.send_response(303)
            self.send_header("Location", server.moved[path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if path not in server.files or (isinstance(trouble, int) and 400 <= trouble < 600):
            self.send_error(404 if path not in server.files else trouble)
            return
        data, start = server.files[path], int(re.match(r"bytes=(\d+)-", wanted)[1]) if wanted else 0
        if path in server.unmeasured:
            self.send_unmeasured(data, trouble)
            return
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
            self.go_dead()
            return
        for at in range(0, len(data), 1 << 14):
            self.wfile.write(data[at : at + (1 << 14)])
            self.wfile.flush()
            time.sleep(server.pause)

    def send_unmeasured(self, data: bytes, trouble: object) -> None:
        """As GitHub sends an archive that it packs meanwhile: no length, and no Range."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        sent = data[:trouble] if isinstance(trouble, int) else data
        for at in range(0, len(sent), 1 << 14):
            chunk = sent[at : at + (1 << 14)]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        if isinstance(trouble, int):
            self.go_dead()
        else:
            self.wfile.write(b"0\r\n\r\n")

    def go_dead(self) -> None:
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def log_message(self, *args):
        pass


def start_server(files: dict[str, bytes], port: int = 0, plan: dict | None = None, pause: float = 0.0):
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.files, server.plan, server.pause, server.log = files, plan or {}, pause, []
    server.moved, server.unmeasured = {}, set()
    server.url = f"http://127.0.0.1:{server.server_port}"
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # clients that are killed are what is tested
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


@pytest.fixture
def start(monkeypatch):
    servers = []
    monkeypatch.setattr(module, "RETRY_SECONDS", (0.01, 0.01, 0.01))
    monkeypatch.delenv("CORPORA_DIR", raising=False)

    def start(files: dict[str, bytes], **options) -> ThreadingHTTPServer:
        servers.append(start_server(files, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def asked(server, path: str) -> list[str | None]:
    """Return the ranges that a path was asked for."""
    return [wanted for place, wanted in server.log if place == path]


# One archive, as RAVDESS has it

ZIP = "/speech.zip"


def archive_of(folder: Path) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_STORED) as file:
        for path in sorted(folder.rglob("*.wav")):
            file.write(path, path.relative_to(folder))
    return data.getvalue()


def ravdess_record(piece: Piece) -> Record:
    return dataclasses.replace(ravdess_module.SPEECH_RECORD, by_hand="name its folder", listing=pinned(piece))


@pytest.fixture
def serve(tiny_dir, start, monkeypatch):
    """Put the tiny folder's archive in the place of Zenodo, on a real port of this machine."""
    data = archive_of(tiny_dir)

    def serve(plan: tuple = (), **options) -> ThreadingHTTPServer:
        server = start({ZIP: data}, plan={ZIP: list(plan)}, **options)
        server.data, server.piece = (
            data,
            Piece("speech.zip", f"{server.url}{ZIP}?download=1", f"md5:{md5(data).hexdigest()}"),
        )
        server.record = ravdess_record(server.piece)
        record = dataclasses.replace(ravdess_module.SPEECH_RECORD, listing=pinned(server.piece))
        monkeypatch.setattr(ravdess_module, "SPEECH_RECORD", record)
        return server

    return serve


def test_the_published_record():
    speech, song = ravdess_module.SPEECH_ZIP, ravdess_module.SONG_ZIP
    assert "1188976" in speech.url and "Audio_Speech_Actors_01-24.zip" in speech.url
    assert speech.checksum == "md5:bc696df654c87fed845eb13823edef8a"
    assert "1188976" in song.url and "Audio_Song_Actors_01-24.zip" in song.url
    assert song.checksum == "md5:5411230427d67a21e18aa4d466e6d1b9"


def test_download_when_there_is_nothing(serve, tiny_dir, own_cache, capsys):
    server = serve()
    assert ravdess().index.equals(ravdess(tiny_dir).index)
    assert asked(server, ZIP) == [None]
    assert sorted(path.name for path in own_cache.iterdir()) == ["locks", "ravdess"], "nothing else is left"
    assert "RAVDESS, speech is downloaded from 127.0.0.1" in capsys.readouterr().out
    ravdess()
    assert asked(server, ZIP) == [None], "and it is not done twice"


def test_songs_are_downloaded_as_well(start, own_cache, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "03-02-06-01-02-01-12.wav", noise(0), 16_000)
    data = archive_of(tmp_path)
    server = start({"/song.zip": data})
    piece = Piece("song.zip", f"{server.url}/song.zip", f"md5:{md5(data).hexdigest()}")
    record = dataclasses.replace(ravdess_module.SONG_RECORD, listing=pinned(piece))
    monkeypatch.setattr(ravdess_module, "SONG_RECORD", record)
    assert list(load_corpus("ravdess-song").index) == ["03-02-06-01-02-01-12"]
    server.plan["/song.zip"] = [404]
    shutil.rmtree(own_cache / "ravdess-song")
    with pytest.raises(SerlibError, match="zenodo.1188976 .* by hand, unpack it and give ser.load_corpus the folder"):
        load_corpus("ravdess-song")


def test_a_line_that_breaks_is_taken_up_where_it_broke(serve, tmp_path):
    server = serve(plan=(100_000, 503, 50_000, 0, 429))
    assert len(ravdess(download(tmp_path / "r", server.record))) == 16
    assert asked(server, ZIP) == [None, "bytes=100000-", "bytes=100000-", *["bytes=150000-"] * 3]


def test_a_server_without_range_starts_anew(serve, tmp_path):
    server = serve(plan=(100_000, "no range"))
    assert len(ravdess(download(tmp_path / "r", server.record))) == 16
    assert asked(server, ZIP) == [None, "bytes=100000-"]


def test_a_piece_that_is_too_long_is_thrown_away(serve, tmp_path):
    server = serve()
    (tmp_path / "r.partial").mkdir()
    (tmp_path / "r.partial" / "speech.zip.partial").write_bytes(bytes(10_000_000))
    assert len(ravdess(download(tmp_path / "r", server.record))) == 16
    assert asked(server, ZIP) == ["bytes=10000000-", None]


@pytest.mark.slow
def test_a_server_that_dies_in_mid_transfer(serve, tmp_path):
    """The server process is killed; what came is kept; when it is back, the rest is fetched."""
    port_file = tmp_path / "port"
    archive = tmp_path / "archive.zip"
    server = serve()
    archive.write_bytes(server.data)
    process = subprocess.Popen([sys.executable, __file__, str(archive), str(port_file)])
    while not port_file.exists() or not port_file.read_text():
        assert process.poll() is None
        time.sleep(0.01)
    port = int(port_file.read_text())
    record = ravdess_record(server.piece._replace(url=f"http://127.0.0.1:{port}{ZIP}"))
    part = tmp_path / "r.partial" / "speech.zip.partial"
    with pytest.raises(SerlibError, match="no connection to 127.0.0.1.*what has arrived is kept"):
        download(tmp_path / "r", record)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "r").exists()
    kept = part.stat().st_size
    assert 0 < kept < archive.stat().st_size
    server = serve(port=port)
    assert len(ravdess(download(tmp_path / "r", record))) == 16
    assert asked(server, ZIP) == [f"bytes={kept}-"]


@pytest.mark.slow
def test_a_kill_of_the_download_itself(serve, tmp_path, killed_in_file):
    server = serve()
    code = (
        "from pathlib import Path; from serlib.data.downloads import *; url, md5, folder = sys.argv[1:]; "
        "record = Record('RAVDESS', '', 'Get it.', '', pinned(Piece('speech.zip', url, md5))); "
        "download(Path(folder), record)"
    )
    killed_in_file(100_000, code, server.piece.url, server.piece.checksum, tmp_path / "r")
    assert not (tmp_path / "r").exists()
    kept = (tmp_path / "r.partial" / "speech.zip.partial").stat().st_size
    assert len(ravdess(download(tmp_path / "r", server.record))) == 16
    assert asked(server, ZIP)[-1] == f"bytes={kept}-" and kept > 0


def test_a_kill_between_checking_and_unpacking(serve, tmp_path):
    server = serve()
    (tmp_path / "r.partial").mkdir()
    (tmp_path / "r.partial" / "speech.zip").write_bytes(server.data)
    assert len(ravdess(download(tmp_path / "r", server.record))) == 16
    assert server.log == [] and not (tmp_path / "r.partial").exists()


def test_what_only_has_the_archives_name_is_not_believed(serve, tmp_path, capsys):
    server = serve()
    archive = tmp_path / "r.partial" / "speech.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as forged, zipfile.ZipFile(io.BytesIO(server.data)) as right:
        name = next(name for name in right.namelist() if name.endswith(".wav"))
        forged.writestr(name, right.read(name))
    assert len(ravdess(download(tmp_path / "r", server.record))) == 16
    assert "is not the published file, so it is downloaded anew" in capsys.readouterr().out
    assert server.log and not archive.exists()


def test_no_network(serve, tmp_path):
    server = serve()
    server.shutdown()
    server.server_close()
    with pytest.raises(SerlibError, match="no connection to 127.0.0.1.*check the network") as caught:
        download(tmp_path / "r", server.record)
    assert "\n" not in str(caught.value) and "zenodo.1188976 (Livingstone and Russo 2018) by hand" in str(caught.value)


@pytest.mark.parametrize("code", [403, 404, 410])
def test_a_record_that_moved(serve, tmp_path, code):
    server = serve(plan=(code,))
    with pytest.raises(SerlibError, match=f"answers {code} .*; get it from https://doi.org/10.5281/zenodo.1188976"):
        download(tmp_path / "r", server.record)
    assert len(server.log) == 1, "asking again would not help"


def test_a_wrong_checksum(serve, tmp_path):
    piece = serve().piece._replace(checksum="md5:" + "0" * 32)
    with pytest.raises(SerlibError, match="not the published file"):
        download(tmp_path / "r", ravdess_record(piece))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()], "nothing of it is left"


@pytest.fixture
def small_disk(tmp_path):
    """A real small disk, made with so many bytes of room."""
    disk = tmp_path / "small"
    disk.mkdir()

    def mount(room: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(disk)]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("this user may not mount a small disk")
        return disk

    yield mount
    subprocess.run(["umount", str(disk)], capture_output=True)


@pytest.mark.parametrize("room", [100_000, 400_000], ids=["for half the archive", "for the archive alone"])
def test_a_full_disk(serve, small_disk, room):
    """The sentence says so, nothing is taken for whole, and with room again it goes on."""
    server = serve()
    assert len(server.data) < 400_000 < 2 * len(server.data)
    disk = small_disk(room)
    with pytest.raises(SerlibError, match="no room on the disk"):
        download(disk / "r", server.record)
    assert not (disk / "r").exists()
    subprocess.run(["mount", "-o", "remount,size=2m", str(disk)], check=True)
    assert len(ravdess(download(disk / "r", server.record))) == 16
    assert asked(server, ZIP).count(None) == 1, "nothing that had arrived was asked for again"


def test_a_folder_with_other_files_is_not_replaced(serve, own_cache):
    server = serve()
    (own_cache / "ravdess").mkdir()
    (own_cache / "ravdess" / "thesis.txt").write_text("three years of work")
    with pytest.raises(SerlibError, match="holds no speech clips of RAVDESS .*; remove it to download RAVDESS again"):
        ravdess()
    assert (own_cache / "ravdess" / "thesis.txt").exists() and not server.log


def test_two_who_download_at_once_share_one_download(serve, own_cache):
    server = serve(pause=0.01)
    both = [threading.Thread(target=ravdess) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(server.log) == 1 and len(ravdess()) == 16


# Archives that one should not trust


def put_together(folder: Path, name: str = "a.zip") -> None:
    module._put_together([Piece(name, "")], folder, folder / "deep" / "out")


@pytest.mark.parametrize("name", ["../evil.wav", "Actor_01/../../evil.wav", "/evil.wav", "..\\evil.wav"])
def test_a_zip_that_escapes_its_folder_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("Actor_01/good.wav", b"good")
        member = zipfile.ZipInfo("x")
        member.filename = name
        file.writestr(member, b"evil")
    with pytest.raises(SerlibError, match="outside its folder"):
        put_together(tmp_path)
    assert not list(tmp_path.rglob("evil*")) and not list((tmp_path / "deep").iterdir())


def test_a_zip_with_a_link_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        link = zipfile.ZipInfo("Actor_01")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc")
    with pytest.raises(SerlibError, match="holds the link Actor_01"):
        put_together(tmp_path)
    assert not (tmp_path / "deep" / "out").exists()


@pytest.mark.parametrize("harm", ["cut", "flipped", "no zip"])
def test_a_damaged_zip_is_refused(tiny_dir, tmp_path, harm):
    data = bytearray(archive_of(tiny_dir))
    data[5_000] ^= 255
    (tmp_path / "a.zip").write_bytes({"cut": data[:-1_000], "flipped": data, "no zip": b"hello"}[harm])
    with pytest.raises(SerlibError, match="no whole zip"):
        put_together(tmp_path)
    assert not list((tmp_path / "deep").iterdir())


@pytest.mark.slow
def test_a_kill_while_unpacking_leaves_no_folder(tmp_path, killed_in_file):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for k in range(100):
            file.writestr(f"Actor_01/{k}.wav", bytes(100_000) if k == 50 else b"x")
    code = (
        "from pathlib import Path; from serlib.data.downloads import Piece, _put_together; "
        "_put_together([Piece('a.zip', '')], Path(sys.argv[1]), Path(sys.argv[1], 'out'))"
    )
    killed_in_file(50_000, code, tmp_path)
    assert list(tmp_path.glob(".out.*.partial/out/Actor_01/49.wav"))
    assert not (tmp_path / "out").exists()
    module._put_together([Piece("a.zip", "")], tmp_path, tmp_path / "out")
    assert len(list((tmp_path / "out" / "Actor_01").iterdir())) == 100


# Records, each in the form in which its server lists it


def noise(seed: int, seconds: float = 0.1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.3, 0.3, int(seconds * 16_000))


def sounds(*names: str) -> dict[str, bytes]:
    """Return name -> a whole WAV of noise, no two alike."""
    made = {}
    for seed, name in enumerate(names):
        file = io.BytesIO()
        soundfile.write(file, noise(seed), 16_000, format="WAV")
        made[name] = file.getvalue()
    return made


def zipped(files: dict[str, bytes], above: str = "") -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(above + name, content)
    return data.getvalue()


def as_json(answer: object) -> bytes:
    return json.dumps(answer).encode()


def on_zenodo(start) -> tuple:
    """EmoDB. The form: https://developers.zenodo.org, Records, and the record 7024894 that it shows."""
    clips = sounds("wav/03a01Fa.wav", "wav/08a01Wa.wav", "wav/16b10Lb.wav")
    data = zipped({**clips, "db.yaml": b"name: emodb", "db.files.csv": b"file,speaker"}, above="emodb/")
    server = start({"/records/7447302/files/emodb.zip": data})
    server.files["/api/records/7447302"] = as_json(
        {
            "id": 7447302,
            "metadata": {"license": {"id": "cc-by-4.0"}},
            "files": [
                {
                    "id": "6de3f6c0-387e-4db9-a785-6e77fa27c438",
                    "key": "emodb.zip",
                    "size": len(data),
                    "checksum": f"md5:{md5(data).hexdigest()}",
                    "links": {"self": f"{server.url}/api/records/7447302/files/emodb.zip/content"},
                }
            ],
        }
    )
    return server, CORPORA["emodb"].listing, "/records/7447302/files/emodb.zip"


def on_dataverse(start) -> tuple:
    """TESS. The form: https://guides.dataverse.org, Native API, List Files in a Dataset.

    A Dataverse sends those who ask for a file on to its store.
    """
    clips = sounds("OAF_back_angry.wav", "OAF_back_ps.wav", "OA_bite_neutral.wav", "YAF_back_fear.wav")
    server, rows = start({}), []
    for number, (name, data) in enumerate({**clips, "readme.txt": b"TESS"}.items(), 101):
        server.moved[f"/api/access/datafile/{number}"] = f"/store/{number}"
        server.files[f"/store/{number}"] = data
        rows.append(
            {
                "label": name,
                "restricted": False,
                "version": 1,
                "datasetVersionId": 71,
                "dataFile": {
                    "id": number,
                    "persistentId": "",
                    "filename": name,
                    "contentType": "audio/x-wav",
                    "filesize": len(data),
                    "md5": md5(data).hexdigest(),
                    "checksum": {"type": "MD5", "value": md5(data).hexdigest()},
                },
            }
        )
        if name.startswith("YAF"):
            rows[-1]["directoryLabel"] = "younger/fear"
    server.files["/api/datasets/:persistentId/versions/1.0/files?persistentId=doi:10.5683/SP2/E8H2MF"] = as_json(
        {"status": "OK", "totalCount": len(rows), "data": rows}
    )
    return server, dataverse(server.url, "10.5683/SP2/E8H2MF", "1.0"), "/store/102"


def on_mendeley(start) -> tuple:
    """MESD. The form is documented nowhere: it is what public programs read that download from Mendeley Data. Here an
    answer holds at most two files."""
    clips = sounds(*(f"{emotion}_F_A_abajo.wav" for emotion in ("Anger", "Fear", "Happiness", "Neutral", "Sadness")))
    server = start({})
    base, folder = "/public-api/datasets/cy34mh68j9", "3ea1ccc0-dfe5-4d7c-9f3b-a8d7a1f1ec6c"
    server.files[f"{base}/folders/5"] = as_json(
        [
            {"id": "f0", "name": "Mexican Emotional Speech Database (MESD)"},
            {"id": folder, "name": "voices", "parent_id": "f0"},
        ]
    )
    rows = []
    for name, data in clips.items():
        url = f"/public-files/datasets/cy34mh68j9/files/{name[:3]}/file_downloaded"
        server.files[url] = data
        details = {
            "id": f"c{name[:3]}",
            "content_type": "audio/wav",
            "size": len(data),
            "sha256_hash": sha256(data).hexdigest(),
            "download_url": f"{server.url}{url}",
        }
        rows.append({"id": name[:3], "filename": name, "size": len(data), "content_details": details})
    sheet = dict(rows[0], id="sheet", filename="MESD_words.xlsx")
    for place, held in (("root", [sheet]), ("f0", []), (folder, rows)):
        for at in range(len(held) + 1):
            url = f"{base}/files?folder_id={place}&version=5&$start={at}&$limit=1000"
            server.files[url] = as_json(held[at : at + 2])
    return server, CORPORA["mesd"].listing, "/public-files/datasets/cy34mh68j9/files/Hap/file_downloaded"


COMMIT = "66de9999a8f2f605eb5f64841790aa5cb0877782"


def on_github(start) -> tuple:
    """NEMO: an archive of a commit, packed while it is sent."""
    clips = sounds("WR0_happiness_64.wav", "EB0_anger_1.wav", "KS0_fear_2.wav")
    files = {f"samples/{name}": data for name, data in clips.items()}
    files |= {"README.md": b"nEMO", "elsewhere/WR0_anger_1.wav": b"not of the folder"}
    path = f"/amu-cai/nEMO/zip/{COMMIT}"
    server = start({path: zipped(files, above=f"nEMO-{COMMIT}/")})
    server.unmeasured.add(path)
    tree = _git_tree({name: _git_blob(data) for name, data in clips.items()})
    return server, github("amu-cai/nEMO", COMMIT, "samples", tree, 1), path


def on_github_lfs(start) -> tuple:
    """CREMA-D. The pointers: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md, The Pointer."""
    clips = sounds("1002_IEO_ANG_LO.wav", "1002_IEO_HAP_HI.wav", "1001_DFA_NEU_XX.wav", "1003_DFA_SAD_X.wav")
    pointers = {}
    for name, data in clips.items():
        said = (
            "version https://git-lfs.github.com/spec/v1",
            f"oid sha256:{sha256(data).hexdigest()}",
            f"size {len(data)}",
        )
        pointers[name] = "".join(f"{line}\n" for line in said).encode()
    files = {f"AudioWAV/{name}": pointer for name, pointer in pointers.items()}
    archive = f"/CheyneyComputerScience/CREMA-D/zip/{COMMIT}"
    server = start({archive: zipped({**files, "README.md": b"CREMA-D"}, above=f"CREMA-D-{COMMIT}/")})
    server.unmeasured.add(archive)
    for name, data in clips.items():
        server.files[f"/media/CheyneyComputerScience/CREMA-D/{COMMIT}/AudioWAV/{name}"] = data
    tree = _git_tree({name: _git_blob(pointer) for name, pointer in pointers.items()})
    listing = github_lfs("CheyneyComputerScience/CREMA-D", COMMIT, "AudioWAV", tree)
    return server, listing, f"/media/CheyneyComputerScience/CREMA-D/{COMMIT}/AudioWAV/1002_IEO_HAP_HI.wav"


RECORDS = {
    "emodb": (on_zenodo, {"03a01Fa": "happy", "08a01Wa": "angry", "16b10Lb": "bored"}),
    "tess": (
        on_dataverse,
        {
            "OAF_back_angry": "angry",
            "OAF_back_ps": "surprised",
            "OA_bite_neutral": "neutral",
            "YAF_back_fear": "fearful",
        },
    ),
    "mesd": (
        on_mendeley,
        {
            "Anger_F_A_abajo": "angry",
            "Fear_F_A_abajo": "fearful",
            "Happiness_F_A_abajo": "happy",
            "Neutral_F_A_abajo": "neutral",
            "Sadness_F_A_abajo": "sad",
        },
    ),
    "nemo": (on_github, {"EB0_anger_1": "angry", "KS0_fear_2": "fearful", "WR0_happiness_64": "happy"}),
    "crema-d": (
        on_github_lfs,
        {
            "1001_DFA_NEU_XX": "neutral",
            "1002_IEO_ANG_LO": "angry",
            "1002_IEO_HAP_HI": "happy",
            "1003_DFA_SAD_X": "sad",
        },
    ),
}


@pytest.fixture
def publish(start, monkeypatch):
    """Put a small record of a corpus in the place of the real one, and return its server and one of its files."""

    def publish(name: str) -> tuple:
        on, clips = RECORDS[name]
        server, listing, file = on(start)
        monkeypatch.setattr(module, "ZENODO", server.url)
        monkeypatch.setattr(module, "MENDELEY", server.url)
        monkeypatch.setattr(module, "ARCHIVES", server.url)
        monkeypatch.setattr(module, "LFS_FILES", f"{server.url}/media")
        row = dataclasses.replace(CORPORA[name], listing=listing, clips=len(clips))
        monkeypatch.setitem(CORPORA, name, row)
        return server, file

    return publish


def test_every_corpus_that_is_downloaded_is_tried_here():
    """The others: RAVDESS above, SAVEE and URDU because their authors or terms do not let a program do it."""
    known = {name for name, source in CORPORA.items() if source.listing}
    assert known == {*RECORDS, "ravdess", "ravdess-song"} and set(CORPORA) - known == {"savee", "urdu"}


@pytest.mark.parametrize("name", RECORDS)
def test_a_corpus_from_its_record(name, publish, own_cache, capsys):
    server, _ = publish(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        corpus = load_corpus(name)
    assert corpus["emotion"].to_dict() == RECORDS[name][1] and corpus.attrs["terms"] == CORPORA[name].terms
    said = capsys.readouterr().out
    title, terms = CORPORA[name].title, CORPORA[name].terms
    assert re.fullmatch(rf"{title} is downloaded from 127.0.0.1:\d+: \d+ files?, \d+ MB, under {terms}.\n", said)
    assert {path.name for path in own_cache.iterdir()} == {"locks", name}, "nothing else is left"
    before = list(server.log)
    assert len(load_corpus(name)) == len(corpus) and server.log == before, "and it is not done twice"
    assert capsys.readouterr().out == ""


def test_folders_of_a_record_are_kept(publish, own_cache):
    publish("tess")
    assert load_corpus("tess").loc["YAF_back_fear", "path"] == str(
        own_cache / "tess" / "younger" / "fear" / "YAF_back_fear.wav"
    )
    publish("mesd")
    voices = own_cache / "mesd" / "Mexican Emotional Speech Database (MESD)" / "voices"
    assert load_corpus("mesd")["path"].map(lambda path: Path(path).parent).eq(voices).all()


def test_a_server_that_answers_with_all_files_each_time(publish):
    server, _ = publish("mesd")
    before = dict(server.files)
    for page in [page for page in server.files if "&$start=" in page]:
        first = re.sub(r"start=\d", "start={}", page)
        pages = [before.get(first.format(at), b"[]") for at in (0, 2, 4)]
        server.files[page] = as_json([file for answer in pages for file in json.loads(answer)])
    assert len(load_corpus("mesd")) == 5


def test_only_the_folder_that_was_checked_is_unpacked(publish, own_cache):
    publish("nemo")
    load_corpus("nemo")
    files = [path.relative_to(own_cache / "nemo") for path in (own_cache / "nemo").rglob("*") if path.is_file()]
    assert {path.parts[1] for path in files} == {"samples"} and len(files) == 3


@pytest.mark.parametrize("name", RECORDS)
def test_another_content_is_not_taken(name, publish, own_cache):
    """Of the same length, so that only the checksum tells."""
    server, file = publish(name)
    if name == "nemo":  # a whole archive, of another content
        server.files[file] = zipped({"samples/EB0_anger_1.wav": sounds("other")["other"]}, above="nEMO-1/")
    else:
        server.files[file] = server.files[file][:-1] + b"?"
    with pytest.raises(SerlibError, match="what 127.0.0.1:.* sent is not the published file .*it was removed"):
        load_corpus(name)
    assert not (own_cache / name).exists()
    assert not list((own_cache / f"{name}.partial").rglob(f"*{Path(file).stem}*.partial"))


def test_pointers_that_are_not_those_of_the_commit_are_not_followed(publish, own_cache):
    server, _ = publish("crema-d")
    archive = f"/CheyneyComputerScience/CREMA-D/zip/{COMMIT}"
    server.files[archive] = zipped({"AudioWAV/1002_IEO_ANG_LO.wav": b"oid sha256:00\nsize 1\n"}, above="CREMA-D-1/")
    with pytest.raises(SerlibError, match="AudioWAV.zip has tree:"):
        load_corpus("crema-d")
    server.files[archive] = b"<html>"
    with pytest.raises(SerlibError, match="AudioWAV.zip has no whole archive"):
        load_corpus("crema-d")
    assert {path for path, _ in server.log} == {archive} and not (own_cache / "crema-d").exists()


@pytest.mark.parametrize("name", RECORDS)
def test_a_file_that_breaks_off_is_taken_up(name, publish):
    server, file = publish(name)
    server.plan[file] = [1_000, 503, 700]
    assert len(load_corpus(name)) == len(RECORDS[name][1])
    ranges = [None, "bytes=1000-", "bytes=1000-", "bytes=1700-"]
    if name == "nemo":  # it has to come anew each time
        ranges[-1] = "bytes=700-"
    assert asked(server, file) == ranges


@pytest.mark.parametrize("name", ["tess", "mesd", "crema-d"])
def test_what_has_arrived_is_not_fetched_again(name, publish, own_cache):
    server, file = publish(name)
    server.plan[file] = [404]
    place = re.escape(CORPORA[name].where[4:50])
    with pytest.raises(SerlibError, match=f"answers 404 .*; get {place}.* by hand, unpack it and give ser.load_corpus"):
        load_corpus(name)
    assert not (own_cache / name).exists()
    work = own_cache / f"{name}.partial"
    (arrived,) = [path for path in work.rglob("*.wav") if path.stem in RECORDS[name][1]][:1]
    forged = [path for path in work.rglob("*.wav")][-1]
    if forged != arrived:
        forged.write_bytes(b"a file of this name")
    before = len(server.log)
    assert len(load_corpus(name)) == len(RECORDS[name][1])
    again = [server.files[path] for path, _ in server.log[before:] if path in server.files]
    assert (own_cache / name / arrived.relative_to(work)).read_bytes() not in again, "it lay there, and was right"


@pytest.mark.parametrize("name", RECORDS)
def test_nobody_answers(name, publish, own_cache):
    server, _ = publish(name)
    server.shutdown()
    server.server_close()
    with pytest.raises(SerlibError, match="^no connection to 127.0.0.1.*check the network") as caught:
        load_corpus(name)
    assert "\n" not in str(caught.value) and not (own_cache / name).exists()
    for told in (CORPORA[name].where[4:-1], f"name it {name} below the one of CORPORA_DIR"):
        assert told in str(caught.value)


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_that_is_gone(name, publish, own_cache):
    server, _ = publish(name)
    server.files.clear()
    with pytest.raises(SerlibError, match="answers 404 .*; get it"):
        load_corpus(name)
    assert len(server.log) == 1 and not (own_cache / name).exists()


LISTS = {
    "emodb": "/api/records/7447302",
    "tess": "/api/datasets/:persistentId/versions/1.0/files?persistentId=doi:10.5683/SP2/E8H2MF",
    "mesd": "/public-api/datasets/cy34mh68j9/folders/5",
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("answer", [b"<html>a page of the hotel", b"[1]", b'{"files": 3}', b"null", b'{"files": [{}]}'])
def test_a_list_that_is_none(name, answer, publish, own_cache):
    server, _ = publish(name)
    server.files[LISTS[name]] = answer
    with pytest.raises(SerlibError, match=rf"the list of files of {CORPORA[name].title} cannot be read .*by hand"):
        load_corpus(name)
    assert not (own_cache / name).exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"label": "../../evil.wav"}, r"TESS wants to write ../../evil.wav outside its folder; do not trust it"),
        ({"directoryLabel": "../.."}, r"outside its folder; do not trust it"),
        ({"label": "OAF_back_angry.txt"}, ""),
        ({"label": "OAF_back_ps.wav"}, "has a name twice"),
    ],
)
def test_a_list_that_one_should_not_trust(change, sentence, publish, own_cache):
    server, _ = publish("tess")
    answer = json.loads(server.files[LISTS["tess"]])
    answer["data"][0] |= change
    server.files[LISTS["tess"]] = as_json(answer)
    if sentence:
        with pytest.raises(SerlibError, match=sentence):
            load_corpus("tess")
        assert not (own_cache / "tess").exists()
    else:  # no sound is not fetched
        with pytest.warns(UserWarning, match=r"tess holds 3 clips, and TESS has 4: results of one are not"):
            assert len(load_corpus("tess")) == 3
    assert not list(own_cache.parent.rglob("evil*"))


def test_a_list_without_recordings(publish):
    server, _ = publish("tess")
    server.files[LISTS["tess"]] = as_json({"status": "OK", "data": []})
    with pytest.raises(SerlibError, match="the list of files of TESS has no recordings"):
        load_corpus("tess")


def test_a_checksum_of_a_kind_that_nobody_can_compute(publish):
    server, _ = publish("tess")
    answer = json.loads(server.files[LISTS["tess"]])
    answer["data"][0]["dataFile"]["checksum"] = {"type": "UNF", "value": "UNF:6:abc"}
    server.files[LISTS["tess"]] = as_json(answer)
    with pytest.raises(SerlibError, match="the list of files of TESS cannot be read"):
        load_corpus("tess")


def test_a_full_disk_in_the_middle_of_many_files(publish, small_disk, monkeypatch):
    server, _ = publish("crema-d")
    disk = small_disk(16_384)  # for the pointers and three of the four files, 4,096 bytes each
    monkeypatch.setenv("SERLIB_CACHE", str(disk))
    with pytest.raises(SerlibError, match="no room on the disk"):
        load_corpus("crema-d")
    assert not (disk / "crema-d").exists()
    subprocess.run(["mount", "-o", "remount,size=2m", str(disk)], check=True)
    assert len(load_corpus("crema-d")) == 4


@pytest.mark.slow
def test_a_kill_in_the_middle_of_many_files(publish, own_cache, killed_in_file):
    server, file = publish("tess")
    server.files[file] = bytes(200_000)
    rows = json.loads(server.files[LISTS["tess"]])
    rows["data"][1]["dataFile"] |= {
        "filesize": 200_000,
        "checksum": {"type": "MD5", "value": md5(bytes(200_000)).hexdigest()},
    }
    server.files[LISTS["tess"]] = as_json(rows)
    code = (
        "from pathlib import Path; from serlib.data.downloads import *; "
        "listing = dataverse(sys.argv[1], '10.5683/SP2/E8H2MF', '1.0'); "
        "download(Path(sys.argv[2]), Record('TESS', '', 'Get it.', '', listing))"
    )
    killed_in_file(100_000, code, server.url, own_cache / "tess")
    assert not (own_cache / "tess").exists()
    kept = (own_cache / "tess.partial" / "OAF_back_ps.wav.partial").stat().st_size
    with pytest.warns(UserWarning, match="1 unreadable"), pytest.warns(UserWarning, match="holds 3 clips"):
        load_corpus("tess")  # whole, though this file of it is no sound
    assert asked(server, file)[-1] == f"bytes={kept}-" and kept > 0
    assert (own_cache / "tess" / "OAF_back_ps.wav").read_bytes() == bytes(200_000)


def test_a_given_folder_is_never_downloaded_into(publish, tmp_path, monkeypatch):
    server, _ = publish("nemo")
    with pytest.raises(SerlibError, match="holds no clips of nEMO; give another folder. Get its folder samples from"):
        load_corpus("nemo", tmp_path)
    (tmp_path / "nemo").mkdir()
    monkeypatch.setenv("CORPORA_DIR", str(tmp_path))
    with pytest.raises(SerlibError, match="holds no clips of nEMO"):
        load_corpus("nemo")
    assert not server.log and not list((tmp_path / "nemo").iterdir())


def test_what_is_there_already_is_taken(publish, tmp_path, monkeypatch):
    """CORPORA_DIR first, then the cache."""
    server, _ = publish("nemo")
    load_corpus("nemo")
    before = len(server.log)
    soundfile.write(tmp_path / "SM0_anger_3.wav", noise(0), 16_000)
    (tmp_path / "nemo").mkdir()
    (tmp_path / "SM0_anger_3.wav").rename(tmp_path / "nemo" / "SM0_anger_3.wav")
    monkeypatch.setenv("CORPORA_DIR", str(tmp_path))
    assert list(load_corpus("nemo").index) == ["SM0_anger_3"]
    monkeypatch.setenv("CORPORA_DIR", str(tmp_path / "nemo"))
    assert len(load_corpus("nemo")) == 3 and len(server.log) == before


@pytest.mark.parametrize(("name", "told"), [("savee", "Register at http"), ("urdu", "state no license")])
def test_those_that_are_not_downloaded_say_why(name, told, own_cache, monkeypatch):
    monkeypatch.delenv("CORPORA_DIR", raising=False)
    with pytest.raises(SerlibError, match=f"is not on this machine: .*{told}"):
        load_corpus(name)
    assert not list(own_cache.iterdir())


def test_an_edition_with_more_clips_is_told(publish, tmp_path):
    publish("emodb")
    for number, stem in enumerate(("03a01Fa", "03a01Fb", "03a01Wa", "03a01Wb")):
        soundfile.write(tmp_path / f"{stem}.wav", noise(number), 16_000)
    with pytest.warns(UserWarning, match="holds 4 clips, and EmoDB has 3"):
        load_corpus("emodb", tmp_path)
    (tmp_path / "03a01Fa.wav").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (tmp_path / "03a01Fb.wav").unlink()
        assert len(load_corpus("emodb", tmp_path)) == 2, "a part of it is nobody's concern"


# What git says


def test_a_tree_is_what_git_says(tmp_path):
    """Names whose order depends on bytes, an empty file, and one with a line end that nobody may change."""
    if not shutil.which("git"):
        pytest.skip("needs git")
    files = {"a.wav": b"", "a-b.wav": b"one\r\n", "A.wav": b"\0\1", "a0.wav": b"two", "ż.wav": b"three"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    git = partial(subprocess.run, cwd=tmp_path, check=True, capture_output=True, text=True)
    git(["git", "init", "-q"])
    git(["git", "-c", "core.autocrlf=false", "add", "."])
    said = git(["git", "write-tree"]).stdout.strip()
    assert _git_tree({name: _git_blob(content) for name, content in files.items()}) == said
    assert _git_tree({name: _git_blob(content + b".") for name, content in files.items()}) != said
    assert _git_tree({f"{name}.": _git_blob(content) for name, content in files.items()}) != said


if __name__ == "__main__":  # the server that dies
    served = start_server({ZIP: Path(sys.argv[1]).read_bytes()}, plan={ZIP: ["killed"]})
    Path(sys.argv[2]).write_text(str(served.server_port))
    threading.Event().wait()
