"""What units measure, prefixes, conversions and sizes."""

from .twins import compare, table

TOPIC = "units"

QUANTITIES = [
    ("The newton", "force"), ("The joule", "energy"), ("The watt", "power"), ("The pascal", "pressure"),
    ("The ampere", "electric current"), ("The ohm", "electrical resistance"), ("The hertz", "frequency"),
    ("The kelvin", "temperature"), ("The kilogram", "mass"), ("The metre", "length"), ("The litre", "volume"),
    ("The hectare", "area"), ("The knot", "speed"), ("The radian", "angle"), ("The candela", "luminous intensity"),
    ("The minute", "time"),
]  # fmt: skip
PREFIXES = [
    ("kilo", "a thousand"), ("mega", "a million"), ("hecto", "a hundred"), ("centi", "a hundredth"),
    ("milli", "a thousandth"), ("micro", "a millionth"), ("deca", "ten"), ("deci", "a tenth"),
]  # fmt: skip
CONVERSIONS = [
    ("A metre has {} centimetres.", 100, 1000), ("A kilometre has {} metres.", 1000, 100),
    ("A centimetre has {} millimetres.", 10, 100), ("A hectolitre has {} litres.", 100, 10),
    ("A foot has {} inches.", 12, 3), ("A yard has {} feet.", 3, 12),
    ("A right angle has {} degrees.", 90, 180), ("A straight angle has {} degrees.", 180, 90),
]  # fmt: skip
COMPARISONS = [
    ("longer", "mile", "kilometre"), ("longer", "metre", "foot"), ("longer", "yard", "foot"),
    ("longer", "light-year", "kilometre"), ("heavier", "kilogram", "pound"), ("heavier", "tonne", "kilogram"),
    ("heavier", "pound", "gram"), ("longer", "decade", "year"), ("longer", "century", "decade"),
    ("longer", "millisecond", "microsecond"),
]  # fmt: skip

PAIRS = (
    table("{a} is a unit of {b}.", QUANTITIES, offset=5)
    + table("The metric prefix {a} means {b}.", PREFIXES)
    + [(template.format(a), template.format(b)) for template, a, b in CONVERSIONS]
    + [pair for word, a, b in COMPARISONS for pair in compare(f"A {{a}} is {word} than a {{b}}.", [(a, b)])]
)
