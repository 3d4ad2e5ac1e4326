"""The pre-trained speech encoders of the book, one row each, and where their weights are found. See notebooks 02-08."""

import json
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from textwrap import shorten
from typing import Any

from serlib.errors import SerlibError, nearest
from serlib.files import given_path, named_folder
from serlib.train.weights import SAFE, digest, fault_of, key_of_folder

TWINS = Path(__file__).parents[1] / "twins"
NETWORK = "serlib/networks/"  # what the checkpoint of a network of notebook 15 begins with
NETWORK_TYPE = "serlib-network"  # what its config.json calls its kind


def is_network(checkpoint: str) -> bool:
    """Whether a checkpoint, as a backbone or a run's record names it, is a network of notebook 15."""
    return checkpoint.startswith(NETWORK)


@dataclass(frozen=True)
class Backbone:
    """One pre-trained encoder: what it is, and the facts that decide how it must be fed.

    ``key`` is what it is called by, ``title`` what tables call it, ``checkpoint`` its hub id or folder at ``revision``,
    ``family`` its kind in transformers. ``parameters`` counts the encoder in millions, in ``layers`` layers of
    ``hidden`` numbers a frame. ``needs_mask`` says whether padding is told to the model by an attention mask, as its
    own feature extractor has it (never for HuBERT base and Whisper). ``about`` says how it was pre-trained;
    ``paper_title`` is its row in :func:`serlib.judge.paper.models`, empty where the paper has none. ``license`` is that
    of the weights, as the hub's page has it.

    Examples
    --------
    >>> backbone = ser.backbone("hubert-base")
    >>> backbone.parameters, backbone.layers, backbone.hidden, backbone.needs_mask
    (94.4, 12, 768, False)
    """

    key: str
    title: str
    checkpoint: str
    family: str
    parameters: float
    hidden: int
    layers: int
    needs_mask: bool
    about: str
    paper_title: str = ""
    revision: str = "main"
    license: str = "not stated"

    @property
    def original(self) -> str:
        """The key of the model that a twin stands for; of all others their own.

        >>> ser.backbone("hubert-base-mini").original
        'hubert-base'
        """
        return Path(self.checkpoint).name if self.is_twin else self.key

    @property
    def is_twin(self) -> bool:
        """Whether this is a mini twin, whose weights ship with serlib.

        >>> ser.backbone("hubert-base-mini").is_twin
        True
        """
        return self.checkpoint.startswith("serlib/twins/")

    @property
    def is_network(self) -> bool:
        """Whether this is a network of notebook 15: ``hidden`` is then the rows of its input, ``layers`` its frames.

        >>> ser.network("mel-cnn").is_network
        True
        """
        return is_network(self.checkpoint)

    @property
    def has_weights(self) -> bool:
        """Whether there is something pre-trained to start from, as there is not for most networks of notebook 15.

        >>> ser.network("mel-cnn").has_weights
        False
        """
        return self.family != "network"

    def __str__(self) -> str:
        shape = f"{self.hidden} rows of input" if self.is_network else f"{self.layers} layers of {self.hidden}"
        size = f"{self.parameters:,.4g} M parameters, {shape}"
        return f"{self.title} ({size}; license: {self.license}): {self.about}"


