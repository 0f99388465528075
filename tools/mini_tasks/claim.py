"""Does a claim follow from a natural historian's notes on animals, plants, stones, bones or heavenly bodies?

Every pattern gives notes, claims that follow from them and claims of the same form that do not: what holds of all but
one, what is certain or surmised, what one did or meant to do, who preys upon whom, kind and member, number, order of
time or measure, one condition met and another not. So neither the notes nor the claim alone tells, nor do shared
words; and "unproven" takes in what the notes contradict. It is `entailment` in another world and shares no word with
it.
"""

import random
from typing import Any

from tools.mini_tasks.family import Family
from tools.mini_tasks.grammar import Grammar, sentence

REALMS: dict[str, dict[str, list[str]]] = {
    "animal": {
        "raptor": ["kestrel", "osprey", "harrier", "buzzard", "goshawk", "falcon"],
        "rodent": ["vole", "marmot", "lemming", "dormouse", "gerbil", "porcupine", "agouti"],
        "ungulate": ["tapir", "okapi", "eland", "gazelle", "ibex", "vicuna"],
        "amphibian": ["newt", "salamander", "axolotl", "caecilian", "natterjack"],
        "mollusc": ["limpet", "whelk", "cockle", "abalone", "periwinkle", "nautilus"],
        "crustacean": ["barnacle", "crayfish", "woodlouse", "copepod", "isopod"],
        "beetle": ["weevil", "scarab", "cockchafer", "ladybird", "firefly"],
        "reptile": ["gecko", "iguana", "chameleon", "terrapin", "viper"],
        "primate": ["lemur", "gibbon", "tamarin", "macaque", "loris"],
    },
    "stone": {
        "sulphide": ["pyrite", "galena", "cinnabar", "sphalerite", "stibnite"],
        "carbonate": ["calcite", "dolomite", "malachite", "aragonite", "magnesite"],
        "metamorphic rock": ["gneiss", "schist", "quartzite", "amphibolite", "phyllite"],
        "igneous rock": ["basalt", "obsidian", "gabbro", "pumice", "rhyolite"],
        "sedimentary rock": ["shale", "chert", "siltstone", "sandstone", "mudstone"],
    },
    "plant": {
        "conifer": ["larch", "spruce", "juniper", "sequoia", "cypress"],
        "fern": ["bracken", "maidenhair", "polypody", "spleenwort", "moonwort"],
        "orchid": ["twayblade", "helleborine", "cattleya", "vanda"],
        "grass": ["fescue", "marram", "bamboo", "ryegrass", "cocksfoot"],
        "seaweed": ["kelp", "bladderwrack", "dulse", "laver"],
        "legume": ["vetch", "lupin", "clover", "acacia", "gorse"],
    },
    "bone": {
        "limb bone": ["femur", "humerus", "tibia", "fibula", "radius"],
        "skull bone": ["mandible", "maxilla", "vomer", "occipital"],
        "tooth": ["incisor", "molar", "tusk", "premolar"],
    },
    "sphere": {
        "planet": ["Neptune", "Saturn", "Uranus", "Mercury", "Venus"],
        "satellite": ["Titan", "Ganymede", "Callisto", "Triton", "Phobos"],
        "asteroid": ["Psyche", "Vesta", "Pallas", "Hygiea", "Juno"],
    },
}  # fmt: skip
TRAITS = {
    "animal": [
        "nocturnal", "venomous", "migratory", "albino", "gravid", "parasitised", "moulting", "dormant", "speckled",
        "juvenile", "emaciated", "inedible", "bioluminescent", "captive-bred", "nearsighted", "arboreal",
    ],
    "stone": [
        "ferruginous", "brittle", "translucent", "fluorescent", "porous", "radioactive", "vitreous", "foliated",
        "soluble", "weathered", "auriferous", "banded", "synthetic", "iridescent", "fossiliferous",
    ],
    "plant": [
        "evergreen", "fragrant", "toxic", "blighted", "hirsute", "variegated", "endemic", "woody", "nectarless",
        "fertile", "epiphytic", "pollinated", "mottled", "invasive",
    ],
    "bone": [
        "gnawed", "charred", "mineralised", "fractured", "hollow", "misshapen", "prehistoric", "varnished",
        "perforated", "rachitic", "coated with ochre", "embedded in amber", "fissured", "bleached",
        "radiocarbon-dated",
    ],
    "sphere": [
        "cratered", "ringed", "icy", "volcanic", "metallic", "librating", "luminous", "windswept", "magnetised",
        "oblate", "lifeless", "dust-laden", "sulphurous", "wobbling",
    ],
}  # fmt: skip
VERBS = {  # active, passive
    "animal": [
        ("devours", "devoured"), ("stalks", "stalked"), ("mimics", "mimicked"), ("outlives", "outlived"),
        ("shelters", "sheltered"), ("dislodges", "dislodged"), ("infests", "infested"), ("ensnares", "ensnared"),
    ],
    "stone": [("scratches", "scratched"), ("encloses", "enclosed"), ("overlies", "overlain"), ("intrudes", "intruded")],
    "plant": [("outgrows", "outgrown"), ("stifles", "stifled"), ("entwines", "entwined"), ("displaces", "displaced")],
    "bone": [
        ("overlies", "overlain"), ("outweighs", "outweighed"), ("underlies", "underlain"), ("predates", "predated"),
    ],
    "sphere": [("eclipses", "eclipsed"), ("outshines", "outshone"), ("occults", "occulted"), ("perturbs", "perturbed")],
}  # fmt: skip
NAMED = "sphere"  # its things are proper names
DEEDS = [  # after "to", past
    ("sketch", "sketched"), ("depict", "depicted"), ("transcribe", "transcribed"), ("engrave", "engraved"),
    ("annotate", "annotated"), ("label", "labelled"), ("classify", "classified"), ("magnify", "magnified"),
    ("itemise", "itemised"), ("etch", "etched"),
]  # fmt: skip
VAULTS = ["vitrine", "alcove", "crate", "reliquary", "diorama", "rotunda"]
ATLASES = ["atlas", "orrery", "planetarium", "star chart"]
MEASURES = [
    "bulky", "dense", "ancient", "pallid", "scarce", "coarse", "elongated", "rugged", "primitive", "opaque", "massive",
]  # fmt: skip
NUMBERS = ["two", "three", "four", "five", "six", "eight", "nine", "ten", "eleven", "twelve"]

