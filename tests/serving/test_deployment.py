"""The examples of deployment, with the real proxies, Prometheus and systemd where they are installed."""

import json
import os
import re
import select
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from service_helpers import ENVIRONMENT, PYTHON, TEXTS, serving

EXAMPLES = Path(__file__).parents[2] / "examples" / "deployment"
NAME, TOKEN = "models.example.org", "0123456789abcdef" * 2
BEARER = {"Authorization": f"Bearer {TOKEN}"}
JSON = {"Content-Type": "application/json", **BEARER}
BODY_BYTES = 1 << 20  # the default of --body-bytes


def tool(name):
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def adapted(file, replacements):
    """An example with placeholders replaced; each must be there."""
    text = (EXAMPLES / file).read_text()
    for old, new in replacements.items():
        assert old in text, old
        text = text.replace(old, str(new))
    return text


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


class Proxy(NamedTuple):
    """A proxy in front of a service, and the service's log."""

    port: int
    certificate: Path
    log: Path

    def ask(self, method, path, body=None, headers=BEARER, *, source="127.0.0.1"):
        """Send a request; return status, headers and body."""
        context = ssl.create_default_context(cafile=self.certificate)
        plain = socket.create_connection(("127.0.0.1", self.port), 20, (source, 0))
        connection = HTTPConnection(NAME, self.port)
        with plain, context.wrap_socket(plain, server_hostname=NAME) as connection.sock:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()


@contextmanager
def running(command, log, **settings):
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, **settings)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def service_command(text, model, token):
    """The command that an example gives for the service."""
    match = re.search(r"token2wave (serve .*?)(?:\n(?!#?  )|\n#? *\n)", text.replace("\\\n", "\n"), re.S)
    words = shlex.split(match[1].replace("#", ""))
    places = {"MODEL": model, "/srv/models": model, "TOKEN": token, "${CREDENTIALS_DIRECTORY}/token": token}
    return [*PYTHON, "-m", "token2wave", *(str(places.get(word, word)) for word in words), "--access-log"]


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def proxy(request, model, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    program, port, service_port = tool(request.param), free_port(), free_port()
    certificate, key, token, unix = (folder / name for name in ("certificate", "key", "token", "socket"))
    token.write_text(TOKEN)
    command = [tool("openssl"), "req", "-x509", "-nodes", "-newkey", "ec"]
    command += ["-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-keyout", key, "-out", certificate, "-days", "2"]
    command += ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    subprocess.run(command, check=True, capture_output=True)
    places = {"/etc/ssl/models.example.org.pem": certificate, "/etc/ssl/models.example.org.key": key}
    if request.param == "nginx":  # the service is run as its unit says
        places |= {"/run/token2wave/socket": unix, "listen 443": f"listen 127.0.0.1:{port}"}
        text = adapted("nginx.conf", places)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        own = "".join(f"{kind}_temp_path {folder / kind};" for kind in kinds)
        (folder / "configuration").write_text(text.replace("http {", f"http {{ access_log off; {own}"))
        settings = f"daemon off; pid {folder / 'pid'}; {'user root;' if os.geteuid() == 0 else ''}"
        command = [program, "-p", folder, "-e", "stderr", "-c", folder / "configuration", "-g", settings]
        command_text = adapted("token2wave.service", {"/run/token2wave/socket": unix})
    else:
        text = adapted("Caddyfile", {**places, "127.0.0.1:8000": f"127.0.0.1:{service_port}"})
        own = f"{{\nadmin off\nskip_install_trust\nauto_https disable_redirects\nhttps_port {port}\n}}\n"
        (folder / "configuration").write_text(own + text)
        command = [program, "run", "--config", folder / "configuration", "--adapter", "caddyfile"]
        command_text = adapted("Caddyfile", {"8000": service_port})
    environment = {**os.environ, **dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(folder))}
    with (
        running(service_command(command_text, model, token), folder / "log", env=ENVIRONMENT) as service,
        running(command, folder / "proxy.log", env=environment) as process,
    ):
        proxy = Proxy(port, certificate, folder / "log")
        end = time.monotonic() + 30
        while not is_ready(proxy):
            logs = (folder / "proxy.log").read_text() + (folder / "log").read_text()
            assert (service.poll(), process.poll()) == (None, None), logs
            assert time.monotonic() < end, logs
            time.sleep(0.1)
        yield proxy


