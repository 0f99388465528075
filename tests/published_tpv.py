"""What the recipes of Task Prompt Vectors hold, written by hand: rows of test_published_values."""

from published_attempt import GLUE, RUNS

T = "paper/tpv-t5"
ELEVEN = [*GLUE, "trec", "dbpedia", "yelp"]
TEN = list(range(10))
TARGETS = {  # stage: its two new tasks, and the sources of its family
    "inference": (["scitail", "snli"], ["mnli", "qnli"]),
    "topic": (["ag_news", "yahoo"], ["trec", "dbpedia"]),
    "sentiment": (["imdb", "sst5"], ["sst2", "yelp"]),
}
FEW_SHOT = "data.few_shot, data.limit_validation, train.batch, train.steps, train.epochs"
SIZES = [(5, 2), (10, 2), (25, 2), (50, 8), (100, 8), (250, 8), (500, 16), (750, 16), (1000, 16)]


def budget(steps, full=(None, 10), untrained=True):
    """The places of a few-shot grid."""
    few = [(k, 250, batch, steps, None) for k, batch in SIZES]
    return [*[(0, 250, 8, 0, None)] * untrained, *few, ("full", None, 16, *full)]


TPV = [
    (T, "", "stages", ["sources", "cross-origin", "heat-maps", "addition", *(f"both-{stage}" for stage in TARGETS), *TARGETS,
                       *(f"attempt-{stage}" for stage in TARGETS), "similarity"], "A.4; B.3 datasets"),
    (T, "", "model.name", "google-t5/t5-base", "B.3"),
    (T, "", "model.dtype", "float32", "silent"),
    (T, "", "prompt.length", 100, "B.3 len (S2 says 100)"),
    (T, "", "prompt.rows", "live", "E-1 is a fault of the code"),
    (T, "", "data.split", "tpv-text", "C.1 S2 prose"),
    (T, "", "data.labels", "words", "C.2 TPV _text"),
    (T, "", "data.label_padding", "masked", "E-14 is a fault of the code"),
    (T, "", "data.padding", "room", "B.3 max source: padded always"),
    (T, "", "data.max_source", 256, "B.3 max source"),
    (T, "", "data.few_shot_per", "total", "B.3 k meaning"),
    (T, "", "seeds.subset", 42, "B.3 k meaning"),
    (T, "", "optim.name", "adamw", "B.3 LR / wd / warm-up / sched"),
    (T, "", "optim.lr", 0.3, "B.3 LR / wd / warm-up / sched"),
    (T, "", "optim.weight_decay", 1e-5, "B.3 LR / wd / warm-up / sched"),
    (T, "", "optim.warmup", 500, "B.3 LR / wd / warm-up / sched"),
    (T, "", "optim.schedule", "linear", "B.3 LR / wd / warm-up / sched"),
    (T, "sources", "optim.clip", 1.0, "silent: HF Trainer's"),
    (T, "", "train.eval_every", 100, "B.3 eval/save/log"),
    (T, "", "train.select", "loss", "B.3 best"),
    (T, "", "train.base_dropout", "on", "DESIGN 7: all published runs"),
    (T, "sources", "tasks", ELEVEN, "B.3 datasets"),
    (T, "sources", "seeds", dict.fromkeys(["qqp", "stsb", "mrpc", "rte", "cola"], RUNS) | {"*": TEN}, "B.3 origins"),
    (T, "sources", "prompt.init", "vocab", "A.4: origins"),
    (T, "sources", "train.epochs", {"trec": 50, "*": 10}, "B.3 length"),
    (T, "sources", "train.batch", 32, "B.3 batch"),
    (T, "cross-origin", "tasks", ELEVEN, "A.4; D.3"),
    (T, "cross-origin", "seeds", RUNS, "A.4: 3 origins"),
    (T, "cross-origin", "train.steps", 0, "A.4: no training"),
    (T, "cross-origin/rte", "prompt.init",
     {f"vector of origin {i}": f"vocab + cross(v(sources/rte@{i}))" for i in RUNS}, "A.4"),
    (T, "heat-maps", "compare", tuple(f"sources/*@{i}" for i in RUNS), "D.5: origins 0-2"),
    (T, "similarity", "compare",
     ("sources/*@*", *(f"{stage}/vocabulary few_shot=full/*@*" for stage in TARGETS)), "4 and 5"),
    (T, "addition", "tasks", [f"{a}+{b}" for i, a in enumerate(ELEVEN) for b in ELEVEN[i + 1:]], "A.4: 55 pairs"),
    (T, "addition", "seeds", RUNS, "A.4; B.3 origins"),
    (T, "addition", "train.steps", 0, "A.4"),
    (T, "addition/mnli+rte", "prompt.init",
     {f"sum at {i / 20:.2f}": f"vocab + {i / 20:.2f}*sum(v(sources/mnli), v(sources/rte))" for i in range(21)},
     "A.4: 21 scales"),
    *((T, f"both-{stage}", key, value, where) for stage, (_, kin) in TARGETS.items() for key, value, where in [
        ("tasks", ["+".join(kin)], "B.3 multi-task SPoT"), ("seeds", RUNS, "B.3 multi-task SPoT"),
        ("train.epochs", 10, "B.3 multi-task SPoT"), ("train.batch", 32, "B.3 multi-task SPoT"),
        ("optim.clip", 1.0, "silent: HF Trainer's"),
    ]),
    *((T, stage, key, value, where) for stage, (tasks, (one, two)) in TARGETS.items() for key, value, where in [
        ("tasks", tasks, "B.3 datasets"),
        ("seeds", {"SPoT both": RUNS, "*": TEN}, "B.3 origins"),
        ("prompt.init", {
            "vocabulary": "vocab", f"SPoT {one}": f"sources/{one}", f"SPoT {two}": f"sources/{two}",
            "SPoT both": f"both-{stage}/*", "sum of vectors": f"vocab + v(sources/{one}) + v(sources/{two})",
        }, "A.4: inits compared"),
        (FEW_SHOT, budget(1000), "B.3 length, batch, eval"),
        ("optim.clip", 1.0, "silent: HF Trainer's"),
    ]),
    *((T, f"attempt-{stage}", key, value, where) for stage, (tasks, (one, two)) in TARGETS.items() for key, value, where in [
        ("tasks", ["+".join(tasks)], "B.3 ATTEMPT baseline"),
        ("seeds", RUNS, "B.3 origins"),
        ("sources", (f"sources/{one}", f"sources/{two}"), "B.3 ATTEMPT baseline: prefix_num 2"),
        ("prompt.init", f"sources/{one}", "B.3 ATTEMPT baseline: the first"),
        ("method.name, method.targets", [("attempt", "per_task")], "B.3 ATTEMPT baseline: shared attention"),
        ("method.temperature, method.tau", [("D*exp(tau)", 1.0)], "A.2.3: 2087"),
        ("method.pool_padding, method.bottleneck", [(False, 100)], "A.2.1; E-7"),
        ("optim.clip", None, "B.3: CPEFT's loop"),
        ("labels", ["ATTEMPT"], "B.3"),
        (FEW_SHOT, budget(1000), "B.3 length, batch: as every other row"),
    ]),
]  # fmt: skip

