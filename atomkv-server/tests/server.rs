//! The tests of the service, one module for each part, and one program for all: each program would be linked with all
//! that the service is made of anew.

mod common;

mod changes;
mod console;
mod documents;
mod guide;
mod http2;
mod interface;
mod kill_nine;
mod large_documents;
mod many;
mod resp;
mod running;
mod whole;

/// A file that is no module of this program would be tested by nobody.
#[test]
fn every_file_is_a_module() {
    let sources = include_str!("server.rs");
    let entries = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")).expect("listed");
    for entry in entries {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        if let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "server") {
            assert!(sources.contains(&format!("\nmod {module};\n")), "server.rs has no `mod {module};`");
        }
    }
}
