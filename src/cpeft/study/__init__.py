"""From a recipe to finished run folders: stages to runs, claims, execution."""
