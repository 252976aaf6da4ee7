//! One connection: what it reads, runs and writes.
//!
//! All commands that have come together are run, and then answered by one write. What they have written is synced before:
//! once for all of them, and for all connections of the moment ([`SyncTurns`]). So nothing is acknowledged that is not on
//! stable storage, and a pipeline costs one sync.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::figures::{ThreadFigures, UNKNOWN};
use super::parse::{Parsed, Parser};
use super::session::{Session, Step};
use super::space::Space;
use crate::blocking::Syncs;

/// Replies are written when there are so many bytes of them, whatever else has come.
const FLUSH_BYTES: usize = 256 << 10;
/// What is read at once, at most, so that others have their turn.
const READ_BYTES_MAX: usize = 64 << 10;
/// A connection that has nothing to do keeps buffers up to this size.
const KEEP_BYTES: usize = 16 << 10;
/// Commands of so many words take no memory for them.
const FEW_WORDS: usize = 8;

thread_local! {
    /// What all connections of a thread read into, one after the other: so it stays in the processor's caches, and those that
    /// are idle need no memory for what may come.
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES_MAX]);
}

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
    figures: Arc<ThreadFigures>,
    input: Vec<u8>,
    out: Vec<u8>,
    parser: Parser,
}

/// Whether the connection goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Closing,
}

/// Waits for a client no longer than that, if there is a limit.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`]; those of what is waited for.
async fn within<T>(
    patience: Option<Duration>,
    awaited: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    match patience {
        None => awaited.await,
        Some(patience) => tokio::time::timeout(patience, awaited).await?,
    }
}

impl Connection {
    pub(super) fn new(
        stream: TcpStream,
        space: Arc<Space>,
        session: Session,
        syncs: SyncTurns,
        figures: Arc<ThreadFigures>,
    ) -> Self {
        let (input, out, parser) = (Vec::new(), Vec::new(), Parser::default());
        Connection { stream, space, session, syncs, figures, input, out, parser }
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
            let patience = self.patience();
            let read = async {
                tokio::select! {
                    biased;
                    read = self.read() => read,
                    // What was read is answered; what is on its way is not.
                    _ = &mut ended => Ok(0),
                }
            };
            if within(patience, read).await? == 0 {
                return Ok(());
            }
            let began = Instant::now();
            self.session.check_token(began);
            let flow = self.run_all().await?;
            self.flush().await?;
            self.space.app.metrics.redis_seconds.observe(began.elapsed().as_secs_f64());
            if flow == Flow::Closing {
                return self.stream.shutdown().await;
            }
            self.give_back();
        }
    }

    /// How long the client may take for what comes next: it may be idle for ever, but not leave a command half sent, nor its
    /// name unsaid.
    fn patience(&self) -> Option<Duration> {
        let limit = self.time_limit()?;
        match self.session.stranger_since() {
            Some(began) => Some(limit.saturating_sub(began.elapsed())),
            None => Some(limit).filter(|_| !self.input.is_empty()),
        }
    }

    fn time_limit(&self) -> Option<Duration> {
        match self.space.app.config.request_timeout_ms {
            0 => None,
            limit_ms => Some(Duration::from_millis(limit_ms)),
        }
    }

    /// Reads what is there, behind what was there before; returns how much, which is 0 at the end.
    async fn read(&mut self) -> io::Result<usize> {
        let (stream, input) = (&mut self.stream, &mut self.input);
        poll_fn(|context| {
            READ.with_borrow_mut(|buffer| {
                let mut buffer = ReadBuf::new(buffer);
                match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                    Poll::Ready(Ok(())) => {
                        input.extend_from_slice(buffer.filled());
                        Poll::Ready(Ok(buffer.filled().len()))
                    }
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Pending => Poll::Pending,
                }
            })
        })
        .await
    }

    /// Runs all commands that are there.
    async fn run_all(&mut self) -> io::Result<Flow> {
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
                    self.figures.note(UNKNOWN, true);
                    flow = Flow::Closing;
                }
            }
        }
        self.input.drain(..start);
        Ok(flow)
    }

    /// Runs the command that was parsed, which begins here.
    async fn run_one(&mut self, start: usize) -> io::Result<Flow> {
        let answer = self.out.len();
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
        let flow = match step {
            Step::Done => Flow::On,
            Step::Close => Flow::Closing,
            Step::Wait(job) => {
                let (reply, ran) =
                    tokio::task::spawn_blocking(|| job.run()).await.map_err(io::Error::other)?;
                self.session.take(ran);
                self.out.extend_from_slice(&reply);
                Flow::On
            }
        };
        self.figures.note(self.session.command, self.out.get(answer) == Some(&b'-'));
        Ok(flow)
    }

    /// Writes the replies, once what they acknowledge is on stable storage.
    async fn flush(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.session.has_written)
            && self.session.is_durable()
            && let Err(reason) = self.syncs.wait().await
        {
            // Which of them are true nobody knows: none is said.
            self.out.clear();
            let text = format!("ERR what was written may be lost, for it cannot be synced: {reason}");
            self.session.reply(&mut self.out).error(&text);
            self.send().await?;
            return Err(io::Error::other(text));
        }
        self.send().await
    }

    /// Gives the replies to the system; waits for a client that does not take them as long as for one that sends nothing.
    async fn send(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while let Some(rest) = self.out.get(sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.try_write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => sent += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    within(self.time_limit(), self.stream.writable()).await?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
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
