"""What an answer should be, and what each usual mistake is called. Trains nothing."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["check"])
