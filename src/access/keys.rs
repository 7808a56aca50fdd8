//! API keys: who they are, what they may, and whether one is good.
//!
//! The ledger is the truth: every change is a record there, with who made it and the hash of the secret, never the secret. A view in the
//! state saves reading the ledger from its beginning, and a table in memory answers requests: none waits for the disk. A change is in
//! the ledger before it holds; but a revocation holds at once, whatever the ledger says.
//!
//! A rotation gives a key a new secret and the same lifetime again; the secret before stays good for the overlap. Secrets are counted
//! (generations), so that what was made with one dies with it.
use super::secret::{self, SecretHash};
use super::{Denied, Principal, Role};
use crate::events::id::{hex, unhex};
use crate::events::{Micros, time};
use crate::index::query::CLAUSES_MAX;
use crate::journal::log::{LogError, Record};
use crate::sinks::http::Secret;
use crate::state::keys::KeyRecord;
use crate::state::{State, StateError};
use crate::store::Store;
use crate::telemetry::printable::{prefix, printable};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::watch;

/// Keys that are kept; of more the revoked and expired ones go, longest dead first.
pub const KEYS_MAX: usize = 1000;
/// Honeypots that one key can be restricted to, and bytes of their names. Every query of such a key is joined with all of them: half of
/// the terms that a query may have are left to it.
pub const SENSORS_MAX: usize = CLAUSES_MAX / 2;
const SENSORS_BYTES_MAX: usize = 2048;
const NAME_BYTES_MAX: usize = 64;
const BY_BYTES_MAX: usize = 256;
const LIFETIME_DAYS_MAX: i64 = 3650;
/// Longest that a replaced secret stays good.
pub const OVERLAP_MAX: Micros = 30 * time::MICROS_PER_DAY;
/// That a key was used is written at most so often.
const USE_WRITTEN_EVERY: Micros = time::MICROS_PER_HOUR;

const CREATED: &str = "key_created";
const ROTATED: &str = "key_rotated";
const REVOKED: &str = "key_revoked";

#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("`{0}` is no name for a key: use 1 to 64 letters, digits, \"-\", \"_\", \".\" or \"@\", starting with a letter or digit")]
    Name(String),
    #[error("a key called `{0}` is in use: rotate or revoke that one, or choose another name")]
    NameTaken(String),
    #[error("a key needs a role: admin, analyst, researcher, developer or sensor")]
    NoRole,
    #[error("these are no names of sensors: give up to {SENSORS_MAX}, of 1 to 128 printable characters each and 2048 in all")]
    Sensors,
    #[error("there is no key {0:?}: `honeyguide keys list` shows what there is")]
    NoKey(String),
    #[error("the key {0} was revoked, which is for good: make another")]
    Revoked(String),
    #[error("a replaced secret stays good for 30 days at most")]
    Overlap,
    #[error("there are {KEYS_MAX} keys in use: revoke some that nobody needs")]
    TooMany,
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] rand::rngs::SysError),
    #[error("the key was not changed, for the ledger cannot be written: {0}")]
    Ledger(#[from] LogError),
    #[error(
        "the key {id} is refused from now on, but the ledger cannot be written: {source}; revoke it again when that is mended, or the \
         ledger does not tell of it"
    )]
    RevokedUnrecorded { id: String, source: LogError },
    #[error(transparent)]
    State(#[from] StateError),
}

impl KeysError {
    /// Whether what was asked for was wrong, or something failed.
    pub fn is_usage(&self) -> bool {
        matches!(self, KeysError::Name(_) | KeysError::NameTaken(_) | KeysError::NoRole | KeysError::Sensors | KeysError::Overlap)
    }
}

/// How long a secret is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Lifetime {
    For(Micros),
    Never,
}

impl Default for Lifetime {
    fn default() -> Lifetime {
        Lifetime::For(90 * time::MICROS_PER_DAY)
    }
}

impl Lifetime {
    fn micros(self) -> Option<Micros> {
        match self {
            Lifetime::For(micros) => Some(micros),
            Lifetime::Never => None,
        }
    }
}

impl FromStr for Lifetime {
    type Err = String;

    /// `90d`, `12h`, or `never`.
    fn from_str(text: &str) -> Result<Lifetime, String> {
        if text == "never" {
            return Ok(Lifetime::Never);
        }
        let micros = span(text).filter(|micros| (60 * time::MICROS_PER_SECOND..=LIFETIME_DAYS_MAX * time::MICROS_PER_DAY).contains(micros));
        micros.map(Lifetime::For).ok_or_else(|| "give a time from 1m to 3650d, such as 90d or 12h, or never".to_owned())
    }
}

impl TryFrom<String> for Lifetime {
    type Error = String;

    fn try_from(text: String) -> Result<Lifetime, String> {
        text.parse()
    }
}

impl From<Lifetime> for String {
    fn from(lifetime: Lifetime) -> String {
        lifetime.to_string()
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lifetime::For(micros) => write!(f, "{}s", micros / time::MICROS_PER_SECOND),
            Lifetime::Never => f.write_str("never"),
        }
    }
}

