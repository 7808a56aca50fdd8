//! The allocator's part in staying small: few arenas, and freed memory given back to the system.

/// Bounds the number of glibc's arenas: each thread having its own keeps what bulk loading freed on all of them.
pub fn bound_arenas() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt only sets a parameter of the allocator; called once, before threads are started.
    unsafe {
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, 2);
    }
}

/// Gives freed memory back to the system. Takes milliseconds: for when there is nothing else to do.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim may be called at any time from any thread.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
