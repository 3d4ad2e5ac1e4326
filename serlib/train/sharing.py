"""A trained model as others get it: its model card, and its way to the Hugging Face hub (notebook 12).

The paper keeps its models in private repositories of the hub, so private is the default here too. The card follows
Mitchell et al. (2019, arXiv 1810.03993): what was trained, on whose voices, how it was tested, what it is not for.
"""

import ast
import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serlib.data import audio, ravdess
from serlib.errors import SerlibError
from serlib.judge.metrics import accuracy, unweighted_average_recall, wilson_interval
from serlib.train.backbones import BACKBONES, is_network

LICENSES = {"ravdess": "cc-by-nc-sa-4.0", "mini": "mit"}  # what a corpus asks of that which is made from it
SOURCES = {
    "ravdess": "RAVDESS, acted speech of 24 North American actors (Livingstone and Russo 2018, CC BY-NC-SA 4.0)",
    "mini": "Synthetic speech, made by a program; nothing follows from it for people",
}
VOICES = {
    True: "tested on voices that it was trained on, so it will do worse on others",
    False: "tested on voices that it was not trained on",
    None: "tested on voices of which nobody said whether it was trained on them too",
}


def model_card(run: Any) -> str:  # a Run, whose own module asks this one
    """Return the model card of a run: metadata for the hub, then data, split, numbers, licence and limits in Markdown.

    The numbers are those of the test part, from the predictions that the run keeps. The lines of code give what
    ``ser.classify`` gives, on any machine that has the libraries which they import.

    Parameters
    ----------
    run
        A run, with or without its checkpoint.

    Returns
    -------
    str
        Markdown, as the README.md of a repository on the hub.

    References
    ----------
    Mitchell et al. (2019, arXiv 1810.03993).

    Examples
    --------
    >>> card = ser.model_card(ser.load_run("results/laptop/stratified/whisper-tiny.en"))
    >>> print(next(line for line in card.splitlines() if line.startswith("**Test.**")))
    **Test.** Accuracy 85.8% (95 % interval 81.3% to 89.3%), unweighted average recall 85.7%.
    """
    from huggingface_hub import EvalResult, ModelCardData

    if not isinstance(getattr(run, "info", None), dict):  # Run itself knows this module
        raise SerlibError(f"A card is of a run, and this is a {type(run).__name__}; ser.load_run gives one.")
    info = run.info
    right, uar = accuracy(run), unweighted_average_recall(run)
    n = info["clips"]["test"]
    low, high = wilson_interval(round(right * n), n)
    known = _known_corpus(run)
    corpus, split = _one_line(info["corpus"]), _one_line(info["split"])
    source = SOURCES[known] if known else f"{_as_markdown(corpus)}, a corpus of its user's"
    place, start = info["checkpoint"], info["weights"]
    hubs_own = {row.checkpoint for row in BACKBONES.values() if not row.is_twin}
    on_hub = info["pretrained"] and (place in hubs_own or start.startswith(f"{place}@"))
    if place not in hubs_own and not on_hub:
        start = start.replace(place, Path(place).name)  # where a folder lies is nobody's business
    results = [
        EvalResult("audio-classification", corpus, corpus, kind, round(value, 4), dataset_split=split)
        for kind, value in (("accuracy", right), ("recall", uar))
    ]
    data = ModelCardData(
        model_name=_one_line(run.name),
        library_name="transformers",
        pipeline_tag="audio-classification",
        license=license_of(run),
        tags=["speech-emotion-recognition"],
        eval_results=results,
        **({"base_model": place} if on_hub else {}),
    )
    license_ = f"{data.license}, as the corpus asks" if known else "what the owner of the recordings allows; ask there"
    if info["pretrained"]:  # the weights that it starts from have an owner too
        license_ += f". The encoder that it starts from: {_license_of(place)}"
    clips = ", ".join(f"{count:,} {part}" for part, count in info["clips"].items())
    steps = len(run.history)
    chosen = (
        f"the best of {steps} states was chosen on validation" if steps > 1 else "no state was chosen, the last is it"
    )
    labels, made = ", ".join(map(_as_markdown, info["labels"])), "a probe" if info["kind"] == "probe" else "fine-tuned"
    settings = "\n".join(f"- {name}: {_as_markdown(value)}" for name, value in info["recipe"].items())
    versions = ", ".join(f"{name} {value}" for name, value in info["versions"].items())
    return f"""---
{data.to_yaml()}
---

# {_as_markdown(run.name)}, {made} to tell {len(info["labels"])} emotions apart

**Data.** {source}. Labels: {labels}. They say what was to be shown, not what anybody felt.

**Split.** {_as_markdown(split)}, {VOICES[info.get("known_voices")]}: {clips} clips; {chosen}.

**Test.** Accuracy {right:.1%} (95 % interval {low:.1%} to {high:.1%}), unweighted average recall {uar:.1%}.

**License.** {license_}.

**Not for** judging people: nothing about feelings, health, honesty or fitness for a job follows from its answers.

```python
{_lines_of_use(run)}
```

## Recipe

{settings}

Start: {_as_markdown(start)}. Versions: {versions}.
"""


