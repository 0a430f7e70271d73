use std::io::Write;

use clap::Parser;
use serde_json::Value;

use super::*;

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    args: Args,
}

fn evaluated(line: &str, file: &str) -> Boxed<Value> {
    let words = line.split_whitespace().map(|w| if w == "FILE" { file } else { w });
    let program = Program::try_parse_from(std::iter::once("stats").chain(words))?;
    evaluate(&program.args)
}

fn of_rows(line: &str, rows: &str) -> Boxed<Value> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(rows.as_bytes())?;
    evaluated(line, &file.path().display().to_string())
}

fn near(value: &Value, want: f64) {
    let got = value.as_f64().unwrap_or(f64::NAN);
    assert!((got - want).abs() < 1e-9 * (1.0 + want.abs()), "{got} is not {want}");
}

#[test]
fn the_command_line_is_consistent() {
    use clap::CommandFactory;
    Program::command().debug_assert();
    let names = evaluated("list", "").unwrap();
    assert!(names.as_object().unwrap().len() >= 25 && names["mcnemar"].is_string());
}

#[test]
fn counts() {
    near(&evaluated("mcnemar --b 14 --c 11 --json", "").unwrap()["p"], 0.6900379657745361);
    near(&evaluated("mcnemar --b 20 --c 7 --method mid-p", "").unwrap()["p"], 0.012540951371192932);
    let z = evaluated("two-proportion --x1 89 --n1 100 --x2 91 --n2 100", "").unwrap();
    near(&z["statistic"], 0.4714045207910322);
    let t = evaluated("tango --a 16 --b 20 --c 7 --d 157", "").unwrap();
    near(&t["ci"]["low"], -0.11966547394953186);
    let o = evaluated("paired-odds-ratio --b 20 --c 7", "").unwrap();
    near(&o["estimate"], 0.35);
    let l = evaluated("discordant-logit --first 10 3 --second 9 4", "").unwrap();
    near(&l["condition"]["estimate"], 0.5 * ((3.0f64 / 10.0).ln() + (4.0f64 / 9.0).ln()));
    let w = evaluated("welch-t --summary-x 88.2 0.3 3 --summary-y 72.3 22.8 3", "").unwrap();
    assert!((w["p"].as_f64().unwrap() - 0.35054).abs() < 1e-5);
    let n = evaluated("power-paired-t --dz 0.5", "").unwrap();
    assert_eq!(n["n"], 34);
    for (line, part) in [
        ("tango --b 2 --c 3", "--a"),
        ("mcnemar", "--jsonl"),
        ("wilson --x 4 --n 3", "x of n is 4"),
        ("mcnemar --b 1", "--c"),
        ("welch-t --summary-x 1 1 3", "--summary-y"),
        ("paired-t", "--jsonl"),
    ] {
        let e = evaluated(line, "").unwrap_err().to_string();
        assert!(e.contains(part), "{line}: {e}");
    }
}

const LONG: &str = r#"{"item":"i1","arm":"value","tokens":9,"ok":true,"m":{"k":1}}
{"item":"i1","arm":"control","tokens":14,"ok":true,"m":{"k":1}}

{"item":"i2","arm":"control","tokens":10,"ok":false,"m":{"k":1}}
{"item":"i2","arm":"value","tokens":11,"ok":true,"m":{"k":1}}
{"item":"i3","arm":"value","tokens":3,"ok":true,"m":{"k":2}}
{"item":"i3","arm":"control","tokens":7.5,"ok":false,"m":{"k":2}}
"#;

