//! Routes that only read: events, terms, sessions, checks.
use super::Admin;
use super::parameters::one_of;
use super::problem::Problem;
use super::route::Route;
use super::stream::{self, Lines};
use crate::access::{Principal, Right};
use crate::cli::counted::{Count, Distinct, Reading};
use crate::cli::format::{self, IngestedFile, TopRow, VerifyReport};
use crate::cli::{answers, counted};
use crate::events::{Field, Micros, time};
use crate::index::aggregate::{Interval, Question};
use crate::index::query::Query;
use crate::index::search::Hit;
use crate::os::memory;
use crate::redact::{Policy, digest};
use crate::report::Clusters;
use crate::report::anomaly::Measure;
use crate::report::{self, Kind, Period, Report};
use crate::service::leaving::{Leaving, policy};
use crate::service::report::{Published, Sensors};
use crate::service::{self, Begin, PageEnd, SearchCost, SearchRequest};
use crate::sources::Format;
use actix_web::http::header::{ContentType, HeaderName, HeaderValue};
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Events and values when nobody says how many.
const LIMIT_DEFAULT: u64 = 50;
/// Most values of a top list: it is made in memory.
const TERMS_MAX: u64 = 100_000;
/// A list of so many bytes took several times as much to make.
const LONG_BYTES: usize = 1 << 20;
/// Most events of a page, and bytes of their lines.
const PAGE_EVENTS_MAX: u64 = 1_000;
const PAGE_BYTES_MAX: usize = 8 << 20;
/// The header with the digest of the rules by which an answer was redacted.
pub const REDACTED: &str = "honeyguide-redacted";
/// Most files of one question.
const PATHS_MAX: usize = 10_000;

pub fn routes() -> Vec<Route> {
    use Right::{Enrich, Evidence};
    vec![
        Route::get("/events", Evidence, "The original lines that match, one a line", events)
            .query::<Events>()
            .answers_bytes(stream::NDJSON)
            .of_sensors(),
        Route::get("/events/page", Evidence, "The events that match, a page at a time", page)
            .query::<Events>()
            .answers::<EventsPageBody>()
            .of_sensors(),
        Route::get("/events/cost", Evidence, "What finding them takes", cost).query::<Events>().answers::<SearchCost>().of_sensors(),
        Route::get("/terms/{field}", Evidence, "The most frequent values of a field, or pairs of values", terms)
            .path_value("field", fields())
            .query::<Counted>()
            .answers::<Vec<TopRow>>()
            .of_sensors(),
        Route::get("/terms/{field}/cost", Evidence, "What finding those reads at most", terms_cost)
            .path_value("field", fields())
            .query::<Counted>()
            .answers::<Reading>()
            .of_sensors(),
        Route::get("/terms/{field}/new", Evidence, "Values that were seen for the first time then", new_values)
            .path_value("field", fields())
            .query::<Span>()
            .answers::<Vec<TopRow>>(),
        Route::get("/distinct/{field}", Evidence, "How many different values a field has", distinct)
            .path_value("field", fields())
            .query::<Counted>()
            .answers::<Distinct>()
            .of_sensors(),
        Route::get("/count", Evidence, "How many events there are", count).query::<Counted>().answers::<Count>().of_sensors(),
        Route::get("/count/cost", Evidence, "What counting them reads at most", count_cost)
            .query::<Counted>()
            .answers::<Reading>()
            .of_sensors(),
        Route::get("/schemas", Evidence, "What events look like", schemas).query::<Schemas>().answers::<Vec<format::Schema>>(),
        Route::get("/reports/{kind}/{period}", Evidence, "Reports on a period", reports)
            .path_value("kind", one_of(Kind::ALL.map(Kind::name)))
            .path_value("period", periods())
            .query::<Reports>()
            .answers::<Vec<Report>>()
            .of_sensors(),
        Route::post("/reports/{kind}/{period}/publish", Enrich, "Writes reports into an Elasticsearch sink", publish)
            .path_value("kind", one_of(Kind::ALL.map(Kind::name)))
            .path_value("period", periods())
            .body::<Publication>()
            .answers::<Published>(),
        Route::get("/anomalies", Evidence, "Days of sensors that are not like those before", anomalies)
            .query::<Anomalies>()
            .answers::<service::anomalies::Anomalies>(),
        Route::get("/sessions/{id}", Evidence, "The original lines of one session, one a line", session)
            .query::<Session>()
            .answers_bytes(stream::NDJSON)
            .of_sensors(),
        Route::get("/clusters", Evidence, "Sessions of one client that typed and tried the same", clusters)
            .query::<service::clusters::Asked>()
            .answers::<Clusters>(),
        Route::get("/clusters/{id}", Evidence, "One of them in full", cluster)
            .query::<service::clusters::Asked>()
            .answers::<service::clusters::Detail>(),
        Route::post("/verify", Evidence, "Checks every byte that is kept", verify).answers_lines::<Checking<VerifyReport>>().only_asks(),
        Route::post("/ingested", Evidence, "Whether files of the daemon's machine are in the journal", ingested)
            .names_files()
            .body::<IngestedRequest>()
            .answers::<Vec<IngestedFile>>()
            .only_asks(),
    ]
}

