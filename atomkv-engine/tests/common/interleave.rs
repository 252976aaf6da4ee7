//! Lets operations happen in the middle of a checkpoint or a compaction, always at the same places for the same seed.
//!
//! [`interleave`] runs the maintenance on a thread of its own. Whenever that thread is about to touch a checkpoint
//! image or a page segment (it holds none of the database's locks then but the one of maintenance), it stops and the
//! test has its turn. Only one of the two threads ever runs, so a failing seed fails again.

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use atomkv_engine::storage::sim::SimStorage;
use atomkv_engine::storage::{LockOutcome, MapWriter, Mapping, Storage, StorageFile};

thread_local! {
    /// Of the thread that does maintenance: how it says that it stands still, and hears that it may go on.
    static TURNS: RefCell<Option<(Sender<()>, Receiver<()>)>> = const { RefCell::new(None) };
}

/// Runs `maintain`; calls `turn` at every place where others may act meanwhile.
pub fn interleave<R: Send>(maintain: impl FnOnce() -> R + Send, mut turn: impl FnMut()) -> R {
    let (pause, paused) = channel();
    let (resume, resumed) = channel();
    std::thread::scope(|scope| {
        let worker = scope.spawn(move || {
            TURNS.with(|turns| turns.replace(Some((pause, resumed))));
            let result = maintain();
            TURNS.with(RefCell::take);
            result
        });
        while paused.recv().is_ok() {
            turn();
            if resume.send(()).is_err() {
                break;
            }
        }
        match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn stop_at(path: &Path) {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !name.starts_with("checkpoint-") && !name.starts_with("page-") {
        return;
    }
    TURNS.with(|turns| {
        if let Some((pause, resumed)) = &*turns.borrow() {
            // An error means that the test has failed and is unwinding: just go on.
            let _ = pause.send(());
            let _ = resumed.recv();
        }
    });
}

/// The simulated disk as one process sees it: with the places where [`interleave`] stops, and out of reach once the
/// process is dead, whatever its destructors still try.
#[derive(Debug)]
pub struct Interleaved {
    sim: SimStorage,
    life: u64,
}

impl Interleaved {
    pub fn new(sim: SimStorage) -> Interleaved {
        Interleaved { life: sim.life(), sim }
    }

    fn alive(&self) -> io::Result<&SimStorage> {
        if self.sim.life() == self.life {
            Ok(&self.sim)
        } else {
            Err(io::Error::other("the process is dead"))
        }
    }
}

#[derive(Debug)]
struct InterleavedFile {
    path: std::path::PathBuf,
    file: Arc<dyn StorageFile>,
}

impl Storage for Interleaved {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.alive()?.create_dir_all(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.alive()?.list(directory)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        stop_at(path);
        let file = self.alive()?.create(path)?;
        Ok(Arc::new(InterleavedFile { path: path.to_path_buf(), file }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.alive()?.open(path)?;
        Ok(Arc::new(InterleavedFile { path: path.to_path_buf(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.alive()?.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.alive()?.remove(path)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.alive()?.sync_dir(directory)
    }

    fn lock(&self, path: &Path) -> io::Result<LockOutcome> {
        self.alive()?.lock(path)
    }

    fn lock_to_read(&self, path: &Path) -> io::Result<LockOutcome> {
        self.alive()?.lock_to_read(path)
    }

    fn now_ms(&self) -> u64 {
        self.sim.now_ms()
    }
}

impl StorageFile for InterleavedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        stop_at(&self.path);
        self.file.write_at(offset, bytes)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }

    fn punch_hole(&self, offset: u64, length: u64) -> io::Result<()> {
        self.file.punch_hole(offset, length)
    }

    fn sync_data(&self) -> io::Result<()> {
        stop_at(&self.path);
        self.file.sync_data()
    }

    fn map(&self, length: u64) -> io::Result<Option<Mapping>> {
        self.file.map(length)
    }

    fn map_writer(&self, start: u64, length: u64) -> io::Result<Option<MapWriter>> {
        self.file.map_writer(start, length)
    }
}
