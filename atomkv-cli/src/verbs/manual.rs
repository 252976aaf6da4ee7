//! Shell completions and manual pages, made from the command line itself.

use std::path::Path;

use clap::CommandFactory;

use crate::arguments::Arguments;
use crate::failure::{Failure, Result};
use crate::output::Output;

pub(super) fn completions(shell: clap_complete::Shell, output: &mut Output) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "atomkv", &mut script);
    output.bytes(&script)
}

pub(super) fn man(directory: Option<&Path>, output: &mut Output) -> Result<()> {
    match directory {
        Some(directory) => {
            std::fs::create_dir_all(directory).map_err(|error| Failure::file("create", directory, &error))?;
            clap_mangen::generate_to(Arguments::command(), directory)
                .map_err(|error| Failure::file("write to", directory, &error))
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Arguments::command()).render(&mut page)?;
            output.bytes(&page)
        }
    }
}
