"""A W&B server on the loopback interface, small and as ill-behaved as a test wants it to be."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class LoopbackServer:
    """Serves from its creation until `stop`.

    Args:
        behaviour: "good" answers as W&B does, "hang" never answers, "nonsense" answers with valid JSON that means
            nothing, and a number is the HTTP status of every answer.

    Attributes:
        address: what WANDB_BASE_URL should be.
        requests: method, path, Authorization header and body of what was asked, oldest first.
    """

    def __init__(self, behaviour: str = "good") -> None:
        self.behaviour = behaviour
        self.requests: list[tuple[str, str, str, bytes]] = []
        self._stopping = threading.Event()
        # One connection a request (HTTP/1.0), so that none outlives the server.
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self._thread.start()

    def __enter__(self) -> LoopbackServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Close the port; can be called twice."""
        if not self._stopping.is_set():
            self._stopping.set()
            self._http.shutdown()
            self._thread.join()
            self._http.server_close()

    def _handler(server) -> type[BaseHTTPRequestHandler]:
        # Named `server` because `self` is the request in the methods below.
        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                server.requests.append((self.command, self.path, self.headers.get("Authorization", ""), body))
                if server.behaviour == "hang":
                    server._stopping.wait(60)
                    return
                status = int(server.behaviour) if server.behaviour.isdigit() else 200
                reply = server._reply(body) if server.behaviour == "good" else {}
                content = json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = _answer

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler

    def _reply(self, body: bytes) -> dict[str, Any]:
        """What W&B's GraphQL interface says to the few questions that a run asks; {} to all else."""
        try:
            question = json.loads(body)
            query, variables = question["query"], question.get("variables") or {}
        except (ValueError, KeyError, TypeError):
            return {}
        if "upsertBucket" in query:
            project = {"id": "cHJvamVjdA==", "name": "demo", "entity": {"id": "ZW50aXR5", "name": "someone"}}
            bucket = {"id": "cnVu", "name": variables["name"], "displayName": "demo", "description": "", "config": "{}"}
            bucket |= {"sweepName": None, "project": project, "historyLineCount": 0}
            return {"data": {"upsertBucket": {"bucket": bucket, "inserted": True}}}
        if "createRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.address}/upload/{name}"} for name in variables["files"]]
            return {"data": {"createRunFiles": {"runID": "cnVu", "uploadHeaders": [], "files": files}}}
        if "viewer" in query:
            account = {"id": "dXNlcg==", "entity": "someone", "username": "someone", "email": "someone@example.org"}
            return {"data": {"viewer": account | {"flags": "{}", "teams": {"edges": []}, "apiKeys": {"edges": []}}}}
        if "query ArtifactType" in query:
            return {"data": {"project": {"artifact": None}}}
        if "createArtifact(" in query:
            made = {"id": "YXJ0", "state": "COMMITTED", "artifactSequence": {"latestArtifact": {"id": "YXJ0"}}}
            return {"data": {"createArtifact": {"artifact": made}}}
        return {"data": {}}
