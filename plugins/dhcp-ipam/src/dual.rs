//! Two families in one ADD: when there is enough to answer.

use cni_common::code::Code;
use cni_common::error::Error;

/// Which families an ADD must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Require {
    /// All that are asked for.
    #[default]
    All,
    /// One, whichever it is.
    Any,
    /// IPv4; IPv6 where it comes in time.
    Ipv4,
    /// IPv6; IPv4 where it comes in time.
    Ipv6,
}

impl Require {
    pub(crate) const ALL: [Self; 4] = [Self::All, Self::Any, Self::Ipv4, Self::Ipv6];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Any => "any",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == text)
    }
}

/// What one family has come to.
#[derive(Clone, Debug)]
pub(crate) enum Part<T> {
    /// Nobody asked for it.
    Off,
    /// It is being waited for.
    Waits,
    /// Here it is.
    Has(T),
    /// It failed.
    Failed(Error),
}

impl<T> Part<T> {
    fn waits(&self) -> bool {
        matches!(self, Self::Waits)
    }

    fn has(&self) -> bool {
        matches!(self, Self::Has(_))
    }

    fn error(&self) -> Option<&Error> {
        match self {
            Self::Failed(error) => Some(error),
            Self::Off | Self::Waits | Self::Has(_) => None,
        }
    }

    /// What it has.
    pub(crate) fn got(&self) -> Option<&T> {
        match self {
            Self::Has(got) => Some(got),
            Self::Off | Self::Waits | Self::Failed(_) => None,
        }
    }
}

/// What to do about an ADD.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// Too early to say.
    Wait,
    /// What is needed is there, and the rest may come for a little longer.
    Grace,
    /// Answer with what there is.
    Answer,
    /// It cannot be.
    Fail(Error),
}

/// Decides; `patient` as long as families that are not required are waited for.
pub(crate) fn decide<A, B>(v4: &Part<A>, v6: &Part<B>, require: Require, patient: bool) -> Verdict {
    let needs_v4 = matches!(require, Require::All | Require::Ipv4) && !matches!(v4, Part::Off);
    let needs_v6 = matches!(require, Require::All | Require::Ipv6) && !matches!(v6, Part::Off);
    let both_failed =
        |one: &Error, other: &Error| Error::new(one.code(), format!("IPv4: {one}; IPv6: {other}"));
    match (v4.error(), v6.error()) {
        (Some(one), Some(other)) => return Verdict::Fail(both_failed(one, other)),
        (Some(error), None) if needs_v4 || matches!(v6, Part::Off) => {
            return Verdict::Fail(error.clone());
        }
        (None, Some(error)) if needs_v6 || matches!(v4, Part::Off) => {
            return Verdict::Fail(error.clone());
        }
        _ => {}
    }
    let enough = (!needs_v4 || v4.has()) && (!needs_v6 || v6.has()) && (v4.has() || v6.has());
    let more_may_come = v4.waits() || v6.waits();
    match (enough, more_may_come) {
        (true, true) if patient => Verdict::Grace,
        (true, _) => Verdict::Answer,
        (false, true) => Verdict::Wait,
        (false, false) => Verdict::Fail(Error::new(
            Code::NoDhcp,
            "neither IPv4 nor IPv6 is to come from here",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<Part<()>> {
        let one = |c: char| match c {
            'o' => Part::Off,
            'w' => Part::Waits,
            'h' => Part::Has(()),
            _ => Part::Failed(Error::new(Code::NoDhcp, format!("no {c}"))),
        };
        text.chars().map(one).collect()
    }

    /// `w`ait, `g`race, `a`nswer, `f`ail.
    fn verdict(text: &str, require: Require, patient: bool) -> char {
        let parts = parts(text);
        match decide(&parts[0], &parts[1], require, patient) {
            Verdict::Wait => 'w',
            Verdict::Grace => 'g',
            Verdict::Answer => 'a',
            Verdict::Fail(_) => 'f',
        }
    }

    #[test]
    fn one_family_alone_is_what_it_comes_to() {
        for require in Require::ALL {
            for (parts, expected) in [
                ("wo", 'w'),
                ("ho", 'a'),
                ("fo", 'f'),
                ("ow", 'w'),
                ("oh", 'a'),
                ("of", 'f'),
            ] {
                assert_eq!(
                    verdict(parts, require, true),
                    expected,
                    "{parts} {require:?}"
                );
            }
        }
    }

    #[test]
    fn each_policy_has_its_table() {
        // Columns: all, any, ipv4, ipv6.
        for (parts, expected) in [
            ("ww", "wwww"),
            ("hh", "aaaa"),
            ("ff", "ffff"),
            ("hw", "wggw"),
            ("wh", "wgwg"),
            ("hf", "faaf"),
            ("fh", "fafa"),
            ("fw", "fwfw"),
            ("wf", "fwwf"),
        ] {
            let found: String = Require::ALL
                .map(|require| verdict(parts, require, true))
                .iter()
                .collect();
            assert_eq!(found, expected, "{parts}");
        }
    }

    #[test]
    fn patience_has_an_end() {
        assert_eq!(verdict("hw", Require::Any, false), 'a');
        assert_eq!(verdict("wh", Require::Ipv6, false), 'a');
        // What is required is waited for longer.
        assert_eq!(verdict("hw", Require::All, false), 'w');
    }

    #[test]
    fn what_failed_is_named() {
        let parts = parts("xy");
        let verdict = decide(&parts[0], &parts[1], Require::Any, true);
        let Verdict::Fail(error) = verdict else {
            panic!("{verdict:?}")
        };
        assert_eq!(error.to_string(), "IPv4: no x; IPv6: no y");
    }
}
