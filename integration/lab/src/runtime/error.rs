//! What can go wrong when a network is set up, checked or torn down.

use core::fmt;

/// A plugin said no: its error result, or what it left on stderr where it gave none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `CNI_COMMAND` of the call.
    pub command: &'static str,
    /// The `type` of the plugin.
    pub plugin: String,
    /// `code` of the error result; `None` where the plugin printed no valid error result.
    pub code: Option<u64>,
    /// `msg` of the error result.
    pub message: String,
    /// `details` of the error result; empty when there are none.
    pub details: String,
    /// All that the plugin wrote to stderr.
    pub stderr: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.plugin, self.command, self.message)?;
        if !self.details.is_empty() {
            write!(f, "; {}", self.details)?;
        }
        if let Some(code) = self.code {
            write!(f, " (code {code})")?;
        }
        let stderr = self.stderr.trim();
        if !stderr.is_empty() && !self.message.contains(stderr) {
            write!(f, "\nstderr of {}: {stderr}", self.plugin)?;
        }
        Ok(())
    }
}

/// Why an operation on a network failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A configuration that is not valid: every problem found, one sentence each.
    Config(Vec<String>),
    /// A plugin reported an error.
    Plugin(Box<Failure>),
    /// A plugin broke the protocol: it printed something else than it owes.
    Protocol(String),
    /// The runtime itself failed: a plugin is missing, the cache cannot be written.
    Runtime(String),
    /// Several operations failed, and all were tried (GC).
    Several(Vec<Error>),
}

impl Error {
    /// The error code of the plugin, when a plugin gave one.
    pub fn code(&self) -> Option<u64> {
        match self {
            Self::Plugin(failure) => failure.code,
            Self::Several(errors) => errors.iter().find_map(Self::code),
            Self::Config(_) | Self::Protocol(_) | Self::Runtime(_) => None,
        }
    }

    pub(super) fn runtime(step: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::Runtime(format!("{step}: {cause}"))
    }

    /// One error for all of them; `Ok` when there is none.
    pub(super) fn collect(mut errors: Vec<Self>) -> Result<(), Self> {
        match errors.len() {
            0 => Ok(()),
            1 => errors.pop().map_or(Ok(()), Err),
            _ => Err(Self::Several(errors)),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problems) => f.write_str(&problems.join("; ")),
            Self::Plugin(failure) => write!(f, "{failure}"),
            Self::Protocol(what) | Self::Runtime(what) => f.write_str(what),
            Self::Several(errors) => {
                for (index, error) in errors.iter().enumerate() {
                    if index > 0 {
                        f.write_str("; ")?;
                    }
                    write!(f, "{error}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Error {}
