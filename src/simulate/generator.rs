//! Plays attackers: sessions begin, overlap and end; their events come out as lines in time order.
//!
//! A session is planned as a whole when it begins (a list of steps with pauses between them) and waits in a heap for its next step.
//! Everything is drawn from the seed and nothing from the clock, so the same options give the same bytes.
use super::event::{Arrangement, Event, Layout, LineWriter, SessionBytes, push_hex, push_number, put};
use super::hostile;
use super::random::{Random, Weighted, mix};
use super::vocabulary as words;
use super::vocabulary::Escaped;
use super::{Shape, Simulation};
use crate::events::Micros;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Write as _;

/// Events of an average session, by shape: what turns events per second into sessions per second.
const EVENTS_PER_SESSION: [f64; 2] = [6.33, 20.5];
/// User names and passwords are drawn from this many ranks, by Zipf's law.
const USERNAME_RANKS: u32 = 600;
const PASSWORD_RANKS: u32 = 12_000;
/// In hostile mode one value in this many is from the menu, and every so many events a whole line is.
const HOSTILE_VALUE_ONE_IN: u32 = 12;
const HOSTILE_LINE_EVERY: u64 = 500;
/// Marks an index as one into the hostile values.
const HOSTILE: u32 = 1 << 31;

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

struct Lexicon {
    usernames: Escaped,
    passwords: Escaped,
    versions: Escaped,
    aliens: Escaped,
    commands: Escaped,
    droppers: Escaped,
    tunnel_data: Escaped,
    hostile: Vec<Box<[u8]>>,
    /// Rendered once: `"hassh":…,"langCS":[""],` and the two algorithm lists of 2017, per client.
    kex: Vec<Box<[u8]>>,
    algorithms_2017: Vec<Box<[u8]>>,
    hassh: Vec<[u8; 32]>,
    /// First command and number of commands of each robot script, in `commands`.
    robots: Vec<(u32, u32)>,
    typed: (u32, u32),
    unlock: u32,
    loader: Vec<(u32, Vec<u32>)>,
    username_ranks: Weighted,
    password_ranks: Weighted,
    attackers: Weighted,
    clients: Weighted,
    habits: Weighted,
}

struct Sensor {
    name: Vec<u8>,
    uuid: Vec<u8>,
    address: Vec<u8>,
    layout: Layout,
    connections: u64,
}

/// What an attacker is there for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Habit {
    Scan,
    Probe,
    Guess,
    LogIn,
    Robot,
    KeyInstall,
    Drop,
    Tunnel,
    Visit,
    OfferKeys,
}

/// Habits and how common they are among sessions of 2026, then of 2017.
const HABITS: &[(Habit, [f64; 2])] = &[
    (Habit::Scan, [9.0, 35.0]),
    (Habit::Probe, [4.5, 3.0]),
    (Habit::Guess, [39.0, 22.0]),
    (Habit::LogIn, [10.0, 4.0]),
    (Habit::Robot, [19.0, 23.0]),
    (Habit::KeyInstall, [3.0, 0.1]),
    (Habit::Drop, [1.5, 3.0]),
    (Habit::Tunnel, [12.0, 8.0]),
    (Habit::Visit, [1.0, 1.8]),
    (Habit::OfferKeys, [1.0, 0.1]),
];

#[derive(Clone, Copy)]
enum Step {
    Connect,
    Version,
    Kex,
    Key { username: u32 },
    KeyRefused { username: u32 },
    Login { username: u32, password: u32, success: bool },
    Size,
    Variable { index: u32 },
    Params,
    LogOpen,
    Input { command: u32 },
    Found { command: u32 },
    NotFound { command: u32 },
    Download { host: u32, file: u32 },
    DownloadFailed { host: u32, file: u32 },
    Redirected,
    Upload { file: u32 },
    LogClosed { work: u32, opened_after: u32 },
    TunnelRequest { index: u32 },
    TunnelFingerprint { index: u32, bits: u32 },
    TunnelData { index: u32, id: u32 },
    Exploit { cve: u32 },
    Closed,
    HostileLine,
}

