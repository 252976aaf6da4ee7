//! A control group that limits the memory of this process and its children, page cache included: of version 2, or of
//! version 1 where the memory controller is still there.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Result, fail};

/// A group below the one that this process lives in, so that whatever limits that one holds here too. Removed when it
/// is dropped.
pub struct Group {
    version: Version,
    own: PathBuf,
    limited: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Group {
    /// Makes a group with a limit. Says why it cannot, if so.
    pub fn new(memory_bytes: u64) -> Result<Group> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let groups = fs::read_to_string("/proc/self/cgroup")?;
        let Some((version, own)) = own_group(&mounts, &groups) else {
            return fail("no file system of control groups with a memory controller is mounted".to_string());
        };
        if version == Version::Two {
            check_delegated(&own)?;
        }
        let limited = own.join(format!("atomkv-bench-{}", std::process::id()));
        fs::create_dir(&limited).map_err(|error| format!("{}: {error}", limited.display()))?;
        let group = Group { version, own, limited };
        let (limit, with_swap, swap_bytes) = match version {
            Version::One => ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", memory_bytes),
            Version::Two => ("memory.max", "memory.swap.max", 0),
        };
        fs::write(group.limited.join(limit), memory_bytes.to_string())?;
        // Where there is swap, the limit would be none.
        let _ = fs::write(group.limited.join(with_swap), swap_bytes.to_string());
        Ok(group)
    }

    /// This process, and every child that it starts from now on, is limited.
    pub fn enter(&self) -> Result<()> {
        Ok(fs::write(self.limited.join("cgroup.procs"), std::process::id().to_string())?)
    }

    /// Back to where it was.
    pub fn leave(&self) -> Result<()> {
        Ok(fs::write(self.own.join("cgroup.procs"), std::process::id().to_string())?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.version == Version::One {
            // Pages that are charged to it may keep it from being removed.
            let _ = fs::write(self.limited.join("memory.force_empty"), "0");
        }
        // It is empty unless leaving failed, and then there is nobody to tell.
        let _ = fs::remove_dir(&self.limited);
    }
}

fn check_delegated(own: &Path) -> Result<()> {
    let controllers = fs::read_to_string(own.join("cgroup.subtree_control"))?;
    if controllers.split_whitespace().any(|controller| controller == "memory") {
        return Ok(());
    }
    let why = format!("the memory controller is not delegated below {}", own.display());
    fail(format!("{why} (systemd-run --user --scope -p Delegate=yes helps)"))
}

/// The directory of the group that limits this process's memory, from /proc/self/mountinfo and /proc/self/cgroup. The
/// memory controller belongs to one version only, and to the second unless the first has it.
fn own_group(mounts: &str, groups: &str) -> Option<(Version, PathBuf)> {
    let find = |version| {
        let (root, mount) = mounts.lines().find_map(|line| mount_of(line, version))?;
        let path = groups.lines().find_map(|line| path_of(line, version))?;
        // A container may see only the part of the tree below its own group.
        let below = Path::new(path).strip_prefix(root).ok()?;
        Some((version, Path::new(mount).join(below)))
    };
    find(Version::One).or_else(|| find(Version::Two))
}

/// What is mounted (a directory of the tree of groups) and where, if the line tells of the memory controller's mount:
/// `35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory`.
fn mount_of(line: &str, version: Version) -> Option<(&str, &str)> {
    let (mount, system) = line.split_once(" - ")?;
    let mut system = system.split(' ');
    let kind = system.next()?;
    let is_ours = match version {
        Version::One => kind == "cgroup" && system.nth(1)?.split(',').any(|option| option == "memory"),
        Version::Two => kind == "cgroup2",
    };
    let mut mount = mount.split(' ').skip(3);
    if is_ours { Some((mount.next()?, mount.next()?)) } else { None }
}

/// The process's group, if the line tells of the memory controller: `4:memory:/some/group`, or `0::/some/group` in
/// version 2.
fn path_of(line: &str, version: Version) -> Option<&str> {
    let (number, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let is_ours = match version {
        Version::One => controllers.split(',').any(|controller| controller == "memory"),
        Version::Two => number == "0" && controllers.is_empty(),
    };
    is_ours.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TMPFS: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n";
    const ONE: &str = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n";
    const TWO: &str = "41 31 0:38 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn the_first_version_is_taken_where_it_has_the_controller() {
        let groups = "5:devices:/\n4:memory:/user/shell\n1:cpu,cpuacct:/\n0::/other\n";
        let own = own_group(&format!("{TMPFS}{ONE}{TWO}"), groups);
        assert_eq!(own, Some((Version::One, PathBuf::from("/sys/fs/cgroup/memory/user/shell"))));
    }

    #[test]
    fn the_second_version_is_taken_else() {
        let expected = Some((Version::Two, PathBuf::from("/sys/fs/cgroup/user.slice")));
        assert_eq!(own_group(TWO, "0::/user.slice\n"), expected);
        let without_memory = ONE.lines().next().unwrap_or_default();
        assert_eq!(own_group(&format!("{without_memory}\n{TWO}"), "1:cpu:/\n0::/user.slice\n"), expected);
    }

    #[test]
    fn a_container_sees_part_of_the_tree() {
        let mounts = ONE.replace("0:32 / ", "0:32 /box/7 ");
        let within = own_group(&mounts, "4:memory:/box/7/job\n");
        assert_eq!(within, Some((Version::One, PathBuf::from("/sys/fs/cgroup/memory/job"))));
        assert_eq!(own_group(&mounts, "4:memory:/box/7\n").map(|(version, _)| version), Some(Version::One));
        assert_eq!(own_group(&mounts, "4:memory:/elsewhere\n"), None);
    }

    #[test]
    fn without_a_mount_or_a_group_there_is_none() {
        assert_eq!(own_group(TMPFS, "0::/\n"), None);
        assert_eq!(own_group(TWO, "3:cpu:/\n"), None);
        assert_eq!(own_group("garbage - cgroup\n", ":\n"), None);
    }
}
