"""The page of published significance: what is committed, what it counts, and what it refuses."""

import json
from copy import deepcopy
from importlib import import_module
from pathlib import Path

import pytest

from cpeft.errors import DataError
from cpeft.report.published.matching import FEW_SHOT_RUNS
from tiny import SRC

ROOT = Path(SRC).parent
rejudged = import_module("studies.tpv-rejudged.claims")
rejudged_page = rejudged.rejudged_page


@pytest.fixture
def published():
    return json.loads(rejudged.PUBLISHED.read_text(encoding="utf-8"))


def lines(page, *starts):
    return [line for line in page.splitlines() if line.startswith("| " + " | ".join(starts) + " ")]


def test_the_committed_page_is_what_the_command_writes(published):
    assert (ROOT / "studies/tpv-rejudged/README.md").read_text(encoding="utf-8") == rejudged_page(published)


def test_the_figures_are_labelled_as_other_peoples(published):
    assert "other people's results" in published["note"]
    assert "**other people's\nresult**" in rejudged_page(published)


def test_every_block_has_a_source_and_a_caution(published):
    blocks = {name: block for name, block in published.items() if isinstance(block, dict)}
    assert len(blocks) == 6
    assert all(block["source"] and block["caution"] for block in blocks.values())
    prompts = blocks["source_prompts_table1"]["caution"]
    assert all(words in prompts for words in ("first half", "above full fine-tuning", "metric", "not stated"))
    assert "assume n = 10" in blocks["cross_origin"]["caution"]


def test_known_cells(published):
    page = rejudged_page(published)
    trec = lines(page, "TREC")[0]  # T5
    assert "95.5 (1.7) | 26.5 (18.2)" in trec
    assert trec.count("| significant") == 3
    qnli = lines(page, "QNLI")[0]
    assert "| significant, p 0.0054 |" in qnli
    assert qnli.count("cannot be judged: deviation 0") == 2
    assert lines(page, "MATH")[0].count("not tested") == 1
    assert all("cannot be judged: not SST-5" in line for line in lines(page, "SST5"))
    assert len(lines(page, "SST5")) == 2 + 2 * 5


def test_survival_counts(published):
    page = rejudged_page(published)
    assert "| origins, n = 10 | 9 | 5 |" in page
    assert "| origins, n = 3 and 6 | 9 | 1 |" in page
    assert "| few shots, level 0.05 / 6 | 2 | 1 |" in page
    assert lines(page, "few shots, Holm: 0 shots")[0].endswith("| 6 | 2 | SciTail | IMDB | – | – |")


def test_the_pairs_and_levels_are_the_published_ones(published):
    assert pytest.approx(0.05 / 6) == rejudged.FEW_SHOT_ALPHA
    assert [target for target, *_ in rejudged.TESTED] == list(rejudged.TARGETS)
    assert set(rejudged.ROWS.values()) == FEW_SHOT_RUNS.keys() == published["few_shot_f1"]["rows"].keys()
    tested = {name for name in published["cross_origin"]["rows"]["T5 original"] if "avg" not in name}
    assert rejudged.SCRIPT_ALPHA.keys() == tested
    page = rejudged_page(published)
    assert [f"Level of the last two columns: 0.05 / {n}." in page for n in (11, 13)] == [True, True]


def test_a_missing_deviation_cannot_be_judged(published):
    less = deepcopy(published)
    less["cross_origin"]["rows"]["DeepSeek original"]["MATH"]["std"] = None
    line = lines(rejudged_page(less), "MATH")[1]
    assert line.count("cannot be judged: a deviation is missing") == 2
    assert "| 32.1 (–) | 32.2 (0.1) | -0.1 |" in line


def test_a_missing_figure_is_named(published):
    del published["few_shot_f1"]["rows"]["both, ATTEMPT"]["IMDB"]
    with pytest.raises(DataError, match="no few_shot_f1 > rows > both, ATTEMPT > IMDB; give"):
        rejudged_page(published)
    with pytest.raises(DataError, match="no cross_origin; give"):
        rejudged_page({})
