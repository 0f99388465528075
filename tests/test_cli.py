"""The command: help, listings, and what every command does with runs, prompts and files."""

import inspect
import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import typer
from safetensors.torch import load_file, save_file

import cpeft.doctor.prompts
from cpeft import cli
from cpeft.cli.help import EXAMPLES, GROUPS
from cpeft.prompts.exchange import load_prompt
from cpeft.prompts.formula.evaluate import compose_files
from cpeft.tasks import TASKS
from tiny import QUICK, child_environment, make_lm, run_cpeft, run_python

COMMANDS = typer.main.get_command(cli.app).commands


@pytest.fixture(autouse=True)
def at_home(world, monkeypatch):
    """Task files are named relative to the current folder."""
    monkeypatch.chdir(world)


@pytest.fixture
def prompts(finished):
    """Prompts of two seeds, and the run folders they lie in."""
    return [next(finished.path.glob(f"sources/mood*s{seed}-*/prompts/mood")) for seed in (0, 1)]


@pytest.fixture
def ok(cpeft_main):
    def call(*arguments):
        code, out, err = cpeft_main(*arguments)
        assert (code, err) == (0, "")
        return out

    return call


@pytest.mark.parametrize("command", COMMANDS)
def test_help(ok, command):
    said = ok(command, "--help")
    for parameter in COMMANDS[
        command
    ].params:  # versions of typer print the names of arguments in small letters or capitals
        assert parameter.opts[0].lstrip("-") in said.replace("-", "_").casefold() or parameter.opts[0] in said
    assert inspect.cleandoc(COMMANDS[command].help).split()[0] in said


def test_the_promised_commands_are_there():
    assert {
        "run",
        "plan",
        "eval",
        "predict",
        "doctor",
        "fetch",
        "import",
        "export",
        "compose",
        "similar",
        "origins",
        "list",
        "show",
    } <= set(COMMANDS)


def test_help_alone(cpeft_main):
    code, out, _ = cpeft_main("--help")
    assert code == 0
    assert all(command in out for command in COMMANDS)


@pytest.mark.parametrize("kind", ["tasks", "methods", "metrics", "recipes", "prompts"])
def test_lists(ok, finished, kind):
    rows = json.loads(ok("list", kind, "--store", finished.path, "--json"))
    column = next(iter(rows[0]))
    names = [row[column] for row in rows]
    assert len(set(names)) == len(names) > 1
    table = re.sub(r"\s", "", ok("list", kind, "--store", finished.path))
    if kind != "prompts":  # their paths are folded
        assert all(name in table for name in names)
    expected = {"tasks": "mnli", "methods": "attempt", "metrics": "matthews", "recipes": "small/attempt"}
    assert kind == "prompts" or expected[kind] in names
    if kind == "tasks":
        assert names == TASKS.names()
    if kind == "prompts":
        assert len(rows) == 16
        assert {row["task"] for row in rows} == {"mood", "topic", "rank"}
        scored = [row for row in rows if row["method"] == "prompt_tuning"]  # a mixture's target alone was not scored
        assert all(re.fullmatch(r"\w+/accuracy \d+\.\d", row["scores"]) for row in scored)
        assert {row["scores"] for row in rows if row not in scored} == {""}


def test_an_empty_store_lists_nothing(ok, tmp_path):
    assert json.loads(ok("list", "prompts", "--store", tmp_path, "--json")) == []
    assert "nothing here" in ok("list", "prompts", "--store", tmp_path)


def test_listing_tasks_imports_no_torch(tmp_path):
    code = (
        "import sys; sys.argv = ['cpeft', 'list', 'tasks']\nfrom cpeft import cli\n"
        "try: cli.main()\nexcept SystemExit as leaving: assert not leaving.code\n"
        "print('heavy:', sorted({'torch', 'transformers', 'datasets'} & set(sys.modules)))"
    )
    done = run_python(code)
    assert done.stdout.splitlines()[-1] == "heavy: []", done.stderr
    assert "mnli" in done.stdout


