"""Questions about the history of invented lands: which kind of answer do they ask for?

A row is a question in one of twenty or so wordings per kind: question words, commands ("Name the port from which ..."),
indirect questions ("Do you know ..."), questions that put the question word last. The difficulty lies in the words of
other kinds inside: relative clauses with their own `who`, `where` and `when`, people who found out "how many ships had
sailed", "I do not ask who ... but why ...", years, towns and numbers that are told and not asked for.
"""

import random
from typing import Any

from tools.mini_tasks.family import Family
from tools.mini_tasks.grammar import Grammar, sentence

KINDS = ("person", "place", "time", "number", "reason", "manner")

JOBS = (
    "surveyor", "pilgrim", "admiral", "duchess", "monk", "mason", "astronomer", "engineer", "printer", "glassblower",
    "clockmaker", "governor", "bishop", "sculptor", "botanist", "composer", "prince", "empress", "scribe", "navigator",
    "shipwright", "architect", "alchemist", "general", "historian", "archer", "abbot", "mapmaker", "smuggler", "envoy",
)  # fmt: skip
FIRST = (
    "Leonora", "Bastian", "Cornelia", "Edmund", "Philippa", "Ambrose", "Helga", "Casimir", "Beatrix", "Lucian",
    "Theodora", "Konrad", "Isolde", "Gregor", "Rosalind", "Silvan",
)  # fmt: skip
LAST = (
    "Thornbury", "Vale", "Hartwell", "Marlow", "Dunmore", "Falk", "Stroud", "Winter", "Brandt", "Holloway", "Pell",
    "Quint", "Rook", "Fenwick",
)  # fmt: skip
TOWNS = (
    "Averdale", "Kesmar", "Tarrin", "Lower Brack", "Saint Orlen", "Velmoor", "Castrel", "Northwick", "Dunhaven",
    "Mirrow", "Port Ellery", "Greyford", "Ostmark", "Fallowmere", "High Cairn", "Salthouse", "Larkhill", "Brenn",
    "Eastmoor", "Tolven",
)  # fmt: skip
PEOPLE = (
    "soldiers", "workers", "sailors", "rebels", "scholars", "horsemen", "prisoners", "masons", "nuns", "pilgrims",
    "guards", "miners", "knights", "settlers", "envoys", "traders",
)  # fmt: skip
BUILDINGS = (
    "lighthouse", "observatory", "aqueduct", "north gate", "cathedral", "canal", "harbour wall", "royal library",
    "city theatre", "fortress", "stone bridge", "clock tower", "summer palace", "mountain tunnel", "old hospital",
    "mint",
)  # fmt: skip
MACHINES = (
    "water clock", "hand loom", "printing press", "diving bell", "compass", "steam plough", "sewing machine",
    "glass lens", "magic lantern", "signal lamp", "music box", "paper mill",
)  # fmt: skip
TREASURES = (
    "crown", "royal charter", "silver mask", "peace treaty", "secret letter", "sea chart", "ivory casket", "great bell",
    "war banner", "hymn book", "ruby ring", "old map",
)  # fmt: skip
LANDS = (
    "salt mine", "hidden valley", "warm spring", "northern pass", "underground lake", "red comet", "rare orchid",
    "coral reef", "lost temple", "ice cave",
)  # fmt: skip
VERBS = {
    BUILDINGS: "build built built, design designed designed, restore restored restored, paint painted painted, "
    "abandon abandoned abandoned, rebuild rebuilt rebuilt, defend defended defended, burn burned burned",
    MACHINES: "invent invented invented, improve improved improved, copy copied copied, sell sold sold, "
    "test tested tested, draw drew drawn",
    TREASURES: "steal stole stolen, hide hid hidden, lose lost lost, find found found, bury buried buried, "
    "return returned returned, forge forged forged",
    LANDS: "discover discovered discovered, map mapped mapped, describe described described, name named named, "
    "photograph photographed photographed, explore explored explored",
}
DEEDS = [
    (*verb.split(), f"the {thing}") for things, verbs in VERBS.items() for verb in verbs.split(", ") for thing in things
]

