"""Write data/statements.jsonl and data/requests.jsonl from the tables below. Deterministic: python scripts/make_pools.py

Statements come in twins: one true and one false that differ by a minimal edit and share a group, so every topic and every
split by group is half true. Words recur over topics, so that a very small model can learn them.
"""

import json
import random
from pathlib import Path

DATA = Path(__file__).parent.parent / "data"
rng = random.Random(20)

KINDS = {
    "bird": ["sparrow", "robin", "eagle", "owl", "crow", "duck", "swan", "gull"],
    "fish": ["trout", "salmon", "cod", "tuna", "carp", "eel", "pike", "shark"],
    "insect": ["bee", "ant", "fly", "wasp", "moth", "beetle", "cricket", "gnat"],
    "tree": ["oak", "pine", "elm", "birch", "maple", "willow", "cedar", "fir"],
    "fruit": ["apple", "pear", "plum", "cherry", "grape", "lemon", "peach", "fig"],
    "tool": ["hammer", "saw", "drill", "spade", "axe", "rake", "wrench", "chisel"],
    "vehicle": ["car", "bus", "train", "truck", "tram", "van", "taxi", "bicycle"],
    "mammal": ["cat", "dog", "horse", "cow", "lion", "goat", "fox", "wolf"],
}
# What holds for every member of a kind.
FEATURES = {
    "bird": "has feathers",
    "fish": "has gills",
    "insect": "has six legs",
    "tree": "has bark and leaves",
    "fruit": "grows on a plant and holds seeds",
    "tool": "is used with the hands",
    "vehicle": "has wheels",
    "mammal": "has fur",
}
# Features that a false twin may claim, by kind: none that could be argued about (a bee has something like fur).
WRONG = {kind: ["bird", "fish", "insect", "vehicle", "mammal"] for kind in KINDS}
WRONG["insect"] = ["fish", "vehicle", "tree"]
WRONG["mammal"] += ["tree"]
LIVING = {"bird", "fish", "insect", "tree", "fruit", "mammal"}
ANIMALS = {"bird", "fish", "insect", "mammal"}
OPPOSITES = [
    ("hot", "cold"), ("big", "small"), ("wet", "dry"), ("light", "dark"), ("up", "down"), ("open", "closed"),
    ("fast", "slow"), ("old", "new"), ("full", "empty"), ("hard", "soft"), ("high", "low"), ("long", "short"),
    ("rich", "poor"), ("loud", "quiet"), ("clean", "dirty"), ("happy", "sad"), ("strong", "weak"), ("thick", "thin"),
    ("early", "late"), ("left", "right"),
]  # fmt: skip
# Words that are near one another in meaning: no false opposite is taken from the same set.
NEAR = [
    {"big", "small", "high", "low", "long", "short", "thick", "thin", "up", "down", "full", "empty", "rich", "poor"},
    {"hard", "soft", "loud", "quiet", "strong", "weak", "fast", "slow", "light", "dark", "thick", "thin"},
    {"old", "new", "early", "late", "clean", "dirty", "hot", "cold", "wet", "dry", "happy", "sad"},
]
COLOURS = [
    ("snow", "white"), ("grass", "green"), ("coal", "black"), ("blood", "red"), ("milk", "white"), ("gold", "yellow"),
    ("a ripe tomato", "red"), ("a ripe banana", "yellow"), ("a cloudless sky at noon", "blue"), ("a crow", "black"),
    ("salt", "white"), ("soot", "black"), ("a leaf in spring", "green"), ("a lemon", "yellow"),
    ("a polar bear", "white"), ("a stop sign", "red"), ("spinach", "green"), ("chalk", "white"),
    ("a canary", "yellow"), ("tar", "black"), ("a cucumber", "green"),
]  # fmt: skip
CAPITALS = [
    ("Paris", "France"), ("Rome", "Italy"), ("Madrid", "Spain"), ("Berlin", "Germany"), ("Vienna", "Austria"),
    ("Lisbon", "Portugal"), ("Athens", "Greece"), ("Dublin", "Ireland"), ("Oslo", "Norway"), ("Stockholm", "Sweden"),
    ("Helsinki", "Finland"), ("Warsaw", "Poland"), ("Prague", "Czechia"), ("Budapest", "Hungary"), ("Cairo", "Egypt"),
    ("Tokyo", "Japan"), ("Ottawa", "Canada"), ("Lima", "Peru"), ("Santiago", "Chile"), ("Havana", "Cuba"),
    ("Nairobi", "Kenya"), ("Hanoi", "Vietnam"), ("Tehran", "Iran"), ("Copenhagen", "Denmark"),
]  # fmt: skip
COUNTS = [
    ("a week", "seven days"), ("a year", "twelve months"), ("a day", "twenty-four hours"), ("a swan", "two wings"),
    ("a cat", "four legs"), ("a spider", "eight legs"), ("a car", "four wheels"), ("a triangle", "three sides"),
    ("a square", "four sides"), ("a hexagon", "six sides"), ("a bicycle", "two wheels"), ("a tricycle", "three wheels"),
    ("an octopus", "eight arms"), ("a dozen", "twelve pieces"), ("a pair", "two members"), ("a cube", "six faces"),
    ("the alphabet", "twenty-six letters"), ("a coin", "two sides"), ("a foot", "five toes"), ("a chessboard", "eight rows"),
    ("a minute", "sixty seconds"), ("a decade", "ten years"), ("a trio", "three members"), ("an hour", "sixty minutes"),
]  # fmt: skip
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
]  # fmt: skip
PEOPLE = ["Ann", "Bob", "Cal", "Dan", "Eve", "Fay", "Gus", "Ida", "Jon", "Kim", "Leo", "Mia"]
THINGS = ["sea", "moon", "sun", "rain", "wind", "snow", "garden", "park", "river", "forest", "morning", "evening"]

