"""Every published claim of the two papers with a verdict that is computed: `python -m studies.claims` writes docs/claims.md."""
