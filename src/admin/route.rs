//! The table of routes: what each is called, which right it needs, what it takes and what it answers, and who does it.
//!
//! Nothing is served that is not in it: the listeners, the OpenAPI description and the test that tries every route with every role are
//! made from it. A route is refused to whoever lacks its right, and to keys of some sensors unless it says that it holds to them.
use super::gate::Listener;
use super::parameters::{self, Taken};
use super::problem::Problem;
use super::{Admin, audit, pages, turns};
use crate::access::{Principal, Right};
use actix_web::body::{BoxBody, EitherBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, FromRequest, Handler, HttpMessage, HttpRequest, HttpResponse, Responder, ResponseError, web};
use std::collections::BTreeMap;
use std::future::{Ready, ready};
use std::rc::Rc;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::{Content, HttpMethod, Ref, RefOr, Required, Response, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

pub const API: &str = "/api/v1";
const JSON: &str = "application/json";
const DONE: &str = "200";

/// Who gets past the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Anybody.
    Nothing,
    /// Anybody as long as `anonymous` in `[admin]` says so, else whoever may see the state.
    NothingIfAnonymous,
    /// Whoever proved who they are.
    Credential,
    Right(Right),
}

/// One method of one path.
pub(crate) struct Route {
    pub method: Method,
    /// Whole, with `{names}` of its parameters.
    pub path: String,
    pub needs: Needs,
    /// Whether it answers keys of some sensors, with what is theirs.
    pub holds_to_sensors: bool,
    /// Whether it changes anything, and so is recorded.
    changes: bool,
    /// Whether it is asked with paths of the daemon's machine: whoever may do that can look at whatever the daemon can.
    names_files: bool,
    /// For people with a browser: who is unknown is led to the form that logs in, and what is wrong is told as a page.
    is_page: bool,
    summary: &'static str,
    parameters: Vec<Parameter>,
    /// By content type.
    bodies: Vec<(&'static str, Content)>,
    /// By status and content type; `None`: there is nothing behind the head.
    answers: Vec<(&'static str, Option<(&'static str, Content)>)>,
    schemas: Vec<(String, RefOr<Schema>)>,
    handler: actix_web::Route,
}

