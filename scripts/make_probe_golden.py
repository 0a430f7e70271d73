#!/usr/bin/env python3
"""Writes src/stats/probe_golden.json: reference values for probes, folds, permutation, survival, change points, dose slopes
and seeds, from scikit-learn, SciPy, statsmodels and lifelines.

    python scripts/make_probe_golden.py

Feature matrices come from a linear congruence that the Rust test repeats, so they are not stored.
Made with scikit-learn 1.9, SciPy 1.17, statsmodels 0.15, lifelines 0.30, NumPy 2.4.
"""

import itertools
import json
import math
import warnings
from pathlib import Path

import numpy as np
from lifelines import KaplanMeierFitter
from lifelines.utils import restricted_mean_survival_time
from scipy import stats
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler
from statsmodels.duration.survfunc import SurvfuncRight, survdiff

warnings.filterwarnings("ignore")
rng = np.random.default_rng(20240607)
out = {}


def congruence(seed, count):
    """count values in [-1, 1): the same in the Rust test."""
    state, values = seed, []
    for _ in range(count):
        state = (state * 1103515245 + 12345) % (1 << 31)
        values.append(state / (1 << 30) - 1.0)
    return values


def design(seed, n, p):
    """Features [n, p] of mixed scale with one constant column (index 3), labels and targets that depend on the first two columns."""
    raw = np.array(congruence(seed, n * p + n)).reshape(-1)
    x = raw[: n * p].reshape(n, p)
    noise = raw[n * p :]
    labels = x[:, 0] + 0.5 * x[:, 1 % p] + noise > 0.1
    targets = 3.0 + x[:, 0] - 0.7 * x[:, 1 % p] + 2.0 * noise
    x = x * np.array([[0.1, 1.0, 10.0][j % 3] for j in range(p)]) + np.array([float(j % 4) for j in range(p)])
    if p > 3:
        x[:, 3] = 0.3
    return x, labels, targets


def logistic(x, y, c):
    scaler = StandardScaler().fit(x)
    fit = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-13, max_iter=2000).fit(scaler.transform(x), y)
    return scaler, fit


def short(values):
    """First values and the norm of all."""
    values = np.asarray(values, float).reshape(-1)
    return {"head": values[:12].tolist(), "norm": float(np.linalg.norm(values))}


# ---- fits ----------------------------------------------------------------------------------------------------------
cases = []
for seed, n, p, c in [(1, 40, 6, 0.01), (1, 40, 6, 1.0), (2, 60, 3, 50.0), (3, 30, 120, 0.01), (3, 30, 120, 1.0), (3, 30, 120, 1000.0),
                      (4, 25, 25, 1.0), (5, 200, 400, 0.1), (6, 150, 20, 1e4)]:
    x, y, _ = design(seed, n, p)
    scaler, fit = logistic(x, y, c)
    cases.append({"seed": seed, "n": n, "p": p, "c": c, "coef": short(fit.coef_), "intercept": float(fit.intercept_[0]),
                  "decision": short(fit.decision_function(scaler.transform(x)))})
out["logistic"] = cases

cases = []
for seed, n, p, alpha in [(1, 40, 6, 1.0), (3, 30, 120, 0.5), (3, 30, 120, 100.0), (5, 200, 400, 400.0), (7, 90, 30, 1e-3)]:
    x, _, t = design(seed, n, p)
    scaler = StandardScaler().fit(x)
    fit = Ridge(alpha=alpha, solver="cholesky").fit(scaler.transform(x), t)
    cases.append({"seed": seed, "n": n, "p": p, "alpha": alpha, "coef": short(fit.coef_), "intercept": float(fit.intercept_),
                  "decision": short(fit.predict(scaler.transform(x)))})
out["ridge"] = cases

# ---- folds of the study and its probe ------------------------------------------------------------------------------
cases = []
for classes in [rng.integers(0, 2, 37), rng.integers(0, 3, 60), np.array([1] * 12 + [0] * 25), (rng.random(200) < 0.655).astype(int)]:
    of = np.zeros(len(classes), int)
    for f, (_, test) in enumerate(StratifiedKFold(5).split(np.zeros(len(classes)), classes)):
        of[test] = f
    cases.append({"classes": classes.tolist(), "folds": of.tolist()})
out["study_folds"] = cases

