"""Write the notebooks for a class: `python scripts/editions.py student build/student`, or `instructor`.

The student's edition has no solutions; the instructor's has them filled in and open. Both come from notebooks/,
where the cell after a check holds the folded solution.
"""

import ast
import copy
import re
import sys
from pathlib import Path

import nbformat
from address import address

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
FOLD = re.compile(r"<details>\s*<summary>[^<]*solution[^<]*</summary>(.*?)</details>", re.IGNORECASE | re.DOTALL)
CODE = re.compile(r"```python\n(.*?)```\n*", re.DOTALL)
BADGE = re.compile(r"\n*\[!\[Open in Colab\][^\n]*")
CHECK = re.compile(r"^ser\.check\.\w+\(", re.MULTILINE)


def bound(statement: ast.stmt) -> set[str]:
    """The names that a statement assigns or defines."""
    names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return {statement.name} if isinstance(statement, ast.FunctionDef) else names


def solved(cell: str, solution: str) -> str:
    """Put a solution where an exercise cell has its placeholder; the check stays, or comes from the solution."""
    lines = cell.splitlines()
    own = set().union(*map(bound, ast.parse(solution).body))
    kept, checks = [], []
    for statement in ast.parse(cell).body:
        text = "\n".join(lines[statement.lineno - 1 : statement.end_lineno])
        if CHECK.match(text):
            checks.append(text)
        elif not bound(statement) & own:
            kept.append(text)
    if CHECK.search(solution):
        checks = []
    return "\n".join([*kept, solution.strip("\n"), *([""] if checks else []), *checks])


def edition(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """Return the student's or the instructor's edition of a notebook."""
    notebook = copy.deepcopy(notebook)
    owner, repository = address()
    site = f"https://{owner.lower()}.github.io/{repository}/"
    for before, cell in zip([None, *notebook.cells], notebook.cells, strict=False):
        if cell.cell_type != "markdown":
            continue
        # The badge opens the published notebook, and the book is not beside a handed-out one.
        cell.source = BADGE.sub("", re.sub(r"\]\(\.\./(book/\w+)\.md", rf"]({site}\1.html", cell.source))
        fold = FOLD.search(cell.source)
        if not fold:
            continue
        if name == "student":
            cell.source = FOLD.sub("", cell.source).strip()
            continue
        code = CODE.search(fold[1])
        if code and before is not None and before.cell_type == "code" and CHECK.search(before.source):
            before.source = solved(before.source, code[1])
            cell.source = cell.source.replace(code[0], "")
        cell.source = cell.source.replace("<details>", "<details open>")
    notebook.cells = [cell for cell in notebook.cells if cell.source]
    return notebook


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        nbformat.write(edition(nbformat.read(path, as_version=4), name), folder / path.name)
    print(f"The {name} edition is in {folder}.")


if __name__ == "__main__":
    main()
