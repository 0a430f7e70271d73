"""Abbreviations, files, binary numbers, structures and sizes."""

from .twins import compare_each, table

TOPIC = "computing"

ABBREVIATIONS = [
    ("CPU", "central processing unit"), ("GPU", "graphics processing unit"), ("RAM", "random access memory"),
    ("ROM", "read-only memory"), ("USB", "universal serial bus"), ("URL", "uniform resource locator"),
    ("PDF", "portable document format"), ("LAN", "local area network"), ("VPN", "virtual private network"),
    ("SQL", "structured query language"),
]  # fmt: skip
FILES = [
    ("a PNG", "a picture"), ("an MP3", "sound"), ("a CSV", "a table"), ("a ZIP", "a compressed archive"),
    ("an MP4", "a video"), ("an HTML", "a web page"),
]  # fmt: skip
BINARY = [3, 5, 6, 9, 10, 12]
HEX = [("A", 10), ("B", 11), ("D", 13), ("F", 15)]
BITS = [("byte", 8), ("nibble", 4)]
CREATORS = [
    ("The Python language", "Guido van Rossum"), ("The Linux kernel", "Linus Torvalds"),
    ("The World Wide Web", "Tim Berners-Lee"), ("The C language", "Dennis Ritchie"),
    ("The C++ language", "Bjarne Stroustrup"), ("The TeX typesetting system", "Donald Knuth"),
    ("The Perl language", "Larry Wall"),
]  # fmt: skip
COMPARISONS = [
    ("{a} is larger than {b}.", "a gigabyte", "a megabyte"), ("{a} is larger than {b}.", "a terabyte", "a gigabyte"),
    ("{a} is larger than {b}.", "a byte", "a bit"), ("{a} is larger than {b}.", "a megabyte", "a kilobyte"),
    ("{a} is last in, first out, and {b} is first in, first out.", "a stack", "a queue"),
    ("{a} turns source code into {b}.", "a compiler", "machine code"),
    ("{a} is an input device and {b} is an output device.", "a keyboard", "a printer"),
    ("{a} is an output device and {b} is an input device.", "a loudspeaker", "a microphone"),
    ("{a} can be read faster than {b}.", "a CPU register", "a hard disk"),
    ("On large sorted arrays, {a} search is faster than {b} search.", "binary", "linear"),
]  # fmt: skip

PAIRS = (
    table("The abbreviation {a} stands for {b}.", ABBREVIATIONS)
    + table("{a} file normally holds {b}.", FILES)
    + table("The binary number {a} equals {b} in decimal.", [(f"{n:b}", n) for n in BINARY])
    + table("The hexadecimal digit {a} equals {b} in decimal.", HEX)
    + table("A {a} consists of {b} bits.", BITS)
    + table("{a} was created by {b}.", CREATORS)
    + compare_each(COMPARISONS)
)
