//! Tables, and what the database as a whole counts.

use std::sync::Arc;

use atomkv_engine::{Durability, Retention, Table, TableOptions};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::auth::{Client, Scope};
use crate::blocking::call;
use crate::body::Json as JsonBody;
use crate::keys::{table_name, unprocessable};
use crate::numbers::{whole, whole_or_null};
use crate::problem::Problem;
use crate::request::Query;
use crate::tables::OWN_PREFIX;
use crate::wishes::{AskedDurability, time};

/// Which versions of a document a table keeps.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ToldRetention {
    /// The last so many; more than 4,294,967,295 are that many.
    Versions(#[serde(deserialize_with = "whole")] u64),
    /// Each for so long after a newer one has replaced it, such as `7d`.
    Duration(String),
    /// All.
    All,
}

impl ToldRetention {
    fn of(retention: Retention) -> ToldRetention {
        match retention {
            Retention::Versions(versions) => ToldRetention::Versions(versions.into()),
            Retention::Duration(time) => ToldRetention::Duration(format!("{}ms", time.as_millis())),
            Retention::All => ToldRetention::All,
        }
    }

    fn retention(&self) -> Result<Retention, Problem> {
        Ok(match self {
            ToldRetention::Versions(versions) => {
                Retention::Versions((*versions).try_into().unwrap_or(u32::MAX))
            }
            ToldRetention::Duration(text) => {
                Retention::Duration(time(text).map_err(|problem| unprocessable(problem.detail()))?)
            }
            ToldRetention::All => Retention::All,
        })
    }
}

/// How a table is to be.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTable {
    /// 1 to 16,384. Default 16. A table that exists keeps what it has.
    #[schema(minimum = 1, maximum = 16_384)]
    #[serde(default, deserialize_with = "whole_or_null")]
    partitions: Option<u32>,
    /// The number of partitions follows the table's size.
    auto_partitions: Option<bool>,
    /// Whether the table knows the order of its keys. Default no.
    ordered: Option<bool>,
    /// Default: `{"versions": 1}`, nothing of the past.
    retention: Option<ToldRetention>,
    /// After how long documents expire whose writers do not say, such as `30s`.
    ttl: Option<String>,
    /// For programs that embed the database. Requests have that of the service, or their own.
    durability: Option<AskedDurability>,
}

/// A table.
#[derive(Serialize, ToSchema)]
pub(crate) struct ToldTable {
    name: String,
    keys: u64,
    partitions: u32,
    auto_partitions: bool,
    ordered: bool,
    retention: ToldRetention,
    /// After how long documents expire whose writers do not say, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
    /// For programs that embed the database: `sync` or `buffered`.
    durability: &'static str,
    /// What it takes, of one table or where it is asked for. docs/statistics.md explains it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    stats: Option<Box<RawValue>>,
}

impl ToldTable {
    fn of(table: &Table) -> ToldTable {
        let settings = table.settings();
        ToldTable {
            name: table.name().to_string(),
            keys: table.len(),
            partitions: settings.partitions,
            auto_partitions: settings.auto_partitions,
            ordered: settings.ordered,
            retention: ToldRetention::of(settings.retention),
            ttl_ms: settings.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
            durability: if settings.durability == Durability::Sync { "sync" } else { "buffered" },
            stats: None,
        }
    }

    fn with_stats(table: &Table) -> Result<ToldTable, Problem> {
        let stats = RawValue::from_string(table.stats().to_json());
        let stats = stats.map_err(|_| Problem::defect("statistics that are no JSON"))?;
        Ok(ToldTable { stats: Some(stats), ..ToldTable::of(table) })
    }
}

