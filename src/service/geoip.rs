//! `honeyguide geoip`: takes databases in, tells what is in force, and where an address is.
use super::ServiceError;
use crate::events::Micros;
use crate::events::time::{self, MICROS_PER_SECOND};
use crate::geoip::database::FILE_BYTES_MAX;
use crate::geoip::{Database, DatabaseError, Kind, Survey};
use crate::store::Store;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

/// A database under way, beside the others.
const TEMPORARY: &str = "import.tmp";
const PIECE_BYTES: usize = 256 << 10;

/// Why a database was not taken in, or not removed.
#[derive(Debug, thiserror::Error)]
pub enum GeoipError {
    #[error("{name} is not imported: {source}")]
    Refused { name: String, source: DatabaseError },
    #[error("cannot read {name}: {source}; the daemon reads it as its own user, who must be allowed to")]
    Read { name: String, source: io::Error },
    #[error("cannot write to the data directory's geoip: {0}")]
    Write(io::Error),
    #[error("there is no database called {}: `honeyguide geoip list` shows what there is", .0.name())]
    None(Kind),
}

/// What to take in.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Import {
    #[schema(value_type = String)]
    pub path: std::path::PathBuf,
    /// What to take it for; `None`: what it has.
    #[serde(default)]
    pub name: Option<Kind>,
}

/// A database in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DatabaseRow {
    pub name: Kind,
    /// What it calls itself: `GeoLite2-Country`, …
    pub r#type: String,
    pub built: String,
    /// Networks that it knows.
    pub networks_ipv4: u64,
    pub networks_ipv6: u64,
    /// Different records about them.
    pub records: u64,
    pub bytes: u64,
    pub blake3: String,
}

impl DatabaseRow {
    fn new(name: Kind, database: &Database, survey: &Survey) -> DatabaseRow {
        DatabaseRow {
            name,
            r#type: format!("{:.64}", database.type_name()),
            built: built(database),
            networks_ipv4: survey.networks_v4,
            networks_ipv6: survey.networks_v6,
            records: survey.records,
            bytes: database.file_bytes(),
            blake3: database.hash(),
        }
    }
}

/// When it says it was built; what cannot be is the beginning of time.
fn built(database: &Database) -> String {
    let seconds = Micros::try_from(database.build_epoch()).ok().filter(|&seconds| seconds < 253_402_300_800);
    time::format(seconds.unwrap_or(0) * MICROS_PER_SECOND)
}

/// Where an address is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PlaceRow {
    pub address: String,
    /// The terms of an event from there.
    pub country: Option<String>,
    pub asn: Option<String>,
    /// Who runs the autonomous system.
    pub organisation: Option<String>,
    /// The networks that the databases' records are about.
    pub country_network: Option<String>,
    pub asn_network: Option<String>,
}

/// Opens a file to be imported: as who asks, before anything else is done.
pub fn open_file(path: &Path) -> Result<std::fs::File, GeoipError> {
    let name = || crate::telemetry::printable::printable(&path.to_string_lossy()).into_owned();
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path).and_then(|file| {
        // A directory opens as well, and a pipe may never end.
        let metadata = file.metadata()?;
        if metadata.is_file() { Ok((file, metadata.len())) } else { Err(io::Error::other("it is no regular file")) }
    });
    match opened {
        Ok((_, len)) if len > FILE_BYTES_MAX => Err(GeoipError::Refused { name: name(), source: DatabaseError::TooLarge }),
        Ok((file, _)) => Ok(file),
        Err(source) => Err(GeoipError::Read { name: name(), source }),
    }
}

