"""Foreign words, past tenses, word classes, language families and the Greek alphabet."""

from .twins import table

TOPIC = "language"

FOREIGN = [
    ("Spanish word gato", "cat"), ("Spanish word perro", "dog"), ("Spanish word libro", "book"),
    ("Spanish word casa", "house"), ("French word pain", "bread"), ("French word eau", "water"),
    ("French word cheval", "horse"), ("German word Baum", "tree"), ("German word Apfel", "apple"),
    ("German word Hund", "dog"), ("Italian word latte", "milk"), ("Italian word notte", "night"),
    ("Latin word ignis", "fire"), ("Latin word rex", "king"),
]  # fmt: skip
PAST = [
    ("go", "went"), ("come", "came"), ("eat", "ate"), ("take", "took"), ("buy", "bought"), ("bring", "brought"),
    ("teach", "taught"), ("think", "thought"), ("see", "saw"), ("fly", "flew"),
]  # fmt: skip
CLASSES = [
    ("happiness", "a noun"), ("slowly", "an adverb"), ("beautiful", "an adjective"), ("she", "a pronoun"),
    ("although", "a conjunction"), ("furniture", "a noun"), ("carefully", "an adverb"), ("enormous", "an adjective"),
]  # fmt: skip
FAMILIES = [
    ("Spanish", "Romance"), ("Danish", "Germanic"), ("Polish", "Slavic"), ("Welsh", "Celtic"), ("Italian", "Romance"),
    ("Swedish", "Germanic"), ("Czech", "Slavic"), ("Irish", "Celtic"),
]  # fmt: skip
GREEK = [("Alpha", "first"), ("Beta", "second"), ("Gamma", "third"), ("Delta", "fourth"), ("Omega", "last")]

PAIRS = (
    table("The {a} means {b} in English.", FOREIGN)
    + table("The past tense of the verb {a} is {b}.", PAST)
    + table("The English word {a} is {b}.", CLASSES)
    + table("{a} is a {b} language.", FAMILIES)
    + table("{a} is the {b} letter of the Greek alphabet.", GREEK)
)
