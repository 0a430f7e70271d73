"""Instruments, waves, charges, heat and motion."""

from .twins import compare_each, table

TOPIC = "physics"

INSTRUMENTS = [
    ("a thermometer", "temperature"), ("a barometer", "air pressure"), ("an ammeter", "electric current"),
    ("a hygrometer", "humidity"), ("an anemometer", "wind speed"), ("a voltmeter", "voltage"),
    ("a stopwatch", "time"), ("a Geiger counter", "radioactivity"), ("a balance", "mass"),
    ("a protractor", "angles"),
]  # fmt: skip
COMPARISONS = [
    ("{a} travels faster than {b}.", "light", "sound"),
    ("Sound travels faster in {a} than in {b}.", "steel", "air"),
    ("Sound travels faster in {a} than in {b}.", "water", "air"),
    ("Light travels faster in {a} than in {b}.", "a vacuum", "glass"),
    ("{a} has a longer wavelength than {b}.", "red light", "blue light"),
    ("{a} has a longer wavelength than {b}.", "infrared light", "ultraviolet light"),
    ("{a} have a longer wavelength than {b}.", "radio waves", "gamma rays"),
    ("{a} have a higher frequency than {b}.", "X-rays", "microwaves"),
    ("{a} is more massive than {b}.", "a proton", "an electron"),
    ("{a} is more massive than {b}.", "a neutron", "an electron"),
    ("{a} is smaller than {b}.", "an atomic nucleus", "an atom"),
    ("{a} conducts electricity better than {b}.", "copper", "glass"),
    ("{a} conducts electricity better than {b}.", "silver", "rubber"),
    ("{a} conducts heat better than {b}.", "aluminium", "wood"),
    ("At sea level, {a} is hotter than {b}.", "boiling water", "melting ice"),
    ("{a} is denser than {b}.", "liquid water", "ice"),
    ("Gravity is stronger on {a} than on {b}.", "Earth", "the Moon"),
    ("{a} turns into {b} when it melts.", "ice", "water"),
]  # fmt: skip
# Each row next to its mirror image, so that no word marks the truth.
MIRRORED = [
    ("A proton has a {} charge.", "positive", "negative"), ("An electron has a {} charge.", "negative", "positive"),
    ("Two positive charges {} each other.", "repel", "attract"),
    ("A positive and a negative charge {} each other.", "attract", "repel"),
    ("Two north poles of magnets {} each other.", "repel", "attract"),
    ("The north pole of one magnet and the south pole of another {} each other.", "attract", "repel"),
    ("A liquid becomes a gas when it {}.", "evaporates", "freezes"),
    ("A liquid becomes a solid when it {}.", "freezes", "evaporates"),
    ("In air, a convex glass lens makes parallel rays of light {}.", "converge", "diverge"),
    ("In air, a concave glass lens makes parallel rays of light {}.", "diverge", "converge"),
    ("When air is heated at constant pressure, it {}.", "expands", "contracts"),
    ("When air is cooled at constant pressure, it {}.", "contracts", "expands"),
    ("A solid becomes a liquid when it {}.", "melts", "condenses"),
    ("A gas becomes a liquid when it {}.", "condenses", "melts"),
]  # fmt: skip

PAIRS = (
    table("{a} is used to measure {b}.", INSTRUMENTS)
    + compare_each(COMPARISONS)
    + [(template.format(a), template.format(b)) for template, a, b in MIRRORED]
)
