//! The versions of the CNI specification and what each has.

use core::fmt;

/// A released version of the specification, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpecVersion {
    /// 0.1.0: results with one `ip4` and one `ip6`.
    V0_1_0,
    /// 0.2.0: adds VERSION.
    V0_2_0,
    /// 0.3.0: results with lists of interfaces, ips and routes.
    V0_3_0,
    /// 0.3.1.
    V0_3_1,
    /// 0.4.0: adds CHECK and passes the previous result to DEL.
    V0_4_0,
    /// 1.0.0: ips lose their `version`.
    V1_0_0,
    /// 1.1.0: adds STATUS and GC, and richer interfaces and routes.
    V1_1_0,
}

impl SpecVersion {
    /// Every version, oldest first.
    pub const ALL: [Self; 7] = [
        Self::V0_1_0,
        Self::V0_2_0,
        Self::V0_3_0,
        Self::V0_3_1,
        Self::V0_4_0,
        Self::V1_0_0,
        Self::V1_1_0,
    ];

    /// The newest version.
    pub const NEWEST: Self = Self::V1_1_0;

    /// What a configuration without `cniVersion` means.
    pub const UNSTATED: Self = Self::V0_1_0;

    /// Finds a version by its exact text: `1.0` is none.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == text)
    }

    /// The text, such as `1.1.0`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// Whether results hold lists of interfaces and addresses (from 0.3.0 on).
    pub fn has_lists(self) -> bool {
        self >= Self::V0_3_0
    }

    /// Whether each address of a result says its IP version (0.3.0 to 0.4.0).
    pub fn has_ip_version(self) -> bool {
        self.has_lists() && self < Self::V1_0_0
    }

    /// Whether interfaces carry `mtu`, `socketPath` and `pciID`: 1.1.0 names them, and the reference library
    /// has one type for 1.0.0 and 1.1.0.
    pub fn has_details(self) -> bool {
        self >= Self::V1_0_0
    }

    /// Whether CHECK exists (from 0.4.0 on).
    pub fn has_check(self) -> bool {
        self >= Self::V0_4_0
    }

    /// Whether STATUS and GC exist (from 1.1.0 on).
    pub fn has_status_and_gc(self) -> bool {
        self >= Self::V1_1_0
    }
}

impl fmt::Display for SpecVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_texts_are_versions() {
        for version in SpecVersion::ALL {
            assert_eq!(SpecVersion::parse(version.as_str()), Some(version));
        }
        for other in ["", "1.0", "v1.0.0", "1.2.0", "1.1.0 ", "0.5.0"] {
            assert_eq!(SpecVersion::parse(other), None, "{other:?}");
        }
    }

    #[test]
    fn versions_are_ordered() {
        assert!(SpecVersion::ALL.is_sorted());
        assert!(!SpecVersion::V0_3_1.has_check());
        assert!(SpecVersion::V0_4_0.has_check());
        assert!(!SpecVersion::V1_0_0.has_status_and_gc());
    }
}
