"""What the recipes of ATTEMPT and of its replication hold, written by hand: rows of test_published_values."""

SIX = ["squad", "sst2", "qnli", "mnli", "qqp", "record"]
GLUE = ["mnli", "qqp", "qnli", "sst2", "stsb", "mrpc", "rte", "cola"]
SUPERGLUE = ["multirc", "boolq", "wic", "wsc", "cb"]
OTHERS = ["winogrande", "yelp", "scitail", "paws"]
MRQA = ["nq", "hotpotqa", "searchqa", "newsqa"]
LARGE = dict.fromkeys(["mnli", "qqp", "qnli", "sst2", "multirc"], 10) | {"*": 20}
RUNS = [0, 1, 2]

A = "paper/attempt"
SINGLE, SHARED = ["single", "single-others", "single-mrqa"], ["shared-glue", "shared-superglue", "shared-others"]
MIXED = [*SINGLE, *SHARED]
ATTEMPT = [
    (A, "", "stages", ["sources", *MIXED], "B.1 datasets"),
    (A, "", "model.name", "google-t5/t5-base", "B.1"),
    (A, "", "model.dtype", "float32", "silent"),
    (A, "", "prompt.length", 100, "B.1 prompt len (S0 says 100)"),
    (A, "", "prompt.rows", "live", "E-1 is a fault of the code"),
    (A, "", "prompt.vocab_range", (0, 4999), "A.1"),
    (A, "", "data.split", "s0-text", "C.1 S0 prose"),
    (A, "", "data.labels", "numbers", "C.2 CPEFT"),
    (A, "", "data.squad_target", "text", "E-3 is a fault of the code"),
    (A, "", "data.few_shot", "full", "B.1"),
    (A, "", "data.limit_train", None, "B.1: no cap"),
    (A, "", "optim.name", "adamw", "B.1 LR / optimiser / wd"),
    (A, "", "optim.lr", 0.3, "B.1 LR / optimiser / wd"),
    (A, "", "optim.schedule", "linear", "B.1 scheduler"),
    (A, "", "optim.warmup", 500, "B.1 scheduler"),
    (A, "", "optim.clip", None, "B.1 plain torch loop"),
    (A, "", "train.batch", 32, "B.1 batch"),
    (A, "", "train.eval_every", "epoch", "B.1 eval cadence"),
    (A, "", "train.select", "loss", "B.1 eval cadence / best"),
    (A, "", "train.base_dropout", "on", "DESIGN 7: all published runs"),
    (A, "", "eval.max_new_tokens", None, "B.1 max target"),
    (A, "sources", "tasks", SIX, "B.1 datasets"),
    (A, "sources", "seeds", [0], "B.1 runs"),
    (A, "sources", "method.name", "prompt_tuning", "B.1"),
    (A, "sources", "prompt.init", "vocab", "B.1 init"),
    (A, "sources", "optim.weight_decay", 1e-5, "B.1 LR / optimiser / wd"),
    (A, "sources", "train.epochs", 5, "B.1 epochs"),
    (A, "sources", "data.max_source", {"squad": 512, "*": 256}, "B.1 max source"),
    (A, "sources", "data.padding", "none", "B.1 padding"),
    *((A, stage, key, value, where) for stage in MIXED for key, value, where in [
        ("seeds", RUNS, "B.1 runs"),
        ("sources", ("sources/*",), "B.1 sources: all six"),
        ("prompt.init", "sources/squad" if stage == "single-mrqa" else "sources/mnli", "B.1 init"),
        ("optim.weight_decay", 1e-2, "B.1 LR / optimiser / wd"),
        ("data.padding", "room", "B.1 padding"),
        ("method.name", "attempt", "B.1"),
        ("method.score", "sub", "A.2.2"),
        ("method.reduce", "max", "A.2.2"),
        ("method.pool_padding", False, "E-7 is a fault of the code"),
        ("method.bottleneck", 100, "A.2.1"),
        ("method.layer_norm", "trained", "A.2.5 CPEFT"),
        ("method.attention_lr", None, "A.2.7: no separate rate"),
        ("method.temperature, method.tau", [("D*exp(tau)", 1.0)], "A.2.3: 2087 at D = 768"),
        ("method.targets", "per_task" if stage in SHARED else "one", "B.1 init: shared_attn"),
        ("labels", ["ATTEMPT shared" if stage in SHARED else "ATTEMPT"], "B.1"),
    ]),
    (A, "single", "tasks", [*GLUE, *SUPERGLUE], "B.1 datasets"),
    (A, "single", "train.epochs", LARGE, "S0 text: 10 above 10,000 rows"),
    (A, "single", "data.max_source", {"multirc": 348, "*": 256}, "B.1 max source"),
    (A, "single-others", "tasks", OTHERS, "B.1 datasets"),
    (A, "single-others", "train.epochs", 10, "B.1 epochs"),
    (A, "single-others", "data.max_source", 256, "B.1 max source"),
    (A, "single-mrqa", "tasks", MRQA, "B.1 datasets"),
    (A, "single-mrqa", "train.epochs", 10, "B.1 epochs"),
    (A, "single-mrqa", "data.max_source", 256, "B.1 max source"),
    (A, "shared-glue", "tasks", ["+".join(GLUE)], "B.1 datasets"),
    (A, "shared-glue", "data.max_source", 256, "B.1 max source"),
    (A, "shared-superglue", "tasks", ["+".join(SUPERGLUE)], "B.1 datasets"),
    (A, "shared-superglue", "data.max_source", 348, "S0 text: 348 for MultiRC; one length a run"),
    (A, "shared-others", "tasks", ["+".join(OTHERS)], "B.1 datasets"),
    (A, "shared-others", "data.max_source", 256, "B.1 max source"),
    *((A, stage, "train.epochs", 20, "B.1 epochs") for stage in SHARED),
]  # fmt: skip

