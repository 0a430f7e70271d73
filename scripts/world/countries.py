"""Languages, currencies, continents and borders of countries."""

from .twins import table

TOPIC = "countries"

# The row before the one with English is a country where few speak it.
LANGUAGES = [
    ("Brazil", "Portuguese"), ("Hungary", "Hungarian"), ("Austria", "German"), ("Thailand", "Thai"),
    ("Iran", "Persian"), ("Egypt", "Arabic"), ("Cambodia", "Khmer"), ("Japan", "Japanese"), ("Mexico", "Spanish"),
    ("Australia", "English"), ("the Netherlands", "Dutch"), ("Turkey", "Turkish"), ("Israel", "Hebrew"),
    ("Finland", "Finnish"),
]  # fmt: skip
CURRENCIES = [
    ("Japan", "yen"), ("India", "rupee"), ("the United Kingdom", "pound"), ("Mexico", "peso"),
    ("Switzerland", "franc"), ("Poland", "zloty"), ("Russia", "ruble"), ("China", "yuan"), ("Thailand", "baht"),
    ("Brazil", "real"), ("Vietnam", "dong"), ("South Africa", "rand"), ("Israel", "shekel"), ("Turkey", "lira"),
    ("Sweden", "krona"), ("Nigeria", "naira"),
]  # fmt: skip
CONTINENTS = [
    ("Kenya", "Africa"), ("Peru", "South America"), ("Laos", "Asia"), ("Portugal", "Europe"),
    ("Nigeria", "Africa"), ("Bolivia", "South America"), ("Nepal", "Asia"), ("Belgium", "Europe"),
    ("Zambia", "Africa"), ("Paraguay", "South America"), ("Vietnam", "Asia"), ("Austria", "Europe"),
]  # fmt: skip
BORDERS = [
    ("Spain", "Portugal"), ("Norway", "Sweden"), ("Chile", "Argentina"), ("India", "Nepal"), ("Thailand", "Laos"),
    ("Egypt", "Sudan"), ("Kenya", "Uganda"), ("Mexico", "Guatemala"),
]  # fmt: skip

PAIRS = (
    table("In {a}, most people speak {b}.", LANGUAGES)
    + table("The currency of {a} is the {b}.", CURRENCIES)
    + table("{a} is a country in {b}.", CONTINENTS)
    + table("{a} shares a land border with {b}.", BORDERS, offset=3)
)