TL = "paper/tpv-t5-legacy"
LATE = [
    (5, 2, 30),
    (10, 2, 30),
    (25, 2, 30),
    (50, 8, 20),
    (100, 8, 20),
    (250, 8, 20),
    (500, 16, 10),
    (750, 16, 10),
    (1000, 16, 10),
]
TPV_LEGACY = [
    (TL, "", "prompt.length, prompt.rows", [(50, "doubled")], "B.3 len, effective; E-1"),
    (TL, "sources", "data.split", "tpv", "C.1 TPV; E-12"),
    (TL, "sources", "data.label_padding", "in-loss", "E-14"),
    (TL, "", "stages", TPV[0][3], "A.4; B.3 datasets"),
    *((TL, f"attempt-{stage}", key, value, where) for stage in TARGETS for key, value, where in [
        ("data.labels", "numbers", "B.3 ATTEMPT baseline; E-11"), ("data.split", "attempt", "C.1 CPEFT; E-11"),
        ("data.label_padding", "masked", "E-14 is TPV's"), ("optim.weight_decay", 1e-2, "B.3 ATTEMPT baseline; E-8"),
        ("method.pool_padding", True, "E-7"), ("method.bottleneck", "rows", "A.2.1 CPEFT"),
        ("train.eval_every", "epoch", "B.1 eval cadence"), ("data.few_shot", "full", "E-11: drawn by randperm"),
        ("data.limit_train, data.limit_validation, train.batch, train.steps, train.epochs",
         [(0, 250, 8, None, 0), *((k, 250, batch, None, epochs) for k, batch, epochs in LATE), (None, None, 16, None, 10)],
         "B.3 ATTEMPT baseline: epochs"),
    ]),
]  # fmt: skip