L = "paper/attempt-legacy"
LEGACY = [
    (L, "", "stages", ["sources", *MIXED], "B.1 datasets"),
    (L, "", "prompt.length", 50, "B.1 prompt len, effective"),
    (L, "", "prompt.rows", "doubled", "E-1"),
    (L, "", "data.split", "attempt", "C.1 CPEFT"),
    (L, "", "data.squad_target", "stringified", "E-3"),
    (L, "single", "train.epochs", {**LARGE, "multirc": 20}, "B.1 epochs"),
    (L, "single", "data.max_source", {"multirc": 348, "*": 256}, "B.1 max source"),
    (L, "shared-superglue", "data.max_source", 386, "B.1 max source"),
    *((L, stage, "method.pool_padding", True, "E-7") for stage in MIXED),
    *((L, stage, "method.bottleneck", "rows", "A.2.1 CPEFT") for stage in MIXED),
]

G, GL = "paper/attempt-given", "paper/attempt-given-legacy"
GIVEN = [
    (G, "", "stages", ["sources", *MIXED, "first-half"], "B.1 sources: the authors' or own"),
    (GL, "", "stages", ["sources", *MIXED], "B.1 sources: the authors' or own"),
    *((name, "sources", "prompt.init", {task: f"authors/{task}" for task in SIX}, "B.1 sources") for name in (G, GL)),
    *((name, "sources", "train.steps, train.epochs", [(0, None)], "given: not trained") for name in (G, GL)),
    (G, "", "prompt.length", {"first-half": 50, "*": 100}, "B.1 prompt len"),
    (GL, "", "prompt.length, prompt.rows", [(50, "doubled")], "B.1 prompt len, effective; E-1"),
    (GL, "", "data.split", "attempt", "C.1 CPEFT"),
    (G, "first-half", "tasks", SIX, "B.1 datasets"),
    (G, "first-half", "seeds", [0], "E-1: scored once"),
    (G, "first-half", "prompt.init", {task: f"authors/{task}" for task in SIX}, "E-1"),
    (G, "first-half", "source.rows", "first:50", "E-1"),
    (G, "first-half", "train.steps", 0, "given: not trained"),
    (G, "first-half", "data.max_source", {"squad": 512, "*": 256}, "B.1 max source"),
    (G, "first-half", "data.padding", "none", "B.1 padding"),
]  # fmt: skip

