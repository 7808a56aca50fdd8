//! Sizes as people write them: `"64 MiB"`, `"1500000 B"`, and back.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// A size: digits and a unit (`B kB MB GB TB KiB MiB GiB TiB`, in any case), with or without a space between.
///
/// A bare letter (`64M`) is refused: half of the world reads it as 1000s, the other half as 1024s.
pub fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = (text[..digits].parse::<u64>().ok()?, text[digits..].trim_start());
    let (_, factor) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.checked_mul(*factor)
}

/// The shortest exact form in binary units: `64 MiB`, `1000 B`.
pub fn format(bytes: u64) -> String {
    let exact = |&&(name, factor): &&(&str, u64)| (name == "B" || name.ends_with("iB")) && bytes >= factor && bytes.is_multiple_of(factor);
    let (name, factor) = UNITS.iter().find(exact).copied().unwrap_or(("B", 1));
    format!("{} {name}", bytes / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes_with_units_and_refuses_ambiguous_ones() {
        for (text, bytes) in [("64 MiB", 64 << 20), ("64mib", 64 << 20), ("1 GB", 1_000_000_000), ("0 B", 0), (" 7 kB ", 7000)] {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for text in ["", "64", "64M", "MiB", "-1 B", "1.5 GiB", "64 MiB of it", "99999999999999999999 B", "17000000 TiB", "６４ MiB"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for (bytes, text) in [(64 << 20, "64 MiB"), (1 << 40, "1 TiB"), (1000, "1000 B"), (0, "0 B"), (1536, "1536 B"), (3 << 10, "3 KiB")]
        {
            assert_eq!(format(bytes), text);
            assert_eq!(parse(text), Some(bytes));
        }
    }
}
