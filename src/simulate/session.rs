//! One session: who it is, the steps planned for it, and what each step says in the log.
use super::event::{Arrangement, Layout, push_hex, push_number, put};
use super::generator::{Sensor, push_address};
use super::lexicon::{HOSTILE, Lexicon};
use super::random::{Random, mix};
use super::vocabulary as words;
use super::{Shape, Simulation};
use crate::events::Micros;
use std::io::Write as _;

/// One event to come. Numbers choose words from the [`Lexicon`].
#[derive(Clone, Copy)]
pub(super) enum Step {
    Connect,
    Version,
    Kex,
    Key {
        username: u32,
    },
    KeyRefused {
        username: u32,
    },
    Login {
        username: u32,
        password: u32,
        success: bool,
    },
    Size,
    Variable {
        index: u32,
    },
    Params,
    LogOpen,
    Input {
        command: u32,
    },
    Found {
        command: u32,
    },
    NotFound {
        command: u32,
    },
    Download {
        host: u32,
        file: u32,
    },
    DownloadFailed {
        host: u32,
        file: u32,
    },
    Redirected,
    Upload {
        file: u32,
    },
    LogClosed {
        work: u32,
        opened_after: u32,
    },
    TunnelRequest {
        index: u32,
    },
    TunnelFingerprint {
        index: u32,
        bits: u32,
    },
    TunnelData {
        index: u32,
        id: u32,
    },
    Exploit {
        cve: u32,
    },
    Closed,
    /// A whole line from the menu of hostile lines.
    HostileLine {
        maker: u32,
    },
}

pub(super) struct Session {
    pub(super) id: [u8; 12],
    pub(super) sensor: u32,
    pub(super) src_ip: Vec<u8>,
    pub(super) src_port: u16,
    pub(super) telnet: bool,
    pub(super) client: u32,
    /// Index of what was sent instead of a version, if so.
    pub(super) alien: Option<u32>,
    /// Host and file of this session's downloads, for commands that name them.
    pub(super) drop: (u32, u32),
    pub(super) number: u64,
    /// Random bits that are the attacker's own: the same in each of its sessions.
    pub(super) character: u64,
    pub(super) began: Micros,
    pub(super) steps: Vec<(Step, u32)>,
    pub(super) next: usize,
    pub(super) system: Vec<u8>,
}

impl Session {
    pub(super) fn empty() -> Session {
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
            character: 0,
            began: 0,
            steps: Vec::new(),
            next: 0,
            system: Vec::new(),
        }
    }

    pub(super) fn begin(
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
        self.character = character;
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

    pub(super) fn dst_port(&self, shape: Shape) -> u16 {
        match (shape, self.telnet) {
            (Shape::Modern, false) => 22,
            (Shape::Modern, true) => 23,
            (Shape::Legacy, false) => 2222,
            (Shape::Legacy, true) => 2223,
        }
    }

    /// Writes what `step` says: fields of its kind and message; returns kind, arrangement and where a tunnel leads.
    pub(super) fn describe(
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
            Step::HostileLine { .. } => unreachable!("hostile lines are written whole"),
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
