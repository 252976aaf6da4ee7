//! Who may do what: bearer tokens, of which the service knows hashes only.
//!
//! A token is 256 random bits, so that its SHA-256 tells nobody anything and need not be slow. A request's token is compared
//! with all that there are, in constant time each. The file is read again when it has changed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use std::time::SystemTime;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::ServeError;
use crate::problem::Problem;

/// What a token is for. Each stands for itself: who writes need not be able to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// Documents, lists, changes.
    Read,
    /// Documents.
    Write,
    /// Creating tables, operations, statistics.
    Admin,
}

/// A token as the file has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    sha256: String,
    scopes: Vec<Scope>,
    /// Names, or beginnings of names with `*` behind. Default: all.
    tables: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<Entry>,
}

#[derive(Debug)]
struct Token {
    hash: [u8; 32],
    client: Client,
}

/// Who makes a request.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// The token's name; `None` where no tokens are set.
    pub(crate) name: Option<Arc<str>>,
    scopes: Arc<[Scope]>,
    tables: Option<Arc<[String]>>,
}

impl Client {
    fn anyone() -> Client {
        static ALL: LazyLock<Arc<[Scope]>> =
            LazyLock::new(|| [Scope::Read, Scope::Write, Scope::Admin].into());
        Client { name: None, scopes: ALL.clone(), tables: None }
    }

    /// Who asks for what anybody may see.
    pub(crate) fn nobody() -> Client {
        Client { name: None, scopes: [].into(), tables: None }
    }

    /// Whether this may be done with the table.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn allows(&self, scope: Scope, table: &str) -> Result<(), Problem> {
        self.allows_some(scope)?;
        if self.sees(table) {
            return Ok(());
        }
        Err(Problem::forbidden(format!("the token is not for the table {table:?}")))
    }

    /// Whether this may be done with the whole database.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn allows_all(&self, scope: Scope) -> Result<(), Problem> {
        self.allows_some(scope)?;
        match self.tables {
            None => Ok(()),
            Some(_) => Err(Problem::forbidden("the token is for some tables only, and this concerns all")),
        }
    }

    /// Whether this may be done with any table at all.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn allows_some(&self, scope: Scope) -> Result<(), Problem> {
        if self.scopes.contains(&scope) {
            return Ok(());
        }
        Err(Problem::forbidden(format!("the token lacks the scope {}", format!("{scope:?}").to_lowercase())))
    }

    pub(crate) fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// Names, or beginnings of names with `*` behind; `None` for all.
    pub(crate) fn tables(&self) -> Option<&[String]> {
        self.tables.as_deref()
    }

    pub(crate) fn sees(&self, table: &str) -> bool {
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => table.starts_with(prefix),
            None => pattern == table,
        };
        self.tables.as_ref().is_none_or(|tables| tables.iter().any(matches))
    }
}

/// Lets requests in.
pub(crate) struct Guard {
    path: Option<PathBuf>,
    /// `None`: everybody may do everything.
    tokens: RwLock<Option<Arc<Vec<Token>>>>,
    read_at: RwLock<Option<SystemTime>>,
}

impl Guard {
    /// # Errors
    /// [`ServeError::File`].
    pub(crate) fn open(path: Option<&Path>) -> Result<Guard, ServeError> {
        let read_at = RwLock::new(path.and_then(modified));
        let tokens = path.map(read).transpose()?.map(Arc::new);
        Ok(Guard { path: path.map(Path::to_path_buf), tokens: RwLock::new(tokens), read_at })
    }

    /// Who makes the request.
    ///
    /// # Errors
    /// 401 without a token that is known, where tokens are needed.
    pub(crate) fn identify(&self, headers: &HeaderMap) -> Result<Client, Problem> {
        if let Some(anyone) = self.anyone() {
            return Ok(anyone);
        }
        let header = headers.get(AUTHORIZATION).ok_or_else(|| {
            Problem::unauthorized("this service needs a token: Authorization: Bearer TOKEN")
        })?;
        let given = header.to_str().ok().and_then(|text| text.split_once(' '));
        let given =
            given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
        let client = self.bearer(given.unwrap_or_default().as_bytes());
        client.ok_or_else(|| Problem::unauthorized("this token is not known to the service"))
    }

