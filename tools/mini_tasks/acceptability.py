"""Is a sentence well-formed English?

Sentences tell of gardens, families, schools and music. Rules mark the places where a learner may slip as
[right~wrong~wrong]; an unacceptable sentence takes one wrong form at one place of an otherwise right one: agreement
across other nouns, the form after an auxiliary, a doubled, missing or wrong function word, order, a reflexive, a
comparative, a preposition, a missing object. What is wrong in one rule is right in another and content words are
those of right sentences, so that words do not tell: the task asks about the form of a sentence and never about what
it says, and is the one that is far from all others.
"""

import random
import re
from typing import Any

from tools.mini_tasks.family import Family
from tools.mini_tasks.grammar import Grammar, sentence

SPOT = re.compile(r"\[([^\[\]]*)\]")

FORMS = ("v", "vs", "vd", "vn", "ving")
VERBS = [  # base, third person, past, participle, -ing form; the past is never the participle
    ("draw", "draws", "drew", "drawn", "drawing"), ("choose", "chooses", "chose", "chosen", "choosing"),
    ("forget", "forgets", "forgot", "forgotten", "forgetting"), ("take", "takes", "took", "taken", "taking"),
    ("break", "breaks", "broke", "broken", "breaking"), ("hide", "hides", "hid", "hidden", "hiding"),
    ("steal", "steals", "stole", "stolen", "stealing"),
    ("give away", "gives away", "gave away", "given away", "giving away"),
    ("throw away", "throws away", "threw away", "thrown away", "throwing away"),
    ("shake", "shakes", "shook", "shaken", "shaking"),
    ("take apart", "takes apart", "took apart", "taken apart", "taking apart"),
]  # fmt: skip
DEGREES = ("adj", "er", "est")
ADJECTIVES = [
    ("old", "older", "oldest"), ("new", "newer", "newest"), ("small", "smaller", "smallest"),
    ("large", "larger", "largest"), ("heavy", "heavier", "heaviest"), ("cheap", "cheaper", "cheapest"),
    ("strange", "stranger", "strangest"), ("dark", "darker", "darkest"), ("light", "lighter", "lightest"),
    ("pretty", "prettier", "prettiest"), ("long", "longer", "longest"), ("ugly", "uglier", "ugliest"),
    ("clean", "cleaner", "cleanest"), ("plain", "plainer", "plainest"),
]  # fmt: skip

