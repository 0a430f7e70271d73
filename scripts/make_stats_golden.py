#!/usr/bin/env python3
"""Writes src/stats/golden.json: reference values for the statistics floor, from SciPy, statsmodels and mpmath.

    python scripts/make_stats_golden.py

Inputs are generated here (rounded so that JSON holds them exactly); no data of anyone else is involved.
Made with SciPy 1.17, statsmodels 0.15, NumPy 2.4, mpmath 1.3 or later.
"""

import json
import math
import warnings
from pathlib import Path

import mpmath as mp
import numpy as np
from scipy import integrate, optimize, stats
from statsmodels.discrete.discrete_model import Logit
from statsmodels.regression.linear_model import OLS
from statsmodels.stats import contingency_tables, multitest, power, proportion, weightstats

warnings.filterwarnings("ignore")
mp.mp.dps = 40
rng = np.random.default_rng(20240607)
out = {}


def ci(pair):
    return [float(pair[0]), float(pair[1])]


# ---- distributions -------------------------------------------------------------------------------------------------
out["t_two_sided"] = [
    [t, df, float(2 * mp.betainc(mp.mpf(df) / 2, mp.mpf(1) / 2, 0, mp.mpf(df) / (df + mp.mpf(t) ** 2), regularized=True) / 2)]
    for t in (0.001, 0.3, 1.0, 1.7, 1.8, 2.571033, 4.18, 12.0) for df in (1.0, 2.0, 2.5, 9.0, 199.0, 398.0, 9999.0)
]
out["t_quantile"] = [[p, df, float(stats.t.ppf(p, df))] for p in (0.55, 0.9, 0.95, 0.975, 0.9995) for df in (1.0, 2.0, 4.7, 199.0, 5000.0)]
out["normal_quantile"] = [[p, float(stats.norm.ppf(p))] for p in (1e-12, 0.001, 0.025, 0.3, 0.5, 0.8, 0.975, 0.9999)]
out["binomial_cdf"] = [[k, n, p, float(stats.binom.cdf(k, n, p))] for k, n, p in [(0, 5, 0.3), (3, 10, 0.5), (7, 10, 0.2), (40, 100, 0.5), (480, 1001, 0.5), (9, 400, 0.02), (1200, 5000, 0.25)]]
values = np.round(rng.normal(size=11), 3).tolist()
out["quantile"] = {"values": values, "q": [[q, float(np.quantile(values, q))] for q in (0.0, 0.025, 0.1, 0.5, 0.9, 1.0)]}

# ---- independent proportions ---------------------------------------------------------------------------------------
cases = []
for x1, n1, x2, n2 in [(89, 100, 91, 100), (48, 50, 49, 50), (47, 50, 41, 50), (0, 12, 5, 17), (3, 9, 9, 9), (1, 40, 0, 38)]:
    z, p = proportion.proportions_ztest([x2, x1], [n2, n1])
    cases.append({"x1": x1, "n1": n1, "x2": x2, "n2": n2, "z": float(z), "p": float(p),
                  "ci": ci(proportion.confint_proportions_2indep(x2, n2, x1, n1, method="newcomb", compare="diff"))})
out["two_proportion"] = cases
out["wilson"] = [{"x": x, "n": n, "level": level, "ci": ci(proportion.proportion_confint(x, n, 1 - level, "wilson"))}
                 for x, n, level in [(0, 10, 0.95), (10, 10, 0.95), (3, 38, 0.95), (27, 200, 0.9), (1, 2, 0.99)]]
out["fisher"] = [{"table": t, "p": float(stats.fisher_exact([t[:2], t[2:]])[1])}
                 for t in [[28, 3, 0, 7], [10, 3, 4, 9], [1, 9, 11, 3], [0, 0, 5, 7], [500, 480, 520, 610], [3, 1, 1, 3]]]

# ---- paired proportions --------------------------------------------------------------------------------------------


