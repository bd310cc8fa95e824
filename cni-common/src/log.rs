//! Lines for people: on stderr, and in the file that `logFile` names.
//!
//! Runtimes throw stderr away when a plugin succeeds, so the file is where an administrator looks. Without a
//! file, stderr gets what `logLevel` asks for; with one, stderr keeps to warnings and errors.

use core::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::excerpt;
use crate::json::Object;

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The call failed, or something was left behind.
    Error,
    /// Not as it should be, but the call goes on.
    Warning,
    /// One line a call.
    Info,
    /// Every step.
    Debug,
}

impl Level {
    const ALL: [Self; 4] = [Self::Error, Self::Warning, Self::Info, Self::Debug];

    fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// The keys `logFile` and `logLevel`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// Where lines are appended; an absolute path.
    pub file: Option<PathBuf>,
    /// The least important lines to write.
    pub level: Option<Level>,
}

impl LogConfig {
    /// Reads the keys from the outermost object.
    pub fn read(object: &Object<'_>) -> Self {
        let file = object.get("logFile").and_then(|value| {
            let path = value.string().filter(|path| !path.is_empty())?;
            if !path.starts_with('/') {
                value.refuse("must be an absolute path");
                return None;
            }
            Some(PathBuf::from(path))
        });
        let level = object.get("logLevel").and_then(|value| {
            let text = value.string().filter(|text| !text.is_empty())?;
            let level = Level::ALL
                .into_iter()
                .find(|level| level.as_str().eq_ignore_ascii_case(text));
            if level.is_none() {
                value.refuse("must be error, warning, info or debug");
            }
            level
        });
        Self { file, level }
    }
}

struct Log {
    /// What each line starts with after time and level: plugin, command, attachment.
    subject: String,
    file: Option<File>,
    level: Option<Level>,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// A process that is a plugin writes to stderr; one that only uses this crate, as tests do, does not.
static STDERR: AtomicBool = AtomicBool::new(false);

/// Lets lines go to stderr.
pub fn use_stderr() {
    STDERR.store(true, Ordering::Relaxed);
}

/// Sets where lines go for the rest of the process; only the first call counts.
///
/// A file that cannot be opened costs a warning, not the call.
pub fn start(subject: impl Into<String>, config: &LogConfig) {
    let opened = config.file.as_ref().map(|path| {
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o640)
            // A named pipe without a reader must not hold the call up.
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
    });
    let (file, failure) = match opened {
        Some(Ok(file)) => (Some(file), None),
        Some(Err(failure)) => (None, Some(failure)),
        None => (None, None),
    };
    let log = Log {
        subject: subject.into(),
        file,
        level: config.level,
    };
    if LOG.set(log).is_ok()
        && let (Some(failure), Some(path)) = (failure, &config.file)
    {
        warning(format_args!("logFile {}: {failure}", path.display()));
    }
}

/// Writes an error.
pub fn error(text: fmt::Arguments<'_>) {
    write(Level::Error, text);
}

/// Writes a warning.
pub fn warning(text: fmt::Arguments<'_>) {
    write(Level::Warning, text);
}

/// Writes a line about the call as a whole.
pub fn info(text: fmt::Arguments<'_>) {
    write(Level::Info, text);
}

/// Writes a line about a step.
pub fn debug(text: fmt::Arguments<'_>) {
    write(Level::Debug, text);
}

/// Whether anybody gets the lines of [`info`].
pub fn tells_info() -> bool {
    let (to_file, stderr_level) = places(LOG.get(), Level::Info);
    to_file.is_some() || Level::Info <= stderr_level
}

/// The file that lines of a level go to, and up to which level they go to stderr.
fn places(log: Option<&Log>, level: Level) -> (Option<&File>, Level) {
    let file = log.and_then(|log| log.file.as_ref());
    let wanted = log.and_then(|log| log.level);
    let file_level = wanted.unwrap_or(Level::Info);
    let stderr_level = match file {
        Some(_) => Level::Warning,
        None => wanted.unwrap_or(Level::Warning),
    };
    (file.filter(|_| level <= file_level), stderr_level)
}

fn write(level: Level, text: fmt::Arguments<'_>) {
    let log = LOG.get();
    let (to_file, stderr_level) = places(log, level);
    if to_file.is_none() && level > stderr_level {
        return;
    }
    let subject = log.map_or("plumb", |log| log.subject.as_str());
    let line = format!("{} {} {subject}: {text}", timestamp(), level.as_str());
    let line = one_line(&excerpt::shortened(&line, excerpt::LINE));
    // One write a line keeps the lines of plugins that run at once whole. Where a line cannot be written there
    // is nobody to tell.
    if let Some(mut file) = to_file {
        let _ = file.write_all(line.as_bytes());
    }
    if level <= stderr_level && STDERR.load(Ordering::Relaxed) {
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

/// The text as one line: what a configuration or another plugin said must not look like a line of ours, or steer
/// a terminal.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().saturating_add(1));
    for c in text.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    line
}

/// The time as RFC 3339 in UTC with milliseconds.
fn timestamp() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format_time(since.as_secs(), since.subsec_millis())
}

/// Formats seconds since the epoch; the calendar computation counts years from 1 March 0000, so that the leap
/// day ends a year.
fn format_time(seconds: u64, millis: u32) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Json, Problems};

    #[test]
    fn times_are_written_as_rfc_3339() {
        assert_eq!(format_time(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(format_time(951_782_400, 7), "2000-02-29T00:00:00.007Z");
        assert_eq!(format_time(1_795_390_402, 999), "2026-11-22T23:33:22.999Z");
        assert_eq!(format_time(4_107_542_399, 0), "2100-02-28T23:59:59.000Z");
        assert_eq!(format_time(4_107_542_400, 0), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(one_line("a\nb\u{1b}[31m\té"), "a\\nb\\u{1b}[31m\\té\n");
    }

    fn read(text: &str) -> (LogConfig, Problems) {
        let json = Json::parse(text.as_bytes()).unwrap();
        let problems = Problems::default();
        let config = LogConfig::read(&Object::root(&json, &problems).unwrap());
        (config, problems)
    }

    #[test]
    fn keys_are_checked() {
        let (config, problems) = read(r#"{"logFile":"/var/log/x","logLevel":"Debug"}"#);
        assert_eq!(config.level, Some(Level::Debug));
        assert_eq!(problems.finish(), Ok(()));
        let (_, problems) = read(r#"{"logFile":"x","logLevel":"loud"}"#);
        assert_eq!(
            problems.finish().unwrap_err().to_string(),
            "logFile: \"x\" must be an absolute path; \
             logLevel: \"loud\" must be error, warning, info or debug"
        );
    }
}