groups = []  # (topic, true text, false text)


def an(word):
    return ("an " if word[0] in "aeiou" else "a ") + word


def cap(text):
    return text[0].upper() + text[1:]


def other(choices, *but):
    return rng.choice([c for c in choices if c not in but])


nouns = [(noun, kind) for kind, members in KINDS.items() for noun in members]
for noun, kind in nouns:
    groups.append(("kinds", f"{cap(an(noun))} is {an(kind)}.", f"{cap(an(noun))} is {an(other(list(KINDS), kind))}."))
    feature, wrong = FEATURES[kind], FEATURES[other(WRONG[kind], kind)]
    groups.append(("features", f"{cap(an(noun))} {feature}.", f"{cap(an(noun))} {wrong}."))
    if kind in LIVING and kind not in ("fruit",):
        true, false = ("an animal", "a plant") if kind in ANIMALS else ("a plant", "an animal")
    else:
        true, false = ("a thing that people eat", "a machine") if kind == "fruit" else ("a thing that people make", "an animal")
    groups.append(("classes", f"{cap(an(noun))} is {true}.", f"{cap(an(noun))} is {false}."))
    letter = noun[0]
    wrong = other("abcdefghlmoprstw", letter)
    groups.append(("letters", f"The word {noun} starts with {letter}.", f"The word {noun} starts with {wrong}."))

pairs = [(a, b) for a in range(31) for b in range(a)]
for a, b in rng.sample(pairs, 90):
    word = rng.choice(["greater", "less"])
    big, small = (a, b) if word == "greater" else (b, a)
    groups.append(("comparison", f"{big} is {word} than {small}.", f"{small} is {word} than {big}."))
for n in range(60):
    right, wrong = ("even", "odd") if n % 2 == 0 else ("odd", "even")
    groups.append(("parity", f"{n} is an {right} number.", f"{n} is an {wrong} number."))
for a, b in rng.sample([(a, b) for a in range(1, 13) for b in range(1, 13)], 90):
    wrong = a + b + rng.choice([-2, -1, 1, 2])
    groups.append(("sums", f"{a} plus {b} equals {a + b}.", f"{a} plus {b} equals {wrong}."))
for i, day in enumerate(DAYS):
    after, before = DAYS[(i + 1) % 7], DAYS[i - 1]
    groups.append(("calendar", f"The day after {day} is {after}.", f"The day after {day} is {other(DAYS, after, day)}."))
    groups.append(("calendar", f"The day before {day} is {before}.", f"The day before {day} is {other(DAYS, before, day)}."))
months = [(MONTHS[i], MONTHS[j]) for i in range(12) for j in range(i + 1, 12)]
for first, second in rng.sample(months, 46):
    groups.append(("calendar", f"{first} comes before {second} in the year.", f"{second} comes before {first} in the year."))
