"""Claims about `requirements.lock`: exact wheels with digests, and nothing that runs here. Wheels are made here."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.submission import requirements
from harness.submission.requirements import install_locked, read_lock

DIGEST = "0123456789abcdef" * 4


def wheel(folder: Path, name: str, version: str = "1.0", more: dict[str, str] | None = None) -> str:
    """A wheel of one module; returns its line in a lock."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: not-there\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **(more or {}),
    }
    record = f"{info}/RECORD,,\n"
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text.encode())}\n"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for place, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(place, text)
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, which pip knows alone."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "requirements.lock"


def test_a_lock_of_pins_and_digests_is_read(lock: Path) -> None:
    lock.write_text(
        f"# by a tool\n\nToy_Index==1.2.3.post1 \\\n    --hash=sha256:{DIGEST} \\\n    --hash=sha256:{DIGEST[::-1]}\n"
        f"    # via something\nanother==2!1.0+cpu --hash=sha256:{DIGEST}  # a remark\n"
    )
    first, second = read_lock(lock)
    assert (first.name, first.version, first.hashes) == ("another", "2!1.0+cpu", (DIGEST,))
    assert (second.name, second.version, len(second.hashes)) == ("toy-index", "1.2.3.post1", 2)


def test_an_empty_lock_asks_for_nothing(lock: Path) -> None:
    lock.write_text("# nothing\n")
    assert read_lock(lock) == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("toy", "no --hash"),
        ("toy==1.0", "no --hash"),
        (f"toy>=1.0 --hash=sha256:{DIGEST}", "not `name==version"),
        (f"toy==1.* --hash=sha256:{DIGEST}", "not `name==version"),
        (f"toy=={'1'}.0 --hash=md5:{DIGEST[:32]}", "not sha256"),
        (f"toy==1.0 --hash=sha256:{DIGEST[:-1]}", "not sha256"),
        (f"toy==1.0 --hash=sha256:{DIGEST} --global-option=x", "not `name==version"),
        (f"toy==1.0 ; python_version<'4' --hash=sha256:{DIGEST}", "marker"),
        (f"toy[extra]==1.0 --hash=sha256:{DIGEST}", "extras"),
        (f"toy @ https://example.org/toy.whl --hash=sha256:{DIGEST}", "URL"),
        (f"git+https://example.org/toy --hash=sha256:{DIGEST}", "URL"),
        (f"./toy-1.0-py3-none-any.whl --hash=sha256:{DIGEST}", "path"),
        (f"/tmp/toy.whl --hash=sha256:{DIGEST}", "path"),
        ("-e .", "option"),
        ("-r other.txt", "option"),
        ("--index-url https://example.org", "option"),
        ("--extra-index-url=https://example.org", "option"),
        ("--find-links=/tmp", "option"),
        ("--no-binary :all:", "option"),
        (f"--config-settings x toy==1.0 --hash=sha256:{DIGEST}", "option"),
        (f"$(touch x)==1.0 --hash=sha256:{DIGEST}", "not `name==version"),
        (f"limits-harness==0.1 --hash=sha256:{DIGEST}", "is installed already"),
        (f"good==1.0 --hash=sha256:{DIGEST}", "stands here twice"),
    ],
)
def test_anything_else_is_refused_with_its_line(lock: Path, line: str, why: str) -> None:
    lock.write_text(f"good==1.0 --hash=sha256:{DIGEST}\n\n{line}\n")
    with pytest.raises(UsageError, match=r"requirements\.lock:3: ") as refused:
        read_lock(lock)
    assert why in str(refused.value)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"x" * (2 << 20)])
def test_a_lock_that_is_no_text_or_too_large_is_refused(lock: Path, data: bytes) -> None:
    lock.write_bytes(data)
    with pytest.raises(UsageError, match=r"requirements\.lock"):
        read_lock(lock)


