//! placeholder
use super::http::{Http, HttpError, HttpSettings, Secret};

/// A receiver of batches by `POST`.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    pub http: HttpSettings,
    /// Key of the signature; none, no signature.
    pub secret: Option<Secret>,
}

/// Posts batches of events.
#[derive(Debug)]
pub struct Webhook {
    http: Http,
    secret: Option<Secret>,
}

impl Webhook {
    pub fn new(settings: WebhookSettings) -> Result<Webhook, HttpError> {
        Ok(Webhook { http: Http::new(settings.http)?, secret: settings.secret })
    }
}
