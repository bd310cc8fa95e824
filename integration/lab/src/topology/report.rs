//! The checks of a lab that is up, told one line each.

use std::process::ExitCode;

use super::check;
use super::error::Error;
use super::inside::Inside;
use super::say;
use super::store::Outcome;

/// Tries every check of the last phase, and tells those of earlier phases as they were found then. First what is to be
/// shown, then a line a check.
pub(super) fn report(lab: &Inside) -> Result<ExitCode, Error> {
    let mut outcomes = Vec::new();
    for wanted in &lab.topology.checks {
        outcomes.push(if wanted.phase == lab.topology.last_phase() {
            check::run(lab, wanted, &|| true)
        } else {
            let earlier = lab
                .state
                .earlier
                .iter()
                .find(|outcome| outcome.title == wanted.title);
            earlier.cloned().unwrap_or_else(|| Outcome {
                title: wanted.title.clone(),
                failure: Some("was not tried while the lab came up".into()),
                ..Outcome::default()
            })
        });
    }
    outcomes.push(attachments(lab)?);
    for (heading, lines) in outcomes.iter().flat_map(|outcome| &outcome.shown) {
        say(&format!("\n{heading}\n{}", lines.trim_end()));
    }
    say("");
    for outcome in &outcomes {
        say(&line(outcome));
    }
    let failed = outcomes
        .iter()
        .filter(|outcome| outcome.failure.is_some())
        .count();
    if failed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!(
        "{failed} of {} checks do not hold",
        outcomes.len()
    ));
    Ok(ExitCode::FAILURE)
}

fn line(outcome: &Outcome) -> String {
    match (&outcome.failure, outcome.facts.as_slice()) {
        (Some(why), _) => format!("FAIL  {}: {why}", outcome.title),
        (None, []) => format!("ok    {}", outcome.title),
        (None, facts) => format!("ok    {} ({})", outcome.title, facts.join("; ")),
    }
}

/// CHECK of every attachment: the plugins' own word that all is as they made it.
fn attachments(lab: &Inside) -> Result<Outcome, Error> {
    let mut failures = Vec::new();
    let mut count = 0usize;
    for host in lab.hosts() {
        let runtime = lab.runtime(host)?;
        for entry in runtime
            .cache()
            .entries()
            .map_err(|error| Error::new(error.to_string()))?
        {
            count = count.saturating_add(1);
            let attachment = &entry.attachment;
            if let Err(error) = runtime.check(&entry.list, attachment) {
                failures.push(format!(
                    "{} {}: {error}",
                    attachment.container, attachment.ifname
                ));
            }
        }
    }
    let failure = (!failures.is_empty()).then(|| failures.join("; "));
    Ok(Outcome {
        title: format!("the plugins find all {count} attachments as they made them"),
        failure,
        ..Outcome::default()
    })
}
