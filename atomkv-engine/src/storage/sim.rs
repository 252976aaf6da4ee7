//! A simulated disk in memory, for tests: it loses what was not synced, tears at 512 bytes, fills up, fails the
//! n-th call, and does the same again for the same seed.
//!
//! Each file knows which of its 512-byte sectors differ from what the last successful sync has made durable, and
//! each name which change of it waits for a sync of the directory. [`SimStorage::power_loss`] keeps or loses each
//! of them by chance. A failed sync takes its sectors out of the reach of later syncs, as kernels do that mark pages
//! clean after an error.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{DirectoryLock, LockOutcome, MapWriter, Mapping, Storage, StorageFile};
use crate::sync::{Mutex, MutexGuard};

const SECTOR: usize = 512;

/// What [`SimStorage::fail_at`] does. The sticky kinds go on until [`SimStorage::clear_faults`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One call fails with an I/O error.
    Eio,
    /// One call that needs space finds the disk full.
    Enospc,
    /// This call and all later ones that change something fail with an I/O error.
    EioSticky,
    /// From this call on the disk is full.
    EnospcSticky,
}

/// The simulated disk. Clones share it.
#[derive(Clone)]
pub struct SimStorage {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct Inode {
    current: Vec<u8>,
    /// What the disk has of the sectors that were written since.
    dirty: BTreeMap<usize, [u8; SECTOR]>,
    durable_length: usize,
    /// Dirty sectors that a failed sync has dropped: later syncs do not write them either.
    dropped: BTreeSet<usize>,
    holes: u64,
}

struct State {
    random: u64,
    clock_ms: u64,
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    directories: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    renames: Vec<(PathBuf, PathBuf, u64)>,
    locks: BTreeSet<PathBuf>,
    /// Handles of an earlier life are dead.
    life: u64,
    dead: bool,
    calls: u64,
    reads: u64,
    fault: Option<(u64, Fault)>,
    read_fault: Option<u64>,
    crash: Option<u64>,
    capacity: Option<u64>,
}

/// Whether a call may need space.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Space,
    Nothing,
}

fn dead() -> io::Error {
    io::Error::other("simulated power loss")
}

fn eio() -> io::Error {
    io::Error::other("simulated I/O error")
}

