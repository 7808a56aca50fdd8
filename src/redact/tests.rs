//! Every action, on every kind and on fields, wherever in a line they may stand.
use super::*;
use crate::events::Format;
use proptest::prelude::*;
use serde_json::Value as Json;

fn rule(fields: &[Field], kinds: &[Kind], action: Action) -> Rule {
    Rule { fields: fields.to_vec(), kinds: kinds.to_vec(), action, stage: Stage::Store, sources: Vec::new(), sensors: Vec::new() }
}

fn policy(rules: Vec<Rule>) -> Policy {
    Policy { rules, key: Some(Key::new(&[7; 32])) }
}

fn redacted_as(format: Format, policy: &Policy, line: &[u8]) -> Result<Option<String>, Uncertain> {
    let subject = Subject { source: "s", format };
    let mut redactor = Redactor::default();
    let redacted = redactor.redact(policy, Stage::Store, subject, line)?;
    if let Some(line) = &redacted {
        // Redacting again changes nothing, neither before it is stored nor when it leaves.
        for stage in [Stage::Store, Stage::Export] {
            assert_eq!(redactor.redact(policy, stage, subject, line), Ok(None), "{}", String::from_utf8_lossy(line));
        }
    }
    Ok(redacted.map(|line| String::from_utf8_lossy(&line).into_owned()))
}

fn redacted(policy: &Policy, line: &str) -> String {
    redacted_as(Format::COWRIE, policy, line.as_bytes()).expect("certain").unwrap_or_else(|| line.to_owned())
}

#[test]
fn each_action_on_each_kind_wherever_it_stands() {
    let kinds = [(Kind::Email, "jo.doe@example.com"), (Kind::Phone, "+91 98765 43210"), (Kind::Card, "4111 1111 1111 1111")];
    for (kind, secret) in kinds {
        let name = kind.name();
        for action in [Action::Mask, Action::Hash, Action::Drop] {
            let policy = policy(vec![rule(&[], &[kind], action)]);
            let mark = match action {
                Action::Mask => format!("[{name}]"),
                Action::Hash => {
                    let line = redacted(&policy, &format!("{{\"x\":\"{secret}\"}}"));
                    let mark = line.strip_prefix("{\"x\":\"").and_then(|rest| rest.strip_suffix("\"}")).expect(&line).to_owned();
                    assert!(is_mark(name, mark.as_bytes()) && mark.len() == name.len() + 19, "{mark}");
                    mark
                }
                Action::Drop => String::new(),
            };
            for (line, expected) in [
                ("{\"input\":\"S\"}", "{\"input\":\"M\"}"),
                ("{\"password\":\"S\",\"n\": 1.50 }", "{\"password\":\"M\",\"n\": 1.50 }"),
                ("{\"x\":\"to S, or (S)\"}", "{\"x\":\"to M, or (M)\"}"),
                ("{\"x\":{\"y\":[\"a\",[{\"z\":\"S\"}]]}}", "{\"x\":{\"y\":[\"a\",[{\"z\":\"M\"}]]}}"),
                ("{\"x\":\"S\",\"x\":\"S\"}", "{\"x\":\"M\",\"x\":\"M\"}"),
                ("{\"S\":\"a\"}", "{\"M\":\"a\"}"),
                ("{\"x\":\"\\\"\\ud83d\\ude00\\n S\\t\\udc80\"}", "{\"x\":\"\\\"\\ud83d\\ude00\\n M\\t\\udc80\"}"),
                ("{\"message\":[\"S\",7,null,true]}", "{\"message\":[\"M\",7,null,true]}"),
                ("  {\"x\" : \"S\" }\t", "  {\"x\" : \"M\" }\t"),
            ] {
                assert_eq!(redacted(&policy, &line.replace('S', secret)), expected.replace('M', &mark), "{line}");
            }
            // Spelt with escapes.
            let escaped: String = secret.chars().map(|c| format!("\\u{:04x}", c as u32)).collect();
            assert_eq!(redacted(&policy, &format!("{{\"x\":\"a {escaped} b\"}}")), format!("{{\"x\":\"a {mark} b\"}}"));
        }
    }
}

