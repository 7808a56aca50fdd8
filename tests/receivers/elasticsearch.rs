//! A strict double of the parts of Elasticsearch that the sink uses. Where it differs from the real thing it refuses more.
//!
//! It is proven by the real clients in elasticsearch_double.rs. Documents are kept in memory; templates make the mappings of
//! indexes that are created after them, and documents are held against these mappings as Elasticsearch does: what cannot be
//! parsed as its field's type refuses its document.
use super::{Fault, Faults, Server, decoded, finish, instead, lock};
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use actix_web::web::{self, Bytes, Data, PayloadConfig, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

/// The double.
pub struct Double {
    pub server: Server,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    faults: Faults,
    cluster: Mutex<Cluster>,
    /// What `Authorization` must be.
    authorization: Mutex<Option<String>>,
    /// Encodings of bulk requests.
    encodings: Mutex<Vec<String>>,
}

#[derive(Default)]
struct Cluster {
    templates: BTreeMap<String, Template>,
    indexes: BTreeMap<String, Index>,
    generated: u64,
}

struct Template {
    patterns: Vec<String>,
    priority: u64,
    whole: Value,
}

#[derive(Default)]
struct Index {
    mappings: Value,
    documents: HashMap<String, String>,
    /// Ids in the order of arrival.
    order: Vec<String>,
}

/// A document as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub index: String,
    pub id: String,
    pub source: Value,
}

/// Starts a double on a free port.
pub fn start() -> Arc<Double> {
    let state = Arc::new(State::default());
    let data = Data::from(state.clone());
    let server = Server::start(move |config: &mut ServiceConfig| {
        config.app_data(data.clone()).app_data(PayloadConfig::new(100 << 20)).default_service(web::to(answer));
    });
    Arc::new(Double { server, state })
}

impl Double {
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    pub fn faults(&self) -> &Faults {
        &self.state.faults
    }

    /// Every document, by index and in the order of arrival.
    pub fn documents(&self) -> Vec<Document> {
        let cluster = lock(&self.state.cluster);
        let of_index = |(name, index): (&String, &Index)| {
            let document = |id: &String| {
                let source = serde_json::from_str(&index.documents[id]).expect("kept as JSON");
                Document { index: name.clone(), id: id.clone(), source }
            };
            index.order.iter().map(document).collect::<Vec<_>>()
        };
        cluster.indexes.iter().flat_map(of_index).collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        lock(&self.state.cluster).indexes.values().map(|index| index.documents.len()).sum()
    }

    /// The mappings of an index, once it is there.
    pub fn mappings(&self, index: &str) -> Option<Value> {
        lock(&self.state.cluster).indexes.get(index).map(|index| index.mappings.clone())
    }

    /// Names of templates.
    pub fn templates(&self) -> Vec<String> {
        lock(&self.state.cluster).templates.keys().cloned().collect()
    }

    /// From now on every request must have this `Authorization`.
    pub fn require_authorization(&self, value: Option<&str>) {
        *lock(&self.state.authorization) = value.map(str::to_owned);
    }

    /// The `content-encoding` of each bulk request, `""` without one.
    pub fn encodings(&self) -> Vec<String> {
        lock(&self.state.encodings).clone()
    }
}

/// What is wrong with a request or with an item.
struct Refusal {
    status: u16,
    kind: &'static str,
    reason: String,
}

fn refusal(status: u16, kind: &'static str, reason: impl Into<String>) -> Refusal {
    Refusal { status, kind, reason: reason.into() }
}

impl Refusal {
    fn whole(self) -> (u16, Value) {
        let Refusal { status, kind, reason } = self;
        let cause = json!({ "type": kind, "reason": reason });
        (status, json!({ "error": { "root_cause": [cause], "type": kind, "reason": reason }, "status": status }))
    }
}

