"""Answers in parts, as server-sent events in OpenAI's shape: a chunk for each part, and `[DONE]` at the end of a whole answer.

A stream that breaks off has an event `error` or ends without `[DONE]`.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import StreamingResponse

from cpeft.serve.results import Result
from cpeft.serve.web.guard import RequestError
from cpeft.serve.web.shapes import CompletionRequest, chat_chunk, completion_chunk, finish, usage_chunk

Parts = AsyncIterator[tuple[int, str] | list[Result]]


async def streamed(parts: Parts, request_id: str, asked: Any, new: int) -> StreamingResponse:
    """The parts of an answer as they come; raises what the first of them raises, before anything is sent."""
    first = await anext(parts)
    return StreamingResponse(_events(first, parts, request_id, asked, new), media_type="text/event-stream")


async def _events(first: Any, parts: Parts, request_id: str, asked: Any, new: int) -> AsyncIterator[str]:
    chunk = completion_chunk if isinstance(asked, CompletionRequest) else chat_chunk
    sent: dict[int, str] = {}

    def event(place: int, text: str, end: str | None = None) -> str:
        opening = place not in sent
        sent[place] = sent.get(place, "") + text
        return _event(chunk(request_id, asked.model, place, text, end, opening))

    try:
        part = first
        while not isinstance(part, list):
            yield event(*part)
            part = await anext(parts)
        for place, result in enumerate(part):
            yield event(place, result.answer.removeprefix(sent.get(place, "")), finish(result, new))
        if asked.stream_options and asked.stream_options.include_usage:
            yield _event(usage_chunk(request_id, asked, part))
        yield "data: [DONE]\n\n"
    except RequestError as error:
        yield f"event: error\n{_event(error.body())}"
    finally:
        await parts.aclose()  # type: ignore[attr-defined]


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content)}\n\n"
