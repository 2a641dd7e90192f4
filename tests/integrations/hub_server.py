"""A hub on 127.0.0.1 with repositories in memory, for the hub's client."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

SHA = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Files of each repository by name, and the requests so far."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def running_hub() -> Iterator[Hub]:
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self._body()
        path = self._path()
        if path == "/api/repos/create":
            wish = json.loads(body)
            name = f"{wish['organization']}/{wish['name']}" if wish.get("organization") else wish["name"]
            self.server.repositories.setdefault(name, {})
            self._json({"url": f"{self.server.address}/{name}", "id": name})
        elif path == "/api/validate-yaml":
            self._validate(json.loads(body)["content"])
        elif match := re.fullmatch("/api/models/(.+/.+)/preupload/(.+)", path):
            files = json.loads(body)["files"]
            modes = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                for file in files
            ]
            self._json({"files": modes})
        elif match := re.fullmatch("/api/models/(.+/.+)/commit/(.+)", path):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.server.repositories[match[1]][line["value"]["path"]] = content
            address = f"{self.server.address}/{match[1]}/commit/{SHA}"
            self._json({"success": True, "commitOid": SHA, "commitUrl": address, "hookOutput": ""})
        else:
            self._missing("EntryNotFound")

    def _validate(self, content: str) -> None:
        data = yaml.safe_load(content.split("---")[1])
        named = isinstance(data, dict) and all(model.get("name") for model in data.get("model-index", []))
        errors = [] if named else [{"message": "expected YAML with names of models"}]
        self._send(200 if named else 400, json.dumps({"errors": errors, "warnings": []}).encode(), {})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self._path()
        if match := re.fullmatch("/api/models/([^/]+/[^/]+)(/revision/.+)?", path):
            files = self.server.repositories.get(match[1])
            if files is None:
                return self._missing("RepoNotFound")
            siblings = [{"rfilename": name} for name in files]
            return self._json(
                {"id": match[1], "sha": SHA, "siblings": siblings, "tags": [], "private": False}
            )
        if match := re.fullmatch("/api/models/([^/]+/[^/]+)/tree/[^/]+(/.*)?", path):
            files = self.server.repositories.get(match[1])
            if files is None or match[2]:
                return self._missing("EntryNotFound")
            return self._json(
                [
                    {"type": "file", "path": name, "size": len(text), "oid": SHA}
                    for name, text in files.items()
                ]
            )
        if match := re.fullmatch("/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            files = self.server.repositories.get(match[1])
            if files is None:
                return self._missing("RepoNotFound")
            if match[2] not in files:
                return self._missing("EntryNotFound")
            content = files[match[2]]
            tag = hashlib.sha1(content).hexdigest()
            return self._send(200, content, {"ETag": f'"{tag}"', "X-Repo-Commit": SHA})
        return self._missing("EntryNotFound")

    def _path(self) -> str:
        path = self.path.split("?")[0]
        self.server.asked.append(f"{self.command} {path}")
        self.server.tokens.add(self.headers.get("Authorization"))
        return path

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        segments = []
        while size := int(self.rfile.readline(), 16):
            segments.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(segments)

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _missing(self, code: str) -> None:
        self._send(404, b"", {"X-Error-Code": code, "X-Error-Message": code, "X-Repo-Commit": SHA})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
