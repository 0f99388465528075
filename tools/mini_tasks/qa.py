"""Answer a question from a passage of a few sentences about villages, workshops, harvests, journeys and families.

A passage states two or three facts of one kind, each with its own persons, places, days or numbers, often beside a fact
of another kind or a sentence that does not matter; the question asks for one part of one fact and names other parts of
it. The answer is always among others of its type. Facts are told in several orders, active or passive, in one sentence
or in two with a pronoun, and the fact that is asked for stands anywhere; two facts may share a part, which then leads
nowhere alone.
"""

import random
from typing import Any, NamedTuple

from cpeft.tasks.base import PLACEHOLDER
from tools.mini_tasks.family import Family
from tools.mini_tasks.grammar import sentence


class Kind(NamedTuple):
    """Facts of one kind: the pool of every part, parts that two facts may share, ways to tell, ways to ask."""

    parts: dict[str, str]
    common: list[str]
    tells: list[str]
    asks: list[tuple[str, str]]


WOMEN = (
    "Marta, Elena, Sofia, Greta, Rosa, Lena, Paula, Tilda, Vera, Judith, Nadia, Selma, Irma, Dora, Olga, Wilma, Frida"
)
MEN = "Jonas, Piet, Anton, Milan, Oskar, Viktor, Simon, Emil, Matthias, Karl, Bruno, Arno, Henrik, Lukas, Stefan, Axel"
POOLS = {
    pool: words.replace("\n ", "").split(", ")
    for pool, words in (
        entry.split(": ")
        for entry in f"""
name: {WOMEN}, {MEN}
village: Alderby, Birchley, Fernhill, Hazelton, Millbeck, Northby, Pinewick, Quarry End, Redbrook, Sandholm, Thornby,
  Upper Lea, Westmere, Yewfield, Ashcombe, Brambury, Coldwell, Dovebrook, Elmstead, Foxley, Goldmere, Hartby, Long
  Ridge, Muddy Ford, Stonecross, Swan Hill
number: seven, eight, eleven, twelve, fifteen, eighteen, twenty, thirty, forty, fifty, sixty, seventy, eighty, ninety,
  200, 250, 340, 500
month: January, February, March, April, May, June, July, August, September, October, November, December
day: Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday
year: {", ".join(map(str, range(1848, 1991)))}
crop: wheat, barley, rye, flax, hemp, cabbage, garlic, hay, millet, spinach, mustard, maize, lavender, tobacco, fennel
goods: apples, plums, pears, eggs, candles, carrots, cherries, walnuts, onions, herbs, mushrooms, turnips, buttons,
  brooms
thing: copper kettle, oak cradle, wooden spoon, silver comb, leather saddle, wool blanket, iron lantern, clay jug, felt
  hat, willow basket, linen shirt, glass bowl, brass bell, rocking chair, toy horse, pocket knife, picture frame,
  walking stick
job: baker, smith, potter, weaver, miller, shepherd, saddler, cobbler, cooper, beekeeper, roofer, ferryman, basket
  maker, wheelwright, tinker, brewer, thatcher, gravedigger
kin: cousin, neighbour, godchild, apprentice, partner, twin, tenant, best friend, lodger
river: Lenne, Aller, Trave, Mossa, Brent, Isel, Nidda, Wisk, Orla, Tamber, Rill, Sorne
ware: honey, cheese, pottery, lace, cider, salt, wool, paper, timber, smoked fish, slate, rye bread
vehicle: cart, boat, sledge, train, bus, bicycle, mule, raft, coach, ferry, horse
feast: Easter, Christmas, the wedding, the christening, the harvest feast, the spring fair, New Year
colour: red, blue, green, white, yellow, grey, brown, pink, black
street: Mill Lane, Church Street, River Road, Oak Alley, Station Street, Well Lane, Hill Road, Bridge Street
pet: cat, parrot, tortoise, hedgehog, goldfish, raven, ferret, canary, hamster, greyhound
subject: reading, knitting, arithmetic, singing, carving, drawing, dancing, cooking, gardening, history
""".replace("\n  ", " ").strip().split("\n")
    )
}  # fmt: skip

