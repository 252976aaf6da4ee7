//! The commands of the guide do what it says.

use std::process::Command;

use crate::common::Service;

/// The shell commands of a page, in their order.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("\n```sh\n").skip(1);
    blocks.map(|block| block.split_once("\n```").expect("a block ends").0.to_string()).collect()
}

#[test]
fn the_commands_of_the_guide_run() {
    let service = Service::start();
    let commands = commands(include_str!("../../docs/service.md"));
    assert!(commands.len() >= 9, "{}", commands.len());
    for command in commands {
        let command = command.replace("localhost:7070", &service.address.to_string());
        let ran = Command::new("bash").args(["-euo", "pipefail", "-c", &command]).output().expect("a shell");
        let (out, error) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "{command}\n{out}\n{error}");
    }
    assert_eq!(service.get("/v1/tables/users/documents/alan").text(), r#"{"born": 1912}"#);
    assert_eq!(service.get("/v1/tables/users/documents/session").status, 404, "the batch has removed it");
    assert_eq!(service.get("/v1/tables/notes/documents/a?version=1").text(), "first");
}
