//! What verbs and scripts work on: the database, the chosen table, the open transaction.

use std::cell::RefCell;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use atomkv_engine::{Durability, Written};

use crate::failure::{Failure, Kind, Result};
use crate::interrupt;
use crate::output::{Look, Output};
use crate::store::{Document, Each, Range, Store, Transaction, WriteOptions};

/// The state of a session.
pub struct Context {
    /// Where the data is.
    pub store: Box<dyn Store>,
    /// Where output goes.
    pub output: RefCell<Output>,
    /// Whether somebody types.
    pub is_interactive: bool,
    table: Chosen,
    transaction: RefCell<Option<Box<dyn Transaction>>>,
    /// What `print` has failed with first, which cannot tell it itself.
    unprinted: RefCell<Option<Failure>>,
}

/// The chosen table, which the completion of keys asks for too.
pub type Chosen = Arc<Mutex<Option<String>>>;

impl Context {
    /// A session without a table and a transaction.
    pub fn new(store: Box<dyn Store>, look: Look, is_interactive: bool) -> Context {
        Context {
            store,
            output: RefCell::new(Output::stdout(look)),
            is_interactive,
            table: Arc::default(),
            transaction: RefCell::default(),
            unprinted: RefCell::default(),
        }
    }

    /// Prints a line for a script. That it could not be is told by [`Context::printed`].
    pub fn print(&self, text: &str) {
        let mut output = self.output.borrow_mut();
        let look = output.look;
        let mut outcome = text.split('\n').try_for_each(|line| output.line(&look.safe(line)));
        if look.is_terminal {
            // What is printed within a long loop is to be seen before it ends.
            outcome = outcome.and_then(|()| output.flush());
        }
        if let Err(failure) = outcome {
            self.unprinted.borrow_mut().get_or_insert(failure);
        }
    }

    /// Hands on what was printed. That it could not be is told by [`Context::printed`].
    pub fn show_printed(&self) {
        if let Err(failure) = self.output.borrow_mut().flush() {
            self.unprinted.borrow_mut().get_or_insert(failure);
        }
    }

    /// Whether [`Context::printed`] would tell a failure: a script ends then, wherever it is.
    pub fn is_unprinted(&self) -> bool {
        self.unprinted.borrow().is_some()
    }

    /// Whether everything was printed since this was asked.
    ///
    /// # Errors
    /// The first one of those that were printed meanwhile.
    pub fn printed(&self) -> Result<()> {
        self.unprinted.borrow_mut().take().map_or(Ok(()), Err)
    }

    /// Where the chosen table stands.
    pub fn chosen(&self) -> Chosen {
        self.table.clone()
    }

    /// Chooses a table.
    pub fn choose(&self, table: &str) {
        *self.table.lock().unwrap_or_else(PoisonError::into_inner) = Some(table.to_string());
    }

    /// The chosen table, if one is.
    pub fn table_if_chosen(&self) -> Option<String> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The chosen table.
    ///
    /// # Errors
    /// If none is.
    pub fn table(&self) -> Result<String> {
        self.table_if_chosen().ok_or_else(|| {
            Failure::usage("no table is chosen").hint("table NAME chooses one, tables lists them")
        })
    }

    /// Whether a transaction is open.
    pub fn is_in_transaction(&self) -> bool {
        self.transaction.borrow().is_some()
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// If one is open.
    pub fn begin(&self) -> Result<()> {
        if self.is_in_transaction() {
            return Err(Failure::usage("a transaction is open already").hint("commit or abort ends it"));
        }
        *self.transaction.borrow_mut() = Some(self.store.begin()?);
        Ok(())
    }

    /// Commits the transaction. It is over, whatever comes of it.
    ///
    /// # Errors
    /// A conflict; if none is open.
    pub fn commit(&self, durability: Durability) -> Result<Option<u64>> {
        let transaction = self.transaction.borrow_mut().take();
        transaction.ok_or_else(no_transaction)?.commit(durability)
    }

    /// Forgets the transaction.
    ///
    /// # Errors
    /// If none is open.
    pub fn abort(&self) -> Result<()> {
        self.transaction.borrow_mut().take().map(drop).ok_or_else(no_transaction)
    }

    /// A value, as the transaction sees it if one is open.
    ///
    /// # Errors
    /// Those of the store.
    pub fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if let Some(transaction) = &mut *self.transaction.borrow_mut() {
            return transaction.get(table, key);
        }
        Ok(self.store.document(table, key)?.and_then(|document| document.value))
    }

    /// Stores a value, now or with the transaction; `None` in the latter case.
    ///
    /// # Errors
    /// Those of the store.
    pub fn put(
        &self,
        table: &str,
        key: &[u8],
        value: &[u8],
        options: WriteOptions,
    ) -> Result<Option<Written>> {
        if let Some(transaction) = &mut *self.transaction.borrow_mut() {
            return transaction.put(table, key, value, options).map(|()| None);
        }
        self.store.put(table, key, &mut Cursor::new(value), options).map(Some)
    }

    /// Deletes a document, now or with the transaction. Whether it was there.
    ///
    /// # Errors
    /// Those of the store.
    pub fn delete(&self, table: &str, key: &[u8], options: WriteOptions) -> Result<Option<Option<Written>>> {
        if let Some(transaction) = &mut *self.transaction.borrow_mut() {
            let is_there = transaction.get(table, key)?.is_some();
            transaction.delete(table, key, options)?;
            return Ok(is_there.then_some(None));
        }
        Ok(self.store.delete(table, key, options)?.map(Some))
    }

    /// Goes through documents. In a transaction only keys and values are known of them.
    ///
    /// # Errors
    /// Those of the store.
    pub fn scan(&self, table: &str, range: &Range, each: &mut Each<'_, Document>) -> Result<()> {
        if !self.is_in_transaction() {
            return self.store.scan(table, range, each);
        }
        // The function may read and write within the transaction: it is not held while that runs.
        let found = match &mut *self.transaction.borrow_mut() {
            Some(transaction) => transaction.scan(table, range)?,
            None => Vec::new(),
        };
        for (key, value) in found {
            interrupt::check()?;
            let value = (!range.keys_only).then_some(value);
            let document = Document { key, value, version: 0, sequence: 0, time_ms: 0, expires_at_ms: None };
            if each(document)? == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }
}

fn no_transaction() -> Failure {
    Failure::new(Kind::Usage, "no transaction is open").hint("begin begins one")
}
