//! What happened since the daemon began, counted, in the text form of Prometheus.

use core::fmt::Write;
use std::collections::BTreeMap;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Counter {
    /// Messages that clients sent.
    Sent,
    /// Messages of servers that were of use.
    Received,
    /// Packets that were not, by reason.
    Ignored,
    /// Leases that a server gave or prolonged, and those that ended.
    Leases,
    /// Questions of plugins and people.
    Requests,
    /// What went wrong.
    Failures,
    /// Events told to programs and watchers, and those that could not be.
    Events,
}

impl Counter {
    /// Name, label, and what it counts.
    fn described(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Sent => ("messages_sent", "type", "DHCP messages sent"),
            Self::Received => (
                "messages_received",
                "type",
                "DHCP messages of servers that were taken",
            ),
            Self::Ignored => (
                "packets_ignored",
                "reason",
                "Packets that were not taken, and why",
            ),
            Self::Leases => ("lease_events", "event", "What happened to leases"),
            Self::Requests => ("requests", "do", "Questions on the control socket"),
            Self::Failures => ("failures", "of", "What went wrong"),
            Self::Events => ("events", "outcome", "Events for programs and watchers"),
        }
    }
}

/// The counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters(BTreeMap<(Counter, &'static str), u64>);

impl Counters {
    /// One more. Labels are words of this program, never of a packet: there is a bound to their number.
    pub(super) fn count(&mut self, counter: Counter, label: &'static str) {
        let value = self.0.entry((counter, label)).or_default();
        *value = value.saturating_add(1);
    }

    /// The text, with `states`: how many leases are in each.
    pub(super) fn to_text(&self, states: &BTreeMap<&'static str, u64>) -> String {
        let mut text = String::new();
        let mut before = None;
        for ((counter, label), value) in &self.0 {
            let (name, key, help) = counter.described();
            if before != Some(*counter) {
                head(&mut text, &format!("{name}_total"), help, "counter");
                before = Some(*counter);
            }
            // Writing to a string does not fail.
            let _ = writeln!(text, "dhcp_ipam_{name}_total{{{key}=\"{label}\"}} {value}");
        }
        head(
            &mut text,
            "leases",
            "Attachments by the state of their client",
            "gauge",
        );
        for (state, count) in states {
            let _ = writeln!(text, "dhcp_ipam_leases{{state=\"{state}\"}} {count}");
        }
        text
    }
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(text, "# HELP dhcp_ipam_{name} {help}.");
    let _ = writeln!(text, "# TYPE dhcp_ipam_{name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_has_one_head_and_a_line_for_each_label() {
        let mut counters = Counters::default();
        counters.count(Counter::Ignored, "short");
        counters.count(Counter::Sent, "discover");
        counters.count(Counter::Ignored, "short");
        counters.count(Counter::Ignored, "no-server");
        let text = counters.to_text(&BTreeMap::from([("BOUND", 3)]));
        assert_eq!(
            text,
            "# HELP dhcp_ipam_messages_sent_total DHCP messages sent.
# TYPE dhcp_ipam_messages_sent_total counter
dhcp_ipam_messages_sent_total{type=\"discover\"} 1
# HELP dhcp_ipam_packets_ignored_total Packets that were not taken, and why.
# TYPE dhcp_ipam_packets_ignored_total counter
dhcp_ipam_packets_ignored_total{reason=\"no-server\"} 1
dhcp_ipam_packets_ignored_total{reason=\"short\"} 2
# HELP dhcp_ipam_leases Attachments by the state of their client.
# TYPE dhcp_ipam_leases gauge
dhcp_ipam_leases{state=\"BOUND\"} 3
"
        );
    }
}
