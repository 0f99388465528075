"""Prompts in peft's doubled layout, trained by peft itself: what rows that no model reads do to similarity, what the commands
`similar` and `doctor` say of it, and the committed page."""

import json
import re
import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from cpeft.doctor import examine
from cpeft.prompts.exchange import load_prompt, load_stored
from cpeft.prompts.formula.evaluate import read_items
from cpeft.prompts.similarity import addends, compare
from tiny import SRC, D, P, make_batch, make_lm, make_rows

STUDY = Path(SRC).parent / "studies" / "doubled-prompts"
doubled_prompts = import_module("studies.doubled-prompts.claims")
STEPS = 12


@pytest.fixture(scope="module")
def doubled(tmp_path_factory):
    """Two tasks from two origins as peft saves them, the doubled origins as bare matrices, and the model."""
    folder, lm = tmp_path_factory.mktemp("doubled"), make_lm("t5")
    for number in range(2):
        ids = torch.randperm(len(lm.vocabulary.table_VD), generator=torch.Generator().manual_seed(number))[: 2 * P]
        origin_ND = lm.vocabulary.table_VD[ids]
        np.save(folder / f"origin-{number}.npy", origin_ND.numpy())
        for seed, task in enumerate(("mood", "topic")):
            batch = make_batch(make_rows(lm, seed=seed))
            same = (batch.source_BL, batch.mask_BL.long(), batch.target_BT)
            largest = doubled_prompts.train_doubled(
                lm.model, origin_ND, [same] * STEPS, {STEPS: folder / f"{task}-{number}"}
            )
            assert float(largest) == 0, "no gradient ever reaches the second half"
    lm.model.save_pretrained(folder / "model")
    lm.tokenizer.save_pretrained(folder / "model")
    return folder


@pytest.fixture
def labelled(doubled):
    return [f"{task}@{n}={doubled}/{task}-{n}" for task in ("mood", "topic") for n in range(2)]


def test_the_second_half_only_decays(doubled):
    for number in range(2):
        start = torch.from_numpy(np.load(doubled / f"origin-{number}.npy"))
        prompt, dead = load_stored(doubled / f"mood-{number}")
        assert (prompt.length, dead.shape) == (P, (P, D))
        torch.testing.assert_close(dead, start[P:] * (1 - doubled_prompts.LR * doubled_prompts.DECAY) ** STEPS)
        assert (prompt.weight - start[:P]).norm() > 0.1 * start[:P].norm()
        assert torch.equal(load_prompt(doubled / f"mood-{number}").weight, prompt.weight), (
            "dead rows are in no SoftPrompt"
        )


@pytest.mark.parametrize("measure", ["flattened", "token_mean"])
def test_one_origin_looks_alike_on_all_rows_and_less_so_on_live_ones(labelled, measure):
    live, stored = (compare(read_items(labelled), rows) for rows in ("live", "all"))
    assert stored.gap(measure)["gap"] > live.gap(measure)["gap"] + 0.05
    a, b = live.items[0], live.items[2]
    assert (a.name, b.name) == ("mood@0", "topic@0")
    of_live, of_dead = addends(a, b)
    assert of_live + of_dead == pytest.approx(stored.matrices["flattened"][0, 2])
    assert of_dead > 0.2


def test_vectors_subtract_the_dead_half_away_but_for_decay(doubled):
    texts = [f"{task}@0='{doubled}/{task}-0' - '{doubled}/origin-0.npy'" for task in ("mood", "topic")]
    items = read_items(texts, live=P)
    dead = [item.dead_ND for item in items]
    assert max(float(part.abs().max()) for part in dead) < 1e-3
    live, stored = (compare(items, rows).matrices["flattened"][0, 1] for rows in ("live", "all"))
    assert live == pytest.approx(stored, abs=1e-4)


def test_bare_matrices_say_their_live_rows_by_an_option(doubled, cpeft_main):
    path = doubled / "origin-0.npy"
    prompt, dead = load_stored(path, live=P)
    assert torch.equal(torch.cat([prompt.weight, dead]), load_prompt(path).weight)
    assert load_stored(path)[1] is None
    assert load_stored(path, live=2 * P)[1] is None
    code, _, err = cpeft_main("similar", path, doubled / "mood-0", "--live", "9")
    assert code == 2
    assert "holds 8 rows, of which 9 cannot be live" in err
    assert cpeft_main("similar", path, doubled / "mood-0", "--live", P)[0] == 0
    assert "different lengths: 8 and 4" in cpeft_main("similar", path, doubled / "mood-0")[2]


def test_similar_end_to_end(labelled, cpeft_main, tmp_path):
    code, out, err = cpeft_main("similar", *labelled, "--out", tmp_path / "maps" / "live.svg")
    assert (code, err) == (0, "")
    for said in (
        "cosine of the flattened matrices",
        "linear CKA",
        "as published, origins mixed",
        "pairs of tasks, by origin",
    ):
        assert said in " ".join(out.split())
    svg = (tmp_path / "maps" / "live.svg").read_text()
    assert all(f">{word}<" in svg for word in ("mood", "topic"))
    assert "different origins only" in svg
    found = {}
    for rows in ("live", "all"):
        code, out, _ = cpeft_main("similar", *labelled, "--rows", rows, "--json")
        found[rows] = json.loads(out)
    assert code == 0
    assert [each["rows"] for each in found["all"]["prompts"]] == [2 * P] * 4
    assert {np.shape(matrix) for matrix in found["live"]["matrices"].values()} == {(4, 4)}
    assert found["live"]["by_task"]["flattened"]["same"][0][0] is None
    expected = compare(read_items(labelled), "all").by_task("token_mean", "published")
    np.testing.assert_allclose(found["all"]["by_task"]["token_mean"]["published"], expected)
    assert found["all"]["gaps"]["flattened"]["gap"] > found["live"]["gaps"]["flattened"]["gap"]