def test_show_task(ok):
    said = ok("show", "task", "mood.toml", "--rows", "2", "--model", "model")
    assert "labels: negative, positive" in said
    assert len(re.findall("^source: w", said, re.MULTILINE)) == 2
    assert "{'train': 12, 'validation': 12, 'test': 12}" in said
    assert re.search(r"source ids: \[\d+.*, 1\]", said)
    assert re.search(r"target ids: \[\d+, 1\] = '(positive|negative)'", said)
    assert re.search(r"train: median \d+, longest \d+ tokens, 0 of 12 cut", said)
    assert re.search(
        r"train: median \d+, longest 3 tokens, [1-9]\d* of 12 cut",
        ok("show", "task", "mood.toml", "--model", "model", "data.max_source=3"),
    )
    assert "labels: 0, 1" in ok("show", "task", "mood.toml", "data.labels=numbers")


def test_show_prompt(ok, prompts, world):
    card = json.loads(ok("show", "prompt", prompts[0], "--json"))
    prompt = load_prompt(prompts[0])
    assert card["model"] == str(world / "model")
    assert (card["task"], card["method"], card["run"]) == ("mood", "prompt_tuning", "sources/mood.sources.s0")
    assert (card["rows"], card["width"]) == (4, 32)
    assert card["row_norm_mean"] == pytest.approx(float(prompt.weight.norm(dim=1).mean()))
    assert card["distance_from_origin"] == pytest.approx(float((prompt.weight - prompt.origin).norm()))
    assert card["dtype"] == "float32"


# Answers


def scores(out):
    return {metric: score["value"] for metric, score in json.loads(out).items()}


def test_eval_of_a_prompt_is_that_of_its_run(ok, prompts):
    kept = json.loads((prompts[0].parents[1] / "result.json").read_text())["scores"]["mood"]
    said = json.loads(ok("eval", prompts[0], "--task", "mood.toml", "--json"))
    assert {metric: score["value"] for metric, score in kept.items()} == scores(json.dumps(said))
    assert said["accuracy"]["low"] <= said["accuracy"]["value"] <= said["accuracy"]["high"]
    assert f"{kept['accuracy']['value']:.2f}" in ok("eval", prompts[0], "--task", "mood.toml")
    validation = ok("eval", prompts[0], "--task", "mood.toml", "--split", "validation", "--json")
    assert (
        scores(validation)["accuracy"] == json.loads((prompts[0].parents[1] / "result.json").read_text())["validation"]
    )


def answers(ok, what, rows, tmp_path, *more):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "made" / "out.jsonl"
    ok("predict", what, "--task", "rank.toml", "--input", tmp_path / "rows.jsonl", "--out", out, *more)
    return [json.loads(line) for line in out.read_text().splitlines()]


@pytest.fixture
def texts():
    rng = np.random.default_rng(1)
    return [" ".join(f"w{n}" for n in rng.integers(85, size=rng.integers(2, 7))) for _ in range(24)]


def test_mean_of_prompts(ok, prompts, tmp_path, texts):
    a, b = (load_prompt(path) for path in prompts)
    type(a)((a.weight + b.weight) / 2, a.provenance).save(tmp_path / "mean")
    mean = f"mean({', '.join(repr(str(path)) for path in prompts)})"
    rows = [{"text": text} for text in texts]
    assert answers(ok, mean, rows, tmp_path) == answers(ok, tmp_path / "mean", rows, tmp_path)
    alike = [ok("eval", what, "--task", "mood.toml", "--json") for what in (mean, tmp_path / "mean")]
    assert alike[0] == alike[1]


