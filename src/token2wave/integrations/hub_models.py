"""Classifiers on the Hugging Face hub. Loading needs no torch if the network compiles."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from token2wave.classifier import Classifier, load
from token2wave.errors import DataError, OutputError, Token2WaveError, import_extra
from token2wave.integrations.model_cards import PLAIN_FILE, model_card

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

LOAD_PROBLEM = "expected a classifier of token2wave, but it cannot be loaded"


def push(
    classifier: Classifier,
    repo_id: str,
    *,
    card: ModelCard | None = None,
    with_transformers: bool = True,
    private: bool | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
) -> str:
    """Upload a classifier to the hub: the model file, a model card, and the files of ``transformers``.

    Args:
        classifier: the model.
        repo_id: ``owner/name``; made if it does not exist.
        card: a card from :func:`model_card`, e.g. with license and metrics; by default one without them.
        with_transformers: also upload what ``AutoModelForSequenceClassification`` and ``pipeline`` read.
        private: whether a new repository is private.
        revision: branch to push to.
        token: of the hub; by default the one that is saved on this machine.

    Returns:
        Address of the repository.

    Raises:
        MissingExtraError: ``huggingface_hub`` or, with the files for it, ``transformers`` is not installed.
        OutputError: the upload fails.
    """
    with import_extra("hub", "pushing to the hub", "huggingface_hub"):
        import huggingface_hub
    with tempfile.TemporaryDirectory(prefix="token2wave-") as temporary:
        folder = Path(temporary) / "model"
        if with_transformers:
            from token2wave.integrations.huggingface.conversion import export_huggingface

            export_huggingface(classifier, folder)
        else:
            folder.mkdir()
        classifier.save(folder / PLAIN_FILE)
        files = ("token2wave", "transformers") if with_transformers else ("token2wave",)
        (card or model_card(classifier, repo_id=repo_id, files=files)).save(folder / "README.md")
        with _hub_errors(OutputError, "cannot be pushed to the hub", repo_id):
            address = huggingface_hub.create_repo(repo_id, exist_ok=True, private=private, token=token)
            huggingface_hub.upload_folder(
                repo_id=address.repo_id,
                folder_path=folder,
                commit_message="Upload a classifier of token2wave",
                revision=revision,
                token=token,
            )
    return str(address)


def load_from_hub(source: str | os.PathLike[str], *, device: str = "cpu", **options: Any) -> Classifier:
    """Load a classifier from the hub, or from a folder with the same files.

    The model file is preferred to the files of ``transformers``.

    Args:
        source: ``owner/name``, or a folder.
        device: where to predict, ``cpu`` or ``cuda``.
        options: of the download: ``revision`` (branch, tag or commit), ``token``, ``cache_dir``.

    Raises:
        MissingExtraError: a package is not installed.
        DataError: the classifier cannot be downloaded.
        ModelFileError: the file is damaged or not a model of token2wave.
    """
    if os.path.isdir(source):
        path = Path(source) / PLAIN_FILE
        return load(path, device) if path.exists() else _load_transformers(source)
    with import_extra("hub", "loading from the hub", "huggingface_hub"):
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError
    with _hub_errors(DataError, LOAD_PROBLEM, source):
        try:
            downloaded: Any = hf_hub_download(os.fspath(source), PLAIN_FILE, **options)
        except EntryNotFoundError:
            return _load_transformers(source, **options)
    return load(downloaded, device)


def _load_transformers(source: str | os.PathLike[str], **options: Any) -> Classifier:
    """Make a classifier of the model and the tokenizer that ``transformers`` saved."""
    from token2wave.integrations.huggingface.conversion import from_huggingface
    from token2wave.integrations.huggingface.hf_model import WaveForSequenceClassification
    from token2wave.integrations.huggingface.hf_tokenizer import WaveTokenizer

    with _hub_errors(DataError, LOAD_PROBLEM, source):
        model = WaveForSequenceClassification.from_pretrained(os.fspath(source), **options)
        tokenizer = WaveTokenizer.from_pretrained(os.fspath(source), **options)
    return from_huggingface(model, tokenizer)


@contextmanager
def _hub_errors(
    error_class: type[Token2WaveError], problem: str, source: str | os.PathLike[str]
) -> Iterator[None]:
    """Turn the errors of the hub and of ``transformers``, which have no common base, into one of ours."""
    try:
        yield
    except Token2WaveError:
        raise
    except Exception as error:
        raise error_class(
            f"{problem} ({type(error).__name__}: {' '.join(str(error).split())[:200]})",
            location=os.fspath(source),
            hint="check the name, the network, and that 'hf auth login' has been run",
        ) from error
