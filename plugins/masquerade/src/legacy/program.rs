//! Executing `iptables-save` and `iptables-restore` of legacy iptables.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cni_common::addr::Family;
use cni_common::code::Code;
use cni_common::error::{Error, Step};

use super::saved::Saved;
use crate::sysctls::DIRECTORY;

/// The programs of one family.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    save: PathBuf,
    restore: PathBuf,
}

/// Whether legacy iptables has tables of the family in this namespace.
pub(super) fn has_tables(family: Family) -> bool {
    let name = match family {
        Family::V4 => "ip_tables_names",
        Family::V6 => "ip6_tables_names",
    };
    let listed = fs::read_to_string(Path::new("/proc/thread-self/net").join(name));
    listed.is_ok_and(|names| !names.trim().is_empty())
}

impl Programs {
    /// Finds them.
    ///
    /// # Errors
    /// Code 2 where there are none.
    pub(super) fn find(family: Family) -> Result<Self, Error> {
        let prefix = match family {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        };
        for infix in ["-legacy", ""] {
            let (save, restore) = (
                format!("{prefix}{infix}-save"),
                format!("{prefix}{infix}-restore"),
            );
            if let (Some(save), Some(restore)) = (find(&save), find(&restore))
                && (!infix.is_empty() || is_legacy(&save))
            {
                return Ok(Self { save, restore });
            }
        }
        Err(Error::new(
            Code::Unsupported,
            format!("backend: the host has no {prefix}-legacy-restore"),
        ))
    }

    /// What is there.
    pub(super) fn saved(&self) -> Result<Saved, Error> {
        let step = || format!("execute {}", self.save.display());
        let output = Command::new(&self.save)
            .stdin(Stdio::null())
            .output()
            .step(step)?;
        if !output.status.success() {
            return Err(refused(&output.stderr)).step(step);
        }
        Ok(Saved::parse(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Carries a script out: each table's part whole or not at all.
    pub(super) fn restore(&self, script: &str) -> Result<(), Error> {
        let step = || format!("execute {}", self.restore.display());
        let mut child = Command::new(&self.restore)
            // Others hold the lock for moments, as long as they read and write a table.
            .args(["--noflush", "--wait", "10"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .step(step)?;
        let written = child
            .stdin
            .take()
            .map_or(Ok(()), |mut pipe| pipe.write_all(script.as_bytes()));
        let output = child.wait_with_output().step(step)?;
        if !output.status.success() {
            let error = refused(&output.stderr);
            let line = faulty(&error.to_string(), script);
            return Err(error.with_details(line)).step(step);
        }
        written.step(step)
    }
}

/// The line of a script that "line 7 failed" is about.
fn faulty(said: &str, script: &str) -> String {
    let words: Vec<&str> = said.split([' ', ':']).collect();
    let number = words.windows(2).find_map(|pair| match pair {
        ["line", number] => number.parse::<usize>().ok(),
        _ => None,
    });
    let line = number.and_then(|number| script.lines().nth(number.checked_sub(1)?));
    line.unwrap_or_default().to_owned()
}

/// Keeps the calls of this plugin apart: two that each remove the last but one would both leave what they share.
pub(super) fn lock() -> Result<File, Error> {
    let step = || "lock the tables of legacy iptables";
    fs::create_dir_all(DIRECTORY).step(step)?;
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(Path::new(DIRECTORY).join("masquerade-legacy.lock"))
        .step(step)?;
    file.lock().step(step)?;
    Ok(file)
}

fn refused(stderr: &[u8]) -> Error {
    let words = String::from_utf8_lossy(stderr);
    let words: Vec<&str> = words.split_whitespace().collect();
    Error::new(Code::Kernel, words.join(" "))
}

/// Looks where the runtime looks, and where such programs are.
fn find(name: &str) -> Option<PathBuf> {
    let lookup = |name: &str| std::env::var_os(name);
    let path = lookup("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .collect();
    let mut files = directories
        .into_iter()
        .map(|directory| directory.join(name));
    files.find(|file| file.is_absolute() && file.is_file())
}

/// `iptables-save v1.8.9 (nf_tables)` is not.
fn is_legacy(save: &Path) -> bool {
    let said: io::Result<_> = Command::new(save).arg(OsString::from("--version")).output();
    said.is_ok_and(|said| !String::from_utf8_lossy(&said.stdout).contains("nf_tables"))
}
