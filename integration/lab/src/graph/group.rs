//! The coloured ground under nodes that belong together.

use super::bus::Bus;
use super::cell::{BESIDE, HEADER};
use super::crossing::Id;
use super::model::Model;
use super::shape::Rect;

/// How far the ground goes on around what stands on it; a ground within another one goes less far.
const AROUND: i32 = 12;
const WITHIN: i32 = 4;
/// Half the width of the ground under a line.
const UNDER_LINE: i32 = 14;

/// The room a cell has for itself: boxes, texts beside its lines, group labels.
pub(super) struct Extent<'a> {
    pub(super) id: Id,
    pub(super) names: Vec<&'a str>,
    /// The groups whose labels stand here, from above.
    pub(super) headers: Vec<usize>,
    pub(super) plates: Vec<Rect>,
    /// The x of the line to each network.
    pub(super) pins: Vec<(&'a str, i32)>,
    pub(super) rect: Rect,
}

/// A group's ground and label.
pub(super) struct Hull {
    pub(super) group: usize,
    /// One rectangle, or several that touch when one would cover strangers.
    pub(super) parts: Vec<Rect>,
    /// The left end of the label's baseline.
    pub(super) label: (i32, i32),
}

/// The places of the groups in their list, such that none comes before one that holds all its members.
pub(super) fn outermost_first(model: &Model) -> Vec<usize> {
    let mut places: Vec<usize> = (0..model.groups.len()).collect();
    let size = |place: &usize| model.groups.get(*place).map_or(0, |g| g.members.len());
    places.sort_by_key(|place| core::cmp::Reverse(size(place)));
    places
}

/// The grounds of all groups, the outermost first.
pub(super) fn hulls(model: &Model, extents: &[Extent<'_>], buses: &[Bus<'_>]) -> Vec<Hull> {
    outermost_first(model)
        .into_iter()
        .filter_map(|group| hull(model, group, extents, buses))
        .collect()
}

fn hull(model: &Model, group: usize, extents: &[Extent<'_>], buses: &[Bus<'_>]) -> Option<Hull> {
    let members = &model.groups.get(group)?.members;
    let has = |name: &str| members.iter().any(|m| m == name);
    let is_member = |extent: &&Extent<'_>| extent.names.iter().any(|name| has(name));
    let is_shared = |bus: &&Bus<'_>| {
        let attached = model.of_network(&bus.network.name);
        let mut nodes: Vec<&str> = attached.map(|a| a.node.as_str()).collect();
        nodes.retain(|node| has(node));
        nodes.dedup();
        nodes.len() > 1
    };
    let anchor = extents.iter().find(|e| e.headers.contains(&group))?;
    let row = anchor.headers.iter().position(|header| *header == group)?;
    let row = i32::try_from(row).ok()?;
    let around = (AROUND - WITHIN * row).max(2);
    // Where several labels stand above one another, the inner ground begins below the outer one's label.
    let cell = |extent: &Extent<'_>| {
        let own = extent.headers.iter().position(|header| *header == group);
        let lower = HEADER * i32::try_from(own.unwrap_or(0)).unwrap_or(0);
        let rect = extent.rect;
        Rect::between(rect.x, rect.y + lower, rect.right(), rect.bottom())
    };
    let cells: Vec<Rect> = extents.iter().filter(is_member).map(cell).collect();
    let shared: Vec<&Bus<'_>> = buses.iter().filter(is_shared).collect();
    let buses_inside = shared.iter().map(|bus| bus.rect);
    let whole = (cells.iter().copied().chain(buses_inside.clone())).reduce(Rect::around)?;
    let mut strangers = extents
        .iter()
        .filter(|extent| !is_member(extent))
        .map(|extent| extent.rect)
        .chain(
            buses
                .iter()
                .filter(|bus| !is_shared(bus))
                .map(|bus| bus.rect),
        );
    let first = anchor.rect.y + HEADER * row;
    if strangers.all(|rect| !whole.overlaps(rect)) {
        return Some(Hull {
            group,
            parts: vec![whole.grown(around)],
            label: (whole.x + BESIDE / 2, first + 8),
        });
    }
    let under_lines = extents
        .iter()
        .filter(is_member)
        .flat_map(|extent| corridors(extent, &shared));
    let parts = (cells.iter().copied().chain(buses_inside)).map(|rect| rect.grown(around));
    Some(Hull {
        group,
        parts: parts.chain(under_lines).collect(),
        label: (anchor.rect.x + BESIDE / 2, first + 8),
    })
}

/// The ground under the lines from a cell to the buses its group shares.
fn corridors<'a>(
    extent: &'a Extent<'_>,
    shared: &'a [&Bus<'_>],
) -> impl Iterator<Item = Rect> + 'a {
    extent.pins.iter().filter_map(|(network, x)| {
        let bus = shared.iter().find(|bus| bus.network.name == *network)?;
        let (top, bottom) = if bus.rect.y < extent.rect.y {
            (bus.rect.bottom(), extent.rect.y)
        } else {
            (extent.rect.bottom(), bus.rect.y)
        };
        Some(Rect::between(x - UNDER_LINE, top, x + UNDER_LINE, bottom))
    })
}