struct Session {
    id: [u8; 12],
    sensor: u32,
    src_ip: Vec<u8>,
    src_port: u16,
    telnet: bool,
    client: u32,
    /// Index of what was sent instead of a version, if so.
    alien: Option<u32>,
    /// Host and file of this session's downloads, for commands that name them.
    drop: (u32, u32),
    number: u64,
    began: Micros,
    steps: Vec<(Step, u32)>,
    next: usize,
    system: Vec<u8>,
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
        if let Step::HostileLine = step {
            let stamp = writer.stamp(time);
            let maker = hostile::LINES[(session.number / HOSTILE_LINE_EVERY) as usize % hostile::LINES.len()];
            maker(out, std::str::from_utf8(&stamp).expect("a stamp is ASCII"), std::str::from_utf8(&session.id).expect("an id is ASCII"));
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
fn push_address(out: &mut Vec<u8>, seed: u64, attacker: u64) {
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

impl Lexicon {
    fn new(options: &Simulation) -> Lexicon {
        let mut commands: Vec<&str> = Vec::new();
        let robots = words::ROBOT_SCRIPTS
            .iter()
            .map(|script| {
                let first = commands.len() as u32;
                commands.extend_from_slice(script);
                (first, script.len() as u32)
            })
            .collect();
        let typed = (commands.len() as u32, words::TYPED.len() as u32);
        commands.extend_from_slice(words::TYPED);
        let unlock = commands.len() as u32;
        commands.extend([words::KEY_INSTALL_UNLOCK, words::KEY_INSTALL_UNKNOWN, words::KEY_INSTALL]);
        let mut loader = Vec::new();
        for (line, found) in words::LOADER_2017 {
            let input = commands.len() as u32;
            commands.push(line);
            loader.push((input, (input + 1..=input + found.len() as u32).collect()));
            commands.extend_from_slice(found);
        }
        let (mut kex, mut hassh, mut algorithms_2017) = (Vec::new(), Vec::new(), Vec::new());
        for client in words::CLIENTS {
            let algorithms = [client.kex, client.ciphers, client.macs, client.compression].map(|list| list.join(",")).join(";");
            // Not the MD5 that a real hassh is: a simulated fingerprint must not be taken for a real client's.
            let digest = blake3::hash(algorithms.as_bytes()).to_hex();
            let mut fingerprint = [0; 32];
            fingerprint.copy_from_slice(&digest.as_bytes()[..32]);
            hassh.push(fingerprint);
            let list = |list: &[&str]| serde_json::to_string(list).expect("a list of strings is always JSON");
            kex.push(
                format!(
                    "\"hassh\":\"{}\",\"hasshAlgorithms\":\"{algorithms}\",\"kexAlgs\":{},\"keyAlgs\":{},\"encCS\":{},\"macCS\":{},\"compCS\":{},\"langCS\":[\"\"],",
                    &digest[..32],
                    list(client.kex),
                    list(client.keys),
                    list(client.ciphers),
                    list(client.macs),
                    list(client.compression)
                )
                .into_bytes()
                .into(),
            );
            let spaced = |values: &[&str]| list(values).replace("\",\"", "\", \"");
            algorithms_2017.push(
                format!(
                    "\"macCS\": {}, \"kexAlgs\": {}, \"keyAlgs\": {}, \"compCS\": {}, \"encCS\": {}, ",
                    spaced(client.macs),
                    spaced(client.kex),
                    spaced(client.keys),
                    spaced(client.compression),
                    spaced(client.ciphers)
                )
                .into_bytes()
                .into(),
            );
        }
        Lexicon {
            usernames: Escaped::new(words::USERNAMES.iter().copied()),
            passwords: Escaped::new(words::PASSWORDS.iter().copied()),
            versions: Escaped::new(words::CLIENTS.iter().map(|client| client.version)),
            aliens: Escaped::new(words::ALIEN_VERSIONS.iter().copied()),
            commands: Escaped::new(commands),
            droppers: Escaped::new(words::DROPPER_SCRIPTS.iter().copied()),
            tunnel_data: Escaped::new(words::TUNNELS.iter().map(|&(_, _, data)| data)),
            hostile: if options.hostile { hostile::values() } else { Vec::new() },
            kex,
            algorithms_2017,
            hassh,
            robots,
            typed,
            unlock,
            loader,
            username_ranks: Weighted::zipf(USERNAME_RANKS, 1.0),
            password_ranks: Weighted::zipf(PASSWORD_RANKS, 8.0),
            attackers: Weighted::zipf(options.attackers, 4.0),
            clients: Weighted::new(&words::CLIENTS.iter().map(|client| client.weight).collect::<Vec<_>>()),
            habits: Weighted::new(&HABITS.iter().map(|(_, weights)| weights[options.shape as usize]).collect::<Vec<_>>()),
        }
    }

    fn username(&self, out: &mut Vec<u8>, index: u32) {
        match self.hostile_value(index) {
            Some(value) => out.extend_from_slice(value),
            None => words::push_username(out, &self.usernames, index),
        }
    }

    fn password(&self, out: &mut Vec<u8>, index: u32) {
        match self.hostile_value(index) {
            Some(value) => out.extend_from_slice(value),
            None => words::push_password(out, &self.passwords, index),
        }
    }

    /// A command; `{host}` and `{file}` stand for the session's download.
    fn command(&self, out: &mut Vec<u8>, index: u32, drop: (u32, u32)) {
        if let Some(value) = self.hostile_value(index) {
            return out.extend_from_slice(value);
        }
        let mut rest = match index.checked_sub(self.commands.len()) {
            None => self.commands.get(index),
            Some(dropper) => self.droppers.get(dropper),
        };
        while let Some(brace) = memchr::memchr(b'{', rest) {
            out.extend_from_slice(&rest[..brace]);
            rest = &rest[brace..];
            if let Some(after) = rest.strip_prefix(b"{host}") {
                put!(out, words::DROP_HOSTS[drop.0 as usize % words::DROP_HOSTS.len()]);
                rest = after;
            } else if let Some(after) = rest.strip_prefix(b"{file}") {
                put!(out, words::DROP_FILES[drop.1 as usize % words::DROP_FILES.len()]);
                rest = after;
            } else {
                out.push(b'{');
                rest = &rest[1..];
            }
        }
        out.extend_from_slice(rest);
    }

    fn hostile_value(&self, index: u32) -> Option<&[u8]> {
        let index = (index & HOSTILE != 0).then_some(index & !HOSTILE)?;
        self.hostile.get(index as usize).map(|value| &value[..])
    }
}

impl Session {
    fn empty() -> Session {
        Session {
            id: [b'0'; 12],
            sensor: 0,
            src_ip: Vec::new(),
            src_port: 0,
            telnet: false,
            client: 0,
            alien: None,
            drop: (0, 0),
            number: 0,
            began: 0,
            steps: Vec::new(),
            next: 0,
            system: Vec::new(),
        }
    }

    fn begin(
        &mut self,
        number: u64,
        at: Micros,
        options: &Simulation,
        lexicon: &Lexicon,
        sensors: &mut [Sensor],
        random: &mut Random,
    ) {
        let rank = u64::from(lexicon.attackers.draw(random));
        // A third of the addresses is new every day: the number of distinct ones grows with the log, as it does in life.
        let day = (at - options.start).max(0) as u64 / crate::events::time::MICROS_PER_DAY as u64;
        let attacker = if random.percent(33) { 762 + rank + (day + 1) * u64::from(options.attackers) } else { rank };
        let character = mix(options.seed ^ mix(attacker));
        // An odd factor and an XOR permute the 48-bit numbers: no id comes twice.
        let id = (number ^ mix(options.seed) & 0xFFFF_FFFF_FFFF).wrapping_mul(0x9E37_79B9_7F4B) & 0xFFFF_FFFF_FFFF;
        let id = (id ^ id >> 23).wrapping_mul(0xD1B5_4A32_D193) & 0xFFFF_FFFF_FFFF;
        let mut text = Vec::with_capacity(12);
        push_hex(&mut text, id ^ id >> 25, 12);
        self.id.copy_from_slice(&text);
        self.src_ip.clear();
        push_address(&mut self.src_ip, options.seed, attacker);
        self.src_port = random.between(1_024, 65_536) as u16;
        self.sensor = random.below(options.sensors);
        self.telnet = character >> 20 & 15 < if options.shape == Shape::Legacy { 10 } else { 1 };
        self.client = lexicon.clients.draw(&mut Random::new(character));
        self.alien = None;
        self.drop = (((character >> 32) & 7) as u32, ((character >> 40) & 15) as u32);
        self.number = number;
        self.began = at;
        self.steps.clear();
        self.next = 0;
        let sensor = &mut sensors[self.sensor as usize];
        self.system.clear();
        put!(self.system, if self.telnet { "CowrieTelnetTransport," } else { "HoneyPotSSHTransport," });
        push_number(&mut self.system, sensor.connections);
        put!(self.system, ",", &self.src_ip);
        sensor.connections += 1;
    }

    fn dst_port(&self, shape: Shape) -> u16 {
        match (shape, self.telnet) {
            (Shape::Modern, false) => 22,
            (Shape::Modern, true) => 23,
            (Shape::Legacy, false) => 2222,
            (Shape::Legacy, true) => 2223,
        }
    }

    /// Writes what `step` says: fields of its kind and message; returns kind, arrangement and where a tunnel leads.
    fn describe(
        &self,
        step: Step,
        time: Micros,
        sensor: &Sensor,
        lexicon: &Lexicon,
        fields: &mut Vec<u8>,
        message: &mut Vec<u8>,
    ) -> (&'static str, Arrangement, (&'static [u8], u16)) {
        let spaced = sensor.layout == Layout::Y2017;
        let (is, then): (&str, &str) = if spaced { (": ", ", ") } else { (":", ",") };
        let mut arrangement = Arrangement::Common;
        let mut tunnel: (&'static [u8], u16) = (b"", 0);
        // `"key":"…",` with the value written by a function, into the fields and then the message.
        macro_rules! text {
            ($out:expr, $key:literal, $value:expr) => {{
                put!($out, "\"", $key, "\"", is, "\"");
                $value;
                put!($out, "\"", then);
            }};
        }
        macro_rules! number {
            ($key:literal, $value:expr) => {{
                put!(fields, "\"", $key, "\"", is);
                push_number(fields, $value);
                put!(fields, then);
            }};
        }
        let kind = match step {
            Step::Connect => {
                arrangement = Arrangement::Connect;
                put!(message, "New connection: ", &self.src_ip, ":");
                push_number(message, u64::from(self.src_port));
                put!(message, " (", &sensor.address, ":");
                push_number(message, u64::from(self.dst_port(if spaced { Shape::Legacy } else { Shape::Modern })));
                put!(message, ") [session: ", &self.id, "]");
                "cowrie.session.connect"
            }
            Step::Version => {
                let version = match self.alien {
                    Some(index) => lexicon.hostile_value(index).unwrap_or_else(|| lexicon.aliens.get(index & !HOSTILE)),
                    None => lexicon.versions.get(self.client),
                };
                text!(fields, "version", put!(fields, version));
                if spaced {
                    put!(fields, &lexicon.algorithms_2017[self.client as usize]);
                }
                put!(message, "Remote SSH version: ", version);
                "cowrie.client.version"
            }
            Step::Kex => {
                put!(fields, &lexicon.kex[self.client as usize]);
                put!(message, "SSH client hassh fingerprint: ", &lexicon.hassh[self.client as usize]);
                "cowrie.client.kex"
            }
            Step::Key { username } | Step::KeyRefused { username } => {
                let bits = mix(u64::from(self.client) ^ u64::from(self.drop.1) << 8);
                let mut fingerprint = [b':'; 47];
                for pair in 0..16 {
                    let byte = mix(bits.wrapping_add(pair)) as u8;
                    fingerprint[pair as usize * 3] = b"0123456789abcdef"[byte as usize >> 4];
                    fingerprint[pair as usize * 3 + 1] = b"0123456789abcdef"[byte as usize & 15];
                }
                text!(fields, "username", lexicon.username(fields, username));
                text!(fields, "fingerprint", put!(fields, &fingerprint));
                text!(fields, "key", {
                    put!(fields, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI");
                    for place in 0..42 {
                        fields.push(KEY_ALPHABET[mix(bits.wrapping_add(100 + place)) as usize & 63]);
                    }
                });
                text!(fields, "type", put!(fields, "ssh-ed25519"));
                if let Step::KeyRefused { .. } = step {
                    put!(message, "public key login attempt for [");
                    lexicon.username(message, username);
                    put!(message, "] failed");
                    "cowrie.login.failed"
                } else {
                    put!(message, "public key attempt for user ");
                    lexicon.username(message, username);
                    put!(message, " of type ssh-ed25519 with fingerprint ", &fingerprint);
                    "cowrie.client.fingerprint"
                }
            }
            Step::Login { username, password, success } => {
                text!(fields, "username", lexicon.username(fields, username));
                text!(fields, "password", lexicon.password(fields, password));
                put!(message, "login attempt [");
                lexicon.username(message, username);
                message.push(b'/');
                lexicon.password(message, password);
                put!(message, if success { "] succeeded" } else { "] failed" });
                if success { "cowrie.login.success" } else { "cowrie.login.failed" }
            }
            Step::Size => {
                let (width, height) = (80 + self.number % 5 * 20, 24 + self.number % 3 * 8);
                number!("width", width);
                number!("height", height);
                let _ = write!(message, "Terminal Size: {width} {height}");
                "cowrie.client.size"
            }
            Step::Variable { index } => {
                let (name, value) = words::ENVIRONMENT[(index & !HOSTILE) as usize % words::ENVIRONMENT.len()];
                let value = lexicon.hostile_value(index).unwrap_or(value.as_bytes());
                text!(fields, "name", put!(fields, name));
                text!(fields, "value", put!(fields, value));
                put!(message, "request_env: ", name, "=", value);
                "cowrie.client.var"
            }
            Step::Params => {
                arrangement = Arrangement::Params;
                let arch = words::ARCHITECTURES[if self.drop.1 < 13 { 0 } else { self.drop.0 as usize % 4 }];
                text!(fields, "arch", put!(fields, arch));
                "cowrie.session.params"
            }
            Step::LogOpen => {
                put!(message, "Opening TTY Log: log/tty/", &self.id, ".log");
                text!(fields, "ttylog", put!(fields, "log/tty/", &self.id, ".log"));
                "cowrie.log.open"
            }
            Step::Input { command } | Step::Found { command } | Step::NotFound { command } => {
                text!(fields, "input", lexicon.command(fields, command, self.drop));
                let (opening, kind) = match step {
                    Step::Input { .. } => ("CMD: ", "cowrie.command.input"),
                    Step::Found { .. } => ("Command found: ", "cowrie.command.success"),
                    _ => ("Command not found: ", "cowrie.command.failed"),
                };
                put!(message, opening);
                lexicon.command(message, command, self.drop);
                kind
            }
            Step::Download { host, file } => {
                let shasum = shasum(u64::from(host) << 32 | u64::from(file));
                text!(fields, "url", push_url(fields, lexicon, host, file));
                text!(fields, "outfile", put!(fields, "var/lib/cowrie/downloads/", &shasum));
                text!(fields, "shasum", put!(fields, &shasum));
                put!(message, "Downloaded URL (");
                push_url(message, lexicon, host, file);
                put!(message, ") with SHA-256 ", &shasum, " to var/lib/cowrie/downloads/", &shasum);
                "cowrie.session.file_download"
            }
            Step::DownloadFailed { host, file } => {
                text!(fields, "url", push_url(fields, lexicon, host, file));
                put!(message, "Attempt to download file(s) from URL (");
                push_url(message, lexicon, host, file);
                put!(message, ") failed");
                "cowrie.session.file_download.failed"
            }
            Step::Redirected => {
                let shasum = shasum(0x6B65_7973);
                put!(fields, "\"duplicate\"", is, if self.number == 0 { "false" } else { "true" }, then);
                text!(fields, "outfile", put!(fields, "var/lib/cowrie/downloads/", &shasum));
                text!(fields, "shasum", put!(fields, &shasum));
                text!(fields, "destfile", put!(fields, "/root/.ssh/authorized_keys"));
                put!(message, "Saved redir contents with SHA-256 ", &shasum, " to var/lib/cowrie/downloads/", &shasum);
                "cowrie.session.file_download"
            }
            Step::Upload { file } => {
                let shasum = shasum(0xF11E << 32 | u64::from(file & !HOSTILE));
                let name = words::DROP_FILES[(file & !HOSTILE) as usize % words::DROP_FILES.len()].as_bytes();
                let name = lexicon.hostile_value(file).unwrap_or(name);
                text!(fields, "filename", put!(fields, name));
                text!(fields, "outfile", put!(fields, "var/lib/cowrie/downloads/", &shasum));
                text!(fields, "shasum", put!(fields, &shasum));
                put!(message, "SFTP Uploaded file \\\"", name, "\\\" to var/lib/cowrie/downloads/", &shasum);
                "cowrie.session.file_upload"
            }
            Step::LogClosed { work, opened_after } => {
                let tty = shasum(0x77 << 40 | u64::from(work));
                let open_for = (time - self.began - Micros::from(opened_after)).max(0) as u64;
                if spaced {
                    text!(fields, "ttylog", put!(fields, "log/tty/", &self.id, ".log"));
                } else {
                    text!(fields, "ttylog", put!(fields, "var/lib/cowrie/tty/", &tty));
                }
                number!("size", mix(u64::from(work)) % 4_000 + 40);
                if !spaced {
                    text!(fields, "shasum", put!(fields, &tty));
                    put!(fields, "\"duplicate\"", is, if work.is_multiple_of(8) { "false" } else { "true" }, then);
                }
                push_duration(fields, sensor.layout, open_for);
                put!(message, "Closing TTY Log: ");
                if spaced {
                    put!(message, "log/tty/", &self.id, ".log");
                } else {
                    put!(message, "var/lib/cowrie/tty/", &tty);
                }
                put!(message, " after ");
                push_duration_words(message, sensor.layout, open_for);
                "cowrie.log.closed"
            }
            Step::TunnelRequest { index } => {
                arrangement = Arrangement::TunnelRequest;
                let (host, port, _) = words::TUNNELS[index as usize % words::TUNNELS.len()];
                tunnel = (host.as_bytes(), port);
                if spaced {
                    number!("src_port", u64::from(self.src_port));
                }
                let _ = write!(message, "direct-tcp connection request to {host}:{port} from 127.0.0.1:{}", self.src_port);
                "cowrie.direct-tcpip.request"
            }
            Step::TunnelFingerprint { index, bits } => {
                arrangement = Arrangement::Tunnel;
                let (host, port, _) = words::TUNNELS[index as usize % words::TUNNELS.len()];
                tunnel = (host.as_bytes(), port);
                let bits = mix(u64::from(bits));
                let mut print = [0u8; 40];
                let mut rest = &mut print[..];
                let tls = port == 443;
                let _ = if tls {
                    write!(rest, "t13d{:02}12h2_{:012x}_{:012x}", 10 + bits % 40, bits >> 16, mix(bits) >> 16)
                } else {
                    write!(rest, "ge11nn{:02}0000_{:012x}_{:012x}", 2 + bits % 8, bits >> 16, 0)
                };
                let unused = rest.len();
                let print = &print[..print.len() - unused];
                if tls {
                    text!(fields, "ja4", put!(fields, print));
                    let _ = write!(message, "JA4 fingerprint for forwarded TLS to {host}:{port}: ");
                } else {
                    text!(fields, "ja4h", put!(fields, print));
                    let _ = write!(message, "JA4H fingerprint for forwarded HTTP to {host}:{port}: ");
                }
                put!(message, print);
                if tls { "cowrie.direct-tcpip.ja4" } else { "cowrie.direct-tcpip.ja4h" }
            }
            Step::TunnelData { index, id } => {
                arrangement = Arrangement::Tunnel;
                let (host, port, _) = words::TUNNELS[(index & !HOSTILE) as usize % words::TUNNELS.len()];
                tunnel = (host.as_bytes(), port);
                let data = lexicon.hostile_value(index).unwrap_or_else(|| lexicon.tunnel_data.get(index & !HOSTILE));
                text!(fields, "data", put!(fields, data));
                number!("id", u64::from(id));
                let _ = write!(message, "discarded direct-tcp forward request {id} to {host}:{port} with data ");
                put!(message, data);
                "cowrie.direct-tcpip.data"
            }
            Step::Exploit { cve } => {
                let cve = words::CVES[cve as usize % words::CVES.len()];
                text!(fields, "cve", put!(fields, cve));
                text!(fields, "name", put!(fields, "USER"));
                text!(fields, "value", put!(fields, "-f root"));
                put!(message, cve, " exploit attempt: USER=-f root");
                "cowrie.telnet.exploit_attempt"
            }
            Step::Closed => {
                let lasted = (time - self.began).max(0) as u64;
                push_duration(fields, sensor.layout, lasted);
                put!(message, "Connection lost after ");
                push_duration_words(message, sensor.layout, lasted);
                "cowrie.session.closed"
            }
            Step::HostileLine => unreachable!("hostile lines are written whole"),
        };
        (kind, arrangement, tunnel)
    }
}

const KEY_ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn push_url(out: &mut Vec<u8>, lexicon: &Lexicon, host: u32, file: u32) {
    put!(out, "http://", words::DROP_HOSTS[host as usize % words::DROP_HOSTS.len()], "/");
    match lexicon.hostile_value(file) {
        Some(value) => put!(out, value),
        None => {
            put!(out, words::DROP_FILES[file as usize % words::DROP_FILES.len()]);
            // Campaigns change their file names: the tail of distinct URLs and hashes.
            if file >= 16 {
                out.push(b'.');
                push_number(out, u64::from(file));
            }
        }
    }
}

/// A made-up SHA-256.
fn shasum(of: u64) -> [u8; 64] {
    let mut digits = [0; 64];
    for (part, chunk) in digits.chunks_exact_mut(16).enumerate() {
        let bits = mix(of.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(part as u64));
        for (place, digit) in chunk.iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(bits >> (place * 4)) as usize & 15];
        }
    }
    digits
}

/// The three forms `duration` has had: a float, a string of tenths, whole milliseconds.
fn push_duration(out: &mut Vec<u8>, layout: Layout, micros: u64) {
    match layout {
        Layout::Y2017 => {
            let _ = write!(out, "\"duration\": {}.{:06}, ", micros / 1_000_000, micros % 1_000_000);
        }
        Layout::Y2026 => {
            put!(out, "\"duration\":\"");
            push_tenths(out, micros);
            put!(out, "\",");
        }
        Layout::V31 => {
            put!(out, "\"duration_ms\":");
            push_number(out, micros / 1_000);
            out.push(b',');
        }
    }
}

fn push_duration_words(out: &mut Vec<u8>, layout: Layout, micros: u64) {
    match layout {
        Layout::Y2017 => {
            push_number(out, micros / 1_000_000);
            put!(out, " seconds");
        }
        Layout::Y2026 => {
            push_tenths(out, micros);
            put!(out, " seconds");
        }
        Layout::V31 => {
            push_number(out, micros / 1_000);
            put!(out, " milliseconds");
        }
    }
}

fn push_tenths(out: &mut Vec<u8>, micros: u64) {
    let tenths = (micros + 50_000) / 100_000;
    push_number(out, tenths / 10);
    out.push(b'.');
    push_number(out, tenths % 10);
}

/// Writes the plan of one session.
struct Planner<'a> {
    session: &'a mut Session,
    lexicon: &'a Lexicon,
    random: &'a mut Random,
    options: &'a Simulation,
}

impl Planner<'_> {
    fn plan(&mut self, number: u64) {
        let character = mix(self.options.seed ^ mix(u64::from(self.session.client) ^ u64::from(self.session.src_port)));
        let habit = HABITS[self.lexicon.habits.draw(self.random) as usize].0;
        self.after(0, 1, Step::Connect);
        if self.options.hostile && number.is_multiple_of(HOSTILE_LINE_EVERY / 6) {
            self.session.number = number / (HOSTILE_LINE_EVERY / 6) * HOSTILE_LINE_EVERY;
            self.network(Step::HostileLine);
        }
        match habit {
            Habit::Scan => self.scan(),
            _ if self.session.telnet => self.telnet(habit),
            _ => {
                self.after(2_000, 400_000, Step::Version);
                if self.options.shape == Shape::Modern {
                    self.after(1_000, 250_000, Step::Kex);
                }
                self.ssh(habit, character);
            }
        }
        self.network(Step::Closed);
    }

