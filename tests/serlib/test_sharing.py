"""The model card says what the predictions say; the upload is one commit to a hub of our own on this machine."""

import ast
import base64
import dataclasses
import html
import http.server
import json
import re
import shutil
import threading

import numpy as np
import pytest
from huggingface_hub import ModelCard
from sklearn.metrics import accuracy_score, recall_score

from serlib.data.ravdess import ravdess
from serlib.data.splits import stratified_split
from serlib.errors import SerlibError
from serlib.train.backbones import backbone
from serlib.train.classify import classify
from serlib.train.finetuning import fine_tune
from serlib.train.probing import probe
from serlib.train.recipes import Probe, Recipe
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


def lines_of(text: str, run, path) -> str:
    """The code of a card, word for word, with the two names that a reader puts in."""
    code = re.search(r"```python\n(.*?)\n```", text, re.DOTALL)[1]
    places = {
        "THIS REPOSITORY OR ITS FOLDER": run.folder / "checkpoint",
        "THE FOLDER OF THE RUN": run.folder,
        "three_seconds_of_speech.wav": path,
    }
    for name, place in places.items():
        code = code.replace(f'"{name}"', repr(str(place)))
    return code


def answer_of(text: str, run, path) -> dict[str, float]:
    """What the lines of a card answer, run as they are."""
    names: dict = {}
    exec(lines_of(text, run, path), names)
    return names["answer"]


@pytest.fixture
def recordings(tmp_path, spoken) -> list[str]:
    """A clip as it is, and what recorders make of it: 48 kHz, two channels, an offset, a click at the end."""
    import soundfile
    import soxr

    plain = spoken["path"].iloc[5]
    samples, rate = soundfile.read(plain)
    assert rate == 16_000
    quiet = soxr.resample(np.concatenate([np.zeros(8_000), samples / 10, np.zeros(8_000)]), rate, 48_000)
    quiet[-120:] = 0.8 * np.sign(np.sin(np.arange(120)))
    soundfile.write(tmp_path / "odd.flac", np.stack([quiet + 0.05, 0.5 * quiet + 0.05], axis=1), 48_000)
    soundfile.write(tmp_path / "slow.wav", samples[::2], 8_000, subtype="FLOAT")
    return [plain, str(tmp_path / "odd.flac"), str(tmp_path / "slow.wav")]


@pytest.mark.parametrize("trim", [True, False])
def test_the_lines_of_the_card_say_what_classify_says(run, recordings, trim, capsys):
    run.info["recipe"]["trim"] = trim
    record = dataclasses.replace(run, folder=run.folder / "without checkpoint")
    text, alone = model_card(run), model_card(record)
    assert ("active_span(samples)" in text) == trim and "longest" not in text
    expected = classify(run, recordings)
    for path, (_, row) in zip(recordings, expected.iterrows(), strict=True):
        for card in (text, alone):
            assert answer_of(card, run, path) == pytest.approx(row.to_dict(), abs=1e-5)
    assert expected.round(3).drop_duplicates().shape == expected.shape, "three sounds, three answers"