# The pages of Microsoft's encoders have no tag; their text links to the license of the UniSpeech repository.
_OF_UNISPEECH = "cc-by-sa-3.0 (linked, not tagged)"
_OF_WHISPER = "apache-2.0 (MIT at OpenAI)"
_LARGE: dict[str, Any] = {"parameters": 315.4, "hidden": 1024, "layers": 24, "needs_mask": True}
BACKBONES = {
    row.key: row
    for row in (
        Backbone(
            "wav2vec2-large",
            "wav2vec 2.0 large",
            "facebook/wav2vec2-large-960h-lv60-self",
            "wav2vec2",
            about="pre-trained by telling the true masked frame from decoys on 60,000 hours of English audiobooks, "
            "then fine-tuned to transcribe them.",
            paper_title="Wav2vec2.0-large",
            revision="54074b1c16f4de6a5ad59affb4caa8f2ea03a119",
            license="apache-2.0",
            **_LARGE,
        ),
        Backbone(
            "wav2vec2-xlsr53",
            "wav2vec 2.0 XLSR-53",
            "facebook/wav2vec2-large-xlsr-53",
            "wav2vec2",
            about="pre-trained like wav2vec 2.0, on 56,000 hours in 53 languages that share one codebook.",
            paper_title="Wav2vec2.0-large-XLSR-53",
            revision="c3f9d884181a224a6ac87bf8885c84d1cff3384f",
            license="apache-2.0",
            **_LARGE,
        ),
        Backbone(
            "hubert-base",
            "HuBERT base",
            "facebook/hubert-base-ls960",
            "hubert",
            94.4,
            768,
            12,
            False,
            about="pre-trained by naming the k-means cluster of masked frames on 960 hours of English audiobooks.",
            paper_title="HuBERT base",
            revision="dba3bb02fda4248b6e082697eee756de8fe8aa8a",
            license="apache-2.0",
        ),
        Backbone(
            "hubert-xlarge",
            "HuBERT x-large",
            "facebook/hubert-xlarge-ls960-ft",
            "hubert",
            962.5,
            1280,
            48,
            True,
            about="HuBERT with a billion parameters and 60,000 hours, then fine-tuned to transcribe.",
            paper_title="HuBERT x-large",
            revision="86a09e67e0c8d074533992379242405825516eca",
            license="apache-2.0",
        ),
        Backbone(
            "unispeech-large",
            "UniSpeech large",
            "microsoft/unispeech-large-1500h-cv",
            "unispeech",
            about="pre-trained on English Common Voice with phone labels and the contrastive task at once.",
            paper_title="UniSpeech large",
            # "main", whose newest commit is 4e1a2ac: its full name could not be looked up where this was written
            license=_OF_UNISPEECH,
            **_LARGE,
        ),
        Backbone(
            "unispeech-multilingual",
            "UniSpeech large multilingual",
            "microsoft/unispeech-large-multi-lingual-1500h-cv",
            "unispeech",
            about="UniSpeech with phone labels of several languages.",
            paper_title="UniSpeech large multilingual",
            revision="b33093a56d48989cfabbf49c799e5abd71365c55",
            license=_OF_UNISPEECH,
            **_LARGE,
        ),
        Backbone(
            "whisper-tiny.en",
            "Whisper tiny.en",
            "openai/whisper-tiny.en",
            "whisper",
            8.2,
            384,
            4,
            False,
            about="encoder of a transcriber trained on 680,000 hours of captioned audio, small enough for a laptop.",
            revision="87c7102498dcde7456f24cfd30239ca606ed9063",
            license=_OF_WHISPER,
        ),
        Backbone(
            "whisper-base",
            "Whisper base",
            "openai/whisper-base",
            "whisper",
            20.6,
            512,
            6,
            False,
            about="encoder of the next larger transcriber, of speech in 99 languages; slow but possible on a laptop.",
            revision="e37978b90ca9030d5170a5c07aadb050351a65bb",
            license=_OF_WHISPER,
        ),
        Backbone(
            "wavlm-base-plus",
            "WavLM base+",
            "microsoft/wavlm-base-plus",
            "wavlm",
            94.4,
            768,
            12,
            True,
            about="pre-trained like HuBERT, with a second voice or noise mixed in, on 94,000 hours of English "
            "audiobooks, podcasts, videos and speeches in parliament.",
            revision="4c66d4806a428f2e922ccfa1a962776e232d487b",
            license=_OF_UNISPEECH,
        ),
        Backbone(
            "xls-r-300m",
            "XLS-R 300M",
            "facebook/wav2vec2-xls-r-300m",
            "wav2vec2",
            about="pre-trained like wav2vec 2.0, on nearly half a million hours in 128 languages.",
            revision="1a640f32ac3e39899438a2931f9924c02f080a54",
            license="apache-2.0",
            **_LARGE,
        ),
    )
}
# What a hub offers and nothing here can load, by a pattern of its names: why, and what to know of it.
_ELSEWHERE = {
    r"((emotion2vec|iic)/)?emotion2vec.*": "it is stored for FunASR, and transformers has no class for it. Beware of "
    "its scores on RAVDESS: emotion2vec+ goes back to a model that was fine-tuned on corpora of EmoBox, to which "
    "RAVDESS belongs, and on which clips is not published, so it may know the test with its labels",
}
SIX = tuple(key for key, row in BACKBONES.items() if row.paper_title)


