"""Composers, instruments, terms, ensembles and note values."""

from .twins import compare_each, table

TOPIC = "music"

COMPOSERS = [
    ("The Four Seasons", "Antonio Vivaldi"), ("The Magic Flute", "Wolfgang Amadeus Mozart"),
    ("the Moonlight Sonata", "Ludwig van Beethoven"), ("Swan Lake", "Pyotr Tchaikovsky"), ("Carmen", "Georges Bizet"),
    ("Aida", "Giuseppe Verdi"), ("Madama Butterfly", "Giacomo Puccini"), ("The Rite of Spring", "Igor Stravinsky"),
    ("Messiah", "George Frideric Handel"), ("Bolero", "Maurice Ravel"), ("The Planets", "Gustav Holst"),
    ("the Peer Gynt suites", "Edvard Grieg"), ("Finlandia", "Jean Sibelius"), ("La Mer", "Claude Debussy"),
    ("Peter and the Wolf", "Sergei Prokofiev"), ("Rhapsody in Blue", "George Gershwin"),
    ("the Brandenburg Concertos", "Johann Sebastian Bach"), ("the Enigma Variations", "Edward Elgar"),
    ("The Carnival of the Animals", "Camille Saint-Saens"), ("Parsifal", "Richard Wagner"),
]  # fmt: skip
FAMILIES = [
    ("violin", "string"), ("trumpet", "brass"), ("clarinet", "woodwind"), ("snare drum", "percussion"),
    ("cello", "string"), ("trombone", "brass"), ("oboe", "woodwind"), ("triangle", "percussion"), ("harp", "string"),
    ("tuba", "brass"), ("bassoon", "woodwind"), ("gong", "percussion"),
]  # fmt: skip
TERMS = [
    ("forte", "loud"), ("adagio", "slow"), ("piano", "soft"), ("crescendo", "getting louder"),
    ("diminuendo", "getting softer"), ("presto", "very fast"), ("accelerando", "getting faster"),
    ("staccato", "short and detached"),
]  # fmt: skip
GROUPS = [
    ("a trio", "three"), ("a quartet", "four"), ("a quintet", "five"), ("a sextet", "six"), ("a septet", "seven"),
    ("an octet", "eight"), ("a duet", "two"),
]  # fmt: skip
COMPARISONS = [
    ("{a} is larger than {b}.", "a cello", "a viola"), ("{a} is larger than {b}.", "a double bass", "a guitar"),
    ("{a} plays lower notes than {b}.", "a tuba", "a trumpet"),
    ("{a} plays lower notes than {b}.", "a cello", "a violin"),
    ("{a} plays higher notes than {b}.", "a piccolo", "a bassoon"),
    ("{a} sings higher than {b}.", "a soprano", "a bass"),
    ("{a} lasts longer than {b}.", "a half note", "a quarter note"),
    ("{a} has more keys than {b}.", "a piano", "a flute"),
    ("{a} lasts longer than {b}.", "a whole note", "an eighth note"),
    ("{a} has more strings than {b}.", "a harp", "a violin"),
    ("{a} is faster than {b}.", "an allegro", "a largo"),
    ("{a} has more players than {b}.", "an orchestra", "a quartet"),
]  # fmt: skip

PAIRS = (
    table("{b} composed {a}.", COMPOSERS)
    + table("The {a} is a {b} instrument.", FAMILIES)
    + table("In music, the term {a} means {b}.", TERMS, offset=3)
    + table("{a} is a piece for {b} performers.", GROUPS)
    + compare_each(COMPARISONS)
)
