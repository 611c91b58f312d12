"""A dataset of a few pixels in the four IDX files, and a web server for it."""

import gzip
import hashlib
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from chainrule.data.specs import DatasetSpec, FileSpec

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx_bytes(array: np.ndarray) -> bytes:
    return (
        bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()
    )


def make_contents(seed: int, n_train: int = 40, n_test: int = 20) -> dict[str, bytes]:
    """The four files, unpacked: images of 3 x 2 pixels in ten classes."""
    rng = np.random.default_rng(seed)
    arrays = (
        rng.integers(0, 256, (n_train, 3, 2)),
        np.arange(n_train) % 10,
        rng.integers(0, 256, (n_test, 3, 2)),
        np.arange(n_test) % 10,
    )
    return {name: idx_bytes(array) for name, array in zip(NAMES, arrays, strict=True)}


def make_spec(
    name: str, contents: dict[str, bytes], *, mirrors: tuple[str, ...] = (), system_folder: Path | None = None
) -> DatasetSpec:
    files = tuple(FileSpec(name, len(raw), hashlib.sha256(raw).hexdigest()) for name, raw in contents.items())
    return DatasetSpec(
        name, files, (name, name.replace("_", "-")), system_folder, mirrors, package=f"install {name}-package"
    )


def write_files(folder: Path, contents: dict[str, bytes], *, packed: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
        else:
            (folder / name).write_bytes(content)


Answer = bytes | int | Callable[[BaseHTTPRequestHandler, threading.Event], None]


class Site:
    """A web server on this machine; `answers` maps a path to its bytes, a status code, or a misbehaviour."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[str] = []
        self.closing = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.requests.append(self.path)
                answer = site.answers.get(self.path, 404)
                if isinstance(answer, int):
                    self.send_response(answer)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                elif isinstance(answer, bytes):
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)
                else:
                    with suppress(OSError):  # the client gives up, as it should
                        answer(self, site.closing)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def serve(self, folder: str, contents: dict[str, bytes]) -> None:
        for name, content in contents.items():
            self.answers[f"{folder}/{name}.gz"] = gzip.compress(content, mtime=0)

    def close(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def silent(handler: BaseHTTPRequestHandler, closing: threading.Event) -> None:
    closing.wait(20)


def trickling(handler: BaseHTTPRequestHandler, closing: threading.Event, chunked: bool = False) -> None:
    """A byte now and then: each one arrives well within any time limit for one read."""
    handler.send_response(200)
    if chunked:
        handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while not closing.wait(0.02):
        handler.wfile.write(b"1\r\nx\r\n" if chunked else b"x")
        handler.wfile.flush()


def cut_short(content: bytes) -> Answer:
    def answer(handler: BaseHTTPRequestHandler, closing: threading.Event) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[: len(content) // 2])

    return answer