/// The fields, for a description.
fn fields() -> Schema {
    one_of(Field::ALL.iter().map(|field| field.name()))
}

/// How periods are written.
fn periods() -> Schema {
    let days = "last, a day 2026-03-23, a week 2026-W12, a month 2026-03, or days 2026-03-01..2026-03-15";
    ObjectBuilder::new().schema_type(Type::String).description(Some(days)).pattern(Some(r"^(last|\d{4}-[W\d][\d.W-]*)$")).into()
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct Events {
    query: String,
    /// 50 when nobody says; a page has no more than 1,000.
    #[serde(default = "limit_default")]
    #[param(default = 50)]
    limit: u64,
    #[serde(default)]
    newest: bool,
    /// Where to go on.
    cursor: Option<String>,
    /// Of the original lines: whether a [`PageEnd`] follows them as one more line.
    #[serde(default)]
    end: bool,
    /// As they may leave, by the policy in force.
    #[serde(default)]
    redact: bool,
    /// The digest of the rules that the asking one knows.
    rules: Option<String>,
}

fn limit_default() -> u64 {
    LIMIT_DEFAULT
}

/// What is asked for, and where it begins; a query that is none, or a cursor of another, is told before the answer begins.
/// Errors are told as of what was asked, before it is held to what may be seen.
fn understood(Events { query, limit, newest, cursor, .. }: Events, who: &Principal) -> Result<(SearchRequest, Begin), Problem> {
    Query::parse(&query, time::now()).map_err(|error| Problem::bad_query(&error))?;
    let request = SearchRequest { query: who.within(&query), limit, newest };
    let begin = Begin::read(&request, cursor.as_deref(), time::now())?;
    Ok((request, begin))
}

/// The policy by which an answer leaves, if it is to be redacted. Clear text for somebody who asked for none would be worse than no answer.
pub(super) fn leaving(admin: &Admin, redact: bool, rules: Option<&str>) -> Result<Option<Arc<Policy>>, Problem> {
    redact.then(|| policy(admin.engine.store(), rules)).transpose().map_err(|error| Problem::bad_request(&error))
}

/// Says by which rules an answer was redacted: a daemon that does not know of redacting does not say so.
pub(super) fn told_redacted(mut answer: HttpResponse, policy: Option<&Policy>) -> HttpResponse {
    if let Some(policy) = policy {
        let digest = HeaderValue::from_str(&digest(&policy.rules)).expect("hexadecimal digits are a header's");
        answer.headers_mut().insert(HeaderName::from_static(REDACTED), digest);
    }
    answer
}

/// The original lines that match.
async fn events(admin: web::Data<Admin>, asked: web::Query<Events>, who: Principal) -> Result<HttpResponse, Problem> {
    let wants_end = asked.end;
    let policy = leaving(&admin, asked.redact, asked.rules.as_deref())?;
    let mut leaving = Leaving::new(policy.clone());
    let (request, begin) = understood(asked.into_inner(), &who)?;
    let store = admin.engine.store().clone();
    let answer = stream::lines(&admin, move |lines| {
        if wants_end {
            let end = service::search_page(&store, &request, begin, &mut |hit| lines.push(&leaving.line(hit)))?;
            let _ = lines.tell(&end);
        } else {
            service::search_hits(&store, &request, begin, &mut |hit| lines.push(&leaving.line(hit)))?;
        }
        Ok(())
    });
    Ok(told_redacted(answer.await?, policy.as_deref()))
}

/// The events that match, a page at a time.
async fn page(admin: web::Data<Admin>, asked: web::Query<Events>, who: Principal) -> Result<HttpResponse, Problem> {
    if asked.limit == 0 {
        return Err(Problem::bad_request(&"a page has at least 1 event: `limit` is 0"));
    }
    let policy = leaving(&admin, asked.redact, asked.rules.as_deref())?;
    let mut leaving = Leaving::new(policy.clone());
    let (mut request, begin) = understood(asked.into_inner(), &who)?;
    request.limit = request.limit.min(PAGE_EVENTS_MAX);
    let store = admin.engine.store().clone();
    let body = stream::one(&admin, move || {
        let mut page = EventsPage::new(PAGE_BYTES_MAX);
        let end = service::search_page(&store, &request, begin, &mut |hit| page.take(Hit { line: &leaving.line(hit), ..hit }))?;
        let body = page.end(&end).map_err(|error| Problem::failed(&error))?;
        if body.len() >= LONG_BYTES {
            memory::give_back();
        }
        Ok(body)
    });
    let answer = HttpResponse::Ok().content_type(ContentType::json()).body(body.await?);
    Ok(told_redacted(answer, policy.as_deref()))
}

/// An event of a page.
#[derive(Serialize, utoipa::ToSchema)]
struct PageEvent<'a> {
    seq: u64,
    /// By which it is indexed.
    time: String,
    /// The original line. Bytes that are no UTF-8 are shown as U+FFFD: JSON has no other way, `/events` has the bytes.
    line: Cow<'a, str>,
}

