"""The pre-trained speech encoders of the book, one row each, and where their weights are found. See notebooks 02-08."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from serlib.errors import SerlibError, nearest

TWINS = Path(__file__).parents[1] / "twins"


@dataclass(frozen=True)
class Backbone:
    """One pre-trained encoder: what it is, and the facts that decide how it must be fed.

    ``parameters`` counts the encoder in millions. ``needs_mask`` says whether padding is told to the model by an
    attention mask (all layer-norm models) or never (HuBERT base, Whisper). ``paper_title`` is its row in
    :func:`serlib.judge.paper.models`, empty where the paper has none.
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

    @property
    def original(self) -> str:
        """The key of the model that a twin stands for; of all others their own."""
        return Path(self.checkpoint).name if self.is_twin else self.key

    @property
    def is_twin(self) -> bool:
        """Whether this is a mini twin, whose weights ship with serlib."""
        return self.checkpoint.startswith("serlib/twins/")

    def __str__(self) -> str:
        return (
            f"{self.title} ({self.parameters:,.4g} M parameters, {self.layers} layers of {self.hidden}): {self.about}"
        )


_LARGE = {"parameters": 315.4, "hidden": 1024, "layers": 24, "needs_mask": True}
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
            **_LARGE,
        ),
        Backbone(
            "wav2vec2-xlsr53",
            "wav2vec 2.0 XLSR-53",
            "facebook/wav2vec2-large-xlsr-53",
            "wav2vec2",
            about="pre-trained like wav2vec 2.0, on 56,000 hours in 53 languages that share one codebook.",
            paper_title="Wav2vec2.0-large-XLSR-53",
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
        ),
        Backbone(
            "unispeech-large",
            "UniSpeech large",
            "microsoft/unispeech-large-1500h-cv",
            "unispeech",
            about="pre-trained on 1,500 hours of Common Voice with phone labels and the contrastive task at once.",
            paper_title="UniSpeech large",
            **_LARGE,
        ),
        Backbone(
            "unispeech-multilingual",
            "UniSpeech large multilingual",
            "microsoft/unispeech-large-multi-lingual-1500h-cv",
            "unispeech",
            about="UniSpeech with phone labels of several languages.",
            paper_title="UniSpeech large multilingual",
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
        ),
    )
}
SIX = tuple(key for key, row in BACKBONES.items() if row.paper_title)


def backbone(name: str) -> Backbone:
    """Return the backbone of a key ("hubert-base"), of a twin ("hubert-base-mini"), a hub id, or a local folder.

    Any hub id or folder that ``AutoModelForAudioClassification`` takes will do. Raises SerlibError with the nearest
    names for anything else.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    if name.removesuffix("-mini") in SIX and name.endswith("-mini"):
        return _twin(BACKBONES[name.removesuffix("-mini")])
    if Path(name).is_dir() or name.count("/") == 1:
        return _anyone(name)
    raise SerlibError(
        f"There is no backbone called {name!r}: {nearest(name, [*BACKBONES, *(f'{key}-mini' for key in SIX)])} "
        "A hub id (owner/name) or a local folder is welcome too."
    )


def _twin(real: Backbone) -> Backbone:
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
    )


def _anyone(name: str) -> Backbone:
    config = config_of(weights_of(name))
    family = config.model_type
    needs_mask = getattr(config, "feat_extract_norm", "") == "layer"
    hidden = getattr(config, "hidden_size", None) or config.d_model
    layers = getattr(config, "num_hidden_layers", None) or config.encoder_layers
    # 12 h^2 a transformer layer is what counts; the count of the loaded model stands in run.json
    size = round(12 * hidden**2 * layers / 1e6, 1)
    key = Path(name).name
    return Backbone(key, key, name, family, size, hidden, layers, needs_mask, "a checkpoint of your own choice.")


def config_of(source: Path | str):
    """Return the config of a local folder or hub id, as transformers reads it. SerlibError where there is none."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise missing_weights(str(source), error) from error


def extractor_of(backbone: Backbone, **options):
    """Return what makes a backbone's input of sound, as transformers reads it. SerlibError where there is none."""
    from transformers import AutoFeatureExtractor

    source = weights_of(backbone.checkpoint)
    try:
        return AutoFeatureExtractor.from_pretrained(
            source, revision=backbone.revision, trust_remote_code=False, **options
        )
    except (OSError, ValueError, KeyError) as error:
        raise missing_weights(backbone.checkpoint, error) from error


def weights_of(checkpoint: str) -> Path | str:
    """Return the local folder of a checkpoint's weights, or the hub id itself when there is none.

    A twin's weights ship with serlib. ``SERLIB_MODELS`` names a folder of model folders, either
    ``whisper-tiny.en`` or ``openai/whisper-tiny.en`` below it.
    """
    if checkpoint.startswith("serlib/twins/"):
        return TWINS / Path(checkpoint).name
    if Path(checkpoint).is_dir():
        return Path(checkpoint)
    if shelf := os.environ.get("SERLIB_MODELS"):
        for folder in (Path(shelf) / checkpoint, Path(shelf) / Path(checkpoint).name):
            if (folder / "config.json").is_file():
                return folder
    return checkpoint


def revision_of(backbone: Backbone) -> str | None:
    """Return the commit of the hub that a loaded checkpoint came from, None where it came from a folder."""
    from huggingface_hub import try_to_load_from_cache

    if isinstance(weights_of(backbone.checkpoint), Path):
        return None
    kept = try_to_load_from_cache(backbone.checkpoint, "config.json", revision=backbone.revision)
    return Path(kept).parent.name if isinstance(kept, str) else None


# What went wrong, by the name of an error in the chain, the more special first; what to do about it.
_REASONS = {
    "GatedRepoError": "its owner grants access on request: ask for it on the model's page, then log in by "
    "`hf auth login`",
    "RepositoryNotFoundError": "the hub has no model of that name, or it is private: check the spelling, or log in by "
    "`hf auth login`",
    "RevisionNotFoundError": "the hub has no such revision of it: check the backbone's revision on the model's page",
    "JSONDecodeError": "its config.json or preprocessor_config.json is damaged: delete the model's folder, or its copy "
    "in HF_HOME, and try again",
}


def missing_weights(checkpoint: str, error: Exception) -> SerlibError:
    """Return the error for weights that neither the hub nor a local folder could give, in one sentence."""
    if type(error) is ValueError:
        return SerlibError(
            f"The weights of {checkpoint} could not be loaded: transformers does not know this kind of model itself, "
            "and code that a model brings is never run here; choose another checkpoint."
        )
    chain, names = error, []
    while chain is not None:
        names += [kind.__name__ for kind in type(chain).__mro__]
        chain = chain.__cause__ or chain.__context__
    for name, reason in _REASONS.items():
        if name in names:
            return SerlibError(f"The weights of {checkpoint} could not be loaded: {reason}.")
    return SerlibError(
        f"The weights of {checkpoint} could not be loaded: neither the Hugging Face hub, which did not answer or lacks "
        "a file, nor a local folder has them whole; connect to the internet once (the hub keeps a copy in HF_HOME), or "
        "put the model's folder below a folder of your own and name that in SERLIB_MODELS."
    )


def weights_key(backbone: Backbone) -> str:
    return backbone.checkpoint


def extractor_from(folder: Path):
    from transformers import AutoFeatureExtractor

    return AutoFeatureExtractor.from_pretrained(folder)
