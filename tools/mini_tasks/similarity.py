"""How similar are two sentences about small events, from 0.0 to 5.0 in steps of one half?

Each sentence tells who did what to whom or what, where and when. The score is the sum of what both tell alike: the doer
1.0, the action 1.5, what it was done to 1.5, the place 0.5, the time 0.5. A synonym ("physician" for "doctor") is
alike, and so is the passive; two people who have changed their parts are not. Sentences put their parts in many orders,
so that neither the number of shared words nor a word of its own gives the score.
"""

import random
from itertools import compress, product
from typing import Any

from tools.mini_tasks.family import Family
from tools.mini_tasks.grammar import Grammar, sentence

Concept = tuple[str, ...]  # the ways to say one thing


def concepts(text: str) -> tuple[Concept, ...]:
    """One concept between commas, its synonyms between slashes."""
    return tuple(tuple(words.strip().split("/")) for words in " ".join(text.split()).split(","))


PEOPLE = concepts("""
    doctor/physician, lawyer/attorney, child/kid, thief/robber, sailor/seaman, soldier/trooper, boss/manager, nun,
    singer/vocalist, writer/author, tourist/sightseer, policeman/police officer, barber/hairdresser, cook/chef,
    shopkeeper/storekeeper, farmer, baby/infant, magician/conjurer, teacher/schoolteacher, firefighter/fireman,
    postman/mailman, cleaner/janitor, carpenter/joiner, seamstress/dressmaker, lodger/tenant, guest/visitor,
    pilot/aviator, hiker/rambler, nanny/nursemaid, fisherman/angler, taxi driver/cab driver, actress, photographer,
    acrobat, pianist, old man/elderly man, old woman/elderly woman, bookseller/book dealer, ballerina, night
    watchman/night guard, king/monarch
""")
THINGS = concepts("""
    bicycle/bike, photograph/photo, phone/telephone, wallet/billfold, overcoat/topcoat, sweater/pullover/jumper,
    carpet/rug, television/TV set, fridge/refrigerator, armchair/easy chair, mirror/looking glass, present/gift,
    parcel/package, lamp, diary/journal, wristwatch/watch, umbrella, mug/cup, plate/dish, saucepan/cooking pot,
    flashlight/torch, bucket/pail, basket/hamper, axe/hatchet, violin/fiddle, guitar, drum, statue/sculpture, vase,
    candle, car/automobile, truck/lorry, motorcycle/motorbike, rowing boat/rowboat, tent, ladder, handbag/purse,
    necklace, map, doll, hat, kite, cake, sofa/couch
""")
USES = concepts("""
    bought/purchased, sold, repaired/fixed/mended, found/discovered, hid:hidden/concealed, stole:stolen,
    lost/mislaid, destroyed/wrecked, cleaned, painted, moved/shifted, dropped, borrowed, rented, examined/inspected,
    photographed, burned, buried, wrapped, drew:drawn/sketched, described, delivered, returned/brought back, threw
    away:thrown away/discarded, picked up/collected, chose:chosen/selected, received, kicked, covered,
    tagged/labelled, weighed, needed/required, demanded/asked for, exhibited/displayed, recommended, measured,
    forgot:forgotten, guarded
""")
DEALINGS = concepts("""
    thanked, followed/trailed, greeted/welcomed, helped/assisted/aided, rescued/saved, scolded/told off,
    warned/alerted, praised/commended, hugged/embraced, phoned/called/rang up:rung up, invited,
    mocked/ridiculed/made fun of, interrupted, insulted/offended, cheated/swindled, scared/frightened,
    annoyed/irritated, kissed, consulted, admired, ignored, recognized, blamed, pushed/shoved, watched/observed,
    obeyed, believed, misunderstood
""")
PLACES = concepts("""
    in the forest/in the woods, near the shop/close to the store, at the airport, outside the cinema/outside the
    movie theater, in the cellar/in the basement, on the pavement/on the sidewalk, in the lift/in the elevator, in
    the attic/in the loft, in the market square/on the marketplace, at the railway station/at the train station, in
    the car park/in the parking lot, in the kitchen, on the ship/aboard the ship, at the petrol station/at the gas
    station, in the playground, on the beach, in the corridor/in the hallway, at the pub/at the tavern, next to the
    church/beside the church, behind the barn, under the bridge/beneath the bridge, at the campsite/at the
    campground, opposite the bank/across from the bank, in the bedroom, on the balcony, near the lake/close to the
    lake, at the post office, in the museum, at the fair, in the apartment/in the flat, on the hill, at the library
""")
TIMES = concepts("""
    at noon/at midday, at dawn/at daybreak/at sunrise, at dusk/at nightfall/at sunset, in autumn/in the fall, at
    midnight, two weeks ago/a fortnight ago, ten years ago/a decade ago, a year ago/twelve months ago, recently/not
    long ago, during the holidays/during the vacation, before breakfast, after dinner/after supper, yesterday, at
    the weekend/over the weekend, an hour ago/sixty minutes ago, on Monday, on Tuesday, on Friday, in January, in
    March, in summer, last night, during the storm, a moment ago/just now, half a year ago/six months ago, on New
    Year's Eve/on the last day of the year
""")