impl State {
    /// Sebastiano Vigna's SplitMix64.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.random;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.random().is_multiple_of(one_in)
    }

    /// Counts a call that changes something; fails it if its turn has come.
    fn change(&mut self, needs: Needs) -> io::Result<()> {
        if self.dead {
            return Err(dead());
        }
        self.calls += 1;
        if self.crash.is_some_and(|at| self.calls > at) {
            self.dead = true;
            return Err(dead());
        }
        let Some((at, fault)) = self.fault else {
            return Ok(());
        };
        if self.calls < at {
            return Ok(());
        }
        match fault {
            Fault::Eio => {
                self.fault = None;
                Err(eio())
            }
            Fault::EioSticky => Err(eio()),
            Fault::Enospc if needs == Needs::Space => {
                self.fault = None;
                Err(ErrorKind::StorageFull.into())
            }
            Fault::EnospcSticky if needs == Needs::Space => Err(ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn read(&mut self) -> io::Result<()> {
        if self.dead {
            return Err(dead());
        }
        self.reads += 1;
        if self.read_fault == Some(self.reads) {
            self.read_fault = None;
            return Err(eio());
        }
        Ok(())
    }

    fn inode(&mut self, id: u64) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&id).ok_or_else(dead)
    }

    fn used(&self) -> u64 {
        let linked: BTreeSet<u64> = self.names.values().copied().collect();
        linked
            .iter()
            .filter_map(|id| self.inodes.get(id))
            .map(|inode| (inode.current.len() as u64).saturating_sub(inode.holes))
            .sum()
    }

    fn grow(&mut self, id: u64, length: usize) -> io::Result<()> {
        let present = self.inode(id)?.current.len();
        if length <= present {
            return Ok(());
        }
        if let Some(capacity) = self.capacity
            && self.used() + (length - present) as u64 > capacity
        {
            return Err(ErrorKind::StorageFull.into());
        }
        self.inode(id)?.current.resize(length, 0);
        Ok(())
    }

    /// Handles and locks end, and the next life begins.
    fn next_life(&mut self) {
        self.life += 1;
        self.dead = false;
        self.crash = None;
        self.fault = None;
        self.read_fault = None;
        self.locks.clear();
        let linked: BTreeSet<u64> = self.names.values().chain(self.durable_names.values()).copied().collect();
        self.inodes.retain(|id, _| linked.contains(id));
    }

    fn lose_names(&mut self) {
        let paths: BTreeSet<PathBuf> = self.names.keys().chain(self.durable_names.keys()).cloned().collect();
        let all_lost = self.chance(4);
        let all_kept = self.chance(4);
        for path in paths {
            if self.names.get(&path) == self.durable_names.get(&path) {
                continue;
            }
            let lost = all_lost || !all_kept && self.chance(2);
            if lost {
                match self.durable_names.get(&path).copied() {
                    Some(id) => self.names.insert(path, id),
                    None => self.names.remove(&path),
                };
            }
        }
        // A rename happens or it does not: a file does not vanish between its two names.
        for (from, to, id) in std::mem::take(&mut self.renames) {
            let arrived = self.names.get(&to) == Some(&id);
            if !arrived && self.durable_names.get(&from) == Some(&id) {
                self.names.insert(from, id);
            } else if arrived && self.names.get(&from) == Some(&id) {
                self.names.remove(&from);
            }
        }
        self.durable_names = self.names.clone();
    }

    fn lose_sectors(&mut self) {
        let ids: Vec<u64> = self.inodes.keys().copied().collect();
        // 0: nothing unsynced survives; 1: everything; 2: a prefix of the sectors; 3, 4, 5: any of them.
        let common = self.random() % 8;
        for id in ids {
            let mode = if common < 6 { common } else { self.random() % 6 };
            let keep_one_in = 1 + self.random() % 3;
            let Some(mut inode) = self.inodes.remove(&id) else {
                continue;
            };
            let sectors: Vec<usize> = inode.dirty.keys().copied().collect();
            let cut = self.random() as usize % (sectors.len() + 1);
            for (index, sector) in sectors.into_iter().enumerate() {
                let kept = match mode {
                    0 => false,
                    1 => true,
                    2 => index < cut,
                    _ => self.chance(keep_one_in),
                };
                if !kept && let Some(old) = inode.dirty.get(&sector) {
                    let start = sector * SECTOR;
                    let end = (start + SECTOR).min(inode.current.len());
                    if start < end {
                        inode.current[start..end].copy_from_slice(&old[..end - start]);
                    }
                }
            }
            if inode.current.len() > inode.durable_length && (mode == 0 || mode != 1 && self.chance(2)) {
                inode.current.truncate(inode.durable_length);
            }
            inode.dirty.clear();
            inode.dropped.clear();
            inode.durable_length = inode.current.len();
            self.inodes.insert(id, inode);
        }
    }
}

impl Inode {
    /// Notes what the disk has of a stretch that is about to change.
    fn remember(&mut self, offset: usize, length: usize) {
        if length == 0 {
            return;
        }
        for sector in offset / SECTOR..=(offset + length - 1) / SECTOR {
            if self.dropped.remove(&sector) || self.dirty.contains_key(&sector) {
                continue;
            }
            let mut old = [0; SECTOR];
            let start = (sector * SECTOR).min(self.current.len());
            let end = (start + SECTOR).min(self.current.len());
            old[..end - start].copy_from_slice(&self.current[start..end]);
            self.dirty.insert(sector, old);
        }
    }
}

impl SimStorage {
    /// An empty disk. The seed decides everything that is left to chance.
    pub fn new(seed: u64) -> SimStorage {
        SimStorage {
            state: Arc::new(Mutex::new(State {
                random: seed,
                clock_ms: 1_700_000_000_000,
                inodes: BTreeMap::new(),
                next_inode: 1,
                directories: BTreeSet::new(),
                names: BTreeMap::new(),
                durable_names: BTreeMap::new(),
                renames: Vec::new(),
                locks: BTreeSet::new(),
                life: 0,
                dead: false,
                calls: 0,
                reads: 0,
                fault: None,
                read_fault: None,
                crash: None,
                capacity: None,
            })),
        }
    }

