"""Launchers: how they are chosen, what they are told, and that they change nothing of what a study computes."""

import json
import os

import pytest
from rich.console import Console

from cpeft.errors import ConfigError, DataError, Stopped, UnknownName
from cpeft.store.run_folder import Store
from cpeft.study.launchers import LAUNCHERS, Launcher, launcher_options
from cpeft.study.launchers import watch as watching
from cpeft.study.launchers.job import Job
from cpeft.study.launchers.watch import extra, raise_first, watch
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.runner.claiming import manifest_of
from cpeft.study.runner.plan import Plan
from launched import LIMIT_S, kill_a_worker, outcome_of, write_claim

FEW = ("seeds=[0]", "targets.tasks=mood.toml", "sources.tasks=mood.toml")


@pytest.fixture
def place(world, tmp_path):
    """A folder with what the world's recipe names."""
    folder = tmp_path / "place"
    folder.mkdir()
    for path in world.iterdir():
        (folder / path.name).symlink_to(path)
    return folder


def written(place, text):
    """The world's recipe with more text."""
    path = place / "with_launchers.toml"
    path.write_text((place / "study.toml").read_text() + text)
    return path


def test_the_known():
    assert {"here", "processes", "ray", "slurm"} <= set(LAUNCHERS.names())
    for _, kind in LAUNCHERS.items():
        assert issubclass(kind, Launcher)
        kind(kind.Options())  # every resource has a default


def test_resources_are_of_no_run_and_no_study(world, place, tmp_path):
    """Neither a run's id nor the study's note depends on them."""
    path = written(place, "[launcher.slurm]\nworkers = 3\nsbatch = { account = 'x' }\n")
    plain = Plan(load_recipe(world / "study.toml", FEW), Store(tmp_path))
    more = [load_recipe(path, [*FEW, "launcher.slurm.partition=gpu"]), load_recipe(world / "study.toml", [*FEW])]
    slurm = launcher_options(more[0])["slurm"]
    assert (slurm.workers, slurm.partition) == (3, "gpu")
    first = plain.entries()[0]
    assert all(Plan(recipe, plain.store).entries()[0].folder == first.folder for recipe in more)
    told = Plan(load_recipe(world / "study.toml", [*FEW, "launcher.processes.workers=3"]), plain.store)
    assert manifest_of(told, told.entries()) == manifest_of(plain, plain.entries())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[launcher.slurm]\npartitoin = 'x'\n",
            r"\[launcher.slurm\] unknown key 'partitoin', did you mean 'partition'\?",
        ),
        ("[launcher.slrum]\nworkers = 2\n", "unknown launcher 'slrum', did you mean 'slurm'?"),
        ("[launcher]\nworkers = 2\n", "a table per launcher"),
        ("[launcher.slurm]\nworkers = 0\n", "'workers' = 0"),
        ("[launcher.slurm.stage.target]\ngpus = 1\n", "there is no stage 'target', did you mean 'targets'"),
        ("[launcher.slurm.stage.targets]\nwait = false\n", r"\[launcher.slurm.stage.targets\] unknown key 'wait'"),
    ],
)
def test_mistakes_in_a_recipe(place, text, message):
    with pytest.raises(ConfigError, match=message):
        launcher_options(load_recipe(written(place, text)))


def test_a_stage_has_the_resources_of_all_but_for_its_own(place):
    text = "[launcher.slurm]\nworkers = 8\ngpus = 1\nsbatch = { account = 'x', qos = 'low' }\n"
    text += "[launcher.slurm.stage.sources]\nworkers = 2\nsbatch = { qos = 'high' }\n"
    options = launcher_options(load_recipe(written(place, text), ["launcher.slurm.stage.targets.gpus=0"]))["slurm"]
    sources, targets = options.of_stage("sources"), options.of_stage("targets")
    assert (sources.workers, sources.gpus, sources.sbatch) == (2, 1, {"account": "x", "qos": "high"})
    assert (targets.workers, targets.gpus, targets.sbatch) == (8, 0, options.sbatch)
    assert options.of_stage("similarity") == options


