//! Settings of the kernel that limit IPC, for messages that name a limit:
//! proc_sys_kernel(5), mq_overview(7).

/// The value of a file below /proc/sys, as `kernel.shmmax` names it.
pub(crate) fn setting(name: &str) -> Option<String> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    std::fs::read_to_string(path).ok().map(|value| value.trim().to_owned())
}

/// The value of a setting that is a number.
pub(crate) fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    setting(name)?.parse().ok()
}

/// One of the four numbers of kernel.sem: SEMMSL, SEMMNS, SEMOPM, SEMMNI.
pub(crate) fn semaphores(which: usize) -> Option<u64> {
    setting("kernel.sem")?.split_whitespace().nth(which)?.parse().ok()
}

/// The value for a message; a question mark where it cannot be read.
pub(crate) fn in_words(name: &str) -> String {
    setting(name).unwrap_or_else(|| "?".to_owned())
}
