//! Readers and writers of model files: what they accept, and that everything else is a clear error and never a panic.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::config::ModelConfig;
use super::error::Result;
use super::params::specs;
use super::save::{SideFiles, write_hf_folder};
use super::tensor_file::{FileDtype, TensorFile};
use super::weights::Checkpoint;
use crate::ops::Quant;

pub(super) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels-tests/golden").join(name)
}

/// An editable safetensors file.
pub(super) type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

pub(super) fn tensors(path: &Path) -> Tensors {
    let bytes = fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    file.iter().map(|(n, t)| (n.to_string(), (t.dtype(), t.shape().to_vec(), t.data().to_vec()))).collect()
}

pub(super) fn bytes_of(tensors: &Tensors) -> Vec<u8> {
    let views = tensors.iter().map(|(n, (d, s, b))| (n.as_str(), TensorView::new(*d, s.clone(), b).unwrap()));
    serialize(views, None).unwrap()
}

pub(super) fn set_f32(t: &mut Tensors, name: &str, index: usize, value: f32) {
    t.get_mut(name).unwrap().2[4 * index..4 * index + 4].copy_from_slice(&value.to_le_bytes());
}

pub(super) fn json_of(dir: &str) -> Map<String, Value> {
    serde_json::from_slice(&fs::read(fixture(dir).join("config.json")).unwrap()).unwrap()
}

/// A model folder with the given config and weights.
pub(super) fn folder(config: &Map<String, Value>, weights: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("config.json"), Value::Object(config.clone()).to_string()).unwrap();
    fs::write(dir.path().join("model.safetensors"), weights).unwrap();
    dir
}

