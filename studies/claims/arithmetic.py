"""Claims that arithmetic decides, and faults of published code with what demonstrates each."""

import tomllib
from itertools import combinations
from typing import Any

from sklearn.metrics import accuracy_score

from cpeft.metrics.base import METRICS, MetricContext
from cpeft.seeds import generator
from cpeft.tasks.base import TASKS
from studies.claims.attempt import PUBLISHED, ROWS
from studies.claims.claim import Claim, Evidence, Found, Judge, Verdict
from studies.claims.frames import STUDIES, table_with

COMMAND = "python -m studies.claims"
RECIPES = STUDIES.parent / "recipes" / "paper"
WIDTH, LENGTH, BOTTLENECK, GLUE = 768, 100, 100, 8  # of T5-base; as stated; tasks of GLUE, which share an attention


def t5_base() -> int:
    """Parameters of T5-base, from its shapes: 12 + 12 blocks, width 768, 3,072 inner, 32,128 words, 32 position buckets."""
    attention, inner, table, bias = 4 * WIDTH**2, 2 * WIDTH * 3072, 32_128 * WIDTH, 32 * 12
    encoder = 12 * (attention + inner + 2 * WIDTH) + bias + WIDTH
    decoder = 12 * (2 * attention + inner + 3 * WIDTH) + bias + WIDTH
    return table + encoder + decoder


def share(count: float, claimed: float) -> Found:
    """The share of T5-base's parameters, in per cent, beside the share that is printed."""
    value = 100 * count / t5_base()
    same = round(value, 1) == claimed
    figure = f"{count:,.0f} of {t5_base():,} parameters are {value:.3f}%, printed {claimed}%"
    return Found(figure, Verdict.SUPPORTED if same else Verdict.ARTEFACT, value)


def attempt_count(tasks: int = 1) -> float:
    """Trained parameters of ATTEMPT a task: target prompt, and attention with its layer norm, shared by tasks."""
    return LENGTH * WIDTH + (2 * WIDTH * BOTTLENECK + 2 * WIDTH) / tasks


def emissions(inputs: dict[str, Any]) -> Found:
    product = inputs["hours"] * inputs["watts"] / 1000 * inputs["intensity"]
    figure = (
        f"{inputs['hours']} h x {inputs['watts'] / 1000} kW x {inputs['intensity']} kg/kWh = {product:.1f} kg, printed "
        f"{inputs['printed']} kg, which would need {1000 * inputs['printed'] / inputs['hours'] / inputs['intensity']:.0f} W"
    )
    same = abs(product - inputs["printed"]) < 0.01
    return Found(figure, Verdict.SUPPORTED if same else Verdict.ARTEFACT, product)


def exact_match(labels: list[tuple[str, ...]]) -> Found:
    """Exact match of label texts against scikit-learn's accuracy of label numbers, on random answers, some of them no label."""
    rng, equal, clashes = generator(0, "exact match"), 0, 0
    for names in labels:
        right, given = rng.integers(len(names), size=200), rng.integers(-1, len(names), size=200)
        texts = [names[number] if number >= 0 else "none of them" for number in given]
        matched = METRICS.get("exact_match")(texts, [(names[number],) for number in right], MetricContext(names))
        equal += abs(matched - 100 * accuracy_score(right, given)) < 1e-9
        clashes += sum(one[:16] == two[:16] for one, two in combinations(names, 2))
    figure = (
        f"equal on {equal} of {len(labels)} tasks with labels, on random answers; {clashes} pairs of their labels share the "
        "first 16 characters, which is all that the published code compares. SQuAD and ReCoRD have no labels, so what Table 1 "
        "calls accuracy is none there"
    )
    return Found(figure, Verdict.ARTEFACT if equal == len(labels) else Verdict.REFUTED)


def doubled(rows: list[list[str]]) -> Found:
    """The gap between prompts of one origin and of others, on all stored rows and on live rows."""
    gaps = [(row[1], row[2], float(row[5]), float(row[8])) for row in rows if row[0] == "prompts"]
    wider = sum(of_all > live for *_, of_all, live in gaps)
    last = "; ".join(
        f"{name}, {steps} steps, {of_all:.3f} on all rows, {live:.3f} on live rows"
        for name, steps, of_all, live in gaps
        if steps == "300"
    )
    figure = f"same - other origin is wider on all rows in {wider} of {len(gaps)} lines: {last}"
    return Found(figure, Verdict.ARTEFACT if wider == len(gaps) else Verdict.NOT_SHOWN)


def cut(recipe: str) -> Found:
    """The rows of the given prompts that were read, of those that are stored."""
    given = tomllib.loads((RECIPES / f"{recipe}.toml").read_text(encoding="utf-8"))
    (stage,) = [stage for stage in given["stage"] if stage["name"] == "first-half"]
    rows = int(stage["source"]["rows"].removeprefix("first:"))
    figure = f"{rows} of {LENGTH} rows were read, {100 * rows / LENGTH:.0f}%"
    return Found(figure, Verdict.ARTEFACT if rows < LENGTH else Verdict.NOT_SHOWN, 100 * rows / LENGTH)


