//! One MaxMind DB file: opened, checked through and through when it is imported, and asked.
//!
//! Two shapes are understood, also mixed: MaxMind's own (`country.iso_code`, `autonomous_system_number`) and the flat one of
//! ip-location-db and others (`country_code`, `as_number`, `asn`).
use super::Kind;
use crate::events::id::hex;
use crate::journal::fs::Mapped;
use maxminddb::{LookupResult, PathElement, Reader};
use serde::de::IgnoredAny;
use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Largest file that is taken, bytes: several times the largest with cities.
pub const FILE_BYTES_MAX: u64 = 512 << 20;
/// A check that takes longer is of a file made to take long: the largest takes seconds.
const CHECK_TIME_MAX: Duration = Duration::from_secs(120);
/// Most different records.
const RECORDS_MAX: usize = 8 << 20;
/// The clock is looked at once in so many networks.
const NETWORKS_PER_LOOK: u64 = 1 << 12;

/// Why a file is no database to be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    #[error("it is larger than {} MiB: no database of countries or autonomous systems is", FILE_BYTES_MAX >> 20)]
    TooLarge,
    #[error("it is no MaxMind DB (.mmdb) file: {0}")]
    NotOne(maxminddb::MaxMindDbError),
    #[error("it is damaged: {0}")]
    Damaged(String),
    #[error("checking it takes too long: it is no ordinary database")]
    TooSlow,
    #[error(
        "it ({0}) has neither countries nor autonomous systems: country.iso_code, country_code, autonomous_system_number, as_number or asn"
    )]
    Neither(String),
    #[error("it ({0}) has countries and autonomous systems: say which to take with `--name country` or `--name asn`, or import it as both")]
    Both(String),
    #[error("it ({found}) has no {}: is it another file that you want?", match wanted { Kind::Country => "countries", Kind::Asn => "autonomous systems" })]
    Lacks { found: String, wanted: Kind },
}

struct Bytes(Arc<dyn Mapped>);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

/// An open database.
pub struct Database {
    reader: Reader<Bytes>,
    bytes: Arc<dyn Mapped>,
}

/// What a whole look through a database finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Networks that have a record, by version of IP.
    pub networks_v4: u64,
    pub networks_v6: u64,
    /// Different records.
    pub records: u64,
    /// Those of them with a country, and with an autonomous system.
    pub countries: u64,
    pub asns: u64,
}

impl Survey {
    /// What to take the database for.
    pub fn kind(&self, wanted: Option<Kind>, database: &Database) -> Result<Kind, DatabaseError> {
        let found = || format!("{:.64}", database.type_name());
        match (wanted, self.countries > 0, self.asns > 0) {
            (Some(Kind::Country), false, _) | (Some(Kind::Asn), _, false) => {
                Err(DatabaseError::Lacks { found: found(), wanted: wanted.unwrap_or(Kind::Country) })
            }
            (Some(kind), ..) => Ok(kind),
            (None, true, false) => Ok(Kind::Country),
            (None, false, true) => Ok(Kind::Asn),
            (None, true, true) => Err(DatabaseError::Both(found())),
            (None, false, false) => Err(DatabaseError::Neither(found())),
        }
    }
}

impl Database {
    /// Reads the metadata. [`Database::survey`] tells whether the rest is whole.
    pub fn open(bytes: Arc<dyn Mapped>) -> Result<Database, DatabaseError> {
        if bytes.bytes().len() as u64 > FILE_BYTES_MAX {
            return Err(DatabaseError::TooLarge);
        }
        let opened = catch_unwind(AssertUnwindSafe(|| Reader::from_source(Bytes(bytes.clone()))));
        let reader = opened.map_err(|_| DatabaseError::Damaged("its metadata make no sense".into()))?;
        Ok(Database { reader: reader.map_err(DatabaseError::NotOne)?, bytes })
    }

    /// What it calls itself: `GeoLite2-Country`, …
    pub fn type_name(&self) -> &str {
        &self.reader.metadata().database_type
    }

    /// When it was built, seconds since 1970.
    pub fn build_epoch(&self) -> u64 {
        self.reader.metadata().build_epoch
    }

    /// Whether it knows IPv6 addresses.
    pub fn has_ipv6(&self) -> bool {
        self.reader.metadata().ip_version == 6
    }

    /// Size of the file, bytes.
    pub fn file_bytes(&self) -> u64 {
        self.bytes.bytes().len() as u64
    }

    /// BLAKE3 of the file, hexadecimal.
    pub fn hash(&self) -> String {
        hex(blake3::hash(self.bytes.bytes()).as_bytes())
    }

    /// ISO code of an address's country.
    pub fn country(&self, address: IpAddr) -> Option<[u8; 2]> {
        country_of(&self.found(address)?)
    }

    /// Number of an address's autonomous system.
    pub fn asn(&self, address: IpAddr) -> Option<u32> {
        asn_of(&self.found(address)?)
    }

