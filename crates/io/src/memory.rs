//! How this process asks the kernel for memory.

/// Have no huge pages from now on, whatever the system's default.
///
/// The allocator asks for them, and keeps a thread's blocks by size: the first block of each size
/// would then take 2 MiB, not 4 KiB. With 300 viewers that was a third of the server's memory, and no
/// difference in processor time could be measured.
pub fn use_small_pages() {
    // SAFETY: this option takes numbers only.
    let result = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    if result != 0 {
        let error = std::io::Error::last_os_error();
        tracing::debug!(%error, "the kernel keeps its huge pages");
    }
}
