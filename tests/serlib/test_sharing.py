"""The model card says what the predictions say; the upload is one commit to a hub of our own on this machine."""

import base64
import http.server
import json
import re
import shutil
import threading

import pytest
from huggingface_hub import ModelCard
from sklearn.metrics import accuracy_score, recall_score

from serlib.data.ravdess import ravdess
from serlib.data.splits import stratified_split
from serlib.errors import SerlibError
from serlib.train.backbones import backbone
from serlib.train.finetuning import fine_tune
from serlib.train.recipes import Recipe
from serlib.train.run import load_run
from serlib.train.sharing import model_card

QUICK = Recipe(epochs=1, batch_size=8, accumulation=1, learning_rate=1e-3, eval_every=4, trim=True)


@pytest.fixture(scope="module")
def trained(spoken_dir, tmp_path_factory):
    home = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERLIB_CACHE", str(home / "cache"))
        split = stratified_split(ravdess(spoken_dir), test_size=0.25, validation_size=0.2)
        return fine_tune(backbone("hubert-base-mini"), split, QUICK, home / "mini").folder


@pytest.fixture
def run(trained, tmp_path):
    return load_run(shutil.copytree(trained, tmp_path / "mini" / trained.parent.name / trained.name))


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub's protocol as one commit of small files needs."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.server.asked.append((self.path, self.headers["Authorization"], body))
        status, answer = self.answer(body)
        if self.server.refuse and self.path.endswith(self.server.refuse[0]):
            status, answer = self.server.refuse[1:]
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def answer(self, body):
        home = f"http://127.0.0.1:{self.server.server_port}"
        if self.path == "/api/repos/create":
            return 200, {"url": f"{home}/anna/voices", "id": "anna/voices", "name": "anna/voices"}
        if self.path.endswith("/preupload/main"):
            names = [file["path"] for file in json.loads(body)["files"]]
            return 200, {"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]}
        if self.path.endswith("/commit/main"):
            return 200, {"success": True, "commitOid": "0" * 40, "commitUrl": f"{home}/anna/voices/commit/0"}
        return 200, {"errors": [], "warnings": []}

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked, server.refuse = [], None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # read once when the library is imported, so the environment would come too late
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    yield server
    server.shutdown()
    server.server_close()


def test_card_states_data_split_numbers_and_license(run):
    run.info["corpus"] = "mini"
    text = model_card(run)
    data = ModelCard(text).data
    test = run.predictions.query("part == 'test'")
    values = {result.metric_type: result.metric_value for result in data.eval_results}
    assert values["accuracy"] == pytest.approx(accuracy_score(test["emotion"], test["predicted"]), abs=1e-4)
    recall = recall_score(test["emotion"], test["predicted"], average="macro")
    assert values["recall"] == pytest.approx(recall, abs=1e-4)
    assert "Synthetic speech" in text and "voices that it was trained on" in text and "angry" in text
    assert str(run.folder) not in text and data.base_model is None
    assert (data.license, data.pipeline_tag) == ("mit", "audio-classification")


def test_card_of_ravdess_keeps_its_license(run):
    hub = "facebook/hubert-base-ls960"
    run.info.update(corpus="ravdess", synthetic=False, checkpoint=hub, weights=hub)
    data = ModelCard(model_card(run)).data
    assert data.license == "cc-by-nc-sa-4.0" and data.base_model == hub
    run.info["corpus"] = "my calls"
    assert ModelCard(model_card(run)).data.license == "other"


def test_upload_is_one_private_commit_of_all_files(run, hub):
    address = run.push_to_hub("anna/voices")
    assert address.endswith("/anna/voices")
    asked = {path: body for path, _, body in hub.asked}
    assert all(token == "Bearer hf_of_nobody" for path, token, _ in hub.asked if "validate" not in path)
    made = json.loads(asked["/api/repos/create"])  # the hub's library says it in one of two ways
    assert made.get("private") is True or made["visibility"] == "private"
    lines = [json.loads(line) for line in asked["/api/models/anna/voices/commit/main"].splitlines()]
    sent = {x["value"]["path"]: base64.b64decode(x["value"]["content"]) for x in lines if x["key"] == "file"}
    assert sent["model.safetensors"] == (run.folder / "checkpoint" / "model.safetensors").read_bytes()
    assert sent["predictions.csv"] == (run.folder / "predictions.csv").read_bytes()
    assert sent["README.md"].decode() == model_card(run)
    assert {"config.json", "preprocessor_config.json", "run.json", "history.csv"} <= set(sent)


@pytest.mark.parametrize(
    ("refuse", "said"),
    [
        (("create", 403, {"error": "You have no rights here"}), "no rights here.*may write"),
        (("commit/main", 401, {"error": "Invalid credentials"}), "refused.*Invalid|Invalid.*may write"),
    ],
)
def test_a_refusal_is_one_sentence(run, hub, refuse, said):
    hub.refuse = refuse
    with pytest.raises(SerlibError, match=said) as caught:
        run.push_to_hub("anna/voices")
    assert "\n" not in str(caught.value)


def test_what_cannot_be_shared_says_why(run, hub, monkeypatch):
    with pytest.raises(SerlibError, match="no repository called 'two words'"):
        run.push_to_hub("two words")
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(run.folder / "none"))
    with pytest.raises(SerlibError, match="login"):
        run.push_to_hub("anna/voices")
    run.info["recipe"]["pooling"] = "max"
    with pytest.raises(SerlibError, match="mean pooling"):
        run.push_to_hub("anna/voices")
    (run.folder / "checkpoint").rename(run.folder / "elsewhere")
    with pytest.raises(SerlibError, match="no checkpoint"):
        load_run(run.folder).push_to_hub("anna/voices")
    assert not hub.asked


def test_no_hub_is_one_sentence(run, hub, monkeypatch):
    hub.shutdown()
    hub.server_close()
    with pytest.raises(SerlibError, match="could not be reached"):
        run.push_to_hub("anna/voices")
    assert not re.search(r"/tmp|Traceback", model_card(run))
