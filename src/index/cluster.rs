//! Clusters: sessions of one client that typed and tried the same, whatever addresses they came from. `ops/REPORTS.md` defines them.
//!
//! Sessions come one by one, from sidecars and live indexes; no event is read. Counts are exact at a memory that does not grow with the
//! period: where clusters are more than are counted at once, the sessions are walked again for the rest. Most clusters are one session
//! (a client that makes up passwords never tries the same twice), so the first walk also notes, in a small filter, which ids came more
//! than once, and further walks pass over all others.
use super::SEED;
use super::distinct::Distinct;
use super::period::{Scope, SessionTotals, each_session};
use super::search::View;
use super::sidecar::SidecarError;
use crate::events::Micros;
use crate::events::marks::Address;
use crate::events::time::day_of;
use hashbrown::HashTable;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::net::IpAddr;

/// Clusters counted at once: about a hundred bytes each.
const CLUSTERS_MAX: usize = 50_000;
/// (Cluster, address) and (cluster, sensor) pairs told apart at once, but for the first of each cluster: 20 to 40 bytes each. More than
/// one cluster can have.
const PAIRS_MAX: usize = 250_000;
/// Addresses of one cluster that are told apart one by one; of more there is an estimate.
pub const ADDRESSES_EXACT_MAX: usize = 100_000;
/// Sensors of one cluster that are told apart; more do not count.
const SENSORS_MAX: u32 = 10_000;
/// Places of the filter, of two bits each: of a million ids that came once, one in five passes.
const FILTER_BITS: u32 = 22;
/// Addresses that [`Detail`] lists.
pub const ADDRESSES_LISTED_MAX: usize = 10_000;
/// Sessions that it lists.
pub const SESSIONS_LISTED_MAX: usize = 20;

/// What sessions are grouped by: any of client, commands and credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct By(u8);

impl By {
    const NAMES: [&'static str; 3] = ["hassh", "commands", "credentials"];
    /// All three.
    pub const ALL: By = By(7);

    /// Names, separated by commas.
    pub fn parse(text: &str) -> Result<By, String> {
        let mut bits = 0;
        for name in text.split(',').map(str::trim) {
            let at = By::NAMES.iter().position(|known| *known == name);
            bits |= 1 << at.ok_or_else(|| format!("`{name}` is nothing to group by: write one or more of {}", By::NAMES.join(",")))?;
        }
        Ok(By(bits))
    }

    /// What a cluster was grouped by, from its id.
    pub fn of(id: u64) -> Option<By> {
        let bits = (id >> 60) as u8;
        (1..=By::ALL.0).contains(&bits).then_some(By(bits))
    }

    fn client(self) -> bool {
        self.0 & 1 != 0
    }

    fn commands(self) -> bool {
        self.0 & 2 != 0
    }

    fn credentials(self) -> bool {
        self.0 & 4 != 0
    }

    /// The names, separated by commas.
    pub fn names(self) -> String {
        let names = By::NAMES.into_iter().enumerate().filter(|(bit, _)| self.0 >> bit & 1 == 1).map(|(_, name)| name);
        names.collect::<Vec<_>>().join(",")
    }

    /// The cluster a session belongs to, if to any.
    pub fn id(self, session: &SessionTotals) -> Option<u64> {
        let (sequence, marks) = (session.sequence, session.marks);
        let client = if self.client() { marks.client } else { 0 };
        let commands = if self.commands() { (sequence.hash, sequence.len) } else { (0, 0) };
        let credentials = if self.credentials() { (marks.credentials.hash, marks.credentials.count) } else { (0, 0) };
        let chose = sequence.len > 0 || marks.credentials.count > 0;
        if !chose || (client == 0 && commands.1 == 0 && credentials.1 == 0) {
            return None;
        }
        let words = [client, commands.0, u64::from(commands.1), credentials.0, u64::from(credentials.1)];
        let hash = words.into_iter().fold(0, |hash, word| mix(hash ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15));
        Some(u64::from(self.0) << 60 | mix(hash) >> 4)
    }
}

/// The finaliser of MurmurHash3. What it mixes is made of BLAKE3 already.
fn mix(mut word: u64) -> u64 {
    word = (word ^ word >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    word = (word ^ word >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ word >> 33
}

/// The id as people and programs write it.
pub fn format_id(id: u64) -> String {
    format!("{id:016x}")
}

/// The id behind 16 hexadecimal digits.
pub fn parse_id(text: &str) -> Option<u64> {
    let is_id = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|&id| is_id && By::of(id).is_some())
}

/// By what clusters are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ClusterOrder)]
pub enum Order {
    /// Most addresses, then most sessions.
    #[default]
    Addresses,
    /// Most sessions, then most addresses.
    Sessions,
}

/// Which clusters are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub by: By,
    /// Those with fewer do not count.
    pub sessions_min: u64,
    pub addresses_min: u64,
    pub order: Order,
    /// How many are told.
    pub rows: usize,
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    pub id: u64,
    pub sessions: u64,
    pub addresses: u64,
    /// Whether that is counted, or an estimate.
    pub addresses_exact: bool,
    pub sensors: u64,
    pub first: Micros,
    pub last: Micros,
    /// Of each of its sessions, when it was grouped by that; else of the example.
    pub commands: u64,
    pub credentials: u64,
    pub example: Example,
}

/// The session that began first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Example {
    pub first: Micros,
    pub key: u64,
    pub sensor: Vec<u8>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// How many there are.
    pub clusters: u64,
    pub rows: Vec<Cluster>,
}

