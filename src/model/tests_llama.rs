//! What Llama has of its own: defaults, refusals, rotary scaling, weights without biases.

use std::fs;
use std::path::Path;

use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use super::config::{Family, ModelConfig};
use super::error::Result;
use super::params::specs;
use super::save::{SideFiles, write_hf_folder};
use super::tensor_file::FileDtype;
use super::tests_io::{Tensors, bytes_of, fails, fixture, folder, json_of, tensors};
use super::weights::Checkpoint;
use crate::ops::plan::{Llama3Scaling, Rope, rope_table};

fn parse(patch: Value) -> Result<ModelConfig> {
    let mut map = json_of("llama");
    map.extend(patch.as_object().unwrap().clone());
    ModelConfig::parse(Path::new("config.json"), Value::Object(map).to_string().as_bytes())
}

#[test]
fn absent_and_null_keys_have_transformers_defaults() {
    let c = ModelConfig::parse(Path::new("c"), br#"{"model_type": "llama"}"#).unwrap();
    assert_eq!((c.family, c.hidden_size, c.intermediate_size, c.num_hidden_layers), (Family::Llama, 4096, 11_008, 32));
    assert_eq!((c.num_attention_heads, c.num_key_value_heads, c.head_dim), (32, 32, 128));
    assert_eq!((c.vocab_size, c.max_position_embeddings, c.tie_word_embeddings), (32_000, 2048, false));
    assert_eq!((c.rms_norm_eps, c.rope()), (1e-6, Rope { theta: 1e4, scaling: None }));
    assert_eq!((c.bos_token_id, c.eos_token_id), (Some(1), vec![2]));
    let c =
        parse(json!({"num_key_value_heads": null, "bos_token_id": null, "eos_token_id": null, "rope_scaling": null}));
    let c = c.unwrap();
    assert_eq!((c.num_key_value_heads, c.bos_token_id, c.rope_scaling), (6, None, None));
    assert!(c.eos_token_id.is_empty());
    assert!(specs(&c).iter().all(|s| !s.name.ends_with(".bias")));
}

/// Keys and values of published files, in both spellings of the rotary settings.
#[test]
fn published_configs_are_read() {
    let llama = json!({
        "architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 128000,
        "eos_token_id": [128001, 128008, 128009], "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
        "intermediate_size": 14336, "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama",
        "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "pretraining_tp": 1,
        "rms_norm_eps": 1e-05, "rope_theta": 500000.0, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
        "transformers_version": "4.42.3", "use_cache": true, "vocab_size": 128256,
        "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192, "rope_type": "llama3"},
    });
    let of = |v: &Value| ModelConfig::parse(Path::new("c"), v.to_string().as_bytes()).unwrap();
    let c = of(&llama);
    let scaling = Llama3Scaling {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8192.0,
    };
    assert_eq!(c.rope(), Rope { theta: 5e5, scaling: Some(scaling) });
    assert_eq!((c.head_dim, c.eos_token_id.as_slice()), (128, &[128001, 128008, 128009][..]));
    assert_eq!(specs(&c).iter().map(|s| s.len() as u64).sum::<u64>(), 8_030_261_248);
    let mut five = llama;
    let mut rope = five["rope_scaling"].take();
    rope["rope_theta"] = json!(5e5);
    five["rope_parameters"] = rope;
    five.as_object_mut().unwrap().remove("rope_theta");
    assert_eq!(of(&five).rope(), c.rope());
    // The same type under its old name, the context from the model's own key or its length, and on Qwen2.
    let old = json!({"type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4});
    let context = |patch: Value| parse(patch).unwrap().rope_scaling.unwrap().original_max_position_embeddings;
    assert_eq!(context(json!({"rope_scaling": old})), 512.0);
    assert_eq!(context(json!({"rope_scaling": old, "original_max_position_embeddings": 128})), 128.0);
    assert_eq!(parse(json!({"rope_scaling": old, "model_type": "qwen2"})).unwrap().rope_theta, 1e4);
    assert_eq!(parse(json!({"rope_scaling": {"rope_type": "default"}})).unwrap().rope_scaling, None);

    let qwen = json!({
        "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151645,
        "hidden_act": "silu", "hidden_size": 3584, "initializer_range": 0.02, "intermediate_size": 18944,
        "max_position_embeddings": 32768, "max_window_layers": 28, "model_type": "qwen2", "num_attention_heads": 28,
        "num_hidden_layers": 28, "num_key_value_heads": 4, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
        "sliding_window": 131072, "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true,
        "use_sliding_window": false, "vocab_size": 152064,
    });
    assert_eq!(specs(&of(&qwen)).iter().map(|s| s.len() as u64).sum::<u64>(), 7_615_616_512);
}

#[test]
fn refusals_say_what_and_why() {
    let rope = |key: &str, value: Value| {
        let mut map = json_of("llama")["rope_scaling"].clone();
        map[key] = value;
        json!({ "rope_scaling": map })
    };
    for (patch, says) in [
        (json!({"attention_bias": true}), vec!["attention_bias true", "q_proj", "no biases"]),
        (json!({"mlp_bias": true}), vec!["mlp_bias true", "the MLP"]),
        (json!({"attention_bias": "no"}), vec!["`attention_bias` is \"no\"", "true or false"]),
        (json!({"num_key_value_heads": 4}), vec!["`num_key_value_heads` is 4", "divisor of num_attention_heads (6)"]),
        (rope("rope_type", json!("yarn")), vec!["rope_scaling of type \"yarn\"", "llama3"]),
        (rope("rope_type", json!("dynamic")), vec!["rope_scaling of type \"dynamic\""]),
        (rope("factor", json!(null)), vec!["`rope_scaling.factor` is missing", "llama3"]),
        (rope("factor", json!("8")), vec!["`rope_scaling.factor` is \"8\"", "positive number"]),
        (rope("factor", json!(0.5)), vec!["`rope_scaling.factor` is 0.5", "at least 1"]),
        (rope("low_freq_factor", json!(null)), vec!["`rope_scaling.low_freq_factor` is missing"]),
        (rope("low_freq_factor", json!(0)), vec!["`rope_scaling.low_freq_factor` is 0"]),
        (rope("high_freq_factor", json!(null)), vec!["`rope_scaling.high_freq_factor` is missing"]),
        (rope("high_freq_factor", json!(1)), vec!["`rope_scaling.high_freq_factor` is 1", "low_freq_factor (1)"]),
        (
            rope("original_max_position_embeddings", json!(-1)),
            vec!["rope_scaling.original_max_position_embeddings", "-1"],
        ),
        (rope("partial_rotary_factor", json!(0.5)), vec!["rope_scaling.partial_rotary_factor 0.5"]),
    ] {
        fails(parse(patch), &says);
    }
}

/// Frequencies of transformers, which are rounded to f32 at every operation.
#[test]
fn scaled_frequencies_are_those_of_transformers() {
    let file: Value = serde_json::from_slice(&fs::read(fixture("rope.json")).unwrap()).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let c = parse(json!({"rope_scaling": null, "rope_parameters": case["rope_parameters"]})).unwrap();
        let head_dim = case["head_dim"].as_u64().unwrap() as usize;
        let frequencies = c.rope().frequencies(head_dim);
        let want: Vec<f64> = case["inv_freq"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        assert_eq!(frequencies.len(), want.len());
        let mut kinds = [0; 3];
        for (i, (got, want)) in frequencies.iter().zip(&want).enumerate() {
            // The difference in the smooth part loses some bits.
            assert!((got - want).abs() <= 2e-6 * want, "{head_dim}, frequency {i}: {got}, transformers has {want}");
            let plain = Rope::from(c.rope_theta).frequencies(head_dim)[i];
            let ratio = plain / got;
            let factor = c.rope_scaling.unwrap().factor;
            let kind = if ratio == 1.0 {
                0
            } else if (ratio - factor).abs() < 1e-9 {
                2
            } else {
                1
            };
            kinds[kind] += 1;
        }
        assert!(kinds.iter().all(|&n| n > 0), "{head_dim}: kept, between and divided are {kinds:?}");
        let (table, position) = (rope_table(40, head_dim, c.rope()), 39);
        for (i, f) in frequencies.iter().enumerate() {
            let angle = position as f64 * f;
            assert_eq!(table[position * head_dim + i], angle.cos() as f32);
            assert_eq!(table[position * head_dim + head_dim / 2 + i], angle.sin() as f32);
        }
    }
}

#[test]
fn weights_have_no_biases() {
    let good = tensors(&fixture("llama/model.safetensors"));
    let check = |edit: &dyn Fn(&mut Tensors), patch: Value, says: &[&str]| {
        let (mut t, mut c) = (good.clone(), json_of("llama"));
        edit(&mut t);
        c.extend(patch.as_object().unwrap().clone());
        fails(Checkpoint::open(folder(&c, &bytes_of(&t)).path()), says);
    };
    let bias = "model.layers.1.self_attn.q_proj.bias";
    let add = |t: &mut Tensors| drop(t.insert(bias.into(), (Dtype::BF16, vec![96], vec![0; 192])));
    check(&add, json!({}), &["unexpected tensor", bias, "no part of a llama model", "LlamaForCausalLM"]);
    check(&|_| (), json!({"model_type": "qwen2"}), &["q_proj.bias", "missing"]);
    check(&|t| drop(t.remove("lm_head.weight")), json!({}), &["lm_head.weight", "tie_word_embeddings"]);
}

#[test]
fn a_saved_folder_says_what_it_is() {
    let source = Checkpoint::open(&fixture("llama")).unwrap();
    let params = specs(&source.config).into_iter().map(|s| Ok((s.name.clone(), source.f32(&s.name)?)));
    let dir = tempfile::tempdir().unwrap();
    write_hf_folder(dir.path(), &source.config, params, FileDtype::Bf16, &SideFiles::default()).unwrap();
    let saved: Value = serde_json::from_slice(&fs::read(dir.path().join("config.json")).unwrap()).unwrap();
    assert_eq!(saved, Value::Object(json_of("llama")), "every key as it was");
    let again = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(again.sha256().unwrap(), source.sha256().unwrap());
    assert_eq!(again.config.rope(), source.config.rope());
}