def test_rows_of_one_batch_may_name_different_prompts(ok, finished, prompts, tmp_path, texts):
    other = next(finished.path.glob("targets/rank.vocab_few_shot=full.s1*/prompts/rank"))
    paths = [*map(str, prompts), str(other)]
    one = {
        path: [row["prediction"] for row in answers(ok, path, [{"text": t} for t in texts], tmp_path)] for path in paths
    }
    assert len({tuple(said) for said in one.values()}) == 3, "the prompts must differ for this to show anything"
    mixed = [{"text": text, "prompt": paths[i % 3]} for i, text in enumerate(texts)]
    said = answers(ok, paths[0], mixed, tmp_path, "--prompt-column", "prompt")
    assert [row["prediction"] for row in said] == [one[paths[i % 3]][i] for i in range(len(texts))]
    assert [row["text"] for row in said] == texts
    some = [{"text": text, "prompt": paths[2] if i % 2 else None} for i, text in enumerate(texts)]
    said = answers(ok, paths[0], some, tmp_path, "--prompt-column", "prompt")
    assert [row["prediction"] for row in said] == [one[paths[2 if i % 2 else 0]][i] for i in range(len(texts))]


def test_predict_reads_csv_and_parquet(ok, prompts, tmp_path, texts):
    rows = [{"text": text} for text in texts]
    expected = answers(ok, prompts[0], rows, tmp_path)
    (tmp_path / "rows.csv").write_text("text\n" + "".join(text + "\n" for text in texts))
    import pyarrow as pa

    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    for name in ("rows.csv", "rows.parquet"):
        ok("predict", prompts[0], "--task", "rank.toml", "--input", tmp_path / name, "--out", tmp_path / "o.jsonl")
        assert [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()] == expected


# Prompts of other programs


def write_peft(folder, weight, rows, task="SEQ_2_SEQ_LM"):
    folder.mkdir()
    save_file({"prompt_embeddings": weight}, folder / "adapter_model.safetensors")
    card = {
        "peft_type": "PROMPT_TUNING",
        "task_type": task,
        "num_virtual_tokens": rows,
        "base_model_name_or_path": "t5",
    }
    (folder / "adapter_config.json").write_text(json.dumps(card))


def test_import_of_a_doubled_prompt_reports_dead_rows(ok, tmp_path):
    weight = torch.randn(8, 32)
    write_peft(tmp_path / "old", weight, 4)
    said = ok("import", tmp_path / "old", tmp_path / "new")
    assert "4 live rows kept, 4 rows the model never read dropped" in said
    assert "4 rows of width 32" in said
    assert torch.equal(load_prompt(tmp_path / "new").weight, weight[:4])
    assert "warning" in ok("doctor", tmp_path / "old")
    said = ok("import", tmp_path / "old", tmp_path / "cut", "--rows", "first:3")
    assert "cut on purpose: first 3 of 4 rows" in said
    assert torch.equal(load_prompt(tmp_path / "cut").weight, weight[:3])


@pytest.mark.parametrize("form", [".pt", ".bin", ".npy", ".safetensors"])
def test_import_of_files(ok, prompts, tmp_path, form):
    weight, file = load_prompt(prompts[0]).weight, tmp_path / f"prompt{form}"
    if form == ".npy":
        np.save(file, weight.numpy())
    elif form == ".safetensors":
        save_file({"anything": weight}, file)
    else:
        torch.save(weight if form == ".pt" else {"prompt_embeddings": weight}, file)
    ok("import", file, tmp_path / "new")
    assert torch.equal(load_prompt(tmp_path / "new").weight, weight)
    known = ok("eval", tmp_path / "new", "--task", "mood.toml", "--model", "model", "--json", "data.prefix=none")
    assert scores(known).keys() == {"accuracy", "macro_f1"}


