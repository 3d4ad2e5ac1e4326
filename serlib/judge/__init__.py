"""What predictions are worth: their table, metrics, votes, the published numbers. Never asks how one was made."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ["dimensions", "importing", "metrics", "paper", "predictions", "voting"]
)