/// A cluster being counted.
struct Entry {
    id: u64,
    sessions: u64,
    first: Micros,
    last: Micros,
    example_key: u64,
    example_first: Micros,
    /// Hashes: of the example's sensor, of the first sensor and of the first address. Further ones are pairs.
    example_sensor: u64,
    sensor: u64,
    address: u64,
    /// 0: no address yet.
    addresses: u32,
    sensors: u32,
    commands: u32,
    credentials: u32,
}

type Pairs = HashTable<(u64, u64)>;

/// Counts clusters, walk by walk.
pub struct Counter {
    wanted: Wanted,
    limits: Limits,
    /// The ids that this walk counts; `None`: to the last one.
    from: u64,
    to: Option<u64>,
    entries: HashTable<Entry>,
    addresses: Pairs,
    sensors: Pairs,
    /// Clusters with too many addresses to tell one by one.
    estimates: HashMap<u64, Distinct, foldhash::fast::RandomState>,
    sensor_names: HashMap<u64, Box<[u8]>, foldhash::fast::RandomState>,
    filter: Filter,
    is_first_walk: bool,
    found: Found,
}

#[derive(Clone, Copy)]
struct Limits {
    clusters: usize,
    pairs: usize,
    addresses: usize,
}

const LIMITS: Limits = Limits { clusters: CLUSTERS_MAX, pairs: PAIRS_MAX, addresses: ADDRESSES_EXACT_MAX };

impl Counter {
    pub fn new(wanted: Wanted) -> Counter {
        Counter::with_limits(wanted, LIMITS)
    }

    fn with_limits(wanted: Wanted, limits: Limits) -> Counter {
        Counter {
            wanted,
            limits,
            from: 0,
            to: None,
            entries: HashTable::new(),
            addresses: Pairs::new(),
            sensors: Pairs::new(),
            estimates: HashMap::default(),
            sensor_names: HashMap::default(),
            filter: Filter::new(),
            is_first_walk: true,
            found: Found::default(),
        }
    }

