//! Debian's firewalld on a test's host, with a message bus of its own.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::{Host, Process, until};

const LONG: Duration = Duration::from_secs(90);

const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
  </policy>
</busconfig>
"#;

/// A firewalld that runs until this value is dropped.
#[derive(Debug)]
pub struct Firewalld {
    daemon: Option<Process>,
    _bus: Process,
}

impl Firewalld {
    /// Starts it on a host, and waits until it answers.
    #[track_caller]
    pub fn start(host: &Host) -> Self {
        fs::create_dir("/run/dbus").unwrap();
        fs::write("/run/dbus/bus.conf", BUS).unwrap();
        let bus = host.spawn([
            "dbus-daemon",
            "--config-file=/run/dbus/bus.conf",
            "--nofork",
            "--nopidfile",
        ]);
        let listens = || Path::new("/run/dbus/system_bus_socket").exists();
        assert!(until(LONG, listens));
        let daemon = host.spawn(["firewalld", "--nofork", "--nopid"]);
        let runs = || {
            let asked = host.try_exec(["firewall-cmd", "--state"]);
            asked.status.success()
        };
        assert!(until(LONG, runs), "firewalld does not start");
        Self {
            daemon: Some(daemon),
            _bus: bus,
        }
    }

    /// Ends the daemon and leaves its rules and the bus.
    pub fn stop(&mut self) {
        self.daemon = None;
    }
}
