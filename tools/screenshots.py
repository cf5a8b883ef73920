"""Pictures of a report for those who review a change of it: light and dark, desktop and phone.

python tools/screenshots.py out/my-run/report.html [FOLDER]     into screenshots/ by default

Each picture is of the whole page, all of it folded as it opens, and is named after what it shows,
such as dark-phone.png. What the browser complained of, and what the page asked for, is printed, and
the exit status is 1 then.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from browser import DESKTOP, PHONE, BrowserMissingError, started

SIZES = {"desktop": DESKTOP, "phone": PHONE}


def main(page: Path, folder: Path) -> int:
    if not page.is_file():
        print(f"{page}: no such file; a run writes report.html into its folder", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    wrong = []
    with started() as browser:
        for room in ("light", "dark"):
            for place, size in SIZES.items():
                browser.open(page, size=size, dark=room == "dark")
                picture = folder / f"{room}-{place}.png"
                browser.screenshot(picture)
                print(picture)
                wrong += browser.problems()
                wrong += [f"asked for {address}" for address in browser.requests()]
    for complaint in wrong:
        print(complaint, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    try:
        sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "screenshots")))
    except BrowserMissingError as error:
        sys.exit(str(error))