@pytest.mark.parametrize("trim", [True, False])
def test_the_lines_hear_a_long_clip_as_classify_does(spoken, tmp_path, trim):
    """In equal windows, as long as this Whisper was trained to hear, and their answers averaged."""
    import soundfile
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    sizes = dict.fromkeys(("encoder_layers", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads"), 1)
    sizes |= {"d_model": 16, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "vocab_size": 16}
    special = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 1)
    WhisperModel(WhisperConfig(**sizes, **special)).save_pretrained(tmp_path / "tiny")
    WhisperFeatureExtractor().save_pretrained(tmp_path / "tiny")
    split = stratified_split(spoken, test_size=0.25, validation_size=0.2)
    short = dataclasses.replace(QUICK, trim=trim)
    run = fine_tune(backbone(tmp_path / "tiny"), split, short, tmp_path / "runs")
    clips = [soundfile.read(path)[0] for path in spoken["path"]]
    long = tmp_path / "long.wav"
    soundfile.write(long, np.concatenate([*clips[:6], np.zeros(8_000)]), 16_000, subtype="PCM_16")
    text, files = model_card(run), [spoken["path"].iloc[0], long]
    assert re.search(r"longest = \d+  # seconds that it hears at once", text)
    expected = classify(run, files)
    # the record alone, whose checkpoint was removed, gives a card that is as right; its lines ask the model
    record = dataclasses.replace(run, folder=shutil.copytree(run.folder, tmp_path / "record"))
    shutil.rmtree(record.folder / "checkpoint")
    alone = model_card(record)
    assert "for any length" in alone
    for path, (_, row) in zip(files, expected.iterrows(), strict=True):
        for card in (text, alone):
            assert answer_of(card, run, path) == pytest.approx(row.to_dict(), abs=1e-5)


def test_the_lines_need_neither_serlib_nor_ffmpeg(run, recordings, program):
    """In a Python of their own, where serlib cannot be imported and no other program found."""
    alone = "import sys, huggingface_hub.constants as hub; sys.modules['serlib'], hub.HF_HUB_OFFLINE = None, True\n"
    done = program(alone + lines_of(model_card(run), run, recordings[1]), PATH="")
    assert done.returncode == 0, done.stderr
    expected = classify(run, recordings[1:2]).iloc[0].to_dict()
    assert ast.literal_eval(done.stdout.splitlines()[-1]) == pytest.approx(expected, abs=1e-5)


def test_the_lines_on_what_transformers_alone_cannot_load(spoken, tmp_path, recordings):
    split = stratified_split(spoken, test_size=0.25, validation_size=0.2)
    run = probe(backbone("hubert-base-mini"), split, Probe(), tmp_path / "runs")
    text, names = model_card(run), {}
    assert "HuBERT base (mini twin), frozen, a probe to tell 4 emotions apart" in text
    exec(lines_of(text, run, recordings[0]), names)
    assert names["answer"].equals(classify(run, recordings[:1]))


def test_card_states_data_split_numbers_and_license(run):
    run.info.update(corpus="mini", synthetic=True)
    text = model_card(run)
    data = ModelCard(text).data
    test = run.predictions.query("part == 'test'")
    values = {result.metric_type: result.metric_value for result in data.eval_results}
    assert values["accuracy"] == pytest.approx(accuracy_score(test["emotion"], test["predicted"]), abs=1e-4)
    recall = recall_score(test["emotion"], test["predicted"], average="macro")
    assert values["recall"] == pytest.approx(recall, abs=1e-4)
    assert "Synthetic speech" in text and "angry" in text
    assert str(run.folder) not in text and data.base_model is None
    assert (data.license, data.pipeline_tag) == ("mit", "audio-classification")


@pytest.mark.parametrize(
    ("known", "sentence"),
    [
        (True, "tested on voices that it was trained on, so it will do worse on others"),
        (False, "tested on voices that it was not trained on"),
        (None, "tested on voices of which nobody said whether it was trained on them too"),
    ],
)
def test_the_card_says_whether_the_voices_were_new(run, known, sentence):
    run.info["known_voices"] = known
    assert f"stratified, {sentence}:" in model_card(run)
    if known is None:
        del run.info["known_voices"]  # in a record that is older than the question
        assert sentence in model_card(run)


def test_the_card_says_whether_a_state_was_chosen(run):
    assert f"the best of {len(run.history)} states was chosen on validation" in model_card(run)
    alone = dataclasses.replace(run, history=run.history.iloc[-1:])
    assert "no state was chosen, the last is it" in model_card(alone)


def test_card_of_ravdess_keeps_its_license(run):
    hub = "facebook/hubert-base-ls960"
    run.info.update(corpus="ravdess", synthetic=False, checkpoint=hub, weights=f"{hub}@{40 * 'a'}")
    data = ModelCard(model_card(run)).data
    assert data.license == "cc-by-nc-sa-4.0" and data.base_model == hub
    run.info["corpus"] = "my calls"
    card = model_card(run)
    assert ModelCard(card).data.license == "other" and "what the owner of the recordings allows" in card


@pytest.mark.parametrize(
    ("place", "license_"),
    [
        ("serlib/twins/hubert-base", "mit."),
        ("facebook/hubert-base-ls960", "apache-2.0."),
        ("microsoft/wavlm-base-plus", "cc-by-sa-3.0 (linked, not tagged)."),
        ("somebody/an-encoder", "not stated here; ask its owner."),
    ],
)
def test_the_card_names_the_license_of_the_encoder_that_was_trained_on(run, place, license_):
    run.info.update(corpus="ravdess", synthetic=False, checkpoint=place, weights=f"{place}@{40 * 'a'}")
    sentence = f"**License.** cc-by-nc-sa-4.0, as the corpus asks. The encoder that it starts from: {license_}\n"
    assert sentence in model_card(run)
    run.info.update(pretrained=False)
    assert "The encoder that it starts from" not in model_card(run)


def test_a_corpus_is_not_ravdess_because_it_is_called_so(run):
    run.info.update(corpus="ravdess", synthetic=True)
    assert ModelCard(model_card(run)).data.license == "other"
    run.info["synthetic"] = False
    assert ModelCard(model_card(run)).data.license == "cc-by-nc-sa-4.0"
    own = run.predictions.assign(clip=[f"call-{n}" for n in range(len(run.predictions))])
    assert ModelCard(model_card(dataclasses.replace(run, predictions=own))).data.license == "other"


def test_only_a_checkpoint_of_the_hub_is_a_base(run):
    run.info.update(checkpoint="anna/voices", weights="anna/voices@" + 40 * "a")
    assert ModelCard(model_card(run)).data.base_model == "anna/voices"
    run.info.update(checkpoint="/srv/anna/voices", weights="random, in the shape of /srv/anna/voices, seed 1")
    card = model_card(run)
    assert ModelCard(card).data.base_model is None and "/srv" not in card and "shape of voices, seed 1" in card
    run.info.update(checkpoint="models/mine", weights="sha256:" + 64 * "a")
    assert ModelCard(model_card(run)).data.base_model is None


HOSTILE = [
    "x\n---\nlicense: mit",
    "x\r\n---\r\nlicense: mit\r\nbase_model: a/b",
    "---",
    "x\u2028---\u2028license: mit",
    "'x\"\n  license: mit",
    "```\n# title\n```python\nimport os\n```",
    "<script>alert(1)</script> &lt;b&gt; [here](javascript:alert(1)) ![x](http://x/y) **b** $x$ | a",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_names_are_text_in_a_card(run, text):
    from markdown_it import MarkdownIt

    whole = ModelCard(model_card(run))
    run.info.update(corpus=text, split=text, title=text, labels=[text, *run.info["labels"]], weights=text)
    run.info["recipe"]["precision"] = text
    card = ModelCard(model_card(run))
    assert (card.data.license, card.data.base_model) == ("other", None)
    assert set(card.data.to_dict()) == set(whole.data.to_dict())
    assert card.data.eval_results[0].dataset_name == " ".join(text.split())
    kinds = [[token.type for token in MarkdownIt().parse(page.text)] for page in (whole, card)]
    assert kinds[0] == kinds[1], "no name adds a heading, a line or a block"
    rendered = MarkdownIt().render(card.text)
    assert "<script" not in rendered and "<img" not in rendered and "<a " not in rendered
    heading = re.search("<h1>(.*?)</h1>", rendered)[1]
    assert html.unescape(heading).startswith(" ".join(text.split()))


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
