//! What somebody else thinks of a value, in one shape whoever it was; and the lenient reading that makes it of their answers.
//!
//! Answers come from other machines and quote what attackers wrote. So texts are made printable and cut, lists are cut, numbers may
//! be texts and the other way round, a member of another type counts as absent, and one that is not known is passed over.
use crate::events::Micros;
use crate::events::time;
use crate::telemetry::printable::{prefix, printable};
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// Longest answer that is read, bytes: a much-scanned file's report has some hundred KiB.
pub const ANSWER_BYTES_MAX: usize = 2 << 20;
pub const LABELS_MAX: usize = 12;
const LABEL_BYTES_MAX: usize = 64;
const SUMMARY_BYTES_MAX: usize = 160;
const LINK_BYTES_MAX: usize = 512;
/// No time that is told lies outside of 1970 and the year 9999.
const TIME_MAX: Micros = 253_402_300_799 * 1_000_000;

/// The gist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Opinion {
    /// Nothing is known, or nothing that decides.
    #[default]
    Unknown,
    Harmless,
    Suspicious,
    Malicious,
}

impl Opinion {
    pub const ALL: [Opinion; 4] = [Opinion::Unknown, Opinion::Harmless, Opinion::Suspicious, Opinion::Malicious];

    pub fn name(self) -> &'static str {
        match self {
            Opinion::Unknown => "unknown",
            Opinion::Harmless => "harmless",
            Opinion::Suspicious => "suspicious",
            Opinion::Malicious => "malicious",
        }
    }

    pub fn parse(name: &str) -> Option<Opinion> {
        Opinion::ALL.into_iter().find(|opinion| opinion.name() == name)
    }
}

/// What one of them says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Verdict {
    pub verdict: Opinion,
    /// 0 to 100, as that service counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<u8>,
    /// Families, tags, what the service calls it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::indicators::written_time::optional")]
    pub first_seen: Option<Micros>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::indicators::written_time::optional")]
    pub last_seen: Option<Micros>,
    /// Where a person reads on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The figures behind it: `12 of 70 engines`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
}

impl Verdict {
    pub fn unknown(summary: &str) -> Verdict {
        Verdict { summary: text(summary, SUMMARY_BYTES_MAX), ..Verdict::default() }
    }

    /// Adds labels: short, printable, each once, and not too many.
    pub fn label<'t>(mut self, labels: impl IntoIterator<Item = &'t str>) -> Verdict {
        for label in labels {
            if self.labels.len() == LABELS_MAX {
                break;
            }
            if let Some(label) = text(label, LABEL_BYTES_MAX).filter(|label| !self.labels.contains(label)) {
                self.labels.push(label);
            }
        }
        self
    }

    pub fn summed_up(mut self, summary: &str) -> Verdict {
        self.summary = text(summary, SUMMARY_BYTES_MAX);
        self
    }

    /// A link that begins with `begin`, so that nobody is led elsewhere; others are left out.
    pub fn linked(mut self, link: &str, begin: &str) -> Verdict {
        let harmless = link.len() <= LINK_BYTES_MAX && link.starts_with(begin) && link.bytes().all(|byte| byte.is_ascii_graphic());
        self.link = harmless.then(|| link.to_owned());
        self
    }

    pub fn seen(mut self, first: Option<Micros>, last: Option<Micros>) -> Verdict {
        let within = |time: Option<Micros>| time.filter(|time| (1..=TIME_MAX).contains(time));
        (self.first_seen, self.last_seen) = (within(first), within(last));
        self
    }
}

/// Short, printable, without line breaks; `None` if nothing is left.
fn text(text: &str, bytes_max: usize) -> Option<String> {
    // What is cut off anyway need not be made printable.
    let words: Vec<&str> = prefix(text, 4 * bytes_max).split_whitespace().collect();
    let plain = prefix(&printable(&words.join(" ")), bytes_max).to_owned();
    (!plain.is_empty()).then_some(plain)
}

/// Why an answer is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(pub String);

/// Reads a document; what is wrong with it is told without a word of it.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, NoAnswer> {
    serde_json::from_slice(body).map_err(|error| NoAnswer(format!("not as documented ({:?} error)", error.classify()).to_lowercase()))
}

/// A time of RFC 3339, `2019-01-15 07:09:01 UTC`, or a day.
pub fn time_of(text: &str) -> Option<Micros> {
    let text = text.trim().trim_end_matches(" UTC").trim_end();
    if text.len() == 10 { time::parse(format!("{text}T00:00:00Z").as_bytes()) } else { time::parse(text.as_bytes()) }
}

/// A whole number that is not negative; may be written as a text.
pub fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().filter(|number| *number >= 0.0).map(|number| number as u64)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    })
}

/// A text; may be written as a number.
pub fn words<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

pub fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Bool(flag) => Some(flag),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    })
}

/// Texts of a list, the first few.
pub fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Array(items) => {
            let text = |item| match item {
                Value::String(text) => Some(text),
                _ => None,
            };
            items.into_iter().filter_map(text).take(LABELS_MAX).collect()
        }
        _ => Vec::new(),
    })
}

/// The first few members of a list, and how many there are; the others are never held. What is no list is an empty one.
#[derive(Clone, Debug)]
pub struct Few<T> {
    pub items: Vec<T>,
    pub len: u64,
}

