//! The header as cbindgen writes it, with the comments of a C programmer.

use std::path::Path;

/// The text of `include/atomkv.h`, from the sources.
pub fn header() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("a configuration");
    let bindings =
        cbindgen::Builder::new().with_crate(root).with_config(config).generate().expect("generated");
    let mut generated = Vec::new();
    bindings.write(&mut generated);
    tidy(&String::from_utf8(generated).expect("text"))
}

/// Makes the comments those of a C programmer: without the `# Safety` sections, which speak to Rust and repeat what
/// the sentences before them say, and on one line where they fit.
fn tidy(header: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut inside = false;
    for line in header.lines() {
        if line.trim() == "* # Safety" {
            inside = true;
            if lines.last().is_some_and(|last| last.trim() == "*") {
                lines.pop();
            }
            continue;
        }
        let ends = line.trim() == "*/";
        if inside && !ends {
            continue;
        }
        inside = false;
        if let [.., first, text] = &lines[..]
            && ends
            && first.trim() == "/**"
        {
            let joined = format!("{} {} */", first, text.trim().trim_start_matches("* "));
            if joined.len() <= 112 {
                lines.truncate(lines.len() - 2);
                lines.push(joined);
                continue;
            }
        }
        if !(line.is_empty() && lines.last().is_some_and(String::is_empty)) {
            lines.push(line.to_string());
        }
    }
    lines.join("\n") + "\n"
}
