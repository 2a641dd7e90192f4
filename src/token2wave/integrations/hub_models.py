"""Classifiers on the Hugging Face hub. Loading one imports no torch, where its network compiles."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from token2wave.classifier import Classifier, load
from token2wave.errors import DataError, MissingExtraError, OutputError, Token2WaveError
from token2wave.integrations.model_cards import PLAIN_FILE, model_card

if TYPE_CHECKING:
    from huggingface_hub import ModelCard


def push(
    classifier: Classifier,
    repo_id: str,
    *,
    card: ModelCard | None = None,
    with_transformers: bool = True,
    private: bool | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    message: str = "Upload a classifier of token2wave",
) -> str:
    """Put a classifier on the hub: the plain file, a model card, and the files of ``transformers``.

    Args:
        classifier: the model.
        repo_id: ``owner/name``; made if it is not there.
        card: the text of :func:`model_card`, with a licence and figures; one
            without them, if not given.
        with_transformers: also what ``AutoModelForSequenceClassification`` and ``pipeline`` read.
        private: whether a repository that is made is private.
        revision: branch to push to.
        token: of the hub; the one that is saved on this machine, if not given.
        message: what the change is called.

    Returns:
        Address of the repository.

    Raises:
        MissingExtraError: ``huggingface_hub`` is not installed; or, for ``transformers``, that is not.
        OutputError: the hub does not take it.
    """
    hub = _hub("pushing to the hub")
    with tempfile.TemporaryDirectory(prefix="token2wave-") as aside:
        folder = Path(aside) / "model"
        if with_transformers:
            from token2wave.integrations.huggingface.conversion import export_huggingface

            export_huggingface(classifier, folder)
        else:
            folder.mkdir()
        classifier.save(folder / PLAIN_FILE)
        files = ("token2wave", "transformers") if with_transformers else ("token2wave",)
        (card or model_card(classifier, repo_id=repo_id, files=files)).save(folder / "README.md")
        try:
            address = hub.create_repo(repo_id, exist_ok=True, private=private, token=token)
            hub.upload_folder(
                repo_id=address.repo_id,
                folder_path=folder,
                commit_message=message,
                revision=revision,
                token=token,
            )
        except Exception as error:  # network, authorisation, names: no common base
            raise OutputError(
                f"cannot be pushed to the hub ({_reason(error)})",
                location=repo_id,
                hint="check the name, the network, and that 'hf auth login' has been run",
            ) from error
    return str(address)


def load_from_hub(
    source: str | os.PathLike[str],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    device: str = "cpu",
) -> Classifier:
    """Load a classifier from the hub, or from a folder with the same files.

    The plain file is read if it is there, and if not, what ``transformers`` saved.

    Args:
        source: ``owner/name``, or a folder.
        revision: branch, tag or commit on the hub.
        token: of the hub; the one that is saved on this machine, if not given.
        cache_dir: where the hub's files are kept.
        device: where to predict, ``cpu`` or ``cuda``.

    Raises:
        MissingExtraError: a package is not installed.
        DataError: it cannot be fetched.
        ModelFileError: what was fetched is no model, or a damaged one.
    """
    if os.path.isdir(source):
        plain = Path(source) / PLAIN_FILE
        return load(plain, device) if plain.exists() else _of_transformers(source)
    hub, options = (
        _hub("loading from the hub"),
        {"revision": revision, "token": token, "cache_dir": cache_dir},
    )
    try:
        fetched = hub.hf_hub_download(os.fspath(source), PLAIN_FILE, **options)
    except hub.errors.EntryNotFoundError:
        return _of_transformers(source, **options)
    except Exception as error:  # network, authorisation, names: no common base
        raise _unfetched(source, error) from error
    return load(fetched, device)


def _of_transformers(source: str | os.PathLike[str], **options: Any) -> Classifier:
    """A classifier made of a model and a tokenizer that ``transformers`` saved."""
    from token2wave.integrations.huggingface.conversion import from_huggingface
    from token2wave.integrations.huggingface.hf_model import WaveForSequenceClassification
    from token2wave.integrations.huggingface.hf_tokenizer import WaveTokenizer

    try:
        model = WaveForSequenceClassification.from_pretrained(os.fspath(source), **options)
        tokenizer = WaveTokenizer.from_pretrained(os.fspath(source), **options)
    except Token2WaveError:
        raise
    except Exception as error:  # whatever transformers and the hub raise
        raise _unfetched(source, error) from error
    return from_huggingface(model, tokenizer)


def _unfetched(source: str | os.PathLike[str], error: Exception) -> DataError:
    return DataError(
        f"expected a classifier of token2wave, but it cannot be loaded ({_reason(error)})",
        location=os.fspath(source),
        hint="check the name and the network; a private repository needs a token",
    )


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _hub(purpose: str) -> Any:
    """The package ``huggingface_hub``.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ModuleNotFoundError as error:
        if error.name != "huggingface_hub":
            raise
        raise MissingExtraError("huggingface_hub", "hf", purpose=purpose) from error
    return huggingface_hub