async fn answer(request: HttpRequest, body: Bytes, state: Data<State>) -> HttpResponse {
    let fault = state.faults.next();
    if let Some(answer) = instead(&fault).await {
        return answer;
    }
    let header = |name| request.headers().get(name).and_then(|value: &actix_web::http::header::HeaderValue| value.to_str().ok());
    let given = header(AUTHORIZATION).map(str::to_owned);
    let (status, answer) = if lock(&state.authorization).as_ref().is_some_and(|required| Some(required) != given.as_ref()) {
        refusal(401, "security_exception", "unable to authenticate with the provided credentials").whole()
    } else {
        let asked = Asked { content_type: header(CONTENT_TYPE).unwrap_or_default(), encoding: header(CONTENT_ENCODING), fault: &fault };
        route(&request, &asked, &body, &state).unwrap_or_else(Refusal::whole)
    };
    let mut builder = HttpResponse::build(StatusCode::from_u16(status).expect("a status"));
    // The client's media type comes back.
    let compatible = header(actix_web::http::header::ACCEPT).filter(|accept| accept.starts_with("application/vnd.elasticsearch+json"));
    builder.insert_header(("x-elastic-product", "Elasticsearch")).content_type(compatible.unwrap_or("application/json"));
    let answer = match query(&request, "filter_path") {
        Some(paths) => filtered(&answer, &paths.split(',').map(|path| path.split('.').collect()).collect::<Vec<_>>()).unwrap_or(json!({})),
        None => answer,
    };
    finish(builder, answer.to_string().into_bytes(), &fault)
}

struct Asked<'a> {
    content_type: &'a str,
    encoding: Option<&'a str>,
    fault: &'a Fault,
}

type Answered = Result<(u16, Value), Refusal>;

fn route(request: &HttpRequest, asked: &Asked<'_>, body: &[u8], state: &State) -> Answered {
    let method = request.method().as_str();
    let path = request.path();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if asked.encoding.is_some_and(|encoding| encoding != "gzip") {
        return Err(refusal(400, "illegal_argument_exception", "only gzip is understood"));
    }
    let body = decoded(asked.encoding, body).map_err(|problem| refusal(400, "illegal_argument_exception", problem))?;
    if !body.is_empty() {
        check_content_type(asked.content_type)?;
    }
    if let ("POST" | "PUT", ["_bulk"] | [_, "_bulk"]) = (method, parts.as_slice()) {
        lock(&state.encodings).push(asked.encoding.unwrap_or_default().to_owned());
        // Read before anybody has to wait for it.
        let actions = parse_bulk(parts.first().copied().filter(|_| parts.len() == 2), &body)?;
        return Ok(lock(&state.cluster).bulk(actions, asked.fault, &state.faults));
    }
    let mut cluster = lock(&state.cluster);
    match (method, parts.as_slice()) {
        ("GET" | "HEAD", []) => Ok((200, about())),
        ("GET", ["_cluster", "health"]) => Ok((200, json!({ "cluster_name": "double", "status": "green", "timed_out": false }))),
        ("PUT" | "POST", ["_index_template", name]) => cluster.put_template(name, &body),
        ("GET" | "HEAD", ["_index_template", name]) => match cluster.templates.get(*name) {
            Some(template) => Ok((200, json!({ "index_templates": [{ "name": name, "index_template": template.whole }] }))),
            None => Err(refusal(404, "resource_not_found_exception", format!("index template matching [{name}] not found"))),
        },
        ("GET" | "POST", [indexes, "_count"]) => cluster.counted(indexes, &body),
        ("GET" | "POST", [indexes, "_refresh"]) => {
            let total = cluster.matching(indexes)?.len();
            Ok((200, json!({ "_shards": { "total": total, "successful": total, "failed": 0 } })))
        }
        ("GET" | "HEAD", [index, "_doc", id]) => cluster.document(index, id),
        _ => Err(refusal(400, "illegal_argument_exception", format!("no handler found for uri [{path}] and method [{method}]"))),
    }
}

fn about() -> Value {
    json!({
        "name": "double", "cluster_name": "double", "cluster_uuid": "0123456789abcdefghijkl",
        "version": { "number": "8.19.0", "build_flavor": "default", "build_type": "docker", "lucene_version": "9.12.2",
            "minimum_wire_compatibility_version": "7.17.0", "minimum_index_compatibility_version": "7.0.0" },
        "tagline": "You Know, for Search",
    })
}

