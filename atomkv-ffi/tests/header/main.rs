//! What is generated from the sources of this crate is what is committed: `include/atomkv.h`, and from its text
//! `include/atomkv.cdef` (for foreign-function libraries), `include/atomkv.json` (for programs) and `symbols.txt` (the
//! exported names). `ATOMKV_UPDATE_HEADER=1` writes all four anew (`make header`). The header is held to its rules too.

mod cdef;
mod describe;
mod generate;
mod model;
mod parse;
mod rules;

use std::path::Path;

/// The files that are generated, as (path from this crate, content).
fn generated() -> Vec<(&'static str, String)> {
    let text = generate::header();
    let header = parse::header(&text);
    let mut symbols: Vec<&str> = header.functions().map(|function| function.name.as_str()).collect();
    symbols.sort_unstable();
    vec![
        ("../include/atomkv.h", text),
        ("../include/atomkv.cdef", cdef::text(&header)),
        ("../include/atomkv.json", describe::json(&header)),
        ("symbols.txt", symbols.join("\n") + "\n"),
    ]
}

#[test]
fn the_committed_files_are_the_generated_ones() {
    let update = std::env::var_os("ATOMKV_UPDATE_HEADER").is_some();
    for (name, content) in generated() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        if update {
            std::fs::write(&path, &content).expect("written");
            continue;
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == content, "{name} is not what the sources say: run `make header`");
    }
}

#[test]
fn the_header_keeps_its_rules() {
    let text = generate::header();
    let mut broken = rules::words(&text);
    broken.extend(rules::items(&parse::header(&text)));
    assert!(broken.is_empty(), "{} places in the header:\n{}", broken.len(), broken.join("\n"));
}

/// A manual page names functions by hand: they must be there.
#[test]
fn the_manual_speaks_of_what_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("man/atomkv.3")).expect("the manual page");
    let header = generate::header();
    let known: Vec<&str> = rules::names(&header).collect();
    let unknown: Vec<&str> = rules::names(&page).filter(|name| !known.contains(name)).collect();
    assert!(unknown.is_empty(), "atomkv.3 names what is not in the header: {unknown:?}");
    assert!(rules::names(&page).count() > 10, "the page names functions");
}
