//! Where addresses are: countries and autonomous systems out of databases that an operator imported, without a network.
//!
//! A data directory has at most one [`Database`] of each [`Kind`]. Which are in force is a [`Handle`] that everything which decodes
//! lines shares: the terms `country` and `asn` are a function of the line and of the databases in force, so that what search finds in
//! a line agrees with what is indexed of it from then on. Older sidecars are made again on request: see `ops/GEOIP.md`.
pub mod database;
pub mod place;

#[cfg(test)]
#[path = "../../tests/mmdb/mod.rs"]
pub(crate) mod mmdb;

pub use database::{Database, DatabaseError, Survey};
pub use place::{Lookup, Place};

use crate::journal::fs::Fs;
use crate::telemetry::printable::printable;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

/// What a database is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = GeoipDatabase)]
pub enum Kind {
    Country,
    Asn,
}

impl Kind {
    pub const ALL: [Kind; 2] = [Kind::Country, Kind::Asn];

    pub const fn name(self) -> &'static str {
        match self {
            Kind::Country => "country",
            Kind::Asn => "asn",
        }
    }

    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The file in the data directory's `geoip`.
    pub const fn file_name(self) -> &'static str {
        match self {
            Kind::Country => "country.mmdb",
            Kind::Asn => "asn.mmdb",
        }
    }
}

/// The databases in force together.
#[derive(Clone, Default)]
pub struct Databases {
    pub country: Option<Arc<Database>>,
    pub asn: Option<Arc<Database>>,
}

impl Databases {
    pub fn is_empty(&self) -> bool {
        self.country.is_none() && self.asn.is_none()
    }

    pub fn of(&self, kind: Kind) -> Option<&Arc<Database>> {
        match kind {
            Kind::Country => self.country.as_ref(),
            Kind::Asn => self.asn.as_ref(),
        }
    }

    pub fn set(&mut self, kind: Kind, database: Option<Arc<Database>>) {
        match kind {
            Kind::Country => self.country = database,
            Kind::Asn => self.asn = database,
        }
    }

    /// The place of an address as it is written in a line; none for what is no address.
    pub fn place(&self, address: &[u8]) -> Place {
        let parsed = std::str::from_utf8(address).ok().and_then(|text| text.parse::<IpAddr>().ok());
        let Some(address) = parsed.map(|address| address.to_canonical()) else { return Place::default() };
        // The file was checked when it was imported. Whoever changed it since must not cost an event.
        catch_unwind(AssertUnwindSafe(|| {
            let country = self.country.as_ref().and_then(|database| database.country(address));
            Place::new(country, self.asn.as_ref().and_then(|database| database.asn(address)))
        }))
        .unwrap_or_default()
    }
}

/// Which databases are in force, for everybody who decodes; cheap to clone.
#[derive(Clone, Default)]
pub struct Handle(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Grows with each change, behind it.
    version: AtomicU64,
    databases: RwLock<Arc<Databases>>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Handle").field(&self.version()).finish()
    }
}

impl Handle {
    /// Opens what lies in `dir`. What cannot be used is left out, and said.
    pub fn open(fs: &dyn Fs, dir: &Path) -> (Handle, Vec<String>) {
        let mut databases = Databases::default();
        let mut refused = Vec::new();
        let there = fs.list(dir).unwrap_or_default();
        for kind in Kind::ALL.into_iter().filter(|kind| there.iter().any(|entry| entry.name == kind.file_name())) {
            let path = dir.join(kind.file_name());
            match fs.map(&path).map_err(DatabaseError::from).and_then(Database::open) {
                Ok(database) => databases.set(kind, Some(Arc::new(database))),
                Err(error) => {
                    let shown = printable(&path.to_string_lossy()).into_owned();
                    refused.push(format!("{shown} is not used: {error}; import it again with `honeyguide geoip import`"));
                }
            }
        }
        let handle = Handle::default();
        handle.change(|now| *now = databases);
        (handle, refused)
    }

    /// What is in force now.
    pub fn databases(&self) -> Arc<Databases> {
        self.0.databases.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Puts other databases in force, for all lines decoded from now on.
    pub fn change(&self, change: impl FnOnce(&mut Databases)) {
        let mut databases = self.0.databases.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut changed = Databases::clone(&databases);
        change(&mut changed);
        *databases = Arc::new(changed);
        self.0.version.fetch_add(1, Ordering::Release);
    }

    fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }
}
