//! `[archive]`: where evidence is put before it is removed, and as what.
use super::groups::Archive;
use super::key::Origin;
use super::settings::Check;
use crate::archive::s3::S3Settings;
use crate::archive::{ArchiveFormat, ArchiveSettings, Target};
use crate::network::Network;
use crate::sinks::guard::Guard;
use crate::telemetry::printable::printable;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;
use url::Url;

/// The table, checked. Also without a place: `honeyguide archive --to` names one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveOptions {
    pub to: Option<Target>,
    /// Never empty.
    pub formats: Vec<ArchiveFormat>,
    endpoint: Option<Url>,
    region: String,
    path_style: bool,
    access_key_file: Option<PathBuf>,
    secret_key_file: Option<PathBuf>,
    timeout: Duration,
    ca_file: Option<PathBuf>,
    allow_private: Vec<Network>,
    data_dir: PathBuf,
}

impl ArchiveOptions {
    /// What retention has to archive, if anything.
    pub fn settings(&self) -> Option<ArchiveSettings> {
        Some(ArchiveSettings { to: self.to.clone()?, formats: self.formats.clone() })
    }

    /// Files with the keys of S3, if that is where it goes.
    pub fn secrets(&self) -> Vec<&PathBuf> {
        match &self.to {
            Some(Target::S3(s3)) => vec![&s3.access_key_file, &s3.secret_key_file],
            _ => Vec::new(),
        }
    }

    /// Reads a place: an absolute directory outside the data directory, or a bucket, with the table's other keys.
    pub fn target(&self, text: &str) -> Result<Target, String> {
        let Some(rest) = text.strip_prefix("s3://") else {
            let dir = PathBuf::from(text);
            if !dir.is_absolute() {
                return Err(format!("`{}` is neither an absolute directory nor s3://BUCKET/PREFIX", printable(text)));
            }
            if dir.components().any(|part| part == Component::ParentDir) {
                return Err(format!("`{}` goes up with \"..\": write the directory that is meant", printable(text)));
            }
            if dir.starts_with(&self.data_dir) || resolved(&dir).starts_with(resolved(&self.data_dir)) {
                return Err("an archive must not be inside the data directory: what is put away must not be lost with it".into());
            }
            return Ok(Target::Directory(dir));
        };
        let (bucket, prefix) = rest.trim_end_matches('/').split_once('/').unwrap_or((rest.trim_end_matches('/'), ""));
        let in_bucket = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(in_bucket) || !bucket.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(format!("`{}` is no name of a bucket: write s3://BUCKET or s3://BUCKET/PREFIX", printable(bucket)));
        }
        let in_prefix = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '=');
        let part = |part: &str| !part.is_empty() && part != "." && part != ".." && part.chars().all(in_prefix);
        if prefix.len() > 512 || !(prefix.is_empty() || prefix.split('/').all(part)) {
            return Err(format!(
                "`{}` is no prefix: use letters, digits, \"-\", \"_\", \".\", \"=\", and \"/\" between",
                printable(prefix)
            ));
        }
        let (Some(access_key_file), Some(secret_key_file)) = (&self.access_key_file, &self.secret_key_file) else {
            return Err("S3 needs `access_key_file` and `secret_key_file` in [archive]: files that hold one key each".into());
        };
        let of_aws =
            || Url::parse(&format!("https://s3.{}.amazonaws.com", self.region)).map_err(|error| format!("`region` is none: {error}"));
        let endpoint = self.endpoint.clone().map_or_else(of_aws, Ok)?;
        if let Err(forbidden) = Guard::new(self.allow_private.clone()).check_url(&endpoint) {
            return Err(format!("`endpoint` can never be sent to: {forbidden}"));
        }
        Ok(Target::S3(Box::new(S3Settings {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            endpoint,
            region: self.region.clone(),
            path_style: self.path_style,
            access_key_file: access_key_file.clone(),
            secret_key_file: secret_key_file.clone(),
            timeout: self.timeout,
            ca_file: self.ca_file.clone(),
            allow_private: self.allow_private.clone(),
        })))
    }
}

/// The path with every link followed, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    let Some((above, real)) = there else { return path.to_owned() };
    match path.strip_prefix(above) {
        Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
        _ => real,
    }
}

