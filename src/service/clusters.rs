//! Clusters of sessions as the store answers them: which there are, and one in full.
use super::ServiceError;
use super::report::{REPORT_COMMAND_BYTES_MAX, REPORT_COMMANDS_MAX, examples};
use crate::events::time::{MICROS_PER_DAY, day_of, format_day};
use crate::events::{Micros, time};
use crate::index::cluster::{self, By, Order, Wanted};
use crate::index::period::Scope;
use crate::index::query::Query;
use crate::index::session_name;
use crate::report::{ClusterRow, Clusters};
use crate::store::Store;
use serde::{Deserialize, Serialize};

/// Rows when nobody says how many, and most of them.
pub const LIMIT_DEFAULT: usize = 20;
pub const LIMIT_MAX: usize = 1_000;
/// Commands of the example of a cluster that is told in full.
const COMMANDS_MAX: usize = 200;

/// What is asked for: members of a query string, and the options of the command.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
pub struct Asked {
    /// The sessions that began from then on, and before then: dates, times or ages, taken as whole days. All, when nobody says.
    pub since: Option<String>,
    pub until: Option<String>,
    pub sensor: Option<String>,
    /// Names, separated by commas; all three when nobody says.
    pub by: Option<String>,
    pub min_sessions: u64,
    pub limit: usize,
    #[param(inline)]
    pub sort: Order,
}

impl Default for Asked {
    fn default() -> Asked {
        Asked { since: None, until: None, sensor: None, by: None, min_sessions: 2, limit: LIMIT_DEFAULT, sort: Order::default() }
    }
}

impl Asked {
    /// The same, checked.
    pub fn understood(&self, now: Micros) -> Result<(Scope, Wanted), ServiceError> {
        let by = self.by.as_deref().map_or(Ok(By::ALL), By::parse).map_err(ServiceError::Clusters)?;
        if self.limit > LIMIT_MAX {
            return Err(ServiceError::Clusters(format!("at most {LIMIT_MAX} clusters are listed")));
        }
        let wanted = Wanted { by, sessions_min: self.min_sessions.max(1), addresses_min: 0, order: self.sort, rows: self.limit };
        Ok((self.scope(now)?, wanted))
    }

    fn scope(&self, now: Micros) -> Result<Scope, ServiceError> {
        let named = [("since", &self.since), ("until", &self.until)];
        let words = named.into_iter().filter_map(|(name, time)| Some(format!("{name}:{}", time.as_ref()?)));
        let query = words.collect::<Vec<_>>().join(" ");
        let span = Query::parse(&query, now).map_err(|error| ServiceError::Query { query: query.clone(), error })?;
        if !span.clauses.is_empty() {
            return Err(ServiceError::Clusters(format!("`{query}` is no span: write a date, a time or an age (7d)")));
        }
        // A query whose end lies before its beginning is none. No event is indexed under a time before 1970 or more than a day behind the clock.
        let (earliest, latest) = (0, now.saturating_add(2 * MICROS_PER_DAY));
        let from = day_of(span.since.unwrap_or(earliest).clamp(earliest, latest));
        let to = day_of((span.until.unwrap_or(latest).saturating_sub(1)).clamp(earliest, latest));
        Ok(Scope { days: from..=to, sensor: self.sensor.as_ref().map(|name| name.as_bytes().to_vec()) })
    }
}

/// The clusters that are asked for.
pub fn list(store: &Store, asked: &Asked, now: Micros) -> Result<Clusters, ServiceError> {
    let (scope, wanted) = asked.understood(now)?;
    let found = cluster::clusters(&store.answers(), &scope, wanted)?;
    let mut examples = examples(store, REPORT_COMMANDS_MAX, REPORT_COMMAND_BYTES_MAX);
    let rows = found.rows.iter().map(|row| ClusterRow::new(row, examples.read(&row.example.sensor, row.example.key)));
    Ok(Clusters { distinct: found.clusters, rows: rows.collect() })
}

/// One cluster in full.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Cluster)]
pub struct Detail {
    /// What it is grouped by.
    pub by: String,
    #[serde(flatten)]
    pub cluster: ClusterRow,
    /// Those of most sessions first; of very many the first ten thousand.
    pub from_addresses: Vec<Seen>,
    pub at_sensors: Vec<Seen>,
    /// Days on which sessions began, ascending, and how many.
    pub days: Vec<(String, u64)>,
    /// The newest sessions, newest first.
    pub newest: Vec<SessionSeen>,
}

/// An address or a sensor, and its sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ClusterSeen)]
pub struct Seen {
    pub value: String,
    pub sessions: u64,
    pub first: String,
    pub last: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ClusterSession)]
pub struct SessionSeen {
    /// Unknown when the index does not keep it: one that is no hexadecimal number.
    pub session: Option<String>,
    pub sensor: String,
    pub first: String,
}

/// Tells one cluster, by its id, of the sessions of the span and sensor that are asked for.
pub fn show(store: &Store, written: &str, asked: &Asked, now: Micros) -> Result<Detail, ServiceError> {
    let none = || ServiceError::NoCluster(written.to_owned());
    let id = cluster::parse_id(written.trim()).ok_or_else(none)?;
    let detail = cluster::detail(&store.answers(), &asked.scope(now)?, id)?.ok_or_else(none)?;
    let (example, by) = (&detail.cluster.example, By::of(id).map(By::names).unwrap_or_default());
    let example = examples(store, COMMANDS_MAX, REPORT_COMMAND_BYTES_MAX).read(&example.sensor, example.key);
    Ok(Detail {
        by,
        cluster: ClusterRow::new(&detail.cluster, example),
        from_addresses: detail.addresses.into_iter().map(|seen| told(seen, |address| address.to_string())).collect(),
        at_sensors: detail.sensors.into_iter().map(|seen| told(seen, name)).collect(),
        days: detail.days.into_iter().map(|(day, sessions)| (format_day(day), sessions)).collect(),
        newest: detail
            .newest
            .into_iter()
            .map(|session| SessionSeen {
                session: session_name(session.key),
                sensor: name(session.sensor),
                first: time::format(session.first),
            })
            .collect(),
    })
}

fn name(sensor: Vec<u8>) -> String {
    String::from_utf8_lossy(&sensor).into_owned()
}

fn told<Value>(seen: cluster::Seen<Value>, write: impl FnOnce(Value) -> String) -> Seen {
    let cluster::Seen { value, sessions, first, last } = seen;
    Seen { value: write(value), sessions, first: time::format(first), last: time::format(last) }
}
