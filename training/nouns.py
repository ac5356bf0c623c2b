"""The words that the bundled model learns: which drawings, which backgrounds, which places, and how captions name
them.

Pure data and string building; knows nothing of pictures or of torch. A wide vocabulary cannot be learned in the
hours that a laptop has, so this one is narrow: the things that people try first.
"""

from __future__ import annotations

from random import Random

# The noun that captions use -> (the drawing's name in its package, other words for it).
NOUNS: dict[str, tuple[str, tuple[str, ...]]] = {
    # animals
    "cat": ("cat face", ("kitten", "kitty")),
    "dog": ("dog face", ("puppy",)),
    "rabbit": ("rabbit face", ("bunny",)),
    "bear": ("bear", ("brown bear",)),
    "panda": ("panda", ()),
    "fox": ("fox", ()),
    "lion": ("lion", ()),
    "tiger": ("tiger face", ()),
    "monkey": ("monkey face", ("ape",)),
    "pig": ("pig face", ("piglet",)),
    "cow": ("cow face", ()),
    "frog": ("frog", ("toad",)),
    "koala": ("koala", ()),
    "mouse": ("mouse face", ()),
    "unicorn": ("unicorn", ()),
    "chick": ("front-facing baby chick", ("baby chicken",)),
    "penguin": ("penguin", ()),
    "owl": ("owl", ()),
    "fish": ("tropical fish", ()),
    "whale": ("spouting whale", ()),
    "octopus": ("octopus", ()),
    "turtle": ("turtle", ("tortoise",)),
    "snail": ("snail", ()),
    "butterfly": ("butterfly", ()),
    "ladybug": ("lady beetle", ("beetle",)),
    "bee": ("honeybee", ()),
    "crab": ("crab", ()),
    "elephant": ("elephant", ()),
    # nature
    "tree": ("deciduous tree", ()),
    "pine tree": ("evergreen tree", ("fir tree",)),
    "palm tree": ("palm tree", ()),
    "cactus": ("cactus", ()),
    "sunflower": ("sunflower", ()),
    "rose": ("rose", ("red rose",)),
    "flower": ("cherry blossom", ("blossom",)),
    "tulip": ("tulip", ()),
    "mushroom": ("mushroom", ("toadstool",)),
    "leaf": ("maple leaf", ("autumn leaf",)),
    "sun": ("sun", ()),
    "moon": ("crescent moon", ("crescent moon",)),
    "star": ("star", ()),
    "cloud": ("cloud", ()),
    "rainbow": ("rainbow", ()),
    "snowflake": ("snowflake", ()),
    "fire": ("fire", ("flame",)),
    "mountain": ("snow-capped mountain", ()),
    "water drop": ("droplet", ("drop of water",)),
    "planet": ("ringed planet", ("saturn",)),
    "earth": ("globe showing europe-africa", ("globe",)),
    # food
    "apple": ("red apple", ("red apple",)),
    "green apple": ("green apple", ()),
    "banana": ("banana", ()),
    "orange": ("tangerine", ("tangerine",)),
    "strawberry": ("strawberry", ()),
    "cherries": ("cherries", ("cherry",)),
    "grapes": ("grapes", ()),
    "watermelon": ("watermelon", ()),
    "pineapple": ("pineapple", ()),
    "lemon": ("lemon", ()),
    "pear": ("pear", ()),
    "tomato": ("tomato", ()),
    "carrot": ("carrot", ()),
    "pizza": ("pizza", ("slice of pizza",)),
    "burger": ("hamburger", ("hamburger",)),
    "fries": ("french fries", ("french fries",)),
    "ice cream": ("soft ice cream", ()),
    "donut": ("doughnut", ("doughnut",)),
    "cupcake": ("cupcake", ()),
    "cake": ("birthday cake", ("birthday cake",)),
    "cookie": ("cookie", ("biscuit",)),
    "bread": ("bread", ("loaf of bread",)),
    "coffee": ("hot beverage", ("cup of coffee", "cup of tea")),
    # vehicles
    "car": ("automobile", ("red car",)),
    "taxi": ("taxi", ("yellow taxi",)),
    "bus": ("bus", ()),
    "truck": ("delivery truck", ("lorry",)),
    "bicycle": ("bicycle", ("bike",)),
    "airplane": ("airplane", ("plane",)),
    "rocket": ("rocket", ("spaceship",)),
    "sailboat": ("sailboat", ("boat",)),
    "helicopter": ("helicopter", ()),
    "ufo": ("flying saucer", ("flying saucer",)),
    # things
    "house": ("house", ("home",)),
    "castle": ("castle", ()),
    "balloon": ("balloon", ("red balloon",)),
    "gift": ("wrapped gift", ("present",)),
    "trophy": ("trophy", ()),
    "crown": ("crown", ("golden crown",)),
    "key": ("key", ()),
    "bell": ("bell", ()),
    "light bulb": ("light bulb", ("lamp",)),
    "book": ("closed book", ("red book",)),
    "blue book": ("blue book", ()),
    "umbrella": ("umbrella", ()),
    "guitar": ("guitar", ()),
    "camera": ("camera", ()),
    "clock": ("alarm clock", ("alarm clock",)),
    "hat": ("top hat", ("top hat",)),
    "shirt": ("t-shirt", ("t-shirt",)),
    "football": ("soccer ball", ("soccer ball",)),
    "basketball": ("basketball", ()),
    "anchor": ("anchor", ()),
    "diamond": ("gem stone", ("gem",)),
    "teddy bear": ("teddy bear", ()),
    "snowman": ("snowman", ()),
    "christmas tree": ("christmas tree", ()),
    "pumpkin": ("jack-o-lantern", ("halloween pumpkin",)),
    "pencil": ("pencil", ()),
    "candle": ("candle", ()),
    "red heart": ("red heart", ("heart",)),
    "blue heart": ("blue heart", ()),
    "green heart": ("green heart", ()),
    "yellow heart": ("yellow heart", ()),
    # faces
    "happy face": ("smiling face with smiling eyes", ("smiley", "smiling face")),
    "sad face": ("crying face", ("crying face",)),
    "cool face": ("smiling face with sunglasses", ("face with sunglasses",)),
    "alien": ("alien", ()),
    "ghost": ("ghost", ()),
    "robot": ("robot", ()),
    "skull": ("skull", ()),
    "man": ("man", ()),
    "woman": ("woman", ()),
    "astronaut": ("astronaut", ()),
}

