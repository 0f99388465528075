"""`python -m cpeft.cli`, for launchers that start modules."""

from cpeft.cli import main

main()