PLAIN = 9  # patterns at the head of the list without any snare, which are drawn more often
# Notes, then claims that follow, then claims of the same form that do not. A bar parts sentences; {a} to {d} are things
# of one realm, {p} to {s} traits of it, {A} to {C} the things' kinds, {V} and {U} a verb, active and passive.
PATTERNS: list[tuple[str, list[str], list[str]]] = [
    ("{a} is {p} and {b} is {q}", ["{ap}", "{bq}"], ["{aq}", "{bp}"]),
    ("{a} {is} {p}, whereas {b} {is} {q}", ["{ap}", "{bq}"], ["{aq}", "{bp}"]),
    ("{a} is {p}, {q} and {r}", ["{ap}", "{aq}", "{ar}"], ["{as}", "{bp}"]),
    ("{a} is {p} and {q}", ["{ap}", "{aq}"], ["{ar}", "{bp}"]),
    ("{a} {is} {p}|{b} {is} {q}", ["{ap}", "{bq}"], ["{ar}", "{cp}"]),
    ("both {a} and {b} are {p}", ["{ap}", "{bp}"], ["{aq}", "{cp}"]),
    ("{a}, which is {p}, {is} {q}|{b} is {r}", ["{ap}", "{aq}", "{br}"], ["{as}", "{bp}", "{ar}"]),
    ("{a} {is} {p} and, {perhaps}, {q}", ["{ap}"], ["{aq}"]),
    ("{perhaps}, {a} is {p}|{surely}, {b} is {q}", ["{bq}"], ["{ap}"]),
    ("the {expert} has {shown} that {a} is {p} and {guesses} that {b} is {q}", ["{ap}"], ["{bq}"]),
    ("the {expert} {guesses} that {a} is {p} but has {shown} that it is {q}", ["{aq}"], ["{ap}"]),
    ("either {a} or {b} is {p}, and {c} is {q}", ["{cq}"], ["{ap}", "{bp}"]),
    ("either {a} or {b} is {p}; {a} is not", ["{bp}", "{a not p}"], ["{ap}", "{b not p}"]),
    ("{a} is either {p} or {q}; it is not {q}", ["{ap}", "{a not q}"], ["{aq}", "{a not p}"]),
    ("{a} is {p} but not {q}", ["{ap}", "{a not q}"], ["{aq}", "{a not p}"]),
    ("{a} is {p}; {b} is not", ["{ap}", "{b not p}"], ["{bp}", "{a not p}"]),
    ("{a}, not {b}, {is} {p}", ["{ap}", "{b not p}"], ["{bp}", "{a not p}"]),
    ("{a} is {p}; so is {b}, though not {c}", ["{ap}", "{bp}", "{c not p}"], ["{cp}", "{cp}", "{a not p}"]),
    ("of {a}, {b} and {c}, all but {b} are {p}", ["{ap}", "{cp}", "{b not p}"], ["{bp}", "{bp}", "{c not p}"]),
    ("of {a}, {b} and {c}, only {b} is {p}", ["{bp}", "{bp}", "{a not p}"], ["{ap}", "{cp}", "{b not p}"]),
    ("whatever is {p} is {q}|{a} is {p}, {b} is {q}", ["{aq}", "{ap}"], ["{bp}", "{bp}"]),
    ("nothing {p} is {q}|{a} is {p}, {b} is {r}", ["{a not q}"], ["{b not q}"]),
    ("if {a} is {p}, so is {b}; if {c} is {p}, so is {d}|{a} is {p} indeed", ["{bp}", "{ap}"], ["{cp}", "{dp}"]),
    ("{a}, if {p}, is {q}; {b}, being {p}, is {r}", ["{br}", "{bp}"], ["{aq}", "{ap}"]),
    ("{a} was once {held} to be {p}; now we know it to be {q}", ["{aq}"], ["{ap}"]),
    ("the folio calls {a} {p}, which is false, and {b} {q}, which is so", ["{bq}", "{a not p}"], ["{ap}", "{b not q}"]),
    ("were {a} {p}, the {expert} would have {did} it; {b}, being {q}, was {did}", ["{bq}"], ["{ap}"]),
    ("{a} and {b} are in the same {vault}|every {A} in it is {p}, but not every {B}", ["{ap}"], ["{bp}"]),
    ("{a} is the only {A} in the {vault}; {b} is there too|no {B} in it is {p}, and every {A} is", ["{ap}"], ["{bp}"]),
    ("the {vault} has {a} and {b} in it|some {B} there is {p}; every {A} is {q}", ["{aq}"], ["{bp}"]),
    ("{a} is more {m} than {b}, and {b} more {m} than {c}", ["{a>c}", "{a>b}", "{b>c}"], ["{c>a}", "{b>a}", "{c>b}"]),
    ("{a} is less {m} than {b}", ["{b>a}"], ["{a>b}"]),
    ("{a} is not so {m} as {b}; {c} is {p}", ["{b>a}"], ["{a>b}"]),
    ("{a} and {b} are both more {m} than {c}", ["{a>c}", "{b>c}"], ["{a>b}", "{c>a}", "{c>b}"]),
    ("{a} is as {m} as {b}, and {c} is more {m} than {b}", ["{c>a}", "{c>b}"], ["{a>c}", "{b>a}", "{b>c}"]),
    ("none is more {m} than {a}, save {b}|{c} is {p}", ["{b>a}"], ["{a>b}"]),
    ("{a} {V} {b}", ["{aVb}"], ["{bVa}"]),
    ("{a} is {U} by {b}", ["{bVa}"], ["{aVb}"]),
    ("{a} {V} {b}, which {V} {c}", ["{aVb}", "{bVc}"], ["{bVa}", "{cVb}"]),
    ("{a} {V} {b} and is itself {U} by {c}", ["{aVb}", "{cVa}"], ["{bVa}", "{aVc}"]),
    ("it is {a} that {b} {V}", ["{bVa}"], ["{aVb}"]),
    ("the {expert} jotted down {an a} and a {B}", ["{rec} {an a}", "{rec} a {B}"], ["{rec} {an b}", "{rec} a {C}"]),
    ("the {expert} jotted down {an a}, {an b} and no {C}", ["{rec} {an a}", "{rec} a {B}"],
     ["{rec} {an c}", "{rec} a {C}"]),
    ("the {ledger} has {hi} entries on {a} and {lo} on {b}", ["{a#b}", "{a has mid}"], ["{b#a}", "{b has mid}"]),
    ("the {ledger} has not so many entries on {a} as on {b}", ["{b#a}"], ["{a#b}"]),
    ("{a} was {did} before {b}", ["{a<b}"], ["{b<a}"]),
    ("{a} was {did} after {b} but before {c}", ["{b<a}", "{a<c}", "{b<c}"], ["{a<b}", "{c<a}", "{c<b}"]),
    ("not until {a} had been {did} was {b} {did}", ["{a<b}"], ["{b<a}"]),
    ("the {expert} {managed} to {do} {a} but {failed} to {do} {b}", ["{exp} {did} {a}"], ["{exp} {did} {b}"]),
    ("the {expert} {failed} to {do} {a} but {managed} to {do} {b}", ["{exp} {did} {b}"], ["{exp} {did} {a}"]),
    ("having {did} {a}, the {expert} {failed} to {do} {b}", ["{exp} {did} {a}"], ["{exp} {did} {b}"]),
]  # fmt: skip
CLAIMS = {  # claims on x and y: things, or a thing and a trait
    "xy": ["{x} is {y}", "{x} is {y}", "{x} is indeed {y}", "{x} must be {y}", "{x} proves to be {y}"],
    "x not y": ["{x} is not {y}", "{x} cannot be {y}", "it is false that {x} is {y}"],
    "x>y": ["{x} is more {m} than {y}", "{y} is less {m} than {x}", "{y} is not so {m} as {x}"],
    "xVy": ["{x} {V} {y}", "{y} is {U} by {x}"],
    "x<y": ["{x} was {did} before {y}", "{y} was {did} after {x}"],
    "x#y": ["more entries deal with {x} than with {y}", "not so many entries deal with {y} as with {x}"],
    "x has mid": ["at least {mid} entries deal with {x}", "not less than {mid} entries deal with {x}"],
}
RULES = {
    "rec": ["the {expert} jotted down", "among what was jotted down there was"],
    "exp": ["the {expert}"],
    "is": ["is", "proves to be", "was and is", "is ever"],
    "perhaps": ["perhaps", "conceivably", "so rumour has it", "unless we err", "for aught we can tell"],
    "surely": ["beyond dispute", "as autopsy bears out", "as can be discerned by anyone", "indubitably"],
    "shown": ["ascertained", "demonstrated", "verified", "borne out"],
    "guesses": ["conjectures", "surmises", "speculates", "presumes", "fancies"],
    "held": ["deemed", "presumed", "supposed"],
    "managed": ["contrived", "had the wit", "was prompt", "was the first"],
    "failed": ["forgot", "refused", "omitted", "was forbidden", "intended", "was implored"],
    "ledger": ["ledger", "folio", "compendium", "treatise", "monograph"],
    "expert": [
        "naturalist", "curator", "botanist", "geologist", "palaeontologist", "taxidermist", "anatomist", "zoologist",
        "mineralogist", "astronomer", "ornithologist", "conchologist", "herbalist", "custodian",
    ],
    "site": [
        "fjord", "moraine", "estuary", "tundra", "atoll", "savanna", "lagoon", "escarpment", "caldera", "steppe",
        "bayou", "archipelago", "peatland", "rainforest", "glacier", "delta",
    ],
    "preface": [
        "from the {site} expedition", "engraving {number}, after the {expert}", "folio {number}, the {site}",
        "the {expert} dictated this", "penned at the {site} observatory", "appendix {number}",
    ],
    "number": NUMBERS,
}  # fmt: skip
GIVEN = (*"abcdpqrsABCVUm", "do", "did", "hi", "mid", "lo", "vault", "an a", "an b", "an c")
for shape, options in CLAIMS.items():
    for x in "abcd":
        for y in "abcdpqrs":
            RULES[shape.replace("x", x).replace("y", y)] = [
                option.replace("{x}", f"{{{x}}}").replace("{y}", f"{{{y}}}") for option in options
            ]