    /// A session of the scope; in each walk every session comes once.
    pub fn add(&mut self, sensor: &[u8], session: &SessionTotals) {
        let Some(id) = self.wanted.by.id(session) else { return };
        if self.is_first_walk {
            self.filter.note(id);
        } else if self.wanted.sessions_min > 1 && !self.filter.came_again(id) {
            return;
        }
        if id < self.from || self.to.is_some_and(|to| id >= to) {
            return;
        }
        let sensor_hash = SEED.hash_one(sensor);
        self.sensor_names.entry(sensor_hash).or_insert_with(|| sensor.into());
        let address = session.marks.address;
        let address_hash = SEED.hash_one(address);
        let entry = self.entries.entry(spread(id), |entry| entry.id == id, |entry| spread(entry.id));
        let entry = entry
            .or_insert_with(|| Entry {
                id,
                sessions: 0,
                first: session.first,
                last: session.last,
                example_key: session.key,
                example_first: session.first,
                example_sensor: sensor_hash,
                sensor: sensor_hash,
                address: 0,
                addresses: 0,
                sensors: 1,
                commands: session.sequence.len,
                credentials: session.marks.credentials.count,
            })
            .into_mut();
        entry.sessions += 1;
        entry.first = entry.first.min(session.first);
        entry.last = entry.last.max(session.last);
        let is_earlier = match (session.first, session.key).cmp(&(entry.example_first, entry.example_key)) {
            std::cmp::Ordering::Equal => *sensor < *self.sensor_names[&entry.example_sensor],
            order => order.is_lt(),
        };
        if is_earlier {
            (entry.example_first, entry.example_key, entry.example_sensor) = (session.first, session.key, sensor_hash);
            (entry.commands, entry.credentials) = (session.sequence.len, session.marks.credentials.count);
        }
        if entry.sensor != sensor_hash && entry.sensors < SENSORS_MAX && insert(&mut self.sensors, (id, sensor_hash)) {
            entry.sensors += 1;
        }
        if address != Address::None {
            if entry.addresses == 0 {
                (entry.address, entry.addresses) = (address_hash, 1);
            } else if entry.address == address_hash {
                // The first one again.
            } else if let Some(estimate) = self.estimates.get_mut(&id) {
                estimate.add_hash(address_hash);
            } else if insert(&mut self.addresses, (id, address_hash)) {
                entry.addresses += 1;
                if entry.addresses as usize > self.limits.addresses {
                    let known = self.addresses.extract_if(|pair| pair.0 == id).map(|pair| pair.1);
                    self.estimates.insert(id, Distinct::estimating(known.chain([entry.address])));
                }
            }
        }
        while self.entries.len() > self.limits.clusters
            || (self.addresses.len() + self.sensors.len() > self.limits.pairs && self.entries.len() > 1)
        {
            self.halve();
        }
    }

    /// Leaves the upper half of the ids to a later walk.
    #[cold]
    fn halve(&mut self) {
        // Ids of one grouping share their first digit.
        let (low, high) = match self.to {
            Some(to) => (self.from, to),
            None => (self.from.max(u64::from(self.wanted.by.0) << 60), (u64::from(self.wanted.by.0) + 1) << 60),
        };
        let to = low + (high - low) / 2;
        self.to = Some(to);
        self.entries.retain(|entry| entry.id < to);
        self.addresses.retain(|pair| pair.0 < to);
        self.sensors.retain(|pair| pair.0 < to);
        self.estimates.retain(|&id, _| id < to);
    }

    /// Ends a walk. Answers whether the sessions must be walked again.
    pub fn end_walk(&mut self) -> bool {
        let (wanted, mut counted) = (self.wanted, Vec::new());
        for entry in self.entries.drain() {
            let estimate = self.estimates.get(&entry.id).map(|estimate| estimate.count().0);
            let addresses = estimate.unwrap_or(u64::from(entry.addresses));
            if entry.sessions >= wanted.sessions_min && addresses >= wanted.addresses_min {
                counted.push((addresses, estimate.is_none(), entry));
            }
        }
        self.found.clusters += counted.len() as u64;
        // Of all that are counted few are told: names are copied for these only.
        let place = |(addresses, _, entry): &(u64, bool, Entry)| {
            (Reverse(wanted.rank(*addresses, entry.sessions)), entry.example_first, entry.example_key)
        };
        let name = |entry: &Entry| &self.sensor_names[&entry.example_sensor];
        counted.sort_unstable_by(|a, b| place(a).cmp(&place(b)).then_with(|| (name(&a.2), a.2.id).cmp(&(name(&b.2), b.2.id))));
        counted.truncate(wanted.rows);
        self.found.rows.extend(counted.into_iter().map(|(addresses, addresses_exact, entry)| Cluster {
            id: entry.id,
            sessions: entry.sessions,
            addresses,
            addresses_exact,
            sensors: entry.sensors.into(),
            first: entry.first,
            last: entry.last,
            commands: entry.commands.into(),
            credentials: entry.credentials.into(),
            example: Example {
                first: entry.example_first,
                key: entry.example_key,
                sensor: self.sensor_names[&entry.example_sensor].to_vec(),
            },
        }));
        let rank = |row: &Cluster| Reverse(wanted.rank(row.addresses, row.sessions));
        self.found.rows.sort_unstable_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| (&a.example, a.id).cmp(&(&b.example, b.id))));
        self.found.rows.truncate(wanted.rows);
        self.addresses.clear();
        self.sensors.clear();
        self.estimates.clear();
        self.is_first_walk = false;
        self.from = self.to.unwrap_or(self.from);
        self.to.take().is_some()
    }

    /// What all walks found.
    pub fn finish(self) -> Found {
        self.found
    }
}