def test_similar_on_prompts_of_a_store(finished, cpeft_main):
    """Tasks and origins are read from the prompts; --vectors takes v() of each."""
    paths = [next(finished.path.glob(f"sources/{t}*s{s}-*/prompts/{t}")) for t in ("mood", "topic") for s in (0, 1)]
    code, out, _ = cpeft_main("similar", *paths, "--vectors", "--json")
    assert code == 0
    found = json.loads(out)
    assert [each["name"] for each in found["prompts"]] == ["mood@0", "mood@1", "topic@0", "topic@1"]
    for path, vector in zip(paths, found["prompts"], strict=True):
        size = float(load_prompt(path).origin.norm())
        assert vector["travelled"] == pytest.approx(vector["norm"])
        assert vector["travelled/origin"] == pytest.approx(vector["norm"] / size, rel=1e-5)
    assert len({each["origin"] for each in found["prompts"]}) == 2
    again = json.loads(cpeft_main("similar", *(f"v('{path}')" for path in paths), "--json")[1])
    assert again["gaps"] == found["gaps"]


def test_refusals_of_similar(doubled, labelled, cpeft_main, tmp_path):
    path = str(doubled / "mood-0")
    for arguments, words in (
        ([path], "at least two"),
        ([path, path], "give each a name of its own"),
        ([path, "nothing"], "no prompt and no formula"),
        ([path, str(doubled / "mood-1"), "--vectors"], "records no origin"),
        ([*labelled, "--rows", "dead"], "use live or all"),
        ([*labelled, "--out", str(tmp_path / "x.doc")], "cannot draw"),
    ):
        code, _, err = cpeft_main("similar", *arguments)
        assert (code, err[:7]) == (2, "error: ")
        assert words in err


def test_doctor_on_doubled_prompts(doubled, capfd):
    paths = [str(doubled / f"{task}-{n}") for task in ("mood", "topic") for n in range(2)]
    found = examine(paths, str(doubled / "model"))
    said = [each.what for each in found if each.where == paths[0]]
    assert any(
        re.search(r"doubled layout: 4 live rows kept, 4 rows .* dropped; norms of the dead rows", line) for line in said
    )
    assert any(
        "as peft runs it, the gradient" in line and line.endswith("reaches rows 1-4 of 8; rows 5-8 are dead")
        for line in said
    )
    assert any(line.startswith("nearest tokens by row") for line in said)
    [last] = [each for each in found if each.where == "together" and each.level == "warning"]
    items = read_items(paths)
    stored = compare(items, "all").matrices["flattened"][np.triu_indices(4, 1)].mean()
    assert f"mean of 6 pairs: {stored:.3f}, of which" in last.what
    assert "2 pairs have the same dead rows, so the same origin" in last.what
    assert not [each for each in found if each.level == "error"]


def test_doctor_says_what_peft_does_not_load(doubled, tmp_path):
    """A configuration that counts the rows of one half, where both are stored."""
    shutil.copytree(doubled / "mood-0", tmp_path / "p")
    config = json.loads((tmp_path / "p/adapter_config.json").read_text())
    (tmp_path / "p/adapter_config.json").write_text(json.dumps(config | {"num_transformer_submodules": 1}))
    found = examine([str(tmp_path / "p")], str(doubled / "model"))
    [error] = [each.what for each in found if each.level == "error"]
    assert "peft does not load this prompt: " in error
    assert "size mismatch" in error


def test_doctor_finds_the_dead_half_of_a_bare_matrix(doubled, tmp_path):
    """No configuration says so, but half of the rows never left the vocabulary."""
    prompt, dead = load_stored(doubled / "mood-0")
    np.save(tmp_path / "bare.npy", torch.cat([prompt.weight, dead]).numpy())
    found = examine([str(tmp_path / "bare.npy")], str(doubled / "model"))
    [warning] = [each for each in found if "vocabulary rows up to a factor" in each.what]
    assert warning.level == "warning"
    assert warning.what.startswith("rows 5-8 are vocabulary rows")
    assert any("reaches rows 1-8 of 8, norms" in each.what for each in found)


def test_doctor_on_another_model_and_other_spaces(doubled, finished, tmp_path):
    own = next(finished.path.glob("sources/mood*s0-*/prompts/mood"))
    load_prompt(own).keep("first:3").save(tmp_path / "short")
    found = examine([str(own), str(tmp_path / "short")])
    assert any(each.where == "together" and "not compared" in each.what for each in found)
    make_lm("t5", seed=3).model.save_pretrained(tmp_path / "other")
    make_lm("t5").tokenizer.save_pretrained(tmp_path / "other")
    assert any(
        each.level == "error" and "was trained on" in each.what for each in examine([str(own)], str(tmp_path / "other"))
    )


def test_the_committed_page():
    page, template = ((STUDY / name).read_text(encoding="utf-8") for name in ("README.md", "page.md"))
    written = page.splitlines()
    assert [line for line in template.splitlines() if "{" not in line and line not in written] == []
    assert "{" not in page
    for kind in ("prompts", "vectors"):
        rows = re.findall(rf"^\| {kind} \| cosine of the flattened.*$", page, re.MULTILINE)
        gaps = [(float(row.split(" | ")[5]), float(row.split(" | ")[8].rstrip(" |"))) for row in rows]
        assert len(gaps) == 3
        if kind == "prompts":
            assert all(stored > live for stored, live in gaps)
    assert ">mood<" in (STUDY / "data" / "similarity.svg").read_text(encoding="utf-8")
