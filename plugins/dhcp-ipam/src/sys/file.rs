//! Files, where what somebody else put in their place matters.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{AccessFlags, access};

/// Opens a file to be written from its beginning, for its owner's eyes alone; a symbolic link is not followed.
pub(crate) fn to_write(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

/// Opens a file to be read; a symbolic link is not followed, and a pipe without a writer is not waited for.
pub(crate) fn to_read(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
}

/// Whether this process may execute a program; the error says why not.
pub(crate) fn may_execute(program: &Path) -> io::Result<()> {
    Ok(access(program, AccessFlags::X_OK)?)
}

/// Whether this process may make files in a directory; the error says why not.
pub(crate) fn may_write_in(directory: &Path) -> io::Result<()> {
    Ok(access(directory, AccessFlags::W_OK | AccessFlags::X_OK)?)
}

/// A file without a name that has these bytes, to be read from its beginning.
pub(crate) fn of_bytes(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(c"event", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}
