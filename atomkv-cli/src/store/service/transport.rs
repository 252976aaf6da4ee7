//! Waiting that Ctrl-C ends: what lies between the socket and everything above it.

use std::time::{Duration, Instant};

use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};
use ureq::{Error, Timeout};

use crate::interrupt;

/// How long is waited before it is looked whether somebody has pressed Ctrl-C.
const LOOK: Duration = Duration::from_millis(200);

/// Makes what it stands behind in a chain of connectors patient.
#[derive(Debug)]
pub(super) struct PatientConnector;

impl<In: Transport> Connector<In> for PatientConnector {
    type Out = Patient<In>;

    fn connect(
        &self,
        _details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Patient<In>>, Error> {
        Ok(chained.map(Patient))
    }
}

/// A connection that waits in short pieces.
#[derive(Debug)]
pub(super) struct Patient<In>(In);

impl<In: Transport> Transport for Patient<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        check()?;
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        let begin = Instant::now();
        loop {
            check()?;
            let left = timeout.after.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return Err(Error::Timeout(timeout.reason));
            }
            let piece = NextTimeout { after: left.min(LOOK).into(), ..timeout };
            match self.0.await_input(piece) {
                Err(Error::Timeout(_)) => {}
                outcome => return outcome,
            }
        }
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }
}

fn check() -> Result<(), Error> {
    // Whoever sees this error looks why.
    if interrupt::is_asked() { Err(Error::Timeout(Timeout::Global)) } else { Ok(()) }
}
