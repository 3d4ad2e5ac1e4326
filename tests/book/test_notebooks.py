"""The page contract: what every notebook owes its reader, in Colab and in the book alike."""

import ast
import importlib.util
import re
from pathlib import Path

import nbformat
import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).parents[2]
BADGE = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
LONGEST_CELL = 14
CHAPTERS = [
    chapter["file"].removeprefix("notebooks/")
    for part in yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"]
    for chapter in part["chapters"]
    if chapter["file"].startswith("notebooks/")
]
FOUND = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
# Of these a published page shows the raw text on Colab: fences and roles of MyST, labels, comments.
MYST = re.compile(r"^ *(`{3,}|:{3,})\{|\{[a-z][\w:-]*\}`|^\([\w-]+\)=\s*$|^%\s|^\+\+\+", re.MULTILINE)


@pytest.fixture(params=FOUND)
def name(request) -> str:
    return request.param


@pytest.fixture
def notebook(name) -> nbformat.NotebookNode:
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=nbformat.NO_CONVERT)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook: nbformat.NotebookNode) -> str:
    """All Markdown, without what stands in fenced code."""
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return re.sub(r"^( *)(`{3,}|~{3,}).*?^\1\2", "", text, flags=re.MULTILINE | re.DOTALL)


def headings(notebook: nbformat.NotebookNode) -> list[tuple[int, str]]:
    return [(len(marks), text) for marks, text in re.findall(r"^(#+) +(.+)$", prose(notebook), re.MULTILINE)]


