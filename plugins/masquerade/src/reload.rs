//! `masquerade reload`: for administrators, and for a unit of systemd that follows the host's firewall.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cni_common::error::Error;
use cni_common::log::{self, LogConfig};

use crate::restore::{Restored, restore};
use crate::state::{DIRECTORY, Entry, Store};

const USAGE: &str = "\
usage: masquerade reload [--data-dir DIRECTORY]

Puts the rules of all attached containers back, after the host's firewall was reloaded or its ruleset flushed.
What is in place is left alone.
";

/// Carries the command out.
pub fn run(arguments: &[String]) -> ExitCode {
    log::use_stderr();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let directory = match words[..] {
        [] => PathBuf::from(DIRECTORY),
        ["--data-dir", directory] => PathBuf::from(directory),
        ["-h" | "--help"] => return say(io::stdout(), USAGE, ExitCode::SUCCESS),
        _ => return say(io::stderr(), USAGE, ExitCode::from(2)),
    };
    log::start("masquerade reload".to_owned(), &LogConfig::default());
    match reload(&directory) {
        Ok(done) => {
            let code = if done.failed == 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            };
            let Done {
                restored,
                forgotten,
                failed,
            } = done;
            let text = format!(
                "attachments with their rules in place: {restored}; of an earlier boot, forgotten: {forgotten}; failed: {failed}\n"
            );
            say(io::stdout(), &text, code)
        }
        Err(error) => {
            log::error(format_args!("{error}"));
            ExitCode::FAILURE
        }
    }
}

#[derive(Default)]
struct Done {
    restored: usize,
    forgotten: usize,
    failed: usize,
}

fn reload(directory: &Path) -> Result<Done, Error> {
    let mut done = Done::default();
    let store = Store::open(directory)?;
    let own = store.all()?;
    for entry in store.of_all_namespaces()? {
        let went = if own.binary_search(&entry).is_ok() {
            restore(&entry)
        } else {
            forget_stale(&entry)
        };
        let count = match went {
            Ok(Restored::Yes) => &mut done.restored,
            Ok(Restored::Stale) => &mut done.forgotten,
            Ok(Restored::Gone) => continue,
            Err(error) => {
                log::error(format_args!("{error}"));
                &mut done.failed
            }
        };
        *count = count.saturating_add(1);
    }
    Ok(done)
}

/// Another namespace's attachments are for a reload there to restore.
fn forget_stale(entry: &Entry) -> Result<Restored, Error> {
    match entry.read()? {
        Some(record) if !record.is_current => entry.remove().map(|()| Restored::Stale),
        _ => Ok(Restored::Gone),
    }
}

fn say(mut to: impl Write, text: &str, code: ExitCode) -> ExitCode {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}