def test_a_worker_of_one_stage_ends_when_nothing_of_it_can_be_done(world, tmp_path):
    """Neither earlier stages nor others at work keep it."""
    store = Store(tmp_path / "store")
    plan = Plan(load_recipe(world / "study.toml", FEW), store)
    with (tmp_path / "log").open("w") as log:
        assert Job.of(plan, "targets").work(log) is None
    done = [str(entry.run) for entry in plan.entries() if entry.state == "done"]
    assert done == ["targets/mood.vocab few_shot=3.s0", "targets/mood.vocab few_shot=full.s0"]
    assert "4 runs of targets are left to other processes or a later job" in (tmp_path / "log").read_text()
    write_claim(plan.entries()[0].folder)
    with (tmp_path / "log").open("w") as log:
        assert Job.of(plan, "sources").work(log) is None
    assert "1 runs of sources are left" in (tmp_path / "log").read_text()


def test_mistakes_on_the_command_line(world, cpeft_main, tmp_path, monkeypatch):
    run = ("run", world / "study.toml", "--store", tmp_path / "store")
    code, _, err = cpeft_main(*run, "--launcher", "slrum")
    assert code == 2
    assert "did you mean 'slurm'?" in err
    code, _, err = cpeft_main(*run, "--launcher", "slurm", "--processes", 2)
    assert code == 2
    assert "--processes is a setting of --launcher processes" in err
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("cpeft.training.workers.Workers.__init__", lambda self: vars(self).update(world=2, first=True))
    for words in (("--processes", 2), ("--launcher", "ray")):
        code, _, err = cpeft_main(*run, *words)
        assert code == 2
        assert f"{words[0]}" in err
        assert "leave it out under accelerate or torchrun" in err
    assert not (tmp_path / "store").exists()


def test_a_missing_package_says_how_to_get_it():
    with pytest.raises(ConfigError, match=r"--launcher ray needs nothing_of_this_name .*: pip install 'cpeft\[ray\]'"):
        extra("nothing_of_this_name", "ray")


def test_a_machine_without_slurm_says_so(world, cpeft_main, tmp_path, monkeypatch):
    pytest.importorskip("submitit", reason="submitit is not installed (extra `slurm`)")
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = cpeft_main("run", world / "study.toml", "--store", tmp_path / "store", "--launcher", "slurm")
    assert code == 2
    assert "--launcher slurm: no sbatch on this machine" in err


@pytest.mark.parametrize(
    ("rounds", "held", "submitted"),
    [
        ([(0, 0), (0, 7), (0, 7)], [], 2),  # steps were made, then none
        ([(0, 0), (16, 0)], [], 1),  # everything is finished
        ([(0, 0), (0, 0)], [], 1),  # jobs that die at once are not sent for ever
        ([(0, 0), (0, 0), (16, 0)], [True], 2),  # what lost workers hold is waited for
    ],
)
def test_slurm_jobs_are_sent_again_while_that_helps(world, tmp_path, monkeypatch, rounds, held, submitted):
    from cpeft.study.launchers import slurm

    sent, made = [], list(rounds)
    plan = Plan(load_recipe(world / "study.toml"), Store(tmp_path))
    monkeypatch.setattr(slurm, "extra", lambda *_: None)
    monkeypatch.setattr(slurm.shutil, "which", lambda _: "sbatch")
    monkeypatch.setattr(slurm, "_wait", lambda *_: made.pop(0) if len(made) > 1 else None)
    monkeypatch.setattr(slurm, "_progress", lambda _: made[0])
    monkeypatch.setattr(slurm, "_left", lambda _: [] if made[0][0] == 16 else [plan.entries()[0]])
    monkeypatch.setattr(slurm, "_await_claims", lambda *_: bool(held and held.pop()))
    monkeypatch.setattr(slurm.Slurm, "_submit", lambda *_: sent.append(1) or ["job"])
    assert LAUNCHERS.get("slurm")(LAUNCHERS.get("slurm").Options()).launch(plan, Console(quiet=True)) is False
    assert len(sent) == submitted