TC = "paper/tpv-t5-corrected"
FOUR_TASKS = ["mnli", "qnli", "sst2", "yelp"]
FAR = {"inference": "sst2", "topic": "mnli", "sentiment": "mnli"}
KINDS = {
    "noise": "noise(sum({}))",
    "shuffled rows": "shuffle(sum({}))",
    "other tasks": "sum(v(sources/trec), v(sources/dbpedia))",
}
OTHER_VECTOR = {"dbpedia": "vocab + v(sources/mnli)", "*": "vocab + v(sources/dbpedia)"}
TPV_CORRECTED = [
    (TC, "", "stages", [*TPV[0][3], "unrelated", "addition-controls", "addition-triples", "probes", "weighted"], "our study"),
    (TC, "", "prompt.length, prompt.rows", [(100, "live")], "ours"),
    (TC, "", "model.dtype", "auto", "ours"),
    (TC, "", "data.split", "disjoint", "ours"),
    (TC, "", "data.padding", "none", "ours"),
    (TC, "", "data.few_shot_per", "class", "ours"),
    (TC, "", "seeds.subset", None, "ours"),
    (TC, "", "optim.lr", 0.3, "B.3 LR / wd / warm-up / sched"),
    (TC, "", "optim.warmup", 0.05, "ours"),
    (TC, "", "optim.clip", None, "ours"),
    (TC, "", "train.select", "metric", "ours"),
    (TC, "", "train.base_dropout", "off", "ours"),
    *((TC, stage, "train.eval_every", "epoch", "ours") for stage in ("sources", *(f"both-{name}" for name in TARGETS))),
    *((TC, stage, "train.eval_every", 100, "B.3 eval/save/log") for stage in TARGETS),
    (TC, "cross-origin/rte", "prompt.init", {
        **{f"vector of origin {i}": f"vocab + cross(v(sources/rte@{i}))" for i in RUNS}, "origin alone": "vocab",
        "noise": "vocab + noise(v(sources/rte))", "shuffled rows": "vocab + shuffle(v(sources/rte))",
    }, "controls"),
    (TC, "unrelated", "tasks", ELEVEN, "controls"),
    (TC, "unrelated", "seeds", RUNS, "A.4: 3 origins"),
    (TC, "unrelated", "train.steps", 0, "A.4"),
    (TC, "unrelated", "labels", ["unrelated vector"], "controls"),
    (TC, "unrelated", "prompt.init", OTHER_VECTOR, "controls"),
    *((TC, f"addition-{stage}", key, value, where) for stage in ("controls", "triples") for key, value, where in [
        ("seeds", RUNS, "A.4"), ("train.steps", 0, "A.4"),
    ]),
    (TC, "addition-controls", "tasks", [f"{a}+{b}" for i, a in enumerate(FOUR_TASKS) for b in FOUR_TASKS[i + 1:]], "our study"),
    (TC, "addition-controls/mnli+yelp", "prompt.init", {
        f"{name} at {scale}": f"vocab + {scale}*{control.format('v(sources/mnli), v(sources/yelp)')}"
        for scale in ("0.50", "1.00") for name, control in KINDS.items()
    }, "controls"),
    (TC, "addition-triples", "tasks",
     ["mnli+qnli+sst2", "mnli+qnli+yelp", "mnli+sst2+yelp", "qnli+sst2+yelp"], "larger sets"),
    (TC, "addition-triples/mnli+sst2+yelp", "prompt.init",
     {f"sum at {scale}": f"vocab + {scale}*sum(v(sources/mnli), v(sources/sst2), v(sources/yelp))"
      for scale in ("0.50", "1.00")}, "larger sets"),
    *((TC, stage, key, value, where) for stage, (_, (one, two)) in TARGETS.items() for key, value, where in [
        ("prompt.init", {
            "vocabulary": "vocab", f"SPoT {one}": f"sources/{one}", f"SPoT {two}": f"sources/{two}",
            "SPoT both": f"both-{stage}/*", "sum of vectors": f"vocab + v(sources/{one}) + v(sources/{two})",
            "noise of that size": f"vocab + noise(v(sources/{one}) + v(sources/{two}))",
            "its rows shuffled": f"vocab + shuffle(v(sources/{one}) + v(sources/{two}))",
            f"SPoT {FAR[stage]}": f"sources/{FAR[stage]}",
        }, "controls"),
        ("seeds", dict.fromkeys(["SPoT both", "noise of that size", "its rows shuffled", f"SPoT {FAR[stage]}"], RUNS)
         | {"*": TEN}, "B.3 origins"),
    ]),
    *((TC, f"attempt-{stage}", FEW_SHOT, budget(2000), "ours: 1,000 steps for each of two tasks") for stage in TARGETS),
    *((TC, stage, key, value, where) for stage in ("probes", "weighted") for key, value, where in [
        ("tasks", [task for tasks, _ in TARGETS.values() for task in tasks], "3"), ("seeds", TEN, "B.3 origins"),
    ]),
    (TC, "probes", "prompt.init", "vocab", "A.3"),
    (TC, "probes", FEW_SHOT, budget(100, (100, None), untrained=False), "ours"),
    (TC, "probes", "labels", ["probe"], "ours"),
    (TC, "weighted", FEW_SHOT, budget(1000, untrained=False), "B.3 length, batch"),
    (TC, "weighted/snli", "prompt.init", {
        f"SPoT weighted few_shot={k}":
        f"weighted('probes/probe few_shot={k}/snli',\n  "
        "sources/mnli, sources/qnli, sources/trec, sources/dbpedia, sources/sst2, sources/yelp)"
        for k in [*(k for k, _ in SIZES), "full"]
    }, "A.3"),
]  # fmt: skip

