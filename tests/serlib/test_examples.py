"""The examples of serlib's docstrings, as a reader would type them after `import serlib as ser`."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import serlib

ROOT = Path(__file__).parents[2]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "serlib").rglob("*.py"))
    if ">>>" in path.read_text(encoding="utf-8")
]
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_every_example_gives_what_it_shows(module, monkeypatch):
    """In the folder of the repository, where ``lesson.finished()`` finds the committed results."""
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("SERLIB_HOME", raising=False)
    monkeypatch.setattr("serlib.lesson._machine", lambda: "CPU, 2 cores")  # which ser.start prints
    examples = doctest.DocTestFinder(exclude_empty=True).find(import_module(module), globs={"ser": serlib})
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    said: list[str] = []
    for example in examples:
        runner.run(example, out=said.append)
    assert runner.tries and not runner.failures, "".join(said)
