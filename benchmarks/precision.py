r"""Is bfloat16 faster than float32 here? The same training in both precisions, in turns.

    python benchmarks/precision.py                               # some minutes
    python benchmarks/precision.py --rows 64 --encoder-rows 0 --runs 1

Trains preset ``paper`` and, unless ``--encoder-rows`` is 0, fine-tunes all-MiniLM-L6-v2, an epoch of few
texts in each turn. Prints the time of bfloat16 relative to float32 and what setting ``precision`` = ``auto``
takes here. The last line printed is a JSON document.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from measuring import command_line, describe_origin, spread
from paper_step import Setting, make_setting

from token2wave.data import load_splits
from token2wave.distillation.encoder_settings import ONE_PASS
from token2wave.errors import Token2WaveError
from token2wave.features import WordPieceConfig
from token2wave.models import PretrainedEncoder, TextNetwork
from token2wave.models.encoder_sources import MINILM
from token2wave.training.callbacks import CallbackList
from token2wave.training.examples import Examples
from token2wave.training.torch_trainer import TorchTrainer, precision_on

PRECISIONS = ("float32", "bfloat16")
ENCODER_TOKENS = 128


def encoder_setting(setting: Setting, data: str, n_texts: int) -> tuple[Setting, Callable[[], TextNetwork]]:
    """Fine-tuning of the encoder on the first texts of a data set, and what makes its network."""
    encoder, train = PretrainedEncoder(MINILM), load_splits(data).train
    texts, names = train.texts[:n_texts], sorted(set(train.labels[:n_texts]))
    labels = np.array([names.index(label) for label in train.labels[:n_texts]])
    examples = Examples(encoder.features(WordPieceConfig(max_tokens=ENCODER_TOKENS))(texts), labels)
    own = replace(setting, examples=examples, recipe=ONE_PASS)
    return own, lambda: encoder.network(len(names), setting.seed)


def seconds_of_an_epoch(setting: Setting, network: TextNetwork, precision: str) -> float:
    """Wall time of the second epoch of training in a precision; in the first, memory is laid out."""
    recipe, callback_list = setting.recipe.replace(precision=precision), CallbackList([])
    trainer = TorchTrainer(network, setting.examples, recipe, setting.seed, has_cls=True)
    try:
        trainer.epoch(callback_list)
        start = time.perf_counter()
        trainer.epoch(callback_list)
        return time.perf_counter() - start
    finally:
        trainer.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every network in turns, and print the ratios."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    setting = make_setting(options.data, options.rows, options.width, None, options.seed)
    cases: dict[str, tuple[Setting, Callable[[], TextNetwork]]] = {"preset paper": (setting, setting.initial)}
    if options.encoder_rows:
        cases[MINILM] = encoder_setting(setting, options.data, options.encoder_rows)
    document: dict[str, Any] = {
        "command": command_line(__file__, arguments),
        "auto": precision_on(torch.device("cpu"), "auto"),
        **describe_origin(options.threads),
        "ratios": {},
    }
    print(f"precision auto takes {document['auto']} here")
    for name, (own, make_network) in cases.items():
        ratios = []
        for run in range(options.runs):
            seconds = {
                precision: seconds_of_an_epoch(own, make_network(), precision)
                for precision in PRECISIONS[:: 1 if run % 2 == 0 else -1]
            }
            ratios.append(seconds["bfloat16"] / seconds["float32"])
        document["ratios"][name] = spread(ratios)
        print(f"{name}: bfloat16 takes {statistics.median(ratios):.2f} of the time of float32", flush=True)
    print(json.dumps(document))


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--runs", type=int, default=5, help="turns of each precision")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", default="ag_news")
    parser.add_argument("--rows", type=int, default=3_200, help="training rows of the preset")
    parser.add_argument("--encoder-rows", type=int, default=128, help="training rows of the encoder")
    parser.add_argument("--width", type=int, help="of the preset's network")
    return parser


if __name__ == "__main__":
    try:
        main()
    except Token2WaveError as error:
        sys.exit(f"error: {error}")
