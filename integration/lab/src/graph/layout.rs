//! A picture with a place for everything.
//!
//! Ranks become layers: rows of boxes (even) and, between them, the buses of networks (odd). As every
//! attachment joins neighbouring layers, a line never has to find its way around a box. The steps: fill the
//! layers ([`super::draft`]), order them ([`super::crossing`]), measure the cells ([`super::cell`]), find x
//! ([`super::straight`]), find each bus's track ([`super::track`]), and stack all of it from the top. When the page becomes too wide, it is
//! done again with the leaves of a network in stacks.

use std::collections::BTreeMap;

use super::bus::{self, Bus};
use super::cell::{self, Cell, HEADER, LINE, Pin, Plate, STUB};
use super::crossing::Id;
use super::draft::Draft;
use super::flow;
use super::group::{self, Extent, Hull};
use super::model::Model;
use super::shape::Rect;
use super::text::Face;

/// Around the picture.
pub(super) const MARGIN: i32 = 36;
/// Between neighbours in a row.
pub(super) const GAP: i32 = 30;
/// Above and below the buses of a channel, and between their tracks.
pub(super) const CHANNEL: i32 = 16;
/// A page as wide as this needs no stacks.
const PAGE: i32 = 1400;
const NARROWEST_PAGE: i32 = 360;
const DEEPEST_STACK: usize = 6;
pub(super) const TITLE: i32 = 20;

/// A box in its place.
pub(super) struct Placed<'a> {
    pub(super) plate: Plate<'a>,
    pub(super) rect: Rect,
}

/// A line in its place, from the bus to the box.
pub(super) struct Line {
    pub(super) colour: &'static str,
    pub(super) points: Vec<(i32, i32)>,
}

/// Texts in their place: the left end of the first line's baseline.
pub(super) struct Label {
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) lines: Vec<(String, Face)>,
}

/// Everything in its place.
#[derive(Default)]
pub(super) struct Sheet<'a> {
    pub(super) width: i32,
    pub(super) height: i32,
    pub(super) plates: Vec<Placed<'a>>,
    pub(super) buses: Vec<Bus<'a>>,
    pub(super) lines: Vec<Line>,
    pub(super) labels: Vec<Label>,
    pub(super) hulls: Vec<Hull>,
    /// The heading of what hangs on no network, when there is any.
    pub(super) heading: Option<(i32, i32)>,
}

/// Finds a place for everything.
pub(super) fn sheet(model: &Model) -> Sheet<'_> {
    let mut sheet = Sheet::default();
    for depth in 1..=DEEPEST_STACK {
        sheet = Draft::of(model, depth).sheet(model);
        if sheet.width <= PAGE || sheet.width * 5 <= sheet.height * 8 {
            break;
        }
    }
    sheet
}

