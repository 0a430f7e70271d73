// candle-transformers qwen2 on CPU: prefill 128 and decode; args: model-dir f32|bf16|f16
use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::qwen2::{Config, ModelForCausalLM};
use std::time::Instant;
fn med(mut v: Vec<f64>) -> (f64, f64, f64) {
    v.sort_by(|a, b| a.total_cmp(b));
    (v[v.len() / 2], v[0], v[v.len() - 1])
}
fn main() -> Result<()> {
    let a: Vec<String> = std::env::args().collect();
    let dt = match a[2].as_str() {
        "f32" => DType::F32,
        "bf16" => DType::BF16,
        _ => DType::F16,
    };
    let cfg: Config = serde_json::from_str(
        r#"{"vocab_size":151936,"hidden_size":896,"intermediate_size":4864,"num_hidden_layers":24,"num_attention_heads":14,"num_key_value_heads":2,"max_position_embeddings":4096,"sliding_window":4096,"max_window_layers":24,"tie_word_embeddings":true,"rope_theta":1e6,"rms_norm_eps":1e-6,"use_sliding_window":false,"hidden_act":"silu"}"#,
    )?;
    let dev = Device::Cpu;
    let t = Instant::now();
    let vb = unsafe { VarBuilder::from_mmaped_safetensors(&[format!("{}/model.safetensors", a[1])], dt, &dev)? };
    let mut m = ModelForCausalLM::new(&cfg, vb)?;
    println!("load {:.2} s", t.elapsed().as_secs_f64());
    let ids: Vec<u32> = (0..128).map(|i| (i * 977 + 5) % 151936).collect();
    let x = Tensor::new(ids.as_slice(), &dev)?.unsqueeze(0)?;
    let mut v = vec![];
    for i in 0..7 {
        m.clear_kv_cache();
        let t = Instant::now();
        let l = m.forward(&x, 0)?;
        let _ = l.flatten_all()?.argmax(0)?.to_scalar::<u32>()?;
        if i > 0 {
            v.push(t.elapsed().as_secs_f64());
        }
    }
    let r = med(v);
    println!(
        "{} prefill 128 (last logits): {:.1} ms = {:.0} tok/s (min {:.1} max {:.1})",
        a[2],
        r.0 * 1e3,
        128.0 / r.0,
        r.1 * 1e3,
        r.2 * 1e3
    );
    for b in [1usize, 8] {
        let x = Tensor::new(&ids[..32], &dev)?.unsqueeze(0)?.repeat((b, 1))?;
        let mut v = vec![];
        for i in 0..4 {
            m.clear_kv_cache();
            let mut l = m.forward(&x, 0)?;
            let t = Instant::now();
            for s in 0..16 {
                let y = l.reshape((b, ()))?.argmax(1)?.unsqueeze(1)?;
                l = m.forward(&y, 32 + s)?;
            }
            let _ = l.flatten_all()?.argmax(0)?.to_scalar::<u32>()?;
            if i > 0 {
                v.push(t.elapsed().as_secs_f64() / 16.0);
            }
        }
        let r = med(v);
        println!(
            "{} decode B={b}: {:.1} ms/step = {:.1} tok/s (min {:.1} max {:.1})",
            a[2],
            r.0 * 1e3,
            b as f64 / r.0,
            r.1 * 1e3,
            r.2 * 1e3
        );
    }
    Ok(())
}