    /// The power fails and comes back: of everything that was not synced, chance decides what is there.
    pub fn power_loss(&self) {
        let mut state = self.state.lock();
        state.lose_names();
        state.lose_sectors();
        state.next_life();
    }

    /// The process dies: nothing is lost, and nothing that was unsynced is synced by it.
    pub fn process_death(&self) {
        self.state.lock().next_life();
    }

    /// The clock goes on by so many milliseconds, besides the one for each look at it.
    pub fn pass_time(&self, ms: u64) {
        self.state.lock().clock_ms += ms;
    }

    /// How often the power was lost or a process died. Handles of an earlier life are dead.
    pub fn life(&self) -> u64 {
        self.state.lock().life
    }

    /// The n-th call from now that changes something fails, counting from 1.
    pub fn fail_at(&self, n: u64, fault: Fault) {
        let mut state = self.state.lock();
        state.fault = Some((state.calls + n, fault));
    }

    /// The n-th read from now fails, counting from 1.
    pub fn fail_read_at(&self, n: u64) {
        let mut state = self.state.lock();
        state.read_fault = Some(state.reads + n);
    }

    /// No more faults.
    pub fn clear_faults(&self) {
        let mut state = self.state.lock();
        state.fault = None;
        state.read_fault = None;
    }

    /// After n more calls that change something every call fails, until [`SimStorage::power_loss`] or
    /// [`SimStorage::process_death`].
    pub fn crash_after(&self, n: u64) {
        let mut state = self.state.lock();
        state.crash = Some(state.calls + n);
    }

    /// Whether such a crash has come.
    pub fn is_dead(&self) -> bool {
        self.state.lock().dead
    }

    /// The number of calls so far that changed something.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// The number of reads so far.
    pub fn reads(&self) -> u64 {
        self.state.lock().reads
    }

    /// Limits the size of the disk, in bytes.
    pub fn capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity = bytes;
    }

    /// The bytes in use.
    pub fn used(&self) -> u64 {
        self.state.lock().used()
    }

    /// Flips one bit of a file, on the disk and in memory. False if there is no such byte.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) -> bool {
        let mut state = self.state.lock();
        let Some(id) = state.names.get(path).copied() else {
            return false;
        };
        match state.inodes.get_mut(&id).and_then(|inode| inode.current.get_mut(offset as usize)) {
            Some(byte) => {
                *byte ^= 1 << (bit % 8);
                true
            }
            None => false,
        }
    }

    /// The contents of a file.
    pub fn read_file(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state.lock();
        state.names.get(path).and_then(|id| state.inodes.get(id)).map(|inode| inode.current.clone())
    }

    /// Makes or replaces a file, durably.
    pub fn write_file(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state.lock();
        let id = state.next_inode;
        state.next_inode += 1;
        let inode = Inode { current: bytes.to_vec(), durable_length: bytes.len(), ..Inode::default() };
        state.inodes.insert(id, inode);
        state.names.insert(path.to_path_buf(), id);
        state.durable_names.insert(path.to_path_buf(), id);
    }

    /// Cuts a file short, durably.
    pub fn truncate(&self, path: &Path, length: u64) {
        if let Some(mut bytes) = self.read_file(path) {
            bytes.truncate(length as usize);
            self.write_file(path, &bytes);
        }
    }

    /// Removes a file, durably.
    pub fn remove_file(&self, path: &Path) {
        let mut state = self.state.lock();
        state.names.remove(path);
        state.durable_names.remove(path);
    }

    /// The names in a directory, sorted.
    pub fn file_names(&self, directory: &Path) -> Vec<String> {
        let state = self.state.lock();
        let inside = state.names.keys().filter(|path| path.parent() == Some(directory));
        inside.filter_map(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned()).collect()
    }

    fn handle(&self, state: &MutexGuard<'_, State>, inode: u64) -> Arc<dyn StorageFile> {
        Arc::new(SimFile { storage: self.clone(), inode, life: state.life })
    }
}

impl fmt::Debug for SimStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimStorage").finish_non_exhaustive()
    }
}

