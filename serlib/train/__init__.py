"""From a backbone and a split to a Run: recipes, training, probes, planning, sharing. Never draws, never votes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ["backbones", "federated", "fronts", "model", "networks", "planner", "pretraining", "probing"]
)