C = "paper/attempt-corrected"
THIRTEEN = [*GLUE, *SUPERGLUE]
CORRECTED = [
    (C, "", "stages", ["sources", *MIXED, "untrained", "controls"], "B.1 datasets, and controls"),
    (C, "", "prompt.length", 100, "ours"),
    (C, "", "model.dtype", "auto", "ours"),
    (C, "", "data.split", "disjoint", "ours"),
    (C, "", "data.labels", "words", "ours"),
    (C, "", "data.padding", "none", "ours"),
    (C, "", "optim.lr", 0.3, "B.1 LR / optimiser / wd"),
    (C, "", "optim.weight_decay", 1e-5, "ours"),
    (C, "", "optim.warmup", 0.05, "ours"),
    (C, "", "train.select", "metric", "ours"),
    (C, "", "train.base_dropout", "off", "ours"),
    (C, "sources", "seeds", RUNS, "ours: a source for every run"),
    (C, "untrained", "tasks", SIX, "ours"),
    (C, "untrained", "seeds", [0], "ours: one set for all runs"),
    (C, "untrained", "train.steps", 0, "ours"),
    (C, "untrained", "data.max_source", {"squad": 512, "*": 256}, "B.1 max source"),
    (C, "untrained", "seeds.init",
     {"squad": 1, "sst2": 2, "qnli": 3, "mnli": 4, "qqp": 5, "record": None}, "ours: six prompts"),
    (C, "controls", "tasks", THIRTEEN, "B.1 datasets"),
    (C, "controls", "seeds", RUNS, "B.1 runs"),
    (C, "controls", "train.epochs", LARGE, "B.1 epochs"),
    (C, "controls", "data.max_source", {"multirc": 348, "*": 256}, "B.1 max source"),
    (C, "controls", "prompt.init", {"prompt tuning": "vocab", "*": "sources/mnli"}, "B.1 init"),
    (C, "controls", "sources", {"prompt tuning": (), "SPoT mnli": (), "equal weights": ("sources/*",),
                                "untrained sources": ("untrained/*",)}, "ours"),
    (C, "controls", "method.name", {"prompt tuning": "prompt_tuning", "SPoT mnli": "prompt_tuning", "*": "attempt"}, "ours"),
    (C, "controls", "method.score", {"equal weights": "constant", "untrained sources": "sub", "*": None}, "A.2.4"),
]  # fmt: skip

