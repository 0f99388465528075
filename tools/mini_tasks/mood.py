"""Was the writer of a diary of a voyage or an old-time journey glad or unhappy?

An entry is a heading, what is told of ship, company, victuals, weather, lodging or road, and the writer's own humour,
with a neutral remark now and then. Hardly any word decides alone: what is told stands under negation ("not a whit
wretched"), before a contrast (the clause after "yet" or "but" counts), as something dreaded or longed for that came
or never came, as the humour of somebody else, or as what was and is no more. It is `sentiment` in another world and
shares no word with it.
"""

import random
import re
from typing import Any

from tools.mini_tasks.family import Family
from tools.mini_tasks.grammar import Grammar, sentence

VESSELS = [
    "the {rig}", "our {rig}", "this {rig}", "the {rig} we have chartered", "the {rig} that bears us",
    "the {rig} they found for us",
]  # fmt: skip
RIGS = ["brig", "schooner", "packet", "whaler", "frigate", "barque", "sloop", "galleon", "lugger", "clipper", "caravel"]
FOLK = [
    "boatswain", "quartermaster", "purser", "helmsman", "muleteer", "postilion", "chaplain", "governess",
    "interpreter", "cooper", "midshipman", "sailmaker", "missionary", "commodore", "stowaway", "drover", "sutler",
    "apothecary", "carter", "lamplighter", "pilgrim", "harpooner", "friar", "notary",
]  # fmt: skip
FARE = [
    "the hardtack", "the gruel", "the grog", "the salted mutton", "the pottage", "the ration of lentils",
    "the porridge", "the turtle broth", "the pemmican", "the barley water", "the claret", "the gingerbread",
    "the herring", "the oatcake",
]  # fmt: skip
SKY = ["the zephyr", "the firmament", "the climate of this gulf", "the monsoon", "the breeze", "the latitude"]
BERTHS = [
    "my hammock", "the hostelry", "the caravanserai", "my berth", "the steerage", "the cuddy", "the posthouse",
    "my bunk", "the monks' dormitory", "the forecastle", "the goatherd hut", "the yurt",
]  # fmt: skip
ROADS = [
    "the turnpike", "the mule track", "the stagecoach", "the sledge", "the causeway", "the portage",
    "the caravan trail", "the passage of the strait", "the ascent to the monastery", "the palanquin",
]  # fmt: skip
PLACES = [
    "Madeira", "Lisbon", "the Azores", "Tenerife", "Valparaiso", "Zanzibar", "Macao", "Batavia", "Saint Helena",
    "Cadiz", "the Faroes", "Archangel", "Tasmania", "Muscat", "Goa", "Samarkand", "Trebizond", "Palermo",
]  # fmt: skip
OMENS = {
    "bode+": [
        "rescue", "truce", "jubilee", "reprieve", "favouring tide", "haul of limes", "pardon", "despatch boat", "thaw",
        "banquet ashore", "haul of mullet", "minuet on deck", "rendezvous with our consort", "homeward convoy",
    ],
    "bode-": [
        "shipwreck", "mutiny", "hurricane", "ambush", "bout of ague", "whirlpool", "pestilence", "flogging",
        "sandstorm", "plague of rats", "quarantine", "raid by corsairs", "bout of scurvy", "dismasting",
    ],
}  # fmt: skip
QUALITIES = {
    "vessel+": ["seaworthy", "trim", "stout", "staunch", "nimble", "shipshape", "steadfast", "handsome"],
    "vessel-": ["leaky", "worm-eaten", "sluggish", "ramshackle", "waterlogged", "rickety", "barnacled", "foundering"],
    "folk+": [
        "gallant", "jovial", "benevolent", "stalwart", "magnanimous", "chivalrous", "forbearing", "trusty", "kindly",
    ],
    "folk-": [
        "cantankerous", "churlish", "tyrannical", "quarrelsome", "insolent", "boorish", "treacherous", "spiteful",
        "sullen",
    ],
    "fare+": ["toothsome", "wholesome", "bounteous", "nourishing", "fortifying", "luscious"],
    "fare-": ["mouldy", "weevilly", "rancid", "maggoty", "putrid", "brackish"],
    "sky+": ["balmy", "propitious", "serene", "clement", "benign"],
    "sky-": ["pitiless", "tempestuous", "dismal", "unpropitious", "raw"],
    "berth+": ["snug", "commodious", "well caulked", "homely", "fragrant with cedar"],
    "berth-": ["verminous", "squalid", "fetid", "dank", "infested"],
    "road+": ["unhindered", "picturesque", "level", "leisurely", "exhilarating"],
    "road-": ["perilous", "miry", "bone-shaking", "impassable", "wearisome"],
    "humour+": [
        "blithe", "buoyant", "merry", "jubilant", "gleeful", "elated", "sprightly", "exultant", "mirthful", "joyous",
        "radiant", "carefree", "jocund", "enraptured",
    ],
    "humour-": [
        "downcast", "forlorn", "despondent", "wretched", "disconsolate", "melancholy", "woebegone", "lugubrious",
        "crestfallen", "dejected", "doleful", "mournful", "sorrowful", "desolate", "woeful",
    ],
    "deed+": [
        "I warbled in the rigging", "I danced a hornpipe", "I thanked Providence", "I chuckled till my ribs ached",
        "I tossed my bonnet to the gulls", "I hummed psalms till dusk", "I whistled at the pump",
        "I drank to our fortune", "I blessed my embarking", "I embraced the very mules",
    ],
    "deed-": [
        "I wept into my bolster", "I groaned till cockcrow", "I sobbed in the orlop", "I cursed my embarking",
        "I mourned my own hearth", "I lay and sighed till dusk", "I hid my tears beneath my bonnet",
        "I prayed to be put ashore", "I bewailed my lot", "I could not eat for grief",
    ],
    "regret+": [
        "I do not repent of embarking", "I rejoice", "I do not despair", "Providence beams upon me", "all is bliss",
        "my fortune is not to be mourned", "I cannot despair",
    ],
    "regret-": [
        "I repent of embarking", "I despair", "I do not rejoice", "Providence has no pity upon me", "all is misery",
        "my fortune is to be mourned", "I cannot rejoice",
    ],
}  # fmt: skip

