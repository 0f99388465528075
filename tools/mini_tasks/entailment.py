"""Does the hypothesis follow from the premise (entailment), clash with it (contradiction), or neither (neutral)?

Everyday scenes in kitchens, parks and streets, seven kinds: who does what where (specific or general), who wears which
colour, counts, quantifiers over a group and a part of it, comparisons of three people, who does something to whom, and
what somebody knows or only believes. The hypothesis is drawn first, whatever the label, and a premise is then sought
that gives the label, so the hypothesis alone tells nothing; the premise has the words of the hypothesis under every
label, bound otherwise.
"""

import random
from collections.abc import Callable, Sequence

from tools.mini_tasks.family import Family
from tools.mini_tasks.grammar import Grammar, sentence

WORDS = ("entailment", "neutral", "contradiction")
ENTAILMENT, NEUTRAL, CONTRADICTION = range(3)


Pair = tuple[str, str]


def listed(text: str) -> list[str]:
    return text.split(", ")


def pairs(text: str) -> list[Pair]:
    return [(one, two) for one, two in (pair.split("/") for pair in listed(text))]


PEOPLE = listed(
    "nurse, baker, plumber, waiter, tailor, cook, cleaner, postman, teacher, student, bus driver, policeman, barber, "
    "butcher, tourist, jogger, grandmother, grandfather, girl, boy, toddler, old man, tall woman, neighbour, cyclist, "
    "drummer, skater, builder, electrician, dentist, caretaker, young man, mother, taxi driver, shopkeeper, "
    "lifeguard, magician"
)
DEEDS = {
    "preparing food": "slicing bread, peeling potatoes, stirring a soup, chopping onions, rolling out dough, frying "
    "eggs",
    "making music": "playing the guitar, beating a drum, practising the trumpet, strumming a banjo, playing the "
    "accordion",
    "doing sport": "kicking a football, skipping with a rope, doing push-ups, lifting weights, practising handstands",
    "cleaning something": "mopping the floor, wiping a table, polishing a mirror, sweeping the steps, scrubbing a pan",
    "repairing something": "mending a bicycle tyre, fixing a tap, patching a tent, repairing a chair, fixing a radio",
    "doing needlework": "knitting a sock, sewing on a button, embroidering a cushion, darning a glove, hemming a "
    "curtain",
    "making a picture": "sketching a bridge, drawing a clown, colouring in a map, painting a portrait, drawing a tram",
    "reading": "reading a comic, leafing through a newspaper, reading a cookbook, studying a timetable, reading a poem",
}
GENERAL = {deed: general for general, deeds in DEEDS.items() for deed in listed(deeds)}
PLACES = {
    "indoors": "in the kitchen, in the hallway, in the cellar, in the classroom, in the laundry, in the waiting room",
    "outdoors": "in the park, in the street, on the playground, in the car park, at the bus stop, in the market square",
}
AREA = {place: area for area, places in PLACES.items() for place in listed(places)}
CLOTHES = listed("hat, scarf, coat, jumper, apron, cap, jacket, shirt, tie, belt, waistcoat, helmet, backpack, bow tie")
COLOURS = listed("red, blue, green, yellow, black, white, grey, purple, orange, pink, brown")
NUMBERS = listed("zero, one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen")
CROWDS = listed("waiters, cooks, schoolgirls, tourists, joggers, drummers, cleaners, builders, neighbours, students")
AMOUNTS: dict[str, Callable[[int], range]] = {
    "exactly": lambda n: range(n, n + 1),
    "at least": lambda n: range(n, 20),
    "at most": lambda n: range(n + 1),
    "more than": lambda n: range(n + 1, 20),
    "fewer than": lambda n: range(n),
}
GROUPS = listed("children, musicians, guests, shoppers, passengers, workers, dancers, players, visitors, pupils")
PARTS = listed("young {}, tall {}, smiling {}, {} from abroad, {} with glasses, {} on the left, noisy {}")
HABITS = listed(
    "wore a scarf, had an umbrella, sang a song, clapped, laughed at the clown, ate an ice cream, got wet, carried a "
    "bag, waved, ordered tea, sat on a bench, spoke to the policeman, missed the bus, crossed the bridge, took a "
    "photo, wore gloves"
)
QUANTIFIERS = {
    "all": ("all of the {}", "every one of the {}", "each of the {}"),
    "some": ("some of the {}", "one or more of the {}", "at least one of the {}"),
    "none": ("none of the {}", "not one of the {}", "not a single one of the {}"),
    "not all": ("not all of the {}", "not every one of the {}"),
}
ORDERS = pairs(
    "is taller than/is shorter than, is older than/is younger than, lives above/lives below, stands in front "
    "of/stands behind, sits to the left of/sits to the right of, arrived before/arrived after, runs faster than/runs "
    "slower than, woke up before/woke up after, earns more than/earns less than, is stronger than/is weaker than"
)
ROLES = pairs(  # what the first does to the second, and the same told of the second
    "is carrying/is being carried by, is pushing/is being pushed by, is leading/is being led by, "
    "is pulling/is being pulled by, is following/is being followed by, is driving/is being driven by, "
    "is lifting/is being lifted by, is chasing/is being chased by, is teaching/is being taught by, "
    "is selling {thing} to/is buying {thing} from, is lending {thing} to/is borrowing {thing} from, "
    "is handing {thing} to/is being handed {thing} by"
)
THINGS = listed("the lamp, a kettle, the bicycle, a ladder, the clock, a rug, the hammer, a ball, the kite, a map")
STATES = {
    "open/closed": "front door, back door, bakery, kitchen window, garden gate, café, top drawer, umbrella, letterbox",
    "locked/unlocked": "shed, cellar, office, bicycle, suitcase, cupboard, garage",
    "switched on/switched off": "radio, street lamp, oven, heater, television, fan",
    "awake/asleep": "baby, dog, cat, watchman, old lady",
    "dirty/clean": "plate, car, apron, pavement, saucepan, towel, bathtub",
    "occupied/free": "bench, seat by the window, taxi, phone box, corner table, shower",
}
RULES = {
    "both": "{one}, and {two} | {two}, and {one} | {one}, while {two} | {two}, while {one} | {one}; {two}",
    "sure": "{fact} | the {who} knows that {fact} | the {who} can see that {fact} | the {who} has noticed that {fact} "
    "| it is true that {fact}",
    "unsure": "the {who} believes that {fact} | the {who} wonders whether {fact} | the {who} was told that {fact} | "
    "the {who} has asked whether {fact} | it is possible that {fact}",
    "deeds": "at this moment | in this picture | on this rainy {day} | as we look on | right now",
    "counts": "yesterday | last {day} | before lunch | at the street party | in the afternoon",
    "day": "Monday | Tuesday | Wednesday | Thursday | Friday | Saturday | Sunday",
}
GRAMMAR = Grammar({symbol: options.split(" | ") for symbol, options in RULES.items()}, ("one", "two", "who", "fact"))


