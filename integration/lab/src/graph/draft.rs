//! Layers, filled and ordered, with an x for everything and no y yet.

use std::collections::{BTreeMap, BTreeSet};

use super::bus::{self, Bus};
use super::cell::{self, Cell};
use super::crossing::{self, Id};
use super::group;
use super::layout::{GAP, MARGIN, TITLE};
use super::model::Model;
use super::shape::{NETWORK_COLOURS, in_turn};
use super::straight::{self, Slot, Wire};
use super::text::{self, Face};

/// Layers in order, cells measured, x known.
pub(super) struct Draft<'a> {
    pub(super) cells: Vec<Cell<'a>>,
    pub(super) layers: Vec<Vec<Id>>,
    pub(super) buses: BTreeMap<Id, Bus<'a>>,
    x: BTreeMap<Id, i32>,
    /// Without the margins.
    pub(super) width: i32,
}

impl<'a> Draft<'a> {
    /// The layers of a picture, with stacks of up to `depth` leaves.
    pub(super) fn of(model: &'a Model, depth: usize) -> Self {
        // Numbers below are those of cells: there are no more cells than nodes.
        let first_bus = model.nodes.len();
        let bus_id = |name: &str| {
            let place = model.networks.iter().position(|n| n.is.name == name);
            first_bus + place.unwrap_or(0)
        };
        let mut cells: Vec<Cell<'a>> = Vec::new();
        let mut layers: Vec<Vec<Id>> = Vec::new();
        let mut buses: BTreeMap<Id, Bus<'a>> = BTreeMap::new();
        let ranks = (model.nodes.iter().filter_map(|n| n.rank))
            .chain(model.networks.iter().filter_map(|n| n.rank));
        for rank in 0..ranks.max().map_or(0, |max| max + 1) {
            let first = cells.len();
            let mut layer: Vec<Id> = Vec::new();
            for (place, network) in model.networks.iter().enumerate() {
                if network.rank == Some(rank) {
                    let colour = in_turn(&NETWORK_COLOURS, place);
                    buses.insert(
                        first_bus + place,
                        Bus::of(model, &network.is, colour, depth),
                    );
                    layer.push(first_bus + place);
                }
            }
            cells.extend(cell::row(model, rank, depth, &bus_id));
            layer.extend(first..cells.len());
            layers.push(layer);
        }
        let mut draft = Self {
            cells,
            layers,
            buses,
            x: BTreeMap::new(),
            width: 0,
        };
        draft.order(model);
        draft.straighten(model);
        draft
    }

    fn order(&mut self, model: &Model) {
        let mut edges: Vec<(Id, Id)> = Vec::new();
        for (id, cell) in self.cells.iter().enumerate() {
            edges.extend(cell.above.iter().map(|pin| (pin.bus, id)));
            edges.extend(cell.below.iter().map(|pin| (id, pin.bus)));
        }
        edges.sort_unstable();
        edges.dedup();
        self.layers = crossing::order(core::mem::take(&mut self.layers), &edges);
        let places: BTreeMap<Id, usize> = self
            .layers
            .iter()
            .flat_map(|layer| layer.iter().enumerate().map(|(place, id)| (*id, place)))
            .collect();
        for place in group::outermost_first(model) {
            let Some(group) = model.groups.get(place) else {
                continue;
            };
            let ids = self.layers.iter().flatten();
            let first = ids.copied().find(|id| {
                let boxes = self.cells.get(*id).map(|cell| cell.plates.as_slice());
                let mut boxes = boxes.unwrap_or_default().iter();
                boxes.any(|plate| group.members.contains(&plate.node.name))
            });
            if let Some(cell) = first.and_then(|id| self.cells.get_mut(id)) {
                cell.headers.push(place);
            }
        }
        for cell in &mut self.cells {
            cell.arrange(model, &places);
        }
    }

