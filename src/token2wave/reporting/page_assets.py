"""Assembles web pages of one file: style and script are inside, and no other script may run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from html import escape
from importlib import resources
from typing import Any

LEFT_OUT = re.compile(
    r"^ *(?://[^\n]*\n|/\*\*.*?\*/\n|import [^;]+;\n|export )|^ +", re.MULTILINE | re.DOTALL
)


def page_resource(name: str) -> str:
    """Read a file of the pages' folder."""
    return resources.files("token2wave").joinpath(f"serving/page/{name}").read_text("utf-8")


def join_modules(names: Iterable[str]) -> str:
    """Join modules to one script, because a file cannot import others without a server.

    Lines of comments and indentation, a sixth of the bytes, are left out.
    """
    source = "\n".join(page_resource(f"{name}.js") for name in names)
    return LEFT_OUT.sub("", source)


def content_policy(script: str, style: str, connect: str = "'none'") -> str:
    """The escaped content security policy of a page with one script and one style sheet."""
    return escape(
        f"default-src 'none'; script-src 'sha256-{_digest(script)}'; style-src 'sha256-{_digest(style)}'; "
        f"connect-src {connect}; img-src data:; base-uri 'none'; form-action 'none'"
    )


def json_element(name: str, value: Any) -> str:
    """A script element that holds JSON; no text in it can end the element."""
    content = json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{content}</script>'


def _digest(source: str) -> str:
    return base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode("ascii")
