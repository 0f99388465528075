"""Words in context: is an ambiguous word used in the same sense in two sentences about everyday people?

Each of more than fifty words has two senses far apart (no shades of one meaning) and four contexts for each, which vary
in their own words; a sentence puts a person, a time or a neutral clause around one of them. "Same" rows take two
different contexts of one sense, "different" rows one of each, so that neither the word nor one sentence tells anything
by itself: a reader must compare what the word means here and there.
"""

import random
import re
from typing import Any

from tools.mini_tasks.family import Family
from tools.mini_tasks.grammar import Grammar, sentence

# word: contexts of one sense // contexts of the other; (a|b) is one of a, b
SENSES = """
bank: sat on the (muddy|grassy) bank with a fishing rod; saw an otter run up the (far|steep) bank of the stream; swam
  from one bank to the other; tied the canoe to a tree on the bank // (borrowed|got) some money from the bank; had an
  account at a (small|new) bank; took the cheque to the bank; worked as a (clerk|cashier) in the bank
bat: saw a bat hang upside down in the (cave|barn); heard a bat squeak above the (roof|garden) at dusk; read about the
  ears and wings of a bat; found a sleeping bat in the attic // hit the ball with a (wooden|heavy) bat; swung the bat
  and missed; bought a new bat and a pair of gloves; broke a bat during the game of cricket
spring: planted the (peas|tulips) in early spring; waited for spring after a (long|cold) winter; loved the warm days of
  spring; left in spring and came back in autumn // heard a spring squeak inside the (mattress|sofa); replaced a
  (broken|rusty) spring in the clock; bent the steel spring with a pair of pliers; pressed the spring until it jumped
  out of the toy
bark: peeled the (rough|white) bark off the birch; saw a woodpecker tear the bark of an oak; cut two letters into the
  bark of a tree; found beetles under the bark of a (fallen|dead) pine // heard the (angry|loud) bark of a dog; taught
  the puppy not to bark at strangers; woke up because the neighbour's terrier began to bark; knew the poodle by its bark
match: lit the (candle|stove) with a match; struck a match in the dark; burnt a finger on a match; used the last match
  in the box // won the (chess|tennis) match in an hour; watched the football match with friends; missed the end of the
  match because of the rain; bought two tickets for the match
ring: wore a (gold|silver) ring on the left hand; lost the wedding ring in the sink; sold a ring with a small ruby;
  showed us a ring and a necklace // knocked the boxer out of the ring; saw two wrestlers climb into the ring; fought
  five rounds in the boxing ring; saw the boxers shake hands in the ring
pitch: ran onto the (muddy|green) pitch to play football; mowed the pitch before the game; carried the hurt player off
  the pitch; marked the pitch with white lines // sang the song at a (high|low) pitch; tuned the violin to the right
  pitch; spoke in a voice of a higher pitch; heard the pitch of the flute rise
seal: saw a seal (dive|swim) under the ice; fed the (young|grey) seal with herring; read about the whiskers of a seal;
  watched a seal sleep on the rocks // closed the letter with a wax seal; put the royal seal on the (treaty|deed); broke
  the wax seal of the envelope; pressed the seal into the hot wax
table: laid the table for (six|four) people; sat down at the (round|oak) table; spilled soup on the table; painted the
  legs of a table // found the (prices|numbers) in the table on page nine; added a row to the table of results; printed
  a table with three columns; copied the figures from the table in the report
draft: wrote a (first|rough) draft of the speech; sent the draft of the novel to a friend; changed two words in the
  draft; read a draft of the contract // felt a (cold|nasty) draft from the window; closed the door to stop the draft;
  caught a cold because of the draft; put a blanket against the draft under the door
crane: saw a crane spread its (grey|long) wings; painted a crane beside its nest; watched a crane catch a frog; counted
  the feathers of a crane // lifted the (beam|container) with a crane; drove a crane on the building site; saw a crane
  put the roof on the tower; repaired the motor of the crane
trunk: saw the elephant lift its trunk; fed peanuts to the elephant's trunk; was sprayed with water from the trunk of an
  elephant; drew an elephant with a (very|too) long trunk // packed the (coats|shirts) into a trunk; locked the trunk
  and carried it to the station; kept old letters in a leather trunk; sat on a trunk full of luggage
nail: cut the nail of the (thumb|little finger); painted each nail (red|pink); broke a nail while playing the guitar;
  bit a nail until it bled // hit the nail with a hammer; hung the (picture|mirror) on a rusty nail; pulled a nail out
  of the plank; bought a nail and some screws
palm: held a (coin|seed) in the palm of the hand; read the lines on the palm of a guest; had a blister on the left palm;
  hid the ticket in one sweaty palm // sat in the shade of a palm on the beach; climbed a (tall|bent) palm to pick
  coconuts; planted a palm in the desert; saw the leaves of a palm move in the wind
organ: played the organ in (church|chapel); tuned the pipes of an old organ; heard a hymn on the organ; learned both the
  organ and the piano // learned that the (liver|heart) is an organ; gave an organ to a sick patient; studied each organ
  of the body; knew which organ cleans the blood
pupil: taught a (shy|clever) pupil to read; gave the pupil good marks; saw a pupil raise a hand in class; was the best
  pupil in the school // saw the pupil of the eye shrink in the (sun|lamplight); looked at the pupil of the cat's eye;
  used eye drops to make the pupil wider; learned that the pupil lets light into the eye
letter: posted a letter to a (cousin|friend); waited for a letter from home; put a stamp on the letter; burned the love
  letter // wrote the letter B on the wall; learned the last letter of the alphabet; forgot a letter in a (long|hard)
  word; began every name with a capital letter
note: left a note on the (fridge|door); wrote a short note to the milkman; found a note under the pillow; passed a
  secret note in class // sang a (high|false) note; played the last note on the flute; held the note until the choir
  stopped; could not hit the top note of the song
mouse: saw a mouse nibble at the (cheese|bread); caught a mouse in a trap; heard a mouse run behind the wall; was afraid
  of the (tiny|grey) mouse and its long tail // clicked on the icon with the mouse; plugged the mouse into the computer;
  needed a new mouse for the (computer|laptop); moved the mouse to scroll down the page
board: sawed the (long|pine) board in half; nailed a board over the window; walked over the mud on a board; sanded a
  board for the shelf // was elected to the board of the company; asked the board to approve the budget; met the board
  of directors; resigned from the board after a vote
bill: paid the (electricity|plumber's) bill; asked the waiter for the bill; found a mistake in the bill; owed money for
  the bill of May // saw the duck open its (yellow|flat) bill; drew a bird with a hooked bill; watched a heron hold a
  fish in its bill; saw the pelican put its bill under a wing
club: joined a (chess|rowing) club; was a member of the club; paid the yearly fee of the club; met friends every week at
  the book club // was hit with a (heavy|wooden) club; swung a club at the (bear|wolf); carved a club out of a branch;
  carried a stone axe and a club
deck: shuffled the deck before dealing; lost the ace from a deck of cards; drew the queen of hearts from the deck;
  bought a (new|marked) deck for poker // stood on the deck of the ship; scrubbed the (wet|wooden) deck with the
  sailors; slept on deck under the stars; saw the captain cross the deck of the ferry
file: put the report into a (blue|thick) file; kept a file on each patient; looked for the file with the invoices; lost
  the file of the court case // smoothed the (iron|metal) edge with a file; used a file to sharpen the saw; bought a
  hammer, a file and a drill; rubbed the rust off with a file
fan: switched on the fan in the (hot|stuffy) room; sat in front of the fan to cool down; cleaned the blades of the fan;
  bought an electric fan // was a fan of the (band|team); wrote to the singer as a devoted fan; was a lifelong fan of
  football; saw a fan cheer at the concert
jam: spread (plum|cherry) jam on the bread; boiled berries to make jam; opened a jar of jam; ate pancakes with jam //
  sat in a (traffic|long) jam on the motorway; was late because of the jam on the road; drove around the jam near the
  bridge; waited in the car until the jam cleared
key: turned the key in the lock; lost the key of the (cellar|front door); had a spare key made; kept the car key in a
  pocket // pressed a black key on the piano; hit the wrong key while typing; cleaned each key of the keyboard; repaired
  the lowest key of the (organ|piano)
mint: put (fresh|chopped) mint into the tea; grew mint and parsley; smelled the mint in the garden; cooked lamb with
  mint // worked at the mint where coins are made; guarded the gold at the mint; stamped coins at the (royal|old) mint;
  brought silver to the mint to be made into coins
pen: signed the form with a (blue|cheap) pen; ran out of ink and borrowed a pen; wrote with a pen and not with a pencil;
  put the cap back on the pen // drove the (pigs|sheep) into the pen; repaired the fence of the pen for the goats;
  counted the lambs in the pen; fed the pigs in the pen
pipe: smoked a pipe after (dinner|work); filled the pipe with tobacco; lit a pipe and blew rings of smoke; kept tobacco
  and a pipe in one pocket // called the plumber about a leaking pipe; laid a (water|gas) pipe under the street; heard
  water run through the pipe; thawed the frozen pipe in the bathroom
plant: watered the (small|green) plant on the sill; pulled the plant out by its roots; bought a plant with yellow
  flowers; moved the plant into a bigger pot // built a (car|cement) plant outside the town; worked the night shift at
  the plant; closed the plant and sold the machines; was the manager of a chemical plant
plot: bought a plot of land by the lake; grew beans on a (small|rented) plot; built a hut on the plot next to the field;
  dug the soil of the plot // liked the plot of the (film|novel); found the plot hard to follow; told us the plot but
  not the ending; wrote a play with a clever plot
pool: dived into the (deep|cold) pool; swam ten lengths of the pool; took a towel to the pool; learned to swim in the
  pool // played pool in the bar; needed a cue and some chalk for pool; won a game of pool; put the black ball away and
  won at pool
port: sailed into the port before the storm; saw the ships leave the (busy|old) port; unloaded the freighter at the
  port; left port with the fleet // drank a glass of port after (dinner|cheese); opened a bottle of port; preferred port
  to red wine; tasted the sweet port from the cellar
rock: threw a rock into the (pond|lake); stumbled over a rock on the path; found a crab under a rock; broke the rock
  with a pickaxe // played rock on the (electric|old) guitar; listened to rock on the radio; danced to rock at the
  concert; sang in a rock band
scale: stepped on the bathroom scale; weighed the (flour|baby) on a scale; put a sack of potatoes on the scale; trusted
  the kitchen scale // scraped a (shiny|loose) scale off the fish; saw each scale of the snake shine; found a fish scale
  on the knife; looked at a lizard's scale under the lens
sentence: served a long sentence in prison; heard the judge read the sentence; got a (light|hard) sentence for theft;
  was set free at the end of the sentence // read the first sentence of the (story|essay); wrote a sentence without a
  verb; put a comma into the sentence; copied a sentence from the book
star: saw a bright star above the (hill|sea); looked at a star through the telescope; named the star next to the moon;
  steered the boat by a star // met the star of the (film|show); wanted to be a star in Hollywood; asked the star for an
  autograph; saw a television star at the airport
straw: drank the (lemonade|milkshake) through a straw; put a straw into the glass; sipped juice with a paper straw; blew
  bubbles into the milk with a straw // fed the horses and gave them fresh straw; slept on straw in the barn; made a
  roof out of straw; carried (dry|yellow) straw into the stable
suit: wore a (grey|dark) suit to the wedding; bought a suit and a tie; had the suit ironed; spilled wine on the new suit
  // brought a suit against the (landlord|company); won the suit in court; hired a lawyer for the suit; lost the suit
  and had to pay damages
tank: filled the tank with (petrol|water); kept fish in a glass tank; saw oil leak from the tank; cleaned the tank of
  the boiler // drove a tank in the war; saw the tank fire at the (enemy|fort); heard a tank roll over the battlefield;
  hid from the tank with the other soldiers
tie: wore a (silk|striped) tie with the shirt; loosened the tie around the neck; chose a red tie for the interview;
  spilled soup on the tie // ended the match in a tie; scored late to get a tie; watched the game end in a two-two tie;
  was not happy with a tie against the weaker team
toast: ate toast with (butter|honey) for breakfast; burned the toast; put cheese on the toast; made toast from old bread
  // raised a glass for a toast to the bride; gave a toast at the wedding; drank a (short|merry) toast to the winner;
  proposed a toast to the health of the host
wave: was knocked over by a (big|cold) wave; rode a wave on a surfboard; saw a wave break on the rocks; jumped over a
  wave at the beach // said goodbye with a wave of the hand; gave a (friendly|shy) wave from the train window; answered
  the greeting with a wave; stopped the taxi with a wave
yard: played ball in the (back|dusty) yard; chained the dog in the yard; parked the tractor in the yard; swept the
  leaves in the yard // bought a yard of (silk|cotton) cloth; cut a yard from the ribbon; moved the post one yard to the
  left; measured exactly a yard with the tape
ball: kicked the ball into the goal; threw a ball to the (dog|child); caught the ball with one hand; lost a ball in the
  bushes // danced all night at the (royal|grand) ball; wore new shoes to the ball; met the prince at the ball; hired an
  orchestra for the ball
bolt: saw a bolt of lightning strike the (oak|tower); watched a bolt flash across the stormy sky; heard thunder after
  the bolt; saw a bolt light up the clouds // tightened the bolt with a wrench; fastened the (wheel|shelf) with a bolt;
  lost the nut of a bolt; dropped a bolt while fixing the engine
bow: tied the ribbon in a (big|red) bow; wore a bow in the hair; wrapped the present and put a bow on it; undid the bow
  of the shoelace // shot an arrow with a bow; aimed the bow at the target; hunted deer with bow and arrow; pulled the
  string of the bow before shooting
calf: fed the calf with milk; saw a cow lick its calf; watched a (newborn|brown) calf stand up; led the calf back to the
  herd // pulled a muscle in the (left|right) calf; had a cramp in one calf after the run; wore boots up to the calf;
  rubbed the sore calf and the knee
chest: kept the (blankets|jewels) in a wooden chest; opened the lid of the chest; buried a chest full of gold; kept old
  coins in the chest // felt a pain in the chest; listened to the lungs in the chest; took a deep breath and filled the
  chest with air; was hit in the chest by a (snowball|ball)
court: was called to court as a witness; heard the lawyers speak in court; went to court over a (debt|divorce); told the
  court and the judge the truth // served the ball across the court; hired a (tennis|squash) court for an hour; threw
  the basketball across the court; fixed the net on the court
cell: looked at a (blood|skin) cell under the microscope; saw the cell divide into two; drew the wall of a plant cell;
  studied the nucleus of the cell // spent the night in a prison cell; was locked in a (dark|cold) cell by the guard;
  dug a tunnel out of the cell to escape; shared a cell with a thief
coach: thanked the coach after the (game|training); was the coach of the swimming team; heard the coach shout at the
  players; asked the coach for a rest // took the coach to the airport; missed the (early|last) coach to the coast;
  slept on the coach during the trip; got off the coach at the next stop
ruler: drew a straight line with a ruler; measured the (page|square) with a ruler; kept pencils and a ruler in the
  drawer; broke the plastic ruler // bowed before the ruler of the (empire|country); rebelled against the cruel ruler;
  hoped for a kinder ruler of the land; served the ruler as a minister
column: leaned against a (marble|stone) column of the temple; repaired the column that holds up the roof; hid behind a
  column in the church; carved a column for the palace // wrote a weekly column for the newspaper; read the
  (sports|gossip) column in the paper; sent an angry reply to the column in the magazine; was fired as the author of the
  column
"""
WORDS = {
    word: tuple(tuple(sense.split("; ")) for sense in senses.split(" // "))
    for word, senses in (line.split(": ") for line in SENSES.replace("\n  ", " ").strip().split("\n"))
}
CHOICE = re.compile(r"\(([^()]*)\)")

