//! The bar that stands for a network.

use std::collections::BTreeMap;

use super::Network;
use super::crossing::Id;
use super::model::Model;
use super::shape::Rect;
use super::text::{self, Face};
use super::track::{self, Span};

/// Type size in pixels.
pub(super) const SIZE: i32 = 12;
pub(super) const LINE: i32 = 16;
/// Between two texts on a line.
pub(super) const SPACE: i32 = 10;
/// Above and below the texts: keeps them clear of the dots on the edge.
pub(super) const MARGIN: i32 = 7;
const PADDING: i32 = 16;
/// How far a bar goes on beyond its last line.
const OVERHANG: i32 = 22;
const NARROWEST: i32 = 120;

type Run = (String, Face);

/// A network's bar, first measured, then placed.
pub(super) struct Bus<'a> {
    pub(super) network: &'a Network,
    pub(super) colour: &'static str,
    pub(super) rect: Rect,
    /// The texts, line by line.
    pub(super) lines: Vec<Vec<Run>>,
    /// Where lines come from above and below.
    pub(super) from_above: Vec<i32>,
    pub(super) from_below: Vec<i32>,
    runs: Vec<Run>,
}

impl<'a> Bus<'a> {
    /// A bar as wide as its texts ask: on one line where leaves are not stacked, else in a column.
    pub(super) fn of(
        model: &Model,
        network: &'a Network,
        colour: &'static str,
        depth: usize,
    ) -> Self {
        let name = (network.name.clone(), Face::Bold);
        let prefixes = network.prefixes.iter().map(|p| (p.clone(), Face::Mono));
        let host = model
            .host_to_show(network)
            .map(|host| (format!("on {host}"), Face::Sans));
        let notes = network.notes.iter().map(|n| (n.clone(), Face::Sans));
        let runs: Vec<Run> = [name]
            .into_iter()
            .chain(prefixes)
            .chain(notes)
            .chain(host)
            .collect();
        let mut bus = Self {
            network,
            colour,
            rect: Rect::default(),
            lines: Vec::new(),
            from_above: Vec::new(),
            from_below: Vec::new(),
            runs,
        };
        bus.wrap(if depth > 1 { 0 } else { 400 });
        let widest = bus.lines.iter().map(|line| width(line)).max().unwrap_or(0);
        bus.rect.width = (widest + 2 * PADDING).max(NARROWEST);
        bus
    }

    /// Breaks the texts into lines of at most `room`, one text a line if need be.
    fn wrap(&mut self, room: i32) {
        self.lines.clear();
        for run in &self.runs {
            match self.lines.last_mut() {
                Some(line) if width(line) + SPACE + width(core::slice::from_ref(run)) <= room => {
                    line.push(run.clone());
                }
                _ => self.lines.push(vec![run.clone()]),
            }
        }
        let lines = i32::try_from(self.lines.len()).unwrap_or(0);
        self.rect.height = 2 * MARGIN + LINE * lines;
    }

    /// Lets the bar reach all its lines, around `x` if they leave the choice.
    pub(super) fn stretch(&mut self, x: i32) {
        let pins = self.from_above.iter().chain(&self.from_below);
        let left = pins.clone().min().map_or(x, |pin| pin - OVERHANG);
        let right = pins.max().map_or(x, |pin| pin + OVERHANG);
        let half = self.rect.width / 2;
        if right - left < self.rect.width {
            let center = x.clamp(right - half, left + half);
            self.rect.x = center - half;
        } else {
            self.rect.x = left;
            self.rect.width = right - left;
        }
        self.wrap(self.rect.width - 2 * PADDING);
    }

    /// Moves the bar and its lines to the right.
    pub(super) fn shift(&mut self, by: i32) {
        self.rect.x += by;
        let pins = self.from_above.iter_mut().chain(&mut self.from_below);
        pins.for_each(|pin| *pin += by);
    }
}

fn width(line: &[Run]) -> i32 {
    let texts = line.iter().map(|(run, face)| text::width(run, *face, SIZE));
    let spaces = line.iter().skip(1).map(|_| SPACE);
    texts.chain(spaces).sum()
}

/// The track of each of the buses named.
pub(super) fn tracks(buses: &BTreeMap<Id, Bus<'_>>, ids: &[Id]) -> Vec<usize> {
    track::tracks(&spans(buses, ids))
}

/// The lines from below, by bus and x, that would lie on lines to other buses among those named.
pub(super) fn tangled(buses: &BTreeMap<Id, Bus<'_>>, layer: &[Id]) -> Vec<(Id, i32)> {
    let ids = layer.iter().copied().filter(|id| buses.contains_key(id));
    let ids: Vec<Id> = ids.collect();
    let lines = track::tangled(&spans(buses, &ids));
    (lines.into_iter())
        .filter_map(|(place, x)| Some((*ids.get(place)?, x)))
        .collect()
}

fn spans(buses: &BTreeMap<Id, Bus<'_>>, ids: &[Id]) -> Vec<Span> {
    ids.iter()
        .filter_map(|id| buses.get(id))
        .map(|bus| Span {
            left: bus.rect.x,
            right: bus.rect.right(),
            from_above: bus.from_above.clone(),
            from_below: bus.from_below.clone(),
        })
        .collect()
}