    /// Who runs an address's autonomous system.
    pub fn organisation(&self, address: IpAddr) -> Option<String> {
        let found = self.found(address)?;
        let names = ["autonomous_system_organization", "as_organization", "as_name", "organization"];
        names.into_iter().find_map(|name| text(&found, &[name])).map(str::to_owned)
    }

    /// The network that an address's record is about.
    pub fn network(&self, address: IpAddr) -> Option<String> {
        Some(self.found(address)?.network().ok()?.to_string())
    }

    fn found(&self, address: IpAddr) -> Option<LookupResult<'_, Bytes>> {
        // An IPv6 address in a database without them is an error to the reader, and nothing known to us.
        self.reader.lookup(address).ok().filter(LookupResult::has_data)
    }

    /// Goes to every record that an address can lead to, and reads it.
    pub fn survey(&self) -> Result<Survey, DatabaseError> {
        let surveyed = catch_unwind(AssertUnwindSafe(|| self.look_through()));
        surveyed.unwrap_or_else(|_| Err(DatabaseError::Damaged("a record cannot be read".into())))
    }

    fn look_through(&self) -> Result<Survey, DatabaseError> {
        let damaged = |error: maxminddb::MaxMindDbError| DatabaseError::Damaged(error.to_string());
        let started = Instant::now();
        let mut survey = Survey::default();
        let mut seen: HashSet<usize> = HashSet::new();
        // A tree of so many nodes has no more leaves than these; one whose nodes point at one another could have any number.
        let networks_max = 3 * u64::from(self.reader.metadata().node_count);
        let networks = self.reader.networks(maxminddb::WithinOptions::default()).map_err(damaged)?;
        for (at, network) in (1..).zip(networks) {
            if at > networks_max {
                return Err(DatabaseError::Damaged("its tree leads in circles".into()));
            }
            if at % NETWORKS_PER_LOOK == 0 && started.elapsed() > CHECK_TIME_MAX {
                return Err(DatabaseError::TooSlow);
            }
            let record = network.map_err(damaged)?;
            match record.network().map_err(damaged)?.is_ipv4() {
                true => survey.networks_v4 += 1,
                false => survey.networks_v6 += 1,
            }
            let Some(offset) = record.offset() else { continue };
            if !seen.insert(offset) {
                continue;
            }
            if seen.len() > RECORDS_MAX {
                return Err(DatabaseError::TooSlow);
            }
            record.decode::<IgnoredAny>().map_err(damaged)?;
            survey.records += 1;
            survey.countries += u64::from(country_of(&record).is_some());
            survey.asns += u64::from(asn_of(&record).is_some());
        }
        Ok(survey)
    }
}

fn text<'a>(record: &LookupResult<'a, Bytes>, path: &[&str]) -> Option<&'a str> {
    let path: smallvec::SmallVec<[PathElement<'_>; 2]> = path.iter().map(|&name| PathElement::Key(name)).collect();
    // Of another type than expected: not what we know by this name.
    record.decode_path::<&str>(&path).ok().flatten()
}

fn country_of(record: &LookupResult<'_, Bytes>) -> Option<[u8; 2]> {
    let paths: [&[&str]; 3] = [&["country", "iso_code"], &["country_code"], &["country"]];
    paths.into_iter().find_map(|path| {
        let code: [u8; 2] = text(record, path)?.as_bytes().try_into().ok()?;
        // `ZZ` and `XX` stand for none.
        let code = code.map(|byte| byte.to_ascii_uppercase());
        (code.iter().all(u8::is_ascii_uppercase) && !matches!(&code, b"ZZ" | b"XX")).then_some(code)
    })
}

fn asn_of(record: &LookupResult<'_, Bytes>) -> Option<u32> {
    ["autonomous_system_number", "as_number", "asn"].into_iter().find_map(|name| {
        let number = record.decode_path::<u32>(&[PathElement::Key(name)]).ok().flatten();
        let number = number.or_else(|| {
            let written = text(record, &[name])?;
            written.strip_prefix("AS").unwrap_or(written).parse().ok()
        });
        // 0 is no system: RFC 7607.
        number.filter(|&number| number > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geoip::mmdb::{Shape, written};
    use proptest::prelude::*;

    const NETWORKS: [(&str, &str); 3] = [("198.51.100.0/24", "DE"), ("203.0.113.0/25", "fr"), ("2001:db8::/32", "Us")];
    const SYSTEMS: [(&str, &str); 2] = [("198.51.100.0/24", "64500"), ("2001:db8::/32", "4294967295")];

    fn opened(bytes: Vec<u8>) -> Result<Database, DatabaseError> {
        Database::open(Arc::new(bytes))
    }

    fn kind(shape: Shape, networks: &[(&str, &str)], wanted: Option<Kind>) -> Result<Kind, String> {
        let database = opened(written(shape, networks)).expect("a database");
        database.survey().and_then(|survey| survey.kind(wanted, &database)).map_err(|error| error.to_string())
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn countries_are_read_in_both_shapes() {
        for shape in [Shape::MaxMindCountry, Shape::FlatCountry] {
            let database = opened(written(shape, &NETWORKS)).expect("a database");
            assert_eq!(database.type_name(), format!("Test-{shape:?}"));
            assert_eq!((database.build_epoch(), database.has_ipv6()), (1_750_000_000, true));
            let expected = Survey { networks_v4: 2, networks_v6: 1, records: 3, countries: 3, asns: 0 };
            assert_eq!(database.survey().expect("whole"), expected);
            for (text, expected) in [
                ("198.51.100.255", Some(*b"DE")),
                ("203.0.113.1", Some(*b"FR")),
                ("203.0.113.128", None),
                ("2001:db8::1", Some(*b"US")),
                ("2001:db9::1", None),
            ] {
                assert_eq!(database.country(address(text)), expected, "{text}");
                assert_eq!(database.asn(address(text)), None);
            }
            assert_eq!(database.network(address("203.0.113.1")).as_deref(), Some("203.0.113.0/25"));
        }
    }

    #[test]
    fn autonomous_systems_are_read_in_both_shapes() {
        for shape in [Shape::MaxMindAsn, Shape::FlatAsn] {
            let database = opened(written(shape, &SYSTEMS)).expect("a database");
            assert_eq!(database.asn(address("198.51.100.1")), Some(64500));
            assert_eq!(database.asn(address("2001:db8::")), Some(4_294_967_295));
            assert_eq!(database.organisation(address("198.51.100.1")).as_deref(), Some("Example 64500"));
            assert_eq!(database.country(address("198.51.100.1")), None);
        }
        let both = opened(written(Shape::Both, &[("198.51.100.0/24", "DE 64500")])).expect("a database");
        assert_eq!((both.country(address("198.51.100.1")), both.asn(address("198.51.100.1"))), (Some(*b"DE"), Some(64500)));
    }

    #[test]
    fn what_it_is_taken_for_shows_in_its_records() {
        assert_eq!(kind(Shape::MaxMindCountry, &NETWORKS, None), Ok(Kind::Country));
        assert_eq!(kind(Shape::FlatAsn, &SYSTEMS, None), Ok(Kind::Asn));
        let both = [("198.51.100.0/24", "DE 64500")];
        assert_eq!(kind(Shape::Both, &both, Some(Kind::Asn)), Ok(Kind::Asn));
        assert!(kind(Shape::Both, &both, None).expect_err("both").contains("say which to take"));
        assert!(kind(Shape::Neither, &NETWORKS, None).expect_err("neither").contains("neither countries nor"));
        assert!(kind(Shape::FlatAsn, &SYSTEMS, Some(Kind::Country)).expect_err("lacks").contains("has no countries"));
        // Values that are none of what they should be.
        for value in ["", "D", "DEU", "D1", "None", "ZZ"] {
            assert!(kind(Shape::FlatCountry, &[("198.51.100.0/24", value)], None).is_err(), "{value:?}");
        }
        assert!(kind(Shape::FlatAsn, &[("198.51.100.0/24", "0")], None).is_err());
    }

    #[test]
    fn garbage_is_refused_and_says_so() {
        let text = |bytes: &[u8]| opened(bytes.to_vec()).and_then(|database| database.survey()).expect_err("no database").to_string();
        assert!(text(b"").contains("no MaxMind DB"));
        assert!(text(&[0; 4096]).contains("no MaxMind DB"));
        assert!(text(b"\xab\xcd\xefMaxMind.com").contains("no MaxMind DB"));
        let whole = written(Shape::MaxMindCountry, &NETWORKS);
        assert!(text(&whole[whole.len() / 2..]).contains("no MaxMind DB"), "the tree is cut off");
        // A node that leads beyond the data.
        let mut beyond = whole.clone();
        beyond[..6].fill(0xff);
        assert!(text(&beyond).contains("damaged"));
        // A node that leads to itself.
        let mut circle = whole;
        circle[..6].fill(0);
        assert!(text(&circle).contains("damaged"));
    }

    proptest! {
        #[test]
        fn no_damage_makes_a_database_panic(at in 0..100_000usize, byte: u8, len in 1..40usize, other: u32) {
            let mut bytes = written(Shape::MaxMindCountry, &NETWORKS);
            let at = at % bytes.len();
            let end = (at + len).min(bytes.len());
            bytes[at..end].fill(byte);
            if let Ok(database) = opened(bytes) {
                let _ = database.survey();
                for address in ["198.51.100.1", "203.0.113.1", "2001:db8::1"].map(address).into_iter().chain([IpAddr::V4(other.into())]) {
                    let _ = (database.country(address), database.asn(address), database.organisation(address), database.network(address));
                }
            }
        }
    }
}