def test_import_with_the_origin_that_other_programs_do_not_record(ok, cpeft_main, prompts, tmp_path):
    """Said once, it is known for ever: the distance travelled, the task vector."""
    prompt = load_prompt(prompts[0])
    type(prompt).drawn(prompt.origin, prompt.provenance).save(tmp_path / "origin")
    np.save(tmp_path / "bare.npy", prompt.weight.numpy())
    ok("import", tmp_path / "bare.npy", tmp_path / "new", "--origin", tmp_path / "origin")
    assert torch.equal(load_prompt(tmp_path / "new").origin, prompt.origin)
    ok("compose", f"'{tmp_path}/origin' + v('{tmp_path}/new')", "--out", tmp_path / "again")
    torch.testing.assert_close(load_prompt(tmp_path / "again").weight, prompt.weight)
    ok("import", tmp_path / "new", tmp_path / "copy", "--origin", tmp_path / "origin")  # the same once more
    write_peft(tmp_path / "doubled", torch.cat([prompt.weight, prompt.origin]), 4)
    np.save(tmp_path / "whole.npy", torch.cat([prompt.origin, prompt.origin]).numpy())
    ok("import", tmp_path / "doubled", tmp_path / "live", "--origin", tmp_path / "whole.npy", "--rows", "first:3")
    assert torch.equal(load_prompt(tmp_path / "live").origin, prompt.origin[:3])
    np.save(tmp_path / "long.npy", np.zeros((9, 32), dtype=np.float32))
    for source, origin, why in (
        ("new", prompts[1], "records that it was trained from origin"),
        ("bare.npy", tmp_path / "long.npy", "holds 9 rows, of which 4 cannot be live"),
        ("bare.npy", tmp_path / "nothing", "no such prompt"),
    ):
        code, _, err = cpeft_main("import", tmp_path / source, tmp_path / "refused", "--origin", origin)
        assert (code, why in err) == (2, True), err
    assert not (tmp_path / "refused").exists()


def test_formulas_stand_wherever_prompts_do(ok, cpeft_main, finished, prompts, tmp_path):
    """`eval`, `predict` and `similar` take them in tests of their own."""
    other = next(finished.path.glob("sources/topic*s0-*/prompts/topic"))
    text = f"'{prompts[0]}' + 0.5*v('{other}')"
    made = compose_files(text)
    for form, file in (("peft", "folder"), ("npy", "file.npy")):
        ok("export", text, "--out", tmp_path / file, "--form", form)
        assert torch.equal(load_prompt(tmp_path / file).weight, made.weight)
    card = json.loads(ok("show", "prompt", text, "--json"))
    assert (card["formula"], card["linear"]) == (text, {"mood": 1.0, "topic": 0.5})
    assert card["distance_from_origin"] == pytest.approx(float((made.weight - made.origin).norm()))
    code, out, _ = cpeft_main("doctor", text, prompts[0], "--json")
    found = json.loads(out)
    assert (code, [each["where"] for each in found if each["level"] == "ok"]) == (0, [text, str(prompts[0])])
    assert any("reaches rows 1-4 of 4" in each["what"] and each["where"] == text for each in found)
    assert any(each["where"] == "together" for each in found)
    for wrong, why in (
        (f"v('{other}')", "this is a task vector"), (f"'{other}' + v(nothing)", "no such prompt"), ("mean(a", "is missing"),
    ):  # fmt: skip
        for command in (("export", wrong, "--out", tmp_path / "x"), ("show", "prompt", wrong)):
            code, _, err = cpeft_main(*command)
            assert (code, why in err) == (2, True), err
        code, out, _ = cpeft_main("doctor", wrong)
        assert (code, why in " ".join(out.split())) == (2, True), out
    assert "did you mean 'small/attempt'" in cpeft_main("doctor", "small/attemt")[1]


@pytest.mark.parametrize("form", ["peft", "prompt_embeds", "npy"])
def test_export(ok, prompts, tmp_path, form):
    prompt = load_prompt(prompts[0])
    out = tmp_path / "some" / "where"
    said = ok("export", prompts[0], "--out", out, "--form", form)
    assert f"{form}: {out}" in re.sub(r"\n", "", said)
    if form == "peft":
        config = json.loads((out / "adapter_config.json").read_text())
        assert (config["num_virtual_tokens"], config["task_type"]) == (4, "SEQ_2_SEQ_LM")
        found = load_file(out / "adapter_model.safetensors")["prompt_embeddings"]
    elif form == "prompt_embeds":
        found = load_file(out)["prompt_embeds"]
    else:
        found = torch.from_numpy(np.load(out))
    assert torch.equal(found, prompt.weight)


