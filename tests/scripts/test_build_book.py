"""The book takes an executed notebook only if it is the notebook as it stands now, run once from top to bottom."""

import copy
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

SCRIPT = Path(__file__).parents[2] / "scripts" / "build_book.py"


def load(name: str):
    """A script as a module; scripts import each other."""
    spec = importlib.util.spec_from_file_location(name, SCRIPT.with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def build_book():
    return load("build_book")


@pytest.fixture
def source() -> nbformat.NotebookNode:
    parameters = new_code_cell('PROFILE = "auto"', metadata={"tags": ["parameters"]})
    return new_notebook(cells=[new_markdown_cell("# T"), parameters, new_code_cell("1 + 1"), new_code_cell("")])


@pytest.fixture
def executed(source) -> nbformat.NotebookNode:
    """What papermill makes of it: one cell more, counts from one, none for an empty cell."""
    notebook = copy.deepcopy(source)
    injected = new_code_cell('PROFILE = "mini"', metadata={"tags": ["injected-parameters", "remove-cell"]})
    notebook.cells.insert(2, injected)
    for count, cell in enumerate(notebook.cells[1:4], start=1):
        cell.execution_count = count
    return notebook


def test_a_notebook_run_from_top_to_bottom_is_taken(build_book, source, executed):
    assert build_book.fault(source, executed) is None


@pytest.mark.parametrize("change", ["edited", "a word of prose", "a cell more", "a cell less"])
def test_a_stale_copy_is_refused(build_book, source, executed, change):
    if change == "edited":
        source.cells[2].source = "1 + 2"
    elif change == "a word of prose":
        source.cells[0].source = "# Title"
    elif change == "a cell more":
        source.cells.append(new_markdown_cell("more"))
    else:
        source.cells.pop()
    number = {"edited": 3, "a word of prose": 1, "a cell more": 5, "a cell less": 4}[change]
    assert build_book.fault(source, executed) == f"cell {number} is another one in the executed copy"


@pytest.mark.parametrize("counts", [(1, 3, 2), (1, 2, 2), (1, 2, None), (2, 3, 4)])
def test_out_of_order_is_refused(build_book, source, executed, counts):
    for count, cell in zip(counts, executed.cells[1:4], strict=True):
        cell.execution_count = count
    assert "from top to bottom" in build_book.fault(source, executed)


def test_a_failed_cell_is_refused(build_book, source, executed):
    executed.cells[3].outputs = [new_output("error", ename="E", evalue="e", traceback=[])]
    assert "failed" in build_book.fault(source, executed)


def test_a_lost_figure_is_refused(build_book, source, executed):
    """Most figures of the book were once missing from its pages, and nobody was told."""
    for notebook, place in ((source, 2), (executed, 3)):
        notebook.cells[place].metadata["mystnb"] = {"image": {"alt": "a line that rises from left to right"}}
    assert build_book.fault(source, executed) == "the figure of this cell is lost: 1 + 1"
    for notebook, place in ((source, 2), (executed, 3)):
        notebook.cells[place].source = "def show():\n    plt.plot([1, 2])"  # it draws when it is called
    assert build_book.fault(source, executed) is None
    for notebook, place in ((source, 2), (executed, 3)):
        notebook.cells[place].source += "\n\nshow()"
    assert "figure of this cell is lost: show()" in build_book.fault(source, executed)


def test_a_figure_may_be_missing_where_the_cell_has_printed_why(build_book, source, executed):
    for notebook, place in ((source, 2), (executed, 3)):
        notebook.cells[place].metadata["mystnb"] = {"image": {"alt": "what listeners heard"}}
        notebook.cells[place].source = "try:\n    plot()\nexcept ser.SerlibError as reason:\n    print(reason)"
    assert "is lost" in build_book.fault(source, executed)  # neither a figure nor a reason
    executed.cells[3].outputs = [new_output("stream", name="stdout", text="Nobody was asked.")]
    assert build_book.fault(source, executed) is None
    executed.cells[3].outputs = [new_output("display_data", data={"image/png": "", "text/plain": "Figure"})]
    assert build_book.fault(source, executed) is None


def test_what_only_who_runs_a_page_needs_is_one_fold(build_book, source):
    """In every notebook: nothing of the set-up is lost, and no code cell stands above the first of the lesson."""
    notebooks = sorted((SCRIPT.parents[1] / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    for notebook in (nbformat.read(path, as_version=4) for path in notebooks):
        whole = [cell.source for cell in notebook.cells]
        folded = build_book.fold_setup(notebook.cells)
        page = next(cell.source for cell in folded if '<details class="setup">' in cell.source)
        fold = page[page.index("<details") : page.index("</details>")]
        assert all(word in fold for word in ("%pip install", 'PROFILE = "auto"', "nstalls"))
        assert "**You will**" not in fold
        assert "%pip" not in next(cell.source for cell in folded if cell.cell_type == "code")
        shown = "\n\n".join(cell.source for cell in folded)
        assert all(line in shown for text in whole for line in text.splitlines())
    assert build_book.fold_setup(source.cells) == source.cells


def test_a_table_has_one_row_of_heads(build_book):
    """The name of the index stands over the index. What has two levels of heads keeps them."""

    def rows(html: str) -> list[list[str]]:
        cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in re.findall(r"<tr.*?</tr>", html, re.S)]
        return [[text.replace("&nbsp;", "").strip() for text in row] for row in cells]

    named = pd.DataFrame({"actor": [1, 2], "seconds": ["x", "y"]}, index=pd.Index(["a", "b"], name="clip"))
    body = [["a", "1", "x"], ["b", "2", "y"]]
    for html in (named.to_html(), named.style.to_html()):
        assert rows(html) == [["", "actor", "seconds"], ["clip", "", ""], *body]
        assert rows(build_book.one_head(html)) == [["clip", "actor", "seconds"], *body]
    plain = pd.DataFrame({"x": [1]})
    double = named.set_axis(pd.MultiIndex.from_tuples([("p", "q"), ("p", "r")]), axis=1)
    for html in (plain.to_html(), plain.style.to_html(), double.to_html(), double.rename_axis(None).to_html()):
        assert build_book.one_head(html) == html


def test_the_page_checks_what_needs_python_alone(build_book, tmp_path, monkeypatch):
    """The solution of each such exercise passes in a Python without packages, and that of no other does."""
    monkeypatch.syspath_prepend(SCRIPT.parent)
    edition = load("editions").edition
    for path, text in build_book.checks().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    begin = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import serlib as ser\n"
    passed, tagged = set(), {}
    for path in sorted((SCRIPT.parents[1] / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        cells = edition(nbformat.read(path, as_version=4), "instructor").cells
        build_book.mark_exercises(cells)
        for cell in cells:
            if cell.cell_type == "code" and (check := re.search(r"ser\.check\.(\w+)", cell.source)):
                command = [sys.executable, "-I", "-S", "-c", begin + cell.source]
                result = subprocess.run(command, capture_output=True, text=True)
                passed |= {check[1]} if result.stdout.startswith("Right: ") and not result.returncode else set()
                tagged[check[1]] = cell.metadata.tags
    assert passed == build_book.IN_PAGE
    assert {name for name, tags in tagged.items() if "answer-here" in tags} == passed
    assert all(("answer-here" in tags) != ("answer-on-colab" in tags) for tags in tagged.values()) and len(tagged) > 30


def test_the_build_names_every_notebook_that_has_to_run_again(source, executed, tmp_path):
    for folder in ("book", "_static/python", "serlib/show/explorables", "notebooks", "executed", "scripts"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("00_first", "05_fifth", "09_ninth"):
        nbformat.write(source, tmp_path / "notebooks" / f"{name}.ipynb")
    nbformat.write(executed, tmp_path / "executed" / "00_first.ipynb")
    executed.cells[0].source = "# Old"
    nbformat.write(executed, tmp_path / "executed" / "05_fifth.ipynb")
    # A folder that follows takes the place of the first: there, 00 is stale as well.
    (tmp_path / "paper").mkdir()
    nbformat.write(executed, tmp_path / "paper" / "00_first.ipynb")

    def faults(*folders: str) -> list[str]:
        command = [sys.executable, SCRIPT, *folders]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode
        return result.stderr.splitlines()

    assert faults("executed", "paper")[0].startswith("notebooks/00_first.ipynb: cell 1 is another one")
    assert faults("executed") == [
        "notebooks/05_fifth.ipynb: cell 1 is another one in the executed copy; `make execute ONLY=05` runs it again",
        "executed/09_ninth.ipynb is not there; `make execute` makes it",
    ]