def is_ready(proxy):
    try:
        return proxy.ask("GET", "/classify/ready", headers={})[0] == 200
    except OSError:
        return False


def test_the_prefix(proxy):
    status, headers, body = proxy.ask("GET", "/classify/docs")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"POST /predict" in body
    assert proxy.ask("GET", "/classify/")[2].startswith(b"<!DOCTYPE html>")
    status, headers, _ = proxy.ask("GET", "/classify")
    assert (status, urlsplit(headers["location"]).path) == (308, "/classify/")
    assert json.loads(proxy.ask("GET", "/classify/openapi.json")[2])["servers"] == [{"url": "/classify"}]


def test_redirects_name_the_proxy(proxy):
    """It has passed on the scheme and the host."""
    status, headers, _ = proxy.ask("GET", "/classify/models/model")
    assert status == 307
    assert headers["location"] == f"https://{NAME}:{proxy.port}/classify/models/model/"


def test_the_token(proxy):
    body = json.dumps({"text": TEXTS[0]})
    for value in ("", f"Bearer {TOKEN[::-1]}"):
        headers = {**JSON, "Authorization": value}
        assert proxy.ask("POST", "/classify/predict", body, headers)[0] == 401
    status, _, answer = proxy.ask("POST", "/classify/predict", body, JSON)
    assert (status, json.loads(answer)["model"]) == (200, "model")


def test_the_log_has_the_address_of_the_client(proxy):
    """Not that of the proxy, and none that the client claims."""
    headers = {**BEARER, "X-Request-Id": f"request-{time.monotonic_ns()}", "X-Forwarded-For": "203.0.113.9"}
    assert proxy.ask("GET", "/classify/info", headers=headers, source="127.0.0.2")[0] == 200
    end, lines = time.monotonic() + 5, []
    while not lines:
        assert time.monotonic() < end
        lines = [line for line in proxy.log.read_text().splitlines() if headers["X-Request-Id"] in line]
    assert json.loads(lines[0])["client"] == "127.0.0.2"


def test_lines_are_answered_while_they_arrive(proxy):
    """Each before the next one is sent, and more of them than a body may have bytes."""
    curl = tool("curl")
    if "HTTP2" not in subprocess.run([curl, "--version"], capture_output=True, text=True).stdout:
        pytest.skip("curl lacks HTTP/2")
    paths = json.loads(proxy.ask("GET", "/classify/openapi.json")[2])["paths"]
    path = next(
        path
        for path, methods in paths.items()
        if "application/x-ndjson" in methods.get("post", {}).get("requestBody", {}).get("content", {})
    )
    command = [*(curl, "--silent", "--no-buffer", "--http2", "--request", "POST", "--upload-file", ".")]
    command += ["--cacert", proxy.certificate, "--resolve", f"{NAME}:{proxy.port}:127.0.0.1"]
    for name, value in {"Content-Type": "application/x-ndjson", **BEARER}.items():
        command += ["--header", f"{name}: {value}"]
    command += [f"https://{NAME}:{proxy.port}/classify{path}"]
    line = json.dumps({"text": " ".join(TEXTS)[:15_000]}).encode() + b"\n"
    n_lines = BODY_BYTES // len(line) + 2
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        try:
            for _ in range(n_lines):
                process.stdin.write(line)
                assert select.select([process.stdout], [], [], 10)[0], "no answer"
                assert "label" in json.loads(process.stdout.readline())
            process.stdin.close()
            assert process.stdout.read() == b""
            assert process.wait(10) == 0
        finally:
            process.kill()


