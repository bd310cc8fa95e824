//! `CNI_ARGS`: extra arguments of a call, `KEY=VALUE` separated by `;`.

use crate::code::Code;
use crate::error::Error;

/// Keys that every plugin of the suite knows, because runtimes pass one and the same `CNI_ARGS` to a plugin and
/// to the IPAM plugin it executes.
const KNOWN: [&str; 8] = [
    "IgnoreUnknown",
    "IP",
    "GATEWAY",
    "MAC",
    "K8S_POD_NAME",
    "K8S_POD_NAMESPACE",
    "K8S_POD_INFRA_CONTAINER_ID",
    "K8S_POD_UID",
];

/// The arguments in the order they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CniArgs {
    pairs: Vec<(String, String)>,
    malformed: Vec<String>,
}

impl CniArgs {
    /// Splits the text at `;` and each piece at its first `=`; empty pieces are passed over.
    ///
    /// A piece without `=` is kept as malformed and reported by [`CniArgs::check`] alone, so that a plugin
    /// that reads no arguments does not fail for them.
    pub fn parse(text: &str) -> Self {
        let mut args = Self::default();
        for piece in text.split(';').filter(|piece| !piece.is_empty()) {
            match piece.split_once('=') {
                Some((key, value)) if !key.is_empty() => {
                    args.pairs.push((key.to_owned(), value.to_owned()));
                }
                _ => args.malformed.push(piece.to_owned()),
            }
        }
        args
    }

    /// The value of a key, which is case-sensitive; of duplicates the last; the empty value is absent.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs
            .iter()
            .rfind(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Keys and values as given.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Refuses malformed pieces and, unless `IgnoreUnknown` is set, keys that neither the suite nor `own`
    /// knows.
    ///
    /// # Errors
    /// Code 4 naming every such piece and key.
    pub fn check(&self, own: &[&str]) -> Result<(), Error> {
        let mut faults: Vec<String> = self
            .malformed
            .iter()
            .map(|piece| format!("{piece:?} is not KEY=VALUE"))
            .collect();
        if !self.ignores_unknown() {
            faults.extend(
                self.pairs
                    .iter()
                    .filter(|(key, _)| {
                        !KNOWN.contains(&key.as_str()) && !own.contains(&key.as_str())
                    })
                    .map(|(key, _)| format!("key {key:?} is unknown (IgnoreUnknown=1 accepts it)")),
            );
        }
        if faults.is_empty() {
            return Ok(());
        }
        Err(Error::new(
            Code::Environment,
            format!("CNI_ARGS: {}", faults.join("; ")),
        ))
    }

    /// The text for the IPAM plugin, where it is to differ: with `IgnoreUnknown=1` before keys that are all the suite's. The
    /// reference plugins do not know each other's keys: `MAC` would fail `host-local`.
    pub fn for_delegate(&self) -> Option<String> {
        let of_suite = |(key, _): &(String, String)| KNOWN.contains(&key.as_str());
        let change = !self.pairs.is_empty()
            && self.malformed.is_empty()
            && !self.ignores_unknown()
            && self.pairs.iter().all(of_suite);
        change.then(|| {
            let pairs = self
                .pairs
                .iter()
                .map(|(key, value)| format!(";{key}={value}"));
            format!("IgnoreUnknown=1{}", pairs.collect::<String>())
        })
    }

    fn ignores_unknown(&self) -> bool {
        self.get("IgnoreUnknown")
            .is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_hold_an_equals_sign_and_be_empty() {
        let args = CniArgs::parse("IP=10.0.0.1;X=a=b;K8S_POD_NAME=;IgnoreUnknown=1;");
        assert_eq!(args.get("IP"), Some("10.0.0.1"));
        assert_eq!(args.get("X"), Some("a=b"));
        assert_eq!(args.get("K8S_POD_NAME"), None);
        assert_eq!(args.get("ip"), None, "keys are case-sensitive");
        assert_eq!(args.check(&[]), Ok(()));
    }

    #[test]
    fn an_ipam_plugin_may_know_fewer_keys_but_others_are_for_it_to_judge() {
        let given = |text: &str| CniArgs::parse(text).for_delegate();
        let told = "IgnoreUnknown=1;MAC=02:00:00:00:00:01;IP=10.0.0.1";
        assert_eq!(
            given("MAC=02:00:00:00:00:01;IP=10.0.0.1;").as_deref(),
            Some(told)
        );
        for as_it_is in [
            "",
            "MAC=02:00:00:00:00:01;COLOUR=red",
            "MAC;IP=10.0.0.1",
            told,
        ] {
            assert_eq!(given(as_it_is), None, "{as_it_is}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_unless_told_otherwise() {
        let refused = CniArgs::parse("FOO=1;MAC=02:00:00:00:00:01")
            .check(&[])
            .unwrap_err();
        assert_eq!(refused.code(), Code::Environment);
        assert!(refused.to_string().contains("\"FOO\""), "{refused}");
        for accepting in ["FOO=1;IgnoreUnknown=1", "IgnoreUnknown=True;FOO=1"] {
            assert_eq!(CniArgs::parse(accepting).check(&[]), Ok(()), "{accepting}");
        }
        assert_eq!(CniArgs::parse("FOO=1").check(&["FOO"]), Ok(()));
    }

    #[test]
    fn a_piece_without_a_key_is_refused() {
        let refused = CniArgs::parse("IgnoreUnknown=1;foo;=x")
            .check(&[])
            .unwrap_err();
        assert!(
            refused.to_string().contains("\"foo\" is not KEY=VALUE"),
            "{refused}"
        );
        assert!(
            refused.to_string().contains("\"=x\" is not KEY=VALUE"),
            "{refused}"
        );
    }
}
