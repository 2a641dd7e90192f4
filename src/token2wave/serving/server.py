"""Runs the service: sockets, processes, signals. The HTTP server is uvicorn with httptools and uvloop."""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import stat
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from token2wave.classifier import load
from token2wave.errors import ConfigError, MissingExtraError
from token2wave.serving.app import create_app
from token2wave.serving.limits import ServiceLimits
from token2wave.serving.logs import log_to_standard_error
from token2wave.serving.model_store import find_model_files
from token2wave.serving.request_checks import read_token

try:
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    from token2wave.serving.connections import GuardedConnection
    from token2wave.serving.prometheus import BYTES_PER_PROCESS, FOLDER_VARIABLE
except ModuleNotFoundError as error:
    if error.name not in ("uvicorn", "httptools"):
        raise
    raise MissingExtraError(error.name, "serve", purpose="token2wave serve") from error

BACKLOG = 1024  # connections that wait in the kernel until they are accepted
KERNEL_BYTES = 1 << 17  # of a connection in the kernel, in each direction; the default can be megabytes
EXTRA_FILES = 64  # file descriptors that are not connections
SWITCH_SECONDS = 0.0001  # a computing thread lets requests be read after this time; the default is 0.005


@dataclass(frozen=True)
class ServerOptions:
    """What to serve, and where.

    Attributes:
        models: paths of model files, and of folders of them; the first model is the default.
        host: address to listen at.
        port: port to listen at; 0 takes a free one.
        uds: path of a unix socket to listen at instead.
        workers: number of processes, each with the models in its memory.
        limits: limits of the service.
        cors_origins: origins whose web pages may read the answers.
        allow_hosts: hosts that requests may name, beside loopback, ``host`` and the address of arrival.
        root_path: path below which a proxy publishes the service.
        forwarded_allow_ips: addresses of proxies whose ``X-Forwarded-For`` and ``-Proto`` are believed, with
            commas between them; ``*`` for all.
        token_file: file with the token that requests must send.
        log_access: log each request to standard error, as a line of JSON.
    """

    models: tuple[Path, ...]
    host: str = "127.0.0.1"
    port: int = 8000
    uds: Path | None = None
    workers: int = 1
    limits: ServiceLimits = field(default_factory=ServiceLimits)
    cors_origins: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    root_path: str = ""
    forwarded_allow_ips: str = ""
    token_file: Path | None = None
    log_access: bool = False

    def application(self) -> Any:
        """Load the models and make the service; each process calls it."""
        sys.setswitchinterval(SWITCH_SECONDS)
        log_to_standard_error()
        # At the end of shutdown, requests are cancelled; uvicorn would log each with a traceback.
        logging.getLogger("uvicorn.error").addFilter(
            lambda record: not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))
        )
        _end_with_parent()
        app = create_app(
            self.models,
            self.limits,
            cors_origins=self.cors_origins,
            allow_hosts=(self.host, *self.allow_hosts),
            token=None if self.token_file is None else read_token(self.token_file),
            log_access=self.log_access,
        )
        app.router.lifespan_context = _reloading(app.router.lifespan_context)
        return app


def _reloading(lifespan: Any) -> Any:
    """Let SIGHUP load the models again, while the service runs."""

    @asynccontextmanager
    async def with_signal(app: Any) -> AsyncIterator[Any]:
        loop, models = asyncio.get_running_loop(), app.state.service.models

        def reload() -> None:
            models.reload()
            freeze_memory()

        if hasattr(signal, "SIGHUP"):
            loop.add_signal_handler(signal.SIGHUP, lambda: loop.run_in_executor(None, reload))
        freeze_memory()
        async with lifespan(app) as state:
            yield state

    return with_signal


def freeze_memory() -> None:
    """Spare the garbage collector what stays in memory: to look at it stops the service for milliseconds."""
    gc.unfreeze()  # of an earlier model
    gc.collect()
    gc.freeze()


class Supervisor(Multiprocess):
    """uvicorn's processes. They load models themselves: one that cannot be loaded ends none of them."""

    def handle_hup(self) -> None:
        """Pass SIGHUP on."""
        for process in self.processes:
            if process.pid is not None:  # else it has not started
                os.kill(process.pid, signal.SIGHUP)


