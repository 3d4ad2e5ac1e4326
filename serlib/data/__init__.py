"""What a clip is: corpora, sound, hand-made features, splits. Knows nothing of models."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ["acoustics", "audio", "audit", "corpus", "distortions", "ravdess", "splits", "synth"]
)
