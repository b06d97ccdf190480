"""Writes the licences of what the binary is made of: python3 licences.py TARGET > FILE

Each crate with its licence, and each text once, with the crates that come with it. Crates that come
without a text are listed too; the texts of Apache-2.0 and MIT are in the files beside.
"""

import json
import subprocess
import sys
from pathlib import Path

NAMES = ("license", "licence", "copying", "notice", "unlicense")


def crates(target: str) -> list[dict]:
    """What is linked into the binary, in order of name; without our own crates."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", target]
    data = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    packages = {package["id"]: package for package in data["packages"]}
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    left = [one["id"] for one in data["packages"] if one["name"] == "kenning"]
    seen = set(left)
    while left:
        for dependency in nodes[left.pop()]["deps"]:
            is_linked = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if is_linked and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                left.append(dependency["pkg"])
    linked = [packages[one] for one in seen if packages[one]["source"]]
    return sorted(linked, key=lambda package: (package["name"], package["version"]))


def texts(package: dict) -> list[str]:
    folder = Path(package["manifest_path"]).parent
    files = {path for path in folder.iterdir() if path.name.lower().startswith(NAMES)}
    if package["license_file"]:
        files.add(folder / package["license_file"])
    files = sorted(path for path in files if path.is_file())
    return [path.read_text(encoding="utf-8", errors="replace").strip() for path in files]


def main(target: str) -> None:
    linked = crates(target)
    by_text: dict[str, list[str]] = {}
    print("What the binary `kenning` is made of, besides Kenning itself.\n")
    for package in linked:
        name = f"{package['name']} {package['version']}"
        licence = package["license"] or f"see {package['license_file']}"
        found = texts(package)
        print(f"{name}: {licence}" + ("" if found else " (comes without a text)"))
        for text in found:
            by_text.setdefault("\n".join(line.rstrip() for line in text.splitlines()), []).append(name)
    for text, names in sorted(by_text.items(), key=lambda item: item[1]):
        print(f"\n{'-' * 80}\n{', '.join(names)}\n\n{text}")


main(sys.argv[1])
