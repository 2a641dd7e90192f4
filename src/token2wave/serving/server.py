"""Runs the service: sockets, processes, signals. The HTTP server is uvicorn with httptools and uvloop."""

from __future__ import annotations

import asyncio
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
from token2wave.errors import ConfigError, MissingExtraError
from token2wave.serving.app import Service, log
from token2wave.serving.limits import ServiceLimits
from token2wave.serving.logs import log_to_standard_error

try:
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    from token2wave.serving.connections import GuardedHttpProtocol
    from token2wave.serving.prometheus import BYTES_PER_PROCESS, FOLDER_VARIABLE
except ModuleNotFoundError as error:
    if error.name not in ("uvicorn", "httptools"):
        raise
    raise MissingExtraError(error.name, "serve", purpose="token2wave serve") from error

BACKLOG = 1024  # connections that wait in the kernel until they are accepted
KERNEL_BYTES = (
    1 << 17
)  # buffer of a connection in the kernel, in each direction; the default can be megabytes
EXTRA_FILES = 64  # file descriptors that are not connections
SWITCH_SECONDS = 0.0001  # a computing thread lets requests be read after this time; the default is 0.005


@dataclass(frozen=True)
class ServerOptions:
    """What to serve, and where.

    Attributes:
        model: path of the model file.
        host: address to listen at.
        port: port to listen at; 0 takes a free one.
        workers: number of processes, each with the model in its memory.
        limits: limits of the service.
        allow_origins: origins whose web pages may read the responses.
        allow_hosts: hosts that requests may name, beside loopback, ``host`` and the address of arrival.
        log_access: log each request to standard error, as a line of JSON.
    """

    model: Path
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    limits: ServiceLimits = field(default_factory=ServiceLimits)
    allow_origins: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    log_access: bool = False

    def application(self) -> Service:
        """Load the model and make its service; each process calls it."""
        sys.setswitchinterval(SWITCH_SECONDS)
        log_to_standard_error()
        # At the end of shutdown, requests are cancelled; uvicorn would log each with a traceback.
        logging.getLogger("uvicorn.error").addFilter(
            lambda record: not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))
        )
        _end_with_parent()
        return Service(
            load(self.model),
            self.limits,
            allow_origins=self.allow_origins,
            allow_hosts=(self.host, *self.allow_hosts),
            model_name=self.model.stem,
            log_access=self.log_access,
        )


def serve(options: ServerOptions, on_start: Callable[[str], None]) -> None:
    """Serve a model until SIGTERM or SIGINT.

    At shutdown, new connections are refused, and running requests may take ``shutdown_seconds``. SIGHUP
    reloads the model file between two batches; if the file is damaged, the old model stays.

    Args:
        options: what to serve, and where.
        on_start: called with the address once the socket listens; from then on, requests wait to be answered.

    Raises:
        ConfigError: the address is not available, or the system allows too few open files.
        ModelFileError: see :func:`token2wave.load`.
    """
    _raise_file_limit(options.limits.connections)
    config = uvicorn.Config(
        options.application,
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
        workers=options.workers,
        timeout_keep_alive=options.limits.idle_seconds,
        timeout_graceful_shutdown=options.limits.shutdown_seconds,
    )
    if options.workers == 1:
        config.load()
    else:
        load(options.model)  # to report a damaged file here; each process loads it again
    listening = _listen(options.host, options.port)
    server = uvicorn.Server(config)

    def end(*_: object) -> None:
        server.should_exit = True  # uvicorn handles signals while it runs, and raises them again afterwards

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    host, port = listening.getsockname()[:2]
    on_start(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
    if options.workers == 1:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_serve_one_process(options.model, server, listening))
    else:
        with tempfile.TemporaryDirectory(prefix="token2wave-metrics-") as folder:
            _require_space(folder, options.workers)
            os.environ[FOLDER_VARIABLE] = folder
            supervisor = Multiprocess(config, sockets=[listening])
            if not server.should_exit:
                supervisor.run()
            listening.close()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the interpreter would restore the default, which kills


async def _serve_one_process(model: Path, server: uvicorn.Server, listening: socket.socket) -> None:
    loop = asyncio.get_running_loop()

    async def reload() -> None:
        try:
            await asyncio.to_thread(lambda: server.config.loaded_app.replace(load(model)))
        except Exception as error:
            log.error("the old model stays: %s", error)
        else:
            log.info("reloaded the model")

    async with asyncio.TaskGroup() as tasks:
        if hasattr(signal, "SIGHUP"):
            loop.add_signal_handler(signal.SIGHUP, lambda: tasks.create_task(reload()))
        await server.serve(sockets=[listening])


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
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # connections inherit them
        listening.setsockopt(socket.SOL_SOCKET, option, KERNEL_BYTES)
    return listening


def _require_space(folder: str, workers: int) -> None:
    """Check that the disk has room for the shared metrics.

    Raises:
        ConfigError: it has not.
    """
    n_bytes, free = workers * BYTES_PER_PROCESS, shutil.disk_usage(folder).free
    if free < n_bytes:
        raise ConfigError(
            f"expected {n_bytes / 1e6:.0f} MB for the metrics of {workers} processes, "
            f"found {free / 1e6:.0f} MB in {Path(folder).parent}",
            location="--workers",
            hint="free some space, or set TMPDIR to another folder",
        )


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
