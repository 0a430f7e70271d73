//! Numbers as a reader expects them: three significant digits, a real minus sign, no false precision.

use crate::battery::record::Effect;

/// U+202F, between groups of three digits and before units.
const NARROW_SPACE: char = '\u{202f}';

/// Decimals that show `magnitude` with three significant digits (0 … 6).
pub fn decimals_for(magnitude: f64) -> usize {
    if !magnitude.is_finite() || magnitude <= 0.0 {
        return 0;
    }
    (2 - magnitude.log10().floor() as i64).clamp(0, 6) as usize
}

/// `x` with a fixed number of decimals; `−` for minus, `—` for what is not defined, thousands set apart.
pub fn fixed(x: f64, decimals: usize) -> String {
    if x.is_nan() {
        return "—".to_string();
    }
    if x.is_infinite() {
        return if x > 0.0 { "∞" } else { "−∞" }.to_string();
    }
    let digits = format!("{:.*}", decimals, x.abs());
    let (whole, fraction) = digits.split_once('.').map_or((digits.as_str(), None), |(w, f)| (w, Some(f)));
    let mut out = String::new();
    if x < 0.0 && digits.bytes().any(|b| b.is_ascii_digit() && b != b'0') {
        out.push('−');
    }
    for (i, c) in whole.chars().enumerate() {
        // four digits stay together, as in 1024
        if i > 0 && whole.len() > 4 && (whole.len() - i) % 3 == 0 {
            out.push(NARROW_SPACE);
        }
        out.push(c);
    }
    if let Some(f) = fraction {
        out.push('.');
        out.push_str(f);
    }
    out
}

/// Three significant digits; whole numbers in full; powers of ten outside 10⁻⁴ … 10⁹.
pub fn num(x: f64) -> String {
    let size = x.abs();
    if !x.is_finite() || (x.fract() == 0.0 && size < 1e9) {
        return fixed(x, 0);
    }
    if (1e-4..1e9).contains(&size) {
        return fixed(x, decimals_for(size));
    }
    let text = format!("{size:.2e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let superscript: String = exponent.chars().map(superscript).collect();
    format!("{}{mantissa}×10{superscript}", if x < 0.0 { "−" } else { "" })
}

fn superscript(c: char) -> char {
    match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        d => d.to_digit(10).and_then(|d| char::from_u32(0x2070 + d)).unwrap_or(d),
    }
}

/// A p-value on its own: `0.0123`, `<0.001`, `>0.999`; `undefined` outside [0, 1].
pub fn p_value(p: f64) -> String {
    if !(0.0..=1.0).contains(&p) {
        return "undefined".to_string();
    }
    if p < 0.001 {
        return "<0.001".to_string();
    }
    if p > 0.999 {
        return ">0.999".to_string();
    }
    let decimals = decimals_for(p).min(4);
    let rounded = format!("{p:.decimals$}");
    if rounded.starts_with('1') { ">0.999".to_string() } else { rounded }
}

/// Estimate with its interval, all three with the same decimals: `−0.324 [−0.412, −0.231]`.
pub fn interval(e: &Effect) -> String {
    interval_with(e, effect_decimals(e))
}

/// As `interval`, with the decimals of its neighbours.
pub fn interval_with(e: &Effect, decimals: usize) -> String {
    format!("{} [{}, {}]", fixed(e.estimate, decimals), fixed(e.low, decimals), fixed(e.high, decimals))
}

/// Decimals shared by an estimate and its bounds.
fn effect_decimals(e: &Effect) -> usize {
    let largest = [e.estimate, e.low, e.high].iter().filter(|x| x.is_finite()).fold(0.0f64, |m, x| m.max(x.abs()));
    decimals_for(largest)
}

/// A difference of natural logarithms as a change in percent: −0.324 is −27.7 %.
pub fn log_as_percent(e: &Effect) -> String {
    let change = |x: f64| 100.0 * x.exp_m1();
    let e = Effect { estimate: change(e.estimate), low: change(e.low), high: change(e.high), ..e.clone() };
    let decimals = effect_decimals(&e).min(1);
    let show = |x: f64| format!("{}{NARROW_SPACE}%", fixed(x, decimals));
    format!("{} [{}, {}]", show(e.estimate), show(e.low), show(e.high))
}

