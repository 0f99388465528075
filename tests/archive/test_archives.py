"""An archive holds what a paper needs, says what is wrong with a changed one, and cannot hurt whoever opens it."""

import hashlib
import json
import re
import shutil
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save_file

from cpeft.archive import read, write
from cpeft.archive.read import unpacked
from cpeft.archive.restore import restore
from cpeft.archive.verify import verify
from cpeft.archive.write import write_archive
from cpeft.errors import ConfigError, DataError
from cpeft.store.run_folder import Store
from cpeft.study.recipe.recipe import load_recipe

TASKS = ("mood", "topic", "rank")


@pytest.fixture(scope="session")
def archive(finished, tmp_path_factory):
    """The archive of the finished study; read only."""
    return write_archive(finished.path, tmp_path_factory.mktemp("archive") / "study.zip").path


@pytest.fixture
def check(world):
    """Findings about an archive, by level."""

    def call(path, **more):
        found = {}
        for finding in verify(path, tasks=[world / f"{task}.toml" for task in TASKS], **more):
            found.setdefault(finding.level, []).append(f"{finding.where}: {finding.what}")
        return found

    return call


def contents(path):
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def forged(archive, out, changes, dishonest=True):
    """A copy with changed files; a `dishonest` author corrects the digests too. None takes a file away."""
    files = {name: content for name, content in {**contents(archive), **changes}.items() if content is not None}
    index = json.loads(files["archive.json"])
    if dishonest:
        entries = {name: content for name, content in files.items() if name != "archive.json"}
        index["files"] = {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in entries.items()
        }
        files["archive.json"] = json.dumps(index).encode()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return out


def first(archive, pattern):
    """Name and content of the first file whose name fits a regular expression."""
    files = contents(archive)
    name = next(name for name in files if re.fullmatch(pattern, name))
    return name, files[name]


def test_everything_is_checked_where_model_and_rows_are_here(archive, check):
    found = check(archive)
    assert set(found) == {"note", "ok"}, found
    assert sum("scored again" in each for each in found["ok"]) >= 16
    assert any("scores computed again from the kept answers" in each for each in found["ok"])


def test_the_same_store_gives_the_same_bytes(archive, finished, tmp_path):
    again = write_archive(finished.path, tmp_path / "again.zip")
    assert again.path.read_bytes() == archive.read_bytes()
    assert again.sha256 == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert again.bytes == archive.stat().st_size


def test_the_recipe_in_an_archive_has_the_same_runs_and_no_path_of_this_machine(archive, world, tmp_path):
    name, text = first(archive, r"store/recipes/[^/]*-\w{8}-\w{8}\.toml")
    assert str(world).encode() not in text + first(archive, r"store/.*\.study\.json")[1]
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path)
    for split in ("train", "validation", "test"):  # rows are not in it
        for task in TASKS:
            shutil.copy(world / f"{task}-{split}.csv", tmp_path / "store" / "recipes")
    recipe, original = load_recipe(tmp_path / name), load_recipe(world / "study.toml")
    assert [str(run) for run in recipe.runs] == [str(run) for run in original.runs]


def test_a_changed_file_is_named(archive, tmp_path, check):
    name, _ = first(archive, r".*/result\.json")
    found = check(
        forged(archive, tmp_path / "a.zip", {name: b"{}", "README.md": None, "more.txt": b"x"}, dishonest=False)
    )
    errors = "\n".join(found["error"])
    assert f"{name}: 2 bytes" in errors
    assert "README.md: missing" in errors
    assert "more.txt: not in archive.json" in errors


def test_a_better_score_does_not_follow_from_the_answers(archive, tmp_path, check):
    name, text = first(archive, r"store/sources/.*/result\.json")
    result = json.loads(text)
    (task,) = result["scores"]
    result["scores"][task]["accuracy"]["value"] += 1.0
    found = check(forged(archive, tmp_path / "a.zip", {name: json.dumps(result).encode()}))
    assert any("the kept answers give" in each for each in found["error"])
    assert any(each.startswith("scores.csv") for each in found["error"])
    assert any("because of the errors" in each for each in found["unchecked"])


def test_a_changed_frame_and_an_added_claim_are_found(archive, tmp_path, check):
    frame = contents(archive)["scores.csv"].replace(b"sources", b"sauces", 1)
    claims = [*json.loads(contents(archive)["claims.json"]), {"claim": "ours is best"}]
    changes = {"scores.csv": frame, "claims.json": json.dumps(claims).encode()}
    errors = check(forged(archive, tmp_path / "a.zip", changes))["error"]
    assert [each.partition(":")[0] for each in errors] == ["scores.csv", "claims.json"]


