"""serlib: the nouns and verbs of one sentence, corpus -> split -> fine_tune(backbone) -> Run -> vote -> compare.

import serlib as ser
lesson = ser.start("mini")
split = ser.stratified_split(lesson.corpus())
run = ser.fine_tune(lesson.backbone("hubert-base"), split, lesson.recipe, lesson.runs)
"""

import lazy_loader

__version__ = "0.1.0"

# Modules are loaded when first named, so that `import serlib` does not wait for torch. __init__.pyi lists the names.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