/// What a page is, for its description.
#[derive(utoipa::ToSchema)]
#[schema(as = EventsPage)]
#[expect(dead_code, reason = "written by `EventsPage`, a line at a time")]
struct EventsPageBody {
    events: Vec<PageEvent<'static>>,
    /// The cursor of the next page, if there is more.
    next: Option<String>,
}

/// A page as it is written: each line is held once only.
struct EventsPage {
    body: Vec<u8>,
    events: usize,
    line_bytes: usize,
    line_bytes_max: usize,
    failed: Option<serde_json::Error>,
}

impl EventsPage {
    fn new(line_bytes_max: usize) -> EventsPage {
        EventsPage { body: b"{\"events\":[".to_vec(), events: 0, line_bytes: 0, line_bytes_max, failed: None }
    }

    /// Break: it does not fit, and is the first one of the next page. One alone always fits, or paging would not get past it.
    fn take(&mut self, hit: Hit<'_>) -> ControlFlow<()> {
        if self.events > 0 && self.line_bytes + hit.line.len() > self.line_bytes_max {
            return ControlFlow::Break(());
        }
        if self.events > 0 {
            self.body.push(b',');
        }
        self.events += 1;
        self.line_bytes += hit.line.len();
        let event = PageEvent { seq: hit.seq, time: time::format(hit.time), line: String::from_utf8_lossy(hit.line) };
        match serde_json::to_writer(&mut self.body, &event) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    fn end(mut self, end: &PageEnd) -> serde_json::Result<Vec<u8>> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.body.extend_from_slice(b"],\"next\":");
        serde_json::to_writer(&mut self.body, &end.next)?;
        self.body.push(b'}');
        Ok(self.body)
    }
}