fn check_content_type(content_type: &str) -> Result<(), Refusal> {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let known =
        ["application/json", "application/x-ndjson", "application/vnd.elasticsearch+json", "application/vnd.elasticsearch+x-ndjson"];
    if known.contains(&kind) {
        return Ok(());
    }
    Err(refusal(406, "media_type_header_exception", format!("Content-Type header [{content_type}] is not supported")))
}

impl Cluster {
    fn put_template(&mut self, name: &str, body: &[u8]) -> Answered {
        let whole: Value = serde_json::from_slice(body).map_err(|error| refusal(400, "x_content_parse_exception", error.to_string()))?;
        let members = whole.as_object().ok_or_else(|| refusal(400, "x_content_parse_exception", "a template is an object"))?;
        let known = ["index_patterns", "template", "priority", "version", "_meta", "composed_of", "data_stream", "allow_auto_create"];
        if let Some(unknown) = members.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(refusal(400, "x_content_parse_exception", format!("[index_template] unknown field [{unknown}]")));
        }
        let patterns: Vec<String> = match &whole["index_patterns"] {
            Value::String(one) => vec![one.clone()],
            Value::Array(many) => many.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
            _ => Vec::new(),
        };
        if patterns.is_empty() {
            return Err(refusal(400, "x_content_parse_exception", "Required [index_patterns]"));
        }
        if let Some(unknown) = whole["template"]
            .as_object()
            .and_then(|members| members.keys().find(|key| !["settings", "mappings", "aliases"].contains(&key.as_str())))
        {
            return Err(refusal(400, "x_content_parse_exception", format!("[template] unknown field [{unknown}]")));
        }
        if let Some(mappings) = whole["template"].get("mappings") {
            check_mappings(mappings)?;
        }
        let priority = whole["priority"].as_u64().unwrap_or(0);
        let same = |other: &Template| other.priority == priority && other.patterns.iter().any(|pattern| patterns.contains(pattern));
        if let Some((other, _)) = self.templates.iter().find(|(other, template)| *other != name && same(template)) {
            let reason = format!("index template [{name}] has the patterns and the priority [{priority}] of [{other}]");
            return Err(refusal(400, "illegal_argument_exception", reason));
        }
        self.templates.insert(name.to_owned(), Template { patterns, priority, whole });
        Ok((200, json!({ "acknowledged": true })))
    }

    fn bulk(&mut self, actions: Vec<Item<'_>>, fault: &Fault, faults: &Faults) -> (u16, Value) {
        let (mut errors, mut items) = (false, Vec::with_capacity(actions.len()));
        for (at, (action, source, parsed)) in actions.into_iter().enumerate() {
            let id = action.id.clone().unwrap_or_else(|| {
                self.generated += 1;
                format!("generated-{}", self.generated)
            });
            let refused = match fault {
                Fault::Partial { every, status } if at % every == 0 => {
                    Err(refusal(*status, "es_rejected_execution_exception", "queue full"))
                }
                _ if faults.is_poisoned(source) => Err(refusal(400, "document_parsing_exception", "poison")),
                _ => self.act(&action, &id, source, parsed),
            };
            let mut item = json!({ "_index": action.index, "_id": id });
            match refused {
                Ok((status, result)) => {
                    (item["status"], item["result"]) = (json!(status), json!(result));
                    (item["_version"], item["_shards"]) = (json!(1), json!({ "total": 1, "successful": 1, "failed": 0 }));
                }
                Err(Refusal { status, kind, reason }) => {
                    errors = true;
                    (item["status"], item["error"]) = (json!(status), json!({ "type": kind, "reason": reason, "index": action.index }));
                }
            }
            items.push(Value::Object(Map::from_iter([(action.name.to_owned(), item)])));
        }
        (200, json!({ "took": 1, "errors": errors, "items": items }))
    }

    fn act(&mut self, action: &Action, id: &str, source: &[u8], parsed: Parsed) -> Result<(u16, &'static str), Refusal> {
        check_index_name(&action.index)?;
        if action.name == "delete" {
            let Some(index) = self.indexes.get_mut(&action.index) else {
                return Err(refusal(404, "index_not_found_exception", format!("no such index [{}]", action.index)));
            };
            index.order.retain(|known| known != id);
            return Ok(if index.documents.remove(id).is_some() { (200, "deleted") } else { (404, "not_found") });
        }
        let document = parsed.map_err(|error| refusal(400, "document_parsing_exception", format!("failed to parse: {error}")))?;
        if !self.indexes.contains_key(&action.index) {
            let mappings = self.mappings_for(&action.index);
            self.indexes.insert(action.index.clone(), Index { mappings, ..Index::default() });
        }
        let index = self.indexes.get_mut(&action.index).expect("made above");
        let exists = index.documents.contains_key(id);
        if exists && action.name == "create" {
            let reason = format!("[{id}]: version conflict, document already exists (current version [1])");
            return Err(refusal(409, "version_conflict_engine_exception", reason));
        }
        let object = document.as_object().ok_or_else(|| refusal(400, "document_parsing_exception", "a document is an object"))?;
        if teaches_nothing(object, &index.mappings, true) {
            fit_object(object, &mut index.mappings, "", true)?;
        } else {
            // What is guessed of a document that is refused is not kept.
            let mut mappings = index.mappings.clone();
            fit_object(object, &mut mappings, "", true)?;
            index.mappings = mappings;
        }
        let text = String::from_utf8(source.to_vec()).expect("was parsed as JSON");
        if index.documents.insert(id.to_owned(), text).is_none() {
            index.order.push(id.to_owned());
        }
        Ok(if exists { (200, "updated") } else { (201, "created") })
    }

    fn mappings_for(&self, index: &str) -> Value {
        let fits = |template: &&Template| template.patterns.iter().any(|pattern| matches(pattern, index));
        let template = self.templates.values().filter(fits).max_by_key(|template| template.priority);
        template.and_then(|template| template.whole["template"].get("mappings")).cloned().unwrap_or_else(|| json!({}))
    }

    fn matching(&self, patterns: &str) -> Result<Vec<&Index>, Refusal> {
        let mut found = Vec::new();
        for pattern in patterns.split(',') {
            let of_pattern: Vec<&Index> = self.indexes.iter().filter(|(name, _)| matches(pattern, name)).map(|(_, index)| index).collect();
            if of_pattern.is_empty() && !pattern.contains('*') && pattern != "_all" {
                return Err(refusal(404, "index_not_found_exception", format!("no such index [{pattern}]")));
            }
            found.extend(of_pattern);
        }
        Ok(found)
    }

    fn counted(&self, indexes: &str, body: &[u8]) -> Answered {
        if !body.is_empty() {
            let query: Value = serde_json::from_slice(body).map_err(|error| refusal(400, "parsing_exception", error.to_string()))?;
            if query != json!({ "query": { "match_all": {} } }) {
                return Err(refusal(400, "parsing_exception", "this double counts everything or nothing"));
            }
        }
        let found = self.matching(indexes)?;
        let count: usize = found.iter().map(|index| index.documents.len()).sum();
        Ok((200, json!({ "count": count, "_shards": { "total": found.len(), "successful": found.len(), "skipped": 0, "failed": 0 } })))
    }

    fn document(&self, index: &str, id: &str) -> Answered {
        let missing = || refusal(404, "index_not_found_exception", format!("no such index [{index}]"));
        match self.indexes.get(index).ok_or_else(missing)?.documents.get(id) {
            Some(text) => {
                let source: Value = serde_json::from_str(text).expect("kept as JSON");
                Ok((200, json!({ "_index": index, "_id": id, "_version": 1, "found": true, "_source": source })))
            }
            None => Ok((404, json!({ "_index": index, "_id": id, "found": false }))),
        }
    }
}

