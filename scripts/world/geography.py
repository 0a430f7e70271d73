"""Rivers, mountains, coasts and sizes."""

from .twins import compare, table

TOPIC = "geography"

RIVERS = [
    ("Thames", "London"), ("Seine", "Paris"), ("Tiber", "Rome"), ("Spree", "Berlin"), ("Vltava", "Prague"),
    ("Danube", "Vienna"), ("Vistula", "Warsaw"), ("Moskva", "Moscow"), ("Liffey", "Dublin"), ("Nile", "Cairo"),
    ("Tigris", "Baghdad"), ("Chao Phraya", "Bangkok"),
]  # fmt: skip
MOUNTAINS = [
    ("Mount Kilimanjaro", "Tanzania"), ("Mount Fuji", "Japan"), ("Mount Vesuvius", "Italy"), ("Ben Nevis", "Scotland"),
    ("Denali", "Alaska"), ("Mount Elbrus", "Russia"), ("Mount Ararat", "Turkey"), ("Mount Etna", "Sicily"),
    ("Popocatepetl", "Mexico"), ("Cotopaxi", "Ecuador"), ("Aconcagua", "Argentina"),
    ("Mount Pinatubo", "the Philippines"),
]  # fmt: skip
# Each country once with a sea coast and once without, true and false in turn.
INLAND = [
    ("Mongolia", "Norway"), ("Austria", "Portugal"), ("Bolivia", "Chile"), ("Nepal", "Vietnam"), ("Chad", "Ghana"),
]  # fmt: skip
LARGER = [
    ("Russia", "Spain"), ("Canada", "Cuba"), ("Brazil", "Uruguay"), ("Australia", "Iceland"), ("India", "Nepal"),
    ("Greenland", "Ireland"),
]  # fmt: skip
HIGHER = [
    ("Mount Everest", "Mont Blanc"), ("Mont Blanc", "Ben Nevis"), ("Aconcagua", "Mount Etna"),
    ("Mount Kilimanjaro", "Mount Vesuvius"),
]  # fmt: skip
NORTH = [("Oslo", "Rome"), ("Moscow", "Cairo"), ("Montreal", "Miami"), ("London", "Madrid"), ("Beijing", "Singapore")]

PAIRS = (
    table("The {a} river flows through {b}.", RIVERS)
    + table("{a} is a mountain in {b}.", MOUNTAINS)
    + [(f"{a} is a landlocked country.", f"{b} is a landlocked country.") for a, b in INLAND]
    + [(f"{b} has a coast on the sea.", f"{a} has a coast on the sea.") for a, b in INLAND]
    + compare("{a} is larger in area than {b}.", LARGER)
    + compare("{a} is higher than {b}.", HIGHER)
    + compare("{a} lies farther north than {b}.", NORTH)
)
