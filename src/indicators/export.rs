//! Indicators for programs: exact values, as one JSON document, as a table, and as a plain list.
//!
//! STIX and MISP have modules of their own. All forms have the order of the list they are made of.
use super::{Indicator, lists};
use crate::events::{Field, Micros, time};
use crate::telemetry::printable::{is_hostile, spreadsheet_cell};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::IpAddr;

/// Name and version of the JSON form; the number grows when a member changes its meaning or goes.
pub const SCHEMA: &str = "honeyguide.indicators/1";

/// The JSON form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    pub schema: String,
    pub generated_at: String,
    pub indicators: Vec<Indicator>,
}

pub fn json(indicators: &[Indicator], now: Micros, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Borrowed<'i> {
        schema: &'static str,
        generated_at: String,
        indicators: &'i [Indicator],
    }
    serde_json::to_writer(&mut *out, &Borrowed { schema: SCHEMA, generated_at: time::format(now), indicators })?;
    writeln!(out)
}

pub fn csv(indicators: &[Indicator], out: &mut dyn Write) -> io::Result<()> {
    let mut table = csv::Writer::from_writer(out);
    table.write_record(["kind", "value", "score", "count", "first_seen", "last_seen", "valid_until", "expired", "warning", "reasons"])?;
    for row in indicators {
        table.write_record([
            row.kind.name(),
            &spreadsheet_cell(row.value.clone()),
            &row.score.to_string(),
            &row.count.to_string(),
            &time::format(row.first_seen),
            &time::format(row.last_seen),
            &row.valid_until.map(time::format).unwrap_or_default(),
            if row.expired { "true" } else { "false" },
            row.warning.as_deref().unwrap_or_default(),
            &spreadsheet_cell(row.reasons.join("; ")),
        ])?;
    }
    table.flush()
}

/// What a firewall or a resolver blocks: addresses and domain names, one a line, each once. Other kinds have no line.
pub fn plain(indicators: &[Indicator], now: Micros, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "# Addresses and domain names seen at honeypots, by Honeyguide at {}", time::format(now))?;
    let mut written = BTreeSet::new();
    for row in indicators {
        if let Some(line) = blockable(row)
            && !written.contains(&line)
        {
            writeln!(out, "{line}")?;
            written.insert(line);
        }
    }
    Ok(())
}

/// The address or the domain name that the indicator is; nothing else must reach a list that machines obey.
fn blockable(row: &Indicator) -> Option<String> {
    match row.kind {
        Field::SrcIp | Field::Ipv4 | Field::Ipv6 => Some(row.value.parse::<IpAddr>().ok()?.to_canonical().to_string()),
        Field::Domain => domain_name(row).map(str::to_owned),
        _ => None,
    }
}

/// The domain name that the indicator is, if it is one.
pub(super) fn domain_name(row: &Indicator) -> Option<&str> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let name = &row.value[..];
    (row.kind == Field::Domain && name.bytes().all(is_name) && name.starts_with(|c: char| c.is_ascii_alphanumeric())).then_some(name)
}

/// Whether a value can be told to programs as it is: text without characters that end lines or hide.
pub(super) fn is_tellable(value: &str) -> bool {
    !value.is_empty() && !value.chars().any(|c| is_hostile(c) || c == char::REPLACEMENT_CHARACTER)
}

/// Whether it is a hash of so many digits.
pub(super) fn is_hash_of(row: &Indicator, digits: usize) -> bool {
    lists::is_hash(row.kind) && row.value.len() == digits && row.value.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::known::Known;
    use super::super::lists::Lists;
    use super::*;
    use crate::index::part::TermSummary;

    pub const NOW: Micros = 1_774_200_000_000_000;

    /// What an attacker would have programs read.
    pub fn hostile() -> Vec<Indicator> {
        let values = [
            (Field::SrcIp, "185.1.2.3"),
            (Field::SrcIp, "::ffff:185.1.2.3"),
            (Field::SrcIp, "2a01:4f8::1"),
            (Field::SrcIp, "0.0.0.0/0\n* * * * *"),
            (Field::Domain, "evil.top"),
            (Field::Domain, "-A INPUT"),
            (Field::Domain, "a\nb.top"),
            (Field::Url, "http://evil.top/it's\\a' OR [ipv4-addr:value = '8.8.8.8'] AND '/x"),
            (Field::Url, "http://evil.top/\u{202e}gpj.exe"),
            (Field::Url, "=cmd|' /C calc'!A0"),
            (Field::Email, "a@evil.top"),
            (Field::Shasum, "a3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (Field::Sha256, "a3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (Field::Md5, "a41d8cd98f00b204e9800998ecf8427e"),
            (Field::Sha1, "aa39a3ee5e6b4b0d3255bfef95601890afd80709"),
            (Field::Cve, "CVE-2024-3721"),
            (Field::Btc, "1BoatSLRHtKNngkdXEeobR76b53LETtpyT"),
            (Field::Xmr, "44AFFq5kSiGBoZ4NMDwYtN18obc8AemS33DBLWs3H7otXft3XjrpDtQGv7SqSsaBYBb98uNbr2VBBEt7f2wfn3RVGQBEP3A"),
            (Field::Eth, "0x52908400098527886e0f7030069857d2e4169ee7"),
            (Field::Phone, "+919876543210"),
            (Field::Upi, "thief@ybl"),
            (Field::BankAccount, "123456789012"),
            (Field::Fingerprint, "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"),
            (Field::Hassh, "92674389fa1e47a27ddd8d9b63ecd42b"),
            (Field::Keyword, "urgent"),
        ];
        let day = 86_400_000_000;
        let sum = |n: i64| TermSummary { count: 1 + n as u64 * 7, first: NOW - (n + 2) * day, last: NOW - n * day / 4 };
        (0i64..)
            .zip(values)
            .map(|(n, (kind, value))| Indicator::of(kind, value.to_owned(), sum(n), false, (&Lists::default(), &Known::default()), NOW))
            .collect()
    }

    #[test]
    fn the_plain_list_has_addresses_and_names_and_nothing_that_only_looks_like_it() {
        let mut out = Vec::new();
        plain(&hostile(), NOW, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let (heads, lines): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with('#'));
        assert_eq!(heads, ["# Addresses and domain names seen at honeypots, by Honeyguide at 2026-03-22T17:20:00.000000Z"]);
        assert_eq!(lines, ["185.1.2.3", "2a01:4f8::1", "evil.top"]);
    }

    #[test]
    fn json_says_everything_and_reads_back() {
        let mut out = Vec::new();
        json(&hostile(), NOW, &mut out).unwrap();
        let document: Document = serde_json::from_slice(&out).unwrap();
        assert_eq!((&document.schema[..], &document.indicators), (SCHEMA, &hostile()));
    }

    #[test]
    fn no_cell_is_a_formula_and_every_row_has_all_columns() {
        let mut out = Vec::new();
        csv(&hostile(), &mut out).unwrap();
        let mut read = csv::Reader::from_reader(&out[..]);
        let rows: Vec<csv::StringRecord> = read.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), hostile().len());
        assert!(rows.iter().flatten().all(|cell| !cell.starts_with(['=', '+', '-', '@'])), "{rows:?}");
        assert!(rows.iter().any(|row| row[1] == *"'=cmd|' /C calc'!A0"));
    }
}