    fn ssh(&mut self, habit: Habit, character: u64) {
        match habit {
            Habit::Scan | Habit::Probe => (),
            Habit::Guess => self.guesses(),
            Habit::LogIn => self.log_in(),
            Habit::Robot => {
                self.log_in();
                let (first, count) = self.lexicon.robots[self.pick(self.lexicon.robots.len() as u32, character) as usize];
                for command in first..first + count {
                    self.channel(command, |_| ());
                }
            }
            Habit::KeyInstall => {
                self.log_in();
                let unlock = self.lexicon.unlock;
                self.channel(unlock, |planner| planner.after(200, 3_000, Step::NotFound { command: unlock + 1 }));
                self.channel(unlock + 2, |planner| planner.after(200, 9_000, Step::Redirected));
            }
            Habit::Drop => self.drop(),
            Habit::Tunnel => {
                self.log_in();
                let index = self.pick(words::TUNNELS.len() as u32, character);
                for id in 0..1 + self.random.below(4) * self.random.below(2) {
                    self.network(Step::TunnelRequest { index });
                    if self.options.shape == Shape::Modern && matches!(words::TUNNELS[index as usize].1, 80 | 443) {
                        let bits = self.random.below(40);
                        self.network(Step::TunnelFingerprint { index, bits });
                    }
                    if self.random.percent(70) {
                        let index = self.or_hostile(index);
                        self.network(Step::TunnelData { index, id });
                    }
                }
            }
            Habit::Visit => self.visit(),
            Habit::OfferKeys => {
                let username = self.username();
                for _ in 0..1 + self.random.below(3) {
                    self.network(Step::Key { username });
                    self.after(300, 2_000, Step::KeyRefused { username });
                }
            }
        }
    }

