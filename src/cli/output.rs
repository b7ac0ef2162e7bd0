//! Standard output of a command, read by somebody who may have had enough (`plumbline settings | head -1`).

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind, StdoutLock, Write};

/// Standard output. Where nobody reads it any more, writing fails with [`ReaderGone`] inside.
pub(super) struct Output(StdoutLock<'static>);

/// Nobody reads what is written. Known by its type: sockets have broken pipes, too, and those are failures.
#[derive(Debug)]
pub(super) struct ReaderGone;

impl fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads standard output any more")
    }
}

impl Error for ReaderGone {}

/// Standard output, for one writer at a time.
pub(super) fn output() -> Output {
    Output(io::stdout().lock())
}

fn named(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::BrokenPipe { io::Error::new(ErrorKind::BrokenPipe, ReaderGone) } else { error }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(named)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(named)
    }
}

/// True for an error that says just that whoever read the output has had enough.
pub(super) fn is_reader_gone(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.is::<ReaderGone>()
            || cause
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref)
                .is_some_and(|inner| inner.is::<ReaderGone>())
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn only_the_pipe_of_standard_output_counts() {
        let gone = anyhow::Error::from(named(ErrorKind::BrokenPipe.into()));
        assert!(is_reader_gone(&gone));
        assert!(is_reader_gone(&Err::<(), _>(named(ErrorKind::BrokenPipe.into())).context("printing").unwrap_err()));
        assert!(!is_reader_gone(&anyhow::Error::from(io::Error::from(ErrorKind::BrokenPipe))), "a socket");
        assert!(!is_reader_gone(&anyhow::Error::from(named(ErrorKind::StorageFull.into()))));
    }
}
