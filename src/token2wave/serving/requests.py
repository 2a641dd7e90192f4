"""Parses and validates requests. The tables of options are the source of the OpenAPI description, too."""

from __future__ import annotations

import codecs
import ipaddress
import json
import re
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from token2wave.errors import ConfigError, Token2WaveError
from token2wave.explanation.effects import UNITS
from token2wave.features.pairs import join_pair
from token2wave.serving.limits import ServiceLimits

if TYPE_CHECKING:
    from token2wave.classifier import Classifier

Headers = tuple[tuple[bytes, bytes], ...]
Schema = dict[str, Any]
HOST = re.compile(r"(\[[\da-fA-F:.]+\]|[\w.~-]+)(:\d{0,5})?", re.ASCII)
MAX_OBJECTS = 16  # in a body; a valid one has a single object, so large invalid ones are refused early
MAX_QUOTED = 40  # characters of a value that an error message repeats
TYPE_NAMES = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "an integer"}
PROBABILITY: Schema = {"type": "number", "minimum": 0, "maximum": 1}


class Option(NamedTuple):
    """An optional field of a request: the value that error messages ask for, and its JSON schema."""

    expected: str
    schema: Schema


def _probability(description: str) -> Option:
    return Option("a number from 0 to 1", {**PROBABILITY, "description": description})


PREDICT_OPTIONS = {
    "top_k": Option(
        "a whole number from 1 on",
        {"type": "integer", "minimum": 1, "default": 1, "description": "Number of classes in 'top'."},
    ),
    "novelty": Option(
        "true or false",
        {"type": "boolean", "default": False, "description": "Also measure how unusual each text is."},
    ),
    "threshold": _probability("Assign each label with this probability or more; replaces the model's own."),
    "abstain_below": _probability(
        "Give no label if its probability is lower, or, above 0, if nothing of the text is known."
    ),
    "abstain_above_novelty": _probability(
        "Give no label if the novelty of the text is higher, or nothing of it is known."
    ),
}
EXPLAIN_OPTIONS = {
    "unit": Option(f"one of {', '.join(UNITS)}", {"type": "string", "enum": list(UNITS), "default": UNITS[1]})
}
TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "boolean": (bool,),
    "number": (int, float),
    "string": (str,),
}


class RequestError(Token2WaveError):
    """A request that cannot be answered.

    Args:
        status: HTTP status of the response.
        headers: further headers of the response.
        details: ``location`` and ``hint``; see :class:`token2wave.errors.Token2WaveError`.
    """

    def __init__(self, status: int, problem: str, *, headers: Headers = (), **details: str | None) -> None:
        super().__init__(problem, **details)
        self.status = status
        self.headers = headers

    def to_dict(self) -> dict[str, Any]:
        """The error as it is sent."""
        names = ("status", "problem", "location", "hint")
        return {"error": {name: getattr(self, name) for name in names}}


class PredictRequest(NamedTuple):
    """A request to ``/predict``. ``single`` if the body has one text, not a list."""

    texts: list[str]
    single: bool
    top_k: int = 1
    novelty: bool = False
    threshold: float | None = None
    abstain_below: float = 0.0
    abstain_above_novelty: float | None = None


class ExplainRequest(NamedTuple):
    """A request to ``/explain``."""

    text: str
    unit: str = "word"


def unsupported_options(classifier: Classifier) -> dict[str, tuple[str, str]]:
    """Options of ``/predict`` that the model cannot honour, each with the reason and a hint."""
    unsupported = {}
    if classifier.multi_label:
        reason = "the model assigns only labels that reach their thresholds"
        unsupported["abstain_below"] = reason, "leave it out, or use threshold"
    else:
        if classifier.scale is not None and classifier.scale.target == "score":
            unsupported["abstain_below"] = "the model predicts scores, no labels", "leave it out"
        unsupported["threshold"] = (
            "the model assigns one label to each text",
            "leave it out, or use abstain_below",
        )
    if classifier.novelty_reference is None:
        reason = "the model cannot measure novelty"
        unsupported["abstain_above_novelty"] = (
            reason,
            "leave it out, or train the model with validation texts",
        )
    return unsupported


def parse_host(host: str) -> str | None:
    """Return the name or address in a Host header, without the port; None if it is malformed."""
    match = HOST.fullmatch(host.strip())
    if match is None:
        return None
    name = match[1].strip("[]").lower().rstrip(".")
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_allowed_hosts(hosts: Sequence[str]) -> frozenset[str]:
    """Return the hosts that requests may name, as `parse_host` returns them; ``*`` stands for all.

    Raises:
        ConfigError: one is neither a name nor an address.
    """
    names = {host: host if host == "*" else parse_host(host) for host in hosts}
    for host, name in names.items():
        if name is None:
            problem, hint = f"expected a name or an address, found {quote(host)}", "give it without http://"
            raise ConfigError(problem, location="--allow-host", hint=hint)
    return frozenset(name for name in names.values() if name is not None)


