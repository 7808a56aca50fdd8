//! Routes about dead letters in full.
use super::Admin;
use super::problem::Problem;
use super::route::Route;
use super::stream;
use crate::access::Right;
use crate::service::letters::{self, DeadLetter};
use actix_web::{HttpResponse, web};
use utoipa::PartialSchema;

pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/sinks/{name}/dead/export", Right::Evidence, "All its dead letters in full, oldest first, one a line", export)
            .answers_lines::<DeadLetter>(),
        Route::get("/sinks/{name}/dead/{number}", Right::Evidence, "One dead letter in full", show)
            .path_value("number", u64::schema())
            .answers::<DeadLetter>(),
    ]
}

async fn show(admin: web::Data<Admin>, of: web::Path<(String, u64)>) -> Result<HttpResponse, Problem> {
    let (store, (name, number)) = (admin.engine.store().clone(), of.into_inner());
    Ok(HttpResponse::Ok().json(stream::one(&admin, move || Ok(letters::letter(&store, &name, number)?)).await?))
}

async fn export(admin: web::Data<Admin>, name: web::Path<String>) -> Result<HttpResponse, Problem> {
    let (store, name) = (admin.engine.store().clone(), name.into_inner());
    stream::lines(&admin, move |lines| {
        let mut failed = None;
        letters::each_letter(&store, &name, &mut |letter| match serde_json::to_vec(letter) {
            Ok(line) => lines.push(&line),
            Err(error) => {
                failed = Some(Problem::failed(&error));
                std::ops::ControlFlow::Break(())
            }
        })?;
        failed.map_or(Ok(()), Err)
    })
    .await
}
