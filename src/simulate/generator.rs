//! Plays attackers: sessions begin, overlap and end; their events come out as lines in time order.
//!
//! A session is planned as a whole when it begins (a list of steps with pauses between them) and waits in a heap for its next step.
//! Everything is drawn from the seed and nothing from the clock, so the same options give the same bytes.
use super::event::{Event, Layout, LineWriter, SessionBytes, push_hex, push_number};
use super::lexicon::Lexicon;
use super::plan::Planner;
use super::random::{Random, mix};
use super::session::{Session, Step};
use super::vocabulary as words;
use super::{Shape, Simulation, hostile};
use crate::events::Micros;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Write as _;

/// Events of an average session, by shape: what turns events per second into sessions per second.
const EVENTS_PER_SESSION: [f64; 2] = [6.5, 21.6];

/// The generator: an iterator of lines, or faster, [`Generator::fill`].
pub struct Generator {
    random: Random,
    options: Simulation,
    lexicon: Lexicon,
    sensors: Vec<Sensor>,
    /// When the next session begins; `None` when no more do.
    next_session_at: Option<Micros>,
    sessions_begun: u64,
    /// Microseconds between the beginnings of two sessions, on average.
    session_gap_micros: f64,
    waiting: BinaryHeap<Reverse<(Micros, u32)>>,
    sessions: Vec<Session>,
    free: Vec<u32>,
    writer: LineWriter,
    events: u64,
}

pub(super) struct Sensor {
    pub(super) name: Vec<u8>,
    pub(super) uuid: Vec<u8>,
    pub(super) address: Vec<u8>,
    pub(super) layout: Layout,
    pub(super) connections: u64,
}

impl Generator {
    /// A generator at the beginning of its log. Options out of range are brought into it.
    pub fn new(options: &Simulation) -> Generator {
        let mut options = options.clone();
        options.sensors = options.sensors.clamp(1, 1_000);
        options.attackers = options.attackers.clamp(1, 1_000_000);
        let events_per_second = if options.events_per_second.is_finite() { options.events_per_second.clamp(1e-4, 1e6) } else { 1.0 };
        let shape = options.shape as usize;
        let sensors = (0..options.sensors).map(|index| Sensor::new(&options, index)).collect();
        Generator {
            random: Random::new(mix(options.seed)),
            lexicon: Lexicon::new(&options),
            sensors,
            next_session_at: (options.sessions != Some(0)).then_some(options.start),
            sessions_begun: 0,
            session_gap_micros: 1e6 * EVENTS_PER_SESSION[shape] / events_per_second,
            waiting: BinaryHeap::new(),
            sessions: Vec::new(),
            free: Vec::new(),
            writer: LineWriter::default(),
            events: 0,
            options,
        }
    }

    /// The time of the next line; `None` when the last session has ended.
    pub fn next_time(&self) -> Option<Micros> {
        let step = self.waiting.peek().map(|&Reverse((time, _))| time);
        match (step, self.next_session_at) {
            (Some(step), Some(session)) => Some(step.min(session)),
            (step, session) => step.or(session),
        }
    }

    /// Appends the next `events` lines, each with its newline; returns how many there were left.
    pub fn fill(&mut self, out: &mut Vec<u8>, events: u64) -> u64 {
        (0..events).find(|_| !self.append(out)).unwrap_or(events)
    }

    /// Appends all lines up to and including `time`, at most `events`; returns how many.
    pub fn fill_until(&mut self, out: &mut Vec<u8>, time: Micros, events: u64) -> u64 {
        (0..events).find(|_| self.next_time().is_none_or(|next| next > time) || !self.append(out)).unwrap_or(events)
    }

    /// Lines made so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Appends the next line; false when there is none.
    fn append(&mut self, out: &mut Vec<u8>) -> bool {
        while let Some(at) = self.next_session_at
            && self.waiting.peek().is_none_or(|&Reverse((time, _))| at <= time)
        {
            self.begin_session(at);
        }
        let Some(Reverse((time, slot))) = self.waiting.pop() else { return false };
        let session = &mut self.sessions[slot as usize];
        let step = session.steps[session.next].0;
        session.next += 1;
        if let Some(&(_, pause)) = session.steps.get(session.next) {
            self.waiting.push(Reverse((time + Micros::from(pause.max(1)), slot)));
        } else {
            self.free.push(slot);
        }
        self.write(out, time, slot, step);
        self.events += 1;
        true
    }

