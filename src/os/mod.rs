//! What the operating system is asked for: signals, systemd, process figures, limits, users, locks. Linux only.
pub mod limits;
pub mod listen_fds;
pub mod lock;
pub mod memory;
pub mod notify;
pub mod owner;
pub mod peer;
pub mod process;
pub mod signals;
