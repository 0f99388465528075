"""Which section of a newspaper does a news item belong to: sports, business, science, weather or arts?

An item has one piece of news, told in its main clause, and something from another section in a minor role: a storm on
the same day, a sister who plays in the cup final, a banker who comments. Any piece of news can serve as such an aside,
with all its words. So what is said in the main clause decides, and not which words occur.
"""

import random

from tools.mini_tasks.family import Family
from tools.mini_tasks.grammar import Grammar, sentence

WORDS = ("sports", "business", "science", "weather", "arts")

KINDS = {  # who or what the news of a section is about, each with "... act" in the rules; people first
    "sports": (("player", "racer", "coach"), ("team", "match")),
    "business": (("owner", "employee"), ("firm", "firm", "deal")),
    "science": (("physicist", "biochemist", "thinker"), ("experiment", "trial", "method")),
    "weather": (("forecaster", "forecaster"), ("storm", "storm", "air")),
    "arts": (("writer", "musician", "painter", "performer"), ("show",)),
}
FIXED = ("team", "match", "deal", "air", "show")  # always "the"

RULES = {
    # sports
    "player": "striker | goalkeeper | midfielder | hockey player | volleyball player | full-back | winger | substitute",
    "player act": "scored twice in the {match} | was sent off in the {match} | missed a penalty in the {match} | "
    "limped out of the {match} | equalised in the {match} | received a yellow card in the {match}",
    "racer": "sprinter | cyclist | swimmer | rower | gymnast | wrestler | fencer | hurdler | skier | javelin thrower",
    "racer act": "won the {round} | lost the {round} | came second in the {round} | set a club record in the {round} | "
    "pulled out of the {round} | earned a medal in the {round} | trained for the {round}",
    "coach": "football coach | team manager | trainer | referee",
    "coach act": "was booed during the {match} | left the pitch before the end of the {match} | "
    "praised the defence after the {match} | changed the line-up for the {match} | resigned after the {match}",
    "team": "home team | hockey club | relay team | youth squad | visiting side | rugby team | reserve team",
    "team act": "won the {match} | lost the {match} | drew the {match} | reached the {match} | failed to qualify for "
    "the {match} | dominated the {match} | led at half-time in the {match}",
    "match": "cup final | derby | league match | play-off | quarter-final | friendly | return match | opening match",
    "match act": "ended in a draw | was decided on penalties | went into extra time | was won by the {team} | "
    "was lost by the {team} | had to be replayed | saw a goal by the {player}",
    "round": "championship | time trial | qualifying round | indoor tournament | indoor final | decathlon",
    # business
    "owner": "banker | stockbroker | company director | brewer | wholesaler | manufacturer | landlord | retailer",
    "owner act": "bought a {firm} | sold a {firm} to a rival | took over a {firm} | invested in a {firm} | "
    "bid for shares in a {firm} | was appointed to the board of a {firm} | founded a {firm} | lent money to a {firm}",
    "employee": "accountant | sales manager | tax consultant | trade unionist | auditor | bookkeeper",
    "employee act": "called for talks at the {firm} | found an error in the accounts of the {firm} | negotiated a pay "
    "rise at the {firm} | lost a job at the {firm} | rejected an offer from the {firm} | checked the debts of the "
    "{firm}",
    "firm": "bank | insurance company | furniture maker | bakery chain | paper mill | brewery | car maker | bus "
    "company | supermarket | textile factory | phone company | travel agency | shoe manufacturer",
    "firm act": "cut {many} jobs | raised its prices | reported record profits | bought a rival | opened a second "
    "factory | lost its largest order | hired {many} apprentices | went bankrupt | cut its dividend | doubled its "
    "sales",
    "deal": "takeover of the {firm} | auction of the {firm} | share sale of the {firm} | merger of two {trade} firms",
    "trade": "software | packaging | freight | clothing | advertising",
    "deal act": "cost {many} million | was approved by the investors | fell through over the price | was settled in "
    "court | saved {many} jobs | pleased the creditors",
    # science
    "physicist": "physicist | chemist | laser engineer | crystal researcher | materials scientist",
    "physicist act": "measured {matter} with a {tool} | discovered how {matter} can be stored | repaired a {tool} | "
    "cooled {matter} to almost absolute zero | built a {tool} that detects {matter} | simulated {matter} on a computer",
    "biochemist": "biochemist | geneticist | immunologist | cell biologist | virologist",
    "biochemist act": "tested a vaccine against {illness} | found a gene linked to {illness} | "
    "isolated {cell} in a laboratory | developed a blood test for {illness} | described the structure of {cell}",
    "thinker": "mathematician | psychologist | statistician | logician | neuroscientist",
    "thinker act": "published a theory of {theory} | refuted a theory of {theory} | repeated an experiment on "
    "{theory} | gave a lecture on {theory} | collected data on {theory}",
    "experiment": "experiment with a {tool} | computer model of {matter}",
    "experiment act": "confirmed a theory of {law} | gave no clear result | revealed an error in a theory of {law} | "
    "had to be repeated | contradicted a theory of {law} | ran in a laboratory",
    "trial": "clinical trial against {illness} | laboratory study of {cell}",
    "trial act": "gave no clear result | turned up {few} unknown molecules | failed for lack of data | "
    "confirmed the hypothesis of a {biochemist} | took {few} years to plan",
    "method": "blood test for {illness} | {tool} | diagnosis by computer",
    "method act": "worked for the first time in a laboratory | was tried out by a {physicist} | "
    "proved {few} times as exact as expected | was explained by a {biochemist} | failed in a clinical trial",
    "matter": "a rare isotope | single photons | a magnetic molecule | a cloud of electrons | a trapped atom | a "
    "polymer",
    "cell": "a protein | an enzyme | an antibody | nerve cells | a strand of DNA",
    "tool": "laser | electron microscope | particle detector | scanner | centrifuge | spectrometer",
    "theory": "memory | prime numbers | random networks | probability | perception | attention",
    "law": "magnetism | heat flow | electric charge | radioactivity | superconductors",
    "illness": "malaria | asthma | diabetes | measles | tuberculosis | migraine",
    # weather
    "forecaster": "forecaster | meteorologist | weather presenter",
    "forecaster act": "warned of a {storm} in the {region} | promised sunshine for the {region} | "
    "expected a {storm} over the {region} | predicted {many} degrees for the {region} | saw no sign of rain in the "
    "{region}",
    "storm": "thunderstorm | {strong} gale | cold front | heatwave | blizzard | hailstorm | {strong} downpour | "
    "{strong} frost | whirlwind | area of low pressure | belt of {strong} rain | blanket of fog | dry spell",
    "strong": "light | sudden | severe | late | brief | heavy",
    "storm act": "moved across the {region} | spread to the {region} | reached the {region} at dawn | "
    "left the {region} | lasted {few} hours in the {region} | died down in the {region} | surprised drivers in the "
    "{region}",
    "air": "temperature in the {region} | wind over the {region} | rainfall in the {region} | humidity in the {region}",
    "air act": "dropped overnight | rose to a record | fell slightly at dawn | increased after a {storm} | stayed the "
    "same",
    "region": "north | south | eastern valleys | capital | hills | border region | lowlands | west | upper valley | "
    "suburbs",
    # arts
    "writer": "novelist | poet | playwright | essayist | biographer",
    "writer act": "finished a {book} | signed copies of a {book} | won praise for a {book} | read from a {book} | "
    "dedicated a {book} to a {musician}",
    "book": "novel | tragedy | comedy | crime thriller | satire | volume of sonnets | fairy tale",
    "musician": "soprano | pianist | cellist | violinist | conductor | baritone | organist",
    "musician act": "rehearsed a {piece} | recorded a {piece} | played a {piece} without a break | composed a {piece} "
    "| gave a {piece} as an encore",
    "piece": "song cycle | sonata | string quartet | serenade | concerto | waltz",
    "painter": "painter | sculptor | photographer | engraver | illustrator",
    "painter act": "unveiled a portrait of a {writer} | exhibited {picture} | finished {picture} | gave {picture} to "
    "a gallery",
    "picture": "watercolours | etchings | charcoal drawings | theatre posters | pencil sketches | miniatures",
    "performer": "actress | ballerina | choreographer | film director | puppeteer | stage designer",
    "performer act": "won applause for a {play} | failed with a {play} | took a bow after a {play} | worked on a "
    "{play}",
    "play": "musical | silent film | ballet | puppet play | opera | operetta | pantomime",
    "show": "premiere of a {play} | dress rehearsal of a {play} | revival of a {play} | reading by the {writer}",
    "show act": "won over the critics | opened to long applause | was sold out | failed to move the audience | "
    "was repeated by popular demand",
    # second sentences about the news itself
    "sports more": "a {coach} spoke of a fair result | fans sang until midnight | training starts again on {day} | "
    "the league table is unchanged",
    "business more": "share prices rose by {many} percent | the {employee} was not surprised | the creditors meet on "
    "{day} | a {firm} may be the next",
    "science more": "the results appear in a journal | the data were checked by a {thinker} | a {biochemist} still has "
    "doubts | the next experiment starts on {day}",
    "weather more": "the wind turns to the {region} on {day} | the sky clears on {day} | a {storm} may follow on "
    "{day} | {day} will be mostly dry",
    "arts more": "critics were full of praise | the gala is on {day} | a {performer} called it a work of art | "
    "the audience asked for more",
    # where the aside comes in
    "plain": "{main} | on {day}, {main} | it was announced on {day} that {main}",
    "aside": "{main}, hours after {fact} | hours after {fact}, {main} | {main} on the day when {fact} | "
    "on the day when {fact}, {main} | {main} shortly before {fact} | shortly before {fact}, {main} | "
    "while people still talked of how {fact}, {main} | forget that {fact}: {main} | few noticed that {fact}, for "
    "{main} | {main}; that {fact} went almost unnoticed | {main}, according to the {stranger} who {stranger act} | "
    "{main}, to the surprise of the {stranger} who {stranger act} | as the {stranger} who "
    "{stranger act} was the first to hear, {main}",
    "apposition": "{subject}, a former {stranger}, {act} | {subject}, whose {relative} {stranger act}, {act} | "
    "{subject}, who once {stranger act}, {act} | {subject}, married to the {stranger} who {stranger act}, {act}",
    "relative": "sister | father | cousin | uncle | daughter | neighbour | brother | aunt",
    "few": "two | three | four | five | seven | nine",
    "many": "eleven | twelve | fifteen | twenty | thirty | forty",
    "day": "Monday | Tuesday | Wednesday | Thursday | Friday | Saturday | Sunday",
}
GIVEN = ("subject", "act", "main", "fact", "stranger", "stranger act")
GRAMMAR = Grammar({symbol: options.split(" | ") for symbol, options in RULES.items()}, GIVEN)