    fn scan(&mut self) {
        if self.random.percent(25) && !self.session.telnet {
            let alien = self.random.below(self.lexicon.aliens.len());
            self.session.alien = Some(self.or_hostile(alien));
            self.after(1_000, 200_000, Step::Version);
        }
    }

    fn telnet(&mut self, habit: Habit) {
        match habit {
            Habit::Guess => self.guesses(),
            Habit::Scan | Habit::Probe => {
                if self.options.shape == Shape::Modern && self.random.percent(40) {
                    let cve = self.random.below(words::CVES.len() as u32);
                    self.network(Step::Exploit { cve });
                }
            }
            _ if self.options.shape == Shape::Legacy => {
                self.log_in();
                self.network(Step::LogOpen);
                let opened_after = self.planned();
                for round in 0..1 + self.random.below(3) {
                    for entry in 0..self.lexicon.loader.len() {
                        let command = self.or_hostile(self.lexicon.loader[entry].0);
                        self.after(20_000, 900_000, Step::Input { command });
                        for found in 0..self.lexicon.loader[entry].1.len() {
                            let command = self.lexicon.loader[entry].1[found];
                            self.after(3_000, 15_000, Step::Found { command });
                        }
                        if self.lexicon.loader[entry].1.is_empty() || round > 0 && entry % 4 == 0 {
                            self.after(3_000, 15_000, Step::NotFound { command });
                        }
                    }
                }
                let work = self.random.below(1 << 20);
                self.network(Step::LogClosed { work, opened_after });
            }
            _ => self.drop(),
        }
    }

