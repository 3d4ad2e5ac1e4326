"""The page that lists serlib's names is made of its docstrings, and forgets none."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from bs4 import BeautifulSoup

import serlib

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "book" / "reference.md"
ENTRY = re.compile(r"^\.\. (?:autoclass|autofunction)::? (\S+)", re.MULTILINE)


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def expanded(reference) -> str:
    return reference.expand(PAGE.read_text(encoding="utf-8"))


def test_every_flat_name_has_one_entry(reference, expanded):
    assert "{names}" not in expanded
    data = re.findall(r"^\.\. py:data:: (\w+)\n   :module: ser$", expanded, re.MULTILINE)
    entries = [name.removeprefix("ser.") for name in ENTRY.findall(expanded) if name.startswith("ser.")] + data
    modules = {name for name in reference.flat_names() if isinstance(getattr(serlib, name), ModuleType)}
    assert sorted(entries) == sorted(set(reference.flat_names()) - modules)
    shown = re.findall(r"^\.\. automodule:: (\S+)", expanded, re.MULTILINE)
    assert {getattr(serlib, name).__name__ for name in modules} <= set(shown)
    assert len(shown) == len(set(shown))


def test_every_function_that_a_page_calls_by_its_module_has_an_entry(expanded):
    """Checks have none: they would give the answers away."""
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "book").glob("*.md")]
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        pages += ["".join(cell["source"]) for cell in cells]
    text = "\n".join(pages)
    imported = "|".join(re.findall(r"from serlib import (\w+)", text))
    called = set(re.findall(rf"\bser\.(\w+)\.(\w+)\(|(?<![\w.])({imported})\.(\w+)\(", text))
    there = set(ENTRY.findall(expanded))
    for module, name in {(a or c, b or d) for a, b, c, d in called}:
        home = getattr(serlib, module, None)
        if isinstance(home, ModuleType) and module != "check" and name not in dir(serlib):
            assert f"{home.__name__}.{name}" in there, f"ser.{module}.{name}"


def test_sections_become_lists_and_a_property_with_a_colon_stays_a_sentence(reference):
    text = ["Return it.", "", "Parameters", "----------", "n : int", "    How many.", "", "Raises", "------"]
    text += ["SerlibError", "    For none.", "", "Examples", "--------", ">>> 1", "1"]
    reference.sections(None, "function", "f", None, None, text)
    assert ":param n: How many." in text and ":raises SerlibError: For none." in text and ".. rubric:: Examples" in text
    said = ["What it is, in words: speech."]
    reference.sections(None, "property", "p", None, None, said)
    assert said == ["What it is, in words: speech."]


@pytest.mark.slow
def test_the_page_builds_without_a_warning_and_every_name_can_be_linked(reference, tmp_path):
    alone = re.sub(r"\[([^\]]+)\]\(\w+\.md\)", r"\1", PAGE.read_text(encoding="utf-8"))  # its links lead nowhere here
    (tmp_path / "index.md").write_text(alone, encoding="utf-8")
    (tmp_path / "conf.py").write_text('extensions = ["myst_parser", "reference"]\n')
    path = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'scripts')!r}]"
    command = [sys.executable, "-c", f"{path}; from sphinx.cmd.build import main; sys.exit(main(sys.argv[1:]))"]
    options = ["-W", "-n", "-q", "--keep-going", str(tmp_path), str(tmp_path / "html")]
    result = subprocess.run([*command, *options], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    page = BeautifulSoup((tmp_path / "html" / "index.html").read_text(encoding="utf-8"), "html.parser")
    ids = {tag["id"] for tag in page.select("[id]")}
    for name in reference.flat_names():
        value = getattr(serlib, name)
        assert (f"module-{value.__name__}" if isinstance(value, ModuleType) else f"ser.{name}") in ids
    assert page.find(id="serlib.train.run.Run") and page.find("a", href="#serlib.train.run.Run")