def test_a_lock_that_names_an_encoding_is_refused(lock: Path) -> None:
    """In UTF-7 its second line holds two options for pip, and no remark."""
    hidden = "# -*- coding: utf-7 -*-\n# +AAo---no-binary evil+AAo---find-links .+AAo-\n"
    lock.write_text(hidden + f"toy==1.0 --hash=sha256:{DIGEST}\n")
    assert b"\n--no-binary evil\n--find-links ." in lock.read_bytes().decode("utf-7").encode()
    with pytest.raises(UsageError, match=r"requirements\.lock:1: .*encoding"):
        read_lock(lock)
    lock.write_text(f"toy==1.0 --hash=sha256:{DIGEST}\n# vim: fileencoding=utf-7\n")
    with pytest.raises(UsageError, match=r"requirements\.lock:2: .*encoding"):
        read_lock(lock)


def test_a_lock_of_other_letters_than_ascii_is_refused(lock: Path) -> None:
    lock.write_text(f"toy==1.0 --hash=sha256:{DIGEST}  # caf\u00e9\n", "utf-8")
    with pytest.raises(UsageError, match="only ASCII"):
        read_lock(lock)


def test_wheels_that_unpack_to_too_much_are_refused_before_they_are_unpacked(
    wheels: Path, lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requirements, "_UNPACKED_BYTES", 1 << 20)
    lock.write_text(wheel(wheels, "toysmall") + wheel(wheels, "toybomb", more={"toybomb_data.txt": "0" * (2 << 20)}))
    with pytest.raises(UsageError, match="unpack to more than 1 MiB, with toybomb"):
        install_locked(lock, tmp_path / "env")
    assert not any((tmp_path / "env" / "site").iterdir())


def test_pip_may_not_write_a_file_that_is_too_large(
    wheels: Path, lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requirements, "_FILE_BYTES", 1 << 20)
    lock.write_text(wheel(wheels, "toylarge", more={"toylarge_data.txt": "0" * (2 << 20)}))
    with pytest.raises(UsageError):
        install_locked(lock, tmp_path / "env")
    assert all(path.stat().st_size <= 1 << 20 for path in (tmp_path / "env").rglob("*"))


def test_a_locked_wheel_is_installed_alone_and_can_be_imported(wheels: Path, lock: Path, tmp_path: Path) -> None:
    lock.write_text(wheel(wheels, "toylocked", "1.5"))
    made = install_locked(lock, tmp_path / "env")
    assert made.packages == {"toylocked": "1.5"} and made.modules == {"toylocked": ("toylocked",)} and made.lock
    program = f"import sys; sys.path.insert(0, {str(made.site)!r}); import toylocked; print(toylocked.VERSION)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "1.5\n"


def test_a_wheel_that_is_not_the_locked_one_is_refused(wheels: Path, lock: Path, tmp_path: Path) -> None:
    wheel(wheels, "toylocked")
    lock.write_text(f"toylocked==1.0 --hash=sha256:{DIGEST}\n")
    with pytest.raises(UsageError, match="another digest"):
        install_locked(lock, tmp_path / "env")
    assert not any((tmp_path / "env" / "site").iterdir())


def test_a_package_without_a_wheel_is_refused_and_its_build_code_never_runs(
    wheels: Path, lock: Path, tmp_path: Path
) -> None:
    import tarfile

    source = tmp_path / "toysource-1.0"
    source.mkdir()
    (source / "setup.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: toysource\nVersion: 1.0\n")
    archive = wheels / "toysource-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source, "toysource-1.0")
    lock.write_text(f"toysource==1.0 --hash=sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}\n")
    with pytest.raises(UsageError, match=r"toysource==1\.0 has no wheel"):
        install_locked(lock, tmp_path / "env")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("extra", ["run-at-start.pth", "harness/__init__.py"])
def test_a_wheel_that_would_change_what_others_import_is_refused(
    wheels: Path, lock: Path, tmp_path: Path, extra: str
) -> None:
    lock.write_text(wheel(wheels, "toybad", more={extra: "import os\n"}))
    with pytest.raises(UsageError, match="would change what others import"):
        install_locked(lock, tmp_path / "env")


def test_a_wheel_cannot_write_outside_of_its_folder(wheels: Path, lock: Path, tmp_path: Path) -> None:
    lock.write_text(wheel(wheels, "toyescape", more={"../../../escaped.py": "1\n"}))
    with pytest.raises(UsageError):
        install_locked(lock, tmp_path / "env")
    assert not list(tmp_path.rglob("escaped.py"))