/// What finding them takes.
async fn cost(admin: web::Data<Admin>, asked: web::Query<Events>, who: Principal) -> Result<HttpResponse, Problem> {
    let (request, begin) = understood(asked.into_inner(), &who)?;
    let store = admin.engine.store().clone();
    let cost = stream::one(&admin, move || Ok(service::search_cost(&store, &request, begin)?)).await?;
    Ok(HttpResponse::Ok().json(cost))
}

/// Which events are counted, and by what.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct Counted {
    /// Which events; all when nobody says.
    #[serde(default)]
    query: String,
    /// Another field, for pairs of values; of counts, an interval of time.
    #[serde(default)]
    by: Option<String>,
    /// 50 when nobody says, and no more than 100,000.
    #[serde(default = "limit_default")]
    #[param(default = 50)]
    limit: u64,
}

impl Counted {
    /// Held to what may be seen, and when it is asked; a query that is none is told before anything waits for its turn.
    fn understood(self, who: &Principal) -> Result<(Counted, Micros), Problem> {
        let now = time::now();
        Query::parse(&self.query, now).map_err(|error| Problem::bad_query(&error))?;
        Ok((Counted { query: who.within(&self.query), ..self }, now))
    }

    fn by_field(&self) -> Result<Option<Field>, Problem> {
        self.by.as_deref().map(counted::field).transpose().map_err(|error| Problem::bad_request(&error))
    }

    fn by_interval(&self) -> Result<Option<Interval>, Problem> {
        self.by.as_deref().map(counted::interval).transpose().map_err(|error| Problem::bad_request(&error))
    }
}

fn field_of(path: &str) -> Result<Field, Problem> {
    counted::field(path).map_err(Problem::not_found)
}

/// The most frequent values of a field, or pairs of values.
async fn terms(
    admin: web::Data<Admin>,
    field: web::Path<String>,
    asked: web::Query<Counted>,
    who: Principal,
) -> Result<HttpResponse, Problem> {
    let (field, by, (asked, now)) = (field_of(&field)?, asked.by_field()?, asked.into_inner().understood(&who)?);
    let (store, limit) = (admin.engine.store().clone(), asked.limit.min(TERMS_MAX));
    listed(&admin, move || Ok(answers::top(&store, field, by, &asked.query, limit, now)?)).await
}

/// A list that may be long: it is written where it was made, and the memory of the making given back before it is sent.
async fn listed(admin: &Admin, work: impl FnOnce() -> Result<Vec<TopRow>, Problem> + Send + 'static) -> Result<HttpResponse, Problem> {
    let body = stream::one(admin, move || {
        let rows = work()?;
        let body = serde_json::to_vec(&rows).map_err(|error| Problem::failed(&error))?;
        drop(rows);
        if body.len() >= LONG_BYTES {
            memory::give_back();
        }
        Ok(body)
    });
    Ok(HttpResponse::Ok().content_type(ContentType::json()).body(body.await?))
}

/// What finding those, or the number of different ones, reads at most.
async fn terms_cost(
    admin: web::Data<Admin>,
    field: web::Path<String>,
    asked: web::Query<Counted>,
    who: Principal,
) -> Result<HttpResponse, Problem> {
    let question = Question::Values { field: field_of(&field)?, by: asked.by_field()? };
    reading(admin, question, asked.into_inner(), &who).await
}

/// How many different values a field has.
async fn distinct(
    admin: web::Data<Admin>,
    field: web::Path<String>,
    asked: web::Query<Counted>,
    who: Principal,
) -> Result<HttpResponse, Problem> {
    let (field, (asked, now)) = (field_of(&field)?, asked.into_inner().understood(&who)?);
    let store = admin.engine.store().clone();
    let distinct = stream::one(&admin, move || Ok(answers::distinct(&store, field, &asked.query, now)?)).await?;
    Ok(HttpResponse::Ok().json(distinct))
}

/// How many events there are.
async fn count(admin: web::Data<Admin>, asked: web::Query<Counted>, who: Principal) -> Result<HttpResponse, Problem> {
    let (by, (asked, now)) = (asked.by_interval()?, asked.into_inner().understood(&who)?);
    let store = admin.engine.store().clone();
    let count = stream::one(&admin, move || Ok(answers::count(&store, &asked.query, by, now)?)).await?;
    Ok(HttpResponse::Ok().json(count))
}

