"""The search: which source is asked when, what happens with bad files, and what the errors say."""

import errno
import functools
import gzip
import logging
import os
import socket
import subprocess
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from data.tiny_dataset import NAMES, cut_short, make_contents, make_spec, silent, trickling, write_files

from chainrule.core.errors import ConfigError, DataError
from chainrule.data import sources
from chainrule.data.sources import cache_folder, download, find_files
from chainrule.data.specs import SPECS

CONTENTS = make_contents(0)
OTHER = make_contents(1)
IMAGES = NAMES[0]
TINY = make_spec("tiny_set", CONTENTS)


@pytest.fixture(autouse=True)
def _known_datasets(monkeypatch):
    monkeypatch.setitem(SPECS, "tiny_set", TINY)
    monkeypatch.setitem(SPECS, "other_set", make_spec("other_set", OTHER))


def search(spec=TINY, data_dir=None):
    return find_files(spec, data_dir)


def cached(spec=TINY):
    folder = cache_folder(spec)
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/"


# --- folders of the user's


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("place", [".", "tiny_set", "tiny-set"])
@pytest.mark.parametrize("dotted", [True, False])
@pytest.mark.parametrize("by_argument", [True, False])
def test_a_users_folder_in_all_its_forms(tmp_path, monkeypatch, packed, place, dotted, by_argument):
    contents = {name.replace("-idx", ".idx") if dotted else name: c for name, c in CONTENTS.items()}
    write_files(tmp_path / "data" / place, contents, packed=packed)
    if by_argument:
        assert search(data_dir=tmp_path / "data") == CONTENTS
    else:
        monkeypatch.setenv("CHAINRULE_DATA_DIR", str(tmp_path / "data"))
        assert search() == CONTENTS
    assert cached() == {}


def test_a_folder_of_the_datasets_own_comes_before_files_beside_it(tmp_path):
    write_files(tmp_path / "data", OTHER)
    write_files(tmp_path / "data" / "tiny_set", CONTENTS)
    assert search(data_dir=tmp_path / "data") == CONTENTS


def test_the_argument_beats_the_environment(tmp_path, monkeypatch):
    write_files(tmp_path / "good", CONTENTS)
    monkeypatch.setenv("CHAINRULE_DATA_DIR", str(tmp_path / "missing"))
    assert search(data_dir=tmp_path / "good") == CONTENTS


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    write_files(tmp_path / "data", CONTENTS)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CHAINRULE_DATA_DIR", "~/data")
    assert search() == CONTENTS


def test_the_argument_is_never_passed_over(tmp_path, site):
    """Even where another source has the files."""
    site.serve("", CONTENTS)
    spec = make_spec("tiny_set", CONTENTS, mirrors=(site.url,))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"data_dir .*tiny_set.*train-images-idx3-ubyte, train-labels"):
        search(spec, tmp_path / "empty")
    with pytest.raises(DataError, match=r"data_dir .*nowhere is not a folder"):
        search(spec, tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"data_dir .*file is not a folder"):
        search(spec, tmp_path / "file")
    assert site.requests == []


