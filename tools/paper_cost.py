"""What the recipes of the papers cost: `python -m tools.paper_cost` writes the tables of docs/paper-recipes.md.

Runs, steps, batches and lengths are those of the recipes, numbers of rows the official ones. Operations:

    training step    per weight and token 2 forward and 2 backward (no gradient of weights), attention 3 times its forward pass
    scored row       per weight and token 2, attention once; all of it twice where `train.select = "loss"` reads the row again

The constants were measured or are assumed; docs/paper-recipes.md says which.
"""

import re
from dataclasses import dataclass
from itertools import groupby
from math import ceil

from cpeft.data.splits import _ATTEMPT, _TPV_TEXT, CARVED, LARGE
from cpeft.study.recipe.recipe import load_recipe, packaged_recipes
from cpeft.study.recipe.runs import TrainingRun
from cpeft.tasks import Task
from cpeft.tasks.custom import find_task
from tools.reference import DOCS, table

PAGE = DOCS / "paper-recipes.md"
RECIPES = ("attempt", "attempt-original", "tpv-t5", "tpv-llama", "tpv-deepseek")

# Mean tokens of a source in `fields` cut at 256 and at 512, and as an instruction cut at 472 (a chat's template takes 40 more):
# 1,500 rows in T5's tokenizer. Those of UNSEEN are guesses from the length of their texts.
LENGTHS = {
    "squad": (182, 193, 202), "sst2": (22, 22, 42), "qnli": (59, 59, 81), "mnli": (49, 49, 72), "qqp": (41, 41, 58),
    "stsb": (40, 40, 60), "mrpc": (72, 72, 89), "rte": (87, 87, 113), "cola": (15, 15, 33), "multirc": (246, 390, 388),
    "boolq": (155, 161, 187), "wic": (36, 36, 56), "wsc": (46, 46, 68), "cb": (99, 100, 120), "scitail": (49, 49, 73),
    "trec": (28, 28, 53), "dbpedia": (95, 95, 138), "snli": (38, 38, 61), "ag_news": (73, 73, 91), "sst5": (37, 37, 65),
    "imdb": (219, 301, 309), "yelp": (151, 181, 192), "squad_v2": (191, 205, 224), "math": (89, 97, 115),
}  # fmt: skip
UNSEEN = {
    "record": (246, 330, 350), "winogrande": (40, 40, 60), "paws": (70, 70, 90), "yahoo": (110, 130, 150),
    "nq": (200, 240, 260), "hotpotqa": (240, 320, 340), "searchqa": (256, 512, 472), "newsqa": (256, 500, 472),
}  # fmt: skip
TEMPLATE, LABEL = 40, 4  # tokens of a chat's template, and of a label with its end
OPEN = {"math": 281}  # tokens of an open answer; of the others ANSWER
ANSWER, GENERATED = 6, 128  # the latter where `eval.max_new_tokens` says nothing
MISMATCHED = 9832  # rows of MNLI's second validation set

CPU = 2 * 153e9  # operations a second: two cores, each as measured
A100 = {"float32": 0.5 * 19.5e12, "bfloat16": 0.35 * 312e12}  # an assumed share of the peak
LAUNCH = 0.5e-3  # seconds that a forward pass of one block takes at least on a GPU; a training step takes three times as long
ROOM, PADDED = (
    36e9,
    1.5,
)  # bytes of 40 GB that can be used; widest row of a batch without `padding = "room"`, over the mean


@dataclass(frozen=True)
class Shape:
    """A model: its blocks (of an encoder-decoder, of each half), and `saved`: bytes that a token leaves in a block for the
    backward pass, by number format, constant and per position that it attends to."""

    seq2seq: bool
    blocks: int
    d: int
    kv: int
    ff: int
    vocabulary: int
    saved: dict[str, tuple[float, float]]

    @property
    def weights(self) -> tuple[int, int]:
        """Weights that a token of the source meets, and a token of the target (logits included)."""
        d, head = self.d, self.d * self.vocabulary
        if self.seq2seq:  # keys and values of cross-attention are made of the source
            return self.blocks * (6 * d * d + 2 * d * self.ff), self.blocks * (6 * d * d + 2 * d * self.ff) + head
        block = 2 * d * d + 2 * d * self.kv + 3 * d * self.ff
        return self.blocks * block, self.blocks * block + head

    @property
    def total(self) -> int:
        """Weights in memory."""
        tables = self.d * self.vocabulary * (1 if self.seq2seq else 2)
        return self.weights[0] + (self.weights[1] - self.d * self.vocabulary if self.seq2seq else 0) + tables

    def row(self, source: float, target: float) -> tuple[float, float]:
        """Operations of a row's forward pass: of weights, and of attention."""
        here, there = self.weights
        reach = source**2 + target * (target + source) if self.seq2seq else (source + target) ** 2 / 2
        return 2 * (here * source + there * target), 4 * self.blocks * self.d * reach