RULES = {
    "female": [
        "girl", "aunt", "grandmother", "sister", "queen", "mother", "daughter", "niece", "princess", "bride",
        "landlady",
    ],
    "male": [
        "boy", "uncle", "grandfather", "brother", "king", "father", "son", "nephew", "prince", "groom", "landlord",
    ],
    "anyone": [
        "teacher", "gardener", "neighbour", "pupil", "cousin", "violinist", "baker", "farmer", "singer", "doctor",
        "nurse", "painter", "drummer", "student", "conductor", "pianist", "visitor", "friend", "florist", "librarian",
        "caretaker", "guest",
    ],
    "girl": ["Anna", "Maria", "Ellen", "Ruth", "Clara", "Nora", "Julia", "Amina", "Laura", "Ines"],
    "boy": ["Tom", "Peter", "Omar", "Paul", "David", "Leo", "Felix", "Simon", "Hugo", "Ben"],
    "thing": [
        "guitar", "lamp", "basket", "drum", "kite", "violin", "chair", "flower pot", "rake", "ladder", "notebook",
        "pencil", "picture", "cushion", "flute", "trumpet", "blanket", "vase", "clock", "bicycle", "letter", "apple",
        "pumpkin", "rose", "bucket", "song book", "hat", "scarf", "schoolbag", "map", "mirror", "candle", "teapot",
        "spoon", "puppet", "necklace", "wheelbarrow", "poster", "tulip", "carrot", "cello", "piano stool", "ruler",
        "cake",
    ],
    "some": ["two", "three", "four", "ten", "many"],
    "month": ["May", "June", "Monday", "April", "last summer"],
    "place": [
        "garden", "kitchen", "school", "library", "hall", "garage", "attic", "classroom", "yard", "greenhouse",
        "park", "cellar", "orchard", "playground", "concert hall", "living room", "shed", "hallway", "music room",
        "village",
    ],
    "noise": ["noise", "rain", "heat", "concert", "wind", "lesson", "snow", "wedding", "exam", "party"],
    "fancy": [
        "expensive", "beautiful", "useful", "comfortable", "colourful", "delicate", "valuable", "elegant", "unusual",
        "fragile",
    ],
    "modal": ["will", "can", "must", "could", "should", "might", "would"],
    "person": ["{female}", "{male}", "{anyone}", "{anyone}"],
    "near": ["near", "behind", "under", "beside"],
    "near_who": ["behind", "next to", "beside"],
    "the": ["the", "the", "my", "our", "your", "their"],
    "she": ["{girl}", "{the} {female}", "the {female} from the {place}"],
    "he": ["{boy}", "{the} {male}", "the {male} from the {place}"],
    "plain": ["{girl}", "{boy}", "{the} {person}", "{the} {person}", "the {anyone} with the {thing}s"],
    "sg": [
        "{she}", "{he}", "{the} {anyone}", "[the {anyone}~{anyone}~the the {anyone}] from the {place}",
        "the {person} {near_who} the {anyone}s", "the {anyone} with the {thing}s", "this [{anyone}~{anyone}s]",
        "one of the [{anyone}s~{anyone}]", "every [{anyone}~{anyone}s]",
    ],
    "pl": [
        "the {anyone}s", "{the} {anyone}s", "{girl} and {boy}", "two [of the~the of~of] {anyone}s",
        "these [{anyone}s~{anyone}]", "the {anyone}s from the {place}", "the {anyone}s {near_who} {girl}",
        "both [{anyone}s~{anyone}]", "all the [{anyone}s~{anyone}]", "many [{anyone}s~{anyone}]",
        "the {anyone} and {boy}",
    ],
    "it": [
        "[the {adj}~{adj} the~the the {adj}~{adj}] {thing}", "the [{fancy} {thing}~{thing} {fancy}]",
        "the {thing} {near} the {thing}s", "this [{thing}~{thing}s]", "{she} 's {thing}",
        "one of the [{thing}s~{thing}]", "the {thing} that {pl} {vd} [~it]", "the {thing} [that~what~who] {sg} {vd}",
        "the {thing} on the [~the] {adj} chair", "a [very {adj}~{adj} very] {thing}",
    ],
    "them": [
        "the {thing}s", "the [{adj} {thing}s~{thing}s {adj}]", "these [{thing}s~{thing}]",
        "the {thing}s {near} the {thing}", "several [{thing}s~{thing}]", "the {thing}s [that~what~who] {sg} {vd}",
        "the {thing}s and the [{thing}~the {thing}]",
    ],
    "what": [
        "the {thing}", "the {adj} {thing}", "the {thing}s", "a {thing}", "{it}", "{them}", "two [{thing}s~{thing}]",
    ],
    "where": [
        "", "", "", "in the {place}", "[next to~next~to next] the {place}",
        "[in front of~in front~front of] the {place}", "[because of~because~of because] the {noise}",
        "[during~while] the {noise}", "[in spite of~in spite~spite of] the {noise}",
        "at the [end of~of end~end] the {noise}", "[in~in in] the {place}",
    ],
    "clause": [
        "{sg} [has {vn}~have {vn}~has {vd}~has {v}~has {ving}] {what} {where}",
        "{pl} [have {vn}~has {vn}~have {vd}~have {v}~have {ving}] {what} {where}",
        "{sg} [had already {vn}~already {vn} had~had already {vd}~had already {v}] {what}",
        "{sg} [does not {v}~do not {v}~does not {vs}~does not {vd}~not does {v}] {what} {where}",
        "{pl} [do not {v}~does not {v}~do not {vd}~do not {ving}~not do {v}] {what} {where}",
        "{sg} did not [{v}~{vd}~{vs}~to {v}] {what} {where}", "{pl} did not [{v}~{vd}~{vn}~{ving}] {what} {where}",
        "{sg} {modal} [{v}~to {v}~{vs}~{ving}~{vd}] {what} {where}",
        "{pl} {modal} [{v}~to {v}~{vn}~{ving}~{vd}] {what} {where}",
        "{sg} [is {ving}~are {ving}~be {ving}~is {v}~is {vs}] {what} {where}",
        "{pl} [are {ving}~is {ving}~be {ving}~are {v}~are {vd}] {what} {where}",
        "{sg} [was {ving}~were {ving}~was {vd}] {what} {where}",
        "{pl} [were {ving}~was {ving}~were {vd}] {what} {where}",
        "{it} [was {vn}~were {vn}~was {vd}~was {v}] by {pl} {where}",
        "{them} [were {vn}~was {vn}~were {vd}~were {v}] by {sg} {where}", "{it} [has~have] been {vn} by {sg}",
        "{them} [have~has] [been~be~being] {vn} by {sg}", "{sg} wants [to {v}~{v}~to {vs}~to {vd}~for {v}] {what}",
        "{pl} want [to {v}~{v}~to {ving}~to {vd}~for {v}] {what}", "{sg} enjoys [{ving}~{v}~of {ving}~{vd}] {what}",
        "{pl} [enjoy~enjoys] {ving} {what}", "{pl} [keep~keeps] {ving} {what}",
        "{pl} [depend on~depends on~depend of] the {anyone}", "{sg} [keeps~keep] {ving} {what}",
        "{sg} used [to {v}~{v}~to {vd}] {what} {where}", "{sg} lets {pl} [{v}~to {v}~{vs}~{ving}] {what}",
        "{pl} let {sg} [{v}~to {v}~{vs}~{vn}] {what}", "{sg} always [{vs}~{ving}~{vn}] {what}",
        "{pl} always [{v}~{vs}~{vn}] {what}", "{sg} {vd} {what} {where}", "{pl} {vd} {what} {where}",
        "{sg} {vs} {what} {where}", "{pl} {v} {what} {where}", "{she} hurt [herself~himself] {where}",
        "{he} hurt [himself~herself] {where}", "{she} looked at [herself~himself] in the mirror",
        "{he} looked at [himself~herself] in the mirror",
        "the {anyone}s blamed [themselves~himself~herself] for the {noise}",
        "the {anyone}s taught [themselves~himself~herself] to play the {thing}",
        "{he} taught [himself~herself~themselves] a song", "{she} taught [herself~himself~themselves] a song",
        "{it} is [{er}~more {er}~{est}~{adj}] than the {thing}",
        "{them} are [{er}~more {er}~{est}~{adj}] than the {thing}", "{it} is {er} [than~as~that~of] the {thing}",
        "{it} [is~are] as {adj} [as~than~that] the {thing}s",
        "{it} is [more {fancy}~most {fancy}~{fancy}~{fancy} more] than the {thing}",
        "{it} is the [{est}~more {est}~{er} of~most {er}] of all", "{them} are the [most~more] {fancy} of all",
        "{it} [is~are] [too {adj}~{adj} too] for {sg}", "{it} is so {adj} [that~than~as] nobody {vs} the {thing}",
        "{sg} listens [to~at~of] the {anyone}", "{sg} [depends on~depends of~depend on] the {anyone}s",
        "{sg} waits [for~of~to] {pl}", "{it} [belongs to~belongs of~belong to] {pl}",
        "{them} [belong to~belong at~belongs to] {sg}", "{sg} is afraid [of~from~to] the {thing}s",
        "{pl} are interested [in~to~at] the {thing}", "{sg} is proud [of~from~at] {pl}",
        "the {thing} is full [of~from~to] {thing}s", "{it} is similar [to~as~than] the {thing}",
        "{pl} insist [on~of~to] {ving} {what}", "{sg} put [the {thing}~] into the {adj} basket",
        "{pl} laughed [at~on~from] the {anyone}", "{sg} found [the {thing}~] in the {place}",
        "{pl} brought [the {thing}s~] from the {place}", "{sg} bought [a {thing}~] for {girl}",
        "{pl} fixed [the {thing}~] with a {thing}", "{sg} sent [{sub} a {thing}~a {thing} {sub}]",
        "there [is~are] a {thing} {near} the {thing}s", "there [are~is] two {thing}s {near} the {adj} {thing}",
        "there [was~were] no {thing} in the {place}", "each of the {thing}s [was~were] {adj}",
        "{it} [is~are] in the {place}", "{them} [are~is] in the {place}", "{it} [was~were] {near} the {thing}s",
        "{them} [were~was] {near} the {thing}", "{it} [looks~look] {adj}",
        "{them} [look~looks] [very {adj}~{adj} very]", "the [{anyone}s~{anyone}] helped each other {where}",
        "{sg} gave it to [him~he~she]", "{pl} waited for [us~we~our] {where}",
        "{she} lost [her~hers~she] {thing} {where}", "{he} lost [his~him~he] {thing} {where}",
        "{it} is [hers~her~she]", "{sg} gave [them~they] {what}", "{it} must [be~is~been] {adj}",
        "[I~me~my] {vd} {what} {where}", "{sg} liked it {where}", "{sg} showed [me~I] {what}",
        "[he~him~his] {vd} {what} {where}", "[she~her~hers] {vd} {what} {where}",
        "[they~them~their] {vd} {what} {where}", "[we~us~our] {modal} {v} {what}",
        "the {thing} stands between the {thing} [and~or~to] the {thing}",
        "{sg} has lived here [for~since] {some} years", "{sg} has lived here [since~for] {month}",
        "{sg} {vd} either the {thing} [or~and] the {thing}", "{sg} {vd} [both~either] the {thing} and the {thing}",
        "the {anyone} [who~which~what] {vd} {what} [is~are] {girl} 's {male}",
    ],
    "question": [
        "where [did {sub} put~{sub} did put~did {sub} puts~put {sub}] {what}",
        "why [is {sub} {ving}~{sub} is {ving}~are {sub} {ving}] {what}", "how many [{thing}s~{thing}] did {sg} {v}",
        "did {sg} [{v}~{vd}~{vs}] {what}", "have {pl} [{vn}~{vd}] {what}", "[does~do] {sg} {v} {what}",
        "[do~does] {pl} {v} {what}", "which [{thing} did~did {thing}] {sg} {v}", "how [old is~is old] {it}",
        "when will {sg} [{v}~{vs}~to {v}] {what}", "[who~whom] {vd} {what}",
        "what [has {sub} {vn}~{sub} has {vn}~have {sub} {vn}]", "[is~are] {it} {er} than the {thing}",
    ],
    "joint": [
        "{one}, and {two}", "{one} because {two}", "{sg} says that {one}", "{one}, but {two}",
        "although {one}, {two}", "{sg} knows that {one}", "{pl} think that {one}",
        "because {one}, {sub} [did not come~did not came~not come] home", "perhaps {one}",
        "{one} [while~during] {two}",
    ],
}  # fmt: skip
GRAMMAR = Grammar(RULES, (*FORMS, *DEGREES, "one", "two", "sub"))


