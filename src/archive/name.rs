//! What archived files are called: which journal, which segment, which days, so that nothing has to be opened to find a day.
//!
//! `honeyguide-<identity of the journal>-<number of the segment>-<first day>_<last day>[-<copy>].<zst or parquet>`
use crate::events::Micros;
use crate::events::time::{day_of, format_day};
use std::fmt;

/// Copies of one segment that differ, under names of their own; more are not made.
pub const COPIES_MAX: u32 = 9;

/// As what a segment is archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ArchiveFormat {
    /// The segment's file, byte for byte: proof, and what `honeyguide load` reads.
    Segment,
    /// A table for DuckDB and others.
    Parquet,
}

impl ArchiveFormat {
    pub const ALL: [ArchiveFormat; 2] = [ArchiveFormat::Segment, ArchiveFormat::Parquet];

    /// As in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            ArchiveFormat::Segment => "segment",
            ArchiveFormat::Parquet => "parquet",
        }
    }

    pub fn parse(name: &str) -> Option<ArchiveFormat> {
        ArchiveFormat::ALL.into_iter().find(|format| format.name() == name)
    }

    const fn extension(self) -> &'static str {
        match self {
            ArchiveFormat::Segment => "zst",
            ArchiveFormat::Parquet => "parquet",
        }
    }
}

/// The name of an archived file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArchiveName {
    /// Identity of the journal.
    pub journal: u64,
    pub segment: u64,
    /// UTC days of its first and last event by time, as `2026-03-01`.
    pub first_day: String,
    pub last_day: String,
    /// 1, or more where the same name was taken by other contents.
    pub copy: u32,
    pub format: ArchiveFormat,
}

impl ArchiveName {
    pub fn new(journal: u64, segment: u64, (first, last): (Micros, Micros), format: ArchiveFormat) -> ArchiveName {
        let day = |time| format_day(day_of(time));
        ArchiveName { journal, segment, first_day: day(first), last_day: day(last), copy: 1, format }
    }

    /// The name as its parts; `None` when it is no archived file's.
    pub fn parse(name: &str) -> Option<ArchiveName> {
        let (stem, extension) = name.rsplit_once('.')?;
        let format = ArchiveFormat::ALL.into_iter().find(|format| format.extension() == extension)?;
        let rest = stem.strip_prefix("honeyguide-")?;
        let (journal, rest) = rest.split_once('-')?;
        let (segment, days) = rest.split_once('-')?;
        let (first_day, rest) = days.split_once('_')?;
        let (last_day, copy) = rest.split_at_checked(10)?;
        let day = |text: &str| text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let copy = match copy.strip_prefix('-') {
            None if copy.is_empty() => 1,
            None => return None,
            Some(copy) => copy.parse().ok().filter(|copy| (2..=COPIES_MAX).contains(copy))?,
        };
        let digits = |text: &str, all: fn(&u8) -> bool| !text.is_empty() && text.bytes().all(|byte| all(&byte));
        if journal.len() != 16
            || !digits(journal, u8::is_ascii_hexdigit)
            || !digits(segment, u8::is_ascii_digit)
            || !day(first_day)
            || !day(last_day)
        {
            return None;
        }
        let parsed = ArchiveName {
            journal: u64::from_str_radix(journal, 16).ok()?,
            segment: segment.parse().ok()?,
            first_day: first_day.to_owned(),
            last_day: last_day.to_owned(),
            copy,
            format,
        };
        (parsed.to_string() == name).then_some(parsed)
    }
}

impl fmt::Display for ArchiveName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "honeyguide-{:016x}-{:08}-{}_{}", self.journal, self.segment, self.first_day, self.last_day)?;
        if self.copy > 1 {
            write!(f, "-{}", self.copy)?;
        }
        write!(f, ".{}", self.format.extension())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_what_is_in_the_file() {
        let day = crate::events::time::MICROS_PER_DAY;
        let name = ArchiveName::new(0xab, 7, (20_513 * day, 20_515 * day - 1), ArchiveFormat::Parquet);
        assert_eq!(name.to_string(), "honeyguide-00000000000000ab-00000007-2026-03-01_2026-03-02.parquet");
        assert_eq!(ArchiveName::parse(&name.to_string()), Some(name.clone()));
        let other = ArchiveName { copy: 2, format: ArchiveFormat::Segment, ..name };
        assert_eq!(other.to_string(), "honeyguide-00000000000000ab-00000007-2026-03-01_2026-03-02-2.zst");
        assert_eq!(ArchiveName::parse(&other.to_string()), Some(other));
        for none in [
            "",
            "00000007.zst",
            "honeyguide-ab-00000007-2026-03-01_2026-03-02.zst",
            "honeyguide-00000000000000ab-7-2026-03-01_2026-03-02.zst",
            "honeyguide-00000000000000ab-00000007-2026-03-01_2026-03-02.zst.part",
            "honeyguide-00000000000000ab-00000007-2026-03-01_2026-03-02-1.zst",
            "honeyguide-00000000000000ab-00000007-2026-03-01_2026-03-0é.zst",
            "honeyguide-00000000000000ab-00000007-../..-03-01_2026-03-02.zst",
        ] {
            assert_eq!(ArchiveName::parse(none), None, "{none}");
        }
    }
}
