//! Where a service is, and with what it is asked.

use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use ureq::http::Uri;

use crate::failure::{Failure, Kind, Result};
use crate::literal::visible;

/// A file with a token has no more bytes.
const TOKEN_BYTES_MAX: u64 = 8 << 10;
/// Longer keys, as they are encoded, do not go through every proxy as a part of a path.
const PATH_KEY_BYTES_MAX: usize = 2048;

/// How services are reached.
#[derive(Clone)]
pub struct Connection {
    /// The token that was given.
    pub token: Option<String>,
    /// A file with one.
    pub token_file: Option<PathBuf>,
    /// A file with the certificates to trust.
    pub ca_file: Option<PathBuf>,
    /// How long to wait for a service that says nothing.
    pub timeout: Duration,
}

static CONNECTION: OnceLock<RwLock<Connection>> = OnceLock::new();

/// From now on services are reached so; the command line says it once.
pub fn connect_with(connection: Connection) {
    let kept = CONNECTION.get_or_init(|| RwLock::new(connection.clone()));
    *kept.write().unwrap_or_else(PoisonError::into_inner) = connection;
}

impl Connection {
    /// How services are reached.
    pub(super) fn get() -> Connection {
        let connection =
            CONNECTION.get().map(|kept| kept.read().unwrap_or_else(PoisonError::into_inner).clone());
        connection.unwrap_or(Connection {
            token: None,
            token_file: None,
            ca_file: None,
            timeout: Duration::from_secs(60),
        })
    }

    /// The token: the one that was given, that of the file, or that of the variable.
    ///
    /// # Errors
    /// A file that cannot be read; what is no token.
    pub(super) fn token(&self) -> Result<Option<String>> {
        let (text, from) = match (&self.token, &self.token_file) {
            (Some(token), _) => (token.clone(), "--token".to_string()),
            (None, Some(file)) => (read_token(file)?, file.display().to_string()),
            (None, None) => match std::env::var_os("ATOMKV_TOKEN").filter(|token| !token.is_empty()) {
                Some(token) => (token.to_string_lossy().into_owned(), "ATOMKV_TOKEN".to_string()),
                None => return Ok(None),
            },
        };
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            // What it is instead may be a secret too.
            return Err(Failure::usage(format!("what {from} gives is no token"))
                .hint("a token is one word of letters and digits, as atomkv token makes them"));
        }
        Ok(Some(token.to_string()))
    }
}

fn read_token(file: &Path) -> Result<String> {
    let mut text = Vec::new();
    std::fs::File::open(file)
        .and_then(|open| open.take(TOKEN_BYTES_MAX).read_to_end(&mut text))
        .map_err(|error| Failure::file("read", file, &error))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The address of a service, without anything that is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Scheme, host, port and path, without a slash at the end.
    pub(super) base: String,
    pub(super) is_secure: bool,
    /// Whether it is on this machine.
    pub(super) is_loopback: bool,
}

impl Address {
    /// # Errors
    /// Another scheme than HTTP; names and passwords; what is behind a path.
    pub(super) fn parse(text: &str) -> Result<Address> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "http" && scheme != "https" {
            return Err(Failure::usage(format!("{}:// is no address of a service", visible(&scheme)))
                .hint("http://HOST:PORT or https://HOST:PORT; a directory of that name is ./…"));
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(Failure::usage("the address has a name or a password in it, which is not sent").hint(
                "leave out what stands before @, and give the token by ATOMKV_TOKEN, --token-file or --token",
            ));
        }
        if rest.contains(['?', '#']) {
            return Err(Failure::usage("the address has something behind ? or #, which is not sent").hint(
                "the address ends with the port or a path; a token goes into ATOMKV_TOKEN or --token-file",
            ));
        }
        let refuse = || {
            Failure::usage(format!("{} is no address", visible(text)))
                .hint("http://HOST:PORT, for instance http://127.0.0.1:7070")
        };
        let base = format!("{scheme}://{}", rest.trim_end_matches('/'));
        let uri: Uri = base.parse().map_err(|_| refuse())?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(refuse)?;
        let has_port = authority
            .rsplit_once(':')
            .is_none_or(|(_, port)| port.ends_with(']') || port.parse::<u16>().is_ok());
        if !has_port {
            return Err(refuse());
        }
        let ip: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        let is_loopback = host == "localhost" || ip.is_some_and(|ip| ip.is_loopback());
        Ok(Address { is_secure: scheme == "https", is_loopback, base })
    }
}

/// What stands for itself in a path.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Bytes as a part of a path or of a query.
pub(super) fn encoded(bytes: &[u8]) -> String {
    // What is only dots is a way up.
    if !bytes.is_empty() && bytes.iter().all(|byte| *byte == b'.') {
        return "%2E".repeat(bytes.len());
    }
    percent_encode(bytes, UNRESERVED).to_string()
}

/// A path that names a document, with the header that holds its key if that is too long for a path.
pub(super) fn document_path(table: &str, key: &[u8]) -> Result<(String, Option<String>)> {
    if key.is_empty() {
        return Err(atomkv_engine::Error::KeyEmpty.into());
    }
    let limit = atomkv_engine::KEY_BYTES_MAX;
    if key.len() > limit {
        return Err(atomkv_engine::Error::KeyTooLong { length: key.len(), limit }.into());
    }
    let written = encoded(key);
    let table = table_path(table)?;
    if written.len() <= PATH_KEY_BYTES_MAX {
        return Ok((format!("{table}/documents/{written}"), None));
    }
    Ok((format!("{table}/documents/-"), Some(data_encoding::BASE64URL_NOPAD.encode(key))))
}

/// A path that names a table.
pub(super) fn table_path(table: &str) -> Result<String> {
    if table.is_empty() {
        return Err(
            Failure::new(Kind::Usage, "a table without a name").hint("atomkv tables lists those there are")
        );
    }
    Ok(format!("/v1/tables/{}", encoded(table.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_secrets_are_not_told() {
        let address = Address::parse("HTTP://localhost:7070/").expect("an address");
        let base = "http://localhost:7070".to_string();
        assert_eq!(address, Address { base, is_secure: false, is_loopback: true });
        assert_eq!(Address::parse("https://db.example/kv/").expect("one").base, "https://db.example/kv");
        assert!(Address::parse("http://[::1]:7070").expect("one").is_loopback);
        for wrong in [
            "ftp://host",
            "http://",
            "http://:7070",
            "http://bob:geheim@host",
            "http://host?token=geheim",
            "http://host/#geheim",
            "http://ho st",
            "http://host:port",
            "http://host:99999",
        ] {
            let failure = Address::parse(wrong).expect_err(wrong);
            assert!(failure.kind == Kind::Usage && !failure.to_string().contains("geheim"), "{failure}");
        }
    }

    #[test]
    fn keys_of_any_bytes_and_lengths_are_paths() {
        let path = |key: &[u8]| document_path("a b", key).expect("a path");
        assert_eq!(path(b"x/y%?").0, "/v1/tables/a%20b/documents/x%2Fy%25%3F");
        assert_eq!(path(b"..").0, "/v1/tables/a%20b/documents/%2E%2E");
        assert_eq!(path(b"\xff\0").0, "/v1/tables/a%20b/documents/%FF%00");
        let (long, header) = path(&vec![0xff; 65_535]);
        assert_eq!(
            (long.as_str(), header.map(|header| header.len())),
            ("/v1/tables/a%20b/documents/-", Some(87_380))
        );
        assert!(document_path("t", b"").is_err() && document_path("t", &[0; 65_536]).is_err());
        assert!(document_path("", b"k").is_err());
    }
}
