"""Which office of a town is a letter for: roads, waste, parks, water, noise or permits?

A letter says where its writer lives, what is the matter, and what should be done. Words alone mislead: half of all letters also
name another office, which was of help or is not meant, and places that several matters share.
"""

import random
from typing import Any

from tools.mini_tasks.family import Family
from tools.mini_tasks.grammar import Grammar, sentence

OFFICES = ("roads", "waste", "parks", "water", "noise", "permits")

RULES = {
    "street": [
        "Mill Lane", "Harbour Street", "Elm Row", "Station Road", "Castle Hill", "Long Acre", "Tanner Street",
        "Chapel Walk",
        "North Parade", "Orchard Way", "Bridge End", "Market Square",
    ],
    "when": [
        "since Monday", "for three weeks", "since the storm", "every night", "since the end of May",
        "for a whole month",
        "ever since the fair", "again since yesterday",
    ],
    "dear": ["dear sir or madam", "to the town hall", "good morning", "dear council", "hello", "dear mayor"],
    "live": [
        "I live in {street}", "my shop is in {street}", "we moved to {street} last year",
        "I write for the people of {street}",
        "my mother lives in {street}", "I walk along {street} every day",
    ],
    "bye": ["with kind regards", "thank you for your trouble", "yours faithfully", "I hope to hear from you", "many thanks"],
    "roads": [
        "the asphalt is full of holes {when}", "the traffic light at the corner is dark {when}",
        "the zebra crossing has worn away",
        "cars race through although it is a school street", "the kerb is broken and my wheelchair cannot pass",
        "the bus lane is blocked by parked vans", "a road sign has fallen over", "the pavement is slippery with ice",
    ],
    "roads_do": [
        "please mend the surface", "we need a speed bump", "please repaint the lines",
        "somebody should put the sign back",
        "please send the gritting lorry",
    ],
    "waste": [
        "the bins have not been emptied {when}", "somebody left an old sofa on the corner",
        "bags of rubbish pile up {when}",
        "the glass container overflows", "rats come to the rubbish", "the recycling lorry drove past us again",
        "our bin has lost its lid",
    ],
    "waste_do": [
        "please collect it", "please empty them twice a week", "we need a bigger bin",
        "please take the sofa to the dump",
        "when is the next collection?",
    ],
    "parks": [
        "the swing on the playground is broken {when}", "the hedges have not been cut {when}",
        "an old tree leans over the benches",
        "the flower beds are dry and full of weeds", "the football pitch is under mud",
        "dogs run free among the children on the grass",
        "the fountain garden is locked at noon",
    ],
    "parks_do": [
        "please send a gardener", "please repair the playground", "please cut the branches",
        "the grass should be mown",
        "new benches would be welcome",
    ],
    "water": [
        "no drop comes out of the tap {when}", "it tastes of rust {when}", "the pressure is too low for a shower",
        "a pipe has burst and the cellar is flooded", "the sewer smells {when}", "the drain overflows when it rains",
        "the meter shows twice what we use",
    ],
    "water_do": [
        "please repair the main", "please test what we drink", "somebody must clear the drain",
        "please read the meter again",
        "when will the supply be back?",
    ],
    "noise": [
        "the bar plays loud music until three {when}", "they drill on the building site at five in the morning",
        "the neighbours shout and bang doors {when}", "a dog barks all night", "the night club shakes our walls",
        "motorcycles roar below my window {when}", "the church loudspeaker wakes the baby",
    ],
    "noise_do": [
        "please make them keep quiet at night", "we cannot sleep any more", "please send somebody to measure it",
        "it must be silent after ten", "please tell them to turn it down",
    ],
    "permits": [
        "I want to build a porch onto the house", "we plan a street party in June",
        "I would like to put tables in front of my cafe",
        "I intend to open a small bakery", "we want to raise the roof by a floor",
        "the choir wishes to sing in the square",
        "I want to cut a door into the garden wall",
    ],
    "permits_do": [
        "which form do I have to fill in?", "am I allowed to do that?", "how long does the approval take?",
        "what does the licence cost?",
        "please tell me which papers you need",
    ],
    "other": [
        "the {helper} came quickly the last time", "I know that this is nothing for the {helper}",
        "the {helper} sent me to you",
        "my letter to the {helper} is another matter", "the {helper} did a fine job in spring",
    ],
    "helper": ["road crew", "bin men", "gardeners", "waterworks", "noise patrol", "permit desk"],
}  # fmt: skip
GRAMMAR = Grammar(RULES)


def draw(rng: random.Random, code: int) -> dict[str, Any]:
    """A letter to `OFFICES[code]`."""
    office = OFFICES[code]
    parts = [GRAMMAR.expand(office, rng)]
    if rng.random() < 0.8:
        parts.append(GRAMMAR.expand(f"{office}_do", rng))
    parts.insert(rng.randrange(2), GRAMMAR.expand("live", rng))
    if rng.random() < 0.5:
        parts.insert(rng.randrange(1, len(parts) + 1), GRAMMAR.expand("other", rng))
    if rng.random() < 0.5:
        parts.insert(0, GRAMMAR.expand("dear", rng))
    if rng.random() < 0.5:
        parts.append(GRAMMAR.expand("bye", rng))
    return {"text": " ".join(map(sentence, parts))}


FAMILY = Family("council", (("letter", "text"),), OFFICES, draw)
