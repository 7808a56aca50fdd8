//! What a sink's request costs per event: `cargo bench --bench sinks`.
//!
//! CPU time of one thread for batches as the delivery makes them, of real Cowrie lines where there is a corpus.
mod data;

use data::BenchData;
use honeyguide::events::{EventId, Format};
use honeyguide::sinks::elasticsearch::{Elasticsearch, ElasticsearchSettings};
use honeyguide::sinks::http::{Compression, HttpSettings};
use honeyguide::sinks::webhook::{Webhook, WebhookSettings};
use honeyguide::sinks::{Batch, Item, Sink};
use nix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

const EVENTS: u64 = 100_000;
/// The delivery's defaults.
const BATCH_EVENTS: usize = 500;
const BATCH_BYTES: usize = 1 << 20;

fn main() {
    let mut data = Vec::new();
    let mut source = BenchData::open().expect("data");
    let mut events = 0;
    while events < EVENTS {
        events += source.fill(&mut data, EVENTS - events);
    }
    let batches = batches(&data);
    println!("{events} events of {} bytes on average, {} batches", data.len() as u64 / events, batches.len());
    let http = |compression| HttpSettings { compression, ..HttpSettings::new("https://receiver.example/".parse().expect("a URL")) };
    let webhook = |compression| Webhook::new(WebhookSettings { http: http(compression), secret: None }).expect("made");
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        measure(&format!("webhook, {compression:?}"), &webhook(compression), &batches, events);
    }
    for compression in [Compression::None, Compression::Gzip] {
        let settings = ElasticsearchSettings { http: http(compression), prefix: "honeyguide".into(), sender_days_max: Some(30) };
        measure(&format!("elasticsearch, {compression:?}"), &Elasticsearch::new(settings).expect("made"), &batches, events);
    }
}

fn batches(data: &[u8]) -> Vec<Batch> {
    let mut batches = vec![Batch::default()];
    let source: Arc<str> = "cowrie".into();
    for (seq, line) in (0..).zip(data.split(|&byte| byte == b'\n').filter(|line| !line.is_empty())) {
        let full = |batch: &Batch| batch.items.len() == BATCH_EVENTS || batch.payload.len() + line.len() > BATCH_BYTES;
        if batches.last().is_some_and(full) {
            batches.push(Batch::default());
        }
        let (id, source, received) = (EventId::of_line(line), source.clone(), 1_780_000_000_000_000 + seq as i64 / 100 * 1000);
        let item = Item { seq, id, time: received, received_at: received, source, format: Format::COWRIE, payload: 0..0 };
        batches.last_mut().expect("never empty").push(item, line);
    }
    batches
}

fn measure(name: &str, sink: &dyn Sink, batches: &[Batch], events: u64) {
    let (mut best, mut bytes) = (Duration::MAX, 0);
    for _ in 0..5 {
        bytes = 0;
        let begun = cpu_time();
        for batch in batches {
            bytes += black_box(sink.encode(batch).expect("encoded")).body.len();
        }
        best = best.min(cpu_time() - begun);
    }
    let per_event = best.as_nanos() as u64 / events;
    println!("{name:22} {per_event:6} ns/event  {:9} events/s  {:5} bytes/event", 1_000_000_000 / per_event.max(1), bytes as u64 / events);
}

fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).expect("the clock of a thread")
}
