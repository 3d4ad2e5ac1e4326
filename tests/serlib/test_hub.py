"""The hub as it can be: asking for a login, without the model, silent, cut short. A server of our own plays it."""

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from serlib.train.backbones import TWINS

TWIN = TWINS / "wav2vec2-large"
EAR = "preprocessor_config.json"
OWNERS = (
    "whole", "gated", "nobody", "cut", "garbled", "foreign", "deaf", "garbled-ear", "foreign-ear", "older", "silent"
)  # fmt: skip
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LATER = "fedcba9876543210fedcba9876543210fedcba98"
LOAD = """
import sys
from serlib.train import model
from serlib.train.backbones import backbone, extractor_of, revision_of, weights_key
from serlib.errors import SerlibError
for name in sys.argv[1:]:
    try:
        model.load(backbone(name), ("a", "b"))
        extractor_of(backbone(name))
        print(name, "loaded", revision_of(backbone(name)), weights_key(backbone(name)))
    except SerlibError as error:
        print(name, "error", error)
"""


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as loading a model takes: HEAD and GET of /owner/name/resolve/main/file."""

    protocol_version = "HTTP/1.1"

    def answer(self, body: bytes | None):
        _, owner, *_, file = self.path.split("?")[0].split("/")
        code, error, content = 200, "", b""
        if owner == "silent":
            time.sleep(20)
        if owner == "gated":
            code, error = 403, "GatedRepo"
        elif owner == "nobody":
            code, error = 404, "RepoNotFound"
        elif not (TWIN / file).is_file() or "resolve" not in self.path or (owner, file) == ("deaf", EAR):
            code, error = 404, "EntryNotFound"
        else:
            content = (TWIN / file).read_bytes()
            if owner == "cut" and file == "model.safetensors":
                content = content[:5_000]
            if owner == "garbled" and file == "config.json":
                content = content[:100]
            if owner == "foreign" and file == "config.json":
                content = json.dumps({"model_type": "own", "auto_map": {"AutoConfig": "code.OwnConfig"}}).encode()
            if owner == "garbled-ear" and file == EAR:
                content = content[:100]
            if owner == "foreign-ear" and file == EAR:
                own = {"feature_extractor_type": "Own", "auto_map": {"AutoFeatureExtractor": "code.Own"}}
                content = json.dumps(own).encode()
            if owner == "older" and file == EAR:  # the six are from before it was named there
                kept = json.loads(content)
                del kept["feature_extractor_type"]
                content = json.dumps(kept).encode()
        self.send_response(code)
        self.send_header("X-Repo-Commit", self.server.commit)
        self.send_header("ETag", f'"{owner}-{file}"')
        self.send_header("Content-Length", str(len(content)))
        if error:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        if body is None:
            self.wfile.write(content)

    def do_GET(self):
        self.answer(None)

    def do_HEAD(self):
        self.answer(b"")

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> dict[str, str]:
    """What loading from each kind of repository says, all asked by one process that knows no other hub."""
    home = tmp_path_factory.mktemp("hub")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.commit = COMMIT
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {k: v for k, v in os.environ.items() if k not in ("SERLIB_MODELS", "HF_TOKEN", "HF_HUB_OFFLINE")}
    environment |= {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(home),
        "HF_HUB_ETAG_TIMEOUT": "2",
        "HF_HUB_DOWNLOAD_TIMEOUT": "2",
        "no_proxy": "127.0.0.1",
    }

    def ask(names: list[str], **more: str) -> dict[str, str]:
        found = subprocess.run(
            [sys.executable, "-c", LOAD, *names],
            env=environment | more, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        return dict(line.split("/model ", 1) for line in found.stdout.splitlines() if "/model " in line)

    said = ask([f"{owner}/model" for owner in OWNERS])
    # the same name, after its owner has changed something
    server.commit = LATER
    said["moved"] = ask(["whole/model"])["whole"]
    server.shutdown()
    # the hub is gone, and only what it gave before is left
    said["offline"] = ask(["whole/model"], HF_HUB_OFFLINE="1")["whole"]
    return said


@pytest.mark.parametrize(
    ("owner", "sentence"),
    [
        ("gated", "grants access on request"),
        ("nobody", "no model of that name"),
        ("cut", "damaged or incomplete"),
        ("garbled", "config.json is damaged"),
        ("foreign", "code that a model brings is never run"),
        ("deaf", "lacks a file"),
        ("garbled-ear", "preprocessor_config.json is damaged"),
        ("foreign-ear", "code that a model brings is never run"),
        ("silent", "did not answer"),
    ],
)
def test_each_failure_is_one_sentence(answers, owner, sentence):
    assert answers[owner].startswith("error") and sentence in answers[owner]


def test_the_revision_that_was_loaded_is_known_and_is_the_key(answers):
    for owner in ("whole", "older"):
        assert answers[owner] == f"loaded {COMMIT} {owner}/model@{COMMIT}"


def test_a_moved_revision_is_another_key_and_the_one_that_is_loaded(answers):
    assert answers["moved"] == f"loaded {LATER} whole/model@{LATER}"


def test_what_was_loaded_once_loads_offline(answers):
    assert answers["offline"] == f"loaded {LATER} whole/model@{LATER}"
