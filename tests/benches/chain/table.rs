//! The figures as tables that fit a terminal and a Markdown page.

use std::time::Duration;

use crate::contender::Contender;
use crate::measure::Figures;
use crate::memory::Peak;

/// One row for each chain; `x` columns are the chain's time divided by ours, the first row's.
pub(crate) fn print(title: &str, chains: &[Contender], figures: &[Figures]) {
    println!("\n{title}; ms, x = times ours\n");
    println!(
        "| chain           |  ADD p50 |    x |  ADD p99 |    x |  DEL p50 |    x |  DEL p99 |    x |  CPU/container |    x | ADDs/s | DELs/s |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    let ours = row(&figures[0]);
    for (chain, figures) in chains.iter().zip(figures) {
        let row = row(figures);
        let cells: Vec<_> = row
            .iter()
            .zip(&ours)
            .map(|(value, ours)| format!("{value:8.2} | {:4.1}", value / ours))
            .collect();
        let per_second = |all: Duration| figures.containers as f64 / all.as_secs_f64();
        let [adds, dels] = figures.rounds.map(per_second);
        println!(
            "| {:15} | {} | {adds:6.1} | {dels:6.1} |",
            chain.name(),
            cells.join(" | ")
        );
    }
}

fn row(figures: &Figures) -> [f64; 5] {
    let cpu = figures.cpu / u32::try_from(figures.containers).unwrap();
    let times = [
        percentile(&figures.add, 50),
        percentile(&figures.add, 99),
        percentile(&figures.del, 50),
        percentile(&figures.del, 99),
        cpu,
    ];
    times.map(|time| time.as_secs_f64() * 1e3)
}

/// The smallest value that at least `percent` of all are not above.
fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// The programs of each chain by their largest process.
pub(crate) fn print_memory(chains: &[Contender], peaks: &[Vec<Peak>]) {
    println!(
        "\nPeak resident memory (VmHWM) of the largest process of each program, kB, and size of the plugin files\n"
    );
    println!("| chain           |     peak |    x | files kB | programs |");
    println!("|---|---|---|---|---|");
    let largest = |peaks: &[Peak]| peaks.first().map_or(0, |peak| peak.kilobytes);
    let ours = largest(&peaks[0]);
    for (chain, peaks) in chains.iter().zip(peaks) {
        let Some(chain) = chain.chain() else {
            continue;
        };
        let programs: Vec<_> = peaks
            .iter()
            .map(|peak| format!("{} {}", peak.program, peak.kilobytes))
            .collect();
        let (peak, times) = (largest(peaks), largest(peaks) as f64 / ours as f64);
        println!(
            "| {:15} | {peak:8} | {times:4.1} | {:8} | {} |",
            chain.name,
            chain.size() / 1000,
            programs.join(", ")
        );
    }
}
