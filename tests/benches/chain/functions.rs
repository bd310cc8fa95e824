//! Which functions of the plugins a chain executes, for the order in which the linker puts them.
//!
//! Every process of ADD and DEL is traced instruction by instruction. What `nm` calls the places it was at are the functions,
//! in the order of their first use. The plugins must not be stripped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::chain::{Attachment, Chain};
use crate::trace::{self, Observer};

/// What is loaded at fixed addresses ends before this one; what the kernel maps by itself comes after.
const END: u64 = 0x1000_0000;

/// The places that each program was at.
#[derive(Default)]
struct Steps {
    seen: BTreeMap<PathBuf, Places>,
    /// What each process executes.
    programs: BTreeMap<Pid, PathBuf>,
}

#[derive(Default)]
struct Places {
    known: BTreeSet<u64>,
    in_order: Vec<u64>,
}

impl Observer for Steps {
    fn goes_on(&mut self, pid: Pid, signal: Option<Signal>, new_program: bool) -> nix::Result<()> {
        if new_program {
            self.programs.remove(&pid);
        }
        let place = instruction(ptrace::getregs(pid)?);
        let program = self
            .programs
            .entry(pid)
            .or_insert_with(|| fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default());
        if place < END {
            let places = self.seen.entry(program.clone()).or_default();
            if places.known.insert(place) {
                places.in_order.push(place);
            }
        }
        ptrace::step(pid, signal)
    }
}

#[cfg(target_arch = "x86_64")]
fn instruction(registers: libc::user_regs_struct) -> u64 {
    registers.rip
}

#[cfg(target_arch = "aarch64")]
fn instruction(registers: libc::user_regs_struct) -> u64 {
    registers.pc
}

/// Runs ADD and DEL, and writes what the linker is to put first into `DIRECTORY/PLUGIN.ld`.
pub(crate) fn write_order(chain: &Chain, attachment: Attachment, directory: &Path) {
    let mut steps = Steps::default();
    trace::all(chain, attachment, &mut steps);
    for (program, places) in &steps.seen {
        let name = program.file_name().expect("a file").to_str().unwrap();
        let file = directory.join(format!("{name}.ld"));
        let patterns = patterns(program, &places.in_order);
        fs::write(&file, script(&patterns)).unwrap();
        println!("{}: {} functions", file.display(), patterns.len());
    }
}

/// The functions at these places as patterns that outlive a change of the compiler's hashes.
fn patterns(program: &Path, places: &[u64]) -> Vec<String> {
    let functions = functions(program);
    assert!(!functions.is_empty(), "{} is stripped", program.display());
    let mut known = BTreeSet::new();
    let mut patterns = Vec::new();
    for place in places {
        let before = functions.range((Bound::Unbounded, Bound::Included(*place)));
        for name in before.last().map(|(_, names)| names).into_iter().flatten() {
            let pattern = without_hashes(name);
            if known.insert(pattern.clone()) {
                patterns.push(pattern);
            }
        }
    }
    patterns
}

/// The names of all functions by their address.
fn functions(program: &Path) -> BTreeMap<u64, Vec<String>> {
    let listed = Command::new("nm")
        .arg("--defined-only")
        .arg(program)
        .output();
    let listed = String::from_utf8(listed.expect("nm of binutils").stdout).unwrap();
    let mut functions: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for line in listed.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [address, "t" | "T" | "w" | "W", name] = words[..] {
            let address = u64::from_str_radix(address, 16).unwrap();
            functions.entry(address).or_default().push(name.to_owned());
        }
    }
    functions
}

/// A symbol's name with the parts that differ from build to build replaced by `*`: the hash at the end of a name, a crate's
/// disambiguator (`Cs…_`), and the number of a copy that the compiler made.
fn without_hashes(name: &str) -> String {
    let is_hash =
        |text: &str| text.len() >= 16 && text.as_bytes()[..16].iter().all(u8::is_ascii_hexdigit);
    if let Some((before, after)) = name.rsplit_once("17h")
        && is_hash(after)
    {
        return format!("{before}17h*");
    }
    if !name.starts_with("_R") {
        return name.to_owned();
    }
    let mut pattern = String::new();
    let name = name.split_once('.').map_or(name, |(name, _)| name);
    for (place, part) in name.split("Cs").enumerate() {
        let rest = part
            .split_once('_')
            .filter(|(hash, _)| hash.len() > 6 && hash.chars().all(|c| c.is_ascii_alphanumeric()));
        match rest {
            _ if place == 0 => pattern.push_str(part),
            Some((_, rest)) => {
                let _ = write!(pattern, "Cs*_{rest}");
            }
            None => {
                let _ = write!(pattern, "Cs{part}");
            }
        }
    }
    pattern + "*"
}

fn script(patterns: &[String]) -> String {
    let mut text = String::from(
        "/* Made by `make first-functions`: what an ADD and a DEL of the benchmark's chain execute, in that order.\n   \
         A name that no longer exists matches nothing. */\n\
         SECTIONS\n{\n  .text.first : ALIGN(CONSTANT(MAXPAGESIZE))\n  {\n",
    );
    for pattern in patterns {
        let _ = writeln!(text, "    *(.text.{pattern} .text.unlikely.{pattern})");
    }
    // Written in assembler, the C library's have no sections of their own.
    text.push_str(
        "    *:mem*.lo(.text)\n    *:__set_thread_area.lo(.text)\n  }\n}\nINSERT BEFORE .text;\n",
    );
    text
}
