//! Routes of the page: what a person asks is what programs ask under `/api/v1`, of the same functions, drawn by [`crate::page`].
use super::audit::Change;
use super::kept::Kept;
use super::login::{self, ANYBODY, Filled, Standing};
use super::problem::Problem;
use super::route::{Needs, Route};
use super::{Admin, audit, gate, indicators, questions, sinks, status, stream};
use crate::access::{Principal, Right};
use crate::cli::answers;
use crate::cli::conversation::Conversation;
use crate::cli::format::Status;
use crate::cli::{session as session_command, transcript};
use crate::events::chat::Message;
use crate::events::time::{MICROS_PER_DAY, MICROS_PER_HOUR};
use crate::events::{Field, Micros, time};
use crate::index::aggregate::Interval;
use crate::index::query::{Query, quote};
use crate::indicators::Indicator;
use crate::os::memory;
use crate::page::events::EventRow;
use crate::page::layout::{self, Frame, Part, may_of_all};
use crate::page::overview::{Chart, Evidence, List, Overview};
use crate::page::search::{Found, Wrong};
use crate::page::sinks::{Done, Orders};
use crate::page::{self};
use crate::report::html;
use crate::service::indicators::Listed;
use crate::service::sinks::Order;
use crate::service::{self, Begin, SearchRequest};
use crate::store::Store;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, ContentType, HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use maud::Markup;
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

const COOP: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
/// Events of a page of a search, and of the overview.
const SEARCH_EVENTS: u64 = 50;
const NEWEST_EVENTS: u64 = 10;
/// What of a session is told, bytes of its lines and events.
const SESSION_BYTES_MAX: usize = 4 << 20;
const SESSION_EVENTS_MAX: usize = 2_000;
/// Rows of a list of the overview.
const TOP_ROWS: u64 = 8;
const INDICATORS_OVERVIEW: usize = 8;
/// Of these so many of a kind, out of so many.
const INDICATORS_OF_KIND: usize = 2;
const INDICATORS_ASKED: usize = 1_000;
const INDICATORS: usize = 100;
/// What is related to an indicator is counted from its events, if they are no more than these.
const RELATED_EVENTS_MAX: u64 = 20_000;
const RELATED_ROWS: u64 = 6;
const DEAD_LETTERS: u64 = 50;
const AUDIT_RECORDS: usize = 50;
/// How old the lists of the overview may be: making them reads many indexes.
const LISTS_AGE_MAX: Duration = Duration::from_secs(15);
/// The same of lists of indicators; so much older ones are told while newer ones are made, and so long the overview waits for the first.
const INDICATORS_AGE: Duration = Duration::from_secs(15);
const INDICATORS_STALE: Duration = Duration::from_secs(600);
const INDICATORS_PATIENCE: Duration = Duration::from_secs(1);
/// The shortest stretch after which a page is loaded again, if somebody asks for that, seconds.
const REFRESH_SECONDS: std::ops::RangeInclusive<u32> = 5..=3_600;

pub fn routes() -> Vec<Route> {
    let evidence = Needs::Right(Right::Evidence);
    let state = Needs::Right(Right::Status);
    let deliver = Needs::Right(Right::Deliver);
    vec![
        Route::page("/", Needs::Credential, "How things are", overview).of_sensors(),
        Route::page("/state", state, "What of the overview changes by itself, for its script", state_only),
        Route::page("/search", evidence, "Search", search).of_sensors(),
        Route::page("/sessions/{id:.+}", evidence, "A session, as a transcript", session).of_sensors(),
        Route::page("/indicators", evidence, "Indicators by score", indicator_list),
        Route::page("/indicators/{value:.+}", evidence, "One indicator", indicator),
        Route::page("/sinks", state, "Sinks", sink_list),
        Route::page("/sinks/{name}", state, "One sink", sink),
        Route::form("/sinks/{name}/pause", deliver, "Pauses it", sink_pause),
        Route::form("/sinks/{name}/resume", deliver, "Ends the pause", sink_resume),
        Route::form("/sinks/{name}/test", deliver, "Asks the receiver", sink_test),
        Route::form("/sinks/{name}/retry", deliver, "Delivers dead letters again", sink_retry),
        Route::page("/reports", evidence, "Reports", reports).of_sensors(),
        Route::page("/audit", Needs::Right(Right::Audit), "Who did what", audit_records),
        Route::page("/login", Needs::Nothing, "The form that logs in", log_in_form),
        Route::form("/login", Needs::Nothing, "Logs in", log_in),
        Route::form("/logout", Needs::Credential, "Logs out", log_out).of_sensors(),
        Route::page("/style.css", Needs::Nothing, "How it looks", style),
        Route::page("/live.js", Needs::Nothing, "Liveness", script),
    ]
}