# Doctor, fetch, a process of its own


def findings(cpeft_main, *what):
    code, out, _ = cpeft_main("doctor", *what, "--json")
    found = json.loads(out)
    assert code == (2 if "error" in {each["level"] for each in found} else 0)
    return [each for each in found if each["level"] != "note"]


def test_doctor_on_prompts(cpeft_main, prompts, tmp_path):
    assert [each["level"] for each in findings(cpeft_main, *prompts)] == ["ok", "ok"]
    good = load_prompt(prompts[0])
    for name, weight, word in (
        ("dead", torch.cat([good.origin[:2], good.weight[2:]]), "2 of 4 rows never moved"),
        ("decayed", good.origin * 0.9, "only weight decay"),
    ):
        type(good)(weight, good.provenance, good.origin).save(tmp_path / name)
        found = findings(cpeft_main, tmp_path / name)
        assert found[0]["level"] == "error"
        assert word in found[0]["what"]
        assert {each["level"] for each in found[1:]} <= {"warning"}  # they are rows of the vocabulary too
    type(good)(torch.cat([torch.zeros(2, 32), good.weight[2:]])).save(tmp_path / "zero")
    said = [each["what"] for each in findings(cpeft_main, tmp_path / "zero")]
    assert said[0] == "2 of 4 rows are zero"
    assert "not checked: how far training moved it" in said[1]
    assert said[2] == "1 rows repeat other rows: 2"
    assert "which embedding table" in said[3]
    assert said[4] == "not checked: which rows get a gradient, nearest tokens (it names no model); give --model"
    assert findings(cpeft_main, tmp_path / "nothing")[0]["level"] == "error"


def test_doctor_loads_the_model_that_a_prompt_names(cpeft_main, prompts, tmp_path, world, monkeypatch):
    """Where it is on this machine; where it is not, or none is named, that is said and nothing is found to be right."""

    def said(prompt, *more):
        code, out, _ = cpeft_main("doctor", prompt, *more, "--json")
        assert code == 0, out
        return {(each["level"], each["what"].partition(" on ")[0].partition(":")[0]) for each in json.loads(out)}

    whole = {("note", "the gradient"), ("note", "nearest tokens by row, cosine and (norm of the row)")}
    loaded, named = [], cpeft.doctor.prompts.load_lm
    monkeypatch.setattr(
        "cpeft.doctor.prompts.load_lm", lambda *a, **more: loaded.append((a[0], more)) or named(*a, **more)
    )
    assert said(prompts[0]) >= {*whole, ("ok", "nothing wrong found")}
    cpeft_main("doctor", *prompts)
    assert loaded == [(str(world / "model"), {"fetch": False})] * 2, "once for prompts of one model"
    assert cpeft_main("origins", "mini", "--out", tmp_path, "--count", "1", "prompt.length=4")[0] == 0
    assert said(tmp_path / "origin0") >= {*whole, ("ok", "nothing wrong found")}
    good = load_prompt(prompts[0])
    for model, why in (("no/such", "its model 'no/such' is not here"), ("", "it names no model")):
        lost = type(good)(good.weight, replace(good.provenance, model=model), good.origin).save(tmp_path / "lost")
        found = findings(cpeft_main, lost)
        assert [each["level"] for each in found] == ["unchecked"]
        assert found[0]["what"] == f"not checked: which rows get a gradient, nearest tokens ({why}); give --model"
        assert said(lost, "--model", world / "model") >= {*whole, ("ok", "nothing wrong found")}
    assert "unchecked" in cpeft_main("doctor", lost)[1]
    np.save(tmp_path / "bare.npy", good.weight.numpy())
    unchecked = [each["what"] for each in findings(cpeft_main, tmp_path / "bare.npy") if each["level"] == "unchecked"]
    assert "records no origin; `cpeft import PROMPT FOLDER --origin ORIGIN` records one" in unchecked[0]


