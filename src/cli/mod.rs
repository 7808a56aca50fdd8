//! The command line: what may be typed ([`args`]), its manual ([`pages`]), how answers look ([`terminal`], [`format`],
//! [`transcript`]), what they are filled from ([`answers`], or [`client`] when a daemon runs), and one module for each command.
pub mod answers;
pub mod args;
pub mod checking;
pub mod client;
pub mod context;
pub mod format;
pub mod in_process;
pub mod ingested;
pub mod load;
pub mod pages;
pub mod print;
pub mod quarantine;
pub mod rebuild;
pub mod search;
pub mod session;
pub mod status;
pub mod terminal;
pub mod top;
pub mod transcript;
pub mod verify;