# What the `cpu` size learns of these: fewer things, learned better, in the hour or two that a laptop has.
FEW_WORDS = """
    cat, dog, rabbit, panda, fox, penguin, fish, butterfly, tree, sunflower, flower, mushroom, sun, moon, star, cloud,
    rainbow, earth, apple, banana, orange, strawberry, watermelon, pizza, burger, donut, coffee, car, rocket, sailboat,
    house, balloon, crown, football, snowman, ghost, robot, ice cream, red heart, happy face
"""
FEW = tuple(" ".join(FEW_WORDS.split()).split(", "))

# One family of drawings in three finishes: the same shapes, so that the shapes are learned three times as fast.
STYLES: dict[str, str] = {"fluent-3d": "3d", "fluent-emoji": "gradient", "fluent-emoji-flat": "flat"}

COLOURS: dict[str, tuple[int, int, int]] = {
    "white": (255, 255, 255),
    "black": (20, 20, 22),
    "grey": (140, 140, 145),
    "red": (214, 48, 49),
    "orange": (240, 140, 40),
    "yellow": (250, 214, 70),
    "green": (62, 160, 85),
    "light blue": (150, 205, 240),
    "blue": (45, 105, 205),
    "purple": (125, 70, 180),
    "pink": (245, 160, 190),
    "brown": (130, 85, 55),
}

# A scene is what is above the horizon and what is below it.
SCENES: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "meadow": ((150, 205, 240), (100, 180, 80)),
    "beach": ((140, 210, 240), (238, 214, 160)),
    "night": ((15, 20, 55), (35, 45, 75)),
    "snow": ((190, 215, 235), (245, 248, 252)),
    "sea": ((165, 215, 245), (40, 110, 180)),
    "room": ((225, 210, 190), (160, 115, 80)),
}
IN_SCENE = {
    "meadow": "in a meadow",
    "beach": "on the beach",
    "night": "at night",
    "snow": "in the snow",
    "sea": "in the sea",
    "room": "in a room",
}


def article(words: str) -> str:
    """`a cat`, `an owl`, `a unicorn`; `cherries`, `earth` stay bare."""
    if words.rsplit(maxsplit=1)[-1] in {
        "cherries",
        "grapes",
        "fries",
        "earth",
        "saturn",
        "bread",
        "coffee",
        "fire",
        "ice cream",
    }:
        return words
    return ("an " if words[0] in "aeio" or words.startswith("um") else "a ") + words


def name(noun: str, random: Random) -> str:
    """The noun itself most of the time, now and then another word for it."""
    others = NOUNS[noun][1]
    return random.choice(others) if others and random.random() < 0.2 else noun


def subject(noun: str, style: str, random: Random) -> str:
    """One drawing in words: `cat`, `a cat`, `3d style cat`, `cat, flat style`."""
    words = name(noun, random)
    return random.choice(
        [
            words,
            words,
            article(words),
            article(words),
            f"{style} style {words}",
            f"{words}, {style} style",
            f"a picture of {article(words)}",
        ]
    )


def pair(left: str, right: str, random: Random) -> str:
    a, b = name(left, random), name(right, random)
    if random.random() < 0.7:
        return f"{article(a)} on the left, {article(b)} on the right"
    return f"{article(a)} and {article(b)}"


def background(kind: str, random: Random) -> str:
    """The words that follow the subject; nothing for an unnamed background."""
    if not kind:
        return ""
    if kind in SCENES:
        return " " + IN_SCENE[kind] if random.random() < 0.7 else f", {kind}"
    return random.choice([f" on {article(kind)} background", f", {kind} background", f" on {kind}"])
