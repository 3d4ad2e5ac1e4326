"""Build the book from a folder of executed notebooks: `python scripts/build_book.py build/executed/mini`.

The site appears in build/site only when it was built whole and without a warning.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

SOURCE, BUILT, SITE = Path("build/book-src"), Path("build/book"), Path("build/site")


def stage(executed: Path) -> None:
    """Copy an executed notebook without the cell that papermill put in: the page shows what the reader opens."""
    notebook = nbformat.read(executed, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    nbformat.write(notebook, SOURCE / "notebooks" / executed.name)


def main() -> None:
    executed = Path(sys.argv[1])
    # From nothing each time: Sphinx warns of a page only when it reads it, so a second try would pass.
    for folder in (SOURCE, BUILT):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree("book", SOURCE / "book")
    shutil.copytree("_static", SOURCE / "_static")
    shutil.copytree("serlib/explorables", SOURCE / "serlib" / "explorables")
    (SOURCE / "notebooks").mkdir()
    for notebook in sorted(Path("notebooks").glob("[0-9][0-9]_*.ipynb")):
        stage(executed / notebook.name)
    (SOURCE / "scripts").mkdir()
    for file in ("_config.yml", "_toc.yml", "scripts/offline.py"):
        shutil.copy(file, SOURCE / file)

    jupyter_book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    options = ["--path-output", str(BUILT), "-W", "-n", "--keep-going", "--quiet"]
    result = subprocess.run([*jupyter_book, "build", str(SOURCE), *options])
    if result.returncode:
        sys.exit("The book has the faults above, so build/site is as it was.")
    shutil.rmtree(SITE, ignore_errors=True)
    (BUILT / "_build" / "html").rename(SITE)
    print(f"The book is in {SITE}/index.html; `make serve` shows it.")


if __name__ == "__main__":
    main()