def mid_p_limits(x, n, level):
    tail = (1 - level) / 2
    low = 0.0 if x == 0 else optimize.brentq(lambda p: stats.binom.sf(x, n, p) + 0.5 * stats.binom.pmf(x, n, p) - tail, 1e-12, 1 - 1e-12, xtol=1e-15)
    high = 1.0 if x == n else optimize.brentq(lambda p: stats.binom.cdf(x, n, p) - 0.5 * stats.binom.pmf(x, n, p) - tail, 1e-12, 1 - 1e-12, xtol=1e-15)
    return [low, high]


cases = []
for b, c in [(14, 11), (4, 6), (1, 2), (9, 3), (7, 8), (3, 10), (0, 3), (20, 7), (5, 5), (0, 24), (310, 251), (900, 800)]:
    table = [[0, b], [c, 0]]
    exact = contingency_tables.mcnemar(table, exact=True).pvalue
    corrected = contingency_tables.mcnemar(table, exact=False, correction=True)
    plain = contingency_tables.mcnemar(table, exact=False, correction=False)
    point = float(mp.binomial(b + c, min(b, c)) / mp.mpf(2) ** (b + c))
    mid = 1 - 0.5 * point if b == c else exact - point
    cases.append({"b": b, "c": c, "exact": float(exact), "mid": float(mid), "corrected": float(corrected.statistic),
                  "p_corrected": float(corrected.pvalue), "p_plain": float(plain.pvalue),
                  "ci_exact": ci(proportion.proportion_confint(c, b + c, 0.05, "beta")), "ci_mid": mid_p_limits(c, b + c, 0.95)})
# statsmodels does not floor |b - c| - 1 at 0; the floor only matters where b = c.
for case in cases:
    if case["b"] == case["c"]:
        case["corrected"], case["p_corrected"] = 0.0, 1.0
out["mcnemar"] = cases


def tango_z(b, c, n, delta):
    """Score statistic of p2 - p1 = delta, restricted maximum likelihood solved from the likelihood, not the formula."""
    delta = mp.mpf(delta)
    if b == 0 and c == 0:
        q = max(mp.mpf(0), -delta)
    else:
        lo, hi = max(mp.mpf(0), -delta), (1 - delta) / 2

        def slope(q):  # d loglik / dq with p12 = q + delta
            return (b / q if b else 0) + (c / (q + delta) if c else 0) - 2 * (n - b - c) / (1 - 2 * q - delta)

        eps = (hi - lo) * mp.mpf(10) ** -30
        if slope(lo + eps) <= 0:
            q = lo
        elif n == b + c:
            q = hi
        else:
            q = mp.findroot(slope, (lo + eps, hi - eps), solver="anderson", tol=1e-60, maxsteps=500, verify=False)
    return (c - b - n * delta) / mp.sqrt(n * (2 * q + delta * (1 - delta)))


def tango_limits(b, c, n, level):
    z = mp.mpf(stats.norm.ppf(0.5 + level / 2))
    centre = mp.mpf(c - b) / n

    def solve(low, high, target):
        for _ in range(80):
            mid = (low + high) / 2
            if tango_z(b, c, n, mid) > target:
                low = mid
            else:
                high = mid
        return float((low + high) / 2)

    tiny = mp.mpf(10) ** -20
    return [-1.0 if c - b == -n else solve(-1 + tiny, centre, z), 1.0 if c - b == n else solve(centre, 1 - tiny, -z)]


def newcombe_paired(a, b, c, d):
    n = a + b + c + d
    p1, p2 = (a + b) / n, (a + c) / n
    l1, u1 = proportion.proportion_confint(a + b, n, 0.05, "wilson")
    l2, u2 = proportion.proportion_confint(a + c, n, 0.05, "wilson")
    prod = (a + b) * (c + d) * (a + c) * (b + d)
    num = a * d - b * c
    phi = 0.0 if prod == 0 else (max(num - n / 2, 0) if num > 0 else num) / math.sqrt(prod)
    delta = p2 - p1
    low = delta - math.sqrt((p2 - l2) ** 2 - 2 * phi * (p2 - l2) * (u1 - p1) + (u1 - p1) ** 2)
    high = delta + math.sqrt((u2 - p2) ** 2 - 2 * phi * (u2 - p2) * (p1 - l1) + (p1 - l1) ** 2)
    return [low, high]