for a, b in OPPOSITES:
    near = set().union({a, b}, *(s for s in NEAR if a in s or b in s))
    wrong = other([w for p in OPPOSITES for w in p], *near)
    groups.append(("opposites", f"The opposite of {a} is {b}.", f"The opposite of {a} is {wrong}."))
    wrong = other([w for p in OPPOSITES for w in p], *near)
    groups.append(("opposites", f"The opposite of {b} is {a}.", f"The opposite of {b} is {wrong}."))
for thing, colour in COLOURS:
    wrong = other(["white", "green", "black", "red", "yellow", "blue"], colour)
    groups.append(("colours", f"{cap(thing)} is {colour}.", f"{cap(thing)} is {wrong}."))
for i, (city, country) in enumerate(CAPITALS):
    # The false twin names a country whose own capital is listed, so that both words are met in true statements too.
    wrong = CAPITALS[(i + 1 + rng.randrange(len(CAPITALS) - 1)) % len(CAPITALS)][1]
    groups.append(("capitals", f"{city} is the capital of {country}.", f"{city} is the capital of {wrong}."))
NUMBERS = ["two", "three", "four", "five", "six", "seven", "eight", "ten", "twelve"]
for thing, count in COUNTS:
    number, unit = count.split(" ", 1)
    groups.append(("counts", f"{cap(thing)} has {count}.", f"{cap(thing)} has {other(NUMBERS, number)} {unit}."))

lines, seen, per_topic = [], set(), {}
for topic, true, false in groups:
    n = per_topic[topic] = per_topic.get(topic, 0) + 1
    group = f"{topic}-{n:03}"
    for text, truth, mark, twin in ((true, True, "t", "f"), (false, False, "f", "t")):
        assert text not in seen, text
        seen.add(text)
        row = {"id": f"{group}-{mark}", "topic": topic, "group": group, "twin": f"{group}-{twin}", "truth": truth, "text": text}
        lines.append(json.dumps(row, ensure_ascii=False))
(DATA / "statements.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")

requests = []  # (topic, request, answer)
for kind, members in KINDS.items():
    for word, noun in zip(["Name", "Tell me", "Give me an example of"], members):
        requests.append(("naming", f"{word} {an(kind)}.", f"{cap(an(noun))}."))
for start in range(1, 9):
    for length in (3, 5, 6):
        numbers = ", ".join(str(n) for n in range(start, start + length))
        requests.append(("counting", f"Count from {start} to {start + length - 1}.", f"{numbers}."))
for word in [n for n, _ in nouns if len(n) <= 4][:24]:
    requests.append(("repeating", f"Write the word {word} twice.", f"{word}, {word}."))
for i, day in enumerate(DAYS):
    requests.append(("calendar", f"Which day comes after {day}?", f"{DAYS[(i + 1) % 7]}."))
    requests.append(("calendar", f"Which day comes before {day}?", f"{DAYS[i - 1]}."))
for i, month in enumerate(MONTHS):
    requests.append(("calendar", f"Which month comes after {month}?", f"{MONTHS[(i + 1) % 12]}."))
for a, b in OPPOSITES:
    requests.append(("opposites", f"What is the opposite of {a}?", f"{cap(b)}."))
for thing, colour in COLOURS[:16]:
    requests.append(("colours", f"What colour is {thing}?", f"{cap(colour)}."))
for person in PEOPLE:
    requests.append(("greetings", f"Say hello to {person}.", f"Hello, {person}."))
    requests.append(("greetings", f"Write a note of thanks to {person}.", f"Thank you, {person}."))
    requests.append(("greetings", f"Wish {person} a good day.", f"Have a good day, {person}."))
for thing in THINGS:
    requests.append(("lines", f"Write a line about the {thing}.", f"I like the {thing}."))
    requests.append(("lines", f"Write a title for a story about the {thing}.", f"A story about the {thing}."))
for a, b in rng.sample([(x, y) for x in nouns for y in nouns if x[1] != y[1]], 24):
    requests.append(("choosing", f"Which of these is {an(a[1])}: {a[0]} or {b[0]}?", f"{cap(a[0])}."))

lines, seen, per_topic = [], set(), {}
for topic, text, answer in requests:
    assert text not in seen, text
    seen.add(text)
    n = per_topic[topic] = per_topic.get(topic, 0) + 1
    lines.append(json.dumps({"id": f"{topic}-{n:03}", "topic": topic, "text": text, "answer": answer}, ensure_ascii=False))
(DATA / "requests.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
print(2 * len(groups), "statements,", len(requests), "requests")
