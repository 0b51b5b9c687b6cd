//! Memory in small pages.

/// Has the system give this process memory as it is used: in huge pages a few bytes of a
/// message that is still coming take 2 MiB, because room for all of it is set aside.
pub(crate) fn small() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay as they are set for the system");
    }
}