def license_of(run: Any) -> str:
    """Return the license that a run's corpus asks for, "other" where nobody knows: better than a wrong one."""
    return LICENSES.get(_known_corpus(run) or "", "other")


def _license_of(checkpoint: str) -> str:
    """Return the license of the weights at a hub id or in a folder, as far as serlib knows it."""
    if checkpoint.startswith("serlib/twins/"):
        return "mit"
    known = {row.checkpoint: row.license for row in BACKBONES.values()}
    return known.get(checkpoint, "not stated here; ask its owner")


def _one_line(value: Any) -> str:
    """Return any text as one line, so that none of it can be taken for the metadata of a card."""
    return " ".join(str(value).split())


def _as_markdown(value: Any) -> str:
    """Return any text as one line of Markdown that means nothing but itself."""
    return re.sub(r"([\\`*_\[\]<>&|~#$])", r"\\\1", _one_line(value))


def _known_corpus(run: Any) -> str | None:
    """Return the name of a corpus whose source and license are known, None for any other, whatever it is called."""
    name = run.info["corpus"]
    if name not in SOURCES or run.info["synthetic"] != (name == "mini"):
        return None
    try:
        for clip in run.predictions["clip"]:
            ravdess.parse_name(str(clip))
    except SerlibError:
        return None
    return name


def _is_plain(run: Any) -> bool:
    """Whether transformers alone can load the checkpoint."""
    own = is_network(str(run.info.get("checkpoint", "")))  # which only serlib has
    return run.info["kind"] != "probe" and run.info["recipe"]["pooling"] == "mean" and not own


