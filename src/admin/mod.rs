//! placeholder while the parts are put together
use crate::daemon::Engine;
use std::sync::Arc;
#[derive(Debug, thiserror::Error)]
#[error("admin")]
pub struct Error;
pub struct Serving;
impl Serving {
    pub async fn stop(self) {}
}
pub fn serve(_engine: Arc<Engine>) -> Result<Serving, Error> {
    Ok(Serving)
}
