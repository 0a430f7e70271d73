//! Training of a small byte-level BPE in Qwen2's form: NFC, Qwen2's word split with single digits, three special tokens.

use std::path::Path;

use serde_json::json;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, NormalizerWrapper, PostProcessorWrapper, SplitDelimiterBehavior, TokenizerBuilder};

use super::TextError;
use crate::durable;

/// End of text and padding.
pub const END_OF_TEXT: &str = "<|endoftext|>";
/// Start of a turn.
pub const TURN_START: &str = "<|im_start|>";
/// End of a turn: the end token of a response.
pub const TURN_END: &str = "<|im_end|>";

/// Qwen2's pre-tokenizer: contractions, words with their leading space, single digits, punctuation runs, white space.
const WORDS: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// ChatML with Qwen2's default system line where a conversation does not begin with a system message.
const CHAT_TEMPLATE: &str = "{% for message in messages %}\
{% if loop.first and message['role'] != 'system' %}\
{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}\
{% endif %}\
{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}\
{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// Learn merges from `texts` until the vocabulary (bytes, merges, three special tokens at the end) has `vocab_size` entries.
///
/// Deterministic: the same texts in any order give the same bytes. Returns `tokenizer.json`.
pub fn train_bpe<S: AsRef<str> + Send>(
    texts: impl Iterator<Item = S> + Send,
    vocab_size: usize,
) -> Result<String, TextError> {
    let fail = |e: &dyn std::fmt::Display| TextError::Train { detail: e.to_string() };
    if vocab_size < 256 + 3 {
        return Err(fail(&format!("a vocabulary of {vocab_size} cannot hold 256 bytes and 3 special tokens")));
    }
    let split =
        Split::new(SplitPattern::Regex(WORDS.into()), SplitDelimiterBehavior::Isolated, false).map_err(|e| fail(&e))?;
    let bytes = ByteLevel::new(false, false, false);
    let mut tokenizer = TokenizerBuilder::<BPE, NormalizerWrapper, Sequence, PostProcessorWrapper, ByteLevel>::new()
        .with_model(BPE::default())
        .with_normalizer(Some(NFC.into()))
        .with_pre_tokenizer(Some(Sequence::new(vec![split.into(), bytes.into()])))
        .with_post_processor(Some(bytes.into()))
        .with_decoder(Some(bytes))
        .build()
        .map_err(|e| fail(&e))?;
    let mut trainer = BpeTrainer::builder()
        .vocab_size(vocab_size - 3)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    tokenizer.train(&mut trainer, texts).map_err(|e| fail(&e))?;
    // Added last, so that they stand behind the vocabulary as Qwen2's do.
    let specials: Vec<AddedToken> =
        [END_OF_TEXT, TURN_START, TURN_END].iter().map(|t| AddedToken::from(*t, true).normalized(false)).collect();
    tokenizer.add_special_tokens(&specials);
    let size = tokenizer.get_vocab_size(true);
    if size != vocab_size {
        return Err(fail(&format!("the texts give only {size} of {vocab_size} entries; lower vocab_size or add text")));
    }
    tokenizer.to_string(true).map_err(|e| fail(&e))
}

