//! The command line: what may be typed ([`args`]), its manual ([`pages`]), and how answers look ([`terminal`], [`format`], [`transcript`]).
pub mod answers;
pub mod args;
pub mod context;
pub mod format;
pub mod pages;
pub mod terminal;
pub mod transcript;