impl Route {
    pub fn get<F: Handler<Args>, Args: FromRequest + 'static>(path: &str, right: Right, summary: &'static str, handler: F) -> Route
    where
        F::Output: Responder + 'static,
    {
        Route::new(Method::GET, format!("{API}{path}"), Needs::Right(right), summary, handler)
    }

    pub fn post<F: Handler<Args>, Args: FromRequest + 'static>(path: &str, right: Right, summary: &'static str, handler: F) -> Route
    where
        F::Output: Responder + 'static,
    {
        Route { changes: true, ..Route::new(Method::POST, format!("{API}{path}"), Needs::Right(right), summary, handler) }
    }

    /// A page, or a part of one.
    pub fn page<F: Handler<Args>, Args: FromRequest + 'static>(path: &str, needs: Needs, summary: &'static str, handler: F) -> Route
    where
        F::Output: Responder + 'static,
    {
        Route { is_page: true, ..Route::new(Method::GET, path, needs, summary, handler) }
    }

    /// What a form of a page does. The handler takes a [`super::login::Filled`], which makes sure that it was a form of ours.
    pub fn form<F: Handler<Args>, Args: FromRequest + 'static>(path: &str, needs: Needs, summary: &'static str, handler: F) -> Route
    where
        F::Output: Responder + 'static,
    {
        Route { is_page: true, changes: true, ..Route::new(Method::POST, path, needs, summary, handler) }
    }

    /// It is asked with paths of the daemon's machine, and so over the socket only.
    pub fn names_files(self) -> Route {
        Route { names_files: true, ..self }
    }

    /// It is recorded, although it is made with [`Route::new`].
    pub fn changes(self) -> Route {
        Route { changes: true, ..self }
    }

    /// It is asked with a body, and changes nothing.
    pub fn only_asks(self) -> Route {
        Route { changes: false, ..self }
    }

    pub fn new<F: Handler<Args>, Args: FromRequest + 'static>(
        method: Method,
        path: impl Into<String>,
        needs: Needs,
        summary: &'static str,
        handler: F,
    ) -> Route
    where
        F::Output: Responder + 'static,
    {
        let path = path.into();
        let parameters = names_in(&path).map(path_parameter).collect();
        let handler = web::method(method.clone()).to(handler);
        Route {
            method,
            path,
            needs,
            holds_to_sensors: false,
            changes: false,
            names_files: false,
            is_page: false,
            summary,
            parameters,
            bodies: Vec::new(),
            answers: Vec::new(),
            schemas: Vec::new(),
            handler,
        }
    }

    /// Keys of some sensors may ask: the handler tells them no more than is theirs.
    pub fn of_sensors(self) -> Route {
        Route { holds_to_sensors: true, ..self }
    }

    pub fn query<T: IntoParams>(mut self) -> Route {
        self.parameters.extend(T::into_params(|| Some(ParameterIn::Query)));
        self
    }

    /// Which values a parameter of the path can have.
    pub fn path_value(mut self, name: &str, schema: impl Into<RefOr<Schema>>) -> Route {
        let schema = schema.into();
        for parameter in self.parameters.iter_mut().filter(|one| one.name == name && one.parameter_in == ParameterIn::Path) {
            parameter.schema = Some(schema.clone());
        }
        self
    }

    pub fn body<T: ToSchema>(self) -> Route {
        self.body_as::<T>(JSON)
    }

    /// In one content type of several.
    pub fn body_as<T: ToSchema>(mut self, content_type: &'static str) -> Route {
        let content = self.content::<T>();
        self.bodies.push((content_type, content));
        self
    }

    /// One JSON value.
    pub fn answers<T: ToSchema>(self) -> Route {
        self.answers_as::<T>(JSON)
    }

    /// Bytes of this type.
    pub fn answers_bytes(self, content_type: &'static str) -> Route {
        self.says(DONE, content_type)
    }

    /// Bytes of this type, with a status that is not 200.
    pub fn says(mut self, status: &'static str, content_type: &'static str) -> Route {
        self.answers.push((status, Some((content_type, Content::new::<RefOr<Schema>>(None)))));
        self
    }

    /// It goes on in another protocol.
    pub fn switches(mut self) -> Route {
        self.answers.push(("101", None));
        self
    }

    /// JSON values, one a line.
    pub fn answers_lines<T: ToSchema>(self) -> Route {
        self.answers_as::<T>(super::stream::NDJSON)
    }

    fn answers_as<T: ToSchema>(mut self, content_type: &'static str) -> Route {
        let content = self.content::<T>();
        self.answers.push((DONE, Some((content_type, content))));
        self
    }

    fn content<T: ToSchema>(&mut self) -> Content {
        self.schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(&mut self.schemas);
        // What has no name of its own is said in place.
        let is_named = matches!(T::schema(), RefOr::T(Schema::Object(_) | Schema::OneOf(_) | Schema::AllOf(_) | Schema::AnyOf(_)));
        Content::new(Some(if is_named { RefOr::Ref(Ref::from_schema_name(T::name())) } else { T::schema() }))
    }
}

/// The names between braces.
fn names_in(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name.split(':').next().unwrap_or(name))
}

fn path_parameter(name: &str) -> Parameter {
    ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True).schema(Some(String::schema())).build()
}

/// Serves the routes; a path of theirs asked for with another method is told which ones there are.
pub(crate) fn register(services: &mut web::ServiceConfig, routes: Vec<Route>) {
    let mut by_path: Vec<(String, Vec<Route>)> = Vec::new();
    for route in routes {
        match by_path.iter_mut().find(|(path, _)| *path == route.path) {
            Some((_, same)) => same.push(route),
            None => by_path.push((route.path.clone(), vec![route])),
        }
    }
    for (path, routes) in by_path {
        let allowed = routes.iter().map(|route| route.method.as_str()).collect::<Vec<_>>().join(", ");
        let mut resource = web::resource(path);
        for Route { needs, holds_to_sensors, changes, names_files, is_page, parameters, handler, .. } in routes {
            let takes = parameters.iter().filter_map(Taken::of).collect();
            let rule = Rule { needs, holds_to_sensors, changes, names_files, is_page, takes };
            let guarded = from_fn(move |request: ServiceRequest, next: Next<BoxBody>| guard(rule.clone(), request, next));
            resource = resource.route(handler.wrap(guarded));
        }
        services.service(resource.default_service(web::to(move || ready(method_not_allowed(&allowed)))));
    }
}

