"""Build the book from a folder of executed notebooks: `python scripts/build_book.py build/executed/mini`.

More folders may follow, whose notebooks take the place of the first one's: `build/executed/paper` with 09 and 10 shows
them on the committed results of that profile.
The site appears in build/site only when it was built whole and without a warning; its slides lie in build/site/slides.
"""

import ast
import json
import re
import shutil
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path

import nbformat

# Checks whose exercise needs Python alone, so that it is answered in the page; the others say "on Colab".
# tests/scripts/test_build_book.py gives each its solution in a Python without any package.
IN_PAGE = {
    "averaged", "collapse", "condorcet", "constant_uar", "defensible", "field",
    "leaks", "lopsided", "majority", "mcnemar", "padding_share", "said_twice",
    "soften", "traffic", "training_memory", "two_averages", "unnoticed", "whole_actors",
    "weights", "wilson",
}  # fmt: skip
SOURCE, BUILT, SITE = Path("build/book-src"), Path("build/book"), Path("build/site")


def injected(cell: nbformat.NotebookNode) -> bool:
    """Whether papermill put a cell in."""
    return "injected-parameters" in cell.metadata.get("tags", [])


def only_defines(source: str) -> bool:
    """Whether a cell does nothing yet, because it has imports and functions only, which may draw when called."""
    kinds = (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
    return all(isinstance(node, kinds) for node in ast.parse(source).body)


def fault(source: nbformat.NotebookNode, executed: nbformat.NotebookNode) -> str | None:
    """Say why an executed copy is none of a notebook as it stands now, run once from top to bottom; None if it is."""
    own = [(cell.cell_type, cell.source) for cell in executed.cells if not injected(cell)]
    for number, (cell, there) in enumerate(zip_longest(source.cells, own), start=1):
        if cell is None or (cell.cell_type, cell.source) != there:
            return f"cell {number} is another one in the executed copy"
    code = [cell for cell in executed.cells if cell.cell_type == "code" and cell.source.strip()]
    if [cell.execution_count for cell in code] != [*range(1, len(code) + 1)]:
        return "the cells did not run once each, from top to bottom"
    if any(output.output_type == "error" for cell in code for output in cell.outputs):
        return "a cell of the executed copy failed"
    for cell in code:
        shown = [kind for output in cell.outputs for kind in output.get("data", {})]
        draws = "image" in cell.metadata.get("mystnb", {}) and not only_defines(cell.source)
        said = any(output.output_type == "stream" for output in cell.outputs)
        excused = said and "except ser.SerlibError" in cell.source  # it has printed why there is none
        if draws and not excused and not any(kind.startswith("image/") for kind in shown):
            return f"the figure of this cell is lost: {cell.source.splitlines()[-1]}"
    return None


def fold_setup(cells: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Put what only who runs a notebook needs, from installing to its settings, into one fold of the page.

    On Colab these cells stand open, as they must be run. A reader of the site comes to a sound or a picture sooner.
    """
    numbers = range(len(cells))
    first = next((i for i in numbers if cells[i].cell_type == "code" and "%pip install" in cells[i].source), None)
    last = next((i for i in numbers if "parameters" in cells[i].metadata.get("tags", [])), 0)
    if not first or first > last:
        return cells
    *before, said = cells[first - 1].source.rsplit("\n\n", 1)  # what is said of installing, below the aims of the page
    fold = ['<details class="setup"><summary>Set-up: two cells to run first, on Colab or a laptop</summary>', said]
    for cell in cells[first : last + 1]:
        fold.append(f"```python\n{cell.source}\n```" if cell.cell_type == "code" else cell.source)
    page = nbformat.v4.new_markdown_cell("\n\n".join([*before, *fold, "</details>"]))
    return [*cells[: first - 1], page, *cells[last + 1 :]]


def one_head(html: str) -> str:
    """Give a table of pandas one row of heads: the name of its index leaves the second row, which is else blank."""

    def joined(match: re.Match) -> str:
        first, name, rest = match.groups()
        blank = not re.sub(r"<[^>]*>|&nbsp;|\s", "", rest)
        return re.sub(r"(<th[^>]*>)(?:&nbsp;|\s)*(</th>)", rf"\g<1>{name}\2", first, count=1) if blank else match[0]

    row = (
        r"(<thead>\s*<tr[^>]*>(?:(?!</tr>).)*</tr>)\s*<tr[^>]*>\s*<th[^>]*>((?:(?!</th>).)*)</th>((?:(?!</tr>).)*)</tr>"
    )
    return re.sub(row, joined, html, count=1, flags=re.DOTALL)


def mark_exercises(cells: list[nbformat.NotebookNode]) -> None:
    """Tag the cells that check an answer: whether the page itself can, as `_static/python/try.mjs` wants to know."""
    for cell in cells:
        if cell.cell_type == "code" and (check := re.search(r"ser\.check\.(\w+)", cell.source)):
            where = "answer-here" if check[1] in IN_PAGE else "answer-on-colab"
            cell.metadata.tags = [*cell.metadata.get("tags", []), where]


def checks() -> dict[str, str]:
    """Return the checks of exercises for a Python without packages: from the path of a file to its text."""
    folder = Path(__file__).resolve().parents[1] / "serlib"
    files = {
        f"serlib/exercises/{path.name}": path.read_text(encoding="utf-8") for path in folder.glob("exercises/*.py")
    }
    files["serlib/exercises/__init__.py"] = ""
    files["serlib/__init__.py"] = "from serlib.exercises import check\n"
    return files


def modules(scripts: Path) -> dict[str, str]:
    """Return the scripts of the page that listens which notebooks use too, there as parts of a cell's output."""
    sound, hearing, taking, recorder = (
        (scripts / f"{name}.js").read_text(encoding="utf-8") for name in ("sound", "hearing", "taking", "recorder")
    )
    names = "RATE, Refusal, activeSpan, columnsOf, decoded, drawn, make, taking, wav"
    return {
        "player.mjs": f"{sound}export {{ sound }};\n",
        "hearing.mjs": f"{hearing}\n{taking}export {{ {names} }};\n",
        "recorder.mjs": recorder,
    }


def stage(executed: Path) -> str | None:
    """Copy an executed notebook without the cell that papermill put in: the page shows what the reader opens.

    Returns what is wrong with it, which is then not for readers.
    """
    if not executed.is_file():
        return f"{executed} is not there; `make execute` makes it"
    notebook = nbformat.read(executed, as_version=4)
    if why := fault(nbformat.read(Path("notebooks", executed.name), as_version=4), notebook):
        return f"notebooks/{executed.name}: {why}; `make execute ONLY={executed.stem[:2]}` runs it again"
    notebook.cells = fold_setup([cell for cell in notebook.cells if not injected(cell)])
    mark_exercises(notebook.cells)
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        if "text/markdown" in output.get("data", {}):
            # Names of runs and clips may stand in it: the page shows their letters, and makes no tag of them.
            output.data["text/markdown"] = output.data["text/markdown"].replace("<", "&lt;")
        if "<thead>" in output.get("data", {}).get("text/html", ""):
            output.data["text/html"] = one_head(output.data["text/html"])
    nbformat.write(notebook, SOURCE / "notebooks" / executed.name)
    return None


def main() -> None:
    first, *others = map(Path, sys.argv[1:])
    # From nothing each time: Sphinx warns of a page only when it reads it, so a second try would pass.
    for folder in (SOURCE, BUILT):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree("book", SOURCE / "book")
    shutil.copytree("_static", SOURCE / "_static")
    (SOURCE / "_static" / "python" / "checks.json").write_text(json.dumps(checks()), encoding="utf-8")
    shutil.copytree("serlib/show/explorables", SOURCE / "serlib" / "show" / "explorables")
    (SOURCE / "notebooks").mkdir()
    names = [path.name for path in sorted(Path("notebooks").glob("[0-9][0-9]_*.ipynb"))]
    notebooks = [next((folder / n for folder in others if (folder / n).is_file()), first / n) for n in names]
    if faults := [why for notebook in notebooks if (why := stage(notebook))]:
        sys.exit("\n".join(faults))
    (SOURCE / "scripts").mkdir()
    for file in ("_config.yml", "_toc.yml", "scripts/offline.py", "scripts/reference.py"):
        shutil.copy(file, SOURCE / file)

    # What "Speak to the book" listens with is made meanwhile: beside the pages, it costs no minute of its own.
    live = BUILT.with_name("live")
    make_live = [sys.executable, str(Path(__file__).with_name("live.py")), str(live)]
    voters = subprocess.Popen(make_live, stdout=subprocess.DEVNULL)

    jupyter_book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    options = ["--path-output", str(BUILT), "-W", "-n", "--keep-going", "--quiet"]
    result = subprocess.run([*jupyter_book, "build", str(SOURCE), *options])
    if result.returncode:
        voters.terminate()
        sys.exit("The book has the faults above, so build/site is as it was.")
    if voters.wait():
        sys.exit("The voters of book/speak.md could not be written, so build/site is as it was.")
    html = BUILT / "_build" / "html"
    speak = html / "_static" / "speak"
    shutil.copytree(live, speak / "live")
    scripts = Path("serlib/show/explorables")
    for name, text in modules(scripts).items():
        (speak / name).write_text(text, encoding="utf-8")
    decks = [sys.executable, str(Path(__file__).with_name("slides.py")), str(html / "slides")]
    subprocess.run([*decks, *map(str, notebooks)], check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(SITE, ignore_errors=True)
    html.rename(SITE)
    print(f"The book is in {SITE}/index.html; `make serve` shows it.")


if __name__ == "__main__":
    main()