def _longest_heard(run: Any) -> int | str | None:
    """Return how many seconds the model hears at once, as ``classify`` asks, None where it hears any length.

    Where the checkpoint is not here it is code that asks it, once it is loaded.
    """
    try:
        kept = json.loads((run.folder / "checkpoint" / "preprocessor_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 'getattr(model.feature_extractor, "chunk_length", None)'
    return kept.get("chunk_length")


def _source_of(function: Callable[..., Any], found: dict[str, str]) -> dict[str, str]:
    """Add to ``found`` the source of a function of ``audio`` and of what it needs there, docstrings left out."""
    source = inspect.getsource(function)
    tree = ast.parse(source)
    whole = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    docstring, lines = whole.body[0], source.splitlines()
    del lines[docstring.lineno - 1 : docstring.end_lineno]
    found[function.__name__] = "\n\n" + "\n".join(lines)
    for name in sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - found.keys()):
        value = getattr(audio, name, None)
        if inspect.isfunction(value):
            _source_of(value, found)
        elif isinstance(value, int | float):
            found[name] = f"{name} = {value!r}"
    return found


def _lines_of_use(run: Any) -> str:
    """Return Python that asks the model about a file; how ``audio.trim`` trims is taken from its source."""
    if not _is_plain(run):
        return """import serlib as ser  # transformers alone does not know this kind of head

run = ser.load_run("THE FOLDER OF THE RUN")
answer = ser.classify(run, ["three_seconds_of_speech.wav"])
print(answer)"""
    trimmed, longest = run.info["recipe"].get("trim"), _longest_heard(run)
    at_run_time = isinstance(longest, str)
    found = _source_of(audio.active_span, {}) if trimmed else {}
    defined = [text for _, text in sorted(found.items(), key=lambda pair: pair[1].startswith("\n"))]  # numbers first
    lines = ["# For a WAV or FLAC file."]
    lines += ["import numpy as np"] * bool(trimmed or longest)
    lines += ["import soundfile", "import soxr", "from transformers import pipeline", ""]
    lines += [*defined, "", ""] if defined else []
    lines += ['samples, rate = soundfile.read("three_seconds_of_speech.wav", dtype="float32", always_2d=True)']
    lines += [f'samples = soxr.resample(samples.mean(axis=1), rate, {audio.RATE}, quality="HQ")']
    lines += ["start, stop = active_span(samples)", "samples = samples[start:stop] if stop else samples"] * bool(
        trimmed
    )
    lines += ['model = pipeline("audio-classification", model="THIS REPOSITORY OR ITS FOLDER")']
    if longest:
        lines += [
            f"longest = {longest}  # seconds that it hears at once" + ", None for any length" * at_run_time,
            f"count = -(-len(samples) // (longest * {audio.RATE}))" + " if longest else 1" * at_run_time,
            "pieces = np.array_split(samples, count)",
            f'heard = [model({{"raw": piece, "sampling_rate": {audio.RATE}}}, top_k=None) for piece in pieces]',
            'scores = [{one["label"]: one["score"] for one in piece} for piece in heard]',
            "answer = {label: float(np.mean([piece[label] for piece in scores])) for label in scores[0]}",
        ]
    else:
        lines += [
            f'heard = model({{"raw": samples, "sampling_rate": {audio.RATE}}}, top_k=None)',
            'answer = {one["label"]: one["score"] for one in heard}',
        ]
    return "\n".join([*lines, "print(answer)"])


def push_to_hub(run: Any, repo: str, private: bool = True) -> str:
    """Upload a run in one commit: checkpoint, model card, predictions, history and run.json; return its address.

    Raises SerlibError for a run without a checkpoint or one that plain transformers could not load, without a login,
    for a name that the hub refuses, and where it cannot be reached. ``HF_ENDPOINT`` names another hub.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    checkpoint = run.folder / "checkpoint"
    if not checkpoint.is_dir():
        raise SerlibError(f"The run of {run.name} holds predictions but no checkpoint; run its notebook to train one.")
    if not _is_plain(run):
        raise SerlibError(
            f"{run.name} would not load in plain transformers, which knows fine-tuned models with mean pooling only; "
            "upload one of these."
        )
    files = {path.name: path for path in sorted(checkpoint.iterdir())}
    files |= {name: run.folder / name for name in ("predictions.csv", "history.csv", "run.json")}
    operations = [CommitOperationAdd(name, path) for name, path in files.items()]
    operations.append(CommitOperationAdd("README.md", model_card(run).encode()))
    try:
        hub = HfApi(library_name="serlib")
        address = hub.create_repo(repo, private=private, exist_ok=True, token=True)
        hub.create_commit(address.repo_id, operations, commit_message=f"{run.name}, trained with serlib", token=True)
    except LocalTokenNotFoundError as error:
        raise SerlibError("The hub does not know you yet: run huggingface_hub.login(), then upload again.") from error
    except HFValidationError as error:
        raise SerlibError(f"The hub takes no repository called {repo!r}; name it like anna/ravdess-hubert.") from error
    except HfHubHTTPError as error:
        reason = str(error.server_message or error).split("\n")[0]
        raise SerlibError(
            f"The hub refused {repo!r} ({reason}); check the name, and that your token may write."
        ) from error
    except Exception as error:
        # the client that the hub's library speaks through has had three names, and errors of its own under each
        if type(error).__module__.split(".")[0] in ("httpx", "httpx2", "requests") or isinstance(error, OSError):
            raise SerlibError(f"The hub could not be reached ({error}); nothing is lost, upload it later.") from error
        raise
    return str(address)
