//! Measures verifying and salvaging: makes a database of so many megabytes in a directory, and tells how fast each is.
//!
//! `cargo run --release -p atomkv-engine --example verify_and_salvage -- DIRECTORY [MEGABYTES]`

use std::path::PathBuf;
use std::time::Instant;

use atomkv_engine::{
    Database, Error, Options, Result, SalvageOptions, TableOptions, VerifyOptions, Watcher, salvage,
    verify_directory,
};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(place) = arguments.next().map(PathBuf::from) else {
        let reason = "usage: verify_and_salvage DIRECTORY [MEGABYTES]".to_string();
        return Err(Error::InvalidArgument { reason });
    };
    let megabytes: u64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1000);
    let source = place.join("verify-source");
    let database = Database::open(&source, Options::default())?;
    let table = database.table("documents", TableOptions::new())?;
    // Documents of a kilobyte that do not compress, and one large value for each thousand of them.
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state ^ state >> 29).to_le_bytes()
    };
    for number in 0..megabytes * 500 {
        let value: Vec<u8> = (0..125).flat_map(|_| next()).collect();
        table.put(&number.to_be_bytes(), &value)?;
    }
    for number in 0..megabytes / 4 {
        let value: Vec<u8> = (0..250_000).flat_map(|_| next()).collect();
        table.put(format!("large {number}").as_bytes(), &value)?;
    }
    database.sync()?;

    let told = |what: &str, bytes: u64, began: Instant| {
        let seconds = began.elapsed().as_secs_f64();
        println!(
            "{what}: {} MB in {seconds:.2} s, {:.0} MB/s",
            bytes / 1_000_000,
            bytes as f64 / 1e6 / seconds
        );
    };
    for threads in [1, 2] {
        let began = Instant::now();
        let report = database.verify(&VerifyOptions::new().threads(threads), Watcher::none())?;
        assert!(report.is_clean());
        told(&format!("verify, open, {threads} threads, {} keys", report.keys), report.bytes, began);
    }
    drop(table);
    database.close()?;
    drop(database);
    let began = Instant::now();
    let report = verify_directory(&source, &VerifyOptions::new(), Watcher::none())?;
    told("verify, closed", report.bytes, began);
    let began = Instant::now();
    let report = salvage(&source, place.join("verify-rescued"), &SalvageOptions::new(), Watcher::none())?;
    told(&format!("salvage, {} documents", report.documents), report.bytes, began);
    Ok(())
}
