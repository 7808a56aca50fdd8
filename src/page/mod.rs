//! The page at `/`, for people: data in, [`maud::Markup`] out. What asks for the data is `admin::pages`.
//!
//! Everything works without JavaScript but liveness. Whatever attackers wrote is text: maud escapes it, [`shown`] makes visible what
//! would steer, reorder or hide, and the content security policy forbids the rest. Indicators are written so that they lead nowhere.
pub mod audit;
pub mod charts;
pub mod events;
pub mod indicators;
pub mod layout;
pub mod login;
pub mod overview;
pub mod reports;
pub mod search;
pub mod session;
pub mod shown;
pub mod sinks;
