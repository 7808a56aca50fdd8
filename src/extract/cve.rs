//! CVE numbers, whatever dash or case they are written with.
use super::runs::{glued_after, glued_before};
use super::{Extractor, Found, Needs, Text};
use crate::events::Field;
use std::time::{SystemTime, UNIX_EPOCH};

/// CVE numbers; one entry of the registry.
pub struct Cve;

/// The first year numbers were given for.
const YEAR_MIN: u32 = 1999;
/// What stands between the parts, where it is not one ASCII byte: dashes of all lengths, minus, no-break space.
const SEPARATORS_WIDE: [char; 11] = ['‐', '‑', '‒', '–', '—', '―', '−', '﹘', '﹣', '－', '\u{a0}'];

impl Extractor for Cve {
    fn fields(&self) -> &'static [Field] {
        &[Field::Cve]
    }

    fn needs(&self) -> &'static Needs {
        // A year and at least four digits.
        const NEEDS: Needs = Needs::NOTHING.one_of(b"c").one_of(b"v").digits(8);
        &NEEDS
    }

    fn extract(&self, text: &Text<'_>, found: &mut Found) {
        let plain = text.plain;
        let mut year_max = 0;
        // The rarest of the three letters leads to the others.
        for v in memchr::memchr2_iter(b'v', b'V', plain.as_bytes()) {
            let Some(start) = v.checked_sub(1) else { continue };
            if !plain.as_bytes()[start].eq_ignore_ascii_case(&b'c') || glued_before(plain, start) {
                continue;
            }
            let Some((year, number, len)) = parts(&plain[start..]) else { continue };
            if year_max == 0 {
                year_max = this_year() + 1;
            }
            if (YEAR_MIN..=year_max).contains(&year) && !glued_after(plain, start + len) {
                found.add(Field::Cve, &format!("CVE-{year}-{number}"), text, start..start + len);
            }
        }
    }
}