def told(rng: random.Random, kind: str, article: str = "the ") -> tuple[str, str]:
    """Somebody or something of this kind, and what happened."""
    if article and kind not in FIXED and rng.random() < 0.5:
        article = "a "
    return article + GRAMMAR.expand(kind, rng), GRAMMAR.expand(f"{kind} act", rng)


def draw(rng: random.Random, code: int) -> dict[str, str]:
    """A news item of section `code`, mostly with an aside from another."""
    own, other = WORDS[code], rng.choice([word for word in WORDS if word != WORDS[code]])
    people, things = KINDS[own]
    kind = rng.choice(people + things)
    subject, act = told(rng, kind)
    stranger, did = told(rng, rng.choice(KINDS[other][0]), "")
    fact = " ".join(told(rng, rng.choice(KINDS[other][0] + KINDS[other][1])))
    frame = rng.choice(("plain", *["apposition", "aside"] * 3) if kind in people else ("plain", *["aside"] * 6))
    given = {"stranger": stranger, "stranger act": did, "fact": fact, "subject": subject, "act": act}
    text = GRAMMAR.expand(frame, rng, main=f"{subject} {act}", **given)
    if rng.random() < 0.35:
        text += " / " + GRAMMAR.expand(f"{own} more", rng)
    return {"text": " ".join(sentence(part) for part in text.split(" / "))}


FAMILY = Family("topic", (("text", "text"),), WORDS, draw)
