"""From the bytes of a request to what it asks for; a refusal says where, what was expected, and the cure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from token2wave.errors import Token2WaveError
from token2wave.explanation.effects import UNITS
from token2wave.serving.limits import Limits

PREDICT_FIELDS = ("text", "texts", "top_k", "novelty", "threshold", "abstain_below", "abstain_above_novelty")
EXPLAIN_FIELDS = ("text", "unit")
MAX_OBJECTS = 16  # of a body, so that a large one is refused early
SHOWN = 40  # characters of a value that an error repeats
NAMES = {dict: "an object", list: "a list", str: "a string", bool: "a truth value", int: "a whole number"}


class RequestError(Token2WaveError):
    """A request that cannot be answered.

    Args:
        status: HTTP status of the answer.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        problem: str,
        *,
        location: str | None = None,
        hint: str | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(problem, location=location, hint=hint)
        self.status = status
        self.headers = headers

    def to_dict(self) -> dict[str, Any]:
        """The error as JSON has it."""
        return {
            "error": {
                "status": self.status,
                "problem": self.problem,
                "location": self.location,
                "hint": self.hint,
            }
        }


@dataclass(frozen=True)
class PredictRequest:
    """What ``/predict`` is asked.

    Attributes:
        texts: to classify.
        single: whether one text was given, rather than a list.
        top_k: classes to give in ``top``.
        novelty: whether to say how unlike training each text is.
        threshold: probability from which on a text is given a class, where it may have several.
        abstain_below: no label where its probability is below this.
        abstain_above_novelty: no label where a text is more novel than this.
    """

    texts: list[str]
    single: bool
    top_k: int = 1
    novelty: bool = False
    threshold: float | None = None
    abstain_below: float = 0.0
    abstain_above_novelty: float | None = None


@dataclass(frozen=True)
class ExplainRequest:
    """What ``/explain`` is asked: a text, and the unit of its parts."""

    text: str
    unit: str = "word"


def check_content(headers: Mapping[bytes, bytes], limits: Limits) -> None:
    """Check what the headers say of the body.

    Args:
        headers: by name in small letters.
        limits: of the service.

    Raises:
        RequestError: 415, the body is not said to be JSON in UTF-8; 413, it is said to be too large.
    """
    kind, *parameters = headers.get(b"content-type", b"").decode("latin-1").lower().split(";")
    charsets = [name.strip().strip('"') for name in parameters if name.strip().startswith("charset=")]
    if kind.strip() != "application/json" or charsets not in ([], ["charset=utf-8"], ['charset="utf-8']):
        found = headers.get(b"content-type", b"").decode("latin-1")
        raise RequestError(
            415,
            f"expected application/json in UTF-8, found {shown(found) if found else 'nothing'}",
            location="header Content-Type",
            hint="send JSON with the header Content-Type: application/json",
        )
    coding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
    if coding not in ("identity", ""):
        raise RequestError(
            415,
            f"expected a body as it is, found coding {shown(coding)}",
            location="header Content-Encoding",
            hint="send the body uncompressed",
        )
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length[:19]) > limits.body_bytes:
        raise too_large(int(length[:19]), limits)


def too_large(n_bytes: int, limits: Limits) -> RequestError:
    """The refusal of a body."""
    return RequestError(
        413,
        f"expected a body of at most {limits.body_bytes:,} bytes, found {n_bytes:,} or more",
        location="body",
        hint="send fewer texts in a request, or let the service be started with a larger --body-bytes",
    )


def parse_predict(body: bytes, limits: Limits) -> PredictRequest:
    """Read what ``/predict`` is asked.

    Raises:
        RequestError: 400, the body is no JSON; 422, it does not say what it should, or too much.
    """
    given = _object(body, PREDICT_FIELDS)
    if ("text" in given) == ("texts" in given):
        found = "both" if "text" in given else "neither"
        raise RequestError(
            422,
            f"expected either 'text' or 'texts', found {found}",
            location="$",
            hint='send {"text": "..."} or {"texts": ["...", "..."]}',
        )
    single = "text" in given
    texts = [given["text"]] if single else given["texts"]
    if not isinstance(texts, list):
        raise _mistyped("a list of strings", texts, "$.texts")
    if len(texts) > limits.texts:
        raise RequestError(
            422,
            f"expected at most {limits.texts:,} texts, found {len(texts):,}",
            location="$.texts",
            hint="send several requests, or let the service be started with a larger --texts",
        )
    for i, text in enumerate(texts):
        _check_text(
            text, "$.text" if single else f"$.texts[{i}]", limits.text_characters, "--text-characters"
        )
    return PredictRequest(
        texts,
        single,
        _whole_number(given, "top_k", 1),
        _truth(given, "novelty"),
        _share(given, "threshold"),
        _share(given, "abstain_below") or 0.0,
        _share(given, "abstain_above_novelty"),
    )