GRAMMAR = Grammar(RULES, GIVEN)
TRAIT_CLAIMS = [f"{{{x}{y}}}" for x in "abcd" for y in "pqrs"]


def given(rng: random.Random) -> dict[str, str]:
    """What a row speaks of: four things of one realm, three of them of different kinds, and what is said of them."""
    realm = rng.choice(list(REALMS))
    kinds = rng.sample(list(REALMS[realm]), 3)
    a, b, c = (rng.choice(REALMS[realm][kind]) for kind in kinds)
    d = rng.choice([thing for thing in REALMS[realm][kinds[2]] if thing != c])
    slots = dict(zip("ABC", kinds, strict=True))
    for slot, thing in zip("abcd", (a, b, c, d), strict=True):
        slots[slot] = thing if realm == NAMED else f"the {thing}"
        slots[f"an {slot}"] = thing if realm == NAMED else f"a {thing}"
    slots |= dict(zip("pqrs", rng.sample(TRAITS[realm], 4), strict=True))
    slots |= dict(zip("VU", rng.choice(VERBS[realm]), strict=True))
    slots |= dict(zip(("do", "did"), rng.choice(DEEDS), strict=True))
    numbers = sorted(rng.sample(range(len(NUMBERS)), 3))
    slots |= dict(zip(("lo", "mid", "hi"), (NUMBERS[n] for n in numbers), strict=True))
    slots["vault"] = rng.choice(ATLASES if realm == NAMED else VAULTS)
    return slots | {"m": rng.choice(MEASURES), "expert": rng.choice(RULES["expert"])}


def draw(rng: random.Random, code: int) -> dict[str, Any]:
    """Notes, and a claim that does not follow from them (0) or does (1)."""
    notes, *claims = rng.choice(PATTERNS[:PLAIN] if rng.random() < 0.6 else PATTERNS)
    claim = rng.choice(claims[1 - code])
    if code == 0 and claim in TRAIT_CLAIMS and rng.random() < 0.4:
        claim = rng.choice(("{as}", "{dp}"))  # of what the notes never speak of
    if rng.random() < 0.3:
        notes = "{preface}|" + notes
    slots = given(rng)
    text = GRAMMAR.fill(notes, rng, **slots)
    return {
        "notes": " ".join(sentence(part) for part in text.split("|")),
        "claim": sentence(GRAMMAR.fill(claim, rng, **slots)),
    }


FAMILY = Family("claim", (("notes", "notes"), ("assertion", "claim")), ("unproven", "proven"), draw)
