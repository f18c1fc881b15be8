"""Ray's job API over HTTP with a token, without importing Ray."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import urllib3

from groot_ray.cluster.ray.log_text import text_after
from groot_ray.errors import ConfigurationError, ServiceUnavailableError, TemporaryFailureError

FINISHED = ("SUCCEEDED", "FAILED", "STOPPED")
TRANSIENT = (408, 425, 429)  # statuses by which a server, or a proxy before it, asks to try again
NEVER_SET = "GROOT_RAY_NEVER_SET"  # see `literal`


class AlreadySubmittedError(TemporaryFailureError):
    """The submission's id was used before."""


@dataclass(frozen=True)
class JobState:
    """State of a submitted Ray job: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""

    status: str
    message: str
    exit_code: int | None

    @property
    def finished(self) -> bool:
        """Whether this state is final."""
        return self.status in FINISHED


class RayJobs:
    """The job API of one Ray cluster; `address` is the http address of its dashboard."""

    def __init__(self, address: str, token: str | None) -> None:
        self.address = normal_address(address)
        self.headers = {"Content-Type": "application/json"}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"
        self.pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=5, read=60))

    def ray_version(self) -> str:
        """Version of the cluster's Ray."""
        return str(self._object(*self._send("GET", "/api/version")).get("ray_version", ""))

    def submit(self, submission_id: str, entrypoint: str, environment: dict[str, str], **runtime: Any) -> None:
        """Start `entrypoint` on the head under a new id. Values in `environment` are passed on literally.

        Raises:
            AlreadySubmittedError: the id was used before; the next attempt uses another.
            ConfigurationError: Ray refuses it for good: an invalid runtime environment or id.
            ServiceUnavailableError: Ray does not answer, or cannot take it now.
        """
        body = {
            "entrypoint": entrypoint,
            "submission_id": submission_id,
            "runtime_env": {"env_vars": {name: literal(value) for name, value in environment.items()}, **runtime},
            "metadata": {"submitted-by": "groot-ray"},
        }
        status, answer = self._send("POST", "/api/jobs/", body)
        if status >= 400:
            text = answer.decode(errors="replace")
            if "already exists" in text:
                raise AlreadySubmittedError(f"submission {submission_id} was already used; start another attempt")
            kind = ConfigurationError if _is_final(status, text) else ServiceUnavailableError
            raise kind(f"Ray at {self.address} refuses the submission: {_last_line(text)}")

    def upload(self, name: str, data: bytes) -> None:
        """Upload a package that `runtime_env` can name as gcs://NAME, unless the cluster has it."""
        status, _ = self._send("GET", f"/api/packages/gcs/{name}")
        if status == 404:
            status, answer = self._send("PUT", f"/api/packages/gcs/{name}", raw=data)
            if status >= 400:
                reason = _last_line(answer.decode(errors="replace"))
                raise ServiceUnavailableError(f"Ray at {self.address} does not take the package: {reason}")

    def state(self, submission_id: str) -> JobState | None:
        """State of a submission, or None if this cluster does not know it (its head was replaced)."""
        status, answer = self._send("GET", f"/api/jobs/{quote(submission_id)}")
        if status == 404:
            return None
        data = self._object(status, answer)
        return JobState(
            str(data.get("status")), _last_line(str(data.get("message") or "")), data.get("driver_exit_code")
        )

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs of the cluster."""
        answer = self._read(*self._send("GET", "/api/jobs/"))
        found = list(answer.values()) if isinstance(answer, dict) else answer
        if not isinstance(found, list) or not all(isinstance(job, dict) for job in found):
            raise self._not_a_dashboard()
        return found

    def log(self, submission_id: str, start: int = 0) -> Iterator[str]:
        """The driver's log so far, from character `start` on, in pieces of about 64 KiB or less."""
        answer = self._open("GET", f"/api/jobs/{quote(submission_id)}/logs")
        with self._explained(), closing(answer):
            if answer.status >= 400:
                self._read(answer.status, answer.read(2**16))
            try:
                yield from text_after(answer.stream(2**16), start)
                answer.drain_conn()
            except ValueError:
                raise self._not_a_dashboard() from None

    def stop(self, submission_id: str) -> None:
        """Ask Ray to stop a job: SIGTERM, and SIGKILL three seconds later."""
        self._send("POST", f"/api/jobs/{quote(submission_id)}/stop")

    def _object(self, status: int, answer: bytes) -> dict[str, Any]:
        data = self._read(status, answer)
        if not isinstance(data, dict):
            raise self._not_a_dashboard()
        return data

    def _read(self, status: int, answer: bytes) -> Any:
        if status >= 400:
            raise ServiceUnavailableError(
                f"Ray at {self.address} answers {status}: {_last_line(answer.decode(errors='replace'))}"
            )
        try:
            return json.loads(answer)
        except ValueError:
            raise self._not_a_dashboard() from None

    def _not_a_dashboard(self) -> ServiceUnavailableError:
        return ServiceUnavailableError(f"{self.address} is not a Ray dashboard: it answers with something else")

    def _send(self, method: str, path: str, body: Any = None, raw: bytes | None = None) -> tuple[int, bytes]:
        answer = self._open(method, path, raw if body is None else json.dumps(body).encode())
        with self._explained(), closing(answer):
            return answer.status, answer.data

    def _open(self, method: str, path: str, data: bytes | None = None) -> Any:
        """Send a request; the caller reads the answer's body."""
        with self._explained():
            answer = self.pool.request(
                method, self.address + path, body=data, headers=self.headers, preload_content=False
            )
        if answer.status in (401, 403):
            answer.close()
            raise ConfigurationError(
                f"Ray at {self.address} refuses the token; set RAY_AUTH_TOKEN "
                "(kubectl get secret CLUSTER -o jsonpath='{.data.auth_token}' | base64 -d)"
            )
        return answer

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn connection errors into ServiceUnavailableError."""
        try:
            yield
        except urllib3.exceptions.HTTPError as error:
            reason = getattr(error, "reason", None) or error
            raise ServiceUnavailableError(f"Ray at {self.address} does not answer ({type(reason).__name__})") from None


def literal(value: str) -> str:
    """Escape a value for a runtime environment's `env_vars`, so that processes see it unchanged.

    Ray expands $X and ${X} in these values, then removes every remaining ${X} in capitals. So each dollar sign gets a
    variable after it that is never set: what follows is no longer a name, and Ray removes the variable.
    """
    return value.replace("$", f"$${{{NEVER_SET}}}")


def normal_address(address: str) -> str:
    """Normalize a dashboard's address: http without a trailing slash; a bare host gets Ray's port.

    Raises:
        ConfigurationError: it is not the address of a Ray dashboard.
    """
    text = address.strip().rstrip("/")
    if text.startswith("ray://"):
        raise ConfigurationError(
            f"{address!r} is for the Ray client; give the dashboard's address, such as http://HOST:8265"
        )
    if "://" not in text:
        text = f"http://{text}"
    if not re.match(r"https?://[^/@\s]+(/|$)", text):
        raise ConfigurationError(f"{address!r} is not a Ray dashboard's address; give something like http://HOST:8265")
    if re.fullmatch(r"http://[^/:]+", text):
        text += ":8265"
    return text


def _is_final(status: int, text: str) -> bool:
    """Whether a retry is pointless. The head reports its agent's refusal as 500 with the agent's status in the text."""
    passed_on = re.search(r"Request failed with status code (\d{3})", text)
    code = int(passed_on[1]) if passed_on else status
    return 400 <= code < 500 and code not in TRANSIENT


def _last_line(text: str) -> str:
    """The last line with letters; for a traceback, the error. Ray may add a period on a separate line."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip(" .")]
    return lines[-1][:300] if lines else ""