/// A time that passes: `90d`, `12h`, `30m`, `90s`, `2w`, `0s`.
pub fn span(text: &str) -> Option<Micros> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => time::MICROS_PER_SECOND,
        "m" => 60 * time::MICROS_PER_SECOND,
        "h" => time::MICROS_PER_HOUR,
        "d" => time::MICROS_PER_DAY,
        "w" => 7 * time::MICROS_PER_DAY,
        _ => return None,
    };
    // Not `parse` alone, which takes a sign.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i64>().ok()?.checked_mul(unit)).flatten()
}

/// A key to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// As the ledger names who used it: 1 to 64 letters, digits, "-", "_", "." or "@"; one key in use for each name.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]
    pub name: String,
    /// What it may: admin, analyst, researcher, developer, sensor; rights of several add up.
    #[schema(min_items = 1)]
    pub roles: Vec<Role>,
    /// Only what these honeypots caught; none given: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensors: Vec<String>,
    /// For how long: "90d", "12h", or "never".
    #[serde(default)]
    #[schema(value_type = String, default = "90d", pattern = "^(never|[0-9]{1,4}[mhdw])$")]
    pub expires: Lifetime,
}

/// A key, as lists tell it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct KeyRow {
    /// What stands behind `hg_`.
    pub id: String,
    pub name: String,
    /// "active", "expired" or "revoked".
    pub state: String,
    #[schema(value_type = Vec<String>)]
    pub roles: Vec<Role>,
    /// None: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensors: Vec<String>,
    pub created_at: String,
    pub created_by: String,
    /// None: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_at: Option<String>,
    /// Until when the secret before is good as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_until: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_by: Option<String>,
    /// Of the last hour it may miss what was before a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<String>,
}

/// That somebody had a key's secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    pub(crate) id: String,
    pub(crate) generation: u32,
}

/// A key in memory.
#[derive(Debug)]
pub(super) struct Key {
    pub id: String,
    pub record: KeyRecord,
    pub principal: Principal,
    /// 0: never.
    used_at: AtomicI64,
    use_written_at: AtomicI64,
}

impl Key {
    fn new(id: &str, record: KeyRecord, used_at: Micros) -> Key {
        let roles: Vec<Role> = record.roles.iter().filter_map(|role| Role::parse(role)).collect();
        let sensors = (!record.sensors.is_empty()).then(|| record.sensors.clone().into());
        let principal = Principal { name: format!("key {}", record.name).into(), key: Some(id.into()), roles: roles.into(), sensors };
        Key { id: id.to_owned(), record, principal, used_at: used_at.into(), use_written_at: used_at.into() }
    }

    fn state(&self, now: Micros) -> &'static str {
        match self.alive(now) {
            Ok(()) => "active",
            Err(Denied::KeyRevoked) => "revoked",
            Err(_) => "expired",
        }
    }

    fn alive(&self, now: Micros) -> Result<(), Denied> {
        if self.record.revoked_at.is_some() {
            return Err(Denied::KeyRevoked);
        }
        if self.record.expires_at.is_some_and(|expires_at| now >= expires_at) {
            return Err(Denied::KeyExpired);
        }
        Ok(())
    }

    /// When it died, of a dead one.
    fn dead_since(&self) -> Micros {
        self.record.revoked_at.or(self.record.expires_at).unwrap_or(Micros::MAX)
    }

    /// When the secret of this generation stops being good; `None`: never.
    pub(super) fn good_until(&self, generation: u32, now: Micros) -> Result<Option<Micros>, Denied> {
        self.alive(now)?;
        if generation == self.record.generation {
            return Ok(self.record.expires_at);
        }
        match self.record.previous {
            Some((_, until)) if generation.checked_add(1) == Some(self.record.generation) && now < until => Ok(Some(until)),
            _ => Err(Denied::KeyReplaced),
        }
    }

    fn row(&self, now: Micros) -> KeyRow {
        let record = &self.record;
        let used_at = self.used_at.load(Ordering::Relaxed);
        KeyRow {
            id: self.id.clone(),
            name: record.name.clone(),
            state: self.state(now).to_owned(),
            roles: self.principal.roles.to_vec(),
            sensors: record.sensors.clone(),
            created_at: time::format(record.created_at),
            created_by: record.created_by.clone(),
            expires_at: record.expires_at.map(time::format),
            rotated_at: record.rotated_at.map(time::format),
            previous_until: record.previous.filter(|(_, until)| now < *until).map(|(_, until)| time::format(until)),
            revoked_at: record.revoked_at.map(time::format),
            revoked_by: record.revoked_by.clone(),
            last_used_at: (used_at > 0).then(|| time::format(used_at)),
        }
    }
}

type Table = HashMap<String, Arc<Key>>;

/// All keys.
pub struct Keys {
    state: Arc<State>,
    store: Store,
    table: RwLock<Table>,
    /// Held by whoever changes one.
    changing: Mutex<()>,
    /// How many changes there were.
    changes: watch::Sender<u64>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("keys", &self.table.read().unwrap_or_else(PoisonError::into_inner).len()).finish()
    }
}

