//! What the kernel refused, and in which words.

use core::fmt;
use std::io;

use nix::errno::Errno;

use crate::code::Code;
use crate::error::{Cause, Error as Reported};

/// A request that failed: what was being done, the error number, and the kernel's own sentence if it gave one.
///
/// Reads `create veth veth9f2c: mtu less than device minimum (EINVAL)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What was being done, such as `create veth veth9f2c`.
    pub doing: String,
    /// The error number, positive.
    pub errno: i32,
    /// The extended acknowledgement's sentence (`NLMSGERR_ATTR_MSG`, linux/netlink.h); empty when there is none.
    pub message: String,
    /// The module that would give this kernel the kind of link that was asked for; see [`Error::lacking_link_kind`].
    module: Option<String>,
}

impl Error {
    /// An error of the kernel with its extended acknowledgement, which may be empty.
    pub fn new(doing: impl Into<String>, errno: i32, message: impl Into<String>) -> Self {
        Self {
            doing: doing.into(),
            errno,
            message: message.into(),
            module: None,
        }
    }

    /// The failure of making a link of this kind, with the module that is needed if the kernel knows no such kind.
    ///
    /// `EOPNOTSUPP` alone does not say so: a device that cannot carry VLANs is refused with it as well. The kernel's
    /// sentence does, and before 4.20 only this refusal came without one.
    pub(super) fn lacking_link_kind(mut self, kind: &str) -> Self {
        let unknown = self.message.is_empty() || self.message == "Unknown device type";
        if self.errno == libc::EOPNOTSUPP && unknown {
            let module = module_of(kind);
            self.message =
                format!("this kernel has no links of type {kind}: the module {module} is needed");
            self.module = Some(module.to_owned());
        }
        self
    }

    /// Whether the kernel said what it refused, and not only that it did.
    pub(super) fn has_sentence(&self) -> bool {
        !self.message.is_empty()
    }

    /// The module that is needed, where the kernel lacks what was asked for.
    pub fn missing_module(&self) -> Option<&str> {
        self.module.as_deref()
    }

    /// A failed system call.
    pub fn system(doing: impl Into<String>, error: &io::Error) -> Self {
        Self::new(doing, error.raw_os_error().unwrap_or(libc::EIO), "")
    }

    /// An answer that makes no sense.
    pub fn protocol(doing: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(doing, libc::EPROTO, message)
    }

    /// Whether a thing of that name or address exists already (`EEXIST`).
    pub fn is_taken(&self) -> bool {
        self.errno == libc::EEXIST
    }

    /// Whether the kernel does not have what the socket, or a first question on it, is about.
    pub fn lacks_subsystem(&self) -> bool {
        [
            libc::EPROTONOSUPPORT,
            libc::EAFNOSUPPORT,
            libc::EOPNOTSUPP,
            libc::EINVAL,
            libc::ENOENT,
        ]
        .contains(&self.errno)
    }

    /// Whether the kernel, or the link, cannot do what was asked (`EOPNOTSUPP`).
    pub fn is_unsupported(&self) -> bool {
        self.errno == libc::EOPNOTSUPP
    }

    /// Whether the thing the request was about does not exist: a link (`ENODEV`), an nftables object (`ENOENT`),
    /// a route (`ESRCH`) or an address (`EADDRNOTAVAIL`).
    pub fn is_absent(&self) -> bool {
        matches!(
            self.errno,
            libc::ENODEV | libc::ENOENT | libc::ESRCH | libc::EADDRNOTAVAIL
        )
    }

    /// The sentence without the step: `mtu less than device minimum (EINVAL)`.
    fn sentence(&self) -> String {
        let errno = Errno::from_raw(self.errno);
        let words = match (self.message.trim_end_matches('.'), errno) {
            // Nothing else of rtnetlink fails with it (`find_portno`, net/bridge/br_if.c).
            ("", Errno::EXFULL) => {
                "the bridge has its 1023 ports, which are all it can have".to_owned()
            }
            ("", errno) => errno.desc().to_lowercase(),
            (words, _) => words.to_owned(),
        };
        if errno == Errno::UnknownErrno {
            format!("{words} (errno {})", self.errno)
        } else {
            format!("{words} ({errno:?})")
        }
    }
}

/// The module that brings a kind of link. Nearly always they have the same name.
fn module_of(kind: &str) -> &str {
    match kind {
        "vlan" => "8021q",
        "bond" => "bonding",
        "gretap" | "erspan" => "ip_gre",
        _ => kind,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.sentence())
    }
}

impl std::error::Error for Error {}

impl Cause for Error {
    /// [`Code::Kernel`], [`Code::Unsupported`] where a module is missing, or [`Code::TryAgain`] where the kernel
    /// itself says so. A caller that knows whose thing is in the way turns `EEXIST` into [`Code::Taken`].
    fn cause(self) -> Reported {
        let code = match self.errno {
            _ if self.module.is_some() => Code::Unsupported,
            libc::EBUSY | libc::EAGAIN | libc::EINTR | libc::ERESTART => Code::TryAgain,
            _ => Code::Kernel,
        };
        Reported::new(code, self.sentence()).at(self.doing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_sentence_is_kept() {
        let error = Error::new(
            "create veth veth9f2c",
            libc::EINVAL,
            "mtu less than device minimum",
        );
        assert_eq!(
            error.to_string(),
            "create veth veth9f2c: mtu less than device minimum (EINVAL)"
        );
        let reported = error.clone().cause();
        assert_eq!(reported.to_string(), error.to_string());
        assert_eq!(reported.code(), Code::Kernel);
    }

    #[test]
    fn without_a_sentence_the_error_number_speaks() {
        let error = Error::new("create bridge cni0", libc::EEXIST, "");
        assert_eq!(
            error.to_string(),
            "create bridge cni0: file exists (EEXIST)"
        );
        assert!(error.is_taken());
        let unknown = Error::new("x", 4095, "");
        assert_eq!(unknown.to_string(), "x: unknown errno (errno 4095)");
    }

    #[test]
    fn a_missing_kind_of_link_names_its_module() {
        for sentence in ["Unknown device type", ""] {
            let error = Error::new("create vlan eth0.5", libc::EOPNOTSUPP, sentence);
            let error = error.lacking_link_kind("vlan");
            assert_eq!(error.missing_module(), Some("8021q"));
            assert_eq!(
                error.to_string(),
                "create vlan eth0.5: this kernel has no links of type vlan: the module 8021q is needed (EOPNOTSUPP)"
            );
            assert_eq!(error.cause().code(), Code::Unsupported);
        }
    }

    #[test]
    fn another_refusal_of_a_link_stays_as_it_is() {
        for (errno, sentence) in [
            (libc::EOPNOTSUPP, "VLANs not supported on device"),
            (libc::EINVAL, ""),
        ] {
            let error = Error::new("create vlan eth0.5", errno, sentence);
            assert_eq!(error.clone().lacking_link_kind("vlan"), error);
            assert_eq!(error.missing_module(), None);
            assert_eq!(error.cause().code(), Code::Kernel);
        }
    }

    #[test]
    fn a_full_bridge_says_so() {
        let error = Error::new("create veth veth1", libc::EXFULL, "");
        assert!(
            error.to_string().contains("the bridge has its 1023 ports"),
            "{error}"
        );
    }

    #[test]
    fn what_may_pass_later_says_so() {
        assert_eq!(
            Error::new("x", libc::EBUSY, "").cause().code(),
            Code::TryAgain
        );
    }
}
