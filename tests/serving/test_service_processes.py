"""The command ``token2wave serve``, from start to shutdown."""

import json
import os
import signal
import socket
import subprocess
import threading
import time

import pytest
from service_helpers import (
    ENVIRONMENT,
    PYTHON,
    TEXTS,
    Reader,
    connect,
    is_ended,
    limited,
    make_classifier,
    post,
    serving,
)

from token2wave.errors import ConfigError
from token2wave.serving.limits import ServiceLimits
from token2wave.serving.request_checks import is_loopback


def command(model, *options):
    return [*PYTHON, "-m", "token2wave", "serve", str(model), "--port", "0", *options]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_shutdown_waits_for_running_requests(model, tmp_path, number):
    with serving(command(model), tmp_path / "log") as server:
        busy, idle, begun = connect(server), connect(server), connect(server)
        begun.sendall(b"POST /predict HTTP/1.1\r\nHo")
        idle.sendall(post("/predict", {"text": "a"}))
        assert Reader(idle).answer()[0] == 200
        text = " ".join(TEXTS)[:9_000]
        busy.sendall(post("/explain", {"text": text}))
        while not server.metric("token2wave_queued_characters") + server.metric(
            "token2wave_requests_total", route="/explain"
        ):
            time.sleep(0.01)
        server.process.send_signal(number)
        status, answer = Reader(busy).answer()
        assert status == 200
        assert answer["text"] == text
        assert is_ended(idle)
        assert is_ended(begun)
        assert server.process.wait(10) == 0
        with pytest.raises(ConnectionRefusedError):
            connect(server)
        for connection in (busy, idle, begun):
            connection.close()
    assert (tmp_path / "log").read_bytes() == b""


def test_shutdown_does_not_wait_forever(model, tmp_path):
    """A request without its body does not block it."""
    begun = post("/predict", b"{ }")[:-1]
    with (
        serving(command(model, "--shutdown-seconds", "1"), tmp_path / "log") as server,
        connect(server) as connection,
    ):
        connection.sendall(begun)
        time.sleep(0.1)
        server.process.terminate()
        assert server.process.wait(10) == 0


def test_shutdown_ends_a_backlog(model, tmp_path):
    """Within its time, without tracebacks; what cannot be answered gets status 503."""
    text = " ".join(TEXTS)[:9_900]
    limits = {"explain_seconds": 60, "queue_characters": 1 << 30, "shutdown_seconds": 1}
    with serving(limited(model, **limits), tmp_path / "log") as server:
        connections = [connect(server) for _ in range(400)]  # a fast machine answers a hundred in a second
        for connection in connections:
            connection.sendall(post("/explain", {"text": text}) * 2)
        while server.metric("token2wave_queued_characters") < 90_000_000:
            time.sleep(0.01)
        server.process.terminate()
        statuses = [first_status(connection) for connection in connections]
        start = time.monotonic()
        assert server.process.wait(10) == 0
        assert time.monotonic() - start < 5
        log = server.process.stderr.read()
    assert {*statuses} <= {b"200", b"503"}
    assert statuses.count(b"503") > 10
    assert b"Traceback" not in log
    assert b"Exception" not in log


def first_status(connection):
    """The status of the first answer, whose end may be missing; then close."""
    with connection:
        return connection.recv(12).removeprefix(b"HTTP/1.1 ")


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
@pytest.mark.parametrize("seconds", [0, 0.05])
def test_signals_right_after_the_start(model, tmp_path, options, seconds):
    with serving(command(model, *options), tmp_path / "log") as server:
        time.sleep(seconds)
        server.process.terminate()
        time.sleep(0.01)
        server.process.terminate()  # as some supervisors do
        assert server.process.wait(20) == 0
        assert server.process.stderr.read() == b""


def test_an_explanation_takes_limited_time(model, tmp_path):
    with serving(limited(model, explain_seconds=1e-9), tmp_path / "log") as server:
        status, _, answer = server.ask("POST", "/explain", {"text": "a game"})
        assert (status, answer["complete"], answer["parts"]) == (200, False, [])


