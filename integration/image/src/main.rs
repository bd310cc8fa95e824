//! `install-plugins DIRECTORY [--from DIRECTORY] [--links]`: copies the plugins of the image to the node.
//!
//! An image from scratch has no `cp`, and `cp` would not do: a runtime may be executing the plugin that is replaced, or start
//! it half-written.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The names of the Go plugins that ours stand in for, and ours.
const LINKS: [(&str, &str); 4] = [
    ("bridge", "bridge-attach"),
    ("static", "static-ipam"),
    ("dhcp", "dhcp-ipam"),
    ("firewall", "masquerade"),
];
const USAGE: &str = "usage: install-plugins DIRECTORY [--from DIRECTORY] [--links]";

/// What the command line says.
struct Options {
    from: PathBuf,
    to: PathBuf,
    links: bool,
}

fn main() -> ExitCode {
    let done = options(std::env::args_os().skip(1)).and_then(|options| install(&options));
    let (code, line) = match done {
        Ok(installed) => (
            ExitCode::SUCCESS,
            format!("installed {}", installed.join(", ")),
        ),
        Err(why) => (ExitCode::FAILURE, format!("install-plugins: {why}")),
    };
    // Where nobody reads there is nobody to tell.
    writeln!(io::stderr(), "{line}").unwrap_or_default();
    code
}

fn options(mut words: impl Iterator<Item = OsString>) -> Result<Options, String> {
    let (mut from, mut to, mut links) = (PathBuf::from("/opt/cni/bin"), None, false);
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--links") => links = true,
            Some("--from") => from = words.next().ok_or(USAGE)?.into(),
            Some(other) if other.starts_with('-') => {
                return Err(format!("{other} is not an option; {USAGE}"));
            }
            _ if to.is_some() => return Err(format!("one DIRECTORY; {USAGE}")),
            _ => to = Some(PathBuf::from(word)),
        }
    }
    let to = to.ok_or(USAGE)?;
    Ok(Options { from, to, links })
}

/// Copies every file of `from`, each complete or not at all, and returns their names.
fn install(options: &Options) -> Result<Vec<String>, String> {
    let failed = |doing: &str, path: &Path, error: &io::Error| {
        format!("{doing} {}: {error}", path.display())
    };
    let listed = fs::read_dir(&options.from).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries = listed.map_err(|error| failed("read", &options.from, &error))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut installed = Vec::new();
    for entry in entries {
        let (from, name) = (entry.path(), entry.file_name());
        let put = |aside: &Path| {
            let mut copy = File::create(aside)?;
            io::copy(&mut File::open(&from)?, &mut copy)?;
            copy.set_permissions(Permissions::from_mode(0o755))?;
            copy.sync_all()
        };
        replace(&options.to, &name, put).map_err(|error| failed("copy", &from, &error))?;
        installed.push(name.to_string_lossy().into_owned());
    }
    for (link, plugin) in LINKS {
        if options.links && installed.iter().any(|name| name == plugin) {
            let put = |aside: &Path| symlink(plugin, aside);
            let link = OsString::from(link);
            replace(&options.to, &link, put)
                .map_err(|error| failed("link", Path::new(&link), &error))?;
        }
    }
    Ok(installed)
}

/// Has `put` make a file beside the one called `name`, and gives it that name.
fn replace(
    directory: &Path,
    name: &OsString,
    put: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    // No runtime takes a file that begins so for a plugin.
    let mut aside = OsString::from(".");
    aside.push(name);
    aside.push(".new");
    let aside = directory.join(aside);
    match fs::remove_file(&aside) {
        // Left by one that was killed.
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    put(&aside)?;
    fs::rename(&aside, directory.join(name))
}

#[cfg(test)]
mod tests;
