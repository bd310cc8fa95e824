//! The boxes of a row and what hangs on them: how much room each needs, before anything has a place.

use std::collections::BTreeMap;

use super::crossing::Id;
use super::model::Model;
use super::text::{self, Face};
use super::{Attachment, Kind, Node, address};

/// Type sizes in pixels.
pub(super) const NAME: i32 = 14;
pub(super) const SMALL: i32 = 11;
pub(super) const LINE: i32 = 14;
/// Between a line and the text beside it.
pub(super) const BESIDE: i32 = 7;
/// Between the spine of a stack and its boxes.
pub(super) const STUB: i32 = 18;
/// Room above a box for the label of a group.
pub(super) const HEADER: i32 = 22;
/// The room an icon takes in a box, with its margins.
pub(super) const ICON: i32 = 44;
/// Between text and the edge of a box or bus.
pub(super) const PADDING: i32 = 14;

/// A box with a name in it.
#[derive(Clone)]
pub(super) struct Plate<'a> {
    pub(super) node: &'a Node,
    /// What stands under the name.
    pub(super) lines: Vec<&'a str>,
    pub(super) width: i32,
    pub(super) height: i32,
}

impl<'a> Plate<'a> {
    /// The box of a node, as large as its texts; `more` stands under its notes.
    pub(super) fn of(node: &'a Node, more: impl Iterator<Item = &'a str>) -> Self {
        let caption = match node.kind {
            Kind::Internet => None,
            Kind::Host => Some("host"),
            Kind::Router => Some("router"),
            Kind::Container => Some("container"),
        };
        let notes = node.notes.iter().map(String::as_str);
        let lines: Vec<&str> = caption.into_iter().chain(notes).chain(more).collect();
        let name = text::width(&node.name, Face::Bold, NAME);
        let below = text::widest(lines.iter().copied(), Face::Sans, SMALL);
        let count = i32::try_from(lines.len()).unwrap_or(i32::MAX);
        let texts = name.max(below);
        let (width, height) = match node.kind {
            // The text of a cloud keeps clear of its round ends.
            Kind::Internet => ((texts + 90).max(170), 84 + LINE * count),
            Kind::Host | Kind::Router | Kind::Container => {
                ((ICON + texts + PADDING).max(118), 34 + LINE * count)
            }
        };
        Self {
            node,
            lines,
            width,
            height,
        }
    }
}

/// Where a line meets a box, with the texts beside it.
#[derive(Clone)]
pub(super) struct Pin<'a> {
    pub(super) network: &'a str,
    /// The bus at the other end.
    pub(super) bus: Id,
    /// Interface and addresses, one a line.
    pub(super) lines: Vec<(String, Face)>,
    /// The x of the line, counted from the cell's.
    pub(super) at: i32,
}

impl<'a> Pin<'a> {
    fn of(model: &Model, attachment: &'a Attachment, bus: Id) -> Self {
        let prefixes = model.prefixes(&attachment.network);
        let interface = (attachment.interface.clone(), Face::Bold);
        let addresses = attachment
            .addresses
            .iter()
            .map(|a| (address::within(prefixes, a), Face::Mono));
        Self {
            network: &attachment.network,
            bus,
            lines: [interface].into_iter().chain(addresses).collect(),
            at: 0,
        }
    }

    /// The room the texts take to the right of the line.
    pub(super) fn width(&self) -> i32 {
        let widths = self
            .lines
            .iter()
            .map(|(line, face)| text::width(line, *face, SMALL));
        BESIDE + widths.max().unwrap_or(0)
    }

    /// The room the texts take above or below the box.
    pub(super) fn height(&self) -> i32 {
        i32::try_from(self.lines.len()).unwrap_or(i32::MAX) * LINE + 8
    }
}

/// What stands in one place of a row: a box, or a stack of boxes that hang from one bus by one line.
#[derive(Clone)]
pub(super) struct Cell<'a> {
    /// One; more in a stack, from above.
    pub(super) plates: Vec<Plate<'a>>,
    /// To the buses above; in a stack one for each plate.
    pub(super) above: Vec<Pin<'a>>,
    /// To the buses below; none in a stack.
    pub(super) below: Vec<Pin<'a>>,
    /// The groups whose labels stand here.
    pub(super) headers: Vec<usize>,
    /// The reach to the left and right of the cell's x.
    pub(super) left: i32,
    pub(super) right: i32,
    /// The box's edges, counted from the cell's x.
    pub(super) plate_left: i32,
    pub(super) plate_width: i32,
}