/// What counting them reads at most.
async fn count_cost(admin: web::Data<Admin>, asked: web::Query<Counted>, who: Principal) -> Result<HttpResponse, Problem> {
    let question = Question::Events { by: asked.by_interval()? };
    reading(admin, question, asked.into_inner(), &who).await
}

async fn reading(admin: web::Data<Admin>, question: Question, asked: Counted, who: &Principal) -> Result<HttpResponse, Problem> {
    let (store, (asked, now)) = (admin.engine.store().clone(), asked.understood(who)?);
    let reading = stream::one(&admin, move || Ok(answers::reading(&store, question, &asked.query, now)?)).await?;
    Ok(HttpResponse::Ok().json(reading))
}

/// Since when, and until when.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct Span {
    /// A date, a time or an age.
    since: String,
    #[serde(default)]
    until: Option<String>,
    /// 50 when nobody says, and no more than 100,000.
    #[serde(default = "limit_default")]
    #[param(default = 50)]
    limit: u64,
}

/// Values of a field that were seen for the first time then.
async fn new_values(admin: web::Data<Admin>, field: web::Path<String>, asked: web::Query<Span>) -> Result<HttpResponse, Problem> {
    let (field, now) = (field_of(&field)?, time::now());
    let Span { since, until, limit } = asked.into_inner();
    let until = until.map(|until| format!(" until:{until}"));
    let span = format!("since:{since}{}", until.unwrap_or_default());
    Query::parse(&span, now).map_err(|error| Problem::bad_query(&error))?;
    let (store, limit) = (admin.engine.store().clone(), limit.min(TERMS_MAX));
    listed(&admin, move || Ok(answers::new_values(&store, field, &span, limit, now)?)).await
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Reports {
    /// One sensor's; without it all together.
    sensor: Option<String>,
    /// Each sensor's, and then all together.
    #[serde(default)]
    all: bool,
    #[serde(default = "rows_default")]
    rows: usize,
}

impl Reports {
    pub fn of(sensor: Option<String>) -> Reports {
        Reports { sensor, all: false, rows: rows_default() }
    }
}

fn rows_default() -> usize {
    report::ROWS_DEFAULT
}

/// Reports on a period: always a list.
async fn reports(
    admin: web::Data<Admin>,
    of: web::Path<(String, String)>,
    asked: web::Query<Reports>,
    who: Principal,
) -> Result<HttpResponse, Problem> {
    may_see_reports(&who, asked.sensor.as_deref())?;
    Ok(HttpResponse::Ok().json(make(&admin, &who, &of, asked.into_inner()).await?))
}

/// Of some sensors only those.
pub(super) fn may_see_reports(who: &Principal, sensor: Option<&str>) -> Result<(), Problem> {
    match who.sensors.is_some() && !sensor.is_some_and(|sensor| who.sees(sensor)) {
        true => Err(Problem::forbidden(format!("{who} may see reports of some sensors only: name one with `sensor`"))),
        false => Ok(()),
    }
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Publication {
    /// An Elasticsearch sink.
    sink: String,
    /// The others as of reports that are read.
    sensor: Option<String>,
    #[serde(default)]
    all: bool,
    #[serde(default = "rows_default")]
    rows: usize,
}

/// Makes reports, and writes them into a sink's Elasticsearch.
async fn publish(
    admin: web::Data<Admin>,
    of: web::Path<(String, String)>,
    asked: web::Json<Publication>,
    who: Principal,
) -> Result<HttpResponse, Problem> {
    let Publication { sink, sensor, all, rows } = asked.into_inner();
    let reports = make(&admin, &who, &of, Reports { sensor, all, rows }).await?;
    let settings = admin.engine.settings.borrow().clone();
    let published = service::report::publish(&settings, &sink, &reports).await?;
    Ok(super::audit::Change::new((), &published).told(HttpResponse::Ok().json(published)))
}

pub(super) async fn make(
    admin: &web::Data<Admin>,
    who: &Principal,
    (kind, period): &(String, String),
    asked: Reports,
) -> Result<Vec<Report>, Problem> {
    let Some(kind) = Kind::parse(kind) else {
        return Err(Problem::not_found("reports are daily, weekly, monthly, or of a range"));
    };
    let now = time::now();
    let period = Period::parse(kind, period, now).map_err(|error| Problem::bad_request(&error))?;
    let Reports { sensor, all, rows } = asked;
    let sensors = match (sensor, all) {
        (Some(_), true) => return Err(Problem::bad_request(&"`sensor` and `all` exclude each other")),
        // Who may know of some sensors is not told what others are called.
        (Some(sensor), false) if who.sensors.is_some() => Sensors::Theirs(sensor),
        (Some(sensor), false) => Sensors::One(sensor),
        (None, true) => Sensors::Each,
        (None, false) => Sensors::Aggregate,
    };
    let (store, rows) = (admin.engine.store().clone(), rows.min(report::ROWS_MAX));
    let rules = admin.engine.settings.borrow().anomalies.rules;
    stream::one(admin, move || Ok(service::report::reports(&store, &period, &sensors, rows, rules, now)?)).await
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct Anomalies {
    /// As of reports; without it the last days.
    #[param(value_type = Option<Kind>, inline)]
    kind: Option<String>,
    period: Option<String>,
    sensor: Option<String>,
    #[param(inline)]
    measure: Option<Measure>,
    /// Also what is normal.
    #[serde(default)]
    all: bool,
    limit: Option<usize>,
}

/// Days of sensors that are not like those before.
async fn anomalies(admin: web::Data<Admin>, asked: web::Query<Anomalies>) -> Result<HttpResponse, Problem> {
    let (Anomalies { kind, period, sensor, measure, all, limit }, now) = (asked.into_inner(), time::now());
    let period = match (kind, period) {
        (None, None) => service::anomalies::period_default(now),
        (kind, period) => {
            let kind = kind.as_deref().and_then(Kind::parse).ok_or("`kind` is daily, weekly, monthly or range".to_owned());
            let parsed =
                kind.and_then(|kind| Period::parse(kind, period.as_deref().unwrap_or("last"), now).map_err(|error| error.to_string()));
            parsed.map_err(|error| Problem::bad_request(&error))?
        }
    };
    let rules = admin.engine.settings.borrow().anomalies.rules;
    let limit = limit.unwrap_or(service::anomalies::ROWS_MAX);
    let request = service::anomalies::Request { period, sensor, measure, all, limit, rules };
    let store = admin.engine.store().clone();
    let found = stream::one(&admin, move || Ok(service::anomalies::anomalies(&store, &request, now)?)).await?;
    Ok(HttpResponse::Ok().json(found))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct Schemas {
    eventid: Option<String>,
    sensor: Option<String>,
}

/// What events look like.
async fn schemas(admin: web::Data<Admin>, asked: web::Query<Schemas>) -> Result<HttpResponse, Problem> {
    let (store, Schemas { eventid, sensor }) = (admin.engine.store().clone(), asked.into_inner());
    let schemas = stream::one(&admin, move || Ok(answers::schemas(&store, eventid.as_deref(), sensor.as_deref()))).await?;
    Ok(HttpResponse::Ok().json(schemas))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct Session {
    #[serde(default)]
    redact: bool,
    rules: Option<String>,
}

/// The original lines of one session, or as they may leave.
async fn session(
    admin: web::Data<Admin>,
    id: web::Path<String>,
    asked: web::Query<Session>,
    who: Principal,
) -> Result<HttpResponse, Problem> {
    let policy = leaving(&admin, asked.redact, asked.rules.as_deref())?;
    let (store, id, mut leaving) = (admin.engine.store().clone(), id.into_inner(), Leaving::new(policy.clone()));
    let scope = who.within("");
    let answer = stream::lines(&admin, move |lines| {
        Ok(service::session_hits(&store, &id, &scope, time::now(), &mut |hit| lines.push(&leaving.line(hit)))?)
    });
    Ok(told_redacted(answer.await?, policy.as_deref()))
}

/// Sessions of one client that typed and tried the same.
async fn clusters(admin: web::Data<Admin>, asked: web::Query<service::clusters::Asked>) -> Result<HttpResponse, Problem> {
    let (store, asked, now) = (admin.engine.store().clone(), asked.into_inner(), time::now());
    asked.understood(now)?;
    Ok(HttpResponse::Ok().json(stream::one(&admin, move || Ok(service::clusters::list(&store, &asked, now)?)).await?))
}

/// One of them in full.
async fn cluster(
    admin: web::Data<Admin>,
    id: web::Path<String>,
    asked: web::Query<service::clusters::Asked>,
) -> Result<HttpResponse, Problem> {
    let (store, id, asked) = (admin.engine.store().clone(), id.into_inner(), asked.into_inner());
    Ok(HttpResponse::Ok().json(stream::one(&admin, move || Ok(service::clusters::show(&store, &id, &asked, time::now())?)).await?))
}

/// Lines of a long check: how far it is, and at the end what it found.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checking<Report> {
    Progress { done: u64, total: u64 },
    Report(Report),
}

impl<Report: ToSchema> ToSchema for Checking<Report> {
    fn name() -> Cow<'static, str> {
        format!("{}Line", Report::name()).into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Report::name().into_owned(), Report::schema()));
        Report::schemas(schemas);
    }
}

impl<Report: ToSchema> PartialSchema for Checking<Report> {
    fn schema() -> RefOr<Schema> {
        let one = |name: &str, schema: RefOr<Schema>| ObjectBuilder::new().property(name, schema).required(name).build();
        let progress = ObjectBuilder::new().property("done", u64::schema()).required("done");
        let progress = progress.property("total", u64::schema()).required("total").build();
        let report = RefOr::Ref(Ref::from_schema_name(Report::name()));
        RefOr::T(Schema::OneOf(OneOfBuilder::new().item(one("progress", progress.into())).item(one("report", report)).build()))
    }
}

/// Tells progress while somebody listens; the check itself goes on to its end.
pub(super) fn teller<Report: Serialize>(lines: &mut Lines) -> impl FnMut(u64, u64) + '_ {
    let mut heard = ControlFlow::Continue(());
    move |done, total| {
        if heard.is_continue() {
            heard = lines.tell(&Checking::<Report>::Progress { done, total });
        }
    }
}