x, y, _ = design(8, 60, 90)
best = None
for c in (0.01, 0.1, 1.0, 10.0):
    areas = []
    for train, test in StratifiedKFold(5).split(x, y):
        scaler, fit = logistic(x[train], y[train], c)
        areas.append(roc_auc_score(y[test], fit.decision_function(scaler.transform(x[test]))))
    if best is None or np.mean(areas) > best["mean"]:
        best = {"mean": float(np.mean(areas)), "sd": float(np.std(areas)), "c": c, "folds": [float(a) for a in areas]}
out["study_probe"] = {"seed": 8, "n": 60, "p": 90, **best}

# ---- nested choice: inner folds are the other outer folds ----------------------------------------------------------
cases = []
for seed, n, p in [(9, 60, 80), (10, 80, 10)]:
    x, y, t = design(seed, n, p)
    of = np.arange(n) * 7 % 5
    c_grid, a_grid = [0.001, 0.1, 10.0], [0.1 * p, p, 10.0 * p]
    scores, centred, chosen = np.zeros(n), np.zeros(n), []
    r_scores, r_chosen = np.zeros(n), []
    for f in range(5):
        means, errors = [], []
        for c, a in zip(c_grid, a_grid):
            areas, error = [], 0.0
            for g in range(5):
                if g == f:
                    continue
                train, test = (of != f) & (of != g), of == g
                scaler, fit = logistic(x[train], y[train], c)
                areas.append(roc_auc_score(y[test], fit.decision_function(scaler.transform(x[test]))))
                ridge = Ridge(alpha=a, solver="cholesky").fit(scaler.transform(x[train]), t[train])
                error += float(((t[test] - ridge.predict(scaler.transform(x[test]))) ** 2).sum())
            means.append(np.mean(areas))
            errors.append(error)
        c = c_grid[int(np.argmax(means))]
        a = a_grid[int(np.argmin(errors))]
        train, test = of != f, of == f
        scaler, fit = logistic(x[train], y[train], c)
        scores[test] = fit.decision_function(scaler.transform(x[test]))
        centred[test] = scores[test] - fit.intercept_[0]
        ridge = Ridge(alpha=a, solver="cholesky").fit(scaler.transform(x[train]), t[train])
        r_scores[test] = ridge.predict(scaler.transform(x[test]))
        chosen.append(c)
        r_chosen.append(float(a))
    cases.append({"seed": seed, "n": n, "p": p, "c_grid": c_grid, "a_grid": [float(a) for a in a_grid], "chosen": chosen, "scores": scores.tolist(),
                  "centred": centred.tolist(), "ridge_chosen": r_chosen, "ridge": r_scores.tolist(), "pooled": float(roc_auc_score(y, centred)),
                  "spearman": float(stats.spearmanr(r_scores, t).statistic)})
out["nested"] = cases

# ---- rank correlation and area within strata -----------------------------------------------------------------------
cases = []
for n, k in [(7, 1), (30, 1), (60, 4)]:
    strata = (np.arange(n) % k).tolist()
    x = np.round(rng.normal(size=n), 1)
    y = np.round(0.5 * x + rng.normal(size=n), 1)
    rho = sum((np.sum(np.array(strata) == s) - 1) * stats.spearmanr(x[np.array(strata) == s], y[np.array(strata) == s]).statistic for s in range(k)) / (n - k)
    label = y > 0.2
    pairs = wins = 0.0
    for i, j in itertools.product(range(n), range(n)):
        if strata[i] == strata[j] and label[i] and not label[j]:
            pairs += 1
            wins += 1.0 if x[i] > x[j] else 0.5 if x[i] == x[j] else 0.0
    p = None
    if n == 7:  # every order of y
        rx = stats.rankdata(x)
        r = [abs(np.corrcoef(rx, q)[0, 1]) for q in itertools.permutations(stats.rankdata(y))]
        p = float(np.mean(np.array(r) >= abs(rho) - 1e-10))
    cases.append({"x": x.tolist(), "y": y.tolist(), "strata": strata, "rho": float(rho), "label": label.tolist(), "auroc": wins / pairs, "p": p})
out["strata"] = cases