WEIGHTS = (1.0, 1.5, 1.5, 0.5, 0.5)  # doer, action, thing or other person, place, time
VALUES = tuple(f"{half / 2:.1f}" for half in range(11))
ALIKE = {  # the ways to reach a score: which of the five are alike
    value: [alike for alike in product((False, True), repeat=5) if sum(compress(WEIGHTS, alike)) == float(value)]
    for value in VALUES
}

GRAMMAR = Grammar(
    {
        "row": ("{event}", "{event}", "{event}", "{event}", "{hear} {event}"),
        "event": (
            "{who} {did} {what} {where} {when}", "{who} {did} {what} {when} {where}",
            "{when}, {who} {did} {what} {where}", "{where}, {who} {did} {what} {when}",
            "{when} {where}, {who} {did} {what}", "{what} was {done} by {who} {where} {when}",
            "{when}, {what} was {done} by {who} {where}", "{where}, {what} was {done} {when} by {who}",
            "it was {who} who {did} {what} {where} {when}", "{who} was the one who {did} {what} {when} {where}",
            "it was {when} that {who} {did} {what} {where}", "it was {where} that {what} was {done} by {who} {when}",
        ),
        "hear": ("we heard that", "people say that", "it is said that", "I think that", "they told me that"),
    },
    given=("who", "did", "done", "what", "where", "when"),
)  # fmt: skip


def other(pool: tuple[Concept, ...], rng: random.Random, *taken: Concept) -> Concept:
    """One of the concepts of `pool` that is not taken."""
    return rng.choice([concept for concept in pool if concept not in taken])


def tell(event: tuple[Concept, ...], told: dict[str, str], rng: random.Random) -> dict[str, str]:
    """Words for an event, if possible others than were `told` before."""
    words = {}
    for role, concept in zip(("who", "did", "what", "where", "when"), event, strict=True):
        fresh = [word for word in concept if word != told.get(role)]
        words[role] = rng.choice(fresh if fresh and rng.random() < 0.7 else concept)
    return words


def text(words: dict[str, str], rng: random.Random) -> str:
    """A sentence that tells an event in these words."""
    did, _, done = words["did"].partition(":")
    who, what = (f"{rng.choice(('the', 'the', 'a'))} {words[role]}" for role in ("who", "what"))
    return sentence(GRAMMAR.expand("row", rng, **{**words, "who": who, "did": did, "done": done or did, "what": what}))


def draw(rng: random.Random, code: int) -> dict[str, Any]:
    score = rng.choice(VALUES)
    doer, action, target, place, time = rng.choice(ALIKE[score])
    deals = rng.random() < 0.5
    who = rng.choice(PEOPLE)
    did, what = (rng.choice(DEALINGS), other(PEOPLE, rng, who)) if deals else (rng.choice(USES), rng.choice(THINGS))
    first = (who, did, what, rng.choice(PLACES), rng.choice(TIMES))
    if not doer and not target and action and deals and rng.random() < 0.6:  # they change their parts
        who, what = what, who
    else:
        who = who if doer else other(PEOPLE, rng, who, what)
        what = what if target else other(PEOPLE if deals else THINGS, rng, what, who, first[0])
    did = did if action else other(DEALINGS if deals else USES, rng, did)
    where, when = (
        old if alike else other(pool, rng, old)
        for old, alike, pool in ((first[3], place, PLACES), (first[4], time, TIMES))
    )
    told = tell(first, {}, rng)
    rows = (text(told, rng), text(tell((who, did, what, where, when), told, rng), rng))
    return {"first": rows[0], "second": rows[1], "label": float(score)}


FAMILY = Family("similarity", (("first", "first"), ("second", "second")), (), draw)
