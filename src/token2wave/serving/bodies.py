"""Bodies of requests and answers: one definition validates them, and describes them in OpenAPI."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, defstruct

from token2wave.errors import Token2WaveError
from token2wave.explanation.effects import UNITS
from token2wave.features.pairs import join_pair

if TYPE_CHECKING:
    from token2wave.classifier import Classifier
    from token2wave.serving.limits import ServiceLimits

Headers = tuple[tuple[str, str], ...]
MAX_TOP_K = 1_000_000
MAX_QUOTED = 40  # characters of a value that an error message repeats
LOCATION = re.compile(r"(.*) - at `(.*)`", re.DOTALL)  # of msgspec's errors
PLACE = re.compile(r"(.*) \(byte (\d+)\)", re.DOTALL)
KNOWN = Annotated[bool, Meta(description="False if the model knows nothing of the text.")]
HINTS = {
    "expected either": 'send {"text": "..."} or {"texts": ["...", "..."]}',
    "unknown field": "leave it out, or correct its name",
    "`array` of length <=": "send several requests, or start the service with a larger --texts",
    "`str` of length <=": "shorten the text, or start the service with a larger OPTION",
}


class RequestError(Token2WaveError):
    """A request that cannot be answered.

    Args:
        status: HTTP status of the answer.
        headers: further headers of the answer.
        details: ``location`` and ``hint``; see :class:`token2wave.errors.Token2WaveError`.
    """

    def __init__(self, status: int, problem: str, *, headers: Headers = (), **details: str | None) -> None:
        super().__init__(problem, **details)
        self.status, self.headers = status, headers

    def to_dict(self) -> dict[str, Any]:
        """The error as it is sent."""
        names = ("status", "problem", "location", "hint")
        return {"error": {name: getattr(self, name) for name in names}}


class ErrorDetails(Struct):
    """What was expected and found, where, and what to change."""

    status: int
    problem: Annotated[str, Meta(description="What was expected and what was found.")]
    location: str | None
    hint: Annotated[str | None, Meta(description="What to change.")]


class Error(Struct):
    """The answer to a request that cannot be answered."""

    error: ErrorDetails


class Health(Struct):
    """Whether the service is alive, or takes requests."""

    status: Literal["live", "ready", "shutting down"]


class ModelEntry(Struct):
    """A model in the list of models."""

    model: str
    checksum: Annotated[str, Meta(description="Of all that predictions depend on.")]
    labels: int
    is_default: Annotated[bool, Meta(description="Whether routes without a name use it.")]


class ModelList(Struct):
    """The models of the service."""

    version: Annotated[str, Meta(description="Version of token2wave that serves.")]
    models: list[ModelEntry]


class Info(Struct):
    """Description of a model; it may have further fields."""

    model: str
    checksum: str
    version: str
    labels: list[str]
    parameters: int
    computes_with: Literal["native core", "numpy", "torch"]
    features: dict[str, Any]
    network: dict[str, Any]
    training: dict[str, Any]


class Class(Struct):
    """A class and its probability."""

    label: str
    probability: Annotated[float, Meta(ge=0, le=1)]


@dataclass(frozen=True)
class Bodies:
    """Types of the bodies that a model takes and gives.

    Attributes:
        predict: of a request to predict, with one text or with a list.
        requests: the two kinds of it, as OpenAPI describes them.
        line: a line of NDJSON.
        options: of the query of a request in NDJSON.
        explain: of a request to explain.
        prediction: the answer for one text.
        answers: to a request with one text, and with a list.
        explanation: the answer to a request to explain.
    """

    predict: type[Struct]
    requests: tuple[type[Struct], type[Struct]]
    line: type[Struct]
    options: type[Struct]
    explain: type[Struct]
    prediction: type[Struct]
    answers: tuple[type[Struct], type[Struct]]
    explanation: type[Struct]


def bodies_of(classifier: Classifier, limits: ServiceLimits) -> Bodies:
    """The types for a model. Options that it does not support are left out; see `unsupported_options`."""
    unsupported = unsupported_options(classifier)
    supported = ("abstain_below", "threshold", "abstain_above_novelty")
    scores = None if classifier.scale is None else classifier.scale.target
    return _bodies(
        limits,
        classifier.is_pairs,
        classifier.multi_label,
        scores is not None,
        frozenset(name for name in supported if name not in unsupported),
    )


def unsupported_options(classifier: Classifier) -> dict[str, str]:
    """Options of ``/predict`` that the model cannot honour, each with the reason."""
    unsupported = {}
    if classifier.multi_label:
        unsupported["abstain_below"] = "the model assigns only labels that reach their thresholds"
    else:
        if classifier.scale is not None and classifier.scale.target == "score":
            unsupported["abstain_below"] = "the model predicts scores, no labels"
        unsupported["threshold"] = "the model assigns one label to each text; use abstain_below"
    if classifier.novelty_reference is None:
        unsupported["abstain_above_novelty"] = "the model cannot measure novelty"
    return unsupported


@cache
def _bodies(
    limits: ServiceLimits, is_pairs: bool, multi_label: bool, has_scores: bool, supported: frozenset[str]
) -> Bodies:
    prefix = "".join(
        name for name, yes in (("Pair", is_pairs), ("MultiLabel", multi_label), ("Score", has_scores)) if yes
    )

    def text(max_length: int) -> Any:
        single = Annotated[str, Meta(max_length=max_length)]
        return tuple[single, single] if is_pairs else single

    def struct(name: str, fields: list[Any], **settings: Any) -> type[Struct]:
        return defstruct(prefix + name, fields, kw_only=True, module=__name__, **settings)

    one_text = text(limits.text_characters)
    texts = Annotated[list[one_text], Meta(max_length=limits.texts)]  # type: ignore[valid-type]
    one_explained = text(min(limits.explain_characters, limits.text_characters))
    options, strict = _options(supported), {"forbid_unknown_fields": True}
    either = [("text", one_text | UnsetType, UNSET), ("texts", texts | UnsetType, UNSET)]
    served = [("model", str), ("checksum", str)]
    answered = _prediction(multi_label, has_scores)
    prediction = struct("PredictionOfText", answered)
    explained = _explanation(struct("Effect", _effect(is_pairs)))
    return Bodies(
        struct("Request", [*either, *options], namespace={"__post_init__": _require_either}, **strict),
        (
            struct("TextRequest", [("text", one_text), *options], **strict),
            struct("TextsRequest", [("texts", texts), *options], **strict),
        ),
        struct("Line", [("text", one_text)], **strict),
        struct("Options", options, **strict),
        struct("ExplainRequest", [("text", one_explained), ("unit", Literal[UNITS], UNITS[1])], **strict),
        prediction,
        (
            struct("Prediction", [*answered, *served]),
            struct("Predictions", [("predictions", list[prediction]), *served]),  # type: ignore[valid-type]
        ),
        struct("Explanation", [*explained, *served]),
    )


def _options(supported: frozenset[str]) -> list[Any]:
    """Fields of the options of a request to predict."""
    # JSON does not tell 1 from 1.0, so both are whole numbers; OpenAPI calls them integers.
    top_k = Meta(ge=1, le=MAX_TOP_K, multiple_of=1, description="Number of classes in 'top'.")
    options: list[Any] = [
        ("top_k", Annotated[float, top_k], 1),
        ("novelty", Annotated[bool, Meta(description="Also measure how unusual each text is.")], False),
    ]
    for name, description in (
        ("threshold", "Assign each label with this probability or more; replaces the model's own."),
        ("abstain_below", "Give no label if its probability is lower, or, above 0, if nothing is known."),
        ("abstain_above_novelty", "Give no label if the novelty is higher, or nothing is known."),
    ):
        if name in supported:
            bounds = Annotated[float, Meta(ge=0, le=1, description=description)]
            options.append((name, bounds | UnsetType, UNSET))
    return options


def _prediction(multi_label: bool, has_scores: bool) -> list[Any]:
    """Fields of the prediction of a text."""
    label = Annotated[str | None, Meta(description="The most probable class; null if abstaining.")]
    probability = Annotated[float, Meta(ge=0, le=1)]
    fields: list[Any] = (
        [("labels", list[Class])] if multi_label else [("label", label), ("probability", probability)]
    )
    if has_scores:
        interval = Annotated[list[float], Meta(min_length=2, max_length=2)]
        fields += [("score", float | None), ("interval", interval | None)]
    novelty = Meta(description="Fraction of validation texts that are less unusual; null if not measured.")
    return [*fields, ("novelty", Annotated[float | None, novelty]), ("known", KNOWN), ("top", list[Class])]


def _effect(is_pairs: bool) -> list[Any]:
    """Fields of the effect of a word."""
    start, numbers = Annotated[int, Meta(description="In code points.")], list[float | None]
    fields: list[Any] = [("text", str), ("start", start), ("end", int), ("energy", float | None)]
    fields += [("effects", numbers), ("logit_effects", numbers), ("known", bool)]
    if is_pairs:
        fields.append(("shared", Annotated[bool, Meta(description="Whether both texts have it.")]))
    return fields


def _explanation(effect: type[Struct]) -> list[Any]:
    """Fields of an explanation."""
    complete = Annotated[bool, Meta(description="False if time ran out before the end of the text.")]
    fields: list[Any] = [("text", str), ("unit", str), ("label", str), ("label_names", list[str])]
    fields += [("probabilities", list[float | None]), ("logits", list[float | None])]
    return [*fields, ("parts", list[effect]), ("complete", complete), ("known", KNOWN)]  # type: ignore[valid-type]


def _require_either(self: Any) -> None:
    single = self.text is not UNSET
    if single == (self.texts is not UNSET):
        raise ValueError(f"expected either 'text' or 'texts', found {'both' if single else 'neither'}")


def decode(body: bytes, body_type: type[Struct], option: str, classifier: Classifier) -> Any:
    """Decode and validate a body.

    Args:
        body: JSON in UTF-8.
        body_type: of :class:`Bodies`.
        option: of the command line, which raises the limit of a text.
        classifier: tells why it lacks an option.

    Raises:
        RequestError: 400, the body is not JSON in UTF-8; 422, it is not valid, or exceeds a limit.
    """
    try:
        return msgspec.json.decode(body, type=body_type)
    except msgspec.ValidationError as error:
        raise invalid_error(str(error), option, unsupported_options(classifier)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        place = PLACE.fullmatch(str(error))
        problem, location = (place[1], f"body, byte {place[2]}") if place else (str(error), "body")
        hint = "send JSON in UTF-8, as in RFC 8259, without a byte order mark"
        raise RequestError(400, f"expected JSON: {problem}", location=location, hint=hint) from None


def decode_query(query: dict[str, str], options_type: type[Struct], classifier: Classifier) -> Any:
    """Validate options of the query of a request in NDJSON.

    Raises:
        RequestError: 422, see :func:`decode`.
    """
    try:
        return msgspec.convert(query, options_type, strict=False)
    except msgspec.ValidationError as error:
        raise invalid_error(str(error), "", unsupported_options(classifier)) from None


def invalid_error(message: str, option: str, unsupported: dict[str, str]) -> RequestError:
    """The error of a body that is JSON but not valid, from msgspec's message."""
    match = LOCATION.fullmatch(message)
    problem, location = (match[1], match[2]) if match else (message, "$")
    hint = next((hint for words, hint in HINTS.items() if words in problem), "send what is expected")
    for name, reason in unsupported.items():
        if f"unknown field `{name}`" in problem:
            problem, location, hint = f"expected no {name}: {reason}", f"$.{name}", "leave it out"
    problem = problem.replace("`", "").replace(", got ", ", found ")
    problem = problem[:1].lower() + problem[1:]
    if not problem.startswith("expected"):
        problem = f"expected what the service describes: {problem}"
    if len(problem) > 200:  # it repeats the name of a field
        problem = problem[:200] + "..."
    return RequestError(422, problem, location=location[:200], hint=hint.replace("OPTION", option))


def texts_of(request: Any, is_pairs: bool) -> list[str]:
    """The texts of a request, a pair joined to one."""
    texts = request.texts if request.text is UNSET else [request.text]
    return [join_pair(*pair) for pair in texts] if is_pairs else texts


def quote(value: str) -> str:
    """Quote a value in an error message: shortened, in ASCII."""
    quoted = ascii(value[: MAX_QUOTED + 1])
    return quoted if len(quoted) <= MAX_QUOTED else f"{quoted[:MAX_QUOTED]}..."