def test_the_limit_of_a_body(proxy):
    """It is the service's own, which answers with JSON."""
    body = json.dumps({"text": TEXTS[0]}).encode()
    status, _, answer = proxy.ask("POST", "/classify/predict", body.ljust(BODY_BYTES), JSON)
    assert (status, json.loads(answer)["model"]) == (200, "model")
    status, _, answer = proxy.ask("POST", "/classify/predict", body.ljust(BODY_BYTES + 1), JSON)
    assert (status, json.loads(answer)["error"]["location"]) == (413, "body")


def promtool(*arguments, **settings):
    done = subprocess.run([tool("promtool"), *arguments], capture_output=True, text=True, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def metrics(server):
    """The metrics of a service that has answered several kinds of requests."""
    server.ask("POST", "/predict", {"texts": [*TEXTS[:20], "", "zzz " * 9]})
    server.ask("POST", "/explain", {"text": TEXTS[0]})
    server.ask("POST", "/predict", b"{")
    server.ask("GET", "/info", headers={"X-Long": "a" * 20_000})
    return server.ask("GET", "/metrics")[2].decode()


def test_metrics_follow_the_conventions_of_prometheus(metrics):
    assert promtool("check", "metrics", input=metrics) == ""


def test_the_alert():
    promtool("check", "rules", EXAMPLES / "alerts.yaml")
    assert "SUCCESS" in promtool("test", "rules", EXAMPLES / "alerts_test.yaml")


def expressions():
    """The expressions of the dashboard and of the recording rule."""
    document = json.loads((EXAMPLES / "dashboard.json").read_text())
    for panel in document["panels"]:
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "5m").replace("$model", ".*")
    for variable in document["templating"]["list"]:
        if match := re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]):
            yield f'{match[1]}{{{match[2]}!=""}}'
    yield re.search(r"expr: \|\n(.*?)      - alert", (EXAMPLES / "alerts.yaml").read_text(), re.S)[1]


def test_every_expression_has_values(metrics, tmp_path):
    """Prometheus computes them from the metrics that a service exports."""
    series = [line.rpartition(" ")[0] for line in metrics.splitlines() if not line.startswith("#")]
    tests = {
        "interval": "1m",
        "input_series": [{"series": each, "values": "0+1x30"} for each in series],
        "promql_expr_test": [
            {
                "expr": f"count({expression}) > bool 0",
                "eval_time": "20m",
                "exp_samples": [{"labels": "{}", "value": 1}],
            }
            for expression in expressions()
        ],
    }
    assert len(tests["promql_expr_test"]) >= 10
    (tmp_path / "test.yaml").write_text(json.dumps({"tests": [tests]}))  # which is YAML, too
    promtool("test", "rules", tmp_path / "test.yaml")


def test_the_unit_of_systemd(tmp_path):
    analyze = tool("systemd-analyze")
    unit = tmp_path / "token2wave.service"
    unit.write_text(adapted("token2wave.service", {"/opt/token2wave/bin/token2wave": sys.executable}))
    done = subprocess.run([analyze, "verify", unit], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    command = [analyze, "security", "--offline=true", "--no-pager", "--threshold=5", unit]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_check_of_health_in_a_container(model, tmp_path):
    """It succeeds while the service is ready, and fails when it has ended."""
    text = (EXAMPLES / "Containerfile").read_text()
    check = json.loads(re.search(r"HEALTHCHECK[^\[]*CMD (\[.*\])", text)[1])
    start = json.loads(re.search(r"ENTRYPOINT (\[.*\])", text)[1])
    start = [str(model) if word == "/models" else word for word in start[1:] if word != "0.0.0.0"]
    start[start.index("--host")] = "--host=127.0.0.1"
    with serving([*PYTHON, "-m", "token2wave", *start, "--port", "0"], tmp_path / "log") as server:
        command = [sys.executable, *check[1:-1], check[-1].replace("8000", str(server.port))]
        assert subprocess.run(command, capture_output=True).returncode == 0
        server.process.terminate()
        assert server.process.wait(20) == 0
    assert subprocess.run(command, capture_output=True).returncode == 1
