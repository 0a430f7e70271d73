//! Options of `probity stats`, one variant a statistic.

use clap::{Subcommand, ValueEnum};

use super::columns::RowArgs;
use super::models::Model;
use crate::stats::{self as s, BootstrapInterval, McNemar};

/// Options of `probity stats`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    pub(super) test: Test,
    /// Print JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Confidence level of intervals (equivalence tests use 1 - 2 alpha)
    #[arg(long, global = true, default_value_t = s::DEFAULT_LEVEL)]
    pub(super) level: f64,
}

/// Successes and sizes of two independent groups; group 1 is the reference.
#[derive(Debug, clap::Args)]
pub(super) struct Groups {
    /// Successes in group 1
    #[arg(long, requires_all = ["n1", "x2", "n2"])]
    pub(super) x1: Option<u64>,
    /// Size of group 1
    #[arg(long, requires = "x1")]
    pub(super) n1: Option<u64>,
    /// Successes in group 2
    #[arg(long, requires = "x1")]
    pub(super) x2: Option<u64>,
    /// Size of group 2
    #[arg(long, requires = "x1")]
    pub(super) n2: Option<u64>,
    #[command(flatten)]
    pub(super) rows: RowArgs,
}

/// Pairs of a binary outcome; condition 1 (x) is the reference.
#[derive(Debug, clap::Args)]
pub(super) struct Table {
    /// Pairs with the outcome under both conditions
    #[arg(long, requires = "b")]
    pub(super) a: Option<u64>,
    /// Pairs with the outcome only under condition 1
    #[arg(long, requires = "c", conflicts_with = "jsonl")]
    pub(super) b: Option<u64>,
    /// Pairs with the outcome only under condition 2
    #[arg(long, requires = "b")]
    pub(super) c: Option<u64>,
    /// Pairs with the outcome under neither
    #[arg(long, requires = "b")]
    pub(super) d: Option<u64>,
    #[command(flatten)]
    pub(super) rows: RowArgs,
}

/// Two samples, as columns or as summaries.
#[derive(Debug, clap::Args)]
pub(super) struct Samples {
    /// Summaries instead of rows: mean, standard deviation (ddof 1) and size of x
    #[arg(long, num_args = 3, value_names = ["MEAN", "SD", "N"], requires = "summary_y", allow_negative_numbers = true)]
    pub(super) summary_x: Option<Vec<f64>>,
    /// The same of y
    #[arg(long, num_args = 3, value_names = ["MEAN", "SD", "N"], requires = "summary_x", allow_negative_numbers = true)]
    pub(super) summary_y: Option<Vec<f64>>,
    #[command(flatten)]
    pub(super) rows: RowArgs,
}

