//! What the tail tells becomes a typed event, and where something may be lost an entry in the ledger.
use super::Telemetry;
use super::events::{InputNoticed, InputTruncated, InputUnreadable};
use crate::events::time;
use crate::sources::notice::TailNotice;
use crate::store::Store;

/// Reports one notice of the source's tail.
pub fn tell(telemetry: &Telemetry, store: &Store, source: &str, notice: &TailNotice) {
    let text = notice.to_string();
    match notice {
        TailNotice::Truncated { path, generation, bytes_at_risk } => {
            let path = path.to_string_lossy();
            telemetry.emit(&InputTruncated { source, path: &path, generation: *generation, bytes_at_risk: *bytes_at_risk });
            record(telemetry, store, "input_truncated", source, &text);
        }
        TailNotice::Vanished { .. } => {
            telemetry.emit(&InputNoticed { source, notice: &text });
            record(telemetry, store, "input_vanished", source, &text);
        }
        notice if notice.is_condition() => telemetry.emit(&InputUnreadable { source, error: &text }),
        _ => telemetry.emit(&InputNoticed { source, notice: &text }),
    }
}

fn record(telemetry: &Telemetry, store: &Store, event: &str, source: &str, text: &str) {
    let details = serde_json::json!({ "source": source, "detail": text });
    if let Err(error) = store.record(event, details, time::now()) {
        slog::error!(telemetry.logger, "the ledger cannot be written"; "error" => error.to_string());
    }
}