def test_answers_that_the_model_does_not_give_are_found(archive, tmp_path, check):
    """Answers, scores and frame agree, and were made up."""
    name, content = first(archive, r"store/sources/.*/predictions\.parquet")
    (tmp_path / "p.parquet").write_bytes(content)
    table = pq.read_table(tmp_path / "p.parquet")
    right = pa.array([row[0] for row in table["references"].to_pylist()], pa.string())
    made_up = table.set_column(table.schema.get_field_index("prediction"), "prediction", right)
    pq.write_table(made_up, tmp_path / "p.parquet")
    card = name.replace("predictions.parquet", "result.json")
    result = json.loads(contents(archive)[card])
    (task,) = result["scores"]
    for score in result["scores"][task].values():
        score["value"] = 100.0
    changes = {name: (tmp_path / "p.parquet").read_bytes(), card: json.dumps(result).encode()}
    one = forged(archive, tmp_path / "a.zip", changes)
    with unpacked(one) as folder:
        made = write_archive(folder.folder / "store", tmp_path / "b.zip").path
    errors = check(made)["error"]
    assert len(errors) == 1
    assert "answers differ" in errors[0]


def test_a_prompt_that_was_not_scored_is_found(archive, tmp_path, check):
    name, content = first(archive, r"store/sources/.*/prompts/.*/adapter_model\.safetensors")
    (tmp_path / "p.safetensors").write_bytes(content)
    tensors = load_file(tmp_path / "p.safetensors")
    save_file({key: value + 1 for key, value in tensors.items()}, tmp_path / "p.safetensors")
    found = check(forged(archive, tmp_path / "a.zip", {name: (tmp_path / "p.safetensors").read_bytes()}))
    assert any("is not the one that was scored" in each for each in found["error"])


def test_what_is_not_here_is_said(archive, world, tmp_path, monkeypatch):
    found = [finding for finding in verify(archive) if finding.level == "unchecked"]
    assert found
    assert all("give its TOML file with --task" in finding.what for finding in found)
    hidden = world.rename(world.with_name("elsewhere"))
    try:
        found = [finding for finding in verify(archive) if finding.level not in ("ok", "note")]
    finally:
        hidden.rename(world)
    assert {finding.level for finding in found} == {"unchecked"}
    assert all("is not on this machine" in finding.what for finding in found)


def test_other_rows_are_not_scored(archive, world, tmp_path):
    for path in world.glob("mood*"):
        shutil.copy(path, tmp_path)
    (tmp_path / "mood-test.csv").write_text((tmp_path / "mood-test.csv").read_text() + "one more,0\n")
    found = list(verify(archive, tasks=[tmp_path / "mood.toml"], only=["sources/mood*"]))
    assert sum("are not those of the archive" in finding.what for finding in found) == 2


def test_runs_are_chosen_and_left(archive, check):
    found = check(archive, only=["sources/mood*"])
    assert sum("scored again on" in each for each in found["ok"]) == 2
    assert "14 runs were not scored again (--only)" in found["unchecked"][0]
    with pytest.raises(ConfigError, match="no run of this name"):
        check(archive, only=["nothing"])
    assert not any("scored again on" in each for each in check(archive, rescore=False)["ok"])


def test_unfinished_runs_and_large_files_are_listed(finished, tmp_path, monkeypatch, check):
    store = tmp_path / "store"
    shutil.copytree(finished.path, store)
    gone = next(store.glob("targets/*/result.json"))
    gone.unlink()
    monkeypatch.setattr(write, "LARGEST", 20_000)
    (next(store.glob("sources/*/method")) / "state.safetensors").write_bytes(b"\0" * 30_000)
    made = write_archive(store, tmp_path / "a.zip", [Path(__file__)])
    assert len(made.index.unfinished) == 1
    assert made.index.unfinished[0].endswith(": not finished")
    assert len(made.index.left_out) == 1
    found = check(made.path)
    assert len(found["warning"]) == 2
    assert "attached: 1 files" in "\n".join(found["unchecked"])
    assert "the archive has no weights of its method" in "\n".join(found["unchecked"])