async fn verify(admin: web::Data<Admin>) -> Result<HttpResponse, Problem> {
    let store = admin.engine.store().clone();
    stream::lines(&admin, move |lines| {
        let report = answers::verify(&store, &mut teller::<VerifyReport>(lines))?;
        let _ = lines.tell(&Checking::Report(report));
        Ok(())
    })
    .await
}

/// Files to be looked for in the journal.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IngestedRequest {
    /// Absolute.
    #[schema(value_type = Vec<String>)]
    pub paths: Vec<PathBuf>,
    /// `None`: recognised, file by file.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub format: Option<Format>,
}

async fn ingested(admin: web::Data<Admin>, asked: web::Json<IngestedRequest>) -> Result<HttpResponse, Problem> {
    let IngestedRequest { paths, format } = asked.into_inner();
    absolute(&paths)?;
    let store = admin.engine.store().clone();
    let files = stream::one(&admin, move || Ok(answers::ingested(&store, paths.iter().map(PathBuf::as_path), format)?)).await?;
    Ok(HttpResponse::Ok().json(files))
}

/// A relative path would be relative to the daemon's directory, which nobody means.
pub(super) fn absolute(paths: &[PathBuf]) -> Result<(), Problem> {
    if paths.len() > PATHS_MAX {
        return Err(Problem::bad_request(&format!("at most {PATHS_MAX} paths at once")));
    }
    match paths.iter().find(|path| !path.is_absolute()) {
        Some(_) => Err(Problem::bad_request(&"paths must be absolute")),
        None => Ok(()),
    }
}