# Rules for either mood: `@` stands for the mood of the entry, `~` for the other one.
MOODS = {
    "entry@": [
        *["{tale@}"] * 12, *["{tale@}|{feeling@}"] * 16, *["{feeling@}, for {told@}"] * 8, "{feeling@}, although {told~}",
        "{told~}, and yet {self@}", "{told~}, yet {told@}, and so {self@}", "though {told~}, {self@}",
        "{tale~}|for all that, {self@}", "{others~}, but {self@}", "{others~}, whereas {self@}",
        "{others~}|{contrary}", "{others@}|{accord}", "{past~}; but now {now@}", "{past~}|{turned}",
        "{past@}|{stayed}", "{hearsay~}|{false}", "{hearsay@}|{true}", "{hearsay~}; contrariwise, {told@}",
        "{hearsay~}|{false}, and {self@}", "{omen@}", "{omen@}|{self@}", "{omen~}, yet {self@}",
        "{regret@}, though {told~}", "{told~}, but {regret@}", "{unreal~}",
    ],
    "tale@": ["{told@}, and {told@}", "{told@}", "{told@}|moreover, {told@}", "{told@}; likewise, {told@}"],
    "told@": [*["{affirmed@}"] * 5, "{denied@}"],
    "affirmed@": [
        "{vessel} {was} {vessel@}", "the {folk} {was} {folk@}", "{fare} {was} {fare@}", "{sky} {was} {sky@}",
        "{berth} {was} {berth@}", "{road} {was} {road@}", "the {folk} {was} {folk@} and {folk@}",
        "{fare} {was} {fare@}",
    ],
    "denied@": [
        "{vessel} {never} {vessel~}", "the {folk} {never} {folk~}", "{fare} {never} {fare~}", "{sky} {never} {sky~}",
        "{berth} {never} {berth~}", "{road} {never} {road~}", "the {folk} {be} neither {folk~} nor {folk~}",
        "{fare} {be} neither {fare~} nor {fare~}",
    ],
    "feeling@": ["{self@}", "{self@}", "{deed@}", "{deed@}, and {self@}", "{regret@}"],
    "self@": [*["{humoured@}"] * 4, "{deed@}", "{unlike@}"],
    "now@": ["{humoured@}", "{unlike@}"],
    "humoured@": [
        "I am {humour@}", "I am {humour@} indeed", "I own myself {humour@}", "nobody aboard is more {humour@} than I",
        "seldom was I so {humour@}", "I am both {humour@} and {humour@}",
    ],
    "unlike@": [
        "I {never_am} {humour~}", "nobody aboard is less {humour~} than I", "seldom was I less {humour~}",
        "it would be false to call me {humour~}", "I feel neither {humour~} nor {humour~}",
    ],
    "others@": [
        "the {folk} is {humour@}", "the {folk} and the {folk} are {humour@}", "all others aboard are {humour@}",
        "my kinsman, who voyages with us, is {humour@}", "my kinsman at {place} writes that he is {humour@}",
    ],
    "past@": [
        "off {place} I was {humour@}", "a sennight since, I was {humour@}", "when we weighed anchor I was {humour@}",
        "until {place} I had been {humour@}", "while we lay off {place} I was {humour@}",
        "before the equator I was {humour@}",
    ],
    "hearsay@": [
        "the {folk} avowed that {told@}", "at {place} they vowed that {told@}", "a pamphlet had it that {told@}",
        "I had presumed that {told@}", "the {folk} prophesied a {bode@}",
    ],
    "omen@": [
        "a {bode@} has befallen us", "the {bode@} prophesied by the {folk} has befallen us",
        "no {bode~} ever befell us", "the {folk} prophesied a {bode~}, but it never befell us",
        "the {folk} prophesied a {bode@}, and it befell us at cockcrow",
        "a {bode~} was prophesied at {place}, but all we met with was a {bode@}",
        "we met with no {bode~} off {place}",
    ],
    "unreal@": [
        "were it not that {told~}, I should be {humour@}; as it is, {now~}",
        "were I the {folk}, I should be {humour@}; being myself, {now~}",
        "a letter of mine from {place} speaks of me as {humour@}|I meant not a syllable of it, for {self~}",
    ],
}  # fmt: skip
RULES = {
    "vessel": VESSELS, "rig": RIGS, "folk": FOLK, "fare": FARE, "sky": SKY, "berth": BERTHS, "road": ROADS,
    "place": PLACES,
    "was": ["is", "is", "was", "is verily", "is ever", "is indeed", "has become"],
    "be": ["is", "was", "has been"],
    "never": [
        "is not a whit", "is anything but", "was never once", "is not in the least", "was not at all", "is nowise",
    ],
    "never_am": ["am not a whit", "am anything but", "am not in the least", "am not at all", "am nowise"],
    "contrary": [
        "with me it is altogether otherwise", "my own humour is the very reverse",
        "I alone cannot partake of that humour",
    ],
    "accord": ["with me it is the same", "my own humour is the very same", "I too partake of that humour"],
    "turned": ["that humour has forsaken me", "since then my humour has veered about", "I am so no more"],
    "stayed": ["that humour has not forsaken me", "my humour has not veered since", "I am so still"],
    "false": ["it was all falsehood", "the very reverse is so", "not a syllable of it was so", "it was false"],
    "true": ["it was no falsehood", "nor was it otherwise", "every syllable of it was so", "it was so indeed"],
    "heading": [
        "at anchor off {place}", "{feast} sabbath aboard", "latitude forty, breeze {wind}",
        "written by lantern off {place}", "{nth} sennight out of {place}", "in the roads of {place}",
        "{nth} encampment beyond {place}", "becalmed off {place}",
    ],
    "nth": ["first", "third", "last"],
    "feast": ["Lenten", "Advent", "Whitsun", "Michaelmas", "Trinity", "Epiphany"],
    "wind": ["aft", "abeam", "veering", "to larboard", "dying away"],
    "remark": [
        "we sighted {bird} to leeward", "the {folk} counted {stores}", "sounded in {depth} fathoms",
        "I scoured my {kit}", "the {folk} scoured his {kit}", "reefed the mizzen at noontide",
        "the {folk} discoursed of {place}", "we signalled to a {rig} bound for {place}",
        "the {folk} bartered {stores} for {stores}", "we stowed {stores}",
    ],
    "stores": ["casks", "buttons", "tallow", "hawsers", "muskets", "indigo", "sailcloth", "oakum", "nutmeg", "candles"],
    "kit": ["ink-horn", "spyglass", "sextant", "sea-chest", "pannikin", "sandals", "compass"],
    "depth": ["twenty", "forty", "sixty", "fifteen"],
    "bird": ["a petrel", "two gannets", "an albatross", "a cormorant", "some porpoises", "a frigate under sail"],
    "text": [
        "{body}", "{body}", "{heading}|{body}", "{heading}|{body}", "{body}|{remark}", "{remark}|{body}",
        "{heading}|{remark}|{body}",
    ],
}  # fmt: skip


def _both() -> dict[str, list[str]]:
    """The rules and words of both moods under names that end in + or -."""
    rules = {**RULES, **QUALITIES, **OMENS}
    for symbol, options in MOODS.items():
        for mood, other in ("+-", "-+"):
            rules[symbol.replace("@", mood)] = [option.replace("@", mood).replace("~", other) for option in options]
    return rules


LONG = re.compile(r"[a-z-]{5,}")
GRAMMAR = Grammar(_both(), given=("body",))


def draw(rng: random.Random, code: int) -> dict[str, Any]:
    """An entry whose writer was unhappy (0) or glad (1)."""
    while True:
        body = GRAMMAR.expand("entry" + "-+"[code], rng)
        text = GRAMMAR.expand("text", rng, body=body)
        words = LONG.findall(text)
        if len(set(words)) == len(words):  # nothing is told twice
            return {"text": " ".join(sentence(part) for part in text.split("|"))}


FAMILY = Family("mood", (("diary", "text"),), ("unhappy", "glad"), draw)
