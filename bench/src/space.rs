//! What files and processes take.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use memmap2::MmapOptions;

use crate::drive::commas;
use crate::{Result, fail};

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

/// The bytes that this process and its threads have had the device read, page cache and read-ahead included.
pub fn device_read_bytes() -> Result<u64> {
    Ok(read_bytes(&fs::read_to_string("/proc/self/io")?).ok_or("no read_bytes in /proc/self/io")?)
}

fn read_bytes(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("read_bytes:"))?.trim().parse().ok()
}

/// Takes the files below a directory out of the page cache. An error if more than a hundredth stays there, as on file
/// systems that lie in memory.
pub fn forget_pages(directory: &Path) -> Result<()> {
    let (mut cached, mut all) = (0, 0);
    each_file(directory, &mut |file, length| {
        file.sync_all()?;
        forget(file);
        cached += cached_bytes(file, length)?;
        all += length;
        Ok(())
    })?;
    if cached > all / 100 {
        return fail(format!("{} of {} bytes stay in the page cache", commas(cached), commas(all)));
    }
    Ok(())
}

/// Takes the clean pages of one file out of the page cache.
pub fn forget(file: &File) {
    // SAFETY: the descriptor is open; the call only advises the kernel.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
}

fn each_file(directory: &Path, work: &mut impl FnMut(&File, u64) -> Result<()>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let metadata = fs::metadata(&path)?;
        if metadata.is_dir() {
            each_file(&path, work)?;
        } else if metadata.len() > 0 {
            work(&File::open(&path)?, metadata.len())?;
        }
    }
    Ok(())
}

/// How much of a file lies in the page cache, whoever brought it there.
fn cached_bytes(file: &File, length: u64) -> Result<u64> {
    const PAGE_BYTES: u64 = 4096;
    // SAFETY: nothing is read through the map.
    let map = unsafe { MmapOptions::new().len(length as usize).map(file)? };
    let mut pages = vec![0_u8; length.div_ceil(PAGE_BYTES) as usize];
    // SAFETY: the range is the map's, and there is a byte for each of its pages.
    if unsafe { libc::mincore(map.as_ptr().cast_mut().cast(), map.len(), pages.as_mut_ptr()) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(pages.iter().filter(|page| **page & 1 == 1).count() as u64 * PAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_are_those_of_the_device() {
        let text = "rchar: 323934931\nsyscr: 632687\nread_bytes: 12288\nwrite_bytes: 4096\n";
        assert_eq!(read_bytes(text), Some(12_288));
        assert_eq!(read_bytes("rchar: 1\n"), None);
        assert_eq!(read_bytes("read_bytes: many\n"), None);
    }
}
