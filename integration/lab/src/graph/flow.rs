//! Places in lines, as words in a paragraph, for what hangs on no network.

use super::bus::Bus;
use super::cell::{LINE, Plate};
use super::layout::{CHANNEL, GAP, MARGIN, Placed, Sheet};
use super::model::Model;
use super::shape::{NETWORK_COLOURS, Rect, in_turn};

/// Puts what hangs on no network, and networks with nothing on them, below the rest, in lines as a
/// paragraph's words; tells where the picture ends.
pub(super) fn place_unattached<'a>(model: &'a Model, sheet: &mut Sheet<'a>, top: i32) -> i32 {
    let nodes = model.nodes.iter().filter(|n| n.rank.is_none());
    let plates = nodes.map(|n| {
        // There is no ground to lie on here, so the box itself says which groups it is in.
        let groups = model.groups_of(&n.is.name).into_iter();
        let labels = groups.filter_map(|group| model.groups.get(group));
        Plate::of(&n.is, labels.map(|group| group.label.as_str()))
    });
    let plates: Vec<Plate<'a>> = plates.collect();
    let networks = model.networks.iter().enumerate();
    let buses = networks
        .filter(|(_, n)| n.rank.is_none())
        .map(|(place, n)| {
            let colour = in_turn(&NETWORK_COLOURS, place);
            Bus::of(model, &n.is, colour, 1)
        });
    let buses: Vec<Bus<'a>> = buses.collect();
    if plates.is_empty() && buses.is_empty() {
        return top;
    }
    sheet.heading = Some((MARGIN, top + CHANNEL + LINE));
    let mut flow = Flow::below(top + CHANNEL + 2 * LINE, sheet.width);
    for plate in plates {
        let rect = flow.place(plate.width, plate.height);
        sheet.plates.push(Placed { plate, rect });
    }
    for mut bus in buses {
        bus.rect = flow.place(bus.rect.width, bus.rect.height);
        sheet.buses.push(bus);
    }
    sheet.width = sheet.width.max(flow.right + MARGIN);
    flow.bottom
}

/// Places one thing after the other in lines.
struct Flow {
    x: i32,
    y: i32,
    /// Where a line ends.
    limit: i32,
    right: i32,
    bottom: i32,
}

impl Flow {
    fn below(top: i32, width: i32) -> Self {
        Self {
            x: MARGIN,
            y: top,
            limit: width.max(760) - MARGIN,
            right: 0,
            bottom: top,
        }
    }

    fn place(&mut self, width: i32, height: i32) -> Rect {
        if self.x > MARGIN && self.x + width > self.limit {
            self.x = MARGIN;
            self.y = self.bottom + GAP / 2;
        }
        let rect = Rect {
            x: self.x,
            y: self.y,
            width,
            height,
        };
        self.x = rect.right() + GAP / 2;
        self.right = self.right.max(rect.right());
        self.bottom = self.bottom.max(rect.bottom());
        rect
    }
}