impl Keys {
    /// Reads the view, and what the ledger says beyond it.
    pub fn open(state: Arc<State>, store: &Store) -> Result<Keys, KeysError> {
        let (kept, whole) = state.keys();
        let mut records: HashMap<String, KeyRecord> = kept.into_iter().collect();
        let (from, next) = {
            let ledger = store.ledger();
            let (known, next) = (state.keys_ledger_seq(), ledger.next_seq());
            // A ledger that was begun anew counts from the beginning.
            let from = if whole && known <= next { known } else { 0 };
            let mut changed = Vec::new();
            ledger.for_each(from, |_, line| {
                if let Some(id) = apply(line, &mut records) {
                    changed.push(id);
                }
                true
            })?;
            changed.retain(|id| records.contains_key(id));
            for id in &changed {
                state.put_key(id, &records[id])?;
            }
            (from, next)
        };
        if from != next {
            state.save_keys(next)?;
        }
        let table = records.into_iter().map(|(id, record)| {
            let used_at = state.key_used_at(&id).unwrap_or(0);
            (id.clone(), Arc::new(Key::new(&id, record, used_at)))
        });
        let table = RwLock::new(table.collect());
        Ok(Keys { state, store: store.clone(), table, changing: Mutex::new(()), changes: watch::Sender::new(0) })
    }

    /// Tells that a key was made, rotated or revoked: whoever goes on for long asks again then.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Who sends this key.
    pub fn verify(&self, key: &str, now: Micros) -> Result<Principal, Denied> {
        Ok(self.prove(key, now)?.0.principal.clone())
    }

    /// Who sends this key, and what proves it later on without its text: for as long as the secret is good.
    pub fn prove_once(&self, key: &str, now: Micros) -> Result<(Principal, Proof), Denied> {
        let (key, generation) = self.prove(key, now)?;
        Ok((key.principal.clone(), Proof { id: key.id.clone(), generation }))
    }

    /// Who proved to have a key, if its secret still is good.
    pub fn proved(&self, proof: &Proof, now: Micros) -> Result<Principal, Denied> {
        let key = self.find(&proof.id).ok_or(Denied::KeyUnknown)?;
        key.good_until(proof.generation, now)?;
        self.used(&key, now);
        Ok(key.principal.clone())
    }

    /// The key whose text this is, and the generation of its secret.
    pub(super) fn prove(&self, text: &str, now: Micros) -> Result<(Arc<Key>, u32), Denied> {
        let (id, secret) = secret::parse(text)?;
        let hash = secret::hash(id, secret);
        let key = self.find(id).ok_or(Denied::KeyUnknown)?;
        let record = &key.record;
        // These comparisons take the same time whatever differs.
        let is_previous = record.previous.is_some_and(|(previous, _)| SecretHash::from_bytes(previous) == hash);
        let generation = if SecretHash::from_bytes(record.hash) == hash {
            record.generation
        } else if is_previous {
            record.generation - 1
        } else {
            return Err(Denied::KeyUnknown);
        };
        key.good_until(generation, now)?;
        self.used(&key, now);
        Ok((key, generation))
    }

    pub(super) fn find(&self, id: &str) -> Option<Arc<Key>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    pub(super) fn used(&self, key: &Key, now: Micros) {
        key.used_at.fetch_max(now, Ordering::Relaxed);
        let written_at = key.use_written_at.load(Ordering::Relaxed);
        if now.saturating_sub(written_at) >= USE_WRITTEN_EVERY
            && key.use_written_at.compare_exchange(written_at, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            // What cannot be written now is written in an hour.
            let _ = self.state.put_key_used_at(&key.id, now);
        }
    }

    /// All keys, the newest first.
    pub fn list(&self, now: Micros) -> Vec<KeyRow> {
        let mut keys: Vec<Arc<Key>> = self.table.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        keys.sort_by(|a, b| b.record.created_at.cmp(&a.record.created_at).then_with(|| a.id.cmp(&b.id)));
        keys.iter().map(|key| key.row(now)).collect()
    }

    /// Makes a key. Its whole text is nowhere but in the answer. Waits for the disk.
    pub fn create(&self, new: &NewKey, by: &str, now: Micros) -> Result<(KeyRow, Secret), KeysError> {
        let sensors = checked(new)?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (dead, in_use): (Vec<_>, Vec<_>) = {
            let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
            table.values().cloned().partition(|key| key.alive(now).is_err())
        };
        if in_use.iter().any(|key| key.record.name == new.name) {
            return Err(KeysError::NameTaken(new.name.clone()));
        }
        if in_use.len() >= KEYS_MAX {
            return Err(KeysError::TooMany);
        }
        let mut id = secret::generate_id()?;
        while self.find(&id).is_some() {
            id = secret::generate_id()?;
        }
        let (secret, hash) = secret::generate(&id)?;
        let mut roles: Vec<Role> = new.roles.clone();
        roles.sort_unstable();
        roles.dedup();
        let details = Created {
            id: id.clone(),
            name: new.name.clone(),
            roles: roles.iter().map(|role| role.name().to_owned()).collect(),
            sensors,
            lifetime_seconds: new.expires.micros().map(|micros| micros / time::MICROS_PER_SECOND),
            expires_at: new.expires.micros().map(|micros| time::format(now.saturating_add(micros))),
            hash: hex(hash.as_bytes()),
            by: prefix(&printable(by), BY_BYTES_MAX).to_owned(),
        };
        let row = self.change(&id, CREATED, &details, now)?.row(now);
        if in_use.len() + dead.len() >= KEYS_MAX {
            self.forget_oldest(dead);
        }
        Ok((row, secret))
    }

