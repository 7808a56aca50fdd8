//! A sink of what the configuration says: here secrets are read, each time a delivery begins, so that a new one counts at the next
//! reload or restart of the sink.
use super::Sink;
use super::elasticsearch::{Elasticsearch, ElasticsearchSettings};
use super::file::FileSink;
use super::guvi::Guvi;
use super::http::{self, Credentials, HttpSettings, Secret};
use super::webhook::{Webhook, WebhookSettings};
use crate::config::{Compression, Credential, HttpReceiver, Receiver, SinkSettings};
use crate::geoip;
use crate::store::History;
use crate::telemetry::printable::printable;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// Largest secret, bytes.
const SECRET_BYTES_MAX: u64 = 16 << 10;

/// Makes the sink; on a thread that may block. An error says what to mend.
///
/// It gets events of the journal of `history`, and `places` say where they come from; `notice` is told, for people, when what it has
/// comes from another.
pub fn open(
    settings: &SinkSettings,
    history: History,
    places: &geoip::Handle,
    notice: Box<dyn Fn(&str) + Send + Sync>,
) -> Result<Arc<dyn Sink>, String> {
    let told = |error: http::HttpError| error.to_string();
    Ok(match &settings.receiver {
        Receiver::File(file) => Arc::new(FileSink::of_journal(file.clone(), history, notice)),
        Receiver::Webhook { http, secret_file } => {
            let secret = secret_file.as_deref().map(secret).transpose()?;
            Arc::new(Webhook::new(WebhookSettings { http: http_settings(settings, http)?, secret }).map_err(told)?)
        }
        Receiver::Elasticsearch { .. } => Arc::new(elasticsearch(settings)?.with_places(places.clone())),
        Receiver::Guvi { http, .. } => Arc::new(Guvi::new(http_settings(settings, http)?).map_err(told)?),
    })
}

/// The sink, if that is what it is; on a thread that may block.
pub fn elasticsearch(settings: &SinkSettings) -> Result<Elasticsearch, String> {
    let Receiver::Elasticsearch { http, index, index_days } = &settings.receiver else {
        return Err(format!("{} is no sink of type \"elasticsearch\"", settings.name.as_str()));
    };
    let http = http_settings(settings, http)?;
    let settings = ElasticsearchSettings { http, prefix: index.clone(), sender_days_max: *index_days };
    Elasticsearch::new(settings).map_err(|error| error.to_string())
}

fn http_settings(settings: &SinkSettings, receiver: &HttpReceiver) -> Result<HttpSettings, String> {
    let credentials = match &receiver.credential {
        None => None,
        Some(Credential::Bearer(file)) => Some(Credentials::Bearer(secret(file)?)),
        Some(Credential::Basic { user, password_file }) => {
            Some(Credentials::Basic { user: user.clone(), password: secret(password_file)? })
        }
        Some(Credential::ApiKey(file)) if matches!(settings.receiver, Receiver::Guvi { .. }) => {
            Some(Credentials::Header { name: "x-api-key", value: secret(file)? })
        }
        Some(Credential::ApiKey(file)) => Some(Credentials::ApiKey(secret(file)?)),
    };
    Ok(HttpSettings {
        timeout: settings.policy.timeout,
        compression: match receiver.compression {
            Compression::None => http::Compression::None,
            Compression::Gzip => http::Compression::Gzip,
            Compression::Zstd => http::Compression::Zstd,
        },
        headers: receiver.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        credentials,
        ca_file: receiver.ca_file.clone(),
        allow_private: receiver.allow_private.clone(),
        concurrency: settings.policy.concurrency_max,
        ..HttpSettings::new(receiver.url.clone())
    })
}

/// The text in a secret's file, without the newline at its end.
pub(crate) fn secret(path: &Path) -> Result<Secret, String> {
    let shown = || printable(&path.to_string_lossy()).into_owned();
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(SECRET_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|error| format!("cannot read the secret in {}: {error}", shown()))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() { Err(format!("there is no secret in {}: write it into its first line", shown())) } else { Ok(Secret::new(text)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_the_files_text_without_its_newline_and_never_empty() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("secret");
        std::fs::write(&path, "s3cret \r\n").expect("written");
        assert_eq!(secret(&path).expect("read").expose(), "s3cret ");
        std::fs::write(&path, "\n\n").expect("written");
        assert!(secret(&path).expect_err("empty").starts_with("there is no secret in"));
        assert!(secret(&dir.path().join("none")).expect_err("absent").starts_with("cannot read the secret in"));
    }
}