/// What is kept of the page's answers.
pub(crate) struct Answers {
    /// The overview's charts and lists, by the query that holds to whoever's sensors.
    lists: Kept<Evidence>,
    /// Lists of indicators, by what was asked; and as of when.
    indicators: Kept<(Listed, Micros)>,
    /// All about one indicator, drawn, by its value.
    dossiers: Kept<Markup>,
    /// Reports, drawn, by what was asked.
    reports: Kept<(String, Markup)>,
}

impl Default for Answers {
    fn default() -> Answers {
        Answers {
            lists: Kept::new(LISTS_AGE_MAX, Duration::ZERO),
            indicators: Kept::new(INDICATORS_AGE, INDICATORS_STALE),
            dossiers: Kept::new(Duration::ZERO, Duration::ZERO),
            reports: Kept::new(Duration::ZERO, Duration::ZERO),
        }
    }
}

impl Answers {
    /// Forgets them all: events they tell of are gone.
    pub fn clear(&self) {
        self.lists.clear();
        self.indicators.clear();
        self.dossiers.clear();
        self.reports.clear();
    }
}

/// Draws a page in its frame, for whoever asks.
fn drawn(request: &HttpRequest, part: Part, title: &str, body: &Markup) -> HttpResponse {
    drawn_with(request, part, title, body, StatusCode::OK, None)
}

fn drawn_with(
    request: &HttpRequest,
    part: Part,
    title: &str,
    body: &Markup,
    status: StatusCode,
    refresh_seconds: Option<u32>,
) -> HttpResponse {
    let nonce = format!("{:032x}", rand::random::<u128>());
    let (who, standing) = (request.extensions().get::<Principal>().cloned(), request.extensions().get::<Standing>().cloned());
    let csrf = csrf(request);
    let frame = Frame {
        title,
        part,
        who: who.as_ref(),
        logs_out: standing.is_some_and(|standing| standing.by_cookie),
        nonce: &nonce,
        csrf: &csrf,
        refresh_seconds,
    };
    let policy = format!(
        "default-src 'none'; style-src 'self'; script-src 'nonce-{nonce}'; img-src 'self' data:; connect-src 'self'; form-action 'self'; \
         frame-ancestors 'none'; base-uri 'none'"
    );
    HttpResponse::build(status)
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        // With `no-referrer` browsers would send forms with the origin `null`, which tells ours from nobody's.
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        .insert_header((header::X_FRAME_OPTIONS, "DENY"))
        .insert_header((COOP, "same-origin"))
        .content_type(ContentType::html())
        .body(layout::page(&frame, body).into_string())
}

/// The token that the asking one's forms must carry.
fn csrf(request: &HttpRequest) -> String {
    if let Some(standing) = request.extensions().get::<Standing>() {
        return standing.csrf.clone();
    }
    request.app_data::<web::Data<Admin>>().map(|admin| admin.sessions.token(ANYBODY)).unwrap_or_default()
}

/// A problem, as a page.
pub(super) fn problem(request: &HttpRequest, problem: &Problem) -> HttpResponse {
    let id = request.extensions().get::<gate::RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    let body = layout::problem(problem.status, &problem.title, &problem.detail, &id);
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = drawn_with(request, Part::Other, &problem.title, &body, status, None);
    if let Some(seconds) = problem.retry_after_seconds {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

/// Tells as a page what a handler, or what takes its request apart, told as a problem.
pub(super) fn told(answer: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let found = answer.response().error().and_then(|error| error.as_error::<Problem>()).cloned();
    match found {
        Some(found) => {
            let page = problem(answer.request(), &found);
            answer.into_response(page)
        }
        None => answer,
    }
}

/// Leads to the form that logs in, and from there back here.
pub(super) fn to_log_in(request: &ServiceRequest) -> HttpResponse {
    let here = request.uri().path_and_query().map_or("/", |here| here.as_str());
    let path = match login::local(here) {
        "/" => "/login".to_owned(),
        here => format!("/login?next={}", page::shown::encoded(here)),
    };
    see_other(&path)
}

fn see_other(path: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, path)).finish()
}

