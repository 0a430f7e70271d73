"""Years, leaders, builders and what came first."""

from .twins import compare, table

TOPIC = "history"

# In the order of time, in two blocks, so that the false year is a near one.
YEARS_OLD = [
    ("The Battle of Hastings was fought", "1066"), ("Magna Carta was sealed", "1215"),
    ("The Ottomans took Constantinople", "1453"), ("Columbus first crossed the Atlantic", "1492"),
    ("The Great Fire of London broke out", "1666"), ("The storming of the Bastille took place", "1789"),
    ("The Battle of Waterloo was fought", "1815"),
]  # fmt: skip
YEARS_NEW = [
    ("The Titanic sank", "1912"), ("The First World War began", "1914"), ("The Wall Street crash took place", "1929"),
    ("The Second World War ended in Europe", "1945"), ("President Kennedy was shot", "1963"),
    ("Apollo 11 landed on the Moon", "1969"), ("The Chernobyl disaster happened", "1986"),
    ("East and West Germany were united", "1990"),
]  # fmt: skip
LEADERS = [
    ("Abraham Lincoln", "the United States"), ("Nelson Mandela", "South Africa"), ("Charles de Gaulle", "France"),
    ("Winston Churchill", "Britain"), ("Konrad Adenauer", "West Germany"), ("Indira Gandhi", "India"),
    ("Peter the Great", "Russia"), ("Montezuma", "the Aztecs"), ("Genghis Khan", "the Mongols"),
    ("Hannibal", "Carthage"), ("Leonidas", "Sparta"), ("Hammurabi", "Babylon"), ("Atahualpa", "the Incas"),
]  # fmt: skip
BUILDERS = [
    ("The pyramids of Giza were", "Egyptians"), ("The Colosseum was", "Romans"), ("Machu Picchu was", "Incas"),
    ("The Parthenon was", "Greeks"), ("Chichen Itza was", "Maya"), ("Angkor Wat was", "Khmer"),
    ("The Taj Mahal was", "Mughals"),
]  # fmt: skip
EARLIER = [
    ("the Bronze Age", "the Iron Age"), ("the Roman Empire", "the Soviet Union"),
    ("the Renaissance", "the Industrial Revolution"), ("the French Revolution", "the Russian Revolution"),
    ("the American Civil War", "the Vietnam War"), ("the Crusades", "the Napoleonic Wars"),
    ("the Black Death", "the First World War"),
]  # fmt: skip
INVENTED = [
    ("the wheel", "the steam engine"), ("the printing press", "the telephone"), ("the bow and arrow", "the cannon"),
    ("the telescope", "the aeroplane"), ("the telegraph", "the television"), ("paper", "photography"),
]  # fmt: skip


PAIRS = (
    table("{a} in {b}.", YEARS_OLD)
    + table("{a} in {b}.", YEARS_NEW)
    + table("{a} was a leader of {b}.", LEADERS)
    + table("{a} built by the {b}.", BUILDERS)
    + compare("{a} came before {b}.", EARLIER)
    + compare("{a} was invented before {b}.", INVENTED)
)
