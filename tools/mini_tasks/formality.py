"""Is a message among colleagues, neighbours, clients or officials formal or informal?

The same matters (a report, a key, a noisy drill, a meeting moved) are put either way: full forms, modal and passive
against contractions, dropped subjects and slang. Words alone mislead: in half of all messages either kind quotes the
other, in frames that both share, and the voice of the writer counts, not the one in quotation marks; a casual message
may be polite, long or borrow formal words in jest; a formal one may be short and plain.
"""

import random
from typing import Any

from tools.mini_tasks.family import Family
from tools.mini_tasks.grammar import Grammar, sentence

RULES = {
    "item": [
        "the report", "the memo", "the lease", "the floor plan", "the invoice", "the agenda", "the parking permit",
        "the contract", "the survey", "the timetable", "the tax form", "the insurance form", "the guest list",
        "the budget", "the reference", "the translation", "the application form", "the receipt", "the draft",
        "the meter log", "the cost estimate", "the price list", "the roster", "the questionnaire", "the itinerary",
        "the certificate",
    ],
    "event": [
        "the meeting", "the inspection", "the interview", "the training", "the hearing", "the fire drill",
        "the audit", "the site visit", "the assembly", "the budget review", "the workshop", "the handover",
        "the open day", "the appraisal", "the auction", "the farewell lunch", "the board meeting",
    ],
    "trouble": [
        "the lift", "the boiler", "the front gate", "the printer", "the drain", "the intercom", "the hall light",
        "the fence", "the projector", "the doorbell", "the heating", "the server", "the roof", "the bicycle rack",
        "the washing machine", "the car park barrier",
    ],
    "noise": [
        "the drilling", "the barking", "the loud music", "the hammering", "the shouting", "the alarm",
        "the building work",
    ],
    "group": [
        "the council", "the landlord", "the tax office", "the housing office", "the bank", "the committee",
        "head office", "the insurer", "the registry", "the library", "the surveyor", "the school board",
        "the water company", "the personnel department",
    ],
    "when": [
        "on Monday", "on Tuesday", "on Thursday", "on Friday", "tomorrow", "this afternoon", "next week", "at noon",
        "on the fifth", "tonight", "at the end of the month", "in the morning", "after the holidays",
    ],
    "by": [
        "by Monday", "by Friday", "by noon", "by tomorrow", "by the tenth", "before the weekend",
        "by the end of the month",
    ],
    "place": [
        "the front desk", "room twelve", "the second floor", "the town hall", "the main office", "the back yard",
        "the canteen",
    ],
    "pal": ["mate", "folks", "guys", "buddy", "team", "everyone", "Sam", "Kim", "Alex", "Robin", "neighbour"],
    "title": [
        "Sir or Madam", "Ms Palmer", "Mr Novak", "Dr Lindgren", "colleagues", "residents", "Professor Adeyemi",
        "members",
    ],
    # formal
    "dear": ["Dear {title},", "Dear {title},", "To the residents:", "Good morning,", "For the attention of {group}:"],
    "signed": [
        "Yours faithfully", "Yours sincerely", "With kind regards", "I thank you for your attention",
        "We await your reply", "Thank you for your patience", "We remain at your disposal",
    ],
    "f_ask": [
        "I would be grateful if you could send me {item} {by}", "please return {item} to {place} {by}",
        "may I ask you to bring {item} {when}?", "we kindly request that {item} be submitted {by}",
        "would you be so kind as to forward {item} {by}?", "you are required to sign {item} {by}",
        "I should like to borrow {item} {when}, if that is convenient", "{item} must be handed in at {place} {by}",
        "it would be appreciated if {item} could be left at {place}", "please confirm that you have received {item}",
        "could you kindly let me know whether {item} has arrived?", "we ask that all of you read {item} {by}",
    ],
    "f_tell": [
        "we regret to inform you that {event} has been postponed", "please note that {event} will take place {when}",
        "I am writing to inform you that {trouble} is out of order",
        "please be advised that {trouble} will be repaired {when}",
        "kindly note that {event} has been moved to {place}", "I regret that I am unable to attend {event} {when}",
        "I wish to apologise for the delay with {item}", "we have not yet received {item}",
        "I must complain about {noise}", "{noise} has caused considerable disturbance",
        "you are invited to attend {event} {when}", "we are pleased to accept your proposal concerning {event}",
        "I wish to thank you for your help with {item}", "{item} has been forwarded to {group}",
        "owing to {noise}, {event} will begin later than planned", "I do not agree with {group} on this matter",
        "I am afraid that I have mislaid {item}", "{item} does not contain the figures that we discussed",
        "we cannot grant your request",
    ],
    # informal
    "hey": [
        "hey {pal},", "hi {pal}!|", "hiya,", "oi {pal},", "morning {pal}!|", "right {pal},", "ok so", "yo,",
        "heya {pal},",
    ],
    "bye": [
        "cheers!", "ta!", "see ya", "thanks a bunch!", "you're a star!", "love ya", "catch you later",
        "no rush though", "talk soon, yeah?",
    ],
    "c_ask": [
        "can you shoot me {item} {by}?", "gimme {item} {by}, will you", "any chance you've got {item}?",
        "need {item} {by}, ok?", "could you be a dear and drop {item} off at {place}?",
        "mind if I grab {item} {when}?", "where's {item} got to?", "don't forget {item}, yeah?",
        "just stick {item} on my desk", "pretty please bring {item} {when}, I'd owe you one",
        "you done with {item} yet?", "wanna swap {item} {when}?", "send {item} over whenever, no biggie",
        "can't find {item}, seen it anywhere?", "let me know if {item} turned up, won't you?",
    ],
    "c_tell": [
        "{event}'s off, sorry!", "looks like {event}'s {when} now", "{trouble}'s bust again, ugh",
        "they're gonna fix {trouble} {when}", "can't make {event}, got stuck with {item}",
        "so sorry, totally forgot about {item}", "still haven't got {item}", "{noise}'s driving me nuts",
        "you coming to {event} {when}? It'll be fun", "yep, count me in for {event}",
        "thanks loads for sorting {item}", "chucked {item} over to {group}",
        "we're kicking off {event} a bit late 'cause of {noise}", "don't buy what {group} said, no way",
        "oops, I've gone and lost {item}", "{item}'s missing a ton of stuff", "nope, can't do that, sorry",
        "gotta run, {trouble}'s playing up", "guess who's stuck at {event} again",
    ],
    "c_jest": [
        "I hereby declare {event} a total snooze, let's skip it",
        "pursuant to my empty tummy, let's ditch {event} and grab a bite",
        "kindly get your feet off my desk, you muppet, and bring {item}",
        "I regret to inform you that {trouble}'s toast, haha", "esteemed colleague, shift your bum, {event}'s on",
        "would you be so kind as to quit moaning about {noise}, lol",
    ],
    "c_long": [
        "so I was gonna bring {item} round {when} but then {trouble} went and died on me",
        "I'd love to help with {item}, honest, but I'm kind of swamped till {event}",
        "sorry for being a pain, but you couldn't have a quick look at {item}, could you?",
        "thank you so, so much for {item}, you've saved my bacon",
        "been meaning to ask, d'you reckon {group} will bother with {trouble} or shall we just do it ourselves?",
        "I know you're busy and all, but {noise}'s kept us up all night and we're a bit fed up",
    ],
    "f_core": ["{f_ask}", "{f_tell}"],
    "c_core": ["{c_ask}", "{c_tell}"],
    "f_body": ["{f_core}", "{f_core}", "{f_core}", "{f_core}|{f_core}"],
    "c_body": ["{c_core}", "{c_core}", "{c_core}|{c_core}", "{c_core}|{c_jest}", "{c_long}"],
    "formal": ["{f_body}", "{f_body}", "{dear} {f_body}", "{f_body}|{signed}", "{dear} {f_body}|{signed}"],
    "formal_brief": ["{f_core}", "{f_core}", "{dear} {f_core}", "{f_core}|{signed}"],
    "informal_brief": ["{c_core}", "{c_core}|{c_jest}", "{hey} {c_core}", "{c_core}|{bye}", "{c_long}"],
    "informal": ["{c_body}", "{c_body}", "{hey} {c_body}", "{c_body}|{bye}", "{hey} {c_body}|{bye}"],
    # around what somebody else said
    "frame": [
        "{source} {says}: {quote}|{own}", "{source} {says}: {quote}|{own}", "{own}|{source} {says}: {quote}",
        "{own}|{quote} is what {source} {says}", "{quote} is what {source} {says}|{own}",
    ],
    "source": [
        "the letter from {group}", "the sign at {place}", "the note at {place}", "the message from {group}",
        "the answer from {group}", "the caller from {group}", "the poster at {place}", "the email about {event}",
        "the neighbour", "the new clerk", "my colleague",
    ],
    "says": ["says", "said", "still says", "said yesterday", "simply says"],
}  # fmt: skip
GRAMMAR = Grammar(RULES, ("own", "quote"))


VOICES = ("informal", "formal")


def spoken(text: str) -> str:
    """The parts of `text` as sentences."""
    return " ".join(sentence(part) for part in text.split("|"))


def draw(rng: random.Random, code: int) -> dict[str, Any]:
    """An informal (0) or a formal (1) message."""
    text = GRAMMAR.expand(VOICES[code], rng)
    if rng.random() < 0.5:
        own, other = (GRAMMAR.expand(f"{VOICES[voice]}_brief", rng) for voice in (code, 1 - code))
        text = GRAMMAR.expand("frame", rng, own=own, quote=f'"{spoken(other)}"')
    text = spoken(text).replace('." is', '" is')
    for mark in ".!?":  # one end mark
        text = text.replace(f'{mark}".', f'{mark}"')
    return {"text": text}


FAMILY = Family("formality", (("message", "text"),), ("informal", "formal"), draw)