fn method_not_allowed(allowed: &str) -> HttpResponse {
    let problem = Problem::method_not_allowed(format!("this path answers {allowed}"));
    let mut answer = problem.error_response();
    answer.headers_mut().insert(ALLOW, HeaderValue::from_str(allowed).expect("methods are a header's"));
    answer
}

/// What the guard knows of a route.
#[derive(Clone)]
struct Rule {
    needs: Needs,
    holds_to_sensors: bool,
    changes: bool,
    names_files: bool,
    is_page: bool,
    takes: Rc<[Taken]>,
}

/// Lets through who may; what changes something, and every refusal, goes into the ledger.
async fn guard(
    Rule { needs, holds_to_sensors, changes, names_files, is_page, takes }: Rule,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<EitherBody<BoxBody>>, Error> {
    let admin = request.app_data::<web::Data<Admin>>().cloned().expect("every listener is given it");
    let principal = request.extensions().get::<Principal>().cloned();
    // Links to pages may carry what others add to them.
    let wrong = if is_page { None } else { parameters::check(&takes, request.query_string()).err() };
    let right = match needs {
        Needs::Nothing => {
            let answer = next.call(request).await?;
            return Ok(if is_page { pages::told(answer) } else { answer }.map_into_left_body());
        }
        Needs::NothingIfAnonymous if admin.engine.settings.borrow().admin.anonymous => {
            if let Some(problem) = wrong {
                return Ok(request.into_response(problem.error_response()).map_into_right_body());
            }
            return Ok(next.call(request).await?.map_into_left_body());
        }
        Needs::NothingIfAnonymous => Some(Right::Status),
        Needs::Credential => None,
        Needs::Right(right) => Some(right),
    };
    let refused = match (&principal, right) {
        (None, _) => {
            Some(Problem::unauthorized("this needs a credential: `Authorization: Bearer KEY`; `honeyguide keys create` makes keys"))
        }
        (Some(principal), Some(right)) if !principal.may(right) => {
            let is_peer = request.extensions().get::<Listener>() == Some(&Listener::Unix);
            let remedy = if is_peer { "; ask as root, or give members of the group another `group_role` in [admin]" } else { "" };
            Some(Problem::forbidden(format!("this needs the right {right}, which {principal} has not{remedy}")))
        }
        (Some(principal), Some(_)) if principal.sensors.is_some() && !holds_to_sensors => {
            Some(Problem::forbidden(format!("this is about all sensors, and {principal} may see some only")))
        }
        (Some(_), _) if names_files && request.extensions().get::<Listener>() != Some(&Listener::Unix) => {
            Some(Problem::forbidden("what names files of the daemon's machine is asked over its Unix socket: run the command there"))
        }
        (Some(_), _) => None,
    };
    if is_page && principal.is_none() && request.method() == Method::GET {
        let form = pages::to_log_in(&request);
        return Ok(request.into_response(form).map_into_right_body());
    }
    let told = audit::Told::of(request.request(), principal.as_ref());
    if let Some(problem) = refused {
        audit::refused(&admin, told, &problem);
        let answer = if is_page { pages::problem(request.request(), &problem) } else { problem.error_response() };
        return Ok(request.into_response(answer).map_into_right_body());
    }
    if let Some(problem) = wrong {
        return Ok(request.into_response(problem.error_response()).map_into_right_body());
    }
    let who = principal.expect("nobody is refused above");
    let answering = turns::asked_by(&who, next.call(request));
    let answer = if changes {
        // A task of its own: a client that goes away stops neither the change nor its record.
        let changed = actix_web::rt::spawn(async move {
            let answered = answering.await;
            audit::changed(&admin, told, right.is_none(), &answered).await;
            answered
        });
        changed.await.map_err(|panic| Problem::failed(&panic))??
    } else {
        let answer = answering.await?;
        let problem = answer.response().error().and_then(Error::as_error::<Problem>);
        if let Some(problem) = problem.filter(|problem| problem.status == StatusCode::FORBIDDEN) {
            // What is asked for may be another's, which only the handler knows.
            audit::refused(&admin, told, problem);
        }
        answer
    };
    Ok(if is_page { pages::told(answer) } else { answer }.map_into_left_body())
}

/// A handler may ask who asks; the guard has made sure that somebody does.
impl FromRequest for Principal {
    type Error = Problem;
    type Future = Ready<Result<Principal, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(request.extensions().get::<Principal>().cloned().ok_or_else(|| Problem::unauthorized("this needs a credential")))
    }
}