def draws(source: str) -> bool:
    """Whether a cell calls a plot function: ser.plot_..., DataFrame.plot, or anything of plt and sns."""
    for node in ast.walk(ast.parse(TransformerManager().transform_cell(source))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called.startswith(("plt.", "sns.")) or re.search(r"(^|\.)plot(_|\b)", called):
                return True
    return False


def test_the_notebooks_of_the_book_are_there_in_order_and_the_side_trip_before_the_third():
    series = [f"{number:02d}" for number in range(13)]
    order = [*series[:3], "13", *series[3:10], "18", *series[10:], "14", "15", "16", "17"]
    assert [chapter[:2] for chapter in CHAPTERS] == order
    assert sorted(CHAPTERS) == FOUND


def test_opens_with_title_badge_objectives_and_needs(name, notebook, address):
    first = notebook.cells[0]
    assert first.cell_type == "markdown" and re.match(r"# \S", first.source)
    target = f"https://colab.research.google.com/github/{address}/blob/main/notebooks/{name}.ipynb"
    assert f"{BADGE}({target})" in first.source
    code = next(i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    opening = "\n\n".join(cell.source for cell in notebook.cells[:code])
    assert re.search(r"^\*\*You will\*\*\s+(?:[-*] \S)", opening, re.MULTILINE), "a list after **You will**"
    header = re.search(r"^(\|.+\|)\n\| *:?-", opening, re.MULTILINE)
    assert header and {"needs", "minutes"} <= set(re.findall(r"\w+", header[1].lower())), (
        "a table whose head names Needs and Minutes"
    )


def test_closes_with_what_we_learned_and_next(notebook):
    titles = [text for level, text in headings(notebook) if level == 2]
    assert [text for text in titles if text in ("What we learned", "Next")] == ["What we learned", "Next"]
    assert titles[-1] == "Next"


def test_has_an_exercise_a_check_and_a_folded_solution(notebook):
    assert any(re.search(r"\bexercise\b", text, re.IGNORECASE) for _, text in headings(notebook))
    checks = [cell for cell in code_cells(notebook) if re.search(r"\bser\.check\.\w+\(", cell.source)]
    assert checks, "a call of ser.check"
    after = notebook.cells[notebook.cells.index(checks[0]) :]
    folded = re.compile(r"<details>\s*<summary>[^<]*solution", re.IGNORECASE)
    assert any(cell.cell_type == "markdown" and folded.search(cell.source) for cell in after)


def test_folds_open_and_close_in_the_same_cell(notebook):
    for cell in notebook.cells:
        assert cell.source.count("<details>") == cell.source.count("</details>"), cell.source[:80]


def test_links_lead_to_the_web_or_to_another_notebook(notebook):
    """Colab opens notebooks of the repository, and no chapter of the book."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\(([^)\s]+)", cell.source):
                assert re.match(r"https?://|\d\d_\w+\.ipynb(#|$)", target), target


def test_installs_in_colab_only_and_only_serlib(notebook, address):
    cells = [cell.source for cell in code_cells(notebook) if "pip install" in cell.source]
    assert len(cells) == 1
    assert "google.colab" in cells[0] and f"git+https://github.com/{address}" in cells[0]
    assert not re.search(r"--upgrade|-U\b|torch|numpy|ipython", cells[0])


def test_has_one_parameters_cell_with_the_automatic_profile(notebook):
    cells = [cell for cell in code_cells(notebook) if "parameters" in cell.metadata.get("tags", [])]
    assert len(cells) == 1
    assert re.search(r'^PROFILE = "auto"', cells[0].source, re.MULTILINE)


def test_is_stored_without_outputs_and_with_ids_and_a_language(notebook):
    nbformat.validate(notebook)
    assert not any(cell.outputs or cell.execution_count for cell in code_cells(notebook))
    ids = [cell.get("id") for cell in notebook.cells]
    assert None not in ids and len(set(ids)) == len(ids)
    assert notebook.metadata.language_info.name == "python"


def test_holds_plain_markdown(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            assert not MYST.search(cell.source), cell.source[:200]


def test_every_cell_shows_one_thing(notebook):
    for cell in code_cells(notebook):
        assert 0 < len(cell.source.splitlines()) <= LONGEST_CELL, cell.source


def test_every_figure_has_alternative_text(notebook):
    for cell in code_cells(notebook):
        if draws(cell.source):
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            hint = 'metadata {"mystnb": {"image": {"alt": "what the figure shows"}}}'
            assert len(alt.split()) >= 4, f"{hint} of\n{cell.source}"


def test_headings_step_down_one_level_at_a_time(notebook):
    levels = [level for level, _ in headings(notebook)]
    assert levels[0] == 1 and levels.count(1) == 1
    for (before, _), (level, text) in zip(headings(notebook), headings(notebook)[1:], strict=False):
        assert level <= before + 1, text


def test_prose_comes_before_code(notebook):
    for before, cell in zip(notebook.cells, notebook.cells[1:], strict=False):
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", []):
            assert before.cell_type == "markdown", cell.source


@pytest.mark.parametrize(
    "number, calls",
    {
        "09": ['ser.explorable("jury")'],
        "10": ["ser.listen_confusion(best, corpus)", 'ser.breakdown(best, "emotion")', "ser.listen(hard"],
        "11": ["ser.plot_per_actor(probe)", 'ser.breakdown(probe, corpus["sex"])',
               'ser.breakdown(spoken, corpus["intensity"])', "ser.listen(ser.mistakes(worst, corpus)"],
    }.items(),
)  # fmt: skip
def test_the_judging_notebooks_show_people_groups_and_errors_with_their_sound(number, calls):
    path = next((ROOT / "notebooks").glob(f"{number}_*.ipynb"))
    source = "\n".join(cell.source for cell in code_cells(nbformat.read(path, as_version=4)))
    assert [call for call in calls if call not in source] == []


def test_draws_tells_figures_from_numbers():
    assert draws("ser.plot_history(run)") and draws("sns.boxplot(x)") and draws("fig, ax = plt.subplots()")
    assert draws("if True:\n    %pip install x\ncorpus.seconds.plot.hist()")
    assert draws("corpus.plot(kind='bar')")
    assert not draws("np.histogram(x)\nsplot(3)\nser.plots.colors(x)")


def test_tidying_takes_out_outputs_and_editors_marks():
    spec = importlib.util.spec_from_file_location("notebooks", ROOT / "scripts" / "notebooks.py")
    notebooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(notebooks)
    metadata = {"tags": ["parameters"], "mystnb": {"image": {"alt": "a line"}}, "collapsed": True}
    cell = new_code_cell("1", metadata=metadata, execution_count=3, outputs=[new_output("stream", text="1")])
    opened = new_notebook(cells=[new_markdown_cell("# T"), cell], metadata={"colab": {"provenance": []}})
    stored = notebooks.tidied(opened)
    assert stored.cells[1].outputs == [] and stored.cells[1].execution_count is None
    assert set(stored.cells[1].metadata) == {"tags", "mystnb"}
    assert stored.metadata.language_info.name == "python" and "colab" not in stored.metadata
    assert notebooks.tidied(stored) == stored and opened.cells[1].outputs


def test_every_name_of_serlib_that_a_notebook_says_is_there():
    """A module that moved once took a constant away that one notebook asked for under its old name."""
    import serlib

    paths = (ROOT / "notebooks").glob("*.ipynb")
    said = {name for path in paths for name in re.findall(r"\bser((?:\.[A-Za-z_]\w*)+)", path.read_text("utf-8"))}
    assert len(said) > 60
    for name in sorted(said):
        found = serlib
        for part in name.split(".")[1:]:
            if isinstance(found, type(serlib)):
                found = getattr(found, part)