def backbone(name: str | Path) -> Backbone:
    """Return a pre-trained encoder by its name.

    Parameters
    ----------
    name
        A key ("hubert-base"), a twin ("hubert-base-mini"), a hub id, or a local folder. Any encoder of the wav2vec 2.0
        family or of Whisper that transformers knows by itself will do. The hub id of a row is that row.

    Returns
    -------
    Backbone
        What it is, without its weights.

    Raises
    ------
    SerlibError
        With the nearest names for what is none of these, and for a checkpoint that serlib cannot load or feed.

    Examples
    --------
    >>> print(ser.backbone("hubert-base-mini"))
    HuBERT base (mini twin) (0.4712 M parameters, 3 layers of 96; license: mit): a tiny model with the layout of
    HuBERT base, pre-trained on synthetic speech only.
    """
    if not isinstance(name, str | Path):
        raise SerlibError(f"A backbone is found by its name, such as 'hubert-base', and {name!r} is none.")
    name = str(name)
    if name in BACKBONES:
        return BACKBONES[name]
    if name.removesuffix("-mini") in SIX and name.endswith("-mini"):
        return _twin_of(BACKBONES[name.removesuffix("-mini")])
    if reason := _reason_against(name):
        raise SerlibError(f"{name} cannot be loaded here: {reason}.")
    if not given_path(name).is_dir() and (row := {row.checkpoint: row for row in BACKBONES.values()}.get(name)):
        return row
    if given_path(name).is_dir() or name.count("/") == 1:
        return _backbone_of_checkpoint(name)
    raise SerlibError(
        f"There is no backbone called {name!r}: {nearest(name, [*BACKBONES, *(f'{key}-mini' for key in SIX)])} "
        "A hub id (owner/name) or a local folder is welcome too."
    )


def _reason_against(name: str) -> str:
    """Return why no checkpoint of this name or in this folder can be loaded, "" where nothing is known against it."""
    source = weights_of(name)
    if isinstance(source, Path) and (source / "config.json").is_file():  # somebody has converted it
        return ""
    names = (source.resolve().name if isinstance(source, Path) else source).lower()
    return next((reason for pattern, reason in _ELSEWHERE.items() if re.fullmatch(pattern, names)), "")


def _twin_of(real: Backbone) -> Backbone:
    config = config_of(TWINS / real.key)
    hidden, layers = config.hidden_size, config.num_hidden_layers
    return replace(
        real,
        key=f"{real.key}-mini",
        title=f"{real.title} (mini twin)",
        checkpoint=f"serlib/twins/{real.key}",
        parameters=config.serlib_parameters / 1e6,
        hidden=hidden,
        layers=layers,
        about=f"a tiny model with the layout of {real.title}, pre-trained on synthetic speech only.",
        revision="main",
        license="mit",
    )


def _backbone_of_checkpoint(name: str) -> Backbone:
    source = weights_of(name)
    revision = "main" if isinstance(source, Path) else _newest_snapshot(source, "main").name
    config = config_of(source, revision)
    family = config.model_type
    # What its extractor says, and not the norm of its convolutions: WavLM base+ has HuBERT base's norm, and a mask.
    needs_mask = family != "whisper" and bool(_extractor(source, name, revision, {}).return_attention_mask)
    hidden = getattr(config, "hidden_size", None) or config.d_model
    layers = getattr(config, "num_hidden_layers", None) or config.encoder_layers
    # 12 h^2 a transformer layer is what counts; the count of the loaded model stands in run.json
    size = round(12 * hidden**2 * layers / 1e6, 1)
    key = (source.resolve() if isinstance(source, Path) else Path(source)).name  # of "." too
    license_ = "not stated" if isinstance(source, Path) else "see its page on the hub"
    about = "a checkpoint of your own choice."
    return Backbone(key, key, name, family, size, hidden, layers, needs_mask, about, license=license_)


