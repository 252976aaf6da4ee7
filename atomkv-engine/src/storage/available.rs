//! How much memory there is for this process and for the page cache of what it reads.

/// The memory of the machine, or the least that a control group leaves the process of it. `None` where the system
/// does not tell.
#[cfg(target_os = "linux")]
pub(crate) fn memory_bytes() -> Option<u64> {
    // SAFETY: the calls take no pointers.
    let (pages, page_bytes) =
        unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    let machine = u64::try_from(pages).ok()?.checked_mul(u64::try_from(page_bytes).ok()?)?;
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(|path| std::fs::read_to_string(path).ok());
    // "max" is no number, and no limit.
    Some(limits.filter_map(|text| text.trim().parse().ok()).fold(machine, u64::min))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn memory_bytes() -> Option<u64> {
    None
}

/// The files that tell the limits of the process's group and of those above it, where the trees of groups are usually
/// mounted. A container may see its own group there as the root, so some need not exist.
#[cfg(target_os = "linux")]
fn limit_files(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(mut group)) = (fields.next(), fields.next()) else { continue };
        let (root, name) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            names if names.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        while let Some((above, _)) = group.rsplit_once('/') {
            files.push(format!("{root}{}/{name}", group.trim_end_matches('/')));
            group = above;
        }
        files.push(format!("{root}/{name}"));
    }
    files
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_limited_by_those_above_it() {
        let files = limit_files("5:devices:/a\n4:cpu,memory:/a/b\n0::/c\nnonsense\n");
        assert_eq!(
            files,
            [
                "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/c/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert_eq!(limit_files("0::/\n"), ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.max"]);
    }

    #[test]
    fn this_process_has_some_memory() {
        assert!(memory_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