    /// Gives a key a new secret, for as long as the one before was made for; that one stays good for `overlap`. Waits for the disk.
    pub fn rotate(&self, id: &str, overlap: Micros, by: &str, now: Micros) -> Result<(KeyRow, Secret), KeysError> {
        if !(0..=OVERLAP_MAX).contains(&overlap) {
            return Err(KeysError::Overlap);
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let key = self.find(id).ok_or_else(|| no_key(id))?;
        if key.record.revoked_at.is_some() {
            return Err(KeysError::Revoked(id.to_owned()));
        }
        let name = &key.record.name;
        // While it was expired, another may have got its name.
        let in_use = |other: &Key| other.id != id && other.record.name == *name && other.alive(now).is_ok();
        if self.table.read().unwrap_or_else(PoisonError::into_inner).values().any(|other| in_use(other)) {
            return Err(KeysError::NameTaken(name.clone()));
        }
        let (secret, hash) = secret::generate(id)?;
        // A rotation must not prolong the life of the secret that it replaces.
        let until = now.saturating_add(overlap).min(key.record.expires_at.unwrap_or(Micros::MAX));
        let details = Rotated {
            id: id.to_owned(),
            name: name.clone(),
            generation: key.record.generation.saturating_add(1),
            expires_at: key.record.lifetime.map(|lifetime| time::format(now.saturating_add(lifetime))),
            previous_until: time::format(until),
            hash: hex(hash.as_bytes()),
            by: prefix(&printable(by), BY_BYTES_MAX).to_owned(),
        };
        Ok((self.change(id, ROTATED, &details, now)?.row(now), secret))
    }

    /// Refuses a key, and all that was made with it, from now on and for good. Waits for the disk. Revoked again, nothing changes.
    pub fn revoke(&self, id: &str, by: &str, now: Micros) -> Result<KeyRow, KeysError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let key = self.find(id).ok_or_else(|| no_key(id))?;
        if key.record.revoked_at.is_some() && !self.is_unrecorded(&key) {
            return Ok(key.row(now));
        }
        let by = prefix(&printable(by), BY_BYTES_MAX).to_owned();
        let details = Revoked { id: id.to_owned(), name: key.record.name.clone(), by: by.clone() };
        match self.change(id, REVOKED, &details, now) {
            Ok(key) => Ok(key.row(now)),
            Err(KeysError::Ledger(source)) => {
                // The mark tells that the ledger has nothing of it.
                let record = KeyRecord { revoked_at: Some(now), revoked_by: Some(format!("{by}{UNRECORDED}")), ..key.record.clone() };
                let _ = self.state.put_key(id, &record);
                self.put(id, record);
                Err(KeysError::RevokedUnrecorded { id: id.to_owned(), source })
            }
            Err(error) => Err(error),
        }
    }

    fn is_unrecorded(&self, key: &Key) -> bool {
        key.record.revoked_by.as_ref().is_some_and(|by| by.ends_with(UNRECORDED))
    }

    /// Writes a change to the ledger, and then makes it hold, exactly as a reader of the ledger would.
    fn change(&self, id: &str, event: &str, details: &impl Serialize, now: Micros) -> Result<Arc<Key>, KeysError> {
        let line = serde_json::json!({ "@timestamp": time::format(now), "event": event, "details": details }).to_string().into_bytes();
        let mut records = HashMap::new();
        if let Some(key) = self.find(id) {
            records.insert(id.to_owned(), key.record.clone());
        }
        apply(&line, &mut records);
        let record = records.remove(id).expect("a change that was written here is one that is read here");
        let next_seq = {
            let mut ledger = self.store.ledger();
            ledger.append(&[Record { time: now, line }], now)?;
            // It is written, and holds; that the oldest records are still there does no harm.
            let _ = ledger.enforce_limit();
            ledger.next_seq()
        };
        // What the view misses is read from the ledger at the next start: the place up to which it has it is written last.
        let _ = self.state.put_key(id, &record).and_then(|()| self.state.save_keys(next_seq));
        Ok(self.put(id, record))
    }

    fn put(&self, id: &str, record: KeyRecord) -> Arc<Key> {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let used_at = table.get(id).map_or(0, |key| key.used_at.load(Ordering::Relaxed));
        let key = Arc::new(Key::new(id, record, used_at));
        table.insert(id.to_owned(), key.clone());
        drop(table);
        self.changes.send_modify(|changes| *changes += 1);
        key
    }

    fn forget_oldest(&self, mut dead: Vec<Arc<Key>>) {
        dead.sort_by_key(|key| key.dead_since());
        if let Some(oldest) = dead.first() {
            // Still there after the next start, it goes with the next key.
            let _ = self.state.remove_key(&oldest.id);
            self.table.write().unwrap_or_else(PoisonError::into_inner).remove(&oldest.id);
        }
    }
}