def config_of(source: Path | str, revision: str = "main", **settings: Any) -> Any:
    """Return the config of a local folder or hub id, with these settings in place of its own.

    Raises SerlibError where there is none, and for a model that serlib cannot feed: one that brings its own code, is no
    encoder of speech, or is stored in 4 or 8 bits.
    """
    from transformers import AutoConfig, AutoModelForAudioClassification

    hush()
    try:
        config = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False, **settings)
    except Exception as error:  # of the file, or of one of its numbers
        raise missing_weights(str(source), error, source if isinstance(source, Path) else None) from error
    kind = type(config)
    # Of the kinds that sort sounds, those that hear a waveform or a picture that serlib makes of it.
    heard = ("whisper", NETWORK_TYPE)
    known = kind in AutoModelForAudioClassification._model_mapping
    if not known or not (hasattr(kind(), "conv_dim") or config.model_type in heard):
        raise SerlibError(
            f"{source} is a model of the kind {config.model_type}, which serlib cannot feed with sound; choose an "
            "encoder of the wav2vec 2.0 family (HuBERT, UniSpeech, WavLM and so on) or a Whisper."
        )
    if getattr(config, "quantization_config", None):
        raise SerlibError(
            f"The weights of {source} are stored in few bits, and training needs them whole; choose the checkpoint "
            "that was not quantized."
        )
    # Its native class is at hand, so the code that it brings too is neither run nor passed on with what is trained.
    vars(config).pop("auto_map", None)
    return config


def extractor_of(backbone: Backbone, **options: Any) -> Any:
    """Return what makes a backbone's input of sound, with these options. SerlibError where there is none."""
    source = weights_of(backbone.checkpoint)
    return _extractor(source, backbone.checkpoint, revision_of(backbone), options)


def extractor_from(folder: Path) -> Any:
    """Return what makes the input of a trained model, from the folder of its checkpoint. SerlibError without."""
    return _extractor(folder, str(folder), None, {})


def _extractor(source: Path | str, name: str, revision: str | None, options: dict[str, Any]) -> Any:
    from transformers import AutoFeatureExtractor

    try:
        extractor = AutoFeatureExtractor.from_pretrained(
            source, revision=revision or "main", trust_remote_code=False, **options
        )
    except Exception as error:
        raise missing_weights(name, error, source if isinstance(source, Path) else None) from error
    vars(extractor).pop("auto_map", None)
    return extractor


def weights_of(checkpoint: str) -> Path | str:
    """Return the local folder of a checkpoint's weights, or the hub id itself when there is none.

    A twin's weights ship with serlib. ``SERLIB_MODELS`` names a folder of model folders, either
    ``whisper-tiny.en`` or ``openai/whisper-tiny.en`` below it.
    """
    if checkpoint.startswith("serlib/twins/"):
        return TWINS / Path(checkpoint).name
    if (folder := given_path(checkpoint)).is_dir():
        return folder
    if shelf := named_folder("SERLIB_MODELS"):
        for folder in (shelf / checkpoint, shelf / Path(checkpoint).name):
            if (folder / "config.json").is_file():
                return folder
    return checkpoint


def revision_of(backbone: Backbone) -> str | None:
    """Return the hub's commit that a checkpoint is loaded from, None where it comes from a folder.

    The hub is asked once in a process, so that config, weights and extractor are of one commit; where it cannot be
    reached, the newest commit in its cache. SerlibError where there is neither.
    """
    if backbone.is_network or isinstance(weights_of(backbone.checkpoint), Path):
        return None
    return _newest_snapshot(backbone.checkpoint, backbone.revision).name