#[test]
fn each_action_on_fields_wherever_the_format_finds_them() {
    let of = |action| policy(vec![rule(&[Field::Password, Field::Command, Field::Session], &[], action)]);
    for (line, mask, drop) in [
        (r#"{"a":1,"password":"x","b":2}"#, r#"{"a":1,"password":"[password]","b":2}"#, r#"{"a":1,"b":2}"#),
        (r#"{"a":1, "password":"x"}"#, r#"{"a":1, "password":"[password]"}"#, r#"{"a":1}"#),
        (r#"{"password":"x" , "a":1}"#, r#"{"password":"[password]" , "a":1}"#, r#"{ "a":1}"#),
        (r#"{"password":"x"}"#, r#"{"password":"[password]"}"#, r#"{}"#),
        (r#"{"password":"x","password":"y"}"#, r#"{"password":"[password]","password":"[password]"}"#, r#"{}"#),
        (r#"{"a":1,"password":"x","input":"y"}"#, r#"{"a":1,"password":"[password]","input":"[command]"}"#, r#"{"a":1}"#),
        (r#"{"p\u0061ssword":"x\"y"}"#, r#"{"p\u0061ssword":"[password]"}"#, r#"{}"#),
        // Whatever its type: it gives no term, and is there.
        (r#"{"password":["x",{"y":1}],"a":1}"#, r#"{"password":"[password]","a":1}"#, r#"{"a":1}"#),
        (r#"{"password":7}"#, r#"{"password":"[password]"}"#, r#"{}"#),
        (r#"{"password":true,"a":1}"#, r#"{"password":"[password]","a":1}"#, r#"{"a":1}"#),
        (r#"{"session":"a","session":"b"}"#, r#"{"session":"[session]","session":"[session]"}"#, r#"{}"#),
        (r#"{"attempted_command":"x"}"#, r#"{"attempted_command":"[command]"}"#, r#"{}"#),
    ] {
        assert_eq!(redacted(&of(Action::Mask), line), mask, "{line}");
        assert_eq!(redacted(&of(Action::Drop), line), drop, "{line}");
    }
    assert_eq!(redacted(&of(Action::Mask), r#"{"password":null,"x":"password"}"#), r#"{"password":null,"x":"password"}"#);
    let hash = of(Action::Hash);
    let twice = redacted(&hash, r#"{"password":"\u0078","password":"x","password":"y"}"#);
    let values: Vec<&str> = twice.split('"').filter(|part| part.starts_with("[password:")).collect();
    assert!(values[0] == values[1] && values[1] != values[2], "{twice}");
    let other = Policy { key: Some(Key::new(&[8; 32])), ..hash.clone() };
    assert_ne!(redacted(&other, r#"{"password":"x"}"#), redacted(&hash, r#"{"password":"x"}"#));
}

#[test]
fn what_cowrie_tells_of_a_redacted_value_goes_with_it() {
    let of = |action| policy(vec![rule(&[Field::Password], &[], action)]);
    let line = r#"{"message":"login attempt [root/hunter2] failed","password":"hunter2","a":1}"#;
    assert_eq!(redacted(&of(Action::Mask), line), r#"{"message":"[message]","password":"[password]","a":1}"#);
    assert_eq!(redacted(&of(Action::Drop), line), r#"{"a":1}"#);
    for (line, expected) in [
        // Told in a list, and as another language quotes it.
        (r#"{"password":"x y","message":["login","x y"]}"#, r#"{"password":"[password]","message":"[message]"}"#),
        (r#"{"password":"p\u00e9\u0027","message":"login ['p\\xe9']"}"#, r#"{"password":"[password]","message":"[message]"}"#),
        // What it may tell nobody knows: a value may be missing, or be taken for redacted already.
        (r#"{"password":"hunter2","message":"Connection lost"}"#, r#"{"password":"[password]","message":"[message]"}"#),
        (r#"{"username":"root","message":"login attempt [root/x] failed"}"#, r#"{"username":"root","message":"[message]"}"#),
        (r#"{"password":null,"message":"login attempt [root/x] failed"}"#, r#"{"password":null,"message":"[message]"}"#),
        (r#"{"password":"[password]","message":"login attempt [root/x] failed"}"#, r#"{"password":"[password]","message":"[message]"}"#),
        (
            r#"{"password":"x","message":null,"system":"S,0,192.0.2.1"}"#,
            r#"{"password":"[password]","message":null,"system":"S,0,192.0.2.1"}"#,
        ),
    ] {
        assert_eq!(redacted(&of(Action::Mask), line), expected);
    }
}

#[test]
fn what_cowrie_says_of_addresses_and_sessions_beside_goes_with_them() {
    let of = |field, action| policy(vec![rule(&[field], &[], action)]);
    let line = r#"{"src_ip":"198.51.100.7","session":"c7ae63583837","system":"HoneyPotSSHTransport,0,198.51.100.7","ttylog":"log/tty/20170322-c7ae63583837-0i.log","log_format":"closed c7ae63583837","sensor":"hp9"}"#;
    for (field, action, expected) in [
        (
            Field::SrcIp,
            Action::Mask,
            r#"{"src_ip":"[src_ip]","session":"c7ae63583837","system":"[message]","ttylog":"log/tty/20170322-c7ae63583837-0i.log","log_format":"[message]","sensor":"hp9"}"#,
        ),
        (Field::SrcIp, Action::Drop, r#"{"session":"c7ae63583837","ttylog":"log/tty/20170322-c7ae63583837-0i.log","sensor":"hp9"}"#),
        (Field::Session, Action::Drop, r#"{"src_ip":"198.51.100.7","system":"HoneyPotSSHTransport,0,198.51.100.7","sensor":"hp9"}"#),
    ] {
        assert_eq!(redacted(&of(field, action), line), expected);
    }
    // Of which sensor it is, none of them says.
    assert_eq!(redacted(&of(Field::Sensor, Action::Drop), line), line.replace(",\"sensor\":\"hp9\"", ""));
}

#[test]
fn a_login_told_in_a_wrapped_text_only_goes() {
    let description = toml::from_str("name = \"wrapped\"\nlike = \"cowrie\"\nwrap = \"syslog\"\n").expect("a description");
    let Ok(format) = Format::describe(vec![description]).remove(0) else { panic!("a format") };
    let policy = policy(vec![rule(&[Field::Username], &[], Action::Mask), rule(&[Field::Password], &[], Action::Mask)]);
    let line = r#"{"syslog":{"priority":"34","host":"hp1"},"message":"login attempt [uSECRETd/pSECRETe] failed"}"#;
    let expected = r#"{"syslog":{"priority":"34","host":"hp1"},"message":"[message]"}"#;
    assert_eq!(redacted_as(format, &policy, line.as_bytes()), Ok(Some(expected.into())));
}

#[test]
fn rules_for_sensors_hold_when_the_sensor_is_redacted_itself() {
    let narrowed = Rule { sensors: vec!["hp1".into()], stage: Stage::Export, ..rule(&[Field::Password], &[], Action::Mask) };
    for (action, keyed, hits_other) in
        [(Action::Hash, true, false), (Action::Hash, false, true), (Action::Mask, true, true), (Action::Drop, true, true)]
    {
        let mut policy = policy(vec![rule(&[Field::Sensor], &[], action), narrowed.clone()]);
        policy.key = policy.key.filter(|_| keyed);
        let leaves = |sensor: &str| {
            let line = format!(r#"{{"a":1,"password":"x","sensor":"{sensor}"}}"#);
            let subject = Subject { source: "s", format: Format::COWRIE };
            let mut redactor = Redactor::default();
            let stored = redactor.redact(&policy, Stage::Store, subject, line.as_bytes()).expect("certain").expect("changed");
            assert!(String::from_utf8_lossy(&stored).contains("\"x\""));
            redactor.redact(&policy, Stage::Export, subject, &stored).expect("certain").is_some()
        };
        assert_eq!((leaves("hp1"), leaves("hp2")), (true, hits_other), "{action:?} {keyed}");
    }
}

#[test]
fn values_count_as_equal_however_they_are_written() {
    let hash = policy(vec![rule(&[], &Kind::ALL, Action::Hash)]);
    for (one, other) in [
        ("Jo@Example.com", "jo@example.COM"),
        ("+919876543210", "+91-98765-43210"),
        ("4111111111111111", "4111-1111-1111-1111"),
        ("jo@example.com", "jo[at]example[dot]com"),
    ] {
        let line = |text| redacted(&hash, &format!("{{\"x\":\"{text}\"}}"));
        assert_eq!(line(one), line(other));
    }
}

#[test]
fn the_first_rule_counts() {
    let policy = policy(vec![
        rule(&[Field::Username], &[Kind::Email], Action::Mask),
        rule(&[], &[Kind::Email, Kind::Phone], Action::Drop),
        rule(&[Field::Username, Field::Password], &[], Action::Drop),
    ]);
    let line = r#"{"username":"a@example.com","password":"a@example.com","x":"<a@example.com> <+919876543210>"}"#;
    assert_eq!(redacted(&policy, line), r#"{"username":"[username]","x":"<[email]> <>"}"#);
}

#[test]
fn rules_are_narrowed_by_stage_source_and_sensor() {
    let base = rule(&[Field::Password], &[], Action::Mask);
    let line = br#"{"password":"x","sensor":"hp1"}"#;
    let changes = |rule: &Rule, stage| {
        let subject = Subject { source: "s", format: Format::COWRIE };
        let policy = Policy { rules: vec![rule.clone()], key: None };
        Redactor::default().redact(&policy, stage, subject, line).expect("certain").is_some()
    };
    for (rule, at_store, at_export) in [
        (base.clone(), true, true),
        (Rule { stage: Stage::Export, ..base.clone() }, false, true),
        (Rule { sources: vec!["t".into(), "s".into()], ..base.clone() }, true, true),
        (Rule { sources: vec!["t".into()], ..base.clone() }, false, false),
        (Rule { sensors: vec!["hp1".into()], ..base.clone() }, true, true),
        (Rule { sensors: vec!["hp2".into()], ..base.clone() }, false, false),
    ] {
        assert_eq!((changes(&rule, Stage::Store), changes(&rule, Stage::Export)), (at_store, at_export), "{rule}");
    }
}

#[test]
fn a_chats_texts_are_read_as_chats() {
    let policy = policy(vec![rule(&[Field::Sender], &Kind::ALL, Action::Mask)]);
    let line = r#"{"sessionId":"s1","message":{"sender":"scammer","text":"call 9876543210 or pay \u0040 4111111111111111","timestamp":1774138242831},"conversationHistory":[{"sender":"user","text":"mine is 98765-43211"}],"metadata":{"channel":"SMS","n":9876543210}}"#;
    let expected = r#"{"sessionId":"s1","message":{"sender":"[sender]","text":"call [phone] or pay \u0040 [card]","timestamp":1774138242831},"conversationHistory":[{"sender":"user","text":"mine is [phone]"}],"metadata":{"channel":"SMS","n":"[phone]"}}"#;
    assert_eq!(redacted_as(Format::CHAT, &policy, line.as_bytes()), Ok(Some(expected.into())));
}

#[test]
fn what_is_packed_goes_with_all_that_it_is_packed_into() {
    let policy = policy(vec![rule(&[], &[Kind::Email], Action::Mask)]);
    // "a a@example.com xx"
    let packed = "YSBhQGV4YW1wbGUuY29tIHh4";
    for (line, expected) in [
        (format!(r#"{{"input":"echo {packed} | base64 -d; ls"}}"#), r#"{"input":"echo [email] | base64 -d; ls"}"#),
        (format!(r#"{{"data":"{packed}"}}"#), r#"{"data":"[email]"}"#),
        (r#"{"input":"echo a\\x40example.com; ls"}"#.into(), r#"{"input":"echo [email]; ls"}"#),
        (r#"{"input":"x a[at]example[dot]com y"}"#.into(), r#"{"input":"x [email] y"}"#),
    ] {
        assert_eq!(redacted(&policy, &line), expected);
    }
}

#[test]
fn what_may_be_an_address_is_one_in_every_text() {
    let policy = policy(vec![rule(&[], &[Kind::Email], Action::Mask)]);
    let base64 = |text: &str| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
    let wide: Vec<u8> = "mail jo.doe@corpmail.com".bytes().flat_map(|byte| [byte, 0]).collect();
    let wide = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, wide);
    let hexadecimal: String = "jo@corp.de".bytes().map(|byte| format!("{byte:02x}")).collect();
    let texts = [
        ("jo.doe@corpmail.com:hunter2".to_owned(), "[email]:hunter2"),
        ("echo jo.doe@corpmail.com:hunter2 >> combo.txt".into(), "echo [email]:hunter2 >> combo.txt"),
        ("login jo.doe@gmail.com:hunter2".into(), "login [email]:hunter2"),
        ("ssh jo.doe@gmail.com".into(), "ssh [email]"),
        ("scp x jo.doe@gmail.com:/tmp".into(), "scp x [email]:/tmp"),
        ("curl -u jo.doe@corpmail.com:pw http://h.top/".into(), "curl -u [email]:pw http://h.top/"),
        ("ftp://jo.doe@corpmail.com:pw@h.top/".into(), "ftp://[email]:[email]/"),
        ("http://h.top/?m=jo.doe%40corpmail.com".into(), "http://h.top/?m=[email]"),
        ("http://h.top/?m=jo.doe%2540corpmail%2Ecom&x=1".into(), "http://h.top/?m=[email]&x=1"),
        ("jo.doe%40corpmail.com".into(), "[email]"),
        ("a%20b jo.doe%40corpmail.com c".into(), "a%20b [email] c"),
        ("jo.doe@corpmail.com_x".into(), "[email]_x"),
        ("jo.doe@corpmail.com-x".into(), "[email]-x"),
        ("jo.doe@corpmail.com123".into(), "[email]123"),
        ("jo.doe@corpmail.com.zzzz".into(), "[email].zzzz"),
        ("jo.doe@corpmail.local".into(), "[email]"),
        ("jo.doe@mail.corp.internal:x".into(), "[email]:x"),
        ("jo.doe@corp_mail.com".into(), "[email]"),
        ("$jo.doe@corpmail.com!".into(), "$[email]!"),
        ("P@jo.doe@corpmail.com".into(), "P@[email]"),
        ("j\u{f6}rg.doe@corpmail.com".into(), "[email]"),
        ("jo..doe.@corpmail.com".into(), "[email]"),
        (format!("{}@corpmail.com", "a".repeat(99)), "[email]"),
        (format!("AUTH PLAIN {}", base64("\0jo.doe@corpmail.com\0hunter2")), "AUTH PLAIN [email]"),
        (base64("\0jo.doe@corpmail.com\0hunter2"), "[email]"),
        (base64("jo@corp.de"), "[email]"),
        (format!("Authorization: Basic {}", base64("jo.doe@corpmail.com:pw")), "Authorization: Basic [email]"),
        (format!("/x/{}/y", base64("is jo.doe@corpmail.com soon")), "/x/[email]/y"),
        (format!("powershell -enc {wide}"), "powershell -enc [email]"),
        (format!("x {hexadecimal} y"), "x [email] y"),
        (format!("x 0x{hexadecimal} y"), "x [email] y"),
        (base64(&base64("to jo.doe@corpmail.com: see")), "[email]"),
    ];
    let mut wrong = Vec::new();
    for (text, expected) in &texts {
        for member in ["input", "url", "username", "password", "data", "other"] {
            let of = |text: &str| serde_json::json!({ member: text }).to_string();
            let line = redacted(&policy, &of(text));
            if line != of(expected) {
                wrong.push(format!("{text}: {line}"));
            }
        }
        let line = |text: &str| serde_json::json!({ "sessionId": "s1", "message": { "sender": "x", "text": text } }).to_string();
        match redacted_as(Format::CHAT, &policy, line(text).as_bytes()) {
            Ok(Some(redacted)) if redacted == line(expected) => {}
            other => wrong.push(format!("chat {text}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // What only has the sign in it is left.
    for text in
        ["P@ssw0rd", "P@ssw0rd.2019", "a@b", "9876543210@ybl", "@angular/core@17.0.1", "foo@2x.png", "root@192.0.2.1", "50%40", "a%40b"]
    {
        let line = serde_json::json!({ "input": text }).to_string();
        assert_eq!(redacted(&policy, &line), line);
    }
}

#[test]
fn a_text_packed_many_times_over_ends_in_an_answer() {
    let policy = policy(vec![rule(&[], &[Kind::Email], Action::Mask)]);
    let mut packed = "a@b%40c ".repeat(40);
    for _ in 0..3 {
        packed = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &packed);
    }
    // Whether it is unpacked or goes altogether.
    let line = serde_json::json!({ "input": packed.repeat(20), "a": 1 }).to_string();
    assert!(redacted(&policy, &line).ends_with("}"));
}

#[test]
fn a_described_formats_paths_lead_to_every_value_there_is() {
    let description = toml::from_str(
        "name = \"redacted\"\nsensor = \"node\"\neventid = \"x.{kind}\"\ntexts = [\"base64:raw\", \"chat:say\"]\n\
         [fields]\nusername = \"auth.user|user\"\npassword = \"tries[].1\"\nurl = \"headers[Referer]\"\n",
    );
    let description: crate::events::mapping::Description = description.expect("a description");
    let Ok(format) = Format::describe(vec![description]).remove(0) else { panic!("a format") };
    let fields = [Field::Username, Field::Password, Field::Url, Field::Eventid, Field::Sensor];
    let mask = policy(vec![rule(&fields, &[Kind::Email], Action::Mask)]);
    let line = r#"{"node":"n","kind":"k","user":"u2","auth":{"user":"u1","user":"u3"},"tries":[{"1":"p"},{"1":{"x":2}}],"headers":[["referer","r"],["Host","h"]],"raw":"YSBhQGV4YW1wbGUuY29tIHh4","say":"a@example.com"}"#;
    let expected = r#"{"node":"[sensor]","kind":"[eventid]","user":"[username]","auth":{"user":"[username]","user":"[username]"},"tries":[{"1":"[password]"},{"1":"[password]"}],"headers":[["referer","[url]"],["Host","h"]],"raw":"[email]","say":"[email]"}"#;
    assert_eq!(redacted_as(format, &mask, line.as_bytes()), Ok(Some(expected.into())));
    let drop = policy(vec![rule(&fields, &[], Action::Drop)]);
    let expected =
        r#"{"auth":{},"tries":[{},{}],"headers":[["referer",null],["Host","h"]],"raw":"YSBhQGV4YW1wbGUuY29tIHh4","say":"a@example.com"}"#;
    assert_eq!(redacted_as(format, &drop, line.as_bytes()), Ok(Some(expected.into())));
}

#[test]
fn what_cannot_be_redacted_for_certain_is_said_to_be_so() {
    let drop = policy(vec![rule(&[Field::Session], &[], Action::Drop)]);
    let chat = br#"{"sessionId":"s","message":{"text":"x"}}"#;
    assert_eq!(redacted_as(Format::CHAT, &drop, chat), Err(Uncertain::Unreadable));
    assert_eq!(redacted_as(Format::UNKNOWN, &drop, chat), Err(Uncertain::Unknown));
    assert_eq!(redacted_as(Format::COWRIE, &drop, b"a@example.com"), Err(Uncertain::NotAnObject));
    // As long as it may be: a mark would be longer than what it stands for, so that goes.
    let mask = policy(vec![rule(&[], &[Kind::Email], Action::Mask)]);
    let many = "a@b.co ".repeat((crate::events::LINE_BYTES_MAX - 20) / 7);
    let line = redacted_as(Format::COWRIE, &mask, format!("{{\"x\":\"{many}\"}}").as_bytes()).expect("certain").expect("changed");
    assert!(line.len() < many.len() && !line.contains('@'));
}

#[test]
fn invalid_utf8_stays_as_it_is_and_hides_nothing() {
    let mask = policy(vec![rule(&[], &[Kind::Email], Action::Mask)]);
    let mut redactor = Redactor::default();
    let line = b"{\"x\":\"\xFFa@example.com\xFE\\n\xE2\x82 b\"}";
    let out = redactor.redact(&mask, Stage::Store, Subject { source: "s", format: Format::COWRIE }, line).expect("certain");
    assert_eq!(out.expect("changed"), b"{\"x\":\"\xFF[email]\xFE\\n\xE2\x82 b\"}");
}

#[test]
fn a_key_is_hexadecimal_digits_or_raw_bytes_and_never_shown() {
    let raw = [0xAB; 32];
    assert_eq!(Key::parse(&raw), Some(Key::new(&raw)));
    assert_eq!(Key::parse(format!("{}\n", "aB".repeat(32)).as_bytes()), Some(Key::new(&raw)));
    for wrong in [&b""[..], b"abc", &[b'a'; 63], &[b'z'; 64], &[1; 33]] {
        assert_eq!(Key::parse(wrong), None);
    }
    assert_eq!(format!("{:?}", Key::new(&raw)), "Key(…)");
}

#[test]
fn indicators_leave_as_hashes_or_not_at_all() {
    let hash = policy(vec![rule(&[], &[Kind::Email], Action::Hash), rule(&[], &[Kind::Phone], Action::Mask)]);
    assert!(hash.indicator(Field::Email, "a@example.com").is_some_and(|value| is_mark("email", value.as_bytes())));
    assert_eq!(hash.indicator(Field::Phone, "+919876543210"), None);
    assert_eq!(hash.indicator(Field::Domain, "example.com"), Some("example.com".into()));
    assert_eq!(Policy { key: None, ..hash }.indicator(Field::Email, "a@example.com"), None);
}

#[test]
fn indicators_with_something_to_be_redacted_in_them_do_not_leave() {
    let mask = policy(vec![rule(&[], &Kind::ALL, Action::Mask)]);
    for (field, value, leaves) in [
        (Field::Url, "http://h.top/?m=jo.doe%40corpmail.com", false),
        (Field::Url, "ftp://jo.doe@corpmail.com:pw@h.top/", false),
        (Field::Url, "https://wa.me/+919876543210", false),
        (Field::Url, "http://h.top/a.sh", true),
        (Field::BankAccount, "4111111111111111", false),
        (Field::BankAccount, "123456789012", true),
        (Field::Command, "echo jo.doe@corpmail.com:x", false),
        (Field::Domain, "corpmail.com", true),
        (Field::SrcIp, "198.51.100.7", true),
        (Field::Sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", true),
    ] {
        assert_eq!(mask.indicator(field, value).is_some(), leaves, "{value}");
    }
    let fields = policy(vec![rule(&[Field::Password], &[], Action::Mask)]);
    assert!(fields.indicator(Field::Url, "ftp://jo.doe@corpmail.com/").is_some());
}

/// A text with secrets planted in it, and those.
fn planted() -> impl Strategy<Value = (String, Vec<String>)> {
    let secret = prop_oneof![
        "[a-z]{3,9}\\.[a-z]{3,9}[0-9]{2}@(mail\\.)?example\\.(com|co\\.uk|org)",
        (6_000_000_000u64..9_999_999_999)
            .prop_filter("given out", |number| crate::extract::phone::is_valid(&format!("91{number}")))
            .prop_map(|number| format!("+91{number}")),
        (0u64..10_000_000_000).prop_map(|number| {
            let digits = format!("41111{number:010}");
            let last = (0..10).find(|last| card::is_card(&format!("{digits}{last}"))).expect("one digit is right");
            format!("{digits}{last}")
        }),
    ];
    let around = prop::sample::select(vec!["", " ", " x ", "\n", "\"", "\\", "{", "<", ", ", " é ", " 😀", "| ", "mail: "]);
    let behind = prop::sample::select(vec!["", " ", " x ", "\n", "\"", "}", ">", ", ", " é ", " 😀", " | "]);
    prop::collection::vec((around, secret, behind), 0..4).prop_map(|pieces| {
        let text = pieces.iter().map(|(before, secret, after)| format!("{before}{secret}{after} ")).collect();
        (text, pieces.into_iter().map(|(_, secret, _)| secret).collect())
    })
}

type Planted = (Json, Vec<String>);

/// Any JSON, with planted secrets in any string of it, names of members included.
fn planted_json() -> impl Strategy<Value = Planted> {
    let leaf = prop_oneof![
        Just((Json::Null, Vec::new())),
        any::<bool>().prop_map(|flag| (flag.into(), Vec::new())),
        any::<u16>().prop_map(|number| (number.into(), Vec::new())),
        planted().prop_map(|(text, secrets)| (text.into(), secrets)),
    ];
    leaf.prop_recursive(4, 24, 4, |inner: BoxedStrategy<Planted>| {
        let all = |parts: Vec<Planted>| -> (Vec<Json>, Vec<String>) {
            let (values, secrets): (Vec<Json>, Vec<Vec<String>>) = parts.into_iter().unzip();
            (values, secrets.concat())
        };
        let names = prop_oneof!["[a-z]{1,4}".prop_map(|name| (name, Vec::new())), planted()];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(move |parts| {
                let (values, secrets) = all(parts);
                (values.into(), secrets)
            }),
            prop::collection::vec((names, inner), 0..4).prop_map(|members| {
                let secrets = members.iter().flat_map(|((_, name), (_, value))| name.iter().chain(value).cloned()).collect();
                (Json::Object(members.into_iter().map(|((name, _), (value, _))| (name, value)).collect()), secrets)
            }),
        ]
    })
}

/// A document without its texts: they may have changed.
fn skeleton(value: &Json) -> Json {
    match value {
        Json::String(_) => "".into(),
        Json::Array(values) => values.iter().map(skeleton).collect::<Vec<_>>().into(),
        Json::Object(members) => members.values().map(skeleton).collect::<Vec<_>>().into(),
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn nothing_planted_is_left_and_nothing_else_changes(
        (value, secrets) in planted_json(),
        action in prop::sample::select(vec![Action::Mask, Action::Hash, Action::Drop]),
        escape: bool,
    ) {
        let value = serde_json::json!({ "untouched": "p\u{e9}\"x", "input": value.clone(), "z": [1.5, null], "deep": { "a": value } });
        let mut line = value.to_string();
        if escape {
            line = line.replace('@', "\\u0040").replace("41111", "\\u00341111").replace("+91", "\\u002b91");
        }
        let policy = policy(vec![rule(&[], &Kind::ALL, action)]);
        let out = redacted(&policy, &line);
        let back: Json = serde_json::from_str(&out).expect("JSON");
        let plain = back.to_string();
        for secret in &secrets {
            prop_assert!(!plain.contains(secret.as_str()), "{secret} in {out}");
        }
        prop_assert_eq!(&back["untouched"], &value["untouched"]);
        if action == Action::Drop || secrets.is_empty() {
            if secrets.is_empty() {
                prop_assert_eq!(&out, &line);
            }
        } else {
            prop_assert_eq!(skeleton(&back["z"]), skeleton(&value["z"]));
        }
    }

    #[test]
    fn any_bytes_end_in_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\{\"[a-z@.\\\\\"{}:,0-9]{0,60}\"\\}") {
        let policy = policy(vec![rule(&[Field::Password], &Kind::ALL, Action::Drop)]);
        let _ = redacted_as(Format::COWRIE, &policy, &bytes);
        let _ = redacted_as(Format::CHAT, &policy, text.as_bytes());
    }
}

#[test]
fn the_digest_of_rules_changes_with_every_part_of_them() {
    let one = rule(&[Field::Password], &[Kind::Email], Action::Hash);
    let others = [
        Rule { fields: vec![Field::Username], ..one.clone() },
        Rule { kinds: vec![Kind::Phone], ..one.clone() },
        Rule { action: Action::Mask, ..one.clone() },
        Rule { stage: Stage::Export, ..one.clone() },
        Rule { stage: Stage::Store, ..one.clone() },
        Rule { sources: vec!["a".into()], ..one.clone() },
        Rule { sensors: vec!["a".into()], ..one.clone() },
    ];
    let same = digest(std::slice::from_ref(&one));
    assert_eq!(same, digest(std::slice::from_ref(&one)));
    for other in others.iter().filter(|other| **other != one) {
        assert_ne!(digest(std::slice::from_ref(other)), same, "{other}");
        assert_ne!(digest(&[one.clone(), other.clone()]), digest(&[other.clone(), one.clone()]));
    }
}
