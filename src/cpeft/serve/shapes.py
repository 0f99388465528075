"""The JSON of requests and answers. Fields that are not listed are refused, so that none is ignored in silence."""

import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from cpeft.serve.results import Result


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


class _OpenAI(_Shape):
    """Fields of OpenAI's requests that are understood. Answers are greedy, so `seed` and `user` change nothing."""

    model: Name
    temperature: float | None = None
    n: Literal[1] = 1
    stream: bool = False
    seed: int | None = None
    user: str | None = None

    @field_validator("temperature")
    @classmethod
    def _greedy(cls, temperature: float | None) -> float | None:
        if temperature:
            raise ValueError("answers are greedy: leave temperature out, or set it to 0")
        return temperature

    @field_validator("stream")
    @classmethod
    def _whole(cls, stream: bool) -> bool:
        if stream:
            raise ValueError("answers are not streamed: leave stream out")
        return stream


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
        """The most tokens of the answer."""
        return self.max_completion_tokens or self.max_tokens or 128

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
        {"index": place, "text": each.answer, "logprobs": None, "finish_reason": _finish(each, asked.max_tokens)}
        for place, each in enumerate(results)
    ]
    return _envelope("cmpl", "text_completion", request_id, asked.model, choices, results)


def chat(request_id: str, result: Result, asked: ChatRequest) -> dict[str, Any]:
    """The answer to a ChatRequest in OpenAI's shape."""
    message = {"role": "assistant", "content": result.answer}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(result, asked.new_tokens)}
    return _envelope("chatcmpl", "chat.completion", request_id, asked.model, [choice], [result])


def _finish(result: Result, most: int) -> str:
    return "length" if result.generated >= most else "stop"


def _envelope(
    kind: str, name: str, request_id: str, model: str, choices: list[dict[str, Any]], results: Sequence[Result]
) -> dict[str, Any]:
    read, generated = sum(each.read for each in results), sum(each.generated for each in results)
    return {
        "id": f"{kind}-{request_id}",
        "object": name,
        "created": int(time.time()),
        "model": model,
        "choices": choices,
        "usage": {"prompt_tokens": read, "completion_tokens": generated, "total_tokens": read + generated},
    }