# ---- survival ------------------------------------------------------------------------------------------------------
cases = []
for n, n1, horizon in [(6, 3, 300.0), (8, 3, 300.0), (10, 5, 200.0), (40, 22, 250.0)]:
    first = np.arange(n) < n1
    t = np.where(first, 1.6, 1.0) * rng.exponential(150.0, n)
    if n == 40:
        horizon = np.round(rng.uniform(100, 400, n) / 25) * 25
    t = np.ceil(t / 25) * 25
    broken, t = t <= horizon, np.minimum(t, horizon)
    km = SurvfuncRight(t, broken.astype(int))
    chi2, p = survdiff(t, broken.astype(int), first.astype(int))

    def observed_minus_expected(group):
        d = 0.0
        for e in np.unique(t[broken]):
            risk, hit = t >= e, broken & (t == e)
            d += hit[group].sum() - hit.sum() * risk[group].sum() / risk.sum()
        return d

    oe = observed_minus_expected(first)
    exact = None
    if n <= 10:
        all_oe = [observed_minus_expected(np.isin(np.arange(n), pick)) for pick in itertools.combinations(range(n), n1)]
        exact = float(np.mean(np.abs(all_oe) >= abs(oe) - 1e-9))
    tau = 175.0
    fitter = KaplanMeierFitter().fit(t, broken)
    cases.append({"times": t.tolist(), "broken": broken.tolist(), "first": first.tolist(), "km_time": km.surv_times.tolist(),
                  "km": km.surv_prob.tolist(), "km_se": [0.0 if s == 0 else float(e) for s, e in zip(km.surv_prob, km.surv_prob_se)], "chi2": float(chi2), "p_chi2": float(p), "oe": float(oe),
                  "exact": exact, "tau": tau, "rmst": float(restricted_mean_survival_time(fitter, t=tau))})
out["survival"] = cases

# ---- change point --------------------------------------------------------------------------------------------------
cases = []
for n, at, size, least in [(7, 4, 3.0, 2), (13, 5, 4.0, 2), (13, 8, 0.0, 3), (25, 3, 2.0, 1)]:
    v = np.round(rng.normal(size=n) + size * (np.arange(n) >= at), 3)

    def explained(v):
        total = ((v - v.mean()) ** 2).sum()
        sse = [((v[:i] - v[:i].mean()) ** 2).sum() + ((v[i:] - v[i:].mean()) ** 2).sum() for i in range(least, n - least + 1)]
        return 1 - min(sse) / total, least + int(np.argmin(sse))

    share, split = explained(v)
    p = float(np.mean([explained(np.array(q))[0] >= share - 1e-10 for q in itertools.permutations(v)])) if n == 7 else None
    cases.append({"values": v.tolist(), "least": least, "split": split, "explained": float(share), "p": p,
                  "before": float(v[:split].mean()), "after": float(v[split:].mean())})
out["change_point"] = cases

# ---- dose and response, random directions --------------------------------------------------------------------------
doses, items, y = [], [], []
for i in range(12):
    for d in (-2.0, -1.0, 0.0, 1.0, 2.0)[: 5 - i % 2]:
        doses.append(d)
        items.append(i)
        y.append(round(float(2.0 + 0.3 * i + 0.15 * d + 0.2 * rng.normal()), 4))
doses, items, y = np.array(doses), np.array(items), np.array(y)
slopes = [stats.linregress(doses[items == i], y[items == i]).slope for i in range(12)]
t = stats.ttest_1samp(slopes, 0)
out["dose"] = {"dose": doses.tolist(), "items": items.tolist(), "y": y.tolist(), "slope": float(np.mean(slopes)), "t": float(t.statistic)}
cloud = np.round(rng.normal(0.01, 0.05, 50), 4)
s = 0.13
se = cloud.std(ddof=1) * math.sqrt(1 + 1 / len(cloud))
half = stats.t.ppf(0.975, len(cloud) - 1) * se
out["cloud"] = {"slope": s, "random": cloud.tolist(), "p_rank": float((1 + (np.abs(cloud) >= s).sum()) / (1 + len(cloud))),
                "p_t": float(2 * stats.t.sf(abs(s - cloud.mean()) / se, len(cloud) - 1)), "low": float(cloud.mean() - half), "high": float(cloud.mean() + half)}

# ---- seeds ---------------------------------------------------------------------------------------------------------
cases = []
for e in [[0.2, 0.5, 0.1], [0.2, -0.1, 0.3, 0.25, 0.4], [-1.0, -2.0, -1.5, -0.2, -0.7, -0.9]]:
    t = stats.ttest_1samp(e, 0)
    ci = t.confidence_interval()
    up = sum(v > 0 for v in e)
    cases.append({"effects": e, "p": float(t.pvalue), "ci": [float(ci[0]), float(ci[1])], "p_sign": float(stats.binomtest(up, len(e)).pvalue),
                  "same": max(up, len(e) - up), "sd": float(np.std(e, ddof=1)), "sd_population": float(np.std(e))})
out["seeds"] = cases

path = Path(__file__).resolve().parent.parent / "src/stats/probe_golden.json"
lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in out.items())
path.write_text("{\n" + lines + "\n}\n")
print(path, path.stat().st_size, "bytes")
