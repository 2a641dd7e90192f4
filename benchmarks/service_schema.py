"""Does the service do what its OpenAPI document says? Random requests, and a generated client.

    python -m venv build/schemathesis
    build/schemathesis/bin/pip install schemathesis openapi-python-client ruff
    python benchmarks/service_schema.py --tools build/schemathesis --seconds 600

schemathesis brings packages that others here do not get along with, so it has an environment of its own. Two
models are served, one of them with several labels. Requests are made from the schema, valid and invalid, in
rounds of another seed each, until the time is up; the first failure ends it. Then a client is generated from
the document, and asked for a prediction.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import token2wave

HOOKS = '''
import schemathesis

@schemathesis.serializer("application/x-ndjson")
def lines(ctx, value):
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b"1"

@schemathesis.hook
def filter_case(ctx, case):
    """Each wrong line has an error of its own: no body of lines is refused as a whole."""
    return case.media_type != "application/x-ndjson" or (isinstance(case.body, str) and bool(case.body))

@schemathesis.deserializer("application/x-ndjson")
def text(ctx, response):
    return response.content.decode()
'''
SETTINGS = """
[checks]
negative_data_rejection.expected-statuses = [400, 404, 405, 408, 413, 415, 421, 422]
"""
CLIENT = """
from client import Client
from client.api.two import predict_two
from client.models import MultiLabelTextRequest as Body
answer = predict_two.sync_detailed(client=Client(base_url={url!r}), body=Body(text="a game"))
assert answer.status_code == 200, answer
assert answer.parsed.model == "two" and answer.parsed.labels is not None, answer
print("client:", answer.parsed)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; 1 after a failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tools", type=Path, required=True, help="environment with schemathesis")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--examples", type=int, default=100, help="of an operation in a round")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, _service(Path(folder)) as url:
        n_cases = _run_schemathesis(options, Path(folder), url)
        if n_cases is None:
            return 1
        print(f"{n_cases:,} requests, no failure")
        return _run_client(options.tools, Path(folder), url)


@contextmanager
def _service(folder: Path) -> Iterator[str]:
    """Serve two models; the address."""
    models = folder / "models"
    models.mkdir()
    texts = ["a game with tanks", "draws graphs", "a chess game", "plots of functions"] * 5
    token2wave.train(texts, ["game", "math"] * 10, preset="fast").classifier.save(models / "one.safetensors")
    several = [["game"], ["math"], ["game", "board"], ["math", "plot"]] * 5
    token2wave.train(texts, several, preset="fast").classifier.save(models / "two.safetensors")
    command = [sys.executable, "-m", "token2wave", "serve", str(models), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            match = re.search(r"http://\S+", process.stderr.readline())
            assert match is not None
            yield match[0]
        finally:
            process.terminate()


def _run_schemathesis(options: argparse.Namespace, folder: Path, url: str) -> int | None:
    """Send requests until the time is up; how many, or None after a failure."""
    (folder / "hooks.py").write_text(HOOKS, encoding="utf-8")
    (folder / "schemathesis.toml").write_text(SETTINGS, encoding="utf-8")
    end, n_cases, seed = time.monotonic() + options.seconds, 0, 0
    while time.monotonic() < end:
        command = [str(options.tools.resolve() / "bin" / "schemathesis"), "run", f"{url}/openapi.json"]
        command += ["--seed", str(seed), "--max-examples", str(options.examples)]
        command += ["--phases", "examples,coverage,fuzzing", "--generation-database", "none"]
        environment = {"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
        if done.returncode:
            print(*(line[:500] for line in (done.stdout + done.stderr).splitlines()), sep="\n")
            return None
        match = re.search(r"(\d+) generated", done.stdout)
        n_cases, seed = n_cases + int(match[1] if match else 0), seed + 1
        print(f"round {seed}: {n_cases:,} requests", flush=True)
    return n_cases


def _run_client(tools: Path, folder: Path, url: str) -> int:
    """Generate a client, and ask for a prediction."""
    with urlopen(f"{url}/openapi.json") as answer:
        document = json.load(answer)
    (folder / "openapi.json").write_text(json.dumps(document), encoding="utf-8")
    binaries = tools.resolve() / "bin"
    command = [
        str(binaries / "openapi-python-client"),
        "generate",
        "--path",
        "openapi.json",
        "--meta",
        "none",
    ]
    command += ["--output-path", "client"]
    subprocess.run(command, check=True, cwd=folder, env={"PATH": f"{binaries}:/usr/bin:/bin"})
    code = CLIENT.format(url=url)
    return subprocess.run([str(binaries / "python"), "-c", code], cwd=folder).returncode


if __name__ == "__main__":
    sys.exit(main())