P, PL, PC = "paper/tpv-llama", "paper/tpv-llama-legacy", "paper/tpv-llama-corrected"
D, DL, DC = (name.replace("llama", "deepseek") for name in (P, PL, PC))
THIRTEEN_CHAT = [*ELEVEN, "squad_v2", "math"]
LLAMA, DEEPSEEK = "meta-llama/Llama-3.1-8B-Instruct", "deepseek-ai/deepseek-llm-7b-chat"
SPOKEN = {"squad_v2": 512, "math": 512}
CHAT = [
    *((name, "", "model.name", LLAMA, "B.4") for name in (P, PL, PC)),
    *((name, "", "model.name", DEEPSEEK, "B.4") for name in (D, DL, DC)),
    *((name, "", "stages", ["sources", "cross-origin", "similarity"], "B.4; A.4") for name in (P, PL, D, DL)),
    *((name, "", "stages", ["sources", "cross-origin", "similarity", "unrelated"], "controls") for name in (PC, DC)),
    *((name, "", key, value, where) for name in (P, PL, D, DL) for key, value, where in [
        ("model.dtype", "bfloat16", "B.4"),
        ("prompt.length", 100, "B.4 num_virtual_tokens"),
        ("data.form", "chat", "B.4 text"),
        ("data.labels", "spaced", "C.2 instruct versions"),
        ("data.max_source", 512, "B.4 max_seq_length"),
        ("optim.name", "adamw", "B.4"), ("optim.lr", 0.3, "B.4"), ("optim.weight_decay", 1e-5, "B.4"),
        ("optim.schedule", "cosine", "B.4"), ("optim.warmup", 0.03, "B.4 warmup_ratio"),
        ("optim.clip", 1.0, "silent: the trainer's"),
        ("train.batch", 4, "B.4"), ("train.eval_every", 0.1, "B.4: every 10% of steps"), ("train.select", "loss", "B.4 best"),
        ("eval.match", "lower", "B.4 inference"), ("eval.max_new_tokens", SPOKEN | {"*": 16}, "B.4 inference"),
        ("seeds", RUNS, "B.4: 3 origins"),
    ]),
    *((name, "", key, value, where) for name in (P, D) for key, value, where in [
        ("prompt.dtype", "float32", "E-26 is a fault of the code"), ("data.split", "tpv-text", "C.1 S2 prose"),
        ("data.loss", "answer", "E-27 is a fault of the code"), ("data.squad_target", "text", "E-3 is a fault of the code"),
    ]),
    *((name, "", key, value, where) for name in (PL, DL) for key, value, where in [
        ("prompt.dtype", "bfloat16", "B.4; E-26"), ("data.split", "tpv", "C.1 TPV; E-12"),
        ("data.loss", "sequence", "B.4; E-27"), ("data.squad_target", "stringified", "C.2 squad_v2"),
    ]),
    *((name, "", "data.cue", {"stsb": "\nlabel:", "squad_v2": "", "math": "", "*": None}, "B.4 text")
      for name in (P, PL, PC, DC)),
    *((name, "", "data.cue", "", "B.4: DeepSeek's label: is deleted") for name in (D, DL)),
    *((name, stage, "tasks", THIRTEEN_CHAT, "B.4 tasks") for name in (P, PC) for stage in ("sources", "cross-origin")),
    (P, "sources", "prompt.init", "vocab", "A.4: origins"),
    (P, "sources", "train.epochs", {"trec": 20, "*": 10}, "B.4"),
    (P, "cross-origin", "train.steps", 0, "A.4: no training"),
    (P, "cross-origin/math", "prompt.init",
     {f"vector of origin {i}": f"vocab + cross(v(sources/math@{i}))" for i in RUNS}, "A.4"),
    (P, "similarity", "compare", ("sources/*@*",), "D.5"),
    *((PC, "", key, value, where) for key, value, where in [
        ("prompt.length", 100, "B.4 num_virtual_tokens"), ("prompt.dtype", "float32", "ours"), ("model.dtype", "auto", "ours"),
        ("data.split", "disjoint", "ours"), ("data.form", "chat", "B.4 text"),
        ("data.labels", "spaced", "C.2 instruct versions"),
        ("data.max_source", 512, "B.4 max_seq_length"), ("optim.lr", None, "ours; E-26"), ("optim.warmup", 0.05, "ours"),
        ("optim.schedule", "cosine", "B.4"), ("optim.clip", None, "ours"), ("train.select", "metric", "ours"),
        ("eval.match", "exact", "ours"), ("eval.max_new_tokens", SPOKEN | {"*": None}, "B.4 inference, else ours"),
        ("seeds", RUNS, "B.4: 3 origins"),
    ]),
    (PC, "cross-origin/math", "prompt.init", {
        **{f"vector of origin {i}": f"vocab + cross(v(sources/math@{i}))" for i in RUNS}, "origin alone": "vocab",
        "noise": "vocab + noise(v(sources/math))", "shuffled rows": "vocab + shuffle(v(sources/math))",
    }, "controls"),
    (PC, "unrelated", "tasks", THIRTEEN_CHAT, "controls"),
    (PC, "unrelated", "train.steps", 0, "A.4"),
    (PC, "unrelated", "labels", ["unrelated vector"], "controls"),
    (PC, "unrelated", "prompt.init", OTHER_VECTOR, "controls"),
]  # fmt: skip

ROWS = [*TPV, *TPV_LEGACY, *TPV_CORRECTED, *CHAT]
