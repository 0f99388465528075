"""The tables of scores where runs differ in their number of training examples."""

import re

from fabricate import write_trial
from test_page import read


def test_numbers_of_examples_are_columns(tmp_path):
    """Untrained runs are one of them; a method of one number leaves the others empty."""
    for label, few, score in (
        ("plain few_shot=4", 4, 50.0),
        ("plain few_shot=16", 16, 60.0),
        ("mix few_shot=16", 16, 55.0),
    ):
        for seed in (0, 1):
            write_trial(tmp_path, "few", label, seed, {"rte": score + seed}, settings={"data": {"few_shot": few}})
    write_trial(tmp_path, "zero", "no prompt", 0, {"rte": 20.0}, steps=0)
    html, page = read(tmp_path)
    table = html[html.index('class="scores">') : html.index("Every seed’s score")]
    heads = re.findall(r'<th scope="col" class="n">(.*?)</th>', table)
    assert heads == ["Untrained", "4 examples", "16 examples", "Trained"]
    assert page.row("plain", "[44.1") == "few plain few 50.50 [44.1, 56.9] 60.50 [54.1, 66.9] 1,234"
    assert page.row("mix", "[49.1") == "few mix few 55.50 [49.1, 61.9] 1,234"
    assert page.row("no prompt", "20.00").startswith("zero no prompt zero 20.00 [11.0, 29.0] rows")
