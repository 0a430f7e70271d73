"""Devices, makers, materials, inventors and speeds."""

from .twins import compare_each, table

TOPIC = "technology"

DEVICES = [
    ("a refrigerator", "keeping food cold"), ("a telescope", "viewing distant stars"), ("a kettle", "boiling water"),
    ("a camera", "taking pictures"), ("a compass", "finding north"), ("a loudspeaker", "producing sound"),
    ("a vacuum cleaner", "removing dust"), ("a lawn mower", "cutting grass"), ("a printer", "putting text on paper"),
    ("a parachute", "slowing a fall"), ("an elevator", "carrying people between floors"),
    ("a sewing machine", "stitching cloth"), ("a pump", "moving liquids"),
]  # fmt: skip
GADGETS = [
    ("iPhone", "Apple"), ("PlayStation", "Sony"), ("Game Boy", "Nintendo"), ("Xbox", "Microsoft"), ("Kindle", "Amazon"),
]  # fmt: skip
CARS = [("Model T", "Ford"), ("Corolla", "Toyota"), ("Civic", "Honda"), ("Beetle", "Volkswagen")]
AIRLINERS = [("747", "Boeing"), ("A380", "Airbus")]
MATERIALS = [
    ("glass", "sand"), ("steel", "iron"), ("brick", "clay"), ("paper", "wood"), ("leather", "animal skin"),
    ("silk", "the cocoons of moths"),
]  # fmt: skip
INVENTORS = [
    ("dynamite", "Alfred Nobel"), ("the phonograph", "Thomas Edison"), ("the electric battery", "Alessandro Volta"),
    ("the smallpox vaccine", "Edward Jenner"),
]  # fmt: skip
COMPARISONS = [
    ("{a} flies faster than {b}.", "a jet airliner", "a helicopter"),
    ("{a} is faster than {b}.", "an express train", "a tractor"),
    ("{a} carries more cargo than {b}.", "a container ship", "a truck"),
    ("{a} is heavier than {b}.", "a locomotive", "a bicycle"),
    ("{a} uses sound waves and {b} uses radio waves.", "sonar", "radar"),
    ("{a} turns motion into electricity and {b} does the reverse.", "a generator", "an electric motor"),
    ("{a} lets current pass in one direction, and {b} in both.", "a diode", "a copper wire"),
    ("{a} turns sound into a signal, and {b} turns a signal into sound.", "a microphone", "a loudspeaker"),
    ("{a} stores energy as charge, and {b} opens and closes a circuit.", "a capacitor", "a switch"),
]  # fmt: skip

PAIRS = (
    table("The purpose of {a} is {b}.", DEVICES)
    + table("The {a} is a product of {b}.", GADGETS)
    + table("The {a} is a car made by {b}.", CARS)
    + table("The {a} is an airliner made by {b}.", AIRLINERS)
    + table("The main raw material of {a} is {b}.", MATERIALS)
    + table("The inventor of {a} was {b}.", INVENTORS)
    + compare_each(COMPARISONS)
)