def serve(options: ServerOptions, on_start: Callable[[str], None]) -> None:
    """Serve models until SIGTERM or SIGINT.

    At shutdown, new connections are refused, and running requests may take ``shutdown_seconds``. SIGHUP
    loads the models again; if a file is damaged, its old model stays.

    Args:
        options: what to serve, and where.
        on_start: called with the address once the socket listens; from then on, requests wait to be answered.

    Raises:
        ConfigError: the address is not available, the system allows too few open files, two models have the
            same name, or the token cannot be read.
        ModelFileError: see :func:`token2wave.load`.
    """
    _raise_file_limit(options.limits.connections)
    config = uvicorn.Config(
        options.application,
        factory=True,
        http=GuardedConnection,  # type: ignore[arg-type]  # uvicorn calls no method of Protocol
        ws="none",
        interface="asgi3",
        lifespan="on",
        log_config=None,
        log_level=logging.ERROR,
        access_log=False,
        proxy_headers=bool(options.forwarded_allow_ips),
        forwarded_allow_ips=options.forwarded_allow_ips or None,
        root_path=options.root_path,
        server_header=False,
        workers=options.workers,
        timeout_keep_alive=options.limits.idle_seconds,
        timeout_graceful_shutdown=options.limits.shutdown_seconds,
    )
    if options.workers == 1:
        config.load()
    else:  # to report a damaged file here; each process loads it again
        for path in find_model_files(options.models):
            load(path)
    listening = _listen_unix(options.uds) if options.uds else _listen(options.host, options.port)
    server = uvicorn.Server(config)

    def end(*_: object) -> None:
        server.should_exit = True  # uvicorn handles signals while it runs, and raises them again afterwards

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    on_start(_address(listening))
    if options.workers == 1:
        server.run(sockets=[listening])
    else:
        with _make_folder(options.workers) as folder:
            os.environ[FOLDER_VARIABLE] = folder
            supervisor = Supervisor(config, sockets=[listening])
            if not server.should_exit:
                supervisor.run()
            listening.close()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the interpreter would restore the default, which kills
    if options.uds:
        options.uds.unlink(missing_ok=True)


def _address(listening: socket.socket) -> str:
    if listening.family == socket.AF_UNIX:
        return f"unix:{listening.getsockname()}"
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _listen(host: str, port: int) -> socket.socket:
    """Listen at an address.

    Raises:
        ConfigError: it is not available.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        raise ConfigError(
            f"expected an address to listen at, found {host} port {port}: "
            f"{getattr(error, 'strerror', None) or error}",
            location="--host, --port",
            hint="choose another port, or end the program that listens there",
        ) from error
    return _with_buffers(listening)


def _listen_unix(path: Path) -> socket.socket:
    """Listen at a unix socket, which users of this machine may reach as the folder's permissions allow.

    Raises:
        ConfigError: it is not available, or something else than a socket is there.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists():  # a socket is left behind by a service that was killed
            if not stat.S_ISSOCK(path.stat().st_mode):
                raise OSError(None, "something else than a socket is there")
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                if probe.connect_ex(str(path)) == 0:
                    raise OSError(None, "another program listens there")
            path.unlink()
        listening.bind(str(path))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        problem = f"expected a path for a unix socket, found {path}: {error.strerror or error}"
        raise ConfigError(problem, location="--uds", hint="choose another path") from error
    path.chmod(0o666)
    return _with_buffers(listening)


def _with_buffers(listening: socket.socket) -> socket.socket:
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # connections inherit them
        listening.setsockopt(socket.SOL_SOCKET, option, KERNEL_BYTES)
    return listening


def _make_folder(workers: int) -> tempfile.TemporaryDirectory[str]:
    """Make a folder on a disk that has room for the shared metrics.

    Raises:
        ConfigError: there is none.
    """
    n_bytes = workers * BYTES_PER_PROCESS
    expected = f"expected {n_bytes / 1e6:.0f} MB for the metrics of {workers} processes"
    try:
        folder = tempfile.TemporaryDirectory(prefix="token2wave-metrics-")
    except OSError as error:
        hint = "set TMPDIR to a folder that you may write to"
        raise ConfigError(f"{expected}, found {error.strerror}", location="--workers", hint=hint) from error
    free = shutil.disk_usage(folder.name).free
    if free < n_bytes:
        parent = Path(folder.name).parent
        folder.cleanup()
        hint = "free some space, or set TMPDIR to another folder"
        problem = f"{expected}, found {free / 1e6:.0f} MB in {parent}"
        raise ConfigError(problem, location="--workers", hint=hint)
    return folder


def _end_with_parent() -> None:
    """In one of several processes: end when the parent is killed, because the port would stay in use."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        shutil.rmtree(os.environ[FOLDER_VARIABLE], ignore_errors=True)  # the parent no longer can
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def _raise_file_limit(n_connections: int) -> None:
    """Raise the limit of open files as far as the connections need.

    Raises:
        ConfigError: the system does not allow it.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    n_files = n_connections + EXTRA_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < n_files:
        if hard != resource.RLIM_INFINITY and hard < n_files:
            raise ConfigError(
                f"expected at least {n_files:,} open files for {n_connections:,} connections, found {hard:,}",
                location="--connections",
                hint="lower it, or raise the limit (ulimit -n)",
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (n_files, hard))