def test_wrong_arguments_are_refused(finished, tmp_path):
    with pytest.raises(ConfigError, match="no finished run"):
        write_archive(tmp_path)
    with pytest.raises(ConfigError, match="inside of the store"):
        write_archive(finished.path, finished.path / "a.zip")
    with pytest.raises(ConfigError, match="no such file"):
        write_archive(finished.path, tmp_path / "a.zip", [tmp_path / "none"])
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.md").touch()
    (tmp_path / "a.md").touch()
    with pytest.raises(ConfigError, match=r"two files are called 'a\.md'"):
        write_archive(finished.path, tmp_path / "a.zip", [tmp_path / "a.md", tmp_path / "one" / "a.md"])


# Files of strangers


@pytest.mark.parametrize(
    "name",
    [
        "../out",
        "store/../../out",
        "/out",
        "store//x.json",
        "a\\..\\..\\b",
        "C:/x",
        "x\x1b[2J",
        "store/run.pkl",
        "x/" + "a" * 300,
    ],
)
def test_unsafe_names_are_not_unpacked(archive, tmp_path, name):
    path = forged(archive, tmp_path / "inner" / "a.zip" if (tmp_path / "inner").mkdir() is None else "", {name: b"x"})
    with pytest.raises(DataError, match="not unpacked") as error:
        list(verify(path))
    assert str(error.value).isprintable()
    assert [each.name for each in tmp_path.rglob("*")] == ["inner", "a.zip"]


def test_two_files_of_one_name_are_refused(archive, tmp_path):
    path = forged(archive, tmp_path / "a.zip", {})
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("README.md", "other")
    with pytest.raises(DataError, match="the same name"):
        list(verify(path))


def test_a_link_becomes_a_plain_file(archive, tmp_path):
    path = forged(archive, tmp_path / "a.zip", {})
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(link, "/etc/passwd")
    with unpacked(path) as found:
        assert found.damage == {"link": "not in archive.json"}
        assert not any(each.is_symlink() for each in found.folder.rglob("*"))


def test_sizes_are_limited(archive, tmp_path, monkeypatch):
    bomb = forged(archive, tmp_path / "a.zip", {"README.md": b"\0" * 10_000_000}, dishonest=False)
    with unpacked(bomb) as found:
        size = json.loads(contents(archive)["archive.json"])["files"]["README.md"]["bytes"]
        assert (found.folder / "README.md").stat().st_size == size + 1
        assert set(found.damage) == {"README.md"}
    monkeypatch.setattr(read, "MOST_BYTES", 1_000_000)
    with pytest.raises(DataError, match="at most"):
        list(verify(bomb))
    monkeypatch.setattr(read, "MOST_OF_INDEX", 10)
    with pytest.raises(DataError, match="no archive of cpeft"):
        list(verify(archive))


def test_many_values_in_a_small_table_are_not_read(archive, tmp_path, check):
    name, _ = first(archive, r"store/sources/.*/predictions\.parquet")
    pq.write_table(pa.table({"task": pa.array(["x"] * 60_000_000).dictionary_encode()}), tmp_path / "p.parquet")
    assert (tmp_path / "p.parquet").stat().st_size < 1_000_000
    found = check(forged(archive, tmp_path / "a.zip", {name: (tmp_path / "p.parquet").read_bytes()}))
    assert any("over 50,000,000 values" in each for each in found["error"])


@pytest.mark.parametrize(
    ("pattern", "content"),
    [
        (r"store/sources/.*/result\.json", b"[" * 100_000),
        (r"store/sources/.*/result\.json", b'{"schema": 2}'),
        (r"store/sources/.*/config\.toml", b"= 3"),
        (r"store/sources/.*/predictions\.parquet", b"PAR1"),
        (r"store/.*\.study\.json", b'{"runs": 3}'),
        (r"claims\.json", b"3"),
        (r"scores\.csv", b"\xff\xfe"),
        (r"store/sources/.*/prompts/.*/adapter_model\.safetensors", b"\x80\x02}q\x00."),
        (r"store/sources/.*/prompts/.*/cpeft\.json", b"[]"),
        (r"store/sources/.*/method/state\.safetensors", b"\x08" * 100),
        (r"store/sources/.*/method/method\.json", b'{"model": "mini"}'),
    ],
)
def test_malformed_files_are_findings(archive, tmp_path, check, pattern, content):
    name, _ = first(archive, pattern)
    found = check(forged(archive, tmp_path / "a.zip", {name: content}))
    assert found["error"]
    assert all(each.isprintable() and str(tmp_path) not in each for each in found["error"])


