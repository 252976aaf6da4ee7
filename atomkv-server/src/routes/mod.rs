//! The resources, each in a module of its own.

pub(crate) mod batch;
pub(crate) mod compatibility;
pub(crate) mod console;
pub(crate) mod documents;
pub(crate) mod health;
pub(crate) mod identity;
pub(crate) mod lines;
pub(crate) mod list;
pub(crate) mod operations;
pub(crate) mod pages;
pub(crate) mod tables;
pub(crate) mod transfer;
pub(crate) mod watch;
