//! Routes about the databases that tell where addresses are. Changes go one after the other, and say in the ledger who asked for them.
use super::Admin;
use super::audit::Change;
use super::parameters::one_of;
use super::problem::Problem;
use super::questions::{Checking, absolute, teller};
use super::route::Route;
use super::sinks::Nothing;
use super::stream;
use crate::access::{Principal, Right};
use crate::actors::supervisor::EndSegment;
use crate::cli::answers;
use crate::cli::format::RebuildReport;
use crate::daemon::Engine;
use crate::events::time;
use crate::geoip::Kind;
use crate::os::memory;
use crate::service::geoip::{self, DatabaseRow, Import, PlaceRow};
use crate::store::{Live, Store};
use actix_web::{HttpResponse, web};
use serde_json::json;
use std::net::IpAddr;
use std::time::Duration;
use utoipa::openapi::Schema;
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, SchemaFormat, Type};

/// How long sealing the segment that was being written may take before the others are begun with.
const SEALING: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/geoip", Right::Status, "Databases of countries and autonomous systems", list).answers::<Vec<DatabaseRow>>(),
        Route::post("/geoip", Right::Enrich, "Imports a database from a file of the daemon's machine", import)
            .names_files()
            .body::<Import>()
            .answers::<DatabaseRow>(),
        Route::post("/geoip/apply", Right::Enrich, "Gives stored events the places that the databases tell", apply)
            .answers_lines::<Checking<RebuildReport>>(),
        Route::get("/geoip/lookup/{address}", Right::Evidence, "What the databases tell of an address", lookup)
            .path_value("address", addresses())
            .answers::<PlaceRow>(),
        Route::post("/geoip/{name}/remove", Right::Enrich, "Removes a database", remove)
            .path_value("name", one_of(Kind::ALL.map(Kind::name)))
            .body::<Nothing>()
            .answers::<Nothing>(),
    ]
}

/// How addresses are written, for a description.
fn addresses() -> Schema {
    let written = |format: &str| ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::Custom(format.to_owned())));
    Schema::AnyOf(AnyOfBuilder::new().item(written("ipv4").build()).item(written("ipv6").build()).build())
}

async fn list(admin: web::Data<Admin>) -> Result<HttpResponse, Problem> {
    let store = admin.engine.store().clone();
    Ok(HttpResponse::Ok().json(stream::one(&admin, move || Ok(geoip::list(&store)?)).await?))
}

async fn lookup(admin: web::Data<Admin>, address: web::Path<String>) -> Result<HttpResponse, Problem> {
    let address: IpAddr = address.parse().map_err(|_| Problem::bad_request(&"this is no IP address"))?;
    let store = admin.engine.store().clone();
    Ok(HttpResponse::Ok().json(stream::one(&admin, move || Ok(geoip::lookup(&store, address))).await?))
}

async fn import(admin: web::Data<Admin>, asked: web::Json<Import>, who: Principal) -> Result<HttpResponse, Problem> {
    let Import { path, name } = asked.into_inner();
    absolute(std::slice::from_ref(&path))?;
    let (store, by) = (admin.engine.store().clone(), who.name);
    let upkeep = admin.upkeep.clone().lock_owned().await;
    let row = stream::one(&admin, move || {
        let _upkeep = upkeep;
        let before = Kind::ALL.map(|kind| geoip::in_force(&store, kind));
        let mut file = geoip::open_file(&path).map_err(crate::service::ServiceError::from)?;
        let row = geoip::import(&store, &path.to_string_lossy(), &mut file, name, &by, time::now());
        // Checking took memory for every record.
        memory::give_back();
        let row = row?;
        let before = Kind::ALL.into_iter().zip(before).find(|(kind, _)| *kind == row.name).and_then(|(_, before)| before);
        Ok((before, row))
    });
    let (before, row) = row.await?;
    Ok(Change::new(before, &row).told(HttpResponse::Ok().json(row)))
}

async fn remove(admin: web::Data<Admin>, name: web::Path<String>, _: web::Json<Nothing>, who: Principal) -> Result<HttpResponse, Problem> {
    let kind = Kind::parse(&name).ok_or_else(|| Problem::not_found("databases are called country and asn"))?;
    let (store, by) = (admin.engine.store().clone(), who.name);
    let upkeep = admin.upkeep.clone().lock_owned().await;
    let removed = stream::one(&admin, move || {
        let _upkeep = upkeep;
        let before = geoip::in_force(&store, kind);
        geoip::remove(&store, kind, &by, time::now())?;
        Ok(before)
    });
    Ok(Change::new(removed.await?, ()).told(HttpResponse::Ok().json(Nothing {})))
}

/// Makes all sidecars again, that of the segment being written among them: it is ended first.
async fn apply(admin: web::Data<Admin>) -> Result<HttpResponse, Problem> {
    let upkeep = admin.upkeep.clone().lock_owned().await;
    let engine = admin.engine.clone();
    // One that cannot be sealed now says so in the log; it has its new terms at the next start.
    end_segment(&engine).await?;
    let databases: Vec<_> = Kind::ALL.into_iter().filter_map(|kind| geoip::in_force(engine.store(), kind)).collect();
    let change = Change::new(admin.holdings(), json!({ "asked": { "databases": databases } }));
    let answer = stream::lines(&admin, move |lines| {
        let _upkeep = upkeep;
        let report = answers::geoip_apply(engine.store(), &engine.state, time::now(), &mut teller::<RebuildReport>(lines))?;
        let _ = lines.tell(&Checking::Report(report));
        Ok(())
    });
    Ok(change.told(answer.await?))
}

/// Ends the segment that is written, unless it is empty, and waits until it is sealed. Answers whether it is.
pub(super) async fn end_segment(engine: &Engine) -> Result<bool, Problem> {
    let written = engine.store().view().live.last().map(|live| live.number);
    let Some(written) = written else { return Ok(true) };
    let sealed = async {
        while is_pending(engine.store(), written) {
            // Said again each time: while the journal is opened anew, nobody hears it.
            engine.supervisor.send(EndSegment).await.map_err(|error| Problem::failed(&error))?;
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    };
    tokio::time::timeout(SEALING, sealed).await.map_or(Ok(false), |sealed: Result<(), Problem>| sealed.map(|()| true))
}

/// Blocks that only moved checkpoints do not end a segment, and there is nothing in them.
fn is_pending(store: &Store, segment: u64) -> bool {
    let has_events = |live: &Live| live.read().index.metas().iter().any(|block| block.events > 0);
    store.view().live.iter().any(|live| live.number <= segment && has_events(live))
}