/// The tables.
#[derive(Serialize, ToSchema)]
pub(crate) struct ToldTables {
    tables: Vec<ToldTable>,
    /// Tables that have services of a program's own, such as a hash function, and so can only be used by that program.
    foreign: Vec<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TablesQuery {
    /// With what each table takes.
    #[serde(default)]
    stats: bool,
}

/// Lists the tables that the token is for.
#[utoipa::path(
    get, path = "/v1/tables", tag = "tables",
    params(TablesQuery),
    responses(
        (status = 200, body = ToldTables),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    client: Client,
    Query(query): Query<TablesQuery>,
) -> Result<Json<ToldTables>, Problem> {
    client.allows_some(Scope::Read)?;
    call(move || {
        let (mut tables, mut foreign) = (Vec::new(), Vec::new());
        for name in app.database.table_names() {
            if name.starts_with(OWN_PREFIX) || !client.sees(&name) {
                continue;
            }
            match app.tables.open(&app.database, &name) {
                Ok(handle) if query.stats => tables.push(ToldTable::with_stats(&handle.table)?),
                Ok(handle) => tables.push(ToldTable::of(&handle.table)),
                Err(_) => foreign.push(name),
            }
        }
        Ok::<_, Problem>(Json(ToldTables { tables, foreign }))
    })
    .await
}

/// Tells how a table is, and what it takes.
#[utoipa::path(
    get, path = "/v1/tables/{table}", tag = "tables",
    params(("table" = String, Path)),
    responses(
        (status = 200, body = ToldTable),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    client: Client,
    uri: Uri,
) -> Result<Json<ToldTable>, Problem> {
    let handle = app.table(&client, Scope::Read, &table_name(&uri)?)?;
    call(move || ToldTable::with_stats(&handle.table).map(Json)).await
}

/// Creates a table.
///
/// 200 if it is there already as it is asked for, 409 if it is otherwise. An empty object takes the defaults.
#[utoipa::path(
    put, path = "/v1/tables/{table}", tag = "tables",
    params(("table" = String, Path)),
    request_body = NewTable,
    responses(
        (status = 200, description = "It was there", body = ToldTable),
        (status = 201, description = "Created", body = ToldTable),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 507, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    client: Client,
    uri: Uri,
    JsonBody(asked): JsonBody<NewTable>,
) -> Result<Response, Problem> {
    let name = table_name(&uri)?.into_owned();
    client.allows(Scope::Admin, &name)?;
    if name.starts_with(OWN_PREFIX) {
        return Err(Problem::bad_request(format!(
            "names that begin with {OWN_PREFIX} are the service's own"
        )));
    }
    let options = options(&asked)?;
    call(move || {
        let was_there = app.database.table_names().contains(&name);
        app.database.table(&name, options)?;
        let handle = app.tables.open(&app.database, &name)?;
        let status = if was_there { StatusCode::OK } else { StatusCode::CREATED };
        Ok::<_, Problem>((status, Json(ToldTable::of(&handle.table))).into_response())
    })
    .await
}

fn options(asked: &NewTable) -> Result<TableOptions, Problem> {
    let mut options = TableOptions::new().auto_partitions(asked.auto_partitions.unwrap_or(false));
    if let Some(partitions) = asked.partitions {
        options = options.partitions(partitions);
    }
    if let Some(ordered) = asked.ordered {
        options = options.ordered(ordered);
    }
    if let Some(retention) = &asked.retention {
        options = options.retention(retention.retention()?);
    }
    if let Some(ttl) = &asked.ttl {
        options = options.ttl(time(ttl).map_err(|problem| unprocessable(problem.detail()))?);
    }
    if let Some(durability) = asked.durability {
        options = options.durability(durability.into());
    }
    Ok(options)
}

/// What the engine counts; `docs/statistics.md` explains it.
#[utoipa::path(
    get, path = "/v1/stats", tag = "operations",
    responses(
        (status = 200, body = Object),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn stats(State(app): State<Arc<App>>, client: Client) -> Result<Response, Problem> {
    client.allows_all(Scope::Read)?;
    let json = app.database.stats().to_json();
    Ok(([(axum::http::header::CONTENT_TYPE, "application/json")], json).into_response())
}