    fn straighten(&mut self, model: &Model) {
        let slot = |id: &Id| {
            let (left, right) = match (self.cells.get(*id), self.buses.get(id)) {
                (Some(cell), _) => (cell.left, cell.right),
                (None, Some(bus)) => (bus.rect.width / 2, bus.rect.width / 2),
                (None, None) => (0, 0),
            };
            Slot {
                id: *id,
                left,
                right,
            }
        };
        let layers: Vec<Vec<Slot>> = self
            .layers
            .iter()
            .map(|layer| layer.iter().map(slot).collect())
            .collect();
        let mut wires = Vec::new();
        for (id, cell) in self.cells.iter().enumerate() {
            let shown = if cell.is_stack() { 1 } else { usize::MAX };
            wires.extend(cell.above.iter().take(shown).map(|pin| Wire {
                upper: pin.bus,
                upper_at: 0,
                lower: id,
                lower_at: pin.at,
            }));
            wires.extend(cell.below.iter().map(|pin| Wire {
                upper: id,
                upper_at: pin.at,
                lower: pin.bus,
                lower_at: 0,
            }));
        }
        self.x = straight::positions(&layers, &wires, GAP);
        self.untangle();
        let left_of_cells = self
            .cells
            .iter()
            .enumerate()
            .map(|(id, cell)| self.x_of(id) - cell.left);
        let left_of_buses = self.buses.values().map(|bus| bus.rect.x);
        let left = left_of_cells.chain(left_of_buses).min().unwrap_or(0);
        let right_of_cells =
            (self.cells.iter().enumerate()).map(|(id, cell)| self.x_of(id) + cell.right);
        let right_of_buses = self.buses.values().map(|bus| bus.rect.right());
        let right = right_of_cells.chain(right_of_buses).max().unwrap_or(0);
        // Under a title that is wider than the rest, the rest stands in the middle.
        self.width = (right - left).max(text::width(&model.title, Face::Bold, TITLE));
        let shift = MARGIN + (self.width - (right - left)) / 2 - left;
        self.x.values_mut().for_each(|x| *x += shift);
        self.buses.values_mut().for_each(|bus| bus.shift(shift));
    }

    /// The x of a cell or bus.
    pub(super) fn x_of(&self, id: Id) -> i32 {
        self.x.get(&id).copied().unwrap_or(0)
    }

    /// Moves a box a little aside where a line to it would lie on the line of another network, which
    /// happens when each of two buses would have to lie above the other.
    fn untangle(&mut self) {
        const ASIDE: i32 = 9;
        let mut moved: BTreeSet<Id> = BTreeSet::new();
        loop {
            self.stretch_buses();
            let tangled = self.layers.iter().find_map(|layer| {
                let lines = bus::tangled(&self.buses, layer);
                let mut ids = (0..self.cells.len()).filter(|id| !moved.contains(id));
                ids.find(|id| {
                    let cell = self.cells.get(*id);
                    let mut pins = cell.iter().flat_map(|cell| &cell.above);
                    pins.any(|pin| lines.contains(&(pin.bus, self.x_of(*id) + pin.at)))
                })
            });
            let Some(id) = tangled else {
                break;
            };
            moved.insert(id);
            if let Some(x) = self.x.get_mut(&id) {
                *x += ASIDE;
            }
        }
    }

    /// Tells each bus where its lines meet it.
    fn stretch_buses(&mut self) {
        for bus in self.buses.values_mut() {
            bus.from_above.clear();
            bus.from_below.clear();
        }
        for (id, cell) in self.cells.iter().enumerate() {
            let x = self.x.get(&id).copied().unwrap_or(0);
            for pin in &cell.above {
                if let Some(bus) = self.buses.get_mut(&pin.bus) {
                    bus.from_below.push(x + pin.at);
                }
            }
            for pin in &cell.below {
                if let Some(bus) = self.buses.get_mut(&pin.bus) {
                    bus.from_above.push(x + pin.at);
                }
            }
        }
        for (id, bus) in &mut self.buses {
            bus.stretch(self.x.get(id).copied().unwrap_or(0));
        }
    }
}
