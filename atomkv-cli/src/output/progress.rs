//! How far long work is: a bar with rate and time left, on a terminal only.

use std::io::{self, IsTerminal};
use std::time::Duration;

use atomkv_engine::{Progress, Watcher};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::interrupt;

/// A bar on standard error. Gone when it is dropped.
pub struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// A bar with a word before it; hidden if nobody would see it.
    pub fn new(word: &'static str, is_quiet: bool) -> Bar {
        interrupt::listen();
        let is_hidden = is_quiet || !io::stderr().is_terminal();
        let target = if is_hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let template = "{spinner} {msg} {binary_bytes}, {binary_bytes_per_sec}, {elapsed}";
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = ProgressBar::with_draw_target(None, target).with_style(style).with_message(word);
        bar.enable_steady_tick(Duration::from_millis(120));
        Bar { bar }
    }

    /// Tells the bar what the engine tells, and the engine of Ctrl-C.
    pub fn watcher(&self) -> Watcher<'_> {
        Watcher::new(|progress| {
            self.show(progress);
            interrupt::flow()
        })
    }

    fn show(&self, progress: &Progress) {
        self.at(progress.bytes, progress.bytes_total);
    }

    /// So many bytes are done, of so many; 0 if that is not known.
    pub fn at(&self, bytes: u64, bytes_total: u64) {
        let total = (bytes_total > 0).then_some(bytes_total);
        if let Some(total) = total
            && self.bar.length() != total.into()
        {
            self.expect(total);
        }
        self.bar.set_position(bytes);
    }

    /// So many bytes there will be.
    pub fn expect(&self, total: u64) {
        let template = "{msg} [{bar:24}] {percent}% {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style.progress_chars("=> "));
        }
        self.bar.set_length(total);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