def test_doctor_on_recipes(cpeft_main, world, tmp_path, monkeypatch):
    monkeypatch.delenv("CPEFT_DATA", raising=False)
    found = findings(cpeft_main, world / "study.toml")
    few = "only 12 validation rows choose the best step: each is 8.33 points of the score"
    assert {each["what"] for each in found if each["level"] != "ok"} == {few}
    assert len({(each["where"], each["what"]) for each in found}) == len(found)
    bad = world / "doctor.toml"
    bad.write_text(f"""{QUICK}max_new_tokens = 1
[data]
max_source = 3
[[stage]]
name = "sources"
tasks = ["mood.toml", "topic.toml", "nothing.toml"]
""")
    assert findings(cpeft_main, bad)[0]["what"].endswith("nothing.toml: no such file")
    bad.write_text(bad.read_text().replace(', "nothing.toml"', ', "rte"'))
    found = findings(cpeft_main, bad)
    said = {(each["level"], each["where"]): each["what"] for each in found}
    assert "no rows found" in said["error", "sources: rte"]
    assert "cut to 3 tokens" in said["warning", "sources: mood.toml"]
    assert "eval.max_new_tokens = 1 cuts labels of up to 4 tokens" in said["error", "sources: topic.toml"]
    (world / "unsayable.toml").write_text(
        (world / "mood.toml").read_text().replace('"mood"', '"odd"').replace('"negative"', '"zorg"')
    )
    [finding] = findings(cpeft_main, world / "study.toml", "tasks=mnlii")
    assert finding["what"] == "the setting tasks=mnlii on the command line: unknown task 'mnlii', did you mean 'mnli'?"
    bad.write_text(bad.read_text().replace('"mood.toml", "topic.toml", "rte"', '"unsayable.toml"'))
    assert any("no output can reach zorg" in each["what"] for each in findings(cpeft_main, bad))


@pytest.mark.parametrize("what", ["task:rte", "model:no/such"])
def test_fetch_offline(cpeft_main, tmp_path, what):
    code, _, err = cpeft_main("fetch", what, "--out", tmp_path / "out")
    assert code == 3
    assert err.startswith("error: ")
    assert what.partition(":")[2] in err
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_exit_codes_of_the_process(world, tmp_path):
    """As a shell sees them; the in-process tests see SystemExit."""
    recipe = world / "exit.toml"
    recipe.write_text(
        QUICK + '[[stage]]\nname = "s"\ntasks = ["mood.toml"]\n[[stage.variant]]\nname = "wild"\noptim.lr = 1e37\n'
    )
    done = run_cpeft("run", recipe, "--store", tmp_path / "store")
    assert done.returncode == 1, done.stderr
    assert "failed s/mood.wild.s0" in done.stdout
    done = run_cpeft("doctor", "nothing")
    assert done.returncode == 2
    done = run_cpeft("run", recipe, "trian.steps=3")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: the setting trian.steps=3 on the command line: unknown key 'trian', did you mean 'train'?\n"
    )


def test_decoder_only_models_run_too(world, tmp_path, ok):
    lm = make_lm("llama")
    lm.model.save_pretrained(tmp_path / "llama")
    lm.tokenizer.save_pretrained(tmp_path / "llama")
    said = ok(
        "run", "study.toml", "seeds=[0]", f"model.name={tmp_path / 'llama'}", "data.cue= w0", "--store", tmp_path / "s"
    )
    assert said.count("done ") == 8
    prompt = next((tmp_path / "s").glob("sources/mood*/prompts/mood"))
    assert json.loads((prompt / "adapter_config.json").read_text())["task_type"] == "CAUSAL_LM"
    kept = json.loads((prompt.parents[1] / "result.json").read_text())["scores"]["mood"]
    assert scores(ok("eval", prompt.parents[1], "--task", "mood.toml", "--json")) == {
        m: s["value"] for m, s in kept.items()
    }


