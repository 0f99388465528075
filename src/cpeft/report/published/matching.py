"""Which of our runs are of the kind of a published row, and which metric stands in which published column."""

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from cpeft.prompts.formula.tree import Call, Fresh, Name, Node, Sum
from cpeft.report.vectors.lines import Trial
from cpeft.report.vectors.starts import Asked, formula_of


class Kind(NamedTuple):
    """What a published row trained: a method, what it started from, and whether one run held several tasks."""

    method: str
    start: str = ""  # nothing, prompt, prompts (of several tasks at once), vectors, given (from a file); "" for any
    several: bool = False
    sources: Mapping[str, str] = {}  # the task whose prompt it is, by target; {} for any

    @property
    def untrained(self) -> bool:
        """Prompts that somebody gave are scored as they are."""
        return self.start == "given"


FIRST = {"scitail": "mnli", "snli": "mnli", "agnews": "dbpedia", "yahoo": "dbpedia", "imdb": "sst2", "sst5": "sst2"}
SECOND = {"scitail": "qnli", "snli": "qnli", "agnews": "trec", "yahoo": "trec", "imdb": "yelp", "sst5": "yelp"}
ROWS: Mapping[str, Mapping[str, Kind]] = {
    "source_prompts_table1": {
        "authors' prompts": Kind("prompt_tuning", "given"), "replication's prompts": Kind("prompt_tuning", "nothing"),
    },
    "attempt_main_table": {
        "prompt tuning 77K": Kind("prompt_tuning", "nothing"), "SPoT 77K": Kind("prompt_tuning", "prompt"),
        "ATTEMPT 232K": Kind("attempt"), "ATTEMPT-m 96K": Kind("attempt", several=True),
        "fine-tuning 220M": Kind("fine_tuning"), "adapters 1.9M": Kind("adapters"), "BitFit 280K": Kind("bitfit"),
    },
    "few_shot_f1": {
        "random": Kind("prompt_tuning", "nothing"),
        "source 1 (SPoT): MNLI / DBPedia / SST2": Kind("prompt_tuning", "prompt", sources=FIRST),
        "source 2 (SPoT): QNLI / TREC / Yelp": Kind("prompt_tuning", "prompt", sources=SECOND),
        "both, multi-task SPoT": Kind("prompt_tuning", "prompts"), "both, ATTEMPT": Kind("attempt", several=True),
        "both, TPV sum (ours)": Kind("prompt_tuning", "vectors"),
    },
}  # fmt: skip
FEW_SHOT_RUNS = {  # runs of each published row
    "random": 10,
    "source 1 (SPoT): MNLI / DBPedia / SST2": 10,
    "source 2 (SPoT): QNLI / TREC / Yelp": 10,
    "both, multi-task SPoT": 3,
    "both, ATTEMPT": 3,
    "both, TPV sum (ours)": 10,
}
MODELS = ("T5", "LLaMA", "DeepSeek")
SETTINGS_RUNS = (3, 6)  # three origins: three prompts on their own origin, six on another
NOT_ITSELF = {"SST5": "not SST-5"}  # an alias in the published code: SST-2 in every row but ATTEMPT's
METRICS = {  # by block and column; "" is every other column. What is no metric of ours is compared with nothing
    "source_prompts_table1": {"": "accuracy", "SQuAD": "not stated", "ReCoRD": "not stated"},
    "attempt_main_table": {"": "accuracy", "STS-B": "pearson", "CoLA": "matthews", "MultiRC": "multirc_f1a"},
    "cross_origin": {"": "accuracy", "STS-B": "pearson or spearman", "SQuADv2": "squad_v2_f1", "MATH": "not stated"},
    "few_shot_f1": {"": "macro_f1", "SciTail": "f1", "IMDB": "f1"},  # binary where there are two labels
    "addition": {"": "accuracy", "STS-B": "pearson"},  # a figure without numbers: what chose the scales
}


def plain(name: str) -> str:
    """A task's name without what publications and we write otherwise: `STS-B` and `stsb` are one."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def published_metrics(table: str) -> Asked:
    """The published metric of our tasks in a table."""
    columns = {plain(column): metric for column, metric in METRICS[table].items()}
    return lambda task: columns.get(plain(task), columns[""])


def is_of(trial: Trial, kind: Kind, stages: Collection[str]) -> bool:
    """Whether a run is of the kind of a published row; `stages` are those of its store, for a prompt of another place was
    given."""
    result = trial.run.result
    if result.method != kind.method or (len(result.tasks) > 1) != kind.several:
        return False
    if not kind.start:
        return True
    formula = formula_of(trial.run.config)
    start, of = start_of(formula)
    if isinstance(formula, Name) and formula.value.partition("/")[0] not in stages and plain(of) == plain(trial.task):
        start = "given"
    source = kind.sources.get(plain(trial.task), "")
    return start == kind.start and (not kind.sources or (bool(source) and plain(of).startswith(source)))


def start_of(formula: Node) -> tuple[str, str]:
    """What a prompt starts from, in the words of `Kind`, and the task of the prompt if it is one."""
    match formula:
        case Fresh():
            return "nothing", ""
        case Name(reference):
            what = reference.partition("@")[0].rpartition("/")[2]
            return ("prompts" if {"+", "*"} & set(what) else "prompt"), what
        case Sum((Sum((Fresh(), Call("v", _))) | Sum() as left, Call("v", _))):
            return ("vectors" if isinstance(left.parts[0], Fresh) else start_of(left)[0]), ""
    return "", ""
