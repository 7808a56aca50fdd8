//! Parse, run, exit code; everything else is the library's.
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before there are threads.
    honeyguide::os::memory::bound_arenas();
    honeyguide::os::listen_fds::adopt();
    honeyguide::cli::main()
}
