//! What all requests share, and the routes with what every request passes.

use std::sync::Arc;

use atomkv_engine::{Database, Durability};
use tokio::sync::{Semaphore, watch};

use crate::auth::{Client, Guard, Scope};
use crate::blocking::{Syncs, call};
use crate::config::{Config, Durability as Configured};
use crate::error::ServeError;
use crate::limits::Rates;
use crate::metrics::Metrics;
use crate::operations::Operations;
use crate::problem::Problem;
use crate::tables::{TableHandle, Tables};

/// How many documents are streamed in at once, at most: each takes a thread and some megabytes.
const UPLOADS_MAX: usize = 64;
/// How many exports, dumps and backups are streamed out at once, at most.
const DOWNLOADS_MAX: usize = 64;

/// What all requests share.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) database: Database,
    pub(crate) tables: Tables,
    pub(crate) syncs: Syncs,
    pub(crate) guard: Guard,
    pub(crate) rates: Rates,
    pub(crate) metrics: Metrics,
    pub(crate) operations: Operations,
    pub(crate) requests: Arc<Semaphore>,
    pub(crate) watches: Arc<Semaphore>,
    pub(crate) uploads: Arc<Semaphore>,
    /// Not the same, so that clients that do not read what they asked for keep nobody from writing.
    pub(crate) downloads: Arc<Semaphore>,
    /// Whether the service is ending.
    pub(crate) ending: watch::Receiver<bool>,
}

impl App {
    /// # Errors
    /// [`ServeError::File`] for the file of tokens; [`ServeError::Io`].
    pub(crate) fn new(
        config: Config,
        database: Database,
        ending: watch::Receiver<bool>,
    ) -> Result<Arc<App>, ServeError> {
        Ok(Arc::new(App {
            tables: Tables::default(),
            syncs: Syncs::start(database.clone())?,
            guard: Guard::open(config.tokens.as_deref())?,
            rates: Rates::new(&config),
            metrics: Metrics::new(&database),
            operations: Operations::default(),
            requests: Arc::new(Semaphore::new(config.requests_max)),
            watches: Arc::new(Semaphore::new(config.watches_max)),
            uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
            downloads: Arc::new(Semaphore::new(DOWNLOADS_MAX)),
            ending,
            config,
            database,
        }))
    }

    /// Whether requests may be answered without having been counted and admitted, since neither could refuse them.
    pub(crate) fn may_answer_at_once(&self) -> bool {
        self.rates.are_none() && self.config.cors_origins.is_empty() && self.requests.available_permits() > 0
    }

    /// A table that the client may use so.
    ///
    /// # Errors
    /// 403; 404.
    pub(crate) fn table(
        &self,
        client: &Client,
        scope: Scope,
        name: &str,
    ) -> Result<Arc<TableHandle>, Problem> {
        client.allows(scope, name)?;
        Ok(self.tables.open(&self.database, name)?)
    }

    /// What a write that does not say has.
    pub(crate) fn durability(&self, asked: Option<Durability>) -> Durability {
        asked.unwrap_or(match self.config.durability {
            Configured::Sync => Durability::Sync,
            Configured::Buffered => Durability::Buffered,
        })
    }

    /// Makes a buffered write where it can be made, and has it synced if that is asked for.
    pub(crate) async fn write<R: Send + 'static>(
        self: &Arc<App>,
        may_wait: bool,
        durability: Durability,
        write: impl FnOnce(&App) -> Result<R, Problem> + Send + 'static,
    ) -> Result<R, Problem> {
        let outcome = if may_wait {
            let app = self.clone();
            call(move || write(&app)).await?
        } else {
            write(self)?
        };
        if durability == Durability::Sync {
            self.syncs.wait().await?;
        }
        Ok(outcome)
    }
}
