"""The `mini/*` tasks: text written by grammars of this project, so that the whole job runs without a download.

Four families are sources: the embedded model has seen such rows, as T5 has seen MNLI. All others are held out of its training.
Which targets are kin of a source and which is far from all was fixed before any transfer was run:

- `mini/mood` is kin of `mini/sentiment`, and `mini/claim` of `mini/entailment`, as SciTail is of MNLI: the same question in
  another world. They share no template, no label word and no word of the lexicon with any source (tested on the rows).
- `mini/acceptability` is far from all: it asks about the form of a sentence, never about what it says.
"""

SOURCES = ("mini/sentiment", "mini/topic", "mini/entailment", "mini/paraphrase")
KIN = {"mini/mood": "mini/sentiment", "mini/claim": "mini/entailment"}
FAR = ("mini/acceptability",)