INDIRECT = {
    "person": (
        "who {deed}", "which {job} {deed}", "what {job} {deed}", "whose {kin} {deed}",
        "the name of the {job} who {deed}", "who helped {one} {task}", "for whom {one} {deed}",
        "whose idea it was to {task}", "which monk had rung the bell", "who made {one} {task}",
        "whose seal was on the letter", "who would rule the island",
    ),
    "place": (
        "where {one} {deed}", "in which {site} {one} {deed}", "in what {site} {one} {deed}",
        "the {site} where {one} {deed}", "the name of the {site} where {one} {deed}", "to which {site} {one} travelled",
        "which {site} was home to {one}", "where the river begins", "from which {site} {one} came",
        "which {site} the fleet would attack", "where {one} was born",
    ),
    "time": (
        "when {one} {deed}", "in which {unit} {one} {deed}", "in what {unit} {one} {deed}", "on which day {one} {deed}",
        "the date when {one} {deed}", "at what hour {one} {deed}", "the {unit} in which {one} {deed}",
        "when the tide would turn", "how long ago {one} {deed}", "during which {reign} {one} {deed}",
        "what {unit} it was when {one} {deed}",
    ),
    "number": (
        "how many {people} {deed}", "how many {people} helped {one} {task}", "what number of {people} {deed}",
        "the number of {people} who {deed}", "how much {one} paid to {task}", "how old {one} was",
        "how often {one} tried to {task}", "what sum {one} asked for", "how far {one} had travelled",
        "how many {units} {one} needed", "how {tall} the {building} is", "what it cost {one} to {task}",
        "the {size} of the {building}", "how many ships had sailed",
    ),
    "reason": (
        "why {one} {deed}", "for what reason {one} {deed}", "what made {one} {task}", "what {led} {one} to {task}",
        "the reason why {one} {deed}", "on what grounds {one} {deed}", "what motive {one} had to {task}",
        "why the sea is salty", "how it came that {one} {deed}", "to what end {one} {deed}",
        "what was the reason that {one} {deed}", "why {one} feared {obj}",
    ),
    "manner": (
        "how {one} {deed}", "by what means {one} {deed}", "in what way {one} {deed}", "with what {method} {one} {deed}",
        "what {method} {one} used to {task}", "the {method} by which {one} {deed}", "in which manner {one} {deed}",
        "how {one} managed to {task}", "what {method} allowed {one} to {task}", "how bees find home",
        "how {one} was able to {task}",
    ),
}  # fmt: skip
KNOWING = (("explain", "explained"), ("find out", "found out"), ("reveal", "revealed"), ("write down", "wrote down"))
CONTRAST = (  # {m} is asked in other words elsewhere, {own} and {q} are what is asked here
    "never mind {m}: {q}?", "we know {m}, but {q}?", "leaving aside {m}, {q}?", "the book tells {m}, yet {q}?",
    "the book shows {m}, but {q}?", "{q}? I do not ask {m}.", "{q}? We know {m} already.", "{q}? Never mind {m}.",
    "I do not ask {m} but {own}.", "I am asking {own}, not {m}.", "do you know {own}? I already know {m}.",
    "the man who told us {m} may also know {own}, so ask him.", "does the book that tells {m} also tell {own}?",
    "having heard {m}, I want to hear {own}.", "instead of {m}, tell me {own}.", "tell me {own} instead of {m}.",
    "I know {m}; what I do not know is {own}.", "everyone asks {m}, but I ask {own}.",
    "I ask {own}, although others ask {m}.",
)  # fmt: skip

EXTRAS = {
    "person": ("for the king", "for an old friend", "with the help of a cousin", "together with the miller"),
    "place": ("in {town}", "at the court of {town}", "on the coast near {town}", "outside {town}", "in old {town}"),
    "time": ("in {year}", "in the spring of {year}", "after the long war", "during the siege", "on the third of May"),
    "number": ("together with {count} {people}", "for {count} coins", "with the help of {count} {people}"),
    "reason": ("to please the king", "out of envy", "because of a bet", "for the sake of peace", "out of fear"),
    "manner": ("in great secrecy", "with great care", "in a hurry", "step by step", "without a word"),
}

