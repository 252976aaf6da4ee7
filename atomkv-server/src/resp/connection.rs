//! One connection: what it reads, runs and writes.
//!
//! All commands that have come together are run, and then answered by one write. What they have written is synced before:
//! once for all of them, and for all connections of the moment ([`SyncTurns`]). So nothing is acknowledged that is not on
//! stable storage, and a pipeline costs one sync.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::parse::{Parsed, Parser};
use super::session::{Session, Step};
use super::space::Space;
use crate::blocking::Syncs;

/// Replies are written when there are so many bytes of them, whatever else has come.
const FLUSH_BYTES: usize = 256 << 10;
/// What is read at once, at most, so that others have their turn.
const READ_BYTES_MAX: usize = 64 << 10;
const READ_BYTES_MIN: usize = 4 << 10;
/// A connection that has nothing to do keeps buffers up to this size.
const KEEP_BYTES: usize = 64 << 10;
/// Commands of so many words take no memory for them.
const FEW_WORDS: usize = 8;

type Waiter = oneshot::Sender<Result<(), Arc<str>>>;

/// Brings the connections of one thread together that wait for a sync: one of them is woken by another thread, and wakes the
/// others, which costs nothing.
#[derive(Clone)]
pub(super) struct SyncTurns(mpsc::UnboundedSender<Waiter>);

impl SyncTurns {
    /// Begins on the present runtime; ends with the last handle.
    pub(super) fn start(syncs: Syncs) -> SyncTurns {
        let (waiting, mut waiters) = mpsc::unbounded_channel::<Waiter>();
        tokio::spawn(async move {
            let mut group = Vec::new();
            while waiters.recv_many(&mut group, usize::MAX).await > 0 {
                let outcome = syncs.wait().await.map_err(|problem| Arc::from(problem.detail()));
                for waiter in group.drain(..) {
                    // It may have gone meanwhile.
                    let _ = waiter.send(outcome.clone());
                }
            }
        });
        SyncTurns(waiting)
    }

    /// Returns when everything that was written before is on stable storage.
    async fn wait(&self) -> Result<(), Arc<str>> {
        let ended = || Arc::from("the task that syncs has ended");
        let (waiter, done) = oneshot::channel();
        self.0.send(waiter).map_err(|_| ended())?;
        done.await.unwrap_or_else(|_| Err(ended()))
    }
}

/// See the module.
pub(super) struct Connection {
    stream: TcpStream,
    space: Arc<Space>,
    session: Session,
    syncs: SyncTurns,
    input: Vec<u8>,
    out: Vec<u8>,
    parser: Parser,
    commands: u64,
}

/// Whether the connection goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Closing,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, space: Arc<Space>, session: Session, syncs: SyncTurns) -> Self {
        let (input, out, parser) = (Vec::new(), Vec::new(), Parser::default());
        Connection { stream, space, session, syncs, input, out, parser, commands: 0 }
    }

    /// Answers until the client goes, or the service ends.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) async fn serve(mut self) -> io::Result<()> {
        let mut ending = self.space.app.ending.clone();
        let ended = ending.wait_for(|ending| *ending);
        tokio::pin!(ended);
        loop {
            let wanted = self.input.len().clamp(READ_BYTES_MIN, READ_BYTES_MAX);
            self.input.reserve(wanted);
            let read = tokio::select! {
                biased;
                read = self.stream.read_buf(&mut self.input) => read?,
                // What was read is answered; what is on its way is not.
                _ = &mut ended => 0,
            };
            if read == 0 {
                return Ok(());
            }
            let flow = self.run_all().await?;
            self.flush().await?;
            if flow == Flow::Closing {
                return self.stream.shutdown().await;
            }
            self.give_back();
        }
    }

    /// Runs all commands that are there.
    async fn run_all(&mut self) -> io::Result<Flow> {
        self.session.check_token();
        let (mut start, mut flow) = (0, Flow::On);
        while flow == Flow::On {
            let rest = self.input.get(start..).unwrap_or_default();
            match self.parser.parse(rest, self.session.limits()) {
                Ok(Parsed::Incomplete) => break,
                Ok(Parsed::Nothing(length)) => start += length,
                Ok(Parsed::Command(length)) => {
                    flow = self.run_one(start).await?;
                    start += length;
                    if self.out.len() >= FLUSH_BYTES {
                        self.flush().await?;
                    }
                }
                Err(text) => {
                    self.session.reply(&mut self.out).error(&format!("ERR {text}"));
                    flow = Flow::Closing;
                }
            }
        }
        self.input.drain(..start);
        Ok(flow)
    }

    /// Runs the command that was parsed, which begins here.
    async fn run_one(&mut self, start: usize) -> io::Result<Flow> {
        self.commands += 1;
        let step = {
            let input = self.input.get(start..).unwrap_or_default();
            let count = self.parser.len();
            let mut few = [&[][..]; FEW_WORDS];
            match few.get_mut(..count) {
                Some(words) => {
                    for (index, word) in words.iter_mut().enumerate() {
                        *word = self.parser.argument(input, index);
                    }
                    self.session.run(words, &mut self.out)
                }
                None => {
                    let words: Vec<&[u8]> =
                        (0..count).map(|index| self.parser.argument(input, index)).collect();
                    self.session.run(&words, &mut self.out)
                }
            }
        };
        match step {
            Step::Done => Ok(Flow::On),
            Step::Close => Ok(Flow::Closing),
            Step::Wait(job) => {
                let (reply, ran) =
                    tokio::task::spawn_blocking(|| job.run()).await.map_err(io::Error::other)?;
                self.session.take(ran);
                self.out.extend_from_slice(&reply);
                Ok(Flow::On)
            }
        }
    }

    /// Writes the replies, once what they acknowledge is on stable storage.
    async fn flush(&mut self) -> io::Result<()> {
        self.space.counts.commands.fetch_add(std::mem::take(&mut self.commands), Ordering::Relaxed);
        if std::mem::take(&mut self.session.has_written)
            && self.session.is_durable()
            && let Err(reason) = self.syncs.wait().await
        {
            // Which of them are true nobody knows: none is said.
            self.out.clear();
            let text = format!("ERR what was written may be lost, for it cannot be synced: {reason}");
            self.session.reply(&mut self.out).error(&text);
            self.stream.write_all(&self.out).await?;
            return Err(io::Error::other(text));
        }
        self.stream.write_all(&self.out).await?;
        self.out.clear();
        Ok(())
    }

    /// Gives back what an unusual command has taken.
    fn give_back(&mut self) {
        if self.input.is_empty() && self.input.capacity() > KEEP_BYTES {
            self.input = Vec::new();
        }
        if self.out.capacity() > KEEP_BYTES {
            self.out = Vec::new();
        }
        self.parser.shrink();
    }
}
