//! A control group (version 2) that limits the memory of this process and its children, page cache included.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Result, fail};

const ROOT: &str = "/sys/fs/cgroup";

/// A group below the one that this process lives in. Removed when it is dropped.
pub struct Group {
    own: PathBuf,
    limited: PathBuf,
}

impl Group {
    /// Makes a group with a limit. Says why it cannot, if so.
    pub fn new(memory_bytes: u64) -> Result<Group> {
        if !Path::new(ROOT).join("cgroup.controllers").exists() {
            return fail(format!("{ROOT} is not a control group file system of version 2"));
        }
        let text = fs::read_to_string("/proc/self/cgroup")?;
        let Some(path) = text.lines().find_map(|line| line.strip_prefix("0::/")) else {
            return fail("this process is in no control group of version 2".to_string());
        };
        let own = Path::new(ROOT).join(path);
        let controllers = fs::read_to_string(own.join("cgroup.subtree_control"))?;
        if !controllers.split_whitespace().any(|controller| controller == "memory") {
            let why = format!("the memory controller is not delegated below {}", own.display());
            return fail(format!("{why} (systemd-run --user --scope -p Delegate=yes helps)"));
        }
        let limited = own.join(format!("atomkv-bench-{}", std::process::id()));
        fs::create_dir(&limited).map_err(|error| format!("{}: {error}", limited.display()))?;
        let group = Group { own, limited };
        fs::write(group.limited.join("memory.max"), memory_bytes.to_string())?;
        // Where there is swap, the limit would be none.
        let _ = fs::write(group.limited.join("memory.swap.max"), "0");
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
        // It is empty unless leaving failed, and then there is nobody to tell.
        let _ = fs::remove_dir(&self.limited);
    }
}