DIRECT = {
    "person": (
        "who {deed}", "which {job} {deed}", "what {job} {deed}", "what was the name of the {job} who {deed}",
        "the {job} of {town} who {deed} was called what", "whose {kin} {deed}", "whose idea was it to {task}",
        "who helped {one} {task}", "who was the {job} that {deed}", "for whom did {one} {task}",
        "who made {one} {task}", "by what name do we know the {job} who {deed}", "which of the two brothers {deed}",
        "who was it that forced {one} to {task}", "what do you call the {job} of {town} who {deed}",
        "which man or woman was the reason why {one} {deed}", "the {site} where {one} {deed} belonged to whom",
        "by whom was {obj} {done}", "{obj} was {done} by whom", "name the {job} by whom {obj} was {done}",
    ),
    "place": (
        "where did {one} {task}", "in which {site} did {one} {task}", "in what {site} did {one} {task}",
        "what is the name of the {site} where {one} {deed}", "what {site} was the birthplace of {one}",
        "which {site} did {one} leave to {task}", "the {site} in which {one} {deed} is called what",
        "to which {site} did {one} travel to {task}", "from which {site} did {one} come to {task}",
        "whereabouts did {one} {task}", "where was {one} when the {job} {deed}", "where was {obj} {done}",
        "what {site} do people visit to see where {one} {deed}", "{obj} was {done} in which {site}",
    ),
    "time": (
        "when did {one} {task}", "in which {unit} did {one} {task}", "in what {unit} did {one} {task}",
        "on which day did {one} {task}", "at what hour did {one} {task}", "what was the date on which {one} {deed}",
        "how long ago did {one} {task}", "what {unit} saw {one} {task}", "during which {reign} did {one} {task}",
        "what {unit} was it when {one} {deed}", "the {unit} in which {one} {deed} was which",
        "what day of the month was it when {one} {deed}", "when was {obj} {done}", "{obj} was {done} in which {unit}",
    ),
    "number": (
        "how many {people} helped {one} {task}", "how many {people} {deed}", "what number of {people} {deed}",
        "how many {units} did {one} need to {task}", "how much did {one} pay to {task}", "how often did {one} {task}",
        "what did it cost {one} to {task}", "what sum did {one} ask for to {task}",
        "how old was {one} when the {job} {deed}", "what was the population of the {site} where {one} {deed}",
        "the {people} who {deed} were how many", "what percentage of the {people} knew where {one} {deed}",
        "how far did {one} travel to {task}", "what is the {size} of the {building} that {one} built",
        "how {tall} is the {building} where {one} {deed}", "name the price at which {one} agreed to {task}",
        "how many {people} knew why {one} {deed}", "{obj} was {done} by how many {people}",
        "how many times was {obj} {done}",
    ),
    "reason": (
        "why did {one} {task}", "for what reason did {one} {task}", "what made {one} {task}", "how come {one} {deed}",
        "what {led} {one} to {task}", "what was the reason that {one} {deed}", "explain why {one} {deed}",
        "on what grounds did {one} {task}", "what motive did {one} have to {task}", "to what end did {one} {task}",
        "the {job} who {deed} did so for what reason", "what was it that {led} {one} to {task}",
        "name the motive of the {job} who {deed}", "why was it {one} who {deed}", "why was {obj} {done}",
        "{obj} was {done} for what reason",
    ),
    "manner": (
        "how did {one} {task}", "by what means did {one} {task}", "in what way did {one} {task}",
        "what {method} did {one} use to {task}", "with what {method} did {one} {task}", "describe how {one} {deed}",
        "how did {one} manage to {task}", "in which manner did {one} {task}", "how exactly did {one} {task}",
        "what {method} made it possible to {task}", "how was {one} able to {task}", "how was {obj} {done}",
        "the {job} who {deed} used what {method}", "what {method} was used when {one} {deed}",
        "{obj} was {done} in what way",
    ),
}  # fmt: skip

