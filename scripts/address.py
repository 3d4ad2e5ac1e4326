"""Set the repository's address everywhere: `python scripts/address.py https://github.com/OWNER/REPO`.

`repository: url:` in _config.yml is the one place; badges, install cells, README, book and
pyproject.toml follow.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACES = ("_config.yml", "pyproject.toml", "README.md", "CITATION.cff", "book/**/*.md", "notebooks/*.ipynb")
URL = re.compile(r"https://github\.com/([\w-]+)/([\w.-]+?)(?:\.git)?/?")


def address() -> tuple[str, str]:
    """Return owner and name of the repository as _config.yml has them."""
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    return URL.fullmatch(re.search(r"^ +url: *(\S+)", config, re.MULTILINE)[1]).groups()


def main() -> None:
    new = URL.fullmatch(sys.argv[1] if len(sys.argv) == 2 else "")
    if not new:
        sys.exit("Give a GitHub address, which is what Colab opens: make address URL=https://github.com/OWNER/REPO")
    owner, name = new.groups()
    old_owner, old_name = address()
    old = re.escape(f"{old_owner}/{old_name}")
    old_pages = re.escape(f"{old_owner.lower()}.github.io/{old_name}")
    changes = [
        # github.com/O/R in links and pip, colab.research.google.com/github/O/R in badges
        (rf"(github(?:\.com)?/){old}(?![\w-])", rf"\g<1>{owner}/{name}"),
        (rf"{old_pages}(?![\w-])", f"{owner.lower()}.github.io/{name}"),
    ]
    for path in sorted({path for place in PLACES for path in ROOT.glob(place)}):
        text = path.read_text(encoding="utf-8")
        changed = text
        for pattern, replacement in changes:
            changed = re.sub(pattern, replacement, changed)
        if changed != text:
            path.write_text(changed, encoding="utf-8")
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