impl<'a> Draft<'a> {
    fn sheet(mut self, model: &'a Model) -> Sheet<'a> {
        let mut sheet = Sheet::default();
        let mut extents: Vec<Extent<'a>> = Vec::new();
        let title = if model.title.is_empty() {
            0
        } else {
            TITLE + 24
        };
        let mut y = MARGIN + title;
        for layer in core::mem::take(&mut self.layers) {
            y = self.place_buses(&layer, y);
            y = self.place_cells(&layer, y, &mut sheet, &mut extents);
        }
        self.draw_lines(&mut sheet, &extents);
        sheet.buses = self.buses.into_values().collect();
        sheet.hulls = group::hulls(model, &extents, &sheet.buses);
        sheet.width = (self.width + 2 * MARGIN).max(NARROWEST_PAGE);
        sheet.height = flow::place_unattached(model, &mut sheet, y) + MARGIN;
        sheet
    }

    /// Gives the buses of a layer their heights; tells where the next layer begins.
    fn place_buses(&mut self, layer: &[Id], top: i32) -> i32 {
        let ids: Vec<Id> = layer
            .iter()
            .copied()
            .filter(|id| self.buses.contains_key(id))
            .collect();
        let mut tracks: BTreeMap<usize, Vec<Id>> = BTreeMap::new();
        for (id, track) in ids.iter().zip(bus::tracks(&self.buses, &ids)) {
            tracks.entry(track).or_default().push(*id);
        }
        let mut y = top;
        for ids in tracks.values() {
            y += CHANNEL;
            let mut lowest = y;
            for id in ids {
                if let Some(bus) = self.buses.get_mut(id) {
                    bus.rect.y = y;
                    lowest = lowest.max(bus.rect.bottom());
                }
            }
            y = lowest;
        }
        if tracks.is_empty() { top } else { y + CHANNEL }
    }

    /// Puts the boxes of a layer under `top`; tells where the next layer begins.
    fn place_cells(
        &self,
        layer: &[Id],
        top: i32,
        sheet: &mut Sheet<'a>,
        extents: &mut Vec<Extent<'a>>,
    ) -> i32 {
        let cells: Vec<(Id, &Cell<'a>)> = layer
            .iter()
            .filter_map(|id| Some((*id, self.cells.get(*id)?)))
            .collect();
        let headers = cells
            .iter()
            .map(|(_, c)| c.headers.len())
            .max()
            .unwrap_or(0);
        let headers = HEADER * i32::try_from(headers).unwrap_or(0);
        let head = cells.iter().map(|(_, c)| c.head()).max().unwrap_or(0);
        let body = cells.iter().map(|(_, c)| c.body()).max().unwrap_or(0);
        let foot = cells.iter().map(|(_, c)| c.foot()).max().unwrap_or(0);
        let first = top + headers + head;
        for (id, cell) in cells {
            let x = self.x_of(id);
            let mut y = first;
            let start = sheet.plates.len();
            for (place, plate) in cell.plates.iter().enumerate() {
                if place > 0 {
                    y += cell.above.get(place).map_or(0, Pin::height) + 6;
                }
                let rect = Rect {
                    x: x + cell.plate_left,
                    y,
                    width: cell.plate_width,
                    height: plate.height,
                };
                y = rect.bottom();
                let plate = plate.clone();
                sheet.plates.push(Placed { plate, rect });
            }
            let own = HEADER * i32::try_from(cell.headers.len()).unwrap_or(0);
            let upper = first - cell.head() - own;
            extents.push(Extent {
                id,
                names: cell.plates.iter().map(|p| p.node.name.as_str()).collect(),
                headers: cell.headers.clone(),
                plates: sheet.plates.iter().skip(start).map(|p| p.rect).collect(),
                pins: (cell.above.iter().chain(&cell.below))
                    .map(|pin| (pin.network, x + pin.at))
                    .collect(),
                rect: Rect::between(x - cell.left, upper, x + cell.right, y + cell.foot()),
            });
        }
        if layer.iter().any(|id| self.cells.get(*id).is_some()) {
            first + body + foot
        } else {
            top
        }
    }

    fn draw_lines(&self, sheet: &mut Sheet<'a>, extents: &[Extent<'a>]) {
        for extent in extents {
            let Some(cell) = self.cells.get(extent.id) else {
                continue;
            };
            let x = self.x_of(extent.id);
            let plates = extent.plates.iter();
            // In a stack each line goes to its own box, else all go to the one.
            for (pin, plate) in cell.above.iter().zip(plates.clone().cycle()) {
                let Some(bus) = self.buses.get(&pin.bus) else {
                    continue;
                };
                let at = x + pin.at;
                let mut points = vec![(at, bus.rect.bottom()), (at, plate.y)];
                let mut end = plate.y;
                if cell.is_stack() {
                    end = plate.y + plate.height / 2;
                    points = vec![(x, bus.rect.bottom()), (x, end), (x + STUB, end)];
                    end = plate.y;
                }
                sheet.lines.push(Line {
                    colour: bus.colour,
                    points,
                });
                let lines = i32::try_from(pin.lines.len()).unwrap_or(0);
                sheet
                    .labels
                    .push(label(at, end - 8 - LINE * (lines - 1), pin));
            }
            for (pin, plate) in cell.below.iter().zip(plates.cycle()) {
                let Some(bus) = self.buses.get(&pin.bus) else {
                    continue;
                };
                let at = x + pin.at;
                sheet.lines.push(Line {
                    colour: bus.colour,
                    points: vec![(at, bus.rect.y), (at, plate.bottom())],
                });
                sheet.labels.push(label(at, plate.bottom() + LINE, pin));
            }
        }
    }
}

fn label(x: i32, y: i32, pin: &Pin<'_>) -> Label {
    Label {
        x: x + cell::BESIDE,
        y,
        lines: pin.lines.clone(),
    }
}