impl Cell<'_> {
    /// Whether its boxes hang beside a line instead of under it.
    pub(super) fn is_stack(&self) -> bool {
        self.plates.len() > 1
    }

    /// Orders the pins by their buses' places in the layers above and below, and measures the cell.
    pub(super) fn arrange(&mut self, model: &Model, places: &BTreeMap<Id, usize>) {
        let place = |pin: &Pin<'_>| places.get(&pin.bus).copied();
        if !self.is_stack() {
            self.above.sort_by_key(place);
        }
        self.below.sort_by_key(place);
        let natural = self.plates.iter().map(|p| p.width).max().unwrap_or(0);
        if self.is_stack() {
            let labels = self.above.iter().map(Pin::width).max().unwrap_or(0);
            self.plate_left = STUB;
            self.plate_width = natural;
            self.left = 6;
            self.right = (STUB + natural).max(labels);
        } else {
            let span = spread(&mut self.above).max(spread(&mut self.below));
            let is_cloud = self.plates.iter().any(|p| p.node.kind == Kind::Internet);
            // A cloud is flat only in the middle.
            let needed = if is_cloud { span * 2 } else { span + 40 };
            self.plate_width = natural.max(needed);
            self.plate_left = -(self.plate_width / 2);
            self.left = self.plate_width / 2;
            let pins = self.above.iter().chain(&self.below);
            let labels = pins.map(|pin| pin.at + pin.width()).max().unwrap_or(0);
            self.right = (self.plate_width - self.plate_width / 2).max(labels);
        }
        let headers = self.headers.iter().filter_map(|h| model.groups.get(*h));
        let header = text::widest(headers.map(|g| g.label.as_str()), Face::Bold, SMALL);
        if header > 0 {
            let first = self.above.first().map_or(self.right, |pin| pin.at);
            self.left = self.left.max(header + 2 * BESIDE - first.min(self.right));
        }
    }

    /// The room above the first box for the texts beside its lines.
    pub(super) fn head(&self) -> i32 {
        let pins = self.above.iter();
        let shown = if self.is_stack() { 1 } else { usize::MAX };
        pins.take(shown).map(Pin::height).max().unwrap_or(8)
    }

    /// The room below the box for the texts beside its lines.
    pub(super) fn foot(&self) -> i32 {
        self.below.iter().map(Pin::height).max().unwrap_or(8)
    }

    /// The height of the box or boxes, with the texts between them.
    pub(super) fn body(&self) -> i32 {
        let boxes: i32 = self.plates.iter().map(|p| p.height).sum();
        let between: i32 = if self.is_stack() {
            self.above.iter().skip(1).map(|p| p.height() + 6).sum()
        } else {
            0
        };
        boxes + between
    }
}

/// Puts pins far enough apart for the text to the right of each, around the middle; tells how far the last
/// is from the first.
fn spread(pins: &mut [Pin<'_>]) -> i32 {
    let mut at = 0;
    let mut span = 0;
    for pin in pins.iter_mut() {
        pin.at = at;
        span = at;
        at += (pin.width() + 10).max(30);
    }
    for pin in pins {
        pin.at -= span / 2;
    }
    span
}

/// The row of nodes of `rank`, before it has an order: leaves of one network are stacked, up to `depth` of
/// them on one another.
pub(super) fn row<'a>(
    model: &'a Model,
    rank: usize,
    depth: usize,
    bus: &impl Fn(&str) -> Id,
) -> Vec<Cell<'a>> {
    let mut cells = Vec::new();
    let mut leaves: BTreeMap<(Id, Vec<usize>), Vec<&Node>> = BTreeMap::new();
    for node in model.nodes.iter().filter(|n| n.rank == Some(rank)) {
        let pins: Vec<&Attachment> = model.of_node(&node.is.name).collect();
        match pins.as_slice() {
            [pin] if depth > 1 && rank > 0 && node.is.kind > Kind::Host => {
                let key = (bus(&pin.network), model.groups_of(&node.is.name));
                leaves.entry(key).or_default().push(&node.is);
            }
            _ => cells.push(cell(model, rank, &[&node.is], bus)),
        }
    }
    for nodes in leaves.values() {
        let stacks = nodes.len().div_ceil(depth);
        for nodes in nodes.chunks(nodes.len().div_ceil(stacks)) {
            cells.push(cell(model, rank, nodes, bus));
        }
    }
    cells
}

fn cell<'a>(
    model: &'a Model,
    rank: usize,
    nodes: &[&'a Node],
    bus: &impl Fn(&str) -> Id,
) -> Cell<'a> {
    let is_above = |a: &Attachment| {
        let network = model.networks.iter().find(|n| n.is.name == a.network);
        network.is_some_and(|n| n.rank < Some(rank))
    };
    let pins = nodes.iter().flat_map(|node| model.of_node(&node.name));
    let (above, below): (Vec<&Attachment>, Vec<&Attachment>) = pins.partition(|a| is_above(a));
    let pin = |a: &'a Attachment| Pin::of(model, a, bus(&a.network));
    Cell {
        plates: (nodes.iter().copied())
            .map(|node| Plate::of(node, core::iter::empty()))
            .collect(),
        above: above.into_iter().map(pin).collect(),
        below: below.into_iter().map(pin).collect(),
        headers: Vec::new(),
        left: 0,
        right: 0,
        plate_left: 0,
        plate_width: 0,
    }
}
