#!/usr/bin/env python3
"""Counts product code: lines without comments, blanks and tests; sizes of functions and files.

    tests/tools/lines.py [ROOT]

Product code is what ships: the crates of host/ and guest/, the contract, the scaffold's templates,
Redis's scripts. Functions are found by matching braces.
"""

import re
import subprocess
import sys
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2]).resolve()
ENDINGS = {".rs", ".wit", ".lua", ".json", ".js", ".py"}
FOLDERS = ("host/", "guest/", "wit/")
NOT_PRODUCT = re.compile(
    r"(^|/)(tests|benches|testing|node_modules)/|/tests\.rs$|^wit/released/|package(-lock)?\.json$"
)
FUNCTION = re.compile(r"^\s*(pub(\([^)]*\))?\s+)?(const\s+|async\s+|unsafe\s+)*fn\s+\w+")


def product_files():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    for name in listed:
        path = ROOT / name
        if name.startswith(FOLDERS) and path.suffix in ENDINGS and not NOT_PRODUCT.search(name):
            if path.is_file() and not path.is_symlink():
                yield path


def code_lines(path):
    text = path.read_text()
    if path.suffix == ".rs":
        text = re.split(r"\n#\[cfg\(test\)\]\nmod tests", text)[0]
    comment = {".lua": "--", ".py": "#"}.get(path.suffix, "//")
    lines = (line.rstrip() for line in text.splitlines())
    return [line for line in lines if line.strip() and not line.lstrip().startswith(comment)]


def functions(lines):
    """The number of lines of each function."""
    for start, line in enumerate(lines):
        if not FUNCTION.match(line):
            continue
        depth, seen = 0, False
        for end in range(start, len(lines)):
            code = re.sub(r"'.'|\"(\\.|[^\"\\])*\"", "", lines[end])
            depth += code.count("{") - code.count("}")
            seen = seen or "{" in code
            if not seen and code.rstrip().endswith(";"):
                break
            if seen and depth <= 0:
                yield end - start + 1
                break


def summary(name, sizes):
    ninth = quantiles(sizes, n=10)[-1]
    print(f"{name:9} {len(sizes):6}  median {median(sizes):4.0f}  p90 {ninth:4.0f}  largest {max(sizes)}")


def main():
    by_ending, files, sizes = {}, [], []
    for path in product_files():
        lines = code_lines(path)
        by_ending[path.suffix] = by_ending.get(path.suffix, 0) + len(lines)
        if path.suffix == ".rs":
            files.append(len(lines))
            sizes.extend(functions(lines))
    for ending, count in sorted(by_ending.items(), key=lambda pair: -pair[1]):
        print(f"{ending:9} {count:6}")
    print(f"{'all':9} {sum(by_ending.values()):6}")
    summary("functions", sizes)
    summary("files", files)


main()
