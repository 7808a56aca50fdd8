//! Standard output for answers: locked and buffered, and a reader that has seen enough (`| head`) is no failure.
use super::context::Exit;
use std::io::{self, BufWriter, ErrorKind, Write};

/// Runs `answer` with standard output.
pub fn to_stdout(answer: impl FnOnce(&mut dyn Write) -> anyhow::Result<Exit>) -> anyhow::Result<Exit> {
    to(&mut BufWriter::with_capacity(64 << 10, io::stdout().lock()), answer)
}

/// Runs `answer` with `out`. A reader that went away ends it, well done.
pub fn to(out: &mut dyn Write, answer: impl FnOnce(&mut dyn Write) -> anyhow::Result<Exit>) -> anyhow::Result<Exit> {
    let answered = answer(out).and_then(|exit| {
        out.flush()?;
        Ok(exit)
    });
    match answered {
        Err(error) if is_broken_pipe(&error) => Ok(Exit::Done),
        answered => answered,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe whose reader leaves after some bytes.
    struct Pipe(usize);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_leaves_is_no_failure_and_anything_else_is() {
        let many = |out: &mut dyn Write| {
            for _ in 0..1_000 {
                writeln!(out, "a line of an answer")?;
            }
            Ok(Exit::Findings)
        };
        assert_eq!(to(&mut Pipe(50), many).expect("no failure"), Exit::Done);
        assert_eq!(to(&mut BufWriter::new(Pipe(50)), many).expect("no failure"), Exit::Done);
        assert_eq!(to(&mut Pipe(1 << 20), many).expect("no failure"), Exit::Findings);
        assert!(to(&mut Pipe(50), |_| anyhow::bail!("broken")).is_err());
    }
}