/// Behind the name of who revoked a key of which the ledger could not be told.
const UNRECORDED: &str = " (not in the ledger)";

fn no_key(id: &str) -> KeysError {
    KeysError::NoKey(prefix(id, 80).to_owned())
}

/// What stands in the ledger.
#[derive(Serialize, Deserialize)]
struct Created {
    id: String,
    name: String,
    roles: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sensors: Vec<String>,
    lifetime_seconds: Option<i64>,
    expires_at: Option<String>,
    /// BLAKE3 of the secret, hexadecimal.
    hash: String,
    by: String,
}

#[derive(Serialize, Deserialize)]
struct Rotated {
    id: String,
    name: String,
    generation: u32,
    expires_at: Option<String>,
    previous_until: String,
    hash: String,
    by: String,
}

#[derive(Serialize, Deserialize)]
struct Revoked {
    id: String,
    name: String,
    by: String,
}

/// Carries out what a record of the ledger says, and answers which key it was about. Carried out again, it changes nothing.
fn apply(line: &[u8], records: &mut HashMap<String, KeyRecord>) -> Option<String> {
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(rename = "@timestamp")]
        timestamp: String,
        event: String,
        #[serde(borrow)]
        details: &'a serde_json::value::RawValue,
    }
    memchr::memmem::find(line, b"\"key_")?;
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    let (at, details) = (time::parse(line.timestamp.as_bytes())?, line.details.get());
    // A time that cannot be read has passed: better a key less than one for ever.
    let read = |text: String| time::parse(text.as_bytes()).unwrap_or(0);
    match line.event.as_str() {
        CREATED => {
            let Created { id, name, roles, sensors, lifetime_seconds, expires_at, hash, by } = serde_json::from_str(details).ok()?;
            records.entry(id.clone()).or_insert(KeyRecord {
                name,
                roles,
                sensors,
                created_at: at,
                created_by: by,
                lifetime: lifetime_seconds.map(|seconds| seconds.saturating_mul(time::MICROS_PER_SECOND)),
                expires_at: expires_at.map(read),
                hash: unhex(hash.as_bytes())?,
                generation: 1,
                rotated_at: None,
                previous: None,
                revoked_at: None,
                revoked_by: None,
            });
            Some(id)
        }
        ROTATED => {
            let Rotated { id, generation, expires_at, previous_until, hash, .. } = serde_json::from_str(details).ok()?;
            let (record, hash) = (records.get_mut(&id).filter(|record| generation > record.generation)?, unhex(hash.as_bytes())?);
            record.previous = Some((record.hash, read(previous_until)));
            record.hash = hash;
            (record.generation, record.rotated_at, record.expires_at) = (generation, Some(at), expires_at.map(read));
            Some(id)
        }
        REVOKED => {
            let Revoked { id, by, .. } = serde_json::from_str(details).ok()?;
            let record = records.get_mut(&id)?;
            (record.revoked_at, record.revoked_by) = (Some(at), Some(by));
            Some(id)
        }
        _ => None,
    }
}