impl Check<'_> {
    pub(super) fn archive(&mut self, table: Archive, data_dir: &Path, given: &dyn Fn(&str) -> Origin) -> ArchiveOptions {
        let mut formats = Vec::new();
        for name in &table.formats {
            match ArchiveFormat::parse(name) {
                Some(format) if formats.contains(&format) => {}
                Some(format) => formats.push(format),
                None => self.complain(&given("formats"), format!("`{}` in `formats` is none: \"segment\" or \"parquet\"", printable(name))),
            }
        }
        if table.formats.is_empty() {
            self.complain(&given("formats"), "`formats` is empty: add \"segment\", \"parquet\" or both".into());
        }
        let endpoint = table.endpoint.as_deref().and_then(|text| match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.username().is_empty() => Some(url),
            _ => {
                self.complain(
                    &given("endpoint"),
                    "`endpoint` must be a URL with http:// or https://, without a user and without \"?…\"".into(),
                );
                None
            }
        });
        let in_region = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if table.region.is_empty() || table.region.len() > 64 || !table.region.chars().all(in_region) {
            self.complain(&given("region"), "`region` must be like \"eu-central-1\"".into());
        }
        let mut path = |file: &Option<String>, key: &str| file.as_ref().map(|file| self.file(file, &given(key)));
        let access_key_file = path(&table.access_key_file, "access_key_file");
        let secret_key_file = path(&table.secret_key_file, "secret_key_file");
        let ca_file = path(&table.ca_file, "ca_file");
        let allow_private = self.networks(&table.allow_private, &given("allow_private"));
        let all_networks = allow_private.len() == table.allow_private.len();
        let mut options = ArchiveOptions {
            to: None,
            formats,
            endpoint,
            region: table.region,
            path_style: table.path_style,
            access_key_file,
            secret_key_file,
            timeout: Duration::from_secs(table.timeout_seconds),
            ca_file,
            allow_private,
            data_dir: data_dir.to_owned(),
        };
        if let Some(text) = &table.to {
            let text = if text.starts_with("s3://") { text.clone() } else { self.path(text, &given("to")).to_string_lossy().into_owned() };
            match options.target(&text) {
                Ok(target) => options.to = Some(target),
                // What is wrong with the networks is told already.
                Err(_) if !all_networks => {}
                Err(problem) => self.complain(&given("to"), problem),
            }
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<ArchiveOptions, Vec<String>> {
        crate::config::settings::of_text(text).map(|settings| settings.archive)
    }

    const KEYS: &str = "access_key_file = \"a\"\nsecret_key_file = \"/run/s\"\n";

    #[test]
    fn a_place_is_a_directory_or_a_bucket() {
        assert_eq!(settings("").expect("valid").settings(), None);
        let dir = settings("[archive]\nto = \"../out\"\nformats = [\"parquet\", \"segment\"]").expect("valid").settings().expect("there");
        assert_eq!(dir.to, Target::Directory("/etc/out".into()));
        assert_eq!(dir.formats, [ArchiveFormat::Parquet, ArchiveFormat::Segment]);
        let s3 = settings(&format!("[archive]\nto = \"s3://pots-1/site=a/2026/\"\nregion = \"eu-central-1\"\n{KEYS}")).expect("valid");
        let Some(Target::S3(s3)) = s3.to else { panic!("S3") };
        assert_eq!((s3.place().as_str(), s3.endpoint.as_str()), ("s3://pots-1/site=a/2026", "https://s3.eu-central-1.amazonaws.com/"));
        assert_eq!(s3.access_key_file, Path::new("/etc/h/a"));
    }

    #[test]
    fn what_cannot_work_is_refused_with_a_remedy() {
        for (text, expected) in [
            ("to = \"/var/lib/honeyguide/a\"".to_owned(), "/etc/h/h.toml:2:6: an archive must not be inside the data directory"),
            ("formats = [\"zip\"]".into(), "/etc/h/h.toml:2:11: `zip` in `formats` is none"),
            ("formats = []".into(), "/etc/h/h.toml:2:11: `formats` is empty"),
            ("to = \"s3://b1x\"".into(), "/etc/h/h.toml:2:6: S3 needs `access_key_file` and `secret_key_file`"),
            (format!("to = \"s3://B\"\n{KEYS}"), "/etc/h/h.toml:2:6: `B` is no name of a bucket"),
            (format!("to = \"s3://abc/../x\"\n{KEYS}"), "/etc/h/h.toml:2:6: `../x` is no prefix"),
            (
                format!("to = \"s3://abc\"\nendpoint = \"http://127.0.0.1:9000\"\n{KEYS}"),
                "/etc/h/h.toml:2:6: `endpoint` can never be sent to",
            ),
            ("endpoint = \"ftp://x\"".into(), "/etc/h/h.toml:2:12: `endpoint` must be a URL"),
            ("region = \"a.evil/\"".into(), "/etc/h/h.toml:2:10: `region` must be like"),
        ] {
            let problems = settings(&format!("[archive]\n{text}")).expect_err(&text);
            assert!(problems.len() == 1 && problems[0].starts_with(expected), "{expected}\n{problems:?}");
        }
    }
}