/// Write the tokenizer files of a model folder: `tokenizer.json`, `tokenizer_config.json` (with the chat template),
/// `special_tokens_map.json` and `generation_config.json` (greedy, no penalties).
pub fn write_files(dir: &Path, tokenizer_json: &str) -> Result<(), TextError> {
    let tokenizer = tokenizers::Tokenizer::from_bytes(tokenizer_json.as_bytes())
        .map_err(|e| TextError::Train { detail: e.to_string() })?;
    let id = |token: &str| {
        let missing = || TextError::Train { detail: format!("the tokenizer has no {token}") };
        tokenizer.token_to_id(token).ok_or_else(missing)
    };
    let (end, start, turn) = (id(END_OF_TEXT)?, id(TURN_START)?, id(TURN_END)?);
    let added = |content: &str| json!({"content": content, "lstrip": false, "normalized": false, "rstrip": false, "single_word": false, "special": true});
    let config = json!({
        "add_prefix_space": false,
        "added_tokens_decoder": {
            end.to_string(): added(END_OF_TEXT), start.to_string(): added(TURN_START), turn.to_string(): added(TURN_END),
        },
        "additional_special_tokens": [TURN_START, TURN_END],
        "bos_token": null,
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": false,
        "eos_token": TURN_END,
        "errors": "replace",
        "model_max_length": 512,
        "pad_token": END_OF_TEXT,
        "split_special_tokens": false,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": null,
    });
    let specials = json!({
        "additional_special_tokens": [TURN_START, TURN_END], "eos_token": TURN_END, "pad_token": END_OF_TEXT,
    });
    let generation = json!({
        "bos_token_id": end, "do_sample": false, "eos_token_id": [turn, end], "pad_token_id": end, "repetition_penalty": 1.0,
    });
    let pretty = |value: &serde_json::Value| format!("{value:#}\n");
    let files = [
        ("tokenizer_config.json", pretty(&config)),
        ("special_tokens_map.json", pretty(&specials)),
        ("generation_config.json", pretty(&generation)),
        // Last: where it is, the others are.
        ("tokenizer.json", tokenizer_json.to_string()),
    ];
    for (name, text) in files {
        let path = dir.join(name);
        durable::write(&path, text.as_bytes()).map_err(|e| TextError::Write { path: e.path, source: e.source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Message, Tokenizer};
    use super::*;
    use crate::domain::corpus::Corpus;

    const TEXTS: [&str; 4] =
        ["Calculate: 12 + 5", "What is (3 + 4) × 2?", "The answer is 14.\nYes, it's so.", "So is the answer."];

    #[test]
    fn a_trained_folder_loads_and_round_trips() {
        let json = train_bpe(TEXTS.iter(), 290).unwrap();
        assert_eq!(json, train_bpe(TEXTS.iter().rev(), 290).unwrap(), "order of the texts must not matter");
        let dir = tempfile::tempdir().unwrap();
        write_files(dir.path(), &json).unwrap();
        let tokenizer = Tokenizer::load(dir.path()).unwrap();
        assert_eq!(tokenizer.vocab_size(), 290);
        assert_eq!(
            [END_OF_TEXT, TURN_START, TURN_END].map(|t| tokenizer.token_id(t)),
            [Some(287), Some(288), Some(289)]
        );
        assert_eq!((tokenizer.eos_ids(), tokenizer.pad_id()), (&[289, 287][..], Some(287)));
        for text in ["The answer is 1024 × 3.", "naïve 日本 🦀\n\n  two", "", "a<|im_end|>b"] {
            let ids = tokenizer.encode(text).unwrap();
            assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
        }
        assert_eq!(tokenizer.encode("2026").unwrap().len(), 4, "digits stand alone");
        assert_eq!(tokenizer.decode(&tokenizer.encode("a<|im_end|>b").unwrap(), true).unwrap(), "ab");
        assert_eq!((tokenizer.token_text(289).as_deref(), tokenizer.token_text(290)), (Some(TURN_END), None));
        assert_eq!(tokenizer.response_tokens("42").unwrap(), 3);
        let prompt = tokenizer.render(&[Message::user("Hi")], true).unwrap();
        assert_eq!(
            prompt,
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
        );
        assert_eq!(tokenizer.encode_chat(&[Message::user("Hi")], true).unwrap(), tokenizer.encode(&prompt).unwrap());
    }

    /// The committed tokenizer is what the corpus gives; `PROBITY_WRITE=1` writes it after the corpus has changed on purpose.
    #[test]
    fn the_tiny_tokenizer_is_made_from_the_corpus() {
        let mut table: toml::Table = toml::from_str(include_str!("../../configs/tiny-pretrain.toml")).unwrap();
        let seed = u64::try_from(table["seed"].as_integer().unwrap()).unwrap();
        let size = |key: &str| usize::try_from(table["tokenizer"][key].as_integer().unwrap()).unwrap();
        let (vocab_size, examples) = (size("vocab_size"), size("examples"));
        let mut take = |key: &str| table.remove(key).unwrap();
        let corpus = Corpus::new(take("corpus").try_into().unwrap(), take("frugality").try_into().unwrap()).unwrap();
        let json = train_bpe(corpus.turns(seed, examples), vocab_size).unwrap();
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/tiny");
        if std::env::var_os("PROBITY_WRITE").is_some() {
            write_files(&committed, &json).unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        write_files(dir.path(), &json).unwrap();
        for name in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json"] {
            let [ours, theirs] = [dir.path(), &committed].map(|d| std::fs::read(d.join(name)).unwrap());
            assert!(ours == theirs, "{name} differs from data/tiny");
        }
    }

    #[test]
    fn impossible_vocabularies_are_refused() {
        assert!(matches!(train_bpe(TEXTS.iter(), 100), Err(TextError::Train { .. })));
        let message = train_bpe(["ab"].iter(), 290).unwrap_err().to_string();
        assert!(message.contains("lower vocab_size"), "{message}");
    }

    /// Damaged files of every kind give errors, never panics, and never a tokenizer that panics later.
    #[test]
    fn damaged_files_are_errors() {
        let json = train_bpe(TEXTS.iter(), 290).unwrap();
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Tokenizer::load(dir.path()), Err(TextError::Read { .. })));
        write_files(dir.path(), &json).unwrap();
        let path = dir.path().join("tokenizer.json");
        let mut rng = crate::domain::mt19937::Mt19937::new(5);
        for round in 0..60 {
            let mut bytes = json.clone().into_bytes();
            if round % 2 == 0 {
                bytes.truncate(rng.index(bytes.len()));
            } else {
                for _ in 0..3 {
                    let at = rng.index(bytes.len());
                    bytes[at] = *rng.choice(b"{}[]\",:0x").unwrap();
                }
            }
            std::fs::write(&path, &bytes).unwrap();
            let loaded = Tokenizer::load(dir.path());
            assert!(round % 2 == 1 || loaded.is_err(), "a truncated file must not load");
            if let Ok(tokenizer) = loaded {
                let _ = tokenizer.encode("The answer is 12.").and_then(|ids| tokenizer.decode(&ids, false));
            }
        }
        std::fs::write(&path, b"\"\xff\"").unwrap();
        assert!(matches!(Tokenizer::load(dir.path()), Err(TextError::NotUtf8 { at: 1, .. })));
        std::fs::write(&path, &json).unwrap();
        for (name, text) in [
            ("generation_config.json", "{\"eos_token_id\": -1}"),
            ("generation_config.json", "{\"eos_token_id\": [1, \"a\"]}"),
            ("tokenizer_config.json", "[]"),
            ("tokenizer_config.json", "{\"chat_template\": \"{% for %}\"}"),
            ("config.json", "{"),
        ] {
            let path = dir.path().join(name);
            let before = std::fs::read(&path).ok();
            std::fs::write(&path, text).unwrap();
            assert!(Tokenizer::load(dir.path()).is_err(), "{name}: {text}");
            match before {
                Some(bytes) => std::fs::write(&path, bytes).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
        }
        std::fs::remove_file(dir.path().join("tokenizer_config.json")).unwrap();
        let bare = Tokenizer::load(dir.path()).unwrap();
        assert!(matches!(bare.render(&[], true), Err(TextError::NoTemplate)));
        assert_eq!(bare.eos_ids(), [289, 287]);
    }
}