// Overview

#[derive(Deserialize)]
struct Refresh {
    refresh: Option<u32>,
}

async fn overview(
    admin: web::Data<Admin>,
    asked: web::Query<Refresh>,
    who: Principal,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let now = time::now();
    let status = if may_of_all(&who, Right::Status) { Some(status::now(&admin).await?) } else { None };
    let evidence = if who.may(Right::Evidence) { Some(evidence(&admin, &who, status.as_ref(), now).await?) } else { None };
    let refresh_seconds = asked.refresh.map(|seconds| seconds.clamp(*REFRESH_SECONDS.start(), *REFRESH_SECONDS.end()));
    let data = Overview {
        links_sinks: status.is_some(),
        links_indicators: may_of_all(&who, Right::Evidence),
        status,
        evidence,
        refresh_seconds,
        now,
    };
    let title = data.status.as_ref().map_or_else(|| "Overview".to_owned(), |status| page::overview::title(status, now));
    Ok(drawn_with(&request, Part::Overview, &title, &page::overview::overview(&data), StatusCode::OK, refresh_seconds))
}

/// Without what is around a page: for the script, which puts it in place of what was.
async fn state_only(admin: web::Data<Admin>) -> Result<HttpResponse, Problem> {
    let status = status::now(&admin).await?;
    let body = page::overview::state_only(&status, true, time::now());
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"))
        .content_type(ContentType::html())
        .body(body.into_string()))
}

/// What the overview tells of events: the newest now, the rest as of some seconds ago.
async fn evidence(admin: &web::Data<Admin>, who: &Principal, status: Option<&Status>, now: Micros) -> Result<Evidence, Problem> {
    let (store, scope) = (admin.engine.store().clone(), who.within(""));
    let is_old = status.and_then(|status| status.journal.last_event.as_deref()).and_then(|last| time::parse(last.as_bytes()));
    let is_old = is_old.is_some_and(|last| time::day_of(last) < time::day_of(now) - 1);
    let (of, asking, within) = (format!("{is_old} {scope}"), admin.clone(), scope.clone());
    let lists = admin.kept.lists.of(&of, async move || {
        let store = asking.engine.store().clone();
        stream::one(&asking, move || lists(&store, &within, is_old, now)).await
    });
    let lists = lists.await?;
    let newest = stream::one(admin, move || newest(&store, &scope, now)).await?;
    let mut made = Evidence { newest, ..Evidence::clone(&lists) };
    if who.sensors.is_none() {
        let since = (!is_old).then(|| time::format_day(time::day_of(now - MICROS_PER_DAY)));
        let asked = service::indicators::Asked { since, hostile: true, limit: INDICATORS_ASKED, ..Default::default() };
        // The overview does not wait for what takes seconds.
        match tokio::time::timeout(INDICATORS_PATIENCE, listed(admin, asked)).await {
            Ok(Ok(listed)) => made.indicators = varied(&listed.0.indicators),
            // What is wrong, the page of indicators says.
            Ok(Err(_)) | Err(_) => made.judging = true,
        }
    }
    Ok(made)
}

/// The first of each kind: hashes alone would fill the place of the others.
fn varied(indicators: &[Indicator]) -> Vec<Indicator> {
    let mut of_kind: HashMap<Field, usize> = HashMap::new();
    let few = |indicator: &&Indicator| {
        let count = of_kind.entry(indicator.kind).or_default();
        *count += 1;
        *count <= INDICATORS_OF_KIND
    };
    indicators.iter().filter(few).take(INDICATORS_OVERVIEW).cloned().collect()
}

