//! Times: microseconds since 1970, UTC, and the one fast parser the hot path needs.

/// Microseconds since 1970-01-01T00:00:00Z.
pub type Micros = i64;

pub const MICROS_PER_SECOND: Micros = 1_000_000;
pub const MICROS_PER_HOUR: Micros = 3_600 * MICROS_PER_SECOND;
pub const MICROS_PER_DAY: Micros = 24 * MICROS_PER_HOUR;

/// Event times before this are not believed: such an event is indexed by the time it was received.
pub const EARLIEST: Micros = 946_684_800 * MICROS_PER_SECOND;

/// Now, by the wall clock.
pub fn now() -> Micros {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_micros() as Micros)
}

/// Days since 1970-01-01 of a time (floor).
pub fn day_of(time: Micros) -> i32 {
    time.div_euclid(MICROS_PER_DAY) as i32
}

/// The Monday of the ISO week that a day lies in, both in days since 1970-01-01, which was a Thursday.
pub fn monday_of(day: i32) -> i32 {
    day - (day + 3).rem_euclid(7)
}

/// Hours since 1970-01-01T00 of a time (floor).
pub fn hour_of(time: Micros) -> i32 {
    time.div_euclid(MICROS_PER_HOUR) as i32
}

/// Parses an event's timestamp: RFC 3339 with `T` or a space, any number of fraction digits, `Z`, an offset or nothing (UTC).
///
/// Returns `None` for anything else; no allocation.
pub fn parse(text: &[u8]) -> Option<Micros> {
    // An array, so that nothing below is checked for bounds again.
    let (text, mut rest) = text.split_first_chunk::<19>()?;
    let mut stray = 0u8;
    let mut digit = |at: usize| {
        let digit = text[at].wrapping_sub(b'0');
        stray |= u8::from(digit > 9);
        i64::from(digit)
    };
    let separators = text[4] == b'-' && text[7] == b'-' && matches!(text[10], b'T' | b't' | b' ') && text[13] == b':' && text[16] == b':';
    if !separators {
        return None;
    }
    let year = digit(0) * 1000 + digit(1) * 100 + digit(2) * 10 + digit(3);
    let [month, day, hour, minute, second] = [5, 8, 11, 14, 17].map(|at| digit(at) * 10 + digit(at + 1));
    if stray != 0 {
        return None;
    }
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut fraction = 0i64;
    if let [b'.' | b',', tail @ ..] = rest {
        let count = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return None;
        }
        for &digit in &tail[..count.min(6)] {
            fraction = fraction * 10 + i64::from(digit - b'0');
        }
        for _ in count..6 {
            fraction *= 10;
        }
        rest = &tail[count..];
    }
    let offset_seconds = match rest {
        [] | [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, tail @ ..] if h1.is_ascii_digit() && h2.is_ascii_digit() => {
            let minutes = match tail {
                [] => [b'0', b'0'],
                [m1, m2] | [b':', m1, m2] if m1.is_ascii_digit() && m2.is_ascii_digit() => [*m1, *m2],
                _ => return None,
            };
            let two = |a: u8, b: u8| i64::from(a - b'0') * 10 + i64::from(b - b'0');
            let seconds = two(*h1, *h2) * 3600 + two(minutes[0], minutes[1]) * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset_seconds;
    Some(seconds * MICROS_PER_SECOND + fraction)
}

/// A number that counts from 1970: seconds, milliseconds or microseconds, told apart by their size (they overlap nowhere
/// between 1973 and 5138), whole or with a fraction.
pub fn of_number(text: &[u8]) -> Option<Micros> {
    let (whole, fraction) = match memchr::memchr(b'.', text) {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &[][..]),
    };
    if whole.is_empty() || whole.len() > 17 || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return None;
    }
    let number = whole.iter().fold(0i64, |number, digit| number * 10 + i64::from(digit - b'0'));
    let (unit, digits) = match number {
        0..100_000_000_000 => (MICROS_PER_SECOND, 6),
        100_000_000_000..100_000_000_000_000 => (1_000, 3),
        _ => (1, 0),
    };
    let mut micros = 0;
    for at in 0..digits {
        micros = micros * 10 + i64::from(fraction.get(at).map_or(0, |digit| digit - b'0'));
    }
    Some(number * unit + micros)
}

/// `2026-03-22T00:10:42.831494Z`
pub fn format(time: Micros) -> String {
    let (year, month, day) = civil_from_days(i64::from(day_of(time)));
    let within = time.rem_euclid(MICROS_PER_DAY);
    let (second, micros) = (within / MICROS_PER_SECOND, within % MICROS_PER_SECOND);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{micros:06}Z", second / 3600, second / 60 % 60, second % 60)
}

/// `2026-03-22`
pub fn format_day(day: i32) -> String {
    let (year, month, day) = civil_from_days(i64::from(day));
    format!("{year:04}-{month:02}-{day:02}")
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a proleptic Gregorian date (Howard Hinnant, "chrono-compatible low-level date algorithms").
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The date of a day since 1970-01-01: (year, month, day). Same source.
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days - era * 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_shape_of_timestamp_seen_in_real_logs() {
        let expected = Some(1_774_138_242_831_494);
        for text in [
            "2026-03-22T00:10:42.831494Z",
            "2026-03-22T00:10:42.831494",
            "2026-03-22 00:10:42.831494+00:00",
            "2026-03-22T02:10:42.831494+0200",
            "2026-03-21T19:10:42.831494999-05",
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(parse(b"1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse(b"2024-02-29T00:00:00.5Z"), Some(1_709_164_800_500_000));
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "2026-03-22",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-03-22T24:00:00Z",
            "2026-03-22T00:00:00.Z",
            "2026-03-22T00:00:00Zjunk",
            "2026-03-22T00:00:00+1",
            "２０２６-03-22T00:00:00Z",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn formats_back_what_it_parsed() {
        for time in [0, 1_774_138_242_831_494, EARLIEST, -1, 4_102_444_800_000_000] {
            assert_eq!(parse(format(time).as_bytes()), Some(time));
        }
        assert_eq!(format_day(day_of(1_774_138_242_831_494)), "2026-03-22");
    }
}