def check_host(headers: Sequence[tuple[bytes, bytes]], address: str, allowed: Container[str]) -> None:
    """Check that a request is for this service, not for a name that an attacker lets point to it.

    Args:
        headers: names in lower case.
        address: of the service, at which the request arrived.
        allowed: further hosts; ``*`` allows all.

    Raises:
        RequestError: 400, not exactly one Host header; 421, it names another host.
    """
    hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
    name = parse_host(hosts[0]) if len(hosts) == 1 else None
    if name is None:
        value = quote(hosts[0]) if len(hosts) == 1 else f"{len(hosts)} of them"
        problem = f"expected one Host header with a name or an address, found {value}"
        raise RequestError(400, problem, location="header Host", hint="send the address of the service")
    if not (is_loopback(name) or name == address or name in allowed or "*" in allowed):
        problem = f"expected an address of this service, found {quote(name)}"
        hint = f"start the service with --allow-host {name[:MAX_QUOTED]}, if it is one"
        raise RequestError(421, problem, location="header Host", hint=hint)


def check_headers(headers: Mapping[bytes, bytes], limits: ServiceLimits) -> None:
    """Check the headers that describe the body.

    Args:
        headers: names in lower case.
        limits: of the service.

    Raises:
        RequestError: 415, the body is not JSON in UTF-8; 413, it is too large.
    """
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    media_type, *parameters = content_type.lower().split(";")
    charsets = [name.strip().replace('"', "") for name in parameters if name.strip().startswith("charset=")]
    if media_type.strip() != "application/json" or charsets not in ([], ["charset=utf-8"]):
        problem = (
            f"expected application/json in UTF-8, found {quote(content_type) if content_type else 'nothing'}"
        )
        hint = "send JSON with the header Content-Type: application/json"
        raise RequestError(415, problem, location="header Content-Type", hint=hint)
    encoding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
    if encoding not in ("identity", ""):
        problem = f"expected an uncompressed body, found encoding {quote(encoding)}"
        hint = "send the body uncompressed"
        raise RequestError(415, problem, location="header Content-Encoding", hint=hint)
    length = headers.get(b"content-length", b"")
    if length.isdigit():
        check_body_size(int(length[:19]), limits)


def check_body_size(n_bytes: int, limits: ServiceLimits) -> None:
    """Check the size of a body, or of the beginning of one.

    Raises:
        RequestError: 413, it is too large.
    """
    if n_bytes > limits.body_bytes:
        problem = f"expected a body of at most {limits.body_bytes:,} bytes, found {n_bytes:,} or more"
        hint = "send fewer texts in a request, or start the service with a larger --body-bytes"
        raise RequestError(413, problem, location="body", hint=hint)


def parse_predict(body: bytes, limits: ServiceLimits, classifier: Classifier) -> PredictRequest:
    """Parse a request to ``/predict``.

    Raises:
        RequestError: 400, the body is not JSON; 422, it is not a valid request, or exceeds a limit.
    """
    document = _parse_object(body, ("text", "texts", *PREDICT_OPTIONS))
    single = "text" in document
    if single == ("texts" in document):
        problem = f"expected either 'text' or 'texts', found {'both' if single else 'neither'}"
        hint = 'send {"text": "..."} or {"texts": ["...", "..."]}'
        raise RequestError(422, problem, location="$", hint=hint)
    texts = [document["text"]] if single else document["texts"]
    if not isinstance(texts, list):
        raise _type_error("a list of strings", texts, "$.texts")
    if len(texts) > limits.texts:
        problem = f"expected at most {limits.texts:,} texts, found {len(texts):,}"
        hint = "send several requests, or start the service with a larger --texts"
        raise RequestError(422, problem, location="$.texts", hint=hint)
    check = _check_pair if classifier.is_pairs else _check_text
    for i, text in enumerate(texts):
        location = "$.text" if single else f"$.texts[{i}]"
        check(text, location, limits.text_characters, "--text-characters")
    if classifier.is_pairs:
        texts = [join_pair(*pair) for pair in texts]
    for name, (reason, hint) in unsupported_options(classifier).items():
        if name in document:
            raise RequestError(422, f"expected no {name}: {reason}", location=f"$.{name}", hint=hint)
    return PredictRequest(texts, single, **_parse_options(document, PREDICT_OPTIONS))


def parse_explain(body: bytes, limits: ServiceLimits, classifier: Classifier) -> ExplainRequest:
    """Parse a request to ``/explain``.

    Raises:
        RequestError: see :func:`parse_predict`.
    """
    document = _parse_object(body, ("text", *EXPLAIN_OPTIONS))
    if "text" not in document:
        raise RequestError(422, "expected 'text', found nothing", location="$", hint='send {"text": "..."}')
    max_characters = min(limits.explain_characters, limits.text_characters)
    text, check = document["text"], _check_pair if classifier.is_pairs else _check_text
    check(text, "$.text", max_characters, "--explain-characters")
    text = join_pair(*text) if classifier.is_pairs else text
    return ExplainRequest(text, **_parse_options(document, EXPLAIN_OPTIONS))