    /// Everybody, where no tokens are needed.
    pub(crate) fn anyone(&self) -> Option<Client> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        tokens.is_none().then(Client::anyone)
    }

    /// Who bears a token, if it is known.
    pub(crate) fn bearer(&self, token: &[u8]) -> Option<Client> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        let hash: [u8; 32] = Sha256::digest(token).into();
        let mut client = None;
        for token in tokens.iter() {
            // All of them, so that the time tells nothing about where the right one stands.
            if bool::from(token.hash[..].ct_eq(&hash[..])) {
                client = Some(token.client.clone());
            }
        }
        client
    }

    /// Reads the file again; with `always` even if it has not changed. Keeps the tokens that there were if it makes no
    /// sense.
    pub(crate) fn reload(&self, always: bool) {
        let Some(path) = &self.path else { return };
        let changed = modified(path);
        let mut read_at = self.read_at.write().unwrap_or_else(PoisonError::into_inner);
        if *read_at == changed && !always {
            return;
        }
        *read_at = changed;
        match read(path) {
            Ok(tokens) => {
                tracing::info!(path = %path.display(), tokens = tokens.len(), "tokens read again");
                *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(tokens));
            }
            Err(error) => tracing::error!(%error, "tokens stay as they were"),
        }
    }
}

/// When a file was changed last.
pub(crate) fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn read(path: &Path) -> Result<Vec<Token>, ServeError> {
    let text = std::fs::read_to_string(path).map_err(|error| ServeError::file(path, error))?;
    let file: File = toml::from_str(&text).map_err(|error| ServeError::file(path, error))?;
    let token = |entry: Entry| {
        let hash = HEXLOWER_PERMISSIVE.decode(entry.sha256.as_bytes()).ok();
        let hash = hash.and_then(|hash| <[u8; 32]>::try_from(hash).ok()).ok_or_else(|| {
            let reason = format!("token {:?}: sha256 is to be 64 hexadecimal digits", entry.name);
            ServeError::file(path, reason)
        })?;
        let client = Client {
            name: Some(entry.name.into()),
            scopes: entry.scopes.into(),
            tables: entry.tables.map(Into::into),
        };
        Ok(Token { hash, client })
    };
    file.token.into_iter().map(token).collect()
}

/// A new token, and the hash of it that the file of tokens has, in hexadecimal.
///
/// ```
/// let (token, sha256) = atomkv_server::new_token().expect("randomness");
/// assert_eq!((token.len(), sha256.len()), (43, 64));
/// ```
///
/// # Errors
/// [`ServeError::Io`] if the system has no randomness to give.
pub fn new_token() -> Result<(String, String), ServeError> {
    let mut bits = [0; 32];
    loop {
        getrandom::fill(&mut bits)
            .map_err(|error| ServeError::io("get randomness", std::io::Error::other(error.to_string())))?;
        let token = BASE64URL_NOPAD.encode(&bits);
        // Command lines, ours and others', would take one that begins with a hyphen for an option.
        if !token.starts_with('-') {
            let hash = HEXLOWER.encode(&Sha256::digest(token.as_bytes()));
            return Ok((token, hash));
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(text: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_str(text).expect("a header"));
        headers
    }

    #[test]
    fn no_token_looks_like_an_option() {
        for _ in 0..2000 {
            let (token, _) = new_token().expect("a token");
            assert!(!token.starts_with('-'), "{token}");
        }
    }

    #[test]
    fn a_token_may_do_what_its_file_says_and_no_more() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("tokens");
        let (token, sha256) = new_token().expect("a token");
        let entry = |hash: &str| {
            format!(
                "[[token]]\nname = 'a'\nsha256 = '{hash}'\nscopes = ['read']\ntables = ['users', 'log*']\n"
            )
        };
        std::fs::write(&path, entry(&sha256)).expect("written");
        let guard = Guard::open(Some(&path)).expect("opens");
        let client = guard.identify(&headers(&format!("Bearer {token}"))).expect("known");
        client.allows(Scope::Read, "users").expect("allowed");
        client.allows(Scope::Read, "log-2").expect("allowed");
        for refused in [
            client.allows(Scope::Write, "users"),
            client.allows(Scope::Read, "users2"),
            client.allows_all(Scope::Read),
        ] {
            assert_eq!(refused.expect_err("refused").status().as_u16(), 403);
        }
        for wrong in ["Bearer x", "Basic x", "Bearer ", "Bearer", &format!("Bearer {sha256}")] {
            assert_eq!(guard.identify(&headers(wrong)).expect_err(wrong).status().as_u16(), 401);
        }
        assert!(guard.identify(&HeaderMap::new()).is_err());

        std::fs::write(&path, entry("nonsense")).expect("written");
        guard.reload(true);
        guard.identify(&headers(&format!("Bearer {token}"))).expect("the file before holds");
        let (second, hash) = new_token().expect("a token");
        std::fs::write(&path, entry(&hash)).expect("written");
        guard.reload(true);
        guard.identify(&headers(&format!("bearer {second}"))).expect("known now");
        assert!(guard.identify(&headers(&format!("Bearer {token}"))).is_err(), "no more");
    }
}