O = "paper/attempt-original"  # noqa: E741
GROUPS = ["shared-superglue", "shared-others", "shared-glue"]
ORIGINAL = [
    (O, "", "stages", ["sources", "single", "baselines", *GROUPS], "B.2"),
    (O, "", "model.name", "google-t5/t5-base", "D.2"),
    (O, "", "model.dtype", "float32", "silent"),
    (O, "", "seeds", [42], "B.2 seed"),
    (O, "", "prompt.length", 100, "B.2 prefix_dim"),
    (O, "", "prompt.rows", "live", "B.2 prefix_dim: all effective"),
    (O, "", "data.split", "attempt", "C.1 ORIG"),
    (O, "", "data.labels", "numbers", "C.2 ORIG"),
    (O, "", "data.squad_target", "text", "E-3 is a fault of the code"),
    (O, "", "optim.lr", {"baselines": 3e-4, "*": 0.3}, "B.2 LR / wd; baselines"),
    (O, "", "optim.warmup", 500, "B.2 warm-up, sched"),
    (O, "", "optim.schedule", "linear", "B.2 warm-up, sched"),
    (O, "", "optim.clip", 1.0, "silent: HF Seq2SeqTrainer's"),
    (O, "", "train.batch", 32, "B.2 batch"),
    (O, "", "train.eval_every", "epoch", "B.2 eval / best"),
    (O, "", "train.select", "metric", "B.2 eval / best"),
    (O, "", "train.base_dropout", "on", "DESIGN 7: all published runs"),
    (O, "sources", "tasks", SIX, "B.2 source order"),
    (O, "sources", "prompt.init", "vocab", "A.1"),
    (O, "sources", "data.padding", "none", "B.2 padding, prompt tuning"),
    (O, "sources", "data.max_source", {"squad": 512, "*": 256}, "B.1 max source"),
    (O, "sources", "optim.weight_decay", 1e-5, "B.2 LR / wd, prompt tuning"),
    (O, "sources", "train.epochs", 5, "B.1 epochs"),
    (O, "single", "tasks", THIRTEEN, "D.2"),
    (O, "single", "prompt.init", {"prompt tuning": "vocab", "*": "sources/mnli"}, "B.2 source order"),
    (O, "single", "sources", {"ATTEMPT": ("sources/*",), "*": ()}, "B.2 source order"),
    (O, "single", "method.name", {"ATTEMPT": "attempt", "*": "prompt_tuning"}, "B.2"),
    (O, "single", "method.layer_norm", {"ATTEMPT": "frozen", "*": None}, "A.2.5 ORIG"),
    (O, "single", "data.padding", {"prompt tuning": "none", "*": "room"}, "B.2 padding"),
    (O, "single", "data.max_source", {"SPoT": 128, "*": 256}, "B.2 max source"),
    (O, "single", "optim.weight_decay", {"prompt tuning": 1e-5, "*": 0.0}, "B.2 LR / wd"),
    (O, "single", "train.epochs", 20, "B.2 epochs"),
    (O, "baselines", "tasks", THIRTEEN, "D.2"),
    (O, "baselines", "method.name",
     {"full fine-tuning": "fine_tuning", "adapters": "adapters", "BitFit": "bitfit"}, "B.2 baselines"),
    (O, "baselines", "method.reduction", {"adapters": 32, "*": None}, "B.2 baselines"),
    (O, "baselines", "method.layer_norm", {"adapters": "trained", "*": None}, "B.2 baselines"),
    (O, "baselines", "method.biases", {"BitFit": "added", "*": None}, "T5 has none"),
    (O, "baselines", "optim.weight_decay", 0.0, "silent: the trainer's"),
    (O, "baselines", "train.epochs", 20, "B.2 baselines"),
    *((O, stage, key, value, where) for stage in GROUPS for key, value, where in [
        ("sources", ("sources/*",), "B.2 source order"),
        ("prompt.init", "sources/mnli", "B.2 source order: the first"),
        ("method.name, method.layer_norm", [("attempt", "frozen")], "A.2.5 ORIG"),
        ("method.pool_padding, method.bottleneck", [(False, 100)], "A.2.1 ORIG; E-7 is a fault of the code"),
        ("method.temperature, method.tau", [("D*exp(tau)", 1.0)], "A.2.3"),
        ("data.padding", "room", "B.2 padding"),
        ("optim.weight_decay", 0.0, "B.2 LR / wd"),
        ("method.targets", "one" if stage == "shared-superglue" else "per_task", "A.2.6; E-22"),
        ("method.attention_lr", None if stage == "shared-superglue" else 0.1, "B.2 LR / wd; A.2.7"),
        ("labels", ["ATTEMPT multi-task" if stage == "shared-superglue" else "ATTEMPT shared"], "A.2.6; E-22"),
    ]),
    (O, "shared-superglue", "tasks", ["boolq+wic+wsc+cb"], "E-22: without MultiRC"),
    (O, "shared-superglue", "data.max_source", 256, "B.2 max source"),
    (O, "shared-superglue", "train.epochs", 20, "B.2 epochs"),
    (O, "shared-others", "tasks", ["+".join(OTHERS)], "B.1 datasets"),
    (O, "shared-others", "data.max_source", 256, "B.2 max source"),
    (O, "shared-others", "data.limit_train", 100_000, "B.2 epochs"),
    (O, "shared-others", "train.epochs", 10, "B.2 epochs"),
    (O, "shared-glue", "tasks", ["+".join(GLUE)], "D.2"),
    (O, "shared-glue", "data.max_source", 386, "B.2 max source, eval_glue"),
    (O, "shared-glue", "data.limit_train", None, "B.2: others alone"),
    (O, "shared-glue", "train.epochs", 25, "B.2 max source, eval_glue"),
]  # fmt: skip

S = "paper/attempt-studies"
FEW = ["stsb", "mrpc", "rte", "cola", "boolq", "cb"]
UP, DOWN = ["mnli", "qnli", "qqp", "sst2", "squad"], ["record", "squad", "sst2", "qqp", "qnli"]
LADDER = {f"sources of {told} steps": (f"ladder/sources steps={steps}/*",)
          for told, steps in (("100", 100), ("1,000", 1000), ("10,000", 10_000))}  # fmt: skip


def named(tasks):
    return tuple(f"sources/{task}" for task in tasks)


