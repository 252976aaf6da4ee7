//! The bytes that `docs/format.md` shows are the bytes that the engine writes.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use atomkv_engine::storage::sim::SimStorage;
use atomkv_engine::{Database, Options, TableOptions};

/// Sixteen bytes a line, with their offset.
fn dump(bytes: &[u8], start: usize) -> String {
    let mut out = String::new();
    for (index, line) in bytes.chunks(16).enumerate() {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = line.iter().map(|byte| if byte.is_ascii_graphic() { *byte as char } else { '.' });
        let _ = writeln!(
            out,
            "{:06x}  {:<47}  {}",
            start + index * 16,
            hex.join(" "),
            text.collect::<String>().trim_end()
        );
    }
    out
}

#[test]
fn the_worked_example_is_what_the_engine_writes() {
    let sim = SimStorage::new(1);
    let path = Path::new("/example");
    let options = Options::new().storage(Arc::new(sim.clone())).background(false).hash_seed(7);
    let database = Database::open(path, options).expect("opens");
    let users = database.table("users", TableOptions::new()).expect("created");
    users.put(b"ada", b"countess").expect("put");
    users.put(b"ada", b"programmer").expect("put");
    users.delete(b"ada").expect("deleted");
    let names = sim.file_names(path);
    let log = names.iter().find(|name| name.starts_with("log-")).expect("a log");
    let bytes = sim.read_file(&path.join(log)).expect("readable");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("written") + 1;
    let shown = dump(&bytes[..end.next_multiple_of(8)], 0);
    let document = include_str!("../../docs/format.md");
    assert!(document.contains(&format!("File `{log}`")), "docs/format.md must name {log}");
    assert!(document.contains(&shown), "docs/format.md must show:\n{shown}");
}