    fn guesses(&mut self) {
        // Half of those who fail leave at once; the rest walk a dictionary, as far as the server lets them.
        let attempts = if self.random.percent(88) { 1 } else { 2 + self.random.below(6) };
        let username = self.username();
        for _ in 0..attempts {
            let password = self.password();
            self.after(200_000, 1_800_000, Step::Login { username, password, success: false });
        }
    }

    fn log_in(&mut self) {
        let username = self.username();
        if self.random.percent(4) {
            let password = self.password();
            self.network(Step::Login { username, password, success: false });
        }
        let password = self.password();
        self.network(Step::Login { username, password, success: true });
    }

    fn drop(&mut self) {
        self.log_in();
        let command = self.lexicon.commands.len() + self.random.below(self.lexicon.droppers.len());
        let (host, file) = (self.session.drop.0, self.session.drop.1 + 16 * self.random.below(6) * self.random.below(2));
        let (file, failed) = (self.or_hostile(file), self.random.percent(15));
        let downloads = 1 + self.random.below(4);
        let upload = self.random.percent(10);
        self.channel(command, |planner| {
            for _ in 0..downloads {
                let step = if failed { Step::DownloadFailed { host, file } } else { Step::Download { host, file } };
                planner.after(80_000, 2_500_000, step);
            }
            if upload {
                let file = planner.or_hostile(file & !HOSTILE);
                planner.network(Step::Upload { file });
            }
        });
    }

