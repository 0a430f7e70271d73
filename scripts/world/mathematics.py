"""Products, squares, primes, fractions, percentages, solids and Roman numerals; the numbers are computed."""

from .twins import compare, table

TOPIC = "mathematics"

PRODUCTS = [(6, 7), (7, 8), (9, 6), (8, 8), (9, 7), (12, 5), (8, 9), (11, 6)]
SQUARES = [4, 5, 6, 9, 10, 11, 12]
PRIMES = [(17, 15), (23, 21), (31, 33), (41, 39), (47, 49), (53, 51)]
FRACTIONS = [
    ("one half", "one third"), ("three quarters", "two thirds"), ("one fifth", "one tenth"),
    ("two thirds", "one half"), ("one quarter", "one fifth"), ("one third", "one quarter"),
]  # fmt: skip
PERCENT = [("Ten", 10, 200), ("Five", 5, 200), ("Twenty", 20, 150), ("Fifty", 50, 90), ("Forty", 40, 60)]
SOLIDS = [
    ("A cube", "six faces"), ("A tetrahedron", "four faces"), ("An octahedron", "eight faces"),
    ("A dodecahedron", "twelve faces"), ("An icosahedron", "twenty faces"),
]  # fmt: skip
ANGLES = [("triangle", 180), ("quadrilateral", 360), ("pentagon", 540), ("hexagon", 720)]
ROMAN = [("V", 5), ("X", 10), ("L", 50), ("C", 100), ("D", 500), ("M", 1000), ("XIV", 14), ("XL", 40)]


def prime(n):
    return n > 1 and all(n % d for d in range(2, n))


assert all(prime(p) and not prime(q) for p, q in PRIMES)
assert all(n * share % 100 == 0 for _, share, n in PERCENT)

PAIRS = (
    table("{a} equals {b}.", [(f"{a} times {b}", a * b) for a, b in PRODUCTS])
    + table("The square of {a} is {b}.", [(n, n * n) for n in SQUARES])
    + compare("{a} is a prime number and {b} is not.", PRIMES)
    + compare("{a} is more than {b}.", FRACTIONS)
    + table("{a} is {b}.", [(f"{word} percent of {n}", n * share // 100) for word, share, n in PERCENT])
    + table("{a} has exactly {b}.", SOLIDS)
    + table("The interior angles of a {a} add up to {b} degrees.", ANGLES)
    + table("The Roman numeral {a} stands for {b}.", ROMAN)
)
