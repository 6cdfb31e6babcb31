"""Things that pictures commonly show, in words as people type them: what any question is compared with.

A picture that answers a question should prefer it to nearly all of these (see sensorium.search.verdict). The list is
meant to cover widely and evenly rather than finely; its order and size do not matter.
"""

BANK: tuple[str, ...] = tuple(
    line
    for line in """
a cat
a dog
a puppy
a horse
a cow in a field
a sheep
a goat
a pig
a chicken
a duck on a lake
an eagle
an owl
a small songbird
a parrot
a penguin
a swan
a flock of birds
an elephant
a lion
a tiger
a giraffe
a zebra
a bear
a polar bear
a wolf
a fox
a deer
a rabbit
a squirrel
a mouse
a monkey
a gorilla
a kangaroo
a camel
a crocodile
a snake
a lizard
a turtle
a frog
a tropical fish
a shark
a whale
a dolphin
an octopus
a crab
a jellyfish
a coral reef
a butterfly
a bee on a flower
a spider
a beetle
a dragonfly
a snail
a baby
a child playing
a group of children
a woman smiling
a man with a beard
an old man
a portrait of a person
a crowd of people
a family at home
a wedding couple
a bride in a white dress
a birthday party
people dancing
a concert on a stage
a football match
a basketball player
a tennis player
a swimmer in a pool
a runner in a race
a person riding a bicycle
a skier on a slope
a surfer on a wave
a climber on a rock face
a gymnast
a boxer
a horse race
a chess board
a soldier in uniform
a police officer
a firefighter
a doctor in a hospital
a nurse
a chef in a kitchen
a farmer with a tractor
a teacher in a classroom
a student reading a book
a musician playing guitar
a pianist
a violin
a drum set
a trumpet
a microphone
an actor in a costume
a clown
a statue
a portrait painting
an abstract painting
a pencil drawing
a cartoon character
graffiti on a wall
a mosaic
a stained glass window
a pottery vase
a mountain range
a snowy peak
a volcano
a canyon
a desert with sand dunes
a sandy beach
waves on a rocky coast
the open sea
a lake with reflections
a river in a valley
a waterfall
a forest path
autumn leaves
a palm tree
a single tree in a field
a meadow with wild flowers
a rose
a sunflower
a tulip field
an orchid
a cactus
mushrooms on the ground
moss on a stone
a field of wheat
a vineyard
a garden
a park with benches
a sunrise
a sunset
a blue sky with clouds
a thunderstorm with lightning
a rainbow
fog in the morning
falling rain
a snow-covered street
ice and icicles
the moon
a starry night sky
a galaxy
the planet earth from space
fireworks
a fire with flames
smoke
a city skyline
a skyscraper
a city street at night
a traffic jam
a narrow old street
a market stall
a shop window
a supermarket shelf
a church
a mosque
a temple
a castle
a palace
ancient ruins
a pyramid
a tower
a bridge
a lighthouse
a windmill
a dam
a house with a garden
a wooden cabin
a farm barn
an apartment block
a factory with chimneys
a construction site
a power plant
a solar panel
a wind turbine
a railway station
an airport terminal
a harbour with boats
a tunnel
a road through the countryside
a staircase
a door
a window
a brick wall
a roof
a fence
a fountain
a playground
a swimming pool
a stadium
a museum hall
a library with bookshelves
a classroom
an office desk
a meeting room
a hospital room
a laboratory
a workshop with tools
a kitchen
a bathroom
a bedroom
a living room with a sofa
a dining table
a fireplace
a car
a racing car
a vintage car
a truck
a bus
a taxi
an ambulance
a fire engine
a motorcycle
a bicycle
a train
a tram
a steam locomotive
an airplane in flight
a helicopter
a hot air balloon
a rocket launch
an astronaut
a sailing boat
a cruise ship
a canoe
a submarine
a tank
a tractor
a crane
a traffic light
a road sign
a cup of coffee
a glass of beer
a glass of wine
a bottle
a teapot
a plate of food
a pizza
a hamburger
a sandwich
a bowl of soup
a salad
pasta
sushi
rice
bread
cheese
meat on a grill
a fried egg
a birthday cake
cookies
ice cream
chocolate
an apple
a banana
an orange
strawberries
grapes
a lemon
a pineapple
a watermelon
tomatoes
potatoes
carrots
a pumpkin
broccoli
onions and garlic
a chair
a table
a lamp
a clock
a mirror
a bed
a bookshelf
a carpet
a candle
a vase of flowers
a basket
a bucket
a broom
a pair of scissors
a knife
a spoon and a fork
a frying pan
a hammer
a screwdriver
pliers
a saw
a drill
a ladder
a rope
a chain
a key
a padlock
an umbrella
a backpack
a suitcase
a handbag
a pair of shoes
a boot
a hat
a coat
a shirt
a dress
a tie
a pair of gloves
sunglasses
a ring
a necklace
a wristwatch
a coin
banknotes
a book
a newspaper
a handwritten letter
a page of printed text
a screenshot of a website
a chart with numbers
a map
a receipt
an identity card
a calendar
a logo
a pattern of stripes
a computer keyboard
a laptop
a mobile phone
a television
a camera
a radio
headphones
a printer
a circuit board
cables
a telescope
a microscope
a battery
a light bulb
a toy
a teddy bear
a doll
building blocks
a ball
a balloon
a kite
playing cards
dice
a gift with a ribbon
a christmas tree
a halloween mask
a flag
a medal
a gun
a sword
a gravestone
a tooth
a hand
an eye
an x-ray picture
a plain white background
gravel
sand
water
grass
wood texture
fabric
metal rust
paper
glass
""".splitlines()
    if line
)