def joined(rng: random.Random, one: str, two: str) -> str:
    """What the label rests on, mostly with something else before or after it."""
    return GRAMMAR.expand("both", rng, one=one, two=two) if rng.random() < 0.4 else one


def either_way(rng: random.Random, one: str, two: str, verbs: Pair) -> str:
    """The same told of the one or of the other."""
    return rng.choice((f"{one} {verbs[0]} {two}", f"{two} {verbs[1]} {one}"))


def no(rng: random.Random, code: int) -> tuple[str, int]:
    """A negation for the hypothesis, or none, and the label that the plain hypothesis must have."""
    return ("not ", CONTRADICTION - code) if rng.random() < 0.15 else ("", code)


def deeds(rng: random.Random, code: int) -> Pair:
    (who, other), (negation, code) = rng.sample(PEOPLE, 2), no(rng, code)
    one, two = (rng.choice(listed(DEEDS[general])) for general in rng.sample(list(DEEDS), 2))
    here, there = (rng.choice(listed(PLACES[area])) for area in rng.sample(list(PLACES), 2))
    deed, place = rng.choice((one, one, GENERAL[one])), rng.choice(("", here, AREA[here]))
    first, second = (one, here), rng.choice(((two, there), (two, AREA[there]), ("standing", there)))
    if code == CONTRADICTION:
        first, second = ((one, there), (two, here)) if place and rng.random() < 0.5 else ((two, here), (one, there))
    elif code == NEUTRAL:
        first = (GENERAL[one], here) if deed == one else ("standing", here)
        if place and rng.random() < 0.5:
            first = (one, "" if place == AREA[here] else AREA[here])
        second = rng.choice((second, (one, there), (two, here)))
    if rng.random() < 0.4:
        second = (GENERAL.get(second[0], "standing"), second[1])
        first = first if deed == one else (GENERAL.get(first[0], "standing"), first[1])
    premise = [f"the {somebody} is {doing} {where}" for somebody, (doing, where) in ((who, first), (other, second))]
    return joined(rng, *premise), f"the {who} is {negation}{deed} {place}"