/// Copies a database beside the others, checks all of it there, and puts it in force in place of the one before. One at a time, says the
/// caller.
pub fn import(
    store: &Store,
    name: &str,
    content: &mut dyn Read,
    wanted: Option<Kind>,
    by: &str,
    now: Micros,
) -> Result<DatabaseRow, ServiceError> {
    let dir = &store.layout().geoip;
    let fs = &store.0.fs;
    let temporary = dir.join(TEMPORARY);
    fs.create_dir_all(dir).map_err(GeoipError::Write)?;
    // Of an import that was interrupted, if there is one.
    let _ = fs.remove(&temporary);
    let taken = take(store, name, content, &temporary).and_then(|()| {
        let refused = |source| GeoipError::Refused { name: name.to_owned(), source };
        // The copy is what is looked at: nobody else changes it, and it is what will be asked.
        let database = fs.map(&temporary).map_err(DatabaseError::from).and_then(Database::open).map_err(refused)?;
        let survey = database.survey().map_err(refused)?;
        let kind = survey.kind(wanted, &database).map_err(refused)?;
        fs.rename(&temporary, &dir.join(kind.file_name())).and_then(|()| fs.sync_dir(dir)).map_err(GeoipError::Write)?;
        Ok((kind, database, survey))
    });
    let (kind, database, survey) = match taken {
        Ok(taken) => taken,
        Err(error) => {
            let _ = fs.remove(&temporary);
            return Err(error.into());
        }
    };
    let row = DatabaseRow::new(kind, &database, &survey);
    // The map outlives the new name of its file.
    store.places().change(|databases| databases.set(kind, Some(Arc::new(database))));
    store.record("geoip_imported", serde_json::json!({ "database": row, "from": name, "by": by }), now)?;
    Ok(row)
}

fn take(store: &Store, name: &str, content: &mut dyn Read, temporary: &Path) -> Result<(), GeoipError> {
    let file = store.0.fs.create(temporary).map_err(GeoipError::Write)?;
    let (mut piece, mut len) = (vec![0; PIECE_BYTES], 0);
    loop {
        let read = match content.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(GeoipError::Read { name: name.to_owned(), source }),
        };
        if len + read as u64 > FILE_BYTES_MAX {
            return Err(GeoipError::Refused { name: name.to_owned(), source: DatabaseError::TooLarge });
        }
        file.write_at(&[&piece[..read]], len).map_err(GeoipError::Write)?;
        len += read as u64;
    }
    file.sync_data().map_err(GeoipError::Write)
}

/// The databases in force.
pub fn list(store: &Store) -> Result<Vec<DatabaseRow>, ServiceError> {
    let databases = store.places().databases();
    let mut rows = Vec::new();
    for kind in Kind::ALL {
        if let Some(database) = databases.of(kind) {
            let refused = |source| GeoipError::Refused { name: kind.file_name().to_owned(), source };
            rows.push(DatabaseRow::new(kind, database, &database.survey().map_err(refused)?));
        }
    }
    Ok(rows)
}

/// Which database is in force, in a few words.
pub fn in_force(store: &Store, kind: Kind) -> Option<serde_json::Value> {
    let databases = store.places().databases();
    let database = databases.of(kind)?;
    Some(
        serde_json::json!({ "name": kind, "type": format!("{:.64}", database.type_name()), "built": built(database), "blake3": database.hash() }),
    )
}

/// Takes a database out of force and removes its file.
pub fn remove(store: &Store, kind: Kind, by: &str, now: Micros) -> Result<(), ServiceError> {
    let dir = &store.layout().geoip;
    match store.0.fs.remove(&dir.join(kind.file_name())) {
        Ok(()) => store.0.fs.sync_dir(dir).map_err(GeoipError::Write)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(GeoipError::None(kind).into()),
        Err(error) => return Err(GeoipError::Write(error).into()),
    }
    store.places().change(|databases| databases.set(kind, None));
    Ok(store.record("geoip_removed", serde_json::json!({ "name": kind, "by": by }), now)?)
}

/// Where an address is, by the databases in force.
pub fn lookup(store: &Store, address: IpAddr) -> PlaceRow {
    let databases = store.places().databases();
    let canonical = address.to_canonical();
    let place = databases.place(address.to_string().as_bytes());
    let text = |value: Option<&[u8]>| value.map(|value| String::from_utf8_lossy(value).into_owned());
    PlaceRow {
        address: address.to_string(),
        country: text(place.country()),
        asn: text(place.asn()),
        organisation: databases.asn.as_ref().and_then(|database| database.organisation(canonical)),
        country_network: databases.country.as_ref().and_then(|database| database.network(canonical)),
        asn_network: databases.asn.as_ref().and_then(|database| database.network(canonical)),
    }
}

/// Remembers which databases old sidecars were made again with.
pub fn record_applied(store: &Store, segments: u64, rebuilt: u64, now: Micros) -> Result<(), ServiceError> {
    let of = |kind| in_force(store, kind);
    let details = serde_json::json!({ "country": of(Kind::Country), "asn": of(Kind::Asn), "segments": segments, "rebuilt": rebuilt });
    Ok(store.record("geoip_applied", details, now)?)
}
