//! The error codes a plugin reports.

use core::fmt;

/// The code of a CNI error result.
///
/// 0 to 99 are the specification's (spec 1.1.0, section 5, "Error"); 100 and above are ours and the same in
/// every plugin. `docs/errors.md` explains each to an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// 1: the configuration's CNI version is not supported.
    IncompatibleVersion,
    /// 2: a known key asks for what this kernel or mode cannot do.
    Unsupported,
    /// 3: the container's namespace is gone; everything was undone and the runtime need not clean up.
    UnknownContainer,
    /// 4: a `CNI_*` variable is missing or impossible.
    Environment,
    /// 5: reading or writing failed.
    Io,
    /// 6: not JSON, or a value of the wrong JSON type.
    Decode,
    /// 7: a value or a combination of values that cannot be.
    InvalidConfig,
    /// 8: `CNI_NETNS` is the namespace the plugin itself runs in.
    OwnNamespace,
    /// 11: the same call may succeed a little later.
    TryAgain,
    /// 50: STATUS: an ADD could not be served.
    NotAvailable,
    /// 51: STATUS: an ADD could not be served, and containers attached already suffer.
    LimitedConnectivity,
    /// 100: the kernel refused; the message has its error name and its own sentence.
    Kernel,
    /// 101: a name, address or device is taken by someone else.
    Taken,
    /// 102: CHECK found something else than ADD left.
    Drift,
    /// 103: no DHCP server answered.
    NoDhcp,
    /// 104: a DHCP server refused.
    DhcpRefused,
    /// The code that a delegated plugin reported.
    Delegate(u32),
}

impl Code {
    /// The number that stands in the error result.
    pub fn number(self) -> u32 {
        match self {
            Self::IncompatibleVersion => 1,
            Self::Unsupported => 2,
            Self::UnknownContainer => 3,
            Self::Environment => 4,
            Self::Io => 5,
            Self::Decode => 6,
            Self::InvalidConfig => 7,
            Self::OwnNamespace => 8,
            Self::TryAgain => 11,
            Self::NotAvailable => 50,
            Self::LimitedConnectivity => 51,
            Self::Kernel => 100,
            Self::Taken => 101,
            Self::Drift => 102,
            Self::NoDhcp => 103,
            Self::DhcpRefused => 104,
            Self::Delegate(number) => number,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}
