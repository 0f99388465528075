"""The JSON of requests and answers. Fields that are not listed are refused, so that none is ignored in silence."""

import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from cpeft.serve.results import Result

OPEN_TOKENS = 128  # of an answer where the request does not say


def _unicode(text: str) -> str:
    """JSON can write half of a surrogate pair, which no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("not valid Unicode") from None
    return text


Text = Annotated[str, AfterValidator(_unicode)]
Name = Annotated[str, Field(max_length=200)]
Cell = Text | int | float | bool | None


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PredictRequest(_Shape):
    """Raw rows of a task."""

    prompt: Name | list[Name] = Field(description="The name of a prompt, for all rows or one for each.")
    rows: list[dict[Text, Cell]] = Field(description="Rows by column, as `cpeft predict` reads them from a file.")
    exact: bool = Field(
        False,
        description="Answer each row in a batch of its own, so that its numbers are the same to the last bit whatever else "
        "is asked.",
    )


class RowAnswer(BaseModel):
    """The answer to one row."""

    prompt: str
    answer: str = Field(description="The label, or the text of an open answer or of one that is no label.")
    in_label_set: bool | None = Field(description="Whether the answer is a label; null for open answers.")
    probabilities: dict[str, float] | None = Field(
        description="Of every label; they sum to one. Null for open answers."
    )
    attention: dict[str, float] | None = Field(description="The weight of every source prompt, where the method mixes.")


class Usage(BaseModel):
    """Counts of a request: rows; tokens of their texts and of their answers; rows of the soft prompts; texts that were cut to
    fit, and texts with characters that the tokenizer does not know."""

    rows: int
    text_tokens: int
    answer_tokens: int
    prompt_rows: int
    cut: int
    unknown: int


class PredictResponse(BaseModel):
    """Answers in the order of the rows."""

    id: str
    answers: list[RowAnswer]
    usage: Usage


class StreamOptions(_Shape):
    """Options of a stream."""

    include_usage: bool = False


class _OpenAI(_Shape):
    """Fields of OpenAI's requests that are understood. Answers are greedy, so `seed` and `user` change nothing."""

    model: Name
    temperature: float | None = None
    n: Literal[1] = 1
    stream: bool = False
    stream_options: StreamOptions | None = None
    seed: int | None = None
    user: str | None = None

    @field_validator("temperature")
    @classmethod
    def _greedy(cls, temperature: float | None) -> float | None:
        if temperature:
            raise ValueError("answers are greedy: leave temperature out, or set it to 0")
        return temperature


class CompletionRequest(_OpenAI):
    """Texts to be continued."""

    prompt: Text | list[Text]
    max_tokens: Annotated[int, Field(ge=1)] = 16


class TextPart(_Shape):
    """A part of a message."""

    type: Literal["text"]
    text: Text


class Message(_Shape):
    """A message of a chat."""

    role: Literal["user"]
    content: Text | list[TextPart]


class ChatRequest(_OpenAI):
    """One message of a user."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=1)] = Field(
        description="One message of a user: prompts are trained on one turn, without a system message."
    )
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None

    @property
    def new_tokens(self) -> int:
        """The most tokens of an answer to a text."""
        return self.max_completion_tokens or self.max_tokens or OPEN_TOKENS

    @property
    def text(self) -> str:
        """The user's words."""
        content = self.messages[0].content
        return content if isinstance(content, str) else "".join(part.text for part in content)


def predicted(request_id: str, results: Sequence[Result], cut: int) -> PredictResponse:
    """The answer to a PredictRequest."""
    answers = [
        RowAnswer(
            prompt=each.prompt,
            answer=each.answer,
            in_label_set=each.in_label_set,
            probabilities=each.probabilities,
            attention=each.attention,
        )
        for each in results
    ]
    usage = Usage(
        rows=len(results),
        text_tokens=sum(each.read for each in results),
        answer_tokens=sum(each.generated for each in results),
        prompt_rows=sum(each.length for each in results),
        cut=cut,
        unknown=sum(each.unknown for each in results),
    )
    return PredictResponse(id=request_id, answers=answers, usage=usage)


def completion(request_id: str, results: Sequence[Result], asked: CompletionRequest) -> dict[str, Any]:
    """The answer to a CompletionRequest in OpenAI's shape."""
    choices = [
        {"index": place, "text": each.answer, "logprobs": None, "finish_reason": finish(each, asked.max_tokens)}
        for place, each in enumerate(results)
    ]
    return _envelope("cmpl", "text_completion", request_id, asked.model, choices) | {"usage": _usage(results)}


def chat(request_id: str, result: Result, asked: ChatRequest) -> dict[str, Any]:
    """The answer to a ChatRequest in OpenAI's shape."""
    message = {"role": "assistant", "content": result.answer}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish(result, asked.new_tokens)}
    return _envelope("chatcmpl", "chat.completion", request_id, asked.model, [choice]) | {"usage": _usage([result])}


def completion_chunk(
    request_id: str, model: str, place: int, text: str, end: str | None, opening: bool
) -> dict[str, Any]:
    """A part of the answer to a CompletionRequest; `end` says why it is the last of its row."""
    choice = {"index": place, "text": text, "logprobs": None, "finish_reason": end}
    return _envelope("cmpl", "text_completion", request_id, model, [choice])


def chat_chunk(request_id: str, model: str, place: int, text: str, end: str | None, opening: bool) -> dict[str, Any]:
    """A part of the answer to a ChatRequest; the `opening` one names the role."""
    delta = {"role": "assistant"} if opening else {}
    choice = {"index": place, "delta": delta | {"content": text}, "logprobs": None, "finish_reason": end}
    return _envelope("chatcmpl", "chat.completion.chunk", request_id, model, [choice])


def usage_chunk(request_id: str, asked: CompletionRequest | ChatRequest, results: Sequence[Result]) -> dict[str, Any]:
    """The last chunk of a stream where usage was asked for."""
    texts = isinstance(asked, CompletionRequest)
    kind, name = ("cmpl", "text_completion") if texts else ("chatcmpl", "chat.completion.chunk")
    return _envelope(kind, name, request_id, asked.model, []) | {"usage": _usage(results)}


def finish(result: Result, most: int) -> str:
    """Why an answer ended: the model ended it, or it had so many tokens."""
    return "length" if result.generated >= most else "stop"


def _usage(results: Sequence[Result]) -> dict[str, int]:
    read, generated = sum(each.read for each in results), sum(each.generated for each in results)
    return {"prompt_tokens": read, "completion_tokens": generated, "total_tokens": read + generated}


def _envelope(kind: str, name: str, request_id: str, model: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": f"{kind}-{request_id}",
        "object": name,
        "created": int(time.time()),
        "model": model,
        "choices": choices,
    }