STUDIES = [
    (S, "", "stages", ["sources", "number", "rows", "untrained", "ladder", "quality", "attention", "attention-use", "reduce",
                       "spread"], "the studies it names"),
    (S, "", "model.name", "google-t5/t5-base", "B.1"),
    (S, "", "model.dtype", "auto", "ours"),
    (S, "", "prompt.length", 100, "B.1 prompt len"),
    (S, "", "optim.lr", 0.3, "B.1 LR / optimiser / wd"),
    (S, "", "train.batch", 32, "B.1 batch"),
    *((S, stage, "seeds", RUNS, "B.1 runs") for stage in
      ("sources", "number", "rows", "ladder", "quality", "attention", "attention-use", "reduce", "spread")),
    (S, "sources", "tasks", SIX, "B.1 datasets"),
    (S, "sources", "train.epochs", 5, "B.1 epochs"),
    (S, "sources", "data.max_source", {"squad": 512, "*": 256}, "B.1 max source"),
    *((S, stage, "tasks", FEW, "ours") for stage in ("number", "quality", "attention-use", "reduce")),
    *((S, stage, "train.epochs", 20, "B.1 epochs") for stage in ("number", "quality", "attention-use", "reduce", "spread")),
    *((S, stage, "prompt.init", "vocab", "ours: sources come by the mixture") for stage in ("number", "quality", "spread")),
    *((S, stage, "prompt.init", "sources/mnli", "B.1 init") for stage in ("attention-use", "reduce")),
    (S, "number", "sources", {
        "no source": (), "1 source (mnli)": named(UP[:1]), "2 sources (mnli to qnli)": named(UP[:2]),
        "3 sources (mnli to qqp)": named(UP[:3]), "4 sources (mnli to sst2)": named(UP[:4]),
        "5 sources (mnli to squad)": named(UP), "1 source (record)": named(DOWN[:1]),
        "2 sources (record to squad)": named(DOWN[:2]), "3 sources (record to sst2)": named(DOWN[:3]),
        "4 sources (record to qqp)": named(DOWN[:4]), "5 sources (record to qnli)": named(DOWN), "6 sources": ("sources/*",),
    }, "number of source prompts, in two orders"),
    (S, "number", "method.name", {"no source": "prompt_tuning", "*": "attempt"}, "ours"),
    (S, "rows", "tasks", ["yelp", "paws", "scitail", "boolq"], "ours"),
    (S, "rows", "data.limit_train", {
        f"{name} limit_train={rows}": rows for name in ("prompt tuning", "SPoT mnli", "ATTEMPT")
        for rows in (100, 300, 1000, 3000, 10_000)
    }, "size of the target data"),
    (S, "rows/paws", "train.steps, train.epochs, train.eval_every", [(3000, None, 300)], "ours: the same for every size"),
    (S, "rows/paws", "prompt.init, method.name, sources", [
        ("vocab", "prompt_tuning", ()), ("sources/mnli", "prompt_tuning", ()), ("sources/mnli", "attempt", ("sources/*",)),
    ], "B.1 init"),
    (S, "untrained", "tasks", SIX, "B.1 datasets"),
    (S, "untrained", "seeds", [0], "ours: one set for all runs"),
    (S, "untrained", "seeds.init", {task: i for i, task in enumerate(SIX, 1)}, "ours: six prompts"),
    (S, "untrained", "train.steps, train.epochs", [(0, None)], "ours"),
    (S, "untrained", "data.max_source", {"squad": 512, "*": 256}, "B.1 max source"),
    (S, "ladder", "tasks", SIX, "B.1 datasets"),
    (S, "ladder", "train.steps", {f"sources steps={steps}": steps for steps in (100, 1000, 10_000)}, "ours"),
    (S, "ladder", "train.epochs, train.eval_every", [(None, 0.5)], "ours"),
    (S, "ladder", "data.max_source", {"squad": 512, "*": 256}, "B.1 max source"),
    (S, "quality", "sources", {"sources of 0 steps": ("untrained/*",), **LADDER, "sources of 5 epochs": ("sources/*",)},
     "quality of the sources"),
    (S, "quality", "method.name", "attempt", "ours"),
    (S, "attention", "tasks", ["sst2+qnli+mnli+qqp"], "A.2.7"),
    (S, "attention", "sources", ("sources/*",), "A.2.7"),
    (S, "attention", "method.name, method.targets", [("attempt", "per_task")], "A.2.7"),
    (S, "attention", "train.epochs", 5, "B.1 epochs"),
    (S, "attention-use", "sources", ("sources/*",), "A.2.7"),
    (S, "attention-use/rte", "method.attention_from, method.attention_lr",
     [(start, rate) for start in (None, "attention/*") for rate in (0.3, 0.1, 0.01, 0.001)], "A.2.7"),
    (S, "attention-use", "labels", ["fresh attention", "pre-trained attention"], "A.2.7"),
    (S, "reduce", "sources", ("sources/*",), "our study"),
    (S, "reduce", "method.reduce",
     {f"ATTEMPT reduce={how}": how for how in ("max", "mean", "max-mean", "attention")}, "our study"),
    (S, "spread", "tasks", [*FEW, "wic", "wsc"], "targets under 10k rows"),
    (S, "spread", "method.name", "attempt", "our study"),
    (S, "spread", "data.limit_train", 200, "ours: so that rows are drawn"),
    (S, "spread", "train.base_dropout", "on", "ours: else nothing hangs on the seed of dropout"),
    (S, "spread/rte", "sources, seeds.init, seeds.order, seeds.dropout, seeds.subset", [
        (("sources/*",), None, None, None, None), (("sources/*",), 0, 0, 0, 0), (("sources/*@0",), None, 0, 0, 0),
        (("sources/*@0",), 0, None, 0, 0), (("sources/*@0",), 0, 0, None, 0), (("sources/*@0",), 0, 0, 0, None),
    ], "initialisation, order, dropout and subset seeds"),
    (S, "spread", "labels", ["all seeds", *(f"{what} alone" for what in
                             ("sources", "initialisation", "order", "dropout", "subset"))], "our study"),
]  # fmt: skip