/// `p = 0.0123`, `p < 0.001`, `p —` where there is none.
pub fn p_text(name: &str, p: Option<f64>) -> String {
    match p.map(p_value) {
        None => format!("{name} —"),
        Some(text) => match text.strip_prefix(['<', '>']) {
            Some(bound) => format!("{name} {} {bound}", &text[..1]),
            None if text.starts_with('u') => format!("{name} {text}"),
            None => format!("{name} = {text}"),
        },
    }
}

/// A share as a percentage.
pub fn percent(share: f64) -> String {
    if share.is_nan() { "—".to_string() } else { format!("{}{NARROW_SPACE}%", fixed(100.0 * share, 1)) }
}

pub fn count(n: usize) -> String {
    fixed(n as f64, 0)
}

/// `1 seed`, `3 seeds`.
pub fn plural(n: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// A duration in the two largest units.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "—".to_string();
    }
    if seconds < 60.0 {
        return format!("{} s", num((seconds * 10.0).round() / 10.0));
    }
    let s = seconds.round() as u64;
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// Seconds since 1970 as `2026-07-02 13:45 UTC` (civil-from-days, Howard Hinnant).
pub fn utc(unix: u64) -> String {
    let (days, rest) = ((unix / 86_400) as i64, unix % 86_400);
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3600, rest / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(num(-0.32449), "−0.324");
        assert_eq!(num(0.048790), "0.0488");
        assert_eq!(num(12.345), "12.3");
        assert_eq!(num(1234.6), "1235");
        assert_eq!(num(200.0), "200");
        assert_eq!(num(1234567.0), "1\u{202f}234\u{202f}567");
        assert_eq!(num(3.21e-7), "3.21×10⁻⁷");
        assert_eq!(num(f64::NAN), "—");
        assert_eq!(num(f64::NEG_INFINITY), "−∞");
        assert_eq!(fixed(-0.0004, 2), "0.00", "a rounded zero has no sign");
    }

    #[test]
    fn p_values() {
        for (p, text) in [
            (0.0, "<0.001"),
            (0.00099, "<0.001"),
            (0.001, "0.0010"),
            (0.04961, "0.0496"),
            (0.56, "0.560"),
            (0.9999, ">0.999"),
            (0.99899, "0.999"),
            (1.0, ">0.999"),
            (f64::NAN, "undefined"),
            (-0.1, "undefined"),
        ] {
            assert_eq!(p_value(p), text, "{p}");
        }
    }

    #[test]
    fn p_in_a_sentence() {
        assert_eq!(p_text("p", Some(0.00042)), "p < 0.001");
        assert_eq!(p_text("Holm p", Some(0.0123)), "Holm p = 0.0123");
        assert_eq!(p_text("p", None), "p —");
    }

    #[test]
    fn intervals_share_decimals() {
        let mut e = Effect {
            name: "log tokens".into(),
            estimate: -0.324,
            low: -0.4123,
            high: -0.2,
            level: 0.95,
            method: String::new(),
            margin: None,
        };
        assert_eq!(interval(&e), "−0.324 [−0.412, −0.200]");
        assert_eq!(log_as_percent(&e), "−27.7\u{202f}% [−33.8\u{202f}%, −18.1\u{202f}%]");
        e.high = f64::INFINITY;
        assert_eq!(interval(&e), "−0.324 [−0.412, ∞]");
    }

    #[test]
    fn times() {
        assert_eq!(utc(0), "1970-01-01 00:00 UTC");
        assert_eq!(utc(951_827_696), "2000-02-29 12:34 UTC");
        assert_eq!(duration(3.21), "3.20 s");
        assert_eq!(duration(249.6), "4 min 10 s");
        assert_eq!(duration(7980.0), "2 h 13 min");
    }
}