impl Wanted {
    /// What comes first is higher.
    fn rank(&self, addresses: u64, sessions: u64) -> (u64, u64) {
        match self.order {
            Order::Addresses => (addresses, sessions),
            Order::Sessions => (sessions, addresses),
        }
    }
}

/// Whether the pair is new.
fn insert(pairs: &mut Pairs, pair: (u64, u64)) -> bool {
    let hash = |pair: &(u64, u64)| spread(pair.0 ^ pair.1.rotate_left(32));
    match pairs.entry(hash(&pair), |known| *known == pair, hash) {
        hashbrown::hash_table::Entry::Occupied(_) => false,
        hashbrown::hash_table::Entry::Vacant(vacant) => {
            vacant.insert(pair);
            true
        }
    }
}

/// The hash of an id for a table of this process.
fn spread(id: u64) -> u64 {
    SEED.hash_one(id)
}

/// Which ids came more than once: perhaps too many, never too few.
struct Filter(Vec<u8>);

impl Filter {
    const CAME: u8 = 1;
    const CAME_AGAIN: u8 = 2;

    fn new() -> Filter {
        Filter(vec![0; 1 << (FILTER_BITS - 2)])
    }

    /// The byte of an id, and where in it.
    fn place(id: u64) -> (usize, u32) {
        let place = spread(id) >> (u64::BITS - FILTER_BITS);
        ((place >> 2) as usize, (place & 3) as u32 * 2)
    }

    fn note(&mut self, id: u64) {
        let (byte, shift) = Filter::place(id);
        let came = self.0[byte] >> shift & Filter::CAME;
        self.0[byte] |= (Filter::CAME | (came * Filter::CAME_AGAIN)) << shift;
    }

    fn came_again(&self, id: u64) -> bool {
        let (byte, shift) = Filter::place(id);
        self.0[byte] >> shift & Filter::CAME_AGAIN != 0
    }
}

/// The clusters of the scope's sessions.
pub fn clusters(view: &View, scope: &Scope, wanted: Wanted) -> Result<Found, SidecarError> {
    let mut counter = Counter::new(wanted);
    loop {
        each_session(view, scope, &mut |sensor, session| counter.add(sensor, session))?;
        if !counter.end_walk() {
            return Ok(counter.finish());
        }
    }
}

/// One cluster in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    pub cluster: Cluster,
    /// Those of most sessions first; at most [`ADDRESSES_LISTED_MAX`], and of many more the first that came.
    pub addresses: Vec<Seen<IpAddr>>,
    /// Likewise.
    pub sensors: Vec<Seen<Vec<u8>>>,
    /// Days on which sessions began, ascending, and how many.
    pub days: Vec<(i32, u64)>,
    /// The newest sessions, newest first; at most [`SESSIONS_LISTED_MAX`].
    pub newest: Vec<Example>,
}

/// An address or a sensor, and its sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen<Value> {
    pub value: Value,
    pub sessions: u64,
    pub first: Micros,
    pub last: Micros,
}