def test_a_folder_in_the_environment_must_exist_but_may_lack_the_dataset(tmp_path, monkeypatch, site):
    site.serve("", CONTENTS)
    spec = make_spec("tiny_set", CONTENTS, mirrors=(site.url,))
    monkeypatch.setenv("CHAINRULE_DATA_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"CHAINRULE_DATA_DIR .*nowhere is not a folder"):
        search(spec)
    write_files(tmp_path / "data" / "other_set", OTHER)
    monkeypatch.setenv("CHAINRULE_DATA_DIR", str(tmp_path / "data"))
    assert search(spec) == CONTENTS
    assert len(site.requests) == 4


@pytest.mark.parametrize("by_argument", [True, False])
def test_a_missing_file_is_named_with_every_way_to_get_it(tmp_path, monkeypatch, by_argument):
    write_files(tmp_path / "data", {name: CONTENTS[name] for name in NAMES[:3]})
    monkeypatch.setenv("CHAINRULE_DATA_DIR", str(tmp_path / "data"))
    with pytest.raises(DataError, match=f"lacks files of tiny_set: {NAMES[3]}") as caught:
        search(data_dir=tmp_path / "data" if by_argument else None)
    for way in ("data_dir=", "CHAINRULE_DATA_DIR", "install tiny_set-package", "digits", *NAMES):
        assert way in str(caught.value)
    # Nothing is downloaded as long as the folder is given.
    assert f"without {'data_dir' if by_argument else 'CHAINRULE_DATA_DIR'} and with a network" in str(caught.value)


def bad_files():
    whole, labels = gzip.compress(CONTENTS[IMAGES], mtime=0), gzip.compress(CONTENTS[NAMES[1]], mtime=0)
    size = f"{len(CONTENTS[IMAGES]):,}"
    flipped = bytearray(CONTENTS[IMAGES])
    flipped[100] ^= 1
    return [
        (whole[:-20], ["not a complete gzip file"]),
        (CONTENTS[IMAGES][:-1], [f"expected {size} bytes", f"got {len(CONTENTS[IMAGES]) - 1:,}", "truncated"]),
        (labels, [f"expected {size} bytes", f"mislabeled: this is tiny_set's {NAMES[1]}"]),
        (CONTENTS[IMAGES] + b"x", [f"got more than {size}"]),
        (bytes(flipped), [TINY.files[0].sha256, "corrupted"]),
        (gzip.compress(OTHER[IMAGES]), [TINY.files[0].sha256, f"mislabeled: this is other_set's {IMAGES}"]),
        (b"<!DOCTYPE html><p>404", ["got 21", "web page"]),
        (b"", [f"expected {size} bytes", "got 0", "not an IDX file"]),
        (b"x" * 10**7, [f"got more than {size}", "not an IDX file"]),
    ]


@pytest.mark.parametrize(("content", "words"), bad_files())
def test_a_bad_file_of_the_users_says_expected_got_and_why(tmp_path, monkeypatch, content, words):
    folder = tmp_path / "data"
    write_files(folder, CONTENTS)
    (folder / f"{IMAGES}.gz").write_bytes(content)
    monkeypatch.setenv("CHAINRULE_DATA_DIR", str(folder))
    for data_dir in (folder, None):
        with pytest.raises(DataError) as caught:
            search(data_dir=data_dir)
        for word in (str(folder / f"{IMAGES}.gz"), *words, "Ways to get tiny_set", "digits"):
            assert word in str(caught.value)


def test_no_more_is_read_of_a_file_than_it_can_have(tmp_path):
    write_files(tmp_path / "data", CONTENTS)
    with (tmp_path / "data" / f"{IMAGES}.gz").open("wb") as file:
        file.truncate(200_000_000)  # sparse: it takes no room on the disk
    tracemalloc.start()
    with pytest.raises(DataError, match="got more than"):
        search(data_dir=tmp_path / "data")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_under_a_files_name_is_refused_at_once(tmp_path, make):
    """A pipe would be waited for without end."""
    (tmp_path / "data").mkdir()
    make(tmp_path / "data" / IMAGES)
    with pytest.raises(DataError, match=f"{IMAGES}.*not a regular file"):
        search(data_dir=tmp_path / "data")


def test_a_link_to_a_file_is_as_good_as_the_file(tmp_path):
    write_files(tmp_path / "elsewhere", CONTENTS, packed=False)
    (tmp_path / "data").mkdir()
    for name in NAMES:
        (tmp_path / "data" / name).symlink_to(tmp_path / "elsewhere" / name)
    assert search(data_dir=tmp_path / "data") == CONTENTS


@pytest.mark.parametrize("by_argument", [True, False])
def test_the_home_folder_of_nobody(monkeypatch, by_argument):
    monkeypatch.setenv("CHAINRULE_DATA_DIR", "~no-such-user/x")
    with pytest.raises(DataError, match="~no-such-user/x is not a folder"):
        search(data_dir=Path("~no-such-user/x") if by_argument else None)


def test_a_cache_in_the_home_folder_of_nobody(monkeypatch):
    monkeypatch.setenv("CHAINRULE_CACHE_DIR", "~no-such-user")
    with pytest.raises(ConfigError, match="CHAINRULE_CACHE_DIR ~no-such-user is in no known home folder"):
        search()


# --- the cache and the system's copy


def test_cached_files_need_no_network(site):
    write_files(cache_folder(TINY), CONTENTS, packed=False)
    assert search(make_spec("tiny_set", CONTENTS, mirrors=(site.url,))) == CONTENTS
    assert site.requests == []


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("CHAINRULE_CACHE_DIR", str(tmp_path))
    assert cache_folder(TINY) == tmp_path / "datasets" / "tiny_set"
    monkeypatch.delenv("CHAINRULE_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder(TINY).parts[-2:] == ("datasets", "tiny_set")
    assert tmp_path in cache_folder(TINY).parents


def test_a_bad_cached_file_is_fetched_anew(site, caplog):
    write_files(cache_folder(TINY), CONTENTS | {IMAGES: b"half"}, packed=False)
    site.serve("", CONTENTS)
    assert search(make_spec("tiny_set", CONTENTS, mirrors=(site.url,))) == CONTENTS
    assert site.requests == [f"/{IMAGES}.gz"]
    assert cached() == CONTENTS
    assert "It is removed from the cache" in caplog.text


def test_a_bad_cached_file_is_removed_even_when_nothing_replaces_it():
    write_files(cache_folder(TINY), CONTENTS | {IMAGES: b"half"}, packed=False)
    with pytest.raises(DataError, match=f"No source has {IMAGES} of"):
        search()
    assert set(cached()) == set(NAMES[1:])


def test_the_systems_copy_comes_before_the_mirrors(tmp_path, site):
    write_files(tmp_path / "system", CONTENTS)
    site.serve("", CONTENTS)
    spec = make_spec("tiny_set", CONTENTS, mirrors=(site.url,), system_folder=tmp_path / "system")
    assert search(spec) == CONTENTS
    assert site.requests == []
    assert cached() == {}
    (tmp_path / "system" / f"{IMAGES}.gz").write_bytes(b"bad")
    assert search(spec) == CONTENTS
    assert site.requests == [f"/{IMAGES}.gz"]


@pytest.mark.parametrize("blocked", ["", "datasets"])
def test_a_cache_that_cannot_be_written_does_not_stop_anything(tmp_path, monkeypatch, site, caplog, blocked):
    monkeypatch.setenv("CHAINRULE_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "cache" / blocked).parent.mkdir(exist_ok=True)
    (tmp_path / "cache" / blocked).touch()  # a file where a folder should be: this stops root, too
    site.serve("", CONTENTS)
    assert search(make_spec("tiny_set", CONTENTS, mirrors=(site.url,))) == CONTENTS
    assert f"{IMAGES} is not cached" in caplog.text


# --- mirrors


def test_downloads_are_announced_verified_and_kept(site, caplog):
    caplog.set_level(logging.INFO, "chainrule.data")
    site.serve("", CONTENTS)
    spec = make_spec("tiny_set", CONTENTS, mirrors=(site.url,))
    assert search(spec) == CONTENTS
    assert cached() == CONTENTS
    assert f"Downloading {site.url}{IMAGES}.gz" in caplog.messages
    assert search(spec) == CONTENTS
    assert len(site.requests) == 4


def test_a_mirror_that_is_down_is_asked_once(site, caplog):
    caplog.set_level(logging.INFO, "chainrule.data")
    site.serve("", CONTENTS)
    down = closed_port()
    assert search(make_spec("tiny_set", CONTENTS, mirrors=(down, site.url))) == CONTENTS
    downloads = [message for message in caplog.messages if message.startswith("Downloading")]
    assert [down in message for message in downloads] == [True, False, False, False, False]


def test_a_silent_mirror_costs_its_time_limit_once(site, monkeypatch):
    monkeypatch.setattr(sources, "download", functools.partial(download, patience=0.5))
    site.serve("/good", CONTENTS)
    for name in NAMES:
        site.answers[f"/bad/{name}.gz"] = silent
    start = time.monotonic()
    assert search(make_spec("tiny_set", CONTENTS, mirrors=(f"{site.url}bad/", f"{site.url}good/"))) == CONTENTS
    assert 0.4 < time.monotonic() - start < 3
    assert [path for path in site.requests if path.startswith("/bad/")] == [f"/bad/{IMAGES}.gz"]


def whole(name):
    return gzip.compress(CONTENTS[name], mtime=0)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (404, "HTTP status 404"),
        (503, "HTTP status 503"),
        (whole(IMAGES)[:-30], "not a complete gzip file"),
        (cut_short(whole(IMAGES)), "truncated"),
        (gzip.compress(OTHER[IMAGES]), "mislabeled: this is other_set's"),
        (b"<html>please log in</html>", "web page"),
        (b"x" * 10**6, "more than the"),
        (gzip.compress(bytes(5 * 10**7)), "got more than"),
    ],
)
def test_a_mirror_with_a_bad_file_is_passed_over_and_leaves_nothing(site, answer, reason):
    site.serve("/good", CONTENTS)
    site.serve("/bad", CONTENTS)
    site.answers[f"/bad/{IMAGES}.gz"] = answer
    bad = make_spec("tiny_set", CONTENTS, mirrors=(f"{site.url}bad/",))
    with pytest.raises(DataError, match=f"No source has {IMAGES}") as caught:
        search(bad)
    assert f"{site.url}bad/{IMAGES}.gz" in str(caught.value)
    assert reason in str(caught.value)
    assert cached() == {}
    assert search(make_spec("tiny_set", CONTENTS, mirrors=(f"{site.url}bad/", f"{site.url}good/"))) == CONTENTS
    assert cached() == CONTENTS


def test_mirrors_make_up_for_each_other(site):
    for mirror, bad in (("/a", NAMES[0]), ("/b", NAMES[1])):
        site.serve(mirror, CONTENTS)
        site.answers[f"{mirror}/{bad}.gz"] = 404
    assert search(make_spec("tiny_set", CONTENTS, mirrors=(f"{site.url}a/", f"{site.url}b/"))) == CONTENTS
    assert [path[:2] for path in site.requests] == ["/a", "/b", "/a", "/a", "/a"]


def test_a_mirror_of_the_users_is_the_only_one_asked(site, monkeypatch):
    site.serve("/mine/tiny_set", CONTENTS)
    monkeypatch.setenv("CHAINRULE_MIRROR", f"{site.url}mine")
    assert search(make_spec("tiny_set", CONTENTS, mirrors=(f"{site.url}official/",))) == CONTENTS
    assert all(path.startswith("/mine/tiny_set/") for path in site.requests)


def test_when_nothing_is_reachable_the_error_says_so_at_once(tmp_path, monkeypatch):
    urls = (closed_port(), "http://no-such-host.invalid/")
    spec = make_spec("tiny_set", CONTENTS, mirrors=urls, system_folder=tmp_path / "system")
    monkeypatch.setenv("CHAINRULE_DATA_DIR", str(tmp_path))
    start = time.monotonic()
    with pytest.raises(DataError) as caught:
        search(spec)
    assert time.monotonic() - start < 10
    message = str(caught.value)
    for words in (
        *NAMES,
        f"CHAINRULE_DATA_DIR {tmp_path}: no files of tiny_set",
        f"cache {cache_folder(spec)}: no {IMAGES}",
        f"{tmp_path / 'system'}: no {IMAGES}",
        f"{urls[0]}{IMAGES}.gz: [Errno {errno.ECONNREFUSED}]",
        f"{urls[1]}{IMAGES}.gz: ",
        "data_dir=",
        "install tiny_set-package",
        "digits",
    ):
        assert words in message
    assert "urlopen" not in message, "the HTTP library's own text must not get through"
    assert "--" not in message, "the library does not know the flags of the command line"


def test_processes_that_fetch_at_once_do_not_hurt_each_other(site):
    site.serve("", CONTENTS)
    spec = make_spec("tiny_set", CONTENTS, mirrors=(site.url,))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: search(spec), range(8))) == [CONTENTS] * 8
    assert cached() == CONTENTS


def test_a_killed_download_leaves_nothing_bad_in_the_cache(site, tmp_path):
    site.answers[f"/mnist/{IMAGES}.gz"] = trickling
    child = subprocess.Popen(
        [sys.executable, "-c", "from chainrule.data import load_dataset; load_dataset('mnist')"],
        env=os.environ | {"CHAINRULE_MIRROR": site.url},
    )
    deadline = time.monotonic() + 20
    while not site.requests and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    child.kill()
    child.wait()
    assert site.requests == [f"/mnist/{IMAGES}.gz"]
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []
