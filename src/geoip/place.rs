//! The place of an address as terms, and the small memory that spares looking the same address up again.
//!
//! Neighbouring events mostly have the same address, and a log has few at a time: a table of so many slots, each address in the one
//! that its hash says, answers nearly all of them without walking a tree of up to 128 levels.
use super::{Databases, Handle};
use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

const COUNTRY_LEN: usize = 2;
/// `AS4294967295`
const ASN_LEN_MAX: usize = 12;

/// What the databases know of an address, as the index holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    country: [u8; COUNTRY_LEN],
    has_country: bool,
    asn_len: u8,
    asn: [u8; ASN_LEN_MAX],
}

impl Place {
    pub fn new(country: Option<[u8; COUNTRY_LEN]>, asn: Option<u32>) -> Place {
        let mut place = Place { country: country.unwrap_or_default(), has_country: country.is_some(), ..Place::default() };
        if let Some(asn) = asn {
            let text = format!("AS{asn}");
            place.asn[..text.len()].copy_from_slice(text.as_bytes());
            place.asn_len = text.len() as u8;
        }
        place
    }

    /// ISO code of the country, in capitals.
    #[inline]
    pub fn country(&self) -> Option<&[u8]> {
        self.has_country.then_some(&self.country[..])
    }

    /// The autonomous system: `AS64500`.
    #[inline]
    pub fn asn(&self) -> Option<&[u8]> {
        (self.asn_len > 0).then(|| &self.asn[..self.asn_len as usize])
    }
}

/// A power of two.
const SLOTS: usize = 512;
/// Longest text of an address that is remembered: eight groups of four digits.
const ADDRESS_LEN_MAX: usize = 39;

#[derive(Clone, Copy)]
struct Slot {
    /// 0: empty.
    len: u8,
    address: [u8; ADDRESS_LEN_MAX],
    place: Place,
}

/// Looks places up, and remembers them until other databases are in force.
pub struct Lookup {
    handle: Handle,
    version: u64,
    /// `None` when there is nothing to be asked.
    databases: Option<Arc<Databases>>,
    /// Empty until something is asked.
    slots: Vec<Slot>,
    hasher: SeedableRandomState,
}

impl Lookup {
    pub fn new(handle: Handle) -> Lookup {
        // Seeded per process, so that nobody outside can make his addresses share a slot with others'.
        let hasher = SeedableRandomState::with_seed(2, SharedSeed::global_random());
        // Not yet asked: no version is 0 once something was put in force.
        Lookup { handle, version: 0, databases: None, slots: Vec::new(), hasher }
    }

    /// Takes notice of other databases, should they be in force now. Between two calls all answers come from the same ones.
    #[inline]
    pub fn refresh(&mut self) {
        let version = self.handle.version();
        if version != self.version {
            self.change(version);
        }
    }

    #[cold]
    fn change(&mut self, version: u64) {
        let databases = self.handle.databases();
        self.databases = (!databases.is_empty()).then_some(databases);
        self.version = version;
        self.slots = Vec::new();
    }

    /// Whether any database is in force.
    #[inline]
    pub fn knows_places(&self) -> bool {
        self.databases.is_some()
    }

    /// The place of an address as it is written.
    #[inline]
    pub fn place(&mut self, address: &[u8]) -> Place {
        let Some(databases) = &self.databases else { return Place::default() };
        if address.is_empty() || address.len() > ADDRESS_LEN_MAX {
            return databases.place(address);
        }
        let at = self.hasher.hash_one(address) as usize % SLOTS;
        match self.slots.get(at) {
            Some(slot) if slot.len as usize == address.len() && slot.address[..address.len()] == *address => slot.place,
            _ => self.ask(at, address),
        }
    }

    #[inline(never)]
    fn ask(&mut self, at: usize, address: &[u8]) -> Place {
        let place = self.databases.as_ref().map(|databases| databases.place(address)).unwrap_or_default();
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, Slot { len: 0, address: [0; ADDRESS_LEN_MAX], place: Place::default() });
        }
        let slot = &mut self.slots[at];
        slot.address[..address.len()].copy_from_slice(address);
        (slot.len, slot.place) = (address.len() as u8, place);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geoip::mmdb::{Shape, written};
    use crate::geoip::{Database, Kind};

    fn handle() -> Handle {
        let handle = Handle::default();
        let database =
            |shape, values: &[(&str, &str)]| Some(Arc::new(Database::open(Arc::new(written(shape, values))).expect("a database")));
        handle.change(|databases| {
            databases.set(Kind::Country, database(Shape::FlatCountry, &[("198.51.100.0/24", "de"), ("2001:db8::/32", "FR")]));
            databases.set(Kind::Asn, database(Shape::FlatAsn, &[("198.51.100.0/25", "64500"), ("203.0.113.0/24", "4294967295")]));
        });
        handle
    }

    fn told(lookup: &mut Lookup, address: &str) -> (String, String) {
        let place = lookup.place(address.as_bytes());
        let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
        (text(place.country()), text(place.asn()))
    }

    #[test]
    fn places_are_the_same_looked_up_and_remembered() {
        let mut lookup = Lookup::new(handle());
        lookup.refresh();
        assert!(lookup.knows_places());
        for _ in 0..2 {
            for (address, country, asn) in [
                ("198.51.100.7", "DE", "AS64500"),
                ("198.51.100.200", "DE", ""),
                ("::ffff:198.51.100.7", "DE", "AS64500"),
                ("0000:0000:0000:0000:0000:ffff:198.51.100.7", "DE", "AS64500"),
                ("203.0.113.9", "", "AS4294967295"),
                ("2001:db8::1", "FR", ""),
                ("2001:0db8:0000:0000:0000:0000:0000:0001", "FR", ""),
                ("192.0.2.1", "", ""),
                ("", "", ""),
                ("198.51.100.7 ", "", ""),
                ("198.51.100", "", ""),
                ("fe80::1%eth0", "", ""),
                ("\u{fffd}", "", ""),
            ] {
                assert_eq!(told(&mut lookup, address), (country.to_owned(), asn.to_owned()), "{address}");
            }
        }
        // More addresses than there are slots.
        for n in 0..4 * SLOTS {
            let expected = if n % 256 < 128 { "AS64500" } else { "" };
            assert_eq!(told(&mut lookup, &format!("198.51.100.{}", n % 256)).1, expected);
            assert_eq!(told(&mut lookup, &format!("2001:db8::{n:x}")).0, "FR");
        }
    }

    #[test]
    fn other_databases_count_from_the_next_refresh_on() {
        let handle = handle();
        let mut lookup = Lookup::new(handle.clone());
        assert!(!lookup.knows_places(), "nothing before the first refresh");
        lookup.refresh();
        assert_eq!(told(&mut lookup, "198.51.100.7").0, "DE");
        handle.change(|databases| databases.set(Kind::Country, None));
        assert_eq!(told(&mut lookup, "198.51.100.7").0, "DE");
        lookup.refresh();
        assert_eq!(told(&mut lookup, "198.51.100.7"), (String::new(), "AS64500".to_owned()));
        handle.change(|databases| databases.set(Kind::Asn, None));
        lookup.refresh();
        assert!(!lookup.knows_places());
    }
}
