"""Symbols, formulas, groups of elements, acids and densities."""

from .twins import compare, table

TOPIC = "chemistry"

SYMBOLS = [
    ("sodium", "Na"), ("potassium", "K"), ("iron", "Fe"), ("silver", "Ag"), ("gold", "Au"), ("copper", "Cu"),
    ("lead", "Pb"), ("tin", "Sn"), ("mercury", "Hg"), ("tungsten", "W"), ("helium", "He"), ("zinc", "Zn"),
]  # fmt: skip
FORMULAS = [
    ("water", "H2O"), ("carbon dioxide", "CO2"), ("ammonia", "NH3"), ("methane", "CH4"), ("table salt", "NaCl"),
    ("ozone", "O3"), ("sulfuric acid", "H2SO4"), ("carbon monoxide", "CO"),
]  # fmt: skip
PROTONS = [
    ("hydrogen", "one proton"), ("helium", "two protons"), ("carbon", "six protons"), ("oxygen", "eight protons"),
    ("neon", "ten protons"), ("iron", "26 protons"),
]  # fmt: skip
GROUPS = [
    ("Neon", "a noble gas"), ("Sodium", "an alkali metal"), ("Chlorine", "a halogen"), ("Argon", "a noble gas"),
    ("Potassium", "an alkali metal"), ("Fluorine", "a halogen"), ("Krypton", "a noble gas"),
    ("Lithium", "an alkali metal"), ("Iodine", "a halogen"),
]  # fmt: skip
ACIDS = [
    ("vinegar", "acetic"), ("lemon juice", "citric"), ("a car battery", "sulfuric"), ("the stomach", "hydrochloric"),
    ("sour milk", "lactic"),
]  # fmt: skip
DENSER = [
    ("gold", "aluminium"), ("lead", "iron"), ("mercury", "water"), ("water", "petrol"), ("iron", "magnesium"),
]  # fmt: skip

PAIRS = (
    table("The chemical symbol for {a} is {b}.", SYMBOLS)
    + table("The chemical formula of {a} is {b}.", FORMULAS)
    + table("Every atom of {a} has exactly {b}.", PROTONS)
    + table("{a} is {b}.", GROUPS)
    + table("The main acid in {a} is {b} acid.", ACIDS)
    + compare("{a} is denser than {b}.", DENSER)
)