type Parsed = serde_json::Result<Value>;

/// An action with its document, as it stands in the request and read.
type Item<'b> = (Action, &'b [u8], Parsed);

/// The actions of a bulk request, each with its document. A malformed action refuses everything before anything is done.
fn parse_bulk<'b>(default_index: Option<&str>, body: &'b [u8]) -> Result<Vec<Item<'b>>, Refusal> {
    if body.is_empty() {
        return Err(refusal(400, "parse_exception", "request body is required"));
    }
    if body.last() != Some(&b'\n') {
        return Err(refusal(400, "illegal_argument_exception", "The bulk request must be terminated by a newline [\\n]"));
    }
    let mut lines = body[..body.len() - 1].split(|&byte| byte == b'\n').enumerate();
    let mut actions = Vec::new();
    while let Some((number, line)) = lines.next() {
        let action = parse_action(number + 1, line, default_index)?;
        let source = match action.name {
            "delete" => &[][..],
            _ => lines
                .next()
                .map(|(_, line)| line)
                .filter(|line| !line.is_empty())
                .ok_or_else(|| refusal(400, "action_request_validation_exception", "Validation Failed: 1: source is missing;"))?,
        };
        actions.push((action, source, serde_json::from_slice(source)));
    }
    Ok(actions)
}

struct Action {
    name: &'static str,
    index: String,
    id: Option<String>,
}

