"""All recipes of the repository by name: those in the package, those of the studies, and the examples; not those that load a
plugin, which would stay in the process."""

from pathlib import Path

from cpeft.config import read_toml
from cpeft.study.recipe.recipe import packaged_recipes

ROOT = Path(__file__).parents[1]
STUDIES = {
    f"{path.parent.name}/{path.stem}".removesuffix("/recipe"): path
    for path in sorted((ROOT / "studies").glob("*/*.toml"))
}
EXAMPLES = {
    path.stem: path
    for path in sorted((ROOT / "examples").glob("*.toml"))
    if "stage" in (table := read_toml(path)) and "plugins" not in table
}
EVERY = packaged_recipes() | STUDIES | EXAMPLES
