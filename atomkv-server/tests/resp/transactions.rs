//! `WATCH`, `MULTI` and `EXEC`.

use redis::Value;

use super::service::{refused, start, told};

#[test]
fn a_watched_key_that_changes_makes_exec_do_nothing() {
    let service = start();
    let (mut one, mut other) = (service.connect(), service.connect());
    for (before, change, is_refused) in [
        ("SET k 1", "SET k 2", true),
        ("SET k 1", "DEL k", true),
        ("SET k 1", "EXPIRE k 100", true),
        ("SET k 1", "SET another 2", false),
        ("DEL k", "SET k 1", true),
        ("SET k 1", "GET k", false),
    ] {
        told::<Value>(&mut one, before);
        told::<()>(&mut one, "WATCH k none");
        told::<Value>(&mut other, change);
        told::<()>(&mut one, "MULTI");
        told::<()>(&mut one, "SET result written");
        let outcome: Option<Vec<String>> = told(&mut one, "EXEC");
        assert_eq!(outcome.is_none(), is_refused, "{change}");
        assert_eq!(told::<i64>(&mut one, "DEL result"), i64::from(!is_refused), "{change}");
    }
}

#[test]
fn all_of_it_happens_or_nothing() {
    let service = start();
    let mut client = service.connect();
    told::<()>(&mut client, "MULTI");
    assert_eq!(told::<String>(&mut client, "SET a 1"), "QUEUED");
    assert!(refused(&mut client, "NOSUCH").contains("unknown command"));
    assert!(refused(&mut client, "EXEC").contains("discarded"));
    assert_eq!(told::<i64>(&mut client, "EXISTS a"), 0);
    told::<()>(&mut client, "MULTI");
    told::<()>(&mut client, "SET a abc");
    told::<()>(&mut client, "INCR a");
    told::<()>(&mut client, "APPEND a d");
    // The library tells the first error of the replies; what stood before and behind it has happened.
    assert!(refused(&mut client, "EXEC").contains("not an integer"));
    assert_eq!(told::<String>(&mut client, "GET a"), "abcd");
}

#[test]
fn transfers_of_many_clients_lose_nothing() {
    const CLIENTS: usize = 4;
    const ROUNDS: usize = 60;
    let service = start();
    let mut client = service.connect();
    told::<()>(&mut client, "MSET a 1000 b 1000 count 0");
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = service.connect();
                for _ in 0..ROUNDS {
                    // By hand, as clients do that compute what they write.
                    loop {
                        told::<()>(&mut client, "WATCH a b");
                        let both: Vec<i64> = told(&mut client, "MGET a b");
                        assert_eq!(both.iter().sum::<i64>(), 2000, "half of a transfer was seen");
                        told::<()>(&mut client, "MULTI");
                        told::<()>(&mut client, &format!("SET a {}", both[0] - 1));
                        told::<()>(&mut client, &format!("SET b {}", both[1] + 1));
                        if told::<Option<Vec<String>>>(&mut client, "EXEC").is_some() {
                            break;
                        }
                    }
                    told::<i64>(&mut client, "INCR count");
                }
            });
        }
    });
    let transferred = (CLIENTS * ROUNDS) as i64;
    let numbers: Vec<i64> = told(&mut client, "MGET a b count");
    assert_eq!(numbers, [1000 - transferred, 1000 + transferred, transferred]);
}

#[test]
fn a_command_that_is_refused_has_written_nothing_of_what_it_names() {
    let service = start();
    let mut client = service.connect();
    let long = vec![b'k'; 65_536];
    for command in ["MSET", "MSETNX"] {
        for bad in [&b""[..], &long] {
            told::<()>(&mut client, "MULTI");
            told::<()>(&mut client, "SET other 1");
            let mut queued = redis::cmd(command);
            queued.arg("a").arg(1).arg(bad).arg(2);
            assert_eq!(queued.query::<String>(&mut client).expect("taken"), "QUEUED");
            assert!(refused(&mut client, "EXEC").contains("key"), "{command}");
            assert_eq!(told::<i64>(&mut client, "EXISTS a"), 0, "{command}");
            assert_eq!(told::<i64>(&mut client, "DEL other"), 1, "{command}");
        }
    }
}

#[test]
fn values_of_a_transaction_are_bounded_together() {
    let service = start();
    let mut client = service.connect();
    told::<i64>(&mut client, "SETRANGE big 67108863 x");
    told::<()>(&mut client, "MULTI");
    told::<()>(&mut client, "SET small 1");
    for number in 0..8 {
        told::<()>(&mut client, &format!("COPY big copy:{number}"));
    }
    let told_why = refused(&mut client, "EXEC");
    assert!(told_why.contains("a command or transaction that holds more than 536870912 bytes"), "{told_why}");
    assert_eq!(told::<i64>(&mut client, "EXISTS small copy:0 copy:7"), 0);
    // What nobody wants to read is not held: so many are removed at once.
    for number in 0..8 {
        told::<i64>(&mut client, &format!("COPY big copy:{number}"));
    }
    // What gets another name is held once, and so are as many as fit.
    told::<()>(&mut client, "MULTI");
    for number in 0..8 {
        told::<()>(&mut client, &format!("RENAME copy:{number} name:{number}"));
    }
    assert_eq!(told::<Vec<String>>(&mut client, "EXEC"), ["OK"; 8]);
    let all = "name:0 name:1 name:2 name:3 name:4 name:5 name:6 name:7 big";
    assert_eq!(told::<i64>(&mut client, &format!("EXISTS {all}")), 9);
    assert_eq!(told::<i64>(&mut client, &format!("DEL {all}")), 9);
}
