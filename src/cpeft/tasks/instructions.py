"""The instruction of a task for chat models, in our own words.

    <what to do>
    Answer with the label alone, one of: <label>, <label>, ...
    <field>: <value>           (one line per field: `Task.source`)
    <cue>                      (`data.cue`)

TPV (Belanec et al. 2024) puts such a content into a user turn; its wording is not repeated here. What to do is the question
in the task's title, or its `ask` where the title says something else, so that a new task needs no text of its own.
"""

from cpeft.tasks.base import Style, Task, Written

DICTIONARY = (
    "Answer the question with the dictionary {'text': [...], 'answer_start': [...]} of words of the context and the places "
    "where they start; both lists are empty where the context holds no answer."
)


def instruction(task: Task, style: Style = "words", written: Written = "text") -> str:
    """The lines above the fields; they name every label as `style` writes it, and what numbers stand for."""
    if written == "stringified" and task.stringified:
        return DICTIONARY
    what = task.ask or task.title.partition(": ")[2] or task.title
    lines = [what[:1].upper() + what[1:] + ("" if what.endswith((".", "?", "!")) else ".")]
    if style == "numbers" and task.words:
        known = ", ".join(f"{place} ({word})" for place, word in enumerate(task.words.values()))
        lines.append(f"Answer with the number alone, one of: {known}.")
    elif labels := task.labels(style):
        lines.append(f"Answer with the label alone, one of: {', '.join(labels)}.")
    elif task.values:
        lines.append(f"Answer with a number alone, from {task.values[0]} to {task.values[-1]}.")
    return "\n".join(lines)
