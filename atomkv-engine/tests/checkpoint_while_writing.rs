//! A checkpoint that is written while the log rolls under it: its image points to records in a segment that the
//! replay has not reached yet when it meets older records of the same keys. Opening once took that for damage.

use atomkv_engine::storage::sim::SimStorage;
use atomkv_engine::{Database, TableOptions};

use crate::common::interleave::interleave;
use crate::common::{directory, sim_options};

#[test]
fn an_image_may_point_to_segments_behind_its_place_in_the_log() {
    let sim = SimStorage::new(1);
    let database = Database::open(directory(), sim_options(&sim, 1)).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("a table");
    let keys: Vec<[u8; 2]> = (0..400u16).map(u16::to_be_bytes).collect();
    let mut round = 0u32;
    let put_all = |round: u32| {
        for key in &keys {
            // Not compressible, and together more than a segment of 64 KiB.
            let noise: Vec<u8> = (0..200u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            table.put(key, &[&round.to_be_bytes()[..], &noise].concat()).expect("put");
        }
    };
    put_all(round);
    let before = database.stats().log_segments;
    interleave(
        || database.checkpoint().expect("checkpoint"),
        || {
            // The image's place in the log is taken, its sub-tables are not yet copied.
            while round < 4 {
                round += 1;
                put_all(round);
            }
        },
    );
    assert!(database.stats().log_segments > before + 1, "the log was to roll meanwhile");
    sim.process_death();
    drop((database, table.clone()));

    let database = Database::open(directory(), sim_options(&sim, 1)).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("a table");
    assert!(database.stats().replayed_records > 0);
    assert_eq!(table.len(), 400);
    for key in &keys {
        let entry = table.get_entry(key).expect("readable").expect("there");
        assert_eq!((&entry.value[..4], entry.version), (&round.to_be_bytes()[..], u64::from(round) + 1));
    }
    database.close().expect("closes");
}
