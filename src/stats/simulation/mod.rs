//! Size of every test and coverage of every interval of this floor: exact sums over outcomes where outcomes can be counted, seeded
//! simulation elsewhere. [`CHECKED`] lists what is covered and [`EXEMPT`] what has neither interval nor p value.
//!
//! Figures in the tables are the true operating characteristics: those of exact sums were computed with SciPy and statsmodels,
//! those of simulations come from theory or, where a procedure misses its level, from a longer run. The band about a
//! simulated figure is four standard errors, so a normal in place of Student's t, or a factor, is caught.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;

mod counts;
mod curves;
mod layers;
mod means;
mod ranks;
mod resampled;
mod seeds;

/// Function, what is shown, the tests that show it.
type Checked = (&'static str, &'static str, &'static [fn()]);

/// What is covered, by which tests.
const CHECKED: &[Checked] = &[
    ("wilson", "coverage, exact", &[counts::wilson_coverage]),
    ("newcombe", "coverage, exact", &[counts::two_groups]),
    ("two_proportion_z", "size and coverage, exact", &[counts::two_groups]),
    ("fisher_exact", "size, exact", &[counts::fisher_size]),
    ("mcnemar", "size of all variants, coverage, exact", &[counts::mcnemar_size, counts::mcnemar_coverage]),
    ("mainland_gart", "size of both tests, exact", &[counts::order_effects]),
    ("tango", "size and coverage, exact", &[counts::paired_difference]),
    ("tango_test", "size at a null of 0.1, exact", &[counts::paired_difference]),
    ("newcombe_paired", "coverage, exact", &[counts::paired_difference]),
    ("agreement", "coverage of rate and of the bound at 0, exact", &[counts::flip_rate]),
    ("mcnemar_clustered", "size, exact for single pairs, simulated for clusters", &[counts::clustered_pairs]),
    ("paired_odds_ratio", "coverage, exact", &[counts::odds_of_discordant_pairs]),
    ("discordant_logit", "size of both terms, exact", &[counts::order_model]),
    ("judge_corrected", "coverage of both corrections", &[resampled::correction_of_a_judge]),
    ("tost_paired_proportions", "size at the margin, exact", &[counts::equivalence_of_proportions]),
    ("t_interval", "size and coverage", &[means::one_sample]),
    ("t_interval_from_summary", "size and coverage", &[means::one_sample]),
    ("paired_t", "size and coverage", &[means::one_sample]),
    ("student_t", "size and coverage, equal and unequal variances", &[means::two_samples]),
    ("student_t_from_summary", "size and coverage", &[means::two_samples]),
    ("welch_t", "size and coverage, equal and unequal variances", &[means::two_samples]),
    ("welch_t_from_summary", "size and coverage", &[means::two_samples]),
    ("cluster_t", "size and coverage, by number of clusters", &[means::clusters]),
    ("tost_one_sample", "size at the margin", &[means::equivalence]),
    ("tost_paired", "size at the margin", &[means::equivalence]),
    ("tost_log_ratio", "size at the margin", &[means::equivalence]),
    ("tost_cluster_mean", "size at the margin, by number of clusters", &[means::equivalence_over_clusters]),
    ("wilcoxon", "size, exact and normal, all sign patterns", &[ranks::signed_ranks]),
    ("mann_whitney", "size, all assignments", &[ranks::rank_sum]),
    ("auroc", "size and coverage", &[ranks::area]),
    ("delong_compare", "size and coverage", &[ranks::two_areas]),
    ("spearman", "size, rows and groups", &[ranks::rank_correlation]),
    (
        "sign_flip",
        "size, all patterns and random ones, skewed clusters",
        &[resampled::sign_flip_patterns, resampled::sign_flip_draws],
    ),
    (
        "cluster_bootstrap_mean",
        "coverage and size of three intervals, by number of clusters",
        &[resampled::bootstrap_of_a_mean, resampled::bootstrap_of_skewed_clusters],
    ),
    ("cluster_bootstrap", "coverage of a ratio", &[resampled::bootstrap_of_a_ratio]),
    (
        "hierarchical_bootstrap",
        "coverage by number of seeds, drawn and fixed",
        &[resampled::bootstrap_over_seeds, resampled::bootstrap_of_fixed_seeds],
    ),
    ("seed_effects", "size and coverage, three seeds", &[seeds::t_over_effects]),
    ("over_seeds_t", "size and coverage", &[seeds::prompts_alone_are_not_enough]),
    (
        "over_seeds_and_prompts",
        "size over the range of seed effects",
        &[seeds::prompts_alone_are_not_enough, seeds::seeds_and_prompts_alike],
    ),
    ("restricted_mean", "coverage", &[curves::survival]),
    ("restricted_mean_difference", "coverage and size", &[curves::survival]),
    (
        "log_rank",
        "size, exact and random, equal and unequal censoring",
        &[curves::log_rank_size, curves::log_rank_under_unequal_censoring],
    ),
    ("change_point", "size and coverage", &[curves::onset, curves::drift_is_an_onset]),
    ("dose_response", "size and coverage of both intervals", &[curves::mean_slope]),
    ("against_random", "size of both p, coverage of the prediction", &[curves::random_directions]),
    ("max_statistic", "family-wise size", &[layers::maximum_over_layers]),
    ("holm", "family-wise error", &[layers::holm_family]),
];

/// Function, why nothing is simulated.
const EXEMPT: &[(&str, &str)] = &[
    ("quantile", "a number"),
    ("describe", "numbers; the t tests use them"),
    ("cluster_codes", "labels"),
    ("invariance_score", "a ratio"),
    ("cue_ratio", "a ratio"),
    ("grouped_folds", "folds"),
    ("study_folds", "folds"),
    ("fold_auroc", "point estimates; bias of pooled scores in layers::centred_scores"),
    ("stratified_auroc", "a point estimate; its p comes from max_statistic"),
    ("stratified_spearman", "a point estimate; its p comes from spearman and max_statistic"),
    ("logistic", "a fit"),
    ("ridge", "a fit"),
    ("logistic_out_of_fold", "scores; their p comes from max_statistic"),
    ("study_probe", "the study's point estimates"),
    ("kaplan_meier", "a curve with standard errors; the intervals are restricted_mean's"),
    ("persistent_crossing", "an index"),
    ("smallest_p", "a bound; compared with the tests in property_tests"),
    ("groups_needed", "a count"),
    ("detectable_effect", "power; golden values"),
    ("detectable_hazard_ratio", "power; golden values"),
    ("power_paired_t", "power; golden values"),
    ("power_tost", "power; golden values"),
    ("power_mcnemar", "power; golden values"),
    ("n_for_paired_t", "power; golden values"),
    ("n_for_tost", "power; golden values"),
    ("n_for_mcnemar", "power; golden values"),
];

/// Every public function is in one of the two lists, and no other name is.
#[test]
fn every_function_is_checked_or_exempt() {
    let source = include_str!("../mod.rs");
    let mut public: Vec<&str> = Vec::new();
    for item in source.split("pub use ").skip(1) {
        let names = item.split(';').next().unwrap().split("::").last().unwrap();
        let names = names.trim_matches(['{', '}']).split([',', '{', '}']).map(str::trim);
        public.extend(names.filter(|n| n.starts_with(|c: char| c.is_ascii_lowercase())));
    }
    assert!(public.len() > 60, "pub use lines are read: {public:?}");
    let listed: Vec<&str> = CHECKED.iter().map(|c| c.0).chain(EXEMPT.iter().map(|e| e.0)).collect();
    for name in &public {
        let times = listed.iter().filter(|l| *l == name).count();
        assert_eq!(times, 1, "`{name}` stands {times} times in CHECKED and EXEMPT; simulate it, or say why not");
    }
    for name in &listed {
        assert!(public.contains(name), "`{name}` is listed but not public");
    }
    let tests = [
        include_str!("counts.rs"),
        include_str!("curves.rs"),
        include_str!("layers.rs"),
        include_str!("means.rs"),
        include_str!("ranks.rs"),
        include_str!("resampled.rs"),
        include_str!("seeds.rs"),
    ];
    for (name, shown, by) in CHECKED {
        assert!(!shown.is_empty() && !by.is_empty(), "{name}");
        let word = |s: &str| {
            s.match_indices(name).any(|(i, _)| {
                let edge = |c: Option<char>| c.is_none_or(|c| c != '_' && !c.is_alphanumeric());
                edge(s[..i].chars().next_back()) && edge(s[i + name.len()..].chars().next())
            })
        };
        assert!(tests.iter().any(|t| word(t)), "no test calls `{name}`");
    }
}

struct Draw(ChaCha8Rng);

impl Draw {
    fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    fn uniform(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        // Box-Muller: cheaper than a quantile.
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    fn normals(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.normal()).collect()
    }

    /// Exponential of mean 1, less 1: mean 0, skewness 2.
    fn skewed(&mut self) -> f64 {
        -self.uniform().ln() - 1.0
    }
}

fn options(resamples: usize, seed: u64) -> Resampling {
    Resampling { resamples, seed, level: 0.95 }
}

/// How often something happened.
#[derive(Default, Clone, Copy)]
struct Tally {
    hits: usize,
    rounds: usize,
}

impl Tally {
    fn add(&mut self, hit: bool) {
        self.hits += usize::from(hit);
        self.rounds += 1;
    }

    /// Counts a 95 per cent interval that holds `truth`.
    fn covers(&mut self, r: &StatResult, truth: f64) {
        self.add(r.ci.unwrap().contains(truth));
    }

    /// Counts p at most 0.05.
    fn rejects(&mut self, r: &StatResult) {
        self.add(r.p.unwrap() <= 0.05);
    }

    fn share(&self) -> f64 {
        self.hits as f64 / self.rounds as f64
    }

    /// Within four standard errors of `figure`.
    #[track_caller]
    fn is(&self, figure: f64, what: &str) {
        let band = 4.0 * (figure * (1.0 - figure) / self.rounds as f64).sqrt();
        let share = self.share();
        println!("{what}: {share:.4} of {}, figure {figure} ± {band:.4}", self.rounds);
        assert!((share - figure).abs() <= band, "{what}: {share:.4} of {}, not {figure} ± {band:.4}", self.rounds);
    }

    #[track_caller]
    fn between(&self, low: f64, high: f64, what: &str) {
        let share = self.share();
        println!("{what}: {share:.4} of {}, {low} to {high}", self.rounds);
        assert!((low..=high).contains(&share), "{what}: {share:.4} of {}, expected {low} to {high}", self.rounds);
    }
}

/// An exact figure, as printed in a table to four digits.
#[track_caller]
fn exactly(got: f64, figure: f64, what: &str) {
    println!("{what}: {got:.4}, figure {figure}");
    assert!((got - figure).abs() <= 6e-5, "{what}: {got:.5}, not {figure}");
}
