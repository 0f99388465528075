"""One file of a finished study, for the appendix of a paper: write it, and check it elsewhere."""