    fn visit(&mut self) {
        self.log_in();
        self.network(Step::Size);
        let index = self.random.below(words::ENVIRONMENT.len() as u32);
        let index = self.or_hostile(index);
        self.after(100, 4_000, Step::Variable { index });
        if self.options.shape == Shape::Modern {
            self.after(100, 900, Step::Params);
        } else {
            self.after(100, 900, Step::LogOpen);
        }
        let opened_after = self.planned();
        for _ in 0..3 + self.random.below(25) {
            let command = self.lexicon.typed.0 + self.random.below(self.lexicon.typed.1);
            let command = self.or_hostile(command);
            self.after(700_000, 14_000_000, Step::Input { command });
            if self.random.percent(12) {
                self.after(100, 900, Step::NotFound { command });
            }
        }
        let work = self.random.below(1 << 24);
        self.network(Step::LogClosed { work, opened_after });
    }

    /// One `exec` channel: parameters, the command, what came of it, the closed log.
    fn channel(&mut self, command: u32, then: impl FnOnce(&mut Self)) {
        let opened_after = self.planned();
        if self.options.shape == Shape::Modern {
            self.network(Step::Params);
        } else {
            self.network(Step::LogOpen);
        }
        let command = self.or_hostile(command);
        self.after(200, 1_500, Step::Input { command });
        if self.options.shape == Shape::Legacy {
            self.after(200, 1_500, Step::Found { command });
        }
        then(self);
        // Robots leave the same screen behind each time, so a handful of recordings serves for most.
        let work = (command & !HOSTILE) * 8 + self.random.below(8) * self.random.below(2);
        self.network(Step::LogClosed { work, opened_after });
    }

