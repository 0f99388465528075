"""Statistics of scores: paired comparisons, families of tests, ranks, printed summaries. Numbers in, numbers out."""