#[track_caller]
pub(super) fn fails<T>(result: Result<T>, says: &[&str]) {
    let text = result.err().expect("this should have been refused").to_string();
    for part in says {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}

// ---- config.json ------------------------------------------------------------------------------------------------------

#[test]
fn config_in_both_spellings() {
    let tied = ModelConfig::read(&fixture("tied")).unwrap();
    assert_eq!((tied.hidden_size, tied.head_dim, tied.num_key_value_heads, tied.vocab_size), (64, 16, 2, 320));
    assert_eq!((tied.rope_theta, tied.rms_norm_eps, tied.tie_word_embeddings), (1e6, 1e-6, true));
    assert_eq!((tied.bos_token_id, tied.eos_token_id, tied.dtype), (Some(1), vec![2], Some(FileDtype::Bf16)));
    let untied = ModelConfig::read(&fixture("untied")).unwrap();
    assert_eq!((untied.hidden_size, untied.head_dim, untied.num_attention_heads), (60, 20, 3));
    assert_eq!((untied.rope_theta, untied.rms_norm_eps, untied.tie_word_embeddings), (1e4, 1e-5, false));
    assert_eq!((untied.bos_token_id, untied.eos_token_id, untied.dtype), (None, vec![2, 3], Some(FileDtype::F32)));
}

fn parse(patch: Value) -> Result<ModelConfig> {
    let mut map = json_of("tied");
    map.extend(patch.as_object().unwrap().clone());
    ModelConfig::parse(Path::new("config.json"), Value::Object(map).to_string().as_bytes())
}

#[test]
fn absent_and_null_keys_have_transformers_defaults() {
    let c = ModelConfig::parse(Path::new("c"), br#"{"model_type": "qwen2"}"#).unwrap();
    assert_eq!((c.hidden_size, c.intermediate_size, c.num_hidden_layers), (4096, 22016, 32));
    assert_eq!((c.num_attention_heads, c.num_key_value_heads, c.head_dim), (32, 32, 128));
    assert_eq!((c.vocab_size, c.max_position_embeddings, c.tie_word_embeddings), (151_936, 32_768, false));
    assert_eq!((c.rms_norm_eps, c.rope_theta), (1e-6, 1e4));
    let nulls = json!({"head_dim": null, "num_key_value_heads": null, "rms_norm_eps": null, "rope_theta": null,
        "tie_word_embeddings": null, "eos_token_id": null, "rope_parameters": null, "layer_types": null});
    let c = parse(nulls).unwrap();
    assert_eq!((c.head_dim, c.num_key_value_heads, c.rms_norm_eps, c.rope_theta), (16, 4, 1e-6, 1e4));
    assert!(!c.tie_word_embeddings && c.eos_token_id.is_empty());
    // The nested key wins over the old one, as in transformers 5.
    let c = parse(json!({"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}})).unwrap();
    assert_eq!(c.rope_theta, 5e5);
    // A window that no layer uses is no window.
    parse(json!({"use_sliding_window": true, "sliding_window": 4096, "max_window_layers": 2})).unwrap();
    parse(json!({"use_sliding_window": true, "sliding_window": null, "max_window_layers": 0})).unwrap();
}

#[test]
fn config_refusals_say_what_and_why() {
    for (patch, says) in [
        (json!({"model_type": "mistral"}), vec!["model_type \"mistral\"", "\"qwen2\" and \"llama\""]),
        (json!({"model_type": null}), vec!["`model_type` is missing"]),
        (json!({"hidden_size": "64"}), vec!["`hidden_size` is \"64\"", "whole number"]),
        (json!({"hidden_size": 64.5}), vec!["`hidden_size` is 64.5"]),
        (json!({"hidden_size": -4}), vec!["`hidden_size` is -4"]),
        (json!({"hidden_size": 0}), vec!["`hidden_size` is 0"]),
        (json!({"hidden_size": 18446744073709551615u64}), vec!["`hidden_size` is 18446744073709551615"]),
        (json!({"hidden_size": 62}), vec!["hidden_size 62", "multiple of 4"]),
        (json!({"intermediate_size": 175}), vec!["intermediate_size 175", "multiple of 4"]),
        (json!({"head_dim": 15}), vec!["head_dim 15", "multiple of 4"]),
        (json!({"num_attention_heads": 3}), vec!["num_attention_heads", "divisor of hidden_size"]),
        (json!({"num_attention_heads": 32, "num_key_value_heads": 32}), vec!["head size of 2", "multiple of 4"]),
        (json!({"num_key_value_heads": 3}), vec!["`num_key_value_heads` is 3", "divisor of num_attention_heads (4)"]),
        (json!({"num_hidden_layers": 100000}), vec!["`num_hidden_layers` is 100000"]),
        (json!({"vocab_size": 16777216, "hidden_size": 16777216}), vec!["model.embed_tokens.weight", "2^32"]),
        (json!({"hidden_act": "gelu"}), vec!["hidden_act \"gelu\"", "silu"]),
        (json!({"rms_norm_eps": 0}), vec!["`rms_norm_eps` is 0"]),
        (json!({"rope_theta": -1}), vec!["`rope_theta` is -1"]),
        (json!({"rope_scaling": {"type": "yarn", "factor": 4.0}}), vec!["rope_scaling of type \"yarn\""]),
        (json!({"rope_parameters": {"rope_type": "linear", "factor": 2}}), vec!["rope_parameters of type \"linear\""]),
        (json!({"rope_parameters": {"rope_type": 3}}), vec!["rope_parameters of type 3", "default", "llama3"]),
        (json!({"rope_parameters": {"partial_rotary_factor": 0.5}}), vec!["rope_parameters.partial_rotary_factor 0.5"]),
        (json!({"partial_rotary_factor": 0.5}), vec!["partial_rotary_factor 0.5", "every element"]),
        (json!({"rope_parameters": {"rope_theta": "x"}}), vec!["`rope_parameters.rope_theta` is \"x\""]),
        (json!({"rope_parameters": {"full_attention": {}}}), vec!["rope_parameters per layer type"]),
        (json!({"rope_parameters": 3}), vec!["`rope_parameters` is 3", "an object"]),
        (json!({"use_sliding_window": true, "sliding_window": 64, "max_window_layers": 1}), vec!["sliding window"]),
        (json!({"layer_types": ["full_attention", "sliding_attention"]}), vec!["sliding_attention"]),
        (json!({"layer_types": ["full_attention"]}), vec!["`layer_types` is a list of 1", "one entry per layer (2)"]),
        (json!({"tie_word_embeddings": "yes"}), vec!["`tie_word_embeddings` is \"yes\"", "true or false"]),
        (json!({"eos_token_id": [1, "a"]}), vec!["eos_token_id", "token id"]),
        (json!({"quantization_config": {"quant_method": "gptq"}}), vec!["quantised", "gptq"]),
    ] {
        fails(parse(patch), &says);
    }
    for (bytes, says) in [
        (&b""[..], "not a JSON object"),
        (b"[1]", "not a JSON object"),
        (b"{\"model_type\": \"qwen2\"", "not a JSON object"),
        (b"{\"a\": \"\xff\"}", "not a JSON object"),
        (b"{\"hidden_size\": 4, \"hidden_size\": 8}", "`hidden_size` appears twice"),
    ] {
        fails(ModelConfig::parse(Path::new("config.json"), bytes), &["config.json", says]);
    }
    let deep = "[".repeat(100_000);
    fails(ModelConfig::parse(Path::new("c"), format!("{{\"a\": {deep}").as_bytes()), &["recursion"]);
}

#[test]
fn config_is_written_back_with_unknown_keys() {
    let patch = json!({"my_key": {"deep": [1, null]}, "head_dim": null, "rms_norm_eps": null});
    let written = parse(patch.clone()).unwrap().to_map(FileDtype::F32);
    let mut want = json_of("tied");
    want.extend(patch.as_object().unwrap().clone());
    want.insert("head_dim".into(), json!(16));
    want.insert("rms_norm_eps".into(), json!(1e-6));
    want.insert("torch_dtype".into(), json!("float32"));
    assert_eq!(written, want);
    assert!(written.keys().eq(want.keys()), "the order of keys is kept");
    let five = ModelConfig::read(&fixture("untied")).unwrap().to_map(FileDtype::Bf16);
    assert_eq!((five.get("dtype"), five.get("torch_dtype")), (Some(&json!("bfloat16")), None));
    assert_eq!(five.get("rope_theta"), None, "the nested spelling is kept");
}

// ---- safetensors ------------------------------------------------------------------------------------------------------

fn raw(header: &str, data: usize) -> Vec<u8> {
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.resize(out.len() + data, 0);
    out
}

fn open_bytes(bytes: &[u8]) -> Result<TensorFile> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.safetensors");
    fs::write(&path, bytes).unwrap();
    TensorFile::open(&path)
}

#[test]
fn malformed_containers_are_refused() {
    let one = |body: &str| raw(&format!("{{\"a\":{body}}}"), 8);
    let huge = u64::MAX;
    for (bytes, says) in [
        (vec![], "empty"),
        (vec![1, 2, 3], "too few for a header"),
        (u64::MAX.to_le_bytes().to_vec(), "claims 18446744073709551615"),
        (99_999_999u64.to_le_bytes().to_vec(), "claims 99999999 bytes"),
        (raw("{\"a\": 1", 0), "not a JSON object"),
        (raw("[]", 0), "not a JSON object"),
        ([&4u64.to_le_bytes()[..], b"{\"\xff\""].concat(), "not UTF-8"),
        (one("3"), "tensor `a`"),
        (one(r#"{"dtype":"F32","shape":[2]}"#), "data_offsets"),
        (one(r#"{"dtype":"Q4","shape":[2],"data_offsets":[0,8]}"#), "unknown dtype \"Q4\""),
        (one(r#"{"dtype":7,"shape":[2],"data_offsets":[0,8]}"#), "unknown dtype 7"),
        (one(r#"{"dtype":"F32","shape":[3],"data_offsets":[0,8]}"#), "does not fill"),
        (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[8,0]}"#), "does not fill"),
        (one(r#"{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}"#), "header entry"),
        (one(r#"{"dtype":"F32","shape":[4],"data_offsets":[0,16]}"#), "ends at data byte 16, the file at 8"),
        (one(r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#), "4 bytes follow"),
        (one(r#"{"dtype":"F32","shape":[1],"data_offsets":[4,8]}"#), "gap"),
        (one(&format!(r#"{{"dtype":"F32","shape":[{huge},{huge}],"data_offsets":[0,8]}}"#)), "does not fill"),
        (one(&format!(r#"{{"dtype":"U8","shape":[{huge}],"data_offsets":[0,{huge}]}}"#)), "ends at data byte"),
        (
            raw(
                r#"{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}"#,
                8,
            ),
            "`a` appears twice",
        ),
        (
            raw(
                r#"{"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},"b":{"dtype":"U8","shape":[5],"data_offsets":[3,8]}}"#,
                8,
            ),
            "`b` overlaps a",
        ),
        (raw(r#"{"__metadata__":{"format":1}}"#, 0), "__metadata__"),
    ] {
        fails(open_bytes(&bytes), &["t.safetensors", says]);
    }
    open_bytes(&raw(r#"{"a":{"dtype":"F32","shape":[0,18446744073709551615],"data_offsets":[0,0]}}"#, 0)).unwrap();
    open_bytes(&raw("{}", 0)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    fails(TensorFile::open(dir.path()), &["expected a file, found a folder"]);
    fails(TensorFile::open(&dir.path().join("none")), &["cannot open"]);
    #[cfg(unix)]
    {
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::os::unix::fs::symlink(&a, &b).unwrap();
        std::os::unix::fs::symlink(&b, &a).unwrap();
        fails(TensorFile::open(&a), &["cannot open"]);
        fails(TensorFile::open(Path::new("/dev/zero")), &["neither a file nor a folder"]);
    }
}

// ---- checkpoints ------------------------------------------------------------------------------------------------------

#[test]
fn dtypes_convert_exactly_and_shards_are_the_same_model() {
    let single = Checkpoint::open(&fixture("tied")).unwrap();
    assert!(single.is_bf16());
    let weights = tensors(&fixture("tied/model.safetensors"));
    let dir = tempfile::tempdir().unwrap();
    fs::copy(fixture("tied/config.json"), dir.path().join("config.json")).unwrap();
    let shard = |i: usize| format!("model-{:05}-of-00002.safetensors", i + 1);
    let (mut parts, mut map) = ([Tensors::new(), Tensors::new()], Map::new());
    for (i, (name, t)) in weights.iter().enumerate() {
        map.insert(name.clone(), shard(i % 2).into());
        parts[i % 2].insert(name.clone(), t.clone());
    }
    let write_index = |map: &Map<String, Value>| {
        let text = json!({ "metadata": { "total_size": 1 }, "weight_map": map }).to_string();
        fs::write(dir.path().join("model.safetensors.index.json"), text).unwrap();
    };
    write_index(&map);
    fs::write(dir.path().join(shard(0)), bytes_of(&parts[0])).unwrap();
    fails(Checkpoint::open(dir.path()), &["model-00002-of-00002.safetensors", "shard is missing"]);
    fs::write(dir.path().join(shard(1)), bytes_of(&parts[1])).unwrap();
    let sharded = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(sharded.sha256().unwrap(), single.sha256().unwrap());

    // The index and the shards disagree.
    let moved = weights.keys().next().unwrap().clone();
    map.insert(moved.clone(), shard(1).into());
    write_index(&map);
    fails(Checkpoint::open(dir.path()), &[&moved, "says it is in this shard"]);
    map.remove(&moved);
    write_index(&map);
    fails(Checkpoint::open(dir.path()), &[&moved, "does not list it"]);
    map.insert(moved.clone(), "../x.safetensors".into());
    write_index(&map);
    fails(Checkpoint::open(dir.path()), &["../x.safetensors", "in the same folder"]);
    map.insert(moved.clone(), shard(0).into());
    write_index(&map);
    parts[1].insert(moved.clone(), weights[&moved].clone());
    fs::write(dir.path().join(shard(1)), bytes_of(&parts[1])).unwrap();
    fails(Checkpoint::open(dir.path()), &[&moved, "has it too"]);
    fs::write(dir.path().join("model.safetensors.index.json"), "{\"weight_map\": {}}").unwrap();
    fails(Checkpoint::open(dir.path()), &["`weight_map` is empty"]);
    fs::write(dir.path().join("model.safetensors.index.json"), "{}").unwrap();
    fails(Checkpoint::open(dir.path()), &["weight_map"]);

    // f32 and f16 files of the same values (f16 holds bf16's 8 bits of mantissa at these magnitudes).
    let convert = |to: Dtype, f: &dyn Fn(f32) -> Vec<u8>| {
        let wide = |b: &[u8]| b.chunks(2).flat_map(|c| f(half::bf16::from_le_bytes([c[0], c[1]]).to_f32())).collect();
        let t = weights.iter().map(|(n, (_, s, b))| (n.clone(), (to, s.clone(), wide(b)))).collect();
        folder(&json_of("tied"), &bytes_of(&t))
    };
    let name = "model.layers.1.mlp.up_proj.weight";
    let want = single.f32(name).unwrap();
    for dir in [
        convert(Dtype::F32, &|x| x.to_le_bytes().to_vec()),
        convert(Dtype::F16, &|x| half::f16::from_f32(x).to_le_bytes().to_vec()),
    ] {
        let other = Checkpoint::open(dir.path()).unwrap();
        assert!(!other.is_bf16());
        assert_eq!(other.f32(name).unwrap(), want);
        assert_eq!(other.bf16(name).unwrap(), single.bf16(name).unwrap());
    }
}

#[test]
fn wrong_checkpoints_are_refused() {
    let good = tensors(&fixture("untied/model.safetensors"));
    let check = |edit: &dyn Fn(&mut Tensors), config: Value, says: &[&str]| {
        let mut t = good.clone();
        edit(&mut t);
        let mut c = json_of("untied");
        c.extend(config.as_object().unwrap().clone());
        fails(Checkpoint::open(folder(&c, &bytes_of(&t)).path()), says);
    };
    let bias = "model.layers.1.self_attn.k_proj.bias";
    check(&|t| drop(t.remove(bias)), json!({}), &["model.safetensors", bias, "missing"]);
    check(&|t| drop(t.remove("lm_head.weight")), json!({}), &["lm_head.weight", "tie_word_embeddings` to true"]);
    check(&|_| (), json!({"tie_word_embeddings": true}), &["lm_head.weight", "tie_word_embeddings` to false"]);
    check(&|_| (), json!({"num_hidden_layers": 1, "layer_types": null}), &["model.layers.1", "num_hidden_layers 1"]);
    check(&|_| (), json!({"num_hidden_layers": 3, "layer_types": null}), &["model.layers.2.", "missing"]);
    check(&|_| (), json!({"intermediate_size": 104}), &["gate_proj", "shape [100, 60]", "[104, 60]"]);
    check(
        &|t| drop(t.insert("model.layers.0.self_attn.q_norm.weight".into(), (Dtype::F32, vec![1], vec![0; 4]))),
        json!({}),
        &["q_norm.weight", "no part of a qwen2 model", "Qwen2ForCausalLM"],
    );
    check(&|t| t.get_mut(bias).unwrap().0 = Dtype::I32, json!({}), &[bias, "dtype I32", "F32, F16 or BF16"]);
    let bare = |t: &mut Tensors| {
        *t = std::mem::take(t).into_iter().map(|(n, v)| (n.trim_start_matches("model.").to_string(), v)).collect();
    };
    check(&bare, json!({}), &["without the prefix `model.`"]);

    let mut t = good.clone();
    t.insert("model.layers.0.self_attn.rotary_emb.inv_freq".into(), (Dtype::F32, vec![10], vec![0; 40]));
    set_f32(&mut t, bias, 7, f32::NAN);
    let dir = folder(&json_of("untied"), &bytes_of(&t));
    let c = Checkpoint::open(dir.path()).unwrap();
    fails(c.f32(bias), &["model.safetensors", bias, "NaN at element 7"]);
    fails(c.bf16(bias), &["NaN at element 7"]);
    fails(c.tensor("nonsense").map(|_| ()), &["nonsense"]);
    // Quantised, in rows of a piece, the element is counted from the start of the tensor.
    let matrix = "model.layers.0.mlp.down_proj.weight";
    set_f32(&mut t, matrix, 130, f32::INFINITY);
    let bad = folder(&json_of("untied"), &bytes_of(&t));
    let c = Checkpoint::open(bad.path()).unwrap();
    let spec = specs(&c.config).into_iter().find(|s| s.name == matrix).unwrap();
    fails(c.quantised(&spec, Quant::Nf4).map(drop), &["model.safetensors", matrix, "inf at element 130"]);
    fails(c.tensor(matrix).unwrap().finite_rows(0..spec.rows + 1).map(drop), &[matrix, "at least"]);
    set_f32(&mut t, bias, 7, f32::MAX);
    let dir = folder(&json_of("untied"), &bytes_of(&t));
    fails(Checkpoint::open(dir.path()).unwrap().bf16(bias), &["too large for bf16"]);

    // A tied model whose file repeats the embedding is the same model.
    let mut t = tensors(&fixture("tied/model.safetensors"));
    t.insert("lm_head.weight".into(), t["model.embed_tokens.weight"].clone());
    Checkpoint::open(folder(&json_of("tied"), &bytes_of(&t)).path()).unwrap();

    fails(Checkpoint::open(&fixture("adamw.json")), &["expected a model folder"]);
    fails(Checkpoint::open(Path::new("no/such")), &["no/such", "cannot open"]);
    let empty = tempfile::tempdir().unwrap();
    fails(Checkpoint::open(empty.path()), &["config.json", "cannot open"]);
    fs::copy(fixture("tied/config.json"), empty.path().join("config.json")).unwrap();
    fails(Checkpoint::open(empty.path()), &["neither model.safetensors nor"]);
    fs::write(empty.path().join("pytorch_model.bin"), "").unwrap();
    fails(Checkpoint::open(empty.path()), &["save_pretrained"]);
}

// ---- saving -----------------------------------------------------------------------------------------------------------

#[test]
fn a_saved_folder_reads_back() {
    let source = Checkpoint::open(&fixture("untied")).unwrap();
    let names: Vec<String> = specs(&source.config).into_iter().map(|s| s.name).collect();
    let params = || names.iter().rev().map(|n| Ok((n.clone(), source.f32(n)?)));
    let origin = tempfile::tempdir().unwrap();
    let template = origin.path().join("additional_chat_templates");
    fs::create_dir(&template).unwrap();
    let files = [("tokenizer.json", &b"{\"a\": \xe2\x82\xac}"[..]), ("generation_config.json", b"{ }\r\n")];
    let named = ("additional_chat_templates/tool.jinja", &b"{{ x }}"[..]);
    for (name, bytes) in files.into_iter().chain([named, ("unrelated.txt", b"x")]) {
        fs::write(origin.path().join(name), bytes).unwrap();
    }
    let side = SideFiles::read(origin.path()).unwrap();
    assert_eq!(side.0.len(), 3);

    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("new/final");
    write_hf_folder(&to, &source.config, params(), FileDtype::F32, &side).unwrap();
    for (name, bytes) in files.into_iter().chain([named]) {
        assert_eq!(fs::read(to.join(name)).unwrap(), bytes);
    }
    let saved = Checkpoint::open(&to).unwrap();
    assert_eq!(saved.sha256().unwrap(), source.sha256().unwrap());
    let bytes = fs::read(to.join("model.safetensors")).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");

    // bf16 over the same folder: rounded to nearest, ties to even.
    let rounded = |n: &str| source.f32(n).map(|v| v.iter().map(|x| x * 1.001).collect::<Vec<f32>>());
    let scaled = || names.iter().map(|n| Ok((n.clone(), rounded(n)?)));
    write_hf_folder(&to, &source.config, scaled(), FileDtype::Bf16, &side).unwrap();
    let saved = Checkpoint::open(&to).unwrap();
    assert_eq!(saved.config.dtype, Some(FileDtype::Bf16));
    let even = |x: f32| {
        let (down, rest) = ((x.to_bits() >> 16) as u16, x.to_bits() & 0xffff);
        down + u16::from(rest > 0x8000 || rest == 0x8000 && down & 1 == 1)
    };
    for n in &names {
        let want: Vec<u16> = rounded(n).unwrap().into_iter().map(even).collect();
        assert_eq!(saved.bf16(n).unwrap(), want, "{n}");
    }

    // A write that fails leaves the old weights and no temporary file.
    let before = fs::read(to.join("model.safetensors")).unwrap();
    let with = |i: usize, value: f32| {
        let mut all: Vec<Result<(String, Vec<f32>)>> = params().collect();
        all[i].as_mut().unwrap().1[3] = value;
        all
    };
    let write = |params: Vec<Result<(String, Vec<f32>)>>, dtype| {
        write_hf_folder(&to, &source.config, params, dtype, &SideFiles::default())
    };
    fails(write(with(2, f32::NAN), FileDtype::F32), &["NaN at element 3", "nothing was written"]);
    fails(write(with(2, f32::MAX), FileDtype::Bf16), &["element 3", "bf16"]);
    fails(write(params().skip(1).collect(), FileDtype::F32), &["missing"]);
    fails(write(params().chain(params()).collect(), FileDtype::F32), &["came twice"]);
    fails(write(vec![Ok(("x".into(), vec![]))], FileDtype::F32), &["`x`"]);
    fails(write(vec![Ok((names[0].clone(), vec![1.0]))], FileDtype::F32), &["1 values", "shape"]);
    fails(write(params().collect(), FileDtype::I64), &["I64"]);
    assert_eq!(fs::read(to.join("model.safetensors")).unwrap(), before);
    let left = fs::read_dir(&to).unwrap().filter(|e| e.as_ref().unwrap().path().extension() == Some("tmp".as_ref()));
    assert_eq!(left.count(), 0);
}
