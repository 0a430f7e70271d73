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

#[test]
fn the_table_is_readable() {
    let text = table(&evaluated("mcnemar --b 14 --c 11", "").unwrap());
    assert!(text.contains("p                         0.690038\n"), "{text}");
    assert!(text.contains("(95 %)") && text.contains("  p_mid "), "{text}");
}