def wrong_sst5(rows: dict[str, Any]) -> Found:
    """The column SST5 without training from the prompt of SST-2, beside SST-2 itself and the row with the real one."""
    started = rows["source 1 (SPoT): MNLI / DBPedia / SST2"]["SST5"]["0"]
    itself, real = PUBLISHED["cross_origin"]["rows"]["T5 original"]["SST2"], rows["both, ATTEMPT"]["SST5"]["0"]
    figure = (
        f"{started['mean']} ({started['std']}) untrained from SST-2's prompt; SST-2 itself {itself['mean']} ({itself['std']}); "
        f"the row with the real five classes {real['mean']} ({real['std']})"
    )
    near = abs(started["mean"] - itself["mean"]) <= started["std"] + itself["std"]
    return Found(figure, Verdict.ARTEFACT if near else Verdict.NOT_SHOWN, started["mean"])


def stringified(answer: str) -> Found:
    """The scores of a right answer against the target that the published code asks for."""
    row = {"context": f"Ask {answer}.", "question": "Who?", "answers": {"text": [answer], "answer_start": [4]}}
    example = TASKS.get("squad").example(row, written="stringified")
    em, f1 = (METRICS.get(f"squad_{name}")([answer], [example.references], MetricContext()) for name in ("em", "f1"))
    figure = f"the right answer scores exact match {em:.0f} and F1 {f1:.1f}; the target is `{example.target}`"
    return Found(figure, Verdict.ARTEFACT if em < 100 else Verdict.NOT_SHOWN, f1)


def fact(
    name: str, words: str, place: str, needs: str, judge: Judge, of: Any, *,
    study: str = "arithmetic", model: str = "T5-base, published figures", command: str = COMMAND, quoted: bool = False,
) -> Claim:  # fmt: skip
    return Claim(name, words, place, needs, (Evidence(study, model, command, lambda: of, judge),), quoted)


def labels() -> list[tuple[str, ...]]:
    """The label words of the papers' tasks that have some."""
    return [names for task in ROWS if len(names := TASKS.get(task).labels()) > 1]


NOTHING = "Nothing but the arithmetic"
CLAIMS = (
    fact(
        "0.4% of the parameters: one target",
        "0.4 % of parameters",
        "Replication, and ATTEMPT (Asai et al. 2022)",
        NOTHING,
        lambda count: share(count, 0.4),
        attempt_count(),
        quoted=True,
    ),
    fact(
        "0.4% of the parameters: eight targets share an attention",
        "0.4 % of parameters",
        "Replication, and ATTEMPT (Asai et al. 2022)",
        NOTHING,
        lambda count: share(count, 0.4),
        attempt_count(GLUE),
        quoted=True,
    ),
    fact(
        "0.2% of the parameters",
        "76 800 parameters ≈ 0.2 % of T5-base",
        "Task prompt vectors, supplement",
        NOTHING,
        lambda count: share(count, 0.2),
        LENGTH * WIDTH,
        quoted=True,
    ),
    fact(
        "240.24 kg of CO2",
        "1,200 hours at 250 W and 0.432 kg per kWh make 240.24 kg.",
        "Task prompt vectors, supplement, statement on compute",
        NOTHING,
        emissions,
        PUBLISHED["emissions"],
    ),
    fact(
        "Exact match is accuracy",
        "Exact match of the answer's text is accuracy; Table 1 calls every figure accuracy.",
        "Replication, Table 1; task prompt vectors, Table 1",
        "Both, computed on the same answers",
        exact_match,
        labels(),
        model="none: random answers",
    ),
)

ARTEFACTS = (
    fact(
        "The doubled prompt", "Prompts of 100 rows; prompts of one origin are alike.", "Both papers, experiments on T5-base",
        "Prompts in peft's default layout of encoder-decoder models, compared on all stored rows and on those that are read",
        doubled, table_with("doubled-prompts", "gap")[1], study="doubled-prompts", model="a toy model, trained by peft",
        command="python -m studies.doubled-prompts.claims build/tiny; pytest tests/test_doubled_prompts.py",
    ),
    fact(
        "The cut sources", "The authors' prompts reach 31.7 on SQuAD, 63.7 on SST-2 and 62.9 on MNLI.", "Replication, Table 1",
        "The authors' prompts, scored with all of their rows and with the first half", cut, "attempt-given",
        study="recipe paper/attempt-given, stage first-half",
        command="cpeft run paper/attempt-given --store STORE; pytest tests/test_fidelity.py",
    ),
    fact(
        "The wrong SST-5", "94.0 F1 on SST-5 without training, from the prompt of SST-2.",
        "Task prompt vectors, few-shot table", "Scores on SST-5 itself", wrong_sst5, PUBLISHED["few_shot_f1"]["rows"],
        study="published.json of the report, tpv-rejudged",
        command="python -m studies.tpv-rejudged.claims; pytest tests/test_tpv_rejudged.py",
    ),
    fact(
        "Stringified SQuAD answers", "68.8 on SQuAD.", "Replication, Table 1; task prompt vectors, SQuAD 2.0",
        "A right answer, scored against the target that the published code asks for", stringified, "Saint Ann",
        study="tests/tasks/test_task_golden.py", model="none: one made-up answer",
        command="pytest tests/tasks/test_task_golden.py -k stringified",
    ),
)  # fmt: skip
