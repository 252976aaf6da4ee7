//! The service, and the tokens of its clients.

use crate::arguments::TokenScope;
use crate::failure::{Failure, Kind, Result};
use crate::output::Output;
use crate::store;

/// Serves until the process is told to end.
pub fn serve(settings: atomkv_server::Args) -> Result<()> {
    if let Some(directory) = &settings.directory {
        store::refuse_address(
            "serve",
            directory,
            "name the directory of the database, and --listen ADDRESS",
        )?;
    }
    atomkv_server::run(settings.into_config()?).map_err(Failure::from)
}

/// Makes a token.
pub fn token(name: &str, scopes: &[TokenScope], tables: &[String], output: &mut Output) -> Result<()> {
    let (token, sha256) = atomkv_server::new_token()?;
    let scopes: Vec<String> = scopes.iter().map(|scope| format!("{scope:?}").to_lowercase()).collect();
    // A list or a text of JSON is one of TOML, but for a character that TOML has no escape for.
    if name.chars().chain(tables.iter().flat_map(|table| table.chars())).any(char::is_control) {
        return Err(Failure::usage("a name has a control character"));
    }
    output.line("[[token]]")?;
    output.line(&format!("name = {}", serde_json::json!(name)))?;
    output.line(&format!("sha256 = {sha256:?}"))?;
    output.line(&format!("scopes = {}", serde_json::json!(scopes)))?;
    if !tables.is_empty() {
        output.line(&format!("tables = {}", serde_json::json!(tables)))?;
    }
    output.flush()?;
    eprintln!("{token}");
    Ok(())
}

impl From<atomkv_server::ServeError> for Failure {
    fn from(error: atomkv_server::ServeError) -> Failure {
        match error {
            atomkv_server::ServeError::Engine(error) => error.into(),
            error @ (atomkv_server::ServeError::Config { .. } | atomkv_server::ServeError::File { .. }) => {
                Failure::usage(error.to_string()).hint("atomkv serve --help lists the settings")
            }
            error => Failure::new(Kind::Unavailable, error.to_string()),
        }
    }
}