/// All that is known of one cluster; `None` when no session of the scope belongs to it.
pub fn detail(view: &View, scope: &Scope, id: u64) -> Result<Option<Detail>, SidecarError> {
    let Some(by) = By::of(id) else { return Ok(None) };
    let mut counter = Counter::new(Wanted { by, sessions_min: 1, addresses_min: 0, order: Order::Addresses, rows: 1 });
    let mut addresses: HashMap<IpAddr, Seen<IpAddr>, foldhash::fast::RandomState> = HashMap::default();
    let mut sensors: HashMap<Vec<u8>, Seen<Vec<u8>>, foldhash::fast::RandomState> = HashMap::default();
    let (mut days, mut newest) = (BTreeMap::<i32, u64>::new(), Vec::<Example>::new());
    each_session(view, scope, &mut |sensor, session| {
        if by.id(session) != Some(id) {
            return;
        }
        counter.add(sensor, session);
        if let Some(address) = session.marks.address.known()
            && (addresses.len() < ADDRESSES_EXACT_MAX || addresses.contains_key(&address))
        {
            seen(addresses.entry(address).or_insert_with(|| unseen(address)), session);
        }
        if sensors.len() < SENSORS_MAX as usize || sensors.contains_key(sensor) {
            seen(sensors.entry(sensor.to_vec()).or_insert_with(|| unseen(sensor.to_vec())), session);
        }
        *days.entry(day_of(session.first)).or_default() += 1;
        newest.push(Example { first: session.first, key: session.key, sensor: sensor.to_vec() });
        if newest.len() >= 2 * SESSIONS_LISTED_MAX {
            newest.sort_unstable_by(|a, b| b.cmp(a));
            newest.truncate(SESSIONS_LISTED_MAX);
        }
    })?;
    counter.end_walk();
    let Some(cluster) = counter.finish().rows.pop() else { return Ok(None) };
    newest.sort_unstable_by(|a, b| b.cmp(a));
    newest.truncate(SESSIONS_LISTED_MAX);
    let mut addresses = most_first(addresses.into_values());
    addresses.truncate(ADDRESSES_LISTED_MAX);
    Ok(Some(Detail { cluster, addresses, sensors: most_first(sensors.into_values()), days: days.into_iter().collect(), newest }))
}

fn unseen<Value>(value: Value) -> Seen<Value> {
    Seen { value, sessions: 0, first: Micros::MAX, last: Micros::MIN }
}

fn seen<Value>(seen: &mut Seen<Value>, session: &SessionTotals) {
    seen.sessions += 1;
    (seen.first, seen.last) = (seen.first.min(session.first), seen.last.max(session.last));
}

