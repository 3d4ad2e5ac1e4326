"""Figures, players and explorables of what the other rooms hand over. Computes nothing."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["players", "plots"])
