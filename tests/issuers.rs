//! Tokens of a real OpenID Connect provider (npm `oidc-provider`), configured as an operator would.
mod node;

use honeyguide::access::issuers::Issuers;
use honeyguide::access::{Denied, Role};
use honeyguide::config;
use honeyguide::events::time::{self, MICROS_PER_SECOND};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

/// A provider that runs until it is dropped.
struct Provider {
    issuer: String,
    child: Child,
    /// It ends when this does.
    _stdin: Option<ChildStdin>,
    http: reqwest::Client,
}

impl Provider {
    fn start() -> Result<Provider, String> {
        let script = ("provider.mjs", include_str!("node/provider.mjs"));
        let dir = node::with("oidc-provider", &["oidc-provider@9.13.3"], script)?;
        let mut command = Command::new("node");
        command.arg(script.0).current_dir(dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let mut issuer = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut issuer).map_err(|error| error.to_string())?;
        let stdin = child.stdin.take();
        assert!(issuer.starts_with("http://127.0.0.1:"), "the provider begins: {issuer:?}");
        Ok(Provider { issuer: issuer.trim().to_owned(), child, _stdin: stdin, http: reqwest::Client::new() })
    }

    /// An access token, signed with this algorithm, with further parameters.
    async fn token(&self, algorithm: &str, more: &[(&str, &str)]) -> String {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials").append_pair("client_id", "feeder");
        form.append_pair("client_secret", "a secret of a test, and of nothing else");
        form.append_pair("resource", &format!("https://honeyguide.example/{algorithm}"));
        for (name, value) in more {
            form.append_pair(name, value);
        }
        let request = self.http.post(format!("{}/token", self.issuer));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form.finish());
        let answer: serde_json::Value = request.send().await.expect("asked").json().await.expect("JSON");
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    async fn text(&self, path: &str) -> String {
        self.http.get(format!("{}/{path}", self.issuer)).send().await.expect("asked").text().await.expect("answered")
    }

    /// As its table in the configuration makes them.
    fn issuers(&self, more: &str) -> Issuers {
        let dir = tempfile::tempdir().expect("temporary directory");
        let file = dir.path().join("honeyguide.toml");
        let text = format!(
            "data_dir = \"data\"\n[[issuer]]\nurl = \"{}\"\naudience = \"honeyguide\"\nroles_claim = \"groups\"\n\
             roles = {{ soc = \"analyst\", honeypots = \"developer\" }}\ninterval_seconds = 1\nallow_private = [\"127.0.0.1\"]\n{more}",
            self.issuer
        );
        std::fs::write(&file, text).expect("written");
        Issuers::new(&config::load(Some(&file), None).expect("a valid configuration").issuers)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn provider(test: &str) -> Option<Provider> {
    match Provider::start() {
        Ok(provider) => Some(provider),
        Err(reason) => {
            eprintln!("SKIPPED: {test}: {reason}");
            None
        }
    }
}

#[tokio::test]
async fn tokens_of_a_real_provider_are_taken_with_all_three_algorithms() {
    let Some(provider) = provider("tokens_of_a_real_provider_are_taken_with_all_three_algorithms") else { return };
    let issuers = provider.issuers("sensors_claim = \"pots\"\n");
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let token = provider.token(algorithm, &[("groups", "soc,honeypots,staff"), ("pots", "dmz-1,dmz-2")]).await;
        let principal = issuers.verify(&token, time::now()).await.unwrap_or_else(|denied| panic!("{algorithm}: {denied}"));
        assert_eq!(&*principal.name, format!("{} feeder", provider.issuer));
        assert_eq!(&*principal.roles, [Role::Analyst, Role::Developer]);
        assert_eq!(principal.sensors.as_deref(), Some(&["dmz-1".to_owned(), "dmz-2".to_owned()][..]));
        // The same with one character of its signature changed.
        let (rest, signature) = token.rsplit_once('.').expect("three parts");
        let other = if signature.starts_with('A') { "B" } else { "A" };
        let forged = format!("{rest}.{other}{}", &signature[1..]);
        assert_eq!(issuers.verify(&forged, time::now()).await, Err(Denied::TokenSignature));
        assert_eq!(issuers.verify(&token, time::now() + 331 * MICROS_PER_SECOND).await, Err(Denied::TokenExpired));
    }
    let token = provider.token("RS256", &[("audience", "another")]).await;
    assert_eq!(issuers.verify(&token, time::now()).await, Err(Denied::TokenAudience));
    let token = provider.token("RS256", &[("groups", "staff")]).await;
    assert_eq!(issuers.verify(&token, time::now()).await, Err(Denied::NoRole));
    assert_eq!(provider.text("asked").await, "1");
    let fewer = provider.issuers("algorithms = [\"ES256\"]\n");
    assert_eq!(fewer.verify(&provider.token("RS256", &[]).await, time::now()).await, Err(Denied::TokenAlgorithm));
    assert!(fewer.verify(&provider.token("ES256", &[]).await, time::now()).await.is_ok());
}

#[tokio::test]
async fn the_provider_changes_its_keys_and_nobody_notices() {
    let Some(provider) = provider("the_provider_changes_its_keys_and_nobody_notices") else { return };
    let issuers = provider.issuers("");
    let now = time::now();
    let first = provider.token("ES256", &[]).await;
    assert!(issuers.verify(&first, now).await.is_ok());
    assert_eq!(provider.text("rotate").await, "rotated");
    let second = provider.token("ES256", &[]).await;
    assert_eq!(issuers.verify(&second, now).await, Err(Denied::IssuerKeyUnknown), "the interval has not passed");
    let later = now + 2 * MICROS_PER_SECOND;
    assert!(issuers.verify(&second, later).await.is_ok());
    assert_eq!(issuers.verify(&first, later).await, Err(Denied::IssuerKeyUnknown), "what it removed ends");
    // It goes away: what is known of it goes on.
    let asked = provider.text("asked").await;
    drop(provider);
    assert_eq!(asked, "2");
    assert!(issuers.verify(&second, later).await.is_ok());
}
