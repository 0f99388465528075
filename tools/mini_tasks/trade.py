"""Which trade does a caller need: a plumber, an electrician, a painter, a gardener, a locksmith or a roofer?

A message says where in the house something is wrong and what; the label is the trade that mends it, which is never named.
"""

import random
from typing import Any

from tools.mini_tasks.family import Family
from tools.mini_tasks.grammar import Grammar, sentence

TRADES = ("plumber", "electrician", "painter", "gardener", "locksmith", "roofer")

RULES = {
    "room": ["kitchen", "bathroom", "hall", "cellar", "bedroom", "guest room", "laundry", "study", "nursery"],
    "since": ["since Monday", "since the storm", "for two weeks", "since last night", "again", "since we moved in", "for days"],
    "whose": ["my", "our", "my mother's", "my neighbour's", "the tenant's"],
    "hello": [
        "hello", "good morning", "hi there", "dear team", "good evening", "I found you in the phone book",
        "a friend gave me your number",
    ],
    "bye": [
        "when could somebody come?", "please call me back", "thank you", "how much would that cost?", "I am at home all day",
        "is there a free slot this week?", "it is rather urgent", "many thanks",
    ],
    # what is wrong
    "plumber": [
        "the tap in the {room} drips {since}", "the sink in the {room} is blocked", "there is a puddle under {whose} washbasin",
        "{whose} toilet keeps running", "no hot water comes out of the shower {since}", "a pipe in the {room} has burst",
        "the drain in the {room} smells {since}", "the water pressure in the {room} is too low",
        "the washing machine cannot be connected to the pipe", "the bath empties slowly {since}",
    ],
    "electrician": [
        "the socket in the {room} gives sparks", "the lights in the {room} flicker {since}",
        "the fuse blows as soon as I turn on the oven", "the switch in the {room} is dead {since}",
        "there is no power in the {room}", "{whose} doorbell does not ring {since}",
        "I want a lamp put up on the ceiling of the {room}", "a cable hangs out of the wall in the {room}",
        "I got a shock from the light switch in the {room}", "we need two more sockets in the {room}",
    ],
    "painter": [
        "the walls of the {room} should be white again", "the colour flakes off {whose} window frames",
        "we want the {room} in a light blue", "the wallpaper in the {room} comes off {since}",
        "there are stains all over the walls of the {room}", "{whose} garden fence needs a fresh coat",
        "the ceiling of the {room} has turned yellow", "the front of {whose} house looks grey and needs a new colour",
        "the old varnish on the doors should go", "somebody has sprayed letters on {whose} wall",
    ],
    "gardener": [
        "{whose} hedge has grown over the path", "the lawn is full of moss {since}", "an apple tree must be cut back",
        "weeds have taken over {whose} flower beds", "{whose} roses look ill {since}", "the grass stands knee-high",
        "I would like new bushes along the drive", "leaves lie everywhere in {whose} yard",
        "{whose} vegetable patch should be dug over", "a branch of the old oak hangs over the street",
    ],
    "locksmith": [
        "I have locked myself out", "the key broke off in {whose} front door", "{whose} son has lost all keys",
        "the door of the {room} cannot be opened {since}", "somebody broke in and the front door no longer shuts",
        "{whose} safe will not open", "the key to the {room} turns round and round",
        "we moved in and want new keys for all doors",
        "the door fell shut and the key is inside", "the bolt of the {room} door is stuck {since}",
    ],
    "roofer": [
        "tiles came down in the storm", "it rains into {whose} attic {since}", "the gutter hangs loose {since}",
        "{whose} chimney has a crack", "there is a hole above the attic where the wind blows in",
        "moss covers the tiles up there", "some slates are missing {since}", "the snow has bent {whose} gutter",
        "the skylight leaks {since}", "the flat top of {whose} garage lets the rain through",
    ],
}  # fmt: skip
GRAMMAR = Grammar(RULES)


def draw(rng: random.Random, code: int) -> dict[str, Any]:
    """A message whose writer needs `TRADES[code]`."""
    parts = [GRAMMAR.expand(TRADES[code], rng)]
    if rng.random() < 0.6:
        parts.insert(0, GRAMMAR.expand("hello", rng))
    if rng.random() < 0.7:
        parts.append(GRAMMAR.expand("bye", rng))
    return {"text": " ".join(map(sentence, parts))}


FAMILY = Family("trade", (("message", "text"),), TRADES, draw)
