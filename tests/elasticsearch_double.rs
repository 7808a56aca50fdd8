//! The double of Elasticsearch, held to what the real clients of Elasticsearch and OpenSearch expect.
//!
//! No server is to be had for the tests; but a double that both clients work with, and that refuses what it does not know, is
//! close enough to be leant on. The clients are installed from PyPI into a virtual environment below the build directory.
mod python;
mod receivers;

use std::path::PathBuf;
use std::process::Command;

/// A Python with both clients, or why there is none.
fn python() -> Result<PathBuf, String> {
    python::with("elasticsearch-clients", &["elasticsearch>=8,<10", "opensearch-py>=2,<4"], "import elasticsearch, opensearchpy")
}

/// What both clients are put through; `client` and `helpers` are theirs.
const SCRIPT: &str = r#"
assert client.info()["version"]["number"].startswith("8.")
assert client.cluster.health()["status"] == "green"
mappings = {"dynamic": False, "properties": {
    "port": {"type": "long"}, "at": {"type": "date"}, "from": {"type": "ip"},
    "loose": {"type": "ip", "ignore_malformed": True}, "name": {"type": "keyword", "ignore_above": 1024}}}
put_template("pots", {"index_patterns": ["pots-*"], "priority": 500, "template": {"mappings": mappings}})
assert client.indices.get_index_template(name="pots")["index_templates"][0]["name"] == "pots"
assert client.indices.exists_index_template(name="pots")
assert not client.indices.exists_index_template(name="others")
for bad in [{"template": {}}, {"index_patterns": ["a-*"], "nosuch": 1},
            {"index_patterns": ["a-*"], "template": {"mappings": {"properties": {"x": {"type": "nosuch"}}}}},
            {"index_patterns": ["a-*"], "template": {"mappings": {"properties": {"x": {"type": "long", "ignore_above": 1}}}}}]:
    try:
        put_template("bad", bad)
    except RequestError as error:
        assert status(error) == 400, error
    else:
        raise AssertionError(bad)

day = "pots-2026.03.22"
def create(number, **source):
    return {"_op_type": "create", "_index": day, "_id": f"id{number}", "_source": source}
good = [create(n, port=22, at="2026-03-22T00:00:00Z", **{"from": "198.51.100.7"}, loose="no address", other={"x": 1}) for n in range(50)]
assert helpers.bulk(client, good) == (50, [])
done, errors = helpers.bulk(client, good, raise_on_error=False)
assert done == 0 and len(errors) == 50
assert all(error["create"]["status"] == 409 and error["create"]["error"]["type"] == "version_conflict_engine_exception" for error in errors)
for n, (field, value) in enumerate([("port", "ssh"), ("at", "yesterday"), ("from", "no address"), ("name", {"an": "object"})]):
    done, errors = helpers.bulk(client, [create(100 + n, **{field: value})], raise_on_error=False)
    assert done == 0 and errors[0]["create"]["status"] == 400, (field, errors)
    assert errors[0]["create"]["error"]["type"] == "mapper_parsing_exception", errors
done, errors = helpers.bulk(client, [{"_op_type": "create", "_index": "UPPER", "_id": "1", "_source": {}}], raise_on_error=False)
assert errors[0]["create"]["error"]["type"] == "invalid_index_name_exception", errors
# Without a template the first value makes the mapping.
drifting = [{"_op_type": "index", "_index": "others", "_source": {"port": port}} for port in (22, "ssh")]
done, errors = helpers.bulk(client, drifting, raise_on_error=False)
assert done == 1 and errors[0]["index"]["status"] == 400, errors
client.indices.refresh(index="pots-*")
assert client.count(index="pots-*")["count"] == 50
assert client.count(index=day)["count"] == 50
assert client.get(index=day, id="id7")["_source"]["port"] == 22
assert not client.exists(index=day, id="id100")
try:
    client.count(index="nosuch")
except NotFoundError as error:
    assert status(error) == 404
