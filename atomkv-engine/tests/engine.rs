//! The tests through the public interface, one module for each behaviour, and one program for all: each program would
//! be compiled and linked with the engine anew, which takes longer than its tests.
//!
//! They run beside each other. What would disturb the others, or be disturbed, takes a process of its own:
//! `common::process::alone`.

mod common;

mod backup;
mod bad_input;
mod behaviour;
mod checkpoint_while_writing;
mod closing;
mod compaction_policy;
mod conformance;
mod consistency_checker;
mod damage;
#[cfg(feature = "tracing")]
mod events;
mod expiry_model;
mod failing_disk;
mod fault_sweep;
mod feed;
mod feed_state;
mod format_example;
mod in_memory;
mod kill_nine;
mod log_stays_bounded;
mod long_log;
mod many_short_sessions;
mod misuse;
mod model;
mod nested_crashes;
mod older_formats;
mod power_loss;
#[cfg(unix)]
mod processes;
mod read_only;
mod recovery;
mod resize;
mod salvage;
mod scans;
mod segment_made_ahead;
mod services;
mod snapshots;
mod space_comes_back;
mod statistics;
mod streams;
mod transactions;
mod transfer;
mod verify;
mod versions;

/// A file that is no module of this program would be tested by nobody.
#[test]
fn every_file_is_a_module() {
    let sources = include_str!("engine.rs");
    let entries = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")).expect("listed");
    for entry in entries {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        if let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "engine") {
            assert!(sources.contains(&format!("\nmod {module};\n")), "engine.rs has no `mod {module};`");
        }
    }
}
