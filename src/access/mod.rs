//! Who may do what: the one table from which routes, their description and the tests that try every role come.
pub mod credentials;
mod denied;
pub mod issuers;
mod jwks;
mod jwt;
pub mod keys;
pub mod places;
pub mod rates;
mod secret;
pub mod tokens;

pub use credentials::Credentials;
pub use denied::Denied;

use crate::index::query::quote;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// What a request needs. Every route needs exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// State of daemon, sources, sinks and dead letters; figures; the configuration without its secrets.
    Status,
    /// What honeypots caught: events, sessions, terms, indicators, reports, quarantine.
    Evidence,
    /// Who did what.
    Audit,
    /// Ask outside services, change lists of indicators and databases of addresses, publish reports.
    Enrich,
    /// Bring events in: load files, push events, try quarantined input again.
    Ingest,
    /// Orders to sinks, and what they could not deliver.
    Deliver,
    /// Push events and messages of honeypots.
    Push,
    /// Whatever removes or rewrites what is kept, and keys.
    Administer,
}

impl Right {
    pub const ALL: [Right; 8] =
        [Right::Status, Right::Evidence, Right::Audit, Right::Enrich, Right::Ingest, Right::Deliver, Right::Push, Right::Administer];

    pub fn name(self) -> &'static str {
        match self {
            Right::Status => "status",
            Right::Evidence => "evidence",
            Right::Audit => "audit",
            Right::Enrich => "enrich",
            Right::Ingest => "ingest",
            Right::Deliver => "deliver",
            Right::Push => "push",
            Right::Administer => "administer",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May do everything.
    Admin,
    /// Reads everything.
    Analyst,
    /// Reads everything, asks enrichers, changes lists of indicators.
    Researcher,
    /// Works on sources, sinks, jobs; sees the state of all.
    Developer,
    /// A honeypot that pushes what it caught, and sees nothing.
    Sensor,
}

impl Role {
    pub const ALL: [Role; 5] = [Role::Admin, Role::Analyst, Role::Researcher, Role::Developer, Role::Sensor];

    pub fn name(self) -> &'static str {
        match self {
            Role::Admin => "admin",
            Role::Analyst => "analyst",
            Role::Researcher => "researcher",
            Role::Developer => "developer",
            Role::Sensor => "sensor",
        }
    }

    pub fn parse(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }

    /// The table.
    pub fn rights(self) -> &'static [Right] {
        match self {
            Role::Admin => &Right::ALL,
            Role::Analyst => &[Right::Status, Right::Evidence, Right::Audit],
            Role::Researcher => &[Right::Status, Right::Evidence, Right::Audit, Right::Enrich],
            Role::Developer => &[Right::Status, Right::Ingest, Right::Deliver, Right::Push],
            Role::Sensor => &[Right::Push],
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who asks, after that was proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// As the ledger names it: `uid 0`, `key laptop`, `https://issuer.example alice`.
    pub name: Arc<str>,
    /// The id of the key, or of the key that the token was made with: unlike a name it is never given to another.
    pub key: Option<Arc<str>>,
    pub roles: Arc<[Role]>,
    /// Only what these honeypots caught, if there are any.
    pub sensors: Option<Arc<[String]>>,
}

impl Principal {
    /// The query, held to what the principal may see.
    pub fn within(&self, query: &str) -> String {
        let Some(sensors) = &self.sensors else { return query.to_owned() };
        let sensors = sensors.iter().map(|sensor| format!("sensor:{}", quote(sensor))).collect::<Vec<_>>().join(" OR ");
        let theirs = if sensors.is_empty() { "sensor:\"\"".to_owned() } else { format!("({sensors})") };
        crate::index::query::within(&theirs, query)
    }

    /// Whether the principal may see what this honeypot caught.
    pub fn sees(&self, sensor: &str) -> bool {
        self.sensors.as_ref().is_none_or(|sensors| sensors.iter().any(|theirs| theirs == sensor))
    }

    /// A peer of the Unix socket that the kernel vouches for.
    pub fn peer(uid: u32, role: Role) -> Principal {
        Principal { name: format!("uid {uid}").into(), key: None, roles: [role].into(), sensors: None }
    }

    pub fn may(&self, right: Right) -> bool {
        self.roles.iter().any(|role| role.rights().contains(&right))
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roles: Vec<&str> = self.roles.iter().map(|role| role.name()).collect();
        write!(f, "{} ({})", self.name, roles.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_what_they_are_called() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.name()), Some(role));
        }
        assert_eq!(Role::parse("root"), None);
    }

    #[test]
    fn only_administrators_remove_and_rewrite() {
        for role in Role::ALL {
            assert_eq!(role.rights().contains(&Right::Administer), role == Role::Admin, "{role}");
        }
    }

    #[test]
    fn rights_of_several_roles_add_up() {
        let principal = Principal { name: "key both".into(), key: None, roles: [Role::Developer, Role::Researcher].into(), sensors: None };
        assert!(principal.may(Right::Deliver) && principal.may(Right::Enrich) && !principal.may(Right::Administer));
        assert!(Right::ALL.into_iter().all(|right| Principal::peer(0, Role::Admin).may(right)));
    }
}
