//! The error every plugin reports: the steps that led to it and the cause.

use core::fmt;
use std::io;

use crate::code::Code;

/// What went wrong: a code, the path of steps from the outermost in, and the cause.
///
/// It reads as one sentence: `attach c1/eth0 to cni0: create veth veth9f2c: mtu less than device minimum
/// (EINVAL)`. There is no `From` into it: whoever passes an error on says which step failed, with
/// [`Step::step`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    code: Code,
    steps: Vec<String>,
    cause: String,
    details: String,
    quoted: bool,
}

impl Error {
    /// An error with its cause, as one sentence without a full stop.
    pub fn new(code: Code, cause: impl Into<String>) -> Self {
        Self {
            code,
            steps: Vec::new(),
            cause: cause.into(),
            details: String::new(),
            quoted: false,
        }
    }

    /// An error in words that are not ours: the error result has them as they are, whatever the steps, for callers
    /// compare them. It reads with its steps everywhere else.
    pub fn quoted(code: Code, words: impl Into<String>) -> Self {
        Self {
            quoted: true,
            ..Self::new(code, words)
        }
    }

    /// Adds text for the `details` field of the error result.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// Replaces the code: for a caller that knows better what the failure means.
    #[must_use]
    pub fn with_code(mut self, code: Code) -> Self {
        self.code = code;
        self
    }

    /// Adds the step that failed, outside the steps there are.
    #[must_use]
    pub fn at(mut self, step: impl Into<String>) -> Self {
        self.steps.insert(0, step.into());
        self
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The text for the `msg` field of the error result.
    pub fn message(&self) -> String {
        if self.quoted {
            return self.cause.clone();
        }
        self.to_string()
    }

    /// The text for the `details` field; empty when there is none.
    pub fn details(&self) -> &str {
        &self.details
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            write!(f, "{step}: ")?;
        }
        f.write_str(&self.cause)
    }
}

impl std::error::Error for Error {}

/// An error of a lower layer that knows which code and cause it amounts to.
pub trait Cause {
    /// The error without a step.
    fn cause(self) -> Error;
}

impl Cause for Error {
    fn cause(self) -> Error {
        self
    }
}

impl Cause for io::Error {
    fn cause(self) -> Error {
        Error::new(Code::Io, self.to_string())
    }
}

/// Turns any result into one whose error names the step that failed.
pub trait Step<T> {
    /// Adds the step, built only on failure.
    fn step<S: Into<String>>(self, step: impl FnOnce() -> S) -> Result<T, Error>;
}

impl<T, E: Cause> Step<T> for Result<T, E> {
    fn step<S: Into<String>>(self, step: impl FnOnce() -> S) -> Result<T, Error> {
        self.map_err(|error| error.cause().at(step()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_from_the_outermost_in() {
        let inner: Result<(), Error> = Err(Error::new(Code::Kernel, "no space (ENOSPC)"));
        let outer = inner
            .step(|| "create veth veth0")
            .step(|| "attach c1 to cni0")
            .unwrap_err();
        assert_eq!(
            outer.to_string(),
            "attach c1 to cni0: create veth veth0: no space (ENOSPC)"
        );
        assert_eq!(outer.code(), Code::Kernel);
    }

    #[test]
    fn quoted_words_stand_alone_in_the_result() {
        let error = Error::quoted(Code::Delegate(11), "no address left").at("ipam");
        assert_eq!(error.message(), "no address left");
        assert_eq!(error.to_string(), "ipam: no address left");
        let own = Error::new(Code::Io, "no space").at("write x");
        assert_eq!(own.message(), own.to_string());
    }

    #[test]
    fn an_io_error_has_code_5() {
        let failed: Result<(), io::Error> = Err(io::Error::from(io::ErrorKind::NotFound));
        assert_eq!(failed.step(|| "read x").unwrap_err().code().number(), 5);
    }
}