    /// An attacker's own choice nine times in ten.
    fn pick(&mut self, choices: u32, character: u64) -> u32 {
        if self.random.percent(90) { (character >> 11) as u32 % choices } else { self.random.below(choices) }
    }

    fn username(&mut self) -> u32 {
        let rank = self.lexicon.username_ranks.draw(self.random);
        self.or_hostile(rank)
    }

    fn password(&mut self) -> u32 {
        let rank = self.lexicon.password_ranks.draw(self.random);
        self.or_hostile(rank)
    }

    fn or_hostile(&mut self, index: u32) -> u32 {
        if self.options.hostile && self.random.below(HOSTILE_VALUE_ONE_IN) == 0 {
            return HOSTILE | self.random.below(self.lexicon.hostile.len() as u32);
        }
        index
    }

    fn network(&mut self, step: Step) {
        self.after(8_000, 450_000, step);
    }

    fn after(&mut self, from_micros: u32, to_micros: u32, step: Step) {
        let pause = self.random.between(from_micros, to_micros);
        self.session.steps.push((step, pause));
    }

    /// Microseconds from the session's beginning to the last step planned so far.
    fn planned(&self) -> u32 {
        self.session.steps.iter().skip(1).map(|&(_, pause)| pause.max(1)).fold(0, u32::saturating_add)
    }
}
