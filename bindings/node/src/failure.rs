//! Errors on their way to JavaScript: a JSON text with `code`, `message` and what else is known, of which `lib/errors.js`
//! makes an object of the right class.

use atomkv_engine::{Error, Written};
use serde_json::{Value, json};

/// The result of everything that JavaScript asks for.
pub type Outcome<T> = Result<T, Failure>;

/// What goes back to JavaScript instead of a result.
#[derive(Debug)]
pub struct Failure(Box<Value>);

impl Failure {
    /// An argument is wrong.
    pub fn argument(reason: &str) -> Failure {
        Failure(Box::new(json!({"code": "INVALID_ARGUMENT", "message": reason})))
    }

    /// The handle was closed, or its database.
    pub fn closed() -> Failure {
        Error::Closed.into()
    }

    /// Another call that has not ended uses the same object.
    pub fn busy() -> Failure {
        let message = "another call that has not ended yet uses this object; await it first";
        Failure(Box::new(json!({"code": "BUSY", "message": message})))
    }

    /// A defect of the engine or of the binding.
    pub fn panicked() -> Failure {
        let message = "internal error: the native code panicked; close the database and open it again";
        Failure(Box::new(json!({"code": "INTERNAL", "message": message})))
    }

    /// For `lib/errors.js`.
    pub fn to_json(&self) -> String {
        self.0.to_string()
    }
}

fn written(found: Option<Written>) -> Value {
    found.map_or(Value::Null, |found| json!({"version": found.version, "sequence": found.sequence}))
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let message = error.to_string();
        let (code, mut more) = match error {
            Error::Locked { path, pid } => ("LOCKED", json!({"path": path.to_string_lossy(), "pid": pid})),
            Error::NotADatabase { path, .. } => ("NOT_A_DATABASE", json!({"path": path.to_string_lossy()})),
            Error::Corrupt { file, offset, .. } => {
                ("CORRUPT", json!({"file": file.to_string_lossy(), "offset": offset}))
            }
            Error::NewerFormat { file, found, supported } => (
                "NEWER_FORMAT",
                json!({"file": file.to_string_lossy(), "found": found, "supported": supported}),
            ),
            Error::KeyEmpty => ("KEY_EMPTY", json!({})),
            Error::KeyTooLong { length, limit } => {
                ("KEY_TOO_LONG", json!({"length": length, "limit": limit}))
            }
            Error::ValueTooLarge { length, limit } => {
                ("VALUE_TOO_LARGE", json!({"length": length, "limit": limit}))
            }
            Error::InvalidKey { .. } => ("INVALID_KEY", json!({})),
            Error::InvalidArgument { .. } => ("INVALID_ARGUMENT", json!({})),
            Error::TableNotFound { name } => ("TABLE_NOT_FOUND", json!({"table": name})),
            Error::TableMismatch { name, .. } => ("TABLE_MISMATCH", json!({"table": name})),
            Error::ServicesMismatch { table, service, .. } => {
                ("SERVICES_MISMATCH", json!({"table": table, "service": service}))
            }
            Error::Conflict { table, key, found } => {
                ("CONFLICT", json!({"table": table, "keyBytes": key, "found": written(found)}))
            }
            Error::VersionNotFound { version, newest } => {
                ("VERSION_NOT_FOUND", json!({"version": version, "newest": newest}))
            }
            Error::VersionCompacted { oldest } => ("VERSION_COMPACTED", json!({"oldest": oldest})),
            Error::ReadOnly { .. } => ("READ_ONLY", json!({})),
            Error::NoSpace { path } => ("NO_SPACE", json!({"path": path.to_string_lossy()})),
            Error::TooManySegments => ("TOO_MANY_SEGMENTS", json!({})),
            Error::Io { operation, path, source } => (
                "IO",
                json!({"operation": operation, "path": path.to_string_lossy(), "errno": source.raw_os_error()}),
            ),
            Error::Closed => ("CLOSED", json!({})),
            Error::Forked => ("FORKED", json!({})),
            Error::Compacted { oldest } => ("COMPACTED", json!({"oldest": oldest})),
            Error::Document { .. } => ("DOCUMENT", json!({})),
            Error::Merge { .. } => ("MERGE", json!({})),
            Error::AlreadyExists { path, .. } => ("ALREADY_EXISTS", json!({"path": path.to_string_lossy()})),
            Error::Input { record, offset, .. } => ("INPUT", json!({"record": record, "offset": offset})),
            Error::Cancelled => ("CANCELLED", json!({})),
            // Those that a later engine may add have no code of their own until they are named here.
            _ => ("INTERNAL", json!({})),
        };
        more["code"] = code.into();
        more["message"] = message.into();
        Failure(Box::new(more))
    }
}
