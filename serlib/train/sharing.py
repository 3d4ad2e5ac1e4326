"""A trained model as others get it: its model card, and its way to the Hugging Face hub (notebook 12).

The paper keeps its models in private repositories of the hub, so private is the default here too. The card follows
Mitchell et al. (2019, arXiv 1810.03993): what was trained, on whose voices, how it was tested, what it is not for.
"""

from pathlib import Path
from typing import Any

from serlib.errors import SerlibError
from serlib.judge.metrics import accuracy, unweighted_average_recall, wilson_interval

LICENSES = {"ravdess": "cc-by-nc-sa-4.0", "mini": "mit"}  # what a corpus asks of that which is made from it
SOURCES = {
    "ravdess": "RAVDESS, acted speech of 24 North American actors (Livingstone and Russo 2018, CC BY-NC-SA 4.0)",
    "mini": "Synthetic speech, made by a program; nothing follows from it for people",
}


def model_card(run: Any) -> str:
    """Return the model card of a run: metadata for the hub, then data, split, numbers, licence and limits in Markdown.

    The numbers are those of the test part, from the predictions that the run keeps.
    """
    from huggingface_hub import EvalResult, ModelCardData

    info = run.info
    right, uar = accuracy(run), unweighted_average_recall(run)
    n = info["clips"]["test"]
    low, high = wilson_interval(round(right * n), n)
    source = SOURCES.get(info["corpus"], f"{info['corpus']}, a corpus of its user's")
    place = Path(info["checkpoint"])  # owner/name on the hub, or a folder of the user's, or a twin
    on_hub = len(place.parts) == 2 and not place.is_absolute()
    results = [
        EvalResult(
            "audio-classification", info["corpus"], info["corpus"], kind, round(value, 4), dataset_split=info["split"]
        )
        for kind, value in (("accuracy", right), ("recall", uar))
    ]
    # No name of a license is better than a wrong one.
    data = ModelCardData(
        model_name=run.name,
        library_name="transformers",
        pipeline_tag="audio-classification",
        license=LICENSES.get(info["corpus"], "other"),
        tags=["speech-emotion-recognition"],
        eval_results=results,
        **({"base_model": info["checkpoint"]} if on_hub else {}),
    )
    known = "voices that it was trained on" if info["split"] == "stratified" else "the split's own terms"
    clips = ", ".join(f"{count:,} {part}" for part, count in info["clips"].items())
    settings = "\n".join(f"- {name}: {value}" for name, value in info["recipe"].items())
    versions = ", ".join(f"{name} {value}" for name, value in info["versions"].items())
    return f"""---
{data.to_yaml()}
---

# {run.name}, fine-tuned to tell {len(info["labels"])} emotions apart

**Data.** {source}. Labels: {", ".join(info["labels"])}. They say what was to be shown, not what anybody felt.

**Split.** {info["split"]}, tested on {known}: {clips} clips; the best step was chosen on validation.

**Test.** Accuracy {right:.1%} (95 % interval {low:.1%} to {high:.1%}), unweighted average recall {uar:.1%}.

**License.** {data.license}, as the corpus asks.

**Not for** judging people: nothing about feelings, health, honesty or fitness for a job follows from its answers.

```python
from transformers import pipeline

pipeline("audio-classification", model="THIS REPOSITORY OR ITS FOLDER")("three_seconds_of_speech.wav")
```

## Recipe

{settings}

Start: {info["weights"]}. Versions: {versions}.
"""


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
    if run.info["kind"] == "probe" or run.info["recipe"]["pooling"] != "mean":
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
