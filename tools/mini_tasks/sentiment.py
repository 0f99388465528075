"""Is a short review of a restaurant, hotel, shop or product good or bad?

A review speaks of one to three aspects (a dish, the staff, a room, a price) in evaluative words. Every word is affirmed
or denied ("nothing about the soup was bland"), reported by others who were right or wrong, expected and met or not, or
true once and no longer. Where aspects and verdict disagree ("the rooms were dingy, yet we will be back") the verdict is
stated and counts. The frames are the same for praise and blame, so that neither the evaluative words nor the negations
alone tell.
"""

import random

from tools.mini_tasks.family import Family
from tools.mini_tasks.grammar import Grammar, sentence

JUDGED = {  # what is judged: words of praise, words of blame
    "food": (
        "delicious, tasty, flavourful, appetising, mouth-watering, scrumptious, perfectly seasoned",
        "bland, stale, greasy, tasteless, overcooked, lukewarm, badly seasoned",
    ),
    "staff": (
        "polite, attentive, courteous, helpful, obliging, welcoming, well-mannered",
        "rude, inattentive, surly, careless, dismissive, arrogant, ill-mannered",
    ),
    "room": (
        "spotless, airy, inviting, bright, tidy, cosy, well-kept, elegant",
        "dingy, cramped, musty, grubby, shabby, draughty, neglected, stuffy",
    ),
    "bedding": (
        "comfortable, clean, fluffy, luxurious, silky",
        "uncomfortable, scratchy, threadbare, stained, worn-out",
    ),
    "cost": ("fair, reasonable, modest, affordable, sensible", "steep, outrageous, inflated, excessive, ridiculous"),
    "range": ("varied, generous, imaginative, impressive, well-chosen", "dull, meagre, predictable, skimpy, jumbled"),
    "device": (
        "sturdy, reliable, well-made, handy, efficient, clever, practical",
        "flimsy, faulty, shoddy, clumsy, wobbly, awkward, impractical",
    ),
    "part": ("sturdy, well-made, practical, solid, smooth", "flimsy, shoddy, wobbly, awkward, loose"),
    "garment": (
        "well-cut, hard-wearing, stylish, flattering, smart, high-quality",
        "badly cut, shapeless, tacky, unflattering, frumpy, low-quality",
    ),
}
WORDS = {kind: (bad.split(", "), good.split(", ")) for kind, (good, bad) in JUDGED.items()}

AREAS = {  # where, and what is judged there
    "restaurant": {
        "food": "soup, stew, curry, pizza, risotto, omelette, casserole, pie, pudding, cheesecake, salad, sandwich, "
        "burger, lasagne, pancake, roast, dessert, sauce, starter",
        "staff": "waiter, waitress, chef, barman, owner, head waiter",
        "room": "dining room, bar, terrace, table in the corner, entrance",
        "cost": "bill, cover charge, set price",
        "range": "menu, wine list, dessert trolley, lunch buffet",
    },
    "hotel": {
        "staff": "receptionist, porter, housekeeper, night manager, concierge, chambermaid",
        "room": "bedroom, bathroom, lobby, corridor, lounge, balcony, breakfast room, sauna, gym",
        "bedding": "mattress, pillow, duvet, towel, bathrobe, blanket",
        "cost": "room rate, parking fee, booking fee",
        "range": "breakfast buffet, minibar, room service menu",
    },
    "shop": {
        "staff": "shop assistant, cashier, salesman, saleswoman, manager, fitter",
        "room": "fitting room, front window, ground floor, basement, toy department",
        "cost": "delivery charge, price tag, deposit",
        "range": "selection, catalogue, stock, gift section, window display",
        "garment": "jacket, raincoat, jumper, waistcoat, skirt, blouse, overcoat, suit, cardigan",
    },
    "product": {
        "device": "kettle, blender, toaster, desk lamp, hairdryer, heater, ceiling fan, drill, printer, keyboard, "
        "alarm clock, coffee grinder, can opener, stapler, suitcase, rucksack, umbrella, bread knife, vacuum cleaner, "
        "folding chair",
    },
}
KINDS = {area: [(kind, noun) for kind in kinds for noun in kinds[kind].split(", ")] for area, kinds in AREAS.items()}
PARTS = ["handle", "base", "cover", "carrying case", "grip", "spare part", "frame"]