def test_doctor_says_that_weights_are_missing(cpeft_main, world, tmp_path):
    """The data needs the tokenizer alone, and finds nothing wrong."""
    shutil.copytree(world / "model", tmp_path / "model")
    for weights in (tmp_path / "model").glob("*.safetensors"):
        weights.unlink()
    code, out, _ = cpeft_main("doctor", world / "study.toml", f"model.name={tmp_path / 'model'}", "--json")
    assert code == 2
    assert any("could not be loaded" in each["what"] for each in json.loads(out) if each["level"] == "error")


def test_every_command_is_in_a_group_and_has_examples_that_parse():
    grouped = [name for group in GROUPS.values() for name in group]
    assert sorted(grouped) == sorted(COMMANDS) == sorted(EXAMPLES)
    assert (
        max(len(line) for group in GROUPS.values() for line in group.values()) <= 62
    )  # beside the names, in 80 columns
    for name, examples in EXAMPLES.items():
        for example in examples:
            program, command, *arguments = shlex.split(example)
            assert (program, command) == ("cpeft", name)
            COMMANDS[name].make_context(name, arguments)


def test_shells_complete_commands():
    words = {"_CPEFT_COMPLETE": "complete_bash", "COMP_WORDS": "cpeft ver", "COMP_CWORD": "1"}
    code = "import sys; sys.argv = ['cpeft']; from cpeft.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=child_environment(**words), capture_output=True, text=True)
    assert done.stdout.split() == ["verify"]


def test_cards_are_for_people_and_json_for_programs(ok, prompts, finished):
    said = ok("show", "prompt", prompts[0])
    assert re.search(r"^task +mood *$", said, re.MULTILINE)
    assert re.search(r"^moved +\S+, \S+ of the norm of its origin *$", said, re.MULTILINE)
    run = next(finished.path.glob("sources/mood*s0-*"))
    said = ok("show", "run", run)
    assert re.search(r"^run +sources/mood\.sources\.s0 *$", said, re.MULTILINE)
    assert re.search(r"^settings +train\.steps = 6 *$", said, re.MULTILINE)
    assert "cpeft run" in re.search(r"^again +(.*)$", said, re.MULTILINE)[1]


def test_a_kind_that_cannot_be_shown_is_met_with_the_nearest(cpeft_main):
    assert cpeft_main("show", "tsk")[2].strip() == "error: cannot show 'tsk', did you mean 'task'?"


@pytest.mark.parametrize("kind", [[], ["tasks"], ["methods"], ["metrics"], ["models"], ["recipes"]], ids=str)
def test_listings_fit_80_columns(kind, cpeft_main, monkeypatch):
    """Into a pipe too: nothing is cut, names are whole, and what all rows share is said once."""
    monkeypatch.setenv("COLUMNS", "80")
    status, out, err = cpeft_main("list", *kind)
    assert status == 0, err
    _, _, rule, *lines = out.splitlines()
    lines = lines[:-1] if kind == ["tasks"] else lines  # there is a note below them
    assert set(rule) == {"─"}
    assert max(map(len, lines)) <= 80
    assert "…" not in out
    status, rows, err = cpeft_main("list", *kind, "--json")
    names = [row.get("also") or next(iter(row.values())) for row in json.loads(rows)]
    assert [line.split("  ")[0] for line in lines if line[:1].strip()][: len(names)] == names


def test_what_all_rows_share_is_in_the_title(capsys):
    rows = [{"run": f"r{i}", "dtype": "float32", "after": "", "hours": "0.00", "count": 1} for i in range(2)]
    cli.base.show_rows(rows, "runs", None)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["runs,", "all", "with:", "dtype", "float32"]
    assert lines[1] == ["run", "hours", "count"]
    assert lines[3:] == [["r0", "0.00", "1"], ["r1", "0.00", "1"]]