def _parse_options(document: dict[str, Any], options: dict[str, Option]) -> dict[str, Any]:
    """Check the options of a request against their schemas."""
    values = {}
    for name, (expected, schema) in options.items():
        if name not in document:
            continue
        value = document[name]
        if schema["type"] == "integer" and isinstance(value, float) and value.is_integer():
            value = int(value)  # JSON does not tell 1 from 1.0
        if (
            type(value) not in TYPES[schema["type"]]
            or value < schema.get("minimum", value)
            or value > schema.get("maximum", value)
            or value not in schema.get("enum", [value])
        ):
            raise _type_error(expected, value, f"$.{name}")
        values[name] = value
    return values


def _parse_object(body: bytes, names: tuple[str, ...]) -> dict[str, Any]:
    """Parse a JSON object that has no fields but these."""
    if not body.strip() or body.startswith(codecs.BOM_UTF8):
        problem = f"expected JSON, found {'a byte order mark' if body.strip() else 'an empty body'}"
        hint = "send JSON in UTF-8, without a byte order mark"
        raise RequestError(400, problem, location="body", hint=hint)
    try:
        decoder = json.JSONDecoder(object_pairs_hook=_ObjectHook(), parse_constant=_refuse_constant)
        document = decoder.decode(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        problem = f"expected UTF-8, found byte 0x{body[error.start]:02x} ({error.reason})"
        location = f"body, byte {error.start}"
        raise RequestError(400, problem, location=location, hint="encode the body in UTF-8") from error
    except json.JSONDecodeError as error:
        location = f"body, line {error.lineno}, column {error.colno}"
        hint = "put strings in double quotes, and nothing after the object"
        raise RequestError(400, f"expected JSON: {error.msg}", location=location, hint=hint) from error
    except RecursionError as error:
        problem = "expected a flat object, found deeply nested values"
        raise RequestError(400, problem, location="body", hint="send a flat object") from error
    except ValueError as error:  # of the hooks below, or of an integer of thousands of digits
        problem = f"expected JSON as in RFC 8259: {error}"
        raise RequestError(400, problem, location="body", hint="correct the body") from error
    if not isinstance(document, dict):
        raise _type_error("an object", document, "$")
    for name in document:
        if name not in names:
            problem = f"expected no fields but {', '.join(names)}, found {quote(name)}"
            raise RequestError(422, problem, location="$", hint="leave it out, or correct its name")
    return document


class _ObjectHook:
    """Makes a dictionary of each JSON object; refuses repeated names and too many objects."""

    def __init__(self) -> None:
        self._n_left = MAX_OBJECTS

    def __call__(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        self._n_left -= 1
        if self._n_left < 0:
            raise ValueError(f"found more than {MAX_OBJECTS} objects")
        fields = dict(pairs)
        if len(fields) < len(pairs):
            names = [name for name, _ in pairs[:100]]
            repeated = next((name for i, name in enumerate(names) if name in names[:i]), "a name")
            raise ValueError(f"found {quote(repeated)} twice in an object")
        return fields


def _refuse_constant(name: str) -> None:
    raise ValueError(f"found {name}, which is not a JSON number")


def _check_text(text: Any, location: str, max_characters: int, option: str) -> None:
    if not isinstance(text, str):
        raise _type_error("a string", text, location)
    if len(text) > max_characters:
        problem = f"expected at most {max_characters:,} characters, found {len(text):,}"
        hint = f"shorten the text, or start the service with a larger {option}"
        raise RequestError(422, problem, location=location, hint=hint)


def _check_pair(pair: Any, location: str, max_characters: int, option: str) -> None:
    """Check that a value is a list of two texts."""
    if not isinstance(pair, list) or len(pair) != 2:
        raise _type_error("a list of two strings", pair, location)
    for i, text in enumerate(pair):
        _check_text(text, f"{location}[{i}]", max_characters, option)


def _type_error(expected: str, value: Any, location: str) -> RequestError:
    value_name = "null" if value is None else TYPE_NAMES.get(type(value), "a number")
    if not isinstance(value, dict | list | None):
        value_name += f", {quote(value)}"
    return RequestError(
        422, f"expected {expected}, found {value_name}", location=location, hint=f"send {expected}"
    )


def quote(value: Any) -> str:
    """Quote a value in an error message: shortened, in ASCII."""
    if isinstance(value, int) and abs(value) >= 10**MAX_QUOTED:
        return "one of many digits"
    quoted = json.dumps(value[: MAX_QUOTED + 1] if isinstance(value, str) else value)
    return quoted if len(quoted) <= MAX_QUOTED else f"{quoted[:MAX_QUOTED]}..."