/// The description of the routes, as OpenAPI 3.1.
pub(crate) fn openapi(routes: &[Route]) -> utoipa::openapi::OpenApi {
    use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
    use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApiBuilder, PathItem, PathsBuilder};
    let mut schemas: BTreeMap<String, RefOr<Schema>> = BTreeMap::new();
    let mut paths: BTreeMap<&str, PathItem> = BTreeMap::new();
    schemas.insert(Problem::name().into_owned(), Problem::schema());
    let retry_after = HeaderBuilder::new().schema(Some(u64::schema())).description(Some("Seconds.")).build();
    for route in routes.iter().filter(|route| !route.is_page) {
        schemas.extend(route.schemas.iter().cloned());
        let problem = Content::new(Some(RefOr::<Schema>::Ref(Ref::from_schema_name(Problem::name()))));
        let mut refusal = Response::new("why it was not done");
        refusal.content.insert(super::problem::CONTENT_TYPE.to_owned(), problem.into());
        let mut too_many = Response::new("more than is allowed: when to try again");
        too_many.content.clone_from(&refusal.content);
        too_many.headers.insert("Retry-After".to_owned(), RefOr::T(retry_after.clone()));
        let mut answers: BTreeMap<&str, Response> = BTreeMap::new();
        for (status, content) in &route.answers {
            let answer = answers.entry(status).or_insert_with(|| Response::new(if *status < "400" { "done" } else { "not now" }));
            answer.content.extend(content.iter().map(|(content_type, content)| ((*content_type).to_owned(), content.clone().into())));
        }
        let mut operation = OperationBuilder::new()
            .summary(Some(route.summary))
            .operation_id(Some(operation_id(route)))
            .tag(tag(&route.path))
            .response("429", too_many)
            .response("default", refusal);
        for (status, answer) in answers {
            operation = operation.response(status, answer);
        }
        for parameter in &route.parameters {
            operation = operation.parameter(parameter.clone());
        }
        if !route.bodies.is_empty() {
            let body = RequestBodyBuilder::new().required(Some(Required::True));
            let body = route.bodies.iter().fold(body, |body, (content_type, content)| body.content(*content_type, content.clone()));
            operation = operation.request_body(Some(body.build()));
        }
        let needed = match route.needs {
            Needs::Nothing | Needs::NothingIfAnonymous => None,
            Needs::Credential => Some("Needs a credential.".to_owned()),
            Needs::Right(right) => Some(format!("Needs the right `{right}`.")),
        };
        if let Some(needed) = needed {
            let scopes: [String; 0] = [];
            operation = operation
                .description(Some(needed))
                .security(SecurityRequirement::new("bearer", scopes.clone()))
                .security(SecurityRequirement::new("key", scopes));
        }
        let method = match route.method {
            Method::POST => HttpMethod::Post,
            Method::DELETE => HttpMethod::Delete,
            Method::PUT => HttpMethod::Put,
            _ => HttpMethod::Get,
        };
        let item = PathItem::new(method, operation.build());
        match paths.get_mut(route.path.as_str()) {
            Some(there) => there.merge_operations(item),
            None => drop(paths.insert(&route.path, item)),
        }
    }
    let mut described = PathsBuilder::new();
    for (path, item) in paths {
        described = described.path(path, item);
    }
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    let key = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("x-api-key")));
    let components = ComponentsBuilder::new().schemas_from_iter(schemas).security_scheme("bearer", bearer).security_scheme("key", key);
    OpenApiBuilder::new()
        .info(InfoBuilder::new().title("Honeyguide").version(env!("CARGO_PKG_VERSION")).description(Some(env!("CARGO_PKG_DESCRIPTION"))))
        .paths(described)
        .components(Some(components.build()))
        .build()
}