GRAMMAR = Grammar(
    {
        **DIRECT,
        **{f"about {kind}": matters for kind, matters in INDIRECT.items()},
        **{f"{kind} extra": extras for kind, extras in EXTRAS.items()},
        "tell": ("tell me", "tell us", "do you know", "can you say", "does anyone know", "please find out"),
        "agent": (
            "the {job}", "{first} {last}", "{first} of {town}", "the {job} of {town}", "the {job} who {deed}",
            "the {job} from the {site} where {first} {deed}", "{first} {last}, who {deed},", "the {job} born in {year}",
            "the {job} who knew {matter}", "the {job} who asked {matter}", "{first} {last}, who knew {matter},",
            "the man who told us {matter}", "the {job} of the year {year}", "the woman who had heard {matter}",
        ),
        "one": ("the {job}", "the {job}", "the first {job}", "{first}", "{first} {last}", "a {job} from {town}"),
        "deed": tuple(f"{past} {thing}" for _, past, _, thing in DEEDS),
        "task": tuple(f"{base} {thing}" for base, _, _, thing in DEEDS),
        "obj": tuple(dict.fromkeys(thing for *_, thing in DEEDS)),
        "job": JOBS, "first": FIRST, "last": LAST, "town": TOWNS, "people": PEOPLE, "building": BUILDINGS,
        "matter": tuple("{about " + kind + "}" for kind in KINDS),
        "site": ("town", "village", "valley", "port", "province", "country", "city", "kingdom"),
        "kin": ("father", "sister", "daughter", "uncle", "servant", "teacher", "pupil", "widow"),
        "unit": ("year", "century", "month", "season", "decade"),
        "reign": ("winter", "war", "siege", "festival", "voyage"),
        "units": ("days", "weeks", "years", "nights", "attempts", "tools", "maps", "helpers"),
        "size": ("height", "length", "weight", "age", "depth", "value"), "tall": ("tall", "old", "long", "wide"),
        "led": ("led", "drove", "forced", "moved", "caused", "inspired"),
        "method": ("method", "trick", "technique", "tool", "procedure"),
        "year": tuple(str(year) for year in range(1401, 1900, 3)),
        "count": ("two", "three", "five", "six", "nine", "twelve", "twenty", "thirty", "forty", "sixty", "300"),
        "front": ("according to the chronicle", "as far as we know", "in the end", "in the old story", "in fact"),
    },
    given=("done",),
)  # fmt: skip
ORDERS = ("name", "give", "tell", "describe", "explain", "please")


def draw(rng: random.Random, code: int) -> dict[str, Any]:
    kind = KINDS[code]
    other = rng.choice([other for other in KINDS if other != kind])
    wording, extra = rng.choice((*DIRECT[kind], *(f"{{tell}} {wording}" for wording in INDIRECT[kind]))), ""
    if "{done}" in wording or rng.random() < 0.45:
        base, past, done, thing = rng.choice(DEEDS)
        extra = GRAMMAR.expand(f"{other} extra", rng) if rng.random() < 0.4 else ""
    else:
        (base, past), done = rng.choice(KNOWING), ""
        thing = GRAMMAR.expand(f"about {other}", rng)
    given = {"one": GRAMMAR.expand("agent", rng), "done": f"{done} {extra}".strip(), **({"obj": thing} if done else {})}
    given |= {"task": f"{base} {thing} {extra}".strip(), "deed": f"{past} {thing} {extra}".strip()}
    text = GRAMMAR.fill(wording, rng, **given).rstrip(",")
    if text.startswith("tell me the ") and rng.random() < 0.5:
        text = text.replace("tell me", "name", 1)
    end = "." if text.startswith(ORDERS) else "?"
    if rng.random() < 0.5:
        frame = rng.choice(CONTRAST[8:] if end == "." or len(text) > 80 else CONTRAST)
        matter, own = (GRAMMAR.expand(f"about {about}", rng) for about in (other, kind))
        return {"question": sentence(frame.format(m=matter, own=own, q=text))}
    if " did " in text and text.startswith(("wh", "how", "in wh", "for wh", "by wh")) and rng.random() < 0.4:
        front = rng.choice([*(f"{side} extra" for side in ("place", "time") if side != kind), "front"])
        text = f"{GRAMMAR.expand(front, rng)}, {text}"
    return {"question": sentence(text + end)}


FAMILY = Family("question", (("question", "question"),), KINDS, draw)
