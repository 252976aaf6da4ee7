//! What files and processes take.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::Result;

/// The blocks that the files below a directory really occupy, in bytes. A file that goes meanwhile counts nothing.
pub fn disk_bytes(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
            Ok(metadata) => metadata.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

/// The most that a directory takes while `work` runs, looked at ten times a second.
pub fn peak_disk_bytes<R>(directory: &Path, work: impl FnOnce() -> R) -> (R, u64) {
    let (done, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(disk_bytes(directory), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    });
    (result, peak.into_inner().max(disk_bytes(directory)))
}

/// This process's memory: what is its own, and what it maps of files.
#[derive(Clone, Copy, Debug)]
pub struct Resident {
    pub own_bytes: u64,
    pub mapped_bytes: u64,
}

pub fn resident() -> Result<Resident> {
    let text = fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let number =
            line.and_then(|line| line.split_whitespace().nth(1)).and_then(|word| word.parse::<u64>().ok());
        number.map(|kilobytes| kilobytes << 10).ok_or(format!("no {name} in /proc/self/status"))
    };
    Ok(Resident { own_bytes: field("RssAnon:")?, mapped_bytes: field("RssFile:")? + field("RssShmem:")? })
}

/// Takes the files below a directory out of the page cache, as far as they are clean.
pub fn forget_pages(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            forget_pages(&path)?;
            continue;
        }
        let file = fs::File::open(&path)?;
        file.sync_all()?;
        // SAFETY: the descriptor is open; the call only advises the kernel.
        unsafe {
            libc::posix_fadvise(std::os::fd::AsRawFd::as_raw_fd(&file), 0, 0, libc::POSIX_FADV_DONTNEED)
        };
    }
    Ok(())
}
