"""Claims about what never reaches a record."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from harness import redact as module
from harness.redact import Identity, current_identity, redact, redact_json

JANE = Identity(homes=("/home/jane",), names=("jane",), hosts=("fastbox.example", "fastbox"), secrets=("s3cr3t-value",))
parts = st.text("abcdefgh-_.0123456789", min_size=1, max_size=8).filter(lambda part: part.strip(".") != "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('File "/home/jane/work/bm25.py", line 3, in index', 'File "<path>/bm25.py", line 3, in index'),
        ('File "/home/Jane Doe/my files/bm25.py", line 3', 'File "<path>/bm25.py", line 3'),
        ("/opt/venv/lib/python3.11/site.py:12: Warning", "<path>/site.py:12: Warning"),
        ("PATH=/usr/bin:/usr/local/bin", "PATH=<path>/bin:<path>/bin"),
        ("cannot read ~/data/corpus.jsonl", "cannot read <path>/corpus.jsonl"),
        ("~/corpus.jsonl", "<path>/corpus.jsonl"),
        ("home is /home/jane.", "home is <home>."),
        ("home is /Users/somebody", "home is <home>"),
        ("gcc -I/home/jane/include -O2", "gcc -I<path>/include -O2"),
        ("file:///home/jane/data/x.npy", "<path>/x.npy"),
        (r"C:\Users\jane\data\x.npy is missing", "<path>/x.npy is missing"),
        ("written to /var/tmp/harness/", "written to <path>/harness"),
        ("jane@fastbox:~$ run", "<user>@<host>:~$ run"),
        ("host FASTBOX.example, user Jane", "host <host>, user <user>"),
        ("ask jane.doe+x@mail.example.org now", "ask <email> now"),
        ("https://jane:pw@git.example.org/x/y", "https://git.example.org/x/y"),
        ("HF_TOKEN=hf_abcdefghijklmnopqrst", "HF_TOKEN=<secret>"),
        ('{"api_key": "0123456789abcdef"}', '{"api_key": "<secret>"}'),
        ("Authorization: Bearer abcdef0123456789", "Authorization: Bearer <secret>"),
        ("got s3cr3t-value here", "got <secret> here"),
    ],
)
def test_what_identifies_somebody_is_taken_out(text: str, expected: str) -> None:
    assert redact(text, JANE) == expected


@pytest.mark.parametrize(
    "text",
    [
        "tasks/limit/retrieval/interface.py",
        "recall@10 of 0.9, 27 documents/s, 1/2 and/or both",
        "see https://example.org/paper/2508.21038v2 and hf:org/model",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "max_tokens=512, n_tokens: 45000, tokenizer='all-MiniLM-L6-v2'",
        "SyntaxError: unexpected token: identifier",
        "janet and fastboxes",
        "<path>/bm25.py",
        "a </b> tag, ./local/file.py, ../other/file.py",
        "AMD EPYC 7B13, Linux 6.18.44 x86_64, CPython 3.11.7",
    ],
)
def test_what_identifies_nobody_stays(text: str) -> None:
    assert redact(text, JANE) == text


@given(st.lists(parts, min_size=2, max_size=6))
def test_of_an_absolute_path_only_the_last_component_is_left(components: list[str]) -> None:
    assume(components[0] not in {"home", "Users"})
    assert redact("at /" + "/".join(components), Identity()) == f"at <path>/{components[-1]}"


@given(st.lists(st.one_of(parts, st.sampled_from(["/", " ", "~", ":", '"', "=", "@", "\n", "jane", "token", "\\"]))))
@example(["A:\\", "\\"])
@example(["file://", "file://", "/home/"])
def test_redacting_twice_changes_nothing_more(pieces: list[str]) -> None:
    once = redact("".join(pieces), JANE)
    assert redact(once, JANE) == once


@given(st.text(), st.text())
def test_names_and_secrets_are_gone_from_any_text(before: str, after: str) -> None:
    cleaned = redact(f"{before} jane {after} s3cr3t-value {before}", JANE)
    assert "s3cr3t-value" not in cleaned
    assert not re.search(r"(?<![\w<])jane(?![\w>])", cleaned)


@given(st.text(alphabet="/\\~ab.\"' :=@\n", max_size=60))
def test_no_path_of_two_components_survives_any_mess(text: str) -> None:
    assert not re.search(r"(?:^|\s)/+[ab]+/+[ab]+", redact(text, JANE))


def test_the_running_users_own_home_goes(tmp_path: object) -> None:
    home = os.path.expanduser("~")
    assert home not in redact(f"in {home}/project/x.py", None)
    assert redact(f"{home}/project/x.py") == "<path>/x.py"


def test_secret_variables_of_the_environment_are_found_by_their_names() -> None:
    environment = {"MY_API_KEY": "abcdefghijkl", "HF_TOKEN": "short", "OMP_NUM_THREADS": "11111111"}
    assert module._secrets(environment) == ("abcdefghijkl",)


def test_generic_names_are_not_taken_for_an_identity() -> None:
    assert not {name.lower() for name in current_identity().names} & module.GENERIC_NAMES


def test_strings_are_redacted_at_any_depth_and_the_rest_is_kept() -> None:
    value = redact_json({"a": ["/home/jane/x/y.py", 1, None, True, 0.5], "/home/jane/k": {"b": "jane"}}, JANE)
    assert value == {"a": ["<path>/y.py", 1, None, True, 0.5], "<path>/k": {"b": "<user>"}}