#[test]
fn long_rows_pair_like_wide_rows() {
    let wide = "{\"a\":9,\"b\":14}\n{\"a\":11,\"b\":10}\n{\"a\":3,\"b\":7.5}\n";
    let select = "--x-where arm=value --y-where arm=control --pair-by item";
    let long = of_rows(&format!("paired-t --jsonl FILE --value tokens {select}"), LONG).unwrap();
    assert_eq!(long, of_rows("paired-t --jsonl FILE --x a --y b", wide).unwrap());
    near(&long["estimate"], -8.5 / 3.0);
    let m = of_rows(&format!("mcnemar --jsonl FILE --value ok {select}"), LONG).unwrap();
    assert_eq!((&m["details"]["b"], &m["details"]["c"]), (&Value::from(2.0), &Value::from(0.0)));
    let m = of_rows(&format!("mcnemar-clustered --jsonl FILE --value ok {select} --cluster m.k"), LONG).unwrap();
    assert_eq!((&m["n"], &m["details"]["pairs"]), (&Value::from(2), &Value::from(3.0)));
    let c = of_rows(&format!("cluster-t --jsonl FILE --value tokens {select} --cluster m.k --log"), LONG).unwrap();
    assert_eq!((&c["n"], &c["details"]["rows"]), (&Value::from(2), &Value::from(3.0)));
    let m = of_rows(&format!("mcnemar --jsonl FILE --value tokens {select} --at-least 10"), LONG).unwrap();
    assert_eq!((&m["details"]["b"], &m["details"]["c"]), (&Value::from(0.0), &Value::from(1.0)));
    let one = of_rows("t-interval --jsonl FILE --x tokens --where arm=control", LONG).unwrap();
    near(&one["estimate"], 10.5);
    let two = of_rows("student-t --jsonl FILE --value tokens --x-where arm=value --y-where arm=control", LONG).unwrap();
    near(&two["estimate"], -8.5 / 3.0);
    let roc = of_rows("auroc --jsonl FILE --score tokens --label arm --positive control", LONG).unwrap();
    near(&roc["estimate"], 6.0 / 9.0);
    let doubled = format!("{LONG}{LONG}");
    let mean = of_rows(&format!("paired-t --jsonl FILE --value tokens {select} --mean"), &doubled).unwrap();
    assert_eq!(mean, long);
    let odd = format!("{LONG}{{\"item\":\"i9\",\"arm\":\"value\",\"tokens\":1}}\n");
    let kept = of_rows(&format!("paired-t --jsonl FILE --value tokens {select} --drop-unpaired"), &odd).unwrap();
    near(&kept["p"], long["p"].as_f64().unwrap());
    assert!(kept["notes"][0].as_str().unwrap().starts_with("1 row group"));
}

