"""Ingredients, dishes, cheeses, pasta and tastes."""

from .twins import compare_each, table

TOPIC = "food"

INGREDIENTS = [
    ("hummus", "chickpeas"), ("tofu", "soybeans"), ("guacamole", "avocados"), ("sauerkraut", "cabbage"),
    ("marzipan", "almonds"), ("ketchup", "tomatoes"), ("tahini", "sesame seeds"), ("sake", "rice"), ("pesto", "basil"),
    ("wine", "grapes"), ("an omelette", "eggs"), ("popcorn", "maize"), ("cheese", "milk"), ("mead", "honey"),
    ("caviar", "fish eggs"), ("ghee", "butter"), ("cider", "apples"), ("meringue", "egg whites"), ("couscous", "wheat"),
    ("bacon", "pork"), ("chocolate", "cacao beans"),
]  # fmt: skip
DISHES = [
    ("sukiyaki", "Japan"), ("paella", "Spain"), ("goulash", "Hungary"), ("haggis", "Scotland"), ("pizza", "Italy"),
    ("kimchi", "Korea"), ("poutine", "Canada"), ("pho", "Vietnam"), ("pozole", "Mexico"), ("bratwurst", "Germany"),
    ("bouillabaisse", "France"), ("smorrebrod", "Denmark"),
]  # fmt: skip
CHEESES = [
    ("Gouda", "the Netherlands"), ("Brie", "France"), ("Feta", "Greece"), ("Parmesan", "Italy"),
    ("Cheddar", "England"), ("Manchego", "Spain"), ("Emmental", "Switzerland"),
]  # fmt: skip
PASTA = [
    ("spaghetti", "long thin strings"), ("penne", "short tubes"), ("farfalle", "bow ties"), ("fusilli", "spirals"),
    ("ravioli", "filled pockets"), ("lasagne", "flat sheets"),
]  # fmt: skip
COMPARISONS = [
    ("{a} contains more fat than {b}.", "butter", "bread"), ("{a} contains more sugar than {b}.", "honey", "milk"),
    ("{a} contains more protein than {b}.", "beef", "lettuce"), ("{a} is more sour than {b}.", "a lemon", "a banana"),
    ("{a} contains more fat than {b}.", "cream", "skimmed milk"), ("{a} is spicier than {b}.", "a chili", "a cucumber"),
    ("{a} contains more water than {b}.", "a watermelon", "a walnut"), ("{a} is made from {b}.", "yogurt", "milk"),
    ("{a} is larger than {b}.", "a melon", "a cherry"),
    ("{a} contains more salt than {b}.", "soy sauce", "apple juice"),
]  # fmt: skip

PAIRS = (
    table("{a} is made from {b}.", INGREDIENTS)
    + table("The dish called {a} comes from {b}.", DISHES)
    + table("{a} is a cheese that was first made in {b}.", CHEESES)
    + table("The pasta called {a} has the shape of {b}.", PASTA)
    + compare_each(COMPARISONS)
)
