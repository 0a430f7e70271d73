"""Write src/text/fixtures/llama3_*: a small byte-level BPE in the form of Llama 3's tokenizer (and of the R1 distillations on it), and what
transformers makes of texts and conversations with it.

Run with a Python that has transformers, in the project's root:

    python scripts/tokenizer_fixtures.py
"""

import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

OUT = Path("src/text/fixtures")
# Llama 3's word split: up to three digits at a time, contractions in any case.
SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
# Added, but not special: as R1's distillations have them.
PLAIN = ["<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"]
BOS = SPECIAL[0]
# In words of our own: the markers of the one and the reasoning of the other.
CHAT = """{{- bos_token }}
{%- for message in messages %}
    {%- if message['role'] == 'assistant' and '</think>' in message['content'] %}
        {%- set content = message['content'].split('</think>')[-1] %}
    {%- else %}
        {%- set content = message['content'] %}
    {%- endif %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + content | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<｜Assistant｜><think>\\n' }}{%- endif %}
"""
TEXTS = [
    "", " ", "What is 3 + 4?", "1234567 and 12 of 1,000", "don't DON'T I'LL we've", "  two  spaces\n\n\nlines \r\n end  ",
    "naïve café, 日本語 and 👍🏽", "def f(x):\n\treturn x*x", "<|begin_of_text|>Hi<|eot_id|>", "<think>\nthe answer</think>\n\n7",
    "a<|eot_id|> b <|not_a_token|>", "\u00a0\u2003x", "e\u0301",
]
CONVERSATIONS = [
    [{"role": "user", "content": "What is 3 + 4?"}],
    [{"role": "system", "content": " You are terse.\n"}, {"role": "user", "content": "Is 7 prime?"}],
    [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "<think>\nso</think>\n\nBecause."},
     {"role": "user", "content": "Really?"}],
]


def make():
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=480, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    # Numbers and blank lines too, so that groups of digits and of line ends are tokens.
    numbers = " ".join(str(n) for n in range(0, 1000, 7)) * 8
    tokenizer.train_from_iterator([Path("ARCHITECTURE.md").read_text(), numbers, "a\n\nb\n\n\nc\n\n" * 40], trainer)
    tokenizer.add_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in PLAIN])
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single=f"{BOS} $A", pair=f"{BOS} $A {BOS}:1 $B:1",
                                      special_tokens=[(BOS, tokenizer.token_to_id(BOS))])])
    return tokenizer


def main():
    tokenizer = make()
    path = OUT / "llama3_tokenizer.json"
    path.write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    fast = PreTrainedTokenizerFast(tokenizer_file=str(path), bos_token=BOS, eos_token="<|eot_id|>", chat_template=CHAT)
    cases = {
        "bos_token": BOS, "eos_token": "<|eot_id|>", "chat_template": CHAT, "special": SPECIAL, "plain": PLAIN,
        "texts": [{"text": t, "ids": fast.encode(t, add_special_tokens=False),
                   "decoded": fast.decode(fast.encode(t, add_special_tokens=False), skip_special_tokens=True)} for t in TEXTS],
        "conversations": [{"messages": c, "text": fast.apply_chat_template(c, add_generation_prompt=True, tokenize=False),
                           "ids": list(fast.apply_chat_template(c, add_generation_prompt=True, return_dict=False))}
                          for c in CONVERSATIONS],
    }
    (OUT / "llama3_cases.json").write_text(json.dumps(cases, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(tokenizer.get_vocab_size(), "tokens,", len(TEXTS), "texts,", len(CONVERSATIONS), "conversations")


if __name__ == "__main__":
    main()
