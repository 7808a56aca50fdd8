//! placeholder
use super::http::{Http, HttpError, HttpSettings};

/// An Elasticsearch or OpenSearch.
#[derive(Clone, Debug)]
pub struct ElasticsearchSettings {
    pub http: HttpSettings,
    /// Of the names of indexes: `honeyguide` makes `honeyguide-2026.03.22`.
    pub prefix: String,
}

#[derive(Debug)]
pub struct Elasticsearch {
    http: Http,
    prefix: String,
}

impl Elasticsearch {
    pub fn new(settings: ElasticsearchSettings) -> Result<Elasticsearch, HttpError> {
        Ok(Elasticsearch { http: Http::new(settings.http)?, prefix: settings.prefix })
    }
}
