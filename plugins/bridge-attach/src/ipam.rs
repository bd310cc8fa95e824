//! The IPAM plugin's part of an attachment.

use cni_common::code::Code;
use cni_common::delegate::{Delegate, Running};
use cni_common::env::Command;
use cni_common::error::Error;
use cni_common::log;
use cni_common::plugin::Call;
use cni_common::result::Attachment;

use crate::config::Config;
use crate::plan::Plan;

/// IPAM plugins that never look at the link, so that they can work while it is made or deleted. Others may run DHCP
/// over it.
const NEED_NO_LINK: [&str; 4] = ["static-ipam", "static", "host-local", "whereabouts"];

/// Whether a plugin may need the link to be there, and up.
pub(crate) fn needs_link(delegate: &Delegate) -> bool {
    !NEED_NO_LINK.contains(&delegate.name())
}

/// The IPAM plugin's part.
pub(crate) struct Ipam<'a> {
    call: &'a Call<Config>,
    delegate: Option<&'a Delegate>,
    running: Option<Running<'a>>,
    started: bool,
    plan: Option<Plan>,
}

impl<'a> Ipam<'a> {
    /// Starts the plugin where it needs no link.
    pub(crate) fn new(
        call: &'a Call<Config>,
        delegate: Option<&'a Delegate>,
    ) -> Result<Self, Error> {
        let mut ipam = Self {
            call,
            delegate,
            running: None,
            started: false,
            plan: None,
        };
        if !ipam.needs_link() {
            ipam.start()?;
        }
        Ok(ipam)
    }

    pub(crate) fn needs_link(&self) -> bool {
        self.delegate.is_some_and(needs_link)
    }

    fn start(&mut self) -> Result<(), Error> {
        if let Some(delegate) = self.delegate.filter(|_| !self.started) {
            self.running = Some(delegate.start(Command::Add)?);
            self.started = true;
        }
        Ok(())
    }

    /// What the attachment is to have; waits for the plugin.
    pub(crate) fn plan(&mut self) -> Result<Plan, Error> {
        if let Some(plan) = &self.plan {
            return Ok(plan.clone());
        }
        self.start()?;
        let given = match (self.delegate, self.running.take()) {
            (None, _) => Attachment::default(),
            (Some(delegate), Some(running)) => {
                let given = running.result()?;
                if given.ips.is_empty() {
                    return Err(Error::new(
                        Code::InvalidConfig,
                        format!("IPAM plugin {} returned no address", delegate.name()),
                    ));
                }
                given
            }
            (Some(delegate), None) => {
                return Err(Error::new(
                    Code::Io,
                    format!("IPAM plugin {} has failed already", delegate.name()),
                ));
            }
        };
        self.call.check_room(&given)?;
        let plan = Plan::new(&self.call.config, given)?;
        self.plan = Some(plan.clone());
        Ok(plan)
    }

    /// Gives back what the plugin may have reserved.
    pub(crate) fn release(mut self) {
        let Some(delegate) = self.delegate.filter(|_| self.started) else {
            return;
        };
        if let Some(running) = self.running.take() {
            // Its DEL must not overtake its ADD.
            let _ = running.result();
        }
        if let Err(error) = delegate.run(Command::Del) {
            log::error(format_args!("undo: DEL of the IPAM plugin: {error}"));
        }
    }
}