/// Such as `get_events_page`.
fn operation_id(route: &Route) -> String {
    let words = route.path.strip_prefix(API).unwrap_or(&route.path).split(['/', '{', '}', '.', '-']).filter(|word| !word.is_empty());
    std::iter::once(route.method.as_str().to_ascii_lowercase()).chain(words.map(str::to_owned)).collect::<Vec<_>>().join("_")
}

/// Such as `events`.
fn tag(path: &str) -> String {
    path.strip_prefix(API).unwrap_or(path).split('/').find(|part| !part.is_empty()).unwrap_or("page").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeSet;

    #[test]
    fn parameters_of_a_path_are_those_between_braces() {
        assert_eq!(names_in("/sinks/{name}/dead/{number:[0-9]+}").collect::<Vec<_>>(), ["name", "number"]);
        assert_eq!(names_in("/sinks").count(), 0);
    }

    fn described() -> Value {
        serde_json::to_value(openapi(&super::super::routes())).expect("names and numbers only")
    }

    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(members) => members.iter().for_each(|(name, value)| match value.as_str() {
                Some(reference) if name == "$ref" => drop(found.insert(reference)),
                _ => references(value, found),
            }),
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_answer_and_every_body_is_described() {
        let description = described();
        for route in super::super::routes().iter().filter(|route| !route.is_page) {
            let operation = &description["paths"][&route.path][route.method.as_str().to_ascii_lowercase()];
            let said = format!("{} {}: {operation}", route.method, route.path);
            let done = ["200", "101"].map(|status| &operation["responses"][status]).into_iter().find(|answer| answer.is_object());
            let answers = done.unwrap_or_else(|| panic!("{said}"))["content"].as_object();
            assert!(answers.is_some() || operation["responses"]["101"].is_object(), "{said}");
            let bodies = operation["requestBody"]["content"].as_object();
            for (content_type, content) in answers.into_iter().chain(bodies).flatten() {
                // Lines as honeypots wrote them are of no form.
                let is_evidence = content_type == crate::admin::stream::NDJSON && matches!(route.method, Method::GET);
                assert!(content["schema"].is_object() || !content_type.contains("json") || is_evidence, "{said}");
            }
            let takes_nothing = ["/verify", "/rebuild", "/geoip/apply"].iter().any(|path| route.path.ends_with(path));
            assert_eq!(bodies.is_some(), route.method == Method::POST && !takes_nothing, "{said}");
            assert!(operation["responses"]["429"]["headers"]["Retry-After"].is_object() && operation["responses"]["default"].is_object());
        }
    }

    #[test]
    fn the_description_says_every_route_once_and_refers_to_nothing_that_is_not_in_it() {
        let (description, mut routes) = (described(), super::super::routes());
        routes.retain(|route| !route.is_page);
        let mut operations = BTreeSet::new();
        for route in &routes {
            let operation = &description["paths"][&route.path][route.method.as_str().to_ascii_lowercase()];
            assert!(operation.is_object(), "{} {}", route.method, route.path);
            assert!(operations.insert(operation["operationId"].as_str().expect("an id").to_owned()), "{operation}");
            let named: Vec<&str> = operation["parameters"]
                .as_array()
                .map(|parameters| parameters.iter().filter(|one| one["in"] == "path").filter_map(|one| one["name"].as_str()).collect())
                .unwrap_or_default();
            assert_eq!(named, names_in(&route.path).collect::<Vec<_>>());
            assert_eq!(operation["security"].is_array(), !matches!(route.needs, Needs::Nothing | Needs::NothingIfAnonymous));
        }
        let described: usize =
            description["paths"].as_object().expect("paths").values().map(|item| item.as_object().map_or(0, |item| item.len())).sum();
        assert_eq!((described, operations.len()), (routes.len(), routes.len()));
        let mut found = BTreeSet::new();
        references(&description, &mut found);
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("within the document");
            assert!(description.pointer(pointer).is_some_and(|schema| schema != &serde_json::json!({})), "{reference} is not described");
        }
    }
}
