"""What does a customer who writes to a shop want: money back, a parcel, access, an end, a bill, or something mended?

A message names a thing and what happened to it, and says what its writer wants; the label is the want. Words alone mislead:
half of all messages also name another matter that is settled, or a want that the writer does not have, and what happened (a
broken lamp, a late parcel) fits several wants.
"""

import random
from typing import Any

from tools.mini_tasks.family import Family
from tools.mini_tasks.grammar import Grammar, sentence

WANTS = ("refund", "delivery", "login", "cancel", "invoice", "repair")

RULES = {
    "thing": [
        "lamp", "kettle", "headset", "office chair", "tent", "camera", "electric razor", "bookshelf",
        "vacuum cleaner", "toaster",
        "keyboard", "raincoat", "monitor", "coffee grinder", "backpack", "garden hose", "desk fan", "tablet",
        "bicycle pump",
        "sewing machine", "bread maker", "speaker", "watch", "mattress", "blender",
    ],
    "plan": [
        "monthly plan", "subscription", "membership", "yearly plan", "magazine order", "coffee box", "streaming plan",
        "premium account",
    ],
    "when": [
        "last Tuesday", "on the third of May", "two weeks ago", "yesterday", "in March", "a month ago",
        "last weekend",
        "on Friday", "right after Easter", "at the start of the month",
    ],
    "number": ["4471", "20983", "7716", "31205", "558", "9034", "12760", "86411", "6602", "47019"],
    "hello": [
        "hello", "hi there", "good morning", "dear team", "hi", "to whom it may concern", "good evening", "hey",
        "dear sir or madam",
    ],
    "bye": [
        "thanks", "thank you", "best wishes", "kind regards", "many thanks in advance", "please answer soon",
        "I look forward to your answer", "cheers", "let me know what you need from me",
    ],
    "bought": [
        "I bought a {thing} from you {when}", "my order {number} was a {thing}", "{when} I ordered a {thing}",
        "this is about the {thing} from order {number}", "I am writing about my {thing}, order {number}",
    ],
    "broke": [
        "it stopped working after a day", "it makes a strange noise", "one part came off", "it will not switch on",
        "the surface is scratched", "it is not what the picture shows", "it gets far too hot",
        "it does not fit my needs",
    ],
    # what is wanted
    "refund": [
        "{bought}|{broke}|{refund_want}", "{bought}|{refund_want}", "{broke_it}|{refund_want}",
        "{refund_want}|{bought}",
        "I sent the {thing} back {when}|{refund_wait}", "you charged me twice for the {thing}|{refund_want}",
    ],
    "refund_want": [
        "I would like my money back", "please return what I paid", "please send the amount back to my card",
        "I want to be paid back in full", "when will I get my money back?", "how do I get back what I paid?",
    ],
    "refund_wait": [
        "the money has not come back yet", "I still wait for the amount",
        "nothing has been paid back to my card so far",
        "I have not seen my money since",
    ],
    "delivery": [
        "{bought}|{delivery_ask}", "{delivery_ask}|{bought}",
        "{bought}|it should have been here {when}|{delivery_ask}",
        "the tracking page of order {number} has not changed since {when}|{delivery_ask}",
        "{delivery_ask}|the order is {number}",
    ],
    "delivery_ask": [
        "where is my parcel?", "when will it get here?", "has it been sent at all?", "the parcel has not arrived",
        "the courier left nothing at my door", "can you tell me which day it comes?", "it never reached my address",
        "please bring it to my office, not to my flat",
    ],
    "login": [
        "{login_what}|{login_ask}", "{login_what}", "{login_ask}|{login_what}",
        "I wanted to look at order {number}|{login_what}",
        "I have a new phone since {when}|{login_what}",
    ],
    "login_what": [
        "your site says that my password is wrong", "the code for signing in never comes",
        "I cannot get into my account",
        "my account is locked after three tries", "the link for a new password does nothing",
        "I forgot which address I signed up with",
        "it asks for a password that I never chose", "the app throws me out as soon as I sign in",
    ],
    "login_ask": [
        "how do I get in again?", "please let me back in", "can you reset it?", "please unlock it",
        "what can I do to sign in?",
    ],
    "cancel": [
        "{cancel_ask}", "I have had the {plan} since {when}|{cancel_ask}",
        "{cancel_ask}|my customer number is {number}",
        "I no longer use the {plan}|{cancel_ask}",
        "{bought}, but it has not left your store yet|please do not send it|{stop}",
        "I am moving abroad|{cancel_ask}",
    ],
    "cancel_ask": [
        "I want to end my {plan}", "please stop the {plan} at the end of the month",
        "how do I get out of the {plan}?",
        "please do not renew my {plan}", "I wish to give up the {plan}", "take me off the {plan}, please",
    ],
    "stop": ["I have changed my mind", "I do not need it any more", "please call the order off", "I found one elsewhere"],
    "invoice": [
        "{bought}|{invoice_ask}", "{invoice_ask}|the order is {number}", "{invoice_ask}|{invoice_why}",
        "{bought}|{invoice_why}|{invoice_ask}",
        "{invoice_why}|{invoice_ask}",
    ],
    "invoice_ask": [
        "please send me the bill", "I need a receipt", "can I have the bill as a file?",
        "the bill has the wrong address",
        "please put the name of my company on the bill", "the tax number is missing on my receipt",
        "where can I download the bill?", "please write the receipt again",
    ],
    "invoice_why": [
        "my accountant asks for it", "my company pays for it", "I need it for my taxes",
        "the insurer wants to see it",
        "it is for my employer",
    ],
    "repair": [
        "{bought}|{broke}|{repair_ask}", "{broke_it}|{repair_ask}", "{repair_ask}|{broke_it}",
        "{broke_it}|{repair_ask}|the order is {number}",
        "my {thing} is under warranty|{broke}|{repair_ask}",
    ],
    "repair_ask": [
        "can you mend it?", "I would like to have it mended", "where can I send it to be fixed?",
        "please fix it for me",
        "how much would it cost to fix?", "do you have a spare part for it?", "could a technician look at it?",
    ],
    "broke_it": [
        "my {thing} stopped working after a day", "my {thing} makes a strange noise", "the {thing} lost a part",
        "my {thing} will not switch on", "the {thing} gets far too hot", "the {thing} from {when} is cracked",
    ],
    # what is not wanted, or settled
    "settled_refund": ["the money for the other order is back, thank you", "I do not ask for my money back"],
    "settled_delivery": ["everything arrived on time", "the parcel itself was here in two days"],
    "settled_login": ["my password works again, by the way", "signing in is no problem"],
    "settled_cancel": ["I do not want to end my {plan}", "I will keep the {plan}"],
    "settled_invoice": ["I already have the bill", "the receipt came by mail, that is fine"],
    "settled_repair": ["the {thing} that you mended last year runs well", "nothing needs to be fixed"],
}  # fmt: skip
GRAMMAR = Grammar(RULES)
CLASH = {("refund", "settled_repair"), ("repair", "settled_repair"), ("cancel", "settled_cancel"), ("login", "settled_login"),
         ("delivery", "settled_delivery"), ("invoice", "settled_invoice"), ("refund", "settled_refund")}  # fmt: skip


def draw(rng: random.Random, code: int) -> dict[str, Any]:
    """A message whose writer wants `WANTS[code]`."""
    want = WANTS[code]
    parts = [GRAMMAR.expand(want, rng)]
    if rng.random() < 0.5:
        others = [f"settled_{other}" for other in WANTS if other != want and (want, f"settled_{other}") not in CLASH]
        parts.insert(rng.randrange(2), GRAMMAR.expand(rng.choice(others), rng))
    if rng.random() < 0.5:
        parts.insert(0, GRAMMAR.expand("hello", rng))
    if rng.random() < 0.5:
        parts.append(GRAMMAR.expand("bye", rng))
    return {"text": " ".join(sentence(part) for part in "|".join(parts).split("|"))}


FAMILY = Family("support", (("message", "text"),), WANTS, draw)