OPENINGS = {"shop": "errand", "product": "purchase"}

VERDICTS = (  # bad, good: of a place that is visited
    ("I would not go there again", "I would go there again"),
    ("we will not be back", "we will be back"),
    ("there is every reason to go elsewhere", "there is no reason to go elsewhere"),
    ("I would recommend it to no one", "I would recommend it to anyone"),
    ("it did not earn the money we paid", "it did earn the money we paid"),
    ("we cannot wait to go somewhere else", "we cannot wait to go again"),
    ("I would change everything about it", "I would not change anything about it"),
    ("it is not worth the trip", "it is well worth the trip"),
    ("I would talk anyone out of going", "I would not talk anyone out of going"),
    ("next time we will choose another place", "next time we will not choose another place"),
    ("the visit as a whole was a failure", "the visit as a whole was a success"),
    ("it gets no stars from us", "it gets five stars from us"),
    ("you should give it a miss", "you should not give it a miss"),
)
PURCHASES = (  # bad, good: of a thing that was bought
    ("I would not buy it again", "I would buy it again"),
    ("I am sending it back", "I am not sending it back"),
    ("it is not worth the money", "it is well worth the money"),
    ("I would advise anyone against it", "I would not advise anyone against it"),
    ("it was the wrong choice", "it was the right choice"),
    ("it is going straight into the bin", "it is not going anywhere near the bin"),
    ("I would recommend it to nobody", "I would recommend it to everybody"),
    ("I want my money back", "I do not want my money back"),
    ("it gets no stars from me", "it gets five stars from me"),
    ("I would rather have another brand", "I would not swap it for another brand"),
)

