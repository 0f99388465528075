"""Electricity by stage: sums by hand, units, what was not measured, and the published estimate beside its own product."""

import json

import pytest
from fabricate import write_energy, write_trial
from test_page import read

from cpeft.report.energy import PUBLISHED, bill
from cpeft.report.study import Study
from cpeft.study.store import Store


def test_sums_by_hand(tmp_path):
    """66 seconds are 0.0183 hours; the killed run's 0.5 kWh are in its stage, its hours are not."""
    html, page = read(write_energy(tmp_path))
    assert page.sections[-3:] == ["unfinished", "energy", "making"]
    assert page.row("sources", "1.50") == "sources 2 1 0.04 1.50 0.648"
    assert page.row("targets", "0.520") == "targets 1 1 0.02 0.520 0.225"
    assert page.row("all", "2.02") == "all 3 2 0.06 2.02 0.873"
    section = html[html.index('id="energy"') :]
    assert "kg CO₂e" in section
    assert "CPU(Intel Rapl)" in section
    assert "1 runs: energy.measure = &#39;off&#39;" in section
    assert "a note &lt;b&gt;" in section


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
    assert bill(Study.of(Store(tmp_path))) is None
    assert "energy" not in read(tmp_path)[1].sections


def test_the_published_figure_is_not_the_product_of_its_inputs(tmp_path):
    published = bill(Study.of(Store(write_energy(tmp_path)))).published
    assert (published.hours, published.watts, published.intensity, published.printed) == (1200, 250, 0.432, 240.24)
    assert published.product == pytest.approx(129.6)
    assert published.watts_needed == pytest.approx(463.4, abs=0.05)
    html, _ = read(tmp_path)
    assert "<strong>129.6 kg</strong>" in html
    assert "<strong>240.24 kg</strong>" in html
    assert "disagree" in html
    assert json.loads(PUBLISHED.read_text())["emissions"]["source"].startswith("Task Prompt Vectors")
