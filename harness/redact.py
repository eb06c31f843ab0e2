"""What is written to a record says nothing about who ran it: homes, users, hosts, paths and secrets are taken out.

Applied when a record is written, to everything a child, a library or the operating system may have put into it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

__all__ = ["Identity", "current_identity", "redact", "redact_json"]

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

GENERIC_NAMES = frozenset(
    {"root", "user", "users", "admin", "runner", "ubuntu", "debian", "docker", "jovyan", "nobody", "linux", "localhost",
     "localdomain", "vm", "test", "python", "harness", "build", "ci", "home", "path", "host", "email", "secret"}
)  # fmt: skip
"""User and host names that say nothing about anybody; as bare words they stay, or every `runner.py` would suffer."""
MAX_PASSES = 10

_SECRET_NAME = r"(?:token|secret|passw(?:or)?d|api_?key|access_?key|private_?key|credentials?)"
_SECRET_VARIABLE = re.compile(rf"{_SECRET_NAME}(?:_id)?$", re.IGNORECASE)
# NAME=value and "name": "value". Values that are short or hold no digit are words ("unexpected token: identifier").
_SECRET_SETTING = re.compile(
    rf"(?P<name>\b[\w-]*{_SECRET_NAME}[\"']?\s*[=:]\s*[\"']?)(?=[^\s\"'<>,;]*\d)[^\s\"'<>,;]{{8,}}", re.IGNORECASE
)
_SECRET_SHAPE = re.compile(
    r"\b(?:hf_\w{16,}|gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|sk-[\w-]{16,}|pypi-[\w-]{16,}"
    r"|AKIA[0-9A-Z]{12,}|xox[abpr]-[\w-]{10,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,})"
)
_BEARER = re.compile(r"(?P<name>\b(?:bearer|basic)\s+)[\w.~+/=-]{12,}", re.IGNORECASE)
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_PART = r"[^\s/\\\"'`<>|:;,(){}\[\]]+"
# Not after a word or a dot (relative path, fraction, end tag), a mark of ours, or another slash; but after -I or -L.
_NOT_INSIDE = r"(?:(?<![\w.~>/\\#<])|(?<=[\s\"']-[IL]))"
_PATH = re.compile(
    rf"(?P<url>\b(?!file:)[a-z][a-z0-9+.-]*://)(?:[^\s/@\"']+@)?(?P<rest>[^\s\"'<>]*)"
    rf"|(?P<quote>[\"'])(?P<quoted>(?:file:/|~)?/[^\"'\n]*)(?P=quote)"
    rf"|(?P<windows>(?:(?:\bfile:/*|(?<![\w/>]))[a-z]:|(?<![\w/>\\])\\)\\+(?:{_PART}\\+)*(?:{_PART})?)"
    rf"|(?P<bare>(?:\bfile:/*|{_NOT_INSIDE}~[\w-]*|{_NOT_INSIDE})(?:/+{_PART})+/*)",
    re.IGNORECASE,
)
_NO_FOLDER = re.compile(r"|file:|[a-z]:", re.IGNORECASE)


@dataclass(frozen=True)
class Identity:
    """What to take out besides what can be told by its shape."""

    homes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """User names."""
    hosts: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    """Values, wherever they stand."""


@lru_cache(maxsize=1)
def current_identity() -> Identity:
    """The identity of this process's user and machine, and the values of its secret environment variables."""
    home = os.path.expanduser("~")
    names = {os.environ.get(key, "") for key in ("USER", "LOGNAME", "USERNAME", "SUDO_USER")}
    names |= {os.path.basename(home), _login_name()}
    host = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    return Identity(
        homes=_longest_first({home, os.path.realpath(home)} - {"/", "", "~"}),
        names=_longest_first(name for name in names if len(name) > 1 and name.lower() not in GENERIC_NAMES),
        hosts=_longest_first(
            name
            for name in {host, host.partition(".")[0], os.environ.get("HOSTNAME", "")}
            if len(name) > 1 and name.lower() not in GENERIC_NAMES
        ),
        secrets=_secrets(os.environ),
    )


def _login_name() -> str:
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError, OSError):
        return ""


def _secrets(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Values of variables whose name says that they are secret; short ones would match by chance."""
    return _longest_first(
        value for key, value in environment.items() if _SECRET_VARIABLE.search(key) and len(value) >= 8
    )


def _longest_first(values: Iterable[str]) -> tuple[str, ...]:
    """Sorted so that a value is replaced before its own parts are."""
    return tuple(sorted(set(values), key=lambda value: (-len(value), value)))


def redact(text: str, identity: Identity | None = None) -> str:
    """`text` without homes (`<home>`), absolute paths (`<path>/last-component`), the user's and the host's name,
    e-mail addresses and what looks like a secret. Redacting twice changes nothing more.
    """
    who = current_identity() if identity is None else identity
    # What is left of one find may, with its neighbours, be another: until nothing changes (twice, for honest text).
    for _ in range(MAX_PASSES):
        before, text = text, _pass(text, who)
        if text == before:
            break
    return text


def _pass(text: str, who: Identity) -> str:
    for secret in who.secrets:
        text = text.replace(secret, "<secret>")
    text = _SECRET_SHAPE.sub("<secret>", text)
    text = _SECRET_SETTING.sub(r"\g<name><secret>", text)
    text = _BEARER.sub(r"\g<name><secret>", text)
    text = _EMAIL.sub("<email>", _PATH.sub(lambda match: _without_folders(match, who.homes), text))
    for name in who.names:
        text = _word(name).sub("<user>", text)
    for host in who.hosts:
        text = _word(host).sub("<host>", text)
    return text


def _without_folders(match: re.Match[str], homes: tuple[str, ...]) -> str:
    if match["url"]:
        return match["url"] + match["rest"]
    quote = match["quote"] or ""
    path = match["quoted"] or match["bare"] or match["windows"]
    # The full stop after a path ends a sentence more often than a file name.
    path, end = (path, "") if quote else (path.rstrip("."), path[len(path.rstrip(".")) :])
    parts = [part for part in re.split(r"[/\\]+", path) if not _NO_FOLDER.fullmatch(part)]
    if path.rstrip("/\\") in homes or (len(parts) > 1 and parts[-2] in {"home", "Users"}):
        shown = "<home>"
    elif len(parts) < 2 and path[0] == "/":
        shown = path
    else:
        shown = f"<path>/{parts[-1]}" if parts else "<path>"
    return f"{quote}{shown}{end}{quote}"


@lru_cache(maxsize=32)
def _word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w<]){re.escape(name)}(?![\w>])", re.IGNORECASE)


def redact_json(value: Json, identity: Identity | None = None) -> Json:
    """The same for every string in a JSON value, keys included."""
    if isinstance(value, str):
        return redact(value, identity)
    if isinstance(value, list):
        return [redact_json(item, identity) for item in value]
    if isinstance(value, dict):
        return {redact(key, identity): redact_json(item, identity) for key, item in value.items()}
    return value
