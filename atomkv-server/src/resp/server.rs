//! The commands on the service itself.

use std::sync::atomic::Ordering;

use atomkv_engine::Table;

use super::arguments::{SYNTAX, at, database, is, number};
use super::command::{COMMANDS, Command, find};
use super::reply::Reply;
use super::space::{NUMBERS, Space};
use super::unit::{Fail, Outcome, Unit};
use super::{COMPATIBLE_VERSION, glob};
use crate::auth::Scope;
use crate::config::Durability;

type Arguments<'a> = &'a [&'a [u8]];

pub(super) fn ping(_: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    match arguments {
        [_] => reply.simple("PONG"),
        [_, text] => reply.bulk(text),
        _ => return Err("ERR wrong number of arguments for 'ping' command".into()),
    }
    Ok(())
}

pub(super) fn echo(_: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    reply.bulk(at(arguments, 1));
    Ok(())
}

pub(super) fn select(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    unit.number = database(at(arguments, 1))?;
    reply.ok();
    Ok(())
}

pub(super) fn time(_: &mut Unit<'_>, _: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    reply.array(2);
    reply.bulk(now.as_secs().to_string().as_bytes());
    reply.bulk(now.subsec_micros().to_string().as_bytes());
    Ok(())
}

/// What a client is told that asks for a part of a command which is not there.
pub(super) fn unknown_part(command: &str, part: &[u8]) -> Fail {
    let part = String::from_utf8_lossy(&part[..part.len().min(128)]);
    Fail::Told(format!("ERR unknown subcommand '{part}'. Try {} HELP.", command.to_uppercase()))
}

/// Whether a part of a command has so many words, the command's name among them.
///
/// # Errors
/// It has not.
pub(super) fn check_words(arguments: Arguments<'_>, words: usize, name: &str) -> Outcome<()> {
    if arguments.len() == words {
        return Ok(());
    }
    Err(Fail::Told(format!("ERR wrong number of arguments for '{name}' command")))
}

/// Settings as Redis names them: those that clients look at before they begin.
fn settings(space: &Space) -> Vec<(&'static str, String)> {
    let config = &space.app.config;
    let sync = match config.redis_durability {
        Durability::Sync => "always",
        Durability::Buffered => "everysec",
    };
    let port = config.redis_listen.map_or(0, |address| address.port());
    let bytes_max = config.redis_command_bytes_max.to_string();
    vec![
        ("appendfsync", sync.to_string()),
        ("appendonly", "yes".to_string()),
        ("databases", NUMBERS.to_string()),
        ("maxclients", config.connections_max.to_string()),
        ("maxmemory", "0".to_string()),
        ("maxmemory-policy", "noeviction".to_string()),
        ("port", port.to_string()),
        ("proto-max-bulk-len", bytes_max),
        ("save", String::new()),
        ("timeout", "0".to_string()),
    ]
}

pub(super) fn config(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    if !is(at(arguments, 1), "GET") {
        return Err(unknown_part("config", at(arguments, 1)));
    }
    let patterns = arguments.get(2..).unwrap_or_default();
    if patterns.is_empty() {
        return Err("ERR wrong number of arguments for 'config|get' command".into());
    }
    let mut settings = settings(unit.space);
    settings.retain(|(name, _)| patterns.iter().any(|one| glob::matches(one, name.as_bytes(), true)));
    reply.map(settings.len());
    for (name, value) in settings {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    Ok(())
}

pub(super) fn info(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let wanted = arguments.get(1..).unwrap_or_default();
    let is_any_of = |words: &[&str]| wanted.iter().any(|word| words.iter().any(|one| is(word, one)));
    let is_wanted = |name: &str| {
        let is_default = name != "Commandstats" && (wanted.is_empty() || is_any_of(&["default"]));
        is_default || is_any_of(&[name, "all", "everything"])
    };
    let mut text = String::new();
    for (name, lines) in sections(unit)? {
        if is_wanted(name) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            text.push_str(&format!("# {name}\r\n"));
            lines.iter().for_each(|(name, value)| text.push_str(&format!("{name}:{value}\r\n")));
        }
    }
    reply.verbatim(&text);
    Ok(())
}

type Section = (&'static str, Vec<(String, String)>);

fn sections(unit: &Unit<'_>) -> Outcome<Vec<Section>> {
    let space = unit.space;
    let stats = space.app.database.stats();
    let line = |name: &str, value: &dyn ToString| (name.to_string(), value.to_string());
    let port = space.app.config.redis_listen.map_or(0, |address| address.port());
    let mut keyspace = Vec::new();
    for number in 0..NUMBERS {
        // Those that the client has nothing to do with are not its business.
        let keys = match unit.allows(Scope::Read, number) {
            Ok(()) => space.table(number)?.map_or(0, Table::len),
            Err(_) => 0,
        };
        if keys > 0 {
            keyspace.push((format!("db{number}"), format!("keys={keys},expires=0,avg_ttl=0")));
        }
    }
    let failed = stats.read_only.is_some();
    let figures = space.figures();
    let by_command = figures.by_command();
    let of_command = |(name, calls, errors): &(&str, u64, u64)| {
        (format!("cmdstat_{name}"), format!("calls={calls},failed_calls={errors}"))
    };
    Ok(vec![
        (
            "Server",
            vec![
                line("redis_version", &COMPATIBLE_VERSION),
                line("redis_mode", &"standalone"),
                line("atomkv_version", &env!("CARGO_PKG_VERSION")),
                line("os", &std::env::consts::OS),
                line("arch_bits", &usize::BITS),
                line("process_id", &std::process::id()),
                line("tcp_port", &port),
                line("uptime_in_seconds", &(stats.uptime_ms / 1000)),
                line("uptime_in_days", &(stats.uptime_ms / 86_400_000)),
            ],
        ),
        (
            "Clients",
            vec![
                line("connected_clients", &figures.connections.load(Ordering::Relaxed)),
                line("maxclients", &space.app.config.connections_max),
                line("blocked_clients", &0),
            ],
        ),
        ("Memory", vec![line("used_memory", &stats.index_bytes), line("maxmemory", &0)]),
        (
            "Persistence",
            vec![
                line("loading", &0),
                line("aof_enabled", &1),
                line("aof_current_size", &stats.disk_bytes),
                line("aof_last_write_status", &if failed { "err" } else { "ok" }),
                line("atomkv_unsynced_bytes", &stats.unsynced_bytes),
            ],
        ),
        (
            "Stats",
            vec![
                line("total_connections_received", &figures.connections_so_far.load(Ordering::Relaxed)),
                line("rejected_connections", &figures.connections_refused.load(Ordering::Relaxed)),
                line("total_commands_processed", &figures.commands()),
                line("total_error_replies", &by_command.iter().map(|(_, _, errors)| errors).sum::<u64>()),
                line("keyspace_hits", &stats.reads.saturating_sub(stats.read_misses)),
                line("keyspace_misses", &stats.read_misses),
            ],
        ),
        ("Replication", vec![line("role", &"master"), line("connected_slaves", &0)]),
        ("Commandstats", by_command.iter().map(of_command).collect()),
        ("Cluster", vec![line("cluster_enabled", &0)]),
        ("Keyspace", keyspace),
    ])
}

/// What is told of a command.
fn describe(command: &Command, reply: &mut Reply<'_>) {
    let is_write = command.needs.contains(&Scope::Write);
    reply.array(10);
    reply.bulk(command.name.as_bytes());
    reply.integer(command.arity.into());
    let flag = match (is_write, command.needs.contains(&Scope::Read)) {
        (true, _) => Some("write"),
        (false, true) => Some("readonly"),
        (false, false) => None,
    };
    reply.set(usize::from(flag.is_some()));
    if let Some(flag) = flag {
        reply.simple(flag);
    }
    let (first, last, step) = command.keys;
    [first, last, step].into_iter().for_each(|number| reply.integer(number.into()));
    reply.set(0);
    (0..3).for_each(|_| reply.array(0));
}

pub(super) fn command(_: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let Some(part) = arguments.get(1) else {
        reply.array(COMMANDS.len());
        COMMANDS.iter().for_each(|command| describe(command, reply));
        return Ok(());
    };
    let names = arguments.get(2..).unwrap_or_default();
    if is(part, "COUNT") {
        check_words(arguments, 2, "command|count")?;
        reply.integer(i64::try_from(COMMANDS.len()).unwrap_or(i64::MAX));
    } else if is(part, "LIST") {
        if !names.is_empty() {
            return Err(SYNTAX.into());
        }
        reply.set(COMMANDS.len());
        COMMANDS.iter().for_each(|command| reply.bulk(command.name.as_bytes()));
    } else if is(part, "INFO") {
        let all: Vec<Option<&Command>> = match names {
            [] => COMMANDS.iter().map(Some).collect(),
            names => names.iter().map(|name| find(name)).collect(),
        };
        reply.array(all.len());
        for command in all {
            match command {
                Some(command) => describe(command, reply),
                None => reply.null(),
            }
        }
    } else if is(part, "DOCS") {
        let all: Vec<&Command> = match names {
            [] => COMMANDS.iter().collect(),
            names => names.iter().filter_map(|name| find(name)).collect(),
        };
        reply.map(all.len());
        for command in all {
            reply.bulk(command.name.as_bytes());
            reply.map(2);
            for (name, text) in [("summary", "See docs/redis.md of AtomKV"), ("group", "generic")] {
                reply.bulk(name.as_bytes());
                reply.bulk(text.as_bytes());
            }
        }
    } else {
        return Err(unknown_part("command", part));
    }
    Ok(())
}

/// The version of the protocol that `HELLO` asks for.
///
/// # Errors
/// There is none of it.
pub(super) fn protocol(argument: &[u8]) -> Outcome<bool> {
    let version = number(argument);
    match version.map_err(|_| Fail::from("ERR Protocol version is not an integer or out of range"))? {
        2 => Ok(false),
        3 => Ok(true),
        _ => Err("NOPROTO unsupported protocol version".into()),
    }
}