fn parse_action(number: usize, line: &[u8], default_index: Option<&str>) -> Result<Action, Refusal> {
    let malformed = |what: &str| refusal(400, "illegal_argument_exception", format!("Malformed action/metadata line [{number}], {what}"));
    let action: Map<String, Value> = serde_json::from_slice(line).map_err(|error| malformed(&error.to_string()))?;
    let mut members = action.into_iter();
    let (Some((name, fields)), None) = (members.next(), members.next()) else { return Err(malformed("expected one action")) };
    let Some(name) = ["index", "create", "delete"].into_iter().find(|known| *known == name) else {
        return Err(malformed(&format!("unknown action [{name}]")));
    };
    let Value::Object(fields) = fields else { return Err(malformed("expected an object")) };
    let known = ["_index", "_id", "routing", "pipeline", "require_alias", "dynamic_templates"];
    if let Some(unknown) = fields.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(malformed(&format!("unknown parameter [{unknown}]")));
    }
    let text = |key: &str| fields.get(key).map(|value| value.as_str().map(str::to_owned).ok_or_else(|| malformed("expected a text")));
    let id = text("_id").transpose()?;
    if id.as_ref().is_some_and(|id| id.is_empty() || id.len() > 512) {
        return Err(malformed("an id has 1 to 512 bytes"));
    }
    let index = text("_index").transpose()?.or(default_index.map(str::to_owned));
    Ok(Action { name, index: index.ok_or_else(|| malformed("index is missing"))?, id })
}

fn check_index_name(name: &str) -> Result<(), Refusal> {
    let forbidden = |c: char| c.is_uppercase() || "\\/*?\"<>| ,#:".contains(c);
    if name.is_empty() || name.len() > 255 || name.starts_with(['-', '_', '+']) || name.contains(forbidden) {
        return Err(refusal(400, "invalid_index_name_exception", format!("Invalid index name [{name}]")));
    }
    Ok(())
}

/// Parameters that each type of field has; what is not here is refused.
const TYPES: &[(&str, &[&str])] = &[
    ("keyword", &["ignore_above", "index", "doc_values", "fields", "norms", "null_value", "store"]),
    ("text", &["index", "fields", "norms", "analyzer", "store"]),
    ("long", &["index", "doc_values", "ignore_malformed", "coerce", "fields", "store"]),
    ("integer", &["index", "doc_values", "ignore_malformed", "coerce", "fields", "store"]),
    ("float", &["index", "doc_values", "ignore_malformed", "coerce", "fields", "store"]),
    ("date", &["index", "doc_values", "ignore_malformed", "format", "fields", "store"]),
    ("boolean", &["index", "doc_values", "fields", "store"]),
    ("ip", &["index", "doc_values", "ignore_malformed", "fields", "store"]),
    ("object", &["dynamic", "enabled", "properties"]),
];