T5 = {"float32": (54_440.0, 140.3), "bfloat16": (41_760.0, 141.1)}
SHAPES = {
    "google-t5/t5-base": Shape(True, 12, 768, 768, 3072, 32128, T5),
    "meta-llama/Llama-3.1-8B-Instruct": Shape(False, 32, 4096, 1024, 14336, 128256, {"bfloat16": (151_784.0, 0.0)}),
    "deepseek-ai/deepseek-llm-7b-chat": Shape(False, 30, 4096, 4096, 11008, 102400, {"bfloat16": (131_816.0, 0.0)}),
}


MEMORY = (  # model, positions of the longest row, tokens of its micro-batch: a batch, at most `gang.token_budget`
    ("google-t5/t5-base", 356, 32 * 356), ("google-t5/t5-base", 612, 16384),
    ("meta-llama/Llama-3.1-8B-Instruct", 612, 16384), ("deepseek-ai/deepseek-llm-7b-chat", 612, 16384),
)  # fmt: skip


def split_sizes(task: Task, policy: str) -> tuple[int, int, int]:
    """Rows that train, validate and test under a policy of `data/splits.py`, from the official numbers."""
    official, rules = task.official, {"attempt": _ATTEMPT, "tpv-text": _TPV_TEXT, "s0-text": {}}[policy]
    train, held = official.train or 0, official.validation or official.test or 0
    rule = next((rule for rule, names in rules.items() if {task.name, *task.folders} & set(names.split())), "as-is")
    if policy == "s0-text" or rule == "small":
        validation = CARVED if policy == "s0-text" and train > LARGE and held > CARVED else held // 2
        return train, validation, held - validation
    if rule == "as-is":
        return train, official.validation or 0, official.test or held
    if rule == "mismatched":
        return train, MISMATCHED, held
    validation = min(CARVED, train // 2)
    return train - validation, validation, (official.test or 0) if rule == "large-test" else held


@dataclass(frozen=True)
class Cost:
    """Of one run: steps, rows that train and that are scored, tokens of both without padding, seconds on a GPU by number
    format, and on the CPU."""

    steps: int
    trained: float
    scored: float
    tokens: float
    gpu: dict[str, float]
    cpu: float


def cost(run: TrainingRun) -> Cost:
    settings, shape = run.settings, SHAPES[run.settings.model.name]
    data, train, budget = settings.data, settings.train, settings.eval.token_budget
    tasks = [find_task(name, run.base) for name in run.tasks]
    sizes = [split_sizes(task, data.split) for task in tasks]
    kept = [min(n, data.limit_train or n, n if data.few_shot == "full" else data.few_shot) for n, _, _ in sizes]
    epoch = ceil(sum(kept) / train.batch)
    steps = ceil((train.epochs or 0) * epoch) if train.steps is None else train.steps
    every = train.eval_every
    interval = epoch if every == "epoch" else max(round(every * steps), 1) if every < 1 else int(every)
    evaluations = max(ceil(steps / max(interval, 1)), 1)
    prompt = 0 if settings.changes_model else settings.prompt.length
    backward = {"fine_tuning": 2}.get(settings.method.name, 1)  # gradients of weights are as much again
    room = data.max_source if data.padding == "room" else None
    blocks = shape.blocks * (2 if shape.seq2seq else 1)
    training, gpu_scoring, cpu_scoring, tokens, scored = [0.0, 0.0], 0.0, 0.0, 0.0, 0
    passes, rates = 0.0, dict.fromkeys(shape.saved, 0.0)
    for task, (_, validation, test), own in zip(tasks, sizes, kept, strict=True):
        source, target, generated = lengths(task, run)
        share = train.batch * steps * own / sum(kept) if steps else 0.0
        padded = room or min(PADDED * source, data.max_source)
        before = prompt, prompt if shape.seq2seq else prompt / train.batch  # a CPU reads it once for a batch
        for place, width in enumerate((padded, source)):
            weights, attention = shape.row(before[place] + width, target)
            training[place] += share * ((1 + backward) * weights + 3 * attention)
        validated = evaluations * min(validation, data.limit_validation or validation)
        rows = validated + min(test, data.limit_test or test)
        again = validated / rows if train.select == "loss" else 0.0  # they are read for their loss too
        wide = prompt + (room or source) + target
        gpu_scoring += rows * (1 + again) * sum(shape.row(prompt + (room or source), target))
        cpu_scoring += rows * (1 + again) * sum(shape.row(before[1] + source, target))
        passes += ceil(rows / max(budget // wide, 1)) * (1 + again + generated * (0.5 if shape.seq2seq else 1))
        tokens += (share + rows * (1 + again)) * (prompt + source + target)
        scored += rows
    for dtype in rates:
        floor = LAUNCH * blocks * 3 * steps, LAUNCH * blocks * passes
        rates[dtype] = max(training[0] / A100[dtype], floor[0]) + max(gpu_scoring / A100[dtype], floor[1])
    return Cost(steps, train.batch * steps, scored, tokens, rates, (training[1] + cpu_scoring) / CPU)


def lengths(task: Task, run: TrainingRun) -> tuple[float, float, float]:
    """Mean tokens of a row's source and target, and steps of generation of a batch, the longest of its answers."""
    data, options = run.settings.data, run.settings.eval
    short, long, instruction = (LENGTHS | UNSEEN)[task.name]
    source = instruction + TEMPLATE if data.form == "chat" else long if data.max_source > 256 else short
    closed = bool(task.labels()) or task.name == "stsb"
    target = LABEL if closed else OPEN.get(task.name, ANSWER)
    return min(source, data.max_source), target, LABEL if closed else options.max_new_tokens or GENERATED


def stages(name: str) -> list[str]:
    """The table of one recipe's stages."""
    runs = load_recipe(packaged_recipes()[f"paper/{name}"]).training
    dtypes = list(SHAPES[runs[0].settings.model.name].saved)
    groups = [(f"`{stage}`", [cost(run) for run in own]) for stage, own in groupby(runs, lambda run: run.stage)]
    rows = []
    for stage, costs in [*groups, ("all", [one for _, own in groups for one in own])]:
        sums = [
            sum(values)
            for values in zip(*((c.trained / 1e6, c.scored / 1e6, c.tokens / 1e9) for c in costs), strict=True)
        ]
        hours = [sum(c.gpu[dtype] for c in costs) / 3600 for dtype in dtypes]
        days = sum(c.cpu for c in costs) / 86400
        rows.append([stage, f"{len(costs):,}", f"{sum(c.steps for c in costs):,}", *map(short, [*sums, *hours, days])])
    head = ["stage", "runs", "steps", "rows trained, million", "rows scored, million", "tokens, billion"]
    return table([*head, *(f"hours on an A100, {dtype}" for dtype in dtypes), "days on two cores"], rows)


def memory() -> list[str]:
    """What a micro-batch takes on a GPU; what would fit with gradient checkpointing and in 4 bits."""
    rows = []
    for name, longest, tokens in MEMORY:
        shape = SHAPES[name]
        for dtype, (constant, each) in shape.saved.items():
            size, block = (4 if dtype == "float32" else 2), constant + each * longest
            logits = 0 if shape.seq2seq else 12 * shape.vocabulary  # bfloat16, and float32 forward and backward
            weights, token = shape.total * size, shape.blocks * block + logits
            kept = logits + shape.blocks * shape.d * size + block  # what enters each block, and all of one block
            packed = weights - shape.weights[0] * (size - 4.5 / 8)
            fits = [f"{(ROOM - held) / one:,.0f}" for held, one in ((weights, token), (weights, kept), (packed, token))]
            if shape.seq2seq:
                fits[1:] = ["", ""]
            peak = short((weights + tokens * token) / 1e9)
            rows.append([name.partition("/")[2], dtype, str(longest), short(weights / 1e9), f"{token / 1e6:.1f}", f"{tokens:,}",
                         peak, *fits])  # fmt: skip
    head = ["model", "format", "longest row", "weights, GB", "MB a token", "tokens of a micro-batch", "peak, GB"]
    return table([*head, "tokens that fit 40 GB", "with checkpointing", "with weights in 4 bits"], rows)


def short(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def page(text: str) -> str:
    """The page with its tables as they are now."""
    made = {name: stages(name) for name in RECIPES} | {"memory": memory()}
    return re.sub(
        r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)",
        lambda found: found[1] + "\n".join(made[found[2]]) + found[3],
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