def expand(rng: random.Random, symbol: str, **given: str) -> str:
    """`symbol` with a verb, an adjective and one plain person (`sub`) of its own; the places are still marked."""
    forms = zip(FORMS + DEGREES, rng.choice(VERBS) + rng.choice(ADJECTIVES), strict=True)
    return GRAMMAR.expand(symbol, rng, sub=GRAMMAR.expand("plain", rng), **dict(forms), **given)


def draw(rng: random.Random, code: int) -> dict[str, Any]:
    """A sentence that is wrong in one place (0) or right (1)."""
    text = ""
    while not SPOT.search(text):
        kind = rng.choice(("clause", "clause", "clause", "clause", "joint", "joint", "question"))
        parts = {part: expand(rng, "clause") for part in ("one", "two")} if kind == "joint" else {}
        text = expand(rng, kind, **parts)
    choices = [spot.split("~") for spot in SPOT.findall(text)]
    forms = [right for right, *_ in choices]
    if code == 0:
        place = rng.randrange(len(choices))
        forms[place] = rng.choice(choices[place][1:])
    rest = iter(forms)
    text = SPOT.sub(lambda _: next(rest), text).replace(" 's", "'s")
    return {"sentence": sentence(text + ("?" if kind == "question" else "")).replace(" ?", "?").replace(" ,", ",")}


FAMILY = Family("acceptability", (("sentence", "sentence"),), ("unacceptable", "acceptable"), draw)
