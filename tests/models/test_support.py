"""A row's answer is the same alone and in a batch, on families that differ in kind; families that cannot hold this are refused.

`python -m tools.families` tries every family; these are chosen for how they place positions: learned, rotary, by index (ALiBi),
within windows, none, or not at all.
"""

import json

import pytest
import torch
from tools import families
from transformers import BertConfig, BertLMHeadModel

from cpeft.errors import ConfigError
from cpeft.models.loading import load_lm
from cpeft.models.support import shortest_window
from cpeft.models.tiny import write_tokenizer
from tiny import make_learner, make_lm, make_rows

SAME = (
    "llama",
    "mistral",
    "gemma3_text",
    "mpt",
    "bloom",
    "falcon",
    "gpt_neo",
    "gptj",
    "opt",
    "mixtral",
    "blenderbot",
    "bert",
    "moshi",
    "minimax",
)
SEQ2SEQ = ("t5", "bart", "m2m_100", "pegasus_x")
REFUSED = {
    "mamba": "running state",
    "gemma4_text": "embeddings in the place of token ids",
    "git": "writes into the embeddings",
}


@pytest.mark.parametrize(
    ("family", "seq2seq"), [*((name, False) for name in SAME), *((name, True) for name in SEQ2SEQ)]
)
def test_a_row_is_answered_alike_alone_and_in_a_batch(family, seq2seq):
    """Prompts shorter and longer than a window of 16, texts of 1 to 40 tokens, against transformers' own `generate` too."""
    verdict = families.judge(family, seq2seq, ("float32", "float64"))
    assert (verdict.state, verdict.why) == ("equal", "")


@pytest.mark.parametrize("family", REFUSED)
def test_a_family_that_cannot_hold_this_is_refused_by_name(family, tmp_path):
    families.write_model(family, tmp_path, False)
    with pytest.raises(ConfigError, match=rf"\({family}\) cannot be used with soft prompts: .*{REFUSED[family]}"):
        load_lm(tmp_path, dtype="float32")


def bert(folder, **more):
    torch.manual_seed(0)
    sizes = {"vocab_size": 259, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
             "pad_token_id": 0, "eos_token_id": 1, "initializer_range": 0.3}  # fmt: skip
    BertLMHeadModel(BertConfig(**sizes, **more)).save_pretrained(folder)
    write_tokenizer(folder, False)
    return folder


def test_a_model_that_sees_later_positions_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"\(bert\) cannot be used with soft prompts: its positions see later ones"):
        load_lm(bert(tmp_path / "both ways"), dtype="float32")
    assert load_lm(bert(tmp_path / "decoder", is_decoder=True), dtype="float32").width == 32


def test_a_model_that_never_ends_is_refused(tmp_path):
    """And one whose configuration alone names end tokens, several of them, is not."""
    folder = bert(tmp_path, is_decoder=True)
    told = folder / "tokenizer_config.json"
    card = json.loads(told.read_text())
    del card["eos_token"]
    told.write_text(json.dumps(card))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "eos_token_id": [7, 9]}))
    assert load_lm(folder, dtype="float32").text.end == 7
    (folder / "config.json").write_text(json.dumps({**config, "eos_token_id": None}))
    with pytest.raises(ConfigError, match="names no end token, so no answer would ever end"):
        load_lm(folder, dtype="float32")


@pytest.mark.parametrize("command", ["run", "doctor"])
def test_commands_say_so_in_one_sentence(command, tmp_path, capsys, monkeypatch):
    from cpeft.cli import main

    bert(tmp_path / "m")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.toml").write_text(
        'name = "t"\n[model]\nname = "m"\n[train]\nsteps = 1\n[[stage]]\nname = "s"\ntasks = ["mini/mood"]\n'
    )
    monkeypatch.setattr("sys.argv", ["cpeft", command, "t.toml"])
    with pytest.raises(SystemExit) as left:
        main()
    told = capsys.readouterr()
    said = " ".join((told.out + told.err).split())
    assert left.value.code == 2
    assert "its positions see later ones, so it is no causal language model" in said
    assert "Traceback" not in said


def test_windows_are_read_from_any_configuration():
    from transformers import AutoConfig

    made = AutoConfig.for_model
    assert shortest_window(made("mistral", sliding_window=4096)) == 4096
    assert shortest_window(made("mistral", sliding_window=None)) is None
    assert shortest_window(made("gemma3_text", sliding_window=512)) == 512
    assert shortest_window(made("gpt_neo", window_size=256)) == 256
    assert shortest_window(made("llama4_text", attention_chunk_size=8192)) == 8192
    assert shortest_window(made("qwen2", use_sliding_window=False, max_window_layers=28)) is None
    assert shortest_window(made("llama")) is None


def test_a_prompt_is_computed_once_where_that_is_exact():
    """LLaMA always; within a window, where all of it is known to fit; where padding is counted, text of one length has none."""
    lm = make_lm("llama")
    learner, rows = make_learner(lm, "prompt_tuning", {}), make_rows(lm, 6)
    assert lm.keeps_prompt
    assert (lm.window, lm.gap_limit) == (None, None)
    mask_BL = learner.layout.batch(rows).mask_BL
    assert learner._may_gap(mask_BL, None)
    lm.window = lm.gap_limit = 12
    assert learner._may_gap(mask_BL[:, :4], 2)
    assert not learner._may_gap(mask_BL, 9)
    assert not learner._may_gap(mask_BL[:1], None)
    lm.window, lm.gap_limit = None, 0
    assert learner._may_gap(mask_BL[:1], None)
    assert not learner._may_gap(mask_BL, 2)


def test_prompts_of_each_row_where_padding_is_not_borne(tmp_path):
    """ATTEMPT makes a prompt for every row: rows of one length stand in one batch, and no padding of the others with them."""
    families.write_model("minimax", tmp_path, False)
    lm = load_lm(tmp_path, dtype="float32")
    assert not lm.pads_left
    learner, rows = make_learner(lm, "attempt", {}), families.texts(lm)
    alone = families.answers(learner, [[row] for row in rows])
    assert families.answers(learner, [rows]) == alone
    assert len(set(alone)) > 2