impl Storage for SimStorage {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change(Needs::Nothing)?;
        if path.ancestors().any(|part| state.names.contains_key(part)) {
            return Err(ErrorKind::NotADirectory.into());
        }
        state.directories.insert(path.to_path_buf());
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state.lock();
        state.read()?;
        if state.names.contains_key(directory) {
            return Err(ErrorKind::NotADirectory.into());
        }
        if !state.directories.contains(directory) {
            return Err(ErrorKind::NotFound.into());
        }
        drop(state);
        Ok(self.file_names(directory))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let mut state = self.state.lock();
        state.change(Needs::Space)?;
        if state.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let id = state.next_inode;
        state.next_inode += 1;
        state.inodes.insert(id, Inode::default());
        state.names.insert(path.to_path_buf(), id);
        Ok(self.handle(&state, id))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let mut state = self.state.lock();
        state.read()?;
        let id = state.names.get(path).copied().ok_or(ErrorKind::NotFound)?;
        Ok(self.handle(&state, id))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change(Needs::Nothing)?;
        if state.names.contains_key(to) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let id = state.names.get(from).copied().ok_or(ErrorKind::NotFound)?;
        state.names.insert(to.to_path_buf(), id);
        Ok(())
    }

    fn is_same_file(&self, one: &Path, other: &Path) -> io::Result<bool> {
        let mut state = self.state.lock();
        state.read()?;
        let id = |path: &Path| state.names.get(path).copied().ok_or(ErrorKind::NotFound);
        Ok(id(one)? == id(other)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change(Needs::Nothing)?;
        let id = state.names.remove(from).ok_or(ErrorKind::NotFound)?;
        state.names.insert(to.to_path_buf(), id);
        state.renames.push((from.to_path_buf(), to.to_path_buf(), id));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.dead {
            return Err(dead());
        }
        if !state.names.contains_key(path) {
            return Err(ErrorKind::NotFound.into());
        }
        state.change(Needs::Nothing)?;
        state.names.remove(path);
        Ok(())
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change(Needs::Nothing)?;
        state.durable_names.retain(|path, _| path.parent() != Some(directory));
        let current: Vec<(PathBuf, u64)> = state
            .names
            .iter()
            .filter(|(path, _)| path.parent() == Some(directory))
            .map(|(path, id)| (path.clone(), *id))
            .collect();
        state.durable_names.extend(current);
        state.renames.retain(|(_, to, _)| to.parent() != Some(directory));
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<LockOutcome> {
        let mut state = self.state.lock();
        state.change(Needs::Nothing)?;
        if !state.locks.insert(path.to_path_buf()) {
            return Ok(LockOutcome::Held(Some(std::process::id())));
        }
        if !state.names.contains_key(path) {
            let id = state.next_inode;
            state.next_inode += 1;
            state.inodes.insert(id, Inode::default());
            state.names.insert(path.to_path_buf(), id);
        }
        let life = state.life;
        Ok(LockOutcome::Acquired(Box::new(SimLock { storage: self.clone(), path: path.to_path_buf(), life })))
    }

    fn lock_to_read(&self, path: &Path) -> io::Result<LockOutcome> {
        let mut state = self.state.lock();
        state.read()?;
        if !state.locks.insert(path.to_path_buf()) {
            return Ok(LockOutcome::Held(Some(std::process::id())));
        }
        let life = state.life;
        Ok(LockOutcome::Acquired(Box::new(SimLock { storage: self.clone(), path: path.to_path_buf(), life })))
    }

    fn now_ms(&self) -> u64 {
        let mut state = self.state.lock();
        state.clock_ms += 1;
        state.clock_ms
    }
}

/// The simulated directory is never moved.
impl DirectoryLock for SimLock {
    fn is_held(&self) -> bool {
        true
    }
}

struct SimLock {
    storage: SimStorage,
    path: PathBuf,
    life: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.storage.state.lock();
        if state.life == self.life {
            state.locks.remove(&self.path);
        }
    }
}

#[derive(Debug)]
struct SimFile {
    storage: SimStorage,
    inode: u64,
    life: u64,
}

impl SimFile {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.storage.state.lock();
        if state.life == self.life { Ok(state) } else { Err(dead()) }
    }
}