@cache
def _newest_snapshot(checkpoint: str, revision: str) -> Path:
    """Return the folder of the hub's cache that holds a checkpoint at the commit that the revision is now."""
    from huggingface_hub import hf_hub_download

    hush()
    try:
        return Path(hf_hub_download(checkpoint, "config.json", revision=revision)).parent
    except Exception as error:
        raise missing_weights(checkpoint, error) from error


def weights_key(backbone: Backbone) -> str:
    """Return what tells a backbone's weights from all others, by their content: the same name may hold other weights.

    For a checkpoint of the hub its name and resolved commit, for a folder (of a twin too, or below ``SERLIB_MODELS``)
    the digest of its weights and configs. SerlibError where there are none.
    """
    if backbone.is_network:  # whose revision is a digest of what it is
        return f"{backbone.checkpoint}@{backbone.revision}"
    source = weights_of(backbone.checkpoint)
    if isinstance(source, Path):
        return f"sha256:{key_of_folder(source)}"
    return f"{backbone.checkpoint}@{revision_of(backbone)}"


def check_twin(backbone: Backbone) -> None:
    """Raise SerlibError for a mini twin whose weights are not those that its recipe ends in."""
    folder = Path(weights_of(backbone.checkpoint))
    try:
        right = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))["sha256"] == digest(folder / SAFE)
    except (OSError, ValueError, KeyError):
        right = False
    if not right:
        raise SerlibError(
            f"The weights of {backbone.title} are not those that ship with serlib (another checksum); install serlib "
            "again."
        )


def hush() -> None:
    """Keep loading bars and the report of new head weights, which are new on purpose, out of the notebooks."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


# What went wrong, by the name of an error in the chain, the more special first; what to do about it.
_REASONS = {
    "GatedRepoError": "its owner grants access on request: ask for it on the model's page, then log in by "
    "`hf auth login`",
    "RepositoryNotFoundError": "the hub has no model of that name, or it is private: check the spelling, or log in by "
    "`hf auth login`",
    "RevisionNotFoundError": "the hub has no such revision of it: check the backbone's revision on the model's page",
    "JSONDecodeError": "its config.json or preprocessor_config.json is damaged: delete the model's folder, or its copy "
    "in HF_HOME, and try again",
    "MemoryError": "the memory is not enough for them: close other programs, or choose a smaller checkpoint",
}


def missing_weights(name: str, error: Exception, folder: Path | None = None) -> SerlibError:
    """Return the error for a checkpoint that could not be loaded, in one sentence.

    ``folder`` is where its files should be, where that is known: what is wrong is looked for there.
    """
    chain: BaseException | None = error
    kinds: list[str] = []
    while chain is not None:
        kinds += [kind.__name__ for kind in type(chain).__mro__]
        kinds += ["MemoryError"] * ("allocate memory" in str(chain))  # torch's own is a plain RuntimeError
        chain = chain.__cause__ or chain.__context__
    reason = fault_of(folder) if folder is not None and folder.is_dir() else ""
    reason = reason or next((text for kind, text in _REASONS.items() if kind in kinds), "")
    message = re.sub(r"\s+", " ", str(error)).strip()
    if not reason and type(error) is ValueError and re.search("custom code|recogni[sz]e", message):
        reason = (
            "transformers does not know this kind of model itself, and code that a model brings is never run here: "
            "choose another checkpoint"
        )
    if not reason and not isinstance(error, OSError | KeyError):
        message = shorten(re.split(r"[.!?] ", message)[0], 160, placeholder=" ...")
        reason = f"its files are damaged or incomplete ({message}): copy, download or train them again"
    return SerlibError(f"The weights of {name} could not be loaded: {reason or _NOWHERE}.")


_NOWHERE = (
    "neither the Hugging Face hub, which did not answer or lacks a file, nor a local folder has them whole; connect "
    "to the internet once (the hub keeps a copy in HF_HOME), or put the model's folder below a folder of your own and "
    "name that in SERLIB_MODELS"
)