#[test]
fn errors_name_file_line_and_column() {
    let select = "--x-where arm=value --y-where arm=control --pair-by item";
    let pair = format!("paired-t --jsonl FILE --value tokens {select}");
    let add = |row: &str| format!("{LONG}{row}\n");
    for (line, rows, parts) in [
        (pair.as_str(), add("{"), vec!["line 8", "not JSON"]),
        (&pair, add("[1]"), vec!["line 8", "object"]),
        (&pair, add(r#"{"item":"i4","arm":"value","tokens":"x"}"#), vec!["line 8", "\"tokens\"", "\"x\""]),
        (&pair, add(r#"{"item":"i4","arm":"value"}"#), vec!["line 8", "no column \"tokens\"", "item, arm"]),
        (&pair, add(r#"{"item":"i3","arm":"value","tokens":1}"#), vec!["lines 6 and 8", "--mean"]),
        (&pair, add(r#"{"item":"i4","arm":"value","tokens":1}"#), vec!["line 8", "i4", "--drop-unpaired"]),
        ("wilcoxon --jsonl FILE --x a --y b", "{\"a\":1,\"b\":null}".into(), vec!["line 1", "\"b\"", "null"]),
        ("t-interval --jsonl FILE --x a --log", "{\"a\":0}".into(), vec!["line 1", "\"a\"", "above 0"]),
        ("mcnemar --jsonl FILE --x a --y b", "{\"a\":0.5,\"b\":1}".into(), vec!["0.5"]),
        ("paired-t --jsonl FILE --x a", "{\"a\":1}".into(), vec!["--y"]),
        ("t-interval --jsonl FILE --x a --where a=2", "{\"a\":1}".into(), vec!["--where"]),
        ("t-interval --jsonl FILE --x a", "{\"a\":1}\n{\"a\":1}\n".into(), vec!["does not vary"]),
        ("sign-flip --jsonl FILE --x a", "\u{feff}{\"a\":1}".into(), vec!["line 1"]),
    ] {
        let e = of_rows(line, &rows).unwrap_err().to_string();
        assert!(parts.iter().all(|p| e.contains(p)), "{line}: {e}");
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"{\"a\":1}\n\xff\xfe\n").unwrap();
    let e = evaluated("t-interval --jsonl FILE --x a", &file.path().display().to_string()).unwrap_err().to_string();
    assert!(e.contains("line 2"), "{e}");
    let e = evaluated("t-interval --jsonl FILE --x a", "nowhere.jsonl").unwrap_err().to_string();
    assert!(e.contains("nowhere.jsonl"), "{e}");
}

/// Rows with a feature list, a label, a target, and units.
fn probe_rows() -> String {
    let mut state = 5u64;
    let mut next = move || {
        state = (state * 1_103_515_245 + 12_345) % (1 << 31);
        state as f64 / f64::from(1u32 << 30) - 1.0
    };
    (0..60).fold(String::new(), |mut text, i| {
        let x: Vec<f64> = (0..4).map(|_| next()).collect();
        let y = 2.0 * x[0] + 0.3 * next();
        let row = serde_json::json!({ "x": x, "extra": next(), "short": y > 0.0, "tokens": (3.0 + y).exp(),
                                      "family": format!("f{}", i % 2), "prompt": i / 2 * 2 + i % 2, "dose": i % 5, "item": i / 5 });
        text.push_str(&format!("{row}\n"));
        text
    })
}

#[test]
fn probes_and_slopes() {
    let rows = probe_rows();
    let units = "--stratum family --group prompt";
    let r = of_rows(&format!("logistic-probe --jsonl FILE --features x,extra --label short {units}"), &rows).unwrap();
    assert_eq!(r["features"], 5);
    assert!(r["pooled_auroc"]["value"].as_f64().unwrap() > 0.9, "{r}");
    assert!(r["by_fold"]["mean"]["value"].as_f64().unwrap() > 0.9, "{r}");
    let r = of_rows("logistic-probe --jsonl FILE --features x --label short --study", &rows).unwrap();
    assert!(r["by_fold"]["sd"].is_number() && r["c"].is_number(), "{r}");
    let line = format!("ridge-probe --jsonl FILE --features x --target tokens --log {units} --resamples 99");
    let r = of_rows(&line, &rows).unwrap();
    near(&r["p"], 0.01);
    assert!(r["spearman"]["value"].as_f64().unwrap() > 0.8, "{r}");
    let r = of_rows("spearman --jsonl FILE --x extra --y tokens --stratum family --group prompt", &rows).unwrap();
    assert_eq!(r["details"]["strata"], 2.0);
    let r = of_rows("dose-response --jsonl FILE --dose dose --response tokens --log --item item", &rows).unwrap();
    assert_eq!(r["n"], 12);
    for (line, part) in [
        ("logistic-probe --jsonl FILE --features x --label family", "--positive"),
        ("logistic-probe --jsonl FILE --features x --label family --positive f9", "both classes"),
        ("logistic-probe --jsonl FILE --features family --label short", "\"family\""),
        ("ridge-probe --jsonl FILE --features x --target tokens --group family", "groups"),
        ("spearman --jsonl FILE --x extra", "--y"),
        ("dose-response --jsonl FILE --dose dose --response tokens --item item --cluster dose", "group"),
    ] {
        let e = of_rows(line, &rows).unwrap_err().to_string();
        assert!(e.contains(part), "{line}: {e}");
    }
    let ragged = "{\"x\":[1,2],\"y\":true}\n{\"x\":[1],\"y\":false}\n";
    let e = of_rows("logistic-probe --jsonl FILE --features x --label y", ragged).unwrap_err().to_string();
    assert!(e.contains("line 2") && e.contains("the first row has 2"), "{e}");
}

#[test]
fn break_times_onsets_and_seeds() {
    let rows = "{\"arm\":\"value\",\"t\":300,\"hit\":false}\n{\"arm\":\"value\",\"t\":300,\"hit\":false}\n\
                {\"arm\":\"value\",\"t\":275,\"hit\":true}\n{\"arm\":\"control\",\"t\":75,\"hit\":true}\n\
                {\"arm\":\"control\",\"t\":100,\"hit\":true}\n{\"arm\":\"control\",\"t\":150,\"hit\":true}\n";
    let times = "--jsonl FILE --time t --broken hit";
    let r = of_rows(&format!("log-rank {times} --first arm --positive value"), rows).unwrap();
    near(&r["p"], 0.1);
    assert!(r["estimate"].as_f64().unwrap() < 0.0);
    let r = of_rows(&format!("kaplan-meier {times}"), rows).unwrap();
    assert_eq!((&r["breaks"], r["steps"].as_array().map(Vec::len)), (&Value::from(4), Some(4)));
    let r = of_rows(&format!("restricted-mean {times} --tau 300 --first arm --positive value"), rows).unwrap();
    near(&r["estimate"], (300.0 + 300.0 + 275.0 - 75.0 - 100.0 - 150.0) / 3.0);
    let r = evaluated("change-point --values 1,1.2,0.9,1.1,1,4,4.2,3.9,4,4.1 --least 2", "").unwrap();
    assert_eq!(r["onset"], 5);
    let r = evaluated("crossing --values 1,3,1,3,4 --above 2", "").unwrap();
    assert_eq!(r["index"], 3);
    assert_eq!(evaluated("crossing --values 1,3,1,3,4 --below 0", "").unwrap()["crossed"], false);
    let r = evaluated("against-random --slope 0.5 --values 0.1,-0.1,0.05,-0.04,0.02", "").unwrap();
    near(&r["details"]["p_rank"], 1.0 / 6.0);
    let r = evaluated("seed-effects --values 0.2,0.5,0.1", "").unwrap();
    assert_eq!(r["details"]["all_agree"], 1.0);
    assert!(evaluated("seed-effects", "").unwrap_err().to_string().contains("--values"));
}

#[test]
fn the_table_is_readable() {
    let text = table(&evaluated("mcnemar --b 14 --c 11", "").unwrap());
    assert!(text.contains("p                         0.690038\n"), "{text}");
    assert!(text.contains("(95 %)") && text.contains("  p_mid "), "{text}");
}
