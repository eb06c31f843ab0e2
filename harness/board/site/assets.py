"""Scripts and styles of the site: ours are files beside this one, those of others come from installed packages."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from harness.errors import MissingPackage

OURS = ("site.css", "icon.svg", "theme.js", "table.js", "plot.js", "tracking.js")
_OWN = Path(__file__).parent / "assets"
_INSTALL = "pip install 'limits-harness[board]'"


def write_assets(folder: Path, plots: bool) -> None:
    """Copy everything that pages load into `folder`; Plotly only if there are `plots`. Raises MissingPackage."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in OURS:
        (folder / name).write_bytes((_OWN / name).read_bytes())
    (folder / "datatables.js").write_text(
        as_script(_installed("itables", "html", "dt_bundle.js").read_text("utf-8")), "utf-8"
    )
    if plots:
        (folder / "plotly.min.js").write_bytes(_installed("plotly", "package_data", "plotly.min.js").read_bytes())


def style() -> str:
    """The site's own style, for a page that brings everything with it."""
    return (_OWN / "site.css").read_text("utf-8")


def _installed(package: str, *inside: str) -> Path:
    """A file of an installed package, which is not imported."""
    spec = find_spec(package)
    found = Path(spec.origin).parent.joinpath(*inside) if spec and spec.origin else None
    if found is None or not found.is_file():
        raise MissingPackage(f"the web page needs {'/'.join(inside)} of the package `{package}`: {_INSTALL}")
    return found


def as_script(module: str) -> str:
    """DataTables, which `itables` ships as a module, as a plain script that sets `DataTable`: browsers load no module
    from `file://`. Its licences stay where they are. Raises MissingPackage for a bundle of another shape."""
    ends = list(re.finditer(r"export\s*\{([^{}]*)\}\s*;?", module))
    name = re.search(r"([\w$]+)\s+as\s+default\b", ends[-1][1]) if ends else None
    if not name:
        raise MissingPackage(f"the installed `itables` ships its table in a shape that is not known here: {_INSTALL}")
    end = ends[-1]
    return f"(()=>{{{module[: end.start()]}window.DataTable={name[1]};}})();\n{module[end.end() :]}"
