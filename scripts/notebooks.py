"""Check that the notebooks are valid and stored without outputs; with --fix, store them so."""

import copy
import sys
from pathlib import Path

import nbformat

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
# What a kernel or an editor adds beyond this says nothing about the lesson and differs from person to person.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
CELL_KEYS = {"tags", "mystnb"}


def tidied(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the notebook as it is stored: no outputs, no counts, only metadata that the book uses."""
    notebook = copy.deepcopy(notebook)
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        kept = {key: value for key, value in cell.metadata.items() if key in CELL_KEYS}
        cell.metadata = nbformat.from_dict(kept)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def main() -> None:
    fix, faults = "--fix" in sys.argv[1:], []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        stored = tidied(notebook)
        if fix:
            # A notebook from before cell ids gets them here.
            stored.nbformat_minor = max(5, notebook.nbformat_minor)
            _, stored = nbformat.validator.normalize(stored)
            if stored != notebook:
                nbformat.write(stored, path)
            continue
        try:
            nbformat.validate(notebook)
        except nbformat.ValidationError as error:
            faults.append(f"{path.name}: {error.message}")
        if stored != notebook:
            faults.append(f"{path.name}: holds outputs or an editor's marks; `make tidy` takes them out")
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
