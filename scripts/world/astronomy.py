"""Moons, stars, planets and eclipses."""

from .twins import compare, table

TOPIC = "astronomy"

MOONS = [
    ("Titan", "Saturn"), ("Europa", "Jupiter"), ("Phobos", "Mars"), ("Triton", "Neptune"), ("Titania", "Uranus"),
    ("Enceladus", "Saturn"), ("Ganymede", "Jupiter"), ("Deimos", "Mars"), ("Proteus", "Neptune"),
    ("Oberon", "Uranus"),
]  # fmt: skip
STARS = [
    ("Betelgeuse", "Orion"), ("Sirius", "Canis Major"), ("Polaris", "Ursa Minor"), ("Vega", "Lyra"),
    ("Antares", "Scorpius"), ("Aldebaran", "Taurus"), ("Spica", "Virgo"), ("Regulus", "Leo"), ("Deneb", "Cygnus"),
    ("Altair", "Aquila"),
]  # fmt: skip
CLOSER = [
    ("Mercury", "Venus"), ("Venus", "Earth"), ("Earth", "Mars"), ("Mars", "Jupiter"), ("Jupiter", "Saturn"),
    ("Saturn", "Uranus"), ("Uranus", "Neptune"),
]  # fmt: skip
LARGER = [
    ("Jupiter", "Saturn"), ("Saturn", "Earth"), ("Neptune", "Earth"), ("Uranus", "Mars"), ("Venus", "Mercury"),
    ("Earth", "Mars"), ("the Sun", "Jupiter"), ("Earth", "the Moon"),
]  # fmt: skip
KINDS = [
    ("The Sun", "star"), ("The Milky Way", "galaxy"), ("Orion", "constellation"), ("Mars", "planet"),
    ("Vega", "star"), ("Cassiopeia", "constellation"), ("Neptune", "planet"),
]  # fmt: skip

PAIRS = (
    table("{a} is a moon of {b}.", MOONS)
    + table("The star {a} lies in the constellation {b}.", STARS)
    + compare("{a} orbits closer to the Sun than {b}.", CLOSER)
    + compare("{a} is larger than {b}.", LARGER)
    + table("{a} is a {b}.", KINDS)
    + compare("A {a} eclipse can only happen at new moon, not at full moon.", [("solar", "lunar")])
    + compare("A {a} eclipse can only happen at full moon, not at new moon.", [("lunar", "solar")])
)
