"""Electricity by stage: sums by hand, units, what was not measured, and the published estimate beside its own product."""

import json

import pytest
from fabricate import write_energy, write_trial
from test_page import read

from cpeft.report.page import write_report
from cpeft.report.section import Page
from cpeft.report.sections.energy import PUBLISHED, bill, energy
from cpeft.report.study import Study
from cpeft.store.run_folder import Store


def test_sums_by_hand(tmp_path):
    """66 seconds are 0.0183 hours; the killed run's 0.5 kWh are in its stage, its hours are not."""
    html, page = read(write_energy(tmp_path))
    assert "2.02 kWh, 0.873 kg CO₂e of 2 runs; not measured: 1 run: energy.measure = &#39;off&#39;</dd>" in html
    assert page.sections[-3:] == ["energy", "making", "reading"]
    assert page.row("sources", "1.50") == "sources 2 1 0.04 1.50 0.648"
    assert page.row("targets", "0.520") == "targets 1 1 0.02 0.520 0.225"
    assert page.row("all", "2.02") == "all 3 2 0.06 2.02 0.873"
    section = html[html.index('id="energy"') :]
    assert "kg CO₂e" in section
    assert "CPU(Intel Rapl)" in section
    assert "1 run: energy.measure = &#39;off&#39;" in section


def test_a_little_store_is_told_in_small_units(tmp_path):
    spent = {"kwh": 0.0123456, "kg": 0.00586, "intensity": 0.475, "country": None, "scope": "process", "sensors": [],
             "notes": [], "codecarbon": "3.3.2"}  # fmt: skip
    write_trial(tmp_path, "sources", "sources", 0, {"rte": 80.0}, energy=spent)
    html, page = read(tmp_path)
    assert page.row("all", "12.3") == "all 1 1 0.02 12.3 5.86"
    assert '<th scope="col" class="n">Wh</th>' in html


def test_nothing_measured_is_no_section(tmp_path):
    write_trial(
        tmp_path, "sources", "sources", 0, {"rte": 80.0}, energy=None, energy_reason="codecarbon is not installed"
    )
    write_trial(tmp_path, "sources", "sources", 1, {"rte": 80.0})  # of a version that knew no energy
    study = Study.of(Store(tmp_path))
    assert energy(Page(study)) is None
    assert not bill(study).measured
    html, page = read(tmp_path)
    assert "energy" not in page.sections
    reasons = "1 run: codecarbon is not installed; 1 run: made before energy was measured"
    assert f"<dt>Electricity</dt><dd>not measured ({reasons})</dd>" in html


def test_beside_a_paper_the_published_estimate_stands_there_in_any_case(tmp_path):
    write_trial(
        tmp_path, "sources", "sources", 0, {"mnli": 80.0}, energy=None, energy_reason="codecarbon is not installed"
    )
    html = write_report(tmp_path, paper="attempt").read_text(encoding="utf-8")
    section = html[html.index('id="energy"') :].partition("</section>")[0]
    assert "Nothing of this store was measured" in section
    assert "1 run: codecarbon is not installed" in section
    told = section[section.index("A published estimate") :]
    assert all(
        said in told for said in ("1,200 h", "0.25 kW", "0.432 kg", "129.6 kg", "240.24 kg", "disagree", "463 W")
    )
    assert "<table" not in section


def test_the_published_figure_is_not_the_product_of_its_inputs(tmp_path):
    published = bill(Study.of(Store(write_energy(tmp_path)))).published
    assert (published.hours, published.watts, published.intensity, published.printed) == (1200, 250, 0.432, 240.24)
    assert published.product == pytest.approx(129.6)
    assert published.watts_needed == pytest.approx(463.4, abs=0.05)
    assert "A published estimate" not in read(tmp_path)[0]
    html = write_report(tmp_path, paper="attempt").read_text(encoding="utf-8")
    assert "<strong>129.6 kg</strong>" in html
    assert "<strong>240.24 kg</strong>" in html
    assert "disagree" in html
    assert json.loads(PUBLISHED.read_text())["emissions"]["source"].startswith("Task Prompt Vectors")
