"""Teams, athletes, terms, places and events of sports."""

from .twins import compare_each, table

TOPIC = "sports"

TEAMS = [
    ("basketball", "five"), ("volleyball", "six"), ("baseball", "nine"), ("rugby union", "fifteen"),
    ("rugby league", "thirteen"), ("water polo", "seven"), ("beach volleyball", "two"), ("soccer", "eleven"),
]  # fmt: skip
ATHLETES = [
    ("Roger Federer", "tennis"), ("Pele", "football"), ("Michael Jordan", "basketball"), ("Muhammad Ali", "boxing"),
    ("Tiger Woods", "golf"), ("Usain Bolt", "sprinting"), ("Michael Phelps", "swimming"), ("Babe Ruth", "baseball"),
    ("Wayne Gretzky", "ice hockey"), ("Garry Kasparov", "chess"), ("Lewis Hamilton", "motor racing"),
    ("Sachin Tendulkar", "cricket"), ("Simone Biles", "gymnastics"), ("Eddy Merckx", "cycling"),
    ("Jonah Lomu", "rugby"), ("Lindsey Vonn", "skiing"),
]  # fmt: skip
TERMS = [
    ("slam dunk", "basketball"), ("home run", "baseball"), ("scrum", "rugby"), ("birdie", "golf"),
    ("touchdown", "American football"), ("checkmate", "chess"), ("uppercut", "boxing"),
    ("butterfly stroke", "swimming"), ("googly", "cricket"), ("slalom", "skiing"),
]  # fmt: skip
PLACES = [
    ("tennis", "a court"), ("golf", "a course"), ("ice hockey", "a rink"), ("boxing", "a ring"),
    ("water polo", "a pool"), ("judo", "a mat"), ("bowling", "a lane"),
]  # fmt: skip
EVENTS = [("decathlon", "ten"), ("heptathlon", "seven"), ("modern pentathlon", "five"), ("triathlon", "three")]
COMPARISONS = [
    ("{a} is larger than {b}.", "a basketball", "a tennis ball"),
    ("{a} is heavier than {b}.", "a bowling ball", "a golf ball"),
    ("{a} is larger than {b}.", "a football", "a baseball"),
    ("{a} is heavier than {b}.", "a curling stone", "a hockey puck"),
    ("{a} is longer than {b}.", "a marathon", "a half marathon"),
    ("{a} is longer than {b}.", "a mile race", "a 100 metre sprint"),
    ("{a} is larger than {b}.", "a football field", "a tennis court"),
    ("In the Olympic Games, {a} ranks above {b}.", "a gold medal", "a silver medal"),
    ("In the Olympic Games, {a} ranks above {b}.", "a silver medal", "a bronze medal"),
    ("In chess, {a} is worth more than {b}.", "a queen", "a pawn"),
    ("In chess, {a} is worth more than {b}.", "a rook", "a knight"),
    ("In golf, {a} is a better score than {b}.", "a birdie", "a bogey"),
]  # fmt: skip

PAIRS = (
    table("A {a} team has {b} players in play at the start of a match.", TEAMS, offset=3)
    + table("{a} became famous in {b}.", ATHLETES)
    + table("The term {a} belongs to {b}.", TERMS)
    + table("The usual place for {a} is {b}.", PLACES)
    + table("The {a} is a contest of {b} events.", EVENTS)
    + compare_each(COMPARISONS)
)
