//! The date for templates that print it (`strftime_now`), in UTC, without a time-zone database.

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Format Unix seconds by `strftime` codes; an unsupported code is an error that names it.
pub fn strftime(format: &str, unix: i64) -> Result<String, String> {
    let (days, second) = (unix.div_euclid(86_400), unix.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let weekday = DAYS[(days + 3).rem_euclid(7) as usize];
    let month_name = MONTHS[(month - 1).rem_euclid(12) as usize];
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let code = chars.next();
        // `%-d` and its like: no padding.
        let (code, bare) = if code == Some('-') { (chars.next(), true) } else { (code, false) };
        let number = |n: i64| if bare { n.to_string() } else { format!("{n:02}") };
        text += &match code {
            Some('Y') => format!("{year:04}"),
            Some('y') => number(year.rem_euclid(100)),
            Some('m') => number(month),
            Some('d') => number(day),
            Some('H') => number(hour),
            Some('I') => number((hour + 11) % 12 + 1),
            Some('M') => number(minute),
            Some('S') => number(second),
            Some('p') => if hour < 12 { "AM" } else { "PM" }.to_string(),
            Some('B') => month_name.to_string(),
            Some('b') => month_name.chars().take(3).collect(),
            Some('A') => weekday.to_string(),
            Some('a') => weekday.chars().take(3).collect(),
            Some('F') => format!("{year:04}-{month:02}-{day:02}"),
            Some('T') => format!("{hour:02}:{minute:02}:{second:02}"),
            Some('%') => "%".to_string(),
            other => {
                return Err(format!("strftime_now: %{} is not supported", other.map_or(String::new(), String::from)));
            }
        };
    }
    Ok(text)
}

/// Year, month 1..=12 and day of a day count from 1970-01-01 (Howard Hinnant's civil-from-days).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_match_python() {
        // datetime.fromtimestamp(t, timezone.utc).strftime(...)
        let cases = [
            (0, "%d %b %Y %A", "01 Jan 1970 Thursday"),
            (1_709_164_799, "%Y-%m-%d %H:%M:%S", "2024-02-28 23:59:59"),
            (1_709_164_800, "%-d %B %y, %a %I %p %%", "29 February 24, Thu 12 AM %"),
            (-1, "%F %T", "1969-12-31 23:59:59"),
        ];
        for (t, format, want) in cases {
            assert_eq!(strftime(format, t).unwrap(), want);
        }
        assert!(strftime("%Q", 0).unwrap_err().contains("%Q"));
        assert!(strftime("%", 0).is_err());
    }
}
