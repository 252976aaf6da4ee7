//! Who may do what.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::service::{refused, start_with, told};

#[test]
fn a_token_is_a_password_and_may_do_what_it_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("tokens");
    let mut file = String::new();
    let mut token = |name: &str, scopes: &str, tables: &str| {
        let (token, sha256) = atomkv_server::new_token().expect("a token");
        file.push_str(&format!(
            "[[token]]\nname = '{name}'\nsha256 = '{sha256}'\nscopes = [{scopes}]\n{tables}\n"
        ));
        token
    };
    let all = token("all", "'read', 'write', 'admin'", "");
    let reader = token("reader", "'read'", "tables = ['redis']");
    let writer = token("writer", "'write'", "tables = ['redis']");
    let limited = token("limited", "'read', 'write', 'admin'", "tables = ['redis']");
    std::fs::write(&path, file).expect("written");
    let service = start_with(|config| config.tokens = Some(path.clone()));

    let mut stranger = TcpStream::connect(service.address).expect("connects");
    let mut ask = |command: &str, expected: &str| {
        stranger.write_all(command.as_bytes()).expect("sent");
        let mut reply = vec![0; expected.len()];
        stranger.read_exact(&mut reply).expect("a reply");
        assert_eq!(String::from_utf8_lossy(&reply), expected, "{command}");
    };
    ask("GET k\r\n", "-NOAUTH Authentication required.\r\n");
    ask("AUTH wrong\r\n", "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    ask(&format!("AUTH {reader}\r\nGET k\r\n"), "+OK\r\n$-1\r\n");
    ask("RESET\r\nGET k\r\n", "+RESET\r\n-NOAUTH Authentication required.\r\n");
    ask(&format!("AUTH writer {reader}\r\n"), "-WRONGPASS ");

    let connect = |user: &str, token: &str| {
        let address = format!("redis://{user}:{token}@{}/?protocol=resp3", service.address);
        redis::Client::open(address).expect("an address").get_connection().expect("connects")
    };
    let mut all = connect("default", &all);
    told::<()>(&mut all, "SET k v");
    let (mut reader, mut writer) = (connect("reader", &reader), connect("writer", &writer));
    assert_eq!(told::<String>(&mut reader, "GET k"), "v");
    told::<()>(&mut writer, "SET k w");
    let may_not: [(_, &[&str]); 2] = [
        (&mut reader, &["SET k x", "FLUSHDB"]),
        (&mut writer, &["GET k", "INCR k", "SET k x GET", "FLUSHDB"]),
    ];
    for (client, lines) in may_not {
        for line in lines {
            let error = refused(client, line);
            // As the client's library calls the code.
            assert!(error.contains("NoPerm"), "{line}: {error}");
        }
    }
    // Refused for one database of all, it has emptied none.
    let mut limited = connect("limited", &limited);
    assert!(refused(&mut limited, "FLUSHALL").contains("the token is not for the table"));
    assert_eq!(told::<String>(&mut all, "GET k"), "w");
    told::<()>(&mut limited, "FLUSHDB");
    assert_eq!(told::<i64>(&mut all, "EXISTS k"), 0);
    told::<()>(&mut all, "SET k w");
    told::<()>(&mut reader, "SELECT 1");
    assert!(refused(&mut reader, "GET k").contains("the token is not for the table"));
    assert_eq!(told::<String>(&mut all, "GET k"), "w");
    told::<()>(&mut all, "FLUSHALL");
}

#[test]
fn who_begins_anew_has_time_again_to_say_who_it_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("tokens");
    let (token, sha256) = atomkv_server::new_token().expect("a token");
    std::fs::write(&path, format!("[[token]]\nname = 'all'\nsha256 = '{sha256}'\nscopes = ['read']\n"))
        .expect("written");
    let service = start_with(|config| {
        config.tokens = Some(path.clone());
        config.request_timeout_ms = 1000;
    });
    let mut client = TcpStream::connect(service.address).expect("connects");
    let mut ask = |command: &str, expected: &str| {
        client.write_all(command.as_bytes()).expect("sent");
        let mut reply = vec![0; expected.len()];
        client.read_exact(&mut reply).expect("a reply");
        assert_eq!(String::from_utf8_lossy(&reply), expected, "{command}");
    };
    ask(&format!("AUTH {token}\r\n"), "+OK\r\n");
    std::thread::sleep(Duration::from_millis(1100));
    ask("RESET\r\n", "+RESET\r\n");
    std::thread::sleep(Duration::from_millis(50));
    ask(&format!("AUTH {token}\r\n"), "+OK\r\n");
    // Who has never said it gains no time by that.
    let mut stranger = TcpStream::connect(service.address).expect("connects");
    stranger.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
    let mut answers = 0;
    let mut reply = [0; 8];
    while stranger.write_all(b"RESET\r\n").is_ok() && stranger.read_exact(&mut reply).is_ok() {
        answers += 1;
        assert!(answers < 200, "it is never closed");
        std::thread::sleep(Duration::from_millis(50));
    }
}
