//! What can be asked of one segment's index, whether it is a sealed sidecar or still live.
use super::blocks::BlockSet;
use super::sidecar::SidecarError;
use super::{BlockMeta, session_name};
use crate::events::act::{Acts, Sequence};
use crate::events::marks::Marks;
use crate::events::{Field, Micros};
use std::ops::RangeInclusive;

/// How often and when events with a term occurred in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermSummary {
    pub count: u64,
    pub first: Micros,
    pub last: Micros,
}

impl TermSummary {
    /// Other events of the same value.
    pub fn add(&mut self, other: TermSummary) {
        self.count += other.count;
        (self.first, self.last) = (self.first.min(other.first), self.last.max(other.last));
    }
}

/// All that one segment knows of a term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TermEntry {
    pub summary: TermSummary,
    /// (index into [`CellTable::cells`], events there), ascending by cell.
    pub cells: Vec<(u32, u32)>,
    pub blocks: BlockSet,
}

/// One session at one sensor in one segment; a session that lies in several segments has an entry in each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEntry {
    /// [`super::session_key`] of its id.
    pub key: u64,
    /// Index into [`CellTable::sensors`].
    pub sensor: u32,
    pub acts: Acts,
    /// Of its commands here, in the order of the segment.
    pub sequence: Sequence,
    pub marks: Marks,
    pub first: Micros,
    pub last: Micros,
    pub blocks: BlockSet,
}

impl SessionEntry {
    pub fn events(&self) -> u64 {
        self.acts.events()
    }

    /// The session id, when the key holds it.
    pub fn name(&self) -> Option<String> {
        session_name(self.key)
    }
}

/// The sensors of a segment and the (sensor, UTC day) pairs that occur in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CellTable {
    pub sensors: Vec<Box<[u8]>>,
    pub cells: Vec<CellRow>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellRow {
    /// Index into [`CellTable::sensors`].
    pub sensor: u32,
    /// Days since 1970-01-01.
    pub day: i32,
    pub events: u64,
}

/// What happened at a sensor within an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActivityRow {
    /// Hours since 1970-01-01.
    pub hour: i32,
    /// Index into [`CellTable::sensors`].
    pub sensor: u32,
    pub acts: Acts,
}

/// Values from `from` up to but without `to`, in the order of their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueRange<'a> {
    pub from: &'a [u8],
    pub to: Option<&'a [u8]>,
}

impl ValueRange<'_> {
    pub const ALL: ValueRange<'static> = ValueRange { from: b"", to: None };

    #[inline]
    pub fn contains(&self, value: &[u8]) -> bool {
        value >= self.from && self.to.is_none_or(|to| value < to)
    }
}

/// The index of one segment. Sealed parts answer in the order of values, live ones in no order.
pub trait IndexPart {
    fn blocks(&self) -> Result<Vec<BlockMeta>, SidecarError>;

    /// How many those are.
    fn blocks_len(&self) -> usize;

    /// Smallest and largest time of its events; `None` without events.
    fn time_span(&self) -> Option<(Micros, Micros)>;

    fn cells(&self) -> Result<CellTable, SidecarError>;

    /// What happened by hour and sensor, ascending by hour.
    fn activity(&self) -> Result<Vec<ActivityRow>, SidecarError>;

    /// Events by the hour (since 1970) they are indexed under, ascending.
    fn hours(&self) -> Result<Vec<(i32, u64)>, SidecarError> {
        let mut hours: Vec<(i32, u64)> = Vec::new();
        for row in self.activity()? {
            match hours.last_mut() {
                Some((hour, events)) if *hour == row.hour => *events += row.acts.events(),
                _ => hours.push((row.hour, row.acts.events())),
            }
        }
        Ok(hours)
    }

    /// How many distinct values `field` has here. No values are kept for [`Field::Session`].
    fn terms_len(&self, field: Field) -> u64;

    fn term(&self, field: Field, value: &[u8]) -> Result<Option<TermEntry>, SidecarError>;

    /// Every value in `range`, without cells and blocks: what top lists read.
    fn each_term(&self, field: Field, range: ValueRange<'_>, each: &mut dyn FnMut(&[u8], TermSummary)) -> Result<(), SidecarError>;

    /// Every value in `range` that `keep` accepts, with all that is known of it.
    fn each_entry(
        &self,
        field: Field,
        range: ValueRange<'_>,
        keep: &mut dyn FnMut(&[u8]) -> bool,
        each: &mut dyn FnMut(&[u8], &TermEntry),
    ) -> Result<(), SidecarError>;

    /// The entries of a session, one per sensor.
    fn session(&self, key: u64) -> Result<Vec<SessionEntry>, SidecarError>;

    fn each_session(&self, each: &mut dyn FnMut(&SessionEntry)) -> Result<(), SidecarError>;

    /// Key, sensor and first time of every entry: less to read than all of it.
    fn each_session_start(&self, each: &mut dyn FnMut(u64, u32, Micros)) -> Result<(), SidecarError> {
        self.each_session(&mut |entry| each(entry.key, entry.sensor, entry.first))
    }

    /// The key of every entry with such a key.
    fn each_session_key(&self, keys: RangeInclusive<u64>, each: &mut dyn FnMut(u64)) -> Result<(), SidecarError>;

    /// The entries with these keys, which ascend.
    fn sessions_among(&self, keys: &[u64], each: &mut dyn FnMut(&SessionEntry)) -> Result<(), SidecarError>;

    /// Keys that cut the sessions into stretches of some hundred, ascending; none for a live part.
    fn each_session_split(&self, _each: &mut dyn FnMut(u64)) -> Result<(), SidecarError> {
        Ok(())
    }

    /// Values that cut the field's dictionary into stretches of some hundred terms, ascending; none for a live part.
    fn each_split(&self, _field: Field, _each: &mut dyn FnMut(&[u8])) -> Result<(), SidecarError> {
        Ok(())
    }

    /// All of the field's dictionary is about to be read.
    fn will_need(&self, _field: Field) {}

    /// A value is about to be looked up. Said of many parts before the first is asked, a disk serves all at once.
    fn will_look_up(&self, _field: Field, _value: &[u8], _step: LookUp) {}
}

/// What a look-up reads, in this order: each tells where the next is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookUp {
    PageTable,
    Page,
}

impl LookUp {
    pub const ALL: [LookUp; 2] = [LookUp::PageTable, LookUp::Page];
}