else:
    raise AssertionError("a missing index")
print("proven", client.count(index=day)["count"])
"#;

const ELASTICSEARCH: &str = r#"
import sys, elasticsearch
from elasticsearch import helpers, NotFoundError, ApiError as RequestError
client = elasticsearch.Elasticsearch(sys.argv[1], http_compress=True, request_timeout=30)
put_template = lambda name, body: client.perform_request("PUT", f"/_index_template/{name}",
    headers={"content-type": "application/json", "accept": "application/json"}, body=body)
status = lambda error: error.meta.status
"#;

const OPENSEARCH: &str = r#"
import sys, opensearchpy
from opensearchpy import helpers, NotFoundError, TransportError as RequestError
client = opensearchpy.OpenSearch(sys.argv[1], http_compress=True, timeout=30)
put_template = lambda name, body: client.indices.put_index_template(name=name, body=body)
status = lambda error: error.status_code
"#;

fn prove(test: &str, preamble: &str) {
    let python = match python() {
        Ok(python) => python,
        Err(reason) => return println!("SKIPPED: {test}: {reason}"),
    };
    let double = receivers::elasticsearch::start();
    let script = format!("{preamble}{SCRIPT}");
    let output = Command::new(python).args(["-W", "error::UserWarning", "-c", &script, &double.url()]).output().expect("python runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(out.trim(), "proven 50", "{err}");
    assert_eq!(double.documents().iter().filter(|document| document.index == "pots-2026.03.22").count(), 50);
    assert!(double.encodings().iter().all(|encoding| encoding == "gzip"), "the client was told to compress");
}

#[test]
fn the_client_of_elasticsearch_takes_the_double_for_the_real_thing() {
    prove("the_client_of_elasticsearch_takes_the_double_for_the_real_thing", ELASTICSEARCH);
}

#[test]
fn the_client_of_opensearch_takes_the_double_for_the_real_thing() {
    prove("the_client_of_opensearch_takes_the_double_for_the_real_thing", OPENSEARCH);
}

/// What no client would send, but a wrong sink might.
#[test]
fn the_double_refuses_what_is_malformed() {
    use std::io::{Read, Write};
    let double = receivers::elasticsearch::start();
    let post = |content_type: &str, body: &str| {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", double.port())).expect("connected");
        let head = format!("POST /_bulk HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {content_type}\r\n");
        write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()).expect("a status")
    };
    let ndjson = "application/x-ndjson";
    let action = r#"{"create":{"_index":"a","_id":"1"}}"#;
    for (content_type, body, expected) in [
        ("text/plain", format!("{action}\n{{}}\n"), 406),
        (ndjson, String::new(), 400),
        (ndjson, format!("{action}\n{{}}"), 400),
        (ndjson, format!("{action}\n"), 400),
        (ndjson, "{\"upsert\":{\"_index\":\"a\"}}\n{}\n".into(), 400),
        (ndjson, "{\"create\":{\"_index\":\"a\",\"_type\":\"b\"}}\n{}\n".into(), 400),
        (ndjson, "{\"create\":{\"_id\":\"1\"}}\n{}\n".into(), 400),
        (ndjson, "{\"create\":{\"_index\":\"a\"},\"index\":{}}\n{}\n".into(), 400),
        (ndjson, "nonsense\n{}\n".into(), 400),
        (ndjson, format!("{action}\n{{}}\nnonsense\n"), 400),
    ] {
        assert_eq!(post(content_type, &body), expected, "{content_type}: {body}");
        assert_eq!(double.count(), 0, "nothing is done of a request that is refused");
    }
    assert_eq!(
        post(ndjson, &format!("{action}\n{{}}\n{}\n[]\n{}\n{{\n", action.replace("\"1\"", "\"2\""), action.replace("\"1\"", "\"3\""))),
        200
    );
    assert_eq!(double.count(), 1, "a document that is no object is refused alone");
}
