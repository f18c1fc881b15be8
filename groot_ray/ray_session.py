"""This process's Ray: the cluster that it was submitted to, or a local one that ends with the process."""

from __future__ import annotations

import json
import logging
import os
import resource
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from groot_ray.errors import ConfigurationError, ServiceUnavailableError, TemporaryFailureError
from groot_ray.system_errors import explained_system_errors
from groot_ray.termination import kept_handlers

log = logging.getLogger(__name__)

STARTS = 3
TOKEN_LOGGER = "ray._private.authentication.authentication_token_setup"
SHARED_MEMORY = "/dev/shm"
SOCKET = "ray/session_2026-01-01_00-00-00_000000_{pid}/sockets/plasma_store"  # the longest of Ray's
SOCKET_BYTES = 107  # of a Unix socket's path
OPEN_FILES = 8192  # what Ray recommends
FEWEST_OPEN_FILES = 256
SESSION_BYTES = 20_000_000  # of logs at least
# JSON {"pods": n, "gpus": n}: worker pods and GPUs that the cluster can add; set by the stage's Job.
GROWTH = "GROOT_RAY_GROWTH"


def growth() -> dict[str, int]:
    """Number of pods and GPUs that the Ray cluster can still add; empty if unknown."""
    found: dict[str, int] = json.loads(os.environ.get(GROWTH) or "{}")
    return found


def has_gpus() -> bool:
    """Whether the connected cluster has GPUs or can add some."""
    import ray

    return bool(ray.cluster_resources().get("GPU", 0) > 0 or growth().get("gpus", 0) > 0)


def ensure_ray(cpus: int | None = None) -> None:
    """Connect to the cluster at RAY_ADDRESS, or start a local Ray for this process; once only.

    Other Ray clusters on this machine are not used. A local Ray has `cpus` CPUs, by default all of the machine.

    Raises:
        ServiceUnavailableError: Ray does not start, or the cluster does not answer.
    """
    # On a busy machine Ray needs more than its default 30 s to start; the variable is read on import.
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "180")
    import ray

    logging.getLogger("ray").setLevel(logging.WARNING)
    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS")
    with kept_handlers():
        if address:
            _connect(address)
        else:
            _start(cpus)


def end_local_ray() -> None:
    """End this process's own Ray with all of its workers; a cluster that it is connected to goes on."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized() and not os.environ.get("RAY_ADDRESS"):
        with kept_handlers(), suppress(Exception):  # parts of it may be gone
            ray.shutdown()


@contextmanager
def explained_ray_errors() -> Iterator[None]:
    """Context manager that turns the loss of Ray's processes into `TemporaryFailureError`; Ray is not imported."""
    try:
        yield
    except Exception as error:
        if not is_ray_failure(error):
            raise
        raise TemporaryFailureError(f"Ray was lost ({first_line(error)}); run the same command to continue") from error


def is_ray_failure(error: BaseException) -> bool:
    """Whether an error says that a process of Ray was lost, not that a task raised something."""
    exceptions = getattr(sys.modules.get("ray"), "exceptions", None)
    if exceptions is None:
        return False
    if isinstance(error, exceptions.RayTaskError):
        return error.cause is not None and is_ray_failure(error.cause)
    if isinstance(error, exceptions.RayError):
        return True
    return type(error).__module__.startswith(("ray.", "grpc")) or type(error).__name__ == "RpcError"


def first_line(error: BaseException) -> str:
    """The first line of an error's text with content, at most 300 characters; its type if it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300].rstrip(".") if lines else type(error).__name__


def _connect(address: str) -> None:
    import ray

    try:
        os.environ.setdefault("RAY_COLOR_PREFIX", "0")  # the driver's output becomes a log file
        ray.init(log_to_driver=True, logging_level=logging.WARNING)
    except ConnectionError as error:
        raise ServiceUnavailableError(f"the Ray cluster at {address} does not answer ({error}); try again") from error


def _check_session_folder(folder: Path) -> None:
    """Raise `ConfigurationError` if Ray cannot keep its sockets and logs in `folder`; it would only time out."""
    longest = len(os.fsencode(folder.absolute() / SOCKET.format(pid=os.getpid())))
    if longest > SOCKET_BYTES:
        raise ConfigurationError(
            f"the temporary folder {folder} is too long for Ray's sockets ({longest} of {SOCKET_BYTES} bytes); "
            "set RAY_TMPDIR to a shorter folder"
        )
    with explained_system_errors():
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        with tempfile.TemporaryFile(dir=folder):
            pass
    if free < SESSION_BYTES:
        raise ConfigurationError(
            f"the temporary folder {folder} has {free / 1e6:.1f} MB free, and Ray needs {SESSION_BYTES // 10**6} MB "
            "for its logs; free up space or set RAY_TMPDIR to a larger disk"
        )


def _check_open_files() -> None:
    """Raise this process's limit of open files as far as it may; raise `ConfigurationError` if Ray would hang."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < FEWEST_OPEN_FILES:
        raise ConfigurationError(
            f"this process may open only {wanted} files, and Ray needs {FEWEST_OPEN_FILES}; raise the limit (ulimit -n)"
        )


def _provide_token() -> None:
    """Where Ray cannot keep its token in ~/.ray, as in a pod with a read-only or missing home, give it one directly."""
    if any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
        return
    kept = Path(os.path.expanduser("~/.ray"))
    if (kept / "auth_token").is_file():
        return
    try:
        kept.mkdir(parents=True, exist_ok=True)
    except OSError:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        return
    if not os.access(kept, os.W_OK):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _start(cpus: int | None) -> None:
    import ray

    # Ray protects a local cluster with a token and warns about it at each start. No action is needed: the token is
    # created in ~/.ray, where both ends find it. RAY_AUTH_MODE can still change this.
    logging.getLogger(TOKEN_LOGGER).setLevel(logging.ERROR)
    folder = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    _check_session_folder(folder)
    _check_open_files()
    _provide_token()
    for start in range(1, STARTS + 1):
        try:
            # Tasks and workers return results as values; Ray's own output stays in its session folder.
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.WARNING,
                # A container may have no /dev/shm that can be written; Ray itself handles one that is too small.
                _plasma_directory=None if os.access(SHARED_MEMORY, os.W_OK) else str(folder),
            )
            return
        except Exception as error:  # Ray has no specific error for a start that took too long
            ray.shutdown()
            if "timed out during startup" not in str(error):
                raise
            if start == STARTS:
                raise ServiceUnavailableError(
                    f"Ray did not start in {STARTS} attempts ({error}); the machine may be too busy, try again"
                ) from error
            log.warning("Ray took too long to start on this machine; trying again")
