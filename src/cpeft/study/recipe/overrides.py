"""Whose mistake a wrong setting is, the recipe's or the command line's."""

import re
from collections.abc import Callable, Sequence

from cpeft.errors import ConfigError
from cpeft.study.recipe.files import Files


def blame(
    error: ConfigError, overrides: Sequence[str], files: Files, read: Callable[[Sequence[str]], object]
) -> ConfigError:
    """An error in reading a recipe under overrides, as it is where the files alone have it, else one that names the overrides
    without which it does not arise; `read` reads the recipe under some of them."""

    def needed(others: Sequence[str]) -> bool:
        try:
            read(others)
        except ConfigError as left:
            return str(error) not in (str(left), *left.others)
        return True

    if not needed([]):
        return error
    own = [one for i, one in enumerate(overrides) if needed([*overrides[:i], *overrides[i + 1 :]])] or list(overrides)
    places = "|".join(re.escape(str(file)) for file in files)
    what = re.sub(rf"^({places})(:\d+)?: ", "", str(error))
    named = f"setting {own[0]}" if len(own) == 1 else f"settings {', '.join(own[:-1])} and {own[-1]}"
    return type(error)(f"the {named} on the command line: {what}")