cases = []
for t in [(16, 20, 7, 157), (95, 13, 17, 75), (0, 4, 5, 391), (1, 3, 4, 392), (18, 5, 4, 373), (3, 5, 0, 32), (10, 0, 0, 90), (1, 1, 7, 12), (2, 30, 1, 5)]:
    a, b, c, d = t
    n = sum(t)
    z0 = float(tango_z(b, c, n, 0)) if b + c else 0.0
    lo, hi = tango_z(b, c, n, mp.mpf(-0.05)), tango_z(b, c, n, mp.mpf(0.05))
    agreed, p1, p2 = (a + d) / n, (a + b) / n, (a + c) / n
    chance = p1 * p2 + (1 - p1) * (1 - p2)
    cases.append({"table": list(t), "tango": tango_limits(b, c, n, 0.95), "z": z0, "newcombe": newcombe_paired(*t),
                  "tost_5pp": float(max(stats.norm.sf(float(lo)), stats.norm.cdf(float(hi)))),
                  "kappa": (agreed - chance) / (1 - chance), "jaccard": a / (a + b + c)})
out["paired_table"] = cases

# ---- t tests -------------------------------------------------------------------------------------------------------
cases = []
for n, shift, scale in [(5, 0.4, 1.0), (12, 0.0, 2.0), (60, 3.0, 9.0), (200, 6.7, 22.0)]:
    y = np.round(rng.gamma(2.0, 10.0, n), 2)
    x = np.round(y + rng.normal(shift, scale, n), 2) + 40
    y = y + 40
    paired, student, welch, one = stats.ttest_rel(x, y), stats.ttest_ind(x, y), stats.ttest_ind(x, y, equal_var=False), stats.ttest_1samp(x - y, 0)
    w_normal = stats.wilcoxon(x, y, zero_method="wilcox", correction=False, method="asymptotic")
    clusters = (np.arange(n) * 7 % max(3, n // 3)).tolist()
    fit = OLS(x - y, np.ones(n)).fit(cov_type="cluster", cov_kwds={"groups": np.array(clusters)}, use_t=True)
    tost_p, tost_low, tost_high = weightstats.ttost_paired(x, y, -2.0, 3.0)
    ratios = weightstats.DescrStatsW(np.log(x) - np.log(y))
    lr_p = ratios.ttost_mean(-math.log(1.05), math.log(1.05))[0]
    mw = stats.mannwhitneyu(x, y, method="asymptotic", use_continuity=True)
    cases.append({
        "x": x.tolist(), "y": y.tolist(), "clusters": clusters,
        "paired": [float(paired.statistic), float(paired.pvalue), *ci(paired.confidence_interval())],
        "student": [float(student.statistic), float(student.pvalue), *ci(student.confidence_interval())],
        "welch": [float(welch.statistic), float(welch.pvalue), *ci(welch.confidence_interval()), float(welch.df)],
        "one": [float(one.statistic), float(one.pvalue)],
        "wilcoxon": [float(w_normal.statistic), float(w_normal.pvalue)],
        "cluster": [float(fit.tvalues[0]), float(fit.pvalues[0]), *ci(fit.conf_int()[0])],
        "tost": [float(tost_p), float(tost_low[1]), float(tost_high[1])],
        "log_ratio": [float(lr_p), *ci(ratios.tconfint_mean(0.10))],
        "mann_whitney": [float(mw.statistic), float(mw.pvalue)],
    })
out["two_samples"] = cases

cases = []
for n in (3, 6, 15, 40):
    d = np.round(rng.normal(0.3, 1.0, n), 4)
    exact = stats.wilcoxon(d, method="exact")
    flips = None
    if n <= 15:
        flips = float(stats.permutation_test((d,), lambda s, axis: np.abs(np.sum(s, axis=axis)), permutation_type="samples", n_resamples=np.inf, alternative="greater", vectorized=True).pvalue)
    cases.append({"d": d.tolist(), "wilcoxon": [float(exact.statistic), float(exact.pvalue)], "sign_flip": flips})
out["signed"] = cases

# ---- AUROC ---------------------------------------------------------------------------------------------------------


def kernels(score, label):
    pos, neg = score[label], score[~label]
    psi = (pos[:, None] > neg[None, :]) + 0.5 * (pos[:, None] == neg[None, :])
    return psi.mean(), psi.mean(axis=1), psi.mean(axis=0)


cases = []
for n, top in [(12, 5), (60, 40), (200, 1000)]:
    label = rng.random(n) < 0.35
    label[:2], label[2:4] = True, False
    s1 = rng.integers(0, top, n).astype(float) + 0.3 * top * label
    s1 = np.floor(s1)
    s2 = np.floor(0.5 * s1 + rng.integers(0, top, n))
    (a1, v10, v01), (a2, w10, w01) = kernels(s1, label), kernels(s2, label)
    se = math.sqrt(v10.var(ddof=1) / len(v10) + v01.var(ddof=1) / len(v01))
    sed = math.sqrt((v10 - w10).var(ddof=1) / len(v10) + (v01 - w01).var(ddof=1) / len(v01))
    mw = stats.mannwhitneyu(s1[label], s1[~label], method="asymptotic", use_continuity=True)
    cases.append({"first": s1.tolist(), "second": s2.tolist(), "label": label.tolist(), "auroc": float(a1), "se": se,
                  "u": float(mw.statistic), "p": float(mw.pvalue), "z": float((a1 - a2) / sed), "p_diff": float(2 * stats.norm.sf(abs(a1 - a2) / sed))})
out["auroc"] = cases

# ---- multiplicity and power ----------------------------------------------------------------------------------------
cases = []
for p in [[0.01, 0.04, 0.03, 0.005], [0.2, 0.2, 0.9], [0.0001, 0.049, 0.5, 0.02, 0.02, 1.0, 0.013, 0.3]]:
    reject, adjusted, _, _ = multitest.multipletests(p, 0.05, method="holm")
    cases.append({"p": p, "adjusted": [float(v) for v in adjusted], "reject": [bool(v) for v in reject]})
out["holm"] = cases

out["power_t"] = [[n, dz, alpha, float(power.TTestPower().power(dz, n, alpha))]
                  for n, dz, alpha in [(2, 1.0, 0.05), (3, 2.0, 0.05), (10, 0.5, 0.05), (38, 0.4, 0.01), (200, 0.2958, 0.05), (2000, 0.05, 0.05)]]


def tost_power(n, dz, margin, alpha):
    df, t = n - 1, stats.t.ppf(1 - alpha, n - 1)
    root = math.sqrt(n)

    def inner(u):  # u = chi-squared of the variance
        s = math.sqrt(u / df)
        return max(stats.norm.cdf(margin * root - t * s - dz * root) - stats.norm.cdf(-margin * root + t * s - dz * root), 0) * stats.chi2.pdf(u, df)

    top = df * (margin * root / t) ** 2  # beyond it the region is empty
    mode = max(df - 2, 0.1)
    points = sorted({min(max(v, 0), top) for v in (mode - 6 * math.sqrt(2 * df), mode, mode + 6 * math.sqrt(2 * df))})
    edges = sorted({0.0, top if math.isfinite(top) else df * 10, *points})
    return sum(integrate.quad(inner, a, b, epsabs=1e-13, epsrel=1e-12, limit=400)[0] for a, b in zip(edges, edges[1:]) if b > a)


out["power_tost"] = [[n, dz, m, a, tost_power(n, dz, m, a)] for n, dz, m, a in [(20, 0.0, 0.5, 0.05), (100, 0.1, 0.3, 0.05), (400, 0.0, 0.15, 0.025), (5, 0.0, 2.0, 0.05)]]


def power_mcnemar(n, pb, pc, mid, alpha):
    pd = pb + pc
    total = 0.0
    for m in range(1, n + 1):
        k = np.arange(m + 1)
        low = np.minimum(k, m - k)
        p = np.minimum(1, 2 * stats.binom.cdf(low, m, 0.5))
        if mid:
            p = np.where(2 * k == m, 1 - 0.5 * stats.binom.pmf(low, m, 0.5), p - stats.binom.pmf(low, m, 0.5))
        total += stats.binom.pmf(m, n, pd) * stats.binom.pmf(k, m, pb / pd)[p <= alpha].sum()
    return float(total)


out["power_mcnemar"] = [[n, pb, pc, mid, power_mcnemar(n, pb, pc, mid, 0.05)]
                        for n, pb, pc in [(200, 0.1, 0.035), (400, 0.035, 0.015), (400, 0.02, 0.0), (38, 0.2, 0.0), (400, 0.025, 0.025)] for mid in (True, False)]

# ---- bootstrap: other random numbers, so these are compared within Monte-Carlo error --------------------------------
skewed = np.round(rng.lognormal(0.2, 0.7, 40) - 1.0, 3)
cases = {"values": skewed.tolist()}
for name, method in [("bca", "BCa"), ("percentile", "percentile")]:
    fit = stats.bootstrap((skewed,), np.mean, method=method, n_resamples=200_000, rng=np.random.default_rng(1))
    cases[name] = ci(fit.confidence_interval)
m, s, n = skewed.mean(), skewed.std(ddof=1), len(skewed)
draws = skewed[np.random.default_rng(2).integers(0, n, (200_000, n))]
ts = (draws.mean(axis=1) - m) / (draws.std(axis=1, ddof=1) / math.sqrt(n))
q = np.quantile(ts, [0.025, 0.975])
cases["studentised"] = [float(m - q[1] * s / math.sqrt(n)), float(m - q[0] * s / math.sqrt(n))]
out["bootstrap"] = cases

# ---- seeds and prompts ---------------------------------------------------------------------------------------------
# Three to six seeds; every prompt under every seed, or some missing. A generator of its own leaves the numbers above as they are.
own = np.random.default_rng(20250102)
cases = []
for n_seeds, n_prompts, missing in [(3, 12, 0), (5, 20, 0), (6, 9, 7)]:
    seed, prompt = np.divmod(np.arange(n_seeds * n_prompts), n_prompts)
    value = 0.08 + 0.05 * own.normal(size=n_seeds)[seed] + 0.1 * own.normal(size=n_prompts)[prompt] + 0.05 * own.normal(size=seed.size)
    keep = np.sort(own.permutation(seed.size)[missing:])
    value, seed, prompt = np.round(value[keep], 4), seed[keep], prompt[keep]
    means = np.array([value[seed == k].mean() for k in range(n_seeds)])
    t = stats.ttest_1samp(means, 0)
    fit = OLS(value, np.ones(value.size)).fit(cov_type="cluster", cov_kwds={"groups": prompt, "use_correction": False})
    vs, vp = means.var(ddof=1) / n_seeds, float(fit.bse[0]) ** 2 * n_prompts / (n_prompts - 1)
    df = (vs + vp) ** 2 / (vs ** 2 / (n_seeds - 1) + vp ** 2 / (n_prompts - 1))
    sums = np.array([value[prompt == k].sum() for k in range(n_prompts)])
    flips = sums @ (1 - 2 * ((np.arange(2 ** n_prompts)[:, None] >> np.arange(n_prompts)) & 1)).T
    cases.append({"values": value.tolist(), "seeds": seed.tolist(), "prompts": prompt.tolist(),
                  "over_seeds": [float(t.statistic), float(t.pvalue), *ci(t.confidence_interval(0.95)), float(t.df)],
                  "crossed": [float(2 * stats.t.sf(abs(means.mean()) / math.sqrt(vs + vp), df)), df],
                  "p_prompts": float(np.mean(np.abs(flips) >= abs(sums.sum()) - 1e-9))})
out["seeds"] = cases

# ---- discordant pairs: clusters, odds, order, judge error ------------------------------------------------------------
# Obuchowski (1998) from its definition: variances and covariance of two proportions over clusters, both at the pooled rate.
own = np.random.default_rng(20260601)
cases = []
for n_clusters, size in [(12, 1), (9, 4), (40, 3)]:
    cluster = np.repeat(np.arange(n_clusters), own.integers(1, size + 1, n_clusters))
    lean = own.normal(0, 1.2, n_clusters)[cluster]
    first, second = (own.random(cluster.size) < 1 / (1 + np.exp(-lean))), (own.random(cluster.size) < 1 / (1 + np.exp(-lean + 0.8)))
    by = lambda v: np.array([v[cluster == k].sum() for k in range(n_clusters)], float)
    x1, x2, m = by(first), by(second), by(np.ones(cluster.size))
    n, k, pooled = m.sum(), n_clusters, (x1.sum() + x2.sum()) / (2 * m.sum())
    e1, e2 = x1 - m * pooled, x2 - m * pooled
    var = k / (k - 1) / n**2 * ((e1**2).sum() + (e2**2).sum() - 2 * (e1 * e2).sum())
    chi2 = ((x2.sum() - x1.sum()) / n) ** 2 / var
    cases.append({"first": first.tolist(), "second": second.tolist(), "clusters": cluster.tolist(), "chi2": float(chi2), "p": float(stats.chi2.sf(chi2, 1))})
out["clustered_pairs"] = cases

cases = []
for fp, pf in [((10, 3), (9, 4)), ((10, 3), (4, 9)), ((1, 6), (5, 2))]:
    y = np.repeat([0, 1, 0, 1], [*fp, *pf])
    x = np.repeat([1.0, 1.0, -1.0, -1.0], [*fp, *pf])
    fit = Logit(y, np.column_stack([np.ones(y.size), x])).fit(disp=0, method="newton", tol=1e-14, maxiter=200)
    cases.append({"fp": fp, "pf": pf, "coef": fit.params.tolist(), "p": fit.pvalues.tolist(), "ci": fit.conf_int(0.05).tolist()})
out["order_model"] = cases

out["paired_odds"] = [{"b": b, "c": c, "ci": [p / (1 - p) for p in mid_p_limits(c, b + c, 0.95)]} for b, c in [(20, 7), (3, 5), (310, 251)]]

# Items with both arms; hand labels of a random part. The interval has other random numbers: compared within Monte-Carlo error.
n = 120
truth = np.stack([own.random(n) < 0.5, own.random(n) < 0.3])
judged = np.where(truth, own.random((2, n)) < 0.7, own.random((2, n)) < 0.08)
hand = own.random((2, n)) < 0.45


def corrected(draw):
    rates, joint = [], np.zeros((2, 2))
    for arm in range(2):
        j, t, h = judged[arm, draw], truth[arm, draw], hand[arm, draw]
        share = np.array([[(j == a).mean() * (t[h & (j == a)] == b).mean() for b in (0, 1)] for a in (0, 1)])
        rates.append(share[:, 1].sum())
        joint += share
    se, sp = joint[1, 1] / joint[:, 1].sum(), joint[0, 0] / joint[:, 0].sum()
    return rates[1] - rates[0], (judged[1, draw].mean() - judged[0, draw].mean()) / (se + sp - 1), se, sp


point = corrected(np.arange(n))
draws = np.array([corrected(own.integers(0, n, n))[:2] for _ in range(20_000)])
out["judge"] = {"judged": judged.tolist(), "hand": [[bool(t) if h else None for t, h in zip(truth[a], hand[a])] for a in range(2)],
                "by_arm": [float(point[0]), *ci(np.quantile(draws[:, 0], [0.025, 0.975]))],
                "alike": [float(point[1]), *ci(np.quantile(draws[:, 1], [0.025, 0.975]))]}

path = Path(__file__).resolve().parent.parent / "src/stats/golden.json"
lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in out.items())
path.write_text("{\n" + lines + "\n}\n")
print(path, path.stat().st_size, "bytes")