/// Indicators by score, as of some time ago: every value there is has to be judged for it.
async fn listed(admin: &web::Data<Admin>, asked: service::indicators::Asked) -> Result<Arc<(Listed, Micros)>, Problem> {
    let (question, asking) = (format!("{asked:?}"), admin.clone());
    let listed = admin.kept.indicators.of(&question, async move || {
        let (store, judges, now) = (asking.engine.store().clone(), indicators::judges(&asking), time::now());
        stream::one(&asking, move || {
            let listed = judges.list(&store, &asked, now)?;
            // Judging all values leaves much behind, however few are listed.
            memory::give_back();
            Ok((listed, now))
        })
        .await
    });
    listed.await
}

fn newest(store: &Store, scope: &str, now: Micros) -> Result<Vec<EventRow>, Problem> {
    let request = SearchRequest { query: scope.to_owned(), limit: NEWEST_EVENTS, newest: true };
    let mut rows = Vec::new();
    service::search_hits(store, &request, now, &mut |hit| {
        rows.push(EventRow::of(time::format(hit.time), hit.line));
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}

/// Charts and lists. Lists are of whole days, which the indexes tell without reading events.
fn lists(store: &Store, scope: &str, is_old: bool, now: Micros) -> Result<Evidence, Problem> {
    let first_hour = Interval::Hour.start(now) - 23 * MICROS_PER_HOUR;
    let chart = |name, query: &str| -> Result<Chart, Problem> {
        let query = format!("{scope} {query} since:{}", time::format(first_hour));
        let counts = service::aggregate::count(store, &query, Some(Interval::Hour), now)?;
        let figure = |at| counts.stretches.iter().find(|(from, _)| *from == at).map_or(0, |(_, events)| *events);
        let hours = (0..24).map(|hour| first_hour + hour * MICROS_PER_HOUR);
        Ok(Chart { name, rows: hours.map(|at| (time::format(at), figure(at))).collect() })
    };
    let charts = vec![chart("events", "")?];
    let yesterday = time::format_day(time::day_of(now - MICROS_PER_DAY));
    let (span, span_query) = match is_old {
        true => ("in all that is kept: nothing has happened since yesterday".to_owned(), String::new()),
        false => ("since yesterday, 00:00".to_owned(), format!("since:{yesterday} ")),
    };
    let fields = [
        ("Addresses", Field::SrcIp),
        ("Credentials", Field::Credential),
        ("Commands", Field::CommandLine),
        ("Downloads", Field::Download),
        ("Countries", Field::Country),
    ];
    let query = format!("{scope} {span_query}");
    let list = |(title, field)| -> Result<List, Problem> {
        Ok(List { title, field, rows: answers::top(store, field, None, &query, TOP_ROWS, now)? })
    };
    let lists = fields.into_iter().map(list).collect::<Result<_, _>>()?;
    Ok(Evidence { charts, span, span_query, lists, ..Evidence::default() })
}

// Search and sessions

#[derive(Deserialize)]
struct Search {
    query: Option<String>,
    cursor: Option<String>,
    order: Option<String>,
}

async fn search(admin: web::Data<Admin>, asked: web::Query<Search>, who: Principal, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let Search { query, cursor, order } = asked.into_inner();
    let Some(query) = query.filter(|query| !query.trim().is_empty()) else {
        return Ok(drawn(&request, Part::Search, "Search", &page::search::search("", None)));
    };
    let wrong = |problem: Problem| {
        let wrong = Wrong { detail: problem.detail, column: problem.column };
        let body = page::search::search(&query, Some(Err(&wrong)));
        drawn_with(&request, Part::Search, "Search", &body, StatusCode::BAD_REQUEST, None)
    };
    if let Err(error) = Query::parse(&query, time::now()) {
        return Ok(wrong(Problem::bad_query(&error)));
    }
    let newest = order.as_deref() != Some("oldest");
    let asked = SearchRequest { query: who.within(&query), limit: SEARCH_EVENTS, newest };
    let begin = match Begin::read(&asked, cursor.as_deref(), time::now()) {
        Ok(begin) => begin,
        Err(error) => return Ok(wrong(error.into())),
    };
    let store = admin.engine.store().clone();
    let found = stream::one(&admin, move || {
        let mut rows = Vec::new();
        let end = service::search_page(&store, &asked, begin, &mut |hit| {
            rows.push(EventRow::of(time::format(hit.time), hit.line));
            ControlFlow::Continue(())
        })?;
        Ok(Found { rows, next: end.next, newest, first_page: cursor.is_none() })
    });
    let found = found.await?;
    let title = format!("{} · Search", page::shown::plain(&query));
    Ok(drawn(&request, Part::Search, &title, &page::search::search(&query, Some(Ok(&found)))))
}

async fn session(admin: web::Data<Admin>, id: web::Path<String>, who: Principal, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let (store, id, scope, now) = (admin.engine.store().clone(), id.into_inner(), who.within(""), time::now());
    let quiet_after = session_command::quiet_after(&admin.engine.settings.borrow());
    let links_indicators = may_of_all(&who, Right::Evidence);
    let told = stream::one(&admin, move || {
        let (mut lines, mut bytes, mut more) = (Vec::new(), 0, false);
        service::session_hits(&store, &id, &scope, now, &mut |hit| {
            more = lines.len() == SESSION_EVENTS_MAX || (!lines.is_empty() && bytes + hit.line.len() > SESSION_BYTES_MAX);
            if more {
                return ControlFlow::Break(());
            }
            bytes += hit.line.len();
            lines.push(hit.line.to_vec());
            ControlFlow::Continue(())
        })?;
        // As the command tells it: a session is of a shell or a chat, unless two honeypots gave the same name.
        let mut messages = Vec::new();
        lines.retain(|line| Message::parse(line).map(|message| messages.push(message)).is_none());
        let shells = transcript::transcripts(&lines);
        let chat = Conversation::of(&messages, now, quiet_after);
        Ok(page::session::Told { id, shells, chat, more, links_indicators })
    });
    let told = told.await?;
    let title = format!("Session {}", page::shown::plain(&told.id));
    Ok(drawn(&request, Part::Search, &title, &page::session::session(&told)))
}

// Indicators

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    since: String,
    #[serde(default)]
    hostile: bool,
    /// One of them: leads to its page.
    value: Option<String>,
}

async fn indicator_list(admin: web::Data<Admin>, wanted: web::Query<Wanted>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let Wanted { kind, since, hostile, value } = wanted.into_inner();
    if let Some(value) = value.filter(|value| !value.trim().is_empty()) {
        return Ok(see_other(&format!("/indicators/{}", page::shown::encoded(value.trim()))));
    }
    let kinds = crate::indicators::kinds_called(&kind).map_err(|error| Problem::bad_request(&error))?;
    let asked = service::indicators::Asked {
        kinds,
        since: Some(since.clone()).filter(|since| !since.is_empty()),
        hostile,
        limit: INDICATORS,
        ..Default::default()
    };
    let listed = listed(&admin, asked).await?;
    let body = page::indicators::list(&page::indicators::Asked { kind, since, hostile }, &listed.0, listed.1);
    Ok(drawn(&request, Part::Indicators, "Indicators", &body))
}

async fn indicator(admin: web::Data<Admin>, value: web::Path<String>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let (asking, asked) = (admin.clone(), value.clone());
    let body = admin.kept.dossiers.of(&value, async move || {
        let (store, judges, now) = (asking.engine.store().clone(), indicators::judges(&asking), time::now());
        stream::one(&asking, move || dossier(&store, &judges, &asked, now)).await
    });
    let body = body.await?;
    Ok(drawn(&request, Part::Indicators, "Indicator", &body))
}

fn dossier(store: &Store, judges: &indicators::Judges, value: &str, now: Micros) -> Result<Markup, Problem> {
    let told = judges.dossier(store, value, now)?;
    let mut relations = Vec::new();
    if let Some(first) = told.kinds.first().map(|first| &first.indicator).filter(|first| first.count <= RELATED_EVENTS_MAX) {
        let query = format!("{}:{}", first.kind.name(), quote(&told.value));
        for (title, field) in page::indicators::related(first.kind) {
            relations.push(List { title, field, rows: answers::top(store, field, None, &query, RELATED_ROWS, now)? });
        }
    }
    let sightings: Vec<EventRow> = told.sightings.iter().map(|line| EventRow::seen(line.as_bytes())).collect();
    Ok(page::indicators::one(&told, &relations, &sightings))
}

// Sinks

async fn sink_list(admin: web::Data<Admin>, who: Principal, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let csrf = csrf(&request);
    let orders = Orders { may: who.may(Right::Deliver), csrf: &csrf };
    let body = page::sinks::list(&sinks::rows(&admin).await?, orders, time::now());
    Ok(drawn(&request, Part::Sinks, "Sinks", &body))
}

async fn sink(admin: web::Data<Admin>, name: web::Path<String>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let row = sinks::row(&admin, &name).await?;
    let may = request.extensions().get::<Principal>().is_some_and(|who| who.may(Right::Deliver));
    let dead = match may {
        true => {
            let (store, name) = (admin.engine.store().clone(), name.clone());
            Some(stream::one(&admin, move || Ok(service::sinks::dead(&store, &name, DEAD_LETTERS)?)).await?)
        }
        false => None,
    };
    let csrf = csrf(&request);
    let done = admin.notices.take(&csrf, &name, Instant::now());
    let body = page::sinks::one(&row, dead.as_deref(), Orders { may, csrf: &csrf }, done.as_ref());
    Ok(drawn(&request, Part::Sinks, &format!("Sink {}", row.name), &body))
}

/// Leads to the sink's page, which tells what was done.
fn done(admin: &Admin, name: &str, request: &HttpRequest, change: Change, done: Done) -> HttpResponse {
    admin.notices.leave(&csrf(request), name, done, Instant::now());
    change.told(see_other(&format!("/sinks/{}", page::shown::encoded(name))))
}

async fn sink_pause(
    admin: web::Data<Admin>,
    name: web::Path<String>,
    _: Filled,
    who: Principal,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (_, change) = sinks::ordered(&admin, &name, Order::Pause, &who.name).await?;
    Ok(done(&admin, &name, &request, change, Done::Paused))
}

async fn sink_resume(
    admin: web::Data<Admin>,
    name: web::Path<String>,
    _: Filled,
    who: Principal,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (_, change) = sinks::ordered(&admin, &name, Order::Resume, &who.name).await?;
    Ok(done(&admin, &name, &request, change, Done::Resumed))
}

async fn sink_test(admin: web::Data<Admin>, name: web::Path<String>, _: Filled, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let (report, change) = sinks::tested(&admin, &name).await?;
    Ok(done(&admin, &name, &request, change, Done::Tested(report)))
}

async fn sink_retry(
    admin: web::Data<Admin>,
    name: web::Path<String>,
    _: Filled,
    who: Principal,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (retried, change) = sinks::retry(&admin, name.clone(), who.name).await?;
    Ok(done(&admin, &name, &request, change, Done::Retried(retried)))
}

// Reports and audit

#[derive(Deserialize)]
struct Wished {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    period: String,
    #[serde(default)]
    sensor: String,
}

async fn reports(
    admin: web::Data<Admin>,
    wished: web::Query<Wished>,
    who: Principal,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let Wished { kind, period, sensor } = wished.into_inner();
    let asked = page::reports::Asked { kind, period, sensor };
    if asked.kind.is_empty() || asked.period.is_empty() {
        let store = admin.engine.store().clone();
        let mut sensors = stream::one(&admin, move || Ok(service::report::sensors(&store)?)).await?;
        sensors.retain(|sensor| who.sees(sensor));
        let body = page::reports::list(&asked, &sensors, who.sensors.is_none(), time::now());
        return Ok(drawn(&request, Part::Reports, "Reports", &body));
    }
    let sensor = Some(asked.sensor.clone()).filter(|sensor| !sensor.is_empty());
    questions::may_see_reports(&who, sensor.as_deref())?;
    let (question, asking, who) = (format!("{asked:?} {:?}", who.sensors), admin.clone(), who.clone());
    let made = admin.kept.reports.of(&question, async move || {
        let of = (asked.kind.clone(), asked.period.trim().to_owned());
        let made = questions::make(&asking, &who, &of, questions::Reports::of(sensor)).await?;
        let title = made.first().map_or_else(|| "Report".to_owned(), |report| format!("Report {}", report.period));
        Ok((title, page::reports::report(&asked, &made)))
    });
    let made = made.await?;
    Ok(drawn(&request, Part::Reports, &made.0, &made.1))
}

async fn audit_records(
    admin: web::Data<Admin>,
    asked: web::Query<service::audit::Asked>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let mut asked = asked.into_inner();
    asked.limit = Some(asked.limit.unwrap_or(AUDIT_RECORDS).min(AUDIT_RECORDS));
    // Who did what, unless something else is asked for: the daemon itself has the most to say.
    if asked.kind.as_deref().unwrap_or_default().is_empty() {
        asked.people = Some(asked.people.unwrap_or(true));
    }
    let records = audit::records(&admin, asked.clone()).await?;
    Ok(drawn(&request, Part::Audit, "Audit", &page::audit::audit(&asked, &records)))
}

// Logging in and out

#[derive(Deserialize)]
struct Next {
    #[serde(default)]
    next: String,
}

async fn log_in_form(next: web::Query<Next>, request: HttpRequest) -> HttpResponse {
    let next = login::local(&next.next);
    if request.extensions().get::<Principal>().is_some() {
        return see_other(next);
    }
    drawn(&request, Part::Other, "Log in", &page::login::form(next, &csrf(&request), None))
}

async fn log_in(admin: web::Data<Admin>, filled: Filled, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let (key, next) = (filled.get("key").trim(), login::local(filled.get("next")));
    let verified = match key.len() {
        0 | login::TOO_LONG.. => Err(Problem::unauthorized("a key is a line of text, as `honeyguide keys create` shows it")),
        _ => login::verify(&admin, key),
    };
    let (principal, proof) = match verified {
        Ok(verified) => verified,
        Err(problem) => {
            audit::refused(&admin, audit::Told::of(&request, None), &problem);
            let body = page::login::form(next, &csrf(&request), Some(&problem.detail));
            let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::UNAUTHORIZED);
            return Ok(drawn_with(&request, Part::Other, "Log in", &body, status, None));
        }
    };
    audit::logged(&admin, audit::Told::of(&request, Some(&principal)), "logged_in", &principal).await;
    let id = admin.sessions.begin(proof, Instant::now());
    let mut answer = see_other(next);
    answer.add_cookie(&admin.cookie.holding(Some(id))).map_err(|error| Problem::failed(&error))?;
    Ok(answer)
}

