"""asv's page, for a place without network: `asv publish`, then its libraries laid beside it.

    python tests/asv/publish.py [FOLDER]      FOLDER: where the page goes, by default .asv/html

asv's page loads jQuery, flot, Bootstrap and three small plugins from other hosts, and shows nothing where these cannot
be reached. This puts the files of `page/package.json` beside it (npm checks them against the digests of
`page/package-lock.json`) and lets the page name those. npm fetches them once, into `.asv/page`; after that no network
is needed: `python tests/asv/publish.py --fetch` does only that.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FETCHED = ROOT / ".asv" / "page"
LIBRARIES = {
    "jquery": "jquery/dist/jquery.min.js",
    "jquery.flot": "flot/jquery.flot.js",
    "jquery.flot.time": "flot/jquery.flot.time.js",
    "jquery.flot.selection": "flot/jquery.flot.selection.js",
    "jquery.flot.categories": "flot/jquery.flot.categories.js",
    "jquery.flot.orderBars": "flot-orderbars/js/jquery.flot.orderBars.js",
    "stupidtable": "stupid-table-plugin/stupidtable.min.js",
    "md5": "blueimp-md5/js/md5.min.js",
    "bootstrap": "bootstrap/dist/js/bootstrap.min.js",
    "bootstrap.css": "bootstrap/dist/css/bootstrap.min.css",
}
"""File in a package, by the name that asv's page calls it by (see `library_of`)."""
_ELEMENT = re.compile(r"""<(?:script|link)\b[^>]*?\b(?:src|href)=["']((?:https?:)?//[^"']+)["'][^>]*>""")


class PageError(Exception):
    """The page cannot be made to need no network. Says why, and what to do."""


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / ".asv" / "html", help="default: .asv/html")
    parser.add_argument("--fetch", action="store_true", help="only fetch the libraries, while there is a network")
    parser.add_argument("--libraries", type=Path, default=FETCHED, help="where they are kept (default: .asv/page)")
    args = parser.parse_args(words)
    try:
        packages = fetched(args.libraries)
        if args.fetch:
            print(f"the libraries of asv's page are in {packages}")
            return 0
        command = [sys.executable, "-m", "asv", "publish", "--html-dir", str(args.folder.absolute())]
        done = subprocess.run(command, cwd=ROOT, check=False)
        if done.returncode:
            return done.returncode
        make_local(args.folder, packages)
    except PageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"to see it: python -m http.server --bind 127.0.0.1 --directory {args.folder}")
    return 0


def fetched(folder: Path) -> Path:
    """The packages that the lock file names, installed in `folder` unless they are there. Raises PageError."""
    packages = folder / "node_modules"
    lock = (HERE / "page" / "package-lock.json").read_bytes()
    kept = folder / "package-lock.json"
    if kept.is_file() and kept.read_bytes() == lock and all((packages / f).is_file() for f in LIBRARIES.values()):
        return packages
    npm = shutil.which("npm")
    if npm is None:
        raise PageError("npm, which fetches the libraries of asv's page, is not installed; `asv publish` needs none")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / "page" / name, folder)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PageError(f"the libraries of asv's page cannot be fetched; `{' '.join(command)}` says:\n{done.stderr}")
    return packages


def make_local(site: Path, packages: Path) -> None:
    """Copy what the page loads from other hosts into `site`/libraries, and name that. Raises PageError."""
    page = site / "index.html"
    text = page.read_text("utf-8")

    def local(found: re.Match[str]) -> str:
        url = found[1]
        file = packages / LIBRARIES.get(library_of(url), "nothing")
        if not file.is_file():
            raise PageError(f"asv's page loads {url}; add its package to page/package.json and LIBRARIES")
        target = site / "libraries" / f"{library_of(url)}{'' if file.suffix == '.css' else '.js'}"
        target.parent.mkdir(exist_ok=True)
        shutil.copy(file, target)
        element = re.sub(r"""\s(?:integrity|crossorigin|referrerpolicy)=["'][^"']*["']""", "", found[0])
        return element.replace(url, f"libraries/{target.name}")

    page.write_text(_ELEMENT.sub(local, text), "utf-8")


def library_of(url: str) -> str:
    """`https://a.host/jquery-3.3.1.min.js` is `jquery`; a style sheet keeps its ending."""
    name = url.partition("?")[0].rpartition("/")[2]
    name = re.sub(r"-[0-9.]+(?=\.)", "", name).replace(".min.", ".")
    return name.removesuffix(".js")


if __name__ == "__main__":
    sys.exit(main())
