"""The hub as it can be: asking for a login, without the model, silent, cut short. A server of our own plays it."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from serlib.train.backbones import TWINS

TWIN = TWINS / "wav2vec2-large"
EAR = "preprocessor_config.json"
OWNERS = ("whole", "gated", "nobody", "cut", "garbled", "foreign", "deaf", "garbled-ear", "foreign-ear", "older")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LATER = "fedcba9876543210fedcba9876543210fedcba98"
# Each line that it reads is asked by a process of its own, forked from one that has loaded what it takes: how many
# seconds it waits for an answer, whether it may ask the hub, and for whom.
LOAD = """
import os, sys, time
import transformers.models.auto.modeling_auto, transformers.models.wav2vec2.modeling_wav2vec2
from huggingface_hub import constants, file_download
from serlib.train import model
from serlib.train.backbones import backbone, extractor_of, revision_of, weights_key
from serlib.errors import SerlibError
slept = time.sleep
time.sleep = lambda seconds: slept(min(seconds, 0.01))  # a library that asks again waits for half a minute in all
for line in sys.stdin:
    patience, offline, *names = line.split()
    if child := os.fork():
        os.waitpid(child, 0)
        print("asked", flush=True)
        continue
    constants.HF_HUB_ETAG_TIMEOUT = constants.HF_HUB_DOWNLOAD_TIMEOUT = float(patience)
    file_download._ETAG_RETRY_TIMEOUT = float(patience)  # which is a minute, whatever the others are
    constants.HF_HUB_OFFLINE = offline == "offline"
    for name in names:
        try:
            model.load(backbone(name), ("a", "b"))
            extractor_of(backbone(name))
            print(name, "loaded", revision_of(backbone(name)), weights_key(backbone(name)))
        except SerlibError as error:
            print(name, "error", error)
    sys.stdout.flush()
    os._exit(0)
"""


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as loading a model takes: HEAD and GET of /owner/name/resolve/main/file."""

    protocol_version = "HTTP/1.1"

    def answer(self, body: bytes | None):
        _, owner, *_, file = self.path.split("?")[0].split("/")
        code, error, content = 200, "", b""
        if owner == "silent":
            threading.Event().wait()
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


pytestmark = pytest.mark.slow  # each looks at what one program says


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> dict[str, str]:
    """What loading from each kind of repository says, all asked by one process that knows no other hub."""
    if not hasattr(os, "fork"):
        pytest.skip("needs a system that forks")
    home = tmp_path_factory.mktemp("hub")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.commit = COMMIT
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {k: v for k, v in os.environ.items() if k not in ("SERLIB_MODELS", "HF_TOKEN", "HF_HUB_OFFLINE")}
    environment |= {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(home),
        "no_proxy": "127.0.0.1",
    }

    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", LOAD], env=environment, stdin=pipe, stdout=pipe, text=True) as asking:

        def ask(*owners: str, patience: float = 600, way: str = "online") -> dict[str, str]:
            print(patience, way, *(f"{owner}/model" for owner in owners), file=asking.stdin, flush=True)
            said = {}
            while (line := asking.stdout.readline()) != "asked\n":
                assert line, "it ended before it had asked"
                if "/model " in line:
                    owner, answer = line.strip().split("/model ", 1)
                    said[owner] = answer
            return said

        said = ask(*OWNERS) | ask("silent", patience=0.2)
        # the same name, after its owner has changed something
        server.commit = LATER
        said["moved"] = ask("whole")["whole"]
        server.shutdown()
        # the hub is gone, and only what it gave before is left
        said["offline"] = ask("whole", way="offline")["whole"]
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
