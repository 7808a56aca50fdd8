//! Counts of events, values and pairs of values, for the admin endpoint and for the command line.
use super::ServiceError;
use crate::events::{Field, Micros};
use crate::index::aggregate::{self, Counts, DistinctCount, Interval, Question, Top, Views};
use crate::index::query::Query;
use crate::index::search::Reach;
use crate::index::top::{self, TopRow};
use crate::os::memory;
use crate::store::Store;
use std::time::{Duration, Instant};

fn understood(query: &str, now: Micros) -> Result<Query, ServiceError> {
    Query::parse(query, now).map_err(|error| ServiceError::Query { query: query.to_owned(), error })
}

/// A question that takes so long leaves so much freed memory behind that giving it back is worth its milliseconds.
const LONG: Duration = Duration::from_millis(250);

fn thrifty<T>(answer: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let answer = answer();
    if started.elapsed() >= LONG {
        memory::give_back();
    }
    answer
}

fn views(store: &Store) -> Views {
    Views { answers: store.answers(), evidence: store.evidence() }
}

/// The most frequent values of a field among the events that match; with `by` the most frequent pairs with another field's.
pub fn top(store: &Store, field: Field, by: Option<Field>, query: &str, limit: u64, now: Micros) -> Result<Top, ServiceError> {
    if by == Some(field) {
        return Err(ServiceError::ByItself(field));
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let query = understood(query, now)?;
    Ok(thrifty(|| aggregate::top(&views(store), field, by, &query, limit, &mut store.terms()))?)
}

/// How many events match, by hour, day or week if asked.
pub fn count(store: &Store, query: &str, by: Option<Interval>, now: Micros) -> Result<Counts, ServiceError> {
    let query = understood(query, now)?;
    Ok(thrifty(|| aggregate::count(&views(store), &query, by, &mut store.terms()))?)
}

/// How many different values of the field the events have that match.
pub fn distinct(store: &Store, field: Field, query: &str, now: Micros) -> Result<DistinctCount, ServiceError> {
    let query = understood(query, now)?;
    Ok(thrifty(|| aggregate::distinct(&views(store), field, &query, &mut store.terms()))?)
}

/// Values that were seen for the first time within a span, over everything that is known; the newest first. `span` is a query of
/// nothing but times, with at least `since:`.
pub fn new_values(store: &Store, field: Field, span: &str, limit: u64, now: Micros) -> Result<Vec<TopRow>, ServiceError> {
    let query = understood(span, now)?;
    let (Some(since), true) = (query.since, query.clauses.is_empty()) else { return Err(ServiceError::NoSpan) };
    let span = since..query.until.unwrap_or(Micros::MAX);
    Ok(top::new_values(&store.answers(), field, span, usize::try_from(limit).unwrap_or(usize::MAX))?)
}

/// What is read at most to answer.
pub fn reach(store: &Store, question: Question, query: &str, now: Micros) -> Result<Reach, ServiceError> {
    Ok(aggregate::reach(&views(store), question, &understood(query, now)?)?)
}
