"""A chat model's template as a frame around source and target.

    before  source  cue  behind | answer end-of-turn
    `--------- source --------'   `--- target ----'

The template is rendered once, with placeholders for the two messages. Training reads the text of `apply_chat_template` for both
turns up to the end of the assistant's turn, and generation reads the same text up to the answer. Special tokens are those of
the template: none is added a second time, as the published code did (papers.md E-27). Text that a template puts before every
answer (an empty block of thoughts, for example) is part of the source.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from jinja2 import TemplateError

from cpeft.errors import ConfigError
from cpeft.models.row_tokens import RowTokens
from cpeft.models.text import TextCodec

USER_MARK, ANSWER_MARK = "cpeft-asked", "cpeft-said"
# Templates that contain the date must not change from day to day; this date is LLaMA 3.1's default.
DAY = "{% macro strftime_now(form) %}26 Jul 2024{% endmacro %}"


class ChatCodec(TextCodec):
    """Sources in the user's turn, targets in the assistant's."""

    special = False

    def __init__(self, tokenizer: Any, config: Any) -> None:
        super().__init__(tokenizer, config)
        name = tokenizer.name_or_path or type(tokenizer).__name__
        if self.encoder_decoder:
            raise ConfigError("data.form = 'chat' is for decoder-only models; use form = 'instruction'")
        self.name = name
        self.before, behind, after = rendered(tokenizer, name)
        self.tokens = RowTokens(tokenizer, self.before + behind + after)
        self.behind = behind.rstrip(" ")  # a space before the answer belongs to its first token
        self._lead = behind[len(self.behind) :]
        known = {*tokenizer.get_added_vocab().values(), *tokenizer.all_special_ids}
        stop = next((token for token in self.tokens.ids([""], behind=after)[0] if token in known), None)
        self._after = ""
        if stop is not None:
            word = tokenizer.convert_ids_to_tokens(stop)
            self._after, self.end = after[: after.index(word) + len(word)], stop

    @cached_property
    def takes_turns(self) -> bool:
        return bool(self._around(2))

    def _around(self, turns: int) -> list[str]:
        """The template's text around the messages of earlier turns of user and assistant; empty if it does not render them, or
        if its text after them differs from that without them."""
        pairs = [(f"cpeft-turn-{i}-asked", f"cpeft-turn-{i}-said") for i in range(turns)]
        words = [word for pair in pairs for word in pair]
        try:
            before, *rest = rendered(self.tokenizer, self.name, pairs)
        except ConfigError:
            return []
        found = re.findall("|".join(words), before)
        same = found == words and rest == list(rendered(self.tokenizer, self.name)[1:])
        return re.split("|".join(words), before) if same else []

    def lead(self, examples: Sequence[tuple[str, str]], opening: str = "", cue: str = "") -> list[str]:
        """Examples as earlier turns, or within the user's turn if the template renders no earlier turns."""
        around = self._around(len(examples)) if examples else []
        if not around:
            return super().lead(examples, opening, cue)
        parts: list[str] = []
        for place, (text, answer) in enumerate(examples):
            parts += [around[2 * place], text.strip(), cue.rstrip() + around[2 * place + 1], answer.strip()]
        return [*parts, around[-1], opening]

    def after(self, cue: str) -> str:
        """As in the plain form; spaces at the end of the cue are removed, as most templates do."""
        return super().after(cue.rstrip())

    def targets(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of answers with the token that ends the turn, tokenized after the template's text. Raises
        ConfigError if the tokenizer joins both in one token, so that answers cannot be separated from the template."""
        answers = [self._lead + text.strip() for text in texts]
        rows = self.tokens.ids(answers, before=self.behind, behind=self._after)
        context = self.tokens.ids([""], before=self.behind)[0] if self.behind else []
        if any(row[: len(context)] != context for row in rows):
            raise ConfigError(
                f"the tokenizer joins answers with the chat template's text before them ({self.behind[-20:]!r}); "
                "use data.form = 'instruction'"
            )
        rows = [row[len(context) :] for row in rows]
        return [row if row[-1:] == [self.end] else [*row, self.end] for row in rows]


def rendered(tokenizer: Any, name: str, earlier: Sequence[tuple[str, str]] = ()) -> tuple[str, str, str]:
    """The template's text before the user message (with the `earlier` turns of user and assistant), between this message and
    the answer, and after the answer. Raises ConfigError if there is no template, or if it does not contain both messages
    exactly once and in this order."""
    if not getattr(tokenizer, "chat_template", None):
        raise ConfigError(
            f"{name} has no chat template, so it is not a chat model; use data.form = 'instruction' or 'fields'"
        )
    turns = [
        {"role": role, "content": content}
        for pair in (*earlier, (USER_MARK, ANSWER_MARK))
        for role, content in zip(("user", "assistant"), pair, strict=True)
    ]
    try:
        text = tokenizer.apply_chat_template(turns, chat_template=DAY + tokenizer.get_chat_template(), tokenize=False)
    except (TemplateError, ValueError) as error:
        raise ConfigError(
            f"the chat template of {name} fails on one user's and one assistant's turn: {error}"
        ) from None
    before, user, rest = text.partition(USER_MARK)
    behind, answer, after = rest.partition(ANSWER_MARK)
    if not (user and answer) or USER_MARK in rest or ANSWER_MARK in before + after:
        raise ConfigError(
            f"the chat template of {name} must contain the user message and then the answer, exactly once each"
        )
    return before, behind, after
