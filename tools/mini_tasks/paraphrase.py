"""Do two sentences from offices, railways, deliveries and repairs say the same?

A sentence frame has places to fill (who, what, when, how many) and several wordings, some of them for the contrary. A
pair of the same meaning takes the filled frame in two wordings, each with its own synonyms, dates and numbers spelled
anew. A pair of different meaning does likewise, but two fillers have changed places, one is another, or one wording is
for the contrary. Word overlap is high in both classes, and both sentences are drawn alike, so only reading the two
against each other tells.
"""

import random

from cpeft.tasks.base import PLACEHOLDER
from tools.mini_tasks.family import Family
from tools.mini_tasks.grammar import Grammar, sentence

DIFFERENT = 0
Fill = tuple[str, ...]  # one thing, person, day or number in all its spellings


def listed(text: str) -> list[Fill]:
    return [tuple(entry.split("=")) for entry in text.split(", ")]


ORDINALS = listed(
    "1=first, 2=second, 3=third, 4=fourth, 5=fifth, 6=sixth, 7=seventh, 9=ninth, 10=tenth, 12=twelfth, 20=twentieth"
)
MONTHS = ("January", "March", "April", "May", "June", "August", "October", "November")
HOURS = ("six", "seven", "eight", "nine", "ten", "eleven", "twelve", "one")
QUARTERS = (":00={} o'clock", ":15=quarter past {}", ":30=half past {}", ":45=quarter to {next}")
POOLS: dict[str, list[Fill]] = {
    "person": listed(
        "clerk=office clerk, caretaker=janitor, secretary, technician, receptionist, trainee=apprentice, engineer, "
        "dispatcher, ticket inspector, stationmaster, storeman=warehouseman, lorry driver=truck driver, plumber, "
        "electrician, locksmith, glazier, architect, supplier, customer=client, tenant=lodger, landlady, "
        "carpenter=joiner, decorator, surveyor, lawyer=solicitor, typist, archivist, foreman, signalman, courier, "
        "department head=head of department, cleaner, intern"
    ),
    "paper": listed(
        "parcel=package, invoice=bill, contract=agreement, spare key=extra key, form, report, floor plan, "
        "estimate=quote, timetable=schedule, receipt, envelope, folder=binder, price list, toolbox, memo, "
        "laptop=notebook computer, application, certificate, questionnaire, work plan, ID card=identity card, expense "
        "claim, guest list"
    ),
    "machine": listed(
        "lift=elevator, photocopier=copying machine, printer, boiler, tap=faucet, radiator, ceiling light, roller "
        "blind, coffee machine=coffee maker, door lock, escalator=moving staircase, ticket machine, fuse box, drain, "
        "projector, air conditioner=air-conditioning unit, telephone=phone, intercom, alarm, dishwasher, shredder, "
        "forklift=forklift truck"
    ),
    "room": listed(
        "meeting room=conference room, basement=cellar, canteen=staff restaurant, kitchen, attic, archive, warehouse, "
        "mail room=post room, workshop, waiting room, lobby=entrance hall, car park=parking garage, cloakroom, "
        "stairwell"
    ),
    "town": listed(
        "Aldham, Brookfield, Carston, Denby, Elmford, Fenwick, Garbury, Holtby, Kelham, Linton, Norwell, Redmill, "
        "Stanmoor, Thornley, Westcote, Upfield"
    ),
    "meeting": listed(
        "staff meeting=meeting of the staff, job interview, fire drill, inspection, training course, "
        "stocktaking=inventory, audit, site visit, handover, presentation=talk, video call=video conference, "
        "rehearsal, safety briefing, office party"
    ),
    "service": listed(
        "express bus, night train=overnight train, tram=streetcar, underground=metro, coach, taxi=cab, courier "
        "service, goods train=freight train, minibus, company car, rail replacement bus, local train=stopping train"
    ),
    "item": listed(
        "chairs, desks, screws, light bulbs, filing cabinets, notepads=writing pads, batteries, bins=wastebaskets, "
        "padlocks, cartridges, window panes, tiles, hinges, screwdrivers, cables, pallets, overalls=boiler suits, "
        "stamps, keyboards"
    ),
    "deed": listed(
        "rang the bell, locked the gate, left the building=went out of the building, switched off the power=turned "
        "off the power, called the office=phoned the office, signed for the goods, opened the hatch, stopped the "
        "lift=halted the lift, started the engine, cancelled the order=called off the order, unloaded the van=emptied "
        "the van, drained the pipes, lost the ticket, moved the ladder=shifted the ladder, changed the password, "
        "found the leak=discovered the leak"
    ),
    "errand": listed(
        "wait for, call=phone, pick up=collect, help=lend a hand to, look for=search for, drive, pay, relieve"
    ),
    "day": [
        *listed("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday"),
        *((f"{n} {month}", f"{month} {n}", f"the {nth} of {month}") for n, nth in ORDINALS for month in MONTHS),
    ],
    "hour": [
        (f"{n}{form[:3]}", form[4:].format(HOURS[n - 6], next=HOURS[n - 5])) for n in range(6, 13) for form in QUARTERS
    ],
    "number": listed(
        "3=three, 4=four, 5=five, 6=six, 7=seven, 8=eight, 9=nine, 10=ten, 11=eleven, 12=twelve, 20=twenty"
    ),
    "amount": listed(
        "3=three, 4=four, 5=five, 6=six, 8=eight, 10=ten, 12=twelve=a dozen, 20=twenty, 24=two dozen, 40=forty"
    ),
    "wait": listed(
        "30 minutes=half an hour, 15 minutes=a quarter of an hour, 60 minutes=one hour, 120 minutes=two hours, 10 "
        "minutes=ten minutes, 20 minutes=twenty minutes, 5 minutes=five minutes, 90 minutes=an hour and a half"
    ),
    "span": listed(
        "2 weeks=two weeks=a fortnight, 12 months=one year, 6 months=half a year, 3 months=three months, 24 "
        "months=two years, 18 months=a year and a half, 3 years=three years=36 months, 5 years=five years, 10 "
        "years=ten years=a decade"
    ),
}