/// Values (x, or x - y) with a cluster column.
#[derive(Debug, clap::Args)]
pub(super) struct Clustered {
    /// Column that names the cluster; without it every row stands alone
    #[arg(long, value_name = "COLUMN")]
    pub(super) cluster: Option<String>,
    #[command(flatten)]
    pub(super) rows: RowArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct Resample {
    /// Number of resamples
    #[arg(long, default_value_t = 10_000)]
    pub(super) resamples: usize,
    /// Seed of the random numbers
    #[arg(long, default_value_t = 0)]
    pub(super) seed: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum McNemarKind {
    Exact,
    MidP,
    /// Chi-squared with continuity correction
    Chi2,
    /// Chi-squared without correction
    Chi2Plain,
}

impl From<McNemarKind> for McNemar {
    fn from(kind: McNemarKind) -> Self {
        match kind {
            McNemarKind::Exact => Self::Exact,
            McNemarKind::MidP => Self::MidP,
            McNemarKind::Chi2 => Self::ChiSquaredCorrected,
            McNemarKind::Chi2Plain => Self::ChiSquared,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum WilcoxonKind {
    Auto,
    Exact,
    Normal,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum IntervalKind {
    Percentile,
    Bca,
    Studentised,
}

impl From<IntervalKind> for BootstrapInterval {
    fn from(kind: IntervalKind) -> Self {
        match kind {
            IntervalKind::Percentile => Self::Percentile,
            IntervalKind::Bca => Self::Bca,
            IntervalKind::Studentised => Self::Studentised,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum DesignKind {
    /// Sign test, exact McNemar, exact Wilcoxon: n pairs
    Sign,
    /// Mid-p McNemar: n discordant pairs
    MidP,
    /// Cluster sign-flip: n clusters
    SignFlip,
    /// Two groups of n and n2
    Permutation,
    /// Any test by random permutations
    MonteCarlo,
}

#[derive(Debug, Subcommand)]
pub(super) enum Test {
    /// List the statistics
    List,
    /// Wilson interval of one proportion
    Wilson {
        #[arg(long)]
        x: u64,
        #[arg(long)]
        n: u64,
    },
    /// Two independent proportions: pooled z-test (p2 - p1)
    TwoProportion(Groups),
    /// Two independent proportions: Newcombe interval (p2 - p1)
    Newcombe(Groups),
    /// Fisher's exact test of [[a, b], [c, d]]
    Fisher {
        #[arg(long)]
        a: u64,
        #[arg(long)]
        b: u64,
        #[arg(long)]
        c: u64,
        #[arg(long)]
        d: u64,
    },
    /// McNemar's test of paired outcomes: exact, mid-p, chi-squared
    Mcnemar {
        #[command(flatten)]
        table: Table,
        #[arg(long, value_enum, default_value = "exact")]
        method: McNemarKind,
    },
    /// McNemar's test of clustered pairs (Obuchowski); x is condition 1
    McnemarClustered(Clustered),
    /// Odds ratio c / b of discordant pairs, mid-p interval
    PairedOddsRatio(Table),
    /// Tango interval and score test of a paired difference (p2 - p1)
    Tango {
        #[command(flatten)]
        table: Table,
        /// Difference under the null
        #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
        null: f64,
    },
    /// Newcombe interval of a paired difference (p2 - p1)
    NewcombePaired(Table),
    /// Flip rate with kappa and Jaccard index
    Agreement(Table),
    /// Equivalence of paired proportions (Tango score tests)
    TostPairedProportions {
        #[command(flatten)]
        table: Table,
        /// Margin, e.g. 0.05 for 5 percentage points
        #[arg(long)]
        margin: f64,
        #[arg(long, default_value_t = 0.05)]
        alpha: f64,
    },
    /// Condition and order effect from discordant pairs of two order groups (Mainland-Gart)
    MainlandGart {
        /// Condition 1 first: pairs with the outcome only under 1, only under 2
        #[arg(long, num_args = 2, value_names = ["ONLY_1", "ONLY_2"])]
        first: Vec<u64>,
        /// Condition 2 first: the same
        #[arg(long, num_args = 2, value_names = ["ONLY_1", "ONLY_2"])]
        second: Vec<u64>,
    },
    /// The same two effects by a logistic model of the discordant pairs, log odds
    DiscordantLogit {
        /// Condition 1 first: pairs with the outcome only under 1, only under 2
        #[arg(long, num_args = 2, value_names = ["ONLY_1", "ONLY_2"])]
        first: Vec<u64>,
        /// Condition 2 first: the same
        #[arg(long, num_args = 2, value_names = ["ONLY_1", "ONLY_2"])]
        second: Vec<u64>,
    },
    /// Student's t of two independent samples (x - y)
    StudentT(Samples),
    /// Welch's t of two independent samples (x - y)
    WelchT(Samples),
    /// Paired t (x - y)
    PairedT(RowArgs),
    /// t interval of one mean, e.g. of per-seed effects
    TInterval {
        /// The values themselves
        #[arg(long, value_delimiter = ',', allow_negative_numbers = true)]
        values: Vec<f64>,
        #[command(flatten)]
        rows: RowArgs,
    },
    /// t interval of a mean with a cluster-robust standard error
    ClusterT(Clustered),
    /// Wilcoxon signed-rank test (x - y)
    Wilcoxon {
        #[command(flatten)]
        rows: RowArgs,
        /// auto: exact up to 50 pairs without ties
        #[arg(long, value_enum, default_value = "auto")]
        method: WilcoxonKind,
    },
    /// Mann-Whitney test of two independent samples
    MannWhitney(RowArgs),
    /// Equivalence of paired means within ± margin; with --cluster, cluster-robust
    TostPaired {
        #[command(flatten)]
        data: Clustered,
        #[arg(long)]
        margin: f64,
        #[arg(long, default_value_t = 0.05)]
        alpha: f64,
    },
    /// Equivalence of the mean log-ratio ln(x / y) within ± ln(1 + margin)
    TostLogRatio {
        #[command(flatten)]
        rows: RowArgs,
        /// Margin as a fraction, e.g. 0.05 for 5 per cent
        #[arg(long)]
        margin: f64,
        #[arg(long, default_value_t = 0.05)]
        alpha: f64,
    },
    /// Bootstrap of a mean (x, or x - y) over clusters
    ClusterBootstrap {
        #[command(flatten)]
        data: Clustered,
        #[command(flatten)]
        resample: Resample,
        #[arg(long, value_enum, default_value = "percentile")]
        interval: IntervalKind,
    },
    /// Bootstrap over seeds and prompts of the mean of per-seed means
    HierarchicalBootstrap {
        #[command(flatten)]
        data: Clustered,
        #[command(flatten)]
        resample: Resample,
        /// Column that names the training seed
        #[arg(long, value_name = "COLUMN")]
        seed_column: String,
        /// Prompts belong to one seed each (default: the same prompts under every seed)
        #[arg(long)]
        nested: bool,
        /// Keep the seeds, resample prompts only
        #[arg(long)]
        fixed_seeds: bool,
    },
    /// Sign-flip permutation test of x (or x - y) over clusters
    SignFlip {
        #[command(flatten)]
        data: Clustered,
        #[command(flatten)]
        resample: Resample,
    },
    /// AUROC with DeLong interval; with --second, DeLong's test of two scores
    Auroc {
        #[command(flatten)]
        rows: RowArgs,
        #[arg(long, value_name = "COLUMN")]
        score: String,
        #[arg(long, value_name = "COLUMN")]
        second: Option<String>,
        #[arg(long, value_name = "COLUMN")]
        label: String,
        /// The label's positive value, where it is not true or 1
        #[arg(long)]
        positive: Option<String>,
    },
    #[command(flatten)]
    Model(Box<Model>),
    /// Holm's adjustment of a family of p values
    Holm {
        #[arg(long, value_delimiter = ',', required = true)]
        p: Vec<f64>,
        #[arg(long, default_value_t = 0.05)]
        alpha: f64,
    },
    /// Invariance score of the study from three mean token counts
    Invariance {
        #[arg(long)]
        monitored: f64,
        #[arg(long)]
        neutral: f64,
        #[arg(long)]
        unmonitored: f64,
    },
    /// Smallest p a design can give, and how many groups reach alpha
    SmallestP {
        #[arg(long, value_enum)]
        design: DesignKind,
        #[arg(long, default_value_t = 0)]
        n: u64,
        #[arg(long, default_value_t = 0)]
        n2: u64,
        #[arg(long, default_value_t = 10_000)]
        resamples: u64,
        #[arg(long, default_value_t = 0.05)]
        alpha: f64,
    },
    /// Power of the paired t test, or the pairs needed for --target
    PowerPairedT {
        /// Effect: mean / sd of the differences
        #[arg(long, allow_negative_numbers = true)]
        dz: f64,
        #[command(flatten)]
        plan: Plan,
    },
    /// Power of the paired equivalence test, or the pairs needed
    PowerTost {
        /// True effect in sd of the differences
        #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
        dz: f64,
        /// Margin in sd of the differences
        #[arg(long)]
        margin: f64,
        #[command(flatten)]
        plan: Plan,
    },
    /// Power of McNemar's test, or the pairs needed
    PowerMcnemar {
        /// P(outcome only under condition 1)
        #[arg(long)]
        p_b: f64,
        /// P(outcome only under condition 2)
        #[arg(long)]
        p_c: f64,
        #[arg(long, value_enum, default_value = "mid-p")]
        method: McNemarKind,
        #[command(flatten)]
        plan: Plan,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Plan {
    /// Number of pairs
    #[arg(long)]
    pub(super) n: Option<u64>,
    /// Power wanted; gives the pairs needed
    #[arg(long, default_value_t = 0.8)]
    pub(super) target: f64,
    #[arg(long, default_value_t = 0.05)]
    pub(super) alpha: f64,
}
