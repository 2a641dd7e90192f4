"""Runs the service: sockets, processes, signals. The HTTP server is uvicorn, with httptools and uvloop."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from token2wave.classifier import load
from token2wave.errors import ConfigError, MissingExtraError, Token2WaveError
from token2wave.serving.app import Service, create_app, log
from token2wave.serving.limits import Limits
from token2wave.serving.logs import log_to_standard_error

try:
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    from token2wave.serving.connections import GuardedHttpProtocol
    from token2wave.serving.prometheus import SHARED, SHARED_BYTES
except ModuleNotFoundError as error:
    if error.name not in ("uvicorn", "httptools"):
        raise
    raise MissingExtraError(error.name, "serve", purpose="token2wave serve") from error

BACKLOG = 1024  # connections that the system keeps until they are accepted
KERNEL_BYTES = (
    1 << 17
)  # that the system keeps for a connection, each way, and doubles; else it may be megabytes
SPARE_FILES = 64  # file descriptors beside those of connections
SWITCH_SECONDS = (
    0.001  # what computes in a thread lets requests be read after that; Python's default is 0.005
)


@dataclass(frozen=True)
class Settings:
    """How a model is served.

    Attributes:
        model: the model file.
        host: address to listen at.
        port: to listen at; 0 takes a free one.
        workers: processes, each with the model in its memory.
        limits: what the service takes.
        allow_origins: web pages of these origins may ask.
        log_access: whether a line of JSON is written for each request, to standard error.
    """

    model: Path
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    limits: Limits = field(default_factory=Limits)
    allow_origins: tuple[str, ...] = ()
    log_access: bool = False

    def application(self) -> Service:
        """Load the model and make its service; where there are several processes, in each."""
        sys.setswitchinterval(SWITCH_SECONDS)
        log_to_standard_error()
        _end_with_parent()
        return create_app(
            load(self.model), self.limits, allow_origins=self.allow_origins, log_access=self.log_access
        )


def serve(settings: Settings, begun: Callable[[str], None]) -> None:
    """Serve a model until the process is told to end (SIGTERM, SIGINT).

    What was begun is answered, for ``shutdown_seconds`` at most; new connections are refused. SIGHUP reads
    the model file again, and the new model takes over between two batches; a damaged file changes nothing.

    Args:
        settings: what to serve, and where.
        begun: called with the address once the socket listens; requests wait there until they are answered.

    Raises:
        ConfigError: the address is not to be had, or the system allows too few open files.
        ModelFileError: as :func:`token2wave.load`.
    """
    _allow_files(settings.limits.connections)
    config = _config(settings)
    if settings.workers == 1:
        config.load()
    else:
        load(settings.model)  # each process will load it; this one says what is wrong with it
    listening = _listen(settings.host, settings.port)
    server = uvicorn.Server(config)

    def end(*_: object) -> None:
        if (
            not server.started
        ):  # uvicorn, which handles signals meanwhile, raises them again once it has ended
            sys.exit(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    host, port = listening.getsockname()[:2]
    begun(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
    if settings.workers == 1:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_serve_one(settings.model, server, listening))
        return
    with tempfile.TemporaryDirectory(prefix="token2wave-metrics-") as folder:
        _require_space(folder, settings.workers)
        os.environ[SHARED] = folder
        Multiprocess(config, sockets=[listening]).run()


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _serve_one(model: Path, server: uvicorn.Server, listening: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    application = server.config.loaded_app

    async def reload() -> None:
        try:
            application.replace(await asyncio.to_thread(load, model))
        except Token2WaveError as error:
            log.error("the old model goes on: %s", error)
        else:
            log.info("the model was read again")

    running: set[asyncio.Task[None]] = set()  # a task that nothing refers to may be collected

    def begin() -> None:
        task = loop.create_task(reload())
        running.add(task)
        task.add_done_callback(running.discard)

    if hasattr(signal, "SIGHUP"):
        loop.add_signal_handler(signal.SIGHUP, begin)
    await server.serve(sockets=[listening])


def _config(settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        settings.application,
        factory=True,
        http=GuardedHttpProtocol,
        ws="none",
        interface="asgi3",
        lifespan="on",
        log_config=None,
        log_level=logging.ERROR,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        workers=settings.workers,
        timeout_keep_alive=settings.limits.idle_seconds,
        timeout_graceful_shutdown=settings.limits.shutdown_seconds,
    )


def _listen(host: str, port: int) -> socket.socket:
    """Take an address.

    Raises:
        ConfigError: it is not to be had.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        raise ConfigError(
            f"expected an address to listen at, found {host} port {port}: "
            f"{getattr(error, 'strerror', None) or error}",
            location="--host, --port",
            hint="choose another port, or end what listens there",
        ) from error
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # connections have what the socket has
        listening.setsockopt(socket.SOL_SOCKET, option, KERNEL_BYTES)
    return listening


def _require_space(folder: str, workers: int) -> None:
    """Find out whether processes can count together in a folder.

    Raises:
        ConfigError: they cannot.
    """
    wanted, free = workers * SHARED_BYTES, shutil.disk_usage(folder).free
    if free < wanted:
        raise ConfigError(
            f"expected {wanted / 1e6:.0f} MB for what {workers} processes count together, "
            f"found {free / 1e6:.0f} MB in {Path(folder).parent}",
            location="--workers",
            hint="make room, or name another folder in TMPDIR",
        )


def _end_with_parent() -> None:
    """In one of several processes: end when the one above was killed, or the port would stay taken."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        shutil.rmtree(os.environ[SHARED], ignore_errors=True)  # which it can no longer do
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def _allow_files(n_connections: int) -> None:
    """Let the process have as many open files as connections need.

    Raises:
        ConfigError: the system does not let it.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    wanted = n_connections + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise ConfigError(
                f"expected at least {wanted:,} open files for {n_connections:,} connections, found {hard:,}",
                location="--connections",
                hint="lower it, or raise the limit (ulimit -n)",
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
