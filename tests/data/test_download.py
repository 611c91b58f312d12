"""One download: it ends in the file or in an error, whatever the server does, and soon."""

import functools
import socket
import threading
import time

import pytest
from data.tiny_dataset import trickling

from chainrule.data.sources import UnreachableError, download


@pytest.mark.timeout(20)
@pytest.mark.parametrize("chunked", [True, False])
def test_a_trickle_is_given_up(site, chunked):
    """Every single read succeeds, so only the watch over the whole download can end this."""
    site.answers["/file"] = functools.partial(trickling, chunked=chunked)
    start = time.monotonic()
    with pytest.raises(UnreachableError, match=r"too slow, within 0\.3 s"):
        download(f"{site.url}file", limit=10**6, patience=0.3)
    assert time.monotonic() - start < 3


def test_a_download_that_was_given_up_stops(site):
    site.answers["/file"] = functools.partial(trickling, chunked=True)
    before = set(threading.enumerate())
    with pytest.raises(UnreachableError):
        download(f"{site.url}file", limit=10**6, patience=0.3)
    deadline = time.monotonic() + 5
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not set(threading.enumerate()) - before


def test_a_large_file_that_keeps_coming_is_not_given_up(site):
    content = bytes(range(256)) * 400

    def slowly(handler, closing):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        for start in range(0, len(content), 10_240):
            handler.wfile.write(content[start : start + 10_240])
            closing.wait(0.1)

    site.answers["/file"] = slowly
    assert download(f"{site.url}file", limit=10**6, patience=0.4) == content


def test_a_name_server_that_does_not_answer_is_given_up(monkeypatch):
    """No time limit of the HTTP library covers the look-up of a name."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: time.sleep(3) or [])
    start = time.monotonic()
    with pytest.raises(UnreachableError, match="no answer"):
        download("http://somewhere.invalid/file", limit=100, patience=0.3)
    assert time.monotonic() - start < 2