/// The sensors of a key that can be made.
fn checked(new: &NewKey) -> Result<Vec<String>, KeysError> {
    let name = &new.name;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    if name.is_empty()
        || name.len() > NAME_BYTES_MAX
        || !name.chars().all(allowed)
        || !name.starts_with(|c: char| c.is_ascii_alphanumeric())
    {
        return Err(KeysError::Name(printable(prefix(name, NAME_BYTES_MAX)).into_owned()));
    }
    if new.roles.is_empty() {
        return Err(KeysError::NoRole);
    }
    let mut sensors = new.sensors.clone();
    sensors.sort_unstable();
    sensors.dedup();
    let fits = |sensor: &String| (1..=128).contains(&sensor.len()) && !sensor.contains(char::is_control);
    if sensors.len() > SENSORS_MAX || !sensors.iter().all(fits) || sensors.iter().map(String::len).sum::<usize>() > SENSORS_BYTES_MAX {
        return Err(KeysError::Sensors);
    }
    Ok(sensors)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::journal::fs::RealFs;
    use crate::state::CACHE_BYTES;
    use crate::store::{self, CommittedLen, Layout, Limits};
    use proptest::prelude::*;
    use std::path::Path;

    const NOW: Micros = 1_774_138_242_831_494; // 2026-03-22T00:10:42.831494Z
    const DAY: Micros = time::MICROS_PER_DAY;
    const HOUR: Micros = time::MICROS_PER_HOUR;

    pub(in crate::access) fn open(dir: &Path) -> Keys {
        let layout = Layout::new(dir);
        let state = Arc::new(State::open(&layout.state, CACHE_BYTES, NOW).unwrap().state);
        let parts = store::open(Arc::new(RealFs), layout, Limits::default(), CommittedLen::default(), NOW, &mut |_| {}).unwrap();
        Keys::open(state, &parts.store).unwrap()
    }

    fn new(name: &str) -> NewKey {
        NewKey { name: name.into(), roles: vec![Role::Analyst, Role::Developer], sensors: vec![], expires: Lifetime::default() }
    }

    fn ledger(keys: &Keys) -> Vec<String> {
        let mut lines = Vec::new();
        let each = |_, line: &[u8]| {
            lines.push(String::from_utf8(line.to_vec()).unwrap());
            true
        };
        keys.store.ledger().for_each(0, each).unwrap();
        lines
    }

    #[test]
    fn a_key_is_good_until_it_expires_and_for_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let keys = open(dir.path());
        let scoped = NewKey { sensors: vec!["b".into(), "a".into(), "b".into()], ..new("laptop") };
        let (row, secret) = keys.create(&scoped, "uid 7", NOW).unwrap();
        assert_eq!((&*row.state, &*row.created_by, row.expires_at.as_deref()), ("active", "uid 7", Some(&*time::format(NOW + 90 * DAY))));
        let principal = keys.verify(secret.expose(), NOW).unwrap();
        assert_eq!((&*principal.name, &*principal.roles), ("key laptop", &[Role::Analyst, Role::Developer][..]));
        assert_eq!(principal.sensors.as_deref(), Some(&["a".to_owned(), "b".to_owned()][..]));
        assert!(keys.verify(secret.expose(), NOW + 90 * DAY - 1).is_ok());
        assert_eq!(keys.verify(secret.expose(), NOW + 90 * DAY), Err(Denied::KeyExpired));
        let (other, _) = secret::generate(&row.id).unwrap();
        assert_eq!(keys.verify(other.expose(), NOW), Err(Denied::KeyUnknown), "the right id with another secret");
        let (stranger, _) = secret::generate("0000000000").unwrap();
        assert_eq!(keys.verify(stranger.expose(), NOW), Err(Denied::KeyUnknown));
        let (_, forever) = keys.create(&NewKey { expires: Lifetime::Never, ..new("forever") }, "uid 7", NOW).unwrap();
        assert!(keys.verify(forever.expose(), NOW + 36_500 * DAY).is_ok());
    }

    #[test]
    fn a_revoked_key_is_refused_for_good_and_says_so_to_its_holder_only() {
        let dir = tempfile::tempdir().unwrap();
        let keys = open(dir.path());
        let (row, secret) = keys.create(&new("laptop"), "uid 7", NOW).unwrap();
        let revoked = keys.revoke(&row.id, "uid 8", NOW + 1).unwrap();
        assert_eq!((&*revoked.state, revoked.revoked_by.as_deref()), ("revoked", Some("uid 8")));
        assert_eq!(keys.verify(secret.expose(), NOW + 1), Err(Denied::KeyRevoked));
        let (other, _) = secret::generate(&row.id).unwrap();
        assert_eq!(keys.verify(other.expose(), NOW + 1), Err(Denied::KeyUnknown));
        assert_eq!(keys.revoke(&row.id, "uid 9", NOW + 2).unwrap(), revoked, "a second time changes nothing");
        assert!(matches!(keys.rotate(&row.id, 0, "uid 8", NOW + 2), Err(KeysError::Revoked(_))));
        assert!(matches!(keys.revoke("nothing", "uid 8", NOW), Err(KeysError::NoKey(_))));
        assert!(keys.create(&new("laptop"), "uid 7", NOW + 3).is_ok(), "its name is free");
    }

    #[test]
    fn a_replaced_secret_is_good_for_the_overlap_and_never_longer_than_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let keys = open(dir.path());
        let (row, first) = keys.create(&new("laptop"), "uid 7", NOW).unwrap();
        let at = NOW + 89 * DAY;
        let (rotated, second) = keys.rotate(&row.id, HOUR, "uid 7", at).unwrap();
        assert_eq!((&rotated.id, rotated.expires_at), (&row.id, Some(time::format(at + 90 * DAY))));
        assert!(keys.verify(first.expose(), at + HOUR - 1).is_ok() && keys.verify(second.expose(), at).is_ok());
        assert_eq!(keys.verify(first.expose(), at + HOUR), Err(Denied::KeyReplaced));
        assert!(keys.verify(second.expose(), at + 90 * DAY - 1).is_ok());
        let (_, third) = keys.rotate(&row.id, 30 * DAY, "uid 7", at + 89 * DAY).unwrap();
        assert!(keys.verify(second.expose(), at + 90 * DAY - 1).is_ok());
        assert_eq!(keys.verify(second.expose(), at + 90 * DAY), Err(Denied::KeyReplaced), "its own end comes first");
        assert_eq!(keys.verify(first.expose(), at + 89 * DAY), Err(Denied::KeyUnknown));
        let (_, fourth) = keys.rotate(&row.id, 0, "uid 7", at + 90 * DAY).unwrap();
        assert_eq!(keys.verify(third.expose(), at + 90 * DAY), Err(Denied::KeyReplaced), "without overlap it ends at once");
        assert!(keys.verify(fourth.expose(), at + 90 * DAY).is_ok());
        assert!(matches!(keys.rotate(&row.id, OVERLAP_MAX + 1, "uid 7", at), Err(KeysError::Overlap)));
    }

    #[test]
    fn keys_are_there_after_opening_again_and_without_the_state_the_ledger_has_them() {
        let dir = tempfile::tempdir().unwrap();
        let (rows, secrets) = {
            let keys = open(dir.path());
            let (a, first) = keys.create(&NewKey { sensors: vec!["s".into()], ..new("a") }, "uid 7", NOW).unwrap();
            let (b, second) = keys.create(&NewKey { expires: Lifetime::Never, ..new("b") }, "uid 7", NOW + 1).unwrap();
            let (_, third) = keys.rotate(&a.id, HOUR, "uid 8", NOW + 2).unwrap();
            keys.revoke(&b.id, "uid 9", NOW + 3).unwrap();
            keys.verify(third.expose(), NOW + 4).unwrap();
            (keys.list(NOW + 5), [first, second, third])
        };
        let judge = |keys: &Keys| {
            secrets.each_ref().map(|secret| keys.verify(secret.expose(), NOW + 5).map(|principal| principal.sensors.is_some()))
        };
        let judged = [Ok(true), Err(Denied::KeyRevoked), Ok(true)];
        {
            let keys = open(dir.path());
            assert_eq!((keys.list(NOW + 5), judge(&keys)), (rows.clone(), judged.clone()));
        }
        std::fs::remove_dir_all(dir.path().join("state")).unwrap();
        let keys = open(dir.path());
        let unused = |rows: Vec<KeyRow>| rows.into_iter().map(|row| KeyRow { last_used_at: None, ..row }).collect::<Vec<_>>();
        assert_eq!((keys.list(NOW + 5), judge(&keys)), (unused(rows), judged));
    }

    #[test]
    fn a_change_that_only_the_ledger_has_holds_after_opening_again() {
        let dir = tempfile::tempdir().unwrap();
        let (row, secret) = {
            let keys = open(dir.path());
            let (row, secret) = keys.create(&new("laptop"), "uid 7", NOW).unwrap();
            let (before, _) = keys.state.keys();
            let seq = keys.state.keys_ledger_seq();
            keys.revoke(&row.id, "uid 8", NOW + 1).unwrap();
            // As a crash between the two leaves it.
            keys.state.put_key(&row.id, &before[0].1).unwrap();
            keys.state.save_keys(seq).unwrap();
            (row, secret)
        };
        let keys = open(dir.path());
        assert_eq!(keys.verify(secret.expose(), NOW + 1), Err(Denied::KeyRevoked));
        drop(keys);
        {
            let keys = open(dir.path());
            keys.state.keys.insert(&*row.id, b"damaged").unwrap();
            keys.state.save_keys(keys.state.keys_ledger_seq()).unwrap();
        }
        let keys = open(dir.path());
        assert_eq!(keys.verify(secret.expose(), NOW + 1), Err(Denied::KeyRevoked), "what the view lost is read from the ledger");
    }

    #[test]
    fn the_ledger_says_who_did_it_and_nothing_on_disk_has_a_secret() {
        let dir = tempfile::tempdir().unwrap();
        let keys = open(dir.path());
        let (row, first) = keys.create(&new("laptop"), "uid 7", NOW).unwrap();
        let (_, second) = keys.rotate(&row.id, HOUR, "uid 8", NOW).unwrap();
        keys.revoke(&row.id, "uid 9\u{1b}[2J", NOW).unwrap();
        let lines = ledger(&keys);
        for (event, by) in [("key_created", "uid 7"), ("key_rotated", "uid 8"), ("key_revoked", "uid 9")] {
            let of_event: Vec<&String> = lines.iter().filter(|line| line.contains(event)).collect();
            assert!(of_event.len() == 1 && of_event[0].contains(&format!("\"by\":\"{by}")), "{of_event:?}");
        }
        for key in [first, second] {
            let (_, secret) = secret::parse(key.expose()).unwrap();
            assert!(!lines.iter().any(|line| line.contains(secret)));
            assert!(!format!("{keys:?} {row:?}").contains(secret));
        }
    }

    #[test]
    fn a_revocation_holds_even_when_the_ledger_cannot_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let (row, secret) = {
            let keys = open(dir.path());
            let (row, secret) = keys.create(&new("laptop"), "uid 7", NOW).unwrap();
            let key = keys.find(&row.id).unwrap();
            let by = format!("uid 8{UNRECORDED}");
            let record = KeyRecord { revoked_at: Some(NOW), revoked_by: Some(by), ..key.record.clone() };
            keys.state.put_key(&row.id, &record).unwrap();
            keys.put(&row.id, record);
            keys.state.save_keys(keys.state.keys_ledger_seq()).unwrap();
            (row, secret)
        };
        let keys = open(dir.path());
        assert_eq!(keys.verify(secret.expose(), NOW), Err(Denied::KeyRevoked));
        assert_eq!(keys.revoke(&row.id, "uid 8", NOW + 1).unwrap().revoked_by.as_deref(), Some("uid 8"), "now the ledger knows");
        assert!(ledger(&keys).iter().any(|line| line.contains("key_revoked")));
    }

    #[test]
    fn a_use_is_seen_at_once_and_written_once_an_hour() {
        let dir = tempfile::tempdir().unwrap();
        let keys = open(dir.path());
        let (row, secret) = keys.create(&new("laptop"), "uid 7", NOW).unwrap();
        assert_eq!(row.last_used_at, None);
        for (at, written) in [(NOW, NOW), (NOW + HOUR - 1, NOW), (NOW + HOUR, NOW + HOUR), (NOW + 1, NOW + HOUR)] {
            keys.verify(secret.expose(), at).unwrap();
            assert_eq!(keys.state.key_used_at(&row.id), Some(written));
        }
        assert_eq!(keys.list(NOW)[0].last_used_at.as_deref(), Some(&*time::format(NOW + HOUR)));
        let _ = keys.verify(secret.expose(), NOW + 100 * DAY);
        assert_eq!(keys.state.key_used_at(&row.id), Some(NOW + HOUR), "a refused one was not used");
    }

    #[test]
    fn wrong_wishes_are_refused_with_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let keys = open(dir.path());
        for name in ["", ".x", "-x", "a b", "a\n", "é", &"x".repeat(65)] {
            assert!(matches!(keys.create(&new(name), "uid 7", NOW), Err(KeysError::Name(_))), "{name:?}");
        }
        assert!(matches!(keys.create(&NewKey { roles: vec![], ..new("x") }, "uid 7", NOW), Err(KeysError::NoRole)));
        let many = |count: usize, bytes: usize| (0..count).map(|number| format!("{number:0bytes$}")).collect::<Vec<_>>();
        for sensors in [many(33, 3), many(1, 129), many(20, 120), vec![String::new()], vec!["a\u{7}".into()]] {
            assert!(matches!(keys.create(&NewKey { sensors, ..new("x") }, "uid 7", NOW), Err(KeysError::Sensors)));
        }
        keys.create(&NewKey { sensors: many(16, 128), ..new(&"x".repeat(64)) }, &"b".repeat(1000), NOW).unwrap();
        assert!(matches!(keys.create(&new(&"x".repeat(64)), "uid 7", NOW), Err(KeysError::NameTaken(_))));
        let lifetimes =
            [("90d", Ok(90 * DAY)), ("1m", Ok(HOUR / 60)), ("2w", Ok(14 * DAY)), ("59s", Err(())), ("3651d", Err(())), ("+1d", Err(()))];
        for (text, expected) in lifetimes {
            assert_eq!(text.parse::<Lifetime>().map_err(drop), expected.map(Lifetime::For), "{text}");
        }
        assert_eq!("never".parse(), Ok(Lifetime::Never));
        assert_eq!(span("0s"), Some(0));
        for text in ["", "d", "9", "-1d", "1 d", "99999999999999999999d", "9999999999999999w", "1é"] {
            assert_eq!(span(text), None, "{text}");
        }
    }

    #[test]
    fn of_too_many_the_longest_dead_goes_and_none_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let keys = open(dir.path());
        let (dead, _) = keys.create(&new("dead"), "uid 7", NOW).unwrap();
        keys.revoke(&dead.id, "uid 7", NOW).unwrap();
        let template = keys.find(&dead.id).unwrap().record.clone();
        for number in 1..KEYS_MAX {
            // Not by `create`, which waits for the disk.
            keys.put(&format!("{number:010}"), KeyRecord { name: format!("k{number}"), revoked_at: None, ..template.clone() });
        }
        assert_eq!(keys.list(NOW).len(), KEYS_MAX);
        keys.create(&new("last"), "uid 7", NOW).unwrap();
        assert!(keys.find(&dead.id).is_none() && keys.list(NOW).len() == KEYS_MAX);
        assert!(matches!(keys.create(&new("one-more"), "uid 7", NOW), Err(KeysError::TooMany)));
    }

    proptest! {
        /// Whatever stands in a ledger, reading it ends, twice gives the same, and no key lives longer for it.
        #[test]
        fn records_can_be_read_twice(changes in proptest::collection::vec((0u8..3, 0usize..3, 1u32..4, 0i64..100), 0..20)) {
            let mut lines = Vec::new();
            for (kind, id, generation, at) in changes {
                let (hash, at) = (hex(&[generation as u8; 32]), time::format(NOW + at));
                let (event, details) = match kind {
                    0 => (CREATED, serde_json::json!({ "id": id.to_string(), "name": "n", "roles": ["admin"], "hash": hash, "by": "b" })),
                    1 => (ROTATED, serde_json::json!({ "id": id.to_string(), "name": "n", "generation": generation, "hash": hash, "previous_until": at, "by": "b" })),
                    _ => (REVOKED, serde_json::json!({ "id": id.to_string(), "name": "n", "by": "b" })),
                };
                lines.push(serde_json::json!({ "@timestamp": at, "event": event, "details": details }).to_string());
            }
            let mut once = HashMap::new();
            lines.iter().for_each(|line| drop(apply(line.as_bytes(), &mut once)));
            let mut twice = once.clone();
            let revoked = once.values().filter(|record| record.revoked_at.is_some()).count();
            lines.iter().for_each(|line| drop(apply(line.as_bytes(), &mut twice)));
            prop_assert_eq!(twice.values().filter(|record| record.revoked_at.is_some()).count() >= revoked, true);
            prop_assert_eq!(once.len(), twice.len());
        }
    }
}
