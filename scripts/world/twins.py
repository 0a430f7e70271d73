"""Twins from tables: every true statement with a false one that differs by one name, number or order."""


def sentence(template, a, b):
    text = template.format(a=a, b=b)
    return text[0].upper() + text[1:]


def table(template, rows, offset=1):
    """Row i is true of its own b and false of the b `offset` rows on, so each b is as often true as false."""
    true = [sentence(template, a, b) for a, b in rows]
    false = [sentence(template, a, rows[(i + offset) % len(rows)][1]) for i, (a, _) in enumerate(rows)]
    clash = set(true) & set(false)
    assert not clash, f"true and false: {sorted(clash)}"
    return list(zip(true, false))


def compare(template, rows):
    """True of (a, b), false of (b, a): the same words in the other order."""
    return [(sentence(template, a, b), sentence(template, b, a)) for a, b in rows]


def compare_each(rows):
    """`compare` for rows that each have a template of their own."""
    return [pair for template, a, b in rows for pair in compare(template, [(a, b)])]