fn most_first<Value: Ord>(seen: impl Iterator<Item = Seen<Value>>) -> Vec<Seen<Value>> {
    let mut rows: Vec<Seen<Value>> = seen.collect();
    rows.sort_unstable_by(|a, b| b.sessions.cmp(&a.sessions).then_with(|| a.value.cmp(&b.value)));
    rows
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Blocks, RECEIVED_AT, blocks, view};
    use super::super::session_key;
    use super::*;
    use crate::events::Field;
    use crate::events::act::Act;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// What sessions did, by (sensor, key), from a scan of all events.
    #[derive(Clone, Default)]
    struct Session {
        first: Micros,
        last: Micros,
        client: Option<Vec<u8>>,
        address: Option<Vec<u8>>,
        commands: Vec<Vec<u8>>,
        credentials: Vec<Vec<u8>>,
    }

    fn scan(segments: &[Blocks]) -> BTreeMap<(Vec<u8>, u64), Session> {
        let mut sessions = BTreeMap::<(Vec<u8>, u64), Session>::new();
        for (_, _, _, event) in segments.iter().flat_map(Blocks::events) {
            let Some(id) = &event.session else { continue };
            let new = Session { first: event.time, last: event.time, ..Session::default() };
            let session = sessions.entry((event.sensor.clone(), session_key(id))).or_insert(new);
            (session.first, session.last) = (session.first.min(event.time), session.last.max(event.time));
            let value = |field| event.terms.iter().find(|term| term.0 == field).map(|term| term.1.clone());
            session.client = session.client.take().or_else(|| value(Field::Hassh));
            session.address = session.address.take().or_else(|| value(Field::SrcIp));
            session.commands.extend(value(Field::Command).filter(|_| event.act == Act::Command));
            session.credentials.extend(value(Field::Password));
        }
        sessions.values_mut().for_each(|session| session.credentials.sort());
        sessions
    }

    type Naive = (u64, BTreeSet<Vec<u8>>, BTreeSet<Vec<u8>>, Micros, Micros, Example);

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn clusters_are_what_a_scan_of_all_events_says(
            segments in proptest::collection::vec(blocks(0..120, 1), 1..5),
            bits in 1..8u8,
            (back, more) in (0..4i32, 0..3i32),
            sensor in prop::sample::select(vec![None, Some(b"node1".to_vec()), Some(b"none such".to_vec())]),
            (sessions_min, addresses_min, rows) in (1..3u64, 0..3u64, 0..9usize),
            (clusters_max, pairs_max) in (1..40usize, 1..60usize),
            by_sessions: bool,
        ) {
            let (view, by) = (view(&segments), By(bits));
            let day = day_of(RECEIVED_AT) - back;
            let scope = Scope { days: day..=day + more, sensor: sensor.clone() };
            let mut groups = BTreeMap::<_, Naive>::new();
            for ((at, key), session) in scan(&segments) {
                if !scope.days.contains(&day_of(session.first)) || sensor.as_ref().is_some_and(|wanted| *wanted != at) {
                    continue;
                }
                let client = session.client.clone().filter(|_| by.client());
                let commands = if by.commands() { session.commands.clone() } else { Vec::new() };
                let credentials = if by.credentials() { session.credentials.clone() } else { Vec::new() };
                let chose = !session.commands.is_empty() || !session.credentials.is_empty();
                if !chose || (client.is_none() && commands.is_empty() && credentials.is_empty()) {
                    continue;
                }
                let example = Example { first: session.first, key, sensor: at.clone() };
                let group = groups.entry((client, commands, credentials)).or_insert_with(|| {
                    (0, BTreeSet::new(), BTreeSet::new(), session.first, session.last, example.clone())
                });
                group.0 += 1;
                group.1.extend(session.address);
                group.2.insert(at);
                (group.3, group.4) = (group.3.min(session.first), group.4.max(session.last));
                group.5 = example.min(group.5.clone());
            }
            let mut expected: Vec<Naive> = groups.into_values().collect();
            expected.retain(|group| group.0 >= sessions_min && group.1.len() as u64 >= addresses_min);
            let count = expected.len() as u64;
            let order = if by_sessions { Order::Sessions } else { Order::Addresses };
            let wanted = Wanted { by, sessions_min, addresses_min, order, rows };
            expected.sort_by(|a, b| {
                wanted.rank(b.1.len() as u64, b.0).cmp(&wanted.rank(a.1.len() as u64, a.0)).then_with(|| a.5.cmp(&b.5))
            });
            expected.truncate(rows);

            let mut counter = Counter::with_limits(wanted, Limits { clusters: clusters_max, pairs: pairs_max, addresses: 1_000 });
            loop {
                each_session(&view, &scope, &mut |sensor, session| counter.add(sensor, session)).unwrap();
                prop_assert!(counter.entries.len() <= clusters_max);
                if !counter.end_walk() {
                    break;
                }
            }
            let found = counter.finish();
            prop_assert_eq!(found.clusters, count);
            let told = |row: &Cluster| (row.sessions, row.addresses, row.sensors, row.first, row.last, row.example.clone());
            let expected_rows: Vec<_> =
                expected.iter().map(|row| (row.0, row.1.len() as u64, row.2.len() as u64, row.3, row.4, row.5.clone())).collect();
            prop_assert_eq!(found.rows.iter().map(told).collect::<Vec<_>>(), expected_rows);
            prop_assert_eq!(&clusters(&view, &scope, wanted).unwrap(), &found);
            for (row, expected) in found.rows.iter().zip(&expected) {
                let detail = detail(&view, &scope, row.id).unwrap().expect("it was found");
                prop_assert_eq!(&detail.cluster, row);
                let addresses: BTreeSet<Vec<u8>> = detail.addresses.iter().map(|seen| seen.value.to_string().into_bytes()).collect();
                prop_assert_eq!(&addresses, &expected.1);
                prop_assert_eq!(&detail.sensors.iter().map(|seen| seen.value.clone()).collect::<BTreeSet<_>>(), &expected.2);
                prop_assert_eq!(detail.days.iter().map(|day| day.1).sum::<u64>(), row.sessions);
                prop_assert_eq!(detail.newest.len() as u64, row.sessions.min(SESSIONS_LISTED_MAX as u64));
                prop_assert_eq!(By::of(row.id), Some(by));
            }
        }
    }

    fn session(key: u64, client: u64, address: u32) -> SessionTotals {
        use crate::events::act::{Acts, Sequence};
        use crate::events::marks::{Credentials, Marks};
        let marks = Marks { client, credentials: Credentials { hash: 5, count: 1 }, address: Address::V4(address.into()) };
        SessionTotals { key, first: 1, last: 2, acts: Acts::default(), sequence: Sequence::default(), marks }
    }

    #[test]
    fn many_addresses_are_estimated_and_said_to_be() {
        let wanted = Wanted { by: By::ALL, sessions_min: 1, addresses_min: 0, order: Order::Addresses, rows: 9 };
        let mut counter = Counter::new(wanted);
        (0..400_000u32).for_each(|address| counter.add(b"a", &session(address.into(), 1, address % 200_000)));
        (0..1_000u32).for_each(|address| counter.add(b"a", &session(address.into(), 2, address)));
        assert!(counter.addresses.len() <= ADDRESSES_EXACT_MAX && !counter.end_walk());
        let rows = counter.finish().rows;
        assert!(!rows[0].addresses_exact && (190_000..210_000).contains(&rows[0].addresses), "{}", rows[0].addresses);
        assert_eq!((rows[1].addresses, rows[1].addresses_exact), (1_000, true));
    }

    #[test]
    fn clusters_of_one_session_do_not_cost_a_walk_each() {
        let wanted = Wanted { by: By::ALL, sessions_min: 2, addresses_min: 2, order: Order::Addresses, rows: 9 };
        let mut counter = Counter::with_limits(wanted, Limits { clusters: 1_000, pairs: 3_000, addresses: 1_000 });
        let mut walks = 0;
        loop {
            walks += 1;
            (1..100_000u32).for_each(|client| counter.add(b"a", &session(client.into(), (client / 2 * 2).min(99_000).into(), client)));
            assert!(walks < 200);
            if !counter.end_walk() {
                break;
            }
        }
        assert_eq!(counter.finish().clusters, 49_500);
        let mut counter = Counter::with_limits(wanted, Limits { clusters: 1_000, pairs: 3_000, addresses: 1_000 });
        let mut walks = 0;
        loop {
            walks += 1;
            (1..100_000u32).for_each(|client| counter.add(b"a", &session(client.into(), client.max(10).into(), client)));
            if !counter.end_walk() {
                break;
            }
        }
        assert!(walks <= 8, "{walks} walks");
        assert_eq!(counter.finish().clusters, 1);
    }

    #[test]
    fn ids_tell_what_they_are_grouped_by() {
        for names in ["hassh", "commands", "credentials", "hassh,credentials", "hassh,commands,credentials"] {
            let by = By::parse(names).unwrap();
            assert_eq!(by.names(), names);
            let id = by.id(&SessionTotals { sequence: crate::events::act::Sequence::of(b"id"), ..session(1, 7, 1) }).unwrap();
            assert_eq!((By::of(id), parse_id(&format_id(id))), (Some(by), Some(id)));
        }
        assert!(By::parse("hassh,colour").unwrap_err().contains("`colour`"));
        for text in ["", "7", "0123456789abcdef", "+123456789abcdef", "zzzzzzzzzzzzzzzz", "8123456789abcdef"] {
            assert_eq!(parse_id(text), None, "{text}");
        }
    }
}
