"""Families, products, parts and growth of plants."""

from .twins import compare_each, table

TOPIC = "plants"

FAMILIES = [
    ("apple", "rose"), ("potato", "nightshade"), ("lentil", "legume"), ("wheat plant", "grass"),
    ("broccoli plant", "cabbage"), ("dandelion", "daisy"), ("basil plant", "mint"), ("pumpkin", "gourd"),
    ("parsnip", "carrot"), ("vanilla plant", "orchid"),
]  # fmt: skip
PRODUCTS = [
    ("linen comes", "flax"), ("saffron comes", "crocuses"), ("tofu comes", "soybeans"),
    ("raisins come", "grapes"), ("prunes come", "plums"),
    ("chocolate comes", "cacao beans"), ("cider comes", "apples"), ("denim comes", "cotton"),
    ("opium comes", "poppies"),
    ("tequila comes", "agaves"), ("acorns come", "oak trees"), ("conkers come", "horse chestnut trees"),
]  # fmt: skip
PARTS = [
    ("A carrot", "root"), ("An onion", "bulb"), ("A potato", "tuber"), ("A cherry", "fruit"), ("A lentil", "seed"),
    ("A pine needle", "leaf"), ("A tree trunk", "stem"),
]  # fmt: skip
COMPARISONS = [
    ("In a plant, {a} carries water and {b} carries sugar.", "xylem", "phloem"),
    ("{a} reproduces by seeds and {b} by spores.", "a sunflower", "a fern"),
    ("{a} reproduces by spores and {b} by seeds.", "a moss", "a pine"),
    ("In photosynthesis, plants take in {a} and give off {b}.", "carbon dioxide", "oxygen"),
    ("{a} take up water from the soil, and {b} catch light.", "roots", "leaves"),
    ("On most trees, {a} grow on {b}.", "leaves", "twigs"),
    ("{a} grows taller than {b}.", "a giant sequoia", "an apple tree"),
    ("{a} grows taller than {b}.", "an oak", "a rose bush"),
    ("{a} grows taller than {b}.", "a sunflower", "a daisy"),
    ("{a} can live longer than {b}.", "an olive tree", "a wheat plant"),
    ("{a} needs more water than {b}.", "rice", "a cactus"),
    ("{a} turn into {b} after pollination.", "flowers", "fruits"),
    ("A young plant that grows from {a} is called {b}.", "a seed", "a seedling"),
]  # fmt: skip

PAIRS = (
    table("The {a} belongs to the {b} family.", FAMILIES)
    + table("{a} from {b}.", PRODUCTS)
    + table("{a} is a {b} of a plant.", PARTS)
    + compare_each(COMPARISONS)
)