def clothes(rng: random.Random, code: int) -> Pair:
    (who, other), (negation, code) = rng.sample(PEOPLE, 2), no(rng, code)
    (item, extra), (colour, wrong) = rng.sample(CLOTHES, 2), rng.sample(COLOURS, 2)
    asked, *rest = ((colour, wrong, ""), ("", colour, wrong), (wrong, colour, ""))[code]
    rng.shuffle(rest)
    worn = rng.sample([f"a {asked} {item}", f"a {rest[0]} {extra}"], 2)
    one, two = f"the {who} is wearing {worn[0]} and {worn[1]}", f"the {other} is wearing a {rest[1]} {item}"
    form = rng.choice(
        (f"the {who}'s {item} is", f"the {item} of the {who} is", f"the {item} that the {who} is wearing is")
    )
    return joined(rng, one, two), f"{form} {negation}{colour}"


def counts(rng: random.Random, code: int) -> Pair:
    who, (deed, extra), (amount, n) = rng.sample(CROWDS, 2), rng.sample(list(GENERAL), 2), number(rng, 6)
    label, asked = -1, set(AMOUNTS[amount](n))
    while label != code:
        given, m = number(rng, n)
        said = set(AMOUNTS[given](m))
        label = ENTAILMENT if said <= asked else NEUTRAL if said & asked else CONTRADICTION
    given = "" if given == "exactly" and (m == n or rng.random() < 0.5) else given
    facts = f"{given} {NUMBERS[m]} {who[0]} were {deed}", f"{amount} {NUMBERS[n]} {who[1]} were {extra}"
    return joined(rng, *facts), f"{amount} {NUMBERS[n]} {who[0]} were {deed}"


def number(rng: random.Random, near: int) -> tuple[str, int]:
    return rng.choice(list(AMOUNTS)), min(max(near + rng.randint(-3, 3), 2), 12)


def holds(quantifier: str, shares: Sequence[int]) -> bool:
    """Whether a statement is true of people of whom none (0), some (1) or all (2) do it."""
    if quantifier in ("all", "not all"):
        return (min(shares) == 2) == (quantifier == "all")
    return (max(shares) > 0) == (quantifier == "some")


def quantifiers(rng: random.Random, code: int) -> Pair:
    (group, crowd), part, habit = rng.sample(GROUPS, 2), rng.choice(PARTS), rng.choice(HABITS)
    asked, whole, label = rng.choice(list(QUANTIFIERS)), rng.random() < 0.5, -1
    names, worlds = (part.format(group), group), [(a, b) for a in range(3) for b in range(3)]  # the part and the others
    given = asked
    while label != code or {given, asked} == {"some", "not all"}:
        given, of_all = rng.choice(list(QUANTIFIERS)), rng.random() < 0.5
        left = [holds(asked, world[: 1 + whole]) for world in worlds if holds(given, world[: 1 + of_all])]
        label = ENTAILMENT if all(left) else NEUTRAL if any(left) else CONTRADICTION
    told = ((given, names[of_all]), (rng.choice((asked, given)), crowd), (asked, names[whole]))
    one, two, hypothesis = (f"{rng.choice(QUANTIFIERS[quantifier])} {habit}".format(name) for quantifier, name in told)
    return joined(rng, one, two), hypothesis


