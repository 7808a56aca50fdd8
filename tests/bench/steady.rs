//! Lines of a log at a steady rate, each with the time at which it was written.
use honeyguide::events::time;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Appends logins to `path`, `rate` a second; `written` hears the number of each that is in the file.
pub fn write(path: &Path, rate: u64, seconds: u64, written: impl Fn(u64)) {
    let mut file = std::fs::File::options().create(true).append(true).open(path).expect("opens");
    let started = Instant::now();
    for n in 0..rate * seconds {
        let due = Duration::from_secs_f64(n as f64 / rate as f64);
        std::thread::sleep(due.saturating_sub(started.elapsed()));
        let line = format!(
            "{{\"eventid\":\"cowrie.login.failed\",\"username\":\"user{n}\",\"password\":\"p{}\",\"message\":\"login attempt [user{n}/p] failed\",\"sensor\":\"bench\",\"timestamp\":\"{}\",\"src_ip\":\"192.0.2.{}\",\"session\":\"{:012x}\",\"protocol\":\"ssh\"}}\n",
            n % 1000,
            time::format(time::now()),
            n % 250,
            n / 8,
        );
        file.write_all(line.as_bytes()).expect("written");
        written(n);
    }
}
