"""Painters, museums, crafts and mixed paints."""

from .twins import table

TOPIC = "art"

PAINTERS = [
    ("the Mona Lisa", "Leonardo da Vinci"), ("The Starry Night", "Vincent van Gogh"), ("Guernica", "Pablo Picasso"),
    ("The Night Watch", "Rembrandt"), ("Girl with a Pearl Earring", "Johannes Vermeer"), ("The Scream", "Edvard Munch"),
    ("The Birth of Venus", "Sandro Botticelli"), ("American Gothic", "Grant Wood"), ("Nighthawks", "Edward Hopper"),
    ("The Persistence of Memory", "Salvador Dali"), ("Liberty Leading the People", "Eugene Delacroix"),
    ("The Raft of the Medusa", "Theodore Gericault"), ("The Third of May 1808", "Francisco Goya"),
    ("The School of Athens", "Raphael"), ("The Garden of Earthly Delights", "Hieronymus Bosch"),
    ("The Hay Wain", "John Constable"), ("The Fighting Temeraire", "J. M. W. Turner"),
    ("The Son of Man", "Rene Magritte"),
    ("Las Meninas", "Diego Velazquez"), ("The Arnolfini Portrait", "Jan van Eyck"),
]  # fmt: skip
MUSEUMS = [
    ("The Louvre", "Paris"), ("The Prado", "Madrid"), ("The Uffizi Gallery", "Florence"),
    ("The Rijksmuseum", "Amsterdam"), ("The Hermitage Museum", "Saint Petersburg"), ("Tate Modern", "London"),
    ("The Acropolis Museum", "Athens"), ("The Munch Museum", "Oslo"),
]  # fmt: skip
CRAFTS = [
    ("origami", "folding paper"), ("calligraphy", "beautiful handwriting"), ("ikebana", "arranging flowers"),
    ("bonsai", "growing miniature trees"), ("pottery", "shaping clay"), ("topiary", "clipping shrubs into shapes"),
    ("embroidery", "stitching patterns on cloth"), ("tattooing", "putting ink into skin"),
    ("choreography", "designing dances"),
]  # fmt: skip
PAINTS = [
    ("blue and yellow", "green"), ("red and yellow", "orange"), ("red and white", "pink"), ("black and white", "grey"),
    ("red and blue", "purple"),
]  # fmt: skip

PAIRS = (
    table("{a} was painted by {b}.", PAINTERS)
    + table("{a} is a museum in {b}.", MUSEUMS)
    + table("{a} is the art of {b}.", CRAFTS)
    + table("Mixing {a} paint gives {b} paint.", PAINTS)
)