def parse_explain(body: bytes, limits: Limits) -> ExplainRequest:
    """Read what ``/explain`` is asked.

    Raises:
        RequestError: as :func:`parse_predict`.
    """
    given = _object(body, EXPLAIN_FIELDS)
    text, unit = _text_to_explain(given, limits), given.get("unit", "word")
    if unit not in UNITS:
        raise RequestError(
            422,
            f"expected one of {', '.join(UNITS)}, found {shown(unit)}",
            location="$.unit",
            hint="choose one",
        )
    return ExplainRequest(text, unit)


def _text_to_explain(given: dict[str, Any], limits: Limits) -> str:
    if "text" not in given:
        raise RequestError(422, "expected 'text', found nothing", location="$", hint='send {"text": "..."}')
    text: str = given["text"]
    most = min(limits.explain_characters, limits.text_characters)
    _check_text(text, "$.text", most, "--explain-characters")
    return text


def _object(body: bytes, names: tuple[str, ...]) -> dict[str, Any]:
    """Read a JSON object that has no fields but these."""
    try:
        decoder = json.JSONDecoder(object_pairs_hook=_Pairs(), parse_constant=_no_constant)
        given = decoder.decode(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RequestError(
            400,
            f"expected UTF-8, found byte 0x{body[error.start]:02x} ({error.reason})",
            location=f"body, byte {error.start}",
            hint="encode the body in UTF-8",
        ) from error
    except json.JSONDecodeError as error:
        raise RequestError(
            400,
            f"expected JSON: {error.msg}",
            location=f"body, line {error.lineno}, column {error.colno}",
            hint="write strings in double quotes, and nothing after the object",
        ) from error
    except RecursionError as error:
        raise RequestError(
            400,
            "expected a flat object, found one nested too deeply",
            location="body",
            hint="send a flat object",
        ) from error
    except ValueError as error:  # from the hooks below, or a whole number of thousands of digits
        raise RequestError(
            400, f"expected JSON as RFC 8259 has it: {error}", location="body", hint="correct the body"
        ) from error
    if not isinstance(given, dict):
        raise _mistyped("an object", given, "$")
    for name in given:
        if name not in names:
            raise RequestError(
                422,
                f"expected no fields but {', '.join(names)}, found {shown(name)}",
                location="$",
                hint="leave it out, or correct its name",
            )
    return given


class _Pairs:
    """Makes the objects of a body, which are few, as nobody has to ask with one in another."""

    def __init__(self) -> None:
        self._n_left = MAX_OBJECTS

    def __call__(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        self._n_left -= 1
        if self._n_left < 0:
            raise ValueError(f"there are more than {MAX_OBJECTS} objects")
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs[:100]]
            twice = next((name for i, name in enumerate(names) if name in names[:i]), "a name")
            raise ValueError(f"{shown(twice)} is there twice in an object")
        return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _check_text(text: Any, where: str, most: int, option: str) -> None:
    if not isinstance(text, str):
        raise _mistyped("a string", text, where)
    if len(text) > most:
        raise RequestError(
            422,
            f"expected at most {most:,} characters, found {len(text):,}",
            location=where,
            hint=f"shorten the text, or let the service be started with a larger {option}",
        )


def _whole_number(given: dict[str, Any], name: str, default: int) -> int:
    value = _whole(given.get(name, default))
    if type(value) is not int or value < 1:
        raise _mistyped("a whole number from 1 on", value, f"$.{name}")
    return value


def _whole(value: Any) -> Any:
    """A whole number as such, as JSON does not tell 1 from 1.0; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _truth(given: dict[str, Any], name: str) -> bool:
    value = given.get(name, False)
    if not isinstance(value, bool):
        raise _mistyped("true or false", value, f"$.{name}")
    return value


def _share(given: dict[str, Any], name: str) -> float | None:
    if name not in given:
        return None
    value = given[name]
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise _mistyped("a number from 0 to 1", value, f"$.{name}")
    return float(value)


def _mistyped(expected: str, value: Any, where: str) -> RequestError:
    named = "null" if value is None else NAMES.get(type(value), "a number")
    found = named if isinstance(value, dict | list) or value is None else f"{named}, {shown(value)}"
    return RequestError(422, f"expected {expected}, found {found}", location=where, hint=f"send {expected}")


def shown(value: Any) -> str:
    """A value as an error repeats it: short, and in characters that can be printed."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**SHOWN:
        return "one of many digits"
    cut = value[: SHOWN + 1] if isinstance(value, str) else value
    written = json.dumps(cut, ensure_ascii=True)
    return written if len(written) <= SHOWN else f"{written[:SHOWN]}..."
