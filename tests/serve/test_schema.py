"""Requests drawn from the server's own OpenAPI schema: none is answered with an internal error or outside the schema.

`CPEFT_SCHEMA_CASES` sets the number of cases for each endpoint."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpeft.serve.results import Limits

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis, which draws the requests, is not installed")
CASES = int(os.environ.get("CPEFT_SCHEMA_CASES", "20"))
NAMES = ("prompt", "model")


def with_real_names(case, names, draw):
    """The case, in two of three with a prompt that is served, so that it comes past the look-up of names."""
    if isinstance(case.body, dict) and draw(st.sampled_from((True, True, False))):
        for key in NAMES:
            if key in case.body and (key == "model" or "rows" in case.body):
                case.body[key] = draw(st.sampled_from(names))
        if isinstance(rows := case.body.get("rows"), list) and rows:
            case.body["rows"] = [{"text": draw(st.text(max_size=20))} for _ in rows]
        if "max_tokens" in case.body:
            case.body["max_tokens"] = draw(st.integers(1, 8))
    return case


def test_no_request_of_the_schema_is_answered_with_an_internal_error(serving):
    with serving(limits=Limits(rows=8)) as running:
        schema = schemathesis.openapi.from_url(f"{running.url}/openapi.json")
        names = [*running.engine.catalogue.names()]
        statuses = set()
        for found in schema.get_all_operations():
            operation = found.ok()

            @settings(max_examples=CASES, database=None, suppress_health_check=list(HealthCheck), derandomize=True)
            @given(case=operation.as_strategy(), data=st.data())
            def ask(case, data):
                response = with_real_names(case, names, data.draw).call(base_url=running.url, timeout=60)
                assert response.status_code < 500, (case.path, case.body, response.text)
                if response.status_code == 200:
                    case.operation.validate_response(response)
                statuses.add((case.path, response.status_code))

            ask()
    assert {("/v1/predict", 200), ("/v1/completions", 200), ("/v1/models", 200), ("/health", 200)} <= statuses
    assert {status for _, status in statuses} <= {200, 400, 403, 404, 413, 429}  # 403: calls of an admin