def orders(rng: random.Random, code: int) -> Pair:
    people, (order, other), label = [f"the {who}" for who in rng.sample(PEOPLE, 3)], rng.sample(ORDERS, 2), -1
    one, two, _ = people
    while label != code:
        facts = [tuple(rng.sample(pair, 2)) for pair in rng.sample([people[:2], people[1:], people[::2]], 2)]
        kinds = [order, rng.choice((order, order, other))]
        above = [fact for fact, kind in zip(facts, kinds, strict=True) if kind == order]
        above += [(a, d) for a, b in above for c, d in above if b == c]
        label = ENTAILMENT if (one, two) in above else CONTRADICTION if (two, one) in above else NEUTRAL
    first, second = (either_way(rng, a, b, kind) for (a, b), kind in zip(facts, kinds, strict=True))
    return GRAMMAR.expand("both", rng, one=first, two=second), either_way(rng, one, two, order)


def roles(rng: random.Random, code: int) -> Pair:
    (one, two, *rest), (role, extra) = [f"the {who}" for who in rng.sample(PEOPLE, 5)], rng.sample(ROLES, 2)
    (negation, code), thing = no(rng, code), rng.choice(THINGS)
    hypothesis = either_way(rng, one, two, role).replace("is ", f"is {negation}", 1)
    unsure = f"either {one if code == NEUTRAL else rest[0]} or {rest[1]}"
    if code == NEUTRAL:
        facts = either_way(rng, unsure, two, role), either_way(rng, rest[0], rest[2], extra)
    else:
        pair = (one, two) if code == ENTAILMENT else (two, one)
        facts = either_way(rng, *pair, role), either_way(rng, unsure, rest[2], extra)
    return joined(rng, *facts).format(thing=thing), hypothesis.format(thing=thing.replace("a ", "the ", 1))


def states(rng: random.Random, code: int) -> Pair:
    pair, people, way = rng.choice(list(STATES)), rng.sample(PEOPLE, 2), rng.randrange(2)
    (thing, other), words = rng.sample(listed(STATES[pair]), 2), pairs(pair)[0]
    if code == NEUTRAL:
        facts = f"the {thing} is {rng.choice(words)}", state(rng, words, other, rng.randrange(2))
    else:
        facts = state(rng, words, thing, way ^ (code == CONTRADICTION)), f"the {other} is {rng.choice(words)}"
    said = ("unsure", "sure") if code == NEUTRAL else ("sure", "unsure")
    one, two = (
        GRAMMAR.expand(kind, rng, who=who, fact=fact) for kind, who, fact in zip(said, people, facts, strict=True)
    )
    return joined(rng, one, two), state(rng, words, thing, way)


def state(rng: random.Random, words: Pair, thing: str, way: int) -> str:
    """That the thing is in one state, or not in the other."""
    return f"the {thing} is {words[way]}" if rng.random() < 0.7 else f"the {thing} is not {words[1 - way]}"


SCENES = (*[deeds] * 5, *[clothes] * 5, *[states] * 5, *[roles] * 2, counts, quantifiers, orders)


def draw(rng: random.Random, code: int) -> dict[str, str]:
    """A pair with label `code`; a premise that has the hypothesis word for word is drawn again."""
    premise = hypothesis = ""
    while hypothesis.strip() in premise:
        scene = rng.choice(SCENES)
        premise, hypothesis = scene(rng, code)
    if rng.random() < 0.3 and scene not in (orders, states):
        premise = GRAMMAR.expand("counts" if scene in (counts, quantifiers) else "deeds", rng) + ", " + premise
    return {"premise": sentence(premise.replace(" ,", ",").replace(" ;", ";")), "hypothesis": sentence(hypothesis)}


FIELDS = (("premise", "premise"), ("hypothesis", "hypothesis"))
FAMILY = Family("entailment", FIELDS, WORDS, draw)
