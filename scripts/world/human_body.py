"""Bones, organs, doctors and vitamins."""

from .twins import compare_each, table

TOPIC = "human_body"

BONES = [
    ("femur", "thigh"), ("humerus", "upper arm"), ("tibia", "lower leg"), ("sternum", "chest"), ("patella", "knee"),
    ("mandible", "jaw"), ("scapula", "shoulder"), ("radius", "forearm"), ("stapes", "ear"), ("coccyx", "spine"),
]  # fmt: skip
ORGANS = [
    ("liver", "produces bile"), ("pancreas", "produces insulin"), ("heart", "pumps blood"),
    ("retina", "senses light"), ("cochlea", "senses sound"), ("bladder", "stores urine"),
    ("stomach", "produces gastric acid"), ("cornea", "lets light into the eye"), ("tongue", "carries taste buds"),
    ("trachea", "carries air to the lungs"),
]  # fmt: skip
DOCTORS = [
    ("a cardiologist", "heart"), ("a dermatologist", "skin"), ("a neurologist", "brain"),
    ("a nephrologist", "kidneys"), ("an ophthalmologist", "eyes"), ("a dentist", "teeth"),
    ("a hepatologist", "liver"), ("a pulmonologist", "lungs"), ("a podiatrist", "feet"),
]  # fmt: skip
VITAMINS = [("Scurvy", "C"), ("Rickets", "D"), ("Beriberi", "B1"), ("Pernicious anemia", "B12")]
COMPARISONS = [
    ("The {a} is longer than the {b}.", "femur", "humerus"),
    ("The {a} intestine is longer than the {b} intestine.", "small", "large"),
    ("The {a} is heavier than the {b}.", "liver", "spleen"),
    ("{a} carry blood away from the heart.", "arteries", "veins"),
    ("{a} carry blood back to the heart.", "veins", "arteries"),
    ("{a} blood cells carry oxygen to the tissues.", "red", "white"),
    ("{a} blood cells fight infections.", "white", "red"),
    ("The {a} is above the {b} in a standing person.", "heart", "bladder"),
    ("The {a} is above the {b} in a standing person.", "knee", "ankle"),
    ("Food passes through the {a} before it reaches the {b}.", "stomach", "small intestine"),
    ("Food passes through the {a} before it reaches the {b}.", "esophagus", "stomach"),
]  # fmt: skip

PAIRS = (
    table("The {a} is a bone of the {b}.", BONES)
    + table("The {a} {b}.", ORGANS)
    + table("{a} treats diseases of the {b}.", DOCTORS)
    + table("{a} is caused by a lack of vitamin {b}.", VITAMINS)
    + compare_each(COMPARISONS)
)