# parts and their pools (an exclamation mark: two facts cannot share it), ways to tell, questions for a part
FACTS = """
who name, crop crop, place village, when month, count number
- {who} harvested {count} sacks of {crop} near {place} in {when}
- in {when}, {who} brought in {count} sacks of {crop} near {place}
- near {place}, {count} sacks of {crop} were harvested by {who} in {when}
- {who} worked near {place} in {when}. {He} brought home {count} sacks of {crop}
- the {crop} near {place} was harvested in {when} by {who}, who filled {count} sacks
- it was {who}, not {no}, who harvested {crop} near {place}. {He} did so in {when}
who? who harvested the {crop} / who filled {count} sacks / who worked near {place} / who harvested {crop} near {place}
crop? what did {who} harvest / which crop grew near {place} / what did {who} harvest in {when}
place? where did {who} work / where was the {crop} harvested / where did {who} harvest {crop}
when? when was the {crop} harvested / in which month did {who} work near {place} / when did {who} harvest {crop}
count? how many sacks of {crop} were there / how many sacks did {who} fill / how many sacks of {crop} did {who} fill

who name, goods goods, buyer name, price number, place village
- {who} sold {buyer} some {goods} for {price} coins in {place}
- {buyer} paid {who} {price} coins for {goods}
- in {place}, {who} sold {goods} to {buyer}, and not to {no}
- {who} stood in the market of {place}. {He} sold {goods} for {price} coins
- the {goods} that {buyer} bought in {place} had been brought there by {who}
- at the market of {place}, {buyer} got {goods} from {who} for {price} coins
who? who sold {goods} / who was paid by {buyer} / who sold something to {buyer} / who sold {goods} in {place}
buyer? who bought {goods} / who was the customer of {who} / who bought {goods} from {who} / who spent {price} coins
goods? what did {buyer} buy / what did {who} sell / what cost {price} coins / what did {who} sell in {place}
price? how many coins did {buyer} pay / how many coins did {who} get for the {goods}
place? where did {buyer} buy something / where did {who} sell {goods} / in which market were there {goods}

who! name, job job, thing thing, buyer name, when year
- {who} the {job} made a {thing} for {buyer} in {when}
- {who} is a {job}. {He} finished a {thing} in {when}
- {buyer} ordered a {thing} from {who}, the {job}
- in {when}, a {thing} was made for {buyer} by the {job} {who}
- the {thing} that was made for {buyer} in {when} came from {who}, a {job}
- a {thing}, made in {when} by {who} and not by {no}, was sent to {buyer}
who? who made the {thing} / who worked for {buyer} / what is the name of the {job} / who made the {thing} for {buyer}
job? what is the trade of {who} / what does {who} do for a living / what is the trade of the maker of the {thing}
thing? what did {who} make / what did {buyer} get / which piece was made in {when} / what did {buyer} get in {when}
buyer? for whom did {who} work / who got the {thing} / who was the customer of the {job}
when? when was the {thing} made / in which year did {who} make something / when was the {thing} made for {buyer}

who name, start village, goal village, how vehicle, when day
- {who} travelled from {start} to {goal} by {how} on {when}
- on {when}, {who} left {start} and went to {goal} by {how}
- {who} reached {goal} by {how} on {when}, coming from {start}
- by {how}, {who} went to {goal} from {start}
- {who} left {start} on {when}. {He} took the {how} to {goal}
- {who} went to {goal} by {how}, not to {nowhere}. {He} did so on {when}
who? who travelled to {goal} / who came from {start} / who travelled on {when} / who went from {start} to {goal}
start? from where did {who} come / where did the journey to {goal} begin / from where did {who} travel to {goal}
goal? where did {who} go / where did the traveller from {start} go / where did {who} go by {how}
how? how did {who} travel / how did the traveller get to {goal} / how did {who} get to {goal}
when? on which day did {who} travel / when did someone reach {goal} / when did {who} go to {goal}

who name, kin kin, friend! name, job job, place village
- {who}'s {kin} {friend} works as a {job} in {place}
- {friend}, the {kin} of {who}, is a {job} in {place}
- in {place} lives {friend}, a {job} and the {kin} of {who}
- {who} has a {kin} called {friend}, who is a {job}
- the {job} in {place} is {friend}, {who}'s {kin}
- {who} often travels to {place}. {His} {kin} {friend} lives there as a {job}
friend? who is the {kin} of {who} / what is the name of {who}'s {kin} / who is a {job} / who is the {job} in {place}
who? whose {kin} is {friend} / whose {kin} is a {job} / whose {kin} lives in {place}
job? what does {friend} do for a living / what is the trade of {who}'s {kin} / what is the trade of the {kin} in {place}
place? where does {friend} live / where does {who}'s {kin} live / where does the {job} live
kin? what is {friend} to {who} / what does {who} call {friend}

place! village, river river, count number, ware ware
- {place} lies on the {river}, has {count} houses and is known for its {ware}
- the {river} flows past {place}, a village of {count} houses
- on the {river} lies {place}, where {ware} is made
- {place} is a village on the {river}. It has {count} houses and is known for its {ware}
- with {count} houses, {place} is smaller than {nowhere}. It is known for its {ware}
- {place} on the {river} sells its {ware} in {nowhere}, which has no river
place? which village lies on the {river} / which village has {count} houses / where on the {river} is {ware} made
river? which river flows past {place} / on which river is {ware} made / on which river are there {count} houses
count? how many houses are there in {place} / how many houses has the village that makes {ware}
ware? what is {place} known for / what is made on the {river} / what is made in the village of {count} houses

who name, friend name, thing thing, when feast
- {who} gave {friend} a {thing} at {when}
- at {when}, {friend} got a {thing} from {who}
- a {thing} was {who}'s present for {friend} at {when}
- {friend} thanked {who} for the {thing}
- {friend} was given a {thing} by {who}, not by {no}
- {who} came to see {friend} at {when} and brought a {thing}
who? who gave {friend} a present / from whom was the {thing} / who brought a present at {when}
friend? who got the {thing} / to whom did {who} give a present / to whom did {who} give a {thing}
thing? what did {friend} get / what did {who} give away / what did {who} give to {friend}
when? when did {friend} get a present / on what occasion did {who} give a present

who! name, colour colour, street street, pet pet, subject subject, day day
- {who} lives in the {colour} house in {street} with a {pet}
- the {colour} house in {street} belongs to {who}
- in {street}, {who} teaches {subject} on {day}
- on {day}, children come to {who} in {street} for {subject}
- {who} has a {pet}. {He} teaches {subject} on {day}
- the {pet} in the {colour} house belongs to {who}, not to {no}. {He} teaches {subject}
who? who has a {pet} / who lives in {street} / who owns the {colour} house / who teaches {subject} on {day}
colour? what colour is the house of {who} / what colour is the house in {street}
street? in which street is the {colour} house / in which street does {who} live / where is {subject} taught
pet? what animal does {who} have / what animal lives in {street} / what animal is in the {colour} house
subject? what does {who} teach / what is taught on {day} / what is taught in {street} on {day}
day? on which day is {subject} taught / on which day does {who} teach / when is {subject} taught in {street}
"""
FILLERS = (
    "The roads were bad.", "It was a dry summer.", "Nobody knows more about it.", "So the old people say.",
    "The rest is lost.", "Life was simple.", "The winter had been long.", "This is all in the parish book.",
    "Everyone was content.", "Later things changed.", "There was little money.", "The weather was fine.",
    "Few people remember that.",
)  # fmt: skip
LONGEST = 50  # words; and four sentences