fn check_mappings(mappings: &Value) -> Result<(), Refusal> {
    let unknown = |what: String| refusal(400, "mapper_parsing_exception", what);
    let members = mappings.as_object().ok_or_else(|| unknown("mappings are an object".into()))?;
    for key in members.keys() {
        if !["dynamic", "properties", "_source", "_meta", "date_detection", "numeric_detection", "_routing"].contains(&key.as_str()) {
            return Err(unknown(format!("Root mapping definition has unsupported parameters: [{key}]")));
        }
    }
    let fields = members.get("properties").and_then(Value::as_object);
    fields.into_iter().flatten().try_for_each(|(name, field)| check_field(name, field))
}

fn check_field(name: &str, field: &Value) -> Result<(), Refusal> {
    let unknown = |what: String| refusal(400, "mapper_parsing_exception", what);
    let members = field.as_object().ok_or_else(|| unknown(format!("Expected map for property [{name}]")))?;
    let kind = match members.get("type") {
        None => "object",
        Some(kind) => kind.as_str().unwrap_or_default(),
    };
    let Some((_, parameters)) = TYPES.iter().find(|(known, _)| *known == kind) else {
        return Err(unknown(format!("No handler for type [{kind}] declared on field [{name}]")));
    };
    if let Some(parameter) = members.keys().find(|key| *key != "type" && !parameters.contains(&key.as_str())) {
        return Err(unknown(format!("unknown parameter [{parameter}] on mapper [{name}] of type [{kind}]")));
    }
    let below = ["properties", "fields"].into_iter().filter_map(|key| members.get(key).and_then(Value::as_object));
    below.flatten().try_for_each(|(name, field)| check_field(name, field))
}

/// Whether an object has no field that its mapping would learn: most have none, and mappings are large.
fn teaches_nothing(object: &Map<String, Value>, mapping: &Value, dynamic: bool) -> bool {
    let dynamic = mapping.get("dynamic").map_or(dynamic, |setting| *setting == json!(true) || *setting == json!("true"));
    object.iter().all(|(name, value)| match (&mapping["properties"][name], value) {
        (Value::Null, value) => !dynamic || guess(value).is_none(),
        (field, Value::Object(inner)) => teaches_nothing(inner, field, dynamic),
        (_, Value::Array(values)) => !values.iter().any(|value| value.is_object() || value.is_array()),
        _ => true,
    })
}

/// Holds an object against its mapping, to which what is new is added when it is dynamic.
fn fit_object(object: &Map<String, Value>, mapping: &mut Value, path: &str, dynamic: bool) -> Result<(), Refusal> {
    let setting = mapping.get("dynamic").map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let strict = setting.as_deref() == Some("strict");
    let dynamic = setting.as_deref().map_or(dynamic, |setting| setting == "true");
    for (name, value) in object {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if mapping["properties"].get(name).is_none() {
            let guessed = if dynamic { guess(value) } else { None };
            match guessed {
                _ if strict => {
                    let reason = format!("mapping set to strict, dynamic introduction of [{path}] is not allowed");
                    return Err(refusal(400, "strict_dynamic_mapping_exception", reason));
                }
                Some(guessed) => mapping["properties"][name] = guessed,
                None => continue,
            }
        }
        fit(value, &mut mapping["properties"][name], &path, dynamic)?;
    }
    Ok(())
}

