"""Young animals, classes, homes, legs and sizes."""

from .twins import compare_each, table

TOPIC = "animals"

YOUNG = [
    ("kangaroo", "joey"), ("horse", "foal"), ("sheep", "lamb"), ("goat", "kid"), ("goose", "gosling"),
    ("swan", "cygnet"), ("duck", "duckling"), ("frog", "tadpole"), ("deer", "fawn"), ("lion", "cub"),
    ("cow", "calf"), ("cat", "kitten"), ("hare", "leveret"),
]  # fmt: skip
CLASSES = [
    ("A dolphin", "a mammal"), ("A penguin", "a bird"), ("A seahorse", "a fish"), ("A tortoise", "a reptile"),
    ("A newt", "an amphibian"), ("A whale", "a mammal"), ("An ostrich", "a bird"), ("A piranha", "a fish"),
    ("A crocodile", "a reptile"), ("A toad", "an amphibian"), ("A walrus", "a mammal"), ("A flamingo", "a bird"),
    ("A stingray", "a fish"), ("A gecko", "a reptile"), ("A salamander", "an amphibian"),
]  # fmt: skip
HOMES = [
    ("kangaroos", "Australia"), ("giraffes", "Africa"), ("polar bears", "the Arctic"), ("sloths", "South America"),
    ("koalas", "Australia"), ("gorillas", "Africa"), ("emperor penguins", "Antarctica"), ("giant pandas", "China"),
]  # fmt: skip
COMPARISONS = [
    ("{a} can run faster than {b}.", "a cheetah", "an elephant"),
    ("{a} is heavier than {b}.", "a blue whale", "a lion"),
    ("{a} can run faster than {b}.", "a horse", "a tortoise"), ("{a} is heavier than {b}.", "a hippo", "a badger"),
    ("{a} has more legs than {b}.", "a spider", "an ant"), ("{a} has more legs than {b}.", "a centipede", "a beetle"),
    ("{a} has a longer neck than {b}.", "a giraffe", "a rhino"), ("{a} hunt {b}.", "lynxes", "hares"),
    ("{a} turns into {b} as it grows.", "a caterpillar", "a butterfly"),
]  # fmt: skip

PAIRS = (
    table("A young {a} is called a {b}.", YOUNG)
    + table("{a} is {b}.", CLASSES)
    + table("Wild {a} live in {b}.", HOMES)
    + compare_each(COMPARISONS)
)