RULES = {
    "affirmed": "the {noun} was {adj} | the {noun} was {degree} {adj} | {judge} found the {noun} {adj} | "
    "the {noun} turned out to be {adj} | I would call the {noun} {adj} | {judge} thought the {noun} {adj} | "
    "I have never come across so {adj} a {noun} | nobody could deny that the {noun} was {adj} | "
    "there was no doubt that the {noun} was {adj} | the {noun} was as {adj} as can be",
    "denied": "nothing about the {noun} was {adj} | the {noun} was anything but {adj} | "
    "the {noun} was far from {adj} | the {noun} was not {adj} in the least | nobody could call the {noun} {adj} | "
    "the {noun} was not {adj} | at no point was the {noun} {adj} | none of us found the {noun} {adj} | "
    "the {noun} was never {adj} | I have never come across a less {adj} {noun} | it was by no means a {adj} {noun}",
    "met": "{heard} the {noun} would be {adj}, and so it was | {expected} a {adj} {noun}, and that is what we got | "
    "{source} called the {noun} {adj}, and {pronoun} right | {source} called the {noun} {adj} / I agree | "
    "the {noun} used to be {adj} / it still is | {heard} the {noun} would be {adj} / it was, {time} | "
    "is the {noun} as {adj} as {source} said? / yes, it is | what a {adj} {noun} it was",
    "unmet": "{heard} the {noun} would be {adj}, but it was not | "
    "{expected} a {adj} {noun}, but that is not what we got | "
    "{source} called the {noun} {adj}, but {pronoun} wrong | {source} called the {noun} {adj} / I disagree | "
    "the {noun} used to be {adj} / not any more | {heard} the {noun} would be {adj} / it was not, {time} | "
    "is the {noun} as {adj} as {source} said? / no, it is not | {adj} is not the word for the {noun}",
    "turned": "{heard} the {noun} would be {other}; instead it was {adj} | once {other}, the {noun} is now {adj} | "
    "{expected} a {other} {noun} and found a {adj} one | the {noun} was not {other} but {adj} | "
    "{source} called the {noun} {other}; to us it was {adj} | the {noun} was said to be {other}, but proved {adj}",
    "contrast": "{this}, yet {verdict} | {this}, but {verdict} | although {this}, {verdict} | "
    "{this} / even so, {verdict} | {verdict}, even though {this} | "
    "{verdict} / true, {this}, but that hardly matters | {this}; still, {verdict} | "
    "granted, {this} / all the same, {verdict} | {verdict}, and never mind that {this} | "
    "while it is true that {this}, {verdict} | never mind that {this}: {verdict}",
    "agreement": "{this} and {that} | {this} / {that} | {this}, and what is more, {that} | "
    "{this} / besides, {that} | {this}, so {verdict} | {this} / {verdict} | {verdict}: {this} | "
    "{this} and {that} / {verdict} | since {this}, {verdict} | {verdict} / after all, {this} | "
    "{this} / on top of that, {that}",
    "visit": "{company} came here for {occasion} {time} | {errand}",
    "errand": "we stopped here {time} | {company} spent {stay} here | {company} looked in {time}",
    "purchase": "I bought this {thing} {time} | this {thing} was a present from {source} | "
    "we ordered the {thing} {time}",
    "stay": "an afternoon | two hours | an evening | half a day | almost an hour | a whole morning",
    "company": "my {relative} and I | four of us | a group of colleagues | my {relative}, two friends and I | we",
    "relative": "sister | cousin | aunt | uncle | nephew | brother-in-law | grandmother | husband | wife",
    "occasion": "a birthday | an anniversary | a school reunion | a family party | a business trip | the first time",
    "time": "last {day} | in {month} | this week | two months ago | last weekend | on a quiet {day} | this spring",
    "day": "Monday | Tuesday | Wednesday | Thursday | Friday | Saturday | Sunday",
    "month": "January | March | April | June | July | September | October | December",
    "degree": "truly | thoroughly | really | quite | decidedly | remarkably | very | rather | surprisingly",
    "judge": "we | I | my {relative} | all of us | everyone at our table | the other customers",
    "heard": "{source} said that | we had been told that | I was sure that | {source} swore that | we had read that",
    "expected": "we had expected | I was ready for | we were counting on | {source} told us to expect",
    "source": "my {relative} | other customers | our neighbours | an old friend | the people at work",
    "pronoun": "it turned out to be | that was | that is",
}
GIVEN = ("noun", "adj", "other", "this", "that", "verdict", "thing")
GRAMMAR = Grammar({symbol: options.split(" | ") for symbol, options in RULES.items()}, GIVEN)


def clause(rng: random.Random, kind: str, noun: str, good: bool, simple: bool) -> str:
    """One statement about `noun` that speaks for or against it."""
    words = WORDS[kind]
    shapes = (*["affirmed"] * 6, "denied", "denied") + (() if simple else ("met", "unmet", "turned"))
    shape = rng.choice(shapes)
    plain = good != (shape in ("denied", "unmet"))
    return GRAMMAR.expand(shape, rng, noun=noun, adj=rng.choice(words[plain]), other=rng.choice(words[not plain]))


def draw(rng: random.Random, code: int) -> dict[str, str]:
    """A review whose verdict is `code` (1: good)."""
    good = code == 1
    area = rng.choice(("restaurant", "restaurant", "hotel", "hotel", "shop", "product"))
    (kind, noun), second = rng.sample(KINDS[area], 2)
    if area == "product":
        second = ("part", rng.choice(PARTS))
    verdict = rng.choice(PURCHASES if area == "product" else VERDICTS)[code]
    form = rng.choice(("one", "one", "agreement", "agreement", "agreement", "contrast"))
    this = clause(rng, kind, noun, good != (form == "contrast"), form != "one")
    that = clause(rng, *second, good, True)
    if form == "contrast" and rng.random() < 0.3:
        this += " and " + clause(rng, *second, not good, True)
    text = this if form == "one" else GRAMMAR.expand(form, rng, this=this, that=that, verdict=verdict)
    if rng.random() < 0.4:
        opening = GRAMMAR.expand(OPENINGS.get(area, "visit"), rng, thing=noun)
        text = opening + " / " + text
    return {"text": " ".join(sentence(part) for part in text.split(" / "))}


FAMILY = Family("sentiment", (("review", "text"),), ("negative", "positive"), draw)
