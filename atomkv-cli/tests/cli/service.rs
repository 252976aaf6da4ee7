//! `atomkv serve` and the tokens that it takes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use crate::{Place, one_line};

/// A service under way, which is killed if a test fails.
pub(crate) struct Service {
    pub(crate) child: Child,
    pub(crate) address: String,
}

impl Service {
    pub(crate) fn start(place: &Place, arguments: &[&str]) -> Service {
        Service::start_at(place, "127.0.0.1:0", arguments)
    }

    pub(crate) fn start_at(place: &Place, listen: &str, arguments: &[&str]) -> Service {
        let mut command = place.command();
        command.args(["serve", "db", "--listen", listen]).args(arguments);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it runs");
        let mut log = BufReader::new(child.stderr.take().expect("its log"));
        let mut line = String::new();
        while !line.contains("listening") {
            line.clear();
            assert!(log.read_line(&mut line).expect("readable") > 0, "it has ended");
        }
        // Whoever writes to a log that nobody reads waits in the end.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let rest = line.split("://").nth(1).expect("the address");
        let address = rest.split('/').next().expect("the address").to_string();
        Service { child, address }
    }

    fn ask(&self, method: &str, path: &str, token: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("reached");
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    }

    /// What the verbs take in place of a directory.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it ends");
    }

    pub(crate) fn end(mut self) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        // SAFETY: the child has not been waited for, so that its id is still its own.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
        assert!(self.child.wait().expect("it ends").success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_is_put_over_http_is_there_for_the_verbs() {
    let place = Place::new();
    let service = Service::start(&place, &[]);
    assert!(service.ask("PUT", "/v1/tables/users", "", "{}").starts_with("HTTP/1.1 201"));
    let put = service.ask("PUT", "/v1/tables/users/documents/ada", "", "{\"born\":1815}");
    assert!(put.starts_with("HTTP/1.1 201"), "{put}");
    // Reading works beside the service, writing says who has the database.
    assert_eq!(place.good(&["get", "db", "users", "ada"]), "{\"born\":1815}");
    assert!(place.bad(4, &["put", "db", "users", "ada", "x"]).contains(&service.child.id().to_string()));
    service.end();
    assert_eq!(place.good(&["scan", "db", "users", "--keys"]), "ada\n");
}

#[test]
fn a_token_is_made_for_the_service() {
    let place = Place::new();
    let made = place.run(&["token", "ada", "--scopes", "read,write", "--tables", "users,log-*"]);
    assert_eq!(made.code, 0, "{made:?}");
    let token = made.stderr.trim().to_string();
    assert!(!made.text().contains(&token), "the file has the hash alone");
    std::fs::write(place.path("tokens.toml"), made.text()).expect("written");
    place.good(&["create", "db", "users", "--quiet"]);
    let service = Service::start(&place, &["--tokens", "tokens.toml"]);
    let path = "/v1/tables/users/documents/ada";
    assert!(service.ask("PUT", path, &token, "1").starts_with("HTTP/1.1 201"));
    assert!(service.ask("GET", path, "other", "").starts_with("HTTP/1.1 401"));
    assert!(
        service.ask("POST", "/v1/operations", &token, "{\"kind\":\"verify\"}").starts_with("HTTP/1.1 403")
    );
    service.end();
}

#[test]
fn a_service_that_cannot_start_says_why() {
    let place = Place::new();
    let beyond = place.bad(2, &["serve", "db", "--listen", "0.0.0.0:0"]);
    assert!(beyond.contains("token"), "{beyond}");
    std::fs::write(place.path("bad.toml"), "listen = 5").expect("written");
    assert!(place.bad(2, &["serve", "db", "--config", "bad.toml"]).contains("bad.toml"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("an address").to_string();
    let outcome = place.run(&["serve", "db", "--listen", &address]);
    assert_eq!(outcome.code, 4, "{outcome:?}");
    assert!(one_line(outcome.stderr.lines().last().expect("a line")).contains(&address));
}