def test_a_launcher_of_ones_own(world, cpeft_main, tmp_path, monkeypatch):
    """One class and one decorator. Where all workers are lost, the command says so and can be given again."""

    class Nobody(Launcher):
        def launch(self, plan, console):
            return False

    monkeypatch.setitem(LAUNCHERS._items, "nobody", Nobody)
    code, out, err = cpeft_main(
        "run", world / "study.toml", *FEW, "--store", tmp_path / "store", "--launcher", "nobody"
    )
    assert code == 4
    assert "7 runs are unfinished and no process is working on them; re-run the same command to resume" in err
    monkeypatch.setattr(Nobody, "launch", lambda *_: True)
    code, out, err = cpeft_main(
        "run", world / "study.toml", *FEW, "--store", tmp_path / "store", "--launcher", "nobody"
    )
    assert (code, err) == (0, "")
    assert f"cpeft status {tmp_path / 'store'}" in out


# Workers that others started


def test_a_worker_started_again_takes_over_what_it_had_claimed(tmp_path):
    """Elsewhere, where its predecessor's death cannot be seen, and before the ten minutes are over; nobody else does."""
    run = Store(tmp_path).folder("stage", "name", "0123456789ab")
    write_claim(run, host="elsewhere", worker="slurm-7")
    assert Store(tmp_path).claim(run) is None
    assert Store(tmp_path, "slurm-8").claim(run) is None
    write_claim(run, host="elsewhere", worker="")
    assert Store(tmp_path, "slurm-7").claim(run) is None
    write_claim(run, host="elsewhere", worker="slurm-7")
    claim = Store(tmp_path, "slurm-7").claim(run)
    assert claim is not None
    content = json.loads(claim.path.read_text())
    assert (content["worker"], content["pid"]) == ("slurm-7", os.getpid())
    assert Store(tmp_path, "slurm-7").claim(run) is None  # its own, in this very process
    claim.release()


def test_what_ends_a_worker_comes_back_as_a_value(world, tmp_path):
    job = Job.of(Plan(load_recipe(world / "study.toml", ["model.device=cuda:99", *FEW]), Store(tmp_path / "store")))
    with (tmp_path / "log").open("w") as log:
        error = job.work(log)
    assert isinstance(error, ConfigError)
    assert "cuda:99" in (tmp_path / "log").read_text()
    with pytest.raises(ConfigError, match="cuda:99"):
        raise_first([None, Stopped("stopped"), error, DataError("later")])
    raise_first([None, Stopped("stopped")])


def test_watching_ends_with_the_workers_or_the_work(world, finished, tmp_path, monkeypatch):
    monkeypatch.setattr(watching, "WAIT_S", 0)
    said = []

    class Listener:
        is_terminal = False

        def print(self, text, **_):
            said.append(text)

    def forever():
        return True

    watch(Plan(load_recipe(world / "study.toml"), finished), Listener(), forever)
    assert said == ["16 of 16 runs done"]
    lives = iter([True, True, False])
    watch(Plan(load_recipe(world / "study.toml", FEW), Store(tmp_path)), Listener(), lambda: next(lives))
    assert said == ["16 of 16 runs done", "0 of 7 runs done"]


def test_an_unknown_name_is_told_from_the_registry():
    with pytest.raises(UnknownName, match="unknown launcher 'prozesses', did you mean 'processes'"):
        LAUNCHERS.get("prozesses")


# Local processes


@pytest.mark.slow
def test_a_process_killed_in_the_middle_changes_nothing(world, alone, longer, tmp_path, start):
    store = tmp_path / "store"
    words = ("--launcher", "processes", "launcher.processes.workers=2")
    process = start(tmp_path / "out", "run", world / "study.toml", *longer, "--store", store, *words)
    kill_a_worker(store, process)
    assert process.wait(LIMIT_S) == 0, (tmp_path / "out").read_text()
    assert outcome_of(store) == alone
    assert not list(store.rglob("claim.json"))
