"""Two stores: which runs meet, what became different, and what the stores do not share, by hand."""

import pytest
from fabricate import write_trial

from cpeft.errors import ConfigError
from cpeft.report.page import file_name, write_report
from cpeft.report.sections.beside import stores_beside
from cpeft.report.study import Study
from cpeft.store.run_folder import Store


def two(folder):
    for seed in (0, 1, 2):
        write_trial(folder / "old", "few", "SPoT", seed, {"rte": 50.0 + seed})
        write_trial(folder / "new", "few", "SPoT", seed, {"rte": 52.0 + 2 * seed})
        for store in ("old", "new"):
            write_trial(folder / store, "few", "plain", seed, {"rte": 60.0})
    write_trial(folder / "old", "few", "gone", 0, {"rte": 60.0})
    write_trial(folder / "new", "few", "SPoT", 7, {"rte": 99.0}, versions={"cpeft": "0.2.0"})
    return folder / "old", folder / "new"


def test_the_same_runs_are_paired(tmp_path):
    """SPoT: 2, 3 and 4 better; all three signs alike have p = 2/8, doubled by Holm's correction for two."""
    found = stores_beside(*(Study.of(Store(store)) for store in two(tmp_path)))
    plain, spot = sorted(found.rows, key=lambda row: row.difference)
    assert (plain.equal, plain.difference, plain.p) == (True, 0, 1)
    assert (spot.key, spot.mean, spot.other, spot.seeds, spot.equal) == (("few", "SPoT", "rte"), 51, 54, 3, False)
    assert spot.p == 0.5
    assert found.lonely == (1, 1)
    assert ("cpeft", "0.1.0", "0.1.0, 0.2.0") in found.facts


def test_the_page_and_a_store_without_runs(tmp_path):
    old, new = two(tmp_path)
    html = write_report(old, tmp_path / "page.html", other=new).read_text(encoding="utf-8")
    assert 'id="beside-scores"' in html
    assert f"cpeft report {old} {new}    # this page" in html
    assert "1 of 2 rows are equal to the last digit" in html
    with pytest.raises(ConfigError, match="nothing: no finished run"):
        write_report(old, tmp_path / "page.html", other=tmp_path / "nothing")


def test_no_page_takes_the_place_of_another(tmp_path):
    old, new = two(tmp_path)
    names = [write_report(old).name, write_report(old, other=new).name, write_report(old, other=new, paper=None).name]
    assert names == ["report.html", "beside-new.html", "beside-new.html"]
    assert 'id="beside-scores"' not in (old / "report.html").read_text(encoding="utf-8")
    assert file_name("tpv") == "report-against-tpv.html"
    assert file_name("tpv", tmp_path / "a b") == "beside-a-b-against-tpv.html"


def test_stores_without_a_common_run_say_so(tmp_path):
    old, _ = two(tmp_path)
    write_trial(tmp_path / "far", "few", "SPoT", 0, {"cb": 50.0}, weights="feedbeef" * 8)
    html = write_report(old, other=tmp_path / "far").read_text(encoding="utf-8")
    assert "The two stores have no run in common" in html
    assert 'id="beside-scores"' not in html
    assert "<td>not written down</td><td>feedbeeffeed</td>" in html
    assert "None" not in html[html.index('id="beside"') :].partition("</section>")[0]
