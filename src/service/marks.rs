//! Who is meant, in what was redacted before it was stored: a value is looked for as the mark that stands for it as well. What left no
//! mark of its own is not found by it, and that must be said: a request for erasure that misses must not look like one that found nothing.
use super::ServiceError;
use crate::events::Field;
use crate::index::pattern::{Expression, Pattern};
use crate::index::query::{CLAUSES_MAX, Clause, Condition, Query};
use crate::redact::{Kind, Policy, Stage};
use std::collections::BTreeMap;

/// The query with the marks of its exact values beside them, and notes on what cannot be found.
pub fn with_marks(policy: Option<&Policy>, query: Query) -> Result<(Query, Vec<String>), ServiceError> {
    let (mut query, mut notes) = (query, Vec::new());
    let Some(policy) = policy else { return Ok((query, notes)) };
    let mut also = BTreeMap::new();
    for number in 0..query.clauses.len() {
        let Clause { field, pattern } = &query.clauses[number];
        let Some(field) = *field else {
            if policy.rules.iter().any(|rule| rule.stage == Stage::Store) {
                notes
                    .push("a word is not found in what [[redact]] changed before it was stored: name the field, as in src_ip:VALUE".into());
            }
            continue;
        };
        let Pattern::Exact(value) = pattern else {
            let exists = matches!(pattern, Pattern::Wildcard(pieces) if pieces.iter().all(Vec::is_empty));
            if !exists && policy.stored(field, b"").is_some() {
                notes.push(format!("[[redact]] changed values of {} before they were stored: only exact ones are found", field.name()));
            }
            continue;
        };
        if field.is_derived() && made_of_redacted(policy, field) {
            notes.push(format!("{} is made of what [[redact]] changed before it was stored: name the other fields", field.name()));
        }
        let Some(mark) = mark(policy, field, value, &mut notes) else { continue };
        if query.clauses.len() == CLAUSES_MAX {
            let why = format!("the query has more than {CLAUSES_MAX} terms with the marks of redacted values: erase in several requests");
            return Err(ServiceError::Erase(why));
        }
        also.insert(number, query.clauses.len());
        // What was found in a text leaves its mark in that text.
        let clause = match Kind::ALL.iter().any(|kind| kind.field() == Some(field)) {
            true => {
                let pattern = Expression::of_pieces(&[mark]).map_err(ServiceError::Erase)?;
                Clause { field: None, pattern: Pattern::Expression(pattern) }
            }
            false => Clause { field: Some(field), pattern: Pattern::Exact(mark.into_bytes()) },
        };
        query.clauses.push(clause);
    }
    either(&mut query.condition, &also);
    Ok((query, notes))
}

/// The mark of a value; a note if it may have left none.
pub fn mark(policy: &Policy, field: Field, value: &[u8], notes: &mut Vec<String>) -> Option<String> {
    let (mark, lost) = policy.stored(field, value)?;
    if lost {
        let name = field.name();
        notes.push(format!(
            "[[redact]] masks or drops {name} before it is stored: such values are not stored, and events not found by them"
        ));
    }
    mark
}

fn made_of_redacted(policy: &Policy, field: Field) -> bool {
    let stored = policy.rules.iter().filter(|rule| rule.stage == Stage::Store);
    stored.flat_map(|rule| &rule.fields).any(|named| !field.is_place() || *named == Field::SrcIp)
}

/// Clauses hold when another does as well.
fn either(condition: &mut Condition, also: &BTreeMap<usize, usize>) {
    match condition {
        Condition::Clause(number) => {
            if let Some(&other) = also.get(number) {
                *condition = Condition::Any(vec![Condition::Clause(*number), Condition::Clause(other)]);
            }
        }
        Condition::Not(not) => either(not, also),
        Condition::All(all) | Condition::Any(all) => all.iter_mut().for_each(|one| either(one, also)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::{Action, Key, Rule};

    fn policy(action: Action, stage: Stage) -> Policy {
        let (fields, kinds) = (vec![Field::SrcIp], vec![Kind::Email]);
        let rule = Rule { fields, kinds, action, stage, sources: vec![], sensors: vec![] };
        Policy { rules: vec![rule], key: Some(Key::new(&[7; 32])) }
    }

    fn asked(policy: &Policy, text: &str) -> (Query, Vec<String>) {
        with_marks(Some(policy), Query::parse(text, 0).unwrap()).unwrap()
    }

    #[test]
    fn an_exact_value_is_looked_for_by_its_mark_as_well() {
        let hash = policy(Action::Hash, Stage::Store);
        let (query, notes) = asked(&hash, "src_ip:8.8.4.9 NOT sensor:x email:a@example.com");
        assert!(notes.is_empty() && query.clauses.len() == 5, "{query:?} {notes:?}");
        let (mark, _) = hash.stored(Field::SrcIp, b"8.8.4.9").unwrap();
        let mark = mark.unwrap();
        assert!(query.clauses[3].matches(Field::SrcIp, mark.as_bytes()) && !query.clauses[3].matches(Field::SrcIp, b"8.8.4.9"));
        let (of_text, _) = hash.stored(Field::Email, b"a@example.com").unwrap();
        assert!(query.clauses[4].matches(Field::Command, format!("mail {} now", of_text.unwrap()).as_bytes()));
        assert!(query.condition.holds(0b11000) && query.condition.holds(0b00101) && !query.condition.holds(0b11010));
        let many = (0..20).map(|n| format!("src_ip:192.0.2.{n}")).collect::<Vec<_>>().join(" OR ");
        assert!(with_marks(Some(&hash), Query::parse(&many, 0).unwrap()).is_err());
    }

    #[test]
    fn what_cannot_be_found_is_told() {
        for (action, text, noted) in [
            (Action::Mask, "src_ip:8.8.4.9", true),
            (Action::Drop, "email:a@example.com", true),
            (Action::Mask, "username:root", false),
            (Action::Hash, "src_ip:8.8.4.0/24", true),
            (Action::Hash, "exists:src_ip", false),
            (Action::Hash, "country:DE", true),
            (Action::Hash, "8.8.4.9", true),
        ] {
            let (query, notes) = asked(&policy(action, Stage::Store), text);
            assert_eq!((notes.len(), query.clauses.len()), (usize::from(noted), 1), "{text}: {notes:?}");
            let (query, notes) = asked(&policy(action, Stage::Export), text);
            assert!(notes.is_empty() && query.clauses.len() == 1, "{text}: {notes:?}");
        }
    }
}
