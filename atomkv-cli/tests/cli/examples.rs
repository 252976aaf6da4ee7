//! The scripts of examples/cli, run as they stand there, and the lines of docs/cli.md that show what comes out.

use super::{Place, repository};

#[test]
fn the_examples_run() {
    let place = Place::new();
    let script = |name: &str| repository().join("examples/cli").join(name).display().to_string();
    let report = place.good(&["db", &script("report.atom")]);
    assert!(report.contains("Engineering: 3 people, 164000 a year"), "{report}");
    let moved = place.good(&["db", &script("transfer.atom")]);
    assert!(moved.contains("alice 70, bob 80") && moved.contains("refused: carol has only 5"), "{moved}");
    let cleaned = place.good(&["db", &script("expire.atom")]);
    assert!(cleaned.contains("2 of 5 sessions are stale"), "{cleaned}");
}
