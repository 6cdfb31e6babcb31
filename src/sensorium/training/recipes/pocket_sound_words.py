"""Everyday words for YAMNet's kinds of sound, where AudioSet's names alone would mislead.

"Bark" is also a tree's, "Organ" also a body's: a sentence model needs to be told who makes the sound.
"""

# Heard beside nearly every other kind of their sort, so that they say little.
_COMMON = """
Music | Musical instrument | Animal | Domestic animals, pets | Livestock, farm animals, working animals
Wild animals | Vehicle | Motor vehicle (road) | Sound effect | Inside, small room | Inside, large room or hall
Inside, public space | Outside, urban or manmade | Outside, rural or natural | Field recording | Noise
Environmental noise | Percussion | Plucked string instrument | Bowed string instrument | Brass instrument
Wind instrument, woodwind instrument | Keyboard (musical) | Mechanisms | Tools | Water | Liquid | Silence
Reverberation | Fowl | Rail transport | Engine | Alarm
"""
# AudioSet's name = what a person would say of it
_WORDS = """
Speech = a person speaking | Child speech, kid speaking = a child speaking | Conversation = people talking
Narration, monologue = somebody telling a story | Babbling = a baby babbling
Speech synthesizer = a robot's voice | Shout = a person shouting | Bellow = a person bellowing
Whoop = a person cheering | Yell = a person yelling | Children shouting = children at play
Screaming = a person screaming | Whispering = a person whispering | Laughter = people laughing
Baby laughter = a baby laughing | Giggle = a child giggling | Snicker = a person snickering
Belly laugh = a person laughing | Chuckle, chortle = a person laughing | Crying, sobbing = a person crying
Baby cry, infant cry = a baby crying | Whimper = a person whimpering | Wail, moan = a person wailing
Sigh = a person sighing | Singing = a singer | Choir = a choir | Yodeling = a yodeler in the mountains
Chant = people chanting | Mantra = monks chanting | Child singing = a child singing | Rapping = a rapper
Humming = a person humming a tune | Groan = a person groaning | Grunt = a person grunting
Whistling = a person whistling | Breathing = a person breathing | Snoring = a person asleep, snoring
Gasp = a person gasping | Pant = a dog panting | Snort = a pig snorting | Cough = a person coughing
Sneeze = a person sneezing | Sniff = a person sniffing | Run = a person running
Shuffle = a person's feet shuffling | Walk, footsteps = a person walking in shoes
Chewing, mastication = a person eating | Biting = a person biting into an apple | Gargling = a person gargling
Burping, eructation = a person burping | Hands = hands | Finger snapping = fingers snapping
Clapping = hands clapping | Heart sounds, heartbeat = a heart beating | Cheering = a crowd cheering
Applause = an audience applauding | Chatter = people chattering | Crowd = a crowd of people
Children playing = a playground with children | Bark = a dog barking | Yip = a small dog yipping
Howl = a wolf howling | Bow-wow = a dog barking | Growling = a dog growling | Whimper (dog) = a dog whimpering
Purr = a cat purring | Meow = a cat meowing | Hiss = a cat hissing | Caterwaul = cats fighting
Livestock, farm animals, working animals = farm animals | Clip-clop = a horse's hooves
Neigh, whinny = a horse neighing | Cattle, bovinae = cows | Moo = a cow mooing | Oink = a pig grunting
Bleat = a sheep or goat bleating | Fowl = poultry | Cluck = a hen clucking
Crowing, cock-a-doodle-doo = a rooster crowing | Gobble = a turkey gobbling | Quack = a duck quacking
Honk = a goose honking | Roaring cats (lions, tigers) = a lion or tiger | Roar = a lion roaring
Bird vocalization, bird call, bird song = a songbird singing | Chirp, tweet = a small bird chirping
Squawk = a parrot squawking | Coo = a pigeon cooing | Crow = a crow, a black bird | Caw = a crow cawing
Hoot = an owl hooting | Bird flight, flapping wings = a bird flying | Canidae, dogs, wolves = dogs and wolves
Rodents, rats, mice = a rat | Mouse = a mouse, the animal | Patter = small feet pattering
Cricket = a cricket, the insect | Fly, housefly = a fly | Buzz = an insect buzzing | Bee, wasp, etc. = a bee
Croak = a frog croaking | Rattle = a rattlesnake | Whale vocalization = a whale
Tapping (guitar technique) = a guitar | Strum = a guitar being strummed | Organ = a church organ
Keyboard (musical) = a keyboard instrument | Sampler = electronic music | Percussion = percussion instruments
Rimshot = a snare drum | Drum roll = a snare drum | Rattle (instrument) = maracas
Mallet percussion = a xylophone | Marimba, xylophone = a xylophone | String section = violins of an orchestra
Violin, fiddle = a violin | Pizzicato = a violin plucked
Wind instrument, woodwind instrument = a woodwind instrument | Jingle bell = sleigh bells | Chime = a chime
Change ringing (campanology) = church bells | Scratching (performance technique) = a DJ's turntable
Country = country music | Swing music = a big band | Bluegrass = a banjo and a fiddle
Blues = a blues guitarist | Jazz = a jazz band | Opera = an opera singer | Classical music = an orchestra
Rock music = a rock band | Heavy metal = a heavy metal band | Techno = a night club | Disco = a discotheque
Lullaby = a baby in a cradle | Christmas music = a Christmas tree | Gospel music = a church choir
Wedding music = a wedding | Wind = wind blowing | Rustling leaves = leaves of trees in the wind
Wind noise (microphone) = wind | Thunderstorm = a thunderstorm with lightning | Thunder = thunder and lightning
Water = running water | Rain = rain falling | Raindrop = raindrops | Rain on surface = rain on a roof
Stream = a brook | Ocean = the sea | Waves, surf = waves on a beach | Steam = a steam engine
Fire = a burning fire | Crackle = a crackling fire | Boat, Water vehicle = a boat | Ship = a ship
Toot = a car horn | Power windows, electric windows = a car window | Skidding = a car skidding
Tire squeal = a car's tires | Air brake = a truck braking | Reversing beeps = a truck backing up
Emergency vehicle = an ambulance or police car | Police car (siren) = a police car
Ambulance (siren) = an ambulance | Fire engine, fire truck (siren) = a fire truck
Traffic noise, roadway noise = street traffic | Rail transport = a railway | Train whistle = a steam locomotive
Train horn = a locomotive | Railroad car, train wagon = a railway carriage | Train wheels squealing = a train
Subway, metro, underground = a subway train | Aircraft = an airplane | Aircraft engine = an airplane
Jet engine = a jet airliner | Propeller, airscrew = a propeller airplane
Fixed-wing aircraft, airplane = an airplane | Light engine (high frequency) = a small engine
Medium engine (mid frequency) = a car engine | Heavy engine (low frequency) = a tractor or truck engine
Engine knocking = an engine | Engine starting = a car engine starting | Idling = a car engine idling
Accelerating, revving, vroom = a sports car revving | Ding-dong = a doorbell | Slam = a door slammed
Knock = knocking on a door | Tap = tapping | Squeak = a squeaky toy | Cupboard open or close = a cupboard
Drawer open or close = a chest of drawers | Chopping (food) = a knife on a cutting board
Frying (food) = a frying pan | Water tap, faucet = a faucet | Sink (filling or washing) = a sink
Bathtub (filling or washing) = a bathtub | Toilet flush = a toilet | Zipper (clothing) = a zipper
Keys jangling = keys | Coin (dropping) = coins | Shuffling cards = playing cards
Typing = a keyboard being typed on | Writing = a pencil writing | Alarm = an alarm
Telephone bell ringing = a telephone | Telephone dialing, DTMF = a telephone | Dial tone = a telephone
Busy signal = a telephone | Ringtone = a mobile phone | Siren = a siren
Civil defense siren = an air raid siren | Foghorn = a lighthouse or ship in fog | Whistle = a whistle
Steam whistle = a steam locomotive | Tick = a clock | Tick-tock = a clock | Ratchet, pawl = a ratchet
Camera = a camera | Single-lens reflex camera = a camera | Hammer = a hammer | Sawing = a saw cutting wood
Filing (rasp) = a file | Sanding = sandpaper | Drill = an electric drill | Gunshot, gunfire = a gun firing
Fusillade = guns firing | Artillery fire = a cannon | Cap gun = a toy gun | Burst, pop = a balloon popping
Eruption = a volcano | Boom = an explosion | Wood = wood | Chop = an axe chopping wood
Splinter = wood splintering | Chink, clink = glasses clinking | Shatter = broken glass
Glass = a drinking glass | Splash, splatter = water splashing | Drip = a dripping faucet
Pour = a drink being poured | Trickle, dribble = water trickling | Gush = water gushing
Fill (with liquid) = a glass being filled | Spray = a spray can | Pump (liquid) = a pump
Stir = a spoon in a cup | Boiling = a kettle of boiling water | Sonar = a submarine | Arrow = a bow and arrow
Basketball bounce = a basketball | Bouncing = a ball bouncing | Whip = a whip
Crumpling, crinkling = paper crumpled | Tearing = paper torn | Crushing = something crushed
Creak = a creaking door | Sizzle = food sizzling in a pan | Clicking = a button clicked
Clickety-clack = a train on rails | Plop = a drop of water | Hum = a hum | Boing = a spring toy
Clang = a metal bell | Ding = a small bell | Jingle, tinkle = small bells | Television = a television set
Radio = a radio | Static = a radio without a station | Echo = an echo in the mountains
Outside, rural or natural = the countryside | Outside, urban or manmade = a city street
Inside, small room = a room | Inside, large room or hall = a hall | Inside, public space = a public building
Smash, crash = something smashed | Breaking = something breaking | Slap, smack = a slap
"""


def _parts(table: str) -> list[str]:
    return [part for line in table.strip().splitlines() for part in line.split(" | ")]


COMMON = frozenset(_parts(_COMMON))
WORDS = {name: words for part in _parts(_WORDS) for name, _, words in [part.partition(" = ")]}
