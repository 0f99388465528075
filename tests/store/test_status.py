"""`cpeft status`, `list runs`, `show run`: a store read by those who do not work on it, without torch and its recipe."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time

import pytest
from rich.console import Console

from cpeft import cli
from cpeft.errors import ConfigError, DataError
from cpeft.store.history import record_of
from cpeft.store.manifest import read_manifests
from cpeft.store.run_folder import RunFolder, Store
from cpeft.store.status import STATES, status_of
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.runner.plan import Plan
from cpeft.study.runner.worker import run_recipe
from launched import write_claim
from tiny import run_python

FEW = ("seeds=[0]", "targets.tasks=mood.toml", "sources.tasks=mood.toml")


@pytest.fixture
def store(finished, tmp_path):
    """A copy of the finished store."""
    shutil.copytree(finished.path, tmp_path / "store")
    return tmp_path / "store"


def folders(store, pattern):
    return [path for path in sorted(store.glob(pattern)) if path.is_dir()]


def unfinish(folder):
    (folder / "result.json").unlink()


def counts(status, study=0):
    return {stage.stage: {k: v for k, v in stage.counts.items() if v} for stage in status.studies[study].stages}


def test_a_finished_store(finished):
    status = status_of(finished.path)
    assert counts(status) == {"sources": {"done": 4}, "targets": {"done": 12}}
    [study] = status.studies
    assert study.hours_left == 0
    spent = sum(result.seconds.total for result in finished.results()) / 3600
    assert sum(stage.hours for stage in study.stages) == pytest.approx(spent)
    assert spent > 0
    assert {seen.step for seen in study.runs} == {6}


def test_every_state_is_told_apart(store):
    a, b, c, d, e, *_ = folders(store, "targets/*")
    for folder in (a, b, c, d):
        unfinish(folder)
    (a / "failed.json").write_text(json.dumps({"error": "RunFailed: loss is nan\nsecond line", "traceback": "..."}))
    live = write_claim(RunFolder(b))
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    write_claim(RunFolder(c), pid=child.pid, started="1")
    shutil.rmtree(e)
    with (b / "metrics.jsonl").open("a") as file:
        file.write('{"step": 41, "loss": 1.0}\n{"step": 42, "lo')  # a line that is being written
    status = status_of(store)
    assert counts(status)["targets"] == {"failed": 1, "running": 1, "stale": 1, "stopped": 1, "ready": 1, "done": 7}
    by_folder = {seen.folder: seen for seen in status.runs}
    assert by_folder[f"targets/{a.name}"].error == "RunFailed: loss is nan"
    assert status.failure_path(by_folder[f"targets/{a.name}"]) == a / "failed.json"
    running = by_folder[f"targets/{b.name}"]
    assert (running.step, running.holder.pid) == (41, os.getpid())
    assert running.log_age_s < 60
    assert status.processes == 1
    mean = [seen.hours for seen in status.studies[0].runs if seen.run.startswith("targets") and seen.hours]
    assert status.studies[0].hours_left == pytest.approx(4 * sum(mean) / len(mean))  # a failed run is nothing left
    os.utime(live, (0, 0))
    assert counts(status_of(store))["targets"]["running"] == 1  # silent, but alive on this host


def test_what_needs_a_failed_run_is_blocked_until_it_is_done(world, tmp_path, monkeypatch):
    from cpeft.study.runner import gang as module

    def broken(*given):
        raise RuntimeError("no scores")

    whole = module.conclude
    monkeypatch.setattr(module, "conclude", broken)
    plan = Plan(load_recipe(world / "study.toml", FEW), Store(tmp_path))
    run_recipe(plan, Console(quiet=True))
    expected = {"sources": {"failed": 1}, "targets": {"failed": 2, "blocked": 4}}
    assert counts(status_of(tmp_path)) == expected
    assert status_of(tmp_path).studies[0].hours_left == 0
    for entry in plan.entries():
        if entry.state == "failed":
            plan.store.forget(entry.folder)
    monkeypatch.setattr(module, "conclude", whole)
    run_recipe(Plan(plan.recipe, plan.store), Console(quiet=True))
    assert counts(status_of(tmp_path)) == {"sources": {"done": 1}, "targets": {"done": 6}}


def test_without_a_finished_run_nobody_knows_the_time_left(store):
    for folder in folders(store, "*/*-*"):
        unfinish(folder)
    status = status_of(store)
    assert counts(status) == {"sources": {"stopped": 4}, "targets": {"stopped": 12}}
    assert status.studies[0].hours_left is None


def test_several_recipes_in_one_store(world, store):
    """Each has its note; a run that two of them ask for is one run, and what nobody asks for stands apart."""
    run_recipe(Plan(load_recipe(world / "study.toml", ["seeds=[0]"]), Store(store)), Console(quiet=True))
    longer = load_recipe(world / "study.toml", ["train.steps=8", "seeds=[0]", "targets.tasks=mood.toml"])
    run_recipe(Plan(longer, Store(store), ["sources/mood*"]), Console(quiet=True))
    status = status_of(store)
    assert len(status.studies) == len(read_manifests(store)) == 3
    sizes = sorted(sum(stage.runs for stage in study.stages) for study in status.studies)
    assert sizes == [1, 8, 16]
    assert len(status.runs) == 17
    [note] = [note for note in read_manifests(store) if note.only]
    (store / note.path).unlink()
    last = status_of(store).studies[-1]
    assert last.manifest is None
    assert [seen.state for seen in last.runs] == ["done"]


def test_a_setting_changed_in_one_store_is_another_study(world, cpeft_main, tmp_path):
    """Two runs of one seed and label, apart in status and never one row of a table."""
    words = (world / "study.toml", *FEW, "--only", "sources/*", "--store", tmp_path)
    tables = []
    for rate in ("optim.lr=0.05", "optim.lr=0.3"):
        assert cpeft_main("run", *words, rate)[0] == 0
        tables.append([line for line in (tmp_path / "table.md").read_text().splitlines() if "| sources |" in line])
    assert [len(rows) for rows in tables] == [2, 2]  # accuracy and macro F1
    scores = [result.scores["mood"]["accuracy"].value for result in Store(tmp_path).results()]
    assert len(scores) == 2
    assert sorted(float(rows[0].split(" | ")[5]) for rows in tables) == pytest.approx(sorted(scores), abs=0.01)
    assert all(rows[0].split(" | ")[8] == "1" for rows in tables), "one seed each"
    assert [counts(status_of(tmp_path), study) for study in (0, 1)] == [{"sources": {"done": 1}}] * 2


def test_a_broken_note_says_so(store):
    path = next(store.glob("*.study.json"))
    path.write_text('{"name": 1}')
    with pytest.raises(DataError, match=rf"{path.name}: not the manifest of a study"):
        status_of(store)


def test_a_folder_that_is_no_store(tmp_path):
    with pytest.raises(ConfigError, match="no run was begun here"):
        status_of(tmp_path)


def test_the_last_step_of_a_long_file(tmp_path):
    folder, path = RunFolder(tmp_path), tmp_path / "metrics.jsonl"
    assert folder.last_step() == (None, None)
    path.write_text("")
    assert folder.last_step()[0] is None
    path.write_text("".join(f'{{"step": {i}, "loss": 0.123456789}}\n' for i in range(1, 9000)))
    assert folder.last_step()[0] == 8999


# The commands


def test_status_prints_failures_and_progress(store, cpeft_main, world):
    a, b, c, *_ = folders(store, "targets/*")
    for folder in (a, b, c):
        unfinish(folder)
    (a / "failed.json").write_text(json.dumps({"error": "RunFailed: [loss] is nan", "traceback": "..."}))
    write_claim(RunFolder(b))
    write_claim(RunFolder(c), age_s=700, host="elsewhere", pid=7)
    code, out, err = cpeft_main("status", store)
    assert (code, err) == (0, "")
    said = " ".join(out.split())
    assert "RunFailed: [loss] is nan; see" in said
    assert f"cpeft run {world / 'study.toml'} --store" in said
    assert "step 6, logged" in said
    assert "its process (elsewhere:7, alive 12 min ago) is gone; the next process takes it over" in said
    assert "hours left in one process" in said
    card = json.loads(cpeft_main("status", store, "--json")[1])
    [study] = card["studies"]
    assert [stage["runs"] for stage in study["stages"]] == [4, 12]
    assert set(study["stages"][0]["counts"]) == set(STATES)
    assert [run["failed_json"] for run in study["runs"] if run["state"] == "failed"] == [str(a / "failed.json")]


def test_an_edited_recipe_is_told(world, tmp_path, cpeft_main):
    for path in (*world.glob("*.toml"), *world.glob("*.csv")):  # what a recipe names is looked at, run or not
        shutil.copy(path, tmp_path / path.name)
    shutil.copytree(world / "model", tmp_path / "model")
    arguments = [*FEW, "--only", "sources/*", "--store", tmp_path / "store"]
    code, out, error = cpeft_main("run", tmp_path / "study.toml", *arguments)
    assert code == 0, out + error
    assert "edited since" not in cpeft_main("status", tmp_path / "store")[1]
    with (tmp_path / "study.toml").open("a") as file:
        file.write("# more\n")
    assert "edited since" in cpeft_main("status", tmp_path / "store")[1]
    [run] = Store(tmp_path / "store").runs()
    assert record_of(run.path)["recipe_edited"] == [str((tmp_path / "study.toml").resolve())]


def test_looking_at_a_store_needs_neither_torch_nor_the_recipe(store):
    for folder in folders(store, "targets/*")[:1]:
        unfinish(folder)
    note = next(store.glob("*.study.json"))
    card = json.loads(note.read_text())
    card |= {"recipe": "/gone/study.toml", "files": {"/gone/study.toml": ""}}
    note.write_text(json.dumps(card))
    code = (
        "import sys\nfrom cpeft import cli\n"
        "for words in ([['status', {0!r}], ['list', 'runs', '--store', {0!r}], ['show', 'run', {1!r}]]):\n"
        "    sys.argv = ['cpeft', *words]\n    try: cli.main()\n    except SystemExit as leaving: assert not leaving.code\n"
        "print('heavy:', sorted({{'torch', 'transformers', 'datasets'}} & set(sys.modules)))"
    ).format(str(store), str(folders(store, "targets/*")[-1]))
    done = run_python(code)
    assert done.stdout.splitlines()[-1] == "heavy: []", done.stdout + done.stderr


def test_the_runs_of_a_store_and_what_they_were_made_from(finished, cpeft_main):
    rows = json.loads(cpeft_main("list", "runs", "--store", finished.path, "--json")[1])
    assert len(rows) == 16
    results = {f"{r.stage}/{r.name}".replace(" ", "_"): r for r in finished.results()}
    for row in rows:
        about = results[row["run"].rpartition("-")[0]]
        for task, data in about.data.items():
            assert f"{task} v2 {data.fingerprint[:12]}" in row["data"]
        assert about.weights.startswith(row["weights"])
        assert f"torch {about.versions['torch']}" in row["versions"]
    assert cpeft_main("list", "runs")[0] == 2


def test_one_run_is_made_again_by_the_command_it_shows(finished, cpeft_main, tmp_path, monkeypatch):
    """In a store of its own, with what it needs: same folder, same prompt, byte for byte."""
    [folder] = folders(finished.path, "targets/rank.spot_few_shot=3.s1-*")
    card = json.loads(cpeft_main("show", "run", folder, "--json")[1])
    assert card["id"] == folder.name.rpartition("-")[2]
    assert (
        card["data"]["rank"]["fingerprint"]
        == json.loads((folder / "result.json").read_text())["data"]["rank"]["fingerprint"]
    )
    assert card["settings"]["prompt"]["init"] == "sources/mood"
    assert card["other_versions_here"] == {}
    program, *words = shlex.split(card["again"])
    assert program == "cpeft"
    words[-1] = str(tmp_path / "again")
    assert cpeft_main(*words)[0] == 0
    made = folders(tmp_path / "again", "*/*-*")
    assert [path.name for path in made] == [folders(finished.path, "sources/mood*s1-*")[0].name, folder.name]
    prompt = "prompts/rank/adapter_model.safetensors"
    assert (made[1] / prompt).read_bytes() == (folder / prompt).read_bytes()


def test_other_versions_are_told(store):
    [folder] = folders(store, "sources/mood*s0-*")
    result = json.loads((folder / "result.json").read_text())
    result["versions"]["torch"] = "0.1"
    (folder / "result.json").write_text(json.dumps(result))
    card = record_of(folder)
    assert list(card["other_versions_here"]) == ["torch"]
    assert card["other_versions_here"]["torch"][0] == "0.1"


def test_a_run_without_a_note_has_no_command(store, cpeft_main):
    next(store.glob("*.study.json")).unlink()
    [folder] = folders(store, "sources/mood*s0-*")
    card = record_of(folder)
    assert card["again"] is None
    assert "before stores kept manifests" in card["why"]
    unfinish(folder)
    code, _, err = cpeft_main("show", "run", folder)
    assert code == 2
    assert "no finished run" in err


# Runs chosen by name


def test_only_takes_what_a_run_needs(world, cpeft_main, tmp_path):
    rows = json.loads(cpeft_main(
        "plan", world / "study.toml", "--only", "targets/rank.attempt few_shot=3.s1", "--store", tmp_path, "--json"
    )[1])["runs"]  # fmt: skip
    assert [row["run"] for row in rows] == ["mood.sources.s1", "topic.sources.s1", "rank.attempt few_shot=3.s1"]
    rows = json.loads(
        cpeft_main("plan", world / "study.toml", "--only", "*.vocab *", "--store", tmp_path, "--json")[1]
    )["runs"]
    assert len(rows) == 4
    code, _, err = cpeft_main("plan", world / "study.toml", "--only", "targets/nothing", "--store", tmp_path)
    assert code == 2
    assert "has no run 'targets/nothing'; `cpeft plan` lists its runs" in err


def test_ids_do_not_depend_on_what_was_chosen(world, finished):
    whole = {str(e.run): e.folder for e in Plan(load_recipe(world / "study.toml"), finished).entries()}
    part = Plan(load_recipe(world / "study.toml"), finished, ["targets/*s0"]).entries()
    assert len(part) == 8
    assert all(whole[str(entry.run)] == entry.folder for entry in part)


def test_the_note_follows_the_run(world, tmp_path, monkeypatch):
    """A process that is killed leaves a note of what it knew; the folder of a run that waits is not known yet."""
    from cpeft.study.runner import gang as module

    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    monkeypatch.setattr(module, "train_gang", kill)
    with pytest.raises(Killed):
        run_recipe(Plan(load_recipe(world / "study.toml", FEW), Store(tmp_path)), Console(quiet=True))
    [note] = read_manifests(tmp_path)
    known = {run.name: bool(run.folder) for run in note.runs}
    assert known["mood.sources.s0"]
    assert not known["mood.spot few_shot=3.s0"]
    assert note.overrides == FEW
    assert time.time() - (tmp_path / note.path).stat().st_mtime < 60
    assert counts(status_of(tmp_path)) == {"sources": {"stopped": 1}, "targets": {"waiting": 4, "ready": 2}}
    assert cli.status  # the command is registered