fn fit(value: &Value, mapping: &mut Value, path: &str, dynamic: bool) -> Result<(), Refusal> {
    let failed = |kind: &str, value: &Value| {
        let preview: String = value.to_string().chars().take(40).collect();
        let reason = format!("failed to parse field [{path}] of type [{kind}]. Preview of field's value: '{preview}'");
        refusal(400, "mapper_parsing_exception", reason)
    };
    let kind = mapping["type"].as_str().unwrap_or("object").to_owned();
    match value {
        Value::Null => Ok(()),
        Value::Array(values) => values.iter().try_for_each(|value| fit(value, mapping, path, dynamic)),
        Value::Object(_) if mapping["enabled"] == json!(false) => Ok(()),
        Value::Object(object) if kind == "object" => fit_object(object, mapping, path, dynamic),
        Value::Object(_) => Err(failed(&kind, value)),
        _ if kind == "object" => {
            let reason = format!("object mapping for [{path}] tried to parse field as object, but found a concrete value");
            Err(refusal(400, "mapper_parsing_exception", reason))
        }
        _ => {
            if !is_of_type(value, &kind, mapping) && mapping["ignore_malformed"] != json!(true) {
                return Err(failed(&kind, value));
            }
            if let Some(fields) = mapping.get_mut("fields").and_then(Value::as_object_mut) {
                for (name, field) in fields {
                    fit(value, field, &format!("{path}.{name}"), dynamic)?;
                }
            }
            Ok(())
        }
    }
}

fn is_of_type(value: &Value, kind: &str, mapping: &Value) -> bool {
    let text = value.as_str();
    let number = |text: &str| text.trim().parse::<f64>().is_ok_and(f64::is_finite);
    match kind {
        "keyword" => {
            // A term of more bytes cannot be indexed.
            let indexed = mapping["index"] != json!(false) || mapping["doc_values"] != json!(false);
            text.is_none_or(|text| {
                let ignored = mapping["ignore_above"].as_u64().is_some_and(|above| text.chars().count() as u64 > above);
                !indexed || ignored || text.len() <= 32_766
            })
        }
        "text" => true,
        "long" | "integer" => value.is_number() || text.is_some_and(number),
        "float" => value.is_number() || text.is_some_and(number),
        "boolean" => value.is_boolean() || matches!(text, Some("true" | "false" | "")),
        "ip" => text.is_some_and(|text| text.parse::<IpAddr>().is_ok()),
        "date" => value.is_i64() || text.is_some_and(|text| honeyguide::events::time::parse(text.as_bytes()).is_some()),
        _ => false,
    }
}

/// The mapping that dynamic mapping makes of a first value.
fn guess(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Array(values) => values.iter().find_map(guess),
        Value::Object(_) => Some(json!({ "properties": {} })),
        Value::Bool(_) => Some(json!({ "type": "boolean" })),
        Value::Number(number) if number.is_f64() => Some(json!({ "type": "float" })),
        Value::Number(_) => Some(json!({ "type": "long" })),
        Value::String(text) if honeyguide::events::time::parse(text.as_bytes()).is_some() => Some(json!({ "type": "date" })),
        Value::String(_) => Some(json!({ "type": "text", "fields": { "keyword": { "type": "keyword", "ignore_above": 256 } } })),
    }
}

/// Whether a name fits a pattern with `*`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name || pattern == "_all",
        Some((before, after)) => name
            .strip_prefix(before)
            .is_some_and(|rest| (0..=rest.len()).filter(|&at| rest.is_char_boundary(at)).any(|at| matches(after, &rest[at..]))),
    }
}

/// What `filter_path` leaves of an answer.
fn filtered(value: &Value, paths: &[Vec<&str>]) -> Option<Value> {
    match value {
        _ if paths.iter().any(|path| path.is_empty()) => Some(value.clone()),
        Value::Array(values) => {
            let kept: Vec<Value> = values.iter().filter_map(|value| filtered(value, paths)).collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        Value::Object(members) => {
            let kept: Map<String, Value> = members
                .iter()
                .filter_map(|(name, value)| {
                    let below: Vec<Vec<&str>> =
                        paths.iter().filter(|path| path[0] == "*" || path[0] == name).map(|path| path[1..].to_vec()).collect();
                    if below.is_empty() { None } else { filtered(value, &below).map(|value| (name.clone(), value)) }
                })
                .collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        _ => None,
    }
}

fn query(request: &HttpRequest, name: &str) -> Option<String> {
    url::form_urlencoded::parse(request.query_string().as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
