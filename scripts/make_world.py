"""Write data/world.jsonl from scripts/world. Deterministic: python scripts/make_world.py

Facts about the world in twins: one true and one false statement that differ by a minimal edit and share a group, in the
format of data/statements.jsonl. False twins come from the same table as the true ones wherever that is possible, so
that a word says little about the truth. The topics in HELD_OUT are for tests on topics that were never trained on.
"""

import importlib
import json
import sys
from pathlib import Path

sys.dont_write_bytecode = True  # no __pycache__ in the tree
DATA = Path(__file__).parent.parent / "data"
TOPICS = [
    "capitals", "geography", "countries", "history", "astronomy", "physics", "chemistry", "human_body", "animals",
    "plants", "mathematics", "units", "language", "literature", "art", "music", "food", "sports", "computing",
    "technology",
]  # fmt: skip
HELD_OUT = ["music", "food", "sports"]


def check(text):
    assert 15 <= len(text) <= 110, f"length {len(text)}: {text}"
    assert text.isascii() and text.isprintable() and '"' not in text and "'" not in text, text
    assert text.endswith(".") and not text.endswith("..") and "  " not in text, text
    assert text[0].isupper() or text[0].isdigit(), text


def rows():
    seen, out = set(), []
    for topic in TOPICS:
        module = importlib.import_module(f"world.{topic}")
        assert module.TOPIC == topic and 40 <= len(module.PAIRS) <= 62, f"{topic}: {len(module.PAIRS)} groups"
        for number, pair in enumerate(module.PAIRS, 1):
            group = f"{topic}-{number:03}"
            ids = [f"{group}-t", f"{group}-f"]
            for i, text in enumerate(pair):
                check(text)
                assert text.lower() not in seen, f"twice: {text}"
                seen.add(text.lower())
                row = {"id": ids[i], "topic": topic, "group": group, "twin": ids[1 - i], "truth": i == 0, "text": text}
                out.append(row)
    return out


def main():
    assert set(HELD_OUT) <= set(TOPICS)
    out = rows()
    with open(DATA / "world.jsonl", "w") as f:
        f.writelines(json.dumps(row) + "\n" for row in out)
    held = sum(row["topic"] in HELD_OUT for row in out)
    print(f"{len(out)} statements in {len(out) // 2} groups, {held / len(out):.1%} of them held out")
    for topic in TOPICS:
        print(f"{topic:12} {sum(row['topic'] == topic for row in out) // 2}")


if __name__ == "__main__":
    main()
