"""Builds the documentation site; a warning is an error.

python tools/site/build.py           to build/site/html
python tools/site/build.py FOLDER    to FOLDER/html

The pages of docs/ are gathered in FOLDER/pages, together with those that only a site has: the
API, the bundled plugins, and what is linked outside of docs/. Zensical makes HTML of them. Nothing
in docs/ is written for it: the forge shows the same pages.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from api_pages import api_pages
from gallery import gallery
from outside import ROOT, SiteError, pages

HERE = Path(__file__).resolve().parent
ASSETS = ("site.css", "favicon.svg", "iframe-worker.js", "scrolling.js")


def main(arguments: list[str]) -> int:
    """Gather, then build; the exit code."""
    if len(arguments) > 1 or arguments[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return 2
    folder = Path(*arguments).resolve() if arguments else ROOT / "build" / "site"
    try:
        gather(folder)
    except SiteError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    code = render(folder)
    if code == 0:
        print(folder / "html" / "index.html")
    return code


def gather(folder: Path) -> None:
    """Write all sources of the site below a folder, which is emptied before."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", folder / "pages", ignore=shutil.ignore_patterns("*.md"))
    for place, text in (*pages(), *api_pages(), ("gallery.md", gallery())):
        path = folder / "pages" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / "pages" / "assets").mkdir()
    for name in ASSETS:
        shutil.copy(HERE / name, folder / "pages" / "assets" / name)
    shutil.copy(HERE / "mkdocs.yml", folder / "mkdocs.yml")


def render(folder: Path) -> int:
    """Have Zensical make HTML of them; its exit code."""
    # prose.py is imported by griffe, which is run there.
    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file"]
    done = subprocess.run(
        [*command, str(folder / "mkdocs.yml")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        check=False,
    )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
