"""Print seconds and peak memory of executed notebooks: `python scripts/timings.py build/executed/mini`."""

import json
import sys
from pathlib import Path


def main() -> None:
    folder = Path(sys.argv[1])
    # The record of an execution that was stopped has no copy beside it.
    done = [path for path in sorted(folder.glob("[0-9]*.json")) if path.with_suffix(".ipynb").exists()]
    total = 0.0
    print(f"\n{'notebook':<36} {'seconds':>8} {'peak MB':>8}  warnings")
    for path in done:
        record = json.loads(path.read_text(encoding="utf-8"))
        total += record["seconds"]
        warnings = record["stderr"] or ""
        print(f"{path.stem:<36} {record['seconds']:>8.1f} {record['peak_memory_mb']:>8}  {warnings}".rstrip())
    print(f"{f'all {len(done)} in {folder}':<36} {total:>8.1f}")


if __name__ == "__main__":
    main()