def slots(template: str) -> set[str]:
    return set(PLACEHOLDER.findall(template))


def parse(text: str) -> Kind:
    """A kind from its block of `FACTS`."""
    head, *lines = text.strip().split("\n")
    parts = dict(part.split() for part in head.split(", "))
    asks = [line.split("? ") for line in lines if not line.startswith("- ")]
    return Kind(
        {part.rstrip("!"): pool for part, pool in parts.items()},
        [part for part in parts if not part.endswith("!")],
        [line[2:] for line in lines if line.startswith("- ")],
        [(part, ask) for part, questions in asks for ask in questions.split(" / ")],
    )


KINDS = [parse(block) for block in FACTS.split("\n\n")]


def passage(told: list[str], rng: random.Random) -> str:
    """Sentences that tell facts in their order, the first two joined now and then, or with an idle one."""
    if len(told) > 2 and rng.random() < 0.5 and ". " not in told[0]:
        told = [told[0] + rng.choice((", and ", ", while ", "; ")) + told[1], *told[2:]]
    sentences = [sentence(one) for fact in told for one in fact.split(". ")]
    if rng.random() < 0.3:
        sentences.insert(rng.choice((0, len(sentences))), rng.choice(FILLERS))
    return " ".join(sentences)


def draw(rng: random.Random, code: int) -> dict[str, Any]:
    while True:
        asked = rng.choice(KINDS)
        kinds = [asked] * rng.choice((2, 3, 3))
        if len(kinds) == 2 and rng.random() < 0.6:
            kinds.append(rng.choice([kind for kind in KINDS if kind is not asked]))
        shared = rng.choice(asked.common) if rng.random() < 0.4 else ""
        tells = rng.sample(asked.tells, len(kinds))
        facts: list[dict[str, str]] = []
        for i, kind in enumerate(kinds):
            taken = {value for fact in facts for value in fact.values()}
            fact: dict[str, str] = {}
            for part, pool in [*kind.parts.items(), ("no", "name"), ("nowhere", "village")]:
                while (word := rng.choice(POOLS[pool])) in taken:
                    pass
                fact[part] = word
                taken.add(word)
            if kind is not asked:
                tells[i] = rng.choice(kind.tells)
            elif shared:
                fact[shared] = facts[0][shared] if facts else fact[shared]
            woman = fact.get("who", "") in WOMEN
            facts.append({**fact, "He": "She" if woman else "He", "His": "Her" if woman else "His"})
        chosen = rng.choice([i for i, kind in enumerate(kinds) if kind is asked])
        rivals = {slot for i, kind in enumerate(kinds) if kind is asked and i != chosen for slot in slots(tells[i])}
        known = slots(tells[chosen])
        questions = [
            (part, ask)
            for part, ask in asked.asks
            if part in known & rivals - {shared} and slots(ask) <= known and slots(ask) - {shared}
        ]
        told = [tell.format(**fact) for tell, fact in zip(tells, facts, strict=True)]
        text = passage(rng.sample(told, len(told)), rng)
        if questions and len(text.split()) <= LONGEST and text.count(". ") < 4:
            part, ask = rng.choice(questions)
            answer = facts[chosen][part]
            answer = answer if answer in text else answer[:1].upper() + answer[1:]
            return {"question": sentence(ask.format(**facts[chosen]) + "?"), "passage": text, "answer": answer}


FAMILY = Family("qa", (("question", "question"), ("passage", "passage")), (), draw)