def test_sighup_reloads_the_model(model, tmp_path):
    path = tmp_path / "model.safetensors"
    first, second = make_classifier(0), make_classifier(1)
    first.save(path)
    with serving(command(path), tmp_path / "log") as server:

        def probability():
            return server.ask("POST", "/predict", {"text": TEXTS[0]})[2]["probability"]

        assert probability() == first.predict(TEXTS[0]).probability
        path.write_bytes(path.read_bytes()[:100])
        server.process.send_signal(signal.SIGHUP)
        assert b"the old one stays" in server.process.stderr.readline()
        assert probability() == first.predict(TEXTS[0]).probability
        second.save(path)
        failed, stop = [], threading.Event()

        def ask():
            possible = {each.predict(TEXTS[0]).probability for each in (first, second)}
            while not stop.is_set():
                if probability() not in possible:
                    failed.append(1)

        asking = threading.Thread(target=ask)
        asking.start()
        server.process.send_signal(signal.SIGHUP)
        assert f"loaded {second.fingerprint:08x}".encode() in server.process.stderr.readline()
        stop.set()
        asking.join()
        assert not failed
        assert probability() == second.predict(TEXTS[0]).probability


def test_metrics_of_several_processes(model, tmp_path):
    with serving(command(model, "--workers", "2"), tmp_path / "log") as server:
        for _ in range(20):
            assert server.ask("POST", "/predict", {"text": TEXTS[0]})[0] == 200
        assert server.metric("token2wave_requests_total", route="/predict", status="200") == 20
        server.process.terminate()
        assert server.process.wait(20) == 0


def test_access_log(model, tmp_path):
    with serving(command(model, "--access-log"), tmp_path / "log") as server:
        server.ask("POST", "/predict", {"texts": ["a secret", "b"]})
        server.ask("GET", "/a%0a%22b")
        lines = [server.process.stderr.readline() for _ in range(2)]
    first, second = map(json.loads, lines)
    assert (first["path"], first["status"], first["texts"], first["method"]) == ("/predict", 200, 2, "POST")
    assert (second["path"], second["status"]) == ('/a\n"b', 404)
    assert first["milliseconds"] > 0
    assert b"secret" not in lines[0]


def refused(*arguments):
    done = subprocess.run(
        [*PYTHON, "-m", "token2wave", "serve", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_errors_at_startup(model, tmp_path):
    assert "there is no such file" in refused(tmp_path / "nothing")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "choose another port" in refused(model, "--port", taken.getsockname()[1])


def test_torch_is_not_imported(model):
    code = (
        "import sys; from pathlib import Path\n"
        "import token2wave\n"
        f"token2wave.load({str(model)!r}).labels(['a'])\n"
        "assert not any(name.startswith(('token2wave.serving', 'uvicorn', 'prom')) for name in sys.modules)\n"
        "from token2wave.serving.server import ServerOptions\n"
        f"service = ServerOptions((Path({str(model)!r}),)).application().state.service\n"
        "service.models.default.classifier.explain('a game')\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([*PYTHON, "-c", code], check=True, env=ENVIRONMENT)


def test_a_missing_extra_is_named(model):
    for module in ("uvicorn", "httptools", "prometheus_client", "starlette", "msgspec"):
        code = (
            f"import sys; sys.modules[{module!r}] = None; sys.argv = ['t', 'serve', {str(model)!r}]\n"
            "from token2wave.cli.main import main\nmain()"
        )
        done = subprocess.run([*PYTHON, "-c", code], capture_output=True, text=True, env=ENVIRONMENT)
        assert done.returncode == 2
        assert "pip install 'token2wave[serve]'" in done.stderr


def test_a_public_address_prints_a_warning(model, tmp_path):
    with subprocess.Popen(
        command(model, "--host", "0.0.0.0"), stderr=subprocess.PIPE, env=ENVIRONMENT
    ) as process:
        lines = [process.stderr.readline() for _ in range(2)]
        process.terminate()
        assert process.wait(10) == 0
    assert b"0.0.0.0" in lines[0]
    assert b"no password and no encryption" in lines[1]
    hosts = ("127.0.0.1", "127.9.9.9", "::1", "localhost", "0.0.0.0", "::", "192.168.1.1", "example")
    assert [host for host in hosts if is_loopback(host)] == list(hosts[:4])


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"texts": 0}, "texts"),
        ({"body_seconds": float("nan")}, "body_seconds"),
        ({"queue_characters": 5}, "queue_characters"),
        ({"held_bytes": 5}, "held_bytes"),
    ],
)
def test_invalid_limits(settings, where):
    with pytest.raises(ConfigError, match=where):
        ServiceLimits(**settings)


def test_more_connections_than_files(model):
    """The system limits the open files of a process."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))\n"
        f"sys.argv = ['t', 'serve', {str(model)!r}]\n"
        "from token2wave.cli.main import main\nmain()"
    )
    done = subprocess.run([*PYTHON, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 2
    assert "ulimit -n" in done.stderr
