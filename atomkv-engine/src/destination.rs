//! The directories that somebody wants written: where they are, and that nothing is there.

use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};
use crate::storage::Storage;

/// The whole path of a directory that may be missing.
pub(crate) fn resolve_missing(storage: &dyn Storage, path: &Path) -> Result<PathBuf> {
    if path.as_os_str().is_empty() {
        let reason = "the destination's path is empty".to_string();
        return Err(Error::InvalidArgument { reason });
    }
    let path = std::path::absolute(path).map_err(|error| Error::io("resolve", path, error))?;
    for ancestor in path.ancestors() {
        match storage.resolve(ancestor) {
            Ok(resolved) => {
                let rest = path.strip_prefix(ancestor).unwrap_or(Path::new(""));
                if rest.components().any(|part| part == Component::ParentDir) {
                    let reason = format!("{}: \"..\" behind what is missing", path.display());
                    return Err(Error::InvalidArgument { reason });
                }
                return Ok(if rest.as_os_str().is_empty() { resolved } else { resolved.join(rest) });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("resolve", ancestor, error)),
        }
    }
    Ok(path)
}

/// Neither directory may lie in the other.
pub(crate) fn check_apart(source: &Path, destination: &Path) -> Result<()> {
    let reason = if source == destination {
        "the destination is the source"
    } else if destination.starts_with(source) {
        "the destination lies inside the source"
    } else if source.starts_with(destination) {
        "the source lies inside the destination"
    } else {
        return Ok(());
    };
    Err(Error::InvalidArgument { reason: format!("{reason}, {}; give another place", destination.display()) })
}

/// The directory is missing or has nothing in it.
pub(crate) fn check_empty(storage: &dyn Storage, path: &Path) -> Result<()> {
    check_empty_but(storage, path, &[])
}

/// The directory is missing or has nothing in it but what is named.
pub(crate) fn check_empty_but(storage: &dyn Storage, path: &Path, known: &[&str]) -> Result<()> {
    let exists = |reason: String| Err(Error::AlreadyExists { path: path.to_path_buf(), reason });
    match storage.list(path) {
        Ok(names) => match names.iter().find(|name| !known.contains(&name.as_str())) {
            Some(name) => exists(format!("the directory holds {name:?}")),
            None => Ok(()),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => exists("it is a file".to_string()),
        Err(error) => Err(Error::io("list", path, error)),
    }
}
