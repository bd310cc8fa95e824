//! dnsmasq as a DHCP server of a test, and nothing else.

use std::time::Duration;

use crate::{Node, Process};

const SOON: Duration = Duration::from_secs(30);

impl Node {
    /// dnsmasq on a link of this node, once it has printed `ready`; what it serves, the options say. It prints what it hears
    /// and answers, each line with the number of its exchange.
    #[track_caller]
    pub fn dnsmasq(&self, link: &str, options: &[&str], ready: &str) -> Process {
        let link = format!("--interface={link}");
        let usual = [
            "dnsmasq",
            "--no-daemon",
            "--conf-file=/dev/null",
            "--user=root",
            "--group=root",
            "--port=0",
            &link,
            "--bind-interfaces",
            "--no-ping",
            "--pid-file=",
            "--log-dhcp",
        ];
        let process = self.spawn([&usual, options].concat());
        process.until_output_has(ready, SOON);
        process
    }
}
