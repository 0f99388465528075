"""The help of `cpeft`: commands in groups, each with a line that fits 80 columns, and examples below the help of each."""

from typing import Any

from typer.core import TyperGroup

GROUPS = {
    "Studies": {
        "run": "Train and evaluate every run of a recipe",
        "plan": "Show what would run, what is done and what is missing",
        "status": "Show how far a store is while others work on it",
        "report": "Write a store's report: HTML, figures, tables, scores",
        "archive": "Write a store as one file for the appendix of a paper",
        "verify": "Check an archive, and score its runs again",
        "restore": "Put the finished runs of an archive into a store",
    },
    "Prompts": {
        "eval": "Score a run, a prompt or a formula of prompts on a task",
        "predict": "Answer unlabelled rows of a file",
        "serve": "Answer requests over HTTP from many prompts on one model",
        "calibrate": "Fit a temperature for a prompt's probabilities",
        "compose": "Combine prompts by a formula",
        "similar": "Compare prompts or task vectors",
        "suggest": "Rank source prompts for a new task",
        "origins": "Create initial prompts",
        "import": "Import a prompt of another program",
        "export": "Export a prompt for another program",
    },
    "What there is": {
        "list": "List tasks, methods, models, recipes, prompts or runs",
        "show": "Show a task, a prompt, a run or the options of recipes",
        "doctor": "Check recipes and prompts before training, or the hub",
        "fetch": "Download models and data, for machines without a network",
    },
}

EXAMPLES = {
    "run": (
        "cpeft run quickstart-mini",
        "cpeft run my-study.toml train.steps=500 --processes 2",
        "cpeft run my-study.toml tiny=true",
    ),
    "plan": ("cpeft plan quickstart-mini", "cpeft plan my-study.toml --probe"),
    "status": ("cpeft status stores/my-study",),
    "report": ("cpeft report stores/my-study", "cpeft report stores/my-study --figures figures --frame scores.csv"),
    "archive": ("cpeft archive stores/my-study --out my-study.zip",),
    "verify": ("cpeft verify my-study.zip", "cpeft verify my-study.zip --only 'targets/*' --task reviews.toml"),
    "restore": ("cpeft restore my-study.zip --store stores/my-study",),
    "eval": (
        "cpeft eval prompts/mood --task mini/mood",
        "cpeft eval 'prompts/mood + 0.5*v(prompts/mood)' --task mini/mood --split validation",
    ),
    "predict": ("cpeft predict prompts/mood --task mini/mood --input rows.csv --out answers.csv",),
    "serve": ("cpeft serve stores/my-study --port 8000",),
    "calibrate": ("cpeft calibrate prompts/mood",),
    "compose": ("cpeft compose 'mean(prompts/a, prompts/b)' --out prompts/mean",),
    "similar": ("cpeft similar prompts/a prompts/b", "cpeft similar prompts/a prompts/b --vectors --out map.svg"),
    "suggest": ("cpeft suggest stores/my-study --target mini/mood",),
    "origins": ("cpeft origins mini --out origins --count 3 prompt.length=16",),
    "import": ("cpeft import their-folder prompts/theirs",),
    "export": ("cpeft export prompts/mood --out mood.npy --form npy",),
    "list": ("cpeft list methods", "cpeft list prompts --store stores/my-study"),
    "show": ("cpeft show task mini/mood", "cpeft show options train", "cpeft show prompt prompts/mood"),
    "doctor": ("cpeft doctor quickstart-mini", "cpeft doctor prompts/a prompts/b", "cpeft doctor --online"),
    "fetch": ("cpeft fetch smollm2", "cpeft fetch my-study.toml --out offline"),
}


class GroupedCommands(TyperGroup):
    """The commands of `cpeft` by group."""

    # Any: versions of typer differ in whose classes they take, click's or those of their own copy of it.

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, examples in EXAMPLES.items():
            self.commands[name].epilog = "\b\n" + "\n".join(["Examples:", *(f"  {line}" for line in examples)])

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of all commands, group by group."""
        return [name for group in GROUPS.values() for name in group]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write every group as a section."""
        for title, group in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl(list(group.items()))