    fn begin_session(&mut self, at: Micros) {
        let number = self.sessions_begun;
        self.sessions_begun += 1;
        let more = self.options.sessions.is_none_or(|limit| self.sessions_begun < limit);
        // Uniform between nothing and twice the mean: bursts enough, and no logarithm.
        let gap = f64::from(self.random.next() as u32) / f64::from(u32::MAX) * 2.0 * self.session_gap_micros;
        self.next_session_at = more.then_some(at + gap as Micros);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.sessions.push(Session::empty());
            (self.sessions.len() - 1) as u32
        });
        let Generator { random, options, lexicon, sensors, sessions, .. } = self;
        let session = &mut sessions[slot as usize];
        session.begin(number, at, options, lexicon, sensors, random);
        Planner { session, lexicon, random, options }.plan(number);
        self.waiting.push(Reverse((at, slot)));
    }

    fn write(&mut self, out: &mut Vec<u8>, time: Micros, slot: u32, step: Step) {
        let Generator { writer, sessions, sensors, lexicon, options, .. } = self;
        let session = &sessions[slot as usize];
        let sensor = &sensors[session.sensor as usize];
        if let Step::HostileLine { maker } = step {
            let stamp = writer.stamp(time);
            let text = "stamps and session ids are ASCII";
            hostile::LINES[maker as usize](out, std::str::from_utf8(&stamp).expect(text), std::str::from_utf8(&session.id).expect(text));
            out.push(b'\n');
            return;
        }
        let (kind, arrangement, tunnel) = session.describe(step, time, sensor, lexicon, &mut writer.fields, &mut writer.message);
        let bytes = SessionBytes {
            session: &session.id,
            protocol: if session.telnet { b"telnet" } else { b"ssh" },
            src_ip: &session.src_ip,
            src_port: session.src_port,
            dst_ip: &sensor.address,
            dst_port: session.dst_port(options.shape),
            sensor: &sensor.name,
            uuid: &sensor.uuid,
            system: &session.system,
        };
        writer.write(out, sensor.layout, &Event { kind, arrangement, time, session: &bytes, tunnel });
    }
}

/// Lines without their newline.
impl Iterator for Generator {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        self.append(&mut line).then(|| {
            line.pop();
            line
        })
    }
}

impl Sensor {
    fn new(options: &Simulation, index: u32) -> Sensor {
        let bits = mix(options.seed ^ mix(0x5E45 + u64::from(index)));
        let mut name = words::SENSORS[index as usize % words::SENSORS.len()].as_bytes().to_vec();
        if index as usize >= words::SENSORS.len() {
            let _ = write!(name, "-{}", index as usize / words::SENSORS.len());
        }
        let mut uuid = Vec::with_capacity(36);
        for (place, digits) in [8u32, 4, 4, 4, 12].into_iter().enumerate() {
            if place > 0 {
                uuid.push(b'-');
            }
            push_hex(&mut uuid, mix(bits.wrapping_add(place as u64)), digits);
        }
        let mut address = Vec::new();
        let _ = write!(address, "192.0.2.{}", 10 + index % 240);
        let layout = match options.shape {
            Shape::Legacy => Layout::Y2017,
            Shape::Modern if index % 3 == 1 => Layout::V31,
            Shape::Modern => Layout::Y2026,
        };
        Sensor { name, uuid, address, layout, connections: 0 }
    }
}

/// The address of attacker number `attacker`: from ranges that no host on the Internet has. The first are from the documentation ranges
/// (RFC 5737), the many behind them from benchmarking (RFC 2544) and carrier-grade NAT space (RFC 6598), a few from 2001:db8::/32.
pub(super) fn push_address(out: &mut Vec<u8>, seed: u64, attacker: u64) {
    let bits = mix(seed ^ mix(attacker ^ 0xADD7));
    if bits.is_multiple_of(47) {
        let _ = write!(out, "2001:db8:{:x}::{:x}", (bits >> 8) as u16 | 1, (bits >> 24) as u16 | 1);
        return;
    }
    let low = (bits >> 16) as u32;
    let octets: [u32; 4] = match attacker {
        // 7 is coprime to 254: every address once before any comes again.
        0..762 => match attacker % 3 {
            0 => [198, 51, 100, 1 + (attacker as u32 / 3 * 7 + seed as u32 % 254) % 254],
            1 => [203, 0, 113, 1 + (attacker as u32 / 3 * 7 + seed as u32 % 254) % 254],
            _ => [192, 0, 2, 1 + (attacker as u32 / 3 * 7 + seed as u32 % 254) % 254],
        },
        _ if bits & 0x80 != 0 => [198, 18 + (low >> 16 & 1), low >> 8 & 255, low & 255],
        _ => [100, 64 + (low >> 16 & 63), low >> 8 & 255, low & 255],
    };
    for (place, octet) in octets.into_iter().enumerate() {
        if place > 0 {
            out.push(b'.');
        }
        push_number(out, u64::from(octet));
    }
}