GRAMMAR = Grammar(
    {
        "row": (
            "{who} {it}", "{who} {it}", "{once}, {who} {it}", "{other} {said} that {who} {it}", "{truth} {who} {it}",
            "{who} {it}, and {other} {joined}", "{who}, who {it}, {is}", "it was {who} who {it}",
            "the {kind} {guest} {it}", "{once}, {who} from {town} {it}", "{who} {it}, although {other} {minded}",
        ),
        "who": ("my {kin}", "the {guest}", "the {kind} {guest}", "{name}", "{name}'s {kin}", "a {guest}"),
        "other": ("{name}", "my {kin}", "the {guest}", "everybody"),
        "kin": ("uncle", "aunt", "brother", "sister", "cousin", "father", "mother", "nephew", "niece", "grandfather"),
        "guest": (
            "neighbour", "dentist", "plumber", "nurse", "tailor", "waiter", "painter", "gardener", "secretary",
            "visitor", "farmhand", "student", "tourist", "widow", "butcher", "chemist", "soldier", "teacher",
        ),
        "kind": ("old", "young", "kind", "quiet", "tall", "new", "friendly", "tired", "famous", "careful"),
        "name": ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Hugo", "Ida", "Kate", "Leo", "Nora"),
        "once": ("one day", "last year", "once", "in those days", "a week ago", "that day", "years ago", "back then"),
        "said": ("told us", "wrote", "remembered", "heard", "thought", "forgot", "dreamed", "knew"),
        "truth": ("it is true that", "I hear that", "people say that", "to our surprise,", "in fact,", "by the way,"),
        "minded": ("laughed", "was not pleased", "took no notice", "was against it", "had no time", "complained"),
        "joined": ("laughed", "was glad", "did the same", "took no notice", "wondered why", "never knew"),
        "is": ("lives next door", "is from {town}", "never said why", "sends you greetings", "knows {name}"),
        "town": ("Oslo", "Dublin", "Lisbon", "Vienna", "Boston", "Naples", "Leeds", "Geneva", "Cork", "Bergen"),
    },
    given=("it",),
)  # fmt: skip


def text(context: str, rng: random.Random) -> str:
    """A sentence around a context, one word chosen wherever it leaves a choice."""
    return sentence(GRAMMAR.expand("row", rng, it=CHOICE.sub(lambda found: rng.choice(found[1].split("|")), context)))


def draw(rng: random.Random, code: int) -> dict[str, Any]:
    word = rng.choice(tuple(WORDS))
    one, two = rng.sample(WORDS[word], 2)
    first, second = rng.sample(one, 2) if code else (rng.choice(one), rng.choice(two))
    return {"word": word, "first": text(first, rng), "second": text(second, rng)}


FAMILY = Family("wic", (("word", "word"), ("first", "first"), ("second", "second")), ("different", "same"), draw)
