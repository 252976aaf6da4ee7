//! What a call through C costs: gets and puts of the built library beside the same of the engine, in one process, by turns.
//! ATOMKV_LIBRARY is the path of libatomkv.so.
//!
//! usage: cost DIRECTORY [KEYS]
//!        cost DIRECTORY count c-get|get|c-put|put CALLS   so many calls and nothing printed, to be counted by a tool

use std::error::Error;
use std::ffi::CString;
use std::hint::black_box;
use std::path::Path;
use std::ptr;
use std::time::Instant;

use atomkv_engine::{Database, Options, Table, TableOptions};
use atomkv_harness::{Library, atomkv_db, atomkv_status_ATOMKV_OK as OK, atomkv_table};

const KEY_BYTES: usize = 24;
const VALUE: [u8; 100] = [7; 100];
const ROUNDS: usize = 15;
const CALLS: u64 = 200_000;

/// A table through C.
struct Through {
    library: Library,
    db: *mut atomkv_db,
    table: *mut atomkv_table,
}

impl Through {
    fn open(path: &Path) -> Result<Through, Box<dyn Error>> {
        let library =
            std::env::var_os("ATOMKV_LIBRARY").ok_or("ATOMKV_LIBRARY is the path of libatomkv.so")?;
        let path = CString::new(path.to_str().ok_or("a directory in UTF-8")?)?;
        let (mut db, mut table) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the library may be loaded at any time; every pointer lives as long as the header asks for.
        unsafe {
            let library = Library::new(library)?;
            let opened = library.atomkv_open(path.as_ptr(), ptr::null(), &mut db, ptr::null_mut()) == OK
                && library.atomkv_table_open(db, c"t".as_ptr(), ptr::null(), &mut table, ptr::null_mut())
                    == OK;
            if opened { Ok(Through { library, db, table }) } else { Err("the library cannot open it".into()) }
        }
    }

    fn put(&self, key: &[u8]) -> bool {
        let (key_at, value_at) = (key.as_ptr().cast(), VALUE.as_ptr().cast());
        // SAFETY: every pointer lives as long as the header asks for.
        unsafe {
            self.library.atomkv_put(self.table, key_at, key.len(), value_at, VALUE.len(), ptr::null_mut())
                == OK
        }
    }

    fn get(&self, key: &[u8], buffer: &mut [u8; 128]) -> usize {
        let mut size = 0;
        let room = buffer.as_mut_ptr().cast();
        // SAFETY: every pointer lives as long as the header asks for.
        unsafe {
            self.library.atomkv_get(self.table, key.as_ptr().cast(), key.len(), room, buffer.len(), &mut size)
        };
        size
    }
}

impl Drop for Through {
    fn drop(&mut self) {
        // SAFETY: both are alive and not used afterwards.
        unsafe {
            self.library.atomkv_table_free(self.table);
            self.library.atomkv_db_free(self.db);
        }
    }
}

fn get(table: &Table, key: &[u8], buffer: &mut [u8; 128]) -> usize {
    let copy = |value: &[u8]| {
        buffer[..value.len()].copy_from_slice(value);
        value.len()
    };
    table.get_with(key, copy).ok().flatten().unwrap_or(0)
}

fn put(table: &Table, key: &[u8]) -> bool {
    table.put(key, &VALUE).is_ok()
}

/// Scattered, and the same on every run.
fn key_of(number: u64) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    for (part, chunk) in (1_u64..).zip(key.chunks_mut(8)) {
        chunk.copy_from_slice(&(number ^ part << 60).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    }
    key
}

/// Nanoseconds a call of keys that are there.
fn timed(keys: u64, round: usize, mut call: impl FnMut(&[u8])) -> f64 {
    let begin = Instant::now();
    for call_number in 0..CALLS {
        let number = (call_number + round as u64 * CALLS).wrapping_mul(0x2545_f491_4f6c_dd1d) % keys;
        // Of a length that nobody knows beforehand: else the compiler makes the engine for keys of 24 bytes.
        call(black_box(&key_of(number)));
    }
    begin.elapsed().as_nanos() as f64 / CALLS as f64
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let directory = Path::new(arguments.first().ok_or("usage: cost DIRECTORY [KEYS]")?);
    let through = Through::open(&directory.join("c"))?;
    let database = Database::open(directory.join("engine"), Options::new())?;
    let table = database.table("t", TableOptions::new())?;
    let mut buffer = [0; 128];

    if arguments.get(1).is_some_and(|mode| mode == "count") {
        let calls: u64 = arguments.get(3).ok_or("how many calls")?.parse()?;
        let what = arguments[2].as_str();
        for number in 0..1000 {
            if !(put(&table, &key_of(number)) && through.put(&key_of(number))) {
                return Err("a put has failed".into());
            }
        }
        for number in 0..calls {
            let key = key_of(number % 1000);
            let key: &[u8] = black_box(&key);
            black_box(match what {
                "get" => get(&table, key, &mut buffer),
                "c-get" => through.get(key, &mut buffer),
                "put" => usize::from(put(&table, key)),
                "c-put" => usize::from(through.put(key)),
                other => return Err(format!("nothing is called {other}").into()),
            });
        }
        return Ok(());
    }

    let keys: u64 = arguments.get(1).map_or(Ok(200_000), |keys| keys.parse())?;
    for number in 0..keys {
        if !(put(&table, &key_of(number)) && through.put(&key_of(number))) {
            return Err("a put has failed".into());
        }
    }
    let [mut gets, mut c_gets, mut puts, mut c_puts] = [const { Vec::new() }; 4];
    for round in 0..ROUNDS {
        gets.push(timed(keys, round, |key| assert_eq!(get(&table, key, &mut buffer), VALUE.len())));
        c_gets.push(timed(keys, round, |key| assert_eq!(through.get(key, &mut buffer), VALUE.len())));
    }
    for round in 0..ROUNDS {
        puts.push(timed(keys, round, |key| assert!(put(&table, key))));
        c_puts.push(timed(keys, round, |key| assert!(through.put(key))));
    }
    let of_pairs = |through: &[f64], own: &[f64]| {
        median(through.iter().zip(own).map(|(through, own)| through - own).collect())
    };
    let (more_get, more_put) = (of_pairs(&c_gets, &gets), of_pairs(&c_puts, &puts));
    println!("{keys} keys of {KEY_BYTES} bytes, values of 100 bytes, medians of {ROUNDS} rounds by turns:");
    println!(
        "get: engine {:.1} ns, through C {:.1} ns, pairwise {more_get:+.1} ns",
        median(gets),
        median(c_gets)
    );
    println!(
        "put: engine {:.1} ns, through C {:.1} ns, pairwise {more_put:+.1} ns",
        median(puts),
        median(c_puts)
    );
    Ok(())
}