impl StorageFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        let mut state = self.state()?;
        state.read()?;
        Ok(state.inode(self.inode)?.current.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state()?;
        state.read()?;
        let inode = state.inode(self.inode)?;
        let start = (offset as usize).min(inode.current.len());
        let end = (start + buffer.len()).min(inode.current.len());
        buffer[..end - start].copy_from_slice(&inode.current[start..end]);
        Ok(end - start)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state()?;
        // Inside what is allocated no space is needed.
        let start = offset as usize;
        let end = start + bytes.len();
        let inside = end <= state.inode(self.inode)?.current.len();
        state.change(if inside { Needs::Nothing } else { Needs::Space })?;
        let inode = state.inode(self.inode)?;
        inode.remember(start, bytes.len());
        state.grow(self.inode, end)?;
        state.inode(self.inode)?.current[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut state = self.state()?;
        state.change(Needs::Space)?;
        state.grow(self.inode, length as usize)
    }

    fn punch_hole(&self, offset: u64, length: u64) -> io::Result<()> {
        let mut state = self.state()?;
        state.change(Needs::Nothing)?;
        let inode = state.inode(self.inode)?;
        let start = (offset as usize).min(inode.current.len());
        let end = (start + length as usize).min(inode.current.len());
        inode.remember(start, end - start);
        inode.current[start..end].fill(0);
        inode.holes += (end - start) as u64;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state()?;
        let outcome = state.change(Needs::Nothing);
        if state.dead {
            return outcome;
        }
        let inode = state.inode(self.inode)?;
        if outcome.is_err() {
            inode.dropped = inode.dirty.keys().copied().collect();
            return outcome;
        }
        let dropped = std::mem::take(&mut inode.dropped);
        inode.dirty.retain(|sector, _| dropped.contains(sector));
        inode.dropped = dropped;
        inode.durable_length = inode.current.len();
        Ok(())
    }

    fn map(&self, _length: u64) -> io::Result<Option<Mapping>> {
        Ok(None)
    }

    fn map_writer(&self, _start: u64, _length: u64) -> io::Result<Option<MapWriter>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{FileStorage, MappedStorage};

    fn behaves(storage: &dyn Storage, directory: &Path) {
        storage.create_dir_all(directory).expect("a directory");
        let path = directory.join("file");
        assert_eq!(storage.open(&path).err().map(|error| error.kind()), Some(ErrorKind::NotFound));
        let file = storage.create(&path).expect("created");
        assert_eq!(storage.create(&path).err().map(|error| error.kind()), Some(ErrorKind::AlreadyExists));
        file.write_at(3, b"abc").expect("written");
        file.allocate(2).expect("never shrinks");
        assert_eq!(file.len().expect("measured"), 6);
        file.allocate(10_000).expect("allocated");
        let mut bytes = [9; 8];
        assert_eq!(file.read_at(0, &mut bytes).expect("read"), 8);
        assert_eq!(&bytes, b"\0\0\0abc\0\0");
        assert_eq!(file.read_at(9_998, &mut bytes).expect("read"), 2);
        assert_eq!(file.read_at(20_000, &mut bytes).expect("read"), 0);
        file.write_at(0, &[7; 10_000]).expect("written");
        file.punch_hole(4096, 4096).expect("punched");
        assert_eq!(file.read_at(4095, &mut bytes).expect("read"), 8);
        assert_eq!(bytes, [7, 0, 0, 0, 0, 0, 0, 0]);
        file.sync_data().expect("synced");
        storage.rename(&path, &directory.join("other")).expect("renamed");
        storage.sync_dir(directory).expect("synced");
        assert_eq!(storage.list(directory).expect("listed"), ["other"]);
        assert_eq!(
            storage.list(&directory.join("other")).err().map(|error| error.kind()),
            Some(ErrorKind::NotADirectory)
        );
        storage.remove(&directory.join("other")).expect("removed");
        assert_eq!(file.len().expect("an open file outlives its name"), 10_000);
        let lock = directory.join("LOCK");
        let Ok(LockOutcome::Acquired(held)) = storage.lock(&lock) else { panic!("free") };
        assert!(matches!(storage.lock(&lock), Ok(LockOutcome::Held(Some(pid))) if pid == std::process::id()));
        drop(held);
        assert!(matches!(storage.lock(&lock), Ok(LockOutcome::Acquired(_))));
    }

    #[test]
    fn all_storages_behave_alike() {
        let directory = tempfile::tempdir().expect("a directory");
        behaves(&FileStorage, &directory.path().join("file"));
        behaves(&MappedStorage, &directory.path().join("mapped"));
        behaves(&SimStorage::new(1), Path::new("/sim"));
    }

    /// What became, over many seeds, of a file with a synced and an unsynced half.
    #[test]
    fn power_loss_takes_only_what_was_not_synced() {
        let (mut lost, mut kept, mut torn, mut nameless) = (0, 0, 0, 0);
        for seed in 0..400 {
            let storage = SimStorage::new(seed);
            let directory = Path::new("/sim");
            storage.create_dir_all(directory).expect("a directory");
            let path = directory.join("file");
            let file = storage.create(&path).expect("created");
            file.write_at(0, &[1; 2048]).expect("written");
            file.sync_data().expect("synced");
            storage.sync_dir(directory).expect("synced");
            file.write_at(1024, &[2; 2048]).expect("written");
            storage.create(&directory.join("new")).expect("created");
            storage.power_loss();
            assert!(file.len().is_err(), "a handle of the life before");
            let bytes = storage.read_file(&path).expect("its name was synced");
            assert_eq!(bytes[..1024], [1; 1024]);
            for sector in bytes[1024..2048].chunks(SECTOR) {
                assert!(sector == [1; SECTOR] || sector == [2; SECTOR]);
            }
            let twos = bytes.iter().filter(|byte| **byte == 2).count();
            lost += usize::from(twos == 0);
            kept += usize::from(twos == 2048);
            torn += usize::from(twos > 0 && twos < 2048);
            nameless += usize::from(!storage.file_names(directory).contains(&"new".to_string()));
        }
        assert!(lost > 20 && kept > 20 && torn > 20 && nameless > 20 && nameless < 380);
    }

    #[test]
    fn a_failed_sync_loses_its_guarantee_for_ever() {
        let mut lost = 0;
        for seed in 0..50 {
            let storage = SimStorage::new(seed);
            storage.create_dir_all(Path::new("/sim")).expect("a directory");
            let path = Path::new("/sim/file");
            let file = storage.create(path).expect("created");
            file.allocate(1024).expect("allocated");
            file.sync_data().expect("synced");
            storage.sync_dir(Path::new("/sim")).expect("synced");
            file.write_at(0, &[1; 512]).expect("written");
            storage.fail_at(1, Fault::Eio);
            assert!(file.sync_data().is_err());
            file.write_at(512, &[2; 512]).expect("written");
            file.sync_data().expect("the kernel thinks that all is well");
            storage.power_loss();
            let bytes = storage.read_file(path).expect("there");
            assert_eq!(bytes[512..], [2; 512]);
            lost += usize::from(bytes[0] == 0);
        }
        assert!(lost > 10);
    }

    #[test]
    fn a_rename_is_never_half_done() {
        for seed in 0..200 {
            let storage = SimStorage::new(seed);
            let directory = Path::new("/sim");
            storage.create_dir_all(directory).expect("a directory");
            storage.write_file(&directory.join("name"), b"old");
            let file = storage.create(&directory.join("name.new")).expect("created");
            file.write_at(0, b"new").expect("written");
            file.sync_data().expect("synced");
            storage.rename(&directory.join("name.new"), &directory.join("name")).expect("renamed");
            storage.power_loss();
            let bytes = storage.read_file(&directory.join("name")).expect("one of both");
            assert!(bytes == b"old" || bytes == b"new");
        }
    }

    #[test]
    fn the_disk_fills_and_empties() {
        let storage = SimStorage::new(1);
        storage.create_dir_all(Path::new("/sim")).expect("a directory");
        storage.capacity(Some(10_000));
        let file = storage.create(Path::new("/sim/a")).expect("created");
        file.allocate(9_000).expect("fits");
        let other = storage.create(Path::new("/sim/b")).expect("created");
        assert_eq!(other.allocate(2_000).map_err(|error| error.kind()), Err(ErrorKind::StorageFull));
        file.write_at(0, &[1; 9_000]).expect("space was reserved");
        storage.remove(Path::new("/sim/a")).expect("removed");
        other.allocate(2_000).expect("fits now");
    }
}
