//! Why something with a topology failed, as one sentence: the steps from the outermost in, then the cause.

use core::fmt;

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    /// An error with its cause.
    pub fn new(cause: impl Into<String>) -> Self {
        Self(cause.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// Turns any result into one whose error names the step that failed.
pub(crate) trait At<T> {
    /// Adds the step, built only on failure.
    fn at(self, step: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T, E: fmt::Display> At<T> for Result<T, E> {
    fn at(self, step: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|cause| Error(format!("{}: {cause}", step())))
    }
}
