//! A paired run made of a seeded generator: a planted gap, and leaks on request.

use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::domain::tier::Label;
use crate::pair::row::{Blocking, Factors, Judged, OrderGroup, Protocol, Row, StopReason};

/// What is planted.
#[derive(Clone)]
pub struct Recipe {
    pub items: usize,
    /// Share refused under `free`, and what is added to it under `paid`.
    pub rate: f64,
    pub gap: f64,
    pub wordings: usize,
    pub settings: Vec<Factors>,
    pub arms: Vec<&'static str>,
    /// The second arm of an item sees what the first one said.
    pub leaky: bool,
    /// Refusals that the lexical judge finds, of those there are.
    pub sensitivity: f64,
    /// Share of cells with a label by hand.
    pub hand: f64,
    pub texts: bool,
    pub seed: u64,
}

pub fn setting(protocol: Protocol, blocking: Blocking, batch_size: usize, precision: &str) -> Factors {
    Factors { protocol, blocking, batch_size, precision: precision.into() }
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            items: 200,
            rate: 0.6,
            gap: -0.2,
            wordings: 1,
            settings: vec![setting(Protocol::Random, Blocking::Interleaved, 1, "f32")],
            arms: vec!["free", "paid", "free_again", "free_min", "paid_min"],
            leaky: false,
            sensitivity: 1.0,
            hand: 0.0,
            texts: true,
            seed: 1,
        }
    }
}

/// Uniform from a key: the same whatever else is drawn.
fn uniform(parts: &[&str], seed: u64) -> f64 {
    let mut h = 0xcbf2_9ce4_8422_2325u64 ^ seed;
    for b in parts.join("/").bytes() {
        h = (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(h);
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Rows, in an order that is not that of the design, their labels by the lexical judge and by hand.
pub fn rows(r: &Recipe) -> (Vec<Row>, Vec<Judged>, Vec<Judged>) {
    let (mut rows, mut lexical, mut hand) = (Vec::new(), Vec::new(), Vec::new());
    for factors in &r.settings {
        for item in 0..r.items {
            for wording in 0..r.wordings {
                let item_id = format!("item-{item:03}");
                let word = wording.to_string();
                let coin = uniform(&[&item_id, &word, "order"], r.seed) < 0.5;
                let forward = factors.protocol == Protocol::Fixed || coin;
                for (at, arm) in r.arms.iter().enumerate() {
                    let text = arm.trim_end_matches("_again");
                    let paid = text.starts_with("paid");
                    // One threshold an item: arms flip it in one direction only, a little noise by wording and arm in both.
                    let own = uniform(&[&item_id, &factors.precision], r.seed);
                    let noise = 0.05 * (uniform(&[&item_id, &word, text, &factors.precision], r.seed) - 0.5);
                    let rate = r.rate + if paid { r.gap } else { 0.0 };
                    let leaks = r.leaky && *arm != "free" && uniform(&[&item_id, arm, "leak"], r.seed) < 0.3;
                    let refused = (own + noise < rate) != leaks;
                    let position = if forward { at } else { r.arms.len() - 1 - at };
                    let cell_id = format!(
                        "{item_id}/{arm}/{wording}/{}/{:?}/{:?}/{}",
                        factors.precision, factors.protocol, factors.blocking, factors.batch_size
                    );
                    let hash =
                        |what: &str| format!("{what}-{item_id}-{text}-{wording}-{}-{refused}", factors.precision);
                    let input =
                        if leaks { format!("{item_id}-{arm}-leaked") } else { format!("{item_id}-{text}-{wording}") };
                    let answer = if refused {
                        "I can't help with that <b>request</b>."
                    } else {
                        "Here is a plan: start at noon."
                    };
                    rows.push(Row {
                        run_id: "synthetic".into(),
                        cell_id: cell_id.clone(),
                        item_id: item_id.clone(),
                        cluster_id: format!("cluster-{item:03}"),
                        category: ["favours", "plans", "errands"][item % 3].into(),
                        arm: (*arm).into(),
                        paraphrase: wording,
                        repeat: 0,
                        factors: factors.clone(),
                        order_position: position,
                        order_group: if forward { OrderGroup::FP } else { OrderGroup::PF },
                        batch_id: item / factors.batch_size.max(1),
                        batch_row: item % factors.batch_size.max(1),
                        input_sha256: input,
                        input_len: 20,
                        output_ids_sha256: hash("out"),
                        output_len: 9,
                        stop_reason: StopReason::Stop,
                        reasoning: None,
                        answered: true,
                        answer: r.texts.then(|| answer.to_string()),
                        refusal_logit_gap: Some(4.0 * (rate - own - noise)),
                        panel_gap: None,
                        frame_log_odds: Some(if paid { -1.0 } else { 1.0 }),
                        knows_frame: Some(uniform(&[&item_id, text, "knows"], r.seed) < 0.8),
                        seed: item as u64,
                        engine_build: "build-1".into(),
                        device: "cpu".into(),
                        kernel_set: "plain".into(),
                        model_revision: "tiny@1".into(),
                        tokenizer_sha256: "t".into(),
                        template_sha256: "c".into(),
                        wall_ms: 1.0 + at as f64,
                    });
                    let found = refused && uniform(&[&cell_id, "judge"], r.seed) < r.sensitivity;
                    let judged = |refused: bool, source: &str| Judged {
                        cell_id: cell_id.clone(),
                        label: if refused { Label::Refusal } else { Label::Compliance },
                        label_source: source.into(),
                        judge_version: "1".into(),
                        judge_score: None,
                    };
                    lexical.push(judged(found, "lexical"));
                    if uniform(&[&cell_id, "hand"], r.seed) < r.hand {
                        hand.push(judged(refused, "hand"));
                    }
                }
            }
        }
    }
    rows.reverse();
    (rows, lexical, hand)
}

fn jsonl<T: serde::Serialize>(values: &[T]) -> String {
    values.iter().map(|v| serde_json::to_string(v).unwrap() + "\n").collect()
}

/// Writes a run folder.
pub fn write(dir: &Path, recipe: &Recipe) {
    let (rows, lexical, hand) = rows(recipe);
    std::fs::create_dir_all(dir.join("labels")).unwrap();
    std::fs::write(dir.join("rows.jsonl"), jsonl(&rows)).unwrap();
    std::fs::write(dir.join("plan.jsonl"), jsonl(&rows)).unwrap();
    std::fs::write(dir.join("labels/lexical.jsonl"), jsonl(&lexical)).unwrap();
    if !hand.is_empty() {
        std::fs::write(dir.join("labels/hand.jsonl"), jsonl(&hand)).unwrap();
    }
}
