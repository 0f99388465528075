"""A client of `cpeft serve`.

with cpeft.Client("http://127.0.0.1:8000") as client:
    for row in client.predict("mood", [{"text": "what a day"}]):
        print(row.answer, row.probabilities)
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cpeft.errors import ConfigError, CpeftError


class RequestFailed(CpeftError):
    """The server refused a request or did not answer; `status` is that of HTTP, None without an answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Prediction:
    """The answer of `prompt` to one row, None where the server abstains. `in_label_set` and `probabilities` are None for open
    answers, `attention` where the method mixes no prompts."""

    prompt: str
    answer: str | None
    in_label_set: bool | None
    probabilities: dict[str, float] | None
    attention: dict[str, float] | None


class Client:
    """Asks a server at `url`, with a `key` where it needs one. `timeout` is in seconds; a full queue is tried again `retries`
    times, and a request whose connection broke once, as its answer would be the same. Raises ConfigError without the package
    httpx."""

    def __init__(
        self, url: str = "http://127.0.0.1:8000", key: str | None = None, timeout: float = 60.0, retries: int = 3
    ) -> None:
        try:
            import httpx
        except ModuleNotFoundError:
            raise ConfigError("cpeft.Client needs the package httpx: pip install 'cpeft[serve]'") from None
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout)
        self._failed: Any = httpx.HTTPError
        self._broken: Any = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
        self.retries = retries

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def models(self) -> list[dict[str, Any]]:
        """What the server says of every prompt: `id`, `task`, `columns`, `labels`, `parent`, `hash`."""
        return list(self._call("GET", "/v1/models")["data"])

    def predict(
        self,
        prompt: str | Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        min_probability: float | None = None,
        exact: bool = False,
    ) -> list[Prediction]:
        """Answers to rows by one prompt for all, or by one for each; less probable ones than `min_probability` are left out,
        and `exact` answers each row in a batch of its own. Raises RequestFailed."""
        body = {
            "prompt": prompt if isinstance(prompt, str) else list(prompt),
            "rows": [dict(row) for row in rows],
            "min_probability": min_probability,
            "exact": exact,
        }
        return [Prediction(**answer) for answer in self._call("POST", "/v1/predict", body)["answers"]]

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        for left in range(self.retries, -1, -1):
            try:
                response = self._answered(method, path, body)
            except self._failed as error:
                raise RequestFailed(f"{self._http.base_url}: {str(error) or type(error).__name__}") from None
            if response.status_code == 429 and left:
                time.sleep(float(response.headers.get("retry-after", 1)))
                continue
            break
        if response.is_success:
            return dict(response.json())
        try:
            message = response.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):  # another program answered, such as a proxy
            message = response.text[:200]
        raise RequestFailed(f"{path}: {message} (status {response.status_code})", response.status_code)

    def _answered(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        """The response; where the connection breaks off, that to a second request."""
        try:
            return self._http.request(method, path, json=body)
        except self._broken:
            return self._http.request(method, path, json=body)