# Wordings || wordings for the contrary || places that may change over. A place is a pool, with a, b or c before it.
FRAMES = (
    "the {a person} {sent} the {paper} to the {b person} on {day} | on {day}, the {a person} {sent} the {b person} "
    "the {paper} | the {paper} was {sent} to the {b person} by the {a person} on {day} | the {b person} was {sent} "
    "the {paper} by the {a person} on {day} | on {day}, the {b person} {got} the {paper} from the {a person} || || "
    "a person/b person",
    "the {a person} {a deed} before the {b person} {b deed} | before the {b person} {b deed}, the {a person} {a deed} "
    "| the {b person} {b deed} after the {a person} {a deed} | first the {a person} {a deed}, {then} the {b person} "
    "{b deed} | the {a person} {a deed}; {later} the {b person} {b deed} || the {a person} {a deed} after the "
    "{b person} {b deed} | first the {b person} {b deed}, {then} the {a person} {a deed} | after the {b person} "
    "{b deed}, the {a person} {a deed} | before the {a person} {a deed}, the {b person} {b deed} || "
    "a person/b person, a deed/b deed",
    "because the {a person} {a deed}, the {b person} {b deed} | the {b person} {b deed} because the {a person} "
    "{a deed} | the {a person} {a deed}; {thus} the {b person} {b deed} | the {a person} {a deed}, so the {b person} "
    "{b deed} | the reason why the {b person} {b deed} was that the {a person} {a deed} || because the {b person} "
    "{b deed}, the {a person} {a deed} | the {a person} {a deed} because the {b person} {b deed} | the {b person} "
    "{b deed}; {thus} the {a person} {a deed} | the {b person} {b deed}, so the {a person} {a deed} || "
    "a person/b person, a deed/b deed",
    "the {meeting} was {moved} from {a day} to {b day} | the {meeting} will {happen} on {b day} instead of {a day} | "
    "instead of {a day}, the {meeting} will {happen} on {b day} | the {meeting}, first planned for {a day}, is now on "
    "{b day} | the {meeting} is on {b day} now and not on {a day} any more || || a day/b day",
    "the {hour} train from {a town} to {b town} {leaves} from platform {number} | at {hour}, the train to {b town} "
    "leaves {a town} from platform {number} | from platform {number} in {a town}, a train {leaves} for {b town} at "
    "{hour} | passengers from {a town} to {b town} should take the {hour} train from platform {number} | the train to "
    "{b town} that {leaves} from {a town} at {hour} is on platform {number} || || a town/b town",
    "the {person} {fixed} the {machine} in the {room} on {day} | the {machine} in the {room} was {fixed} by the "
    "{person} on {day} | on {day}, the {person} got the {machine} in the {room} working again | it was the {person} "
    "who {fixed} the {machine} in the {room} on {day} || the {person} could not {fix} the {machine} in the {room} on "
    "{day} | on {day}, the {person} {failed} to {fix} the {machine} in the {room} | the {machine} in the {room} could "
    "not be {fixed} by the {person} on {day} ||",
    "the {a person} {checked} the {a machine} and the {b person} the {b machine} | the {a machine} was {checked} by "
    "the {a person} and the {b machine} by the {b person} | the {b person} {checked} the {b machine}, while the "
    "{a person} {checked} the {a machine} | it was the {b person} who {checked} the {b machine}; the {a person} "
    "{checked} the {a machine} || || a machine/b machine, a person/b person",
    "the {room} is open to the {person} on {day} | on {day}, the {person} may use the {room} | on {day}, the {room} "
    "is not {shut} to the {person} | the {person} is {allowed} to use the {room} on {day} || the {room} is {shut} to "
    "the {person} on {day} | on {day}, the {person} may not use the {room} | on {day}, the {room} is not open to the "
    "{person} | the {person} is not {allowed} to use the {room} on {day} ||",
    "from {a town} to {b town}, the {a service} is cheaper than the {b service} | the {b service} from {a town} to "
    "{b town} costs more than the {a service} | the {a service} from {a town} to {b town} does not cost as much as "
    "the {b service} | going from {a town} to {b town} by {b service} is {dearer} than by {a service} || from "
    "{a town} to {b town}, the {a service} is {dearer} than the {b service} | the {b service} from {a town} to "
    "{b town} costs less than the {a service} | going from {a town} to {b town} by {b service} is cheaper than by "
    "{a service} || a service/b service",
    "from {a town} to {b town}, the {a service} is faster than the {b service} | the {b service} from {a town} to "
    "{b town} takes {more} than the {a service} | the {b service} from {a town} to {b town} is not as fast as the "
    "{a service} | going from {a town} to {b town} by {b service} is slower than by {a service} || from {a town} to "
    "{b town}, the {a service} is slower than the {b service} | the {a service} from {a town} to {b town} takes "
    "{more} than the {b service} | going from {a town} to {b town} by {b service} is faster than by {a service} || a "
    "service/b service",
    "{nobody} {but} the {person} asked for the {paper} on {day} | the {person} was the only one to ask for the "
    "{paper} on {day} | apart from the {person}, {nobody} asked for the {paper} on {day} | on {day}, only the "
    "{person} asked for the {paper} || {everybody} {but} the {person} asked for the {paper} on {day} | the {person} "
    "was the only one not to ask for the {paper} on {day} | apart from the {person}, {everybody} asked for the "
    "{paper} on {day} ||",
    "the {person} ordered {a amount} {a item} and {b amount} {b item} | {a amount} {a item} and {b amount} {b item} "
    "were ordered by the {person} | the {person} placed an order for {b amount} {b item} and {a amount} {a item} | "
    "what the {person} ordered was {b amount} {b item} and {a amount} {a item} || || a amount/b amount",
    "the {person} needs the {paper} by {day} | the {paper} must reach the {person} no later than {day} | {day} is the "
    "last day for giving the {person} the {paper} | the {person} cannot take the {paper} after {day} || the {person} "
    "cannot take the {paper} before {day} | {day} is the first day for giving the {person} the {paper} | the {paper} "
    "must reach the {person} no earlier than {day} ||",
    "the {service} from {town} {came} {wait} late on {day} | on {day}, the {service} from {town} had a delay of "
    "{wait} | on {day}, it was {wait} after the {proper} time when the {service} from {town} {came} || the {service} "
    "from {town} {came} {wait} early on {day} | on {day}, the {service} from {town} was {wait} ahead of {time} | on "
    "{day}, it was {wait} before the {proper} time when the {service} from {town} {came} ||",
    "the {a person} asked the {b person} to {errand} the {c person} | the {b person} was asked by the {a person} to "
    '{errand} the {c person} | "Please {errand} the {c person}," the {a person} said to the {b person} | at the '
    "request of the {a person}, the {b person} was to {errand} the {c person} || the {a person} asked the {b person} "
    "not to {errand} the {c person} | the {b person} was asked by the {a person} not to {errand} the {c person} | "
    '"Please do not {errand} the {c person}," the {a person} said to the {b person} || a person/b person, b person/c '
    "person, a person/c person",
    "the {a person} is standing in for the {b person} on {day} | on {day}, the {b person} is being replaced by the "
    "{a person} | on {day}, the {a person} is doing the work of the {b person} | on {day}, the {b person} has the "
    "{a person} as a {substitute} || || a person/b person",
    "the {machine} in the {room} has a {guarantee} of {span} | the {guarantee} on the {machine} in the {room} lasts "
    "{span} | for {span}, the {machine} in the {room} is under {guarantee} | the {guarantee} on the {machine} in the "
    "{room} ends after {span} || ||",
    "the {a person} owes the {b person} {number} pounds | the {b person} is owed {number} pounds by the {a person} | "
    "the {a person} {still} has to pay the {b person} {number} pounds | the {b person} {still} has to get {number} "
    "pounds from the {a person} || || a person/b person",
    "the {person} works in the {room} from {a hour} to {b hour} | the {person}'s shift in the {room} begins at "
    "{a hour} and ends at {b hour} | from {a hour} to {b hour}, the {person} is on duty in the {room} | the {person} "
    "{starts} work in the {room} at {a hour} and {stops} at {b hour} || || a hour/b hour",
)
SYNONYMS = {
    "sent": "sent, mailed, forwarded", "got": "got, received, obtained", "then": "then, and then, and later on",
    "later": "later on, after that, afterwards", "thus": "that is why, for this reason, therefore",
    "moved": "moved, shifted, rescheduled", "happen": "take place, be held, happen",
    "leaves": "leaves, departs, sets off", "fixed": "repaired, fixed, mended", "fix": "repair, fix, mend",
    "failed": "failed, was unable, was not able", "checked": "checked, inspected, examined, tested",
    "shut": "closed, shut, barred", "allowed": "allowed, permitted", "dearer": "dearer, more expensive",
    "more": "longer, more time", "nobody": "nobody, no one", "everybody": "everybody, everyone", "but": "but, except",
    "came": "came, arrived", "proper": "proper, scheduled, planned", "time": "time, schedule",
    "substitute": "substitute, stand-in, replacement", "guarantee": "guarantee, warranty", "still": "still, even now",
    "starts": "starts, begins", "stops": "stops, finishes, leaves off",
}  # fmt: skip
GRAMMAR = Grammar({symbol: words.split(", ") for symbol, words in SYNONYMS.items()})


