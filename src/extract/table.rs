//! How the extractors' tables of tricky texts are checked.
use super::{Context, Extractor, Found, Text};

/// A text, where it comes from, and all that is found in it, as `field=value` or, where the writing matters too,
/// `field=value «as it stood»`.
pub type Row<'a> = (Context, &'a str, &'a [&'a str]);

/// Checks every row of a table with at least `rows_min` rows.
pub fn check(extractor: &dyn Extractor, rows_min: usize, rows: &[Row<'_>]) {
    assert!(rows.len() >= rows_min, "{} rows are too few", rows.len());
    let mut wrong = String::new();
    for (context, text, expected) in rows {
        let mut found = Found::default();
        extractor.extract(&Text::plain(*context, text), &mut found);
        let got: Vec<String> = (found.indicators.iter())
            .enumerate()
            .map(|(at, one)| {
                let value = format!("{}={}", one.field.name(), one.value);
                match &one.verbatim {
                    Some(verbatim) if expected.get(at).is_none_or(|expected| expected.contains('«')) => format!("{value} «{verbatim}»"),
                    _ => value,
                }
            })
            .collect();
        if got != *expected {
            wrong += &format!("{context:?} {text:?}\n  expected {expected:?}\n  found    {got:?}\n");
        }
        for one in &found.indicators {
            assert!(extractor.fields().contains(&one.field), "{text:?}: {:?} is not among the extractor's fields", one.field);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