async fn log_out(admin: web::Data<Admin>, _: Filled, request: HttpRequest) -> Result<HttpResponse, Problem> {
    if let Some(cookie) = request.cookie(admin.cookie.name()) {
        admin.sessions.end(cookie.value());
    }
    let mut answer = see_other("/login");
    answer.add_cookie(&admin.cookie.holding(None)).map_err(|error| Problem::failed(&error))?;
    Ok(Change::new(json!({ "session": "open" }), json!({ "session": "ended" })).told(answer))
}

// What never changes while the daemon runs

/// A file, and by what a browser knows that it has it.
struct Asset {
    content_type: &'static str,
    text: String,
    etag: String,
}

impl Asset {
    fn new(content_type: &'static str, text: String) -> Asset {
        let etag = format!("\"{}\"", &blake3::hash(text.as_bytes()).to_hex()[..32]);
        Asset { content_type, text, etag }
    }

    /// Asked for again each time, and sent again only when another version of the daemon has another one.
    fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let has = request.headers().get_all(header::IF_NONE_MATCH).filter_map(|tags| tags.to_str().ok());
        let is_known =
            has.flat_map(|tags| tags.split(',')).any(|tag| matches!(tag.trim(), "*") || tag.trim().trim_start_matches("W/") == self.etag);
        let mut answer = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        answer.insert_header((header::ETAG, self.etag.as_str())).insert_header((header::CACHE_CONTROL, "no-cache"));
        if is_known { answer.finish() } else { answer.content_type(self.content_type).body(self.text.clone()) }
    }
}

async fn style(request: HttpRequest) -> HttpResponse {
    static STYLE: LazyLock<Asset> =
        LazyLock::new(|| Asset::new("text/css; charset=utf-8", [html::STYLE, include_str!("../page/style.css")].concat()));
    STYLE.answer(&request)
}

async fn script(request: HttpRequest) -> HttpResponse {
    static SCRIPT: LazyLock<Asset> =
        LazyLock::new(|| Asset::new("text/javascript; charset=utf-8", include_str!("../page/live.js").to_owned()));
    SCRIPT.answer(&request)
}