/// The year and the number at the beginning of `text`, and how many bytes they take.
fn parts(text: &str) -> Option<(u32, &str, usize)> {
    if !text.as_bytes().get(..3)?.eq_ignore_ascii_case(b"cve") {
        return None;
    }
    let rest = separated(&text[3..])?;
    let year = rest.get(..4).filter(|year| year.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()?;
    let rest = separated(&rest[4..])?;
    let digits = rest.bytes().take(8).take_while(u8::is_ascii_digit).count();
    let number = &rest[..digits];
    // Numbers have four digits or more, and no more zeros in front than that takes.
    let proper = (4..=7).contains(&digits) && (digits == 4 || !number.starts_with('0')) && number != "0000";
    proper.then(|| (year, number, text.len() - rest.len() + digits))
}

/// What follows one separator.
fn separated(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix(": ") {
        return Some(rest);
    }
    text.strip_prefix(|first| matches!(first, '-' | '_' | ' ' | ':' | '/') || SEPARATORS_WIDE.contains(&first))
}

/// The year, to a day or so.
fn this_year() -> u32 {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    1970 + (seconds / 31_556_952) as u32
}

#[cfg(test)]
mod tests {
    use super::super::Context::*;
    use super::super::table::{Row, check};
    use super::*;

    #[test]
    fn a_table_of_tricky_texts() {
        let next = format!("CVE-{}-1234", this_year() + 1);
        let later = format!("CVE-{}-1234", this_year() + 2);
        let next_found = format!("cve={next}");
        let rows: &[Row] = &[
            (Other, "CVE-2021-44228", &["cve=CVE-2021-44228"]),
            (Other, "cve-2021-44228", &["cve=CVE-2021-44228 «cve-2021-44228»"]),
            (Other, "Cve-2021-44228", &["cve=CVE-2021-44228"]),
            (Other, "cVe-2021-44228", &["cve=CVE-2021-44228"]),
            (Other, "CVE–2021–44228", &["cve=CVE-2021-44228 «CVE–2021–44228»"]),
            (Other, "CVE—2021—44228", &["cve=CVE-2021-44228"]),
            (Other, "CVE‑2021‑44228", &["cve=CVE-2021-44228"]),
            (Other, "CVE−2021−44228", &["cve=CVE-2021-44228"]),
            (Other, "CVE－2021－44228", &["cve=CVE-2021-44228"]),
            (Other, "CVE‐2021-44228", &["cve=CVE-2021-44228"]),
            (Other, "CVE 2021 44228", &["cve=CVE-2021-44228"]),
            (Other, "CVE_2021_44228", &["cve=CVE-2021-44228"]),
            (Other, "CVE:2021-44228", &["cve=CVE-2021-44228"]),
            (Other, "CVE: 2021-44228", &["cve=CVE-2021-44228 «CVE: 2021-44228»"]),
            (Other, "cve/2021/44228", &["cve=CVE-2021-44228"]),
            (Other, "CVE-2021\u{a0}44228", &["cve=CVE-2021-44228"]),
            (Other, "(CVE-2021-44228)", &["cve=CVE-2021-44228"]),
            (Other, "\"CVE-2021-44228\",", &["cve=CVE-2021-44228"]),
            (Other, "[CVE-2021-44228](https://nvd.example/CVE-2021-44228)", &["cve=CVE-2021-44228"]),
            (Other, "<b>CVE-2021-44228</b>", &["cve=CVE-2021-44228"]),
            (Other, "CVE-2021-44228.", &["cve=CVE-2021-44228"]),
            (Other, "CVE-2021-44228/poc", &["cve=CVE-2021-44228"]),
            (Other, "CVE-2021-44228_poc.py", &["cve=CVE-2021-44228"]),
            (Other, "CVE-2021-44228.yaml", &["cve=CVE-2021-44228"]),
            (Other, "exploit-CVE-2021-44228-master.zip", &["cve=CVE-2021-44228"]),
            (Command, "./cve-2021-4034 && id", &["cve=CVE-2021-4034"]),
            (Command, "git clone https://git.example/x/cve-2024-6387-poc", &["cve=CVE-2024-6387"]),
            (Other, "{\"id\":\"CVE-2024-3094\"}", &["cve=CVE-2024-3094"]),
            (Other, "CVE-2014-0160", &["cve=CVE-2014-0160"]),
            (Other, "CVE-1999-0001", &["cve=CVE-1999-0001"]),
            (Other, "CVE-2023-1234567", &["cve=CVE-2023-1234567"]),
            (Other, "CVE-2023-123456", &["cve=CVE-2023-123456"]),
            (Other, "CVE-2017-0144, CVE-2017-0145 and cve-2017-0144", &["cve=CVE-2017-0144", "cve=CVE-2017-0145"]),
            (Other, "CVE-2021-44228,CVE-2021-45046", &["cve=CVE-2021-44228", "cve=CVE-2021-45046"]),
            (Other, "是CVE-2021-44228吗", &["cve=CVE-2021-44228"]),
            (Other, "\\nCVE-2021-44228\\n", &["cve=CVE-2021-44228"]),
            (Other, "_CVE-2021-44228_", &["cve=CVE-2021-44228"]),
            (Other, &next, &[&next_found]),
            (Other, "vcve-cve-2021-4034", &["cve=CVE-2021-4034"]),
            (Other, "cve-cve-2021-4034", &["cve=CVE-2021-4034"]),
            // None of them is one.
            (Other, &later, &[]),
            (Other, "CVE-1998-1234", &[]),
            (Other, "CVE-9999-1234", &[]),
            (Other, "CVE-0000-0000", &[]),
            (Other, "CVE-2021-0000", &[]),
            (Other, "CVE-2021-123", &[]),
            (Other, "CVE-2021-12345678", &[]),
            (Other, "CVE-2021-044228", &[]),
            (Other, "CVE-2021-0004034", &[]),
            (Other, "CVE-2021-XXXX", &[]),
            (Other, "CVE-2021-4422X", &[]),
            (Other, "CVE-20211-4422", &[]),
            (Other, "CVE-21-44228", &[]),
            (Other, "CVE2021-44228", &[]),
            (Other, "CVE--2021-44228", &[]),
            (Other, "CVE- 2021-44228", &[]),
            (Other, "XCVE-2021-44228", &[]),
            (Other, "9CVE-2021-44228", &[]),
            (Other, "CVE-2021-44228４", &[]),
            (Other, "CVE-２021-44228", &[]),
            (Other, "C\u{200b}VE-2021-44228", &[]),
            (Other, "CVE-2021\n44228", &[]),
            (Other, "CVE-2021-", &[]),
            (Other, "CVE-2021", &[]),
            (Other, "CVE-", &[]),
            (Other, "v", &[]),
            (Other, "cv", &[]),
            (Other, "CVé-2021-44228", &[]),
            (Other, "CVE-202é-44228", &[]),
            (Other, "CVSS 2021-44228", &[]),
            (Other, "received 2021-44228", &[]),
            (Other, "Scve 2021 44228", &[]),
        ];
        check(&Cve, 60, rows);
    }
}
