"""The vocabulary of `mini`: 8,000 unigram pieces of lower-case English, of which 32 are sentinels.

Lower case and single digits leave the few pieces to words. Ids as T5 has them: 0 pad, 1 end, 2 unknown; sentinels at the end,
<extra_id_0> last.
"""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

SIZE = 8000
SENTINELS = 32


def build_tokenizer(texts: Iterable[str], out: Path) -> None:
    """Learn the pieces and keep the tokenizer in `out`."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase(), normalizers.StripAccents(), normalizers.Replace("_", " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Punctuation()]
    )
    tokenizer.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=SIZE - SENTINELS, special_tokens=special, unk_token="<unk>", show_progress=False, max_piece_length=12
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([f"<extra_id_{i}>" for i in reversed(range(SENTINELS))])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A $B </s>", special_tokens=[("</s>", 1)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512,
        extra_special_tokens=[f"<extra_id_{i}>" for i in range(SENTINELS)],
        clean_up_tokenization_spaces=False,
    )  # fmt: skip
    fast.save_pretrained(out)


@lru_cache(maxsize=1)
def load_tokenizer(out: Path) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(out)