M = "paper/attempt-multilingual"
FOUR = ["en", "de", "es", "zh"]


def languages(task):
    """The rows of one of the two targets, whose stage is called `stage`."""
    stage, few = {"xnli": ("xnli", ["fr", "sw", "th", "ur"]), "paws_x": ("paws-x", ["fr", "ja", "ko"])}[task]
    english = ("sources/xnli/en", "sources/paws_x/en")
    spot, none = (f"sources/{task}/en", "prompt_tuning", (), None), ("vocab", "prompt_tuning", (), None)
    mixed = [("vocab", "attempt", sources, "auto") for sources in (english, (f"sources/{task}/*",), ("sources/*",))]
    return [
        (M, stage, "tasks", [f"{task}/{language}" for language in few], "ours: languages that no source is in"),
        (M, stage, "seeds", RUNS, "B.1 runs"),
        (M, stage, "labels", ["prompt tuning", "SPoT, the task in English", "ATTEMPT, English sources",
                              "ATTEMPT, the task in four languages", "ATTEMPT, both tasks in four languages"], "our study"),
        (M, stage, "prompt.init, method.name, sources, method.temperature", [none, spot, *mixed], "A.2.3; DESIGN 7"),
        (M, stage, "data.few_shot, train.steps, train.epochs",
         [(0, 0, None), (16, 500, None), (256, 2000, None), ("full", None, 5)], "ours"),
    ]  # fmt: skip


MULTILINGUAL = [
    (M, "", "stages", ["sources", "xnli", "paws-x"], "XNLI and PAWS-X"),
    (M, "", "model.name", "google/mt5-base", "an mT5 recipe"),
    (M, "", "prompt.length", 100, "B.1 prompt len"),
    (M, "", "optim.lr", None, "DESIGN 5: by the scale of the embeddings"),
    (M, "", "data.limit_train", 40_000, "ours: as many rows of every language"),
    (M, "", "train.batch", 32, "B.1 batch"),
    (M, "sources", "train.epochs", 5, "B.1 epochs"),
    (
        M,
        "sources",
        "tasks",
        [f"{task}/{language}" for task in ("xnli", "paws_x") for language in FOUR],
        "our study",
    ),
    (M, "sources", "seeds", RUNS, "B.1 runs"),
    *languages("xnli"),
    *languages("paws_x"),
]

ROWS = [*ATTEMPT, *LEGACY, *GIVEN, *CORRECTED, *ORIGINAL, *STUDIES, *MULTILINGUAL]