impl<T> Default for Few<T> {
    fn default() -> Few<T> {
        Few { items: Vec::new(), len: 0 }
    }
}

/// Of a list.
const FEW: usize = 100;

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Few<T>, D::Error> {
        struct Items<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = Few<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Few<T>, A::Error> {
                let mut few = Few::default();
                while few.items.len() < FEW {
                    match items.next_element()? {
                        Some(item) => few.items.push(item),
                        None => break,
                    }
                }
                few.len = few.items.len() as u64;
                while items.next_element::<IgnoredAny>()?.is_some() {
                    few.len += 1;
                }
                Ok(few)
            }

            fn visit_unit<E>(self) -> Result<Few<T>, E> {
                Ok(Few::default())
            }

            fn visit_str<E>(self, _: &str) -> Result<Few<T>, E> {
                Ok(Few::default())
            }

            fn visit_bool<E>(self, _: bool) -> Result<Few<T>, E> {
                Ok(Few::default())
            }

            fn visit_u64<E>(self, _: u64) -> Result<Few<T>, E> {
                Ok(Few::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Few<T>, A::Error> {
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Few::default())
            }
        }

        from.deserialize_any(Items(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_others_are_printable_short_few_and_each_once() {
        let long = "a".repeat(10_000);
        let hostile = ["\u{1b}[2Jmirai", "mirai\nmirai", "", " ", &long, "tag", "tag", "\u{202e}evil"];
        let verdict = Verdict::default().label(hostile).summed_up(&"\0".repeat(1000));
        assert_eq!(verdict.labels[1..], ["mirai mirai".to_owned(), "a".repeat(64), "tag".to_owned(), verdict.labels[4].clone()]);
        let plain = |text: &str| text.chars().all(|c| !c.is_control() && c != '\u{202e}');
        assert!(verdict.labels.iter().all(|label| plain(label) && label.len() <= LABEL_BYTES_MAX), "{:?}", verdict.labels);
        assert!(verdict.summary.is_some_and(|summary| plain(&summary) && summary.len() <= SUMMARY_BYTES_MAX));
        let many: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        assert_eq!(Verdict::default().label(many.iter().map(String::as_str)).labels.len(), LABELS_MAX);
    }

    #[test]
    fn links_lead_to_where_they_should_or_nowhere() {
        let linked = |link: &str| Verdict::default().linked(link, "https://a.example/").link.is_some();
        assert!(linked("https://a.example/url/1/"));
        for link in ["https://b.example/", "javascript:alert(1)", "https://a.example/\u{1b}[2J", "https://a.example/ x"] {
            assert!(!linked(link), "{link:?}");
        }
        assert!(!linked(&format!("https://a.example/{}", "a".repeat(LINK_BYTES_MAX))));
    }

    #[test]
    fn times_are_read_in_the_forms_that_services_write() {
        let expected = time::parse(b"2019-01-15T07:09:01Z");
        for text in ["2019-01-15 07:09:01 UTC", "2019-01-15 07:09:01", "2019-01-15T07:09:01+00:00", " 2019-01-15T08:09:01+01:00"] {
            assert_eq!(time_of(text), expected, "{text}");
        }
        assert_eq!(time_of("2019-01-15"), time::parse(b"2019-01-15T00:00:00Z"));
        assert_eq!((time_of(""), time_of("null"), time_of("2019-13-01")), (None, None, None));
        assert_eq!(Verdict::default().seen(Some(i64::MAX), Some(-5)), Verdict::default());
    }

    #[test]
    fn members_of_other_types_count_as_absent() {
        #[derive(Deserialize, Default, Debug)]
        #[serde(default)]
        struct Read {
            #[serde(deserialize_with = "number")]
            number: Option<u64>,
            #[serde(deserialize_with = "words")]
            words: Option<String>,
            #[serde(deserialize_with = "texts")]
            texts: Vec<String>,
            few: Few<IgnoredAny>,
        }
        let of = |text: &str| read::<Read>(text.as_bytes()).unwrap();
        let found = of(r#"{"number": "12", "words": 7, "texts": ["a", 1, null, "b"], "few": [1, 2], "more": {"x": []}}"#);
        assert_eq!(
            (found.number, found.words.as_deref(), found.texts, found.few.len),
            (Some(12), Some("7"), vec!["a".into(), "b".into()], 2)
        );
        let found = of(r#"{"number": [], "words": {}, "texts": "a", "few": null}"#);
        assert_eq!((found.number, found.words, found.texts.len(), found.few.len), (None, None, 0, 0));
        assert_eq!(of(r#"{"number": -3}"#).number, None);
        for other in ["\"a\"", "true", "7", "{\"a\": 1}"] {
            assert_eq!(of(&format!(r#"{{"few": {other}}}"#)).few.len, 0, "{other}");
        }
        let many = format!(r#"{{"few": [{}1]}}"#, "1,".repeat(5000));
        assert_eq!((of(&many).few.items.len(), of(&many).few.len), (FEW, 5001));
        let deep = format!(r#"{{"x": {}"#, "[".repeat(100_000));
        for garbage in ["", "<html>", "[]", "{\"number\": 1", "\u{0}", &deep] {
            let error = read::<Read>(garbage.as_bytes()).map(|read| format!("{read:?}"));
            assert!(error.as_ref().is_err_and(|error| error.0.starts_with("not as documented")) || garbage == "[]", "{error:?}");
        }
    }
}
