//! What the figures were measured on.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub memory_bytes: u64,
    pub kernel: String,
    pub filesystem: String,
    pub date: String,
    pub commit: String,
    pub compiler: String,
    /// The arguments of the run.
    pub arguments: String,
    /// Name and version of each peer.
    pub versions: Vec<(String, String)>,
}

impl Machine {
    /// This one, with the file system that a directory lies on.
    pub fn here(directory: &Path, arguments: String, versions: Vec<(String, String)>) -> Machine {
        Machine {
            processor: field("/proc/cpuinfo", "model name")
                .unwrap_or_else(|| std::env::consts::ARCH.to_string()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory_bytes(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| std::env::consts::OS.to_string(), |text| format!("Linux {}", text.trim())),
            filesystem: filesystem(directory).unwrap_or_else(|| "unknown".to_string()),
            date: date_of(SystemTime::now()),
            commit: output("git", &["describe", "--always", "--dirty"])
                .unwrap_or_else(|| "unknown".to_string()),
            compiler: output("rustc", &["--version"]).unwrap_or_else(|| "unknown".to_string()),
            arguments,
            versions,
        }
    }
}

/// The bytes of memory of the machine; 0 where that cannot be told.
pub fn memory_bytes() -> u64 {
    let kilobytes = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()));
    kilobytes.unwrap_or(0) << 10
}

/// The value behind "name:" in a file of such lines.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(found, _)| found.trim() == name)
        .map(|(_, value)| value.trim().to_string())
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_string())
}

/// The type of the file system that holds a directory: the longest mount point above it.
fn filesystem(directory: &Path) -> Option<String> {
    let directory = directory.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (_device, point, kind) = (words.next()?, words.next()?, words.next()?);
            directory.starts_with(point).then(|| (point.len(), kind.to_string()))
        })
        .max_by_key(|(length, _)| *length)
        .map(|(_, kind)| kind)
}

/// The day in UTC, as 2026-11-24 (civil-from-days, H. Hinnant).
fn date_of(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    let days = seconds / 86_400 + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_of_year = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_of_year + 2) / 5 + 1;
    let month = if month_of_year < 10 { month_of_year + 3 } else { month_of_year - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn days_become_dates() {
        let at = |days: u64| date_of(SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400));
        assert_eq!(at(0), "1970-01-01");
        assert_eq!(at(11_016), "2000-02-29");
        assert_eq!(at(20_781), "2026-11-24");
    }
}