def test_the_name_of_a_prompt_cannot_lead_out(archive, tmp_path, check):
    name, text = first(archive, r"store/sources/.*/result\.json")
    result = {**json.loads(text), "prompts": ["../../../../../../etc"]}
    found = check(forged(archive, tmp_path / "a.zip", {name: json.dumps(result).encode()}))
    assert any("leads out of its run" in each for each in found["error"])


def test_other_files_are_no_archives(tmp_path):
    (tmp_path / "text.zip").write_text("text")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("x", "y")
    with zipfile.ZipFile(tmp_path / "later.zip", "w") as file:
        index = {"schema": 99, "name": "x", "versions": {}, "runs": 1, "unfinished": [], "left_out": [], "files": {}}
        file.writestr("archive.json", json.dumps(index))
    with zipfile.ZipFile(tmp_path / "wrong.zip", "w") as file:
        file.writestr("archive.json", json.dumps({**index, "schema": 1, "runs": "many"}))
    for name, why in {
        "none": "No such file", "text": "not a readable zip", "other": "no archive of cpeft", "later": "later version",
        "wrong": "'runs'",
    }.items():  # fmt: skip
        with pytest.raises(DataError, match=why):
            list(verify(tmp_path / f"{name}.zip"))


# The commands


def test_the_commands(finished, world, tmp_path, monkeypatch, cpeft_main):
    monkeypatch.chdir(tmp_path)
    code, out, _ = cpeft_main("archive", finished.path, "--out", "a.zip")
    assert code == 0
    digest = hashlib.sha256((tmp_path / "a.zip").read_bytes()).hexdigest()
    assert f"SHA-256 {digest}" in out
    code, out, _ = cpeft_main("verify", "a.zip", "--no-rescore")
    assert (code, out.splitlines()[0]) == (0, f"note a.zip: SHA-256 {digest}")
    assert out.splitlines()[-1] == "no errors (1 unchecked)"
    code, out, _ = cpeft_main("verify", "a.zip", "--json", "--only", "sources/mood*s0", "--task", world / "mood.toml")
    assert code == 0
    assert {"level", "where", "what"} == set(json.loads(out)[0])
    forged(tmp_path / "a.zip", tmp_path / "b.zip", {"README.md": b"x"}, dishonest=False)
    code, out, _ = cpeft_main("verify", "b.zip", "--no-rescore")
    assert (code, out.splitlines()[-1]) == (1, "not as it was written: 1 errors (1 unchecked)")
    code, _, err = cpeft_main("verify", "none.zip")
    assert (code, "none.zip" in err) == (2, True)


def test_the_report_of_an_unpacked_archive_is_that_of_the_store(archive, finished):
    with unpacked(archive) as found:
        assert len(Store(found.folder / "store").results()) == len(Store(finished.path).results())


def test_a_restored_store_has_nothing_left_to_run(archive, finished, tmp_path):
    made = restore(archive, tmp_path / "store")
    done = {run.path.relative_to(finished.path): run.result() for run in finished.runs() if run.done}
    assert {run.path.relative_to(tmp_path / "store"): run.result() for run in made.new} == done
    again = restore(archive, tmp_path / "store")
    assert not again.new
    assert len(again.there) == len(done)


def test_restoring_replaces_what_was_begun_and_nothing_that_is_finished(archive, tmp_path):
    first_run, second_run, *_ = restore(archive, tmp_path).new
    first_run.result_path.unlink()
    first_run.checkpoint_path.parent.mkdir()
    second_run.log_path.write_text("mine")
    made = restore(archive, tmp_path)
    assert made.new == (first_run,)
    assert not first_run.checkpoint_path.parent.exists()
    assert second_run.log_path.read_text() == "mine"


def test_a_damaged_archive_restores_nothing(archive, tmp_path):
    name, content = first(archive, r".*/result\.json")
    changed = forged(archive, tmp_path / "changed.zip", {name: content + b" "}, dishonest=False)
    with pytest.raises(DataError, match="damaged, nothing was restored"):
        restore(changed, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_run_at_work_is_not_replaced(archive, tmp_path):
    run, *_ = restore(archive, tmp_path).new
    run.result_path.unlink()
    claim = Store(tmp_path).claim(run)
    with pytest.raises(ConfigError, match="a process works on this run"):
        restore(archive, tmp_path)
    assert not run.done
    claim.release()
    assert run in restore(archive, tmp_path).new