def changed(rng: random.Random, fills: dict[str, Fill], swaps: str) -> dict[str, Fill]:
    """The fills with two of them changed over, or one of them replaced."""
    if swaps and rng.random() < 0.2:
        one, two = rng.choice(swaps.split(", ")).split("/")
        return fills | {one: fills[two], two: fills[one]}
    slot = rng.choice(list(fills))
    return fills | {slot: rng.choice([fill for fill in POOLS[slot.split()[-1]] if fill not in fills.values()])}


def draw(rng: random.Random, code: int) -> dict[str, str]:
    """A pair of sentences of the same frame; `code` 1: of the same meaning."""
    *sides, swaps = rng.choice(FRAMES).split("||")
    pools = {slot: slot.split()[-1] for slot in PLACEHOLDER.findall(sides[0]) if slot.split()[-1] in POOLS}
    drawn = {pool: rng.sample(POOLS[pool], 3) for pool in dict.fromkeys(pools.values())}
    fills = other_fills = {slot: drawn[pool].pop() for slot, pool in pools.items()}
    side = other = rng.choice((0, 1)) if sides[1].strip() else 0
    if code == DIFFERENT:
        if sides[1].strip() and rng.random() < 0.3:
            other = 1 - side
        else:
            other_fills = changed(rng, fills, swaps.strip())
    first = second = ""
    while first == second:
        first, second = worded(rng, sides[side], fills), worded(rng, sides[other], other_fills)
    return {"first": first, "second": second}


def worded(rng: random.Random, wordings: str, fills: dict[str, Fill]) -> str:
    """The filled frame in one of the wordings."""
    wording = rng.choice(wordings.split(" | ")).strip()
    return sentence(GRAMMAR.fill(wording, rng, **{slot: rng.choice(fill) for slot, fill in fills.items()}))


FIELDS = (("first", "first"), ("second", "second"))
FAMILY = Family("paraphrase", FIELDS, ("different", "same"), draw)
